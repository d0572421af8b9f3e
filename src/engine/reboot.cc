// SPDX-License-Identifier: Apache-2.0
//
// Microreboots (Candea, Kawamoto, Fujiki, Friedman, Fox 2004): one component is stopped, loses what it has in memory,
// recovers that from disk, is verified and goes on. The others serve meanwhile.
//
// What must stay true: nothing is dropped before the disk has it, and what cannot be recovered leaves all as it was.
#include <chrono>
#include <memory>

#include "base/assert.h"
#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "engine/jobs.h"
#include "snapshot/run_rebuild.h"

namespace daruma {
namespace {

constexpr std::string_view kKeyspace = "keyspace ";
constexpr std::int64_t kStopNs = 30'000'000'000;  // in which a worker ends what it is at

}  // namespace

Status Engine::reboot(std::string_view component) {
  DARUMA_TRY(may_write());
  const bool of_keyspace = component.starts_with(kKeyspace);
  const std::optional<Part> part = part_named(component);
  if (of_keyspace) DARUMA_TRY(keyspace(component.substr(kKeyspace.size())).status());
  if ((!of_keyspace && !part) || part == Part::kStart || part == Part::kLogCopy)
    return {Code::kNotFound,
            "there is no component '" + std::string(component) + "' to reboot",
            {},
            "`kvctl component ls` names them; a keyspace is \"keyspace NAME\""};
  DARUMA_TRY(components_.take_reboot(component, clock_.monotonic_ns()));
  const auto work = [&]() -> Status {
    if (of_keyspace) return reboot_keyspace(component.substr(kKeyspace.size()));
    switch (*part) {
      case Part::kCache:
        if (cache_) cache_->clear();
        return {};
      case Part::kLog: return reboot_log();
      case Part::kCheckpoint:
      case Part::kCleanUp: return reboot_worker("checkpoint");
      default: return reboot_worker("compaction");
    }
  };
  // What it does wrong from here on is told anew.
  const std::optional<Trouble> was_broken = take_broken(component);
  Status done = or_out_of_memory(work);
  if (!done.ok() && was_broken) report_broken(was_broken->component, was_broken->cause);
  return done;
}

/// Jobs look at `stopping` and leave their inputs as they were, as they do when the store is abandoned.
Status Engine::reboot_worker(std::string_view name) {
  MutexLock lock(workers_mutex_);
  if (threads_) {
    Worker* worker = nullptr;
    for (Worker& each : workers_) {
      if (each.name == name) worker = &each;
    }
    DARUMA_ASSERT(worker);
    worker->stop = true;
    for (const std::int64_t until = clock_.monotonic_ns() + kStopNs; !worker->ended;) {
      if (clock_.monotonic_ns() > until) {
        worker->stop = false;
        return {Code::kUnavailable,
                "worker '" + std::string(name) + "' did not stop in " + std::to_string(kStopNs / 1'000'000'000) + " s",
                {.file = directory_},
                "its device may hang; it goes on when that answers"};
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (worker->thread.joinable()) worker->thread.join();
    if (name == "compaction") {
      MutexLock compaction_lock(compaction_mutex_);
      hurt_runs_.clear();
      unhealable_runs_.clear();
      scrub_.reset();
    }
    if (Status begun = stop_ ? Status() : begin(*worker); !begun.ok()) {
      report_broken(std::string(name), begun);
      return begun;
    }
  }
  return {};
}

Status Engine::reboot_log() {
  DARUMA_TRY(wal_->reboot());
  return reboot_worker("log");
}

/// What the log has lost, memory has all the same, as far as it was ever applied: once that is in runs, and read back,
/// the log need not have it. A memtable that is hurt itself fails its flush, and then nothing is dropped.
Status Engine::reboot_keyspace(std::string_view name) {
  DARUMA_TRY_ASSIGN(const Keyspace of, keyspace(name));
  Status done = recover_keyspace(of.id());
  if (!done.is(Code::kDataLoss)) return done;
  DARUMA_TRY(checkpoint());
  return recover_keyspace(of.id());
}

Status Engine::recover_keyspace(std::uint32_t id) {
  MutexLock checkpoint_lock(checkpoint_mutex_);
  DARUMA_TRY(settle());
  {
    MutexLock lock(write_mutex_);
    DARUMA_TRY(place_unplaced());
    rebooting_ = id;
  }
  Status done = or_out_of_memory([&]() REQUIRES(checkpoint_mutex_) { return reread_keyspace(id); });
  MutexLock lock(write_mutex_);
  rebooting_ = kCatalogKeyspace;
  return done;
}

/// Its events since the snapshot from the log, its runs from their files: opened, and so verified, anew. Reads are
/// answered from what was there before, until all of it is.
Status Engine::reread_keyspace(std::uint32_t id) {
  Sequence last = 0;
  {
    MutexLock lock(write_mutex_);
    last = last_;
  }
  DARUMA_TRY(wal_->wait_durable(last));
  const auto fresh = std::make_shared<Memtable>(arena_blocks_);
  if (const Sequence after = snapshot_sequence_; after < last) {
    DARUMA_TRY_ASSIGN(const bool whole, read_log({after, last, id, std::nullopt}, *fresh));
    if (!whole)
      return {Code::kDataLoss,
              "the log does not have all events since the snapshot",
              {.file = directory_ + "/wal", .sequence = after + 1},
              "nothing was dropped; try again"};
  }
  std::map<std::uint64_t, std::shared_ptr<LiveRun>> runs;
  if (!generations_.empty()) {
    for (const PlacedRun& placed : generations_.front().runs) {
      if (placed.info.keyspace != id || !live_.contains(placed.info.number)) continue;
      Result<std::shared_ptr<LiveRun>> opened = open_run(placed.info);
      if (opened.status().is(Code::kCorruption) || opened.status().is(Code::kNotFound))
        lost_runs_.insert(placed.info.number);
      DARUMA_TRY_ASSIGN(runs[placed.info.number], std::move(opened));
    }
  }
  for (auto& [number, run] : runs) live_[number] = std::move(run);
  MutexLock lock(write_mutex_);
  auto state = std::make_shared<State>(*current_);
  for (auto& keyspace : state->keyspaces) {
    if (keyspace->id != id) continue;
    auto changed = std::make_shared<KeyspaceState>(*keyspace);
    std::uint64_t before = 0;
    if (changed->active) before += changed->active->bytes();
    for (const auto& memtable : changed->frozen) before += memtable->bytes();
    changed->active = fresh->empty() ? nullptr : fresh;
    changed->frozen.clear();
    keyspace = std::move(changed);
    place_runs(*state, {id});
    publish_state(std::move(state));
    memtable_bytes_.fetch_add((fresh->empty() ? 0 : fresh->bytes()) - before, std::memory_order_relaxed);
    break;
  }
  return {};
}

}  // namespace daruma
