// SPDX-License-Identifier: Apache-2.0
//
// The only implementer of the public API.
//
// What must stay true:
//   - A write is appended to the log before it is in a memtable, in a memtable before it is visible, and visible in
//     sequence order. `write_mutex_` makes it so; readers take no lock.
//   - Nothing is released (log, runs, memtables) before what replaces it is durable and has been read back.
//   - Destruction writes nothing.
//   - Memory that runs short leaves each step undone, or remembered in memory taken beforehand and taken up again
//   before
//     anything else (`unplaced_`, `install_`): what is in the log is in a memtable before a later write is, and what is
//     in a manifest is in use before the next job begins.
//   - A job (flush, compaction) that failed leaves no output behind before the next one starts (catalogue.h says why).
//
// Lock order: supervision_mutex_, workers_mutex_, compaction_mutex_, checkpoint_mutex_, the turn of a keyspace
// (bulkhead.h), next_mutex_, write_mutex_, then the locks inside the log; none is held while user code runs, except
// compaction_mutex_, which keeps what listeners hear in order, and compactions from a bulk load, and
// supervision_mutex_, under which a user's steps of a playbook run.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/epoch.h"
#include "base/failpoint.h"
#include "base/mutex.h"
#include "base/random.h"
#include "daruma/store.h"
#include "engine/components.h"
#include "engine/state.h"
#include "event/event.h"
#include "health/health_tree.h"
#include "health/recovery_budget.h"
#include "io/storage.h"
#include "recovery/playbook.h"
#include "run/block_cache.h"
#include "run/run_builder.h"
#include "snapshot/compaction_picker.h"
#include "snapshot/manifest.h"
#include "snapshot/scrub.h"
#include "wal/wal_writer.h"

namespace daruma {

struct StreamEvent;
class Attempts;
struct LogEntry;
struct LogNow;
struct LogPart;

/// kBusy of a keyspace: why, and what ends it. `checkpoint`: why the last one could not be made; ok: it could.
Status too_many_operations(const KeyspaceState& keyspace);
Status share_is_full(const KeyspaceState& keyspace, const Status& checkpoint);
Status check_limits(const KeyspaceLimits& limits, const Options& options);
Status check_options(const Options& options);

/// What tests and tools inject; the defaults are the real machine.
struct Environment {
  std::shared_ptr<Storage> storage;
  Clock* clock = nullptr;
  std::uint64_t seed = 0;  ///< for identities
  bool threads = true;     ///< false: background work happens only in `Engine::step`
  /// An ordinary start returns before it has done what no read needs. False: it never does.
  bool start_late = true;
  CompactionSettings compaction{};
  std::function<void(Sequence)> before_apply{};  ///< of a start that may write, for each operation that it replays
  /// Asked where work is about to be done ("flush keyspace NAME", "compaction", "scrub"): what is not ok is what came
  /// of it. May throw, as a bug would.
  std::function<Status(std::string_view)> failpoint{};
};

class Engine : public std::enable_shared_from_this<Engine> {
 public:
  struct Opened {
    std::shared_ptr<Engine> engine;
    RecoveryReport report;
  };
  static Result<Opened> open(const std::string& directory, const Options& options, const Environment& environment,
                             const RecoveryTarget& target = {});
  static Result<Store::Opened> open_store(const std::string& directory, const Options& options,
                                          const Environment& environment, const RecoveryTarget& target = {});
  /// See Store::open_at.
  static Result<Store::Opened> open_store_at(const std::string& directory, Options options,
                                             const Environment& environment, const RecoveryTarget& target,
                                             const StateCheck& check, IfInvalid if_invalid);
  ~Engine();

  Result<Sequence> write(const Batch& batch, std::optional<Durability> wait) EXCLUDES(write_mutex_);
  Status sync(Sequence through);
  Result<std::string> get(std::uint32_t keyspace, std::string_view key, const View* view) const;
  Result<PinnedValue> get_pinned(std::uint32_t keyspace, std::string_view key) const;
  std::vector<Result<std::string>> multi_get(std::uint32_t keyspace, const std::vector<std::string_view>& keys) const;
  View view() const;
  Result<Cursor> cursor(Keyspace keyspace, const CursorOptions& options) const;

