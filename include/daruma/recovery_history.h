// SPDX-License-Identifier: Apache-2.0
//
// What the recoveries of a store came to over all its lives. Counters of a process die with each crash, and here a
// crash is the only end; so these are carried from report to report in `recoveries/`. Plain values.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "daruma/status.h"

namespace daruma {

/// A sum over findings: never acknowledged, or acknowledged.
struct RecoveryLoss {
  std::uint64_t stretches = 0;
  std::uint64_t events = 0;  ///< where the range is known; else at least this many
  std::uint64_t bytes = 0;
};

/// How many of something took how long.
struct DurationHistogram {
  /// Upper bounds, inclusive: from the start of a small store to the hour that nobody should wait.
  static constexpr std::array<std::int64_t, 14> kBoundsNs = {
      1'000'000,      5'000'000,       10'000'000,      25'000'000,       50'000'000,
      100'000'000,    250'000'000,     1'000'000'000,   2'500'000'000,    10'000'000'000,
      60'000'000'000, 300'000'000'000, 900'000'000'000, 3'600'000'000'000};
  std::array<std::uint64_t, kBoundsNs.size() + 1> counts{};  ///< of each stretch between bounds; the last: above all
  std::int64_t sum_ns = 0;

  DARUMA_API void add(std::int64_t duration_ns);
  [[nodiscard]] DARUMA_API std::uint64_t count() const;
  [[nodiscard]] std::int64_t mean_ns() const {
    const std::uint64_t all = count();
    return all == 0 ? 0 : sum_ns / static_cast<std::int64_t>(all);
  }
};

/// What a loss reaches of a store (blast radius): the parts whose answers are in doubt.
struct BlastRadius {
  std::uint64_t keyspaces = 0;
  std::uint64_t keyspaces_hurt = 0;
  std::uint64_t entries = 0;       ///< versions of keys, in memtables and runs
  std::uint64_t entries_hurt = 0;  ///< at most; of a lost range that nobody can look into, all of its file

  [[nodiscard]] double keyspace_ratio() const { return ratio(keyspaces_hurt, keyspaces); }
  [[nodiscard]] double entry_ratio() const { return ratio(entries_hurt, entries); }

 private:
  /// What is lost whole leaves nothing to divide by.
  static double ratio(std::uint64_t hurt, std::uint64_t all) {
    if (hurt == 0) return 0;
    return hurt >= all ? 1 : static_cast<double>(hurt) / static_cast<double>(all);
  }
};

/// Recoveries of one cause. Of starts: "created", "kill" (the process died, the machine did not), "power_cut" (the
/// machine stopped), "damage" (something was hurt, and is whole again or was not needed), "loss" (acknowledged data).
/// Of incidents: the kind of failure, as in Incident.
struct RecoveriesOf {
  std::string cause{};
  std::uint64_t failed = 0;    ///< starts that lost data, or could not begin a log; incidents escalated or interrupted
  std::uint64_t needless = 0;  ///< incidents that were over before their first step
  std::int64_t down_ns = 0;    ///< of starts: from the last sign of life before it until it began, where that is known
  DurationHistogram time{};    ///< of starts: until the first read; of incidents: until the failure was over
};

struct RecoveryHistory {
  std::int64_t since_wall_ns = 0;         ///< the first start that is counted
  std::uint64_t starts = 0;               ///< that came to their end
  std::uint64_t starts_died = 0;          ///< killed while they replayed, as far as the crash-loop breaker's note tells
  std::vector<RecoveriesOf> by_cause{};   ///< starts, of each cause there was
  std::vector<RecoveriesOf> incidents{};  ///< of each kind there was
  std::uint64_t events_replayed = 0;
  std::uint64_t bytes_replayed = 0;
  RecoveryLoss lost, discarded, healed;
  std::uint64_t losses_found_again = 0;  ///< told as lost by one start, and found whole by a later one
  double keyspace_ratio_max = 0;         ///< largest blast radius of any start, 0 to 1
  double entry_ratio_max = 0;
  std::string last_incident{};  ///< the newest that is counted

  /// Starts of every cause but "created": mean time to recovery is its mean.
  [[nodiscard]] DARUMA_API DurationHistogram starts_time() const;
  /// Of starts that recovered something and of incidents: the share that came out well. 1 when there was none.
  [[nodiscard]] DARUMA_API double success_ratio() const;
  /// Of incidents and of losses: the share that turned out to be none. 0 when there was none.
  [[nodiscard]] DARUMA_API double false_positive_ratio() const;
};

}  // namespace daruma
