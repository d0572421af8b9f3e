// SPDX-License-Identifier: Apache-2.0
//
// The verdict table, walked whole; the properties are stated here again, without the table's masks.
#include "recovery/verdict.h"

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"

namespace daruma {
namespace {

void for_each_combination(const std::function<void(const Evidence&)>& visit) {
  for (int h = 0; h < 7; ++h)
    for (int p = 0; p < 6; ++p)
      for (int f = 0; f < 2; ++f)
        for (int r = 0; r < 6; ++r)
          for (int b = 0; b < 3; ++b)
            for (int g = 0; g < 4; ++g)
              for (int o = 0; o < 3; ++o)
                for (int s = 0; s < 4; ++s) {
                  visit({static_cast<Header>(h), static_cast<Payload>(p), static_cast<FootprintState>(f),
                         static_cast<Proof>(r), static_cast<Boot>(b), static_cast<RingCopy>(g),
                         static_cast<Position>(o), static_cast<Standing>(s)});
                }
}

std::string describe(const Evidence& e) {
  std::string out;
  for (std::string_view s : {name(e.header), name(e.payload), name(e.footprint), name(e.proof), name(e.boot),
                             name(e.ring), name(e.position), name(e.standing)}) {
    out += std::string(s) + " / ";
  }
  return out + "-> " + std::string(judge(e).name);
}

bool contradictory(const Evidence& e) {
  return (e.header == Header::kOk) != (e.payload != Payload::kUnknown) ||
         (e.header != Header::kOk && e.footprint == FootprintState::kIntact) ||
         (e.standing == Standing::kSuperseded && e.proof == Proof::kSuccessor);
}
bool proven(const Evidence& e) {
  return e.proof != Proof::kNone || e.position == Position::kBeyondWindow || e.header == Header::kGap;
}
bool usable(const Evidence& e) { return e.payload == Payload::kOk; }
bool refused_by_device(const Evidence& e) {
  return e.header == Header::kUnreadable || e.payload == Payload::kUnreadable;
}
bool ends_log(Decision d) {
  return d == Decision::kEndOfLog || d == Decision::kTornTailDiscard || d == Decision::kStaleIgnore;
}

TEST(VerdictTable, MatchesEachCombinationExactlyOnceAndUsesEveryRow) {
  std::set<std::string_view> used;
  long combinations = 0;
  for_each_combination([&](const Evidence& e) {
    ++combinations;
    int rows = 0;
    for (const VerdictCase& row : verdict_table()) rows += matches(row, e) ? 1 : 0;
    ASSERT_EQ(rows, 1) << describe(e);
    used.insert(judge(e).name);
  });
  EXPECT_EQ(combinations, 7 * 6 * 2 * 6 * 3 * 4 * 3 * 4);
  EXPECT_EQ(used.size(), verdict_table().size()) << "a row is dead or two share a name";
}

TEST(VerdictTable, CallsContradictionsImpossibleAndNothingElse) {
  for_each_combination([](const Evidence& e) {
    ASSERT_EQ(judge(e).decision == Decision::kImpossible, contradictory(e)) << describe(e);
    ASSERT_EQ(judge(e).verdict == Verdict::kImpossible, contradictory(e)) << describe(e);
    ASSERT_EQ(judge(e).name.starts_with("impossible_"), contradictory(e)) << describe(e);
  });
}

TEST(VerdictTable, AckedIsKept_NeverEndsTheLogAtBytesProvenDurable) {
  for_each_combination([](const Evidence& e) {
    if (contradictory(e) || e.standing != Standing::kCurrent || !proven(e)) return;
    ASSERT_FALSE(ends_log(judge(e).decision)) << describe(e);
    ASSERT_NE(judge(e).verdict, Verdict::kTorn) << describe(e);
  });
}

TEST(VerdictTable, NeverTakesAReadErrorForAnEndOrATear) {
  for_each_combination([](const Evidence& e) {
    if (contradictory(e) || !refused_by_device(e) || e.standing == Standing::kSuperseded) return;
    ASSERT_FALSE(ends_log(judge(e).decision)) << describe(e);
  });
}

TEST(VerdictTable, NeverCallsATearCorruptionAfterPowerLoss) {
  for_each_combination([](const Evidence& e) {
    if (contradictory(e) || e.standing != Standing::kCurrent || proven(e) || refused_by_device(e) ||
        e.boot != Boot::kOther)
      return;
    if (e.payload == Payload::kUndecodable || e.payload == Payload::kKillsRecovery) return;  // these bytes verify
    ASSERT_FALSE(loses(judge(e).decision)) << describe(e);
  });
}

TEST(VerdictTable, ServesWhatTheRingHoldsUnlessItKills) {
  for_each_combination([](const Evidence& e) {
    if (contradictory(e) || e.standing != Standing::kCurrent || e.ring != RingCopy::kHoldsCopy ||
        e.payload == Payload::kKillsRecovery)
      return;
    ASSERT_EQ(judge(e).decision, usable(e) ? Decision::kApply : Decision::kHealFromRing) << describe(e);
  });
}

TEST(VerdictTable, SameBootInteriorDamageIsNeverTorn) {
  for_each_combination([](const Evidence& e) {
    if (contradictory(e) || e.standing != Standing::kCurrent || e.boot != Boot::kSame || e.position == Position::kTail)
      return;
    ASSERT_FALSE(ends_log(judge(e).decision)) << describe(e);
  });
}

TEST(VerdictTable, AfterAKillADamagedRingIsNeverAQuietEnd) {
  for_each_combination([](const Evidence& e) {
    if (contradictory(e) || e.standing != Standing::kCurrent || e.boot == Boot::kOther || e.ring != RingCopy::kDamaged)
      return;
    ASSERT_FALSE(ends_log(judge(e).decision)) << describe(e);
  });
}

TEST(VerdictTable, AppliesOnlyWhatVerifiesAndUsesOnlyAnIntactFootprint) {
  for_each_combination([](const Evidence& e) {
    const Decision d = judge(e).decision;
    if (d == Decision::kApply) {
      ASSERT_TRUE(e.header == Header::kOk && usable(e) && e.standing != Standing::kSuperseded) << describe(e);
    }
    if (d == Decision::kPoisonedQuarantineByFootprint) {
      ASSERT_TRUE(e.header == Header::kOk && e.footprint == FootprintState::kIntact) << describe(e);
    }
    if (d == Decision::kPoisonedRange) { ASSERT_EQ(e.footprint, FootprintState::kGone) << describe(e); }
  });
}

TEST(VerdictTable, AddingProofNeverMakesALossDisappear) {
  for_each_combination([](const Evidence& e) {
    if (contradictory(e) || e.proof != Proof::kNone || !loses(judge(e).decision)) return;
    for (int p = 1; p < 6; ++p) {
      Evidence more = e;
      more.proof = static_cast<Proof>(p);
      if (!contradictory(more)) { ASSERT_TRUE(loses(judge(more).decision)) << describe(more); }
    }
  });
}

TEST(VerdictTable, StandsInTheDocsRowByRow) {
#ifdef DARUMA_SOURCE_DIR
  std::ifstream in(std::string(DARUMA_SOURCE_DIR) + "/docs/recovery.md");
#else
  std::ifstream in("docs/recovery.md");
#endif
  ASSERT_TRUE(in) << "docs/recovery.md is gone";
  std::vector<std::string> rows;
  bool inside = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("| case |")) {
      inside = true;
      continue;
    }
    if (inside && !line.starts_with("|")) inside = false;
    if (inside && !line.starts_with("|---")) rows.push_back(line);
  }
  std::vector<std::string> expected;
  for (const VerdictCase& row : verdict_table()) expected.push_back(to_markdown(row));
  std::string whole;
  for (const std::string& row : expected) whole += row + "\n";
  EXPECT_EQ(rows, expected) << "docs/recovery.md must hold:\n" << whole;
}

