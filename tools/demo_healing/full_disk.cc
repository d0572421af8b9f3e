// SPDX-License-Identifier: Apache-2.0
//
// Full disk: a small real file system is filled to its last byte under a running store, which is then killed, started
// on the full disk, and gets its room back.
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>

#include "demo_healing/scenario.h"
#include "rehearsal/small_disk.h"

namespace demo {
namespace {

namespace fs = std::filesystem;
using daruma::Code;
using daruma::Durability;
using daruma::Options;
using daruma::Store;
using daruma::rehearsal::SmallDisk;

constexpr std::uint64_t kDiskBytes = 48 << 20;

/// Outlives the child. Writes are numbered; each number has a key of its own, so a full disk fills memtables no faster.
struct Board {
  std::atomic<bool> opened{false}, problem{false};
  std::atomic<std::uint64_t> acknowledged{0};               ///< puts with a number below, all of them
  std::atomic<std::uint64_t> no_space{0}, other_errors{0};  ///< what puts answered else
  std::atomic<std::uint64_t> gets{0}, wrong_gets{0}, erases{0}, failed_erases{0};
  std::atomic<std::uint64_t> log_down{0};  ///< looks at which the log was down
  std::atomic<bool> erase{false};          ///< wanted
};

Options options_of() {
  Options options;
  options.memtable_bytes = 4 << 20;
  options.segment_bytes = 1 << 20;
  options.ring_bytes = 256 << 10;
  options.ballast_bytes = 4 << 20;
  options.recovery_budget = std::chrono::hours(1);
  return options;
}

constexpr std::uint64_t kLeft = 1536 << 10;  // room for a log file, not for memtables besides

std::string key_of(std::uint64_t number) { return "key" + std::to_string(number); }
std::string value_of(std::uint64_t number) { return std::to_string(number) + std::string(500, 'v'); }

[[noreturn]] void live_until_killed(const std::string& directory, Board& board) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  auto opened = Store::open(directory, options_of());
  if (!opened.ok()) {
    board.problem = true;
    ::_exit(1);
  }
  Store store = opened->store;
  auto k = store.keyspace("k");
  if (!k.ok()) k = store.create_keyspace("k");
  if (!k.ok()) ::_exit(1);
  board.opened = true;
  for (;;) {
    const std::uint64_t number = board.acknowledged;
    const daruma::Status put = store.put(*k, key_of(number), value_of(number), {Durability::kProcess});
    if (put.ok()) ++board.acknowledged;
    board.no_space += put.is(Code::kNoSpace);
    board.other_errors += !put.ok() && !put.is(Code::kNoSpace);
    if (number > 0) {
      const std::uint64_t asked = board.gets * 7919 % number;
      const auto got = store.get(*k, key_of(asked));
      ++board.gets;
      board.wrong_gets += !got.ok() || *got != value_of(asked);
    }
    if (board.erase) {
      const daruma::Status erased = store.erase(*k, "nothing" + std::to_string(board.erases % 100));
      board.erases += erased.ok();
      board.failed_erases += !erased.ok();
    }
    const auto log = check_named(store.health(), "log");
    board.log_down += log && !log->cause.ok();
    ::usleep(put.ok() ? 1000 : 2000);
  }
}

}  // namespace

