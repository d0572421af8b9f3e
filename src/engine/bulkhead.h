// SPDX-License-Identifier: Apache-2.0
//
// What keeps one keyspace's flood from the others: a limit on its operations in progress, a share of the memory for
// writes, and with it a part of the log's ring.
//
// What must stay true:
//   - Where no limit is set nothing is counted: one relaxed load tells.
//   - Refusing and waiting come before any lock of the store, and hold none.
//   - An operation that was counted is counted off once, whatever becomes of the limit or the keyspace meanwhile.
// A keyspace that has a share waits for that alone: whatever the others fill, its share is left to it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "daruma/options.h"
#include "daruma/status.h"

namespace daruma {

/// Bytes in the log that may not be durable yet, of one keyspace or some: never told too low, and in memory for two
/// stretches of them. Any thread.
class LogBacklog {
 public:
  void add(Sequence sequence, std::uint64_t bytes) EXCLUDES(mutex_);
  /// What must become durable before there are less than `limit`; 0: there are, with all up to `durable` taken off.
  Sequence over(std::uint64_t limit, Sequence durable) EXCLUDES(mutex_);

 private:
  struct Stretch {
    Sequence last = 0;
    std::uint64_t bytes = 0;
  };
  Mutex mutex_;
  Stretch older_ GUARDED_BY(mutex_);
  Stretch newer_ GUARDED_BY(mutex_);
};

/// Of one keyspace, for as long as anything knows of it. Any thread.
class Bulkhead {
 public:
  void set(const KeyspaceLimits& limits) {
    memory_bytes_.store(limits.memory_bytes, std::memory_order_relaxed);
    operations_.store(limits.operations, std::memory_order_relaxed);
  }
  [[nodiscard]] KeyspaceLimits limits() const {
    return {memory_bytes_.load(std::memory_order_relaxed), operations_.load(std::memory_order_relaxed)};
  }
  [[nodiscard]] bool has_share() const { return memory_bytes_.load(std::memory_order_relaxed) != 0; }
  [[nodiscard]] std::uint32_t in_progress() const { return in_progress_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool full() const {
    const std::uint32_t limit = operations_.load(std::memory_order_relaxed);
    return limit != 0 && in_progress() >= limit;
  }
  [[nodiscard]] std::uint64_t refused() const { return refused_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t held_back() const { return held_back_.load(std::memory_order_relaxed); }
  void count_held_back() { held_back_.fetch_add(1, std::memory_order_relaxed); }
  LogBacklog& backlog() { return backlog_; }
  /// Before `next_mutex_` of the engine; of a batch over several keyspaces with limits none is taken.
  Mutex& turn() { return turn_; }

  /// One operation in progress, which keeps no bulkhead alive.
  class Place {
   public:
    explicit Place(Bulkhead& in) {
      if (in.operations_.load(std::memory_order_relaxed) == 0) [[likely]]
        return;
      if (in.enter())
        in_ = &in;
      else
        refused_ = true;
    }
    Place(Place&& other) noexcept : in_(std::exchange(other.in_, nullptr)), refused_(other.refused_) {}
    Place& operator=(Place&&) = delete;
    ~Place() {
      if (in_) in_->in_progress_.fetch_sub(1, std::memory_order_relaxed);
    }
    [[nodiscard]] bool refused() const { return refused_; }

   private:
    Bulkhead* in_ = nullptr;
    bool refused_ = false;
  };

 private:
  bool enter();

  std::atomic<std::uint64_t> memory_bytes_{0};
  std::atomic<std::uint32_t> operations_{0};
  alignas(64) std::atomic<std::uint32_t> in_progress_{0};  // apart from what every read looks at
  std::atomic<std::uint64_t> refused_{0};
  std::atomic<std::uint64_t> held_back_{0};
  LogBacklog backlog_;
  Mutex turn_;
};

/// What one write holds of the keyspaces that it names, from before the write lock until it returns.
struct Admission {
  struct Held {
    explicit Held(std::shared_ptr<Bulkhead> in) : bulkhead(std::move(in)), place(*bulkhead) {}
    std::shared_ptr<Bulkhead> bulkhead;
    Bulkhead::Place place;  // goes first
  };
  std::vector<Held> held;   // those that have a limit, each once
  bool own_memory = false;  // each keyspace has a share
};

}  // namespace daruma