// --- facts to evidence ---

StretchFacts after_power_loss() {
  StretchFacts f;
  f.header = Header::kBad;
  f.first = 101;
  f.begin = 1 << 20;
  f.window_bytes = 256 << 10;
  f.boot = Boot::kOther;
  f.ring_used = true;
  return f;
}

TEST(Assess, ABadTailAfterPowerLossIsTorn) {
  const Assessment a = assess(after_power_loss());
  EXPECT_EQ(a.row->name, "torn_header");
  EXPECT_EQ(a.discarded_first, 101u);
}

TEST(Assess, AWatermarkProvesOnlyWhatItCovers) {
  StretchFacts f = after_power_loss();
  f.later_frame_end = f.begin + 8192;
  f.later_watermark = 100;
  EXPECT_EQ(assess(f).row->verdict, Verdict::kTorn);
  f.later_watermark = 101;
  f.last = 104;
  const Assessment a = assess(f);
  EXPECT_EQ(a.row->name, "acked_header_hurt");
  EXPECT_EQ(a.lost_first, 101u);
  EXPECT_EQ(a.lost_last, 104u);
  EXPECT_EQ(a.proven_through, 101u);
}

TEST(Assess, AFrameProvesOnlyWhenItEndsMoreThanAWindowBehind) {
  StretchFacts f = after_power_loss();
  f.later_frame_end = f.begin + f.window_bytes;
  EXPECT_EQ(assess(f).row->verdict, Verdict::kTorn);
  ++f.later_frame_end;
  EXPECT_EQ(assess(f).row->verdict, Verdict::kCorrupt);
  f.begin = ~std::uint64_t{0} - 10;  // an offset from damaged bytes wraps nothing
  EXPECT_EQ(assess(f).row->verdict, Verdict::kTorn);
}

TEST(Assess, ASuccessorProvesWhatIsBelowItAndSupersedesTheRest) {
  StretchFacts f = after_power_loss();
  f.successor_start = 102;
  EXPECT_EQ(assess(f).row->name, "acked_header_hurt");
  EXPECT_EQ(assess(f).lost_last, 101u) << "102 stands in the successor";
  f.successor_start =
      101;  // the writer gave this segment up and wrote 101 anew, or recovery discarded it and 101 is another event
  EXPECT_EQ(assess(f).row->name, "superseded_stretch");
  f.ring_first = 90, f.ring_last = 110;
  EXPECT_EQ(assess(f).row->name, "superseded_stretch") << "the ring's 101 may be another event";
}

