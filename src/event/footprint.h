// SPDX-License-Identifier: Apache-2.0
//
// Which keys some events touch, kept apart from the events: when their bytes are lost, reads of exactly these keys
// answer DataLoss and all others go on.
//
// What must stay true: a footprint may name keys that were not touched (hash collisions, widening), never miss one that
// was. It stays under kMaxFootprintBytes by widening: many keys become one range per keyspace, and at last
// `everything`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daruma/status.h"

namespace daruma {

inline constexpr std::size_t kMaxFootprintKeys = 64 << 10;
inline constexpr std::size_t kMaxFootprintBytes = 1 << 20;  ///< encoded

struct FootprintRange {
  std::uint32_t keyspace = 0;
  std::string begin;
  std::string end;  ///< exclusive; empty: unbounded
  bool operator==(const FootprintRange&) const = default;
};

struct Footprint {
  std::vector<std::uint64_t> keys;  ///< key_hash, sorted, each once
  std::vector<FootprintRange> ranges;
  bool everything = false;  ///< any key of any keyspace may have been touched
  [[nodiscard]] bool touches(std::uint32_t keyspace, std::string_view key) const;
  /// Touches what `other` touches too. Widens nothing: the sum may be larger than either limit above.
  void add(const Footprint& other);
  bool operator==(const Footprint&) const = default;
};

/// The footprint of one encoded event. kCorruption when it does not decode.
Result<Footprint> footprint(std::string_view encoded_event);

/// The footprint of several events together; an event that does not decode widens it to `everything`.
Footprint footprint_of_all(const std::vector<std::string_view>& encoded_events);

std::string encode_footprint(const Footprint& footprint);
/// kCorruption when `encoded` is not exactly one footprint.
Result<Footprint> decode_footprint(std::string_view encoded);

}  // namespace daruma
