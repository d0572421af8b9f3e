// SPDX-License-Identifier: Apache-2.0
//
// Memory that is given out piece by piece and given back all at once.
//
// What must stay true: an allocation that fails (std::bad_alloc) changes nothing. A piece never moves and stays valid
// until the arena is destroyed, so a reader that found a pointer through an acquire load may follow it without a lock.
// One thread allocates at a time; `bytes_used` is for any thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "base/mutex.h"
#include "io/memory.h"

namespace daruma {

/// Large blocks that arenas gave back, for the next ones: what is new from the kernel it clears first, page by page.
/// Each is a huge page where the system has them, since what lies scattered over many megabytes otherwise costs a miss
/// of the TLB with each miss of the cache. Any thread.
class ArenaBlocks {
 public:
  static constexpr std::size_t kBlockBytes = kHugePageBytes;

  /// Keeps at most `limit_bytes`.
  explicit ArenaBlocks(std::uint64_t limit_bytes);
  ArenaBlocks(const ArenaBlocks&) = delete;
  ArenaBlocks& operator=(const ArenaBlocks&) = delete;
  ~ArenaBlocks() { clear(); }

  /// kBlockBytes, not zeroed. std::bad_alloc.
  [[nodiscard]] char* take() EXCLUDES(mutex_);
  void give(char* block) EXCLUDES(mutex_);
  /// Adds a block that the kernel has cleared already, unless kStock are there or nobody took one yet: for a thread
  /// beside those that take many. None where memory is short. Whether it did.
  bool stock() EXCLUDES(mutex_);
  /// Gives all that it keeps to the system.
  void clear() EXCLUDES(mutex_);

 private:
  static constexpr std::size_t kStock = 2;

  Mutex mutex_;
  bool wanted_ GUARDED_BY(mutex_) = false;      // somebody took one
  std::vector<char*> free_ GUARDED_BY(mutex_);  // never grows: `give` must not fail
};

class Arena {
 public:
  static constexpr std::size_t kAlignment = 8;

  /// `blocks`, where given, has its large blocks.
  explicit Arena(std::shared_ptr<ArenaBlocks> blocks = nullptr) : shared_(std::move(blocks)) {}
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena();

  /// Memory for `bytes`, aligned to kAlignment, not zeroed.
  [[nodiscard]] char* allocate(std::size_t bytes) {
    bytes = (bytes + kAlignment - 1) & ~(kAlignment - 1);
    if (bytes > left_) return allocate_block(bytes);
    char* piece = next_;
    next_ += bytes;
    left_ -= bytes;
    used_.store(used_.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
    return piece;
  }

  /// Bytes that are given out or can no longer be: everything but the rest of the newest block.
  [[nodiscard]] std::uint64_t bytes_used() const { return used_.load(std::memory_order_relaxed); }

 private:
  // Blocks double, so that an arena of a few keys is small and one of millions is a few dozen blocks.
  static constexpr std::size_t kFirstBlockBytes = 4 << 10;

  char* new_block(std::size_t bytes);
  char* allocate_block(std::size_t bytes);

  const std::shared_ptr<ArenaBlocks> shared_;
  char* next_ = nullptr;
  std::size_t left_ = 0;
  std::size_t block_bytes_ = kFirstBlockBytes;
  std::vector<std::unique_ptr<char[]>> own_;
  std::vector<char*> large_;  // of `shared_`
  std::atomic<std::uint64_t> used_{0};
};

}  // namespace daruma
