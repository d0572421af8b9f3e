// SPDX-License-Identifier: Apache-2.0
#include "run/run_filter.h"

#include <algorithm>

namespace daruma {

std::string RunFilterBuilder::build(unsigned bits_per_key) const {
  if (keys_ == 0 || bits_per_key == 0) return {};
  const std::uint64_t bits = std::uint64_t{keys_} * bits_per_key;
  const std::uint64_t lines =
      std::clamp<std::uint64_t>((bits + 8 * kFilterLineBytes - 1) / (8 * kFilterLineBytes), 1, kFilterLinesMax);
  std::string out(lines * kFilterLineBytes, '\0');
  for (std::size_t i = 0; i < keys_; ++i) {
    const std::uint64_t hash = hashes_[i / kPart][i % kPart];
    char* line = out.data() + RunFilter::line_of(hash, lines) * kFilterLineBytes;
    auto h = static_cast<std::uint32_t>(hash);
    for (int i = 0; i < RunFilter::kProbes; ++i) {
      h *= RunFilter::kStep;
      const std::uint32_t bit = h >> 23;
      line[bit >> 3] = static_cast<char>(static_cast<std::uint8_t>(line[bit >> 3]) | (1u << (bit & 7)));
    }
  }
  return out;
}

}  // namespace daruma
