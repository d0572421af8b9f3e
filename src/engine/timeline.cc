// SPDX-License-Identifier: Apache-2.0
#include "engine/timeline.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "io/posix_storage.h"
#include "run/run_format.h"
#include "snapshot/catalogue.h"
#include "snapshot/retention.h"
#include "wal/segments.h"
#include "wal/wal_reader.h"

namespace daruma {
namespace {

Result<std::vector<DirectoryEntry>> list_room(Storage& storage, const std::string& directory, std::string_view room) {
  Result<std::vector<DirectoryEntry>> entries = storage.list(directory + "/" + std::string(room));
  if (entries.status().is(Code::kNotFound)) return std::vector<DirectoryEntry>();
  return entries;
}

Status add_snapshots(Storage& storage, const std::string& directory, const Catalogue& catalogue, Timeline& out) {
  std::set<std::uint64_t> there;
  DARUMA_TRY_ASSIGN(const std::vector<DirectoryEntry> runs, list_room(storage, directory, kRunDirectory));
  for (const DirectoryEntry& entry : runs) {
    if (const std::optional<std::uint64_t> number = run_number(entry.name)) there.insert(*number);
  }
  for (const Generation& generation : catalogue.generations) {
    Timeline::Snapshot snapshot;
    snapshot.number = generation.number;
    snapshot.file = std::string(kManifestDirectory) + "/" + generation.name;
    snapshot.status = generation.rejected;
    if (generation.manifest) {
      snapshot.sequence = generation.manifest->sequence;
      snapshot.wall_ns = generation.manifest->created_wall_ns;
      for (const PlacedRun& run : generation.manifest->runs) {
        ++snapshot.runs;
        snapshot.run_bytes += run.info.file_bytes;
        if (!there.contains(run.info.number) && snapshot.status.ok()) {
          snapshot.status = {Code::kNotFound,
                             "a run of this snapshot is missing",
                             {.file = directory + "/" + std::string(kRunDirectory) + "/" + run_name(run.info.number)}};
        }
      }
    }
    out.snapshots.push_back(std::move(snapshot));
  }
  std::reverse(out.snapshots.begin(), out.snapshots.end());  // oldest first
  return {};
}

/// Where one begins, the one before it ends: of what both hold, the later has it anew.
Status add_log(Storage& storage, const std::string& directory, const Catalogue& catalogue, Timeline& out) {
  std::map<std::uint64_t, std::pair<LogSides, std::uint64_t>> found;  // and bytes
  for (std::size_t side = 0; side < kLogSides; ++side) {
    DARUMA_TRY_ASSIGN(const std::vector<DirectoryEntry> names, list_room(storage, directory, kLogDirectories[side]));
    for (const DirectoryEntry& entry : names) {
      const std::optional<std::uint64_t> number = parse_segment_name(entry.name);
      if (!number || entry.is_directory) continue;
      auto& [sides, bytes] = found[*number];
      sides |= side_bit(side);
      bytes += entry.bytes;
    }
  }
  for (const auto& [number, where] : found) {
    const SegmentFiles files = segment_files(number, where.first);
    SegmentFiles paths = files;
    for (std::string& path : paths) path.insert(0, directory + "/");
    const bool newest = number == found.rbegin()->first;
    std::int64_t last_ns = 0;
    const Enough header_only{.sequence = 1, .superseded = true};
    const SegmentScan scan = read_segment(
        storage, paths, catalogue.store, [&](const FrameView& frame) { last_ns = frame.header.wall_ns; },
        newest ? Enough() : header_only);
    if (is_of_the_process(scan.status)) return scan.status;
    Timeline::LogFile file;
    file.file = files.front();
    file.bytes = where.second;
    file.status = scan.status;
    if (scan.header) {
      file.first_sequence = scan.header->start_sequence;
      file.last_sequence = newest ? scan.last_good_sequence : 0;
      file.wall_ns = scan.header->wall_ns;
      out.latest_wall_ns = std::max(file.wall_ns, last_ns);
      for (auto before = out.log.rbegin(); before != out.log.rend() && before->last_sequence == 0; ++before) {
        if (before->status.ok()) before->last_sequence = file.first_sequence - 1;
      }
    }
    out.log.push_back(std::move(file));
  }
  return {};
}

}  // namespace

Result<Timeline> timeline_of(Storage& storage, const std::string& directory) {
  Timeline out;
  DARUMA_TRY_ASSIGN(const std::vector<DirectoryEntry> rooms, storage.list(directory));
  const bool is_store = std::any_of(rooms.begin(), rooms.end(), [](const DirectoryEntry& room) {
    return room.name == kLogDirectories[0] || room.name == kLogDirectories[1] || room.name == kManifestDirectory;
  });
  if (!is_store) return Status(Code::kNotFound, "there is no store here", {.file = directory});
  DARUMA_TRY_ASSIGN(const Catalogue catalogue, read_catalogue(storage, directory, std::nullopt));
  DARUMA_TRY(add_snapshots(storage, directory, catalogue, out));
  DARUMA_TRY(add_log(storage, directory, catalogue, out));

  for (const Timeline::Snapshot& snapshot : out.snapshots) {
    if (!snapshot.status.ok() || snapshot.sequence < out.latest) continue;
    out.latest = snapshot.sequence;
    if (out.log.empty()) out.latest_wall_ns = snapshot.wall_ns;
  }
  // The log leads on from the file behind the last that cannot be read.
  const auto hole =
      std::find_if(out.log.rbegin(), out.log.rend(), [](const Timeline::LogFile& file) { return !file.status.ok(); });
  out.earliest = out.latest;
  out.earliest_wall_ns = out.latest_wall_ns;
  if (hole.base() == out.log.end()) return out;
  out.latest = std::max(out.latest, out.log.back().last_sequence);
  out.earliest = out.latest;
  const Timeline::LogFile& first = *hole.base();
  if (first.first_sequence == 1) {
    out.earliest = 0;
    out.earliest_wall_ns = first.wall_ns;
    return out;
  }
  for (const Timeline::Snapshot& snapshot : out.snapshots) {
    if (!snapshot.status.ok() || snapshot.sequence + 1 < first.first_sequence || snapshot.sequence > out.earliest)
      continue;
    out.earliest = snapshot.sequence;
    out.earliest_wall_ns = snapshot.wall_ns;
    break;
  }
  return out;
}

Result<Timeline> read_timeline(const std::string& directory) {
  return or_out_of_memory([&] { return timeline_of(*make_posix_storage({}), directory); });
}

}  // namespace daruma
