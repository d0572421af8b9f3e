// SPDX-License-Identifier: Apache-2.0
// The simulated disk's crash points, frames in flight, faults, clones and determinism.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/bytes.h"
#include "io/sim_storage.h"

namespace daruma {
namespace {

#define EXPECT_CODE(expected, expression) EXPECT_EQ(code_name(Code::expected), code_name((expression).code()))
#define ASSERT_OK(expression)                   \
  do {                                          \
    const Status got_ = (expression);           \
    ASSERT_TRUE(got_.ok()) << got_.to_string(); \
  } while (false)

constexpr std::size_t kSector = 4096;

AlignedBuffer frame_of(char fill, std::size_t sectors) {
  AlignedBuffer buffer(sectors * kSector);
  std::fill_n(buffer.data(), buffer.size(), fill);
  return buffer;
}

std::string must_read(Storage& disk, const std::string& path) {
  Result<std::string> got = read_whole(disk, path, 1 << 24);
  EXPECT_TRUE(got.ok()) << got.status().to_string();
  return got.ok() ? *got : "";
}

/// A disk with a durable name `f`, and what a process would hold on it.
struct Process {
  explicit Process(std::uint64_t seed = 1, std::uint64_t capacity = ~std::uint64_t{0})
      : disk({.seed = seed, .capacity_bytes = capacity}) {
    file = std::move(disk.open("f", OpenMode::kCreate)).value();
    EXPECT_TRUE(disk.sync_directory("").ok());
    queue = disk.make_frame_queue(16);
  }
  void submit(const AlignedBuffer& data, std::uint64_t sector, std::uint64_t tag = 0) {
    queue->submit({.file = file.get(), .offset = sector * kSector, .data = data.view(), .tag = tag});
  }
  std::vector<FrameCompletion> reap_all() {
    std::vector<FrameCompletion> out;
    while (queue->in_flight() > 0) queue->reap(true, out);
    return out;
  }
  SimStorage disk;
  std::unique_ptr<File> file;
  std::unique_ptr<FrameQueue> queue;
};

TEST(SimFrames, AreDurableOnceCompletedAndUnreadBefore) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    Process p(seed);
    const AlignedBuffer data = frame_of('x', 3);
    p.submit(data, 1, 7);
    EXPECT_EQ(1U, p.queue->in_flight());
    EXPECT_EQ(0U, *p.file->size());
    const auto done = p.reap_all();
    ASSERT_EQ(1U, done.size());
    EXPECT_EQ(7U, done[0].tag);
    ASSERT_OK(done[0].status);
    p.disk.power_cut(0);
    ASSERT_EQ(std::string(kSector, '\0') + std::string(data.view()), must_read(p.disk, "f")) << "seed " << seed;
  }
}

TEST(SimFrames, CompleteInEveryOrderAndSometimesSeveralAtOnce) {
  std::set<std::string> orders;
  bool several = false, single = false;
  const AlignedBuffer data = frame_of('x', 1);
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    Process p(seed);
    for (std::uint64_t i = 0; i < 3; ++i) p.submit(data, i, i);
    std::vector<FrameCompletion> out;
    p.queue->reap(true, out);
    ASSERT_FALSE(out.empty()) << "seed " << seed;
    (out.size() > 1 ? several : single) = true;
    while (p.queue->in_flight() > 0) p.queue->reap(true, out);
    std::string order;
    for (const FrameCompletion& done : out) order += static_cast<char>('0' + done.tag);
    orders.insert(order);
  }
  EXPECT_EQ(6U, orders.size());
  EXPECT_TRUE(several && single);
}

TEST(SimFrames, InFlightSurviveACrashSectorBySectorAndAreDurableWhereTheyDo) {
  for (const bool killed : {true, false}) {
    std::set<std::string> seen;
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
      Process p(seed);
      const AlignedBuffer old = frame_of('o', 2);
      p.submit(old, 0);
      p.reap_all();
      {
        const AlignedBuffer young = frame_of('n', 2);
        p.submit(young, 0);
        if (killed)
          p.disk.kill();
        else
          p.disk.power_cut();
      }  // the process's memory is gone, too
      std::string got = must_read(p.disk, "f");
      ASSERT_EQ(2 * kSector, got.size());
      p.disk.power_cut(0);
      ASSERT_EQ(got, must_read(p.disk, "f")) << "seed " << seed;
      for (const std::size_t at : {std::size_t{0}, kSector})
        ASSERT_EQ(std::string(kSector, got[at]), got.substr(at, kSector));
      seen.insert({got[0], got[kSector]});
    }
    EXPECT_EQ((std::set<std::string>{"oo", "on", "no", "nn"}), seen);
  }
}

