// SPDX-License-Identifier: Apache-2.0
#include "wal/earlier_footprints.h"

#include <algorithm>
#include <utility>

#include "base/coding.h"

namespace daruma {
namespace {

constexpr std::size_t kEarlierHeaderBytes = 12;  // checksum, bytes

std::size_t earlier_at(const FrameHeader& header) {
  return kFrameHeaderBytes + header.footprint_bytes + header.payload_bytes;
}

}  // namespace

EarlierFootprints::EarlierFootprints() {
  entries_.reserve(kMaxBytes);
  kept_.reserve(kMaxFrames);
}

void EarlierFootprints::forget_oldest(std::size_t n) {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < n; ++i) bytes += kept_[i].bytes;
  entries_.erase(0, bytes);
  kept_.erase(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(n));
}

void EarlierFootprints::keep(Sequence first, Sequence last, std::string_view encoded) {
  while (!kept_.empty() && kept_.back().last >= first) {
    entries_.resize(entries_.size() - kept_.back().bytes);
    kept_.pop_back();
  }
  const std::size_t bytes = varint_size(last + 1 - first) + varint_size(encoded.size()) + encoded.size();
  const bool follows = !kept_.empty() && kept_.back().last + 1 == first;
  if (!follows || encoded.empty() || bytes > kMaxBytes) forget_oldest(kept_.size());
  if (encoded.empty() || bytes > kMaxBytes) return;
  std::size_t old = kept_.size() == kMaxFrames ? 1 : 0;
  std::size_t left = entries_.size();
  for (std::size_t i = 0; i < old; ++i) left -= kept_[i].bytes;
  while (left + bytes > kMaxBytes) left -= kept_[old++].bytes;
  forget_oldest(old);
  put_varint(entries_, last + 1 - first);
  put_bytes(entries_, encoded);
  kept_.push_back({last, bytes});
}

std::string EarlierFootprints::before(Sequence first, std::size_t room) const {
  auto newest = kept_.rbegin();
  std::size_t end = entries_.size();
  for (; newest != kept_.rend() && newest->last >= first; ++newest) end -= newest->bytes;
  if (newest == kept_.rend() || newest->last + 1 != first) return {};
  std::size_t begin = end;
  for (; newest != kept_.rend() && end - begin + newest->bytes <= room; ++newest) begin -= newest->bytes;
  return entries_.substr(begin, end - begin);
}

std::string encode_earlier(const StoreId& store, const FrameHeader& header, const EarlierFootprints& earlier) {
  const std::size_t room = header.layout().trailer_at() - earlier_at(header);
  if (room <= kEarlierHeaderBytes) return {};
  const std::string entries = earlier.before(header.first_sequence, room - kEarlierHeaderBytes);
  if (entries.empty()) return {};
  std::string checked;
  put_u32(checked, static_cast<std::uint32_t>(entries.size()));
  checked += entries;
  std::string out;
  put_u64(out, checksum(checked, store, header.incarnation, header.offset + kEarlierPart));
  return out + checked;
}

std::vector<FrameFootprint> earlier_footprints(const StoreId& store, const FrameHeader& header,
                                               std::string_view frame) {
  const std::string_view all = frame.substr(earlier_at(header), header.layout().trailer_at() - earlier_at(header));
  Decoder in(all);
  const std::uint64_t stated = in.u64();
  const std::uint32_t bytes = in.u32();
  if (!in.ok() || bytes == 0 || bytes > in.remaining()) return {};
  if (!checksum_holds(stated,
                      checksum(all.substr(8, 4 + bytes), store, header.incarnation, header.offset + kEarlierPart))) {
    return {};
  }
  std::vector<FrameFootprint> told;
  Decoder entries(all.substr(kEarlierHeaderBytes, bytes));
  Sequence events = 0;
  while (entries.ok() && !entries.done()) {
    const std::uint64_t count = entries.varint();
    Result<Footprint> footprint = decode_footprint(entries.bytes());
    if (!entries.ok() || !footprint.ok() || count == 0 || count >= header.first_sequence - events) return {};
    told.push_back({events, events + count - 1, *std::move(footprint)});
    events += count;
  }
  if (!entries.done()) return {};
  for (FrameFootprint& one : told) {  // counted from the oldest, whose number is known only now
    one.first += header.first_sequence - events;
    one.last += header.first_sequence - events;
  }
  return told;
}

std::optional<Footprint> footprint_between(const std::vector<FrameFootprint>& told, Sequence first, Sequence last) {
  if (told.empty() || first < told.front().first || told.back().last < last) return std::nullopt;
  Footprint all;
  for (const FrameFootprint& one : told) {
    if (one.first <= last && first <= one.last) all.add(one.footprint);
  }
  return all;
}

}  // namespace daruma
