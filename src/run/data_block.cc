// SPDX-License-Identifier: Apache-2.0
#include "run/data_block.h"

#include <algorithm>

#include "base/assert.h"
#include "base/coding.h"
#include "daruma/limits.h"

namespace daruma {
namespace {

constexpr std::size_t kTrailerBytes = 8;
constexpr std::size_t kRestartBytes = 8;

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
    restarts_.push_back({static_cast<std::uint32_t>(entries_.size()), static_cast<std::uint32_t>(values_.size())});
    since_restart_ = 0;
  } else {
    shared = common_prefix(last_key_, key);
  }
  ++since_restart_;
  put_varint(entries_, shared);
  put_varint(entries_, key.size() - shared);
  put_varint(entries_, value.size());
  entries_.append(key.substr(shared));
  put_u64(entries_, tag);
  values_.append(value);
  last_key_.assign(key);
}

std::string_view DataBlockBuilder::finish() {
  DARUMA_ASSERT(!empty());
  const auto entry_bytes = static_cast<std::uint32_t>(entries_.size());
  entries_.append(values_);
  for (const Restart& restart : restarts_) {
    put_u32(entries_, restart.entry);
    put_u32(entries_, restart.value);
  }
  put_u32(entries_, entry_bytes);
  put_u32(entries_, static_cast<std::uint32_t>(restarts_.size()));
  return entries_;
}

void DataBlockBuilder::clear() {
  entries_.clear();
  values_.clear();
  restarts_.clear();
  last_key_.clear();
  since_restart_ = 0;
}

DataBlock::DataBlock(std::string_view raw) {
  if (raw.size() < kTrailerBytes) return;
  const std::size_t body = raw.size() - kTrailerBytes;
  const auto entry_bytes = load<std::uint32_t>(raw.data() + body);
  const auto restarts = load<std::uint32_t>(raw.data() + body + 4);
  if (restarts == 0 || restarts > body / kRestartBytes) return;
  const std::size_t values_end = body - kRestartBytes * restarts;
  if (entry_bytes == 0 || entry_bytes > values_end) return;
  begin_ = raw.data();
  values_ = begin_ + entry_bytes;
  trailer_ = begin_ + values_end;
  restarts_ = restarts;
  if (restart_entry(0) != begin_ || restart_value(0) != values_) restarts_ = 0;
}

const char* DataBlock::restart_entry(std::size_t i) const {
  const auto offset = load<std::uint32_t>(trailer_ + kRestartBytes * i);
  return offset < static_cast<std::uint64_t>(values_ - begin_) ? begin_ + offset : nullptr;
}

const char* DataBlock::restart_value(std::size_t i) const {
  const auto offset = load<std::uint32_t>(trailer_ + kRestartBytes * i + 4);
  return offset <= static_cast<std::uint64_t>(trailer_ - values_) ? values_ + offset : nullptr;
}

const char* DataBlock::decode(const char* p, const char* value, Entry& out) const {
  std::uint64_t shared = 0, unshared = 0, value_bytes = 0;
  if (values_ - p >= 3 && ((p[0] | p[1] | p[2]) & 0x80) == 0) {  // three short lengths: the usual case
    shared = static_cast<std::uint8_t>(p[0]), unshared = static_cast<std::uint8_t>(p[1]),
    value_bytes = static_cast<std::uint8_t>(p[2]);
    p += 3;
  } else {
    if (!(p = decode_varint(p, values_, &shared)) || !(p = decode_varint(p, values_, &unshared)) ||
        !(p = decode_varint(p, values_, &value_bytes)))
      return nullptr;
  }
  if (shared > kMaxKeyBytes || unshared > kMaxKeyBytes - shared || value_bytes > kMaxValueBytes ||
      unshared + 8 > static_cast<std::uint64_t>(values_ - p) ||
      value_bytes > static_cast<std::uint64_t>(trailer_ - value))
    return nullptr;
  out.shared = shared;
  out.suffix = {p, static_cast<std::size_t>(unshared)};
  p += unshared;
  out.tag = load<std::uint64_t>(p);
  p += 8;
  if (out.kind() != EntryKind::kPut && out.kind() != EntryKind::kErase) return nullptr;
  out.value = {value, static_cast<std::size_t>(value_bytes)};
  return p;
}

std::size_t DataBlock::restart_before(std::string_view key, Sequence at) const {
  std::size_t low = 0, high = restarts_;  // restarts below `low` stand before; those from `high` on do not
  while (low < high) {
    const std::size_t middle = low + (high - low) / 2;
    const char* p = restart_entry(middle);
    Entry e;
    if (!p || !decode(p, values_, e) || e.shared != 0) return kNone;
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
  const char* value = restart_value(from);
  if (!value) return Search::kBad;
  for (const char* p = restart_entry(from); p != values_;) {
    p = decode(p, value, out);
    if (!p || out.shared > before_bytes) return Search::kBad;
    value += out.value.size();
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

bool DataBlock::consistent() const {
  DataBlockCursor cursor;
  cursor.open(*this);
  cursor.first();
  std::size_t restarts = 0;
  const char* value = values_;
  for (std::size_t entries = 0; cursor.valid(); cursor.next(), ++entries) {
    if (entries % kRestartInterval == 0) {
      if (cursor.entry_.shared != 0 || restarts == restarts_ || restart_entry(restarts) != cursor.current_ ||
          restart_value(restarts) != value)
        return false;
      ++restarts;
    }
    value += cursor.entry_.value.size();
  }
  return !cursor.bad() && restarts == restarts_ && value == trailer_;
}

void DataBlockCursor::open(DataBlock block) {
  block_ = block;
  bad_ = false;
  current_ = next_ = nullptr;
  key_.clear();
}

void DataBlockCursor::jump(std::size_t restart) {
  if (!block_.ok()) return fail();
  const char* p = block_.restart_entry(restart);
  const char* value = block_.restart_value(restart);
  if (!p || !value) return fail();
  key_.clear();
  read(p, value);
}

void DataBlockCursor::read(const char* p, const char* value) {
  const char* next = block_.decode(p, value, entry_);
  if (!next || entry_.shared > key_.size()) return fail();
  key_.resize(entry_.shared);
  key_.append(entry_.suffix);
  current_ = p;
  next_ = next;
}

void DataBlockCursor::next() {
  DARUMA_ASSERT(valid());
  if (next_ == block_.values_) {
    current_ = nullptr;
    return;
  }
  step();
}

void DataBlockCursor::last() {
  if (!block_.ok()) return fail();
  jump(block_.restarts_ - 1);
  while (valid() && next_ != block_.values_) step();
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
    if (const char* p = block_.restart_entry(middle); p && p < here)
      low = middle;
    else
      high = middle;
  }
  jump(low);
  while (valid() && next_ < here) step();
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
