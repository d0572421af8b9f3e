// SPDX-License-Identifier: Apache-2.0
//
// The log's writer: events go into the tail ring, from there in frames into segments, several in flight.
//
// What must stay true:
//   - Frames carry consecutive sequences at contiguous offsets and are acknowledged in order; in flight is at most
//     window_bytes, or exactly one bigger frame.
//   - A segment gets its name in wal/ only when everything below its start_sequence is durable, and everything written
//   into it
//     before that is durable too.
//   - After a failed write or sync the segment is never touched again; what was unacknowledged goes to a new one first.
//   - An event that is not durable is in the ring, or too big for it: then in the hands of the `append` that has not
//     returned, or, when the device does not answer, in memory alone.
//   - Memory that runs short, and a device that does not answer, are told to whoever asked (kOutOfMemory, kUnavailable)
//     and lose nothing: what has begun is remembered in memory taken beforehand, what has not is asked for again.
//   - Nothing here needs a thread: whoever waits drives the log; a background thread only calls `poll`.
//
// Who locks: `mutex_` guards the state that appenders and waiters share. The log itself (segment, queue, frames)
// belongs to the *leader*, the one thread that has set `leading_`; it lets go of `mutex_` during I/O.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/random.h"
#include "io/event_count.h"
#include "io/storage.h"
#include "wal/earlier_footprints.h"
#include "wal/segments.h"
#include "wal/tail_ring.h"

namespace daruma {

struct WalOptions {
  std::uint64_t segment_bytes = 32 << 20;  ///< larger: fewer rotations; smaller: log space is given back sooner
  std::uint64_t ring_bytes =
      5 << 20;  ///< burst of `process` writes absorbed without waiting for the device; >= 256 KiB
  std::uint64_t window_bytes = 1 << 20;       ///< most bytes in flight, so most that a torn tail can be
  std::uint64_t max_frame_bytes = 256 << 10;  ///< of events in one frame; a bigger event gets its own
  unsigned max_in_flight = 8;
  unsigned copies = 1;  ///< 2: the same in wal-copy/, acknowledged when both are durable
};

struct WalCreate {
  std::string directory;  ///< of the store; the log is in its wal/
  StoreId store;
  std::uint64_t next_segment = 1;  ///< number of the first segment made; above every number ever used
  Sequence start_sequence = 1;
  Predecessor predecessor;
  EarlierFootprints earlier;  ///< of the frames that were replayed
  /// What recovery replays but cannot prove durable: start_sequence and on, without holes. Durable before `create`
  /// returns.
  std::span<const WalRecord> persist;
  std::vector<LiveSegment> older_segments;  ///< still there, for retire_below; rising
  Status copy_refused{};                    ///< why wal-copy/ is not ours to touch
};

struct WalStats {
  std::uint64_t frames = 0, frame_bytes = 0, marks = 0;
  std::uint64_t syncs = 0;  ///< of segments and directories; frames are durable writes of their own
  std::uint64_t rotations = 0, failures = 0, recycled = 0;
  std::uint64_t ring_used = 0;
  unsigned copies = 1;  ///< directories that the newest segment stands in
};

/// Any thread, except where a call says otherwise. Destroying it writes nothing.
class WalWriter {
 public:
  /// The least that a quiet log, or one without space, has for a segment.
  static constexpr std::uint64_t kSmallSegmentBytes = 256 << 10;

  /// Makes the first segment, and only after it is published empties the ring. Errors: those of the storage,
  /// kInvalidArgument.
  static Result<std::unique_ptr<WalWriter>> create(std::shared_ptr<Storage> storage, const WalOptions& options,
                                                   const WalCreate& start, Clock& clock, Random& random);
  ~WalWriter();

  /// Adds one event; after ok it survives the death of the process. The caller serialises appends; `sequence` follows
  /// the last. Drives the log itself when the ring is full or the event is too big for it. kUnavailable: the log is
  /// down, or its device does not answer; kOutOfMemory. Nothing is kept then, here or on disk. An event that a failed
  /// write may have left on disk is kept, as one that is in no ring and not durable.
  Status append(Sequence sequence, std::string_view event) EXCLUDES(mutex_);
  /// An event of so many bytes is in no ring: only once it is durable does it survive the death of the process.
  [[nodiscard]] bool goes_around_ring(std::uint64_t bytes) const;
  /// Returns when `sequence` survives power loss. kUnavailable: the log is down, or its device does not answer;
  /// kOutOfMemory; kInvalidArgument: never appended.
  Status wait_durable(Sequence sequence) EXCLUDES(mutex_);

