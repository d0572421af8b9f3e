// SPDX-License-Identifier: Apache-2.0
#include "event/footprint.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "base/checksum.h"
#include "base/coding.h"
#include "event/event.h"

namespace daruma {

bool Footprint::touches(std::uint32_t keyspace, std::string_view key) const {
  if (everything || std::binary_search(keys.begin(), keys.end(), key_hash(keyspace, key))) return true;
  return std::any_of(ranges.begin(), ranges.end(), [&](const FootprintRange& r) {
    return r.keyspace == keyspace && key >= r.begin && (r.end.empty() || key < r.end);
  });
}

void Footprint::add(const Footprint& other) {
  std::vector<std::uint64_t> all;
  all.reserve(keys.size() + other.keys.size());
  std::set_union(keys.begin(), keys.end(), other.keys.begin(), other.keys.end(), std::back_inserter(all));
  keys = std::move(all);
  ranges.insert(ranges.end(), other.ranges.begin(), other.ranges.end());
  everything = everything || other.everything;
}

namespace {

struct Span {
  std::string_view low, high;
};

Footprint collect(const std::vector<std::string_view>& events, Status* failure) {
  Footprint out;
  std::size_t range_bytes = 0;
  bool many = false;
  const auto everything = [] {
    Footprint all;
    all.everything = true;
    return all;
  };
  for (std::string_view event : events) {
    const Status status = walk_event(event, [&](const Op& op) {
      if (op.kind != OpKind::kEraseRange) {
        if (many) return;
        out.keys.push_back(key_hash(op.keyspace, op.key));
        many = out.keys.size() > 4 * kMaxFootprintKeys;  // bounds memory before duplicates are taken out
      } else if (range_bytes <= kMaxFootprintBytes) {
        range_bytes += op.key.size() + op.end.size() + 16;
        out.ranges.push_back({op.keyspace, std::string(op.key), std::string(op.end)});
      }
    });
    if (!status.ok()) {
      if (failure) *failure = status;
      return everything();
    }
  }
  std::sort(out.keys.begin(), out.keys.end());
  out.keys.erase(std::unique(out.keys.begin(), out.keys.end()), out.keys.end());
  if (many || out.keys.size() > kMaxFootprintKeys) {
    out.keys.clear();
    std::map<std::uint32_t, Span> spans;
    for (std::string_view event : events) {
      const Status status = walk_event(event, [&](const Op& op) {
        if (op.kind == OpKind::kEraseRange) return;
        auto [at, fresh] = spans.try_emplace(op.keyspace, Span{op.key, op.key});
        if (fresh) return;
        at->second.low = std::min(at->second.low, op.key);
        at->second.high = std::max(at->second.high, op.key);
      });
      DARUMA_ASSERT(status.ok());  // it decoded above
    }
    for (const auto& [keyspace, span] : spans) {
      range_bytes += span.low.size() + span.high.size() + 16;
      if (range_bytes > kMaxFootprintBytes) break;
      out.ranges.push_back({keyspace, std::string(span.low), std::string(span.high) + '\0'});
    }
  }
  // Keys take at most half of the limit, so only ranges can go over it.
  if (range_bytes > kMaxFootprintBytes - 8 * kMaxFootprintKeys - 64) return everything();
  return out;
}

}  // namespace

Result<Footprint> footprint(std::string_view encoded_event) {
  Status failure;
  Footprint out = collect({encoded_event}, &failure);
  if (!failure.ok()) return failure;
  return out;
}

Footprint footprint_of_all(const std::vector<std::string_view>& encoded_events) {
  return collect(encoded_events, nullptr);
}

std::string encode_footprint(const Footprint& footprint) {
  std::string out;
  put_u8(out, footprint.everything ? 1 : 0);
  put_varint(out, footprint.keys.size());
  for (std::uint64_t key : footprint.keys) put_u64(out, key);
  put_varint(out, footprint.ranges.size());
  for (const FootprintRange& range : footprint.ranges) {
    put_varint(out, range.keyspace);
    put_bytes(out, range.begin);
    put_bytes(out, range.end);
  }
  return out;
}

Result<Footprint> decode_footprint(std::string_view encoded) {
  const Status bad(Code::kCorruption, "not a footprint");
  Decoder in(encoded);
  Footprint out;
  const std::uint8_t everything = in.u8();
  out.everything = everything == 1;
  const std::uint64_t keys = in.varint();
  if (everything > 1 || !in.ok() || keys > in.remaining() / 8) return bad;
  out.keys.reserve(keys);
  for (std::uint64_t i = 0; i < keys; ++i) {
    out.keys.push_back(in.u64());
    if (i > 0 && out.keys[i] <= out.keys[i - 1]) return bad;
  }
  const std::uint64_t ranges = in.varint();
  for (std::uint64_t i = 0; in.ok() && i < ranges; ++i) {
    const std::uint64_t keyspace = in.varint();
    const std::string_view begin = in.bytes();
    const std::string_view end = in.bytes();
    if (!in.ok() || keyspace > 0xffffffffu) return bad;
    out.ranges.push_back({static_cast<std::uint32_t>(keyspace), std::string(begin), std::string(end)});
  }
  if (!in.done()) return bad;
  return out;
}

}  // namespace daruma
