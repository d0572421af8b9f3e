// SPDX-License-Identifier: Apache-2.0
//
// The life of a store that a trial hurts, what each key must answer after it, and the questions.
//
// What must stay true: the script depends on its number and nothing else, so that the oracle needs no file; every step
// of it was acknowledged before the kill, so that each key has exactly one right answer.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rehearsal/fault.h"
#include "survive/contender.h"

namespace survive {

using daruma::rehearsal::all_faults;
using daruma::rehearsal::Extent;
using daruma::rehearsal::Fault;
using daruma::rehearsal::whole_file;

struct Change {
  std::string key;
  std::optional<std::string> value;  ///< nothing: the key is deleted
};

struct Step {
  std::vector<Change> changes;
  bool flush = false;   ///< afterwards
  bool killed = false;  ///< afterwards, and the next process goes on
};

inline constexpr std::uint32_t kKeys = 10'000;
inline constexpr std::uint32_t kNeverWritten = 200;  ///< keys behind those, asked for as well

class Script {
 public:
  explicit Script(std::uint64_t number);
  [[nodiscard]] const std::vector<Step>& steps() const { return steps_; }
  static std::string key(std::uint32_t number);

  enum class Verdict : std::uint8_t { kRight, kMissing, kStale, kWrong, kResurrected };
  /// Of an answer that is no error; nothing: not found.
  [[nodiscard]] Verdict judge(std::uint32_t key, const std::optional<std::string_view>& answer) const;
  [[nodiscard]] bool lives(std::uint32_t key) const { return !history_[key].empty() && history_[key].back(); }
  /// Percent of the keys whose newest version was written after the last flush.
  [[nodiscard]] double tail_percent() const { return tail_percent_; }

 private:
  void change(Step& step, std::uint32_t key, std::optional<std::string> value);
  std::vector<Step> steps_;
  std::vector<std::vector<std::optional<std::string>>> history_{kKeys + kNeverWritten};  // oldest first
  double tail_percent_ = 0;
};

/// What a trial's process has found so far. Lies in memory that outlives it.
struct Findings {
  enum Phase : std::uint32_t { kBegun, kNoPlace, kHurt, kRefused, kOpened, kDone };
  std::atomic<std::uint32_t> phase;
  char file[200];
  std::uint64_t offset;
  std::uint32_t asked, right, reported, missing, stale, wrong, resurrected;  ///< keys, by get
  std::uint32_t scan_silent, scan_error;  ///< keys that a scan passed over or gave wrong; it ended with an error
  std::uint32_t write_failed, told, repair_failed;
};

/// Writes the store in `directory` from step `first` on; returns the step to go on with, after a kill.
std::size_t live(const Mode& mode, const std::string& directory, const Script& script, std::size_t first);

/// Hurts the store in `directory`, opens it and asks.
void ask(const Contender& contender, const Mode& mode, const FileClass& files, Fault fault, std::uint64_t seed,
         const std::string& directory, const Script& script, Findings& findings);

}  // namespace survive
