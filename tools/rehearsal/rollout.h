// SPDX-License-Identifier: Apache-2.0
//
// A progressive rollout of options: what the store did last is done again to two clones of it, one with its present
// options and one with the candidate's, in growing steps, until the candidate is found good or found wanting.
//
// What must stay true: the store is read and nothing else; whoever asked promotes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "daruma/options.h"
#include "daruma/status.h"

namespace daruma::rehearsal {

struct RolloutOptions {
  Options present{};
  Options candidate{};
  std::vector<unsigned> steps{10, 25, 50, 100};  ///< share of the events of each, in percent, rising
  double p99_more_max = 0.2;                     ///< of the candidate's p99 latency, beyond the present one
  std::uint64_t errors_max = 0;                  ///< of the candidate, beyond the present ones, in a step
  std::uint64_t events_max = 20'000;             ///< the newest so many are replayed
  Durability durability = Durability::kPower;
  std::string directory{};  ///< where the clones are made; empty: beside the store
  std::function<void(std::string_view doing, std::uint64_t done, std::uint64_t total)> progress{};
};

/// What one side did in a step.
struct RolloutSide {
  std::uint64_t writes = 0, reads = 0;
  std::uint64_t errors = 0;  ///< writes refused, and reads that do not give what was just written
  std::int64_t write_p99_ns = 0, read_p99_ns = 0;
};

struct RolloutStep {
  unsigned percent = 0;
  unsigned tries = 1;  ///< latency over its limit is measured again, twice at most: the machine has other work too
  RolloutSide present{}, candidate{};
  std::string why{};  ///< it was found wanting; empty: it was not
};

struct RolloutResult {
  bool good = false;
  std::uint64_t events = 0;
  std::string why{};
  std::vector<RolloutStep> steps{};
};

/// Errors: those of clone_store; kInvalidArgument (options outside their limits, steps that do not rise);
/// kUnavailable (the log holds too few events to measure by); what keeps the present options from being measured.
Result<RolloutResult> roll_out(const std::string& directory, const RolloutOptions& options);

}  // namespace daruma::rehearsal
