// SPDX-License-Identifier: Apache-2.0
#include "snapshot/compaction_picker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "base/random.h"

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

class Everything : public Picker {
 protected:
  static bool erases(const RunInfo& run) { return run.tombstones + run.erases > 0; }
  [[nodiscard]] std::vector<CompactionPick> picks() const { return pick_everything(runs_, kSettings, 1, erases); }
  using Numbers = std::vector<std::uint64_t>;
};

TEST_F(Everything, TakesOnlyTheStretchesThatHaveSomethingToMerge) {
  place(kBottomLevel, 100, "a", "c");
  place(kBottomLevel, 100, "d", "f");
  place(kBottomLevel, 100, "g", "i");
  place(0, 10, "e", "e");
  place(3, 10, "f", "f");
  const auto picked = picks();
  ASSERT_EQ(picked.size(), 1U);
  EXPECT_EQ(picked[0].inputs, (Numbers{2, 4, 5}));
  EXPECT_EQ(picked[0].output_level, kBottomLevel);
  EXPECT_TRUE(picked[0].bottom);
}

TEST_F(Everything, MovesLargeRunsOfLevel0ThatOverlapNothing) {
  place(kBottomLevel, 100, "a", "c");
  place(0, 100, "d", "f");
  place(0, 100, "x", "x");
  place(1, 100, "y", "z");
  const auto picked = picks();
  ASSERT_EQ(picked.size(), 2U);
  EXPECT_EQ(picked[0].inputs, Numbers{4}) << "only runs of level 0 move";
  EXPECT_FALSE(picked[0].trivial_move);
  EXPECT_EQ(picked[1].inputs, (Numbers{2, 3})) << "by one manifest";
  EXPECT_TRUE(picked[1].trivial_move);
}

TEST_F(Everything, RewritesWhatGivesSomethingBackAtTheBottom) {
  place(kBottomLevel, 100, "a", "c");
  EXPECT_TRUE(picks().empty());
  runs_[0].info.tombstones = 1;
  ASSERT_EQ(picks().size(), 1U);
  EXPECT_FALSE(picks()[0].trivial_move);
  runs_[0].info.tombstones = 0;
  runs_[0].info.erases = 1;
  EXPECT_EQ(picks().size(), 1U);
}

TEST_F(Everything, MergesSmallNeighboursAndLeavesASmallOneAlone) {
  place(kBottomLevel, 49, "a", "c");
  EXPECT_TRUE(picks().empty());
  place(kBottomLevel, 49, "d", "f");
  place(kBottomLevel, 50, "g", "i");
  place(kBottomLevel, 49, "j", "l");
  const auto picked = picks();
  ASSERT_EQ(picked.size(), 1U);
  EXPECT_EQ(picked[0].inputs, (Numbers{1, 2}));
}

TEST_F(Everything, OfAnyPlacementLeavesOneLevelWithoutTombstones) {
  for (std::uint64_t seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    runs_.clear();
    const auto key = [](std::uint64_t letter) { return std::string(1, static_cast<char>('a' + letter)); };
    for (std::uint32_t level = 1; level <= kBottomLevel; ++level) {
      for (std::uint64_t first = random.below(6), last = 0; first < 24; first = last + 1 + random.below(6)) {
        last = first + random.below(4);  // runs of a level do not overlap
        if (random.one_in(2)) place(level, 1 + random.below(60), key(first), key(last));
      }
    }
    for (std::uint64_t i = random.below(4); i > 0; --i) {
      const std::uint64_t first = random.below(24);
      place(0, 1 + random.below(60), key(first), key(first + random.below(4)));
    }
    for (PlacedRun& run : runs_) run.info.tombstones = random.one_in(4);
    CompactionSettings settings = kSettings;
    settings.input_bytes_max = 60;

    std::vector<PlacedRun> after = runs_;
    for (const CompactionPick& pick : pick_everything(runs_, settings, 1, erases)) {
      EXPECT_TRUE(pick.bottom);
      const auto is_input = [&](const PlacedRun& run) {
        return std::count(pick.inputs.begin(), pick.inputs.end(), run.info.number) > 0;
      };
      PlacedRun output;
      output.level = kBottomLevel;
      output.info = {.number = 1000 + pick.inputs.front(), .keyspace = 1, .level = kBottomLevel, .entries = 1};
      std::size_t inputs = 0;
      for (PlacedRun& run : after) {
        if (!is_input(run)) continue;
        if (inputs++ == 0 || run.info.smallest_key < output.info.smallest_key)
          output.info.smallest_key = run.info.smallest_key;
        output.info.largest_key = std::max(output.info.largest_key, run.info.largest_key);
        if (!pick.trivial_move) continue;
        EXPECT_EQ(run.level, 0U);
        run.level = kBottomLevel;
      }
      EXPECT_EQ(inputs, pick.inputs.size()) << "each run is in one pick";
      if (!pick.trivial_move) {
        std::erase_if(after, is_input);
        EXPECT_TRUE(std::none_of(after.begin(), after.end(), [&](const PlacedRun& run) {
          return overlaps(run.info, output.info);
        })) << "something outside could be older";
        after.push_back(output);
      }
      ASSERT_TRUE(check_placement(after).ok()) << check_placement(after).to_string();
    }
    for (const PlacedRun& run : after) {
      EXPECT_EQ(run.level, kBottomLevel);
      EXPECT_EQ(run.info.tombstones, 0U);
    }
  }
}

}  // namespace
}  // namespace daruma