TEST(SimFrames, OfADestroyedQueueAreFinishedAndOfADeadProcessAborted) {
  Process p;
  const AlignedBuffer data = frame_of('x', 1);
  p.submit(data, 0);
  p.queue.reset();
  auto copy = p.disk.clone(2);
  copy->power_cut(0);
  EXPECT_EQ(data.view(), must_read(*copy, "f"));
  p.queue = p.disk.make_frame_queue(4);
  p.submit(data, 1, 1);
  p.disk.crash_at(p.disk.operations());
  EXPECT_CODE(kAborted, p.file->sync());
  p.submit(data, 2, 2);
  const auto done = p.reap_all();
  ASSERT_EQ(2U, done.size());
  for (const FrameCompletion& one : done) EXPECT_CODE(kAborted, one.status);
}

TEST(SimFrames, MustBeAligned) {
  Process p;
  const AlignedBuffer data = frame_of('x', 2);
  p.queue->submit({.file = p.file.get(), .offset = 1, .data = data.view()});
  EXPECT_CODE(kInvalidArgument, p.reap_all().at(0).status);
  AlignedBuffer out(kSector);
  EXPECT_CODE(kInvalidArgument, p.file->read_direct(1, out.span()).status());
}

TEST(SimFrames, FaultsComeBackWithTheCompletion) {
  const AlignedBuffer data = frame_of('x', 4);
  for (const FaultKind kind :
       {FaultKind::kWriteError, FaultKind::kSyncError, FaultKind::kShortWrite, FaultKind::kNoSpace}) {
    Process p;
    p.disk.inject({.kind = kind, .path_contains = "f", .times = 1});
    p.submit(data, 0);
    EXPECT_EQ(kind == FaultKind::kNoSpace ? Code::kNoSpace : Code::kIoError, p.reap_all().at(0).status.code());
    EXPECT_EQ(1U, p.disk.faults_fired());
    p.disk.power_cut(0);
    EXPECT_LT(must_read(p.disk, "f").size(), data.size());
  }
}

TEST(SimLocks, AreHeldOnceAndFreedByRelease) {
  SimStorage disk;
  auto lock = disk.lock("lock");
  ASSERT_TRUE(lock.ok());
  EXPECT_CODE(kBusy, disk.lock("lock").status());
  std::move(lock).value().reset();
  EXPECT_TRUE(disk.lock("lock").ok());
}

TEST(SimLocks, AreFreedByKillAndADeadOneFreesNothing) {
  SimStorage disk;
  auto dead = std::move(disk.lock("lock")).value();
  disk.kill();
  auto live = disk.lock("lock");
  ASSERT_TRUE(live.ok());
  dead.reset();
  EXPECT_CODE(kBusy, disk.lock("lock").status());
}

TEST(SimCrash, DeadHandlesStayDead) {
  Process p;
  ASSERT_OK(p.file->write(0, "x"));
  p.disk.kill();
  const auto before = p.disk.fingerprint();
  const auto operations = p.disk.operations();
  char byte = 0;
  EXPECT_CODE(kAborted, p.file->read(0, {&byte, 1}).status());
  EXPECT_CODE(kAborted, p.file->write(0, "y"));
  EXPECT_CODE(kAborted, p.file->sync());
  EXPECT_CODE(kAborted, p.file->allocate(100));
  EXPECT_CODE(kAborted, p.file->size().status());
  const AlignedBuffer data = frame_of('x', 1);
  p.submit(data, 0);
  EXPECT_CODE(kAborted, p.reap_all().at(0).status);
  EXPECT_EQ(before, p.disk.fingerprint());
  EXPECT_EQ(operations, p.disk.operations());
  EXPECT_TRUE(p.disk.open("f", OpenMode::kReadWrite).ok());
}

