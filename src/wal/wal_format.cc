// SPDX-License-Identifier: Apache-2.0
#include "wal/wal_format.h"

#include <lz4.h>

#include <atomic>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "base/assert.h"
#include "base/coding.h"
#include "event/event.h"
#include "event/footprint.h"

namespace daruma {
namespace {

constexpr std::string_view kSegmentMagic = "DRMWAL01";
constexpr std::string_view kTailMagic = "DRMTAIL1";
constexpr std::size_t kSectorChecksumAt = kSectorBytes - 8;
constexpr std::size_t kFrameChecksumAt = kFrameHeaderBytes - 8;
constexpr std::size_t kLz4MinBytes = 4096;
// A frame's parts share its offset; offsets are sector-aligned, so the low bits tell the parts apart.
constexpr std::uint64_t kFootprintPart = 1, kPayloadPart = 2;
// Numbers that stand for the file in seeds of the tail; the data uses the nonce and logical positions (multiples of
// 32).
constexpr std::uint64_t kTailHeaderPlace = 1, kTailSlotPlace = 2;

std::string seal_sector(std::string fields, const StoreId& store, std::uint64_t file, std::uint64_t position) {
  DARUMA_ASSERT(fields.size() <= kSectorChecksumAt);
  fields.resize(kSectorChecksumAt, '\0');
  put_u64(fields, checksum(fields, store, file, position));
  return fields;
}

std::uint64_t entry_checksum(const TailHeader& header, std::uint64_t position, const char* entry,
                             std::string_view payload) {
  return hash64(payload, hash64({entry, 24}, place_seed(header.store, header.nonce, position)));
}

}  // namespace

std::string segment_name(std::uint64_t number) {
  char name[32];
  std::snprintf(name, sizeof name, "%016llu.log", static_cast<unsigned long long>(number));
  return name;
}

std::optional<std::uint64_t> parse_segment_name(std::string_view name) {
  if (name.size() < 20 || !name.ends_with(".log")) return std::nullopt;
  std::uint64_t number = 0;
  for (char c : name.substr(0, name.size() - 4)) {
    if (c < '0' || c > '9' || number > 1'000'000'000'000'000'000u) return std::nullopt;
    number = number * 10 + static_cast<std::uint64_t>(c - '0');
  }
  if (segment_name(number) != name) return std::nullopt;
  return number;
}

std::string tail_name(std::uint64_t nonce) {
  char name[32];
  std::snprintf(name, sizeof name, "tail-%016llx", static_cast<unsigned long long>(nonce));
  return name;
}

std::optional<std::uint64_t> parse_tail_name(std::string_view name) {
  constexpr std::string_view kPrefix = "tail-";
  std::uint64_t nonce = 0;
  const char* end = name.data() + name.size();
  if (!name.starts_with(kPrefix) || std::from_chars(name.data() + kPrefix.size(), end, nonce, 16).ec != std::errc() ||
      tail_name(nonce) != name) {
    return std::nullopt;
  }
  return nonce;
}

std::uint64_t boot_hash(std::string_view boot_id) { return boot_id.empty() ? 0 : hash64(boot_id, 0x746f6f62) | 1; }

std::string encode_segment_header(SegmentHeader& header, std::uint64_t position) {
  std::string out(kSegmentMagic);
  put_u32(out, header.version);
  put_u32(out, header.required_features);
  put_u32(out, header.optional_features);
  put_u32(out, 0);
  for (std::uint64_t v : {header.store.high, header.store.low, header.number, header.incarnation, header.start_sequence,
                          header.prepared_sequence, header.predecessor.number, header.predecessor.last_sequence,
                          header.predecessor.last_hash, header.capacity, header.window_bytes, header.tail_nonce,
                          header.boot, static_cast<std::uint64_t>(header.wall_ns)}) {
    put_u64(out, v);
  }
  out = seal_sector(std::move(out), header.store, header.number, position);
  if (position == 0) header.checksum = load<std::uint64_t>(out.data() + kSectorChecksumAt);
  return out;
}

Result<SegmentHeader> decode_segment_header(std::string_view sector, std::uint64_t position,
                                            const std::optional<StoreId>& store) {
  if (sector.size() != kSectorBytes || !sector.starts_with(kSegmentMagic))
    return Status(Code::kCorruption, "no segment header");
  Decoder in(sector.substr(kSegmentMagic.size()));
  SegmentHeader h;
  h.version = in.u32();
  h.required_features = in.u32();
  h.optional_features = in.u32();
  in.u32();
  std::uint64_t wall = 0;
  for (std::uint64_t* v : {&h.store.high, &h.store.low, &h.number, &h.incarnation, &h.start_sequence,
                           &h.prepared_sequence, &h.predecessor.number, &h.predecessor.last_sequence,
                           &h.predecessor.last_hash, &h.capacity, &h.window_bytes, &h.tail_nonce, &h.boot, &wall}) {
    *v = in.u64();
  }
  h.wall_ns = static_cast<std::int64_t>(wall);
  const auto stored = load<std::uint64_t>(sector.data() + kSectorChecksumAt);
  if (stored != checksum(sector.substr(0, kSectorChecksumAt), h.store, h.number, position)) {
    return Status(Code::kCorruption, "segment header does not verify");
  }
  if (store && *store != h.store) return Status(Code::kCorruption, "segment of another store");
  if (h.version > kWalVersion || (h.required_features & ~kWalKnownFeatures) != 0) {
    return Status(Code::kUnsupported, "log segment of a newer format", {}, "open it with a newer release");
  }
  if (h.version == 0 || h.capacity < kSegmentFramesAt || h.capacity > kMaxSegmentBytes ||
      h.capacity % kSectorBytes != 0 || h.start_sequence == 0 || h.start_sequence > kMaxSequence ||
      h.prepared_sequence + 1 < h.start_sequence || h.prepared_sequence > kMaxSequence) {
    return Status(Code::kCorruption, "segment header makes no sense");
  }
  // The chain starts from the copy at 0, whichever of the two is read.
  SegmentHeader at_zero = h;
  encode_segment_header(at_zero, 0);
  h.checksum = at_zero.checksum;
  return h;
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
  if (h.checksum != checksum(bytes.substr(0, kFrameChecksumAt), store, h.incarnation, position)) return std::nullopt;
  if (h.offset != position || reserved != 0 || h.features != 0) return std::nullopt;
  const std::uint64_t used = kFrameHeaderBytes + std::uint64_t{h.footprint_bytes} + h.payload_bytes;
  if (h.frame_bytes != round_up(used, kSectorBytes) || h.payload_raw_bytes > kMaxFrameRawBytes) return std::nullopt;
  if (h.first_sequence == 0 || h.first_sequence > kMaxSequence || h.last_sequence > kMaxSequence) return std::nullopt;
  if (h.last_sequence + 1 < h.first_sequence || h.watermark >= h.first_sequence) return std::nullopt;
  // Each record takes at least two bytes, so a count can never exceed the payload.
  if (h.has_events() ? (h.count() == 0 || h.count() > h.payload_raw_bytes)
                     : (h.count() != 0 || h.payload_raw_bytes != 0 || h.payload_bytes != 0))
    return std::nullopt;
  if ((h.flags & kFrameLz4) == 0 && h.payload_bytes != h.payload_raw_bytes) return std::nullopt;
  return h;
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

AlignedBuffer encode_frame(const StoreId& store, FrameHeader& header, const FrameBody& body) {
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

  AlignedBuffer frame(header.frame_bytes);
  char* p = frame.data();
  for (std::string_view part :
       {std::string_view(h), std::string_view(body.footprint), std::string_view(body.payload)}) {
    if (!part.empty()) std::memcpy(p, part.data(), part.size());
    p += part.size();
  }
  std::memset(p, 0, static_cast<std::size_t>(frame.data() + frame.size() - p));
  return frame;
}

std::string_view footprint_of(const FrameHeader& header, std::string_view frame) {
  return frame.substr(kFrameHeaderBytes, header.footprint_bytes);
}

bool footprint_verifies(const StoreId& store, const FrameHeader& header, std::string_view frame) {
  return checksum(footprint_of(header, frame), store, header.incarnation, header.offset + kFootprintPart) ==
         header.footprint_checksum;
}

static std::string_view payload_of(const FrameHeader& header, std::string_view frame) {
  return frame.substr(kFrameHeaderBytes + header.footprint_bytes, header.payload_bytes);
}

bool payload_verifies(const StoreId& store, const FrameHeader& header, std::string_view frame) {
  return checksum(payload_of(header, frame), store, header.incarnation, header.offset + kPayloadPart) ==
         header.payload_checksum;
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

std::string encode_tail_header(const TailHeader& header) {
  std::string out(kTailMagic);
  put_u32(out, kWalVersion);
  put_u32(out, 0);
  for (std::uint64_t v : {header.store.high, header.store.low, header.nonce, header.capacity, header.boot})
    put_u64(out, v);
  return seal_sector(std::move(out), header.store, header.nonce, kTailHeaderPlace);
}

Result<TailHeader> decode_tail_header(std::string_view sector, const std::optional<StoreId>& store) {
  if (sector.size() != kSectorBytes || !sector.starts_with(kTailMagic))
    return Status(Code::kCorruption, "no tail header");
  Decoder in(sector.substr(kTailMagic.size()));
  const std::uint32_t version = in.u32();
  const std::uint32_t features = in.u32();
  TailHeader h;
  for (std::uint64_t* v : {&h.store.high, &h.store.low, &h.nonce, &h.capacity, &h.boot}) *v = in.u64();
  if (load<std::uint64_t>(sector.data() + kSectorChecksumAt) !=
      checksum(sector.substr(0, kSectorChecksumAt), h.store, h.nonce, kTailHeaderPlace)) {
    return Status(Code::kCorruption, "tail header does not verify");
  }
  if (store && *store != h.store) return Status(Code::kCorruption, "tail of another store");
  if (version > kWalVersion || features != 0)
    return Status(Code::kUnsupported, "tail of a newer format", {}, "open it with a newer release");
  if (h.capacity == 0 || h.capacity > kMaxTailBytes || h.capacity % kTailUnit != 0)
    return Status(Code::kCorruption, "tail header makes no sense");
  return h;
}

void encode_tail_slot(const TailHeader& header, const TailSlot& slot, unsigned index, char* out) {
  char bytes[kTailSlotBytes] = {};
  store(bytes, slot.counter);
  store(bytes + 8, slot.position);
  store(bytes + 16, slot.sequence);
  store(bytes + 24, checksum({bytes, 24}, header.store, header.nonce, kTailSlotPlace + index));
  std::memcpy(out, bytes, sizeof bytes);
}

std::optional<TailSlot> decode_tail_slot(const TailHeader& header, unsigned index, std::string_view bytes) {
  if (bytes.size() < kTailSlotBytes) return std::nullopt;
  TailSlot slot{load<std::uint64_t>(bytes.data()), load<std::uint64_t>(bytes.data() + 8),
                load<std::uint64_t>(bytes.data() + 16)};
  if (load<std::uint64_t>(bytes.data() + 24) !=
      checksum(bytes.substr(0, 24), header.store, header.nonce, kTailSlotPlace + index))
    return std::nullopt;
  if (slot.position % kTailUnit != 0 || slot.sequence > kMaxSequence) return std::nullopt;
  return slot;
}

namespace {

/// The magic goes last, over a cleared one: a process killed in the middle of this leaves no entry there, rather than
/// one that does not verify and could as well be an acknowledged one that was damaged.
void write_tail_entry(const TailHeader& header, std::uint64_t position, std::uint32_t magic, Sequence sequence,
                      std::string_view event, std::uint32_t payload_bytes, char* out) {
  char head[kTailEntryHeaderBytes] = {};
  store(head, magic);
  store(head + 4, payload_bytes);
  store(head + 8, sequence);
  store(head + 16, position);
  store(head + 24, entry_checksum(header, position, head, event));
  store(out, std::uint32_t{0});
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::memcpy(out + 4, head + 4, sizeof head - 4);
  if (!event.empty()) std::memcpy(out + kTailEntryHeaderBytes, event.data(), event.size());
  std::atomic_signal_fence(std::memory_order_seq_cst);
  store(out, magic);
}

}  // namespace

std::uint64_t encode_tail_head(const TailHeader& header, std::uint64_t position) {
  constexpr std::uint64_t kPlaces = (std::uint64_t{1} << 48) - 1;
  const std::uint64_t place = position / kTailUnit & kPlaces;
  const std::uint64_t check = (place + header.nonce) * 0x9e3779b97f4a7c15ULL >> 48;  // Knuth's multiplicative hash
  return check << 48 | place;
}

std::optional<std::uint64_t> decode_tail_head(const TailHeader& header, std::uint64_t word) {
  const std::uint64_t position = (word & ((std::uint64_t{1} << 48) - 1)) * kTailUnit;
  if (encode_tail_head(header, position) != word) return std::nullopt;
  return position;
}

void encode_tail_entry(const TailHeader& header, std::uint64_t position, const WalRecord& record, char* out) {
  write_tail_entry(header, position, kTailEntryMagic, record.sequence, record.event,
                   static_cast<std::uint32_t>(record.event.size()), out);
}

void encode_tail_pad(const TailHeader& header, std::uint64_t position, std::uint32_t payload_bytes, char* out) {
  write_tail_entry(header, position, kTailPadMagic, 0, {}, payload_bytes, out);
}

}  // namespace daruma
