// SPDX-License-Identifier: Apache-2.0
// What a start leaves alone, what it falls back on, and what it sees to.
#include "engine/engine.h"

#include <engine_testing.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <utility>

#include "run/run_format.h"
#include "snapshot/catalogue.h"

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

// A manifest tells of log files and runs by their names: those must be what a power cut leaves.
TEST(EngineStart, WhatIsBuiltOnNamesComesAfterTheyAreDurable) {
  World world;
  std::vector<std::string> done;
  world.disk->on_operation([&](std::uint64_t, std::string_view what) { done.emplace_back(what); });
  ASSERT_TRUE(world.must_open().create_keyspace("k").ok());
  world.disk->kill();
  const std::vector<DirectoryEntry> snapshots = *world.disk->list("store/snapshots");
  for (const DirectoryEntry& entry : snapshots) {  // so that the next start publishes one
    ASSERT_TRUE(world.disk->truncate("store/snapshots/" + entry.name, 0).ok());
  }
  done.clear();
  world.must_open();
  const auto when = [&](std::string_view what) {
    return std::find_if(done.begin(), done.end(), [&](const std::string& one) { return one.starts_with(what); }) -
           done.begin();
  };
  const auto published = when("rename store/snapshots/");
  ASSERT_LT(published, std::ssize(done));
  for (const char* directory : {"store/wal", "store/runs", "store/snapshots"})
    EXPECT_LT(when(std::string("sync_directory ") + directory), published) << directory;
}

// Each start begins a segment, and nothing is checkpointed: what the earlier ones have no use of is not read again.
TEST(EngineStart, ReadsBehindTheEndOfTheNewestSegmentOnly) {
  World world;
  {
    Store store = world.must_open();
    ASSERT_TRUE(store.create_keyspace("k").ok());
  }
  RecoveryReport report;
  for (int starts = 0; starts < 10; ++starts) {
    Store store = world.must_open(&report);
    ASSERT_TRUE(store.put(*store.keyspace("k"), std::to_string(starts), "1").ok());
  }
  EXPECT_EQ(report.events_replayed, 10U);
  EXPECT_LT(report.bytes_read, 2 * small().segment_bytes);
}

// Both copies of the newest manifest: recoveries/ has it too, and else the generation before it is kept whole, its runs
// and the log behind it.
TEST(EngineStart, ANewestGenerationThatIsHurtCostsALongerReplayAtMost) {
  for (const auto& [by_compaction, copy_too] : {std::pair(false, true), {true, true}, {false, false}}) {
    SCOPED_TRACE(by_compaction ? "of a compaction" : "of a checkpoint");
    SCOPED_TRACE(copy_too ? "and of the copy" : "but not of the copy");
    World world;
    std::map<std::string, std::string> model;
    {
      Store store = world.must_open();
      const Keyspace k = *store.create_keyspace("k");
      for (int round = 0; round < 4; ++round) {
        Random random(static_cast<std::uint64_t>(round));
        for (int i = 0; i < 100; ++i) {  // more than one segment
          std::string& value = model[std::to_string((round + 1) * i)];
          value.resize(6000);
          for (char& c : value) c = static_cast<char>(random.next());
          ASSERT_TRUE(store.put(k, std::to_string((round + 1) * i), value).ok());
        }
        ASSERT_TRUE(store.checkpoint().ok());
      }
      if (by_compaction) { ASSERT_TRUE(store.compact(k).ok()); }
      ASSERT_TRUE(store.put(k, "last", model["last"] = "1").ok());
    }
    world.disk->kill();
    const auto snapshots = contents(*world.disk, "store/snapshots");
    ASSERT_EQ(snapshots.size(), 2U);
    const auto& [newest, bytes] = *std::prev(snapshots.end());
    ASSERT_TRUE(world.disk->overwrite(newest, 0, std::string(bytes.size(), '\x5a')).ok());
    if (copy_too) { ASSERT_TRUE(world.disk->overwrite("store/recoveries/manifest", 0, bytes.substr(1)).ok()); }
    for (const bool first : {true, false}) {
      RecoveryReport report;
      Store store = world.must_open(&report);
      if (first) {
        EXPECT_EQ(report.events_replayed > 100, !by_compaction && copy_too);
        ASSERT_EQ(report.findings.size(), copy_too ? 1U : 2U) << report.to_text();
        EXPECT_EQ(report.findings.back().case_name, "rejected_manifest");
        EXPECT_EQ(report.findings.back().action, copy_too ? "use_older_generation" : "read_other_copy");
      } else {
        EXPECT_TRUE(report.findings.empty()) << report.to_text();
      }
      EXPECT_TRUE(report.clean());
      EXPECT_TRUE(store.damage().empty());
      const Keyspace k = *store.keyspace("k");
      for (const auto& [key, value] : model) ASSERT_EQ(*store.get(k, key), value);
    }
  }
}

