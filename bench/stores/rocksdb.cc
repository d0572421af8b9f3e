// SPDX-License-Identifier: Apache-2.0
#include "stores/rocksdb.h"

#include <rocksdb/db.h>
#include <rocksdb/iterator.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <thread>
#include <vector>

namespace stores {
namespace {

::rocksdb::Slice slice(std::string_view s) { return {s.data(), s.size()}; }
std::string_view view(const ::rocksdb::Slice& s) { return {s.data(), s.size()}; }

class RocksDbSession final : public Session {
 public:
  RocksDbSession(::rocksdb::DB& db, bool sync) : db_(db) {
    write_.sync = sync;
    scan_.fill_cache = false;
  }
  bool put(std::string_view key, std::string_view value) override {
    return db_.Put(write_, slice(key), slice(value)).ok();
  }
  bool erase(std::string_view key) override { return db_.Delete(write_, slice(key)).ok(); }
  bool write(std::span<const Change> changes) override {
    ::rocksdb::WriteBatch batch;
    for (const Change& change : changes) {
      const auto status =
          change.value ? batch.Put(slice(change.key), slice(*change.value)) : batch.Delete(slice(change.key));
      if (!status.ok()) return false;
    }
    return db_.Write(write_, &batch).ok();
  }
  Answer get(std::string_view key, std::string_view& value) override {
    value_.Reset();
    const ::rocksdb::Status status = db_.Get({}, db_.DefaultColumnFamily(), slice(key), &value_);
    value = view(value_);
    if (status.ok()) return Answer::kValue;
    return status.IsNotFound() ? Answer::kAbsent : Answer::kError;
  }
  bool multi_get(std::span<const std::string_view> keys, const Visit& each) override {
    slices_.clear();
    for (const std::string_view key : keys) slices_.push_back(slice(key));
    values_.clear();
    values_.resize(keys.size());
    statuses_.resize(keys.size());
    db_.MultiGet({}, db_.DefaultColumnFamily(), keys.size(), slices_.data(), values_.data(), statuses_.data());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (statuses_[i].ok())
        each(keys[i], view(values_[i]));
      else if (!statuses_[i].IsNotFound())
        return false;
    }
    return true;
  }
  bool scan(const Range& range, const Visit& each) override {
    // A short one finds its blocks again; a long one would throw all others out.
    const std::unique_ptr<::rocksdb::Iterator> it(
        db_.NewIterator(range.limit == UINT64_MAX ? scan_ : ::rocksdb::ReadOptions()));
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
  bool sync(std::uint64_t ticket) override {
    if (ticket <= synced_) return true;
    synced_ = put_;
    return db_.SyncWAL().ok();
  }

 private:
  ::rocksdb::DB& db_;
  ::rocksdb::WriteOptions write_;
  ::rocksdb::ReadOptions scan_;
  ::rocksdb::PinnableSlice value_;
  std::vector<::rocksdb::Slice> slices_;
  std::vector<::rocksdb::PinnableSlice> values_;
  std::vector<::rocksdb::Status> statuses_;
  std::uint64_t put_ = 0, synced_ = 0;
};

class RocksDb final : public Store {
 public:
  RocksDb(std::string directory, const ::rocksdb::Options& options, ::rocksdb::DB* db, bool sync)
      : directory_(std::move(directory)), options_(options), db_(db), sync_(sync) {}
  std::unique_ptr<Session> session() override { return std::make_unique<RocksDbSession>(*db_, sync_); }
  bool flush() override { return db_->Flush({}).ok(); }
  bool settle() override { return db_->CompactRange({}, nullptr, nullptr).ok(); }
  /// Two threads write table files, which are taken in as they are.
  bool bulk_load(std::uint64_t records, const Source& source) override {
    static constexpr std::uint64_t kFiles = 2;
    std::vector<std::string> paths;
    for (std::uint64_t f = 0; f < kFiles && f < records; ++f) {
      paths.push_back(directory_ + "/load" + std::to_string(f));
    }
    std::vector<char> good(paths.size());
    std::vector<std::thread> all;
    for (std::uint64_t f = 0; f < paths.size(); ++f) {
      all.emplace_back([&, f] {
        ::rocksdb::SstFileWriter writer({}, options_);
        bool ok = writer.Open(paths[f]).ok();
        for (std::uint64_t i = records * f / paths.size(); ok && i < records * (f + 1) / paths.size(); ++i) {
          const auto [key, value] = source(i);
          ok = writer.Put(slice(key), slice(value)).ok();
        }
        good[f] = ok && writer.Finish().ok();
      });
    }
    for (std::thread& one : all) one.join();
    ::rocksdb::IngestExternalFileOptions move;
    move.move_files = true;
    return std::find(good.begin(), good.end(), 0) == good.end() && db_->IngestExternalFile(paths, move).ok();
  }

 private:
  const std::string directory_;
  const ::rocksdb::Options options_;
  const std::unique_ptr<::rocksdb::DB> db_;
  const bool sync_;
};

}  // namespace

std::unique_ptr<Store> open_rocksdb(const std::string& directory, const ::rocksdb::Options& options, bool sync) {
  ::rocksdb::DB* db = nullptr;
  if (!::rocksdb::DB::Open(options, directory, &db).ok()) return nullptr;
  return std::make_unique<RocksDb>(directory, options, db, sync);
}

}  // namespace stores
