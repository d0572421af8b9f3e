// SPDX-License-Identifier: Apache-2.0
#include "wal/wal_writer.h"

#include <gtest/gtest.h>
#include <passing_storage.h>
#include <temporary_directory.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <thread>

#include "io/posix_storage.h"
#include "wal_fixture.h"

namespace daruma {
namespace {

using namespace wal_test;

void append_to(WalWriter& wal, Sequence last, std::size_t bytes = 40) {
  for (Sequence s = wal.appended_sequence() + 1; s <= last; ++s) {
    const Status status = wal.append(s, event_of(s, bytes));
    ASSERT_TRUE(status.ok()) << status.to_string();
  }
}

/// Everything up to `through` is there and is right, and nothing anywhere is wrong.
void expect_kept(const Log& log, Sequence through, std::size_t bytes = 40) {
  for (Sequence s = 1; s <= through; ++s) ASSERT_TRUE(log.events.count(s)) << "lost " << s << " of " << through;
  for (const auto& [s, event] : log.events) ASSERT_EQ(event, event_of(s, bytes)) << "wrong " << s;
}

TEST(WalWriter, KeepsWhatItWasGivenInOrder) {
  Disk disk;
  auto wal = disk.writer();
  append_to(*wal, 100);
  ASSERT_TRUE(wal->wait_durable(100).ok());
  EXPECT_EQ(wal->durable_sequence(), 100u);
  const Log log = read_log(*disk.storage);
  expect_kept(log, 100);
  EXPECT_EQ(log.events.size(), 100u);
}

WalOptions wide() {
  WalOptions options = small_options();
  options.segment_bytes = 1 << 20;
  options.max_frame_bytes = options.window_bytes = 128 << 10;
  return options;
}

/// Tells of each frame that is handed to the device, and how often somebody waited for it.
class WatchedQueues final : public PassingStorage {
 public:
  using PassingStorage::PassingStorage;
  std::function<void(std::size_t in_flight)> on_submit = [](std::size_t) {};
  unsigned waits = 0;
  std::unique_ptr<FrameQueue> make_frame_queue(unsigned depth) override {
    return std::make_unique<Queue>(*this, PassingStorage::make_frame_queue(depth));
  }

 private:
  class Queue final : public FrameQueue {
   public:
    Queue(WatchedQueues& told, std::unique_ptr<FrameQueue> queue) : told_(told), queue_(std::move(queue)) {}
    void submit(const FrameWrite& write) override {
      queue_->submit(write);
      told_.on_submit(queue_->in_flight());
    }
    void reap(bool wait, std::vector<FrameCompletion>& out) override {
      told_.waits += wait ? 1 : 0;
      queue_->reap(wait, out);
    }
    [[nodiscard]] std::size_t in_flight() const override { return queue_->in_flight(); }

