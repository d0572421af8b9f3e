// SPDX-License-Identifier: Apache-2.0
// The bytes of the log: round trips, golden files, and fields that lie under a valid checksum.
#include "wal/wal_format.h"

#include <gtest/gtest.h>

#include "golden_testing.h"
#include "wal_bytes.h"

namespace daruma {
namespace {

using namespace wal_test;

SegmentBytes golden_segment() {
  SegmentBytes segment(40 << 10);
  segment.events(1, 3);
  segment.body(make_empty_body(kFrameMark, 4));
  segment.events(4, 4);
  segment.seal(5);
  return segment;
}

/// One ring that has wrapped: a pad at the end, then an entry at the start.
RingBytes golden_ring() {
  RingBytes ring;
  ring.slot(1, 0, 0);
  const std::size_t big = 60 << 10;
  for (Sequence s = 1; s <= 4; ++s) ring.push(s, event_of(s, big));
  ring.slot(2, 2 * tail_entry_bytes(event_of(1, big).size()), 2);
  ring.push(5, event_of(5, big));
  return ring;
}

TEST(WalFormat, GoldenSegment) {
  expect_golden("wal_v1.log", golden_segment().bytes);
  const Reading read = read_bytes(golden("wal_v1.log"));
  EXPECT_EQ(read.scan.stop, Stop::kSealed);
  ASSERT_EQ(read.events.size(), 4u);
  for (const auto& [s, event] : read.events) EXPECT_EQ(event, event_of(s));
}

TEST(WalFormat, GoldenRing) {
  RingBytes ring;
  ring.slot(1, 0, 0);
  ring.slot(2, tail_entry_bytes(event_of(1).size()), 1);
  for (Sequence s = 1; s <= 3; ++s) ring.push(s, event_of(s));
  // The data of an empty ring is zeros, so the file keeps the front only.
  expect_golden("tail_v1.ring", ring.bytes.substr(0, kTailDataAt + kSectorBytes));
  std::string file = golden("tail_v1.ring");
  file.resize(ring.bytes.size(), '\0');
  const TailScan scan = read_ring(file);
  ASSERT_TRUE(scan.status.ok()) << scan.status.to_string();
  EXPECT_TRUE(scan.whole);
  ASSERT_EQ(scan.entries.size(), 2u);
  EXPECT_EQ(scan.entries[0].sequence, 2u);
  EXPECT_EQ(scan.entries[1].event, event_of(3));
}

TEST(WalFormat, ARingThatWrapsIsReadBehindItsPad) {
  const RingBytes ring = golden_ring();
  const TailScan scan = read_ring(ring.bytes);
  ASSERT_TRUE(scan.status.ok()) << scan.status.to_string();
  EXPECT_TRUE(scan.whole);
  EXPECT_FALSE(scan.torn_end);
  ASSERT_EQ(scan.entries.size(), 3u);
  EXPECT_EQ(scan.entries[2].sequence, 5u);
  EXPECT_EQ(scan.entries[2].event, event_of(5, 60 << 10));
}

TEST(WalFormat, SegmentHeadersComeBackAndVerifyOnlyWhereTheyStand) {
  SegmentHeader h = SegmentBytes().header;
  h.predecessor = {7, 90, 0x1234};
  h.prepared_sequence = 5;
  h.boot = 3;
  const std::string sector = encode_segment_header(h, 0);
  Result<SegmentHeader> read = decode_segment_header(sector, 0, kStore);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(encode_segment_header(*read, 0), sector);
  EXPECT_EQ(read->checksum, h.checksum);
  EXPECT_FALSE(decode_segment_header(sector, kSectorBytes, kStore).ok());
  EXPECT_FALSE(decode_segment_header(sector, 0, StoreId{1, 2}).ok());
  const std::string copy = encode_segment_header(h, kSectorBytes);
  EXPECT_EQ(decode_segment_header(copy, kSectorBytes, kStore)->checksum, h.checksum) << "the chain starts at copy 0";
}

TEST(WalFormat, TheFutureIsToldApartFromDamage) {
  SegmentHeader h = SegmentBytes().header;
  h.version = kWalVersion + 1;
  EXPECT_TRUE(decode_segment_header(encode_segment_header(h, 0), 0, kStore).status().is(Code::kUnsupported));
  h.version = kWalVersion;
  h.required_features = 1;
  EXPECT_TRUE(decode_segment_header(encode_segment_header(h, 0), 0, kStore).status().is(Code::kUnsupported));
  h.required_features = 0;
  h.optional_features = ~0u;
  EXPECT_TRUE(decode_segment_header(encode_segment_header(h, 0), 0, kStore).ok());
  RingBytes ring;
  ring.from_the_future();
  EXPECT_TRUE(read_ring(ring.bytes).status.is(Code::kUnsupported));
}

TEST(WalFormat, HeaderFieldsThatMakeNoSenseAreRefusedThoughTheyVerify) {
  const auto refused = [](auto change) {
    SegmentHeader h = SegmentBytes().header;
    change(h);
    return decode_segment_header(encode_segment_header(h, 0), 0, kStore).status().is(Code::kCorruption);
  };
  EXPECT_TRUE(refused([](SegmentHeader& h) { h.version = 0; }));
  EXPECT_TRUE(refused([](SegmentHeader& h) { h.capacity = 4096; }));
  EXPECT_TRUE(refused([](SegmentHeader& h) { h.capacity = ~std::uint64_t{0} & ~std::uint64_t{4095}; }));
  EXPECT_TRUE(refused([](SegmentHeader& h) { h.capacity += 1; }));
  EXPECT_TRUE(refused([](SegmentHeader& h) { h.start_sequence = 0; }));
  EXPECT_TRUE(refused([](SegmentHeader& h) { h.prepared_sequence = ~std::uint64_t{0}; }));
}

TEST(WalFormat, FrameLengthsThatOverflowAreRefusedThoughTheyVerify) {
  const SegmentBytes segment = golden_segment();
  const std::string frame = segment.bytes.substr(kSegmentFramesAt, kSectorBytes);
  ASSERT_TRUE(decode_frame_header(frame, kStore, kSegmentFramesAt));
  const auto refused = [&](std::size_t at, auto value) {
    std::string forged = frame;
    store(forged.data() + at, value);
    store(forged.data() + 120,
          checksum(std::string_view(forged).substr(0, 120), kStore, kIncarnation, kSegmentFramesAt));
    return !decode_frame_header(forged, kStore, kSegmentFramesAt);
  };
  EXPECT_FALSE(refused(48, std::uint64_t{0})) << "a forged checksum must pass, or this test proves nothing";
  for (const std::uint32_t n : {0u, 1u, 4095u, 0x7fffffffu, 0xffffffffu}) {
    EXPECT_TRUE(refused(8, n)) << "frame bytes " << n;
    if (n > 0) { EXPECT_TRUE(refused(72, n)) << "payload bytes " << n; }
    EXPECT_TRUE(refused(76, n)) << "raw bytes " << n;
  }
  EXPECT_TRUE(refused(12, 0xffffff80u)) << "128 + footprint wraps in 32 bits";
  EXPECT_TRUE(refused(32, std::uint64_t{0})) << "first sequence";
  EXPECT_TRUE(refused(40, kMaxSequence + 1)) << "last sequence";
  EXPECT_TRUE(refused(40, kMaxSequence)) << "more records than the payload has bytes";
  EXPECT_TRUE(refused(48, std::uint64_t{1})) << "a watermark that includes the frame itself";
  EXPECT_TRUE(refused(24, std::uint64_t{4096})) << "offset";
  EXPECT_TRUE(refused(6, std::uint16_t{1})) << "a feature that nobody knows";
  EXPECT_TRUE(refused(104, std::uint64_t{1})) << "reserved";
}

TEST(WalFormat, CompressedFramesComeBackAndLieAboutTheirSizeInVain) {
  const std::string event = [] {
    EventBuilder b;
    b.put(1, "key", std::string(50'000, 'x'));
    return std::string(b.bytes());
  }();
  const std::vector<WalRecord> records{{1, event}};
  FrameBody body = make_body(records);
  ASSERT_EQ(body.flags, kFrameLz4);
  SegmentBytes segment;
  segment.body(body);
  EXPECT_EQ(read_bytes(segment.bytes).events.at(1), event);
  for (const std::uint32_t raw : {body.raw_bytes - 1, body.raw_bytes + 1, std::uint32_t{kMaxFrameRawBytes}}) {
    FrameBody lie = body;
    lie.raw_bytes = raw;
    SegmentBytes forged;
    forged.body(lie);
    const Reading read = read_bytes(forged.bytes);
    EXPECT_TRUE(read.events.empty());
    EXPECT_EQ(read.scan.stop, Stop::kBadPayload);
  }
}

TEST(WalFormat, NamesAreNumbersAndNothingElse) {
  EXPECT_EQ(parse_segment_name(segment_name(42)), 42u);
  EXPECT_EQ(parse_tail_name(tail_name(kNonce)), kNonce);
  for (const char* name : {"", ".log", "1.log", "0000000000000001.log.tmp", "000000000000000x.log", "spare-1.tmp"})
    EXPECT_EQ(parse_segment_name(name), std::nullopt) << name;
  for (const char* name : {"tail", "tail-", "tail-1", "tail-00000000DEADBEEF", "tail-00000000deadbeef0"})
    EXPECT_EQ(parse_tail_name(name), std::nullopt) << name;
}

}  // namespace
}  // namespace daruma
