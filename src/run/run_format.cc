// SPDX-License-Identifier: Apache-2.0
#include "run/run_format.h"

#include <lz4.h>

#include <cstdio>
#include <cstring>

#include "base/assert.h"
#include "base/coding.h"
#include "base/status_macros.h"

namespace daruma {
namespace {

constexpr std::size_t kSectorChecksumAt = kSectorBytes - 8;
constexpr std::size_t kMagicBytes = 8;
constexpr std::uint8_t kFlagLz4 = 1;
constexpr std::size_t kHeaderCheckAt = 28;
/// A block's header check shares the block's offset; blocks are longer than one byte, so the next offset is nobody's.
constexpr std::uint64_t kHeaderCheckPlace = 1;
/// No LZ4 sequence grows more than this (lz4_Block_format.md: 255 per length byte), so a short block cannot ask for
/// much memory.
constexpr std::uint64_t kLz4GrowthMax = 255;
constexpr std::uint64_t kLz4Slack = 64;

std::string seal_sector(std::string fields, const RunPlace& place, std::uint64_t offset) {
  DARUMA_ASSERT(fields.size() <= kSectorChecksumAt);
  fields.resize(kSectorChecksumAt, '\0');
  put_u64(fields, hash64(fields, place.seed(offset)));
  return fields;
}

void put_identity(std::string& out, const RunHeader& h) {
  put_u32(out, kRunVersion);
  put_u32(out, h.keyspace);
  for (const std::uint64_t v : {h.required_features, h.optional_features, h.place.store.high, h.place.store.low,
                                h.place.number, h.job_id, static_cast<std::uint64_t>(h.created_wall_ns)}) {
    put_u64(out, v);
  }
  put_u32(out, h.level);
  put_u32(out, h.job_index);
}

/// Verifies the sector at `offset` and reads the identity that header and footers share.
Result<RunHeader> take_identity(std::string_view sector, std::string_view magic, std::uint64_t offset,
                                const std::optional<StoreId>& store, std::uint64_t number, Decoder& in) {
  const auto bad = [](std::string what, Code code = Code::kCorruption) { return Status(code, std::move(what)); };
  if (sector.size() != kSectorBytes || !sector.starts_with(magic)) return bad("magic is missing");
  in = Decoder(sector.substr(kMagicBytes, kSectorChecksumAt - kMagicBytes));
  RunHeader h;
  const std::uint32_t version = in.u32();
  h.keyspace = in.u32();
  std::uint64_t created = 0;
  for (std::uint64_t* v : {&h.required_features, &h.optional_features, &h.place.store.high, &h.place.store.low,
                           &h.place.number, &h.job_id, &created}) {
    *v = in.u64();
  }
  h.created_wall_ns = static_cast<std::int64_t>(created);
  h.level = in.u32();
  h.job_index = in.u32();
  if (!checksum_holds(load<std::uint64_t>(sector.data() + kSectorChecksumAt),
                      hash64(sector.substr(0, kSectorChecksumAt), h.place.seed(offset)))) {
    return bad("checksum is wrong");
  }
  if (store && h.place.store != *store) return bad("belongs to another store");
  if (h.place.number != number) {
    return bad("is run " + std::to_string(h.place.number) + " under the name of run " + std::to_string(number));
  }
  if (version > kRunVersion)
    return bad("format version " + std::to_string(version) + " is from the future", Code::kUnsupported);
  if ((h.required_features & ~kRunKnownFeatures) != 0)
    return bad("needs features that this version does not have", Code::kUnsupported);
  if (version == 0 || h.level > 255) return bad("makes no sense");
  return h;
}

}  // namespace

std::string run_name(std::uint64_t number) {
  char name[32];
  std::snprintf(name, sizeof name, "%016llu.run", static_cast<unsigned long long>(number));
  return name;
}

std::optional<std::uint64_t> run_number(std::string_view name) {
  constexpr std::string_view kSuffix = ".run";
  if (!name.ends_with(kSuffix)) return std::nullopt;
  std::uint64_t number = 0;
  for (const char c : name.substr(0, name.size() - kSuffix.size())) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + static_cast<std::uint64_t>(c - '0');
    if (number > kMaxRunNumber) return std::nullopt;
  }
  if (run_name(number) != name) return std::nullopt;
  return number;
}

