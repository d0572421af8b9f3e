// SPDX-License-Identifier: Apache-2.0
//
// Runs that parity cannot heal (docs/recovery.md, "Runs beyond parity"), against a model: each way of losing a run,
// with and without an older generation or a log that holds it, compacted afterwards, with every manifest lost
// afterwards, and killed at every operation of the rebuild.
//
// What is held: no read is ever wrong, stale or denied; what an older generation or the log holds comes back whole;
// what nothing holds is a gap that compaction, restart and the loss of all manifests leave a gap, and the rest is
// served.
#include "engine/engine.h"

#include <set>

#include <engine_testing.h>
#include <gtest/gtest.h>
#include <sanitized.h>

#include "parity/parity_format.h"
#include "recovery/quarantine.h"
#include "run/run_reader.h"
#include "snapshot/catalogue.h"

namespace daruma {
namespace {

using Values = std::map<std::string, std::string>;

enum class Shape {
  kFlush,       ///< the newest run is from the log that is still there; the one below it is in both generations
  kCompaction,  ///< the newest runs are from inputs that the older generation keeps
  kBoth,        ///< every run is in both generations: two levels over each other
  kBothMerged,  ///< likewise, one level
  kMoved,       ///< a run of level 0 that was moved down
};
enum class Way { kGone, kEmptied, kEndsGone, kBlock, kTwoBlocks, kNoise, kErases, kIndex };

constexpr Shape kShapes[] = {Shape::kFlush, Shape::kCompaction, Shape::kBoth, Shape::kBothMerged, Shape::kMoved};
constexpr Way kWays[] = {Way::kGone,      Way::kEmptied, Way::kEndsGone, Way::kBlock,
                         Way::kTwoBlocks, Way::kNoise,   Way::kErases,   Way::kIndex};

std::string noise(std::uint64_t bytes, std::uint64_t seed) {
  Random random(seed);
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>(random.next());
  return text;
}

std::string key(int i) { return "key" + std::to_string(1000 + i); }

struct Life {
  World world;
  Values model;
  std::set<std::string> keys{"", "key", "zz", key(17) + "x"};
  std::set<std::uint64_t> rebuildable;  // runs that the older generation or the log holds
  std::uint64_t large = 0;              // of many blocks
  StoreId store;
};

std::set<std::uint64_t> runs_of(SimStorage& disk) {
  const Catalogue catalogue = *read_catalogue(disk, "store", std::nullopt);
  std::set<std::uint64_t> numbers;
  for (const PlacedRun& run : catalogue.newest()->runs) {
    if (!is_marker(run.info)) numbers.insert(run.info.number);
  }
  return numbers;
}

std::unique_ptr<Life> live(Shape shape) {
  auto life = std::make_unique<Life>();
  life->world.compaction.level0_trigger = shape == Shape::kMoved ? 1 : 100;
  life->world.compaction.output_run_bytes = shape == Shape::kMoved ? 8 << 10 : 1 << 20;
  {
    Store store = life->world.must_open();
    const Keyspace k = *store.create_keyspace("k");
    const Keyspace other = *store.create_keyspace("other");
    const auto put = [&](int i, int round) {
      std::string value = "v" + std::to_string(round) + " " + noise(500, static_cast<std::uint64_t>(i * 100 + round));
      EXPECT_TRUE(store.put(k, key(i), value).ok());
      life->model[key(i)] = std::move(value);
      life->keys.insert(key(i));
    };
    for (int i = 0; i < 60; ++i) put(i, 0);
    if (shape == Shape::kMoved) {
      EXPECT_TRUE(store.checkpoint().ok());
      EXPECT_TRUE(Engine::of(store).step().ok());
    } else {
      EXPECT_TRUE(store.compact(k).ok());
      for (int i = 0; i < 60; i += 3) put(i, 1);
      for (int i = 1; i < 60; i += 7) {
        EXPECT_TRUE(store.erase(k, key(i)).ok());
        life->model.erase(key(i));
      }
      EXPECT_TRUE(store.erase_range(k, key(20), key(24)).ok());
      life->model.erase(life->model.lower_bound(key(20)), life->model.lower_bound(key(24)));
      put(22, 2);
      EXPECT_TRUE(store.checkpoint().ok());
      if (shape == Shape::kCompaction || shape == Shape::kBothMerged) { EXPECT_TRUE(store.compact(k).ok()); }
    }
    for (int round = 0; round < 3 && shape != Shape::kFlush && shape != Shape::kCompaction; ++round) {
      EXPECT_TRUE(store.put(other, "tick", std::to_string(round)).ok());
      EXPECT_TRUE(store.checkpoint().ok());
    }
  }
  life->world.disk->kill();
  const Catalogue catalogue = *read_catalogue(*life->world.disk, "store", std::nullopt);
  life->store = *catalogue.store;
  EXPECT_GE(catalogue.generations.size(), 2U);
  for (const PlacedRun& run : catalogue.newest()->runs) {
    const auto& older = catalogue.generations[1].manifest->runs;
    if (run.info.raw_bytes > 20'000) life->large = run.info.number;
    if (std::none_of(older.begin(), older.end(), [&](const PlacedRun& o) { return o.info.number == run.info.number; }))
      life->rebuildable.insert(run.info.number);
  }
  return life;
}

void hurt(Life& life, SimStorage& disk, std::uint64_t number, Way way) {
  const std::string path = "store/runs/" + run_name(number);
  const std::string bytes = *read_whole(disk, path, 64 << 20);
  const ParityLayout layout = *parity_layout_of_file(bytes.size() / kSectorBytes);
  const auto spoil = [&](std::uint64_t sector) {  // a sector and what could heal it
    EXPECT_TRUE(disk.overwrite(path, sector * kSectorBytes, noise(kSectorBytes, sector)).ok());
    EXPECT_TRUE(
        disk.overwrite(path, layout.parity_at(sector % layout.stripes) * kSectorBytes, noise(kSectorBytes, 1)).ok());
  };
  const auto sector_of_kind = [&](BlockKind kind) -> std::optional<std::uint64_t> {
    const RunPlace place{life.store, number};
    for (std::uint64_t at = 0; at + kBlockHeaderBytes < bytes.size(); ++at) {
      const auto header = decode_block_header(std::string_view(bytes).substr(at), place, at);
      if (header && header->kind == kind) return at / kSectorBytes;
    }
    return std::nullopt;
  };
  switch (way) {
    case Way::kGone: EXPECT_TRUE(disk.remove(path).ok()); break;
    case Way::kEmptied: EXPECT_TRUE(disk.truncate(path, 0).ok()); break;
    case Way::kEndsGone:
      EXPECT_TRUE(disk.overwrite(path, 0, noise(kSectorBytes, 2)).ok());
      EXPECT_TRUE(disk.truncate(path, bytes.size() / 2).ok());
      break;
    case Way::kBlock: spoil(2); break;
    case Way::kTwoBlocks:
      spoil(1);
      spoil(std::min<std::uint64_t>(7, layout.data_sectors - 1));
      break;
    case Way::kNoise: EXPECT_TRUE(disk.overwrite(path, 0, noise(bytes.size(), 3)).ok()); break;
    case Way::kErases:
      if (const auto sector = sector_of_kind(BlockKind::kErases)) spoil(*sector);
      break;
    case Way::kIndex:
      if (const auto sector = sector_of_kind(BlockKind::kIndex)) spoil(*sector);
      break;
  }
}

struct Answers {
  std::string wrong;
  std::set<std::string> lost;  // keys
};

Answers ask(const Store& store, const Life& life) {
  Answers answers;
  const auto wrong = [&](const std::string& what) {
    if (answers.wrong.empty()) answers.wrong = what;
  };
  const Result<Keyspace> k = store.keyspace("k");
  if (!k.ok()) {  // the catalogue is hurt
    if (k.status().is(Code::kNotFound)) wrong("the keyspace is denied");
    answers.lost = life.keys;
    return answers;
  }
  std::vector<std::string_view> keys(life.keys.begin(), life.keys.end());
  const std::vector<Result<std::string>> together = store.multi_get(*k, keys);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const std::string name(keys[i]);
    const auto want = life.model.find(name);
    for (const Result<std::string>& got : {store.get(*k, name), together[i]}) {
      if (got.ok()) {
        if (want == life.model.end())
          wrong(name + " is resurrected");
        else if (*got != want->second)
          wrong(name + " is stale: " + got->substr(0, 2));
      } else if (got.status().is(Code::kNotFound)) {
        if (want != life.model.end()) wrong(name + " is denied");
      } else if (got.status().is(Code::kDataLoss) || got.status().is(Code::kCorruption)) {
        answers.lost.insert(name);
      } else {
        wrong(name + " answers " + got.status().to_string());
      }
    }
  }
  for (const bool forward : {true, false}) {
    Result<Cursor> cursor = store.cursor(*k);
    if (!cursor.ok()) {
      if (answers.lost.empty()) wrong("no cursor: " + cursor.status().to_string());
      continue;
    }
    std::vector<std::pair<std::string, std::string>> seen;
    for (forward ? cursor->seek_first() : cursor->seek_last(); cursor->valid();
         forward ? cursor->next() : cursor->prev())
      seen.emplace_back(cursor->key(), cursor->value());
    std::vector<std::pair<std::string, std::string>> want(life.model.begin(), life.model.end());
    if (!forward) std::reverse(want.begin(), want.end());
    if (cursor->status().ok() && !answers.lost.empty()) wrong("a scan passes over what is lost");
    if (!cursor->status().ok()) {
      if (answers.lost.empty()) wrong("a scan fails: " + cursor->status().to_string());
      want.resize(std::min(want.size(), seen.size()));
    }
    if (seen != want) wrong("a scan differs");
  }
  return answers;
}

void forget_manifests(SimStorage& disk) {
  const std::vector<DirectoryEntry> names = *disk.list("store/snapshots");
  for (const DirectoryEntry& entry : names) EXPECT_TRUE(disk.remove("store/snapshots/" + entry.name).ok());
  EXPECT_TRUE(disk.remove("store/recoveries/manifest").ok());
}

/// Background work until there is none.
void settle(Store& store) {
  for (int i = 0; i < 6; ++i) (void)Engine::of(store).step();
}

class EngineGenerations : public testing::TestWithParam<Shape> {
 protected:
  std::unique_ptr<Life> life_ = live(GetParam());
  std::set<std::uint64_t> runs_ = runs_of(*life_->world.disk);

