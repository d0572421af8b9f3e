// SPDX-License-Identifier: Apache-2.0
#include "wal/segments.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/status_macros.h"
#include "wal/tail_format.h"
#include "wal/wal_format.h"

namespace daruma {
namespace {
constexpr std::string_view kSparePrefix = "spare-";
}  // namespace

Status Segments::tidy() {
  MutexLock lock(mutex_);
  DARUMA_TRY_ASSIGN(std::vector<DirectoryEntry> entries, storage_.list(directory_));
  for (const DirectoryEntry& entry : entries) {
    if (!entry.name.ends_with(kTemporarySuffix) || entry.is_directory) continue;
    const std::string_view stem = std::string_view(entry.name).substr(0, entry.name.size() - kTemporarySuffix.size());
    const bool spare = entry.name.starts_with(kSparePrefix);
    // A power cut during a retirement may leave both names on one file: then it is a segment still.
    const bool lives = spare && std::any_of(live_.begin(), live_.end(), [&](const LiveSegment& segment) {
                         return stem == std::string(kSparePrefix) + std::to_string(segment.number);
                       });
    if (spare && !lives && spares_.size() < kMaxSpares && entry.bytes > kSegmentFramesAt &&
        entry.bytes % kSectorBytes == 0) {
      spares_.push_back({entry.name, entry.bytes});
    } else if (spare || parse_segment_name(stem)) {
      DARUMA_TRY(storage_.remove(directory_ + "/" + entry.name));
    }
  }
  return {};
}

Status Segments::remove_rings_but(const std::string& name) {
  MutexLock lock(mutex_);
  DARUMA_TRY_ASSIGN(std::vector<DirectoryEntry> entries, storage_.list(directory_));
  for (const DirectoryEntry& entry : entries) {
    if (parse_tail_name(entry.name) && entry.name != name) DARUMA_TRY(storage_.remove(directory_ + "/" + entry.name));
  }
  return {};
}

Result<Segments::Prepared> Segments::prepare(std::uint64_t number, std::uint64_t bytes) {
  MutexLock lock(mutex_);
  const std::string path = directory_ + "/" + segment_name(number) + std::string(kTemporarySuffix);
  Prepared out;
  for (;;) {
    const auto spare = std::find_if(spares_.begin(), spares_.end(), [&](const Spare& s) { return s.bytes >= bytes; });
    if (spare == spares_.end()) break;
    const Spare taken = std::move(*spare);
    spares_.erase(spare);  // given up when anything below fails: the next start finds it again
    const Status renamed = storage_.rename(directory_ + "/" + taken.name, path);
    if (renamed.is(Code::kNotFound)) continue;  // somebody removed it
    DARUMA_TRY(renamed);
    DARUMA_TRY(storage_.sync_directory(directory_));
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

void Segments::discard(std::uint64_t number) {
  MutexLock lock(mutex_);
  // Best effort: it holds nothing that was acknowledged, and the next start removes it.
  const std::string path = directory_ + "/" + segment_name(number);
  (void)storage_.remove(path + std::string(kTemporarySuffix));
  (void)storage_.remove(path);
}

Status Segments::publish(const LiveSegment& segment) {
  MutexLock lock(mutex_);
  if (live_.size() == live_.capacity()) live_.reserve(2 * live_.size() + 8);  // once it has its name it must be known
  DARUMA_TRY(publish_prepared(storage_, directory_, segment_name(segment.number)));
  live_.push_back(segment);
  return {};
}

Status Segments::give_back(const LiveSegment& segment) {
  const std::string path = directory_ + "/" + segment_name(segment.number);
  if (spares_.size() < kMaxSpares && segment.bytes > kSegmentFramesAt && segment.bytes % kSectorBytes == 0) {
    std::string name = std::string(kSparePrefix) + std::to_string(segment.number) + std::string(kTemporarySuffix);
    const Status renamed = storage_.rename(path, directory_ + "/" + name);
    if (renamed.is(Code::kNotFound)) return {};  // somebody removed it, which gives it back too
    DARUMA_TRY(renamed);
    spares_.push_back({std::move(name), segment.bytes});
    return {};
  }
  Status status = storage_.remove(path);
  return status.is(Code::kNotFound) ? Status() : status;
}

Status Segments::retire_below(std::uint64_t sequence) {
  MutexLock lock(mutex_);
  bool changed = false;
  // A segment ends where the next begins; the newest never ends. Oldest first, so that a crash leaves no hole in the
  // middle.
  while (live_.size() >= 2 && live_[1].start_sequence <= sequence) {
    DARUMA_TRY(give_back(live_.front()));
    live_.erase(live_.begin());
    changed = true;
  }
  return changed ? storage_.sync_directory(directory_) : Status();
}

Status Segments::retire_superseded() {
  MutexLock lock(mutex_);
  bool changed = false;
  while (live_.size() >= 2 && live_[live_.size() - 2].start_sequence >= live_.back().start_sequence) {
    DARUMA_TRY(give_back(live_[live_.size() - 2]));
    live_.erase(live_.end() - 2);
    changed = true;
  }
  return changed ? storage_.sync_directory(directory_) : Status();
}

std::size_t Segments::begun_after(std::uint64_t sequence) const {
  MutexLock lock(mutex_);
  return static_cast<std::size_t>(std::count_if(
      live_.begin(), live_.end(), [&](const LiveSegment& segment) { return segment.start_sequence > sequence; }));
}

std::uint64_t Segments::live_bytes() const {
  MutexLock lock(mutex_);
  std::uint64_t bytes = 0;
  for (const LiveSegment& segment : live_) bytes += segment.bytes;
  return bytes;
}

std::vector<LiveSegment> Segments::live() const {
  MutexLock lock(mutex_);
  return live_;
}

}  // namespace daruma
