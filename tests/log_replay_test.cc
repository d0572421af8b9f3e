// SPDX-License-Identifier: Apache-2.0
// Replay of logs made by hand: what is applied, what is lost, and what has to be written anew.
#include "recovery/log_replay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "wal_bytes.h"

namespace daruma {
namespace {

using namespace wal_test;
using testing::ElementsAre;

std::vector<Sequence> numbers(Sequence first, Sequence last) {
  std::vector<Sequence> all;
  for (; first <= last; ++first) all.push_back(first);
  return all;
}

/// Three frames of three events, the later ones each with the watermark of what stands before them.
struct LogReplayTest : testing::Test {
  LogReplayTest() {
    for (std::size_t i = 0; i < 3; ++i) frames[i] = segment.events(3 * i + 1, 3 * i + 3);
    input.directory = kDirectory;
  }
  /// With a ring that is whole and holds nothing: what is not in the log was never written.
  void write_segment() {
    put_file(disk, kSegmentPath, segment.bytes);
    write_ring(7, 6);
  }
  /// A ring, whole, with `first` to `last`.
  void write_ring(Sequence first, Sequence last) {
    RingBytes ring;
    ring.slot(1, 0, first - 1);
    for (Sequence s = first; s <= last; ++s) ring.push(s, event_of(s));
    ring.acknowledge();
    put_file(disk, kRingPath, ring.bytes);
  }
  void hurt_payload_of(Sequence sequence) {
    unsigned copies = 0;  // the frame's and its mirror's
    for (std::size_t at = 0; (at = segment.bytes.find(event_of(sequence), at)) != std::string::npos; ++copies)
      segment.bytes.replace(at, 8, "\x5a\x5a\x5a\x5a\x5a\x5a\x5a\x5a");
    ASSERT_EQ(copies, 2U);
  }
  LogReplay replay() {
    applied.clear();
    Result<LogReplay> out = replay_log(disk, input, [&](std::span<const WalRecord> events, Attempts*) {
      for (const WalRecord& record : events) {
        EXPECT_EQ(record.event, event_of(record.sequence));
        applied.push_back(record.sequence);
      }
    });
    EXPECT_TRUE(out.ok()) << out.status().to_string();
    // What log_replay.h promises of every log.
    EXPECT_EQ(out->persist.size(), out->last - out->proven);
    for (std::size_t i = 0; i < out->persist.size(); ++i) {
      const auto& [sequence, event] = out->persist[i];
      EXPECT_EQ(sequence, out->proven + 1 + i);
      const bool was_applied = std::find(applied.begin(), applied.end(), sequence) != applied.end();
      EXPECT_EQ(event, was_applied ? event_of(sequence) : std::string(EventBuilder().bytes())) << sequence;
    }
    return std::move(*out);
  }
  static std::vector<std::string> cases(const LogReplay& log) {
    std::vector<std::string> names;
    for (const RecoveryFinding& finding : log.findings) names.push_back(finding.case_name);
    return names;
  }

