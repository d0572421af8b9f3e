// SPDX-License-Identifier: Apache-2.0
// Limits of one keyspace, on one thread: what is refused or held back is of that keyspace alone, whole, and over when
// its cause is.
#include "engine/bulkhead.h"

#include <optional>

#include <engine_testing.h>
#include <gtest/gtest.h>

#include "snapshot/compaction_picker.h"

namespace daruma {
namespace {

constexpr std::uint64_t kShare = 256 << 10;
constexpr WriteOptions kQuick{.durability = Durability::kProcess};

class Bulkheads : public testing::Test {
 protected:
  KeyspaceStats stats(Keyspace keyspace) { return *store_->keyspace_stats(keyspace); }
  Status limit(Keyspace keyspace, const KeyspaceLimits& limits) { return store_->set_limits(keyspace, limits); }
  Status put(Keyspace keyspace, std::size_t bytes = 10) {
    return store_->put(keyspace, "key" + std::to_string(puts_++), std::string(bytes, 'x'), kQuick);
  }
  /// Until as much of it is not yet in runs.
  void fill(Keyspace keyspace, std::uint64_t bytes) {
    while (stats(keyspace).memtable_bytes < bytes) ASSERT_TRUE(put(keyspace, 10'000).ok());
  }
  void reopen() {
    store_.reset();
    store_.emplace(world_.must_open());
  }
  Cursor scan(Keyspace keyspace) { return *store_->cursor(keyspace); }

  World world_;
  std::optional<Store> store_ = world_.must_open();
  const Keyspace a_ = *store_->create_keyspace("a");
  const Keyspace b_ = *store_->create_keyspace("b");
  int puts_ = 0;
};

TEST_F(Bulkheads, AtItsLimitAnotherOperationIsBusyAtOnceUntilOneEnds) {
  ASSERT_TRUE(store_->put(a_, "x", "1").ok());
  ASSERT_TRUE(limit(a_, {.operations = 1}).ok());
  {
    const Cursor cursor = scan(a_);
    const Status refused = store_->get(a_, "x").status();
    ASSERT_TRUE(refused.is(Code::kBusy)) << refused.to_string();
    EXPECT_NE(refused.message().find("'a'"), std::string::npos) << refused.message();
    EXPECT_TRUE(store_->get(a_, "x", store_->view()).status().is(Code::kBusy));
    EXPECT_TRUE(store_->get_pinned(a_, "x").status().is(Code::kBusy));
    EXPECT_TRUE(store_->multi_get(a_, {"x", "y"})[1].status().is(Code::kBusy));
    EXPECT_TRUE(store_->cursor(a_).status().is(Code::kBusy));
    EXPECT_TRUE(put(a_).is(Code::kBusy));
    EXPECT_TRUE(put(b_).ok()) << "it is another keyspace's limit";
    EXPECT_EQ(stats(a_).operations, 1U);
    EXPECT_EQ(stats(a_).refused, 6U);
    EXPECT_TRUE(stats(a_).reads.is(Code::kBusy));
    EXPECT_TRUE(stats(a_).writes.is(Code::kBusy));
    EXPECT_EQ(stats(b_).refused, 0U);
    EXPECT_TRUE(stats(b_).reads.ok() && stats(b_).writes.ok());
  }
  EXPECT_EQ(stats(a_).operations, 0U);
  EXPECT_EQ(*store_->get(a_, "x"), "1");
  EXPECT_TRUE(put(a_).ok());
  EXPECT_TRUE(stats(a_).reads.ok() && stats(a_).writes.ok());
}

TEST_F(Bulkheads, AScanThatIsLetInComesToItsEnd) {
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(put(a_).ok());
  ASSERT_TRUE(limit(a_, {.operations = 1}).ok());
  Cursor cursor = scan(a_);
  int seen = 0;
  for (cursor.seek_first(); cursor.valid(); cursor.next(), ++seen)
    ASSERT_TRUE(store_->get(a_, "key0").status().is(Code::kBusy));
  EXPECT_EQ(seen, 10);
  EXPECT_TRUE(cursor.status().ok()) << cursor.status().to_string();
}

TEST_F(Bulkheads, ABatchIsAdmittedWholeOrRefusedWhole) {
  ASSERT_TRUE(limit(a_, {.operations = 1}).ok());
  ASSERT_TRUE(limit(b_, {.operations = 1}).ok());
  Batch batch;
  batch.put(a_, "x", "1");
  batch.put(b_, "x", "1");
  batch.put(a_, "y", "1");  // the same keyspace again is the same operation
  {
    const Cursor cursor = scan(b_);
    const Status refused = store_->write(batch).status();
    ASSERT_TRUE(refused.is(Code::kBusy)) << refused.to_string();
    EXPECT_NE(refused.message().find("'b'"), std::string::npos) << refused.message();
    EXPECT_TRUE(store_->get(a_, "x").status().is(Code::kNotFound));
  }
  EXPECT_EQ(stats(a_).operations, 0U);
  ASSERT_TRUE(store_->write(batch).ok());
  EXPECT_EQ(*store_->get(a_, "y"), "1");
  EXPECT_EQ(*store_->get(b_, "x"), "1");
}

TEST_F(Bulkheads, LimitsMayChangeWhileOperationsAreInProgress) {
  const Cursor before = scan(a_);
  const View view = store_->view();
  ASSERT_TRUE(limit(a_, {.operations = 2}).ok());
  EXPECT_EQ(stats(a_).operations, 0U) << "what began without a limit is not counted";
  {
    const Cursor first = scan(a_);
    const Cursor second = scan(a_);
    EXPECT_TRUE(store_->get(a_, "x", view).status().is(Code::kBusy)) << "a view is older than the limit";
    ASSERT_TRUE(limit(a_, {.operations = 3}).ok());
    EXPECT_TRUE(put(a_).ok());
    ASSERT_TRUE(limit(a_, {.operations = 1}).ok());
    EXPECT_TRUE(put(a_).is(Code::kBusy));
    ASSERT_TRUE(limit(a_, {}).ok());
    EXPECT_TRUE(put(a_).ok());
    EXPECT_EQ(stats(a_).operations, 2U);
  }
  EXPECT_EQ(stats(a_).operations, 0U) << "what was counted is counted off, also without a limit";
}

TEST_F(Bulkheads, WhatOutlivesItsKeyspaceIsCountedToItsEnd) {
  ASSERT_TRUE(put(a_).ok());
  ASSERT_TRUE(limit(a_, {.memory_bytes = kShare, .operations = 1}).ok());
  const View view = store_->view();
  std::optional<Cursor> cursor = scan(a_);
  ASSERT_TRUE(store_->drop_keyspace(a_).ok());
  ASSERT_TRUE(store_->checkpoint().ok());
  cursor->seek_first();
  EXPECT_TRUE(cursor->valid());
  EXPECT_TRUE(store_->get(a_, "key0", view).status().is(Code::kBusy));
  cursor.reset();
  EXPECT_TRUE(store_->get(a_, "key0", view).ok());
  EXPECT_TRUE(put(a_).is(Code::kNotFound));
  EXPECT_TRUE(limit(a_, {.operations = 1}).is(Code::kNotFound));
}

// --- memory ---

TEST_F(Bulkheads, ACheckpointIsDueWhenAShareIsThreeQuartersFull) {
  ASSERT_TRUE(limit(b_, {.memory_bytes = kShare}).ok());
  const std::uint64_t before = store_->stats().checkpoints;
  fill(b_, kShare / 2);
  ASSERT_TRUE(Engine::of(*store_).step().ok());
  EXPECT_EQ(store_->stats().checkpoints, before);
  fill(b_, kShare / 4 * 3);
  ASSERT_TRUE(Engine::of(*store_).step().ok());
  EXPECT_EQ(store_->stats().checkpoints, before + 1);
  EXPECT_EQ(stats(b_).memtable_bytes, 0U);
}

TEST_F(Bulkheads, AFullShareHoldsItsOwnWritersBackAndNobodyElses) {
  ASSERT_TRUE(limit(b_, {.memory_bytes = kShare}).ok());
  fill(b_, kShare);
  const std::uint64_t before = store_->stats().checkpoints;
  const std::uint64_t held_back = stats(b_).held_back;  // nothing drives the log here: for the ring
  EXPECT_TRUE(stats(b_).writes.is(Code::kBusy));
  EXPECT_TRUE(stats(b_).reads.ok());
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(put(a_).ok());
  EXPECT_TRUE(store_->get(b_, "key0").ok());
  EXPECT_EQ(store_->stats().checkpoints, before);
  Batch both;
  both.put(a_, "x", "1");
  both.put(b_, "x", "1");
  ASSERT_TRUE(store_->write(both).ok());  // without threads, whoever waits makes the checkpoint
  EXPECT_EQ(store_->stats().checkpoints, before + 1);
  EXPECT_EQ(stats(b_).held_back, held_back + 1);
  EXPECT_LT(stats(b_).memtable_bytes, kShare / 4);
  EXPECT_TRUE(stats(b_).writes.ok());
}

TEST_F(Bulkheads, WhoHasAShareDoesNotWaitForWhatOthersFilled) {
  ASSERT_TRUE(limit(a_, {.memory_bytes = kShare}).ok());
  ASSERT_TRUE(put(b_, world_.options.memtable_bytes / 2 * 3).ok());
  const std::uint64_t before = store_->stats().checkpoints;
  ASSERT_TRUE(put(a_).ok());
  EXPECT_EQ(store_->stats().checkpoints, before);
  Batch both;
  both.put(a_, "x", "1");
  both.put(b_, "x", "1");
  ASSERT_TRUE(store_->write(both).ok());
  EXPECT_EQ(store_->stats().checkpoints, before + 1) << "the other one has no share";
}

TEST_F(Bulkheads, SharesBeyondAllMemoryAreNoWayAroundIts) {
  ASSERT_TRUE(limit(a_, {.memory_bytes = kShare}).ok());
  ASSERT_TRUE(put(b_, 3 * world_.options.memtable_bytes).ok());
  const std::uint64_t before = store_->stats().checkpoints;
  ASSERT_TRUE(put(a_).ok());
  EXPECT_EQ(store_->stats().checkpoints, before + 1);
}

TEST_F(Bulkheads, ADroppedOrRaisedShareHoldsNobodyBack) {
  ASSERT_TRUE(limit(b_, {.memory_bytes = kShare}).ok());
  fill(b_, kShare);
  const std::uint64_t before = store_->stats().checkpoints;
  ASSERT_TRUE(limit(b_, {.memory_bytes = 4 * kShare}).ok());
  ASSERT_TRUE(put(b_).ok());
  ASSERT_TRUE(limit(b_, {.memory_bytes = kShare}).ok());
  ASSERT_TRUE(store_->drop_keyspace(b_).ok());
  ASSERT_TRUE(put(a_).ok());
  EXPECT_EQ(store_->stats().checkpoints, before);
}

/// The device takes nothing more, so what is in the log stays in the ring.
TEST_F(Bulkheads, WhoFillsItsPartOfTheRingLeavesTheRestToOthers) {
  ASSERT_TRUE(limit(b_, {.memory_bytes = kShare}).ok());
  world_.disk->inject({.kind = FaultKind::kStall, .path_contains = ".log"});
  Status held;
  int took = 0;
  for (; held.ok() && took < 1000; ++took) held = put(b_, 4000);
  EXPECT_TRUE(held.is(Code::kUnavailable)) << held.to_string();
  EXPECT_LT(took, 30);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(put(a_, 4000).ok()) << "there is no room in the ring";
  world_.disk->clear_faults();
  EXPECT_TRUE(put(b_, 4000).ok());
  EXPECT_GT(stats(b_).held_back, 0U);
}

TEST(LogBacklog, KnowsWhatIsNotDurable) {
  LogBacklog backlog;
  for (Sequence sequence = 1; sequence <= 10; ++sequence) {
    EXPECT_EQ(backlog.over(100, 0), 0U);
    backlog.add(sequence, 10);
  }
  EXPECT_EQ(backlog.over(100, 0), 5U) << "half of it is enough to go on";
  EXPECT_EQ(backlog.over(100, 4), 5U);
  EXPECT_EQ(backlog.over(100, 5), 0U);
  backlog.add(11, 200);
  EXPECT_EQ(backlog.over(100, 5), 10U);
  EXPECT_EQ(backlog.over(100, 10), 11U);
  EXPECT_EQ(backlog.over(100, 11), 0U);
}

// --- the rest ---

TEST_F(Bulkheads, LimitsAreOfTheProcessAndOptionsGiveTheFirst) {
  EXPECT_TRUE(limit(a_, {.memory_bytes = kShare - 1}).is(Code::kInvalidArgument));
  EXPECT_TRUE(limit(a_, {.memory_bytes = world_.options.memtable_bytes + 1}).is(Code::kInvalidArgument));
  EXPECT_EQ(stats(a_).limits, KeyspaceLimits());
  ASSERT_TRUE(limit(a_, {.memory_bytes = kShare, .operations = 7}).ok());
  ASSERT_TRUE(store_->rename_keyspace(a_, "c").ok());
  EXPECT_EQ(stats(a_).limits.operations, 7U);
  reopen();
  EXPECT_EQ(stats(a_).limits, KeyspaceLimits());
}

TEST(BulkheadOptions, HoldForEveryKeyspaceUntilItIsGivenOthers) {
  World world;
  world.options.keyspace_limits = {.memory_bytes = 1};
  EXPECT_TRUE(world.open().status().is(Code::kInvalidArgument));
  world.options.keyspace_limits = {.memory_bytes = kShare, .operations = 1};
  for (int start = 0; start < 2; ++start) {
    Store store = world.must_open();
    const Keyspace a = start == 0 ? *store.create_keyspace("a") : *store.keyspace("a");
    EXPECT_EQ(store.keyspace_stats(a)->limits, world.options.keyspace_limits);
    const Result<Cursor> cursor = store.cursor(a);
    EXPECT_TRUE(store.get(a, "x").status().is(Code::kBusy));
    ASSERT_TRUE(store.set_limits(a, {}).ok());
    EXPECT_TRUE(store.get(a, "x").status().is(Code::kNotFound));
  }
}

TEST_F(Bulkheads, DamageIsToldOfTheKeyspaceThatHasIt) {
  ASSERT_TRUE(put(b_).ok());
  ASSERT_TRUE(store_->checkpoint().ok());
  const auto runs = contents(*world_.disk, "store/runs");
  ASSERT_TRUE(put(a_).ok());
  ASSERT_TRUE(store_->checkpoint().ok());
  std::vector<std::string> of_a;
  for (const auto& [path, bytes] : contents(*world_.disk, "store/runs")) {
    if (!runs.contains(path)) of_a.push_back(path);
  }
  ASSERT_EQ(of_a.size(), 1U);
  world_.disk->power_cut(0);
  ASSERT_TRUE(world_.disk->remove(of_a[0]).ok());
  reopen();
  EXPECT_EQ(stats(a_).damage, 1U);
  EXPECT_TRUE(stats(a_).reads.is(Code::kDataLoss)) << stats(a_).reads.to_string();
  EXPECT_TRUE(stats(a_).writes.ok()) << stats(a_).writes.to_string();
  EXPECT_EQ(stats(b_).damage, 0U);
  EXPECT_TRUE(stats(b_).reads.ok());
}

TEST_F(Bulkheads, WritesAreToldAsRefusedWhereTheStoreTakesNone) {
  EXPECT_TRUE(stats(a_).writes.ok());
  world_.options.read_only = true;
  world_.disk->power_cut(0);
  reopen();
  EXPECT_TRUE(stats(a_).writes.is(Code::kReadOnly));
  EXPECT_TRUE(stats(a_).reads.ok());
}

PlacedRun run(std::uint64_t number, std::uint32_t keyspace) {
  PlacedRun placed;
  placed.info.number = number;
  placed.info.keyspace = keyspace;
  placed.info.min_sequence = placed.info.max_sequence = number;
  placed.info.smallest_key = "a";
  placed.info.largest_key = "b";
  placed.info.entries = placed.info.file_bytes = 10;
  return placed;
}

TEST(CompactionTurns, AKeyspaceThatIsFarBehindLeavesTheNextTurnToTheOthers) {
  std::vector<PlacedRun> runs;
  for (std::uint64_t number = 1; number <= 40; ++number) runs.push_back(run(number, 1));
  for (std::uint64_t number = 41; number <= 44; ++number) runs.push_back(run(number, 7));
  EXPECT_EQ(pick_compaction(runs, {}, {}, 0)->keyspace, 1U);
  EXPECT_EQ(pick_compaction(runs, {}, {}, 1)->keyspace, 7U);
  EXPECT_EQ(pick_compaction(runs, {}, {}, 7)->keyspace, 1U);
  runs.resize(43);
  EXPECT_EQ(pick_compaction(runs, {}, {}, 1)->keyspace, 1U) << "nobody else has one to do";
}

}  // namespace
}  // namespace daruma
