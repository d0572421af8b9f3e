// SPDX-License-Identifier: Apache-2.0
//
// Daruma beside LevelDB, RocksDB and LMDB over the same work, in one run.
//
// What must stay true: the contenders take turns within every repeat, so that whatever else the machine does hits all
// alike; every measurement is a process of its own, so that none inherits another's memory; a store that is opened for
// a recovery row was killed with SIGKILL while it was open, and its files are in the page cache.
#include <signal.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "base/json_writer.h"
#include "base/random.h"
#include "race/contender.h"

namespace race {
namespace {

namespace fs = std::filesystem;
using SteadyClock = std::chrono::steady_clock;

struct Arguments {
  std::uint64_t records = 1'000'000;  // of the store that is read, scanned and reopened
  std::uint64_t replay = 1'000'000;   // events that a start has to replay
  std::uint64_t puts = 400'000;       // of a row of puts that are not durable
  std::uint64_t reads = 300'000;
  double seconds = 1;  // of a row of durable puts
  unsigned repeat = 3;
  std::uint64_t value_bytes = 100;
  std::uint64_t memtable_mib = 64, cache_mib = 64;
  std::string rows = "load,put,durable,get,missing,scan,reopen,replay";
  std::string peers = "daruma,leveldb,rocksdb,lmdb";
  std::string directory, json;
};

constexpr const char* kUsage = R"(race [--NAME=VALUE...]

  --records=N      in the store that is loaded, read, scanned and reopened (1000000)
  --replay=N       events that a start has to replay (1000000)
  --puts=N         in a row of puts without sync (400000)
  --reads=N        in a row of gets (300000)
  --seconds=S      that a row of durable puts takes (1)
  --value_bytes=N  (100); keys have 16 bytes
  --memtable_mib=N, --cache_mib=N   of each contender that has one (64, 64)
  --repeat=N       rounds; the table gives the median (3)
  --rows=LIST      of load,put,durable,get,missing,scan,reopen,replay (all)
  --peers=LIST     of daruma,leveldb,rocksdb,lmdb (all)
  --directory=DIR  where the stores go, on the device in question (a new one under TMPDIR or /tmp; removed at the end);
                   a loaded store that an earlier run left in DIR is used again
  --json=FILE      every sample, as JSON
)";

bool listed(const std::string& list, const std::string& name) {
  return ("," + list + ",").find("," + name + ",") != std::string::npos;
}

Arguments parse(int argc, char** argv) {
  Arguments a;
  const std::map<std::string, std::uint64_t*> numbers = {
      {"records", &a.records},    {"replay", &a.replay},           {"puts", &a.puts},
      {"reads", &a.reads},        {"value_bytes", &a.value_bytes}, {"memtable_mib", &a.memtable_mib},
      {"cache_mib", &a.cache_mib}};
  const std::map<std::string, std::string*> texts = {
      {"rows", &a.rows}, {"peers", &a.peers}, {"directory", &a.directory}, {"json", &a.json}};
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const std::size_t equals = argument.find('=');
    const std::string name = argument.starts_with("--") ? argument.substr(2, equals - 2) : "";
    const std::string value = equals == std::string::npos ? "" : argument.substr(equals + 1);
    if (const auto number = numbers.find(name); number != numbers.end() && std::atoll(value.c_str()) > 0) {
      *number->second = static_cast<std::uint64_t>(std::atoll(value.c_str()));
    } else if (const auto text = texts.find(name); text != texts.end() && !value.empty()) {
      *text->second = value;
    } else if (name == "repeat" && std::atoi(value.c_str()) > 0) {
      a.repeat = static_cast<unsigned>(std::atoi(value.c_str()));
    } else if (name == "seconds" && std::atof(value.c_str()) > 0) {
      a.seconds = std::atof(value.c_str());
    } else {
      std::fputs(kUsage, argument == "--help" ? stdout : stderr);
      std::exit(argument == "--help" ? 0 : 2);
    }
  }
  return a;
}

double seconds_since(SteadyClock::time_point began) {
  return std::chrono::duration<double>(SteadyClock::now() - began).count();
}

