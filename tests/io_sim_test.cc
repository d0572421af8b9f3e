// SPDX-License-Identifier: Apache-2.0
// The simulated disk keeps its own promises: every test of recovery believes it.
#include "io/sim_storage.h"

#include <gtest/gtest.h>
#include <passing_storage.h>

#include <algorithm>
#include <set>

#include "base/bytes.h"

namespace daruma {
namespace {

constexpr std::uint64_t kNoLimit = 1 << 24;

std::string pattern(std::size_t bytes, char salt) {
  std::string out(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<char>(salt + i % 61);
  return out;
}

std::string must_read(Storage& disk, const std::string& path) {
  Result<std::string> got = read_whole(disk, path, kNoLimit);
  EXPECT_TRUE(got.ok()) << got.status().to_string();
  return got.ok() ? *got : "";
}

bool exists(Storage& disk, const std::string& path) { return disk.open(path, OpenMode::kRead).ok(); }

std::unique_ptr<File> must_open(Storage& disk, const std::string& path, OpenMode mode) {
  Result<std::unique_ptr<File>> file = disk.open(path, mode);
  EXPECT_TRUE(file.ok()) << file.status().to_string();
  return std::move(file).value();
}

#define ASSERT_OK(expression)                   \
  do {                                          \
    const Status got_ = (expression);           \
    ASSERT_TRUE(got_.ok()) << got_.to_string(); \
  } while (false)
#define EXPECT_CODE(expected, expression) EXPECT_EQ(code_name(Code::expected), code_name((expression).code()))

/// A disk with `path` holding `synced` durably (name too), then `cached` written over it without a sync.
struct Written {
  explicit Written(std::uint64_t seed, std::string_view synced, std::string_view cached, std::uint32_t sector = 4096)
      : disk({.seed = seed, .sector_bytes = sector}), file(must_open(disk, "f", OpenMode::kCreate)) {
    EXPECT_TRUE(file->write(0, synced).ok() && file->sync().ok() && disk.sync_directory("").ok());
    EXPECT_TRUE(file->write(0, cached).ok());
  }
  SimStorage disk;
  std::unique_ptr<File> file;
};

TEST(SimContents, UnsyncedBytesAreLostWhenNothingSurvives) {
  const std::string old = pattern(9000, 'a');
  Written w(1, old, pattern(20000, 'b'));
  w.disk.power_cut(0);
  EXPECT_EQ(old, must_read(w.disk, "f"));
}

TEST(SimContents, UnsyncedBytesStayWhenEverythingSurvives) {
  const std::string young = pattern(20000, 'b');
  Written w(1, pattern(9000, 'a'), young);
  w.disk.power_cut(100);
  EXPECT_EQ(young, must_read(w.disk, "f"));
}

TEST(SimContents, SyncedBytesAreKeptWhateverTheSeed) {
  const std::string young = pattern(20000, 'b');
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    Written w(seed, pattern(30000, 'a'), young);
    ASSERT_OK(w.file->sync());
    w.disk.power_cut(static_cast<unsigned>(seed % 101));
    ASSERT_EQ(young + pattern(30000, 'a').substr(20000), must_read(w.disk, "f")) << "seed " << seed;
  }
}

TEST(SimContents, KillKeepsThePageCacheAndEveryName) {
  const std::string young = pattern(20000, 'b');
  Written w(1, pattern(9000, 'a'), young);
  ASSERT_OK(must_open(w.disk, "g", OpenMode::kCreate)->write(0, "never synced"));
  const std::string boot = w.disk.boot_id();
  w.disk.kill();
  EXPECT_EQ(young, must_read(w.disk, "f"));
  EXPECT_EQ("never synced", must_read(w.disk, "g"));
  EXPECT_EQ(boot, w.disk.boot_id());
  w.disk.power_cut(0);
  EXPECT_NE(boot, w.disk.boot_id());
  EXPECT_FALSE(exists(w.disk, "g"));
}

TEST(SimContents, EachSectorSurvivesByItself) {
  for (const std::uint32_t sector : {512U, 4096U}) {
    const std::size_t bytes = 16 * sector;
    const std::string versions[] = {pattern(bytes, 'a'), pattern(bytes, 'm'), pattern(bytes, '0')};
    std::set<int> reached;  // bit v: some sector of version v
    bool middle = false;
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
      Written w(seed, versions[0], versions[1], sector);
      ASSERT_OK(w.file->write(0, versions[2]));
      w.disk.power_cut();
      const std::string got = must_read(w.disk, "f");
      ASSERT_EQ(bytes, got.size());
      int found = 0;
      for (std::size_t at = 0; at < bytes; at += sector) {
        int which = -1;
        for (int v = 0; v < 3; ++v) which = got.compare(at, sector, versions[v], at, sector) == 0 ? v : which;
        ASSERT_GE(which, 0) << "a sector is torn inside, seed " << seed << " offset " << at;
        found |= 1 << which;
        middle = middle || which == 1;
      }
      reached.insert(found);
    }
    EXPECT_TRUE(reached.contains(1) && reached.contains(4) && reached.contains(5)) << "all old, all new, mixed";
    EXPECT_TRUE(middle) << "an older unsynced version is never found";
  }
}

TEST(SimContents, APowerCutShearsTheSectorsThatWereBeingWrittenAndNoOthers) {
  constexpr std::size_t kSector = 4096, kSectors = 16;
  const std::string old = pattern(kSectors * kSector, 'a'), young = pattern(8 * kSector, 'b');
  int noise = 0, zeros = 0;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SimStorage disk({.seed = seed, .sector_bytes = kSector, .shorn_percent = 50});
    auto file = must_open(disk, "f", OpenMode::kCreate);
    ASSERT_TRUE(file->write(0, old).ok() && file->sync().ok() && disk.sync_directory("").ok());
    ASSERT_OK(file->write(0, young));
    disk.kill();
    ASSERT_EQ(young, must_read(disk, "f").substr(0, young.size())) << "the machine lives";
    disk.power_cut(seed % 2 == 0 ? 100 : 50);
    const std::string got = must_read(disk, "f");
    ASSERT_EQ(old.size(), got.size());
    EXPECT_EQ(old.substr(young.size()), got.substr(young.size())) << "a synced sector was hurt, seed " << seed;
    for (std::size_t at = 0; at < young.size(); at += kSector) {
      const std::string sector = got.substr(at, kSector);
      if (sector == young.substr(at, kSector) || sector == old.substr(at, kSector)) continue;
      ++(sector == std::string(kSector, '\0') ? zeros : noise);
    }
  }
  EXPECT_GT(noise, 20);
  EXPECT_GT(zeros, 20);
}

