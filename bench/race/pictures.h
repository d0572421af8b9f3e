// SPDX-License-Identifier: Apache-2.0
// What README.md and docs/benchmarks.md show, as SVG.
#pragma once

#include <string>

#include "race/results.h"

namespace race {

/// How far each store is from the best of the others, on each row.
std::string ratios(const Results& results);
/// growth(): each store a line.
std::string curves(const Results& results);

}  // namespace race
