// SPDX-License-Identifier: Apache-2.0
//
// verify: is the store as it was written? Each place that is not gets a line with its file and offset.
//
//   shallow   manifests (both copies), headers of segments, footers, properties, indices, filters and range erases of
//             runs, the quarantine's ledger, the reports, the incidents
//   --deep    every byte of runs and of what was set aside, every frame of the log judged as recovery would, the ring
//
// What must stay true: what a crash leaves (a torn tail, temporary files, superseded frames) is no corruption; one
// changed byte in what a start or a read relies on is. So it keeps writers out while it looks.
#include <fmt/format.h>

#include <algorithm>

#include "kvctl/inspect.h"
#include "snapshot/retention.h"
#include "snapshot/scrub.h"

namespace daruma::kvctl {

namespace {

/// Names that are not ours, and what a crash left half done: told, never judged.
void others(const StoreFiles& files, std::vector<std::string>& strangers, std::vector<std::string>& leftovers) {
  std::vector<Problem> ignored;  // rooms that cannot be listed are told by their own check
  const auto sort = [&](std::string_view room, auto&& ours) {
    for (const DirectoryEntry& entry : files.list(room, ignored)) {
      if (!entry.is_directory && ours(entry.name)) continue;
      const std::string file = fmt::format("{}/{}", room, entry.name);
      (entry.name.ends_with(kTemporarySuffix) ? leftovers : strangers).push_back(file);
    }
  };
  for (const std::string_view room : kLogDirectories) {
    sort(room, [&](const std::string& n) {
      return parse_segment_name(n) || parse_tail_name(n) ||
             (n.starts_with("spare-") && n.ends_with(kTemporarySuffix)) || (room == kLogDirectories[1] && n == "lock");
    });
  }
  sort(kRunDirectory, [](const std::string& n) { return run_number(n).has_value(); });
  sort(kManifestDirectory, [](const std::string& n) { return manifest_number(n).has_value(); });
  sort("quarantine",
       [](const std::string& n) { return n == "ledger" || (n.starts_with("q-") && n.ends_with(".bytes")); });
  sort("recoveries", [](const std::string& n) {
    return n.ends_with(".json") || n == "attempts" || n == kScrubNote || n == kManifestCopy;
  });
}

Result<Outcome> verify(Context& context, bool deep) {
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kRequired));
  Progress progress(context, "verifying");
  VerifiedBytes verified;
  std::vector<Problem> problems = files.manifest_problems();
  for (const Generation& g : files.catalogue().generations) {
    ++verified.files;
    verified.bytes += g.file_bytes;
  }
  std::vector<Problem> described;  // verify_run finds the same and more
  for (const RunFile& run : files.runs(false, described)) {
    progress.rename("verifying runs/" + run.name);
    progress.at(verified.bytes, 0);
    verify_run(files, run, deep, problems, verified);
  }
  std::copy_if(described.begin(), described.end(), std::back_inserter(problems),
               [](const Problem& p) { return p.what == "room"; });
  const std::vector<SegmentFile> segments = files.segments(problems);
  if (deep) {
    DARUMA_TRY(verify_log(files, segments, progress, problems, verified));
  } else {
    verified.files += segments.size();
  }
  for (Problem& problem : quarantine_problems(files, deep, &verified)) problems.push_back(std::move(problem));
  for (const ReportFile& file : files.reports(problems)) {
    ++verified.files;
    if (const auto report = files.read_report(file); !report.ok())
      problems.push_back(files.problem("report", "recoveries/" + file.name, report.status()));
  }
  verified.files += files.incidents(problems).size();
  std::vector<std::string> strangers;
  std::vector<std::string> leftovers;
  others(files, strangers, leftovers);
  progress.clear();

  Outcome outcome;
  outcome.json["deep"] = deep;
  outcome.json["files"] = verified.files;
  outcome.json["bytes"] = verified.bytes;
  if (deep) {
    outcome.json["entries"] = verified.entries;
    outcome.json["frames"] = verified.frames;
    outcome.json["events"] = verified.events;
  }
  tell_problems(context, problems, outcome);
  const auto names = [&](const char* member, const std::vector<std::string>& all) {
    outcome.json[member] = Json::array();
    for (const std::string& name : all) outcome.json[member].push_back(encode(Encoding::kEscaped, name));
  };
  names("strangers", strangers);
  names("leftovers", leftovers);
  for (const std::string& name : strangers)
    outcome.text += fmt::format("stranger  {}: not of this store, left alone\n", encode(Encoding::kEscaped, name));
  outcome.text += fmt::format(
      "{} files{}: {}\n", verified.files,
      deep ? fmt::format(", {} read, {} entries, {} frames", bytes_text(verified.bytes), count_text(verified.entries),
                         count_text(verified.frames))
           : "",
      problems.empty() ? context.paint("green", deep ? "every byte is sound" : "sound; --deep reads every byte")
                       : fmt::format("{} problems", problems.size()));
  outcome.error = corruption(problems, files.directory());
  const bool known =
      std::any_of(problems.begin(), problems.end(), [](const Problem& p) { return p.verdict == "known"; });
  if (outcome.error.ok() && known) {
    outcome.exit = kExitLoss;
    outcome.error = Status(Code::kDataLoss, "the log holds damage that an earlier start accounted for", {},
                           "kvctl damage ls tells which keys; it goes when a checkpoint releases the log");
  }
  return outcome;
}

}  // namespace

void register_verify(CLI::App& app, Context& context) {
  auto deep = std::make_shared<bool>(false);
  CLI::App* command =
      add_command(app, context, "verify", "Is everything as it was written? Keeps writers out meanwhile",
                  [deep](Context& c) { return verify(c, *deep); });
  command->add_flag("--deep", *deep, "Read every byte, and judge the log as recovery would");
  command->footer(
      "Examples:\n  kvctl -d orders verify\n  kvctl -d orders verify --deep --json | jq -c '.problems[]'\n"
      "Exit code 4: corruption; 5: only what an earlier start accounted for; 3: a writer has the store.");
}

}  // namespace daruma::kvctl
