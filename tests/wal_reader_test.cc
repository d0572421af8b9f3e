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
  SegmentBytes segment(48 << 10);
  segment.events(1, 2);
  segment.events(3, 4);
  segment.events(5, 6);
  return segment;
}

/// Damage beyond parity: the same byte of a sector and of its mirror.
void flip_with_mirror(std::string& bytes, std::uint64_t at, char mask = 1) {
  bytes[at] ^= mask;
  bytes[at + kSectorBytes] ^= mask;
}

/// Everything is delivered, and the damage at `at` is told.
void expect_healed(const Reading& read, std::size_t events, std::uint64_t at) {
  ASSERT_TRUE(read.scan.header) << at;
  ASSERT_EQ(read.events.size(), events) << at;
  expect_true_events(read);
  ASSERT_EQ(read.scan.gaps.size() + read.scan.poisoned.size(), 0u) << at;
  ASSERT_EQ(read.scan.stop, Stop::kSealed) << at;
  if (at < kSegmentFramesAt) {
    ASSERT_EQ(read.scan.header_copies, 1u) << at;
    ASSERT_TRUE(read.scan.healed.empty()) << at;
  } else {
    ASSERT_EQ(read.scan.healed.size(), 1u) << at;
    const FrameHeader& frame = read.scan.healed[0].header;
    ASSERT_TRUE(frame.offset <= at && at < frame.offset + frame.frame_bytes) << at;
  }
}

TEST(WalReader, OneFaultFree_AByteFlippedAnywhereCostsNothingAndIsTold) {
  SegmentBytes segment = three_frames();
  segment.seal(7);
  SimStorage disk;
  put_file(disk, kSegmentPath, segment.bytes);
  for (std::uint64_t at = 0; at < segment.end; at += at % kSectorBytes < 512 ? 1 : 7) {
    const auto bit = static_cast<unsigned>(at % 8);
    ASSERT_TRUE(disk.flip_bit(kSegmentPath, at, bit).ok());
    const Reading read = read_segment_at(disk);
    ASSERT_TRUE(disk.flip_bit(kSegmentPath, at, bit).ok());
    ASSERT_NO_FATAL_FAILURE(expect_healed(read, 6, at));
  }
}

