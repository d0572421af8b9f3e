// SPDX-License-Identifier: Apache-2.0
//
// A process that writes to a store from several threads until it is killed, and says in shared memory what was
// acknowledged: what tests on real file systems share.
//
// Each thread writes numbers that only rise, each to slot `number mod kSlots`; a value names its thread and number, so
// that an answer tells which write it is.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "base/random.h"
#include "daruma/store.h"

namespace daruma {

inline constexpr unsigned kLiveThreads = 3;
inline constexpr std::uint64_t kSlots = 64;

/// Outlives the writer.
struct Board {
  std::atomic<std::uint64_t> begun[kLiveThreads];         // highest number that a write was called with
  std::atomic<std::uint64_t> acknowledged[kLiveThreads];  // highest number acknowledged, with whatever durability
  std::atomic<std::uint64_t> power[kLiveThreads];         // highest number acknowledged with Durability::kPower
  std::atomic<std::uint64_t> itself[kLiveThreads]
                                   [kSlots];  // newest of the slot acknowledged with kPower, whatever before
  std::atomic<std::uint64_t> opened, checkpoints, compactions;
  std::atomic<std::uint64_t> refused, later;  // writes that gave an error; writes acknowledged behind one, by a thread

  static Board& make() {
    void* const shared = ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) std::abort();
    return *new (shared) Board();
  }
};

inline std::string live_key(unsigned thread, std::uint64_t number) {
  return "t" + std::to_string(thread) + "/" + std::to_string(number % kSlots);
}

/// As long as the number says, so that a cut or mixed value shows.
inline std::string live_value(unsigned thread, std::uint64_t number) {
  std::string value = std::to_string(thread) + ":" + std::to_string(number) + ":";
  Random random(number * kLiveThreads + thread);
  const std::size_t bytes = random.one_in(50) ? 20'000 : random.below(400);
  while (value.size() < bytes) value += static_cast<char>('a' + random.below(26));
  return value;
}

/// The number that a value names; nothing when no write had this value.
inline std::optional<std::uint64_t> live_number(unsigned thread, const std::string& value) {
  const std::size_t colon = value.find(':');
  if (colon == std::string::npos) return std::nullopt;
  const std::uint64_t number = std::strtoull(value.c_str() + colon + 1, nullptr, 10);
  if (value != live_value(thread, number)) return std::nullopt;
  return number;
}

inline Options live_options() {
  Options options;
  options.memtable_bytes = 1 << 20;
  options.segment_bytes = 1 << 20;
  options.ring_bytes = 512 << 10;
  return options;
}

/// Never returns. After an error a thread goes on with the next number, but tells no more of what follows than that.
[[noreturn]] inline void write_until_killed(Store store, Board& board, std::uint64_t seed) {
  static_cast<void>(store.create_keyspace("live"));
  const Result<Keyspace> found = store.keyspace("live");
  if (!found.ok()) ::_exit(4);
  const Keyspace keyspace = *found;
  board.opened.fetch_add(1);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kLiveThreads; ++t) {
    threads.emplace_back([&, t] {
      Random random(seed * 16 + t);
      bool whole = true;  // a number that was refused may be missing below those that follow
      for (std::uint64_t number = board.begun[t].load() + 1;; ++number) {
        board.begun[t].store(number);
        const Durability wait = random.one_in(2) ? Durability::kPower : Durability::kProcess;
        if (!store.put(keyspace, live_key(t, number), live_value(t, number), {wait}).ok()) {
          board.refused.fetch_add(1);
          whole = false;
          continue;
        }
        if (wait == Durability::kPower) board.itself[t][number % kSlots].store(number);
        if (whole) {
          board.acknowledged[t].store(number);
          if (wait == Durability::kPower) board.power[t].store(number);
        } else {
          board.later.fetch_add(1);
        }
        if (t == 0 && random.one_in(500)) board.compactions.fetch_add(store.compact(keyspace).ok());
        if (t == 1 && random.one_in(200)) board.checkpoints.fetch_add(store.checkpoint().ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ::_exit(5);
}

/// The newest number at or below `newest` that belongs to `slot`; 0: none.
inline std::uint64_t newest_of_slot(std::uint64_t slot, std::uint64_t newest) {
  const std::uint64_t back = (newest % kSlots + kSlots - slot) % kSlots;
  return back >= newest ? 0 : newest - back;
}

}  // namespace daruma
