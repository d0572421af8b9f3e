// SPDX-License-Identifier: Apache-2.0
//
// The survival matrix: Daruma beside LevelDB, RocksDB, LMDB, SQLite and WiredTiger, each written by a process that is
// killed, hurt by one fault, opened again and asked for every key.
//
// What must stay true: every life and every trial is a process of its own in a directory of its own, so that a crash, a
// hang or a runaway of one store is an outcome and reaches no other trial; all modes of a store meet the same faults;
// nothing a store says decides what is right, only the script that wrote it.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <list>
#include <map>

#include "survive/results.h"
#include "survive/trial.h"

namespace survive {
namespace {

namespace fs = std::filesystem;
using SteadyClock = std::chrono::steady_clock;

struct Arguments {
  std::uint64_t seeds = 40, first_seed = 0, jobs = 0, timeout = 30, bases = 4;
  std::string stores, modes, faults, classes;
  std::string trials, picture, table, directory, daruma;
};

constexpr const char* kUsage = R"(survive [--NAME=VALUE...]

  --seeds=N        trials of each cell (40); 0 only prints what --trials holds
  --first_seed=N   (0)
  --trials=FILE    finished trials are appended to it, and not done again
  --table=FILE     where the Markdown goes (standard output)
  --picture=FILE   writes the picture too, as SVG
  --stores=LIST    of daruma,leveldb,rocksdb,lmdb,sqlite,wiredtiger (all that were built in)
  --modes=LIST     of default,careful,repaired,power loss (all)
  --faults=LIST    "bit flip,zeroed sector,misdirected sector,torn tail,garbage tail,64 KiB of noise,cut short,emptied,
                   deleted" (all)
  --classes=LIST   of file classes, with semicolons between (all)
  --daruma=LIST    more options for Daruma, NAME=VALUE
  --jobs=N         trials at a time (one a processor)
  --timeout=S      a trial that takes longer hangs (30)
  --bases=N        different stores written for each mode; the seeds share them (4)
  --directory=DIR  where the stores go (a new directory in TMPDIR, /dev/shm or /tmp; removed at the end)
)";

bool listed(const std::string& list, const std::string& name, char separator = ',') {
  return list.empty() || (separator + list + separator).find(separator + name + separator) != std::string::npos;
}

Arguments parse(int argc, char** argv) {
  Arguments a;
  const std::map<std::string, std::uint64_t*> numbers = {{"seeds", &a.seeds},
                                                         {"first_seed", &a.first_seed},
                                                         {"jobs", &a.jobs},
                                                         {"timeout", &a.timeout},
                                                         {"bases", &a.bases}};
  const std::map<std::string, std::string*> texts = {
      {"stores", &a.stores},   {"modes", &a.modes},         {"faults", &a.faults},
      {"classes", &a.classes}, {"trials", &a.trials},       {"picture", &a.picture},
      {"table", &a.table},     {"directory", &a.directory}, {"daruma", &a.daruma}};
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const std::size_t equals = argument.find('=');
    const std::string name = argument.starts_with("--") ? argument.substr(2, equals - 2) : "";
    const std::string value = equals == std::string::npos ? "" : argument.substr(equals + 1);
    char* end = nullptr;
    if (const auto number = numbers.find(name); number != numbers.end() && !value.empty()) {
      *number->second = std::strtoull(value.c_str(), &end, 10);
    } else if (const auto text = texts.find(name); text != texts.end()) {
      *text->second = value;
    } else {
      end = const_cast<char*>("wrong");
    }
    if (end != nullptr && *end != '\0') {
      std::fputs(kUsage, argument == "--help" ? stdout : stderr);
      std::exit(argument == "--help" ? 0 : 2);
    }
  }
  if (a.jobs == 0) a.jobs = static_cast<std::uint64_t>(sysconf(_SC_NPROCESSORS_ONLN));
  if (a.bases == 0) a.bases = 1;
  return a;
}

std::vector<Contender> all_contenders(const Arguments& arguments) {
  std::vector<Contender> all = {daruma(arguments.daruma)};
#ifdef SURVIVE_LEVELDB
  all.push_back(leveldb());
#endif
#ifdef SURVIVE_ROCKSDB
  all.push_back(rocksdb());
#endif
#ifdef SURVIVE_LMDB
  all.push_back(lmdb());
#endif
#ifdef SURVIVE_SQLITE
  all.push_back(sqlite());
#endif
#ifdef SURVIVE_WIREDTIGER
  all.push_back(wiredtiger());
#endif
  std::erase_if(all, [&](const Contender& contender) { return !listed(arguments.stores, contender.name); });
  return all;
}

