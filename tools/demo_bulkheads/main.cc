// SPDX-License-Identifier: Apache-2.0
//
// What a flood on one keyspace does to another, without limits and with them:
// demo_bulkheads [--directory DIR] [--seconds N] [--threads N].
// Exit code 0: the limits held. Counters decide that; the times are for the reader, since they are the machine's too.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "daruma/store.h"

namespace {

using namespace daruma;
using namespace std::chrono_literals;
using Time = std::chrono::steady_clock;

constexpr std::uint64_t kQuietKeys = 5000;
constexpr std::uint64_t kFloodKeys = 20'000;
constexpr std::size_t kFloodValueBytes = 4096;
constexpr KeyspaceLimits kLimits{.memory_bytes = 8 << 20, .operations = 3};
/// A write that begins below the share is taken whole, and what holds it needs memory too.
constexpr std::uint64_t kMemoryMost = kLimits.memory_bytes + (512 << 10);
constexpr auto kPatience = 120s;  // for counters to move

[[noreturn]] void give_up(const std::string& why) {
  std::printf("demo_bulkheads: %s\n", why.c_str());
  std::exit(1);
}

void must(const Status& status, const char* what) {
  if (!status.ok()) give_up(std::string(what) + ": " + status.to_string());
}

class Latencies {
 public:
  template <typename Work>
  auto time(const Work& work) {
    const Time::time_point began = Time::now();
    auto result = work();
    us_.push_back(std::chrono::duration<double, std::micro>(Time::now() - began).count());
    return result;
  }
  void print(const char* what) {
    std::sort(us_.begin(), us_.end());
    const auto at = [&](std::size_t percent) { return us_[std::min(us_.size() - 1, us_.size() * percent / 100)]; };
    std::printf("  %-12s p50 %9.0f us   p99 %9.0f us   max %9.0f us   (%zu)\n", what, at(50), at(99), us_.back(),
                us_.size());
  }

 private:
  std::vector<double> us_;
};

std::string key_of(std::uint64_t number) { return "key" + std::to_string(1'000'000 + number); }

/// Somebody who asks and writes a little, and wants to be answered.
void be_quiet(Store& store, Keyspace keyspace, Time::duration at_least, const std::function<bool()>& seen_enough) {
  Latencies gets, puts, durable_puts;
  std::mt19937_64 random(1);
  const Time::time_point began = Time::now();
  for (std::uint64_t i = 0; i < 100 || Time::now() - began < at_least || !seen_enough(); ++i) {
    if (Time::now() - began > kPatience + at_least) give_up("the counters do not move");
    const std::string key = key_of(random() % kQuietKeys);
    const Result<std::string> got = gets.time([&] { return store.get(keyspace, key); });
    must(got.status(), "a get of the quiet keyspace");
    if (*got != "of " + key) give_up("the quiet keyspace answered wrong");
    must(puts.time([&] { return store.put(keyspace, key, *got, {.durability = Durability::kProcess}); }), "a put");
    if (i % 8 == 0) must(durable_puts.time([&] { return store.put(keyspace, key, *got); }), "a durable put");
    std::this_thread::sleep_for(300us);
  }
  gets.print("get");
  puts.print("put");
  durable_puts.print("durable put");
}

/// Threads that write and scan as fast as they are let.
class Flood {
 public:
  Flood(Store store, Keyspace keyspace, unsigned threads) : store_(std::move(store)), keyspace_(keyspace) {
    for (unsigned i = 0; i < threads; ++i) {
      threads_.emplace_back([this, i] {
        while (!stop_) i % 4 == 3 ? scan() : write(i);
      });
    }
    threads_.emplace_back([this] { watch(); });
  }
  ~Flood() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
  }
  Flood(const Flood&) = delete;
  Flood& operator=(const Flood&) = delete;

  [[nodiscard]] std::uint64_t done() const { return done_; }
  [[nodiscard]] std::uint64_t busy() const { return busy_; }
  [[nodiscard]] std::uint64_t memory_most() const { return memory_most_; }
  [[nodiscard]] std::uint64_t operations_most() const { return operations_most_; }

 private:
  void count(const Status& status) {
    if (status.ok()) {
      ++done_;
    } else if (status.is(Code::kBusy)) {
      ++busy_;
      std::this_thread::sleep_for(1ms);
    } else {
      must(status, "an operation of the flood");
    }
  }
  void write(unsigned thread) {
    thread_local std::mt19937_64 random(thread);
    thread_local std::string value(kFloodValueBytes, '\0');
    for (std::size_t i = 0; i < value.size(); i += 64) value[i] = static_cast<char>(random());
    count(store_.put(keyspace_, key_of(random() % kFloodKeys), value, {.durability = Durability::kProcess}));
  }
  void scan() {
    Result<Cursor> cursor = store_.cursor(keyspace_);
    count(cursor.status());
    if (!cursor.ok()) return;
    for (cursor->seek_first(); cursor->valid() && !stop_; cursor->next()) {}
    must(cursor->status(), "a scan of the flood");
  }
  void watch() {
    while (!stop_) {
      const Result<KeyspaceStats> stats = store_.keyspace_stats(keyspace_);
      must(stats.status(), "figures of the flooded keyspace");
      memory_most_ = std::max<std::uint64_t>(memory_most_, stats->memtable_bytes);
      operations_most_ = std::max<std::uint64_t>(operations_most_, stats->operations);
      std::this_thread::sleep_for(1ms);
    }
  }

