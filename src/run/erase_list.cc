// SPDX-License-Identifier: Apache-2.0
#include "run/erase_list.h"

#include <algorithm>

#include "base/assert.h"
#include "base/coding.h"
#include "daruma/limits.h"

namespace daruma {
namespace {

constexpr std::size_t kEraseBlockBytes = 64 << 10;

bool reaches_further(const RangeErase& a, const RangeErase& b) {
  return !b.end.empty() && (a.end.empty() || a.end > b.end);
}

}  // namespace

bool erase_stands_before(const RangeErase& a, const RangeErase& b) {
  if (const int c = a.begin.compare(b.begin); c != 0) return c < 0;
  if (a.sequence != b.sequence) return a.sequence > b.sequence;
  return reaches_further(a, b);
}

EraseList::EraseList(std::vector<RangeErase> erases) : erases_(std::move(erases)), nodes_(erases_.size()) {
  DARUMA_ASSERT(std::is_sorted(erases_.begin(), erases_.end(), erase_stands_before));
  if (!erases_.empty()) summarise(0, erases_.size());
}

std::size_t EraseList::summarise(std::size_t low, std::size_t high) {
  const std::size_t middle = low + (high - low) / 2;
  Node node{middle, erases_[middle].sequence};
  const auto take = [&](std::size_t from, std::size_t to) {
    if (from == to) return;
    const Node& child = nodes_[summarise(from, to)];
    if (reaches_further(erases_[child.furthest], erases_[node.furthest])) node.furthest = child.furthest;
    node.highest = std::max(node.highest, child.highest);
  };
  take(low, middle);
  take(middle + 1, high);
  nodes_[middle] = node;
  return middle;
}

void EraseList::search(std::size_t low, std::size_t high, std::string_view key, Sequence at, Sequence& best) const {
  while (low < high) {
    const std::size_t middle = low + (high - low) / 2;
    const Node& node = nodes_[middle];
    const std::string& furthest = erases_[node.furthest].end;
    if (node.highest <= best || (!furthest.empty() && furthest <= key)) return;
    const RangeErase& erase = erases_[middle];
    if (erase.begin > key) {
      high = middle;
      continue;
    }
    if (erase.sequence > best && erase.sequence <= at && erase.covers(key)) best = erase.sequence;
    search(low, middle, key, at, best);
    low = middle + 1;
  }
}

std::vector<std::string> encode_erases(const std::vector<RangeErase>& erases) {
  std::vector<std::string> blocks;
  for (const RangeErase& erase : erases) {
    if (blocks.empty() || blocks.back().size() >= kEraseBlockBytes) blocks.emplace_back();
    put_bytes(blocks.back(), erase.begin);
    put_bytes(blocks.back(), erase.end);
    put_u64(blocks.back(), erase.sequence);
  }
  return blocks;
}

bool decode_erase_block(std::string_view contents, std::vector<RangeErase>& out) {
  Decoder in(contents);
  while (in.ok() && in.remaining() > 0) {
    const std::string_view begin = in.bytes();
    const std::string_view end = in.bytes();
    const Sequence sequence = in.u64();
    if (!in.ok() || begin.size() > kMaxKeyBytes || end.size() > kMaxKeyBytes || sequence == 0 ||
        sequence > kMaxSequence || (!end.empty() && begin >= end)) {
      return false;
    }
    RangeErase erase{std::string(begin), std::string(end), sequence};
    if (!out.empty() && !erase_stands_before(out.back(), erase)) return false;
    out.push_back(std::move(erase));
  }
  return in.done();
}

}  // namespace daruma
