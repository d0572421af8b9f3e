// SPDX-License-Identifier: Apache-2.0
#include "stores/rocksdb.h"

#include <rocksdb/cache.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <rocksdb/version.h>

#include "race/contender.h"

namespace race {

Contender contender() {
  return {
      RACE_NAME,
      std::to_string(ROCKSDB_MAJOR) + "." + std::to_string(ROCKSDB_MINOR) + "." + std::to_string(ROCKSDB_PATCH),
      "write_buffer_size 64 MiB, IncreaseParallelism(2), LZ4, filter 10 bits a key, format_version 5, hash index in "
      "data blocks, avoid_flush_during_recovery, recycle_log_file_num 2 where puts are durable, PinnableSlice, "
      "MultiGet; pipelined puts are made durable by SyncWAL; bulk load by table files written on 2 threads and taken "
      "in",
      [](const std::string& directory, const Settings& settings) {
        ::rocksdb::Options options;
        options.create_if_missing = true;
        options.IncreaseParallelism(2);
        options.write_buffer_size = settings.tail ? std::size_t{4} << 30 : kMemtableBytes;
        options.compression = ::rocksdb::kLZ4Compression;
        options.avoid_flush_during_recovery = true;  // or each start would write what it replays into a table
        options.recycle_log_file_num = settings.power ? 2 : 0;
        options.stats_dump_period_sec = 0;
        ::rocksdb::BlockBasedTableOptions table;
        table.block_cache = ::rocksdb::NewLRUCache(settings.cache_bytes);
        table.filter_policy.reset(::rocksdb::NewBloomFilterPolicy(10));
        table.format_version = 5;
        table.data_block_index_type = ::rocksdb::BlockBasedTableOptions::kDataBlockBinaryAndHash;
        options.table_factory.reset(::rocksdb::NewBlockBasedTableFactory(table));
        return stores::open_rocksdb(directory, options, settings.power);
      }};
}

}  // namespace race
