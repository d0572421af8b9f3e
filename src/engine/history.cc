// SPDX-License-Identifier: Apache-2.0
//
// The past: older generations that are kept so that a store can be reconstructed as it was (Options::history), and the
// start that does so.
//
// What must stay true: recovery never starts from the past, so nothing that a job relies on is in it; of generations
// between which there was a bulk load, the first that has it stays as long as an older one does, since no log leads
// over it.
#include <algorithm>

#include "base/status_macros.h"
#include "engine/jobs.h"
#include "engine/start.h"
#include "engine/timeline.h"
#include "snapshot/retention.h"

namespace daruma {

std::vector<const Manifest*> Engine::kept_generations() const {
  std::vector<const Manifest*> kept;
  kept.reserve(generations_.size() + past_generations_.size());
  for (const Manifest& generation : generations_) kept.push_back(&generation);
  for (const Manifest& generation : past_generations_) kept.push_back(&generation);
  return kept;
}

Sequence Engine::oldest_kept_sequence() const {
  const Sequence oldest = generations_.back().sequence;
  return past_generations_.empty() ? oldest : std::min(oldest, past_generations_.back().sequence);
}

std::uint64_t Engine::log_bytes_between(Sequence after, Sequence through) const {
  if (!wal_) return 0;
  std::uint64_t bytes = 0;
  for (const LiveSegment& segment : wal_->live_segments()) {
    if (segment.start_sequence > after && segment.start_sequence <= through) bytes += segment.disk_bytes();
  }
  return bytes;
}

/// Nothing is changed unless memory suffices for all of it.
void Engine::pass_into_history(std::size_t older) {
  if (generations_.size() <= kGenerationsKept) return;
  std::vector<Manifest> past;
  if (past_limits_.time.count() != 0) {
    past = past_generations_;
    for (std::size_t i = 1; i < generations_.size(); ++i) {
      if (i != older) past.push_back(generations_[i]);
    }
    std::sort(past.begin(), past.end(), [](const Manifest& a, const Manifest& b) { return a.number > b.number; });
  }
  past_generations_ = std::move(past);
  std::swap(generations_[1], generations_[older]);
  generations_.resize(kGenerationsKept);
}

/// Neighbours are apart by a quarter of the time or of the bytes: the log leads from each to the next, and what lies
/// between costs the runs that only it names. The oldest goes when the next one covers the time too, or there is not
/// the space.
void Engine::limit_history() {
  constexpr int kSteps = 4;
  const History& limits = past_limits_;
  const std::int64_t time_ns = std::chrono::nanoseconds(limits.time).count();
  if (time_ns == 0 || no_room_.load(std::memory_order_relaxed)) return past_generations_.clear();
  for (std::size_t i = past_generations_.size(); i-- > 0;) {  // oldest first
    const Manifest& newer = i > 0 ? past_generations_[i - 1] : generations_.back();
    const bool repeated = newer.sequence == past_generations_[i].sequence;
    const bool oldest = i + 1 == past_generations_.size();
    const bool needed =
        oldest || lacks_load(past_generations_[i + 1], past_generations_[i]) ||
        past_generations_[i].created_wall_ns - past_generations_[i + 1].created_wall_ns >= time_ns / kSteps ||
        log_bytes_between(past_generations_[i + 1].sequence, past_generations_[i].sequence) >= limits.bytes / kSteps;
    if (repeated || !needed) past_generations_.erase(past_generations_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  const std::int64_t since = clock_.wall_ns() - time_ns;
  while (!past_generations_.empty()) {
    const Manifest& next =
        past_generations_.size() > 1 ? past_generations_[past_generations_.size() - 2] : generations_.back();
    if (next.created_wall_ns > since && history_bytes() <= limits.bytes) break;
    past_generations_.pop_back();
  }
}

/// What would go if nothing but the past did.
std::uint64_t Engine::history_bytes() const {
  std::set<std::uint64_t> needed;
  for (const Manifest& generation : generations_) {
    for (const PlacedRun& run : generation.runs) needed.insert(run.info.number);
  }
  std::uint64_t bytes = past_generations_.empty()
                            ? 0
                            : log_bytes_between(past_generations_.back().sequence, generations_.back().sequence);
  for (const Manifest& generation : past_generations_) {
    for (const PlacedRun& run : generation.runs) {
      if (needed.insert(run.info.number).second) bytes += run.info.file_bytes;
    }
  }
  return bytes;
}

Status Engine::give_up_history() {
  MutexLock lock(checkpoint_mutex_);
  past_generations_.clear();
  return generations_.empty() ? Status() : release();
}

/// Later generations are taken for not yet written: the newest that is left is the nearest snapshot.
Status Engine::go_back(Start& start) {
  if (!target_.bounded()) return {};
  std::vector<Generation>& all = start.catalogue.generations;
  const auto is_later = [&](const Generation& generation) {
    return generation.manifest &&
           (generation.manifest->sequence > target_.sequence || generation.manifest->created_wall_ns > target_.wall_ns);
  };
  const Manifest* base = nullptr;
  for (const Generation& generation : all) {
    if (!base && generation.manifest && !is_later(generation)) base = &*generation.manifest;
  }
  for (const Generation& generation : all) {
    if (!is_later(generation)) continue;
    for (const PlacedRun& run : generation.manifest->runs) {
      const Sequence load = is_loaded(run.info) ? run.info.max_sequence : kMaxSequence;
      if (target_.by_sequence() && load <= target_.sequence && load > (base ? base->sequence : 0))
        return {Code::kNotFound,
                "the records of the bulk load at sequence " + std::to_string(load) +
                    " are in no snapshot at or before sequence " + std::to_string(target_.sequence),
                {.file = directory_, .sequence = target_.sequence},
                "take a target before " + std::to_string(load) + " or from " +
                    std::to_string(generation.manifest->sequence) + " on"};
    }
  }
  for (const Generation& generation : all) {
    if (!generation.manifest) continue;
    DARUMA_TRY_ASSIGN(const DamageMap damage, DamageMap::decode(generation.manifest->damage));
    for (const DamageEntry& entry : damage.entries()) {
      if (given_up_for_good(entry) && entry.sequence_lo <= target_.sequence) start.given_up.push_back(entry);
    }
    break;  // the newest knows of all
  }
  std::erase_if(all, is_later);
  return {};
}

/// After replay: whether there was a way to the target.
Status Engine::at_target(const Start& start) {
  if (!target_.bounded()) return {};
  const LogReplay& log = start.log;
  const Sequence base = snapshot_sequence_.load(std::memory_order_relaxed);
  const auto gap = std::find_if(log.lost.begin(), log.lost.end(), [&](const DamageEntry& entry) {
    return entry.sequence_lo == base + 1 && entry.cause == "log_missing";
  });
  if (gap != log.lost.end())
    return {Code::kNotFound,
            base == 0
                ? "the store's first snapshot is behind the target, and the log does not reach back to its first event"
                : "between the snapshot at sequence " + std::to_string(base) + " and the target events are missing",
            {.file = directory_ + "/" + gap->file, .sequence = gap->sequence_lo},
            base == 0 ? "kvctl timeline shows what can be reconstructed"
                      : "sequence " + std::to_string(base) + " itself can be reconstructed"};
  if (target_.by_sequence() && log.last < target_.sequence)
    return {Code::kNotFound,
            "the store ends with sequence " + std::to_string(log.last),
            {.file = directory_, .sequence = target_.sequence},
            "take a target at or before it"};
  return {};
}

namespace {

/// What the check says of the state as it is at a target.
struct Judged {
  Store::Opened opened;
  Status verdict;
};

}  // namespace

Result<Store::Opened> Engine::open_store_at(const std::string& directory, Options options,
                                            const Environment& environment, const RecoveryTarget& target,
                                            const StateCheck& check, IfInvalid if_invalid) {
  options.read_only = true;
  options.create_if_missing = false;
  const auto judge = [&](const RecoveryTarget& at) -> Result<Judged> {
    DARUMA_TRY_ASSIGN(Store::Opened opened, open_store(directory, options, environment, at));
    Status verdict = check ? check(opened.store) : Status();
    return Judged{std::move(opened), std::move(verdict)};
  };
  RecoveryTarget first = target;
  // What is in the ring alone was written at no known time, but before now.
  if (first.by_time() && first.wall_ns >= environment.clock->wall_ns()) first.wall_ns = RecoveryTarget().wall_ns;
  DARUMA_TRY_ASSIGN(Judged newest, judge(first));
  if (newest.verdict.ok()) return std::move(newest.opened);
  const Sequence invalid_at = newest.opened.report.last_sequence;
  const Status refused(
      newest.verdict.code(),
      "the state at sequence " + std::to_string(invalid_at) + " does not pass its check: " + newest.verdict.message(),
      newest.verdict.where(), newest.verdict.hint().empty() ? "take an earlier target" : newest.verdict.hint());
  if (if_invalid == IfInvalid::kRefuse) return refused;
  // Back in growing steps to one that passes, then between that and the oldest that does not.
  Sequence invalid = invalid_at;
  std::optional<Judged> valid;
  DARUMA_TRY_ASSIGN(const Timeline timeline, timeline_of(*environment.storage, directory));
  for (Sequence step = 1; !valid && invalid > timeline.earliest; step *= 2) {
    const Sequence at = invalid_at > timeline.earliest + step ? invalid_at - step : timeline.earliest;
    DARUMA_TRY_ASSIGN(Judged judged, judge(RecoveryTarget::at_sequence(at)));
    if (judged.verdict.ok())
      valid = std::move(judged);
    else
      invalid = at;
  }
  if (!valid) return refused;
  while (valid->opened.report.last_sequence + 1 < invalid) {
    const Sequence from = valid->opened.report.last_sequence;
    const Sequence at = from + (invalid - from) / 2;
    DARUMA_TRY_ASSIGN(Judged judged, judge(RecoveryTarget::at_sequence(at)));
    if (judged.verdict.ok())
      valid = std::move(judged);
    else
      invalid = at;
  }
  return std::move(valid->opened);
}

}  // namespace daruma
