// SPDX-License-Identifier: Apache-2.0
// How often a component may be rebooted: at most so many times in any hour.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace daruma {

/// Thread: the caller's lock. Times are of one monotonic clock, in nanoseconds.
class RestartLimit {
 public:
  explicit RestartLimit(unsigned per_hour) : per_hour_(per_hour) { times_.reserve(per_hour); }

  /// Counts one more; false, and nothing is counted, when the hour has had its share.
  bool take(std::int64_t now_ns) {
    if (last_hour(now_ns) >= per_hour_) return false;
    std::erase_if(times_, [&](std::int64_t at) { return now_ns - at >= kHourNs; });
    times_.push_back(now_ns);
    ++taken_;
    return true;
  }
  [[nodiscard]] unsigned last_hour(std::int64_t now_ns) const {
    return static_cast<unsigned>(
        std::count_if(times_.begin(), times_.end(), [&](std::int64_t at) { return now_ns - at < kHourNs; }));
  }
  [[nodiscard]] unsigned per_hour() const { return per_hour_; }
  [[nodiscard]] std::uint64_t taken() const { return taken_; }

 private:
  static constexpr std::int64_t kHourNs = 3'600'000'000'000;
  unsigned per_hour_;
  std::vector<std::int64_t> times_;
  std::uint64_t taken_ = 0;
};

}  // namespace daruma
