// SPDX-License-Identifier: Apache-2.0
#include "run/run_index.h"

#include <algorithm>

#include "base/coding.h"
#include "daruma/limits.h"
#include "io/memory.h"
#include "run/data_block.h"
#include "run/key_head.h"
#include "run/run_format.h"

namespace daruma {
namespace {

constexpr std::size_t kIndexBlockBytes = 64 << 10;
constexpr std::size_t kIndexBlockHeaderBytes = 16;
constexpr std::uint8_t kContinues = 1;

}  // namespace

void RunIndex::reserve(std::size_t entries, std::size_t key_bytes) {
  constexpr std::size_t kMost = 1 << 20;
  places_.reserve(std::min(entries, kMost / sizeof(Place)));
  keys_.reserve(std::min(key_bytes, kMost));
  prefault(reinterpret_cast<char*>(places_.data()), places_.capacity() * sizeof(Place));
  prefault(keys_.data(), keys_.capacity());
}

void RunIndex::append(const IndexEntry& e) {
  keys_.append(e.last_key);
  places_.push_back({e.offset, e.frame_bytes, e.last_sequence, keys_.size(), e.entries, e.gap});
  continues_.push_back(e.continues);
}

void RunIndex::seal() {
  keys_.shrink_to_fit();
  places_.shrink_to_fit();
  prefixes_.clear();
  prefixes_.reserve(size());
  shared_ = size() == 0 ? 0 : common_prefix(last_key(0), last_key(size() - 1));
  samples_.clear();
  for (std::size_t i = 0; i < size(); ++i) {
    prefixes_.push_back(head_of(last_key(i).substr(shared_)));
    if (i % kSampled == kSampled - 1) samples_.push_back(prefixes_.back());
  }
}

std::string_view RunIndex::last_key(std::size_t i) const {
  const std::uint64_t begin = i == 0 ? 0 : places_[i - 1].key_end;
  return std::string_view(keys_).substr(begin, places_[i].key_end - begin);
}

IndexEntry RunIndex::at(std::size_t i) const {
  const Place& p = places_[i];
  return {last_key(i), p.last_sequence, p.offset, p.frame_bytes, p.entries, continues_[i], p.gap};
}

std::size_t RunIndex::find(std::string_view key, Sequence at) const {
  if (size() == 0) return 0;
  if (const int c = key.substr(0, shared_).compare(last_key(0).substr(0, shared_)); c != 0) return c < 0 ? 0 : size();
  const std::uint64_t prefix = head_of(key.substr(shared_));
  const std::uint64_t* const from =
      prefixes_.data() + kSampled * first_not(samples_.size(), [&](std::size_t i) { return samples_[i] < prefix; });
  const auto near = std::min<std::size_t>(kSampled, static_cast<std::size_t>(prefixes_.data() + size() - from));
  for (std::size_t i = 0; i < near; i += 8) __builtin_prefetch(from + i);  // together, not one after the other
  std::size_t low = static_cast<std::size_t>(from - prefixes_.data()) +
                    first_not(near, [&](std::size_t i) { return from[i] < prefix; });
  std::size_t high = low;
  while (high < size() &&
         prefixes_[high] == prefix) {  // gallop: equal prefixes are few, or a long stretch of like keys
    const std::size_t step = high - low + 1;
    high = std::min(size(), high + step);
    if (prefixes_[high - 1] != prefix) {
      high = static_cast<std::size_t>(std::upper_bound(prefixes_.begin() + static_cast<std::ptrdiff_t>(low),
                                                       prefixes_.begin() + static_cast<std::ptrdiff_t>(high), prefix) -
                                      prefixes_.begin());
      break;
    }
  }
  while (low < high) {
    const std::size_t middle = low + (high - low) / 2;
    if (stands_before(last_key(middle), places_[middle].last_sequence, key, at))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

void IndexEncoder::add(const IndexEntry& e) {
  if (in_current_ == 0) {
    put_u64(current_, e.offset);
    put_u32(current_, position_);
    put_u32(current_, 0);  // how many, once known
    last_key_.clear();
  }
  const std::size_t shared = common_prefix(last_key_, e.last_key);
  put_varint(current_, shared);
  put_bytes(current_, e.last_key.substr(shared));
  put_varint(current_, e.last_sequence);
  put_varint(current_, e.frame_bytes);
  put_varint(current_, e.entries);
  put_u8(current_, e.continues ? kContinues : 0);
  last_key_.assign(e.last_key);
  ++position_;
  ++in_current_;
  if (current_.size() >= kIndexBlockBytes) close();
}

void IndexEncoder::close() {
  store(current_.data() + kIndexBlockHeaderBytes - 4, in_current_);
  closed_bytes_ += current_.size();
  closed_.push_back(std::move(current_));
  current_.clear();
  in_current_ = 0;
}

std::vector<std::string> IndexEncoder::finish() {
  if (in_current_ != 0) close();
  return std::move(closed_);
}

bool decode_index_block(std::string_view contents, RunIndex& index, std::uint64_t& offset) {
  Decoder in(contents);
  const std::uint64_t first = in.u64();
  const std::uint32_t position = in.u32();
  const std::uint32_t count = in.u32();
  if (!in.ok() || count == 0 || first != offset || position != index.size()) return false;
  std::string key;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint64_t shared = in.varint();
    const std::string_view suffix = in.bytes();
    IndexEntry e;
    e.last_sequence = in.varint();
    e.frame_bytes = in.varint();
    const std::uint64_t entries = in.varint();
    const std::uint8_t flags = in.u8();
    if (!in.ok() || shared > key.size() || shared + suffix.size() > kMaxKeyBytes || e.last_sequence > kMaxSequence ||
        flags > kContinues || e.frame_bytes <= kBlockHeaderBytes || e.frame_bytes > kMaxBlockBytes || entries == 0 ||
        entries > UINT32_MAX) {
      return false;
    }
    key.resize(shared);
    key.append(suffix);
    if (index.size() > 0) {
      const IndexEntry before = index.at(index.size() - 1);
      if (!stands_before(before.last_key, before.last_sequence, key, e.last_sequence)) return false;
    }
    e.last_key = key;
    e.offset = offset;
    e.entries = static_cast<std::uint32_t>(entries);
    e.continues = flags == kContinues;
    index.append(e);
    offset += e.frame_bytes;
  }
  return in.done();
}

}  // namespace daruma