  Result<Keyspace> create_keyspace(std::string_view name) EXCLUDES(write_mutex_);
  Result<Keyspace> keyspace(std::string_view name) const;
  Status rename_keyspace(Keyspace keyspace, std::string_view name) EXCLUDES(write_mutex_);
  Status drop_keyspace(Keyspace keyspace) EXCLUDES(write_mutex_);
  std::vector<KeyspaceInfo> keyspaces() const;
  Result<Sequence> bulk_load(Keyspace keyspace, const RecordSource& source)
      EXCLUDES(compaction_mutex_, checkpoint_mutex_, write_mutex_);
  Result<EventStream> stream(Sequence from);
  Result<Store::Followed> follow() EXCLUDES(checkpoint_mutex_, write_mutex_);
  Status checkpoint() EXCLUDES(checkpoint_mutex_, write_mutex_);
  Status compact(Keyspace keyspace) EXCLUDES(compaction_mutex_, checkpoint_mutex_);
  Status trim() EXCLUDES(compaction_mutex_, checkpoint_mutex_);
  Result<ScrubResult> scrub(const std::function<void(std::uint64_t done, std::uint64_t total)>& progress)
      EXCLUDES(compaction_mutex_, checkpoint_mutex_, write_mutex_, background_mutex_);
  StoreStats stats() const;
  Result<KeyspaceStats> keyspace_stats(Keyspace keyspace) const;
  Status set_limits(Keyspace keyspace, const KeyspaceLimits& limits);
  std::vector<DamageInfo> damage() const;
  Status accept_damage(std::uint64_t id) EXCLUDES(compaction_mutex_, checkpoint_mutex_, write_mutex_);

  Health health() const EXCLUDES(health_mutex_);
  RecoveryDebt recovery_debt() const;
  std::vector<ComponentInfo> components() const;
  Metrics metrics() const EXCLUDES(health_mutex_);
  /// Tells other processes how the store is (live_view.h): when what fails has changed (`news`), else once a second
  /// while anything changes, and every ten seconds when nothing does. Of the supervisor alone, and of tests.
  void publish_view(bool news) EXCLUDES(supervision_mutex_, health_mutex_);
  Status reboot(std::string_view component)
      EXCLUDES(compaction_mutex_, checkpoint_mutex_, write_mutex_, health_mutex_, workers_mutex_);
  std::vector<Incident> incidents() const EXCLUDES(health_mutex_);
  std::vector<PlaybookInfo> playbooks();
  Result<Incident> run_playbook(std::string_view failure, std::string_view component) EXCLUDES(supervision_mutex_);

  /// Whatever needs more than reads comes here first: does what is left of the start, unless that is done. Errors:
  /// those of the process (is_of_the_process), kUnavailable; the next call tries again.
  Status started() EXCLUDES(start_mutex_, checkpoint_mutex_) {
    return started_.load(std::memory_order_acquire) ? Status() : finish_start();
  }
  /// One round of background work on the calling thread: the log, a checkpoint when one is due, a compaction likewise.
  Status step();

  /// Options that a rollout found good, as lines of options_text.h: in force from the next start on, also when others
  /// are given to it (Options::use_promoted). Durable. Replaces what was promoted before; empty: nothing is.
  Status promote(std::string lines) EXCLUDES(checkpoint_mutex_, write_mutex_);
  [[nodiscard]] const Options& options() const { return options_; }  ///< in force

  /// What a reader of the log gives, in the words of the stream. For tools too, which read a log beside its writer.
  static StreamEvent told(const LogEntry& entry);

  /// For tests, which drive the background work themselves.
  [[nodiscard]] static Engine& of(const Store& store) { return *store.engine_; }

 private:
  friend struct View::State;
  friend class EventStream;
  Engine(std::string directory, Options options, const Environment& environment, const RecoveryTarget& target);

