// SPDX-License-Identifier: Apache-2.0
// Ranges of keys, as sorted lists of disjoint [begin, end).
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace daruma {

struct KeyRange {
  std::string begin;
  std::string end;  ///< one past the last; always there, since what a run holds has a last key
  [[nodiscard]] bool holds(std::string_view key) const { return key >= begin && key < end; }
  bool operator==(const KeyRange&) const = default;
};

/// Sorted, and what overlaps or touches made one.
inline std::vector<KeyRange> joined(std::vector<KeyRange> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const KeyRange& a, const KeyRange& b) { return a.begin < b.begin; });
  std::vector<KeyRange> out;
  for (KeyRange& range : ranges) {
    if (range.begin >= range.end) continue;
    if (!out.empty() && range.begin <= out.back().end) {
      if (range.end > out.back().end) out.back().end = std::move(range.end);
    } else {
      out.push_back(std::move(range));
    }
  }
  return out;
}

/// What lies in both. Lists as `joined` gives them.
inline std::vector<KeyRange> common(const std::vector<KeyRange>& a, const std::vector<KeyRange>& b) {
  std::vector<KeyRange> out;
  for (const KeyRange& x : a) {
    for (const KeyRange& y : b) {
      KeyRange both{std::max(x.begin, y.begin), std::min(x.end, y.end)};
      if (both.begin < both.end) out.push_back(std::move(both));
    }
  }
  return joined(std::move(out));
}

/// What lies in `a` and not in `b`. Lists as `joined` gives them.
inline std::vector<KeyRange> without(const std::vector<KeyRange>& a, const std::vector<KeyRange>& b) {
  std::vector<KeyRange> out;
  for (const KeyRange& x : a) {
    std::string from = x.begin;
    for (const KeyRange& y : b) {
      if (y.end <= from || y.begin >= x.end) continue;
      if (from < y.begin) out.push_back({from, y.begin});
      from = std::max(from, y.end);
    }
    if (from < x.end) out.push_back({std::move(from), x.end});
  }
  return out;
}

}  // namespace daruma
