// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "recovery/log_replayer.h"

namespace daruma {

QuarantineEntry LogReplayer::evidence(const RecoveryFinding& finding) {
  QuarantineEntry aside;
  aside.case_name = finding.case_name;
  aside.file = finding.file;
  aside.offset = finding.offset;
  aside.bytes = finding.bytes;
  aside.first_sequence = finding.first_sequence;
  aside.last_sequence = finding.last_sequence;
  aside.verdict = finding.verdict;
  aside.proof = finding.proof;
  return aside;
}

void LogReplayer::keep_copies_too(const Found& segment, std::size_t before) {
  const std::vector<std::string> files = segment_files(segment.number, segment.sides);
  const std::size_t after = out_.set_aside.size();
  for (std::size_t i = before; i < after && files.size() > 1; ++i) {
    if (out_.set_aside[i].contents || out_.set_aside[i].entry.file != files[0]) continue;
    SetAside copy = out_.set_aside[i];
    copy.entry.file = files[1];
    out_.set_aside.push_back(std::move(copy));
  }
}

StretchFacts LogReplayer::facts_of(const Found& segment, const SegmentScan& scan, const Met& met,
                                   Sequence known_last) const {
  StretchFacts facts;
  facts.header = met.kind;
  facts.payload = met.payload;
  facts.footprint = met.footprint ? FootprintState::kIntact : FootprintState::kGone;
  facts.first = std::max(met.first, out_.last + 1);
  facts.last = known_last;
  facts.begin = met.offset;
  for (const FrameEvidence& later : scan.later) {
    if (later.offset <= met.offset) continue;
    facts.later_frame_end = std::max(facts.later_frame_end, later.offset + later.bytes);
    facts.later_watermark = std::max(facts.later_watermark, later.watermark);
  }
  facts.later_trace_end = scan.later_trace_end > met.offset ? scan.later_trace_end : 0;
  facts.successor_start = segment.anew_from;
  facts.snapshot_durable = input_.snapshot_durable;
  facts.snapshot_sequence = input_.snapshot_sequence;
  facts.boot = boot_ == 0 || !segment.header || segment.header->boot == 0 ? Boot::kUnknown
               : segment.header->boot == boot_                            ? Boot::kSame
                                                                          : Boot::kOther;
  if (segment.header) {
    facts.later_watermark = std::max(facts.later_watermark, segment.header->prepared_sequence);
    facts.window_bytes = segment.header->window_bytes;
    facts.ring_used = segment.header->tail_nonce != 0;
    if (tail_.status.ok() && tail_.header.nonce == segment.header->tail_nonce) {
      facts.ring_durable = tail_.mark_known ? tail_.durable_sequence : 0;
      facts.ring_whole = tail_.whole && tail_.mark_known;
      if (!ring_.empty()) {
        facts.ring_first = ring_.begin()->first;
        facts.ring_last = ring_last_;
      }
    }
  }
  return facts;
}

void LogReplayer::judge_stretch(const Found& segment, const SegmentScan& scan, const Met& met, Sequence known_last) {
  const std::string file = segment_files(segment.number, segment.sides).front();
  StretchFacts facts = facts_of(segment, scan, met, known_last);
  for (;;) {
    const std::size_t aside_before = out_.set_aside.size();
    facts.known_through = known_through(facts.first, relative(segment.number));
    const Assessment judged = assess(facts);
    const VerdictCase& row = *judged.row;
    // What a file that is gone proves, it alone may have held durably.
    if (segment.anew_from == segment.successor_start)
      prove(std::min(judged.proven_through, std::max(out_.last, facts.last)));
    if (judged.healed_first <= judged.healed_last) {
      const std::string of_segment = std::exchange(file_, tail_file());
      const auto behind = ring_.upper_bound(judged.healed_last);
      for (auto at = ring_.lower_bound(judged.healed_first); at != behind; ++at) {
        if (out_.last >= at->first || stopped_at_loss_) continue;
        from_ring_ = true;
        take_ring_event({at->first, at->second}, {});
        from_ring_ = false;
      }
      file_ = of_segment;
    }
    if (stopped_at_loss_) stopped_at_offset_ = met.offset;  // by an event of the ring
    if (out_.attempts) out_.attempts->rest();
    const bool quiet = row.decision == Decision::kApply || row.decision == Decision::kEndOfLog ||
                       row.decision == Decision::kStaleIgnore;
    if (!quiet) {
      RecoveryFinding finding;
      finding.case_name = row.name;
      finding.file = file;
      finding.offset = met.offset;
      finding.bytes = met.bytes;
      finding.first_sequence = facts.first;
      finding.last_sequence = judged.settled_through ? judged.settled_through : facts.last;
      finding.verdict = name(row.verdict);
      finding.proof = name(judged.evidence.proof);
      finding.action = name(row.decision);
      if (judged.healed_first <= judged.healed_last) {
        ++out_.healed_sum.stretches;
        out_.healed_sum.events += judged.healed_last + 1 - judged.healed_first;
      }
      if (row.decision == Decision::kTornTailDiscard) {
        ++out_.discarded_sum.stretches;
        out_.discarded_sum.bytes += met.bytes;
        if (met.bytes > 0) out_.set_aside.push_back({evidence(finding), std::nullopt});
      }
      if (loses(row.decision)) lose(judged, met, relative(segment.number), finding);
      keep_copies_too(segment, aside_before);
      out_.findings.push_back(std::move(finding));
    }
    if (row.decision == Decision::kEndOfLog || row.decision == Decision::kTornTailDiscard ||
        row.decision == Decision::kStaleIgnore) {
      if (segment.successor_start == 0) ended_ = true;
      return;
    }
    if (stopped_at_loss_) return;
    const Sequence through = judged.settled_through ? judged.settled_through : facts.last;
    out_.last = std::max(out_.last, through);
    if (through == 0) return;
    // An open end is settled too where the ring is whole; where it is hurt, more than it still holds may have been
    // there.
    const bool open_end = facts.last == 0 && facts.ring_used && !facts.ring_whole;
    if (through >= facts.last && !open_end) return;
    facts.first = through + 1;
  }
}

void LogReplayer::poison(Sequence sequence, std::string_view event, Payload payload, std::string_view frame_footprint,
                         const Status& why) {
  Met met;
  met.stretch = true;
  met.payload = payload;
  met.first = met.last = sequence;
  met.offset = frame_offset_;
  met.bytes = event.size();
  // The event's own keys, unless looking for them is what kills; else those of its whole frame.
  if (payload == Payload::kKillsRecovery && out_.attempts->deaths(sequence) == Attempts::kDeathsMax) {
    if (Result<Footprint> own = footprint(event); own.ok()) met.footprint = std::move(*own);
  }
  if (!met.footprint && !frame_footprint.empty()) {
    if (Result<Footprint> whole = decode_footprint(frame_footprint); whole.ok()) met.footprint = std::move(*whole);
  }
  StretchFacts facts;
  facts.header = Header::kOk;
  facts.payload = payload;
  facts.footprint = met.footprint ? FootprintState::kIntact : FootprintState::kGone;
  facts.first = facts.last = sequence;
  facts.known_through = known_through(sequence, file_);
  if (payload == Payload::kUndecodable && !from_ring_ && ring_.contains(sequence)) {
    facts.ring_used = true;
    facts.ring_first = facts.ring_last = sequence;
  }
  const Assessment judged = assess(facts);
  RecoveryFinding finding;
  finding.case_name = judged.row->name;
  finding.file = file_;
  finding.offset = met.offset;
  finding.bytes = met.bytes;
  finding.first_sequence = finding.last_sequence = sequence;
  finding.verdict = name(judged.row->verdict);
  finding.proof = name(judged.evidence.proof);
  finding.action = name(judged.row->decision);
  finding.detail = why.message();
  if (judged.row->decision == Decision::kHealFromRing) {
    ++out_.healed_sum.stretches;
    ++out_.healed_sum.events;
    from_ring_ = true;
    take_ring_event({sequence, ring_.at(sequence)}, frame_footprint);
    from_ring_ = false;
  } else if (loses(judged.row->decision)) {
    lose(judged, met, file_, finding, std::string(event));
  }
  out_.findings.push_back(std::move(finding));
  if (!stopped_at_loss_) out_.last = sequence;
}

void LogReplayer::lose_unlogged(Sequence first, Sequence last, const std::string& file, const std::string& detail,
                                const std::optional<Footprint>& footprint, bool end_known) {
  const Sequence known = known_through(first, file);
  RecoveryFinding finding;
  finding.case_name = "log_missing";
  finding.file = file;
  finding.first_sequence = first;
  finding.last_sequence = last;
  finding.verdict = "corrupt";
  finding.action = known >= last ? "step_over" : "missing_range";
  finding.detail = detail;
  out_.findings.push_back(finding);
  if (known < last) {
    ++out_.lost_sum.stretches;
    out_.lost_sum.events += last + 1 - first;
    if (input_.stop_at_loss) {
      ended_ = stopped_at_loss_ = true;
      highest_seen_ = std::max(highest_seen_, last);
      return;
    }
    DamageEntry entry;
    entry.sequence_lo = first;
    entry.sequence_hi = end_known ? last : last + 1;
    entry.cause = finding.case_name;
    entry.file = file;
    lose_keys(std::move(entry), footprint);
  }
  out_.last = std::max(out_.last, last);
}

/// Of `footprint`; without one, every key.
void LogReplayer::lose_keys(DamageEntry entry, const std::optional<Footprint>& footprint) {
  if (!footprint || footprint->everything) {
    out_.lost.push_back(std::move(entry));
    return;
  }
  const std::size_t before = out_.lost.size();
  DamageEntry none = entry;
  none.accepted = true;
  if (!footprint->keys.empty()) {
    entry.keys = DamageEntry::Keys::kHashes;
    entry.hashes = footprint->keys;
    out_.lost.push_back(entry);
  }
  entry.hashes.clear();
  entry.keys = DamageEntry::Keys::kRange;
  for (const FootprintRange& range : footprint->ranges) {
    if (!range.end.empty() && range.end <= range.begin) {  // erased nothing
      out_.lost_marks.emplace_back(entry.sequence_hi, range);
      continue;
    }
    entry.keyspace = range.keyspace;
    entry.begin = range.begin;
    entry.end = range.end.empty() ? std::nullopt : std::optional(range.end);
    out_.lost.push_back(entry);
  }
  if (out_.lost.size() == before) out_.lost.push_back(std::move(none));  // concerns no key, and is known from now on
}

void LogReplayer::lose(const Assessment& judged, const Met& met, const std::string& file, RecoveryFinding& finding,
                       std::optional<std::string> contents) {
  if (judged.lost_first > judged.lost_last && !judged.lost_end_unknown) return;
  DamageEntry entry;
  entry.sequence_lo = judged.lost_first;
  entry.sequence_hi = std::max(judged.lost_last, judged.lost_first);
  entry.cause = judged.row->name;
  entry.file = file;
  ++out_.lost_sum.stretches;
  out_.lost_sum.events += entry.sequence_hi + 1 - entry.sequence_lo;
  out_.lost_sum.bytes += met.bytes;
  const bool contents_given = contents.has_value();
  if (met.bytes > 0) {
    QuarantineEntry aside = evidence(finding);
    aside.first_sequence = entry.sequence_lo;
    aside.last_sequence = entry.sequence_hi;
    out_.set_aside.push_back({std::move(aside), std::move(contents)});
  }
  if (judged.evidence.ring == RingCopy::kDamaged && tail_nonce_ != 0) {
    QuarantineEntry ring;
    ring.case_name = finding.case_name;
    ring.file = tail_file();
    ring.bytes = 2 * tail_half_bytes(tail_.header.capacity);
    ring.first_sequence = entry.sequence_lo;
    ring.verdict = finding.verdict;
    out_.set_aside.push_back({std::move(ring), std::nullopt});
  }
  if (input_.stop_at_loss) {  // the state before it is whole: nothing is in doubt
    ended_ = stopped_at_loss_ = true;
    highest_seen_ = std::max(highest_seen_, entry.sequence_hi);
    // One event of a frame has its own bytes set aside; the frame holds more.
    if (!from_ring_) stopped_at_offset_ = contents_given ? met.offset : met.offset + met.bytes;
    return;
  }
  out_.last = std::max(out_.last, entry.sequence_hi);
  if (judged.lost_end_unknown) ++entry.sequence_hi;
  lose_keys(std::move(entry), met.footprint);
}

}  // namespace daruma
