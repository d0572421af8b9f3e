// SPDX-License-Identifier: Apache-2.0
#include "recovery/attempts.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "io/sim_storage.h"

namespace daruma {
namespace {

constexpr StoreId kStore{3, 4};
constexpr std::string_view kNote = "s/recoveries/attempts";

std::uint64_t boot(SimStorage& disk) { return hash64(disk.boot_id(), 0); }
Attempts look(SimStorage& disk) { return {disk, "s/recoveries", kStore, boot(disk)}; }

void make_store(SimStorage& disk) {
  ASSERT_TRUE(disk.make_directory("s").ok());
  ASSERT_TRUE(disk.make_directory("s/recoveries").ok());
  ASSERT_TRUE(disk.sync_directory("s").ok());
  ASSERT_TRUE(disk.sync_directory(".").ok());
}

// One start that replays events 1..10 and dies at `killer`, unless it is told to leave it out. True when it lived.
bool start(SimStorage& disk, Sequence killer, bool power = false) {
  Attempts attempts = look(disk);
  attempts.begin();
  for (Sequence s = 1; s <= 10; ++s) {
    attempts.advance(s);
    if (attempts.deaths(s) >= Attempts::kDeathsMax) {
      EXPECT_EQ(s, killer);
      continue;
    }
    if (s == killer) {
      if (power)
        disk.power_cut(100);
      else
        disk.kill();
      return false;
    }
  }
  attempts.finish();
  return true;
}

class AttemptsTest : public testing::Test {
 protected:
  void SetUp() override { make_store(disk); }
  SimStorage disk;
};

TEST_F(AttemptsTest, WhatKilledThreeStartsIsSetAsideAtTheFourth) {
  for (std::uint32_t deaths = 0; deaths < 3; ++deaths) {
    EXPECT_EQ(look(disk).deaths(5), deaths);
    EXPECT_FALSE(start(disk, 5));
  }
  ASSERT_EQ(look(disk).culprits().size(), 1u);
  EXPECT_EQ(look(disk).culprits()[0], (Attempts::Culprit{5, 3}));
  EXPECT_TRUE(start(disk, 5));
  EXPECT_TRUE(look(disk).culprits().empty()) << "from here on the damage map knows";
  EXPECT_EQ(look(disk).attempt(), 1u);
}

TEST_F(AttemptsTest, DeathsAtDifferentEventsDoNotAddUp) {
  for (Sequence s = 1; s <= 9; ++s) EXPECT_FALSE(start(disk, s));
  EXPECT_EQ(look(disk).attempt(), 10u);
  EXPECT_TRUE(start(disk, 0));
  EXPECT_TRUE(look(disk).culprits().empty()) << "a start that finishes forgives";
}

TEST_F(AttemptsTest, APowerLossBlamesNobody) {
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(start(disk, 5, /*power=*/true));
  EXPECT_TRUE(look(disk).culprits().empty());
}

TEST_F(AttemptsTest, ADeathBetweenEventsBlamesNobody) {
  for (int i = 0; i < 5; ++i) {
    Attempts attempts = look(disk);
    attempts.begin();
    attempts.advance(3);
    attempts.rest();
    disk.kill();
  }
  EXPECT_TRUE(look(disk).culprits().empty());
}

TEST_F(AttemptsTest, AStartThatOnlyLooksWritesNothing) {
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(start(disk, 5));
  const std::uint64_t before = disk.fingerprint();
  Attempts attempts = look(disk);
  attempts.advance(5);
  attempts.rest();
  EXPECT_EQ(attempts.deaths(5), 3u);
  EXPECT_EQ(disk.fingerprint(), before);
}

TEST_F(AttemptsTest, NeverStopsAStart) {
  const Fault full{.kind = FaultKind::kNoSpace};
  disk.inject(full);
  EXPECT_TRUE(start(disk, 0));
  disk.clear_faults();
  EXPECT_FALSE(start(disk, 5));
  disk.inject(full);
  EXPECT_FALSE(start(disk, 5)) << "counted in place, without space";
  EXPECT_FALSE(start(disk, 5));
  EXPECT_TRUE(start(disk, 5));
  disk.inject({.kind = FaultKind::kWriteError});
  EXPECT_TRUE(start(disk, 0));
}

TEST_F(AttemptsTest, ADamagedNoteBlamesNobodyElse) {
  const std::uint64_t seed = entropy_seed();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random r(seed);
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(start(disk, 5));
  for (int i = 0; i < 300; ++i) {
    auto copy = disk.clone(r.next());
    ASSERT_TRUE(copy->flip_bit(std::string(kNote), r.one_in(2) ? r.below(64) : 2048 + r.below(16),
                               static_cast<unsigned>(r.below(8)))
                    .ok());
    const Attempts attempts(*copy, "s/recoveries", kStore, boot(disk));
    for (const Attempts::Culprit& c : attempts.culprits()) {
      ASSERT_EQ(c.sequence, 5u);
      ASSERT_LE(c.deaths, 3u);
    }
  }
}

}  // namespace
}  // namespace daruma
