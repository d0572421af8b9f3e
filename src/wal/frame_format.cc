// SPDX-License-Identifier: Apache-2.0
#include "wal/frame_format.h"

#include <lz4.h>

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "base/coding.h"
#include "event/event.h"
#include "event/footprint.h"
#include "parity/parity_format.h"
#include "wal/earlier_footprints.h"

namespace daruma {
namespace {

constexpr std::size_t kFrameChecksumAt = kFrameHeaderBytes - 8;
constexpr std::size_t kFrameOffsetAt = 24;
constexpr std::size_t kLz4MinBytes = 4096;

}  // namespace

FrameLayout frame_layout(std::uint64_t footprint_bytes, std::uint64_t payload_bytes) {
  FrameLayout layout;
  layout.data_sectors = round_up(2 * kFrameHeaderBytes + footprint_bytes + payload_bytes, kSectorBytes) / kSectorBytes;
  layout.parity_sectors = std::max<std::uint64_t>(1, layout.data_sectors / kFrameDataPerParity);
  return layout;
}

std::optional<FrameHeader> decode_frame_header(std::string_view bytes, const StoreId& store, std::uint64_t position) {
  if (bytes.size() < kFrameHeaderBytes || load<std::uint32_t>(bytes.data()) != kFrameMagic) return std::nullopt;
  Decoder in(bytes.substr(4, kFrameHeaderBytes - 4));
  FrameHeader h;
  h.flags = in.u16();
  h.features = in.u16();
  h.frame_bytes = in.u32();
  h.footprint_bytes = in.u32();
  h.incarnation = in.u64();
  h.offset = in.u64();
  h.first_sequence = in.u64();
  h.last_sequence = in.u64();
  h.watermark = in.u64();
  h.previous = in.u64();
  h.wall_ns = static_cast<std::int64_t>(in.u64());
  h.payload_bytes = in.u32();
  h.payload_raw_bytes = in.u32();
  h.payload_checksum = in.u64();
  h.footprint_checksum = in.u64();
  h.next_segment = in.u64();
  const std::uint64_t reserved = in.u64() | in.u64();
  h.checksum = in.u64();
  if (!checksum_holds(h.checksum, checksum(bytes.substr(0, kFrameChecksumAt), store, h.incarnation, position)))
    return std::nullopt;
  if (h.offset != position || reserved != 0 || h.features != 0) return std::nullopt;
  if (h.frame_bytes != h.layout().bytes() || h.payload_raw_bytes > kMaxFrameRawBytes) return std::nullopt;
  if (h.first_sequence == 0 || h.first_sequence > kMaxSequence || h.last_sequence > kMaxSequence) return std::nullopt;
  if (h.last_sequence + 1 < h.first_sequence || h.watermark >= h.first_sequence) return std::nullopt;
  // Each record takes at least two bytes, so a count can never exceed the payload.
  if (h.has_events() ? (h.count() == 0 || h.count() > h.payload_raw_bytes)
                     : (h.count() != 0 || h.payload_raw_bytes != 0 || h.payload_bytes != 0))
    return std::nullopt;
  if ((h.flags & kFrameLz4) == 0 && h.payload_bytes != h.payload_raw_bytes) return std::nullopt;
  return h;
}

std::optional<FrameHeader> decode_frame_trailer(std::string_view sector, const StoreId& store) {
  if (sector.size() != kSectorBytes) return std::nullopt;
  const std::string_view bytes = sector.substr(kSectorBytes - kFrameHeaderBytes);
  if (load<std::uint32_t>(bytes.data()) != kFrameMagic) return std::nullopt;  // nearly every sector: goes by fast
  return decode_frame_header(bytes, store, load<std::uint64_t>(bytes.data() + kFrameOffsetAt));
}

std::size_t record_bytes(std::string_view event) { return varint_size(event.size()) + event.size(); }

FrameBody make_body(std::span<const WalRecord> records) {
  DARUMA_ASSERT(!records.empty());
  FrameBody body;
  body.first_sequence = records.front().sequence;
  body.last_sequence = records.back().sequence;
  std::size_t raw = 0;
  for (const WalRecord& record : records) raw += record_bytes(record.event);
  DARUMA_ASSERT(raw <= kMaxFrameRawBytes);
  body.raw_bytes = static_cast<std::uint32_t>(raw);
  body.payload.reserve(raw);
  std::vector<std::string_view> events;
  events.reserve(records.size());
  Sequence expected = body.first_sequence;
  for (const WalRecord& record : records) {
    DARUMA_ASSERT(record.sequence == expected++);
    put_bytes(body.payload, record.event);
    events.push_back(record.event);
  }
  body.footprint = encode_footprint(footprint_of_all(events));
  if (raw >= kLz4MinBytes) {
    std::string packed(raw - raw / 8, '\0');  // compressing must save at least an eighth
    const int n = LZ4_compress_default(body.payload.data(), packed.data(), static_cast<int>(raw),
                                       static_cast<int>(packed.size()));
    if (n > 0) {
      packed.resize(static_cast<std::size_t>(n));
      body.payload = std::move(packed);
      body.flags |= kFrameLz4;
    }
  }
  return body;
}

FrameBody make_empty_body(std::uint16_t flags, Sequence next) {
  FrameBody body;
  body.flags = flags;
  body.first_sequence = next;
  body.last_sequence = next - 1;
  return body;
}

AlignedBuffer encode_frame(const StoreId& store, FrameHeader& header, const FrameBody& body,
                           const EarlierFootprints& earlier) {
  header.flags = body.flags;
  header.frame_bytes = static_cast<std::uint32_t>(body.frame_bytes());
  header.footprint_bytes = static_cast<std::uint32_t>(body.footprint.size());
  header.first_sequence = body.first_sequence;
  header.last_sequence = body.last_sequence;
  header.payload_bytes = static_cast<std::uint32_t>(body.payload.size());
  header.payload_raw_bytes = body.raw_bytes;
  header.footprint_checksum = checksum(body.footprint, store, header.incarnation, header.offset + kFootprintPart);
  header.payload_checksum = checksum(body.payload, store, header.incarnation, header.offset + kPayloadPart);
  std::string h;
  put_u32(h, kFrameMagic);
  put_u16(h, header.flags);
  put_u16(h, header.features);
  put_u32(h, header.frame_bytes);
  put_u32(h, header.footprint_bytes);
  for (std::uint64_t v : {header.incarnation, header.offset, header.first_sequence, header.last_sequence,
                          header.watermark, header.previous, static_cast<std::uint64_t>(header.wall_ns)}) {
    put_u64(h, v);
  }
  put_u32(h, header.payload_bytes);
  put_u32(h, header.payload_raw_bytes);
  for (std::uint64_t v :
       {header.payload_checksum, header.footprint_checksum, header.next_segment, std::uint64_t{0}, std::uint64_t{0}})
    put_u64(h, v);
  header.checksum = checksum(h, store, header.incarnation, header.offset);
  put_u64(h, header.checksum);
  DARUMA_ASSERT(h.size() == kFrameHeaderBytes);

  const std::string told = encode_earlier(store, header, earlier);
  AlignedBuffer frame(header.frame_bytes);
  char* p = frame.data();
  for (std::string_view part : {std::string_view(h), std::string_view(body.footprint), std::string_view(body.payload),
                                std::string_view(told)}) {
    if (!part.empty()) std::memcpy(p, part.data(), part.size());
    p += part.size();
  }
  std::memset(p, 0, static_cast<std::size_t>(frame.data() + frame.size() - p));
  const FrameLayout layout = header.layout();
  std::memcpy(frame.data() + layout.trailer_at(), h.data(), h.size());
  const std::span<char> all(frame.data(), frame.size());
  for (std::uint64_t i = 0; i < layout.data_sectors; ++i) {
    xor_into(all.subspan(layout.parity_of(i) * kSectorBytes, kSectorBytes),
             frame.view().substr(i * kSectorBytes, kSectorBytes));
  }
  return frame;
}

std::string_view footprint_of(const FrameHeader& header, std::string_view frame) {
  return frame.substr(kFrameHeaderBytes, header.footprint_bytes);
}

bool footprint_verifies(const StoreId& store, const FrameHeader& header, std::string_view frame) {
  return checksum_holds(header.footprint_checksum, checksum(footprint_of(header, frame), store, header.incarnation,
                                                            header.offset + kFootprintPart));
}

static std::string_view payload_of(const FrameHeader& header, std::string_view frame) {
  return frame.substr(kFrameHeaderBytes + header.footprint_bytes, header.payload_bytes);
}

bool payload_verifies(const StoreId& store, const FrameHeader& header, std::string_view frame) {
  return checksum_holds(header.payload_checksum,
                        checksum(payload_of(header, frame), store, header.incarnation, header.offset + kPayloadPart));
}

Result<std::string_view> open_payload(const FrameHeader& header, std::string_view frame, std::string& room) {
  std::string_view raw = payload_of(header, frame);
  if (header.flags & kFrameLz4) {
    room.resize(header.payload_raw_bytes);  // at most kMaxFrameRawBytes: decode_frame_header saw to it
    const int n =
        LZ4_decompress_safe(raw.data(), room.data(), static_cast<int>(raw.size()), static_cast<int>(room.size()));
    if (n < 0 || static_cast<std::size_t>(n) != room.size())
      return Status(Code::kCorruption, "payload does not decompress");
    raw = room;
  }
  Decoder in(raw);
  for (std::uint64_t i = 0; in.ok() && i < header.count(); ++i) {
    if (in.bytes().size() > kMaxEventBytes) return Status(Code::kCorruption, "record over the size limit");
  }
  if (!in.done()) return Status(Code::kCorruption, "payload is not the records its header promises");
  return raw;
}

void for_each_record(const FrameHeader& header, std::string_view raw, const std::function<void(const WalRecord&)>& fn) {
  Decoder in(raw);
  for (Sequence s = header.first_sequence; s < header.first_sequence + header.count(); ++s) {
    const std::string_view event = in.bytes();
    DARUMA_ASSERT(in.ok());
    fn({s, event});
  }
}

}  // namespace daruma
