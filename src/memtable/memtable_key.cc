// SPDX-License-Identifier: Apache-2.0
#include "memtable/memtable_key.h"

#include <algorithm>
#include <new>
#include <vector>

#include "base/assert.h"
#include "daruma/limits.h"

namespace daruma {

const MemtableVersion* MemtableVersion::make(Arena& arena, Sequence sequence, EntryKind kind, std::string_view value,
                                             const MemtableVersion* older) {
  DARUMA_ASSERT(sequence > 0 && sequence <= kMaxSequence);
  DARUMA_ASSERT(value.size() <= kMaxValueBytes);
  DARUMA_ASSERT(!older || older->sequence() < sequence);
  char* at = arena.allocate((older ? sizeof(Links) : 0) + sizeof(MemtableVersion) + value.size());
  std::uint32_t depth = 0;
  if (older) {
    // The jump of a version is as long as the two before it together, when those are equally long.
    const MemtableVersion* near = older->jump();
    const MemtableVersion* far = near->jump();
    const bool equal = older->depth_ - near->depth_ == near->depth_ - far->depth_;
    ::new (at) Links{older, equal ? far : older};
    at += sizeof(Links);
    depth = older->depth_ + 1;
    DARUMA_ASSERT(depth != 0);
  }
  const auto* version = ::new (at) MemtableVersion(sequence, kind, static_cast<std::uint32_t>(value.size()), depth);
  if (!value.empty()) std::memcpy(at + sizeof(MemtableVersion), value.data(), value.size());
  return version;
}

MemtableKey* MemtableKey::make(Arena& arena, std::string_view key, Sequence sequence, EntryKind kind,
                               std::string_view value) {
  DARUMA_ASSERT(key.size() <= kMaxKeyBytes);
  char* at = arena.allocate(std::max(kHeaderBytes + key.size(), sizeof(MemtableKey)));
  const MemtableVersion* version = MemtableVersion::make(arena, sequence, kind, value, nullptr);
  auto* made = ::new (at) MemtableKey(static_cast<std::uint32_t>(key.size()), version);
  if (!key.empty()) std::memcpy(at + kHeaderBytes, key.data(), key.size());
  return made;
}

bool MemtableKey::add(Arena& arena, Sequence sequence, EntryKind kind, std::string_view value) {
  const MemtableVersion* older = newest_.load(std::memory_order_relaxed);
  std::vector<const MemtableVersion*> newer;  // oldest first
  for (; older && older->sequence() > sequence; older = older->older()) newer.insert(newer.begin(), older);
  const bool replaces = older && older->sequence() == sequence;
  const MemtableVersion* top = MemtableVersion::make(arena, sequence, kind, value, replaces ? older->older() : older);
  for (const MemtableVersion* v : newer) {
    top = MemtableVersion::make(arena, v->sequence(), v->kind(), v->value(), top);
  }
  newest_.store(top, std::memory_order_release);
  return !replaces;
}

}  // namespace daruma