   private:
    WatchedQueues& told_;
    const std::unique_ptr<FrameQueue> queue_;
  };
};

std::unique_ptr<WalWriter> writer_of(Disk& disk, const std::shared_ptr<WatchedQueues>& queues,
                                     const WalOptions& options = small_options()) {
  WalCreate create;
  create.directory = kDirectory;
  create.store = kStore;
  return WalWriter::create(queues, options, create, disk.clock, disk.random).value();
}

bool sleeps_soon(pid_t thread) {
  for (int look = 0; look < 2000; ++look) {
    std::ifstream in("/proc/self/task/" + std::to_string(thread) + "/stat");
    std::string stat;
    std::getline(in, stat);
    if (const auto name_ends = stat.rfind(')'); name_ends != std::string::npos && stat.substr(name_ends, 3) == ") S")
      return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

/// While a frame is handed over, one thread comes to wait: its record alone begins no second frame, two records do.
TEST(WalWriter, SeveralFramesAreUnderWayWhereRecordsWaitAndOneWhereThreadsDo) {
  for (const Sequence records : {1, 2}) {
    SCOPED_TRACE(records);
    Disk disk;
    const auto watched = std::make_shared<WatchedQueues>(*disk.storage);
    const std::unique_ptr<WalWriter> watched_writer = writer_of(disk, watched);
    WalWriter& wal = *watched_writer;
    append_to(wal, 1);
    ASSERT_TRUE(wal.wait_durable(1).ok());  // zeros ahead of frames are written by now
    std::thread other;
    std::size_t most = 0;
    bool sleeps = false;
    watched->on_submit = [&](std::size_t in_flight) {
      most = std::max(most, in_flight);
      if (other.joinable()) return;
      append_to(wal, 2 + records);
      std::atomic<pid_t> id = 0;
      other = std::thread([&wal, &id, records] {
        id = ::gettid();
        EXPECT_TRUE(wal.wait_durable(2 + records).ok());
      });
      while (id == 0) std::this_thread::yield();
      sleeps = sleeps_soon(id);
    };
    append_to(wal, 2);
    EXPECT_TRUE(wal.wait_durable(2).ok());
    other.join();
    EXPECT_TRUE(sleeps);
    EXPECT_EQ(most, records);
    expect_kept(read_log(*disk.storage), 2 + records);
  }
}

/// A frame behind one that is under way costs the device another write, so it is begun only for much.
TEST(WalWriter, WhatNobodyWaitsForSharesAFrame) {
  for (const bool much : {false, true}) {
    SCOPED_TRACE(much);
    Disk disk;
    const auto watched = std::make_shared<WatchedQueues>(*disk.storage);
    const std::unique_ptr<WalWriter> watched_writer = writer_of(disk, watched, wide());
    WalWriter& wal = *watched_writer;
    append_to(wal, 1, 500);
    ASSERT_TRUE(wal.wait_durable(1).ok());
    const Sequence last = much ? 202 : 12;
    std::size_t most = 0;
    watched->on_submit = [&](std::size_t in_flight) {
      most = std::max(most, in_flight);
      append_to(wal, last, 500);
      EXPECT_EQ(wal.fills_a_frame(), much);
    };
    append_to(wal, 2, 500);
    EXPECT_FALSE(wal.fills_a_frame());
    ASSERT_TRUE(wal.poll());
    EXPECT_EQ(most, much ? 2 : 1);
    while (wal.poll()) {}
    EXPECT_EQ(wal.stats().frames, 3U) << "what came meanwhile is in one";
    expect_kept(read_log(*disk.storage), last, 500);
  }
}

TEST(WalWriter, DestroyedWritesNothing) {
  Disk disk;
  auto wal = disk.writer();
  append_to(*wal, 100);
  ASSERT_TRUE(wal->wait_durable(50).ok());
  ASSERT_TRUE(wal->wait_durable(100).ok());
  append_to(*wal, 120);
  const std::uint64_t before = disk.storage->fingerprint();
  wal.reset();
  EXPECT_EQ(disk.storage->fingerprint(), before);
}

TEST(WalWriter, AProcessWriteIsInTheRingBeforeAppendReturns) {
  Disk disk;
  auto wal = disk.writer();
  append_to(*wal, 30);
  disk.storage->kill();
  const Log log = read_log(*disk.storage);
  ASSERT_EQ(log.tail.entries.size(), 30u);
  EXPECT_TRUE(log.tail.whole && log.tail.mark_known);
  for (const WalRecord& r : log.tail.entries) EXPECT_EQ(r.event, event_of(r.sequence));
}

TEST(WalWriter, OneFaultFree_TheRingStandsTwice) {
  Disk disk;
  auto wal = disk.writer();
  append_to(*wal, 30);
  ASSERT_TRUE(wal->wait_durable(10).ok());
  const std::string path = kDirectory + "/wal/" + tail_name(read_log(*disk.storage).tail.header.nonce);
  const std::string ring = *read_whole(*disk.storage, path, 2 * tail_half_bytes(kMaxTailBytes));
  EXPECT_EQ(ring.substr(0, ring.size() / 2), ring.substr(ring.size() / 2));
}

TEST(WalWriter, RotatesSealsAndNamesThePredecessor) {
  Disk disk;
  auto wal = disk.writer();
  for (Sequence s = 1; s <= 200; s += 5) {
    append_to(*wal, s + 4, 500);
    ASSERT_TRUE(wal->wait_durable(s + 4).ok());
  }
  EXPECT_GT(wal->stats().rotations, 1u);
  EXPECT_EQ(wal->stats().failures, 0u);
  const Log log = read_log(*disk.storage);
  expect_kept(log, 200, 500);
  for (std::size_t i = 0; i + 1 < log.scans.size(); ++i) {
    const SegmentScan& scan = log.scans[i].second;
    const SegmentScan& next = log.scans[i + 1].second;
    EXPECT_EQ(scan.stop, Stop::kSealed);
    EXPECT_EQ(scan.next_segment, next.header->number);
    EXPECT_EQ(next.header->predecessor.number, scan.header->number);
    EXPECT_EQ(next.header->predecessor.last_sequence, scan.last_good_sequence);
    EXPECT_EQ(next.header->start_sequence, scan.last_good_sequence + 1);
    EXPECT_EQ(next.header->required_features, kSegmentSaysOwnFrom) << "older code would lose what it has to refuse";
    EXPECT_EQ(next.header->own_from, 1U);
  }
}

TEST(WalWriter, AnIdleLogTellsThatAllOfItIsDurable) {
  Disk disk;
  auto wal = disk.writer();
  ASSERT_TRUE(wal->step_idle().ok());
  EXPECT_EQ(wal->stats().marks, 0u) << "an empty log has nothing to tell";
  append_to(*wal, 10);
  ASSERT_TRUE(wal->wait_durable(10).ok());
  EXPECT_LT(read_log(*disk.storage).durable_proof, 10u);
  ASSERT_TRUE(wal->step_idle().ok());
  EXPECT_EQ(read_log(*disk.storage).durable_proof, 10u);
  ASSERT_TRUE(wal->step_idle().ok());
  EXPECT_EQ(wal->stats().marks, 1u) << "once is enough";
  append_to(*wal, 12);
  ASSERT_TRUE(wal->wait_durable(12).ok());
  expect_kept(read_log(*disk.storage), 12);
}

TEST(WalWriter, AFrameTellsOnlyWhatWasDurableWhenItWasWritten) {
  Disk disk;
  auto wal = disk.writer();
  append_to(*wal, 5);
  ASSERT_TRUE(wal->wait_durable(5).ok());
  disk.storage->inject({.kind = FaultKind::kStall, .path_contains = ".log"});
  append_to(*wal, 35, 500);
  ASSERT_TRUE(wal->step(false).ok());
  ASSERT_EQ(wal->durable_sequence(), 5u);
  disk.storage->power_cut(100);
  const Log log = read_log(*disk.storage);
  ASSERT_GT(log.events.size(), 20u) << "several frames were in flight";
  EXPECT_LE(log.durable_proof, 5u);
}

TEST(WalWriter, AFailedSyncMovesToANewSegmentAndAcknowledges) {
  for (unsigned skip = 0; skip < 6; ++skip) {
    SCOPED_TRACE("skip " + std::to_string(skip));
    Disk disk(skip + 1);
    auto wal = disk.writer();
    append_to(*wal, 5);
    ASSERT_TRUE(wal->wait_durable(5).ok());
    disk.storage->inject({.kind = FaultKind::kSyncError, .path_contains = ".log", .skip = skip, .times = 1});
    append_to(*wal, 80, 40);
    ASSERT_TRUE(wal->wait_durable(80).ok());
    append_to(*wal, 90);
    ASSERT_TRUE(wal->wait_durable(90).ok());
    if (disk.storage->faults_fired() > 0) { EXPECT_EQ(wal->stats().failures, 1u); }
    disk.storage->power_cut(0);
    const Log log = read_log(*disk.storage);
    expect_kept(log, 90);
    if (disk.storage->faults_fired() > 0) { EXPECT_EQ(log.scans.size(), 2u); }
  }
}

/// For each frame of the log, its header and what it tells of those before it.
std::vector<std::pair<FrameHeader, std::vector<FrameFootprint>>> tellings(Storage& storage) {
  std::vector<std::pair<FrameHeader, std::vector<FrameFootprint>>> all;
  for (const std::string& path : log_paths(storage)) {
    const std::unique_ptr<File> file = *storage.open(path, OpenMode::kRead);
    read_segment(storage, path, kStore, [&](const FrameView& f) {
      std::string bytes(f.header.frame_bytes, '\0');
      ASSERT_EQ(*file->read(f.header.offset, bytes), bytes.size());
      all.emplace_back(f.header, earlier_footprints(kStore, f.header, bytes));
    });
  }
  return all;
}

// Across segments, and where frames that failed are framed again in other portions.
TEST(WalWriter, EachFrameTellsOfTheKeysOfThoseBeforeIt) {
  Disk disk;
  auto wal = disk.writer();
  for (Sequence s = 1; s <= 30; ++s) {
    if (s == 20) disk.storage->inject({.kind = FaultKind::kWriteError, .path_contains = ".log", .times = 1});
    append_to(*wal, s + s % 3);
    ASSERT_TRUE(wal->wait_durable(wal->appended_sequence()).ok());
  }
  ASSERT_EQ(wal->stats().failures, 1U);
  ASSERT_GE(log_paths(*disk.storage).size(), 4U);
  ASSERT_TRUE(wal->step_idle().ok());
  Sequence from = 1;  // nothing is told across the frames of a failed write
  for (const auto& [header, told] : tellings(*disk.storage)) {
    if (header.first_sequence <= from) continue;
    ASSERT_FALSE(told.empty()) << header.first_sequence;
    EXPECT_LE(told.front().first, from);
    EXPECT_EQ(told.back().last + 1, header.first_sequence);
    for (Sequence s = 1; s < header.first_sequence; ++s) {
      for (const FrameFootprint& one : told)
        EXPECT_EQ(one.footprint.touches(1, "key" + std::to_string(s)), one.first <= s && s <= one.last) << s;
    }
  }
}

TEST(WalWriter, TheFirstFrameTellsOfTheKeysOfTheLifeBefore) {
  Disk disk;
  EarlierFootprints before;
  for (Sequence s = 5; s <= 7; ++s) before.keep(s, s, encode_footprint(*footprint(event_of(s))));
  const std::string again = event_of(7);
  const std::vector<WalRecord> persist = {{7, again}};
  const auto wal = disk.try_writer(small_options(), 3, 7, persist, before);
  ASSERT_TRUE(wal.ok());
  append_to(**wal, 8);
  ASSERT_TRUE((*wal)->wait_durable(8).ok());
  const auto all = tellings(*disk.storage);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_TRUE(footprint_between(all[0].second, 5, 6));
  EXPECT_TRUE(footprint_between(all[1].second, 5, 7));
}

// It is given up as soon as the next one begins where it did, and then goes.
TEST(WalWriter, AnEmptySegmentIsNobodysPredecessor) {
  Disk disk;
  const auto wal = disk.writer();
  append_to(*wal, 5);
  ASSERT_TRUE(wal->wait_durable(5).ok());
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(wal->reboot().ok());
  append_to(*wal, 6);
  ASSERT_TRUE(wal->wait_durable(6).ok());
  disk.storage->inject({.kind = FaultKind::kWriteError, .path_contains = ".log", .times = 1});
  append_to(*wal, 7);
  ASSERT_TRUE(wal->wait_durable(7).ok());
  Sequence begins = 0;
  std::uint64_t newest = 0;
  const Log log = read_log(*disk.storage);
  for (const auto& [path, scan] : log.scans) {
    if (begins != 0) {
      EXPECT_EQ(scan.header->predecessor.number, newest) << path;
      EXPECT_LT(begins, scan.header->start_sequence) << path;
    }
    if (scan.last_good_sequence < scan.header->start_sequence) continue;
    begins = scan.header->start_sequence;
    newest = scan.header->number;
  }
  EXPECT_GE(log.scans.size(), 3U);
}

TEST(WalWriter, AFailedWriteNeverTouchesThatSegmentAgain) {
  Disk disk;
  auto wal = disk.writer();
  append_to(*wal, 5);
  ASSERT_TRUE(wal->wait_durable(5).ok());
  disk.storage->inject({.kind = FaultKind::kWriteError, .path_contains = "0000000000000001.log"});  // for ever
  append_to(*wal, 300);
  ASSERT_TRUE(wal->wait_durable(300).ok());
  EXPECT_EQ(wal->stats().failures, 1u) << "a second failure means that it was written again";
  disk.storage->power_cut(0);
  expect_kept(read_log(*disk.storage), 300);
}

TEST(WalWriter, WithNoWayToWriteSaysSoKeepsAllAndComesBack) {
  Disk disk;
  auto wal = disk.writer();
  append_to(*wal, 5);
  ASSERT_TRUE(wal->wait_durable(5).ok());
  disk.storage->inject({.kind = FaultKind::kWriteError, .path_contains = ".log"});
  append_to(*wal, 20);
  const Status down = wal->wait_durable(20);
  ASSERT_TRUE(down.is(Code::kUnavailable)) << down.to_string();
  EXPECT_TRUE(wal->append(21, event_of(21)).is(Code::kUnavailable));
  EXPECT_FALSE(wal->try_repair().ok());
  EXPECT_TRUE(wal->wait_durable(5).ok()) << "what was durable stays so";
  disk.storage->clear_faults();
  ASSERT_TRUE(wal->try_repair().ok());
  EXPECT_EQ(wal->durable_sequence(), 20u) << "process writes of before are made durable";
  append_to(*wal, 30);
  ASSERT_TRUE(wal->wait_durable(30).ok());
  disk.storage->power_cut(0);
  expect_kept(read_log(*disk.storage), 30);
}

TEST(WalWriter, AFullDiskThatEmptiesHeals) {
  Disk disk;
  auto wal = disk.writer();
  append_to(*wal, 5);
  ASSERT_TRUE(wal->wait_durable(5).ok());
  disk.storage->inject({.kind = FaultKind::kNoSpace});
  Status status;
  Sequence s = 5;
  while (status.ok() && s < 10000) {
    ++s;
    status = wal->append(s, event_of(s));
    if (status.ok()) status = wal->wait_durable(s);
  }
  ASSERT_TRUE(status.is(Code::kUnavailable)) << status.to_string();
  disk.storage->clear_faults();
  ASSERT_TRUE(wal->try_repair().ok());
  append_to(*wal, s + 10);
  ASSERT_TRUE(wal->wait_durable(s + 10).ok());
  expect_kept(read_log(*disk.storage), s + 10);
}

TEST(WalWriter, WhatMakesNoSenseIsRefusedAndChangesNothing) {
  Disk disk;
  const std::uint64_t before = disk.storage->fingerprint();
  const auto refused = [&](auto change) {
    WalOptions options = small_options();
    change(options);
    return disk.try_writer(options).status().is(Code::kInvalidArgument);
  };
  EXPECT_TRUE(refused([](WalOptions& o) { o.ring_bytes = kMinTailBytes - kSectorBytes; }));
  EXPECT_TRUE(refused([](WalOptions& o) { o.ring_bytes = kMaxTailBytes + kSectorBytes; }));
  EXPECT_TRUE(refused([](WalOptions& o) { o.ring_bytes += 512; }));
  EXPECT_TRUE(refused([](WalOptions& o) { o.segment_bytes = kSegmentFramesAt; }));
  EXPECT_TRUE(refused([](WalOptions& o) { o.segment_bytes = kMaxSegmentBytes + kSectorBytes; }));
  EXPECT_TRUE(refused([](WalOptions& o) { o.segment_bytes += 512; }));
  EXPECT_TRUE(refused([](WalOptions& o) { o.window_bytes = 0; }));
  EXPECT_TRUE(refused([](WalOptions& o) { o.max_frame_bytes = 0; }));
  EXPECT_TRUE(refused([](WalOptions& o) { o.max_frame_bytes = kMaxEventBytes + 1; }));
  EXPECT_TRUE(refused([](WalOptions& o) { o.max_in_flight = 0; }));
  EXPECT_TRUE(refused([](WalOptions& o) { o.copies = 0; }));
  EXPECT_TRUE(refused([](WalOptions& o) { o.copies = 3; }));
  EXPECT_TRUE(disk.try_writer(small_options(), 0).status().is(Code::kInvalidArgument));
  EXPECT_TRUE(disk.try_writer(small_options(), 1, 0).status().is(Code::kInvalidArgument));
  const std::string event = event_of(2);
  const WalRecord behind_a_hole[] = {{2, event}};
  EXPECT_TRUE(disk.try_writer(small_options(), 1, 1, behind_a_hole).status().is(Code::kInvalidArgument));
  EXPECT_EQ(disk.storage->fingerprint(), before);
  auto wal = disk.writer();
  append_to(*wal, 3);
  EXPECT_TRUE(wal->wait_durable(4).is(Code::kInvalidArgument));
  EXPECT_TRUE(wal->wait_durable(3).ok());
}

TEST(WalWriter, AFullRingDrivesTheLogItself) {
  Disk disk;
  auto wal = disk.writer();
  append_to(*wal, 1000, 2000);  // 2 MB through 256 KiB
  EXPECT_GT(wal->durable_sequence(), 800u);
  EXPECT_LE(wal->pending_bytes(), 256u << 10);
  disk.storage->kill();
  const Log log = read_log(*disk.storage);
  std::map<Sequence, std::string> all = log.events;
  for (const WalRecord& r : log.tail.entries) all[r.sequence] = std::string(r.event);
  EXPECT_TRUE(log.tail.whole);
  ASSERT_EQ(all.size(), 1000u);
  for (const auto& [s, event] : all) ASSERT_EQ(event, event_of(s, 2000));
}

TEST(WalWriter, ABigEventGoesAroundTheRingAndIsDurableAtOnce) {
  Disk disk;
  auto wal = disk.writer();
  append_to(*wal, 3);
  for (std::size_t bytes : {std::size_t{65 << 10}, std::size_t{300 << 10}, std::size_t{3 << 20}}) {
    const Sequence s = wal->appended_sequence() + 1;
    ASSERT_TRUE(wal->append(s, event_of(s, bytes)).ok());
    EXPECT_EQ(wal->durable_sequence(), s);
    append_to(*wal, s + 3);
    ASSERT_TRUE(wal->wait_durable(s + 3).ok());
  }
  disk.storage->power_cut(0);
  const Log log = read_log(*disk.storage);
  ASSERT_EQ(log.events.size(), 15u);
  EXPECT_EQ(log.events.at(4), event_of(4, 65 << 10));
  EXPECT_EQ(log.events.at(12), event_of(12, 3 << 20));
  EXPECT_EQ(log.events.at(15), event_of(15));
}

TEST(WalWriter, ABigEventThatCannotBeWrittenIsNotKept) {
  Disk disk;
  auto wal = disk.writer();
  append_to(*wal, 3);
  ASSERT_TRUE(wal->wait_durable(3).ok());
  disk.storage->inject({.kind = FaultKind::kWriteError, .path_contains = ".log"});
  EXPECT_TRUE(wal->append(4, event_of(4, 300 << 10)).is(Code::kUnavailable));
  EXPECT_EQ(wal->appended_sequence(), 3u);
  disk.storage->clear_faults();
  ASSERT_TRUE(wal->try_repair().ok());
  append_to(*wal, 6);
  ASSERT_TRUE(wal->wait_durable(6).ok());
  expect_kept(read_log(*disk.storage), 6);
}

TEST(WalWriter, RetiredSegmentsAreReusedAndTheirBytesNeverComeBack) {
  Disk disk;
  auto wal = disk.writer();
  for (Sequence s = 1; s <= 2000; ++s) {
    append_to(*wal, s, 300);
    ASSERT_TRUE(wal->wait_durable(s).ok());
    if (s % 50 != 0) continue;
    ASSERT_TRUE(wal->retire_below(s - 10).ok());
    ASSERT_LE(wal->live_segments().front().start_sequence, s - 10);
  }
  EXPECT_GT(wal->stats().recycled, 3u);
  EXPECT_LE(wal->live_segments().size(), 8u);
  disk.storage->power_cut(0);
  const Log log = read_log(*disk.storage);
  EXPECT_TRUE(log.events.count(2000));
  const Sequence oldest = log.scans.front().second.header->start_sequence;
  EXPECT_LE(oldest, 1990u);
  for (const auto& [s, event] : log.events) {
    ASSERT_GE(s, oldest);
    ASSERT_EQ(event, event_of(s, 300));
  }
  for (Sequence s = oldest; s <= 2000; ++s) ASSERT_TRUE(log.events.count(s)) << s;
}

TEST(WalWriter, TellsWhatIsDurableWhoeverDrivesIt) {
  Disk disk;
  auto wal = disk.writer();
  append_to(*wal, 500);
  ASSERT_TRUE(wal->wait_durable(500).ok());
  EXPECT_EQ(wal->durable_sequence(), 500u);
  EXPECT_FALSE(wal->poll());
  append_to(*wal, 510);
  EXPECT_EQ(wal->durable_sequence(), 500u);
  while (wal->poll()) {}
  EXPECT_EQ(wal->durable_sequence(), 510u);
}

TEST(WalWriter, WhatRecoveryHandsOverIsDurableBeforeTheRingIsEmptied) {
  Disk counter;
  std::vector<std::string> events;
  std::vector<WalRecord> records;
  for (Sequence s = 1; s <= 40; ++s) events.push_back(event_of(s, 400));
  for (Sequence s = 1; s <= 40; ++s) records.push_back({s, events[s - 1]});
  // A first life leaves 40 events in the ring only; a second one persists them, crashing everywhere.
  for (std::uint64_t point = 0;; ++point) {
    SCOPED_TRACE("crash point " + std::to_string(point));
    Disk disk(point + 1);
    auto first = disk.writer();
    append_to(*first, 40, 400);
    disk.storage->kill();
    first.reset();
    disk.storage->crash_at(disk.storage->operations() + point, true);
    const bool made = disk.try_writer(small_options(), 2, 1, records).ok();
    const bool crashed = disk.storage->crashed();
    disk.storage->kill();
    disk.storage->disarm();
    const Log log = read_log(*disk.storage);
    std::map<Sequence, std::string> all = log.events;
    for (const WalRecord& r : log.tail.entries) all[r.sequence] = std::string(r.event);
    ASSERT_EQ(all.size(), 40u);
    for (const auto& [s, event] : all) ASSERT_EQ(event, event_of(s, 400));
    if (made && !crashed) break;
  }
}

// The heart: at every crash point, with every kind of end, what was acknowledged is there and nothing is wrong.
struct Story {
  Sequence durable = 0;   // acknowledged with power
  Sequence appended = 0;  // acknowledged with process
};
Story live(Disk& disk) {
  Story story;
  auto made = disk.try_writer();
  if (!made.ok()) return story;
  WalWriter& wal = **made;
  for (Sequence s = 1; s <= 120; ++s) {
    if (!wal.append(s, event_of(s, 300)).ok()) break;
    story.appended = s;
    if (s % 3 == 0) {
      if (!wal.wait_durable(s).ok()) break;
      story.durable = s;
    }
    if (s % 7 == 0 && !wal.step(false).ok()) break;
    if (s % 20 == 0 && (!wal.step_idle().ok() || !wal.retire_below(0).ok())) break;
  }
  story.durable = std::max(story.durable, wal.durable_sequence());
  return story;
}

TEST(WalWriter, AckedIsKeptAtEveryCrashPoint) {
  std::uint64_t points = 0;
  {
    Disk disk;
    const Story story = live(disk);
    ASSERT_EQ(story.appended, 120u);
    points = disk.storage->operations();
  }
  ASSERT_GT(points, 50u);
  for (std::uint64_t point = 0; point < points; ++point) {
    for (const bool power : {true, false}) {
      for (const unsigned survive : {0u, 50u, 100u}) {
        if (!power && survive != 50) continue;
        SCOPED_TRACE("crash point " + std::to_string(point) +
                     (power ? " power cut, survive " + std::to_string(survive) : " kill"));
        Disk disk(point * 7 + survive);
        disk.storage->crash_at(point, point % 2 == 1);
        const Story story = live(disk);
        if (power)
          disk.storage->power_cut(survive);
        else
          disk.storage->kill();
        disk.storage->disarm();
        const Log log = read_log(*disk.storage);
        std::map<Sequence, std::string> all = log.events;
        if (!power) {
          for (const WalRecord& r : log.tail.entries) all[r.sequence] = std::string(r.event);
        }
        const Sequence promised = power ? story.durable : story.appended;
        for (Sequence s = 1; s <= promised; ++s) ASSERT_TRUE(all.count(s)) << "lost " << s << " of " << promised;
        for (const auto& [s, event] : all) ASSERT_EQ(event, event_of(s, 300)) << "wrong " << s;
        ASSERT_LE(log.durable_proof, story.appended) << "a proof of what was never given";
      }
    }
  }
}

// --- zeros ahead of frames
// -------------------------------------------------------------------------------------------------------------------

const std::string kFirstSegment = kDirectory + "/wal/" + segment_name(1);

/// A writer whose first segment shows what is written to: 'x' in all of its space for frames.
std::unique_ptr<WalWriter> writer_into_marked_space(Disk& disk) {
  auto wal = disk.writer(wide());
  EXPECT_TRUE(
      disk.storage
          ->overwrite(kFirstSegment, kSegmentFramesAt, std::string(wide().segment_bytes - kSegmentFramesAt, 'x'))
          .ok());
  return wal;
}

/// What stands in a segment behind `offset`: how many zeros, then from where on nothing but the mark.
std::pair<std::uint64_t, std::uint64_t> zeros_and_mark(Disk& disk, std::uint64_t offset) {
  const std::string file = *read_whole(*disk.storage, kFirstSegment, 1 << 20);
  const std::size_t zeros_end = std::min(file.find_first_not_of('\0', offset), file.size());
  const std::size_t unmarked = file.find_last_not_of('x');
  return {zeros_end - offset, unmarked == std::string::npos ? 0 : unmarked + 1};
}

TEST(WalWriter, ZerosGoOnceAheadOfSmallFrames) {
  Disk disk;
  auto wal = writer_into_marked_space(disk);
  const auto put = [&] {
    append_to(*wal, wal->appended_sequence() + 1);
    ASSERT_TRUE(wal->wait_durable(wal->appended_sequence()).ok());
  };
  put();
  const std::uint64_t frame = kEmptyFrameBytes;  // as large as that of a small event
  std::uint64_t end = kSegmentFramesAt + frame;
  const auto [zeros, mark_at] = zeros_and_mark(disk, end);
  EXPECT_EQ(zeros, (64U << 10) - frame);
  EXPECT_EQ(mark_at, end + zeros);
  for (; end + frame <= mark_at; end += frame) {
    EXPECT_EQ(zeros_and_mark(disk, end), std::make_pair(mark_at - end, mark_at));
    put();
  }
  put();
  EXPECT_GE(zeros_and_mark(disk, end + frame).second, end + (64U << 10)) << "more, and more of them";
  EXPECT_EQ(wal->stats().failures, 0U);
  disk.storage->power_cut(0);
  expect_kept(read_log(*disk.storage), wal->appended_sequence());
}

TEST(WalWriter, AFrameThatIsNotSmallIsWrittenOnce) {
  Disk disk;
  auto wal = writer_into_marked_space(disk);
  append_to(*wal, 1, 100 << 10);
  ASSERT_TRUE(wal->wait_durable(1).ok());
  const std::uint64_t end = kSegmentFramesAt + wal->stats().frame_bytes;
  EXPECT_EQ(zeros_and_mark(disk, end), std::make_pair(std::uint64_t{0}, end));
}

TEST(WalWriter, AFrameThatNobodyWaitsForIsWrittenOnce) {
  for (const bool waits : {false, true}) {
    Disk disk;
    auto wal = writer_into_marked_space(disk);
    for (Sequence s = 1; s <= 40; ++s) append_to(*wal, s, 1000);
    if (waits) {
      ASSERT_TRUE(wal->wait_durable(40).ok());
    } else {
      ASSERT_TRUE(wal->poll());
    }
    ASSERT_EQ(wal->stats().frames, 1U);
    const std::uint64_t end = kSegmentFramesAt + wal->stats().frame_bytes;
    EXPECT_EQ(zeros_and_mark(disk, end).first != 0, waits);
  }
}

TEST(WalWriter, ZerosThatCannotBeWrittenAreAFailedWrite) {
  for (const FaultKind kind : {FaultKind::kWriteError, FaultKind::kSyncError, FaultKind::kShortWrite}) {
    Disk disk;
    auto wal = writer_into_marked_space(disk);
    disk.storage->inject({.kind = kind, .path_contains = segment_name(1), .times = 1});
    append_to(*wal, 10);
    ASSERT_TRUE(wal->wait_durable(10).ok());
    EXPECT_EQ(wal->stats().failures, 1U);
    disk.storage->power_cut(0);
    const Log log = read_log(*disk.storage);
    expect_kept(log, 10);
    ASSERT_EQ(log.scans.size(), 2U);
    EXPECT_EQ(log.scans[0].second.last_good_sequence, 0U) << "no frame behind what failed";
  }
}

TEST(WalWriter, NoFrameGoesWhereZerosAreUnderWay) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Disk disk(seed);
    auto wal = disk.writer(wide());
    disk.storage->inject({.kind = FaultKind::kStall, .path_contains = ".log"});
    append_to(*wal, 10);
    for (int i = 0; i < 2; ++i) EXPECT_TRUE(wal->wait_durable(10).is(Code::kUnavailable));
    disk.storage->clear_faults();
    append_to(*wal, 20);
    ASSERT_TRUE(wal->wait_durable(20).ok());
    EXPECT_EQ(wal->stats().failures, 0U);
    disk.storage->power_cut(0);
    expect_kept(read_log(*disk.storage), 20);
  }
}

// --- a device that stalls
// -------------------------------------------------------------------------------------------------------------------

/// Whoever appends has others wait behind him, so they wait for it once and not in turn, whoever was the first; and
/// when it answers they go on.
TEST(WalWriter, ThoseWhoFindTheRingFullWaitOnceForAStalledDevice) {
  for (const bool noticed_before : {false, true}) {
    SCOPED_TRACE(noticed_before);
    Disk disk;
    const auto watched = std::make_shared<WatchedQueues>(*disk.storage);
    const std::unique_ptr<WalWriter> watched_writer = writer_of(disk, watched);
    WalWriter& wal = *watched_writer;
    append_to(wal, 5, 2000);
    ASSERT_TRUE(wal.wait_durable(5).ok());
    disk.storage->inject({.kind = FaultKind::kStall, .path_contains = ".log"});
    append_to(wal, 6, 2000);
    watched->waits = 0;
    if (noticed_before) { ASSERT_TRUE(wal.wait_durable(6).is(Code::kUnavailable)); }
    const auto next = [&](std::size_t bytes) {
      const Sequence s = wal.appended_sequence() + 1;
      return wal.append(s, event_of(s, bytes));
    };
    Status full;
    while (full.ok()) full = next(2000);
    EXPECT_TRUE(full.is(Code::kUnavailable)) << full.to_string();
    const unsigned waits = watched->waits;
    EXPECT_GT(waits, 0U);
    for (int i = 0; i < 5; ++i) {
      EXPECT_EQ(next(2000).to_string(), full.to_string());
      EXPECT_EQ(next(300 << 10).to_string(), full.to_string()) << "around the ring";
    }
    EXPECT_EQ(watched->waits, waits);
    EXPECT_TRUE(wal.wait_durable(6).is(Code::kUnavailable));
    EXPECT_EQ(watched->waits, 2 * waits) << "behind whom nobody waits has the time to himself";
    disk.storage->clear_faults();
    EXPECT_TRUE(wal.poll());
    const Sequence last = wal.appended_sequence() + 200;
    append_to(wal, last, 2000);
    ASSERT_TRUE(wal.wait_durable(last).ok());
    disk.storage->power_cut(0);
    expect_kept(read_log(*disk.storage), last, 2000);
  }
}

TEST(WalWriter, ManyThreadsShareFramesOnTheRealDisk) {
  const TemporaryDirectory directory;
  ASSERT_FALSE(directory.path().empty());
  const std::string& name = directory.path();
  std::shared_ptr<Storage> storage = make_posix_storage();
  ManualClock clock;
  Random random(7);
  WalOptions options;
  options.segment_bytes = 1 << 20;
  options.ring_bytes = 256 << 10;
  constexpr Sequence kEvents = 4000;
  {
    WalCreate create;
    create.directory = name;
    create.store = kStore;
    auto made = WalWriter::create(storage, options, create, system_clock(), random);
    ASSERT_TRUE(made.ok()) << made.status().to_string();
    WalWriter& wal = **made;
    Mutex order;
    Sequence next = 1;
    std::atomic<bool> stop{false};
    std::thread background([&] {
      while (!stop) {
        wal.poll();
        std::this_thread::yield();
      }
    });
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&] {
        for (;;) {
          Sequence mine = 0;
          {
            MutexLock lock(order);
            if (next > kEvents) return;
            mine = next++;
            ASSERT_TRUE(wal.append(mine, event_of(mine, mine % 1000 == 0 ? 100000 : 300)).ok());
          }
          if (mine % 4 == 0) { ASSERT_TRUE(wal.wait_durable(mine).ok()); }
          if (mine % 512 == 0) { ASSERT_TRUE(wal.retire_below(1).ok()); }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_TRUE(wal.wait_durable(kEvents).ok());
    stop = true;
    background.join();
    EXPECT_EQ(wal.stats().failures, 0u);
  }
  Sequence seen = 0;
  auto entries = storage->list(name + "/wal");
  ASSERT_TRUE(entries.ok());
  for (const DirectoryEntry& entry : *entries) {
    if (!parse_segment_name(entry.name)) continue;
    read_segment(*storage, std::string(name) + "/wal/" + entry.name, kStore, [&](const FrameView& f) {
      for_each_record(f.header, f.payload, [&](const WalRecord& r) {
        ASSERT_EQ(r.sequence, ++seen);
        ASSERT_EQ(r.event, event_of(r.sequence, r.sequence % 1000 == 0 ? 100000 : 300));
      });
    });
  }
  EXPECT_EQ(seen, kEvents);
}

// --- space ---

std::uint64_t bytes_of_log(Storage& storage) {
  std::uint64_t bytes = 0;
  const Result<std::vector<DirectoryEntry>> entries = storage.list(kDirectory + "/wal");
  for (const DirectoryEntry& entry : *entries) bytes += entry.bytes;
  return bytes;
}

WalOptions roomy() {
  WalOptions o = small_options();
  o.segment_bytes = 1 << 20;
  o.ring_bytes = 1 << 20;
  return o;
}

TEST(WalWriter, GivesSpaceBackAndTakesItAgain) {
  Disk disk;
  auto wal = disk.writer(roomy());
  append_to(*wal, 3000, 500);  // more than a segment
  ASSERT_TRUE(wal->wait_durable(3000).ok());
  ASSERT_TRUE(wal->retire_below(3001).ok());
  EXPECT_TRUE(wal->spacious());
  ASSERT_TRUE(wal->give_back_space().ok());
  EXPECT_FALSE(wal->spacious());
  ASSERT_TRUE(wal->retire_below(3001).ok());
  EXPECT_LT(bytes_of_log(*disk.storage), 1U << 20);
  EXPECT_EQ(wal->durable_sequence(), 3000U);
  append_to(*wal, 3100, 500);
  append_to(*wal, 6000, 500);
  EXPECT_TRUE(wal->spacious());
  EXPECT_EQ(wal->stats().failures, 0U);
  disk.storage->kill();
  Log log = read_log(*disk.storage);
  EXPECT_TRUE(log.tail.whole);
  for (const WalRecord& record : log.tail.entries) log.events.emplace(record.sequence, record.event);
  for (Sequence s = 3001; s <= 6000; ++s) ASSERT_EQ(log.events[s], event_of(s, 500)) << s;
}

TEST(WalWriter, GivesNoSpaceBackThatHoldsAnything) {
  Disk disk;
  auto wal = disk.writer(roomy());
  append_to(*wal, 50);
  ASSERT_TRUE(wal->give_back_space().ok());
  EXPECT_TRUE(wal->spacious());
  disk.storage->kill();
  const Log log = read_log(*disk.storage);
  EXPECT_EQ(log.tail.entries.size() + log.events.size(), 50U);
}

TEST(WalWriter, ASmallRingDoesWhereThereIsNoRoomForALargerOne) {
  Disk disk;
  auto wal = disk.writer(roomy());
  ASSERT_TRUE(wal->give_back_space().ok());
  disk.storage->inject({.kind = FaultKind::kNoSpace, .path_contains = "tail-"});
  append_to(*wal, 2000, 500);
  EXPECT_FALSE(wal->spacious());
  disk.storage->clear_faults();
  ASSERT_TRUE(wal->wait_durable(2000).ok());
  expect_kept(read_log(*disk.storage), 2000, 500);
  ASSERT_TRUE(wal->give_back_space().ok());
  append_to(*wal, 4000, 500);
  EXPECT_TRUE(wal->spacious()) << "it is tried again after the next quiet";
}

std::size_t rings_in(Storage& storage, const std::string& directory) {
  const Result<std::vector<DirectoryEntry>> entries = storage.list(kDirectory + "/" + directory);
  return static_cast<std::size_t>(std::count_if(entries->begin(), entries->end(), [](const DirectoryEntry& entry) {
    return parse_tail_name(entry.name).has_value();
  }));
}

/// It holds nothing, and would take the room that the log needs to go on. Whether the log goes on at once or not, and
/// also where the ring could be made in one directory alone.
TEST(WalWriter, ARingThatNoSegmentCameToNameGoesAgain) {
  for (const Fault& fault : {Fault{.kind = FaultKind::kNoSpace, .path_contains = ".log"},
                             Fault{.kind = FaultKind::kNoSpace, .path_contains = ".log", .times = 1},
                             Fault{.kind = FaultKind::kNoDescriptors, .path_contains = "wal-copy/tail-"}}) {
    SCOPED_TRACE(fault.path_contains + ", times " + std::to_string(fault.times));
    Disk disk;
    WalOptions options = roomy();
    options.copies = fault.kind == FaultKind::kNoDescriptors ? 2 : 1;
    auto wal = disk.writer(options);
    append_to(*wal, 50);
    ASSERT_TRUE(wal->wait_durable(50).ok());
    disk.storage->inject(fault);
    (void)wal->give_back_space();
    EXPECT_GE(disk.storage->faults_fired(), 1U);
    EXPECT_EQ(rings_in(*disk.storage, "wal"), 1U);
    disk.storage->clear_faults();
    ASSERT_TRUE(wal->try_repair().ok());
    append_to(*wal, 60);
    disk.storage->kill();
    Log log = read_log(*disk.storage);
    for (const WalRecord& record : log.tail.entries) log.events.emplace(record.sequence, record.event);
    expect_kept(log, 60);
  }
}

WalOptions roomy_twice() {
  WalOptions options = roomy();
  options.copies = 2;
  return options;
}

/// Of which one directory has no room for a log file of more than so many bytes.
class Cramped final : public PassingStorage {
 public:
  Cramped(Storage& base, std::string directory) : PassingStorage(base), directory_(std::move(directory)) {}
  std::uint64_t room = ~std::uint64_t{0};
  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override {
    Result<std::unique_ptr<File>> file = PassingStorage::open(path, mode);
    if (!file.ok() || mode != OpenMode::kCreate || !path.starts_with(directory_) || !path.ends_with(".log.tmp"))
      return file;
    return std::unique_ptr<File>(std::make_unique<LogFile>(*this, std::move(*file)));
  }
  Result<std::uint64_t> free_bytes(const std::string& path) override {
    if (!(path + "/").starts_with(directory_)) return PassingStorage::free_bytes(path);
    return room;
  }

 private:
  class LogFile final : public PassingFile {
   public:
    LogFile(const Cramped& in, std::unique_ptr<File> file) : PassingFile(std::move(file)), in_(in) {}
    Status allocate(std::uint64_t bytes) override {
      return bytes <= in_.room ? PassingFile::allocate(bytes) : Status(Code::kNoSpace, "too large", {.file = path()});
    }

   private:
    const Cramped& in_;
  };
  const std::string directory_;
};

/// Another has no smaller segment for it, and nothing is given up.
TEST(WalWriter, AFullDirectoryOfTwoCostsThatOneAlone) {
  for (const std::string side : {"wal", "wal-copy"}) {
    for (const std::uint64_t room : {std::uint64_t{0}, 2 * WalWriter::kSmallSegmentBytes}) {
      SCOPED_TRACE(side + ", room for " + std::to_string(room));
      Disk disk;
      const auto cramped = std::make_shared<Cramped>(*disk.storage, kDirectory + "/" + side + "/");
      WalCreate create;
      create.directory = kDirectory;
      create.store = kStore;
      auto made = WalWriter::create(cramped, roomy_twice(), create, disk.clock, disk.random);
      ASSERT_TRUE(made.ok());
      WalWriter& wal = **made;
      unsigned asked = 0;
      wal.on_no_space([&asked] { return ++asked > 100; });
      cramped->room = room;
      append_to(wal, 5000, 500);
      ASSERT_TRUE(wal.wait_durable(5000).ok());
      EXPECT_EQ(wal.stats().copies, 1U);
      EXPECT_TRUE(wal.copy_trouble().is(Code::kNoSpace));
      EXPECT_EQ(asked, 0U);
      ASSERT_GT(wal.live_segments().size(), 2U);
      for (const LiveSegment& segment : wal.live_segments()) EXPECT_EQ(segment.bytes, roomy().segment_bytes);
      cramped->room = ~std::uint64_t{0};
      ASSERT_TRUE(wal.try_copies().ok());
      EXPECT_EQ(wal.stats().copies, 2U);
      EXPECT_TRUE(wal.copy_trouble().ok());
    }
  }
}

/// A new ring and segment would have no room beside the old ones.
TEST(WalWriter, AQuietLogStaysInADirectoryThatIsFull) {
  for (const std::string side : {"wal", "wal-copy"}) {
    SCOPED_TRACE(side);
    Disk disk;
    const auto cramped = std::make_shared<Cramped>(*disk.storage, kDirectory + "/" + side + "/");
    WalCreate create;
    create.directory = kDirectory;
    create.store = kStore;
    auto made = WalWriter::create(cramped, roomy_twice(), create, disk.clock, disk.random);
    ASSERT_TRUE(made.ok());
    cramped->room = 0;
    EXPECT_TRUE((*made)->give_back_space().ok());
    EXPECT_EQ((*made)->stats().copies, 2U);
    EXPECT_TRUE((*made)->copy_trouble().ok());
    cramped->room = ~std::uint64_t{0};
    EXPECT_TRUE((*made)->give_back_space().ok());
    EXPECT_FALSE((*made)->spacious());
  }
}

TEST(WalWriter, ARingThatADirectoryHadNoRoomForIsToldUntilTheNext) {
  Disk disk;
  auto wal = disk.writer(roomy_twice());
  disk.storage->inject({.kind = FaultKind::kNoSpace, .path_contains = "wal-copy/"});
  ASSERT_TRUE(wal->give_back_space().ok());
  EXPECT_EQ(rings_in(*disk.storage, "wal-copy"), 0U);
  disk.storage->clear_faults();
  ASSERT_TRUE(wal->try_copies().ok());
  EXPECT_EQ(wal->stats().copies, 2U);
  EXPECT_TRUE(wal->copy_trouble().is(Code::kNoSpace));
  append_to(*wal, 1000, 500);
  EXPECT_TRUE(wal->spacious());
  EXPECT_TRUE(wal->copy_trouble().ok());
  EXPECT_EQ(rings_in(*disk.storage, "wal-copy"), 1U);
}

TEST(WalWriter, SpaceIsGivenUpWhenNeitherDirectoryHasAny) {
  Disk disk;
  auto wal = disk.writer(roomy_twice());
  unsigned asked = 0;
  wal->on_no_space([&] {
    disk.storage->clear_faults();
    return ++asked > 0;
  });
  disk.storage->inject({.kind = FaultKind::kNoSpace, .path_contains = ".log"});
  append_to(*wal, 3000, 500);
  ASSERT_TRUE(wal->wait_durable(3000).ok());
  EXPECT_EQ(asked, 1U);
  EXPECT_EQ(wal->stats().failures, 0U);
  EXPECT_EQ(wal->stats().copies, 2U);
}

TEST(WalWriter, WhereADeviceHasNoRoomForTwoSegmentsBothAreSmall) {
  Disk disk;
  auto wal = disk.writer(roomy_twice());
  const std::uint64_t used = ~std::uint64_t{0} - *disk.storage->free_bytes(kDirectory);
  disk.storage->set_capacity(used + roomy().segment_bytes * 3 / 2);
  append_to(*wal, 1600, 500);  // more than a segment
  ASSERT_TRUE(wal->wait_durable(1600).ok());
  ASSERT_GT(wal->live_segments().size(), 1U);
  EXPECT_EQ(wal->live_segments().back().bytes, WalWriter::kSmallSegmentBytes);
  EXPECT_EQ(wal->stats().copies, 2U);
  EXPECT_TRUE(wal->copy_trouble().ok());
}

TEST(WalWriter, ACopyIsNotLeftOutBeforeTheBallastIsGivenBack) {
  Disk disk;
  auto wal = disk.writer(roomy_twice());
  const std::uint64_t used = ~std::uint64_t{0} - *disk.storage->free_bytes(kDirectory);
  disk.storage->set_capacity(used + WalWriter::kSmallSegmentBytes * 3 / 2);  // for one, and not for two
  unsigned asked = 0;
  wal->on_no_space([&] {
    disk.storage->set_capacity(~std::uint64_t{0});
    return ++asked > 0;
  });
  append_to(*wal, 1600, 500);  // more than a segment
  ASSERT_TRUE(wal->wait_durable(1600).ok());
  EXPECT_EQ(asked, 1U);
  EXPECT_EQ(wal->stats().copies, 2U);
}

// Killed or cut off from power anywhere while the ring is exchanged, both ways.
TEST(WalWriter, TheRingMayBeExchangedUnderAnyDeath) {
  for (const bool power : {false, true}) {
    for (std::uint64_t at = 0;; ++at) {
      Disk disk(at);
      auto wal = disk.writer(roomy());
      append_to(*wal, 100, 500);
      ASSERT_TRUE(wal->wait_durable(100).ok());
      disk.storage->crash_at(disk.storage->operations() + at);
      Sequence acknowledged = 100;
      bool goes_on = wal->give_back_space().ok();
      while (goes_on && acknowledged < 550) {
        goes_on = wal->append(acknowledged + 1, event_of(acknowledged + 1, 500)).ok() && !disk.storage->crashed();
        if (goes_on) ++acknowledged;
      }
      const bool died = disk.storage->crashed();
      if (power)
        disk.storage->power_cut();
      else
        disk.storage->kill();
      disk.storage->disarm();
      Log log = read_log(*disk.storage);
      if (!power) {
        for (const WalRecord& record : log.tail.entries) log.events.emplace(record.sequence, record.event);
      }
      expect_kept(log, power ? 100 : acknowledged, 500);
      if (!died) break;
    }
  }
}

}  // namespace
}  // namespace daruma
