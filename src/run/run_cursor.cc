// SPDX-License-Identifier: Apache-2.0
#include "base/assert.h"
#include "run/run_reader.h"

namespace daruma {

bool RunReader::Cursor::begin() {
  status_ = Status();
  damaged_.reset();
  in_block_.close();
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
  in_block_.close();
  status_ = std::move(status);
}

void RunReader::Cursor::stop_at_damage(Status status) {
  stop(std::move(status));
  damaged_ = contents_->damaged_keys(at_);
}

bool RunReader::Cursor::open_block() {
  Result<BlockRef> ref = reader_->block(*contents_, at_);
  if (!ref.ok()) {
    stop_at_damage(ref.status());
    return false;
  }
  block_ = std::move(*ref);
  in_block_.open(DataBlock(block_.view()));
  return true;
}

/// From a block cursor that was moved forward: into the next blocks while there is nothing more.
void RunReader::Cursor::forward_from_here() {
  while (!in_block_.valid()) {
    if (in_block_.bad())
      return stop_at_damage(reader_->lost_block(
          *contents_, at_, run_damage("data block makes no sense", reader_->path(), contents_->index.at(at_).offset)));
    if (++at_ >= contents_->index.size()) return stop({});
    if (!open_block()) return;
    in_block_.first();
  }
}

void RunReader::Cursor::backward_from_here() {
  while (!in_block_.valid()) {
    if (in_block_.bad())
      return stop_at_damage(reader_->lost_block(
          *contents_, at_, run_damage("data block makes no sense", reader_->path(), contents_->index.at(at_).offset)));
    if (at_ == 0) return stop({});
    --at_;
    if (!open_block()) return;
    in_block_.last();
  }
}

void RunReader::Cursor::seek_first() {
  if (!begin() || contents_->index.size() == 0) return;
  forward_ = true;
  at_ = 0;
  if (!open_block()) return;
  in_block_.first();
  forward_from_here();
}

void RunReader::Cursor::seek_last() {
  if (!begin() || contents_->index.size() == 0) return;
  forward_ = false;
  at_ = contents_->index.size() - 1;
  if (!open_block()) return;
  in_block_.last();
  backward_from_here();
}

void RunReader::Cursor::seek(std::string_view key) {
  if (!begin()) return;
  forward_ = true;
  at_ = contents_->index.find(key, kMaxSequence);
  if (at_ >= contents_->index.size() || !open_block()) return;
  in_block_.seek(key, kMaxSequence);
  forward_from_here();
}

void RunReader::Cursor::next() {
  DARUMA_ASSERT(valid());
  forward_ = true;
  in_block_.next();
  if (!in_block_.valid()) forward_from_here();
}

void RunReader::Cursor::prev() {
  DARUMA_ASSERT(valid());
  forward_ = false;
  in_block_.prev();
  if (!in_block_.valid()) backward_from_here();
}

void RunReader::Cursor::step_over() {
  DARUMA_ASSERT(damaged_.has_value());
  status_ = Status();
  damaged_.reset();
  in_block_.close();  // as if its block had been walked to its end
  if (forward_)
    forward_from_here();
  else
    backward_from_here();
}

}  // namespace daruma
