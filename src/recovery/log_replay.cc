// SPDX-License-Identifier: Apache-2.0
#include "recovery/log_replay.h"

#include <algorithm>
#include <deque>
#include <map>

#include "base/status_macros.h"
#include "event/event.h"
#include "recovery/verdict.h"
#include "wal/wal_reader.h"

namespace daruma {
namespace {

/// One thing met while reading a segment, in order: a frame's events, or a stretch to judge.
struct Met {
  bool stretch = false;
  Sequence first = 0, last = 0;
  std::string events;  // raw records of a frame behind an anomaly
  FrameHeader header;
  // of a stretch
  Header kind = Header::kOk;
  Payload payload = Payload::kUnknown;
  std::optional<Footprint> footprint;
  std::uint64_t offset = 0, bytes = 0;
};

Header header_of(Stop stop) {
  switch (stop) {
    case Stop::kZeroes:
    case Stop::kEndOfSegment:
    case Stop::kShortFile:
    case Stop::kSealed: return Header::kAbsent;
    case Stop::kStaleFrame:
    case Stop::kForeignFrame: return Header::kForeign;
    case Stop::kNoise: return Header::kNoise;
    case Stop::kSequenceGap: return Header::kGap;
    case Stop::kReadError: return Header::kUnreadable;
    case Stop::kBadHeader:
    case Stop::kBadFootprint:
    case Stop::kBadPayload: return Header::kBad;
  }
  return Header::kBad;
}

class Replayer {
 public:
  Replayer(Storage& storage, const LogReplayInput& input, const std::function<void(std::span<const WalRecord>)>& apply)
      : storage_(storage), input_(input), apply_(apply), boot_(boot_hash(storage.boot_id())) {}

  Result<LogReplay> run();

 private:
  struct Found {
    std::uint64_t number;
    std::string path;
    std::uint64_t file_bytes;
    std::optional<SegmentHeader> header;
  };
  Status find_segments();
  Status read_one(std::size_t i);
  void take_ring();
  void take_frame(const Found& segment, const FrameHeader& header, std::string_view raw);
  bool admit(const WalRecord& record, const std::string& file, std::uint64_t offset);
  void take_ring_event(Sequence sequence, std::string_view event);
  void settle_segment(const Found& segment, const SegmentScan& scan, std::vector<Met>& met);
  bool judge_stretch(const Found& segment, const SegmentScan& scan, const Met& met, Sequence known_last);
  void lose(const Assessment& judged, const Met& met, const std::string& file, RecoveryFinding& finding);
  void keep(Sequence sequence, std::string_view event);
  void prove(Sequence through);
  [[nodiscard]] std::string relative(std::uint64_t number) const { return "wal/" + segment_name(number); }

  Storage& storage_;
  const LogReplayInput& input_;
  const std::function<void(std::span<const WalRecord>)>& apply_;
  const std::uint64_t boot_;
  LogReplay out_;
  std::vector<Found> segments_;
  TailScan tail_;
  std::map<Sequence, std::string_view> ring_;  // of the last segment's start
  Sequence ring_last_ = 0;
  std::uint64_t tail_nonce_ = 0;
  std::deque<std::pair<Sequence, std::string>> unproven_;
  std::vector<WalRecord> admitted_;  // of the frame being taken
  bool ended_ = false;
  Sequence successor_start_ = 0;  // of the segment after the one being read; 0: none
};

Status Replayer::find_segments() {
  Result<std::vector<DirectoryEntry>> names = storage_.list(input_.directory + "/wal");
  if (!names.ok()) return names.status().is(Code::kNotFound) ? Status() : names.status();
  for (const DirectoryEntry& entry : *names) {
    const std::optional<std::uint64_t> number = parse_segment_name(entry.name);
    if (!number) continue;
    Found found{*number, input_.directory + "/wal/" + entry.name, entry.bytes, std::nullopt};
    out_.next_segment = std::max(out_.next_segment, *number + 1);
    ++out_.files;
    Result<std::unique_ptr<File>> file = storage_.open(found.path, OpenMode::kRead);
    for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{kSectorBytes}}) {
      if (!file.ok() || found.header) break;
      std::string sector(kSectorBytes, '\0');
      Result<std::size_t> got = (*file)->read(at, sector);
      if (!got.ok() || *got < kSectorBytes) continue;
      Result<SegmentHeader> header = decode_segment_header(sector, at, out_.store ? out_.store : input_.store);
      if (header.status().is(Code::kUnsupported)) return header.status();
      if (header.ok() && header->number == *number) found.header = *header;
    }
    if (found.header && !out_.store) out_.store = found.header->store;
    segments_.push_back(std::move(found));
  }
  return {};
}

