// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "race/results.h"

namespace race {

/// docs/benchmarks.md.
std::string markdown(const Results& results);
/// For README.md, as SVG: how far each store is from the best of the others.
std::string picture(const Results& results);

}  // namespace race
