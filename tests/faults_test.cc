// SPDX-License-Identifier: Apache-2.0
//
// heals-alone: a device that fails in the middle of a workload, once or until further notice, in its writes, its syncs,
// its space or its reads.
//
// What is held for every fault: a write succeeds or says clearly why not; a read gives the right answer or an error,
// never another answer; nothing acknowledged is lost, whether the fault ends or the power does; and when the fault
// ends, the store takes writes again without being opened anew.
#include "engine/engine.h"

#include <map>

#include <fault_workload.h>
#include <gtest/gtest.h>
#include <sanitized.h>

namespace daruma {
namespace {

constexpr int kSteps = 70;
constexpr int kBegins = 20;
constexpr int kEnds = 50;

std::string name_of(const Fault& fault) {
  constexpr const char* kNames[] = {"read error", "write error",     "sync error",  "old sync error", "late sync error",
                                    "no space",   "no space at all", "short write", "open error",     "no descriptors",
                                    "stall"};
  return std::string(kNames[static_cast<int>(fault.kind)]) + " in '" + fault.path_contains + "', after " +
         std::to_string(fault.skip) + ", times " + std::to_string(fault.times);
}

/// Under a sanitizer every third of them.
std::vector<Fault> every_fault(unsigned skip) {
  std::vector<Fault> faults;
  for (const FaultKind kind :
       {FaultKind::kReadError, FaultKind::kWriteError, FaultKind::kSyncError, FaultKind::kSyncErrorOld,
        FaultKind::kSyncErrorLate, FaultKind::kNoSpace, FaultKind::kNoSpaceAtAll, FaultKind::kShortWrite,
        FaultKind::kOpenError, FaultKind::kNoDescriptors, FaultKind::kStall}) {
    for (const char* where : {"wal", "runs", "snapshots", ""}) {
      for (const unsigned times : {0U, 2U}) {
        faults.push_back({.kind = kind, .path_contains = where, .skip = skip, .times = times});
      }
    }
  }
  if (kSanitized) {
    std::size_t number = 0;
    std::erase_if(faults, [&](const Fault&) { return number++ % 3 != 0; });
  }
  return faults;
}

TEST(Faults, TheStoreComesBackWhenTheFaultEnds) {
  std::uint64_t seed = 0;
  std::uint64_t fired = 0;
  std::uint64_t refused = 0;
  for (const Fault& fault : every_fault(0)) {
    SCOPED_TRACE(name_of(fault) + ", seed " + std::to_string(++seed));
    World world;
    world.disk = std::make_shared<SimStorage>(SimStorageOptions{.seed = seed});
    Workload workload(world, seed);
    for (int i = 0; i < kSteps; ++i) {
      SCOPED_TRACE("step " + std::to_string(i));
      if (i == kBegins) world.disk->inject(fault);
      if (i == kEnds) {
        world.disk->clear_faults();
        workload.expect_healed();
      }
      workload.step();
      if (HasFailure()) return;
    }
    fired += world.disk->faults_fired();
    refused += workload.refused();
    workload.expect_survives_power_cut(0);
    workload.expect_healed();
    if (HasFailure()) return;
  }
  std::printf("faults fired %llu, writes refused %llu\n", static_cast<unsigned long long>(fired),
              static_cast<unsigned long long>(refused));
  EXPECT_GT(fired, kSanitized ? 30U : 100U);
  EXPECT_GT(refused, kSanitized ? 30U : 100U);
}

TEST(Faults, NothingAcknowledgedIsLostWhenThePowerGoesWithTheDevice) {
  std::uint64_t seed = 1000;
  for (const Fault& fault : every_fault(3)) {
    SCOPED_TRACE(name_of(fault) + ", seed " + std::to_string(++seed));
    World world;
    world.disk = std::make_shared<SimStorage>(SimStorageOptions{.seed = seed});
    Workload workload(world, seed);
    const int dies = kBegins + static_cast<int>(seed % 17);
    for (int i = 0; i < dies; ++i) {
      if (i == kBegins) world.disk->inject(fault);
      workload.step();
    }
    workload.expect_survives_power_cut(seed % 4 < 2 ? 0 : 50);
    workload.expect_healed();
    if (HasFailure()) return;
  }
}

TEST(Faults, ADiskThatIsFullRefusesAndAnEmptiedOneTakesWritesAgain) {
  World world;
  Workload workload(world, 5);
  for (int i = 0; i < 30; ++i) workload.step();
  const std::uint64_t used = ~std::uint64_t{0} - *world.disk->free_bytes("store");
  world.disk->set_capacity(used + (300 << 10));
  for (int i = 0; i < 200 && workload.refused() == 0; ++i) workload.step();
  EXPECT_GT(workload.refused(), 0U);
  world.disk->set_capacity(~std::uint64_t{0});
  workload.expect_healed();
  workload.expect_survives_power_cut(0);
}

TEST(Faults, ABlockThatCannotBeReadIsAnErrorForItsKeysAlone) {
  World world;
  Options options = small();
  options.cache_bytes = 0;
  Store store = world.open(options)->store;
  const Keyspace k = *store.create_keyspace("k");
  const auto key = [](int i) { return "key" + std::to_string(1000 + i); };
  Random random(3);
  std::map<std::string, std::string> model;
  for (int i = 0; i < 200; ++i) {
    std::string value(400, '\0');
    for (char& c : value) c = static_cast<char>(random.next());
    ASSERT_TRUE(store.put(k, key(i), value, {.durability = Durability::kProcess}).ok());
    model[key(i)] = std::move(value);
  }
  ASSERT_TRUE(store.checkpoint().ok());
  constexpr std::uint64_t kHurt = 5;  // a sector of data
  const auto refuse = [&](std::uint64_t sector) {
    world.disk->inject(
        {.kind = FaultKind::kReadError, .path_contains = "runs/", .offset = sector * kSectorBytes, .bytes = 512});
  };
  refuse(kHurt);
  for (const auto& [name, value] : model) ASSERT_TRUE(*store.get(k, name) == value) << "parity has it";
  const std::uint64_t file_bytes = store.keyspace_stats(k)->run_bytes;
  refuse(parity_layout_of_file(file_bytes / kSectorBytes)->parity_at(kHurt));
  int hurt = 0;
  for (const auto& [name, value] : model) {
    const Result<std::string> got = store.get(k, name);
    if (got.ok()) {
      EXPECT_TRUE(*got == value);
    } else {
      EXPECT_FALSE(got.status().is(Code::kNotFound)) << got.status().to_string();
      EXPECT_NE(got.status().where().file, "") << got.status().to_string();
      ++hurt;
    }
  }
  EXPECT_GT(hurt, 0);
  EXPECT_LT(hurt, 40) << "the other blocks are served";
  Result<Cursor> cursor = store.cursor(k);
  ASSERT_TRUE(cursor.ok());
  auto it = model.begin();
  for (cursor->seek_first(); cursor->valid(); cursor->next(), ++it) ASSERT_TRUE(cursor->key() == it->first);
  EXPECT_FALSE(cursor->status().ok()) << "a walk stops, it does not skip";
  ASSERT_TRUE(store.put(k, key(50), "new").ok()) << "writes do not mind";
  EXPECT_FALSE(store.compact(k).ok());
  EXPECT_EQ(*store.get(k, key(50)), "new");
  world.disk->clear_faults();
  model[key(50)] = "new";
  EXPECT_TRUE(store.compact(k).ok()) << "a failed read is not for ever";
  for (const auto& [name, value] : model) EXPECT_TRUE(*store.get(k, name) == value);
}

/// What the device got wrong without saying so is found before anything relies on it.
TEST(Faults, ARunThatDoesNotReadBackReplacesNothing) {
  for (const bool compaction : {false, true}) {
    for (const char* when : {"sync store/runs", "rename store/runs"}) {
      SCOPED_TRACE(std::string(compaction ? "compaction, " : "checkpoint, ") + when);
      World world;
      Store store = world.must_open();
      const Keyspace k = *store.create_keyspace("k");
      const auto write_some = [&](int from) {
        for (int i = from; i < from + 20; ++i)
          ASSERT_TRUE(store.put(k, "key" + std::to_string(i), std::string(300, static_cast<char>('a' + i))).ok());
      };
      const auto expect_whole = [&](int through) {
        for (int i = 0; i < through; ++i) {
          const Result<std::string> got = store.get(k, "key" + std::to_string(i));
          ASSERT_TRUE(got.ok()) << got.status().to_string();
          EXPECT_EQ(*got, std::string(300, static_cast<char>('a' + i)));
        }
      };
      write_some(0);
      ASSERT_TRUE(store.checkpoint().ok());
      write_some(20);
      if (compaction) { ASSERT_TRUE(store.checkpoint().ok()); }
      unsigned flipped = 0;
      world.disk->on_operation([&](std::uint64_t, std::string_view what) {
        const std::size_t tmp = what.find(".run.tmp");
        if (!what.starts_with(when) || tmp == std::string_view::npos || flipped > 0) return;
        const std::size_t path = what.find("store/runs");
        flipped += world.disk->flip_bit(std::string(what.substr(path, tmp + 8 - path)), 4096 + 40, 3).ok();
      });
      const Status done = compaction ? store.compact(k) : store.checkpoint();
      world.disk->on_operation({});
      EXPECT_EQ(flipped, 1U);
      // A compaction that was asked for drops the canary and tries once more.
      EXPECT_TRUE(compaction ? done.ok() : done.is(Code::kCorruption) || done.is(Code::kDataLoss)) << done.to_string();
      expect_whole(40);
      const auto left = *world.disk->list("store/runs");
      for (const DirectoryEntry& entry : left) EXPECT_FALSE(entry.name.ends_with(kTemporarySuffix)) << entry.name;
      world.disk->power_cut(0);
      RecoveryReport report;
      store = world.must_open(&report);
      EXPECT_TRUE(report.clean()) << report.to_json();
      expect_whole(40);
      ASSERT_TRUE(store.checkpoint().ok());
      ASSERT_TRUE(store.compact(k).ok());
      expect_whole(40);
    }
  }
}

Store two_runs_to_merge(World& world) {
  world.compaction.output_run_bytes = world.compaction.input_bytes_max = 1 << 20;  // else they are moved as they are
  Store store = world.must_open();
  const Keyspace k = *store.create_keyspace("k");
  Random random(3);
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 30; ++i) EXPECT_TRUE(store.put(k, "key" + std::to_string(i), noise(700, random)).ok());
    EXPECT_TRUE(store.checkpoint().ok());
  }
  return store;
}

