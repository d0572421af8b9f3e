// SPDX-License-Identifier: Apache-2.0
// Waiting for a condition that is read without a lock (the event count of Reed and Kanodia, as Folly and Eigen have
// it).
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <ctime>

namespace daruma {

/// Any thread. Whoever waits takes a key, then looks whether the condition holds, and if not waits with the key;
/// whoever makes it hold notifies after that. Those who wake need no lock, and waking all of them is one system call.
class EventCount {
 public:
  using Key = std::uint32_t;

  [[nodiscard]] Key key() const { return epoch_.load(std::memory_order_seq_cst); }

  /// Until a notification after `key` was taken, or without cause; false when `ns` nanoseconds have passed.
  bool wait(Key key, std::int64_t ns) {
    const timespec limit{.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000};
    asleep_.fetch_add(1, std::memory_order_seq_cst);
    const bool in_time = futex(FUTEX_WAIT_PRIVATE, key, &limit) == 0 || errno != ETIMEDOUT;
    asleep_.fetch_sub(1, std::memory_order_relaxed);
    return in_time;
  }

  void notify_all() { wake(INT_MAX); }
  /// False: nobody was asleep.
  bool notify_one() { return wake(1); }

 private:
  // Who comes to sleep after the look at `asleep_` has counted there after the new epoch, and the kernel compares.
  bool wake(int most) {
    epoch_.fetch_add(1, std::memory_order_seq_cst);
    return asleep_.load(std::memory_order_seq_cst) != 0 &&
           futex(FUTEX_WAKE_PRIVATE, static_cast<Key>(most), nullptr) > 0;
  }
  long futex(int operation, Key value, const timespec* limit) {
    return syscall(SYS_futex, &epoch_, operation, value, limit, nullptr, 0);
  }

  std::atomic<Key> epoch_{0};
  std::atomic<std::uint32_t> asleep_{0};
};

}  // namespace daruma
