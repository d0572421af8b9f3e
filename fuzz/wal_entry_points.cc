// SPDX-License-Identifier: Apache-2.0
// The entry points of the log.
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/coding.h"
#include "base/random.h"
#include "disk.h"
#include "entry_points.h"
#include "event/event.h"
#include "event/footprint.h"
#include "io/sim_storage.h"
#include "mend.h"
#include "wal/earlier_footprints.h"
#include "wal/frame_heal.h"
#include "wal/wal_reader.h"

namespace daruma::fuzz {

void wal_segment(std::string_view input) {
  SimStorage disk;
  const std::string path = "s/wal/" + segment_name(1);
  put_file(disk, path, input);
  Sequence last = 0;
  const SegmentScan scan = read_segment(disk, path, std::nullopt, [&](const FrameView& f) {
    for_each_record(f.header, f.payload, [&](const WalRecord& r) {
      DARUMA_ASSERT(r.sequence > last && r.sequence <= f.header.last_sequence);
      last = r.sequence;
    });
  });
  DARUMA_ASSERT(scan.stop_offset <= std::max<std::uint64_t>(input.size(), kSegmentFramesAt));
}

void wal_tail(std::string_view input) {
  SimStorage disk;
  std::string file(input);
  file.resize(std::max<std::size_t>(file.size(), kTailDataAt + kMinTailBytes), '\0');
  constexpr std::uint64_t kNonce = 0xdeadbeef;
  put_file(disk, "s/wal/" + tail_name(kNonce), file);
  const TailScan scan = read_tail(disk, "s", std::nullopt, kNonce);
  Sequence last = 0;
  for (const WalRecord& r : scan.entries) {
    DARUMA_ASSERT(r.sequence > last);
    DARUMA_ASSERT(r.event.data() >= scan.data.get() &&
                  r.event.data() + r.event.size() <= scan.data.get() + scan.header.capacity);
    last = r.sequence;
  }
}

namespace {

/// A log has no room for more; so many have three sectors of parity.
constexpr std::uint64_t kMostFrameBytes = 512 << 10;

using Sectors = std::vector<std::uint64_t>;

/// `frame` with noise in `which` of its sectors; another `seed`, another noise.
std::string hurt(std::string_view frame, const Sectors& which, std::uint64_t seed) {
  std::string out(frame);
  for (const std::uint64_t i : which) {
    Random noise(seed + i);
    for (char* at = out.data() + i * kSectorBytes; at != out.data() + (i + 1) * kSectorBytes; at += 8)
      store(at, load<std::uint64_t>(at) ^ noise.next());
  }
  return out;
}

/// The records of a payload that verifies, views of `frame` or `room`; nothing when it is not what the header says.
std::optional<std::vector<WalRecord>> records_of(const FrameHeader& header, std::string_view frame, std::string& room) {
  const Result<std::string_view> raw = open_payload(header, frame, room);
  if (!raw.ok()) return std::nullopt;
  DARUMA_ASSERT(raw->size() == header.payload_raw_bytes);
  std::vector<WalRecord> records;
  for_each_record(header, *raw, [&](const WalRecord& r) {
    DARUMA_ASSERT(r.sequence == header.first_sequence + records.size() && r.sequence <= header.last_sequence);
    DARUMA_ASSERT(r.event.data() >= raw->data() && r.event.data() + r.event.size() <= raw->data() + raw->size());
    records.push_back(r);
  });
  DARUMA_ASSERT(records.size() == header.count());
  return records;
}

/// As the log writes them.
void write_and_read(const FrameHeader& where, const std::vector<WalRecord>& records) {
  FrameHeader header = where;
  const AlignedBuffer frame = encode_frame(kStore, header, make_body(records), EarlierFootprints());
  const std::optional<FrameHeader> read = decode_frame_header(frame.view(), kStore, where.offset);
  DARUMA_ASSERT(read && read->checksum == header.checksum);
  DARUMA_ASSERT(footprint_verifies(kStore, *read, frame.view()) && payload_verifies(kStore, *read, frame.view()));
  std::string room;
  const auto again = records_of(*read, frame.view(), room);
  DARUMA_ASSERT(again && std::equal(again->begin(), again->end(), records.begin(), records.end(),
                                    [](const WalRecord& a, const WalRecord& b) { return a.event == b.event; }));
  const Result<Footprint> touched = decode_footprint(footprint_of(*read, frame.view()));
  DARUMA_ASSERT(touched.ok());
  for (const WalRecord& r : records) {
    static_cast<void>(for_each_op(r.event, [&](const Op& op) {
      DARUMA_ASSERT(op.kind == OpKind::kEraseRange || touched->touches(op.keyspace, op.key));
    }));
  }
}

/// `whole` is hurt in `here`, and a copy of it in `there`.
void heal(const FrameHeader& header, std::string_view whole, const Sectors& here, const Sectors& there) {
  const std::size_t contents = kFrameHeaderBytes + header.footprint_bytes + header.payload_bytes;
  const auto healed = [&](std::string& frame, const Sectors& unreadable) {
    for (const std::uint64_t i : unreadable) std::fill_n(frame.data() + i * kSectorBytes, kSectorBytes, '\0');
    const std::string as_read = frame;
    std::uint64_t damaged_at = 0;
    const FrameState state = heal_frame(kStore, header, frame, unreadable, damaged_at);
    DARUMA_ASSERT(damaged_at < frame.size() && (state != FrameState::kHurt || frame == as_read));
    DARUMA_ASSERT(state == FrameState::kHurt || frame.compare(0, contents, whole, 0, contents) == 0);
    return state;
  };
  std::string frame = hurt(whole, here, 0);
  const FrameState noisy = healed(frame, {});
  DARUMA_ASSERT((noisy == FrameState::kWhole) == here.empty());
  const bool burst = !here.empty() && here.back() - here.front() < header.layout().parity_sectors;
  DARUMA_ASSERT(!burst || noisy == FrameState::kHealed);

  frame = whole;
  const FrameState unread = healed(frame, here);
  DARUMA_ASSERT((unread != FrameState::kHurt) == parity_replaces(header, here));
  DARUMA_ASSERT(unread == FrameState::kHurt || frame == whole);
  frame = hurt(whole, there, 0);
  healed(frame, here);

  frame = hurt(whole, here, 0);
  const std::string as_read = frame;
  const bool apart = std::none_of(here.begin(), here.end(),
                                  [&](std::uint64_t i) { return std::binary_search(there.begin(), there.end(), i); });
  const FrameState merged = merge_frames(kStore, header, frame, hurt(whole, there, kMostFrameBytes));
  DARUMA_ASSERT((merged == FrameState::kHealed) == apart && frame == (apart ? whole : as_read));
}

}  // namespace

void wal_frame(std::string_view input) {
  constexpr std::size_t kHeaderAt = 3;
  if (input.size() < kHeaderAt) return;
  const std::string_view bytes = input.substr(kHeaderAt);
  const std::optional<FrameHeader> header = decode_frame_header(bytes, kStore, kSegmentFramesAt);
  if (!header) return;
  const FrameLayout layout = header->layout();
  const std::uint64_t contents =
      kFrameHeaderBytes + std::uint64_t{header->footprint_bytes} + std::uint64_t{header->payload_bytes};
  DARUMA_ASSERT(header->frame_bytes == layout.bytes() && contents <= layout.trailer_at());
  DARUMA_ASSERT(header->first_sequence > 0 && header->watermark < header->first_sequence);
  DARUMA_ASSERT(header->last_sequence <= kMaxSequence && (header->count() > 0) == header->has_events());
  if (header->frame_bytes > kMostFrameBytes || header->payload_raw_bytes > kMostFrameBytes) return;

  std::string frame(bytes.substr(0, layout.trailer_at()));
  frame.resize(layout.bytes(), '\0');
  const bool footprint_ok = footprint_verifies(kStore, *header, frame);
  const bool payload_ok = payload_verifies(kStore, *header, frame);
  const std::vector<FrameFootprint> told = earlier_footprints(kStore, *header, frame);
  for (std::size_t i = 0; i < told.size(); ++i) {
    const Sequence next = i + 1 < told.size() ? told[i + 1].first : header->first_sequence;
    DARUMA_ASSERT(told[i].first > 0 && told[i].first <= told[i].last && told[i].last + 1 == next);
  }
  Mender trials;  // what does not verify from here on is no mistake of the input
  trials.listen();
  DARUMA_ASSERT(!decode_frame_header(bytes, kStore, kSegmentFramesAt + kSectorBytes));
  std::string sector(kSectorBytes - kFrameHeaderBytes, '\0');
  sector.append(bytes, 0, kFrameHeaderBytes);
  const std::optional<FrameHeader> trailer = decode_frame_trailer(sector, kStore);
  DARUMA_ASSERT(trailer && trailer->checksum == header->checksum);
  std::string room;
  std::optional<std::vector<WalRecord>> records;
  if (payload_ok) records = records_of(*header, frame, room);
  if (records && !records->empty()) write_and_read(*header, *records);
  if (!footprint_ok || !payload_ok) return;

  FrameBody body{.flags = header->flags,
                 .first_sequence = header->first_sequence,
                 .last_sequence = header->last_sequence,
                 .raw_bytes = header->payload_raw_bytes,
                 .footprint = std::string(footprint_of(*header, frame)),
                 .payload = frame.substr(contents - header->payload_bytes, header->payload_bytes)};
  FrameHeader again = *header;
  const AlignedBuffer whole = encode_frame(kStore, again, body, EarlierFootprints());
  DARUMA_ASSERT(whole.size() == frame.size() && whole.view().substr(0, contents) == frame.substr(0, contents));
  const auto sectors = [&](char bits) {
    Sectors which;
    const std::uint64_t first = static_cast<std::uint8_t>(input[0]) % layout.sectors();
    for (std::uint64_t i = first; i < std::min(first + 8, layout.sectors()); ++i)
      if ((static_cast<std::uint8_t>(bits) >> (i - first) & 1U) != 0) which.push_back(i);
    return which;
  };
  heal(*header, whole.view(), sectors(input[1]), sectors(input[2]));
}

}  // namespace daruma::fuzz
