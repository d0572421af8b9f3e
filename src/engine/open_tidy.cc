// SPDX-License-Identifier: Apache-2.0
//
// What a start does once the store is whole again: the pass "tidy", and the report.
#include <algorithm>
#include <cstdio>

#include "base/status_macros.h"
#include "engine/start.h"
#include "run/run_format.h"
#include "snapshot/retention.h"

namespace daruma {
namespace {

constexpr std::uint64_t kReportsKept = 32;

}  // namespace

/// Removes what means nothing: files of jobs that a crash cut off, generations that were replaced. Only after a start
/// that lost nothing: else a run that no generation names may be the last evidence.
Status Engine::tidy(Start& start) {
  if (!start.report.clean()) return {};
  const std::string snapshots = directory_ + "/" + std::string(kManifestDirectory);
  bool removed = false;
  const auto remove = [&](const std::string& path) {
    removed = true;
    const Status status = storage_->remove(path);
    return status.is(Code::kNotFound) ? Status() : status;  // a publish of this start may have used up the name
  };
  for (const Generation& generation : start.catalogue.generations) {
    if (generation.rejected.ok()) continue;  // its bytes are in quarantine, the next generation is durable
    DARUMA_TRY(remove(snapshots + "/" + generation.name));
  }
  for (const std::string& name : start.catalogue.leftovers) {
    std::string path = snapshots;
    DARUMA_TRY(remove(path.append("/").append(name)));
  }
  if (removed) DARUMA_TRY(storage_->sync_directory(snapshots));

  for (const Manifest& generation : generations_) {
    for (const PlacedRun& placed : generation.runs) on_disk_.emplace(placed.info.number, placed.info);
  }
  const std::string runs = directory_ + "/" + std::string(kRunDirectory);
  removed = false;
  bool unnamed = generations_.size() > kGenerationsKept;
  for (const DirectoryEntry& entry : start.run_files) {
    const std::optional<std::uint64_t> number = run_number(entry.name);
    if (!number) {
      if (!entry.name.ends_with(kTemporarySuffix)) continue;  // not ours
      DARUMA_TRY(remove(runs + "/" + entry.name));
    } else if (!entry.is_directory && !on_disk_.contains(*number)) {
      unnamed = true;
      Result<RunDescription> description = describe_run(*storage_, runs + "/" + entry.name, store_id_, *number);
      RunInfo info;
      info.number = *number;
      on_disk_.emplace(*number, description.ok() ? description->info : info);
    }
  }
  if (removed) DARUMA_TRY(storage_->sync_directory(runs));
  return unnamed ? release() : Status();
}

/// The flight recorder. It cannot stop a start: without space the report is in the caller's hands only.
void Engine::write_report(Start& start) {
  const std::string directory = directory_ + "/recoveries";
  std::uint64_t number = 0;
  std::vector<std::uint64_t> numbers;
  if (Result<std::vector<DirectoryEntry>> names = storage_->list(directory); names.ok()) {
    for (const DirectoryEntry& entry : *names) {
      if (std::sscanf(entry.name.c_str(), "%16lu.json", &number) == 1 && entry.name.ends_with(".json"))
        numbers.push_back(number);
    }
  }
  const auto name = [](std::uint64_t n) {
    char text[32];
    std::snprintf(text, sizeof text, "%016lu.json", n);
    return std::string(text);
  };
  start.report.start_number = numbers.empty() ? 1 : numbers.back() + 1;
  if (!publish(*storage_, directory, name(start.report.start_number), start.report.to_json()).ok()) return;
  for (const std::uint64_t old : numbers) {
    if (old + kReportsKept <= start.report.start_number) (void)storage_->remove(directory + "/" + name(old));
  }
}

}  // namespace daruma
