// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>
#include <set>
#include <tuple>

#include "base/status_macros.h"
#include "event/event.h"
#include "recovery/log_replayer.h"
#include "wal/read_ahead.h"

namespace daruma {
namespace {

constexpr std::uint64_t kProgressBytes = 1 << 20;  // a few milliseconds of replay
constexpr Sequence kWorthAThread = 256;            // events

Header header_of(Stop stop) {
  switch (stop) {
    case Stop::kZeroes:
    case Stop::kEndOfSegment:
    case Stop::kSealed: return Header::kAbsent;
    case Stop::kStaleFrame:
    case Stop::kForeignFrame: return Header::kForeign;
    case Stop::kNoise: return Header::kNoise;
    case Stop::kSequenceGap: return Header::kGap;
    // A segment has its size before its name, so no crash makes it short: what is gone may have held anything.
    case Stop::kShortFile:
    case Stop::kReadError: return Header::kUnreadable;
    case Stop::kBadHeader:
    case Stop::kBadFootprint:
    case Stop::kBadPayload: return Header::kBad;
  }
  return Header::kBad;
}

}  // namespace

bool given_up_for_good(const DamageEntry& entry) {
  return entry.cause.starts_with("killer_") || entry.cause == kPointInTimeCause;
}

LogReplayer::LogReplayer(Storage& storage, const LogReplayInput& input, const ApplyEvents& apply)
    : storage_(storage), input_(input), apply_(apply), boot_(boot_hash(storage.boot_id())) {
  if (!input_.known) return;
  for (const DamageEntry& entry : input_.known->entries()) {
    if (given_up_for_good(entry)) given_up_.emplace_back(entry.sequence_lo, entry.sequence_hi);
  }
}

Result<LogReplay> LogReplayer::run() {
  out_.store = input_.store;
  out_.last = highest_seen_ = input_.snapshot_sequence;
  out_.proven = std::max(input_.snapshot_sequence, input_.snapshot_durable);
  DARUMA_TRY(find_segments());
  DARUMA_TRY(take_ring());
  if (out_.store && !input_.attempts_directory.empty()) {
    out_.attempts = std::make_shared<Attempts>(storage_, input_.attempts_directory, *out_.store, boot_);
  }
  (void)reach();
  heed_what_is_gone();
  for (const Found& segment : segments_) DARUMA_TRY(read_one(segment));
  finish();
  name_predecessor();
  return std::move(out_);
}

Status LogReplayer::read_one(const Found& segment) {
  if (out_.reached) return {};
  given_anew_from_ = segment.anew_from;
  if (segment.header) {
    out_.segments.push_back(
        {segment.number, segment.header->start_sequence, segment.bytes_min, segment.sides, segment.anew_from});
    const Sequence start = segment.header->start_sequence;
    // One that a successor begins below is given up whole, and proves nothing of the numbers that were given anew.
    if (!is_given_up(segment)) {
      prove(start - 1);
      prove(segment.header->prepared_sequence);
      if (!ended_ && start > out_.last + 1)
        DARUMA_TRY(lose_before(segment, "no log file that is left holds these events"));
      if (reach()) return {};
    }
  }
  if (segment.header && segment.successor_start != 0 && segment.successor_start <= input_.snapshot_sequence + 1)
    return {};  // all in the snapshot
  if (!segment.header) {
    DARUMA_TRY(lost_header(segment));
    done_bytes_ += segment.file_bytes;
    return {};
  }
  if (ended_ && !stopped_at_loss_) return {};
  if (segment.successor_start != 0)
    prove(segment.successor_start - 1);  // before its events are read, or each would be copied
  std::vector<Met> met;
  bool anomaly = false;
  file_ = relative(segment.number);
  const auto take = [&](const FrameView& frame) {
    highest_seen_ = std::max(highest_seen_, frame.header.last_sequence);
    out_.last_wall_ns = std::max(out_.last_wall_ns, frame.header.wall_ns);
    if (stopped_at_loss_ || out_.reached) return;
    if (frame.gaps_before != 0) anomaly = true;
    if (!frame.header.has_events()) {
      if (!anomaly) prove(frame.header.watermark);
      return;
    }
    if (!anomaly) {
      take_frame(frame.header, frame.payload, frame.footprint);
      progress(done_bytes_ + frame.header.offset + frame.header.frame_bytes);
    } else {
      Met m;
      m.first = frame.header.first_sequence;
      m.last = frame.header.last_sequence;
      m.header = frame.header;
      m.offset = frame.header.offset;
      m.events.assign(frame.payload);
      m.encoded_footprint.assign(frame.footprint);
      met.push_back(std::move(m));
    }
  };
  const std::vector<std::string> files = segment_files(segment.number, segment.sides);
  SegmentFiles paths;
  for (const std::string& file : files) paths.push_back(input_.directory + "/" + file);
  Enough enough = end_of_interest(segment);
  enough.known = input_.snapshot_sequence;
  const bool short_one = enough.sequence != 0 && enough.sequence <= out_.last + kWorthAThread;
  SegmentScan scan = input_.read_ahead && !short_one
                         ? read_segment_ahead(storage_, paths, out_.store, take, enough, input_.beside_reading)
                         : read_segment(storage_, paths, out_.store, take, enough);
  out_.bytes_read += scan.bytes_read;
  done_bytes_ += segment.file_bytes;
  progress(done_bytes_);
  if (stops_the_start(scan.status)) return scan.status;
  for (const HealedFrame& frame : scan.healed) {
    if (out_.reached && frame.header.first_sequence > out_.last) continue;
    RecoveryFinding& finding = healed("frame_healed", files[scan.files[frame.file].path], frame.damaged_at,
                                      frame.from_copy ? "from_its_copy" : "from_its_parity");
    finding.bytes = frame.header.offset + frame.header.frame_bytes - frame.damaged_at;
    finding.first_sequence = frame.header.first_sequence;
    finding.last_sequence = frame.header.last_sequence;
    out_.log_hurt = true;
  }
  std::set<std::size_t> read;
  for (const SegmentScan::FileScan& file : scan.files) {
    read.insert(file.path);
    if (!scan.header || file.header_copies == 2) continue;
    healed("segment_header_healed", files[file.path], 0,
           file.header_copies == 1 ? "from_its_other_copy" : "from_its_copy")
        .bytes = kSegmentFramesAt;
    out_.log_hurt = true;
  }
  for (std::size_t i = 0; i < files.size() && scan.header; ++i) {
    if (!read.contains(i)) missing_copy(files[i], "cannot be opened");
  }
  for (const FrameEvidence& later : scan.later) highest_seen_ = std::max(highest_seen_, later.last_sequence);
  if (stopped_at_loss_) {
    set_aside_behind_the_gap(segment, kSegmentFramesAt, scan);
    return {};
  }
  if (!scan.header) {  // it was there a moment ago
    Found gone = segment;
    gone.unreadable = scan.status;
    return lost_header(gone);
  }
  DARUMA_TRY(ask_next(segment, scan));
  for (const PoisonedFrame& poisoned : scan.poisoned) {
    Met m;
    m.stretch = true;
    m.kind = Header::kOk;
    m.payload = poisoned.unreadable ? Payload::kUnreadable : Payload::kBad;
    m.footprint = poisoned.footprint;
    m.first = poisoned.header.first_sequence;
    m.last = poisoned.header.last_sequence;
    m.offset = poisoned.header.offset;
    m.bytes = poisoned.header.frame_bytes;
    met.push_back(std::move(m));
  }
  for (const LogGap& gap : scan.gaps) {
    Met m;
    m.stretch = true;
    m.kind = header_of(gap.kind);
    if (gap.kind != Stop::kSequenceGap && of_one_numbering(segment, scan, gap.last_sequence)) told_of(m, gap.footprint);
    m.first = gap.first_sequence;
    m.last = gap.last_sequence;
    m.offset = gap.offset;
    m.bytes = gap.end_offset - gap.offset;
    met.push_back(std::move(m));
  }
  std::sort(met.begin(), met.end(), [](const Met& a, const Met& b) { return a.offset < b.offset; });
  DARUMA_TRY(settle_segment(segment, scan, met));
  any_read_ = any_read_ || !is_given_up(segment);
  if (stopped_at_loss_) set_aside_behind_the_gap(segment, stopped_at_offset_, scan);
  return {};
}

/// Damage that costs nothing: told, and counted.
RecoveryFinding& LogReplayer::healed(const char* what, const std::string& file, std::uint64_t offset,
                                     const char* action) {
  RecoveryFinding finding;
  finding.case_name = what;
  finding.file = file;
  finding.offset = offset;
  finding.verdict = name(Verdict::kHealed);
  finding.action = action;
  ++out_.healed_sum.stretches;
  return out_.findings.emplace_back(std::move(finding));
}

/// Where reading a segment may stop as long as nothing is wrong with it. The ring of a process that was killed tells
/// what is durable and has the rest; only an older copy of it leaves whole frames behind.
Enough LogReplayer::end_of_interest(const Found& segment) const {
  const Sequence behind_target = input_.target.by_sequence() ? input_.target.sequence + 1 : kMaxSequence;
  if (segment.successor_start != 0) return {std::min(segment.successor_start, behind_target), true};
  if (input_.target.by_sequence()) return {behind_target, true};
  const bool ring_tells =
      tail_.status.ok() && tail_.whole && out_.same_boot && segment.header->tail_nonce == tail_nonce_;
  if (!ring_tells) return {};
  return {std::max(tail_.durable_sequence, segment.header->prepared_sequence) + 1};
}

/// Whether it held events is told by what stands around it; only as the newest, with nothing behind it, may it hide any
/// number of them.
Status LogReplayer::lost_header(const Found& segment) {
  RecoveryFinding finding;
  finding.case_name = "unreadable_segment";
  finding.file = segment_files(segment.number, segment.sides).front();
  finding.bytes = segment.file_bytes;
  finding.verdict = "corrupt";
  finding.action = "judged_by_its_neighbours";
  finding.detail = segment.unreadable.to_string();
  if (segment.file_bytes > 0) {
    QuarantineEntry aside = evidence(finding);
    aside.first_sequence = out_.last + 1;  // the first that it may have held
    out_.set_aside.push_back({std::move(aside), std::nullopt});
    keep_copies_too(segment, out_.set_aside.size() - 1);
  }
  out_.findings.push_back(std::move(finding));
  if (segment.successor_start == 0) {
    newest_lost_ = true;  // also where the log seemed to end before it: it had its name because it held something
  } else if (const Found* next = next_of(segment); next && !ended_ && segment.successor_start > out_.last + 1) {
    DARUMA_TRY(lose_before(*next, "the headers of the segment are lost"));
  }
  return {};
}

Status LogReplayer::settle_segment(const Found& segment, const SegmentScan& scan, std::vector<Met>& met) {
  bool behind_tear = false;
  for (Met& m : met) {
    if (ended_) {
      if (!m.stretch && !stopped_at_loss_ && !out_.reached &&
          (segment.successor_start == 0 || m.first < segment.successor_start) && m.first > out_.last) {
        ++out_.discarded_sum.stretches;
        out_.discarded_sum.events += m.last + 1 - m.first;
      }
      continue;
    }
    if (!m.stretch) {
      if (behind_tear) continue;
      take_frame(m.header, m.events, m.encoded_footprint);
      prove(std::min(m.header.watermark, out_.last));
    } else if (m.last >= m.first) {
      behind_tear = behind_tear || may_be_tear(segment, scan, m);
      if (m.last <= out_.last) continue;
      judge_stretch(segment, scan, m, m.last);
      (void)reach();
    }
  }
  if (scan.header) read_.push_back({segment.number, out_.last, scan.last_hash, scan.header->own_from});
  if (ended_) return {};
  // Behind the last frame: the end of the log, unless something proves that more was there.
  const Found* next = next_of(segment);
  Sequence expected_through = 0;
  if (segment.anew_from > 0) expected_through = segment.anew_from - 1;
  if (segment.anew_from != 0 && out_.last >= expected_through) return {};
  if (segment.successor_start == 0 && ring_of_another() && tail_.whole) return {};  // it knows what was there
  if (segment.successor_start == 0 && scan.next_segment != 0) {
    // Sealed, and the segment that the seal names is not there.
    Met m;
    m.stretch = true;
    m.kind = Header::kUnreadable;
    m.first = out_.last + 1;
    m.offset = scan.end_offset;
    judge_stretch(segment, scan, m, 0);
    return {};
  }
  Met m;
  m.stretch = true;
  m.kind = header_of(scan.stop);
  m.first = out_.last + 1;
  m.last = expected_through;
  if (next != nullptr && of_one_numbering(segment, scan, out_.last)) {
    DARUMA_TRY_ASSIGN(std::optional<Footprint> footprint, footprint_before(*next, m.first, m.last));
    told_of(m, std::move(footprint));
  }
  m.offset = scan.stop_offset;
  judge_stretch(segment, scan, m, expected_through);
  return {};
}

void LogReplayer::take_frame(const FrameHeader& header, std::string_view raw, std::string_view footprint) {
  const auto anew = [&](Sequence s) { return given_anew_from_ != 0 && s >= given_anew_from_; };
  if (anew(header.first_sequence)) return;  // behind a tear
  out_.earlier.keep(header.first_sequence, header.last_sequence, footprint);
  prove(std::min(header.watermark, out_.last));
  if (header.last_sequence <= out_.last || reach_before(std::max(header.first_sequence, out_.last + 1), header.wall_ns))
    return;
  frame_offset_ = header.offset;
  admitted_.clear();
  for_each_record(header, raw, [&](const WalRecord& record) {
    if (record.sequence > out_.last && !anew(record.sequence) && !ended_ && admit(record, footprint))
      admitted_.push_back(record);
    (void)reach();
  });
  apply(admitted_);
  if (out_.attempts) out_.attempts->rest();
  prove(std::min(header.watermark, out_.last));
}

bool LogReplayer::reach() { return reach_before(out_.last + 1, std::numeric_limits<std::int64_t>::min()); }

bool LogReplayer::reach_before(Sequence next, std::int64_t wall_ns) {
  if (next > input_.target.sequence || wall_ns > input_.target.wall_ns) out_.reached = ended_ = true;
  return out_.reached;
}

/// The ring goes with the start that made it, so what is taken from it is written anew, with all that follows, even
/// where something proves that it once was durable.
void LogReplayer::take_ring_event(const WalRecord& record, std::string_view frame_footprint) {
  if (reach_before(record.sequence, std::numeric_limits<std::int64_t>::min())) return;
  if (record.sequence <= out_.proven) {
    if (persist_from_ == 0) persist_from_ = record.sequence;
    out_.proven = record.sequence - 1;
  }
  if (admit(record, frame_footprint)) apply({&record, 1});
}

bool LogReplayer::admit(const WalRecord& record, std::string_view frame_footprint) {
  const auto& [sequence, event] = record;
  if (!given_up_.empty() && given_up(sequence)) {
    out_.last = sequence;
    return false;
  }
  if (out_.attempts) {
    if (input_.note_attempts) {
      out_.attempts->begin();
      out_.attempts->advance(sequence);
    }
    if (out_.attempts->deaths(sequence) >= Attempts::kDeathsMax) {
      poison(sequence, event, Payload::kKillsRecovery, frame_footprint,
             Status(Code::kDataLoss,
                    "replaying this event ended " + std::to_string(out_.attempts->deaths(sequence)) + " starts"));
      return false;
    }
  }
  if (Status decodes = check_event(event); !decodes.ok()) {
    poison(sequence, event, Payload::kUndecodable, frame_footprint, decodes);
    return false;
  }
  keep(sequence, event);
  out_.last = sequence;
  if (input_.known && !input_.known->empty()) applied(record);
  ++out_.events_replayed;
  out_.bytes_replayed += event.size();
  return true;
}

void LogReplayer::applied(const WalRecord& record) {
  if (record.event == EventBuilder().bytes()) return;
  if (applied_.empty() || applied_.back().last + 1 != record.sequence || applied_.back().file != file_)
    applied_.push_back({record.sequence, record.sequence, file_});
  else
    ++applied_.back().last;
}

/// From one file: where nothing told how many were lost, the next file gave the last number of the entry anew. Not what
/// was accepted: it stays known until the log is let go of.
void LogReplayer::find_again() {
  if (!input_.known) return;
  for (const DamageEntry& entry : input_.known->entries()) {
    const bool of_log = std::any_of(kLogDirectories.begin(), kLogDirectories.end(),
                                    [&](std::string_view directory) { return entry.file.starts_with(directory); });
    const bool all = std::any_of(applied_.begin(), applied_.end(), [&](const auto& stretch) {
      return stretch.first <= entry.sequence_lo && entry.sequence_hi <= stretch.last;
    });
    if (of_log && all && !entry.accepted && !given_up_for_good(entry)) out_.found_again.push_back(entry.id);
  }
}

bool LogReplayer::given_up(Sequence sequence) const {
  return std::any_of(given_up_.begin(), given_up_.end(),
                     [&](const auto& range) { return range.first <= sequence && sequence <= range.second; });
}

/// The end of the known loss that holds `sequence`. What was in no file, or was given up, is known by its numbers
/// alone, in whichever file they are missed: a start that takes it for a new loss would tell it again, or stop there
/// again and give up what was written since.
Sequence LogReplayer::known_through(Sequence sequence, const std::string& file) const {
  Sequence through = 0;
  if (input_.known) {
    through = std::max(input_.known->known_through(sequence, file), input_.known->known_through(sequence, whole_log()));
  }
  for (const auto& [first, last] : given_up_) {
    if (first <= sequence && sequence <= last) through = std::max(through, last);
  }
  return through;
}

/// What is left in the ring, what is known to be missing behind the end, and what has to be persisted.
void LogReplayer::finish() {
  given_anew_from_ = 0;
  find_again();
  if (out_.reached) {
    out_.last = std::min(out_.last, input_.target.sequence);  // a loss may go on behind it
    out_.proven = std::min(out_.proven, out_.last);
    return;
  }
  if (!stopped_at_loss_) {
    if (ring_of_another() && tail_.durable_sequence > out_.last) {
      lose_unlogged(out_.last + 1, tail_.durable_sequence, tail_file(),
                    "the ring says that these were durable, and no log file holds them", std::nullopt);
      newest_lost_ = false;
    }
  }
  if (!stopped_at_loss_ && !input_.target.by_time()) {  // what the ring alone has was written at no time that is known
    file_ = tail_file();
    frame_offset_ = 0;
    from_ring_ = true;
    for (auto at = ring_.find(out_.last + 1); at != ring_.end() && at->first == out_.last + 1 && !stopped_at_loss_;
         ++at) {
      take_ring_event({at->first, at->second}, {});
    }
    if (out_.attempts) out_.attempts->rest();
  }
  // The newest log file is gone: it, and only it, could hold more than anything tells of.
  const bool ring_tells = ring_of_another() && tail_.whole;
  if (!stopped_at_loss_ && !ring_tells && (newest_lost_ || lacks_newest())) {
    out_.last = std::max(out_.last, known_through(out_.last + 1, whole_log()));  // in front of it
    lose_unlogged(out_.last + 1, std::max(out_.last + 1, out_.proven),
                  relative(newest_lost_ ? segments_.back().number : lost_newest()),
                  "the newest log file is lost; at least these events may have stood in it", std::nullopt, false);
  }
  if (stopped_at_loss_) give_up_behind_the_gap();
  // Whatever is left of the log: an event that took one of these numbers would never be applied.
  for (const auto& [first, last] : given_up_) out_.last = std::max(out_.last, last);
  if (out_.attempts) out_.attempts->rest();
  prove(std::min(out_.proven, out_.last));
  out_.proven = std::min(std::max(out_.proven, input_.snapshot_sequence), out_.last);
  // Numbers that may have been lost are filled with empty events: the next segment has no holes, and they stay taken.
  Sequence next = out_.proven + 1;
  const auto fill = [&](Sequence through) {
    for (; next < through; ++next) out_.persist.emplace_back(next, std::string(EventBuilder().bytes()));
  };
  for (auto& [sequence, event] : unproven_) {
    fill(sequence);
    out_.persist.emplace_back(sequence, std::move(event));
    next = sequence + 1;
  }
  fill(out_.last + 1);
}

/// The state stays as it was before the first loss. The numbers behind it stay taken, and are marked as given up, so
/// that no later start applies what the log still holds of them.
void LogReplayer::give_up_behind_the_gap() {
  highest_seen_ = std::max({highest_seen_, out_.proven, ring_.empty() ? 0 : ring_.rbegin()->first, out_.last + 1});
  DamageEntry entry;
  entry.sequence_lo = out_.last + 1;
  entry.sequence_hi = highest_seen_;
  entry.cause = kPointInTimeCause;
  entry.file = whole_log();
  entry.accepted = true;
  out_.lost.push_back(std::move(entry));
  if (!ring_.empty() && ring_.rbegin()->first > out_.last) {
    QuarantineEntry ring;
    ring.case_name = kPointInTimeCause;
    ring.file = tail_file();
    ring.bytes = 2 * tail_half_bytes(tail_.header.capacity);
    ring.first_sequence = out_.last + 1;
    ring.last_sequence = ring_.rbegin()->first;
    ring.verdict = "corrupt";
    out_.set_aside.push_back({std::move(ring), std::nullopt});
  }
  const std::uint64_t events = highest_seen_ - out_.last;
  out_.lost_sum.events = std::max(out_.lost_sum.events, events);
  out_.last = highest_seen_;
}

void LogReplayer::set_aside_behind_the_gap(const Found& segment, std::uint64_t from, const SegmentScan& scan) {
  const std::uint64_t end = std::max({scan.end_offset, scan.later_trace_end, from});
  if (end == from) return;
  RecoveryFinding finding;
  finding.case_name = kPointInTimeCause;
  finding.file = segment_files(segment.number, segment.sides).front();
  finding.offset = from;
  finding.bytes = end - from;
  finding.first_sequence = out_.last + 1;
  finding.verdict = "corrupt";
  finding.action = "set_aside_behind_the_gap";
  out_.set_aside.push_back({evidence(finding), std::nullopt});
  keep_copies_too(segment, out_.set_aside.size() - 1);
  out_.findings.push_back(std::move(finding));
  ++out_.lost_sum.stretches;
  out_.lost_sum.bytes += end - from;
}

void LogReplayer::keep(Sequence sequence, std::string_view event) {
  if (sequence > out_.proven) unproven_.emplace_back(sequence, event);
}

void LogReplayer::prove(Sequence through) {
  if (given_anew_from_ != 0) through = std::min(through, given_anew_from_ - 1);
  if (persist_from_ != 0) through = std::min(through, persist_from_ - 1);
  out_.proven = std::max(out_.proven, through);
  while (!unproven_.empty() && unproven_.front().first <= out_.proven) unproven_.pop_front();
}

void LogReplayer::progress(std::uint64_t done) {
  if (!input_.on_progress || (done < told_bytes_ + kProgressBytes && done != total_bytes_)) return;
  told_bytes_ = done;
  input_.on_progress(done, std::max(done, total_bytes_));
}

Result<LogReplay> replay_log(Storage& storage, const LogReplayInput& input, const ApplyEvents& apply) {
  return LogReplayer(storage, input, apply).run();
}

}  // namespace daruma
