// SPDX-License-Identifier: Apache-2.0
//
// recover, recover --explain, report.
//
// What must stay true: --explain (and --dry-run) recovers in memory only and changes nothing; what it says a start
// would do is taken from the same recovery, not guessed beside it. The exit code of both is the same for the same
// store.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "kvctl/html.h"
#include "kvctl/inspect.h"
#include "kvctl/postmortem.h"
#include "snapshot/retention.h"

namespace daruma::kvctl {

namespace {

const std::map<std::string, RecoveryPolicy> kPolicies{{"serve", RecoveryPolicy::kServe},
                                                      {"read_only", RecoveryPolicy::kReadOnly},
                                                      {"refuse", RecoveryPolicy::kRefuse},
                                                      {"point_in_time", RecoveryPolicy::kPointInTime}};

struct RecoverOptions {
  bool explain = false;
  std::string report{};  ///< a page about the start; empty: none
  std::string policy = "serve";
};

/// Loss, or bytes set aside that were no tear.
bool costs(const RecoveryReport& report) {
  return !report.clean() || std::any_of(report.findings.begin(), report.findings.end(), [](const RecoveryFinding& f) {
    return !f.quarantine_id.empty() && f.verdict != "torn" && f.verdict != "stale";
  });
}

Json report_json(const RecoveryReport& report) { return Json::parse(report.to_json(), nullptr, false); }

std::string finding_text(const Context& context, const RecoveryFinding& f) {
  std::string text =
      fmt::format("  {}  {}:{}+{}",
                  context.paint(f.verdict == "corrupt" || f.verdict == "poisoned" ? "red" : "yellow", f.case_name),
                  encode(Encoding::kEscaped, f.file), f.offset, f.bytes);
  if (f.first_sequence != 0) {
    text += fmt::format(", events {} to {}", f.first_sequence,
                        f.last_sequence != 0 ? std::to_string(f.last_sequence) : "an unknown one");
  }
  text += fmt::format("\n      verdict {}, proof {}, decision {}\n", f.verdict.empty() ? "none" : f.verdict,
                      f.proof.empty() ? "none" : f.proof, f.action.empty() ? "none" : f.action);
  if (!f.detail.empty()) text += "      " + encode(Encoding::kEscaped, f.detail) + "\n";
  return text;
}

/// What a start writes and removes, in its order. Each step is a line for people and a member for scripts.
struct Plan {
  Json steps = Json::array();
  std::string text{};
  bool sets_aside = false;  ///< more than tears
  void add(std::string_view action, const std::string& file, std::string_view why) {
    Json step = {{"action", action}};
    Context::put_bytes(step, "file", file, std::nullopt);
    if (!why.empty()) step["why"] = why;
    steps.push_back(std::move(step));
    text += fmt::format("  {:<9} {}{}{}\n", action, encode(Encoding::kEscaped, file), why.empty() ? "" : ": ", why);
  }
};

/// Publishing a generation is how a start records damage and heals manifests; why it would, or nothing.
std::string why_publish(const StoreFiles& files, const RecoveryReport& report) {
  if (files.catalogue().newest() == nullptr)
    return report.created ? "the first generation" : "no valid generation is left";
  std::size_t seen = 0;
  for (const Generation& g : files.catalogue().generations) {
    if (seen++ >= kGenerationsKept) break;
    if (!g.rejected.ok()) return fmt::format("{} is rejected", g.name);
    if (!g.damaged.empty()) return fmt::format("one copy in {} is damaged", g.name);
  }
  std::set<std::uint64_t> known;
  for (const DamageEntry& entry : files.damage().entries()) known.insert(entry.id);
  for (const RecoveryFinding& f : report.findings) {
    if (f.damage_id != 0 && !known.contains(f.damage_id)) return "the damage map grows";
  }
  return "";
}

Plan plan_of(const StoreFiles& files, const LogReplay& log, const RecoveryReport& report) {
  Plan plan;
  std::vector<Problem> ignored;
  for (const auto& [aside, contents] : log.set_aside) {
    plan.add("set aside", fmt::format("{}:{}+{}", aside.file, aside.offset, aside.bytes), aside.case_name);
    plan.sets_aside = plan.sets_aside || aside.verdict != "torn";
  }
  for (const Generation& g : files.catalogue().generations) {
    if (g.rejected.ok()) continue;
    plan.add("set aside", fmt::format("{}/{}:0+{}", kManifestDirectory, g.name, g.file_bytes), "rejected_manifest");
    plan.sets_aside = true;
  }
  if (const std::string why = why_publish(files, report); !why.empty()) {
    plan.add("write", fmt::format("{}/{}", kManifestDirectory, manifest_name(files.catalogue().highest_number + 1)),
             why);
  }
  std::uint64_t next = log.next_segment;
  for (const Generation& g : files.catalogue().generations) {
    if (g.manifest) next = std::max(next, g.manifest->next_segment);
  }
  plan.add("write", "wal/tail-*", "a new tail ring");
  plan.add("write", "wal/" + segment_name(next),
           log.persist.empty() ? std::string("a new segment; every replayed event is proven durable")
                               : fmt::format("a new segment, with {} replayed events that nothing proves durable",
                                             count_text(log.persist.size())));
  for (const DirectoryEntry& entry : files.list("wal", ignored)) {
    if (parse_tail_name(entry.name)) plan.add("remove", "wal/" + entry.name, "the ring before");
  }
  if (report.clean()) {
    for (const Generation& g : files.catalogue().generations) {
      if (!g.rejected.ok())
        plan.add("remove", fmt::format("{}/{}", kManifestDirectory, g.name), "rejected; its bytes are set aside");
    }
    for (const std::string& name : files.catalogue().leftovers)
      plan.add("remove", fmt::format("{}/{}", kManifestDirectory, name), "a publish that was cut off");
    for (const DirectoryEntry& entry : files.list(kRunDirectory, ignored)) {
      if (entry.name.ends_with(kTemporarySuffix) && !run_number(entry.name))
        plan.add("remove", fmt::format("{}/{}", kRunDirectory, entry.name), "a job that was cut off");
    }
  }
  if (files.catalogue().newest() != nullptr) {
    std::set<std::uint64_t> named;
    for (const Generation& g : files.catalogue().generations) {
      for (const PlacedRun& run : g.manifest ? g.manifest->runs : std::vector<PlacedRun>())
        named.insert(run.info.number);
    }
    for (const DirectoryEntry& entry : files.list(kRunDirectory, ignored)) {
      const std::optional<std::uint64_t> number = run_number(entry.name);
      if (!number || entry.is_directory || named.contains(*number)) continue;
      const std::string file = fmt::format("{}/{}", kRunDirectory, entry.name);
      if (!report.clean()) plan.add("set aside", fmt::format("{}:0+{}", file, entry.bytes), "unnamed_run");
      plan.sets_aside = plan.sets_aside || !report.clean();
      plan.add("remove", file, "no generation names it");
    }
  }
  const std::vector<ReportFile> reports = files.reports(ignored);
  plan.add("write", fmt::format("recoveries/{:016}.json", reports.empty() ? 1 : reports.back().number + 1),
           "the report");
  return plan;
}

Result<Outcome> explain(Context& context, const RecoverOptions& options) {
  // Held from the first look to the last: the plan is of one state.
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kRequired));
  Options open;
  open.create_if_missing = false;
  open.read_only = true;
  const bool refuse = options.policy == "refuse";  // its plan is what `serve` finds, and to stop when that is a loss
  open.recovery_policy = refuse ? RecoveryPolicy::kServe : kPolicies.at(options.policy);
  RecoveryReport report;
  {
    DARUMA_TRY_ASSIGN(const Store::Opened opened, context.open(std::move(open)));
    report = opened.report;
  }
  report.policy = options.policy;
  Progress progress(context, "planning");
  DARUMA_TRY_ASSIGN(const LogReplay log,
                    replay_to_judge(files, open.recovery_policy == RecoveryPolicy::kPointInTime, progress));
  progress.clear();
  const bool refused = refuse && !report.clean();
  const Plan plan = refused ? Plan() : plan_of(files, log, report);

