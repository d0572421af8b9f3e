// SPDX-License-Identifier: Apache-2.0
#include "snapshot/merge.h"

#include <algorithm>
#include <tuple>

#include "base/assert.h"

namespace daruma {

Merge::Merge(std::vector<std::unique_ptr<MergeSource>> sources, MergeSettings settings)
    : sources_(std::move(sources)), settings_(std::move(settings)), by_begin_(settings_.erases) {
  std::sort(settings_.pinned.begin(), settings_.pinned.end());
  settings_.pinned.erase(std::unique(settings_.pinned.begin(), settings_.pinned.end()), settings_.pinned.end());
  const auto order = [](const RangeErase& a, const RangeErase& b) {
    return std::tie(a.begin, a.end, a.sequence) < std::tie(b.begin, b.end, b.sequence);
  };
  std::sort(by_begin_.begin(), by_begin_.end(), order);
  by_begin_.erase(std::unique(by_begin_.begin(), by_begin_.end()), by_begin_.end());
  for (const RangeErase& erase : by_begin_) {
    // At the bottom an erase still hides what older views keep; without such views it has nothing left to hide.
    const bool hides = !settings_.pinned.empty() && settings_.pinned.front() < erase.sequence;
    if (!settings_.bottom || settings_.keep_tombstones || hides) kept_erases_.push_back(erase);
  }
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    if (sources_[i]->valid())
      heap_.push_back(i);
    else if (Status status = sources_[i]->status(); !status.ok() && status_.ok())
      status_ = std::move(status);
  }
  const auto later = [this](std::size_t a, std::size_t b) { return after(a, b); };
  std::make_heap(heap_.begin(), heap_.end(), later);
  settle();
}

bool Merge::after(std::size_t a, std::size_t b) const {
  if (const int c = sources_[a]->key().compare(sources_[b]->key()); c != 0) return c > 0;
  if (sources_[a]->sequence() != sources_[b]->sequence()) return sources_[a]->sequence() < sources_[b]->sequence();
  return a > b;
}

/// Versions of one stripe look the same to every view: the number of pinned sequences below.
std::size_t Merge::stripe(Sequence sequence) const {
  return static_cast<std::size_t>(std::lower_bound(settings_.pinned.begin(), settings_.pinned.end(), sequence) -
                                  settings_.pinned.begin());
}

bool Merge::erased(Sequence sequence) const {
  const std::size_t own = stripe(sequence);
  return std::any_of(open_.begin(), open_.end(), [&](std::size_t i) {
    return by_begin_[i].sequence > sequence && stripe(by_begin_[i].sequence) == own;
  });
}

void Merge::enter_key(std::string_view key) {
  DARUMA_ASSERT(!in_key_ || key > key_);  // a source out of order would silently lose versions
  key_ = key;
  in_key_ = true;
  seen_version_ = false;
  tombstones_.clear();
  tombstone_at_ = 0;
  while (next_erase_ < by_begin_.size() && by_begin_[next_erase_].begin <= key_) open_.push_back(next_erase_++);
  std::erase_if(open_, [this](std::size_t i) { return !by_begin_[i].covers(key_); });
}

Sequence Merge::sequence() const {
  return emitting_tombstone_ ? tombstones_[tombstone_at_] : sources_[heap_.front()]->sequence();
}

void Merge::step_source() {
  const auto later = [this](std::size_t a, std::size_t b) { return after(a, b); };
  std::pop_heap(heap_.begin(), heap_.end(), later);
  MergeSource& source = *sources_[heap_.back()];
  source.next();
  if (source.valid()) {
    std::push_heap(heap_.begin(), heap_.end(), later);
  } else {
    heap_.pop_back();
    status_ = source.status();
  }
}

void Merge::next() {
  DARUMA_ASSERT(valid());
  ++counts_.kept;
  if (emitting_tombstone_) {
    // The version that made the tombstones worth emitting is still in front.
    if (++tombstone_at_ == tombstones_.size()) {
      tombstones_.clear();
      tombstone_at_ = 0;
      emitting_tombstone_ = false;
      emitting_source_ = true;
    }
    return;
  }
  step_source();
  settle();
}

/// Moves on to the next version that must be kept.
void Merge::settle() {
  emitting_source_ = emitting_tombstone_ = false;
  while (status_.ok() && !heap_.empty()) {
    const MergeSource& source = *sources_[heap_.front()];
    if (!in_key_ || source.key() != key_) {
      counts_.dropped_tombstones += tombstones_.size();
      enter_key(source.key());
    }
    const Sequence sequence = source.sequence();
    ++counts_.read;
    const std::size_t own = stripe(sequence);
    if (seen_version_) DARUMA_ASSERT(sequence <= last_sequence_);
    if (seen_version_ && own == last_stripe_) {
      ++counts_.dropped_old;
    } else {
      seen_version_ = true;
      last_stripe_ = own;
      last_sequence_ = sequence;
      if (erased(sequence)) {
        ++counts_.dropped_erased;
      } else if (source.kind() == EntryKind::kErase && settings_.bottom && !settings_.keep_tombstones) {
        tombstones_.push_back(sequence);
      } else {
        emitting_tombstone_ = !tombstones_.empty();
        emitting_source_ = !emitting_tombstone_;
        return;
      }
    }
    step_source();
  }
  if (status_.ok()) counts_.dropped_tombstones += tombstones_.size();
  tombstones_.clear();
}

}  // namespace daruma
