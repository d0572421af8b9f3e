// SPDX-License-Identifier: Apache-2.0
//
// The store. There is no close: destroying a Store abandons it, as a kill would, and the next open recovers.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daruma/event_listener.h"
#include "daruma/health.h"
#include "daruma/history.h"
#include "daruma/options.h"
#include "daruma/playbook.h"
#include "daruma/recovery_report.h"
#include "daruma/status.h"

namespace daruma {

class Engine;
class CursorState;
class EventStream;
struct Metrics;
struct Pin;

/// A named, ordered map inside a store. A handle: cheap to copy, stays valid until the keyspace is dropped (operations
/// on it then give kNotFound). Ids are never used twice. Thread: a value type.
class Keyspace {
 public:
  Keyspace() = default;
  [[nodiscard]] std::uint32_t id() const { return id_; }
  bool operator==(const Keyspace&) const = default;

 private:
  friend class Engine;
  explicit Keyspace(std::uint32_t id) : id_(id) {}
  std::uint32_t id_ = 0;
};

struct KeyspaceInfo {
  Keyspace keyspace;
  std::string name;
};

/// Writes that apply whole or not at all, across keyspaces. Of several operations on one key the last wins.
/// Copies what it is given; when memory is too short for that, the write of the batch gives kOutOfMemory. Thread: one
/// at a time.
class DARUMA_API Batch {
 public:
  Batch() = default;
  Batch(const Batch&) = default;
  Batch& operator=(const Batch&) = default;
  /// What is moved from is empty.
  Batch(Batch&& other) noexcept;
  Batch& operator=(Batch&& other) noexcept;
  void put(Keyspace keyspace, std::string_view key, std::string_view value);
  void erase(Keyspace keyspace, std::string_view key);
  /// Erases every key in [begin, end); an empty `end` means to the last key.
  void erase_range(Keyspace keyspace, std::string_view begin, std::string_view end);
  void clear();
  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] std::size_t size() const { return count_; }   ///< operations
  [[nodiscard]] std::size_t bytes() const { return bytes_; }  ///< keys and values

 private:
  friend class Engine;
  enum class Kind : std::uint8_t { kPut = 1, kErase = 2, kEraseRange = 3 };
  void add(Kind kind, Keyspace keyspace, std::string_view key, std::string_view value);
  std::string event_;                     // as it is logged: room for the count, then the operations
  std::size_t start_ = 0;                 // where the count begins; it ends where the operations begin
  std::uint64_t count_ = 0;               // operations
  std::size_t bytes_ = 0;                 // of keys and values
  std::vector<std::uint32_t> keyspaces_;  // that operations name, neighbours once
  bool ranges_ = false;                   // an operation erases a range
  bool puts_ = false;                     // an operation needs room that no erase gives back
  bool incomplete_ = false;               // an operation found no memory
  Status refused_;                        // an operation is over a limit: why
};

/// A read position: every read through it sees the store as it was when the view was made. Keeps alive what it needs,
/// the store included; costs memory and disk while it lives. Thread: any.
class DARUMA_API View {
 public:
  [[nodiscard]] Sequence sequence() const;

 private:
  friend class Engine;
  friend class Store;
  struct State;
  std::shared_ptr<const State> state_;
};

struct CursorOptions {
  std::string lower;         ///< first key that may be returned
  std::string upper;         ///< first key that may not; empty: no bound
  std::optional<View> view;  ///< read position; by default the newest when the cursor is made
};

/// Bounds for the keys that begin with `prefix`. May throw std::bad_alloc.
DARUMA_API CursorOptions prefix_bounds(std::string_view prefix);

/// Walks one keyspace in key order, both ways, over a fixed read position. A damaged range stops it: `valid()` is false
/// and `status()` is kDataLoss or kCorruption; nothing is skipped in silence. So does memory that is too short
/// (kOutOfMemory), until the next seek. Thread: one at a time.
class DARUMA_API Cursor {
 public:
  Cursor(Cursor&&) noexcept;
  Cursor& operator=(Cursor&&) noexcept;
  ~Cursor();

  void seek_first();
  void seek_last();
  void seek(std::string_view key);  ///< first key >= `key`
  void next();                      ///< only when valid
  void prev();                      ///< only when valid
  [[nodiscard]] bool valid() const;
  [[nodiscard]] std::string_view key() const;    ///< until the next move
  [[nodiscard]] std::string_view value() const;  ///< until the next move
  /// Why it is not valid; ok at either end. On a valid cursor: ok, or kDataLoss where keys that are lost may have been
  /// passed over, since of these only hashes are known.
  [[nodiscard]] Status status() const;

