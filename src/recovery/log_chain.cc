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

/// Whether what `segment` holds up to `through` has its numbers for good: no file that is gone can have given them
/// anew.
bool LogReplayer::of_one_numbering(const Found& segment, const SegmentScan& scan, Sequence through) const {
  const Found* next = next_of(segment);
  return next == nullptr || !lacks_between(segment, *next) || through <= scan.max_watermark;
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
  const auto ask = [&](Sequence first, Sequence last, std::optional<Footprint>& footprint) -> Status {
    last = std::min(last, segment.successor_start - 1);
    if (footprint || first > last || !of_one_numbering(segment, scan, last)) return {};
    DARUMA_TRY_ASSIGN(footprint, footprint_before(*next, first, last));
    return {};
  };
  for (std::size_t i = next == nullptr ? 0 : scan.gaps.size(); i-- > 0;) {
    LogGap& gap = scan.gaps[i];
    DARUMA_TRY(ask(gap.first_sequence, gap.last_sequence, gap.footprint));
    if (!gap.footprint) break;
  }
  for (std::size_t i = next == nullptr ? 0 : scan.poisoned.size(); i-- > 0;) {
    PoisonedFrame& frame = scan.poisoned[i];
    DARUMA_TRY(ask(frame.header.first_sequence, frame.header.last_sequence, frame.footprint));
    if (!frame.footprint) break;
  }
  return {};
}

/// What stood in front of it, and in no file that is left.
Status LogReplayer::lose_before(const Found& segment, const char* why) {
  const Sequence last = segment.header->start_sequence - 1;
  std::optional<Footprint> footprint;  // what was read may have been numbered anew
  if (!any_read_) { DARUMA_TRY_ASSIGN(footprint, footprint_before(segment, out_.last + 1, last)); }
  lose_unlogged(out_.last + 1, last, whole_log(), why, footprint);
  return {};
}

/// The file behind a segment is gone. Events were taken from there up to where the next file begins, which nothing
/// proves durable, and which that one may have given anew: the entry outbids the last of them too.
void LogReplayer::doubt(Sequence first, Sequence last) {
  first = std::max(first, input_.snapshot_sequence + 1);
  if (first > last || input_.stop_at_loss) return;
  out_.earlier = EarlierFootprints();
  RecoveryFinding finding;
  finding.case_name = kUncertainCause;
  finding.file = whole_log();
  finding.first_sequence = first;
  finding.last_sequence = last;
  finding.verdict = name(Verdict::kUndecided);
  const bool known = known_through(first, whole_log()) >= last;
  finding.action = name(known ? Decision::kStepOver : Decision::kMissingRange);
  finding.detail = "a log file that is gone may have given these numbers to other events";
  out_.findings.push_back(std::move(finding));
  if (known) return;
  DamageEntry entry;
  entry.sequence_lo = first;
  entry.sequence_hi = last + 1;
  entry.cause = kUncertainCause;
  entry.file = whole_log();
  ++out_.lost_sum.stretches;
  out_.lost_sum.events += last + 1 - first;
  out_.lost.push_back(std::move(entry));
}

/// The file that was gone is there again: each of these events was taken, and nothing lacks in front of the segment
/// behind them.
bool LogReplayer::is_certain(const DamageEntry& doubted) const {
  Sequence next = doubted.sequence_lo;
  for (const Applied& stretch : applied_) {
    if (stretch.first <= next && next <= stretch.last) next = stretch.last + 1;
  }
  return next >= doubted.sequence_hi && std::any_of(segments_.begin(), segments_.end(), [&](const Found& segment) {
           const Found* behind = segment.header ? next_of(segment) : nullptr;
           return behind != nullptr && behind->header->start_sequence == doubted.sequence_hi &&
                  behind->header->predecessor.number == segment.number;
         });
}

/// The newest segment that begins below what is numbered next; of one that does not, and soon goes, its own.
void LogReplayer::name_predecessor() {
  const auto last_of = [&](const Found& segment) {
    const auto read =
        std::find_if(read_.begin(), read_.end(), [&](const Predecessor& one) { return one.number == segment.number; });
    const Sequence last = segment.successor_start == 0 ? out_.last : segment.successor_start - 1;
    return read != read_.end() ? *read : Predecessor{segment.number, last, 0};
  };
  for (const Found& segment : segments_) {
    const bool below = segment.header && segment.header->start_sequence <= out_.proven;
    if (!below && (!segment.header || !segment.header->names_predecessor())) continue;
    const Predecessor one = below ? last_of(segment) : segment.header->predecessor;
    if (one.number >= out_.predecessor.number) out_.predecessor = one;
  }
}

/// A stretch whose keys a frame behind it tells is like a frame whose header and footprint are left.
void LogReplayer::told_of(Met& stretch, std::optional<Footprint> footprint) {
  if (!footprint) return;
  stretch.footprint = std::move(footprint);
  stretch.payload = stretch.kind == Header::kUnreadable ? Payload::kUnreadable : Payload::kBad;
  stretch.kind = Header::kOk;
}

}  // namespace daruma
