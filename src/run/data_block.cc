// SPDX-License-Identifier: Apache-2.0
#include "run/data_block.h"

#include "base/assert.h"
#include "base/coding.h"
#include "daruma/limits.h"
#include "run/key_head.h"

namespace daruma {
namespace {

constexpr std::size_t kTrailerBytes = 8;
constexpr std::size_t kRestartBytes = 8;

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

DataBlockCursor::DataBlockCursor(std::string_view contents) {
  bad_ = true;
  if (contents.size() < kTrailerBytes) return;
  const std::size_t body = contents.size() - kTrailerBytes;
  const auto entry_bytes = load<std::uint32_t>(contents.data() + body);
  const auto restarts = load<std::uint32_t>(contents.data() + body + 4);
  if (restarts == 0 || restarts > body / kRestartBytes) return;
  const std::size_t values_end = body - kRestartBytes * restarts;
  if (entry_bytes == 0 || entry_bytes > values_end) return;
  begin_ = entry_at_ = contents.data();
  values_ = value_at_ = begin_ + entry_bytes;
  restarts_ = restart_at_ = begin_ + values_end;
  restarts_end_ = begin_ + body;
  bad_ = false;
  read();
}

void DataBlockCursor::next() {
  DARUMA_ASSERT(valid_);
  read();
}

void DataBlockCursor::read() {
  if (entry_at_ == values_) {
    valid_ = false;
    bad_ = value_at_ != restarts_ || restart_at_ != restarts_end_;
  } else {
    valid_ = decode();
    bad_ = !valid_;
  }
}

void DataBlockCursor::seek(std::string_view key, Sequence at) {
  if (!begin_) return;
  bool sound = true;
  const auto before = [&] { return stands_before(this->key(), entry_.sequence(), key, at); };
  const auto restarts = static_cast<std::size_t>(restarts_end_ - restarts_) / kRestartBytes;
  const std::size_t behind = first_not(restarts, [&](std::size_t i) { return (sound = sound && jump(i)) && before(); });
  sound = sound && jump(behind == 0 ? 0 : behind - 1);
  while (valid_ && before()) read();
  if (!sound) {
    valid_ = false;
    bad_ = true;
  }
}

/// To the entry at a restart; false when none is there.
bool DataBlockCursor::jump(std::size_t restart) {
  restart_at_ = restarts_ + kRestartBytes * restart;
  const auto entry = load<std::uint32_t>(restart_at_);
  const auto value = load<std::uint32_t>(restart_at_ + 4);
  valid_ =
      entry < static_cast<std::uint64_t>(values_ - begin_) && value <= static_cast<std::uint64_t>(restarts_ - values_);
  bad_ = !valid_;
  if (bad_) return false;
  entry_at_ = begin_ + entry;
  value_at_ = values_ + value;
  since_restart_ = 0;
  read();
  return valid_;
}

bool DataBlockCursor::at_restart() const {
  return restart_at_ != restarts_end_ &&
         load<std::uint32_t>(restart_at_) == static_cast<std::uint64_t>(entry_at_ - begin_) &&
         load<std::uint32_t>(restart_at_ + 4) == static_cast<std::uint64_t>(value_at_ - values_);
}

bool DataBlockCursor::decode() {
  std::uint64_t shared = 0, unshared = 0, value = 0;
  const char* p = entry_at_;
  if (values_ - p >= 3 && ((p[0] | p[1] | p[2]) & 0x80) == 0) {  // three short ones: the usual case
    shared = static_cast<std::uint8_t>(p[0]);
    unshared = static_cast<std::uint8_t>(p[1]);
    value = static_cast<std::uint8_t>(p[2]);
    p += 3;
  } else if (!(p = decode_varint(p, values_, &shared)) || !(p = decode_varint(p, values_, &unshared)) ||
             !(p = decode_varint(p, values_, &value))) {
    return false;
  }
  if (shared > key_bytes_ || unshared > kMaxKeyBytes || shared + unshared > kMaxKeyBytes ||
      unshared + 8 > static_cast<std::uint64_t>(values_ - p) || value > kMaxValueBytes ||
      value > static_cast<std::uint64_t>(restarts_ - value_at_))
    return false;
  if (since_restart_ == 0) {
    if (shared != 0 || !at_restart()) return false;
    restart_at_ += kRestartBytes;
  }
  since_restart_ = (since_restart_ + 1) % kRestartInterval;
  key_bytes_ = shared + unshared;
  if (key_.size() < key_bytes_) key_.resize(2 * key_bytes_);
  copy_few(key_.data() + shared, p, unshared);
  p += unshared;
  entry_ = {load<std::uint64_t>(p), {value_at_, static_cast<std::size_t>(value)}};
  entry_at_ = p + 8;
  value_at_ += value;
  return entry_.kind() == EntryKind::kPut || entry_.kind() == EntryKind::kErase;
}

}  // namespace daruma
