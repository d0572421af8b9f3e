// SPDX-License-Identifier: Apache-2.0
#include "rehearsal/chaos.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <thread>

#include "base/clock.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "daruma/store.h"
#include "rehearsal/clone.h"
#include "rehearsal/fault.h"

namespace daruma::rehearsal {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kSlots = 2000;  // keys of a thread, in each keyspace

/// What one write does: of each key its own number, or nothing.
struct Effect {
  bool second = false;  // keyspace
  std::uint32_t slot = 0;
  bool erased = false;
};
struct Write {
  std::vector<Effect> effects;
  std::optional<std::pair<std::uint32_t, std::uint32_t>> range;  // of the first keyspace, erased as one operation
  Durability durability = Durability::kProcess;
};

Write drawn(std::uint64_t seed, unsigned thread, std::uint64_t number) {
  Random random(seed ^ (number * 0x9e3779b97f4a7c15ULL) ^ (std::uint64_t{thread} << 56));
  Write write;
  write.durability = random.percent(10) ? Durability::kPower : Durability::kProcess;
  const auto slot = [&] { return static_cast<std::uint32_t>(random.below(kSlots)); };
  const std::uint64_t kind = random.below(100);
  if (kind < 60) {
    write.effects.push_back({.slot = slot()});
  } else if (kind < 70) {
    write.effects.push_back({.slot = slot(), .erased = true});
  } else if (kind < 97) {
    const std::uint32_t first = slot();
    const auto count = static_cast<std::uint32_t>(2 + random.below(5));
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t at = (first + 7 * i) % kSlots;
      const bool erased = random.one_in(6);
      for (const bool second : {false, true}) write.effects.push_back({second, at, erased});
    }
  } else {
    const std::uint32_t first = slot();
    const std::uint32_t end = std::min<std::uint32_t>(kSlots, first + 1 + static_cast<std::uint32_t>(random.below(20)));
    write.range = {first, end};
    for (std::uint32_t at = first; at < end; ++at) write.effects.push_back({.slot = at, .erased = true});
  }
  return write;
}

std::string key_of(unsigned thread, std::uint32_t slot) {
  char text[32];
  std::snprintf(text, sizeof text, "w%02u/%05u", thread, slot);
  return text;
}

/// As long as the number says, so that a cut or mixed value shows.
std::string value_of(unsigned thread, std::uint64_t number) {
  std::string value = std::to_string(thread) + ":" + std::to_string(number) + ":";
  Random random(number * 64 + thread);
  const std::size_t bytes = value.size() + (random.one_in(200) ? 20'000 : random.below(300));
  while (value.size() < bytes) {
    const std::uint64_t bits = random.next();
    value.append(reinterpret_cast<const char*>(&bits), sizeof bits);
  }
  return value;
}

std::uint64_t number_in(std::string_view value) {
  const std::size_t colon = value.find(':');
  std::uint64_t number = 0;
  if (colon != std::string_view::npos) std::from_chars(value.data() + colon + 1, value.data() + value.size(), number);
  return number;
}

/// What a process tells; written at once, so never mixed with that of another thread.
struct Word {
  enum Kind : std::uint32_t { kOpened, kAcknowledged, kRefused, kCheckpoint, kCompaction };
  std::uint32_t kind = kOpened;
  std::uint32_t thread = 0;
  std::uint64_t number = 0;
};

void say(int pipe, const Word& word) {
  while (::write(pipe, &word, sizeof word) < 0 && errno == EINTR) {}
}

[[noreturn]] void write_until_killed(const std::string& directory, const ChaosOptions& options,
                                     const std::vector<std::uint64_t>& first, int pipe) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  Result<Store::Opened> opened = Store::open(directory, options.store);
  if (!opened.ok()) ::_exit(3);
  Store store = opened->store;
  std::array<Keyspace, 2> keyspaces;
  for (std::size_t i = 0; i < keyspaces.size(); ++i) {
    const std::string& name = chaos_keyspaces()[i];
    Result<Keyspace> found = store.keyspace(name);
    if (!found.ok()) found = store.create_keyspace(name);
    if (!found.ok()) ::_exit(4);
    keyspaces[i] = *found;
  }
  say(pipe, {.kind = Word::kOpened});
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < options.writers; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t number = first[t];; ++number) {
        const Write write = drawn(options.seed, t, number);
        Batch batch;
        if (write.range) {
          batch.erase_range(keyspaces[0], key_of(t, write.range->first),
                            write.range->second == kSlots ? key_of(t, kSlots) : key_of(t, write.range->second));
        } else {
          for (const Effect& effect : write.effects) {
            const Keyspace keyspace = keyspaces[effect.second ? 1 : 0];
            if (effect.erased)
              batch.erase(keyspace, key_of(t, effect.slot));
            else
              batch.put(keyspace, key_of(t, effect.slot), value_of(t, number));
          }
        }
        if (!store.write(batch, {write.durability}).ok()) {
          say(pipe, {Word::kRefused, t, number});
          return;
        }
        say(pipe, {Word::kAcknowledged, t, number});
        Random random(options.seed ^ ~number);
        if (t == 0 && random.one_in(400) && store.checkpoint().ok()) say(pipe, {.kind = Word::kCheckpoint});
        if (t == options.writers - 1 && random.one_in(2500) && store.compact(keyspaces[number % 2]).ok())
          say(pipe, {.kind = Word::kCompaction});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (;;) ::pause();
}