  Outcome outcome;
  outcome.exit = refused ? kExitCorruption : !report.clean() || plan.sets_aside ? kExitLoss : kExitDone;
  outcome.json["policy"] = options.policy;
  outcome.json["refused"] = refused;
  outcome.json["steps"] = plan.steps;
  outcome.json["report"] = report_json(report);
  std::string& text = outcome.text;
  text = fmt::format("plan for {} (read-only, nothing changed), policy {}\n",
                     encode(Encoding::kEscaped, files.directory()), options.policy);
  text += context.paint("bold", "passes") + "\n";
  int number = 0;
  for (const RecoveryPass& pass : report.passes) {
    text += fmt::format("  {} {:<16} {:>10}  {}\n", ++number, pass.name, duration_text(pass.duration_ns),
                        pass.bytes > 0 ? bytes_text(pass.bytes) : "");
  }
  text += context.paint("bold", "state") + "\n";
  text += fmt::format("  snapshot {} at sequence {}, {} events ({}) replayed, proven durable to {}, last {}\n",
                      report.snapshot.empty() ? "none" : report.snapshot, report.snapshot_sequence,
                      count_text(report.events_replayed), bytes_text(report.bytes_replayed), report.durable_mark,
                      report.last_sequence);
  text += context.paint("bold", "findings") + "\n";
  for (const RecoveryFinding& finding : report.findings) text += finding_text(context, finding);
  if (report.findings.empty()) text += "  none\n";
  if (report.findings_dropped > 0) text += fmt::format("  and {} more\n", report.findings_dropped);
  text += context.paint("bold", "a start would") + "\n";
  text += refused ? std::string("  refuse, and change nothing\n") : plan.text;
  text += context.paint("bold", "result") + "\n";
  const auto sum = [](std::string_view what, const RecoveryLoss& loss) {
    return loss.stretches == 0 ? fmt::format("  {}: nothing\n", what)
                               : fmt::format("  {}: {} events, {} in {} places\n", what, count_text(loss.events),
                                             bytes_text(loss.bytes), loss.stretches);
  };
  text += sum("acknowledged and lost", report.lost) + sum("discarded, never acknowledged", report.discarded) +
          sum("healed", report.healed);
  text += fmt::format("next: kvctl recover --policy {}   exit code would be {}\n", options.policy, outcome.exit);
  return outcome;
}

