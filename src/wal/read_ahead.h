// SPDX-License-Identifier: Apache-2.0
// Reading a segment while the frames before are still being used.
#pragma once

#include <functional>

#include "wal/wal_reader.h"

namespace daruma {

/// As `read_segment`, and `on_frame` is called here too, while a thread of its own reads, verifies and decompresses
/// what follows: 4 MiB of events at most, or one bigger frame. `beside`, which may be empty, is called by that thread
/// after each frame. What one of the two throws, or reading itself, ends the reading and is thrown here. Where no
/// thread is to be had, this is `read_segment`, and `beside` is not called.
SegmentScan read_segment_ahead(Storage& storage, const SegmentFiles& paths, const std::optional<StoreId>& store,
                               const std::function<void(const FrameView&)>& on_frame, const Enough& enough,
                               const std::function<void()>& beside);

}  // namespace daruma
