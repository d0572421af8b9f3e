// SPDX-License-Identifier: Apache-2.0
//
// The only way to start. Passes, in order: lock, choose snapshot, open runs, replay, set aside, start log, tidy,
// report. Everything up to and including `replay` only reads; from then on each step publishes something whole, so that
// a kill in between leaves the start before or the start after, and the same answers.
#include <algorithm>

#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "engine/jobs.h"
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

Status nothing_here(const std::string& directory) {
  return {Code::kNotFound, "there is no store here", {.file = directory}, "create one with create_if_missing"};
}

}  // namespace

Status check_options(const Options& options) {
  const auto within = [](const char* what, std::uint64_t value, std::uint64_t low, std::uint64_t high) -> Status {
    if (value >= low && value <= high) return {};
    return {Code::kInvalidArgument, std::string("Options::") + what + " is " + std::to_string(value) + ", outside " +
                                        std::to_string(low) + " to " + std::to_string(high)};
  };
  DARUMA_TRY(within("memtable_bytes", options.memtable_bytes, 1 << 20, std::uint64_t{64} << 30));
  DARUMA_TRY(within("cache_bytes", options.cache_bytes, 0, std::uint64_t{1} << 40));
  DARUMA_TRY(within("scrub_days", options.scrub_days, 0, 3650));
  DARUMA_TRY(within("drill_days", options.drill_days, 0, 3650));
  DARUMA_TRY(within("segment_bytes", options.segment_bytes, 256 << 10, 1 << 30));
  DARUMA_TRY(within("recovery_budget", static_cast<std::uint64_t>(options.recovery_budget.count()), 50, 3'600'000));
  DARUMA_TRY(within("ballast_bytes", options.ballast_bytes, 0, 1 << 30));
  DARUMA_TRY(within("reboots_per_hour", options.reboots_per_hour, 1, 1'000'000));
  DARUMA_TRY(within("wal_copies", options.wal_copies, 1, kLogSides));
  DARUMA_TRY(within("history.time", static_cast<std::uint64_t>(options.history.value_or(History()).time.count()), 0,
                    kHistorySecondsMax));
  DARUMA_TRY(check_limits(options.keyspace_limits, options));
  return within("ring_bytes", options.ring_bytes, 256 << 10, 1 << 30);
}

Engine::Engine(std::string directory, Options options, const Environment& environment, const RecoveryTarget& target)
    : directory_(std::move(directory)),
      options_(std::move(options)),
      target_(target),
      storage_(environment.storage),
      clock_(*environment.clock),
      threads_(environment.threads),
      start_late_(environment.start_late),
      compaction_(environment.compaction),
      before_apply_(environment.before_apply),
      failpoint_(environment.failpoint),
      cache_(options_.cache_bytes ? std::make_shared<BlockCache>(options_.cache_bytes) : nullptr),
      arena_blocks_(std::make_shared<ArenaBlocks>(options_.memtable_bytes)),
      limited_(options_.keyspace_limits != KeyspaceLimits()),
      random_(environment.seed),
      budget_(std::chrono::nanoseconds(options_.recovery_budget).count()),
      past_limits_(options_.history.value_or(History())),
      components_(environment.seed, options_.reboots_per_hour),
      history_(*storage_, directory_ + "/recoveries"),
      workers_{{{"supervision", &Engine::drive_supervision},
                {"log", &Engine::drive_log},
                {"checkpoint", &Engine::drive_checkpoints},
                {"compaction", &Engine::drive_compactions}}} {}

Result<Engine::Opened> Engine::open(const std::string& directory, const Options& options,
                                    const Environment& environment, const RecoveryTarget& target) {
  DARUMA_TRY(check_options(options));
  DARUMA_TRY(failpoints_from_environment());
  if (directory.empty()) return Status(Code::kInvalidArgument, "the directory of a store has a name");
  std::shared_ptr<Engine> engine(new Engine(directory, options, environment, target));
  auto start = std::make_unique<Start>();
  DARUMA_TRY(engine->recover(*start));
  RecoveryReport report = start->report;
  const bool late = start->report_told;
  if (late) {
    MutexLock lock(engine->start_mutex_);
    engine->unfinished_ = std::move(start);
  }
  if (environment.threads && (late || engine->wal_)) DARUMA_TRY(engine->begin_workers());
  return Opened{std::move(engine), std::move(report)};
}

