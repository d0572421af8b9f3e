// SPDX-License-Identifier: Apache-2.0
//
// Everything that is worth watching of a store, in one place: what it holds and does, its health, its parts, and what
// its recoveries came to over all its lives. Plain values. docs/monitoring.md has the targets beside each.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daruma/health.h"
#include "daruma/recovery_history.h"
#include "daruma/store.h"

namespace daruma {

struct KeyspaceMetrics {
  std::string name;
  KeyspaceStats stats;
};

struct Metrics {
  /// More keyspaces are counted in `stats`, and not told one by one.
  static constexpr std::size_t kKeyspacesMax = 200;

  std::string store;                 ///< store id, 32 hex digits; empty while a start has not come to its end
  std::uint64_t start_number = 0;    ///< of the start of this life; 0: as above
  std::int64_t started_wall_ns = 0;  ///< when that began
  std::int64_t wall_ns = 0;          ///< when these were taken
  StoreStats stats;
  Health health;
  std::vector<ComponentInfo> components;
  std::vector<KeyspaceMetrics> keyspaces;  ///< by name, at most kKeyspacesMax
  RecoveryHistory recoveries;              ///< of all lives, this one included
  BlastRadius blast_radius;                ///< of what is lost now

  /// One JSON document, keys as the members here.
  [[nodiscard]] DARUMA_API std::string to_json() const;
  /// Prometheus text exposition format, version 0.0.4: base units, `_total` for counters, labels of few values. Bytes
  /// of keyspace names that are not UTF-8 appear as the characters of Latin-1.
  [[nodiscard]] DARUMA_API std::string to_prometheus() const;
};

}  // namespace daruma
