// SPDX-License-Identifier: Apache-2.0
//
// The race: Daruma beside LevelDB, RocksDB, LMDB, SQLite and WiredTiger, and beside the machine itself, over the same
// work in one run. This program plans, keeps and reports; the stores run in programs of their own
// (bench/race/racer.cc).
//
// What must stay true: the stores take turns within every trial of every round, so that whatever else the machine does
// hits all alike; a store that crashes or hangs has no figure, and the race goes on; what has been measured is in the
// file before the next trial begins.
#include <fcntl.h>
#include <signal.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>

#include <nlohmann/json.hpp>

#include "race/pictures.h"
#include "race/report.h"
#include "race/rows.h"

namespace race {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Arguments {
  std::string rows, stores, results, table, picture, curves, directory;
  double scale = 0, seconds = 0, timeout = 900;
  int rounds = 3;
  bool list = false;
};

constexpr const char* kUsage = R"(race [--NAME=VALUE...]

  --rows=LIST      trials, or the beginnings of their names; --list tells which there are (all)
  --stores=LIST    of daruma, leveldb, rocksdb, lmdb, sqlite, wiredtiger, those with _release, reference (all built in)
  --scale=X        1 is a million records, ten million in cold rows (1)
  --seconds=S      that whatever is measured by time takes (2); what is counted takes at most ten times that
  --rounds=N       (3); 0 only reports what --results holds
  --results=FILE   JSON: all that was measured. What it holds is not done again, so a race can be stopped and go on
  --table=FILE     where the Markdown goes (standard output)
  --picture=FILE   writes the picture too, as SVG
  --curves=FILE    and one of what becomes of some rows with more threads and more keys (up to a hundred times as many);
                   else the trials that only this shows are left out, unless --rows names them. They take half an hour
  --timeout=S      a trial that takes longer hangs (900)
  --directory=DIR  where the stores go, on the device in question (a new one in TMPDIR or /tmp, removed at the end); with
                   one that is given, stores that are only read stay there for the next race of the same scale
)";

Arguments parse(int argc, char** argv) {
  Arguments a;
  const std::map<std::string, std::string*> texts = {
      {"rows", &a.rows},       {"stores", &a.stores}, {"results", &a.results},    {"table", &a.table},
      {"picture", &a.picture}, {"curves", &a.curves}, {"directory", &a.directory}};
  const std::map<std::string, double*> numbers = {
      {"scale", &a.scale}, {"seconds", &a.seconds}, {"timeout", &a.timeout}};
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const std::size_t equals = argument.find('=');
    const std::string name = argument.starts_with("--") ? argument.substr(2, equals - 2) : "";
    const std::string value = equals == std::string::npos ? "" : argument.substr(equals + 1);
    char* end = nullptr;
    if (const auto text = texts.find(name); text != texts.end() && !value.empty()) {
      *text->second = value;
      continue;
    }
    if (const auto number = numbers.find(name); number != numbers.end()) {
      *number->second = std::strtod(value.c_str(), &end);
      if (!value.empty() && *end == '\0' && *number->second > 0) continue;
    }
    if (name == "rounds" && !value.empty()) {
      a.rounds = static_cast<int>(std::strtol(value.c_str(), &end, 10));
      if (*end == '\0' && a.rounds >= 0) continue;
    }
    if (argument == "--list") {
      a.list = true;
      continue;
    }
    std::fputs(kUsage, argument == "--help" ? stdout : stderr);
    std::exit(argument == "--help" ? 0 : 2);
  }
  if (a.rounds > 0 || a.results.empty()) {
    if (a.scale == 0) a.scale = 1;
    if (a.seconds == 0) a.seconds = 2;
  }
  return a;
}

/// Empty takes all; else one of the list has to be the name, or its beginning.
bool listed(const std::string& list, const std::string& name, bool whole) {
  std::istringstream in(list);
  for (std::string one; std::getline(in, one, ',');) {
    if (whole ? name == one : name.starts_with(one)) return true;
  }
  return list.empty();
}

struct Ran {
  std::string output;
  std::string failed;  // how it ended; empty: well
};

