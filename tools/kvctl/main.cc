// SPDX-License-Identifier: Apache-2.0
//
// kvctl: the command line of a store. Global options, the command tree, and what happens when the command line itself
// is wrong.
//
// What must stay true: descriptors 0 to 2 are open before a store is, so that no file of the store can land on one of
// them and be written to as stdout; --json gives one document even for a command line that does not parse.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <map>

#include "kvctl/command.h"

namespace {

using namespace daruma;
using namespace daruma::kvctl;

void occupy_standard_descriptors() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) != -1) continue;
    // A closed stdout stays unwritable: what is meant for it must fail, not vanish.
    const int got = ::open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY);
    if (got != fd && got >= 0) ::dup2(got, fd);
  }
}

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

/// The command that `word` may have meant; empty: none is near.
std::string near_command(const CLI::App& app, const std::string& word) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    const std::size_t distance = edit_distance(word, command->get_name());
    if (distance < best_distance && distance < word.size()) {
      best = command->get_name();
      best_distance = distance;
    }
  }
  return best;
}

Status usage_error(const CLI::App& app, const CLI::ParseError& error, int argc, char** argv) {
  std::string message = error.what();
  std::replace(message.begin(), message.end(), '\n', ' ');
  // The innermost command that was named, and the word after it.
  const CLI::App* at = &app;
  std::string path = "kvctl";
  std::string hint;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.starts_with("-")) {
      if (at == &app && (word == "-d" || word == "-k" || word == "--dir" || word == "--keyspace")) ++i;
      continue;
    }
    const auto named = at->get_subcommands([&word](const CLI::App* command) { return command->get_name() == word; });
    const CLI::App* next = named.empty() ? nullptr : named.front();
    if (next == nullptr) {
      const bool group = !at->get_subcommands([](const CLI::App*) { return true; }).empty();
      if (!group) break;
      message = fmt::format("there is no command \"{}\"", (path + " " + word).substr(6));
      if (const std::string near = near_command(*at, word); !near.empty()) {
        hint = fmt::format("did you mean {} {}?  ", path, near);
      }
      break;
    }
    at = next;
    path += " " + word;
  }
  return {Code::kInvalidArgument, message, {}, hint + path + " --help shows how"};
}

void add_global_options(CLI::App& app, Context& context) {
  static const std::map<std::string, Encoding> kEncodings{{"utf8", Encoding::kUtf8},
                                                          {"hex", Encoding::kHex},
                                                          {"base64", Encoding::kBase64},
                                                          {"escaped", Encoding::kEscaped}};
  static const std::map<std::string, Toggle> kToggles{
      {"auto", Toggle::kAuto}, {"always", Toggle::kAlways}, {"never", Toggle::kNever}};
  static const std::map<std::string, Durability> kDurabilities{{"power", Durability::kPower},
                                                               {"process", Durability::kProcess}};
  app.add_option("-d,--dir", context.directory, "The store's directory")->envname("KVCTL_STORE")->type_name("DIR");
  app.add_option_function<std::string>(
         "-k,--keyspace",
         [&context](const std::string& name) {
           context.keyspace = name;
           context.keyspace_given = true;
         },
         "Keyspace; \"default\" when not given")
      ->type_name("NAME");
  app.add_flag("--json", context.json, "One JSON document on stdout, errors too");
  app.add_flag("--ndjson", context.ndjson, "One JSON document a line, for what streams")->excludes("--json");
  const auto encoding = [&app](const char* option, std::optional<Encoding>& target, const char* help) {
    app.add_option_function<std::string>(
           option, [&target](const std::string& name) { target = kEncodings.at(name); }, help)
        ->check(CLI::IsMember(kEncodings).description(""))
        ->type_name("utf8|hex|base64|escaped");
  };
  encoding("--key-format", context.key_format, "How keys are written, in and out");
  encoding("--value-format", context.value_format, "How values are written, in and out");
  const auto choice = [&app](const char* option, auto& target, const auto& names, const char* type, const char* help) {
    app.add_option_function<std::string>(
           option, [&target, &names](const std::string& name) { target = names.at(name); }, help)
        ->check(CLI::IsMember(names).description(""))
        ->type_name(type);
  };
  choice("--durability", context.durability, kDurabilities, "power|process", "What a write survives before it counts");
  choice("--color", context.color, kToggles, "auto|always|never", "Colours; auto: on a terminal without NO_COLOR");
  choice("--progress", context.progress, kToggles, "auto|always|never", "Progress on stderr; auto: on a terminal");
  add_duration(app, "--recovery-budget",
               "How long a start may take until the first read (50ms to 1h); 1s when not given",
               [&context](std::chrono::milliseconds budget) { context.recovery_budget = budget; });
  app.add_flag("-q,--quiet", context.quiet, "No notes and no progress on stderr");
  app.add_flag("-n,--dry-run", context.dry_run, "Say what would change and change nothing");
  app.add_flag("-y,--yes", context.yes, "Do not ask before what cannot be undone");
  app.add_flag("--no-input", context.no_input, "Never ask: refuse instead");
}

}  // namespace

int main(int argc, char** argv) {
  occupy_standard_descriptors();
  std::signal(SIGPIPE, SIG_IGN);  // a reader that goes away becomes an error of write(), see flush_out

  Context context;
  CLI::App app("kvctl looks into a Daruma store, changes it and tells what its recovery found.", "kvctl");
  app.require_subcommand(1);
  app.footer(
      "Examples:\n"
      "  kvctl -d orders put --create user/7 Ada\n"
      "  kvctl -d orders scan --prefix user/ --limit 10\n"
      "  kvctl -d orders dump | kvctl -d copy load --create\n"
      "Exit codes: 0 done, 1 negative answer, 2 usage, 3 busy, 4 corruption, 5 loss, 6 input/output, 7 format not\n"
      "supported, 8 budget, 9 refused, 10 conflict, 70 bug, 128+n signal.");
  add_global_options(app, context);
  bool version = false;
  app.add_flag("--version", version, "The same as the command version");
  register_data(app, context);
  register_scan(app, context);
  register_load(app, context);
  register_keyspace(app, context);
  register_status(app, context);
  register_health(app, context);
  register_doctor(app, context);
  register_operate(app, context);
  register_history(app, context);
  register_metrics(app, context);
  register_top(app, context);
  register_budget(app, context);
  register_postmortem(app, context);
  register_recover(app, context);
  register_verify(app, context);
  register_scrub(app, context);
  register_watch(app, context);
  register_wal(app, context);
  register_run(app, context);
  register_snapshot(app, context);
  register_quarantine(app, context);
  register_clone(app, context);
  register_drill(app, context);
  register_chaos(app, context);
  register_rollout(app, context);

  // --version needs no command, and a command line that does not parse may still ask for JSON.
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--") break;
    if (word == "--version") app.require_subcommand(0);
    if (word == "--json") context.json = true;
    if (word == "--ndjson") context.ndjson = true;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return finish(context, Outcome{.json = {{"help", app.help()}}, .text = app.help()});
  } catch (const CLI::ParseError& error) {
    return finish(context, Outcome{.exit = kExitUsage, .error = usage_error(app, error, argc, argv)});
  }
  if (version) {
    context.command = "version";
    context.body = version_outcome;
  }
  try {
    return finish(context, context.body(context));
  } catch (const std::exception& error) {  // memory, or a bug in kvctl: the store is as after a kill, which is fine
    return finish(context,
                  Outcome{.exit = kExitBug, .error = {Code::kUnavailable, error.what(), {}, "please report it"}});
  }
}
