// SPDX-License-Identifier: Apache-2.0
#include "snapshot/scrub.h"

#include <algorithm>
#include <utility>

#include "base/coding.h"

namespace daruma {
namespace {

constexpr std::uint32_t kMagic = 0x53524144;  // "DARS"
constexpr std::uint32_t kVersion = 1;
constexpr std::uint64_t kNotePlace = 0xffff'ffff'0000'0003ULL;
constexpr std::uint64_t kNoteBytesMax = 4096;
constexpr double kDayNs = 86'400e9;

}  // namespace

// magic u32, version u32, passes u64, began u64, bytes done u64, room u8, number u64, checksum u64
std::string encode_scrub_position(const ScrubPosition& position, const StoreId& store) {
  std::string out;
  put_u32(out, kMagic);
  put_u32(out, kVersion);
  put_u64(out, position.passes);
  put_u64(out, static_cast<std::uint64_t>(position.began_wall_ns));
  put_u64(out, position.bytes_done);
  put_u8(out, static_cast<std::uint8_t>(position.room));
  put_u64(out, position.number);
  put_u64(out, checksum(out, store, kNotePlace, 0));
  return out;
}

std::optional<ScrubPosition> decode_scrub_position(std::string_view note, const StoreId& store) {
  Decoder in(note);
  ScrubPosition position;
  const std::uint32_t magic = in.u32();
  const std::uint32_t version = in.u32();
  position.passes = in.u64();
  position.began_wall_ns = static_cast<std::int64_t>(in.u64());
  position.bytes_done = in.u64();
  const std::uint8_t room = in.u8();
  position.number = in.u64();
  const std::size_t summed = note.size() - in.remaining();
  const std::uint64_t sum = in.u64();
  if (!in.done() || magic != kMagic || version != kVersion ||
      room > static_cast<std::uint8_t>(ScrubRoom::kQuarantine) ||
      !checksum_holds(sum, checksum(note.substr(0, summed), store, kNotePlace, 0)))
    return std::nullopt;
  position.room = static_cast<ScrubRoom>(room);
  return position;
}

std::optional<ScrubPosition> read_scrub_position(Storage& storage, const std::string& directory, const StoreId& store) {
  const Result<std::string> note = read_whole(storage, directory + "/" + std::string(kScrubNote), kNoteBytesMax);
  return note.ok() ? decode_scrub_position(*note, store) : std::nullopt;
}

const ScrubItem* next_scrub_item(const std::vector<ScrubItem>& items, const ScrubPosition& position) {
  const auto next = std::find_if(items.begin(), items.end(), [&](const ScrubItem& item) {
    return std::pair(item.room, item.number) >= std::pair(position.room, position.number);
  });
  return next == items.end() ? nullptr : &*next;
}

std::int64_t scrub_due_ns(const std::vector<ScrubItem>& items, const ScrubItem& item, const ScrubPosition& position,
                          std::uint64_t days) {
  std::uint64_t total = 0;
  for (const ScrubItem& each : items) total += each.bytes;
  const std::uint64_t done = position.bytes_done + item.bytes;  // at the end of its share: a new store starts in peace
  const double share = total == 0 ? 1.0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  return position.began_wall_ns + static_cast<std::int64_t>(share * static_cast<double>(days) * kDayNs);
}

}  // namespace daruma
