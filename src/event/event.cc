// SPDX-License-Identifier: Apache-2.0
#include "event/event.h"

#include "base/coding.h"

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

namespace {

Status not_an_event(const char* why) { return Status(Code::kCorruption, std::string("not an event: ") + why); }

template <typename Fn>
Status walk(std::string_view encoded, const Fn& fn) {
  if (encoded.size() > kMaxEventBytes) return not_an_event("over the size limit");
  Decoder in(encoded);
  const std::uint64_t count = in.varint();
  std::size_t canonical = varint_size(count);  // what the one encoding of these ops takes
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint8_t kind = in.u8();
    const std::uint64_t keyspace = in.varint();
    Op op;
    op.key = in.bytes();
    canonical += 1 + varint_size(keyspace) + varint_size(op.key.size()) + op.key.size();
    if (kind == static_cast<std::uint8_t>(OpKind::kPut)) {
      op.value = in.bytes();
      canonical += varint_size(op.value.size()) + op.value.size();
    } else if (kind == static_cast<std::uint8_t>(OpKind::kEraseRange)) {
      op.end = in.bytes();
      canonical += varint_size(op.end.size()) + op.end.size();
    } else if (kind != static_cast<std::uint8_t>(OpKind::kErase)) {
      return not_an_event("unknown kind of op");
    }
    if (!in.ok()) return not_an_event("cut short");
    if (keyspace > 0xffffffffu) return not_an_event("keyspace out of range");
    if (op.key.size() > kMaxKeyBytes || op.end.size() > kMaxKeyBytes) return not_an_event("key over the limit");
    if (op.value.size() > kMaxValueBytes) return not_an_event("value over the limit");
    op.kind = static_cast<OpKind>(kind);
    op.keyspace = static_cast<std::uint32_t>(keyspace);
    fn(op);
  }
  if (!in.done()) return not_an_event("bytes left over");
  if (canonical != encoded.size()) return not_an_event("a length is not in its shortest form");
  return {};
}

}  // namespace

Status check_event(std::string_view encoded) {
  return walk(encoded, [](const Op&) {});
}

Status for_each_op(std::string_view encoded, const std::function<void(const Op&)>& fn) {
  if (Status status = check_event(encoded); !status.ok()) return status;
  return walk(encoded, fn);
}

}  // namespace daruma
