// SPDX-License-Identifier: Apache-2.0
#include "snapshot/catalogue.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/bytes.h"
#include "base/status_macros.h"

namespace daruma {
namespace {

/// Zeros for what cannot be read, which never verify: the other copy may do.
Result<ReadableBytes> read_manifest_file(Storage& storage, const std::string& path, ReadFrom from) {
  DARUMA_TRY_ASSIGN(std::unique_ptr<File> file, open_to_read(storage, path));
  DARUMA_TRY_ASSIGN(const std::uint64_t size, file->size());
  if (size > kManifestFileBytesMax)
    return Status(Code::kCorruption, "manifest is larger than any can be", {.file = path});
  return readable_bytes(*file, size, from);
}

/// The copy of the newest, where snapshots/ has it no more: what can be read there may be of the past
/// (Options::history), from which no log leads over a bulk load, or an older state behind it.
Status take_copy(Storage& storage, const std::string& directory, Catalogue& catalogue) {
  Result<ManifestRead> read = read_manifest_copy(storage, directory, catalogue.store);
  if (is_of_the_process(read.status())) return read.status();
  if (!read.ok()) return {};
  for (const Generation& other : catalogue.generations) {
    if (other.manifest && other.number == read->manifest.number) return {};
  }
  const Manifest* newest = catalogue.newest();
  if (newest && newest->number > read->manifest.number && !is_half_told(read->manifest, *newest)) return {};
  Generation generation;
  generation.number = read->manifest.number;
  generation.name = manifest_name(generation.number);
  generation.damaged = "only " + std::string(kManifestCopyDirectory) + "/" + std::string(kManifestCopy) + " has it";
  generation.manifest = std::move(read->manifest);
  catalogue.store = generation.manifest->store;
  catalogue.highest_number = std::max(catalogue.highest_number, generation.number);
  const auto at = std::find_if(catalogue.generations.begin(), catalogue.generations.end(),
                               [&](const Generation& other) { return other.number <= generation.number; });
  catalogue.generations.insert(at, std::move(generation));
  return {};
}

struct Job {
  std::vector<const RunInfo*> runs;
  bool flush = true;
  Sequence checkpoint = 0;
  [[nodiscard]] bool whole() const {
    std::set<std::uint64_t> indices;
    std::uint64_t count = 0;
    for (const RunInfo* run : runs) {
      if (replaced(*run)) continue;
      if (!indices.insert(run->job_index).second) return false;
      if (run->job_last) count = std::uint64_t{run->job_index} + 1;
    }
    return count == indices.size() && !indices.empty() && *indices.rbegin() + 1 == count;
  }
  /// By one that has taken its seat.
  [[nodiscard]] bool replaced(const RunInfo& old) const {
    return std::any_of(runs.begin(), runs.end(), [&](const RunInfo* run) {
      return run->number > old.number && run->job_index == old.job_index &&
             std::find(run->supersedes.begin(), run->supersedes.end(), old.number) != run->supersedes.end();
    });
  }
};

/// Whether a later job proves that `job`, of which outputs are missing, was once published; rule 2 of the header.
bool settled(std::uint64_t id, const Job& job, const std::vector<const RunInfo*>& runs) {
  return std::any_of(runs.begin(), runs.end(), [&](const RunInfo* later) {
    if (later->job_id <= id) return false;
    if (job.flush) return (later->level == 0 ? later->prev_sequence : later->checkpoint_sequence) >= job.checkpoint;
    return later->level > 0 && later->keyspace == job.runs.front()->keyspace;
  });
}

/// Levels for the runs of one keyspace; false when they do not add up.
bool place(std::vector<PlacedRun>& runs) {
  for (PlacedRun& run : runs) {
    run.level = run.info.level;
    if (run.level != 0) continue;
    // What it lies over is older than a run that is still at level 0, and newer than one that was moved to the bottom.
    // A compaction that took newer runs along, or only some of a load, and merged them with what is older, tells
    // neither.
    bool older = false;
    bool newer = false;
    for (const PlacedRun& other : runs) {
      if (other.info.level == 0 || !overlaps(run.info, other.info)) continue;
      older = older || other.info.min_sequence <= run.info.max_sequence;
      newer = newer || other.info.max_sequence >= run.info.min_sequence;
    }
    if (older && newer) return false;
    if (newer) run.level = kBottomLevel;
  }
  for (const PlacedRun& moved : runs) {
    if (moved.level == moved.info.level) continue;
    for (const PlacedRun& above : runs) {
      if (above.level == 0 && overlaps(moved.info, above.info) && above.info.min_sequence <= moved.info.max_sequence)
        return false;
    }
  }
  return check_placement(runs).ok();
}

void find_gaps(const std::map<std::uint64_t, Job>& jobs, RebuiltState& state) {
  Sequence compacted = 0;
  Sequence loaded = 0;                   // the flush before a load went at least up to here
  std::map<Sequence, Sequence> flushes;  // checkpoint -> the one before it
  for (const auto& [id, job] : jobs) {
    for (const RunInfo* run : job.runs) {
      if (is_loaded(*run))
        loaded = std::max(loaded, run->checkpoint_sequence);
      else if (!job.flush)
        compacted = std::max(compacted, run->checkpoint_sequence);
      else
        flushes[run->checkpoint_sequence] = run->prev_sequence;
    }
  }
  Sequence covered = compacted;
  for (const auto& [checkpoint, before] : flushes) {
    if (before > covered) state.gaps.emplace_back(covered, before);
    covered = std::max(covered, checkpoint);
  }
  if (loaded > covered) state.gaps.emplace_back(covered, loaded);
}

}  // namespace

const Manifest* Catalogue::newest() const {
  for (const Generation& generation : generations) {
    if (generation.manifest) return &*generation.manifest;
  }
  return nullptr;
}

std::size_t Catalogue::unusable_since_newest() const {
  const auto newest = std::find_if(generations.begin(), generations.end(),
                                   [](const Generation& generation) { return generation.manifest.has_value(); });
  return static_cast<std::size_t>(newest - generations.begin());
}

bool is_half_told(const Manifest& state, const Manifest& newest) {
  return newest.previous_number == state.number && newest.sequence < state.sequence &&
         newest.previous_hash == manifest_hash(state);
}

Result<ManifestRead> read_manifest_copy(Storage& storage, const std::string& directory,
                                        const std::optional<StoreId>& store, ReadFrom from) {
  const std::string path = directory + "/" + std::string(kManifestCopyDirectory) + "/" + std::string(kManifestCopy);
  DARUMA_TRY_ASSIGN(const ReadableBytes file, read_manifest_file(storage, path, from));
  return decode_manifest(file.bytes, std::nullopt, store);
}

Result<Generation> read_generation(Storage& storage, const std::string& directory, std::uint64_t number,
                                   const std::optional<StoreId>& store, ReadFrom from) {
  Generation generation;
  generation.number = number;
  generation.name = manifest_name(number);
  const std::string path = directory + "/" + std::string(kManifestDirectory) + "/" + generation.name;
  const Result<ReadableBytes> file = read_manifest_file(storage, path, from);
  if (is_of_the_process(file.status())) return file.status();
  if (!file.ok()) {
    generation.rejected = file.status();
    return generation;
  }
  generation.file_bytes = file->bytes.size();
  const std::string device = file->unreadable.ok() ? "" : " (" + file->unreadable.to_string() + ")";
  if (Result<ManifestRead> read = decode_manifest(file->bytes, number, store); read.ok()) {
    generation.damaged = read->damaged + device;
    generation.manifest = std::move(read->manifest);
  } else {
    const bool refused = !device.empty() && !read.status().is(Code::kUnsupported);
    generation.rejected =
        Status(refused ? Code::kIoError : read.status().code(), read.status().message() + device, {.file = path});
  }
  return generation;
}

Result<Catalogue> read_catalogue(Storage& storage, const std::string& directory, const std::optional<StoreId>& store) {
  Catalogue catalogue;
  catalogue.store = store;
  const std::string folder = directory + "/" + std::string(kManifestDirectory);
  Result<std::vector<DirectoryEntry>> entries = storage.list(folder);
  if (entries.status().is(Code::kNotFound)) entries = std::vector<DirectoryEntry>();
  if (!entries.ok()) return entries.status();
  for (const DirectoryEntry& entry : *entries) {
    const std::optional<std::uint64_t> number = manifest_number(entry.name);
    if (entry.is_directory || !number) {
      (entry.name.ends_with(kTemporarySuffix) ? catalogue.leftovers : catalogue.strangers).push_back(entry.name);
      continue;
    }
    catalogue.highest_number = std::max(catalogue.highest_number, *number);
    DARUMA_TRY_ASSIGN(Generation generation, read_generation(storage, directory, *number, store));
    generation.file_bytes = entry.bytes;
    catalogue.generations.push_back(std::move(generation));
  }
  std::sort(catalogue.generations.begin(), catalogue.generations.end(),
            [](const auto& a, const auto& b) { return a.number > b.number; });

  // Without an identity from elsewhere the generations vote, so that one stray file does not rename the store.
  if (!catalogue.store) {
    std::map<std::pair<std::uint64_t, std::uint64_t>, int> votes;
    int most = 0;
    for (const Generation& g : catalogue.generations) {
      if (g.manifest) most = std::max(most, ++votes[{g.manifest->store.high, g.manifest->store.low}]);
    }
    for (const Generation& g : catalogue.generations) {
      if (!catalogue.store && g.manifest && votes[{g.manifest->store.high, g.manifest->store.low}] == most)
        catalogue.store = g.manifest->store;
    }
    for (Generation& g : catalogue.generations) {
      if (!g.manifest || g.manifest->store == *catalogue.store) continue;
      g.manifest.reset();
      g.rejected = Status(Code::kCorruption, "belongs to another store", {.file = folder + "/" + g.name});
    }
  }
  DARUMA_TRY(take_copy(storage, directory, catalogue));
  for (Generation& g : catalogue.generations) {
    if (!g.manifest || g.manifest->previous_number == 0) continue;
    for (const Generation& before : catalogue.generations) {
      if (before.manifest && before.number == g.manifest->previous_number &&
          manifest_hash(*before.manifest) != g.manifest->previous_hash) {
        g.note = "names a manifest " + std::to_string(before.number) + " with other contents as its predecessor";
      }
    }
  }
  return catalogue;
}

RebuiltState rebuild_from_runs(const std::vector<RunInfo>& all) {
  RebuiltState state;
  std::map<std::uint64_t, Job> jobs;
  std::vector<const RunInfo*> sound;
  std::set<std::uint64_t> numbers;
  for (const RunInfo& run : all) {
    state.next_file_number = std::max(state.next_file_number, run.number + 1);
    state.highest_job = std::max(state.highest_job, run.job_id);
    const auto drop = [&](const char* why) { state.dropped.push_back({run.number, why}); };
    if (!numbers.insert(run.number).second)
      drop("a second run of this number");
    else if (run.level > kBottomLevel)
      drop("says a level that does not exist");
    else if (run.min_sequence > run.max_sequence || run.max_sequence > run.checkpoint_sequence)
      drop("holds events beyond what it says to cover");
    else if (!is_marker(run) && run.smallest_key > run.largest_key)
      drop("has its key bounds the wrong way round");
    else
      sound.push_back(&run);
  }
  for (const RunInfo* run : sound) {
    Job& job = jobs[run->job_id];
    job.runs.push_back(run);
    job.flush = run->level == 0 && !is_loaded(*run);
    job.checkpoint = std::max(job.checkpoint, run->checkpoint_sequence);
  }
  std::erase_if(jobs, [&](const auto& entry) {
    const auto& [id, job] = entry;
    if (job.whole() || settled(id, job, sound)) return false;
    for (const RunInfo* run : job.runs)
      state.dropped.push_back({run->number, "output of job " + std::to_string(id) + ", which did not complete"});
    return true;
  });

  std::map<std::uint64_t, std::uint64_t> superseded_by;
  for (const auto& [id, job] : jobs) {
    for (const RunInfo* run : job.runs) {
      state.sequence = std::max(state.sequence, run->checkpoint_sequence);
      for (const std::uint64_t old : run->supersedes) {
        if (old < run->number) superseded_by[old] = run->number;  // a run cannot supersede what came after it
      }
    }
  }
  find_gaps(jobs, state);
  std::map<std::uint32_t, std::vector<PlacedRun>> keyspaces;
  for (const auto& [id, job] : jobs) {
    for (const RunInfo* run : job.runs) {
      if (auto by = superseded_by.find(run->number); by != superseded_by.end()) {
        state.dropped.push_back({run->number, "superseded by run " + std::to_string(by->second)});
      } else {
        keyspaces[run->keyspace].push_back({*run, 0});
      }
    }
  }
  for (auto& [keyspace, runs] : keyspaces) {
    if (!place(runs)) {
      for (PlacedRun& run : runs) run.level = 0;
      state.flattened.push_back(keyspace);
    }
    state.runs.insert(state.runs.end(), runs.begin(), runs.end());
  }
  std::sort(state.runs.begin(), state.runs.end(),
            [](const PlacedRun& a, const PlacedRun& b) { return a.info.number < b.info.number; });
  return state;
}

}  // namespace daruma
