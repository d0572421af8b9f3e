// SPDX-License-Identifier: Apache-2.0
//
// drill: failures made to happen to a clone, what it took to come back from each, and whether what is promised was
// kept.
//
// What must stay true: the store's own data is read only; what is written to it is one file in recoveries/ a drill.
#include "rehearsal/drill.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/clock.h"
#include "base/random.h"
#include "io/posix_storage.h"
#include "kvctl/inspect.h"
#include "recovery/drill.h"
#include "rehearsal/options_in_force.h"

namespace daruma::kvctl {

namespace {

using rehearsal::DrillMode;
using rehearsal::DrillResult;

constexpr std::uint64_t kDrillBytesMax = 64 << 10;
constexpr std::int64_t kDayNs = 86'400'000'000'000;

struct DrillArguments {
  std::vector<std::string> modes;
  rehearsal::DrillOptions options;
  std::optional<std::uint64_t> seed;
};

Json result_json(const DrillResult& result, std::int64_t wall_ns, std::uint64_t seed) {
  const rehearsal::Compared& compared = result.compared;
  const std::uint64_t touched = compared.in_doubt + compared.silent();
  const double share = compared.keys == 0 ? 0 : static_cast<double>(touched) / static_cast<double>(compared.keys);
  return {{"mode", result.mode},
          {"outcome", result.outcome},
          {"why", encode(Encoding::kEscaped, result.why)},
          {"fault", encode(Encoding::kEscaped, result.fault)},
          {"wall_ns", wall_ns},
          {"seed", seed},
          {"first_read_ns", result.first_read_ns},
          {"ready_ns", result.ready_ns},
          {"keyspaces", compared.keyspaces},
          {"keyspaces_touched", compared.keyspaces_touched},
          {"keys", compared.keys},
          {"keys_in_doubt", compared.in_doubt},
          {"keys_in_doubt_later", result.doubt_left},
          {"keys_silently_wrong", compared.silent()},
          {"blast_radius", share},
          {"acknowledged", result.acknowledged},
          {"acknowledged_lost", result.lost}};
}

std::string percent_text(double share) { return share == 0 ? "0" : fmt::format("{:.3g} %", share * 100); }

std::vector<std::string> row(const Context& context, const Json& drill, const std::string& when) {
  const std::string outcome = drill.value("outcome", "");
  const auto ns = [&](const char* name) {
    const auto value = drill.value(name, std::int64_t{0});
    return value == 0 ? std::string("-") : duration_text(value);
  };
  std::string note = drill.value("why", "");
  if (note.empty()) note = drill.value("fault", "");
  const std::uint64_t doubt = drill.value("keys_in_doubt", std::uint64_t{0});
  const bool played = outcome != "skipped";
  std::vector<std::string> cells{
      drill.value("mode", ""),
      context.paint(outcome == "passed"   ? "green"
                    : outcome == "failed" ? "red"
                                          : "yellow",
                    outcome),
      ns("first_read_ns"),
      ns("ready_ns"),
      played ? percent_text(drill.value("blast_radius", 0.0)) : "-",
      played ? fmt::format("{}{}", count_text(doubt),
                           doubt == 0 ? ""
                                      : fmt::format(", later {}",
                                                    count_text(drill.value("keys_in_doubt_later", std::uint64_t{0}))))
             : "-",
      played ? fmt::format("{} of {}", drill.value("keyspaces_touched", 0), drill.value("keyspaces", 0)) : "-"};
  if (!when.empty()) cells.push_back(when);
  cells.push_back(note);
  return cells;
}

std::vector<std::string> head(bool when) {
  std::vector<std::string> cells{"drill", "outcome", "first read", "ready", "blast radius", "in doubt", "keyspaces"};
  if (when) cells.emplace_back("age");
  cells.emplace_back("what was done");
  return cells;
}

Result<Outcome> list(Context& context) {
  Outcome outcome;
  outcome.json["drills"] = Json::array();
  std::vector<std::vector<std::string>> rows{{"drill", "what happens", "promise"}};
  for (const DrillMode& mode : rehearsal::drill_modes()) {
    outcome.json["drills"].push_back({{"mode", mode.name}, {"what", mode.what}, {"promise", mode.promise}});
    rows.push_back({std::string(mode.name), std::string(mode.what), std::string(mode.promise)});
  }
  outcome.text = table_text(context, rows);
  return outcome;
}

Result<Outcome> hold(Context& context, DrillArguments& arguments) {
  if (context.dry_run)
    return context.fail(kExitUsage, {Code::kInvalidArgument, "a drill has no dry run", {}, "drill ls"});
  DARUMA_TRY(context.check_directory());
  std::vector<const DrillMode*> modes;
  for (const DrillMode& mode : rehearsal::drill_modes()) {
    if (arguments.modes.empty()) modes.push_back(&mode);
  }
  for (const std::string& name : arguments.modes) {
    const auto& all = rehearsal::drill_modes();
    const auto at = std::find_if(all.begin(), all.end(), [&](const DrillMode& mode) { return mode.name == name; });
    if (at == all.end())
      return context.fail(kExitUsage, {Code::kInvalidArgument,
                                       fmt::format("there is no drill \"{}\"", encode(Encoding::kEscaped, name)),
                                       {},
                                       "kvctl drill ls names them"});
    modes.push_back(&*at);
  }
  rehearsal::DrillOptions& options = arguments.options;
  options.seed = arguments.seed.value_or(entropy_seed());
  DARUMA_TRY_ASSIGN(options.store, rehearsal::options_in_force(context.directory));
  options.store.create_if_missing = false;
  if (context.recovery_budget) options.store.recovery_budget = *context.recovery_budget;
  Progress progress(context, "drill");
  std::uint64_t held = 0;
  options.progress = [&](std::string_view doing) {
    progress.rename(doing);
    progress.at(held, modes.size(), "drills");
  };
  auto prepared = rehearsal::Drills::prepare(context.directory, options);
  if (prepared.status().is(Code::kNotFound)) return context.fail(kExitUsage, prepared.status());
  DARUMA_TRY_ASSIGN(const std::unique_ptr<rehearsal::Drills> drills, std::move(prepared));
  const std::shared_ptr<Storage> storage = make_posix_storage();
  const std::string recoveries = context.directory + "/recoveries";

  Outcome outcome;
  outcome.json["seed"] = options.seed;
  outcome.json["drills"] = Json::array();
  std::vector<std::vector<std::string>> rows{head(false)};
  std::uint64_t failed = 0, skipped = 0;
  for (const DrillMode* mode : modes) {
    const DrillResult result = drills->run(*mode);
    ++held;
    const std::int64_t wall_ns = system_clock().wall_ns();
    Json json = result_json(result, wall_ns, options.seed);
    failed += result.outcome == "failed";
    skipped += result.outcome == "skipped";
    rows.push_back(row(context, json, ""));
    const Status kept = keep_drill(*storage, recoveries, {wall_ns, result.mode}, dump_json(json) + "\n");
    if (!kept.ok()) outcome.notes.push_back("the result could not be kept: " + kept.to_string());
    outcome.json["drills"].push_back(std::move(json));
  }
  progress.clear();
  outcome.json["failed"] = failed;
  outcome.json["skipped"] = skipped;
  outcome.text = table_text(context, rows, {2, 3, 4, 5});
  if (options.keep) {
    Context::put_bytes(outcome.json, "clones", drills->work(), std::nullopt);
    outcome.notes.push_back("the clones are in " + encode(Encoding::kEscaped, drills->work()));
  }
  if (!context.quiet) outcome.notes.push_back(fmt::format("seed {}; --seed repeats where it hurt", options.seed));
  if (failed > 0) {
    outcome.exit = kExitCorruption;
    outcome.error = Status(Code::kCorruption, fmt::format("{} of {} drills broke a promise", failed, modes.size()), {},
                           "--keep leaves the clones; please report it");
  }
  return outcome;
}

/// The last result of each kind, and how long ago.
Result<Outcome> report(Context& context, std::uint64_t days) {
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kNone));
  std::vector<Problem> problems;
  std::map<std::string, std::pair<DrillName, Json>> last;
  for (const DirectoryEntry& entry : files.list("recoveries", problems)) {  // by name, so by time
    const std::optional<DrillName> name = parse_drill_file(entry.name);
    if (!name) continue;
    const std::string file = "recoveries/" + entry.name;
    const auto bytes = read_whole(files.storage(), files.path(file), kDrillBytesMax);
    if (bytes.status().is(Code::kNotFound)) continue;
    Json json = bytes.ok() ? Json::parse(*bytes, nullptr, false) : Json();
    if (!json.is_object()) {
      problems.push_back(files.problem(
          "drill", file,
          bytes.ok() ? Status(Code::kCorruption, "this is no drill", {.file = files.path(file), .offset = 0})
                     : bytes.status()));
      continue;
    }
    last.insert_or_assign(name->mode, std::pair(*name, std::move(json)));
  }
  Outcome outcome;
  outcome.json["drills"] = Json::array();
  std::vector<std::vector<std::string>> rows{head(true)};
  const std::int64_t now = system_clock().wall_ns();
  std::vector<std::string> due;
  bool failed = false;
  for (const DrillMode& mode : rehearsal::drill_modes()) {
    const auto at = last.find(std::string(mode.name));
    if (at == last.end()) {
      due.emplace_back(mode.name);
      outcome.json["drills"].push_back({{"mode", mode.name}, {"outcome", "never"}});
      continue;
    }
    const auto& [name, json] = at->second;
    const std::int64_t age = std::max<std::int64_t>(0, now - name.wall_ns);
    if (age > static_cast<std::int64_t>(days) * kDayNs) due.emplace_back(mode.name);
    failed = failed || json.value("outcome", "") == "failed";
    Json entry = json;
    entry["age_ns"] = age;
    outcome.json["drills"].push_back(std::move(entry));
    rows.push_back(row(context, json, age < kDayNs ? "today" : fmt::format("{} days", age / kDayNs)));
  }
  outcome.json["due"] = due;
  outcome.json["days"] = days;
  if (rows.size() > 1) outcome.text = table_text(context, rows, {2, 3, 4, 5});
  tell_problems(context, problems, outcome);
  outcome.error = corruption(problems, files.directory());
  if (failed && outcome.error.ok()) {
    outcome.exit = kExitCorruption;
    outcome.error =
        Status(Code::kCorruption, "the last drill of a kind broke a promise", {}, "kvctl drill run it again");
  } else if (!due.empty() && outcome.error.ok()) {
    outcome.exit = kExitNegative;
    outcome.notes.push_back(fmt::format("not held for {} days: {}", days, fmt::join(due, ", ")));
  }
  return outcome;
}

