// SPDX-License-Identifier: Apache-2.0
// std::mutex and condition variable with clang thread-safety annotations.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define DARUMA_TSA(x) __attribute__((x))
#else
#define DARUMA_TSA(x)
#endif
#define GUARDED_BY(m) DARUMA_TSA(guarded_by(m))
#define REQUIRES(...) DARUMA_TSA(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) DARUMA_TSA(locks_excluded(__VA_ARGS__))
#define ACQUIRE(...) DARUMA_TSA(acquire_capability(__VA_ARGS__))
#define RELEASE(...) DARUMA_TSA(release_capability(__VA_ARGS__))
#define CAPABILITY(x) DARUMA_TSA(capability(x))
#define SCOPED_CAPABILITY DARUMA_TSA(scoped_lockable)
#define NO_THREAD_SAFETY_ANALYSIS DARUMA_TSA(no_thread_safety_analysis)

namespace daruma {

class CAPABILITY("mutex") Mutex {
 public:
  void lock() ACQUIRE() { mutex_.lock(); }
  void unlock() RELEASE() { mutex_.unlock(); }
  bool try_lock() DARUMA_TSA(try_acquire_capability(true)) { return mutex_.try_lock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

class CondVar {
 public:
  /// Releases `mutex` while asleep; may wake without cause, so wait in a loop.
  void wait(Mutex& mutex) REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    cv_.wait(lock);
    lock.release();
  }
  /// As wait, at most `ns` nanoseconds; false when they have passed.
  bool wait_for(Mutex& mutex, std::int64_t ns) REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    const bool woken = cv_.wait_for(lock, std::chrono::nanoseconds(ns)) == std::cv_status::no_timeout;
    lock.release();
    return woken;
  }
  void notify_all() { cv_.notify_all(); }
  void notify_one() { cv_.notify_one(); }

 private:
  std::condition_variable cv_;
};

}  // namespace daruma
