// SPDX-License-Identifier: Apache-2.0
// Types shared by the files that write runs: checkpoint.cc, compact.cc, rebuild.cc and bulk_load.cc.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "run/run_format.h"

namespace daruma {

/// What one job has written so far.
struct Engine::Outputs {
  std::set<std::uint64_t> numbers;             // of files begun, published or not
  std::vector<std::shared_ptr<LiveRun>> runs;  // published and read back; durable once the directory is synced
  std::uint64_t bytes = 0;
};

inline constexpr std::uint64_t kHistorySecondsMax = 3650ULL * 24 * 60 * 60;
/// Options::history, "name value" a line, which a start without a value for it takes from there: `history_in`.
std::string history_text(const History& history);
History history_in(std::string_view text);

/// What starts cost, likewise, and read back by the next one; what is not there is as `otherwise` says.
std::string costs_text(const StartCosts& costs);
StartCosts costs_in(std::string_view text, StartCosts otherwise);

}  // namespace daruma