  SimStorage disk;
  SegmentBytes segment;
  std::uint64_t frames[3] = {};
  LogReplayInput input;
  std::vector<Sequence> applied;
};

TEST_F(LogReplayTest, AWholeLog) {
  write_segment();
  const LogReplay log = replay();
  EXPECT_EQ(applied, numbers(1, 9));
  EXPECT_EQ(log.last, 9U);
  EXPECT_EQ(log.proven, 6U);
  EXPECT_EQ(log.store, kStore);
  EXPECT_EQ(log.next_segment, 2U);
  EXPECT_TRUE(log.lost.empty());
}

TEST_F(LogReplayTest, NoLogAtAll) {
  const LogReplay log = replay();
  EXPECT_EQ(log.last, 0U);
  EXPECT_EQ(log.next_segment, 1U);
  EXPECT_FALSE(log.store.has_value());
  EXPECT_TRUE(log.lost.empty());
  input.started_before = true;
  const LogReplay gone = replay();
  ASSERT_EQ(gone.lost.size(), 1U);
  EXPECT_EQ(gone.lost[0].cause, "log_missing");
  EXPECT_EQ(gone.lost[0].keys, DamageEntry::Keys::kAll);
}

// What only such a ring holds would be lost: a start removes the rings that it found.
TEST_F(LogReplayTest, ARingFromTheFutureIsRefused) {
  for (const bool named : {true, false}) {
    SCOPED_TRACE(named ? "by the newest segment" : "by none");
    if (named) write_segment();
    RingBytes ring;
    ring.slot(1, 0, 9);
    ring.from_the_future();
    put_file(disk, kRingPath, ring.bytes);
    const auto apply = [](std::span<const WalRecord>, Attempts*) {};
    EXPECT_EQ(replay_log(disk, input, apply).status().code(), Code::kUnsupported);
    if (named) { ASSERT_TRUE(disk.remove(kSegmentPath).ok()); }
  }
}

// The ring goes with the start that made it: if only the hurt frame were left, the next start would have neither.
TEST_F(LogReplayTest, WhatTheRingHealsIsWrittenAnewThoughItIsProvenDurable) {
  hurt_payload_of(5);
  write_segment();
  write_ring(4, 9);
  const LogReplay log = replay();
  EXPECT_EQ(applied, numbers(1, 9));
  EXPECT_THAT(cases(log), ElementsAre("frame_in_ring"));
  EXPECT_EQ(log.healed_sum.events, 3U);
  EXPECT_TRUE(log.lost.empty());
  EXPECT_EQ(log.proven, 3U) << "the third frame's watermark proves 6, and must not count";
}

TEST_F(LogReplayTest, OneHurtSectorCostsNothingAndIsTold) {
  segment.bytes[frames[1] + 200] ^= 1;
  segment.bytes[kSectorBytes + 5] ^= 1;
  write_segment();
  const LogReplay log = replay();
  EXPECT_EQ(applied, numbers(1, 9));
  EXPECT_THAT(cases(log), ElementsAre("frame_healed", "segment_header_healed"));
  EXPECT_EQ(log.findings[0].offset, frames[1]);
  EXPECT_EQ(log.findings[0].first_sequence, 4U);
  EXPECT_TRUE(log.log_hurt);
  EXPECT_TRUE(log.lost.empty());
  EXPECT_TRUE(log.set_aside.empty());
  segment.bytes[frames[1] + 200] ^= 1;
  write_segment();
  EXPECT_TRUE(replay().log_hurt) << "the header alone";
  segment.bytes[frames[1] + 200] ^= 1;
  segment.bytes[kSectorBytes + 5] ^= 1;
  write_segment();
  EXPECT_TRUE(replay().log_hurt) << "the frame alone";
}

TEST_F(LogReplayTest, AHurtFrameIsLostByItsFootprint) {
  hurt_payload_of(5);
  write_segment();
  const LogReplay log = replay();
  EXPECT_THAT(applied, ElementsAre(1, 2, 3, 7, 8, 9));
  EXPECT_THAT(cases(log), ElementsAre("acked_frame_hurt_footprint"));
  ASSERT_EQ(log.lost.size(), 1U);
  EXPECT_EQ(log.lost[0].sequence_lo, 4U);
  EXPECT_EQ(log.lost[0].sequence_hi, 6U);
  EXPECT_EQ(log.lost[0].keys, DamageEntry::Keys::kHashes);
  EXPECT_THAT(log.lost[0].hashes,
              testing::UnorderedElementsAre(key_hash(1, "key4"), key_hash(1, "key5"), key_hash(1, "key6")));
  ASSERT_EQ(log.set_aside.size(), 1U);
  EXPECT_EQ(log.set_aside[0].entry.offset, frames[1]);
}

TEST_F(LogReplayTest, AMissingFrameIsLostByItsNumbers) {
  std::fill_n(segment.bytes.begin() + static_cast<std::ptrdiff_t>(frames[1]), frames[2] - frames[1], '\0');
  write_segment();
  const LogReplay log = replay();
  EXPECT_THAT(applied, ElementsAre(1, 2, 3, 7, 8, 9));
  EXPECT_THAT(cases(log), ElementsAre("acked_write_lost"));
  ASSERT_EQ(log.lost.size(), 1U);
  EXPECT_EQ(log.lost[0].sequence_lo, 4U);
  EXPECT_EQ(log.lost[0].sequence_hi, 6U);
  EXPECT_EQ(log.lost[0].keys, DamageEntry::Keys::kAll);
}

TEST_F(LogReplayTest, WhatIsKnownIsNotLostAgain) {
  hurt_payload_of(5);
  write_segment();
  DamageMap known;
  const LogReplay first = replay();
  (void)known.add(first.lost.at(0));
  input.known = &known;
  const LogReplay log = replay();
  EXPECT_THAT(applied, ElementsAre(1, 2, 3, 7, 8, 9));
  EXPECT_THAT(cases(log), ElementsAre("known_loss_frame"));
  EXPECT_TRUE(log.lost.empty());
  EXPECT_EQ(log.lost_sum.stretches, 0U);
}

TEST_F(LogReplayTest, TheSegmentThatASealNamesIsGone) {
  segment.seal(10);
  write_segment();
  const LogReplay log = replay();
  EXPECT_EQ(applied, numbers(1, 9));
  ASSERT_EQ(log.lost.size(), 1U);
  EXPECT_EQ(log.lost[0].sequence_lo, 10U);
  EXPECT_GE(log.last, 10U) << "new events are numbered above what may have been";
}

TEST_F(LogReplayTest, TheSegmentThatTheSnapshotKnowsIsGone) {
  write_segment();
  input.next_segment = 3;
  const LogReplay log = replay();
  EXPECT_EQ(applied, numbers(1, 9));
  EXPECT_THAT(cases(log), ElementsAre("log_missing"));
  ASSERT_EQ(log.lost.size(), 1U);
  EXPECT_EQ(log.lost[0].sequence_lo, 10U);
}

TEST_F(LogReplayTest, WhatOnlyTheRingHolds) {
  write_segment();
  write_ring(7, 14);
  const LogReplay log = replay();
  EXPECT_EQ(applied, numbers(1, 14));
  EXPECT_TRUE(log.lost.empty());
  EXPECT_EQ(log.proven, 6U);
}

TEST_F(LogReplayTest, AFileThatIsCutShortIsNoEnd) {
  segment.bytes.resize(frames[2]);
  put_file(disk, kSegmentPath, segment.bytes);
  write_ring(7, 6);
  LogReplay log = replay();
  EXPECT_EQ(applied, numbers(1, 6));
  ASSERT_EQ(log.lost.size(), 1U);
  EXPECT_EQ(log.lost[0].sequence_lo, 7U);
  EXPECT_THAT(cases(log), ElementsAre("unreadable_header"));
  // What stands before the cut as zeros is free space, and nothing was lost behind it.
  segment.bytes.resize(frames[2] + 2 * kSectorBytes);
  put_file(disk, kSegmentPath, segment.bytes);
  log = replay();
  EXPECT_TRUE(log.lost.empty());
}

TEST_F(LogReplayTest, AHurtEntryOfTheRingEndsNothingInSilence) {
  write_segment();
  write_ring(7, 14);
  std::string ring = *read_whole(disk, kRingPath, 16 << 20);
  for (const Sequence hurt : {10, 12, 14}) {
    std::string bytes = ring;
    std::size_t copies = 0;
    for (std::size_t at = 0; (at = bytes.find(event_of(hurt), at)) != std::string::npos; ++at, ++copies)
      bytes[at] = static_cast<char>(bytes[at] ^ 4);
    ASSERT_EQ(copies, 2U);
    put_file(disk, kRingPath, bytes);
    const LogReplay log = replay();
    ASSERT_EQ(log.lost.size(), 1U) << hurt;
    EXPECT_EQ(log.lost[0].sequence_lo, hurt);
    EXPECT_THAT(cases(log), testing::Contains("ring_hurt_write")) << hurt;
  }
}

TEST_F(LogReplayTest, ARingThatBeginsBehindTheLogTellsOfALoss) {
  write_segment();
  write_ring(11, 14);
  const LogReplay log = replay();
  EXPECT_THAT(applied, ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14));
  ASSERT_EQ(log.lost.size(), 1U);
  EXPECT_EQ(log.lost[0].sequence_lo, 10U);
  EXPECT_EQ(log.lost[0].sequence_hi, 11U) << "nothing in the log tells its end: the first number that is not lost";
}

TEST_F(LogReplayTest, ALossWithoutAKnownEndIsOlderThanWhatIsNumberedAnew) {
  put_file(disk, kSegmentPath, std::string(segment.bytes.size(), '\0'));
  const LogReplay log = replay();
  ASSERT_EQ(log.lost.size(), 1U);
  EXPECT_EQ(log.lost[0].cause, "log_missing");
  EXPECT_EQ(log.lost[0].sequence_hi, log.last + 1) << "a lost event that turns up again is not the newest";
}

TEST_F(LogReplayTest, SegmentsOfAStranger) {
  write_segment();
  input.store = StoreId{1, 2};
  const LogReplay log = replay();
  EXPECT_THAT(applied, ElementsAre());
  EXPECT_EQ(log.store, input.store);
  EXPECT_THAT(cases(log), ElementsAre("unreadable_segment", "log_missing"));
  ASSERT_EQ(log.set_aside.size(), 1U);
  EXPECT_EQ(log.set_aside[0].entry.bytes, segment.bytes.size());
  EXPECT_EQ(log.next_segment, 2U) << "its number is taken";
}

TEST_F(LogReplayTest, PointInTimeStopsBeforeTheLoss) {
  hurt_payload_of(5);
  write_segment();
  input.stop_at_loss = true;
  const LogReplay log = replay();
  EXPECT_EQ(applied, numbers(1, 3));
  ASSERT_EQ(log.lost.size(), 1U);
  EXPECT_EQ(log.lost[0].cause, kPointInTimeCause);
  EXPECT_TRUE(log.lost[0].accepted);
  EXPECT_EQ(log.lost[0].sequence_lo, 4U);
  EXPECT_EQ(log.lost[0].sequence_hi, 9U);
  EXPECT_EQ(log.last, 9U);
  EXPECT_EQ(log.lost_sum.events, 6U);
  EXPECT_EQ(log.discarded_sum.events, 0U);
  ASSERT_EQ(log.set_aside.size(), 2U);  // the hurt frame, and all that stands behind it
  EXPECT_EQ(log.set_aside[0].entry.offset, frames[1]);
  EXPECT_EQ(log.set_aside[1].entry.offset, frames[2]);
  EXPECT_GE(log.set_aside[1].entry.offset + log.set_aside[1].entry.bytes, segment.end);
}

TEST_F(LogReplayTest, PointInTimeSetsAsideWhatOnlyTheRingHolds) {
  hurt_payload_of(5);
  write_segment();
  write_ring(8, 14);
  input.stop_at_loss = true;
  const LogReplay log = replay();
  EXPECT_EQ(applied, numbers(1, 3));
  EXPECT_EQ(log.last, 14U);
  const auto ring = std::find_if(log.set_aside.begin(), log.set_aside.end(),
                                 [](const SetAside& aside) { return aside.entry.file == "wal/" + tail_name(kNonce); });
  ASSERT_NE(ring, log.set_aside.end());
  EXPECT_EQ(ring->entry.last_sequence, 14U);
}

DamageMap given_up(Sequence first, Sequence last) {
  DamageEntry entry;
  entry.sequence_lo = first;
  entry.sequence_hi = last;
  entry.cause = kPointInTimeCause;
  entry.file = "wal";
  entry.accepted = true;
  DamageMap known;
  (void)known.add(entry);
  return known;
}

// The given-up events stay given up, also where the log ends before the numbers that were: the next event must not get
// one of them, or it would never be applied.
TEST_F(LogReplayTest, NumbersThatWereGivenUpStayTaken) {
  write_segment();
  const DamageMap known = given_up(4, 20);
  input.known = &known;
  const LogReplay log = replay();
  EXPECT_EQ(applied, numbers(1, 3));
  EXPECT_EQ(log.last, 20U);
  EXPECT_TRUE(log.lost.empty());

  ASSERT_TRUE(disk.remove(kSegmentPath).ok());
  ASSERT_TRUE(disk.remove(kRingPath).ok());
  input.store = kStore;
  input.snapshot_sequence = 3;
  input.started_before = true;
  const LogReplay none = replay();
  ASSERT_EQ(none.lost.size(), 1U) << "what was written since";
  EXPECT_EQ(none.lost[0].sequence_lo, 21U);
  EXPECT_EQ(none.last, 21U);
}

// Also where nothing of the log that is left comes to them.
TEST_F(LogReplayTest, NumbersThatWereGivenUpStayTakenBehindALogThatEndsBeforeThem) {
  write_segment();
  const DamageMap known = given_up(15, 20);
  input.known = &known;
  const LogReplay log = replay();
  EXPECT_EQ(applied, numbers(1, 9));
  EXPECT_EQ(log.last, 20U);
  EXPECT_TRUE(log.lost.empty());
}

// What a power cut left behind a tear was numbered anew in the next segment. It stays of no account when the frames in
// front of it are hurt since, and reading does not end where it would.
TEST_F(LogReplayTest, FramesWhoseNumbersWereGivenAnewAreNotApplied) {
  SegmentBytes old;
  const std::uint64_t first = old.events(1, 1);
  old.events(2, 2);
  const std::uint64_t torn = old.events(3, 3);
  constexpr std::size_t kOther = 30;
  old.events(4, 5, kOther);
  old.events(6, 6, kOther);
  const auto wipe = [&](std::uint64_t at) {
    std::fill_n(old.bytes.begin() + static_cast<std::ptrdiff_t>(at), 2 * kSectorBytes, '\0');
  };
  wipe(torn);
  SegmentBytes anew(64 << 10, kIncarnation + 1, 2, 3);
  anew.events(3, 6);
  put_file(disk, kDirectory + "/wal/" + segment_name(2), anew.bytes);
  write_ring(7, 6);
  for (const bool hurt : {false, true}) {
    if (hurt) wipe(first);
    put_file(disk, kSegmentPath, old.bytes);
    const LogReplay log = replay();
    const Sequence from = hurt ? 2 : 1;
    EXPECT_EQ(applied, numbers(from, 6));
    EXPECT_EQ(log.last, 6U);
    ASSERT_EQ(log.lost.size(), hurt ? 1U : 0U);
    if (hurt) { EXPECT_EQ(log.lost[0].sequence_hi, 1U); }
    EarlierFootprints right;  // what the next life is told
    for (Sequence s = from; s < 3; ++s) right.keep(s, s, encode_footprint(*footprint(event_of(s))));
    std::vector<std::string> events;
    for (Sequence s = 3; s <= 6; ++s) events.push_back(event_of(s));
    right.keep(3, 6, encode_footprint(footprint_of_all({events.begin(), events.end()})));
    EXPECT_EQ(log.earlier.before(7, kSectorBytes), right.before(7, kSectorBytes));
  }
}

TEST_F(LogReplayTest, OfAFrameThatGoesOnBehindWhereTheNextSegmentBeginsOnlyWhatIsBeforeIsApplied) {
  SegmentBytes old;
  old.events(1, 1);
  const std::string second = event_of(2), given_up = event_of(3, 30);
  old.body(make_body(std::vector<WalRecord>{{2, second}, {3, given_up}}));
  SegmentBytes anew(64 << 10, kIncarnation + 1, 2, 3);
  anew.events(3, 6);
  put_file(disk, kSegmentPath, old.bytes);
  put_file(disk, kDirectory + "/wal/" + segment_name(2), anew.bytes);
  write_ring(7, 6);
  const LogReplay log = replay();
  EXPECT_EQ(applied, numbers(1, 6));
  EXPECT_TRUE(log.lost.empty());
}

// Six small frames, each telling of those before it, in two segments.
struct ToldLossTest : LogReplayTest {
  ToldLossTest() : newer(64 << 10, kIncarnation + 1, 2, 4) {
    segment = SegmentBytes();
    segment.tells = newer.tells = true;
    for (Sequence s = 1; s <= 3; ++s) at[s] = segment.events(s, s);
    newer.earlier = segment.earlier;
    segment.seal(4);
    for (Sequence s = 4; s <= 6; ++s) at[s] = newer.events(s, s);
    write_ring(7, 6);
  }
  static void wipe(std::string& bytes, std::uint64_t from, std::uint64_t to, char with = '\0') {
    std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(from), bytes.begin() + static_cast<std::ptrdiff_t>(to), with);
  }
  LogReplay replay_both() {
    put_file(disk, kSegmentPath, segment.bytes);
    put_file(disk, kDirectory + "/wal/" + segment_name(2), newer.bytes);
    return replay();
  }
  /// `first` to `last` are lost, and their keys are known.
  static void expect_lost(const LogReplay& log, Sequence first, Sequence last) {
    ASSERT_EQ(log.lost.size(), 1U);
    EXPECT_EQ(log.lost[0].sequence_lo, first);
    EXPECT_EQ(log.lost[0].sequence_hi, last);
    ASSERT_EQ(log.lost[0].keys, DamageEntry::Keys::kHashes);
    std::vector<std::uint64_t> keys;
    for (Sequence s = first; s <= last; ++s) keys.push_back(key_hash(1, "key" + std::to_string(s)));
    EXPECT_THAT(log.lost[0].hashes, testing::UnorderedElementsAreArray(keys));
  }

