// SPDX-License-Identifier: Apache-2.0
//
// The memtable against a std::map of all versions, on keys that are hard for a radix tree.
#include "memtable/memtable.h"

#include <sys/mman.h>
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <key_walk.h>
#include <sanitized.h>

#include "base/random.h"
#include "daruma/limits.h"

namespace daruma {
namespace {

using Found = Memtable::Lookup::Found;

std::uint64_t seed_of_this_run() {
  static const std::uint64_t seed = [] {
    const char* given = std::getenv("DARUMA_SEED");
    const std::uint64_t s = given ? std::strtoull(given, nullptr, 10) : entropy_seed();
    std::cout << "DARUMA_SEED=" << s << "\n";
    return s;
  }();
  return seed;
}

/// What a memtable is, said as plainly as possible.
class Model {
 public:
  struct NewestFirst {
    bool operator()(const std::pair<std::string, Sequence>& a, const std::pair<std::string, Sequence>& b) const {
      return a.first != b.first ? a.first < b.first : a.second > b.second;
    }
  };
  using Entries = std::map<std::pair<std::string, Sequence>, std::pair<EntryKind, std::string>, NewestFirst>;

  Entries entries;
  std::vector<RangeErase> erases;

  Sequence covering(const std::string& key, Sequence at) const {
    Sequence best = 0;
    for (const RangeErase& erase : erases) {
      if (erase.sequence <= at && erase.covers(key)) best = std::max(best, erase.sequence);
    }
    return best;
  }
  Memtable::Lookup get(const std::string& key, Sequence at) const {
    const auto it = entries.lower_bound({key, at});
    const bool there = it != entries.end() && it->first.first == key;
    const Sequence erased = covering(key, at);
    if (there && it->first.second >= erased) {
      return {it->second.first == EntryKind::kPut ? Found::kValue : Found::kErased, it->first.second,
              it->second.second};
    }
    return erased ? Memtable::Lookup{Found::kErased, erased, {}} : Memtable::Lookup{};
  }
};

/// Memtable and model, written alike.
struct Pair {
  Memtable memtable;
  Model model;

  void put(Sequence s, const std::string& key, const std::string& value) {
    memtable.put(s, key, value);
    model.entries[{key, s}] = {EntryKind::kPut, value};
  }
  void erase(Sequence s, const std::string& key) {
    memtable.erase(s, key);
    model.entries[{key, s}] = {EntryKind::kErase, ""};
  }
  void erase_range(Sequence s, const std::string& begin, const std::string& end) {
    memtable.erase_range(s, begin, end);
    if (end.empty() || begin < end) model.erases.push_back({begin, end, s});
  }

