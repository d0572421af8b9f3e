// SPDX-License-Identifier: Apache-2.0
//
// The passes "choose snapshot" and "open runs": which runs hold the state, and what keyspaces are called. They read
// only.
//
// What must stay true: a run that cannot be used blocks the keys that it may have held, and is never passed over; with
// every manifest lost the runs tell the state themselves, and nothing comes back that a later run replaced.
#include <algorithm>

#include "base/status_macros.h"
#include "engine/jobs.h"
#include "engine/start.h"
#include "run/run_format.h"
#include "snapshot/retention.h"

namespace daruma {
namespace {

/// The entries of a directory of the store; none when it is not there, or a file stands in its place. One that cannot
/// be read is an error: what it holds would be taken for missing, and its numbers for free.
Result<std::vector<DirectoryEntry>> list_if_there(Storage& storage, const std::string& parent, std::string_view name) {
  Result<std::vector<DirectoryEntry>> entries = storage.list(parent + "/" + std::string(name));
  if (entries.ok()) return entries;
  if (entries.status().is(Code::kNotFound) ||
      (!is_of_the_process(entries.status()) && stands_as_file(storage, parent, name)))
    return std::vector<DirectoryEntry>();
  return entries;
}

Sequence highest_checkpoint(const std::vector<RunInfo>& runs) {
  Sequence highest = 0;
  for (const RunInfo& run : runs) highest = std::max(highest, run.checkpoint_sequence);
  return highest;
}

}  // namespace

Status Engine::choose_snapshot(Start& start) {
  DARUMA_TRY_ASSIGN(start.catalogue, read_catalogue(*storage_, directory_, std::nullopt));
  Catalogue& catalogue = start.catalogue;
  next_manifest_ = catalogue.highest_number + 1;
  start.found_anything = !catalogue.generations.empty();
  for (Generation& generation : catalogue.generations) {
    ++start.report.files;
    start.report.bytes_read += generation.file_bytes;
    start.pass_bytes += generation.file_bytes;
    if (generation.rejected.is(Code::kUnsupported)) return generation.rejected;
    if (generation.rejected.is(Code::kIoError)) start.unreadable = generation.rejected;
    if (!generation.rejected.ok() || !generation.damaged.empty()) {
      RecoveryFinding finding;
      finding.case_name = generation.rejected.ok() ? "damaged_manifest_copy" : "rejected_manifest";
      finding.file = "snapshots/" + generation.name;
      finding.bytes = generation.file_bytes;
      finding.verdict = generation.rejected.ok() ? "healed" : "corrupt";
      finding.action = generation.rejected.ok() ? "read_other_copy" : "use_older_generation";
      finding.detail = generation.rejected.ok() ? generation.damaged : generation.rejected.to_string();
      start.report.findings.push_back(std::move(finding));
    }
    if (generation.manifest) generations_.push_back(*generation.manifest);
  }
  if (const Manifest* newest = catalogue.newest()) {
    store_id_ = newest->store;
    start.runs = newest->runs;
    next_file_ = newest->next_file_number;
    snapshot_sequence_ = newest->sequence;
    start.report.snapshot = manifest_name(newest->number);
    if (!newest->damage.empty()) { DARUMA_TRY_ASSIGN(start.damage, DamageMap::decode(newest->damage)); }
  }
  // Runs on disk: their numbers are taken, and without any manifest they are the state.
  DARUMA_TRY_ASSIGN(start.run_files, list_if_there(*storage_, directory_, kRunDirectory));
  std::uint64_t next_file = next_file_;
  std::vector<RunInfo> described;
  std::vector<std::uint64_t> undescribed;
  for (const DirectoryEntry& entry : start.run_files) {
    const std::optional<std::uint64_t> numbered = run_number(entry.name);
    if (!numbered) continue;
    const std::uint64_t number = *numbered;
    next_file = std::max(next_file, number + 1);
    if (entry.is_directory || entry.name != run_name(number) || catalogue.newest()) continue;
    start.found_anything = true;
    const auto store = catalogue.store;
    Result<RunDescription> description =
        describe_run(*storage_, directory_ + "/" + std::string(kRunDirectory) + "/" + entry.name, store, number);
    if (is_of_the_process(description.status())) return description.status();
    if (description.status().is(Code::kIoError)) start.unreadable = description.status();
    if (!description.ok()) {
      RecoveryFinding finding;
      finding.case_name = "undescribed_run";
      finding.file = "runs/" + entry.name;
      finding.bytes = entry.bytes;
      finding.verdict = "corrupt";
      finding.detail = description.status().to_string();
      start.report.findings.push_back(std::move(finding));
      start.report.lost.bytes += entry.bytes;
      undescribed.push_back(number);
      continue;
    }
    if (!catalogue.store) catalogue.store = description->store;
    described.push_back(description->info);
  }
  const auto superseded = [&](std::uint64_t number) {
    return std::any_of(described.begin(), described.end(), [&](const RunInfo& info) {
      return std::find(info.supersedes.begin(), info.supersedes.end(), number) != info.supersedes.end();
    });
  };
  for (const std::uint64_t number : undescribed) {
    if (superseded(number)) continue;
    DamageEntry entry;
    entry.sequence_lo = 1;
    entry.sequence_hi = std::max<Sequence>(1, highest_checkpoint(described));
    entry.cause = "undescribed_run";
    entry.file = "runs/" + run_name(number);
    start.damage.add(std::move(entry));
    ++start.report.lost.stretches;
  }
  if (!catalogue.newest() && !described.empty()) {
    store_id_ = *catalogue.store;
    RebuiltState rebuilt = rebuild_from_runs(described);
    start.runs = std::move(rebuilt.runs);
    snapshot_sequence_ = rebuilt.sequence;
    next_file = std::max(next_file, rebuilt.next_file_number);
    RecoveryFinding finding;
    finding.case_name = "manifest_rebuilt";
    finding.file = "snapshots";
    finding.verdict = "healed";
    finding.action = "rebuilt_from_runs";
    start.report.findings.push_back(std::move(finding));
    // What did not complete is safe to leave out only while all that it replaces is there.
    for (const DroppedRun& dropped : rebuilt.dropped) {
      const auto info = std::find_if(described.begin(), described.end(),
                                     [&](const RunInfo& run) { return run.number == dropped.number; });
      if (superseded(dropped.number) || info == described.end()) continue;
      const bool replaced_all_there =
          std::all_of(info->supersedes.begin(), info->supersedes.end(), [&](std::uint64_t old) {
            return std::any_of(described.begin(), described.end(),
                               [&](const RunInfo& run) { return run.number == old; });
          });
      if (!replaced_all_there && !is_marker(*info)) lose_keyspace(start, *info, dropped.reason);
    }
    for (const PlacedRun& placed : start.runs) {
      for (const LostKeys& gap : placed.info.lost) {
        DamageEntry entry;
        entry.keyspace = placed.info.keyspace;
        entry.keys = DamageEntry::Keys::kRange;
        entry.begin = gap.begin;
        entry.end = gap.end;
        entry.sequence_lo = gap.first;
        entry.sequence_hi = gap.last;
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
  }
  next_file_ = next_file;
  DARUMA_TRY_ASSIGN(const std::vector<DirectoryEntry> reports, list_if_there(*storage_, directory_, "recoveries"));
  start.had_log = !start.runs.empty() || std::any_of(reports.begin(), reports.end(), [](const DirectoryEntry& entry) {
    return entry.name.ends_with(".json");  // written when a start had made its first log file
  });
  return {};
}

/// Its keys answer kDataLoss, everything else is served; the file stays where it is.
void Engine::lose_run(Start& start, const RunInfo& info, const char* case_name, const Status& why) {
  DamageEntry entry;
  entry.keyspace = info.keyspace;
  entry.keys = DamageEntry::Keys::kRange;
  entry.begin = info.smallest_key;
  entry.end = info.largest_key + '\0';
  entry.sequence_lo = info.min_sequence;
  entry.sequence_hi = info.max_sequence;
  entry.cause = case_name;
  entry.file = "runs/" + run_name(info.number);
  RecoveryFinding finding;
  finding.case_name = entry.cause;
  finding.file = entry.file;
  finding.bytes = info.file_bytes;
  finding.verdict = "corrupt";
  finding.action = "block_key_range";
  finding.first_sequence = entry.sequence_lo;
  finding.last_sequence = entry.sequence_hi;
  finding.detail = why.to_string();
  finding.damage_id = start.damage.add(std::move(entry));
  start.report.findings.push_back(std::move(finding));
  ++start.report.lost.stretches;
  start.report.lost.events += info.entries;
  start.report.lost.bytes += info.file_bytes;
}

void Engine::lose_keyspace(Start& start, const RunInfo& info, const std::string& why) {
  RunInfo everything = info;
  everything.smallest_key.clear();
  everything.largest_key = last_key_before("");
  everything.min_sequence = 1;
  everything.max_sequence = info.checkpoint_sequence;
  lose_run(start, everything, "compaction_lost", Status(Code::kDataLoss, why));
}

Status Engine::open_runs(Start& start) {
  for (const PlacedRun& placed : start.runs) {
    on_disk_[placed.info.number] = placed.info;
    if (is_marker(placed.info)) continue;
    ++start.report.files;
    Result<std::shared_ptr<LiveRun>> run = open_run(placed.info);
    if (run.ok()) {
      live_[placed.info.number] = std::move(*run);
      continue;
    }
    if (is_of_the_process(run.status())) return run.status();
    lose_run(start, placed.info, "run_lost", run.status());
    lost_runs_.insert(placed.info.number);
  }
  if (generations_.empty()) {  // rebuilt, or new: what the runs are placed by
    Manifest rebuilt;
    rebuilt.runs = start.runs;
    generations_.push_back(std::move(rebuilt));
    start.no_generation = true;
  }
  auto state = std::make_shared<State>();
  auto catalog = std::make_shared<KeyspaceState>();
  catalog->id = kCatalogKeyspace;
  state->keyspaces.push_back(std::move(catalog));
  place_runs(*state, {kCatalogKeyspace});
  std::map<std::string, std::pair<Sequence, std::optional<std::string>>> names;
  std::set<std::uint64_t> hurt;
  state->find(kCatalogKeyspace)->runs.for_each([&](std::uint32_t, const LiveRun& run) {
    RunReader::Cursor cursor = run.reader->cursor();
    cursor.seek_first();
    for (;;) {
      for (; cursor.valid(); cursor.next()) {
        auto& newest = names[std::string(cursor.key())];
        if (cursor.sequence() < newest.first) continue;
        newest.first = cursor.sequence();
        newest.second = cursor.kind() == EntryKind::kPut ? std::optional(std::string(cursor.value())) : std::nullopt;
      }
      if (cursor.status().ok()) break;
      if (hurt.insert(run.info.number).second) lose_run(start, run.info, "catalogue_run_hurt", cursor.status());
      if (!cursor.damaged()) break;
      cursor.step_over();
    }
  });
  for (const PlacedRun& placed : start.runs) {
    if (placed.info.keyspace == kCatalogKeyspace && !is_marker(placed.info) && !live_.contains(placed.info.number))
      hurt.insert(placed.info.number);
  }
  publish_state(std::move(state));
  for (const PlacedRun& placed : start.runs) next_keyspace_ = std::max(next_keyspace_, placed.info.keyspace + 1);
  for (const auto& [key, value] : names) {
    if (value.second && key.size() == 4) apply_catalog(key, std::string_view(*value.second));
  }
  // What runs hold is served under a made-up name rather than denied, also when the loss of the name was given up. Only
  // runs that no manifest names may be of a keyspace that was dropped.
  if (start.catalogue.newest() || !hurt.empty() || start.damage.touches(kCatalogKeyspace, "", std::nullopt)) {
    for (const PlacedRun& placed : start.runs) {
      if (!is_marker(placed.info) && !current_->find(placed.info.keyspace)) {
        add_nameless_keyspace(placed.info.keyspace);
        RecoveryFinding finding;
        finding.case_name = "keyspace_name_lost";
        finding.file = "runs/" + run_name(placed.info.number);
        finding.verdict = "corrupt";
        finding.action = "serve_under_made_up_name";
        finding.detail = "keyspace " + std::to_string(placed.info.keyspace);
        start.report.findings.push_back(std::move(finding));
      }
    }
  }
  std::erase_if(start.runs, [&](const PlacedRun& run) { return !current_->find(run.info.keyspace); });  // dropped
  std::set<std::uint32_t> all;
  for (const auto& keyspace : current_->keyspaces) all.insert(keyspace->id);
  auto placed = std::make_shared<State>(*current_);
  place_runs(*placed, all);
  publish_state(std::move(placed));
  if (start.no_generation) generations_.clear();
  return {};
}

}  // namespace daruma
