// SPDX-License-Identifier: Apache-2.0
//
// The only way to start. Passes, in order: lock, choose snapshot, open runs, replay, set aside, start log, tidy,
// report. Everything up to and including `replay` only reads; from then on each step publishes something whole, so that
// a kill in between leaves the start before or the start after, and the same answers.
#include <algorithm>
#include <system_error>

#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "engine/start.h"

namespace daruma {

namespace {

std::string_view policy_name(RecoveryPolicy policy) {
  switch (policy) {
    case RecoveryPolicy::kServe: return "serve";
    case RecoveryPolicy::kReadOnly: return "read_only";
    case RecoveryPolicy::kRefuse: return "refuse";
    case RecoveryPolicy::kPointInTime: return "point_in_time";
  }
  return "serve";
}

Status check(const Options& options) {
  const auto within = [](const char* what, std::uint64_t value, std::uint64_t low, std::uint64_t high) -> Status {
    if (value >= low && value <= high) return {};
    return {Code::kInvalidArgument, std::string("Options::") + what + " is " + std::to_string(value) + ", outside " +
                                        std::to_string(low) + " to " + std::to_string(high)};
  };
  DARUMA_TRY(within("memtable_bytes", options.memtable_bytes, 1 << 20, std::uint64_t{64} << 30));
  DARUMA_TRY(within("cache_bytes", options.cache_bytes, 0, std::uint64_t{1} << 40));
  DARUMA_TRY(within("scrub_days", options.scrub_days, 0, 3650));
  DARUMA_TRY(within("segment_bytes", options.segment_bytes, 256 << 10, 1 << 30));
  DARUMA_TRY(within("wal_copies", options.wal_copies, 1, kLogSides));
  return within("ring_bytes", options.ring_bytes, 256 << 10, 1 << 30);
}

Status nothing_here(const std::string& directory) {
  return {Code::kNotFound, "there is no store here", {.file = directory}, "create one with create_if_missing"};
}

}  // namespace

Engine::Engine(std::string directory, Options options, const Environment& environment)
    : directory_(std::move(directory)),
      options_(std::move(options)),
      storage_(environment.storage),
      clock_(*environment.clock),
      threads_(environment.threads),
      compaction_(environment.compaction),
      before_apply_(environment.before_apply),
      cache_(options_.cache_bytes ? std::make_shared<BlockCache>(options_.cache_bytes) : nullptr),
      random_(environment.seed) {}

Result<Engine::Opened> Engine::open(const std::string& directory, const Options& options,
                                    const Environment& environment) {
  DARUMA_TRY(check(options));
  if (directory.empty()) return Status(Code::kInvalidArgument, "the directory of a store has a name");
  std::shared_ptr<Engine> engine(new Engine(directory, options, environment));
  Start start;
  DARUMA_TRY(engine->recover(start));
  if (environment.threads && engine->wal_) {
    try {
      engine->log_driver_ = std::thread([raw = engine.get()] { raw->drive_log(); });
      engine->compactor_ = std::thread([raw = engine.get()] { raw->drive_compactions(); });
    } catch (const std::system_error& error) {
      return Status(Code::kUnavailable, std::string("cannot start a thread: ") + error.what(), {.file = directory},
                    "raise the limit of threads of this process (ulimit -u)");
    }
  }
  return Opened{std::move(engine), std::move(start.report)};
}

Result<Store::Opened> Engine::open_store(const std::string& directory, const Options& options,
                                         const Environment& environment) {
  Result<Opened> done = or_out_of_memory([&] { return open(directory, options, environment); });
  DARUMA_TRY_ASSIGN(Opened opened, std::move(done));
  return Store::Opened{Store(std::move(opened.engine)), std::move(opened.report)};
}

Engine::~Engine() {
  stop_.store(true);
  if (log_driver_.joinable()) log_driver_.join();
  if (compactor_.joinable()) compactor_.join();
}

Status Engine::recover(Start& start) {
  const std::int64_t began = clock_.monotonic_ns();
  start.report.started_wall_ns = clock_.wall_ns();
  start.report.policy = policy_name(options_.recovery_policy);
  const auto pass = [&](std::string_view name, auto&& work) -> Status {
    const std::int64_t from = clock_.monotonic_ns();
    start.pass_bytes = 0;
    Status status = work();
    start.report.passes.push_back({std::string(name), clock_.monotonic_ns() - from, start.pass_bytes});
    if (status.ok() && options_.on_recovery_progress)
      options_.on_recovery_progress({name, start.pass_bytes, start.pass_bytes});
    return status;
  };
  DARUMA_TRY(pass("lock", [&] { return options_.read_only ? lock_to_read() : lock_to_write(); }));
  DARUMA_TRY(pass("choose snapshot", [&] { return choose_snapshot(start); }));
  DARUMA_TRY(pass("open runs", [&] { return open_runs(start); }));
  DARUMA_TRY(pass("replay", [&] { return replay(start); }));
  Status written = pass("set aside", [&] { return set_damage(start); });
  if (written.ok()) written = no_writes_;
  if (written.ok() && !options_.read_only) written = pass("start log", [&] { return start_log(start); });
  if (!written.ok() && !serve_without_log(start, written)) return written;
  if (wal_) {
    Status tidied = pass("tidy", [&] { return tidy(start); });
    if (tidied.is(Code::kAborted)) return tidied;
    tell_background("clean-up", tidied);
    unclean_ = !tidied.ok();
    watch_copies(false);
  }
  start.report.time_to_first_read_ns = start.report.total_ns = clock_.monotonic_ns() - began;
  start.report.outcome = read_only_.load() || options_.read_only ? "read_only" : "served";
  if (!no_writes_.ok()) start.report.outcome += ": " + no_writes_.to_string();
  if (options_.read_only) return {};
  if (start.log.attempts && wal_) start.log.attempts->finish();
  // A report says to later starts that there was a log.
  if (wal_ || start.had_log || !start.log.segments.empty()) write_report(start);
  return {};
}

/// What cannot be written can still be read: everything that replay found is in memory, and all that it came from stays
/// on disk as it was, for the next start. False for what no degraded store can help: a crash, nothing to serve, or a
/// process that lacks descriptors or memory, of which nobody knows what else it will lack.
bool Engine::serve_without_log(Start& start, const Status& why) {
  if (is_of_the_process(why) || start.report.created) return false;
  no_writes_ = why;
  read_only_ = start.report.read_only = true;
  tell_background("start", why);
  return true;
}

Status Engine::lock_to_write() {
  if (!options_.create_if_missing) {
    DARUMA_TRY_ASSIGN(const std::vector<DirectoryEntry> names, storage_->list(directory_));
    if (names.empty()) return nothing_here(directory_);
  }
  DARUMA_TRY(storage_->make_directory(directory_));
  DARUMA_TRY_ASSIGN(lock_, storage_->lock(directory_ + "/lock"));
  for (const char* room : {"wal", "runs", "snapshots", "quarantine", "recoveries"}) {
    Status made = storage_->make_directory(directory_ + "/" + room);
    if (is_of_the_process(made)) return made;
    // Without the last two a start keeps less evidence, and goes on.
    // With two directories for the log, its writer says whether one is left.
    const bool needed = room != std::string_view("quarantine") && room != std::string_view("recoveries") &&
                        (room != kLogDirectories[0] || options_.wal_copies == 1);
    if (needed && no_writes_.ok()) no_writes_ = std::move(made);
  }
  DARUMA_TRY(lock_copy());
  const std::size_t slash = directory_.find_last_of('/');
  const std::string parent = slash == std::string::npos ? "." : slash == 0 ? "/" : directory_.substr(0, slash);
  // In runs/ and snapshots/ names may have come or gone by what a life before could not sync any more: what this start
  // sees there must be what a power cut leaves.
  for (const std::string& directory : {directory_, parent, directory_ + "/runs", directory_ + "/snapshots"}) {
    Status synced = storage_->sync_directory(directory);
    if (is_of_the_process(synced)) return synced;
    if (no_writes_.ok()) no_writes_ = std::move(synced);
  }
  return {};
}

/// wal-copy/ may be shared by mistake, with a copy of this very store even: who writes there holds its lock. A device
/// that refuses is no reason to leave it: it may come back.
Status Engine::lock_copy() {
  const std::string copy = directory_ + "/" + std::string(kLogDirectories[1]);
  if (options_.wal_copies > 1) (void)storage_->make_directory(copy);
  const Result<std::vector<DirectoryEntry>> names = storage_->list(copy);
  if (is_of_the_process(names.status())) return names.status();
  if (!names.ok() || (options_.wal_copies == 1 && names->empty())) return {};
  Result<std::unique_ptr<DirectoryLock>> lock = storage_->lock(copy + "/lock");
  if (lock.ok())
    copy_lock_ = std::move(*lock);
  else if (is_of_the_process(lock.status()))
    return lock.status();
  else if (lock.status().is(Code::kBusy))
    copy_refused_ = lock.status();
  return {};
}

/// A store without a lock file is a copy that nobody has opened yet: nobody can be writing it through us.
Status Engine::lock_to_read() {
  DARUMA_TRY_ASSIGN(const std::vector<DirectoryEntry> names, storage_->list(directory_));
  const auto has = [&](std::string_view name) {
    return std::any_of(names.begin(), names.end(), [&](const DirectoryEntry& entry) { return entry.name == name; });
  };
  if (!has("wal") && !has(kLogDirectories[1]) && !has("runs") && !has("snapshots")) return nothing_here(directory_);
  Result<std::unique_ptr<DirectoryLock>> lock = storage_->lock_shared(directory_ + "/lock");
  if (lock.ok()) {
    lock_ = std::move(*lock);
  } else if (!lock.status().is(Code::kNotFound)) {
    return lock.status();
  }
  return {};
}

}  // namespace daruma
