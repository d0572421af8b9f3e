// SPDX-License-Identifier: Apache-2.0
//
// The bytes of log segments and of the tail ring; docs/format.md gives each with an example.
//
// What must stay true:
//   - A frame starts and ends at a sector boundary: writing one cannot touch bytes of another.
//   - Every checksum is seeded with the store, the incarnation (or nonce) and the position, so what an earlier use of
//   the
//     file left behind never verifies.
//   - Header, footprint and payload are checksummed apart: damage to one leaves the others readable.
//   - Nothing decoded here is believed before its checksum holds, and no size is used before it is checked.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/checksum.h"
#include "daruma/status.h"

namespace daruma {

inline constexpr std::uint32_t kWalVersion = 1;
inline constexpr std::uint32_t kWalKnownFeatures = 0;                ///< required features this code can read
inline constexpr std::uint64_t kSegmentFramesAt = 2 * kSectorBytes;  ///< behind the header and its copy
inline constexpr std::size_t kFrameHeaderBytes = 128;
inline constexpr std::uint32_t kFrameMagic = 0x52465244;        ///< "DRFR"
inline constexpr std::uint64_t kMaxFrameRawBytes = 160u << 20;  ///< bound of decompression
inline constexpr std::uint64_t kMaxSegmentBytes = std::uint64_t{1} << 40;

inline constexpr std::uint16_t kFrameLz4 = 1;   ///< payload is LZ4
inline constexpr std::uint16_t kFrameMark = 2;  ///< no events: tells a watermark
inline constexpr std::uint16_t kFrameSeal = 4;  ///< no events: the segment is complete; names its successor

inline constexpr std::uint64_t kTailDataAt = 2 * kSectorBytes;
inline constexpr std::size_t kTailEntryHeaderBytes = 32;
inline constexpr std::size_t kTailUnit = 32;                  ///< entries start and end on multiples of this
inline constexpr std::uint32_t kTailEntryMagic = 0x4e455244;  ///< "DREN"
inline constexpr std::uint32_t kTailPadMagic = 0x44505244;    ///< "DRPD"
inline constexpr std::uint64_t kMinTailBytes = 256 << 10;
inline constexpr std::uint64_t kMaxTailBytes = std::uint64_t{1} << 30;

/// "0000000000000042.log"
std::string segment_name(std::uint64_t number);
/// The number in such a name; empty for any other name.
std::optional<std::uint64_t> parse_segment_name(std::string_view name);
/// "tail-00000000deadbeef": a start makes its own ring, before it publishes the segment that names the nonce. So a
/// segment in wal/ proves that its ring was made, and one that is not there was lost.
std::string tail_name(std::uint64_t nonce);
/// The nonce in such a name; empty for any other name.
std::optional<std::uint64_t> parse_tail_name(std::string_view name);

/// Identifies a boot in headers; 0 when unknown, which equals nothing.
std::uint64_t boot_hash(std::string_view boot_id);

/// The last frame before a segment: what it continues.
struct Predecessor {
  std::uint64_t number = 0;  ///< 0: none
  Sequence last_sequence = 0;
  std::uint64_t last_hash = 0;  ///< header checksum of its last frame
};

struct SegmentHeader {
  std::uint32_t version = kWalVersion;
  std::uint32_t required_features = 0;
  std::uint32_t optional_features = 0;
  StoreId store;
  std::uint64_t number = 0;
  std::uint64_t incarnation = 0;  ///< random per use of the file
  Sequence start_sequence =
      0;  ///< first sequence here; the segment's presence proves all below it durable or accounted for
  Sequence prepared_sequence = 0;  ///< last sequence written before the segment was published: proven durable too
  Predecessor predecessor;
  std::uint64_t capacity = 0;      ///< bytes of the file that frames may use, headers included
  std::uint64_t window_bytes = 0;  ///< at most so much was in flight, or one bigger frame
  std::uint64_t tail_nonce = 0;    ///< the tail ring in use with this segment
  std::uint64_t boot = 0;          ///< boot_hash
  std::int64_t wall_ns = 0;
  std::uint64_t checksum = 0;  ///< of the copy at offset 0; the first frame's `previous`
};

/// The sector that stands at `position` (0 or kSectorBytes); sets header.checksum for position 0.
std::string encode_segment_header(SegmentHeader& header, std::uint64_t position);
/// kCorruption when it does not verify (also when `store` is given and differs), kUnsupported when from the future.
Result<SegmentHeader> decode_segment_header(std::string_view sector, std::uint64_t position,
                                            const std::optional<StoreId>& store);

struct FrameHeader {
  std::uint16_t flags = 0;
  std::uint16_t features = 0;  ///< required; none known yet (parity, repetition in the padding)
  std::uint32_t frame_bytes = 0;
  std::uint32_t footprint_bytes = 0;
  std::uint64_t incarnation = 0;
  std::uint64_t offset = 0;
  Sequence first_sequence = 0;
  Sequence last_sequence = 0;  ///< first - 1 for marks and seals
  Sequence watermark = 0;      ///< highest sequence known durable when this was built
  std::uint64_t previous = 0;  ///< checksum of the header before: frame, or segment header at 0
  std::int64_t wall_ns = 0;
  std::uint32_t payload_bytes = 0;
  std::uint32_t payload_raw_bytes = 0;
  std::uint64_t payload_checksum = 0;
  std::uint64_t footprint_checksum = 0;
  std::uint64_t next_segment = 0;  ///< seal only
  std::uint64_t checksum = 0;