/// Runs a racer; its standard output is what it has to say.
Ran run(const std::vector<std::string>& command, double timeout) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) std::abort();
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) std::abort();
  if (child == 0) {
    setpgid(0, 0);
    dup2(ends[1], STDOUT_FILENO);
    std::vector<char*> words;
    for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    execv(words[0], words.data());
    std::_Exit(127);
  }
  close(ends[1]);
  // A child's last words outlive it in the pipe, which holds more than a racer says.
  const auto began = std::chrono::steady_clock::now();
  int status = 0;
  Ran out;
  while (waitpid(child, &status, WNOHANG) == 0) {
    if (std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count() > timeout) {
      kill(-child, SIGKILL);
      waitpid(child, &status, 0);
      out.failed = "it hung";
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  char room[4096];
  for (ssize_t n = 0; (n = read(ends[0], room, sizeof room)) > 0;) out.output.append(room, static_cast<std::size_t>(n));
  close(ends[0]);
  if (out.failed.empty() && WIFSIGNALED(status)) out.failed = "it died of signal " + std::to_string(WTERMSIG(status));
  if (out.failed.empty() && WEXITSTATUS(status) != 0) out.failed = "it failed";
  return out;
}

struct Trials {
  Racer racer;
  std::string program;
  struct Told {
    std::string id, what;
    bool growth = false;
  };
  std::vector<Told> trials;
};

/// The racers that stand beside this program, in the order of the table.
std::vector<Trials> find_racers(const Arguments& arguments) {
  static constexpr const char* kOrder[] = {"daruma", "leveldb", "leveldb_release", "rocksdb", "rocksdb_release",
                                           "lmdb",   "sqlite",  "wiredtiger",      kReference};
  const fs::path here = fs::read_symlink("/proc/self/exe").parent_path();
  std::vector<Trials> found;
  for (const char* name : kOrder) {
    const std::string program = here / ("race_" + std::string(name));
    if (!fs::exists(program) || !listed(arguments.stores, name, true)) continue;
    const json told = json::parse(run({program}, arguments.timeout).output, nullptr, false);
    if (told.is_discarded()) {
      std::fprintf(stderr, "race: %s does not say what it is\n", program.c_str());
      std::exit(1);
    }
    Trials one{{told["name"], told["version"], told["settings"], told["cannot"]}, program, {}};
    for (const json& trial : told["trials"]) one.trials.push_back({trial["id"], trial["what"], trial["growth"]});
    found.push_back(std::move(one));
  }
  return found;
}

/// Each once, in their order.
void for_each_trial(const std::vector<Trials>& racers, const std::function<void(const Trials::Told& trial)>& each) {
  std::vector<std::string> seen;
  for (const Trials& one : racers) {
    for (const Trials::Told& trial : one.trials) {
      if (std::find(seen.begin(), seen.end(), trial.id) != seen.end()) continue;
      seen.push_back(trial.id);
      each(trial);
    }
  }
}

std::string machine() {
  std::string cpu = "unknown processor";
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (!line.starts_with("model name")) continue;
    cpu = line.substr(line.find(':') + 2);
    break;
  }
  utsname system{};
  uname(&system);
  std::string release = system.release;  // two numbers of it: builds of a kernel are many
  release.resize(std::min(release.size(), release.find('.', release.find('.') + 1)));
  const double memory = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  return cpu + ", " + std::to_string(std::thread::hardware_concurrency()) + " threads, " +
         std::to_string(std::lround(memory / (1 << 30))) + " GiB of memory, Linux " + release;
}

double load_now() {
  double load = 0;
  std::ifstream("/proc/loadavg") >> load;
  return load;
}

