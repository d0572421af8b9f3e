// SPDX-License-Identifier: Apache-2.0
#include "parity/parity_format.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "base/coding.h"

namespace daruma {
namespace {

std::uint64_t stripes_for(std::uint64_t protected_sectors, ParityRule rule) {
  const std::uint64_t part = protected_sectors / kSectorsPerStripe;
  if (rule == ParityRule::kMirrored) return std::min(protected_sectors, std::max(kMinStripes, part));
  return std::max(kBurstSectors, std::min(protected_sectors, std::max(kMinStripes, part + 3)));
}

}  // namespace

ParityLayout parity_layout(std::uint64_t data_sectors, ParityRule rule) {
  ParityLayout layout;
  layout.data_sectors = data_sectors;
  layout.table_sectors = (data_sectors + kTableHashes - 1) / kTableHashes;
  layout.stripes = stripes_for(layout.protected_sectors(), rule);
  return layout;
}

std::optional<ParityLayout> parity_layout_of_file(std::uint64_t file_sectors, ParityRule rule) {
  // Every part grows with the data, so the size of the file decides.
  std::uint64_t low = 1;
  std::uint64_t high = file_sectors;
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    if (parity_layout(middle, rule).file_sectors() < file_sectors) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  const ParityLayout layout = parity_layout(low, rule);
  if (layout.file_sectors() != file_sectors) return std::nullopt;
  return layout;
}

void xor_into(std::span<char> into, std::string_view from) {
  DARUMA_ASSERT(into.size() == from.size() && into.size() % 8 == 0);
  for (std::size_t at = 0; at < into.size(); at += 8) {
    store<std::uint64_t>(into.data() + at,
                         load<std::uint64_t>(into.data() + at) ^ load<std::uint64_t>(from.data() + at));
  }
}

bool all_zero(std::string_view bytes) {
  // Every byte is its neighbour and the first is zero.
  return bytes.empty() || (bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

std::string encode_table_sector(const ParityLayout& layout, const ParityPlace& place, std::uint64_t index,
                                std::span<const std::uint64_t> hashes) {
  DARUMA_ASSERT(hashes.size() <= kTableHashes);
  std::string sector;
  sector.reserve(kSectorBytes);
  for (const std::uint64_t hash : hashes) put_u64(sector, hash);
  sector.resize(kSectorBytes - 8, '\0');
  put_u64(sector, place.hash(sector, layout.data_sectors + index));
  return sector;
}

bool table_sector_verifies(const ParityLayout& layout, const ParityPlace& place, std::uint64_t index,
                           std::string_view sector) {
  return checksum_holds(load<std::uint64_t>(sector.data() + kSectorBytes - 8),
                        place.hash(sector.substr(0, kSectorBytes - 8), layout.data_sectors + index));
}

}  // namespace daruma
