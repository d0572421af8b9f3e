// SPDX-License-Identifier: Apache-2.0
// Scrubbing: one flipped bit in every class of file is found and healed though nobody reads it; a pass keeps its pace
// on the injected clock and goes on after a kill where it stood.
#include "engine/engine.h"

#include <engine_testing.h>
#include <gtest/gtest.h>
#include <passing_storage.h>

#include "recovery/quarantine.h"
#include "snapshot/catalogue.h"
#include "snapshot/scrub.h"
#include "wal/wal_reader.h"

namespace daruma {
namespace {

constexpr std::int64_t kDay = 86'400'000'000'000;

struct Heard : EventListener {
  std::vector<ScrubResult> passes;
  void on_scrub(const ScrubResult& result) override { passes.push_back(result); }
};

/// One bit of one file is hurt on the device, below a page cache that is clean; until the file is replaced or removed.
class CleanCache : public PassingStorage {
 public:
  CleanCache(Storage& base, std::string path, std::uint64_t at)
      : PassingStorage(base), hurt_(std::move(path)), at_(at) {}
  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override {
    Result<std::unique_ptr<File>> file = PassingStorage::open(path, mode);
    if (!file.ok() || mode != OpenMode::kRead || path != hurt_) return file;
    return std::unique_ptr<File>(std::make_unique<Hurt>(std::move(*file), at_));
  }
  Status rename(const std::string& from, const std::string& to) override {
    if (to == hurt_ || from == hurt_) hurt_.clear();
    return PassingStorage::rename(from, to);
  }
  Status remove(const std::string& path) override {
    if (path == hurt_) hurt_.clear();
    return PassingStorage::remove(path);
  }

 private:
  class Hurt : public PassingFile {
   public:
    Hurt(std::unique_ptr<File> file, std::uint64_t at) : PassingFile(std::move(file)), at_(at) {}
    Result<std::size_t> read_direct(std::uint64_t offset, std::span<char> out) override {
      Result<std::size_t> got = PassingFile::read_direct(offset, out);
      if (got.ok() && at_ >= offset && at_ < offset + *got)
        out[at_ - offset] = static_cast<char>(out[at_ - offset] ^ 8);
      return got;
    }