TEST(WalReader, OneFaultFree_AnySectorZeroedMisplacedOrUnreadableCostsNothingAndIsTold) {
  SegmentBytes segment(256 << 10);
  segment.events(1, 2);
  segment.events(3, 3, 10'000);   // three data sectors, one of parity
  segment.events(4, 4, 140'000);  // 35: still one of parity
  segment.events(5, 5, 4'000);
  segment.seal(6);
  for (std::uint64_t to = 0; to < segment.end; to += kSectorBytes) {
    for (std::uint64_t from = 0; from < segment.end; from += kSectorBytes) {
      std::string hurt = segment.bytes;
      hurt.replace(to, kSectorBytes,
                   from == to ? std::string(kSectorBytes, '\0') : segment.bytes.substr(from, kSectorBytes));
      if (hurt == segment.bytes) continue;  // a mirror over its sector
      const Reading read = read_bytes(hurt);
      ASSERT_TRUE(read.scan.header);
      EXPECT_EQ(read.events.size(), 5u) << from << " over " << to;
      EXPECT_EQ(read.scan.stop, Stop::kSealed) << from << " over " << to;
      EXPECT_EQ(read.scan.healed.size(), to < kSegmentFramesAt ? 0u : 1u) << from << " over " << to;
    }
    SimStorage disk;
    put_file(disk, kSegmentPath, segment.bytes);
    disk.inject({.kind = FaultKind::kReadError, .path_contains = ".log", .offset = to, .bytes = 1});
    const Reading read = read_segment_at(disk);
    ASSERT_TRUE(read.scan.header);
    EXPECT_EQ(read.scan.unreadable, std::vector<std::uint64_t>{to});
    EXPECT_EQ(read.events.size(), 5u) << to;
    EXPECT_EQ(read.scan.stop, Stop::kSealed) << to;
  }
}

TEST(WalReader, ABurstHealsUpToAsManySectorsAsThereAreOfParity) {
  SegmentBytes segment(1 << 20);
  segment.events(1, 1);
  const std::uint64_t at = segment.events(2, 2, 100 * kSectorBytes);
  segment.events(3, 3);
  segment.seal(4);
  constexpr std::uint64_t kParity = 3;  // 101 data sectors / 32
  for (std::uint64_t sector = 0; sector + kParity <= 104; ++sector) {
    const std::uint64_t first = at + sector * kSectorBytes;
    std::string all = segment.bytes;
    std::fill_n(all.begin() + static_cast<std::ptrdiff_t>(first), kParity * kSectorBytes, 'x');
    std::string both_ends = segment.bytes;
    for (const std::uint64_t i : {first, first + (kParity - 1) * kSectorBytes}) both_ends[i + 5] ^= 1;
    for (const std::string& hurt : {all, both_ends}) {
      const Reading read = read_bytes(hurt);
      EXPECT_EQ(read.events.size(), 3u) << sector;
      EXPECT_EQ(read.scan.healed.size(), 1u) << sector;
    }
  }
  std::string beyond = segment.bytes;
  std::fill_n(beyond.begin() + static_cast<std::ptrdiff_t>(at + 8 * kSectorBytes), (kParity + 1) * kSectorBytes, 'x');
  const Reading read = read_bytes(beyond);
  EXPECT_EQ(read.events.size(), 2u);
  ASSERT_EQ(read.scan.poisoned.size(), 1u);
  EXPECT_TRUE(read.scan.poisoned[0].footprint);
}

TEST(WalReader, ATornFrameIsNotUnreadableForASectorThatParityWouldReplace) {
  SegmentBytes segment(256 << 10);
  const std::uint64_t at = segment.events(1, 1, 10 * kSectorBytes);
  for (const bool torn : {true, false}) {
    SimStorage disk;
    std::string bytes = segment.bytes;
    if (torn) std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at + 3 * kSectorBytes), kSectorBytes, '\0');
    put_file(disk, kSegmentPath, bytes);
    for (const std::uint64_t sector : {std::uint64_t{6}, torn ? 6 : std::uint64_t{3}})
      ASSERT_TRUE(disk.lose_sector(kSegmentPath, at + sector * kSectorBytes).ok());
    const Reading read = read_segment_at(disk);
    ASSERT_EQ(read.scan.poisoned.size(), 1u) << torn;
    EXPECT_EQ(read.scan.poisoned[0].unreadable, !torn);
  }
}

TEST(WalReader, WhereTheFirstSectorIsBeyondHealingTheHeaderBehindTheDataStillTellsWhatIsLost) {
  SegmentBytes segment(64 << 10);
  segment.events(1, 1);
  const std::uint64_t at = segment.events(2, 2, 10'000);
  segment.events(3, 3);
  segment.seal(4);
  std::string hurt = segment.bytes;
  std::fill_n(hurt.begin() + static_cast<std::ptrdiff_t>(at), 2 * kSectorBytes, '\0');
  const Reading read = read_bytes(hurt);
  EXPECT_EQ(read.events.size(), 2u);
  EXPECT_TRUE(read.scan.gaps.empty());
  ASSERT_EQ(read.scan.poisoned.size(), 1u);
  EXPECT_EQ(read.scan.poisoned[0].header.offset, at);
  EXPECT_EQ(read.scan.poisoned[0].header.first_sequence, 2u);
}

/// One frame an event, each telling of those before it. `event_bytes`: of event i mod their number.
SegmentBytes telling_segment(Sequence events, const std::vector<std::size_t>& event_bytes) {
  SegmentBytes segment(2 << 20);
  segment.tells = true;
  for (Sequence s = 1; s <= events; ++s) segment.events(s, s, event_bytes[s % event_bytes.size()]);
  return segment;
}

std::string key_of(Sequence s) { return "key" + std::to_string(s); }

// Whatever a burst takes: what is said of a loss names every key of it; and where frames are small, it is said.
TEST(WalReader, ABurstOfNoiseIsLostByTheKeysThatItTook) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const bool small = seed % 2 == 0;
    SegmentBytes segment =
        telling_segment(60, small ? std::vector<std::size_t>{40, 900} : std::vector<std::size_t>{40, 3700, 9000});
    const std::uint64_t length = 64 << 10;
    const std::uint64_t at =
        kSegmentFramesAt + random.next() % (segment.end - kSegmentFramesAt - length - 32 * kSectorBytes);
    for (std::uint64_t i = 0; i < length; ++i) segment.bytes[at + i] = static_cast<char>(random.next());
    const Reading read = read_bytes(segment.bytes);
    std::map<Sequence, std::optional<Footprint>> lost;
    for (const LogGap& gap : read.scan.gaps) {
      for (Sequence s = gap.first_sequence; s <= gap.last_sequence; ++s) lost[s] = gap.footprint;
    }
    for (const PoisonedFrame& frame : read.scan.poisoned) lost[frame.header.first_sequence] = frame.footprint;
    EXPECT_EQ(read.events.size() + lost.size(), 60U);
    EXPECT_GE(lost.size(), small ? 6U : 3U);
    for (const auto& [sequence, footprint] : lost) {
      if (small) { ASSERT_TRUE(footprint) << sequence; }
      if (!footprint) continue;
      EXPECT_TRUE(footprint->touches(1, key_of(sequence))) << sequence;
      EXPECT_FALSE(footprint->touches(1, key_of(lost.begin()->first - 1)));
      EXPECT_FALSE(footprint->touches(1, key_of(lost.rbegin()->first + 1)));
    }
  }
}