// A first start that is killed before it has a log, and one that could only read: the next misses no log.
TEST(EngineStart, AStoreThatNeverHadALogMissesNone) {
  bool served = false;
  unsigned read_only = 0;
  for (std::uint64_t point = 0; !served; ++point) {
    SCOPED_TRACE("the first start dies at its operation " + std::to_string(point));
    World world;
    world.disk->crash_at(point);
    served = world.open().ok();
    world.disk->kill();
    world.disk->disarm();
    world.disk->inject({.kind = FaultKind::kNoSpace, .path_contains = "store/wal/"});
    if (const Result<Store::Opened> opened = world.open(); opened.ok()) read_only += opened->report.read_only ? 1 : 0;
    world.disk->clear_faults();
    world.disk->kill();
    RecoveryReport report;
    Store store = world.must_open(&report);
    ASSERT_TRUE(report.clean()) << report.to_text();
    ASSERT_TRUE(store.damage().empty());
    ASSERT_TRUE(store.create_keyspace("k").ok());
  }
  EXPECT_GT(read_only, 1U);
}

// What a dropped keyspace had stays in runs for a while. Without manifests they are no part of the state that the rest
// tells, nor of the next manifest, whose reader would take them for runs of which the name is lost.
TEST(EngineStart, ADroppedKeyspaceStaysDroppedWithEveryManifestLost) {
  for (const bool copy_too : {false, true}) {
    SCOPED_TRACE(copy_too);
    World world;
    {
      Store store = world.must_open();
      const Keyspace dropped = *store.create_keyspace("dropped");
      const Keyspace kept = *store.create_keyspace("kept");
      for (const Keyspace k : {dropped, kept}) ASSERT_TRUE(store.put(k, "key", "value").ok());
      ASSERT_TRUE(store.checkpoint().ok());
      ASSERT_TRUE(store.drop_keyspace(dropped).ok());
      ASSERT_TRUE(store.checkpoint().ok());
    }
    world.disk->kill();
    for (const auto& [path, bytes] : contents(*world.disk, "store/snapshots"))
      ASSERT_TRUE(world.disk->remove(path).ok());
    if (copy_too) { ASSERT_TRUE(world.disk->remove("store/recoveries/manifest").ok()); }
    for (int start = 0; start < 3; ++start) {
      SCOPED_TRACE("start " + std::to_string(start));
      RecoveryReport report;
      const Store store = world.must_open(&report);
      EXPECT_TRUE(report.clean()) << report.to_text();
      EXPECT_EQ(store.keyspaces().size(), 1U);
      EXPECT_EQ(*store.get(*store.keyspace("kept"), "key"), "value");
      world.disk->kill();
    }
  }
}

struct CutOff {
  std::unique_ptr<SimStorage> disk;  // as a kill between the runs of a job and its manifest leaves it
  std::string other;                 // a run that has nothing to do with it
};

