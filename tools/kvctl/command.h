// SPDX-License-Identifier: Apache-2.0
//
// What every command of kvctl is made of: registration, the context it runs in, the outcome it returns.
//
// What must stay true:
//   - stdout carries data only, stderr messages, progress and prompts. With --json exactly one JSON document leaves on
//     stdout, whatever happens; with --ndjson one document a line.
//   - The exit code follows from the outcome alone (Exit below) and means the same for every command.
//   - A command never exits and never prints an error itself: it returns, and `finish` speaks for it.
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status_macros.h"
#include "daruma/store.h"
#include "kvctl/encoding.h"

namespace daruma::kvctl {

using Json = nlohmann::ordered_json;

/// Stable; docs and scripts rely on them. 128+n: killed by signal n, as the shell says it.
enum Exit : int {
  kExitDone = 0,
  kExitNegative = 1,     ///< a negative answer: the key is absent, a difference was found
  kExitUsage = 2,        ///< the command line or its input; no such store or keyspace
  kExitBusy = 3,         ///< locked by another process
  kExitCorruption = 4,   ///< found and not repaired
  kExitLoss = 5,         ///< recovered, with loss or quarantine
  kExitIo = 6,           ///< input, output, no space, a component that is down
  kExitUnsupported = 7,  ///< format or feature from the future
  kExitBudget = 8,       ///< stopped: budget or time exceeded
  kExitRefused = 9,      ///< needs --yes, the store is read-only, a pre-check failed
  kExitConflict = 10,    ///< it is already there
  kExitBug = 70,
  kExitPipe = 141,  ///< 128 + SIGPIPE: whoever read stdout has gone
};

Exit exit_code(Code code);

/// What a command returns. With --json, `json` is printed with "schema", "ok" and "exit" around it; else `text`, as it
/// stands (so it ends its own lines). `notes` go to stderr, one a line, unless --quiet; they are under "notes" in JSON.
struct Outcome {
  Json json = Json::object();
  std::string text{};
  int exit = kExitDone;
  Status error{};  ///< not ok: also printed as an error; `exit` says which, kExitDone: as exit_code(error.code())
  std::vector<std::string> notes{};
  bool streamed = false;  ///< stdout already has everything, in every format; only the error is left to print
  bool judged = false;    ///< `exit` stands, whatever the start of this command found
};

/// Something done to the store, with a bar on a terminal after half a second, else a line every five. Thread: one.
class Progress;

enum class Toggle : std::uint8_t { kAuto, kAlways, kNever };

class Context {
 public:
  // Global options, as given; valid when a command runs.
  std::string directory;             ///< -d, or KVCTL_STORE
  std::string keyspace = "default";  ///< -k
  bool keyspace_given = false;
  bool json = false;
  bool ndjson = false;
  bool quiet = false;
  bool dry_run = false;
  bool yes = false;
  bool no_input = false;
  std::optional<Encoding> key_format;    ///< nothing: what suits the output
  std::optional<Encoding> value_format;  ///< likewise
  Durability durability = Durability::kPower;
  Toggle color = Toggle::kAuto;
  Toggle progress = Toggle::kAuto;
  std::optional<std::chrono::milliseconds> recovery_budget;
  std::optional<RecoveryTarget> target;  ///< --at: what is opened for reading is the store as it was then

  std::string command;  ///< "keyspace ls": names the schema, "kvctl.keyspace_ls/1"

  /// Opens the store in `directory`. Reading never creates and changes no byte; writing creates only when told to. A
  /// store that is not there exits with kExitUsage. Loss that this start found becomes a note and kExitLoss.
  Result<Store::Opened> open_for_reading();
  Result<Store::Opened> open_for_writing(bool create);
  /// For writing, and gives the store's workers and its supervisor `time` to try what there is to do: what fails on
  /// this disk fails then.
  Result<Store::Opened> open_and_watch(std::chrono::milliseconds time);
  /// As those, with the options at hand (policy). `options.on_recovery_progress` is set when it is empty.
  Result<Store::Opened> open(Options options);
  /// Refuses unless a store's directory is there; for commands that look at files without opening the store.
  Status check_directory();

