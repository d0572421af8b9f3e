// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

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
  if (!checksum_holds(
          load<std::uint64_t>(p + 24),
          hash64(found.record.event, hash64({p, 24}, place_seed(header.store, header.nonce, found.position))))) {
    return std::nullopt;
  }
  return found;
}

/// What stands before the data of a half.
struct Marks {
  Status status;  ///< of the header
  std::optional<TailSlot> slot;
  std::optional<std::uint64_t> head;
};

class RingReader {
 public:
  RingReader(File& file, std::uint64_t size, const std::string& path, std::uint64_t nonce, TailScan& scan)
      : sectors_(file, size), path_(path), nonce_(nonce), scan_(scan) {}

  Status read(const std::optional<StoreId>& store, bool every_half) {
    DARUMA_TRY(find_halves(store));
    std::array<Marks, 2> marks;
    for (std::size_t i = 0; i < halves_; ++i) marks[i] = load_marks(i * half_bytes(), store);
    take_marks(marks);
    // Usually one of these: between mark and head stand entries, one behind the other. A start reads what may be needed
    // and not the whole ring.
    for (const std::uint64_t head : heads_) {
      for (std::size_t i = 0; i < halves_; ++i) {
        std::optional<Live> live = read_live(i * half_bytes(), head);
        if (!live) continue;
        scan_.entries = std::move(live->entries);
        scan_.data = std::move(live->data);
        scan_.whole = true;
        scan_.hurt = scan_.hurt || i != 0;
        // A kill may have come between the halves: what both have ends at the nearest head.
        for (std::size_t other = i + 1; every_half && other < halves_; ++other)
          scan_.hurt = scan_.hurt || !read_live(other * half_bytes(), *scan_.head);
        return {};
      }
    }
    search();
    return {};
  }

 private:
  [[nodiscard]] std::uint64_t capacity() const { return scan_.header.capacity; }
  [[nodiscard]] std::uint64_t half_bytes() const { return tail_half_bytes(capacity()); }

  /// A header that verifies says where the second half begins; without the first, it is the middle of the file.
  Status find_halves(const std::optional<StoreId>& store) {
    const std::uint64_t size = sectors_.limit();
    Result<TailHeader> header = load_header(0, store);
    if (!header.ok() && !header.status().is(Code::kUnsupported) && size % (2 * kSectorBytes) == 0) {
      Result<TailHeader> second = load_header(size / 2, store);
      if (second.ok() && tail_half_bytes(second->capacity) == size / 2) header = second;
    }
    DARUMA_TRY(header.status());
    scan_.header = *header;
    if (half_bytes() > size) return Status(Code::kCorruption, "tail ring is cut short", {path_, size, {}});
    halves_ = size / half_bytes() >= 2 ? 2 : 1;
    scan_.hurt = halves_ < 2;
    return {};
  }

  Result<TailHeader> load_header(std::uint64_t base, const std::optional<StoreId>& store) {
    if (base + kTailDataAt > sectors_.limit())
      return Status(Code::kCorruption, "tail ring is too short", {path_, {}, {}});
    std::string sector(kSectorBytes, '\0');
    if (!sectors_.read(base, sector)) return Status(Code::kIoError, "tail header is unreadable", {path_, base, {}});
    DARUMA_TRY_ASSIGN(const TailHeader header, decode_tail_header(sector, store));
    if (header.nonce != nonce_)
      return Status(Code::kCorruption, "another ring stands under this name", {path_, base, {}});
    if (header.capacity % kSectorBytes != 0)
      return Status(Code::kCorruption, "tail ring is not whole sectors", {path_, base, {}});
    return header;
  }

  Marks load_marks(std::uint64_t base, const std::optional<StoreId>& store) {
    Marks marks;
    marks.status = load_header(base, store).status();
    std::string sector(kSectorBytes, '\0');
    sectors_.read(base + kSectorBytes, sector);  // zeros when unreadable, which do not verify
    marks.head = decode_tail_head(scan_.header, load<std::uint64_t>(sector.data() + kTailHeadAt - kSectorBytes));
    for (unsigned i = 0; i < 2; ++i) {
      const auto slot = decode_tail_slot(scan_.header, i, std::string_view(sector).substr(i * kTailSlotBytes));
      if (slot && (!marks.slot || slot->counter > marks.slot->counter)) marks.slot = slot;
    }
    return marks;
  }

  void take_marks(const std::array<Marks, 2>& marks) {
    std::uint64_t newest = 0;
    for (std::size_t i = 0; i < halves_; ++i) {
      scan_.hurt = scan_.hurt || !marks[i].status.ok() || !marks[i].head || !marks[i].slot;
      if (!marks[i].slot || marks[i].slot->counter <= newest) continue;
      newest = marks[i].slot->counter;
      scan_.mark_known = true;
      scan_.durable_position = marks[i].slot->position;
      scan_.durable_sequence = marks[i].slot->sequence;
    }
    scan_.begun = newest > kTailSlotsUnpublished;
    for (std::size_t i = 0; i < halves_; ++i) {
      // A head that the mark has passed is an old copy of the sector.
      if (marks[i].head && *marks[i].head >= scan_.durable_position) heads_.push_back(*marks[i].head);
    }
    std::sort(heads_.rbegin(), heads_.rend());
    // Nobody is told of an entry before both heads cover it.
    if (!heads_.empty()) scan_.head = heads_.back();
  }

