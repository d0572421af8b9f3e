// SPDX-License-Identifier: Apache-2.0
#include "engine/cursor.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/assert.h"

namespace daruma {
namespace {

Status may_miss(const DamageEntry& lost) {
  return {Code::kDataLoss,
          "keys in this range may be missing: " + lost.cause,
          {.file = lost.file, .sequence = lost.sequence_hi},
          "accept the loss with `kvctl damage accept`"};
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
  direction_ = Direction::kForward;
  leader_ = kNone;
  for (auto& source : sources_) source->seek(from);
  if (hurt()) edge_ = from;
  settle_forward();
}

void CursorState::seek_last() {
  direction_ = Direction::kBackward;
  leader_ = kNone;
  edge_.reset();
  if (!upper_.empty()) edge_ = upper_;
  for (auto& source : sources_) {
    if (upper_.empty())
      source->seek_last();
    else
      seek_before(*source, upper_);
  }
  settle_backward();
}

void CursorState::next() {
  DARUMA_ASSERT(valid_);
  if (direction_ == Direction::kBackward) {  // the sources stand before this key: put them at it
    direction_ = Direction::kForward;
    leader_ = kNone;
    for (auto& source : sources_) source->seek(key_);
  }
  pass_key();
  if (hurt()) edge_ = key_ + '\0';
  settle_forward();
}

void CursorState::prev() {
  DARUMA_ASSERT(valid_);
  if (direction_ == Direction::kForward) {  // the sources stand at this key or behind it: put them before it
    direction_ = Direction::kBackward;
    leader_ = kNone;
    for (auto& source : sources_) seek_before(*source, key_);
  }
  if (hurt()) edge_ = key_;
  settle_backward();
}

/// To the last entry whose key is less than `key`.
void CursorState::seek_before(EntrySource& source, std::string_view key) {
  source.seek(key);
  if (source.valid()) {
    source.prev();
  } else if (!source.failed()) {
    source.seek_last();
  }
}

/// Those that may stand at the key being decided.
std::span<const std::unique_ptr<EntrySource>> CursorState::moving() const {
  return leader_ == kNone ? std::span(sources_) : std::span(sources_).subspan(leader_, 1);
}

/// The source that stands at the next key of the walk, null at its end. `ahead(a, b)`: a stands before b in it.
template <typename Ahead>
EntrySource* CursorState::foremost(const Ahead& ahead) {
  if (leader_ != kNone) {
    EntrySource& leader = *sources_[leader_];
    if (leader.valid() && (second_ == kNone || ahead(leader.key(), sources_[second_]->key()))) return &leader;
  }
  std::size_t first = kNone;
  second_ = kNone;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    if (!sources_[i]->valid()) continue;
    if (first == kNone || ahead(sources_[i]->key(), sources_[first]->key()))
      second_ = std::exchange(first, i);
    else if (second_ == kNone || ahead(sources_[i]->key(), sources_[second_]->key()))
      second_ = i;
  }
  if (first == kNone) return nullptr;
  const bool alone = second_ == kNone || ahead(sources_[first]->key(), sources_[second_]->key());
  leader_ = alone ? first : kNone;
  return sources_[first].get();
}

/// Forward: puts every source behind the key.
void CursorState::pass_key() {
  for (const auto& source : moving()) {
    while (source->valid() && source->key() == key_) source->next();
  }
}

/// From sources that stand at or behind the next key: finds the next key that exists. They are left at the version that
/// each has of it, which `value_` views, or behind the key.
void CursorState::settle_forward() {
  valid_ = false;
  status_ = Status();
  for (;; pass_key()) {
    if (failed()) return;
    const EntrySource* const least = foremost(std::less<std::string_view>());
    if (!least || (!upper_.empty() && least->key() >= upper_)) return end();
    key_.assign(least->key());
    newest_ = 0;
    for (const auto& source : moving()) {
      while (source->valid() && source->sequence() > at_ && source->key() == key_) source->next();
      if (source->valid() && source->sequence() > newest_ && source->key() == key_) {
        newest_ = source->sequence();
        kind_ = source->kind();
        value_ = source->value();
      }
    }
    if (failed() || (hurt() && skips(edge_ ? *edge_ : std::string(), key_)) || decide()) return;
    if (hurt()) edge_ = key_ + '\0';
  }
}

/// The mirror image: from sources that stand at or before the previous key, leaving them before it.
void CursorState::settle_backward() {
  valid_ = false;
  status_ = Status();
  for (;;) {
    if (failed()) return;
    const EntrySource* const greatest = foremost(std::greater<std::string_view>());
    if (!greatest || greatest->key() < lower_) return end();
    key_.assign(greatest->key());
    newest_ = 0;
    for (const auto& source : moving()) {  // of each the oldest version comes first
      for (; source->valid() && source->key() == key_; source->prev()) {
        if (source->sequence() > at_ || source->sequence() < newest_) continue;
        newest_ = source->sequence();
        kind_ = source->kind();
        kept_value_.assign(source->value());
      }
    }
    value_ = kept_value_;
    if (failed() || (hurt() && skips(key_ + '\0', edge_)) || decide()) return;
    if (hurt()) edge_ = key_;
  }
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

bool CursorState::failed() {
  for (const auto& source : moving()) {
    if (source->failed()) {
      status_ = source->status();
      return true;
    }
  }
  return false;
}

}  // namespace daruma
