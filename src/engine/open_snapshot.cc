// SPDX-License-Identifier: Apache-2.0
//
// The passes "choose snapshot" and "open runs": which runs hold the state, and what keyspaces are called. They read
// only.
//
// What must stay true: a run that cannot be used blocks the keys that it may have held, and is never passed over.
#include <algorithm>
#include <cstdio>
#include <map>

#include "base/status_macros.h"
#include "engine/jobs.h"
#include "engine/options_text.h"
#include "engine/start.h"
#include "recovery/drill.h"
#include "recovery/history.h"
#include "run/run_format.h"
#include "snapshot/retention.h"
#include "snapshot/run_loss.h"

namespace daruma {
namespace {

constexpr const char* kRunLost = "run_lost";
constexpr const char* kCatalogueRunHurt = "catalogue_run_hurt";

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

/// A run that ends too early, read whole for the report to tell what that cost: reads of what parity cannot give back
/// fail until the background has rebuilt it, or has put it into the damage map.
Result<RecoveryFinding> look_at_cut(const LiveRun& run, std::uint64_t bytes_left) {
  const RunLoss loss = loss_of_run(*run.reader, run.info);
  if (is_of_the_process(loss.why)) return loss.why;
  RecoveryFinding finding;
  finding.case_name = "run_cut";
  finding.file = "runs/" + run_name(run.info.number);
  finding.offset = bytes_left;
  finding.bytes = run.info.file_bytes - bytes_left;
  finding.first_sequence = run.info.min_sequence;
  finding.last_sequence = run.info.max_sequence;
  finding.verdict = loss.none() ? "healed" : loss.refused ? "undecided" : "corrupt";
  finding.action = "rebuild_in_background";
  finding.detail = loss.why.to_string();
  return finding;
}

}  // namespace

Status Engine::choose_snapshot(Start& start) {
  DARUMA_TRY_ASSIGN(start.catalogue, read_catalogue(*storage_, directory_, std::nullopt));
  Catalogue& catalogue = start.catalogue;
  DARUMA_TRY(go_back(start));
  DARUMA_TRY(finish_telling(start));
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
      finding.action = catalogue.newest() && catalogue.newest()->number >= generation.number ? "read_other_copy"
                                                                                             : "use_older_generation";
      finding.detail = generation.rejected.ok() ? generation.damaged : generation.rejected.to_string();
      start.report.findings.push_back(std::move(finding));
    }
    if (!generation.manifest) continue;
    if (!generations_.empty() && lacks_load(*generation.manifest, generations_.front())) {
      start.lacks_load = true;
      past_generations_.push_back(*generation.manifest);
    } else {
      generations_.push_back(*generation.manifest);
    }
  }
  // Two that hold every load are kept to start from; any older one is of the past.
  start.may_lack_load =
      catalogue.newest() && catalogue.unusable_since_newest() >= (target_.bounded() ? 1 : kGenerationsKept);
  if (!generations_.empty()) DARUMA_TRY(use_promoted());
  if (const Manifest* newest = catalogue.newest()) {
    store_id_ = newest->store;
    start.runs = newest->runs;
    next_file_ = newest->next_file_number;
    snapshot_sequence_ = newest->sequence;
    start.report.snapshot = manifest_name(newest->number);
    if (!options_.history) past_limits_ = history_in(newest->options);
    if (past_limits_.time.count() == 0) past_generations_.clear();
    if (!newest->damage.empty() && !start.half_told) {
      DARUMA_TRY_ASSIGN(start.damage, DamageMap::decode(newest->damage));
    }
  }
  for (const DamageEntry& entry : start.given_up) {
    const std::uint64_t id = start.damage.add(entry);
    if (entry.accepted) (void)start.damage.accept(id);
  }
  DARUMA_TRY_ASSIGN(start.run_files, list_if_there(*storage_, directory_, kRunDirectory));
  for (const DirectoryEntry& entry : start.run_files) {  // a number is taken, whatever has it
    if (const std::optional<std::uint64_t> number = run_number(entry.name))
      next_file_ = std::max<std::uint64_t>(next_file_, *number + 1);
  }
  if (!catalogue.newest() && !target_.bounded()) DARUMA_TRY(state_from_runs(start));
  DARUMA_TRY_ASSIGN(const std::vector<DirectoryEntry> reports, list_if_there(*storage_, directory_, "recoveries"));
  start.had_log = !start.runs.empty();
  newest_drill_ns_ = newest_drill(reports).value_or(0);
  for (const DirectoryEntry& entry : reports) {
    if (!entry.name.ends_with(".json")) continue;
    start.had_log = true;  // written when a start had made its first log file
    if (const std::optional<std::uint64_t> number = report_number(entry.name)) start.reports.push_back(*number);
  }
  start.report.start_number = start.reports.empty() ? 1 : start.reports.back() + 1;
  return {};
}