 private:
  friend class Engine;
  explicit Cursor(std::unique_ptr<CursorState> state);
  std::unique_ptr<CursorState> state_;
};

/// A value where the store has it, without a copy. Keeps the memory alive: let it go soon. Thread: a value type.
class DARUMA_API PinnedValue {
 public:
  PinnedValue(const PinnedValue& other);
  PinnedValue(PinnedValue&& other) noexcept
      : pin_(std::exchange(other.pin_, nullptr)), value_(std::exchange(other.value_, {})) {}
  PinnedValue& operator=(PinnedValue other) noexcept {
    std::swap(pin_, other.pin_);
    std::swap(value_, other.value_);
    return *this;
  }
  ~PinnedValue();
  [[nodiscard]] std::string_view view() const { return value_; }
  operator std::string_view() const { return value_; }  // NOLINT(google-explicit-constructor)

 private:
  friend class Engine;
  PinnedValue(Pin* pin, std::string_view value) : pin_(pin), value_(value) {}
  Pin* pin_;  // a share
  std::string_view value_;
};

/// Sets the next record, whose bytes stay as they are until the next call; false: there is none left. Keys rise, and
/// none comes twice. An error ends the load.
using RecordSource = std::function<Result<bool>(std::string_view& key, std::string_view& value)>;

/// A stretch of acknowledged events that is lost, and the keys whose answers are in doubt because of it.
struct DamageInfo {
  std::uint64_t id = 0;                   ///< for `accept_damage`; never reused
  std::optional<std::uint32_t> keyspace;  ///< nothing: every keyspace
  std::string keys;                       ///< in words: "all keys", "3 keys by hash", "from 0x61 up to 0x7a"
  Sequence first_sequence = 0;
  Sequence last_sequence = 0;
  std::string cause;      ///< case name, as in the recovery report
  std::string file;       ///< relative to the store
  bool accepted = false;  ///< given up: reads answer from what is left
};

struct KeyspaceStats {
  std::uint64_t memtable_entries = 0;  ///< versions not yet in runs
  std::uint64_t memtable_bytes = 0;
  std::uint64_t entries = 0;     ///< versions in runs, tombstones included
  std::uint64_t tombstones = 0;  ///< of those
  std::uint64_t runs = 0;
  std::uint64_t run_bytes = 0;  ///< in files
  std::vector<std::uint64_t> runs_per_level;
  KeyspaceLimits limits;
  std::uint64_t operations = 0;  ///< in progress; counted while there is a limit
  std::uint64_t refused = 0;     ///< since open: operations over the limit, which gave kBusy
  std::uint64_t held_back = 0;   ///< since open: times that a write waited for its share of the memory
  std::uint64_t damage = 0;      ///< entries of the damage map that block reads of it, or that name no keyspace
  Status reads;                  ///< why some or all are refused now: kDataLoss or kBusy; ok when none is
  Status writes;                 ///< likewise: kReadOnly, kUnavailable or kBusy (held back, when its share is full)
};

struct StoreStats {
  Sequence sequence = 0;           ///< newest event
  Sequence durable_sequence = 0;   ///< newest event that survives power loss
  Sequence snapshot_sequence = 0;  ///< a start now would replay the events after this one
  std::uint64_t memtable_bytes = 0;
  std::uint64_t keyspaces = 0;
  std::uint64_t runs = 0;
  std::uint64_t run_bytes = 0;
  std::uint64_t checkpoints = 0;      ///< since open
  std::uint64_t compactions = 0;      ///< since open
  std::uint64_t compacted_bytes = 0;  ///< written by them
  std::uint64_t healed_runs = 0;      ///< since open: damaged files written anew, whole
  std::uint64_t salvaged_runs = 0;    ///< since open: damaged files written anew without what was lost
  std::uint64_t log_bytes = 0;        ///< segments on disk
  std::uint64_t damage = 0;           ///< entries of the damage map that block reads
  std::uint64_t scrub_passes = 0;     ///< since open, over the whole store
  ScrubResult scrubbed;               ///< since open
  bool read_only = false;
  unsigned log_copies = 0;  ///< directories that the newest log file stands in; 0: the store takes no writes
  Status background;        ///< why the log or the last background work failed; ok when all is well
};

