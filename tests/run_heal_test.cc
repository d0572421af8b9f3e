// SPDX-License-Identifier: Apache-2.0
// one-fault-free, for one run: any one sector, and any burst of 64 KiB or 3 % of the file, costs no answer; and healing
// gives the file back byte for byte.
#include <gtest/gtest.h>

#include <run_testing.h>  // in quotes, tests/CMakeLists.txt would link every room
#include "io/sim_storage.h"
#include "run/run_bytes.h"
#include "run/run_heal.h"
#include "run/run_reader.h"

namespace daruma {
namespace {

class RunHeal : public ::testing::Test {
 protected:
  void build(const ModelRun& model, const RunBuilderOptions& options) {
    model_ = model;
    build_run(disk_, model, 7, options);
    original_ = *read_whole(disk_, path_, 256 << 20);
  }
  void restore() { ASSERT_TRUE((*disk_.open(path_, OpenMode::kCreate))->write(0, original_).ok()); }
  void spoil(std::uint64_t sector, std::uint64_t count) {
    ASSERT_TRUE(disk_.overwrite(path_, sector * kSectorBytes, std::string(count * kSectorBytes, '\x5a')).ok());
  }
  [[nodiscard]] std::uint64_t sectors() const { return original_.size() / kSectorBytes; }

  void expect_all_right(std::size_t every = 1) {
    auto reader = open_run(disk_, 7);
    std::size_t n = 0;
    for (const auto& [place, value] : model_.entries) {
      if (n++ % every != 0) continue;
      Result<RunReader::Lookup> got = reader->get(place.first, place.second);
      ASSERT_TRUE(got.ok()) << got.status().to_string();
      ASSERT_EQ(answer_of(*got), model_.get(place.first, place.second));
    }
    auto cursor = reader->cursor();
    auto want = model_.entries.begin();
    for (cursor.seek_first(); cursor.valid(); cursor.next(), ++want) {
      ASSERT_EQ(cursor.key(), want->first.first);
      ASSERT_EQ(cursor.value(), want->second.value_or(""));
    }
    ASSERT_TRUE(cursor.status().ok()) << cursor.status().to_string();
    ASSERT_EQ(want, model_.entries.end());
    ASSERT_EQ(*reader->range_erases(), model_.erases);
  }
  void expect_verify_says_healable() {
    Result<RunReader::Verified> verified = open_run(disk_, 7)->verify();
    ASSERT_TRUE(verified.ok()) << verified.status().to_string();
    EXPECT_FALSE(verified->ok());
    for (const RunFinding& finding : verified->findings) EXPECT_TRUE(finding.healed) << finding.status.to_string();
  }
  void expect_heals() {
    ASSERT_TRUE(heal_run(disk_, "runs", kTestStore, 7).ok());
    ASSERT_EQ(*read_whole(disk_, path_, 256 << 20), original_);
  }

  SimStorage disk_;
  const std::string path_ = test_path(7);
  ModelRun model_;
  std::string original_;
};

TEST_F(RunHeal, OneFaultFree_AnyOneSectorOfASmallRun) {
  build(small_model(), {.block_bytes = 300, .compress = true});
  for (std::uint64_t at = 0; at < sectors(); ++at) {
    SCOPED_TRACE("sector " + std::to_string(at));
    spoil(at, 1);
    expect_all_right();
    expect_verify_says_healable();
    expect_heals();
    ASSERT_TRUE(disk_.overwrite(path_, at * kSectorBytes, std::string(kSectorBytes, '\0')).ok());
    expect_all_right();
    restore();
    disk_.inject(
        {.kind = FaultKind::kReadError, .path_contains = path_, .offset = at * kSectorBytes, .bytes = kSectorBytes});
    expect_all_right();
    disk_.clear_faults();
    for (std::uint64_t from = 0; from < sectors(); ++from) {  // a misdirected write
      ASSERT_TRUE(disk_.overwrite(path_, at * kSectorBytes, original_.substr(from * kSectorBytes, kSectorBytes)).ok());
      expect_all_right();
    }
    restore();
    if (HasFailure()) return;
  }
}

TEST_F(RunHeal, AnyBurstOf64KiBOr3PercentOfALargeRun) {
  ModelRun model;
  Random random(5);
  for (int i = 0; i < 9000; ++i) {
    std::string value(900, '\0');
    for (std::size_t at = 0; at < value.size(); ++at) value[at] = static_cast<char>(random.next());
    model.put("key" + std::to_string(100000 + i), static_cast<Sequence>(i % 800 + 1), value);
  }
  model.erases = {{"key1001", "key1002", 900}};
  build(model, {});
  const std::uint64_t burst = std::max<std::uint64_t>(16, sectors() * 3 / 100);
  ASSERT_GT(burst, 50U);
  const std::uint64_t body = parity_layout_of_file(sectors())->data_sectors;
  ASSERT_LT(sectors() - body, body * 35 / 1000) << "parity costs about 3 %";
  for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{700}, sectors() / 2, sectors() * 9 / 10,
                                 sectors() - 2 * burst, sectors() - burst}) {
    SCOPED_TRACE("burst at " + std::to_string(at));
    spoil(at, burst);
    expect_all_right(97);
    expect_heals();
    if (HasFailure()) return;
  }
}