/// A start that finds damage publishes the older state with it, then the newest (set_damage). One that died in between
/// left the older state as the newest manifest: the newer state, which needs less of the log, goes first again, and
/// what that start found is kept.
Status Engine::finish_telling(Start& start) {
  std::vector<Generation>& all = start.catalogue.generations;
  const auto newest = std::find_if(all.begin(), all.end(),
                                   [](const Generation& generation) { return generation.manifest.has_value(); });
  const auto before = std::find_if(newest, all.end(), [&](const Generation& generation) {
    return generation.manifest && is_half_told(*generation.manifest, *newest->manifest);
  });
  if (before == all.end()) return {};
  if (const std::string& damage = newest->manifest->damage; !damage.empty()) {
    DARUMA_TRY_ASSIGN(start.damage, DamageMap::decode(damage));
  }
  start.half_told = true;
  std::rotate(newest, before, std::next(before));
  return {};
}

/// What was promoted and no longer goes together with the rest of this start's options is passed on, and not used.
Status Engine::use_promoted() {
  promoted_ = promoted_in(generations_.front().options);
  Options promoted = options_;
  take_promoted(promoted_, promoted);
  if (promoted_.empty() || !options_.use_promoted || !check_options(promoted).ok()) return {};
  options_ = std::move(promoted);
  cache_ = options_.cache_bytes ? std::make_shared<BlockCache>(options_.cache_bytes) : nullptr;
  arena_blocks_ = std::make_shared<ArenaBlocks>(options_.memtable_bytes);
  budget_ = RecoveryBudget(std::chrono::nanoseconds(options_.recovery_budget).count());
  return options_.read_only || copy_lock_ || !copy_refused_.ok() ? Status() : lock_copy();
}

/// Its keys answer kDataLoss, everything else is served; the file stays where it is.
void Engine::lose_run(Start& start, const RunInfo& info, const char* case_name, const Status& why) {
  DamageEntry entry;
  entry.keyspace = info.keyspace;
  entry.keys = DamageEntry::Keys::kRange;
  entry.begin = info.smallest_key;
  entry.end = info.largest_key + '\0';
  entry.sequence_lo = info.min_sequence;
  entry.sequence_hi = hi_of_run(info.max_sequence);
  entry.cause = case_name;
  entry.file = "runs/" + run_name(info.number);
  RecoveryFinding finding;
  finding.case_name = entry.cause;
  finding.file = entry.file;
  finding.bytes = info.file_bytes;
  finding.verdict = "corrupt";
  finding.action = "block_key_range";
  finding.first_sequence = entry.sequence_lo;
  finding.last_sequence = info.max_sequence;
  finding.detail = why.to_string();
  finding.damage_id = start.damage.add(std::move(entry));
  start.report.findings.push_back(std::move(finding));
  ++start.report.lost.stretches;
  start.report.lost.events += info.entries;
  start.report.lost.bytes += info.file_bytes;
}

/// Nothing is lost: the manifest has what the run said.
void Engine::tell_of_names(Start& start, const RunInfo& info, const Status& why) {
  RecoveryFinding finding;
  finding.case_name = kRunLost;
  finding.file = "runs/" + run_name(info.number);
  finding.bytes = info.file_bytes;
  finding.verdict = "healed";
  finding.action = "names_from_manifest";
  finding.detail = why.to_string();
  start.report.findings.push_back(std::move(finding));
}

/// What an earlier start could not have of this run: the device only refused it then.
void Engine::find_again(Start& start, const RunInfo& info) {
  const std::vector<DamageEntry> known = start.damage.entries();
  for (const DamageEntry& entry : known) {
    if (!entry.accepted && (entry.cause == kRunLost || entry.cause == kCatalogueRunHurt) &&
        entry.file == "runs/" + run_name(info.number)) {
      start.found_again = start.damage.remove(entry.id);
      ++start.report.losses_found_again;
    }
  }
}