/// Keys of 16 bytes; those with odd numbers are never written. Values of which half compresses.
class Work {
 public:
  explicit Work(std::uint64_t value_bytes) : value_bytes_(value_bytes) {
    daruma::Random random(7);
    for (std::size_t at = 0; at < pool_.size(); ++at) {
      pool_[at] = at % value_bytes < value_bytes / 2 ? static_cast<char>(random.next()) : 'v';
    }
  }
  static std::string key(std::uint64_t number) {
    char text[40];
    std::snprintf(text, sizeof text, "user%012llu", static_cast<unsigned long long>(number));
    return text;
  }
  [[nodiscard]] std::string_view value(std::uint64_t number) const {
    return std::string_view(pool_).substr(number % (pool_.size() / value_bytes_ - 1) * value_bytes_, value_bytes_);
  }
  /// The `i`th of `n` numbers in an order that looks random and meets each once.
  static std::uint64_t scattered(std::uint64_t i, std::uint64_t n) {
    constexpr std::uint64_t kPrime = 2'147'483'647;
    return (i % n) * (kPrime % n == 0 ? 1 : kPrime % n) % n;
  }

 private:
  std::uint64_t value_bytes_;
  std::string pool_ = std::string(std::max<std::uint64_t>(1 << 20, 4 * value_bytes_), '\0');
};

/// Runs `work` in a process of its own and returns what it measured; that process ends as a kill would end it.
std::vector<double> in_child(const std::function<std::vector<double>()>& work) {
  int ends[2];
  if (pipe(ends) != 0) std::abort();
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    const std::vector<double> out = work();
    const auto bytes = static_cast<ssize_t>(out.size() * sizeof(double));
    std::_Exit(write(ends[1], out.data(), static_cast<std::size_t>(bytes)) == bytes ? 0 : 1);
  }
  close(ends[1]);
  std::vector<double> out;
  double value = 0;
  while (read(ends[0], &value, sizeof value) == sizeof value) out.push_back(value);
  close(ends[0]);
  int status = 0;
  if (waitpid(child, &status, 0) != child || status != 0) {
    std::fprintf(stderr, "race: a measurement failed\n");
    std::exit(1);
  }
  return out;
}

/// Runs `work` in a process of its own and kills it, with the store open, once `work` has returned it.
void then_kill(const std::function<std::unique_ptr<Store>()>& work) {
  int ends[2];
  if (pipe(ends) != 0) std::abort();
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    const std::unique_ptr<Store> store = work();
    if (write(ends[1], "", 1) != 1) std::_Exit(1);
    for (;;) pause();
  }
  close(ends[1]);
  char ready = 0;
  const bool ok = read(ends[0], &ready, 1) == 1;
  close(ends[0]);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  if (!ok) {
    std::fprintf(stderr, "race: preparing a store failed\n");
    std::exit(1);
  }
}

/// Reads every file, so that its pages are cached.
void warm(const std::string& directory) {
  std::vector<char> chunk(1 << 20);
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file() || entry.file_size() > (std::uint64_t{32} << 30)) continue;  // LMDB's map is sparse
    std::ifstream file(entry.path(), std::ios::binary);
    while (file.read(chunk.data(), static_cast<std::streamsize>(chunk.size()))) {}
  }
}

struct Row {
  std::string name, unit;
  bool more_is_better = true;
  std::map<std::string, std::vector<double>> samples;  // by contender
};

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v.size() % 2 ? v[v.size() / 2] : (v[v.size() / 2 - 1] + v[v.size() / 2]) / 2;
}

class Race {
 public:
  explicit Race(Arguments arguments) : args_(std::move(arguments)), work_(args_.value_bytes) {
    for (const Contender& c : {daruma(), leveldb(), rocksdb(), lmdb()}) {
      if (listed(args_.peers, c.name)) contenders_.push_back(c);
    }
    settings_.memtable_bytes = args_.memtable_mib << 20;
    settings_.cache_bytes = args_.cache_mib << 20;
  }

  void run() {
    static constexpr unsigned kThreads[] = {1, 4, 16};
    for (unsigned round = 0; round < args_.repeat; ++round) {
      for (const unsigned threads : kThreads) {
        for (const Contender& c : contenders_) {
          if (listed(args_.rows, "put")) put(c, threads);
        }
      }
      for (const unsigned threads : kThreads) {
        for (const Contender& c : contenders_) {
          if (listed(args_.rows, "durable")) put_durable(c, threads);
        }
      }
      for (const Contender& c : contenders_) {
        if (listed(args_.rows, "replay")) replay(c);
      }
      for (const Contender& c : contenders_) load(c);
      for (const char* row : {"get", "missing", "scan", "reopen"}) {
        for (const Contender& c : contenders_) {
          if (listed(args_.rows, row)) read(c, row);
        }
      }
      std::fprintf(stderr, "race: round %u of %u is done\n", round + 1, args_.repeat);
    }
  }