TEST(WalReader, OfALossLongerThanTheFramesBehindItTellNothingIsSaid) {
  SegmentBytes segment = telling_segment(EarlierFootprints::kMaxFrames + 10, {40});
  const auto wipe = [&](Sequence first, Sequence last) {
    std::string bytes = segment.bytes;
    bytes.replace(kSegmentFramesAt + 2 * kSectorBytes * (first - 1), 2 * kSectorBytes * (last + 1 - first),
                  2 * kSectorBytes * (last + 1 - first), '\0');
    const Reading read = read_bytes(bytes);
    EXPECT_EQ(read.scan.gaps.size(), 1U);
    return read.scan.gaps.at(0).footprint;
  };
  EXPECT_TRUE(wipe(3, 2 + EarlierFootprints::kMaxFrames));
  EXPECT_FALSE(wipe(3, 3 + EarlierFootprints::kMaxFrames));
}

TEST(WalReader, AFrameThatHasNoRoomLeavesTheTellingToTheNext) {
  SegmentBytes segment = telling_segment(3, {40});
  const std::uint64_t full = segment.events(4, 4, kSectorBytes - 2 * kFrameHeaderBytes - 40);
  segment.events(5, 5);
  std::string& bytes = segment.bytes;
  bytes.replace(kSegmentFramesAt + 4 * kSectorBytes, 2 * kSectorBytes, 2 * kSectorBytes, 'x');
  const std::optional<FrameHeader> header =
      decode_frame_header(std::string_view(bytes).substr(full, kSectorBytes), kStore, full);
  ASSERT_TRUE(header);
  ASSERT_TRUE(earlier_footprints(kStore, *header, std::string_view(bytes).substr(full, header->frame_bytes)).empty());
  const Reading read = read_bytes(bytes);
  ASSERT_EQ(read.scan.gaps.size(), 1U);
  ASSERT_TRUE(read.scan.gaps[0].footprint);
  EXPECT_TRUE(read.scan.gaps[0].footprint->touches(1, key_of(3)));
}

