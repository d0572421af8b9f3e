// SPDX-License-Identifier: Apache-2.0
#include "wal/wal_reader.h"

#include <algorithm>

#include "base/coding.h"
#include "parity/parity_format.h"
#include "wal/frame_heal.h"
#include "wal/sector_reader.h"

namespace daruma {

std::string_view name(Stop stop) {
  switch (stop) {
    case Stop::kSealed: return "sealed";
    case Stop::kEndOfSegment: return "end_of_segment";
    case Stop::kZeroes: return "zeroes";
    case Stop::kStaleFrame: return "stale_frame";
    case Stop::kNoise: return "noise";
    case Stop::kBadHeader: return "bad_header";
    case Stop::kBadFootprint: return "bad_footprint";
    case Stop::kBadPayload: return "bad_payload";
    case Stop::kSequenceGap: return "sequence_gap";
    case Stop::kReadError: return "read_error";
    case Stop::kShortFile: return "short_file";
    case Stop::kForeignFrame: return "foreign_frame";
  }
  return "unknown";
}

namespace {

/// Reads one segment, forward only: every step moves `offset_` on by a sector at least, or ends.
class SegmentWalk {
 public:
  SegmentWalk(SectorReader& sectors, SegmentScan& scan, const std::function<void(const FrameView&)>& on_frame,
              const Enough& enough)
      : sectors_(sectors),
        scan_(scan),
        h_(*scan.header),
        on_frame_(on_frame),
        enough_(enough),
        limit_(std::min(sectors.limit(), h_.capacity)),
        expected_(h_.start_sequence),
        previous_(h_.checksum),
        sector_(kSectorBytes, '\0') {}

  void run() {
    scan_.last_good_sequence = h_.start_sequence - 1;
    scan_.max_watermark = h_.prepared_sequence;
    scan_.last_hash = previous_;
    scan_.end_offset = offset_;
    while (step()) {}
    // What stands behind trailing frames with bad payloads matters less than that they are bad.
    if (trailing_poison_ && scan_.stop != Stop::kSealed) {
      const PoisonedFrame& first = scan_.poisoned[*trailing_poison_];
      scan_.stop = first.footprint ? Stop::kBadPayload : Stop::kBadFootprint;
      scan_.stop_offset = first.header.offset;
    }
  }

 private:
  bool end(Stop stop) {
    scan_.stop = stop;
    scan_.stop_offset = offset_;
    return false;
  }
  [[nodiscard]] std::size_t anomalies() const { return scan_.gaps.size() + scan_.poisoned.size(); }
  bool names_this_use() const { return load<std::uint64_t>(sector_.data() + 16) == h_.incarnation; }
  /// A file that was cut short may lack the parity of its last frame.
  bool room_for(const FrameHeader& f) const {
    return f.frame_bytes <= h_.capacity - f.offset && f.layout().data_bytes() <= limit_ - f.offset;
  }

  /// Names what stands at `at`; `frame` is set when it is a good header of this use.
  Stop classify(std::uint64_t at, std::optional<FrameHeader>& frame) {
    frame.reset();
    if (!sectors_.read(at, sector_)) return Stop::kReadError;
    std::optional<FrameHeader> found = decode_frame_header(sector_, h_.store, at);
    if (found && found->incarnation != h_.incarnation) return Stop::kStaleFrame;
    if (found && room_for(*found)) {
      frame = found;
      return Stop::kEndOfSegment;
    }
    if (found) return limit_ < h_.capacity ? Stop::kShortFile : Stop::kBadHeader;
    if (names_this_use()) {
      const auto stated = load<std::uint64_t>(sector_.data() + 24);
      return stated != at && decode_frame_header(sector_, h_.store, stated) ? Stop::kForeignFrame : Stop::kBadHeader;
    }
    return all_zero(sector_) ? Stop::kZeroes : Stop::kNoise;  // most of a segment is zeros
  }

