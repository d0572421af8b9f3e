// SPDX-License-Identifier: Apache-2.0
#include "snapshot/compaction_picker.h"

#include <algorithm>
#include <map>

#include "base/assert.h"

namespace daruma {
namespace {

using Runs = std::vector<const PlacedRun*>;

bool contains(const Runs& runs, const PlacedRun* run) { return std::find(runs.begin(), runs.end(), run) != runs.end(); }

std::uint64_t bytes_of(const Runs& runs) {
  std::uint64_t total = 0;
  for (const PlacedRun* run : runs) total += run->info.file_bytes;
  return total;
}

/// Smallest and largest key of all, as a run without contents; outputs may be cut anywhere in between.
RunInfo hull_of(const Runs& runs) {
  DARUMA_ASSERT(!runs.empty());
  RunInfo hull;
  hull.keyspace = runs.front()->info.keyspace;
  hull.entries = 1;
  hull.smallest_key = runs.front()->info.smallest_key;
  hull.largest_key = runs.front()->info.largest_key;
  for (const PlacedRun* run : runs) {
    hull.smallest_key = std::min(hull.smallest_key, run->info.smallest_key);
    hull.largest_key = std::max(hull.largest_key, run->info.largest_key);
  }
  return hull;
}

/// Adds the runs of level 0 that may hold older versions than `set`, until there are none.
void close_over_older(const Runs& level0, Runs& set) {
  for (bool grew = true; grew;) {
    grew = false;
    for (const PlacedRun* run : level0) {
      if (contains(set, run)) continue;
      if (std::any_of(set.begin(), set.end(), [&](const PlacedRun* in) {
            return overlaps(in->info, run->info) && run->info.min_sequence <= in->info.max_sequence;
          })) {
        set.push_back(run);
        grew = true;
      }
    }
  }
}

/// One keyspace's runs by level, markers left out.
struct Levels {
  Runs at[kBottomLevel + 1];