  SegmentBytes newer;
  std::map<Sequence, std::uint64_t> at;
};

TEST_F(ToldLossTest, AStretchBetweenFramesIsLostByItsKeys) {
  for (const char with : {'\0', 'x'}) {
    wipe(newer.bytes, at[4], at[6], with);
    const LogReplay log = replay_both();
    EXPECT_THAT(applied, ElementsAre(1, 2, 3, 6));
    EXPECT_THAT(cases(log), ElementsAre("acked_frame_hurt_footprint"));
    expect_lost(log, 4, 5);
    EXPECT_EQ(log.set_aside.size(), 1U);
  }
}

TEST_F(ToldLossTest, AStretchThatTheDeviceRefusesIsLostByItsKeys) {
  put_file(disk, kSegmentPath, segment.bytes);
  put_file(disk, kDirectory + "/wal/" + segment_name(2), newer.bytes);
  for (std::uint64_t sector = at[4]; sector < at[6]; sector += kSectorBytes)
    EXPECT_TRUE(disk.lose_sector(kDirectory + "/wal/" + segment_name(2), sector).ok());
  const LogReplay log = replay();
  EXPECT_THAT(applied, ElementsAre(1, 2, 3, 6));
  expect_lost(log, 4, 5);
}

TEST_F(ToldLossTest, TheNextSegmentTellsOfTheEndOfOne) {
  wipe(segment.bytes, at[2], segment.end, 'x');
  const LogReplay log = replay_both();
  EXPECT_THAT(applied, ElementsAre(1, 4, 5, 6));
  expect_lost(log, 2, 3);
}

