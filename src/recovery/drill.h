// SPDX-License-Identifier: Apache-2.0
//
// What a drill leaves in recoveries/: a file whose name says when it was and what failed. kvctl writes and reads them;
// the store looks at the names alone, to tell when there should be another one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/storage.h"

namespace daruma {

struct DrillName {
  std::int64_t wall_ns = 0;
  std::string mode;
};

/// "drill-0123456789abcdef-lost-run.json".
std::string drill_file(const DrillName& drill);
std::optional<DrillName> parse_drill_file(std::string_view name);

/// Publishes a drill's result in `directory`, and removes those of its mode but the newest few.
Status keep_drill(Storage& storage, const std::string& directory, const DrillName& drill, std::string_view json);
inline constexpr std::size_t kDrillsKeptOfAMode = 4;

/// When the newest of those in a listing of recoveries/ was; nothing: there is none.
std::optional<std::int64_t> newest_drill(const std::vector<DirectoryEntry>& names);

}  // namespace daruma