std::string encode_run_header(const RunHeader& header) {
  std::string out(kRunMagic);
  put_identity(out, header);
  return seal_sector(std::move(out), header.place, 0);
}

Result<RunHeader> decode_run_header(std::string_view sector, const std::optional<StoreId>& store,
                                    std::uint64_t number) {
  Decoder in({});
  return take_identity(sector, kRunMagic, 0, store, number, in);
}

std::string encode_run_footer(const RunFooter& f) {
  std::string out(kRunFooterMagic);
  put_identity(out, f.header);
  for (const std::uint32_t v : {f.copy, f.data_blocks, f.erase_blocks, f.filter_blocks, f.index_blocks, 0u})
    put_u32(out, v);
  for (const std::uint64_t v : {f.filter_lines, f.data_end, f.erase_end, f.filter_end, f.properties_bytes, f.index_end,
                                f.body_bytes, f.properties_checksum}) {
    put_u64(out, v);
  }
  return seal_sector(std::move(out), f.header.place, f.footer_at());
}

Result<RunFooter> decode_run_footer(std::string_view sector, std::uint64_t at, const std::optional<StoreId>& store,
                                    std::uint64_t number) {
  Decoder in({});
  RunFooter f;
  DARUMA_TRY_ASSIGN(f.header, take_identity(sector, kRunFooterMagic, at, store, number, in));
  std::uint32_t reserved = 0;
  for (std::uint32_t* v : {&f.copy, &f.data_blocks, &f.erase_blocks, &f.filter_blocks, &f.index_blocks, &reserved})
    *v = in.u32();
  for (std::uint64_t* v : {&f.filter_lines, &f.data_end, &f.erase_end, &f.filter_end, &f.properties_bytes, &f.index_end,
                           &f.body_bytes, &f.properties_checksum}) {
    *v = in.u64();
  }
  // A sound footer was written so; what fails here is forged or a bug, and arithmetic on it could overflow.
  constexpr std::uint64_t kLimit = std::uint64_t{1} << 60;
  const bool in_order = f.copy <= 1 && f.body_bytes < kLimit && f.body_bytes % kSectorBytes == 0 &&
                        kSectorBytes <= f.data_end && f.data_end <= f.erase_end && f.erase_end <= f.filter_end &&
                        f.filter_end < kLimit && f.properties_bytes < kLimit && f.index_at() <= f.index_end &&
                        f.index_end < kLimit &&
                        round_up(f.index_end, kSectorBytes) + f.properties_room() + kSectorBytes == f.body_bytes;
  if (!in_order || f.footer_at() != at || f.filter_lines > (f.filter_end - f.erase_end) / 64) {
    return Status(Code::kCorruption, "sections do not fit the file");
  }
  return f;
}

