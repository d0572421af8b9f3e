// SPDX-License-Identifier: Apache-2.0
#include "snapshot/manifest.h"

#include <algorithm>
#include <cstdio>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/coding.h"
#include "base/status_macros.h"

namespace daruma {
namespace {

// Header sector; docs/format.md.
constexpr std::size_t kVersionAt = 8, kCopyAt = 12, kRequiredAt = 16, kOptionalAt = 24, kStoreHighAt = 32,
                      kStoreLowAt = 40, kNumberAt = 48, kBodyBytesAt = 56, kCopyBytesAt = 64, kBodyChecksumAt = 72,
                      kHeaderChecksumAt = 4088;
/// Runs and snapshots count from 1 alike; this keeps their checksum seeds apart.
constexpr std::uint64_t kFileKind = std::uint64_t{'S'} << 56;
/// At most so many bodies are hashed when hunting for a copy, so that a hostile file costs time linear in its size.
constexpr int kBodiesTriedMax = 4;
/// Optional feature: the catalogue follows the options.
constexpr std::uint64_t kCatalogFollows = 1;

std::uint64_t sum(std::string_view bytes, const StoreId& store, std::uint64_t number, std::uint64_t offset) {
  return checksum(bytes, store, kFileKind | number, offset);
}

std::string encode_body(const Manifest& m) {
  std::string body;
  put_u64(body, m.sequence);
  put_u64(body, m.durable_sequence);
  put_u64(body, m.next_file_number);
  put_u64(body, m.next_segment);
  put_u64(body, static_cast<std::uint64_t>(m.created_wall_ns));
  put_u64(body, m.previous_number);
  put_u64(body, m.previous_hash);
  put_varint(body, m.runs.size());
  for (const PlacedRun& run : m.runs) {
    put_u8(body, static_cast<std::uint8_t>(run.level));
    std::string info;
    encode_run_info(info, run.info);
    put_bytes(body, info);
  }
  put_bytes(body, m.damage);
  put_bytes(body, m.options);
  if (!m.catalog) return body;
  put_varint(body, m.catalog->size());
  for (const auto& [key, version] : *m.catalog) {
    put_bytes(body, key);
    put_u64(body, version.sequence);
    put_u8(body, version.value ? 1 : 0);
    if (version.value) put_bytes(body, *version.value);
  }
  return body;
}

Status decode_catalog(Decoder& in, Catalog& out) {
  const std::uint64_t entries = in.varint();
  for (std::uint64_t i = 0; i < entries && in.ok(); ++i) {
    const std::string_view key = in.bytes();
    CatalogVersion version{in.u64(), {}};
    const std::uint8_t kind = in.u8();
    if (kind == 1) version.value = in.bytes();
    if (!in.ok()) break;
    if (kind > 1 || (!out.empty() && key <= out.rbegin()->first))
      return {Code::kCorruption, "catalogue entry " + std::to_string(i) + " is out of order or of no kind"};
    out.emplace_hint(out.end(), key, std::move(version));
  }
  return {};
}

/// `body` has verified; what fails here was written wrong or forged, and is refused all the same.
Status decode_body(std::string_view body, std::uint64_t features, Manifest& m) {
  Decoder in(body);
  m.sequence = in.u64();
  m.durable_sequence = in.u64();
  m.next_file_number = in.u64();
  m.next_segment = in.u64();
  m.created_wall_ns = static_cast<std::int64_t>(in.u64());
  m.previous_number = in.u64();
  m.previous_hash = in.u64();
  const std::uint64_t runs = in.varint();
  for (std::uint64_t i = 0; i < runs && in.ok(); ++i) {  // no reserve: the count is not to be trusted
    PlacedRun run;
    run.level = in.u8();
    const std::string_view info = in.bytes();
    if (!in.ok()) break;
    DARUMA_TRY_ASSIGN(run.info, decode_run_info(info));
    m.runs.push_back(std::move(run));
  }
  m.damage = std::string(in.bytes());
  m.options = std::string(in.bytes());
  if ((features & kCatalogFollows) != 0) DARUMA_TRY(decode_catalog(in, m.catalog.emplace()));
  if (!in.ok()) return Status(Code::kCorruption, "body ends too early");
  if (!in.done() && (features & ~kCatalogFollows) == 0)
    return Status(Code::kCorruption, "body has bytes beyond its end");
  return check_manifest(m);
}

/// Verifies and decodes the copy whose header stands at `offset`. `spent` counts hashed bodies.
Status decode_copy(std::string_view file, std::uint64_t offset, std::optional<std::uint64_t> number,
                   const std::optional<StoreId>& store, int& spent, Manifest& out) {
  const auto bad = [&](Code code, const std::string& what) {
    return Status(code, "copy at " + std::to_string(offset) + ": " + what);
  };
  if (offset >= file.size() || file.size() - offset < kSectorBytes) return bad(Code::kCorruption, "cut short");
  const std::string_view header = file.substr(offset, kSectorBytes);
  const char* h = header.data();
  if (header.substr(0, kManifestMagic.size()) != kManifestMagic) return bad(Code::kCorruption, "magic is missing");
  const StoreId id{load<std::uint64_t>(h + kStoreHighAt), load<std::uint64_t>(h + kStoreLowAt)};
  const auto said = load<std::uint64_t>(h + kNumberAt);
  if (!checksum_holds(load<std::uint64_t>(h + kHeaderChecksumAt),
                      sum(header.substr(0, kHeaderChecksumAt), id, said, offset))) {
    return bad(Code::kCorruption, "header checksum is wrong");
  }
  if (store && id != *store) return bad(Code::kCorruption, "belongs to another store");
  if (said != number.value_or(said))
    return bad(Code::kCorruption,
               "is manifest " + std::to_string(said) + " under the name of " + std::to_string(*number));
  if (load<std::uint32_t>(h + kVersionAt) != kManifestVersion) {
    return bad(Code::kUnsupported, "format version " + std::to_string(load<std::uint32_t>(h + kVersionAt)));
  }
  if (load<std::uint64_t>(h + kRequiredAt) != 0)
    return bad(Code::kUnsupported, "needs features that this version does not have");
  const auto body_bytes = load<std::uint64_t>(h + kBodyBytesAt);
  const auto copy_bytes = load<std::uint64_t>(h + kCopyBytesAt);
  const std::uint64_t room = file.size() - offset - kSectorBytes;
  if (body_bytes > room) return bad(Code::kCorruption, "body is cut short");
  const std::uint64_t padded = round_up(body_bytes, kSectorBytes);
  if (padded > room) return bad(Code::kCorruption, "padding is cut short");
  if (copy_bytes != kSectorBytes + padded) return bad(Code::kCorruption, "lengths disagree");
  if (++spent > kBodiesTriedMax) return bad(Code::kCorruption, "too many copies");
  const std::string_view area = file.substr(offset + kSectorBytes, padded);
  if (!checksum_holds(load<std::uint64_t>(h + kBodyChecksumAt), sum(area, id, said, offset + kSectorBytes))) {
    return bad(Code::kCorruption, "body checksum is wrong");
  }
  Manifest m;
  m.store = id;
  m.number = said;
  if (Status status = decode_body(area.substr(0, body_bytes), load<std::uint64_t>(h + kOptionalAt), m); !status.ok()) {
    return bad(status.code(), status.message());
  }
  out = std::move(m);
  return {};
}

}  // namespace

std::string manifest_name(std::uint64_t number) {
  char name[32];
  std::snprintf(name, sizeof name, "%016llu.snap", static_cast<unsigned long long>(number));
  return name;
}

std::optional<std::uint64_t> manifest_number(std::string_view name) {
  constexpr std::size_t kDigits = 16;
  if (name.size() != kDigits + 5 || name.substr(kDigits) != ".snap") return std::nullopt;
  std::uint64_t number = 0;
  for (const char c : name.substr(0, kDigits)) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return number;
}

Status check_manifest(const Manifest& m) {
  const auto bad = [](const std::string& what) { return Status(Code::kCorruption, what); };
  if (m.number == 0) return bad("manifest number 0");
  if (m.sequence > kMaxSequence || m.durable_sequence > kMaxSequence)
    return bad("sequence beyond the highest possible");
  if (m.previous_number >= m.number) return bad("previous manifest is not older");
  DARUMA_TRY(check_placement(m.runs));
  for (const PlacedRun& run : m.runs) {
    const std::string name = "run " + std::to_string(run.info.number);
    if (run.info.number >= m.next_file_number) return bad(name + " is numbered above the next file number");
    if (run.info.max_sequence > m.sequence) return bad(name + " holds events after the snapshot's sequence");
  }
  const auto later = [&](const auto& entry) { return entry.second.sequence > m.sequence; };
  if (m.catalog && std::any_of(m.catalog->begin(), m.catalog->end(), later))
    return bad("the catalogue has an event after the snapshot's sequence");
  return {};
}

std::string encode_manifest(const Manifest& m) {
  DARUMA_ASSERT(check_manifest(m).ok());
  std::string area = encode_body(m);
  const std::uint64_t body_bytes = area.size();
  area.resize(round_up(body_bytes, kSectorBytes), '\0');
  const std::uint64_t copy_bytes = kSectorBytes + area.size();
  DARUMA_ASSERT(2 * copy_bytes <= kManifestFileBytesMax);
  std::string file;
  file.reserve(2 * copy_bytes);
  for (std::uint32_t copy = 0; copy < 2; ++copy) {
    const std::uint64_t offset = copy * copy_bytes;
    std::string header(kSectorBytes, '\0');
    char* h = header.data();
    kManifestMagic.copy(h, kManifestMagic.size());
    store(h + kVersionAt, kManifestVersion);
    store(h + kCopyAt, copy);
    store(h + kRequiredAt, std::uint64_t{0});
    store(h + kOptionalAt, m.catalog ? kCatalogFollows : 0);
    store(h + kStoreHighAt, m.store.high);
    store(h + kStoreLowAt, m.store.low);
    store(h + kNumberAt, m.number);
    store(h + kBodyBytesAt, body_bytes);
    store(h + kCopyBytesAt, copy_bytes);
    store(h + kBodyChecksumAt, sum(area, m.store, m.number, offset + kSectorBytes));
    store(h + kHeaderChecksumAt, sum(std::string_view(header).substr(0, kHeaderChecksumAt), m.store, m.number, offset));
    file += header;
    file += area;
  }
  return file;
}

std::uint64_t manifest_hash(const Manifest& m) { return sum(encode_body(m), m.store, m.number, 0); }

Result<ManifestRead> decode_manifest(std::string_view file, std::optional<std::uint64_t> number,
                                     const std::optional<StoreId>& store) {
  if (file.size() > kManifestFileBytesMax) return Status(Code::kCorruption, "manifest is larger than any can be");
  int spent = 0;
  ManifestRead read;
  const std::uint64_t half = file.size() / 2;
  Status first = decode_copy(file, 0, number, store, spent, read.manifest);
  Manifest other;
  // The second half starts where the first copy says; when that is lost, halfway; and when the file was cut or grew,
  // wherever a header sector verifies.
  Status second = half % kSectorBytes == 0
                      ? decode_copy(file, half, number, store, spent, other)
                      : Status(Code::kCorruption, "second copy: the file's length is not that of two copies");
  if (first.ok() && second.ok() && !(read.manifest == other)) {
    return Status(Code::kCorruption, "the two copies verify and yet differ");
  }
  if (first.ok()) {
    if (!second.ok()) read.damaged = second.message();
    return read;
  }
  if (second.ok()) return ManifestRead{std::move(other), first.message()};
  for (std::uint64_t at = kSectorBytes; at < file.size() && spent < kBodiesTriedMax; at += kSectorBytes) {
    if (at == half || file.substr(at, kManifestMagic.size()) != kManifestMagic) continue;
    if (decode_copy(file, at, number, store, spent, read.manifest).ok()) {
      read.damaged = first.message();
      return read;
    }
  }
  const bool future = first.is(Code::kUnsupported) || second.is(Code::kUnsupported);
  return Status(future ? Code::kUnsupported : Code::kCorruption, first.message() + "; " + second.message());
}

Status publish_manifest(Storage& storage, const std::string& directory, const Manifest& manifest) {
  const std::string file = encode_manifest(manifest);
  // Read after write, of the bytes to be: what does not decode must never get the newest name.
  Result<ManifestRead> again = decode_manifest(file, manifest.number, manifest.store);
  DARUMA_ASSERT(again.ok() && again->damaged.empty() && again->manifest == manifest);
  return publish(storage, directory + "/" + std::string(kManifestDirectory), manifest_name(manifest.number), file);
}

Status copy_manifest(Storage& storage, const std::string& directory, const Manifest& newest) {
  const std::string room = directory + "/" + std::string(kManifestCopyDirectory);
  Status copied = publish(storage, room, std::string(kManifestCopy), encode_manifest(newest));
  if (!copied.ok() && storage.remove(room + "/" + std::string(kManifestCopy)).ok()) (void)storage.sync_directory(room);
  return copied;
}

}  // namespace daruma