class Chaos {
 public:
  Chaos(std::string directory, const ChaosOptions& options)
      : directory_(std::move(directory)), options_(options), random_(options.seed), threads_(options.writers) {}

  Result<ChaosResult> run() {
    const std::int64_t began = system_clock().monotonic_ns();
    const std::int64_t end = began + std::chrono::nanoseconds(options_.duration).count();
    do {
      DARUMA_TRY(live_and_die());
      if (options_.damage) hurt();
      DARUMA_TRY(start_and_check());
      result_.duration_ns = system_clock().monotonic_ns() - began;
      if (options_.progress) options_.progress(result_.kills, result_.acknowledged);
    } while (result_.kept() && system_clock().monotonic_ns() < end);
    return result_;
  }

 private:
  struct Thread {
    std::uint64_t acknowledged = 0;  // all below that were not left out
    std::uint64_t next = 1;          // the number in doubt when its process is dead
    std::array<std::vector<std::uint64_t>, 2> slots{std::vector<std::uint64_t>(kSlots),
                                                    std::vector<std::uint64_t>(kSlots)};  // 0: not there
  };

  static void apply(Thread& thread, const Write& write, std::uint64_t number) {
    for (const Effect& effect : write.effects)
      thread.slots[effect.second ? 1 : 0][effect.slot] = effect.erased ? 0 : number;
  }

