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
  struct Standing {
    EntrySource* source;
    bool ties;  ///< at the same key as the one before
  };
  template <typename Seek>
  void place_all(Direction direction, const Seek& seek);
  void place(std::size_t at);
  void pass_key();
  [[nodiscard]] bool is_beyond(std::string_view key) const;
  void settle();
  void look_at_key();
  bool decide();
  void end();
  bool skips_to_key();
  bool skips(const std::string& begin, const std::optional<std::string>& end);
  [[nodiscard]] bool hurt() const { return damage_ && !damage_->empty(); }

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
  std::vector<Standing> order_;          // the sources that are valid, in the order that the walk meets them
  const EntrySource* failed_ = nullptr;  // one that is not, and not at its end
  bool valid_ = false;
  Status status_;
  Status passes_over_;               // of damage that tells no places: the walk cannot stop at what it may have missed
  std::optional<std::string> edge_;  // with damage only: what was passed ends here; nothing: at the keyspace's end
  // The key being decided, then the one the cursor is on: the sources at the front stand there.
  std::string_view key_;
  std::string_view value_;
  Sequence newest_ = 0;
  EntryKind kind_ = EntryKind::kErase;
};

}  // namespace daruma