CutOff cut_off(bool compaction) {
  World world;
  world.compaction.level0_trigger = 100;
  world.compaction.output_run_bytes = 1 << 20;  // else a run that nothing overlaps is moved as it is
  CutOff cut;
  Store store = world.must_open();
  const Keyspace k = *store.create_keyspace("k");
  const Keyspace other = *store.create_keyspace("other");
  EXPECT_TRUE(store.put(other, "x", "1").ok());
  EXPECT_TRUE(store.checkpoint().ok());
  const Catalogue catalogue = *read_catalogue(*world.disk, "store", std::nullopt);
  for (const PlacedRun& run : catalogue.newest()->runs) {
    if (run.info.keyspace == other.id()) cut.other = "store/runs/" + run_name(run.info.number);
  }
  for (const char* key : {"a", "b"}) EXPECT_TRUE(store.put(k, key, "1").ok());
  if (compaction) { EXPECT_TRUE(store.checkpoint().ok()); }
  world.disk->on_operation([&](std::uint64_t, std::string_view what) {
    if (!cut.disk && what.find("store/snapshots/") != std::string_view::npos) cut.disk = world.disk->clone(1);
  });
  EXPECT_TRUE((compaction ? store.compact(k) : store.checkpoint()).ok());
  cut.disk->kill();
  return cut;
}

// A start that has a loss to tell keeps what may be the last evidence; but runs of a job that was cut off must not be
// there any more when a later job replaces what they were made from, or the runs alone would tell both. Nor may a job
// begin while they could not be removed, here because nobody gets to see what is in snapshots/.
TEST(EngineStart, WhatACutOffJobLeftNeverComesBack) {
  for (const bool compaction : {false, true}) {
    for (const bool tidies : {true, false}) {
      SCOPED_TRACE(std::string(compaction ? "compaction" : "checkpoint") + (tidies ? "" : ", not tidied"));
      CutOff cut = cut_off(compaction);
      World world;
      world.compaction.level0_trigger = 100;
      world.compaction.output_run_bytes = 1 << 20;
      world.seed = 100;
      world.disk = std::move(cut.disk);
      ASSERT_TRUE(world.disk->remove(cut.other).ok());
      bool publishes = false;
      world.failpoint = [&](std::string_view where) {
        publishes = publishes || where == "snapshot publish";
        return Status();
      };
      bool locked = false;                                                     // that syncs snapshots/ too
      const auto hide_manifests = [&](std::uint64_t, std::string_view what) {  // once after each publish
        if (what == "sync_directory store/snapshots" && !std::exchange(locked, true)) return;
        if (what == "sync_directory store/wal" || what == "sync_directory store/snapshots")
          world.disk->inject({.kind = FaultKind::kOpenError, .path_contains = "store/snapshots", .times = 1});
      };
      if (!tidies) world.disk->on_operation(hide_manifests);
      {
        RecoveryReport report;
        Store store = world.must_open(&report);
        ASSERT_FALSE(report.clean());
        ASSERT_EQ(store.stats().background.ok(), tidies);
        const auto aside = std::find_if(report.findings.begin(), report.findings.end(),
                                        [](const RecoveryFinding& f) { return f.case_name == "unnamed_run"; });
        ASSERT_NE(aside, report.findings.end());
        EXPECT_NE(aside->quarantine_id, "");
        world.disk->on_operation({});
        world.disk->clear_faults();
        if (!tidies) {
          publishes = false;
          ASSERT_TRUE(store.put(*store.keyspace("k"), "c", "1").ok());
          world.disk->inject({.kind = FaultKind::kOpenError, .path_contains = "store/snapshots", .times = 1});
          EXPECT_FALSE(store.checkpoint().ok());
          EXPECT_FALSE(publishes);
          world.disk->clear_faults();
        }
        for (const DamageInfo& damage : store.damage()) ASSERT_TRUE(store.accept_damage(damage.id).ok());
        if (!tidies) world.disk->on_operation(hide_manifests);
        const Keyspace k = *store.keyspace("k");
        ASSERT_TRUE(store.erase(k, "a").ok());
        EXPECT_EQ(store.checkpoint().ok(), tidies);
        EXPECT_EQ(store.compact(k).ok(), tidies);
        ASSERT_EQ(store.keyspace_stats(k)->tombstones, 0U);
        EXPECT_TRUE(store.get(k, "a").status().is(Code::kNotFound));
      }
      world.disk->on_operation({});
      world.disk->kill();
      world.disk->clear_faults();
      for (const auto& [path, bytes] : contents(*world.disk, "store/snapshots"))
        ASSERT_TRUE(world.disk->remove(path).ok());
      ASSERT_TRUE(world.disk->remove("store/recoveries/manifest").ok());
      const Store store = world.must_open();
      EXPECT_TRUE(store.get(*store.keyspace("k"), "a").status().is(Code::kNotFound));
      EXPECT_EQ(*store.get(*store.keyspace("k"), "b"), "1");
    }
  }
}