/// What a snapshot has is not unpacked; what is hurt is told of all the same.
TEST(WalReader, WhatIsKnownComesWithoutPayload) {
  SegmentBytes log(48 << 10);
  log.events(1, 10);
  const std::uint64_t hurt = log.events(11, 20);
  log.events(21, 30);
  log.events(31, 40);
  log.bytes[hurt + kFrameHeaderBytes + 40] ^= 1;
  SimStorage disk;
  put_file(disk, kSegmentPath, log.bytes);
  for (const Sequence known : {0, 25, 30}) {
    std::map<Sequence, bool> unpacked;
    const SegmentScan scan = read_segment(disk, kSegmentPath, kStore,
                                          [&](const FrameView& f) {
                                            EXPECT_FALSE(f.footprint.empty());
                                            unpacked[f.header.last_sequence] = !f.payload.empty();
                                          },
                                          {.known = known});
    EXPECT_EQ(unpacked, (std::map<Sequence, bool>{{10, known < 10}, {20, true}, {30, known < 30}, {40, true}}))
        << known;
    EXPECT_EQ(scan.healed.size(), 1u);
    EXPECT_EQ(scan.frames, 4u);
    EXPECT_EQ(scan.last_good_sequence, 40u);
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
  SegmentBytes full(kSegmentFramesAt + 2 * kSectorBytes);
  full.events(1, 1);
  const Reading read = read_bytes(full.bytes);
  EXPECT_EQ(read.scan.stop, Stop::kEndOfSegment);
  EXPECT_EQ(read.scan.stop_offset, full.bytes.size());
}

TEST(WalReader, StopsAtStaleFramesOfARecycledFile) {
  SegmentBytes before(64 << 10, 0x111, 9);
  for (Sequence s = 1; s <= 6; ++s) before.events(s, s);
  SegmentBytes now(64 << 10);
  now.events(1, 2);
  std::string bytes = before.bytes;
  bytes.replace(0, now.end, now.bytes.substr(0, now.end));
  const Reading read = read_bytes(bytes);
  EXPECT_EQ(read.scan.stop, Stop::kStaleFrame);
  EXPECT_EQ(read.scan.stop_offset, now.end);
  EXPECT_EQ(read.events.size(), 2u);
}

TEST(WalReader, AFirstSectorThatWasNeverWrittenIsNotTakenForThisSegment) {
  SegmentBytes before(48 << 10, 0x111, 9);
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
  const std::uint64_t last = segment.end - 2 * kSectorBytes;
  for (const std::size_t header : {std::size_t{100}, kSectorBytes - 28}) flip_with_mirror(torn, last + header);
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
  flip_with_mirror(hurt, at + kFrameHeaderBytes + footprint_bytes + 3);
  const Reading payload = read_bytes(hurt);
  EXPECT_EQ(payload.scan.stop, Stop::kBadPayload);
  ASSERT_EQ(payload.scan.poisoned.size(), 1u);
  ASSERT_TRUE(payload.scan.poisoned[0].footprint);
  EXPECT_TRUE(payload.scan.poisoned[0].footprint->touches(1, "key3"));
  flip_with_mirror(hurt, at + kFrameHeaderBytes + 3);
  const Reading both = read_bytes(hurt);
  EXPECT_EQ(both.scan.stop, Stop::kBadFootprint);
  EXPECT_FALSE(both.scan.poisoned[0].footprint);
}

// It may be one more that was acknowledged, so the hurt frames before it are no torn tail.
TEST(WalReader, SaysOfWhatCannotBeReadBehindHurtFramesThatItCannotBeRead) {
  SegmentBytes segment(64 << 10);
  segment.events(1, 2);
  const std::uint64_t at = segment.events(3, 4);
  const std::uint64_t behind = segment.events(5, 6);
  const std::uint32_t footprint_bytes = load<std::uint32_t>(segment.bytes.data() + at + 12);
  flip_with_mirror(segment.bytes, at + kFrameHeaderBytes + footprint_bytes + 3);
  SimStorage disk;
  put_file(disk, kSegmentPath, segment.bytes);
  disk.inject({.kind = FaultKind::kReadError, .path_contains = ".log", .offset = behind, .bytes = 2 * kSectorBytes});
  const Reading read = read_segment_at(disk);
  EXPECT_EQ(read.scan.poisoned.size(), 1u);
  EXPECT_EQ(read.scan.stop, Stop::kReadError);
  EXPECT_EQ(read.scan.stop_offset, behind);
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
  moved.replace(segment.end, 2 * kSectorBytes, segment.bytes.substr(kSegmentFramesAt, 2 * kSectorBytes));
  EXPECT_EQ(read_bytes(moved).scan.stop, Stop::kForeignFrame);
}

TEST(WalReader, StopsAtReadErrorsAndAtAShortFile) {
  const SegmentBytes segment = three_frames();
  for (const std::uint64_t sectors : {1, 2}) {
    SimStorage disk;
    put_file(disk, kSegmentPath, segment.bytes);
    disk.inject({.kind = FaultKind::kReadError,
                 .path_contains = ".log",
                 .offset = segment.end,
                 .bytes = sectors * kSectorBytes});
    const Reading refused = read_segment_at(disk);
    // No frame is smaller than two sectors, and of a whole one the other would be left.
    EXPECT_EQ(refused.scan.stop, sectors == 1 ? Stop::kZeroes : Stop::kReadError);
    EXPECT_EQ(refused.events.size(), 6u);
  }
  for (std::size_t size = 0; size < segment.bytes.size(); size += 1024) {
    const Reading read = read_bytes(std::string_view(segment.bytes).substr(0, size));
    expect_true_events(read);
    EXPECT_TRUE(read.scan.stop == Stop::kShortFile || (size > segment.end && read.scan.stop == Stop::kZeroes)) << size;
    EXPECT_LE(read.scan.stop_offset, std::max<std::size_t>(size, kSegmentFramesAt)) << size;
  }
  const Reading cut = read_bytes(std::string_view(segment.bytes).substr(0, segment.end - kSectorBytes));
  EXPECT_EQ(cut.events.size(), 6u) << "only parity is missing";
  EXPECT_EQ(cut.scan.healed.size(), 1u);
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
  for (const std::size_t header : {std::size_t{0}, kSectorBytes - kFrameHeaderBytes}) {
    for (const std::size_t sector : {std::size_t{0}, kSectorBytes})
      store<std::uint32_t>(hurt.data() + kSegmentFramesAt + sector + header + 8, 20 << 10);
  }
  const Reading read = read_bytes(hurt);
  EXPECT_EQ(read.events.size(), 4u);
  ASSERT_EQ(read.scan.later.size(), 2u);
  EXPECT_EQ(read.scan.later[0].offset, kSegmentFramesAt + 2 * kSectorBytes);
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
    // Both its headers are lost, so the reader walks through the copy.
    hurt[at + 9] ^= 1;
    hurt[at + frame_layout(body.footprint.size(), body.payload.size()).trailer_at() + 9] ^= 1;
    const Reading read = read_bytes(hurt);
    EXPECT_EQ(read.events.size(), 5u) << shift;
    EXPECT_FALSE(read.events.contains(5));
    for (const auto& [s, e] : read.events) EXPECT_EQ(e, event_of(s));
  }
}

