// SPDX-License-Identifier: Apache-2.0
//
// Recovery debt: what a kill now would cost the next start, and how much may gather until it is paid off by a
// checkpoint.
//
// The estimate is linear: a fixed cost to open, one for each run, and the bytes of memtables to build again at the rate
// that starts of this store were seen to reach. Bytes of memtables rather than of the log, since an index has to be
// built for them: small entries cost more than their bytes in the log say.
#pragma once

#include <cstdint>

namespace daruma {

/// What starts of one store take; from the last one that had enough to do to tell.
struct StartCosts {
  std::int64_t fixed_ns = 10'000'000;
  std::int64_t per_run_ns = 100'000;
  std::uint64_t replay_bytes_per_second = 200'000'000;  ///< until one was measured: slower than most
};

/// What one start was seen to take.
struct MeasuredStart {
  std::int64_t open_runs_ns = 0;
  std::uint64_t runs = 0;
  std::int64_t replay_ns = 0;
  std::uint64_t replay_bytes = 0;  ///< of memtables, built
  std::int64_t total_ns = 0;       ///< until the first read
};

/// `before`, as far as `seen` says nothing better: a replay of little tells no rate.
StartCosts learn(const StartCosts& before, const MeasuredStart& seen);

/// Pure values. All times in nanoseconds, all bytes of memtables.
class RecoveryBudget {
 public:
  explicit RecoveryBudget(std::int64_t budget_ns) : budget_ns_(budget_ns) {}

  void set_costs(const StartCosts& costs) { costs_ = costs; }
  [[nodiscard]] const StartCosts& costs() const { return costs_; }
  [[nodiscard]] std::int64_t budget_ns() const { return budget_ns_; }
  [[nodiscard]] std::int64_t open_ns(std::uint64_t runs) const {
    return costs_.fixed_ns + static_cast<std::int64_t>(runs) * costs_.per_run_ns;
  }
  [[nodiscard]] std::int64_t estimate_ns(std::uint64_t runs, std::uint64_t bytes) const;
  /// A checkpoint is begun at `begin`, and leaves time for itself until `wait`, where writers wait for it.
  struct Limits {
    std::uint64_t begin = 0;
    std::uint64_t wait = 0;
  };
  [[nodiscard]] Limits limits(std::uint64_t runs) const;

  /// Less would make more checkpoints than a device can sync, and save a start next to nothing.
  static constexpr std::uint64_t kLeastBytes = 1 << 20;

 private:
  std::int64_t budget_ns_;
  StartCosts costs_;
};

}  // namespace daruma
