// SPDX-License-Identifier: Apache-2.0
//
// Options::wal_copies = 2: the log stands in wal/ and in wal-copy/, and either one alone gives everything back.
//
// What is held: whatever happens to one of the two directories, before a start or while the store runs, costs nothing,
// and is told.
#include "engine/engine.h"

#include <map>
#include <new>
#include <set>

#include <engine_testing.h>
#include <gtest/gtest.h>

namespace daruma {
namespace {

const std::string kSides[] = {"store/wal", "store/wal-copy"};

Options twice() {
  Options options = small();
  options.wal_copies = 2;
  return options;
}

std::vector<std::string> files_in(SimStorage& disk, const std::string& directory) {
  std::vector<std::string> files;
  const Result<std::vector<DirectoryEntry>> entries = disk.list(directory);
  if (!entries.ok()) return files;
  for (const DirectoryEntry& entry : *entries) files.push_back(directory + "/" + entry.name);
  return files;
}
std::size_t segments_in(SimStorage& disk, const std::string& directory) {
  std::size_t count = 0;
  for (const std::string& file : files_in(disk, directory)) count += file.ends_with(".log");
  return count;
}
void wipe(SimStorage& disk, const std::string& directory) {
  for (const std::string& file : files_in(disk, directory)) ASSERT_TRUE(disk.remove(file).ok());
  ASSERT_TRUE(disk.sync_directory(directory).ok());
}
void write_files(SimStorage& disk, const std::string& directory, const std::map<std::string, std::string>& files) {
  for (const auto& [file, bytes] : files) {
    std::unique_ptr<File> out = *disk.open(file, OpenMode::kCreate);
    ASSERT_TRUE(out->write(0, bytes).ok());
    ASSERT_TRUE(out->sync().ok());
  }
  ASSERT_TRUE(disk.sync_directory(directory).ok());
}
/// The directory as it once was.
void put_back(SimStorage& disk, const std::string& directory, const std::map<std::string, std::string>& old) {
  wipe(disk, directory);
  write_files(disk, directory, old);
}
std::string noise(std::size_t bytes, std::uint64_t seed) {
  std::string text(bytes, '\0');
  Random random(seed);
  for (char& c : text) c = static_cast<char>(random.next());
  return text;
}
bool tells(const RecoveryReport& report, const std::string& case_name) {
  return std::any_of(report.findings.begin(), report.findings.end(),
                     [&](const RecoveryFinding& finding) { return finding.case_name == case_name; });
}

/// A store with a log in several segments, and what it should hold.
struct Lived : World {
  std::map<std::string, std::string> model;
  std::set<std::string> erased;
  std::optional<Store> store;

