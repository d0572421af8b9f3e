// SPDX-License-Identifier: Apache-2.0
#include "stores/leveldb.h"

#include <leveldb/iterator.h>
#include <leveldb/write_batch.h>

namespace stores {
namespace {

::leveldb::Slice slice(std::string_view s) { return {s.data(), s.size()}; }
std::string_view view(const ::leveldb::Slice& s) { return {s.data(), s.size()}; }

class LevelDbSession final : public Session {
 public:
  LevelDbSession(::leveldb::DB& db, const LevelDbUse& use) : db_(db) {
    write_.sync = use.sync;
    read_.verify_checksums = scan_.verify_checksums = use.verify;
    scan_.fill_cache = false;
  }
  bool put(std::string_view key, std::string_view value) override {
    return db_.Put(write_, slice(key), slice(value)).ok();
  }
  bool erase(std::string_view key) override { return db_.Delete(write_, slice(key)).ok(); }
  bool write(std::span<const Change> changes) override {
    ::leveldb::WriteBatch batch;
    for (const Change& change : changes) {
      if (change.value)
        batch.Put(slice(change.key), slice(*change.value));
      else
        batch.Delete(slice(change.key));
    }
    return db_.Write(write_, &batch).ok();
  }
  Answer get(std::string_view key, std::string_view& value) override {
    const ::leveldb::Status status = db_.Get(read_, slice(key), &value_);
    value = value_;
    if (status.ok()) return Answer::kValue;
    return status.IsNotFound() ? Answer::kAbsent : Answer::kError;
  }
  bool scan(const Range& range, const Visit& each) override {
    // A short one finds its blocks again; a long one would throw all others out.
    const std::unique_ptr<::leveldb::Iterator> it(db_.NewIterator(range.limit == UINT64_MAX ? scan_ : read_));
    if (range.backward)
      it->SeekToLast();
    else if (range.from.empty())
      it->SeekToFirst();
    else
      it->Seek(slice(range.from));
    for (std::uint64_t n = 0; n < range.limit && it->Valid(); ++n) {
      each(view(it->key()), view(it->value()));
      if (range.backward)
        it->Prev();
      else
        it->Next();
    }
    return it->status().ok();
  }
  std::uint64_t put_early(std::string_view key, std::string_view value) override {
    return db_.Put({}, slice(key), slice(value)).ok() ? ++put_ : 0;
  }
  /// An empty batch, written with sync, makes all before it durable.
  bool sync(std::uint64_t ticket) override {
    if (ticket <= synced_) return true;
    ::leveldb::WriteOptions sync;
    sync.sync = true;
    ::leveldb::WriteBatch nothing;
    synced_ = put_;
    return db_.Write(sync, &nothing).ok();
  }

 private:
  ::leveldb::DB& db_;
  ::leveldb::WriteOptions write_;
  ::leveldb::ReadOptions read_, scan_;
  std::string value_;
  std::uint64_t put_ = 0, synced_ = 0;
};

class LevelDb final : public Store {
 public:
  LevelDb(::leveldb::DB* db, LevelDbUse use) : use_(std::move(use)), db_(db) {}
  std::unique_ptr<Session> session() override { return std::make_unique<LevelDbSession>(*db_, use_); }
  bool flush() override {
    db_->CompactRange(nullptr, nullptr);
    return true;
  }

 private:
  const LevelDbUse use_;
  const std::unique_ptr<::leveldb::DB> db_;
};

}  // namespace

std::unique_ptr<Store> open_leveldb(const std::string& directory, const ::leveldb::Options& options,
                                    const LevelDbUse& use) {
  ::leveldb::DB* db = nullptr;
  if (!::leveldb::DB::Open(options, directory, &db).ok()) return nullptr;
  return std::make_unique<LevelDb>(db, use);
}

}  // namespace stores
