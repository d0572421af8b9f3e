// SPDX-License-Identifier: Apache-2.0
// What a start leaves alone.
#include "engine/engine.h"

#include <engine_testing.h>
#include <gtest/gtest.h>

namespace daruma {
namespace {

// Every generation that a start publishes pushes out an older one, which is what a damaged newest one is healed from.
TEST(EngineStart, OneThatFindsNothingWrongPublishesNoGeneration) {
  World world;
  {
    Store store = world.must_open();
    const Keyspace k = *store.create_keyspace("k");
    for (const char* key : {"a", "b"}) {
      ASSERT_TRUE(store.put(k, key, "1").ok());
      ASSERT_TRUE(store.checkpoint().ok());
    }
  }
  const auto snapshots = contents(*world.disk, "store/snapshots");
  ASSERT_FALSE(snapshots.empty());
  for (int starts = 0; starts < 3; ++starts) {
    const Store store = world.must_open();
    EXPECT_EQ(contents(*world.disk, "store/snapshots"), snapshots);
  }
}

// Each start begins a segment, and nothing is checkpointed: what the earlier ones have no use of is not read again.
TEST(EngineStart, ReadsBehindTheEndOfTheNewestSegmentOnly) {
  World world;
  {
    Store store = world.must_open();
    ASSERT_TRUE(store.create_keyspace("k").ok());
  }
  RecoveryReport report;
  for (int starts = 0; starts < 10; ++starts) {
    Store store = world.must_open(&report);
    ASSERT_TRUE(store.put(*store.keyspace("k"), std::to_string(starts), "1").ok());
  }
  EXPECT_EQ(report.events_replayed, 10U);
  EXPECT_LT(report.bytes_read, 2 * small().segment_bytes);
}

}  // namespace
}  // namespace daruma
