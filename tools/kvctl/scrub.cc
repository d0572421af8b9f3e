// SPDX-License-Identifier: Apache-2.0
//
// scrub: reads every byte of the store and heals what it finds, as the background does in its own time. verify tells
// without touching; this one mends.
#include <fmt/format.h>

#include <algorithm>

#include "kvctl/command.h"

namespace daruma::kvctl {

namespace {

Result<Outcome> scrub(Context& context) {
  if (context.dry_run)
    return context.fail(kExitUsage,
                        {Code::kInvalidArgument, "scrub has no dry run", {}, "kvctl verify --deep looks only"});
  DARUMA_TRY_ASSIGN(Store::Opened opened, context.open_for_writing(false));
  Progress progress(context, "scrubbing");
  DARUMA_TRY_ASSIGN(const ScrubResult found,
                    opened.store.scrub([&](std::uint64_t done, std::uint64_t total) { progress.at(done, total); }));
  progress.clear();
  Outcome outcome;
  outcome.json["files"] = found.files;
  outcome.json["bytes"] = found.bytes;
  outcome.json["sectors"] = found.sectors;
  outcome.json["damaged"] = found.damaged;
  outcome.json["healed"] = found.healed;
  outcome.json["lost"] = found.lost;
  const std::uint64_t left = found.damaged - std::min(found.damaged, found.healed + found.lost);
  std::string what = found.damaged == 0
                         ? context.paint("green", "every byte is sound")
                         : fmt::format("{} damaged, {} healed, {} lost", found.damaged, found.healed, found.lost);
  if (left > 0) what += fmt::format(", {} left as they are", left);
  outcome.text = fmt::format("{} files, {} read: {}\n", found.files, bytes_text(found.bytes), what);
  if (found.lost > 0) {
    outcome.exit = kExitLoss;
    outcome.error = Status(Code::kDataLoss, fmt::format("{} files hold damage that nothing can heal", found.lost), {},
                           "kvctl damage ls tells which keys");
  } else if (left > 0) {
    outcome.exit = kExitCorruption;
    outcome.error = Status(Code::kCorruption,
                           fmt::format("{} files are damaged still, which the newest snapshot does not need", left), {},
                           "kvctl trim gives up what does: the older snapshot, and history");
  }
  return outcome;
}

}  // namespace

void register_scrub(CLI::App& app, Context& context) {
  add_command(app, context, "scrub", "Reads every byte and heals what is damaged", scrub)
      ->footer(
          "Examples:\n  kvctl -d orders scrub\n  kvctl -d orders scrub --json | jq .healed\n"
          "Exit code 0: sound, or healed; 4: damaged still; 5: something is lost; 3: another writer has the store.");
}

}  // namespace daruma::kvctl
