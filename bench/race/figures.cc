// SPDX-License-Identifier: Apache-2.0
#include "race/figures.h"

#include <cstdio>

namespace race {

std::string text(const char* format, double value) {
  char room[64];
  std::snprintf(room, sizeof room, format, value);
  return room;
}

std::string figure(double v) {
  if (v >= 1e6) return text("%.2f M", v / 1e6);
  if (v >= 1e4) return text("%.0f k", v / 1e3);
  if (v >= 100) return text("%.0f", v);
  return text(v >= 10 ? "%.1f" : "%.2f", v);
}

std::string round_figure(double v) {
  if (v >= 1e6) return text("%g M", v / 1e6);
  return v >= 1e3 ? text("%g k", v / 1e3) : text("%g", v);
}

std::string ratio_text(double ratio) { return text(ratio >= 100 ? "%.0f" : ratio >= 10 ? "%.1f" : "%.2f", ratio); }

std::vector<std::string> columns(const Results& results) {
  std::vector<std::string> names;
  for (const Racer& racer : results.racers()) {
    if (racer.name != kReference) names.push_back(racer.name);
  }
  return names;
}

Sample opponent(const Results& results, const Row& row) {
  const std::string& trial = row.against_trial.empty() ? row.trial : row.against_trial;
  Sample best;
  for (const Racer& racer : results.racers()) {
    if (racer.name == kUs || !racer.name.starts_with(row.against)) continue;
    if (racer.name == kReference && row.against != kReference) continue;
    const Sample sample = results.sample(racer.name, trial, row.figure);
    const bool better = row.more_is_better() ? sample.middle > best.middle : sample.middle < best.middle;
    if (sample.count > 0 && (best.count == 0 || better)) best = sample;
  }
  return best;
}

double ratio(const Row& row, const Sample& ours, const Sample& theirs) {
  if (ours.count == 0 || theirs.count == 0 || ours.middle == 0 || theirs.middle == 0) return 0;
  return row.more_is_better() ? ours.middle / theirs.middle : theirs.middle / ours.middle;
}

std::string at_text(const Results& results, const Section& section, const Row& row) {
  return round_figure(section.grows == kKeys ? row.at * results.scale() : row.at);
}

}  // namespace race
