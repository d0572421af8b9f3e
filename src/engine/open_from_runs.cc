// SPDX-License-Identifier: Apache-2.0
//
// The pass "choose snapshot" when no manifest is left: the runs tell the state themselves.
//
// What must stay true: nothing comes back that a later run replaced, and what is missing among the runs blocks the keys
// that it may have held.
#include <algorithm>

#include "base/status_macros.h"
#include "engine/start.h"
#include "run/run_format.h"
#include "run/run_reader.h"
#include "snapshot/retention.h"

namespace daruma {
namespace {

Sequence highest_checkpoint(const std::vector<RunInfo>& runs) {
  Sequence highest = 0;
  for (const RunInfo& run : runs) highest = std::max(highest, run.checkpoint_sequence);
  return highest;
}

bool superseded(std::uint64_t number, const std::vector<RunInfo>& runs) {
  return std::any_of(runs.begin(), runs.end(), [&](const RunInfo& run) {
    return std::find(run.supersedes.begin(), run.supersedes.end(), number) != run.supersedes.end();
  });
}

}  // namespace

Status Engine::state_from_runs(Start& start) {
  std::vector<RunInfo> described;
  std::vector<std::uint64_t> undescribed;
  DARUMA_TRY(describe_runs(start, described, undescribed));
  for (const std::uint64_t number : undescribed) {
    if (superseded(number, described)) continue;
    DamageEntry entry;
    entry.sequence_lo = 1;
    entry.sequence_hi = hi_of_run(highest_checkpoint(described));
    entry.cause = "undescribed_run";
    entry.file = "runs/" + run_name(number);
    start.damage.add(std::move(entry));
    ++start.report.lost.stretches;
  }
  if (described.empty()) return {};
  store_id_ = *start.catalogue.store;
  RebuiltState rebuilt = rebuild_from_runs(described);
  start.runs = std::move(rebuilt.runs);
  snapshot_sequence_ = rebuilt.sequence;
  RecoveryFinding finding;
  finding.case_name = "manifest_rebuilt";
  finding.file = "snapshots";
  finding.verdict = "healed";
  finding.action = "rebuilt_from_runs";
  start.report.findings.push_back(std::move(finding));
  // What did not complete is safe to leave out only while all that it replaces is there; of a load nothing tells
  // whether it did.
  for (const DroppedRun& dropped : rebuilt.dropped) {
    const auto info = std::find_if(described.begin(), described.end(),
                                   [&](const RunInfo& run) { return run.number == dropped.number; });
    if (superseded(dropped.number, described) || info == described.end()) continue;
    const bool replaced_all_there =
        std::all_of(info->supersedes.begin(), info->supersedes.end(), [&](std::uint64_t old) {
          return std::any_of(described.begin(), described.end(), [&](const RunInfo& run) { return run.number == old; });
        });
    if ((!replaced_all_there && !is_marker(*info)) || is_loaded(*info)) lose_keyspace(start, *info, dropped.reason);
  }
  for (const PlacedRun& placed : start.runs) {
    for (const LostKeys& gap : placed.info.lost) {
      DamageEntry entry;
      entry.keyspace = placed.info.keyspace;
      entry.keys = DamageEntry::Keys::kRange;
      entry.begin = gap.begin;
      entry.end = gap.end;
      entry.sequence_lo = gap.first;
      entry.sequence_hi = hi_of_run(gap.last);
      entry.cause = "run_blocks_lost";
      entry.file = "runs/" + run_name(placed.info.number);
      start.damage.add(std::move(entry));
    }
  }
  for (const auto& [after, through] : rebuilt.gaps) {
    ++start.report.lost.stretches;
    start.report.lost.events += through - after;
    DamageEntry entry;
    entry.sequence_lo = after + 1;
    entry.sequence_hi = through;
    entry.cause = "flush_lost";
    entry.file = "runs";
    start.damage.add(std::move(entry));
  }
  return {};
}

Status Engine::describe_runs(Start& start, std::vector<RunInfo>& described, std::vector<std::uint64_t>& undescribed) {
  for (const DirectoryEntry& entry : start.run_files) {
    const std::optional<std::uint64_t> number = run_number(entry.name);
    if (!number || entry.is_directory || entry.name != run_name(*number)) continue;
    start.found_anything = true;
    const std::optional<StoreId> store = start.catalogue.store;
    Result<RunDescription> description =
        describe_run(*storage_, directory_ + "/" + std::string(kRunDirectory) + "/" + entry.name, store, *number);
    if (is_of_the_process(description.status())) return description.status();
    if (description.status().is(Code::kIoError)) start.unreadable = description.status();
    if (description.ok()) {
      if (!store) start.catalogue.store = description->store;
      described.push_back(description->info);
      continue;
    }
    RecoveryFinding finding;
    finding.case_name = "undescribed_run";
    finding.file = "runs/" + entry.name;
    finding.bytes = entry.bytes;
    finding.verdict = "corrupt";
    finding.detail = description.status().to_string();
    start.report.findings.push_back(std::move(finding));
    start.report.lost.bytes += entry.bytes;
    undescribed.push_back(*number);
  }
  return {};
}

/// A job of this keyspace that did not complete, and what it replaced is gone.
void Engine::lose_keyspace(Start& start, const RunInfo& info, const std::string& why) {
  RunInfo everything = info;
  everything.smallest_key.clear();
  everything.largest_key = last_key_before("");
  everything.min_sequence = 1;
  everything.max_sequence = info.checkpoint_sequence;
  lose_run(start, everything, "compaction_lost", Status(Code::kDataLoss, why));
}

}  // namespace daruma
