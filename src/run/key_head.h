// SPDX-License-Identifier: Apache-2.0
// What searches over sorted keys share: keys by their first eight bytes, which decide nearly every step.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/coding.h"

namespace daruma {

/// The first eight bytes as a number that orders as they do; zeros where there are fewer.
inline std::uint64_t head_of(std::string_view key) {
  std::uint64_t head = 0;
  if (key.size() >= sizeof head)
    head = load<std::uint64_t>(key.data());
  else if (!key.empty())
    std::memcpy(&head, key.data(), key.size());
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