  // open.cc, and the passes in open_*.cc: before any other thread knows of the engine
  struct Start;
  Status recover(Start& start) NO_THREAD_SAFETY_ANALYSIS;
  template <typename Work>
  Status pass(Start& start, std::string_view name, const Work& work);
  [[nodiscard]] bool ordinary(const Start& start) const;
  void learn_costs(const Start& start) NO_THREAD_SAFETY_ANALYSIS;
  Status begin_to_write(Start& start) NO_THREAD_SAFETY_ANALYSIS;
  Status finish_start() EXCLUDES(start_mutex_, checkpoint_mutex_);
  Status lock_to_write(Start& start);
  Status sync_names();
  Status lock_copy();
  Status lock_to_read(Start& start);
  [[nodiscard]] bool looks_only() const { return options_.read_only || !no_writes_.ok(); }
  bool serve_without_log(Start& start, const Status& why);
  Status choose_snapshot(Start& start) NO_THREAD_SAFETY_ANALYSIS;
  Status use_promoted() NO_THREAD_SAFETY_ANALYSIS;
  Status go_back(Start& start);
  static Status finish_telling(Start& start);
  Status at_target(const Start& start);
  Status state_from_runs(Start& start) NO_THREAD_SAFETY_ANALYSIS;
  Status describe_runs(Start& start, std::vector<RunInfo>& described, std::vector<std::uint64_t>& undescribed);
  static void lose_keyspace(Start& start, const RunInfo& info, const std::string& why);
  Status open_runs(Start& start) NO_THREAD_SAFETY_ANALYSIS;
  static void lose_run(Start& start, const RunInfo& info, const char* case_name, const Status& why);
  static void tell_of_names(Start& start, const RunInfo& info, const Status& why);
  static void find_again(Start& start, const RunInfo& info);
  Status replay(Start& start) NO_THREAD_SAFETY_ANALYSIS;
  static void note_loads(Start& start, std::span<const WalRecord> events);
  void lose_loads(Start& start) NO_THREAD_SAFETY_ANALYSIS;
  Status set_aside(Start& start) NO_THREAD_SAFETY_ANALYSIS;
  void set_unnamed_aside(Start& start) NO_THREAD_SAFETY_ANALYSIS;
  Status set_damage(Start& start) NO_THREAD_SAFETY_ANALYSIS;
  void skip_lost_ids(const DamageMap& lost) REQUIRES(write_mutex_);
  Sequence newest_in_catalog(std::string_view key) const REQUIRES(write_mutex_);
  Status start_log(Start& start) NO_THREAD_SAFETY_ANALYSIS;
  Status tidy(Start& start) NO_THREAD_SAFETY_ANALYSIS;
  Status tidy_cut_off(const Start& start) NO_THREAD_SAFETY_ANALYSIS;
  void find_unnamed(const Start& start) NO_THREAD_SAFETY_ANALYSIS;
  void sum_up(Start& start) NO_THREAD_SAFETY_ANALYSIS;
  void write_report(Start& start) NO_THREAD_SAFETY_ANALYSIS;

  // write.cc
  Status may_write();
  Status check_batch(const Batch& batch);
  Status takes_writes(const Batch& batch) const REQUIRES(write_mutex_);
  /// `event` is taken when it is in the log and could not be applied.
  Result<Sequence> commit(std::string_view event) REQUIRES(write_mutex_);
  Status place(std::string_view event) REQUIRES(write_mutex_);
  /// Before anything else is done under the lock: applies what memory was too short for.
  Status place_unplaced() REQUIRES(write_mutex_);
  /// `at_hand`: of a replay, told of each event before it is applied.
  void apply(std::span<const WalRecord> events, Attempts* at_hand = nullptr) REQUIRES(write_mutex_);
  void apply_op(Sequence sequence, const Op& op) REQUIRES(write_mutex_);
  Memtable& memtable_for(std::uint32_t keyspace) REQUIRES(write_mutex_);
  void publish_state(std::shared_ptr<State> state) REQUIRES(write_mutex_);

  // catalog.cc
  void apply_catalog(std::string_view key, std::optional<std::string_view> value) REQUIRES(write_mutex_);
  void name_keyspace(std::uint32_t id, std::optional<std::string_view> name) REQUIRES(write_mutex_);
  void add_nameless_keyspace(std::uint32_t id) REQUIRES(write_mutex_);
  void take_names_again() REQUIRES(checkpoint_mutex_, write_mutex_);
  [[nodiscard]] std::optional<Catalog> catalog_at(const KeyspaceState& frozen, const std::vector<PlacedRun>& runs) const
      REQUIRES(checkpoint_mutex_);

  // bulkhead.cc
  Status admit(const Batch& batch, Admission& out) EXCLUDES(checkpoint_mutex_, write_mutex_);
  Status wait_for_share(const Batch& batch) EXCLUDES(checkpoint_mutex_, write_mutex_);
  Status wait_for_log(const Admission& admission) EXCLUDES(write_mutex_);
  void count_logged(const Admission& admission, Sequence sequence, std::uint64_t bytes);
  [[nodiscard]] bool shares_filling() const;
  void add_bulkhead(const State& state, const KeyspaceState& in, KeyspaceStats& stats) const;