TEST(SimContents, AFileThatGrowsAgainReadsZerosWhereItWasCut) {
  Written w(1, pattern(9000, 'a'), "");
  ASSERT_OK(w.disk.truncate("f", 100));
  ASSERT_OK(w.file->allocate(9000));
  EXPECT_EQ(pattern(100, 'a') + std::string(8900, '\0'), must_read(w.disk, "f"));
  auto again = must_open(w.disk, "f", OpenMode::kCreate);
  ASSERT_OK(again->write(5000, "x"));
  EXPECT_EQ(std::string(5000, '\0') + "x", must_read(w.disk, "f"));
}

TEST(SimContents, AnUnsyncedTruncationMayNotHaveHappened) {
  Written w(1, pattern(9000, 'a'), "");
  w.file = must_open(w.disk, "f", OpenMode::kCreate);
  auto copy = w.disk.clone(2);
  w.disk.power_cut(0);
  EXPECT_EQ(pattern(9000, 'a'), must_read(w.disk, "f"));
  copy->power_cut(100);
  EXPECT_EQ("", must_read(*copy, "f"));
}

TEST(SimMappings, StoresReachReadsAndSurviveAKillButNotAPowerCut) {
  const std::string old = pattern(10000, 'a');
  Written w(1, old, "");
  auto mapping = std::move(w.disk.map("f")).value();
  ASSERT_EQ(10000U, mapping->bytes().size());
  mapping->bytes()[0] = '#';
  mapping->bytes()[9999] = '#';
  std::string young = old;
  young[0] = young[9999] = '#';
  EXPECT_EQ(young, must_read(w.disk, "f"));
  auto lost = w.disk.clone(2);
  lost->power_cut(0);
  EXPECT_EQ(old, must_read(*lost, "f"));
  w.disk.kill();
  EXPECT_EQ(young, must_read(w.disk, "f"));
  mapping->bytes()[1] = '!';  // a dead process's memory leads nowhere
  EXPECT_EQ(young, must_read(w.disk, "f"));
  mapping.reset();
  EXPECT_EQ(young, must_read(w.disk, "f"));
  w.disk.power_cut(0);
  EXPECT_EQ(old, must_read(w.disk, "f"));
}