/// Thread: every method from any thread. Copies share one store; the last one gone abandons it: nothing is flushed.
/// The last one gone waits for the system calls that the store's threads are in: on a device that hangs, as long as it
/// does. Memory that is too short gives kOutOfMemory, with the call undone, or for a write as below; `multi_get`,
/// `view`, `keyspaces`, `damage`, `stats`, `health`, `components`, `incidents` and `playbooks` may throw
/// std::bad_alloc, since their answers have no room for an error.
class DARUMA_API Store {
 public:
  struct Opened;
  struct Followed;

  /// Recovers the store in `directory`, the only way to start. Errors: kBusy (another process has it), kNotFound
  /// (nothing there and `create_if_missing` is false), kUnsupported (a format from the future), kInvalidArgument
  /// (options), kDataLoss (only under RecoveryPolicy::kRefuse), kIoError (the directory cannot be read or written),
  /// kUnavailable and kOutOfMemory (this process lacks descriptors, threads or memory; nothing is concluded from that).
  static Result<Opened> open(const std::string& directory, const Options& options = {});

  /// The store as it was at `target`, to be read: nothing is written, not even to disk. Nearest snapshot at or before
  /// it, then the log; events that cannot be used are passed over and stand in the report, as in `open`, and
  /// `report.last_sequence` is the point. `check`, which may be empty, judges the state. Errors: those of `open`,
  /// kNotFound (the target is before what can be reconstructed, or behind the newest event), and what `check` gives.
  static Result<Opened> open_at(const std::string& directory, const RecoveryTarget& target, const Options& options = {},
                                const StateCheck& check = {}, IfInvalid if_invalid = IfInvalid::kRefuse);

  /// Errors of every write: kInvalidArgument (limits), kNotFound (keyspace dropped), kReadOnly, kBusy (KeyspaceLimits
  /// of one of its keyspaces), kNoSpace, kOutOfMemory or kUnavailable (the log cannot take it, or its device does not
  /// answer). After the last three the write may or may not have happened or survive, but whole, and reads tell.
  Status put(Keyspace keyspace, std::string_view key, std::string_view value, const WriteOptions& options = {});
  Status erase(Keyspace keyspace, std::string_view key, const WriteOptions& options = {});
  Status erase_range(Keyspace keyspace, std::string_view begin, std::string_view end, const WriteOptions& options = {});
  Result<Sequence> write(const Batch& batch, const WriteOptions& options = {});
  /// Returns as soon as the batch is visible and survives a kill; `sync(sequence)` waits until it survives power loss.
  /// One thread can so keep several durable writes in flight.
  Result<Sequence> write_async(const Batch& batch);
  /// Waits until every event up to `through` (default: all so far) survives power loss.
  Status sync(Sequence through = kMaxSequence);

  /// kNotFound when the key is not there; kDataLoss when the answer may lie in a damaged range that `damage()` names;
  /// kCorruption when this very read met damage beyond parity: the background rebuilds it, or names it there. kIoError
  /// when the device refuses what holds it. kBusy: see KeyspaceLimits, which counts a cursor as long as it lives, since
  /// a scan that is let in should come to its end.
  Result<std::string> get(Keyspace keyspace, std::string_view key) const;
  Result<std::string> get(Keyspace keyspace, std::string_view key, const View& view) const;
  /// As `get`, without the copy.
  Result<PinnedValue> get_pinned(Keyspace keyspace, std::string_view key) const;
  /// One result a key, in order, all at one read position.
  std::vector<Result<std::string>> multi_get(Keyspace keyspace, const std::vector<std::string_view>& keys) const;
  [[nodiscard]] View view() const;
  Result<Cursor> cursor(Keyspace keyspace, const CursorOptions& options = {}) const;

  /// Every event from number `from` on (0 means 1), in order, durable ones only; see stream.h. Errors: kNotFound (the
  /// log no longer holds it; Where::sequence is the oldest that it does), kInvalidArgument (there is no such event yet,
  /// nor is it the next: whoever asks has followed another store), kIoError, kUnavailable, kOutOfMemory.
  Result<EventStream> stream(Sequence from) const;
  /// A view and the stream of all that comes after it. Waits until what the view shows is durable, so that a copy of it
  /// is never ahead of the store. Errors: kReadOnly, those of `sync`.
  Result<Followed> follow();

  Result<Keyspace> create_keyspace(std::string_view name);  ///< kExists
  /// kNotFound; kDataLoss when its name may be among what is lost.
  Result<Keyspace> keyspace(std::string_view name) const;
  Status rename_keyspace(Keyspace keyspace, std::string_view name);
  Status drop_keyspace(Keyspace keyspace);
  [[nodiscard]] std::vector<KeyspaceInfo> keyspaces() const;  ///< by name

