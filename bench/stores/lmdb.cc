// SPDX-License-Identifier: Apache-2.0
#include "stores/lmdb.h"

#include <filesystem>

namespace stores {
namespace {

MDB_val val(std::string_view s) { return {s.size(), const_cast<char*>(s.data())}; }
std::string_view view(const MDB_val& v) { return {static_cast<const char*>(v.mv_data), v.mv_size}; }

class LmdbSession final : public Session {
 public:
  LmdbSession(MDB_env* env, MDB_dbi dbi) : env_(env), dbi_(dbi) {}
  ~LmdbSession() override {
    if (reading_ != nullptr) mdb_txn_abort(reading_);
  }
  bool put(std::string_view key, std::string_view value) override {
    const Change one{key, value};
    return write({&one, 1});
  }
  bool erase(std::string_view key) override {
    const Change one{key, std::nullopt};
    return write({&one, 1});
  }
  bool write(std::span<const Change> changes) override {
    rest();
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
  Answer get(std::string_view key, std::string_view& value) override {
    if (!renew()) return Answer::kError;
    MDB_val k = val(key), v{};
    const int error = mdb_get(reading_, dbi_, &k, &v);
    value = view(v);
    if (error == 0) return Answer::kValue;
    return error == MDB_NOTFOUND ? Answer::kAbsent : Answer::kError;
  }
  bool scan(const Range& range, const Visit& each) override {
    MDB_cursor* cursor = nullptr;
    if (!renew() || mdb_cursor_open(reading_, dbi_, &cursor) != 0) return false;
    MDB_val k = val(range.from), v{};
    const MDB_cursor_op first = range.backward ? MDB_LAST : range.from.empty() ? MDB_FIRST : MDB_SET_RANGE;
    const MDB_cursor_op then = range.backward ? MDB_PREV : MDB_NEXT;
    int error = mdb_cursor_get(cursor, &k, &v, first);
    for (std::uint64_t n = 0; error == 0;) {
      each(view(k), view(v));
      if (++n >= range.limit) break;
      error = mdb_cursor_get(cursor, &k, &v, then);
    }
    mdb_cursor_close(cursor);
    return error == 0 || error == MDB_NOTFOUND;
  }

 private:
  /// One transaction is kept and renewed, which is the cheap way; it ends with the next call, so that what it showed
  /// stands until then.
  bool renew() {
    rest();
    const int error =
        reading_ == nullptr ? mdb_txn_begin(env_, nullptr, MDB_RDONLY, &reading_) : mdb_txn_renew(reading_);
    active_ = error == 0;
    return active_;
  }
  void rest() {
    if (active_) mdb_txn_reset(reading_);
    active_ = false;
  }
  MDB_env* const env_;
  const MDB_dbi dbi_;
  MDB_txn* reading_ = nullptr;
  bool active_ = false;
};

class Lmdb final : public Store {
 public:
  Lmdb(MDB_env* env, MDB_dbi dbi) : env_(env), dbi_(dbi) {}
  ~Lmdb() override { mdb_env_close(env_); }
  std::unique_ptr<Session> session() override { return std::make_unique<LmdbSession>(env_, dbi_); }
  bool flush() override { return mdb_env_sync(env_, 1) == 0; }
  bool bulk_load(std::uint64_t records, const Source& source) override {
    MDB_txn* txn = nullptr;
    MDB_cursor* cursor = nullptr;
    if (mdb_txn_begin(env_, nullptr, 0, &txn) != 0 || mdb_cursor_open(txn, dbi_, &cursor) != 0) return false;
    for (std::uint64_t i = 0; i < records; ++i) {
      const auto [key, value] = source(i);
      MDB_val k = val(key), v = val(value);
      if (mdb_cursor_put(cursor, &k, &v, MDB_APPEND) != 0) return false;
    }
    mdb_cursor_close(cursor);
    return mdb_txn_commit(txn) == 0 && flush();
  }

 private:
  MDB_env* const env_;
  const MDB_dbi dbi_;
};

}  // namespace

MDB_env* open_lmdb_env(const std::string& directory, unsigned flags, std::size_t map_bytes) {
  std::filesystem::create_directories(directory);
  MDB_env* env = nullptr;
  if (mdb_env_create(&env) != 0) return nullptr;
  if (mdb_env_set_mapsize(env, map_bytes) != 0 || mdb_env_open(env, directory.c_str(), flags, 0664) != 0) {
    return nullptr;
  }
  return env;
}

std::unique_ptr<Store> open_lmdb(const std::string& directory, unsigned flags, std::size_t map_bytes) {
  MDB_env* const env = open_lmdb_env(directory, flags, map_bytes);
  MDB_txn* txn = nullptr;
  MDB_dbi dbi = 0;
  if (env == nullptr || mdb_txn_begin(env, nullptr, 0, &txn) != 0) return nullptr;
  if (mdb_dbi_open(txn, nullptr, 0, &dbi) != 0 || mdb_txn_commit(txn) != 0) return nullptr;
  return std::make_unique<Lmdb>(env, dbi);
}

std::string lmdb_version() {
  int major = 0, minor = 0, patch = 0;
  mdb_version(&major, &minor, &patch);
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

}  // namespace stores
