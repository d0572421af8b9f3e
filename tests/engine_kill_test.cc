// SPDX-License-Identifier: Apache-2.0
//
// Real processes on a real file system, killed with SIGKILL while they write, check themselves against what they
// acknowledged, which stands outside the store, in memory that parent and children share.
//
// DARUMA_KILL_CYCLES sets the number of kills (default 20); DARUMA_KILL_DIR where the store is. A quarter of the lives
// go without io_uring, O_DIRECT and RWF_DSYNC, unless DARUMA_IO is set: then all go as it says.
#include "daruma/store.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

#include "base/random.h"

namespace daruma {
namespace {

constexpr unsigned kThreads = 4;
constexpr std::uint64_t kSlots = 64;

/// One page that outlives the children.
struct Board {
  std::atomic<std::uint64_t> acknowledged[kThreads];    // by each thread: highest number whose write returned ok
  std::atomic<std::uint64_t> refused;                   // writes that returned an error
  std::atomic<std::uint64_t> opened;                    // children that got through recovery
  std::atomic<std::uint64_t> checkpoints, compactions;  // that children asked for and got
};

std::string key_of(unsigned thread, std::uint64_t number) {
  return "t" + std::to_string(thread) + "/" + std::to_string(number % kSlots);
}

/// Tells thread and number; as long as the number says, so that a cut or mixed value shows.
std::string value_of(unsigned thread, std::uint64_t number) {
  std::string value = std::to_string(thread) + ":" + std::to_string(number) + ":";
  Random random(number * kThreads + thread);
  const std::size_t bytes = random.one_in(50) ? 20'000 : random.below(400);
  while (value.size() < bytes) value += static_cast<char>('a' + random.below(26));
  return value;
}

std::uint64_t number_of(const std::string& value) {
  return std::strtoull(value.c_str() + value.find(':') + 1, nullptr, 10);
}

Options options() {
  Options options;
  options.memtable_bytes = 1 << 20;
  options.segment_bytes = 1 << 20;
  options.ring_bytes = 512 << 10;
  return options;
}

[[noreturn]] void write_until_killed(const std::string& directory, Board& board, std::uint64_t seed) {
  Result<Store::Opened> opened = Store::open(directory, options());
  if (!opened.ok()) ::_exit(3);
  Store store = opened->store;
  for (const char* name : {"a", "b"}) {
    if (const Status made = store.create_keyspace(name).status(); !made.ok() && !made.is(Code::kExists)) ::_exit(4);
  }
  board.opened.fetch_add(1);
  const Keyspace a = *store.keyspace("a");
  const Keyspace b = *store.keyspace("b");
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Random random(seed + t);
      // One number is left out after each start: the write in flight at the kill may or may not be there.
      for (std::uint64_t number = board.acknowledged[t].load() + 2;; ++number) {
        Batch batch;
        batch.put(a, key_of(t, number), value_of(t, number));
        batch.put(b, key_of(t, number), value_of(t, number));
        const Durability wait = random.one_in(2) ? Durability::kPower : Durability::kProcess;
        if (store.write(batch, {.durability = wait}).ok()) {
          board.acknowledged[t].store(number);
        } else {
          board.refused.fetch_add(1);
        }
        if (t == 0 && random.one_in(400)) board.compactions.fetch_add(store.compact(a).ok());
        if (t == 1 && random.one_in(200)) board.checkpoints.fetch_add(store.checkpoint().ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ::_exit(5);
}

struct Found {
  std::uint64_t lost = 0, wrong = 0, torn = 0;
};

Found check(Store& store, const Board& board, const std::vector<std::vector<std::uint64_t>>& skipped) {
  Found found;
  const Result<Keyspace> a = store.keyspace("a");
  const Result<Keyspace> b = store.keyspace("b");
  for (unsigned t = 0; t < kThreads; ++t) {
    const std::uint64_t acknowledged = board.acknowledged[t].load();
    for (std::uint64_t slot = 0; slot < kSlots; ++slot) {
      // The newest acknowledged number of this slot: numbers that were skipped were never acknowledged.
      std::uint64_t newest = acknowledged - (acknowledged + kSlots - slot) % kSlots;
      while (newest != 0 && newest <= acknowledged &&
             std::find(skipped[t].begin(), skipped[t].end(), newest) != skipped[t].end())
        newest = newest >= kSlots ? newest - kSlots : 0;
      if (newest == 0 || newest > acknowledged) continue;
      const std::string key = key_of(t, newest);
      const Result<std::string> got = store.get(*a, key);
      const Result<std::string> twin = store.get(*b, key);
      if (!got.ok() || !twin.ok()) {
        ++found.lost;
        continue;
      }
      const std::uint64_t number = number_of(*got);
      if (number < newest) ++found.lost;
      if (*got != value_of(t, number) || number % kSlots != slot || number > acknowledged + 2) ++found.wrong;
      if (*got != *twin) ++found.torn;
    }
  }
  return found;
}

TEST(EngineKill, NothingAcknowledgedIsLost) {
  const char* wanted = std::getenv("DARUMA_KILL_CYCLES");
  const std::uint64_t cycles = wanted ? std::strtoull(wanted, nullptr, 10) : 20;
  const std::uint64_t seed = entropy_seed();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  const char* root = std::getenv("DARUMA_KILL_DIR");
  const std::filesystem::path directory =
      (root ? std::filesystem::path(root) : std::filesystem::temp_directory_path()) /
      ("daruma_kill_" + std::to_string(::getpid()));
  std::filesystem::remove_all(directory);
  void* const shared = ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(shared, MAP_FAILED);
  Board& board = *new (shared) Board();
  std::vector<std::vector<std::uint64_t>> skipped(kThreads);
  Random random(seed);
  Found total;
  std::uint64_t during_recovery = 0, events = 0;
  std::vector<std::int64_t> recovery_ns;
  const bool io_given = std::getenv("DARUMA_IO") != nullptr;
  for (std::uint64_t cycle = 0; cycle < cycles; ++cycle) {
    for (unsigned t = 0; t < kThreads; ++t) skipped[t].push_back(board.acknowledged[t].load() + 1);
    if (!io_given) {
      ASSERT_EQ(cycle % 4 == 3 ? ::setenv("DARUMA_IO", "no_uring,no_direct,no_dsync", 1) : ::unsetenv("DARUMA_IO"), 0);
    }
    const std::uint64_t opened_before = board.opened.load();
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) write_until_killed(directory.string(), board, seed + cycle * kThreads);
    // One in five is killed whenever it happens to be, often in recovery; the others once they write.
    if (cycle % 5 != 0) {
      while (board.opened.load() == opened_before && ::waitpid(child, nullptr, WNOHANG) == 0) ::usleep(500);
    }
    ::usleep(static_cast<useconds_t>(1000 + random.below(120'000)));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "a child stopped by itself: " << WEXITSTATUS(status);
    during_recovery += board.opened.load() == opened_before;
    Result<Store::Opened> opened = Store::open(directory.string(), options());
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    EXPECT_TRUE(opened->report.clean()) << opened->report.to_text();
    if (opened->report.events_replayed > 0) { EXPECT_TRUE(opened->report.same_boot); }
    events += opened->report.events_replayed;
    recovery_ns.push_back(opened->report.total_ns);
    const Found found = check(opened->store, board, skipped);
    total.lost += found.lost;
    total.wrong += found.wrong;
    total.torn += found.torn;
    if (found.lost + found.wrong + found.torn > 0) {
      std::printf("cycle %llu: lost %llu, wrong %llu, torn %llu\n", static_cast<unsigned long long>(cycle),
                  static_cast<unsigned long long>(found.lost), static_cast<unsigned long long>(found.wrong),
                  static_cast<unsigned long long>(found.torn));
      ADD_FAILURE() << opened->report.to_text();
      break;
    }
  }
  std::uint64_t acknowledged = 0;
  for (const auto& of_thread : board.acknowledged) acknowledged += of_thread.load();
  const auto n = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  const auto ms = [&](std::size_t i) { return static_cast<double>(recovery_ns.at(i)) / 1e6; };
  std::sort(recovery_ns.begin(), recovery_ns.end());
  ASSERT_FALSE(recovery_ns.empty());
  std::printf(
      "kill cycles %llu (%llu during recovery), writes acknowledged %llu, refused %llu, lost %llu, wrong %llu, torn "
      "batches %llu, recovery ms median %.2f max %.2f, events replayed %llu, checkpoints %llu, compactions %llu\n",
      n(recovery_ns.size()), n(during_recovery), n(acknowledged), n(board.refused.load()), n(total.lost),
      n(total.wrong), n(total.torn), ms(recovery_ns.size() / 2), ms(recovery_ns.size() - 1), n(events),
      n(board.checkpoints.load()), n(board.compactions.load()));
  EXPECT_EQ(total.lost + total.wrong + total.torn, 0U);
  EXPECT_EQ(board.refused.load(), 0U);
  EXPECT_GT(acknowledged, 0U);
  if (!HasFailure()) std::filesystem::remove_all(directory);
  ASSERT_EQ(::munmap(shared, sizeof(Board)), 0);
}

}  // namespace
}  // namespace daruma
