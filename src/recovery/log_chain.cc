// SPDX-License-Identifier: Apache-2.0
// What one segment says of another: which one it goes on from, and of a loss in front of it, whose keys it was.
#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "recovery/log_replayer.h"

namespace daruma {
namespace {

constexpr std::uint64_t kTellingBytes = 64 << 10;  // frames behind a loss, as long as they may tell of it

}  // namespace

/// The one that goes on behind `segment`; nullptr where there is none.
const LogReplayer::Found* LogReplayer::next_of(const Found& segment) const {
  const auto next = std::find_if(segments_.begin(), segments_.end(), [&](const Found& later) {
    return later.number > segment.number && later.header && !is_given_up(later);
  });
  return next != segments_.end() ? &*next : nullptr;
}

/// A file between them is gone: the later one names another predecessor, which is newer.
bool LogReplayer::lacks_between(const Found& segment, const Found& next) {
  return next.header->names_predecessor() && next.header->predecessor.number > segment.number;
}

bool LogReplayer::ring_is_named() const {
  return std::any_of(segments_.begin(), segments_.end(),
                     [&](const Found& segment) { return segment.header && segment.header->tail_nonce == tail_nonce_; });
}

/// The snapshot knows of a newer log file than there is, or something else of one where there is none.
bool LogReplayer::lacks_newest() const {
  const bool none = segments_.empty() && input_.started_before;
  return none || (input_.next_segment > 1 && next_found_ < input_.next_segment);
}

/// The ring is of a file that is gone.
bool LogReplayer::ring_of_another() const { return tail_.status.ok() && tail_.mark_known && !ring_is_named(); }

/// The newest log file is gone, or only its headers are.
bool LogReplayer::newest_is_gone() const {
  return (!segments_.empty() && !segments_.back().header) || lacks_newest() || ring_of_another();
}

/// What it is called, or would be.
std::uint64_t LogReplayer::lost_newest() const {
  if (!segments_.empty() && !segments_.back().header) return segments_.back().number;
  return std::max(next_found_ + 1, input_.next_segment) - 1;
}

/// The file behind `segment` is gone, or only its headers are.
bool LogReplayer::lacks_behind(const Found& segment) const {
  const Found* next = next_of(segment);
  return next != nullptr ? lacks_between(segment, *next) : newest_is_gone();
}

/// What stands behind a tear was given up, and its numbers were given anew in the next file. Where that is gone,
/// nothing says so: a stretch that nothing in its own segment proves durable may be a tear.
bool LogReplayer::may_be_tear(const Found& segment, const SegmentScan& scan, const Met& stretch) const {
  if (!lacks_behind(segment)) return false;
  const StretchFacts facts = facts_of(segment, scan, stretch, stretch.last);
  return facts.later_watermark < stretch.first && facts.later_frame_end <= facts.begin + facts.window_bytes;
}

/// Whether what `segment` holds up to `through` has its numbers for good: no file that is gone can have given them
/// anew.
bool LogReplayer::of_one_numbering(const Found& segment, const SegmentScan& scan, Sequence through) const {
  return !lacks_behind(segment) || through <= scan.max_watermark;
}

/// What the first frames of a segment tell of the events `first` to `last`, which stood in front of it.
Result<std::optional<Footprint>> LogReplayer::footprint_before(const Found& segment, Sequence first,
                                                               Sequence last) const {
  SegmentFiles paths;
  for (const std::string& file : segment_files(segment.number, segment.sides))
    paths.push_back(input_.directory + "/" + file);
  SegmentPart part{.place = {}, .through = kMaxSequence, .bytes_max = kTellingBytes};
  part.before = LogGap{.first_sequence = first, .last_sequence = last};
  const SegmentScan scan = read_segment(
      storage_, paths, out_.store, [](const FrameView&) {}, {}, &part);
  if (stops_the_start(scan.status)) return scan.status;
  return part.before->footprint;
}

/// Of the last losses in a segment, whose own frames may say nothing, the next one may.
Status LogReplayer::ask_next(const Found& segment, SegmentScan& scan) const {
  const Found* next = next_of(segment);
  if (next == nullptr) return {};
  bool told = true;  // what is further in front is not told of either
  const auto ask = [&](Sequence first, Sequence last, std::optional<Footprint>& footprint) -> Status {
    last = std::min(last, segment.anew_from - 1);
    if (footprint || first > last || !of_one_numbering(segment, scan, last)) return {};
    DARUMA_TRY_ASSIGN(footprint, footprint_before(*next, first, last));
    told = footprint.has_value();
    return {};
  };
  for (std::size_t i = scan.gaps.size(); told && i-- > 0;) {
    LogGap& gap = scan.gaps[i];
    DARUMA_TRY(ask(gap.first_sequence, gap.last_sequence, gap.footprint));
  }
  told = true;
  for (std::size_t i = scan.poisoned.size(); told && i-- > 0;) {
    PoisonedFrame& frame = scan.poisoned[i];
    DARUMA_TRY(ask(frame.header.first_sequence, frame.header.last_sequence, frame.footprint));
  }
  return {};
}

/// What stood in front of it, and in no file that is left.
Status LogReplayer::lose_before(const Found& segment, const char* why) {
  const Sequence last = segment.header->start_sequence - 1;
  std::optional<Footprint> footprint;
  // Else what was read may have been numbered anew.
  const Sequence own_from = segment.header->predecessor.own_from;
  if (!any_read_ || (own_from != 0 && own_from <= out_.last + 1)) {
    DARUMA_TRY_ASSIGN(footprint, footprint_before(segment, out_.last + 1, last));
  }
  lose_unlogged(out_.last + 1, last, whole_log(), why, footprint);
  return {};
}

/// The newest segment that begins below what is numbered next; of one that does not, and soon goes, its own. One that
/// is gone is named too, and its number is not given again: it may have given numbers anew.
void LogReplayer::name_predecessor() {
  const auto last_of = [&](const Found& segment) {
    const auto read =
        std::find_if(read_.begin(), read_.end(), [&](const Predecessor& one) { return one.number == segment.number; });
    const Sequence last = segment.successor_start == 0 ? out_.last : segment.successor_start - 1;
    return read != read_.end() ? *read : Predecessor{segment.number, last, 0, segment.header->own_from};
  };
  const auto begins_below = [&](const Found& segment) { return segment.header->start_sequence <= out_.proven; };
  for (const Found& segment : segments_) {
    if (!segment.header) continue;
    Predecessor one;
    if (begins_below(segment)) {
      one = last_of(segment);
    } else if (segment.header->names_predecessor()) {
      one = segment.header->predecessor;
      const bool goes = std::any_of(segments_.begin(), segments_.end(), [&](const Found& named) {
        return named.number == one.number && named.header && !begins_below(named);
      });
      if (goes) continue;
    }
    if (one.number >= out_.predecessor.number) out_.predecessor = one;
  }
  if (!newest_is_gone()) return;
  out_.predecessor = {lost_newest(), out_.last, 0, ring_of_another() ? tail_.header.own_from : 0};
  out_.next_segment = std::max(out_.next_segment, lost_newest() + 1);
}

/// A stretch whose keys a frame behind it tells is like a frame whose header and footprint are left.
void LogReplayer::told_of(Met& stretch, std::optional<Footprint> footprint) {
  if (!footprint) return;
  stretch.footprint = std::move(footprint);
  stretch.payload = stretch.kind == Header::kUnreadable ? Payload::kUnreadable : Payload::kBad;
  stretch.kind = Header::kOk;
}

}  // namespace daruma
