// SPDX-License-Identifier: Apache-2.0
//
// What a start does with a loss in the middle of the log, by RecoveryPolicy; and with an event that kills it.
//
// The life behind each test: ten events, each durable and in a frame of its own, "gone" in the middle; then power
// fails, the ring is wiped, and the value of "gone" in its frame is noise. Every later frame proves that it had been
// acknowledged.
#include "engine/engine.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <stdexcept>

#include <engine_testing.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "io/posix_storage.h"
#include "recovery/quarantine.h"

namespace daruma {
namespace {

constexpr int kBefore = 4, kBehind = 5;

std::string value_of(const std::string& key) {
  std::string value;
  for (int i = 0; i < 8; ++i) value += "<" + key + ">";
  return value;
}

Options with(RecoveryPolicy policy) {
  Options options = small();
  options.recovery_policy = policy;
  return options;
}

std::vector<std::string> keys(const char* prefix, int n) {
  std::vector<std::string> all;
  for (int i = 0; i < n; ++i) all.push_back(prefix + std::to_string(i));
  return all;
}

bool put(Store& store, const std::string& key) { return store.put(*store.keyspace("k"), key, value_of(key)).ok(); }

/// The code of the answer, kOk only for the right value.
Code answer(const Store& store, const std::string& key) {
  const Result<Keyspace> keyspace = store.keyspace("k");
  if (!keyspace.ok()) return keyspace.status().code();
  const Result<std::string> got = store.get(*keyspace, key);
  if (got.ok()) { EXPECT_EQ(*got, value_of(key)); }
  return got.status().code();
}

void expect_all(const Store& store, const std::vector<std::string>& all, Code code) {
  for (const std::string& key : all) EXPECT_EQ(answer(store, key), code) << key;
}

void wipe_rings(SimStorage& disk) {
  const std::vector<DirectoryEntry> names = *disk.list("store/wal");
  for (const DirectoryEntry& entry : names) {
    if (!entry.name.starts_with("tail")) continue;
    ASSERT_TRUE(disk.overwrite("store/wal/" + entry.name, 0, std::string(entry.bytes, '\0')).ok());
  }
}

/// Noise over every place in the log that holds `text`; how many there were.
int garble(SimStorage& disk, const std::string& text) {
  int places = 0;
  for (const auto& [path, bytes] : contents(disk, "store/wal")) {
    for (std::size_t at = bytes.find(text); at != std::string::npos; at = bytes.find(text, at + 1)) {
      EXPECT_TRUE(disk.overwrite(path, at, std::string(text.size(), '\x5a')).ok());
      ++places;
    }
  }
  return places;
}

struct Hurt : World {
  Sequence lost = 0;  // number of the event
  Sequence last = 0;  // of what was acknowledged

