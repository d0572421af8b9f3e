// SPDX-License-Identifier: Apache-2.0
//
// The contents of one data block: entries by (key ascending, sequence descending), keys without what they share with
// the key before, whole again every kRestartInterval entries.
//
//   entry:   varint shared, varint unshared, varint value bytes, key suffix, u64 (sequence << 8 | kind), value
//   trailer: u32 offset of each restart, u32 their number
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
  [[nodiscard]] std::size_t bytes() const { return buffer_.size() + 4 * restarts_.size() + 4; }
  [[nodiscard]] const std::string& last_key() const { return last_key_; }
  /// The contents; valid until `clear`. Not empty.
  std::string_view finish();
  void clear();

 private:
  std::string buffer_;
  std::vector<std::uint32_t> restarts_;
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

 private:
  friend class DataBlockCursor;
  [[nodiscard]] const char* decode(const char* p, Entry& out) const;
  [[nodiscard]] std::uint32_t restart(std::size_t i) const;
  /// The last restart whose entry stands before (key, at), or 0. kNone when the bytes make no sense.
  [[nodiscard]] std::size_t restart_before(std::string_view key, Sequence at) const;
  static constexpr std::size_t kNone = ~std::size_t{0};

  const char* begin_ = nullptr;
  const char* end_ = nullptr;  ///< of the entries; the trailer begins here
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
  void jump(std::size_t restart);
  void read(const char* p);
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