class Race {
 public:
  Race(const Arguments& arguments, std::vector<Trials> racers, Results& results)
      : arguments_(arguments), racers_(std::move(racers)), results_(results), directory_(arguments.directory) {
    if (directory_.empty()) {
      const char* tmp = std::getenv("TMPDIR");
      directory_ = std::string(tmp ? tmp : "/tmp") + "/daruma_race_XXXXXX";
      if (mkdtemp(directory_.data()) == nullptr) {
        std::perror(directory_.c_str());
        std::exit(1);
      }
    }
    kept_ = directory_ + "/kept_" + text(arguments.scale);
    fs::create_directories(kept_);
  }
  ~Race() {
    if (arguments_.directory.empty()) fs::remove_all(directory_);
  }
  Race(const Race&) = delete;
  Race& operator=(const Race&) = delete;

  void run_all() {
    std::vector<std::string> ids;
    for_each_trial(racers_, [&](const Trials::Told& trial) {
      const bool wanted = !trial.growth || !arguments_.curves.empty() || !arguments_.rows.empty();
      if (wanted && listed(arguments_.rows, trial.id, false)) ids.push_back(trial.id);
    });
    for (unsigned round = 0; round < static_cast<unsigned>(arguments_.rounds); ++round) {
      for (const std::string& id : ids) {
        // Another one begins each round.
        for (std::size_t i = 0; i < racers_.size(); ++i) run_one(racers_[(i + round) % racers_.size()], id, round);
      }
      std::fprintf(stderr, "race: round %u of %d is done\n", round + 1, arguments_.rounds);
    }
  }

 private:
  static std::string text(double value) {
    std::ostringstream out;
    out << value;
    return out.str();
  }

  void run_one(const Trials& racer, const std::string& id, unsigned round) {
    const std::string& name = racer.racer.name;
    if (std::none_of(racer.trials.begin(), racer.trials.end(), [&](const auto& trial) { return trial.id == id; }))
      return;
    if (racer.racer.cannot.contains(id) || results_.has(id, name, round)) return;
    const std::string directory = directory_ + "/" + name;
    fs::remove_all(directory);
    const double load = load_now();
    const auto began = std::chrono::steady_clock::now();
    Ran ran = run({racer.program, id, directory, kept_, text(arguments_.scale), text(arguments_.seconds)},
                  arguments_.timeout);
    const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    Outcome outcome{id, name, round, {}, ran.failed};
    if (ran.failed.empty()) {
      if (const json told = json::parse(ran.output, nullptr, false); told.is_object())
        outcome.figures = told;
      else
        outcome.failed = "it said nothing";
    }
    if (outcome.failed.empty()) outcome.figures["load"] = load;
    std::fprintf(stderr, "race: %-18s %-16s %5.1f s%s%s\n", id.c_str(), name.c_str(), took,
                 outcome.failed.empty() ? "" : "  ", outcome.failed.c_str());
    results_.add(std::move(outcome));
    fs::remove_all(directory);
  }

  const Arguments& arguments_;
  const std::vector<Trials> racers_;
  Results& results_;
  std::string directory_, kept_;
};

int main_of(const Arguments& arguments) {
  Results results(arguments.results, arguments.scale, arguments.seconds);
  const std::vector<Trials> racers = find_racers(arguments);
  if (arguments.list) {
    for_each_trial(racers, [](const Trials::Told& trial) {
      std::printf("%-20s %s%s\n", trial.id.c_str(), trial.what.c_str(), trial.growth ? " (for --curves)" : "");
    });
    return 0;
  }
  if (arguments.rounds > 0) {
    std::vector<Racer> described;
    for (const Trials& one : racers) described.push_back(one.racer);
    results.about(machine(), std::move(described));
    results.save();
    Race(arguments, racers, results).run_all();
  }
  std::string curves_from_table;
  if (!arguments.curves.empty())
    curves_from_table = fs::path(arguments.curves).lexically_proximate(fs::path(arguments.table).parent_path());
  if (arguments.table.empty())
    std::fputs(markdown(results, curves_from_table).c_str(), stdout);
  else
    std::ofstream(arguments.table) << markdown(results, curves_from_table);
  if (!arguments.picture.empty()) std::ofstream(arguments.picture) << ratios(results);
  if (!arguments.curves.empty()) std::ofstream(arguments.curves) << curves(results);
  return 0;
}

}  // namespace
}  // namespace race

int main(int argc, char** argv) { return race::main_of(race::parse(argc, argv)); }