  // checkpoint.cc
  struct Frozen;
  struct Outputs;
  Status keep_checkpointed() EXCLUDES(checkpoint_mutex_, write_mutex_);
  Status checkpoint_if(bool (Engine::*due)() const) EXCLUDES(checkpoint_mutex_, write_mutex_);
  void price_recovery() REQUIRES(checkpoint_mutex_);
  Status checkpoint_locked(CheckpointInfo& info) REQUIRES(checkpoint_mutex_) EXCLUDES(write_mutex_);
  [[nodiscard]] bool memtables_full() const;
  [[nodiscard]] bool checkpoint_due() const;
  [[nodiscard]] bool memtables_overfull() const;
  [[nodiscard]] bool memtables_beyond_shares() const;
  [[nodiscard]] bool always() const { return true; }
  Result<Frozen> freeze() REQUIRES(checkpoint_mutex_) EXCLUDES(write_mutex_);
  void install_checkpoint(const Frozen& frozen, const Outputs& outputs) REQUIRES(checkpoint_mutex_)
      EXCLUDES(write_mutex_);
  Status flush(const Frozen& frozen, Outputs& outputs) REQUIRES(checkpoint_mutex_);
  Status release() REQUIRES(checkpoint_mutex_);

  // history.cc
  [[nodiscard]] std::vector<const Manifest*> kept_generations() const REQUIRES(checkpoint_mutex_);
  /// Of the generations, keeps the newest and the one at `older`; the others become the past, as far as it is wanted.
  void pass_into_history(std::size_t older) REQUIRES(checkpoint_mutex_);
  void limit_history() REQUIRES(checkpoint_mutex_);
  [[nodiscard]] Sequence oldest_kept_sequence() const REQUIRES(checkpoint_mutex_);
  [[nodiscard]] std::uint64_t history_bytes() const REQUIRES(checkpoint_mutex_);
  [[nodiscard]] std::uint64_t log_bytes_between(Sequence after, Sequence through) const;
  Status give_up_history() EXCLUDES(checkpoint_mutex_);

  // jobs.cc: what flush, compaction and bulk load share
  Status add_output(RunBuilder& builder, std::vector<std::uint64_t> supersedes, Outputs& outputs);
  Result<std::shared_ptr<LiveRun>> open_run(const RunInfo& info) const;
  Manifest next_generation() REQUIRES(checkpoint_mutex_);
  /// `install` brings into use what the manifest names; it may fail for want of memory, and is then done again.
  Status publish_generation(Manifest next, std::function<void()> install) REQUIRES(checkpoint_mutex_);
  /// As publish_generation; recoveries/manifest stays, which may be all there is of the newest state.
  Status publish_uncopied(Manifest next, std::function<void()> install) REQUIRES(checkpoint_mutex_);
  Status repeat_generation() REQUIRES(checkpoint_mutex_);
  void copy_newest_generation() REQUIRES(checkpoint_mutex_);
  Status finish_install() REQUIRES(checkpoint_mutex_);
  Status give_up(Outputs& outputs, Status why) REQUIRES(checkpoint_mutex_);
  Status settle() REQUIRES(checkpoint_mutex_);
  Status clean_up() EXCLUDES(checkpoint_mutex_);
  void place_runs(State& state, const std::set<std::uint32_t>& keyspaces) REQUIRES(checkpoint_mutex_);
  /// The store is being abandoned, or the worker whose thread asks is to be rebooted.
  [[nodiscard]] bool stopping() const;

  // compact.cc
  struct Compaction;
  Status compact_everything(Keyspace keyspace) REQUIRES(compaction_mutex_) EXCLUDES(checkpoint_mutex_);
  Result<bool> compact_one() REQUIRES(compaction_mutex_) EXCLUDES(checkpoint_mutex_);
  Status run_compaction(Compaction& job) REQUIRES(compaction_mutex_) EXCLUDES(checkpoint_mutex_);
  Status move_runs(Compaction& job) REQUIRES(checkpoint_mutex_) EXCLUDES(write_mutex_);
  Status merge_runs(Compaction& job) REQUIRES(compaction_mutex_) EXCLUDES(checkpoint_mutex_);
  Status install_compaction(Compaction& job) REQUIRES(checkpoint_mutex_) EXCLUDES(write_mutex_);
  void replace_inputs(const Compaction& job) REQUIRES(checkpoint_mutex_) EXCLUDES(write_mutex_);
  void put_into_use(const std::set<std::uint32_t>& keyspaces) REQUIRES(checkpoint_mutex_) EXCLUDES(write_mutex_);
  void pace(std::int64_t began, std::uint64_t bytes) const;

