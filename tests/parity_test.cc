// SPDX-License-Identifier: Apache-2.0
// Parity heals one damaged sector of each stripe, gives out nothing that does not verify, and needs nothing but the
// file's size.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/coding.h"
#include "base/random.h"
#include "parity/parity_builder.h"
#include "parity/parity_reader.h"

namespace daruma {
namespace {

const ParityPlace kPlace{{11, 22}, 33};

std::string random_bytes(std::uint64_t n, std::uint64_t seed) {
  Random random(seed);
  std::string bytes(n, '\0');
  for (std::size_t at = 0; at < n; at += 8) store<std::uint64_t>(bytes.data() + at, random.next());
  return bytes;
}

struct Protected {
  std::string data;
  std::string file;
  ParityLayout layout;
  std::set<std::uint64_t> unreadable;

  explicit Protected(std::uint64_t sectors, std::uint64_t seed = 1)
      : data(random_bytes(sectors * kSectorBytes, seed)), layout(parity_layout(sectors)) {
    ParityBuilder builder(kPlace, layout);
    builder.add(data);
    file = data + builder.finish();
  }
  ParityReader reader(const ParityPlace& place = kPlace) {
    return {place, layout, [this](std::uint64_t sector, std::span<char> out) {
              if (unreadable.contains(sector)) return false;
              std::copy_n(file.data() + sector * kSectorBytes, kSectorBytes, out.data());
              return true;
            }};
  }
  void garble(std::uint64_t sector, std::uint64_t seed = 99) {
    file.replace(sector * kSectorBytes, kSectorBytes, random_bytes(kSectorBytes, seed + sector));
  }
  /// Sectors that are given out wrong; those lost are counted.
  std::uint64_t wrong(std::uint64_t& lost) {
    ParityReader reader = this->reader();
    std::uint64_t wrong = 0;
    std::string out(kSectorBytes, '\0');
    for (std::uint64_t i = 0; i < layout.data_sectors; ++i) {
      if (reader.fetch(i, out) == SectorState::kLost) {
        ++lost;
      } else {
        wrong += out != data.substr(i * kSectorBytes, kSectorBytes);
      }
    }
    return wrong;
  }
};

constexpr std::uint64_t kManySectors = 200'000;

TEST(ParityLayout, FollowsFromTheFileSizeAndTheRule) {
  for (const ParityRule rule : {ParityRule::kBurst, ParityRule::kMirrored}) {
    std::uint64_t last = 0;
    for (std::uint64_t n = 1; n < kManySectors; ++n) {
      const ParityLayout layout = parity_layout(n, rule);
      ASSERT_GT(layout.file_sectors(), last);
      for (std::uint64_t between = last + 1; between < layout.file_sectors(); ++between)
        ASSERT_FALSE(parity_layout_of_file(between, rule)) << between;
      last = layout.file_sectors();
      ASSERT_EQ(parity_layout_of_file(last, rule), layout) << n;
    }
    const ParityLayout large = parity_layout(std::uint64_t{1} << 30, rule);  // 4 TiB
    EXPECT_EQ(parity_layout_of_file(large.file_sectors(), rule), large);
    EXPECT_FALSE(parity_layout_of_file(0, rule));
  }
}

TEST(ParityLayout, NoBurstTouchesMoreSectorsThanThereAreStripes) {
  for (std::uint64_t n = 1; n < kManySectors; ++n) {
    const ParityLayout layout = parity_layout(n);
    const std::uint64_t bytes = std::max<std::uint64_t>(64 << 10, (layout.file_bytes() * 3 + 99) / 100);
    // Of the first sector its last byte alone.
    ASSERT_LE(1 + (bytes - 1 + kSectorBytes - 1) / kSectorBytes, layout.stripes) << n;
  }
}

TEST(ParityLayout, LargeFilesPayThreeInAHundredAndTinyOnesSeventeenSectors) {
  const ParityLayout large = parity_layout(16384);  // 64 MiB
  EXPECT_LT(large.file_sectors() - large.data_sectors, 16384 * 34 / 1000);
  EXPECT_EQ(parity_layout(3).stripes, 17U);
  EXPECT_EQ(parity_layout(3, ParityRule::kMirrored).stripes, 4U);  // three data sectors and their table
}

TEST(Parity, OneFaultFree_AnyOneSectorGarbledOrUnreadableHeals) {
  for (const std::uint64_t sectors : {1U, 2U, 31U, 32U, 33U, 100U, 700U, 1200U}) {
    Protected whole(sectors, sectors);
    EXPECT_TRUE(whole.reader().check_all().empty()) << sectors;
    const std::uint64_t step = sectors > 100 ? 37 : 1;
    for (std::uint64_t at = 0; at < whole.layout.file_sectors(); at += step) {
      for (const bool unreadable : {false, true}) {
        Protected hurt = whole;
        unreadable ? void(hurt.unreadable.insert(at)) : hurt.garble(at);
        std::uint64_t lost = 0;
        ASSERT_EQ(hurt.wrong(lost), 0U) << sectors << " sectors, damaged " << at;
        ASSERT_EQ(lost, 0U) << sectors << " sectors, damaged " << at;
        const std::vector<ParityReader::Damage> found = hurt.reader().check_all();
        ASSERT_EQ(found.size(), 1U) << sectors << " sectors, damaged " << at;
        EXPECT_EQ(found.front().sector, at);
        EXPECT_EQ(found.front().state, SectorState::kHealed);
      }
    }
  }
}

TEST(Parity, AnyBurstAsLongAsTheStripesHeals) {
  for (const std::uint64_t sectors : {1U, 7U, 15U, 16U, 40U, 1500U}) {
    Protected whole(sectors);
    const std::uint64_t burst = whole.layout.stripes;
    EXPECT_GE(burst, 17U);  // 64 KiB from any byte on
    for (std::uint64_t at = 0; at + burst <= whole.layout.file_sectors(); at += sectors > 100 ? 101 : 1) {
      Protected hurt = whole;
      for (std::uint64_t i = 0; i < burst; ++i) hurt.garble(at + i);
      std::uint64_t lost = 0;
      ASSERT_EQ(hurt.wrong(lost), 0U) << at;
      ASSERT_EQ(lost, 0U) << at;
    }
  }
}

TEST(Parity, NeverWrong_WhateverIsDamaged) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Random random(seed);
    Protected hurt(1 + random.below(200), seed);
    for (std::uint64_t n = random.below(30); n > 0; --n) {
      const std::uint64_t at = random.below(hurt.layout.file_sectors());
      switch (random.below(4)) {
        case 0: hurt.unreadable.insert(at); break;
        case 1: hurt.garble(at, seed); break;
        case 2: hurt.file.replace(at * kSectorBytes, kSectorBytes, std::string(kSectorBytes, '\0')); break;
        case 3:  // a misdirected write: a good sector in the wrong place
          hurt.file.replace(at * kSectorBytes, kSectorBytes,
                            hurt.file.substr(random.below(hurt.layout.file_sectors()) * kSectorBytes, kSectorBytes));
          break;
      }
    }
    std::uint64_t lost = 0;
    EXPECT_EQ(hurt.wrong(lost), 0U) << "seed " << seed;
  }
}

TEST(Parity, TwoOfOneStripeAreLostAndSaySo) {
  Protected hurt(200);
  hurt.garble(5);
  hurt.garble(5 + hurt.layout.stripes);
  std::uint64_t lost = 0;
  EXPECT_EQ(hurt.wrong(lost), 0U);
  EXPECT_EQ(lost, 2U);
  for (const ParityReader::Damage& found : hurt.reader().check_all()) EXPECT_EQ(found.state, SectorState::kLost);
}

TEST(Parity, AnotherFileOrAnotherStoreNeverVerifies) {
  Protected file(20);
  std::string out(kSectorBytes, '\0');
  for (const ParityPlace& place : {ParityPlace{{11, 22}, 34}, ParityPlace{{11, 23}, 33}})
    EXPECT_EQ(file.reader(place).fetch(0, out), SectorState::kLost);
}

}  // namespace
}  // namespace daruma
