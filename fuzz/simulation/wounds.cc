// SPDX-License-Identifier: Apache-2.0
#include "simulation/wounds.h"

#include <algorithm>
#include <array>

#include "base/bytes.h"
#include "snapshot/manifest.h"
#include "wal/segments.h"

namespace daruma::simulation {
namespace {

using Kind = Wound::Kind;
constexpr std::uint64_t kBurstBytes = 64 << 10;
constexpr std::uint64_t kFileBytesMax = 64 << 20;

struct Place {
  std::string path;
  Room room = Room::kOther;
};

Room room_of(std::string_view directory, std::string_view name) {
  if (directory == "runs" && name.ends_with(".run")) return Room::kRuns;
  if (directory == "snapshots" && name.ends_with(".snap")) return Room::kSnapshots;
  const bool log = directory == kLogDirectories[0] || directory == kLogDirectories[1];
  if (log && name.ends_with(".log")) return Room::kLog;
  if (log && name.starts_with("tail")) return Room::kRing;
  return Room::kOther;
}

/// A power cut can leave both names of a rename on one file: what hurts it under the old one hurts it.
bool named_twice(SimStorage& disk, const std::string& path) {
  if (!path.ends_with(kTemporarySuffix)) return false;
  const Result<std::string> named =
      read_whole(disk, path.substr(0, path.size() - kTemporarySuffix.size()), kFileBytesMax);
  const Result<std::string> temporary = read_whole(disk, path, kFileBytesMax);
  return named.ok() && temporary.ok() && *named == *temporary;
}

/// Each file once.
std::vector<Place> files_of(SimStorage& disk) {
  std::vector<Place> files;
  for (const char* directory : {"wal", "wal-copy", "runs", "snapshots", "quarantine", "recoveries"}) {
    const std::string path = std::string(kStore) + "/" + directory;
    const Result<std::vector<DirectoryEntry>> entries = disk.list(path);
    if (!entries.ok()) continue;
    for (const DirectoryEntry& entry : *entries) {
      if (entry.is_directory || named_twice(disk, path + "/" + entry.name)) continue;
      files.push_back({path + "/" + entry.name, room_of(directory, entry.name)});
    }
  }
  return files;
}

/// Their numbers, rising.
std::vector<std::uint64_t> manifests_of(SimStorage& disk) {
  std::vector<std::uint64_t> numbers;
  const Result<std::vector<DirectoryEntry>> entries = disk.list(std::string(kStore) + "/snapshots");
  if (!entries.ok()) return numbers;
  for (const DirectoryEntry& entry : *entries) {
    if (const std::optional<std::uint64_t> number = manifest_number(entry.name)) numbers.push_back(*number);
  }
  return numbers;
}

std::string noise(std::uint64_t bytes, Random& random) {
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>(random.next());
  return text;
}

/// Bytes as a read gives them; nothing where it gives an error.
std::optional<std::string> read_at(SimStorage& disk, const std::string& path, std::uint64_t offset,
                                   std::uint64_t bytes) {
  const Result<std::unique_ptr<File>> file = disk.open(path, OpenMode::kRead);
  if (!file.ok()) return std::nullopt;
  std::string text(bytes, '\0');
  const Result<std::size_t> got = (*file)->read(offset, text);
  if (!got.ok()) return std::nullopt;
  text.resize(*got);
  return text;
}

std::uint64_t size_of(SimStorage& disk, const std::string& path) {
  const Result<std::unique_ptr<File>> file = disk.open(path, OpenMode::kRead);
  if (!file.ok()) return 0;
  const Result<std::uint64_t> size = (*file)->size();
  return size.ok() ? *size : 0;
}

/// Where the file now differs from what it was; nothing where it does not.
std::optional<std::uint64_t> draw_changed_sector(SimStorage& disk, SimStorage& older, const std::string& path,
                                                 Random& random) {
  const Result<std::string> then = read_whole(older, path, kFileBytesMax);
  const Result<std::string> now = read_whole(disk, path, kFileBytesMax);
  if (!then.ok() || !now.ok()) return std::nullopt;
  std::vector<std::uint64_t> changed;
  for (std::uint64_t at = 0; at < std::min(then->size(), now->size()); at += kSectorBytes) {
    if (then->compare(at, kSectorBytes, *now, at, kSectorBytes) != 0) changed.push_back(at);
  }
  if (changed.empty()) return std::nullopt;
  return changed[random.below(changed.size())];
}

bool all_zero(std::string_view bytes) { return bytes.find_first_not_of('\0') == std::string_view::npos; }

/// A sector of the file, mostly one that holds something.
std::uint64_t draw_sector(SimStorage& disk, const std::string& path, std::uint64_t size, Random& random) {
  const std::uint64_t sectors = round_up(size, kSectorBytes) / kSectorBytes;
  std::uint64_t offset = random.below(sectors) * kSectorBytes;
  for (int tries = 0; tries < 12; ++tries) {
    const std::optional<std::string> held = read_at(disk, path, offset, kSectorBytes);
    if (held && !all_zero(*held)) break;
    // Files fill up from the front.
    offset = random.below(std::max<std::uint64_t>(1, sectors >> random.below(6))) * kSectorBytes;
  }
  return offset;
}

void write_file(SimStorage& disk, const std::string& path, std::string_view bytes) {
  if (!disk.truncate(path, bytes.size()).ok()) return;
  static_cast<void>(disk.overwrite(path, 0, bytes));
}

}  // namespace

std::string_view name(Kind kind) {
  constexpr std::string_view kNames[] = {"flipped", "zeroed",     "noise",     "misdirected", "repeated",
                                         "stale",   "unreadable", "burst",     "lost",        "emptied",
                                         "cut",     "older",      "exchanged", "stranger"};
  static_assert(std::size(kNames) == kWoundKinds);
  return kNames[static_cast<std::size_t>(kind)];
}

std::optional<Kind> Wounds::inflict(SimStorage& disk, std::uint64_t salt, bool running, std::string& how) {
  Random random(salt);
  const std::vector<Place> files = files_of(disk);
  if (files.empty() || !(faults_ & (kMedia | kFiles))) return std::nullopt;
  // Rooms first: else the many segments would take nearly all.
  const Room room = static_cast<Room>(random.below(5));
  std::vector<const Place*> there;
  for (const Place& file : files) {
    if (file.room == room) there.push_back(&file);
  }
  if (there.empty() || (running && (room == Room::kRing || room == Room::kOther))) return std::nullopt;
  const Place& place = *there[random.below(there.size())];
  const bool whole_files = (faults_ & kFiles) && (!(faults_ & kMedia) || random.one_in(4));
  std::optional<Wound> wound =
      whole_files ? wound_file(disk, place.path, running, random) : wound_sector(disk, place.path, random);
  if (!wound) return std::nullopt;
  wound->path = place.path;
  wound->room = place.room;
  how = std::string(name(wound->kind)) + " " + place.path + " at " + std::to_string(wound->offset);
  for (Wound& before : open_) {  // hurt once more, it is no less hurt
    if (before.path != wound->path || before.left.empty()) continue;
    if (const auto now = read_at(disk, before.path, before.offset, before.left.size())) before.left = *now;
  }
  since_whole_.push_back(*wound);
  if (wound->kind != Kind::kStranger) open_.push_back(*wound);
  return wound->kind;
}

std::optional<Wound> Wounds::wound_sector(SimStorage& disk, const std::string& path, Random& random) {
  const std::uint64_t size = size_of(disk, path);
  if (size == 0) return std::nullopt;
  Wound wound;
  wound.kind = static_cast<Kind>(random.below(8));
  wound.offset = draw_sector(disk, path, size, random);
  if (wound.kind == Kind::kStale) {
    const std::optional<std::uint64_t> changed =
        older_ ? draw_changed_sector(disk, *older_, path, random) : std::nullopt;
    if (!changed) return std::nullopt;
    wound.offset = *changed;
  }
  const std::uint64_t most = wound.kind == Kind::kBurst ? kBurstBytes : kSectorBytes;
  const std::uint64_t bytes = std::min(most, size - wound.offset);
  const std::optional<std::string> before = read_at(disk, path, wound.offset, bytes);
  if (!before) return std::nullopt;
  std::optional<std::string> after;
  switch (wound.kind) {
    case Kind::kFlipped:
      after = before;
      (*after)[random.below(bytes)] ^= static_cast<char>(1U << random.below(8));
      break;
    case Kind::kZeroed: after = std::string(bytes, '\0'); break;
    case Kind::kMisdirected: {
      const std::vector<Place> others = files_of(disk);
      const std::string& other = others[random.below(others.size())].path;
      const std::uint64_t other_size = size_of(disk, other);
      if (other != path && other_size > 0)
        after = read_at(disk, other, draw_sector(disk, other, other_size, random), bytes);
      break;
    }
    case Kind::kRepeated: after = read_at(disk, path, draw_sector(disk, path, size, random), bytes); break;
    case Kind::kStale: after = read_at(*older_, path, wound.offset, bytes); break;
    case Kind::kUnreadable:
      // The simulated disk has sectors of its own size: all of this one go.
      for (std::uint64_t at = 0; at < bytes; at += 512) static_cast<void>(disk.lose_sector(path, wound.offset + at));
      return wound;
    default: after = noise(bytes, random); break;
  }
  if (!after || after->size() != bytes || *after == *before) return std::nullopt;
  if (!disk.overwrite(path, wound.offset, *after).ok()) return std::nullopt;
  wound.left = std::move(*after);
  return wound;
}

std::optional<Wound> Wounds::wound_file(SimStorage& disk, const std::string& path, bool running, Random& random) {
  Wound wound;
  wound.kind = static_cast<Kind>(static_cast<std::uint64_t>(Kind::kLost) + random.below(6));
  const std::string directory = path.substr(0, path.find_last_of('/'));
  const std::uint64_t size = size_of(disk, path);
  if (const Result<std::string> whole = read_whole(disk, path, kFileBytesMax); whole.ok()) wound.before = *whole;
  switch (wound.kind) {
    case Kind::kLost:
      if (const std::vector<std::uint64_t> manifests = manifests_of(disk); !manifests.empty())
        wound.manifest = manifests.back();
      if (!disk.remove(path).ok()) return std::nullopt;
      static_cast<void>(
          disk.sync_directory(directory));  // a fault that is still to fire may refuse it: lost all the same
      break;
    case Kind::kEmptied:
      if (size == 0 || !disk.truncate(path, 0).ok()) return std::nullopt;
      break;
    case Kind::kCut:
      if (size < 2) return std::nullopt;
      wound.offset = random.below(size);
      if (!disk.truncate(path, wound.offset).ok()) return std::nullopt;
      break;
    case Kind::kOlder: {
      if (!older_) return std::nullopt;
      const Result<std::string> then = read_whole(*older_, path, kFileBytesMax);
      const Result<std::string> now = read_whole(disk, path, kFileBytesMax);
      if (!then.ok() || !now.ok() || *then == *now) return std::nullopt;
      write_file(disk, path, *then);
      wound.left = *then;
      break;
    }
    case Kind::kExchanged: {
      std::vector<std::string> others;
      for (const Place& other : files_of(disk)) {
        const bool memory = running && other.room == Room::kRing;  // mapped
        if (!memory && other.path != path && other.path.starts_with(directory + "/")) others.push_back(other.path);
      }
      if (others.empty()) return std::nullopt;
      const std::string& other = others[random.below(others.size())];
      const Result<std::string> here = read_whole(disk, path, kFileBytesMax);
      const Result<std::string> there = read_whole(disk, other, kFileBytesMax);
      if (!here.ok() || !there.ok() || *here == *there) return std::nullopt;
      write_file(disk, path, *there);
      write_file(disk, other, *here);
      wound.left = *there;
      Wound second = wound;
      second.path = other;
      second.left = *here;
      second.before = *there;
      second.room = room_of(directory.substr(directory.find('/') + 1), other.substr(other.find_last_of('/') + 1));
      open_.push_back(second);
      since_whole_.push_back(second);
      break;
    }
    default: {
      const std::string stranger = directory + "/" + (random.one_in(2) ? "notes.txt" : "0000000000009999.tmp");
      const Result<std::unique_ptr<File>> file = disk.open(stranger, OpenMode::kCreate);
      if (!file.ok() || !(*file)->write(0, noise(random.below(9000), random)).ok()) return std::nullopt;
      break;
    }
  }
  return wound;
}

/// A file hurt as a whole may have been written to since: what it lost is missing all the same.
bool Wounds::stands(SimStorage& disk, const Wound& wound) {
  const Result<std::string> now = read_whole(disk, wound.path, kFileBytesMax);
  if (!now.ok()) return true;  // a sector of it cannot be read
  const std::string& before = wound.before;
  for (std::size_t at = 0; at < before.size(); at += kSectorBytes) {
    const std::string_view was = std::string_view(before).substr(at, kSectorBytes);
    const auto in = [&](std::string_view file) { return file.substr(std::min(at, file.size()), was.size()); };
    const bool lost = wound.left.empty() ? at + was.size() > wound.offset && in(*now) != was
                                         : in(wound.left) != was && in(*now) == in(wound.left);
    if (lost) return true;
  }
  return false;
}

void Wounds::look_again(SimStorage& disk) {
  const std::vector<std::uint64_t> manifests = manifests_of(disk);
  std::erase_if(open_, [&](const Wound& wound) {
    if (wound.kind == Kind::kLost) {
      const bool evidence = wound.path.starts_with(std::string(kStore) + "/quarantine/");  // nothing replaces it
      return !evidence && !manifests.empty() && manifests.front() > wound.manifest;
    }
    if (!disk.open(wound.path, OpenMode::kRead).ok()) return true;
    if (wound.room != Room::kOther && !wound.one_sector() && wound.kind != Kind::kBurst) return !stands(disk, wound);
    if (wound.kind == Kind::kEmptied || wound.kind == Kind::kCut) return size_of(disk, wound.path) != wound.offset;
    const std::uint64_t bytes = wound.kind == Kind::kUnreadable ? kSectorBytes : wound.left.size();
    const std::optional<std::string> now = read_at(disk, wound.path, wound.offset, bytes);
    return now && (wound.kind == Kind::kUnreadable || *now != wound.left);
  });
}

bool Wounds::in(Room room) const {
  return std::any_of(open_.begin(), open_.end(), [&](const Wound& wound) { return wound.room == room; });
}

bool Wounds::in(Room room, Kind kind) const {
  return std::any_of(open_.begin(), open_.end(),
                     [&](const Wound& wound) { return wound.room == room && wound.kind == kind; });
}

bool Wounds::more_than_a_sector_in(Room room) const {
  std::size_t sectors = 0;
  for (const Wound& wound : open_) sectors += wound.room == room ? (wound.one_sector() ? 1 : 2) : 0;
  return sectors > 1;
}

/// A log file that two others follow is whole: a tear can be in one of them alone. Of a file that is not what it was,
/// or not there, nobody knows what it was followed by.
std::size_t Wounds::sectors_where_the_log_may_end(SimStorage& disk) const {
  std::size_t sectors = 0;
  for (const Wound& wound : open_) {
    if (wound.room != Room::kLog) continue;
    std::size_t behind = 0;
    if (wound.one_sector() || wound.kind == Kind::kBurst) {
      for (const Place& file : files_of(disk)) {
        const std::string_view directory(wound.path.data(), wound.path.find_last_of('/') + 1);
        behind += file.room == Room::kLog && file.path.starts_with(directory) && file.path > wound.path;
      }
    }
    if (behind < 2) sectors += wound.one_sector() ? 1 : 2;
  }
  return sectors;
}

bool Wounds::harmless(bool two_logs) const {
  std::array<std::size_t, 3> faults{};  // of the log, runs and snapshots, which make up for their own
  std::string log;                      // directory that may be hurt in any way
  for (const Wound& wound : since_whole_) {
    if (wound.kind == Kind::kStranger || wound.room == Room::kOther) continue;
    const std::string directory = wound.path.substr(0, wound.path.find_last_of('/'));
    const bool of_the_log = wound.room == Room::kLog || wound.room == Room::kRing;
    if (two_logs && log.empty() && of_the_log) log = directory;
    if (directory == log) continue;
    const bool burst_in_a_run = wound.room == Room::kRuns && wound.kind == Kind::kBurst;
    const bool manifest_gone = wound.room == Room::kSnapshots &&
                               (wound.kind == Kind::kLost || wound.kind == Kind::kCut || wound.kind == Kind::kEmptied);
    if (!wound.one_sector() && !burst_in_a_run && !manifest_gone) return false;
    if (++faults[of_the_log ? 0 : wound.room == Room::kRuns ? 1 : 2] > 1) return false;
  }
  return true;
}

}  // namespace daruma::simulation
