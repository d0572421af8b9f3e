// SPDX-License-Identifier: Apache-2.0
//
// What may be forgotten. Pure but for `apply_retention`.
//
// What must stay true:
//   - A kept generation finds all its runs, and the log from the oldest kept one on, so a bad newest generation costs
//   time only. What the newest has of bulk loads it has too.
//   - A superseded run never comes back, whatever subset of the removals a power cut keeps: what supersedes it goes
//   only when it
//     is already gone, durably, or when a run of the newest generation supersedes it too.
//   - Manifests go before the runs they name; each step is synced before the next and before the next publish.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "snapshot/manifest.h"

namespace daruma {

inline constexpr std::size_t kGenerationsKept = 2;
inline constexpr std::string_view kRunDirectory = "runs";

/// Of `generations`, newest first: which older one to keep beside the newest. The one before, unless it adds nothing:
/// it names the same files, or a file that the newest has had to replace for damage. 0: there is none.
std::size_t older_to_keep(const std::vector<Manifest>& generations);

/// `older` names no file for a run that `newest` has of a bulk load: no log leads from the one to the other.
bool lacks_load(const Manifest& older, const Manifest& newest);

struct RetentionInput {
  std::vector<const Manifest*> kept;    ///< newest first; the generations to keep (two, or all while there are fewer)
  std::set<std::uint64_t> pinned_runs;  ///< held by live readers or views
  std::set<std::uint64_t> runs_being_written;  ///< outputs of jobs in flight: not in any manifest yet
  std::set<std::uint64_t> manifests_on_disk;
  std::set<std::uint64_t>
      manifests_set_aside;            ///< rejected ones: evidence, for quarantine to move, not for us to remove
  std::vector<RunInfo> runs_on_disk;  ///< at least number and supersedes filled in
};

struct RetentionPlan {
  std::vector<std::uint64_t> remove_manifests;
  std::vector<std::uint64_t> remove_runs;
  std::vector<std::uint64_t>
      wait_runs;               ///< to be removed later: what they supersede must go first. Plan again after applying
  Sequence keep_log_from = 1;  ///< the first event that the log must still hold
  [[nodiscard]] bool empty() const { return remove_manifests.empty() && remove_runs.empty(); }
};

RetentionPlan plan_retention(const RetentionInput& input);

/// Removes and syncs in the order that the rules above need. A file already gone is not an error.
Status apply_retention(Storage& storage, const std::string& directory, const RetentionPlan& plan);

/// What the outputs of a job with these inputs must list: the inputs, and what they supersede that is still on disk.
std::vector<std::uint64_t> supersedes_for(const std::vector<RunInfo>& inputs,
                                          const std::set<std::uint64_t>& runs_on_disk);

/// Markers that the next manifest may leave out: nothing that they supersede is left on disk, and another run of their
/// keyspace from a later compaction says all else that they say.
std::vector<std::uint64_t> markers_to_drop(const std::vector<PlacedRun>& runs,
                                           const std::set<std::uint64_t>& runs_on_disk);

}  // namespace daruma
