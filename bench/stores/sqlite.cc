// SPDX-License-Identifier: Apache-2.0
#include "stores/sqlite.h"

#include <filesystem>
#include <mutex>

namespace stores {
namespace {

/// SQLite lets one writer in and the others sleep and ask again; here they take turns by a mutex, as programs do that
/// have several.
class SqliteSession final : public Session {
 public:
  explicit SqliteSession(std::mutex& writing) : writing_(writing) {}
  static std::unique_ptr<SqliteSession> open(const std::string& directory, const std::vector<std::string>& pragmas,
                                             std::mutex& writing) {
    auto session = std::make_unique<SqliteSession>(writing);
    if (sqlite3_open((directory + kSqliteFile).c_str(), &session->db_) != SQLITE_OK) return nullptr;
    sqlite3_busy_timeout(session->db_, 60'000);
    for (const std::string& pragma : pragmas) {
      if (!session->run(("PRAGMA " + pragma).c_str(), pragma == "integrity_check" ? "ok" : nullptr)) return nullptr;
    }
    if (!session->run("CREATE TABLE IF NOT EXISTS kv(k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID")) {
      return nullptr;
    }
    session->put_ = session->prepare("INSERT INTO kv VALUES(?,?) ON CONFLICT(k) DO UPDATE SET v=excluded.v");
    session->erase_ = session->prepare("DELETE FROM kv WHERE k=?");
    session->get_ = session->prepare("SELECT v FROM kv WHERE k=?");
    session->scan_ = session->prepare("SELECT k,v FROM kv WHERE k>=? ORDER BY k LIMIT ?");
    session->back_ = session->prepare("SELECT k,v FROM kv ORDER BY k DESC LIMIT ?");
    if (!session->put_ || !session->erase_ || !session->get_ || !session->scan_ || !session->back_) return nullptr;
    return session;
  }
  ~SqliteSession() override {
    for (sqlite3_stmt* statement : {put_, erase_, get_, scan_, back_}) sqlite3_finalize(statement);
    sqlite3_close(db_);
  }
  bool put(std::string_view key, std::string_view value) override {
    rest();
    const std::scoped_lock lock(writing_);
    return change({key, value});
  }
  bool erase(std::string_view key) override {
    rest();
    const std::scoped_lock lock(writing_);
    return change({key, std::nullopt});
  }
  bool write(std::span<const Change> changes) override {
    rest();
    const std::scoped_lock lock(writing_);
    if (!run("BEGIN IMMEDIATE")) return false;
    bool good = true;
    for (const Change& one : changes) good = good && change(one);
    if (good && run("COMMIT")) return true;
    run("ROLLBACK");
    return false;
  }
  Answer get(std::string_view key, std::string_view& value) override {
    rest();
    bind(get_, 1, key);
    const int step = sqlite3_step(get_);
    if (step == SQLITE_ROW) {
      value = column(get_, 0);
      reading_ = true;
      return Answer::kValue;
    }
    return sqlite3_reset(get_) == SQLITE_OK && step == SQLITE_DONE ? Answer::kAbsent : Answer::kError;
  }
  bool scan(const Range& range, const Visit& each) override {
    rest();
    sqlite3_stmt* const statement = range.backward ? back_ : scan_;
    if (!range.backward) bind(statement, 1, range.from);
    sqlite3_bind_int64(statement, range.backward ? 1 : 2,
                       range.limit > INT64_MAX ? -1 : static_cast<sqlite3_int64>(range.limit));
    int step = 0;
    while ((step = sqlite3_step(statement)) == SQLITE_ROW) each(column(statement, 0), column(statement, 1));
    sqlite3_reset(statement);
    return step == SQLITE_DONE;
  }
  bool run(const char* sql, const char* expected = nullptr) {
    sqlite3_stmt* const statement = prepare(sql);
    if (statement == nullptr) return false;
    int step = sqlite3_step(statement);
    bool good = expected == nullptr || (step == SQLITE_ROW && column(statement, 0) == expected);
    while (step == SQLITE_ROW) step = sqlite3_step(statement);
    good = good && step == SQLITE_DONE;
    sqlite3_finalize(statement);
    return good;
  }
  /// All of it in one transaction.
  bool load(std::uint64_t records, const Source& source) {
    bool good = run("BEGIN IMMEDIATE");
    for (std::uint64_t i = 0; good && i < records; ++i) {
      const auto [key, value] = source(i);
      good = change({key, value});
    }
    return good && run("COMMIT");
  }

 private:
  bool change(const Change& change) {
    sqlite3_stmt* const statement = change.value ? put_ : erase_;
    bind(statement, 1, change.key);
    if (change.value) bind(statement, 2, *change.value);
    const bool done = sqlite3_step(statement) == SQLITE_DONE;
    return sqlite3_reset(statement) == SQLITE_OK && done;
  }
  /// What `get` showed stands until the next call.
  void rest() {
    if (reading_) sqlite3_reset(get_);
    reading_ = false;
  }
  sqlite3_stmt* prepare(const char* sql) {
    sqlite3_stmt* statement = nullptr;
    return sqlite3_prepare_v2(db_, sql, -1, &statement, nullptr) == SQLITE_OK ? statement : nullptr;
  }
  static void bind(sqlite3_stmt* statement, int at, std::string_view bytes) {
    // Never a null pointer, which would bind NULL.
    sqlite3_bind_blob(statement, at, bytes.empty() ? "" : bytes.data(), static_cast<int>(bytes.size()), SQLITE_STATIC);
  }
  static std::string_view column(sqlite3_stmt* statement, int at) {
    const void* const bytes = sqlite3_column_blob(statement, at);
    return {static_cast<const char*>(bytes), static_cast<std::size_t>(sqlite3_column_bytes(statement, at))};
  }
  std::mutex& writing_;
  sqlite3* db_ = nullptr;
  sqlite3_stmt *put_ = nullptr, *erase_ = nullptr, *get_ = nullptr, *scan_ = nullptr, *back_ = nullptr;
  bool reading_ = false;
};

class Sqlite final : public Store {
 public:
  Sqlite(std::string directory, std::vector<std::string> pragmas)
      : directory_(std::move(directory)),
        pragmas_(std::move(pragmas)),
        own_(SqliteSession::open(directory_, pragmas_, writing_)) {}
  [[nodiscard]] bool opened() const { return own_ != nullptr; }
  std::unique_ptr<Session> session() override { return SqliteSession::open(directory_, pragmas_, writing_); }
  bool flush() override { return own_->run("PRAGMA wal_checkpoint(TRUNCATE)"); }
  bool bulk_load(std::uint64_t records, const Source& source) override {
    return own_->load(records, source) && flush();
  }

 private:
  const std::string directory_;
  const std::vector<std::string> pragmas_;
  std::mutex writing_;
  const std::unique_ptr<SqliteSession> own_;
};

}  // namespace

std::unique_ptr<Store> open_sqlite(const std::string& directory, std::vector<std::string> pragmas) {
  std::filesystem::create_directories(directory);
  pragmas.insert(pragmas.begin(), "journal_mode=WAL");
  auto store = std::make_unique<Sqlite>(directory, std::move(pragmas));
  return store->opened() ? std::move(store) : nullptr;
}

}  // namespace stores
