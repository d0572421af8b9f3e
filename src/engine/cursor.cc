// SPDX-License-Identifier: Apache-2.0
#include "engine/cursor.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/coding.h"

namespace daruma {
namespace {

Status may_miss(const DamageEntry& lost) {
  return {Code::kDataLoss,
          "keys in this range may be missing: " + lost.cause,
          {.file = lost.file, .sequence = lost.sequence_hi},
          "accept the loss with `kvctl damage accept`"};
}

/// To the last key less than `key`.
void seek_before(EntrySource& source, std::string_view key) {
  source.seek(key);
  if (source.valid())
    source.prev_key();
  else if (!source.failed())
    source.seek_last();
}

}  // namespace

CursorState::CursorState(std::shared_ptr<const void> pin, Bulkhead::Place place,
                         std::vector<std::unique_ptr<EntrySource>> sources, std::vector<RangeErase> erases,
                         std::shared_ptr<const DamageMap> damage, std::uint32_t keyspace, Sequence at,
                         std::string lower, std::string upper)
    : pin_(std::move(pin)),
      place_(std::move(place)),
      sources_(std::move(sources)),
      erases_(std::move(erases)),
      damage_(std::move(damage)),
      keyspace_(keyspace),
      at_(at),
      lower_(std::move(lower)),
      upper_(std::move(upper)) {
  order_.reserve(sources_.size());
  std::erase_if(erases_, [at](const RangeErase& erase) { return erase.sequence > at; });
  if (!hurt()) return;
  for (const DamageEntry& e : damage_->entries()) {
    if (!e.accepted && e.keys == DamageEntry::Keys::kHashes && e.keyspace.value_or(keyspace_) == keyspace_)
      passes_over_ = may_miss(e);
  }
}

void CursorState::seek_first() { seek(lower_); }

void CursorState::seek(std::string_view key) {
  const std::string from(std::max(key, std::string_view(lower_)));
  for (const auto& source : sources_) source->aim(from);
  place_all(Direction::kForward, [&](EntrySource& source) { source.arrive(from); });
  if (hurt()) edge_ = from;
  settle();
}

void CursorState::seek_last() {
  place_all(Direction::kBackward, [this](EntrySource& source) {
    if (upper_.empty())
      source.seek_last();
    else
      seek_before(source, upper_);
  });
  edge_.reset();
  if (hurt() && !upper_.empty()) edge_ = upper_;
  settle();
}

void CursorState::next() {
  DARUMA_ASSERT(valid_);
  if (hurt()) edge_ = std::string(key_) + '\0';
  if (direction_ == Direction::kForward) {
    pass_key();
  } else {
    const std::string from = std::string(key_) + '\0';
    place_all(Direction::kForward, [&](EntrySource& source) { source.seek(from); });
  }
  settle();
}

void CursorState::prev() {
  DARUMA_ASSERT(valid_);
  if (hurt()) edge_ = key_;
  if (direction_ == Direction::kBackward) {
    pass_key();
  } else {
    const std::string from(key_);
    place_all(Direction::kBackward, [&](EntrySource& source) { seek_before(source, from); });
  }
  settle();
}

template <typename Seek>
void CursorState::place_all(Direction direction, const Seek& seek) {
  direction_ = direction;
  failed_ = nullptr;
  order_.clear();
  for (const auto& source : sources_) {
    seek(*source);
    order_.insert(order_.begin(), {source.get(), false});
    place(0);
  }
}

/// The source at this place has moved; those behind it are in order.
void CursorState::place(std::size_t at) {
  EntrySource* const source = order_[at].source;
  if (!source->valid()) {
    if (source->failed()) failed_ = source;
    order_.erase(order_.begin() + static_cast<std::ptrdiff_t>(at));
    return;
  }
  for (; at + 1 < order_.size(); ++at) {
    const int c = compare_keys(source->key(), order_[at + 1].source->key());
    if (c == 0) order_[at + 1].ties = true;
    if (c == 0 || (c < 0) == (direction_ == Direction::kForward)) break;
    order_[at] = order_[at + 1];
  }
  order_[at] = {source, false};
}

/// Puts every source behind the key that the first ones stand at, in the direction of the walk.
void CursorState::pass_key() {
  std::size_t at = 0;
  while (at + 1 < order_.size() && order_[at + 1].ties) ++at;
  for (;; --at) {
    EntrySource& source = *order_[at].source;
    if (direction_ == Direction::kForward)
      source.next_key();
    else
      source.prev_key();
    place(at);
    if (at == 0) break;
  }
}

bool CursorState::is_beyond(std::string_view key) const {
  return direction_ == Direction::kForward ? !upper_.empty() && key >= upper_ : key < lower_;
}

/// Finds the next key that exists, from where the sources stand.
void CursorState::settle() {
  valid_ = false;
  if (!status_.ok()) status_ = Status();
  for (;; pass_key()) {
    if (!failed_) {
      if (order_.empty() || is_beyond(order_.front().source->key())) return end();
      look_at_key();
    }
    if (failed_) {
      status_ = failed_->status();
      return;
    }
    if ((hurt() && skips_to_key()) || decide()) return;
    if (!hurt()) continue;
    edge_ = key_;
    if (direction_ == Direction::kForward) *edge_ += '\0';
  }
}

/// The newest version that the walk may see of the key that the first sources stand at.
void CursorState::look_at_key() {
  newest_ = 0;
  std::size_t at = 0;
  do {
    EntrySource& source = *order_[at].source;
    if (source.sequence() > at_ && !source.at_or_below(at_)) {
      if (source.failed()) failed_ = &source;
    } else if (source.sequence() > newest_) {
      newest_ = source.sequence();
      kind_ = source.kind();
      value_ = source.value();
    }
  } while (++at < order_.size() && order_[at].ties);
  key_ = order_.front().source->key();
}

/// True when the walk ends at `key_`: it exists, or its answer may be lost.
bool CursorState::decide() {
  Sequence erased = 0;
  for (const RangeErase& erase : erases_) {
    if (erase.sequence > erased && erase.covers(key_)) erased = erase.sequence;
  }
  if (damage_ && !damage_->empty()) {
    if (const auto* hurt = damage_->blocks(keyspace_, key_, std::max(newest_, erased))) {
      status_ = Status(Code::kDataLoss, "the newest value may lie in damaged event(s): " + hurt->cause,
                       {.file = hurt->file, .sequence = hurt->sequence_hi},
                       "overwrite the key, or accept the loss with `kvctl damage accept`");
      return true;
    }
  }
  valid_ = newest_ != 0 && kind_ == EntryKind::kPut && newest_ >= erased;
  return valid_;
}

bool CursorState::skips_to_key() {
  return direction_ == Direction::kForward ? skips(edge_ ? *edge_ : std::string(), std::string(key_))
                                           : skips(std::string(key_) + '\0', edge_);
}

/// True when a key between the one before and this one may be lost with every version that it had: then no source holds
/// it, and going on would deny it.
bool CursorState::skips(const std::string& begin, const std::optional<std::string>& end) {
  if (end && begin >= *end) return false;
  const std::vector<DamageEntry>& entries = damage_->entries();
  const auto lost = std::find_if(entries.begin(), entries.end(), [&](const DamageEntry& e) {
    if (e.accepted || (e.keyspace && *e.keyspace != keyspace_)) return false;
    // Hashes tell no order and would stop every scan at its first key: `passes_over_` and `end` tell of them.
    if (e.keys != DamageEntry::Keys::kRange) return e.keys == DamageEntry::Keys::kAll;
    return (!end || e.begin < *end) && (!e.end || begin < *e.end);
  });
  if (lost == entries.end()) return false;
  status_ = may_miss(*lost);
  return true;
}

/// At either end: a key whose every version is lost was met in no source, and a walk that ends without a word would
/// deny it.
void CursorState::end() {
  if (!damage_ || damage_->empty()) return;
  const auto upper = upper_.empty() ? std::nullopt : std::optional(upper_);
  if (const DamageEntry* hurt = damage_->touches(keyspace_, lower_, upper)) status_ = may_miss(*hurt);
}

}  // namespace daruma
