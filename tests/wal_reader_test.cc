// SPDX-License-Identifier: Apache-2.0
// The reader under every kind of damage: it delivers verified events only and ends at the right named stop.
#include "wal/wal_reader.h"

#include <gtest/gtest.h>

#include "wal_bytes.h"

namespace daruma {
namespace {

using namespace wal_test;

void expect_true_events(const Reading& read) {
  for (const auto& [s, event] : read.events) ASSERT_EQ(event, event_of(s)) << s;
}

SegmentBytes three_frames() {
  SegmentBytes segment(32 << 10);
  segment.events(1, 2);
  segment.events(3, 4);
  segment.events(5, 6);
  return segment;
}

TEST(WalReader, OneFaultFree_AByteFlippedAnywhereCostsOneFrameAtMostAndIsNoticed) {
  SegmentBytes segment = three_frames();
  segment.seal(7);
  SimStorage disk;
  put_file(disk, kSegmentPath, segment.bytes);
  for (std::uint64_t at = 0; at < segment.end; ++at) {
    const auto bit = static_cast<unsigned>(at % 8);
    ASSERT_TRUE(disk.flip_bit(kSegmentPath, at, bit).ok());
    const Reading read = read_segment_at(disk);
    ASSERT_TRUE(disk.flip_bit(kSegmentPath, at, bit).ok());
    expect_true_events(read);
    ASSERT_TRUE(read.scan.header) << at;
    const std::size_t lost = 6 - read.events.size();
    ASSERT_LE(lost, at < kSegmentFramesAt ? 0u : 2u) << at;
    if (at < kSegmentFramesAt) { ASSERT_EQ(read.scan.header_copies, 1u) << at; }
    if (lost > 0) { ASSERT_EQ(read.scan.gaps.size() + read.scan.poisoned.size(), 1u) << at; }
  }
}

TEST(WalReader, AnySectorZeroedMisplacedOrUnreadableCostsOneFrameAtMost) {
  SegmentBytes segment = three_frames();
  segment.seal(7);
  for (std::uint64_t to = 0; to < segment.end; to += kSectorBytes) {
    for (std::uint64_t from = 0; from < segment.end; from += kSectorBytes) {
      std::string hurt = segment.bytes;
      hurt.replace(to, kSectorBytes,
                   from == to ? std::string(kSectorBytes, '\0') : segment.bytes.substr(from, kSectorBytes));
      const Reading read = read_bytes(hurt);
      expect_true_events(read);
      ASSERT_TRUE(read.scan.header);
      EXPECT_GE(read.events.size(), to < kSegmentFramesAt ? 6u : 4u) << from << " over " << to;
    }
    SimStorage disk;
    put_file(disk, kSegmentPath, segment.bytes);
    disk.inject({.kind = FaultKind::kReadError, .path_contains = ".log", .offset = to, .bytes = 1});
    const Reading read = read_segment_at(disk);
    expect_true_events(read);
    ASSERT_TRUE(read.scan.header);
    EXPECT_EQ(read.scan.unreadable, std::vector<std::uint64_t>{to});
    EXPECT_GE(read.events.size(), to < kSegmentFramesAt ? 6u : 4u) << to;
    EXPECT_NE(read.scan.stop, Stop::kShortFile) << "a read error is no end of file";
  }
}

TEST(WalReader, StopsAtASeal) {
  SegmentBytes segment = three_frames();
  segment.seal(7);
  const Reading read = read_bytes(segment.bytes);
  EXPECT_EQ(read.scan.stop, Stop::kSealed);
  EXPECT_EQ(read.scan.next_segment, 2u);
  EXPECT_EQ(read.events.size(), 6u);
}

TEST(WalReader, StopsAtZeroesAndAtTheEndOfItsCapacity) {
  EXPECT_EQ(read_bytes(three_frames().bytes).scan.stop, Stop::kZeroes);
  SegmentBytes full(kSegmentFramesAt + kSectorBytes);
  full.events(1, 1);
  const Reading read = read_bytes(full.bytes);
  EXPECT_EQ(read.scan.stop, Stop::kEndOfSegment);
  EXPECT_EQ(read.scan.stop_offset, full.bytes.size());
}

TEST(WalReader, StopsAtStaleFramesOfARecycledFile) {
  SegmentBytes before(32 << 10, 0x111, 9);
  for (Sequence s = 1; s <= 6; ++s) before.events(s, s);
  SegmentBytes now(32 << 10);
  now.events(1, 2);
  std::string bytes = before.bytes;
  bytes.replace(0, now.end, now.bytes.substr(0, now.end));
  const Reading read = read_bytes(bytes);
  EXPECT_EQ(read.scan.stop, Stop::kStaleFrame);
  EXPECT_EQ(read.scan.stop_offset, now.end);
  EXPECT_EQ(read.events.size(), 2u);
}

TEST(WalReader, AFirstSectorThatWasNeverWrittenIsNotTakenForThisSegment) {
  SegmentBytes before(32 << 10, 0x111, 9);
  before.events(1, 1);
  SegmentBytes now = three_frames();
  std::string bytes = now.bytes;
  bytes.replace(0, kSectorBytes, before.bytes.substr(0, kSectorBytes));
  const Reading read = read_bytes(bytes);
  ASSERT_TRUE(read.scan.header);
  EXPECT_EQ(read.scan.header->number, 1u);
  EXPECT_EQ(read.scan.header_copies, 1u);
  EXPECT_EQ(read.events.size(), 6u);
}

TEST(WalReader, StopsAtNoiseAndAtABadHeader) {
  SegmentBytes segment = three_frames();
  std::string noise = segment.bytes;
  noise.replace(segment.end, 64, std::string(64, 'n'));
  EXPECT_EQ(read_bytes(noise).scan.stop, Stop::kNoise);
  std::string torn = segment.bytes;
  const std::uint64_t last = segment.end - kSectorBytes;
  torn[last + 100] ^= 1;
  const Reading read = read_bytes(torn);
  EXPECT_EQ(read.scan.stop, Stop::kBadHeader);
  EXPECT_EQ(read.scan.stop_offset, last);
  EXPECT_EQ(read.events.size(), 4u);
}

TEST(WalReader, StopsAtBadPayloadsAndSaysWhetherTheFootprintIsLeft) {
  SegmentBytes segment(32 << 10);
  segment.events(1, 2);
  const std::uint64_t at = segment.events(3, 4);
  const std::uint32_t footprint_bytes = load<std::uint32_t>(segment.bytes.data() + at + 12);
  std::string hurt = segment.bytes;
  hurt[at + kFrameHeaderBytes + footprint_bytes + 3] ^= 1;
  const Reading payload = read_bytes(hurt);
  EXPECT_EQ(payload.scan.stop, Stop::kBadPayload);
  ASSERT_EQ(payload.scan.poisoned.size(), 1u);
  ASSERT_TRUE(payload.scan.poisoned[0].footprint);
  EXPECT_TRUE(payload.scan.poisoned[0].footprint->touches(1, "key3"));
  hurt[at + kFrameHeaderBytes + 3] ^= 1;
  const Reading both = read_bytes(hurt);
  EXPECT_EQ(both.scan.stop, Stop::kBadFootprint);
  EXPECT_FALSE(both.scan.poisoned[0].footprint);
}

TEST(WalReader, StopsAtAFrameThatGoesBackAndNamesAGap) {
  SegmentBytes back(32 << 10);
  back.events(1, 3);
  const std::uint64_t at = back.events(2, 4);
  const Reading read = read_bytes(back.bytes);
  EXPECT_EQ(read.scan.stop, Stop::kSequenceGap);
  EXPECT_EQ(read.scan.stop_offset, at);
  EXPECT_EQ(read.events.size(), 3u);
  SegmentBytes gap(32 << 10);
  gap.events(1, 1);
  gap.events(4, 4);
  const Reading over = read_bytes(gap.bytes);
  ASSERT_EQ(over.scan.gaps.size(), 1u);
  EXPECT_EQ(over.scan.gaps[0].kind, Stop::kSequenceGap);
  EXPECT_EQ(over.scan.gaps[0].first_sequence, 2u);
  EXPECT_EQ(over.scan.gaps[0].last_sequence, 3u);
  EXPECT_EQ(over.events.size(), 2u);
}

TEST(WalReader, StopsAtForeignFrames) {
  SegmentBytes chain(32 << 10);
  chain.events(1, 1);
  chain.previous ^= 1;
  chain.events(2, 2);
  EXPECT_EQ(read_bytes(chain.bytes).scan.stop, Stop::kForeignFrame);
  const SegmentBytes segment = three_frames();
  std::string moved = segment.bytes;
  moved.replace(segment.end, kSectorBytes, segment.bytes.substr(kSegmentFramesAt, kSectorBytes));
  EXPECT_EQ(read_bytes(moved).scan.stop, Stop::kForeignFrame);
}

TEST(WalReader, StopsAtAReadErrorAndAtAShortFile) {
  const SegmentBytes segment = three_frames();
  SimStorage disk;
  put_file(disk, kSegmentPath, segment.bytes);
  disk.inject({.kind = FaultKind::kReadError, .path_contains = ".log", .offset = segment.end, .bytes = 1});
  const Reading refused = read_segment_at(disk);
  EXPECT_EQ(refused.scan.stop, Stop::kReadError);
  EXPECT_EQ(refused.events.size(), 6u);
  for (std::size_t size = 0; size < segment.bytes.size(); size += 1024) {
    const Reading read = read_bytes(std::string_view(segment.bytes).substr(0, size));
    expect_true_events(read);
    EXPECT_TRUE(read.scan.stop == Stop::kShortFile || (size > segment.end && read.scan.stop == Stop::kZeroes)) << size;
  }
}

TEST(WalReader, AFrameThatReachesBeyondTheCapacityIsABadHeaderAndBeyondTheFileAShortFile) {
  SegmentBytes large(128 << 10);
  const std::uint64_t at = large.events(1, 1, 30'000);
  const Reading cut = read_bytes(std::string_view(large.bytes).substr(0, at + 2 * kSectorBytes));
  EXPECT_EQ(cut.scan.stop, Stop::kShortFile);
  EXPECT_TRUE(cut.events.empty());
  SegmentBytes small(at + 2 * kSectorBytes);
  std::string bytes = large.bytes;
  bytes.replace(0, kSegmentFramesAt, small.bytes.substr(0, kSegmentFramesAt));
  const Reading beyond = read_bytes(bytes);
  EXPECT_EQ(beyond.scan.stop, Stop::kBadHeader);
  EXPECT_TRUE(beyond.events.empty());
}

TEST(WalReader, LooksForLaterEvidenceFromTheBadSectorItself) {
  // The bad header claims a length that covers all that follows; a reader that skipped it would miss two frames.
  const SegmentBytes segment = three_frames();
  std::string hurt = segment.bytes;
  store<std::uint32_t>(hurt.data() + kSegmentFramesAt + 8, 20 << 10);
  const Reading read = read_bytes(hurt);
  EXPECT_EQ(read.events.size(), 4u);
  ASSERT_EQ(read.scan.later.size(), 2u);
  EXPECT_EQ(read.scan.later[0].offset, kSegmentFramesAt + kSectorBytes);
  EXPECT_EQ(read.scan.gaps.at(0).last_sequence, 2u);
}

TEST(WalReader, NeverWrong_AValueThatHoldsACopyOfTheLogIsNoLog) {
  for (std::size_t shift = 0; shift < 2 * kSectorBytes; shift += 512) {
    SegmentBytes segment(256 << 10);
    segment.events(1, 2);
    segment.events(3, 4);
    EventBuilder b;
    b.put(1, "copy", std::string(shift, 's') + segment.bytes.substr(0, segment.end));
    const std::string event(b.bytes());
    const std::vector<WalRecord> record{{5, event}};
    FrameBody body = make_body(record);
    body.flags = 0;  // stored plain, as a value that does not compress is
    body.payload.clear();
    put_bytes(body.payload, event);
    const std::uint64_t at = segment.body(body);
    segment.events(6, 6);
    const Reading whole = read_bytes(segment.bytes);
    EXPECT_EQ(whole.events.size(), 6u);
    std::string hurt = segment.bytes;
    hurt[at + 9] ^= 1;  // its header is lost, so the reader walks through the copy
    const Reading read = read_bytes(hurt);
    EXPECT_EQ(read.events.size(), 5u) << shift;
    EXPECT_FALSE(read.events.contains(5));
    for (const auto& [s, e] : read.events) EXPECT_EQ(e, event_of(s));
  }
}

TEST(TailReader, AByteFlippedAnywhereCostsOneEntryAtMost) {
  RingBytes ring;
  ring.slot(1, 0, 0);
  ring.slot(2, 0, 0);
  for (Sequence s = 1; s <= 6; ++s) ring.push(s, event_of(s));
  SimStorage disk;
  put_file(disk, kRingPath, ring.bytes);
  for (std::uint64_t at = 0; at < kTailDataAt + ring.head; at += at < kTailDataAt ? 7 : 1) {
    if (at >= 256 && at < kSectorBytes - 16) continue;  // zeros of the header sector: one checksum, tried above
    ASSERT_TRUE(disk.flip_bit(kRingPath, at, at % 8).ok());
    const TailScan scan = read_tail(disk, kDirectory, kStore, kNonce);
    ASSERT_TRUE(disk.flip_bit(kRingPath, at, at % 8).ok());
    for (const WalRecord& r : scan.entries) ASSERT_EQ(r.event, event_of(r.sequence)) << at;
    if (at < kSectorBytes) {
      ASSERT_FALSE(scan.status.ok()) << at;
    } else {
      ASSERT_GE(scan.entries.size(), at < kTailDataAt ? 6u : 5u) << at;
      if (scan.entries.size() < 6) { ASSERT_FALSE(scan.whole) << at; }
    }
  }
}

TEST(TailReader, ADamagedNewestSlotHidesNoEntry) {
  RingBytes ring;
  const std::size_t big = 60 << 10;
  ring.slot(1, 0, 0);
  for (Sequence s = 1; s <= 4; ++s) ring.push(s, event_of(s, big));
  ring.slot(2, 2 * tail_entry_bytes(event_of(1, big).size()), 2);
  ring.push(5, event_of(5, big));
  ring.bytes[kSectorBytes + 3] ^= 1;  // slot 0 is that of counter 2
  const TailScan scan = read_ring(ring.bytes);
  ASSERT_TRUE(scan.mark_known);
  EXPECT_FALSE(scan.whole);
  ASSERT_FALSE(scan.entries.empty());
  EXPECT_EQ(scan.entries.back().sequence, 5u);
}

TEST(TailReader, TellsATornEndFromACleanOne) {
  RingBytes ring;
  ring.slot(1, 0, 0);
  ring.push(1, event_of(1));
  const std::uint64_t last = ring.head;
  ring.push(2, event_of(2));
  EXPECT_TRUE(read_ring(ring.bytes).whole);
  ring.at(last)[40] ^= 1;
  const TailScan scan = read_ring(ring.bytes);
  EXPECT_TRUE(scan.torn_end);
  EXPECT_FALSE(scan.whole);
  EXPECT_EQ(scan.entries.size(), 1u);
}

TEST(TailReader, TheHeadTellsWhatWasAcknowledged) {
  RingBytes ring;
  ring.slot(1, 0, 0);
  ring.push(1, event_of(1));
  const std::uint64_t second = ring.head;
  ring.push(2, event_of(2));
  ring.acknowledge();
  const std::uint64_t third = ring.head;
  ring.push(3, event_of(3));
  EXPECT_TRUE(read_ring(ring.bytes).whole) << "written whole and not acknowledged: it counts";
  RingBytes torn = ring;
  torn.at(third)[40] ^= 1;
  EXPECT_TRUE(read_ring(torn.bytes).whole) << "nobody was told of the third";
  std::memset(torn.at(second), 0, tail_entry_bytes(event_of(2).size()));
  const TailScan scan = read_ring(torn.bytes);
  EXPECT_FALSE(scan.whole) << "the second was acknowledged, and there is no trace of it";
  EXPECT_EQ(scan.entries.size(), 1u);
  for (unsigned bit = 0; bit < 64; ++bit) {
    RingBytes hurt = ring;
    hurt.bytes[kTailHeadAt + bit / 8] = static_cast<char>(hurt.bytes[kTailHeadAt + bit / 8] ^ (1 << bit % 8));
    EXPECT_FALSE(read_ring(hurt.bytes).head) << "bit " << bit;
  }
}

TEST(TailReader, LengthsThatLieAndFilesThatAreShortAreRefused) {
  RingBytes ring;
  ring.slot(1, 0, 0);
  ring.push(1, event_of(1));
  for (const std::uint32_t n : {0x7fffffffu, 0xffffffffu, 0xffffffe0u}) {
    std::string hurt = ring.bytes;
    store(hurt.data() + kTailDataAt + 4, n);
    EXPECT_TRUE(read_ring(hurt).entries.empty());
  }
  for (std::size_t size = 0; size < ring.bytes.size(); size += 4000) {
    const TailScan scan = read_ring(std::string_view(ring.bytes).substr(0, size));
    EXPECT_FALSE(scan.status.ok()) << size;
    EXPECT_TRUE(scan.entries.empty());
  }
}

TEST(Segments, ASpareThatIsStillASegmentIsNotReused) {
  const auto disk = std::make_shared<SimStorage>();
  put_file(*disk, kDirectory + "/wal/spare-1.tmp", std::string(64 << 10, 's'));
  put_file(*disk, kDirectory + "/wal/spare-2.tmp", std::string(64 << 10, 's'));
  Segments segments(*disk, kDirectory + "/wal", {{1, 1, 64 << 10}});
  ASSERT_TRUE(segments.tidy().ok());
  EXPECT_FALSE(disk->open(kDirectory + "/wal/spare-1.tmp", OpenMode::kRead).ok());
  EXPECT_TRUE(disk->open(kDirectory + "/wal/spare-2.tmp", OpenMode::kRead).ok());
}

}  // namespace
}  // namespace daruma