TEST(SimMappings, SyncMakesStoresDurableAndWritesShowInTheMapping) {
  Written w(1, pattern(10000, 'a'), "");
  auto mapping = std::move(w.disk.map("f")).value();
  mapping->bytes()[5000] = '#';
  ASSERT_OK(w.file->write(5001, "!"));
  EXPECT_EQ('!', mapping->bytes()[5001]);
  ASSERT_OK(w.file->sync());
  mapping->bytes()[5000] = '?';
  w.disk.power_cut(0);
  EXPECT_EQ("#!", must_read(w.disk, "f").substr(5000, 2));
}

TEST(SimMappings, StoresAfterTheCrashPointWereNeverMade) {
  Written w(1, pattern(10000, 'a'), "");
  auto mapping = std::move(w.disk.map("f")).value();
  mapping->bytes()[0] = '1';
  w.disk.crash_at(w.disk.operations());
  EXPECT_CODE(kAborted, w.file->write(100, "x"));
  mapping->bytes()[0] = '2';
  w.disk.kill();
  EXPECT_EQ('1', must_read(w.disk, "f")[0]);
}

TEST(SimMappings, StoresSurviveThroughUnmapping) {
  Written w(1, pattern(10000, 'a'), "");
  auto one = std::move(w.disk.map("f")).value();
  auto two = std::move(w.disk.map("f")).value();
  one->bytes()[0] = '#';
  EXPECT_EQ('#', two->bytes()[0]);
  one.reset();
  two->bytes()[1] = '#';
  two.reset();
  EXPECT_EQ("##", must_read(w.disk, "f").substr(0, 2));
  w.disk.power_cut(0);
  EXPECT_EQ(pattern(10000, 'a'), must_read(w.disk, "f"));
}

TEST(SimNames, ANameIsLostWithoutSyncDirectoryThoughItsFileWasSynced) {
  SimStorage disk;
  auto file = must_open(disk, "f", OpenMode::kCreate);
  ASSERT_OK(file->write(0, "x"));
  ASSERT_OK(file->sync());
  disk.power_cut(0);
  EXPECT_FALSE(exists(disk, "f"));
}

TEST(SimNames, DirectoriesNestAndDependOnEveryParentsSync) {
  SimStorage disk;
  ASSERT_OK(disk.make_directory("a"));
  ASSERT_OK(disk.make_directory("a/b"));
  ASSERT_OK(disk.make_directory("a/b"));
  must_open(disk, "a/b/f", OpenMode::kCreate);
  ASSERT_OK(disk.sync_directory("a/b"));
  ASSERT_OK(disk.sync_directory("a"));
  auto copy = disk.clone(2);
  copy->power_cut(0);
  EXPECT_CODE(kNotFound, copy->list("a").status());
  ASSERT_OK(disk.sync_directory(""));
  disk.power_cut(0);
  const auto entries = disk.list("a");
  ASSERT_TRUE(entries.ok());
  ASSERT_EQ(1U, entries->size());
  EXPECT_TRUE((*entries)[0].is_directory && (*entries)[0].name == "b");
  EXPECT_TRUE(exists(disk, "a/b/f"));
  EXPECT_CODE(kNotFound, disk.remove("a/b/g"));
  EXPECT_CODE(kIoError, disk.remove("a/b"));
  EXPECT_CODE(kNotFound, disk.open("c/f", OpenMode::kCreate).status());
}

