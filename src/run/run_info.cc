// SPDX-License-Identifier: Apache-2.0
#include "run/run_info.h"

#include "base/assert.h"
#include "base/coding.h"
#include "daruma/limits.h"

namespace daruma {
namespace {

constexpr char kHighest = '\xff';

Status bad(const char* what) { return {Code::kCorruption, std::string("run properties: ") + what}; }

/// A bound that comes from a range erase is padded with 0xff to the longest key; the padding is not written. Every
/// manifest has the bounds of all runs, hence a word at a time.
void put_upper_bound(std::string& out, std::string_view key) {
  const bool padded = key.size() == kMaxKeyBytes && key.back() == kHighest;
  put_u8(out, padded);
  if (padded) {
    while (key.size() >= 8 && load<std::uint64_t>(key.data() + key.size() - 8) == ~std::uint64_t{0})
      key.remove_suffix(8);
    key = key.substr(0, key.find_last_not_of(kHighest) + 1);
  }
  put_bytes(out, key);
}

}  // namespace

void encode_run_info(std::string& out, const RunInfo& info) {
  DARUMA_ASSERT(info.level <= kMaxRunLevel && info.smallest_key.size() <= kMaxKeyBytes &&
                info.largest_key.size() <= kMaxKeyBytes);
  for (const std::uint64_t v :
       {info.number, info.min_sequence, info.max_sequence, info.entries, info.tombstones, info.erases, info.raw_bytes,
        info.file_bytes, info.content_hash, info.job_id, info.checkpoint_sequence, info.prev_sequence,
        static_cast<std::uint64_t>(info.created_wall_ns)}) {
    put_u64(out, v);
  }
  put_u32(out, info.keyspace);
  put_u32(out, info.job_index);
  put_u8(out, static_cast<std::uint8_t>(info.level));
  put_u8(out, info.job_last);
  put_bytes(out, info.smallest_key);
  put_upper_bound(out, info.largest_key);
  put_varint(out, info.supersedes.size());
  for (const std::uint64_t number : info.supersedes) put_u64(out, number);
  if (info.lost.empty()) return;
  put_varint(out, info.lost.size());
  for (const LostKeys& lost : info.lost) {
    put_bytes(out, lost.begin);
    put_bytes(out, lost.end);
    put_u64(out, lost.first);
    put_u64(out, lost.last);
  }
}

Result<RunInfo> decode_run_info(std::string_view encoded) {
  Decoder in(encoded);
  RunInfo info;
  std::uint64_t created = 0;
  for (std::uint64_t* v : {&info.number, &info.min_sequence, &info.max_sequence, &info.entries, &info.tombstones,
                           &info.erases, &info.raw_bytes, &info.file_bytes, &info.content_hash, &info.job_id,
                           &info.checkpoint_sequence, &info.prev_sequence, &created}) {
    *v = in.u64();
  }
  info.created_wall_ns = static_cast<std::int64_t>(created);
  info.keyspace = in.u32();
  info.job_index = in.u32();
  info.level = in.u8();
  const std::uint8_t last = in.u8();
  const std::string_view smallest = in.bytes();
  const std::uint8_t padded = in.u8();
  const std::string_view largest = in.bytes();
  const std::uint64_t superseded = in.varint();
  if (!in.ok() || superseded > in.remaining() / 8) return bad("wrong length");
  if (last > 1 || padded > 1) return bad("a flag is neither yes nor no");
  if (smallest.size() > kMaxKeyBytes || largest.size() > kMaxKeyBytes) return bad("a key is longer than any can be");
  info.job_last = last != 0;
  info.smallest_key.assign(smallest);
  info.largest_key.assign(largest);
  if (padded) {
    if (largest.size() == kMaxKeyBytes || largest.ends_with(kHighest)) return bad("the upper bound is padded twice");
    info.largest_key.resize(kMaxKeyBytes, kHighest);
  }
  info.supersedes.reserve(superseded);
  for (std::uint64_t i = 0; i < superseded; ++i) info.supersedes.push_back(in.u64());
  if (in.remaining() > 0) {
    const std::uint64_t gaps = in.varint();
    if (gaps == 0) return bad("wrong length");
    for (std::uint64_t i = 0; i < gaps && in.ok(); ++i) {  // no reserve: the count is not to be trusted
      LostKeys lost;
      lost.begin = in.bytes();
      lost.end = in.bytes();
      lost.first = in.u64();
      lost.last = in.u64();
      if (in.ok() && (lost.begin >= lost.end || lost.first > lost.last || lost.last > kMaxSequence))
        return bad("lost keys make no sense");
      info.lost.push_back(std::move(lost));
    }
    if (!in.done()) return bad("wrong length");
  }
  if (info.max_sequence > kMaxSequence || info.checkpoint_sequence > kMaxSequence ||
      info.prev_sequence > kMaxSequence) {
    return bad("a sequence is beyond the highest possible");
  }
  if (info.min_sequence > info.max_sequence) return bad("sequence bounds are the wrong way round");
  if (info.smallest_key > info.largest_key) return bad("key bounds are the wrong way round");
  if (info.tombstones > info.entries) return bad("more tombstones than entries");
  return info;
}

std::string last_key_before(std::string_view end) {
  std::string key(end);
  if (!key.empty() && key.back() == '\0') {
    key.pop_back();
    return key;
  }
  if (!key.empty()) --key.back();
  DARUMA_ASSERT(key.size() <= kMaxKeyBytes);
  key.resize(kMaxKeyBytes, kHighest);
  return key;
}

}  // namespace daruma
