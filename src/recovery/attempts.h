// SPDX-License-Identifier: Apache-2.0
//
// The crash-loop breaker. While recovery applies events it notes the one at hand; a note that is found at the next
// start names what killed the one before. What killed three starts is set aside at the fourth (killer_footprint,
// killer_range).
//
// What must stay true:
//   - The note outlives the process, which is all that code can kill: it is written, then changed through a shared
//     mapping, two stores an event, and never synced.
//   - A death counts only when the machine did not stop too. After a power loss the note shows some older event, and
//     blaming that one three times would cost an innocent event.
//   - Only deaths at the same event add up; a start that finishes forgives. What was set aside is remembered by the
//     damage map, not here.
//   - The breaker never stops a start: without space, or with a damaged note, it knows less and lets everything pass.
//
// It cannot tell a person's kill -9 from a bug's. Three kills at exactly the same event set a good event aside, with
// its bytes kept; so the granule is one event, and steps that only do I/O are not noted.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "io/storage.h"

namespace daruma {

class Attempts {
 public:
  static constexpr std::uint32_t kDeathsMax = 3;
  static constexpr std::size_t kMaxCulprits = 64;

  struct Culprit {
    Sequence sequence = 0;
    std::uint32_t deaths = 0;
    bool operator==(const Culprit&) const = default;
  };

  /// Reads the note in `directory` (STORE/recoveries), and counts a death when it tells of one. Writes nothing yet.
  /// `boot`: hash of the boot id, 0 when unknown.
  Attempts(Storage& storage, std::string directory, StoreId store, std::uint64_t boot);

  /// Before the first event: from here on deaths are noted. A start that only looks never calls it.
  void begin();
  /// Before anything is done with the bytes of an event.
  void advance(Sequence sequence) {
    if (live_) set_live(sequence);
  }
  /// Between events: a death now is nobody's.
  void rest() {
    if (live_) set_live(0);
  }
  /// Recovery is over and what was set aside is durably known: forgives all.
  void finish();

  /// How many starts in a row this event has killed.
  [[nodiscard]] std::uint32_t deaths(Sequence sequence) const { return culprits_.empty() ? 0 : deaths_slow(sequence); }
  [[nodiscard]] std::uint32_t attempt() const {
    return attempt_;
  }  ///< starts since the last that finished, this one too
  [[nodiscard]] const std::vector<Culprit>& culprits() const { return culprits_; }
  [[nodiscard]] const Status& last_error() const { return last_error_; }

 private:
  void load();
  void count_death(Sequence sequence);
  [[nodiscard]] std::string encode() const;
  Status write_note();
  void set_live(Sequence sequence);
  [[nodiscard]] std::uint32_t deaths_slow(Sequence sequence) const;

  Storage& storage_;
  const std::string directory_;
  const std::string path_;
  const StoreId store_;
  const std::uint64_t boot_;
  std::vector<Culprit> culprits_;
  std::uint32_t attempt_ = 1;
  bool noted_ = false;  ///< there is a note on disk
  std::unique_ptr<Mapping> mapping_;
  char* live_ = nullptr;  ///< in the mapping; null: nothing is noted
  Status last_error_;
};

}  // namespace daruma
