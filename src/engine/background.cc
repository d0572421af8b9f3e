// SPDX-License-Identifier: Apache-2.0
//
// Who does the work nobody waits for. `step` is all of it on one thread, for tests; the four threads only pace the
// same calls.
#include <algorithm>
#include <chrono>
#include <exception>
#include <system_error>

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
constexpr auto kGather = 1ms;       // what nobody waits for comes together, and shares a frame
constexpr auto kQuietSleep = 10ms;  // what is quiet is looked at this seldom: an idle store costs next to nothing

/// Set while this thread is a worker's.
thread_local const std::atomic<bool>* worker_stop = nullptr;

Status told_of(const std::exception_ptr& bug) {
  try {
    std::rethrow_exception(bug);
  } catch (const std::exception& error) {
    return {Code::kUnavailable, std::string("an exception came out of its work: ") + error.what()};
  } catch (...) { return {Code::kUnavailable, "an exception came out of its work"}; }
}

}  // namespace

bool Engine::stopping() const {
  return stop_.load(std::memory_order_relaxed) || (worker_stop && worker_stop->load(std::memory_order_relaxed));
}

/// Without threads each round is the next attempt of whatever rests: time is what the caller makes of it.
Status Engine::step() {
  DARUMA_TRY(started());
  if (!wal_) return {};
  components_.rest_no_longer();
  return or_out_of_memory([this]() -> Status {
    (void)supervise();
    while (wal_->poll()) {}
    if (!wal_->broken().ok()) (void)wal_->try_repair();
    tell(Part::kLog, wal_->broken());
    DARUMA_TRY(wal_->broken());
    DARUMA_TRY(wal_->step_idle());
    watch_copies(true);
    {
      MutexLock lock(write_mutex_);
      DARUMA_TRY(place_unplaced());
    }
    DARUMA_TRY(keep_checkpointed());
    const Status clean = clean_up();
    tell(Part::kCleanUp, clean);
    DARUMA_TRY(clean);
    return tend_runs().status();
  });
}

// --- workers ---------------------------------------------------------------------------------------------------------

Status Engine::begin_workers() {
  MutexLock lock(workers_mutex_);
  for (Worker& worker : workers_) DARUMA_TRY(begin(worker));
  return {};
}

Status Engine::begin(Worker& worker) {
  worker.stop = worker.ended = false;
  Status begun = or_out_of_memory([&]() -> Status {
    try {
      worker.thread = std::thread([this, &worker] { drive(worker); });
    } catch (const std::system_error& error) {
      return {Code::kUnavailable,
              "there is no thread for worker '" + std::string(worker.name) + "': " + error.what(),
              {.file = directory_},
              "raise the limit of threads (ulimit -u, pids.max of its control group)"};
    }
    return {};
  });
  worker.missing = !begun.ok();
  if (worker.missing) worker.ended = true;
  return begun;
}

/// Who has no thread cannot try again by itself.
void Engine::begin_missing() {
  for (Worker& worker : workers_) {
    if (!worker.missing) continue;
    MutexLock lock(workers_mutex_);
    if (!worker.missing || stopping()) continue;
    const std::optional<Trouble> told = take_broken(worker.name);  // first: with a thread it may have more to tell
    if (Status begun = begin(worker); !begun.ok()) report_broken(std::string(worker.name), told ? told->cause : begun);
  }
}

/// The supervisor comes first: it may be about to reboot one of the others.
void Engine::end_workers() {
  stop_.store(true);
  for (Worker& worker : workers_) {
    if (worker.thread.joinable()) worker.thread.join();
  }
}

/// A bug in a job, or a listener that throws, costs that worker its life, and nobody else's. Memory that runs short
/// costs it a rest, also before it can tell of a bug.
void Engine::drive(Worker& worker) {
  worker_stop = &worker.stop;
  std::exception_ptr bug;
  const auto work = [&]() -> Status {
    if (bug) {
      report_broken(std::string(worker.name), told_of(bug));
    } else {
      (this->*worker.drive)();
    }
    return {};
  };
  for (bool done = false; !done;) {
    try {
      done = or_out_of_memory(work).ok() || stopping();
      if (!done) std::this_thread::sleep_for(100ms);
    } catch (...) { bug = std::current_exception(); }
  }
  worker.ended = true;
}