  void print() const;
  [[nodiscard]] std::string json() const;

 private:
  [[nodiscard]] std::string fresh(const Contender& c) const {
    fs::remove_all(args_.directory + "/" + c.name);
    return args_.directory + "/" + c.name;
  }
  [[nodiscard]] std::string loaded(const Contender& c) const { return args_.directory + "/loaded-" + c.name; }
  void add(const std::string& name, const std::string& unit, bool more_is_better, const Contender& c, double sample) {
    auto row = std::find_if(rows_.begin(), rows_.end(), [&](const Row& r) { return r.name == name; });
    if (row == rows_.end()) row = rows_.insert(rows_.end(), Row{name, unit, more_is_better, {}});
    row->samples[c.name].push_back(sample);
  }

  void put(const Contender& c, unsigned threads) {
    const std::string directory = fresh(c);
    const auto got = in_child([&]() -> std::vector<double> {
      Store* store = c.open(directory, settings_).release();  // abandoned: closing it is not measured
      const std::uint64_t each = args_.puts / threads;
      std::vector<std::thread> all;
      const auto began = SteadyClock::now();
      for (unsigned t = 0; t < threads; ++t) {
        all.emplace_back([&, t] {
          for (std::uint64_t i = t * each; i < (t + 1) * each; ++i) {
            store->put(Work::key(2 * Work::scattered(i, args_.puts)), work_.value(i));
          }
        });
      }
      for (std::thread& thread : all) thread.join();
      return {static_cast<double>(each * threads) / seconds_since(began)};
    });
    add("put, survives a kill, " + std::to_string(threads) + " threads", "1/s", true, c, got.at(0));
    fs::remove_all(directory);
  }

  void put_durable(const Contender& c, unsigned threads) {
    const std::string directory = fresh(c);
    const auto got = in_child([&]() -> std::vector<double> {
      Settings settings = settings_;
      settings.power = true;
      Store* store = c.open(directory, settings).release();
      std::atomic<std::uint64_t> done{0};
      std::vector<std::thread> all;
      const auto began = SteadyClock::now();
      for (unsigned t = 0; t < threads; ++t) {
        all.emplace_back([&, t] {
          std::uint64_t n = 0;
          for (; seconds_since(began) < args_.seconds; ++n) {
            store->put(Work::key(2 * (Work::scattered(n, 1'000'000) * threads + t)), work_.value(n));
          }
          done += n;
        });
      }
      for (std::thread& thread : all) thread.join();
      return {static_cast<double>(done) / seconds_since(began)};
    });
    add("put, survives power loss, " + std::to_string(threads) + " threads", "1/s", true, c, got.at(0));
    fs::remove_all(directory);
  }

  /// Loads the store that the read rows use, unless it stands in --directory already: only into an empty one is a load
  /// like another.
  void load(const Contender& c) {
    static constexpr std::uint64_t kBatch = 1000;
    const bool measured = listed(args_.rows, "load");
    const bool needed = listed(args_.rows, "get") || listed(args_.rows, "missing") || listed(args_.rows, "scan") ||
                        listed(args_.rows, "reopen");
    if (fs::exists(loaded(c)) || !(measured || needed)) return;
    const auto got = in_child([&]() -> std::vector<double> {
      Store* store = c.open(loaded(c), settings_).release();
      const auto began = SteadyClock::now();
      std::vector<std::pair<std::string, std::string_view>> batch;
      for (std::uint64_t i = 0; i < args_.records; ++i) {
        batch.emplace_back(Work::key(2 * Work::scattered(i, args_.records)), work_.value(i));
        if (batch.size() < kBatch && i + 1 < args_.records) continue;
        store->put_batch(batch);
        batch.clear();
      }
      const double written = seconds_since(began);
      store->settle();
      return {written, seconds_since(began)};
    });
    const auto records = static_cast<double>(args_.records);
    add("load in random order, batches of 1000", "records/s", true, c, records / got.at(0));
    add("the same, until all is merged", "records/s", true, c, records / got.at(1));
  }

