// SPDX-License-Identifier: Apache-2.0
// Sorted records straight into runs.
#include "daruma/store.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include <gtest/gtest.h>
#include <sanitized.h>
#include <temporary_directory.h>

#include <crash_script.h>
#include <engine_testing.h>

#include "io/posix_storage.h"

namespace daruma {
namespace {

using Records = std::map<std::string, std::string>;

/// Some records in a run; one of a single record takes 64 KiB.
struct LoadWorld : World {
  LoadWorld() { compaction.output_run_bytes = 108 << 10; }
};

std::string key_of(unsigned i) {
  std::string digits = std::to_string(i);
  return "k" + std::string(6 - digits.size(), '0') + digits;
}

/// Larger than several runs of the smallest size.
Records records(unsigned count = 120, std::uint64_t seed = 1) {
  Random random(seed);
  Records all;
  for (unsigned i = 0; i < count; ++i) all[key_of(i * 10)] = noise(300, random);
  return all;
}

RecordSource source_of(const Records& records) {
  return [at = records.begin(), end = records.end()](std::string_view& key, std::string_view& value) mutable {
    if (at == end) return Result<bool>(false);
    key = at->first;
    value = at->second;
    ++at;
    return Result<bool>(true);
  };
}

/// Calls `meanwhile` before the record number `when`.
RecordSource interrupted(const Records& records, unsigned when, std::function<void()> meanwhile) {
  return [source = source_of(records), when, n = 0U, meanwhile = std::move(meanwhile)](
             std::string_view& key, std::string_view& value) mutable {
    if (n++ == when) meanwhile();
    return source(key, value);
  };
}

Records held(Store& store, const std::string& keyspace = "k") { return read_all(store)[keyspace]; }

std::size_t runs_on_disk(SimStorage& disk) { return disk.list("store/runs")->size(); }

TEST(BulkLoad, IsVisibleDurableAndAtTheBottom) {
  LoadWorld world;
  const Records all = records();
  {
    Store store = world.must_open();
    const Keyspace k = *store.create_keyspace("k");
    const Result<Sequence> loaded = store.bulk_load(k, source_of(all));
    ASSERT_TRUE(loaded.ok()) << loaded.status().to_string();
    EXPECT_EQ(*loaded + 1, store.stats().sequence) << "behind it the log names the keyspace";
    EXPECT_TRUE(held(store) == all);
    const KeyspaceStats stats = *store.keyspace_stats(k);
    EXPECT_GT(stats.runs, 2U);
    EXPECT_EQ(stats.runs_per_level.back(), stats.runs) << "nothing is left to merge";
    EXPECT_EQ(stats.memtable_entries, 0U);
  }
  world.disk->power_cut(0);
  RecoveryReport report;
  Store store = world.must_open(&report);
  EXPECT_TRUE(report.clean()) << report.to_text();
  EXPECT_TRUE(held(store) == all);
}

TEST(BulkLoad, OfNothingIsNothing) {
  LoadWorld world;
  Store store = world.must_open();
  const Keyspace k = *store.create_keyspace("k");
  EXPECT_TRUE(store.bulk_load(k, source_of({})).ok());
  EXPECT_TRUE(held(store) == Records());
}

TEST(BulkLoad, WhatMakesNoSenseIsRefusedAndLeavesNothing) {
  LoadWorld world;
  Store store = world.must_open();
  const Keyspace k = *store.create_keyspace("k");
  ASSERT_TRUE(store.put(k, "before", "x").ok());
  ASSERT_TRUE(store.checkpoint().ok());
  const Records before = held(store);
  const auto expect_refused = [&](const char* what, std::vector<std::pair<std::string, std::string>> tail, Code code) {
    SCOPED_TRACE(what);
    const Records all = records();
    auto source = [first = source_of(all), tail, n = std::size_t{0}](std::string_view& key,
                                                                     std::string_view& value) mutable -> Result<bool> {
      Result<bool> more = first(key, value);
      if (!more.ok() || *more) return more;
      if (n == tail.size()) return Status(Code::kAborted, "the source gave up");
      key = tail[n].first;
      value = tail[n++].second;
      return true;
    };
    const Result<Sequence> loaded = store.bulk_load(k, source);
    EXPECT_TRUE(loaded.status().is(code)) << loaded.status().to_string();
    const bool named = tail.empty() || tail[0].first.size() > 100 ||
                       loaded.status().to_string().find(tail[0].first) != std::string::npos;
    EXPECT_TRUE(named) << loaded.status().to_string();
    EXPECT_TRUE(held(store) == before);
  };
  expect_refused("smaller", {{"a", "x"}}, Code::kInvalidArgument);
  expect_refused("again", {{key_of(1190), "x"}}, Code::kInvalidArgument);
  expect_refused("long", {{std::string(kMaxKeyBytes + 1, 'z'), "x"}}, Code::kInvalidArgument);
  expect_refused("an error", {}, Code::kAborted);
  EXPECT_TRUE(store.bulk_load(Keyspace(), source_of(records())).status().is(Code::kNotFound));
  // The runs of checkpoints are all there is.
  EXPECT_EQ(store.keyspace_stats(k)->runs, 1U);
  EXPECT_LT(runs_on_disk(*world.disk), 8U);
  EXPECT_TRUE(store.bulk_load(k, source_of(records())).ok()) << "the next one is none the worse";
}

TEST(BulkLoad, ComesBeforeWhatIsWrittenMeanwhileAndAfterTheRest) {
  for (const bool compacts : {false, true}) {
    LoadWorld world;
    const Records all = records();
    Records expected = all;
    {
      Store store = world.must_open();
      const Keyspace k = *store.create_keyspace("k");
      ASSERT_TRUE(store.put(k, key_of(0), "older").ok());
      ASSERT_TRUE(store.put(k, key_of(5), "older, and not loaded").ok());
      expected[key_of(5)] = "older, and not loaded";
      ASSERT_TRUE(store.compact(k).ok());
      ASSERT_TRUE(store.put(k, key_of(1000), "older").ok());
      ASSERT_TRUE(store.erase_range(k, key_of(20), key_of(60)).ok());
      std::optional<View> view;
      const auto meanwhile = [&] {
        ASSERT_TRUE(store.put(k, key_of(10), "newer").ok());
        ASSERT_TRUE(store.erase(k, key_of(500)).ok());
        ASSERT_TRUE(store.erase_range(k, key_of(700), key_of(800)).ok());
        ASSERT_TRUE(store.checkpoint().ok());
        ASSERT_TRUE(store.put(k, key_of(1190), "newer").ok());
        view = store.view();
      };
      ASSERT_TRUE(store.bulk_load(k, interrupted(all, 60, meanwhile)).ok());
      EXPECT_TRUE(store.get(k, key_of(30), *view).status().is(Code::kNotFound)) << "a view is a view";
      expected[key_of(10)] = expected[key_of(1190)] = "newer";
      expected.erase(key_of(500));
      expected.erase(expected.lower_bound(key_of(700)), expected.lower_bound(key_of(800)));
      EXPECT_TRUE(held(store) == expected);
      if (compacts) {
        for (int i = 0; i < 30; ++i) ASSERT_TRUE(Engine::of(store).step().ok());
        EXPECT_TRUE(held(store) == expected);
        ASSERT_TRUE(store.compact(k).ok());
        EXPECT_TRUE(held(store) == expected);
      }
    }
    world.disk->power_cut(0);
    Store store = world.must_open();
    EXPECT_TRUE(held(store) == expected);
  }
}

TEST(BulkLoad, OfAKeyspaceThatIsDroppedMeanwhileLeavesNothing) {
  LoadWorld world;
  Store store = world.must_open();
  const Keyspace k = *store.create_keyspace("k");
  const Result<Sequence> loaded =
      store.bulk_load(k, interrupted(records(), 60, [&] { ASSERT_TRUE(store.drop_keyspace(k).ok()); }));
  EXPECT_TRUE(loaded.status().is(Code::kNotFound)) << loaded.status().to_string();
  ASSERT_TRUE(store.checkpoint().ok());
  EXPECT_LT(runs_on_disk(*world.disk), 5U);
}

std::vector<std::string> files_in(SimStorage& disk, const std::string& directory) {
  std::vector<std::string> files;
  const std::vector<DirectoryEntry> entries = *disk.list(directory);
  for (const DirectoryEntry& entry : entries) files.push_back(directory + "/" + entry.name);
  return files;
}

void lose(SimStorage& disk, const std::string& path) {
  ASSERT_TRUE(disk.remove(path).ok());
  ASSERT_TRUE(disk.sync_directory(path.substr(0, path.rfind('/'))).ok());
}

void lose_newest_manifest(SimStorage& disk) { lose(disk, files_in(disk, "store/snapshots").back()); }

void lose_all_manifests(SimStorage& disk) {
  for (const std::string& path : files_in(disk, "store/snapshots")) lose(disk, path);
  lose(disk, "store/recoveries/manifest");
}

/// Before each crash point of a load and of what follows: the disk then, and whether it had been acknowledged.
struct Moments {
  std::vector<std::pair<std::unique_ptr<SimStorage>, bool>> disks;
  Records before, after;
};

Moments moments_of_a_load() {
  Moments moments;
  LoadWorld world;
  Store store = world.must_open();
  const Keyspace k = *store.create_keyspace("k");
  EXPECT_TRUE(store.put(k, key_of(10), "older").ok());
  EXPECT_TRUE(store.put(k, "z", "stays").ok());
  moments.before = held(store);
  moments.after = records(60);
  moments.after["z"] = "stays";
  bool acknowledged = false;
  world.disk->on_crash_point([&](std::uint64_t operation, const SimStorage::CrashImage& image) {
    moments.disks.emplace_back(image(operation % 2 == 1, operation + 1), acknowledged);
  });
  const auto meanwhile = [&] {  // changes nothing, and covers more than the load
    for (int i = 0; i < 2; ++i) {
      EXPECT_TRUE(store.put(k, "z", "stays").ok());
      EXPECT_TRUE(store.checkpoint().ok());
    }
  };
  EXPECT_TRUE(store.bulk_load(k, interrupted(records(60), 40, meanwhile)).ok());
  acknowledged = true;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Engine::of(store).step().ok());
  EXPECT_TRUE(store.put(k, "z", "stays").ok());
  EXPECT_TRUE(store.compact(k).ok());
  world.disk->on_crash_point({});
  return moments;
}

// Killed anywhere, a load is there or not, for good: also where the newest manifest is lost after the next start.
TEST(BulkLoad, AllOrNothingAtEveryPoint) {
  const Moments moments = moments_of_a_load();
  ASSERT_GT(moments.disks.size(), 40U);
  unsigned with = 0;
  unsigned without = 0;
  for (std::size_t i = 0; i < moments.disks.size() && !HasFailure(); ++i) {
    for (const int end : {0, 1, 2}) {
      if (kSanitized && static_cast<std::size_t>(end) != i % 3) continue;
      SCOPED_TRACE("moment " + std::to_string(i) + ", end " + std::to_string(end));
      LoadWorld world;
      world.start_late = i % 2 == 1;
      world.disk = moments.disks[i].first->clone(i * 3 + static_cast<std::size_t>(end));
      if (end == 0) {
        world.disk->kill();
      } else {
        world.disk->power_cut(end == 1 ? 0 : 60);
      }
      Records found;
      {
        RecoveryReport report;
        Store store = world.must_open(&report);
        EXPECT_TRUE(report.clean()) << report.to_text();
        found = held(store);
        if (found == moments.after) {
          ++with;
        } else {
          ++without;
          EXPECT_TRUE(found == moments.before);
          EXPECT_FALSE(moments.disks[i].second) << "an acknowledged load is gone";
        }
        ASSERT_TRUE(Engine::of(store).started().ok());
      }
      lose_newest_manifest(*world.disk);
      lose(*world.disk, "store/recoveries/manifest");
      {
        Store store = world.must_open();
        EXPECT_TRUE(held(store) == found) << "after the loss of the newest manifest";
      }
    }
  }
  EXPECT_GT(with, 10U);
  EXPECT_GT(without, 10U);
}

TEST(BulkLoad, AnAcknowledgedOneStandsInTwoGenerations) {
  LoadWorld world;
  Records loaded;
  {
    Store store = world.must_open();
    const Keyspace k = *store.create_keyspace("k");
    ASSERT_TRUE(store.checkpoint().ok());
    const Records all = records(60);
    ASSERT_TRUE(store.bulk_load(k, source_of(all)).ok());
    loaded = held(store);
  }
  world.disk->kill();
  lose_newest_manifest(*world.disk);
  lose(*world.disk, "store/recoveries/manifest");
  RecoveryReport report;
  Store store = world.must_open(&report);
  EXPECT_TRUE(report.clean()) << report.to_text();
  EXPECT_TRUE(held(store) == loaded);
}

// With no manifest left the runs tell of a load that was whole, and one that was cut off is at least not half there.
TEST(BulkLoad, AllOrNothingAtEveryPointWithoutManifests) {
  const Moments moments = moments_of_a_load();
  for (std::size_t i = 0; i < moments.disks.size() && !HasFailure(); ++i) {
    SCOPED_TRACE("moment " + std::to_string(i));
    LoadWorld world;
    world.disk = moments.disks[i].first->clone(i);
    world.disk->power_cut(i % 3 == 0 ? 0 : 70);
    for (const std::string& path : files_in(*world.disk, "store/snapshots")) lose(*world.disk, path);
    (void)world.disk->remove("store/recoveries/manifest");
    RecoveryReport report;
    Store store = world.must_open(&report);
    if (report.lost.stretches == 0) {
      const Records found = held(store);
      EXPECT_TRUE(found == moments.after || (found == moments.before && !moments.disks[i].second)) << found.size();
      continue;
    }
    EXPECT_FALSE(moments.disks[i].second) << "a whole load is told as lost: " << report.to_text();
    const Result<Keyspace> k = store.keyspace("k");
    if (!k.ok()) continue;
    for (const auto& [key, value] : moments.after) {
      const Result<std::string> got = store.get(*k, key);
      EXPECT_TRUE(got.status().is(Code::kDataLoss) || (got.ok() && key == "z")) << key << got.status().to_string();
    }
  }
}

TEST(BulkLoad, ALostRunIsToldAndNeverRebuiltFromTheLog) {
  for (const bool manifests : {true, false}) {
    LoadWorld world;
    const Records all = records();
    std::vector<std::string> files;
    {
      Store store = world.must_open();
      const Keyspace k = *store.create_keyspace("k");
      ASSERT_TRUE(store.bulk_load(k, source_of(all)).ok());
      files = files_in(*world.disk, "store/runs");
    }
    ASSERT_GT(files.size(), 3U);
    lose(*world.disk, files[files.size() - 2]);  // of the load, neither its first nor its last
    if (!manifests) lose_all_manifests(*world.disk);
    std::size_t lost = 0;
    for (int start = 0; start < 2; ++start) {
      RecoveryReport report;
      Store store = world.must_open(&report);
      for (int i = 0; i < 5 && start == 1; ++i) ASSERT_TRUE(Engine::of(store).step().ok());
      const Keyspace k = *store.keyspace("k");
      for (const auto& [key, value] : all) {
        const Result<std::string> got = store.get(k, key);
        lost += got.ok() ? 0 : 1;
        if (got.ok()) {
          EXPECT_TRUE(*got == value);
        } else {
          EXPECT_TRUE(got.status().is(Code::kDataLoss)) << got.status().to_string();
        }
      }
      EXPECT_FALSE(store.damage().empty());
    }
    EXPECT_GT(lost, 0U);
  }
}

TEST(BulkLoad, AMergedRunIsRebuiltFromItWhereAnOlderGenerationHasIt) {
  LoadWorld world;
  Records expected = records();
  std::vector<std::string> merged;
  {
    Store store = world.must_open();
    const Keyspace k = *store.create_keyspace("k");
    ASSERT_TRUE(store.bulk_load(k, source_of(expected)).ok());
    expected[key_of(5)] = "x";
    ASSERT_TRUE(store.put(k, key_of(5), "x").ok());
    ASSERT_TRUE(store.checkpoint().ok());
    const std::vector<std::string> before = files_in(*world.disk, "store/runs");
    ASSERT_TRUE(store.compact(k).ok());
    merged = files_in(*world.disk, "store/runs");
    std::erase_if(merged, [&](const std::string& file) { return std::count(before.begin(), before.end(), file) > 0; });
  }
  ASSERT_FALSE(merged.empty());
  for (const std::string& file : merged) lose(*world.disk, file);
  Store store = world.must_open();
  EXPECT_FALSE(store.damage().empty());
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(Engine::of(store).step().ok());
  EXPECT_TRUE(store.damage().empty());
  EXPECT_TRUE(held(store) == expected);
}

// A manifest of the two cannot be published: the load has happened or it has not, and the next job finishes it.
TEST(BulkLoad, OneThatFailsAnywhereIsWholeOrNotThere) {
  const Records all = records(60);
  for (const FaultKind kind : {FaultKind::kWriteError, FaultKind::kSyncError, FaultKind::kNoSpace}) {
    for (const char* where : {"runs/", "snapshots/", "wal/", "recoveries/"}) {
      for (unsigned skip = 0; skip < 24; skip += kSanitized ? 5 : 1) {
        SCOPED_TRACE(std::string(where) + " skip " + std::to_string(skip));
        LoadWorld world;
        {
          Store store = world.must_open();
          const Keyspace k = *store.create_keyspace("k");
          ASSERT_TRUE(store.put(k, key_of(10), "older").ok());
          const Records before = held(store);
          world.disk->inject({.kind = kind, .path_contains = where, .skip = skip, .times = 1});
          const Result<Sequence> loaded = store.bulk_load(k, source_of(all));
          world.disk->clear_faults();
          ASSERT_TRUE(Engine::of(store).step().ok());
          const Records found = held(store);
          EXPECT_TRUE(found == all || (!loaded.ok() && found == before)) << loaded.status().to_string();
          if (found != all) { ASSERT_TRUE(store.bulk_load(k, source_of(all)).ok()); }
        }
        world.disk->power_cut(0);
        lose_newest_manifest(*world.disk);
        Store store = world.must_open();
        EXPECT_TRUE(held(store) == all);
        if (HasFailure()) return;
      }
    }
  }
}

// With threads: runs are finished beside the next one, compactions wait, writers and readers go on.
TEST(BulkLoad, GoesOnBesideWritersAndReadersOnTheRealDisk) {
  const TemporaryDirectory directory;
  ASSERT_FALSE(directory.path().empty());
  Environment environment;
  environment.storage = make_posix_storage();
  environment.clock = &system_clock();
  environment.seed = 5;
  environment.compaction = LoadWorld().compaction;
  environment.compaction.output_run_bytes = 200 << 10;
  const Records all = records(2000);
  const auto open = [&] { return Engine::open_store(directory.path() + "/store", small(), environment); };
  {
    Result<Store::Opened> opened = open();
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    Store& store = opened->store;
    const Keyspace k = *store.create_keyspace("k");
    const Keyspace other = *store.create_keyspace("other");
    std::atomic<bool> loaded{false};
    std::thread writer([&] {
      for (unsigned i = 0; i < 400; ++i) {
        EXPECT_TRUE(store
                        .put(i % 2 == 0 ? k : other, key_of(i * 50 + 5), std::string(300, 'w'),
                             {.durability = Durability::kProcess})
                        .ok());
      }
      EXPECT_TRUE(store.checkpoint().ok());
    });
    std::thread reader([&] {
      while (!loaded.load()) {
        const View view = store.view();
        const bool first = store.get(k, key_of(0), view).ok();
        EXPECT_EQ(store.get(k, key_of(19'990), view).ok(), first) << "a view shows half of a load";
      }
    });
    const Result<Sequence> done = store.bulk_load(k, source_of(all));
    EXPECT_TRUE(done.ok()) << done.status().to_string();
    EXPECT_TRUE(store.bulk_load(other, source_of(all)).ok());
    loaded.store(true);
    writer.join();
    reader.join();
  }
  Result<Store::Opened> opened = open();
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  EXPECT_TRUE(opened->report.clean());
  Records expected = all;
  for (unsigned i = 0; i < 400; i += 2) expected[key_of(i * 50 + 5)] = std::string(300, 'w');
  EXPECT_TRUE(held(opened->store) == expected);
}

}  // namespace
}  // namespace daruma
