// SPDX-License-Identifier: Apache-2.0
//
// A run and where it stands in its keyspace, and the few questions that every part of this room asks about runs.
//
// The read order that all placements keep:
//   - Level 0: runs may overlap. A read asks them by highest sequence, newest first, and stops at a version only when
//   that
//     version is at least as new as the highest sequence of every run of level 0 not asked yet.
//   - Levels 1 to kBottomLevel: runs of one level do not overlap. Whatever a level answers is newer than anything below
//   it.
// A run is written at the level that its RunInfo tells, and stands there until it is superseded, with one exception: a
// run of level 0 that overlaps nothing older may be moved, once, straight to kBottomLevel. Only because there is no
// other move can the levels be told again from the runs alone (catalogue.h).
#pragma once

#include <string_view>
#include <vector>

#include "run/run_info.h"

namespace daruma {

inline constexpr std::uint32_t kBottomLevel = 6;

struct PlacedRun {
  RunInfo info;
  std::uint32_t level = 0;  ///< where it stands now; info.level is where it was written
  bool operator==(const PlacedRun&) const = default;
};

/// A run without entries: it only says what it supersedes and which state is covered (a compaction that left nothing).
inline bool is_marker(const RunInfo& run) { return run.entries == 0 && run.erases == 0; }

/// Of a bulk load: it covers no event of the log, so no log makes up for it.
inline bool is_loaded(const RunInfo& run) {
  return run.level == 0 && run.checkpoint_sequence > 0 && run.prev_sequence == run.checkpoint_sequence;
}

/// Whether one key could be in both. Both bounds are inside; a run with range erases is bounded by what they cover.
inline bool overlaps(const RunInfo& a, const RunInfo& b) {
  return a.keyspace == b.keyspace && !is_marker(a) && !is_marker(b) && a.smallest_key <= b.largest_key &&
         b.smallest_key <= a.largest_key;
}

/// Ok when the placement keeps the order above as far as it can be seen without reading the runs: numbers are unique,
/// bounds are ordered, levels exist, and no two runs of one level (1 and deeper) overlap. Otherwise kCorruption naming
/// the runs.
Status check_placement(const std::vector<PlacedRun>& runs);

}  // namespace daruma
