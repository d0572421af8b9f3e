// SPDX-License-Identifier: Apache-2.0
// What the pages of kvctl draw, as markup (html.h): a timeline, bars of what took how long, and the log as a strip map.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kvctl/inspect.h"

namespace daruma::kvctl {

/// How a verdict is painted everywhere: a class of the page's style.
std::string_view colour_of(std::string_view verdict);

struct Moment {
  std::int64_t wall_ns = 0;
  std::string what;
  std::string_view colour = "idle";
};
/// Times of the day, and how far each is from `zero`.
std::string timeline(std::vector<Moment> moments, std::int64_t zero);

struct Bar {
  std::string name;
  std::int64_t began_ns = 0;
  std::int64_t took_ns = 0;
  std::string note;
  std::string_view colour = "pass";
};
/// One under the other, each from where the one before ended, so that what took the time is seen at once.
std::string bars(const std::vector<Bar>& all);

/// Whether it is of a segment, and so on the map.
bool is_log(const RecoveryFinding& finding);
/// The segments that a start could see, as they stand now, and its findings over them.
std::string log_map(const StoreFiles& files, const RecoveryReport& report);

}  // namespace daruma::kvctl