  /// Takes sorted records of one keyspace straight into the store's files: much faster than batches, durable and
  /// visible at the end, all of it or nothing. They count as written when the call began: what is written meanwhile is
  /// newer, views made meanwhile do not show them. Nothing is compacted or healed until it ends. `source` is called on
  /// this thread; it may read and write the store, and must not call `compact`, `trim`, `scrub`, `accept_damage` or
  /// `bulk_load`. Checkpoints first. Errors: kInvalidArgument (records out of order or over the limits), kNotFound,
  /// what `source` gives, and those of a write; after kIoError, kNoSpace, kOutOfMemory and kUnavailable the load may or
  /// may not have happened, but whole.
  Result<Sequence> bulk_load(Keyspace keyspace, const RecordSource& source);

  /// Writes everything up to now into runs, publishes a snapshot and releases the log behind it.
  Status checkpoint();
  /// Merges the keyspace into its bottom level, one stretch of overlapping runs after the other: deleted and
  /// overwritten values give back their space, as far as no view needs them. Runs that nothing lies over and that have
  /// none to give stay as they are. What is damaged is left out and told, if it cannot be healed. Checkpoints first.
  Status compact(Keyspace keyspace);
  /// Gives the device back what only bursts and a second misfortune need, and history: spare log files, and the runs
  /// and the log that only older snapshots than the newest need. Until the next checkpoint a run that is lost beyond
  /// its parity cannot be rebuilt from those. Checkpoints first.
  Status trim();
  /// Reads every byte of the store now, past the page cache, and heals what is damaged. `progress` is called between
  /// files with bytes done and in all; it must not call the store. Errors: kReadOnly, kIoError, kNoSpace (healing).
  Result<ScrubResult> scrub(const std::function<void(std::uint64_t done, std::uint64_t total)>& progress = {});
  [[nodiscard]] StoreStats stats() const;
  Result<KeyspaceStats> keyspace_stats(Keyspace keyspace) const;  ///< kNotFound
  /// Holds for what begins from now on, until the store is opened again. kNotFound, kInvalidArgument.
  Status set_limits(Keyspace keyspace, const KeyspaceLimits& limits);

  /// What is lost and blocks reads, and what was but has been accepted.
  [[nodiscard]] std::vector<DamageInfo> damage() const;
  /// Gives a loss up, durably: reads then answer from what is left, which may be an older value or none. What a damaged
  /// file or older ones still hold of it is brought back first. Errors: kNotFound, kReadOnly, and those of that.
  Status accept_damage(std::uint64_t id);

  /// All checks, run now: touches no device.
  [[nodiscard]] Health health() const;
  [[nodiscard]] std::vector<ComponentInfo> components() const;
  /// Everything that is worth watching (daruma/metrics.h). Touches no device, but of a store that was opened read-only,
  /// whose history is read from `recoveries/` at each call. May throw std::bad_alloc.
  [[nodiscard]] Metrics metrics() const;
  /// Reboots one component (microreboot, Candea et al. 2004): stops it, drops what it has in memory, recovers that from
  /// disk, verifies, goes on; the others serve meanwhile. The names are those of `components`, and "keyspace NAME",
  /// whose writes answer kUnavailable until it is done; a checkpoint comes first where the log has lost some of its
  /// events. Errors, all of which leave it as it was: kNotFound (no such component), kReadOnly, kUnavailable
  /// (Options::reboots_per_hour; it did not stop in time; there is no thread for it, which the store tries again),
  /// kDataLoss (the disk still does not have all that memory has), and those of the log and of the checkpoint.
  Status reboot(std::string_view component);
  /// Of this life, oldest first; `recoveries/` has those before.
  [[nodiscard]] std::vector<Incident> incidents() const;
  [[nodiscard]] std::vector<PlaybookInfo> playbooks() const;
  /// Runs a playbook now, as the supervisor would; `component`: for the kinds that need one. Errors: kNotFound (no such
  /// playbook), kReadOnly. What came of it is in the incident.
  Result<Incident> run_playbook(std::string_view failure, std::string_view component = {});

 private:
  friend class Engine;
  explicit Store(std::shared_ptr<Engine> engine) : engine_(std::move(engine)) {}
  std::shared_ptr<Engine> engine_;
};

struct Store::Opened {
  Store store;
  RecoveryReport report;  ///< what this start found and did
};

}  // namespace daruma