/// As a job of the background, which has nobody to ask for it again.
TEST(Faults, RunsOfWhichAnOutputDidNotReadBackAreCompactedTheNextTime) {
  World world;
  Store store = two_runs_to_merge(world);
  unsigned flipped = 0;
  world.disk->on_operation([&](std::uint64_t, std::string_view what) {
    const std::size_t tmp = what.find(".run.tmp");
    if (!what.starts_with("rename store/runs") || tmp == std::string_view::npos || flipped > 0) return;
    const std::size_t path = what.find("store/runs");
    flipped += world.disk->flip_bit(std::string(what.substr(path, tmp + 8 - path)), 4096 + 40, 3).ok();
  });
  const Status failed = Engine::of(store).step();
  world.disk->on_operation({});
  EXPECT_EQ(flipped, 1U);
  EXPECT_TRUE(failed.is(Code::kCorruption)) << failed.to_string();
  EXPECT_EQ(store.stats().compactions, 0U);
  EXPECT_TRUE(Engine::of(store).step().ok());
  EXPECT_EQ(store.stats().compactions, 1U) << "no input is hurt";
}

TEST(Faults, ARunThatReadsAgainIsCompacted) {
  World world;
  Store store = two_runs_to_merge(world);
  const auto runs = contents(*world.disk, "store/runs");
  const auto& [path, bytes] = *std::prev(runs.end(), 2);  // nothing is merged without the older one
  const auto hurt = {std::uint64_t{1}, parity_layout_of_file(bytes.size() / kSectorBytes)->parity_at(1)};
  for (const std::uint64_t sector : hurt)
    ASSERT_TRUE(world.disk->overwrite(path, sector * kSectorBytes, std::string(kSectorBytes, 'x')).ok());
  EXPECT_TRUE(Engine::of(store).step().is(Code::kCorruption));
  for (const std::uint64_t sector : hurt)
    ASSERT_TRUE(
        world.disk->overwrite(path, sector * kSectorBytes, bytes.substr(sector * kSectorBytes, kSectorBytes)).ok());
  for (int round = 0; round < 2; ++round) ASSERT_TRUE(Engine::of(store).step().ok());
  EXPECT_EQ(store.stats().healed_runs, 1U);
  EXPECT_EQ(store.stats().compactions, 1U);
}

/// Too big for the ring, and its frame may stand in a segment that failed: it cannot be taken back.
TEST(Faults, AWriteThatAFailedLogMayHaveKeptIsSeenAtOnceOrNever) {
  for (unsigned skip = 0; skip < 6; ++skip) {
    SCOPED_TRACE("after " + std::to_string(skip));
    World world;
    Keyspace k;
    Status before;
    {
      Store store = world.must_open();
      k = *store.create_keyspace("k");
      world.disk->inject({.kind = FaultKind::kSyncError, .path_contains = "wal/", .skip = skip});
      (void)store.put(k, "big", std::string(100'000, 'x'));
      (void)store.put(k, "small", "refused");
      before = store.get(k, "big").status();
      world.disk->kill();
    }
    world.disk->clear_faults();
    EXPECT_EQ(world.must_open().get(k, "big").status().code(), before.code());
  }
}

}  // namespace
}  // namespace daruma
