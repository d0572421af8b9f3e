// SPDX-License-Identifier: Apache-2.0
//
// Compaction: runs of one keyspace merge into the next level. One at a time; writes, reads and checkpoints go on.
//
// What must stay true: the outputs are durable and read back before the manifest that names them; the inputs stay until
// no kept generation names them; killed at any point, the store has either, never both and never neither.
#include <algorithm>
#include <chrono>

#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "engine/jobs.h"
#include "engine/sources.h"
#include "io/memory.h"
#include "snapshot/compaction_picker.h"
#include "snapshot/merge.h"
#include "snapshot/retention.h"

namespace daruma {

struct Engine::Compaction {
  CompactionPick pick;
  std::vector<std::shared_ptr<LiveRun>> inputs;
  std::vector<std::uint64_t> supersedes;
  Sequence base = 0;             // of the generation that it started from
  bool keep_tombstones = false;  // damage may hide what they erase
  std::vector<LostKeys> lost;    // gaps of the inputs, carried along
  Outputs outputs;
  CompactionInfo info;
};

namespace {

/// Where the range erases of a merge fall into its outputs, which are cut between keys: each gets its part.
class ErasesInParts {
 public:
  explicit ErasesInParts(std::vector<RangeErase> erases) : erases_(std::move(erases)) {}
  [[nodiscard]] bool empty() const { return erases_.empty(); }
  /// The parts below `end` (nothing: all that is left), which then are gone.
  std::vector<RangeErase> take_below(const std::optional<std::string>& end) {
    std::vector<RangeErase> part;
    std::vector<RangeErase> rest;
    for (RangeErase& erase : erases_) {
      if (end && erase.begin >= *end) {
        rest.push_back(std::move(erase));
      } else if (end && (erase.end.empty() || erase.end > *end)) {
        part.push_back({erase.begin, *end, erase.sequence});
        rest.push_back({*end, std::move(erase.end), erase.sequence});
      } else {
        part.push_back(std::move(erase));
      }
    }
    erases_ = std::move(rest);
    return part;
  }

