// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/assert.h"
#include "run/run_reader.h"

namespace daruma {

bool RunReader::Cursor::begin() {
  status_ = Status();
  damaged_.reset();
  entries_ = LoadedBlock();
  if (contents_) return true;
  Result<const RunContents*> loaded = reader_->contents();
  if (!loaded.ok()) {
    status_ = loaded.status();
    return false;
  }
  contents_ = *loaded;
  return true;
}

void RunReader::Cursor::stop(Status status) {
  entries_ = LoadedBlock();
  status_ = std::move(status);
}

void RunReader::Cursor::stop_at_damage(Status status) {
  stop(std::move(status));
  damaged_ = contents_->damaged_keys(at_);
}

bool RunReader::Cursor::open_block(Arrival arrival) {
  entries_ = LoadedBlock();
  if (arrival == Arrival::kBySeek) ahead_bytes_ = walked_bytes_ = 0;
  BlockRef cached = contents_->cached ? contents_->cached->find(at_) : BlockRef();
  if (cached) {
    block_ = std::move(cached);
  } else if (arrival == Arrival::kBySeek || !take_ahead()) {
    Result<BlockRef> ref = reader_->read_block(*contents_, at_, Form::kLoaded);
    if (!ref.ok()) {
      stop_at_damage(ref.status());
      return false;
    }
    block_ = std::move(*ref);
  }
  entries_ = LoadedBlock(block_.view().data());
  if (contents_->cached) fetch_ahead(arrival);
  const std::string_view prefix = entries_.prefix();
  key_.resize(prefix.size() + std::max<std::size_t>(8, entries_.rest_bytes_max()));
  prefix_bytes_ = prefix.copy(key_.data(), prefix.size());
  return true;
}

void RunReader::Cursor::fetch_ahead(Arrival arrival) const {
  for (std::size_t n = arrival == Arrival::kBySeek ? 1 : kFetchedAhead; n <= kFetchedAhead; ++n) {
    const std::size_t block = forward_ ? at_ + n : at_ - n;  // before the first: beyond all
    if (block < contents_->index.size()) contents_->cached->prefetch(block);
  }
}

/// Block `at_` from what was read ahead; false when it is not to be had so, and whoever reads it alone finds out why.
bool RunReader::Cursor::take_ahead() {
  const IndexEntry at = contents_->index.at(at_);
  if (at.gap) return false;
  if (at.offset < ahead_begin_ || at.offset + at.frame_bytes > ahead_end_) read_ahead(at);
  if (at.offset < ahead_begin_ || at.offset + at.frame_bytes > ahead_end_) return false;
  const std::string_view frame(ahead_.data() + (at.offset - ahead_begin_), at.frame_bytes);
  walked_bytes_ += frame.size();
  if (walked_bytes_ > kShortWalkBytes) return reader_->load_frame(at, frame, room_, block_).ok();
  Result<BlockRef> ref = reader_->take_frame(*contents_, at_, frame, Form::kLoaded);
  if (!ref.ok()) return false;
  block_ = std::move(*ref);
  return true;
}

/// Whole blocks, `at` and those behind it on the way that the cursor goes; one at first, as most walks are short.
void RunReader::Cursor::read_ahead(const IndexEntry& at) {
  ahead_bytes_ = std::clamp<std::uint64_t>(4 * ahead_bytes_, at.frame_bytes, std::max(kReadAheadBytes, at.frame_bytes));
  std::uint64_t begin = at.offset, end = at.offset + at.frame_bytes;
  for (std::size_t i = at_; forward_ ? ++i < contents_->index.size() : i-- > 0;) {
    const IndexEntry more = contents_->index.at(i);
    const std::uint64_t more_end = more.offset + more.frame_bytes;
    if (more.gap || (forward_ ? more.offset != end || more_end - begin > ahead_bytes_
                              : more_end != begin || end - more.offset > ahead_bytes_))
      break;
    (forward_ ? end : begin) = forward_ ? more_end : more.offset;
  }
  ahead_begin_ = ahead_end_ = 0;
  if (ahead_.size() < end - begin) ahead_ = AlignedBuffer(end - begin);
  const Result<std::size_t> got = reader_->file_->read(begin, {ahead_.data(), end - begin});
  if (!got.ok() || *got != end - begin) return;
  ahead_begin_ = begin;
  ahead_end_ = end;
  if (ahead_bytes_ < kReadAheadBytes) return;
  if (forward_)
    reader_->file_->expect_read(end, ahead_bytes_);
  else
    reader_->file_->expect_read(begin - std::min(begin, ahead_bytes_), ahead_bytes_);
}

/// From a block cursor that was moved forward: into the next blocks while there is nothing more.
void RunReader::Cursor::forward_from_here() {
  while (!valid()) {
    if (++at_ >= contents_->index.size()) return stop({});
    if (!open_block(Arrival::kByWalk)) return;
    stand_at(0);
  }
}

void RunReader::Cursor::backward_from_here() {
  while (!valid()) {
    if (at_ == 0) return stop({});
    --at_;
    if (!open_block(Arrival::kByWalk)) return;
    stand_at(entries_.size() - 1);
  }
}

void RunReader::Cursor::seek_first() {
  if (!begin() || contents_->index.size() == 0) return;
  forward_ = true;
  at_ = 0;
  if (!open_block(Arrival::kBySeek)) return;
  stand_at(0);
  forward_from_here();
}

void RunReader::Cursor::seek_last() {
  if (!begin() || contents_->index.size() == 0) return;
  forward_ = false;
  at_ = contents_->index.size() - 1;
  if (!open_block(Arrival::kBySeek)) return;
  stand_at(entries_.size() - 1);
  backward_from_here();
}

void RunReader::Cursor::aim(std::string_view key, Sequence at) {
  if (!begin()) return;
  at_ = contents_->index.find(key, at);
  if (contents_->cached && at_ < contents_->index.size()) contents_->cached->prefetch(at_);
}

void RunReader::Cursor::arrive(std::string_view key, Sequence at) {
  forward_ = true;
  if (!contents_ || at_ >= contents_->index.size() || !open_block(Arrival::kBySeek)) return;
  stand_at(entries_.find(key, at));
  forward_from_here();
}

/// From a block's last key.
void RunReader::Cursor::leave_key() {
  const bool goes_on = key_goes_on();
  const std::string left(goes_on ? key() : std::string_view());
  stand_at(entries_.size());
  forward_from_here();
  while (goes_on && valid() && key() == left) next();
}

void RunReader::Cursor::to_newest() {
  std::size_t i = entry_;
  while (i > 0 && entries_.same_key(i - 1, i)) --i;
  if (i == 0 && contents_->index.continues(at_)) {
    seek(std::string(key()));
    forward_ = false;
  } else if (i != entry_) {
    stand_at(i);
  }
}

bool RunReader::Cursor::older(Sequence at) {
  std::size_t i = entry_ + 1;
  for (; i < entries_.size() && entries_.same_key(i - 1, i); ++i) {
    if (entries_.sequence(i) > at) continue;
    stand_at(i);
    return true;
  }
  if (i < entries_.size() || !key_goes_on()) return false;
  const std::string wanted(key());
  seek(wanted, at);
  if (valid() && key() == wanted) return true;
  if (status_.ok()) seek(wanted);
  return false;
}

void RunReader::Cursor::step_over() {
  DARUMA_ASSERT(damaged_.has_value());
  status_ = Status();
  damaged_.reset();
  entries_ = LoadedBlock();  // as if its block had been walked to its end
  if (forward_)
    forward_from_here();
  else
    backward_from_here();
}

}  // namespace daruma
