// SPDX-License-Identifier: Apache-2.0
//
// Which runs to merge next: leveled compaction, one keyspace at a time. Pure.
//
// What must stay true of every pick, given a placement that keeps the read order (placed_run.h):
//   - Placing the outputs at `output_level` in place of the inputs keeps that order: no older version of an input's key
//     stays in a run above, and no run of the output level outside the inputs overlaps their hull (of a move: any of
//     them).
//   - `bottom` is told only when no run outside the inputs can hold an older version of any key in the hull.
//   - Bounded: beyond the one run it starts from and what correctness drags in, a merge adds only what fits
//     `input_bytes_max`.
// The run with the least overlap below is taken first (RocksDB's kMinOverlappingRatio), which needs no cursor to
// remember. Levels are filled from the bottom (RocksDB's level_compaction_dynamic_level_bytes): a small keyspace has
// but one below level 0, so nothing is merged on its way there, and those between 0 and the bottom together aim at a
// ninth of it.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <vector>

#include "snapshot/placed_run.h"

namespace daruma {

struct CompactionSettings {
  std::size_t level0_trigger = 4;  ///< runs at level 0 that make a compaction due
  std::uint64_t base_level_bytes = std::uint64_t{64}
                                   << 20;  ///< a bottom, or a target, beyond it gets another level above
  std::uint64_t level_factor = 10;         ///< the target of a level in that of the next
  std::uint64_t output_run_bytes = std::uint64_t{32}
                                   << 20;  ///< where outputs are cut; a quarter of it is worth moving unread
  std::uint64_t input_bytes_max = std::uint64_t{512} << 20;
};

struct CompactionPick {
  std::uint32_t keyspace = 0;
  std::vector<std::uint64_t> inputs;  ///< run numbers, ascending
  std::uint32_t input_level = 0;      ///< the topmost of an input
  std::uint32_t output_level = 0;
  std::uint64_t input_bytes = 0;
  bool trivial_move = false;  ///< only the inputs' level changes, no bytes are written, nothing is superseded
  bool bottom = false;        ///< tombstones hide nothing any more
  double score = 0;
  bool operator==(const CompactionPick&) const = default;
};

/// A keyspace's most urgent compaction that touches no run in `busy`; nullopt when none is due. Keyspaces take turns,
/// by id, the one behind `last` first: one that is far behind delays each other's by one compaction.
std::optional<CompactionPick> pick_compaction(const std::vector<PlacedRun>& runs, const CompactionSettings& settings,
                                              const std::set<std::uint64_t>& busy = {}, std::uint32_t last = 0);

/// What brings all of one keyspace to the bottom level (kvctl compact; getting rid of tombstones). No run overlaps one
/// of another pick, so each is right whether or not others were carried out. A run of half a full output that overlaps
/// nothing is not merged, unless it `gives_back` something when it is written anew; smaller ones are, where there are
/// several side by side.
std::vector<CompactionPick> pick_everything(const std::vector<PlacedRun>& runs, const CompactionSettings& settings,
                                            std::uint32_t keyspace,
                                            const std::function<bool(const RunInfo& run)>& gives_back);

}  // namespace daruma
