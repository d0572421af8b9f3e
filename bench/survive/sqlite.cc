// SPDX-License-Identifier: Apache-2.0
#include <sqlite3.h>

#include <cstdlib>
#include <filesystem>

#include "survive/contender.h"

namespace survive {
namespace {

constexpr const char* kFile = "/kv.db";

class Sqlite final : public Store {
 public:
  static std::unique_ptr<Store> open(const std::string& directory, bool careful) {
    std::filesystem::create_directories(directory);
    auto store = std::make_unique<Sqlite>();
    if (sqlite3_open((directory + kFile).c_str(), &store->db_) != SQLITE_OK) return nullptr;
    // No checkpoint by itself: the tail is to stand in the log.
    if (!store->run("PRAGMA journal_mode=WAL") || !store->run("PRAGMA wal_autocheckpoint=0")) return nullptr;
    if (careful) {
      if (!store->run("PRAGMA synchronous=EXTRA") || !store->run("PRAGMA cell_size_check=ON")) return nullptr;
      if (store->text("PRAGMA integrity_check") != "ok") return nullptr;
    }
    if (!store->run("CREATE TABLE IF NOT EXISTS kv(k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID")) return nullptr;
    store->put_ = store->prepare("INSERT INTO kv VALUES(?,?) ON CONFLICT(k) DO UPDATE SET v=excluded.v");
    store->erase_ = store->prepare("DELETE FROM kv WHERE k=?");
    store->get_ = store->prepare("SELECT v FROM kv WHERE k=?");
    store->scan_ = store->prepare("SELECT k,v FROM kv ORDER BY k");
    if (!store->put_ || !store->erase_ || !store->get_ || !store->scan_) return nullptr;
    return store;
  }
  bool write(std::span<const Change> changes) override {
    if (!run("BEGIN")) return false;
    bool good = true;
    for (const Change& change : changes) {
      sqlite3_stmt* const statement = change.value ? put_ : erase_;
      bind(statement, 1, change.key);
      if (change.value) bind(statement, 2, *change.value);
      good = good && sqlite3_step(statement) == SQLITE_DONE;
      good = sqlite3_reset(statement) == SQLITE_OK && good;
    }
    if (good && run("COMMIT")) return true;
    run("ROLLBACK");
    return false;
  }
  bool flush() override { return run("PRAGMA wal_checkpoint(TRUNCATE)"); }
  Answer get(std::string_view key, std::string& value) override {
    bind(get_, 1, key);
    const int step = sqlite3_step(get_);
    if (step == SQLITE_ROW) value = column(get_, 0);
    const bool good = sqlite3_reset(get_) == SQLITE_OK;
    if (step == SQLITE_ROW) return Answer::kValue;
    return step == SQLITE_DONE && good ? Answer::kAbsent : Answer::kError;
  }
  bool scan(const std::function<void(std::string_view, std::string_view)>& each) override {
    int step = 0;
    while ((step = sqlite3_step(scan_)) == SQLITE_ROW) each(column(scan_, 0), column(scan_, 1));
    sqlite3_reset(scan_);
    return step == SQLITE_DONE;
  }

 private:
  bool run(const char* sql) { return sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) == SQLITE_OK; }
  std::string text(const char* sql) {
    sqlite3_stmt* const statement = prepare(sql);
    std::string out;
    if (statement && sqlite3_step(statement) == SQLITE_ROW) out = column(statement, 0);
    sqlite3_finalize(statement);
    return out;
  }
  sqlite3_stmt* prepare(const char* sql) {
    sqlite3_stmt* statement = nullptr;
    return sqlite3_prepare_v2(db_, sql, -1, &statement, nullptr) == SQLITE_OK ? statement : nullptr;
  }
  static void bind(sqlite3_stmt* statement, int at, std::string_view bytes) {
    sqlite3_bind_blob(statement, at, bytes.data(), static_cast<int>(bytes.size()), SQLITE_STATIC);
  }
  static std::string_view column(sqlite3_stmt* statement, int at) {
    const void* const bytes = sqlite3_column_blob(statement, at);
    return {static_cast<const char*>(bytes), static_cast<std::size_t>(sqlite3_column_bytes(statement, at))};
  }
  sqlite3* db_ = nullptr;
  sqlite3_stmt *put_ = nullptr, *erase_ = nullptr, *get_ = nullptr, *scan_ = nullptr;
};

/// The documented way where `.recover` is not built in, as in Debian: a dump that goes on behind errors, into a new
/// file.
bool dump_and_load(const std::string& directory) {
  const std::string file = directory + kFile;
  const std::string copy = file + ".copy";
  const std::string command =
      "sqlite3 '" + file + "' .dump | sed -e 's/^ROLLBACK;.*/COMMIT;/' | sqlite3 '" + copy + "'";
  if (std::system(command.c_str()) != 0 || !std::filesystem::exists(copy)) return false;
  for (const char* suffix : {"-wal", "-shm"}) std::filesystem::remove(file + suffix);
  std::filesystem::rename(copy, file);
  return true;
}

}  // namespace

Contender sqlite() {
  const auto plain = [](const std::string& directory) { return Sqlite::open(directory, false); };
  const std::string mode = "WAL, synchronous FULL, wal_autocheckpoint 0";
  std::vector<Mode> modes = {
      {"default", mode, plain},
      {.name = "careful",
       .settings = "WAL, synchronous EXTRA, wal_autocheckpoint 0, cell_size_check, integrity_check at open",
       .open = [](const std::string& directory) { return Sqlite::open(directory, true); },
       .careful_base = true}};
  if (std::system("command -v sqlite3 >/dev/null") == 0)
    modes.push_back({"repaired", "default, after sqlite3 .dump into a new file", plain, dump_and_load});
  return {"sqlite",
          sqlite3_libversion(),
          {files("log", "log", "kv\\.db-wal"), part(files("pages", "table", "kv\\.db"), 4096, UINT64_MAX),
           part(files("first page", "root", "kv\\.db"), 0, 4096), files("data file", "table", "kv\\.db"),
           files("shm", "other", "kv\\.db-shm")},
          std::move(modes)};
}

}  // namespace survive
