// SPDX-License-Identifier: Apache-2.0
#include <leveldb/cache.h>
#include <leveldb/db.h>
#include <leveldb/filter_policy.h>
#include <leveldb/iterator.h>
#include <leveldb/write_batch.h>

#include <algorithm>

#include "race/contender.h"

namespace race {
namespace {

::leveldb::Slice slice(std::string_view s) { return {s.data(), s.size()}; }

class LevelDb final : public Store {
 public:
  LevelDb(const std::string& directory, const Settings& settings)
      : cache_(::leveldb::NewLRUCache(settings.cache_bytes)), filter_(::leveldb::NewBloomFilterPolicy(10)) {
    ::leveldb::Options options;
    options.create_if_missing = true;
    // It takes no more than 1 GiB; 4 GiB would become 0 in its check, and then 64 KiB.
    options.write_buffer_size = std::min<std::uint64_t>(settings.memtable_bytes, 1 << 30);
    options.block_cache = cache_.get();
    options.filter_policy = filter_.get();
    options.max_file_size = 64 << 20;
    options.reuse_logs = true;  // or each start would write what it replays into a table
    ::leveldb::DB* db = nullptr;
    must(::leveldb::DB::Open(options, directory, &db), "leveldb: open");
    db_.reset(db);
    write_.sync = settings.power;
  }
  void put(std::string_view key, std::string_view value) override {
    must(db_->Put(write_, slice(key), slice(value)), "leveldb: put");
  }
  void put_batch(Records records) override {
    ::leveldb::WriteBatch batch;
    for (const auto& [key, value] : records) batch.Put(slice(key), slice(value));
    must(db_->Write(write_, &batch), "leveldb: write");
  }
  std::int64_t get(std::string_view key) override {
    const ::leveldb::Status status = db_->Get({}, slice(key), &value_);
    if (status.IsNotFound()) return -1;
    must(status, "leveldb: get");
    return static_cast<std::int64_t>(value_.size());
  }
  Scanned scan() override {
    Scanned all;
    ::leveldb::ReadOptions options;
    options.fill_cache = false;
    const std::unique_ptr<::leveldb::Iterator> it(db_->NewIterator(options));
    for (it->SeekToFirst(); it->Valid(); it->Next()) {
      ++all.records;
      all.bytes += it->key().size() + it->value().size();
    }
    must(it->status(), "leveldb: scan");
    return all;
  }
  void settle() override { db_->CompactRange(nullptr, nullptr); }

 private:
  const std::unique_ptr<::leveldb::Cache> cache_;
  const std::unique_ptr<const ::leveldb::FilterPolicy> filter_;
  std::unique_ptr<::leveldb::DB> db_;
  ::leveldb::WriteOptions write_;
  std::string value_;  // gets come from one thread
};

}  // namespace

Contender leveldb() {
  const std::string version = std::to_string(::leveldb::kMajorVersion) + "." + std::to_string(::leveldb::kMinorVersion);
  return {"leveldb", version, "snappy, filter 10 bits a key, max_file_size 64 MiB, reuse_logs",
          [](const std::string& directory, const Settings& settings) -> std::unique_ptr<Store> {
            return std::make_unique<LevelDb>(directory, settings);
          }};
}

}  // namespace race
