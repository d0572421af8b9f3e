// SPDX-License-Identifier: Apache-2.0
#include "health/recovery_budget.h"

#include <algorithm>

namespace daruma {
namespace {

constexpr double kNsPerSecond = 1e9;

/// What is worse is believed at once, what is better a quarter at a time: one lucky start is no promise.
template <typename T>
T believe(T before, T seen, bool worse) {
  return worse ? seen : before + (seen - before) / 4;
}

}  // namespace

StartCosts learn(const StartCosts& before, const MeasuredStart& seen) {
  StartCosts now = before;
  std::int64_t fixed_ns = std::max<std::int64_t>(0, seen.total_ns - seen.open_runs_ns - seen.replay_ns);
  if (seen.replay_bytes >= RecoveryBudget::kLeastBytes && seen.replay_ns > 0) {
    const double rate = static_cast<double>(seen.replay_bytes) * kNsPerSecond / static_cast<double>(seen.replay_ns);
    const auto known = static_cast<double>(before.replay_bytes_per_second);
    now.replay_bytes_per_second = static_cast<std::uint64_t>(std::max(1.0, believe(known, rate, rate < known)));
  } else {
    fixed_ns += seen.replay_ns;  // of a log with next to nothing in it
  }
  now.fixed_ns = believe(before.fixed_ns, fixed_ns, fixed_ns > before.fixed_ns);
  if (seen.runs > 0) {
    const std::int64_t per_run_ns = seen.open_runs_ns / static_cast<std::int64_t>(seen.runs);
    now.per_run_ns = believe(before.per_run_ns, per_run_ns, per_run_ns > before.per_run_ns);
  }
  return now;
}

std::int64_t RecoveryBudget::estimate_ns(std::uint64_t runs, std::uint64_t bytes) const {
  return open_ns(runs) + static_cast<std::int64_t>(static_cast<double>(bytes) * kNsPerSecond /
                                                   static_cast<double>(costs_.replay_bytes_per_second));
}

RecoveryBudget::Limits RecoveryBudget::limits(std::uint64_t runs) const {
  const auto replayed_in = [this](std::int64_t ns) {
    constexpr double kMost = 1e18;
    return static_cast<std::uint64_t>(
        std::min(static_cast<double>(ns) / kNsPerSecond * static_cast<double>(costs_.replay_bytes_per_second), kMost));
  };
  // Where opening alone uses up the budget (it may have been one slow start), more checkpoints would not save it, and
  // cost writers a lot: an eighth of it is always theirs.
  const std::uint64_t least = std::max(kLeastBytes, replayed_in(budget_ns_ / 8));
  // What is affordable by a warm measurement is not by a cold start, and the estimate is one: a quarter stays free.
  const std::uint64_t affordable = replayed_in(std::max<std::int64_t>(0, budget_ns_ - open_ns(runs))) / 4 * 3;
  const std::uint64_t wait = std::max(affordable, 2 * least);
  return {wait / 2, wait};
}

}  // namespace daruma
