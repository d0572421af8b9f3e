// SPDX-License-Identifier: Apache-2.0
//
// One writer and three readers without a lock. The store's protocol: the writer finishes event s, then makes s visible;
// a reader takes the visible sequence, then reads. Build with -fsanitize=thread (preset tsan) to have the orderings
// checked too.
#include "memtable/memtable.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/checksum.h"
#include "base/random.h"

namespace daruma {
namespace {

using Found = Memtable::Lookup::Found;

constexpr std::uint64_t kKeys = 512;
constexpr Sequence kEvents = 60'000;

/// Of different lengths, some a prefix of others, spread over wide and narrow nodes.
std::string key_of(std::uint64_t i) {
  const std::uint64_t h = i * 0x9e3779b97f4a7c15ULL;
  std::string key(reinterpret_cast<const char*>(&h), 1 + i % 8);
  if (i % 3 == 0) key.insert(0, "a common stem");
  if (i % 5 == 0) key.append(i % 40, 'p');
  return key + std::to_string(i).substr(0, i % 4) + static_cast<char>(i) + static_cast<char>(i >> 8);
}

/// Says which key and event it belongs to, and is of many lengths.
std::string value_of(std::uint64_t key, Sequence s) {
  std::string value = std::to_string(key) + ":" + std::to_string(s) + ":";
  const std::uint64_t h = hash64(value, 7);
  value.append(h % 200, static_cast<char>(h));
  return value;
}

class Beside : public testing::Test {
 protected:
  /// Runs `write` for every sequence in the calling thread, and three copies of `read(random)` over and over meanwhile.
  template <typename Write, typename Read>
  void run(Sequence events, Write write, Read read) {
    const std::uint64_t seed = entropy_seed();
    std::cout << "seed " << seed << "\n";
    std::atomic<bool> stop{false};
    std::atomic<int> started{0};
    std::vector<std::thread> readers;
    for (std::uint64_t r = 0; r < 3; ++r) {
      readers.emplace_back([&, r] {
        Random random(seed + r);
        ++started;
        do read(random);
        while (!stop.load(std::memory_order_relaxed) && !HasFatalFailure());
      });
    }
    while (started.load() < 3) std::this_thread::yield();
    Random random(seed + 3);
    for (Sequence s = 1; s <= events && !HasFatalFailure(); ++s) {
      write(random, s);
      visible.store(s, std::memory_order_release);
    }
    stop = true;
    for (std::thread& reader : readers) reader.join();
  }