  /// The header of a frame whose first sector is hurt, when the sector just read ends its data.
  [[nodiscard]] std::optional<FrameHeader> frame_ending_at(std::uint64_t at, std::uint64_t bad) const {
    std::optional<FrameHeader> found = decode_frame_trailer(sector_, h_.store);
    if (!found || found->incarnation != h_.incarnation || found->offset < bad || !room_for(*found)) return std::nullopt;
    const FrameLayout layout = found->layout();
    const bool here = found->offset + layout.data_bytes() == at + kSectorBytes;
    const bool mirror = layout.data_sectors == 1 && found->offset + kSectorBytes == at;
    return here || mirror ? found : std::nullopt;
  }

  bool step() {
    const bool enough = enough_.sequence != 0 && expected_ >= enough_.sequence && anomalies() == 0;
    if (enough && (enough_.superseded || !whole_frame_next())) {
      scan_.bytes_read = offset_;
      return end(Stop::kEndOfSegment);
    }
    if (offset_ + kSectorBytes > limit_) return end(limit_ < h_.capacity ? Stop::kShortFile : Stop::kEndOfSegment);
    std::optional<FrameHeader> frame;
    const Stop kind = classify(offset_, frame);
    if (!frame) return resync(kind);
    if (frame->first_sequence < expected_) return end(Stop::kSequenceGap);
    if (frame->first_sequence > expected_) {
      scan_.gaps.push_back({Stop::kSequenceGap, offset_, offset_, expected_, frame->first_sequence - 1});
    } else if (frame->previous != previous_) {
      return end(Stop::kForeignFrame);
    }
    return take(*frame);
  }

  bool whole_frame_next() {
    std::optional<FrameHeader> next;
    if (offset_ + kSectorBytes > limit_) return false;
    classify(offset_, next);
    if (!next || next->first_sequence != expected_ || next->previous != previous_) return false;
    std::string frame(next->frame_bytes, '\0');
    return next->frame_bytes <= limit_ - offset_ && sectors_.read(offset_, frame) &&
           footprint_verifies(h_.store, *next, frame) && payload_verifies(h_.store, *next, frame);
  }

  /// Looks, sector by sector, for the next good header of this use: the first of a frame, or, where that is hurt, the
  /// one behind its data.
  bool resync(Stop kind) {
    const std::uint64_t bad = offset_;
    bool alone = true;  // nothing but the first sector is odd
    for (std::uint64_t at = bad; at + kSectorBytes <= limit_; at += kSectorBytes) {
      std::optional<FrameHeader> frame;
      const Stop there = classify(at, frame);
      if (!frame && there != Stop::kReadError) frame = frame_ending_at(at, bad);
      if (frame && frame->first_sequence >= expected_) {
        if (frame->offset != bad || frame->first_sequence > expected_)
          scan_.gaps.push_back({kind, bad, frame->offset, expected_, frame->first_sequence - 1});
        else if (frame->previous != previous_)
          return end(Stop::kForeignFrame);
        return take(*frame);
      }
      if (at == bad) continue;
      const bool trace = there != Stop::kReadError && names_this_use();
      if (trace) scan_.later_trace_end = at + kSectorBytes;
      alone = alone && !trace && there != Stop::kReadError;
    }
    // Of a frame that was written whole, one sector more would be left.
    return end(kind == Stop::kReadError && alone ? Stop::kZeroes : kind);
  }

