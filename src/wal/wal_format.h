// SPDX-License-Identifier: Apache-2.0
//
// The names of log segments and their headers; docs/format.md gives the bytes with an example. What stands behind a
// header: frame_format.h.
//
// What must stay true: a header stands twice and verifies only where it stands, for the segment it names; nothing
// decoded here is believed before its checksum holds.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/checksum.h"
#include "daruma/status.h"

namespace daruma {

inline constexpr std::uint32_t kWalVersion = 1;
/// Required feature of a segment: `own_from` is said, also of the predecessor. Code from before it takes the chain of a
/// header with bytes that it does not know for broken, and all frames for lost.
inline constexpr std::uint32_t kSegmentSaysOwnFrom = 1;
inline constexpr std::uint32_t kWalKnownFeatures = kSegmentSaysOwnFrom;  ///< required features this code can read
inline constexpr std::uint64_t kSegmentFramesAt = 2 * kSectorBytes;      ///< behind the header and its copy
inline constexpr std::uint64_t kMaxSegmentBytes = std::uint64_t{1} << 40;

/// Where a log stands, below the directory of the store: in the first, or in both.
inline constexpr std::array<std::string_view, 2> kLogDirectories = {"wal", "wal-copy"};
inline constexpr std::size_t kLogSides = kLogDirectories.size();
/// A bit for each of them.
using LogSides = std::uint8_t;
inline constexpr LogSides kBothSides = 3;
constexpr LogSides side_bit(std::size_t side) { return static_cast<LogSides>(1U << side); }
constexpr bool stands_in(LogSides sides, std::size_t side) { return (sides & side_bit(side)) != 0; }
/// Optional feature of a segment: it stands in both, and what was acknowledged is in both.
inline constexpr std::uint32_t kSegmentCopied = 1;
/// Optional feature of a segment: its predecessor is the newest one that begins below it.
inline constexpr std::uint32_t kSegmentNamesPredecessor = 2;

/// "0000000000000042.log"
std::string segment_name(std::uint64_t number);
/// The number in such a name; empty for any other name.
std::optional<std::uint64_t> parse_segment_name(std::string_view name);

/// Identifies a boot in headers; 0 when unknown, which equals nothing.
std::uint64_t boot_hash(std::string_view boot_id);

/// The last frame before a segment: what it continues.
struct Predecessor {
  std::uint64_t number = 0;  ///< 0: none
  Sequence last_sequence = 0;
  std::uint64_t last_hash = 0;  ///< header checksum of its last frame
  Sequence own_from = 0;        ///< see SegmentHeader
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
  Sequence own_from = 0;  ///< first number that this life gave: to earlier lives it means nothing. 0: an older file
  std::uint64_t checksum = 0;  ///< of the copy at offset 0; the first frame's `previous`

  [[nodiscard]] bool copied() const { return (optional_features & kSegmentCopied) != 0; }
  [[nodiscard]] bool names_predecessor() const { return (optional_features & kSegmentNamesPredecessor) != 0; }
};

/// The sector that stands at `position` (0 or kSectorBytes); sets header.checksum for position 0.
std::string encode_segment_header(SegmentHeader& header, std::uint64_t position);
/// kCorruption when it does not verify (also when `store` is given and differs), kUnsupported when from the future.
Result<SegmentHeader> decode_segment_header(std::string_view sector, std::uint64_t position,
                                            const std::optional<StoreId>& store);

}  // namespace daruma
