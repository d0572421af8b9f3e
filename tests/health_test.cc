// SPDX-License-Identifier: Apache-2.0
// The state machines of src/health, which know no clock and no device.
#include <gtest/gtest.h>

#include "health/circuit_breaker.h"
#include "health/health_tree.h"
#include "health/recovery_budget.h"
#include "health/restart_limit.h"

namespace daruma {
namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kSecond = 1'000 * kMs;
const Status kBadDisk(Code::kIoError, "the device says no");
const Status kFull(Code::kNoSpace, "full");

struct Breaker : ::testing::Test {
  Random random{1};
  CircuitBreaker breaker{{.failures = 3, .first_rest_ns = 100 * kMs, .longest_rest_ns = 1 * kSecond}};
  void fail(const Status& status, std::int64_t now) { breaker.failed(status, now, random); }
};

TEST_F(Breaker, OpensAfterFailuresThatAreAlike) {
  fail(kBadDisk, 0);
  fail(kFull, 0);
  fail(kBadDisk, 0);
  fail(kBadDisk, 0);
  EXPECT_TRUE(breaker.admit(0).ok()) << "four failures, of which no three in a row were alike";
  fail(kBadDisk, 0);
  EXPECT_EQ(breaker.state(), CircuitBreaker::State::kOpen);
  EXPECT_EQ(breaker.opened(), 1U);
}

TEST_F(Breaker, FailsFastWithTheCauseWhileItRests) {
  for (int i = 0; i < 3; ++i) fail(kBadDisk, 0);
  const Status refused = breaker.admit(10 * kMs);
  EXPECT_TRUE(refused.is(Code::kUnavailable));
  EXPECT_NE(refused.message().find("the device says no"), std::string::npos);
  EXPECT_NE(refused.hint().find("tried again"), std::string::npos);
}

TEST_F(Breaker, OneAttemptAfterTheRestDecides) {
  for (int i = 0; i < 3; ++i) fail(kBadDisk, 0);
  EXPECT_FALSE(breaker.admit(74 * kMs).ok());
  ASSERT_TRUE(breaker.admit(126 * kMs).ok());  // 100 ms, and a quarter either way
  EXPECT_EQ(breaker.state(), CircuitBreaker::State::kHalfOpen);
  fail(kBadDisk, 126 * kMs);
  EXPECT_EQ(breaker.state(), CircuitBreaker::State::kOpen) << "one failure is enough then";
  EXPECT_FALSE(breaker.admit(126 * kMs + 149 * kMs).ok()) << "and the rest is twice as long";
  ASSERT_TRUE(breaker.admit(126 * kMs + 251 * kMs).ok());
  breaker.succeeded();
  EXPECT_EQ(breaker.state(), CircuitBreaker::State::kClosed);
  fail(kBadDisk, kSecond);
  EXPECT_TRUE(breaker.admit(kSecond).ok()) << "it begins anew";
  EXPECT_EQ(breaker.opened(), 1U);
}

TEST_F(Breaker, RestsGrowUpToTheLongest) {
  for (int i = 0; i < 3; ++i) fail(kBadDisk, 0);
  std::int64_t now = 0;
  for (int i = 0; i < 20; ++i) {
    now += breaker.retry_in_ns(now);
    ASSERT_TRUE(breaker.admit(now).ok());
    fail(kBadDisk, now);
    EXPECT_LE(breaker.retry_in_ns(now), kSecond + kSecond / 4);
  }
  EXPECT_GE(breaker.retry_in_ns(now), kSecond - kSecond / 4);
}

TEST_F(Breaker, WhatSaysNothingOfTheDeviceIsNotCounted) {
  for (int i = 0; i < 10; ++i) {
    fail({Code::kAborted, "the store is being abandoned"}, 0);
    fail({Code::kOutOfMemory, "short"}, 0);
  }
  EXPECT_EQ(breaker.state(), CircuitBreaker::State::kClosed);
  for (int i = 0; i < 3; ++i) fail(kBadDisk, 0);
  breaker.rest_no_longer();
  ASSERT_TRUE(breaker.admit(0).ok());
  fail({Code::kAborted, "again"}, 0);
  EXPECT_EQ(breaker.state(), CircuitBreaker::State::kOpen) << "nothing was learned";
}

TEST(RestartLimit, AllowsSoManyInAnyHour) {
  RestartLimit limit(3);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(limit.take(i * kSecond));
  EXPECT_FALSE(limit.take(3 * kSecond));
  EXPECT_EQ(limit.last_hour(3 * kSecond), 3U);
  EXPECT_FALSE(limit.take(3599 * kSecond)) << "the first one is not an hour ago";
  EXPECT_TRUE(limit.take(3600 * kSecond));
  EXPECT_FALSE(limit.take(3600 * kSecond)) << "two of the hour before still count";
  EXPECT_EQ(limit.taken(), 4U);
}

TEST(RecoveryBudget, LearnsFromStartsThatHadSomethingToDo) {
  const StartCosts before{.fixed_ns = 2 * kMs, .per_run_ns = 1000, .replay_bytes_per_second = 400'000'000};
  const StartCosts after = learn(before, {.open_runs_ns = 20 * kMs,
                                          .runs = 10,
                                          .replay_ns = 100 * kMs,
                                          .replay_bytes = 20'000'000,
                                          .total_ns = 130 * kMs});
  EXPECT_EQ(after.fixed_ns, 10 * kMs);
  EXPECT_EQ(after.per_run_ns, 2 * kMs);
  EXPECT_EQ(after.replay_bytes_per_second, 200'000'000U);
  const StartCosts idle = learn(after, {.replay_ns = 5 * kMs, .replay_bytes = 1000, .total_ns = 6 * kMs});
  EXPECT_EQ(idle.replay_bytes_per_second, 200'000'000U) << "a thousand bytes tell no rate";
  EXPECT_EQ(idle.per_run_ns, 2 * kMs) << "no run tells nothing of runs";
  EXPECT_EQ(idle.fixed_ns, 9 * kMs) << "what is better is believed a quarter at a time";
  const StartCosts lucky = learn(after, {.replay_ns = 50 * kMs, .replay_bytes = 20'000'000, .total_ns = 50 * kMs});
  EXPECT_EQ(lucky.replay_bytes_per_second, 250'000'000U);
}

TEST(RecoveryBudget, LeavesRoomForTheCheckpointItself) {
  RecoveryBudget budget(50 * kMs);
  budget.set_costs({.fixed_ns = 10 * kMs, .per_run_ns = 0, .replay_bytes_per_second = 400'000'000});
  const RecoveryBudget::Limits limits = budget.limits(0);
  EXPECT_EQ(limits.wait, 12'000'000U);  // three quarters of what 40 ms replay
  EXPECT_EQ(limits.begin, 6'000'000U);  // and half of that
  EXPECT_LE(budget.estimate_ns(0, limits.wait), 50 * kMs);
}

TEST(RecoveryBudget, LeavesWritersAnEighthWhereRunsUseItUp) {
  RecoveryBudget budget(50 * kMs);
  budget.set_costs({.fixed_ns = 10 * kMs, .per_run_ns = 1 * kMs, .replay_bytes_per_second = 400'000'000});
  EXPECT_LE(budget.estimate_ns(30, RecoveryBudget::kLeastBytes), 50 * kMs);
  EXPECT_GT(budget.estimate_ns(40, RecoveryBudget::kLeastBytes), 50 * kMs);
  EXPECT_EQ(budget.limits(1000).begin, 2'500'000U) << "what an eighth of the budget replays: writers go on";
}

TEST(HealthTree, IsAsBadAsTheWorstThatFails) {
  HealthTree tree;
  const auto round = [&](Status log, Status scrub, std::int64_t at) {
    return tree.update({{"scrub", HealthLevel::kMaintenance, std::move(scrub), ""},
                        {"log", HealthLevel::kCritical, std::move(log), "goes on in a new file"}},
                       at);
  };
  EXPECT_FALSE(round({}, {}, 1)) << "all well, as before anybody looked";
  EXPECT_EQ(tree.level(), HealthLevel::kHealthy);
  EXPECT_TRUE(round({}, kBadDisk, 2));
  EXPECT_EQ(tree.level(), HealthLevel::kMaintenance);
  EXPECT_TRUE(round(kBadDisk, kBadDisk, 3));
  EXPECT_EQ(tree.level(), HealthLevel::kCritical);
  EXPECT_FALSE(round(kBadDisk, kBadDisk, 4)) << "nothing new";
  ASSERT_EQ(tree.checks().size(), 2U);
  EXPECT_EQ(tree.checks()[0].name, "log") << "critical ones first";
  EXPECT_EQ(tree.checks()[0].since_wall_ns, 3);
  EXPECT_EQ(tree.checks()[0].last_run_wall_ns, 4);
  EXPECT_EQ(tree.checks()[1].since_wall_ns, 2);
  EXPECT_TRUE(round({}, {}, 5));
  EXPECT_EQ(tree.level(), HealthLevel::kHealthy);
}

}  // namespace
}  // namespace daruma