  struct Live {
    std::unique_ptr<char[]> data;
    std::vector<WalRecord> entries{};
  };
  /// Nothing when the entries from the mark to `head` do not all verify in the half at `base`.
  std::optional<Live> read_live(std::uint64_t base, std::uint64_t head) {
    if (!scan_.mark_known) return std::nullopt;
    const std::uint64_t bytes = head - scan_.durable_position;
    if (bytes > capacity()) return std::nullopt;
    Live live{std::make_unique_for_overwrite<char[]>(bytes)};
    char* const data = live.data.get();
    const std::uint64_t begin = scan_.durable_position % capacity();
    const std::uint64_t to_end = std::min(bytes, capacity() - begin);
    if (!sectors_.read(base + kTailDataAt + begin, {data, to_end}) ||
        !sectors_.read(base + kTailDataAt, {data + to_end, bytes - to_end})) {
      return std::nullopt;
    }
    Sequence last = scan_.durable_sequence;
    for (std::uint64_t done = 0; done < bytes;) {
      const std::uint64_t at = (begin + done) % capacity();
      const std::optional<Found> entry =
          entry_at(scan_.header, data + done, at, std::min(bytes - done, capacity() - at));
      if (!entry || entry->position != scan_.durable_position + done) return std::nullopt;
      done += entry->bytes;
      if (entry->pad) continue;
      if (entry->record.sequence != ++last) return std::nullopt;
      live.entries.push_back(entry->record);
    }
    return live;
  }

  /// Whatever verifies, wherever it stands in either half: every place where an entry can be is looked at, so a damaged
  /// one hides none behind it.
  void search() {
    scan_.data = std::make_unique_for_overwrite<char[]>(halves_ * capacity());  // at most kMaxTailBytes a half
    bool readable = true;
    std::vector<Found> found;
    for (std::size_t i = 0; i < halves_; ++i) {
      char* data = scan_.data.get() + i * capacity();
      readable = sectors_.read(i * half_bytes() + kTailDataAt, {data, capacity()}) && readable;
      for (std::uint64_t at = 0; at < capacity();) {
        const std::optional<Found> entry = entry_at(scan_.header, data + at, at, capacity() - at);
        // No upper bound: when the newest slot is damaged, the older one stands more than a capacity behind the head.
        if (entry && (!scan_.mark_known || entry->position >= scan_.durable_position)) found.push_back(*entry);
        at += entry ? entry->bytes : kTailUnit;
      }
    }
    std::stable_sort(found.begin(), found.end(),
                     [](const Found& a, const Found& b) { return a.position < b.position; });
    std::uint64_t position = scan_.durable_position;
    Sequence last = scan_.durable_sequence;
    scan_.whole = scan_.mark_known && (readable || scan_.head);
    for (const Found& entry : found) {
      if (entry.position < position && scan_.mark_known) continue;  // the other half's
      if (entry.position != position) scan_.whole = false;
      position = entry.position + entry.bytes;
      if (entry.pad || (scan_.mark_known && entry.record.sequence <= scan_.durable_sequence)) continue;
      if (entry.record.sequence <= last && !scan_.entries.empty()) {
        if (entry.record.sequence != last) scan_.whole = false;  // cannot be: sequences rise with positions
        continue;
      }
      if (entry.record.sequence != last + 1) scan_.whole = false;
      last = entry.record.sequence;
      scan_.entries.push_back(entry.record);
    }
    scan_.hurt = true;
    if (scan_.head) {
      // What lies behind the head was never acknowledged, whatever it looks like.
      if (position < *scan_.head) scan_.whole = false;
      return;
    }
    for (std::size_t i = 0; i < halves_; ++i) {
      // Two of the three that an entry here would begin with: one flipped bit must not make it look like free space,
      // and what an earlier round left here has the magic alone.
      const char* next = scan_.data.get() + i * capacity() + position % capacity();
      const int signs = (load<std::uint32_t>(next) == kTailEntryMagic ? 1 : 0) +
                        (load<std::uint64_t>(next + 8) == last + 1 ? 1 : 0) +
                        (load<std::uint64_t>(next + 16) == position ? 1 : 0);
      if (signs < 2) continue;
      scan_.torn_end = true;
      scan_.whole = false;
    }
  }

  SectorReader sectors_;
  const std::string& path_;
  const std::uint64_t nonce_;
  TailScan& scan_;
  std::size_t halves_ = 2;
  std::vector<std::uint64_t> heads_;  // that verify, the furthest first
};

}  // namespace

TailScan read_tail(Storage& storage, const std::string& directory, const std::optional<StoreId>& store,
                   std::uint64_t nonce, std::size_t side, bool every_half) {
  TailScan scan;
  const std::string path = directory + "/" + std::string(kLogDirectories[side]) + "/" + tail_name(nonce);
  const auto read = [&]() -> Status {
    DARUMA_TRY_ASSIGN(std::unique_ptr<File> file, open_to_read(storage, path));
    DARUMA_TRY_ASSIGN(const std::uint64_t size, file->size());
    return RingReader(*file, size, path, nonce, scan).read(store, every_half);
  };
  scan.status = read();
  return scan;
}

}  // namespace daruma
