// SPDX-License-Identifier: Apache-2.0
#include "wal/wal_format.h"

#include <cstdio>

#include "base/assert.h"
#include "base/coding.h"

namespace daruma {
namespace {

constexpr std::string_view kSegmentMagic = "DRMWAL01";
constexpr std::size_t kSectorChecksumAt = kSectorBytes - 8;

std::string seal_sector(std::string fields, const StoreId& store, std::uint64_t file, std::uint64_t position) {
  DARUMA_ASSERT(fields.size() <= kSectorChecksumAt);
  fields.resize(kSectorChecksumAt, '\0');
  put_u64(fields, checksum(fields, store, file, position));
  return fields;
}

}  // namespace

std::string segment_name(std::uint64_t number) {
  char name[32];
  std::snprintf(name, sizeof name, "%016llu.log", static_cast<unsigned long long>(number));
  return name;
}

std::optional<std::uint64_t> parse_segment_name(std::string_view name) {
  if (name.size() < 20 || !name.ends_with(".log")) return std::nullopt;
  std::uint64_t number = 0;
  for (char c : name.substr(0, name.size() - 4)) {
    if (c < '0' || c > '9' || number > 1'000'000'000'000'000'000u) return std::nullopt;
    number = number * 10 + static_cast<std::uint64_t>(c - '0');
  }
  if (segment_name(number) != name) return std::nullopt;
  return number;
}

std::uint64_t boot_hash(std::string_view boot_id) { return boot_id.empty() ? 0 : hash64(boot_id, 0x746f6f62) | 1; }

std::string encode_segment_header(SegmentHeader& header, std::uint64_t position) {
  std::string out(kSegmentMagic);
  put_u32(out, header.version);
  put_u32(out, header.required_features);
  put_u32(out, header.optional_features);
  put_u32(out, 0);
  for (std::uint64_t v :
       {header.store.high, header.store.low, header.number, header.incarnation, header.start_sequence,
        header.prepared_sequence, header.predecessor.number, header.predecessor.last_sequence,
        header.predecessor.last_hash, header.capacity, header.window_bytes, header.tail_nonce, header.boot,
        static_cast<std::uint64_t>(header.wall_ns), header.own_from, header.predecessor.own_from}) {
    put_u64(out, v);
  }
  out = seal_sector(std::move(out), header.store, header.number, position);
  if (position == 0) header.checksum = load<std::uint64_t>(out.data() + kSectorChecksumAt);
  return out;
}

Result<SegmentHeader> decode_segment_header(std::string_view sector, std::uint64_t position,
                                            const std::optional<StoreId>& store) {
  if (sector.size() != kSectorBytes || !sector.starts_with(kSegmentMagic))
    return Status(Code::kCorruption, "no segment header");
  Decoder in(sector.substr(kSegmentMagic.size()));
  SegmentHeader h;
  h.version = in.u32();
  h.required_features = in.u32();
  h.optional_features = in.u32();
  in.u32();
  std::uint64_t wall = 0;
  for (std::uint64_t* v :
       {&h.store.high, &h.store.low, &h.number, &h.incarnation, &h.start_sequence, &h.prepared_sequence,
        &h.predecessor.number, &h.predecessor.last_sequence, &h.predecessor.last_hash, &h.capacity, &h.window_bytes,
        &h.tail_nonce, &h.boot, &wall, &h.own_from, &h.predecessor.own_from}) {
    *v = in.u64();
  }
  h.wall_ns = static_cast<std::int64_t>(wall);
  const auto stored = load<std::uint64_t>(sector.data() + kSectorChecksumAt);
  if (!checksum_holds(stored, checksum(sector.substr(0, kSectorChecksumAt), h.store, h.number, position))) {
    return Status(Code::kCorruption, "segment header does not verify");
  }
  if (store && *store != h.store) return Status(Code::kCorruption, "segment of another store");
  if (h.version > kWalVersion || (h.required_features & ~kWalKnownFeatures) != 0) {
    return Status(Code::kUnsupported, "log segment of a newer format", {}, "open it with a newer release");
  }
  if (h.version == 0 || h.capacity < kSegmentFramesAt || h.capacity > kMaxSegmentBytes ||
      h.capacity % kSectorBytes != 0 || h.start_sequence == 0 || h.start_sequence > kMaxSequence ||
      h.prepared_sequence + 1 < h.start_sequence || h.prepared_sequence > kMaxSequence) {
    return Status(Code::kCorruption, "segment header makes no sense");
  }
  // The chain starts from the copy at 0, whichever of the two is read, and covers what newer formats say there.
  h.checksum = checksum(sector.substr(0, kSectorChecksumAt), h.store, h.number, 0);
  return h;
}

}  // namespace daruma
