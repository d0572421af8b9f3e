// SPDX-License-Identifier: Apache-2.0
// Segments and rings made by hand, byte for byte, for the tests of the reader.
#pragma once

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/coding.h"
#include "wal_fixture.h"

namespace daruma::wal_test {

inline constexpr std::uint64_t kIncarnation = 0xabcdef;
inline constexpr std::uint64_t kNonce = 0xdeadbeef;
inline const std::string kSegmentPath = kDirectory + "/wal/" + segment_name(1);

struct SegmentBytes {
  explicit SegmentBytes(std::uint64_t capacity = 64 << 10, std::uint64_t incarnation = kIncarnation,
                        std::uint64_t number = 1, Sequence start = 1)
      : bytes(capacity, '\0') {
    header.store = kStore;
    header.number = number;
    header.incarnation = incarnation;
    header.start_sequence = start;
    header.prepared_sequence = start - 1;
    if (number > 1) {
      header.optional_features = kSegmentNamesPredecessor;
      header.predecessor = {number - 1, start - 1, 0};
    }
    header.capacity = capacity;
    header.window_bytes = 24 << 10;
    header.tail_nonce = kNonce;
    header.wall_ns = 1'700'000'000'000'000'000;
    rewrite_header();
  }
  /// As `header` is now. Before the first frame.
  void rewrite_header() {
    for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{kSectorBytes}})
      bytes.replace(at, kSectorBytes, encode_segment_header(header, at));
    previous = header.checksum;
  }
  /// Appends a frame of events first..last; returns where it stands.
  std::uint64_t events(Sequence first, Sequence last, std::size_t event_bytes = 40) {
    std::vector<std::string> kept;
    std::vector<WalRecord> records;
    for (Sequence s = first; s <= last; ++s) kept.push_back(event_of(s, event_bytes));
    for (Sequence s = first; s <= last; ++s) records.push_back({s, kept[s - first]});
    return body(make_body(records));
  }
  std::uint64_t body(const FrameBody& frame_body, std::uint64_t next_segment = 0) {
    FrameHeader h;
    h.incarnation = header.incarnation;
    h.offset = end;
    h.watermark = watermark.value_or(frame_body.first_sequence - 1);
    h.previous = previous;
    h.wall_ns = 1'700'000'000'000'000'001;
    h.next_segment = next_segment;
    const AlignedBuffer frame = encode_frame(kStore, h, frame_body, earlier);
    const std::uint64_t at = end;
    bytes.replace(at, frame.size(), frame.view());
    end += frame.size();
    previous = h.checksum;
    if (tells && h.has_events()) earlier.keep(h.first_sequence, h.last_sequence, frame_body.footprint);
    return at;
  }
  std::uint64_t seal(Sequence next) { return body(make_empty_body(kFrameSeal, next), 2); }

  SegmentHeader header;
  std::string bytes;
  std::uint64_t end = kSegmentFramesAt;
  std::uint64_t previous = 0;
  std::optional<Sequence> watermark;  ///< of the next frames; nothing: that all before them is durable
  bool tells = false;                 ///< each frame of those before it, as the writer does
  EarlierFootprints earlier;
};

/// What the reader says of `bytes`. Delivered events are checked against event_of when `event_bytes` is not 0.
struct Reading {
  SegmentScan scan;
  std::map<Sequence, std::string> events;
};
inline Reading read_segment_at(Storage& disk, const std::string& path = kSegmentPath) {
  Reading out;
  out.scan = read_segment(disk, path, kStore, [&](const FrameView& f) {
    for_each_record(f.header, f.payload, [&](const WalRecord& r) {
      EXPECT_TRUE(out.events.emplace(r.sequence, std::string(r.event)).second) << r.sequence << " came twice";
    });
  });
  return out;
}
inline void put_file(Storage& disk, const std::string& path, std::string_view bytes) {
  ASSERT_TRUE(disk.make_directory(kDirectory).ok());
  ASSERT_TRUE(disk.make_directory(kDirectory + "/wal").ok());
  auto file = disk.open(path, OpenMode::kCreate);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE((*file)->write(0, bytes).ok());
}
inline Reading read_bytes(std::string_view bytes) {
  SimStorage disk;
  put_file(disk, kSegmentPath, bytes);
  return read_segment_at(disk);
}

struct RingBytes {
  explicit RingBytes(std::uint64_t capacity = kMinTailBytes, std::uint64_t boot = 0, Sequence own_from = 0)
      : bytes(2 * tail_half_bytes(capacity), '\0') {
    header.boot = boot;
    header.own_from = own_from;
    header.store = kStore;
    header.nonce = kNonce;
    header.capacity = capacity;
    for (const std::size_t half : {0, 1}) bytes.replace(half_at(half), kSectorBytes, encode_tail_header(header));
  }
  [[nodiscard]] std::uint64_t half_at(std::size_t half) const { return half * tail_half_bytes(header.capacity); }
  void slot(std::uint64_t counter, std::uint64_t position, Sequence sequence) {
    const auto index = static_cast<unsigned>(counter % 2);
    for (const std::size_t half : {0, 1}) {
      encode_tail_slot(header, {counter, position, sequence}, index,
                       bytes.data() + half_at(half) + kSectorBytes + index * kTailSlotBytes);
    }
  }
  char* at(std::uint64_t position, std::size_t half = 0) {
    return bytes.data() + half_at(half) + kTailDataAt + position % header.capacity;
  }
  void push(Sequence sequence, const std::string& event) {
    const std::uint64_t left = header.capacity - head % header.capacity;
    const std::uint64_t pad = tail_entry_bytes(event.size()) > left ? left : 0;
    for (const std::size_t half : {0, 1}) {
      if (pad > 0)
        encode_tail_pad(header, head, static_cast<std::uint32_t>(pad - kTailEntryHeaderBytes), at(head, half));
      encode_tail_entry(header, head + pad, {sequence, event}, at(head + pad, half));
    }
    head += pad + tail_entry_bytes(event.size());
  }
  void acknowledge() {
    for (const std::size_t half : {0, 1})
      store(bytes.data() + half_at(half) + kTailHeadAt, encode_tail_head(header, head));
  }
  /// Both headers say a version that nobody has written yet.
  void from_the_future() {
    for (const std::size_t half : {0, 1}) {
      char* sector = bytes.data() + half_at(half);
      store(sector + 8, std::uint32_t{2});
      store(sector + kSectorBytes - 8, checksum({sector, kSectorBytes - 8}, header.store, header.nonce, 1));
    }
  }
  /// Damage that both halves share.
  void flip(std::uint64_t in_half, char mask = 1) {
    for (const std::size_t half : {0, 1}) bytes[half_at(half) + in_half] ^= mask;
  }
  TailHeader header;
  std::string bytes;
  std::uint64_t head = 0;
};
inline const std::string kRingPath = kDirectory + "/wal/" + tail_name(kNonce);
inline TailScan read_ring(std::string_view bytes) {
  SimStorage disk;
  put_file(disk, kRingPath, bytes);
  return read_tail(disk, kDirectory, kStore, kNonce);
}

}  // namespace daruma::wal_test
