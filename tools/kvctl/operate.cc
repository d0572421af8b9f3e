// SPDX-License-Identifier: Apache-2.0
//
// component, breaker, playbook, incident: the parts of a store that fail, rest and are rebooted alone, and what was
// done about failures.
//
// What must stay true: what was done is told from files, beside a writer too. What a breaker does is known only where
// its component works: `breaker ls` opens the store and lets it.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/clock.h"
#include "engine/engine.h"
#include "io/sim_storage.h"
#include "kvctl/inspect.h"

namespace daruma::kvctl {

namespace {

/// Empty and in memory: for what is the same in every store. Steps that a program adds are known to that program alone.
Result<Store> blank_store() {
  Environment environment;
  environment.storage = std::make_shared<SimStorage>();
  environment.clock = &system_clock();
  environment.threads = false;
  DARUMA_TRY_ASSIGN(Store::Opened opened, Engine::open_store("blank", {}, environment));
  return std::move(opened.store);
}

// --- incidents -------------------------------------------------------------------------------------------------------

Json incident_json(const IncidentFile& file) {
  Json json = Json::parse(file.incident.to_json());
  json["state"] = file.state;
  return json;
}

std::string took_text(const Incident& incident) {
  return incident.ended_wall_ns == 0 ? "-" : duration_text(incident.ended_wall_ns - incident.began_wall_ns);
}

std::string state_text(const Context& context, const std::string& state) {
  return context.paint(state == "resolved" ? "green" : state == "going on" ? "yellow" : "red", state);
}

std::string incident_text(const Context& context, const IncidentFile& file) {
  const Incident& incident = file.incident;
  const auto shown = [](std::string_view text) { return encode(Encoding::kEscaped, text); };
  std::string text = fmt::format(
      "incident  {}\nfailure   {}\ncomponent {}\nbegan     {}\ntook      {}\ncause     {}\n", shown(incident.id),
      shown(incident.failure), incident.component.empty() ? "-" : shown(incident.component),
      time_text(incident.began_wall_ns), took_text(incident), shown(incident.cause.to_string()));
  std::vector<std::vector<std::string>> rows{{"step", "outcome", "took", "why"}};
  for (const Incident::Step& step : incident.steps) {
    rows.push_back({shown(step.name), shown(step.outcome), duration_text(step.duration_ns),
                    step.status.ok() ? "" : shown(step.status.message())});
  }
  if (rows.size() > 1) text += table_text(context, rows, {2});
  return text + "outcome   " + state_text(context, file.state) + "\n";
}

Result<Outcome> history(Context& context, std::size_t limit) {
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kNone));
  std::vector<Problem> problems;
  std::vector<IncidentFile> all = files.incidents(problems);
  std::reverse(all.begin(), all.end());
  if (all.size() > limit) all.resize(limit);
  Outcome outcome;
  outcome.json["incidents"] = Json::array();
  std::vector<std::vector<std::string>> rows{{"incident", "began", "took", "failure", "component", "steps", "outcome"}};
  for (const IncidentFile& file : all) {
    const Incident& incident = file.incident;
    outcome.json["incidents"].push_back(incident_json(file));
    rows.push_back({encode(Encoding::kEscaped, incident.id), time_text(incident.began_wall_ns), took_text(incident),
                    encode(Encoding::kEscaped, incident.failure), encode(Encoding::kEscaped, incident.component),
                    std::to_string(incident.steps.size()), file.state});
  }
  if (rows.size() > 1) outcome.text = table_text(context, rows, {2, 5});
  tell_problems(context, problems, outcome);
  outcome.error = corruption(problems, files.directory());
  return outcome;
}

Result<Outcome> show_incident(Context& context, const std::string& id) {
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kNone));
  std::vector<Problem> ignored;
  std::vector<IncidentFile> all = files.incidents(ignored);
  if (!id.empty()) std::erase_if(all, [&](const IncidentFile& file) { return file.incident.id != id; });
  if (all.empty()) {
    return Status(Code::kNotFound,
                  id.empty() ? "no playbook has been run"
                             : fmt::format("there is no incident {}", encode(Encoding::kEscaped, id)),
                  {}, "kvctl playbook history shows what is there");
  }
  Outcome outcome;
  outcome.json["incident"] = incident_json(all.back());
  outcome.text = incident_text(context, all.back());
  return outcome;
}

// --- playbooks -------------------------------------------------------------------------------------------------------

Result<Outcome> list_playbooks(Context& context) {
  DARUMA_TRY_ASSIGN(const Store store, blank_store());
  Outcome outcome;
  outcome.json["playbooks"] = Json::array();
  std::vector<std::vector<std::string>> rows{{"failure", "steps", "first"}};
  for (const PlaybookInfo& book : store.playbooks()) {
    outcome.json["playbooks"].push_back({{"failure", book.failure}, {"steps", book.steps}});
    rows.push_back({book.failure, std::to_string(book.steps.size()), book.steps.empty() ? "" : book.steps.front()});
  }
  outcome.text = table_text(context, rows, {1});
  return outcome;
}