 private:
  std::vector<RangeErase> erases_;
};

/// Whether reads there still are.
bool blocked(const DamageMap* damage, const RunInfo& run, const LostKeys& gap) {
  return damage && damage->touches(run.keyspace, gap.begin, gap.end);
}

/// Tombstones stay as long as damage may hide what they erase.
bool keeps_tombstones(const DamageMap* damage) { return damage && !damage->empty(); }

/// Gaps of the inputs that still block reads.
void carry_gaps(const std::vector<RunInfo>& inputs, const DamageMap* damage, std::vector<LostKeys>& out) {
  for (const RunInfo& input : inputs) {
    for (const LostKeys& gap : input.lost) {
      if (blocked(damage, input, gap)) out.push_back(gap);
    }
  }
}

/// Those below `end` (null: all), which then are gone.
std::vector<LostKeys> take_gaps_below(std::vector<LostKeys>& gaps, const std::string* end) {
  std::vector<LostKeys> below;
  std::vector<LostKeys> rest;
  for (LostKeys& gap : gaps) {
    if (!end || gap.end <= *end) {
      below.push_back(std::move(gap));
    } else if (gap.begin >= *end) {
      rest.push_back(std::move(gap));
    } else {
      below.push_back({gap.begin, *end, gap.first, gap.last});
      rest.push_back({*end, std::move(gap.end), gap.first, gap.last});
    }
  }
  gaps = std::move(rest);
  return below;
}

}  // namespace

/// A run that turns out damaged is healed or rebuilt, and then it goes on.
Status Engine::compact(Keyspace keyspace) {
  DARUMA_TRY(checkpoint());
  MutexLock lock(compaction_mutex_);
  DARUMA_TRY(admit(Part::kCompaction));
  Status done = compact_everything(keyspace);
  if (done.is(Code::kCorruption)) {
    for (Result<bool> healed = true; healed.ok() && *healed;) healed = heal_one();
    done = compact_everything(keyspace);
  }
  if (!done.is(Code::kNotFound)) tell(Part::kCompaction, done);
  return done;
}

/// The older of the two kept generations becomes one of the same runs, at the same sequence: what only the one before
/// needed goes, and the log behind it.
Status Engine::trim() {
  DARUMA_TRY(checkpoint());
  MutexLock compaction_lock(compaction_mutex_);
  DARUMA_TRY(wal_->give_back_space());
  MutexLock lock(checkpoint_mutex_);
  DARUMA_TRY(settle());
  if (lost_runs_.empty() && generations_.size() >= kGenerationsKept) { DARUMA_TRY(repeat_generation()); }
  past_generations_.clear();
  DARUMA_TRY(release());
  arena_blocks_->clear();
  release_free_memory();  // of all that this took
  return {};
}

/// What is damaged is left out, and told at the end.
Status Engine::compact_everything(Keyspace keyspace) {
  const auto exists = [&] {
    const EpochGuard guard;
    return keyspace.id() != kCatalogKeyspace && state_.load(std::memory_order_seq_cst)->find(keyspace.id());
  };
  if (!exists()) return {Code::kNotFound, "keyspace " + std::to_string(keyspace.id()) + " does not exist"};
  std::vector<CompactionPick> picks;
  {
    MutexLock lock(checkpoint_mutex_);
    const std::shared_ptr<const DamageMap> damage = damage_now();
    const auto gives_back = [&](const RunInfo& run) {
      return (run.tombstones + run.erases > 0 && !keeps_tombstones(damage.get())) ||
             std::any_of(run.lost.begin(), run.lost.end(),
                         [&](const LostKeys& gap) { return !blocked(damage.get(), run, gap); });
    };
    picks = pick_everything(generations_.front().runs, compaction_, keyspace.id(), gives_back);
  }
  Status damaged;
  for (CompactionPick& pick : picks) {
    if (!exists()) break;  // any more
    Compaction job;
    job.pick = std::move(pick);
    Status done = run_compaction(job);
    if (!done.ok() && !done.is(Code::kCorruption) && !done.is(Code::kDataLoss)) return done;
    if (damaged.ok()) damaged = std::move(done);
  }
  return damaged;
}

/// True when there was one to do.
Result<bool> Engine::compact_one() {
  Compaction job;
  {
    MutexLock lock(checkpoint_mutex_);
    if (generations_.empty()) return false;
    std::optional<CompactionPick> pick =
        pick_compaction(generations_.front().runs, compaction_, hurt_runs_, compacted_last_);
    if (!pick) return false;
    job.pick = std::move(*pick);
  }
  compacted_last_ = job.pick.keyspace;
  DARUMA_TRY(run_compaction(job));
  return true;
}

Status Engine::run_compaction(Compaction& job) {
  const std::int64_t began = clock_.monotonic_ns();
  job.info.keyspace = job.pick.keyspace;
  job.info.from_level = job.pick.input_level;
  job.info.to_level = job.pick.output_level;
  job.info.runs_in = job.pick.inputs.size();
  job.info.bytes_in = job.pick.input_bytes;
  job.info.moved = job.pick.trivial_move;
  const auto work = [&]() REQUIRES(compaction_mutex_) -> Status {
    {
      MutexLock lock(checkpoint_mutex_);
      DARUMA_TRY(settle());
      if (job.pick.trivial_move) return move_runs(job);
      std::vector<RunInfo> inputs;
      for (const std::uint64_t number : job.pick.inputs) {
        const auto run = live_.find(number);
        if (run == live_.end()) {  // lost at start: its keys are in the damage map until it is rebuilt
          hurt_runs_.insert(number);
          return {};
        }
        job.inputs.push_back(run->second);
        inputs.push_back(run->second->info);
      }
      std::set<std::uint64_t> on_disk;
      for (const auto& [number, info] : on_disk_) on_disk.insert(number);
      job.supersedes = supersedes_for(inputs, on_disk);
      job.base = generations_.front().sequence;
      const std::shared_ptr<const DamageMap> damage = damage_now();
      job.keep_tombstones = keeps_tombstones(damage.get());
      carry_gaps(inputs, damage.get(), job.lost);
    }
    Status merged = or_out_of_memory([&]() REQUIRES(compaction_mutex_) { return merge_runs(job); });
    MutexLock lock(checkpoint_mutex_);
    if (merged.ok()) return install_compaction(job);
    if (merged.is(Code::kCorruption) || merged.is(Code::kDataLoss)) {  // of an input, or of an output read back
      for (const auto& input : job.inputs) {
        if (input->reader->lost()) hurt_runs_.insert(input->info.number);
      }
    }
    return give_up(job.outputs, std::move(merged));
  };
  job.info.status = or_out_of_memory(work);
  job.info.duration_ns = clock_.monotonic_ns() - began;
  if (job.info.status.ok()) {
    compactions_.fetch_add(1, std::memory_order_relaxed);
    compacted_bytes_.fetch_add(job.outputs.bytes, std::memory_order_relaxed);
  }
  if (options_.listener && !stopping()) options_.listener->on_compaction(job.info);
  return job.info.status;
}

/// Nothing overlaps the runs on their way down: only the manifest changes.
Status Engine::move_runs(Compaction& job) {
  Manifest next = next_generation();
  for (PlacedRun& placed : next.runs) {
    if (std::binary_search(job.pick.inputs.begin(), job.pick.inputs.end(), placed.info.number))
      placed.level = job.pick.output_level;
  }
  DARUMA_TRY(publish_generation(
      std::move(next), [this, keyspace = job.pick.keyspace]() NO_THREAD_SAFETY_ANALYSIS { put_into_use({keyspace}); }));
  return finish_install();
}

Status Engine::merge_runs(Compaction& job) {
  MergeSettings settings;
  settings.bottom = job.pick.bottom;
  settings.keep_tombstones = job.keep_tombstones;
  std::vector<std::unique_ptr<MergeSource>> sources;
  for (const auto& run : job.inputs) {
    std::unique_ptr<EntrySource> source = run_source(*run->reader);
    source->seek_first();
    sources.push_back(std::move(source));
    if (run->info.erases == 0) continue;
    DARUMA_TRY_ASSIGN(std::vector<RangeErase> erases, run->reader->range_erases());
    for (RangeErase& erase : erases) settings.erases.push_back(std::move(erase));
  }
  Merge merge(std::move(sources), std::move(settings));
  DARUMA_TRY(merge.status());
  ErasesInParts erases(merge.erases());

  const std::int64_t began = clock_.monotonic_ns();
  const std::uint64_t first_number = next_file_.fetch_add(1, std::memory_order_relaxed);
  RunIdentity identity;
  identity.store = store_id_;
  identity.number = first_number;
  identity.keyspace = job.pick.keyspace;
  identity.level = job.pick.output_level;
  identity.job_id = first_number;
  identity.checkpoint_sequence = job.base;
  for (bool last = false; !last; ++identity.job_index) {
    if (identity.job_index > 0) identity.number = next_file_.fetch_add(1, std::memory_order_relaxed);
    identity.created_wall_ns = clock_.wall_ns();
    job.outputs.numbers.insert(identity.number);
    DARUMA_TRY_ASSIGN(std::unique_ptr<RunBuilder> builder,
                      RunBuilder::create(*storage_, directory_ + "/" + std::string(kRunDirectory), identity));
    std::string key;
    bool full = false;
    for (; merge.valid(); merge.next()) {
      if (stopping()) return {Code::kAborted, "the store is being abandoned"};
      if (full && merge.key() != key) break;  // never between the versions of one key
      DARUMA_TRY(builder->add(merge.key(), merge.sequence(), merge.kind(), merge.value()));
      if (!full && builder->estimated_bytes() >= compaction_.output_run_bytes) {
        full = true;
        key.assign(merge.key());
      }
    }
    DARUMA_TRY(merge.status());
    last = !merge.valid();
    const std::string end(last ? std::string_view() : merge.key());
    for (RangeErase& erase : erases.take_below(last ? std::nullopt : std::optional(end)))
      builder->add_range_erase(std::move(erase));
    builder->set_lost(take_gaps_below(job.lost, last ? nullptr : &end));
    if (last) builder->mark_job_last();
    DARUMA_TRY(add_output(*builder, job.supersedes, job.outputs));
    pace(began, job.outputs.bytes);
  }
  return storage_->sync_directory(directory_ + "/" + std::string(kRunDirectory));
}

Status Engine::install_compaction(Compaction& job) {
  bool dropped = false;
  const Status published = or_out_of_memory([&]() REQUIRES(checkpoint_mutex_) -> Status {
    DARUMA_TRY(finish_install());
    Manifest next = next_generation();
    const std::set<std::uint64_t> inputs(job.pick.inputs.begin(), job.pick.inputs.end());
    const std::size_t gone =
        std::erase_if(next.runs, [&](const PlacedRun& run) { return inputs.contains(run.info.number); });
    dropped = gone != inputs.size();  // the keyspace, meanwhile
    if (dropped) return {};
    std::set<std::uint64_t> on_disk;
    for (const auto& [number, info] : on_disk_) on_disk.insert(number);
    for (const auto& run : job.outputs.runs) next.runs.push_back({run->info, job.pick.output_level});
    const std::vector<std::uint64_t> markers = markers_to_drop(next.runs, on_disk);
    std::erase_if(next.runs, [&](const PlacedRun& run) {
      return std::find(markers.begin(), markers.end(), run.info.number) != markers.end();
    });
    auto done = std::make_shared<Compaction>();
    done->pick = job.pick;
    done->outputs = job.outputs;
    return publish_generation(std::move(next),
                              [this, done = std::move(done)]() NO_THREAD_SAFETY_ANALYSIS { replace_inputs(*done); });
  });
  if (!published.ok() || dropped) return give_up(job.outputs, published);
  job.info.runs_out = job.outputs.runs.size();
  job.info.bytes_out = job.outputs.bytes;
  DARUMA_TRY(finish_install());
  return release();
}

void Engine::replace_inputs(const Compaction& job) {
  for (const auto& run : job.outputs.runs) {
    on_disk_[run->info.number] = run->info;
    live_[run->info.number] = run;
  }
  for (const std::uint64_t number : job.pick.inputs) live_.erase(number);
  put_into_use({job.pick.keyspace});
}

/// Sleeps while more was written than the limit allows. Without threads there is nobody to make room for.
void Engine::pace(std::int64_t began, std::uint64_t bytes) const {
  if (options_.compaction_bytes_per_second == 0 || !threads_) return;
  const double due_s = static_cast<double>(bytes) / static_cast<double>(options_.compaction_bytes_per_second);
  const std::int64_t until = began + static_cast<std::int64_t>(due_s * 1e9);
  while (!stopping() && clock_.monotonic_ns() < until) std::this_thread::sleep_for(std::chrono::milliseconds(2));
}

}  // namespace daruma
