// SPDX-License-Identifier: Apache-2.0
//
// Where each data block is and up to which entry it reaches; in memory as flat arrays, on disk as index blocks.
//
//   index block: u64 offset of its first data block, u32 that block's position, u32 data blocks; then for each:
//   varint shared, varint unshared, key suffix, varint sequence (of the last entry), varint frame bytes, varint
//   entries, u8 flags
//
// What must stay true: a stretch of the file where blocks are lost stands here as a *gap*, which holds its place in the
// order. A lookup that lands there fails; it never goes on as if nothing had been there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daruma/status.h"

namespace daruma {

struct IndexEntry {
  std::string_view last_key{};
  Sequence last_sequence = 0;
  std::uint64_t offset = 0;  ///< of the block, or of the gap
  std::uint64_t frame_bytes = 0;
  std::uint32_t entries = 0;  ///< 0: not known
  bool continues = false;  ///< begins, or may begin, with an older version of the key that the block before ends with
  bool gap = false;
};

class RunIndex {
 public:
  /// Ahead of so many; a hint. Memory that is new costs more than what is written into it.
  void reserve(std::size_t entries, std::size_t key_bytes);
  /// In order; the caller checks it. `seal` once all are there.
  void append(const IndexEntry& entry);
  void seal();

  [[nodiscard]] std::size_t size() const { return places_.size(); }
  [[nodiscard]] IndexEntry at(std::size_t i) const;
  [[nodiscard]] std::string_view last_key(std::size_t i) const;
  [[nodiscard]] bool continues(std::size_t i) const { return continues_[i]; }
  /// The first block that reaches (key, at): no block before it holds a version of `key` at or below `at`.
  [[nodiscard]] std::size_t find(std::string_view key, Sequence at) const;

 private:
  struct Place {
    std::uint64_t offset;
    std::uint64_t frame_bytes;
    Sequence last_sequence;
    std::uint64_t key_end;  // in keys_; the key begins where the one before ends
    std::uint32_t entries;
    bool gap;
  };
  std::vector<Place> places_;
  std::vector<bool> continues_;  // apart: a walk asks of every block
  std::string keys_;
  // What all last keys begin with is compared once; the eight bytes behind it decide nearly every step of the search.
  std::size_t shared_ = 0;
  std::vector<std::uint64_t> prefixes_;
  // The last of each kSampled of them: few enough to stay in the processor's first cache.
  static constexpr std::size_t kSampled = 64;
  std::vector<std::uint64_t> samples_;
};

/// Encodes entries into index blocks' contents as the data blocks are written.
class IndexEncoder {
 public:
  void add(const IndexEntry& entry);
  /// Contents of the index blocks, in order.
  std::vector<std::string> finish();
  [[nodiscard]] std::uint64_t bytes() const { return closed_bytes_ + current_.size(); }

 private:
  void close();
  std::vector<std::string> closed_;
  std::uint64_t closed_bytes_ = 0;
  std::string current_;
  std::string last_key_;
  std::uint32_t position_ = 0;
  std::uint32_t in_current_ = 0;
};

/// Appends what one index block says. False when it does not continue `index` (next data block at `offset`, which is
/// moved on) or makes no sense.
bool decode_index_block(std::string_view contents, RunIndex& index, std::uint64_t& offset);

}  // namespace daruma
