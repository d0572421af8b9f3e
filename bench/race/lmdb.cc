// SPDX-License-Identifier: Apache-2.0
#include <lmdb.h>
#include <sys/stat.h>

#include "race/contender.h"

namespace race {
namespace {

void check(int error, const char* what) {
  if (error == 0) return;
  std::fprintf(stderr, "race: lmdb: %s: %s\n", what, mdb_strerror(error));
  std::_Exit(1);
}

MDB_val val(std::string_view s) { return {s.size(), const_cast<char*>(s.data())}; }

class Lmdb final : public Store {
 public:
  Lmdb(const std::string& directory, const Settings& settings) {
    mkdir(directory.c_str(), 0755);
    check(mdb_env_create(&env_), "create");
    check(mdb_env_set_mapsize(env_, std::size_t{64} << 30), "mapsize");
    const unsigned flags = MDB_NORDAHEAD | (settings.power ? 0u : MDB_WRITEMAP | MDB_NOSYNC);
    check(mdb_env_open(env_, directory.c_str(), flags, 0644), "open");
    MDB_txn* txn = nullptr;
    check(mdb_txn_begin(env_, nullptr, 0, &txn), "begin");
    check(mdb_dbi_open(txn, nullptr, 0, &dbi_), "dbi");
    check(mdb_txn_commit(txn), "commit");
    check(mdb_txn_begin(env_, nullptr, MDB_RDONLY, &reading_), "begin reading");
    mdb_txn_reset(reading_);
  }
  ~Lmdb() override {
    mdb_txn_abort(reading_);
    mdb_env_close(env_);
  }
  void put(std::string_view key, std::string_view value) override {
    MDB_txn* txn = nullptr;
    check(mdb_txn_begin(env_, nullptr, 0, &txn), "begin");
    add(txn, key, value);
    check(mdb_txn_commit(txn), "commit");
  }
  void put_batch(Records records) override {
    MDB_txn* txn = nullptr;
    check(mdb_txn_begin(env_, nullptr, 0, &txn), "begin");
    for (const auto& [key, value] : records) add(txn, key, value);
    check(mdb_txn_commit(txn), "commit");
  }
  std::int64_t get(std::string_view key) override {
    check(mdb_txn_renew(reading_), "renew");
    MDB_val k = val(key);
    MDB_val v{};
    const int error = mdb_get(reading_, dbi_, &k, &v);
    mdb_txn_reset(reading_);
    if (error == MDB_NOTFOUND) return -1;
    check(error, "get");
    return static_cast<std::int64_t>(v.mv_size);
  }
  Scanned scan() override {
    Scanned all;
    check(mdb_txn_renew(reading_), "renew");
    MDB_cursor* cursor = nullptr;
    check(mdb_cursor_open(reading_, dbi_, &cursor), "cursor");
    MDB_val k{};
    MDB_val v{};
    int error = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
    for (; error == 0; error = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
      ++all.records;
      all.bytes += k.mv_size + v.mv_size;
    }
    if (error != MDB_NOTFOUND) check(error, "scan");
    mdb_cursor_close(cursor);
    mdb_txn_reset(reading_);
    return all;
  }
  void settle() override { check(mdb_env_sync(env_, 1), "sync"); }

 private:
  void add(MDB_txn* txn, std::string_view key, std::string_view value) const {
    MDB_val k = val(key);
    MDB_val v = val(value);
    check(mdb_put(txn, dbi_, &k, &v, 0), "put");
  }
  MDB_env* env_ = nullptr;
  MDB_dbi dbi_ = 0;
  MDB_txn* reading_ = nullptr;  // gets come from one thread
};

}  // namespace

Contender lmdb() {
  return {"lmdb", MDB_VERSION_STRING,
          "puts that need not survive power loss: MDB_WRITEMAP and MDB_NOSYNC; else its defaults; one transaction a "
          "put, one renewed read transaction a get; no cache of its own",
          [](const std::string& directory, const Settings& settings) -> std::unique_ptr<Store> {
            return std::make_unique<Lmdb>(directory, settings);
          }};
}

}  // namespace race