  /// The keyspace named by -k (or `name`); not there: kExitUsage, and the hint says how to create it.
  Result<Keyspace> find_keyspace(const Store& store, const std::string& name);
  Result<Keyspace> find_keyspace(const Store& store) { return find_keyspace(store, keyspace); }
  Result<Keyspace> find_or_create_keyspace(Store& store, const std::string& name, bool create);

  /// `status`, to be returned by the command with this exit code instead of that of its Code.
  Status fail(Exit exit, Status status);
  /// ok when `what` ("drop keyspace users") may go on: --yes was given or a person at the terminal said so. Else
  /// kExitRefused.
  Status confirm(const std::string& what);

  [[nodiscard]] WriteOptions write_options() const { return {.durability = durability}; }
  /// Colour codes for text on stdout: only on a terminal, never with NO_COLOR, unless --color says otherwise.
  [[nodiscard]] bool colour() const;
  /// `text` in bold, red, yellow, green or dim, or as it is without colour.
  [[nodiscard]] std::string paint(std::string_view style, std::string_view text) const;
  [[nodiscard]] bool show_progress() const;

  // How keys and values look in text: the format given, else `otherwise`.
  [[nodiscard]] std::string key_text(std::string_view key, Encoding otherwise = Encoding::kEscaped) const;
  [[nodiscard]] std::string value_text(std::string_view value, Encoding otherwise = Encoding::kEscaped) const;
  /// Adds `bytes` to a JSON object so that the name tells the encoding: "key" is UTF-8, "key_hex", "key_base64" and
  /// "key_escaped" are what they say. Without a format given: UTF-8 when it is, else base64.
  static void put_bytes(Json& object, const std::string& name, std::string_view bytes, std::optional<Encoding> format);
  void put_key(Json& object, std::string_view key, const std::string& name = "key") const {
    put_bytes(object, name, key, key_format);
  }
  void put_value(Json& object, std::string_view value, const std::string& name = "value") const {
    put_bytes(object, name, value, value_format);
  }
  /// A key or value from the command line; a malformed one is kExitUsage.
  Result<std::string> parse_key(const std::string& text);
  Result<std::string> parse_value(const std::string& text);

  using Body = std::function<Result<Outcome>(Context&)>;
  Body body;  ///< of the command that was named on the command line

