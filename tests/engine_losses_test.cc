// SPDX-License-Identifier: Apache-2.0
//
// never-wrong where acknowledged data is beyond repair: what is lost stays told of, through later starts and later
// faults.
#include "engine/engine.h"

#include <engine_testing.h>
#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <utility>

#include "parity/parity_format.h"
#include "snapshot/catalogue.h"
#include "snapshot/retention.h"
#include "wal/wal_reader.h"

namespace daruma {
namespace {

constexpr Durability kProcess = Durability::kProcess;

struct Hurt : World {
  /// The file of store/`room` with the highest name that begins with `prefix`.
  [[nodiscard]] std::string newest(const std::string& room, const std::string& prefix = "0") const {
    std::string found;
    const std::vector<DirectoryEntry> entries = *disk->list("store/" + room);
    for (const DirectoryEntry& entry : entries) {
      if (entry.name.starts_with(prefix) && !entry.name.ends_with(".tmp")) found = "store/" + room + "/" + entry.name;
    }
    EXPECT_FALSE(found.empty());
    return found;
  }
  void lose(const std::string& path) const {
    ASSERT_TRUE(disk->remove(path).ok());
    ASSERT_TRUE(disk->sync_directory(path.substr(0, path.find_last_of('/'))).ok());
  }
  /// Both headers of the newest segment.
  void behead_newest_segment() const {
    ASSERT_TRUE(disk->overwrite(newest("wal"), 0, std::string(kSegmentFramesAt, '\0')).ok());
  }
  /// Keyspace "k" with one key that is in a run; the process is dead.
  [[nodiscard]] Keyspace with_one_in_a_run(const char* key, const char* value) {
    Store store = must_open();
    const Keyspace k = *store.create_keyspace("k");
    EXPECT_TRUE(store.put(k, key, value).ok());
    EXPECT_TRUE(store.checkpoint().ok());
    disk->kill();
    return k;
  }
  /// The files of one keyspace's runs.
  [[nodiscard]] std::vector<std::string> runs_of(std::uint32_t keyspace) const {
    std::vector<std::string> all;
    const Catalogue catalogue = *read_catalogue(*disk, "store", std::nullopt);
    for (const PlacedRun& placed : catalogue.newest()->runs) {
      if (placed.info.keyspace == keyspace) all.push_back("store/runs/" + run_name(placed.info.number));
    }
    EXPECT_FALSE(all.empty());
    return all;
  }
  /// One sector that parity cannot give.
  void hurt_beyond_parity(const std::string& run) const {
    const ParityLayout layout = *parity_layout_of_file(read_whole(*disk, run, 1 << 20)->size() / kSectorBytes);
    for (const std::uint64_t sector : {std::uint64_t{5}, layout.parity_at(5 % layout.stripes)})
      ASSERT_TRUE(disk->overwrite(run, sector * kSectorBytes, std::string(kSectorBytes, 'x')).ok());
  }
  void hurt(const std::string& path) const {
    const std::string bytes = *read_whole(*disk, path, 1 << 20);
    ASSERT_TRUE(disk->overwrite(path, 0, std::string(bytes.size(), 'x')).ok());
  }
  /// Sectors that could not be read can be again.
  void give_back(const std::string& path, std::uint64_t offset, const std::string& bytes) const {
    Result<std::unique_ptr<File>> file = disk->open(path, OpenMode::kReadWrite);
    ASSERT_TRUE(file.ok() && (*file)->write(offset, bytes).ok() && (*file)->sync().ok());
  }
  void lose_manifests() const {
    const auto manifests = contents(*disk, "store/snapshots");
    for (const auto& [path, bytes] : manifests) lose(path);
    lose("store/recoveries/manifest");
  }
  /// No manifest has the names any more: not the next either, since a run that nothing describes may hold others.
  void forget_names() {
    lose_manifests();
    ASSERT_TRUE(publish(*disk, "store/runs", "0000000000000099.run", std::string(4096, 'x')).ok());
    {
      Store store = must_open();
      accept_all(store);
    }
    disk->kill();
  }
  static void do_the_background_work(const Store& store) {
    for (int round = 0; round < 20; ++round) EXPECT_TRUE(Engine::of(store).step().ok());
  }
  static void accept_all(Store& store) {
    for (const DamageInfo& damage : store.damage()) EXPECT_TRUE(store.accept_damage(damage.id).ok());
  }
};

TEST(Losses, TheIdOfALostKeyspaceIsNotGivenAgain) {
  Hurt world;
  std::uint32_t highest = 0;
  {
    Store store = world.must_open();
    highest = store.create_keyspace("lost")->id();
  }
  world.disk->kill();
  world.behead_newest_segment();
  const auto expect_a_new_id = [&](Store& store, const char* name) {
    const Result<Keyspace> created = store.create_keyspace(name);
    ASSERT_TRUE(created.ok()) << created.status().to_string();
    EXPECT_GT(created->id(), highest);
    highest = created->id();
  };
  {
    RecoveryReport report;
    Store store = world.must_open(&report);
    EXPECT_FALSE(report.clean());
    Hurt::accept_all(store);
  }
  world.disk->kill();
  {
    Store store = world.must_open();
    expect_a_new_id(store, "one");  // given up, and no checkpoint since
  }
  world.disk->kill();
  world.behead_newest_segment();
  {
    Store store = world.must_open();
    expect_a_new_id(store, "two");  // another loss, of what the first had skipped to
    EXPECT_TRUE(store.checkpoint().ok());
    Hurt::accept_all(store);
    for (const char* value : {"v", "w"}) {
      EXPECT_TRUE(store.put(*store.keyspace("two"), "k", value).ok());
      EXPECT_TRUE(store.checkpoint().ok());
    }
  }
  world.disk->kill();
  {
    Store store = world.must_open();
    EXPECT_FALSE(store.damage().empty()) << "no generation needs it, but a stream would deliver what the log has of it";
    std::mt19937_64 random(1);
    std::string value(60'000, '\0');
    for (int i = 0; i < 8; ++i) {
      for (char& byte : value) byte = static_cast<char>(random());  // fills segments: does not compress
      EXPECT_TRUE(store.put(*store.keyspace("two"), "k", value).ok());
      EXPECT_TRUE(store.checkpoint().ok());
    }
  }
  world.disk->kill();
  Store store = world.must_open();
  EXPECT_TRUE(store.damage().empty());
  expect_a_new_id(store, "three");
  EXPECT_LT(highest, 1U << 19);
}

TEST(Losses, AKeyspaceWhoseNameWasGivenUpIsServedUnderAMadeUpOne) {
  Hurt world;
  {
    Store store = world.must_open();
    const Keyspace k = *store.create_keyspace("name");
    for (const char* value : {"1", "2", "value"}) {  // so that no log is left that has the name
      EXPECT_TRUE(store.put(k, "key", value).ok());
      EXPECT_TRUE(store.checkpoint().ok());
    }
  }
  world.disk->kill();
  world.forget_names();
  world.lose("store/runs/0000000000000001.run");  // the catalogue's
  for (int start = 0; start < 4; ++start) {
    Store store = world.must_open();
    const Result<Keyspace> k = store.keyspace("keyspace-1");
    ASSERT_TRUE(k.ok()) << "start " << start << ": " << k.status().to_string();
    EXPECT_EQ(*store.get(*k, "key"), "value");
    Hurt::accept_all(store);
    if (start == 2) { EXPECT_TRUE(store.checkpoint().ok()); }
    world.disk->kill();
  }
}

/// The manifest has its names, and the run is written anew from there.
TEST(Losses, ACatalogueThatIsLostCostsNothing) {
  for (const bool while_it_lives : {true, false}) {
    SCOPED_TRACE(while_it_lives);
    Hurt world;
    world.compaction.level0_trigger = 100;  // the older runs have the older names
    world.options.cache_bytes = 0;          // which would have them still
    std::map<std::string, std::uint32_t> names;
    const auto expect_them = [&](const Store& store) {
      std::map<std::string, std::uint32_t> found;
      for (const KeyspaceInfo& info : store.keyspaces()) found[info.name] = info.keyspace.id();
      EXPECT_EQ(found, names);
      EXPECT_TRUE(store.damage().empty());
    };
    {
      Store store = world.must_open();
      for (const char* name : {"kept", "old", "dropped"}) EXPECT_TRUE(store.create_keyspace(name).ok());
      EXPECT_TRUE(store.checkpoint().ok());
      EXPECT_TRUE(store.rename_keyspace(*store.keyspace("old"), "renamed").ok());
      EXPECT_TRUE(store.drop_keyspace(*store.keyspace("dropped")).ok());
      go_on(store);
      for (const KeyspaceInfo& info : store.keyspaces()) names[info.name] = info.keyspace.id();
      EXPECT_EQ(names.size(), 3U);
      EXPECT_TRUE(store.create_keyspace("newest").ok());  // has no part in the runs, nor in the manifest
      const std::vector<std::string> runs = world.runs_of(kCatalogKeyspace);
      EXPECT_GE(runs.size(), 2U);
      for (const std::string& run : runs) while_it_lives ? world.hurt(run) : world.lose(run);
      if (while_it_lives) { EXPECT_TRUE(store.scrub().ok()); }
      names["newest"] = store.keyspace("newest")->id();
    }
    world.disk->kill();
    {
      RecoveryReport report;
      Store store = world.must_open(&report);
      EXPECT_EQ(report.lost.stretches, 0U);
      EXPECT_EQ(report.findings.empty(), while_it_lives) << "it is told";
      expect_them(store);
      Hurt::do_the_background_work(store);
      EXPECT_TRUE(store.checkpoint().ok());
    }
    world.disk->kill();
    world.lose_manifests();  // the runs alone have them too
    Store store = world.must_open();
    expect_them(store);
    EXPECT_GT(store.create_keyspace("another")->id(), names["newest"]) << "no id is given again";
  }
}

/// Each takes from the manifest what it held, and nothing of its neighbours'.
TEST(Losses, OfACatalogueOfManyRunsEachIsWrittenAnew) {
  Hurt world;
  world.compaction.level0_trigger = 2;
  world.compaction.output_run_bytes = 1;
  world.options.cache_bytes = 0;
  {
    Store store = world.must_open();
    for (const char* name : {"a", "b", "c"}) {
      EXPECT_TRUE(store.create_keyspace(name).ok());
      EXPECT_TRUE(store.checkpoint().ok());
    }
    Hurt::do_the_background_work(store);
    const std::vector<std::string> runs = world.runs_of(kCatalogKeyspace);
    EXPECT_GE(runs.size(), 4U) << "one for each name, one for the next id";
    for (const std::string& run : runs) world.hurt(run);
    EXPECT_TRUE(store.scrub().ok());
    EXPECT_EQ(world.runs_of(kCatalogKeyspace).size(), runs.size());
  }
  world.disk->kill();
  world.lose_manifests();  // the runs alone have the names
  const Store store = world.must_open();
  EXPECT_TRUE(store.damage().empty());
  for (const char* name : {"a", "b", "c"}) EXPECT_TRUE(store.keyspace(name).ok()) << name;
}

/// The run that tells of the drop could not be read at first.
TEST(Losses, AKeyspaceThatCameBackKeepsWhatWasWrittenSince) {
  Hurt world;
  world.compaction.level0_trigger = 100;
  Keyspace k;
  {
    Store store = world.must_open();
    k = *store.create_keyspace("k");
    EXPECT_TRUE(store.checkpoint().ok());
    EXPECT_TRUE(store.drop_keyspace(k).ok());
    go_on(store);
  }
  world.disk->kill();
  world.forget_names();
  const std::vector<std::string> runs = world.runs_of(kCatalogKeyspace);
  world.disk->inject({.kind = FaultKind::kOpenError, .path_contains = *std::max_element(runs.begin(), runs.end())});
  Store store = world.must_open();
  EXPECT_TRUE(store.put(k, "key", "value").ok());
  world.disk->clear_faults();
  Hurt::do_the_background_work(store);
  EXPECT_FALSE(store.keyspace("k").ok());
  for (int start = 0; start < 2; ++start) {
    const Result<std::string> got = store.get(k, "key");
    ASSERT_TRUE(got.ok()) << "start " << start << ": " << got.status().to_string();
    EXPECT_EQ(*got, "value");
    world.disk->kill();
    store = world.must_open();
  }
}

TEST(Losses, WhereARunThatNothingDescribesIsAllThatIsLeftTheStoreIsServed) {
  Hurt world;
  { const Store store = world.must_open(); }
  world.disk->kill();
  const auto all = contents(*world.disk, "store");
  for (const auto& [path, bytes] : all) world.lose(path);
  ASSERT_TRUE(publish(*world.disk, "store/runs", "0000000000000001.run", std::string(4096, 'x')).ok());
  for (int start = 0; start < 3; ++start) {
    Store store = world.must_open();
    const std::string name = "k" + std::to_string(start);
    EXPECT_TRUE(store.create_keyspace(name).ok());
    EXPECT_TRUE(store.put(*store.keyspace(name), "key", "value").ok());
    if (start == 1) { EXPECT_TRUE(store.checkpoint().ok()); }
    for (int i = 0; i <= start; ++i) EXPECT_EQ(*store.get(*store.keyspace("k" + std::to_string(i)), "key"), "value");
    world.disk->kill();
  }
}

/// Keys of one event stand with a range erase of the same event, over which they win; some are lost.
TEST(Losses, ARangeEraseDoesNotDenyTheLostPutsOfItsOwnEvent) {
  Hurt world;
  Keyspace k;
  Store store = world.must_open();
  k = *store.create_keyspace("k");
  Batch batch;
  batch.erase_range(k, "key", "kez");
  Random random(1);
  for (int i = 0; i < 100; ++i) batch.put(k, "key" + std::to_string(100 + i), noise(1000, random));
  EXPECT_TRUE(store.write(batch).ok());
  go_on(store);
  const std::vector<std::string> runs = world.runs_of(k.id());
  ASSERT_EQ(runs.size(), 1U);
  world.hurt_beyond_parity(runs[0]);
  EXPECT_TRUE(store.scrub().ok());
  EXPECT_NE(world.runs_of(k.id()), runs) << "written anew with what is left";
  std::size_t lost = 0;
  for (int i = 0; i < 100; ++i) {
    const Status got = store.get(k, "key" + std::to_string(100 + i)).status();
    EXPECT_FALSE(got.is(Code::kNotFound)) << i;
    lost += got.is(Code::kDataLoss);
  }
  EXPECT_GT(lost, 0U);
  EXPECT_LT(lost, 20U);
}

TEST(Losses, AKeyspaceThatLostItsNameAndAllThatItHeldIsStillThere) {
  Hurt world;
  Keyspace k;
  {
    Store store = world.must_open();
    k = *store.create_keyspace("k");
    EXPECT_TRUE(store.put(k, "key", "value").ok());
    go_on(store);
  }
  world.disk->kill();
  world.forget_names();
  for (const std::uint32_t keyspace : {kCatalogKeyspace, k.id()}) {
    for (const std::string& run : world.runs_of(keyspace)) world.lose(run);
  }
  for (int start = 0; start < 3; ++start) {
    Store store = world.must_open();
    EXPECT_TRUE(store.keyspace("keyspace-1").ok()) << "start " << start;
    Hurt::do_the_background_work(store);
    EXPECT_TRUE(store.get(k, "key").status().is(start == 2 ? Code::kNotFound : Code::kDataLoss)) << "start " << start;
    if (start == 1) Hurt::accept_all(store);
    world.disk->kill();
  }
}

// A file that one start was refused is no loss, and giving it up must not serve what the file would take back.
TEST(Losses, WhatCanBeBroughtBackIsNotGivenUp) {
  Hurt world;
  const Keyspace k = world.with_one_in_a_run("key", "value");
  world.disk->inject({.kind = FaultKind::kOpenError, .path_contains = world.newest("runs")});
  {
    Store store = world.must_open();
    EXPECT_TRUE(store.get(k, "key").status().is(Code::kDataLoss));
    ASSERT_EQ(store.damage().size(), 1U);
    world.disk->clear_faults();
    Hurt::accept_all(store);
    EXPECT_TRUE(store.damage().empty());
    const Result<std::string> got = store.get(k, "key");
    ASSERT_TRUE(got.ok()) << got.status().to_string();
    EXPECT_EQ(*got, "value");
  }
  world.disk->kill();
  EXPECT_EQ(*world.must_open().get(k, "key"), "value");
}

TEST(Losses, OnlyWhatIsLeftOfALossIsGivenUp) {
  Hurt world;
  Keyspace k;
  std::map<std::string, std::string> model;
  {
    Store store = world.must_open();
    k = *store.create_keyspace("k");
    Random random(1);
    for (int i = 0; i < 100; ++i) {
      const std::string key = "key" + std::to_string(100 + i);
      model[key] = noise(1000, random);
      EXPECT_TRUE(store.put(k, key, model[key]).ok());
    }
    go_on(store);
  }
  world.disk->kill();
  const std::string run = world.runs_of(k.id()).front();
  world.hurt_beyond_parity(run);
  world.disk->inject({.kind = FaultKind::kOpenError, .path_contains = run});
  Store store = world.must_open();
  for (const auto& [key, value] : model) EXPECT_TRUE(store.get(k, key).status().is(Code::kDataLoss)) << key;
  world.disk->clear_faults();
  Hurt::accept_all(store);
  std::size_t gone = 0;
  for (int start = 0; start < 2; ++start) {
    gone = 0;
    for (const auto& [key, value] : model) {
      const Result<std::string> got = store.get(k, key);
      gone += got.status().is(Code::kNotFound);
      if (got.ok()) {
        EXPECT_EQ(*got, value) << key;
      } else {
        EXPECT_TRUE(got.status().is(Code::kNotFound)) << key << ": " << got.status().to_string();
      }
    }
    EXPECT_GT(gone, 0U);
    EXPECT_LT(gone, 20U);
    ASSERT_EQ(store.damage().size(), 1U);
    EXPECT_TRUE(store.damage()[0].accepted);
    world.disk->kill();
    store = world.must_open();
  }
}

TEST(Losses, TheLossOfTheNewestManifestDoesNotMakeALossForgotten) {
  Hurt world;
  Keyspace k;
  {
    Store store = world.must_open();
    k = *store.create_keyspace("k");
    EXPECT_TRUE(store.checkpoint().ok());
    EXPECT_TRUE(store.put(k, "only in the ring", "1", {kProcess}).ok());
  }
  world.disk->kill();
  world.lose(world.newest("wal", "tail"));
  { EXPECT_TRUE(world.must_open().get(k, "only in the ring").status().is(Code::kDataLoss)); }
  world.disk->kill();
  world.lose(world.newest("snapshots"));
  world.lose("store/recoveries/manifest");
  const Result<std::string> got = world.must_open().get(k, "only in the ring");
  EXPECT_TRUE(got.status().is(Code::kDataLoss)) << got.status().to_string();
}

/// The log lost an event; then snapshots/ is lost, and a run that only the manifests named.
TEST(Losses, TheLossOfAllManifestsDoesNotMakeALossForgotten) {
  Hurt world;
  Keyspace k;
  {
    Store store = world.must_open();
    k = *store.create_keyspace("k");
    EXPECT_TRUE(store.put(k, "in a run", "1").ok());
    EXPECT_TRUE(store.checkpoint().ok());
    EXPECT_TRUE(store.put(k, "only in the ring", "1", {kProcess}).ok());
  }
  world.disk->kill();
  world.lose(world.newest("wal", "tail"));
  { EXPECT_TRUE(world.must_open().get(k, "only in the ring").status().is(Code::kDataLoss)); }
  world.disk->kill();
  const auto manifests = contents(*world.disk, "store/snapshots");
  for (const auto& [path, bytes] : manifests) world.lose(path);
  world.lose("store/runs/0000000000000002.run");
  RecoveryReport report;
  const Store store = world.must_open(&report);
  ASSERT_EQ(report.findings.front().detail, "only recoveries/manifest has it");
  for (const char* key : {"in a run", "only in the ring"}) {
    const Result<std::string> got = store.get(k, key);
    EXPECT_TRUE(got.status().is(Code::kDataLoss)) << key << ": " << got.status().to_string();
  }
}

/// Keyspaces "k" and "other" of a store with a past. "loaded" of k comes from a bulk load, which a compaction has
/// merged with the rest since.
struct LoadedSince : Hurt {
  LoadedSince() {
    options.history = History{std::chrono::hours(1), 1 << 30};
    Store store = must_open();
    k = *store.create_keyspace("k");
    other = *store.create_keyspace("other");
    put_and_go_on(store, "a");
    put_and_go_on(store, "b");
    past = read_catalogue(*disk, "store", std::nullopt)->highest_number;
    bool given = false;
    EXPECT_TRUE(store
                    .bulk_load(k,
                               [&](std::string_view& key, std::string_view& value) -> Result<bool> {
                                 key = value = "loaded";
                                 return !std::exchange(given, true);
                               })
                    .ok());
    EXPECT_TRUE(store.compact(k).ok());
    put_and_go_on(store, "c");
    put_and_go_on(store, "d");
    disk->kill();
  }
  void put_and_go_on(Store& store, const char* key) {
    EXPECT_TRUE(store.put(k, key, "1").ok());
    EXPECT_TRUE(store.put(other, key, "1").ok());
    EXPECT_TRUE(store.checkpoint().ok());
    clock.advance(std::int64_t{1200} * 1'000'000'000);
  }
  /// The manifests of after the load.
  [[nodiscard]] std::vector<std::string> since() const {
    std::vector<std::string> all;
    const Catalogue catalogue = *read_catalogue(*disk, "store", std::nullopt);
    for (const Generation& generation : catalogue.generations) {
      if (generation.number > past) all.push_back("store/snapshots/" + generation.name);
    }
    EXPECT_GE(all.size(), kGenerationsKept);
    EXPECT_LT(all.size(), catalogue.generations.size()) << "there is a past";
    return all;
  }
  void expect_the_rest(const Store& store) const {
    for (const char* key : {"a", "b", "c", "d"}) EXPECT_EQ(*store.get(other, key), "1");
  }
  Keyspace k, other;
  std::uint64_t past = 0;  // the newest manifest before the load
};

TEST(Losses, ThePastIsNotTakenForTheNewestWhereRecoveriesHasThat) {
  for (const bool gone : {false, true}) {
    LoadedSince world;
    for (const std::string& path : world.since()) gone ? world.lose(path) : world.hurt(path);
    for (int start = 0; start < 2; ++start) {
      const Store store = world.must_open();
      const Result<std::string> got = store.get(world.k, "loaded");
      EXPECT_TRUE(got.ok()) << "gone: " << gone << ", " << got.status().to_string();
      world.expect_the_rest(store);
      EXPECT_TRUE(store.damage().empty());
      world.disk->kill();
    }
  }
}

TEST(Losses, ALoadThatOnlyUnusableManifestsMayNameIsTold) {
  LoadedSince world;
  for (const std::string& path : world.since()) world.hurt(path);
  world.hurt("store/recoveries/manifest");
  for (int start = 0; start < 2; ++start) {
    RecoveryReport report;
    Store store = world.must_open(&report);
    if (start == 0) { EXPECT_FALSE(report.clean()); }
    const Result<std::string> got = store.get(world.k, "loaded");
    EXPECT_TRUE(got.status().is(Code::kDataLoss)) << (got.ok() ? *got : got.status().to_string());
    EXPECT_EQ(*store.get(world.k, "d"), "1") << "newer than the load";
    world.expect_the_rest(store);
    ASSERT_EQ(store.damage().size(), 1U);
    EXPECT_EQ(store.damage().front().cause, "load_lost");
    if (start == 1) {
      Hurt::accept_all(store);
      const Result<std::string> accepted = store.get(world.k, "loaded");
      EXPECT_TRUE(accepted.status().is(Code::kNotFound)) << (accepted.ok() ? *accepted : accepted.status().to_string());
    }
    world.disk->kill();
  }
}

// So is the load whose event the log has lost, though what it touches is known: no key of its own.
TEST(Losses, ALoadThatTheLogHasLostTooIsTold) {
  LoadedSince world;
  for (const std::string& path : world.since()) world.hurt(path);
  world.hurt("store/recoveries/manifest");
  const std::string mark = [&] {
    EventBuilder event;
    event.erase_range(kCatalogKeyspace, catalog_key(kLoadedKey), catalog_key(world.k.id()));
    return std::string(event.bytes());
  }();
  unsigned hurt = 0;
  const std::vector<DirectoryEntry> entries = *world.disk->list("store/wal");
  for (const DirectoryEntry& entry : entries) {
    if (!parse_segment_name(entry.name)) continue;
    const std::string path = "store/wal/" + entry.name;
    std::vector<FrameHeader> frames;
    read_segment(*world.disk, path, std::nullopt, [&](const FrameView& frame) {
      if (frame.payload.find(mark) != std::string_view::npos) frames.push_back(frame.header);
    });
    for (const FrameHeader& frame : frames) {
      ASSERT_TRUE(world.disk->overwrite(path, frame.offset, std::string(frame.frame_bytes, 'x')).ok());
      ++hurt;
    }
  }
  ASSERT_GE(hurt, 1U);
  for (int start = 0; start < 2; ++start) {
    Store store = world.must_open();
    const Result<std::string> got = store.get(world.k, "loaded");
    EXPECT_TRUE(got.status().is(Code::kDataLoss)) << (got.ok() ? *got : got.status().to_string());
    world.disk->kill();
  }
}

TEST(Losses, ARunThatTheDeviceRefusedOnceIsNoLossAnyMore) {
  Hurt world;
  const Keyspace k = world.with_one_in_a_run("a", "1");
  world.disk->inject({.kind = FaultKind::kOpenError, .path_contains = "runs/0000000000000002.run", .times = 0});
  {
    Store store = world.must_open();
    EXPECT_TRUE(store.get(k, "a").status().is(Code::kDataLoss));
    EXPECT_TRUE(store.put(k, "b", "2").ok());
    EXPECT_TRUE(store.checkpoint().ok());  // passes the loss on
  }
  world.disk->kill();
  world.disk->clear_faults();
  for (int start = 0; start < 2; ++start) {
    Store store = world.must_open();
    EXPECT_TRUE(store.damage().empty()) << "start " << start;
    EXPECT_EQ(*store.get(k, "a"), "1");
    EXPECT_TRUE(store.compact(k).ok());  // hands on the damage map of the newest manifest
    world.disk->kill();
  }
}

/// Frames in the middle of the log, all of whose sectors the device refuses to one start, and one of them to the next.
TEST(Losses, WhatTheDeviceRefusedOfTheLogOnceIsNoLossAnyMore) {
  for (const bool checkpointed : {false, true}) {
    SCOPED_TRACE(checkpointed);
    Hurt world;
    Keyspace k;
    {
      Store store = world.must_open();
      k = *store.create_keyspace("k");
      for (const char* key : {"a", "b", "c", "d"}) EXPECT_TRUE(store.put(k, key, "1").ok());
    }
    const std::string segment = world.newest("wal");
    world.disk->kill();
    { EXPECT_TRUE(world.must_open().put(k, "later", "1").ok()); }
    world.disk->power_cut(100);
    std::map<Sequence, FrameHeader> frames;
    read_segment(*world.disk, segment, std::nullopt,
                 [&](const FrameView& frame) { frames.emplace(frame.header.first_sequence, frame.header); });
    const std::string whole = *read_whole(*world.disk, segment, 1 << 20);
    const auto lose = [&](const FrameHeader& frame) {
      for (std::uint64_t at = 0; at < frame.frame_bytes; at += kSectorBytes)
        ASSERT_TRUE(world.disk->lose_sector(segment, frame.offset + at).ok());
    };
    const auto give_back = [&](const FrameHeader& frame) {
      world.give_back(segment, frame.offset, whole.substr(frame.offset, frame.frame_bytes));
    };
    const auto expect_doubt = [&](const Store& store) {
      for (const char* key : {"b", "c"}) EXPECT_TRUE(store.get(k, key).status().is(Code::kDataLoss)) << key;
      EXPECT_TRUE(store.get(k, "never").status().is(Code::kNotFound)) << "the frame behind them tells which keys it is";
    };
    lose(frames.at(3));
    lose(frames.at(4));
    {
      Store store = world.must_open();
      expect_doubt(store);
      if (checkpointed) { EXPECT_TRUE(store.checkpoint().ok()); }  // of a state without them
    }
    world.disk->kill();
    give_back(frames.at(3));
    { expect_doubt(world.must_open()); }
    world.disk->kill();
    give_back(frames.at(4));
    for (int start = 0; start < 2; ++start) {
      SCOPED_TRACE(start);
      RecoveryReport report;
      const Store store = world.must_open(&report);
      if (checkpointed) {
        expect_doubt(store);
      } else {
        EXPECT_EQ(report.losses_found_again, start == 0 ? 1U : 0U);
        EXPECT_TRUE(store.damage().empty());
        EXPECT_TRUE(store.get(k, "never").status().is(Code::kNotFound));
        for (const char* key : {"a", "b", "c", "d", "later"}) {
          const Result<std::string> got = store.get(k, key);
          EXPECT_TRUE(got.ok() && *got == "1") << key << ": " << got.status().to_string();
        }
      }
      world.disk->kill();
    }
  }
}

/// The newest segment is refused to one start: nothing tells how much it held, and its last numbers were given anew.
TEST(Losses, ANewestSegmentThatComesBackTakesNoLossBack) {
  Hurt world;
  Keyspace k;
  std::string segment;
  {
    Store store = world.must_open();
    k = *store.create_keyspace("k");
    EXPECT_TRUE(store.checkpoint().ok());
    for (const char* key : {"a", "b", "c", "d"}) EXPECT_TRUE(store.put(k, key, "1").ok());
    segment = world.newest("wal");
  }
  world.disk->power_cut(100);
  world.lose(world.newest("wal", "tail"));
  const std::string headers = read_whole(*world.disk, segment, 1 << 20)->substr(0, kSegmentFramesAt);
  for (std::uint64_t at = 0; at < kSegmentFramesAt; at += kSectorBytes)
    ASSERT_TRUE(world.disk->lose_sector(segment, at).ok());
  {
    Store store = world.must_open();
    EXPECT_TRUE(store.get(k, "b").status().is(Code::kDataLoss));
    EXPECT_TRUE(store.put(k, "e", "2").ok());
    EXPECT_TRUE(store.put(k, "f", "2").ok());
  }
  world.disk->kill();
  world.give_back(segment, 0, headers);
  const Store store = world.must_open();
  for (const char* key : {"a", "b", "c", "d"}) {
    const Result<std::string> got = store.get(k, key);
    EXPECT_TRUE(got.ok() ? *got == "1" : got.status().is(Code::kDataLoss)) << key << ": " << got.status().to_string();
  }
  for (const char* key : {"e", "f"}) EXPECT_EQ(*store.get(k, key), "2");
}

TEST(Losses, AnOlderCopyOfTheRingHidesNoWholeFrame) {
  Hurt world;
  Keyspace k;
  {
    Store store = world.must_open();
    k = *store.create_keyspace("k");
    const std::string ring = world.newest("wal", "tail");
    const std::string older = *read_whole(*world.disk, ring, 1 << 20);
    for (const char* key : {"a", "b", "c"}) EXPECT_TRUE(store.put(k, key, "durable").ok());
    world.disk->kill();
    ASSERT_TRUE(world.disk->overwrite(ring, 0, older).ok());
  }
  Store store = world.must_open();
  for (const char* key : {"a", "b", "c"}) {
    const Result<std::string> got = store.get(k, key);
    EXPECT_TRUE(got.ok()) << key << ": " << got.status().to_string();
  }
}

TEST(Losses, TheNewestSegmentIsMissedAlsoWhereTheLogSeemsToEndBeforeIt) {
  Hurt world;
  Keyspace k;
  { k = *world.must_open().create_keyspace("k"); }
  world.disk->kill();
  { EXPECT_TRUE(world.must_open().put(k, "key", "value").ok()); }
  world.disk->power_cut(0);
  world.behead_newest_segment();
  RecoveryReport report;
  const Store store = world.must_open(&report);
  EXPECT_FALSE(report.clean());
  EXPECT_TRUE(store.get(k, "key").status().is(Code::kDataLoss)) << store.get(k, "key").status().to_string();
}

TEST(Losses, OfTheNewestSegmentAreToldByTheRingThatNoSegmentNames) {
  for (const bool written_since : {true, false}) {
    SCOPED_TRACE(written_since ? "its ring has seen it all" : "it began with what only the ring before had");
    Hurt world;
    Keyspace k;
    {
      Store store = world.must_open();
      k = *store.create_keyspace("k");
      if (!written_since) { EXPECT_TRUE(store.put(k, "key", "value", {kProcess}).ok()); }
    }
    world.disk->power_cut(100);  // with no ring of its own any more, the segment before ends as it may
    {
      Store store = world.must_open();
      if (written_since) { EXPECT_TRUE(store.put(k, "key", "value").ok()); }
    }
    world.disk->kill();
    world.lose(world.newest("wal"));
    for (int start = 0; start < 2; ++start) {
      const Store store = world.must_open();
      const Status got = store.get(k, "key").status();
      EXPECT_TRUE(got.is(Code::kDataLoss)) << "start " << start << ": " << got.to_string();
      world.disk->kill();
    }
  }
}

// Wherever it hits: the keys that stood there are in doubt, and no other.
TEST(Losses, ABurstOfNoiseInTheLogConcernsTheKeysThatStoodThere) {
  constexpr std::uint64_t kBurst = 64 << 10;
  constexpr int kKeys = 90;
  const auto key = [](int i) { return "key" + std::to_string(i); };
  Hurt world;
  world.options.segment_bytes = 256 << 10;
  Keyspace k;
  const auto write = [&](Store& store, int first, int last) {
    for (int i = first; i < last; ++i) EXPECT_TRUE(store.put(k, key(i), std::to_string(i)).ok());
  };
  {
    Store store = world.must_open();
    k = *store.create_keyspace("k");
    write(store, 0, kKeys / 2);
  }
  world.disk->kill();
  {
    Store store = world.must_open();
    write(store, kKeys / 2, kKeys);
  }
  world.disk->kill();
  struct Written {
    std::string path;
    std::uint64_t end = 0;  // of what may be hit so that something is left behind it
  };
  std::vector<Written> log;
  const std::vector<DirectoryEntry> entries = *world.disk->list("store/wal");
  for (const DirectoryEntry& entry : entries) {
    if (!parse_segment_name(entry.name)) continue;
    const std::string path = "store/wal/" + entry.name;
    log.push_back({path, read_segment(*world.disk, path, std::nullopt, [](const FrameView&) {}).end_offset});
  }
  ASSERT_GE(log.size(), 4U);
  log.back().end -= 2 * kSectorBytes;
  const auto whole = world.disk->clone(1);
  Random random(1);
  for (const Written& segment : log) {
    // One copy of the header is left, and a frame behind it, here or in the next file.
    for (std::uint64_t at = kSectorBytes; at + kBurst <= segment.end; at += 3000) {
      SCOPED_TRACE(segment.path + " at " + std::to_string(at));
      world.disk = whole->clone(1);
      ASSERT_TRUE(world.disk->overwrite(segment.path, at, noise(kBurst, random)).ok());
      int lost = 0;
      for (int start = 0; start < 2; ++start) {
        const int before = std::exchange(lost, 0);
        const Store store = world.must_open();
        for (int i = 0; i < kKeys; ++i) {
          const Result<std::string> got = store.get(k, key(i));
          if (got.ok()) { EXPECT_EQ(*got, std::to_string(i)); }
          EXPECT_TRUE(got.ok() || got.status().is(Code::kDataLoss)) << got.status().to_string();
          lost += got.ok() ? 0 : 1;
        }
        EXPECT_TRUE(store.get(k, "never").status().is(Code::kNotFound));
        EXPECT_LE(lost, 9);
        if (start == 1) { EXPECT_EQ(lost, before); }
        world.disk->kill();
      }
    }
  }
}

TEST(Losses, ALostEraseOfAnEmptyRangeConcernsNoKey) {
  Hurt world;
  Keyspace k;
  {
    Store store = world.must_open();
    k = *store.create_keyspace("k");
    Batch batch;
    Random random(1);
    batch.put(k, "lost", noise(60'000, random));
    batch.erase_range(k, "z", "a");
    EXPECT_TRUE(store.write(batch).ok());
    EXPECT_TRUE(store.put(k, "after", "1").ok());
  }
  world.disk->kill();
  const std::string segment = world.newest("wal");
  std::uint64_t from = 0;
  read_segment(*world.disk, segment, std::nullopt, [&](const FrameView& frame) {
    if (frame.header.frame_bytes > 60'000) from = frame.header.offset;
  });
  ASSERT_NE(from, 0U);
  ASSERT_TRUE(world.disk->overwrite(segment, from + 4 * kSectorBytes, std::string(6 * kSectorBytes, 'x')).ok());
  const Store store = world.must_open();
  EXPECT_TRUE(store.get(k, "lost").status().is(Code::kDataLoss));
  EXPECT_EQ(*store.get(k, "after"), "1");
  EXPECT_TRUE(store.get(k, "never").status().is(Code::kNotFound));
}

}  // namespace
}  // namespace daruma