  /// Adds the runs of `output` that the hull overlaps. Once is enough: they do not overlap each other.
  void drag_in(std::uint32_t output, Runs& set) const {
    const RunInfo hull = hull_of(set);
    for (const PlacedRun* run : at[output]) {
      if (!contains(set, run) && overlaps(hull, run->info)) set.push_back(run);
    }
  }
  /// The first level that the bottom is large enough for; those between 0 and it are to be empty.
  [[nodiscard]] std::uint32_t base_level(const CompactionSettings& settings) const {
    std::uint32_t level = kBottomLevel;
    for (std::uint64_t bytes = bytes_of(at[level]); level > 1 && bytes > settings.base_level_bytes; --level)
      bytes /= std::max<std::uint64_t>(settings.level_factor, 2);
    return level;
  }
  /// Where level 0 goes: nothing is jumped over.
  [[nodiscard]] std::uint32_t below_level0(const CompactionSettings& settings) const {
    const std::uint32_t base = base_level(settings);
    for (std::uint32_t level = 1; level < base; ++level) {
      if (!at[level].empty()) return level;
    }
    return base;
  }
  [[nodiscard]] bool nothing_below(std::uint32_t level, const RunInfo& hull) const {
    for (std::uint32_t below = level + 1; below <= kBottomLevel; ++below) {
      if (std::any_of(at[below].begin(), at[below].end(),
                      [&](const PlacedRun* run) { return overlaps(hull, run->info); }))
        return false;
    }
    return true;
  }
  /// All runs, in the order of keys, together where one overlaps the next.
  [[nodiscard]] std::vector<Runs> stretches() const {
    Runs all;
    for (const Runs& level : at) all.insert(all.end(), level.begin(), level.end());
    std::sort(all.begin(), all.end(),
              [](const PlacedRun* a, const PlacedRun* b) { return a->info.smallest_key < b->info.smallest_key; });
    std::vector<Runs> out;
    std::string_view end;
    for (const PlacedRun* run : all) {
      if (out.empty() || run->info.smallest_key > end) out.emplace_back();
      out.back().push_back(run);
      end = std::max<std::string_view>(end, run->info.largest_key);
    }
    return out;
  }
};

CompactionPick finish(const Levels& levels, const Runs& set, std::uint32_t to) {
  CompactionPick pick;
  pick.keyspace = set.front()->info.keyspace;
  pick.input_level = to;
  pick.output_level = to;
  pick.input_bytes = bytes_of(set);
  pick.bottom = levels.nothing_below(to, hull_of(set));
  for (const PlacedRun* run : set) {
    pick.input_level = std::min(pick.input_level, run->level);
    pick.inputs.push_back(run->info.number);
  }
  std::sort(pick.inputs.begin(), pick.inputs.end());
  return pick;
}

/// Given that it overlaps nothing older (placed_run.h).
bool may_move(const PlacedRun& run) { return run.level == 0 && run.info.level == 0; }

CompactionPick move(const Levels& levels, const Runs& runs) {
  CompactionPick pick = finish(levels, runs, kBottomLevel);
  pick.trivial_move = true;
  return pick;
}

bool any_busy(const Runs& set, const std::set<std::uint64_t>& busy) {
  return std::any_of(set.begin(), set.end(), [&](const PlacedRun* run) { return busy.contains(run->info.number); });
}

std::optional<CompactionPick> from_level0(const Levels& levels, const CompactionSettings& settings,
                                          const std::set<std::uint64_t>& busy) {
  const std::uint32_t output = levels.below_level0(settings);
  Runs level0 = levels.at[0];
  std::sort(level0.begin(), level0.end(),
            [](const PlacedRun* a, const PlacedRun* b) { return a->info.max_sequence < b->info.max_sequence; });
  for (const PlacedRun* oldest : level0) {
    Runs set{oldest};
    close_over_older(level0, set);
    if (set.size() == 1 && may_move(*oldest) && oldest->info.file_bytes >= settings.output_run_bytes / 4 &&
        !busy.contains(oldest->info.number) && levels.nothing_below(0, oldest->info))
      return move(levels, set);
    // Newer runs over the same keys come along while they fit: merging them now saves merging the level below again.
    for (const PlacedRun* newer : level0) {
      if (contains(set, newer) || !overlaps(hull_of(set), newer->info)) continue;
      Runs wider = set;
      wider.push_back(newer);
      close_over_older(level0, wider);
      Runs whole = wider;
      levels.drag_in(output, whole);
      if (bytes_of(whole) > settings.input_bytes_max || any_busy(whole, busy)) break;
      set = std::move(wider);
    }
    levels.drag_in(output, set);
    if (!any_busy(set, busy)) return finish(levels, set, output);
  }
  return std::nullopt;
}

std::optional<CompactionPick> from_level(const Levels& levels, std::uint32_t level, const CompactionSettings& settings,
                                         const std::set<std::uint64_t>& busy) {
  Runs best;
  double best_ratio = 0;
  for (const PlacedRun* seed : levels.at[level]) {
    Runs set{seed};
    levels.drag_in(level + 1, set);
    if (any_busy(set, busy)) continue;
    const std::uint64_t own = std::max<std::uint64_t>(seed->info.file_bytes, 1);
    const double ratio = static_cast<double>(bytes_of(set)) / static_cast<double>(own);
    if (best.empty() || ratio < best_ratio) {
      best = std::move(set);
      best_ratio = ratio;
    }
  }
  if (best.empty()) return std::nullopt;
  // Neighbours that lie over the same runs below come along for free.
  const RunInfo hull = hull_of(best);
  for (const PlacedRun* more : levels.at[level]) {
    if (contains(best, more) || busy.contains(more->info.number)) continue;
    if (more->info.smallest_key < hull.smallest_key || more->info.largest_key > hull.largest_key) continue;
    if (bytes_of(best) + more->info.file_bytes > settings.input_bytes_max) continue;
    best.push_back(more);
  }
  return finish(levels, best, level + 1);
}

std::map<std::uint32_t, Levels> by_keyspace(const std::vector<PlacedRun>& runs) {
  std::map<std::uint32_t, Levels> keyspaces;
  for (const PlacedRun& run : runs) {
    DARUMA_ASSERT(run.level <= kBottomLevel);
    if (!is_marker(run.info)) keyspaces[run.info.keyspace].at[run.level].push_back(&run);
  }
  return keyspaces;
}

/// How full a level is; a compaction is due at 1 and above.
double score_of(const Levels& levels, std::uint32_t level, const CompactionSettings& settings) {
  if (level >= kBottomLevel || levels.at[level].empty()) return 0;
  if (level == 0) {
    return static_cast<double>(levels.at[0].size()) /
           static_cast<double>(std::max<std::size_t>(settings.level0_trigger, 1));
  }
  if (level < levels.base_level(settings)) return 1;  // of a time when there was more below it
  auto target = static_cast<double>(bytes_of(levels.at[kBottomLevel]));
  for (std::uint32_t i = level; i < kBottomLevel; ++i) target /= static_cast<double>(settings.level_factor);
  return static_cast<double>(bytes_of(levels.at[level])) / std::max(target, 1.0);
}

}  // namespace

std::optional<CompactionPick> pick_compaction(const std::vector<PlacedRun>& runs, const CompactionSettings& settings,
                                              const std::set<std::uint64_t>& busy, std::uint32_t last) {
  const std::map<std::uint32_t, Levels> keyspaces = by_keyspace(runs);
  struct Due {
    std::uint32_t turn;
    double score;
    std::uint32_t level;
    const Levels* levels;
  };
  std::vector<Due> due;
  for (const auto& [keyspace, levels] : keyspaces) {
    for (std::uint32_t level = 0; level < kBottomLevel; ++level) {
      if (const double score = score_of(levels, level, settings); score >= 1)
        due.push_back({keyspace - last - 1, score, level, &levels});  // it wraps: `last` comes last
    }
  }
  std::stable_sort(due.begin(), due.end(),
                   [](const Due& a, const Due& b) { return a.turn != b.turn ? a.turn < b.turn : a.score > b.score; });
  for (const Due& d : due) {
    std::optional<CompactionPick> pick =
        d.level == 0 ? from_level0(*d.levels, settings, busy) : from_level(*d.levels, d.level, settings, busy);
    if (!pick) continue;
    pick->score = d.score;
    return pick;
  }
  return std::nullopt;
}

std::vector<CompactionPick> pick_everything(const std::vector<PlacedRun>& runs, const CompactionSettings& settings,
                                            std::uint32_t keyspace,
                                            const std::function<bool(const RunInfo& run)>& gives_back) {
  std::vector<CompactionPick> picks;
  const std::map<std::uint32_t, Levels> keyspaces = by_keyspace(runs);
  const auto found = keyspaces.find(keyspace);
  if (found == keyspaces.end()) return picks;
  const Levels& levels = found->second;
  Runs moved;
  Runs set;
  bool due = false;
  const auto end_set = [&] {
    if (due) picks.push_back(finish(levels, set, kBottomLevel));
    set.clear();
    due = false;
  };
  for (const Runs& stretch : levels.stretches()) {
    const PlacedRun& first = *stretch.front();
    const bool there = first.level == kBottomLevel;
    const bool good = stretch.size() == 1 && (there || may_move(first)) && !gives_back(first.info);
    if (good && first.info.file_bytes >= settings.output_run_bytes / 2) {
      end_set();
      if (!there) moved.push_back(&first);
      continue;
    }
    if (!set.empty() && bytes_of(set) + bytes_of(stretch) > settings.input_bytes_max) end_set();
    due = due || !good || !there || !set.empty();
    set.insert(set.end(), stretch.begin(), stretch.end());
  }
  end_set();
  if (!moved.empty()) picks.push_back(move(levels, moved));
  return picks;
}

}  // namespace daruma