Result<Outcome> show_playbook(Context&, const std::string& name) {
  DARUMA_TRY_ASSIGN(const Store store, blank_store());
  for (const PlaybookInfo& book : store.playbooks()) {
    if (book.failure != name) continue;
    Outcome outcome;
    outcome.json = {{"failure", book.failure}, {"steps", book.steps}};
    for (std::size_t i = 0; i < book.steps.size(); ++i) outcome.text += fmt::format("{} {}\n", i + 1, book.steps[i]);
    return outcome;
  }
  return Status(Code::kNotFound, fmt::format("there is no playbook {}", encode(Encoding::kEscaped, name)), {},
                "kvctl playbook ls shows what is there");
}

Result<Outcome> run_playbook(Context& context, const std::string& name, const std::string& component) {
  if (context.dry_run)
    return context.fail(kExitUsage, {Code::kInvalidArgument, "playbook run has no dry run", {}, "kvctl playbook show"});
  DARUMA_TRY_ASSIGN(Store::Opened opened, context.open_for_writing(false));
  DARUMA_TRY(opened.store.sync());
  DARUMA_TRY_ASSIGN(const Incident incident, opened.store.run_playbook(name, component));
  const IncidentFile file{incident, incident.outcome};
  Outcome outcome;
  outcome.json["incident"] = incident_json(file);
  outcome.text = incident_text(context, file);
  if (incident.outcome != "resolved") {
    outcome.exit = kExitBudget;
    outcome.error = Status(Code::kUnavailable, "the playbook has ended and the failure has not", {},
                           "the steps above say what was tried");
  }
  return outcome;
}

// --- components and breakers -----------------------------------------------------------------------------------------

/// What there is, and what was last done about each. Beside a writer without the keyspaces, which only it knows.
Result<Outcome> list_components(Context& context) {
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kNone));
  DARUMA_TRY_ASSIGN(const Store blank, blank_store());
  std::vector<std::string> names;
  for (const ComponentInfo& info : blank.components()) names.push_back(info.name);
  Outcome outcome;
  if (files.live()) {
    outcome.notes.emplace_back("keyspaces are components too, but a writer has the store, so they are not listed");
  } else {
    DARUMA_TRY_ASSIGN(const Store::Opened opened, context.open_for_reading());
    for (const KeyspaceInfo& info : opened.store.keyspaces()) names.push_back("keyspace " + info.name);
  }
  std::vector<Problem> problems;
  std::map<std::string, std::vector<IncidentFile>> of;
  for (IncidentFile& file : files.incidents(problems)) of[file.incident.component].push_back(std::move(file));
  outcome.json["components"] = Json::array();
  std::vector<std::vector<std::string>> rows{{"component", "incidents", "last", "when", "outcome"}};
  for (const std::string& name : names) {
    const std::vector<IncidentFile>& all = of[name];
    Json entry = Json::object();
    Context::put_bytes(entry, "name", name, std::nullopt);
    entry["incidents"] = all.size();
    entry["last"] = all.empty() ? Json() : incident_json(all.back());
    outcome.json["components"].push_back(std::move(entry));
    rows.push_back(
        {encode(Encoding::kEscaped, name), std::to_string(all.size()), all.empty() ? "-" : all.back().incident.id,
         all.empty() ? "-" : time_text(all.back().incident.began_wall_ns), all.empty() ? "-" : all.back().state});
  }
  outcome.text = table_text(context, rows, {1});
  tell_problems(context, problems, outcome);
  outcome.error = corruption(problems, files.directory());
  return outcome;
}

Result<Outcome> restart(Context& context, const std::vector<std::string>& words) {
  const std::string name = fmt::format("{}", fmt::join(words, " "));
  if (context.dry_run)
    return context.fail(kExitUsage,
                        {Code::kInvalidArgument, "component restart has no dry run", {}, "kvctl component ls"});
  DARUMA_TRY_ASSIGN(Store::Opened opened, context.open_for_writing(false));
  DARUMA_TRY(opened.store.sync());
  const std::int64_t began = system_clock().monotonic_ns();
  DARUMA_TRY(opened.store.reboot(name));
  const std::int64_t took = system_clock().monotonic_ns() - began;
  Outcome outcome;
  Context::put_bytes(outcome.json, "component", name, std::nullopt);
  outcome.json["duration_ns"] = took;
  if (!context.quiet)
    outcome.text = fmt::format("rebooted {} in {}\n", encode(Encoding::kEscaped, name), duration_text(took));
  return outcome;
}

