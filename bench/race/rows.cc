// SPDX-License-Identifier: Apache-2.0
#include "race/rows.h"

#include <array>
#include <map>
#include <utility>

namespace race {

const std::vector<Section>& sections() {
  static const std::string kMs = "ms", kMib = "MiB/s", kPerByte = "bytes a byte", kMemory = "MiB";
  static const std::vector<Section> all = {
      {"Puts that survive a kill",
       {{.title = "fill, keys rising", .trial = "fill_sequential", .aim = 2, .pictured = true},
        {.title = "fill, keys scattered", .trial = "fill_random", .aim = 4, .pictured = true},
        {.title = "the same, 4 threads", .trial = "fill_random_4"},
        {.title = "overwrite", .trial = "overwrite", .aim = 4, .pictured = true},
        {.title = "delete", .trial = "delete"},
        {.title = "bulk load", .trial = "bulk_load", .aim = 1.5, .pictured = true}}},
      {"Puts that survive loss of power",
       {{.title = "1 thread", .trial = "durable_1", .aim = 1.3, .pictured = true},
        {.title = "1 thread, beside the raw append",
         .trial = "durable_1",
         .aim = 0.9,
         .against = kReference,
         .against_trial = "raw_append"},
        {.title = "4 threads", .trial = "durable_4"},
        {.title = "16 threads", .trial = "durable_16", .aim = 1.6, .pictured = true},
        {.title = "64 threads", .trial = "durable_64", .aim = 2.6, .pictured = true},
        {.title = "pipelined from 1 thread", .trial = "pipelined", .pictured = true},
        {.title = "the same, beside 1 thread that waits",
         .trial = "pipelined",
         .aim = 100,
         .against_trial = "durable_1"},
        {.title = "batches of 100, puts", .trial = "durable_batch", .pictured = true}}},
      {"Reads",
       {{.title = "get, hot", .trial = "get_hot", .aim = 1.2, .pictured = true},
        {.title = "get, hot, 2 threads", .trial = "get_hot_2", .aim = 1.2},
        {.title = "get, not there", .trial = "get_missing", .aim = 1.2, .pictured = true},
        {.title = "multi-get of 32, hot, keys", .trial = "multi_get"},
        {.title = "full scan, records", .trial = "scan", .aim = 1, .pictured = true},
        {.title = "full scan backwards, records", .trial = "scan_back"},
        {.title = "seek and 50 records", .trial = "seek", .aim = 1.3, .pictured = true},
        {.title = "reader beside a writer",
         .trial = "read_while_writing",
         .figure = "rate_read",
         .aim = 1.2,
         .pictured = true},
        {.title = "its writer", .trial = "read_while_writing", .figure = "rate_write", .aim = 1.2, .pictured = true},
        {.title = "get, cold", .trial = "cold_get", .aim = 1.2, .pictured = true},
        {.title = "multi-get of 32, cold, keys", .trial = "cold_multi_get", .aim = 3, .pictured = true}}},
      {"YCSB, 2 threads",
       {{.title = "A: half reads, half updates", .trial = "ycsb", .figure = "rate_a"},
        {.title = "B: 95 % reads, updates", .trial = "ycsb", .figure = "rate_b"},
        {.title = "C: reads", .trial = "ycsb", .figure = "rate_c"},
        {.title = "D: 95 % reads of the newest, inserts", .trial = "ycsb", .figure = "rate_d"},
        {.title = "E: 95 % short scans, inserts", .trial = "ycsb", .figure = "rate_e"},
        {.title = "F: half reads, half read-modify-writes", .trial = "ycsb", .figure = "rate_f"}}},
      {"Values of one size",
       {{.title = "put, 100 bytes", .trial = "values_100", .figure = "rate_put", .unit = kMib},
        {.title = "put, 1 KiB", .trial = "values_1k", .figure = "rate_put", .unit = kMib},
        {.title = "put, 16 KiB", .trial = "values_16k", .figure = "rate_put", .unit = kMib},
        {.title = "put, 1 MiB", .trial = "values_1m", .figure = "rate_put", .unit = kMib},
        {.title = "get, 100 bytes", .trial = "values_100", .figure = "rate_get", .unit = kMib},
        {.title = "get, 1 KiB", .trial = "values_1k", .figure = "rate_get", .unit = kMib},
        {.title = "get, 16 KiB", .trial = "values_16k", .figure = "rate_get", .unit = kMib},
        {.title = "get, 1 MiB", .trial = "values_1m", .figure = "rate_get", .unit = kMib}}},
      {"Recovery",
       {{.title = "16 MiB tail, to the first read", .trial = "replay_16", .figure = "first_ms", .unit = kMs},
        {.title = "16 MiB tail, to the first durable put", .trial = "replay_16", .figure = "ready_ms", .unit = kMs},
        {.title = "64 MiB tail, to the first read", .trial = "replay_64", .figure = "first_ms", .unit = kMs},
        {.title = "64 MiB tail, to the first durable put", .trial = "replay_64", .figure = "ready_ms", .unit = kMs},
        {.title = "256 MiB tail, to the first read", .trial = "replay_256", .figure = "first_ms", .unit = kMs},
        {.title = "256 MiB tail, to the first durable put", .trial = "replay_256", .figure = "ready_ms", .unit = kMs},
        {.title = "replay of 256 MiB", .trial = "replay_256", .unit = kMib, .aim = 10, .pictured = true},
        {.title = "big store, cold, to the first read",
         .trial = "open",
         .figure = "cold_first_ms",
         .unit = kMs,
         .aim = 1,
         .pictured = true},
        {.title = "big store, cold, to the first durable put", .trial = "open", .figure = "cold_ready_ms", .unit = kMs},
        {.title = "big store, warm, to the first read", .trial = "open", .figure = "warm_first_ms", .unit = kMs},
        {.title = "big store, warm, to the first durable put", .trial = "open", .figure = "warm_ready_ms", .unit = kMs},
        {.title = "big store and a 256 MiB tail, cold, to the first read",
         .trial = "open_tail",
         .figure = "cold_first_ms",
         .unit = kMs,
         .aim = 1},
        {.title = "the same, to the first durable put", .trial = "open_tail", .figure = "cold_ready_ms", .unit = kMs}}},
      {"What it takes",
       {{.title = "disk, after an overwrite",
         .trial = "overwrite",
         .figure = "disk",
         .unit = kPerByte,
         .aim = 0.91,
         .against = "rocksdb",
         .pictured = true},
        {.title = "written by an overwrite",
         .trial = "overwrite",
         .figure = "written",
         .unit = kPerByte,
         .aim = 1,
         .against = "rocksdb",
         .pictured = true},
        {.title = "peak memory, overwrite",
         .trial = "overwrite",
         .figure = "peak_mib",
         .unit = kMemory,
         .aim = 1,
         .against = "rocksdb",
         .pictured = true},
        {.title = "peak memory, get, hot",
         .trial = "get_hot",
         .figure = "peak_mib",
         .unit = kMemory,
         .aim = 1,
         .against = "rocksdb"}}}};
  return all;
}

const std::vector<Section>& growth() {
  static const std::vector<Section> all = [] {
    Section threads{"As threads grow", {}, "threads"}, keys{"As keys grow", {}, kKeys};
    for (const auto& [title, trials] : std::map<std::string, std::vector<std::string>>{
             {"durable put", {"durable_1", "durable_2", "durable_4", "durable_8"}},
             {"fill, keys scattered", {"fill_random", "fill_random_2", "fill_random_4", "fill_random_8"}},
             {"get, hot", {"get_hot", "get_hot_2", "get_hot_4", "get_hot_8"}}}) {
      double at = 1;
      for (const std::string& trial : trials) {
        threads.rows.push_back({.title = title, .trial = trial, .at = at});
        at *= 2;
      }
    }
    for (const auto& [title, figure, unit] : {std::array{"put again, scattered", "rate_put", "1/s"},
                                              {"get", "rate_get", "1/s"},
                                              {"seek and 50 records", "rate_seek", "1/s"},
                                              {"start, cold, to the first read", "first_ms", "ms"}}) {
      for (const auto& [trial, at] : {std::pair{"grown_1m", 1e6}, {"grown_10m", 1e7}, {"grown_100m", 1e8}})
        keys.rows.push_back({.title = title, .trial = trial, .figure = figure, .unit = unit, .at = at});
    }
    return std::vector{threads, keys};
  }();
  return all;
}

const Section& references() {
  static const std::string kMib = "MiB/s";
  static const Section all = {"The machine, in the same run",
                              {{.title = "4 KiB appended, direct and durable", .trial = "raw_append"},
                               {.title = "the same, 4 under way", .trial = "raw_append_4"},
                               {.title = "the same, 16 under way", .trial = "raw_append_16"},
                               {.title = "128 bytes and fdatasync, growing file", .trial = "append_and_sync"},
                               {.title = "128 bytes by write(), no sync", .trial = "write_call"},
                               {.title = "sequential write, direct", .trial = "sequential_write", .unit = kMib},
                               {.title = "sequential read, direct", .trial = "sequential_read", .unit = kMib},
                               {.title = "4 KiB read anywhere, direct", .trial = "random_read"},
                               {.title = "memcpy", .trial = "memcpy", .unit = kMib},
                               {.title = "std::map, put", .trial = "ordered_map", .figure = "rate_put"},
                               {.title = "std::map, get", .trial = "ordered_map", .figure = "rate_get"},
                               {.title = "std::map, scan", .trial = "ordered_map", .figure = "rate_scan"},
                               {.title = "std::unordered_map, put", .trial = "hash_map", .figure = "rate_put"},
                               {.title = "std::unordered_map, get", .trial = "hash_map", .figure = "rate_get"}}};
  return all;
}

}  // namespace race
