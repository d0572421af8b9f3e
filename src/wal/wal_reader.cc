// SPDX-License-Identifier: Apache-2.0
#include "wal/wal_reader.h"

#include <algorithm>

#include "base/coding.h"
#include "base/status_macros.h"
#include "parity/parity_format.h"
#include "wal/earlier_footprints.h"
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
  SegmentWalk(std::span<const std::unique_ptr<SectorReader>> files, SegmentScan& scan,
              const std::function<void(const FrameView&)>& on_frame, const Enough& enough, SegmentPart* part)
      : files_(files),
        scan_(scan),
        h_(*scan.header),
        on_frame_(on_frame),
        enough_(enough),
        part_(part),
        expected_(h_.start_sequence),
        previous_(h_.checksum),
        sector_(kSectorBytes, '\0'),
        other_(kSectorBytes, '\0') {
    for (const auto& file : files_) limit_ = std::max(limit_, limit_of(*file));
    if (!part_) return;
    part_->rests = false;
    if (part_->before) scan_.gaps.push_back(*part_->before);
    if (part_->place.expected == 0) return;
    offset_ = part_->place.offset;
    expected_ = part_->place.expected;
    previous_ = part_->place.previous;
  }

  void run() {
    scan_.last_good_sequence = expected_ - 1;
    scan_.max_watermark = h_.prepared_sequence;
    scan_.last_hash = previous_;
    scan_.end_offset = offset_;
    const std::uint64_t began = offset_;
    while (!rests(began) && step()) {}
    if (part_) part_->place = {offset_, expected_, previous_};
    if (part_ && part_->before) part_->before = scan_.gaps.front();
    // What stands behind trailing frames with bad payloads matters less than that they are bad, unless it cannot be
    // read: it may be one more that was acknowledged.
    if (trailing_poison_ && scan_.stop != Stop::kSealed && scan_.stop != Stop::kReadError) {
      const PoisonedFrame& first = scan_.poisoned[*trailing_poison_];
      scan_.stop = first.footprint ? Stop::kBadPayload : Stop::kBadFootprint;
      scan_.stop_offset = first.header.offset;
    }
  }

 private:
  bool rests(std::uint64_t began) {
    if (!part_ || (expected_ <= part_->through && offset_ - began < part_->bytes_max)) return false;
    part_->rests = true;
    scan_.bytes_read = offset_ - began;
    end(Stop::kEndOfSegment);
    return true;
  }
  bool end(Stop stop) {
    scan_.stop = stop;
    scan_.stop_offset = offset_;
    return false;
  }
  [[nodiscard]] std::uint64_t limit_of(const SectorReader& file) const { return std::min(file.limit(), h_.capacity); }
  [[nodiscard]] std::size_t anomalies() const { return scan_.gaps.size() + scan_.poisoned.size(); }
  bool names_this_use() const { return load<std::uint64_t>(sector_.data() + 16) == h_.incarnation; }
  /// A file that was cut short may lack the parity of its last frame.
  bool room_for(const FrameHeader& f) const {
    return f.frame_bytes <= h_.capacity - f.offset && f.layout().data_bytes() <= limit_ - f.offset;
  }

  /// Names what stands at `at`, which is left in `sector_`; `frame` is set when it is a good header of this use. Of
  /// several files the one that has such a header; else one that can be read and claims least: what was acknowledged
  /// stands in all, so a claim that another file does not share is damage, or was in flight.
  Stop classify(std::uint64_t at, std::optional<FrameHeader>& frame) {
    std::optional<Stop> best;
    for (const auto& file : files_) {
      if (at + kSectorBytes > limit_of(*file)) continue;
      frame.reset();
      if (best) sector_.swap(other_);
      const Stop kind = classify(*file, at, frame);
      if (frame) return kind;
      if (!best || claims(kind) < claims(*best))
        best = kind;
      else
        sector_.swap(other_);
    }
    return *best;  // `at` lies below the limit of one of them
  }
  static int claims(Stop kind) {
    switch (kind) {
      case Stop::kZeroes: return 0;
      case Stop::kStaleFrame: return 1;
      case Stop::kNoise: return 2;
      case Stop::kReadError: return 4;
      default: return 3;
    }
  }
  Stop classify(SectorReader& file, std::uint64_t at, std::optional<FrameHeader>& frame) {
    if (!file.read(at, sector_)) return Stop::kReadError;
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

  /// The header of a frame whose first sector is hurt, when the sector at `at` of some file ends its data.
  [[nodiscard]] std::optional<FrameHeader> frame_ending_at(std::uint64_t at, std::uint64_t bad) {
    for (const auto& file : files_) {
      if (at + kSectorBytes > limit_of(*file) || !file->read(at, other_)) continue;
      std::optional<FrameHeader> found = decode_frame_trailer(other_, h_.store);
      if (!found || found->incarnation != h_.incarnation || found->offset < bad || !room_for(*found)) continue;
      const FrameLayout layout = found->layout();
      const bool here = found->offset + layout.data_bytes() == at + kSectorBytes;
      const bool mirror = layout.data_sectors == 1 && found->offset + kSectorBytes == at;
      if (here || mirror) return found;
    }
    return std::nullopt;
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
    return std::any_of(files_.begin(), files_.end(), [&](const auto& file) {
      return offset_ + next->frame_bytes <= limit_of(*file) && file->read(offset_, frame) &&
             footprint_verifies(h_.store, *next, frame) && payload_verifies(h_.store, *next, frame);
    });
  }

  /// Looks, sector by sector, for the next good header of this use: the first of a frame, or, where that is hurt, the
  /// one behind its data.
  bool resync(Stop kind) {
    const std::uint64_t bad = offset_;
    bool alone = true;  // nothing but the first sector is odd
    for (std::uint64_t at = bad; at + kSectorBytes <= limit_; at += kSectorBytes) {
      std::optional<FrameHeader> frame;
      const Stop there = classify(at, frame);
      if (!frame) frame = frame_ending_at(at, bad);
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

  struct Reading {
    std::string frame;
    bool unreadable = false;  ///< more is missing than parity replaces
    FrameState state = FrameState::kHurt;
    std::uint64_t damaged_at = 0;  ///< in the frame
  };
  /// The frame as one file has it, or with `other` for the sectors that this one does not give.
  Reading read_frame(SectorReader& file, SectorReader* other, const FrameHeader& f) {
    Reading out;
    out.frame.assign(f.frame_bytes, '\0');  // fits the segment: room_for
    const std::uint64_t end_of_it = f.offset + f.frame_bytes;
    const std::uint64_t end_of_file = std::clamp(limit_of(file), f.offset, end_of_it);
    if (end_of_file > f.offset) file.read(f.offset, std::span(out.frame).first(end_of_file - f.offset));
    std::vector<std::uint64_t> missing = file.unreadable_in(f.offset, end_of_it);
    for (std::uint64_t at = end_of_file; at < end_of_it; at += kSectorBytes)
      missing.push_back((at - f.offset) / kSectorBytes);
    if (other != nullptr) {
      std::erase_if(missing, [&](std::uint64_t i) {
        const std::uint64_t at = f.offset + i * kSectorBytes;
        return at + kSectorBytes <= limit_of(*other) &&
               other->read(at, std::span(out.frame).subspan(i * kSectorBytes, kSectorBytes));
      });
    }
    out.unreadable = !parity_replaces(f, missing);
    out.state = heal_frame(h_.store, f, out.frame, missing, out.damaged_at);
    return out;
  }

  bool take(const FrameHeader& f) {
    Reading best = read_frame(*files_[0], nullptr, f);
    HealedFrame healed{f, best.damaged_at, 0, false};
    if (best.state != FrameState::kWhole && files_.size() > 1) {
      Reading copy = read_frame(*files_[1], nullptr, f);
      if (copy.state == FrameState::kHurt && best.state == FrameState::kHurt) {
        // Both are hurt, perhaps not at the same place.
        Reading both = read_frame(*files_[0], files_[1].get(), f);
        if (both.state == FrameState::kHurt) both.state = merge_frames(h_.store, f, both.frame, copy.frame);
        copy = std::move(both);
      }
      const bool footprint_only = copy.state == FrameState::kHurt && footprint_verifies(h_.store, f, best.frame);
      if (copy.state == FrameState::kWhole || (best.state == FrameState::kHurt && !footprint_only)) {
        if (best.state == FrameState::kHurt)
          healed.damaged_at = static_cast<std::uint64_t>(
              std::mismatch(best.frame.begin(), best.frame.end(), copy.frame.begin()).first - best.frame.begin());
        best = std::move(copy);
        healed.from_copy = true;
        if (best.state == FrameState::kWhole) best.state = FrameState::kHealed;
      }
    }
    const std::string& frame = best.frame;
    const FrameState state = best.state;
    const std::uint64_t end_of_it = f.offset + f.frame_bytes;
    const bool footprint_ok = state != FrameState::kHurt || footprint_verifies(h_.store, f, frame);
    Result<std::string_view> raw = Status(Code::kCorruption, "payload does not verify");
    std::string room;
    if (state == FrameState::kWhole && f.has_events() && f.last_sequence <= enough_.known)
      raw = std::string_view();
    else if (state != FrameState::kHurt || payload_verifies(h_.store, f, frame))
      raw = open_payload(f, frame, room);
    if (state == FrameState::kHealed && raw.ok()) {
      healed.damaged_at += f.offset;
      scan_.healed.push_back(healed);
    }

    const std::size_t before = anomalies();
    if (before > 0)
      scan_.later.push_back({f.offset, f.frame_bytes, f.first_sequence, f.last_sequence, f.watermark, raw.ok()});
    if (raw.ok()) {
      if (before > 0) tell_of_losses(f, frame);
      if (!footprint_ok) scan_.damaged_footprints.push_back(f.offset);
      ++scan_.frames;
      scan_.events += f.count();
      on_frame_({f, footprint_ok ? footprint_of(f, frame) : std::string_view(), *raw, before});
      if (f.has_events()) scan_.last_good_sequence = f.last_sequence;
      trailing_poison_.reset();
    } else {
      PoisonedFrame poisoned{f, std::nullopt, best.unreadable};
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

  /// Takes what a frame says of those before it as the footprints of losses that have none.
  void tell_of_losses(const FrameHeader& f, const std::string& frame) {
    const std::vector<FrameFootprint> told = earlier_footprints(h_.store, f, frame);
    if (told.empty()) return;
    const Sequence from = told.front().first;
    for (auto gap = scan_.gaps.rbegin(); gap != scan_.gaps.rend() && gap->first_sequence >= from; ++gap) {
      if (!gap->footprint) gap->footprint = footprint_between(told, gap->first_sequence, gap->last_sequence);
    }
    for (auto bad = scan_.poisoned.rbegin(); bad != scan_.poisoned.rend() && bad->header.first_sequence >= from;
         ++bad) {
      if (!bad->footprint)
        bad->footprint = footprint_between(told, bad->header.first_sequence, bad->header.last_sequence);
    }
  }

  std::span<const std::unique_ptr<SectorReader>> files_;
  SegmentScan& scan_;
  const SegmentHeader& h_;
  const std::function<void(const FrameView&)>& on_frame_;
  const Enough enough_;
  SegmentPart* const part_;
  std::uint64_t limit_ = 0;  // of the longest file
  std::uint64_t offset_ = kSegmentFramesAt;
  Sequence expected_;
  std::uint64_t previous_;
  std::optional<std::size_t> trailing_poison_;
  std::string sector_, other_;
};

/// One file of a segment, opened, and what its two headers say.
struct OpenedFile {
  std::unique_ptr<File> file;
  std::unique_ptr<SectorReader> sectors;
  std::uint64_t bytes = 0;
  Status status;
  Stop stop = Stop::kReadError;
  std::optional<SegmentHeader> header;
  unsigned header_copies = 0;

  void open(Storage& storage, const std::string& path, const std::optional<StoreId>& store, bool direct) {
    status = [&]() -> Status {
      DARUMA_TRY_ASSIGN(file, open_to_read(storage, path));
      DARUMA_TRY_ASSIGN(bytes, file->size());
      sectors = std::make_unique<SectorReader>(*file, bytes, direct);
      return {};
    }();
    if (!status.ok()) return;
    std::string sector(kSectorBytes, '\0');
    status = Status(Code::kCorruption, "segment is too short to have a header", {path, {}, {}});
    stop = Stop::kShortFile;
    // A recycled file whose first sector was never written still verifies there, as the segment that it was.
    const std::optional<std::uint64_t> number = parse_segment_name(path.substr(path.rfind('/') + 1));
    for (std::uint64_t at = 0; at < kSegmentFramesAt && at + kSectorBytes <= sectors->limit(); at += kSectorBytes) {
      const bool readable = sectors->read(at, sector);
      Result<SegmentHeader> found = decode_segment_header(sector, at, store);
      if (found.ok() && number && found->number != *number) {
        found = Status(Code::kCorruption, "is segment " + std::to_string(found->number) + " under another name");
      }
      if (found.ok()) {
        ++header_copies;
        if (!header) header = *found;
      } else if (!status.is(Code::kUnsupported)) {
        status = Status(readable ? found.status().code() : Code::kIoError,
                        readable ? found.status().message() : "segment header is unreadable", {path, at, {}},
                        found.status().hint());
        stop = readable ? Stop::kBadHeader : Stop::kReadError;
      }
    }
    if (header) status = Status();
  }
};

}  // namespace

SegmentScan read_segment(Storage& storage, const SegmentFiles& paths, const std::optional<StoreId>& store,
                         const std::function<void(const FrameView&)>& on_frame, const Enough& enough,
                         SegmentPart* part) {
  SegmentScan scan;
  std::vector<OpenedFile> files(paths.size());
  std::vector<std::unique_ptr<SectorReader>> sectors;
  scan.stop = Stop::kReadError;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    files[i].open(storage, paths[i], store, part && part->direct);
    if (is_of_the_process(files[i].status)) {
      scan.status = files[i].status;
      return scan;
    }
    // The first that has a header says which use of the file this is.
    if (scan.header && files[i].header && files[i].header->incarnation != scan.header->incarnation) continue;
    if (!scan.header) scan.header = files[i].header;
    if (i == 0 || scan.status.is(Code::kNotFound) || files[i].status.is(Code::kUnsupported)) {
      scan.status = files[i].status;
      scan.stop = files[i].stop;
    }
    if (!files[i].sectors) continue;
    scan.header_copies = std::max(scan.header_copies, files[i].header_copies);
    scan.file_bytes = scan.bytes_read = std::max(scan.file_bytes, files[i].bytes);
    scan.files.push_back({i, files[i].header_copies});
    sectors.push_back(std::move(files[i].sectors));
  }
  if (scan.header) {
    scan.status = Status();
    SegmentWalk(sectors, scan, on_frame, enough, part).run();
  }
  for (const auto& file : sectors) {
    scan.unreadable.insert(scan.unreadable.end(), file->unreadable().begin(), file->unreadable().end());
  }
  return scan;
}

}  // namespace daruma
