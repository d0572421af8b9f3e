// SPDX-License-Identifier: Apache-2.0
// What the passes of a start (open.cc) hand on to each other.
#pragma once

#include <vector>

#include "engine/engine.h"
#include "recovery/damage_map.h"
#include "recovery/log_replay.h"
#include "snapshot/catalogue.h"

namespace daruma {

struct Engine::Start {
  RecoveryReport report;
  bool found_anything = false;
  bool had_log = false;  // something besides the log says that a log file was made
  Catalogue catalogue;
  bool no_generation = false;             // no manifest to start from
  std::vector<DirectoryEntry> run_files;  // in runs/
  std::vector<PlacedRun> runs;
  DamageMap damage;
  bool found_again = false;  // what the damage map of the newest generation names
  LogReplay log;
  Status unreadable;  // a file that the device did not give
  std::uint64_t pass_bytes = 0;
};

}  // namespace daruma
