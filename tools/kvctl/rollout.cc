// SPDX-License-Identifier: Apache-2.0
//
// rollout: other options, tried on a clone with what the store did last, then promoted or given up, by what was
// measured.
#include "rehearsal/rollout.h"

#include <fmt/format.h>

#include <charconv>

#include "base/clock.h"
#include "engine/engine.h"
#include "engine/options_text.h"
#include "io/posix_storage.h"
#include "kvctl/inspect.h"
#include "rehearsal/options_in_force.h"

namespace daruma::kvctl {

namespace {

constexpr std::string_view kLastRollout = "rollout.json";  // in recoveries/
constexpr std::uint64_t kRolloutBytesMax = 1 << 20;

struct RolloutArguments {
  std::vector<std::string> changes;
  std::vector<unsigned> steps;
  std::string max_p99 = "+20%";
  rehearsal::RolloutOptions options;
};

/// "64MiB", "500ms", "1000".
std::optional<std::uint64_t> parse_amount(std::string_view text) {
  static constexpr std::pair<std::string_view, std::uint64_t> kUnits[] = {
      {"", 1},          {"KiB", 1 << 10}, {"K", 1 << 10}, {"MiB", 1 << 20}, {"M", 1 << 20},
      {"GiB", 1 << 30}, {"G", 1 << 30},   {"ms", 1},      {"s", 1000},      {"min", 60'000}};
  std::uint64_t number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  const std::string_view unit = text.substr(static_cast<std::size_t>(rest - text.data()));
  for (const auto& [name, factor] : kUnits) {
    if (unit == name && number <= UINT64_MAX / factor) return number * factor;
  }
  return std::nullopt;
}

/// Sets the candidate's options, and says in `lines` what is to be promoted.
Status take_change(const std::string& change, Options& candidate, std::string& lines) {
  const std::size_t equals = change.find('=');
  std::string name = change.substr(0, equals);
  if (name == "recovery_budget") name += "_ms";
  const auto value = equals == std::string::npos ? std::nullopt : parse_amount(change.substr(equals + 1));
  if (!value)
    return {Code::kInvalidArgument,
            fmt::format("\"{}\" is no change", encode(Encoding::kEscaped, change)),
            {},
            "memtable_bytes=128MiB, recovery_budget=500ms"};
  DARUMA_TRY(set_option(name, *value, candidate));
  lines += promoted_line(name, *value);
  return {};
}

/// What `lines` say of each option, the last word of each, and nothing of others.
std::string merged(const std::string& before, const std::string& lines) {
  const Options none;
  Options now;
  take_promoted(before + lines, now);
  std::string all;
  for (const std::string_view name : option_names()) {
    const std::string head = promoted_line(name, 0);
    const std::string_view word = std::string_view(head).substr(0, head.size() - 2);
    if ((before + lines).find(word) != std::string::npos) all += promoted_line(name, option_value(now, name));
  }
  return all;
}

Json side_json(const rehearsal::RolloutSide& side) {
  return {{"writes", side.writes},
          {"reads", side.reads},
          {"errors", side.errors},
          {"write_p99_ns", side.write_p99_ns},
          {"read_p99_ns", side.read_p99_ns}};
}

/// What stands promoted in the newest snapshot.
std::string promoted_of(const StoreFiles& files) {
  const Manifest* newest = files.catalogue().newest();
  return newest == nullptr ? "" : promoted_in(newest->options);
}

Json promoted_json(const std::string& lines) {
  Json json = Json::object();
  Options options;
  take_promoted(lines, options);
  for (const std::string_view name : option_names()) {
    if (lines.find(" " + std::string(name) + " ") != std::string::npos)
      json[std::string(name)] = option_value(options, name);
  }
  return json;
}

Status promote(Context& context, const Options& present, std::string lines) {
  Options options = present;
  options.create_if_missing = options.use_promoted = false;
  DARUMA_TRY_ASSIGN(const Store::Opened opened, context.open(std::move(options)));
  return Engine::of(opened.store).promote(std::move(lines));
}

Result<Outcome> roll_out(Context& context, RolloutArguments& arguments) {
  rehearsal::RolloutOptions& options = arguments.options;
  std::string before;
  {
    DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kNone));
    if (files.live())
      return Status(Code::kBusy, "a writer has the store, and what is promoted is written to it", {}, "stop it first");
    before = promoted_of(files);
  }
  DARUMA_TRY_ASSIGN(options.present, rehearsal::options_in_force(context.directory));
  options.candidate = options.present;
  std::string lines;
  for (const std::string& change : arguments.changes) {
    const Status taken = take_change(change, options.candidate, lines);
    if (!taken.ok()) return context.fail(kExitUsage, taken);
  }
  if (lines.empty())
    return context.fail(kExitUsage, {Code::kInvalidArgument, "nothing is to be changed", {}, "--set NAME=VALUE"});
  std::string_view more = arguments.max_p99;
  if (more.starts_with('+')) more.remove_prefix(1);
  if (more.ends_with('%')) more.remove_suffix(1);
  const auto percent = parse_amount(more);
  if (!percent) return context.fail(kExitUsage, {Code::kInvalidArgument, "--max-p99 is a share as in \"+20%\""});
  options.p99_more_max = static_cast<double>(*percent) / 100;
  if (!arguments.steps.empty()) options.steps = arguments.steps;
  options.durability = context.durability;
  if (context.dry_run) {
    Outcome outcome;
    DARUMA_TRY(check_options(options.candidate));
    outcome.json["changes"] = promoted_json(lines);
    outcome.text = "would be tried: " + dump_json(promoted_json(lines)) + "\n";
    return outcome;
  }
  Progress progress(context, "rollout");
  options.progress = [&](std::string_view doing, std::uint64_t done, std::uint64_t total) {
    progress.rename(doing);
    progress.at(done, total, "steps");
  };
  const auto done = rehearsal::roll_out(context.directory, options);
  progress.clear();
  if (done.status().is(Code::kUnavailable)) return context.fail(kExitRefused, done.status());
  DARUMA_TRY(done.status());
  const rehearsal::RolloutResult& result = *done;

  Outcome outcome;
  outcome.json = {{"outcome", result.good ? "promoted" : "rolled_back"},
                  {"why", encode(Encoding::kEscaped, result.why)},
                  {"time", time_text(system_clock().wall_ns())},
                  {"changes", promoted_json(lines)},
                  {"events", result.events},
                  {"steps", Json::array()}};
  std::vector<std::vector<std::string>> rows{
      {"step", "writes", "p99 now", "p99 then", "reads", "p99 now", "p99 then", "errors now", "errors then", "found"}};
  for (const rehearsal::RolloutStep& step : result.steps) {
    outcome.json["steps"].push_back({{"percent", step.percent},
                                     {"tries", step.tries},
                                     {"present", side_json(step.present)},
                                     {"candidate", side_json(step.candidate)},
                                     {"why", step.why}});
    rows.push_back({fmt::format("{} %", step.percent), count_text(step.present.writes),
                    duration_text(step.present.write_p99_ns), duration_text(step.candidate.write_p99_ns),
                    count_text(step.present.reads), duration_text(step.present.read_p99_ns),
                    duration_text(step.candidate.read_p99_ns), count_text(step.present.errors),
                    count_text(step.candidate.errors),
                    step.why.empty() ? context.paint("green", "good") : context.paint("red", "wanting")});
  }
  if (rows.size() > 1) outcome.text = table_text(context, rows, {0, 1, 2, 3, 4, 5, 6, 7, 8});
  if (result.good) DARUMA_TRY(promote(context, options.present, merged(before, lines)));
  const std::shared_ptr<Storage> storage = make_posix_storage();
  const Status kept =
      publish(*storage, context.directory + "/recoveries", std::string(kLastRollout), dump_json(outcome.json) + "\n");
  if (!kept.ok()) outcome.notes.push_back("the result could not be kept: " + kept.to_string());
  if (result.good) {
    outcome.text += fmt::format("{}: {} in force at the next start\n", context.paint("green", "promoted"),
                                dump_json(promoted_json(lines)));
    return outcome;
  }
  outcome.text += fmt::format("{}: {}\n", context.paint("red", "rolled back"), result.why);
  outcome.exit = kExitBudget;
  outcome.error = Status(Code::kAborted, "the candidate was found wanting, and nothing has changed: " + result.why, {},
                         "--max-p99 and --max-errors say what is still good");
  return outcome;
}

Result<Outcome> status(Context& context) {
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kNone));
  const std::string lines = promoted_of(files);
  Outcome outcome;
  outcome.json["promoted"] = promoted_json(lines);
  outcome.text = lines.empty() ? "nothing is promoted\n" : lines;
  const auto bytes =
      read_whole(files.storage(), files.path("recoveries/" + std::string(kLastRollout)), kRolloutBytesMax);
  Json last = bytes.ok() ? Json::parse(*bytes, nullptr, false) : Json();
  if (last.is_object()) {
    outcome.text += fmt::format("last rollout, {}: {} {} {}\n", last.value("time", ""), last.value("outcome", ""),
                                dump_json(last.value("changes", Json::object())), last.value("why", ""));
  } else {
    last = nullptr;
  }
  outcome.json["last"] = std::move(last);
  return outcome;
}

