// SPDX-License-Identifier: Apache-2.0
//
// Inside of log replay (log_replay.h): what there is of segments and rings (log_files.cc), the walk over it
// (log_replay.cc), what one segment says of another (log_chain.cc), and the judging of what could not be used as it
// stands (log_stretch.cc).
//
// What must stay true: events are taken in order of their sequence, each at most once; `out_.last` is the end of what
// is settled, and nothing at or below it is looked at again.
#pragma once

#include <deque>
#include <map>

#include "recovery/attempts.h"
#include "recovery/log_replay.h"
#include "recovery/verdict.h"
#include "wal/wal_reader.h"

namespace daruma {

class LogReplayer {
 public:
  LogReplayer(Storage& storage, const LogReplayInput& input, const ApplyEvents& apply);
  Result<LogReplay> run();

 private:
  /// A format from the future is no damage: what it holds would be lost with the file.
  static bool stops_the_start(const Status& status) {
    return status.is(Code::kUnsupported) || is_of_the_process(status);
  }
  struct Found {
    std::uint64_t number = 0;
    LogSides sides = 0;            ///< where it stands
    std::uint64_t file_bytes = 0;  ///< of the longer file
    std::uint64_t bytes_min = 0;   ///< of the shorter
    std::optional<SegmentHeader> header;
    Status unreadable;             ///< why there is no header
    Sequence successor_start = 0;  ///< lowest of any later segment. 0: none
    Sequence anew_from = 0;        ///< numbers from there on were given anew, there or in a file that is gone. 0: none
  };
  /// Every number that it could hold was given anew.
  static bool is_given_up(const Found& segment) {
    return segment.anew_from != 0 && segment.header->start_sequence >= segment.anew_from;
  }
  /// One thing met while reading a segment, in order: a frame's events, or a stretch to judge.
  struct Met {
    bool stretch = false;
    Sequence first = 0, last = 0;
    std::string events;             ///< raw records of a frame behind an anomaly
    std::string encoded_footprint;  ///< of that frame; empty when it does not verify
    FrameHeader header;
    // of a stretch
    Header kind = Header::kOk;
    Payload payload = Payload::kUnknown;
    std::optional<Footprint> footprint;
    std::uint64_t offset = 0, bytes = 0;
  };

  // log_replay.cc
  Status find_segments();
  Status find_segments_in(std::size_t side, Status& unlisted);
  [[nodiscard]] bool one_side_tells_all() const;
  Status look_at_header(Found& segment, std::size_t side, const std::string& name, bool& refused);
  void tell_missing_copies();
  void missing_copy(const std::string& file, const std::string& detail);
  [[nodiscard]] TailScan read_ring(std::uint64_t nonce, std::size_t& side) const;
  Status take_ring();
  void heed_what_is_gone();
  Status read_one(const Found& segment);
  [[nodiscard]] Enough end_of_interest(const Found& segment) const;
  RecoveryFinding& healed(const char* what, const std::string& file, std::uint64_t offset, const char* action);
  Status lost_header(const Found& segment);
  Status settle_segment(const Found& segment, const SegmentScan& scan, std::vector<Met>& met);
  void take_frame(const FrameHeader& header, std::string_view raw, std::string_view footprint);
  /// Takes the next event into account; false when it is not to be applied.
  bool admit(const WalRecord& record, std::string_view frame_footprint);
  /// The target is reached with all that is settled so far: the log ends here.
  bool reach();
  bool reach_before(Sequence next, std::int64_t wall_ns);
  void take_ring_event(const WalRecord& record, std::string_view frame_footprint);
  void apply(std::span<const WalRecord> events) {
    apply_(events, input_.note_attempts ? out_.attempts.get() : nullptr);
  }
  void give_up_behind_the_gap();
  void set_aside_behind_the_gap(const Found& segment, std::uint64_t from, const SegmentScan& scan);
  void finish();
  void keep(Sequence sequence, std::string_view event);
  void prove(Sequence through);
  void progress(std::uint64_t done);
  /// What damage is known by, wherever the segment was found.
  /// Of a gap between files: which file stands behind it changes as the log is given back, and the loss stays known.
  [[nodiscard]] static std::string whole_log() { return std::string(kLogDirectories[0]); }
  [[nodiscard]] static std::string relative(std::uint64_t number) { return in_side(0, segment_name(number)); }
  [[nodiscard]] static std::string in_side(std::size_t side, const std::string& name) {
    return std::string(kLogDirectories[side]) + "/" + name;
  }
  [[nodiscard]] std::string tail_file() const { return in_side(tail_side_, tail_name(tail_nonce_)); }
  /// Evidence set aside since `before` that stands in both files is kept from both.
  void keep_copies_too(const Found& segment, std::size_t before);
  /// An event that was applied, and is not one of those that fill the numbers of a loss.
  void applied(const WalRecord& record);
  void find_again();
  [[nodiscard]] bool given_up(Sequence sequence) const;
  [[nodiscard]] Sequence known_through(Sequence sequence, const std::string& file) const;

