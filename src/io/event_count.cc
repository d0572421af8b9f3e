// SPDX-License-Identifier: Apache-2.0
#include "io/event_count.h"

#include <linux/futex.h>
#include <linux/time_types.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

namespace daruma {
namespace {

long futex(std::atomic<EventCount::Key>& word, int operation, EventCount::Key value,
           const __kernel_old_timespec* limit) {
  return ::syscall(SYS_futex, &word, operation, value, limit, nullptr, 0);
}

}  // namespace

bool EventCount::wait(Key key, std::int64_t ns) {
  const __kernel_old_timespec limit{.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000};
  asleep_.fetch_add(1, std::memory_order_seq_cst);
  const bool in_time = futex(epoch_, FUTEX_WAIT_PRIVATE, key, &limit) == 0 || errno != ETIMEDOUT;
  asleep_.fetch_sub(1, std::memory_order_relaxed);
  return in_time;
}

void EventCount::notify_all() { wake(INT_MAX); }

bool EventCount::notify_one() { return wake(1); }

// Who comes to sleep after the look at `asleep_` has counted there after the new epoch, and the kernel compares.
bool EventCount::wake(int most) {
  epoch_.fetch_add(1, std::memory_order_seq_cst);
  return asleep_.load(std::memory_order_seq_cst) != 0 &&
         futex(epoch_, FUTEX_WAKE_PRIVATE, static_cast<Key>(most), nullptr) > 0;
}

}  // namespace daruma
