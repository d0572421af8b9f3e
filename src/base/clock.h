// SPDX-License-Identifier: Apache-2.0
// Time as a seam: tests and the simulator inject their own.
#pragma once

#include <cstdint>

namespace daruma {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual std::int64_t wall_ns() = 0;       ///< since 1970-01-01 UTC; may jump
  virtual std::int64_t monotonic_ns() = 0;  ///< never goes back within one process
};

/// The operating system's clocks. Lives for ever; any thread.
Clock& system_clock();

/// A clock that moves only when told, or by `step_ns` at each look. Not thread-safe.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(std::int64_t start_ns = 1'700'000'000'000'000'000, std::int64_t step_ns = 1000)
      : now_(start_ns), step_(step_ns) {}
  std::int64_t wall_ns() override { return (now_ += step_) + wall_ahead_; }
  std::int64_t monotonic_ns() override { return now_ += step_; }
  void advance(std::int64_t ns) { now_ += ns; }
  void set_wall_ahead(std::int64_t ns) { wall_ahead_ = ns; }  ///< as a person or a time server sets it; may be below 0

 private:
  std::int64_t now_;
  std::int64_t step_;
  std::int64_t wall_ahead_ = 0;
};

}  // namespace daruma