  explicit Lived(std::uint64_t seed = 1) {
    disk = std::make_shared<SimStorage>(SimStorageOptions{.seed = seed});
    options = twice();
    start();
    EXPECT_TRUE(store->create_keyspace("k").ok());
  }
  RecoveryReport start() {
    store.reset();
    RecoveryReport report;
    store = must_open(&report);
    return report;
  }
  Status put(const std::string& key, std::size_t bytes, Durability durability = Durability::kPower) {
    std::string value = noise(bytes, model.size() * 7919 + bytes);
    Status status = store->put(*store->keyspace("k"), key, value, {.durability = durability});
    if (status.ok()) model[key] = std::move(value);
    return status;
  }
  void erase(const std::string& key) {
    ASSERT_TRUE(store->erase(*store->keyspace("k"), key).ok());
    model.erase(key);
    erased.insert(key);
  }
  /// Three segments, of which the newest has small frames and, unless the power fails, events that only the ring has.
  void live(bool power) {
    for (int i = 0; i < 8; ++i) ASSERT_TRUE(put("large" + std::to_string(i), 60'000).ok());
    for (int i = 0; i < 6; ++i) ASSERT_TRUE(put("small" + std::to_string(i), 200).ok());
    if (!power) {
      for (int i = 0; i < 4; ++i) ASSERT_TRUE(put("ring" + std::to_string(i), 100, Durability::kProcess).ok());
    }
  }
  void die(bool power) {
    if (power) {
      disk->power_cut(0);
    } else {
      disk->kill();
    }
    store.reset();
  }
  void expect_all() {
    const Result<Keyspace> k = store->keyspace("k");
    ASSERT_TRUE(k.ok());
    for (const auto& [key, value] : model) {
      const Result<std::string> got = store->get(*k, key);
      ASSERT_TRUE(got.ok()) << key << ": " << got.status().to_string();
      ASSERT_TRUE(*got == value) << key;
    }
    for (const std::string& key : erased) ASSERT_TRUE(store->get(*k, key).status().is(Code::kNotFound)) << key;
  }
  /// Starts, and finds everything.
  RecoveryReport expect_nothing_lost() {
    const RecoveryReport report = start();
    EXPECT_TRUE(report.clean()) << report.to_text();
    EXPECT_TRUE(store->damage().empty());
    EXPECT_EQ(report.outcome, "served");
    expect_all();
    return report;
  }
  /// The same story on another disk.
  Lived(const Lived& other, std::uint64_t disk_seed) : model(other.model), erased(other.erased) {
    options = other.options;
    seed = other.seed;  // no start gives an identity a second time
    disk = std::shared_ptr<SimStorage>(other.disk->clone(disk_seed));
  }
};

/// A life for each directory that may be hurt, and for each way to end; `lived(world, side, power)`: until it is ended.
template <typename Each>
void for_each_life(const Each& lived) {
  for (const std::string& side : kSides) {
    for (const bool power : {false, true}) {
      SCOPED_TRACE(side + (power ? ", power cut" : ", kill"));
      Lived world;
      world.live(power);
      lived(world, side, power);
      if (testing::Test::HasFailure()) return;
    }
  }
}
/// The same, ended.
template <typename Each>
void for_each_death(const Each& dead) {
  for_each_life([&](Lived& world, const std::string& side, bool power) {
    world.die(power);
    dead(world, side, power);
  });
}

TEST(LogCopies, BothDirectoriesHoldTheSameSegments) {
  Lived world;
  world.live(true);
  EXPECT_EQ(world.store->stats().log_copies, 2U);
  EXPECT_TRUE(world.store->stats().background.ok());
  ASSERT_EQ(segments_in(*world.disk, kSides[0]), 3U);
  for (const std::string& file : files_in(*world.disk, kSides[0])) {
    const std::string copy = kSides[1] + file.substr(kSides[0].size());
    EXPECT_TRUE(*read_whole(*world.disk, file, 1 << 30) == *read_whole(*world.disk, copy, 1 << 30)) << file;
  }
  world.die(true);
  const RecoveryReport report = world.expect_nothing_lost();
  EXPECT_TRUE(report.findings.empty()) << report.to_text();
}

TEST(LogCopies, ADirectoryThatIsEmptiedCostsNothing) {
  for (const unsigned then : {1U, 2U}) {
    SCOPED_TRACE("then " + std::to_string(then));
    for_each_death([&](Lived& world, const std::string& side, bool power) {
      wipe(*world.disk, side);
      world.options.wal_copies = then;
      const RecoveryReport report = world.expect_nothing_lost();
      EXPECT_TRUE(tells(report, "log_copy_missing")) << report.to_text();
      ASSERT_TRUE(Engine::of(*world.store).step().ok());
      ASSERT_TRUE(world.put("after", 100).ok());
      world.die(power);
      world.expect_nothing_lost();
    });
  }
}

TEST(LogCopies, ADirectoryThatCannotBeReadCostsNothing) {
  for_each_death([](Lived& world, const std::string& side, bool) {
    world.disk->inject({.kind = FaultKind::kReadError, .path_contains = side + "/"});
    const RecoveryReport report = world.expect_nothing_lost();
    EXPECT_EQ(tells(report, "frame_healed"), side == kSides[0]) << report.to_text();
  });
}

TEST(LogCopies, ADirectoryThatTakesNoWritesCostsNothing) {
  for (const std::string& side : kSides) {
    SCOPED_TRACE(side);
    Lived world;
    world.live(true);
    world.die(true);
    world.disk->inject({.kind = FaultKind::kWriteError, .path_contains = side + "/"});
    world.disk->inject({.kind = FaultKind::kNoSpace, .path_contains = side + "/"});
    world.disk->inject({.kind = FaultKind::kSyncError, .path_contains = side + "/"});
    world.expect_nothing_lost();
    EXPECT_EQ(world.store->stats().log_copies, 1U);
    EXPECT_FALSE(world.store->stats().background.ok());
    ASSERT_TRUE(world.put("after", 100).ok());
    world.die(true);
    world.expect_nothing_lost();
    world.disk->clear_faults();
    ASSERT_TRUE(Engine::of(*world.store).step().ok());
    EXPECT_EQ(world.store->stats().log_copies, 2U);
  }
}

TEST(LogCopies, AnyFileOfOneDirectoryMayBeLostOrHurtWhole) {
  for (const bool power : {false, true}) {
    Lived lived;
    lived.live(power);
    lived.die(power);
    std::uint64_t seed = 100;
    for (const std::string& side : kSides) {
      for (const std::string& file : files_in(*lived.disk, side)) {
        for (const char* how : {"removed", "emptied", "cut in half", "zeroed", "noise"}) {
          SCOPED_TRACE(file + " " + how + (power ? ", power cut" : ", kill"));
          Lived world(lived, ++seed);
          const std::uint64_t bytes = read_whole(*world.disk, file, 1 << 30)->size();
          const std::string_view what(how);
          if (what == "removed") { ASSERT_TRUE(world.disk->remove(file).ok()); }
          if (what == "emptied") { ASSERT_TRUE(world.disk->truncate(file, 0).ok()); }
          if (what == "cut in half") { ASSERT_TRUE(world.disk->truncate(file, bytes / 2 / 4096 * 4096).ok()); }
          if (what == "zeroed") { ASSERT_TRUE(world.disk->overwrite(file, 0, std::string(bytes, '\0')).ok()); }
          if (what == "noise") { ASSERT_TRUE(world.disk->overwrite(file, 0, noise(bytes, seed)).ok()); }
          world.expect_nothing_lost();
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST(LogCopies, AnySectorOfOneDirectoryMayBeHurt) {
  std::uint64_t tried = 0;
  for (const bool power : {false, true}) {
    Lived lived;
    lived.live(power);
    lived.die(power);
    for (const std::string& side : kSides) {
      for (const std::string& file : files_in(*lived.disk, side)) {
        const std::string bytes = *read_whole(*lived.disk, file, 1 << 30);
        // Every other sector with each end of the life.
        for (std::uint64_t at = power ? kSectorBytes : 0; at + kSectorBytes <= bytes.size(); at += 2 * kSectorBytes) {
          SCOPED_TRACE(file + " at " + std::to_string(at) + (power ? ", power cut" : ", kill"));
          Lived world(lived, ++tried);
          switch (tried % 5) {
            case 0: ASSERT_TRUE(world.disk->flip_bit(file, at + tried % kSectorBytes, tried % 8).ok()); break;
            case 1: ASSERT_TRUE(world.disk->overwrite(file, at, std::string(kSectorBytes, '\0')).ok()); break;
            case 2: {  // misdirected: another sector of the file
              const std::uint64_t from = (tried * 31) % (bytes.size() / kSectorBytes) * kSectorBytes;
              ASSERT_TRUE(world.disk->overwrite(file, at, std::string_view(bytes).substr(from, kSectorBytes)).ok());
              break;
            }
            case 3:
              world.disk->inject(
                  {.kind = FaultKind::kReadError, .path_contains = file, .offset = at, .bytes = kSectorBytes});
              break;
            default: {  // a burst beyond parity
              const std::size_t burst = std::min<std::size_t>(16 * kSectorBytes, bytes.size() - at);
              ASSERT_TRUE(world.disk->overwrite(file, at, std::string(burst, static_cast<char>(tried))).ok());
              break;
            }
          }
          world.expect_nothing_lost();
          if (HasFailure()) return;
        }
      }
    }
  }
  std::printf("places hurt: %llu\n", static_cast<unsigned long long>(tried));
}

TEST(LogCopies, OneDirectoryFailsWhileTheStoreRunsAndComesBack) {
  std::uint64_t seed = 0;
  for (const std::string& side : kSides) {
    for (const FaultKind kind :
         {FaultKind::kWriteError, FaultKind::kSyncError, FaultKind::kShortWrite, FaultKind::kNoSpace}) {
      for (const unsigned times : {0U, 1U, 2U, 5U}) {
        SCOPED_TRACE(side + ", fault " + std::to_string(static_cast<int>(kind)) + ", times " + std::to_string(times));
        Lived world(++seed);
        world.live(true);
        const std::uint64_t before = world.disk->faults_fired();
        world.disk->inject({.kind = kind, .path_contains = side + "/", .times = times});
        for (int i = 0; i < 12; ++i) ASSERT_TRUE(world.put("during" + std::to_string(i), i % 3 ? 300 : 60'000).ok());
        world.expect_all();
        EXPECT_GT(world.disk->faults_fired(), before);
        if (times == 0) {
          EXPECT_EQ(world.store->stats().log_copies, 1U);
          ASSERT_TRUE(world.store->checkpoint().ok());
          ASSERT_TRUE(Engine::of(*world.store).step().ok());
          EXPECT_EQ(world.store->stats().log_copies, 1U);
          EXPECT_FALSE(world.store->stats().background.ok()) << "one copy is told";
          ASSERT_TRUE(world.put("more", 300).ok());
          Lived cut(world, seed);  // the power fails now
          cut.disk->clear_faults();
          cut.disk->power_cut(0);
          cut.expect_nothing_lost();
        }
        world.disk->clear_faults();
        ASSERT_TRUE(Engine::of(*world.store).step().ok());
        ASSERT_TRUE(Engine::of(*world.store).step().ok());
        EXPECT_EQ(world.store->stats().log_copies, 2U);
        EXPECT_TRUE(world.store->stats().background.ok()) << world.store->stats().background.to_string();
        ASSERT_TRUE(world.put("after", 300).ok());
        for (const std::string& lost : kSides) {
          SCOPED_TRACE("then without " + lost);
          Lived alone(world, seed + 1);
          alone.disk->power_cut(0);
          wipe(*alone.disk, lost);
          alone.expect_nothing_lost();
        }
        if (HasFailure()) return;
      }
    }
  }
}

/// Nobody is refused for it, and neither the ballast nor history is given up.
TEST(LogCopies, AFullDeviceUnderOneDirectoryIsNoFullStore) {
  for (const std::string& side : kSides) {
    SCOPED_TRACE(side);
    Lived world;
    world.options.history = History{.time = std::chrono::hours(1)};
    world.start();
    world.live(true);
    ASSERT_TRUE(world.store->checkpoint().ok());
    ASSERT_TRUE(Engine::of(*world.store).step().ok());
    ASSERT_TRUE(stands_as_file(*world.disk, "store", "ballast"));
    const std::string oldest = files_in(*world.disk, "store/snapshots").front();
    world.disk->inject({.kind = FaultKind::kNoSpace, .path_contains = side + "/"});
    for (int round = 0; round < 4; ++round) {
      for (int i = 0; i < 12; ++i) ASSERT_TRUE(world.put("during" + std::to_string(i), 60'000).ok());
      EXPECT_TRUE(world.store->health().writes.ok()) << world.store->health().to_json();
      EXPECT_TRUE(stands_as_file(*world.disk, "store", "ballast"));
      ASSERT_TRUE(world.store->checkpoint().ok());
      if (round % 2 == 0) { ASSERT_TRUE(Engine::of(*world.store).step().ok()); }
    }
    EXPECT_EQ(files_in(*world.disk, "store/snapshots").front(), oldest);
    EXPECT_TRUE(world.store->incidents().empty());
    EXPECT_EQ(world.store->stats().log_copies, 1U);
    world.expect_all();
    world.disk->clear_faults();
    ASSERT_TRUE(Engine::of(*world.store).step().ok());
    EXPECT_EQ(world.store->stats().log_copies, 2U);
    world.die(true);
    world.expect_nothing_lost();
  }
}

TEST(LogCopies, AnErrorThatComesOnceCostsNoCopy) {
  for (const std::string& side : kSides) {
    for (const FaultKind kind : {FaultKind::kWriteError, FaultKind::kSyncError, FaultKind::kShortWrite}) {
      Lived world;
      world.live(true);
      world.disk->inject({.kind = kind, .path_contains = side + "/", .times = 1});
      ASSERT_TRUE(world.put("during", 300).ok());
      EXPECT_EQ(world.disk->faults_fired(), 1U);
      EXPECT_EQ(world.store->stats().log_copies, 2U) << "a new segment in both, at once";
    }
  }
}

/// A directory is back, and memory runs out behind the rename that gave it a segment of its own: the one before, which
/// stands in the other alone and has room, is over.
TEST(LogCopies, NothingIsAcknowledgedInASegmentThatHasASuccessor) {
  for (const std::string& side : kSides) {
    SCOPED_TRACE(side);
    Lived world;
    world.live(true);
    world.disk->inject({.kind = FaultKind::kWriteError, .path_contains = side + "/"});
    ASSERT_TRUE(world.put("during", 300).ok());
    ASSERT_EQ(world.store->stats().log_copies, 1U);
    world.disk->clear_faults();
    bool published = false;
    unsigned refused = 0;
    world.disk->on_operation([&](std::uint64_t, std::string_view what) {
      if (published && refused < 2) {  // the sync of the name, and taking the name back
        ++refused;
        throw std::bad_alloc();
      }
      published = published || (what.starts_with("rename") && what.ends_with(".log"));
    });
    (void)Engine::of(*world.store).step();
    world.disk->on_operation({});
    ASSERT_EQ(refused, 2U);
    ASSERT_TRUE(world.put("after", 300).ok());
    world.die(false);
    world.expect_nothing_lost();
  }
}

/// A device that dies is not asked at every write.
TEST(LogCopies, ADeadDirectoryIsTriedOnceInAWhile) {
  Lived world;
  world.live(true);
  world.disk->inject({.kind = FaultKind::kWriteError, .path_contains = kSides[1] + "/"});
  ASSERT_TRUE(world.put("notices", 300).ok());
  const std::uint64_t fired = world.disk->faults_fired();
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(world.put("small" + std::to_string(i), 300).ok());
  EXPECT_LE(world.disk->faults_fired(), fired + 4);
}

TEST(LogCopies, TheOptionMayChangeWithEachStart) {
  Lived world;
  world.options.wal_copies = 1;
  for (const unsigned copies : {1U, 2U, 2U, 1U, 1U, 2U, 1U}) {
    world.options.wal_copies = copies;
    world.expect_nothing_lost();
    EXPECT_EQ(world.store->stats().log_copies, copies);
    ASSERT_TRUE(world.put("large" + std::to_string(world.model.size()), 60'000).ok());
    ASSERT_TRUE(world.put("ring", 100, Durability::kProcess).ok());
    world.die(false);
  }
  world.expect_nothing_lost();
  EXPECT_GT(segments_in(*world.disk, kSides[1]), 0U) << "still needed";
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(world.put("small" + std::to_string(i), 300).ok());
    ASSERT_TRUE(world.store->checkpoint().ok());
  }
  for (const std::string& file : files_in(*world.disk, kSides[1])) EXPECT_TRUE(file.ends_with("/lock")) << file;
  world.die(true);
  world.expect_nothing_lost();
}

TEST(LogCopies, TheLogOfAnotherStoreIsLeftAlone) {
  Lived world(6);
  world.live(true);
  world.die(true);
  wipe(*world.disk, kSides[1]);
  World stranger;
  stranger.seed = 4711;
  { Store store = stranger.must_open(); }
  stranger.disk->kill();
  std::map<std::string, std::string> theirs;
  for (auto& [file, bytes] : contents(*stranger.disk, kSides[0]))
    theirs[kSides[1] + file.substr(kSides[0].size())] = std::move(bytes);
  write_files(*world.disk, kSides[1], theirs);
  std::map<std::string, std::string> before = contents(*world.disk, kSides[1]);
  const RecoveryReport report = world.expect_nothing_lost();
  EXPECT_TRUE(tells(report, "log_copy_refused")) << report.to_text();
  EXPECT_EQ(world.store->stats().log_copies, 1U);
  EXPECT_FALSE(world.store->stats().background.ok());
  ASSERT_TRUE(world.put("after", 300).ok());
  ASSERT_TRUE(world.store->checkpoint().ok());
  ASSERT_TRUE(Engine::of(*world.store).step().ok());
  std::map<std::string, std::string> after = contents(*world.disk, kSides[1]);
  before.erase(kSides[1] + "/lock");
  after.erase(kSides[1] + "/lock");
  EXPECT_TRUE(before == after);
}

TEST(LogCopies, AnOldStateOfADirectoryHidesNothingAndBringsNothingBack) {
  for (const bool checkpoints : {false, true}) {
    SCOPED_TRACE(checkpoints ? "segments used again" : "no checkpoint");
    for_each_life([&](Lived& world, const std::string& side, bool power) {
      const std::map<std::string, std::string> old = contents(*world.disk, side);
      for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 6; ++i) ASSERT_TRUE(world.put("more" + std::to_string(i), 50'000 + round).ok());
        world.erase("large" + std::to_string(round));
        if (checkpoints) { ASSERT_TRUE(world.store->checkpoint().ok()); }
      }
      world.erase("small0");
      ASSERT_TRUE(world.put("last", 100, power ? Durability::kPower : Durability::kProcess).ok());
      world.die(power);
      put_back(*world.disk, side, old);
      world.expect_nothing_lost();
      ASSERT_TRUE(Engine::of(*world.store).step().ok());
      ASSERT_TRUE(world.put("after", 60'000).ok());
      world.die(power);
      world.expect_nothing_lost();
    });
  }
}

// Not mounted at one start, and there again at the next, with a ring of this boot that nobody names any more.
TEST(LogCopies, ADirectoryMountedAgainHidesNothing) {
  for_each_death([](Lived& world, const std::string& side, bool power) {
    const std::map<std::string, std::string> mounted = contents(*world.disk, side);
    wipe(*world.disk, side);  // not mounted: an empty directory
    EXPECT_TRUE(tells(world.expect_nothing_lost(), "log_copy_missing"));
    ASSERT_TRUE(Engine::of(*world.store).step().ok());
    ASSERT_TRUE(world.put("large0", 50'000).ok());
    world.erase("small0");
    world.die(power);
    put_back(*world.disk, side, mounted);
    world.expect_nothing_lost();
    world.die(power);
    world.expect_nothing_lost();
  });
}

TEST(LogCopies, ARingOfLongAgoIsNotTakenForTheNewest) {
  for (const std::string& side : kSides) {
    SCOPED_TRACE(side);
    Lived world;
    world.live(false);
    world.die(false);
    std::map<std::string, std::string> old = contents(*world.disk, side);
    std::erase_if(old, [](const auto& file) { return file.first.find("/tail-") == std::string::npos; });
    ASSERT_EQ(old.size(), 1U);
    world.expect_nothing_lost();
    for (int i = 0; i < 3; ++i) {  // until no segment names it
      for (int large = 0; large < 6; ++large) ASSERT_TRUE(world.put("large" + std::to_string(large), 50'000 + i).ok());
      ASSERT_TRUE(world.store->checkpoint().ok());
    }
    ASSERT_TRUE(world.put("ring", 100, Durability::kProcess).ok());
    world.die(false);
    write_files(*world.disk, side, old);
    world.expect_nothing_lost();
    if (HasFailure()) return;
  }
}

TEST(LogCopies, EachSectorMayBeHurtInOneDirectoryOrTheOther) {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const bool power = seed % 2 == 0;
    Lived world(seed);
    world.live(power);
    world.die(power);
    Random random(seed);
    for (const std::string& file : files_in(*world.disk, kSides[0])) {
      if (!file.ends_with(".log")) continue;
      const std::uint64_t bytes = read_whole(*world.disk, file, 1 << 30)->size();
      for (std::uint64_t at = 0; at < bytes; at += kSectorBytes) {
        const std::string hurt = kSides[random.next() % 2] + file.substr(kSides[0].size());
        const std::string noise(kSectorBytes, static_cast<char>(1 + random.next() % 255));
        ASSERT_TRUE(world.disk->overwrite(hurt, at, noise).ok());
      }
    }
    world.expect_nothing_lost();
    if (HasFailure()) return;
  }
}

TEST(LogCopies, AnyFileOrListingMayBeRefusedOnce) {
  Lived lived;
  lived.live(false);
  lived.die(false);
  for (unsigned skip = 0;; ++skip) {
    SCOPED_TRACE("open " + std::to_string(skip));
    Lived world(lived, skip + 1);
    world.disk->inject({.kind = FaultKind::kOpenError, .path_contains = "store/wal", .skip = skip, .times = 1});
    world.expect_nothing_lost();
    if (HasFailure() || world.disk->faults_fired() == 0) break;
  }
}

}  // namespace
}  // namespace daruma
