// SPDX-License-Identifier: Apache-2.0
//
// What a start does once the store is whole again: the pass "tidy", and the report.
#include <algorithm>

#include "base/status_macros.h"
#include "engine/live_view.h"
#include "engine/start.h"
#include "recovery/history.h"
#include "run/run_format.h"
#include "snapshot/retention.h"

namespace daruma {
namespace {

constexpr std::uint64_t kReportsKept = 128;  // a few months of a store that is started once a day

}  // namespace

/// Removes what means nothing: files of jobs that a crash cut off, generations that were replaced. After a start that
/// lost something the runs alone, which would come back, and are in quarantine by now; where no manifest was left they
/// stay, since what they lack may be all that tells of the loss.
Status Engine::tidy(Start& start) {
  if (!start.report.clean() && start.no_generation) return {};
  find_unnamed(start);
  if (start.report.clean()) DARUMA_TRY(tidy_cut_off(start));
  return untidy_ ? release() : Status();
}

Status Engine::tidy_cut_off(const Start& start) {
  const std::string snapshots = directory_ + "/" + std::string(kManifestDirectory);
  bool removed = false;
  const auto remove = [&](const std::string& path) {
    removed = true;
    const Status status = storage_->remove(path);
    return status.is(Code::kNotFound) ? Status() : status;  // a publish of this start may have used up the name
  };
  for (const Generation& generation : start.catalogue.generations) {
    if (generation.rejected.ok()) continue;  // its bytes are in quarantine, the next generation is durable
    DARUMA_TRY(remove(snapshots + "/" + generation.name));
  }
  for (const std::string& name : start.catalogue.leftovers) {
    std::string path = snapshots;
    DARUMA_TRY(remove(path.append("/").append(name)));
  }
  if (removed) DARUMA_TRY(storage_->sync_directory(snapshots));
  const std::string runs = directory_ + "/" + std::string(kRunDirectory);
  removed = false;
  for (const DirectoryEntry& entry : start.run_files) {
    if (!run_number(entry.name) && entry.name.ends_with(kTemporarySuffix))  // others are not ours
      DARUMA_TRY(remove(runs + "/" + entry.name));
  }
  return removed ? storage_->sync_directory(runs) : Status();
}

void Engine::find_unnamed(const Start& start) {
  for (const Manifest* generation : kept_generations()) {
    for (const PlacedRun& placed : generation->runs) on_disk_.emplace(placed.info.number, placed.info);
  }
  untidy_ = generations_.size() > kGenerationsKept || start.lacks_load;
  for (const DirectoryEntry& entry : start.run_files) {
    const std::optional<std::uint64_t> number = run_number(entry.name);
    if (!number || entry.is_directory || on_disk_.contains(*number)) continue;
    untidy_ = true;
    const std::string path = directory_ + "/" + std::string(kRunDirectory) + "/" + entry.name;
    Result<RunDescription> description = describe_run(*storage_, path, store_id_, *number);
    RunInfo info;
    info.number = *number;
    on_disk_.emplace(*number, description.ok() ? description->info : info);
  }
}

/// What the report says of the start as a whole.
void Engine::sum_up(Start& start) {
  RecoveryReport& report = start.report;
  report.cause = cause_of(report);
  if (!start.report_told) {  // afterwards others read it, and nothing is lost
    lost_entries_.clear();
    for (const PlacedRun& placed : start.runs) {
      if (!live_.contains(placed.info.number)) lost_entries_[placed.info.keyspace] += placed.info.entries;
    }
  }
  report.blast_radius = blast_radius();
}

/// The flight recorder. It cannot stop a start: without space the report is in the caller's hands only.
void Engine::write_report(Start& start) {
  const std::string directory = directory_ + "/recoveries";
  RecoveryReport& report = start.report;
  PastRecoveries past = read_past(*storage_, directory, report.start_number);
  if (!report.created) {
    report.last_sign_of_life_wall_ns = std::max({report.last_sign_of_life_wall_ns, past.last_seen_wall_ns,
                                                 last_publication(*storage_, directory, report.store)});
    if (report.last_sign_of_life_wall_ns > report.started_wall_ns)  // the clock was set back
      report.last_sign_of_life_wall_ns = 0;
  }
  count(past.history, report);
  report.history = past.history;
  {
    MutexLock lock(health_mutex_);
    past_ = std::move(past.history);
    start_number_ = report.start_number;
    started_wall_ns_ = report.started_wall_ns;
    store_name_ = report.store;
  }
  if (!publish(*storage_, directory, report_name(report.start_number), report.to_json()).ok()) return;
  for (const std::uint64_t old : start.reports) {
    if (old + kReportsKept <= report.start_number) (void)storage_->remove(directory + "/" + report_name(old));
  }
}

}  // namespace daruma
