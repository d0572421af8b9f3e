// SPDX-License-Identifier: Apache-2.0
// Makes the table and the parity of a file whose data are handed over front to back.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "parity/parity_format.h"

namespace daruma {

/// One thread. Memory: the parity and a hash a sector, about 3 % of a large file.
class ParityBuilder {
 public:
  ParityBuilder(const ParityPlace& place, const ParityLayout& layout);

  /// The next sectors, whole ones.
  void add(std::string_view sectors);
  /// Table and parity, which follow the data. Every data sector has been added (asserted).
  std::string finish();

 private:
  std::span<char> parity_of(std::uint64_t sector) {
    const std::uint64_t at = layout_.parity_at(sector % layout_.stripes) - layout_.protected_sectors();
    return {parity_.data() + at * kSectorBytes, kSectorBytes};
  }

  const ParityPlace place_;
  const ParityLayout layout_;
  std::vector<std::uint64_t> hashes_;
  std::string parity_;
};

}  // namespace daruma
