// SPDX-License-Identifier: Apache-2.0
//
// What a store tells other processes of itself while one has it: one file in `recoveries/`, replaced by rename.
//
// What must stay true:
//   - It is written beside all that the store lives by: never synced, and a device that does not take it costs nothing.
//   - No start believes it, or needs it; it only reads in it when the process before was last alive.
//   - Who reads it checks that the lock is held, that the lock's holder is the one that the view names, and that the
//     view is younger than the lock (kvctl/live.h): what a process left that is gone tells nothing of the one that is.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "daruma/metrics.h"
#include "io/storage.h"

namespace daruma {

inline constexpr std::string_view kLiveView = "live.json";

struct LiveView {
  std::uint64_t number = 0;  ///< of publications in this life, from 1
  std::int64_t published_wall_ns = 0;
  std::string boot;    ///< boot id of the machine
  std::string holder;  ///< as the lock file names it
  Metrics metrics;
};

std::string to_json(const LiveView& view);
/// kCorruption, with the offset where it does not parse.
Result<LiveView> parse_live_view(std::string_view json);

/// Of what Metrics::to_json wrote. Members that are missing stay as they are by default.
class JsonValue;
Metrics metrics_of(const JsonValue& json);

/// What is known of a store that nobody has open: the part of Metrics::to_prometheus that outlives a process.
std::string to_prometheus(const RecoveryHistory& history);

/// When the last process published its view of `store`; 0: nothing tells.
std::int64_t last_publication(Storage& storage, const std::string& recoveries, std::string_view store);

inline constexpr std::uint64_t kLiveViewBytesMax = 16 << 20;

}  // namespace daruma