  Hurt() {
    {
      Store store = must_open();
      EXPECT_TRUE(store.create_keyspace("k").ok());
      for (const std::string& key : keys("before", kBefore)) EXPECT_TRUE(put(store, key));
      EXPECT_TRUE(put(store, "gone"));
      lost = store.view().sequence();
      for (const std::string& key : keys("behind", kBehind)) EXPECT_TRUE(put(store, key));
      last = store.view().sequence();
    }
    disk->power_cut(0);  // a wiped ring says nothing then: else what only it held would be in doubt too
    wipe_rings(*disk);
    EXPECT_GE(garble(*disk, value_of("gone")), 1);
  }
};

TEST(EnginePolicy, ServeBlocksTheFootprintOnly) {
  Hurt world;
  for (int starts = 0; starts < 3; ++starts) {
    SCOPED_TRACE(starts);
    RecoveryReport report;
    Store store = world.must_open(&report);
    EXPECT_EQ(report.clean(), starts > 0) << report.to_text();
    expect_all(store, keys("before", kBefore), Code::kOk);
    expect_all(store, keys("behind", kBehind), Code::kOk);
    EXPECT_EQ(answer(store, "gone"), Code::kDataLoss);
    EXPECT_EQ(answer(store, "never"), Code::kNotFound);
    ASSERT_EQ(store.damage().size(), 1U);
    EXPECT_EQ(store.damage()[0].first_sequence, world.lost);
    EXPECT_EQ(store.damage()[0].last_sequence, world.lost);
    EXPECT_TRUE(put(store, "new"));
  }
  Store store = world.must_open();
  EXPECT_TRUE(put(store, "gone"));
  EXPECT_EQ(answer(store, "gone"), Code::kOk);
}

TEST(EnginePolicy, AScanTellsAllTheWayThatItMayPassOverTheFootprint) {
  Hurt world;
  Store store = world.must_open();
  Result<Cursor> cursor = store.cursor(*store.keyspace("k"), {});
  ASSERT_TRUE(cursor.ok());
  int seen = 0;
  for (cursor->seek_first(); cursor->valid(); cursor->next(), ++seen)
    ASSERT_TRUE(cursor->status().is(Code::kDataLoss)) << cursor->key() << ": whoever stops here was told of no loss";
  EXPECT_EQ(seen, kBefore + kBehind);
  EXPECT_TRUE(cursor->status().is(Code::kDataLoss));
  ASSERT_TRUE(store.accept_damage(store.damage()[0].id).ok());
  cursor = store.cursor(*store.keyspace("k"), {});
  cursor->seek_first();
  EXPECT_TRUE(cursor->valid() && cursor->status().ok());
}

TEST(EnginePolicy, ReadOnlyTakesWritesOnceTheLossIsAccepted) {
  Hurt world;
  for (int starts = 0; starts < 2; ++starts) {
    Result<Store::Opened> opened = world.open(with(RecoveryPolicy::kReadOnly));
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    EXPECT_EQ(opened->report.outcome, "read_only");
    EXPECT_TRUE(opened->report.read_only);
    Store& store = opened->store;
    const Keyspace k = *store.keyspace("k");
    expect_all(store, keys("before", kBefore), Code::kOk);
    expect_all(store, keys("behind", kBehind), Code::kOk);
    EXPECT_EQ(answer(store, "gone"), Code::kDataLoss);
    EXPECT_EQ(store.put(k, "new", "1").code(), Code::kReadOnly);
    EXPECT_EQ(store.create_keyspace("other").status().code(), Code::kReadOnly);
    EXPECT_EQ(store.drop_keyspace(k).code(), Code::kReadOnly);
  }
  Result<Store::Opened> opened = world.open(with(RecoveryPolicy::kReadOnly));
  ASSERT_TRUE(opened.ok());
  Store& store = opened->store;
  ASSERT_EQ(store.damage().size(), 1U);
  EXPECT_TRUE(store.accept_damage(store.damage()[0].id).ok());
  EXPECT_TRUE(put(store, "new"));
  EXPECT_EQ(answer(store, "gone"), Code::kNotFound);
  opened = Status(Code::kAborted, "killed");
  world.disk->kill();
  opened = world.open(with(RecoveryPolicy::kReadOnly));
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(opened->report.outcome, "served");
  EXPECT_EQ(answer(opened->store, "new"), Code::kOk);
  EXPECT_EQ(answer(opened->store, "gone"), Code::kNotFound);
  EXPECT_TRUE(put(opened->store, "newer"));
}

TEST(EnginePolicy, RefuseNamesTheLossAndChangesNothing) {
  Hurt world;
  const auto before = contents(*world.disk, "store");
  const std::uint64_t fingerprint = world.disk->fingerprint();
  for (int starts = 0; starts < 2; ++starts) {
    const Status refused = world.open(with(RecoveryPolicy::kRefuse)).status();
    EXPECT_EQ(refused.code(), Code::kDataLoss) << refused.to_string();
    EXPECT_EQ(refused.where().sequence, world.lost);
    ASSERT_TRUE(before.contains(refused.where().file)) << refused.to_string();
    ASSERT_TRUE(refused.where().offset.has_value());
    const std::string frame = before.at(refused.where().file).substr(*refused.where().offset, kSectorBytes);
    EXPECT_NE(frame.find("\x5a\x5a\x5a"), std::string::npos) << refused.to_string();
    EXPECT_EQ(world.disk->fingerprint(), fingerprint);
  }
  Store store = world.must_open();
  EXPECT_EQ(answer(store, "gone"), Code::kDataLoss);
  expect_all(store, keys("behind", kBehind), Code::kOk);
}

TEST(EnginePolicy, ARunThatEndsTooEarlyIsToldAtOnceAndRefusedWhereParityCannotHelp) {
  World world;
  Random random(5);
  std::vector<std::string> values;
  for (int i = 0; i < 800; ++i) values.push_back(noise(400, random));
  {
    Store store = world.must_open();
    const Keyspace keyspace = *store.create_keyspace("k");
    for (int i = 0; i < 800; ++i) ASSERT_TRUE(store.put(keyspace, "key" + std::to_string(i), values[i]).ok());
    ASSERT_TRUE(store.checkpoint().ok());
  }
  world.disk->kill();
  std::string path;
  std::size_t bytes = 0;
  for (const auto& [file, held] : contents(*world.disk, "store/runs")) {
    if (held.size() > bytes) path = file, bytes = held.size();
  }
  struct Cut {
    std::size_t left;
    const char* verdict;
    std::size_t unreadable = 0;  // sectors of what is left
  };
  for (const Cut& cut :
       {Cut{0, "corrupt"}, Cut{bytes / 2, "corrupt"}, Cut{bytes - 1, "undecided", 40}, Cut{bytes - 1, "healed"}}) {
    SCOPED_TRACE(std::to_string(cut.left) + " of " + std::to_string(bytes) + " bytes left, " + cut.verdict);
    World hurt;
    hurt.disk = world.disk->clone(1);
    ASSERT_TRUE(hurt.disk->truncate(path, cut.left).ok());
    for (std::size_t at = 0; at < cut.unreadable * kSectorBytes; at += 512)
      ASSERT_TRUE(hurt.disk->lose_sector(path, 8 * kSectorBytes + at).ok());
    const bool heals = cut.verdict == std::string_view("healed");
    const std::uint64_t fingerprint = hurt.disk->fingerprint();
    if (!heals) {
      const Status refused = hurt.open(with(RecoveryPolicy::kRefuse)).status();
      EXPECT_EQ(refused.code(), Code::kDataLoss) << refused.to_string();
      EXPECT_EQ(refused.where().file, path);
      EXPECT_EQ(hurt.disk->fingerprint(), fingerprint);
    }
    RecoveryReport report;
    const Store store = hurt.must_open(&report);
    ASSERT_EQ(report.findings.size(), 1U) << report.to_text();
    EXPECT_EQ(report.findings[0].case_name, "run_cut");
    EXPECT_EQ("store/" + report.findings[0].file, path);
    EXPECT_EQ(report.findings[0].offset, cut.left);
    EXPECT_EQ(report.findings[0].bytes, bytes - cut.left);
    EXPECT_EQ(report.findings[0].verdict, cut.verdict);
    for (int i = 0; i < 800; ++i) {
      const Result<std::string> got = store.get(*store.keyspace("k"), "key" + std::to_string(i));
      const bool told = got.status().is(Code::kCorruption) || (cut.unreadable > 0 && got.status().is(Code::kIoError));
      EXPECT_TRUE(got.ok() ? *got == values[i] : !heals && told) << got.status().to_string();
    }
  }
}

/// The state before the loss, and nothing in doubt.
void expect_stopped_before_the_loss(const Store& store) {
  expect_all(store, keys("before", kBefore), Code::kOk);
  EXPECT_EQ(answer(store, "gone"), Code::kNotFound);
  expect_all(store, keys("behind", kBehind), Code::kNotFound);
}

TEST(EnginePolicy, PointInTimeStopsBeforeTheLossForGood) {
  Hurt world;
  std::vector<std::string> behind;
  for (const std::string& key : keys("behind", kBehind)) behind.push_back(value_of(key));
  {
    Result<Store::Opened> opened = world.open(with(RecoveryPolicy::kPointInTime));
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    const RecoveryReport& report = opened->report;
    EXPECT_EQ(report.lost.events, world.last + 1 - world.lost) << report.to_text();
    EXPECT_EQ(report.discarded.events, 0U) << "what was acknowledged is lost, not discarded";
    EXPECT_GT(report.lost.bytes, 0U);
    EXPECT_FALSE(report.clean());
    expect_stopped_before_the_loss(opened->store);
    std::string aside;
    for (const auto& [path, bytes] : contents(*world.disk, "store/quarantine")) {
      if (path.ends_with(".bytes")) aside += bytes;
    }
    for (const std::string& value : behind) EXPECT_NE(aside.find(value), std::string::npos) << value;
    EXPECT_TRUE(put(opened->store, "new0"));
    EXPECT_GT(opened->store.view().sequence(), world.last);
  }
  std::vector<std::string> written = {"new0"};
  for (int starts = 1; starts < 6; ++starts) {
    SCOPED_TRACE(starts);
    if (starts % 2 == 0)
      world.disk->kill();
    else
      world.disk->power_cut(0);
    if (starts == 3) wipe_rings(*world.disk);
    Result<Store::Opened> opened =
        world.open(with(starts % 3 == 0 ? RecoveryPolicy::kServe : RecoveryPolicy::kPointInTime));
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    EXPECT_TRUE(opened->report.clean()) << opened->report.to_text();
    expect_stopped_before_the_loss(opened->store);
    expect_all(opened->store, written, Code::kOk);
    written.push_back("new" + std::to_string(starts));
    EXPECT_TRUE(put(opened->store, written.back()));
    if (starts == 4) { EXPECT_TRUE(opened->store.checkpoint().ok()); }
    if (starts == 5) { EXPECT_TRUE(opened->store.checkpoint().ok()); }
  }
}

// Until a manifest remembers that the rest was given up, a start with another policy may still serve it; from then on
// none does.
TEST(EnginePolicy, PointInTimeKilledAtEachStep) {
  Hurt world;
  std::uint64_t steps = 0;
  {
    World once;
    once.disk = world.disk->clone(1);
    const std::uint64_t begun = once.disk->operations();
    ASSERT_TRUE(once.open(with(RecoveryPolicy::kPointInTime)).ok());
    steps = once.disk->operations() - begun;
  }
  ASSERT_GT(steps, 10U);
  unsigned given_up = 0;
  for (std::uint64_t step = 0; step < steps; ++step) {
    for (const unsigned end : {0U, 1U, 2U, 3U}) {
      const bool power = end % 2 == 1, serve = end >= 2;
      SCOPED_TRACE("step " + std::to_string(step) + (power ? ", power cut" : ", kill") + (serve ? ", then serve" : ""));
      World killed;
      killed.disk = world.disk->clone(step * 4 + end + 1);
      killed.seed = 100;
      killed.disk->crash_at(killed.disk->operations() + step, true);
      (void)killed.open(with(RecoveryPolicy::kPointInTime));
      ASSERT_TRUE(killed.disk->crashed());
      if (power)
        killed.disk->power_cut(50);
      else
        killed.disk->kill();
      bool gone = true;
      for (int starts = 0; starts < 3; ++starts) {
        SCOPED_TRACE(starts);
        const bool serves = serve && starts != 1;
        Result<Store::Opened> opened =
            killed.open(with(serves ? RecoveryPolicy::kServe : RecoveryPolicy::kPointInTime));
        ASSERT_TRUE(opened.ok()) << opened.status().to_string();
        if (starts == 0 && serve) {
          gone = answer(opened->store, "gone") == Code::kNotFound;
          given_up += gone;
        }
        if (gone) {
          expect_stopped_before_the_loss(opened->store);
        } else {
          EXPECT_EQ(answer(opened->store, "gone"), Code::kDataLoss);
          expect_all(opened->store, keys("behind", kBehind), Code::kOk);
        }
        expect_all(opened->store, keys("new", starts), Code::kOk);
        EXPECT_TRUE(put(opened->store, "new" + std::to_string(starts)));
        EXPECT_GT(opened->store.view().sequence(), world.last);
        opened = Status(Code::kAborted, "killed");
        killed.disk->kill();
      }
    }
  }
  EXPECT_GT(given_up, 0U);
}

/// A store whose event of key "killer" kills whoever applies it.
struct Killing : World {
  Sequence killer = 0;

