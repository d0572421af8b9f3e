// SPDX-License-Identifier: Apache-2.0
//
// One key of a memtable and the chain of its versions, newest first, all in the arena.
//
// What must stay true: a version never changes once a reader can reach it, and neither do the versions behind it:
// whoever holds a version holds a frozen chain. A chain changes by publishing another newest version.
//
// A chain may be as long as there are writes to one key, and views look far back in it. So every version but the oldest
// has, beside the link to the next older one, a jump (Myers, "An applicative random-access stack", 1983): any older
// version is O(log n) steps away, and only one pointer more is paid for that.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "daruma/status.h"
#include "event/entry.h"
#include "memtable/arena.h"

namespace daruma {

/// In memory: the two links (unless it is the oldest), this struct, the value.
class MemtableVersion {
 public:
  [[nodiscard]] Sequence sequence() const { return tag_ >> 8; }
  [[nodiscard]] EntryKind kind() const { return static_cast<EntryKind>(tag_ & 0xff); }
  [[nodiscard]] std::string_view value() const { return {reinterpret_cast<const char*>(this + 1), value_bytes_}; }
  /// How many older versions there are.
  [[nodiscard]] std::uint32_t depth() const { return depth_; }
  /// The next older version; null for the oldest.
  [[nodiscard]] const MemtableVersion* older() const { return depth_ == 0 ? nullptr : links()->older; }
  /// An older version, further off the higher up this one is; itself for the oldest.
  [[nodiscard]] const MemtableVersion* jump() const { return depth_ == 0 ? this : links()->jump; }

  /// The newest version at or below `at`, from this one on; null when all are newer.
  [[nodiscard]] const MemtableVersion* at_or_below(Sequence at) const {
    const MemtableVersion* v = this;
    while (v->sequence() > at) {
      if (v->depth_ == 0) return nullptr;
      const Links& links = *v->links();
      v = links.jump->sequence() > at ? links.jump : links.older;
    }
    return v;
  }
  /// The version that has `depth` older ones; `depth` <= this->depth().
  [[nodiscard]] const MemtableVersion* at_depth(std::uint32_t depth) const {
    const MemtableVersion* v = this;
    while (v->depth_ > depth) {
      const Links& links = *v->links();
      v = links.jump->depth_ >= depth ? links.jump : links.older;
    }
    return v;
  }

  /// A version on top of `older` (may be null). Not reachable by readers until the caller publishes it.
  static const MemtableVersion* make(Arena& arena, Sequence sequence, EntryKind kind, std::string_view value,
                                     const MemtableVersion* older);

 private:
  struct Links {
    const MemtableVersion* older;
    const MemtableVersion* jump;
  };
  MemtableVersion(Sequence sequence, EntryKind kind, std::uint32_t value_bytes, std::uint32_t depth)
      : tag_((sequence << 8) | static_cast<std::uint8_t>(kind)), value_bytes_(value_bytes), depth_(depth) {}
  [[nodiscard]] const Links* links() const { return reinterpret_cast<const Links*>(this) - 1; }

  std::uint64_t tag_;
  std::uint32_t value_bytes_;
  std::uint32_t depth_;
};

/// In memory: this struct up to the key's length, the key, and for locality its first version.
class MemtableKey {
 public:
  [[nodiscard]] std::string_view key() const {
    return {reinterpret_cast<const char*>(this) + kHeaderBytes, key_bytes_};
  }
  [[nodiscard]] const MemtableVersion* newest() const { return newest_.load(std::memory_order_acquire); }

  static MemtableKey* make(Arena& arena, std::string_view key, Sequence sequence, EntryKind kind,
                           std::string_view value);
  /// Adds a version; false when it replaced the one of the same sequence. Cheap on top of the newest; below it, the
  /// newer ones are copied.
  bool add(Arena& arena, Sequence sequence, EntryKind kind, std::string_view value);

 private:
  static constexpr std::size_t kHeaderBytes = sizeof(void*) + sizeof(std::uint32_t);
  MemtableKey(std::uint32_t key_bytes, const MemtableVersion* newest) : newest_(newest), key_bytes_(key_bytes) {}

  std::atomic<const MemtableVersion*> newest_;
  std::uint32_t key_bytes_;
};

}  // namespace daruma
