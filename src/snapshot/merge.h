// SPDX-License-Identifier: Apache-2.0
//
// Several sorted sources into one, without what no reader can need any more.
//
// What must stay true: at the newest sequence and at every pinned one, a read of the output (and of what lies below it)
// answers as a read of the inputs does. Two versions of a key fall into one *stripe* when no pinned sequence separates
// them; of a stripe only the newest is kept, and not even that one when a range erase of the same stripe is newer.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "event/entry.h"

namespace daruma {

/// Entries by (key ascending, sequence descending), positioned on the first. Views are valid until the next move. Only
/// moves are virtual: each leaves here what stands there, since entries are looked at far more often than moved over.
class MergeSource {
 public:
  virtual ~MergeSource() = default;
  [[nodiscard]] bool valid() const { return valid_; }
  [[nodiscard]] bool failed() const { return failed_; }  ///< not valid, and not at the end: `status` says why
  [[nodiscard]] std::string_view key() const { return key_; }
  [[nodiscard]] Sequence sequence() const { return sequence_; }
  [[nodiscard]] EntryKind kind() const { return kind_; }
  [[nodiscard]] std::string_view value() const { return value_; }
  virtual void next() = 0;
  [[nodiscard]] virtual Status status() const = 0;  ///< why it is not valid; ok at the end

 protected:
  /// After each move, the first one in the constructor included.
  template <typename Cursor>
  void stand_at(const Cursor& cursor) {
    valid_ = cursor.valid();
    failed_ = false;
    if (valid_) {
      key_ = cursor.key();
      value_ = cursor.value();
      sequence_ = cursor.sequence();
      kind_ = cursor.kind();
    } else if constexpr (requires { cursor.status(); }) {
      failed_ = !cursor.status().ok();
    }
  }
  void stand_at_end() { valid_ = failed_ = false; }

 private:
  bool valid_ = false;
  bool failed_ = false;
  EntryKind kind_ = EntryKind::kErase;
  Sequence sequence_ = 0;
  std::string_view key_;
  std::string_view value_;
};

struct MergeSettings {
  std::vector<Sequence> pinned;    ///< sequences that views read at, any order
  std::vector<RangeErase> erases;  ///< of all inputs
  bool bottom = false;             ///< nothing older lies below: tombstones may go
  bool keep_tombstones = false;    ///< although at the bottom: damage in an input may hide what they erase
};

struct MergeCounts {
  std::uint64_t read = 0;
  std::uint64_t kept = 0;
  std::uint64_t dropped_old = 0;         ///< hidden by a newer version
  std::uint64_t dropped_erased = 0;      ///< under a range erase
  std::uint64_t dropped_tombstones = 0;  ///< at the bottom
};

/// One pass over the sources. Thread: one at a time. Owns its sources.
class Merge {
 public:
  Merge(std::vector<std::unique_ptr<MergeSource>> sources, MergeSettings settings);
  /// False at the end, and as soon as any source fails: what it hides could have decided.
  [[nodiscard]] bool valid() const { return status_.ok() && (emitting_tombstone_ || emitting_source_); }
  [[nodiscard]] std::string_view key() const { return key_; }
  [[nodiscard]] Sequence sequence() const;
  [[nodiscard]] EntryKind kind() const {
    return emitting_tombstone_ ? EntryKind::kErase : sources_[heap_.front()]->kind();
  }
  [[nodiscard]] std::string_view value() const {
    return emitting_tombstone_ ? std::string_view() : sources_[heap_.front()]->value();
  }
  void next();
  [[nodiscard]] const Status& status() const { return status_; }
  /// The range erases that the output must carry; known from the start.
  [[nodiscard]] const std::vector<RangeErase>& erases() const { return kept_erases_; }
  [[nodiscard]] const MergeCounts& counts() const { return counts_; }

 private:
  [[nodiscard]] bool after(std::size_t a, std::size_t b) const;
  [[nodiscard]] std::size_t stripe(Sequence sequence) const;
  [[nodiscard]] bool erased(Sequence sequence) const;
  void enter_key(std::string_view key);
  void step_source();
  void settle();

  std::vector<std::unique_ptr<MergeSource>> sources_;
  MergeSettings settings_;
  std::vector<std::size_t> heap_;  // sources that are valid; the next entry's first
  std::vector<RangeErase> kept_erases_;
  std::vector<RangeErase> by_begin_;  // all erases
  std::size_t next_erase_ = 0;        // in by_begin_: the first that begins after key_
  std::vector<std::size_t> open_;     // in by_begin_: begun and not ended at key_
  Status status_;
  MergeCounts counts_;

  bool in_key_ = false;
  std::string key_;
  std::size_t last_stripe_ = 0;
  Sequence last_sequence_ = 0;
  bool seen_version_ = false;         // of key_
  std::vector<Sequence> tombstones_;  // kept back, newest first: worth emitting only if an older version of key_ is
  std::size_t tombstone_at_ = 0;
  bool emitting_tombstone_ = false;
  bool emitting_source_ = false;
};

}  // namespace daruma