 private:
  friend int finish(Context& context, Result<Outcome> result);
  std::optional<Exit> failure_exit_;  // set by `fail`
  std::optional<RecoveryReport> report_;
};

/// Adds command `name` to `parent`; `body` runs once after parsing when it is the one named. Options bound to variables
/// that outlive this call (a shared_ptr captured by `body`) are added to the App returned. Examples go to ->footer().
CLI::App* add_command(CLI::App& parent, Context& context, const std::string& name, const std::string& help,
                      Context::Body body);
/// Adds an option that takes "250ms", "2s", "5min"; a bare number is in seconds.
CLI::Option* add_duration(CLI::App& command, const std::string& name, const std::string& help,
                          std::function<void(std::chrono::milliseconds)> take);
/// Adds --at, for a command that opens the store for reading only.
CLI::Option* add_target(CLI::App& command, Context& context);
/// "1234" is a sequence; "2026-11-28T12:00:00.5Z" (UTC), "2026-11-28" and "10min ago" are times. kInvalidArgument.
Result<RecoveryTarget> parse_target(const std::string& text);
/// Adds a noun that needs one of its own commands: "keyspace".
CLI::App* add_group(CLI::App& parent, const std::string& name, const std::string& help);

void register_data(CLI::App& app, Context& context);        ///< put get del exists batch
void register_scan(CLI::App& app, Context& context);        ///< scan count dump
void register_load(CLI::App& app, Context& context);        ///< load
void register_keyspace(CLI::App& app, Context& context);    ///< keyspace …, checkpoint, compact, version
void register_status(CLI::App& app, Context& context);      ///< status
void register_recover(CLI::App& app, Context& context);     ///< recover, report
void register_verify(CLI::App& app, Context& context);      ///< verify
void register_scrub(CLI::App& app, Context& context);       ///< scrub
void register_watch(CLI::App& app, Context& context);       ///< watch
void register_wal(CLI::App& app, Context& context);         ///< wal …
void register_run(CLI::App& app, Context& context);         ///< run …
void register_snapshot(CLI::App& app, Context& context);    ///< snapshot …
void register_quarantine(CLI::App& app, Context& context);  ///< quarantine …, damage …
void register_health(CLI::App& app, Context& context);      ///< health
void register_doctor(CLI::App& app, Context& context);      ///< doctor
void register_history(CLI::App& app, Context& context);     ///< timeline, restore, why
void register_operate(CLI::App& app, Context& context);     ///< component …, breaker …, playbook …, incident …
void register_clone(CLI::App& app, Context& context);       ///< clone
void register_drill(CLI::App& app, Context& context);       ///< drill …
void register_chaos(CLI::App& app, Context& context);       ///< chaos
void register_rollout(CLI::App& app, Context& context);     ///< rollout …
void register_metrics(CLI::App& app, Context& context);     ///< metrics
void register_top(CLI::App& app, Context& context);         ///< top
void register_budget(CLI::App& app, Context& context);      ///< budget
void register_postmortem(CLI::App& app, Context& context);  ///< postmortem
Result<Outcome> status_outcome(Context& context);           ///< what `kvctl status` tells
Result<Outcome> version_outcome(Context& context);          ///< what `kvctl version` tells
Result<Outcome> checkpoint_outcome(Context& context);       ///< what `kvctl checkpoint` does

/// The "error" member: {"code","exit","message","where":{…},"hint"}; members that are not known are left out.
Json error_json(const Status& status, int exit);
/// Prints the outcome (or the error) the way the context asks for and returns the exit code.
int finish(Context& context, Result<Outcome> result);

// Output. All of stdout goes through here; a closed or full stdout is an error, never lost in silence.

/// Adds to a buffer that is written out when large. Not ok: what could not be written; kAborted: the reader has gone.
Status write_out(std::string_view bytes);
Status flush_out();
/// One line to stderr.
void say(std::string_view line);
/// One JSON document on one line, bytes that are not UTF-8 replaced.
std::string dump_json(const Json& json, int indent = -1);

/// "1,234,567", "64.0 MiB", "1.52 s", "2026-11-24T16:43:33Z".
std::string count_text(std::uint64_t n);
std::string bytes_text(std::uint64_t n);
std::string duration_text(std::int64_t nanoseconds);
std::string time_text(std::int64_t wall_nanoseconds);
/// "1 frame", "1,234 frames".
std::string plural(std::uint64_t n, std::string_view one, std::string_view many);
/// Rows in columns; the first is the head, columns named in `right` are numbers. Control characters are not escaped.
std::string table_text(const Context& context, const std::vector<std::vector<std::string>>& rows,
                       const std::vector<std::size_t>& right = {});

class Progress {
 public:
  Progress(const Context& context, std::string what) : on_(context.show_progress()), what_(std::move(what)) {}
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void at(std::uint64_t done, std::uint64_t total, std::string_view unit = "bytes");  ///< `total` 0: unknown
  void rename(std::string_view what) { what_ = what; }
  void clear();  ///< takes the bar off the terminal

 private:
  bool on_;
  std::string what_;
  std::int64_t began_ns_ = 0;
  std::int64_t last_ns_ = 0;
  bool drawn_ = false;
};

}  // namespace daruma::kvctl