   private:
    const std::uint64_t at_;
  };
  std::string hurt_;
  const std::uint64_t at_;
};

class EngineScrub : public testing::Test {
 protected:
  void SetUp() override {
    world_.clock.advance(kDay);
    world_.compaction.level0_trigger = 100;
    options_.listener = heard_;
    options_.scrub_days = 10;
    Store store = open();
    const Keyspace k = *store.create_keyspace("k");
    for (int round = 0; round < 3; ++round) {
      for (int i = 0; i < 40; ++i) {
        const std::string key = "key" + std::to_string(i * (round + 1));
        ASSERT_TRUE(store.put(k, key, model_[key] = noise(700)).ok());
      }
      ASSERT_TRUE(store.checkpoint().ok());
    }
    for (int i = 0; i < 500; ++i) {  // several segments behind the snapshot
      const std::string key = "late" + std::to_string(i);
      ASSERT_TRUE(store.put(k, key, model_[key] = noise(900)).ok());
    }
  }
  std::string noise(std::size_t bytes) {
    std::string text(bytes, '\0');
    for (char& c : text) c = static_cast<char>(random_.next());
    return text;
  }
  Store open() {
    Result<Store::Opened> opened = world_.open(options_);
    EXPECT_TRUE(opened.ok()) << opened.status().to_string();
    return std::move(opened->store);
  }
  void expect_all_right(const Store& store) {
    const Keyspace k = *store.keyspace("k");
    for (const auto& [key, value] : model_) ASSERT_EQ(*store.get(k, key), value);
  }
  std::string set_aside() {
    const StoreId store = *read_catalogue(*world_.disk, "store", std::nullopt)->store;
    Quarantine quarantine(*world_.disk, "store/quarantine", store);
    return quarantine.put({.case_name = "test", .file = "runs/x"}, "evidence").id;
  }
  /// Files of a room whose names have this in them, rising.
  [[nodiscard]] std::vector<std::string> files(const std::string& room, const std::string& part) const {
    std::vector<std::string> found;
    const std::vector<DirectoryEntry> entries = *world_.disk->list("store/" + room);
    for (const DirectoryEntry& entry : entries) {
      if (entry.name.find(part) != std::string::npos) found.push_back("store/" + room + "/" + entry.name);
    }
    return found;
  }
  [[nodiscard]] std::optional<ScrubPosition> position() const {
    const Catalogue catalogue = *read_catalogue(*world_.disk, "store", std::nullopt);
    return read_scrub_position(*world_.disk, "store/recoveries", *catalogue.store);
  }
  /// A pass of the background, from beginning to end; how many of its steps gave kIoError.
  unsigned pass(const Store& store) {
    heard_->passes.clear();
    world_.clock.advance(100 * kDay);
    unsigned told = 0;
    for (int i = 0; i < 200 && heard_->passes.empty(); ++i) {
      told += Engine::of(store).step().is(Code::kIoError);
      world_.clock.advance(2'000'000'000);
    }
    EXPECT_EQ(heard_->passes.size(), 1U) << "it stands still";
    return told;
  }
  World world_;
  Random random_{5};
  std::shared_ptr<Heard> heard_ = std::make_shared<Heard>();
  Options options_ = small();
  std::map<std::string, std::string> model_;
};

TEST_F(EngineScrub, FindsAndHealsOneFlippedBitInEveryClassOfFile) {
  (void)set_aside();
  Store store = open();
  const ScrubResult sound = *store.scrub();
  EXPECT_EQ(sound.damaged, 0U);
  EXPECT_GT(sound.sectors, 30U);
  std::size_t runs = 0, manifests = 0, segments = 0, ledgers = 0;
  for (const auto& [path, bytes] : contents(*world_.disk, "store")) {
    const bool run = path.ends_with(".run"), ledger = path.ends_with("/ledger");
    const bool manifest = path.ends_with(".snap") || path.ends_with("/manifest");
    if (!run && !manifest && !ledger) continue;
    for (const std::uint64_t at : {std::uint64_t{100}, bytes.size() / 2 + 40, bytes.size() - 4000}) {
      SCOPED_TRACE(path + " at " + std::to_string(at));
      if (ledger && bytes.find_first_not_of('\0', at) >= at / 4096 * 4096 + 4096) continue;  // padding
      ASSERT_TRUE(world_.disk->flip_bit(path, at, 3).ok());
      const Result<ScrubResult> found = store.scrub();
      ASSERT_TRUE(found.ok()) << found.status().to_string();
      ASSERT_EQ(found->damaged, 1U);
      ASSERT_EQ(found->healed, 1U);
      ASSERT_EQ(*read_whole(*world_.disk, path, 64 << 20), bytes) << "healed, but not to what it was";
      ASSERT_EQ(store.scrub()->damaged, 0U);
      ++(run ? runs : manifest ? manifests : ledgers);
    }
  }
  // The log is not mended but made superfluous: a checkpoint holds what the segment holds.
  const std::vector<std::string> logs = files("wal", ".log");
  ASSERT_GE(logs.size(), 2U);
  ASSERT_TRUE(world_.disk->flip_bit(logs.front(), 3 * 4096 + 200, 1).ok());
  const Sequence before = store.stats().snapshot_sequence;
  EXPECT_EQ(store.scrub()->healed, 1U);
  EXPECT_GT(store.stats().snapshot_sequence, before);
  ++segments;
  expect_all_right(store);
  EXPECT_GT(runs, 9U);
  EXPECT_GT(manifests, 3U);
  EXPECT_GT(ledgers, 0U);
  std::printf("%zu in runs, %zu in manifests, %zu in segments, %zu in the ledger\n", runs, manifests, segments,
              ledgers);
}

TEST_F(EngineScrub, AHurtFrameInTheNewestSegmentIsSealedAwayAndThenNothingNeedsIt) {
  Store store = open();
  const Keyspace k = *store.keyspace("k");
  ASSERT_TRUE(store.put(k, "newest", model_["newest"] = "event").ok());
  const std::string newest = files("wal", ".log").back();
  ASSERT_TRUE(world_.disk->flip_bit(newest, kSegmentFramesAt + kFrameHeaderBytes + 4, 3).ok());
  constexpr std::uint64_t kUnlimited = ~std::uint64_t{0};
  world_.disk->set_capacity(kUnlimited - *world_.disk->free_bytes("store") + (640 << 10));  // a ring, and not a segment
  EXPECT_TRUE(store.scrub().status().is(Code::kNoSpace));
  EXPECT_EQ(files("wal", ".log").back(), newest) << "a log that works is kept where another may not fit";
  EXPECT_TRUE(store.put(k, "newest", model_["newest"] = "goes on").ok());
  world_.disk->set_capacity(kUnlimited);
  const Result<ScrubResult> found = store.scrub();
  ASSERT_TRUE(found.ok()) << found.status().to_string();
  EXPECT_EQ(found->damaged, 1U);
  EXPECT_NE(files("wal", ".log").back(), newest) << "it is still written";
  for (int round = 0; round < 2; ++round) {  // the older generation, too, is one that holds it
    ASSERT_TRUE(store.put(k, "later", model_["later"] = std::to_string(round)).ok());
    ASSERT_TRUE(store.checkpoint().ok());
  }
  EXPECT_EQ(files("wal", newest.substr(newest.rfind('/') + 1)).size(), 0U);
  EXPECT_EQ(store.scrub()->damaged, 0U);
  expect_all_right(store);
}

TEST_F(EngineScrub, AHurtHalfOfTheRingIsFoundAndAnotherRingBegun) {
  Store store = open();
  const Keyspace k = *store.keyspace("k");
  ASSERT_TRUE(store.put(k, "live", model_["live"] = "in the ring alone", {Durability::kProcess}).ok());
  EXPECT_EQ(store.scrub()->damaged, 0U);
  const std::string ring = files("wal", "tail-").front();
  const TailScan scan =
      read_tail(*world_.disk, "store", std::nullopt, *parse_tail_name(ring.substr(ring.rfind('/') + 1)));
  ASSERT_EQ(scan.entries.size(), 1U);
  const std::uint64_t half = tail_half_bytes(scan.header.capacity);
  const std::uint64_t entry = kTailDataAt + scan.durable_position % scan.header.capacity + kTailEntryHeaderBytes;
  ASSERT_TRUE(world_.disk->flip_bit(ring, half + entry, 1).ok());
  const Result<ScrubResult> found = store.scrub();
  ASSERT_TRUE(found.ok()) << found.status().to_string();
  EXPECT_EQ(found->damaged, 1U);
  EXPECT_EQ(found->healed, 1U);
  EXPECT_NE(files("wal", "tail-").front(), ring);
  EXPECT_EQ(store.scrub()->damaged, 0U);
  expect_all_right(store);
}

TEST_F(EngineScrub, FindsOnTheDeviceWhatACleanPageCacheHides) {
  const std::string id = set_aside();
  const auto frame = kSegmentFramesAt + kFrameHeaderBytes + 4;
  const auto body = 2 * kSectorBytes - 4000;
  {
    Store store = open();
    ASSERT_TRUE(store.put(*store.keyspace("k"), "newest", model_["newest"] = "event").ok());
  }
  const auto places = [&]() -> std::vector<std::pair<std::string, std::uint64_t>> {
    return {{files("runs", ".run").back(), body},
            {files("snapshots", ".snap").front(), 100},
            {"store/recoveries/" + std::string(kManifestCopy), 100},
            {files("wal", ".log").front(), frame},
            {files("wal", ".log").back(), frame},
            {"store/quarantine/ledger", 30},
            {"store/quarantine/" + id + ".bytes", 3}};
  }();
  for (const auto& [path, at] : places) {
    SCOPED_TRACE(path);
    World copy = world_;
    copy.disk = world_.disk->clone(1);
    Environment environment = copy.environment();
    environment.storage = std::make_shared<CleanCache>(*copy.disk, path, at);
    Result<Store::Opened> opened = Engine::open_store("store", options_, environment);
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    const Result<ScrubResult> found = opened->store.scrub();
    ASSERT_TRUE(found.ok()) << found.status().to_string();
    EXPECT_EQ(found->damaged, 1U);
    expect_all_right(opened->store);
  }
}

TEST_F(EngineScrub, WhatItFindsAndCannotHealIsDamageToTheStoresHealth) {
  Store store = open();
  EXPECT_TRUE(store.health().reads.ok());
  const std::string run = files("runs", ".run")[1];  // of all generations; the first has names, which memory has too
  const std::string noise(read_whole(*world_.disk, run, 64 << 20)->size(), '\x5a');
  ASSERT_TRUE(world_.disk->overwrite(run, 0, noise).ok());
  const Result<ScrubResult> found = store.scrub();
  ASSERT_TRUE(found.ok()) << found.status().to_string();
  EXPECT_EQ(found->lost, 1U);
  EXPECT_EQ(store.health().level, HealthLevel::kDegraded);
  EXPECT_TRUE(store.health().reads.is(Code::kDataLoss));
  const std::vector<HealthCheck> checks = store.health().checks;
  const auto damage =
      std::find_if(checks.begin(), checks.end(), [](const HealthCheck& c) { return c.name == "damage"; });
  ASSERT_NE(damage, checks.end());
  EXPECT_FALSE(damage->cause.ok());
}

TEST_F(EngineScrub, WhereTheDiskIsFullNothingIsLostAndItHealsWhenThereIsSpace) {
  Store store = open();
  ASSERT_TRUE(store.scrub().ok());
  const auto runs = contents(*world_.disk, "store/runs");
  ASSERT_TRUE(world_.disk->flip_bit(runs.begin()->first, 100, 3).ok());
  constexpr std::uint64_t kUnlimited = ~std::uint64_t{0};
  world_.disk->set_capacity(kUnlimited - *world_.disk->free_bytes("store") + 8192);
  EXPECT_TRUE(store.scrub().status().is(Code::kNoSpace));
  EXPECT_EQ(store.stats().scrubbed.lost, 0U);
  world_.disk->set_capacity(kUnlimited);
  const Result<ScrubResult> found = store.scrub();
  ASSERT_TRUE(found.ok()) << found.status().to_string();
  EXPECT_EQ(found->healed, 1U);
  EXPECT_EQ(found->lost, 0U);
  expect_all_right(store);
}

TEST_F(EngineScrub, KeepsItsPaceOnTheClockAndGoesOnAfterAKill) {
  std::uint64_t looked = 0;
  std::uint64_t days = 0;
  std::uint64_t furthest = 0;
  while (heard_->passes.empty()) {
    ASSERT_LT(++days, 40U) << "a pass of ten days takes longer than a month";
    {
      Store store = open();
      for (int i = 0; i < 4; ++i) ASSERT_TRUE(Engine::of(store).step().ok());
      const std::uint64_t today = store.stats().scrubbed.bytes;
      for (int i = 0; i < 4; ++i) ASSERT_TRUE(Engine::of(store).step().ok());
      ASSERT_EQ(store.stats().scrubbed.bytes, today) << "the clock stood still";
      world_.clock.advance(kDay / 2);
      for (int i = 0; i < 50 && heard_->passes.empty(); ++i) {
        world_.clock.advance(2'000'000'000);
        ASSERT_TRUE(Engine::of(store).step().ok());
      }
      looked += store.stats().scrubbed.files;
    }
    if (const auto at = position(); at && heard_->passes.empty()) {
      ASSERT_GE(at->bytes_done, furthest) << "it began anew";
      furthest = at->bytes_done;
    }
    world_.disk->power_cut(50);
    world_.clock.advance(kDay / 2);
  }
  EXPECT_GE(days, 9U);
  EXPECT_LE(days, 12U);
  EXPECT_GT(looked, 8U);
  EXPECT_GT(furthest, 0U);
  EXPECT_EQ(position()->passes, 1U);
}

TEST_F(EngineScrub, ALateOneKeepsTheRateLimit) {
  Store store = open();
  world_.clock.advance(100 * kDay);
  ASSERT_TRUE(Engine::of(store).step().ok());  // a manifest
  std::uint64_t bytes = 0;
  std::uint64_t held_back = 0;
  for (int i = 0; i < 100 && heard_->passes.empty(); ++i) {
    const std::uint64_t before = store.stats().scrubbed.bytes;
    const auto wait = static_cast<std::int64_t>(static_cast<double>(bytes) * 1e9 / kScrubBytesPerSecond);
    if (wait > 100'000) {  // half of what the limit asks for is not enough
      world_.clock.advance(wait / 2);
      ASSERT_TRUE(Engine::of(store).step().ok());
      ASSERT_EQ(store.stats().scrubbed.bytes, before) << "too early";
      ++held_back;
    }
    world_.clock.advance(wait + 100'000);
    ASSERT_TRUE(Engine::of(store).step().ok());
    bytes = store.stats().scrubbed.bytes - before;
  }
  EXPECT_GT(held_back, 3U);
  EXPECT_EQ(heard_->passes.size(), 1U);
}

TEST_F(EngineScrub, AnItemThatCannotBeFinishedIsPassedOver) {
  Store store = open();
  ASSERT_TRUE(store.checkpoint().ok());  // or one were due, and fail
  const std::string run = files("runs", ".run").back();
  const std::string bytes = *read_whole(*world_.disk, run, 64 << 20);
  for (const std::string& hurt : {files("snapshots", ".snap").front(), run})
    ASSERT_TRUE(world_.disk->flip_bit(hurt, 100, 3).ok());
  world_.disk->inject({.kind = FaultKind::kWriteError, .path_contains = "snapshots/"});
  const unsigned told = pass(store);
  ASSERT_FALSE(heard_->passes.empty());
  EXPECT_EQ(heard_->passes.front().damaged, 2U);
  EXPECT_EQ(heard_->passes.front().healed, 1U);
  EXPECT_EQ(told, 1U);
  EXPECT_EQ(*read_whole(*world_.disk, run, 64 << 20), bytes);
}

TEST_F(EngineScrub, ANoteThatCannotBeWrittenKeepsNothingFromBeingLookedAt) {
  Store store = open();
  const std::string run = files("runs", ".run").back();
  const std::string bytes = *read_whole(*world_.disk, run, 64 << 20);
  ASSERT_TRUE(world_.disk->flip_bit(run, 100, 3).ok());
  world_.disk->inject({.kind = FaultKind::kWriteError, .path_contains = "recoveries/scrub"});
  const unsigned told = pass(store);
  EXPECT_GT(told, 5U);
  EXPECT_EQ(*read_whole(*world_.disk, run, 64 << 20), bytes);
}

TEST_F(EngineScrub, ARunThatAFullDiskKeepsFromHealingHealsBeforeTheNextPass) {
  Store store = open();
  const std::string run = files("runs", ".run").back();
  const std::string bytes = *read_whole(*world_.disk, run, 64 << 20);
  ASSERT_TRUE(world_.disk->flip_bit(run, 100, 3).ok());
  world_.disk->inject({.kind = FaultKind::kNoSpace, .path_contains = "runs/"});
  EXPECT_TRUE(store.scrub().status().is(Code::kNoSpace));
  world_.disk->clear_faults();
  ASSERT_TRUE(Engine::of(store).step().ok());
  EXPECT_EQ(*read_whole(*world_.disk, run, 64 << 20), bytes);
}

TEST_F(EngineScrub, AHurtSegmentOfAnIdleStoreIsMadeSuperfluousToo) {
  Store store = open();
  ASSERT_TRUE(store.checkpoint().ok());
  const std::string hurt = files("wal", ".log").front();
  ASSERT_NE(files("wal", ".log").back(), hurt) << "only the older snapshot is to need it";
  ASSERT_TRUE(world_.disk->flip_bit(hurt, 3 * 4096 + 200, 1).ok());
  const Sequence before = store.stats().sequence;
  const Result<ScrubResult> found = store.scrub();
  ASSERT_TRUE(found.ok()) << found.status().to_string();
  EXPECT_EQ(found->damaged, 1U);
  EXPECT_EQ(found->healed, 1U);
  EXPECT_EQ(store.stats().sequence, before) << "a scrub writes nothing of its own";
  EXPECT_EQ(store.scrub()->damaged, 0U);
  world_.disk->power_cut(50);
  RecoveryReport report;
  store = world_.must_open(&report);
  EXPECT_TRUE(report.clean()) << report.to_json();
  expect_all_right(store);
}

TEST_F(EngineScrub, WhatAHurtNewestSegmentHoldsIsInASnapshotAlsoWhereTheLogCannotGoOnInAnother) {
  Store store = open();
  ASSERT_TRUE(store.checkpoint().ok());
  ASSERT_TRUE(store.put(*store.keyspace("k"), "newest", model_["newest"] = "event").ok());
  const std::string newest = files("wal", ".log").back();
  ASSERT_TRUE(world_.disk->flip_bit(newest, kSegmentFramesAt + kFrameHeaderBytes + 4, 3).ok());
  constexpr std::uint64_t kUnlimited = ~std::uint64_t{0};
  world_.disk->set_capacity(kUnlimited - *world_.disk->free_bytes("store") + (640 << 10));
  EXPECT_TRUE(store.scrub().status().is(Code::kNoSpace));
  EXPECT_EQ(files("wal", ".log").back(), newest);
  EXPECT_EQ(store.stats().snapshot_sequence, store.stats().sequence);
}

TEST_F(EngineScrub, TheOlderSnapshotIsKeptWhileAHurtRunMayNeedIt) {
  Store store = open();
  ASSERT_TRUE(store.checkpoint().ok());
  ASSERT_TRUE(world_.disk->flip_bit(files("wal", ".log").front(), 3 * 4096 + 200, 1).ok());
  ASSERT_TRUE(world_.disk->flip_bit(files("runs", ".run").back(), 100, 3).ok());
  world_.disk->inject({.kind = FaultKind::kNoSpace, .path_contains = "runs/"});
  const auto older_is_kept = [&] {
    const Catalogue catalogue = *read_catalogue(*world_.disk, "store", std::nullopt);
    return catalogue.generations.at(1).manifest->sequence < catalogue.generations.at(0).manifest->sequence;
  };
  ASSERT_TRUE(older_is_kept());
  (void)pass(store);
  EXPECT_TRUE(older_is_kept());
  world_.disk->clear_faults();
  (void)pass(store);
  (void)pass(store);
  EXPECT_FALSE(older_is_kept());
  expect_all_right(store);
}

TEST_F(EngineScrub, TurnedOffItLooksAtNothing) {
  options_.scrub_days = 0;
  Store store = open();
  world_.clock.advance(100 * kDay);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(Engine::of(store).step().ok());
  EXPECT_EQ(store.stats().scrubbed.files, 0U);
}

TEST(ScrubNote, AnyFlippedBitIsNoNote) {
  const StoreId store{1, 2};
  const ScrubPosition position{3, 4, 5, ScrubRoom::kRuns, 6};
  const std::string note = encode_scrub_position(position, store);
  ASSERT_EQ(decode_scrub_position(note, store), position);
  for (std::size_t bit = 0; bit < note.size() * 8; ++bit) {
    std::string flipped = note;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    EXPECT_FALSE(decode_scrub_position(flipped, store)) << bit;
  }
  EXPECT_FALSE(decode_scrub_position(note, StoreId{1, 3}));
  EXPECT_FALSE(decode_scrub_position(note + "x", store));
  EXPECT_FALSE(decode_scrub_position("", store));
}

}  // namespace
}  // namespace daruma