Result<LogReplay> Replayer::run() {
  out_.store = input_.store;
  out_.last = input_.snapshot_sequence;
  out_.proven = std::max(input_.snapshot_sequence, input_.snapshot_durable);
  DARUMA_TRY(find_segments());
  for (const Found& segment : segments_) {
    if (segment.header) tail_nonce_ = segment.header->tail_nonce;
  }
  take_ring();
  for (std::size_t i = 0; i < segments_.size(); ++i) DARUMA_TRY(read_one(i));
  if (!ended_ || !input_.stop_at_loss) {
    for (auto at = ring_.find(out_.last + 1); at != ring_.end() && at->first == out_.last + 1; ++at) {
      take_ring_event(at->first, at->second);
    }
  }
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
  return std::move(out_);
}

void Replayer::take_ring() {
  if (tail_nonce_ == 0) return;
  tail_ = read_tail(storage_, input_.directory, out_.store, tail_nonce_);
  if (!tail_.status.ok()) return;
  ++out_.files;
  out_.same_boot = boot_ != 0 && tail_.header.boot == boot_;
  for (const WalRecord& record : tail_.entries) ring_.emplace(record.sequence, record.event);
  for (const WalRecord& record : tail_.entries) {
    if (ring_last_ == 0 || record.sequence == ring_last_ + 1) ring_last_ = record.sequence;
  }
}

Status Replayer::read_one(std::size_t i) {
  const Found& segment = segments_[i];
  successor_start_ = 0;
  for (std::size_t j = i + 1; j < segments_.size() && successor_start_ == 0; ++j) {
    if (segments_[j].header) successor_start_ = segments_[j].header->start_sequence;
  }
  if (segment.header) {
    out_.segments.push_back({segment.number, segment.header->start_sequence, segment.file_bytes});
    prove(segment.header->start_sequence - 1);
    prove(segment.header->prepared_sequence);
  }
  if (successor_start_ != 0) prove(successor_start_ - 1);  // before its events are read, or each would be copied
  if (ended_) return {};
  if (segment.header && successor_start_ != 0 && successor_start_ <= input_.snapshot_sequence + 1)
    return {};  // all in the snapshot
  std::vector<Met> met;
  bool anomaly = false;
  const auto take = [&](const FrameView& frame) {
    if (frame.gaps_before != 0) anomaly = true;
    if (!frame.header.has_events()) {
      if (!anomaly) prove(frame.header.watermark);
      return;
    }
    if (!anomaly) {
      take_frame(segment, frame.header, frame.payload);
    } else {
      Met m;
      m.first = frame.header.first_sequence;
      m.last = frame.header.last_sequence;
      m.header = frame.header;
      m.offset = frame.header.offset;
      m.events.assign(frame.payload);
      met.push_back(std::move(m));
    }
  };
  const SegmentScan scan = read_segment(storage_, segment.path, out_.store, take, successor_start_);
  out_.bytes_read += scan.bytes_read;
  if (scan.status.is(Code::kUnsupported)) return scan.status;
  if (!scan.header) {
    RecoveryFinding finding;
    finding.case_name = "unreadable_segment";
    finding.file = relative(segment.number);
    finding.bytes = segment.file_bytes;
    finding.detail = scan.status.to_string();
    // Whether it held events is told by what stands around it: a hole is judged as the stretch before the next segment.
    out_.findings.push_back(std::move(finding));
    Met m;
    m.stretch = true;
    m.kind = Header::kUnreadable;
    m.first = out_.last + 1;
    m.last = successor_start_ > 0 ? successor_start_ - 1 : 0;
    m.bytes = segment.file_bytes;
    if (successor_start_ != 0 && m.last >= m.first) {
      SegmentScan none;
      judge_stretch(segment, none, m, m.last);
    }
    return {};
  }
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
    m.first = gap.first_sequence;
    m.last = gap.last_sequence;
    m.offset = gap.offset;
    m.bytes = gap.end_offset - gap.offset;
    met.push_back(std::move(m));
  }
  std::sort(met.begin(), met.end(), [](const Met& a, const Met& b) { return a.offset < b.offset; });
  settle_segment(segment, scan, met);
  return {};
}