void Engine::drive_log() {
  for (Status begun = started(); !begun.ok(); begun = started()) {
    tell(Part::kStart, begun);
    if (stopping()) return;
    std::this_thread::sleep_for(100ms);
  }
  tell(Part::kStart, no_writes_);
  if (!wal_) return;
  watch_copies(false);
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
  const bool led = wal_->poll();
  const Sequence durable = wal_->durable_sequence();
  if (led || durable != pace.durable) {
    pace.quiet_since = clock_.monotonic_ns();
    pace.durable = durable;
    pace.sealed = pace.small = false;
  }
  if (led) {
    if (!wal_->fills_a_frame()) {
      std::this_thread::sleep_for(kGather);
    } else if (!pace.burst) {
      wal_->prefault_ring();
      pace.burst = true;
    }
    return {};
  }
  if (!wal_->broken().ok()) {
    if (admit(Part::kLog).ok()) {
      (void)wal_->try_repair();
      tell(Part::kLog, wal_->broken());
    }
  } else {
    tell(Part::kLog, {});
  }
  if (!pace.sealed && clock_.monotonic_ns() - pace.quiet_since > kIdleNs) {
    (void)wal_->step_idle();  // a log that is down says so to writers
    pace.sealed = true;
  }
  if (!pace.small && clock_.monotonic_ns() - pace.quiet_since > kSmallNs) {
    if (wal_->spacious()) (void)wal_->give_back_space();
    arena_blocks_->clear();
    pace.small = true;
    pace.burst = false;
  }
  if (has_unplaced_.load(std::memory_order_relaxed)) {
    MutexLock lock(write_mutex_);
    DARUMA_TRY(place_unplaced());
  }
  std::this_thread::sleep_for(pace.sealed ? kQuietSleep : kGather);
  return {};
}

/// Beside the log, which must not wait while a memtable is written out: its ring would fill, and its writers wait.
void Engine::drive_checkpoints() {
  while (!stopping()) {
    const Status done = or_out_of_memory([this]() -> Status {
      DARUMA_TRY(started());
      if (!wal_) return {};
      DARUMA_TRY(keep_checkpointed());
      DARUMA_TRY(admit(Part::kCleanUp));
      Status clean = clean_up();
      tell(Part::kCleanUp, clean);
      return clean;
    });
    std::this_thread::sleep_for(done.ok() ? kQuietSleep : 100ms);
  }
}

template <typename Work>
Result<bool> Engine::attempt(Part part, const Work& work) {
  DARUMA_TRY(admit(part));
  Result<bool> done = or_out_of_memory(work);
  tell(part, done.status());
  return done;
}

/// Heals a run that a read found hurt, else makes a compaction; and scrubs a file when one is due. What rests keeps
/// nothing else from being done.
Result<bool> Engine::tend_runs() {
  Status first;
  bool did = false;
  const auto tend = [&](Part part, Result<bool> (Engine::*work)()) NO_THREAD_SAFETY_ANALYSIS {
    MutexLock lock(compaction_mutex_);
    const Result<bool> done = attempt(part, [&]() NO_THREAD_SAFETY_ANALYSIS -> Result<bool> {
      DARUMA_TRY(failpoint(part_name(part)));
      return (this->*work)();
    });
    if (first.ok()) first = done.status();
    did = did || (done.ok() && *done);
  };
  tend(Part::kHeal, &Engine::heal_one);
  if (!did) tend(Part::kCompaction, &Engine::compact_one);
  tend(Part::kScrub, &Engine::scrub_one);
  if (!did && !first.ok()) return first;
  return did;
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
  tell(Part::kLogCopy, wal_->copy_trouble());
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
    const Result<bool> done = tend_runs();
    if (done.ok() && *done) continue;
    std::this_thread::sleep_for(done.ok() ? 20ms : 100ms);
  }
}

void Engine::drive_supervision() {
  constexpr auto kRound = 25ms;
  constexpr int kRounds = 10;  // between two looks: a kill of this thread need not wait for them
  while (!stopping()) {
    if (started_.load(std::memory_order_acquire)) {
      if (!wal_) return;
      try {
        (void)or_out_of_memory([this]() -> Status {
          publish_view(supervise());
          return {};
        });
      } catch (const std::exception& error) {  // of a listener: nobody would reboot this worker
        report_broken("supervision", {Code::kUnavailable, std::string("an exception came out of it: ") + error.what()});
      }
    }
    for (int round = 0; round < kRounds && !stopping(); ++round) std::this_thread::sleep_for(kRound);
  }
}

// --- outcomes --------------------------------------------------------------------------------------------------------

Status Engine::admit(Part part) {
  bool decides = false;
  DARUMA_TRY(components_.admit(part, clock_.monotonic_ns(), decides));
  if (!decides) return {};
  const bool log = part == Part::kLog;
  if (log && options_.wal_copies > 1) return {};  // either directory will do
  Status probed = probe(*storage_, directory_ + (log ? "/wal/" : "/runs/") + std::string(kProbeName), kSectorBytes);
  if (!probed.ok()) tell(part, probed);
  return probed;
}

/// The listener is told once of the same failure.
void Engine::tell(Part part, const Status& status) {
  const bool news = components_.tell(part, status, clock_.monotonic_ns());
  if (news && options_.listener && !stopping())
    options_.listener->on_background_error(std::string(part_name(part)), status);
}

}  // namespace daruma
