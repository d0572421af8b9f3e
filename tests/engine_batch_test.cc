// SPDX-License-Identifier: Apache-2.0
// Batches larger than what is applied at once, and many events replayed at once, against a std::map.
#include "engine/engine.h"

#include <map>

#include <engine_testing.h>
#include <gtest/gtest.h>

#include "base/random.h"

namespace daruma {
namespace {

TEST(EngineBatch, WhatIsMovedFromIsEmptyAndCanBeFilledAgain) {
  World world;
  {
    Store store = world.must_open();
    const Keyspace in = *store.create_keyspace("a");
    Batch first;
    first.put(in, "one", "1");
    first.erase_range(in, "x", "y");
    Batch second = std::move(first);
    EXPECT_TRUE(first.empty());  // NOLINT(bugprone-use-after-move): what this is about
    EXPECT_EQ(first.bytes(), 0U);
    first.put(in, "two", "2");
    EXPECT_EQ(first.size(), 1U);
    ASSERT_TRUE(store.write(first).ok());
    ASSERT_TRUE(store.write(second).ok());
    second = std::move(first);
    EXPECT_EQ(second.size(), 1U);
  }
  world.disk->kill();
  RecoveryReport report;
  Store store = world.must_open(&report);
  EXPECT_TRUE(report.clean()) << report.to_text();
  const Keyspace in = *store.keyspace("a");
  EXPECT_EQ(*store.get(in, "one"), "1");
  EXPECT_EQ(*store.get(in, "two"), "2");
}

TEST(EngineBatch, OperationsApplyInOrderHoweverManyThereAre) {
  const std::uint64_t seed = entropy_seed();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  World world;
  std::map<std::pair<std::uint32_t, std::string>, std::string> model;
  std::vector<Keyspace> keyspaces;
  {
    Store store = world.must_open();
    for (const char* name : {"a", "b", "c"}) keyspaces.push_back(*store.create_keyspace(name));
    for (int batches = 0; batches < 40; ++batches) {
      Batch batch;
      for (std::uint64_t left = 1 + random.below(100); left > 0; --left) {
        const Keyspace in = keyspaces[random.below(keyspaces.size())];
        const std::string key = "key" + std::to_string(random.below(50));  // few: most are written again in their batch
        if (random.one_in(4)) {
          batch.erase(in, key);
          model.erase({in.id(), key});
        } else {
          const std::string value = std::to_string(random.next());
          batch.put(in, key, value);
          model[{in.id(), key}] = value;
        }
      }
      ASSERT_TRUE(store.write(batch, {Durability::kProcess}).ok());
    }
    for (const auto& [at, value] : model) EXPECT_EQ(*store.get(keyspaces[at.first - 1], at.second), value);
  }
  RecoveryReport report;
  const Store store = world.must_open(&report);
  EXPECT_EQ(report.events_replayed, 43U);
  for (const Keyspace in : keyspaces) {
    Cursor cursor = std::move(store.cursor(in)).value();
    auto want = model.lower_bound({in.id(), ""});
    for (cursor.seek_first(); cursor.valid(); cursor.next(), ++want) {
      ASSERT_EQ(want->first, std::pair(in.id(), std::string(cursor.key())));
      EXPECT_EQ(cursor.value(), want->second);
    }
    EXPECT_TRUE(want == model.end() || want->first.first != in.id());
  }
}

TEST(EngineBatch, ARangeErasesEarlierPutsOfItsBatchAndKeyspaceOnly) {
  World world;
  Store store = world.must_open();
  const Keyspace a = *store.create_keyspace("a");
  const Keyspace b = *store.create_keyspace("b");
  Batch batch;
  batch.put(a, "k", "1");
  batch.put(b, "k", "2");
  batch.put(a, "z", "3");
  batch.erase_range(a, "a", "m");
  batch.put(a, "l", "4");
  ASSERT_TRUE(store.write(batch).ok());
  EXPECT_TRUE(store.get(a, "k").status().is(Code::kNotFound));
  EXPECT_EQ(*store.get(b, "k"), "2");
  EXPECT_EQ(*store.get(a, "z"), "3");
  EXPECT_EQ(*store.get(a, "l"), "4");
}

}  // namespace
}  // namespace daruma
