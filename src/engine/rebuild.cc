// SPDX-License-Identifier: Apache-2.0
//
// Runs that parity cannot heal: rebuilt from the generation before and the log, or salvaged, with the gap in the damage
// map. docs/recovery.md, "Runs beyond parity", has the rules.
//
// What must stay true: the new file is read back before a manifest names it; file and damage map change in one manifest
// and in one State; what is given up for lost is in quarantine first; what the device only refuses is not given up.
#include <algorithm>

#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "engine/jobs.h"
#include "recovery/quarantine.h"
#include "snapshot/retention.h"
#include "snapshot/run_rebuild.h"
#include "wal/wal_format.h"

namespace daruma {

struct Engine::Rebuild {
  PlacedRun placed;
  std::shared_ptr<LiveRun> damaged;  // null: nothing of it is there
  RunLoss loss;
  std::vector<KeyRange> found;  // of loss.keys, what the sources have
  std::vector<KeyRange> given_up;
  bool refused = false;  // by the device, which may come back
  std::vector<std::shared_ptr<LiveRun>> sources;
  std::unique_ptr<Memtable> log;
  std::vector<std::uint64_t> supersedes;
  Outputs outputs;
  HealInfo info;
};

namespace {

constexpr std::uint64_t kEvidenceBytes = 16 << 20;  // most bytes of one quarantine entry
constexpr const char* kCause = "run_blocks_lost";

bool of_file(const DamageEntry& entry, const std::string& file) { return entry.file == file; }

bool within(const KeyRange& range, const DamageEntry& entry) {
  return entry.keys == DamageEntry::Keys::kAll ||
         (entry.keys == DamageEntry::Keys::kRange && entry.begin <= range.begin &&
          (!entry.end || range.end <= *entry.end));
}

}  // namespace

/// True when there was one to do.
Result<bool> Engine::rebuild_one() {
  Rebuild job;
  {
    MutexLock lock(checkpoint_mutex_);
    if (generations_.empty()) return false;
    const auto& runs = generations_.front().runs;
    std::erase_if(lost_runs_, [&](std::uint64_t number) {  // replaced meanwhile
      return std::none_of(runs.begin(), runs.end(), [&](const PlacedRun& r) { return r.info.number == number; });
    });
    if (lost_runs_.empty()) return false;
    const std::int64_t began = clock_.monotonic_ns();
    // In turn: one that cannot be rebuilt keeps no other waiting.
    auto turn = lost_runs_.upper_bound(rebuilt_last_);
    if (turn == lost_runs_.end()) turn = lost_runs_.begin();
    const std::uint64_t number = rebuilt_last_ = *turn;
    job.placed = *std::find_if(runs.begin(), runs.end(), [&](const PlacedRun& r) { return r.info.number == number; });
    job.info.file = std::string(kRunDirectory) + "/" + run_name(number);
    job.info.bytes = job.placed.info.file_bytes;
    job.info.status = or_out_of_memory([&]() REQUIRES(compaction_mutex_, checkpoint_mutex_) { return rebuild(job); });
    job.info.duration_ns = clock_.monotonic_ns() - began;
    if (job.info.status.ok()) {
      (job.info.lost_ranges == 0 ? healed_ : salvaged_).fetch_add(1, std::memory_order_relaxed);
      unhealable_runs_.erase(number);
    } else if (job.refused) {
      // The device may come back; until then the run serves what it can, and is not compacted.
      lost_runs_.erase(number);
      retry_later(number, job.info.status);
    }
  }
  if (options_.listener && !stopping()) options_.listener->on_heal(job.info);
  DARUMA_TRY(job.info.status);
  return true;
}

Status Engine::rebuild(Rebuild& job) {
  DARUMA_TRY(settle());
  const RunInfo& info = job.placed.info;
  if (const auto live = live_.find(info.number); live != live_.end()) {
    job.damaged = live->second;
    job.loss = loss_of_run(*job.damaged->reader, info);
  } else if (Result<std::shared_ptr<LiveRun>> opened = open_run(info); opened.ok()) {
    job.damaged = std::move(*opened);
    job.loss = loss_of_run(*job.damaged->reader, info);
  } else {
    if (is_of_the_process(opened.status())) return opened.status();
    job.loss = all_lost(info, opened.status());
  }
  DARUMA_TRY(find_sources(job));
  job.given_up = without(job.loss.keys, job.found);
  job.refused = !job.given_up.empty() && job.loss.refused;
  if (job.refused)
    return {Code::kIoError, "the device refuses what nothing else holds: " + job.loss.why.to_string(),
            job.loss.why.where()};
  if (!job.given_up.empty()) DARUMA_TRY(keep_evidence(job));
  const Status written = or_out_of_memory([&]() REQUIRES(compaction_mutex_, checkpoint_mutex_) -> Status {
    DARUMA_TRY(write_replacement(job));
    return publish_replacement(job);
  });
  if (!written.ok()) return give_up(job.outputs, written);
  DARUMA_TRY(finish_install());
  job.info.rebuilt = true;
  return release();
}

/// Tries the kept generations, newest first, until one has all that is lost.
Status Engine::find_sources(Rebuild& job) {
  const RunInfo& info = job.placed.info;
  std::set<std::uint64_t> on_disk;
  for (const auto& [number, known] : on_disk_) on_disk.insert(number);
  job.supersedes = supersedes_for({info}, on_disk);
  if (job.loss.keys.empty()) return {};
  if (info.keyspace == kCatalogKeyspace && snapshot_catalog_) {
    take_names_from_snapshot(job);
    return {};
  }
  const Sequence log_after = generations_.back().sequence;
  for (std::size_t i = 1; i < generations_.size(); ++i) {
    const std::optional<RebuildPlan> plan = plan_rebuild(info, generations_[i], log_after);
    if (!plan) continue;
    std::vector<std::shared_ptr<LiveRun>> sources;
    std::vector<KeyRange> missing;
    for (const RunInfo& source : plan->runs) {
      if (is_marker(source)) continue;
      Result<std::shared_ptr<LiveRun>> run = open_run(source);
      if (is_of_the_process(run.status())) return run.status();
      const RunLoss loss = run.ok() ? loss_of_run(*(*run)->reader, source) : all_lost(source, run.status());
      missing.insert(missing.end(), loss.keys.begin(), loss.keys.end());
      if (run.ok() && !loss.erases) sources.push_back(std::move(*run));
    }
    std::unique_ptr<Memtable> log;
    std::vector<KeyRange> found = without(job.loss.keys, joined(std::move(missing)));
    if (plan->log_after < plan->log_through && !found.empty()) {
      log = std::make_unique<Memtable>();
      DARUMA_TRY_ASSIGN(const bool whole, read_log({plan->log_after, plan->log_through, info.keyspace, found}, *log));
      if (!whole) continue;
    }
    if (found.empty()) continue;
    job.found = std::move(found);
    job.sources = std::move(sources);
    job.log = std::move(log);
    if (without(job.loss.keys, job.found).empty()) break;
  }
  return {};
}

/// Of each entry its newest version; what is older in the run counts for no snapshot that will name the new one.
void Engine::take_names_from_snapshot(Rebuild& job) {
  const RunInfo& info = job.placed.info;
  job.log = std::make_unique<Memtable>();
  const auto is_lost = [&job](std::string_view key) {
    return std::any_of(job.loss.keys.begin(), job.loss.keys.end(),
                       [&](const KeyRange& lost) { return lost.holds(key); });
  };
  for (const auto& [key, version] : *snapshot_catalog_) {
    if (version.sequence < info.min_sequence || version.sequence > info.max_sequence || !is_lost(key)) continue;
    if (version.value)
      job.log->put(version.sequence, key, *version.value);
    else
      job.log->erase(version.sequence, key);
  }
  job.found = job.loss.keys;
}

/// False also where the damage map says that some of these events were not applied when the run was made.
Result<bool> Engine::read_log(const LogPart& part, Memtable& out) {
  if (!wal_) return false;
  const std::shared_ptr<const DamageMap> damage = damage_now();
  if (damage && std::any_of(damage->entries().begin(), damage->entries().end(), [&](const DamageEntry& entry) {
        return !entry.file.starts_with(kRunDirectory) && entry.sequence_lo <= part.through &&
               entry.sequence_hi > part.after;
      }))
    return false;
  return read_log_part(*storage_, directory_, store_id_, wal_->live_segments(), part, out);
}

std::shared_ptr<const DamageMap> Engine::damage_now() {
  MutexLock lock(write_mutex_);
  return current_->damage;
}

/// The damaged bytes into quarantine, before the file that holds them may go.
Status Engine::keep_evidence(const Rebuild& job) {
  const RunInfo& info = job.placed.info;
  Result<std::unique_ptr<File>> file = storage_->open(directory_ + "/" + job.info.file, OpenMode::kRead);
  if (!file.ok()) return file.status().is(Code::kNotFound) ? Status() : file.status();
  DARUMA_TRY_ASSIGN(const std::uint64_t size, (*file)->size());
  std::vector<LostExtent> extents = job.loss.extents;
  if (extents.empty() || job.loss.erases) extents = {{0, size}};
  Quarantine quarantine(*storage_, directory_ + "/quarantine", store_id_);
  for (const LostExtent& extent : extents) {
    const std::uint64_t end = std::min(size, extent.offset + extent.bytes);
    for (std::uint64_t at = extent.offset; at < end;) {
      std::string bytes(std::min(end - at, kEvidenceBytes), '\0');
      DARUMA_TRY_ASSIGN(const std::size_t got, (*file)->read(at, bytes));
      if (got == 0) break;
      bytes.resize(got);
      QuarantineEntry entry;
      entry.case_name = kCause;
      entry.file = job.info.file;
      entry.offset = at;
      entry.first_sequence = info.min_sequence;
      entry.last_sequence = info.max_sequence;
      entry.verdict = "corrupt";
      entry.wall_ns = clock_.wall_ns();
      if (quarantine.put(std::move(entry), bytes).kept != QuarantineEntry::Kept::kBytes) return quarantine.last_error();
      at += got;
    }
  }
  return {};
}

/// Takes the damaged run's seat: same job, index, level and coverage (catalogue.h, rule 4).
Status Engine::write_replacement(Rebuild& job) {
  const RunInfo& info = job.placed.info;
  RunIdentity identity;
  identity.store = store_id_;
  identity.number = next_file_.fetch_add(1, std::memory_order_relaxed);
  identity.keyspace = info.keyspace;
  identity.level = info.level;
  identity.job_id = info.job_id;
  identity.job_index = info.job_index;
  identity.job_last = info.job_last;
  identity.checkpoint_sequence = info.checkpoint_sequence;
  identity.prev_sequence = info.prev_sequence;
  identity.created_wall_ns = clock_.wall_ns();
  job.outputs.numbers.insert(identity.number);
  const std::string directory = directory_ + "/" + std::string(kRunDirectory);
  DARUMA_TRY_ASSIGN(std::unique_ptr<RunBuilder> builder, RunBuilder::create(*storage_, directory, identity));
  RebuildInput input;
  input.reader = job.damaged && !is_marker(info) ? job.damaged->reader.get() : nullptr;
  input.info = &info;
  input.erases_lost = job.loss.erases;
  for (const auto& source : job.sources) input.sources.push_back(source->reader.get());
  input.log = job.log.get();
  input.keys = job.found;
  input.stopping = [this] { return stopping(); };
  DARUMA_TRY(write_rebuilt(input, *builder));
  std::vector<LostKeys> lost = info.lost;
  for (const KeyRange& range : job.given_up)
    lost.push_back({range.begin, range.end, info.min_sequence, info.max_sequence});
  builder->set_lost(std::move(lost));
  DARUMA_TRY(add_output(*builder, job.supersedes, job.outputs));
  return storage_->sync_directory(directory);
}

Status Engine::publish_replacement(Rebuild& job) {
  const RunInfo& info = job.placed.info;
  const std::shared_ptr<LiveRun>& run = job.outputs.runs.front();
  DamageMap damage;
  if (const auto now = damage_now()) damage = *now;
  // What the whole file was blocked for at start gives way to what is really lost; what was accepted stays accepted.
  std::vector<DamageEntry> before = damage.entries();
  std::erase_if(before, [&](const DamageEntry& entry) { return !of_file(entry, job.info.file); });
  for (const KeyRange& range : job.given_up) {
    DamageEntry entry;
    entry.keyspace = info.keyspace;
    entry.keys = DamageEntry::Keys::kRange;
    entry.begin = range.begin;
    entry.end = range.end;
    entry.sequence_lo = info.min_sequence;
    entry.sequence_hi = hi_of_run(info.max_sequence);
    entry.cause = kCause;
    entry.file = job.info.file;
    const std::uint64_t id = damage.add(std::move(entry));
    std::erase_if(before, [&](const DamageEntry& old) { return old.id == id; });
    if (std::any_of(before.begin(), before.end(),
                    [&](const DamageEntry& old) { return old.accepted && within(range, old); }))
      (void)damage.accept(id);
    ++job.info.lost_ranges;
  }
  for (const DamageEntry& old : before) (void)damage.remove(old.id);

  Manifest next = next_generation();
  for (PlacedRun& placed : next.runs) {
    if (placed.info.number == info.number) placed.info = run->info;
  }
  next.damage.clear();
  damage.encode(next.damage);
  return publish_generation(std::move(next),
                            [this, old = info, run, shared = std::make_shared<const DamageMap>(damage)]()
                                NO_THREAD_SAFETY_ANALYSIS { install_replacement(old, run, shared); });
}

/// Run again from its beginning when memory was short.
void Engine::install_replacement(const RunInfo& old, const std::shared_ptr<LiveRun>& run,
                                 const std::shared_ptr<const DamageMap>& damage) {
  on_disk_[run->info.number] = run->info;
  live_.erase(old.number);
  if (!is_marker(run->info)) live_[run->info.number] = run;
  {
    MutexLock lock(write_mutex_);
    auto state = std::make_shared<State>(*current_);
    state->damage = damage;
    place_runs(*state, {old.keyspace});
    publish_state(std::move(state));
    if (old.keyspace == kCatalogKeyspace) take_names_again();
  }
  lost_runs_.erase(old.number);
  hurt_runs_.clear();  // those that could not be merged with it
  if (damage->empty() && no_writes_.ok()) read_only_.store(false, std::memory_order_relaxed);
}

}  // namespace daruma
