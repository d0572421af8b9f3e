// SPDX-License-Identifier: Apache-2.0
// always-opens: what cannot be written, or stands under the wrong name, costs no reads.
#include "engine/engine.h"

#include <engine_testing.h>
#include <gtest/gtest.h>

namespace daruma {
namespace {

/// A store with a snapshot, a log behind it and an event that only the ring holds.
struct Lived : World {
  Lived() {
    Store store = must_open();
    const Keyspace k = *store.create_keyspace("k");
    EXPECT_TRUE(store.put(k, "in_run", "1").ok());
    EXPECT_TRUE(store.checkpoint().ok());
    EXPECT_TRUE(store.put(k, "in_log", "2").ok());
    EXPECT_TRUE(store.put(k, "in_ring", "3", {.durability = Durability::kProcess}).ok());
  }
  static void expect_all(const Store& store) {
    const Result<Keyspace> k = store.keyspace("k");
    ASSERT_TRUE(k.ok());
    const std::pair<const char*, const char*> all[] = {{"in_run", "1"}, {"in_log", "2"}, {"in_ring", "3"}};
    for (const auto& [key, value] : all) {
      const Result<std::string> got = store.get(*k, key);
      ASSERT_TRUE(got.ok()) << key << ": " << got.status().to_string();
      EXPECT_EQ(*got, value);
    }
    EXPECT_EQ(store.get(*k, "never").status().code(), Code::kNotFound);
  }
  /// Serves all that there is and refuses every change, with the reason.
  void expect_reads_only(Code why, const std::string& reason) {
    Result<Store::Opened> opened = open();
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    Store& store = opened->store;
    expect_all(store);
    const Keyspace k = *store.keyspace("k");
    EXPECT_TRUE(opened->report.read_only);
    EXPECT_EQ(opened->report.outcome.rfind("read_only: " + std::string(code_name(why)), 0), 0U)
        << opened->report.outcome;
    EXPECT_NE(opened->report.outcome.find(reason), std::string::npos) << opened->report.outcome;
    EXPECT_EQ(store.stats().background.code(), why);
    EXPECT_TRUE(store.stats().read_only);
    const Status refused = store.put(k, "in_log", "new");
    EXPECT_EQ(refused.code(), Code::kReadOnly);
    EXPECT_FALSE(refused.hint().empty());
    EXPECT_EQ(store.checkpoint().code(), Code::kReadOnly);
    EXPECT_EQ(store.compact(k).code(), Code::kReadOnly);
    EXPECT_EQ(store.accept_damage(1).code(), Code::kReadOnly);
    EXPECT_EQ(store.create_keyspace("other").status().code(), Code::kReadOnly);
    EXPECT_TRUE(store.sync().ok());
    EXPECT_TRUE(Engine::of(store).step().ok());
    expect_all(store);
  }
  void expect_all_is_well() {
    RecoveryReport report;
    Store store = must_open(&report);
    EXPECT_EQ(report.outcome, "served");
    expect_all(store);
    EXPECT_TRUE(store.put(*store.keyspace("k"), "after", "4").ok());
    EXPECT_TRUE(store.checkpoint().ok());
    EXPECT_TRUE(store.stats().background.ok()) << store.stats().background.to_string();
    expect_all(store);
  }
  void replace_by_a_file(const std::string& room) {
    for (const auto& [path, bytes] : contents(*disk, "store/" + room)) ASSERT_TRUE(disk->remove(path).ok());
    ASSERT_TRUE(disk->remove("store/" + room).ok());
    ASSERT_TRUE((*disk->open("store/" + room, OpenMode::kCreate))->write(0, "in the way").ok());
  }
};

TEST(Degraded, AFullDiskServesReadsAndTakesWritesOnceThereIsSpace) {
  Lived world;
  for (int starts = 0; starts < 3; ++starts) {
    world.disk->kill();
    world.disk->inject({.kind = FaultKind::kNoSpace});
    world.expect_reads_only(Code::kNoSpace, "full");
  }
  world.disk->kill();
  world.disk->clear_faults();
  world.expect_all_is_well();
}

TEST(Degraded, ADeviceThatTakesNoWritesServesReads) {
  Lived world;
  world.disk->kill();
  world.disk->inject({.kind = FaultKind::kWriteError});
  world.disk->inject({.kind = FaultKind::kSyncError});
  world.expect_reads_only(Code::kIoError, "");
  world.disk->kill();
  world.disk->clear_faults();
  world.expect_all_is_well();
}

TEST(Degraded, AStoreThatIsToBeMadeOnAFullDiskIsRefused) {
  World world;
  world.disk->inject({.kind = FaultKind::kNoSpace});
  EXPECT_EQ(world.open().status().code(), Code::kNoSpace);
}

// Damage that no manifest could take must be found again by the start that can write, so its evidence stays.
TEST(Degraded, AFullDiskDoesNotForgetALoss) {
  Lived world;
  world.disk->power_cut(0);
  const auto runs = contents(*world.disk, "store/runs");
  for (const auto& [path, bytes] : runs) ASSERT_TRUE(world.disk->remove(path).ok());
  for (int starts = 0; starts < 3; ++starts) {
    SCOPED_TRACE(starts);
    if (starts < 2) world.disk->inject({.kind = FaultKind::kNoSpace});
    Result<Store::Opened> opened = world.open();
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    EXPECT_FALSE(opened->store.damage().empty());
    EXPECT_EQ(opened->report.read_only, starts < 2);
    opened = Status(Code::kAborted, "killed");
    world.disk->kill();
    world.disk->clear_faults();
  }
}

TEST(Degraded, AFileInPlaceOfQuarantineOrRecoveries) {
  for (const char* room : {"quarantine", "recoveries"}) {
    SCOPED_TRACE(room);
    Lived world;
    world.disk->kill();
    world.replace_by_a_file(room);
    world.expect_all_is_well();
    world.disk->kill();
    world.expect_all_is_well();
  }
}

TEST(Degraded, RoomsThatTakeNoWrites) {
  for (const char* room : {"store/quarantine", "store/recoveries"}) {
    SCOPED_TRACE(room);
    Lived world;
    world.disk->kill();
    for (const FaultKind kind : {FaultKind::kWriteError, FaultKind::kSyncError, FaultKind::kNoSpace})
      world.disk->inject({.kind = kind, .path_contains = room});
    world.expect_all_is_well();
  }
}

TEST(Degraded, DirectoriesUnderTheNamesOfFiles) {
  for (const char* path : {"store/wal/0000000000000099.log", "store/wal/0000000000000000.log",
                           "store/wal/tail-00000000000000ff", "store/runs/0000000000000099.run",
                           "store/snapshots/0000000000000099.snap", "store/wal/0000000000000099.log.tmp",
                           "store/runs/0000000000000099.run.tmp", "store/snapshots/0000000000000099.snap.tmp"}) {
    SCOPED_TRACE(path);
    Lived world;
    world.disk->kill();
    ASSERT_TRUE(world.disk->make_directory(path).ok());
    world.expect_all_is_well();
    world.disk->kill();
    world.expect_all_is_well();
  }
}

}  // namespace
}  // namespace daruma
