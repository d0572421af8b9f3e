// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace daruma {

/// Length of the well-formed UTF-8 character at s[i], 0 when there is none: overlong, surrogate, cut off (Unicode 15,
/// table 3-7).
inline std::size_t utf8_length(std::string_view s, std::size_t i) {
  const auto at = [&](std::size_t k) {
    return i + k < s.size() ? static_cast<std::uint8_t>(s[i + k]) : std::uint8_t{0};
  };
  const auto tail = [&](std::size_t k) { return (at(k) & 0xc0) == 0x80; };
  if (i >= s.size()) return 0;
  const std::uint8_t c = at(0);
  if (c < 0x80) return 1;
  if (c >= 0xc2 && c <= 0xdf) return tail(1) ? 2 : 0;
  if (c >= 0xe0 && c <= 0xef) {
    const bool second = c == 0xe0 ? at(1) >= 0xa0 : c == 0xed ? at(1) <= 0x9f : true;
    return tail(1) && second && tail(2) ? 3 : 0;
  }
  if (c >= 0xf0 && c <= 0xf4) {
    const bool second = c == 0xf0 ? at(1) >= 0x90 : c == 0xf4 ? at(1) <= 0x8f : true;
    return tail(1) && second && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace daruma
