// SPDX-License-Identifier: Apache-2.0
//
// What one start found and did. `Store::open` returns it, `recoveries/` keeps one per start, kvctl prints it. Plain
// values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daruma/recovery_history.h"
#include "daruma/status.h"

namespace daruma {

/// One named pass of recovery.
struct RecoveryPass {
  std::string name{};
  std::int64_t duration_ns = 0;  ///< on the monotonic clock
  std::uint64_t bytes = 0;       ///< read or written by it
};

/// One stretch of one file that could not be used as it stood, and what became of it. The names are those of
/// docs/recovery.md and do not change from version to version.
struct RecoveryFinding {
  std::string case_name{};  ///< the row of the verdict table: "torn_header", "acked_frame_hurt_footprint", …
  std::string file{};       ///< relative to the store
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  Sequence first_sequence = 0;  ///< 0: not known
  Sequence last_sequence = 0;   ///< 0: not known
  std::string verdict{};        ///< intact, torn, corrupt, undecided, poisoned, healed, stale
  std::string proof{};          ///< what proved it durable; "none"
  std::string action{};         ///< the decision: heal_from_ring, poisoned_range, …, or the repair of another room
  std::string quarantine_id{};  ///< where the bytes are; empty when none were set aside
  std::uint64_t damage_id = 0;  ///< entry of the damage map; 0: none
  std::string detail{};         ///< one sentence for people; may be empty
};

struct RecoveryReport {
  std::uint64_t start_number = 0;  ///< 1 for the start that created the store
  std::string store;               ///< store id, 32 hex digits
  std::string policy;              ///< serve, read_only, refuse, point_in_time
  std::int64_t started_wall_ns = 0;
  bool created = false;    ///< recovered from nothing
  bool same_boot = false;  ///< the last writer was killed, the machine was not
  std::string cause;       ///< what it recovered from, as in RecoveriesOf
  /// When the process before was last seen alive: of what log, manifests, reports and its own view of itself tell, the
  /// newest. 0: nothing tells.
  std::int64_t last_sign_of_life_wall_ns = 0;
  std::uint64_t starts_died = 0;  ///< starts before it that died applying an event, since the last that ended

  std::vector<RecoveryPass> passes;  ///< in the order they ran
  std::uint64_t files = 0;           ///< looked at
  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_replayed = 0;
  std::uint64_t events_replayed = 0;

  std::string snapshot;  ///< file name of the one chosen; empty: none
  Sequence snapshot_sequence = 0;
  Sequence durable_mark = 0;   ///< highest sequence proven durable
  Sequence last_sequence = 0;  ///< of the recovered state

  RecoveryLoss discarded;  ///< never acknowledged
  RecoveryLoss lost;       ///< acknowledged, proven or possible
  RecoveryLoss healed;     ///< hurt, and whole again
  std::vector<RecoveryFinding> findings;
  std::uint64_t findings_dropped = 0;    ///< counted in the sums, but over the limit of the list
  std::uint64_t losses_found_again = 0;  ///< that an earlier start had told, and that turned out to be whole
  BlastRadius blast_radius;              ///< of all damage that blocks reads once this start is done

  std::int64_t time_to_first_read_ns = 0;
  std::int64_t total_ns = 0;
  bool read_only = false;   ///< as served
  std::string outcome;      ///< served, read_only, refused, or the error that stopped it
  RecoveryHistory history;  ///< up to this start; only in what `recoveries/` keeps

  /// Nothing that had been acknowledged is lost, as far as can be proven.
  [[nodiscard]] bool clean() const { return lost.stretches == 0; }
  /// Valid JSON in UTF-8, one document; bytes of names that are not UTF-8 appear as \u00XX. Keys as the members here.
  [[nodiscard]] DARUMA_API std::string to_json() const;
  /// A page for people: what happened, what it cost, where the bytes are.
  [[nodiscard]] DARUMA_API std::string to_text() const;
};

}  // namespace daruma
