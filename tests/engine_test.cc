// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <map>
#include <set>

#include <engine_testing.h>
#include <gtest/gtest.h>

#include "snapshot/catalogue.h"

namespace daruma {
namespace {

TEST(Engine, OpensNothingAsAnEmptyStore) {
  World world;
  RecoveryReport report;
  Store store = world.must_open(&report);
  EXPECT_TRUE(report.created);
  EXPECT_TRUE(store.keyspaces().empty());
  EXPECT_EQ(store.keyspace("a").status().code(), Code::kNotFound);
}

TEST(Engine, GivesBackWhatItWasGivenAcrossKillsAndCheckpoints) {
  World world;
  for (int round = 0; round < 4; ++round) {
    Store store = world.must_open();
    if (round == 0) { ASSERT_TRUE(store.create_keyspace("users").ok()); }
    const Keyspace users = *store.keyspace("users");
    for (int before = 0; before < round; ++before) {
      EXPECT_EQ(*store.get(users, "round" + std::to_string(before)), "value" + std::to_string(before));
    }
    ASSERT_TRUE(store.put(users, "round" + std::to_string(round), "value" + std::to_string(round)).ok());
    ASSERT_TRUE(store.put(users, "gone", "x").ok());
    ASSERT_TRUE(store.erase(users, "gone").ok());
    EXPECT_TRUE(store.get(users, "gone").status().is(Code::kNotFound));
    if (round % 2 == 1) {
      const Status made = store.checkpoint();
      ASSERT_TRUE(made.ok()) << made.to_string();
    }
    world.disk->power_cut(0);
  }
}

TEST(Engine, AViewSeesWhatItSawThroughCheckpoints) {
  World world;
  Store store = world.must_open();
  const Keyspace k = *store.create_keyspace("k");
  ASSERT_TRUE(store.put(k, "a", "1").ok());
  const View then = store.view();
  ASSERT_TRUE(store.put(k, "a", "2").ok());
  ASSERT_TRUE(store.erase_range(k, "a", "").ok());
  ASSERT_TRUE(store.checkpoint().ok());
  EXPECT_EQ(*store.get(k, "a", then), "1");
  EXPECT_TRUE(store.get(k, "a").status().is(Code::kNotFound));
}

TEST(Engine, OfOneBatchTheLastOperationOnAKeyWins) {
  World world;
  Store store = world.must_open();
  const Keyspace k = *store.create_keyspace("k");
  Batch batch;
  batch.put(k, "a", "1");
  batch.erase_range(k, "a", "c");
  batch.put(k, "b", "2");
  ASSERT_TRUE(store.write(batch).ok());
  EXPECT_TRUE(store.get(k, "a").status().is(Code::kNotFound));
  EXPECT_EQ(*store.get(k, "b"), "2");
}

TEST(Engine, KeyspacesAreRenamedAndDroppedForGood) {
  World world;
  {
    Store store = world.must_open();
    const Keyspace a = *store.create_keyspace("a");
    ASSERT_TRUE(store.put(a, "x", "1").ok());
    ASSERT_TRUE(store.create_keyspace("a").status().is(Code::kExists));
    ASSERT_TRUE(store.rename_keyspace(a, "b").ok());
    const Keyspace c = *store.create_keyspace("c");
    ASSERT_TRUE(store.put(c, "y", "2").ok());
    ASSERT_TRUE(store.checkpoint().ok());
    ASSERT_TRUE(store.drop_keyspace(c).ok());
    EXPECT_TRUE(store.put(c, "y", "3").is(Code::kNotFound));
  }
  world.disk->power_cut(0);
  Store store = world.must_open();
  ASSERT_EQ(store.keyspaces().size(), 1U);
  EXPECT_EQ(store.keyspaces()[0].name, "b");
  EXPECT_EQ(*store.get(*store.keyspace("b"), "x"), "1");
  EXPECT_EQ((*store.create_keyspace("c")).id(), 3U) << "ids are never used twice";
}

// --- against a model ---

using Model = std::map<std::string, std::string>;

void expect_equal(Store& store, Keyspace k, const Model& model) {
  for (const auto& [key, value] : model) {
    const Result<std::string> got = store.get(k, key);
    ASSERT_TRUE(got.ok()) << key << ": " << got.status().to_string();
    EXPECT_EQ(*got, value) << key;
  }
  Result<Cursor> made = store.cursor(k);
  ASSERT_TRUE(made.ok());
  Cursor& cursor = *made;
  auto at = model.begin();
  for (cursor.seek_first(); cursor.valid(); cursor.next(), ++at) {
    ASSERT_NE(at, model.end()) << cursor.key();
    ASSERT_EQ(cursor.key(), at->first);
    ASSERT_EQ(cursor.value(), at->second);
  }
  EXPECT_TRUE(cursor.status().ok()) << cursor.status().to_string();
  EXPECT_EQ(at, model.end());
  auto back = model.rbegin();
  for (cursor.seek_last(); cursor.valid(); cursor.prev(), ++back) {
    ASSERT_NE(back, model.rend());
    ASSERT_EQ(cursor.key(), back->first);
  }
  EXPECT_EQ(back, model.rend());
}

/// The `i`-th step of the workload with `seed`: the same batch every time, also applied to `model`.
Batch step_of(std::uint64_t seed, std::uint64_t i, Keyspace k, Model& model) {
  Random random(seed * 1'000'003 + i);
  Batch batch;
  for (std::uint64_t n = 1 + random.below(4); n > 0; --n) {
    const std::string key = "k" + std::to_string(random.below(40));
    const std::uint64_t what = random.below(10);
    if (what == 0) {
      const std::string end = "k" + std::to_string(random.below(40));
      batch.erase_range(k, key, end);
      if (key < end) model.erase(model.lower_bound(key), model.lower_bound(end));
    } else if (what <= 2) {
      batch.erase(k, key);
      model.erase(key);
    } else {
      const std::string value(random.below(what == 9 ? 9000 : 60), static_cast<char>('a' + i % 26));
      batch.put(k, key, value);
      model[key] = value;
    }
  }
  return batch;
}

TEST(Engine, MergesLevelsAndForgetsWhatWasErased) {
  World world;
  Store store = world.must_open();
  const Keyspace k = *store.create_keyspace("k");
  Model model;
  Random random(11);
  const auto key = [](std::uint64_t n) { return "key" + std::to_string(100'000 + n); };
  for (int round = 0; round < 40; ++round) {
    Batch batch;
    for (int n = 0; n < 60; ++n) {
      const std::string at = key(random.below(2000));
      model[at].assign(100, static_cast<char>('a' + round % 26));
      for (char& c : model[at]) c = static_cast<char>(c + random.below(4));
      batch.put(k, at, model[at]);
    }
    if (round % 9 == 8) {
      const std::string from = key(random.below(2000));
      const std::string to = from + "~";
      batch.erase_range(k, from.substr(0, 8), to);
      model.erase(model.lower_bound(from.substr(0, 8)), model.lower_bound(to));
    }
    ASSERT_TRUE(store.write(batch).ok());
    ASSERT_TRUE(store.checkpoint().ok());
    ASSERT_TRUE(Engine::of(store).step().ok());
    if (round % 10 == 9) {
      world.disk->power_cut(50);
      store = world.must_open();
    }
    expect_equal(store, k, model);
  }
  const KeyspaceStats deep = *store.keyspace_stats(k);
  EXPECT_GE(deep.runs_per_level.size(), 3U);
  std::vector<std::string> names;
  for (std::uint64_t n = 0; n < 2000; n += 7) names.push_back(key(n));
  const std::vector<std::string_view> wanted(names.begin(), names.end());
  const auto got = store.multi_get(k, wanted);
  ASSERT_EQ(got.size(), wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    const auto it = model.find(names[i]);
    if (it == model.end()) {
      EXPECT_TRUE(got[i].status().is(Code::kNotFound)) << names[i];
    } else {
      ASSERT_TRUE(got[i].ok()) << names[i] << ": " << got[i].status().to_string();
      EXPECT_EQ(got[i].value(), it->second);
      const auto pinned = store.get_pinned(k, names[i]);
      ASSERT_TRUE(pinned.ok());
      EXPECT_EQ(pinned.value().view(), it->second);
    }
  }
  const View before = store.view();
  ASSERT_TRUE(store.erase_range(k, "", "").ok());
  ASSERT_TRUE(store.compact(k).ok());
  EXPECT_EQ(store.keyspace_stats(k)->entries, 0U);
  EXPECT_EQ(store.keyspace_stats(k)->tombstones, 0U);
  for (const auto& [name, value] : model) EXPECT_EQ(*store.get(k, name, before), value);  // removed files, still read
  expect_equal(store, k, {});
  world.disk->kill();
  store = world.must_open();
  expect_equal(store, k, {});
}

TEST(Engine, ACompactionToTheBottomLeavesNoTombstone) {
  World world;
  Store store = world.must_open();
  const Keyspace k = *store.create_keyspace("k");
  for (const char* key : {"a", "b", "c"}) ASSERT_TRUE(store.put(k, key, "1").ok());
  ASSERT_TRUE(store.checkpoint().ok());
  ASSERT_TRUE(store.erase(k, "a").ok());
  ASSERT_TRUE(store.erase(k, "never there").ok());
  ASSERT_TRUE(store.erase_range(k, "b", "b~").ok());
  ASSERT_TRUE(store.compact(k).ok());
  EXPECT_EQ(store.keyspace_stats(k)->tombstones, 0U);
  EXPECT_EQ(store.keyspace_stats(k)->entries, 1U);
  const Catalogue catalogue = *read_catalogue(*world.disk, "store", std::nullopt);
  for (const PlacedRun& run : catalogue.newest()->runs) EXPECT_EQ(run.info.erases, 0U);
}

TEST(Engine, ACompactionTouchesOnlyWhatHasChanged) {
  World world;
  Store store = world.must_open();
  const Keyspace k = *store.create_keyspace("k");
  Random random(1);
  Model model;
  for (const char* part : {"a", "b", "c"}) {
    for (int i = 0; i < 20; ++i) {
      const std::string key = part + std::to_string(i);
      model[key] = noise(400, random);
      ASSERT_TRUE(store.put(k, key, model[key]).ok());
    }
    ASSERT_TRUE(store.compact(k).ok());
  }
  const auto number_of_run = [&](const std::string& key) -> std::uint64_t {
    const Catalogue catalogue = *read_catalogue(*world.disk, "store", std::nullopt);
    for (const PlacedRun& run : catalogue.newest()->runs) {
      if (run.info.keyspace != k.id() || run.info.smallest_key > key || run.info.largest_key < key) continue;
      EXPECT_EQ(run.level, kBottomLevel);
      return run.info.number;
    }
    ADD_FAILURE() << key << " is in no run";
    return 0;
  };
  const std::uint64_t a = number_of_run("a1"), b = number_of_run("b1"), c = number_of_run("c1");
  EXPECT_EQ(std::set({a, b, c}).size(), 3U);
  ASSERT_TRUE(store.erase(k, "b5").ok());
  model.erase("b5");
  ASSERT_TRUE(store.compact(k).ok());
  EXPECT_EQ(number_of_run("a1"), a);
  EXPECT_NE(number_of_run("b1"), b);
  EXPECT_EQ(number_of_run("c1"), c);
  EXPECT_EQ(store.keyspace_stats(k)->entries, model.size());
  EXPECT_EQ(store.keyspace_stats(k)->tombstones, 0U);
  world.disk->kill();
  store = world.must_open();
  expect_equal(store, k, model);
}

TEST(Engine, ACompactionFreesWhatARunErasesAtTheBottom) {
  World world;
  Store store = world.must_open();
  const Keyspace k = *store.create_keyspace("k");
  Random random(1);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(store.put(k, "k" + std::to_string(i), noise(400, random)).ok());
  ASSERT_TRUE(store.erase(k, "never there").ok());
  for (int i = 0; i < 2; ++i) {  // a large run that overlaps nothing is moved down as it is
    ASSERT_TRUE(store.compact(k).ok());
    EXPECT_EQ(store.keyspace_stats(k)->tombstones, 0U);
    EXPECT_EQ(store.keyspace_stats(k)->entries, 20U);
  }
}

TEST(Engine, ReadOnlyServesTheSameAndChangesNoByte) {
  World world;
  Options looking = small();
  looking.read_only = true;
  EXPECT_TRUE(world.open(looking).status().is(Code::kNotFound));
  EXPECT_FALSE(world.disk->list("store").ok());
  Model model;
  {
    Store store = world.must_open();
    const Keyspace k = *store.create_keyspace("k");
    for (std::uint64_t i = 0; i < 30; ++i) {
      ASSERT_TRUE(store.write(step_of(3, i, k, model)).ok());
      if (i == 20) { ASSERT_TRUE(store.checkpoint().ok()); }
    }
    EXPECT_TRUE(world.open(looking).status().is(Code::kBusy));
  }
  world.disk->kill();
  const auto before = contents(*world.disk, "store");
  {
    Result<Store::Opened> one = world.open(looking);
    Result<Store::Opened> two = world.open(looking);
    ASSERT_TRUE(one.ok()) << one.status().to_string();
    ASSERT_TRUE(two.ok()) << two.status().to_string();
    EXPECT_TRUE(world.open().status().is(Code::kBusy));
    Store& store = one->store;
    const Keyspace k = *store.keyspace("k");
    expect_equal(store, k, model);
    EXPECT_TRUE(store.put(k, "a", "b").is(Code::kReadOnly));
    EXPECT_TRUE(store.create_keyspace("l").status().is(Code::kReadOnly));
    EXPECT_TRUE(store.checkpoint().is(Code::kReadOnly));
    EXPECT_TRUE(store.compact(k).is(Code::kReadOnly));
    EXPECT_TRUE(store.accept_damage(1).is(Code::kReadOnly));
    EXPECT_TRUE(store.sync().ok());
    EXPECT_TRUE(store.stats().read_only);
  }
  EXPECT_TRUE(contents(*world.disk, "store") == before);
  Store again = world.must_open();
  expect_equal(again, *again.keyspace("k"), model);
}

TEST(Engine, TheListenerHearsOfCheckpointsAndCompactions) {
  struct Heard : EventListener {
    std::uint64_t checkpoints = 0, compactions = 0;
    void on_checkpoint(const CheckpointInfo& info) override { checkpoints += info.status.ok() && info.runs > 0; }
    void on_compaction(const CompactionInfo& info) override { compactions += info.status.ok() && info.runs_in > 0; }
  };
  World world;
  Options options = small();
  const auto heard = std::make_shared<Heard>();
  options.listener = heard;
  Store store = std::move(world.open(options)->store);
  const Keyspace k = *store.create_keyspace("k");
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(store.put(k, "a", std::to_string(i)).ok());
    ASSERT_TRUE(store.checkpoint().ok());
  }
  ASSERT_TRUE(store.compact(k).ok());
  EXPECT_EQ(heard->checkpoints, 3U);
  EXPECT_EQ(heard->compactions, 1U);
}

TEST(EngineModel, AnswersAsAMapDoesThroughCrashesAndReopenings) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world;
    Random random(seed);
    Model model;
    std::uint64_t i = 0;
    for (int start = 0; start < 5; ++start) {
      RecoveryReport report;
      Store store = world.must_open(&report);
      EXPECT_TRUE(report.clean()) << report.to_json();
      Result<Keyspace> k = store.keyspace("k");
      if (!k.ok()) k = store.create_keyspace("k");
      expect_equal(store, *k, model);
      for (std::uint64_t n = random.below(60); n > 0; --n) {
        ASSERT_TRUE(store.write(step_of(seed, i++, *k, model)).ok());
        if (random.one_in(10)) {
          const Status made = store.checkpoint();
          ASSERT_TRUE(made.ok()) << made.to_string();
        }
        if (random.one_in(10)) {
          const Status stepped = Engine::of(store).step();
          ASSERT_TRUE(stepped.ok()) << stepped.to_string();
        }
        if (random.one_in(40)) {
          const Status merged = store.compact(*k);
          ASSERT_TRUE(merged.ok()) << merged.to_string();
        }
      }
      expect_equal(store, *k, model);
      if (random.one_in(2)) {
        world.disk->power_cut(static_cast<unsigned>(random.below(101)));
      } else {
        world.disk->kill();
      }
    }
  }
}

TEST(OneStart, DestroyingAStoreWritesNothing) {
  World world;
  {
    Store store = world.must_open();
    const Keyspace k = *store.create_keyspace("k");
    for (int i = 0; i < 50; ++i)
      ASSERT_TRUE(store.put(k, std::to_string(i), "v", {.durability = Durability::kProcess}).ok());
    const std::uint64_t before = world.disk->fingerprint();
    const std::uint64_t operations = world.disk->write_operations();
    { const Store last = std::move(store); }
    EXPECT_EQ(world.disk->write_operations(), operations);
    EXPECT_EQ(world.disk->fingerprint(), before);
  }
}

}  // namespace
}  // namespace daruma