  // bulk_load.cc
  struct BulkLoad;
  Status write_loaded(BulkLoad& job, const RecordSource& source) REQUIRES(compaction_mutex_)
      EXCLUDES(checkpoint_mutex_, write_mutex_);
  Status install_loaded(BulkLoad& job) REQUIRES(compaction_mutex_, checkpoint_mutex_) EXCLUDES(write_mutex_);
  Status announce(const BulkLoad& job) REQUIRES(checkpoint_mutex_) EXCLUDES(write_mutex_);

  // stream.cc
  LogNow log_now() const;
  [[nodiscard]] bool wait_for_log(Sequence position, std::int64_t ns) const;

  // heal.cc
  Result<bool> heal_one() REQUIRES(compaction_mutex_) EXCLUDES(checkpoint_mutex_);
  void retry_later(std::uint64_t run, const Status& why) REQUIRES(compaction_mutex_);
  bool rests(std::uint64_t run) REQUIRES(compaction_mutex_);
  Status heal(const RunInfo& hurt) REQUIRES(compaction_mutex_) EXCLUDES(checkpoint_mutex_, write_mutex_);

  // rebuild.cc
  struct Rebuild;
  Result<bool> rebuild_one() REQUIRES(compaction_mutex_) EXCLUDES(checkpoint_mutex_, write_mutex_);
  Status rebuild(Rebuild& job) REQUIRES(compaction_mutex_, checkpoint_mutex_) EXCLUDES(write_mutex_);
  void take_names_from_snapshot(Rebuild& job) REQUIRES(checkpoint_mutex_);
  Status find_sources(Rebuild& job) REQUIRES(checkpoint_mutex_) EXCLUDES(write_mutex_);
  Result<bool> read_log(const LogPart& part, Memtable& out) REQUIRES(checkpoint_mutex_) EXCLUDES(write_mutex_);
  Status keep_evidence(const Rebuild& job) REQUIRES(checkpoint_mutex_);
  Status write_replacement(Rebuild& job) REQUIRES(checkpoint_mutex_);
  Status publish_replacement(Rebuild& job) REQUIRES(compaction_mutex_, checkpoint_mutex_) EXCLUDES(write_mutex_);
  void install_replacement(const RunInfo& old, const std::shared_ptr<LiveRun>& run,
                           const std::shared_ptr<const DamageMap>& damage)
      REQUIRES(compaction_mutex_, checkpoint_mutex_) EXCLUDES(write_mutex_);
  std::shared_ptr<const DamageMap> damage_now() EXCLUDES(write_mutex_);

  // scrub.cc
  std::vector<ScrubItem> scrub_items() EXCLUDES(checkpoint_mutex_);
  std::int64_t oldest_file_ns() EXCLUDES(checkpoint_mutex_);
  Result<bool> scrub_one() REQUIRES(compaction_mutex_) EXCLUDES(checkpoint_mutex_, write_mutex_, background_mutex_);
  Status scrub_item(const ScrubItem& item, ScrubResult& out) REQUIRES(compaction_mutex_)
      EXCLUDES(checkpoint_mutex_, write_mutex_);
  Status scrub_manifest(std::uint64_t number, ScrubResult& out) EXCLUDES(checkpoint_mutex_);
  Status scrub_run(std::uint64_t number, ScrubResult& out) REQUIRES(compaction_mutex_)
      EXCLUDES(checkpoint_mutex_, write_mutex_);
  Status scrub_segment(std::uint64_t number, ScrubResult& out) REQUIRES(compaction_mutex_)
      EXCLUDES(checkpoint_mutex_, write_mutex_);
  Status replace_older() REQUIRES(compaction_mutex_) EXCLUDES(checkpoint_mutex_, write_mutex_);
  Status renew_log();
  Status scrub_quarantine(ScrubResult& out) EXCLUDES(checkpoint_mutex_);
  void add_scrubbed(const ScrubResult& found) EXCLUDES(background_mutex_);