// A manifest whose publish failed is removed, and the process dies before that can be synced. A start sees no manifest
// and removes the runs that it named; then power fails, and the manifest may be there again.
TEST(EngineStart, AManifestThatCameBackFindsItsRuns) {
  World world;
  Keyspace k;
  {
    Store store = world.must_open();
    k = *store.create_keyspace("k");
    ASSERT_TRUE(store.checkpoint().ok());
    ASSERT_TRUE(store.put(k, "a", "1").ok());
    world.disk->inject({.kind = FaultKind::kNoDescriptors, .path_contains = "store/snapshots", .skip = 1, .times = 0});
    ASSERT_FALSE(store.checkpoint().ok());
  }
  world.disk->kill();
  world.disk->clear_faults();
  { ASSERT_TRUE(world.must_open().put(k, "b", "2").ok()); }
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World later;
    later.disk = world.disk->clone(seed);
    later.disk->power_cut(50);
    RecoveryReport report;
    const Store store = later.must_open(&report);
    EXPECT_TRUE(report.clean()) << report.to_text();
    EXPECT_EQ(*store.get(k, "a"), "1");
    EXPECT_EQ(*store.get(k, "b"), "2");
  }
}

// No byte of a log is patched: what healed as it was read is soon not needed any more.
TEST(EngineStart, ALogThatHealedIsCheckpointedAndNotToldAgain) {
  World world;
  {
    Store store = world.must_open();
    const Keyspace k = *store.create_keyspace("k");
    ASSERT_TRUE(store.put(k, "a", "a value that is easily found").ok());
  }
  world.disk->kill();
  for (const auto& [path, bytes] : contents(*world.disk, "store/wal")) {
    const std::size_t at = bytes.find("easily");
    if (path.ends_with(".log") && at != std::string::npos) { ASSERT_TRUE(world.disk->flip_bit(path, at, 3).ok()); }
  }
  RecoveryReport report;
  {
    Store store = world.must_open(&report);
    ASSERT_EQ(report.findings.size(), 1U) << report.to_text();
    EXPECT_EQ(report.findings[0].case_name, "frame_healed");
    ASSERT_EQ(store.stats().checkpoints, 0U);
    ASSERT_TRUE(Engine::of(store).step().ok());
    EXPECT_EQ(store.stats().checkpoints, 1U);
    ASSERT_TRUE(Engine::of(store).step().ok());
    EXPECT_EQ(store.stats().checkpoints, 1U) << "one is enough";
  }
  world.disk->kill();
  const Store store = world.must_open(&report);
  EXPECT_TRUE(report.findings.empty()) << report.to_text();
  EXPECT_EQ(*store.get(*store.keyspace("k"), "a"), "a value that is easily found");
}

// --- what no read needs is done behind the first reads ---