RingBytes six_entries() {
  RingBytes ring;
  ring.slot(1, 0, 0);
  ring.slot(2, 0, 0);
  for (Sequence s = 1; s <= 6; ++s) ring.push(s, event_of(s));
  ring.acknowledge();
  return ring;
}

TEST(TailReader, OneFaultFree_AByteFlippedAnywhereCostsNothing) {
  const RingBytes ring = six_entries();
  SimStorage disk;
  put_file(disk, kRingPath, ring.bytes);
  for (const std::size_t half : {0, 1}) {
    for (std::uint64_t in_half = 0; in_half < kTailDataAt + ring.head; in_half += in_half < kTailDataAt ? 7 : 1) {
      if (in_half >= 256 && in_half < kSectorBytes - 16) continue;  // zeros of the header sector: one checksum
      const std::uint64_t at = ring.half_at(half) + in_half;
      ASSERT_TRUE(disk.flip_bit(kRingPath, at, at % 8).ok());
      const TailScan scan = read_tail(disk, kDirectory, kStore, kNonce);
      ASSERT_TRUE(disk.flip_bit(kRingPath, at, at % 8).ok());
      ASSERT_TRUE(scan.status.ok()) << at << scan.status.to_string();
      ASSERT_TRUE(scan.whole) << at;
      ASSERT_EQ(scan.entries.size(), 6u) << at;
      for (const WalRecord& r : scan.entries) ASSERT_EQ(r.event, event_of(r.sequence)) << at;
      if (in_half < 256) { ASSERT_TRUE(scan.hurt) << at; }
    }
  }
}

TEST(TailReader, OneFaultFree_AnySectorZeroedUnreadableOrStaleCostsNothing) {
  const RingBytes ring = six_entries();
  RingBytes before;
  before.slot(1, 0, 0);
  before.push(1, event_of(1));
  before.acknowledge();
  for (const std::size_t half : {0, 1}) {
    for (std::uint64_t in_half = 0; in_half <= kTailDataAt; in_half += kSectorBytes) {
      const std::uint64_t at = ring.half_at(half) + in_half;
      std::string zeroed = ring.bytes;
      std::fill_n(zeroed.begin() + static_cast<std::ptrdiff_t>(at), kSectorBytes, '\0');
      std::string stale = ring.bytes;
      stale.replace(at, kSectorBytes, before.bytes.substr(at, kSectorBytes));
      for (const std::string& hurt : {zeroed, stale}) {
        const TailScan scan = read_ring(hurt);
        EXPECT_TRUE(scan.whole) << at;
        EXPECT_EQ(scan.entries.size(), 6u) << at;
      }
      SimStorage disk;
      put_file(disk, kRingPath, ring.bytes);
      disk.inject({.kind = FaultKind::kReadError, .path_contains = "tail", .offset = at, .bytes = kSectorBytes});
      const TailScan scan = read_tail(disk, kDirectory, kStore, kNonce);
      EXPECT_TRUE(scan.whole) << at;
      EXPECT_EQ(scan.entries.size(), 6u) << at;
    }
  }
}

