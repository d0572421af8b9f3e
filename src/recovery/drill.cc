// SPDX-License-Identifier: Apache-2.0
#include "recovery/drill.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "base/status_macros.h"

namespace daruma {
namespace {

constexpr std::string_view kPrefix = "drill-";
constexpr std::string_view kSuffix = ".json";
constexpr std::size_t kDigits = 16;

}  // namespace

std::string drill_file(const DrillName& drill) {
  char time[kDigits + 1];
  std::snprintf(time, sizeof time, "%016llx", static_cast<unsigned long long>(drill.wall_ns));
  return std::string(kPrefix) + time + "-" + drill.mode + std::string(kSuffix);
}

std::optional<DrillName> parse_drill_file(std::string_view name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  name.remove_suffix(kSuffix.size());
  if (name.size() < kDigits + 2 || name[kDigits] != '-') return std::nullopt;
  std::uint64_t ns = 0;
  const auto [rest, error] = std::from_chars(name.data(), name.data() + kDigits, ns, 16);
  if (error != std::errc() || rest != name.data() + kDigits || ns > INT64_MAX) return std::nullopt;
  return DrillName{static_cast<std::int64_t>(ns), std::string(name.substr(kDigits + 1))};
}

Status keep_drill(Storage& storage, const std::string& directory, const DrillName& drill, std::string_view json) {
  DARUMA_TRY(publish(storage, directory, drill_file(drill), json));
  DARUMA_TRY_ASSIGN(std::vector<DirectoryEntry> names, storage.list(directory));  // by name, so by time
  std::erase_if(names, [&](const DirectoryEntry& entry) {
    const std::optional<DrillName> other = parse_drill_file(entry.name);
    return !other || other->mode != drill.mode;
  });
  for (std::size_t i = 0; i + kDrillsKeptOfAMode < names.size(); ++i)
    DARUMA_TRY(storage.remove(directory + "/" + names[i].name));
  return {};
}

std::optional<std::int64_t> newest_drill(const std::vector<DirectoryEntry>& names) {
  std::optional<std::int64_t> newest;
  for (const DirectoryEntry& entry : names) {
    const std::optional<DrillName> drill = parse_drill_file(entry.name);
    if (drill) newest = std::max(newest.value_or(INT64_MIN), drill->wall_ns);
  }
  return newest;
}

}  // namespace daruma
