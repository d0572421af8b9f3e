// SPDX-License-Identifier: Apache-2.0
//
// heals-alone, point by point: the n-th call that a kind of fault can hit fails, once or from there on until the fault
// is lifted, for n = 0, 1, 2 … until a run is over before it comes to that. DARUMA_FAULT_STRIDE=1 takes every point;
// the default takes some, others with each DARUMA_FAULT_FIRST.
#include "engine/engine.h"

#include <cstdlib>

#include <fault_workload.h>
#include <gtest/gtest.h>
#include <sanitized.h>

#include "engine/engine.h"

namespace daruma {
namespace {

unsigned from_environment(const char* name, unsigned otherwise) {
  const char* text = std::getenv(name);
  return text ? static_cast<unsigned>(std::strtoul(text, nullptr, 10)) : otherwise;
}

constexpr int kStepsBefore = 12;
constexpr int kStepsUnderFault = 24;

class FaultPoints : public testing::TestWithParam<FaultKind> {
 protected:
  /// Runs `life` with the fault at one point after the other; it says whether the fault was met.
  template <typename Life>
  static void at_every_point(std::uint64_t seed, const Life& life) {
    const unsigned stride = std::max(1U, from_environment("DARUMA_FAULT_STRIDE", kSanitized ? 61 : 17));
    const unsigned first = from_environment("DARUMA_FAULT_FIRST", 0) % stride;
    unsigned points = 0;
    for (const unsigned times : {1U, 0U}) {
      for (unsigned skip = first;; skip += stride) {
        SCOPED_TRACE("kind " + std::to_string(static_cast<int>(GetParam())) + ", point " + std::to_string(skip) +
                     (times == 1 ? ", once" : ", until lifted") + ", seed " + std::to_string(seed));
        World world;
        world.disk = std::make_shared<SimStorage>(SimStorageOptions{.seed = seed});
        const bool met = life(world, Fault{.kind = GetParam(), .skip = skip, .times = times});
        if (HasFailure()) return;
        if (!met) break;
        ++points;
      }
    }
    EXPECT_GT(points, 0U);
  }
};

class FaultPointsOfAStart : public FaultPoints {};

TEST_P(FaultPoints, TheStoreComesBackByItself) {
  at_every_point(11, [](World& world, const Fault& fault) {
    Workload workload(world, 11);
    for (int i = 0; i < kStepsBefore; ++i) workload.step();
    world.disk->inject(fault);
    for (int i = 0; i < kStepsUnderFault && !HasFailure(); ++i) workload.step();
    const bool met = world.disk->faults_fired() > 0;
    world.disk->clear_faults();
    workload.expect_healed();
    if (HasFailure()) return met;
    workload.expect_survives_power_cut(0);
    workload.expect_healed();
    return met;
  });
}

TEST_P(FaultPoints, ACrashUnderTheFaultLosesNothing) {
  at_every_point(12, [](World& world, const Fault& fault) {
    Workload workload(world, 12);
    for (int i = 0; i < kStepsBefore; ++i) workload.step();
    world.disk->inject(fault);
    for (int i = 0; i < kStepsUnderFault && !HasFailure(); ++i) workload.step();
    const bool met = world.disk->faults_fired() > 0;
    if (HasFailure()) return met;
    if (fault.skip % 2 == 0) {
      workload.expect_survives_kill();
    } else {
      workload.expect_survives_power_cut(50);
    }
    workload.expect_healed();
    return met;
  });
}

/// A start under the fault serves all, or reads only, or is refused with a reason; the next one without it has all.
TEST_P(FaultPointsOfAStart, ConcludeNothingFromIt) {
  at_every_point(13, [](World& world, const Fault& fault) {
    std::map<std::string, std::string> model;
    {
      Store store = world.must_open();
      const Keyspace k = *store.create_keyspace("k");
      for (int i = 0; i < 30; ++i) {
        const std::string key = "key" + std::to_string(i);
        EXPECT_TRUE(store.put(k, key, std::string(200, static_cast<char>('a' + i % 26))).ok());
        model[key] = std::string(200, static_cast<char>('a' + i % 26));
        if (i % 10 == 9 && i < 25) { EXPECT_TRUE(store.checkpoint().ok()); }
      }
      EXPECT_TRUE(store.put(k, "in_ring", "1", {.durability = Durability::kProcess}).ok());
      model["in_ring"] = "1";
    }
    world.disk->kill();
    // What cannot be opened or read again and again is lost for that start, and told so.
    const bool may_lose =
        fault.times == 0 && (GetParam() == FaultKind::kOpenError || GetParam() == FaultKind::kReadError);
    const auto expect_all = [&](const Store& store) {
      const Result<Keyspace> k = store.keyspace("k");
      if (!k.ok() && may_lose) {
        EXPECT_TRUE(k.status().is(Code::kDataLoss)) << k.status().to_string();
        return;
      }
      ASSERT_TRUE(k.ok()) << k.status().to_string();
      for (const auto& [key, value] : model) {
        const Result<std::string> got = store.get(*k, key);
        if (got.ok()) {
          EXPECT_EQ(*got, value);
        } else {
          EXPECT_TRUE(got.status().is(Code::kUnavailable) || got.status().is(Code::kIoError) ||
                      (may_lose && got.status().is(Code::kDataLoss)))
              << key << ": " << got.status().to_string();
        }
      }
    };
    world.disk->inject(fault);
    {
      const Result<Store::Opened> opened = world.open();
      if (opened.ok()) {
        EXPECT_TRUE(opened->report.clean() || may_lose) << opened->report.to_json();
        expect_all(opened->store);
      } else {
        EXPECT_FALSE(opened.status().message().empty());
        EXPECT_FALSE(opened.status().is(Code::kNotFound) || opened.status().is(Code::kDataLoss))
            << opened.status().to_string();
      }
    }
    const bool met = world.disk->faults_fired() > 0;
    world.disk->clear_faults();
    world.disk->kill();
    RecoveryReport report;
    Store store = world.must_open(&report);
    if (may_lose) {
      expect_all(store);
      return met;
    }
    EXPECT_TRUE(report.clean()) << report.to_json();
    const Keyspace k = *store.keyspace("k");
    for (const auto& [key, value] : model) {
      const Result<std::string> got = store.get(k, key);
      EXPECT_TRUE(got.ok() && *got == value) << key << ": " << got.status().to_string();
    }
    EXPECT_TRUE(store.put(k, "after", "2").ok());
    EXPECT_TRUE(store.checkpoint().ok());
    EXPECT_TRUE(store.stats().background.ok()) << store.stats().background.to_string();
    return met;
  });
}

std::string name_of(const testing::TestParamInfo<FaultKind>& kind) {
  constexpr const char* kNames[] = {"ReadError",     "WriteError",    "SyncError",    "SyncErrorOld",
                                    "SyncErrorLate", "NoSpace",       "NoSpaceAtAll", "ShortWrite",
                                    "OpenError",     "NoDescriptors", "Stall"};
  return kNames[static_cast<int>(kind.param)];
}

const auto kEveryFault =
    testing::Values(FaultKind::kReadError, FaultKind::kWriteError, FaultKind::kSyncError, FaultKind::kSyncErrorOld,
                    FaultKind::kSyncErrorLate, FaultKind::kNoSpace, FaultKind::kNoSpaceAtAll, FaultKind::kShortWrite,
                    FaultKind::kOpenError, FaultKind::kNoDescriptors);
INSTANTIATE_TEST_SUITE_P(, FaultPoints, kEveryFault, name_of);
INSTANTIATE_TEST_SUITE_P(Stalled, FaultPoints, testing::Values(FaultKind::kStall), name_of);
INSTANTIATE_TEST_SUITE_P(, FaultPointsOfAStart, kEveryFault, name_of);  // a start has no frames in flight to stall

/// The device gives nothing at all: not a store that has yet to be made, nor one that lost everything.
TEST(AStart, OnADeviceThatReadsNothingIsRefusedAndChangesNothing) {
  World world;
  {
    Store store = world.must_open();
    const Keyspace k = *store.create_keyspace("k");
    ASSERT_TRUE(store.put(k, "key", "value").ok());
    ASSERT_TRUE(store.checkpoint().ok());
  }
  world.disk->kill();
  const auto before = contents(*world.disk, "store");
  world.disk->inject({.kind = FaultKind::kReadError});
  const Result<Store::Opened> opened = world.open();
  EXPECT_EQ(opened.status().code(), Code::kIoError) << opened.status().to_string();
  world.disk->clear_faults();
  world.disk->kill();
  EXPECT_TRUE(contents(*world.disk, "store") == before);
  Store store = world.must_open();
  EXPECT_EQ(*store.get(*store.keyspace("k"), "key"), "value");
}

TEST(AStart, ThatCannotListItsLogIsRefused) {
  for (const FaultKind kind : {FaultKind::kOpenError, FaultKind::kNoDescriptors}) {
    for (const char* where : {"store/wal", "store/runs", "store/snapshots"}) {
      SCOPED_TRACE(where);
      World world;
      {
        Store store = world.must_open();
        ASSERT_TRUE(store.put(*store.create_keyspace("k"), "key", "value").ok());
      }
      world.disk->kill();
      world.disk->inject({.kind = kind, .path_contains = where});
      const Result<Store::Opened> refused = world.open();
      EXPECT_EQ(refused.status().code(), kind == FaultKind::kOpenError ? Code::kIoError : Code::kUnavailable)
          << refused.status().to_string();
      world.disk->clear_faults();
      world.disk->kill();
      RecoveryReport report;
      Store store = world.must_open(&report);
      EXPECT_TRUE(report.clean()) << report.to_json();
      EXPECT_EQ(*store.get(*store.keyspace("k"), "key"), "value");
    }
  }
}

/// Segments that somebody removed need not be given back.
TEST(Checkpoint, DoesNotFailForEverOverASegmentThatIsGone) {
  World world;
  Store store = world.must_open();
  const Keyspace k = *store.create_keyspace("k");
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(store.put(k, "key" + std::to_string(i), std::string(30'000, 'x')).ok());
  const std::vector<DirectoryEntry> segments = *world.disk->list("store/wal");
  for (const DirectoryEntry& entry : segments) {
    if (entry.name.ends_with(".log") && entry.name < "0000000000000003.log") {
      ASSERT_TRUE(world.disk->remove("store/wal/" + entry.name).ok());
    }
  }
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(store.put(k, "more" + std::to_string(i), "1").ok());
    const Status made = store.checkpoint();
    EXPECT_TRUE(made.ok()) << made.to_string();
  }
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(store.put(k, "key" + std::to_string(i), std::string(30'000, 'y')).ok());
  EXPECT_TRUE(store.checkpoint().ok());
}

/// A device that does not answer keeps nobody waiting for ever, and nothing is lost when it does again.
TEST(Stall, IsToldToWhoeverWaitsAndPasses) {
  World world;
  Store store = world.must_open();
  const Keyspace k = *store.create_keyspace("k");
  ASSERT_TRUE(store.put(k, "before", "1").ok());
  world.disk->inject({.kind = FaultKind::kStall});
  const Status told = store.put(k, "small", "2");
  EXPECT_EQ(told.code(), Code::kUnavailable) << told.to_string();
  EXPECT_FALSE(told.hint().empty());
  EXPECT_TRUE(store.put(k, "fast", "3", {.durability = Durability::kProcess}).ok()) << "the ring needs no device";
  EXPECT_EQ(store.put(k, "large", std::string(100'000, 'l'), {.durability = Durability::kProcess}).code(),
            Code::kUnavailable);
  EXPECT_EQ(store.checkpoint().code(), Code::kUnavailable);
  EXPECT_EQ(*store.get(k, "small"), "2");
  world.disk->clear_faults();
  EXPECT_TRUE(store.sync().ok());
  EXPECT_TRUE(store.put(k, "large", std::string(100'000, 'm')).ok());
  EXPECT_TRUE(store.checkpoint().ok());
  world.disk->power_cut(0);
  store = world.must_open();
  EXPECT_EQ(*store.get(k, "small"), "2");
  EXPECT_EQ(*store.get(k, "fast"), "3");
  EXPECT_EQ(*store.get(k, "large"), std::string(100'000, 'm'));
}

}  // namespace
}  // namespace daruma
