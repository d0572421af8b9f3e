// SPDX-License-Identifier: Apache-2.0
#include "run/block_cache.h"

#include <new>

namespace daruma {
namespace {

constexpr std::size_t kShardsMax = 64;
constexpr std::uint64_t kShardBytesMin = 1 << 20;  // below that, one large block would empty a shard

}  // namespace

BlockRef BlockRef::make(std::size_t bytes) {
  void* memory = ::operator new(sizeof(Block) + bytes);
  BlockRef ref;
  ref.block_ = new (memory) Block;
  ref.block_->bytes = bytes;
  return ref;
}

void BlockRef::release() {
  block_->~Block();
  ::operator delete(block_);
}

std::size_t BlockCache::KeyHash::operator()(const Key& key) const {
  std::uint64_t x = key.owner * 0x9e3779b97f4a7c15ULL ^ key.offset;  // offsets are far apart, owners are small
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

BlockCache::BlockCache(std::uint64_t limit_bytes) : limit_bytes_(limit_bytes) {
  while (shard_count_ < kShardsMax && limit_bytes / (2 * shard_count_) >= kShardBytesMin) shard_count_ *= 2;
  shard_limit_ = limit_bytes / shard_count_;
  shards_ = std::make_unique<Shard[]>(shard_count_);
}

BlockRef BlockCache::find(std::uint64_t owner, std::uint64_t offset) {
  const Key key{owner, offset};
  Shard& shard = shard_of(key);
  MutexLock lock(shard.mutex);
  const auto it = shard.where.find(key);
  if (it == shard.where.end()) {
    ++shard.stats.misses;
    return {};
  }
  ++shard.stats.hits;
  Slot& slot = shard.slots[it->second];
  slot.used_lately = true;
  return slot.block;
}

void BlockCache::insert(std::uint64_t owner, std::uint64_t offset, BlockRef block) {
  const std::uint64_t bytes = block.memory_bytes();
  if (bytes > shard_limit_) return;
  const Key key{owner, offset};
  Shard& shard = shard_of(key);
  std::vector<BlockRef> evicted;  // freed after the lock is given back
  MutexLock lock(shard.mutex);
  if (shard.where.contains(key)) return;
  while (shard.stats.bytes + bytes > shard_limit_) {  // ends: every second visit of a slot empties it
    if (shard.hand >= shard.slots.size()) shard.hand = 0;
    Slot& slot = shard.slots[shard.hand];
    if (slot.block && !std::exchange(slot.used_lately, false)) {
      shard.stats.bytes -= slot.block.memory_bytes();
      --shard.stats.blocks;
      ++shard.stats.evictions;
      shard.where.erase(slot.key);
      shard.free.push_back(shard.hand);  // there is room: see below
      evicted.push_back(std::exchange(slot.block, BlockRef()));
    }
    ++shard.hand;
  }
  if (shard.free.empty()) {
    if (shard.free.capacity() <= shard.slots.size()) shard.free.reserve(2 * (shard.slots.size() + 1));  // for all slots
    shard.slots.emplace_back();
    shard.free.push_back(shard.slots.size() - 1);
  }
  const std::size_t at = shard.free.back();
  shard.where.emplace(key, at);
  shard.free.pop_back();
  shard.slots[at] = {key, std::move(block), false};
  shard.stats.bytes += bytes;
  ++shard.stats.blocks;
}

BlockCache::Stats BlockCache::stats() const {
  Stats all;
  for (std::size_t i = 0; i < shard_count_; ++i) {
    const Shard& shard = shards_[i];
    MutexLock lock(shard.mutex);
    const Stats& one = shard.stats;
    all.hits += one.hits;
    all.misses += one.misses;
    all.evictions += one.evictions;
    all.blocks += one.blocks;
    all.bytes += one.bytes;
  }
  return all;
}

}  // namespace daruma
