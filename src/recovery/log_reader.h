// SPDX-License-Identifier: Apache-2.0
//
// Every event of the log in order, also while it is being written: what the change stream, and whoever looks into a
// store's history, stand on. Reads only, and takes no lock: segments are written append-only, each byte in them is
// verified, and one that is given back leaves the list of segments before its bytes change.
//
// What must stay true:
//   - Sequences come one after the other: an event is delivered, or told as lost, never passed over, never twice.
//   - Nothing behind `LogNow::durable` comes out.
//   - Of numbers that a later segment begins at or below, the later one's events count.
//   - What the damage map has as lost is told as lost, whatever the files still hold of it: the store has not applied
//     it.
//   - Lost is what nothing gives back: not what the device only refuses (kIoError, and the next call tries again).
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/storage.h"
#include "recovery/damage_map.h"
#include "wal/segments.h"
#include "wal/wal_reader.h"

namespace daruma {

/// Events that were lost from the log, or given up with it.
struct LostEvents {
  Sequence first = 0;
  Sequence last = 0;
  std::string cause{};  ///< case name, as in the damage map
  std::string file{};   ///< relative to the store
};
/// By the damage map, accepted or not; rising, none overlaps another. Of a loss whose end is not known the last number
/// may be that of the first event behind it.
std::vector<LostEvents> lost_from_log(const DamageMap& damage);

/// What there is of a log at one moment.
struct LogNow {
  Sequence durable = 0;               ///< nothing behind it is read
  std::vector<LiveSegment> segments;  ///< rising by number; looked at after `durable`
  std::vector<LostEvents> lost;
};

/// One event, or a stretch of lost ones. The view is good until the next call.
struct LogEntry {
  Sequence first = 0;
  Sequence last = 0;                  ///< `first`, unless lost
  std::int64_t wall_ns = 0;           ///< when its frame was made; of one that a start wrote anew, that start; 0: lost
  std::string_view event;             ///< of one that is not lost; decodes (event.h)
  std::optional<std::string> lost{};  ///< the cause
  std::string file{};                 ///< where it stands or stood, relative to the store
};

/// One thread at a time.
class LogReader {
 public:
  using Look = std::function<Result<LogNow>()>;
  /// `directory`: of the store. `look` is called when what was known has been read, and when a file is gone.
  LogReader(Storage& storage, std::string directory, const StoreId& store, Look look, Sequence from)
      : storage_(storage), directory_(std::move(directory)), store_(store), look_(std::move(look)), position_(from) {}

  /// kNotFound, as `next`, when the log no longer holds the first; and the errors of `look`.
  Status begin();
  /// The next one; nothing: there is none yet. Errors, after which the next call tries again: kNotFound (the log no
  /// longer holds it, Where::sequence is the first that it does), kIoError (the device refuses it), those of the
  /// process, and those of `look`.
  Result<std::optional<LogEntry>> next();
  /// The sequence that `next` is about.
  [[nodiscard]] Sequence position() const { return position_; }
  /// As seen last.
  [[nodiscard]] Sequence durable() const { return now_.durable; }

 private:
  struct Frame {
    Sequence first = 0, last = 0;
    std::int64_t wall_ns = 0;
    std::uint64_t offset = 0;
    std::string records;
  };
  struct Hole {
    Sequence first = 0, last = 0;
    std::uint64_t offset = 0;
    bool refused = false;  ///< by the device
  };
  Status look();
  [[nodiscard]] const LiveSegment* segment_of(Sequence sequence) const;
  [[nodiscard]] Sequence end_of(const LiveSegment& segment) const;
  [[nodiscard]] const LostEvents* known_lost() const;
  [[nodiscard]] Status truncated() const;
  void leave_segment();
  bool take_record(LogEntry& out);
  Result<bool> pass_hole(LogEntry& out);
  Status read_on();
  SegmentScan read_part(const LiveSegment& segment, SegmentPart& part);
  LogEntry lost(Sequence last, std::string cause, std::string file);

  Storage& storage_;
  const std::string directory_;
  const StoreId store_;
  const Look look_;
  Sequence position_;
  LogNow now_;
  std::uint64_t segment_ = 0;  ///< number of the one at hand; 0: none
  std::string file_;           ///< its name
  SegmentPlace place_;
  std::deque<Frame> frames_;        ///< read and not yet delivered
  std::vector<WalRecord> records_;  ///< of the first of them; views
  std::vector<Hole> holes_;         ///< likewise
  Sequence read_through_ = 0;       ///< up to here nothing of the segment is left to read
  Sequence end_ = 0;                ///< the last number that counts in it
};

}  // namespace daruma
