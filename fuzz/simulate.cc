// SPDX-License-Identifier: Apache-2.0
//
// The whole store on a simulated disk: lives, deaths and damage drawn from a seed, every answer held against a model
// (simulation/model.h says what is legal). A line of totals every 50,000 cycles and at the end; a violation prints the
// command that replays it, and a shrunk history. SIGINT ends it after the history at hand, with its
// totals. Exit codes: 0 no violation, 1 some, 2 wrong use.
#include <sys/time.h>
#include <unistd.h>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

#include "base/random.h"
#include "simulation/shrink.h"

namespace daruma::simulation {
namespace {

struct Arguments {
  std::uint64_t seed = 0;
  std::uint64_t cycles = 10'000;
  std::string faults = "all";
  PlanSettings plan;
  Settings settings;
  std::uint64_t violations_max = 1;
  bool shrink = true;
};

// A history that takes longer hangs: in a loop, or in a wait that nothing ends.
constexpr time_t kProcessorSecondsPerHistory = 120;
constexpr unsigned kSecondsPerHistory = 3600;
constexpr std::uint64_t kTotalsEveryCycles = 50'000;  // a run that is cut off has said what it did

char g_replay[256];  // the command, for a signal handler

volatile std::sig_atomic_t g_stop = 0;

void watch_history(bool watched) {
  const itimerval processor{{}, {watched ? kProcessorSecondsPerHistory : 0, 0}};
  setitimer(ITIMER_PROF, &processor, nullptr);
  alarm(watched ? kSecondsPerHistory : 0);
}

void stop_soon(int) { g_stop = 1; }

void die_saying_how(int signal) {
  constexpr char kText[] = "\nthe simulation died in the history of:\n  ";
  (void)!write(STDERR_FILENO, kText, sizeof kText - 1);
  (void)!write(STDERR_FILENO, g_replay, std::strlen(g_replay));
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void usage() {
  std::fputs(
      "simulate [--seed N] [--cycles N] [--steps N] [--faults all|none|power,media,files,running,shorn]\n"
      "         [--keep-going N] [--trace] [--no-shrink]\n\n"
      "  --seed N        the first history's seed; each history after it has the next (default: drawn, and printed)\n"
      "  --cycles N      crash and recover this often, then finish the history at hand (default 10000)\n"
      "  --steps N       what is done in one life, on average (default 24)\n"
      "  --faults LIST   which may happen; kills always do\n"
      "  --keep-going N  stop at the Nth violation (default 1)\n"
      "  --trace         print what happens\n",
      stderr);
}

bool parse(int count, char** words, Arguments& out) {
  out.seed = entropy_seed() % 1'000'000'000;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    const auto number = [&](std::uint64_t& to) {
      char* end = nullptr;
      if (++i >= count) return false;
      to = std::strtoull(words[i], &end, 10);
      return end != words[i] && *end == '\0';
    };
    if (word == "--trace") {
      out.settings.trace = true;
    } else if (word == "--no-shrink") {
      out.shrink = false;
    } else if (word == "--faults" && ++i < count) {
      out.faults = words[i];
      const std::optional<unsigned> faults = parse_faults(out.faults);
      if (!faults) return false;
      out.plan.faults = out.settings.faults = *faults;
    } else if (!(word == "--seed" && number(out.seed)) && !(word == "--cycles" && number(out.cycles)) &&
               !(word == "--steps" && number(out.plan.steps)) &&
               !(word == "--keep-going" && number(out.violations_max))) {
      return false;
    }
  }
  return true;
}

void print(const Totals& totals, double seconds) {
  const auto n = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  const double processor = static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
  std::printf(
      "cycles %llu (kill %llu, power %llu, abandon %llu), histories %llu, acts %llu, events %llu; starts crashed in a "
      "row:",
      n(totals.cycles), n(totals.kills), n(totals.power_cuts), n(totals.abandoned), n(totals.histories), n(totals.acts),
      n(totals.events));
  for (std::size_t depth = 1; depth < kDepths; ++depth)
    std::printf(" %zu:%llu", depth, n(totals.crashed_starts[depth]));
  std::printf(
      "; checkpoints %llu, compactions %llu, healed runs %llu, salvaged %llu, scrubs %llu, reads of views %llu, "
      "reboots %llu",
      n(totals.checkpoints), n(totals.compactions), n(totals.healed_runs), n(totals.salvaged_runs), n(totals.scrubs),
      n(totals.view_reads), n(totals.reboots));
  std::printf("; fired:");
  for (std::size_t i = 0; i < kRunningFaults; ++i) {
    const std::string_view kind = running_fault_name(i);
    std::printf(" %.*s %llu,", static_cast<int>(kind.size()), kind.data(), n(totals.running[i]));
  }
  for (std::size_t i = 0; i < kWoundKinds; ++i) {
    const std::string_view kind = name(static_cast<Wound::Kind>(i));
    std::printf(" %.*s %llu%s", static_cast<int>(kind.size()), kind.data(), n(totals.wounds[i]),
                i + 1 < kWoundKinds ? "," : "");
  }
  std::printf(
      "; starts exact %llu (one fault %llu), losses told %llu, log healed %llu, given up at a point in time %llu, "
      "beyond proof "
      "%llu; violations %llu; %.0f s, %.0f of a processor, %.0f cycles a minute of it\n",
      n(totals.exact), n(totals.one_fault), n(totals.told), n(totals.healed), n(totals.given_up), n(totals.beyond),
      n(totals.violations), seconds, processor,
      processor > 0 ? static_cast<double>(totals.cycles) * 60 / processor : 0.0);
  std::fflush(stdout);
}

int simulate(const Arguments& arguments) {
  Totals totals;
  const auto began = std::chrono::steady_clock::now();
  for (const int signal : {SIGABRT, SIGSEGV, SIGILL, SIGTRAP, SIGALRM, SIGPROF, SIGBUS})
    std::signal(signal, die_saying_how);
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, stop_soon);
  std::printf("seed %llu, faults %s\n", static_cast<unsigned long long>(arguments.seed), arguments.faults.c_str());
  const auto print_totals = [&] {
    print(totals, std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
  };
  std::uint64_t next_totals = kTotalsEveryCycles;
  for (std::uint64_t seed = arguments.seed; totals.cycles < arguments.cycles && !g_stop; ++seed) {
    if (totals.cycles >= next_totals) {
      print_totals();
      next_totals += kTotalsEveryCycles;
    }
    std::snprintf(g_replay, sizeof g_replay, "simulate --seed %llu --cycles 1 --steps %llu --faults %s\n",
                  static_cast<unsigned long long>(seed), static_cast<unsigned long long>(arguments.plan.steps),
                  arguments.faults.c_str());
    watch_history(true);
    Choices choices(seed);
    const Plan plan = make_plan(choices, arguments.plan);
    Simulation simulation(plan, arguments.settings, totals);
    const std::optional<Violation> violation = simulation.run();
    if (arguments.settings.trace) {
      for (const std::string& line : simulation.history()) std::printf("  %s\n", line.c_str());
    }
    if (!violation) continue;
    std::printf("VIOLATION of %s: %s\n  %s", violation->promise.c_str(), violation->what.c_str(), g_replay);
    if (arguments.shrink) {
      watch_history(false);
      const Shrunk shrunk = shrink(plan, *violation, arguments.settings);
      std::printf("shrunk in %zu runs:\n", shrunk.runs);
      for (const std::string& line : shrunk.history) std::printf("  %s\n", line.c_str());
    }
    std::fflush(stdout);
    if (totals.violations >= arguments.violations_max) break;
  }
  print_totals();
  return totals.violations == 0 ? 0 : 1;
}

}  // namespace
}  // namespace daruma::simulation

int main(int count, char** words) {
  daruma::simulation::Arguments arguments;
  if (!daruma::simulation::parse(count, words, arguments)) {
    daruma::simulation::usage();
    return 2;
  }
  return daruma::simulation::simulate(arguments);
}
