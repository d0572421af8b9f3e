// SPDX-License-Identifier: Apache-2.0
// Retention: what may go, what must stay, and that nothing superseded ever comes back.
#include "snapshot/retention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/random.h"
#include "io/sim_storage.h"
#include "snapshot/catalogue.h"
#include "snapshot/run_rebuild.h"
#include "wal_bytes.h"

namespace daruma {
namespace {

using Numbers = std::vector<std::uint64_t>;

RunInfo compacted(std::uint64_t number, Numbers supersedes, std::uint32_t level = 1) {
  RunInfo info;
  info.number = number;
  info.keyspace = 1;
  info.level = level;
  info.smallest_key = "a";
  info.largest_key = "z";
  info.min_sequence = 1;
  info.max_sequence = 10;
  info.checkpoint_sequence = 10;
  info.entries = 1;
  info.job_id = number;
  info.job_last = true;
  info.supersedes = std::move(supersedes);
  return info;
}

Manifest generation(std::uint64_t number, Sequence sequence, const std::vector<RunInfo>& runs) {
  Manifest m;
  m.number = number;
  m.sequence = sequence;
  for (const RunInfo& run : runs) m.runs.push_back({run, run.level});
  return m;
}

TEST(Retention, KeepsTheRunsOfEveryKeptGenerationAndTheLogBackToTheOldest) {
  const Manifest newest = generation(9, 90, {compacted(3, {1})});
  const Manifest older = generation(8, 80, {compacted(1, {})});
  RetentionInput in;
  in.kept = {&newest, &older};
  in.manifests_on_disk = {6, 7, 8, 9, 10};
  in.manifests_set_aside = {6};
  in.runs_on_disk = {compacted(1, {}), compacted(2, {}), compacted(3, {1}), compacted(4, {}), compacted(5, {})};
  in.pinned_runs = {4};
  in.runs_being_written = {5};
  const RetentionPlan plan = plan_retention(in);
  EXPECT_EQ(plan.remove_manifests, Numbers{7});
  EXPECT_EQ(plan.remove_runs, Numbers{2});
  EXPECT_EQ(plan.keep_log_from, 81u);
}

TEST(Retention, WhatSupersedesWaitsForWhatItSupersedes) {
  // 1 was replaced by 2, 2 by 3; both 1 and 2 may go, but 2 is what keeps 1 from coming back.
  const Manifest newest = generation(9, 90, {compacted(3, {2}, 2)});
  RetentionInput in;
  in.kept = {&newest};
  in.runs_on_disk = {compacted(1, {}), compacted(2, {1}), compacted(3, {2}, 2)};
  RetentionPlan plan = plan_retention(in);
  EXPECT_EQ(plan.remove_runs, Numbers{1});
  EXPECT_EQ(plan.wait_runs, Numbers{2});
  std::erase_if(in.runs_on_disk, [](const RunInfo& run) { return run.number == 1; });
  plan = plan_retention(in);
  EXPECT_EQ(plan.remove_runs, Numbers{2});
  EXPECT_TRUE(plan.wait_runs.empty());
}

TEST(Retention, AViewThatPinsAnOldRunDoesNotPinItsWholeLineage) {
  const std::vector<RunInfo> inputs{compacted(2, {1})};
  const Numbers all = supersedes_for(inputs, {1, 2});
  EXPECT_EQ(all, (Numbers{1, 2}));
  EXPECT_EQ(supersedes_for(inputs, {2}), Numbers{2});
  const Manifest newest = generation(9, 90, {compacted(3, all, 2)});
  RetentionInput in;
  in.kept = {&newest};
  in.pinned_runs = {1};
  in.runs_on_disk = {compacted(1, {}), compacted(2, {1}), compacted(3, all, 2)};
  EXPECT_EQ(plan_retention(in).remove_runs, Numbers{2});
}

TEST(Retention, OutputsOfAJobThatWasNeverPublishedMayGoAtOnce) {
  const Manifest newest = generation(9, 90, {compacted(1, {})});
  RetentionInput in;
  in.kept = {&newest};
  in.runs_on_disk = {compacted(1, {}), compacted(2, {1})};
  EXPECT_EQ(plan_retention(in).remove_runs, Numbers{2});
}

TEST(Retention, AMarkerStaysUntilEverythingItSaysIsSaidElsewhere) {
  RunInfo marker = compacted(5, {1});
  marker.entries = 0;
  EXPECT_EQ(markers_to_drop({{marker, 6}}, {5}), Numbers{}) << "it alone tells how far the state reaches";
  EXPECT_EQ(markers_to_drop({{marker, 6}, {compacted(6, {}), 1}}, {1, 5, 6}), Numbers{}) << "run 1 would come back";
  EXPECT_EQ(markers_to_drop({{marker, 6}, {compacted(6, {}), 1}}, {5, 6}), Numbers{5});
  EXPECT_EQ(markers_to_drop({{marker, 6}, {compacted(4, {}), 1}}, {4, 5}), Numbers{}) << "an older job proves nothing";
}

RunInfo flushed(std::uint64_t number, Sequence after, Sequence through) {
  RunInfo info = compacted(number, {}, 0);
  info.prev_sequence = after;
  info.min_sequence = after + 1;
  info.max_sequence = info.checkpoint_sequence = through;
  return info;
}

Numbers numbers(const RebuiltState& state) {
  Numbers all;
  for (const PlacedRun& run : state.runs) all.push_back(run.info.number);
  return all;
}

TEST(RunsAlone, AJobThatWasCutOffHasNotHappened) {
  RunInfo first = compacted(3, {1, 2});
  RunInfo last = compacted(4, {1, 2});
  first.largest_key = "m";
  last.smallest_key = "n";
  first.job_last = false;
  last.job_id = 3;
  last.job_index = 1;
  const std::vector<RunInfo> inputs{flushed(1, 0, 5), flushed(2, 5, 10)};
  const auto with = [&](std::vector<RunInfo> more) {
    more.insert(more.begin(), inputs.begin(), inputs.end());
    return rebuild_from_runs(more);
  };
  EXPECT_EQ(numbers(with({first, last})), (Numbers{3, 4}));
  EXPECT_EQ(numbers(with({first})), (Numbers{1, 2}));
  EXPECT_EQ(numbers(with({last})), (Numbers{1, 2}));
  EXPECT_EQ(with({last}).dropped.size(), 1U);
  // A later one of this keyspace tells that it had: what is missing is what that one replaced.
  const RunInfo later = compacted(5, {4}, 2);
  EXPECT_EQ(numbers(with({first, later})), (Numbers{3, 5}));
}

TEST(RunsAlone, ACheckpointThatLeftNoRunIsAGap) {
  const std::vector<RunInfo> runs{flushed(1, 0, 10), flushed(3, 20, 30)};
  const RebuiltState state = rebuild_from_runs(runs);
  EXPECT_EQ(state.sequence, 30U);
  EXPECT_EQ(state.gaps, (std::vector<std::pair<Sequence, Sequence>>{{10, 20}}));
  EXPECT_TRUE(rebuild_from_runs({flushed(1, 0, 10), flushed(2, 10, 20), flushed(3, 20, 30)}).gaps.empty());
}

/// Output `index` of two of a load, numbered 3 and 4.
RunInfo loaded(std::uint32_t index) {
  RunInfo info = flushed(3 + index, 8, 8);
  info.min_sequence = 8;
  info.job_id = 3;
  info.job_index = index;
  info.job_last = index == 1;
  info.smallest_key = index == 0 ? "a" : "n";
  info.largest_key = index == 0 ? "m" : "z";
  return info;
}

TEST(RunsAlone, ALoadThatWasCutOffHasNotHappenedWhateverWasFlushedMeanwhile) {
  const RunInfo before = flushed(1, 0, 10);
  const RunInfo meanwhile = flushed(5, 10, 20);
  const RebuiltState whole = rebuild_from_runs({before, loaded(0), loaded(1), meanwhile});
  EXPECT_EQ(numbers(whole), (Numbers{1, 3, 4, 5}));
  EXPECT_TRUE(whole.gaps.empty());
  EXPECT_EQ(numbers(rebuild_from_runs({before, loaded(0), meanwhile})), (Numbers{1, 5}));
  EXPECT_EQ(numbers(rebuild_from_runs({before, loaded(1), meanwhile})), (Numbers{1, 5}));
  EXPECT_EQ(numbers(rebuild_from_runs({before, loaded(1), meanwhile, compacted(6, {3}, 2)})), (Numbers{1, 4, 5, 6}));
  // It tells that a flush before it covered its number, not that it is there.
  const std::vector<std::pair<Sequence, Sequence>> gap{{0, 8}};
  EXPECT_EQ(rebuild_from_runs({loaded(0), loaded(1)}).gaps, gap);
}

TEST(RunsAlone, WhereLevelsAreInDoubtTheNewestVersionCounts) {
  RunInfo between = flushed(2, 10, 20);
  between.smallest_key = between.largest_key = "m";
  // With its older neighbour a compaction took a newer one, and merged both with all that is below: "m" in it is old.
  RunInfo merged = compacted(5, {1, 3, 4}, 1);
  merged.max_sequence = merged.checkpoint_sequence = 30;
  EXPECT_EQ(rebuild_from_runs({between, merged}).flattened, std::vector<std::uint32_t>{1});
  // The same of a load of which it took one run.
  RunInfo half = compacted(6, {3}, 1);
  half.max_sequence = 8;
  EXPECT_EQ(rebuild_from_runs({flushed(1, 0, 10), loaded(1), half}).flattened, std::vector<std::uint32_t>{1});
  // One that was moved lies below what is newer.
  merged.min_sequence = 21;
  const RebuiltState moved = rebuild_from_runs({between, merged});
  EXPECT_EQ(moved.flattened, std::vector<std::uint32_t>{});
  EXPECT_EQ(moved.runs.front().level, kBottomLevel);
}

TEST(Retention, AGenerationThatLacksALoadIsNotWhatAnotherFollowsFrom) {
  Manifest without;
  without.runs = {{flushed(1, 0, 10), 0}};
  Manifest with = without;
  with.runs.push_back({loaded(0), 6});
  with.runs.push_back({loaded(1), 6});
  EXPECT_TRUE(lacks_load(without, with));
  EXPECT_FALSE(lacks_load(with, without));
  Manifest healed = with;
  healed.runs.back().info.number = 9;  // in the same seat
  EXPECT_FALSE(lacks_load(with, healed));
  EXPECT_FALSE(plan_rebuild(loaded(1), without, 0)) << "no log has it";
  RunInfo again = loaded(1);
  again.number = 9;
  again.supersedes = {4};
  EXPECT_EQ(plan_rebuild(again, with, 0)->runs, std::vector<RunInfo>{loaded(1)});
}

/// A life of flushes and compactions on a disk that loses power: whatever subset of the removals survives, the runs
/// alone give the newest generation's state again.
TEST(Retention, NothingSupersededComesBackWhateverAPowerCutKeeps) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    SimStorage disk({.seed = seed});
    ASSERT_TRUE(disk.make_directory("s").ok());
    ASSERT_TRUE(disk.make_directory("s/runs").ok());
    ASSERT_TRUE(disk.make_directory("s/snapshots").ok());
    ASSERT_TRUE(disk.sync_directory("s").ok());
    std::map<std::uint64_t, RunInfo> written;
    const auto name = [](std::uint64_t n) { return manifest_name(n).substr(0, 16) + ".run"; };
    std::vector<Manifest> kept{generation(1, 0, {})};
    std::uint64_t next = 1;
    Sequence sequence = 0;
    const auto on_disk = [&] {
      std::set<std::uint64_t> found;
      Result<std::vector<DirectoryEntry>> entries = disk.list("s/runs");
      EXPECT_TRUE(entries.ok());
      for (const DirectoryEntry& e : *entries) found.insert(std::stoull(e.name));
      return found;
    };
    std::set<std::uint64_t> pinned;
    for (int job = 0; job < 25; ++job) {
      std::vector<RunInfo> live;
      for (const PlacedRun& run : kept.front().runs) live.push_back(run.info);
      RunInfo out = compacted(next++, {}, 0);
      out.smallest_key = "k" + std::to_string(out.number);  // apart, so that levels are not at issue here
      out.largest_key = out.smallest_key;
      if (live.size() < 2 || random.one_in(2)) {
        out.prev_sequence = sequence;
        sequence += 10;
        out.min_sequence = sequence - 9;
        live.push_back(out);
      } else {
        std::vector<RunInfo> inputs{live[0], live[1]};
        live.erase(live.begin(), live.begin() + 2);
        out.level = 1;
        out.min_sequence = 1;
        out.supersedes = supersedes_for(inputs, on_disk());
        if (random.one_in(5)) out.entries = 0;
        live.push_back(out);
      }
      out.max_sequence = out.checkpoint_sequence = sequence;
      live.back() = out;
      written[out.number] = out;
      ASSERT_TRUE(publish(disk, "s/runs", name(out.number), "run").ok());
      const std::set<std::uint64_t> now = on_disk();
      std::vector<PlacedRun> placed;
      for (const RunInfo& run : live) placed.push_back({run, run.level});
      for (const std::uint64_t gone : markers_to_drop(placed, now))
        std::erase_if(live, [&](const RunInfo& r) { return r.number == gone; });
      kept.insert(kept.begin(), generation(kept.front().number + 1, sequence, live));
      if (kept.size() > kGenerationsKept) kept.pop_back();
      if (random.one_in(6)) pinned = {live[random.below(live.size())].number};
      if (random.one_in(6)) pinned.clear();
      RetentionInput in;
      for (const Manifest& m : kept) in.kept.push_back(&m);
      in.pinned_runs = pinned;
      for (const std::uint64_t n : now) in.runs_on_disk.push_back(written.at(n));
      const RetentionPlan plan = plan_retention(in);

      // What if power goes while the removals are not synced yet? Any subset of them.
      for (int subset = 0; subset < 6; ++subset) {
        std::vector<RunInfo> left;
        for (const RunInfo& run : in.runs_on_disk) {
          const bool removing =
              std::find(plan.remove_runs.begin(), plan.remove_runs.end(), run.number) != plan.remove_runs.end();
          if (!removing || random.one_in(2)) left.push_back(run);
        }
        const RebuiltState state = rebuild_from_runs(left);
        std::vector<PlacedRun> want = kept.front().runs;
        std::vector<PlacedRun> got = state.runs;
        // Markers hold nothing, so a dropped one that is still there changes nothing.
        std::erase_if(want, [](const PlacedRun& r) { return is_marker(r.info); });
        std::erase_if(got, [](const PlacedRun& r) { return is_marker(r.info); });
        const auto by_number = [](const PlacedRun& a, const PlacedRun& b) { return a.info.number < b.info.number; };
        std::sort(want.begin(), want.end(), by_number);
        ASSERT_EQ(got.size(), want.size()) << "job " << job;
        for (std::size_t i = 0; i < got.size(); ++i)
          ASSERT_EQ(got[i].info.number, want[i].info.number) << "job " << job;
        ASSERT_EQ(state.sequence, sequence);
        ASSERT_TRUE(state.gaps.empty());
      }
      ASSERT_TRUE(apply_retention(disk, "s", plan).ok());
    }
  }
}

TEST(RunRebuild, TakesNoEventWhoseNumberWasGivenAnewInAFileThatIsGone) {
  SimStorage disk;
  wal_test::SegmentBytes segment;
  segment.events(1, 6);
  wal_test::put_file(disk, wal_test::kSegmentPath, segment.bytes);
  for (const Sequence anew_from : {0, 7, 6}) {
    Memtable out;
    const std::vector<LiveSegment> live = {{1, 1, segment.bytes.size(), side_bit(0), anew_from}};
    const Result<bool> all = read_log_part(disk, wal_test::kDirectory, wal_test::kStore, live,
                                           {.through = 6, .keyspace = 1, .keys = {}}, out);
    ASSERT_TRUE(all.ok()) << all.status().to_string();
    EXPECT_EQ(*all, anew_from != 6) << anew_from;
  }
}

}  // namespace
}  // namespace daruma
