// SPDX-License-Identifier: Apache-2.0
//
// Finding the state to start from: the snapshots directory, and, when no manifest is left, the runs themselves.
//
// Why the runs alone suffice (what their writers must keep):
//   1. A job (a flush or a bulk load: level 0; a compaction: deeper) writes at least one run, a marker if nothing was
//      left. Its runs carry the job id, their index, `job_last` on the last one, all that the job supersedes, and the
//      coverage: a flush its checkpoint sequence and the one before (`prev_sequence`), a compaction the sequence of the
//      snapshot that it started from, a load nothing: both are the number of its records, which a flush before it
//      covers.
//   2. A job starts only after the one before it of its kind (flushes; compactions and loads of one keyspace) is
//      settled: its snapshot is published, or its leftovers are removed and the removal is synced; so are those of the
//      life before. Job ids grow.
//   3. Removing follows retention.h: nothing superseded outlives all that supersedes it.
//   4. A run that was damaged beyond parity is replaced by one that takes its seat: same job, index, level and
//   coverage, and it supersedes the damaged one. While both are there, the job has one output twice.
// Hence a job with an output missing is either whole but partly superseded since, which a later job of its kind, or
// coverage beyond it, proves; or it was cut off by a crash (or hurt before anything relied on it), and what it would
// have replaced still stands.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "io/readable_bytes.h"
#include "snapshot/manifest.h"

namespace daruma {

struct Generation {
  std::uint64_t number = 0;
  std::string name{};  ///< in snapshots/
  std::uint64_t file_bytes = 0;
  Status rejected{};                   ///< ok: valid. Else why it cannot be used
  std::string damaged{};               ///< valid, but one copy is not: why
  std::string note{};                  ///< valid, but its predecessor is not the one that it names
  std::optional<Manifest> manifest{};  ///< when valid
};

struct Catalogue {
  std::optional<StoreId> store;         ///< as given, else what most valid generations say
  std::vector<Generation> generations;  ///< newest first; the first valid one wins
  std::uint64_t highest_number = 0;     ///< seen in any name; the next manifest must be numbered above
  std::vector<std::string> leftovers;   ///< *.tmp of a publish that a crash cut off: mean nothing
  std::vector<std::string> strangers;   ///< names that are not ours; left alone
  /// The newest valid generation; null when there is none.
  [[nodiscard]] const Manifest* newest() const;
  /// So many that are newer than that one are there and cannot be used.
  [[nodiscard]] std::size_t unusable_since_newest() const;
};

/// Reads `directory`/snapshots, and the copy in recoveries/ where that is newer; changes nothing. A missing
/// directory is an empty catalogue; an unreadable file is a rejected generation, not an error. An unreadable sector
/// costs only the copy it is in. Errors: kIoError when the directory cannot be listed.
Result<Catalogue> read_catalogue(Storage& storage, const std::string& directory, const std::optional<StoreId>& store);

/// The one of this number in snapshots/. Errors: of the process.
Result<Generation> read_generation(Storage& storage, const std::string& directory, std::uint64_t number,
                                   const std::optional<StoreId>& store, ReadFrom from = ReadFrom::kCache);

/// What recoveries/ has of the newest manifest. Errors: kNotFound, kIoError, and those of `decode_manifest`.
Result<ManifestRead> read_manifest_copy(Storage& storage, const std::string& directory,
                                        const std::optional<StoreId>& store, ReadFrom from = ReadFrom::kCache);

/// `newest` was published behind `state`, and is of an older state: by a start that gave what it found damaged to the
/// older of two states and died before the newer had it. Sequences alone do not tell: `state` may be one that the
/// device refused when what `newest` follows was made.
bool is_half_told(const Manifest& state, const Manifest& newest);

struct DroppedRun {
  std::uint64_t number = 0;
  std::string reason;
};

struct RebuiltState {
  Sequence sequence = 0;  ///< S: replay the log from here on
  std::vector<PlacedRun> runs;
  std::uint64_t next_file_number = 1;
  std::uint64_t highest_job = 0;
  std::vector<DroppedRun> dropped;  ///< not part of the state, and why
  /// (after, through]: events whose flush left no run and no successor. Their effects may be missing; the caller
  /// replays them from the log or reports them lost.
  std::vector<std::pair<Sequence, Sequence>> gaps;
  std::vector<std::uint32_t>
      flattened;  ///< keyspaces whose levels did not add up: all their runs stand at level 0, which is always right
};

/// The state that complete jobs left behind. `runs`: every run whose RunInfo verifies, in any order. Never fails: what
/// does not fit is dropped with its reason.
RebuiltState rebuild_from_runs(const std::vector<RunInfo>& runs);

}  // namespace daruma
