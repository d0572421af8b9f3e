// SPDX-License-Identifier: Apache-2.0
//
// Memory that is given out piece by piece and given back all at once.
//
// What must stay true: an allocation that fails (std::bad_alloc) changes nothing. A piece never moves and stays valid
// until the arena is destroyed, so a reader that found a pointer through an acquire load may follow it without a lock.
// One thread allocates at a time; `bytes_used` is for any thread.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

namespace daruma {

class Arena {
 public:
  static constexpr std::size_t kAlignment = 8;

  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

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
  // Blocks double, so that an arena of a few keys is small. The largest are huge pages where the system has them: what
  // lies scattered over many megabytes otherwise costs a miss of the TLB with each miss of the cache.
  static constexpr std::size_t kFirstBlockBytes = 4 << 10;
  static constexpr std::size_t kLargestBlockBytes = 2 << 20;

  struct Free {
    std::align_val_t alignment;
    void operator()(char* p) const { ::operator delete(p, alignment); }
  };

  char* new_block(std::size_t bytes) {
    const std::align_val_t alignment{bytes == kLargestBlockBytes ? kLargestBlockBytes : kAlignment};
    std::unique_ptr<char, Free> block(static_cast<char*>(::operator new(bytes, alignment)), Free{alignment});
    if (bytes == kLargestBlockBytes) ::madvise(block.get(), bytes, MADV_HUGEPAGE);  // a wish; it may fail
    blocks_.push_back(std::move(block));
    return blocks_.back().get();
  }

  char* allocate_block(std::size_t bytes) {
    if (bytes > block_bytes_ / 4) {  // a block of its own: the rest of the current one stays in use
      char* block = new_block(bytes);
      used_.store(used_.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
      return block;
    }
    char* block = new_block(block_bytes_);
    used_.store(used_.load(std::memory_order_relaxed) + left_ + bytes, std::memory_order_relaxed);
    next_ = block + bytes;
    left_ = block_bytes_ - bytes;
    block_bytes_ = std::min(block_bytes_ * 2, kLargestBlockBytes);
    return block;
  }

  char* next_ = nullptr;
  std::size_t left_ = 0;
  std::size_t block_bytes_ = kFirstBlockBytes;
  std::vector<std::unique_ptr<char, Free>> blocks_;
  std::atomic<std::uint64_t> used_{0};
};

}  // namespace daruma