TEST(Assess, AnEventTooBigForTheRingMayBeCutByAKill) {
  StretchFacts f = after_power_loss();
  f.boot = Boot::kSame;
  f.ring_whole = true;
  f.ring_durable = 100;
  EXPECT_EQ(assess(f).row->name, "around_ring_header");
  f.ring_durable = 101;
  EXPECT_EQ(assess(f).row->name, "acked_header_hurt") << "the mark covers it before it is acknowledged";
  f.ring_durable = 100;
  f.later_frame_end = f.begin + 8192;
  EXPECT_EQ(assess(f).row->name, "forgotten_header") << "it was alone in flight";
}

TEST(Assess, HealsAsFarAsTheRingReachesAndJudgesTheRest) {
  StretchFacts f = after_power_loss();
  f.last = 110;
  f.later_watermark = 110;
  f.ring_first = 95, f.ring_last = 105;
  const Assessment healed = assess(f);
  EXPECT_EQ(healed.row->decision, Decision::kHealFromRing);
  EXPECT_EQ(healed.settled_through, 105u);
  f.first = healed.settled_through + 1;
  const Assessment rest = assess(f);
  EXPECT_EQ(rest.lost_first, 106u);
  EXPECT_EQ(rest.lost_last, 110u);
}

TEST(Assess, ARingThatBeginsTooLateHealsNothing) {
  StretchFacts f = after_power_loss();
  f.ring_first = 102, f.ring_last = 110;
  EXPECT_EQ(assess(f).row->name, "torn_header");
}

TEST(Assess, ALogCutBelowTheRingsMarkIsALossNotAnEnd) {
  StretchFacts f = after_power_loss();
  f.header = Header::kAbsent;
  EXPECT_EQ(assess(f).row->decision, Decision::kEndOfLog);
  f.ring_durable = 150;
  const Assessment a = assess(f);
  EXPECT_EQ(a.row->name, "acked_write_lost");
  EXPECT_EQ(a.lost_last, 150u);
  EXPECT_TRUE(a.lost_end_unknown);
}

TEST(Assess, WhatTheSnapshotHoldsCostsTheHistoryOnly) {
  StretchFacts f = after_power_loss();
  f.snapshot_sequence = 120;
  Assessment a = assess(f);
  EXPECT_EQ(a.row->name, "history_stretch_hurt");
  EXPECT_EQ(a.settled_through, 120u);
  f.first = 120;
  EXPECT_EQ(assess(f).row->name, "history_stretch_hurt") << "the last that it holds";
  f.first = 121;
  EXPECT_EQ(assess(f).row->verdict, Verdict::kTorn);
}

TEST(Assess, AKnownLossIsNotFoundAgainAndAReadableEventReturns) {
  StretchFacts f = after_power_loss();
  f.known_through = 103;
  f.last = 103;
  EXPECT_EQ(assess(f).row->name, "known_loss_stretch");
  f.header = Header::kOk, f.payload = Payload::kOk;
  EXPECT_EQ(assess(f).row->name, "good_frame");
}

TEST(Assess, NeverContradictsItselfAndAlwaysMovesOn) {
  const std::uint64_t seed = entropy_seed();
  RecordProperty("seed", std::to_string(seed));
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random r(seed);
  for (int i = 0; i < 200'000; ++i) {
    const auto near = [&] { return r.one_in(3) ? 0 : 95 + r.below(12); };
    StretchFacts f;
    f.header = static_cast<Header>(r.below(7));
    if (f.header == Header::kOk)
      f.payload = static_cast<Payload>(1 + r.below(5)), f.footprint = static_cast<FootprintState>(r.below(2));
    f.first = 100;
    if (r.one_in(2)) f.last = 100 + r.below(5);
    f.begin = r.below(10), f.window_bytes = r.below(10), f.later_frame_end = r.below(30),
    f.later_trace_end = r.below(30);
    f.later_watermark = near(), f.successor_start = near(), f.snapshot_durable = near(), f.snapshot_sequence = near();
    f.ring_durable = near(), f.ring_first = near(), f.ring_last = f.ring_first + r.below(5), f.known_through = near();
    f.ring_used = r.one_in(2), f.ring_whole = r.one_in(2), f.boot = static_cast<Boot>(r.below(3));
    const Assessment a = assess(f);
    ASSERT_FALSE(contradictory(a.evidence)) << describe(a.evidence);
    ASSERT_NE(a.row->decision, Decision::kImpossible);
    ASSERT_TRUE(a.settled_through == 0 || a.settled_through >= f.first) << describe(a.evidence);
    if (loses(a.row->decision)) { ASSERT_GE(a.lost_last, f.first); }
    if (a.row->verdict == Verdict::kTorn) { ASSERT_LT(a.proven_through, f.first); }
  }
}

}  // namespace
}  // namespace daruma
