// SPDX-License-Identifier: Apache-2.0
//
// chaos: kills processes that write, for as long as asked, and says what was lost. On a store that is there it works on
// a clone, which goes when nothing was wrong.
#include "rehearsal/chaos.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "base/random.h"
#include "kvctl/command.h"
#include "rehearsal/clone.h"
#include "rehearsal/compare.h"
#include "rehearsal/options_in_force.h"

namespace daruma::kvctl {

namespace {

namespace fs = std::filesystem;

struct ChaosArguments {
  rehearsal::ChaosOptions options;
  std::optional<std::uint64_t> seed;
  bool in_place = false;
  bool keep = false;
};

/// So small that files are rotated and runs merged all the time.
void make_small(Options& options) {
  options.memtable_bytes = 1 << 20;
  options.segment_bytes = 1 << 20;
  options.ring_bytes = 512 << 10;
}

std::string many_text(std::uint64_t n) {
  return n < 1'000'000 ? count_text(n) : fmt::format("{:.1f} M", static_cast<double>(n) / 1e6);
}

/// What stood in the store before must be there after.
Status compare_with(const std::string& original, const std::string& other, rehearsal::Compared& compared) {
  Options look;
  look.create_if_missing = false;
  look.read_only = true;
  DARUMA_TRY_ASSIGN(const Store::Opened before, Store::open(original, look));
  DARUMA_TRY_ASSIGN(const Store::Opened after, Store::open(other, look));
  rehearsal::CompareOptions options;
  for (const std::string& name : rehearsal::chaos_keyspaces()) options.ignored.insert(name);
  DARUMA_TRY_ASSIGN(compared, rehearsal::compare(before.store, after.store, options));
  return {};
}

Result<Outcome> wreak(Context& context, ChaosArguments& arguments) {
  if (context.dry_run) return context.fail(kExitUsage, {Code::kInvalidArgument, "chaos has no dry run"});
  if (context.directory.empty()) DARUMA_TRY(context.check_directory());
  rehearsal::ChaosOptions& options = arguments.options;
  options.seed = arguments.seed.value_or(entropy_seed());
  std::error_code none;
  const bool fresh = !fs::exists(context.directory, none) || fs::is_empty(context.directory, none);
  std::string at = context.directory;
  if (fresh || arguments.in_place) {
    if (!fresh) DARUMA_TRY(context.confirm("write to this store, and kill who writes"));
    make_small(options.store);
  } else {
    DARUMA_TRY(context.check_directory());
    DARUMA_TRY_ASSIGN(options.store, rehearsal::options_in_force(context.directory));
    while (at.size() > 1 && at.ends_with('/')) at.pop_back();
    at += fmt::format(".chaos-{:x}", options.seed & 0xffffff);
    rehearsal::CloneOptions cloning;
    cloning.durable = false;
    const Result<rehearsal::Cloned> cloned = rehearsal::clone_store(context.directory, at, cloning);
    if (cloned.status().is(Code::kNotFound)) return context.fail(kExitUsage, cloned.status());
    DARUMA_TRY(cloned.status());
  }
  const auto remove_clone = [&] {
    if (at != context.directory && !arguments.keep) fs::remove_all(at, none);
  };
  if (!fresh) {
    Options look;
    look.create_if_missing = false;
    look.read_only = true;
    bool taken = false;
    {
      DARUMA_TRY_ASSIGN(const Store::Opened opened, Store::open(at, look));
      for (const std::string& name : rehearsal::chaos_keyspaces()) taken = taken || opened.store.keyspace(name).ok();
    }
    if (taken) {
      remove_clone();
      return context.fail(kExitConflict, {Code::kExists,
                                          "the store has keyspaces of chaos, and nobody knows what they should hold",
                                          {.file = context.directory},
                                          "drop \"chaos a\" and \"chaos b\", or name another directory"});
    }
  }
  if (context.recovery_budget) options.store.recovery_budget = *context.recovery_budget;
  Progress progress(context, "chaos");
  const auto total = static_cast<std::uint64_t>(options.duration.count());
  const auto began = std::chrono::steady_clock::now();
  options.progress = [&](std::uint64_t kills, std::uint64_t acknowledged) {
    progress.rename(fmt::format("chaos: {} kills, {} writes", kills, count_text(acknowledged)));
    const auto passed = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began);
    progress.at(std::min(total, static_cast<std::uint64_t>(passed.count())), total, "ms");
  };
  Result<rehearsal::ChaosResult> done = rehearsal::chaos(at, options);
  progress.clear();
  if (!done.ok()) return done.status();
  const rehearsal::ChaosResult& result = *done;
  rehearsal::Compared compared;
  if (result.kept() && at != context.directory) DARUMA_TRY(compare_with(context.directory, at, compared));
  const std::uint64_t strangers = compared.silent() + compared.in_doubt;