TEST(SimNames, ARemovedFileComesBackUnlessTheDirectoryWasSynced) {
  Written w(1, "x", "");
  ASSERT_OK(w.disk.remove("f"));
  EXPECT_FALSE(exists(w.disk, "f"));
  char byte = 0;
  EXPECT_TRUE(w.file->read(0, {&byte, 1}).ok()) << "an open file outlives its name";
  auto synced = w.disk.clone(2);
  ASSERT_OK(synced->sync_directory(""));
  synced->power_cut(0);
  EXPECT_FALSE(exists(*synced, "f"));
  w.disk.power_cut(0);
  EXPECT_EQ("x", must_read(w.disk, "f"));
}

TEST(SimNames, ARenameSurvivesWithOneOrBothNamesAndNeverNeither) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SimStorage disk({.seed = seed});
    ASSERT_OK(disk.make_directory("d"));
    auto file = must_open(disk, "a", OpenMode::kCreate);
    ASSERT_OK(file->write(0, "x"));
    ASSERT_OK(file->sync());
    ASSERT_OK(disk.sync_directory(""));
    ASSERT_OK(disk.rename("a", "b"));
    ASSERT_OK(disk.rename("b", "d/c"));
    if (seed % 4 == 0) {
      ASSERT_OK(disk.sync_directory(""));  // of one side only
    }
    disk.power_cut();
    std::string names;
    for (const char* name : {"a", "b", "d/c"}) {
      if (!exists(disk, name)) continue;
      names += name;
      EXPECT_EQ("x", must_read(disk, name));
    }
    ASSERT_NE("", names) << "seed " << seed;
    if (seed % 4 == 0) { ASSERT_EQ("d/c", names) << "seed " << seed; }
    seen.insert(names);
  }
  for (const char* names : {"a", "b", "d/c", "ab", "bd/c"}) EXPECT_TRUE(seen.contains(names)) << names;
}

TEST(SimNames, ARenameMayOutliveTheContentsItWasMeantToPublish) {
  bool empty = false, whole = false, absent = false;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SimStorage disk({.seed = seed});
    ASSERT_OK(must_open(disk, "a.tmp", OpenMode::kCreate)->write(0, pattern(5000, 'a')));
    ASSERT_OK(disk.rename("a.tmp", "a"));
    disk.power_cut();
    if (!exists(disk, "a")) {
      absent = true;
      continue;
    }
    const std::string got = must_read(disk, "a");
    empty = empty || got.empty();
    whole = whole || got == pattern(5000, 'a');
  }
  EXPECT_TRUE(empty && whole && absent);
}

/// Lies about one kind of sync: what publish must not do.
class Lazy final : public PassingStorage {
 public:
  Lazy(Storage& base, bool file_sync, bool directory_sync)
      : PassingStorage(base), file_sync_(file_sync), directory_sync_(directory_sync) {}
  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override {
    Result<std::unique_ptr<File>> file = PassingStorage::open(path, mode);
    if (!file.ok() || file_sync_) return file;
    return std::unique_ptr<File>(std::make_unique<LazyFile>(std::move(file).value()));
  }
  Status sync_directory(const std::string& path) override {
    return directory_sync_ ? PassingStorage::sync_directory(path) : Status();
  }

 private:
  struct LazyFile final : PassingFile {
    using PassingFile::PassingFile;
    Status sync() override { return {}; }
  };
  const bool file_sync_, directory_sync_;
};

