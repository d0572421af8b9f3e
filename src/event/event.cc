// SPDX-License-Identifier: Apache-2.0
#include "event/event.h"

namespace daruma {

void EventBuilder::clear() {
  buffer_.assign(kMaxVarintBytes, '\0');
  start_ = kMaxVarintBytes - 1;
  count_ = 0;
}

void EventBuilder::begin_op(OpKind kind, std::uint32_t keyspace, std::string_view key) {
  DARUMA_ASSERT(key.size() <= kMaxKeyBytes);
  ++count_;
  start_ = kMaxVarintBytes - varint_size(count_);
  encode_varint(buffer_.data() + start_, count_);
  put_u8(buffer_, static_cast<std::uint8_t>(kind));
  put_varint(buffer_, keyspace);
  put_bytes(buffer_, key);
}

void EventBuilder::put(std::uint32_t keyspace, std::string_view key, std::string_view value) {
  DARUMA_ASSERT(value.size() <= kMaxValueBytes);
  begin_op(OpKind::kPut, keyspace, key);
  put_bytes(buffer_, value);
}

void EventBuilder::erase(std::uint32_t keyspace, std::string_view key) { begin_op(OpKind::kErase, keyspace, key); }

void EventBuilder::erase_range(std::uint32_t keyspace, std::string_view begin, std::string_view end) {
  DARUMA_ASSERT(end.size() <= kMaxKeyBytes);
  begin_op(OpKind::kEraseRange, keyspace, begin);
  put_bytes(buffer_, end);
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
