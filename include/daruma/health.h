// SPDX-License-Identifier: Apache-2.0
//
// What a store knows of itself while it runs: its health, what a crash now would cost, and the parts that can be
// rebooted alone. Plain values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daruma/status.h"

namespace daruma {

/// Of a check: what it means that it fails. Of the store: the worst that fails.
enum class HealthLevel : std::uint8_t {
  kHealthy,
  kMaintenance,  ///< everything is served; something wants to be looked at in its time
  kDegraded,     ///< some answers are refused, or the next fault may cost more than it should
  kCritical,     ///< reads or writes are refused
};

/// "healthy", "maintenance", "degraded", "critical".
DARUMA_API std::string_view health_level_name(HealthLevel level);

/// One thing that is looked at. The names do not change from version to version; docs/operations.md has them all.
struct HealthCheck {
  std::string name;
  HealthLevel level = HealthLevel::kMaintenance;  ///< when it fails
  Status cause;                                   ///< ok: it does not
  std::int64_t since_wall_ns = 0;                 ///< when it began to be as it is
  std::int64_t last_run_wall_ns = 0;
  std::string action;  ///< what the store does about it by itself, in words
};

/// What a kill at this moment would cost the next start (promise bounded-start). Times are estimates from what starts
/// of this store were seen to take.
struct RecoveryDebt {
  std::int64_t budget_ns = 0;          ///< Options::recovery_budget
  std::int64_t estimated_ns = 0;       ///< until the first read
  std::int64_t achievable_min_ns = 0;  ///< under load, with as little to replay as checkpoints keep up with
  std::int64_t last_actual_ns = 0;     ///< what the start of this life took
  std::uint64_t replay_bytes = 0;      ///< of memtables, that it would have to build again
  std::uint64_t replay_events = 0;
};

/// A part of the store that fails, rests and is rebooted alone: "log", "checkpoint", "compaction", "heal", "scrub",
/// "cache", or "keyspace NAME".
struct ComponentInfo {
  std::string name;
  Status last;                         ///< of its last piece of work
  std::string breaker;                 ///< closed, open (fails fast, rests), half_open (one attempt decides)
  std::uint64_t breaker_opened = 0;    ///< times since open
  std::uint64_t breaker_needless = 0;  ///< of those, closed again by the first attempt after the rest
  std::int64_t retry_in_ns = 0;        ///< while the breaker is open
  std::uint64_t reboots = 0;           ///< since open
  unsigned reboots_last_hour = 0;
  unsigned reboots_per_hour = 0;  ///< more are refused, and escalate
};

struct Health {
  HealthLevel level = HealthLevel::kHealthy;
  Status reads;                     ///< ok: served, but for keys that `Store::damage` names
  Status writes;                    ///< ok: accepted; else what they would answer, or most of them
  std::vector<HealthCheck> checks;  ///< critical ones first, then degraded, then maintenance
  RecoveryDebt debt;

  /// One JSON document, keys as the members here.
  [[nodiscard]] DARUMA_API std::string to_json() const;
};

}  // namespace daruma
