// SPDX-License-Identifier: Apache-2.0
//
// The parts of a store that fail, rest and are rebooted alone: for each the outcome of its last work, a circuit
// breaker, and a count of reboots.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "base/random.h"
#include "daruma/health.h"
#include "health/circuit_breaker.h"
#include "health/restart_limit.h"

namespace daruma {

enum class Part : std::uint8_t { kStart, kLog, kLogCopy, kCheckpoint, kCleanUp, kCompaction, kHeal, kScrub, kCache };
inline constexpr std::size_t kParts = 9;
std::string_view part_name(Part part);
std::optional<Part> part_named(std::string_view name);

/// Any thread. Telling needs no memory but for what a status itself holds.
class Components {
 public:
  Components(std::uint64_t seed, unsigned reboots_per_hour);

  /// Ok: the work may be tried. `probe` is set when the attempt decides whether the breaker closes again. Else
  /// kUnavailable, with the cause.
  Status admit(Part part, std::int64_t now_ns, bool& probe) EXCLUDES(mutex_);
  /// The outcome of a piece of work; true when it is a failure, and not the one that was told last.
  bool tell(Part part, const Status& status, std::int64_t now_ns) EXCLUDES(mutex_);
  /// Something has changed for the better: what rests is tried again at once.
  void rest_no_longer() EXCLUDES(mutex_);

  [[nodiscard]] Status last(Part part) const EXCLUDES(mutex_);
  [[nodiscard]] bool open(Part part) const EXCLUDES(mutex_);
  /// The last failure that is not over; ok when all is well.
  [[nodiscard]] Status worst() const EXCLUDES(mutex_);

  /// Counts a reboot of a part, or of a keyspace; the next attempt of a part that rests decides. kUnavailable: the hour
  /// has had its share.
  Status take_reboot(std::string_view component, std::int64_t now_ns) EXCLUDES(mutex_);
  [[nodiscard]] std::vector<ComponentInfo> list(std::int64_t now_ns) const EXCLUDES(mutex_);

 private:
  struct Component {
    Status last;
    CircuitBreaker breaker;
    RestartLimit reboots;
  };
  static ComponentInfo describe(std::string_view name, const RestartLimit& reboots, std::int64_t now_ns);

  const unsigned reboots_per_hour_;
  std::atomic<unsigned> failing_{0};  ///< parts whose last work failed: most of the time none, and telling costs a load
  mutable Mutex mutex_;
  Random random_ GUARDED_BY(mutex_);
  std::vector<Component> parts_ GUARDED_BY(mutex_);
  std::map<std::string, RestartLimit, std::less<>> keyspaces_ GUARDED_BY(mutex_);  ///< those that were rebooted
};

}  // namespace daruma