TEST_F(RunHeal, ReadsHealAndSaySo) {
  build(small_model(), {.block_bytes = 300, .compress = false});
  auto reader = open_run(disk_, 7);
  ASSERT_TRUE(reader->info().ok());
  EXPECT_FALSE(reader->hurt());
  spoil(1, 1);
  EXPECT_EQ(answer_of(*reader->get("key100", kMaxSequence)), model_.get("key100", kMaxSequence));
  EXPECT_TRUE(reader->hurt());
  ASSERT_EQ(reader->findings().size(), 1U);
  EXPECT_TRUE(reader->findings()[0].healed);
  EXPECT_EQ(reader->findings()[0].status.where().offset, kSectorBytes);
}

/// A file whose pages in the cache are all bad; the device is not.
struct BadCache final : File {
  explicit BadCache(std::unique_ptr<File> device) : file(std::move(device)) {}
  Result<std::size_t> read(std::uint64_t offset, std::span<char> out) override {
    Result<std::size_t> got = file->read(offset, out);
    std::fill(out.begin(), out.end(), '\x5a');
    return got;
  }
  Result<std::size_t> read_direct(std::uint64_t offset, std::span<char> out) override {
    return file->read_direct(offset, out);
  }
  Status write(std::uint64_t offset, std::string_view data) override { return file->write(offset, data); }
  Status sync() override { return file->sync(); }
  Result<std::uint64_t> size() override { return file->size(); }
  Status allocate(std::uint64_t bytes) override { return file->allocate(bytes); }
  [[nodiscard]] const std::string& path() const override { return file->path(); }
  std::unique_ptr<File> file;
};

TEST_F(RunHeal, HealsPastThePageCache) {
  build(small_model(), {.block_bytes = 300, .compress = true});
  BadCache file(*disk_.open(path_, OpenMode::kRead));
  RunBytes bytes(file, original_.size(), RunPlace{kTestStore, 7}.parity(), RunBytes::From::kParity);
  const Result<std::string_view> view = bytes.view(0, bytes.body_bytes());
  ASSERT_TRUE(view.ok()) << view.status().to_string();
  EXPECT_EQ(*view, original_.substr(0, bytes.body_bytes()));
}

TEST_F(RunHeal, WhatParityCannotGiveBackIsLeftAsItIs) {
  build(small_model(), {.block_bytes = 300, .compress = true});
  spoil(1, 1);
  spoil(parity_layout_of_file(sectors())->parity_at(1), 1);  // its mirror
  const std::string hurt = *read_whole(disk_, path_, 1 << 20);
  const Status status = heal_run(disk_, "runs", kTestStore, 7);
  EXPECT_TRUE(status.is(Code::kCorruption)) << status.to_string();
  EXPECT_EQ(status.where().file, path_);
  EXPECT_EQ(status.where().offset, kSectorBytes);
  EXPECT_EQ(*read_whole(disk_, path_, 1 << 20), hurt) << "evidence is not touched";
  EXPECT_FALSE((*disk_.list("runs")).size() > 1) << "nothing is left behind";
}

TEST_F(RunHeal, KilledAnywhereItLeavesTheHurtOrTheHealedFile) {
  build(small_model(), {.block_bytes = 300, .compress = true});
  spoil(2, 1);
  ASSERT_TRUE((*disk_.open(path_, OpenMode::kReadWrite))->sync().ok());
  for (const char* directory : {"runs", "."}) ASSERT_TRUE(disk_.sync_directory(directory).ok());
  const std::string hurt = *read_whole(disk_, path_, 1 << 20);
  bool finished = false;
  for (std::uint64_t point = 0; !finished; ++point) {
    for (std::uint64_t seed = 1; seed <= 6; ++seed) {
      std::unique_ptr<SimStorage> copy = disk_.clone(seed);
      copy->crash_at(copy->operations() + point, seed % 2 == 0);
      finished = heal_run(*copy, "runs", kTestStore, 7).ok();
      copy->power_cut();
      const std::string left = *read_whole(*copy, path_, 1 << 20);
      ASSERT_TRUE(left == hurt || left == original_) << "point " << point << " seed " << seed;
      if (finished) { EXPECT_EQ(left, original_); }
    }
    ASSERT_LT(point, 1000U) << "does not come to an end";
  }
}

}  // namespace
}  // namespace daruma
