// SPDX-License-Identifier: Apache-2.0
#include "health/circuit_breaker.h"

#include <algorithm>
#include <string>

namespace daruma {

FailureClass failure_class(const Status& status) {
  switch (status.code()) {
    case Code::kNoSpace: return FailureClass::kNoSpace;
    case Code::kIoError: return FailureClass::kIo;
    case Code::kCorruption:
    case Code::kDataLoss: return FailureClass::kCorruption;
    case Code::kUnavailable: return FailureClass::kTimeout;
    default: return FailureClass::kOther;
  }
}

std::string_view breaker_state_name(CircuitBreaker::State state) {
  switch (state) {
    case CircuitBreaker::State::kClosed: return "closed";
    case CircuitBreaker::State::kOpen: return "open";
    case CircuitBreaker::State::kHalfOpen: return "half_open";
  }
  return "closed";
}

Status CircuitBreaker::admit(std::int64_t now_ns) {
  if (state_ == State::kClosed) return {};
  if (state_ == State::kOpen && now_ns < retry_at_ns_) {
    return {Code::kUnavailable, "rests after it failed: " + cause_.to_string(), cause_.where(),
            "it is tried again by itself in " + std::to_string((retry_at_ns_ - now_ns) / 1'000'000 + 1) + " ms"};
  }
  state_ = State::kHalfOpen;
  return {};
}

void CircuitBreaker::failed(const Status& status, std::int64_t now_ns, Random& random) {
  if (status.is(Code::kAborted) || status.is(Code::kOutOfMemory)) {
    if (state_ == State::kHalfOpen) state_ = State::kOpen;  // nothing was learned
    return;
  }
  const FailureClass of = failure_class(status);
  in_a_row_ = of == class_ ? in_a_row_ + 1 : 1;
  class_ = of;
  cause_ = status;
  if (state_ == State::kClosed && in_a_row_ < settings_.failures) return;
  if (state_ == State::kClosed) ++opened_;
  state_ = State::kOpen;
  rest_ns_ = std::clamp(2 * rest_ns_, settings_.first_rest_ns, settings_.longest_rest_ns);
  // A quarter either way, so that stores that share a device do not come back together.
  const auto quarter = static_cast<std::uint64_t>(rest_ns_ / 4);
  retry_at_ns_ =
      now_ns + rest_ns_ - static_cast<std::int64_t>(quarter) + static_cast<std::int64_t>(random.below(2 * quarter + 1));
}

std::int64_t CircuitBreaker::retry_in_ns(std::int64_t now_ns) const {
  return state_ == State::kOpen ? std::max<std::int64_t>(0, retry_at_ns_ - now_ns) : 0;
}

}  // namespace daruma