TEST_F(ToldLossTest, TheNextSegmentTellsOfOneThatIsGone) {
  wipe(segment.bytes, 0, segment.bytes.size());
  LogReplay log = replay_both();
  EXPECT_THAT(applied, ElementsAre(4, 5, 6));
  expect_lost(log, 1, 3);
  ASSERT_TRUE(disk.remove(kSegmentPath).ok());
  log = replay();
  EXPECT_THAT(applied, ElementsAre(4, 5, 6));
  expect_lost(log, 1, 3);
}

// Between two that are left: told where the one before it says that nothing of its own was given anew.
TEST_F(ToldLossTest, TheNextSegmentTellsOfOneInTheMiddleThatIsGone) {
  for (const Sequence own_from : {0, 4}) {  // of an older file, and told
    SegmentBytes third(64 << 10, kIncarnation + 2, 3, 7);
    third.header.predecessor.own_from = own_from;
    third.rewrite_header();
    third.tells = true;
    third.earlier = newer.earlier;
    third.events(7, 7);
    put_file(disk, kDirectory + "/wal/" + segment_name(3), third.bytes);
    put_file(disk, kSegmentPath, segment.bytes);
    LogReplay log = replay();
    EXPECT_THAT(applied, ElementsAre(1, 2, 3, 7));
    expect_lost(log, 4, 6);
    const std::string second = kDirectory + "/wal/" + segment_name(2);
    put_file(disk, second, std::string(newer.bytes.size(), 'x'));
    log = replay();
    expect_lost(log, 4, 6);
    ASSERT_TRUE(disk.remove(second).ok());
  }
}

