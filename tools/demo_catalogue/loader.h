// SPDX-License-Identifier: Apache-2.0
//
// The program that is killed. It opens the store, asks it how far it came, checks that, and goes on from there until
// somebody sends SIGKILL.
//
// What must stay true: what it was told is safe stands on the board, outside the store, the moment the store said so.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <string>

#include "daruma/store.h"
#include "demo_catalogue/catalogue.h"

namespace demo {

/// Shared memory that outlives the loaders.
struct Board {
  std::atomic<std::uint64_t> safe_from_kill;   ///< records whose batch was acknowledged: survives kill -9
  std::atomic<std::uint64_t> safe_from_power;  ///< of those, records known to survive a loss of power
  std::atomic<std::uint64_t> life;             ///< the newest loader that has recovered the store
  std::atomic<std::int64_t> recovery_ns;       ///< how long that took
  std::atomic<std::uint64_t> replayed;         ///< batches it read again from the log
  std::atomic<std::uint64_t> went_on_at;       ///< record it went on with
  std::atomic<bool> finished;
  char problem[512];     ///< what a loader found wrong; it then stops by itself
  static Board& make();  ///< lives as long as the process
};

struct Life {
  std::string directory;
  std::uint64_t number = 1;
  std::uint64_t at_least = 0;  ///< the store must come back with so many records
  std::uint64_t through = 0;   ///< load up to here
  /// From this record on: a snapshot first, then one durable write each, so that the log holds one record a frame.
  std::uint64_t singly_from = UINT64_MAX;
};

/// As small as makes snapshots and compactions happen beside the killing.
daruma::Options demo_options();

/// Forks a loader. It never returns: it waits for its kill when it is through.
pid_t start_loader(const Catalogue& catalogue, const Life& life, Board& board);

/// Records that the store says it holds; UINT64_MAX when what it says cannot be.
std::uint64_t records_in(const daruma::Store& store);

/// A batch with every entry of record `i`, and that the next one is `i` + 1.
daruma::Result<daruma::Batch> batch_of(const daruma::Store& store, const Catalogue& catalogue, std::uint64_t i);

}  // namespace demo
