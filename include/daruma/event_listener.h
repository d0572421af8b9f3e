// SPDX-License-Identifier: Apache-2.0
// What the store tells while it runs.
#pragma once

#include <cstdint>
#include <string>

#include "daruma/health.h"
#include "daruma/playbook.h"
#include "daruma/status.h"

namespace daruma {

/// A checkpoint that ended, well or not.
struct CheckpointInfo {
  Sequence sequence = 0;    ///< the snapshot holds the state up to here
  std::uint64_t runs = 0;   ///< written
  std::uint64_t bytes = 0;  ///< of those runs
  std::int64_t duration_ns = 0;
  Status status;  ///< not ok: nothing was released; the store tries again
};

/// A compaction that ended, well or not.
struct CompactionInfo {
  std::uint32_t keyspace = 0;
  std::uint32_t from_level = 0;
  std::uint32_t to_level = 0;
  std::uint64_t runs_in = 0;
  std::uint64_t bytes_in = 0;
  std::uint64_t runs_out = 0;
  std::uint64_t bytes_out = 0;
  bool moved = false;  ///< runs changed their level, nothing was written
  std::int64_t duration_ns = 0;
  Status status;  ///< not ok: the inputs stand as they were
};

/// A damaged file was written anew, or could not be.
struct HealInfo {
  std::string file;               ///< relative to the store
  std::uint64_t bytes = 0;        ///< of the file
  bool rebuilt = false;           ///< beyond its parity: from an older generation and the log, as far as these hold it
  std::uint64_t lost_ranges = 0;  ///< of keys, that nothing holds any more: they are in the damage map now
  std::int64_t duration_ns = 0;
  Status status;  ///< kCorruption: beyond what parity can give back, to be rebuilt. kIoError: the device refuses it
};

/// What a scrub looked at and found.
struct ScrubResult {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;    ///< read from the device
  std::uint64_t sectors = 0;  ///< in those
  std::uint64_t damaged = 0;  ///< files that were not as they were written
  std::uint64_t healed = 0;   ///< of those, whole again (or, log: no longer needed)
  std::uint64_t lost = 0;     ///< of those, not: the damage map tells which keys
  std::int64_t duration_ns = 0;
};

/// Derive and override what is of interest. Calls come without any lock of the store, on the thread that did the work:
/// its own background thread, or one inside `checkpoint`, `compact` or a write. Of one kind they come one at a time.
/// They may call the store's reads; they should be short, since the work waits for them.
class DARUMA_API EventListener {
 public:
  virtual ~EventListener() = default;
  virtual void on_checkpoint(const CheckpointInfo&) {}
  virtual void on_compaction(const CompactionInfo&) {}
  virtual void on_heal(const HealInfo&) {}
  /// A pass over the whole store is done; in the background: the sums since open.
  virtual void on_scrub(const ScrubResult&) {}
  /// What fails has changed, for the worse or the better.
  virtual void on_health(const Health&) {}
  /// A playbook has ended.
  virtual void on_incident(const Incident&) {}
  /// A playbook has ended and the failure has not: somebody outside must do something. `on_incident` follows.
  virtual void on_escalation(const Incident&) {}
  /// Background work failed; it is tried again. `what` names the component, as in ComponentInfo.
  virtual void on_background_error(const std::string& what, const Status&) { (void)what; }
};

}  // namespace daruma