class LateStart : public testing::Test {
 protected:
  void SetUp() override {
    {
      Store store = world_.must_open();
      const Keyspace k = *store.create_keyspace("k");
      ASSERT_TRUE(store.put(k, "in_run", "1").ok());
      ASSERT_TRUE(store.checkpoint().ok());
      ASSERT_TRUE(store.put(k, "in_log", "2").ok());
      ASSERT_TRUE(store.put(k, "in_ring", "3", {.durability = Durability::kProcess}).ok());
    }
    world_.disk->kill();
    world_.start_late = true;
  }
  void expect_all(const Store& store) {
    const std::pair<const char*, const char*> all[] = {{"in_run", "1"}, {"in_log", "2"}, {"in_ring", "3"}};
    for (const auto& [key, value] : all) EXPECT_EQ(*store.get(*store.keyspace("k"), key), value);
  }
  [[nodiscard]] std::map<std::string, std::string> rooms() const {
    std::map<std::string, std::string> all;
    for (const char* room : {"wal", "runs", "snapshots", "quarantine"})
      all.merge(contents(*world_.disk, "store/" + std::string(room)));
    return all;
  }
  World world_;
};

TEST_F(LateStart, ReadsComeBeforeAnythingIsWritten) {
  const auto before = rooms();
  for (int kills = 0; kills < 3; ++kills) {
    RecoveryReport report;
    Store store = world_.must_open(&report);
    EXPECT_TRUE(report.clean());
    EXPECT_EQ(report.outcome, "served");
    expect_all(store);
    EXPECT_EQ(store.stats().sequence, report.last_sequence);
    EXPECT_LT(store.stats().durable_sequence, report.last_sequence) << "the ring alone has the last";
    EXPECT_GT(store.stats().log_bytes, 0U);
    EXPECT_EQ(rooms(), before);
    world_.disk->kill();
  }
}

TEST_F(LateStart, WhateverWritesFinishesIt) {
  const std::function<Status(Store&)> ways[] = {
      [](Store& store) { return store.put(*store.keyspace("k"), "more", "4"); },
      [](Store& store) { return store.sync(); },
      [](Store& store) { return store.checkpoint(); },
      [](Store& store) { return store.create_keyspace("other").status(); },
      [](Store& store) { return store.scrub().status(); },
      [](Store& store) { return Engine::of(store).step(); },
  };
  for (const auto& way : ways) {
    const auto before = rooms();
    {
      Store store = world_.must_open();
      ASSERT_TRUE(way(store).ok());
      expect_all(store);
      EXPECT_NE(rooms(), before);
      EXPECT_EQ(store.stats().durable_sequence, store.stats().sequence);
    }
    world_.disk->power_cut(0);
    Store store = world_.must_open();
    expect_all(store);
  }
}

// A death or a power cut at each operation of what is left, and what was read stays true.
TEST_F(LateStart, MayDieAnywhere) {
  const std::shared_ptr<SimStorage> image = world_.disk;
  for (const bool power : {false, true}) {
    for (std::uint64_t at = 0;; ++at) {
      world_.disk = image->clone(at);
      {
        Store store = world_.must_open();
        expect_all(store);
        world_.disk->crash_at(world_.disk->operations() + at);
        const bool finished = Engine::of(store).started().ok();
        if (!world_.disk->crashed()) {
          EXPECT_GT(at, 5U);
          EXPECT_TRUE(finished);
          break;
        }
      }
      // Of the same boot, since the last put survives the process alone.
      if (power)
        world_.disk->power_cut();
      else
        world_.disk->kill();
      world_.disk->disarm();
      RecoveryReport report;
      Store store = world_.must_open(&report);
      EXPECT_TRUE(report.clean()) << report.to_text();
      EXPECT_EQ(*store.get(*store.keyspace("k"), "in_log"), "2");
      if (!power) expect_all(store);
    }
  }
}

