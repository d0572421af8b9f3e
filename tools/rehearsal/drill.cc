// SPDX-License-Identifier: Apache-2.0
#include "rehearsal/drill.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <regex>
#include <system_error>
#include <thread>

#include "base/clock.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "daruma/failpoint.h"
#include "io/posix_storage.h"
#include "rehearsal/clone.h"
#include "rehearsal/fault.h"
#include "rehearsal/small_disk.h"

namespace daruma::rehearsal {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr std::string_view kNothingLost = "one-fault-free: nothing is lost";
constexpr std::string_view kToldOf = "never-wrong: what is lost is named, all else is right";
constexpr const char* kOwn = "rehearsal of a failure";  // keyspace that a drill writes to
constexpr std::uint64_t kWritesBefore = 2000;           // until the kill that each drill begins with
constexpr auto kPatience = 60s;                         // with what the store should do by itself

std::int64_t now_ns() { return system_clock().monotonic_ns(); }

std::string key_of(std::uint64_t number) {
  char text[24];
  std::snprintf(text, sizeof text, "%012llu", static_cast<unsigned long long>(number));
  return text;
}
std::string value_of(std::uint64_t number) { return std::to_string(number) + std::string(20 + number % 150, 'v'); }

bool until(const std::function<bool()>& holds) {
  const std::int64_t end = now_ns() + std::chrono::nanoseconds(kPatience).count();
  while (!holds()) {
    if (now_ns() > end) return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

/// Outlives the process that writes.
struct Board {
  std::atomic<std::uint64_t> acknowledged{0};  // all numbers up to here
  std::atomic<bool> refused{false};
};

[[noreturn]] void write_until_killed(const std::string& directory, const Options& options, bool checkpoint,
                                     Board& board) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  Result<Store::Opened> opened = Store::open(directory, options);
  if (!opened.ok()) ::_exit(3);
  Store store = opened->store;
  const Result<Keyspace> own = store.create_keyspace(kOwn);
  if (!own.ok()) ::_exit(4);
  for (std::uint64_t number = 1;; ++number) {
    const Durability wait = number % 8 == 0 ? Durability::kPower : Durability::kProcess;
    if (!store.put(*own, key_of(number), value_of(number), {wait}).ok()) {
      board.refused = true;
      ::_exit(5);
    }
    board.acknowledged = number;
    if (checkpoint && number == kWritesBefore / 4 && !store.checkpoint().ok()) ::_exit(6);
  }
}

/// Writes that were acknowledged and are not there.
std::uint64_t lost_of(const Store& store, std::uint64_t acknowledged) {
  const Result<Keyspace> own = store.keyspace(kOwn);
  if (!own.ok()) return acknowledged;
  std::uint64_t lost = 0;
  for (std::uint64_t number = 1; number <= acknowledged; ++number) {
    const Result<PinnedValue> got = store.get_pinned(*own, key_of(number));
    lost += !got.ok() || got->view() != value_of(number);
  }
  return lost;
}

std::uint64_t bytes_below(const std::string& directory) {
  std::uint64_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  return bytes;
}

Options looking(Options options) {
  options.create_if_missing = false;
  options.read_only = true;
  return options;
}

}  // namespace

const std::vector<DrillMode>& drill_modes() {
  static const std::vector<DrillMode> all = {
      {"kill", "the process is killed in the middle of its writes", "acked-is-kept: nothing acknowledged is lost"},
      {"torn-tail", "the last sector in use of the newest log file ends early", kNothingLost},
      {"bit-flip-log", "one bit of the newest log file flips", kNothingLost},
      {"bit-flip-ring", "one bit of the ring flips", kNothingLost},
      {"bit-flip-run", "one bit of the largest run flips", kNothingLost},
      {"bit-flip-snapshot", "one bit of the newest snapshot flips", kNothingLost},
      {"bit-flip-ledger", "one bit of the quarantine's ledger flips", kNothingLost},
      {"bit-flip-report", "one bit of the newest report flips", kNothingLost},
      {"lost-snapshot", "the newest snapshot is gone", "always-opens: an older one and the log give the same"},
      {"lost-snapshots", "all snapshots are gone", "always-opens: a copy, or the runs themselves, give the same"},
      {"lost-run", "the largest run is gone", kToldOf, true},
      {"lost-log", "the log file with most in it is gone", kToldOf, true},
      {"full-disk", "the file system is full to its last byte, and the process is killed",
       "heals-alone: reads are served, writes come back when there is room"},
      {"failed-sync", "the device fails to make three frames durable", "heals-alone: writes go on in a new log file"},
      {"crash-loop", "the start is killed again and again, in each of its steps",
       "twice-is-once: the next one has all"},
      {"slow-device", "each write of the log takes 25 ms longer", "acked-is-kept: slower, and nothing else"},
  };
  return all;
}

// --- what all drills begin with --------------------------------------------------------------------------------------

Result<std::unique_ptr<Drills>> Drills::prepare(const std::string& directory, const DrillOptions& options) {
  std::unique_ptr<Drills> drills(new Drills(options));
  const fs::path store = fs::absolute(directory).lexically_normal();
  const fs::path plain = store.has_filename() ? store : store.parent_path();
  std::string work = options.directory.empty() ? plain.string() + ".drill-XXXXXX" : options.directory + "/drill-XXXXXX";
  if (::mkdtemp(work.data()) == nullptr)
    return Status(Code::kIoError, "cannot make a directory: " + std::generic_category().message(errno), {.file = work},
                  "name another one with --in");
  drills->work_ = work;
  const auto say = [&](const char* doing) {
    if (options.progress) options.progress(doing);
  };
  CloneOptions cloning;
  cloning.durable = false;
  drills->store_ = plain.string();
  if (options.live) {
    say("cloning the store");
    cloning.live = true;
    drills->store_ = work + "/store";
    DARUMA_TRY(clone_store(plain.string(), drills->store_, cloning).status());
    cloning.live = false;
  }
  {
    say("looking at the store");
    DARUMA_TRY_ASSIGN(const Store::Opened opened, Store::open(drills->store_, looking(options.store)));
    const std::vector<DamageInfo> damage = opened.store.damage();
    const bool hurt = std::any_of(damage.begin(), damage.end(), [](const DamageInfo& d) { return !d.accepted; });
    if (hurt || !opened.report.clean())
      return Status(Code::kDataLoss, "the store has losses of its own: a drill could not tell them from others",
                    {.file = plain.string()}, "kvctl damage ls names them");
    if (opened.store.keyspace(kOwn).ok())
      return Status(Code::kExists, std::string("the store has a keyspace \"") + kOwn + "\", which drills write to",
                    {.file = plain.string()}, "rename it");
  }
  drills->base_ = work + "/base";
  DARUMA_TRY(clone_store(drills->store_, drills->base_, cloning).status());
  say("writing to a clone, and killing who writes");
  void* const shared = ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return Status(Code::kOutOfMemory, "no shared memory");
  Board& board = *new (shared) Board();
  std::error_code none;
  const bool bare = !fs::exists(drills->base_ + "/runs") || fs::is_empty(drills->base_ + "/runs", none);
  const pid_t child = ::fork();
  if (child < 0) return Status(Code::kUnavailable, "cannot start a process", {}, "ulimit -u");
  if (child == 0) write_until_killed(drills->base_, options.store, bare, board);
  bool ended = false;
  while (!ended && board.acknowledged < kWritesBefore) {
    std::this_thread::sleep_for(1ms);
    ended = ::waitpid(child, nullptr, WNOHANG) == child;
  }
  std::this_thread::sleep_for(std::chrono::microseconds(Random(options.seed).below(20'000)));
  if (!ended) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }
  drills->acknowledged_ = board.acknowledged;
  ::munmap(shared, sizeof(Board));
  if (ended) return Status(Code::kUnavailable, "a clone of the store takes no writes", {.file = drills->base_});
  DARUMA_TRY_ASSIGN(Store::Opened opened, Store::open(drills->base_, looking(options.store)));
  drills->reference_ = std::make_unique<Store>(std::move(opened.store));
  return drills;
}

Drills::~Drills() {
  reference_.reset();
  std::error_code ignored;
  if (!options_.keep && !work_.empty()) fs::remove_all(work_, ignored);
}

// --- one drill -------------------------------------------------------------------------------------------------------

class Drills::Scenario {
 public:
  Scenario(Drills& drills, const DrillMode& mode)
      : drills_(drills),
        mode_(mode),
        random_(drills.options_.seed ^ std::hash<std::string_view>()(mode.name)),
        clone_(drills.work_ + "/" + std::string(mode.name)) {
    result.mode = mode.name;
    result.acknowledged = drills.acknowledged_;
  }
  ~Scenario() {
    store_.reset();
    std::error_code ignored;
    if (!drills_.options_.keep) fs::remove_all(clone_, ignored);
  }
  Scenario(const Scenario&) = delete;
  Scenario& operator=(const Scenario&) = delete;

  /// Ends with an outcome.
  void play() {
    const std::string_view name = mode_.name;
    bool played = false;
    if (name == "full-disk")
      played = play_full_disk();
    else if (!make_clone(clone_))
      return;
    else if (name == "kill")
      played = start() && compare_with_store();
    else if (name == "failed-sync")
      played = play_failed_sync();
    else if (name == "crash-loop")
      played = play_crash_loop();
    else if (name == "slow-device")
      played = play_slow_device();
    else
      played = hurt() && start() && compare_all();
    if (played) judge();
  }

  DrillResult result;

 private:
  bool fail(std::string why) {
    result.outcome = "failed";
    result.why = std::move(why);
    return false;
  }
  bool skip(std::string why) {
    result.outcome = "skipped";
    result.why = std::move(why);
    return false;
  }

  bool make_clone(const std::string& to) {
    CloneOptions options;
    options.durable = false;
    const Status cloned = clone_store(drills_.base_, to, options).status();
    return cloned.ok() || skip("no clone could be made: " + cloned.to_string());
  }

  // --- faults of files

  bool hurt() {
    const std::string_view name = mode_.name;
    if (name == "torn-tail") return hurt_file(Fault::kTornTail, "wal/[0-9]+\\.log");
    if (name == "bit-flip-log") return hurt_file(Fault::kBitFlip, "wal/[0-9]+\\.log");
    if (name == "bit-flip-ring") return hurt_file(Fault::kBitFlip, "wal/tail-.*");
    if (name == "bit-flip-run") return hurt_file(Fault::kBitFlip, "runs/.*\\.run", true);
    if (name == "bit-flip-snapshot") return hurt_file(Fault::kBitFlip, "snapshots/.*\\.snap");
    if (name == "bit-flip-ledger") return hurt_file(Fault::kBitFlip, "quarantine/ledger");
    if (name == "bit-flip-report") return hurt_file(Fault::kBitFlip, "recoveries/[0-9]+\\.json");
    if (name == "lost-snapshot") return hurt_file(Fault::kDeleted, "snapshots/.*\\.snap");
    if (name == "lost-run") return hurt_file(Fault::kDeleted, "runs/.*\\.run", true);
    if (name == "lost-log") return hurt_file(Fault::kDeleted, "wal/[0-9]+\\.log", true);
    for (const std::string& file : files("snapshots/.*\\.snap")) {
      fs::remove(clone_ + "/" + file);
      result.fault += (result.fault.empty() ? "removed " : ", ") + file;
    }
    return !result.fault.empty() || skip("the store has no snapshot");
  }

  [[nodiscard]] std::vector<std::string> files(const std::string& pattern) const {
    const std::regex wanted(pattern);
    std::vector<std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(clone_)) {
      if (!entry.is_regular_file()) continue;
      std::string file = entry.path().string().substr(clone_.size() + 1);
      if (std::regex_match(file, wanted)) all.push_back(std::move(file));
    }
    std::sort(all.begin(), all.end());
    return all;
  }

  bool hurt_file(Fault fault, const std::string& pattern, bool largest = false) {
    const std::vector<std::string> all = files(pattern);
    if (all.empty()) return skip("the store has no such file");
    std::string file = all.back();  // the newest
    const auto bytes = [&](const std::string& name) {
      const std::string path = clone_ + "/" + name;
      return end_of_log(path).value_or(fs::file_size(path));
    };
    for (const std::string& other : all) {
      if (largest && bytes(other) > bytes(file)) file = other;
    }
    const std::string path = clone_ + "/" + file;
    if (const Status own = fault == Fault::kDeleted ? Status() : unshare(path); !own.ok())
      return skip("the file cannot be hurt: " + own.to_string());
    Extent extent;
    extent.live_end = end_of_log(path);
    const std::optional<std::uint64_t> place = inflict(fault, path, extent, random_);
    if (!place) return skip("the file has no place for it");
    result.fault = std::string(rehearsal::name(fault)) + ": " + file;
    if (fault != Fault::kDeleted) result.fault += ", at " + std::to_string(*place);
    return true;
  }

  // --- the start

  /// Plain open, measured.
  bool start(bool wait_until_ready = true) {
    const std::int64_t began = now_ns();
    Result<Store::Opened> opened = Store::open(at_, drills_.options_.store);
    if (!opened.ok()) return fail("the store does not open: " + opened.status().to_string());
    store_ = std::make_unique<Store>(std::move(opened->store));
    report_ = std::move(opened->report);
    if (const Result<Keyspace> own = store_->keyspace(kOwn); own.ok())
      static_cast<void>(store_->get(*own, key_of(1)).status());  // whatever it says, it is an answer
    result.first_read_ns = now_ns() - began;
    if (!wait_until_ready) return true;
    if (!until([&] { return store_->sync().ok() && store_->health().writes.ok(); }))
      return fail("the store takes no writes: " + store_->health().writes.to_string());
    result.ready_ns = now_ns() - began;
    return true;
  }

  // --- what came of it

  bool compare_with(const Store& right, bool own) {
    CompareOptions options;
    if (!own) options.ignored.insert(kOwn);
    Result<Compared> compared = compare(right, *store_, options);
    if (!compared.ok()) return fail("the store that it is compared with: " + compared.status().to_string());
    result.compared = *compared;
    if (result.compared.in_doubt == 0) return true;
    until([&] {  // what the store does by itself
      const std::vector<Incident> incidents = store_->incidents();
      return std::any_of(incidents.begin(), incidents.end(), [](const Incident& incident) {
        return incident.failure == "data_lost" && !incident.outcome.empty();
      });
    });
    compared = compare(right, *store_, options);
    if (!compared.ok()) return fail("the store that it is compared with: " + compared.status().to_string());
    result.doubt_left = compared->in_doubt;
    if (result.compared.silent() == 0) {  // neither before nor after
      result.compared.missing = compared->missing;
      result.compared.wrong = compared->wrong;
      result.compared.extra = compared->extra;
      if (compared->silent() > 0) result.compared.first = compared->first;
    }
    return true;
  }
  bool compare_all() { return compare_with(*drills_.reference_, true); }

  bool compare_with_store() {
    const Result<Store::Opened> original = Store::open(drills_.store_, looking(drills_.options_.store));
    if (!original.ok()) return skip("the store cannot be looked at: " + original.status().to_string());
    result.fault = "SIGKILL after " + std::to_string(drills_.acknowledged_) + " acknowledged writes";
    result.lost = lost_of(*store_, result.acknowledged);
    return compare_with(original->store, false);
  }

  void judge() {
    const Compared& found = result.compared;
    if (found.silent() > 0) {
      fail(std::to_string(found.silent()) + " answers are wrong, without a word: " + found.first);
    } else if (result.lost > 0) {
      fail(std::to_string(result.lost) + " acknowledged writes are lost");
    } else if (found.in_doubt > 0 && !mode_.may_doubt) {
      fail(std::to_string(found.in_doubt) + " keys are in doubt: " + found.first);
    } else if (found.in_doubt > 0 && report_.clean() && store_->damage().empty()) {
      fail("keys are in doubt, and neither the report nor the damage map tells why: " + found.first);
    } else {
      result.outcome = "passed";
    }
  }

  // --- faults of the device and of starts

  /// Puts `number` until it is acknowledged; what was not may be there or not.
  bool put(std::uint64_t number) {
    const Result<Keyspace> own = store_->keyspace(kOwn);
    return own.ok() && store_->put(*own, key_of(number), value_of(number)).ok();
  }

  bool play_failed_sync() {
    constexpr std::uint64_t kFailures = 3;
    if (!start()) return false;
    FailpointAction broken;
    broken.times = kFailures;
    static_cast<void>(set_failpoint("frame written", broken));
    const std::int64_t began = now_ns();
    std::uint64_t refused = 0;
    const auto acted = [] {
      const std::vector<FailpointInfo> all = failpoints();
      return std::any_of(all.begin(), all.end(),
                         [](const FailpointInfo& f) { return f.name == "frame written" && f.acted == kFailures; });
    };
    const bool back = until([&] {
      const bool over = acted();
      if (put(result.acknowledged + 1)) {
        ++result.acknowledged;
        return over;
      }
      ++refused;
      return false;
    });
    clear_failpoints();
    if (!back) return fail("writes did not come back");
    const std::int64_t took = now_ns() - began;
    result.fault = std::to_string(kFailures) + " frames failed, " + std::to_string(refused) + " writes were refused";
    store_.reset();
    if (!start()) return false;
    result.ready_ns = took;
    result.lost = lost_of(*store_, result.acknowledged);
    return compare_with(*drills_.reference_, false);
  }

  bool play_slow_device() {
    FailpointAction slow;
    slow.kind = FailpointAction::Kind::kDelay;
    slow.delay = 25ms;
    static_cast<void>(set_failpoint("frame write", slow));
    constexpr unsigned kWrites = 20;
    bool fine = start();
    const std::int64_t began = now_ns();
    for (unsigned i = 0; fine && i < kWrites; ++i) {
      fine = put(result.acknowledged + 1) || fail("a write was refused");
      if (fine) ++result.acknowledged;
      if (i == 0) result.ready_ns += now_ns() - began;
    }
    result.fault = std::to_string(kWrites) + " writes, each durable, took " +
                   std::to_string((now_ns() - began) / 1'000'000) + " ms";
    fine = fine && compare_with(*drills_.reference_, false);
    clear_failpoints();
    if (!fine) return false;
    result.lost = lost_of(*store_, result.acknowledged);
    return true;
  }

  bool play_crash_loop() {
    unsigned deaths = 0;
    for (unsigned round = 0; round < 2; ++round) {
      for (const char* point : {"pass choose snapshot", "pass open runs", "pass replay", "pass start log",
                                "segment publish", "segment published", "pass tidy"}) {
        const pid_t child = ::fork();
        if (child < 0) return skip("no process can be started");
        if (child == 0) {
          FailpointAction kill;
          kill.kind = FailpointAction::Kind::kKill;
          static_cast<void>(set_failpoint(point, kill));
          Result<Store::Opened> opened = Store::open(at_, drills_.options_.store);
          if (opened.ok()) static_cast<void>(opened->store.sync());
          ::_exit(0);
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        deaths += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
      }
    }
    result.fault = std::to_string(deaths) + " starts were killed";
    if (deaths == 0) return fail("no start could be killed");
    return start() && compare_all();
  }

  bool play_full_disk() {
    constexpr std::uint64_t kRoom = 96 << 20;
    fs::create_directories(clone_);
    disk_ = std::make_unique<SmallDisk>(clone_, bytes_below(drills_.base_) * 5 / 4 + kRoom);
    if (disk_->kind().empty()) return skip("a small file system can be mounted by root only, and not everywhere");
    at_ = (disk_->mount_point() / "store").string();
    if (!make_clone(at_) || !start()) return false;
    std::uint64_t filler = disk_->fill(1536 << 10);
    std::uint64_t refused = 0;
    until([&] {
      for (unsigned i = 0; i < 100 && refused < 20; ++i) {
        if (put(result.acknowledged + 1))
          ++result.acknowledged;
        else
          ++refused;
      }
      return refused >= 20;
    });
    filler = disk_->fill(0);
    result.fault = disk_->kind() + ", another file of " + std::to_string(filler >> 20) + " MiB; " +
                   std::to_string(refused) + " writes were refused";
    store_.reset();
    if (!start(false) || !compare_with(*drills_.reference_, false)) return false;
    result.lost = lost_of(*store_, result.acknowledged);
    disk_->empty();
    const std::int64_t began = now_ns();
    if (!until([&] { return put(result.acknowledged + 1); })) return fail("writes do not come back");
    result.ready_ns = result.first_read_ns + now_ns() - began;
    return true;
  }

  Drills& drills_;
  const DrillMode& mode_;
  Random random_;
  const std::string clone_;
  std::string at_ = clone_;          // where the store is
  std::unique_ptr<SmallDisk> disk_;  // outlives the store on it
  std::unique_ptr<Store> store_;
  RecoveryReport report_;
};

DrillResult Drills::run(const DrillMode& mode) {
  if (options_.progress) options_.progress(mode.name);
  Scenario scenario(*this, mode);
  scenario.play();
  return std::move(scenario.result);
}

}  // namespace daruma::rehearsal
