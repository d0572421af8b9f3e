// SPDX-License-Identifier: Apache-2.0
#include "wal/tail_format.h"

#include <atomic>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "base/assert.h"
#include "base/coding.h"

namespace daruma {
namespace {

constexpr std::string_view kTailMagic = "DRMTAIL1";
constexpr std::uint32_t kTailVersion = 1;
constexpr std::size_t kSectorChecksumAt = kSectorBytes - 8;
// Numbers that stand for the file in seeds; the data uses the nonce and logical positions (multiples of 32).
constexpr std::uint64_t kTailHeaderPlace = 1, kTailSlotPlace = 2;

std::uint64_t entry_checksum(const TailHeader& header, std::uint64_t position, const char* entry,
                             std::string_view payload) {
  return hash64(payload, hash64({entry, 24}, place_seed(header.store, header.nonce, position)));
}

}  // namespace

std::string tail_name(std::uint64_t nonce) {
  char name[32];
  std::snprintf(name, sizeof name, "tail-%016llx", static_cast<unsigned long long>(nonce));
  return name;
}

std::optional<std::uint64_t> parse_tail_name(std::string_view name) {
  constexpr std::string_view kPrefix = "tail-";
  std::uint64_t nonce = 0;
  const char* end = name.data() + name.size();
  if (!name.starts_with(kPrefix) || std::from_chars(name.data() + kPrefix.size(), end, nonce, 16).ec != std::errc() ||
      tail_name(nonce) != name) {
    return std::nullopt;
  }
  return nonce;
}

std::string encode_tail_header(const TailHeader& header) {
  std::string out(kTailMagic);
  put_u32(out, kTailVersion);
  put_u32(out, 0);
  for (std::uint64_t v :
       {header.store.high, header.store.low, header.nonce, header.capacity, header.boot, header.own_from})
    put_u64(out, v);
  out.resize(kSectorChecksumAt, '\0');
  put_u64(out, checksum(out, header.store, header.nonce, kTailHeaderPlace));
  return out;
}

Result<TailHeader> decode_tail_header(std::string_view sector, const std::optional<StoreId>& store) {
  if (sector.size() != kSectorBytes || !sector.starts_with(kTailMagic))
    return Status(Code::kCorruption, "no tail header");
  Decoder in(sector.substr(kTailMagic.size()));
  const std::uint32_t version = in.u32();
  const std::uint32_t features = in.u32();
  TailHeader h;
  for (std::uint64_t* v : {&h.store.high, &h.store.low, &h.nonce, &h.capacity, &h.boot, &h.own_from}) *v = in.u64();
  if (!checksum_holds(load<std::uint64_t>(sector.data() + kSectorChecksumAt),
                      checksum(sector.substr(0, kSectorChecksumAt), h.store, h.nonce, kTailHeaderPlace))) {
    return Status(Code::kCorruption, "tail header does not verify");
  }
  if (store && *store != h.store) return Status(Code::kCorruption, "tail of another store");
  if (version > kTailVersion || features != 0)
    return Status(Code::kUnsupported, "tail of a newer format", {}, "open it with a newer release");
  if (h.capacity == 0 || h.capacity > kMaxTailBytes || h.capacity % kTailUnit != 0)
    return Status(Code::kCorruption, "tail header makes no sense");
  return h;
}

void encode_tail_slot(const TailHeader& header, const TailSlot& slot, unsigned index, char* out) {
  char bytes[kTailSlotBytes] = {};
  store(bytes, slot.counter);
  store(bytes + 8, slot.position);
  store(bytes + 16, slot.sequence);
  store(bytes + 24, checksum({bytes, 24}, header.store, header.nonce, kTailSlotPlace + index));
  std::memcpy(out, bytes, sizeof bytes);
}

std::optional<TailSlot> decode_tail_slot(const TailHeader& header, unsigned index, std::string_view bytes) {
  if (bytes.size() < kTailSlotBytes) return std::nullopt;
  TailSlot slot{load<std::uint64_t>(bytes.data()), load<std::uint64_t>(bytes.data() + 8),
                load<std::uint64_t>(bytes.data() + 16)};
  if (!checksum_holds(load<std::uint64_t>(bytes.data() + 24),
                      checksum(bytes.substr(0, 24), header.store, header.nonce, kTailSlotPlace + index)))
    return std::nullopt;
  if (slot.position % kTailUnit != 0 || slot.sequence > kMaxSequence) return std::nullopt;
  return slot;
}

namespace {

/// The magic goes last, over a cleared one: a process killed in the middle of this leaves no entry there, rather than
/// one that does not verify and could as well be an acknowledged one that was damaged.
void write_tail_entry(const TailHeader& header, std::uint64_t position, std::uint32_t magic, Sequence sequence,
                      std::string_view event, std::uint32_t payload_bytes, char* out) {
  char head[kTailEntryHeaderBytes] = {};
  store(head, magic);
  store(head + 4, payload_bytes);
  store(head + 8, sequence);
  store(head + 16, position);
  store(head + 24, entry_checksum(header, position, head, event));
  store(out, std::uint32_t{0});
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::memcpy(out + 4, head + 4, sizeof head - 4);
  if (!event.empty()) std::memcpy(out + kTailEntryHeaderBytes, event.data(), event.size());
  std::atomic_signal_fence(std::memory_order_seq_cst);
  store(out, magic);
}

}  // namespace

std::uint64_t encode_tail_head(const TailHeader& header, std::uint64_t position) {
  constexpr std::uint64_t kPlaces = (std::uint64_t{1} << 48) - 1;
  const std::uint64_t place = position / kTailUnit & kPlaces;
  const std::uint64_t check = (place + header.nonce) * 0x9e3779b97f4a7c15ULL >> 48;  // Knuth's multiplicative hash
  return check << 48 | place;
}

std::optional<std::uint64_t> decode_tail_head(const TailHeader& header, std::uint64_t word) {
  const std::uint64_t position = (word & ((std::uint64_t{1} << 48) - 1)) * kTailUnit;
  if (encode_tail_head(header, position) != word) return std::nullopt;
  return position;
}

void encode_tail_entry(const TailHeader& header, std::uint64_t position, const WalRecord& record, char* out) {
  write_tail_entry(header, position, kTailEntryMagic, record.sequence, record.event,
                   static_cast<std::uint32_t>(record.event.size()), out);
}

void copy_tail_entry(char* out, const char* entry, std::size_t bytes) {
  store(out, std::uint32_t{0});
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::memcpy(out + 4, entry + 4, bytes - 4);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::memcpy(out, entry, 4);
}

void encode_tail_pad(const TailHeader& header, std::uint64_t position, std::uint32_t payload_bytes, char* out) {
  write_tail_entry(header, position, kTailPadMagic, 0, {}, payload_bytes, out);
}

}  // namespace daruma