BlockHeader append_block(std::string& out, const RunPlace& place, std::uint64_t offset, BlockKind kind,
                         std::uint32_t number, std::string_view raw, bool compress, std::uint64_t padding) {
  DARUMA_ASSERT(raw.size() <= kMaxBlockRawBytes);
  const std::size_t at = out.size();
  BlockHeader h{.kind = kind,
                .stored_bytes = static_cast<std::uint32_t>(raw.size()),
                .raw_bytes = static_cast<std::uint32_t>(raw.size()),
                .number = number};
  out.resize(at + kBlockHeaderBytes);
  const std::size_t worth = raw.size() - raw.size() / 8;
  if (compress && worth < raw.size()) {
    out.resize(at + kBlockHeaderBytes + worth);
    const int stored = LZ4_compress_default(raw.data(), out.data() + at + kBlockHeaderBytes,
                                            static_cast<int>(raw.size()), static_cast<int>(worth));
    h.lz4 = stored > 0;
    if (h.lz4) h.stored_bytes = static_cast<std::uint32_t>(stored);
    out.resize(at + kBlockHeaderBytes + (h.lz4 ? h.stored_bytes : 0));
  }
  if (!h.lz4) out.append(raw);
  const std::uint64_t left = round_up(offset + h.frame_bytes(), kSectorBytes) - (offset + h.frame_bytes());
  if (left <= padding) {
    h.padding = static_cast<std::uint32_t>(left);
    out.resize(out.size() + left, '\0');
  }
  char* p = out.data() + at;
  store(p + 8, kBlockMagic);
  store(p + 12, static_cast<std::uint8_t>(kind));
  store(p + 13, static_cast<std::uint8_t>(h.lz4 ? kFlagLz4 : 0));
  store(p + 14, static_cast<std::uint16_t>(h.padding));
  store(p + 16, h.stored_bytes);
  store(p + 20, h.raw_bytes);
  store(p + 24, number);
  store(p + kHeaderCheckAt,
        static_cast<std::uint32_t>(hash64({p + 8, kHeaderCheckAt - 8}, place.seed(offset + kHeaderCheckPlace))));
  h.checksum = hash64({p + 8, h.frame_bytes() - 8}, place.seed(offset));
  store(p, h.checksum);
  return h;
}

std::optional<BlockHeader> decode_block_header(std::string_view bytes, const RunPlace& place, std::uint64_t offset) {
  if (bytes.size() < kBlockHeaderBytes) return std::nullopt;
  const char* p = bytes.data();
  if (load<std::uint32_t>(p + kBlockMagicAt) != kBlockMagic) return std::nullopt;
  if (!checksum_holds(
          load<std::uint32_t>(p + kHeaderCheckAt),
          static_cast<std::uint32_t>(hash64({p + 8, kHeaderCheckAt - 8}, place.seed(offset + kHeaderCheckPlace))))) {
    return std::nullopt;
  }
  BlockHeader h;
  h.checksum = load<std::uint64_t>(p);
  const auto kind = load<std::uint8_t>(p + 12);
  const auto flags = load<std::uint8_t>(p + 13);
  h.kind = static_cast<BlockKind>(kind);
  h.lz4 = flags == kFlagLz4;
  h.stored_bytes = load<std::uint32_t>(p + 16);
  h.raw_bytes = load<std::uint32_t>(p + 20);
  h.number = load<std::uint32_t>(p + 24);
  h.padding = load<std::uint16_t>(p + 14);
  const bool sizes = h.lz4 ? h.raw_bytes <= h.stored_bytes * kLz4GrowthMax + kLz4Slack : h.raw_bytes == h.stored_bytes;
  if (kind < 1 || kind > 4 || flags > kFlagLz4 || h.padding >= kSectorBytes ||
      (h.padding != 0 && h.kind != BlockKind::kData) || h.raw_bytes > kMaxBlockRawBytes || !sizes) {
    return std::nullopt;
  }
  return h;
}

std::optional<BlockHeader> decode_block(std::string_view frame, const RunPlace& place, std::uint64_t offset) {
  std::optional<BlockHeader> h = decode_block_header(frame, place, offset);
  if (!h || h->frame_bytes() != frame.size() ||
      !checksum_holds(h->checksum, hash64(frame.substr(8), place.seed(offset))))
    return std::nullopt;
  return h;
}

bool unpack_block(const BlockHeader& header, std::string_view frame, char* out) {
  const char* stored = frame.data() + kBlockHeaderBytes;
  if (!header.lz4) {
    std::memcpy(out, stored, header.stored_bytes);
    return true;
  }
  return LZ4_decompress_safe(stored, out, static_cast<int>(header.stored_bytes), static_cast<int>(header.raw_bytes)) ==
         static_cast<int>(header.raw_bytes);
}

}  // namespace daruma
