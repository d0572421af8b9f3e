// SPDX-License-Identifier: Apache-2.0
//
// What runs playbooks, the start-up recovery included, and what keeps their history.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "daruma/playbook.h"
#include "io/storage.h"

namespace daruma {

struct Playbook {
  std::string failure;
  std::vector<PlaybookStep> steps;
  /// Final validation, asked also after each step that was done: nothing more is needed.
  std::function<bool()> over;
  /// Each step needs the one before: the first that fails ends it. Else the next, more drastic one has its turn.
  bool sequence = false;
};

/// Runs it to its end and says in `incident` what came of each step, and of all: "resolved", or "escalated". `progress`
/// is told of each step before and after it.
void carry_out(const Playbook& playbook, Incident& incident, Clock& clock,
               const std::function<void(const Incident&, const PlaybookStep* at_hand)>& progress);

/// Durable history: one file an incident in `recoveries/`, written anew as it goes on. Best effort: what cannot be
/// written stops no playbook. Thread: one at a time.
class IncidentHistory {
 public:
  IncidentHistory(Storage& storage, std::string directory) : storage_(storage), directory_(std::move(directory)) {}
  void keep(const Incident& incident);
  static constexpr std::size_t kKept = 128;

 private:
  Storage& storage_;
  std::string directory_;
};

/// "i-0123456789abcdef", of the time it began; and its file.
std::string incident_id(std::int64_t wall_ns);
std::string incident_file(std::string_view id);
bool is_incident_file(std::string_view name);

}  // namespace daruma
