// SPDX-License-Identifier: Apache-2.0
#include "base/epoch.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/assert.h"

namespace daruma {
namespace {

/// One thread's announcement, on a cache line of its own: 0 when outside, else the epoch at entry. Slots are reused by
/// later threads and never freed, so a collector may walk the list without a lock.
struct alignas(64) Slot {
  std::atomic<std::uint64_t> entered{0};
  std::atomic<bool> taken{true};
  unsigned depth = 0;  // the owner thread's
  Slot* next = nullptr;
};

std::atomic<std::uint64_t> global_epoch{1};
std::atomic<Slot*> slots{nullptr};

Slot* take_slot() {
  for (Slot* s = slots.load(std::memory_order_acquire); s; s = s->next) {
    bool free = false;
    if (s->taken.compare_exchange_strong(free, true, std::memory_order_acquire)) return s;
  }
  auto* s = new Slot;
  s->next = slots.load(std::memory_order_relaxed);
  while (!slots.compare_exchange_weak(s->next, s, std::memory_order_release, std::memory_order_relaxed)) {}
  return s;
}

struct ThreadSlot {
  Slot* slot = take_slot();
  ~ThreadSlot() {
    DARUMA_ASSERT(slot->depth == 0);
    slot->taken.store(false, std::memory_order_release);
  }
};

constinit thread_local Slot* known_slot = nullptr;  // a plain word: the usual case asks nothing else

Slot& my_slot() {
  if (!known_slot) {
    thread_local ThreadSlot mine;
    known_slot = mine.slot;
  }
  return *known_slot;
}

std::uint64_t oldest_inside() {
  std::uint64_t oldest = ~std::uint64_t{0};
  for (Slot* s = slots.load(std::memory_order_acquire); s; s = s->next) {
    const std::uint64_t entered = s->entered.load(std::memory_order_seq_cst);
    if (entered != 0) oldest = std::min(oldest, entered);
  }
  return oldest;
}

}  // namespace

EpochGuard::EpochGuard() {
  Slot& slot = my_slot();
  // seq_cst: the announcement must be visible before the first pointer is read, or a collector could miss this reader.
  if (slot.depth++ == 0) slot.entered.store(global_epoch.load(std::memory_order_seq_cst), std::memory_order_seq_cst);
}

EpochGuard::~EpochGuard() {
  Slot& slot = my_slot();
  if (--slot.depth == 0) slot.entered.store(0, std::memory_order_release);
}

EpochRetired::~EpochRetired() {
  for (Entry& entry : entries_) entry.destroy();
}

void EpochRetired::make_room() {
  MutexLock lock(mutex_);
  if (entries_.size() == entries_.capacity()) entries_.reserve(2 * entries_.size() + 8);
}

void EpochRetired::retire(std::function<void()> destroy) {
  // A reader that entered at this epoch or earlier may hold the object; one that enters after the increment cannot.
  const std::uint64_t epoch = global_epoch.fetch_add(1, std::memory_order_seq_cst);
  MutexLock lock(mutex_);
  entries_.push_back({epoch, std::move(destroy)});
}

std::size_t EpochRetired::collect() {
  std::vector<Entry> ready;
  std::size_t left = 0;
  {
    MutexLock lock(mutex_);
    const std::uint64_t oldest = oldest_inside();
    auto keep =
        std::stable_partition(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.epoch >= oldest; });
    try {
      ready.reserve(static_cast<std::size_t>(entries_.end() - keep));
    } catch (const std::bad_alloc&) { return entries_.size(); }
    ready.assign(std::make_move_iterator(keep), std::make_move_iterator(entries_.end()));
    entries_.erase(keep, entries_.end());
    left = entries_.size();
  }
  for (Entry& entry : ready) entry.destroy();
  return left;
}

}  // namespace daruma