/// Publishes twice, crashing at every point x 50 seeds x {clean, half done} and at the end: how often was a file torn
/// or an acknowledged one missing? With `again`, whoever comes after the crash publishes a third time, and the power
/// fails again.
int broken_publishes(bool file_sync, bool directory_sync, bool again) {
  const std::string contents[] = {pattern(9000, 'a'), pattern(13000, 'b'), pattern(6000, 'c')};
  int broken = 0;
  const auto run = [&](SimStorage& disk) {
    Lazy lazy(disk, file_sync, directory_sync);
    if (!disk.make_directory("d").ok() || !disk.sync_directory("").ok()) return -1;
    for (int i = 0; i < 2; ++i) {
      if (!publish(lazy, "d", "m", contents[i]).ok()) return i - 1;
    }
    return 1;
  };
  SimStorage counted;
  EXPECT_EQ(1, run(counted));
  const auto points = counted.operations();
  EXPECT_EQ(2U + 2 * (4 + (file_sync ? 1U : 0U) + (directory_sync ? 1U : 0U)), points);
  const auto check = [&](SimStorage& disk, int acknowledged) {
    if (!exists(disk, "d/m")) return acknowledged < 0;
    const std::string got = must_read(disk, "d/m");
    for (int i = std::max(acknowledged, 0); i < 3; ++i) {
      if (got == contents[i]) return true;
    }
    return false;
  };
  for (std::uint64_t point = 0; point <= points; ++point) {
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
      for (const bool half : {false, true}) {
        SimStorage disk({.seed = seed * 1000 + point});
        disk.crash_at(point, half);
        const int acknowledged = run(disk);
        EXPECT_EQ(point < points, disk.crashed());
        disk.power_cut();
        bool good = check(disk, acknowledged);
        if (again && good && disk.list("d").ok()) {
          disk.crash_at(disk.operations() + seed % 5, half);
          Lazy lazy(disk, file_sync, directory_sync);
          const bool third = publish(lazy, "d", "m", contents[2]).ok();
          disk.power_cut();
          good = check(disk, third ? 2 : acknowledged);
        }
        broken += good ? 0 : 1;
      }
    }
  }
  return broken;
}

TEST(SimPublish, IsNeverSeenTornNorForgotten) { EXPECT_EQ(0, broken_publishes(true, true, false)); }
TEST(SimPublish, WouldBeSeenTornWithoutTheFileSync) { EXPECT_GT(broken_publishes(false, true, false), 0); }
TEST(SimPublish, WouldBeForgottenWithoutTheDirectorySync) { EXPECT_GT(broken_publishes(true, false, false), 0); }

TEST(SimPublish, AgainAfterACrash) { EXPECT_EQ(0, broken_publishes(true, true, true)); }

// --- faults, one test a kind that says more than an error code ---

TEST(SimFaults, AFailedSyncLeavesCleanPagesNewOrOld) {
  for (const FaultKind kind : {FaultKind::kSyncError, FaultKind::kSyncErrorOld}) {
    Written w(1, pattern(9000, 'a'), pattern(9000, 'b'));
    w.disk.inject({.kind = kind, .times = 1});
    EXPECT_CODE(kIoError, w.file->sync());
    EXPECT_EQ(pattern(9000, kind == FaultKind::kSyncError ? 'b' : 'a'), must_read(w.disk, "f"));
    ASSERT_OK(w.file->sync());  // nothing is dirty: this proves nothing
    w.disk.power_cut(100);
    EXPECT_EQ(pattern(9000, 'a'), must_read(w.disk, "f"));
  }
}

TEST(SimFaults, AWriteBackThatFailsIsToldByTheNextSyncOnce) {
  SimStorage disk;
  auto file = must_open(disk, "f", OpenMode::kCreate);
  ASSERT_OK(file->write(0, pattern(5000, 'a')));
  ASSERT_OK(file->sync());
  disk.inject({.kind = FaultKind::kSyncErrorLate, .times = 1});
  ASSERT_OK(file->write(0, pattern(5000, 'b')));
  EXPECT_EQ(pattern(5000, 'b'), must_read(disk, "f"));
  EXPECT_CODE(kIoError, file->sync());
  ASSERT_OK(file->sync());
  ASSERT_OK(disk.sync_directory(""));
  disk.power_cut(100);
  EXPECT_EQ(pattern(5000, 'a'), must_read(disk, "f"));
}

