// SPDX-License-Identifier: Apache-2.0
//
// Who does the work nobody waits for. `step` is all of it on one thread, for tests; the two threads only pace the same
// calls.
#include <algorithm>
#include <chrono>

#include "base/status_macros.h"
#include "engine/engine.h"

namespace daruma {
namespace {

using namespace std::chrono_literals;
constexpr std::int64_t kIdleNs = 50'000'000;  // a quiet log seals itself after this long
constexpr std::int64_t kCopiesLookNs = 100'000'000;
constexpr std::int64_t kCopiesRetryNs = 1'000'000'000;  // and twice as long each time, up to
constexpr std::int64_t kCopiesRetryNsMax = 64'000'000'000;
constexpr auto kQuietSleep = 10ms;            // and is then looked at this seldom: an idle store costs next to nothing

}  // namespace

Status Engine::step() {
  if (!wal_) return {};
  while (wal_->poll()) {}
  if (!wal_->broken().ok()) DARUMA_TRY(wal_->try_repair());
  DARUMA_TRY(wal_->step_idle());
  watch_copies(true);
  DARUMA_TRY(checkpoint_if(&Engine::checkpoint_due));
  MutexLock lock(compaction_mutex_);
  DARUMA_TRY(heal_one().status());
  return compact_one().status();
}

void Engine::drive_log() {
  std::int64_t quiet_since = clock_.monotonic_ns();
  std::int64_t look_at = quiet_since, retry_at = quiet_since + kCopiesRetryNs, retry_after = kCopiesRetryNs;
  bool sealed = false;
  while (!stopping()) {
    if (const std::int64_t now = clock_.monotonic_ns(); options_.wal_copies > 1 && now >= look_at) {
      look_at = now + kCopiesLookNs;
      const bool whole = wal_->stats().copies > 1;
      const bool retry = !whole && now >= retry_at;
      watch_copies(retry);
      if (whole) retry_after = kCopiesRetryNs;
      if (retry) retry_after = std::min(2 * retry_after, kCopiesRetryNsMax);
      if (whole || retry) retry_at = now + retry_after;
    }
    if (wal_->poll()) {
      quiet_since = clock_.monotonic_ns();
      sealed = false;
      continue;
    }
    if (const Status down = wal_->broken(); !down.ok()) {
      tell_background("log", down);
      if (wal_->try_repair().ok()) tell_background("log", {});
      std::this_thread::sleep_for(10ms);
    }
    if (!sealed && clock_.monotonic_ns() - quiet_since > kIdleNs) {
      (void)wal_->step_idle();  // a log that is down says so to writers
      sealed = true;
    }
    if (checkpoint_due()) {
      const Status made = checkpoint_if(&Engine::checkpoint_due);
      tell_background("checkpoint", made);
      if (!made.ok()) std::this_thread::sleep_for(100ms);
    }
    std::this_thread::sleep_for(sealed ? kQuietSleep : 1ms);
  }
}

/// What is written while one directory is left out stands once: a checkpoint makes it superfluous, and its manifest tells
/// how far the log went, should the other directory be missing next.
void Engine::watch_copies(bool retry) {
  if (options_.wal_copies < 2) return;
  if (retry) (void)wal_->try_copies();  // what keeps it is told below
  tell_background("log copy", wal_->copy_trouble());
  const unsigned copies = wal_->stats().copies;
  if (log_copies_ != 0 && copies != log_copies_) log_hurt_.store(true, std::memory_order_relaxed);
  log_copies_ = copies;
}

void Engine::drive_compactions() {
  while (!stopping()) {
    Result<bool> done = false;
    {
      MutexLock lock(compaction_mutex_);
      done = heal_one();
      tell_background("heal", done.status());
      if (!done.ok() || !*done) {
        done = compact_one();
        tell_background("compaction", done.status());
      }
    }
    if (done.ok() && *done) continue;
    std::this_thread::sleep_for(done.ok() ? 20ms : 1000ms);
  }
}

/// Keeps the last failure of each kind of work until that work succeeds again, and tells the listener once.
void Engine::tell_background(const char* what, const Status& status) {
  {
    MutexLock lock(background_mutex_);
    auto it = background_.find(what);
    if (status.ok()) {
      if (it != background_.end()) background_.erase(it);
      return;
    }
    if (it != background_.end() && it->second.to_string() == status.to_string()) return;
    background_.insert_or_assign(what, status);
  }
  if (options_.listener && !stopping()) options_.listener->on_background_error(what, status);
}

}  // namespace daruma
