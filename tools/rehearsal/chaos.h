// SPDX-License-Identifier: Apache-2.0
//
// Chaos: real processes that write to a store with several threads are killed at moments nobody chose, and each start
// after a kill is held against what they had acknowledged.
//
// What must stay true: what a writer is told of goes through a pipe before its next write begins, so of each thread one
// write at most is in doubt; its operations follow from seed, thread and number, so that the oracle outlives it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "daruma/options.h"
#include "daruma/status.h"

namespace daruma::rehearsal {

struct ChaosOptions {
  std::chrono::milliseconds duration{60'000};
  std::uint64_t seed = 1;
  unsigned writers = 4;  ///< threads of each process (1 to 64)
  bool damage = false;   ///< between two lives, one sector of one file is hurt
  Options store{};
  std::function<void(std::uint64_t kills, std::uint64_t acknowledged)> progress{};
};

struct ChaosResult {
  std::uint64_t kills = 0;
  std::uint64_t kills_in_a_start = 0;  ///< of those
  std::uint64_t acknowledged = 0;      ///< writes
  std::uint64_t refused = 0;           ///< writes that gave an error
  std::uint64_t lost = 0;              ///< answers that lack an acknowledged write
  std::uint64_t wrong = 0;             ///< answers that no write explains
  std::uint64_t torn = 0;              ///< batches that are there in part
  std::uint64_t doubted = 0;           ///< scans that ended with an error
  std::uint64_t checkpoints = 0, compactions = 0;
  std::uint64_t faults = 0;           ///< sectors hurt
  std::int64_t slowest_start_ns = 0;  ///< until the first read
  std::int64_t duration_ns = 0;
  std::string first{};  ///< of what is not as it should be, in words
  [[nodiscard]] bool kept() const { return lost + wrong + torn + doubted == 0; }
};

/// Keyspaces that it writes to.
const std::vector<std::string>& chaos_keyspaces();

/// In `directory`, where a store is or is to be made. Ends early at the first answer that is not right. Errors: what
/// keeps a process from writing, or the store from being opened.
Result<ChaosResult> chaos(const std::string& directory, const ChaosOptions& options);

}  // namespace daruma::rehearsal
