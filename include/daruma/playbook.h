// SPDX-License-Identifier: Apache-2.0
//
// Playbooks: what is done about a kind of failure, step by step, from the mildest to the most drastic, until the
// failure is over; if it is not at the end, it escalates. After "Recovery Oriented Computing" (Patterson et al. 2002).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "daruma/status.h"

namespace daruma {

/// One failure, from its discovery to its end. Kept in `recoveries/`, anew after each step, so that a kill in the
/// middle leaves what was done so far.
struct Incident {
  struct Step {
    std::string name{};
    std::string outcome;  ///< done, skipped (its pre-check said so), failed, timed_out
    Status status;
    std::int64_t duration_ns = 0;
  };
  std::string id;         ///< "i-" and 16 hex digits; rising with time
  std::string failure;    ///< kind: "log_down", "no_space", "worker_failing", "data_lost", "invariant_broken"
  std::string component;  ///< which part, as in ComponentInfo
  Status cause;
  std::int64_t began_wall_ns = 0;
  std::int64_t ended_wall_ns = 0;  ///< 0: it goes on, or a kill ended it
  std::int64_t over_wall_ns = 0;   ///< when the failure was over, if it escalated; 0: not in this life
  std::vector<Step> steps;         ///< none, and resolved: over before the first
  std::string outcome;             ///< resolved, escalated; empty while it goes on

  /// One JSON document, keys as the members here.
  [[nodiscard]] DARUMA_API std::string to_json() const;
};

/// Called on the store's supervisor thread, without a lock of the store: they may call the store, should end within
/// `timeout`, and must not throw. A step that overruns is told as timed out, and the next one is gone on with when it
/// returns.
struct PlaybookStep {
  std::string name{};
  std::function<bool(const Incident&)> pre_check{};  ///< false: skipped; empty: always
  std::function<Status(const Incident&)> execute{};
  std::function<Status(const Incident&)> verify{};  ///< that it did what it should; empty: nothing to look at
  std::chrono::milliseconds timeout{30'000};
};

/// What is done about one kind of failure, as it stands: the store's own steps, then the user's.
struct PlaybookInfo {
  std::string failure;
  std::vector<std::string> steps;
};

/// A user's steps for one kind of failure, taken after the store's own.
struct PlaybookExtension {
  std::string failure;  ///< as in Incident
  std::vector<PlaybookStep> steps;
};

}  // namespace daruma
