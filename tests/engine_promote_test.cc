// SPDX-License-Identifier: Apache-2.0
//
// Options that a rollout promoted: in force from the next start on, carried from manifest to manifest whoever opens the
// store in between, and never in the way of a start.
#include <string>

#include <engine_testing.h>
#include <gtest/gtest.h>

#include "engine/options_text.h"

namespace daruma {
namespace {

class Promote : public testing::Test {
 protected:
  void SetUp() override {
    Store store = world_.must_open();
    ASSERT_TRUE(store.create_keyspace("k").ok());
    const std::string lines = promoted_line("cache_bytes", 3 << 20) + promoted_line("scrub_days", 7);
    ASSERT_TRUE(Engine::of(store).promote(lines).ok());
    EXPECT_EQ(Engine::of(store).options().cache_bytes, 1U << 20) << "from the next start on";
  }
  /// Several generations more, each behind a start of its own.
  void live_on(const Options& options) {
    for (int i = 0; i < 4; ++i) {
      Result<Store::Opened> opened = world_.open(options);
      ASSERT_TRUE(opened.ok()) << opened.status().to_string();
      ASSERT_TRUE(opened->store.put(*opened->store.keyspace("k"), "key", std::to_string(i)).ok());
      ASSERT_TRUE(opened->store.checkpoint().ok());
      world_.disk->kill();
    }
  }
  Options in_force(const Options& given) {
    const Result<Store::Opened> opened = world_.open(given);
    EXPECT_TRUE(opened.ok()) << opened.status().to_string();
    return opened.ok() ? Engine::of(opened->store).options() : Options();
  }

  World world_;
};

TEST_F(Promote, IsInForceAtTheNextStart) {
  Options given = small();
  given.memtable_bytes = 2 << 20;
  EXPECT_EQ(in_force(given).cache_bytes, 3U << 20);
  EXPECT_EQ(in_force(given).scrub_days, 7U);
  EXPECT_EQ(in_force(given).memtable_bytes, 2U << 20) << "what was not promoted is as given";
  given.read_only = true;
  EXPECT_EQ(in_force(given).cache_bytes, 3U << 20);
  given.use_promoted = false;
  EXPECT_EQ(in_force(given).cache_bytes, 1U << 20);
}

TEST_F(Promote, OutlivesStartsThatDoNotUseIt) {
  Options without = small();
  without.use_promoted = false;
  live_on(without);
  EXPECT_EQ(in_force(small()).scrub_days, 7U);
}

TEST_F(Promote, OutlivesTheNewestManifest) {
  live_on(small());
  const std::vector<DirectoryEntry> names = *world_.disk->list("store/snapshots");
  ASSERT_TRUE(world_.disk->remove("store/snapshots/" + names.back().name).ok());
  EXPECT_EQ(in_force(small()).scrub_days, 7U);
}

TEST_F(Promote, IsReplacedAndTakenBack) {
  {
    const Store store = world_.must_open();
    ASSERT_TRUE(Engine::of(store).promote(promoted_line("scrub_days", 9)).ok());
  }
  EXPECT_EQ(in_force(small()).scrub_days, 9U);
  EXPECT_EQ(in_force(small()).cache_bytes, 1U << 20);
  {
    const Store store = world_.must_open();
    ASSERT_TRUE(Engine::of(store).promote("").ok());
  }
  EXPECT_EQ(in_force(small()).scrub_days, 30U);
}

/// A budget for a keyspace that is more than all memory for writes: together with what is given it makes no sense.
TEST_F(Promote, DoesNotKeepAStoreShut) {
  {
    const Store store = world_.must_open();
    ASSERT_TRUE(Engine::of(store)
                    .promote(promoted_line("memtable_bytes", 1 << 20) + promoted_line("scrub_days", 7) +
                             "promoted option_of_another_version 5\npromoted scrub_days\n")
                    .ok());
  }
  EXPECT_EQ(in_force(small()).scrub_days, 7U) << "what this version does not know is passed over";
  Options given = small();
  given.memtable_bytes = 8 << 20;
  given.keyspace_limits.memory_bytes = 4 << 20;
  EXPECT_EQ(in_force(given).memtable_bytes, 8U << 20);
  EXPECT_EQ(in_force(given).scrub_days, 30U) << "all of it or nothing";
  EXPECT_EQ(in_force(small()).scrub_days, 7U) << "and it is passed on";
}

TEST_F(Promote, AFailureChangesNothing) {
  {
    const Store store = world_.must_open();
    world_.disk->inject({.kind = FaultKind::kSyncError, .times = 0});
    EXPECT_FALSE(Engine::of(store).promote(promoted_line("scrub_days", 9)).ok());
    world_.disk->clear_faults();
    ASSERT_TRUE(store.view().sequence() > 0);
    Store same = store;
    ASSERT_TRUE(same.put(*same.keyspace("k"), "key", "1").ok() || Engine::of(same).step().ok());
    ASSERT_TRUE(same.checkpoint().ok());
  }
  EXPECT_EQ(in_force(small()).scrub_days, 7U);
}

}  // namespace
}  // namespace daruma
