// SPDX-License-Identifier: Apache-2.0
// --prefix, --from and --to: which keys of a keyspace a command is about.
#pragma once

#include <optional>
#include <string>

#include "kvctl/command.h"

namespace daruma::kvctl {

struct BoundOptions {
  std::optional<std::string> prefix;
  std::optional<std::string> from;
  std::optional<std::string> to;

  void add_to(CLI::App& command) {
    command.add_option("--prefix", prefix, "Keys that begin with this")->type_name("KEY");
    command.add_option("--from", from, "The first key (inclusive)")->type_name("KEY");
    command.add_option("--to", to, "Where to stop (exclusive)")->type_name("KEY");
  }
  [[nodiscard]] bool given() const { return prefix || from || to; }
};

/// Keys in [lower, upper); an empty `upper` has no bound.
struct Bounds {
  std::string lower;
  std::string upper;
  [[nodiscard]] bool empty() const { return !upper.empty() && lower >= upper; }
};

inline Result<Bounds> make_bounds(Context& context, const BoundOptions& options) {
  Bounds bounds;
  if (options.prefix) {
    DARUMA_TRY_ASSIGN(const std::string prefix, context.parse_key(*options.prefix));
    CursorOptions range = prefix_bounds(prefix);
    bounds = {std::move(range.lower), std::move(range.upper)};
  }
  if (options.from) {
    DARUMA_TRY_ASSIGN(std::string from, context.parse_key(*options.from));
    bounds.lower = std::max(bounds.lower, std::move(from));
  }
  if (options.to) {
    DARUMA_TRY_ASSIGN(std::string to, context.parse_key(*options.to));
    // No key is below "", so an empty --to means an empty range; an empty `upper` would mean all.
    if (to.empty()) return Bounds{std::string(1, '\0'), std::string(1, '\0')};
    if (bounds.upper.empty() || to < bounds.upper) bounds.upper = std::move(to);
  }
  return bounds;
}

}  // namespace daruma::kvctl