  bool take(const FrameHeader& f) {
    std::string frame(f.frame_bytes, '\0');  // fits the segment: room_for
    const std::uint64_t end_of_it = f.offset + f.frame_bytes;
    const bool readable = sectors_.read(f.offset, std::span(frame).first(std::min(end_of_it, limit_) - f.offset));
    std::vector<std::uint64_t> missing = sectors_.unreadable_in(f.offset, end_of_it);
    for (std::uint64_t at = limit_; at < end_of_it; at += kSectorBytes)
      missing.push_back((at - f.offset) / kSectorBytes);
    HealedFrame healed{f, 0};
    const FrameState state = heal_frame(h_.store, f, frame, missing, healed.damaged_at);
    const bool footprint_ok = state != FrameState::kHurt || footprint_verifies(h_.store, f, frame);
    Result<std::string_view> raw = Status(Code::kCorruption, "payload does not verify");
    std::string room;
    if (state != FrameState::kHurt || payload_verifies(h_.store, f, frame)) raw = open_payload(f, frame, room);
    if (state == FrameState::kHealed && raw.ok()) {
      healed.damaged_at += f.offset;
      scan_.healed.push_back(healed);
    }

    const std::size_t before = anomalies();
    if (before > 0)
      scan_.later.push_back({f.offset, f.frame_bytes, f.first_sequence, f.last_sequence, f.watermark, raw.ok()});
    if (raw.ok()) {
      if (!footprint_ok) scan_.damaged_footprints.push_back(f.offset);
      ++scan_.frames;
      scan_.events += f.count();
      on_frame_({f, footprint_ok ? footprint_of(f, frame) : std::string_view(), *raw, before});
      if (f.has_events()) scan_.last_good_sequence = f.last_sequence;
      trailing_poison_.reset();
    } else {
      PoisonedFrame poisoned{f, std::nullopt, !readable};
      if (footprint_ok) {
        if (Result<Footprint> decoded = decode_footprint(footprint_of(f, frame)); decoded.ok())
          poisoned.footprint = *decoded;
      }
      if (!trailing_poison_) trailing_poison_ = scan_.poisoned.size();
      scan_.poisoned.push_back(std::move(poisoned));
    }
    scan_.max_watermark = std::max(scan_.max_watermark, f.watermark);
    scan_.last_hash = previous_ = f.checksum;
    expected_ = f.last_sequence + 1;
    offset_ = scan_.end_offset = std::min(end_of_it, limit_);
    if ((f.flags & kFrameSeal) == 0) return true;
    scan_.next_segment = f.next_segment;
    return end(Stop::kSealed);
  }

  SectorReader& sectors_;
  SegmentScan& scan_;
  const SegmentHeader& h_;
  const std::function<void(const FrameView&)>& on_frame_;
  const Enough enough_;
  const std::uint64_t limit_;
  std::uint64_t offset_ = kSegmentFramesAt;
  Sequence expected_;
  std::uint64_t previous_;
  std::optional<std::size_t> trailing_poison_;
  std::string sector_;
};

}  // namespace

SegmentScan read_segment(Storage& storage, const std::string& path, const std::optional<StoreId>& store,
                         const std::function<void(const FrameView&)>& on_frame, const Enough& enough) {
  SegmentScan scan;
  Result<std::unique_ptr<File>> file = open_to_read(storage, path);
  if (!file.ok()) {
    scan.status = file.status();
    scan.stop = Stop::kReadError;
    return scan;
  }
  const Result<std::uint64_t> size = (*file)->size();
  if (!size.ok()) {
    scan.status = size.status();
    scan.stop = Stop::kReadError;
    return scan;
  }
  scan.file_bytes = scan.bytes_read = *size;
  SectorReader sectors(**file, *size);
  std::string sector(kSectorBytes, '\0');
  scan.status = Status(Code::kCorruption, "segment is too short to have a header", {path, {}, {}});
  scan.stop = Stop::kShortFile;
  // A recycled file whose first sector was never written still verifies there, as the segment that it was.
  const std::optional<std::uint64_t> number = parse_segment_name(path.substr(path.rfind('/') + 1));
  for (std::uint64_t at = 0; at < kSegmentFramesAt && at + kSectorBytes <= sectors.limit(); at += kSectorBytes) {
    const bool readable = sectors.read(at, sector);
    Result<SegmentHeader> header = decode_segment_header(sector, at, store);
    if (header.ok() && number && header->number != *number) {
      header = Status(Code::kCorruption, "is segment " + std::to_string(header->number) + " under another name");
    }
    if (header.ok()) {
      ++scan.header_copies;
      if (!scan.header) scan.header = *header;
    } else if (!scan.status.is(Code::kUnsupported)) {
      scan.status = Status(readable ? header.status().code() : Code::kIoError,
                           readable ? header.status().message() : "segment header is unreadable", {path, at, {}},
                           header.status().hint());
      scan.stop = readable ? Stop::kBadHeader : Stop::kReadError;
    }
  }
  if (scan.header) {
    scan.status = Status();
    SegmentWalk(sectors, scan, on_frame, enough).run();
  }
  scan.unreadable.assign(sectors.unreadable().begin(), sectors.unreadable().end());
  return scan;
}

}  // namespace daruma