/// Something of everything; stops at the first error, as a process that died would.
Status story(SimStorage& disk) {
  const AlignedBuffer frame = frame_of('x', 2);
  const auto step = [&]() -> Status {
    if (Status s = disk.make_directory("d"); !s.ok()) return s;
    auto lock = disk.lock("d/lock");
    if (!lock.ok()) return lock.status();
    auto file = disk.open("d/f", OpenMode::kCreate);
    if (!file.ok()) return file.status();
    if (Status s = (*file)->allocate(8 * kSector); !s.ok()) return s;
    if (Status s = (*file)->write(100, std::string(9000, 'w')); !s.ok()) return s;
    if (Status s = (*file)->sync(); !s.ok()) return s;
    auto mapping = disk.map("d/f");
    if (!mapping.ok()) return mapping.status();
    (*mapping)->bytes()[20000] = '#';
    auto queue = disk.make_frame_queue(2);
    queue->submit({.file = file->get(), .offset = 5 * kSector, .data = frame.view()});
    std::vector<FrameCompletion> done;
    queue->reap(true, done);
    if (!done.at(0).status.ok()) return done[0].status;
    if (Status s = disk.rename("d/f", "d/g"); !s.ok()) return s;
    if (Status s = disk.sync_directory("d"); !s.ok()) return s;
    if (Status s = disk.sync_directory(""); !s.ok()) return s;
    if (Status s = (*file)->write(0, "late"); !s.ok()) return s;
    return disk.remove("d/g");
  };
  return step();
}

TEST(SimCrash, EveryCallThatChangesSomethingIsOnePointAndStopsTheDisk) {
  SimStorage counted;
  std::vector<std::string> names;
  counted.on_operation([&](std::uint64_t number, std::string_view what) {
    EXPECT_EQ(names.size(), number);
    names.emplace_back(what);
  });
  ASSERT_OK(story(counted));
  EXPECT_EQ((std::vector<std::string>{"make_directory d", "create d/lock", "create d/f", "allocate d/f", "write d/f",
                                      "sync d/f", "map d/f", "submit d/f", "complete d/f", "rename d/f to d/g",
                                      "sync_directory d", "sync_directory ", "write d/f", "remove d/g"}),
            names);
  EXPECT_EQ(names.size(), counted.operations());
  EXPECT_EQ(names.size() - 4, counted.write_operations()) << "syncs and maps change neither byte nor name";
  for (std::uint64_t point = 0; point < names.size(); ++point) {
    for (const bool half : {false, true}) {
      for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        SimStorage disk({.seed = seed});
        disk.crash_at(point, half);
        ASSERT_EQ(Code::kAborted, story(disk).code()) << names[point];
        ASSERT_TRUE(disk.crashed());
        ASSERT_EQ(point + 1, disk.operations()) << "a dead process passes no points";
        EXPECT_CODE(kAborted, disk.list("").status());
        EXPECT_CODE(kAborted, disk.open("d/f", OpenMode::kRead).status());
        auto other = disk.clone(seed);
        disk.kill();
        ASSERT_FALSE(disk.crashed());
        ASSERT_TRUE(disk.list("").ok());
        other->power_cut();
        if (Status s = story(*other); !s.ok()) FAIL() << names[point] << " seed " << seed << ": " << s.to_string();
      }
    }
  }
}

TEST(SimCrash, WithoutHalfDoneTheOperationThereHasNoEffect) {
  SimStorage counted;
  std::vector<std::uint64_t> before;  // of each point
  counted.on_operation([&](std::uint64_t, std::string_view) { before.push_back(counted.fingerprint()); });
  ASSERT_OK(story(counted));
  for (std::uint64_t point = 0; point < before.size(); ++point) {
    SimStorage disk;
    disk.crash_at(point);
    EXPECT_CODE(kAborted, story(disk));
    EXPECT_EQ(before[point], disk.fingerprint()) << "point " << point;
  }
}

TEST(SimCrash, AHalfDoneWriteIsTornAtASector) {
  std::set<std::size_t> sizes;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    Process p(seed);
    p.disk.crash_at(p.disk.operations(), true);
    EXPECT_CODE(kAborted, p.file->write(100, std::string(3 * kSector, 'x')));
    p.disk.kill();
    const std::string got = must_read(p.disk, "f");
    sizes.insert(got.size());
    for (std::size_t i = 100; i < got.size(); ++i) ASSERT_EQ('x', got[i]);
  }
  EXPECT_EQ((std::set<std::size_t>{0, kSector, 2 * kSector, 3 * kSector, 3 * kSector + 100}), sizes);
}

TEST(SimCrash, AHalfDoneSyncKeepsSomeSectors) {
  bool some = false;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    Process p(seed);
    ASSERT_OK(p.file->write(0, std::string(4 * kSector, 'o')));
    ASSERT_OK(p.file->sync());
    ASSERT_OK(p.file->write(0, std::string(4 * kSector, 'n')));
    p.disk.crash_at(p.disk.operations(), true);
    EXPECT_CODE(kAborted, p.file->sync());
    p.disk.power_cut(0);
    const std::string got = must_read(p.disk, "f");
    some = some || (got.find('o') != std::string::npos && got.find('n') != std::string::npos);
  }
  EXPECT_TRUE(some);
}

