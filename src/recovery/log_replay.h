// SPDX-License-Identifier: Apache-2.0
//
// Reads the whole log and the tail ring, judges every stretch that cannot be used, and hands on the events after the
// snapshot in order. Reads only: what must be written (a new segment, quarantine, a manifest) is in the result, for the
// engine to do.
//
// What must stay true:
//   - Events are applied in sequence order, each at most once, none behind the end that the verdicts set.
//   - An event that was acknowledged is applied, or its sequence is inside an entry of `lost`.
//   - A loss that an earlier start told of is found again only where each of its events was applied, none as filled in.
//   - What is applied and not proven durable is in `persist`, whole and without holes, so that the next segment can
//   begin with it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "daruma/history.h"
#include "daruma/options.h"
#include "daruma/recovery_report.h"
#include "io/storage.h"
#include "recovery/attempts.h"
#include "recovery/damage_map.h"
#include "recovery/quarantine.h"
#include "wal/earlier_footprints.h"
#include "wal/segments.h"
#include "wal/tail_format.h"
#include "wal/wal_format.h"

namespace daruma {

/// Cause of the damage entry that stands for everything behind the loss at which RecoveryPolicy::kPointInTime stopped.
inline constexpr const char* kPointInTimeCause = "point_in_time";

/// The events of this loss are never applied again, whatever the log still holds of them.
bool given_up_for_good(const DamageEntry& entry);

struct LogReplayInput {
  std::string directory;                   ///< of the store
  std::optional<StoreId> store;            ///< when known; segments of others are strangers
  Sequence snapshot_sequence = 0;          ///< replay begins behind it
  Sequence snapshot_durable = 0;           ///< highest durable mark in any valid snapshot
  const DamageMap* known = nullptr;        ///< of the snapshot; may be null
  RecoveryTarget target{};                 ///< nothing behind it is applied, nor looked at
  bool stop_at_loss = false;               ///< RecoveryPolicy::kPointInTime
  std::uint64_t next_segment = 0;          ///< above every segment number that the snapshot knows; 0: not known
  Sequence log_needed_from = 0;            ///< below, no kept generation needs the log; 0: all of it is needed
  Status copy_refused{};                   ///< why wal-copy/ is not looked at
  bool started_before = false;             ///< something else says that there was a store, so there was a log
  std::string attempts_directory{};        ///< of the crash-loop breaker's note; empty: it is not asked
  bool note_attempts = false;              ///< false: a start that changes nothing
  bool read_ahead = false;                 ///< a thread of its own reads what is about to be applied
  std::function<void()> beside_reading{};  ///< called by that thread after each frame; may be empty
  std::function<void(std::uint64_t done, std::uint64_t total)> on_progress;  ///< bytes of the whole log
};

struct SetAside {
  QuarantineEntry entry;                  ///< file, offset, bytes and why
  std::optional<std::string> contents{};  ///< nothing: what stands there in the file
};

struct LogReplay {
  std::optional<StoreId> store;
  Sequence last = 0;    ///< of the recovered state; new events are numbered above
  Sequence proven = 0;  ///< everything at or below is durable, or lost and accounted for
  std::vector<std::pair<Sequence, std::string>> persist;  ///< proven + 1 … last
  std::vector<LiveSegment> segments;                      ///< found, rising
  std::uint64_t next_segment = 1;
  Predecessor predecessor;
  EarlierFootprints earlier;  ///< of the frames that were taken
  bool same_boot = false;
  bool reached = false;   ///< the target
  Status copy_refused{};  ///< wal-copy/ is not ours to touch: the log of another store, or of another life of this one
  bool log_hurt = false;  ///< healed as it was read; only a checkpoint that lets go of the log makes it whole again
  Status unreadable;      ///< a segment that the device did not give; ok: none
  std::vector<DamageEntry> lost;
  /// Erasures of ranges in which no key can be, among what is lost, each with the last number of its loss.
  std::vector<std::pair<Sequence, FootprintRange>> lost_marks;
  /// Ids in the damage map of the snapshot: lost to an earlier start, to which the device refused what this one read.
  std::vector<std::uint64_t> found_again;
  std::vector<SetAside> set_aside;
  std::shared_ptr<Attempts> attempts;  ///< to be finished once what was set aside is durably known; may be null
  std::vector<RecoveryFinding> findings;
  RecoveryLoss discarded_sum, lost_sum, healed_sum;
  std::uint64_t files = 0, bytes_read = 0, bytes_replayed = 0, events_replayed = 0;
  std::int64_t last_wall_ns = 0;  ///< newest time of any header that verifies: the writer was alive then
};

/// Applies events in order; the views are good for the call only. `at_hand`, which may be null, is told of each event
/// before anything is done with it.
using ApplyEvents = std::function<void(std::span<const WalRecord> events, Attempts* at_hand)>;

/// Calls `apply` with the events in order, as many at once as are at hand. Errors: kUnsupported (a segment from the
/// future), those of the process (is_of_the_process), and that of the listing of wal/, without which nobody knows what
/// is missing. Everything else is a finding.
Result<LogReplay> replay_log(Storage& storage, const LogReplayInput& input, const ApplyEvents& apply);

}  // namespace daruma
