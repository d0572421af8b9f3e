// SPDX-License-Identifier: Apache-2.0
//
// run ls|show|verify: the sorted files. Runs are published whole and never changed, so none of these needs the lock;
// one that is gone when it is opened was retired by a writer.
#include <fmt/format.h>

#include <algorithm>

#include "kvctl/inspect.h"

namespace daruma::kvctl {

namespace {

std::string standing(const StoreFiles& files, const RunFile& run) {
  if (run.missing) return "missing";
  const Manifest* newest = files.catalogue().newest();
  if (newest == nullptr) return "no generation left";
  if (run.generations.empty()) return "unnamed";
  return run.generations.front() == newest->number ? "in use" : "kept";
}

Json info_json(const Context& context, const RunInfo& info) {
  Json json = Json::object();
  json["keyspace_id"] = info.keyspace;
  json["written_at_level"] = info.level;
  json["entries"] = info.entries;
  json["tombstones"] = info.tombstones;
  json["range_erases"] = info.erases;
  json["first_sequence"] = info.min_sequence;
  json["last_sequence"] = info.max_sequence;
  json["raw_bytes"] = info.raw_bytes;
  context.put_key(json, info.smallest_key, "first_key");
  context.put_key(json, info.largest_key, "last_key");
  json["content_hash"] = fmt::format("{:016x}", info.content_hash);
  json["job"] = info.job_id;
  json["job_index"] = info.job_index;
  json["job_last"] = info.job_last;
  json["checkpoint_sequence"] = info.checkpoint_sequence;
  json["previous_sequence"] = info.prev_sequence;
  json["created"] = time_text(info.created_wall_ns);
  json["supersedes"] = info.supersedes;
  return json;
}

/// What the run says of itself, else what a manifest says of it.
const RunInfo* info_of(const RunFile& run) {
  if (run.description) return &run.description->info;
  return run.placed != nullptr ? &run.placed->info : nullptr;
}

Json run_json(const Context& context, const StoreFiles& files, const RunFile& run) {
  Json json = Json::object();
  json["number"] = run.number;
  json["file"] = "runs/" + run.name;
  json["file_bytes"] = run.bytes;
  json["standing"] = standing(files, run);
  json["generations"] = run.generations;
  if (run.placed != nullptr) json["level"] = run.placed->level;
  if (const RunInfo* info = info_of(run)) json.update(info_json(context, *info));
  json["problems"] = Json::array();
  for (const Problem& problem : run.problems) json["problems"].push_back(problem_json(problem));
  return json;
}

Result<Outcome> list(Context& context) {
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kNone));
  std::vector<Problem> problems;
  Outcome outcome;
  outcome.json["runs"] = Json::array();
  std::vector<std::vector<std::string>> rows{{"run", "keyspace", "level", "entries", "erased", "ranges", "events",
                                              "bytes", "standing", "first key", "last key"}};
  for (const RunFile& run : files.runs(true, problems)) {
    outcome.json["runs"].push_back(run_json(context, files, run));
    std::string how = standing(files, run);
    if (!run.problems.empty() && !run.missing) how += ", damaged";
    const std::string level = run.placed != nullptr ? std::to_string(run.placed->level) : "-";
    const RunInfo* info = info_of(run);
    if (info == nullptr) {
      rows.push_back({std::to_string(run.number), "-", level, "-", "-", "-", "-", bytes_text(run.bytes), how});
      continue;
    }
    rows.push_back({std::to_string(run.number), std::to_string(info->keyspace), level, count_text(info->entries),
                    count_text(info->tombstones), count_text(info->erases),
                    fmt::format("{}-{}", info->min_sequence, info->max_sequence), bytes_text(run.bytes), how,
                    context.key_text(info->smallest_key), context.key_text(info->largest_key)});
  }
  if (rows.size() > 1) outcome.text = table_text(context, rows, {0, 1, 2, 3, 4, 5, 6, 7});
  for (const Problem& problem : problems) outcome.text += problem_text(context, problem);
  outcome.error = corruption(problems, files.directory());
  return outcome;
}

Result<std::vector<RunFile>> choose(const StoreFiles& files, bool describe, const std::vector<std::uint64_t>& numbers) {
  std::vector<Problem> problems;
  std::vector<RunFile> all = files.runs(describe, problems);
  if (numbers.empty()) return all;
  std::vector<RunFile> chosen;
  for (const std::uint64_t number : numbers) {
    const auto at = std::find_if(all.begin(), all.end(), [&](const RunFile& run) { return run.number == number; });
    if (at == all.end())
      return Status(Code::kNotFound, fmt::format("there is no run {}", number), {}, "kvctl run ls shows what is there");
    chosen.push_back(*at);
  }
  return chosen;
}

