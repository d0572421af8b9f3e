// SPDX-License-Identifier: Apache-2.0
//
// Torn or corrupt is proven, not guessed: facts about one stretch of log -> evidence -> one row of one table -> what to
// do. Pure: no I/O, no clock, no state. docs/recovery.md prints the table and a test holds both equal, row by row.
//
// What must stay true (tests/recovery_verdict_test.cc walks every combination):
//   - Exactly one row matches each combination; the contradictory ones are named so.
//   - With any proof of durability, unusable bytes are never called torn, stale or an end of the log.
//   - A read error is never an end of the log and never a tear.
//   - Without proof, after a power loss, inside the in-flight window, bytes that read but do not verify are torn.
//   - What the ring holds is never lost, unless replaying it is what kills recovery.
//
// What the log's writer promises and this relies on (W = the window in the segment's own header):
//   1. Frames of an incarnation are written at contiguous, rising offsets and acknowledged in order.
//   2. In flight is at most W bytes, counted from the start of the oldest to the end of the newest, or one larger frame
//   alone.
//   3. A segment that has its name in wal/ proves that every sequence below its start_sequence was durable before. So a
//   segment
//      into which recovery re-persists gets its name only once those frames are durable.
//   4. Every event is in the ring before its frame is written, or too big for it and then alone in flight. The ring
//      forgets only what is durable, and its mark covers an event before that is acknowledged.
//   5. A recovery that steps over events it may have lost numbers new ones above all of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "daruma/status.h"

namespace daruma {

/// What stands where the next frame should begin.
enum class Header : std::uint8_t {
  kOk,       ///< verifies, belongs here, continues the sequence
  kGap,      ///< verifies and belongs here, but begins later than expected: the stretch is what is missing before it
  kForeign,  ///< verifies, for another store or an earlier life of this recycled segment
  kAbsent,   ///< zeros, or the end of the file
  kNoise,    ///< neither zeros nor anything that names this incarnation: residue, or a frame whose first sector is gone
  kBad,      ///< names this incarnation but does not verify
  kUnreadable,  ///< the device refused, also past the page cache; or a file that a seal names is not there
};
enum class Payload : std::uint8_t {
  kUnknown,  ///< there is no verified header to say where it is
  kOk,
  kBad,  ///< does not verify, beyond parity
  kUnreadable,
  kUndecodable,    ///< verifies, but is no event this version can decode or apply
  kKillsRecovery,  ///< three starts died replaying it (attempts.h)
};
enum class FootprintState : std::uint8_t { kGone, kIntact };
/// The strongest proof that the stretch's first event was durable once.
enum class Proof : std::uint8_t {
  kNone,
  kLaterWatermark,     ///< a later verified frame carries a watermark at or above it (an idle seal is such a frame)
  kFrameBeyondWindow,  ///< a later verified frame ends more than W behind it
  kSuccessor,          ///< a segment begins above it
  kSnapshotMark,       ///< a snapshot's durable mark
  kRingMark,           ///< the ring's durable mark
};
/// This boot of the machine against the boot in the header of the segment.
enum class Boot : std::uint8_t { kSame, kOther, kUnknown };
/// The ring of the start that wrote the segment, against the stretch's first event.
enum class RingCopy : std::uint8_t {
  kHoldsCopy,  ///< a copy that verifies and decodes
  kWithout,    ///< readable throughout, and it does not hold the event
  kDamaged,    ///< parts that could hold the event do not verify or are gone
  kNone,       ///< this segment was written without a ring
};
enum class Position : std::uint8_t {
  kTail,          ///< nothing of this incarnation follows
  kHole,          ///< a verified frame follows, inside the window
  kBeyondWindow,  ///< bytes that name this incarnation, though they do not verify, end more than W behind
};
enum class Standing : std::uint8_t {
  kCurrent,
  kSuperseded,  ///< a successor segment begins at or below it: these numbers were given anew
  kCovered,     ///< the chosen snapshot holds its first event
  kKnown,       ///< an earlier start found it; the damage map has it, or the loss was accepted
};

struct Evidence {
  Header header = Header::kAbsent;
  Payload payload = Payload::kUnknown;
  FootprintState footprint = FootprintState::kGone;
  Proof proof = Proof::kNone;
  Boot boot = Boot::kUnknown;
  RingCopy ring = RingCopy::kNone;
  Position position = Position::kTail;
  Standing standing = Standing::kCurrent;
};

enum class Verdict : std::uint8_t {
  kIntact,      ///< nothing is wrong
  kTorn,        ///< never acknowledged
  kCorrupt,     ///< was durable, and is hurt
  kUndecided,   ///< may have been acknowledged; treated as lost, so that no read is wrong
  kPoisoned,    ///< the bytes verify, the event cannot be used
  kHealed,      ///< usable from a second copy
  kStale,       ///< no part of the store's present
  kImpossible,  ///< evidence that contradicts itself: a mistake of whoever collected it
};
enum class Decision : std::uint8_t {
  kApply,
  kEndOfLog,         ///< the log ends here; nothing is discarded
  kTornTailDiscard,  ///< the log ends here; the bytes, and verified frames behind them, are set aside as never
                     ///< acknowledged
  kHealFromRing,     ///< apply the ring's copy, then judge what is left
  kPoisonedQuarantineByFootprint,  ///< set aside, block the footprint's keys, go on behind it
  kPoisonedRange,                  ///< set aside, block the sequence range, go on behind it
  kMissingRange,                   ///< nothing to set aside; block the sequence range, go on behind it
  kStepOver,                       ///< costs the present nothing: note it, go on behind it
  kStaleIgnore,                    ///< the log ends here (or goes on in the successor); the bytes mean nothing
  kImpossible,
};

std::string_view name(Header v);
std::string_view name(Payload v);
std::string_view name(FootprintState v);
std::string_view name(Proof v);
std::string_view name(Boot v);
std::string_view name(RingCopy v);
std::string_view name(Position v);
std::string_view name(Standing v);
std::string_view name(Verdict v);
std::string_view name(Decision v);

/// Which values of one dimension a row matches: bit i stands for the enumerator with value i.
using Matches = std::uint8_t;

struct VerdictCase {
  std::string_view name;  ///< the one name used in code, report, docs, CLI and tests
  Matches header, payload, footprint, proof, boot, ring, position, standing;
  Verdict verdict;
  Decision decision;
};

std::span<const VerdictCase> verdict_table();
bool matches(const VerdictCase& row, const Evidence& evidence);
/// The one row that matches. Never fails: the table is complete.
const VerdictCase& judge(const Evidence& evidence);
/// True for decisions after which an event that may have been acknowledged is not served.
bool loses(Decision decision);
/// The row as docs/recovery.md prints it: "| name | header | … | verdict | decision |".
std::string to_markdown(const VerdictCase& row);

/// What the scan of the log knows, in numbers. 0 means "none" for every sequence and offset but `begin`.
struct StretchFacts {
  Header header = Header::kAbsent;
  Payload payload = Payload::kUnknown;
  FootprintState footprint = FootprintState::kGone;
  Sequence first = 1;  ///< the event expected here: the last good one + 1
  Sequence last =
      0;  ///< the last event of the stretch: from its header, or the next good frame's first - 1; 0: not known

