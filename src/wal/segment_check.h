// SPDX-License-Identifier: Apache-2.0
// Whether a sealed segment still reads as it was written. Facts only; changes nothing.
#pragma once

#include <optional>
#include <string>

#include "io/storage.h"
#include "wal/wal_format.h"

namespace daruma {

struct SegmentCheck {
  bool sound = false;  ///< every event below the successor reads, and all that stands twice does so
  std::string detail;  ///< why not
  std::uint64_t bytes = 0;
};
/// `successor`: the first sequence of the next segment. Errors: kAborted.
Result<SegmentCheck> check_segment(Storage& storage, const std::string& path, const std::optional<StoreId>& store,
                                   Sequence successor);

}  // namespace daruma
