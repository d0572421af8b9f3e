// SPDX-License-Identifier: Apache-2.0
//
// The bytes of the tail ring; docs/format.md gives each with an example.
//
// What must stay true:
//   - The file is two equal halves, and everything is stored in both: one may be damaged anywhere.
//   - Checksums are seeded with the store, the nonce of the ring and the place in a half, so that what an earlier round
//     left behind never verifies.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/checksum.h"
#include "daruma/status.h"
#include "wal/frame_format.h"

namespace daruma {

inline constexpr std::uint64_t kTailDataAt = 2 * kSectorBytes;  ///< in a half
inline constexpr std::size_t kTailEntryHeaderBytes = 32;
inline constexpr std::size_t kTailUnit = 32;                  ///< entries start and end on multiples of this
inline constexpr std::uint32_t kTailEntryMagic = 0x4e455244;  ///< "DREN"
inline constexpr std::uint32_t kTailPadMagic = 0x44505244;    ///< "DRPD"
inline constexpr std::uint64_t kMinTailBytes = 256 << 10;
inline constexpr std::uint64_t kMaxTailBytes = std::uint64_t{1} << 30;

/// Bytes of a half, which holds so many bytes of data.
inline std::uint64_t tail_half_bytes(std::uint64_t capacity) { return kTailDataAt + capacity; }

/// "tail-00000000deadbeef": a start makes its own ring, before it publishes the segment that names the nonce. So a
/// segment in wal/ proves that its ring was made, and one that is not there was lost.
std::string tail_name(std::uint64_t nonce);
/// The nonce in such a name; empty for any other name.
std::optional<std::uint64_t> parse_tail_name(std::string_view name);

struct TailHeader {
  StoreId store;
  std::uint64_t nonce = 0;
  std::uint64_t capacity = 0;  ///< bytes of data in a half, whole sectors
  std::uint64_t boot = 0;
  Sequence own_from = 0;  ///< see SegmentHeader
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
/// Slots are counted, and so many are written before the segment that names the ring is published.
inline constexpr std::uint64_t kTailSlotsUnpublished = 2;
void encode_tail_slot(const TailHeader& header, const TailSlot& slot, unsigned index, char* out);
std::optional<TailSlot> decode_tail_slot(const TailHeader& header, unsigned index, std::string_view bytes);

/// Where in a half the head word stands.
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
/// The same entry in the other half, `bytes` long with its header.
void copy_tail_entry(char* out, const char* entry, std::size_t bytes);
void encode_tail_pad(const TailHeader& header, std::uint64_t position, std::uint32_t payload_bytes, char* out);

}  // namespace daruma
