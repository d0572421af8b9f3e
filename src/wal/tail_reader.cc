// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "base/coding.h"
#include "base/status_macros.h"
#include "event/event.h"
#include "wal/sector_reader.h"
#include "wal/wal_reader.h"

namespace daruma {
namespace {

struct Found {
  std::uint64_t position = 0;
  std::uint64_t bytes = 0;
  bool pad = false;
  WalRecord record;
};

/// The entry at `p`, which is data offset `at` with `left` bytes behind it, when it verifies as one of this ring at a
/// logical position that falls there.
std::optional<Found> entry_at(const TailHeader& header, const char* p, std::uint64_t at, std::uint64_t left) {
  if (left < kTailEntryHeaderBytes) return std::nullopt;
  const auto magic = load<std::uint32_t>(p);
  if (magic != kTailEntryMagic && magic != kTailPadMagic) return std::nullopt;
  const auto payload = load<std::uint32_t>(p + 4);
  Found found{
      load<std::uint64_t>(p + 16), tail_entry_bytes(payload), magic == kTailPadMagic, {load<std::uint64_t>(p + 8), {}}};
  if (found.position % header.capacity != at || found.bytes > left) return std::nullopt;
  if (!found.pad) {
    if (payload > kMaxEventBytes || found.record.sequence == 0 || found.record.sequence > kMaxSequence)
      return std::nullopt;
    found.record.event = {p + kTailEntryHeaderBytes, payload};
  }
  if (load<std::uint64_t>(p + 24) !=
      hash64(found.record.event, hash64({p, 24}, place_seed(header.store, header.nonce, found.position)))) {
    return std::nullopt;
  }
  return found;
}

/// What stands before the data.
Status load_marks(SectorReader& sectors, std::uint64_t size, const std::string& path,
                  const std::optional<StoreId>& store, TailScan& scan) {
  if (sectors.limit() < kTailDataAt) return Status(Code::kCorruption, "tail ring is too short", {path, {}, {}});
  std::string sector(kSectorBytes, '\0');
  if (!sectors.read(0, sector)) return Status(Code::kIoError, "tail header is unreadable", {path, 0, {}});
  DARUMA_TRY_ASSIGN(scan.header, decode_tail_header(sector, store));
  if (scan.header.capacity > size - kTailDataAt)
    return Status(Code::kCorruption, "tail ring is cut short", {path, size, {}});
  sectors.read(kSectorBytes, sector);  // zeros when unreadable, which do not verify
  scan.head = decode_tail_head(scan.header, load<std::uint64_t>(sector.data() + kTailHeadAt - kSectorBytes));
  std::uint64_t newest = 0;
  for (unsigned i = 0; i < 2; ++i) {
    const auto slot = decode_tail_slot(scan.header, i, std::string_view(sector).substr(i * kTailSlotBytes));
    if (!slot || slot->counter <= newest) continue;
    newest = slot->counter;
    scan.mark_known = true;
    scan.durable_position = slot->position;
    scan.durable_sequence = slot->sequence;
  }
  if (scan.header.capacity % kSectorBytes != 0)
    return Status(Code::kCorruption, "tail ring is not whole sectors", {path, {}, {}});
  return {};
}

/// The usual case: between mark and head stand entries, one behind the other. False, and nothing changed, when they do
/// not all verify. A start reads what may be needed and not the whole ring.
bool read_live(SectorReader& sectors, TailScan& scan) {
  const std::uint64_t capacity = scan.header.capacity;
  if (!scan.mark_known || !scan.head || *scan.head < scan.durable_position) return false;
  const std::uint64_t bytes = *scan.head - scan.durable_position;
  if (bytes > capacity) return false;
  auto data = std::make_unique_for_overwrite<char[]>(bytes);
  const std::uint64_t begin = scan.durable_position % capacity;
  const std::uint64_t to_end = std::min(bytes, capacity - begin);
  if (!sectors.read(kTailDataAt + begin, {data.get(), to_end}) ||
      !sectors.read(kTailDataAt, {data.get() + to_end, bytes - to_end})) {
    return false;
  }
  std::vector<WalRecord> entries;
  Sequence last = scan.durable_sequence;
  for (std::uint64_t done = 0; done < bytes;) {
    const std::uint64_t at = (begin + done) % capacity;
    const std::optional<Found> entry =
        entry_at(scan.header, data.get() + done, at, std::min(bytes - done, capacity - at));
    if (!entry || entry->position != scan.durable_position + done) return false;
    done += entry->bytes;
    if (entry->pad) continue;
    if (entry->record.sequence != ++last) return false;
    entries.push_back(entry->record);
  }
  scan.entries = std::move(entries);
  scan.data = std::move(data);
  scan.whole = true;
  return true;
}

/// Whatever verifies, wherever it stands: every place where an entry can be is looked at, so a damaged one hides none
/// behind it.
void search(SectorReader& sectors, TailScan& scan) {
  const std::uint64_t capacity = scan.header.capacity;
  scan.data = std::make_unique_for_overwrite<char[]>(capacity);  // at most kMaxTailBytes, and the file has them
  const bool readable = sectors.read(kTailDataAt, {scan.data.get(), capacity});
  std::vector<Found> found;
  for (std::uint64_t at = 0; at < capacity;) {
    const std::optional<Found> entry = entry_at(scan.header, scan.data.get() + at, at, capacity - at);
    // No upper bound: when the newest slot is damaged, the older one stands more than a capacity behind the head.
    if (entry && (!scan.mark_known || entry->position >= scan.durable_position)) { found.push_back(*entry); }
    at += entry ? entry->bytes : kTailUnit;
  }
  std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) { return a.position < b.position; });
  std::uint64_t position = scan.durable_position;
  Sequence last = scan.durable_sequence;
  scan.whole = scan.mark_known && readable;
  for (const Found& entry : found) {
    if (entry.position != position) scan.whole = false;
    position = entry.position + entry.bytes;
    if (entry.pad || (scan.mark_known && entry.record.sequence <= scan.durable_sequence)) continue;
    if (entry.record.sequence <= last && !scan.entries.empty()) {
      scan.whole = false;  // cannot be: sequences rise with positions
      continue;
    }
    if (entry.record.sequence != last + 1) scan.whole = false;
    last = entry.record.sequence;
    scan.entries.push_back(entry.record);
  }
  if (scan.head) {
    if (position < *scan.head) scan.whole = false;  // what lies behind was never acknowledged, whatever it looks like
    return;
  }
  // Two of the three that an entry here would begin with: one flipped bit must not make it look like free space, and
  // what an earlier round left here has the magic alone.
  const char* next = scan.data.get() + position % capacity;
  const int signs = (load<std::uint32_t>(next) == kTailEntryMagic ? 1 : 0) +
                    (load<std::uint64_t>(next + 8) == last + 1 ? 1 : 0) +
                    (load<std::uint64_t>(next + 16) == position ? 1 : 0);
  if (signs >= 2) {
    scan.torn_end = true;
    scan.whole = false;
  }
}

}  // namespace

TailScan read_tail(Storage& storage, const std::string& directory, const std::optional<StoreId>& store,
                   std::uint64_t nonce) {
  TailScan scan;
  const std::string path = directory + "/wal/" + tail_name(nonce);
  const auto read = [&]() -> Status {
    DARUMA_TRY_ASSIGN(std::unique_ptr<File> file, storage.open(path, OpenMode::kRead));
    DARUMA_TRY_ASSIGN(const std::uint64_t size, file->size());
    SectorReader sectors(*file, size);
    DARUMA_TRY(load_marks(sectors, size, path, store, scan));
    if (scan.header.nonce != nonce)
      return Status(Code::kCorruption, "another ring stands under this name", {path, 0, {}});
    if (!read_live(sectors, scan)) search(sectors, scan);
    return {};
  };
  scan.status = read();
  return scan;
}

}  // namespace daruma