bool play_full_disk(Scene& scene) {
  Stage& stage = scene.stage;
  const SmallDisk disk(scene.directory, kDiskBytes);
  if (disk.kind().empty()) {
    stage.say("skipped: mounting a small file system needs root, and is not to be had here");
    return true;
  }
  stage.say("A file system of 48 MB (" + disk.kind() + ").");
  const std::string directory = (disk.mount_point() / "store").string();
  const fs::path ballast = directory + "/ballast";
  void* const shared = ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return stage.check(false, "shared memory");
  Board& board = *new (shared) Board();
  const pid_t child = ::fork();
  if (child == 0) live_until_killed(directory, board);
  bool ended = false;
  const auto wait_for = [&](const std::function<bool()>& holds) {
    wait_until([&] { return holds() || (ended = ended || ::waitpid(child, nullptr, WNOHANG) == child); });
    return !ended;
  };
  const auto broke = [&] { return stage.check(false, "the process that has the store runs until it is killed"); };
  if (!wait_for([&] { return board.opened && board.acknowledged > 1000 && fs::exists(ballast); })) return broke();
  stage.check(true, "a store runs there; its ballast is " + megabytes(fs::file_size(ballast)));

  // What it refuses is what would not leave room for the next log file and for the run that the memtables become.
  std::uint64_t filler = 0;
  for (bool refused = false; !refused;) {
    filler = disk.fill(kLeft);
    const std::uint64_t acknowledged = board.acknowledged;
    const std::uint64_t no_space = board.no_space;
    if (!wait_for([&] { return board.no_space >= no_space + 20 || board.acknowledged > acknowledged + 200; }))
      return broke();
    refused = board.acknowledged == acknowledged && !fs::exists(ballast);
  }
  stage.say("Another file of " + megabytes(filler) +
            " takes nearly all that was left. The ballast is given back, and used up.");
  board.erase = true;
  if (!wait_for([&] { return board.erases + board.failed_erases >= 60; })) return broke();
  board.erase = false;
  stage.say("After " + with_commas(board.acknowledged) + " writes puts are refused; erases done " +
            with_commas(board.erases) + ", failed " + with_commas(board.failed_erases) + "; gets " +
            with_commas(board.gets) + ".");
  stage.check(board.failed_erases == 0, "erases go on, each durable against a loss of power");
  filler = disk.fill(0);
  const std::uint64_t no_space = board.no_space;
  if (!wait_for([&] { return board.no_space >= no_space + 20; })) return broke();
  stage.say("The other file takes the rest, to the last byte (" + megabytes(filler) + " now; " +
            with_commas(disk.free_bytes()) + " bytes free).");
  stage.check(board.other_errors == 0,
              "each of " + with_commas(board.no_space) + " refusals said that the device is full");
  stage.check(board.wrong_gets == 0, "reads go on, and each was right");
  stage.check(board.log_down == 0, "the log never broke: puts were refused before it could");
  stage.say("The process is killed.");
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  const std::uint64_t acknowledged = board.acknowledged;

  const auto diary = std::make_shared<Diary>();
  Options options = options_of();
  options.listener = diary;
  {
    auto opened = must_open(scene, directory, options);
    if (!opened) return false;
    Store& store = opened->store;
    const auto k = store.keyspace("k");
    if (!k.ok()) return stage.check(false, "the keyspace is there");
    bool whole = true;
    for (std::uint64_t i = 0; i < acknowledged; ++i) {
      const auto got = store.get(*k, key_of(i));
      whole = whole && got.ok() && *got == value_of(i);
    }
    stage.check(whole && opened->report.clean(),
                "a start on the full disk serves reads: all " + with_commas(acknowledged) + " acknowledged writes");
    const daruma::Status put = store.put(*k, "now", "1");
    stage.say("A put now: " + put.to_string());
    stage.check(!put.ok(), "it is refused");
    daruma::Health health;
    wait_until([&] { return (health = store.health()).level == daruma::HealthLevel::kCritical; });
    stage.check(health.reads.ok() && !health.writes.ok(), "health is critical: writes are refused, reads are not");

    disk.empty();
    stage.say("The other file is removed: " + megabytes(disk.free_bytes()) + " are free. Nobody tells the store.");
    wait_until([&] { return store.put(*k, "now", "1").ok(); });
    stage.check(true, "puts are taken again, by themselves");
    wait_until([&] { return fs::exists(ballast); });
    stage.check(true, "the ballast is there again");
    wait_until([&] { return store.health().level == daruma::HealthLevel::kHealthy; });
    stage.check(store.checkpoint().ok(), "the store is healthy, and checkpoints work");
    stage.say("What a listener heard:");
    read_out(scene, *diary);
  }
  return true;
}

}  // namespace demo
