// SPDX-License-Identifier: Apache-2.0
#include "demo_catalogue/loader.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>

namespace demo {
namespace {

using daruma::Code;
using daruma::Keyspace;
using daruma::Result;
using daruma::Status;
using daruma::Store;

constexpr std::uint64_t kSyncEvery = 250;    // records between two fences against power loss
constexpr std::uint64_t kLookedBackAt = 64;  // records before the end that a loader checks when it starts

[[noreturn]] void stop(Board& board, const std::string& problem) {
  std::snprintf(board.problem, sizeof board.problem, "%s", problem.c_str());
  ::_exit(1);
}

void need(Board& board, const Status& status, const char* doing) {
  if (!status.ok()) stop(board, std::string(doing) + ": " + status.to_string());
}

/// The end of what was loaded is where a kill would show: whole batches before it, no entry behind it.
void look_back(const Store& store, const Catalogue& catalogue, std::uint64_t next, Board& board) {
  for (std::uint64_t i = next - std::min(next, kLookedBackAt); i < std::min(next + 1, catalogue.records.size()); ++i) {
    for (const Entry& entry : catalogue.records[i].entries()) {
      const Result<Keyspace> room = store.keyspace(kRoomNames[entry.room]);
      need(board, room.status(), "finding a keyspace");
      const Result<std::string> got = store.get(*room, entry.key);
      const bool right = i < next ? got.ok() && *got == entry.value : got.status().is(Code::kNotFound);
      if (!right) {
        stop(board, "record " + std::to_string(i) + " of " + std::to_string(next) + " is not as it should be in " +
                        kRoomNames[entry.room] + ": " + (got.ok() ? "another value" : got.status().to_string()));
      }
    }
  }
}

[[noreturn]] void load(const Catalogue& catalogue, const Life& life, Board& board) {
  Result<Store::Opened> opened = Store::open(life.directory, demo_options());
  need(board, opened.status(), "opening the store");
  Store store = opened->store;
  for (const char* name : {kRoomNames[0], kRoomNames[1], kRoomNames[2], kRoomNames[3], kProgressRoom}) {
    const Status made = store.create_keyspace(name).status();
    if (!made.is(Code::kExists)) need(board, made, "creating a keyspace");
  }
  const std::uint64_t next = records_in(store);
  board.recovery_ns = opened->report.total_ns;
  board.replayed = opened->report.events_replayed;
  board.went_on_at = next;
  if (!opened->report.clean()) stop(board, "the report names a loss: " + opened->report.to_text());
  if (next < life.at_least || next > board.safe_from_kill + 1) {
    stop(board, std::to_string(life.at_least) + " records were acknowledged, the store came back with " +
                    std::to_string(next));
  }
  board.safe_from_kill = next;   // one more than was acknowledged, if the kill came between the two
  board.safe_from_power = next;  // what recovery has replayed it has made durable before it serves
  look_back(store, catalogue, next, board);
  board.life = life.number;

  for (std::uint64_t i = next; i < life.through; ++i) {
    if (i == life.singly_from) need(board, store.checkpoint(), "making a snapshot");
    const Result<daruma::Batch> batch = batch_of(store, catalogue, i);
    need(board, batch.status(), "finding a keyspace");
    if (i >= life.singly_from) {
      need(board, store.write(*batch).status(), "writing");
      board.safe_from_kill = i + 1;
      board.safe_from_power = i + 1;
      continue;
    }
    need(board, store.write_async(*batch).status(), "writing");
    board.safe_from_kill = i + 1;
    if ((i + 1) % kSyncEvery == 0) {
      need(board, store.sync(), "making durable");
      board.safe_from_power = i + 1;
    }
  }
  board.finished = true;
  for (;;) ::pause();
}

}  // namespace

Board& Board::make() {
  void* const shared = ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) {
    std::perror("demo: shared memory");
    std::exit(2);
  }
  return *new (shared) Board();
}

daruma::Options demo_options() {
  daruma::Options options;
  options.memtable_bytes = 8 << 20;
  options.segment_bytes = 4 << 20;
  options.ring_bytes = 1 << 20;
  return options;
}

pid_t start_loader(const Catalogue& catalogue, const Life& life, Board& board) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) load(catalogue, life, board);
  if (child < 0) {
    std::perror("demo: fork");
    std::exit(2);
  }
  return child;
}

std::uint64_t records_in(const Store& store) {
  const Result<Keyspace> progress = store.keyspace(kProgressRoom);
  if (!progress.ok()) return 0;
  const Result<std::string> next = store.get(*progress, kProgressKey);
  if (!next.ok()) return next.status().is(Code::kNotFound) ? 0 : UINT64_MAX;
  std::uint64_t number = UINT64_MAX;
  std::from_chars(next->data(), next->data() + next->size(), number);
  return number;
}

Result<daruma::Batch> batch_of(const Store& store, const Catalogue& catalogue, std::uint64_t i) {
  daruma::Batch batch;
  for (const Entry& entry : catalogue.records[i].entries()) {
    const Result<Keyspace> room = store.keyspace(kRoomNames[entry.room]);
    if (!room.ok()) return room.status();
    batch.put(*room, entry.key, entry.value);
  }
  const Result<Keyspace> progress = store.keyspace(kProgressRoom);
  if (!progress.ok()) return progress.status();
  batch.put(*progress, kProgressKey, std::to_string(i + 1));
  return batch;
}

}  // namespace demo