  // background.cc
  struct Worker {
    std::string_view name;
    void (Engine::*drive)() = nullptr;
    std::thread thread{};
    std::atomic<bool> stop{false};
    std::atomic<bool> ended{false};    // its thread has nothing left to do; without `stop`: it failed
    std::atomic<bool> missing{false};  // there was no thread to be had
  };
  Status begin_workers() EXCLUDES(workers_mutex_);
  /// Errors: kUnavailable, kOutOfMemory: it has no thread, and this may be called again.
  Status begin(Worker& worker) REQUIRES(workers_mutex_);
  void begin_missing() EXCLUDES(workers_mutex_, health_mutex_);
  void end_workers() EXCLUDES(workers_mutex_);
  void drive(Worker& worker);
  void drive_log();
  void drive_checkpoints();
  void drive_compactions();
  void drive_supervision();
  struct LogPace {
    std::int64_t quiet_since = 0;
    Sequence durable = 0;  // as seen last: writers, too, write the log
    bool sealed = false, small = false, burst = false;
    std::int64_t copies_look_at = 0, copies_retry_at = 0, copies_retry_after = 0;
  };
  Status drive_log_once(LogPace& pace);
  void pace_copies(LogPace& pace);
  Result<bool> tend_runs() EXCLUDES(compaction_mutex_, checkpoint_mutex_, write_mutex_);
  void watch_copies(bool retry);
  /// Ok: this work may be tried. Of a breaker that is half open, writes, syncs and reads back a probe first.
  Status admit(Part part);
  void tell(Part part, const Status& status);
  template <typename Work>
  Result<bool> attempt(Part part, const Work& work);
  Status failpoint(std::string_view name) const {
    Status injected = failpoint_ ? failpoint_(name) : Status();
    return injected.ok() ? daruma::failpoint(name) : injected;
  }

  // space.cc
  void watch_space() EXCLUDES(health_mutex_, write_mutex_);
  Status make_ballast();
  Status give_up_ballast();
  bool yield_space() EXCLUDES(health_mutex_);
  [[nodiscard]] std::uint64_t space_needed() const;
  Status has_room() const EXCLUDES(health_mutex_);

  // supervise.cc
  struct Trouble {
    std::string failure;
    std::string component;
    Status cause;
  };
  /// A failure whose playbook has ended and that has not.
  struct Escalation {
    Status told;
    Incident incident;
  };
  bool supervise() EXCLUDES(supervision_mutex_, health_mutex_);
  bool is_over(const Trouble& trouble) EXCLUDES(health_mutex_);
  void end_escalations(const std::vector<Trouble>& found) REQUIRES(supervision_mutex_) EXCLUDES(health_mutex_);
  std::vector<HealthTree::Finding> look() const EXCLUDES(health_mutex_);
  Status damage_status() const;
  Status drill_status() const;
  void look_at_drills() REQUIRES(supervision_mutex_);
  BlastRadius blast_radius() const;
  std::vector<Trouble> troubles() EXCLUDES(health_mutex_);
  Incident handle(const Trouble& trouble) REQUIRES(supervision_mutex_) EXCLUDES(health_mutex_);
  Playbook playbook_for(const Trouble& trouble);
  void report_broken(std::string component, Status cause) EXCLUDES(health_mutex_);
  std::optional<Trouble> take_broken(std::string_view component) EXCLUDES(health_mutex_);

  // reboot.cc
  Status reboot_worker(std::string_view name) EXCLUDES(workers_mutex_);
  Status reboot_log() EXCLUDES(workers_mutex_);
  Status reboot_keyspace(std::string_view name) EXCLUDES(checkpoint_mutex_, write_mutex_);
  Status recover_keyspace(std::uint32_t id) EXCLUDES(checkpoint_mutex_, write_mutex_);
  Status reread_keyspace(std::uint32_t id) REQUIRES(checkpoint_mutex_) EXCLUDES(write_mutex_);

