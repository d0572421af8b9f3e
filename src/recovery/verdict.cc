// SPDX-License-Identifier: Apache-2.0
#include "recovery/verdict.h"

#include <algorithm>
#include <limits>

#include "base/assert.h"

namespace daruma {
namespace {

constexpr std::string_view kHeaderNames[] = {"ok", "gap", "foreign", "absent", "noise", "bad", "unreadable"};
constexpr std::string_view kPayloadNames[] = {"unknown", "ok", "bad", "unreadable", "undecodable", "kills_recovery"};
constexpr std::string_view kFootprintNames[] = {"gone", "intact"};
constexpr std::string_view kProofNames[] = {"none",      "later_watermark", "frame_beyond_window",
                                            "successor", "snapshot_mark",   "ring_mark"};
constexpr std::string_view kBootNames[] = {"same", "other", "unknown"};
constexpr std::string_view kRingNames[] = {"holds_copy", "without", "damaged", "none"};
constexpr std::string_view kPositionNames[] = {"tail", "hole", "beyond_window"};
constexpr std::string_view kStandingNames[] = {"current", "superseded", "covered", "known"};
constexpr std::string_view kVerdictNames[] = {"intact",   "torn",   "corrupt", "undecided",
                                              "poisoned", "healed", "stale",   "impossible"};
constexpr std::string_view kDecisionNames[] = {
    "apply",          "end_of_log",    "torn_tail_discard", "heal_from_ring", "poisoned_quarantine_by_footprint",
    "poisoned_range", "missing_range", "step_over",         "stale_ignore",   "impossible"};

template <typename E>
constexpr Matches bit(E e) {
  return static_cast<Matches>(1U << static_cast<unsigned>(e));
}
template <typename... E>
constexpr Matches of(E... e) {
  return static_cast<Matches>((bit(e) | ...));
}
template <std::size_t N>
constexpr Matches all(const std::string_view (&)[N]) {
  return static_cast<Matches>((1U << N) - 1);
}
constexpr Matches without(Matches set, Matches less) { return static_cast<Matches>(set & ~less); }

// Groups that the rows speak in.
constexpr Matches kAnyHeader = all(kHeaderNames), kAnyPayload = all(kPayloadNames), kAnyFoot = all(kFootprintNames),
                  kAnyProof = all(kProofNames), kAnyBoot = all(kBootNames), kAnyRing = all(kRingNames),
                  kAnyPos = all(kPositionNames), kAnyStand = all(kStandingNames);
constexpr Matches kFrame = bit(Header::kOk), kStretch = without(kAnyHeader, kFrame), kGapOnly = bit(Header::kGap),
                  kOpen = of(Header::kForeign, Header::kAbsent, Header::kNoise),  // no sign that a frame was begun here
    kZero = bit(Header::kAbsent), kResidue = of(Header::kForeign, Header::kNoise), kHBad = bit(Header::kBad),
                  kHUnreadable = bit(Header::kUnreadable), kHurt = of(Header::kBad, Header::kUnreadable);
constexpr Matches kNoPayload = bit(Payload::kUnknown), kSeen = without(kAnyPayload, kNoPayload),
                  kPOk = bit(Payload::kOk), kPBad = bit(Payload::kBad), kPUnreadable = bit(Payload::kUnreadable),
                  kPHurt = of(Payload::kBad, Payload::kUnreadable), kPUndecodable = bit(Payload::kUndecodable),
                  kPKills = bit(Payload::kKillsRecovery),
                  kPHealable = of(Payload::kBad, Payload::kUnreadable, Payload::kUndecodable),
                  kPUnusable = without(kSeen, kPOk);
constexpr Matches kIntact = bit(FootprintState::kIntact), kGone = bit(FootprintState::kGone);
constexpr Matches kUnproven = bit(Proof::kNone), kProven = without(kAnyProof, kUnproven),
                  kBySuccessor = bit(Proof::kSuccessor), kNotSuccessor = without(kAnyProof, kBySuccessor);
constexpr Matches kSame = bit(Boot::kSame), kOther = bit(Boot::kOther), kBootUnknown = bit(Boot::kUnknown),
                  kNotOther = of(Boot::kSame, Boot::kUnknown);
constexpr Matches kCopy = bit(RingCopy::kHoldsCopy), kNoCopy = without(kAnyRing, kCopy),
                  kLets = bit(RingCopy::kWithout), kRingHurt = bit(RingCopy::kDamaged), kNoRing = bit(RingCopy::kNone),
                  kRingClear = of(RingCopy::kWithout, RingCopy::kNone);
constexpr Matches kTail = bit(Position::kTail), kHole = bit(Position::kHole),
                  kNear = of(Position::kTail, Position::kHole), kBeyond = bit(Position::kBeyondWindow);
constexpr Matches kNow = bit(Standing::kCurrent), kOld = bit(Standing::kSuperseded), kCov = bit(Standing::kCovered),
                  kKnownLoss = bit(Standing::kKnown), kNowOrKnown = of(Standing::kCurrent, Standing::kKnown);

using V = Verdict;
using D = Decision;

// Footprint rows come in pairs: with it, exactly those keys are blocked; without it, the whole sequence range is.
constexpr VerdictCase kTable[] = {
    // Contradictions.
    {"impossible_payload_without_header", kStretch, kSeen, kAnyFoot, kAnyProof, kAnyBoot, kAnyRing, kAnyPos, kAnyStand,
     V::kImpossible, D::kImpossible},
    {"impossible_header_without_payload", kFrame, kNoPayload, kAnyFoot, kAnyProof, kAnyBoot, kAnyRing, kAnyPos,
     kAnyStand, V::kImpossible, D::kImpossible},
    {"impossible_footprint_without_header", kStretch, kNoPayload, kIntact, kAnyProof, kAnyBoot, kAnyRing, kAnyPos,
     kAnyStand, V::kImpossible, D::kImpossible},
    {"impossible_frame_above_and_below_successor", kFrame, kSeen, kAnyFoot, kBySuccessor, kAnyBoot, kAnyRing, kAnyPos,
     kOld, V::kImpossible, D::kImpossible},
    {"impossible_stretch_above_and_below_successor", kStretch, kNoPayload, kGone, kBySuccessor, kAnyBoot, kAnyRing,
     kAnyPos, kOld, V::kImpossible, D::kImpossible},

    // No part of the present.
    {"superseded_frame", kFrame, kSeen, kAnyFoot, kNotSuccessor, kAnyBoot, kAnyRing, kAnyPos, kOld, V::kStale,
     D::kStaleIgnore},
    {"superseded_stretch", kStretch, kNoPayload, kGone, kNotSuccessor, kAnyBoot, kAnyRing, kAnyPos, kOld, V::kStale,
     D::kStaleIgnore},
    {"in_snapshot", kFrame, kPOk, kAnyFoot, kAnyProof, kAnyBoot, kAnyRing, kAnyPos, kCov, V::kIntact, D::kStepOver},
    {"history_frame_hurt", kFrame, kPUnusable, kAnyFoot, kAnyProof, kAnyBoot, kAnyRing, kAnyPos, kCov, V::kCorrupt,
     D::kStepOver},
    {"history_stretch_hurt", kStretch, kNoPayload, kGone, kAnyProof, kAnyBoot, kAnyRing, kAnyPos, kCov, V::kCorrupt,
     D::kStepOver},
    {"known_loss_frame", kFrame, kPUnusable, kAnyFoot, kAnyProof, kAnyBoot, kAnyRing, kAnyPos, kKnownLoss, V::kCorrupt,
     D::kStepOver},
    {"known_loss_stretch", kStretch, kNoPayload, kGone, kAnyProof, kAnyBoot, kAnyRing, kAnyPos, kKnownLoss, V::kCorrupt,
     D::kStepOver},

    // Usable, as it stands or from the ring.
    {"good_frame", kFrame, kPOk, kAnyFoot, kAnyProof, kAnyBoot, kAnyRing, kAnyPos, kNowOrKnown, V::kIntact, D::kApply},
    {"frame_in_ring", kFrame, kPHealable, kAnyFoot, kAnyProof, kAnyBoot, kCopy, kAnyPos, kNow, V::kHealed,
     D::kHealFromRing},
    {"stretch_in_ring", kStretch, kNoPayload, kGone, kAnyProof, kAnyBoot, kCopy, kAnyPos, kNow, V::kHealed,
     D::kHealFromRing},

    // The bytes verify, so they are what was written, whoever acknowledged them: never a tear.
    {"killer_footprint", kFrame, kPKills, kIntact, kAnyProof, kAnyBoot, kAnyRing, kAnyPos, kNow, V::kPoisoned,
     D::kPoisonedQuarantineByFootprint},
    {"killer_range", kFrame, kPKills, kGone, kAnyProof, kAnyBoot, kAnyRing, kAnyPos, kNow, V::kPoisoned,
     D::kPoisonedRange},
    {"undecodable_footprint", kFrame, kPUndecodable, kIntact, kAnyProof, kAnyBoot, kNoCopy, kAnyPos, kNow, V::kPoisoned,
     D::kPoisonedQuarantineByFootprint},
    {"undecodable_range", kFrame, kPUndecodable, kGone, kAnyProof, kAnyBoot, kNoCopy, kAnyPos, kNow, V::kPoisoned,
     D::kPoisonedRange},

    // Proven durable, and hurt.
    {"acked_frame_hurt_footprint", kFrame, kPHurt, kIntact, kProven, kAnyBoot, kNoCopy, kAnyPos, kNow, V::kCorrupt,
     D::kPoisonedQuarantineByFootprint},
    {"acked_frame_hurt_range", kFrame, kPHurt, kGone, kProven, kAnyBoot, kNoCopy, kAnyPos, kNow, V::kCorrupt,
     D::kPoisonedRange},
    {"acked_header_hurt", kHurt, kNoPayload, kGone, kProven, kAnyBoot, kNoCopy, kAnyPos, kNow, V::kCorrupt,
     D::kPoisonedRange},
    {"acked_write_lost", kOpen, kNoPayload, kGone, kProven, kAnyBoot, kNoCopy, kAnyPos, kNow, V::kCorrupt,
     D::kMissingRange},
    {"gap", kGapOnly, kNoPayload, kGone, kAnyProof, kAnyBoot, kNoCopy, kAnyPos, kNow, V::kCorrupt, D::kMissingRange},
    {"frame_outside_window_footprint", kFrame, kPHurt, kIntact, kUnproven, kAnyBoot, kNoCopy, kBeyond, kNow,
     V::kCorrupt, D::kPoisonedQuarantineByFootprint},
    {"frame_outside_window_range", kFrame, kPHurt, kGone, kUnproven, kAnyBoot, kNoCopy, kBeyond, kNow, V::kCorrupt,
     D::kPoisonedRange},
    {"header_outside_window", kHurt, kNoPayload, kGone, kUnproven, kAnyBoot, kNoCopy, kBeyond, kNow, V::kCorrupt,
     D::kPoisonedRange},
    {"write_outside_window_lost", kOpen, kNoPayload, kGone, kUnproven, kAnyBoot, kNoCopy, kBeyond, kNow, V::kCorrupt,
     D::kMissingRange},

    // A read error inside the window: the drive may hide an acknowledged frame.
    {"unreadable_frame_footprint", kFrame, kPUnreadable, kIntact, kUnproven, kAnyBoot, kNoCopy, kNear, kNow,
     V::kUndecided, D::kPoisonedQuarantineByFootprint},
    {"unreadable_frame_range", kFrame, kPUnreadable, kGone, kUnproven, kAnyBoot, kNoCopy, kNear, kNow, V::kUndecided,
     D::kPoisonedRange},
    {"unreadable_header", kHUnreadable, kNoPayload, kGone, kUnproven, kAnyBoot, kNoCopy, kNear, kNow, V::kUndecided,
     D::kPoisonedRange},

    // Power loss: whatever was in flight may be torn, in any order.
    {"torn_frame", kFrame, kPBad, kAnyFoot, kUnproven, kOther, kNoCopy, kNear, kNow, V::kTorn, D::kTornTailDiscard},
    {"torn_header", kHBad, kNoPayload, kGone, kUnproven, kOther, kNoCopy, kNear, kNow, V::kTorn, D::kTornTailDiscard},
    {"torn_hole", kOpen, kNoPayload, kGone, kUnproven, kOther, kNoCopy, kHole, kNow, V::kTorn, D::kTornTailDiscard},

    // Without a ring, a kill can leave a short last write; a power loss can too, so an unknown boot changes nothing.
    {"cut_frame", kFrame, kPBad, kAnyFoot, kUnproven, kNotOther, kNoRing, kTail, kNow, V::kTorn, D::kTornTailDiscard},
    {"cut_header", kHBad, kNoPayload, kGone, kUnproven, kNotOther, kNoRing, kTail, kNow, V::kTorn, D::kTornTailDiscard},

    // Same boot, ring whole and without it, its mark below it: an event too big for the ring, which is alone in flight.
    {"around_ring_frame", kFrame, kPBad, kAnyFoot, kUnproven, kSame, kLets, kTail, kNow, V::kTorn, D::kTornTailDiscard},
    {"around_ring_header", kHBad, kNoPayload, kGone, kUnproven, kSame, kLets, kTail, kNow, V::kTorn,
     D::kTornTailDiscard},
    // The same before other frames: the ring forgets only what is durable, so this was.
    {"forgotten_frame_footprint", kFrame, kPBad, kIntact, kUnproven, kSame, kLets, kHole, kNow, V::kCorrupt,
     D::kPoisonedQuarantineByFootprint},
    {"forgotten_frame_range", kFrame, kPBad, kGone, kUnproven, kSame, kLets, kHole, kNow, V::kCorrupt,
     D::kPoisonedRange},
    {"forgotten_header", kHBad, kNoPayload, kGone, kUnproven, kSame, kLets, kHole, kNow, V::kCorrupt,
     D::kPoisonedRange},
    {"forgotten_write", kOpen, kNoPayload, kGone, kUnproven, kSame, kLets, kHole, kNow, V::kCorrupt, D::kMissingRange},

    // Same boot, no ring: the page cache survived, and a kill cuts at the end only.
    {"interior_frame_footprint", kFrame, kPBad, kIntact, kUnproven, kSame, kNoRing, kHole, kNow, V::kCorrupt,
     D::kPoisonedQuarantineByFootprint},
    {"interior_frame_range", kFrame, kPBad, kGone, kUnproven, kSame, kNoRing, kHole, kNow, V::kCorrupt,
     D::kPoisonedRange},
    {"interior_header", kHBad, kNoPayload, kGone, kUnproven, kSame, kNoRing, kHole, kNow, V::kCorrupt,
     D::kPoisonedRange},
    {"interior_write", kOpen, kNoPayload, kGone, kUnproven, kSame, kNoRing, kHole, kNow, V::kCorrupt, D::kMissingRange},

    // The ring could have decided, and is hurt: a write acknowledged with Durability::kProcess may be gone.
    {"ring_hurt_frame_footprint", kFrame, kPBad, kIntact, kUnproven, kNotOther, kRingHurt, kNear, kNow, V::kUndecided,
     D::kPoisonedQuarantineByFootprint},
    {"ring_hurt_frame_range", kFrame, kPBad, kGone, kUnproven, kNotOther, kRingHurt, kNear, kNow, V::kUndecided,
     D::kPoisonedRange},
    {"ring_hurt_header", kHBad, kNoPayload, kGone, kUnproven, kNotOther, kRingHurt, kNear, kNow, V::kUndecided,
     D::kPoisonedRange},
    {"ring_hurt_write", kOpen, kNoPayload, kGone, kUnproven, kNotOther, kRingHurt, kNear, kNow, V::kUndecided,
     D::kMissingRange},

    // Kill or power loss is not known, and they would differ.
    {"boot_unknown_frame_footprint", kFrame, kPBad, kIntact, kUnproven, kBootUnknown, kLets, kNear, kNow, V::kUndecided,
     D::kPoisonedQuarantineByFootprint},
    {"boot_unknown_frame_range", kFrame, kPBad, kGone, kUnproven, kBootUnknown, kLets, kNear, kNow, V::kUndecided,
     D::kPoisonedRange},
    {"boot_unknown_header", kHBad, kNoPayload, kGone, kUnproven, kBootUnknown, kLets, kNear, kNow, V::kUndecided,
     D::kPoisonedRange},
    {"boot_unknown_interior_frame_footprint", kFrame, kPBad, kIntact, kUnproven, kBootUnknown, kNoRing, kHole, kNow,
     V::kUndecided, D::kPoisonedQuarantineByFootprint},
    {"boot_unknown_interior_frame_range", kFrame, kPBad, kGone, kUnproven, kBootUnknown, kNoRing, kHole, kNow,
     V::kUndecided, D::kPoisonedRange},
    {"boot_unknown_interior_header", kHBad, kNoPayload, kGone, kUnproven, kBootUnknown, kNoRing, kHole, kNow,
     V::kUndecided, D::kPoisonedRange},
    {"boot_unknown_hole", kOpen, kNoPayload, kGone, kUnproven, kBootUnknown, kRingClear, kHole, kNow, V::kUndecided,
     D::kMissingRange},

    // The end. After a power loss a ring that does not verify is the usual thing and says nothing.
    {"clean_end", kZero, kNoPayload, kGone, kUnproven, kNotOther, kRingClear, kTail, kNow, V::kIntact, D::kEndOfLog},
    {"clean_end_after_power_loss", kZero, kNoPayload, kGone, kUnproven, kOther, kNoCopy, kTail, kNow, V::kIntact,
     D::kEndOfLog},
    {"residue_end", kResidue, kNoPayload, kGone, kUnproven, kNotOther, kRingClear, kTail, kNow, V::kStale,
     D::kStaleIgnore},
    {"residue_end_after_power_loss", kResidue, kNoPayload, kGone, kUnproven, kOther, kNoCopy, kTail, kNow, V::kStale,
     D::kStaleIgnore},
};

template <typename E>
constexpr bool has(Matches set, E e) {
  return (set & bit(e)) != 0;
}

constexpr bool overlap(const VerdictCase& a, const VerdictCase& b) {
  return (a.header & b.header) && (a.payload & b.payload) && (a.footprint & b.footprint) && (a.proof & b.proof) &&
         (a.boot & b.boot) && (a.ring & b.ring) && (a.position & b.position) && (a.standing & b.standing);
}
constexpr int count(Matches set) {
  int n = 0;
  for (; set; set = static_cast<Matches>(set & (set - 1))) ++n;
  return n;
}
// No two rows overlap and together they are as many combinations as there are: so exactly one row matches each.
constexpr bool complete() {
  long covered = 0;
  for (std::size_t i = 0; i < std::size(kTable); ++i) {
    const VerdictCase& r = kTable[i];
    covered += static_cast<long>(count(r.header)) * count(r.payload) * count(r.footprint) * count(r.proof) *
               count(r.boot) * count(r.ring) * count(r.position) * count(r.standing);
    for (std::size_t j = 0; j < i; ++j) {
      if (overlap(r, kTable[j])) return false;
    }
  }
  return covered == static_cast<long>(std::size(kHeaderNames)) * static_cast<long>(std::size(kPayloadNames)) *
                        std::size(kFootprintNames) * std::size(kProofNames) * std::size(kBootNames) *
                        std::size(kRingNames) * std::size(kPositionNames) * std::size(kStandingNames);
}
static_assert(complete(), "a combination of evidence has no row, or two");

template <typename E, std::size_t N>
std::string_view lookup(const std::string_view (&names)[N], E e) {
  DARUMA_ASSERT(static_cast<std::size_t>(e) < N);
  return names[static_cast<std::size_t>(e)];
}
template <std::size_t N>
std::string cell(const std::string_view (&names)[N], Matches set) {
  if (set == all(names)) return "any";
  std::string out;
  for (std::size_t i = 0; i < N; ++i) {
    if ((set & (1U << i)) == 0) continue;
    if (!out.empty()) out += ", ";
    out += names[i];
  }
  return out;
}

}  // namespace

std::string_view name(Header v) { return lookup(kHeaderNames, v); }
std::string_view name(Payload v) { return lookup(kPayloadNames, v); }
std::string_view name(FootprintState v) { return lookup(kFootprintNames, v); }
std::string_view name(Proof v) { return lookup(kProofNames, v); }
std::string_view name(Boot v) { return lookup(kBootNames, v); }
std::string_view name(RingCopy v) { return lookup(kRingNames, v); }
std::string_view name(Position v) { return lookup(kPositionNames, v); }
std::string_view name(Standing v) { return lookup(kStandingNames, v); }
std::string_view name(Verdict v) { return lookup(kVerdictNames, v); }
std::string_view name(Decision v) { return lookup(kDecisionNames, v); }

std::span<const VerdictCase> verdict_table() { return kTable; }

bool matches(const VerdictCase& row, const Evidence& e) {
  return has(row.header, e.header) && has(row.payload, e.payload) && has(row.footprint, e.footprint) &&
         has(row.proof, e.proof) && has(row.boot, e.boot) && has(row.ring, e.ring) && has(row.position, e.position) &&
         has(row.standing, e.standing);
}

const VerdictCase& judge(const Evidence& evidence) {
  for (const VerdictCase& row : kTable) {
    if (matches(row, evidence)) return row;
  }
  DARUMA_ASSERT(!"an enumerator outside its range");
  __builtin_unreachable();
}

bool loses(Decision d) {
  return d == Decision::kPoisonedQuarantineByFootprint || d == Decision::kPoisonedRange || d == Decision::kMissingRange;
}

std::string to_markdown(const VerdictCase& r) {
  std::string out = "| " + std::string(r.name);
  for (const std::string& c :
       {cell(kHeaderNames, r.header), cell(kPayloadNames, r.payload), cell(kFootprintNames, r.footprint),
        cell(kProofNames, r.proof), cell(kBootNames, r.boot), cell(kRingNames, r.ring),
        cell(kPositionNames, r.position), cell(kStandingNames, r.standing), std::string(name(r.verdict)),
        std::string(name(r.decision))}) {
    out += " | " + c;
  }
  return out + " |";
}

Assessment assess(const StretchFacts& f) {
  DARUMA_ASSERT(f.first >= 1);
  DARUMA_ASSERT(f.last == 0 || f.last >= f.first);
  Assessment a;
  // A saturating end of the window: an offset read from a damaged file must not wrap it into a proof.
  const std::uint64_t window_end = f.begin > std::numeric_limits<std::uint64_t>::max() - f.window_bytes
                                       ? std::numeric_limits<std::uint64_t>::max()
                                       : f.begin + f.window_bytes;
  const Sequence below_successor = f.successor_start ? f.successor_start - 1 : 0;
  const bool by_successor = below_successor >= f.first;
  a.proven_through =
      std::max({f.later_watermark, below_successor, f.snapshot_durable, f.snapshot_sequence, f.ring_durable});

  Evidence& e = a.evidence;
  e.header = f.header;
  e.payload = f.payload;
  e.footprint = f.footprint;
  e.boot = f.boot;
  if (f.later_watermark >= f.first)
    e.proof = Proof::kLaterWatermark;
  else if (by_successor)
    e.proof = Proof::kSuccessor;
  else if (f.later_frame_end > window_end)
    e.proof = Proof::kFrameBeyondWindow;
  else if (std::max(f.snapshot_durable, f.snapshot_sequence) >= f.first)
    e.proof = Proof::kSnapshotMark;
  else if (f.ring_durable >= f.first)
    e.proof = Proof::kRingMark;

  if (f.ring_first && f.ring_first <= f.first && f.first <= f.ring_last)
    e.ring = RingCopy::kHoldsCopy;
  else if (!f.ring_used)
    e.ring = RingCopy::kNone;
  else
    e.ring = f.ring_whole ? RingCopy::kWithout : RingCopy::kDamaged;

  if (f.later_trace_end > window_end)
    e.position = Position::kBeyondWindow;
  else
    e.position = f.later_frame_end ? Position::kHole : Position::kTail;

  // Covered before superseded: what a snapshot holds needs no log at all.
  Sequence limit = 0;
  if (f.snapshot_sequence >= f.first) {
    e.standing = Standing::kCovered;
    limit = f.snapshot_sequence;
  } else if (f.successor_start && !by_successor)
    e.standing = Standing::kSuperseded;
  else if (f.known_through >= f.first && f.payload != Payload::kOk) {
    e.standing = Standing::kKnown;
    limit = f.known_through;
  }

  a.row = &judge(e);
  const Decision d = a.row->decision;
  // A stretch runs at most to the successor: what is numbered from there on stands in it.
  Sequence last = f.last;
  if (by_successor) last = last ? std::min(last, below_successor) : below_successor;

  if (d == Decision::kHealFromRing) {
    a.settled_through = last ? std::min(last, f.ring_last) : f.ring_last;
    a.healed_first = f.first;
    a.healed_last = a.settled_through;
  } else if (d == Decision::kStepOver) {
    a.settled_through = last ? (limit ? std::min(last, limit) : last) : limit;
  } else if (loses(d)) {
    a.settled_through = last;
    a.lost_first = f.first;
    a.lost_last = last ? last : std::max(f.first, a.proven_through);
    a.lost_end_unknown = last == 0;
  } else if (d == Decision::kTornTailDiscard) {
    a.settled_through = last;
    a.discarded_first = f.first;
    a.discarded_last = std::max(f.first, last);
  } else {
    a.settled_through = last;
  }
  return a;
}

}  // namespace daruma
