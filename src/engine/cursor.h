// SPDX-License-Identifier: Apache-2.0
//
// Merges the sources of one keyspace into what a reader at one sequence sees.
//
// What must stay true: of a key's versions the newest at or below the read sequence decides, whatever source it comes
// from; a source that fails stops the cursor, since what it hides could have decided.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "daruma/store.h"
#include "engine/bulkhead.h"
#include "engine/sources.h"
#include "recovery/damage_map.h"

namespace daruma {

class CursorState {
 public:
  /// `pin` keeps the sources' memtables and runs alive, and what `place` is in. `damage` may be null.
  CursorState(std::shared_ptr<const void> pin, Bulkhead::Place place, std::vector<std::unique_ptr<EntrySource>> sources,
              std::vector<RangeErase> erases, std::shared_ptr<const DamageMap> damage, std::uint32_t keyspace,
              Sequence at, std::string lower, std::string upper);

  void seek_first();
  void seek_last();
  void seek(std::string_view key);
  void next();
  void prev();
  [[nodiscard]] bool valid() const { return valid_; }
  [[nodiscard]] std::string_view key() const { return key_; }
  [[nodiscard]] std::string_view value() const { return value_; }
  [[nodiscard]] const Status& status() const { return valid_ ? passes_over_ : status_; }
  /// Until the next seek.
  void fail(const Status& why) {
    valid_ = false;
    status_ = why;
  }

 private:
  enum class Direction : std::uint8_t { kForward, kBackward };
  [[nodiscard]] std::span<const std::unique_ptr<EntrySource>> moving() const;
  template <typename Ahead>
  EntrySource* foremost(const Ahead& ahead);
  static void seek_before(EntrySource& source, std::string_view key);
  void settle_forward();
  void settle_backward();
  void pass_key();
  bool decide();
  void end();
  bool skips(const std::string& begin, const std::optional<std::string>& end);
  [[nodiscard]] bool hurt() const { return damage_ && !damage_->empty(); }
  bool failed();

  std::shared_ptr<const void> pin_;
  Bulkhead::Place place_;
  std::vector<std::unique_ptr<EntrySource>> sources_;
  std::vector<RangeErase> erases_;
  std::shared_ptr<const DamageMap> damage_;
  std::uint32_t keyspace_;
  Sequence at_;
  std::string lower_;
  std::string upper_;
  Direction direction_ = Direction::kForward;
  /// While one source is ahead of all others, it alone is looked at: of it and of the next one behind, the positions in
  /// `sources_`. What has not moved has not failed either.
  std::size_t leader_ = kNone, second_ = kNone;
  static constexpr std::size_t kNone = ~std::size_t{0};
  bool valid_ = false;
  Status status_;
  Status passes_over_;  // of damage that tells no places: the walk cannot stop at what it may have missed
  // The key being decided, then the one the cursor is on.
  std::optional<std::string> edge_;  // with damage only: what was passed ends here; nothing: at the keyspace's end
  std::string key_;
  std::string_view value_;
  std::string kept_value_;  // walking backward, where the sources have moved on
  Sequence newest_ = 0;
  EntryKind kind_ = EntryKind::kErase;
};

}  // namespace daruma