TEST(SimDeterminism, TheSameSeedAndCallsGiveTheSameDisk) {
  std::set<std::uint64_t> different;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    std::uint64_t prints[2];
    std::string boots[2];
    for (int i = 0; i < 2; ++i) {
      SimStorage disk({.seed = seed});
      disk.crash_at(9 + seed % 4, true);
      static_cast<void>(story(disk));
      if (i == 1) static_cast<void>(disk.fingerprint());  // looking changes nothing
      if (i == 1) static_cast<void>(disk.clone(99));
      disk.power_cut();
      prints[i] = disk.fingerprint();
      boots[i] = disk.boot_id();
    }
    ASSERT_EQ(prints[0], prints[1]) << "seed " << seed;
    ASSERT_EQ(boots[0], boots[1]) << "seed " << seed;
    different.insert(prints[0]);
  }
  EXPECT_GT(different.size(), 2U);
}

TEST(SimFingerprint, KnowsNamesAndBytesAndNoHistory) {
  Process one(1), two(2);
  ASSERT_OK(one.file->write(0, std::string(5000, 'x')));
  ASSERT_OK(two.file->write(4000, std::string(1000, 'x')));
  EXPECT_NE(one.disk.fingerprint(), two.disk.fingerprint());
  ASSERT_OK(two.file->write(0, std::string(4000, 'x')));
  ASSERT_OK(two.file->sync());
  ASSERT_OK(two.disk.rename("f", "g"));
  EXPECT_NE(one.disk.fingerprint(), two.disk.fingerprint());
  ASSERT_OK(two.disk.rename("g", "f"));
  EXPECT_EQ(one.disk.fingerprint(), two.disk.fingerprint());
  ASSERT_OK(one.disk.flip_bit("f", 4999, 7));
  EXPECT_NE(one.disk.fingerprint(), two.disk.fingerprint());
  ASSERT_OK(one.disk.flip_bit("f", 4999, 7));
  ASSERT_OK(one.file->allocate(6000));
  ASSERT_OK(two.file->write(5000, std::string(1000, '\0')));
  EXPECT_EQ(one.disk.fingerprint(), two.disk.fingerprint()) << "zeros are zeros, written or not";
}

TEST(SimClone, IsIndependentBothWays) {
  Process p;
  ASSERT_OK(p.file->write(0, std::string(9000, 'x')));
  auto lock = p.disk.lock("lock");
  auto copy = p.disk.clone(2);
  const auto print = p.disk.fingerprint();
  EXPECT_EQ(print, copy->fingerprint());
  EXPECT_TRUE(copy->lock("lock").ok());
  ASSERT_OK(p.file->write(0, "y"));
  ASSERT_OK(p.disk.remove("lock"));
  EXPECT_EQ(print, copy->fingerprint());
  copy->power_cut(0);
  ASSERT_OK(copy->remove("f"));
  EXPECT_EQ("y" + std::string(8999, 'x'), must_read(p.disk, "f"));
}

TEST(SimFaults, FireAfterSkipForTimesAndAreCounted) {
  Process p;
  p.disk.inject({.kind = FaultKind::kWriteError, .path_contains = "f", .skip = 1, .times = 2});
  p.disk.inject({.kind = FaultKind::kWriteError, .path_contains = "other"});
  ASSERT_OK(p.file->write(0, "a"));
  EXPECT_CODE(kIoError, p.file->write(0, "b"));
  EXPECT_CODE(kIoError, p.file->write(0, "c"));
  ASSERT_OK(p.file->write(1, "d"));
  EXPECT_EQ(2U, p.disk.faults_fired());
  EXPECT_EQ("ad", must_read(p.disk, "f"));
}

TEST(SimFaults, AReadErrorTouchesItsRangeOnly) {
  Process p;
  ASSERT_OK(p.file->write(0, std::string(3 * kSector, 'x')));
  p.disk.inject({.kind = FaultKind::kReadError, .offset = kSector, .bytes = kSector});
  char bytes[10];
  EXPECT_TRUE(p.file->read(kSector - 10, bytes).ok());
  EXPECT_CODE(kIoError, p.file->read(kSector - 9, bytes).status());
  EXPECT_CODE(kIoError, p.file->read(2 * kSector - 1, bytes).status());
  EXPECT_TRUE(p.file->read(2 * kSector, bytes).ok());
  EXPECT_EQ(2U, p.disk.faults_fired());
  p.disk.clear_faults();
  EXPECT_TRUE(p.file->read(kSector, bytes).ok());
}

