// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "race/results.h"

namespace race {

/// docs/benchmarks.md. `curves`, unless empty: the path from there to the picture.
std::string markdown(const Results& results, const std::string& curves = {});

}  // namespace race
