// SPDX-License-Identifier: Apache-2.0
//
// A data block as it stands in memory, laid out for reads: made once when the block is read, read many times.
//
//   u32 entries, u32 bytes that all keys begin with (the prefix), u32 bytes of the longest key behind them (its rest),
//     u32 where the bounds begin, 0: all rests are as long; the prefix
//   u64 of each entry: the eight bytes of its key behind the prefix, as a number; zeros where the key ends
//   slot of each entry: u64 tag, u32 where its value begins; and one slot more
//   bounds, unless all rests are as long: u32 of each entry, where its rest begins; and one more
//   the rests, unless none is longer than its number; the values
//
// A search meets little of it: the numbers lie side by side and decide nearly every step, one slot says the rest, and a
// key of few bytes behind the prefix is known by number and length. Where such a block is out of the processor's cache,
// that is what a get costs, so the lines are asked for all at once.
//
// What must stay true: only contents of which every byte makes sense become one; so a read needs no check.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/coding.h"
#include "run/block_cache.h"
#include "run/data_block.h"

namespace daruma {

/// A view of one. Any thread.
class LoadedBlock {
 public:
  /// Into `out`, in its memory when that is large enough and nobody else's. False: the contents make no sense.
  static bool make(std::string_view contents, BlockRef& out);

  LoadedBlock() = default;
  /// Of bytes that `make` made and that outlive the view.
  explicit LoadedBlock(const char* block) : begin_(block) {}

  [[nodiscard]] std::size_t size() const { return begin_ ? load<std::uint32_t>(begin_) : 0; }
  /// The first entry that does not stand before (key, at).
  [[nodiscard]] std::size_t find(std::string_view key, Sequence at) const;
  [[nodiscard]] bool has_key(std::size_t i, std::string_view key) const {
    return key.starts_with(prefix()) && compare(i, key.substr(prefix_bytes())) == 0;
  }

  /// Of two neighbours.
  [[nodiscard]] bool same_key(std::size_t i, std::size_t j) const {
    return head(i) == head(j) && rest_bytes(i) == rest_bytes(j) && (rest_bytes(i) <= 8 || rest(i) == rest(j));
  }

  [[nodiscard]] std::string_view prefix() const { return {begin_ + kHeaderBytes, prefix_bytes()}; }
  /// The key without the prefix into `out`, which has room for eight bytes at least; how many it is.
  std::size_t copy_rest(std::size_t i, char* out) const {
    const std::size_t bytes = rest_bytes(i);
    if (bytes <= 8)
      store(out, __builtin_bswap64(head(i)));
    else
      rest(i).copy(out, bytes);
    return bytes;
  }
  /// Of the longest.
  [[nodiscard]] std::size_t rest_bytes_max() const { return load<std::uint32_t>(begin_ + 8); }
  [[nodiscard]] Sequence sequence(std::size_t i) const { return tag(i) >> 8; }
  [[nodiscard]] EntryKind kind(std::size_t i) const { return static_cast<EntryKind>(tag(i) & 0xff); }
  [[nodiscard]] std::string_view value(std::size_t i) const {
    const std::uint32_t at = value_at(i);
    return {begin_ + at, value_at(i + 1) - at};
  }

 private:
  static constexpr std::size_t kHeaderBytes = 16, kSlotBytes = 12, kBoundBytes = 4;
  [[nodiscard]] std::size_t prefix_bytes() const { return load<std::uint32_t>(begin_ + 4); }
  [[nodiscard]] const char* heads() const { return begin_ + kHeaderBytes + prefix_bytes(); }
  [[nodiscard]] std::uint64_t head(std::size_t i) const { return load<std::uint64_t>(heads() + 8 * i); }
  [[nodiscard]] const char* slot(std::size_t i) const { return heads() + 8 * size() + kSlotBytes * i; }
  [[nodiscard]] std::uint64_t tag(std::size_t i) const { return load<std::uint64_t>(slot(i)); }
  // From the beginning of the block on.
  [[nodiscard]] std::uint32_t value_at(std::size_t i) const { return load<std::uint32_t>(slot(i) + 8); }
  [[nodiscard]] std::uint32_t bounds_at() const { return load<std::uint32_t>(begin_ + 12); }
  [[nodiscard]] std::uint32_t bound(std::size_t i) const {
    return load<std::uint32_t>(begin_ + bounds_at() + kBoundBytes * i);
  }
  [[nodiscard]] std::size_t rest_bytes(std::size_t i) const {
    return bounds_at() == 0 ? rest_bytes_max() : bound(i + 1) - bound(i);
  }
  /// Of more than eight bytes.
  [[nodiscard]] std::string_view rest(std::size_t i) const {
    if (bounds_at() == 0) return {slot(size() + 1) + rest_bytes_max() * i, rest_bytes_max()};
    return {begin_ + bound(i), rest_bytes(i)};
  }
  /// Of entry `i`'s key and another one, both behind the prefix: as string_view::compare.
  [[nodiscard]] int compare(std::size_t i, std::string_view wanted) const;

  const char* begin_ = nullptr;
};

}  // namespace daruma
