// SPDX-License-Identifier: Apache-2.0
#include "run/loaded_block.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "run/key_head.h"

namespace daruma {
namespace {

constexpr std::size_t kPrefetchLines = 11;  // the numbers of a block of usual size

/// A thread keeps the memory for the next block, unless this one was much larger than usual.
struct Unpacked {
  struct Entry {
    std::size_t key_end;
    DataBlockCursor::Entry entry;
  };
  std::vector<Entry> entries;
  std::string keys;
};
constexpr std::size_t kEntriesKept = 4096;

bool in_order(std::string_view a, Sequence a_sequence, std::string_view b, Sequence b_sequence) {
  const std::size_t common = common_prefix(a, b);  // without a call for a few bytes
  if (common == a.size()) return common < b.size() || a_sequence > b_sequence;
  return common < b.size() && static_cast<std::uint8_t>(a[common]) < static_cast<std::uint8_t>(b[common]);
}

}  // namespace

bool LoadedBlock::make(std::string_view contents, BlockRef& out) {
  thread_local Unpacked unpacked;
  if (unpacked.entries.capacity() > kEntriesKept) unpacked = Unpacked();
  std::vector<Unpacked::Entry>& entries = unpacked.entries;
  std::string& keys = unpacked.keys;
  entries.clear();
  keys.clear();
  const auto key_at = [&](std::size_t i) {
    const std::size_t begin = i == 0 ? 0 : entries[i - 1].key_end;
    return std::string_view(keys).substr(begin, entries[i].key_end - begin);
  };
  DataBlockCursor cursor(contents);
  for (; cursor.valid(); cursor.next()) {
    if (!entries.empty() &&
        !in_order(key_at(entries.size() - 1), entries.back().entry.sequence(), cursor.key(), cursor.entry().sequence()))
      return false;
    keys.append(cursor.key());
    entries.push_back({keys.size(), cursor.entry()});
  }
  if (cursor.bad()) return false;

  const std::size_t count = entries.size();
  const std::string_view first = key_at(0), last = key_at(count - 1);
  const std::size_t prefix = common_prefix(first, last);
  std::size_t value_bytes = 0, longest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    value_bytes += entries[i].entry.value.size();
    longest = std::max(longest, key_at(i).size());
  }
  const std::size_t rests = kHeaderBytes + prefix + 8 * count + sizeof(Slot) * (count + 1);
  const std::size_t values = rests + keys.size() - prefix * count;
  out.remake(values + value_bytes);

  char* const begin = out.data();
  store(begin, static_cast<std::uint32_t>(count));
  store(begin + 4, static_cast<std::uint32_t>(prefix));
  store(begin + 8, static_cast<std::uint32_t>(longest - prefix));
  char* head = std::copy_n(first.data(), prefix, begin + kHeaderBytes);
  char* slot = head + 8 * count;
  char* rest = begin + rests;
  std::size_t value = values;
  const auto put_slot = [&](std::uint64_t tag) {
    store(slot, Slot{tag, static_cast<std::uint32_t>(rest - begin), static_cast<std::uint32_t>(value)});
    slot += sizeof(Slot);
  };
  for (std::size_t i = 0; i < count; ++i) {
    const std::string_view key = key_at(i).substr(prefix);
    store(head, head_of(key));
    head += 8;
    put_slot(entries[i].entry.tag);
    rest = std::copy(key.begin(), key.end(), rest);
    value += entries[i].entry.value.size();
  }
  if (value_bytes != 0) std::memcpy(begin + values, entries[0].entry.value.data(), value_bytes);  // they adjoin
  put_slot(0);
  return true;
}

int LoadedBlock::compare(std::size_t i, std::string_view wanted) const {
  const std::uint64_t here = head(i), there = head_of(wanted);
  if (here != there) return here < there ? -1 : 1;
  const std::string_view key = rest(i);
  if (key.size() <= 8 || wanted.size() <= 8)  // what is longer goes on with zeros at most
    return key.size() < wanted.size() ? -1 : key.size() > wanted.size();
  return key.substr(8).compare(wanted.substr(8));
}

std::size_t LoadedBlock::find(std::string_view key, Sequence at) const {
  for (std::size_t line = 1; line <= kPrefetchLines; ++line) __builtin_prefetch(begin_ + 64 * line);
  const std::size_t count = size();
  if (const int c = key.substr(0, prefix_bytes()).compare(prefix()); c != 0) return c < 0 ? 0 : count;
  const std::string_view wanted = key.substr(prefix_bytes());
  const std::uint64_t wanted_head = head_of(wanted);
  const char* const heads = this->heads();
  const std::size_t low =
      first_not(count, [&](std::size_t i) { return daruma::load<std::uint64_t>(heads + 8 * i) < wanted_head; });
  std::size_t high = low;
  while (high < count && head(high) == wanted_head) ++high;
  return low + first_not(high - low, [&](std::size_t i) {
           const int c = compare(low + i, wanted);
           return c != 0 ? c < 0 : sequence(low + i) > at;
         });
}

}  // namespace daruma
