// SPDX-License-Identifier: Apache-2.0
#include "event/event.h"

#include <algorithm>

namespace daruma {

void append_op(std::string& buffer, std::size_t& start, std::uint64_t& count, OpKind kind, std::uint32_t keyspace,
               std::string_view key, std::string_view rest) {
  const std::size_t begin = std::max(buffer.size(), kMaxVarintBytes);
  buffer.reserve(begin + 1 + 3 * kMaxVarintBytes + key.size() + rest.size());  // all that may fail
  buffer.resize(begin);
  put_u8(buffer, static_cast<std::uint8_t>(kind));
  put_varint(buffer, keyspace);
  put_bytes(buffer, key);
  if (kind != OpKind::kErase) put_bytes(buffer, rest);
  ++count;
  start = kMaxVarintBytes - varint_size(count);
  encode_varint(buffer.data() + start, count);
}

void EventBuilder::clear() {
  buffer_.assign(kMaxVarintBytes, '\0');
  start_ = kMaxVarintBytes - 1;
  count_ = 0;
}

void EventBuilder::add(OpKind kind, std::uint32_t keyspace, std::string_view key, std::string_view rest) {
  DARUMA_ASSERT(key.size() <= kMaxKeyBytes && rest.size() <= (kind == OpKind::kPut ? kMaxValueBytes : kMaxKeyBytes));
  append_op(buffer_, start_, count_, kind, keyspace, key, rest);
}

void EventBuilder::put(std::uint32_t keyspace, std::string_view key, std::string_view value) {
  add(OpKind::kPut, keyspace, key, value);
}

void EventBuilder::erase(std::uint32_t keyspace, std::string_view key) { add(OpKind::kErase, keyspace, key, {}); }

void EventBuilder::erase_range(std::uint32_t keyspace, std::string_view begin, std::string_view end) {
  add(OpKind::kEraseRange, keyspace, begin, end);
}

Status not_an_event(const char* why) { return {Code::kCorruption, std::string("not an event: ") + why}; }

Status check_event(std::string_view encoded) {
  return walk_event(encoded, [](const Op&) {});
}

Status for_each_op(std::string_view encoded, const std::function<void(const Op&)>& fn) {
  if (Status status = check_event(encoded); !status.ok()) return status;
  return walk_event(encoded, fn);
}

}  // namespace daruma
