// SPDX-License-Identifier: Apache-2.0
//
// State reconstruction: a store as it was at any event of the history that is kept, against a model that remembers each
// of them; and what ends that history.
#include "daruma/history.h"

#include <filesystem>
#include <random>

#include <engine_testing.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sanitized.h>
#include <temporary_directory.h>

#include "base/random.h"
#include "engine/timeline.h"
#include "io/posix_storage.h"
#include "snapshot/catalogue.h"

namespace daruma {
namespace {

using Values = std::map<std::string, std::string>;
using Contents = std::map<std::string, Values>;  // by keyspace

Contents read_all(const Store& store) {
  Contents all;
  for (const KeyspaceInfo& keyspace : store.keyspaces()) {
    Values& values = all[keyspace.name];
    Cursor cursor = *store.cursor(keyspace.keyspace);
    for (cursor.seek_first(); cursor.valid(); cursor.next())
      values.emplace(std::string(cursor.key()), std::string(cursor.value()));
    EXPECT_TRUE(cursor.status().ok()) << cursor.status().to_string();
  }
  return all;
}

std::uint64_t seed_of_this_run() {
  const char* given = std::getenv("DARUMA_SEED");
  const std::uint64_t seed = given ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::printf("DARUMA_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

constexpr std::int64_t kSecondNs = 1'000'000'000;

/// A store that lives for some thousand events, with everything that moves files: checkpoints, compactions, log files
/// that are full, kills.
struct Past {
  explicit Past(std::uint64_t seed) : random(seed) {
    world.seed = seed;
    world.options.history = History{std::chrono::hours(1), 1 << 30};
    world.options.ballast_bytes = 0;
    world.options.scrub_days = 0;
  }
  void open() {
    store.emplace(world.must_open());
    for (const KeyspaceInfo& keyspace : store->keyspaces()) keyspaces[keyspace.name] = keyspace.keyspace;
    remember();
  }
  void kill() {
    store.reset();
    world.disk->kill();
    open();
  }
  void remember() { states[store->stats().sequence] = model; }
  void create(const std::string& name) {
    keyspaces[name] = *store->create_keyspace(name);
    model[name];
    remember();
  }
  void write() {
    Batch batch;
    const std::uint64_t operations = 1 + random.below(4);
    for (std::uint64_t i = 0; i < operations; ++i) {
      auto keyspace = std::next(keyspaces.begin(), static_cast<std::ptrdiff_t>(random.below(keyspaces.size())));
      Values& values = model[keyspace->first];
      const std::string key = "k" + std::to_string(100 + random.below(60));
      switch (random.below(8)) {
        case 0: {
          batch.erase(keyspace->second, key);
          values.erase(key);
          break;
        }
        case 1: {
          const std::string end = "k" + std::to_string(100 + random.below(60));
          batch.erase_range(keyspace->second, key, end);
          if (key < end) values.erase(values.lower_bound(key), values.lower_bound(end));
          break;
        }
        default: {
          std::string value(random.below(600), '\0');
          for (char& c : value) c = static_cast<char>(random.next());
          batch.put(keyspace->second, key, value);
          values[key] = std::move(value);
        }
      }
    }
    ASSERT_TRUE(store->write(batch, {.durability = random.one_in(2) ? Durability::kPower : Durability::kProcess}).ok());
    remember();
  }
  void move_files() {
    switch (random.below(100)) {
      case 0: ASSERT_TRUE(store->checkpoint().ok()); break;
      case 1: kill(); break;
      case 2: ASSERT_TRUE(store->compact(keyspaces.begin()->second).ok()); break;
      default: ASSERT_TRUE(Engine::of(*store).step().ok());
    }
    world.clock.advance(static_cast<std::int64_t>(random.below(2 * kSecondNs)));
  }

  Random random;
  World world;
  std::optional<Store> store;
  std::map<std::string, Keyspace> keyspaces;
  Contents model;
  std::map<Sequence, Contents> states;  // after each event
};

TEST(History, EveryPointThatIsKeptIsAsItWas) {
  Past past(seed_of_this_run());
  past.open();
  past.create("a");
  past.create("b");
  const int events = kSanitized ? 300 : 1200;
  for (int i = 0; i < events; ++i) {
    past.write();
    past.move_files();
    if (::testing::Test::HasFatalFailure()) return;
  }
  const Sequence last = past.store->stats().sequence;
  past.store.reset();
  past.world.disk->kill();
  const Timeline timeline = *timeline_of(*past.world.disk, "store");
  EXPECT_EQ(timeline.earliest, 0U);
  const auto before = contents(*past.world.disk, "store");
  const int points = kSanitized ? 40 : 1000;
  for (int i = 0; i < points; ++i) {
    const Sequence at = past.random.below(last + 1);
    auto state = past.states.upper_bound(at);
    Contents expected;
    if (state != past.states.begin()) expected = std::prev(state)->second;
    if (std::prev(state)->first != at) continue;  // numbers that a start used up
    Result<Store::Opened> opened = past.world.open_at(RecoveryTarget::at_sequence(at));
    ASSERT_TRUE(opened.ok()) << "at " << at << ": " << opened.status().to_string();
    EXPECT_EQ(opened->report.last_sequence, at);
    EXPECT_TRUE(opened->report.clean()) << opened->report.to_text();
    ASSERT_EQ(read_all(opened->store), expected) << "at " << at << " of " << last;
  }
  EXPECT_EQ(contents(*past.world.disk, "store"), before) << "a reconstruction changes nothing";
}

TEST(History, WithoutItTwoSnapshotsAreKept) {
  Past past(1);
  past.world.options.history = History();
  past.open();
  past.create("a");
  for (int i = 0; i < 5; ++i) {
    std::string value(200 << 10, '\0');
    for (char& c : value) c = static_cast<char>(past.random.next());
    ASSERT_TRUE(past.store->put(past.keyspaces["a"], "k", value).ok());
    ASSERT_TRUE(past.store->checkpoint().ok());
  }
  EXPECT_EQ(read_catalogue(*past.world.disk, "store", std::nullopt)->generations.size(), 2U);
  past.write();
  past.store.reset();
  past.world.disk->kill();
  const Timeline timeline = *timeline_of(*past.world.disk, "store");
  EXPECT_EQ(timeline.earliest, timeline.snapshots.front().sequence);
  EXPECT_TRUE(past.world.open_at(RecoveryTarget::at_sequence(timeline.earliest)).ok());
  const Result<Store::Opened> before = past.world.open_at(RecoveryTarget::at_sequence(timeline.earliest - 1));
  EXPECT_TRUE(before.status().is(Code::kNotFound)) << before.status().to_string();
  EXPECT_THAT(before.status().message(), ::testing::HasSubstr("does not reach back"));
  const Result<Store::Opened> behind = past.world.open_at(RecoveryTarget::at_sequence(timeline.latest + 1));
  EXPECT_TRUE(behind.status().is(Code::kNotFound)) << behind.status().to_string();
  EXPECT_THAT(behind.status().message(), ::testing::HasSubstr("ends with sequence"));
}

TEST(History, ATimeIsThatOfTheFrameWhichCarriedTheEvent) {
  Past past(2);
  past.open();
  past.create("a");
  std::map<std::int64_t, Contents> by_time;
  for (int i = 0; i < 200; ++i) {
    past.world.clock.advance(kSecondNs);
    const Keyspace a = past.keyspaces["a"];
    ASSERT_TRUE(past.store->put(a, "k" + std::to_string(i % 20), std::to_string(i)).ok());
    past.model["a"]["k" + std::to_string(i % 20)] = std::to_string(i);
    by_time[past.world.clock.wall_ns()] = past.model;
    if (i % 37 == 0) { ASSERT_TRUE(past.store->checkpoint().ok()); }
  }
  past.store.reset();
  past.world.disk->kill();
  past.world.clock.advance(kSecondNs);
  for (const auto& [time, state] : by_time) {
    for (const std::int64_t at : {time, time + kSecondNs - 1}) {
      Result<Store::Opened> opened = past.world.open_at(RecoveryTarget::at_time(at));
      ASSERT_TRUE(opened.ok()) << opened.status().to_string();
      ASSERT_EQ(read_all(opened->store), state) << at;
    }
  }
}

TEST(History, ItEndsWhereTimeOrBytesDo) {
  for (const History& limits :
       {History{std::chrono::seconds(100), 1ULL << 30}, History{std::chrono::hours(1000), 6 << 20}}) {
    Past past(3);
    past.world.options.history = limits;
    past.world.compaction = {};
    past.open();
    past.create("a");
    for (int i = 0; i < 600; ++i) {
      std::string value(5000, '\0');
      for (char& c : value) c = static_cast<char>(past.random.next());
      ASSERT_TRUE(past.store->put(past.keyspaces["a"], "k" + std::to_string(i % 50), value).ok());
      past.world.clock.advance(kSecondNs);
      if (i % 20 == 19) { ASSERT_TRUE(past.store->checkpoint().ok()); }
      ASSERT_TRUE(Engine::of(*past.store).step().ok());
    }
    const Sequence last = past.store->stats().sequence;
    past.store.reset();
    past.world.disk->kill();
    const Timeline timeline = *timeline_of(*past.world.disk, "store");
    EXPECT_GT(timeline.earliest, 0U);
    EXPECT_LE(timeline.snapshots.size(), 2U + 10U);
    if (limits.time.count() == 100) {
      EXPECT_LE(timeline.earliest, last - 100);
      EXPECT_GE(timeline.earliest, last - 160);
    } else {
      std::uint64_t bytes = 0;
      for (const auto& [name, text] : contents(*past.world.disk, "store")) bytes += text.size();
      EXPECT_LE(bytes, (6U << 20) + (4U << 20)) << "history, and what the store itself has";
      EXPECT_LE(timeline.earliest, last - 100);
    }
    EXPECT_TRUE(past.world.open_at(RecoveryTarget::at_sequence(timeline.earliest)).ok());
  }
}

TEST(History, AStartThatDoesNotSayKeepsWhatThereIs) {
  Past past(8);
  past.open();
  past.create("a");
  for (int i = 0; i < 5; ++i) {
    past.write();
    past.world.clock.advance(900 * kSecondNs);
    ASSERT_TRUE(past.store->checkpoint().ok());
  }
  const auto snapshots = [&] { return read_catalogue(*past.world.disk, "store", std::nullopt)->generations.size(); };
  const std::size_t kept = snapshots();
  ASSERT_GT(kept, 2U);
  past.world.options.history.reset();
  past.kill();
  past.write();
  ASSERT_TRUE(past.store->checkpoint().ok());
  EXPECT_GE(snapshots(), kept);
  past.world.options.history = History();
  past.kill();
  EXPECT_EQ(snapshots(), 2U);
}

TEST(History, TrimGivesItUp) {
  Past past(4);
  past.open();
  past.create("a");
  for (int i = 0; i < 5; ++i) {
    past.write();
    past.world.clock.advance(900 * kSecondNs);
    ASSERT_TRUE(past.store->checkpoint().ok());
  }
  EXPECT_GT(read_catalogue(*past.world.disk, "store", std::nullopt)->generations.size(), 2U);
  ASSERT_TRUE(past.store->trim().ok());
  EXPECT_EQ(read_catalogue(*past.world.disk, "store", std::nullopt)->generations.size(), 2U);
}

TEST(History, NoLogLeadsOverABulkLoad) {
  Past past(5);
  past.open();
  past.create("a");
  past.write();
  ASSERT_TRUE(past.store->checkpoint().ok());
  past.write();
  const Sequence before = past.store->stats().sequence;
  const Contents without = past.model;
  int next = 0;
  std::string key;
  const Result<Sequence> load =
      past.store->bulk_load(past.keyspaces["a"], [&](std::string_view& k, std::string_view& v) -> Result<bool> {
        if (next == 500) return false;
        if (next == 250) {  // while it goes on
          EXPECT_TRUE(past.store->put(past.keyspaces["a"], "beside", "1").ok());
        }
        key = "l" + std::to_string(1000 + next++);
        k = v = key;
        return true;
      });
  ASSERT_TRUE(load.ok());
  for (int i = 0; i < 500; ++i) past.model["a"]["l" + std::to_string(1000 + i)] = "l" + std::to_string(1000 + i);
  past.model["a"]["beside"] = "1";
  past.remember();
  for (int i = 0; i < 30; ++i) {
    past.write();
    past.world.clock.advance(kSecondNs);
    ASSERT_TRUE(past.store->checkpoint().ok());
    if (i % 10 == 0) { ASSERT_TRUE(past.store->compact(past.keyspaces["a"]).ok()); }
  }
  past.kill();
  past.write();
  ASSERT_TRUE(past.store->checkpoint().ok());
  const Sequence last = past.store->stats().sequence;
  past.store.reset();
  past.world.disk->kill();
  Result<Store::Opened> opened = past.world.open_at(RecoveryTarget::at_sequence(before));
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  EXPECT_EQ(read_all(opened->store), without);
  for (Sequence at = *load; at <= last; ++at) {
    if (!past.states.contains(at) || (kSanitized && at > *load + 5 && at % 7 != 0)) continue;
    opened = past.world.open_at(RecoveryTarget::at_sequence(at));
    if (!opened.ok() && at < *load + 2) {
      EXPECT_THAT(opened.status().message(), ::testing::HasSubstr("bulk load"));
      continue;
    }
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    ASSERT_EQ(read_all(opened->store), past.states[at]) << "at " << at << ", load at " << *load;
  }
}

TEST(History, WhatAStartGaveUpDoesNotComeBack) {
  Past past(6);
  past.world.options.recovery_policy = RecoveryPolicy::kPointInTime;
  past.open();
  past.create("a");
  const Keyspace a = past.keyspaces["a"];
  ASSERT_TRUE(past.store->put(a, "base", "1").ok());
  ASSERT_TRUE(past.store->checkpoint().ok());
  ASSERT_TRUE(past.store->checkpoint().ok());
  Sequence hurt = 0;
  std::vector<std::int64_t> times;  // of these events
  for (int i = 0; i < 10; ++i) {
    past.world.clock.advance(kSecondNs);
    times.push_back(past.world.clock.wall_ns());
    ASSERT_TRUE(past.store->put(a, "k" + std::to_string(i), std::string(3000, 'x')).ok());
    if (i == 4) hurt = past.store->stats().sequence;
  }
  past.store.reset();
  past.world.disk->kill();
  past.world.clock.advance(kSecondNs);
  // The frame of one event, beyond its parity, and the ring that has it too.
  SimStorage& disk = *past.world.disk;
  for (const auto& [path, bytes] : contents(disk, "store/wal")) {
    std::string changed = bytes;
    if (path.ends_with(".log")) {
      bool any = false;
      for (std::size_t at = 8192; at + 4096 <= changed.size(); at += 4096) {
        if (changed.compare(at, 4096, std::string(4096, '\0')) == 0) continue;
        const std::size_t found = changed.find("k4", at);
        if (found == std::string::npos || found >= at + 4096 || any) continue;
        for (std::size_t hurt_at = at; hurt_at < at + 8192; ++hurt_at) changed[hurt_at] ^= 0x5a;
        any = true;
      }
      if (!any) continue;
    } else {
      for (char& c : changed) c ^= 0x5a;
    }
    auto file = *disk.open(path, OpenMode::kReadWrite);
    ASSERT_TRUE(file->write(0, changed).ok());
    ASSERT_TRUE(file->sync().ok());
  }
  RecoveryReport report;
  past.store.emplace(past.world.must_open(&report));
  ASSERT_FALSE(report.clean());
  ASSERT_LT(hurt, report.last_sequence);
  const Contents given_up = read_all(*past.store);
  EXPECT_FALSE(given_up.at("a").contains("k7"));
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(past.store->put(a, "later", std::to_string(i)).ok());
    past.world.clock.advance(kSecondNs);
    ASSERT_TRUE(past.store->checkpoint().ok());
  }
  const Sequence last = past.store->stats().sequence;
  past.store.reset();
  disk.kill();
  past.world.options.recovery_policy = RecoveryPolicy::kServe;  // which serves what stands behind a loss
  for (Sequence at = hurt - 1; at <= last; ++at) {
    Result<Store::Opened> opened = past.world.open_at(RecoveryTarget::at_sequence(at));
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    Contents seen = read_all(opened->store);
    seen["a"].erase("later");
    EXPECT_EQ(seen, given_up) << "at " << at;
  }
  // The snapshot nearest to a time before the loss was met does not know of it.
  for (std::size_t i = 4; i < times.size(); ++i) {
    Result<Store::Opened> opened = past.world.open_at(RecoveryTarget::at_time(times[i]));
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    EXPECT_EQ(read_all(opened->store), given_up) << "when event " << i << " was written";
  }
}

TEST(History, AStateThatDoesNotPassItsCheckIsRefusedOrLeftBehind) {
  Past past(7);
  past.open();
  past.create("accounts");
  const Keyspace accounts = past.keyspaces["accounts"];
  int a = 50;
  const auto transfer = [&](int amount, int lost) {
    Batch batch;
    a -= amount;
    batch.put(accounts, "a", std::to_string(a));
    batch.put(accounts, "b", std::to_string(100 - a - lost));
    EXPECT_TRUE(past.store->write(batch).ok());
    past.world.clock.advance(kSecondNs);
  };
  const auto check = [](const Store& store) -> Status {
    const Result<Keyspace> accounts = store.keyspace("accounts");
    if (!accounts.ok()) return {};
    const Result<std::string> a = store.get(*accounts, "a");
    const Result<std::string> b = store.get(*accounts, "b");
    if (a.status().is(Code::kNotFound)) return {};
    const int sum = std::stoi(*a) + std::stoi(*b);
    return sum == 100 ? Status() : Status(Code::kInvalidArgument, "balances sum to " + std::to_string(sum));
  };
  transfer(0, 0);
  for (int i = 0; i < 40; ++i) {
    transfer(1, 0);
    if (i % 15 == 0) { ASSERT_TRUE(past.store->checkpoint().ok()); }
  }
  const Sequence good = past.store->stats().sequence;
  for (int i = 0; i < 77; ++i) transfer(-1, 3);
  past.store.reset();
  past.world.disk->kill();
  const Result<Store::Opened> refused = past.world.open_at({}, check);
  EXPECT_TRUE(refused.status().is(Code::kInvalidArgument));
  EXPECT_THAT(refused.status().message(), ::testing::HasSubstr("balances sum to 97"));
  Result<Store::Opened> earlier = past.world.open_at({}, check, IfInvalid::kEarlier);
  ASSERT_TRUE(earlier.ok()) << earlier.status().to_string();
  EXPECT_EQ(earlier->report.last_sequence, good);
  const Result<Store::Opened> never = past.world.open_at(
      {}, [](const Store&) { return Status(Code::kInvalidArgument, "no"); }, IfInvalid::kEarlier);
  EXPECT_TRUE(never.status().is(Code::kInvalidArgument)) << never.status().to_string();
}

TEST(Restore, MakesAStoreOfWhatOneWas) {
  const TemporaryDirectory directory;
  const std::string from = directory.path() + "/from";
  const std::string to = directory.path() + "/to";
  Options options = small();
  options.history = History{std::chrono::hours(1), 64 << 20};
  Sequence point = 0;
  Contents then;
  {
    Store store = std::move(Store::open(from, options)->store);
    const Keyspace a = *store.create_keyspace("a");
    const Keyspace b = *store.create_keyspace("b");
    ASSERT_TRUE(store.create_keyspace("empty").ok());
    for (int i = 0; i < 1000; ++i)
      ASSERT_TRUE(store.put(i % 3 ? a : b, "k" + std::to_string(i), "then", {Durability::kProcess}).ok());
    point = store.stats().sequence;
    then = read_all(store);
    ASSERT_TRUE(store.checkpoint().ok());
    ASSERT_TRUE(store.erase_range(a, "", "").ok());
    ASSERT_TRUE(store.drop_keyspace(b).ok());
    ASSERT_TRUE(store.checkpoint().ok());
    const Result<Restored> busy = restore(from, RecoveryTarget::at_sequence(point), to, options);
    EXPECT_TRUE(busy.status().is(Code::kBusy)) << busy.status().to_string();
  }
  std::filesystem::create_directories(to + ".restoring/wal");
  EXPECT_TRUE(restore(from, RecoveryTarget::at_sequence(point), to, options).status().is(Code::kExists));
  std::filesystem::remove_all(to + ".restoring");
  const Result<Restored> done = restore(from, RecoveryTarget::at_sequence(point), to + "/", options);
  ASSERT_TRUE(done.ok()) << done.status().to_string();
  EXPECT_EQ(done->sequence, point);
  EXPECT_EQ(done->keys, 1000U);
  EXPECT_EQ(done->keyspaces, 3U);
  EXPECT_FALSE(std::filesystem::exists(to + ".restoring"));
  EXPECT_EQ(read_all(Store::open(to, options)->store), then);
  EXPECT_TRUE(restore(from, RecoveryTarget::at_sequence(point), to, options).status().is(Code::kExists));
  const Timeline timeline = *read_timeline(from);
  EXPECT_EQ(timeline.earliest, 0U);
  EXPECT_GE(timeline.latest, point + 2);
  EXPECT_TRUE(read_timeline(directory.path()).status().is(Code::kNotFound));
}

}  // namespace
}  // namespace daruma
