// SPDX-License-Identifier: Apache-2.0
//
// The bytes of a frame, the unit in which the log is written: data sectors, then parity sectors.
//
//   header | footprint | payload | footprints of earlier frames, zeros | header again || parity
//
// What must stay true:
//   - A frame starts and ends at a sector boundary: writing one cannot touch bytes of another.
//   - Any one sector of it can be put together from the others, the first included: the header stands at both ends of
//     the data, and sector i belongs to stripe i mod P, whose sectors XOR to zero (P: parity sectors, 1 in 32 of the
//     data, at least one; so a frame of one data sector is followed by its mirror).
//   - Every checksum is seeded with the store, the incarnation and the offset, so what an earlier use of the file left
//     behind never verifies; header, footprint and payload are checksummed apart.
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

class EarlierFootprints;

inline constexpr std::size_t kFrameHeaderBytes = 128;
inline constexpr std::uint32_t kFrameMagic = 0x52465244;        ///< "DRFR"
inline constexpr std::uint64_t kMaxFrameRawBytes = 160u << 20;  ///< bound of decompression
inline constexpr std::uint64_t kFrameDataPerParity = 32;        ///< data sectors that one parity sector covers

inline constexpr std::uint16_t kFrameLz4 = 1;   ///< payload is LZ4
inline constexpr std::uint16_t kFrameMark = 2;  ///< no events: tells a watermark
inline constexpr std::uint16_t kFrameSeal = 4;  ///< no events: the segment is complete; names its successor

/// A frame's parts share its offset; offsets are sector-aligned, so the low bits of a position tell the parts apart.
inline constexpr std::uint64_t kFootprintPart = 1, kPayloadPart = 2, kEarlierPart = 3;

/// How many sectors of a frame are data, and how many parity.
struct FrameLayout {
  std::uint64_t data_sectors = 1;
  std::uint64_t parity_sectors = 1;
  [[nodiscard]] std::uint64_t sectors() const { return data_sectors + parity_sectors; }
  [[nodiscard]] std::uint64_t bytes() const { return sectors() * kSectorBytes; }
  [[nodiscard]] std::uint64_t data_bytes() const { return data_sectors * kSectorBytes; }
  /// The parity sector of the stripe that sector `i` belongs to.
  [[nodiscard]] std::uint64_t parity_of(std::uint64_t i) const {
    return data_sectors + (i + parity_sectors - data_sectors % parity_sectors) % parity_sectors;
  }
  /// Where the second header begins, from the start of the frame.
  [[nodiscard]] std::uint64_t trailer_at() const { return data_bytes() - kFrameHeaderBytes; }
};
FrameLayout frame_layout(std::uint64_t footprint_bytes, std::uint64_t payload_bytes);
/// Of a mark or a seal.
inline constexpr std::uint64_t kEmptyFrameBytes = 2 * kSectorBytes;

struct FrameHeader {
  std::uint16_t flags = 0;
  std::uint16_t features = 0;  ///< required; none known yet
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

  [[nodiscard]] FrameLayout layout() const { return frame_layout(footprint_bytes, payload_bytes); }
  [[nodiscard]] std::uint64_t count() const { return last_sequence + 1 - first_sequence; }
  [[nodiscard]] bool has_events() const { return (flags & (kFrameMark | kFrameSeal)) == 0; }
};

/// The header at `position` of a file, when it verifies there under its own incarnation and makes sense.
std::optional<FrameHeader> decode_frame_header(std::string_view bytes, const StoreId& store, std::uint64_t position);
/// The second header of a frame whose data end with `sector`, wherever that frame begins; nothing when there is none.
std::optional<FrameHeader> decode_frame_trailer(std::string_view sector, const StoreId& store);

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
  [[nodiscard]] std::uint64_t frame_bytes() const { return frame_layout(footprint.size(), payload.size()).bytes(); }
};

/// The body that holds `records` (at least one, consecutive).
FrameBody make_body(std::span<const WalRecord> records);
/// A body without events, standing before `next`.
FrameBody make_empty_body(std::uint16_t flags, Sequence next);
/// What a record takes in a payload.
std::size_t record_bytes(std::string_view event);

/// The whole frame. `header` comes with incarnation, offset, watermark, previous, wall_ns and next_segment; the rest is
/// filled in, its checksum last.
AlignedBuffer encode_frame(const StoreId& store, FrameHeader& header, const FrameBody& body,
                           const EarlierFootprints& earlier);

/// Whether the parts of a frame verify; `frame` holds header.frame_bytes.
bool footprint_verifies(const StoreId& store, const FrameHeader& header, std::string_view frame);
bool payload_verifies(const StoreId& store, const FrameHeader& header, std::string_view frame);
std::string_view footprint_of(const FrameHeader& header, std::string_view frame);
/// The raw records: decompressed into `room` where needed. kCorruption when they are not exactly header.count()
/// records.
Result<std::string_view> open_payload(const FrameHeader& header, std::string_view frame, std::string& room);
/// Walks records that open_payload gave.
void for_each_record(const FrameHeader& header, std::string_view raw, const std::function<void(const WalRecord&)>& fn);

}  // namespace daruma
