// SPDX-License-Identifier: Apache-2.0
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/iterator.h>
#include <rocksdb/table.h>
#include <rocksdb/version.h>
#include <rocksdb/write_batch.h>

#include "race/contender.h"

namespace race {
namespace {

::rocksdb::Slice slice(std::string_view s) { return {s.data(), s.size()}; }

class RocksDb final : public Store {
 public:
  RocksDb(const std::string& directory, const Settings& settings) {
    ::rocksdb::Options options;
    options.create_if_missing = true;
    options.IncreaseParallelism(2);
    options.write_buffer_size = settings.memtable_bytes;
    options.compression = ::rocksdb::kLZ4Compression;
    options.avoid_flush_during_recovery = true;  // or each start would write what it replays into a table
    options.recycle_log_file_num = settings.power ? 2 : 0;
    options.stats_dump_period_sec = 0;
    ::rocksdb::BlockBasedTableOptions table;
    table.block_cache = ::rocksdb::NewLRUCache(settings.cache_bytes);
    table.filter_policy.reset(::rocksdb::NewBloomFilterPolicy(10));
    options.table_factory.reset(::rocksdb::NewBlockBasedTableFactory(table));
    ::rocksdb::DB* db = nullptr;
    must(::rocksdb::DB::Open(options, directory, &db), "rocksdb: open");
    db_.reset(db);
    write_.sync = settings.power;
  }
  void put(std::string_view key, std::string_view value) override {
    must(db_->Put(write_, slice(key), slice(value)), "rocksdb: put");
  }
  void put_batch(Records records) override {
    ::rocksdb::WriteBatch batch;
    for (const auto& [key, value] : records) must(batch.Put(slice(key), slice(value)), "rocksdb: batch");
    must(db_->Write(write_, &batch), "rocksdb: write");
  }
  std::int64_t get(std::string_view key) override {
    value_.Reset();
    const ::rocksdb::Status status = db_->Get({}, db_->DefaultColumnFamily(), slice(key), &value_);
    if (status.IsNotFound()) return -1;
    must(status, "rocksdb: get");
    return static_cast<std::int64_t>(value_.size());
  }
  Scanned scan() override {
    Scanned all;
    ::rocksdb::ReadOptions options;
    options.fill_cache = false;
    const std::unique_ptr<::rocksdb::Iterator> it(db_->NewIterator(options));
    for (it->SeekToFirst(); it->Valid(); it->Next()) {
      ++all.records;
      all.bytes += it->key().size() + it->value().size();
    }
    must(it->status(), "rocksdb: scan");
    return all;
  }
  void settle() override { must(db_->CompactRange({}, nullptr, nullptr), "rocksdb: compact"); }

 private:
  std::unique_ptr<::rocksdb::DB> db_;
  ::rocksdb::WriteOptions write_;
  ::rocksdb::PinnableSlice value_;  // gets come from one thread
};

}  // namespace

Contender rocksdb() {
  const std::string version =
      std::to_string(ROCKSDB_MAJOR) + "." + std::to_string(ROCKSDB_MINOR) + "." + std::to_string(ROCKSDB_PATCH);
  return {"rocksdb", version,
          "LZ4, filter 10 bits a key, IncreaseParallelism(2), avoid_flush_during_recovery, recycle_log_file_num 2 for "
          "durable puts, gets by PinnableSlice",
          [](const std::string& directory, const Settings& settings) -> std::unique_ptr<Store> {
            return std::make_unique<RocksDb>(directory, settings);
          }};
}

}  // namespace race
