// SPDX-License-Identifier: Apache-2.0
//
// Reads one log segment, or the tail ring, and says exactly what stands there. Facts only: what they mean is decided by
// recovery (verdict.h). Changes nothing.
//
// What must stay true:
//   - No event is delivered unless header and payload of its frame verify, here, for this use of the file: as read, or
//     as healed from the parity.
//   - Every scan ends, at a named stop; a read error is never an end of file.
//   - No length is used before the checksum over it holds, and none may reach beyond the file.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "event/footprint.h"
#include "io/storage.h"
#include "wal/tail_format.h"
#include "wal/wal_format.h"

namespace daruma {

/// What stands where the next frame should begin.
enum class Stop : std::uint8_t {
  kSealed,        ///< a seal: the segment is complete
  kEndOfSegment,  ///< its capacity is used up
  kZeroes,        ///< a sector of zeros
  kStaleFrame,    ///< a frame of an earlier use of the file
  kNoise,         ///< bytes that name neither this use nor another
  kBadHeader,     ///< names this use and does not verify; without any header: the segment header itself
  kBadFootprint,  ///< the last frames have good headers, bad payloads, and the first of them a bad footprint too
  kBadPayload,    ///< the last frames have good headers and bad payloads
  kSequenceGap,   ///< a good frame that goes back; or, in a gap, one that begins later than it should
  kReadError,     ///< the device refuses
  kShortFile,     ///< the file ends before its capacity does
  kForeignFrame,  ///< a good frame that belongs elsewhere: another offset, or another chain
};
std::string_view name(Stop stop);

/// A delivered frame. Views live during the callback.
struct FrameView {
  const FrameHeader& header;
  std::string_view footprint;  ///< empty when it does not verify
  std::string_view payload;    ///< raw; walk it with for_each_record(header, payload, …). Empty for marks and seals,
                               ///< and up to Enough::known
  std::size_t gaps_before;     ///< gaps and poisoned frames met so far in this segment
};

/// A frame that had to be stepped over: header good, payload not.
struct PoisonedFrame {
  FrameHeader header;                  ///< offset, frame_bytes, first_sequence, last_sequence
  std::optional<Footprint> footprint;  ///< when it verifies, or a frame behind it tells
  bool unreadable = false;             ///< the device refuses more of it than its parity replaces
};

/// A frame that was damaged and is whole again.
struct HealedFrame {
  FrameHeader header;
  std::uint64_t damaged_at = 0;  ///< offset in the file where the damage begins, as far as it is known
  std::size_t file = 0;          ///< the damaged one in SegmentScan::files
  bool from_copy = false;        ///< another file has it whole; else its parity did it
};

/// Bytes without a usable header, between good frames.
struct LogGap {
  Stop kind = Stop::kBadHeader;
  std::uint64_t offset = 0;
  std::uint64_t end_offset = 0;  ///< where reading went on
  Sequence first_sequence = 0;   ///< missing; none when last < first
  Sequence last_sequence = 0;
  std::optional<Footprint> footprint{};  ///< of what is missing, as a frame behind it tells
};

/// A frame met behind the first anomaly: what an earlier gap may be proven by.
struct FrameEvidence {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  Sequence first_sequence = 0;
  Sequence last_sequence = 0;
  Sequence watermark = 0;
  bool payload_ok = false;
};

struct SegmentScan {
  Status status;  ///< why nothing could be read: no header, another store, from the future, I/O
  std::optional<SegmentHeader> header;
  unsigned header_copies = 0;  ///< of 2, that verify, in the file that has most
  struct FileScan {
    std::size_t path = 0;  ///< as given
    unsigned header_copies = 0;
  };
  std::vector<FileScan> files;  ///< that were read
  std::uint64_t file_bytes = 0;
  std::uint64_t bytes_read = 0;
  std::uint64_t frames = 0, events = 0;  ///< delivered
  Stop stop = Stop::kBadHeader;
  std::uint64_t stop_offset = 0;
  Sequence last_good_sequence = 0;  ///< of the last delivered event; start_sequence - 1 when none
  std::uint64_t last_hash = 0;      ///< header checksum of the last good header
  std::uint64_t end_offset = 0;     ///< behind the last frame with a good header
  Sequence max_watermark = 0;       ///< told by good headers; prepared_sequence at least
  std::uint64_t next_segment = 0;   ///< named by the seal
  std::vector<HealedFrame> healed;  ///< delivered like any other
  std::vector<PoisonedFrame> poisoned;
  std::vector<LogGap> gaps;
  std::vector<FrameEvidence> later;  ///< every good header behind the first gap or poisoned frame
  std::uint64_t later_trace_end =
      0;  ///< end of the last sector behind an anomaly that names this use but does not verify
  std::vector<std::uint64_t> damaged_footprints;  ///< offsets of delivered frames whose footprint does not verify
  std::vector<std::uint64_t> unreadable;          ///< offsets of sectors that the device refuses
};

/// The files of one segment: the same bytes, as far as anything was acknowledged. What one of them cannot give is taken
/// from the other: of each frame the first file that has it whole, or healed; and where one has nothing to give but
/// damage, the other says what stands there.
using SegmentFiles = std::vector<std::string>;

/// What need not be read.
struct Enough {
  Sequence sequence = 0;    ///< where reading may stop, once everything below was read without an anomaly; 0: nowhere
  bool superseded = false;  ///< what stands there means nothing; else frames that are whole are read for as long as
                            ///< they come, and nothing is searched behind them
  Sequence known = 0;       ///< what is whole and holds nothing above is delivered without payload
};

/// Where reading of a segment stands: behind a frame. As made: at the first.
struct SegmentPlace {
  std::uint64_t offset = kSegmentFramesAt;
  Sequence expected = 0;       ///< the event that follows; 0: what the header says
  std::uint64_t previous = 0;  ///< checksum of the header before
};

/// A part of a segment, for whoever follows a log that is being written.
struct SegmentPart {
  SegmentPlace place;              ///< where to begin; then, where reading went on to
  Sequence through = 0;            ///< nothing behind this event is looked for: it may be in flight
  std::uint64_t bytes_max = 0;     ///< reading rests after a frame behind so many
  bool direct = false;             ///< past the page cache
  std::optional<LogGap> before{};  ///< a loss in front of `place`: whether frames from there on tell its footprint
  bool rests = false;              ///< set: it came to `through` or to `bytes_max`; else SegmentScan::stop says why not
};

/// Reads the segment that stands in `paths`, calling `on_frame` for every good frame in order. `store`: when known,
/// others are refused.
SegmentScan read_segment(Storage& storage, const SegmentFiles& paths, const std::optional<StoreId>& store,
                         const std::function<void(const FrameView&)>& on_frame, const Enough& enough = {},
                         SegmentPart* part = nullptr);
inline SegmentScan read_segment(Storage& storage, const std::string& path, const std::optional<StoreId>& store,
                                const std::function<void(const FrameView&)>& on_frame, const Enough& enough = {}) {
  return read_segment(storage, SegmentFiles{path}, store, on_frame, enough);
}

struct TailScan {
  Status status;            ///< why there is no ring to read; the rest is then empty
  TailHeader header;        ///< its nonce says which segments it belongs to
  bool mark_known = false;  ///< a live slot verifies
  std::uint64_t durable_position = 0;
  Sequence durable_sequence = 0;  ///< everything up to here is durable in the log
  std::vector<WalRecord>
      entries;  ///< rising sequences, all not known durable; without the mark: whatever verifies. View `data`
  std::optional<std::uint64_t> head;  ///< where the last acknowledged entry ends; nothing when that is damaged twice
  bool begun = false;                 ///< a segment that names it was published
  bool whole = false;                 ///< from the mark on nothing is missing or damaged between entries
  bool hurt = false;      ///< something that should stand in both halves does not; harmless after a power loss
  bool torn_end = false;  ///< no head, and behind the last entry begins one that does not verify: torn, or damaged
  std::unique_ptr<char[]> data;
};

/// Reads the ring with `nonce`, which the newest segment's header gives, of the store in `directory`; `side`: of
/// kLogDirectories. `every_half`: also where the first has all that is asked for.
TailScan read_tail(Storage& storage, const std::string& directory, const std::optional<StoreId>& store,
                   std::uint64_t nonce, std::size_t side = 0, bool every_half = false);

}  // namespace daruma
