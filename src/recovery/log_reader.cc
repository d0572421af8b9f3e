// SPDX-License-Identifier: Apache-2.0
#include "recovery/log_reader.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/status_macros.h"
#include "event/event.h"
#include "snapshot/retention.h"

namespace daruma {
namespace {

constexpr std::uint64_t kAheadBytes = 1 << 20;  // of the log, read at once
constexpr const char* kUnknownCause = "log_damaged";

bool refused(Stop stop) { return stop == Stop::kReadError; }

}  // namespace

std::vector<LostEvents> lost_from_log(const DamageMap& damage) {
  std::vector<LostEvents> all;
  for (const DamageEntry& entry : damage.entries()) {
    if (!entry.file.starts_with(kRunDirectory))
      all.push_back({entry.sequence_lo, entry.sequence_hi, entry.cause, entry.file});
  }
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<LostEvents> apart;  // one loss may have an entry for each range of keys
  for (LostEvents& next : all) {
    if (!apart.empty()) next.first = std::max(next.first, apart.back().last + 1);
    if (next.first <= next.last) apart.push_back(std::move(next));
  }
  return apart;
}

Status LogReader::look() {
  DARUMA_TRY_ASSIGN(LogNow now, look_());
  now_ = std::move(now);
  // A segment that begins at or below what was read ahead, and was not durable then, has it anew.
  const LiveSegment* at = segment_of(position_);
  if (segment_ != 0 && (!at || at->number != segment_))
    leave_segment();
  else if (segment_ != 0)
    end_ = end_of(*at);
  return {};
}

void LogReader::leave_segment() {
  segment_ = 0;
  place_ = {};
  frames_.clear();
  records_.clear();
  holes_.clear();
  read_through_ = 0;
}

/// The last that begins at or below it: later ones begin behind it.
const LiveSegment* LogReader::segment_of(Sequence sequence) const {
  const auto at = std::find_if(now_.segments.rbegin(), now_.segments.rend(),
                               [&](const LiveSegment& segment) { return segment.start_sequence <= sequence; });
  return at == now_.segments.rend() ? nullptr : &*at;
}

/// Numbers from where a later segment begins were given anew there.
Sequence LogReader::end_of(const LiveSegment& segment) const {
  Sequence end = kMaxSequence;
  for (const LiveSegment& later : now_.segments) {
    if (later.number > segment.number) end = std::min<Sequence>(end, later.start_sequence - 1);
  }
  return end;
}

const LostEvents* LogReader::known_lost() const {
  const auto at = std::partition_point(now_.lost.begin(), now_.lost.end(),
                                       [&](const LostEvents& range) { return range.last < position_; });
  return at != now_.lost.end() && at->first <= position_ ? &*at : nullptr;
}

Status LogReader::truncated() const {
  Sequence oldest = now_.durable + 1;
  for (const LiveSegment& segment : now_.segments) oldest = std::min<Sequence>(oldest, segment.start_sequence);
  return {Code::kNotFound,
          "the log no longer holds event " + std::to_string(position_) + "; the oldest that it has is " +
              std::to_string(oldest),
          {.file = directory_, .sequence = oldest},
          "take a new view and go on behind it"};
}

Status LogReader::begin() {
  DARUMA_TRY(look());
  return position_ > now_.durable || segment_of(position_) ? Status() : truncated();
}

Result<std::optional<LogEntry>> LogReader::next() {
  LogEntry entry;
  for (;;) {
    if (position_ > now_.durable) {
      DARUMA_TRY(look());
      if (position_ > now_.durable) return std::optional<LogEntry>();
    }
    if (const LostEvents* known = known_lost())
      return std::optional(lost(std::min(known->last, now_.durable), known->cause, known->file));
    if (segment_ != 0 && position_ > end_) leave_segment();
    if (take_record(entry)) return std::optional(std::move(entry));
    DARUMA_TRY_ASSIGN(const bool passed, pass_hole(entry));
    if (passed) return std::optional(std::move(entry));
    DARUMA_TRY(read_on());
  }
}

LogEntry LogReader::lost(Sequence last, std::string cause, std::string file) {
  DARUMA_ASSERT(last >= position_);
  LogEntry entry;
  entry.first = position_;
  entry.last = last;
  entry.lost = std::move(cause);
  entry.file = std::move(file);
  position_ = last + 1;
  return entry;
}

bool LogReader::take_record(LogEntry& out) {
  for (; !frames_.empty(); frames_.pop_front(), records_.clear()) {
    const Frame& frame = frames_.front();
    if (frame.last < position_) continue;
    if (frame.first > position_) return false;
    if (records_.empty()) {
      FrameHeader header;
      header.first_sequence = frame.first;
      header.last_sequence = frame.last;
      for_each_record(header, frame.records, [this](const WalRecord& record) { records_.push_back(record); });
    }
    const WalRecord& record = records_[position_ - frame.first];
    DARUMA_ASSERT(record.sequence == position_);
    if (!check_event(record.event).ok()) {
      out = lost(position_, "undecodable_range", file_);
      return true;
    }
    out.first = out.last = position_++;
    out.wall_ns = frame.wall_ns;
    out.event = record.event;
    out.file = file_;
    return true;
  }
  return false;
}

/// What is missing before the frames at hand, or behind all that the segment has.
Result<bool> LogReader::pass_hole(LogEntry& out) {
  Sequence through = std::min({frames_.empty() ? read_through_ : frames_.front().first - 1, end_, now_.durable});
  if (segment_ == 0 || through < position_) return false;
  for (const Hole& hole : holes_) {
    if (!hole.refused || hole.last < position_) continue;
    if (hole.first > position_) {
      through = std::min(through, hole.first - 1);
      break;
    }
    const Where where{directory_ + "/" + file_, hole.offset, position_};
    leave_segment();  // what it gives now is read again
    return Status(Code::kIoError, "the device does not give the log from here on", where,
                  "try again; when the device has given it up for good, the next start of the store tells it as lost");
  }
  if (const auto known = std::find_if(now_.lost.begin(), now_.lost.end(),
                                      [&](const LostEvents& range) { return range.first > position_; });
      known != now_.lost.end())
    through = std::min(through, known->first - 1);
  out = lost(through, kUnknownCause, file_);
  return true;
}

SegmentScan LogReader::read_part(const LiveSegment& segment, SegmentPart& part) {
  frames_.clear();
  records_.clear();
  holes_.clear();
  read_through_ = 0;
  SegmentFiles files = segment_files(segment.number, segment.sides);
  file_ = files.front();
  for (std::string& file : files) file.insert(0, directory_ + "/");
  return read_segment(
      storage_, files, store_,
      [this](const FrameView& frame) {
        const FrameHeader& header = frame.header;
        if (!header.has_events() || header.last_sequence < position_) return;
        frames_.push_back(
            {header.first_sequence, header.last_sequence, header.wall_ns, header.offset, std::string(frame.payload)});
      },
      {}, &part);
}

/// Reads ahead in the segment that has the next event. What does not verify is read once more, past the page cache, and
/// counts only if its file was not given back meanwhile.
Status LogReader::read_on() {
  const LiveSegment* segment = segment_of(position_);
  if (!segment) {
    DARUMA_TRY(look());
    segment = segment_of(position_);
    if (!segment) return truncated();
  }
  if (segment->number != segment_) leave_segment();
  const Sequence through = std::min(now_.durable, end_of(*segment));
  const LiveSegment at = *segment;
  SegmentPart part;
  SegmentScan scan;
  for (const bool direct : {false, true}) {
    part = {.place = place_, .through = through, .bytes_max = kAheadBytes, .direct = direct};
    scan = read_part(at, part);
    if (is_of_the_process(scan.status) || scan.status.is(Code::kUnsupported)) return scan.status;
    const bool sound = part.rests && scan.gaps.empty() && scan.poisoned.empty();
    if (sound) break;
    DARUMA_TRY(look());
    const LiveSegment* now = segment_of(position_);
    if (!now) return truncated();
    if (now->number != at.number) return {};  // the caller comes back to here
  }
  segment_ = at.number;
  end_ = end_of(at);
  if (scan.status.is(Code::kIoError)) {
    leave_segment();
    return scan.status;
  }
  for (const PoisonedFrame& frame : scan.poisoned)
    holes_.push_back({frame.header.first_sequence, frame.header.last_sequence, frame.header.offset, frame.unreadable});
  for (const LogGap& gap : scan.gaps)
    holes_.push_back({gap.first_sequence, gap.last_sequence, gap.offset, refused(gap.kind)});
  if (part.rests) {
    read_through_ = part.place.expected - 1;
  } else {
    // Everything up to `through` was durable in this file: what it does not give is lost.
    read_through_ = through;
    const Sequence first = scan.header ? part.place.expected : position_;
    if (first <= through) holes_.push_back({first, through, scan.stop_offset, refused(scan.stop)});
  }
  std::sort(holes_.begin(), holes_.end(), [](const Hole& a, const Hole& b) { return a.first < b.first; });
  if (scan.header) place_ = part.place;
  return {};
}

}  // namespace daruma
