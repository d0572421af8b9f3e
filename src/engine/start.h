// SPDX-License-Identifier: Apache-2.0
// What the passes of a start (open.cc) hand on to each other.
#pragma once

#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "recovery/damage_map.h"
#include "recovery/log_replay.h"
#include "snapshot/catalogue.h"

namespace daruma {

/// The playbook of a start, in order.
inline constexpr std::array<std::string_view, 7> kStartPasses = {"lock",      "choose snapshot", "open runs", "replay",
                                                                 "set aside", "start log",       "tidy"};

/// Under RecoveryPolicy::kRefuse, with the first thing that is lost.
Status refusal(const std::string& directory, const RecoveryFinding& lost);

struct Engine::Start {
  RecoveryReport report;
  std::int64_t began_ns = 0;
  bool report_told = false;  // `open` returns with it before all passes are done
  bool found_anything = false;
  bool had_log = false;                // something besides the log says that a log file was made
  std::vector<std::uint64_t> reports;  // numbers of those in recoveries/, rising
  bool damage_set = false;
  std::uint64_t log_tries = 0;
  Status tidied;
  Catalogue catalogue;
  bool no_generation = false;                             // no manifest to start from
  bool lacks_load = false;                                // an older one: it does not count
  bool may_lack_load = false;                             // the one that was chosen
  std::vector<std::pair<Sequence, std::uint32_t>> loads;  // then, those that the log behind it names, by keyspace
  std::vector<DirectoryEntry> run_files;                  // in runs/
  std::vector<PlacedRun> runs;
  DamageMap damage;
  std::vector<DamageEntry> given_up;  // before the target, in snapshots behind the one that was chosen
  bool found_again = false;           // what the damage map of the newest generation names
  bool half_told = false;             // the newest state does not know yet what an earlier start found damaged
  LogReplay log;
  Status unreadable;  // a file that the device did not give
  std::uint64_t pass_bytes = 0;
};

}  // namespace daruma