/// Of what `recoveries/` keeps, which has the passes behind the first reads too.
Status write_report_page(Context& context, const std::string& file, Store store, const RecoveryReport& told) {
  (void)store.sync();
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kNone));
  std::vector<Problem> ignored;
  for (const ReportFile& kept : files.reports(ignored)) {
    if (kept.number != told.start_number) continue;
    if (const auto whole = files.read_report(kept); whole.ok()) return write_page(file, start_page(files, *whole));
  }
  return write_page(file, start_page(files, told));
}

Result<Outcome> recover(Context& context, const RecoverOptions& options) {
  if (options.explain || context.dry_run) {
    if (options.report.empty()) return explain(context, options);
    return context.fail(kExitUsage, {Code::kInvalidArgument, "--report is of a start that was made, not of a plan"});
  }
  DARUMA_TRY(context.check_directory());
  Options open;
  open.create_if_missing = false;
  open.recovery_policy = kPolicies.at(options.policy);
  auto opened = context.open(std::move(open));
  if (opened.status().is(Code::kDataLoss)) return context.fail(kExitCorruption, opened.status());  // policy refuse
  DARUMA_TRY(opened.status());
  const RecoveryReport& report = opened->report;
  Outcome outcome;
  outcome.json["report"] = report_json(report);
  outcome.text = report.to_text();
  if (costs(report)) outcome.exit = kExitLoss;
  if (!options.report.empty()) DARUMA_TRY(write_report_page(context, options.report, opened->store, report));
  return outcome;
}

