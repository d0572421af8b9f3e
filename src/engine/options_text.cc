// SPDX-License-Identifier: Apache-2.0
#include "engine/options_text.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace daruma {
namespace {

constexpr std::string_view kPromoted = "promoted ";

struct Named {
  std::string_view name;
  std::uint64_t (*get)(const Options&);
  void (*set)(std::uint64_t, Options&);
};

#define DARUMA_OPTION(field)                                                                                           \
  Named {                                                                                                              \
#field, [](const Options& o) { return std::uint64_t{o.field}; }, [](std::uint64_t v, Options & o) { o.field = v; } \
  }

constexpr std::array kOptions = {
    DARUMA_OPTION(memtable_bytes),
    DARUMA_OPTION(cache_bytes),
    DARUMA_OPTION(compaction_bytes_per_second),
    DARUMA_OPTION(scrub_days),
    DARUMA_OPTION(ballast_bytes),
    DARUMA_OPTION(segment_bytes),
    DARUMA_OPTION(ring_bytes),
    Named{"wal_copies", [](const Options& o) { return std::uint64_t{o.wal_copies}; },
          [](std::uint64_t v, Options& o) { o.wal_copies = static_cast<unsigned>(std::min<std::uint64_t>(v, 1000)); }},
    Named{"recovery_budget_ms", [](const Options& o) { return static_cast<std::uint64_t>(o.recovery_budget.count()); },
          [](std::uint64_t v, Options& o) {
            o.recovery_budget = std::chrono::milliseconds(std::min<std::uint64_t>(v, INT32_MAX));
          }},
};
#undef DARUMA_OPTION

/// Calls `take(line)` for each line.
template <typename Take>
void for_each_line(std::string_view text, const Take& take) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    take(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

void take_line(std::string_view line, Options& options) {
  const std::size_t space = line.find(' ');
  if (space == std::string_view::npos) return;
  std::uint64_t value = 0;
  const auto [rest, error] = std::from_chars(line.data() + space + 1, line.data() + line.size(), value);
  if (error == std::errc() && rest == line.data() + line.size())
    (void)set_option(line.substr(0, space), value, options);  // another version may know more of them
}

}  // namespace

std::vector<std::string_view> option_names() {
  std::vector<std::string_view> names;
  names.reserve(std::size(kOptions));
  for (const Named& option : kOptions) names.push_back(option.name);
  return names;
}

std::string options_text(const Options& options) {
  std::string text;
  for (const Named& option : kOptions)
    text.append(option.name).append(" ").append(std::to_string(option.get(options))).append("\n");
  return text;
}

void take_options(std::string_view text, Options& options) {
  for_each_line(text, [&](std::string_view line) { take_line(line, options); });
}

std::uint64_t option_value(const Options& options, std::string_view name) {
  for (const Named& option : kOptions) {
    if (option.name == name) return option.get(options);
  }
  return 0;
}

Status set_option(std::string_view name, std::uint64_t value, Options& options) {
  for (const Named& option : kOptions) {
    if (option.name != name) continue;
    option.set(value, options);
    return {};
  }
  std::string all;
  for (const Named& option : kOptions) all.append(all.empty() ? "" : ", ").append(option.name);
  return {Code::kInvalidArgument,
          "there is no option \"" + std::string(name) + "\" that can be changed so",
          {},
          "these can: " + all};
}

std::string promoted_in(std::string_view text) {
  std::string promoted;
  for_each_line(text, [&](std::string_view line) {
    if (line.starts_with(kPromoted)) promoted.append(line).append("\n");
  });
  return promoted;
}

std::string promoted_line(std::string_view name, std::uint64_t value) {
  return std::string(kPromoted).append(name).append(" ").append(std::to_string(value)).append("\n");
}

void take_promoted(std::string_view text, Options& options) {
  for_each_line(text, [&](std::string_view line) {
    if (line.starts_with(kPromoted)) take_line(line.substr(kPromoted.size()), options);
  });
}

}  // namespace daruma
