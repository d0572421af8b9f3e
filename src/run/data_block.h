// SPDX-License-Identifier: Apache-2.0
//
// The contents of one data block: entries by (key ascending, sequence descending), keys without what they share with
// the key before, whole again every kRestartInterval entries. What is read again and again is laid out anew
// (loaded_block.h); a get that looks once searches here.
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

/// Order of versions: by key, then newest first. True when one stands before the other; `keys` is what the comparison
/// of their keys gave.
inline bool stands_before(int keys, Sequence sequence, Sequence other) {
  return keys != 0 ? keys < 0 : sequence > other;
}
/// True when (a, a_sequence) stands before (b, b_sequence).
inline bool stands_before(std::string_view a, Sequence a_sequence, std::string_view b, Sequence b_sequence) {
  return stands_before(a.compare(b), a_sequence, b_sequence);
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

/// Walks verified contents from the first entry on; they must outlive it. `valid()` false means: at the end, where
/// every byte was met and made sense, or `bad()`.
class DataBlockCursor {
 public:
  struct Entry {
    std::uint64_t tag = 0;
    std::string_view value{};
    [[nodiscard]] Sequence sequence() const { return tag >> 8; }
    [[nodiscard]] EntryKind kind() const { return static_cast<EntryKind>(tag & 0xff); }
  };
  /// At the first entry.
  explicit DataBlockCursor(std::string_view contents);
  void next();
  /// From anywhere to the first entry that does not stand before (key, at), by way of the restarts: what it does not
  /// meet, it does not check.
  void seek(std::string_view key, Sequence at);

  [[nodiscard]] bool valid() const { return valid_; }
  [[nodiscard]] bool bad() const { return bad_; }
  [[nodiscard]] std::string_view key() const { return {key_.data(), key_bytes_}; }
  [[nodiscard]] const Entry& entry() const { return entry_; }

 private:
  void read();
  bool decode();
  bool jump(std::size_t restart);
  [[nodiscard]] bool at_restart() const;

  // What is still to be walked of entries, values and restarts.
  const char* entry_at_ = nullptr;
  const char* value_at_ = nullptr;
  const char* restart_at_ = nullptr;
  const char* begin_ = nullptr;
  const char* values_ = nullptr;    ///< where the entries end
  const char* restarts_ = nullptr;  ///< where the values end
  const char* restarts_end_ = nullptr;
  std::size_t since_restart_ = 0;
  bool valid_ = false;
  bool bad_ = false;
  std::size_t key_bytes_ = 0;
  std::string key_;  // has room for more
  Entry entry_;
};

}  // namespace daruma