Result<Outcome> show(Context& context, std::uint64_t number) {
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kNone));
  DARUMA_TRY_ASSIGN(const std::vector<RunFile> chosen, choose(files, true, {number}));
  const RunFile& run = chosen.front();
  Outcome outcome;
  outcome.json = run_json(context, files, run);
  outcome.text = fmt::format("run         {}, {}, {}\n", number, standing(files, run), bytes_text(run.bytes));
  if (run.placed != nullptr) outcome.text += fmt::format("level       {}\n", run.placed->level);
  if (const RunInfo* info = info_of(run)) {
    outcome.text += fmt::format(
        "keyspace    {}\nentries     {}, of which tombstones {}; range erases {}\nevents      {} to {}\n"
        "keys        {} to {}\nraw bytes   {}\nhash        {:016x}\njob         {}, output {}{}\n"
        "covers      events {} to {}\ncreated     {}\nsupersedes  {}\n",
        info->keyspace, count_text(info->entries), count_text(info->tombstones), count_text(info->erases),
        info->min_sequence, info->max_sequence, context.key_text(info->smallest_key),
        context.key_text(info->largest_key), bytes_text(info->raw_bytes), info->content_hash, info->job_id,
        info->job_index, info->job_last ? ", the last" : "", info->prev_sequence, info->checkpoint_sequence,
        time_text(info->created_wall_ns),
        info->supersedes.empty() ? "nothing" : fmt::format("{}", fmt::join(info->supersedes, " ")));
  }
  outcome.text += fmt::format("generations {}\n",
                              run.generations.empty() ? "none" : fmt::format("{}", fmt::join(run.generations, " ")));
  for (const Problem& problem : run.problems) outcome.text += problem_text(context, problem);
  outcome.error = corruption(run.problems, files.directory());
  return outcome;
}

Result<Outcome> verify(Context& context, const std::vector<std::uint64_t>& numbers) {
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kNone));
  DARUMA_TRY_ASSIGN(const std::vector<RunFile> chosen, choose(files, false, numbers));
  Outcome outcome;
  Progress progress(context, "verifying runs");
  std::vector<Problem> problems;
  VerifiedBytes verified;
  for (const RunFile& run : chosen) {
    progress.at(verified.bytes, 0);
    verify_run(files, run, true, problems, verified);
  }
  progress.clear();
  outcome.json["runs"] = verified.files;
  outcome.json["bytes"] = verified.bytes;
  outcome.json["entries"] = verified.entries;
  tell_problems(context, problems, outcome);
  outcome.text += fmt::format(
      "{} runs, {} entries, {} read: {}\n", verified.files, count_text(verified.entries), bytes_text(verified.bytes),
      problems.empty() ? "every byte as it was written" : fmt::format("{} problems", problems.size()));
  outcome.error = corruption(problems, files.directory());
  return outcome;
}

}  // namespace

void verify_run(const StoreFiles& files, const RunFile& run, bool deep, std::vector<Problem>& problems,
                VerifiedBytes& verified) {
  const std::string file = "runs/" + run.name;
  if (run.missing) {
    problems.insert(problems.end(), run.problems.begin(), run.problems.end());
    return;
  }
  const auto add = [&](const std::string& what, const Status& status) {
    if (status.is(Code::kNotFound)) return;  // retired by a writer since it was listed
    Problem p = files.problem(what, file, status);
    if (p.verdict == "corrupt" && run.generations.empty() && files.catalogue().newest() != nullptr) {
      p.verdict = "unnamed";  // no generation names it: what a killed job left
    }
    problems.push_back(std::move(p));
  };
  if (!files.store()) return add("run", {Code::kCorruption, "no manifest, segment or run tells the store's id"});
  std::optional<RunInfo> known;
  if (run.placed != nullptr) known = run.placed->info;
  auto reader = RunReader::open(files.storage(), files.path(file), *files.store(), run.number, nullptr, known);
  if (!reader.ok()) return add("run", reader.status());
  ++verified.files;
  std::vector<RunFinding> findings;
  if (deep) {
    auto all = (*reader)->verify();
    if (!all.ok()) {
      add("run", all.status());
    } else {
      findings = all->findings;
      verified.bytes += all->bytes;
      verified.entries += all->entries;
    }
  } else {
    const auto info = (*reader)->info();  // loads footers, properties, index, filter and range erases
    findings = (*reader)->findings();
    if (info.ok()) verified.entries += info->entries;
    if (!info.ok() && findings.empty()) add("run", info.status());
    auto opened = files.storage().open(files.path(file), OpenMode::kRead);
    if (opened.ok()) {
      std::string sector(kSectorBytes, '\0');
      const auto got = (*opened)->read(0, sector);
      Status header = got.status();
      if (header.ok())
        header = decode_run_header(std::string_view(sector).substr(0, *got), files.store(), run.number).status();
      if (!header.ok()) add("run_header", {header.code(), header.message(), {.file = files.path(file), .offset = 0}});
    }
  }
  for (const RunFinding& finding : findings) {
    add("run_" + std::string(run_fault_name(finding.fault)), finding.status);
    if (finding.healed && !problems.empty()) problems.back().detail += "; reads are right, parity gives it back";
  }
}

void register_run(CLI::App& app, Context& context) {
  CLI::App* group = add_group(app, "run", "The sorted files that hold what is in snapshots");
  add_command(*group, context, "ls", "All files in runs/, and what each says of itself", list)
      ->footer("Example:\n  kvctl -d orders run ls");
  auto number = std::make_shared<std::uint64_t>(0);
  CLI::App* command = add_command(*group, context, "show", "Everything one says of itself",
                                  [number](Context& c) { return show(c, *number); });
  command->add_option("N", *number, "Its number")->required();
  command->footer("Example:\n  kvctl -d orders run show 7");
  auto numbers = std::make_shared<std::vector<std::uint64_t>>();
  command = add_command(*group, context, "verify", "Reads every byte of all runs, or of those named",
                        [numbers](Context& c) { return verify(c, *numbers); });
  command->add_option("N", *numbers, "Which");
  command->footer("Example:\n  kvctl -d orders run verify 7 9\nExit code 4: a byte is not as it was written.");
}

}  // namespace daruma::kvctl
