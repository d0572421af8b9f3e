// SPDX-License-Identifier: Apache-2.0
//
// health: what the store says of itself, for people, systemd and Kubernetes.
//
// What must stay true: without --write not one byte changes. Beside a writer, which alone knows its health, it answers
// what that process tells of itself (live.h); where it has told nothing, it says so (kExitBusy) and tells what the
// files tell: status, and the incidents that are going on.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "kvctl/live.h"

namespace daruma::kvctl {

namespace {

const std::map<std::string, HealthLevel> kLevels{{"critical", HealthLevel::kCritical},
                                                 {"degraded", HealthLevel::kDegraded},
                                                 {"maintenance", HealthLevel::kMaintenance}};

struct HealthOptions {
  std::string level = "maintenance";
  bool write = false;
  std::chrono::milliseconds watch{500};
};

/// Of the checks at `least` or above the worst that fails decides; of a loss, also when a lesser failure stands before.
void judge(const Health& health, HealthLevel least, Outcome& outcome) {
  outcome.judged = true;
  const HealthCheck* worst = nullptr;
  for (const HealthCheck& check : health.checks) {
    if (check.cause.ok() || check.level < least) continue;
    const bool loss = check.level == HealthLevel::kDegraded && check.cause.is(Code::kDataLoss);
    if (worst == nullptr || (loss && worst->level == HealthLevel::kDegraded)) worst = &check;
  }
  if (worst == nullptr) return;
  const bool loss = worst->cause.is(Code::kDataLoss);
  outcome.exit = worst->level == HealthLevel::kCritical ? kExitCorruption : loss ? kExitLoss : kExitNegative;
  std::string why =
      fmt::format("the store is {}: {}: {}", health_level_name(worst->level), worst->name, worst->cause.message());
  if (outcome.exit == kExitNegative) {
    outcome.notes.push_back(std::move(why));
  } else {
    outcome.error = Status(worst->cause.code(), std::move(why), worst->cause.where(), worst->cause.hint());
  }
}

std::string health_text(const Context& context, const Health& health, bool written) {
  const auto line = [](std::string_view name, const std::string& text) {
    return fmt::format("{:<9} {}\n", name, text);
  };
  const auto level_colour = [](HealthLevel level) {
    return level == HealthLevel::kHealthy ? "green" : level == HealthLevel::kMaintenance ? "yellow" : "red";
  };
  std::string text = line("health", context.paint(level_colour(health.level), health_level_name(health.level)));
  text += line("reads", health.reads.ok() ? "served" : "served but for lost keys: " + health.reads.message());
  text += line("writes", health.writes.ok()                              ? "accepted"
                         : !written && health.writes.is(Code::kReadOnly) ? "not asked: opened read-only; --write asks"
                                                                         : "refused: " + health.writes.message());
  const RecoveryDebt& debt = health.debt;
  text += line("recovery",
               fmt::format("a kill now costs an estimated {} until the first read ({}, {} events to replay), of {}",
                           duration_text(debt.estimated_ns), bytes_text(debt.replay_bytes),
                           count_text(debt.replay_events), duration_text(debt.budget_ns)));
  text += line("", fmt::format("under load no less than {}; this start took {}", duration_text(debt.achievable_min_ns),
                               duration_text(debt.last_actual_ns)));
  std::vector<std::vector<std::string>> rows{{"level", "check", "state", "since"}};
  for (const HealthCheck& check : health.checks) {
    rows.push_back({std::string(health_level_name(check.level)), check.name, check.cause.ok() ? "ok" : "fails",
                    time_text(check.since_wall_ns)});
  }
  text += table_text(context, rows);
  for (const HealthCheck& check : health.checks) {
    if (check.cause.ok()) continue;
    text += fmt::format("{}: {}\n", context.paint(level_colour(check.level), check.name), check.cause.message());
    if (!check.action.empty()) text += fmt::format("  the store: {}\n", check.action);
    if (!check.cause.hint().empty()) text += fmt::format("  you: {}\n", check.cause.hint());
  }
  return text;
}

/// Those that are going on or have escalated.
Status tell_incidents(Context& context, Outcome& outcome) {
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kNone));
  std::vector<Problem> ignored;  // status tells them
  outcome.json["incidents"] = Json::array();
  for (const IncidentFile& file : files.incidents(ignored)) {
    const Incident& incident = file.incident;
    if (file.state != "going on" && (file.state != "escalated" || incident.over_wall_ns != 0)) continue;
    outcome.json["incidents"].push_back({{"id", incident.id}, {"failure", incident.failure}, {"state", file.state}});
    outcome.text +=
        fmt::format("{:<11} {} {} ({}) {}\n", "incident", incident.id, encode(Encoding::kEscaped, incident.failure),
                    encode(Encoding::kEscaped, incident.component), file.state);
  }
  return {};
}

