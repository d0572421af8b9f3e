// SPDX-License-Identifier: Apache-2.0
// one-fault-free, for one run: any one sector, and any burst of 64 KiB or 3 % of the file, costs no answer; and healing
// gives the file back byte for byte.
#include <gtest/gtest.h>
#include <sanitized.h>

#include <golden_testing.h>
#include <run_testing.h>  // in quotes, tests/CMakeLists.txt would link every room
#include "base/coding.h"
#include "io/sim_storage.h"
#include "parity/parity_builder.h"
#include "run/run_bytes.h"
#include "run/run_heal.h"
#include "run/run_reader.h"

namespace daruma {
namespace {

constexpr std::uint64_t kMany = std::uint64_t{256} << 20;

std::string noise(std::uint64_t bytes, std::uint64_t seed) {
  Random random(seed);
  std::string out(round_up(bytes, 8), '\0');
  for (std::size_t at = 0; at < bytes; at += 8) store<std::uint64_t>(out.data() + at, random.next());
  out.resize(bytes);
  return out;
}

ModelRun many_values(std::uint64_t values) {
  ModelRun model;
  for (std::uint64_t i = 0; i < values; ++i) model.put("key" + std::to_string(100'000 + i), i % 800 + 1, noise(900, i));
  model.erases = {{"key1001", "key1002", 900}};
  return model;
}

/// The same run as it was written before there was kRunBurstParity.
std::string as_at_first(const std::string& file) {
  const ParityLayout layout = *parity_layout_of_file(file.size() / kSectorBytes);
  std::string body = file.substr(0, layout.data_sectors * kSectorBytes);
  const auto put = [&](std::uint64_t at, const std::string& bytes) { body.replace(at, bytes.size(), bytes); };
  RunHeader header = *decode_run_header(body.substr(0, kSectorBytes), kTestStore, 7);
  header.required_features &= ~kRunBurstParity;
  put(0, encode_run_header(header));
  const std::uint64_t last = body.size() - kSectorBytes;
  RunFooter footer = *decode_run_footer(body.substr(last), last, kTestStore, 7);
  RunInfo info = *decode_run_info(body.substr(footer.properties_at(), footer.properties_bytes));
  footer.header.required_features &= ~kRunBurstParity;
  info.file_bytes = footer.layout().file_bytes();
  std::string properties;
  encode_run_info(properties, info);
  properties.resize(footer.properties_room(), '\0');
  for (footer.copy = 0; footer.copy < 2; ++footer.copy) {
    footer.properties_checksum = hash64(properties, header.place.seed(footer.properties_at()));
    put(footer.properties_at(), properties);
    put(footer.footer_at(), encode_run_footer(footer));
  }
  ParityBuilder parity(header.place.parity(), footer.layout());
  parity.add(body);
  return body + parity.finish();
}

class RunHeal : public ::testing::Test {
 protected:
  void build(const ModelRun& model, const RunBuilderOptions& options) {
    model_ = model;
    build_run(disk_, model, 7, options);
    original_ = *read_whole(disk_, path_, kMany);
  }
  /// So many sectors and their parity.
  void build_of(std::uint64_t protected_sectors) {
    std::uint64_t got = 0;
    for (std::uint64_t values = 1; got < protected_sectors; values += (protected_sectors - got) * 4) {
      build(many_values(values), {.block_bytes = 3000, .compress = false});
      got = parity_layout_of_file(sectors())->protected_sectors();
    }
    ASSERT_EQ(got, protected_sectors);
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
    ASSERT_EQ(*read_whole(disk_, path_, kMany), original_);
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

TEST_F(RunHeal, OneFaultFree_AnyBurstOf64KiBOr3PercentFromAnyByteOn) {
  for (const std::uint64_t size : {6U, 8U, 9U, 15U, 16U, 17U, 31U, 33U, 1055U, 1311U, 2300U}) {
    size == 6 ? build({}, {}) : build_of(size);
    const std::uint64_t body = parity_layout_of_file(sectors())->data_sectors;
    const std::uint64_t burst = std::max<std::uint64_t>(64 << 10, (original_.size() * 3 + 99) / 100);
    std::vector<std::uint64_t> begins = {(body - 1) * kSectorBytes, original_.size() - burst};
    const std::uint64_t step = size < 100 ? (kSanitized ? 5 : 1) : sectors() / (kSanitized ? 1 : 2);
    for (std::uint64_t sector = 0; sector < sectors(); sector += step) {
      begins.push_back(sector * kSectorBytes);
      begins.push_back(sector * kSectorBytes + 1 + sector * 997 % (kSectorBytes - 1));
    }
    for (const std::uint64_t at : begins) {
      if (at + burst > original_.size()) continue;
      SCOPED_TRACE(std::to_string(size) + " sectors, burst at " + std::to_string(at));
      ASSERT_TRUE(disk_.overwrite(path_, at, noise(burst, at)).ok());
      expect_all_right(97);
      expect_heals();
      if (HasFailure()) return;
    }
    if (size > 2000) { EXPECT_LT(sectors() - body, body * 35 / 1000) << "parity costs about 3 %"; }
  }
}

/// Most sizes may be of either rule. With three table sectors and more, some are where the other rule has some.
TEST_F(RunHeal, WhatWasWrittenWithFewerStripesIsReadAndHealsToWhatItWas) {
  for (const std::uint64_t size : {8U, 10U, 16U, 33U, 1055U, 1311U, 2300U}) {
    build_of(size);
    original_ = as_at_first(original_);
    restore();
    Result<RunReader::Verified> verified = open_run(disk_, 7)->verify();
    ASSERT_TRUE(verified.ok() && verified->ok()) << size << ": " << verified->status().to_string();
    const ParityLayout layout = *parity_layout_of_file(sectors(), ParityRule::kMirrored);
    ASSERT_EQ(layout.protected_sectors(), size);
    for (const std::uint64_t at : {std::uint64_t{0}, layout.data_sectors - 1, layout.protected_sectors()}) {
      for (const std::uint64_t burst : {std::uint64_t{1}, layout.stripes}) {
        SCOPED_TRACE(std::to_string(size) + " sectors, burst of " + std::to_string(burst) + " at " +
                     std::to_string(at));
        spoil(at, burst);
        expect_all_right(97);
        if (burst == 1) expect_verify_says_healable();
        expect_heals();
        if (HasFailure()) return;
      }
    }
  }
}

TEST_F(RunHeal, GoldenFilesHeal) {
  model_ = small_model();
  for (const char* name : {"run_v1_plain.run", "run_v1_lz4.run", "run_v1_burst.run"}) {
    original_ = golden(name);
    ASSERT_TRUE(disk_.make_directory("runs").ok());
    restore();
    for (std::uint64_t at = 0; at < sectors(); ++at) {
      SCOPED_TRACE(std::string(name) + ", sector " + std::to_string(at));
      spoil(at, 1);
      expect_all_right();
      expect_heals();
      if (HasFailure()) return;
    }
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
  RunBytes bytes(file, original_.size(), {kTestStore, 7}, RunBytes::From::kParity);
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
