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

}  // namespace
}  // namespace daruma
