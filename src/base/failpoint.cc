// SPDX-License-Identifier: Apache-2.0
#include "base/failpoint.h"

#include <array>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include "base/mutex.h"
#include "base/random.h"
#include "base/status_macros.h"

namespace daruma {

std::atomic<bool> failpoints_are_set{false};

namespace {

struct Point {
  std::string_view name, where;
  bool of_a_worker = false;
};

/// docs/testing.md has the same, and tests/failpoint_test.cc holds both equal to what stands in src/.
constexpr std::array kPoints = {
    Point{"pass lock", "a start is about to take the directory"},
    Point{"pass choose snapshot", "a start is about to read the manifests"},
    Point{"pass open runs", "a start is about to open the runs"},
    Point{"pass replay", "a start is about to read the log"},
    Point{"pass set aside", "a start is about to put what it could not use into quarantine"},
    Point{"pass start log", "a start is about to publish a log file of its own"},
    Point{"pass tidy", "a start is about to remove what means nothing"},
    Point{"frame write", "a frame of the log is about to be given to the device"},
    Point{"frame written", "the device says that a frame is durable, and nobody was told"},
    Point{"segment publish", "a log file is about to get its name"},
    Point{"segment published", "a log file has its name, durably"},
    Point{"flush", "a memtable is about to be written into a run", true},
    Point{"run publish", "a run is about to get its name"},
    Point{"run published", "a run has its name and was not read back"},
    Point{"snapshot publish", "a manifest is about to get its name"},
    Point{"snapshot published", "a manifest has its name, durably, and is not yet in use"},
    Point{"manifest remove", "a manifest that is not kept is about to go"},
    Point{"log retire", "log files that no snapshot needs are about to go"},
    Point{"compaction", "a compaction is about to be looked for", true},
    Point{"heal", "a damaged run is about to be looked for", true},
    Point{"scrub", "a file is about to be scrubbed, if one is due", true},
};

struct Set {
  FailpointAction action;
  bool set = false;
  std::uint64_t hits = 0, acted = 0;
  Random random{1};
};

Mutex mutex;
std::array<Set, kPoints.size()> sets GUARDED_BY(mutex);

bool is_named(std::string_view point, std::string_view name, std::string_view of) {
  if (of.empty()) return point == name;
  return point.size() == name.size() + 1 + of.size() && point.starts_with(name) && point[name.size()] == ' ' &&
         point.ends_with(of);
}

Result<std::size_t> point_named(std::string_view name) {
  for (std::size_t i = 0; i < kPoints.size(); ++i) {
    if (kPoints[i].name == name) return i;
  }
  return Status(Code::kNotFound, "there is no failpoint \"" + std::string(name) + "\"", {},
                "docs/testing.md names all of them");
}

Status check(const Point& point, const FailpointAction& action) {
  const auto refuse = [&](const char* why) {
    return Status(Code::kInvalidArgument, "failpoint \"" + std::string(point.name) + "\": " + why);
  };
  if (action.kind == FailpointAction::Kind::kThrow && !point.of_a_worker)
    return refuse("no worker would catch an exception there");
  if (action.kind == FailpointAction::Kind::kError && action.code == Code::kOk) return refuse("ok is no error");
  if (!(action.probability > 0 && action.probability <= 1))
    return refuse("a probability is above 0 and at most 1 (100 percent)");
  if (action.delay.count() < 0) return refuse("a delay is not negative");
  return {};
}

void look_for_any() REQUIRES(mutex) {
  bool any = false;
  for (const Set& set : sets) any = any || set.set;
  failpoints_are_set.store(any, std::memory_order_relaxed);
}

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

/// What stands before the next `separator`, without blanks around; `text` goes on behind it.
std::string_view take(std::string_view& text, char separator) {
  const std::size_t end = text.find(separator);
  const std::string_view piece = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return trimmed(piece);
}

Status malformed(std::string_view piece) {
  return {Code::kInvalidArgument,
          "failpoints: \"" + std::string(piece) + "\" means nothing",
          {},
          "NAME=error|error(CODE)|throw|kill|delay(MS)[,skip=N][,times=N][,percent=P][,seed=N]; with ';' between"};
}

Status number_in(std::string_view text, std::string_view piece, std::uint64_t& out) {
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && rest == text.data() + text.size() ? Status() : malformed(piece);
}

Status parse_kind(std::string_view text, FailpointAction& action) {
  using Kind = FailpointAction::Kind;
  std::string_view argument;
  if (const std::size_t open = text.find('('); open != std::string_view::npos && text.ends_with(')')) {
    argument = text.substr(open + 1, text.size() - open - 2);
    text = text.substr(0, open);
  }
  if (text == "error") {
    if (argument.empty()) return {};
    for (int code = 1; code <= static_cast<int>(Code::kOutOfMemory); ++code) {
      if (argument != code_name(static_cast<Code>(code))) continue;
      action.code = static_cast<Code>(code);
      return {};
    }
    return malformed(argument);
  }
  if (text == "delay") {
    std::uint64_t ms = 0;
    DARUMA_TRY(number_in(argument, "delay", ms));
    if (ms > 3'600'000) return malformed(argument);
    action.kind = Kind::kDelay;
    action.delay = std::chrono::milliseconds(ms);
    return {};
  }
  if (!argument.empty() || (text != "throw" && text != "kill")) return malformed(text);
  action.kind = text == "kill" ? Kind::kKill : Kind::kThrow;
  return {};
}

Status parse(std::string_view piece, std::string_view& name, FailpointAction& action) {
  std::string_view rest = piece;
  name = take(rest, '=');
  DARUMA_TRY(parse_kind(take(rest, ','), action));
  while (!rest.empty()) {
    std::string_view value = take(rest, ',');
    const std::string_view key = take(value, '=');
    std::uint64_t number = 0;
    DARUMA_TRY(number_in(value, piece, number));
    if (key == "skip")
      action.skip = number;
    else if (key == "times")
      action.times = number;
    else if (key == "percent")
      action.probability = static_cast<double>(number) / 100;
    else if (key == "seed")
      action.seed = number;
    else
      return malformed(key);
  }
  return {};
}

}  // namespace

Status act_at_failpoint(std::string_view name, std::string_view of) {
  FailpointAction action;
  {
    MutexLock lock(mutex);
    std::size_t i = 0;
    while (i < kPoints.size() && !is_named(kPoints[i].name, name, of)) ++i;
    if (i == kPoints.size() || !sets[i].set) return {};
    Set& set = sets[i];
    if (++set.hits <= set.action.skip) return {};
    const double drawn = static_cast<double>(set.random.next() >> 11) * 0x1p-53;
    if (drawn >= set.action.probability) return {};
    if (++set.acted == set.action.times) {
      set.set = false;
      look_for_any();
    }
    action = set.action;
  }
  std::string shown = "failpoint \"" + std::string(name);
  if (!of.empty()) shown.append(" ").append(of);
  shown += '"';
  switch (action.kind) {
    case FailpointAction::Kind::kError: return {action.code, std::move(shown), {}, "it was set by a test"};
    case FailpointAction::Kind::kThrow: throw std::runtime_error(shown);
    case FailpointAction::Kind::kKill: std::raise(SIGKILL); break;
    case FailpointAction::Kind::kDelay: std::this_thread::sleep_for(action.delay); break;
  }
  return {};
}

Status set_failpoint(std::string_view name, const FailpointAction& action) {
  DARUMA_TRY_ASSIGN(const std::size_t i, point_named(name));
  DARUMA_TRY(check(kPoints[i], action));
  MutexLock lock(mutex);
  sets[i] = {.action = action, .set = true, .hits = 0, .acted = 0, .random = Random(action.seed)};
  look_for_any();
  return {};
}

Status set_failpoints(std::string_view text) {
  std::vector<std::pair<std::string_view, FailpointAction>> all;
  while (!text.empty()) {
    const std::string_view piece = take(text, ';');
    if (piece.empty()) continue;
    auto& [name, action] = all.emplace_back();
    DARUMA_TRY(parse(piece, name, action));
    DARUMA_TRY_ASSIGN(const std::size_t i, point_named(name));
    DARUMA_TRY(check(kPoints[i], action));
  }
  for (const auto& one : all) DARUMA_TRY(set_failpoint(one.first, one.second));
  return {};
}

Status clear_failpoint(std::string_view name) {
  DARUMA_TRY_ASSIGN(const std::size_t i, point_named(name));
  MutexLock lock(mutex);
  sets[i] = Set();
  look_for_any();
  return {};
}

void clear_failpoints() {
  MutexLock lock(mutex);
  for (Set& set : sets) set = Set();
  look_for_any();
}

std::vector<FailpointInfo> failpoints() {
  std::vector<FailpointInfo> all;
  MutexLock lock(mutex);
  for (std::size_t i = 0; i < kPoints.size(); ++i) {
    all.push_back(
        {std::string(kPoints[i].name), std::string(kPoints[i].where), sets[i].set, sets[i].hits, sets[i].acted});
  }
  return all;
}

Status failpoints_from_environment() {
  static const Status taken = [] {
    const char* const text = std::getenv("DARUMA_FAILPOINTS");
    return text ? set_failpoints(text) : Status();
  }();
  return taken;
}

}  // namespace daruma