  /// One round: submits what is pending up to the limits, takes in what has completed (with `wait`, at least one
  /// frame).
  Status step(bool wait) EXCLUDES(mutex_);
  /// When nothing is pending and the log does not yet tell so: writes a mark, so that a quiet log has nothing
  /// undecidable.
  Status step_idle() EXCLUDES(mutex_);
  /// For a background thread: does one round when something is pending; true when it did. Behind a frame that is under
  /// way it begins another only for those who wait, or for much: what nobody waits for shares a frame.
  bool poll() EXCLUDES(mutex_);
  /// Once the log is quiet: gives back what only a burst needs of the device, and of memory (a ring and a segment as
  /// small as can be, no spares). The next burst takes it again. Nothing where something is pending.
  Status give_back_space() EXCLUDES(mutex_);
  /// It has such space.
  [[nodiscard]] bool spacious() const EXCLUDES(mutex_);
  /// For a background thread, once a burst begins: memory that its appends would wait for.
  void prefault_ring() EXCLUDES(mutex_);
  /// After kUnavailable: tries again to get a segment and move everything unacknowledged there. ok when the log is up.
  Status try_repair() EXCLUDES(mutex_);
  /// Drops what the writer has in memory and goes on in a new ring and a new segment, which are read back. Appends wait
  /// meanwhile. kUnavailable: the log is down and could not be repaired, and all is as it was.
  Status reboot() EXCLUDES(mutex_);
  /// Every half of the ring is as it was written. Appends wait meanwhile. Errors: of the process, kUnavailable.
  Result<bool> ring_is_whole() EXCLUDES(mutex_);
  /// When one of two directories is left out and takes writes again: begins a segment in both. One thread at a time.
  Status try_copies() EXCLUDES(mutex_);

  [[nodiscard]] Sequence durable_sequence() const { return durable_seen_.load(std::memory_order_acquire); }
  [[nodiscard]] Sequence appended_sequence() const { return appended_seen_.load(std::memory_order_acquire); }
  /// Bytes in the ring that are not durable.
  [[nodiscard]] std::uint64_t pending_bytes() const EXCLUDES(mutex_);
  /// What is in no frame yet is enough for one.
  [[nodiscard]] bool fills_a_frame() const EXCLUDES(mutex_);
  /// Why the log is down; ok when it is not.
  [[nodiscard]] Status broken() const EXCLUDES(mutex_);
  /// With two directories: why one has no copy, or keeps what should be gone from it; ok when all is well.
  [[nodiscard]] Status copy_trouble() const EXCLUDES(mutex_);

  /// Waits until something behind `sequence` is durable, at most `ns`; false: nothing is. Drives nothing.
  bool wait_beyond(Sequence sequence, std::int64_t ns) const EXCLUDES(mutex_);

  /// Asked by whichever thread drives the log when there is no room for the next segment, not even a small one; true:
  /// there is more now. It may not call back into the writer. Set it before the first append.
  void on_no_space(std::function<bool()> yield) { yield_space_ = std::move(yield); }

  /// Gives back the segments whose every sequence is below `sequence`.
  Status retire_below(Sequence sequence) { return segments_.retire_below(sequence); }
  [[nodiscard]] std::vector<LiveSegment> live_segments() const { return segments_.live(); }
  [[nodiscard]] std::uint64_t live_bytes() const { return segments_.live_bytes(); }
  /// See Segments::once_through.
  [[nodiscard]] Sequence once_through() const { return segments_.once_through(); }
  /// How many segments begin after `sequence`.
  [[nodiscard]] std::size_t segments_begun_after(Sequence sequence) const { return segments_.begun_after(sequence); }
  [[nodiscard]] WalStats stats() const EXCLUDES(mutex_);

