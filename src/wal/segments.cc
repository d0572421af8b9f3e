// SPDX-License-Identifier: Apache-2.0
#include "wal/segments.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/failpoint.h"
#include "base/status_macros.h"
#include "wal/tail_format.h"

namespace daruma {
namespace {
constexpr std::string_view kSparePrefix = "spare-";

bool is_reusable(std::uint64_t bytes) { return bytes > kSegmentFramesAt && bytes % kSectorBytes == 0; }
}  // namespace

std::vector<std::string> segment_files(std::uint64_t number, LogSides sides) {
  std::vector<std::string> files;
  for (std::size_t side = 0; side < kLogSides; ++side) {
    if (stands_in(sides, side)) files.push_back(std::string(kLogDirectories[side]) + "/" + segment_name(number));
  }
  return files;
}

Segments::Segments(Storage& storage, const std::string& store_directory, LogSides sides, std::vector<LiveSegment> live)
    : storage_(storage),
      store_directory_(store_directory),
      directories_{store_directory + "/" + std::string(kLogDirectories[0]),
                   store_directory + "/" + std::string(kLogDirectories[1])},
      sides_(sides),
      live_(std::move(live)) {
  // A file that has been renamed must not be forgotten because memory is short.
  for (std::vector<Spare>& spares : spares_) spares.reserve(kMaxSpares);
}

Status Segments::make_directory(std::size_t side) {
  DARUMA_TRY(storage_.make_directory(directories_[side]));
  return storage_.sync_directory(store_directory_);
}

Status Segments::tidy(std::size_t side) {
  MutexLock files(files_mutex_);
  DARUMA_TRY_ASSIGN(std::vector<DirectoryEntry> entries, storage_.list(directories_[side]));
  for (const DirectoryEntry& entry : entries) {
    if (!entry.name.ends_with(kTemporarySuffix) || entry.is_directory) continue;
    const std::string_view stem = std::string_view(entry.name).substr(0, entry.name.size() - kTemporarySuffix.size());
    const bool spare = entry.name.starts_with(kSparePrefix);
    if (spare && stands_in(sides_, side) && is_reusable(entry.bytes)) {
      MutexLock lock(mutex_);
      // A power cut during a retirement may leave both names on one file: then it is a segment still.
      const bool lives = std::any_of(live_.begin(), live_.end(), [&](const LiveSegment& segment) {
        return stands_in(segment.sides, side) && stem == std::string(kSparePrefix) + std::to_string(segment.number);
      });
      if (!lives && spares_[side].size() < kMaxSpares) {
        spares_[side].push_back({entry.name, entry.bytes});
        continue;
      }
    }
    if (spare || parse_segment_name(stem)) DARUMA_TRY(storage_.remove(directories_[side] + "/" + entry.name));
  }
  return {};
}

Status Segments::remove_rings_but(std::size_t side, const std::string& name) {
  MutexLock files(files_mutex_);
  const std::string& directory = directories_[side];
  DARUMA_TRY_ASSIGN(std::vector<DirectoryEntry> entries, storage_.list(directory));
  for (const DirectoryEntry& entry : entries) {
    if (parse_tail_name(entry.name) && entry.name != name) DARUMA_TRY(storage_.remove(directory + "/" + entry.name));
  }
  return {};
}

Result<Segments::Prepared> Segments::prepare(std::size_t side, std::uint64_t number, std::uint64_t bytes) {
  MutexLock files(files_mutex_);
  const std::string& directory = directories_[side];
  const std::string path = directory + "/" + segment_name(number) + std::string(kTemporarySuffix);
  Prepared out;
  for (;;) {
    Spare taken;
    {
      MutexLock lock(mutex_);
      std::vector<Spare>& spares = spares_[side];
      const auto spare = std::find_if(spares.begin(), spares.end(), [&](const Spare& s) { return s.bytes >= bytes; });
      if (spare == spares.end()) break;
      taken = std::move(*spare);
      spares.erase(spare);  // given up when anything below fails: the next start finds it again
    }
    const Status renamed = storage_.rename(directory + "/" + taken.name, path);
    if (renamed.is(Code::kNotFound)) continue;  // somebody removed it
    DARUMA_TRY(renamed);
    DARUMA_TRY(storage_.sync_directory(directory));
    DARUMA_TRY_ASSIGN(out.file, storage_.open(path, OpenMode::kReadWrite));
    out.bytes = taken.bytes;
    out.recycled = true;
    return out;
  }
  DARUMA_TRY_ASSIGN(out.file, storage_.open(path, OpenMode::kCreate));
  DARUMA_TRY(out.file->allocate(bytes));
  out.bytes = bytes;
  return out;
}

Status Segments::keep_spares(bool keep) {
  MutexLock files(files_mutex_);
  std::array<std::vector<Spare>, kLogSides> spares;
  {
    MutexLock lock(mutex_);
    keep_spares_ = keep;
    if (keep) return {};
    spares = spares_;
  }
  for (std::size_t side = 0; side < kLogSides; ++side) {
    for (; !spares[side].empty(); spares[side].pop_back()) {
      const Status removed = storage_.remove(directories_[side] + "/" + spares[side].back().name);
      if (!removed.is(Code::kNotFound)) DARUMA_TRY(removed);
      MutexLock lock(mutex_);
      spares_[side].pop_back();
    }
  }
  return {};
}

bool Segments::has_spares() const {
  MutexLock lock(mutex_);
  return std::any_of(spares_.begin(), spares_.end(), [](const auto& spares) { return !spares.empty(); });
}

Status Segments::probe(std::size_t side, std::uint64_t bytes) {
  DARUMA_TRY(make_directory(side));
  DARUMA_TRY(daruma::probe(storage_, directories_[side] + "/" + std::string(kProbeName), bytes));
  return storage_.sync_directory(directories_[side]);
}

void Segments::discard(std::uint64_t number) {
  MutexLock files(files_mutex_);
  {
    MutexLock lock(mutex_);
    std::erase_if(live_, [&](const LiveSegment& segment) { return segment.number == number; });
  }
  for (std::size_t side = 0; side < kLogSides; ++side) {
    if (!stands_in(sides_, side)) continue;
    // Best effort: it holds nothing that was acknowledged, and the next start removes it.
    const std::string path = directories_[side] + "/" + segment_name(number);
    (void)storage_.remove(path + std::string(kTemporarySuffix));
    (void)storage_.remove(path);
  }
}

Status Segments::publish(std::size_t side, const LiveSegment& segment) {
  MutexLock files(files_mutex_);
  {
    MutexLock lock(mutex_);
    if (live_.size() == live_.capacity()) live_.reserve(2 * live_.size() + 8);  // once it has its name it must be known
  }
  DARUMA_TRY(failpoint("segment publish"));
  DARUMA_TRY(publish_prepared(storage_, directories_[side], segment_name(segment.number)));
  {
    MutexLock lock(mutex_);
    if (live_.empty() || live_.back().number != segment.number) {
      live_.push_back(segment);
      live_.back().sides = 0;
    }
    live_.back().sides |= side_bit(side);
  }
  return failpoint("segment published");
}

Status Segments::give_back(std::size_t side, const LiveSegment& segment) {
  const std::string& directory = directories_[side];
  const std::string path = directory + "/" + segment_name(segment.number);
  bool keep = stands_in(sides_, side) && is_reusable(segment.bytes);
  {
    MutexLock lock(mutex_);
    keep = keep && keep_spares_ && spares_[side].size() < kMaxSpares;
  }
  if (keep) {
    std::string name = std::string(kSparePrefix) + std::to_string(segment.number) + std::string(kTemporarySuffix);
    const Status renamed = storage_.rename(path, directory + "/" + name);
    if (renamed.is(Code::kNotFound)) return {};  // somebody removed it, which gives it back too
    DARUMA_TRY(renamed);
    MutexLock lock(mutex_);
    spares_[side].push_back({std::move(name), segment.bytes});
    return {};
  }
  Status status = storage_.remove(path);
  return status.is(Code::kNotFound) ? Status() : status;
}

/// A segment stays in the list until it is gone from both directories.
Status Segments::retire(const std::vector<std::uint64_t>& numbers) {
  if (numbers.empty()) return {};
  for (std::size_t side = kLogSides; side-- > 0;) {  // the copy first: what a crash leaves over is in wal/
    Status status;
    bool changed = false;
    const std::vector<LiveSegment> live = this->live();
    for (std::size_t i = 0; i < live.size(); ++i) {
      if (!stands_in(live[i].sides, side) || std::find(numbers.begin(), numbers.end(), live[i].number) == numbers.end())
        continue;
      status = give_back(side, live[i]);
      if (!status.ok()) break;  // later ones stay, so that no hole is left in the middle
      changed = true;
      MutexLock lock(mutex_);
      live_[i].sides &= static_cast<LogSides>(~side_bit(side));
    }
    if (changed && status.ok()) status = storage_.sync_directory(directories_[side]);
    MutexLock lock(mutex_);
    trouble_[side] = std::move(status);
  }
  MutexLock lock(mutex_);
  std::erase_if(live_, [](const LiveSegment& segment) { return segment.sides == 0; });
  if (sides_ == kBothSides) return trouble_[0].ok() || trouble_[1].ok() ? Status() : trouble_[0];
  return trouble_[0];
}

Status Segments::retire_below(std::uint64_t sequence) {
  MutexLock files(files_mutex_);
  // A segment ends where the next begins; the newest never ends. Oldest first, so that a crash leaves no hole in the
  // middle.
  std::vector<std::uint64_t> numbers;
  const std::vector<LiveSegment> live = this->live();
  for (std::size_t i = 0; i + 1 < live.size() && live[i + 1].start_sequence <= sequence; ++i)
    numbers.push_back(live[i].number);
  return retire(numbers);
}

Status Segments::retire_superseded() {
  MutexLock files(files_mutex_);
  std::vector<std::uint64_t> numbers;
  const std::vector<LiveSegment> live = this->live();
  for (std::size_t i = live.size(); i-- > 1 && live[i - 1].start_sequence >= live.back().start_sequence;)
    numbers.push_back(live[i - 1].number);
  return retire(numbers);
}

Status Segments::trouble(std::size_t side) const {
  MutexLock lock(mutex_);
  return trouble_[side];
}

std::uint64_t Segments::once_through() const {
  if (sides_ != kBothSides) return 0;
  MutexLock lock(mutex_);
  if (live_.empty() || live_.back().sides != kBothSides) return 0;
  for (std::size_t i = live_.size() - 1; i-- > 0;) {
    if (live_[i].sides != kBothSides) return live_[i + 1].start_sequence - 1;
  }
  return 0;
}

std::size_t Segments::begun_after(std::uint64_t sequence) const {
  MutexLock lock(mutex_);
  return static_cast<std::size_t>(std::count_if(
      live_.begin(), live_.end(), [&](const LiveSegment& segment) { return segment.start_sequence > sequence; }));
}

std::uint64_t Segments::live_bytes() const {
  MutexLock lock(mutex_);
  std::uint64_t bytes = 0;
  for (const LiveSegment& segment : live_) bytes += segment.disk_bytes();
  return bytes;
}

std::vector<LiveSegment> Segments::live() const {
  MutexLock lock(mutex_);
  return live_;
}

}  // namespace daruma