// A power cut leaves 3 torn, and 4 and 5, never acknowledged, behind it. The next life gives all three anew in a file
// that is lost: what is left of these numbers is not what was acknowledged.
TEST_F(ToldLossTest, WhatALostFileMayHaveGivenAnewIsNotTaken) {
  for (const Sequence third_start : {6U, 5U}) {
    SCOPED_TRACE(third_start);
    SegmentBytes first;
    first.tells = true;
    first.events(1, 2);
    first.watermark = 2;
    const std::uint64_t torn = first.events(3, 3);
    const std::string fourth = event_of(4, 30);
    const std::string fifth = event_of(5, 30);
    const std::vector<WalRecord> records = {{4, fourth}, {5, fifth}};
    first.body(make_body(records));
    wipe(first.bytes, torn, torn + 2 * kSectorBytes);
    SegmentBytes third(64 << 10, kIncarnation + 2, 3, third_start);
    third.tells = true;
    for (Sequence s = 1; s < third_start; ++s) third.earlier.keep(s, s, encode_footprint(*footprint(event_of(s))));
    third.events(third_start, 7);
    put_file(disk, kSegmentPath, first.bytes);
    put_file(disk, kDirectory + "/wal/" + segment_name(3), third.bytes);
    const LogReplay log = replay();
    std::vector<Sequence> taken = numbers(third_start, 7);
    taken.insert(taken.begin(), {1, 2});
    EXPECT_EQ(applied, taken);
    Sequence next = 3;
    for (const DamageEntry& entry : log.lost) {
      EXPECT_EQ(entry.keys, DamageEntry::Keys::kAll);
      EXPECT_EQ(entry.sequence_lo, next);
      next = entry.sequence_hi + 1;
    }
    EXPECT_EQ(next, third_start);
  }
}

