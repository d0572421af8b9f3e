// SPDX-License-Identifier: Apache-2.0
//
// Recovery budget: a child writes at full speed and tells, all the time, what a kill now would cost; it is killed, and
// the parent opens the store and looks at the watch.
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <set>
#include <thread>

#include "demo_healing/scenario.h"

namespace demo {
namespace {

using daruma::Durability;
using daruma::Keyspace;
using daruma::Options;
using daruma::Store;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kKeys = 200'000;
constexpr std::size_t kValueBytes = 100;

/// Outlives the child.
struct Board {
  std::atomic<bool> opened{false};
  std::atomic<bool> problem{false};
  std::atomic<std::uint64_t> acknowledged{0};  ///< writes of this life, which began at `first`
  std::atomic<std::uint64_t> first{0};
  std::atomic<std::int64_t> estimated_ns{0};
  std::atomic<std::uint64_t> replay_bytes{0}, checkpoints{0};
  std::atomic<std::uint64_t> unflagged{0};  ///< times when the estimate was over the budget and health said nothing
};

std::string key_of(std::uint64_t number) { return "key" + std::to_string(number * 7919 % kKeys); }
std::string value_of(std::uint64_t number) {
  std::string value = std::to_string(number) + ":";
  value.resize(kValueBytes, static_cast<char>('a' + number % 26));
  return value;
}

Options options_of(std::chrono::milliseconds budget) {
  Options options;
  options.recovery_budget = budget;
  return options;
}

/// The child. Returns never.
[[noreturn]] void write_until_killed(const std::string& directory, std::chrono::milliseconds budget, Board& board) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  auto opened = Store::open(directory, options_of(budget));
  if (!opened.ok()) {
    board.problem = true;
    ::_exit(1);
  }
  Store store = opened->store;
  auto keyspace = store.keyspace("k");
  if (!keyspace.ok()) keyspace = store.create_keyspace("k");
  std::thread teller([&] {
    for (;;) {
      const daruma::Health health = store.health();
      board.estimated_ns = health.debt.estimated_ns;
      board.replay_bytes = health.debt.replay_bytes;
      board.checkpoints = store.stats().checkpoints;
      // The two are taken one after the other, so a little over is no contradiction.
      const auto check = check_named(health, "recovery budget");
      if (check && check->cause.ok() && health.debt.estimated_ns > health.debt.budget_ns * 11 / 10) ++board.unflagged;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  board.opened = true;
  for (std::uint64_t number = board.first;; ++number) {
    if (!store.put(*keyspace, key_of(number), value_of(number), {Durability::kProcess}).ok()) {
      board.problem = true;
      ::_exit(1);
    }
    board.acknowledged = number + 1 - board.first;
  }
}

/// The newest values, as the board says they were acknowledged. Those that a kill met may be there or not.
bool every_last_write_is_there(const Store& store, Keyspace k, std::uint64_t end, const std::set<std::uint64_t>& met) {
  for (std::uint64_t number = end - std::min<std::uint64_t>(end, 2000); number < end; ++number) {
    if (met.contains(number)) continue;
    const auto got = store.get(k, key_of(number));
    if (!got.ok() || *got != value_of(number)) return false;
  }
  return true;
}

bool play_one(Scene& scene, Board& board, std::chrono::milliseconds budget, unsigned kills) {
  const std::string directory = scene.store() + std::to_string(budget.count());
  std::vector<std::int64_t> actual, estimated, error_percent;
  std::vector<std::int64_t> replayed;
  std::uint64_t over = 0;
  std::set<std::uint64_t> met;  // writes that a kill met: not acknowledged
  bool clean = true;
  bool whole = true;
  board.first = 0;
  for (unsigned i = 0; i < kills; ++i) {
    board.opened = false;
    board.acknowledged = 0;
    const pid_t child = ::fork();
    if (child == 0) write_until_killed(directory, budget, board);
    const auto dead = [&] { return ::waitpid(child, nullptr, WNOHANG) == child; };
    bool ended = false;
    wait_until([&] { return board.opened.load() || (ended = dead()); });
    const unsigned most_ms = scene.brief ? 600 : 1500;
    if (!ended) ::usleep(static_cast<useconds_t>(scene.random() % (most_ms * 1000) + 50'000));
    const bool problem = ended || board.problem;
    if (!ended) {
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
    }
    if (problem) return scene.stage.check(false, "the child opened the store and wrote until it was killed");
    const auto began = Clock::now();
    auto opened = must_open(scene, directory, options_of(budget));
    if (!opened) return false;
    const auto keyspace = opened->store.keyspace("k");
    const std::uint64_t end = board.first + board.acknowledged;
    if (!keyspace.ok() || (board.acknowledged > 0 && !opened->store.get(*keyspace, key_of(end - 1)).ok()))
      return scene.stage.check(false, "the last acknowledged write is there");
    const std::int64_t ns = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - began).count();
    clean = clean && opened->report.clean();
    whole = whole && every_last_write_is_there(opened->store, *keyspace, end, met);
    met.insert(end);
    actual.push_back(ns);
    estimated.push_back(board.estimated_ns);
    error_percent.push_back((ns - board.estimated_ns) * 100 / std::max<std::int64_t>(1, board.estimated_ns));
    replayed.push_back(static_cast<std::int64_t>(opened->report.events_replayed));
    over += ns > std::chrono::nanoseconds(budget).count();
    board.first = end + 1;
    scene.stage.progress("budget " + std::to_string(budget.count()) + " ms: killed " + std::to_string(i + 1) + " of " +
                         std::to_string(kills) + " times");
  }
  scene.stage.say("Budget " + std::to_string(budget.count()) + " ms, killed " + std::to_string(kills) +
                  " times while writing at full speed (" + with_commas(board.first) + " writes):");
  scene.stage.say("  time to the first read  " + spread(actual));
  scene.stage.say("  told before the kill    " + spread(estimated));
  scene.stage.say("  actual over told        median " + std::to_string(percentile(error_percent, 0.5)) + " %, p90 " +
                  std::to_string(percentile(error_percent, 0.9)) + " %");
  scene.stage.say("  events replayed         median " +
                  with_commas(static_cast<std::uint64_t>(percentile(replayed, 0.5))) + ", max " +
                  with_commas(static_cast<std::uint64_t>(percentile(replayed, 1))) + "; " + std::to_string(over) +
                  " starts of " + std::to_string(kills) + " over the budget");
  scene.stage.check(clean, "every start was clean");
  scene.stage.check(whole, "every start had every acknowledged write");
  scene.stage.check(board.unflagged == 0, "the estimate was never over the budget without health saying so");
  return true;
}

}  // namespace

bool play_budget(Scene& scene) {
  void* const shared = ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return scene.stage.check(false, "shared memory");
  Board& board = *new (shared) Board();
  bool played = true;
  for (const int ms : {50, 200, 1000}) {
    if (played) played = play_one(scene, board, std::chrono::milliseconds(ms), scene.brief ? 3 : 50);
  }
  ::munmap(shared, sizeof(Board));
  return played;
}

}  // namespace demo
