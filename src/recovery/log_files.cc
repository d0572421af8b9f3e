// SPDX-License-Identifier: Apache-2.0
// What there is of the log: segments of both directories by their names and headers, and the ring that belongs to them.
#include <algorithm>
#include <tuple>
#include <utility>

#include "base/status_macros.h"
#include "recovery/log_replayer.h"

namespace daruma {

/// Everything in wal/ and wal-copy/ by name, whatever the options say. What is there and cannot be read is judged where
/// it stands, not here.
Status LogReplayer::find_segments() {
  out_.copy_refused = input_.copy_refused;
  Status unlisted;
  for (std::size_t side = 0; side < kLogSides; ++side) {
    if (side == 0 || out_.copy_refused.ok()) DARUMA_TRY(find_segments_in(side, unlisted));
  }
  if (!unlisted.ok() && !one_side_tells_all()) return unlisted;
  Sequence lowest = 0;
  for (std::size_t i = segments_.size(); i-- > 0;) {
    Found& segment = segments_[i];
    if (!segment.header && segment.unreadable.is(Code::kIoError)) out_.unreadable = segment.unreadable;
    segment.successor_start = segment.anew_from = lowest;
    if (segment.header && (lowest == 0 || segment.header->start_sequence < lowest))
      lowest = segment.header->start_sequence;
    if (lowest == 0 || lowest > input_.snapshot_sequence + 1 || segment.successor_start == 0)
      total_bytes_ += segment.file_bytes;
  }
  tell_missing_copies();
  return {};
}

/// With a directory that cannot be listed: the newest segment of the other says that it stands in both, and no snapshot
/// knows of a newer one.
bool LogReplayer::one_side_tells_all() const {
  return !segments_.empty() && segments_.back().header && segments_.back().header->copied() &&
         segments_.back().number + 1 >= input_.next_segment;
}

Status LogReplayer::find_segments_in(std::size_t side, Status& unlisted) {
  const std::string directory(kLogDirectories[side]);
  Result<std::vector<DirectoryEntry>> names = storage_.list(input_.directory + "/" + directory);
  if (!names.ok()) {
    if (names.status().is(Code::kNotFound)) return {};
    if (is_of_the_process(names.status())) return names.status();
    if (!stands_as_file(storage_, input_.directory, directory)) {
      unlisted = names.status();
      return {};
    }
    RecoveryFinding finding;
    finding.case_name = "unreadable_directory";
    finding.file = directory;
    finding.verdict = "corrupt";
    finding.detail = names.status().to_string();
    out_.findings.push_back(std::move(finding));
    return {};
  }
  std::vector<Found> found;
  std::map<std::uint64_t, LogSides> rings;
  bool refused = false;
  std::uint64_t next = 1;
  for (const DirectoryEntry& entry : *names) {
    if (const std::optional<std::uint64_t> nonce = parse_tail_name(entry.name)) rings[*nonce] = side_bit(side);
    const std::optional<std::uint64_t> number = parse_segment_name(entry.name);
    if (!number) continue;
    out_.next_segment = std::max(out_.next_segment, *number + 1);
    if (entry.is_directory) continue;  // not ours; its name is taken
    next = std::max(next, *number + 1);
    Found segment;
    segment.number = *number;
    segment.sides = side_bit(side);
    segment.file_bytes = segment.bytes_min = entry.bytes;
    DARUMA_TRY(look_at_header(segment, side, entry.name, refused));
    found.push_back(std::move(segment));
  }
  for (const Found& segment : found) {
    const auto twin = std::find_if(segments_.begin(), segments_.end(),
                                   [&](const Found& other) { return other.number == segment.number; });
    if (twin != segments_.end() && twin->header && segment.header)
      refused = refused || twin->header->incarnation != segment.header->incarnation;
  }
  if (refused) {
    out_.copy_refused = Status(Code::kInvalidArgument, "the log of another store, or of another life of this one",
                               {.file = input_.directory + "/" + directory},
                               "nothing there is read or changed; give each store a directory of its own");
    RecoveryFinding finding;
    finding.case_name = "log_copy_refused";
    finding.file = directory;
    finding.verdict = name(Verdict::kStale);
    finding.action = name(Decision::kStaleIgnore);
    finding.detail = out_.copy_refused.message();
    out_.findings.push_back(std::move(finding));
    return {};
  }
  next_found_ = std::max(next_found_, next);
  out_.files += found.size();
  for (const auto& [nonce, sides] : rings) rings_[nonce] |= sides;
  for (Found& segment : found) {
    if (segment.header && !out_.store) out_.store = segment.header->store;
    const auto twin = std::find_if(segments_.begin(), segments_.end(),
                                   [&](const Found& other) { return other.number >= segment.number; });
    if (twin == segments_.end() || twin->number != segment.number) {
      segments_.insert(twin, std::move(segment));
      continue;
    }
    twin->sides |= segment.sides;
    twin->file_bytes = std::max(twin->file_bytes, segment.file_bytes);
    twin->bytes_min = std::min(twin->bytes_min, segment.bytes_min);
    if (!twin->header) twin->header = segment.header;
  }
  return {};
}

/// `refused`: what stands in wal-copy/ belongs to another store.
Status LogReplayer::look_at_header(Found& segment, std::size_t side, const std::string& name, bool& refused) {
  Result<std::unique_ptr<File>> file = open_to_read(storage_, input_.directory + "/" + in_side(side, name));
  segment.unreadable = file.status();
  if (is_of_the_process(file.status())) return file.status();
  constexpr std::uint64_t kPlaces[] = {0, kSectorBytes, 0, kSectorBytes};  // twice: a device may refuse a read once
  for (const std::uint64_t at : kPlaces) {
    if (!file.ok() || segment.header) break;
    std::string sector(kSectorBytes, '\0');
    Result<std::size_t> got = (*file)->read(at, sector);
    if (is_of_the_process(got.status())) return got.status();
    if (!got.ok() || *got < kSectorBytes) {
      if (segment.unreadable.ok()) {
        segment.unreadable =
            got.ok() ? Status(Code::kCorruption, "the file is cut short", {.file = (*file)->path(), .offset = at})
                     : got.status();
      }
      continue;
    }
    const std::optional<StoreId> store = out_.store ? out_.store : input_.store;
    Result<SegmentHeader> header = decode_segment_header(sector, at, store);
    if (header.status().is(Code::kUnsupported)) return header.status();
    if (header.ok() && header->number == segment.number) {
      segment.header = *header;
      out_.last_wall_ns = std::max(out_.last_wall_ns, header->wall_ns);
    } else if (segment.unreadable.ok()) {
      segment.unreadable =
          header.ok() ? Status(Code::kCorruption, "another segment stands under this name", {.file = (*file)->path()})
                      : header.status();
    }
    if (side == 0 && header.ok() && !out_.store) out_.store = header->store;
    if (side != 0 && !header.ok() && decode_segment_header(sector, at, std::nullopt).ok()) refused = true;
  }
  return {};
}

/// A segment says whether it was made in both directories. One that is superseded may never have got there; one that no
/// kept generation needs is what a crash left of giving it back.
void LogReplayer::tell_missing_copies() {
  if (!out_.copy_refused.ok()) return;
  for (const Found& segment : segments_) {
    if (!segment.header || !segment.header->copied() || segment.sides == kBothSides) continue;
    const Sequence successor = segment.successor_start;
    if (successor != 0 && (successor <= segment.header->start_sequence || successor <= input_.log_needed_from))
      continue;
    const std::size_t missing = stands_in(segment.sides, 0) ? 1 : 0;
    missing_copy(in_side(missing, segment_name(segment.number)), "is not there");
  }
}

void LogReplayer::missing_copy(const std::string& file, const std::string& detail) {
  healed("log_copy_missing", file, 0, "from_its_copy").detail = detail;
  out_.log_hurt = true;
}

/// The ring as the directory has it that knows more, wal/ when both know the same. Both are read: on a device that lost
/// its writes an old ring may stand, whole.
TailScan LogReplayer::read_ring(std::uint64_t nonce, std::size_t& side) const {
  TailScan best;
  const auto knows = [](const TailScan& scan) {
    return std::tuple(scan.status.ok(), scan.whole, scan.mark_known, scan.head.value_or(0), scan.entries.size());
  };
  for (std::size_t i = 0; i < kLogSides; ++i) {
    if (i != 0 && !out_.copy_refused.ok()) break;
    TailScan scan = read_tail(storage_, input_.directory, out_.store, nonce, i);
    if (stops_the_start(scan.status)) return scan;
    if (i != 0 && knows(scan) <= knows(best)) continue;
    best = std::move(scan);
    side = i;
  }
  return best;
}

/// The ring of the newest segment. Where that is lost, or its header: the ring that no segment names, if this boot
/// wrote it; after a power loss it proves nothing.
Status LogReplayer::take_ring() {
  Sequence told = 0;  // by the newest segment, which held it before it was published; then by its ring
  bool copied = false;
  for (const Found& segment : segments_) {
    if (!segment.header) continue;
    tail_nonce_ = segment.header->tail_nonce;
    copied = segment.header->copied();
    told = std::max(told, segment.header->prepared_sequence);
  }
  const bool headed = !segments_.empty() && segments_.back().header;
  for (const auto& [nonce, sides] : rings_) {
    const bool named = std::any_of(segments_.begin(), segments_.end(), [&, ring = nonce](const Found& segment) {
      return segment.header && segment.header->tail_nonce == ring;
    });
    if (named) continue;
    const TailScan scan = read_ring(nonce, tail_side_);
    if (stops_the_start(scan.status)) return scan.status;
    if (!scan.status.ok() || boot_ == 0 || scan.header.boot != boot_ || !scan.mark_known) continue;
    if (!scan.begun) continue;  // of a start that died before its first segment
    const Sequence newest = scan.entries.empty() ? scan.durable_sequence : scan.entries.back().sequence;
    // Else of a start long ago, in a directory that could not be tidied then.
    if (newest < told || (newest == told && headed)) continue;
    told = newest;
    tail_nonce_ = nonce;
    if (!out_.store) out_.store = scan.header.store;
  }
  if (tail_nonce_ == 0) return {};
  tail_ = read_ring(tail_nonce_, tail_side_);
  if (stops_the_start(tail_.status)) return tail_.status;
  if (!tail_.status.ok()) return {};
  ++out_.files;
  out_.same_boot = boot_ != 0 && tail_.header.boot == boot_;
  if (out_.same_boot && tail_.whole) {
    if (tail_.hurt) healed("ring_healed", tail_file(), 0, "from_its_other_half");
    const LogSides there = rings_[tail_nonce_];
    for (std::size_t side = 0; side < kLogSides; ++side) {
      const std::string file = in_side(side, tail_name(tail_nonce_));
      if (copied && !stands_in(there, side))
        missing_copy(file, "is not there");
      else if (side < tail_side_ && stands_in(there, side))
        healed("ring_healed", file, 0, "from_its_copy");
    }
  }
  for (const WalRecord& record : tail_.entries) ring_.emplace(record.sequence, record.event);
  for (const WalRecord& record : tail_.entries) {
    if (ring_last_ == 0 || record.sequence == ring_last_ + 1) ring_last_ = record.sequence;
  }
  return {};
}

/// A file that is gone gave numbers too. From where on, the next one that is left tells, and the ring of its life; of
/// two lives in a row that are gone, the later one alone.
void LogReplayer::heed_what_is_gone() {
  const auto heed = [this](std::uint64_t gone, Sequence own_from) {
    for (Found& segment : segments_) {
      const bool of_earlier_life = segment.header && segment.number < gone && segment.header->own_from < own_from;
      if (of_earlier_life && (segment.anew_from == 0 || own_from < segment.anew_from)) segment.anew_from = own_from;
    }
  };
  for (const Found& segment : segments_) {
    if (!segment.header) continue;
    const Predecessor& before = segment.header->predecessor;
    heed(std::min(before.number, segment.number), before.own_from);
  }
  if (ring_of_another()) heed(next_found_, std::min(tail_.header.own_from, tail_.durable_sequence + 1));
}

}  // namespace daruma
