// SPDX-License-Identifier: Apache-2.0
// A store on a simulated disk, on one thread: what the tests of the engine share.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "io/sim_storage.h"

namespace daruma {

inline Options small() {
  Options options;
  options.memtable_bytes = 1 << 20;
  options.segment_bytes = 256 << 10;
  options.ring_bytes = 256 << 10;
  options.cache_bytes = 1 << 20;
  return options;
}

struct World {
  std::shared_ptr<SimStorage> disk = std::make_shared<SimStorage>();
  ManualClock clock;
  std::uint64_t seed = 7;
  /// So small that a few checkpoints fill several levels.
  CompactionSettings compaction{.level0_trigger = 2,
                                .base_level_bytes = 16 << 10,
                                .level_factor = 2,
                                .output_run_bytes = 8 << 10,
                                .input_bytes_max = 64 << 10};

  std::function<void(Sequence)> before_apply{};
  std::function<Status(std::string_view)> failpoint{};
  Options options = small();
  bool start_late = false;

  Result<Store::Opened> open() { return open(options); }
  Result<Store::Opened> open(const Options& with) { return Engine::open_store("store", with, environment()); }
  Result<Store::Opened> open_at(const RecoveryTarget& target, const StateCheck& check = {},
                                IfInvalid if_invalid = IfInvalid::kRefuse) {
    return Engine::open_store_at("store", options, environment(), target, check, if_invalid);
  }
  Environment environment() {
    Environment environment;
    environment.storage = disk;
    environment.clock = &clock;
    environment.seed = seed++;
    environment.threads = false;
    environment.start_late = start_late;
    environment.compaction = compaction;
    environment.before_apply = before_apply;
    environment.failpoint = failpoint;
    return environment;
  }
  Store must_open(RecoveryReport* report = nullptr) {
    Result<Store::Opened> opened = open();
    EXPECT_TRUE(opened.ok()) << opened.status().to_string();
    if (!opened.ok()) std::abort();
    if (report) *report = opened->report;
    return std::move(opened->store);
  }
};

/// Does not compress.
inline std::string noise(std::uint64_t bytes, Random& random) {
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>(random.next());
  return text;
}

/// So that neither an older generation nor the log has another copy of what is in runs.
inline void go_on(Store& store) {
  const Keyspace other = *store.create_keyspace("go on");
  for (const char* tick : {"1", "2", "3"}) {
    EXPECT_TRUE(store.checkpoint().ok());
    EXPECT_TRUE(store.put(other, "tick", tick).ok());
  }
}

/// Names, sizes and bytes of all files below `directory`.
inline std::map<std::string, std::string> contents(Storage& disk, const std::string& directory) {
  std::map<std::string, std::string> all;
  const std::vector<DirectoryEntry> entries = *disk.list(directory);
  for (const DirectoryEntry& entry : entries) {
    const std::string path = directory + "/" + entry.name;
    if (entry.is_directory) {
      all.merge(contents(disk, path));
    } else {
      all[path] = *read_whole(disk, path, std::uint64_t{1} << 30);
    }
  }
  return all;
}

}  // namespace daruma
