// SPDX-License-Identifier: Apache-2.0
// The writer's files: its ring and its segments, and how it goes on in the next ones.
#include <algorithm>
#include <bit>
#include <utility>

#include "base/assert.h"
#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "event/event.h"
#include "wal/wal_writer.h"

namespace daruma {
namespace {

/// Cuts records into frames: as many as fit `limit` bytes, a bigger one alone.
std::vector<FrameBody> make_bodies(std::span<const WalRecord> records, std::uint64_t limit) {
  std::vector<FrameBody> bodies;
  for (std::size_t from = 0; from < records.size();) {
    std::size_t to = from + 1;
    for (std::uint64_t bytes = record_bytes(records[from].event); to < records.size(); ++to) {
      bytes += record_bytes(records[to].event);
      if (bytes > limit) break;
    }
    bodies.push_back(make_body(records.subspan(from, to - from)));
    from = to;
  }
  return bodies;
}

}  // namespace

// --- rings
// -------------------------------------------------------------------------------------------------------------------

Status WalWriter::remove_old_rings() {
  for (std::size_t side = 0; side < kLogSides; ++side) {
    if (side == 1 && copy_refused_) continue;
    Status removed = segments_.remove_rings_but(side, tail_name(tail_nonce_));
    if (is_of_the_process(removed) || (side == 0 && options_.copies == 1)) DARUMA_TRY(removed);
    MutexLock lock(mutex_);
    if (!removed.is(Code::kNotFound) && untidy_[side].ok()) untidy_[side] = std::move(removed);
  }
  return {};
}

Result<std::unique_ptr<TailRing>> WalWriter::make_ring(Sequence durable, std::uint64_t bytes) {
  const TailHeader header{store_, tail_nonce_, bytes, boot_, own_from_};
  std::unique_ptr<TailRing> ring;
  Status first;
  for (std::size_t side = 0; side < kLogSides; ++side) {
    if (!stands_in(sides_, side)) continue;
    const std::string path = segments_.directory(side) + "/" + tail_name(tail_nonce_);
    Status status;
    if (ring) {
      status = ring->copy_to(*storage_, path);
    } else {
      Result<std::unique_ptr<TailRing>> made = TailRing::create(*storage_, path, header, durable);
      status = made.status();
      if (made.ok()) ring = std::move(*made);
    }
    if (status.ok()) continue;
    (void)storage_->remove(path);  // nothing names it: where space is short, none of it stays
    if (is_of_the_process(status)) return status;
    if (first.ok()) first = status;
    MutexLock lock(mutex_);
    untidy_[side] = std::move(status);
  }
  if (!ring) return first;
  return ring;
}

/// Best effort: it holds nothing, and what removes older rings removes it too.
void WalWriter::discard_ring() {
  (void)or_out_of_memory([this]() -> Status {
    for (std::size_t side = 0; side < kLogSides; ++side) {
      if (stands_in(sides_, side)) (void)storage_->remove(segments_.directory(side) + "/" + tail_name(tail_nonce_));
    }
    return {};
  });
}

/// For the append that leads, and finds the ring full.
Status WalWriter::grow() {
  for (;;) {
    {
      MutexLock lock(mutex_);
      if (!broken_.ok()) return {};
      if (pending_.empty()) break;
    }
    DARUMA_TRY(round(true));
  }
  (void)segments_.keep_spares(true);
  (void)renew(options_.ring_bytes, options_.segment_bytes);  // without it the smaller one has to do
  MutexLock lock(mutex_);
  stays_small_ = ring_->capacity() < options_.ring_bytes;
  return {};
}

Status WalWriter::renew(std::uint64_t ring_bytes, std::uint64_t segment_bytes) {
  Sequence durable = 0;
  std::array<Status, kLogSides> untidy_before;
  {
    MutexLock lock(mutex_);
    DARUMA_ASSERT(pending_.empty());
    durable = durable_;
    untidy_before = std::exchange(untidy_, {});
  }
  const std::uint64_t nonce_before = std::exchange(tail_nonce_, random_.next() | 1);
  std::shared_ptr<TailRing> ring;
  Status status = or_out_of_memory([&]() -> Status {
    DARUMA_TRY_ASSIGN(ring, make_ring(durable, ring_bytes));
    return {};
  });
  const bool made = status.ok();
  if (made) {
    segment_bytes_ = segment_bytes;
    status = or_out_of_memory([this] { return rotate(0); });
    segment_bytes_ = options_.segment_bytes;
  }
  if (!status.ok()) {
    ring.reset();
    // Before the log goes on in yet another segment, for which it may leave no room.
    discard_ring();
    tail_nonce_ = nonce_before;  // that of another segment that no longer counts, if that has its name
    {
      MutexLock lock(mutex_);
      untidy_ = std::move(untidy_before);
    }
    return made ? settle(status) : status;
  }
  ring->begun();
  {
    MutexLock lock(mutex_);
    ring_ = std::move(ring);
  }
  return remove_old_rings();
}

/// As the device has it.
Status WalWriter::verify_segment() {
  for (std::size_t side = 0; side < kLogSides; ++side) {
    if (!stands_in(segment_.sides, side)) continue;
    AlignedBuffer sector(kSectorBytes);
    const std::string path = segments_.directory(side) + "/" + segment_name(segment_.header.number);
    DARUMA_TRY_ASSIGN(const std::unique_ptr<File> file, storage_->open(path, OpenMode::kRead));
    DARUMA_TRY_ASSIGN(const std::size_t got, file->read_direct(0, sector.span()));
    SegmentHeader written = segment_.header;
    if (got < kSectorBytes || sector.view() != encode_segment_header(written, 0))
      return {Code::kCorruption, "the header of the newest log file is not what was written", {.file = path}};
  }
  return {};
}

// --- segments
// ----------------------------------------------------------------------------------------------------------------

/// With one directory failing, be it for want of room, the segment stands in the other; `left_out` is not tried at all.
Status WalWriter::open_segment(Sequence start, std::span<const WalRecord> records, std::uint64_t room,
                               LogSides left_out) {
  const std::vector<FrameBody> bodies = make_bodies(records, options_.max_frame_bytes);
  std::uint64_t bytes = kSegmentFramesAt + room + kEmptyFrameBytes;
  for (const FrameBody& body : bodies) bytes += body.frame_bytes();
  // Where there is no room for a segment of the usual size, a small one has to do.
  const std::uint64_t least = std::max(bytes, std::min(segment_bytes_, kSmallSegmentBytes));
  std::uint64_t usual = std::max(bytes, segment_bytes_);
  bytes = usual;
  bool asked = false;
  LogSides usable = sides_ & static_cast<LogSides>(~left_out);  // given room
  for (LogSides sides = usable;;) {
    LogSides failed = 0;
    Status status = try_segment(start, bodies, bytes, sides, failed);
    if (status.ok() || failed == 0) return status;
    sides &= static_cast<LogSides>(~failed);
    const bool full = status.is(Code::kNoSpace);
    if (!full) usable &= static_cast<LogSides>(~failed);
    if (sides != 0) {
      const bool shared = full && is_short(sides, bytes);  // what is given back serves both
      bool share = shared && bytes > least;
      if (shared && !share && yield_space_ && !std::exchange(asked, true)) share = yield_space_();
      if (share) sides = usable;
      bytes = share ? least : usual;
      continue;
    }
    if (usable == 0) return status;
    sides = usable;
    if (usual > least) {
      usual = bytes = least;
    } else if (asked || !yield_space_ || !yield_space_()) {
      return status;
    } else {
      asked = true;
    }
  }
}

/// This directory has no room for two, as where another, which has none for one, stands on the same device.
bool WalWriter::is_short(LogSides side, std::uint64_t bytes) {
  const Result<std::uint64_t> free = storage_->free_bytes(segments_.directory(stands_in(side, 0) ? 0 : 1));
  return free.ok() && *free < 2 * bytes;
}

/// Does `work` for each directory until it fails in one, which is likeliest where it did before.
template <typename Work>
Status WalWriter::each_side(LogSides sides, LogSides& failed, const Work& work) {
  std::size_t begin = 0;
  {
    MutexLock lock(mutex_);
    if (!left_out_[1].ok()) begin = 1;
  }
  for (std::size_t i = 0; i < kLogSides; ++i) {
    const std::size_t side = (begin + i) % kLogSides;
    if (!stands_in(sides, side)) continue;
    Status status = work(side);
    if (status.ok()) continue;
    if (is_of_the_process(status)) return status;  // says nothing of the directory
    failed = side_bit(side);
    MutexLock lock(mutex_);
    left_out_[side] = status;
    return status;
  }
  return {};
}

/// A segment in all of `sides`, or in none that counts: with the number and what is acknowledged it says so for good.
Status WalWriter::try_segment(Sequence start, std::span<const FrameBody> bodies, std::uint64_t bytes, LogSides sides,
                              LogSides& failed) {
  const std::uint64_t number = next_number_++;  // never the same twice: a failed attempt may have left its name behind
  Segment segment;
  segment.sides = sides;
  Status status = or_out_of_memory([&]() -> Status {
    DARUMA_TRY(fill_segment(number, start, bodies, bytes, segment, failed));
    written_ = std::max(written_, segment.header.prepared_sequence);
    const LiveSegment live{number, start, segment.header.capacity};
    return each_side(sides, failed, [&](std::size_t side) { return segments_.publish(side, live); });
  });
  if (!status.ok()) {
    for (std::unique_ptr<File>& file : segment.files) file.reset();
    (void)or_out_of_memory([&]() -> Status {
      segments_.discard(number);  // or a device that fails again and again would be filled with attempts
      return {};
    });
    return status;
  }
  // Under its name, for whoever reads an error. Published is published: where that fails, the file is the same.
  (void)or_out_of_memory([&]() -> Status {
    for (std::size_t side = 0; side < kLogSides; ++side) {
      if (!stands_in(sides, side)) continue;
      Result<std::unique_ptr<File>> named =
          storage_->open(segments_.directory(side) + "/" + segment_name(number), OpenMode::kReadWrite);
      if (named.ok()) segment.files[side] = std::move(*named);
    }
    return {};
  });
  segment_ = std::move(segment);
  told_ = segment_.header.prepared_sequence;
  MutexLock lock(mutex_);
  stats_.copies = 0;
  for (std::size_t side = 0; side < kLogSides; ++side) {
    if (!stands_in(sides, side)) continue;
    left_out_[side] = Status();
    ++stats_.copies;
  }
  stats_.syncs += std::uint64_t{2} * stats_.copies;
  return {};
}

Status WalWriter::fill_segment(std::uint64_t number, Sequence start, std::span<const FrameBody> bodies,
                               std::uint64_t bytes, Segment& segment, LogSides& failed) {
  SegmentHeader& h = segment.header;
  unsigned recycled = 0;
  h.capacity = kMaxSegmentBytes;
  DARUMA_TRY(each_side(segment.sides, failed, [&](std::size_t side) -> Status {
    DARUMA_TRY_ASSIGN(Segments::Prepared prepared, segments_.prepare(side, number, bytes));
    segment.files[side] = std::move(prepared.file);
    h.capacity = std::min(h.capacity, prepared.bytes);
    recycled += prepared.recycled ? 1 : 0;
    return {};
  }));
  h.required_features = kSegmentSaysOwnFrom;
  h.optional_features = kSegmentNamesPredecessor | (segment.sides == kBothSides ? kSegmentCopied : 0);
  h.store = store_;
  h.number = number;
  h.incarnation = random_.next();
  h.start_sequence = start;
  h.prepared_sequence = bodies.empty() ? start - 1 : bodies.back().last_sequence;
  h.predecessor = predecessor_;
  h.window_bytes = options_.window_bytes;
  h.tail_nonce = tail_nonce_;
  h.boot = boot_;
  h.wall_ns = clock_.wall_ns();
  h.own_from = own_from_;
  const auto write = [&](std::uint64_t at, std::string_view data) {
    return each_side(segment.sides, failed, [&](std::size_t side) { return segment.files[side]->write(at, data); });
  };
  for (std::uint64_t position : {std::uint64_t{0}, std::uint64_t{kSectorBytes}}) {
    DARUMA_TRY(write(position, encode_segment_header(h, position)));
  }
  segment.offset = kSegmentFramesAt;
  segment.previous = h.checksum;
  for (const FrameBody& body : bodies) {
    const std::uint64_t at = segment.offset;
    DARUMA_TRY(write(at, frame_at_end(segment, body, start - 1, 0).view()));
  }
  DARUMA_TRY(each_side(segment.sides, failed, [&](std::size_t side) { return segment.files[side]->sync(); }));
  segment.acknowledged = {number, h.prepared_sequence, segment.previous, own_from_};
  // One that is recycled has been written to its end, or will have been when it comes round again.
  const bool all_recycled = recycled == static_cast<unsigned>(std::popcount(segment.sides));
  segment.written_to = all_recycled ? h.capacity : segment.offset;
  MutexLock lock(mutex_);
  stats_.recycled += recycled;
  stats_.frames += bodies.size();
  return {};
}

/// One in which nothing before `start` can stand is given up, and is no predecessor.
void WalWriter::go_on_from(const Segment& segment, Sequence start) {
  if (segment.header.start_sequence < start) predecessor_ = segment.acknowledged;
}

Status WalWriter::rotate(std::uint64_t room) {
  DARUMA_TRY(drain());
  Segment full = std::move(segment_);
  segment_ = Segment();
  go_on_from(full, framed_ + 1);
  if (Status status = or_out_of_memory([&] { return open_segment(framed_ + 1, {}, room); }); !status.ok()) {
    segment_.acknowledged = predecessor_;
    return status;
  }
  segment_.on_trial = full.sides != sides_;
  {
    MutexLock lock(mutex_);
    ++stats_.rotations;
  }
  // The successor already proves all that the seal says, so a seal that fails costs nothing but a count.
  sealed_ = std::move(full);
  const Status made = or_out_of_memory([&]() -> Status {
    seal_ = frame_at_end(sealed_, make_empty_body(kFrameSeal, framed_ + 1), framed_, segment_.header.number);
    return {};
  });
  if (!made.ok()) return {};
  seal_tag_ = next_tag_++;
  seal_out_ = sealed_.sides;
  submit(sealed_, sealed_.offset - seal_.size(), seal_.view(), seal_tag_);
  while (seal_out_ != 0 && wait_for_device()) {}
  stalled_ = false;  // it is waited for before the next one
  return {};
}

void WalWriter::fail_over(const Status& cause) {
  {
    MutexLock lock(mutex_);
    ++stats_.failures;
  }
  const Status status = or_out_of_memory([&] { return move_to_new_segment(cause); });
  const Status why = status.ok() ? Status() : or_out_of_memory([&]() -> Status {
    return {cause.code(), cause.message() + "; then: " + status.to_string(), cause.where()};
  });
  {
    MutexLock lock(mutex_);
    broken_ = why;
  }
  for (EventCount& event : durable_events_) event.notify_all();
}

Status WalWriter::move_to_new_segment(const Status& cause) {
  // Everything must land before its buffer goes, and what did land in order still counts.
  while (queue_->in_flight() > 0) {
    if (!wait_for_device()) return stalled();
  }
  collect(false);
  LogSides failed = 0;
  for (const InFlight& flight : in_flight_) failed |= flight.failed;
  in_flight_.clear();
  in_flight_bytes_ = 0;
  std::vector<WalRecord> records;
  Sequence durable = 0;
  // A directory is tried again at once, and once.
  const bool one_of_two = segment_.sides == kBothSides && failed != kBothSides;
  const LogSides left_out = segment_.on_trial && one_of_two ? failed : LogSides{0};
  {
    MutexLock lock(mutex_);
    durable = framed_ = durable_;
    records = records_after(durable_, kMaxTailBytes + kMaxEventBytes);
    for (std::size_t side = 0; side < kLogSides; ++side) {
      if (stands_in(left_out, side)) left_out_[side] = cause;
    }
  }
  go_on_from(segment_, durable + 1);
  DARUMA_TRY(open_segment(durable + 1, records, 0, left_out));
  segment_.on_trial = failed != 0;
  if (!records.empty()) framed_ = records.back().sequence;
  advance(framed_, false);
  return {};
}

}  // namespace daruma
