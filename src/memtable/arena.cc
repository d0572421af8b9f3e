// SPDX-License-Identifier: Apache-2.0
#include "memtable/arena.h"

#if __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes)
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes)
#endif

namespace daruma {

ArenaBlocks::ArenaBlocks(std::uint64_t limit_bytes) { free_.reserve(limit_bytes / kBlockBytes); }

char* ArenaBlocks::take() {
  {
    MutexLock lock(mutex_);
    wanted_ = true;
    if (!free_.empty()) {
      char* block = free_.back();
      free_.pop_back();
      ASAN_UNPOISON_MEMORY_REGION(block, kBlockBytes);
      return block;
    }
  }
  char* const block = map_huge_page();
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

bool ArenaBlocks::stock() {
  {
    MutexLock lock(mutex_);
    if (!wanted_ || free_.size() >= std::min(kStock, free_.capacity())) return false;
  }
  char* const block = map_huge_page();
  if (block == nullptr) return false;
  prefault(block, kBlockBytes);
  give(block);
  return true;
}

void ArenaBlocks::give(char* block) {
  {
    MutexLock lock(mutex_);
    if (free_.size() < free_.capacity()) {
      ASAN_POISON_MEMORY_REGION(block, kBlockBytes);
      free_.push_back(block);
      return;
    }
  }
  unmap_huge_page(block);
}

void ArenaBlocks::clear() {
  MutexLock lock(mutex_);
  for (char* block : free_) {
    ASAN_UNPOISON_MEMORY_REGION(block, kBlockBytes);
    unmap_huge_page(block);
  }
  free_.clear();
}

Arena::~Arena() {
  for (char* block : large_) shared_->give(block);
}

char* Arena::new_block(std::size_t bytes) {
  if (shared_ && bytes == ArenaBlocks::kBlockBytes) {
    large_.reserve(large_.size() + 1);  // all that may fail comes first
    large_.push_back(shared_->take());
    return large_.back();
  }
  own_.reserve(own_.size() + 1);
  own_.emplace_back(new char[bytes]);
  return own_.back().get();
}

char* Arena::allocate_block(std::size_t bytes) {
  if (bytes > block_bytes_ / 4) {  // a block of its own: the rest of the current one stays in use
    char* block = new_block(bytes);
    used_.store(used_.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
    return block;
  }
  char* block = new_block(block_bytes_);
  used_.store(used_.load(std::memory_order_relaxed) + left_ + bytes, std::memory_order_relaxed);
  next_ = block + bytes;
  left_ = block_bytes_ - bytes;
  block_bytes_ = std::min(block_bytes_ * 2, ArenaBlocks::kBlockBytes);
  return block;
}

}  // namespace daruma