Result<Store::Opened> Engine::open_store(const std::string& directory, const Options& options,
                                         const Environment& environment, const RecoveryTarget& target) {
  Result<Opened> done = or_out_of_memory([&] { return open(directory, options, environment, target); });
  DARUMA_TRY_ASSIGN(Opened opened, std::move(done));
  return Store::Opened{Store(std::move(opened.engine)), std::move(opened.report)};
}

Engine::~Engine() { end_workers(); }

template <typename Work>
Status Engine::pass(Start& start, std::string_view name, const Work& work) {
  const std::int64_t from = clock_.monotonic_ns();
  start.pass_bytes = 0;
  Status status = daruma::failpoint("pass", name);
  if (status.ok()) status = work();
  start.report.passes.push_back({std::string(name), clock_.monotonic_ns() - from, start.pass_bytes});
  if (status.ok() && options_.on_recovery_progress && !start.report_told)
    options_.on_recovery_progress({name, start.pass_bytes, start.pass_bytes});
  return status;
}

/// The first playbook: each pass needs the one before. Its history is the report.
Status Engine::recover(Start& start) {
  start.began_ns = clock_.monotonic_ns();
  start.report.started_wall_ns = clock_.wall_ns();
  start.report.policy = policy_name(options_.recovery_policy);
  Playbook book;
  book.failure = "start";
  book.sequence = true;
  const auto step = [&](std::string_view name, Status (Engine::*work)(Start&)) {
    PlaybookStep made;
    made.name = name;
    made.execute = [this, &start, name, work](const Incident&) {
      return pass(start, name, [&] { return (this->*work)(start); });
    };
    made.timeout = std::chrono::hours(24);  // whoever waits sees its progress
    book.steps.push_back(std::move(made));
  };
  step(kStartPasses[0], options_.read_only ? &Engine::lock_to_read : &Engine::lock_to_write);
  step(kStartPasses[1], &Engine::choose_snapshot);
  step(kStartPasses[2], &Engine::open_runs);
  step(kStartPasses[3], &Engine::replay);
  Incident incident;
  carry_out(book, incident, clock_, {});
  DARUMA_TRY(incident.steps.back().status);
  start.report.time_to_first_read_ns = start.report.total_ns = clock_.monotonic_ns() - start.began_ns;
  start.report.outcome = "served";
  if (start.log.attempts) {
    for (const Attempts::Culprit& culprit : start.log.attempts->culprits()) start.report.starts_died += culprit.deaths;
  }
  start.report.last_sign_of_life_wall_ns = start.log.last_wall_ns;
  if (!generations_.empty())
    start.report.last_sign_of_life_wall_ns =
        std::max(start.report.last_sign_of_life_wall_ns, generations_.front().created_wall_ns);
  sum_up(start);
  start.report_told = start_late_ && ordinary(start);
  learn_costs(start);
  if (start.report_told) return {};
  DARUMA_TRY(begin_to_write(start));
  started_.store(true, std::memory_order_release);
  if (!no_writes_.ok()) tell(Part::kStart, no_writes_);
  tell(Part::kCleanUp, start.tidied);
  if (wal_) watch_copies(false);
  return {};
}

/// From this start, and as far as it had too little to do, from those before. What it took until it could serve is what
/// an ordinary one takes until the first read; to make a store costs otherwise.
void Engine::learn_costs(const Start& start) {
  MeasuredStart seen;
  for (const RecoveryPass& done : start.report.passes) {
    if (done.name == "open runs") seen.open_runs_ns = done.duration_ns;
    if (done.name == "replay") seen.replay_ns = done.duration_ns;
  }
  seen.runs = start.runs.size();
  seen.replay_bytes = replay_bytes_.load(std::memory_order_relaxed);
  seen.total_ns = last_start_ns_ = start.report.time_to_first_read_ns;
  const StartCosts before =
      costs_in(generations_.empty() ? std::string_view() : std::string_view(generations_.front().options), {});
  budget_.set_costs(start.report.created ? before : learn(before, seen));
  price_recovery();
}

/// Nothing is lost, and nothing has to be put into quarantine.
bool Engine::ordinary(const Start& start) const {
  return !options_.read_only && no_writes_.ok() && !start.report.created && !start.lacks_load && start.report.clean() &&
         start.log.lost.empty() && start.log.set_aside.empty() && start.damage.entries().empty() &&
         std::none_of(start.catalogue.generations.begin(), start.catalogue.generations.end(),
                      [](const Generation& generation) { return !generation.rejected.ok(); });
}