Status Engine::open_runs(Start& start) {
  const Manifest* newest = start.catalogue.newest();
  const std::optional<Catalog> told = newest ? newest->catalog : std::nullopt;
  std::map<std::uint64_t, std::uint64_t> bytes_there;
  for (const DirectoryEntry& entry : start.run_files) {
    if (const std::optional<std::uint64_t> number = run_number(entry.name)) bytes_there.emplace(*number, entry.bytes);
  }
  for (const PlacedRun& placed : start.runs) {
    on_disk_[placed.info.number] = placed.info;
    if (is_marker(placed.info)) continue;
    ++start.report.files;
    Result<std::shared_ptr<LiveRun>> run = open_run(placed.info);
    if (run.ok()) {
      if (const auto there = bytes_there.find(placed.info.number);
          there != bytes_there.end() && there->second < placed.info.file_bytes) {
        DARUMA_TRY_ASSIGN(RecoveryFinding cut, look_at_cut(**run, there->second));
        const bool lost = cut.verdict != "healed" && placed.info.keyspace != kCatalogKeyspace;
        if (lost && options_.recovery_policy == RecoveryPolicy::kRefuse) return refusal(directory_, cut);
        start.report.findings.push_back(std::move(cut));
      }
      live_[placed.info.number] = std::move(*run);
      continue;
    }
    if (is_of_the_process(run.status())) return run.status();
    if (placed.info.keyspace == kCatalogKeyspace && told)
      tell_of_names(start, placed.info, run.status());
    else
      lose_run(start, placed.info, kRunLost, run.status());
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
  Catalog names = told.value_or(Catalog());
  std::set<std::uint64_t> hurt;
  state->find(kCatalogKeyspace)->runs.for_each([&](std::uint32_t, const LiveRun& run) {
    if (told) return;
    RunReader::Cursor cursor = run.reader->cursor();
    cursor.seek_first();
    for (;;) {
      for (; cursor.valid(); cursor.next()) add_newest(names, cursor);
      if (cursor.status().ok()) break;
      if (hurt.insert(run.info.number).second) lose_run(start, run.info, kCatalogueRunHurt, cursor.status());
      if (!cursor.damaged()) break;
      cursor.step_over();
    }
  });
  for (const PlacedRun& placed : start.runs) {
    if (placed.info.keyspace == kCatalogKeyspace && !told && !is_marker(placed.info) &&
        !live_.contains(placed.info.number))
      hurt.insert(placed.info.number);
    if (live_.contains(placed.info.number) && !hurt.contains(placed.info.number)) find_again(start, placed.info);
  }
  publish_state(std::move(state));
  for (const PlacedRun& placed : start.runs) next_keyspace_ = std::max(next_keyspace_, placed.info.keyspace + 1);
  for (const auto& [key, version] : names) {
    if (key.size() == 4) apply_catalog(key, version.value);
  }
  if (told || (hurt.empty() && !start.damage.touches(kCatalogKeyspace, "", std::nullopt)))
    snapshot_catalog_ = std::move(names);
  // What runs hold is served under a made-up name rather than denied, also when the loss of the name was given up. Only
  // runs that no manifest names may be of a keyspace that was dropped.
  if (start.catalogue.newest() || !hurt.empty() || start.damage.touches(kCatalogKeyspace, "", std::nullopt)) {
    for (const PlacedRun& placed : start.runs) {
      const bool holds = start.catalogue.newest() || !is_marker(placed.info);  // or did, when a manifest names it
      if (holds && !current_->find(placed.info.keyspace)) {
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
  const auto& known = *current_;
  std::erase_if(start.runs, [&](const PlacedRun& run) { return !known.find(run.info.keyspace); });  // dropped
  std::set<std::uint32_t> all;
  for (const auto& keyspace : current_->keyspaces) all.insert(keyspace->id);
  auto placed = std::make_shared<State>(*current_);
  place_runs(*placed, all);
  publish_state(std::move(placed));
  if (start.no_generation) generations_.clear();
  return {};
}

}  // namespace daruma
