// SPDX-License-Identifier: Apache-2.0
#include "recovery/damage_map.h"

#include <algorithm>
#include <functional>

#include "base/assert.h"
#include "base/checksum.h"
#include "base/coding.h"

namespace daruma {
namespace {

constexpr std::uint8_t kDamageMapVersion = 1;
enum Flags : std::uint8_t { kHasKeyspace = 1, kHasEnd = 2, kAccepted = 4 };

bool same_place(const DamageEntry& a, const DamageEntry& b) {
  return a.keyspace == b.keyspace && a.keys == b.keys && a.begin == b.begin && a.end == b.end && a.hashes == b.hashes &&
         a.file == b.file;
}

bool same_damage(const DamageEntry& a, const DamageEntry& b) {
  return same_place(a, b) && a.sequence_lo == b.sequence_lo && a.sequence_hi == b.sequence_hi;
}

/// Told again by a start after one that died before it had a log of its own: the end is still not known.
bool continues(const DamageEntry& known, const DamageEntry& entry) {
  return same_place(known, entry) && known.cause == entry.cause && known.accepted == entry.accepted &&
         known.sequence_hi + 1 == entry.sequence_lo;
}

bool concerns(const DamageEntry& e, std::uint32_t keyspace, std::string_view key) {
  if (e.accepted || (e.keyspace && *e.keyspace != keyspace)) return false;
  switch (e.keys) {
    case DamageEntry::Keys::kAll: return true;
    case DamageEntry::Keys::kRange: return key >= e.begin && (!e.end || key < *e.end);
    case DamageEntry::Keys::kHashes:
      return std::binary_search(e.hashes.begin(), e.hashes.end(), key_hash(keyspace, key));
  }
  return true;
}

// The order of fields inside one entry; also what decode refuses.
bool well_formed(const DamageEntry& e) {
  if (e.sequence_lo > e.sequence_hi || e.sequence_hi > kMaxSequence) return false;
  if (e.cause.size() > DamageMap::kMaxNameBytes || e.file.size() > DamageMap::kMaxNameBytes) return false;
  if (e.keys == DamageEntry::Keys::kRange) {
    if (e.end && *e.end <= e.begin) return false;
  } else if (!e.begin.empty() || e.end)
    return false;
  if (e.keys == DamageEntry::Keys::kHashes) {
    return !e.hashes.empty() &&
           std::adjacent_find(e.hashes.begin(), e.hashes.end(), std::greater_equal<>()) == e.hashes.end();
  }
  return e.hashes.empty();
}

}  // namespace

std::uint64_t DamageMap::add(DamageEntry entry) {
  std::sort(entry.hashes.begin(), entry.hashes.end());
  entry.hashes.erase(std::unique(entry.hashes.begin(), entry.hashes.end()), entry.hashes.end());
  if (entry.cause.size() > kMaxNameBytes) entry.cause.resize(kMaxNameBytes);
  if (entry.file.size() > kMaxNameBytes) entry.file.resize(kMaxNameBytes);
  DARUMA_ASSERT(well_formed(entry));
  for (const DamageEntry& known : entries_) {
    if (same_damage(known, entry)) return known.id;
  }
  for (DamageEntry& known : entries_) {
    if (!continues(known, entry)) continue;
    known.sequence_hi = entry.sequence_hi;
    return known.id;
  }
  entry.id = next_id_++;
  blocking_ += entry.accepted ? 0 : 1;
  entries_.push_back(std::move(entry));
  return entries_.back().id;
}

const DamageEntry* DamageMap::blocks_slow(std::uint32_t keyspace, std::string_view key, Sequence newest_found) const {
  for (const DamageEntry& e : entries_) {
    if (e.sequence_hi > newest_found && concerns(e, keyspace, key)) return &e;
  }
  return nullptr;
}

const DamageEntry* DamageMap::touches(std::uint32_t keyspace, std::string_view begin,
                                      std::optional<std::string_view> end) const {
  if (empty()) return nullptr;
  for (const DamageEntry& e : entries_) {
    if (e.accepted || (e.keyspace && *e.keyspace != keyspace)) continue;
    if (e.keys != DamageEntry::Keys::kRange) return &e;
    if ((!end || e.begin < *end) && (!e.end || begin < *e.end)) return &e;
  }
  return nullptr;
}

Sequence DamageMap::known_through(Sequence sequence, std::string_view file) const {
  Sequence through = 0;
  for (const DamageEntry& e : entries_) {
    if (e.file == file && e.sequence_lo <= sequence && sequence <= e.sequence_hi)
      through = std::max(through, e.sequence_hi);
  }
  return through;
}

Status DamageMap::accept(std::uint64_t id) {
  for (DamageEntry& e : entries_) {
    if (e.id != id) continue;
    if (!e.accepted) --blocking_;
    e.accepted = true;
    return {};
  }
  return Status(Code::kNotFound, "no damage with id " + std::to_string(id), {},
                "list the damage map for the ids there are");
}

bool DamageMap::remove(std::uint64_t id) {
  const auto it = std::find_if(entries_.begin(), entries_.end(), [&](const DamageEntry& e) { return e.id == id; });
  if (it == entries_.end()) return false;
  blocking_ -= it->accepted ? 0 : 1;
  entries_.erase(it);
  return true;
}

void DamageMap::forget_accepted(Sequence sequence) {
  std::erase_if(entries_, [&](const DamageEntry& e) { return e.accepted && e.sequence_hi <= sequence; });
}

void DamageMap::encode(std::string& out) const {
  put_u8(out, kDamageMapVersion);
  put_varint(out, next_id_);
  put_varint(out, entries_.size());
  for (const DamageEntry& e : entries_) {
    put_varint(out, e.id);
    put_u8(out, static_cast<std::uint8_t>((e.keyspace ? kHasKeyspace : 0) | (e.end ? kHasEnd : 0) |
                                          (e.accepted ? kAccepted : 0)));
    put_u8(out, static_cast<std::uint8_t>(e.keys));
    put_u32(out, e.keyspace.value_or(0));
    put_varint(out, e.sequence_lo);
    put_varint(out, e.sequence_hi);
    put_bytes(out, e.begin);
    put_bytes(out, e.end.value_or(std::string()));
    put_varint(out, e.hashes.size());
    for (const std::uint64_t h : e.hashes) put_u64(out, h);
    put_bytes(out, e.cause);
    put_bytes(out, e.file);
  }
}

Result<DamageMap> DamageMap::decode(std::string_view in) {
  const auto corrupt = [](std::string what) { return Status(Code::kCorruption, "damage map: " + std::move(what)); };
  Decoder d(in);
  if (const std::uint8_t version = d.u8(); version != kDamageMapVersion) {
    if (d.ok() && version > kDamageMapVersion)
      return Status(Code::kUnsupported, "damage map of version " + std::to_string(version));
    return corrupt("no version");
  }
  DamageMap map;
  map.next_id_ = d.varint();
  const std::uint64_t count = d.varint();
  if (!d.ok() || count > kMaxEntries) return corrupt("bad count");
  std::uint64_t last_id = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    DamageEntry e;
    e.id = d.varint();
    const std::uint8_t flags = d.u8();
    const std::uint8_t keys = d.u8();
    const std::uint32_t keyspace = d.u32();
    e.sequence_lo = d.varint();
    e.sequence_hi = d.varint();
    e.begin = d.bytes();
    const std::string_view end = d.bytes();
    const std::uint64_t hashes = d.varint();
    if (!d.ok() || flags > (kHasKeyspace | kHasEnd | kAccepted) ||
        keys > static_cast<std::uint8_t>(DamageEntry::Keys::kHashes) ||
        hashes > d.remaining() / sizeof(std::uint64_t)) {
      return corrupt("entry " + std::to_string(i) + " is cut or has unknown fields");
    }
    e.keys = static_cast<DamageEntry::Keys>(keys);
    if (flags & kHasKeyspace) e.keyspace = keyspace;
    if (flags & kHasEnd) e.end = std::string(end);
    e.accepted = (flags & kAccepted) != 0;
    e.hashes.reserve(hashes);
    for (std::uint64_t k = 0; k < hashes; ++k) e.hashes.push_back(d.u64());
    e.cause = d.bytes();
    e.file = d.bytes();
    if (!d.ok() || !well_formed(e) || e.id <= last_id || e.id >= map.next_id_ || (!(flags & kHasEnd) && !end.empty()) ||
        (!(flags & kHasKeyspace) && keyspace != 0)) {
      return corrupt("entry " + std::to_string(i) + " contradicts itself");
    }
    last_id = e.id;
    map.blocking_ += e.accepted ? 0 : 1;
    map.entries_.push_back(std::move(e));
  }
  if (!d.done()) return corrupt("bytes behind the last entry");
  return map;
}

}  // namespace daruma