  const std::string directory_;
  Options options_;              // set by recovery only
  const RecoveryTarget target_;  // of a reconstruction; else without bounds
  const std::shared_ptr<Storage> storage_;
  Clock& clock_;
  const bool threads_;
  const bool start_late_;
  const CompactionSettings compaction_;
  const std::function<void(Sequence)> before_apply_;         // may be empty
  const std::function<Status(std::string_view)> failpoint_;  // may be empty
  std::unique_ptr<DirectoryLock> lock_;
  std::unique_ptr<DirectoryLock> copy_lock_;  // of wal-copy/, which may be somewhere else
  Status copy_refused_;                       // why wal-copy/ is not ours to touch; set by recovery only
  /// By keyspace: versions in runs that could not be opened; set by recovery only.
  std::map<std::uint32_t, std::uint64_t> lost_entries_;
  StoreId store_id_;
  std::unique_ptr<WalWriter> wal_;  // once `started`; null when read-only
  Mutex start_mutex_;
  std::unique_ptr<Start> unfinished_ GUARDED_BY(start_mutex_);
  std::atomic<bool> started_{false};
  struct {
    Sequence durable = 0;
    std::uint64_t log_bytes = 0;
    std::vector<LiveSegment> segments;
  } found_;  // by the start, what the log says from then on; set by recovery only
  std::shared_ptr<BlockCache> cache_;
  std::shared_ptr<ArenaBlocks> arena_blocks_;  // of memtables

  std::atomic<const State*> state_{nullptr};
  std::atomic<Sequence> visible_{0};
  std::atomic<std::uint64_t> memtable_bytes_{0};
  // A bulk load that the log tells of, and that is not yet known to be in force, or not to be: its event (0: none), and
  // a count that is odd meanwhile. Both change under checkpoint_mutex_.
  std::atomic<Sequence> announced_{0};
  std::atomic<std::uint64_t> announcements_{0};
  std::atomic<bool> limited_{false};  // a keyspace has, or had, a limit of its own
  LogBacklog common_backlog_;         // of the keyspaces without a share
  std::atomic<bool> read_only_{false};
  Status no_writes_;  // why this start could not begin a log; set by recovery only

  Mutex next_mutex_;  // who holds it takes `write_mutex_` next, once a keyspace has limits
  Mutex write_mutex_;
  Random random_ GUARDED_BY(write_mutex_);
  std::shared_ptr<State> current_ GUARDED_BY(write_mutex_);
  Sequence last_ GUARDED_BY(write_mutex_) = 0;
  std::atomic<bool> has_unplaced_{false};
  std::string unplaced_ GUARDED_BY(write_mutex_);  // event `last_`: in the log, not yet all in memtables
  std::uint32_t next_keyspace_ GUARDED_BY(write_mutex_) = 1;
  std::uint32_t rebooting_ GUARDED_BY(write_mutex_) = kCatalogKeyspace;  // takes no writes; the catalogue: none is

  // What a start now would have to build again, in bytes of memtables, and how much of that may gather.
  std::atomic<std::uint64_t> replay_bytes_{0};  // changes under write_mutex_
  std::atomic<std::uint64_t> checkpoint_at_{0};
  std::atomic<std::uint64_t> wait_at_{0};
  RecoveryBudget budget_ GUARDED_BY(checkpoint_mutex_);
  std::string promoted_ GUARDED_BY(checkpoint_mutex_);  // options, as every manifest tells them
  std::atomic<std::int64_t> estimated_open_ns_{0};      // with nothing to replay
  std::atomic<std::uint64_t> replay_rate_{1};           // bytes a second
  std::int64_t last_start_ns_ = 0;                      // set by recovery only

  Mutex compaction_mutex_;
  std::uint32_t compacted_last_ GUARDED_BY(compaction_mutex_) = 0;   // keyspace
  std::set<std::uint64_t> hurt_runs_ GUARDED_BY(compaction_mutex_);  // cannot be read whole, so are not compacted
  /// The device refuses part of them: each is tried again when its breaker lets it.
  std::map<std::uint64_t, CircuitBreaker> unhealable_runs_ GUARDED_BY(compaction_mutex_);

  std::optional<ScrubPosition> scrub_ GUARDED_BY(compaction_mutex_);  // nothing: the note was not read yet
  std::int64_t scrub_look_ns_ GUARDED_BY(compaction_mutex_) = 0;      // not before, on the monotonic clock

