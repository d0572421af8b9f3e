// SPDX-License-Identifier: Apache-2.0
#include "recovery/attempts.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "base/bytes.h"
#include "base/coding.h"

namespace daruma {
namespace {

constexpr std::string_view kNote = "attempts";
constexpr std::uint32_t kMagic = 0x41524144;  // "DARA"
constexpr std::uint32_t kNoteVersion = 1;
constexpr std::uint64_t kNotePlace = 0xffff'ffff'0000'0002ULL;
// One sector. From 0: magic u32, version u32, attempt u32, count u32, boot u64, count x {sequence u64, deaths u32},
// checksum u64. At kLiveAt: the sequence at hand u64 (0: none), and the same scrambled u64: both are stored while
// events are applied, and a death or a flip between them is no note at all.
constexpr std::size_t kLiveAt = 2048;
constexpr std::size_t kNoteBytes = kSectorBytes;
static_assert(24 + Attempts::kMaxCulprits * 12 + 8 <= kLiveAt);

constexpr std::uint64_t scramble(std::uint64_t word) { return (word ^ 0x5bd1e995'a0761d64ULL) * 0x9e3779b97f4a7c15ULL; }

}  // namespace

Attempts::Attempts(Storage& storage, std::string directory, StoreId store, std::uint64_t boot)
    : storage_(storage),
      directory_(std::move(directory)),
      path_(directory_ + "/" + std::string(kNote)),
      store_(store),
      boot_(boot) {
  load();
}

void Attempts::load() {
  Result<std::string> read = read_whole(storage_, path_, kNoteBytes);
  if (!read.ok()) {
    if (!read.status().is(Code::kNotFound)) last_error_ = read.status();
    return;
  }
  noted_ = true;
  const std::string_view note = *read;
  const Status damaged(Code::kCorruption, "the attempts note does not verify", {.file = path_});
  if (note.size() != kNoteBytes) {
    last_error_ = damaged;
    return;
  }
  Decoder d(note.substr(0, kLiveAt));
  const std::uint32_t magic = d.u32(), version = d.u32(), attempt = d.u32(), count = d.u32();
  const std::uint64_t boot = d.u64();
  std::vector<Culprit> culprits;
  bool good = magic == kMagic && version == kNoteVersion && count <= kMaxCulprits;
  for (std::uint32_t i = 0; good && i < count; ++i) {
    const Sequence sequence = d.u64();
    const std::uint32_t deaths = d.u32();
    good = d.ok() && sequence <= kMaxSequence;
    culprits.push_back({sequence, deaths});
  }
  if (good) {
    const std::size_t table_bytes = kLiveAt - d.remaining();
    good = checksum_holds(d.u64(), checksum(note.substr(0, table_bytes), store_, kNotePlace, 0)) && d.ok();
  }
  if (!good) {
    last_error_ = damaged;
    return;
  }
  culprits_ = std::move(culprits);
  attempt_ = attempt < ~std::uint32_t{0} ? attempt + 1 : attempt;
  const auto word = daruma::load<std::uint64_t>(note.data() + kLiveAt);
  const auto check = daruma::load<std::uint64_t>(note.data() + kLiveAt + 8);
  if (word != 0 && word <= kMaxSequence && check == scramble(word) && boot == boot_) count_death(word);
}

void Attempts::count_death(Sequence sequence) {
  const auto it =
      std::find_if(culprits_.begin(), culprits_.end(), [&](const Culprit& c) { return c.sequence == sequence; });
  if (it != culprits_.end()) {
    it->deaths += it->deaths < ~std::uint32_t{0} ? 1 : 0;
    return;
  }
  if (culprits_.size() == kMaxCulprits) {  // the least suspicious makes room
    culprits_.erase(std::min_element(culprits_.begin(), culprits_.end(),
                                     [](const Culprit& a, const Culprit& b) { return a.deaths < b.deaths; }));
  }
  culprits_.push_back({sequence, 1});
}

std::uint32_t Attempts::deaths_slow(Sequence sequence) const {
  for (const Culprit& c : culprits_) {
    if (c.sequence == sequence) return c.deaths;
  }
  return 0;
}

std::string Attempts::encode() const {
  std::string note;
  put_u32(note, kMagic);
  put_u32(note, kNoteVersion);
  put_u32(note, attempt_);
  put_u32(note, static_cast<std::uint32_t>(culprits_.size()));
  put_u64(note, boot_);
  for (const Culprit& c : culprits_) {
    put_u64(note, c.sequence);
    put_u32(note, c.deaths);
  }
  put_u64(note, checksum(note, store_, kNotePlace, 0));
  note.resize(kNoteBytes, '\0');
  store<std::uint64_t>(note.data() + kLiveAt + 8, scramble(0));
  return note;
}

/// In place where there is a note already: that needs no space, and no moment in which there is none.
Status Attempts::write_note() {
  Result<std::unique_ptr<File>> file = storage_.open(path_, OpenMode::kReadWrite);
  if (file.status().is(Code::kNotFound)) {
    if (Status status = storage_.make_directory(directory_); !status.ok()) return status;
    file = storage_.open(path_, OpenMode::kCreate);
  }
  if (!file.ok()) return file.status();
  noted_ = true;
  return (*file)->write(0, encode());
}

void Attempts::begin() {
  if (live_) return;
  if (Status status = write_note(); !status.ok()) {
    last_error_ = std::move(status);
    return;
  }
  Result<std::unique_ptr<Mapping>> mapped = storage_.map(path_);
  if (!mapped.ok()) {
    last_error_ = mapped.status();
  } else if ((*mapped)->bytes().size() >= kNoteBytes) {
    mapping_ = std::move(*mapped);
    live_ = mapping_->bytes().data() + kLiveAt;
  }
}

void Attempts::set_live(Sequence sequence) {
  store<std::uint64_t>(live_, sequence);
  store<std::uint64_t>(live_ + 8, scramble(sequence));
  // The stores must not be sunk behind the step that they announce.
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

void Attempts::finish() {
  rest();
  live_ = nullptr;
  mapping_.reset();
  culprits_.clear();
  attempt_ = 0;
  if (!noted_) return;
  if (Status status = write_note(); !status.ok()) last_error_ = std::move(status);
}

}  // namespace daruma
