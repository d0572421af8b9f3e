// SPDX-License-Identifier: Apache-2.0
// Options. Each field says when to change it; a value outside its limits makes `Store::open` return kInvalidArgument.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "daruma/limits.h"
#include "daruma/playbook.h"

namespace daruma {

class EventListener;

/// What an acknowledged write survives.
enum class Durability : std::uint8_t {
  kProcess,  ///< `kill -9` of the process; costs a copy in memory
  kPower,    ///< loss of power too; costs one write of the device, shared by all who wait
};

/// What `Store::open` does when acknowledged data is beyond repair. Damage that can be healed never asks.
enum class RecoveryPolicy : std::uint8_t {
  kServe,        ///< open; reads that may be hurt answer kDataLoss, all others are served
  kReadOnly,     ///< as kServe, but refuse writes until a person has looked
  kRefuse,       ///< return the damage as an error and change nothing
  kPointInTime,  ///< stop at the first loss, set everything after it aside
};

struct RecoveryProgress {
  std::string_view pass;    ///< name of the recovery pass, as in the report
  std::uint64_t done = 0;   ///< bytes
  std::uint64_t total = 0;  ///< bytes; 0 when unknown
};

/// What one keyspace may take from the others. Of the process, not of the files: a store that is opened again has those
/// of its Options. A keyspace without limits costs nothing for them.
struct KeyspaceLimits {
  /// Share of Options::memtable_bytes (256 KiB to all of it; 0: none, it uses what others leave). A checkpoint begins
  /// at three quarters of it; a write that finds it full waits, ten seconds at most, then gives kBusy, and only writes
  /// of this keyspace do. In return it never waits for what others have filled, as long as all shares together are no
  /// more than Options::memtable_bytes. The same part of one half of the ring is its own too. Set it where one keyspace
  /// may be flooded, or where one must not feel a flood. Small shares mean many checkpoints.
  std::uint64_t memory_bytes = 0;

  /// Most gets, multi-gets and writes in progress at once, and cursors there are; one more gives kBusy at once (0: no
  /// limit). Set it to how many threads this keyspace may occupy when it is slow.
  std::uint32_t operations = 0;

  bool operator==(const KeyspaceLimits&) const = default;
};

/// What of the past can be reconstructed (`Store::open_at`), beyond what recovery keeps for itself: older snapshots,
/// the runs that only they name, and the log behind them.
struct History {
  std::chrono::seconds time{0};      ///< how far back (0 to 10 years; 0: nothing is kept for it)
  std::uint64_t bytes = 1ULL << 30;  ///< most space for it; when that is short, it reaches less far back
  bool operator==(const History&) const = default;
};

struct Options {
  /// Set to false to get kNotFound instead of a new, empty store.
  bool create_if_missing = true;

  /// Set to true to look without touching: recovery happens in memory, not one byte of the store changes, writes give
  /// kReadOnly. Several processes may read at once; none while a writer has the store (kBusy).
  bool read_only = false;

  RecoveryPolicy recovery_policy = RecoveryPolicy::kServe;

  /// Called during open, on the opening thread, between steps of the longer passes. Must not call the store.
  std::function<void(const RecoveryProgress&)> on_recovery_progress;

  /// Memory for writes not yet in a snapshot, in bytes (1 MiB to 64 GiB). A checkpoint begins at three quarters of it,
  /// and writers wait at eleven eighths. Raise it for fewer, larger checkpoints; lower it for a shorter replay at the
  /// next start.
  std::uint64_t memtable_bytes = 64 << 20;

  /// Time to the first read that a start may take, were the process killed at any moment (50 ms to 1 hour). What a
  /// start would have to replay is estimated all the time from what starts of this store were seen to take; checkpoints
  /// are paced by it, and writers wait for them when that is not enough. Lower it for faster starts, at the price of
  /// more, smaller checkpoints; `Store::health` says when it cannot be met.
  std::chrono::milliseconds recovery_budget{1000};

  /// Set it where mistakes of people or programs must be undone: a store can then be opened as it was at any event, or
  /// time, in it. It is the first to go when the device is full, and `Store::trim` gives it up.
  /// Without a value: as it was when the store was written last, which is what tools want.
  std::optional<History> history;

  /// Limits of every keyspace that `Store::set_limits` gave no others. Change it where no keyspace is more important,
  /// or more dangerous, than the others.
  KeyspaceLimits keyspace_limits;

  /// Memory for decompressed blocks of runs, in bytes (0 to 1 TiB). Raise it to the size of the data read often.
  std::uint64_t cache_bytes = 64 << 20;

  /// Most bytes a second that compaction writes; 0: no limit. Lower it where the device is shared.
  std::uint64_t compaction_bytes_per_second = 0;

  /// In how many days the background reads every byte once and heals what it finds (0 to 3650; 0: never). Lower it for
  /// devices that are not trusted; 0 where something else scrubs them. Never more than 32 MiB of the store a
  /// second; runs are read twice for that.
  std::uint64_t scrub_days = 30;

  /// How old, in days, the last drill may be (`kvctl drill`) until `Store::health` tells, where drills were held on
  /// this store at all (0 to 3650; 0: never). Lower it where failures should be rehearsed more often.
  std::uint64_t drill_days = 30;

  /// Space on the device that is kept for the time when there is no other: given back when the device is full, so that
  /// deletes, checkpoints and starts can go on; taken again when there is room (0 to 1 GiB; 0: none). Raise it where
  /// others fill the device and what is deleted then is large.
  std::uint64_t ballast_bytes = 4 << 20;

  /// How often one component may be rebooted in an hour before that escalates (1 to 1,000,000).
  unsigned reboots_per_hour = 12;

  /// Own steps for kinds of failure, taken when the store's own did not end it; see playbook.h.
  std::vector<PlaybookExtension> playbooks;

  /// Told of checkpoints, compactions and background errors; see event_listener.h.
  std::shared_ptr<EventListener> listener;

  /// Size of one log file (256 KiB to 1 GiB). Smaller files give space back sooner, larger ones rotate less.
  std::uint64_t segment_bytes = 32 << 20;

  /// Size of the tail ring (256 KiB to 1 GiB): how far kProcess writes may run ahead of the device. It stands twice, on
  /// disk and in memory; a quiet store keeps 256 KiB. An event of more than a quarter of it is durable before its write
  /// returns.
  std::uint64_t ring_bytes = 5 << 20;

  /// Set to 2 to keep the log a second time, in STORE/wal-copy/, written in the same submission: a lost log file, or a
  /// dead device under one of the two directories, then costs nothing. To have it on another device, make wal-copy/ a
  /// mount point, or a symbolic link to a directory that no other store uses, before the first start. Costs the log's
  /// space and bandwidth again, and a kPower write waits for the slower device. When one directory fails, writes go on
  /// in the other; `StoreStats::background` says so until both have the log again. 1 or 2, and may change with each
  /// start: what stands in wal-copy/ is used in any case, and given back in its time.
  unsigned wal_copies = 1;

  /// Set to false to take the options as they stand here. True: those that `kvctl rollout` promoted for this store come
  /// before what is given here, as long as all are within their limits together.
  bool use_promoted = true;

  /// Set to false where the kernel's io_uring is not wanted; the store then uses pwrite and fdatasync. It falls back by
  /// itself where the kernel refuses. The environment can force it too: DARUMA_IO=no_uring,no_direct,no_dsync.
  bool use_io_uring = true;
};

struct WriteOptions {
  Durability durability = Durability::kPower;
};

}  // namespace daruma
