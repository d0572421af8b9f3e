// SPDX-License-Identifier: Apache-2.0
#include "parity/parity_builder.h"

#include <algorithm>

#include "base/assert.h"

namespace daruma {

ParityBuilder::ParityBuilder(const ParityPlace& place, const ParityLayout& layout)
    : place_(place), layout_(layout), parity_(layout_.stripes * kSectorBytes, '\0') {
  hashes_.reserve(layout.data_sectors);
}

void ParityBuilder::add(std::string_view sectors) {
  DARUMA_ASSERT(sectors.size() % kSectorBytes == 0);
  for (; !sectors.empty(); sectors.remove_prefix(kSectorBytes)) {
    const std::string_view sector = sectors.substr(0, kSectorBytes);
    const std::uint64_t index = hashes_.size();
    DARUMA_ASSERT(index < layout_.data_sectors);
    hashes_.push_back(place_.hash(sector, index));
    xor_into(parity_of(index), sector);
  }
}

std::string ParityBuilder::finish() {
  DARUMA_ASSERT(hashes_.size() == layout_.data_sectors);
  std::string trailer;
  trailer.reserve(layout_.table_sectors * kSectorBytes + parity_.size());
  const std::span<const std::uint64_t> hashes(hashes_);
  for (std::uint64_t i = 0; i < layout_.table_sectors; ++i) {
    const std::size_t from = i * kTableHashes;
    const std::string sector = encode_table_sector(
        layout_, place_, i, hashes.subspan(from, std::min<std::size_t>(kTableHashes, hashes.size() - from)));
    xor_into(parity_of(layout_.data_sectors + i), sector);
    trailer += sector;
  }
  return trailer += parity_;
}

}  // namespace daruma