TEST(SimFaults, AFailedSyncLeavesBytesThatReadNewAndDieWithThePower) {
  Process p;
  ASSERT_OK(p.file->write(0, std::string(2 * kSector, 'o')));
  ASSERT_OK(p.file->sync());
  ASSERT_OK(p.file->write(0, std::string(2 * kSector, 'n')));
  p.disk.inject({.kind = FaultKind::kSyncError, .times = 1});
  EXPECT_CODE(kIoError, p.file->sync());
  ASSERT_OK(p.file->sync());  // retrying lies, as fsync does
  EXPECT_EQ(std::string(2 * kSector, 'n'), must_read(p.disk, "f"));
  p.disk.power_cut(100);
  EXPECT_EQ(std::string(2 * kSector, 'o'), must_read(p.disk, "f"));
}

TEST(SimFaults, AShortWriteLeavesAPrefix) {
  Process p;
  p.disk.inject({.kind = FaultKind::kShortWrite});
  EXPECT_CODE(kIoError, p.file->write(0, std::string(5000, 'x')));
  const std::string got = must_read(p.disk, "f");
  EXPECT_LT(got.size(), 5000U);
  EXPECT_EQ(std::string(got.size(), 'x'), got);
}

TEST(SimSpace, EndsAtTheCapacityAndComesBackWithRemoval) {
  Process p(1, 4 * kSector);
  ASSERT_OK(p.file->allocate(3 * kSector));
  EXPECT_EQ(kSector, *p.disk.free_bytes(""));
  EXPECT_CODE(kNoSpace, p.file->write(3 * kSector, std::string(kSector + 1, 'x')));
  EXPECT_CODE(kNoSpace, p.file->allocate(~std::uint64_t{0}));
  EXPECT_CODE(kNoSpace, p.file->write(~std::uint64_t{0} - 1, "xyz"));
  ASSERT_OK(p.file->write(0, std::string(3 * kSector, 'x')));
  p.file.reset();
  ASSERT_OK(p.disk.remove("f"));
  EXPECT_EQ(4 * kSector, *p.disk.free_bytes(""));
  p.disk.set_capacity(0);
  EXPECT_CODE(kNoSpace, std::move(p.disk.open("g", OpenMode::kCreate)).value()->write(0, "x"));
  p.disk.inject({.kind = FaultKind::kNoSpace, .path_contains = "h"});
  EXPECT_CODE(kNoSpace, p.disk.open("h", OpenMode::kCreate).status());
}

TEST(SimDamage, HitsSyncedAndCachedBytesAlike) {
  Process p;
  ASSERT_OK(p.file->write(0, std::string(2 * kSector, 'o')));
  ASSERT_OK(p.file->sync());
  ASSERT_OK(p.file->write(0, std::string(2 * kSector, 'n')));
  ASSERT_OK(p.disk.overwrite("f", kSector - 1, "##"));
  ASSERT_OK(p.disk.flip_bit("f", 0, 0));
  EXPECT_CODE(kInvalidArgument, p.disk.overwrite("f", 2 * kSector - 1, "##"));
  EXPECT_CODE(kInvalidArgument, p.disk.flip_bit("f", 2 * kSector, 0));
  EXPECT_CODE(kNotFound, p.disk.truncate("g", 0));
  auto copy = p.disk.clone(2);
  copy->power_cut(0);
  for (SimStorage* disk : {&p.disk, copy.get()}) {
    const std::string got = must_read(*disk, "f");
    EXPECT_EQ("##", got.substr(kSector - 1, 2));
    EXPECT_EQ((disk == &p.disk ? 'n' : 'o') ^ 1, got[0]);
  }
  ASSERT_OK(p.disk.truncate("f", 10));
  p.disk.power_cut(100);
  EXPECT_EQ(10U, must_read(p.disk, "f").size());
}

TEST(SimLatency, IsReportedBySyncsAndReaps) {
  Process p;
  std::int64_t total = 0;
  p.disk.on_latency([&](std::int64_t ns) { total += ns; }, 5);
  ASSERT_OK(p.file->sync());
  ASSERT_OK(p.disk.sync_directory(""));
  const AlignedBuffer data = frame_of('x', 1);
  p.submit(data, 0);
  p.reap_all();
  EXPECT_EQ(15, total);
}

}  // namespace
}  // namespace daruma
