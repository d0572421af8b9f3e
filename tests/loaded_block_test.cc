// SPDX-License-Identifier: Apache-2.0
#include "run/loaded_block.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/coding.h"
#include "base/random.h"

namespace daruma {
namespace {

struct Entry {
  std::string key;
  Sequence sequence;
  EntryKind kind;
  std::string value;
};

std::string contents_of(const std::vector<Entry>& entries) {
  DataBlockBuilder builder;
  for (const Entry& e : entries) builder.add(e.key, entry_tag(e.sequence, e.kind), e.value);
  return std::string(builder.finish());
}

/// Keys of few letters, zero bytes among them, behind what they have in common: many are prefixes of others, or all of
/// one length.
std::vector<Entry> draw(Random& random, const std::string& prefix) {
  const std::uint64_t longest = random.below(2) == 0 ? 14 : 9;  // one more than there are
  const bool even = random.below(3) == 0;
  std::map<std::string, std::vector<Sequence>> drawn;
  for (std::uint64_t n = 1 + random.below(60); n > 0; --n) {
    std::string key = prefix;
    for (std::uint64_t m = even ? longest - 1 : random.below(longest); m > 0; --m) key += "\0ab\xff"[random.below(4)];
    drawn[key].push_back(1 + random.below(1000));
  }
  std::vector<Entry> entries;
  for (auto& [key, sequences] : drawn) {
    std::sort(sequences.rbegin(), sequences.rend());
    sequences.erase(std::unique(sequences.begin(), sequences.end()), sequences.end());
    for (const Sequence s : sequences) {
      const bool put = random.below(4) != 0;
      entries.push_back({key, s, put ? EntryKind::kPut : EntryKind::kErase,
                         put ? std::string(random.below(20), static_cast<char>(s)) : ""});
    }
  }
  return entries;
}

TEST(LoadedBlock, FindsWhatABlockHoldsAsItsContentsDo) {
  Random random(1);
  BlockRef room;  // one after the other in the same memory
  for (int round = 0; round < 300; ++round) {
    const std::string prefix(random.below(3) * 9, 'p');
    const std::vector<Entry> entries = draw(random, prefix);
    const std::string contents = contents_of(entries);
    ASSERT_TRUE(LoadedBlock::make(contents, room)) << round;
    const LoadedBlock block(room.view().data());
    ASSERT_EQ(block.size(), entries.size());
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const Entry& e = entries[i];
      std::string rest(std::max<std::size_t>(8, block.rest_bytes_max()), 'x');
      rest.resize(block.copy_rest(i, rest.data()));
      EXPECT_EQ(std::string(block.prefix()) + rest, e.key);
      EXPECT_EQ(block.sequence(i), e.sequence);
      EXPECT_EQ(block.kind(i), e.kind);
      EXPECT_EQ(block.value(i), e.value);
    }
    std::vector<std::pair<std::string, Sequence>> wanted = {
        {"", 5}, {prefix.substr(0, 4), 5}, {prefix + "c", 5}, {"q", 1}};
    for (const Entry& e : entries) {
      for (const Sequence at : {e.sequence - 1, e.sequence, e.sequence + 1, kMaxSequence})
        wanted.emplace_back(e.key, at);
      wanted.emplace_back(e.key + '\0', 5);
      if (!e.key.empty()) wanted.emplace_back(e.key.substr(0, e.key.size() - 1), 5);
    }
    DataBlockCursor unpacked(contents);
    for (const auto& one : wanted) {
      const std::string& key = one.first;
      const Sequence at = one.second;
      const auto it = std::find_if(entries.begin(), entries.end(),
                                   [&](const Entry& e) { return !stands_before(e.key, e.sequence, key, at); });
      const auto expected = static_cast<std::size_t>(it - entries.begin());
      ASSERT_EQ(block.find(key, at), expected) << round << " " << key;
      if (expected < entries.size()) { ASSERT_EQ(block.has_key(expected, key), it->key == key); }
      unpacked.seek(key, at);
      ASSERT_FALSE(unpacked.bad());
      ASSERT_EQ(unpacked.valid(), expected < entries.size()) << round << " " << key;
      if (!unpacked.valid()) continue;
      EXPECT_EQ(unpacked.key(), it->key);
      EXPECT_EQ(unpacked.entry().tag, entry_tag(it->sequence, it->kind));
      EXPECT_EQ(unpacked.entry().value, it->value);
    }
  }
}

TEST(LoadedBlock, RefusesWhatMakesNoSense) {
  const Entry a{"a", 1, EntryKind::kPut, "x"}, b{"b", 1, EntryKind::kPut, "y"}, older{"b", 2, EntryKind::kPut, "z"};
  BlockRef room;
  EXPECT_TRUE(LoadedBlock::make(contents_of({a, b}), room));
  EXPECT_FALSE(LoadedBlock::make(contents_of({b, a}), room)) << "out of order";
  EXPECT_FALSE(LoadedBlock::make(contents_of({a, a}), room)) << "one version twice";
  EXPECT_FALSE(LoadedBlock::make(contents_of({b, older}), room)) << "an older version before a newer one";
  std::vector<Entry> many;
  for (char c = 'a'; c <= 'z'; ++c) many.push_back({{c}, 1, EntryKind::kPut, "v"});
  const std::string good = contents_of(many);
  ASSERT_TRUE(LoadedBlock::make(good, room));
  for (std::size_t cut = 0; cut < good.size(); ++cut) EXPECT_FALSE(LoadedBlock::make(good.substr(0, cut), room)) << cut;
  for (std::size_t back = 24; back >= 4; back -= 4) {  // each word of the trailer: two restarts, then the two sizes
    for (const std::uint32_t off : {1u, ~0u}) {
      std::string bad = good;
      char* const word = bad.data() + bad.size() - back;
      store(word, load<std::uint32_t>(word) + off);
      EXPECT_FALSE(LoadedBlock::make(bad, room)) << back;
    }
  }
}

}  // namespace
}  // namespace daruma