  Mutex checkpoint_mutex_;
  std::vector<Manifest> generations_ GUARDED_BY(checkpoint_mutex_);  // newest first
  History past_limits_;                                              // set by recovery only
  std::vector<Manifest> past_generations_
      GUARDED_BY(checkpoint_mutex_);  // older, kept for Options::history alone; newest first
  std::optional<Catalog> snapshot_catalog_ GUARDED_BY(checkpoint_mutex_);  // as the newest manifest has it, or should
  std::map<std::uint64_t, std::shared_ptr<LiveRun>> live_ GUARDED_BY(checkpoint_mutex_);  // of the newest, by number
  std::map<std::uint64_t, RunInfo> on_disk_ GUARDED_BY(checkpoint_mutex_);  // published and not yet removed
  std::set<std::uint64_t> lost_runs_ GUARDED_BY(checkpoint_mutex_);         // beyond parity, to be rebuilt
  std::uint64_t rebuilt_last_ GUARDED_BY(checkpoint_mutex_) = 0;            // the one of them that had its turn
  std::set<std::uint64_t> unsettled_runs_ GUARDED_BY(checkpoint_mutex_);    // of failed jobs, to be removed
  std::set<std::uint64_t> unsettled_manifests_ GUARDED_BY(checkpoint_mutex_);
  bool untidy_ GUARDED_BY(checkpoint_mutex_) = false;  // runs of the life before that no generation names, likewise
  std::function<void()> install_ GUARDED_BY(checkpoint_mutex_);  // of the newest generation, when not yet in use
  std::atomic<bool> unclean_{false};  // files are left that should be gone: of failed jobs, or that nothing needs
  std::uint64_t next_manifest_ GUARDED_BY(checkpoint_mutex_) = 1;
  std::atomic<std::uint64_t> next_file_{1};
  std::atomic<Sequence> snapshot_sequence_{0};
  std::atomic<std::uint64_t> checkpoints_{0};
  std::atomic<std::uint64_t> compactions_{0};
  std::atomic<std::uint64_t> compacted_bytes_{0};
  std::atomic<std::uint64_t> healed_{0};
  std::atomic<bool> log_hurt_{
      false};                ///< until a checkpoint: part of the log healed as it was replayed, or lost its copy
  unsigned log_copies_ = 0;  ///< as seen last; of the thread that drives the log
  std::atomic<std::uint64_t> salvaged_{0};
  std::atomic<std::uint64_t> scrub_passes_{0};

  mutable Mutex background_mutex_;
  ScrubResult scrubbed_ GUARDED_BY(background_mutex_);  // since open

  Components components_;

  Mutex supervision_mutex_;  // one round, one playbook at a time
  IncidentHistory history_ GUARDED_BY(supervision_mutex_);
  std::int64_t drills_look_ns_ GUARDED_BY(supervision_mutex_) = 0;              // not before, on the monotonic clock
  std::map<std::string, Escalation> escalated_ GUARDED_BY(supervision_mutex_);  // until they are over
  struct {
    std::uint64_t number = 0;
    std::int64_t at_ns = 0;  // on the monotonic clock
    std::uint64_t hash = 0;
    std::string holder;  // what the lock file says of this process
  } published_ GUARDED_BY(supervision_mutex_);
  mutable Mutex health_mutex_;  // none is taken while it is held
  mutable HealthTree health_ GUARDED_BY(health_mutex_);
  std::vector<Trouble> broken_ GUARDED_BY(health_mutex_);  // what broke an invariant, until it is rebooted
  std::vector<Incident> incidents_ GUARDED_BY(health_mutex_);
  RecoveryHistory past_ GUARDED_BY(health_mutex_);  // this life included, once its start has come to its end
  std::uint64_t start_number_ GUARDED_BY(health_mutex_) = 0;
  std::int64_t started_wall_ns_ GUARDED_BY(health_mutex_) = 0;
  std::string store_name_ GUARDED_BY(health_mutex_);
  Status escalation_ GUARDED_BY(health_mutex_);  // the newest that is not over
  Status room_ GUARDED_BY(health_mutex_);        // why puts are refused
  std::atomic<bool> no_room_{false};
  std::atomic<bool> space_seen_{false};           // there was a look at it
  std::atomic<bool> ballast_{false};              // it is there
  std::atomic<std::int64_t> newest_drill_ns_{0};  // 0: none was held
  std::string_view step_at_hand_ GUARDED_BY(health_mutex_);
  std::int64_t step_due_ns_ GUARDED_BY(health_mutex_) = 0;

  EpochRetired retired_;
  std::atomic<bool> stop_{false};
  Mutex workers_mutex_;
  std::array<Worker, 4> workers_;  // the supervisor first
};

struct View::State {
  std::shared_ptr<const Engine> engine;
  std::shared_ptr<const daruma::State> state;
  Sequence sequence = 0;
};

}  // namespace daruma
