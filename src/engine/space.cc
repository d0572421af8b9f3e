// SPDX-License-Identifier: Apache-2.0
//
// A device that is filling up: puts are refused while there is still room for what frees space, and a ballast is given
// back when there is none.
//
// What must stay true: refusing costs nothing that is there, and ends by itself when the room is back. The ballast
// means nothing to recovery: a file of zeros.
#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "engine/engine.h"

namespace daruma {
namespace {

constexpr const char* kBallast = "/ballast";

}  // namespace

/// For the run that the memtables become, and for log files of the least size: larger ones are taken while there is
/// room.
std::uint64_t Engine::space_needed() const {
  constexpr std::uint64_t kLogBytes = 4 * WalWriter::kSmallSegmentBytes;
  return kLogBytes + memtable_bytes_.load(std::memory_order_relaxed);
}

/// Why puts are refused, if they are.
Status Engine::has_room() const {
  MutexLock lock(health_mutex_);
  return room_;
}

/// Looks at the device, and at the ballast. Puts are taken again when there is a quarter more than what ends them, or
/// the two would take turns.
void Engine::watch_space() {
  const Result<std::uint64_t> free = storage_->free_bytes(directory_);
  if (!free.ok()) return;  // it is no reason to refuse
  const std::uint64_t needed = space_needed();
  const bool was = no_room_.load(std::memory_order_relaxed);
  const bool now = *free < needed + (was ? needed / 4 : 0);
  if (now != was) {
    Status room;
    if (now) {
      room = {Code::kNoSpace,
              "the device has " + std::to_string(*free) + " bytes left, and log and memtables need " +
                  std::to_string(needed),
              {.file = directory_},
              "erases are taken, and puts again by themselves when there is room"};
    }
    MutexLock lock(health_mutex_);
    room_ = std::move(room);
    no_room_.store(now, std::memory_order_relaxed);
  }
  if (options_.ballast_bytes != 0 && !ballast_ && *free >= needed + needed / 4 + 2 * options_.ballast_bytes)
    (void)make_ballast();
  space_seen_.store(true, std::memory_order_relaxed);
}

/// Its space is reserved, not written.
Status Engine::make_ballast() {
  const std::string path = directory_ + kBallast;
  Status made = [&]() -> Status {
    DARUMA_TRY_ASSIGN(const std::unique_ptr<File> file, storage_->open(path, OpenMode::kCreate));
    DARUMA_TRY(file->allocate(options_.ballast_bytes));
    return file->sync();
  }();
  if (!made.ok()) (void)storage_->remove(path);
  ballast_ = made.ok();
  return made;
}

/// For the log, when the device filled faster than `watch_space` looks: the ballast is its own, and puts end now.
bool Engine::yield_space() {
  if (!ballast_.exchange(false, std::memory_order_relaxed)) return false;
  const Status yielded = or_out_of_memory([this]() -> Status {
    Status room(Code::kNoSpace, "the log found no room for its next file", {.file = directory_},
                "erases are taken, and puts again by themselves when there is room");
    MutexLock lock(health_mutex_);
    room_ = std::move(room);
    no_room_.store(true, std::memory_order_relaxed);
    return {};
  });
  return yielded.ok() && give_up_ballast().ok();
}

Status Engine::give_up_ballast() {
  Status removed = storage_->remove(directory_ + kBallast);
  if (removed.is(Code::kNotFound)) return {};
  DARUMA_TRY(removed);
  return storage_->sync_directory(directory_);
}

}  // namespace daruma
