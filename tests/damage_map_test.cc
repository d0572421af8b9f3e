// SPDX-License-Identifier: Apache-2.0
#include "recovery/damage_map.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/checksum.h"
#include "base/random.h"

namespace daruma {
namespace {

DamageEntry whole(Sequence lo, Sequence hi) {
  return {.sequence_lo = lo, .sequence_hi = hi, .cause = "acked_header_hurt", .file = "wal/1.log"};
}
DamageEntry range(std::uint32_t keyspace, std::string begin, std::optional<std::string> end, Sequence hi) {
  return {.keyspace = keyspace,
          .keys = DamageEntry::Keys::kRange,
          .begin = std::move(begin),
          .end = std::move(end),
          .sequence_lo = 1,
          .sequence_hi = hi,
          .cause = "block",
          .file = "runs/7.run"};
}
DamageEntry keys(std::uint32_t keyspace, std::vector<std::string> names, Sequence at) {
  DamageEntry e{.keyspace = keyspace,
                .keys = DamageEntry::Keys::kHashes,
                .sequence_lo = at,
                .sequence_hi = at,
                .cause = "killer_footprint",
                .file = "wal/1.log"};
  for (const std::string& n : names) e.hashes.push_back(key_hash(keyspace, n));
  return e;
}

TEST(DamageMap, BlocksNothingWhenEmpty) {
  const DamageMap map;
  EXPECT_TRUE(map.empty());
  EXPECT_EQ(map.blocks(1, "a", 0), nullptr);
  EXPECT_EQ(map.touches(1, "", std::nullopt), nullptr);
}

TEST(DamageMap, AVersionAtOrAboveTheLossIsRightWhateverWasLost) {
  DamageMap map;
  map.add(whole(10, 20));
  EXPECT_NE(map.blocks(1, "a", 0), nullptr) << "not found may be wrong";
  EXPECT_NE(map.blocks(1, "a", 9), nullptr) << "an older version";
  EXPECT_NE(map.blocks(1, "a", 19), nullptr);
  EXPECT_EQ(map.blocks(1, "a", 20), nullptr);
  EXPECT_EQ(map.blocks(1, "a", 21), nullptr) << "overwritten since";
}

TEST(DamageMap, AFootprintBlocksExactlyItsKeys) {
  DamageMap map;
  map.add(keys(1, {"b", "a"}, 10));
  EXPECT_NE(map.blocks(1, "a", 3), nullptr);
  EXPECT_EQ(map.blocks(1, "c", 3), nullptr);
  EXPECT_EQ(map.blocks(2, "a", 3), nullptr);
  EXPECT_NE(map.touches(1, "x", "z"), nullptr) << "a hash may lie in any range";
  EXPECT_EQ(map.touches(2, "x", "z"), nullptr);
}

TEST(DamageMap, ARangeBlocksItsKeysAndTheScansThatMeetIt) {
  DamageMap map;
  map.add(range(1, "d", "g", 5));
  EXPECT_EQ(map.blocks(1, "c", 0), nullptr);
  EXPECT_NE(map.blocks(1, "d", 0), nullptr);
  EXPECT_EQ(map.blocks(1, "g", 0), nullptr);
  EXPECT_EQ(map.touches(1, "a", "d"), nullptr);
  EXPECT_NE(map.touches(1, "a", "da"), nullptr);
  EXPECT_EQ(map.touches(1, "g", std::nullopt), nullptr);
  map.add(range(1, "x", std::nullopt, 5));
  EXPECT_NE(map.blocks(1, "zzz", 0), nullptr);
}

TEST(DamageMap, AnAcceptedLossBlocksNothingAndDoesNotComeBack) {
  DamageMap map;
  const std::uint64_t id = map.add(keys(1, {"a"}, 10));
  EXPECT_EQ(map.add(keys(1, {"a"}, 10)), id) << "found again at the next start";
  EXPECT_TRUE(map.accept(id).ok());
  EXPECT_TRUE(map.accept(id).ok()) << "twice is once";
  EXPECT_TRUE(map.empty());
  EXPECT_EQ(map.add(keys(1, {"a"}, 10)), id);
  EXPECT_TRUE(map.empty());
  EXPECT_EQ(map.known_through(10, "wal/1.log"), 10u);
  EXPECT_TRUE(map.accept(99).is(Code::kNotFound));
  map.forget_accepted(9);
  EXPECT_EQ(map.entries().size(), 1u) << "the log that could bring it back is still there";
  map.forget_accepted(10);
  EXPECT_TRUE(map.entries().empty());
  EXPECT_GT(map.add(whole(1, 2)), id) << "ids are not reused";
}

TEST(DamageMap, NeverWrong_AgreesWithAModelThatRemembersEveryEntry) {
  const std::uint64_t seed = entropy_seed();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random r(seed);
  const auto letter = [&] { return std::string(1, static_cast<char>('a' + r.below(8))); };
  for (int round = 0; round < 300; ++round) {
    DamageMap map;
    std::map<std::tuple<std::uint32_t, std::string>, Sequence>
        doubtful_below;  // (keyspace, key) -> highest lost sequence
    const auto lose = [&](std::uint32_t ks, const std::string& key, Sequence hi) {
      auto& m = doubtful_below[{ks, key}];
      m = std::max(m, hi);
    };
    for (int n = 0; n < 5; ++n) {
      const auto ks = static_cast<std::uint32_t>(1 + r.below(2));
      const Sequence hi = 1 + r.below(20);
      if (r.one_in(2)) {
        const std::string key = letter(), other = letter();
        map.add(keys(ks, {key, other}, hi));
        lose(ks, key, hi), lose(ks, other, hi);
      } else {
        const std::string a = letter(), b = letter();
        if (a >= b) continue;
        map.add(range(ks, a, b, hi));
        for (char c = a[0]; c < b[0]; ++c) lose(ks, std::string(1, c), hi);
      }
    }
    std::string bytes;
    map.encode(bytes);
    Result<DamageMap> copy = DamageMap::decode(bytes);
    ASSERT_TRUE(copy.ok());
    EXPECT_EQ(*copy, map);
    for (std::uint32_t ks = 1; ks <= 2; ++ks)
      for (char c = 'a'; c <= 'h'; ++c)
        for (Sequence found = 0; found <= 21; ++found) {
          const std::string key(1, c);
          const bool doubtful = doubtful_below.contains({ks, key}) && doubtful_below[{ks, key}] > found;
          ASSERT_EQ(copy->blocks(ks, key, found) != nullptr, doubtful) << ks << key << found;
        }
  }
}

TEST(DamageMap, RefusesDamagedBytesAndSurvivesAnyOfThem) {
  const std::uint64_t seed = entropy_seed();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random r(seed);
  DamageMap map;
  map.add(whole(1, 2));
  map.add(range(1, "a", "b", 9));
  map.add(keys(3, {"k1", "k2", "k3"}, 7));
  std::string good;
  map.encode(good);
  for (std::size_t n = 0; n < good.size(); ++n)
    EXPECT_FALSE(DamageMap::decode(std::string_view(good).substr(0, n)).ok()) << n;
  EXPECT_FALSE(DamageMap::decode(good + "x").ok());
  for (int i = 0; i < 20'000; ++i) {
    std::string bad = good;
    for (std::uint64_t k = 0; k <= r.below(3); ++k) bad[r.below(bad.size())] = static_cast<char>(r.next());
    if (Result<DamageMap> m = DamageMap::decode(bad); m.ok()) {  // whatever it takes, it can say again
      std::string again;
      m->encode(again);
      Result<DamageMap> same = DamageMap::decode(again);
      ASSERT_TRUE(same.ok());
      ASSERT_EQ(*same, *m);
    }
  }
}

}  // namespace
}  // namespace daruma
