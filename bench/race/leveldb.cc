// SPDX-License-Identifier: Apache-2.0
#include "stores/leveldb.h"

#include <leveldb/cache.h>
#include <leveldb/filter_policy.h>

#include "race/contender.h"

namespace race {

Contender contender() {
  return {
      RACE_NAME, std::to_string(::leveldb::kMajorVersion) + "." + std::to_string(::leveldb::kMinorVersion),
      "write_buffer_size 64 MiB, max_file_size 64 MiB, Snappy, filter 10 bits a key, reuse_logs; reads tables "
      "through mmap, which it cannot be told not to do; pipelined puts are made durable by an empty batch with sync; "
      "bulk load by batches of 1000 and one such",
      [](const std::string& directory, const Settings& settings) {
        struct Kept {
          std::unique_ptr<::leveldb::Cache> cache;
          std::unique_ptr<const ::leveldb::FilterPolicy> filter;
        };
        const auto kept = std::make_shared<Kept>();
        kept->cache.reset(::leveldb::NewLRUCache(settings.cache_bytes));
        kept->filter.reset(::leveldb::NewBloomFilterPolicy(10));
        ::leveldb::Options options;
        options.create_if_missing = true;
        options.write_buffer_size = settings.tail ? 1 << 30 : kMemtableBytes;  // the most it takes
        options.max_file_size = 64 << 20;
        options.block_cache = kept->cache.get();
        options.filter_policy = kept->filter.get();
        options.reuse_logs = true;  // or each start would write what it replays into a table
        return stores::open_leveldb(directory, options, {.sync = settings.power, .keep = kept});
      }};
}

}  // namespace race
