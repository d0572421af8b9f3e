// SPDX-License-Identifier: Apache-2.0
//
// State reconstruction: a store as it was. `Store::open_at` recovers it from the nearest snapshot and the log up to a
// target, `restore` makes a store of it, `read_timeline` says how far back that goes (Options::history).
//
// What a point in the past is: the state right behind one event, whole batches only. An event's time is that of the log
// frame which carried it to the device, so a target in time is as exact as the frames are.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "daruma/options.h"
#include "daruma/status.h"

namespace daruma {

class Store;

/// The last event that is within both bounds (PostgreSQL calls it the recovery target).
struct RecoveryTarget {
  Sequence sequence = kMaxSequence;
  std::int64_t wall_ns = std::numeric_limits<std::int64_t>::max();  ///< since 1970, UTC

  static RecoveryTarget at_sequence(Sequence sequence) { return {.sequence = sequence}; }
  static RecoveryTarget at_time(std::int64_t wall_ns) { return {.wall_ns = wall_ns}; }
  [[nodiscard]] bool by_sequence() const { return sequence != kMaxSequence; }
  [[nodiscard]] bool bounded() const { return by_sequence() || by_time(); }
  [[nodiscard]] bool by_time() const { return wall_ns != std::numeric_limits<std::int64_t>::max(); }
};

/// Judges a reconstructed state, by reads alone; what is not ok says what is wrong with it ("balances sum to 99").
using StateCheck = std::function<Status(const Store& store)>;

enum class IfInvalid : std::uint8_t {
  kRefuse,   ///< the check's word is the error
  kEarlier,  ///< the newest earlier point that the check lets pass, found by bisection: it takes for granted that what
             ///< went wrong stayed wrong
};

/// How far back a store can be reconstructed, and from what.
struct Timeline {
  struct Snapshot {
    std::uint64_t number = 0;
    std::string file;  ///< relative to the store
    Sequence sequence = 0;
    std::int64_t wall_ns = 0;  ///< when it was written
    std::uint64_t runs = 0;
    std::uint64_t run_bytes = 0;
    Status status;  ///< why nothing can be reconstructed from it; ok: its sequence can be
  };
  struct LogFile {
    std::string file;  ///< relative to the store
    Sequence first_sequence = 0;
    Sequence last_sequence = 0;  ///< first - 1: none
    std::int64_t wall_ns = 0;    ///< when it was begun
    std::uint64_t bytes = 0;
    Status status;  ///< why it cannot be read; ok: it can
  };
  std::vector<Snapshot> snapshots;  ///< oldest first
  std::vector<LogFile> log;         ///< oldest first
  Sequence earliest = 0;            ///< every point from here to `latest` can be reconstructed
  std::int64_t earliest_wall_ns = 0;
  Sequence latest = 0;  ///< in the log's files; what only the ring of a killed process has comes behind it
  std::int64_t latest_wall_ns = 0;
};

/// Reads headers only, but for the newest log file; changes nothing, and takes no lock: beside a writer it may be out
/// of date when it returns. Errors: kNotFound (no store there), kIoError, kUnavailable.
DARUMA_API Result<Timeline> read_timeline(const std::string& directory);

struct Restored {
  Sequence sequence = 0;  ///< of the point that was restored, in the old store
  std::uint64_t keyspaces = 0;
  std::uint64_t keys = 0;
  std::uint64_t bytes = 0;  ///< of keys and values
};

/// Makes a new store in `to` of what `from` was: same keyspaces by name, their ids and all sequences anew. Built under
/// the name `to`.restoring, and renamed when every key is durable and read back: a kill leaves either nothing in `to`
/// or all. Errors: those of `Store::open_at` and of writes, kExists (`to`, or a leftover `to`.restoring), kDataLoss (a
/// range of that state is lost: see RecoveryPolicy::kPointInTime).
DARUMA_API Result<Restored> restore(const std::string& from, const RecoveryTarget& target, const std::string& to,
                                    const Options& options = {}, const StateCheck& check = {},
                                    IfInvalid if_invalid = IfInvalid::kRefuse);

}  // namespace daruma
