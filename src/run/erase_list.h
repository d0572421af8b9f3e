// SPDX-License-Identifier: Apache-2.0
//
// The range erases of a run: by begin, then newest first; a tree without pointers over them, so that a lookup among n
// costs about log n where few overlap.
//
//   erase block: for each: varint begin bytes, begin, varint end bytes, end (empty: unbounded), u64 sequence
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "event/entry.h"

namespace daruma {

class EraseList {
 public:
  EraseList() = default;
  explicit EraseList(std::vector<RangeErase> erases);

  /// Highest sequence above `floor` and at or below `at` of an erase that covers `key`; `floor` when there is none.
  [[nodiscard]] Sequence covering(std::string_view key, Sequence at, Sequence floor) const {
    if (!erases_.empty()) search(0, erases_.size(), key, at, floor);
    return floor;
  }
  [[nodiscard]] bool empty() const { return erases_.empty(); }
  [[nodiscard]] const std::vector<RangeErase>& all() const { return erases_; }

 private:
  struct Node {            // the root of [low, high) is its middle
    std::size_t furthest;  // the erase in it that reaches furthest
    Sequence highest;
  };
  std::size_t summarise(std::size_t low, std::size_t high);
  void search(std::size_t low, std::size_t high, std::string_view key, Sequence at, Sequence& best) const;

  std::vector<RangeErase> erases_;
  std::vector<Node> nodes_;
};

bool erase_stands_before(const RangeErase& a, const RangeErase& b);

/// Contents of the erase blocks for `erases`, which are in order.
std::vector<std::string> encode_erases(const std::vector<RangeErase>& erases);
/// Appends what one erase block says; false when it makes no sense after what is there.
bool decode_erase_block(std::string_view contents, std::vector<RangeErase>& out);

}  // namespace daruma
