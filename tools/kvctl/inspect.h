// SPDX-License-Identifier: Apache-2.0
//
// A store's files, looked at without opening the store: what status, verify and the nouns wal, run, snapshot,
// quarantine, damage and report stand on.
//
// What must stay true:
//   - looks-without-touching: nothing here writes, creates, renames or locks out; not one byte, not one mtime.
//   - Anything may stand in the directory: rooms missing, files cut, garbage under every name. That is told as a
//     problem of the file; only a directory that is no store at all is an error.
//   - While another process writes, files come and go: one that is gone when it is opened was retired, not lost.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daruma/playbook.h"
#include "daruma/recovery_report.h"
#include "io/storage.h"
#include "kvctl/command.h"
#include "recovery/damage_map.h"
#include "recovery/log_replay.h"
#include "run/run_reader.h"
#include "snapshot/catalogue.h"
#include "wal/wal_format.h"

namespace daruma::kvctl {

/// What does not verify, or means nothing. Names of `what` and `verdict` are stable.
struct Problem {
  std::string what{};     ///< "manifest", "manifest_copy", "run_data", "frame_payload", or a case of the verdict table
  std::string verdict{};  ///< corrupt, unreadable, unsupported; known (an earlier start accounted for it); torn (never
                          ///< acknowledged)
  std::string file{};     ///< relative to the store
  std::optional<std::uint64_t> offset{};
  std::uint64_t bytes = 0;  ///< 0: not known
  std::string detail{};
};
Json problem_json(const Problem& problem);
std::string problem_text(const Context& context, const Problem& problem);
/// Adds them to both forms of the outcome.
void tell_problems(const Context& context, const std::vector<Problem>& problems, Outcome& outcome);
/// Ok when none is corrupt or unreadable; else kCorruption with the place of the first such. kUnsupported when that is
/// all.
Status corruption(const std::vector<Problem>& problems, const std::string& directory);

/// Bytes shown as offset, hex and text, 16 a line, as hexdump -C does.
std::string hex_dump(std::string_view bytes, std::uint64_t at);
/// "6d1f…", 32 digits.
std::string store_id_text(const StoreId& id);
/// The process that has the store open for writing, asked of the kernel without taking the lock; empty: none.
std::string writer_of(const std::string& directory);

enum class Locking : std::uint8_t {
  kNone,      ///< for what is published whole: manifests, runs, headers, reports
  kIfFree,    ///< keeps writers out while looking; when one is there, looks all the same and says so (`live`)
  kRequired,  ///< else kBusy: what a writer is in the middle of would look damaged
};

struct SegmentFile {
  std::uint64_t number = 0;
  std::vector<std::string> files{};  ///< below the store: in wal/, in wal-copy/, or in both
  std::uint64_t bytes = 0;
  std::optional<SegmentHeader> header{};  ///< from the copy that verifies
  std::vector<Problem> problems{};        ///< of the copies of the header
  Sequence next_start = 0;                ///< first event of the segments behind; 0: the last
  [[nodiscard]] const std::string& file() const { return files.front(); }
  bool needed = true;  ///< a start reads it: not all of it is in the newest snapshot
};

struct RunFile {
  std::uint64_t number = 0;
  std::string name{};
  std::uint64_t bytes = 0;
  bool missing = false;                         ///< named by a generation, not there
  std::optional<RunDescription> description{};  ///< what it says of itself, when it does
  std::vector<Problem> problems{};              ///< of its footers and properties
  std::vector<std::uint64_t> generations{};     ///< that name it
  const PlacedRun* placed = nullptr;            ///< in the newest of those
};

struct ReportFile {
  std::uint64_t number = 0;
  std::string name{};
};

struct IncidentFile {
  Incident incident{};
  std::string state{};  ///< resolved, escalated, going on, interrupted (its process died)
};

class StoreFiles {
 public:
  /// Reads the manifests and the names of everything. Errors: no store there, kBusy.
  static Result<StoreFiles> open(Context& context, Locking locking);

  [[nodiscard]] Storage& storage() const { return *storage_; }
  [[nodiscard]] const std::string& directory() const { return directory_; }
  [[nodiscard]] std::string path(std::string_view relative) const { return directory_ + "/" + std::string(relative); }
  [[nodiscard]] bool live() const { return live_; }
  [[nodiscard]] const std::optional<StoreId>& store() const { return store_; }
  [[nodiscard]] const Catalogue& catalogue() const { return catalogue_; }
  /// Of the newest valid manifest; empty without one.
  [[nodiscard]] const DamageMap& damage() const { return damage_; }
  /// The state that replay begins behind: the newest manifest's, without one what the runs add up to.
  [[nodiscard]] Sequence snapshot_sequence() const { return snapshot_sequence_; }

  /// What stands in a room; nothing when it is not there. A room that cannot be listed is a problem.
  std::vector<DirectoryEntry> list(std::string_view room, std::vector<Problem>& problems) const;
  /// Of manifests: rejected ones, damaged copies, a damage map that does not decode.
  [[nodiscard]] std::vector<Problem> manifest_problems() const;
  std::vector<SegmentFile> segments(std::vector<Problem>& problems) const;
  /// Files and what generations name, by number. Without `describe` nothing is read.
  std::vector<RunFile> runs(bool describe, std::vector<Problem>& problems) const;
  std::vector<ReportFile> reports(std::vector<Problem>& problems) const;
  Result<RecoveryReport> read_report(const ReportFile& file, Json* document = nullptr) const;

  /// The playbooks that were run, oldest first. One that has no outcome is going on if a writer lives that began
  /// before. When it began is what the newest report tells: one that is still writing its own is taken for the one
  /// before it.
  std::vector<IncidentFile> incidents(std::vector<Problem>& problems) const;

  /// `status` as a problem, its place relative to the store.
  [[nodiscard]] Problem problem(std::string what, std::string file, const Status& status) const;

 private:
  std::string directory_;
  std::shared_ptr<Storage> storage_;
  std::unique_ptr<DirectoryLock> lock_;
  bool live_ = false;
  std::optional<StoreId> store_;
  Catalogue catalogue_;
  DamageMap damage_;
  Status damage_status_;
  Sequence snapshot_sequence_ = 0;
};

/// A number of the options that a manifest keeps, "name value" a line.
std::optional<std::uint64_t> option_in(std::string_view options, std::string_view name);

/// What a verification read.
struct VerifiedBytes {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t entries = 0;  ///< of runs
  std::uint64_t frames = 0;   ///< of the log
  std::uint64_t events = 0;
};
/// Footers, properties, index, filter and range erases; deep: every byte. Damage to a run that no generation names has
/// the verdict "unnamed".
void verify_run(const StoreFiles& files, const RunFile& run, bool deep, std::vector<Problem>& problems,
                VerifiedBytes& verified);
/// Of the ledger; deep: of the bytes set aside too.
std::vector<Problem> quarantine_problems(const StoreFiles& files, bool deep, VerifiedBytes* verified = nullptr);
/// Recovery's own reading of the log from the snapshot on; nothing is applied or written.
Result<LogReplay> replay_to_judge(const StoreFiles& files, bool stop_at_loss, Progress& progress);
/// Every frame of every segment and the tail ring, judged as recovery would. Needs the lock.
Status verify_log(const StoreFiles& files, const std::vector<SegmentFile>& segments, Progress& progress,
                  std::vector<Problem>& problems, VerifiedBytes& verified);

}  // namespace daruma::kvctl
