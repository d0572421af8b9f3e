// SPDX-License-Identifier: Apache-2.0
//
// Checkpoint: all keyspaces' memtables, frozen at one sequence, become runs; a manifest names them; the log behind the
// older kept generation is released. Killed at any point, the store recovers from the generation before.
#include "base/assert.h"
#include "base/status_macros.h"
#include "engine/engine.h"
#include "engine/sources.h"
#include "run/run_builder.h"
#include "run/run_format.h"
#include "snapshot/merge.h"
#include "snapshot/retention.h"

namespace daruma {

/// What one checkpoint writes: the state right after the freeze, and the sequence it was frozen at.
struct Engine::Frozen {
  std::shared_ptr<const State> state;
  Sequence sequence = 0;
};

Status Engine::checkpoint() {
  MutexLock lock(checkpoint_mutex_);
  return checkpoint_locked();
}

Status Engine::checkpoint_locked() {
  const Frozen frozen = freeze();
  if (frozen.sequence == snapshot_sequence_.load(std::memory_order_relaxed) && !generations_.empty()) return {};
  DARUMA_TRY(wal_->wait_durable(frozen.sequence));
  DARUMA_TRY_ASSIGN(const auto runs, flush(frozen));

  Manifest next;
  next.store = store_id_;
  next.number = next_manifest_;
  next.sequence = frozen.sequence;
  next.durable_sequence = wal_->durable_sequence();
  next.next_file_number = next_file_;
  next.next_segment = wal_->live_segments().empty() ? 1 : wal_->live_segments().back().number + 1;
  next.created_wall_ns = clock_.wall_ns();
  if (!generations_.empty()) {
    next.previous_number = generations_.front().number;
    next.previous_hash = manifest_hash(generations_.front());
    for (const PlacedRun& placed : generations_.front().runs) {
      if (frozen.state->find(placed.info.keyspace))
        next.runs.push_back(placed);  // those of dropped keyspaces are left out
    }
  }
  for (const auto& run : runs) next.runs.push_back({run->info, 0});
  if (frozen.state->damage) frozen.state->damage->encode(next.damage);
  DARUMA_TRY(publish_manifest(*storage_, directory_, next));
  ++next_manifest_;
  generations_.insert(generations_.begin(), std::move(next));
  install(frozen, runs);
  snapshot_sequence_.store(frozen.sequence, std::memory_order_relaxed);
  checkpoints_.fetch_add(1, std::memory_order_relaxed);
  return release();
}

Engine::Frozen Engine::freeze() {
  MutexLock lock(write_mutex_);
  auto state = std::make_shared<State>(*current_);
  for (auto& keyspace : state->keyspaces) {
    if (!keyspace->active) continue;
    auto changed = std::make_shared<KeyspaceState>(*keyspace);
    changed->frozen.insert(changed->frozen.begin(), std::move(changed->active));
    changed->active = nullptr;
    keyspace = std::move(changed);
  }
  publish_state(state);
  return {state, last_};
}

std::vector<Sequence> Engine::pinned_sequences() const {
  MutexLock lock(views_mutex_);
  return {views_.begin(), views_.end()};
}

/// One run a keyspace, read back and verified before anyone relies on it.
Result<std::vector<std::shared_ptr<LiveRun>>> Engine::flush(const Frozen& frozen) {
  std::vector<const KeyspaceState*> work;
  for (const auto& keyspace : frozen.state->keyspaces) {
    if (!keyspace->frozen.empty()) work.push_back(keyspace.get());
  }
  const std::vector<Sequence> pinned = pinned_sequences();
  const std::uint64_t job = next_file_;
  std::vector<std::shared_ptr<LiveRun>> runs;
  for (std::size_t i = 0; i < work.size(); ++i) {
    MergeSettings settings;
    settings.pinned = pinned;
    std::vector<std::unique_ptr<MergeSource>> sources;
    for (const auto& memtable : work[i]->frozen) {
      std::unique_ptr<EntrySource> source = memtable_source(*memtable);
      source->seek_first();
      sources.push_back(std::move(source));
      for (RangeErase& erase : memtable->range_erases()) settings.erases.push_back(std::move(erase));
    }
    RunIdentity identity;
    identity.store = store_id_;
    identity.number = next_file_++;
    identity.keyspace = work[i]->id;
    identity.job_id = job;
    identity.job_index = static_cast<std::uint32_t>(i);
    identity.job_last = i + 1 == work.size();
    identity.checkpoint_sequence = frozen.sequence;
    identity.prev_sequence = snapshot_sequence_.load(std::memory_order_relaxed);
    identity.created_wall_ns = clock_.wall_ns();
    DARUMA_TRY_ASSIGN(const std::unique_ptr<RunBuilder> builder,
                      RunBuilder::create(*storage_, directory_ + "/" + std::string(kRunDirectory), identity));
    Merge merge(std::move(sources), std::move(settings));
    for (; merge.valid(); merge.next())
      DARUMA_TRY(builder->add(merge.key(), merge.sequence(), merge.kind(), merge.value()));
    DARUMA_TRY(merge.status());
    for (const RangeErase& erase : merge.erases()) builder->add_range_erase(erase);
    DARUMA_TRY_ASSIGN(const RunInfo info, builder->finish({}));
    DARUMA_TRY(builder->publish(/*sync_directory=*/false));
    DARUMA_TRY_ASSIGN(std::shared_ptr<LiveRun> run, open_run(info));
    DARUMA_TRY_ASSIGN(const RunReader::Verified verified, run->reader->verify());
    DARUMA_TRY(verified.status());
    runs.push_back(std::move(run));
  }
  DARUMA_TRY(storage_->sync_directory(directory_ + "/" + std::string(kRunDirectory)));
  return runs;
}

Result<std::shared_ptr<LiveRun>> Engine::open_run(const RunInfo& info) {
  auto run = std::make_shared<LiveRun>();
  run->info = info;
  DARUMA_TRY_ASSIGN(
      run->reader,
      RunReader::open(*storage_, directory_ + "/" + std::string(kRunDirectory) + "/" + run_name(info.number), store_id_,
                      info.number, cache_, info));
  return run;
}

/// The frozen memtables give way to their runs. What was frozen is behind what was written meanwhile, and stays so.
void Engine::install(const Frozen& frozen, const std::vector<std::shared_ptr<LiveRun>>& runs) {
  MutexLock lock(write_mutex_);
  auto state = std::make_shared<State>(*current_);
  std::uint64_t released = 0;
  for (auto& keyspace : state->keyspaces) {
    const KeyspaceState* then = frozen.state->find(keyspace->id);
    if (!then || then->frozen.empty()) continue;
    auto changed = std::make_shared<KeyspaceState>(*keyspace);
    for (const auto& memtable : then->frozen) {
      released += memtable->bytes();
      std::erase(changed->frozen, memtable);
    }
    for (const auto& run : runs) {
      if (run->info.keyspace == keyspace->id) changed->runs.insert(changed->runs.begin(), run);
    }
    keyspace = std::move(changed);
  }
  memtable_bytes_.fetch_sub(std::min(released, memtable_bytes_.load()), std::memory_order_relaxed);
  publish_state(std::move(state));
}

Status Engine::release() {
  if (generations_.size() > kGenerationsKept) generations_.resize(kGenerationsKept);
  RetentionInput input;
  for (const Manifest& manifest : generations_) input.kept.push_back(&manifest);
  DARUMA_TRY_ASSIGN(const std::vector<DirectoryEntry> manifests,
                    storage_->list(directory_ + "/" + std::string(kManifestDirectory)));
  for (const DirectoryEntry& entry : manifests) {
    const std::optional<std::uint64_t> number = manifest_number(entry.name);
    // Older than every kept one: superseded. Newer ones, and rejected ones between, are evidence.
    if (number && *number < generations_.back().number) input.manifests_on_disk.insert(*number);
  }
  for (const Manifest& manifest : generations_) input.manifests_on_disk.insert(manifest.number);
  std::set<std::uint64_t> named;
  for (const Manifest& manifest : generations_) {
    for (const PlacedRun& placed : manifest.runs) {
      if (named.insert(placed.info.number).second) input.runs_on_disk.push_back(placed.info);
    }
  }
  const RetentionPlan plan = plan_retention(input);
  DARUMA_TRY(apply_retention(*storage_, directory_, plan));
  if (generations_.size() < kGenerationsKept) return {};
  return wal_->retire_below(plan.keep_log_from);
}

Status Engine::step() {
  while (wal_->poll()) {}
  DARUMA_TRY(wal_->step_idle());
  if (memtable_bytes_.load(std::memory_order_relaxed) < options_.memtable_bytes) return {};
  return checkpoint();
}

}  // namespace daruma
