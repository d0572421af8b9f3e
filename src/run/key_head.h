// SPDX-License-Identifier: Apache-2.0
// What searches over sorted keys share: keys by their first eight bytes, which decide nearly every step.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "base/coding.h"

namespace daruma {

/// The first eight bytes as a number that orders as they do; zeros where there are fewer.
inline std::uint64_t head_of(std::string_view key) {
  const char* const p = key.data();
  const std::size_t n = key.size();
  const auto byte = [&](std::size_t i) { return std::uint64_t{static_cast<std::uint8_t>(p[i])} << 8 * i; };
  std::uint64_t head = 0;
  if (n >= 8)
    head = load<std::uint64_t>(p);
  else if (n >= 4)  // bytes of the middle may come twice
    head = load<std::uint32_t>(p) | std::uint64_t{load<std::uint32_t>(p + n - 4)} << 8 * (n - 4);
  else if (n > 0)
    head = byte(0) | byte(n / 2) | byte(n - 1);
  return __builtin_bswap64(head);
}

/// The first of `count` for which `before` is false; it is true up to there. Without a branch on the answers, of which
/// a processor guesses half wrong.
template <typename Before>
std::size_t first_not(std::size_t count, const Before& before) {
  std::size_t low = 0;
  while (count > 0) {
    const std::size_t half = (count + 1) / 2;
    low += before(low + half - 1) ? half : 0;
    count -= half;
  }
  return low;
}

}  // namespace daruma
