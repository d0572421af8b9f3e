// SPDX-License-Identifier: Apache-2.0
// How a figure is compared and written, in tables and pictures alike.
#pragma once

#include <string>
#include <vector>

#include "race/results.h"
#include "race/rows.h"

namespace race {

inline constexpr const char* kUs = "daruma";

std::string text(const char* format, double value);
std::string figure(double value);
/// One that is round: "10 M".
std::string round_figure(double value);
std::string ratio_text(double ratio);

/// The stores.
std::vector<std::string> columns(const Results& results);
/// What Daruma is held against; count 0: there is nothing.
Sample opponent(const Results& results, const Row& row);
/// Above 1: Daruma is ahead. 0: nothing to compare.
double ratio(const Row& row, const Sample& ours, const Sample& theirs);
/// Where a row of growth() stands.
std::string at_text(const Results& results, const Section& section, const Row& row);

}  // namespace race
