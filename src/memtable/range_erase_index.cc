// SPDX-License-Identifier: Apache-2.0
#include "memtable/range_erase_index.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include "base/assert.h"
#include "daruma/limits.h"

namespace daruma {

template <typename T>
T* RangeEraseIndex::copy_to_arena(const std::vector<T>& from) {
  T* to = reinterpret_cast<T*>(arena_.allocate(from.size() * sizeof(T)));
  std::uninitialized_copy(from.begin(), from.end(), to);
  return to;
}

std::string_view RangeEraseIndex::copy_to_arena(std::string_view from) {
  if (from.empty()) return {};
  char* to = arena_.allocate(from.size());
  std::memcpy(to, from.data(), from.size());
  return {to, from.size()};
}

void RangeEraseIndex::add(Sequence sequence, std::string_view begin, std::string_view end) {
  DARUMA_ASSERT(sequence > 0 && sequence <= kMaxSequence);
  DARUMA_ASSERT(begin.size() <= kMaxKeyBytes && end.size() <= kMaxKeyBytes);
  DARUMA_ASSERT(end.empty() || begin < end);
  const Picture* old = picture_.load(std::memory_order_relaxed);
  const auto* range = ::new (arena_.allocate(sizeof(Range)))
      Range{sequence, copy_to_arena(begin), copy_to_arena(end), old ? old->latest : nullptr};

  // As in adding one to a binary number: equal levels become one twice as large.
  std::vector<Level> levels;
  if (old) levels.assign(old->levels, old->levels + old->count);
  std::vector<Item> carry{{range, range, sequence}};
  for (; !levels.empty() && levels.back().size == carry.size(); levels.pop_back()) {
    std::vector<Item> merged(2 * carry.size());
    const Level& level = levels.back();
    std::merge(level.items, level.items + level.size, carry.begin(), carry.end(), merged.begin(),
               [](const Item& a, const Item& b) { return a.range->begin < b.range->begin; });
    carry = std::move(merged);
  }
  summarise(carry.data(), 0, carry.size());
  levels.push_back({carry.size(), copy_to_arena(carry)});
  picture_.store(::new (arena_.allocate(sizeof(Picture))) Picture{range, levels.size(), copy_to_arena(levels)},
                 std::memory_order_release);
}

const RangeEraseIndex::Item& RangeEraseIndex::summarise(Item* items, std::size_t low, std::size_t high) {
  const std::size_t middle = low + (high - low) / 2;
  Item& root = items[middle];
  root.furthest = root.range;
  root.highest = root.range->sequence;
  const auto include = [&root](const Item& child) {
    if (ends_further(*child.furthest, *root.furthest)) root.furthest = child.furthest;
    root.highest = std::max(root.highest, child.highest);
  };
  if (low < middle) include(summarise(items, low, middle));
  if (middle + 1 < high) include(summarise(items, middle + 1, high));
  return root;
}

void RangeEraseIndex::search(const Item* items, std::size_t low, std::size_t high, std::string_view key, Sequence at,
                             Sequence& best) {
  while (low < high) {
    const std::size_t middle = low + (high - low) / 2;
    const Item& root = items[middle];
    if (root.highest <= best || (!root.furthest->end.empty() && root.furthest->end <= key)) return;
    if (root.range->begin <= key) {
      const Range& range = *root.range;
      if (range.sequence > best && range.sequence <= at && (range.end.empty() || key < range.end))
        best = range.sequence;
      search(items, middle + 1, high, key, at, best);
    }
    high = middle;
  }
}

Sequence RangeEraseIndex::covering(std::string_view key, Sequence at, Sequence floor) const {
  const Picture* picture = picture_.load(std::memory_order_acquire);
  Sequence best = floor;
  if (!picture) return best;
  for (std::size_t i = picture->count; i-- > 0;)
    search(picture->levels[i].items, 0, picture->levels[i].size, key, at, best);
  return best;
}

std::vector<RangeErase> RangeEraseIndex::list() const {
  std::vector<RangeErase> all;
  const Picture* picture = picture_.load(std::memory_order_acquire);
  for (const Range* range = picture ? picture->latest : nullptr; range; range = range->earlier) {
    all.push_back({std::string(range->begin), std::string(range->end), range->sequence});
  }
  std::reverse(all.begin(), all.end());
  return all;
}

}  // namespace daruma