TEST(TailReader, EntriesThatAreHurtInBothHalvesAreMissedAndOthersAreNot) {
  const RingBytes ring = six_entries();
  for (std::uint64_t at = kTailDataAt; at < kTailDataAt + ring.head; at += 5) {
    const std::size_t event = event_of(1).size();
    if ((at - kTailDataAt) % tail_entry_bytes(event) >= kTailEntryHeaderBytes + event) continue;  // no part of it
    RingBytes hurt = ring;
    hurt.flip(at);
    const TailScan scan = read_ring(hurt.bytes);
    ASSERT_EQ(scan.entries.size(), 5u) << at;
    ASSERT_FALSE(scan.whole) << at;
    for (const WalRecord& r : scan.entries) ASSERT_EQ(r.event, event_of(r.sequence)) << at;
  }
  // One entry in one half, another in the other: each is left somewhere.
  RingBytes both = ring;
  *both.at(40, 0) ^= 1;
  *both.at(ring.head - 8, 1) ^= 1;
  EXPECT_EQ(read_ring(both.bytes).entries.size(), 6u);
  EXPECT_TRUE(read_ring(both.bytes).whole);
}

TEST(TailReader, ADamagedNewestSlotHidesNoEntry) {
  RingBytes ring;
  const std::size_t big = 60 << 10;
  ring.slot(1, 0, 0);
  for (Sequence s = 1; s <= 4; ++s) ring.push(s, event_of(s, big));
  ring.slot(2, 2 * tail_entry_bytes(event_of(1, big).size()), 2);
  ring.push(5, event_of(5, big));
  ring.flip(kSectorBytes + 3);  // slot 0 is that of counter 2
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
  ring.flip(kTailDataAt + last + 40);
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
  torn.flip(kTailDataAt + third + 40);
  EXPECT_TRUE(read_ring(torn.bytes).whole) << "nobody was told of the third";
  for (const std::size_t half : {0, 1}) std::memset(torn.at(second, half), 0, tail_entry_bytes(event_of(2).size()));
  const TailScan scan = read_ring(torn.bytes);
  EXPECT_FALSE(scan.whole) << "the second was acknowledged, and there is no trace of it";
  EXPECT_EQ(scan.entries.size(), 1u);
  for (unsigned bit = 0; bit < 64; ++bit) {
    RingBytes hurt = ring;
    hurt.flip(kTailHeadAt + bit / 8, static_cast<char>(1 << bit % 8));
    EXPECT_FALSE(read_ring(hurt.bytes).head) << "bit " << bit;
  }
}

TEST(TailReader, LengthsThatLieAndFilesThatAreShortAreRefused) {
  RingBytes ring;
  ring.slot(1, 0, 0);
  ring.push(1, event_of(1));
  for (const std::uint32_t n : {0x7fffffffu, 0xffffffffu, 0xffffffe0u}) {
    std::string hurt = ring.bytes;
    for (const std::size_t half : {0, 1}) store(hurt.data() + ring.half_at(half) + kTailDataAt + 4, n);
    EXPECT_TRUE(read_ring(hurt).entries.empty());
  }
  for (std::size_t size = 0; size < ring.bytes.size(); size += 4000) {
    const TailScan scan = read_ring(std::string_view(ring.bytes).substr(0, size));
    EXPECT_EQ(scan.status.ok(), size >= ring.bytes.size() / 2) << size << ": one half is enough";
    EXPECT_EQ(scan.entries.size(), scan.status.ok() ? 1u : 0u);
  }
}

TEST(Segments, ASpareThatIsStillASegmentIsNotReused) {
  const auto disk = std::make_shared<SimStorage>();
  put_file(*disk, kDirectory + "/wal/spare-1.tmp", std::string(64 << 10, 's'));
  put_file(*disk, kDirectory + "/wal/spare-2.tmp", std::string(64 << 10, 's'));
  Segments segments(*disk, kDirectory, side_bit(0), {{1, 1, 64 << 10}});
  ASSERT_TRUE(segments.tidy(0).ok());
  EXPECT_FALSE(disk->open(kDirectory + "/wal/spare-1.tmp", OpenMode::kRead).ok());
  EXPECT_TRUE(disk->open(kDirectory + "/wal/spare-2.tmp", OpenMode::kRead).ok());
}

}  // namespace
}  // namespace daruma
