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
  void begin_op(OpKind kind, std::uint32_t keyspace, std::string_view key);
  std::string buffer_;     ///< room for the count, then the ops
  std::size_t start_ = 0;  ///< where the count begins; it ends where the ops begin
  std::uint64_t count_ = 0;
};

/// Calls `fn` for each op in order, after the whole event has been checked. kCorruption when `encoded` is not exactly
/// one event within the limits; `fn` is then never called.
Status for_each_op(std::string_view encoded, const std::function<void(const Op&)>& fn);

/// As for_each_op with nothing to call.
Status check_event(std::string_view encoded);

}  // namespace daruma
