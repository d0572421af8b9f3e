// SPDX-License-Identifier: Apache-2.0
#include "kvctl/command.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <map>
#include <thread>

#include "base/clock.h"
#include "wal/wal_format.h"

namespace daruma::kvctl {

Exit exit_code(Code code) {
  switch (code) {
    case Code::kOk: return kExitDone;
    case Code::kNotFound: return kExitNegative;
    case Code::kDataLoss: return kExitLoss;
    case Code::kCorruption: return kExitCorruption;
    case Code::kIoError:
    case Code::kNoSpace:
    case Code::kOutOfMemory:
    case Code::kUnavailable: return kExitIo;
    case Code::kInvalidArgument: return kExitUsage;
    case Code::kBusy: return kExitBusy;
    case Code::kUnsupported: return kExitUnsupported;
    case Code::kReadOnly: return kExitRefused;
    case Code::kExists: return kExitConflict;
    case Code::kAborted: return kExitBudget;
  }
  return kExitBug;
}

Status Context::fail(Exit exit, Status status) {
  if (!status.ok()) failure_exit_ = exit;
  return status;
}

Status Context::check_directory() {
  if (directory.empty()) {
    return fail(kExitUsage, {Code::kInvalidArgument, "no store named", {}, "use -d DIR or set KVCTL_STORE"});
  }
  struct stat info {};
  if (::stat(directory.c_str(), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) {
      return fail(kExitUsage,
                  {Code::kNotFound, "there is no store", {.file = directory}, "check -d; put and load take --create"});
    }
    return {Code::kIoError, strerror(errno), {.file = directory}};
  }
  if (!S_ISDIR(info.st_mode)) {
    return fail(kExitUsage, {Code::kInvalidArgument, "a store is a directory", {.file = directory}});
  }
  return {};
}

namespace {

/// A store with a second log keeps it through a command that knows nothing of its options.
bool has_second_log(const std::string& directory) {
  std::error_code none;
  return !std::filesystem::is_empty(std::filesystem::path(directory) / kLogDirectories[1], none) && !none;
}

}  // namespace

Result<Store::Opened> Context::open(Options options) {
  if (!options.create_if_missing || directory.empty()) DARUMA_TRY(check_directory());
  if (has_second_log(directory)) options.wal_copies = 2;
  if (recovery_budget) options.recovery_budget = *recovery_budget;
  auto bar = std::make_shared<Progress>(*this, "recovering");
  if (!options.on_recovery_progress) {
    options.on_recovery_progress = [bar](const RecoveryProgress& p) {
      bar->rename("recovery: " + std::string(p.pass));
      bar->at(p.done, p.total);
    };
  }
  const bool back = target && options.read_only;
  auto opened = back ? Store::open_at(directory, *target, options) : Store::open(directory, options);
  bar->clear();
  if (!opened.ok()) {
    Status why = opened.status();
    if (back && why.is(Code::kNotFound)) return fail(kExitUsage, why);
    if (why.is(Code::kNotFound)) {
      return fail(kExitUsage,
                  {Code::kNotFound, "there is no store", {.file = directory}, "check -d; put and load take --create"});
    }
    return why;
  }
  report_ = opened->report;
  return opened;
}

Result<Store::Opened> Context::open_for_reading() {
  Options options;
  options.create_if_missing = false;
  options.read_only = true;
  return open(std::move(options));
}

/// A command writes little and each start begins a segment and a ring of its own, which every later start reads to the
/// end until a checkpoint: small ones keep a store that is changed a line at a time quick to open.
Result<Store::Opened> Context::open_for_writing(bool create) {
  Options options;
  options.create_if_missing = create;
  options.segment_bytes = 1 << 20;
  options.ring_bytes = 1 << 20;
  return open(std::move(options));
}

Result<Store::Opened> Context::open_and_watch(std::chrono::milliseconds time) {
  DARUMA_TRY_ASSIGN(Store::Opened opened, open_for_writing(false));
  (void)opened.store.sync();  // finishes the start; what keeps it from that is told by the store's health
  std::this_thread::sleep_for(time);
  return opened;
}

Result<Keyspace> Context::find_keyspace(const Store& store, const std::string& name) {
  auto found = store.keyspace(name);
  if (found.ok() || !found.status().is(Code::kNotFound)) return found;
  const std::string shown = encode(Encoding::kEscaped, name);
  return fail(kExitUsage,
              {Code::kNotFound,
               fmt::format("there is no keyspace \"{}\"", shown),
               {},
               fmt::format("kvctl keyspace create {} makes it, kvctl keyspace ls shows what is there", shown)});
}

Result<Keyspace> Context::find_or_create_keyspace(Store& store, const std::string& name, bool create) {
  if (create) {
    auto found = store.keyspace(name);
    if (!found.ok() && found.status().is(Code::kNotFound)) return store.create_keyspace(name);
  }
  return find_keyspace(store, name);
}

Status Context::confirm(const std::string& what) {
  if (yes || dry_run) return {};
  if (no_input || ::isatty(STDIN_FILENO) != 1 || ::isatty(STDERR_FILENO) != 1) {
    return fail(kExitRefused,
                {Code::kAborted, what + " was not confirmed", {}, "add --yes to do it, --dry-run to see it"});
  }
  const std::string prompt = what + "? [y/N] ";
  if (::write(STDERR_FILENO, prompt.data(), prompt.size()) < 0)
    return fail(kExitRefused, {Code::kAborted, "no answer"});
  std::string answer;
  for (char c = 0; ::read(STDIN_FILENO, &c, 1) == 1 && c != '\n' && answer.size() < 16;) answer.push_back(c);
  if (answer == "y" || answer == "Y" || answer == "yes") return {};
  return fail(kExitRefused, {Code::kAborted, what + " was not confirmed"});
}

std::string Context::key_text(std::string_view key, Encoding otherwise) const {
  return encode(key_format.value_or(otherwise), key);
}

std::string Context::value_text(std::string_view value, Encoding otherwise) const {
  return encode(value_format.value_or(otherwise), value);
}

void Context::put_bytes(Json& object, const std::string& name, std::string_view bytes, std::optional<Encoding> format) {
  Encoding as = format.value_or(Encoding::kUtf8);
  if (as == Encoding::kUtf8 && !is_utf8(bytes)) as = Encoding::kBase64;
  const std::string suffix = as == Encoding::kUtf8 ? "" : "_" + std::string(encoding_name(as));
  object[name + suffix] = encode(as, bytes);
}

Result<std::string> Context::parse_key(const std::string& text) {
  auto key = decode(key_format.value_or(Encoding::kUtf8), text);
  if (!key.ok()) return fail(kExitUsage, {key.status().code(), "malformed key: " + key.status().message()});
  return key;
}

Result<std::string> Context::parse_value(const std::string& text) {
  auto value = decode(value_format.value_or(Encoding::kUtf8), text);
  if (!value.ok()) return fail(kExitUsage, {value.status().code(), "malformed value: " + value.status().message()});
  return value;
}

CLI::App* add_command(CLI::App& parent, Context& context, const std::string& name, const std::string& help,
                      Context::Body body) {
  CLI::App* command = parent.add_subcommand(name, help);
  command->fallthrough();  // global options may stand after the command too
  const std::string full = parent.get_parent() == nullptr ? name : parent.get_name() + " " + name;
  command->callback([&context, full, body = std::move(body)] {
    context.command = full;
    context.body = body;
  });
  return command;
}

CLI::Option* add_duration(CLI::App& command, const std::string& name, const std::string& help,
                          std::function<void(std::chrono::milliseconds)> take) {
  static const std::map<std::string, double> kUnits{{"ms", 1e-3}, {"s", 1}, {"min", 60}, {"h", 3600}};
  return command
      .add_option_function<double>(
          name, [take = std::move(take)](double s) { take(std::chrono::milliseconds(std::llround(s * 1000))); }, help)
      ->transform(CLI::AsNumberWithUnit(kUnits, CLI::AsNumberWithUnit::CASE_SENSITIVE).description(""))
      ->check(CLI::Range(0.0, 86'400.0).description(""))
      ->type_name("DURATION");
}

CLI::Option* add_target(CLI::App& command, Context& context) {
  return command
      .add_option_function<std::string>(
          "--at",
          [&context](const std::string& text) {
            const Result<RecoveryTarget> target = parse_target(text);
            if (!target.ok()) throw CLI::ValidationError("--at", target.status().message());
            context.target = *target;
          },
          "As it was after event SEQUENCE, or at a time; see kvctl timeline")
      ->type_name("SEQUENCE|TIME");
}

Result<RecoveryTarget> parse_target(const std::string& text) {
  const Status malformed(Code::kInvalidArgument,
                         "\"" + text + "\" is no sequence and no time (2026-11-28T12:00:00Z, 2026-11-28, 10min ago)");
  if (!text.empty() && text.find_first_not_of("0123456789") == std::string::npos) {
    std::uint64_t sequence = 0;
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), sequence);
    if (error != std::errc() || sequence >= kMaxSequence) return malformed;
    return RecoveryTarget::at_sequence(sequence);
  }
  constexpr std::int64_t kSecondNs = 1'000'000'000;
  if (text.ends_with(" ago")) {
    static const std::map<std::string, std::int64_t> kUnits{{"s", 1}, {"min", 60}, {"h", 3600}, {"d", 86400}};
    std::int64_t count = 0;
    const char* const end = text.data() + text.size() - 4;
    const auto [rest, error] = std::from_chars(text.data(), end, count);
    const auto unit = kUnits.find(std::string(rest, end));
    if (error != std::errc() || unit == kUnits.end() || count < 0 || count > 366'000) return malformed;
    return RecoveryTarget::at_time(system_clock().wall_ns() - count * unit->second * kSecondNs);
  }
  std::tm parts{};
  const char* rest = ::strptime(text.c_str(), "%Y-%m-%d", &parts);
  if (!rest) return malformed;
  if (*rest == 'T' || *rest == ' ') rest = ::strptime(rest + 1, "%H:%M:%S", &parts);
  if (!rest) return malformed;
  std::int64_t fraction = 0;
  if (*rest == '.') {
    std::int64_t unit = kSecondNs;
    for (++rest; *rest >= '0' && *rest <= '9' && unit > 1; ++rest) fraction += (*rest - '0') * (unit /= 10);
  }
  if (*rest == 'Z') ++rest;
  if (*rest != '\0') return malformed;
  return RecoveryTarget::at_time(static_cast<std::int64_t>(::timegm(&parts)) * kSecondNs + fraction);
}

CLI::App* add_group(CLI::App& parent, const std::string& name, const std::string& help) {
  CLI::App* group = parent.add_subcommand(name, help);
  group->fallthrough();
  group->require_subcommand(1);
  return group;
}

Json error_json(const Status& status, int exit) {
  Json error = Json::object();
  error["code"] = exit == kExitRefused && status.is(Code::kAborted) ? "refused" : std::string(code_name(status.code()));
  error["exit"] = exit;
  error["message"] = status.message();
  Json where = Json::object();
  if (!status.where().file.empty()) Context::put_bytes(where, "file", status.where().file, std::nullopt);
  if (status.where().offset) where["offset"] = *status.where().offset;
  if (status.where().sequence) where["sequence"] = *status.where().sequence;
  if (!where.empty()) error["where"] = std::move(where);
  if (!status.hint().empty()) error["hint"] = status.hint();
  return error;
}

namespace {

std::string error_text(const Status& status) {
  std::string text = "kvctl: " + status.message();
  const Where& where = status.where();
  if (!where.file.empty())
    text += fmt::format(" ({}{})", where.file, where.offset ? fmt::format(":{}", *where.offset) : "");
  if (where.sequence) text += fmt::format(", sequence {}", *where.sequence);
  if (!status.hint().empty()) text += "\n  " + status.hint();
  return text;
}

std::string loss_note(const RecoveryReport& report) {
  return fmt::format("recovery lost acknowledged data: {} stretch{}, at least {} events, {}; kvctl report tells what",
                     report.lost.stretches, report.lost.stretches == 1 ? "" : "es", report.lost.events,
                     bytes_text(report.lost.bytes));
}

}  // namespace

int finish(Context& context, Result<Outcome> result) {
  Outcome outcome;
  if (result.ok()) {
    outcome = std::move(result).value();
  } else {
    outcome.error = result.status();
    outcome.exit = context.failure_exit_.value_or(exit_code(outcome.error.code()));
  }
  if (!outcome.error.ok() && outcome.exit == kExitDone) outcome.exit = exit_code(outcome.error.code());
  if (context.report_ && !context.report_->clean() && !outcome.judged) {
    outcome.notes.push_back(loss_note(*context.report_));
    if (outcome.exit == kExitDone) outcome.exit = kExitLoss;
  }

  if (context.json || context.ndjson) {
    Json document = Json::object();
    const bool opened = outcome.streamed && context.json;  // the document's first members are on stdout already
    if (!opened) {
      std::string name = context.command.empty() ? "error" : context.command;
      std::replace(name.begin(), name.end(), ' ', '_');
      document["schema"] = "kvctl." + name + "/1";
    }
    document["ok"] = outcome.error.ok() && outcome.exit <= kExitNegative;
    document["exit"] = outcome.exit;
    if (context.dry_run) document["dry_run"] = true;
    document.update(outcome.json);
    if (!outcome.error.ok()) document["error"] = error_json(outcome.error, outcome.exit);
    if (!outcome.notes.empty()) document["notes"] = outcome.notes;
    Status ignored;  // flush_out below repeats it
    if (opened) {
      ignored = write_out("," + dump_json(document).substr(1) + "\n");
    } else if (!outcome.streamed || !outcome.error.ok() || outcome.exit > kExitNegative) {
      ignored = write_out(dump_json(document, context.ndjson ? -1 : 2) + "\n");
    }
  } else {
    if (!outcome.streamed) (void)write_out(outcome.text);
    (void)flush_out();  // before the error, so that the two stand in order on a terminal
    if (!outcome.error.ok() && !(outcome.error.is(Code::kAborted) && outcome.exit == kExitPipe)) {
      say(error_text(outcome.error));
    }
    if (!context.quiet) {
      for (const std::string& note : outcome.notes) say("kvctl: " + note);
    }
  }
  if (const Status written = flush_out(); !written.ok()) {
    if (written.is(Code::kAborted)) return kExitPipe;
    say(error_text(written));
    return kExitIo;
  }
  return outcome.exit;
}

}  // namespace daruma::kvctl