void Replayer::settle_segment(const Found& segment, const SegmentScan& scan, std::vector<Met>& met) {
  for (Met& m : met) {
    if (ended_) {
      if (!m.stretch && (successor_start_ == 0 || m.first < successor_start_) && m.first > out_.last) {
        ++out_.discarded_sum.stretches;
        out_.discarded_sum.events += m.last + 1 - m.first;
      }
      continue;
    }
    if (!m.stretch) {
      take_frame(segment, m.header, m.events);
      prove(std::min(m.header.watermark, out_.last));
    } else if (m.last >= m.first && m.last > out_.last) {
      judge_stretch(segment, scan, m, m.last);
    }
  }
  if (scan.header) { out_.predecessor = {segment.number, out_.last, scan.last_hash}; }
  if (ended_) return;
  // Behind the last frame: the end of the log, unless something proves that more was there.
  Sequence expected_through = 0;
  if (successor_start_ > 0) expected_through = successor_start_ - 1;
  if (successor_start_ != 0 && out_.last >= expected_through) return;
  if (successor_start_ == 0 && scan.next_segment != 0) {
    // Sealed, and the segment that the seal names is not there.
    Met m;
    m.stretch = true;
    m.kind = Header::kUnreadable;
    m.first = out_.last + 1;
    m.offset = scan.end_offset;
    judge_stretch(segment, scan, m, 0);
    return;
  }
  Met m;
  m.stretch = true;
  m.kind = header_of(scan.stop);
  m.first = out_.last + 1;
  m.last = expected_through;
  m.offset = scan.stop_offset;
  judge_stretch(segment, scan, m, expected_through);
}

/// Judges a stretch piece by piece; true when reading goes on behind it.
bool Replayer::judge_stretch(const Found& segment, const SegmentScan& scan, const Met& met, Sequence known_last) {
  const std::string file = relative(segment.number);
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
  facts.successor_start = successor_start_;
  facts.snapshot_durable = input_.snapshot_durable;
  facts.snapshot_sequence = input_.snapshot_sequence;
  facts.boot = boot_ == 0 || !segment.header || segment.header->boot == 0 ? Boot::kUnknown
               : segment.header->boot == boot_                            ? Boot::kSame
                                                                          : Boot::kOther;
  if (segment.header) {
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
  for (;;) {
    if (input_.known) facts.known_through = input_.known->known_through(facts.first, file);
    const Assessment judged = assess(facts);
    const VerdictCase& row = *judged.row;
    prove(std::min(judged.proven_through, std::max(out_.last, facts.last)));
    for (Sequence s = judged.healed_first; s <= judged.healed_last; ++s) {
      if (auto at = ring_.find(s); at != ring_.end()) take_ring_event(s, at->second);
    }
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
      }
      if (loses(row.decision)) lose(judged, met, file, finding);
      out_.findings.push_back(std::move(finding));
    }
    if (row.decision == Decision::kEndOfLog || row.decision == Decision::kTornTailDiscard ||
        row.decision == Decision::kStaleIgnore) {
      if (successor_start_ == 0) ended_ = true;
      return false;
    }
    if (loses(row.decision) && input_.stop_at_loss) {
      ended_ = true;
      return false;
    }
    const Sequence through = judged.settled_through ? judged.settled_through : facts.last;
    out_.last = std::max(out_.last, through);
    if (through == 0 || through >= facts.last) return true;
    facts.first = through + 1;
  }
}

