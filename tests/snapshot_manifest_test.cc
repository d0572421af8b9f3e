// SPDX-License-Identifier: Apache-2.0
// Manifests: round trip, damage to every byte, both copies hurt, names, stores and the future.
#include "snapshot/manifest.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/coding.h"
#include "base/random.h"
#include "golden_testing.h"
#include "io/sim_storage.h"
#include "snapshot/catalogue.h"

namespace daruma {
namespace {

constexpr StoreId kStore{0x0123456789abcdef, 0xfedcba9876543210};

RunInfo run(std::uint64_t number, std::string smallest, std::string largest, Sequence from, Sequence to) {
  RunInfo info;
  info.number = number;
  info.keyspace = 1;
  info.smallest_key = std::move(smallest);
  info.largest_key = std::move(largest);
  info.min_sequence = from;
  info.max_sequence = to;
  info.entries = 10;
  info.file_bytes = 8192;
  info.job_id = number;
  info.job_last = true;
  info.checkpoint_sequence = to;
  return info;
}

Manifest sample(std::uint64_t number = 12) {
  Manifest m;
  m.store = kStore;
  m.number = number;
  m.sequence = 500;
  m.durable_sequence = 510;
  m.next_file_number = 40;
  m.next_segment = 7;
  m.created_wall_ns = 1'700'000'000'000'000'000;
  m.previous_number = number - 1;
  m.previous_hash = 0xabcdef;
  m.runs = {{run(7, "a", "m", 1, 90), 1}, {run(8, "n", "z", 2, 80), 1}, {run(9, "c", "d", 91, 500), 0}};
  m.damage = std::string("\0damage", 7);
  m.options = "recovery_budget=2s\n";
  m.catalog = Catalog{{"key", {7, "name"}}, {"dropped", {500, std::nullopt}}, {"empty", {0, ""}}};
  return m;
}

TEST(Manifest, ComesBackAsItWasWritten) {
  const Manifest m = sample();
  const std::string file = encode_manifest(m);
  EXPECT_EQ(file.size() % (2 * kSectorBytes), 0u);
  Result<ManifestRead> read = decode_manifest(file, 12, kStore);
  ASSERT_TRUE(read.ok()) << read.status().to_string();
  EXPECT_EQ(read->manifest, m);
  EXPECT_EQ(read->damaged, "");
  EXPECT_TRUE(decode_manifest(file, 12, std::nullopt).ok());
  Manifest older = m;
  older.catalog.reset();
  EXPECT_EQ(decode_manifest(encode_manifest(older), 12, kStore)->manifest, older);
  EXPECT_NE(manifest_hash(older), manifest_hash(m));
}

TEST(Manifest, NamesAreNumbersAndNothingElse) {
  EXPECT_EQ(manifest_name(12), "0000000000000012.snap");
  EXPECT_EQ(manifest_number("0000000000000012.snap"), 12u);
  for (const char* name : {"", "12.snap", "0000000000000012.snap.tmp", "000000000000001x.snap", "0000000000000012.run",
                           "-000000000000012.snap"}) {
    EXPECT_EQ(manifest_number(name), std::nullopt) << name;
  }
}

TEST(Manifest, OneFaultFree_AnyOneByteFlippedLeavesTheOtherCopy) {
  const Manifest m = sample();
  const std::string file = encode_manifest(m);
  for (std::size_t at = 0; at < file.size(); ++at) {
    std::string hurt = file;
    hurt[at] = static_cast<char>(hurt[at] ^ (1 << (at % 8)));
    Result<ManifestRead> read = decode_manifest(hurt, 12, kStore);
    ASSERT_TRUE(read.ok()) << at << ": " << read.status().to_string();
    ASSERT_EQ(read->manifest, m) << at;
    ASSERT_NE(read->damaged, "") << "a flip at " << at << " went unnoticed";
  }
}

TEST(Manifest, OneFaultFree_AnyOneSectorZeroedOrMisplacedLeavesTheOtherCopy) {
  const Manifest m = sample();
  const std::string file = encode_manifest(m);
  for (std::size_t to = 0; to < file.size(); to += kSectorBytes) {
    for (std::size_t from = 0; from < file.size(); from += kSectorBytes) {
      std::string hurt = file;
      hurt.replace(to, kSectorBytes, from == to ? std::string(kSectorBytes, '\0') : file.substr(from, kSectorBytes));
      Result<ManifestRead> read = decode_manifest(hurt, 12, kStore);
      ASSERT_TRUE(read.ok()) << read.status().to_string();
      EXPECT_EQ(read->manifest, m);
      // The body sectors of the two copies are the same bytes: one over the other changes nothing.
      EXPECT_EQ(read->damaged.empty(), hurt == file) << from << " over " << to;
    }
  }
}

TEST(Manifest, SaysWhatIsWrongWithEachCopyWhenBothAreHurt) {
  std::string file = encode_manifest(sample());
  const std::size_t half = file.size() / 2;
  file[half + kSectorBytes + 5] ^= 1;
  file[20] ^= 1;
  Result<ManifestRead> read = decode_manifest(file, 12, kStore);
  ASSERT_FALSE(read.ok());
  EXPECT_TRUE(read.status().is(Code::kCorruption));
  EXPECT_NE(read.status().message().find("copy at 0: header checksum is wrong"), std::string::npos)
      << read.status().to_string();
  EXPECT_NE(read.status().message().find("copy at " + std::to_string(half) + ": body checksum is wrong"),
            std::string::npos)
      << read.status().to_string();
}

TEST(Manifest, ReadsACopyOfAFileThatWasCutOrGrew) {
  const Manifest m = sample();
  const std::string file = encode_manifest(m);
  for (std::size_t size = 0; size < file.size(); size += 512) {
    Result<ManifestRead> read = decode_manifest(file.substr(0, size), 12, kStore);
    EXPECT_EQ(read.ok(), size >= file.size() / 2) << size;
    if (read.ok()) { EXPECT_EQ(read->manifest, m); }
  }
  std::string grown = file + std::string(3 * kSectorBytes, 'x');
  grown[3] ^= 1;
  Result<ManifestRead> read = decode_manifest(grown, 12, kStore);
  ASSERT_TRUE(read.ok()) << read.status().to_string();
  EXPECT_EQ(read->manifest, m);
}

TEST(Manifest, OfAnotherNameOrStoreIsNotTaken) {
  const std::string file = encode_manifest(sample());
  EXPECT_TRUE(decode_manifest(file, 13, kStore).status().is(Code::kCorruption));
  EXPECT_TRUE(decode_manifest(file, 12, StoreId{1, 2}).status().is(Code::kCorruption));
}

TEST(Manifest, FromTheFutureIsToldApartFromDamage) {
  std::string file = encode_manifest(sample());
  for (std::size_t at : {std::size_t{0}, file.size() / 2}) {
    store<std::uint32_t>(file.data() + at + 8, 2);
    const std::uint64_t sum =
        checksum(std::string_view(file).substr(at, 4088), kStore, (std::uint64_t{'S'} << 56) | 12, at);
    store(file.data() + at + 4088, sum);
  }
  EXPECT_TRUE(decode_manifest(file, 12, kStore).status().is(Code::kUnsupported));
}

TEST(Manifest, ThatContradictsItselfIsRefused) {
  Manifest m = sample();
  m.runs[1].info.smallest_key = "k";
  EXPECT_NE(check_manifest(m).message().find("overlaps run 7"), std::string::npos) << check_manifest(m).to_string();
  m = sample();
  m.runs[0].info.number = 40;
  EXPECT_TRUE(check_manifest(m).is(Code::kCorruption));
  m = sample();
  m.sequence = 499;
  EXPECT_TRUE(check_manifest(m).is(Code::kCorruption));
  m = sample();
  m.runs[2].info.number = 7;
  EXPECT_TRUE(check_manifest(m).is(Code::kCorruption));
  m = sample();
  m.catalog->at("key").sequence = 501;
  EXPECT_TRUE(check_manifest(m).is(Code::kCorruption));
}

TEST(Manifest, IsHalfToldByTheOneItNamesAndNoOther) {
  const Manifest state = sample();
  Manifest newest = sample(13);
  newest.previous_hash = manifest_hash(state);
  newest.sequence = state.sequence - 1;
  EXPECT_TRUE(is_half_told(state, newest));
  newest.sequence = state.sequence;
  EXPECT_FALSE(is_half_told(state, newest)) << "as every checkpoint without a write before it";
  newest.sequence = state.sequence - 1;
  newest.previous_number = 11;
  EXPECT_FALSE(is_half_told(state, newest)) << "made while the state could not be read";
  newest.previous_number = 12;
  newest.previous_hash ^= 1;
  EXPECT_FALSE(is_half_told(state, newest)) << "another took its number";
}

TEST(Manifest, NoiseNeverDecodes) {
  Random random(20261124);
  const std::string file = encode_manifest(sample());
  for (int round = 0; round < 300; ++round) {
    std::string noise = file;
    for (int i = 0; i < 40; ++i) noise[random.below(noise.size())] = static_cast<char>(random.next());
    noise.resize(random.below(noise.size() + kSectorBytes));
    if (Result<ManifestRead> read = decode_manifest(noise, 12, std::nullopt); read.ok()) {
      EXPECT_EQ(read->manifest, sample()) << "seed 20261124, round " << round;
    }
  }
}

/// A change of these bytes is a change of the format: it needs a new version, and the old file stays readable.
TEST(Manifest, GoldenBytes) {
  Manifest m;
  m.store = kStore;
  m.number = 1;
  m.sequence = 5;
  m.durable_sequence = 6;
  m.next_file_number = 2;
  m.next_segment = 3;
  m.created_wall_ns = 4;
  m.runs = {{run(1, "a", "m", 1, 5), 6}};
  m.damage = "d";
  m.options = "o";
  expect_golden("manifest_v1.snap", encode_manifest(m));
  m.catalog = Catalog{{std::string("\0\0\0\1", 4), {1, "name"}}, {std::string("\0\0\0\2", 4), {5, std::nullopt}}};
  expect_golden("manifest_v1_catalog.snap", encode_manifest(m));
  for (const char* name : {"manifest_v1_catalog.snap", "manifest_v1.snap"}) {
    Result<ManifestRead> read = decode_manifest(golden(name), 1, kStore);
    ASSERT_TRUE(read.ok()) << read.status().to_string();
    EXPECT_EQ(read->manifest, m);
    m.catalog.reset();
  }
}

class CatalogueOnDisk : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(disk_.make_directory("s").ok());
    ASSERT_TRUE(disk_.make_directory("s/snapshots").ok());
    // As opening a store does: a publish makes its own name durable, not those of the directories above.
    ASSERT_TRUE(disk_.sync_directory("s").ok());
    ASSERT_TRUE(disk_.sync_directory("").ok());
  }
  void publish(const Manifest& m) { ASSERT_TRUE(publish_manifest(disk_, "s", m).ok()); }
  Catalogue look() {
    Result<Catalogue> c = read_catalogue(disk_, "s", std::nullopt);
    EXPECT_TRUE(c.ok()) << c.status().to_string();
    return c.ok() ? std::move(c).value() : Catalogue{};
  }
  static std::string path(std::uint64_t n) { return "s/snapshots/" + manifest_name(n); }
  SimStorage disk_;
};

