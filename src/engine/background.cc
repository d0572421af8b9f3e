// SPDX-License-Identifier: Apache-2.0
//
// Who does the work nobody waits for. `step` is all of it on one thread, for tests; the three threads only pace the
// same calls.
#include <algorithm>
#include <chrono>

#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "engine/engine.h"

namespace daruma {
namespace {

using namespace std::chrono_literals;
constexpr std::int64_t kIdleNs = 50'000'000;       // a quiet log seals itself after this long
constexpr std::int64_t kSmallNs = 10'000'000'000;  // and after this long keeps no space for a burst
constexpr std::int64_t kCopiesLookNs = 100'000'000;
constexpr std::int64_t kCopiesRetryNs = 1'000'000'000;  // and twice as long each time, up to
constexpr std::int64_t kCopiesRetryNsMax = 64'000'000'000;
constexpr auto kQuietSleep = 10ms;  // what is quiet is looked at this seldom: an idle store costs next to nothing

}  // namespace

Status Engine::step() {
  DARUMA_TRY(started());
  if (!wal_) return {};
  return or_out_of_memory([this]() -> Status {
    while (wal_->poll()) {}
    if (!wal_->broken().ok()) DARUMA_TRY(wal_->try_repair());
    DARUMA_TRY(wal_->step_idle());
    watch_copies(true);
    {
      MutexLock lock(write_mutex_);
      DARUMA_TRY(place_unplaced());
    }
    DARUMA_TRY(checkpoint_if(&Engine::checkpoint_due));
    const Status clean = clean_up();
    tell_background("clean-up", clean);
    DARUMA_TRY(clean);
    DARUMA_TRY(compact_or_heal_once().status());
    return scrub_once().status();
  });
}

void Engine::drive_log() {
  for (Status begun = started(); !begun.ok(); begun = started()) {
    tell_background("start", begun);
    if (stopping()) return;
    std::this_thread::sleep_for(100ms);
  }
  tell_background("start", no_writes_);
  if (!wal_) return;
  watch_copies(false);
  wal_->prefault_ring();
  LogPace pace;
  pace.quiet_since = pace.copies_look_at = clock_.monotonic_ns();
  pace.copies_retry_at = pace.quiet_since + kCopiesRetryNs;
  pace.copies_retry_after = kCopiesRetryNs;
  while (!stopping()) {
    // What cannot be done for want of memory is tried again.
    if (!or_out_of_memory([&] { return drive_log_once(pace); }).ok()) std::this_thread::sleep_for(100ms);
  }
}

Status Engine::drive_log_once(LogPace& pace) {
  pace_copies(pace);
  if (wal_->poll()) {
    pace.quiet_since = clock_.monotonic_ns();
    pace.sealed = pace.small = false;
    return {};
  }
  if (const Status down = wal_->broken(); !down.ok()) {
    tell_background("log", down);
    if (!wal_->try_repair().ok()) std::this_thread::sleep_for(10ms);
  } else {
    tell_background("log", {});
  }
  if (!pace.sealed && clock_.monotonic_ns() - pace.quiet_since > kIdleNs) {
    (void)wal_->step_idle();  // a log that is down says so to writers
    pace.sealed = true;
  }
  if (!pace.small && clock_.monotonic_ns() - pace.quiet_since > kSmallNs) {
    if (wal_->spacious()) (void)wal_->give_back_space();
    arena_blocks_->clear();
    pace.small = true;
  }
  if (has_unplaced_.load(std::memory_order_relaxed)) {
    MutexLock lock(write_mutex_);
    DARUMA_TRY(place_unplaced());
  }
  std::this_thread::sleep_for(pace.sealed ? kQuietSleep : 1ms);
  return {};
}

/// Beside the log, which must not wait while a memtable is written out: its ring would fill, and its writers wait.
void Engine::drive_checkpoints() {
  while (!stopping()) {
    const Status done = or_out_of_memory([this]() -> Status {
      DARUMA_TRY(started());
      if (!wal_) return {};
      Status made;  // not due: nothing is left to do that failed before
      if (checkpoint_due()) made = checkpoint_if(&Engine::checkpoint_due);
      tell_background("checkpoint", made);
      DARUMA_TRY(made);
      Status clean = clean_up();
      tell_background("clean-up", clean);
      return clean;
    });
    std::this_thread::sleep_for(done.ok() ? kQuietSleep : 100ms);
  }
}

Result<bool> Engine::compact_or_heal_once() {
  MutexLock lock(compaction_mutex_);
  return or_out_of_memory([this]() REQUIRES(compaction_mutex_) -> Result<bool> {
    Result<bool> done = heal_one();
    tell_background("heal", done.status());
    if (done.ok() && *done) return done;
    done = compact_one();
    tell_background("compaction", done.status());
    return done;
  });
}

Result<bool> Engine::scrub_once() {
  MutexLock lock(compaction_mutex_);
  return or_out_of_memory([this]() REQUIRES(compaction_mutex_) -> Result<bool> {
    Result<bool> done = scrub_one();
    tell_background("scrub", done.status());
    return done;
  });
}

void Engine::pace_copies(LogPace& pace) {
  if (options_.wal_copies < 2) return;
  const std::int64_t now = clock_.monotonic_ns();
  if (now < pace.copies_look_at) return;
  pace.copies_look_at = now + kCopiesLookNs;
  const bool whole = wal_->stats().copies > 1;
  const bool retry = !whole && now >= pace.copies_retry_at;
  watch_copies(retry);
  if (whole) pace.copies_retry_after = kCopiesRetryNs;
  if (retry) pace.copies_retry_after = std::min(2 * pace.copies_retry_after, kCopiesRetryNsMax);
  if (whole || retry) pace.copies_retry_at = now + pace.copies_retry_after;
}

/// When a directory is left out, the manifest of a checkpoint tells how far the log went, should the other be missing
/// next.
void Engine::watch_copies(bool retry) {
  if (options_.wal_copies < 2) return;
  if (retry) (void)wal_->try_copies();  // what keeps it is told below
  tell_background("log copy", wal_->copy_trouble());
  const unsigned copies = wal_->stats().copies;
  if (copies < log_copies_) log_hurt_.store(true, std::memory_order_relaxed);
  log_copies_ = copies;
}

void Engine::drive_compactions() {
  while (!stopping()) {
    if (!started().ok()) {
      std::this_thread::sleep_for(100ms);
      continue;
    }
    if (!wal_) return;
    Result<bool> done = compact_or_heal_once();
    if (done.ok() && !*done) done = scrub_once();
    if (done.ok() && *done) continue;
    std::this_thread::sleep_for(done.ok() ? 20ms : 1000ms);
  }
}

/// Keeps the last failure of each kind of work until that work succeeds again, and tells the listener once.
void Engine::tell_background(const char* what, const Status& status) {
  {
    MutexLock lock(background_mutex_);
    Status& last = background_.find(what)->second;
    const bool same = last.code() == status.code() && last.message() == status.message();
    last = status;
    if (status.ok() || same) return;
  }
  if (options_.listener && !stopping()) options_.listener->on_background_error(what, status);
}

}  // namespace daruma
