// SPDX-License-Identifier: Apache-2.0
#include "snapshot/retention.h"

#include <algorithm>
#include <cstdio>
#include <map>

#include "base/assert.h"
#include "base/failpoint.h"
#include "base/status_macros.h"

namespace daruma {
namespace {

Status remove_all(Storage& storage, const std::string& directory, const std::vector<std::uint64_t>& numbers,
                  const char* suffix) {
  for (const std::uint64_t number : numbers) {
    char name[40];
    std::snprintf(name, sizeof name, "/%016llu%s", static_cast<unsigned long long>(number), suffix);
    if (Status status = storage.remove(directory + name); !status.ok() && !status.is(Code::kNotFound)) return status;
  }
  return storage.sync_directory(directory);
}

}  // namespace

std::size_t older_to_keep(const std::vector<Manifest>& generations) {
  if (generations.size() < 2) return 0;
  std::set<std::uint64_t> newest;
  std::map<std::pair<std::uint64_t, std::uint32_t>, std::uint64_t> seats;
  for (const PlacedRun& run : generations.front().runs) {
    newest.insert(run.info.number);
    seats[{run.info.job_id, run.info.job_index}] = run.info.number;
  }
  for (std::size_t i = 1; i < generations.size(); ++i) {
    std::set<std::uint64_t> files;
    bool replaced = false;
    for (const PlacedRun& run : generations[i].runs) {
      files.insert(run.info.number);
      const auto seat = seats.find({run.info.job_id, run.info.job_index});
      replaced = replaced || (seat != seats.end() && seat->second != run.info.number);
    }
    if (!replaced && files != newest) return i;
  }
  return 1;
}

bool lacks_load(const Manifest& older, const Manifest& newest) {
  std::set<std::pair<std::uint64_t, std::uint32_t>> seats;
  for (const PlacedRun& run : older.runs) seats.emplace(run.info.job_id, run.info.job_index);
  return std::any_of(newest.runs.begin(), newest.runs.end(), [&](const PlacedRun& run) {
    return is_loaded(run.info) && !seats.contains({run.info.job_id, run.info.job_index});
  });
}

RetentionPlan plan_retention(const RetentionInput& input) {
  DARUMA_ASSERT(!input.kept.empty());
  RetentionPlan plan;
  std::set<std::uint64_t> kept_manifests;
  std::set<std::uint64_t> needed = input.pinned_runs;
  needed.insert(input.runs_being_written.begin(), input.runs_being_written.end());
  plan.keep_log_from = kMaxSequence;
  for (const Manifest* manifest : input.kept) {
    DARUMA_ASSERT(manifest->number <= input.kept.front()->number);
    kept_manifests.insert(manifest->number);
    plan.keep_log_from = std::min(plan.keep_log_from, manifest->sequence + 1);
    for (const PlacedRun& run : manifest->runs) needed.insert(run.info.number);
  }
  for (const std::uint64_t number : input.manifests_on_disk) {
    // One numbered above the newest kept is not known to be bad: it is not ours to remove.
    if (number < input.kept.front()->number && !kept_manifests.contains(number) &&
        !input.manifests_set_aside.contains(number)) {
      plan.remove_manifests.push_back(number);
    }
  }

  std::set<std::uint64_t> live;             // in the newest generation
  std::set<std::uint64_t> superseded_live;  // by a run of the newest generation
  for (const PlacedRun& run : input.kept.front()->runs) {
    live.insert(run.info.number);
    superseded_live.insert(run.info.supersedes.begin(), run.info.supersedes.end());
  }
  std::set<std::uint64_t> on_disk;
  for (const RunInfo& run : input.runs_on_disk) on_disk.insert(run.number);
  for (const RunInfo& run : input.runs_on_disk) {
    if (needed.contains(run.number)) continue;
    const bool holds_back = std::any_of(run.supersedes.begin(), run.supersedes.end(), [&](std::uint64_t old) {
      return on_disk.contains(old) && !live.contains(old) && !superseded_live.contains(old);
    });
    (holds_back ? plan.wait_runs : plan.remove_runs).push_back(run.number);
  }
  return plan;
}

/// snapshots/ is synced also when nothing in it is removed: what is gone from sight may be so by a removal whose sync
/// failed, and a manifest that a power cut brings back finds all its runs.
Status apply_retention(Storage& storage, const std::string& directory, const RetentionPlan& plan) {
  if (plan.empty()) return {};
  if (!plan.remove_manifests.empty()) DARUMA_TRY(failpoint("manifest remove"));
  DARUMA_TRY(remove_all(storage, directory + "/" + std::string(kManifestDirectory), plan.remove_manifests, ".snap"));
  if (plan.remove_runs.empty()) return {};
  return remove_all(storage, directory + "/" + std::string(kRunDirectory), plan.remove_runs, ".run");
}

std::vector<std::uint64_t> supersedes_for(const std::vector<RunInfo>& inputs,
                                          const std::set<std::uint64_t>& runs_on_disk) {
  std::set<std::uint64_t> all;
  for (const RunInfo& input : inputs) {
    all.insert(input.number);
    for (const std::uint64_t old : input.supersedes) {
      if (runs_on_disk.contains(old)) all.insert(old);
    }
  }
  return {all.begin(), all.end()};
}

std::vector<std::uint64_t> markers_to_drop(const std::vector<PlacedRun>& runs,
                                           const std::set<std::uint64_t>& runs_on_disk) {
  std::vector<std::uint64_t> drop;
  for (const PlacedRun& marker : runs) {
    if (!is_marker(marker.info) || !marker.info.lost.empty()) continue;
    const bool needed = std::any_of(marker.info.supersedes.begin(), marker.info.supersedes.end(),
                                    [&](std::uint64_t old) { return runs_on_disk.contains(old); });
    const bool said = std::any_of(runs.begin(), runs.end(), [&](const PlacedRun& other) {
      return other.info.keyspace == marker.info.keyspace && other.info.level > 0 &&
             other.info.job_id > marker.info.job_id &&
             other.info.checkpoint_sequence >= marker.info.checkpoint_sequence;
    });
    if (!needed && said) drop.push_back(marker.info.number);
  }
  return drop;
}

}  // namespace daruma
