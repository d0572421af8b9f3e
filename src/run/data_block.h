// SPDX-License-Identifier: Apache-2.0
//
// The contents of one data block: entries by (key ascending, sequence descending), keys without what they share with
// the key before, whole again every kRestartInterval entries. Values stand apart, so that a search runs over keys
// alone: with values of 100 bytes between them, most of its time went into cache lines of values that it stepped over.
//
//   entry:   varint shared, varint unshared, varint value bytes, key suffix, u64 (sequence << 8 | kind)
//   values:  of the entries, in their order
//   trailer: of each restart u32 offset of the entry, u32 offset of its value behind the entries; u32 bytes of all
//            entries, u32 restarts
//
// What must stay true: no read leaves the block, whatever its bytes; bytes that make no sense are told, never guessed
// at.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daruma/status.h"
#include "event/entry.h"

namespace daruma {

inline constexpr std::size_t kRestartInterval = 16;

inline std::uint64_t entry_tag(Sequence sequence, EntryKind kind) {
  return sequence << 8 | static_cast<std::uint8_t>(kind);
}

/// Order of versions: by key, then newest first. True when (a, a_sequence) stands before (b, b_sequence).
inline bool stands_before(std::string_view a, Sequence a_sequence, std::string_view b, Sequence b_sequence) {
  const int c = a.compare(b);
  return c != 0 ? c < 0 : a_sequence > b_sequence;
}

class DataBlockBuilder {
 public:
  /// After the last one added; the caller keeps the order.
  void add(std::string_view key, std::uint64_t tag, std::string_view value);
  [[nodiscard]] bool empty() const { return restarts_.empty(); }
  /// Bytes so far, trailer included.
  [[nodiscard]] std::size_t bytes() const { return entries_.size() + values_.size() + 8 * restarts_.size() + 8; }
  [[nodiscard]] const std::string& last_key() const { return last_key_; }
  /// The contents; valid until `clear`. Not empty.
  std::string_view finish();
  void clear();

 private:
  struct Restart {
    std::uint32_t entry, value;
  };
  std::string entries_;
  std::string values_;
  std::vector<Restart> restarts_;
  std::string last_key_;
  std::size_t since_restart_ = 0;
};

/// A view of verified contents. Any thread.
class DataBlock {
 public:
  struct Entry {
    std::size_t shared = 0;
    std::string_view suffix{};
    std::uint64_t tag = 0;
    std::string_view value{};
    [[nodiscard]] Sequence sequence() const { return tag >> 8; }
    [[nodiscard]] EntryKind kind() const { return static_cast<EntryKind>(tag & 0xff); }
  };
  enum class Search : std::uint8_t {
    kFound,   ///< the newest version of the key at or below the sequence
    kPassed,  ///< none: something later in the order stands here
    kEnd,     ///< everything here stands before it
    kBad,     ///< the bytes make no sense
  };

  DataBlock() = default;
  /// `raw` must outlive the view. Contents that make no sense give a block that answers kBad.
  explicit DataBlock(std::string_view raw);

  [[nodiscard]] bool ok() const { return restarts_ != 0; }
  /// No allocation: keys are compared where they stand.
  Search find(std::string_view key, Sequence at, Entry& out) const;
  /// Every entry decodes, every restart is where the walk finds a key that stands whole, and every byte belongs to one.
  [[nodiscard]] bool consistent() const;

 private:
  friend class DataBlockCursor;
  struct Lengths;
  /// Those that an entry begins with; where they end, null when they make no sense.
  const char* read_lengths(const char* p, Lengths& out) const;
  /// The entry at `p`, whose value is at `value`; where the next one begins, null when the bytes make no sense.
  [[nodiscard]] const char* decode(const char* p, const char* value, Entry& out) const;
  /// Of restart `i`; null when they lie outside.
  [[nodiscard]] const char* restart_entry(std::size_t i) const;
  [[nodiscard]] const char* restart_value(std::size_t i) const;
  /// The last restart whose entry stands before (key, at), or 0. kNone when the bytes make no sense.
  [[nodiscard]] std::size_t restart_before(std::string_view key, Sequence at) const;
  static constexpr std::size_t kNone = ~std::size_t{0};

  const char* begin_ = nullptr;
  const char* values_ = nullptr;   ///< where the entries end
  const char* trailer_ = nullptr;  ///< where the values end
  std::uint32_t restarts_ = 0;
};

/// Walks a block both ways. `valid()` false after a move means: beyond that end, or `bad()`.
class DataBlockCursor {
 public:
  void open(DataBlock block);
  void close() { open(DataBlock()); }
  void first() { jump(0); }
  void last();
  /// To the first entry that does not stand before (key, at).
  void seek(std::string_view key, Sequence at);
  void next();
  void prev();

  [[nodiscard]] bool valid() const { return current_ != nullptr; }
  [[nodiscard]] bool bad() const { return bad_; }
  [[nodiscard]] std::string_view key() const { return key_; }
  [[nodiscard]] const DataBlock::Entry& entry() const { return entry_; }

 private:
  friend class DataBlock;
  void jump(std::size_t restart);
  void read(const char* p, const char* value);
  void step() { read(next_, entry_.value.data() + entry_.value.size()); }
  void fail() {
    current_ = nullptr;
    bad_ = true;
  }

  DataBlock block_;
  bool bad_ = false;
  const char* current_ = nullptr;
  const char* next_ = nullptr;
  std::string key_;
  DataBlock::Entry entry_;
};

}  // namespace daruma