std::uint64_t hash_of(const std::string& text) {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

/// What a store may do in a process of its own: say nothing, leave no core, take no more than there is.
void confine() {
  setpgid(0, 0);
  const int null = open("/dev/null", O_RDWR);
  for (const int fd : {0, 1, 2}) dup2(null, fd);
  for (const auto& [what, most] : {std::pair{RLIMIT_CORE, rlim_t{0}}, std::pair{RLIMIT_AS, rlim_t{8} << 30},
                                   std::pair{RLIMIT_FSIZE, rlim_t{1} << 30}}) {
    const rlimit limit{most, most};
    setrlimit(what, &limit);
  }
}

class Matrix {
 public:
  Matrix(const Arguments& arguments, const std::vector<Contender>& contenders)
      : arguments_(arguments), contenders_(contenders), results_(arguments.trials) {
    const char* tmp = std::getenv("TMPDIR");
    directory_ = arguments.directory;
    if (directory_.empty()) {
      const std::string root = tmp ? tmp : access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
      directory_ = root + "/daruma_survive_" + std::to_string(getpid());
    }
    fs::create_directories(directory_);
    for (std::uint64_t i = 0; i < arguments.bases; ++i) scripts_.emplace_back(i);
  }
  ~Matrix() {
    fs::remove_all(directory_ + "/bases");
    fs::remove_all(directory_ + "/trials");
    std::error_code ignored;
    fs::remove(directory_, ignored);  // when it is empty
  }
  Matrix(const Matrix&) = delete;
  Matrix& operator=(const Matrix&) = delete;

  const std::vector<Trial>& run() {
    const SteadyClock::time_point began = SteadyClock::now();
    std::uint64_t count = 0;
    for (std::uint64_t seed = arguments_.first_seed; seed < arguments_.first_seed + arguments_.seeds; ++seed) {
      for (const Contender& contender : contenders_) {
        for (const Mode& mode : contender.modes) {
          if (!listed(arguments_.modes, mode.name)) continue;
          for (const FileClass& of : contender.classes) {
            if (!listed(arguments_.classes, of.name, ';')) continue;
            for (const Fault fault : all_faults()) {
              if (!listed(arguments_.faults, name(fault))) continue;
              if (whole_file(fault) && (of.begin != 0 || of.end != UINT64_MAX)) continue;
              count += begin(contender, mode, of, fault, seed);
            }
          }
        }
      }
      while (!running_.empty()) reap();
      const double seconds = std::chrono::duration<double>(SteadyClock::now() - began).count();
      std::fprintf(stderr, "survive: seed %llu done, %llu trials in %.0f s\n", static_cast<unsigned long long>(seed),
                   static_cast<unsigned long long>(count), seconds);
    }
    return results_.trials();
  }

 private:
  struct Running {
    pid_t pid;
    SteadyClock::time_point began;
    Trial trial;
    Findings* findings;
    std::string directory;
  };

  bool begin(const Contender& contender, const Mode& mode, const FileClass& of, Fault fault, std::uint64_t seed) {
    Trial trial;
    trial.store = contender.name, trial.mode = mode.name, trial.fault = name(fault), trial.file_class = of.name;
    trial.seed = seed;
    if (results_.has(trial.key())) return false;
    std::uint64_t number = seed % arguments_.bases;
    if (mode.rested) number |= 1;
    number %= arguments_.bases;
    const std::string base = base_of(contender, mode, number);
    while (running_.size() >= arguments_.jobs) reap();
    Findings* findings = nullptr;
    if (spare_.empty()) {
      void* const shared = mmap(nullptr, sizeof(Findings), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
      if (shared == MAP_FAILED) fail("mmap");
      findings = static_cast<Findings*>(shared);
    } else {
      findings = spare_.back();
      spare_.pop_back();
    }
    std::memset(static_cast<void*>(findings), 0, sizeof *findings);
    const std::string directory = directory_ + "/trials/" + std::to_string(next_++);
    fs::create_directories(directory);
    std::fflush(nullptr);
    const pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) {
      confine();
      fs::copy(base, directory + "/store", fs::copy_options::recursive);
      const std::uint64_t draw = hash_of(contender.name + "/" + of.name + "/" + name(fault)) + seed;
      ask(contender, mode, of, fault, draw, directory + "/store", scripts_[number], *findings);
      std::_Exit(0);
    }
    running_.push_back({child, SteadyClock::now(), trial, findings, directory});
    return true;
  }

  /// Waits until at least one trial is over.
  void reap() {
    for (;;) {
      bool any = false;
      for (auto one = running_.begin(); one != running_.end();) {
        const auto ran = SteadyClock::now() - one->began;
        const bool late = ran > std::chrono::seconds(arguments_.timeout);
        if (late) kill(one->pid, SIGKILL);
        int status = 0;
        if (waitpid(one->pid, &status, late ? 0 : WNOHANG) == 0) {
          ++one;
          continue;
        }
        kill(-one->pid, SIGKILL);  // a repair tool that it may have started
        finish(*one, late, status, ran);
        one = running_.erase(one);
        any = true;
      }
      if (any) return;
      usleep(500);
    }
  }

  void finish(Running& one, bool late, int status, SteadyClock::duration ran) {
    const Findings& f = *one.findings;
    Trial& t = one.trial;
    const std::uint32_t phase = f.phase;
    const bool ended = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (phase == Findings::kBegun) {
      std::fprintf(stderr, "survive: a trial of %s ended before it hurt anything\n", t.store.c_str());
      std::exit(1);
    }
    t.outcome = late                          ? "hung"
                : !ended                      ? "crashed"
                : phase == Findings::kNoPlace ? "none"
                : phase == Findings::kRefused ? "refused"
                : phase == Findings::kDone    ? "opened"
                                              : "crashed";
    t.asked = f.asked, t.right = f.right, t.reported = f.reported, t.missing = f.missing, t.stale = f.stale;
    t.wrong = f.wrong, t.resurrected = f.resurrected, t.scan_silent = f.scan_silent, t.scan_error = f.scan_error;
    t.write_failed = f.write_failed, t.told = f.told, t.repair_failed = f.repair_failed;
    t.ms = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(ran).count());
    t.file = f.file, t.offset = f.offset;
    results_.add(t);
    spare_.push_back(one.findings);
    fs::remove_all(one.directory);
  }

  /// The store that trials of this mode copy: written by processes that are killed at the end of each life. Those with
  /// odd numbers had stood still for a moment.
  std::string base_of(const Contender& contender, const Mode& mode, std::uint64_t number) {
    const Mode& writer = mode.careful_base ? mode : contender.modes[0];
    const std::string base = directory_ + "/bases/" + contender.name + "-" + writer.name + "-" + std::to_string(number);
    if (!made_.insert(base).second) return base;
    fs::remove_all(base);
    fs::create_directories(fs::path(base).parent_path());
    const Script& script = scripts_[number];
    std::size_t step = 0;
    while (step < script.steps().size()) {
      int ends[2];
      if (pipe(ends) != 0) fail("pipe");
      std::fflush(nullptr);
      const pid_t child = fork();
      if (child < 0) fail("fork");
      if (child == 0) {
        confine();
        const std::uint64_t next = live(writer, base, script, step);
        if (number % 2 == 1) usleep(200'000);
        if (write(ends[1], &next, sizeof next) != sizeof next) std::_Exit(6);
        for (;;) pause();
      }
      close(ends[1]);
      std::uint64_t next = 0;
      const bool told = read(ends[0], &next, sizeof next) == sizeof next;
      close(ends[0]);
      kill(child, SIGKILL);
      int status = 0;
      waitpid(child, &status, 0);
      if (!told) {
        std::fprintf(stderr, "survive: %s cannot write its store: exit %d, signal %d\n", contender.name.c_str(),
                     WIFEXITED(status) ? WEXITSTATUS(status) : 0, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
        std::exit(1);
      }
      step = next;
    }
    return base;
  }

  [[noreturn]] static void fail(const char* what) {
    std::perror(what);
    std::exit(1);
  }

  const Arguments& arguments_;
  const std::vector<Contender>& contenders_;
  Results results_;
  std::string directory_;
  std::vector<Script> scripts_;
  std::set<std::string> made_;
  std::list<Running> running_;
  std::vector<Findings*> spare_;
  std::uint64_t next_ = 0;
};

int main_of(const Arguments& arguments) {
  const std::vector<Contender> contenders = all_contenders(arguments);
  if (contenders.empty()) {
    std::fprintf(stderr, "survive: none of these stores is built in: %s\n", arguments.stores.c_str());
    return 2;
  }
  Matrix matrix(arguments, contenders);
  const std::vector<Trial>& trials = matrix.run();
  char about[300];
  std::snprintf(about, sizeof about,
                "%u keys of 12 bytes and %u never written, values of 100 bytes that do not compress; overwrites and "
                "deletes in two lives, each ended by SIGKILL; %zu stores a mode. A tail of 1000 acknowledged changes "
                "decides %.1f %% of the keys. A trial hangs after %llu s.\n\n",
                kKeys, kNeverWritten, static_cast<std::size_t>(arguments.bases), Script(0).tail_percent(),
                static_cast<unsigned long long>(arguments.timeout));
  const std::string table = "# What one fault costs\n\n" + std::string(about) + markdown(contenders, trials);
  if (arguments.table.empty())
    std::fputs(table.c_str(), stdout);
  else
    std::ofstream(arguments.table) << table;
  if (!arguments.picture.empty()) std::ofstream(arguments.picture) << picture(contenders, trials);
  return 0;
}

}  // namespace
}  // namespace survive

int main(int argc, char** argv) { return survive::main_of(survive::parse(argc, argv)); }
