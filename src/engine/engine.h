// SPDX-License-Identifier: Apache-2.0
//
// The only implementer of the public API.
//
// What must stay true:
//   - A write is appended to the log before it is in a memtable, in a memtable before it is visible, and visible in
//   sequence
//     order. `write_mutex_` makes it so; readers take no lock.
//   - Nothing is released (log, runs, memtables) before what replaces it is durable and has been read back.
//   - Destruction writes nothing.
//
// Lock order: checkpoint_mutex_, write_mutex_, then the locks inside the log; none is held while user code runs.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/epoch.h"
#include "base/mutex.h"
#include "base/random.h"
#include "daruma/store.h"
#include "engine/state.h"
#include "io/storage.h"
#include "run/block_cache.h"
#include "snapshot/manifest.h"
#include "wal/wal_writer.h"

namespace daruma {

/// What tests and tools inject; the defaults are the real machine.
struct Environment {
  std::shared_ptr<Storage> storage;
  Clock* clock = nullptr;
  std::uint64_t seed = 0;  ///< for identities
  bool threads = true;     ///< false: background work happens only in `Engine::step`
};

class Engine : public std::enable_shared_from_this<Engine> {
 public:
  struct Opened {
    std::shared_ptr<Engine> engine;
    RecoveryReport report;
  };
  static Result<Opened> open(const std::string& directory, const Options& options, const Environment& environment);
  static Result<Store::Opened> open_store(const std::string& directory, const Options& options,
                                          const Environment& environment);
  ~Engine();

  Result<Sequence> write(const Batch& batch, std::optional<Durability> wait) EXCLUDES(write_mutex_);
  Status sync(Sequence through);
  Result<std::string> get(std::uint32_t keyspace, std::string_view key, const View* view) const;
  View view() EXCLUDES(views_mutex_);
  Result<Cursor> cursor(Keyspace keyspace, const CursorOptions& options);

  Result<Keyspace> create_keyspace(std::string_view name) EXCLUDES(write_mutex_);
  Result<Keyspace> keyspace(std::string_view name) const;
  Status rename_keyspace(Keyspace keyspace, std::string_view name) EXCLUDES(write_mutex_);
  Status drop_keyspace(Keyspace keyspace) EXCLUDES(write_mutex_);
  std::vector<KeyspaceInfo> keyspaces() const;
  Status checkpoint() EXCLUDES(checkpoint_mutex_, write_mutex_);
  StoreStats stats() const;

  /// One round of background work on the calling thread: the log, then a checkpoint when one is due.
  Status step();

  [[nodiscard]] static std::uint32_t id_of(Keyspace keyspace) { return keyspace.id(); }

 private:
  friend struct View::State;
  Engine(std::string directory, Options options, const Environment& environment);

  // open.cc: before any other thread knows of the engine
  struct Start;
  Status recover(Start& start) NO_THREAD_SAFETY_ANALYSIS;
  Status choose_snapshot(Start& start) NO_THREAD_SAFETY_ANALYSIS;
  Status open_runs(Start& start) NO_THREAD_SAFETY_ANALYSIS;
  Status replay(Start& start) NO_THREAD_SAFETY_ANALYSIS;
  Status set_damage(Start& start) NO_THREAD_SAFETY_ANALYSIS;
  Status start_log(Start& start) NO_THREAD_SAFETY_ANALYSIS;
  void write_report(Start& start) NO_THREAD_SAFETY_ANALYSIS;

  // write.cc
  Status check_batch(const Batch& batch) const;
  Result<Sequence> commit(std::string_view event) REQUIRES(write_mutex_);
  void apply(Sequence sequence, std::string_view event) REQUIRES(write_mutex_);
  Memtable& memtable_for(std::uint32_t keyspace) REQUIRES(write_mutex_);
  void apply_catalog(std::string_view key, std::optional<std::string_view> name) REQUIRES(write_mutex_);
  void publish_state(std::shared_ptr<State> state) REQUIRES(write_mutex_);

  // checkpoint.cc
  Status checkpoint_locked() REQUIRES(checkpoint_mutex_) EXCLUDES(write_mutex_);
  std::vector<Sequence> pinned_sequences() const EXCLUDES(views_mutex_);
  struct Frozen;
  Frozen freeze() REQUIRES(checkpoint_mutex_) EXCLUDES(write_mutex_);
  Result<std::vector<std::shared_ptr<LiveRun>>> flush(const Frozen& frozen) REQUIRES(checkpoint_mutex_);
  void install(const Frozen& frozen, const std::vector<std::shared_ptr<LiveRun>>& runs) REQUIRES(checkpoint_mutex_)
      EXCLUDES(write_mutex_);
  Status release() REQUIRES(checkpoint_mutex_);
  Result<std::shared_ptr<LiveRun>> open_run(const RunInfo& info);
  void background();

  const std::string directory_;
  const Options options_;
  const std::shared_ptr<Storage> storage_;
  Clock& clock_;
  std::unique_ptr<DirectoryLock> lock_;
  StoreId store_id_;
  std::unique_ptr<WalWriter> wal_;
  std::shared_ptr<BlockCache> cache_;

  std::atomic<const State*> state_{nullptr};
  std::atomic<Sequence> visible_{0};
  std::atomic<std::uint64_t> memtable_bytes_{0};
  std::atomic<bool> read_only_{false};

  Mutex write_mutex_;
  Random random_ GUARDED_BY(write_mutex_);
  std::shared_ptr<State> current_ GUARDED_BY(write_mutex_);
  Sequence last_ GUARDED_BY(write_mutex_) = 0;
  std::uint32_t next_keyspace_ GUARDED_BY(write_mutex_) = 1;

  Mutex checkpoint_mutex_;
  std::vector<Manifest> generations_ GUARDED_BY(checkpoint_mutex_);  // newest first
  std::uint64_t next_file_ GUARDED_BY(checkpoint_mutex_) = 1;
  std::uint64_t next_manifest_ GUARDED_BY(checkpoint_mutex_) = 1;
  std::atomic<Sequence> snapshot_sequence_{0};
  std::atomic<std::uint64_t> checkpoints_{0};

  mutable Mutex views_mutex_;
  std::multiset<Sequence> views_ GUARDED_BY(views_mutex_);

  EpochRetired retired_;
  std::atomic<bool> stop_{false};
  std::thread worker_;
};

struct View::State {
  std::shared_ptr<Engine> engine;
  std::shared_ptr<const daruma::State> state;
  Sequence sequence = 0;
  ~State();
};

}  // namespace daruma