  // log_chain.cc
  [[nodiscard]] const Found* next_of(const Found& segment) const;
  static bool lacks_between(const Found& segment, const Found& next);
  [[nodiscard]] bool ring_is_named() const;
  [[nodiscard]] bool ring_of_another() const;
  [[nodiscard]] bool lacks_newest() const;
  [[nodiscard]] bool newest_is_gone() const;
  [[nodiscard]] std::uint64_t lost_newest() const;
  [[nodiscard]] bool lacks_behind(const Found& segment) const;
  [[nodiscard]] bool may_be_tear(const Found& segment, const SegmentScan& scan, const Met& stretch) const;
  [[nodiscard]] bool of_one_numbering(const Found& segment, const SegmentScan& scan, Sequence through) const;
  [[nodiscard]] Result<std::optional<Footprint>> footprint_before(const Found& segment, Sequence first,
                                                                  Sequence last) const;
  Status ask_next(const Found& segment, SegmentScan& scan) const;
  Status lose_before(const Found& segment, const char* why);
  void name_predecessor();
  static void told_of(Met& stretch, std::optional<Footprint> footprint);

  // log_stretch.cc
  /// Judges a stretch piece by piece.
  void judge_stretch(const Found& segment, const SegmentScan& scan, const Met& met, Sequence known_last);
  [[nodiscard]] StretchFacts facts_of(const Found& segment, const SegmentScan& scan, const Met& met,
                                      Sequence known_last) const;
  /// What quarantine keeps of a finding.
  [[nodiscard]] static QuarantineEntry evidence(const RecoveryFinding& finding);
  /// An event that verifies and cannot be used.
  void poison(Sequence sequence, std::string_view event, Payload payload, std::string_view frame_footprint,
              const Status& why);
  void lose(const Assessment& judged, const Met& met, const std::string& file, RecoveryFinding& finding,
            std::optional<std::string> contents = std::nullopt);
  /// Events that the ring's mark proves, and that no segment has; perhaps more than these.
  void lose_unlogged(Sequence first, Sequence last, const std::string& file, const std::string& detail,
                     const std::optional<Footprint>& footprint, bool end_known = true);
  void lose_keys(DamageEntry entry, const std::optional<Footprint>& footprint);

  Storage& storage_;
  const LogReplayInput& input_;
  const ApplyEvents& apply_;
  const std::uint64_t boot_;
  LogReplay out_;
  std::vector<Found> segments_;
  std::uint64_t next_found_ = 1;                         ///< above the number of every segment that is there
  std::map<std::uint64_t, LogSides> rings_;              // nonces, by name
  std::vector<std::pair<Sequence, Sequence>> given_up_;  // by earlier starts: not applied, whatever the log holds
  TailScan tail_;
  std::map<Sequence, std::string_view> ring_;  // what it holds
  Sequence ring_last_ = 0;                     // end of its contiguous part
  std::uint64_t tail_nonce_ = 0;               // of the ring that was read
  std::size_t tail_side_ = 0;                  // and where it stands
  std::deque<std::pair<Sequence, std::string>> unproven_;
  std::vector<WalRecord> admitted_;  // of the frame being taken
  struct Applied {
    Sequence first = 0;
    Sequence last = 0;
    std::string file;
  };
  std::vector<Applied> applied_;   // without a gap; kept while the damage map tells of losses
  Sequence persist_from_ = 0;      // proven or not; 0: only what is not
  std::vector<Predecessor> read_;  // the segments
  bool any_read_ = false;          // that is not given up
  Sequence given_anew_from_ = 0;   // of the segment at hand
  bool ended_ = false;
  bool stopped_at_loss_ = false;         ///< RecoveryPolicy::kPointInTime met one
  bool newest_lost_ = false;             ///< the newest segment is there and has no header
  std::uint64_t stopped_at_offset_ = 0;  ///< end of what has been set aside of that segment
  Sequence highest_seen_ = 0;            // of any event, applied or not
  std::uint64_t total_bytes_ = 0, done_bytes_ = 0, told_bytes_ = 0;
  // where the event at hand stands
  std::string file_;
  std::uint64_t frame_offset_ = 0;
  bool from_ring_ = false;
};

}  // namespace daruma
