// SPDX-License-Identifier: Apache-2.0
#include "health/health_tree.h"

#include <algorithm>

#include "base/json_writer.h"

namespace daruma {

std::string_view health_level_name(HealthLevel level) {
  switch (level) {
    case HealthLevel::kHealthy: return "healthy";
    case HealthLevel::kMaintenance: return "maintenance";
    case HealthLevel::kDegraded: return "degraded";
    case HealthLevel::kCritical: return "critical";
  }
  return "critical";
}

bool HealthTree::update(const std::vector<Finding>& round, std::int64_t wall_ns) {
  std::vector<HealthCheck> checks;
  checks.reserve(round.size());
  HealthLevel worst = HealthLevel::kHealthy;
  bool changed = false;
  for (const Finding& finding : round) {
    const auto before =
        std::find_if(checks_.begin(), checks_.end(), [&](const HealthCheck& c) { return c.name == finding.name; });
    const bool known = before != checks_.end();
    const bool same = known && before->cause.code() == finding.cause.code();
    if (!same && (known || !finding.cause.ok())) changed = true;
    checks.push_back({std::string(finding.name), finding.level, finding.cause, same ? before->since_wall_ns : wall_ns,
                      wall_ns, std::string(finding.action)});
    if (!finding.cause.ok()) worst = std::max(worst, finding.level);
  }
  std::stable_sort(checks.begin(), checks.end(),
                   [](const HealthCheck& a, const HealthCheck& b) { return a.level > b.level; });
  changed = changed || worst != level_;
  checks_ = std::move(checks);
  level_ = worst;
  return changed;
}

std::string Health::to_json() const {
  JsonWriter j;
  j.begin_object().member("level", health_level_name(level));
  write_error(j, "reads", reads);
  write_error(j, "writes", writes);
  j.key("checks").begin_array();
  for (const HealthCheck& check : checks) {
    j.begin_object().member("name", check.name).member("level", health_level_name(check.level));
    write_error(j, "cause", check.cause);
    j.member("since_wall_ns", check.since_wall_ns).member("last_run_wall_ns", check.last_run_wall_ns);
    j.member("action", check.action).end();
  }
  j.end().key("debt").begin_object();
  j.member("budget_ns", debt.budget_ns).member("estimated_ns", debt.estimated_ns);
  j.member("achievable_min_ns", debt.achievable_min_ns).member("last_actual_ns", debt.last_actual_ns);
  j.member("replay_bytes", debt.replay_bytes).member("replay_events", debt.replay_events).end();
  return j.end().take();
}

}  // namespace daruma