 private:
  struct Segment {
    std::array<std::unique_ptr<File>, kLogSides> files;
    LogSides sides = 0;  ///< where it stands, for good: a frame is acknowledged when it is durable in all. 0: nowhere
    bool on_trial = false;  ///< begun because a directory failed; one that fails again is left out
    SegmentHeader header;
    std::uint64_t offset = 0;      ///< where the next frame goes
    std::uint64_t written_to = 0;  ///< behind it the space is merely reserved
    std::uint64_t previous = 0;    ///< checksum of the header before it
    Predecessor acknowledged;      ///< its last frame that is durable, with all before
  };
  struct Pending {
    WalRecord record;                           ///< views the ring, or the event of an append in progress
    std::uint64_t end_position = 0;             ///< ring position behind it
    std::shared_ptr<const std::string> copy{};  ///< of an event that is in no ring and whose append has returned
  };
  struct InFlight {
    AlignedBuffer frame;    ///< empty: zeros, ahead of frames
    std::uint64_t tag = 0;  ///< of the write in a directory: twice this, and the number of that
    Sequence last_sequence = 0;
    Sequence watermark = 0;  ///< that it tells
    std::uint64_t header_checksum = 0;
    LogSides out = 0;  ///< not yet back from there
    LogSides failed = 0;
    Status status{};  ///< of one that failed

    [[nodiscard]] bool is_zeros() const { return frame.size() == 0; }
  };

  WalWriter(std::shared_ptr<Storage> storage, const WalOptions& options, const WalCreate& start, Clock& clock,
            Random& random);

  // --- leader only: `leading_` is set, mutex_ is not held ---
  Status prepare_directories() EXCLUDES(mutex_);
  Result<std::unique_ptr<TailRing>> make_ring(Sequence durable, std::uint64_t bytes) EXCLUDES(mutex_);
  void discard_ring();
  Status remove_old_rings() EXCLUDES(mutex_);
  /// Goes on in another ring, of `ring_bytes`, and a segment that names it. Nothing may be pending, or become so.
  Status renew(std::uint64_t ring_bytes, std::uint64_t segment_bytes) EXCLUDES(mutex_);
  Status grow() EXCLUDES(mutex_);
  Status verify_segment();
  std::unique_ptr<FrameQueue> make_queue();
  Status open_segment(Sequence start, std::span<const WalRecord> records, std::uint64_t room, LogSides left_out = 0)
      EXCLUDES(mutex_);
  bool is_short(LogSides side, std::uint64_t bytes);
  Status try_segment(Sequence start, std::span<const FrameBody> bodies, std::uint64_t bytes, LogSides sides,
                     LogSides& failed) EXCLUDES(mutex_);
  Status fill_segment(std::uint64_t number, Sequence start, std::span<const FrameBody> bodies, std::uint64_t bytes,
                      Segment& segment, LogSides& failed) EXCLUDES(mutex_);
  template <typename Work>
  Status each_side(LogSides sides, LogSides& failed, const Work& work) EXCLUDES(mutex_);
  void submit(const FrameBody& body) EXCLUDES(mutex_);
  /// To each of its files.
  void submit(const Segment& segment, std::uint64_t at, std::string_view data, std::uint64_t tag);
  Status write_batch(std::span<const WalRecord> batch) EXCLUDES(mutex_);
  Status write_empty(std::uint16_t flags, std::uint64_t next_segment) EXCLUDES(mutex_);
  Status make_room(std::uint64_t bytes) EXCLUDES(mutex_);
  Status write_ahead(std::uint64_t bytes) EXCLUDES(mutex_);
  void go_on_from(const Segment& segment, Sequence start);
  Status rotate(std::uint64_t room) EXCLUDES(mutex_);
  bool collect(bool wait) EXCLUDES(mutex_);
  bool wait_for_device() EXCLUDES(mutex_);
  Status stalled() const;
  Status reap(bool wait) EXCLUDES(mutex_);
  Status drain() EXCLUDES(mutex_);
  void fail_over(const Status& cause) EXCLUDES(mutex_);
  Status move_to_new_segment(const Status& cause) EXCLUDES(mutex_);
  Status settle(Status failure) EXCLUDES(mutex_);
  /// `newest_alone`: by one frame, behind which none is in flight.
  void advance(Sequence durable, bool newest_alone) EXCLUDES(mutex_);
  Status round(bool wait, bool gathers = false) EXCLUDES(mutex_);
  Status fill() EXCLUDES(mutex_);
  [[nodiscard]] bool worth_a_frame(std::span<const WalRecord> batch) const REQUIRES(mutex_);
  /// Nothing failed in the segment: what could not be done for want of memory can be asked for again.
  [[nodiscard]] bool intact() const;
  AlignedBuffer frame_at_end(Segment& segment, const FrameBody& body, Sequence watermark, std::uint64_t next_segment);