// The same, with the file of the next life the newest: its headers, or all of it, are gone. The snapshot is behind the
// tear. The life after that one goes on from it.
TEST_F(ToldLossTest, WhatTheNewestFileMayHaveGivenAnewIsNotTaken) {
  SegmentBytes first;
  first.tells = true;
  first.events(1, 2);
  first.watermark = 2;
  const std::uint64_t torn = first.events(3, 3);
  const std::uint64_t behind = first.events(4, 4);
  first.events(5, 5, 30);
  wipe(first.bytes, torn, behind);
  put_file(disk, kSegmentPath, first.bytes);
  input.snapshot_sequence = input.snapshot_durable = 4;
  const std::string second = kDirectory + "/wal/" + segment_name(2);
  for (const bool deleted : {false, true}) {
    SCOPED_TRACE(deleted);
    write_ring(6, 5);
    put_file(disk, second, std::string(64 << 10, 'x'));
    if (deleted) {
      ASSERT_TRUE(disk.remove(second).ok());
      input.next_segment = 3;
    }
    const LogReplay log = replay();
    EXPECT_TRUE(applied.empty());
    ASSERT_FALSE(log.lost.empty());
    EXPECT_EQ(log.lost[0].sequence_lo, 5U);
    EXPECT_EQ(log.predecessor.number, 2U);
    EXPECT_EQ(log.next_segment, 3U);
    const Sequence next = log.last + 1;
    SegmentBytes third(64 << 10, kIncarnation + 2, 3, next);
    third.events(next, 8);
    const std::string path = kDirectory + "/wal/" + segment_name(3);
    put_file(disk, path, third.bytes);
    DamageMap known;
    for (const DamageEntry& entry : log.lost) (void)known.add(entry);
    input.known = &known;
    const LogReplay later = replay();
    EXPECT_EQ(applied, numbers(next, 8));
    EXPECT_TRUE(later.found_again.empty());
    input.known = nullptr;
    ASSERT_TRUE(disk.remove(path).ok());
  }
}

// A start could not read the end of the first file, told of that, and gave numbers from 4 on anew, in a second one. Now
// the first can be read, and the second is gone: its headers, or all of it; the newest, or not.
TEST_F(ToldLossTest, WhatAFileThatIsGoneGaveAnewIsNotTaken) {
  SegmentBytes first;
  first.header.boot = boot_hash("another boot");
  first.header.tail_nonce = kNonce + 1;
  first.header.own_from = 1;
  first.rewrite_header();
  for (const Sequence s : numbers(1, 8)) first.events(s, s);
  put_file(disk, kSegmentPath, first.bytes);
  const std::string second = kDirectory + "/wal/" + segment_name(2), third = kDirectory + "/wal/" + segment_name(3);
  RingBytes ring(kMinTailBytes, boot_hash(disk.boot_id()), 4);
  ring.slot(kTailSlotsUnpublished + 1, 0, 3);
  for (const Sequence s : numbers(4, 7)) ring.push(s, event_of(s + 100));
  ring.acknowledge();
  SegmentBytes later(64 << 10, kIncarnation + 2, 3, 8);
  later.header.own_from = 8;
  later.header.predecessor = {2, 7, 0, 4};
  later.header.tail_nonce = 0;
  later.rewrite_header();
  later.events(8, 9);
  DamageMap known;
  DamageEntry loss;
  loss.sequence_lo = 3;
  loss.sequence_hi = 4;
  loss.cause = "unreadable_header";
  loss.file = "wal/" + segment_name(1);
  (void)known.add(loss);
  input.known = &known;
  input.next_segment = 3;
  for (const Sequence snapshot : {0, 3, 5}) {
    for (const std::string left : {"hurt", "ring", "later file"}) {
      SCOPED_TRACE(left + ", snapshot " + std::to_string(snapshot));
      input.snapshot_sequence = snapshot;
      if (left == "hurt") put_file(disk, second, std::string(64 << 10, 'x'));
      put_file(disk, left == "later file" ? third : kRingPath, left == "later file" ? later.bytes : ring.bytes);
      std::vector<std::pair<Sequence, std::string>> taken, expected;
      const Result<LogReplay> log = replay_log(disk, input, [&](std::span<const WalRecord> events, Attempts*) {
        for (const WalRecord& record : events) taken.emplace_back(record.sequence, record.event);
      });
      ASSERT_TRUE(log.ok()) << log.status().to_string();
      for (Sequence s = snapshot + 1; s <= 3; ++s) expected.emplace_back(s, event_of(s));
      const Sequence first_lost = std::max<Sequence>(snapshot, 3) + 1;
      if (left == "later file") {
        expected.insert(expected.end(), {{8, event_of(8)}, {9, event_of(9)}});
        ASSERT_EQ(log->lost.size(), 1U);
        EXPECT_EQ(log->lost[0].sequence_lo, first_lost);
        EXPECT_EQ(log->lost[0].sequence_hi, 7U);
        EXPECT_EQ(log->lost[0].keys, DamageEntry::Keys::kAll);
      } else {
        for (Sequence s = first_lost; s <= 7; ++s) expected.emplace_back(s, event_of(s + 100));
        EXPECT_TRUE(log->lost.empty()) << "all that the second gave is in its ring";
        EXPECT_EQ(log->predecessor.own_from, 4U) << "for the start after this one";
      }
      EXPECT_EQ(taken, expected);
      EXPECT_TRUE(log->found_again.empty());
      for (const std::string& path : {kRingPath, second, third}) (void)disk.remove(path);
    }
  }
}

/// A ring of this boot that no segment which is left names.
RingBytes ring_of_a_lost_file(SimStorage& disk, Sequence own_from, Sequence durable, Sequence last) {
  RingBytes ring(kMinTailBytes, boot_hash(disk.boot_id()), own_from);
  ring.slot(kTailSlotsUnpublished + 1, 0, durable);
  for (Sequence s = durable + 1; s <= last; ++s) ring.push(s, event_of(s));
  ring.acknowledge();
  return ring;
}