TEST_F(CatalogueOnDisk, IsEmptyForANewStore) {
  SimStorage empty;
  Result<Catalogue> c = read_catalogue(empty, "nowhere", std::nullopt);
  ASSERT_TRUE(c.ok()) << c.status().to_string();
  EXPECT_EQ(c->newest(), nullptr);
}

TEST_F(CatalogueOnDisk, NewestValidWinsAndTheOthersSayWhyNot) {
  publish(sample(12));
  Manifest next = sample(13);
  next.previous_hash = manifest_hash(sample(12));
  publish(next);
  publish(sample(14));
  ASSERT_TRUE(disk_.overwrite(path(14), 0, std::string(kSectorBytes, '\0')).ok());
  ASSERT_TRUE(disk_.overwrite(path(14), 2 * kSectorBytes, std::string(kSectorBytes, '\0')).ok());
  ASSERT_TRUE(disk_.flip_bit(path(13), 100, 3).ok());
  const Catalogue c = look();
  ASSERT_EQ(c.generations.size(), 3u);
  EXPECT_TRUE(c.generations[0].rejected.is(Code::kCorruption));
  EXPECT_EQ(c.generations[0].rejected.where().file, path(14));
  ASSERT_NE(c.newest(), nullptr);
  EXPECT_EQ(*c.newest(), next);
  EXPECT_NE(c.generations[1].damaged, "");
  EXPECT_EQ(c.generations[1].note, "");
  EXPECT_EQ(c.highest_number, 14u);
  EXPECT_EQ(c.store, kStore);
}