  Memtable memtable;
  std::atomic<Sequence> visible{0};
};

TEST_F(Beside, ReadersSeeWholeVersionsThatNeverGoBack) {
  // The newest sequence of each key, for the readers to hold the memtable against.
  std::vector<std::atomic<Sequence>> newest(kKeys);
  const auto write = [&](Random& random, Sequence s) {
    const std::uint64_t i = random.one_in(3) ? random.below(8) : random.below(kKeys);
    if (random.one_in(4)) memtable.put(s, key_of(i), "of the same batch: replaced before it is visible");
    memtable.put(s, key_of(i), value_of(i, s));
    newest[i].store(s, std::memory_order_release);
  };
  const auto read = [&](Random& random) {
    const std::uint64_t i = random.below(kKeys);
    const std::string key = key_of(i);
    const Sequence at_least = newest[i].load(std::memory_order_acquire);
    const Memtable::Lookup now = memtable.get(key, kMaxSequence);
    ASSERT_GE(now.sequence, at_least);
    const Sequence at = visible.load(std::memory_order_acquire);
    Sequence last = now.sequence;
    for (Sequence back = at; back > 0; back /= 2) {
      const Memtable::Lookup found = memtable.get(key, back);
      if (found.found == Found::kNothing) break;
      ASSERT_EQ(found.found, Found::kValue);
      ASSERT_LE(found.sequence, back);
      if (back != at) { ASSERT_LE(found.sequence, last); }
      last = found.sequence;
      ASSERT_EQ(found.value, value_of(i, found.sequence));
    }
    ASSERT_GE(memtable.get(key, kMaxSequence).sequence, now.sequence);
  };
  run(kEvents, write, read);
  for (std::uint64_t i = 0; i < kKeys; ++i) EXPECT_EQ(memtable.get(key_of(i), kMaxSequence).sequence, newest[i].load());
}

TEST_F(Beside, CursorsAreSortedAndMissNothingThatWasVisible) {
  std::vector<std::string> keys;
  for (std::uint64_t i = 0; i < 4000; ++i) keys.push_back(key_of(i));
  Random shuffle(entropy_seed());
  for (std::size_t i = keys.size() - 1; i > 0; --i) std::swap(keys[i], keys[shuffle.below(i + 1)]);
  std::vector<std::string> distinct = keys;
  std::sort(distinct.begin(), distinct.end());
  ASSERT_EQ(std::adjacent_find(distinct.begin(), distinct.end()), distinct.end());

  // Event s brings keys[s - 1] and another version of the key half as far: any prefix of the history is known.
  const auto write = [&](Random&, Sequence s) {
    memtable.put(s, keys[s - 1], keys[s - 1]);
    memtable.erase(s, keys[(s - 1) / 2]);
  };
  const auto read = [&](Random& random) {
    const Sequence at = visible.load(std::memory_order_acquire);
    const bool forwards = random.one_in(2);
    const std::string from = random.one_in(4) ? std::string() : keys[random.below(keys.size())];
    Memtable::Cursor cursor = memtable.cursor();
    if (forwards) {
      cursor.seek(from);
    } else {
      cursor.seek_last();
    }
    std::uint64_t met = 0;
    std::string key;
    Sequence sequence = 0;
    for (bool first = true; cursor.valid(); first = false) {
      if (forwards) {
        ASSERT_GE(cursor.key(), from);
      } else if (cursor.key() < from) {
        break;
      }
      if (!first) {
        const int order = forwards ? key.compare(cursor.key()) : cursor.key().compare(key);
        ASSERT_TRUE(order < 0 ||
                    (order == 0 && (forwards ? cursor.sequence() < sequence : cursor.sequence() > sequence)));
      }
      key.assign(cursor.key());
      sequence = cursor.sequence();
      if (cursor.kind() == EntryKind::kPut) {
        ASSERT_EQ(cursor.value(), key);
        if (sequence <= at) ++met;
      }
      if (forwards)
        cursor.next();
      else
        cursor.prev();
    }
    // All puts up to `at`, but for the keys whose put their own event replaced by an erase: that is only the first.
    std::uint64_t want = 0;
    for (Sequence s = 2; s <= at; ++s) want += keys[s - 1] >= from;
    ASSERT_EQ(met, want);
  };
  run(keys.size(), write, read);
  EXPECT_EQ(memtable.entries(), 2 * keys.size() - 1);
}

TEST_F(Beside, ReadersThatChaseTheWriterKeyByKeySeeEachWhole) {
  // Nothing but the memtable itself orders reader and writer here: no look at `visible`.
  std::vector<std::string> keys;
  for (std::uint64_t i = 0; i < 10'000; ++i) {
    const std::string key = key_of(i);
    keys.push_back(key);
    if (i % 4 == 0) keys.insert(keys.end(), {key + "!!a", key + "!!b", key + "!!"});  // the last ends at a node
  }
  std::array<std::atomic<std::size_t>, 3> chased{};
  std::atomic<std::size_t> readers{0};
  const auto write = [&](Random&, Sequence s) {
    const auto behind = [&] {  // near enough that readers meet keys as they come
      std::size_t least = keys.size();
      for (const auto& c : chased) least = std::min(least, c.load(std::memory_order_relaxed));
      return s > least + 8;
    };
    while (behind() && !HasFatalFailure()) std::this_thread::yield();
    memtable.put(s, keys[s - 1], keys[s - 1]);
  };
  const auto read = [&](Random& random) {
    const std::size_t me = readers++;
    if (me >= chased.size()) return;  // this reader has been through them all
    auto& mine = chased[me];
    for (std::size_t next = 0; next < keys.size() && !HasFatalFailure();) {
      const std::string& key = keys[next];
      if (random.one_in(2)) {
        const Memtable::Lookup found = memtable.get(key, kMaxSequence);
        if (found.found == Found::kNothing) {
          std::this_thread::yield();
          continue;
        }
        ASSERT_EQ(found.sequence, next + 1);
        ASSERT_EQ(found.value, key);
      } else {
        Memtable::Cursor cursor = memtable.cursor();
        cursor.seek(key);
        if (!cursor.valid() || cursor.key() != key) {
          std::this_thread::yield();
          continue;
        }
        ASSERT_EQ(cursor.sequence(), next + 1);
        ASSERT_EQ(cursor.value(), key);
      }
      mine.store(++next, std::memory_order_relaxed);
    }
  };
  run(keys.size(), write, read);
  EXPECT_EQ(memtable.entries(), keys.size());
}

TEST_F(Beside, SeeksLandRightWhileKeysArrive) {
  const auto key = [](std::uint64_t n) {  // big-endian: neighbours share long prefixes
    std::string k = "key ";
    for (int shift = 24; shift >= 0; shift -= 8) k.push_back(static_cast<char>(n >> shift));
    return k;
  };
  constexpr std::uint64_t kSpace = 20'000;
  // Event s brings number (s * 7919) mod kSpace: each number once.
  const auto number = [](Sequence s) { return s * 7919 % kSpace; };
  std::vector<Sequence> arrives(kSpace);
  for (Sequence s = 1; s <= kSpace; ++s) arrives[number(s)] = s;
  run(
      kSpace, [&](Random&, Sequence s) { memtable.put(s, key(number(s)), ""); },
      [&](Random& random) {
        const Sequence before = visible.load(std::memory_order_acquire);
        const std::uint64_t n = random.below(kSpace);
        Memtable::Cursor cursor = memtable.cursor();
        cursor.seek(key(n));
        std::uint64_t most = n;  // the first number from n on that was there before; newer ones may stand before it
        while (most < kSpace && arrives[most] > before) ++most;
        if (most == kSpace) return;
        ASSERT_TRUE(cursor.valid());
        ASSERT_GE(cursor.key(), key(n));
        ASSERT_LE(cursor.key(), key(most));
      });
}

TEST_F(Beside, RangeErasesHideAndUncoverInOrder) {
  // Event s: even ones put the key, odd ones erase a range over it. So at every sequence the answer is known.
  const auto write = [&](Random& random, Sequence s) {
    if (s % 2 == 0) {
      memtable.put(s, "key", value_of(0, s));
    } else {
      const std::string begin(1, static_cast<char>('a' + random.below(10)));
      memtable.erase_range(s, begin, random.one_in(3) ? std::string() : "p");
    }
  };
  const auto read = [&](Random& random) {
    const Sequence now = visible.load(std::memory_order_acquire);
    const Sequence at = random.one_in(2) ? now : random.below(now + 1);
    if (at == 0) return;
    const Memtable::Lookup found = memtable.get("key", at);
    ASSERT_EQ(found.sequence, at);
    ASSERT_EQ(found.found, at % 2 == 0 ? Found::kValue : Found::kErased);
    if (at % 2 == 0) { ASSERT_EQ(found.value, value_of(0, at)); }
    ASSERT_EQ(memtable.covering_erase("key", at), at % 2 == 0 ? at - 1 : at);
    if (random.one_in(50)) {
      const std::vector<RangeErase> list = memtable.range_erases();
      ASSERT_GE(list.size(), now / 2);
      for (std::size_t i = 0; i < list.size(); ++i) ASSERT_EQ(list[i].sequence, 2 * i + 1);
    }
  };
  run(4000, write, read);
}

}  // namespace
}  // namespace daruma
