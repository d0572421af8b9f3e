// SPDX-License-Identifier: Apache-2.0
//
// Decompressed, verified data blocks, shared by all runs of a store. Each reader has a slot per block of its run, and a
// slot points at the block that is cached: a hit is one load, without a lock or a table ("swizzled" pointers, as in
// Leis et al., "LeanStore", ICDE 2018).
//
// What must stay true: a block is immutable once it is shared; whoever holds a BlockRef may read it, whether or not the
// cache still has it. A block leaves its slot first and the cache's own reference to it goes only when no reader that
// could have met it there is still looking (epoch.h). Each shard stays within its part of the limit, what it gave up
// not counted.
//
// A full cache takes what is asked for again before as many blocks as it holds were missed (the idea of "2Q": Johnson,
// Shasha, VLDB 1994); the rest would only make others go, and costs more to keep than to read once.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "base/epoch.h"
#include "base/mutex.h"
#include "base/pin.h"

namespace daruma {

/// Shared ownership of a block's bytes: one allocation, one counter. Any thread may copy; one BlockRef object is one
/// thread's.
class BlockRef {
 public:
  BlockRef() = default;
  /// Memory for `bytes`, not zeroed; fill it through data() before sharing.
  static BlockRef make(std::size_t bytes);
  BlockRef(const BlockRef& other) : BlockRef(other.block_) {}
  BlockRef(BlockRef&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  BlockRef& operator=(BlockRef other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~BlockRef() {
    if (block_) block_->let_go();
  }

  explicit operator bool() const { return block_ != nullptr; }
  [[nodiscard]] char* data() { return reinterpret_cast<char*>(block_ + 1); }
  [[nodiscard]] std::string_view view() const { return {reinterpret_cast<const char*>(block_ + 1), block_->bytes}; }
  /// Makes it one of `bytes`, to be filled anew: in the same memory when nobody else has it and it is large enough.
  void remake(std::size_t bytes);
  /// Its share, for somebody else to let go.
  Pin* release() { return std::exchange(block_, nullptr); }
  [[nodiscard]] std::size_t memory_bytes() const { return sizeof(Block) + block_->capacity; }

 private:
  friend class BlockCache;
  friend class BlockSlots;
  struct Block : Pin {
    Block() : Pin(give_back) {}
    static void give_back(Pin* block);
    std::atomic<bool> used_lately{false};
    std::uint32_t place = 0;  ///< in its shard of the cache
    std::size_t bytes = 0;
    std::size_t capacity = 0;
  };
  explicit BlockRef(Block* block) : block_(block) {
    if (block_) block_->share();
  }
  Block* block_ = nullptr;
};

class BlockCache;

/// One reader's blocks in a cache, which outlives it, by their number. Any thread.
class BlockSlots {
 public:
  BlockSlots(BlockCache& cache, std::size_t blocks);
  BlockSlots(const BlockSlots&) = delete;
  BlockSlots& operator=(const BlockSlots&) = delete;
  /// Takes its blocks out of the cache.
  ~BlockSlots();

  /// Empty when it is not here. Counts a hit or a miss.
  [[nodiscard]] BlockRef find(std::size_t block) const;
  /// As `find`, but nobody's share: good for as long as the caller's EpochGuard. Null when it is not here.
  [[nodiscard]] const char* peek(std::size_t block) const;
  /// Ahead of `peek`: brings a cached block's beginning into the processor's cache.
  void prefetch(std::size_t block) const {
    const char* const begin = reinterpret_cast<const char*>(slots_[block].load(std::memory_order_relaxed));
    for (std::size_t line = 0; begin && line < kPrefetchLines; ++line) __builtin_prefetch(begin + 64 * line);
  }
  /// A share in what `peek` gave.
  [[nodiscard]] static BlockRef share(const char* peeked);
  /// A block that is not here was asked for: whether it is to be kept once it is read.
  [[nodiscard]] bool wants(std::size_t block);
  /// Keeps it, unless one stands there already or it is larger than a shard may be.
  void insert(std::size_t block, const BlockRef& ref);

 private:
  static constexpr std::size_t kPrefetchLines = 4;
  BlockCache& cache_;
  const std::size_t blocks_;
  const std::unique_ptr<std::atomic<BlockRef::Block*>[]> slots_;
  const std::unique_ptr<std::uint8_t[]> missed_;  ///< the era in which each was missed last; under its shard's lock
};

/// CLOCK in shards. Any thread.
class BlockCache {
 public:
  explicit BlockCache(std::uint64_t limit_bytes);
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;

  struct Stats {
    std::uint64_t hits = 0;
    std::uint64_t misses = 0;
    std::uint64_t evictions = 0;
    std::uint64_t blocks = 0;
    std::uint64_t bytes = 0;
  };
  /// Takes everything out: what is asked for next is read, and verified, anew.
  void clear();
  [[nodiscard]] Stats stats() const;
  [[nodiscard]] std::uint64_t limit_bytes() const { return limit_bytes_; }

 private:
  friend class BlockSlots;
  using Slot = std::atomic<BlockRef::Block*>;
  static constexpr std::uint8_t kEraFirst = 2;  // what was never missed, 0, is neither of it nor of the one before
  struct Place {
    Slot* slot = nullptr;  ///< that points at `block`
    BlockRef block;
  };
  struct alignas(64) Shard {
    mutable Mutex mutex;
    std::vector<Place> places GUARDED_BY(mutex);
    std::vector<std::uint32_t> free GUARDED_BY(mutex);
    std::size_t hand GUARDED_BY(mutex) = 0;
    std::uint64_t bytes GUARDED_BY(mutex) = 0;
    std::uint64_t blocks GUARDED_BY(mutex) = 0;
    std::uint64_t evictions GUARDED_BY(mutex) = 0;
    bool full GUARDED_BY(mutex) = false;             ///< something had to go for what came last
    std::uint8_t era GUARDED_BY(mutex) = kEraFirst;  ///< a new one begins when as many blocks were missed as are here
    std::uint64_t missed GUARDED_BY(mutex) = 0;      ///< in this era
    EpochRetired given_up;
  };
  struct alignas(64) Counts {
    std::atomic<std::uint64_t> hits{0};
    std::atomic<std::uint64_t> misses{0};
  };
  bool wants(const Slot& slot, std::uint8_t& missed);
  void insert(Slot& slot, const BlockRef& ref);
  void remove(Slot& slot);
  BlockRef take_out(Shard& shard, std::size_t place) REQUIRES(shard.mutex);
  void make_room(Shard& shard, std::uint64_t bytes) REQUIRES(shard.mutex);
  void count(bool hit);
  Shard& shard_of(const Slot& slot) const;

  const std::uint64_t limit_bytes_;
  std::size_t shard_count_ = 1;
  std::uint64_t shard_limit_ = 0;
  std::unique_ptr<Shard[]> shards_;
  std::array<Counts, 16> counts_;  ///< threads share one rarely
};

}  // namespace daruma