  [[nodiscard]] std::uint64_t count() const { return last_sequence + 1 - first_sequence; }
  [[nodiscard]] bool has_events() const { return (flags & (kFrameMark | kFrameSeal)) == 0; }
};

/// The header at `position` of a file, when it verifies there under its own incarnation and makes sense.
std::optional<FrameHeader> decode_frame_header(std::string_view bytes, const StoreId& store, std::uint64_t position);

/// One event with its number; a view.
struct WalRecord {
  Sequence sequence = 0;
  std::string_view event;
};

/// Footprint and payload of a frame before its place is known.
struct FrameBody {
  std::uint16_t flags = 0;
  Sequence first_sequence = 0;
  Sequence last_sequence = 0;
  std::uint32_t raw_bytes = 0;
  std::string footprint;
  std::string payload;
  [[nodiscard]] std::uint64_t frame_bytes() const {
    return round_up(kFrameHeaderBytes + footprint.size() + payload.size(), kSectorBytes);
  }
};

/// The body that holds `records` (at least one, consecutive).
FrameBody make_body(std::span<const WalRecord> records);
/// A body without events, standing before `next`.
FrameBody make_empty_body(std::uint16_t flags, Sequence next);
/// What a record takes in a payload.
std::size_t record_bytes(std::string_view event);

/// The whole frame. `header` comes with incarnation, offset, watermark, previous, wall_ns and next_segment; the rest is
/// filled in, its checksum last.
AlignedBuffer encode_frame(const StoreId& store, FrameHeader& header, const FrameBody& body);

/// Whether the parts of a frame verify; `frame` holds header.frame_bytes.
bool footprint_verifies(const StoreId& store, const FrameHeader& header, std::string_view frame);
bool payload_verifies(const StoreId& store, const FrameHeader& header, std::string_view frame);
std::string_view footprint_of(const FrameHeader& header, std::string_view frame);
/// The raw records: decompressed into `room` where needed. kCorruption when they are not exactly header.count()
/// records.
Result<std::string_view> open_payload(const FrameHeader& header, std::string_view frame, std::string& room);
/// Walks records that open_payload gave.
void for_each_record(const FrameHeader& header, std::string_view raw, const std::function<void(const WalRecord&)>& fn);

struct TailHeader {
  StoreId store;
  std::uint64_t nonce = 0;
  std::uint64_t capacity = 0;  ///< bytes of data, a multiple of kTailUnit
  std::uint64_t boot = 0;
};
std::string encode_tail_header(const TailHeader& header);
Result<TailHeader> decode_tail_header(std::string_view sector, const std::optional<StoreId>& store);

inline constexpr std::size_t kTailSlotBytes = 64;
/// Where the ring's live part begins: everything logged before `position` (logical) is durable in the log.
struct TailSlot {
  std::uint64_t counter = 0;
  std::uint64_t position = 0;
  Sequence sequence = 0;
};
void encode_tail_slot(const TailHeader& header, const TailSlot& slot, unsigned index, char* out);
std::optional<TailSlot> decode_tail_slot(const TailHeader& header, unsigned index, std::string_view bytes);

/// Where in the ring file the head word stands.
inline constexpr std::uint64_t kTailHeadAt = kSectorBytes + 2048;
/// Position behind the last entry, in one word that is stored after the entry and before it is acknowledged: what is
/// missing below was there. 48 bits of position, 16 of a check.
std::uint64_t encode_tail_head(const TailHeader& header, std::uint64_t position);
/// Nothing when the word does not verify.
std::optional<std::uint64_t> decode_tail_head(const TailHeader& header, std::uint64_t word);

inline std::uint64_t tail_entry_bytes(std::uint64_t payload) {
  return round_up(kTailEntryHeaderBytes + payload, kTailUnit);
}
void encode_tail_entry(const TailHeader& header, std::uint64_t position, const WalRecord& record, char* out);
void encode_tail_pad(const TailHeader& header, std::uint64_t position, std::uint32_t payload_bytes, char* out);

}  // namespace daruma
