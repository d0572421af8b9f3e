// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <filesystem>

#include "stores/sqlite.h"
#include "survive/contender.h"

namespace survive {
namespace {

/// No checkpoint by itself: the tail is to stand in the log.
std::unique_ptr<Store> open(const std::string& directory) {
  return stores::open_sqlite(directory, {"wal_autocheckpoint=0"});
}

/// The documented way where `.recover` is not built in, as in Debian: a dump that goes on behind errors, into a new
/// file.
bool dump_and_load(const std::string& directory) {
  const std::string file = directory + stores::kSqliteFile;
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
  const std::string mode = "WAL, synchronous FULL, wal_autocheckpoint 0";
  std::vector<Mode> modes = {
      {"default", mode, open},
      {.name = "careful",
       .settings = "WAL, synchronous EXTRA, wal_autocheckpoint 0, cell_size_check, integrity_check at open",
       .open =
           [](const std::string& directory) {
             return stores::open_sqlite(
                 directory, {"wal_autocheckpoint=0", "synchronous=EXTRA", "cell_size_check=ON", "integrity_check"});
           },
       .careful_base = true}};
  if (std::system("command -v sqlite3 >/dev/null") == 0)
    modes.push_back({"repaired", "default, after sqlite3 .dump into a new file", open, dump_and_load});
  return {"sqlite",
          sqlite3_libversion(),
          {files("log", "log", "kv\\.db-wal"), part(files("pages", "table", "kv\\.db"), 4096, UINT64_MAX),
           part(files("first page", "root", "kv\\.db"), 0, 4096), files("data file", "table", "kv\\.db"),
           files("shm", "other", "kv\\.db-shm")},
          std::move(modes)};
}

}  // namespace survive
