// SPDX-License-Identifier: Apache-2.0
//
// What a trial needs of the operating system: a process of its own, what that used, and files that are cached or not.
//
// What must stay true: whoever forks has one thread and no store open; a child ends as a kill would end it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

namespace race {

using Figures = std::map<std::string, double>;

/// Ends this process, and with it the trial.
[[noreturn]] void fail(const std::string& what);

/// Runs `work` in a process of its own and returns its figures, with `peak_mib`: the most memory it had.
Figures in_child(const std::function<Figures()>& work);
/// Runs `work` in a process of its own, which dies by SIGKILL when that returns.
void in_killed_child(const std::function<void()>& work);

/// Time, processor time (of all threads) and bytes handed to and taken from the device, from here on.
class Meter {
 public:
  Meter();
  [[nodiscard]] double seconds() const;
  [[nodiscard]] double ms() const { return 1e3 * seconds(); }
  [[nodiscard]] double cpu_seconds() const;
  [[nodiscard]] double written_bytes() const;
  [[nodiscard]] double read_bytes() const;

 private:
  std::chrono::steady_clock::time_point began_;
  double cpu_;
  std::map<std::string, double> io_;
};

/// Makes the files durable and lets the page cache forget them.
void forget(const std::string& directory);
/// Reads every file, so that its pages are cached.
void warm(const std::string& directory);
/// That the files take on the device.
double disk_bytes(const std::string& directory);

/// Memory, page cache included, that whoever joins may use, where the system lets us set it (a control group).
class MemoryLimit {
 public:
  explicit MemoryLimit(std::uint64_t bytes);
  ~MemoryLimit();
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;
  /// This process, for the rest of its life; false: there is no limit.
  [[nodiscard]] bool join() const;

 private:
  std::string group_;  // empty: none
};

}  // namespace race