TEST_F(LateStart, OneThatCannotWriteServesReads) {
  Store store = world_.must_open();
  world_.disk->inject({.kind = FaultKind::kSyncError});
  const Status refused = store.put(*store.keyspace("k"), "more", "4");
  EXPECT_TRUE(refused.is(Code::kReadOnly)) << refused.to_string();
  EXPECT_TRUE(store.stats().read_only);
  expect_all(store);
  world_.disk->clear_faults();
  EXPECT_TRUE(store.checkpoint().is(Code::kReadOnly)) << "the way out is another start";
  world_.disk->kill();
  store = world_.must_open();
  expect_all(store);
  EXPECT_TRUE(store.put(*store.keyspace("k"), "more", "4").ok());
}

// What the process lacks it may have again; and nothing is written where an earlier try may have left something.
TEST_F(LateStart, OneThatLacksDescriptorsTriesAgain) {
  for (unsigned skip = 0; skip < 40; ++skip) {
    Store store = world_.must_open();
    world_.disk->inject({.kind = FaultKind::kNoDescriptors, .skip = skip, .times = 1});
    const Status tried = store.sync();
    world_.disk->clear_faults();
    EXPECT_TRUE(tried.ok() || tried.is(Code::kUnavailable)) << tried.to_string();
    ASSERT_TRUE(store.put(*store.keyspace("k"), "more", std::to_string(skip)).ok());
    world_.disk->kill();
    RecoveryReport report;
    store = world_.must_open(&report);
    EXPECT_TRUE(report.clean()) << skip << report.to_text();
    expect_all(store);
    EXPECT_EQ(*store.get(*store.keyspace("k"), "more"), std::to_string(skip));
  }
}

// A loss is in quarantine and in a manifest before anything is served.
TEST_F(LateStart, ALossIsNotLate) {
  for (const auto& [path, bytes] : contents(*world_.disk, "store/wal")) {
    ASSERT_TRUE(world_.disk->overwrite(path, 0, std::string(bytes.size(), '\x5a')).ok());
  }
  RecoveryReport report;
  const auto before = rooms();
  Store store = world_.must_open(&report);
  EXPECT_FALSE(report.clean());
  EXPECT_NE(rooms(), before);
  EXPECT_FALSE(store.damage().empty());
}

// --- space ---

TEST(EngineTrim, LeavesOneStateAndASmallLog) {
  World world;
  world.options.ring_bytes = 1 << 20;
  world.options.segment_bytes = 1 << 20;
  Store store = world.must_open();
  const Keyspace k = *store.create_keyspace("k");
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 200; ++i) ASSERT_TRUE(store.put(k, std::to_string(i), std::string(5000, 'a' + round)).ok());
    ASSERT_TRUE(store.checkpoint().ok());
  }
  ASSERT_TRUE(store.compact(k).ok());
  ASSERT_TRUE(store.trim().ok());
  const auto wal = contents(*world.disk, "store/wal");
  EXPECT_EQ(wal.size(), 2U) << "one segment, one ring";
  std::uint64_t bytes = 0;
  for (const auto& [path, all] : wal) bytes += all.size();
  EXPECT_LT(bytes, std::uint64_t{1} << 20);
  std::set<std::string> named;
  const Result<Catalogue> catalogue = read_catalogue(*world.disk, "store", std::nullopt);
  ASSERT_EQ(catalogue->generations.size(), 2U);
  for (const PlacedRun& run : catalogue->newest()->runs) named.insert("store/runs/" + run_name(run.info.number));
  EXPECT_EQ(contents(*world.disk, "store/runs").size(), named.size());
  // And goes on as before.
  for (int i = 0; i < 1000; ++i)
    ASSERT_TRUE(store.put(k, std::to_string(i), std::string(5000, 'z'), {.durability = Durability::kProcess}).ok());
  world.disk->kill();
  RecoveryReport report;
  store = world.must_open(&report);
  EXPECT_TRUE(report.clean()) << report.to_text();
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(*store.get(k, std::to_string(i)), std::string(5000, 'z'));
}

}  // namespace
}  // namespace daruma