TEST_F(CatalogueOnDisk, AnUnreadableSectorCostsOneCopyOnly) {
  publish(sample(12));
  Fault fault;
  fault.kind = FaultKind::kReadError;
  fault.path_contains = ".snap";
  fault.offset = kSectorBytes;
  fault.bytes = 1;
  disk_.inject(fault);
  const Catalogue c = look();
  ASSERT_NE(c.newest(), nullptr);
  EXPECT_EQ(*c.newest(), sample(12));
  EXPECT_NE(c.generations[0].damaged.find("io_error"), std::string::npos) << c.generations[0].damaged;
}

TEST_F(CatalogueOnDisk, AStrayFileDoesNotRenameTheStore) {
  publish(sample(12));
  publish(sample(13));
  Manifest stray = sample(20);
  stray.store = {7, 7};
  publish(stray);
  const Catalogue c = look();
  EXPECT_EQ(c.store, kStore);
  ASSERT_NE(c.newest(), nullptr);
  EXPECT_EQ(c.newest()->number, 13u);
  EXPECT_EQ(c.highest_number, 20u);
}

TEST_F(CatalogueOnDisk, APublishKilledAnywhereLeavesTheOldOrTheNewWhole) {
  publish(sample(12));
  const std::uint64_t before = disk_.operations();
  std::unique_ptr<SimStorage> whole = disk_.clone(1);
  ASSERT_TRUE(publish_manifest(*whole, "s", sample(13)).ok());
  const std::uint64_t steps = whole->operations() - before;
  ASSERT_GT(steps, 2u);
  for (std::uint64_t step = 0; step < steps; ++step) {
    for (std::uint64_t seed = 1; seed <= 8; ++seed) {
      std::unique_ptr<SimStorage> disk = disk_.clone(seed);
      disk->crash_at(disk->operations() + step, seed % 2 == 0);
      EXPECT_FALSE(publish_manifest(*disk, "s", sample(13)).ok());
      disk->power_cut();
      Result<Catalogue> c = read_catalogue(*disk, "s", kStore);
      ASSERT_TRUE(c.ok()) << c.status().to_string();
      ASSERT_NE(c->newest(), nullptr) << "step " << step << " seed " << seed;
      EXPECT_TRUE(c->newest()->number == 12 || c->newest()->number == 13);
      EXPECT_TRUE(c->generations[0].rejected.ok()) << c->generations[0].rejected.to_string();
    }
  }
}

}  // namespace
}  // namespace daruma
