// SPDX-License-Identifier: Apache-2.0
//
// Decompressed, verified data blocks, shared by all runs of a store.
//
// What must stay true: a block is immutable once it is shared; whoever holds a BlockRef may read it, whether or not the
// cache still has it. Each shard stays within its part of the limit, pinned blocks that it gave up not counted.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/mutex.h"

namespace daruma {

/// Shared ownership of a block's bytes: one allocation, one counter. Any thread may copy; one BlockRef object is one
/// thread's.
class BlockRef {
 public:
  BlockRef() = default;
  /// Memory for `bytes`, not zeroed; fill it through data() before sharing.
  static BlockRef make(std::size_t bytes);
  BlockRef(const BlockRef& other) : block_(other.block_) {
    if (block_) block_->references.fetch_add(1, std::memory_order_relaxed);
  }
  BlockRef(BlockRef&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  BlockRef& operator=(BlockRef other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~BlockRef() {
    if (block_ && block_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) release();
  }

  explicit operator bool() const { return block_ != nullptr; }
  [[nodiscard]] char* data() { return reinterpret_cast<char*>(block_ + 1); }
  /// What readers see; the first `skip` bytes are hidden.
  [[nodiscard]] std::string_view view() const {
    return {reinterpret_cast<const char*>(block_ + 1) + block_->skip, block_->bytes - block_->skip};
  }
  void hide(std::size_t skip) { block_->skip = skip; }
  [[nodiscard]] std::size_t memory_bytes() const { return sizeof(Block) + block_->bytes; }

 private:
  struct Block {
    std::atomic<std::uint32_t> references{1};
    std::size_t bytes = 0;
    std::size_t skip = 0;
  };
  void release();
  Block* block_ = nullptr;
};

/// CLOCK in shards. Any thread.
class BlockCache {
 public:
  explicit BlockCache(std::uint64_t limit_bytes);
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;

  /// A name for one reader's blocks, never given twice: a file that takes over another's path is not mistaken for it.
  std::uint64_t new_owner() { return next_owner_.fetch_add(1, std::memory_order_relaxed); }
  /// Empty when it is not here. Counts a hit or a miss.
  BlockRef find(std::uint64_t owner, std::uint64_t offset);
  /// Keeps the block, unless one stands there already or it is larger than a shard may be.
  void insert(std::uint64_t owner, std::uint64_t offset, BlockRef block);

  struct Stats {
    std::uint64_t hits = 0;
    std::uint64_t misses = 0;
    std::uint64_t evictions = 0;
    std::uint64_t blocks = 0;
    std::uint64_t bytes = 0;
  };
  [[nodiscard]] Stats stats() const;
  [[nodiscard]] std::uint64_t limit_bytes() const { return limit_bytes_; }

 private:
  struct Key {
    std::uint64_t owner;
    std::uint64_t offset;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const;
  };
  struct Slot {
    Key key;
    BlockRef block;
    bool used_lately = false;
  };
  struct alignas(64) Shard {
    mutable Mutex mutex;
    std::unordered_map<Key, std::size_t, KeyHash> where GUARDED_BY(mutex);
    std::vector<Slot> slots GUARDED_BY(mutex);
    std::vector<std::size_t> free GUARDED_BY(mutex);
    std::size_t hand GUARDED_BY(mutex) = 0;
    Stats stats GUARDED_BY(mutex);
  };
  Shard& shard_of(const Key& key) { return shards_[KeyHash()(key) >> 32 & (shard_count_ - 1)]; }

  const std::uint64_t limit_bytes_;
  std::size_t shard_count_ = 1;
  std::uint64_t shard_limit_ = 0;
  std::unique_ptr<Shard[]> shards_;
  std::atomic<std::uint64_t> next_owner_{1};
};

}  // namespace daruma