  void read(const Contender& c, const std::string& row) {
    if (row == "reopen") return reopen(c);
    const auto got = in_child([&]() -> std::vector<double> {
      Store* store = c.open(loaded(c), settings_).release();
      if (row == "scan") {
        std::vector<double> out;
        for (int pass = 0; pass < 2; ++pass) {  // the first one warms
          const auto began = SteadyClock::now();
          const Store::Scanned all = store->scan();
          out = {static_cast<double>(all.records) / seconds_since(began)};
          if (all.records < args_.records) std::_Exit(1);
        }
        return out;
      }
      if (row == "missing") return {gets(*store, 1, 0, args_.records)};
      const std::uint64_t hot = std::max<std::uint64_t>(1, args_.records / 20);  // neighbours, so that they stay cached
      const std::uint64_t from = args_.records / 3;
      gets(*store, 0, from, hot);
      return {gets(*store, 0, from, hot), gets(*store, 0, 0, args_.records)};
    });
    const std::string what = row == "scan" ? "full scan" : row == "missing" ? "get, not there" : "get, hot";
    add(what, row == "scan" ? "records/s" : "1/s", true, c, got.at(0));
    if (row == "get") add("get, any", "1/s", true, c, got.at(1));
  }

  /// Gets of random keys among `count` from `from` on; `odd` ones are not there.
  double gets(Store& store, std::uint64_t odd, std::uint64_t from, std::uint64_t count) const {
    daruma::Random random(3);
    std::vector<std::string> keys(std::min<std::uint64_t>(args_.reads, 100'000));
    for (std::string& key : keys) key = Work::key(2 * (from + random.below(count)) + odd);
    const auto began = SteadyClock::now();
    for (std::uint64_t i = 0; i < args_.reads; ++i) {
      if ((store.get(keys[i % keys.size()]) < 0) != (odd == 1)) {
        std::fprintf(stderr, "race: a get gave the wrong answer\n");
        std::_Exit(1);
      }
    }
    return static_cast<double>(args_.reads) / seconds_since(began);
  }

  /// Milliseconds from nothing to the first value.
  double first_read(const Contender& c, const std::string& directory, const Settings& settings,
                    const std::string& key) const {
    warm(directory);
    return in_child([&]() -> std::vector<double> {
             const auto began = SteadyClock::now();
             Store* store = c.open(directory, settings).release();
             if (store->get(key) < 0) std::_Exit(1);
             return {1e3 * seconds_since(began)};
           })
        .at(0);
  }

  void reopen(const Contender& c) {
    then_kill([&] {
      std::unique_ptr<Store> store = c.open(loaded(c), settings_);
      for (std::uint64_t i = 0; i < 1000; ++i)
        store->put(Work::key(2 * Work::scattered(i, args_.records)), work_.value(i));
      return store;
    });
    add("killed store of " + std::to_string(args_.records) + " records: time to first read", "ms", false, c,
        first_read(c, loaded(c), settings_, Work::key(2 * (args_.records / 2))));
  }

  void replay(const Contender& c) {
    Settings settings = settings_;
    settings.memtable_bytes = std::uint64_t{4} << 30;  // nothing is checkpointed
    const std::string directory = fresh(c);
    then_kill([&] {
      std::unique_ptr<Store> store = c.open(directory, settings);
      for (std::uint64_t i = 0; i < args_.replay; ++i) {
        store->put(Work::key(2 * Work::scattered(i, args_.replay)), work_.value(i));
      }
      return store;
    });
    const double ms = first_read(c, directory, settings, Work::key(2 * (args_.replay / 2)));
    add("replay of " + std::to_string(args_.replay) + " events: time to first read", "ms", false, c, ms);
    fs::remove_all(directory);
  }

  const Arguments args_;
  const Work work_;
  std::vector<Contender> contenders_;
  Settings settings_;
  std::vector<Row> rows_;
};

std::string figure(double v) {
  char text[32];
  if (v >= 1e6) {
    std::snprintf(text, sizeof text, "%.2f M", v / 1e6);
  } else if (v >= 1e4) {
    std::snprintf(text, sizeof text, "%.0f k", v / 1e3);
  } else {
    std::snprintf(text, sizeof text, v >= 100 ? "%.0f" : "%.1f", v);
  }
  return text;
}

std::string machine() {
  utsname system{};
  uname(&system);
  std::string cpu = "unknown processor";
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) {
      cpu = line.substr(line.find(':') + 2);
      break;
    }
  }
  double load = 0;
  std::ifstream("/proc/loadavg") >> load;
  char text[64];
  std::snprintf(text, sizeof text, ", load %.1f at the end", load);
  return cpu + ", " + std::to_string(std::thread::hardware_concurrency()) + " threads, Linux " + system.release + text;
}

