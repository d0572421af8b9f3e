// SPDX-License-Identifier: Apache-2.0
#include "io/event_count.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace daruma {
namespace {

constexpr std::int64_t kLong = 60'000'000'000;

TEST(EventCount, WhatIsToldBetweenKeyAndWaitIsNotMissed) {
  EventCount event;
  const EventCount::Key key = event.key();
  EXPECT_FALSE(event.notify_one()) << "nobody is asleep";
  EXPECT_TRUE(event.wait(key, kLong));
}

TEST(EventCount, GivesUpWhenTheTimeIsOver) {
  EventCount event;
  EXPECT_FALSE(event.wait(event.key(), 1'000'000));
}

TEST(EventCount, WakesEverybodyWhoWaits) {
  constexpr int kThreads = 8, kRounds = 2000;
  EventCount event, back;
  std::atomic<int> round{0}, arrived{0}, late{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int seen = 0; seen < kRounds; ++seen) {
        for (;;) {
          const EventCount::Key key = event.key();
          if (round.load() > seen) break;
          if (!event.wait(key, kLong)) ++late;
        }
        if (arrived.fetch_add(1) + 1 == kThreads * (seen + 1)) back.notify_all();
      }
    });
  }
  for (int r = 1; r <= kRounds; ++r) {
    round = r;
    event.notify_all();
    for (;;) {
      const EventCount::Key key = back.key();
      if (arrived.load() == kThreads * r) break;
      if (!back.wait(key, kLong)) ++late;
    }
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(late, 0) << "a notification was lost";
}

TEST(EventCount, WakesOneWhoWakesTheNext) {
  constexpr int kThreads = 6;
  EventCount event;
  std::atomic<int> turn{0}, late{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (;;) {
        const EventCount::Key key = event.key();
        if (turn.load() > 0) break;
        if (!event.wait(key, kLong)) ++late;
      }
      turn.fetch_add(1);
      event.notify_one();
    });
  }
  turn = 1;
  event.notify_one();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(turn, kThreads + 1);
  EXPECT_EQ(late, 0);
}

}  // namespace
}  // namespace daruma
