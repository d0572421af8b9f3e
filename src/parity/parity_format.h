// SPDX-License-Identifier: Apache-2.0
//
// Interleaved XOR parity over the sectors of a file, and a checksum for each of them:
//
//   data sectors | table sectors | parity sectors
//
// What must stay true:
//   - Sector i of the file, parity included, belongs to stripe i mod S; the sectors of a stripe XOR to zero. So of S
//     sectors in a row no two share a stripe: any burst of S sectors heals.
//   - What heals is believed only after its checksum verifies: in the table for data, in the sector itself for the
//   table.
//     So parity needs no checksum of its own.
//   - The size of the whole file gives the layout, by each rule: nothing that is needed to heal can be lost with the
//     sector it is in.
//
// XOR instead of Reed-Solomon: one lost sector a stripe is what single faults and bursts need, at memory speed.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/checksum.h"

namespace daruma {

/// Hashes in one sector of the table; the last eight bytes are its own checksum.
inline constexpr std::uint64_t kTableHashes = kSectorBytes / 8 - 1;
inline constexpr std::uint64_t kMinStripes = 32;        ///< where there are as many sectors to protect
inline constexpr std::uint64_t kSectorsPerStripe = 32;  ///< of large files: parity is about 3 % of them
inline constexpr std::uint64_t kBurstSectors = 17;      ///< that 64 KiB touch at most

/// How many stripes S there are for P protected sectors.
enum class ParityRule : std::uint8_t {
  /// min(P, max(32, P / 32)), as files were written at first: tiny ones are mirrored, so that one burst may hurt both.
  kMirrored,
  /// max(17, min(P, max(32, P / 32 + 3))): 64 KiB or 3 % of the file, whichever is more, touch S sectors at most, from
  /// whatever byte on. With P = 32 k + r the file has 33 k + r + 3 sectors, of which 3 % touch k + 3 at most.
  kBurst,
};

struct ParityLayout {
  std::uint64_t data_sectors = 0;
  std::uint64_t table_sectors = 0;
  std::uint64_t stripes = 0;

  [[nodiscard]] std::uint64_t protected_sectors() const { return data_sectors + table_sectors; }
  [[nodiscard]] std::uint64_t file_sectors() const { return protected_sectors() + stripes; }
  [[nodiscard]] std::uint64_t file_bytes() const { return file_sectors() * kSectorBytes; }
  /// The parity sector of a stripe.
  [[nodiscard]] std::uint64_t parity_at(std::uint64_t stripe) const {
    return protected_sectors() + (stripe + stripes - protected_sectors() % stripes) % stripes;
  }
  bool operator==(const ParityLayout&) const = default;
};

ParityLayout parity_layout(std::uint64_t data_sectors, ParityRule rule = ParityRule::kBurst);
/// The layout of a file of so many sectors, parity included; nothing when no data make one of that size.
std::optional<ParityLayout> parity_layout_of_file(std::uint64_t file_sectors, ParityRule rule = ParityRule::kBurst);

/// What seeds the checksums of one file's sectors.
struct ParityPlace {
  StoreId store;
  std::uint64_t file = 0;  ///< of a number space of its own: these hashes never equal another checksum of the file
  [[nodiscard]] std::uint64_t hash(std::string_view sector, std::uint64_t index) const {
    return checksum(sector, store, file, index);
  }
};

/// `into` ^= `from`, byte by byte; equal sizes, a multiple of 8.
void xor_into(std::span<char> into, std::string_view from);
/// Whether every byte is zero; at memory speed.
bool all_zero(std::string_view bytes);

/// Table sector `index` (among the table's), which stands at file sector data_sectors + index.
std::string encode_table_sector(const ParityLayout& layout, const ParityPlace& place, std::uint64_t index,
                                std::span<const std::uint64_t> hashes);
bool table_sector_verifies(const ParityLayout& layout, const ParityPlace& place, std::uint64_t index,
                           std::string_view sector);

}  // namespace daruma