void Replayer::lose(const Assessment& judged, const Met& met, const std::string& file, RecoveryFinding& finding) {
  if (judged.lost_first > judged.lost_last && !judged.lost_end_unknown) return;
  DamageEntry entry;
  entry.sequence_lo = judged.lost_first;
  entry.sequence_hi = std::max(judged.lost_last, judged.lost_first);
  entry.cause = judged.row->name;
  entry.file = file;
  ++out_.lost_sum.stretches;
  out_.lost_sum.events += entry.sequence_hi + 1 - entry.sequence_lo;
  out_.lost_sum.bytes += met.bytes;
  out_.last = std::max(out_.last, entry.sequence_hi);
  if (judged.row->decision == Decision::kPoisonedQuarantineByFootprint && met.footprint && !met.footprint->everything) {
    if (!met.footprint->keys.empty()) {
      entry.keys = DamageEntry::Keys::kHashes;
      entry.hashes = met.footprint->keys;
      out_.lost.push_back(entry);
    }
    entry.hashes.clear();
    entry.keys = DamageEntry::Keys::kRange;
    for (const FootprintRange& range : met.footprint->ranges) {
      entry.keyspace = range.keyspace;
      entry.begin = range.begin;
      entry.end = range.end.empty() ? std::nullopt : std::optional(range.end);
      out_.lost.push_back(entry);
    }
  } else {
    out_.lost.push_back(entry);
  }
  if (met.bytes > 0) {
    QuarantineEntry aside;
    aside.case_name = finding.case_name;
    aside.file = file;
    aside.offset = met.offset;
    aside.bytes = met.bytes;
    aside.first_sequence = entry.sequence_lo;
    aside.last_sequence = entry.sequence_hi;
    aside.verdict = finding.verdict;
    aside.proof = finding.proof;
    out_.set_aside.push_back(std::move(aside));
  }
}

void Replayer::take_frame(const Found& segment, const FrameHeader& header, std::string_view raw) {
  prove(std::min(header.watermark, out_.last));
  if (header.last_sequence <= out_.last) return;
  const std::string file = relative(segment.number);
  admitted_.clear();
  for_each_record(header, raw, [&](const WalRecord& record) {
    if (successor_start_ != 0 && record.sequence >= successor_start_) return;  // given anew in the successor
    if (record.sequence > out_.last && admit(record, file, header.offset)) admitted_.push_back(record);
  });
  apply_(admitted_);
  prove(std::min(header.watermark, out_.last));
  if (input_.on_progress) input_.on_progress(out_.bytes_replayed, 0);
}

void Replayer::take_ring_event(Sequence sequence, std::string_view event) {
  const WalRecord record{sequence, event};
  if (admit(record, "wal/" + tail_name(tail_nonce_), 0)) apply_({&record, 1});
}

/// Takes the next event into account; false when it cannot be applied.
bool Replayer::admit(const WalRecord& record, const std::string& file, std::uint64_t offset) {
  const Sequence sequence = record.sequence;
  out_.last = sequence;
  if (Status decodes = check_event(record.event); !decodes.ok()) {
    DamageEntry entry;
    entry.sequence_lo = entry.sequence_hi = sequence;
    entry.cause = "undecodable_event";
    entry.file = file;
    out_.lost.push_back(entry);
    ++out_.lost_sum.stretches;
    ++out_.lost_sum.events;
    RecoveryFinding finding;
    finding.case_name = "undecodable_event";
    finding.file = file;
    finding.offset = offset;
    finding.first_sequence = finding.last_sequence = sequence;
    finding.verdict = "poisoned";
    finding.action = "poisoned_range";
    finding.detail = decodes.to_string();
    out_.findings.push_back(std::move(finding));
    return false;
  }
  keep(sequence, record.event);
  ++out_.events_replayed;
  out_.bytes_replayed += record.event.size();
  return true;
}

void Replayer::keep(Sequence sequence, std::string_view event) {
  if (sequence > out_.proven) unproven_.emplace_back(sequence, event);
}

void Replayer::prove(Sequence through) {
  out_.proven = std::max(out_.proven, through);
  while (!unproven_.empty() && unproven_.front().first <= out_.proven) unproven_.pop_front();
}

}  // namespace

Result<LogReplay> replay_log(Storage& storage, const LogReplayInput& input,
                             const std::function<void(std::span<const WalRecord>)>& apply) {
  return Replayer(storage, input, apply).run();
}

}  // namespace daruma
