// SPDX-License-Identifier: Apache-2.0
// Shared ownership of the memory that a value stands in: one counter, beside what it counts for.
#pragma once

#include <atomic>
#include <cstdint>

namespace daruma {

/// Any thread. Made with one share.
struct Pin {
  using GiveBack = void (*)(Pin*);
  explicit Pin(GiveBack how) : give_back(how) {}
  void share() { shares.fetch_add(1, std::memory_order_relaxed); }
  void let_go() {
    if (shares.fetch_sub(1, std::memory_order_acq_rel) == 1) give_back(this);
  }
  /// Nobody else has a share.
  [[nodiscard]] bool alone() const { return shares.load(std::memory_order_acquire) == 1; }

 private:
  std::atomic<std::uint32_t> shares{1};
  const GiveBack give_back;
};

}  // namespace daruma
