// SPDX-License-Identifier: Apache-2.0
#include "recovery/quarantine.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "io/sim_storage.h"

namespace daruma {
namespace {

using Kept = QuarantineEntry::Kept;
constexpr StoreId kStore{1, 2};

QuarantineEntry evidence(std::uint64_t offset = 4096) {
  QuarantineEntry e;
  e.case_name = "acked_header_hurt", e.file = "wal/1.log", e.offset = offset, e.first_sequence = 7, e.last_sequence = 9;
  e.verdict = "corrupt", e.proof = "ring_mark", e.wall_ns = 5;
  return e;
}
void make_store(SimStorage& disk) {
  ASSERT_TRUE(disk.make_directory("s").ok());
  ASSERT_TRUE(disk.sync_directory("").ok());  // the name "s" is its parent's
}

TEST(Quarantine, LooksWithoutTouching) {
  SimStorage disk;
  make_store(disk);
  const std::uint64_t before = disk.fingerprint();
  const Quarantine q(disk, "s/quarantine", kStore);
  EXPECT_TRUE(q.list().empty());
  EXPECT_EQ(disk.fingerprint(), before);
}

TEST(Quarantine, KeepsBytesThroughAPowerCutOncePutAnswers) {
  SimStorage disk;
  make_store(disk);
  const std::string bytes(10'000, '\x5a');
  QuarantineEntry put;
  { put = Quarantine(disk, "s/quarantine", kStore).put(evidence(), bytes); }
  EXPECT_EQ(put.kept, Kept::kBytes);
  disk.power_cut(0);
  Quarantine q(disk, "s/quarantine", kStore);
  ASSERT_EQ(q.list().size(), 1u);
  EXPECT_EQ(q.list()[0], put);
  ASSERT_TRUE(q.read(put.id).ok());
  EXPECT_EQ(*q.read(put.id), bytes);
  ASSERT_TRUE(q.export_to(put.id, "s/out").ok());
  EXPECT_TRUE(q.export_to(put.id, "s/out").is(Code::kExists));
  EXPECT_EQ(*read_whole(disk, "s/out", 1 << 20), bytes);
}

TEST(Quarantine, TwiceIsOnce) {
  SimStorage disk;
  make_store(disk);
  Quarantine(disk, "s/quarantine", kStore).put(evidence(), "same");
  const std::uint64_t before = disk.fingerprint();
  Quarantine q(disk, "s/quarantine", kStore);
  q.put(evidence(), "same");
  EXPECT_EQ(disk.fingerprint(), before);
  q.put(evidence(), "other bytes");
  q.put(evidence(8192), "same");
  EXPECT_EQ(q.list().size(), 3u);
}

TEST(Quarantine, MayBeKilledAtAnyWriteAndNeverLosesWhatItAnswered) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    for (std::uint64_t at = 0;; ++at) {
      SCOPED_TRACE("seed " + std::to_string(seed) + " operation " + std::to_string(at));
      SimStorage disk({.seed = seed});
      make_store(disk);
      const std::string first_id = Quarantine(disk, "s/quarantine", kStore).put(evidence(), "first").id;
      disk.crash_at(disk.operations() + at, seed % 2 == 0);
      const Kept kept = Quarantine(disk, "s/quarantine", kStore).put(evidence(8192), std::string(9000, 'x')).kept;
      const bool crashed = disk.crashed();
      disk.disarm();
      if (seed % 3 == 0)
        disk.kill();
      else
        disk.power_cut();
      Quarantine q(disk, "s/quarantine", kStore);
      ASSERT_TRUE(q.read(first_id).ok()) << "an older entry was touched";
      if (kept == Kept::kBytes) { ASSERT_EQ(q.list().size(), 2u); }
      const QuarantineEntry again = q.put(evidence(8192), std::string(9000, 'x'));
      ASSERT_EQ(again.kept, Kept::kBytes);
      ASSERT_TRUE(q.read(again.id).ok());
      ASSERT_EQ(Quarantine(disk, "s/quarantine", kStore).list().size(), 2u);
      if (!crashed) break;
    }
  }
}

TEST(Quarantine, OneFaultFree_AnyDamagedLedgerSectorLosesNoEntry) {
  SimStorage disk;
  make_store(disk);
  {
    Quarantine q(disk, "s/quarantine", kStore);
    for (std::uint64_t i = 0; i < 4; ++i) q.put(evidence(i * 4096), "bytes");
  }
  const std::uint64_t size = read_whole(disk, "s/quarantine/ledger", 1 << 20)->size();
  for (std::uint64_t at = 0; at < size; at += 4096) {
    for (int how = 0; how < 4; ++how) {
      auto copy = disk.clone(at + 1);
      if (how == 0) { ASSERT_TRUE(copy->flip_bit("s/quarantine/ledger", at + 40, 3).ok()); }
      if (how == 1) { ASSERT_TRUE(copy->overwrite("s/quarantine/ledger", at, std::string(4096, '\0')).ok()); }
      if (how == 2) {
        ASSERT_TRUE(copy->overwrite("s/quarantine/ledger", at,
                                    read_whole(disk, "s/quarantine/ledger", 1 << 20)->substr((at + 4096) % size, 4096))
                        .ok());
      }
      if (how == 3)
        copy->inject({.kind = FaultKind::kReadError,
                      .path_contains = "ledger",
                      .offset = at,
                      .bytes = 4096,
                      .skip = 0,
                      .times = 0});
      Quarantine q(*copy, "s/quarantine", kStore);
      EXPECT_EQ(q.list().size(), 4u) << at << " " << how;
      EXPECT_EQ(q.damaged_sectors(), how == 1 ? 0u : 1u) << at << " " << how;
    }
  }
}

TEST(Quarantine, SaysSo_CountsWhatItSkips) {
  SimStorage disk;
  make_store(disk);
  {
    Quarantine q(disk, "s/quarantine", kStore);
    q.put(evidence(), "a");
    q.put(evidence(8192), "b");
  }
  ASSERT_TRUE(disk.overwrite("s/quarantine/ledger", 0, std::string(8192, '\x11')).ok());
  Quarantine q(disk, "s/quarantine", kStore);
  EXPECT_EQ(q.list().size(), 1u);
  EXPECT_EQ(q.damaged_sectors(), 2u);
  q.put(evidence(), "a");
  EXPECT_EQ(Quarantine(disk, "s/quarantine", kStore).list().size(), 2u);
}

TEST(Quarantine, WithoutSpaceRecordsTheExtentAndLaterTheBytes) {
  SimStorage disk;
  make_store(disk);
  disk.inject({.kind = FaultKind::kNoSpace,
               .path_contains = ".bytes",
               .offset = 0,
               .bytes = ~std::uint64_t{0},
               .skip = 0,
               .times = 0});
  {
    Quarantine q(disk, "s/quarantine", kStore);
    const QuarantineEntry e = q.put(evidence(), "bytes");
    EXPECT_EQ(e.kept, Kept::kExtentOnly);
    EXPECT_TRUE(q.last_error().is(Code::kNoSpace));
    EXPECT_TRUE(q.read(e.id).status().is(Code::kNotFound));
  }
  disk.clear_faults();
  Quarantine q(disk, "s/quarantine", kStore);
  ASSERT_EQ(q.list().size(), 1u);
  EXPECT_EQ(q.put(evidence(), "bytes").kept, Kept::kBytes);
  EXPECT_EQ(Quarantine(disk, "s/quarantine", kStore).list().size(), 1u);
}

TEST(Quarantine, RecoveryNeedsZeroBytes) {
  SimStorage disk;
  make_store(disk);
  disk.inject({.kind = FaultKind::kNoSpace,
               .path_contains = "",
               .offset = 0,
               .bytes = ~std::uint64_t{0},
               .skip = 0,
               .times = 0});
  Quarantine q(disk, "s/quarantine", kStore);
  EXPECT_EQ(q.put(evidence(), "bytes").kept, Kept::kNowhere);
  EXPECT_EQ(q.list().size(), 1u) << "this start still reports it";
}

TEST(Quarantine, ResolutionsLastAndDamagedBytesAreNotHandedOut) {
  SimStorage disk;
  make_store(disk);
  std::string id;
  {
    Quarantine q(disk, "s/quarantine", kStore);
    id = q.put(evidence(), "bytes").id;
    ASSERT_TRUE(q.resolve(id, QuarantineEntry::Resolution::kAccepted).ok());
    EXPECT_TRUE(q.resolve("q-0000000000000000", QuarantineEntry::Resolution::kHealed).is(Code::kNotFound));
  }
  ASSERT_TRUE(disk.flip_bit("s/quarantine/" + id + ".bytes", 2, 1).ok());
  Quarantine q(disk, "s/quarantine", kStore);
  EXPECT_EQ(q.find(id)->resolution, QuarantineEntry::Resolution::kAccepted);
  EXPECT_TRUE(q.read(id).status().is(Code::kCorruption));
}

}  // namespace
}  // namespace daruma
