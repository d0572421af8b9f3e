// SPDX-License-Identifier: Apache-2.0
#include "run/loaded_block.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "daruma/limits.h"
#include "run/key_head.h"

namespace daruma {
namespace {

constexpr std::size_t kPrefetchLines = 11;  // the numbers of a block of usual size

/// A thread keeps the memory for the next block, unless this one was much larger than usual.
struct Unpacked {
  struct Entry {
    std::uint64_t tag;
    std::uint32_t key_end, value_end;  // a restart has its key whole, so a block's keys are 16 times its bytes at most
  };
  std::vector<Entry> entries;
  std::string keys;  // has room for more
};
constexpr std::size_t kEntriesKept = 4096, kKeyBytesKept = 1 << 20;

}  // namespace

bool LoadedBlock::make(std::string_view contents, BlockRef& out) {
  thread_local Unpacked unpacked;
  if (unpacked.entries.capacity() > kEntriesKept || unpacked.keys.size() > kKeyBytesKept) unpacked = Unpacked();
  std::vector<Unpacked::Entry>& entries = unpacked.entries;
  std::string& keys = unpacked.keys;
  entries.clear();
  DataBlockCursor cursor(contents);
  const char* const values_begin = cursor.valid() ? cursor.entry().value.data() : nullptr;  // they adjoin
  std::size_t key_bytes = 0, value_bytes = 0, longest = 0, shortest = kMaxKeyBytes, last_begin = 0;
  for (; cursor.valid(); cursor.next()) {
    const std::string_view key = cursor.key();
    if (!entries.empty() && !stands_before(compare_keys({keys.data() + last_begin, key_bytes - last_begin}, key),
                                           entries.back().tag >> 8, cursor.entry().sequence()))
      return false;
    last_begin = key_bytes;
    key_bytes += key.size();
    if (keys.size() < key_bytes) keys.resize(2 * key_bytes);
    copy_few(keys.data() + last_begin, key.data(), key.size());
    longest = std::max(longest, key.size());
    shortest = std::min(shortest, key.size());
    value_bytes += cursor.entry().value.size();
    entries.push_back(
        {cursor.entry().tag, static_cast<std::uint32_t>(key_bytes), static_cast<std::uint32_t>(value_bytes)});
  }
  if (cursor.bad()) return false;

  const std::size_t count = entries.size();
  const std::size_t prefix = common_prefix(std::string_view(keys).substr(0, entries[0].key_end),
                                           std::string_view(keys).substr(last_begin, key_bytes - last_begin));
  const std::size_t bounds = kHeaderBytes + prefix + 8 * count + kSlotBytes * (count + 1);
  const bool even = shortest == longest;
  const std::size_t rests = bounds + (even ? 0 : kBoundBytes * (count + 1));
  const bool by_number = longest - prefix <= 8;
  const std::size_t values = rests + (by_number ? 0 : key_bytes - prefix * count);
  out.remake(values + value_bytes);

  char* const begin = out.data();
  store(begin, static_cast<std::uint32_t>(count));
  store(begin + 4, static_cast<std::uint32_t>(prefix));
  store(begin + 8, static_cast<std::uint32_t>(longest - prefix));
  store(begin + 12, static_cast<std::uint32_t>(even ? 0 : bounds));
  std::memcpy(begin + kHeaderBytes, keys.data(), prefix);
  char* head = begin + kHeaderBytes + prefix;
  char* slot = head + 8 * count;
  char* bound = begin + bounds;
  std::size_t rest = rests, value = values, key_at = 0;
  const auto put_slot = [&](std::uint64_t tag) {
    store(slot, tag);
    store(slot + 8, static_cast<std::uint32_t>(value));
    slot += kSlotBytes;
    if (even) return;
    store(bound, static_cast<std::uint32_t>(rest));
    bound += kBoundBytes;
  };
  for (const Unpacked::Entry& entry : entries) {
    const std::string_view key(keys.data() + key_at + prefix, entry.key_end - key_at - prefix);
    store(head, head_of(key));
    head += 8;
    put_slot(entry.tag);
    if (!by_number) copy_few(begin + rest, key.data(), key.size());
    rest += key.size();
    value = values + entry.value_end;
    key_at = entry.key_end;
  }
  put_slot(0);
  if (value_bytes != 0) std::memcpy(begin + values, values_begin, value_bytes);
  return true;
}

int LoadedBlock::compare(std::size_t i, std::string_view wanted) const {
  const std::uint64_t here = head(i), there = head_of(wanted);
  if (here != there) return here < there ? -1 : 1;
  const std::size_t bytes = rest_bytes(i);
  if (bytes <= 8 || wanted.size() <= 8)  // what is longer goes on with zeros at most
    return bytes < wanted.size() ? -1 : bytes > wanted.size();
  return rest(i).substr(8).compare(wanted.substr(8));
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
