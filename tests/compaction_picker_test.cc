// SPDX-License-Identifier: Apache-2.0
#include "snapshot/compaction_picker.h"

#include <gtest/gtest.h>

#include <string>

namespace daruma {
namespace {

constexpr CompactionSettings kSettings{.base_level_bytes = 1000, .level_factor = 10, .output_run_bytes = 100};

/// Runs get numbers in the order in which they are placed, and sequences that fall with the level.
class Picker : public testing::Test {
 protected:
  void place(std::uint32_t level, std::uint64_t bytes, std::string first = "a", std::string last = "z") {
    PlacedRun placed;
    placed.level = level;
    placed.info.number = runs_.size() + 1;
    placed.info.keyspace = 1;
    placed.info.min_sequence = placed.info.max_sequence = level == 0 ? 1000 + runs_.size() : 100 - level;
    placed.info.smallest_key = std::move(first);
    placed.info.largest_key = std::move(last);
    placed.info.entries = 1;
    placed.info.file_bytes = bytes;
    runs_.push_back(placed);
  }
  void place_level0() {
    for (std::size_t i = 0; i < kSettings.level0_trigger; ++i) place(0, 10);
  }
  [[nodiscard]] std::optional<CompactionPick> pick() const { return pick_compaction(runs_, kSettings); }

  std::vector<PlacedRun> runs_;
};

TEST_F(Picker, HasNothingToDoForAQuietKeyspace) {
  place(kBottomLevel, 100'000);
  for (std::size_t i = 1; i < kSettings.level0_trigger; ++i) place(0, 10);
  EXPECT_FALSE(pick());
}

TEST_F(Picker, MergesLevel0StraightIntoASmallBottom) {
  place(kBottomLevel, 1000);
  place_level0();
  const auto picked = pick();
  ASSERT_TRUE(picked);
  EXPECT_EQ(picked->output_level, kBottomLevel);
  EXPECT_EQ(picked->inputs.size(), 1 + kSettings.level0_trigger);
  EXPECT_TRUE(picked->bottom);
}

TEST_F(Picker, GivesALargerBottomALevelAboveIt) {
  place(kBottomLevel, 1001);
  place_level0();
  auto picked = pick();
  ASSERT_TRUE(picked);
  EXPECT_EQ(picked->output_level, kBottomLevel - 1);
  EXPECT_FALSE(picked->bottom);

  runs_.front().info.file_bytes = 10'010;
  picked = pick();
  ASSERT_TRUE(picked);
  EXPECT_EQ(picked->output_level, kBottomLevel - 2);
}

TEST_F(Picker, MergesALevelDownThatIsMoreThanItsShareOfTheBottom) {
  place(kBottomLevel, 2000, "a", "m");
  place(kBottomLevel, 2000, "n", "z");
  place(kBottomLevel - 1, 399, "a", "b");
  EXPECT_FALSE(pick());
  place(kBottomLevel - 1, 1, "o", "p");
  const auto picked = pick();
  ASSERT_TRUE(picked);
  EXPECT_EQ(picked->input_level, kBottomLevel - 1);
  EXPECT_EQ(picked->output_level, kBottomLevel);
  EXPECT_EQ(picked->inputs, (std::vector<std::uint64_t>{1, 3})) << "the pair that moves the most for what it reads";
}

TEST_F(Picker, JumpsOverNoLevelThatHoldsRuns) {
  place(kBottomLevel, 500);
  place(3, 10, "c", "d");
  place_level0();
  const auto picked = pick();
  ASSERT_TRUE(picked);
  EXPECT_EQ(picked->input_level, 0U);
  EXPECT_EQ(picked->output_level, 3U);
}

TEST_F(Picker, EmptiesLevelsThatTheBottomIsNoLongerLargeEnoughFor) {
  place(kBottomLevel, 500);
  place(2, 1, "c", "d");
  for (std::uint32_t level = 2; level < kBottomLevel; ++level) {
    const auto picked = pick();
    ASSERT_TRUE(picked) << "of level " << level;
    EXPECT_EQ(picked->input_level, level);
    EXPECT_EQ(picked->output_level, level + 1);
    runs_.back().level = picked->output_level;
  }
  EXPECT_FALSE(pick());
}

}  // namespace
}  // namespace daruma
