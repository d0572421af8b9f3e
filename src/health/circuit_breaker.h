// SPDX-License-Identifier: Apache-2.0
//
// A circuit breaker (Nygard, "Release It!", 2007): work that failed several times alike rests, so that it neither burns
// a device nor keeps callers waiting; one attempt after the rest decides.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/random.h"
#include "daruma/status.h"

namespace daruma {

/// Failures that are alike: what brings one back brings all of them back.
enum class FailureClass : std::uint8_t { kNoSpace, kIo, kCorruption, kTimeout, kOther };
FailureClass failure_class(const Status& status);

/// Thread: the caller's lock. Times are of one monotonic clock, in nanoseconds.
class CircuitBreaker {
 public:
  struct Settings {
    unsigned failures = 3;  ///< in a row and alike, until it opens
    std::int64_t first_rest_ns = 100'000'000;
    std::int64_t longest_rest_ns = 60'000'000'000;  ///< each rest is twice the one before, up to here
  };
  enum class State : std::uint8_t { kClosed, kOpen, kHalfOpen };

  CircuitBreaker() = default;
  explicit CircuitBreaker(const Settings& settings) : settings_(settings) {}

  /// Ok: go on, and tell how it ended. Else kUnavailable, with the cause and when it will be tried again. Of an open
  /// breaker whose rest is over, the caller's attempt is the one that decides.
  Status admit(std::int64_t now_ns);
  void succeeded() {
    const bool at_once = state_ == State::kHalfOpen && rest_ns_ == settings_.first_rest_ns;
    *this = CircuitBreaker(settings_, opened_, needless_ + at_once);
  }
  /// Errors of the process (out of memory, no descriptors) and kAborted say nothing of what it guards: not counted.
  void failed(const Status& status, std::int64_t now_ns, Random& random);
  /// The next `admit` may go on, whatever the rest: somebody says that things have changed.
  void rest_no_longer() { retry_at_ns_ = 0; }

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] const Status& cause() const { return cause_; }
  [[nodiscard]] std::int64_t retry_in_ns(std::int64_t now_ns) const;
  [[nodiscard]] std::uint64_t opened() const { return opened_; }      ///< how often
  [[nodiscard]] std::uint64_t needless() const { return needless_; }  ///< of those: the first attempt closed it again

 private:
  CircuitBreaker(const Settings& settings, std::uint64_t opened, std::uint64_t needless)
      : settings_(settings), opened_(opened), needless_(needless) {}
  Settings settings_;
  State state_ = State::kClosed;
  unsigned in_a_row_ = 0;
  FailureClass class_ = FailureClass::kOther;
  Status cause_;
  std::int64_t rest_ns_ = 0;
  std::int64_t retry_at_ns_ = 0;
  std::uint64_t opened_ = 0;
  std::uint64_t needless_ = 0;
};

/// "closed", "open", "half_open".
std::string_view breaker_state_name(CircuitBreaker::State state);

}  // namespace daruma
