// SPDX-License-Identifier: Apache-2.0
// The checks of a store, in three levels, and since when each is as it is.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "daruma/health.h"

namespace daruma {

/// Thread: the caller's lock.
class HealthTree {
 public:
  /// What one check found. The text of names and actions lives as long as the tree.
  struct Finding {
    std::string_view name;
    HealthLevel level = HealthLevel::kMaintenance;
    Status cause;
    std::string_view action;
  };

  /// A round of checks; true when the store's level, or what fails, is not as in the round before. A check that is
  /// missing in this round passes no more: it is forgotten.
  bool update(const std::vector<Finding>& round, std::int64_t wall_ns);
  [[nodiscard]] HealthLevel level() const { return level_; }
  [[nodiscard]] const std::vector<HealthCheck>& checks() const { return checks_; }  ///< critical ones first

 private:
  HealthLevel level_ = HealthLevel::kHealthy;
  std::vector<HealthCheck> checks_;
};

}  // namespace daruma