  std::vector<WalRecord> records_after(Sequence sequence, std::uint64_t limit_bytes) const REQUIRES(mutex_);
  /// Becomes leader, runs `work` without the lock, wakes everyone. Nobody may lead. Not `patient`: others wait behind
  /// this thread, so that it waits for a stalled device as long as nobody has before.
  template <typename Work>
  Status lead(const Work& work, bool patient = true) REQUIRES(mutex_);
  Status wait_for_leader() REQUIRES(mutex_);
  /// Where to wait for `sequence`: of the two, that of the frame which has it or will have it.
  EventCount& framed_event(Sequence sequence) REQUIRES(mutex_);
  Status append_around_ring(Sequence sequence, std::string_view event) REQUIRES(mutex_);
  Status unavailable() const REQUIRES(mutex_);

  const std::shared_ptr<Storage> storage_;
  const std::string directory_;  ///< of the store
  const WalOptions options_;
  const StoreId store_;
  const bool copy_refused_;
  const LogSides sides_;  ///< the directories to write
  const std::uint64_t boot_;
  static constexpr std::uint64_t kSmallFrameBytes = 64 << 10;
  static constexpr unsigned kStallSlices = 10;  ///< of FrameQueue::kSliceNs, without a word from the device
  Clock& clock_;
  std::function<bool()> yield_space_;
  Segments segments_;  ///< has its own lock

  // The leader's.
  Random random_;
  std::uint64_t tail_nonce_ = 0;
  std::uint64_t segment_bytes_;  ///< of the next one, at least
  std::uint64_t next_number_;
  const Sequence own_from_;  ///< see SegmentHeader
  Predecessor predecessor_;
  Segment segment_;
  std::unique_ptr<FrameQueue> queue_;
  std::vector<InFlight> in_flight_;         ///< oldest first; room for max_in_flight
  std::vector<FrameCompletion> completed_;  ///< room for all that is in flight
  bool stalled_ = false;                    ///< the device did not answer in this round
  bool patient_ = true;                     ///< see `lead`
  bool gathers_ = false;                    ///< nobody waits for this round; see `poll`
  Segment sealed_;                          ///< the one before, until its seal has landed
  AlignedBuffer seal_;
  std::uint64_t seal_tag_ = 0;
  LogSides seal_out_ = 0;  ///< not yet back from there
  std::uint64_t in_flight_bytes_ = 0;
  std::uint64_t next_tag_ = 1;
  EarlierFootprints earlier_;
  Sequence framed_ = 0;   ///< last sequence put into a frame
  Sequence written_ = 0;  ///< highest that a file in wal/ may hold
  Sequence told_ = 0;     ///< highest watermark that the log itself tells, durably

  mutable Mutex mutex_;
  CondVar progress_;  ///< for those who wait for a turn, or for room
  /// For `wait_durable`: a frame wakes those who wait for it, and not those who have come since (by turns, as the
  /// frames).
  std::array<EventCount, 2> durable_events_;
  mutable CondVar durable_moved_;  ///< for `wait_beyond`: those who wait for writes of theirs are woken more often
  bool leading_ GUARDED_BY(mutex_) = false;
  bool renewing_ GUARDED_BY(mutex_) = false;     ///< no append may begin
  bool stays_small_ GUARDED_BY(mutex_) = false;  ///< there was no room for a larger ring
  unsigned unanswered_ GUARDED_BY(mutex_) = 0;   ///< slices that others have waited for the leader since its last word
  std::shared_ptr<TailRing> ring_ GUARDED_BY(mutex_);
  std::deque<Pending> pending_ GUARDED_BY(mutex_);     ///< not durable: durable_ + 1 and on
  std::uint64_t frames_begun_ GUARDED_BY(mutex_) = 0;  ///< with events in them
  Sequence begun_ GUARDED_BY(mutex_) = 0;              ///< the last event in one of them
  Sequence durable_ GUARDED_BY(mutex_) = 0;
  Sequence appended_ GUARDED_BY(mutex_) = 0;
  Status broken_ GUARDED_BY(mutex_);
  std::array<Status, kLogSides> left_out_ GUARDED_BY(mutex_);  ///< why the newest segment does not stand there
  std::array<Status, kLogSides> untidy_ GUARDED_BY(mutex_);    ///< no ring there, or an old one left
  WalStats stats_ GUARDED_BY(mutex_);
  std::atomic<unsigned> silent_{0};  ///< slices that leaders have waited since the device's last word
  std::atomic<Sequence> durable_seen_{0};
  std::atomic<Sequence> appended_seen_{0};
};

}  // namespace daruma
