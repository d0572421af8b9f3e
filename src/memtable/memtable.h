// SPDX-License-Identifier: Apache-2.0
//
// The ordered index over the events of one keyspace since the last checkpoint.
//
// What must stay true:
//   - Writers are serialised by the caller. Readers beside them take no lock and wait for nobody.
//   - What a write added is seen by every read that begins after it (in the order of happens-before). A read beside it
//   sees the
//     version whole or not at all.
//   - Views of keys and values stay valid as long as the memtable.
//   - Of a version and a range tombstone of the same sequence, the version wins: an event is written so (a put that a
//   later
//     range of its batch erases is logged as an erase).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "daruma/status.h"
#include "event/entry.h"
#include "memtable/arena.h"
#include "memtable/memtable_key.h"
#include "memtable/radix_index.h"
#include "memtable/range_erase_index.h"

namespace daruma {

class Memtable {
 public:
  /// `blocks`: where its memory comes from and goes, together with that of other memtables.
  explicit Memtable(std::shared_ptr<ArenaBlocks> blocks = nullptr)
      : arena_(std::move(blocks)), keys_(arena_), erases_(arena_) {}
  Memtable(const Memtable&) = delete;
  Memtable& operator=(const Memtable&) = delete;

  // Writers; 1 <= sequence <= kMaxSequence. Sequences normally ascend; a lower one is taken too, at the price of
  // copying the newer versions of its key. The same key and sequence again replaces.
  void put(Sequence sequence, std::string_view key, std::string_view value) {
    add(sequence, key, EntryKind::kPut, value);
  }
  void erase(Sequence sequence, std::string_view key) { add(sequence, key, EntryKind::kErase, {}); }
  /// Erases [begin, end); an empty `end` means to the last key. A range that holds no key is nothing.
  void erase_range(Sequence sequence, std::string_view begin, std::string_view end) {
    if (end.empty() || begin < end) erases_.add(sequence, begin, end);
  }

  /// Ahead of writes or lookups of these keys, as many as kPrefetchKeys at once: makes them cheaper, changes nothing.
  void prefetch(std::span<const std::string_view> keys) const { keys_.prefetch(keys); }
  static constexpr std::size_t kPrefetchKeys = RadixIndex::kPrefetchKeys;

  struct Lookup {
    enum class Found : std::uint8_t { kNothing, kValue, kErased };
    Found found = Found::kNothing;
    Sequence sequence = 0;  ///< of the version or range tombstone that decided
    std::string_view value{};
  };
  /// What a reader at sequence `at` sees of `key`, range tombstones considered.
  [[nodiscard]] Lookup get(std::string_view key, Sequence at) const {
    const MemtableKey* there = keys_.find(key);
    const MemtableVersion* version = there ? there->newest()->at_or_below(at) : nullptr;
    const Sequence newest = version ? version->sequence() : 0;
    if (const Sequence erased = erases_.covering(key, at, newest); erased > newest)
      return {Lookup::Found::kErased, erased, {}};
    if (!version) return {};
    return {version->kind() == EntryKind::kPut ? Lookup::Found::kValue : Lookup::Found::kErased, newest,
            version->value()};
  }

  /// Highest sequence, at or below `at`, of a range tombstone that covers `key`; 0 when there is none.
  [[nodiscard]] Sequence covering_erase(std::string_view key, Sequence at) const {
    return erases_.covering(key, at, 0);
  }
  /// All range tombstones, in the order of arrival.
  [[nodiscard]] std::vector<RangeErase> range_erases() const { return erases_.list(); }

  /// Bytes of memory in use; the caller bounds it.
  [[nodiscard]] std::uint64_t bytes() const { return arena_.bytes_used(); }
  /// Versions of keys; range tombstones are not counted.
  [[nodiscard]] std::uint64_t entries() const { return entries_.load(std::memory_order_relaxed); }
  /// True when there is nothing to flush: no entry and no range tombstone.
  [[nodiscard]] bool empty() const { return entries() == 0 && erases_.empty(); }

  class Cursor;
  [[nodiscard]] Cursor cursor() const;

 private:
  void add(Sequence sequence, std::string_view key, EntryKind kind, std::string_view value) {
    MemtableKey* there = keys_.add(key, sequence, kind, value);
    if (there && !there->add(arena_, sequence, kind, value)) return;
    entries_.store(entries_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  Arena arena_;
  RadixIndex keys_;
  RangeEraseIndex erases_;
  std::atomic<std::uint64_t> entries_{0};
};

/// Walks the entries in order of (key ascending, sequence descending); range tombstones are not applied. Starts
/// invalid. It may not outlive the memtable; a copy is another cursor. It stays right while a writer inserts: it meets
/// every entry that was there when it was positioned, new keys as it comes to them, and of each key the versions that
/// were there when it came to the key.
class Memtable::Cursor {
 public:
  explicit Cursor(const Memtable& memtable) : keys_(memtable.keys_) {}

  void seek_first() {
    keys_.seek_first();
    enter_at_newest();
  }
  void seek_last() {
    keys_.seek_last();
    enter_at_oldest();
  }
  /// To the first entry with a key >= `key`.
  void seek(std::string_view key) {
    keys_.seek(key);
    enter_at_newest();
  }
  /// To the newest version of the last key.
  void seek_last_key() {
    keys_.seek_last();
    enter_at_newest();
  }
  // On a valid cursor only.
  /// To the newest version of the next key, of the key before.
  void next_key() {
    check();
    keys_.next();
    enter_at_newest();
  }
  void prev_key() {
    check();
    keys_.prev();
    enter_at_newest();
  }
  /// To the newest version of its key at or below `at`, from where it stands; false, and it stays: there is none.
  bool at_or_below(Sequence at) {
    check();
    const MemtableVersion* const version = version_->at_or_below(at);
    if (version) version_ = version;
    return version != nullptr;
  }
  void next() {
    check();
    if (const MemtableVersion* older = version_->older()) {
      version_ = older;
    } else {
      keys_.next();
      enter_at_newest();
    }
  }
  void prev() {
    check();
    if (version_ != newest_) {
      version_ = newest_->at_depth(version_->depth() + 1);
    } else {
      keys_.prev();
      enter_at_oldest();
    }
  }

  [[nodiscard]] bool valid() const { return keys_.key() != nullptr; }
  [[nodiscard]] std::string_view key() const {
    check();
    return keys_.key()->key();
  }
  [[nodiscard]] Sequence sequence() const {
    check();
    return version_->sequence();
  }
  [[nodiscard]] EntryKind kind() const {
    check();
    return version_->kind();
  }
  [[nodiscard]] std::string_view value() const {
    check();
    return version_->value();
  }

 private:
  void check() const { DARUMA_ASSERT(valid()); }
  void enter_at_newest() {
    if (keys_.key()) version_ = newest_ = keys_.key()->newest();
  }
  void enter_at_oldest() {
    if (!keys_.key()) return;
    newest_ = keys_.key()->newest();
    version_ = newest_->at_depth(0);
  }

  RadixIndex::Cursor keys_;
  const MemtableVersion* newest_ = nullptr;  ///< of the key, when the cursor came to it
  const MemtableVersion* version_ = nullptr;
};

inline Memtable::Cursor Memtable::cursor() const { return Cursor(*this); }

}  // namespace daruma
