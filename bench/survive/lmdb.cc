// SPDX-License-Identifier: Apache-2.0
#include <filesystem>

#include "stores/lmdb.h"
#include "survive/contender.h"

namespace survive {
namespace {

constexpr std::size_t kMapBytes = 256 << 20;

std::unique_ptr<Store> open(const std::string& directory) { return stores::open_lmdb(directory, 0, kMapBytes); }

bool copy_compact(const std::string& directory) {
  MDB_env* const env = stores::open_lmdb_env(directory, 0, kMapBytes);
  const std::string copy = directory + ".copy";
  std::filesystem::create_directories(copy);
  const bool good = env != nullptr && mdb_env_copy2(env, copy.c_str(), MDB_CP_COMPACT) == 0;
  if (good) {
    std::filesystem::rename(copy + "/data.mdb", directory + "/data.mdb");
    std::filesystem::remove(directory + "/lock.mdb");
  }
  std::filesystem::remove_all(copy);
  return good;
}

}  // namespace

Contender lmdb() {
  return {"lmdb",
          stores::lmdb_version(),
          {part(files("pages", "table", "data\\.mdb"), 8192, UINT64_MAX),
           part(files("meta pages", "root", "data\\.mdb"), 0, 8192), files("data file", "table", "data\\.mdb"),
           files("lock", "other", "lock\\.mdb")},
          {{"default", "no flags; it has nothing more careful", open},
           {"repaired", "default, after mdb_env_copy2 with MDB_CP_COMPACT (mdb_copy -c)", open, copy_compact}}};
}

}  // namespace survive
