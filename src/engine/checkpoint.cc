// SPDX-License-Identifier: Apache-2.0
//
// Checkpoint: all keyspaces' memtables, frozen at one sequence, become runs; a manifest names them; the log behind the
// older kept generation is released. Killed at any point, the store recovers from the generation before.
#include "base/assert.h"
#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "engine/jobs.h"
#include "engine/sources.h"
#include "snapshot/merge.h"
#include "snapshot/retention.h"

namespace daruma {

/// What one checkpoint writes: the state right after the freeze, and the sequence it was frozen at.
struct Engine::Frozen {
  std::shared_ptr<const State> state;
  Sequence sequence = 0;
  std::uint64_t replay_bytes = 0;  // that a start need not build again once this is published
};

bool Engine::memtables_full() const {
  return memtable_bytes_.load(std::memory_order_relaxed) >= options_.memtable_bytes / 4 * 3 ||
         replay_bytes_.load(std::memory_order_relaxed) >= checkpoint_at_.load(std::memory_order_relaxed);
}
/// Also when the log healed as it was read, since what replaces it is a snapshot, or stands once where it should twice;
/// and when there are many segments with little in each: every start begins one, so lives that end early would
/// otherwise pile up log that no memtable shows.
bool Engine::checkpoint_due() const {
  constexpr std::size_t kSegmentsSpare = 8;
  return shares_filling() || memtables_full() || log_hurt_.load(std::memory_order_relaxed) ||
         wal_->once_through() > snapshot_sequence_.load(std::memory_order_relaxed) ||
         wal_->segments_begun_after(snapshot_sequence_.load(std::memory_order_relaxed)) >
             kSegmentsSpare + 2 * options_.memtable_bytes / options_.segment_bytes;
}
bool Engine::memtables_overfull() const {
  return memtable_bytes_.load(std::memory_order_relaxed) > options_.memtable_bytes / 8 * 11 ||
         replay_bytes_.load(std::memory_order_relaxed) > wait_at_.load(std::memory_order_relaxed);
}
/// More than there can be while the shares of keyspaces are no more than all of it.
bool Engine::memtables_beyond_shares() const {
  return memtable_bytes_.load(std::memory_order_relaxed) > options_.memtable_bytes * 3;
}

Status Engine::checkpoint() { return checkpoint_if(&Engine::always); }

Status Engine::keep_checkpointed() {
  if (checkpoint_due()) return checkpoint_if(&Engine::checkpoint_due);
  tell(Part::kCheckpoint, {});  // nothing is left to do that failed before
  return {};
}

/// `due` is asked again once the lock is held: whoever had it may have done the work.
Status Engine::checkpoint_if(bool (Engine::*due)() const) {
  DARUMA_TRY(may_write());
  CheckpointInfo info;
  const std::int64_t began = clock_.monotonic_ns();
  {
    MutexLock lock(checkpoint_mutex_);
    if (!(this->*due)()) return {};
    DARUMA_TRY(admit(Part::kCheckpoint));
    info.status = or_out_of_memory([&]() REQUIRES(checkpoint_mutex_) { return checkpoint_locked(info); });
    if (info.status.ok()) log_hurt_.store(false, std::memory_order_relaxed);
  }
  tell(Part::kCheckpoint, info.status);
  info.duration_ns = clock_.monotonic_ns() - began;
  if (options_.listener && !stopping()) options_.listener->on_checkpoint(info);
  return info.status;
}

Status Engine::checkpoint_locked(CheckpointInfo& info) {
  DARUMA_TRY(settle());
  DARUMA_TRY_ASSIGN(Frozen frozen, freeze());
  info.sequence = frozen.sequence;
  if (frozen.sequence == snapshot_sequence_.load(std::memory_order_relaxed) && !generations_.empty()) return {};
  DARUMA_TRY(wal_->wait_durable(frozen.sequence));
  const auto outputs = std::make_shared<Outputs>();
  const Status published = or_out_of_memory([&]() REQUIRES(checkpoint_mutex_) -> Status {
    DARUMA_TRY(flush(frozen, *outputs));
    Manifest next = next_generation();
    next.sequence = frozen.sequence;
    std::erase_if(next.runs, [&](const PlacedRun& run) { return !frozen.state->find(run.info.keyspace); });  // dropped
    for (const auto& run : outputs->runs) next.runs.push_back({run->info, 0});
    next.catalog = catalog_at(*frozen.state->find(kCatalogKeyspace), next.runs);
    DamageMap damage = frozen.state->damage ? *frozen.state->damage : DamageMap();
    // What the generations that are kept beside the next one could bring back must stay known, and what the log still
    // holds: the stream tells it as lost.
    if (!generations_.empty()) {
      Sequence forgotten = oldest_kept_sequence();
      for (const LiveSegment& segment : wal_->live_segments())
        forgotten = std::min(forgotten, std::max<Sequence>(segment.start_sequence, 1) - 1);
      damage.forget_accepted(forgotten);
    }
    next.damage.clear();
    damage.encode(next.damage);
    return publish_generation(
        std::move(next), [this, frozen, outputs]() NO_THREAD_SAFETY_ANALYSIS { install_checkpoint(frozen, *outputs); });
  });
  if (!published.ok()) return give_up(*outputs, published);
  info.runs = outputs->runs.size();
  info.bytes = outputs->bytes;
  DARUMA_TRY(finish_install());
  frozen.state.reset();  // or its memtables would stay beside those that are filled meanwhile
  return release();
}

/// Run again from its beginning when memory was short: what counts comes after all that may fail.
void Engine::install_checkpoint(const Frozen& frozen, const Outputs& outputs) {
  std::set<std::uint32_t> changed;
  for (const auto& run : outputs.runs) {
    changed.insert(run->info.keyspace);
    on_disk_[run->info.number] = run->info;
    live_[run->info.number] = run;
  }
  {
    MutexLock lock(write_mutex_);
    auto state = std::make_shared<State>(*current_);
    std::uint64_t released = 0;
    for (auto& keyspace : state->keyspaces) {
      const KeyspaceState* then = frozen.state->find(keyspace->id);
      if (!then || then->frozen.empty()) continue;
      auto without = std::make_shared<KeyspaceState>(*keyspace);
      for (const auto& memtable : then->frozen) {
        released += memtable->bytes();
        std::erase(without->frozen, memtable);
      }
      keyspace = std::move(without);
    }
    place_runs(*state, changed);
    publish_state(std::move(state));
    memtable_bytes_.fetch_sub(released, std::memory_order_relaxed);
    replay_bytes_.fetch_sub(frozen.replay_bytes, std::memory_order_relaxed);
  }
  std::erase_if(live_, [&](const auto& entry) { return !frozen.state->find(entry.second->info.keyspace); });
  snapshot_catalog_ = generations_.front().catalog;
  snapshot_sequence_.store(frozen.sequence, std::memory_order_relaxed);
  checkpoints_.fetch_add(1, std::memory_order_relaxed);
}

/// The active memtables join those that an earlier attempt could not flush.
Result<Engine::Frozen> Engine::freeze() {
  MutexLock lock(write_mutex_);
  DARUMA_TRY(place_unplaced());  // the snapshot will say that it holds all up to the last
  auto state = std::make_shared<State>(*current_);
  for (auto& keyspace : state->keyspaces) {
    if (!keyspace->active) continue;
    auto changed = std::make_shared<KeyspaceState>(*keyspace);
    changed->frozen.insert(changed->frozen.begin(), std::move(changed->active));
    changed->active = nullptr;
    keyspace = std::move(changed);
  }
  publish_state(state);
  return Frozen{state, last_, replay_bytes_.load(std::memory_order_relaxed)};
}

/// One run a keyspace. Views keep their memtables alive themselves, so of each key only the newest version goes on.
Status Engine::flush(const Frozen& frozen, Outputs& outputs) {
  std::vector<const KeyspaceState*> work;
  for (const auto& keyspace : frozen.state->keyspaces) {
    if (!keyspace->frozen.empty()) work.push_back(keyspace.get());
  }
  // Every checkpoint leaves a run that tells its sequence, if only a marker: the chain must have no gap.
  if (work.empty()) work.push_back(frozen.state->find(kCatalogKeyspace));
  std::uint64_t job = 0;
  for (std::size_t i = 0; i < work.size(); ++i) {
    MergeSettings settings;
    std::vector<std::unique_ptr<MergeSource>> sources;
    for (const auto& memtable : work[i]->frozen) {
      std::unique_ptr<EntrySource> source = memtable_source(*memtable);
      source->seek_first();
      sources.push_back(std::move(source));
      for (RangeErase& erase : memtable->range_erases()) settings.erases.push_back(std::move(erase));
    }
    RunIdentity identity;
    identity.store = store_id_;
    identity.number = next_file_.fetch_add(1, std::memory_order_relaxed);
    outputs.numbers.insert(identity.number);
    if (i == 0) job = identity.number;
    identity.keyspace = work[i]->id;
    identity.job_id = job;
    identity.job_index = static_cast<std::uint32_t>(i);
    identity.job_last = i + 1 == work.size();
    identity.checkpoint_sequence = frozen.sequence;
    identity.prev_sequence = snapshot_sequence_.load(std::memory_order_relaxed);
    identity.created_wall_ns = clock_.wall_ns();
    DARUMA_TRY_ASSIGN(std::unique_ptr<RunBuilder> builder,
                      RunBuilder::create(*storage_, directory_ + "/" + std::string(kRunDirectory), identity));
    Merge merge(std::move(sources), std::move(settings));
    const std::string component = "keyspace " + work[i]->name;
    Status added = failpoint("flush " + component);
    if (added.ok()) added = failpoint("flush");
    for (; added.ok() && merge.valid(); merge.next()) {
      if (stopping()) return {Code::kAborted, "the store is being abandoned"};
      added = builder->add(merge.key(), merge.sequence(), merge.kind(), merge.value());
    }
    if (added.is(Code::kCorruption)) report_broken(component, added);
    DARUMA_TRY(added);
    DARUMA_TRY(merge.status());
    for (const RangeErase& erase : merge.erases()) builder->add_range_erase(erase);
    DARUMA_TRY(add_output(*builder, {}, outputs));
  }
  return storage_->sync_directory(directory_ + "/" + std::string(kRunDirectory));
}

/// Forgets what no kept generation needs, in the order that retention.h gives.
Status Engine::release() {
  unclean_.store(true, std::memory_order_relaxed);  // until all of it is done
  // While a run is to be rebuilt, every generation may be what it is rebuilt from.
  if (generations_.size() > kGenerationsKept && lost_runs_.empty()) pass_into_history(older_to_keep(generations_));
  limit_history();
  RetentionInput input;
  input.kept = kept_generations();
  DARUMA_TRY_ASSIGN(const std::vector<DirectoryEntry> manifests,
                    storage_->list(directory_ + "/" + std::string(kManifestDirectory)));
  for (const DirectoryEntry& entry : manifests) {
    if (const std::optional<std::uint64_t> number = manifest_number(entry.name))
      input.manifests_on_disk.insert(*number);
  }
  for (bool more = true; more;) {
    input.runs_on_disk.clear();
    for (const auto& [number, info] : on_disk_) input.runs_on_disk.push_back(info);
    const RetentionPlan plan = plan_retention(input);
    DARUMA_TRY(apply_retention(*storage_, directory_, plan));
    for (const std::uint64_t number : plan.remove_manifests) input.manifests_on_disk.erase(number);
    for (const std::uint64_t number : plan.remove_runs) on_disk_.erase(number);
    more = !plan.remove_runs.empty() && !plan.wait_runs.empty();
    if (more || generations_.size() < kGenerationsKept) continue;
    DARUMA_TRY(failpoint("log retire"));
    DARUMA_TRY(wal_->retire_below(plan.keep_log_from));
  }
  untidy_ = false;
  if (unsettled_runs_.empty() && unsettled_manifests_.empty()) unclean_.store(false, std::memory_order_relaxed);
  return {};
}

}  // namespace daruma
