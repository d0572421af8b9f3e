// SPDX-License-Identifier: Apache-2.0
//
// One encoded event = one atomic batch, as it is logged and replayed: varint op count, then the ops in order.
//
// What must stay true: one list of ops has exactly one encoding, and decoding accepts nothing else; the last op on a
// key within an event wins; an event that does not decode whole is not applied at all.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/assert.h"
#include "base/coding.h"
#include "daruma/limits.h"
#include "daruma/status.h"

namespace daruma {

enum class OpKind : std::uint8_t { kPut = 1, kErase = 2, kEraseRange = 3 };

/// One op of a decoded event; views into the encoded bytes.
struct Op {
  OpKind kind = OpKind::kPut;
  std::uint32_t keyspace = 0;
  std::string_view key;    ///< for a range: its begin
  std::string_view value;  ///< put only
  std::string_view end;    ///< range only; empty: unbounded
  bool operator==(const Op&) const = default;
};

/// Adds an op to an event that is built in `buffer`: room for the count, which begins at `start`, then the ops. `rest`:
/// the value, or the end of the range. Without memory (std::bad_alloc) nothing changes.
void append_op(std::string& buffer, std::size_t& start, std::uint64_t& count, OpKind kind, std::uint32_t keyspace,
               std::string_view key, std::string_view rest);

/// Collects the ops of one event. The caller has checked the limits of keys and values; they are asserted here. Not
/// thread-safe; reuse by `clear` keeps the memory.
class EventBuilder {
 public:
  EventBuilder() { clear(); }
  void put(std::uint32_t keyspace, std::string_view key, std::string_view value);
  void erase(std::uint32_t keyspace, std::string_view key);
  void erase_range(std::uint32_t keyspace, std::string_view begin, std::string_view end);
  [[nodiscard]] std::uint64_t count() const { return count_; }
  /// The encoded event; valid until the next change. No more than kMaxEventBytes of it may be logged.
  [[nodiscard]] std::string_view bytes() const { return std::string_view(buffer_).substr(start_); }
  void clear();

 private:
  void add(OpKind kind, std::uint32_t keyspace, std::string_view key, std::string_view rest);
  std::string buffer_;
  std::size_t start_ = 0;
  std::uint64_t count_ = 0;
};

/// Calls `fn` for each op in order, after the whole event has been checked. kCorruption when `encoded` is not exactly
/// one event within the limits; `fn` is then never called.
Status for_each_op(std::string_view encoded, const std::function<void(const Op&)>& fn);

/// As for_each_op with nothing to call.
Status check_event(std::string_view encoded);

Status not_an_event(const char* why);

/// Calls `fn(const Op&)` for each op as it comes to it: one pass, for an event that was checked, or encoded here. Of
/// any other, `fn` may have seen some ops before the error.
template <typename Fn>
Status walk_event(std::string_view encoded, const Fn& fn) {
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

}  // namespace daruma
