// SPDX-License-Identifier: Apache-2.0
#include <lmdb.h>

#include <filesystem>

#include "survive/contender.h"

namespace survive {
namespace {

constexpr std::size_t kMapBytes = 256 << 20;

MDB_val val(std::string_view s) { return {s.size(), const_cast<char*>(s.data())}; }
std::string_view view(const MDB_val& v) { return {static_cast<const char*>(v.mv_data), v.mv_size}; }

MDB_env* open_env(const std::string& directory) {
  std::filesystem::create_directories(directory);
  MDB_env* env = nullptr;
  if (mdb_env_create(&env) != 0) return nullptr;
  if (mdb_env_set_mapsize(env, kMapBytes) != 0 || mdb_env_open(env, directory.c_str(), 0, 0664) != 0) return nullptr;
  return env;
}

class Lmdb final : public Store {
 public:
  static std::unique_ptr<Store> open(const std::string& directory) {
    MDB_env* const env = open_env(directory);
    if (env == nullptr) return nullptr;
    MDB_txn* txn = nullptr;
    MDB_dbi dbi = 0;
    if (mdb_txn_begin(env, nullptr, 0, &txn) != 0) return nullptr;
    if (mdb_dbi_open(txn, nullptr, 0, &dbi) != 0 || mdb_txn_commit(txn) != 0) return nullptr;
    return std::make_unique<Lmdb>(env, dbi);
  }
  Lmdb(MDB_env* env, MDB_dbi dbi) : env_(env), dbi_(dbi) {}
  bool write(std::span<const Change> changes) override {
    MDB_txn* txn = nullptr;
    if (mdb_txn_begin(env_, nullptr, 0, &txn) != 0) return false;
    for (const Change& change : changes) {
      MDB_val key = val(change.key);
      int error = 0;
      if (change.value) {
        MDB_val value = val(*change.value);
        error = mdb_put(txn, dbi_, &key, &value, 0);
      } else {
        error = mdb_del(txn, dbi_, &key, nullptr);
        if (error == MDB_NOTFOUND) error = 0;
      }
      if (error != 0) {
        mdb_txn_abort(txn);
        return false;
      }
    }
    return mdb_txn_commit(txn) == 0;
  }
  bool flush() override { return true; }
  Answer get(std::string_view key, std::string& value) override {
    MDB_txn* txn = nullptr;
    if (mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn) != 0) return Answer::kError;
    MDB_val k = val(key), v{};
    const int error = mdb_get(txn, dbi_, &k, &v);
    if (error == 0) value = view(v);
    mdb_txn_abort(txn);
    if (error == 0) return Answer::kValue;
    return error == MDB_NOTFOUND ? Answer::kAbsent : Answer::kError;
  }
  bool scan(const std::function<void(std::string_view, std::string_view)>& each) override {
    MDB_txn* txn = nullptr;
    if (mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn) != 0) return false;
    MDB_cursor* cursor = nullptr;
    int error = mdb_cursor_open(txn, dbi_, &cursor);
    MDB_val k{}, v{};
    while (error == 0 && (error = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0) each(view(k), view(v));
    mdb_txn_abort(txn);
    return error == MDB_NOTFOUND;
  }

 private:
  MDB_env* const env_;
  const MDB_dbi dbi_;
};

bool copy_compact(const std::string& directory) {
  MDB_env* const env = open_env(directory);
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
  int major = 0, minor = 0, patch = 0;
  mdb_version(&major, &minor, &patch);
  return {"lmdb",
          std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch),
          {part(files("pages", "table", "data\\.mdb"), 8192, UINT64_MAX),
           part(files("meta pages", "root", "data\\.mdb"), 0, 8192), files("data file", "table", "data\\.mdb"),
           files("lock", "other", "lock\\.mdb")},
          {{"default", "no flags; it has nothing more careful", Lmdb::open},
           {"repaired", "default, after mdb_env_copy2 with MDB_CP_COMPACT (mdb_copy -c)", Lmdb::open, copy_compact}}};
}

}  // namespace survive