// A process was killed, the next one took its log over; of that one's the newest file is gone, and all of it is in the
// ring: also where the life before gave no number itself.
TEST_F(ToldLossTest, WhatARingHoldsWhoseFileIsGoneIsTaken) {
  for (const Sequence own_from : {1, 4}) {
    SegmentBytes first;
    first.header.boot = boot_hash(disk.boot_id());
    first.header.tail_nonce = kNonce + 1;
    first.header.own_from = own_from;
    first.rewrite_header();
    first.events(1, 3);
    put_file(disk, kSegmentPath, first.bytes);
    put_file(disk, kRingPath, ring_of_a_lost_file(disk, 4, 3, 6).bytes);
    input.next_segment = 3;
    const LogReplay log = replay();
    EXPECT_EQ(applied, numbers(1, 6));
    EXPECT_TRUE(log.lost.empty());
  }
}

// What an earlier life was told to be durable is another event of that number: it proves nothing of what is lost, which
// is written anew as such, or it would be missed, and told of, once more.
TEST_F(ToldLossTest, WhatAnEarlierLifeProvesSaysNothingOfNumbersThatWereGivenAnew) {
  SegmentBytes first;
  first.header.tail_nonce = 0;
  first.header.own_from = 1;
  first.header.prepared_sequence = 5;
  first.rewrite_header();
  first.events(1, 8);
  first.watermark = 8;
  first.body(make_empty_body(kFrameMark, 9));
  put_file(disk, kSegmentPath, first.bytes);
  put_file(disk, kRingPath, ring_of_a_lost_file(disk, 5, 9, 9).bytes);
  input.next_segment = 3;
  const LogReplay log = replay();
  EXPECT_EQ(applied, numbers(1, 4));
  EXPECT_LE(log.proven, 4U);
  ASSERT_EQ(log.lost.size(), 1U);
  EXPECT_EQ(log.lost[0].sequence_lo, 5U);
  EXPECT_EQ(log.lost[0].sequence_hi, 9U);
}

// The headers of the first file are lost, the second is given up whole for one that is gone.
TEST_F(ToldLossTest, AFileInFrontOfNoneThatCountsIsToldByTheRing) {
  put_file(disk, kSegmentPath, std::string(64 << 10, 'x'));
  SegmentBytes second(64 << 10, kIncarnation + 1, 2, 11);
  second.header.tail_nonce = kNonce + 1;
  second.header.own_from = 1;
  second.rewrite_header();
  second.events(11, 13);
  put_file(disk, kDirectory + "/wal/" + segment_name(2), second.bytes);
  put_file(disk, kRingPath, ring_of_a_lost_file(disk, 6, 14, 15).bytes);
  input.next_segment = 4;
  const LogReplay log = replay();
  EXPECT_THAT(applied, ElementsAre(15));
  ASSERT_EQ(log.lost.size(), 1U);
  EXPECT_EQ(log.lost[0].sequence_lo, 1U);
  EXPECT_EQ(log.lost[0].sequence_hi, 14U);
  EXPECT_EQ(log.lost[0].keys, DamageEntry::Keys::kAll);
}

// As written before segments named their predecessors: that one may have been removed as it held nothing.
TEST_F(ToldLossTest, ASegmentThatDoesNotSayWhatItsPredecessorIsTellsOfNoFileThatIsGone) {
  for (const bool says : {false, true}) {
    SCOPED_TRACE(says);
    SegmentBytes first;
    first.watermark = 0;
    first.events(1, 1);
    const std::uint64_t lost = first.events(2, 2);
    wipe(first.bytes, lost, first.end);
    first.events(3, 3);
    SegmentBytes third(64 << 10, kIncarnation + 2, 3, 4);
    if (!says) third.header.optional_features = 0;
    third.rewrite_header();
    third.events(4, 6);
    put_file(disk, kSegmentPath, first.bytes);
    put_file(disk, kDirectory + "/wal/" + segment_name(3), third.bytes);
    replay();
    std::vector<Sequence> taken = numbers(3, 6);
    if (says) taken.erase(taken.begin());
    taken.insert(taken.begin(), 1);
    EXPECT_EQ(applied, taken);
  }
}

TEST_F(ToldLossTest, BehindALossThatIsProvenAllIsTakenWhateverFileIsGone) {
  wipe(segment.bytes, at[2], at[3]);
  SegmentBytes third(64 << 10, kIncarnation + 2, 3, 7);
  third.tells = true;
  third.earlier = newer.earlier;
  third.events(7, 7);
  put_file(disk, kSegmentPath, segment.bytes);
  put_file(disk, kDirectory + "/wal/" + segment_name(3), third.bytes);
  const LogReplay log = replay();
  EXPECT_THAT(applied, ElementsAre(1, 3, 7));
  ASSERT_EQ(log.lost.size(), 2U);
  for (const DamageEntry& entry : log.lost) EXPECT_EQ(entry.keys, DamageEntry::Keys::kHashes);
}

// Whether it was read or not, and whatever else begins where the next one will.
TEST_F(ToldLossTest, ThePredecessorIsTheNewestSegmentThatBeginsBelow) {
  SegmentBytes empty(64 << 10, kIncarnation + 2, 3, 7);
  put_file(disk, kDirectory + "/wal/" + segment_name(3), empty.bytes);
  EXPECT_EQ(replay_both().predecessor.number, 2U);
  input.snapshot_sequence = 6;
  EXPECT_EQ(replay().predecessor.number, 2U) << "all in the snapshot";
  put_file(disk, kDirectory + "/wal/" + segment_name(2), std::string(newer.bytes.size(), 'x'));
  EXPECT_EQ(replay().predecessor.number, 2U) << "it cannot be read, and may be read again";
  ASSERT_TRUE(disk.remove(kDirectory + "/wal/" + segment_name(2)).ok());
  EXPECT_EQ(replay().predecessor.number, 2U) << "which the one that is given up names";
  ASSERT_TRUE(disk.remove(kDirectory + "/wal/" + segment_name(3)).ok());
  EXPECT_EQ(replay().predecessor.number, 1U);
}

