// SPDX-License-Identifier: Apache-2.0
//
// Makes runs whole again that a read found hurt. Readers have had their right answer already; what is left to do is
// that the next fault does not meet the one before.
//
// What must stay true: the healed file takes the damaged one's name only while the run is in use, so that a run which
// retention removed never comes back.
#include "base/status_macros.h"
#include "engine/jobs.h"
#include "run/run_heal.h"
#include "snapshot/retention.h"

namespace daruma {

/// Each time after a longer rest: a device that refuses part of a file may come back.
void Engine::retry_later(std::uint64_t run, const Status& why) {
  constexpr CircuitBreaker::Settings kSettings{.failures = 1, .first_rest_ns = 10'000'000'000};
  Random random(run);
  unhealable_runs_.try_emplace(run, kSettings).first->second.failed(why, clock_.monotonic_ns(), random);
}

bool Engine::rests(std::uint64_t run) {
  const auto breaker = unhealable_runs_.find(run);
  return breaker != unhealable_runs_.end() && !breaker->second.admit(clock_.monotonic_ns()).ok();
}

/// One that fails keeps no other waiting. True when there was one to do; else the first failure.
Result<bool> Engine::heal_one() {
  std::vector<RunInfo> hurt;
  {
    MutexLock lock(checkpoint_mutex_);
    for (const auto& [number, run] : live_) {
      if ((run->reader->hurt() || run->reader->lost()) && !lost_runs_.contains(number) && !rests(number))
        hurt.push_back(run->info);
    }
  }
  Status first;
  for (const RunInfo& run : hurt) {
    if (stopping()) return Status(Code::kAborted, "the store is being abandoned");
    HealInfo info;
    const std::int64_t began = clock_.monotonic_ns();
    info.file = std::string(kRunDirectory) + "/" + run_name(run.number);
    info.bytes = run.file_bytes;
    info.status = heal(run);
    info.duration_ns = clock_.monotonic_ns() - began;
    const bool lost = info.status.is(Code::kCorruption) || info.status.is(Code::kNotFound);
    if (info.status.ok()) {
      healed_.fetch_add(1, std::memory_order_relaxed);
      unhealable_runs_.erase(run.number);
    } else if (lost) {
      MutexLock lock(checkpoint_mutex_);
      lost_runs_.insert(run.number);
    }
    if (options_.listener && !stopping()) options_.listener->on_heal(info);
    if (info.status.ok() || lost) return true;
    if (first.ok()) first = info.status;
  }
  Result<bool> rebuilt = rebuild_one();
  if (first.ok() || (rebuilt.ok() && *rebuilt)) return rebuilt;
  return first;
}

Status Engine::heal(const RunInfo& hurt) {
  const std::string directory = directory_ + "/" + std::string(kRunDirectory);
  DARUMA_TRY(prepare_healed_run(*storage_, directory, store_id_, hurt.number));
  MutexLock lock(checkpoint_mutex_);
  const auto kept = on_disk_.find(hurt.number);
  if (kept == on_disk_.end()) {  // replaced meanwhile
    return storage_->remove(directory + "/" + run_name(hurt.number) + std::string(kTemporarySuffix));
  }
  DARUMA_TRY(publish_prepared(*storage_, directory, run_name(hurt.number)));
  const auto live = live_.find(hurt.number);
  if (live == live_.end()) return {};
  DARUMA_TRY_ASSIGN(live->second, open_run(hurt));
  hurt_runs_.erase(hurt.number);
  put_into_use({hurt.keyspace});
  if (hurt.keyspace == kCatalogKeyspace) {
    MutexLock names(write_mutex_);
    take_names_again();
  }
  return {};
}

}  // namespace daruma
