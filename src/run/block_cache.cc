// SPDX-License-Identifier: Apache-2.0
#include "run/block_cache.h"

#include <new>

namespace daruma {
namespace {

constexpr std::size_t kShardsMax = 16;
constexpr std::uint64_t kShardBytesMin = 1 << 20;  // below that, one large block would empty a shard
constexpr std::uint64_t kGivenUpAtOnce = 16;

}  // namespace

BlockRef BlockRef::make(std::size_t bytes) {
  void* memory = ::operator new(sizeof(Block) + bytes);
  BlockRef ref;
  ref.block_ = new (memory) Block;
  ref.block_->bytes = ref.block_->capacity = bytes;
  return ref;
}

void BlockRef::remake(std::size_t bytes) {
  // Nobody can come by another reference: the cache holds one of each block that it gives out.
  if (!block_ || !block_->alone() || block_->capacity < bytes) {
    *this = make(bytes);
    return;
  }
  block_->bytes = bytes;
}

void BlockRef::Block::give_back(Pin* block) {
  auto* const whole = static_cast<Block*>(block);
  whole->~Block();
  ::operator delete(whole);
}

BlockSlots::BlockSlots(BlockCache& cache, std::size_t blocks)
    : cache_(cache),
      blocks_(blocks),
      slots_(std::make_unique<std::atomic<BlockRef::Block*>[]>(blocks)),
      missed_(std::make_unique<std::uint8_t[]>(blocks)) {}

BlockSlots::~BlockSlots() {
  for (std::size_t i = 0; i < blocks_; ++i) cache_.remove(slots_[i]);
}

BlockRef BlockSlots::find(std::size_t block) const {
  EpochGuard guard;  // what leaves the slot now lives until this ends
  const char* const cached = peek(block);
  return cached ? share(cached) : BlockRef();
}

const char* BlockSlots::peek(std::size_t block) const {
  BlockRef::Block* cached = slots_[block].load(std::memory_order_seq_cst);
  cache_.count(cached != nullptr);
  if (!cached) return nullptr;
  if (!cached->used_lately.load(std::memory_order_relaxed)) cached->used_lately.store(true, std::memory_order_relaxed);
  return reinterpret_cast<const char*>(cached + 1);
}

BlockRef BlockSlots::share(const char* peeked) {
  return BlockRef(reinterpret_cast<BlockRef::Block*>(const_cast<char*>(peeked)) - 1);
}

bool BlockSlots::wants(std::size_t block) { return cache_.wants(slots_[block], missed_[block]); }

void BlockSlots::insert(std::size_t block, const BlockRef& ref) { cache_.insert(slots_[block], ref); }

BlockCache::BlockCache(std::uint64_t limit_bytes) : limit_bytes_(limit_bytes) {
  while (shard_count_ < kShardsMax && limit_bytes / (2 * shard_count_) >= kShardBytesMin) shard_count_ *= 2;
  shard_limit_ = limit_bytes / shard_count_;
  shards_ = std::make_unique<Shard[]>(shard_count_);
}

BlockCache::Shard& BlockCache::shard_of(const Slot& slot) const {
  const std::uint64_t mixed = reinterpret_cast<std::uintptr_t>(&slot) / sizeof slot * 0x9e3779b97f4a7c15ULL;
  return shards_[mixed >> 32 & (shard_count_ - 1)];
}

void BlockCache::count(bool hit) {
  thread_local char mine;  // stands elsewhere in each thread
  Counts& counts = counts_[(reinterpret_cast<std::uintptr_t>(&mine) >> 12) % counts_.size()];
  (hit ? counts.hits : counts.misses).fetch_add(1, std::memory_order_relaxed);
}

/// Its place is free then; the caller says when the block goes.
BlockRef BlockCache::take_out(Shard& shard, std::size_t at) {
  Place& place = shard.places[at];
  place.slot->store(nullptr, std::memory_order_seq_cst);
  shard.free.push_back(static_cast<std::uint32_t>(at));  // there is room: see `insert`
  shard.bytes -= place.block.memory_bytes();
  --shard.blocks;
  return std::exchange(place, Place()).block;
}

void BlockCache::make_room(Shard& shard, std::uint64_t bytes) {
  while (shard.bytes + bytes > shard_limit_) {  // ends: every second visit of a place empties it
    if (shard.hand >= shard.places.size()) shard.hand = 0;
    const BlockRef& block = shard.places[shard.hand].block;
    if (block && !block.block_->used_lately.exchange(false, std::memory_order_relaxed)) {
      shard.full = true;
      shard.given_up.make_room();
      BlockRef out = take_out(shard, shard.hand);
      BlockRef::Block* given_up = std::exchange(out.block_, nullptr);  // a closure of one word allocates nothing
      shard.given_up.retire([given_up] {
        BlockRef last;
        last.block_ = given_up;
      });
      if (++shard.evictions % kGivenUpAtOnce == 0) shard.given_up.collect();
    }
    ++shard.hand;
  }
}

bool BlockCache::wants(const Slot& slot, std::uint8_t& missed) {
  Shard& shard = shard_of(slot);
  MutexLock lock(shard.mutex);
  if (!shard.full) return true;
  if (++shard.missed > shard.blocks) {
    shard.missed = 0;
    // Once around, a block may seem to be asked for again: that costs a place at most.
    if (++shard.era == 0) shard.era = kEraFirst;
  }
  const auto eras = static_cast<std::uint8_t>(shard.era - std::exchange(missed, shard.era));
  return eras <= 1;
}

void BlockCache::insert(Slot& slot, const BlockRef& ref) {
  const std::uint64_t bytes = ref.memory_bytes();
  if (bytes > shard_limit_) return;
  Shard& shard = shard_of(slot);
  MutexLock lock(shard.mutex);
  if (slot.load(std::memory_order_relaxed)) return;
  make_room(shard, bytes);
  if (shard.free.empty()) {
    if (shard.free.capacity() <= shard.places.size())
      shard.free.reserve(2 * (shard.places.size() + 1));  // for all places
    shard.places.emplace_back();
    shard.free.push_back(static_cast<std::uint32_t>(shard.places.size() - 1));
  }
  const std::uint32_t at = shard.free.back();
  shard.free.pop_back();
  shard.places[at] = {&slot, ref};
  ref.block_->place = at;
  shard.bytes += bytes;
  ++shard.blocks;
  slot.store(ref.block_, std::memory_order_release);
}

void BlockCache::clear() {
  for (std::size_t i = 0; i < shard_count_; ++i) {
    MutexLock lock(shards_[i].mutex);
    make_room(shards_[i], shard_limit_);
    shards_[i].full = false;
    shards_[i].given_up.collect();
  }
}

/// Nobody looks into the slot any more.
void BlockCache::remove(Slot& slot) {
  if (!slot.load(std::memory_order_seq_cst)) return;
  Shard& shard = shard_of(slot);
  BlockRef removed;  // freed after the lock is given back
  MutexLock lock(shard.mutex);
  if (const BlockRef::Block* block = slot.load(std::memory_order_relaxed)) {
    removed = take_out(shard, block->place);
    shard.full = false;
  }
}

BlockCache::Stats BlockCache::stats() const {
  Stats all;
  for (const Counts& counts : counts_) {
    all.hits += counts.hits.load(std::memory_order_relaxed);
    all.misses += counts.misses.load(std::memory_order_relaxed);
  }
  for (std::size_t i = 0; i < shard_count_; ++i) {
    const Shard& shard = shards_[i];
    MutexLock lock(shard.mutex);
    all.evictions += shard.evictions;
    all.blocks += shard.blocks;
    all.bytes += shard.bytes;
  }
  return all;
}

}  // namespace daruma