// What the ring heals is written anew, so that all behind it is given up.
TEST_F(ToldLossTest, ASegmentThatIsGivenUpIsNoPredecessorThoughAnotherNamesIt) {
  wipe(segment.bytes, at[2], at[3]);
  write_ring(2, 2);
  SegmentBytes third(64 << 10, kIncarnation + 2, 3, 7);
  put_file(disk, kDirectory + "/wal/" + segment_name(3), third.bytes);
  const LogReplay log = replay_both();
  EXPECT_EQ(applied, numbers(1, 6));
  EXPECT_EQ(log.proven, 1U);
  EXPECT_EQ(log.predecessor.number, 1U);
}

TEST_F(ToldLossTest, ALossThatTouchesNoKeyIsToldOnce) {
  SegmentBytes one;
  one.tells = true;
  one.events(1, 1);
  EventBuilder nothing;
  nothing.erase_range(0, "z", "a");
  const WalRecord record{2, nothing.bytes()};
  const std::uint64_t mark = one.body(make_body({&record, 1}));
  const std::uint64_t last = one.events(3, 3);
  wipe(one.bytes, mark, last);
  put_file(disk, kSegmentPath, one.bytes);
  write_ring(4, 3);
  const LogReplay log = replay();
  ASSERT_EQ(log.lost_marks.size(), 1U);
  EXPECT_EQ(log.lost_marks[0].first, 2U);
  EXPECT_EQ(log.lost_marks[0].second.begin, "z");
  DamageMap known;
  (void)known.add(log.lost.at(0));
  EXPECT_TRUE(log.lost[0].accepted);
  input.known = &known;
  EXPECT_THAT(cases(replay()), ElementsAre("known_loss_frame"));
}

TEST_F(ToldLossTest, WhereTheTellersAreGoneTooEveryKeyIs) {
  wipe(segment.bytes, at[2], segment.end, 'x');
  wipe(newer.bytes, at[4], newer.end, 'x');
  const LogReplay log = replay_both();
  EXPECT_THAT(applied, ElementsAre(1));
  ASSERT_EQ(log.lost.size(), 2U);
  for (const DamageEntry& entry : log.lost) EXPECT_EQ(entry.keys, DamageEntry::Keys::kAll);
}

TEST_F(ToldLossTest, AToldLossIsNotLostAgainAndIsFoundAgain) {
  const std::string whole = newer.bytes;
  wipe(newer.bytes, at[4], at[6]);
  DamageMap known;
  (void)known.add(replay_both().lost.at(0));
  input.known = &known;
  EXPECT_TRUE(replay_both().lost.empty());
  newer.bytes = whole;
  EXPECT_THAT(replay_both().found_again, ElementsAre(known.entries().at(0).id));
}

// In flight when the power went: whatever a frame that landed says of one that did not, that was never acknowledged.
TEST_F(ToldLossTest, WhatWasInFlightIsTornThoughItsKeysAreTold) {
  for (const bool tells : {false, true}) {
    SegmentBytes flight;
    flight.header.boot = boot_hash("another boot");
    flight.header.tail_nonce = 0;
    flight.rewrite_header();
    flight.tells = tells;
    flight.watermark = 0;
    flight.events(1, 1);
    const std::uint64_t torn = flight.events(2, 2);
    const std::uint64_t landed = flight.events(3, 3);
    wipe(flight.bytes, torn, landed);
    put_file(disk, kSegmentPath, flight.bytes);
    const LogReplay log = replay();
    EXPECT_THAT(applied, ElementsAre(1));
    EXPECT_TRUE(log.lost.empty());
    EXPECT_EQ(log.discarded_sum.stretches, 2U);
  }
}

// The next life is handed what the frames of this one touch; not of those that it frames again.
TEST_F(ToldLossTest, TheNextLifeCanTellOfTheLastFramesOfThisOne) {
  const LogReplay log = replay_both();
  EXPECT_EQ(log.last, 6U);
  EXPECT_EQ(log.earlier.before(7, kSectorBytes), newer.earlier.before(7, kSectorBytes));
  EXPECT_FALSE(log.earlier.before(7, kSectorBytes).empty());
}

// A gap in front of a log, given up by a person, and later the log itself: that is another loss, told once.
TEST_F(LogReplayTest, AGapThatIsKnownHidesNoNewerLoss) {
  DamageMap known;
  DamageEntry gap;
  gap.sequence_lo = 1;
  gap.sequence_hi = 5;
  gap.cause = "log_missing";
  gap.file = "wal";
  gap.accepted = true;
  (void)known.add(gap);
  input.known = &known;
  input.store = kStore;
  input.started_before = true;
  for (const std::uint64_t next_segment : {7U, 9U}) {  // another log since, lost as well
    input.next_segment = next_segment;
    LogReplay log = replay();
    ASSERT_EQ(log.lost.size(), 1U);
    EXPECT_EQ(log.lost[0].sequence_lo, 6U);
    EXPECT_EQ(log.lost[0].file, "wal/" + segment_name(next_segment - 1));
    EXPECT_EQ(log.next_segment, next_segment) << "the name of what is lost is not given anew";
    log.lost[0].accepted = true;
    (void)known.add(log.lost[0]);
    log = replay();
    EXPECT_TRUE(log.lost.empty()) << "told again";
    EXPECT_EQ(log.last, 6U) << "seven may have been given anew";
  }
}

}  // namespace
}  // namespace daruma