void add_options(CLI::App& command, const std::shared_ptr<DrillArguments>& arguments) {
  command.add_option("--in", arguments->options.directory, "Where the clones are made; beside the store if not given")
      ->type_name("DIR");
  command.add_flag("--keep", arguments->options.keep, "Leave the clones");
  command.add_flag("--live", arguments->options.live, "Beside a writer too, with the store as it is at some moment");
  command.add_option("--seed", arguments->seed, "Draws where it hurts; random if not given")->type_name("N");
}

}  // namespace

void register_drill(CLI::App& app, Context& context) {
  CLI::App* group = add_group(app, "drill", "Failures made to happen to a clone of the store, and what they cost");
  add_command(*group, context, "ls", "Which there are", list)->footer("Example:\n  kvctl drill ls");
  auto arguments = std::make_shared<DrillArguments>();
  CLI::App* command =
      add_command(*group, context, "run", "Holds some", [arguments](Context& c) { return hold(c, *arguments); });
  command->add_option("DRILL", arguments->modes, "As drill ls names it")->required();
  add_options(*command, arguments);
  constexpr const char* kExits =
      "\nExit code 4: a promise was broken; 3: a writer has the store, and --live was not given.";
  command->footer(std::string("Examples:\n  kvctl -d orders drill run lost-run full-disk\n"
                              "  kvctl -d orders drill run kill --live --json | jq '.drills[0].first_read_ns'") +
                  kExits);
  auto every = std::make_shared<DrillArguments>();
  command = add_command(*group, context, "all", "Holds all of them", [every](Context& c) { return hold(c, *every); });
  add_options(*command, every);
  command->footer(std::string("Example:\n  kvctl -d orders drill all --seed 7") + kExits);
  auto days = std::make_shared<std::uint64_t>(30);
  command = add_command(*group, context, "report", "The last result of each, and its age",
                        [days](Context& c) { return report(c, *days); });
  command->add_option("--days", *days, "How old one may be (30)")
      ->check(CLI::Range(1, 3650).description(""))
      ->type_name("N");
  command->footer(
      "Example:\n  kvctl -d orders drill report --days 7\n"
      "Exit code 1: one was not held for so long, or never; 4: the last one broke a promise.");
}

}  // namespace daruma::kvctl