Result<Outcome> clear(Context& context) {
  std::string before;
  {
    DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kNone));
    before = promoted_of(files);
  }
  Outcome outcome;
  outcome.json["cleared"] = promoted_json(before);
  if (before.empty() || context.dry_run) return outcome;
  DARUMA_TRY_ASSIGN(const Options present, rehearsal::options_in_force(context.directory));
  DARUMA_TRY(promote(context, present, ""));
  if (!context.quiet)
    outcome.text = "no longer in force from the next start on: " + dump_json(promoted_json(before)) + "\n";
  return outcome;
}

}  // namespace

void register_rollout(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<RolloutArguments>();
  CLI::App* command = add_command(app, context, "rollout", "Other options, tried on a clone, then promoted or given up",
                                  [arguments](Context& c) { return roll_out(c, *arguments); });
  command->callback([&context, command, arguments] {
    if (!command->get_subcommands().empty()) return;  // theirs was called before
    context.command = "rollout";
    context.body = [arguments](Context& c) { return roll_out(c, *arguments); };
  });
  command->add_option("--set", arguments->changes, "An option and its new value; again for more")
      ->type_name("NAME=VALUE");
  command->add_option("--steps", arguments->steps, "Shares of the events to replay, in percent (10,25,50,100)")
      ->delimiter(',')
      ->type_name("N,N…");
  command->add_option("--max-p99", arguments->max_p99, "How much slower the slowest hundredth may be (+20%)")
      ->type_name("SHARE");
  command->add_option("--max-errors", arguments->options.errors_max, "How many more errors there may be (0)")
      ->type_name("N");
  command->add_option("--events", arguments->options.events_max, "The newest so many are replayed (20000)")
      ->type_name("N");
  command->add_option("--in", arguments->options.directory, "Where the clones are made; beside the store if not given")
      ->type_name("DIR");
  command->footer(
      "Examples:\n  kvctl -d orders rollout --set memtable_bytes=128MiB\n"
      "  kvctl -d orders rollout --set cache_bytes=1GiB --set scrub_days=7 --steps 10,50 --max-p99 +10%\n"
      "Promoted options come before those that a program gives (Options::use_promoted), from the next start on.\n"
      "Exit code 8: rolled back, and the store is as it was; 9: the log holds too few events to measure by.");
  add_command(*command, context, "status", "What is promoted, and what came of the last rollout", status)
      ->footer("Example:\n  kvctl -d orders rollout status");
  add_command(*command, context, "clear", "Takes back what was promoted", clear)
      ->footer("Example:\n  kvctl -d orders rollout clear");
}

}  // namespace daruma::kvctl
