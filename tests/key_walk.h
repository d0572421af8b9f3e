// SPDX-License-Identifier: Apache-2.0
// Moves from key to key, as a merge makes them, of a memtable's cursor and of a run's.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <string>

#include "base/random.h"
#include "daruma/status.h"

namespace daruma {

/// `entries`: what the cursor walks, by (key, newest first).
template <typename Cursor, typename Entries>
void expect_moves_by_keys(Cursor cursor, const Entries& entries, Random& random, int moves) {
  if (entries.empty()) return;
  const auto newest = [&](auto it) { return entries.lower_bound({it->first.first, kMaxSequence}); };
  auto it = entries.end();
  for (int move = 0; move < moves; ++move) {
    if (it == entries.end() && random.one_in(2)) {
      cursor.seek_first();
      it = entries.begin();
    } else if (it == entries.end()) {
      cursor.seek_last_key();
      it = newest(std::prev(it));
    } else if (const std::string key = it->first.first; random.one_in(3)) {
      const Sequence at = random.below(it->first.second + 2);
      const auto found = entries.lower_bound({key, std::min(at, it->first.second)});
      const bool there = found != entries.end() && found->first.first == key;
      ASSERT_EQ(cursor.at_or_below(at), there);
      ASSERT_TRUE(cursor.valid());
      it = there ? found : entries.find({key, cursor.sequence()});
      ASSERT_TRUE(it != entries.end()) << "it has left its key";
    } else if (random.one_in(2)) {
      cursor.next_key();
      it = entries.upper_bound({key, 0});
    } else {
      cursor.prev_key();
      it = newest(it);
      it = it == entries.begin() ? entries.end() : newest(std::prev(it));
    }
    ASSERT_EQ(cursor.valid(), it != entries.end());
    if (!cursor.valid()) continue;
    ASSERT_EQ(cursor.key(), it->first.first);
    ASSERT_EQ(cursor.sequence(), it->first.second);
  }
}

}  // namespace daruma
