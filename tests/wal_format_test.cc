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

// The golden files are from before this was told: zero.
TEST(WalFormat, HeadersTellWhereTheNumbersOfALifeBegin) {
  SegmentBytes segment;
  segment.header.own_from = 7;
  segment.header.predecessor.own_from = 5;
  segment.rewrite_header();
  EXPECT_EQ(load<std::uint64_t>(segment.bytes.data() + 136), 7U);
  EXPECT_EQ(load<std::uint64_t>(segment.bytes.data() + 144), 5U);
  const auto header = decode_segment_header(std::string_view(segment.bytes).substr(0, kSectorBytes), 0, kStore);
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(header->own_from, 7U);
  EXPECT_EQ(header->predecessor.own_from, 5U);
  const RingBytes ring(kMinTailBytes, 0, 9);
  EXPECT_EQ(load<std::uint64_t>(ring.bytes.data() + 56), 9U);
  EXPECT_EQ(decode_tail_header(std::string_view(ring.bytes).substr(0, kSectorBytes), kStore)->own_from, 9U);
}

TEST(EarlierFootprints, GoldenSegment) {
  SegmentBytes segment(40 << 10);
  segment.tells = true;
  segment.events(1, 3);
  segment.events(4, 4);
  const std::uint64_t at = segment.seal(5);
  expect_golden("wal_v1_earlier.log", segment.bytes);
  const std::string_view bytes = std::string_view(segment.bytes).substr(at);
  const std::vector<FrameFootprint> told = earlier_footprints(kStore, *decode_frame_header(bytes, kStore, at), bytes);
  ASSERT_EQ(told.size(), 2U);
  EXPECT_TRUE(footprint_between(told, 2, 4));
  EXPECT_FALSE(footprint_between(told, 3, 5)) << "5 is not told of";
  EXPECT_FALSE(footprint_between({told[1]}, 3, 4)) << "3 is not told of";
  EXPECT_EQ(told[0].first, 1U);
  EXPECT_EQ(told[0].last, 3U);
  EXPECT_EQ(told[1].first, 4U);
  EXPECT_EQ(told[1].last, 4U);
  for (Sequence s = 1; s <= 4; ++s) {
    for (const FrameFootprint& one : told) {
      EXPECT_EQ(one.footprint.touches(1, "key" + std::to_string(s)), one.first <= s && s <= one.last);
    }
  }
}

TEST(EarlierFootprints, AFrameTellsOfThoseDirectlyBeforeIt) {
  const auto footprint = [](Sequence s) { return encode_footprint(*daruma::footprint(event_of(s))); };
  EarlierFootprints earlier;
  EXPECT_TRUE(earlier.before(1, kSectorBytes).empty());
  for (Sequence s = 1; s <= 4; ++s) earlier.keep(s, s, footprint(s));
  const std::string all = earlier.before(5, kSectorBytes);
  ASSERT_FALSE(all.empty());
  EXPECT_EQ(earlier.before(5, all.size() - 1).size(), all.size() / 4 * 3) << "the newest of them, as many as fit";
  EXPECT_EQ(earlier.before(3, kSectorBytes).size(), all.size() / 2) << "3 and 4 are framed again";
  EXPECT_TRUE(earlier.before(6, kSectorBytes).empty()) << "5 is not known";
  earlier.keep(3, 4, footprint(3));
  EXPECT_EQ(earlier.before(5, kSectorBytes).size(), all.size() / 4 * 3) << "two frames have become one";
  EXPECT_TRUE(earlier.before(4, kSectorBytes).empty()) << "3 stands in a frame with 4";
  earlier.keep(6, 6, footprint(6));
  EXPECT_EQ(earlier.before(7, kSectorBytes).size(), all.size() / 4) << "nothing is told across a hole";
  earlier.keep(7, 7, {});
  EXPECT_TRUE(earlier.before(8, kSectorBytes).empty()) << "its footprint is lost";
  for (Sequence s = 8; s < 8 + 2 * EarlierFootprints::kMaxFrames; ++s) earlier.keep(s, s, footprint(s));
  EXPECT_EQ(earlier.before(8 + 2 * EarlierFootprints::kMaxFrames, kSectorBytes).size(),
            all.size() / 4 * EarlierFootprints::kMaxFrames);
  earlier.keep(500, 500, std::string(EarlierFootprints::kMaxBytes, 'x'));
  EXPECT_TRUE(earlier.before(501, kSectorBytes).empty()) << "too big";
}

TEST(EarlierFootprints, AreBelievedOnlyAsTheyWereWritten) {
  SegmentBytes segment(40 << 10);
  segment.tells = true;
  segment.events(1, 1);
  segment.events(2, 2);
  const std::uint64_t at = segment.events(3, 3);
  const std::string frame = segment.bytes.substr(at, 2 * kSectorBytes);
  const FrameHeader header = *decode_frame_header(frame, kStore, at);
  ASSERT_EQ(earlier_footprints(kStore, header, frame).size(), 2U);
  const std::size_t begin = kFrameHeaderBytes + header.footprint_bytes + header.payload_bytes;
  const std::size_t end = begin + 12 + segment.earlier.before(3, kSectorBytes).size();
  for (std::size_t i = begin; i < end; ++i) {
    std::string hurt = frame;
    hurt[i] = static_cast<char>(hurt[i] ^ 0x10);
    EXPECT_TRUE(earlier_footprints(kStore, header, hurt).empty()) << i;
  }
  FrameHeader elsewhere = header;
  elsewhere.offset += 2 * kSectorBytes;
  EXPECT_TRUE(earlier_footprints(kStore, elsewhere, frame).empty());
  EXPECT_TRUE(earlier_footprints({1, 2}, header, frame).empty());
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

TEST(WalFormat, TheChainCoversWhatANewerFormatSaysInTheHeader) {
  constexpr std::size_t kSectorChecksumAt = kSectorBytes - 8;
  const auto with_more = [](std::uint64_t position) {
    SegmentHeader h = SegmentBytes().header;
    std::string sector = encode_segment_header(h, position);
    sector[1000] = 'x';
    store(&sector[kSectorChecksumAt],
          checksum(std::string_view(sector).substr(0, kSectorChecksumAt), kStore, h.number, position));
    return sector;
  };
  for (const std::uint64_t position : {std::uint64_t{0}, std::uint64_t{kSectorBytes}}) {
    const Result<SegmentHeader> read = decode_segment_header(with_more(position), position, kStore);
    ASSERT_TRUE(read.ok()) << read.status().to_string();
    EXPECT_EQ(read->checksum, load<std::uint64_t>(&with_more(0)[kSectorChecksumAt]));
  }
}

TEST(WalFormat, TheFutureIsToldApartFromDamage) {
  SegmentHeader h = SegmentBytes().header;
  h.version = kWalVersion + 1;
  EXPECT_TRUE(decode_segment_header(encode_segment_header(h, 0), 0, kStore).status().is(Code::kUnsupported));
  h.version = kWalVersion;
  h.required_features = kWalKnownFeatures + 1;
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