  std::uint64_t begin = 0;            ///< offset of the stretch in its segment
  std::uint64_t window_bytes = 0;     ///< W, from the segment's own header, never from today's options
  std::uint64_t later_frame_end = 0;  ///< furthest end of a verified later header of this incarnation
  std::uint64_t later_trace_end =
      0;                         ///< furthest end of a later sector that names this incarnation but does not verify
  Sequence later_watermark = 0;  ///< highest watermark in those verified headers, seals included

  Sequence successor_start = 0;    ///< start_sequence of the next segment by name, when its header verifies
  Sequence snapshot_durable = 0;   ///< highest durable mark in any valid snapshot
  Sequence snapshot_sequence = 0;  ///< S of the chosen snapshot
  Sequence ring_durable = 0;       ///< durable mark in the ring, when the ring belongs to the segment's start
  Sequence ring_first = 0;         ///< the ring's verified, contiguous events; same condition
  Sequence ring_last = 0;
  bool ring_used = false;      ///< the segment's header says its frames came from a ring
  bool ring_whole = false;     ///< every part of the ring that could hold an event verifies
  Sequence known_through = 0;  ///< end of the damage-map entry (accepted ones included) that holds `first`
  Boot boot = Boot::kUnknown;
};

struct Assessment {
  Evidence evidence;
  const VerdictCase* row = nullptr;
  Sequence proven_through = 0;  ///< highest sequence proven durable by anything
  /// The decision settles the stretch up to here. When that is not its end, judge the rest: same facts, first = this
  /// + 1. 0: all of it, its end being unknown.
  Sequence settled_through = 0;
  /// What follows from the decision; an empty range has first > last.
  Sequence healed_first = 1, healed_last = 0;
  Sequence lost_first = 1, lost_last = 0;            ///< acknowledged, or possibly so
  Sequence discarded_first = 1, discarded_last = 0;  ///< never acknowledged
  bool lost_end_unknown = false;  ///< more than lost_last may be lost: number new events above all that may have been
};

/// Numbers to evidence, evidence to row. The only place where a comparison of sequences or offsets decides anything.
Assessment assess(const StretchFacts& facts);

}  // namespace daruma
