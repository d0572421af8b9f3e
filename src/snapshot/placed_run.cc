// SPDX-License-Identifier: Apache-2.0
#include "snapshot/placed_run.h"

#include <algorithm>
#include <string>
#include <tuple>

namespace daruma {

Status check_placement(const std::vector<PlacedRun>& runs) {
  const auto bad = [](const RunInfo& run, const std::string& what) {
    return Status(Code::kCorruption, "run " + std::to_string(run.number) + " " + what);
  };
  std::vector<const PlacedRun*> order;
  order.reserve(runs.size());
  for (const PlacedRun& run : runs) {
    if (run.level > kBottomLevel)
      return bad(run.info, "stands at level " + std::to_string(run.level) + ", which does not exist");
    if (!is_marker(run.info) && run.info.smallest_key > run.info.largest_key)
      return bad(run.info, "has its key bounds the wrong way round");
    if (run.info.min_sequence > run.info.max_sequence)
      return bad(run.info, "has its sequence bounds the wrong way round");
    order.push_back(&run);
  }
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) { return a->info.number < b->info.number; });
  for (std::size_t i = 1; i < order.size(); ++i) {
    if (order[i]->info.number == order[i - 1]->info.number) return bad(order[i]->info, "is listed twice");
  }
  std::erase_if(order, [](const PlacedRun* run) { return run->level == 0 || is_marker(run->info); });
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::tie(a->info.keyspace, a->level, a->info.smallest_key) <
           std::tie(b->info.keyspace, b->level, b->info.smallest_key);
  });
  for (std::size_t i = 1; i < order.size(); ++i) {
    const PlacedRun& before = *order[i - 1];
    const PlacedRun& after = *order[i];
    if (before.level == after.level && overlaps(before.info, after.info)) {
      return bad(after.info,
                 "overlaps run " + std::to_string(before.info.number) + " at level " + std::to_string(after.level));
    }
  }
  return {};
}

}  // namespace daruma