  Outcome outcome;
  outcome.json = {{"seed", options.seed},
                  {"writers", options.writers},
                  {"duration_ns", result.duration_ns},
                  {"kills", result.kills},
                  {"kills_in_a_start", result.kills_in_a_start},
                  {"acknowledged", result.acknowledged},
                  {"refused", result.refused},
                  {"lost", result.lost},
                  {"wrong", result.wrong},
                  {"torn", result.torn},
                  {"in_doubt", result.doubted},
                  {"checkpoints", result.checkpoints},
                  {"compactions", result.compactions},
                  {"sectors_hurt", result.faults},
                  {"slowest_first_read_ns", result.slowest_start_ns},
                  {"others_compared", compared.keys},
                  {"others_touched", strangers}};
  const auto or_none = [](std::uint64_t n) { return n == 0 ? std::string("none") : count_text(n); };
  std::string text =
      fmt::format("{} kills in {:.0f} s, {} acknowledged writes, {} lost, {} wrong; slowest recovery {}\n",
                  count_text(result.kills), static_cast<double>(result.duration_ns) / 1e9,
                  many_text(result.acknowledged), or_none(result.lost),
                  or_none(result.wrong + result.torn + result.doubted), duration_text(result.slowest_start_ns));
  text += fmt::format("{} kills met a start; {} checkpoints, {} compactions by request; {} writes refused",
                      count_text(result.kills_in_a_start), count_text(result.checkpoints),
                      count_text(result.compactions), count_text(result.refused));
  if (options.damage) text += fmt::format("; {} sectors hurt", count_text(result.faults));
  if (compared.keys > 0)
    text += fmt::format("; all {} keys that were there before are as they were", count_text(compared.keys));
  const std::string again = fmt::format("kvctl -d {} chaos --for {}ms --seed {} --writers {}{}",
                                        encode(Encoding::kEscaped, context.directory), options.duration.count(),
                                        options.seed, options.writers, options.damage ? " --damage" : "");
  text += fmt::format("\nseed {}: {} draws the same writes again; the moment a kill lands is the machine's\n",
                      options.seed, again);
  outcome.json["again"] = again;
  outcome.text = std::move(text);
  if (!result.kept() || strangers > 0) {
    outcome.exit = kExitCorruption;
    outcome.error = Status(Code::kCorruption, result.kept() ? compared.first : result.first, {.file = at},
                           "the directory is left as it is; please report it");
    return outcome;
  }
  remove_clone();
  return outcome;
}

}  // namespace

void register_chaos(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<ChaosArguments>();
  CLI::App* command = add_command(app, context, "chaos", "Kills processes that write, and says what was lost",
                                  [arguments](Context& c) { return wreak(c, *arguments); });
  add_duration(*command, "--for", "How long (60s)",
               [arguments](std::chrono::milliseconds time) { arguments->options.duration = time; });
  command->add_option("--seed", arguments->seed, "Draws the writes and the pauses; random if not given")
      ->type_name("N");
  command->add_option("--writers", arguments->options.writers, "Threads of each process (4)")
      ->check(CLI::Range(1, 64).description(""))
      ->type_name("N");
  command->add_flag("--damage", arguments->options.damage, "Hurt one sector of a file between two lives");
  command->add_flag("--in-place", arguments->in_place, "Write to the store itself, not to a clone; asks");
  command->add_flag("--keep", arguments->keep, "Leave the clone");
  command->footer(
      "Examples:\n  kvctl -d new-directory chaos --for 60s --seed 7\n  kvctl -d orders chaos --for 5min --damage "
      "--json\n"
      "A store that is there is cloned, and its keys are compared at the end. Exit code 4: something was lost or "
      "wrong.");
}

}  // namespace daruma::kvctl