Result<Outcome> list_breakers(Context& context, std::chrono::milliseconds watch) {
  if (context.dry_run)
    return context.fail(kExitUsage, {Code::kInvalidArgument,
                                     "breaker ls lets the store work: it has no dry run",
                                     {},
                                     "kvctl playbook history tells what failed before"});
  DARUMA_TRY_ASSIGN(const Store::Opened opened, context.open_and_watch(watch));
  Outcome outcome;
  outcome.json["breakers"] = Json::array();
  std::vector<std::vector<std::string>> rows{{"component", "state", "opened", "retry in", "why"}};
  Status first;
  for (const ComponentInfo& info : opened.store.components()) {
    if (first.ok() && info.breaker != "closed") first = info.last;
    Json entry = {{"name", info.name},
                  {"state", info.breaker},
                  {"opened", info.breaker_opened},
                  {"retry_in_ns", info.retry_in_ns},
                  {"last", info.last.ok() ? Json() : error_json(info.last, exit_code(info.last.code()))}};
    outcome.json["breakers"].push_back(std::move(entry));
    rows.push_back({info.name, context.paint(info.breaker == "closed" ? "green" : "red", info.breaker),
                    std::to_string(info.breaker_opened), info.retry_in_ns > 0 ? duration_text(info.retry_in_ns) : "-",
                    encode(Encoding::kEscaped, info.last.message())});
  }
  outcome.text = table_text(context, rows, {2, 3});
  if (!first.ok()) outcome.exit = kExitNegative;
  return outcome;
}

}  // namespace

void register_operate(CLI::App& app, Context& context) {
  CLI::App* group = add_group(app, "component", "The parts of a store that fail, rest and are rebooted alone");
  add_command(*group, context, "ls", "Which there are, and what was last done about each", list_components)
      ->footer("Example:\n  kvctl -d orders component ls");
  auto words = std::make_shared<std::vector<std::string>>();
  CLI::App* command =
      add_command(*group, context, "restart", "Reboots one: drops what it has in memory, recovers that from disk",
                  [words](Context& c) { return restart(c, *words); });
  command->add_option("NAME", *words, "As component ls names it")->required();
  command->footer(
      "Examples:\n  kvctl -d orders component restart log\n  kvctl -d orders component restart keyspace users");

  group = add_group(app, "breaker", "Work that failed several times alike, and rests");
  auto watch = std::make_shared<std::chrono::milliseconds>(500);
  command = add_command(*group, context, "ls", "Opens the store, lets it work, and tells what fails",
                        [watch](Context& c) { return list_breakers(c, *watch); });
  add_duration(*command, "--for", "How long it may work (500ms)",
               [watch](std::chrono::milliseconds time) { *watch = time; });
  command->footer("Example:\n  kvctl -d orders breaker ls --for 2s\nExit code 1: one of them is not closed.");

  group = add_group(app, "playbook", "What is done about each kind of failure");
  add_command(*group, context, "ls", "Which there are", list_playbooks)->footer("Example:\n  kvctl playbook ls");
  auto name = std::make_shared<std::string>();
  command = add_command(*group, context, "show", "The steps of one, from the mildest to the most drastic",
                        [name](Context& c) { return show_playbook(c, *name); });
  command->add_option("NAME", *name, "Kind of failure")->required();
  command->footer("Example:\n  kvctl playbook show no_space");
  name = std::make_shared<std::string>();
  auto component = std::make_shared<std::string>();
  command = add_command(*group, context, "run", "Runs one now",
                        [name, component](Context& c) { return run_playbook(c, *name, *component); });
  command->add_option("NAME", *name, "Kind of failure")->required();
  command->add_option("--component", *component, "Which part, for the kinds that need one")->type_name("NAME");
  command->footer(
      "Examples:\n  kvctl -d orders playbook run data_lost\n"
      "  kvctl -d orders playbook run worker_failing --component compaction\n"
      "Exit code 8: it has ended and the failure has not.");
  auto limit = std::make_shared<std::size_t>(20);
  command = add_command(*group, context, "history", "Those that were run, the newest first",
                        [limit](Context& c) { return history(c, *limit); });
  command->add_option("--limit", *limit, "How many (20)")->type_name("N");
  command->footer("Example:\n  kvctl -d orders playbook history --limit 5");

  group = add_group(app, "incident", "One failure, from its discovery to its end");
  auto id = std::make_shared<std::string>();
  command = add_command(*group, context, "show", "One with its steps; the newest when no id is given",
                        [id](Context& c) { return show_incident(c, *id); });
  command->add_option("ID", *id, "Its id");
  command->footer("Example:\n  kvctl -d orders incident show i-18a3f0c2b4d5e6f7");
}

}  // namespace daruma::kvctl
