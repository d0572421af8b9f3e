// SPDX-License-Identifier: Apache-2.0
//
// The change stream: every event once, in order, durable, or told as lost, or the stream says that it is truncated.
#include "daruma/stream.h"

#include <map>
#include <string>
#include <vector>

#include <engine_testing.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "event/event.h"

namespace daruma {
namespace {

using Kind = StreamEvent::Kind;
using OpKind = StreamOp::Kind;

/// An event in words, which outlive it.
std::string words(const StreamEvent& event) {
  std::string text = std::to_string(event.first_sequence);
  if (event.kind == Kind::kLost) return text + "-" + std::to_string(event.last_sequence) + " lost";
  if (event.kind == Kind::kLoaded) return text + " loaded " + std::to_string(event.keyspace.id());
  for (const StreamOp& op : event.ops) {
    text += " ";
    text += std::to_string(static_cast<int>(op.kind));
    text += ":" + std::to_string(op.keyspace.id()) + ":" + std::string(op.key) + "=" +
            (op.value.size() > 20 ? std::to_string(op.value.size()) : std::string(op.value));
  }
  return text;
}

/// All there is, each number once, one after the other from `from` on.
std::vector<std::string> all_of(EventStream& stream, Sequence from) {
  std::vector<std::string> all;
  for (Sequence expected = from;;) {
    EXPECT_EQ(stream.position(), expected);
    const Result<std::optional<StreamEvent>> next = stream.next();
    if (!next.ok()) {
      ADD_FAILURE() << next.status().to_string();
      return all;
    }
    if (!*next) return all;
    EXPECT_EQ((*next)->first_sequence, expected);
    EXPECT_GE((*next)->last_sequence, expected);
    expected = (*next)->last_sequence + 1;
    all.push_back(words(**next));
  }
}
std::vector<std::string> all_from(const Store& store, Sequence from) {
  Result<EventStream> stream = store.stream(from);
  if (!stream.ok()) {
    ADD_FAILURE() << stream.status().to_string();
    return {};
  }
  return all_of(*stream, from);
}

void wipe_rings(SimStorage& disk, const std::string& directory = "store/wal") {
  const std::vector<DirectoryEntry> names = *disk.list(directory);
  for (const DirectoryEntry& entry : names) {
    if (!entry.name.starts_with("tail")) continue;
    ASSERT_TRUE(disk.overwrite(directory + "/" + entry.name, 0, std::string(entry.bytes, '\0')).ok());
  }
}
/// Noise over every place in the log that holds `text`: data and parity, so nothing heals it.
int garble(SimStorage& disk, const std::string& text, const std::string& directory = "store/wal") {
  int places = 0;
  for (const auto& [path, bytes] : contents(disk, directory)) {
    for (std::size_t at = bytes.find(text); at != std::string::npos; at = bytes.find(text, at + 1), ++places)
      EXPECT_TRUE(disk.overwrite(path, at, std::string(text.size(), '\x5a')).ok());
  }
  return places;
}
std::string marked(const std::string& key) {
  std::string value;
  for (int i = 0; i < 8; ++i) value += "<" + key + ">";
  return value;
}
std::string noise(std::size_t bytes, std::uint64_t seed) {
  std::string text(bytes, '\0');
  Random random(seed);
  for (char& c : text) c = static_cast<char>(random.next());
  return text;
}

TEST(Stream, TellsEveryEventInOrderAndWhatItDid) {
  World world;
  Store store = world.must_open();
  const Keyspace a = *store.create_keyspace("a");
  Batch batch;
  batch.put(a, "k", "1");
  batch.erase(a, "gone");
  batch.erase_range(a, "m", "p");
  ASSERT_TRUE(store.write(batch).ok());
  ASSERT_TRUE(store.rename_keyspace(a, "b").ok());
  ASSERT_TRUE(store.drop_keyspace(a).ok());
  EXPECT_EQ(all_from(store, 1),
            (std::vector<std::string>{"1 4:1:a=", "2 1:1:k=1 2:1:gone= 3:1:m=p", "3 4:1:b=", "4 5:1:="}));
  Result<EventStream> stream = store.stream(0);
  ASSERT_TRUE(stream.ok());
  EXPECT_TRUE(stream->live());
  EXPECT_GT((**stream->next()).wall_ns, 1'600'000'000'000'000'000);
}

TEST(Stream, TellsNothingThatIsNotDurable) {
  World world;
  Store store = world.must_open();
  const Keyspace k = *store.create_keyspace("k");
  Result<EventStream> stream = store.stream(2);
  ASSERT_TRUE(stream.ok());
  ASSERT_TRUE(store.put(k, "a", "1", {.durability = Durability::kProcess}).ok());
  EXPECT_FALSE((*stream->next()).has_value()) << "a power cut would take it back";
  ASSERT_TRUE(store.sync().ok());
  EXPECT_EQ(words(**stream->next()), "2 1:1:a=1");
  EXPECT_FALSE((*stream->next()).has_value());
}

TEST(Stream, FromBehindTheNewestIsRefused) {
  World world;
  Store store = world.must_open();
  ASSERT_TRUE(store.create_keyspace("k").ok());
  EXPECT_TRUE(store.stream(2).ok());
  const Status ahead = store.stream(3).status();
  EXPECT_TRUE(ahead.is(Code::kInvalidArgument)) << ahead.to_string();
  EXPECT_EQ(ahead.where().sequence, 1U);
}

/// Rotations, kills and power cuts, small and large events, both durabilities; the log is kept by never checkpointing.
TEST(Stream, ResumedAtEveryPositionItIsTheSameAsInOnePass) {
  World world;
  std::vector<std::string> acknowledged;
  for (int life = 0; life < 4; ++life) {
    Store store = world.must_open();
    if (life == 0) { ASSERT_TRUE(store.create_keyspace("k").ok()); }
    const Keyspace k = *store.keyspace("k");
    for (int i = 0; i < 12; ++i) {
      const auto n = static_cast<std::uint64_t>(life * 100 + i);
      ASSERT_TRUE(store
                      .put(k, "key" + std::to_string(n), noise(n % 3 == 0 ? 40'000 : 30, n),
                           {.durability = i % 2 == 0 ? Durability::kProcess : Durability::kPower})
                      .ok());
    }
    const std::vector<std::string> all = all_from(store, 1);
    ASSERT_EQ(all.size(), store.stats().durable_sequence);
    ASSERT_GE(all.size(), acknowledged.size());
    EXPECT_TRUE(std::equal(acknowledged.begin(), acknowledged.end(), all.begin())) << "life " << life;
    for (Sequence from = 1; from <= all.size() + 1; ++from)
      EXPECT_EQ(all_from(store, from),
                std::vector<std::string>(all.begin() + static_cast<std::ptrdiff_t>(from - 1), all.end()));
    acknowledged = all;
    if (life % 2 == 0)
      world.disk->kill();
    else
      world.disk->power_cut(50);
  }
  EXPECT_GT(world.disk->list("store/wal")->size(), 4U) << "several segments";
}

TEST(Stream, BehindTheOldestItSaysTruncatedAndWhereTheLogBegins) {
  World world;
  Store store = world.must_open();
  const Keyspace k = *store.create_keyspace("k");
  Result<EventStream> slow = store.stream(1);
  ASSERT_TRUE(slow.ok());
  ASSERT_TRUE((*slow->next()).has_value());
  for (int round = 0; round < 6; ++round) {
    for (int i = 0; i < 8; ++i)
      ASSERT_TRUE(store.put(k, "k" + std::to_string(i), noise(60'000, static_cast<std::uint64_t>(i))).ok());
    ASSERT_TRUE(store.checkpoint().ok());
  }
  const Status gone = store.stream(1).status();
  ASSERT_TRUE(gone.is(Code::kNotFound)) << gone.to_string();
  const Sequence oldest = *gone.where().sequence;
  ASSERT_GT(oldest, 2U);
  EXPECT_TRUE(store.stream(oldest - 1).status().is(Code::kNotFound));
  EXPECT_EQ(all_from(store, oldest).size(), store.view().sequence() + 1 - oldest);
  // One that was on its way finds the same; what it had read ahead is still right.
  for (;;) {
    const Sequence at = slow->position();
    const Result<std::optional<StreamEvent>> next = slow->next();
    if (!next.ok()) {
      EXPECT_TRUE(next.status().is(Code::kNotFound)) << next.status().to_string();
      EXPECT_EQ(next.status().where().sequence, oldest);
      EXPECT_EQ(slow->position(), at);
      EXPECT_LT(at, oldest);
      break;
    }
    ASSERT_TRUE(next->has_value()) << "passed over what is gone";
    ASSERT_EQ((*next)->first_sequence, at);
  }
}

/// Ten events in frames of their own; that of "gone" is beyond its parity after a power cut.
struct Hurt : World {
  Sequence lost = 0, last = 0;
  explicit Hurt(unsigned copies = 1, bool cut = true) {
    options.wal_copies = copies;
    {
      Store store = must_open();
      const Keyspace k = *store.create_keyspace("k");
      for (int i = 0; i < 10; ++i) {
        const std::string key = i == 4 ? "gone" : "key" + std::to_string(i);
        EXPECT_TRUE(store.put(k, key, marked(key)).ok());
        if (i == 4) lost = store.view().sequence();
      }
      last = store.view().sequence();
    }
    if (!cut) return;
    disk->power_cut(0);
    wipe_rings(*disk);
  }
};

TEST(Stream, ALossIsToldWhereItWas) {
  Hurt world;
  ASSERT_GE(garble(*world.disk, marked("gone")), 2);
  for (int life = 0; life < 3; ++life) {
    Store store = world.must_open();
    const std::vector<std::string> all = all_from(store, 1);
    ASSERT_EQ(all.size(), store.stats().durable_sequence);
    EXPECT_EQ(all[world.lost - 1], std::to_string(world.lost) + "-" + std::to_string(world.lost) + " lost");
    EXPECT_EQ(all[world.lost].find("lost"), std::string::npos);
    Result<EventStream> stream = store.stream(world.lost);
    EXPECT_EQ((**stream->next()).cause, store.damage()[0].cause);
    ASSERT_TRUE(store.put(*store.keyspace("k"), "new", "x").ok());
    if (life == 1) { ASSERT_TRUE(store.accept_damage(store.damage()[0].id).ok()); }
  }
}

TEST(Stream, ALossThatNoStartHasSeenIsToldToo) {
  Hurt world(1, false);
  Store store = world.must_open();
  ASSERT_GE(garble(*world.disk, marked("gone")), 2);
  const std::vector<std::string> all = all_from(store, 1);
  ASSERT_EQ(all.size(), world.last);
  EXPECT_EQ(all[world.lost - 1], std::to_string(world.lost) + "-" + std::to_string(world.lost) + " lost");
}

TEST(Stream, TheNewestEventCanBeLostTooAndTheStreamGoesOnBehind) {
  World world;
  Store store = world.must_open();
  const Keyspace k = *store.create_keyspace("k");
  ASSERT_TRUE(store.put(k, "a", marked("gone")).ok());
  ASSERT_GE(garble(*world.disk, marked("gone")), 2);
  Result<EventStream> stream = store.stream(2);
  EXPECT_EQ(words(**stream->next()), "2-2 lost");
  EXPECT_FALSE((*stream->next()).has_value());
  ASSERT_TRUE(store.put(k, "b", "1").ok());
  EXPECT_EQ(words(**stream->next()), "3 1:1:b=1");
}

TEST(Stream, WhatTheDeviceRefusesIsNotGivenUp) {
  Hurt world(1, false);
  Store store = world.must_open();
  world.disk->inject({.kind = FaultKind::kReadError, .path_contains = "wal/", .offset = 8192 + 4 * 8192});
  Result<EventStream> stream = store.stream(1);
  ASSERT_TRUE(stream.ok());
  Status refused;
  Sequence next = 1;
  while (refused.ok() && next <= world.last) {
    const Result<std::optional<StreamEvent>> got = stream->next();
    refused = got.status();
    if (refused.ok()) {
      ASSERT_TRUE(got->has_value() && (*got)->kind == Kind::kWrite);
      next = (*got)->last_sequence + 1;
    }
  }
  ASSERT_TRUE(refused.is(Code::kIoError)) << refused.to_string();
  EXPECT_EQ(stream->position(), next);
  world.disk->clear_faults();
  EXPECT_EQ(all_of(*stream, next).size(), world.last + 1 - next);
}

TEST(Stream, OneOfTwoLogsIsEnough) {
  for (const std::string side : {"store/wal", "store/wal-copy"}) {
    Hurt world(2, false);
    Store store = world.must_open();
    const std::vector<std::string> before = all_from(store, 1);
    ASSERT_GE(garble(*world.disk, marked("gone"), side), 2);
    EXPECT_EQ(all_from(store, 1), before) << side;
  }
}

TEST(Stream, OfAPointInTimeTheRestIsLostWhateverTheFilesHold) {
  Hurt world;
  ASSERT_GE(garble(*world.disk, marked("gone")), 2);
  world.options.recovery_policy = RecoveryPolicy::kPointInTime;
  for (int life = 0; life < 4; ++life) {
    Store store = world.must_open();
    const std::vector<std::string> all = all_from(store, 1);
    ASSERT_GE(all.size(), world.lost) << "life " << life;
    EXPECT_EQ(all[world.lost - 1], std::to_string(world.lost) + "-" + std::to_string(world.last) + " lost")
        << "life " << life;
    ASSERT_TRUE(store.put(*store.keyspace("k"), "new", "x").ok());
    if (life < 3) continue;
    // The manifest forgets what was given up only when no file of the log has it any more.
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(store.checkpoint().ok());
      ASSERT_TRUE(store.put(*store.keyspace("k"), "newer", "x").ok());
      const Result<EventStream> stream = store.stream(world.lost);
      if (!stream.ok()) continue;
      EXPECT_EQ(all_from(store, world.lost)[0],
                std::to_string(world.lost) + "-" + std::to_string(world.last) + " lost");
    }
  }
}

TEST(Stream, AReadOnlyStoreTellsWhatItsLogProves) {
  Hurt world;
  std::vector<std::string> all;
  {
    Store store = world.must_open();
    all = all_from(store, 1);
  }
  world.options.read_only = true;
  const std::uint64_t before = world.disk->fingerprint();
  Store store = world.must_open();
  Result<EventStream> stream = store.stream(1);
  ASSERT_TRUE(stream.ok());
  EXPECT_FALSE(stream->live());
  EXPECT_EQ(all_of(*stream, 1), all);
  EXPECT_TRUE(store.follow().status().is(Code::kReadOnly));
  EXPECT_EQ(world.disk->fingerprint(), before);
}

RecordSource source_of(int records) {
  return [records, i = 0, key = std::string()](std::string_view& k, std::string_view& v) mutable -> Result<bool> {
    if (i == records) return false;
    key = "loaded" + std::to_string(1000 + i++);
    k = v = key;
    return true;
  };
}

TEST(Stream, ABulkLoadIsToldOnceItIsInForce) {
  World world;
  Store store = world.must_open();
  const Keyspace k = *store.create_keyspace("k");
  Result<EventStream> stream = store.stream(2);
  ASSERT_TRUE(store.bulk_load(k, source_of(10)).ok());
  EXPECT_EQ(words(**stream->next()), "2");
  EXPECT_EQ(words(**stream->next()), "3 loaded 1");
  EXPECT_TRUE(store.get(k, "loaded1003").ok());
  EXPECT_FALSE((*stream->next()).has_value());
  EXPECT_EQ(store.keyspaces().size(), 1U);
}

/// Killed at every operation of a load: whoever follows from before it either is told, or the load is not in force.
TEST(Stream, NoCrashLeavesALoadThatNothingTellsOf) {
  World first;
  {
    Store store = first.must_open();
    const Keyspace k = *store.create_keyspace("k");
    const std::uint64_t begin = first.disk->operations();
    std::vector<std::unique_ptr<SimStorage>> images;
    first.disk->on_crash_point([&](std::uint64_t operation, const SimStorage::CrashImage& image) {
      if (operation >= begin) images.push_back(image(false, operation));
    });
    ASSERT_TRUE(store.bulk_load(k, source_of(10)).ok());
    first.disk->on_crash_point({});
    ASSERT_GT(images.size(), 10U);
    int in_force = 0;
    for (std::size_t i = 0; i < images.size(); ++i) {
      World world;
      world.disk = std::shared_ptr<SimStorage>(std::move(images[i]));
      world.disk->power_cut(50);
      Store after = world.must_open();
      const std::vector<std::string> all = all_from(after, 1);
      const bool told =
          std::any_of(all.begin(), all.end(), [](const std::string& text) { return text.ends_with("loaded 1"); });
      const bool loaded = after.get(*after.keyspace("k"), "loaded1003").ok();
      EXPECT_TRUE(told || !loaded) << "crash " << i;
      in_force += loaded;
    }
    EXPECT_GT(in_force, 0);
  }
}

/// A follower: what it has is the primary's state at its position, and its position is all that it remembers.
struct Follower {
  std::map<std::uint32_t, std::map<std::string, std::string>> state;
  Sequence next = 0;

  void copy(Store& primary) {
    state.clear();
    Result<Store::Followed> from = primary.follow();
    ASSERT_TRUE(from.ok()) << from.status().to_string();
    for (const KeyspaceInfo& info : primary.keyspaces()) {
      Result<Cursor> cursor = primary.cursor(info.keyspace, {.lower = {}, .upper = {}, .view = from->view});
      ASSERT_TRUE(cursor.ok());
      auto& in = state[info.keyspace.id()];
      for (cursor->seek_first(); cursor->valid(); cursor->next()) in[std::string(cursor->key())] = cursor->value();
    }
    next = from->stream.position();
    EXPECT_EQ(next, from->view.sequence() + 1);
  }
  void apply(const StreamEvent& event) {
    for (const StreamOp& op : event.ops) {
      if (op.kind == OpKind::kNameKeyspace) {
        state[op.keyspace.id()];
      } else if (op.kind == OpKind::kDropKeyspace) {
        state.erase(op.keyspace.id());
      } else if (op.kind == OpKind::kPut) {
        state[op.keyspace.id()][std::string(op.key)] = op.value;
      } else if (op.kind == OpKind::kErase) {
        state[op.keyspace.id()].erase(std::string(op.key));
      } else {
        auto& in = state[op.keyspace.id()];
        const auto begin = in.lower_bound(std::string(op.key));
        const auto end = op.value.empty() ? in.end() : in.lower_bound(std::string(op.value));
        if (op.value.empty() || op.key < op.value) in.erase(begin, end);
      }
    }
    next = event.last_sequence + 1;
  }
  void catch_up(Store& primary) {
    Result<EventStream> stream = primary.stream(next);
    while (stream.ok()) {
      const Result<std::optional<StreamEvent>> event = stream->next();
      if (event.ok() && !*event) return;
      if (!event.ok() || (*event)->kind != Kind::kWrite) {
        ASSERT_TRUE(event.ok() || event.status().is(Code::kNotFound)) << event.status().to_string();
        return copy(primary);
      }
      apply(**event);
    }
    ASSERT_TRUE(stream.status().is(Code::kNotFound)) << stream.status().to_string();
    copy(primary);
  }
  void expect_equal(Store& primary) const {
    ASSERT_EQ(next, primary.view().sequence() + 1);
    std::map<std::uint32_t, std::map<std::string, std::string>> there;
    for (const KeyspaceInfo& info : primary.keyspaces()) {
      auto& in = there[info.keyspace.id()];
      Result<Cursor> cursor = primary.cursor(info.keyspace, {});
      for (cursor->seek_first(); cursor->valid(); cursor->next()) in[std::string(cursor->key())] = cursor->value();
    }
    EXPECT_TRUE(state == there);
  }
};

TEST(Stream, AFollowerEqualsItsPrimaryThroughWorkKillsAndPowerCuts) {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    World world;
    world.disk = std::make_shared<SimStorage>(SimStorageOptions{.seed = seed});
    world.options.wal_copies = seed % 3 == 0 ? 2 : 1;
    Follower follower;
    for (int life = 0; life < 5; ++life) {
      Store store = world.must_open();
      if (life == 0) {
        ASSERT_TRUE(store.create_keyspace("one").ok());
        follower.copy(store);
      }
      for (int i = 0; i < 60; ++i) {
        const std::vector<KeyspaceInfo> there = store.keyspaces();
        const Keyspace k = there[random.below(there.size())].keyspace;
        const std::string key = "k" + std::to_string(random.below(30));
        const Durability durability = random.one_in(2) ? Durability::kPower : Durability::kProcess;
        Status done;
        switch (random.below(12)) {
          case 0: done = store.erase(k, key, {.durability = durability}); break;
          case 1:
            done = store.erase_range(k, key, "k" + std::to_string(random.below(30)), {.durability = durability});
            break;
          case 2: done = store.create_keyspace("n" + std::to_string(life * 100 + i)).status(); break;
          case 3:
            if (there.size() > 2) done = store.drop_keyspace(k);
            break;
          case 4: done = store.checkpoint(); break;
          case 5: done = random.one_in(4) ? store.bulk_load(k, source_of(5)).status() : Status(); break;
          case 6: follower.catch_up(store); break;
          default:
            done = store.put(k, key, noise(random.below(6) == 0 ? 50'000 : 100, random.next()),
                             {.durability = durability});
        }
        ASSERT_TRUE(done.ok()) << done.to_string();
        if (random.one_in(8)) { ASSERT_TRUE(Engine::of(store).step().ok()); }
      }
      follower.catch_up(store);
      ASSERT_LE(follower.next, store.stats().durable_sequence + 1) << "ahead of what a power cut leaves";
      if (random.one_in(2))
        world.disk->kill();
      else
        world.disk->power_cut(static_cast<unsigned>(random.below(101)));
    }
    Store store = world.must_open();
    ASSERT_LE(follower.next, store.view().sequence() + 1) << "the primary has lost what it told";
    ASSERT_TRUE(store.sync().ok());
    follower.catch_up(store);
    follower.expect_equal(store);
  }
}

}  // namespace
}  // namespace daruma