  Killing() {
    Store store = must_open();
    EXPECT_TRUE(store.create_keyspace("k").ok());
    for (const std::string& key : keys("before", kBefore)) EXPECT_TRUE(put(store, key));
    // One frame, so that all of them are looked at before the first is applied.
    const Keyspace k = *store.keyspace("k");
    std::vector<std::string> together = keys("behind", kBehind);
    together.insert(together.begin() + 1, "killer");
    for (const std::string& key : together) {
      Batch batch;
      batch.put(k, key, value_of(key));
      const Result<Sequence> written = store.write_async(batch);
      EXPECT_TRUE(written.ok());
      if (key == "killer") killer = *written;
    }
    EXPECT_TRUE(store.sync().ok());
  }
  /// A start that dies as it applies the event numbered `at`. Nothing of the engine runs behind that, and its
  /// destructors write nothing (one-start).
  void die_at(Sequence at) {
    struct Death : std::runtime_error {
      using std::runtime_error::runtime_error;
    };
    before_apply = [at](Sequence sequence) {
      if (sequence == at) throw Death("in the middle of an event");
    };
    EXPECT_THROW((void)open(), Death);
    before_apply = nullptr;
  }
};

TEST(EngineBreaker, WhatKilledThreeStartsIsSetAsideAtTheFourth) {
  Killing world;
  for (int deaths = 0; deaths < 3; ++deaths) {
    world.disk->kill();
    world.die_at(world.killer);
  }
  world.disk->kill();
  bool applied = false;
  world.before_apply = [&](Sequence sequence) { applied = applied || sequence == world.killer; };
  RecoveryReport report;
  {
    Store store = world.must_open(&report);
    EXPECT_FALSE(applied);
    const auto finding = std::find_if(report.findings.begin(), report.findings.end(),
                                      [](const RecoveryFinding& f) { return f.case_name == "killer_footprint"; });
    ASSERT_NE(finding, report.findings.end()) << report.to_text();
    EXPECT_EQ(finding->first_sequence, world.killer);
    const Quarantine quarantine(*world.disk, "store/quarantine", [&] {
      const auto number = [&](std::size_t at) { return std::stoull(report.store.substr(at, 16), nullptr, 16); };
      return StoreId{number(0), number(16)};
    }());
    const Result<std::string> kept = quarantine.read(finding->quarantine_id);
    ASSERT_TRUE(kept.ok()) << kept.status().to_string();
    EXPECT_NE(kept->find(value_of("killer")), std::string::npos);
    EXPECT_EQ(answer(store, "killer"), Code::kDataLoss);
    expect_all(store, keys("before", kBefore), Code::kOk);
    expect_all(store, keys("behind", kBehind), Code::kOk);
    EXPECT_EQ(answer(store, "never"), Code::kNotFound);
    EXPECT_TRUE(put(store, "new"));
  }
  for (int starts = 0; starts < 2; ++starts) {  // remembered, with nobody dying any more
    world.disk->power_cut(50);
    Store store = world.must_open(&report);
    EXPECT_FALSE(applied);
    EXPECT_TRUE(report.clean()) << report.to_text();
    EXPECT_EQ(answer(store, "killer"), Code::kDataLoss);
    EXPECT_EQ(answer(store, "new"), Code::kOk);
  }
}

TEST(EngineBreaker, AStartThatFinishesForgives) {
  Killing world;
  for (int deaths = 0; deaths < 4; ++deaths) {
    world.disk->kill();
    if (deaths == 2) {
      const Store store = world.must_open();
      EXPECT_EQ(answer(store, "killer"), Code::kOk);
      world.disk->kill();
    }
    world.die_at(world.killer);
  }
  world.disk->kill();
  const Store store = world.must_open();
  EXPECT_EQ(answer(store, "killer"), Code::kOk);
}

TEST(EngineBreaker, DeathsInDifferentBootsDoNotCount) {
  Killing world;
  for (int deaths = 0; deaths < 5; ++deaths) {
    world.disk->power_cut(100);
    world.die_at(world.killer);
  }
  world.disk->power_cut(100);
  const Store store = world.must_open();
  EXPECT_EQ(answer(store, "killer"), Code::kOk);
}

TEST(EngineBreaker, DeathsAtDifferentEventsDoNotAddUp) {
  Killing world;
  for (int deaths = 0; deaths < 6; ++deaths) {
    world.disk->kill();
    world.die_at(world.killer + (deaths % 3));
  }
  world.disk->kill();
  const Store store = world.must_open();
  EXPECT_EQ(answer(store, "killer"), Code::kOk);
  EXPECT_TRUE(store.damage().empty());
}

// The same with processes that really die: the note must outlive each of them.
TEST(EngineBreaker, ProcessesThatAbort) {
  const std::string directory = testing::TempDir() + "daruma_breaker_" + std::to_string(::getpid());
  ManualClock clock;
  const auto open = [&](std::function<void(Sequence)> before_apply) {
    Environment environment;
    environment.storage = make_posix_storage();
    environment.clock = &clock;
    environment.seed = entropy_seed();
    environment.threads = false;
    environment.before_apply = std::move(before_apply);
    return Engine::open_store(directory, small(), environment);
  };
  Sequence killer = 0;
  {
    Result<Store::Opened> opened = open({});
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    ASSERT_TRUE(opened->store.create_keyspace("k").ok());
    EXPECT_TRUE(put(opened->store, "before"));
    EXPECT_TRUE(put(opened->store, "killer"));
    killer = opened->store.view().sequence();
    EXPECT_TRUE(put(opened->store, "behind"));
  }
  for (int deaths = 0; deaths < 3; ++deaths) {
    const pid_t child = ::fork();
    if (child == 0) {
      (void)open([&](Sequence sequence) {
        if (sequence == killer) ::raise(SIGKILL);
      });
      ::_exit(0);
    }
    int state = 0;
    ASSERT_EQ(::waitpid(child, &state, 0), child);
    ASSERT_TRUE(WIFSIGNALED(state)) << "the event was not applied in start " << deaths;
  }
  {
    const Result<Store::Opened> opened = open({});
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    EXPECT_EQ(answer(opened->store, "killer"), Code::kDataLoss);
    expect_all(opened->store, {"before", "behind"}, Code::kOk);
  }
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace daruma
