// SPDX-License-Identifier: Apache-2.0
// What the leader does: frames what is pending, keeps some in flight, takes in what has landed.
#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/failpoint.h"
#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "wal/wal_writer.h"

namespace daruma {
namespace {

constexpr std::uint64_t kLeastAheadBytes = 64 << 10;
/// Only read. Not const, so that it takes room neither in the library's file nor, as one page of zeros, in memory.
alignas(kSectorBytes) char zeros_ahead[1 << 20];

}  // namespace

Status WalWriter::round(bool wait, bool gathers) {
  stalled_ = false;
  gathers_ = gathers;
  Status failure = or_out_of_memory([this] { return fill(); });
  if (failure.is(Code::kOutOfMemory) && intact() && !in_flight_.empty()) failure = Status();  // what is out goes on
  if (failure.ok()) failure = or_out_of_memory([&] { return reap(wait); });
  return settle(std::move(failure));
}

/// What failed in the segment is gone on with in a new one; what merely could not be done is told.
Status WalWriter::settle(Status failure) {
  if (failure.ok() || stalled_ || (failure.is(Code::kOutOfMemory) && intact())) return failure;
  fail_over(failure);
  return {};
}

Status WalWriter::fill() {
  while (in_flight_.size() < options_.max_in_flight) {
    std::vector<WalRecord> batch;
    {
      MutexLock lock(mutex_);
      batch = records_after(framed_, options_.max_frame_bytes);
      if (!worth_a_frame(batch)) break;
    }
    DARUMA_TRY(write_batch(batch));
  }
  return {};
}

/// Several frames are under way where records wait, one where threads do: those whom it wakes bring their next records,
/// and a second frame, with the few that came too late for it, would only split the group. One, too, where nobody
/// waits.
bool WalWriter::worth_a_frame(std::span<const WalRecord> batch) const {
  if (batch.empty()) return false;
  const std::size_t asleep = durable_events_[0].asleep() + durable_events_[1].asleep();
  if (in_flight_.empty() || (batch.size() > asleep && (asleep != 0 || !gathers_))) return true;
  std::uint64_t bytes = 0;
  for (const WalRecord& record : batch) bytes += record_bytes(record.event);
  return bytes > kSmallFrameBytes;
}

bool WalWriter::intact() const {
  return segment_.sides != 0 &&
         std::none_of(in_flight_.begin(), in_flight_.end(), [](const InFlight& f) { return f.failed != 0; });
}

Status WalWriter::write_batch(std::span<const WalRecord> batch) {
  const FrameBody body = make_body(batch);
  DARUMA_TRY(make_room(body.frame_bytes()));
  DARUMA_TRY(failpoint("frame write"));
  submit(body);
  framed_ = body.last_sequence;
  written_ = std::max(written_, framed_);
  return {};
}

Status WalWriter::write_empty(std::uint16_t flags, std::uint64_t next_segment) {
  DARUMA_ASSERT(in_flight_.empty() && next_segment == 0);
  DARUMA_TRY(make_room(kEmptyFrameBytes));
  submit(make_empty_body(flags, framed_ + 1));
  DARUMA_TRY(drain());
  MutexLock lock(mutex_);
  ++stats_.marks;
  return {};
}

Status WalWriter::make_room(std::uint64_t bytes) {
  while (!in_flight_.empty() && in_flight_bytes_ + bytes > options_.window_bytes) DARUMA_TRY(reap(true));
  // There is always room for the seal.
  if (segment_.offset + bytes + kEmptyFrameBytes > segment_.header.capacity) DARUMA_TRY(rotate(bytes));
  return write_ahead(bytes);
}

/// A frame in space that is reserved and was never written makes the file system commit its journal. So zeros go there
/// first, for many small frames at once: as much as the segment holds, up to a MiB. A frame that is not small is not
/// worth being written twice, and one that nobody waits for hardly ever. Where zeros are under way nothing else goes.
Status WalWriter::write_ahead(std::uint64_t bytes) {
  const std::uint64_t end = segment_.offset + bytes;
  const std::uint64_t small = gathers_ ? kSmallFrameBytes / 4 : kSmallFrameBytes;
  if (bytes <= small && end > segment_.written_to) {
    const std::uint64_t from = std::max(segment_.offset, segment_.written_to);
    const std::uint64_t ahead = std::clamp<std::uint64_t>(segment_.offset, kLeastAheadBytes, sizeof zeros_ahead);
    segment_.written_to = std::min(segment_.offset + ahead, segment_.header.capacity);
    in_flight_.push_back({.frame = {},
                          .tag = next_tag_++,
                          .last_sequence = framed_,
                          .header_checksum = segment_.previous,
                          .out = segment_.sides});
    submit(segment_, from, {zeros_ahead, segment_.written_to - from}, in_flight_.back().tag);
  }
  segment_.written_to = std::max(segment_.written_to, end);
  while (!in_flight_.empty() && in_flight_.back().is_zeros()) DARUMA_TRY(reap(true));
  return {};
}

AlignedBuffer WalWriter::frame_at_end(Segment& segment, const FrameBody& body, Sequence watermark,
                                      std::uint64_t next_segment) {
  FrameHeader header;
  header.incarnation = segment.header.incarnation;
  header.offset = segment.offset;
  header.watermark = watermark;
  header.previous = segment.previous;
  header.wall_ns = clock_.wall_ns();
  header.next_segment = next_segment;
  AlignedBuffer frame = encode_frame(store_, header, body, earlier_);
  DARUMA_ASSERT(segment.offset + frame.size() <= segment.header.capacity);
  segment.offset += frame.size();
  segment.previous = header.checksum;
  if (header.has_events()) earlier_.keep(body.first_sequence, body.last_sequence, body.footprint);
  return frame;
}

void WalWriter::submit(const FrameBody& body) {
  InFlight flight;
  flight.watermark = durable_seen_.load(std::memory_order_acquire);
  flight.frame = frame_at_end(segment_, body, flight.watermark, 0);
  flight.header_checksum = segment_.previous;
  flight.tag = next_tag_++;
  flight.last_sequence = body.last_sequence;
  flight.out = segment_.sides;
  in_flight_bytes_ += flight.frame.size();
  DARUMA_ASSERT(in_flight_.empty() || in_flight_bytes_ <= options_.window_bytes);
  DARUMA_ASSERT(in_flight_.size() < in_flight_.capacity());
  in_flight_.push_back(std::move(flight));
  const InFlight& newest = in_flight_.back();
  submit(segment_, segment_.offset - newest.frame.size(), newest.frame.view(), newest.tag);
  MutexLock lock(mutex_);
  ++stats_.frames;
  stats_.frame_bytes += newest.frame.size();
  if (body.last_sequence < body.first_sequence) return;  // a mark
  ++frames_begun_;
  begun_ = body.last_sequence;
}

void WalWriter::submit(const Segment& segment, std::uint64_t at, std::string_view data, std::uint64_t tag) {
  for (std::size_t side = 0; side < kLogSides; ++side) {
    if (!stands_in(segment.sides, side)) continue;
    queue_->submit({segment.files[side].get(), at, data, tag * kLogSides + side});
  }
}

/// Needs no memory: what has completed is never forgotten.
bool WalWriter::collect(bool wait) {
  completed_.clear();
  queue_->reap(wait, completed_);
  if (!completed_.empty()) silent_ = 0;
  for (FrameCompletion& completion : completed_) {
    const std::uint64_t tag = completion.tag / kLogSides;
    const std::size_t side = completion.tag % kLogSides;
    const auto back = static_cast<LogSides>(~side_bit(side));
    if (tag == seal_tag_) {
      seal_out_ &= back;
      sealed_.files[side].reset();
      if (completion.status.ok()) continue;
      MutexLock lock(mutex_);
      ++stats_.failures;
      continue;
    }
    const auto at = std::find_if(in_flight_.begin(), in_flight_.end(), [&](const InFlight& f) { return f.tag == tag; });
    DARUMA_ASSERT(at != in_flight_.end() && stands_in(at->out, side));
    at->out &= back;
    if (completion.status.ok() && !at->is_zeros()) completion.status = failpoint("frame written");
    if (completion.status.ok()) continue;
    at->failed |= side_bit(side);
    at->status = std::move(completion.status);
  }
  unsigned landed = 0;
  while (!in_flight_.empty() && in_flight_.front().out == 0 && in_flight_.front().failed == 0) {
    const InFlight& oldest = in_flight_.front();
    in_flight_bytes_ -= oldest.frame.size();
    segment_.acknowledged = {segment_.header.number, oldest.last_sequence, oldest.header_checksum, own_from_};
    told_ = std::max(told_, oldest.watermark);
    ++landed;
    in_flight_.erase(in_flight_.begin());
  }
  if (landed != 0) advance(segment_.acknowledged.last_sequence, landed == 1 && in_flight_.empty());
  return !completed_.empty();
}

/// False when it has nothing to say for long: `stalled_` is set, and what is in flight stays so.
bool WalWriter::wait_for_device() {
  for (unsigned slices = 0; (patient_ ? slices : silent_.load()) < kStallSlices; ++slices) {
    if (collect(true)) return true;
    ++silent_;
  }
  if (collect(false)) return true;
  stalled_ = true;
  return false;
}

Status WalWriter::reap(bool wait) {
  if (in_flight_.empty()) return {};
  if (!wait) {
    collect(false);
  } else if (!wait_for_device()) {
    return stalled();
  }
  for (const InFlight& flight : in_flight_) {
    if (flight.failed != 0) return flight.status;  // also when older ones are still out: no more into this file
  }
  return {};
}

Status WalWriter::drain() {
  while (!in_flight_.empty()) DARUMA_TRY(reap(true));
  while (seal_out_ != 0) {
    if (!wait_for_device()) return stalled();
  }
  return {};
}

void WalWriter::advance(Sequence durable, bool newest_alone) {
  std::uint64_t frame = 0;
  {
    MutexLock lock(mutex_);
    if (durable <= durable_) return;  // a mark
    std::uint64_t position = 0;
    while (durable_ < durable) {
      DARUMA_ASSERT(!pending_.empty() && pending_.front().record.sequence == durable_ + 1);
      position = pending_.front().end_position;
      pending_.pop_front();
      ++durable_;
    }
    unanswered_ = 0;
    ring_->release(position, durable_);
    durable_seen_.store(durable_, std::memory_order_release);
    frame = frames_begun_;
  }
  progress_.notify_all();
  durable_moved_.notify_all();
  durable_events_[frame % 2].notify_all();
  if (!newest_alone) durable_events_[(frame + 1) % 2].notify_all();
}

}  // namespace daruma
