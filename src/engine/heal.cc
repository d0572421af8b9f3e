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

/// True when there was one to do.
Result<bool> Engine::heal_one() {
  HealInfo info;
  std::shared_ptr<LiveRun> hurt;
  {
    MutexLock lock(checkpoint_mutex_);
    for (const auto& [number, run] : live_) {
      if (run->reader->hurt() && !unhealable_runs_.contains(number)) hurt = run;
    }
  }
  if (!hurt) return false;
  const std::int64_t began = clock_.monotonic_ns();
  info.file = std::string(kRunDirectory) + "/" + run_name(hurt->info.number);
  info.bytes = hurt->info.file_bytes;
  info.status = heal(*hurt);
  info.duration_ns = clock_.monotonic_ns() - began;
  if (info.status.ok()) {
    healed_.fetch_add(1, std::memory_order_relaxed);
  } else if (info.status.is(Code::kCorruption)) {
    unhealable_runs_.insert(hurt->info.number);  // what it still serves, it serves; nothing here would change that
  }
  if (options_.listener && !stopping()) options_.listener->on_heal(info);
  if (info.status.is(Code::kCorruption)) return true;
  DARUMA_TRY(info.status);
  return true;
}

Status Engine::heal(const LiveRun& hurt) {
  const std::string directory = directory_ + "/" + std::string(kRunDirectory);
  DARUMA_TRY(prepare_healed_run(*storage_, directory, store_id_, hurt.info.number));
  MutexLock lock(checkpoint_mutex_);
  const auto live = live_.find(hurt.info.number);
  if (live == live_.end()) {  // replaced meanwhile
    return storage_->remove(directory + "/" + run_name(hurt.info.number) + std::string(kTemporarySuffix));
  }
  DARUMA_TRY(publish_prepared(*storage_, directory, run_name(hurt.info.number)));
  DARUMA_TRY_ASSIGN(live->second, open_run(hurt.info));
  MutexLock write_lock(write_mutex_);
  auto state = std::make_shared<State>(*current_);
  place_runs(*state, {hurt.info.keyspace});
  publish_state(std::move(state));
  return {};
}

}  // namespace daruma