  Store store_;
  const Keyspace keyspace_;
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> done_{0}, busy_{0}, memory_most_{0}, operations_most_{0};
  std::vector<std::thread> threads_;
};

double mib(std::uint64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

bool check(bool held, const char* what) {
  std::printf("  %s: %s\n", held ? "held" : "BROKEN", what);
  return held;
}

int play(const std::string& directory, Time::duration each, unsigned threads) {
  Result<Store::Opened> opened = Store::open(directory);
  must(opened.status(), "open");
  Store store = opened->store;
  const Result<Keyspace> quiet = store.create_keyspace("quiet");
  const Result<Keyspace> flooded = store.create_keyspace("flooded");
  must(quiet.status(), "create");
  must(flooded.status(), "create");
  for (std::uint64_t i = 0; i < kQuietKeys; ++i)
    must(store.put(*quiet, key_of(i), "of " + key_of(i), {.durability = Durability::kProcess}), "a put");
  must(store.checkpoint(), "checkpoint");

  std::printf("The quiet keyspace alone:\n");
  be_quiet(store, *quiet, each, [] { return true; });

  std::printf("\nBeside a flood of %u threads on the other keyspace, no limits:\n", threads);
  {
    const Flood flood(store, *flooded, threads);
    be_quiet(store, *quiet, each, [&] { return flood.memory_most() > kMemoryMost; });
    std::printf("  the flood did %llu operations and had up to %.1f MiB of the memory for writes\n",
                static_cast<unsigned long long>(flood.done()), mib(flood.memory_most()));
  }

  must(store.checkpoint(), "checkpoint");
  must(store.set_limits(*flooded, kLimits), "limits");
  std::printf("\nThe same flood; its keyspace may have %.0f MiB of that memory and %u operations at once:\n",
              mib(kLimits.memory_bytes), kLimits.operations);
  const auto stats = [&](Keyspace keyspace) {
    Result<KeyspaceStats> now = store.keyspace_stats(keyspace);
    must(now.status(), "figures");
    return *now;
  };
  bool held = true;
  {
    const Flood flood(store, *flooded, threads);
    be_quiet(store, *quiet, each, [&] {
      const KeyspaceStats now = stats(*flooded);
      return now.refused > 0 && now.held_back > 0 && flood.done() > 0;
    });
    const KeyspaceStats of_flood = stats(*flooded);
    std::printf(
        "  the flood did %llu operations and had up to %.1f MiB; %llu were refused as busy, %llu times a write "
        "waited\n\n",
        static_cast<unsigned long long>(flood.done()), mib(flood.memory_most()),
        static_cast<unsigned long long>(of_flood.refused), static_cast<unsigned long long>(of_flood.held_back));
    held &= check(flood.operations_most() <= kLimits.operations, "never more operations at once than allowed");
    held &= check(flood.memory_most() <= kMemoryMost, "never more memory than its share and the writes under way");
    held &= check(flood.busy() > 0 && of_flood.held_back > 0, "its own operations were refused, its own writes waited");
  }
  const KeyspaceStats of_quiet = stats(*quiet);
  held &= check(of_quiet.refused == 0 && of_quiet.held_back == 0, "none of the quiet keyspace");
  held &= check(stats(*flooded).operations == 0, "nothing is counted any more once the flood has ended");
  return held ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::string directory;
  double seconds = 5;
  unsigned threads = 8;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view option = argv[i];
    if (i + 1 == argc || (option != "--directory" && option != "--seconds" && option != "--threads")) {
      std::fprintf(stderr, "demo_bulkheads [--directory DIR] [--seconds N] [--threads N]\n");
      return 2;
    }
    if (option == "--directory") directory = argv[i + 1];
    if (option == "--seconds") seconds = std::strtod(argv[i + 1], nullptr);
    if (option == "--threads") threads = static_cast<unsigned>(std::strtoul(argv[i + 1], nullptr, 10));
  }
  const bool own = directory.empty();
  if (own) {
    directory = (std::filesystem::temp_directory_path() / "daruma-bulkheads.XXXXXX").string();
    if (!mkdtemp(directory.data())) give_up("no room for a store in " + directory);
  }
  const int status = play(directory, std::chrono::duration_cast<Time::duration>(std::chrono::duration<double>(seconds)),
                          std::max(threads, 4U));
  if (own && status == 0) std::filesystem::remove_all(directory);
  return status;
}