TEST(SimFaults, NoSpaceAtAllRefusesOverwritesAndNamesToo) {
  Written w(1, pattern(9000, 'a'), "");
  w.disk.inject({.kind = FaultKind::kNoSpace});
  ASSERT_OK(w.file->write(0, "grows nothing"));
  ASSERT_OK(w.disk.rename("f", "g"));
  w.disk.clear_faults();
  w.disk.inject({.kind = FaultKind::kNoSpaceAtAll});
  EXPECT_CODE(kNoSpace, w.file->write(0, "grows nothing"));
  EXPECT_CODE(kNoSpace, w.disk.rename("g", "h"));
  EXPECT_CODE(kNoSpace, w.disk.open("new", OpenMode::kCreate).status());
  EXPECT_CODE(kNoSpace, w.disk.make_directory("d"));
  w.disk.clear_faults();
  ASSERT_OK(w.disk.rename("g", "h"));
}

TEST(SimFaults, WithoutDescriptorsNothingOpensAndWhatIsOpenWorks) {
  Written w(1, "old", "new");
  w.disk.inject({.kind = FaultKind::kNoDescriptors});
  for (const OpenMode mode : {OpenMode::kRead, OpenMode::kReadWrite, OpenMode::kCreate})
    EXPECT_CODE(kUnavailable, w.disk.open("f", mode).status());
  EXPECT_CODE(kUnavailable, w.disk.list("").status());
  EXPECT_CODE(kUnavailable, w.disk.map("f").status());
  EXPECT_CODE(kUnavailable, w.disk.lock("lock").status());
  EXPECT_CODE(kUnavailable, w.disk.sync_directory(""));
  ASSERT_OK(w.file->write(0, "newer"));
  ASSERT_OK(w.file->sync());
  w.disk.clear_faults();
  EXPECT_EQ("newer", must_read(w.disk, "f")) << "kCreate did not empty it";
}

TEST(SimFaults, AnOpenErrorIsNotAMissingFile) {
  Written w(1, "old", "new");
  w.disk.inject({.kind = FaultKind::kOpenError, .times = 2});
  EXPECT_CODE(kIoError, w.disk.open("f", OpenMode::kRead).status());
  EXPECT_CODE(kIoError, w.disk.list("").status());
  EXPECT_TRUE(exists(w.disk, "f"));
}

TEST(SimFaults, AStalledFrameCompletesWhenItsSlicesAreOverOrItIsLifted) {
  for (const unsigned times : {3U, 0U}) {
    SimStorage disk;
    auto file = must_open(disk, "f", OpenMode::kCreate);
    AlignedBuffer frame(4096);
    std::fill_n(frame.data(), frame.size(), 'f');
    auto queue = disk.make_frame_queue(4);
    disk.inject({.kind = FaultKind::kStall, .times = times});
    queue->submit({file.get(), 0, frame.view(), 7});
    std::vector<FrameCompletion> done;
    for (int i = 0; i < 3; ++i) {
      queue->reap(false, done);
      queue->reap(true, done);
      EXPECT_TRUE(done.empty()) << i;
      EXPECT_EQ(1U, queue->in_flight());
    }
    if (times == 0) disk.clear_faults();
    queue->reap(true, done);
    ASSERT_EQ(1U, done.size());
    ASSERT_OK(done[0].status);
    EXPECT_EQ(std::string(4096, 'f'), must_read(disk, "f"));
  }
}

TEST(SimFaults, AQueueThatIsDestroyedDoesNotWaitForAStalledDevice) {
  SimStorage disk;
  auto file = must_open(disk, "f", OpenMode::kCreate);
  AlignedBuffer frame(4096);
  std::fill_n(frame.data(), frame.size(), 'f');
  disk.inject({.kind = FaultKind::kStall});
  {
    auto queue = disk.make_frame_queue(4);
    queue->submit({file.get(), 0, frame.view(), 7});
  }
  disk.clear_faults();
}

}  // namespace
}  // namespace daruma
