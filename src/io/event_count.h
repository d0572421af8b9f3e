// SPDX-License-Identifier: Apache-2.0
// Waiting for a condition that is read without a lock (the event count of Reed and Kanodia, as Folly and Eigen have
// it).
#pragma once

#include <atomic>
#include <cstdint>

namespace daruma {

/// Any thread. Whoever waits takes a key, then looks whether the condition holds, and if not waits with the key;
/// whoever makes it hold notifies after that. Those who wake need no lock, and waking all of them is one system call.
class EventCount {
 public:
  using Key = std::uint32_t;

  [[nodiscard]] Key key() const { return epoch_.load(std::memory_order_seq_cst); }

  /// Until a notification after `key` was taken, or without cause; false when `ns` nanoseconds have passed.
  bool wait(Key key, std::int64_t ns);

  void notify_all();
  /// False: nobody was asleep.
  bool notify_one();
  /// Threads in `wait`: as of some moment, which has passed.
  [[nodiscard]] std::uint32_t asleep() const { return asleep_.load(std::memory_order_relaxed); }

 private:
  bool wake(int most);

  std::atomic<Key> epoch_{0};
  std::atomic<std::uint32_t> asleep_{0};
};

}  // namespace daruma