Result<Outcome> list_reports(Context& context, const StoreFiles& files) {
  std::vector<Problem> problems;
  Outcome outcome;
  outcome.json["reports"] = Json::array();
  std::vector<std::vector<std::string>> rows{
      {"start", "time", "outcome", "took", "replayed", "healed", "discarded", "lost", "findings"}};
  for (const ReportFile& file : files.reports(problems)) {
    const auto report = files.read_report(file);
    if (report.status().is(Code::kNotFound)) continue;  // a writer keeps the last few only
    if (!report.ok()) {
      problems.push_back(files.problem("report", "recoveries/" + file.name, report.status()));
      continue;
    }
    const std::uint64_t findings = report->findings.size() + report->findings_dropped;
    outcome.json["reports"].push_back({{"start", file.number},
                                       {"time", time_text(report->started_wall_ns)},
                                       {"outcome", report->outcome},
                                       {"clean", report->clean()},
                                       {"duration_ns", report->total_ns},
                                       {"events_replayed", report->events_replayed},
                                       {"events_healed", report->healed.events},
                                       {"events_discarded", report->discarded.events},
                                       {"events_lost", report->lost.events},
                                       {"findings", findings}});
    rows.push_back({std::to_string(file.number), time_text(report->started_wall_ns),
                    encode(Encoding::kEscaped, report->outcome), duration_text(report->total_ns),
                    count_text(report->events_replayed), count_text(report->healed.events),
                    count_text(report->discarded.events), count_text(report->lost.events), count_text(findings)});
  }
  if (rows.size() > 1) outcome.text = table_text(context, rows, {0, 3, 4, 5, 6, 7, 8});
  tell_problems(context, problems, outcome);
  outcome.error = corruption(problems, files.directory());
  return outcome;
}

struct ReportOptions {
  std::optional<std::uint64_t> number;
  bool list = false;
};

Result<Outcome> report(Context& context, const ReportOptions& options) {
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kNone));
  if (options.list) return list_reports(context, files);
  std::vector<Problem> problems;
  std::vector<ReportFile> reports = files.reports(problems);
  if (options.number) {
    std::erase_if(reports, [&](const ReportFile& file) { return file.number != *options.number; });
    if (reports.empty()) {
      return Status(Code::kNotFound, fmt::format("there is no report of start {}", *options.number), {},
                    "kvctl report --list shows what is there");
    }
  }
  Outcome outcome;
  for (; !reports.empty(); reports.pop_back()) {
    Json document;
    const auto read = files.read_report(reports.back(), &document);
    if (!read.ok() && options.number) return read.status();
    if (!read.ok()) {
      outcome.notes.push_back(
          fmt::format("the report of start {} cannot be read: {}", reports.back().number, read.status().message()));
      continue;
    }
    outcome.json["start"] = reports.back().number;
    outcome.json["file"] = "recoveries/" + reports.back().name;
    outcome.json["report"] = std::move(document);
    outcome.text = read->to_text();
    return outcome;
  }
  return Status(Code::kNotFound, "there is no report that can be read", {.file = files.path("recoveries")});
}

}  // namespace

void register_recover(CLI::App& app, Context& context) {
  auto recover_options = std::make_shared<RecoverOptions>();
  CLI::App* command =
      add_command(app, context, "recover", "Opens the store for writing, which recovers it, and reports",
                  [recover_options](Context& c) { return recover(c, *recover_options); });
  command->add_flag("--explain", recover_options->explain, "Say what a start would do, and change nothing");
  command->add_option("--policy", recover_options->policy, "What to do about acknowledged data beyond repair")
      ->check(CLI::IsMember({"serve", "read_only", "refuse", "point_in_time"}).description(""))
      ->type_name("serve|read_only|refuse|point_in_time");
  command->add_option("--report", recover_options->report, "Writes a page about this start to a new file")
      ->type_name("FILE.html");
  command->footer(
      "Examples:\n  kvctl -d orders recover --explain\n  kvctl -d orders recover --policy point_in_time\n"
      "Exit code 5: acknowledged data is lost, or bytes other than a torn tail were set aside; 4: refused by --policy\n"
      "refuse. --dry-run is --explain.");

  auto report_options = std::make_shared<ReportOptions>();
  command = add_command(app, context, "report", "What a start found and did; the last one when no number is given",
                        [report_options](Context& c) { return report(c, *report_options); });
  command->add_option("N", report_options->number, "Number of the start");
  command->add_flag("--list", report_options->list, "All that are kept, one a line");
  command->footer(
      "Examples:\n  kvctl -d orders report\n  kvctl -d orders report 7 --json\n  kvctl -d orders report --list");
}

}  // namespace daruma::kvctl
