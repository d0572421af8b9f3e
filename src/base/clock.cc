// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include <ctime>

namespace daruma {
namespace {

class SystemClock final : public Clock {
 public:
  std::int64_t wall_ns() override { return now(CLOCK_REALTIME); }
  std::int64_t monotonic_ns() override { return now(CLOCK_MONOTONIC); }

 private:
  static std::int64_t now(clockid_t id) {
    timespec t{};
    clock_gettime(id, &t);
    return static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
  }
};

}  // namespace

Clock& system_clock() {
  static SystemClock clock;
  return clock;
}

}  // namespace daruma
