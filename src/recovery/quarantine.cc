// SPDX-License-Identifier: Apache-2.0
#include "recovery/quarantine.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/coding.h"
#include "base/status_macros.h"

namespace daruma {
namespace {

constexpr std::string_view kLedger = "ledger";
constexpr std::uint32_t kMagic = 0x51524144;  // "DARQ"
constexpr std::uint8_t kLedgerVersion = 1;
// The ledger's place in checksums; file numbers of logs and runs count up from 1 and never get here.
constexpr std::uint64_t kLedgerPlace = 0xffff'ffff'0000'0001ULL;
// magic u32, body bytes u32, checksum of the body u64. The seed holds the offset, the body its own length.
constexpr std::size_t kHeaderBytes = 16;
constexpr std::size_t kMaxEntrySectors = 2;
static_assert(kHeaderBytes + 4 * (Quarantine::kMaxNameBytes + 2) + 128 <= kMaxEntrySectors * kSectorBytes);

std::string encode_body(const QuarantineEntry& e) {
  std::string out;
  put_u8(out, kLedgerVersion);
  put_bytes(out, e.id);
  put_bytes(out, e.case_name);
  put_bytes(out, e.file);
  put_u64(out, e.offset);
  put_u64(out, e.bytes);
  put_u64(out, e.content_hash);
  put_u64(out, e.first_sequence);
  put_u64(out, e.last_sequence);
  put_bytes(out, e.verdict);
  put_bytes(out, e.proof);
  put_u64(out, static_cast<std::uint64_t>(e.wall_ns));
  put_u8(out, static_cast<std::uint8_t>(e.kept));
  put_u8(out, static_cast<std::uint8_t>(e.resolution));
  return out;
}

bool valid_id(std::string_view id) {
  return id.size() == 18 && id.starts_with("q-") &&
         std::all_of(id.begin() + 2, id.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool decode_body(std::string_view in, QuarantineEntry& e) {
  Decoder d(in);
  if (d.u8() != kLedgerVersion) return false;
  e.id = d.bytes();
  e.case_name = d.bytes();
  e.file = d.bytes();
  e.offset = d.u64();
  e.bytes = d.u64();
  e.content_hash = d.u64();
  e.first_sequence = d.u64();
  e.last_sequence = d.u64();
  e.verdict = d.bytes();
  e.proof = d.bytes();
  e.wall_ns = static_cast<std::int64_t>(d.u64());
  const std::uint8_t kept = d.u8();
  const std::uint8_t resolution = d.u8();
  if (!d.done() || !valid_id(e.id) || kept > 2 || resolution > 3) return false;  // an id becomes a file name
  e.kept = static_cast<QuarantineEntry::Kept>(kept);
  e.resolution = static_cast<QuarantineEntry::Resolution>(resolution);
  return true;
}

// One copy of an entry as it stands at `offset`, whole sectors.
std::string encode_copy(std::string_view body, const StoreId& store, std::uint64_t offset) {
  std::string out;
  put_u32(out, kMagic);
  put_u32(out, static_cast<std::uint32_t>(body.size()));
  put_u64(out, checksum(body, store, kLedgerPlace, offset));
  out += body;
  out.resize(round_up(out.size(), kSectorBytes), '\0');
  return out;
}

// Sectors of the verified copy at `offset`; 0 when none stands there.
std::size_t decode_copy(std::string_view ledger, std::uint64_t offset, const StoreId& store, QuarantineEntry& e) {
  Decoder d(ledger.substr(offset));
  const std::uint32_t magic = d.u32();
  const std::uint32_t size = d.u32();
  const std::uint64_t sum = d.u64();
  if (!d.ok() || magic != kMagic || size > kMaxEntrySectors * kSectorBytes - kHeaderBytes) return 0;
  const std::string_view body = d.raw(size);
  if (!d.ok() || !checksum_holds(sum, checksum(body, store, kLedgerPlace, offset)) || !decode_body(body, e)) return 0;
  return static_cast<std::size_t>(round_up(kHeaderBytes + size, kSectorBytes) / kSectorBytes);
}

std::string make_id(std::string_view file, std::uint64_t offset, std::uint64_t content_hash, std::uint64_t bytes) {
  std::string place;
  put_bytes(place, file);
  put_u64(place, offset);
  put_u64(place, content_hash);
  put_u64(place, bytes);
  char b[19];
  std::snprintf(b, sizeof b, "q-%016llx", static_cast<unsigned long long>(hash64(place, kLedgerPlace)));
  return b;
}

void cut(std::string& s) {
  if (s.size() > Quarantine::kMaxNameBytes) s.resize(Quarantine::kMaxNameBytes);
}

}  // namespace

Quarantine::Quarantine(Storage& storage, std::string directory, StoreId store, ReadFrom from)
    : storage_(storage), directory_(std::move(directory)), store_(store), from_(from) {
  load();
}

void Quarantine::load() {
  Result<std::unique_ptr<File>> opened = storage_.open(directory_ + "/" + std::string(kLedger), OpenMode::kRead);
  if (!opened.ok()) {
    if (!opened.status().is(Code::kNotFound)) last_error_ = opened.status();
    return;
  }
  // Not zeros for what cannot be read: it counts as damaged.
  Result<ReadableBytes> read = readable_bytes(**opened, kMaxLedgerBytes, from_, '\xff');
  if (!read.ok()) {
    last_error_ = read.status();
    return;
  }
  if (!read->unreadable.ok()) last_error_ = read->unreadable;
  std::string& ledger = read->bytes;
  ledger_end_ = round_up(ledger.size(), kSectorBytes);
  ledger.resize(ledger_end_, '\0');
  for (std::uint64_t at = 0; at < ledger.size();) {
    QuarantineEntry e;
    if (const std::size_t sectors = decode_copy(ledger, at, store_, e)) {
      remember(e);
      at += sectors * kSectorBytes;
      continue;
    }
    const std::string_view sector = std::string_view(ledger).substr(at, kSectorBytes);
    if (sector.find_first_not_of('\0') != std::string_view::npos) ++damaged_sectors_;
    at += kSectorBytes;
  }
}

void Quarantine::remember(const QuarantineEntry& entry) {
  const auto [it, is_new] = by_id_.try_emplace(entry.id, entries_.size());
  if (is_new)
    entries_.push_back(entry);
  else
    entries_[it->second] = entry;  // later in the ledger wins
}

Status Quarantine::append(const QuarantineEntry& entry) {
  const std::string path = directory_ + "/" + std::string(kLedger);
  const std::string body = encode_body(entry);
  Result<std::unique_ptr<File>> opened = storage_.open(path, OpenMode::kReadWrite);
  const bool creates = !opened.ok() && opened.status().is(Code::kNotFound);
  if (creates) opened = storage_.open(path, OpenMode::kCreate);
  if (!opened.ok()) return opened.status();
  File& file = **opened;
  DARUMA_TRY_ASSIGN(const std::uint64_t size, file.size());
  std::uint64_t at = std::max(ledger_end_, round_up(size, kSectorBytes));
  if (at > kMaxLedgerBytes - 2 * kMaxEntrySectors * kSectorBytes) {
    return Status(Code::kNoSpace, "the quarantine ledger is full", {.file = path},
                  "export what is needed, then remove quarantine/");
  }
  std::string both = encode_copy(body, store_, at);
  both += encode_copy(body, store_, at + both.size());
  // Whatever happens now, these sectors are not used again in this process: a failed write leaves them unknown.
  ledger_end_ = at + both.size();
  DARUMA_TRY(file.write(at, both));
  DARUMA_TRY(file.sync());
  // Also when the ledger was there: an earlier start may have died between creating it and this.
  return storage_.sync_directory(directory_);
}

QuarantineEntry Quarantine::put(QuarantineEntry what, std::string_view contents) {
  using Kept = QuarantineEntry::Kept;
  cut(what.case_name);
  cut(what.file);
  cut(what.verdict);
  cut(what.proof);
  what.bytes = contents.size();
  what.content_hash = hash64(contents, kLedgerPlace);
  what.id = make_id(what.file, what.offset, what.content_hash, what.bytes);
  what.resolution = QuarantineEntry::Resolution::kOpen;
  const QuarantineEntry* known = find(what.id);
  if (known && known->kept == Kept::kBytes && read(what.id).ok()) return *known;

  Status made = storage_.make_directory(directory_);
  if (made.ok()) {
    // The name of the directory itself must survive too; its parent is the store.
    const std::size_t slash = directory_.rfind('/');
    if (slash != std::string::npos) made = storage_.sync_directory(directory_.substr(0, slash));
  }
  const Status published = made.ok() ? publish(storage_, directory_, bytes_name(what.id), contents) : made;
  if (!published.ok()) {
    last_error_ = published;
    (void)storage_.remove(directory_ + "/" + bytes_name(what.id) +
                          std::string(kTemporarySuffix));  // give the space back
  }
  what.kept = published.ok() ? Kept::kBytes : Kept::kExtentOnly;
  if (known) what.wall_ns = known->wall_ns;
  if (known && known->kept == what.kept)
    return *known;  // the bytes file was lost and is back, or there is still no space
  if (const Status appended = append(what); !appended.ok()) {
    last_error_ = appended;
    // Bytes without an entry are found again by their id at the next put; this start must not count on them.
    what.kept = known ? known->kept : Kept::kNowhere;
  }
  remember(what);
  return what;
}

Status Quarantine::resolve(std::string_view id, QuarantineEntry::Resolution resolution) {
  const QuarantineEntry* known = find(id);
  if (!known) return Status(Code::kNotFound, "nothing in quarantine is called " + std::string(id));
  if (known->resolution == resolution) return {};
  QuarantineEntry entry = *known;
  entry.resolution = resolution;
  DARUMA_TRY(append(entry));
  remember(entry);
  return {};
}

Status Quarantine::rewrite() {
  std::string ledger;
  for (const QuarantineEntry& entry : entries_) {
    const std::string body = encode_body(entry);
    for (int copy = 0; copy < 2; ++copy) ledger += encode_copy(body, store_, ledger.size());
  }
  DARUMA_TRY(publish(storage_, directory_, std::string(kLedger), ledger));
  ledger_end_ = ledger.size();
  damaged_sectors_ = 0;
  return {};
}

std::vector<QuarantineEntry> Quarantine::list() const { return entries_; }

const QuarantineEntry* Quarantine::find(std::string_view id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : &entries_[it->second];
}

Result<std::string> Quarantine::read(std::string_view id) const {
  const QuarantineEntry* entry = find(id);
  if (!entry) return Status(Code::kNotFound, "nothing in quarantine is called " + std::string(id));
  const std::string path = directory_ + "/" + bytes_name(id);
  if (entry->kept != QuarantineEntry::Kept::kBytes) {
    return Status(Code::kNotFound, "there was no space to keep the bytes",
                  {.file = entry->file, .offset = entry->offset}, "they may still stand where they were found");
  }
  DARUMA_TRY_ASSIGN(const std::unique_ptr<File> file, storage_.open(path, OpenMode::kRead));
  DARUMA_TRY_ASSIGN(ReadableBytes read, readable_bytes(*file, entry->bytes + 1, from_));
  DARUMA_TRY(read.unreadable);
  std::string& contents = read.bytes;
  if (contents.size() != entry->bytes || hash64(contents, kLedgerPlace) != entry->content_hash) {
    return Status(Code::kCorruption, "the bytes set aside are damaged themselves", {.file = path});
  }
  return std::move(contents);
}

Status Quarantine::export_to(std::string_view id, const std::string& path) const {
  DARUMA_TRY_ASSIGN(const std::string contents, read(id));
  if (storage_.open(path, OpenMode::kRead).ok())
    return Status(Code::kExists, "something is there already", {.file = path});
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos || slash + 1 == path.size()) {
    return Status(Code::kInvalidArgument, "give the path of a file, with its directory", {.file = path});
  }
  return publish(storage_, path.substr(0, slash), path.substr(slash + 1), contents);
}

}  // namespace daruma