  Status live_and_die() {
    int pipe[2];
    if (::pipe2(pipe, O_CLOEXEC) != 0)
      return {Code::kUnavailable, "no pipe: " + std::generic_category().message(errno)};
    static_cast<void>(::fcntl(pipe[1], F_SETPIPE_SZ, 1 << 20));
    std::vector<std::uint64_t> first;
    for (const Thread& thread : threads_) first.push_back(thread.next);
    const pid_t child = ::fork();
    if (child < 0) return {Code::kUnavailable, "no process: " + std::generic_category().message(errno)};
    if (child == 0) {
      ::close(pipe[0]);
      write_until_killed(directory_, options_, first, pipe[1]);
    }
    ::close(pipe[1]);
    const auto us = [](std::uint64_t n) { return static_cast<std::int64_t>(n) * 1000; };
    bool opened = false, gone = false;
    // One in five is killed wherever it happens to be, often in its start; the others once they write.
    const bool anywhere = random_.one_in(5);
    std::int64_t kill_at = anywhere ? system_clock().monotonic_ns() + us(random_.below(30'000)) : INT64_MAX;
    while (!gone && system_clock().monotonic_ns() < kill_at) {
      struct pollfd ready {
        pipe[0], POLLIN, 0
      };
      const std::int64_t left = kill_at == INT64_MAX ? 50 : (kill_at - system_clock().monotonic_ns()) / 1'000'000;
      ::poll(&ready, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 50)));
      if (ready.revents != 0) gone = !hear(pipe[0], opened);
      if (opened && kill_at == INT64_MAX)
        kill_at = system_clock().monotonic_ns() + us(1000 + random_.below(random_.one_in(4) ? 600'000 : 120'000));
    }
    ::kill(child, SIGKILL);
    while (!gone) gone = !hear(pipe[0], opened);
    ::close(pipe[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
      return {Code::kUnavailable,
              "a process that should write ended by itself, with " + std::to_string(status),
              {.file = directory_}};
    ++result_.kills;
    result_.kills_in_a_start += !opened;
    return {};
  }

  /// False: everything was heard.
  bool hear(int pipe, bool& opened) {
    std::array<Word, 512> words;
    ssize_t got = 0;
    while ((got = ::read(pipe, words.data(), sizeof words)) < 0 && errno == EINTR) {}
    if (got <= 0) return false;
    for (std::size_t i = 0; i < static_cast<std::size_t>(got) / sizeof(Word); ++i) {
      const Word& word = words[i];
      switch (word.kind) {
        case Word::kOpened: opened = true; break;
        case Word::kCheckpoint: ++result_.checkpoints; break;
        case Word::kCompaction: ++result_.compactions; break;
        case Word::kRefused: ++result_.refused; break;
        default:
          Thread& thread = threads_[word.thread];
          apply(thread, drawn(options_.seed, word.thread, word.number), word.number);
          thread.next = word.number + 1;
          ++result_.acknowledged;
      }
    }
    return true;
  }

  /// What promises that nothing is lost: one sector, and all is healed before the next.
  void hurt() {
    constexpr std::array kFaults = {Fault::kBitFlip, Fault::kZeroedSector, Fault::kMisdirectedSector};
    std::vector<std::string> files;
    for (const char* room : {"wal", "runs", "snapshots"}) {
      std::error_code not_made_yet;
      for (const auto& entry : fs::directory_iterator(directory_ + "/" + room, not_made_yet)) {
        if (entry.is_regular_file() && entry.path().extension() != ".tmp") files.push_back(entry.path().string());
      }
    }
    if (files.empty()) return;
    std::sort(files.begin(), files.end());
    const std::string& file = files[random_.below(files.size())];
    if (!unshare(file).ok()) return;
    Extent extent;
    extent.live_end = end_of_log(file);
    const Fault fault = kFaults[random_.below(kFaults.size())];
    const std::optional<std::uint64_t> place = inflict(fault, file, extent, random_);
    result_.faults += place.has_value();
    hurt_ = place ? std::string(name(fault)) + " in " + file + " at " + std::to_string(*place) : "";
  }

  Status start_and_check() {
    const std::int64_t began = system_clock().monotonic_ns();
    DARUMA_TRY_ASSIGN(Store::Opened opened, Store::open(directory_, options_.store));
    const Result<Keyspace> first = opened.store.keyspace(chaos_keyspaces()[0]);
    if (first.ok()) static_cast<void>(opened.store.get(*first, key_of(0, 0)).status());
    result_.slowest_start_ns = std::max(result_.slowest_start_ns, system_clock().monotonic_ns() - began);
    if (!opened.report.clean()) {
      ++result_.doubted;
      tell("a start lost data: " + opened.report.to_text());
    }
    std::vector<Write> doubts;
    for (unsigned t = 0; t < threads_.size(); ++t) doubts.push_back(drawn(options_.seed, t, threads_[t].next));
    // What is there, of each thread, in each keyspace.
    std::vector<std::array<std::vector<std::uint64_t>, 2>> found(threads_.size());
    for (auto& of_thread : found) of_thread = {std::vector<std::uint64_t>(kSlots), std::vector<std::uint64_t>(kSlots)};
    for (std::size_t which = 0; which < 2; ++which) DARUMA_TRY(look(opened.store, which, found));
    for (unsigned t = 0; t < threads_.size() && result_.doubted == 0; ++t) settle(t, doubts[t], found[t]);
    if (options_.damage && result_.kept()) {
      DARUMA_TRY(opened.store.sync());
      DARUMA_TRY(opened.store.scrub().status());
    }
    return {};
  }

  Status look(const Store& store, std::size_t which, std::vector<std::array<std::vector<std::uint64_t>, 2>>& found) {
    const Result<Keyspace> keyspace = store.keyspace(chaos_keyspaces()[which]);
    if (keyspace.status().is(Code::kNotFound)) return {};  // killed before it was made, or `settle` misses all of it
    DARUMA_TRY(keyspace.status());
    DARUMA_TRY_ASSIGN(Cursor cursor, store.cursor(*keyspace));
    for (cursor.seek_first(); cursor.valid(); cursor.next()) {
      unsigned thread = 0;
      unsigned slot = 0;
      const std::string key(cursor.key());
      const std::uint64_t number = number_in(cursor.value());
      if (std::sscanf(key.c_str(), "w%02u/%05u", &thread, &slot) != 2 || thread >= threads_.size() || slot >= kSlots ||
          key != key_of(thread, slot) || number == 0 || cursor.value() != value_of(thread, number)) {
        ++result_.wrong;
        tell("key " + key + " has a value that nobody wrote");
        continue;
      }
      found[thread][which][slot] = number;
    }
    if (!cursor.status().ok()) {
      ++result_.doubted;
      tell("a scan ended with " + cursor.status().to_string());
    }
    return {};
  }

  /// The write that was in flight happened whole or not at all; nothing else did.
  void settle(unsigned t, const Write& doubt, const std::array<std::vector<std::uint64_t>, 2>& found) {
    Thread& thread = threads_[t];
    Thread with = thread;
    apply(with, doubt, thread.next);
    bool was_before = true, was_after = true;
    for (const Effect& effect : doubt.effects) {
      const std::size_t which = effect.second ? 1 : 0;
      const std::uint64_t is = found[which][effect.slot];
      was_before = was_before && is == thread.slots[which][effect.slot];
      was_after = was_after && is == with.slots[which][effect.slot];
    }
    const Thread& expected = was_after && !was_before ? with : thread;
    for (std::size_t which = 0; which < 2; ++which) {
      for (std::uint32_t slot = 0; slot < kSlots; ++slot) {
        const std::uint64_t is = found[which][slot], should = expected.slots[which][slot];
        if (is == should) continue;
        if (!was_before && !was_after && (is == with.slots[which][slot] || is == thread.slots[which][slot])) {
          ++result_.torn;
          tell("of write " + std::to_string(thread.next) + " only a part is there");
        } else if (is < should) {
          ++result_.lost;
          tell("key " + key_of(t, slot) + " has write " + std::to_string(is) + ", and " + std::to_string(should) +
               " was acknowledged");
        } else {
          ++result_.wrong;
          tell("key " + key_of(t, slot) + " has write " + std::to_string(is) +
               ", which was never its newest: " + std::to_string(should) + " is");
        }
      }
    }
    thread.slots = expected.slots;
    ++thread.next;
  }

  void tell(const std::string& what) {
    if (!result_.first.empty()) return;
    result_.first = "after kill " + std::to_string(result_.kills) + ": " + what;
    if (!hurt_.empty()) result_.first += "; " + hurt_;
  }

  const std::string directory_;
  const ChaosOptions& options_;
  Random random_;
  std::vector<Thread> threads_;
  ChaosResult result_;
  std::string hurt_;
};

}  // namespace

const std::vector<std::string>& chaos_keyspaces() {
  static const std::vector<std::string> names = {"chaos a", "chaos b"};
  return names;
}

Result<ChaosResult> chaos(const std::string& directory, const ChaosOptions& options) {
  if (options.writers < 1 || options.writers > 64) return Status(Code::kInvalidArgument, "there are 1 to 64 writers");
  return Chaos(directory, options).run();
}

}  // namespace daruma::rehearsal