  World world_on(std::unique_ptr<SimStorage> disk) const {
    World world;
    world.disk = std::move(disk);
    world.compaction = life_->world.compaction;
    world.seed = 1000;
    return world;
  }
};

TEST_P(EngineGenerations, EveryWayOfLosingARun) {
  std::uint64_t whole = 0;
  std::uint64_t gaps = 0;
  for (const std::uint64_t number : runs_) {
    for (const Way way : kWays) {
      SCOPED_TRACE("run " + std::to_string(number) + ", way " + std::to_string(static_cast<int>(way)));
      World world = world_on(life_->world.disk->clone(5));
      hurt(*life_, *world.disk, number, way);
      std::set<std::string> lost;
      {
        Store store = world.must_open();
        ASSERT_EQ(ask(store, *life_).wrong, "");
        settle(store);
        const Answers after = ask(store, *life_);
        ASSERT_EQ(after.wrong, "");
        lost = after.lost;
        if (life_->rebuildable.contains(number)) {
          ASSERT_TRUE(lost.empty()) << "the older generation holds it";
          ASSERT_EQ(store.damage().size(), 0U);
          ++whole;
        }
        if (way == Way::kIndex) { ASSERT_TRUE(lost.empty()); }
        gaps += !lost.empty();
        if (way == Way::kBlock && number == life_->large) { ASSERT_LT(lost.size(), life_->keys.size() - 20); }
        const Result<Keyspace> k = store.keyspace("k");
        if (!lost.empty() && k.ok()) {
          for (const std::string& name : lost) ASSERT_TRUE(store.get(*k, name).status().is(Code::kDataLoss));
        }
        // Compaction leaves the gap what it is.
        if (k.ok()) {
          const Status compacted = store.compact(*k);
          ASSERT_TRUE(compacted.ok()) << compacted.to_string();
          const Answers merged = ask(store, *life_);
          ASSERT_EQ(merged.wrong, "");
          ASSERT_TRUE(std::includes(lost.begin(), lost.end(), merged.lost.begin(), merged.lost.end()));
          lost = merged.lost;
        }
      }
      world.disk->kill();
      {
        Store store = world.must_open();
        const Answers again = ask(store, *life_);
        ASSERT_EQ(again.wrong, "") << "after a restart";
        // The keyspace's name may come back; nothing else does.
        if (again.lost.size() != life_->keys.size()) { ASSERT_EQ(again.lost, lost); }
      }
      world.disk->power_cut(0);
      forget_manifests(*world.disk);
      {
        Store store = world.must_open();
        ASSERT_EQ(ask(store, *life_).wrong, "") << "with every manifest lost";
        settle(store);
        ASSERT_EQ(ask(store, *life_).wrong, "") << "with every manifest lost";
      }
    }
  }
  std::printf("%llu rebuilt whole, %llu with a gap\n", static_cast<unsigned long long>(whole),
              static_cast<unsigned long long>(gaps));
  if (GetParam() == Shape::kFlush || GetParam() == Shape::kCompaction) { EXPECT_GT(whole, 0U); }
  if (GetParam() != Shape::kCompaction) { EXPECT_GT(gaps, 0U); }
}

TEST_P(EngineGenerations, KilledAtEveryOperationOfTheRebuild) {
  std::uint64_t crashes = 0;
  for (const std::uint64_t number : runs_) {
    for (const Way way : {Way::kGone, Way::kTwoBlocks}) {
      SCOPED_TRACE("run " + std::to_string(number) + ", way " + std::to_string(static_cast<int>(way)));
      World world = world_on(life_->world.disk->clone(5));
      hurt(*life_, *world.disk, number, way);
      std::vector<std::unique_ptr<SimStorage>> images;
      {
        Store store = world.must_open();
        (void)ask(store, *life_);
        world.disk->on_crash_point([&](std::uint64_t operation, const SimStorage::CrashImage& image) {
          images.push_back(image(operation % 2 == 1, operation));
        });
        settle(store);
        world.disk->on_crash_point({});
      }
      for (std::size_t i = 0; i < images.size(); i += kSanitized ? 7 : 1) {  // not a multiple of 2, 3 or 4
        for (const bool forgotten : {false, true}) {
          // Of a file that is not there, only a manifest can tell.
          if (forgotten && way == Way::kGone) continue;
          SCOPED_TRACE("crash " + std::to_string(i) + (forgotten ? ", every manifest lost" : ""));
          World next = world_on(images[i]->clone(i));
          if (i % 3 == 0)
            next.disk->kill();
          else
            next.disk->power_cut(i % 3 == 1 ? 0 : 50);
          if (forgotten) forget_manifests(*next.disk);
          Store store = next.must_open();
          ASSERT_EQ(ask(store, *life_).wrong, "");
          settle(store);
          const Answers after = ask(store, *life_);
          ASSERT_EQ(after.wrong, "");
          if (!forgotten && life_->rebuildable.contains(number)) { ASSERT_TRUE(after.lost.empty()); }
          if (const Result<Keyspace> k = store.keyspace("k"); k.ok() && i % 4 == 0) {
            ASSERT_TRUE(store.compact(*k).ok());
            ASSERT_EQ(ask(store, *life_).wrong, "");
          }
          ++crashes;
        }
      }
    }
  }
  std::printf("%llu crashes\n", static_cast<unsigned long long>(crashes));
  EXPECT_GT(crashes, 20U);
}

// --- one rule of the rebuild at a time ---

TEST(EngineRebuild, ALogThatLacksAnEventIsNoSource) {
  const std::unique_ptr<Life> life = live(Shape::kFlush);
  SimStorage& disk = *life->world.disk;
  ASSERT_EQ(life->rebuildable.size(), 1U);
  const std::string lacking = life->model.at(key(30)).substr(0, 100);
  unsigned copies = 0;
  for (const auto& [path, bytes] : contents(disk, "store/wal")) {
    if (!path.ends_with(".log")) continue;
    for (std::size_t at = 0; (at = bytes.find(lacking, at)) != std::string::npos; ++at, ++copies)
      ASSERT_TRUE(disk.flip_bit(path, at, 0).ok());
  }
  ASSERT_GT(copies, 0U);
  hurt(*life, disk, *life->rebuildable.begin(), Way::kGone);
  Store store = life->world.must_open();
  settle(store);
  const Answers after = ask(store, *life);
  EXPECT_EQ(after.wrong, "");
  EXPECT_TRUE(after.lost.contains(key(30)));
}

// Two runs of one flush, of which one is rebuilt: without manifests the other must not look like the rest of a job that
// was cut off.
TEST(EngineRebuild, TakesTheSeatOfTheLostRunInItsJob) {
  World world;
  world.compaction.level0_trigger = 100;
  std::set<std::uint64_t> before;
  {
    Store store = world.must_open();
    const Keyspace one = *store.create_keyspace("one");
    const Keyspace two = *store.create_keyspace("two");
    ASSERT_TRUE(store.checkpoint().ok());
    before = runs_of(*world.disk);
    ASSERT_TRUE(store.put(one, "a", "1").ok());
    ASSERT_TRUE(store.put(two, "b", "2").ok());
    ASSERT_TRUE(store.checkpoint().ok());
  }
  world.disk->kill();
  std::set<std::uint64_t> flushed = runs_of(*world.disk);
  for (const std::uint64_t number : before) flushed.erase(number);
  ASSERT_EQ(flushed.size(), 2U);
  ASSERT_TRUE(world.disk->remove("store/runs/" + run_name(*flushed.begin())).ok());
  const auto expect_all_right = [](const Store& store) {
    EXPECT_EQ(*store.get(*store.keyspace("one"), "a"), "1");
    EXPECT_EQ(*store.get(*store.keyspace("two"), "b"), "2");
    EXPECT_TRUE(store.damage().empty());
  };
  {
    Store store = world.must_open();
    settle(store);
    expect_all_right(store);
  }
  world.disk->kill();
  forget_manifests(*world.disk);
  expect_all_right(world.must_open());
}

// While both files are there, two have one seat in the job, and the newer one counts.
TEST(EngineRebuild, SupersedesTheDamagedRun) {
  const std::unique_ptr<Life> life = live(Shape::kBoth);
  SimStorage& disk = *life->world.disk;
  hurt(*life, disk, life->large, Way::kBlock);
  const std::string path = "store/runs/" + run_name(life->large);
  const std::string damaged = *read_whole(disk, path, 64 << 20);
  std::set<std::string> lost;
  {
    Store store = life->world.must_open();
    (void)ask(store, *life);
    settle(store);
    lost = ask(store, *life).lost;
    ASSERT_LT(lost.size(), life->keys.size() / 2);
  }
  disk.kill();
  ASSERT_EQ(*read_whole(disk, path, 64 << 20), damaged) << "an older generation names it";
  forget_manifests(disk);
  const Answers after = ask(life->world.must_open(), *life);
  EXPECT_EQ(after.wrong, "");
  EXPECT_EQ(after.lost, lost);
}

// In quarantine, in the damage map and in the run itself, also once that is compacted; and what is erased then stays
// known to be gone.
TEST(EngineRebuild, OneThatFailsKeepsNoOtherWaiting) {
  struct Heals : EventListener {
    std::vector<std::pair<std::string, bool>> seen;
    void on_heal(const HealInfo& info) override { seen.emplace_back(info.file, info.rebuilt); }
  };
  const std::unique_ptr<Life> life = live(Shape::kBoth);
  SimStorage& disk = *life->world.disk;
  std::vector<std::string> lost;
  for (const std::uint64_t number : runs_of(disk)) {
    if (life->rebuildable.contains(number)) continue;
    hurt(*life, disk, number, Way::kGone);
    lost.push_back("runs/" + run_name(number));
  }
  ASSERT_GE(lost.size(), 2U);
  const auto heals = std::make_shared<Heals>();
  life->world.options.listener = heals;
  Store store = life->world.must_open();
  for (std::size_t i = 0; i + 1 < lost.size(); ++i)
    disk.inject({.kind = FaultKind::kWriteError, .path_contains = "store/runs/", .times = 1});
  for (int i = 0; i < 40 && heals->seen.size() < lost.size(); ++i) {
    (void)Engine::of(store).step();
    life->world.clock.advance(2'000'000'000);
  }
  ASSERT_GE(heals->seen.size(), lost.size());
  for (std::size_t i = 0; i < lost.size(); ++i) EXPECT_EQ(heals->seen[i].first, lost[i]);
}

TEST(EngineRebuild, WhatIsGivenUpIsKeptAndTold) {
  const std::unique_ptr<Life> life = live(Shape::kBoth);
  SimStorage& disk = *life->world.disk;
  hurt(*life, disk, life->large, Way::kBlock);
  const std::string file = "runs/" + run_name(life->large);
  const std::string damaged = *read_whole(disk, "store/" + file, 64 << 20);
  std::set<std::string> lost;
  {
    Store store = life->world.must_open();
    (void)ask(store, *life);
    settle(store);
    lost = ask(store, *life).lost;
    ASSERT_GT(lost.size(), 1U);
    ASSERT_EQ(store.damage().size(), 1U);
    const Quarantine quarantine(disk, "store/quarantine", life->store);
    const std::vector<QuarantineEntry> all = quarantine.list();
    EXPECT_FALSE(all.empty());
    for (const QuarantineEntry& kept : all) {
      EXPECT_EQ(kept.file, file);
      EXPECT_EQ(*quarantine.read(kept.id), damaged.substr(kept.offset, kept.bytes));
    }
  }
  const auto expect_the_same = [&](const Store& store) {
    const Answers answers = ask(store, *life);
    EXPECT_EQ(answers.wrong, "");
    EXPECT_EQ(answers.lost, lost);
  };
  disk.kill();
  {
    Store store = life->world.must_open();
    expect_the_same(store);
    const Keyspace k = *store.keyspace("k");
    ASSERT_TRUE(store.erase(k, *lost.begin()).ok());
    life->model.erase(*lost.begin());
    lost.erase(lost.begin());
    expect_the_same(store);
    ASSERT_TRUE(store.compact(k).ok());
    expect_the_same(store);
  }
  disk.kill();
  forget_manifests(disk);
  expect_the_same(life->world.must_open());
}

TEST(EngineRebuild, IsReadBackBeforeAManifestNamesIt) {
  const std::unique_ptr<Life> life = live(Shape::kFlush);
  SimStorage& disk = *life->world.disk;
  struct Heard : EventListener {
    explicit Heard(SimStorage& d) : disk(d) {}
    SimStorage& disk;
    std::optional<Status> first;
    std::set<std::uint64_t> runs_then{};
    void on_heal(const HealInfo& info) override {
      if (first) return;
      first = info.status;
      runs_then = runs_of(disk);
    }
  };
  hurt(*life, disk, *life->rebuildable.begin(), Way::kGone);
  Options options = small();
  const auto heard = std::make_shared<Heard>(disk);
  options.listener = heard;
  Store store = life->world.open(options)->store;
  const std::set<std::uint64_t> before = runs_of(disk);
  bool spoilt = false;
  disk.on_operation([&](std::uint64_t, std::string_view what) {  // what is written is not what stands there
    if (spoilt || !what.starts_with("rename") || what.find("store/runs/") == std::string_view::npos) return;
    const std::vector<DirectoryEntry> names = *disk.list("store/runs");
    for (const DirectoryEntry& entry : names) {
      if (!entry.name.ends_with(kTemporarySuffix)) continue;
      spoilt = true;
      EXPECT_TRUE(disk.overwrite("store/runs/" + entry.name, 0, noise(entry.bytes, 4)).ok());
    }
  });
  (void)Engine::of(store).step();
  ASSERT_TRUE(spoilt);
  ASSERT_TRUE(heard->first);
  EXPECT_FALSE(heard->first->ok());
  EXPECT_EQ(heard->runs_then, before);
  settle(store);
  const Answers after = ask(store, *life);
  EXPECT_EQ(after.wrong, "");
  EXPECT_TRUE(after.lost.empty());
}

INSTANTIATE_TEST_SUITE_P(Shapes, EngineGenerations, testing::ValuesIn(kShapes));

}  // namespace
}  // namespace daruma
