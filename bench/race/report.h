// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "race/results.h"

namespace race {

/// docs/benchmarks.md.
std::string markdown(const Results& results);

}  // namespace race