/// The passes that write.
Status Engine::begin_to_write(Start& start) {
  Status written = no_writes_;
  if (written.ok() && !options_.read_only) written = sync_names();
  if (is_of_the_process(written)) return written;
  if (!written.ok()) no_writes_ = written;
  if (!start.damage_set) {
    Status set = pass(start, "set aside", [&] { return set_damage(start); });
    if (!set.ok()) written = std::move(set);
    start.damage_set = written.ok();
  }
  if (written.ok() && !options_.read_only && !wal_) {
    written = pass(start, "start log", [&] { return start_log(start); });
    if (written.is(Code::kNoSpace) && give_up_ballast().ok())
      written = pass(start, "start log", [&] { return start_log(start); });
    // Behind the first reads, as while the store runs, what cannot be written now is tried again.
    if (!written.ok() && start.report_told && !is_of_the_process(written))
      return {Code::kUnavailable, "the log cannot be begun: " + written.message(), written.where(),
              "it goes on by itself when a new log file can be written"};
  }
  if (!written.ok() && !serve_without_log(start, written)) return written;
  if (wal_) {
    start.tidied = pass(start, "tidy", [&] { return tidy(start); });
    if (start.tidied.is(Code::kAborted)) return start.tidied;
    unclean_ = !start.tidied.ok();
  }
  if (!start.report_told) start.report.time_to_first_read_ns = clock_.monotonic_ns() - start.began_ns;
  start.report.total_ns = clock_.monotonic_ns() - start.began_ns;
  start.report.outcome = read_only_.load() || options_.read_only ? "read_only" : "served";
  if (!no_writes_.ok()) start.report.outcome += ": " + no_writes_.to_string();
  sum_up(start);
  if (options_.read_only) return {};
  if (start.log.attempts && wal_) start.log.attempts->finish();
  // A report says to later starts that there was a log.
  if (wal_ || start.had_log || !start.log.segments.empty()) write_report(start);
  return {};
}

Status Engine::finish_start() {
  MutexLock lock(start_mutex_);
  if (started_.load(std::memory_order_relaxed)) return {};
  MutexLock checkpoint_lock(checkpoint_mutex_);
  Start& start = *unfinished_;
  DARUMA_TRY(or_out_of_memory([&] { return begin_to_write(start); }));
  unfinished_.reset();
  started_.store(true, std::memory_order_release);
  return {};
}

/// What cannot be written can still be read: everything that replay found is in memory, and all that it came from stays
/// on disk as it was, for the next start. False for what no degraded store can help: a crash, nothing to serve, or a
/// process that lacks descriptors or memory, of which nobody knows what else it will lack.
bool Engine::serve_without_log(Start& start, const Status& why) {
  if (is_of_the_process(why) || start.report.created) return false;
  no_writes_ = why;
  read_only_ = start.report.read_only = true;
  return true;
}

Status Engine::lock_to_write(Start& /*start*/) {
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
  return lock_copy();
}

/// In runs/, snapshots/ and wal/ names may have come or gone by what a life before could not sync any more: what this
/// start has seen there must be what a power cut leaves, before anything is built on it.
Status Engine::sync_names() {
  const std::size_t slash = directory_.find_last_of('/');
  const std::string parent = slash == std::string::npos ? "." : slash == 0 ? "/" : directory_.substr(0, slash);
  for (const std::string& directory : {directory_, parent, directory_ + "/runs", directory_ + "/snapshots"})
    DARUMA_TRY(storage_->sync_directory(directory));
  const auto sync_log = [this](std::size_t side) -> Status {
    const std::string directory = directory_ + "/" + std::string(kLogDirectories[side]);
    Status synced = storage_->sync_directory(directory);
    if (!synced.is(Code::kNotFound)) return synced;
    DARUMA_TRY(storage_->make_directory(directory));  // could not be made before: this tells why
    return storage_->sync_directory(directory);
  };
  // A manifest will tell of the newest log file. With two directories for the log, one is enough.
  Status synced = sync_log(0);
  if (is_of_the_process(synced) || options_.wal_copies == 1 || !copy_refused_.ok()) return synced;
  const Status copy = sync_log(1);
  return copy.ok() || is_of_the_process(copy) ? copy : synced;
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
Status Engine::lock_to_read(Start& /*start*/) {
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
