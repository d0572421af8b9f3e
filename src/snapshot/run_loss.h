// SPDX-License-Identifier: Apache-2.0
//
// Which keys of a run cannot be read any more, beyond parity.
//
// What must stay true: a key outside `keys` has in this run exactly the versions that it ever had there. Where the
// range erases are lost, that is true of no key.
#pragma once

#include <vector>

#include "run/run_reader.h"
#include "snapshot/key_ranges.h"

namespace daruma {

struct LostExtent {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

struct RunLoss {
  std::vector<KeyRange> keys;       ///< as `joined` gives them
  std::vector<LostExtent> extents;  ///< the bytes that are damaged, where known
  bool erases = false;              ///< of the range erases some are gone
  bool refused = false;             ///< the device would not read some of it: it may yet come back
  Status why;                       ///< the first damage met; ok: nothing is lost
  [[nodiscard]] bool none() const { return keys.empty() && !erases; }
};

/// All keys that the run says to hold.
KeyRange keys_of(const RunInfo& info);
/// A run of which nothing is there.
RunLoss all_lost(const RunInfo& info, Status why);
/// Reads all of the run.
RunLoss loss_of_run(const RunReader& reader, const RunInfo& info);

}  // namespace daruma
