// SPDX-License-Identifier: Apache-2.0
//
// The range tombstones of a memtable, and which of them covers a key.
//
// What must stay true: what a reader loads is immutable; an insert builds the next picture beside it and publishes that
// by one release store. Levels have sizes that are distinct powers of two, and each is a tree over its ranges, so that
// a lookup is polylogarithmic where few ranges overlap (the logarithmic method: Bentley and Saxe, 1980).
#pragma once

#include <atomic>
#include <cstddef>
#include <string_view>
#include <vector>

#include "daruma/status.h"
#include "event/entry.h"
#include "memtable/arena.h"

namespace daruma {

class RangeEraseIndex {
 public:
  explicit RangeEraseIndex(Arena& arena) : arena_(arena) {}
  RangeEraseIndex(const RangeEraseIndex&) = delete;
  RangeEraseIndex& operator=(const RangeEraseIndex&) = delete;

  /// Writer only. `begin` < `end`, or `end` is empty.
  void add(Sequence sequence, std::string_view begin, std::string_view end);

  /// The highest sequence above `floor` and at or below `at` of a range that covers `key`; `floor` when there is none.
  [[nodiscard]] Sequence covering(std::string_view key, Sequence at, Sequence floor) const;
  /// All of them, in the order of arrival.
  [[nodiscard]] std::vector<RangeErase> list() const;
  [[nodiscard]] bool empty() const { return picture_.load(std::memory_order_acquire) == nullptr; }

 private:
  struct Range {
    Sequence sequence;
    std::string_view begin;
    std::string_view end;
    const Range* earlier;  ///< the one that came before it
  };
  /// A tree without pointers: the root of [low, high) is its middle, and knows the furthest end and the highest
  /// sequence in it.
  struct Item {
    const Range* range;
    const Range* furthest;
    Sequence highest;
  };
  struct Level {
    std::size_t size;
    const Item* items;  ///< by begin
  };
  struct Picture {
    const Range* latest;
    std::size_t count;
    const Level* levels;  ///< larger ones first
  };

  static bool ends_further(const Range& a, const Range& b) {
    return !b.end.empty() && (a.end.empty() || a.end > b.end);
  }
  static const Item& summarise(Item* items, std::size_t low, std::size_t high);
  static void search(const Item* items, std::size_t low, std::size_t high, std::string_view key, Sequence at,
                     Sequence& best);
  template <typename T>
  T* copy_to_arena(const std::vector<T>& from);
  std::string_view copy_to_arena(std::string_view from);

  Arena& arena_;
  std::atomic<const Picture*> picture_{nullptr};
};

}  // namespace daruma
