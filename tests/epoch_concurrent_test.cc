// SPDX-License-Identifier: Apache-2.0
#include "base/epoch.h"

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace daruma {
namespace {

struct Node {
  static constexpr int kAlive = 0x600d;
  int mark = kAlive;
  ~Node() { mark = 0; }
};

TEST(Epoch, DestroysAtOnceWhenNobodyIsInside) {
  EpochRetired retired;
  int destroyed = 0;
  retired.retire([&] { ++destroyed; });
  EXPECT_EQ(retired.collect(), 0U);
  EXPECT_EQ(destroyed, 1);
}

TEST(Epoch, KeepsWhatAReaderInsideCouldSee) {
  EpochRetired retired;
  int destroyed = 0;
  {
    EpochGuard outer;
    retired.retire([&] { ++destroyed; });
    { EpochGuard nested; }
    EXPECT_EQ(retired.collect(), 1U);
    EXPECT_EQ(destroyed, 0);
  }
  EXPECT_EQ(retired.collect(), 0U);
  EXPECT_EQ(destroyed, 1);
}

TEST(Epoch, LaterReadersDoNotHoldWhatWasUnlinkedBefore) {
  EpochRetired retired;
  int destroyed = 0;
  retired.retire([&] { ++destroyed; });
  EpochGuard late;
  EXPECT_EQ(retired.collect(), 0U);
  EXPECT_EQ(destroyed, 1);
}

TEST(Epoch, ReadersNeverSeeADestroyedObject) {
  std::atomic<Node*> current{new Node};
  std::atomic<bool> stop{false};
  EpochRetired retired;
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!stop.load(std::memory_order_relaxed)) {
        EpochGuard guard;
        ASSERT_EQ(current.load(std::memory_order_acquire)->mark, Node::kAlive);
      }
    });
  }
  for (int i = 0; i < 20'000; ++i) {
    Node* old = current.exchange(new Node, std::memory_order_seq_cst);
    retired.retire([old] { delete old; });
    if (i % 16 == 0) retired.collect();
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(retired.collect(), 0U);
  delete current.load();
}

}  // namespace
}  // namespace daruma
