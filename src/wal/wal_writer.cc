// SPDX-License-Identifier: Apache-2.0
#include "wal/wal_writer.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "event/event.h"
#include "wal/wal_reader.h"

namespace daruma {
namespace {

Status check_options(const WalOptions& o) {
  if (o.ring_bytes < kMinTailBytes || o.ring_bytes > kMaxTailBytes || o.ring_bytes % kSectorBytes != 0) {
    return Status(Code::kInvalidArgument, "ring_bytes must be a multiple of 4096 from 256 KiB to 1 GiB");
  }
  if (o.segment_bytes < kSegmentFramesAt + 2 * kEmptyFrameBytes || o.segment_bytes > kMaxSegmentBytes ||
      o.segment_bytes % kSectorBytes != 0) {
    return Status(Code::kInvalidArgument, "segment_bytes must be a multiple of 4096, 24 KiB at least");
  }
  if (o.window_bytes == 0 || o.max_frame_bytes == 0 || o.max_frame_bytes > kMaxEventBytes || o.max_in_flight == 0) {
    return Status(Code::kInvalidArgument, "window_bytes, max_frame_bytes and max_in_flight must not be 0");
  }
  if (o.copies == 0 || o.copies > kLogSides) return Status(Code::kInvalidArgument, "copies is 1 or 2");
  return {};
}

}  // namespace

WalWriter::WalWriter(std::shared_ptr<Storage> storage, const WalOptions& options, const WalCreate& start, Clock& clock,
                     Random& random)
    : storage_(std::move(storage)),
      directory_(start.directory),
      options_(options),
      store_(start.store),
      copy_refused_(!start.copy_refused.ok()),
      sides_(options.copies == 2 && start.copy_refused.ok() ? kBothSides : side_bit(0)),
      boot_(boot_hash(storage_->boot_id())),
      clock_(clock),
      segments_(*storage_, start.directory, sides_, start.older_segments),
      random_(random.next()),
      tail_nonce_(random_.next() | 1),
      segment_bytes_(options.segment_bytes),
      next_number_(start.next_segment),
      own_from_(start.start_sequence + start.persist.size()),
      predecessor_(start.predecessor),
      queue_(make_queue()) {
  in_flight_.reserve(options.max_in_flight);
  completed_.reserve((options.max_in_flight + std::size_t{1}) * options.copies);
  earlier_ = start.earlier;  // into the room that it has
  if (options.copies == 2) left_out_[1] = start.copy_refused;
}

/// For the frames in flight and a seal.
std::unique_ptr<FrameQueue> WalWriter::make_queue() {
  return storage_->make_frame_queue((options_.max_in_flight + 1) * options_.copies);
}

// Nothing is written or synced: a destroyed writer leaves what a killed one does. The queue goes first, since the
// kernel may still read the frames in flight.
WalWriter::~WalWriter() { queue_.reset(); }

Result<std::unique_ptr<WalWriter>> WalWriter::create(std::shared_ptr<Storage> storage, const WalOptions& options,
                                                     const WalCreate& start, Clock& clock, Random& random) {
  DARUMA_TRY(check_options(options));
  if (start.start_sequence == 0 || start.next_segment == 0)
    return Status(Code::kInvalidArgument, "sequences and segments count from 1");
  Sequence last = start.start_sequence - 1;
  for (const WalRecord& record : start.persist) {
    if (record.sequence != ++last || record.event.size() > kMaxEventBytes) {
      return Status(Code::kInvalidArgument, "events to persist must be consecutive and within limits",
                    {{}, {}, record.sequence});
    }
  }
  std::unique_ptr<WalWriter> writer(new WalWriter(std::move(storage), options, start, clock, random));
  DARUMA_TRY(writer->prepare_directories());
  Result<std::unique_ptr<TailRing>> made = writer->make_ring(last, options.ring_bytes);
  if (made.status().is(Code::kNoSpace)) made = writer->make_ring(last, kMinTailBytes);
  DARUMA_TRY_ASSIGN(std::unique_ptr<TailRing> ring, std::move(made));
  DARUMA_TRY(writer->open_segment(start.start_sequence, start.persist, 0));
  ring->begun();
  // Older rings may hold what nothing else does until this moment.
  DARUMA_TRY(writer->remove_old_rings());
  DARUMA_TRY(writer->segments_.retire_superseded());
  {
    MutexLock lock(writer->mutex_);
    writer->ring_ = std::move(ring);
    writer->durable_ = writer->appended_ = last;
    writer->framed_ = last;
    writer->durable_seen_.store(last, std::memory_order_release);
    writer->appended_seen_.store(last, std::memory_order_release);
  }
  return writer;
}

/// One directory of two is enough to go on.
Status WalWriter::prepare_directories() {
  LogSides ready = 0;
  Status first;
  for (std::size_t side = 0; side < kLogSides; ++side) {
    const auto prepare = [&]() -> Status {
      if (!stands_in(sides_, side))
        return copy_refused_ ? Status() : segments_.tidy(side);  // what an earlier start left
      DARUMA_TRY(segments_.make_directory(side));
      return segments_.tidy(side);
    };
    Status status = prepare();
    if (is_of_the_process(status)) return status;
    if (!stands_in(sides_, side)) continue;
    if (status.ok()) {
      ready |= side_bit(side);
      continue;
    }
    if (first.ok()) first = status;
    MutexLock lock(mutex_);
    left_out_[side] = std::move(status);
  }
  return ready != 0 ? Status() : first;
}

// --- appending and waiting
// ---------------------------------------------------------------------------------------------------

Status WalWriter::unavailable() const {
  return Status(Code::kUnavailable, "the log is down: " + broken_.to_string(), broken_.where(),
                "it comes back when a new segment can be written");
}

template <typename Work>
Status WalWriter::lead(const Work& work, bool patient) {
  DARUMA_ASSERT(!leading_);
  leading_ = true;
  patient_ = patient;
  mutex_.unlock();
  Status status = or_out_of_memory(work);
  mutex_.lock();
  leading_ = false;
  unanswered_ = 0;
  if (pending_.empty()) silent_ = 0;  // nobody has waited for what is still under way
  progress_.notify_all();
  // One who waits leads next, unless somebody comes by before. Whoever leads wakes another in the end, so none is
  // forgotten.
  for (const std::uint64_t frame : {frames_begun_, frames_begun_ + 1}) {
    if (durable_events_[frame % 2].notify_one()) break;
  }
  return status;
}

/// The leader's system call may hang with its device; those who wait for it need not. They share the count, so that who
/// comes late, perhaps behind others who waited, waits for no more than what is left.
Status WalWriter::wait_for_leader() {
  if (silent_ >= kStallSlices || unanswered_ >= 2 * kStallSlices) return stalled();
  const unsigned before = unanswered_;
  if (!progress_.wait_for(mutex_, FrameQueue::kSliceNs) && unanswered_ == before) ++unanswered_;
  return {};
}

Status WalWriter::stalled() const {
  return {Code::kUnavailable,
          "the device of the log has not answered for " +
              std::to_string(kStallSlices * (FrameQueue::kSliceNs / 1'000'000'000)) + " seconds",
          {.file = segments_.directory(0)},
          "what was written may still become durable; the log goes on when the device answers"};
}

Status WalWriter::append(Sequence sequence, std::string_view event) {
  DARUMA_ASSERT(event.size() <= kMaxEventBytes);
  MutexLock lock(mutex_);
  if (!broken_.ok()) return unavailable();
  DARUMA_ASSERT(sequence == appended_ + 1);
  if (goes_around_ring(event.size())) return append_around_ring(sequence, event);
  // Behind an event that is in memory alone the ring would hold what no start could apply.
  const auto gap = [&]() REQUIRES(mutex_) { return !pending_.empty() && pending_.back().copy; };
  while (renewing_ || gap() || !ring_->fits(event.size())) {
    const bool small = !gap() && ring_->capacity() < options_.ring_bytes && !stays_small_;
    DARUMA_TRY(leading_ ? wait_for_leader() : lead([&] { return small ? grow() : round(true); }, false));
    if (!broken_.ok()) return unavailable();
  }
  pending_.push_back({{sequence, {}}, 0});  // before the ring, from which nothing can be taken back
  pending_.back().record.event = ring_->push({sequence, event});
  pending_.back().end_position = ring_->head();
  appended_ = sequence;
  appended_seen_.store(sequence, std::memory_order_release);
  return {};
}

bool WalWriter::goes_around_ring(std::uint64_t bytes) const {
  return tail_entry_bytes(bytes) > TailRing::max_payload(options_.ring_bytes);
}

Status WalWriter::append_around_ring(Sequence sequence, std::string_view event) {
  // Drained first, so that a failure concerns this event alone: it is in no ring, only in the caller's hands.
  while (durable_ < appended_ || leading_) {
    if (!leading_ && !broken_.ok()) return unavailable();
    DARUMA_TRY(leading_ ? wait_for_leader() : lead([this] { return round(true); }, false));
  }
  if (!broken_.ok()) return unavailable();
  pending_.push_back({{sequence, event}, ring_->head()});
  appended_ = sequence;
  for (bool patient = false; durable_ < sequence;) {  // led from here on by this thread alone
    const Status cause = broken_;
    const Status failed = lead(
        [&]() -> Status {
          if (cause.ok()) return round(true);
          if (!in_flight_.empty()) fail_over(cause);
          return {};
        },
        patient);
    if (broken_.ok() && failed.ok()) continue;
    if (written_ >= sequence) {  // what has it cannot be called back, and its writer need not wait for ever
      Pending& newest = pending_.back();
      const Status copied = or_out_of_memory([&]() -> Status {
        newest.copy = std::make_shared<const std::string>(event);
        return {};
      });
      if (copied.ok()) {
        newest.record.event = *newest.copy;
        break;
      }
      if (!in_flight_.empty()) {
        patient = true;
        continue;
      }
    }
    pending_.pop_back();
    appended_ = sequence - 1;
    return broken_.ok() ? failed : unavailable();
  }
  appended_seen_.store(sequence, std::memory_order_release);
  return {};
}

Status WalWriter::wait_durable(Sequence sequence) {
  for (unsigned unanswered = 0; durable_seen_.load(std::memory_order_acquire) < sequence;) {
    EventCount* event = nullptr;
    EventCount::Key key = 0;
    {
      MutexLock lock(mutex_);
      if (sequence > appended_)
        return Status(Code::kInvalidArgument, "waiting for a sequence that was never appended", {{}, {}, sequence});
      if (durable_ >= sequence) return {};
      if (!broken_.ok()) return unavailable();
      if (!leading_) {
        DARUMA_TRY(lead([this] { return round(true); }));
        continue;
      }
      event = &framed_event(sequence);
      key = event->key();
    }
    unanswered = event->wait(key, FrameQueue::kSliceNs) ? 0 : unanswered + 1;
    if (unanswered == 2 * kStallSlices) return stalled();
  }
  return {};
}

EventCount& WalWriter::framed_event(Sequence sequence) {
  return durable_events_[(frames_begun_ + (sequence > begun_ ? 1 : 0)) % 2];
}

bool WalWriter::wait_beyond(Sequence sequence, std::int64_t ns) const {
  MutexLock lock(mutex_);
  while (durable_ <= sequence) {
    if (!durable_moved_.wait_for(mutex_, ns)) return durable_ > sequence;
  }
  return true;
}

Status WalWriter::step(bool wait) {
  MutexLock lock(mutex_);
  if (leading_) {
    if (wait) progress_.wait_for(mutex_, FrameQueue::kSliceNs);
  } else if (broken_.ok()) {
    DARUMA_TRY(lead([this, wait] { return round(wait); }));
  }
  return broken_.ok() ? Status() : unavailable();
}

void WalWriter::prefault_ring() {
  std::shared_ptr<TailRing> ring;
  {
    MutexLock lock(mutex_);
    ring = ring_;
  }
  ring->prefault();
}

bool WalWriter::spacious() const {
  MutexLock lock(mutex_);
  return ring_->capacity() > kMinTailBytes || segments_.has_spares();
}

Status WalWriter::give_back_space() {
  MutexLock lock(mutex_);
  while (leading_) DARUMA_TRY(wait_for_leader());
  if (!broken_.ok()) return unavailable();
  if (!pending_.empty()) return {};
  renewing_ = true;
  Status given = lead([this]() -> Status {
    stalled_ = false;
    DARUMA_TRY(segments_.keep_spares(false));
    // For a moment the new ring and segment stand beside the old ones. Where that may not fit, a log that works is
    // kept.
    for (std::size_t side = 0; side < kLogSides; ++side) {
      if (!stands_in(segment_.sides, side)) continue;
      const Result<std::uint64_t> free = storage_->free_bytes(segments_.directory(side));
      if (free.ok() && *free < 2 * options_.copies * (kMinTailBytes + kSmallSegmentBytes)) return {};
    }
    return renew(kMinTailBytes, std::min(options_.segment_bytes, kSmallSegmentBytes));
  });
  renewing_ = false;
  stays_small_ = false;
  progress_.notify_all();
  return given;
}

/// Everything but what the log's users wait for is thrown away: queue, ring, segment; and what stands on disk now is
/// read back.
Status WalWriter::reboot() {
  DARUMA_TRY(try_repair());
  MutexLock lock(mutex_);
  while (leading_) DARUMA_TRY(wait_for_leader());
  if (!broken_.ok()) return unavailable();
  renewing_ = true;
  Status done = lead([this]() -> Status {
    stalled_ = false;
    for (;;) {
      {
        MutexLock inner(mutex_);
        if (!broken_.ok()) return unavailable();
        if (pending_.empty()) break;
      }
      DARUMA_TRY(round(true));
    }
    DARUMA_TRY(drain());
    queue_ = make_queue();
    DARUMA_TRY(renew(options_.ring_bytes, options_.segment_bytes));
    return verify_segment();
  });
  renewing_ = false;
  progress_.notify_all();
  return done;
}

Result<bool> WalWriter::ring_is_whole() {
  MutexLock lock(mutex_);
  while (leading_) DARUMA_TRY(wait_for_leader());
  renewing_ = true;
  bool whole = true;
  Status read = lead([&]() -> Status {
    for (std::size_t side = 0; side < kLogSides; ++side) {
      {
        MutexLock inner(mutex_);
        if (!stands_in(sides_, side) || !untidy_[side].ok()) continue;  // none could be made there
      }
      const TailScan ring = read_tail(*storage_, directory_, store_, tail_nonce_, side, true);
      if (is_of_the_process(ring.status)) return ring.status;
      whole = whole && ring.status.ok() && ring.whole && !ring.hurt;
    }
    return {};
  });
  renewing_ = false;
  progress_.notify_all();
  if (!read.ok()) return read;
  return whole;
}

bool WalWriter::poll() {
  MutexLock lock(mutex_);
  if (leading_ || !broken_.ok() || pending_.empty()) return false;
  return lead([this] { return round(true, true); }).ok();
}

Status WalWriter::step_idle() {
  MutexLock lock(mutex_);
  if (!broken_.ok()) return unavailable();
  if (leading_ || !pending_.empty()) return {};
  DARUMA_TRY(lead([this]() -> Status {
    if (told_ >= framed_) return {};
    stalled_ = false;
    return settle(or_out_of_memory([this]() -> Status {
      DARUMA_TRY(drain());
      return write_empty(kFrameMark, 0);
    }));
  }));
  return broken_.ok() ? Status() : unavailable();
}

Status WalWriter::try_repair() {
  MutexLock lock(mutex_);
  while (leading_) DARUMA_TRY(wait_for_leader());
  if (broken_.ok()) return {};
  const Status cause = broken_;
  DARUMA_TRY(lead([this, &cause]() -> Status {
    fail_over(cause);
    return {};
  }));
  return broken_.ok() ? Status() : unavailable();
}

Status WalWriter::try_copies() {
  LogSides missing = 0;
  {
    MutexLock lock(mutex_);
    for (std::size_t side = 0; side < kLogSides; ++side) {
      if (stands_in(sides_, side) && !left_out_[side].ok()) missing |= side_bit(side);
    }
  }
  if (missing == 0) return {};
  // Without leading: a device that hangs keeps nobody waiting.
  for (std::size_t side = 0; side < kLogSides; ++side) {
    if (stands_in(missing, side)) DARUMA_TRY(segments_.probe(side, options_.segment_bytes));
  }
  MutexLock lock(mutex_);
  while (leading_) DARUMA_TRY(wait_for_leader());
  if (!broken_.ok()) return unavailable();
  return lead([this]() -> Status {
    stalled_ = false;
    return segment_.sides == sides_ ? Status() : settle(or_out_of_memory([this] { return rotate(0); }));
  });
}

Status WalWriter::copy_trouble() const {
  MutexLock lock(mutex_);
  if (options_.copies < 2) return {};
  for (std::size_t side = 0; side < kLogSides; ++side) {
    for (const Status& status : {left_out_[side], untidy_[side], segments_.trouble(side)}) {
      if (!status.ok()) return status;
    }
  }
  return {};
}

std::uint64_t WalWriter::pending_bytes() const {
  MutexLock lock(mutex_);
  return ring_->used();
}

bool WalWriter::fills_a_frame() const {
  MutexLock lock(mutex_);
  const std::size_t framed = begun_ > durable_ ? begun_ - durable_ : 0;
  return framed < pending_.size() && pending_.back().end_position - pending_[framed].end_position > kSmallFrameBytes;
}

Status WalWriter::broken() const {
  MutexLock lock(mutex_);
  return broken_;
}

WalStats WalWriter::stats() const {
  MutexLock lock(mutex_);
  WalStats out = stats_;
  out.ring_used = ring_->used();
  return out;
}

std::vector<WalRecord> WalWriter::records_after(Sequence sequence, std::uint64_t limit_bytes) const {
  std::vector<WalRecord> out;
  if (pending_.empty()) return out;
  DARUMA_ASSERT(pending_.front().record.sequence == durable_ + 1 && sequence >= durable_);
  std::uint64_t bytes = 0;
  for (std::size_t i = sequence - durable_; i < pending_.size(); ++i) {
    bytes += record_bytes(pending_[i].record.event);
    if (!out.empty() && bytes > limit_bytes) break;
    out.push_back(pending_[i].record);
  }
  return out;
}

}  // namespace daruma
