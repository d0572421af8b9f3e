// SPDX-License-Identifier: Apache-2.0
// Reading ahead by a thread of its own: the same frames and the same findings, whoever gives up first.
#include "wal/read_ahead.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <new>
#include <stdexcept>
#include <thread>

#include "wal_bytes.h"

namespace daruma {
namespace {

using namespace wal_test;

SegmentBytes frames_of(std::size_t frames, std::size_t event_bytes) {
  SegmentBytes segment(round_up((frames + 2) * (3 * kSectorBytes + event_bytes + event_bytes / 16), kSectorBytes));
  for (Sequence s = 1; s <= frames; ++s) segment.events(s, s, event_bytes);
  segment.seal(frames + 1);
  return segment;
}

struct Seen {
  SegmentScan scan;
  std::vector<std::string> frames;  // as far as the callback was told
};

template <typename Read>
Seen see(const Read& read) {
  Seen seen;
  seen.scan = read([&](const FrameView& f) {
    seen.frames.push_back(std::to_string(f.header.offset) + "/" + std::to_string(f.gaps_before) + "/" +
                          std::string(f.footprint) + "/" + std::string(f.payload));
  });
  return seen;
}

TEST(ReadAhead, GivesWhatReadingInOneThreadGives) {
  SegmentBytes segment = frames_of(300, 3'000);
  for (const std::uint64_t hurt : {std::uint64_t{0}, segment.end / 3, segment.end / 2}) {
    // Longer than any parity: frames are lost, and others before and behind are not.
    if (hurt != 0) segment.bytes.replace(hurt / kSectorBytes * kSectorBytes, 5 * kSectorBytes, 5 * kSectorBytes, 'x');
    SimStorage disk;
    put_file(disk, kSegmentPath, segment.bytes);
    std::atomic<int> beside{0};
    const Seen one =
        see([&](const auto& take) { return read_segment(disk, SegmentFiles{kSegmentPath}, kStore, take); });
    const Seen two = see([&](const auto& take) {
      return read_segment_ahead(disk, {kSegmentPath}, kStore, take, {}, [&] { ++beside; });
    });
    EXPECT_EQ(one.frames, two.frames);
    EXPECT_EQ(beside, static_cast<int>(one.frames.size()));
    EXPECT_EQ(one.scan.stop, two.scan.stop);
    EXPECT_EQ(one.scan.frames, two.scan.frames);
    EXPECT_EQ(one.scan.gaps.size(), two.scan.gaps.size());
    EXPECT_EQ(one.scan.poisoned.size(), two.scan.poisoned.size());
    EXPECT_EQ(one.scan.gaps.empty() && one.scan.poisoned.empty(), hurt == 0);
    EXPECT_EQ(one.scan.end_offset, two.scan.end_offset);
    EXPECT_EQ(one.scan.last_hash, two.scan.last_hash);
    EXPECT_EQ(one.scan.max_watermark, two.scan.max_watermark);
  }
}

TEST(ReadAhead, SaysWhyThereIsNothingToRead) {
  SimStorage disk;
  const Seen seen =
      see([&](const auto& take) { return read_segment_ahead(disk, {kSegmentPath}, kStore, take, {}, {}); });
  EXPECT_TRUE(seen.scan.status.is(Code::kNotFound)) << seen.scan.status.to_string();
  EXPECT_TRUE(seen.frames.empty());
}

TEST(ReadAhead, WhatTheCallbackThrowsEndsTheReading) {
  const SegmentBytes segment = frames_of(64, 300'000);  // more than may be read ahead
  SimStorage disk;
  put_file(disk, kSegmentPath, segment.bytes);
  int called = 0;
  const auto take = [&](const FrameView&) {
    ++called;
    std::this_thread::sleep_for(std::chrono::milliseconds(500));  // the reader waits for room, and is told of none
    throw std::runtime_error("enough");
  };
  EXPECT_THROW(read_segment_ahead(disk, {kSegmentPath}, kStore, take, {}, {}), std::runtime_error);
  EXPECT_EQ(called, 1);
}

TEST(ReadAhead, WhatTheThreadThrowsIsThrownHereBehindTheFramesThatItRead) {
  const SegmentBytes segment = frames_of(20, 1'000);
  SimStorage disk;
  put_file(disk, kSegmentPath, segment.bytes);
  int taken = 0, read = 0;
  const auto take = [&](const FrameView&) { ++taken; };
  const auto beside = [&] {
    if (++read == 5) throw std::bad_alloc();
  };
  EXPECT_THROW(read_segment_ahead(disk, {kSegmentPath}, kStore, take, {}, beside), std::bad_alloc);
  EXPECT_EQ(taken, 5);
}

TEST(ReadAhead, ReadsNoMoreThanAFewMebibytesAhead) {
  constexpr std::size_t kFrameBytes = 256 << 10;
  const SegmentBytes segment = frames_of(64, kFrameBytes);
  SimStorage disk;
  put_file(disk, kSegmentPath, segment.bytes);
  std::atomic<int> read{0};
  int taken = 0, most_ahead = 0;
  const auto take = [&](const FrameView&) {
    ++taken;
    // Time enough to read them all, if nothing held it back.
    for (int ms = 0; taken == 1 && ms < 500 && read < 64; ++ms)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    most_ahead = std::max(most_ahead, read - taken);
  };
  read_segment_ahead(disk, {kSegmentPath}, kStore, take, {}, [&] { ++read; });
  EXPECT_EQ(taken, 65);
  EXPECT_LE(most_ahead, static_cast<int>((4 << 20) / kFrameBytes));
}

}  // namespace
}  // namespace daruma
