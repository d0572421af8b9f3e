// SPDX-License-Identifier: Apache-2.0
#include "run/block_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "base/random.h"

namespace daruma {
namespace {

TEST(BlockCache, StaysWithinItsLimitAndKeepsWhatIsPinned) {
  BlockCache cache(100'000);
  BlockSlots slots(cache, 501);
  std::vector<BlockRef> pinned;
  for (std::uint64_t i = 0; i < 500; ++i) {
    BlockRef block = BlockRef::make(1000);
    std::fill_n(block.data(), 1000, static_cast<char>(i));
    if (i % 50 == 0) pinned.push_back(block);
    slots.insert(i, block);
    ASSERT_LE(cache.stats().bytes, 100'000u);
  }
  for (std::size_t i = 0; i < pinned.size(); ++i)
    EXPECT_EQ(pinned[i].view(), std::string(1000, static_cast<char>(i * 50)));
  EXPECT_TRUE(slots.find(499));
  EXPECT_FALSE(BlockSlots(cache, 500).find(499)) << "another reader's";
  EXPECT_FALSE(slots.find(0)) << "long evicted";
  slots.insert(500, BlockRef::make(200'000));
  EXPECT_FALSE(slots.find(500)) << "larger than the cache";
  const auto stats = cache.stats();
  EXPECT_EQ(stats.hits, 1u);
  EXPECT_EQ(stats.misses, 3u);
  EXPECT_GT(stats.evictions, 0u);
}

TEST(BlockCache, KeepsWhatIsUsed) {
  BlockCache cache(50'000);
  BlockSlots slots(cache, 1000);
  slots.insert(0, BlockRef::make(1000));
  for (std::uint64_t i = 1; i < 1000; ++i) {
    ASSERT_TRUE(slots.find(0)) << i;
    slots.insert(i, BlockRef::make(1000));
  }
}

TEST(BlockCache, AFullOneWantsWhatIsAskedForAgain) {
  BlockCache cache(50'000);
  BlockSlots slots(cache, 10'000);
  std::size_t here = 0;
  for (; cache.stats().evictions == 0; ++here) {
    ASSERT_TRUE(slots.wants(here)) << "there is room";
    slots.insert(here, BlockRef::make(1000));
  }
  for (std::size_t i = 1000; i < 9000; ++i) {
    ASSERT_FALSE(slots.wants(i)) << i;
    if (i % 5 == 0) { ASSERT_TRUE(slots.wants(i)) << i; }
    if (i > 1000 + 3 * here) { ASSERT_FALSE(slots.wants(i - 3 * here)) << i << ": too long ago"; }
  }
  cache.clear();
  EXPECT_TRUE(slots.wants(9500)) << "there is room again";
}

TEST(BlockCache, AReaderThatGoesTakesItsBlocksAlong) {
  BlockCache cache(50'000);
  BlockSlots stays(cache, 10);
  stays.insert(3, BlockRef::make(1000));
  BlockRef pinned;
  {
    BlockSlots goes(cache, 10);
    for (std::size_t i = 0; i < 10; ++i) goes.insert(i, BlockRef::make(1000));
    pinned = goes.find(5);
  }
  EXPECT_EQ(cache.stats().blocks, 1u);
  EXPECT_TRUE(stays.find(3));
  EXPECT_EQ(pinned.view().size(), 1000u);
}

TEST(BlockCache, WhatIsPeekedAtStaysWhileTheReaderLooks) {
  BlockCache cache(10'000);
  BlockSlots slots(cache, 100);
  slots.insert(0, BlockRef::make(1000));
  BlockRef shared;
  {
    EpochGuard guard;
    const char* const peeked = slots.peek(0);
    ASSERT_TRUE(peeked);
    for (std::size_t i = 1; i < 100; ++i) slots.insert(i, BlockRef::make(1000));
    ASSERT_FALSE(slots.peek(0)) << "evicted";
    static_cast<void>(std::count(peeked, peeked + 1000, 'x'));  // what memory is gone, a sanitizer tells
    shared = BlockSlots::share(peeked);
  }
  for (std::size_t i = 1; i < 100; ++i) slots.insert(i, BlockRef::make(1000));
  EXPECT_EQ(shared.view().size(), 1000u);
}

TEST(BlockCache, WhatAReaderMayStillMeetIsNotMadeAnew) {
  BlockCache cache(20'000);
  BlockSlots slots(cache, 100);
  BlockRef block = BlockRef::make(1000);
  const char* const memory = block.data();
  block.remake(900);
  ASSERT_EQ(block.data(), memory) << "nobody else has it";
  slots.insert(0, block);
  EpochGuard looks;  // from here on, perhaps at the slot
  for (std::size_t i = 1; i < 100; ++i) slots.insert(i, BlockRef::make(1000));
  ASSERT_FALSE(slots.find(0)) << "evicted";
  block.remake(900);
  EXPECT_NE(block.data(), memory);
}

TEST(BlockCache, EvictedBesideReadersThatLook) {
  BlockCache cache(40'000);
  BlockSlots slots(cache, 64);
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&slots, t] {
      Random random(t);
      for (int n = 0; n < 20'000; ++n) {
        const std::size_t i = random.below(64);
        BlockRef block = slots.find(i);
        if (!block) {
          block = BlockRef::make(1000);
          std::fill_n(block.data(), 1000, static_cast<char>(i));
          slots.insert(i, block);
        }
        ASSERT_EQ(block.view().front(), static_cast<char>(i));
        ASSERT_EQ(block.view().back(), static_cast<char>(i));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(cache.stats().bytes, 40'000u);
  EXPECT_GT(cache.stats().evictions, 1000u);
}

}  // namespace
}  // namespace daruma