void Race::print() const {
  std::printf("%s\n\n", machine().c_str());
  std::printf("%llu records, values of %llu bytes, memtable %llu MiB, cache %llu MiB; median of %u rounds (range).\n",
              static_cast<unsigned long long>(args_.records), static_cast<unsigned long long>(args_.value_bytes),
              static_cast<unsigned long long>(args_.memtable_mib), static_cast<unsigned long long>(args_.cache_mib),
              args_.repeat);
  std::printf("The last column is daruma against the best of the others: above 1, daruma is ahead.\n\n");
  for (const Contender& c : contenders_) {
    std::printf("- %s (%s): %s\n", c.name.c_str(), c.version.c_str(), c.settings.c_str());
  }
  std::printf("\n| |");
  for (const Contender& c : contenders_) std::printf(" %s |", c.name.c_str());
  std::printf(" ratio |\n|---|");
  for (std::size_t i = 0; i <= contenders_.size(); ++i) std::printf("---|");
  std::printf("\n");
  for (const Row& row : rows_) {
    std::printf("| %s, %s |", row.name.c_str(), row.unit.c_str());
    double ours = 0;
    double best = 0;
    for (const Contender& c : contenders_) {
      const auto samples = row.samples.find(c.name);
      if (samples == row.samples.end()) {
        std::printf(" |");
        continue;
      }
      const double middle = median(samples->second);
      std::printf(" %s", figure(middle).c_str());
      if (samples->second.size() > 1) {
        const auto [low, high] = std::minmax_element(samples->second.begin(), samples->second.end());
        std::printf(" (%s–%s)", figure(*low).c_str(), figure(*high).c_str());
      }
      std::printf(" |");
      if (c.name == "daruma") {
        ours = middle;
      } else if (best == 0 || (middle > best) == row.more_is_better) {
        best = middle;
      }
    }
    if (ours > 0 && best > 0) {
      std::printf(" %.2f |\n", row.more_is_better ? ours / best : best / ours);
    } else {
      std::printf(" |\n");
    }
  }
}

std::string Race::json() const {
  daruma::JsonWriter out;
  out.begin_object().key("machine").value(machine());
  out.key("records").value(args_.records).key("value_bytes").value(args_.value_bytes);
  out.key("replay").value(args_.replay).key("repeat").value(args_.repeat);
  out.key("memtable_mib").value(args_.memtable_mib).key("cache_mib").value(args_.cache_mib);
  out.key("contenders").begin_array();
  for (const Contender& c : contenders_) {
    out.begin_object().key("name").value(c.name).key("version").value(c.version);
    out.key("settings").value(c.settings).end();
  }
  out.end().key("rows").begin_array();
  for (const Row& row : rows_) {
    out.begin_object().key("name").value(row.name).key("unit").value(row.unit);
    out.key("more_is_better").value(row.more_is_better).key("samples").begin_object();
    for (const auto& [name, samples] : row.samples) {
      out.key(name).begin_array();
      for (const double sample : samples) out.value(sample);
      out.end();
    }
    out.end().end();
  }
  out.end().end();
  return out.take();
}

}  // namespace
}  // namespace race

int main(int argc, char** argv) {
  race::Arguments arguments = race::parse(argc, argv);
  const bool ours = arguments.directory.empty();
  if (ours) {
    const char* tmp = std::getenv("TMPDIR");
    std::string name = std::string(tmp ? tmp : "/tmp") + "/daruma_race_XXXXXX";
    if (!mkdtemp(name.data())) std::abort();
    arguments.directory = name;
  }
  std::filesystem::create_directories(arguments.directory);
  race::Race race(arguments);
  race.run();
  race.print();
  if (!arguments.json.empty()) std::ofstream(arguments.json) << race.json() << "\n";
  if (ours) std::filesystem::remove_all(arguments.directory);
}