  void agree_on(const std::string& key, Sequence at) const {
    const Memtable::Lookup is = memtable.get(key, at);
    const Memtable::Lookup want = model.get(key, at);
    ASSERT_EQ(is.found, want.found) << testing::PrintToString(key.substr(0, 40)) << " at " << at;
    ASSERT_EQ(is.sequence, want.sequence) << testing::PrintToString(key.substr(0, 40)) << " at " << at;
    ASSERT_EQ(is.value, want.value);
    ASSERT_EQ(memtable.covering_erase(key, at), model.covering(key, at));
  }
  void agree_at(const Memtable::Cursor& cursor, Model::Entries::const_iterator it) const {
    ASSERT_EQ(cursor.valid(), it != model.entries.end());
    if (!cursor.valid()) return;
    ASSERT_EQ(cursor.key(), it->first.first);
    ASSERT_EQ(cursor.sequence(), it->first.second);
    ASSERT_EQ(cursor.kind(), it->second.first);
    ASSERT_EQ(cursor.value(), it->second.second);
  }
  void agree_on_seek(const std::string& key) const {
    Memtable::Cursor cursor = memtable.cursor();
    cursor.seek(key);
    ASSERT_NO_FATAL_FAILURE(agree_at(cursor, model.entries.lower_bound({key, kMaxSequence})));
  }
  void agree_on_everything() const {
    ASSERT_EQ(memtable.entries(), model.entries.size());
    ASSERT_EQ(memtable.empty(), model.entries.empty() && model.erases.empty());
    ASSERT_EQ(memtable.range_erases(), model.erases);
    Memtable::Cursor cursor = memtable.cursor();
    ASSERT_FALSE(cursor.valid());
    cursor.seek_first();
    for (auto it = model.entries.begin(); it != model.entries.end(); ++it, cursor.next()) {
      ASSERT_NO_FATAL_FAILURE(agree_at(cursor, it));
    }
    ASSERT_FALSE(cursor.valid());
    cursor.seek_last();
    for (auto it = model.entries.rbegin(); it != model.entries.rend(); ++it, cursor.prev()) {
      ASSERT_NO_FATAL_FAILURE(agree_at(cursor, std::prev(it.base())));
    }
    ASSERT_FALSE(cursor.valid());
  }
};

TEST(Memtable, IsEmptyAtFirst) {
  const Pair pair;
  pair.agree_on_everything();
  pair.agree_on("", kMaxSequence);
  pair.agree_on_seek("");
  EXPECT_TRUE(pair.memtable.empty());
  EXPECT_EQ(pair.memtable.bytes(), 0U);  // an idle keyspace costs nothing
}

TEST(Memtable, AnswersWithTheNewestVersionAtOrBelowTheReadSequence) {
  Pair pair;
  pair.put(10, "k", "ten");
  pair.erase(20, "k");
  pair.put(30, "k", "thirty");
  EXPECT_EQ(pair.memtable.get("k", 9).found, Found::kNothing);
  EXPECT_EQ(pair.memtable.get("k", 10).value, "ten");
  EXPECT_EQ(pair.memtable.get("k", 29).found, Found::kErased);
  EXPECT_EQ(pair.memtable.get("k", 29).sequence, 20U);
  EXPECT_EQ(pair.memtable.get("k", kMaxSequence).value, "thirty");
  pair.agree_on_everything();
}

TEST(Memtable, TheSameKeyAndSequenceAgainReplaces) {
  Pair pair;
  pair.put(1, "k", "old");
  pair.put(5, "k", "first");
  pair.erase(5, "k");
  pair.put(5, "k", "last");
  pair.put(9, "k", "newer");
  pair.put(1, "k", "oldest, again");  // replaces below two newer ones
  EXPECT_EQ(pair.memtable.entries(), 3U);
  for (Sequence at = 0; at < 12; ++at) pair.agree_on("k", at);
  pair.agree_on_everything();
}

TEST(Memtable, TakesSequencesInAnyOrder) {
  Random random(seed_of_this_run());
  Pair pair;
  for (int i = 0; i < 3000; ++i) {
    const std::string key(1, static_cast<char>('a' + random.below(3)));
    const Sequence s = 1 + random.below(500);
    if (random.one_in(4))
      pair.erase(s, key);
    else
      pair.put(s, key, std::to_string(i));
  }
  for (const char* key : {"a", "b", "c"}) {
    for (Sequence at = 0; at <= 501; ++at) ASSERT_NO_FATAL_FAILURE(pair.agree_on(key, at));
  }
  pair.agree_on_everything();
}

TEST(Memtable, FindsAnyOfAHundredThousandVersionsOfOneKey) {
  Pair pair;
  pair.put(1, "before", "");
  for (Sequence s = 2; s <= 200'000; s += 2) pair.memtable.put(s, "hot", std::to_string(s));
  pair.memtable.put(200'001, "zero", "");
  for (Sequence at = 0; at < 200'010; at += 7) {
    const Memtable::Lookup found = pair.memtable.get("hot", at);
    ASSERT_EQ(found.sequence, at < 2 ? 0 : std::min<Sequence>(at & ~Sequence{1}, 200'000));
    ASSERT_EQ(found.value, at < 2 ? "" : std::to_string(found.sequence));
  }
  // Backwards, each step is a search from the newest: it must not be a walk.
  Memtable::Cursor cursor = pair.memtable.cursor();
  cursor.seek_last();
  cursor.prev();
  for (Sequence s = 2; s <= 200'000; s += 2, cursor.prev()) {
    ASSERT_TRUE(cursor.valid());
    ASSERT_EQ(cursor.sequence(), s);
  }
  EXPECT_EQ(cursor.key(), "before");
}

TEST(Arena, GivesItsLargeBlocksToTheNext) {
  const auto blocks = std::make_shared<ArenaBlocks>(2 * ArenaBlocks::kBlockBytes);
  std::set<const char*> first, second;
  for (std::set<const char*>* pieces : {&first, &second}) {
    Arena arena(blocks);
    for (int i = 0; i < 20'000; ++i) {
      char* piece = arena.allocate(500);
      std::memset(piece, i, 500);
      pieces->insert(piece);
    }
  }
  const auto again =
      std::count_if(first.begin(), first.end(), [&](const char* piece) { return second.contains(piece); });
  EXPECT_GE(again, 8'000) << "two of five are kept";
}

TEST(Arena, StocksBlocksThatTheKernelHasCleared) {
  ArenaBlocks blocks(4 * ArenaBlocks::kBlockBytes);
  EXPECT_FALSE(blocks.stock()) << "nobody took one: a start with little to replay would wait for the kernel";
  char* const first = blocks.take();
  EXPECT_TRUE(blocks.stock() && blocks.stock());
  EXPECT_FALSE(blocks.stock()) << "two are enough";
  const std::set<char*> stocked = {blocks.take(), blocks.take()};
  ASSERT_EQ(stocked.size(), 2u);
  for (char* block : stocked) {
    std::vector<unsigned char> resident(ArenaBlocks::kBlockBytes / 4096);
    ASSERT_EQ(::mincore(block, ArenaBlocks::kBlockBytes, resident.data()), 0);
    EXPECT_TRUE(std::all_of(resident.begin(), resident.end(), [](unsigned char page) { return (page & 1) != 0; }));
    blocks.give(block);
  }
  blocks.give(first);
  ArenaBlocks none(0);
  blocks.give(none.take());
  EXPECT_FALSE(none.stock());
}

TEST(Arena, WhatIsNotKeptGoesBackToTheSystem) {
  ArenaBlocks none(0);
  char* const block = none.take();
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block) % ArenaBlocks::kBlockBytes, 0u) << "a huge page needs that";
  std::memset(block, 1, ArenaBlocks::kBlockBytes);
  none.give(block);
  unsigned char resident = 0;
  EXPECT_NE(::mincore(block, 4096, &resident), 0) << "nothing is mapped there";
}

TEST(MemtableVersion, AnyOlderOneIsAFewStepsAway) {
  Arena arena;
  constexpr std::uint32_t kVersions = 20'000;
  const MemtableVersion* newest = nullptr;
  for (Sequence s = 1; s <= kVersions; ++s) newest = MemtableVersion::make(arena, s, EntryKind::kPut, "", newest);
  for (std::uint32_t depth = 0; depth < kVersions; ++depth) {
    int steps = 0;
    const MemtableVersion* v = newest;
    for (; v->depth() > depth; ++steps) v = v->jump()->depth() >= depth ? v->jump() : v->older();
    ASSERT_LE(steps, 45);  // three times the logarithm
    ASSERT_EQ(newest->at_depth(depth), v);
    ASSERT_EQ(newest->at_or_below(depth + 1), v);
  }
}

TEST(Memtable, KeepsEmptyLongAndBinaryKeys) {
  Pair pair;
  const std::string longest(kMaxKeyBytes, 'x');
  std::vector<std::string> keys = {"",
                                   std::string(1, '\0'),
                                   std::string(2, '\0'),
                                   std::string(9, '\0'),
                                   "\xff",
                                   "\xff\xff",
                                   "\x7f",
                                   "\x80",
                                   "a",
                                   std::string("a\0", 2),
                                   std::string("a\0b", 3),
                                   "ab",
                                   longest,
                                   longest.substr(1),
                                   longest.substr(0, 30'000)};
  keys.push_back(longest);
  keys.back()[65'000] = 'w';  // leaves the longest one far inside a common prefix
  keys.push_back(longest);
  keys.back()[40'000] = '\xfe';
  keys.push_back(longest);
  keys.back()[40'000] = '\0';
  Sequence s = 0;
  for (const std::string& key : keys) {
    pair.put(++s, key, "value of " + std::to_string(key.size()));
    ++s;
    pair.put(s, key, std::string(s * 100, '\0'));
    ASSERT_NO_FATAL_FAILURE(pair.agree_on_everything());
  }
  for (const std::string& key : keys) {
    pair.agree_on(key, kMaxSequence);
    pair.agree_on(key.substr(0, key.size() / 2), kMaxSequence);
    pair.agree_on_seek(key);
    pair.agree_on_seek(key + '\0');
    if (!key.empty()) pair.agree_on_seek(key.substr(0, key.size() - 1));
  }
}

TEST(Memtable, KeepsKeysThatAreEachAPrefixOfTheNext) {
  for (const bool ascending : {true, false}) {  // a tree as deep as the longest key: nothing may recurse over it
    Pair pair;
    constexpr std::size_t kDeepest = 3000;
    for (std::size_t i = 0; i <= kDeepest; ++i) {
      const std::size_t n = ascending ? i : kDeepest - i;
      pair.put(i + 1, std::string(n, 'a'), std::to_string(n));
    }
    ASSERT_NO_FATAL_FAILURE(pair.agree_on_everything());
    for (std::size_t n = 0; n <= kDeepest + 1; n += 13) {
      ASSERT_NO_FATAL_FAILURE(pair.agree_on(std::string(n, 'a'), kMaxSequence));
      ASSERT_NO_FATAL_FAILURE(pair.agree_on_seek(std::string(n, 'a') + "b"));
    }
  }
}

TEST(Memtable, KeepsEveryFanOut) {
  Random random(seed_of_this_run());
  for (std::size_t children = 1; children <= 256; children += children < 40 ? 1 : 9) {
    std::vector<int> bytes(256);
    for (int i = 0; i < 256; ++i) bytes[static_cast<std::size_t>(i)] = i;
    for (std::size_t i = 255; i > 0; --i) std::swap(bytes[i], bytes[random.below(i + 1)]);
    Pair pair;
    for (std::size_t i = 0; i < children; ++i) {
      pair.put(i + 1, std::string("pre") + static_cast<char>(bytes[i]) + "fix", std::to_string(i));
      if (random.one_in(8)) pair.put(i + 1, "pre", std::to_string(i));
    }
    if (random.one_in(2)) pair.put(children + 1, "prefer", "");
    if (random.one_in(2)) pair.put(children + 2, "p", "");  // cuts the prefix of a node of each size
    ASSERT_NO_FATAL_FAILURE(pair.agree_on_everything());
    for (int b = 0; b < 256; ++b) {
      const std::string key = std::string("pre") + static_cast<char>(b);
      ASSERT_NO_FATAL_FAILURE(pair.agree_on(key + "fix", kMaxSequence));
      ASSERT_NO_FATAL_FAILURE(pair.agree_on(key + "fiy", kMaxSequence));
      ASSERT_NO_FATAL_FAILURE(pair.agree_on_seek(key));
      ASSERT_NO_FATAL_FAILURE(pair.agree_on_seek(key + "fix"));
      ASSERT_NO_FATAL_FAILURE(pair.agree_on_seek(key + "g"));
    }
  }
}

TEST(Memtable, ARangeEraseHidesWhatIsOlderAndOnlyThat) {
  Pair pair;
  pair.put(1, "b", "1");
  pair.put(1, "d", "1");
  pair.erase_range(2, "b", "d");
  pair.put(3, "c", "3");
  EXPECT_EQ(pair.memtable.get("b", 1).value, "1");
  EXPECT_EQ(pair.memtable.get("b", 2).found, Found::kErased);
  EXPECT_EQ(pair.memtable.get("b", 2).sequence, 2U);
  EXPECT_EQ(pair.memtable.get("d", 2).found, Found::kValue);  // the end is exclusive
  EXPECT_EQ(pair.memtable.get("c", 2).found, Found::kErased);
  EXPECT_EQ(pair.memtable.get("c", 3).value, "3");
  EXPECT_EQ(pair.memtable.get("never", 9).found, Found::kNothing);
  pair.erase_range(4, "c", "");
  EXPECT_EQ(pair.memtable.get("\xff\xff\xff", 4).sequence, 4U);
  EXPECT_EQ(pair.memtable.get("b", 4).sequence, 2U);
  pair.agree_on_everything();
}

TEST(Memtable, AVersionWinsOverARangeEraseOfItsOwnEvent) {
  Memtable memtable;
  memtable.erase_range(5, "", "");
  memtable.put(5, "k", "kept");
  EXPECT_EQ(memtable.get("k", 5).value, "kept");
  EXPECT_EQ(memtable.covering_erase("k", 5), 5U);
}

TEST(Memtable, ARangeEraseAloneIsSomethingToFlush) {
  Memtable memtable;
  memtable.erase_range(1, "z", "a");
  memtable.erase_range(1, "a", "a");
  EXPECT_TRUE(memtable.empty());
  EXPECT_TRUE(memtable.range_erases().empty());
  memtable.erase_range(1, "a", "z");
  EXPECT_FALSE(memtable.empty());
  EXPECT_EQ(memtable.entries(), 0U);
}

TEST(Memtable, FindsTheHighestOfThousandsOfRangeErases) {
  Random random(seed_of_this_run());
  Pair pair;
  const auto key = [&random] {
    std::string k;
    for (std::uint64_t n = random.below(4); n > 0; --n)
      k.push_back(static_cast<char>(random.below(2) ? random.below(256) : 'a' + random.below(3)));
    return k;
  };
  for (Sequence s = 1; s <= 1500; ++s) {
    pair.erase_range(random.one_in(10) ? 1 + random.below(s) : s, key(), random.one_in(200) ? std::string() : key());
    for (int i = 0; i < 4; ++i) ASSERT_NO_FATAL_FAILURE(pair.agree_on(key(), random.below(s + 2)));
  }
  for (int i = 0; i < 5000; ++i) ASSERT_NO_FATAL_FAILURE(pair.agree_on(key(), random.below(1501)));
  pair.agree_on_everything();
}

TEST(Memtable, AgreesWithTheModelOnRandomHistories) {
  for (std::uint64_t round = 0; round < (kSanitized ? 15 : 60); ++round) {
    const std::uint64_t seed = seed_of_this_run() + round;
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    // Few letters and short keys make prefixes of each other; many make wide nodes; stems make prefixes that must be
    // cut.
    const std::uint64_t letters = random.one_in(2) ? 2 + random.below(3) : 256;
    const std::uint64_t longest = 1 + random.below(12);
    std::vector<std::string> stems(1 + random.below(3));
    for (std::string& stem : stems) {
      for (std::uint64_t n = random.below(25); n > 0; --n) stem.push_back(static_cast<char>(random.below(letters)));
    }
    const auto random_key = [&] {
      const std::string& stem = stems[random.below(stems.size())];
      std::string key = stem.substr(0, random.one_in(3) ? random.below(stem.size() + 1) : stem.size());
      for (std::uint64_t n = random.below(longest + 1); n > 0; --n)
        key.push_back(static_cast<char>(random.below(letters)));
      return key;
    };
    Pair pair;
    Sequence s = 0;
    for (int i = 0; i < 1500; ++i) {
      s += random.below(2);
      const Sequence now = std::max<Sequence>(s, 1);
      if (random.one_in(10)) {  // asks for keys that are there, are not, and end within the tree; must change nothing
        const std::vector<std::string> ahead = {random_key(), random_key(), "", random_key(), random_key()};
        const std::vector<std::string_view> views(ahead.begin(), ahead.end());
        pair.memtable.prefetch(views);
      }
      if (random.one_in(100)) {
        pair.erase_range(now, random_key(), random.one_in(20) ? std::string() : random_key());
      } else if (random.one_in(5)) {
        pair.erase(now, random_key());
      } else {
        pair.put(now, random_key(), std::string(random.below(30), static_cast<char>(random.next())));
      }
      ASSERT_NO_FATAL_FAILURE(pair.agree_on(random_key(), random.below(s + 2)));
      ASSERT_NO_FATAL_FAILURE(pair.agree_on_seek(random_key()));
    }
    ASSERT_NO_FATAL_FAILURE(pair.agree_on_everything());
    for (const auto& [entry, unused] : pair.model.entries)
      ASSERT_NO_FATAL_FAILURE(pair.agree_on(entry.first, random.below(s + 2)));
    ASSERT_NO_FATAL_FAILURE(expect_moves_by_keys(pair.memtable.cursor(), pair.model.entries, random, 2000));

    // A cursor that turns round wherever it likes.
    Memtable::Cursor cursor = pair.memtable.cursor();
    cursor.seek(random_key());
    auto it = pair.model.entries.begin();
    if (cursor.valid()) {
      it = pair.model.entries.find({std::string(cursor.key()), cursor.sequence()});
    } else {
      cursor.seek_first();
    }
    for (int i = 0; i < 2000; ++i) {
      ASSERT_NO_FATAL_FAILURE(pair.agree_at(cursor, it));
      if (random.one_in(2) && it != pair.model.entries.begin()) {
        --it;
        cursor.prev();
      } else if (std::next(it) != pair.model.entries.end()) {
        ++it;
        cursor.next();
      }
    }
  }
}

TEST(Memtable, ACursorStaysRightWhileEntriesComeAllAroundIt) {
  Random random(seed_of_this_run());
  Pair pair;
  const auto key = [&random] { return std::to_string(random.below(3000)); };
  Sequence s = 0;
  for (; s < 1000;) {
    ++s;
    pair.put(s, key(), "old");
  }
  const Model::Entries at_first = pair.model.entries;
  for (const bool forwards : {true, false}) {
    Memtable::Cursor cursor = pair.memtable.cursor();
    if (forwards)
      cursor.seek_first();
    else
      cursor.seek_last();
    std::vector<std::pair<std::string, Sequence>> met;
    while (cursor.valid()) {
      met.emplace_back(cursor.key(), cursor.sequence());
      for (int i = 0; i < 3; ++i) {
        ++s;
        pair.put(s, key(), "new");
      }
      if (forwards)
        cursor.next();
      else
        cursor.prev();
    }
    if (!forwards) std::reverse(met.begin(), met.end());
    ASSERT_TRUE(std::is_sorted(met.begin(), met.end(), Model::NewestFirst()));
    ASSERT_EQ(std::adjacent_find(met.begin(), met.end()), met.end());
    const std::set<std::pair<std::string, Sequence>> met_set(met.begin(), met.end());
    for (const auto& [entry, unused] : at_first) ASSERT_TRUE(met_set.contains(entry)) << entry.first;
  }
}

TEST(Memtable, ViewsStayWhereTheyAreWhileItGrows) {
  Memtable memtable;
  memtable.put(1, "first", "value");
  const std::string_view value = memtable.get("first", 1).value;
  const char* at = value.data();
  for (Sequence s = 2; s < 50'000; ++s) memtable.put(s, "first" + std::to_string(s), "another");
  memtable.put(50'000, "first", "newer");
  EXPECT_EQ(value, "value");
  EXPECT_EQ(memtable.get("first", 1).value.data(), at);
}

TEST(Memtable, CountsTheMemoryOfWhatItHolds) {
  Memtable memtable;
  const std::string large(1 << 20, 'v');
  std::uint64_t before = memtable.bytes();
  for (Sequence s = 1; s <= 8; ++s) {
    memtable.put(s, "k", large);
    EXPECT_GE(memtable.bytes(), before + large.size());
    EXPECT_LE(memtable.bytes(), before + large.size() + 8192);
    before = memtable.bytes();
  }
  memtable.erase_range(9, "a", std::string(kMaxKeyBytes, 'z'));
  EXPECT_GE(memtable.bytes(), before + kMaxKeyBytes);
}

}  // namespace
}  // namespace daruma