Result<Outcome> beside_a_writer(Context& context, const Status& busy) {
  DARUMA_TRY_ASSIGN(Outcome outcome, status_outcome(context));
  DARUMA_TRY(tell_incidents(context, outcome));
  outcome.exit = kExitBusy;
  outcome.error =
      Status(Code::kBusy, busy.message(), busy.where(),
             "only that process knows the store's health, and has not told it; above is what the files tell");
  return outcome;
}

/// What a writer tells of itself. One that has told nothing for long may hang, and then nothing it told is known.
Result<Outcome> of_a_writer(Context& context, const Live& live, const HealthOptions& options) {
  Outcome outcome;
  const Health& health = live.metrics.health;
  outcome.json = Json::parse(health.to_json(), nullptr, false);
  put_live(outcome.json, live);
  outcome.text = health_text(context, health, true) + age_text(live) + "\n";
  DARUMA_TRY(tell_incidents(context, outcome));
  judge(health, kLevels.at(options.level), outcome);
  if (live.stale()) {
    outcome.exit = kExitBusy;
    outcome.error = Status(Code::kBusy, age_text(live), {.file = context.directory});
  }
  return outcome;
}

Result<Outcome> health(Context& context, const HealthOptions& options) {
  if (!options.write) {
    DARUMA_TRY(context.check_directory());
    if (const auto live = read_live(context.directory); live.ok()) return of_a_writer(context, *live, options);
  }
  auto opened = options.write && !context.dry_run ? context.open_and_watch(options.watch) : context.open_for_reading();
  if (opened.status().is(Code::kBusy)) return beside_a_writer(context, opened.status());
  DARUMA_TRY(opened.status());
  const Health health = opened->store.health();
  Outcome outcome;
  outcome.json = Json::parse(health.to_json());
  outcome.text = health_text(context, health, options.write);
  judge(health, kLevels.at(options.level), outcome);
  return outcome;
}

}  // namespace

void register_health(CLI::App& app, Context& context) {
  auto options = std::make_shared<HealthOptions>();
  CLI::App* command = add_command(app, context, "health", "What fails, since when, and what is done about it",
                                  [options](Context& c) { return health(c, *options); });
  command->add_option("--level", options->level, "The least that counts for the exit code")
      ->check(CLI::IsMember({"critical", "degraded", "maintenance"}).description(""))
      ->type_name("critical|degraded|maintenance");
  command->add_flag("--write", options->write, "Open for writing, so that log, space and workers are tried too");
  add_duration(*command, "--for", "With --write: how long they are tried (500ms)",
               [options](std::chrono::milliseconds time) { options->watch = time; });
  command->footer(
      "Examples:\n  kvctl -d orders health\n  kvctl -d orders health --write --level critical && start-the-service\n"
      "Exit code 0: nothing fails that counts; 4: critical; 5: degraded, and acknowledged data is lost; 1: degraded\n"
      "otherwise, or maintenance; 3: a writer has the store and has not told how it is, or not for half a minute.");
}

}  // namespace daruma::kvctl
