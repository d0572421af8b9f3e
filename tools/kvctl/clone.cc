// SPDX-License-Identifier: Apache-2.0
//
// clone: a second store beside the first, which is not touched.
#include "rehearsal/clone.h"

#include <fmt/format.h>

#include "kvctl/command.h"

namespace daruma::kvctl {

namespace {

Result<Outcome> clone(Context& context, const std::string& to, const rehearsal::CloneOptions& options) {
  if (context.dry_run) return context.fail(kExitUsage, {Code::kInvalidArgument, "clone has no dry run"});
  DARUMA_TRY(context.check_directory());
  Result<rehearsal::Cloned> done = rehearsal::clone_store(context.directory, to, options);
  if (done.status().is(Code::kNotFound)) return context.fail(kExitUsage, done.status());
  DARUMA_TRY_ASSIGN(const rehearsal::Cloned cloned, std::move(done));
  Outcome outcome;
  Json& json = outcome.json;
  Context::put_bytes(json, "clone", to, std::nullopt);
  std::string text;
  const auto tell = [&](const char* name, const char* words, const rehearsal::Cloned::Part& part) {
    json[name] = {{"files", part.files}, {"bytes", part.bytes}};
    if (part.files > 0)
      text += fmt::format("{}{} files, {}, {}", text.empty() ? "" : "; ", part.files, bytes_text(part.bytes), words);
  };
  tell("reflinked", "share blocks", cloned.reflinked);
  tell("linked", "share the file", cloned.linked);
  tell("copied", "copied", cloned.copied);
  json["attempts"] = cloned.attempts;
  json["left_out"] = Json::array();
  for (const std::string& name : cloned.left_out) json["left_out"].push_back(encode(Encoding::kEscaped, name));
  json["duration_ns"] = cloned.duration_ns;
  if (!context.quiet)
    outcome.text = fmt::format("{}: {}; {}\n", encode(Encoding::kEscaped, to), text, duration_text(cloned.duration_ns));
  if (!cloned.left_out.empty()) {
    std::string names;
    for (const std::string& name : cloned.left_out)
      names += (names.empty() ? "" : ", ") + encode(Encoding::kEscaped, name);
    outcome.notes.push_back("left out: " + names);
  }
  return outcome;
}

}  // namespace

void register_clone(CLI::App& app, Context& context) {
  auto to = std::make_shared<std::string>();
  auto options = std::make_shared<rehearsal::CloneOptions>();
  CLI::App* command = add_command(app, context, "clone", "A second store beside this one, which is not touched",
                                  [to, options](Context& c) { return clone(c, *to, *options); });
  command->add_option("DIR", *to, "Not there yet, or an empty directory")->required();
  command->add_flag("--live", options->live, "Beside a writer too: the clone opens as after a crash meanwhile");
  command->add_flag("--copy{false}", options->may_link, "Share no file: what hurts one must not hurt the other");
  command->footer(
      "Examples:\n  kvctl -d orders clone /backup/orders\n  kvctl -d orders clone --live orders.now\n"
      "Runs and snapshots never change: they share blocks (reflink), else the file (hard link), else they are copied. "
      "All\n"
      "else is copied. What shares blocks or files is no protection from a device that fails.\n"
      "Exit code 3: a writer has the store, and --live was not given; 10: DIR is there already.");
}

}  // namespace daruma::kvctl
