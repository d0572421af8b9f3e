// SPDX-License-Identifier: Apache-2.0
#include "run/data_block.h"

#include <algorithm>

#include "base/assert.h"
#include "base/coding.h"
#include "daruma/limits.h"

namespace daruma {
namespace {

std::size_t common_prefix(std::string_view a, std::string_view b) {
  const std::size_t n = std::min(a.size(), b.size());
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const std::uint64_t differ = load<std::uint64_t>(a.data() + i) ^ load<std::uint64_t>(b.data() + i);
    if (differ != 0) return i + static_cast<std::size_t>(__builtin_ctzll(differ)) / 8;
  }
  while (i < n && a[i] == b[i]) ++i;
  return i;
}

}  // namespace

void DataBlockBuilder::add(std::string_view key, std::uint64_t tag, std::string_view value) {
  std::size_t shared = 0;
  if (restarts_.empty() || since_restart_ == kRestartInterval) {
    restarts_.push_back(static_cast<std::uint32_t>(buffer_.size()));
    since_restart_ = 0;
  } else {
    shared = common_prefix(last_key_, key);
  }
  ++since_restart_;
  put_varint(buffer_, shared);
  put_varint(buffer_, key.size() - shared);
  put_varint(buffer_, value.size());
  buffer_.append(key.substr(shared));
  put_u64(buffer_, tag);
  buffer_.append(value);
  last_key_.assign(key);
}

std::string_view DataBlockBuilder::finish() {
  DARUMA_ASSERT(!empty());
  for (const std::uint32_t offset : restarts_) put_u32(buffer_, offset);
  put_u32(buffer_, static_cast<std::uint32_t>(restarts_.size()));
  return buffer_;
}

void DataBlockBuilder::clear() {
  buffer_.clear();
  restarts_.clear();
  last_key_.clear();
  since_restart_ = 0;
}

DataBlock::DataBlock(std::string_view raw) {
  if (raw.size() < 8) return;
  const auto restarts = load<std::uint32_t>(raw.data() + raw.size() - 4);
  if (restarts == 0 || restarts > (raw.size() - 4) / 4) return;
  begin_ = raw.data();
  end_ = raw.data() + raw.size() - 4 - std::size_t{4} * restarts;
  restarts_ = restarts;
  if (restart(0) != 0 || begin_ == end_) restarts_ = 0;
}

std::uint32_t DataBlock::restart(std::size_t i) const { return load<std::uint32_t>(end_ + 4 * i); }

const char* DataBlock::decode(const char* p, Entry& out) const {
  std::uint64_t shared = 0, unshared = 0, value = 0;
  if (end_ - p >= 3 && ((p[0] | p[1] | p[2]) & 0x80) == 0) {  // three short lengths: the usual case
    shared = static_cast<std::uint8_t>(p[0]), unshared = static_cast<std::uint8_t>(p[1]),
    value = static_cast<std::uint8_t>(p[2]);
    p += 3;
  } else {
    if (!(p = decode_varint(p, end_, &shared)) || !(p = decode_varint(p, end_, &unshared)) ||
        !(p = decode_varint(p, end_, &value)))
      return nullptr;
  }
  const auto left = static_cast<std::uint64_t>(end_ - p);
  if (shared > kMaxKeyBytes || unshared > kMaxKeyBytes - shared || value > kMaxValueBytes ||
      unshared + 8 + value > left)
    return nullptr;
  out.shared = shared;
  out.suffix = {p, static_cast<std::size_t>(unshared)};
  p += unshared;
  out.tag = load<std::uint64_t>(p);
  p += 8;
  if (out.kind() != EntryKind::kPut && out.kind() != EntryKind::kErase) return nullptr;
  out.value = {p, static_cast<std::size_t>(value)};
  return p + value;
}

std::size_t DataBlock::restart_before(std::string_view key, Sequence at) const {
  std::size_t low = 0, high = restarts_;  // restarts below `low` stand before; those from `high` on do not
  while (low < high) {
    const std::size_t middle = low + (high - low) / 2;
    const std::uint32_t offset = restart(middle);
    Entry e;
    if (offset >= static_cast<std::uint64_t>(end_ - begin_) || !decode(begin_ + offset, e) || e.shared != 0)
      return kNone;
    if (stands_before(e.suffix, e.sequence(), key, at))
      low = middle + 1;
    else
      high = middle;
  }
  return low == 0 ? 0 : low - 1;
}

DataBlock::Search DataBlock::find(std::string_view key, Sequence at, Entry& out) const {
  if (!ok()) return Search::kBad;
  const std::size_t from = restart_before(key, at);
  if (from == kNone) return Search::kBad;
  // Of the entry before: its key's length, and how much of `key` it begins with. It stands before (key, at).
  std::size_t before_bytes = 0, match = 0;
  for (const char* p = begin_ + restart(from); p != end_;) {
    p = decode(p, out);
    if (!p || out.shared > before_bytes) return Search::kBad;
    before_bytes = out.shared + out.suffix.size();
    if (out.shared > match) continue;  // differs from `key` where the entry before does
    const std::string_view rest = key.substr(out.shared);
    const std::size_t n = common_prefix(rest, out.suffix);
    match = out.shared + n;
    if (n == out.suffix.size()) {
      if (n == rest.size() && out.sequence() <= at) return Search::kFound;
      continue;  // a prefix of `key`, or a version too new
    }
    if (n == rest.size() || static_cast<std::uint8_t>(out.suffix[n]) > static_cast<std::uint8_t>(rest[n]))
      return Search::kPassed;
  }
  return Search::kEnd;
}

void DataBlockCursor::open(DataBlock block) {
  block_ = block;
  bad_ = false;
  current_ = next_ = nullptr;
  key_.clear();
}

void DataBlockCursor::jump(std::size_t restart) {
  if (!block_.ok()) return fail();
  const std::uint32_t offset = block_.restart(restart);
  if (offset >= static_cast<std::uint64_t>(block_.end_ - block_.begin_)) return fail();
  key_.clear();
  read(block_.begin_ + offset);
}

void DataBlockCursor::read(const char* p) {
  const char* next = block_.decode(p, entry_);
  if (!next || entry_.shared > key_.size()) return fail();
  key_.resize(entry_.shared);
  key_.append(entry_.suffix);
  current_ = p;
  next_ = next;
}

void DataBlockCursor::next() {
  DARUMA_ASSERT(valid());
  if (next_ == block_.end_) {
    current_ = nullptr;
    return;
  }
  read(next_);
}

void DataBlockCursor::last() {
  if (!block_.ok()) return fail();
  jump(block_.restarts_ - 1);
  while (valid() && next_ != block_.end_) read(next_);
}

void DataBlockCursor::prev() {
  DARUMA_ASSERT(valid());
  const char* here = current_;
  if (here == block_.begin_) {
    current_ = nullptr;
    return;
  }
  std::size_t low = 0, high = block_.restarts_;  // the last restart before `here`
  while (high - low > 1) {
    const std::size_t middle = low + (high - low) / 2;
    if (block_.restart(middle) < static_cast<std::uint64_t>(here - block_.begin_))
      low = middle;
    else
      high = middle;
  }
  jump(low);
  while (valid() && next_ < here) read(next_);
  if (valid() && next_ != here) fail();
}

void DataBlockCursor::seek(std::string_view key, Sequence at) {
  if (!block_.ok()) return fail();
  const std::size_t from = block_.restart_before(key, at);
  if (from == DataBlock::kNone) return fail();
  jump(from);
  while (valid() && stands_before(key_, entry_.sequence(), key, at)) next();
}

}  // namespace daruma
