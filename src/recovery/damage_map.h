// SPDX-License-Identifier: Apache-2.0
//
// Which answers are in doubt. An entry says: somewhere among these keys, an event numbered lo..hi is lost. A read that
// found a version at or above hi is right whatever was lost; any other read that an entry touches answers kDataLoss.
//
// What must stay true:
//   - No false "no": a key that an entry may concern is blocked. False "yes" costs an error, never a wrong answer.
//   - Adding the same damage twice gives the same id, also after it was accepted: an accepted loss does not come back
//   at the
//     next start, while the log still holds the bytes. Ids are never reused.
//   - No entry costs one branch.
// A value type; the engine publishes copies to readers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daruma/status.h"

namespace daruma {

struct DamageEntry {
  enum class Keys : std::uint8_t { kAll = 0, kRange = 1, kHashes = 2 };

  std::uint64_t id = 0;                     ///< given by add
  std::optional<std::uint32_t> keyspace{};  ///< nothing: every keyspace
  Keys keys = Keys::kAll;
  std::string begin{};                  ///< kRange: first key
  std::optional<std::string> end{};     ///< kRange: one past the last; nothing: to the end of the keyspace
  std::vector<std::uint64_t> hashes{};  ///< kHashes: key_hash(keyspace, key)
  Sequence sequence_lo = 0;
  /// Where nothing tells how many were lost, the first number given anew: of the lost ones none is the newest when some
  /// turn up again. See also hi_of_run.
  Sequence sequence_hi = 0;
  std::string cause{};    ///< case name of the verdict table or of the room that found it
  std::string file{};     ///< relative to the store
  bool accepted = false;  ///< blocks nothing; kept so that the same damage is known

  bool operator==(const DamageEntry&) const = default;
};

/// sequence_hi of keys lost from a run whose newest event is `newest`. A range erase of that event may be left, and
/// does not tell that a put beside it, which would win, is not lost.
constexpr Sequence hi_of_run(Sequence newest) { return std::min(newest + 1, kMaxSequence); }

class DamageMap {
 public:
  /// Longest cause or file name and most entries that decode takes, against lengths from a damaged manifest.
  static constexpr std::size_t kMaxNameBytes = 4096;
  static constexpr std::size_t kMaxEntries = 1 << 20;

  /// Nothing blocks any read.
  [[nodiscard]] bool empty() const { return blocking_ == 0; }
  /// Sorts hashes and gives the id, the old one when this damage is known or goes on where a known one ends: starts
  /// that die one after the other add up to one loss. Asserts lo <= hi and begin < end.
  std::uint64_t add(DamageEntry entry);
  /// The entry whose lost version of `key` could be newer than the one found (0: none found); nullptr: the answer is
  /// right.
  [[nodiscard]] const DamageEntry* blocks(std::uint32_t keyspace, std::string_view key, Sequence newest_found) const {
    return empty() ? nullptr : blocks_slow(keyspace, key, newest_found);
  }
  /// An entry that may concern a key in [begin, end) that a scan does not even see (no end: the keyspace's). A scan
  /// whose keys all pass `blocks` may still lack one, so it must ask this too. Hashes tell no order: they concern every
  /// range.
  [[nodiscard]] const DamageEntry* touches(std::uint32_t keyspace, std::string_view begin,
                                           std::optional<std::string_view> end) const;
  /// The end of the entry, accepted or not, that was lost from the log and holds `sequence`; 0: none. For StretchFacts.
  [[nodiscard]] Sequence known_through(Sequence sequence, std::string_view file) const;
  /// A person gives the damaged versions up: reads answer from what is left. kNotFound.
  Status accept(std::uint64_t id);
  /// The damage is repaired, or nothing below can come back: forget it. False when there is no such entry.
  bool remove(std::uint64_t id);
  /// Forgets accepted entries that end at or below `sequence`: the log that could bring them back is released.
  void forget_accepted(Sequence sequence);
  [[nodiscard]] const std::vector<DamageEntry>& entries() const { return entries_; }

  /// For the manifest, which checksums it.
  void encode(std::string& out) const;
  static Result<DamageMap> decode(std::string_view in);

  bool operator==(const DamageMap&) const = default;

 private:
  [[nodiscard]] const DamageEntry* blocks_slow(std::uint32_t keyspace, std::string_view key,
                                               Sequence newest_found) const;

  std::vector<DamageEntry> entries_;  // rising ids
  std::size_t blocking_ = 0;          // those not accepted
  std::uint64_t next_id_ = 1;
};

}  // namespace daruma
