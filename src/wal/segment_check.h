// SPDX-License-Identifier: Apache-2.0
// Whether the device has a segment as it was written. Facts only; changes nothing.
#pragma once

#include <optional>
#include <string>

#include "io/storage.h"
#include "wal/wal_format.h"

namespace daruma {

struct SegmentCheck {
  bool sound = false;  ///< every event that it must have reads, and all that stands twice does so
  std::string detail;  ///< why not
  std::uint64_t bytes = 0;
};
/// `through`: the last event that it must have; what stands behind may be in flight. Errors: of the process.
Result<SegmentCheck> check_segment(Storage& storage, const std::string& path, const std::optional<StoreId>& store,
                                   Sequence through);

}  // namespace daruma
