// SPDX-License-Identifier: Apache-2.0
// one-fault-free, for a store at rest in runs: whatever one sector of whatever run is damaged, every read is right, and
// one round of background work makes the file what it was.
#include "engine/engine.h"

#include <engine_testing.h>
#include <gtest/gtest.h>

#include "run/run_format.h"
#include "snapshot/catalogue.h"

namespace daruma {
namespace {

struct Heard : EventListener {
  std::vector<HealInfo> heals;
  void on_heal(const HealInfo& info) override { heals.push_back(info); }
};

/// A sector of data and the one of parity that makes up for it.
void hurt_beyond_parity(SimStorage& disk, const std::string& path, std::uint64_t file_bytes) {
  const ParityLayout layout = *parity_layout_of_file(file_bytes / kSectorBytes);
  for (const std::uint64_t sector : {std::uint64_t{1}, layout.parity_at(1)})
    ASSERT_TRUE(disk.overwrite(path, sector * kSectorBytes, std::string(kSectorBytes, '\x5a')).ok());
}

class EngineHeal : public ::testing::Test {
 protected:
  void SetUp() override {
    world_.compaction.level0_trigger = 100;  // what heals is to be the file, not its successor
    options_.listener = heard_;
    Store store = open();
    const Keyspace keyspace = *store.create_keyspace("k");
    Random random(3);
    for (int round = 0; round < 3; ++round) {
      for (int i = 0; i < 60; ++i) {
        const std::string key = "key" + std::to_string(100 + i * (round + 1));
        std::string& value = model_[key] = "value " + std::to_string(round) + " ";
        for (int n = 0; n < 600; ++n) value += static_cast<char>(random.next());  // several blocks a run
        ASSERT_TRUE(store.put(keyspace, key, model_[key]).ok());
      }
      ASSERT_TRUE(store.checkpoint().ok());
    }
  }
  Store open() {
    Result<Store::Opened> opened = world_.open(options_);
    EXPECT_TRUE(opened.ok()) << opened.status().to_string();
    return std::move(opened->store);
  }
  void expect_all_right(const Store& store) {
    const Keyspace keyspace = *store.keyspace("k");
    for (const auto& [key, value] : model_) ASSERT_EQ(*store.get(keyspace, key), value);
    Result<Cursor> cursor = store.cursor(keyspace);
    ASSERT_TRUE(cursor.ok());
    std::size_t seen = 0;
    for (cursor->seek_first(); cursor->valid(); cursor->next()) ++seen;
    ASSERT_TRUE(cursor->status().ok()) << cursor->status().to_string();
    ASSERT_EQ(seen, model_.size());
  }
  World world_;
  std::shared_ptr<Heard> heard_ = std::make_shared<Heard>();
  Options options_ = small();
  std::map<std::string, std::string> model_;
};

TEST_F(EngineHeal, OneFaultFree_AnyOneSectorOfAnyRun) {
  const std::map<std::string, std::string> before = contents(*world_.disk, "store/runs");
  ASSERT_GE(before.size(), 4U);
  std::size_t sectors = 0;
  for (const auto& [path, bytes] : before) {
    for (std::uint64_t at = 0; at < bytes.size(); at += kSectorBytes, ++sectors) {
      SCOPED_TRACE(path + " at " + std::to_string(at));
      ASSERT_TRUE(world_.disk->overwrite(path, at, std::string(kSectorBytes, '\x5a')).ok());
      Store store = open();
      expect_all_right(store);
      EXPECT_TRUE(Engine::of(store).step().ok());
      const bool read = store.stats().healed_runs == 1;
      expect_all_right(store);
      world_.disk->kill();
      if (read) { ASSERT_EQ(*read_whole(*world_.disk, path, 64 << 20), bytes) << "healed, but not to what it was"; }
      ASSERT_TRUE(world_.disk->overwrite(path, at, bytes.substr(at, kSectorBytes)).ok());
      if (HasFailure()) return;
    }
  }
  EXPECT_GT(heard_->heals.size(), 10U);
  for (const HealInfo& info : heard_->heals) EXPECT_TRUE(info.status.ok()) << info.status.to_string();
}

/// Each file heals by itself, or from a copy of its own: faults in different files do not add up.
TEST_F(EngineHeal, OneSectorOfEveryFileAtOnceCostsNothing) {
  {
    Store store = open();
    const Keyspace keyspace = *store.keyspace("k");
    for (int i = 0; i < 40; ++i) {
      const std::string key = "later" + std::to_string(i);
      model_[key] = std::string(i % 10 == 0 ? 20'000 : 100, static_cast<char>('a' + i % 26));
      const Durability durability = i < 30 ? Durability::kPower : Durability::kProcess;
      ASSERT_TRUE(store.put(keyspace, key, model_[key], {.durability = durability}).ok());
    }
  }
  world_.disk->kill();
  const std::shared_ptr<SimStorage> whole = world_.disk;
  const auto files = contents(*whole, "store");
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    world_.disk = whole->clone(seed);
    std::size_t hurt = 0;
    for (const auto& [path, bytes] : files) {
      std::vector<std::uint64_t> sectors;  // that hold something
      for (std::uint64_t at = 0; at + kSectorBytes <= bytes.size(); at += kSectorBytes) {
        if (bytes.find_first_not_of('\0', at) < at + kSectorBytes) sectors.push_back(at);
      }
      if (sectors.empty() || path.ends_with("attempts") || path.ends_with("scrub")) continue;  // notes, of one sector
      const std::uint64_t at = sectors[random.below(sectors.size())];
      ASSERT_TRUE(world_.disk->overwrite(path, at, noise(kSectorBytes, random)).ok());
      ++hurt;
    }
    EXPECT_GT(hurt, 10U);
    for (int start = 0; start < 2; ++start) {
      Store store = open();
      expect_all_right(store);
      EXPECT_TRUE(store.damage().empty());
      if (HasFailure()) return;
      for (int round = 0; round < 5; ++round) ASSERT_TRUE(Engine::of(store).step().ok());
      world_.disk->kill();
    }
  }
}

TEST_F(EngineHeal, ABadBlockMetByAGetIsServedHealedAndTold) {
  const auto runs = contents(*world_.disk, "store/runs");
  const auto& [path, bytes] = *std::prev(runs.end());
  Store store = open();
  const Keyspace keyspace = *store.keyspace("k");
  ASSERT_TRUE(store.get(keyspace, "no such key").status().is(Code::kNotFound));
  ASSERT_TRUE(world_.disk->overwrite(path, kSectorBytes, std::string(kSectorBytes, '\x5a')).ok());
  for (const auto& [other, written] : model_) ASSERT_EQ(*store.get(keyspace, other), written);
  EXPECT_NE(*read_whole(*world_.disk, path, 64 << 20), bytes) << "reads change nothing";
  ASSERT_TRUE(Engine::of(store).step().ok());
  EXPECT_EQ(store.stats().healed_runs, 1U);
  ASSERT_EQ(heard_->heals.size(), 1U);
  EXPECT_TRUE(heard_->heals[0].status.ok()) << heard_->heals[0].status.to_string();
  EXPECT_FALSE(heard_->heals[0].rebuilt);
  EXPECT_EQ("store/" + heard_->heals[0].file, path);
  EXPECT_EQ(*read_whole(*world_.disk, path, 64 << 20), bytes);
}

TEST_F(EngineHeal, ARunThatCannotBeHealedKeepsNoOtherWaiting) {
  const auto runs = contents(*world_.disk, "store/runs");
  Store store = open();
  std::vector<std::string> hurt;
  for (auto run = std::prev(runs.end(), 3); run != runs.end(); ++run) {
    hurt.push_back(run->first);
    ASSERT_TRUE(world_.disk->overwrite(run->first, kSectorBytes, std::string(kSectorBytes, '\x5a')).ok());
  }
  expect_all_right(store);
  for (const std::string& refused : {hurt.front(), hurt.back()})
    world_.disk->inject({.kind = FaultKind::kOpenError, .path_contains = refused});
  Status stepped;
  for (int round = 0; round < 3; ++round) stepped = Engine::of(store).step();
  EXPECT_TRUE(stepped.is(Code::kIoError)) << "what is left is told: " << stepped.to_string();
  EXPECT_EQ(store.stats().healed_runs, 1U);
  EXPECT_EQ(*read_whole(*world_.disk, hurt[1], 64 << 20), runs.at(hurt[1]));
  world_.disk->clear_faults();
  for (int round = 0; round < 3; ++round) stepped = Engine::of(store).step();
  EXPECT_TRUE(stepped.ok()) << stepped.to_string();
  EXPECT_EQ(store.stats().healed_runs, 3U);
}

TEST_F(EngineHeal, BeyondParityIsReportedOnceAndTheRestServes) {
  const std::map<std::string, std::string> before = contents(*world_.disk, "store/runs");
  const auto& [path, bytes] = *std::prev(before.end());
  hurt_beyond_parity(*world_.disk, path, bytes.size());
  Store store = open();
  const Keyspace keyspace = *store.keyspace("k");
  std::size_t right = 0;
  std::size_t lost = 0;
  for (const auto& [key, value] : model_) {
    Result<std::string> got = store.get(keyspace, key);
    if (got.ok()) {
      ASSERT_EQ(*got, value);
      ++right;
    } else {
      ASSERT_TRUE(got.status().is(Code::kCorruption)) << got.status().to_string();
      ++lost;
    }
  }
  EXPECT_GT(right, 0U);
  EXPECT_GT(lost, 0U);
}

TEST(EngineHealCompaction, WhatIsDamagedInSeveralStretchesHoldsUpNone) {
  World world;
  world.compaction.level0_trigger = 100;
  Store store = world.must_open();
  const Keyspace k = *store.create_keyspace("k");
  Random random(1);
  std::map<std::string, std::string> model;
  const auto put = [&](const std::string& key) {
    model[key] = noise(400, random);
    EXPECT_TRUE(store.put(k, key, model[key]).ok());
  };
  for (const char* part : {"a", "m", "z"}) {
    for (int i = 0; i < 20; ++i) put(part + std::to_string(i));
    ASSERT_TRUE(store.checkpoint().ok());
  }
  const Catalogue catalogue = *read_catalogue(*world.disk, "store", std::nullopt);
  for (const char* part : {"a", "z"}) {
    put(part + std::string("5"));
    ASSERT_TRUE(store.checkpoint().ok());
  }
  for (const PlacedRun& run : catalogue.newest()->runs) {
    if (run.info.smallest_key == "a0" || run.info.smallest_key == "z0")
      hurt_beyond_parity(*world.disk, "store/runs/" + run_name(run.info.number), run.info.file_bytes);
  }
  const Status done = store.compact(k);
  EXPECT_TRUE(done.ok()) << done.to_string();
  EXPECT_EQ(store.damage().size(), 2U) << "nothing else had their keys any more";
  for (const auto& [key, value] : model) {
    const Result<std::string> got = store.get(k, key);
    if (key[0] == 'm' || key == "a5" || key == "z5") { ASSERT_TRUE(got.ok()) << key; }
    EXPECT_TRUE(got.ok() ? *got == value : got.status().is(Code::kDataLoss)) << key << ": " << got.status().to_string();
  }
}

TEST(EngineHealCompaction, WritesNothingAnewThatDamageKeepsAndForgetsGapsThatAreAccepted) {
  World world;
  world.compaction.level0_trigger = 100;
  Store store = world.must_open();
  const Keyspace k = *store.create_keyspace("k");
  Random random(1);
  for (const char* part : {"a", "m"}) {
    for (int i = 0; i < 40; ++i) ASSERT_TRUE(store.put(k, part + std::to_string(i), noise(400, random)).ok());
    ASSERT_TRUE(store.checkpoint().ok());
  }
  const auto runs = [&] {
    std::vector<RunInfo> all;
    const Catalogue catalogue = *read_catalogue(*world.disk, "store", std::nullopt);
    for (const PlacedRun& run : catalogue.newest()->runs) {
      if (run.info.keyspace == k.id()) all.push_back(run.info);
    }
    return all;
  };
  const auto gaps = [&] {
    std::size_t count = 0;
    for (const RunInfo& run : runs()) count += run.lost.size();
    return count;
  };
  go_on(store);
  hurt_beyond_parity(*world.disk, "store/runs/" + run_name(runs().front().number), runs().front().file_bytes);
  ASSERT_TRUE(store.erase(k, "a5").ok());
  ASSERT_TRUE(store.erase(k, "m5").ok());
  EXPECT_TRUE(store.compact(k).ok());
  ASSERT_EQ(store.damage().size(), 1U);
  EXPECT_GT(gaps(), 0U);
  EXPECT_EQ(store.keyspace_stats(k)->tombstones, 2U) << "they may erase what is lost";
  const auto once = runs();
  EXPECT_TRUE(store.compact(k).ok());
  EXPECT_TRUE(runs() == once) << "nothing would come of it";

  ASSERT_TRUE(store.accept_damage(store.damage().front().id).ok());
  EXPECT_TRUE(store.compact(k).ok());
  EXPECT_EQ(gaps(), 0U);
}

/// Two keyspaces of one entry: neither the log nor an older generation has what their runs and the catalogue's hold.
TEST(EngineHealTiny, OneFaultFree_64KiBOfNoiseAnywhereInARun) {
  constexpr std::uint64_t kBurst = 64 << 10;
  World world;
  world.compaction.level0_trigger = 100;
  {
    Store store = world.must_open();
    ASSERT_TRUE(store.put(*store.create_keyspace("k"), "key", "value").ok());
    go_on(store);
  }
  world.disk->kill();
  const std::shared_ptr<SimStorage> whole = world.disk;
  Random random(1);
  const std::string burst = noise(kBurst, random);
  const auto runs = contents(*whole, "store/runs");
  ASSERT_GE(runs.size(), 2U);
  for (const auto& [path, bytes] : runs) {
    ASSERT_LT(bytes.size(), 2 * kBurst);
    for (std::uint64_t at = 0; at + kBurst <= bytes.size(); at += at % kSectorBytes == 0 ? 1777 : kSectorBytes - 1777) {
      SCOPED_TRACE(path + " at " + std::to_string(at));
      world.disk = whole->clone(1);
      ASSERT_TRUE(world.disk->overwrite(path, at, burst).ok());
      RecoveryReport report;
      const Store store = world.must_open(&report);
      EXPECT_TRUE(report.clean());
      EXPECT_TRUE(store.damage().empty());
      ASSERT_TRUE(store.keyspace("k").ok());
      EXPECT_EQ(*store.get(*store.keyspace("k"), "key"), "value");
      EXPECT_EQ(*store.get(*store.keyspace("go on"), "tick"), "3");
      if (HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace daruma
