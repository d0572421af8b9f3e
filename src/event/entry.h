// SPDX-License-Identifier: Apache-2.0
// What memtables and runs hold of an event: one version of a key, or the erasure of a range of keys.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "daruma/status.h"

namespace daruma {

enum class EntryKind : std::uint8_t { kPut = 1, kErase = 2 };

/// Whether `key` is in [begin, end). An empty `end` means no upper bound.
inline bool in_range(std::string_view key, std::string_view begin, std::string_view end) {
  return key >= begin && (end.empty() || key < end);
}

/// Every key in [begin, end) is erased as of `sequence`. An empty `end` means no upper bound.
struct RangeErase {
  std::string begin;
  std::string end;
  Sequence sequence = 0;
  [[nodiscard]] bool covers(std::string_view key) const { return in_range(key, begin, end); }
  bool operator==(const RangeErase&) const = default;
};

}  // namespace daruma
