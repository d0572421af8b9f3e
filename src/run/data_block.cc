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

struct DataBlock::Lengths {
  std::uint64_t shared, unshared, value;
};

inline const char* DataBlock::read_lengths(const char* p, Lengths& out) const {
  if (values_ - p >= 3 && ((p[0] | p[1] | p[2]) & 0x80) == 0) {  // three short ones: the usual case
    out = {static_cast<std::uint8_t>(p[0]), static_cast<std::uint8_t>(p[1]), static_cast<std::uint8_t>(p[2])};
    return p + 3;
  }
  if ((p = decode_varint(p, values_, &out.shared)) && (p = decode_varint(p, values_, &out.unshared)) &&
      (p = decode_varint(p, values_, &out.value)) && out.shared <= kMaxKeyBytes && out.unshared <= kMaxKeyBytes &&
      out.value <= kMaxValueBytes)
    return p;
  return nullptr;
}

const char* DataBlock::decode(const char* p, const char* value, Entry& out) const {
  Lengths n;
  p = read_lengths(p, n);
  if (!p || n.shared + n.unshared > kMaxKeyBytes || n.unshared + 8 > static_cast<std::uint64_t>(values_ - p) ||
      n.value > static_cast<std::uint64_t>(trailer_ - value))
    return nullptr;
  out.shared = n.shared;
  out.suffix = {p, static_cast<std::size_t>(n.unshared)};
  p += n.unshared;
  out.tag = load<std::uint64_t>(p);
  p += 8;
  if (out.kind() != EntryKind::kPut && out.kind() != EntryKind::kErase) return nullptr;
  out.value = {value, static_cast<std::size_t>(n.value)};
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
  const char* const first_value = restart_value(from);
  if (!first_value) return Search::kBad;
  // Of the entry before: its key's length, and how much of `key` it begins with. It stands before (key, at).
  std::uint64_t before_bytes = 0, match = 0;
  std::uint64_t value_at = 0;  // from `first_value` on; looked at only once an entry is the one
  for (const char* p = restart_entry(from); p != values_;) {
    const char* const entry = p;
    Lengths n;
    p = read_lengths(p, n);
    if (!p || n.shared > before_bytes || n.unshared + 8 > static_cast<std::uint64_t>(values_ - p)) return Search::kBad;
    before_bytes = n.shared + n.unshared;
    if (n.shared <= match) {  // else it differs from `key` where the entry before does
      const std::string_view suffix(p, n.unshared), rest = key.substr(n.shared);
      const std::size_t common = common_prefix(rest, suffix);
      match = n.shared + common;
      if (common == suffix.size()) {  // a prefix of `key`, or `key` in some version
        if (common == rest.size() && load<std::uint64_t>(p + n.unshared) >> 8 <= at) {
          if (value_at > static_cast<std::uint64_t>(trailer_ - first_value)) return Search::kBad;
          return decode(entry, first_value + value_at, out) ? Search::kFound : Search::kBad;
        }
      } else if (common == rest.size() ||
                 static_cast<std::uint8_t>(suffix[common]) > static_cast<std::uint8_t>(rest[common])) {
        return Search::kPassed;
      }
    }
    p += n.unshared + 8;
    value_at += n.value;
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
