// SPDX-License-Identifier: Apache-2.0
//
// The inside of failpoints (daruma/failpoint.h): one call a point.
//
// What must stay true: while none is set, a point is one relaxed load and no call.
#pragma once

#include <atomic>
#include <string_view>

#include "daruma/failpoint.h"

namespace daruma {

extern std::atomic<bool> failpoints_are_set;
Status act_at_failpoint(std::string_view name, std::string_view of);

/// Ok: go on. `of`: the rest of the name, where there is one point for each of several.
inline Status failpoint(std::string_view name, std::string_view of = {}) {
  if (!failpoints_are_set.load(std::memory_order_relaxed)) return {};
  return act_at_failpoint(name, of);
}

/// Once in the life of a process: what DARUMA_FAILPOINTS asks for. Errors: those of `set_failpoints`, each time.
Status failpoints_from_environment();

}  // namespace daruma
