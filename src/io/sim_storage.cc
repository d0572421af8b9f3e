// SPDX-License-Identifier: Apache-2.0
// The facade: SimStorage's calls, each one crash point over SimDisk. What a dead process may do is decided in
// SimDisk::point.
#include "io/sim_storage.h"

#include "base/assert.h"
#include "io/sim_disk.h"
#include "io/sim_handles.h"

namespace daruma {

SimStorage::SimStorage(const SimStorageOptions& options) : disk_(std::make_shared<SimDisk>(options)) {}
SimStorage::SimStorage(std::shared_ptr<SimDisk> disk) : disk_(std::move(disk)) {}
SimStorage::~SimStorage() = default;

std::uint64_t SimStorage::operations() const { return disk_->operations; }
std::uint64_t SimStorage::write_operations() const { return disk_->write_operations; }
bool SimStorage::crashed() const { return disk_->crashed; }
void SimStorage::disarm() { disk_->armed = SimDisk::kNever; }
void SimStorage::crash_at(std::uint64_t operation, bool half_done) {
  disk_->armed = operation;
  disk_->half_done = half_done;
}
void SimStorage::kill() { disk_->die({}); }
void SimStorage::power_cut(unsigned survive_percent) { disk_->die(survive_percent); }

Status SimStorage::flip_bit(const std::string& path, std::uint64_t offset, unsigned bit) {
  DARUMA_TRY_ASSIGN(const SimInodeId id, disk_->find(path, false));
  disk_->absorb(id);
  if (bit > 7 || offset >= disk_->inode(id).content->size())
    return Status(Code::kInvalidArgument, "no such bit", {.file = path, .offset = offset});
  disk_->content(id).flip(offset, bit);
  disk_->refresh(id);
  return {};
}

Status SimStorage::overwrite(const std::string& path, std::uint64_t offset, std::string_view bytes) {
  DARUMA_TRY_ASSIGN(const SimInodeId id, disk_->find(path, false));
  disk_->absorb(id);
  const std::uint64_t size = disk_->inode(id).content->size();
  if (offset > size || bytes.size() > size - offset)
    return Status(Code::kInvalidArgument, "past the end", {.file = path, .offset = offset});
  disk_->content(id).overwrite(offset, bytes);
  disk_->refresh(id);
  return {};
}

Status SimStorage::truncate(const std::string& path, std::uint64_t bytes) {
  DARUMA_TRY_ASSIGN(const SimInodeId id, disk_->find(path, false));
  if (bytes > kSimFileBytesMax)
    return Status(Code::kInvalidArgument, "past the largest simulated file", {.file = path});
  disk_->absorb(id);
  disk_->content(id).truncate(bytes);
  disk_->refresh(id);
  return {};
}

Status SimStorage::lose_sector(const std::string& path, std::uint64_t offset) {
  DARUMA_TRY_ASSIGN(const SimInodeId id, disk_->find(path, false));
  disk_->content(id).lose(offset);
  return {};
}

void SimStorage::inject(const Fault& fault) { disk_->faults.push_back(fault); }
void SimStorage::clear_faults() { disk_->faults.clear(); }
std::uint64_t SimStorage::faults_fired() const { return disk_->faults_fired; }
void SimStorage::set_capacity(std::uint64_t bytes) { disk_->options.capacity_bytes = bytes; }
std::uint64_t SimStorage::fingerprint() const { return disk_->fingerprint(); }

std::unique_ptr<SimStorage> SimStorage::clone(std::uint64_t seed) const {
  return std::unique_ptr<SimStorage>(new SimStorage(std::make_shared<SimDisk>(*disk_, seed)));
}

void SimStorage::on_crash_point(std::function<void(std::uint64_t, const CrashImage&)> callback) {
  disk_->on_crash_point = std::move(callback);
}
void SimStorage::on_operation(std::function<void(std::uint64_t, std::string_view)> callback) {
  disk_->on_operation = std::move(callback);
}
void SimStorage::on_latency(std::function<void(std::int64_t)> callback, std::int64_t per_sync_ns) {
  disk_->on_latency = std::move(callback);
  disk_->per_sync_ns = per_sync_ns;
}

Result<std::unique_ptr<File>> SimStorage::open(const std::string& path, OpenMode mode) {
  SimDisk& disk = *disk_;
  DARUMA_TRY(disk.alive(disk.generation));
  DARUMA_TRY(disk.may_open("open", path));
  if (mode == OpenMode::kCreate) {
    DARUMA_TRY(disk.point(disk.generation, true, "create", path, [&]() -> Status {
      DARUMA_TRY_ASSIGN(const SimDisk::Place where, disk.place(path));
      if (const SimInodeId id = disk.at(where); id != 0) {
        if (disk.inode(id).is_directory) return Status(Code::kIoError, "is a directory", {.file = path});
        disk.resize(id, 0);
        return {};
      }
      if (disk.fault(FaultKind::kNoSpace, path) || disk.fault(FaultKind::kNoSpaceAtAll, path))
        return Status(Code::kNoSpace, "the simulated disk is full", {.file = path});
      disk.create(where, false);
      return {};
    }));
  }
  DARUMA_TRY_ASSIGN(const SimInodeId id, disk.find(path, false));
  return std::unique_ptr<File>(std::make_unique<SimFile>(disk_, id, path, mode != OpenMode::kRead));
}

Status SimStorage::rename(const std::string& from, const std::string& to) {
  return disk_->point(disk_->generation, true, "rename", from + " to " + to, [&]() -> Status {
    if (disk_->fault(FaultKind::kNoSpaceAtAll, to))
      return {Code::kNoSpace, "the simulated disk has no room for a name", {.file = to}};
    return disk_->rename(from, to);
  });
}

Status SimStorage::remove(const std::string& path) {
  return disk_->point(disk_->generation, true, "remove", path, [&] { return disk_->remove(path); });
}

Result<std::vector<DirectoryEntry>> SimStorage::list(const std::string& directory) {
  DARUMA_TRY(disk_->alive(disk_->generation));
  DARUMA_TRY(disk_->may_open("list", directory));
  DARUMA_TRY_ASSIGN(const SimInodeId id, disk_->find(directory, true));
  std::vector<DirectoryEntry> entries;
  for (const auto& [text, name] : disk_->inode(id).names) {
    if (name.current() == 0) continue;
    const SimInode& node = disk_->inode(name.current());
    entries.push_back({text, node.is_directory, node.content ? node.content->size() : 0});
  }
  return entries;
}

Status SimStorage::make_directory(const std::string& path) {
  DARUMA_TRY(disk_->alive(disk_->generation));
  DARUMA_TRY_ASSIGN(const SimDisk::Place where, disk_->place(path));
  const SimInodeId old = disk_->at(where);
  if (old != 0 && !disk_->inode(old).is_directory) return Status(Code::kExists, "a file is in the way", {.file = path});
  return disk_->point(disk_->generation, old == 0, "make_directory", path, [&]() -> Status {
    if (old != 0) return {};
    if (disk_->fault(FaultKind::kNoSpace, path) || disk_->fault(FaultKind::kNoSpaceAtAll, path))
      return Status(Code::kNoSpace, "the simulated disk is full", {.file = path});
    disk_->create(where, true);
    return {};
  });
}

Status SimStorage::sync_directory(const std::string& path) {
  DARUMA_TRY(disk_->alive(disk_->generation));
  DARUMA_TRY_ASSIGN(const SimInodeId id, disk_->find(path, true));
  if (disk_->has_fault(FaultKind::kNoDescriptors, path)) DARUMA_TRY(disk_->may_open("sync directory", path));
  return disk_->point(
      disk_->generation, false, "sync_directory", path,
      [&]() -> Status {
        if (disk_->on_latency) disk_->on_latency(disk_->per_sync_ns);
        if (disk_->fault(FaultKind::kSyncError, path) || disk_->fault(FaultKind::kSyncErrorOld, path))
          return Status(Code::kIoError, "simulated sync error", {.file = path});
        disk_->sync_directory(id);
        return {};
      },
      [&] { disk_->sync_directory_some(id); });
}

Result<std::unique_ptr<Mapping>> SimStorage::map(const std::string& path) {
  DARUMA_TRY(disk_->alive(disk_->generation));
  DARUMA_TRY(disk_->may_open("map", path));
  DARUMA_TRY_ASSIGN(const SimInodeId id, disk_->find(path, false));
  std::shared_ptr<SimMapped> mapped;
  DARUMA_TRY(disk_->point(disk_->generation, false, "map", path, [&]() -> Status {
    mapped = disk_->map(id);
    if (!mapped) return Status(Code::kBusy, "mapped at another size", {.file = path});
    return {};
  }));
  return std::unique_ptr<Mapping>(std::make_unique<SimMapping>(disk_, std::move(mapped)));
}

Result<std::unique_ptr<DirectoryLock>> SimStorage::lock(const std::string& path) {
  SimDisk& disk = *disk_;
  DARUMA_TRY(disk.alive(disk.generation));
  DARUMA_TRY(disk.may_open("lock", path));
  DARUMA_TRY_ASSIGN(const SimDisk::Place where, disk.place(path));
  if (disk.at(where) == 0) {
    DARUMA_TRY(disk.point(disk.generation, true, "create", path, [&]() -> Status {
      if (disk.fault(FaultKind::kNoSpace, path) || disk.fault(FaultKind::kNoSpaceAtAll, path))
        return Status(Code::kNoSpace, "the simulated disk is full", {.file = path});
      disk.create(where, false);
      return {};
    }));
  }
  DARUMA_TRY_ASSIGN(const SimInodeId id, disk.find(path, false));
  if (!disk.locks.emplace(id, SimDisk::kLockedToWrite).second)
    return Status(Code::kBusy, "held by the simulated process itself", {.file = path});
  return std::unique_ptr<DirectoryLock>(std::make_unique<SimLock>(disk_, id));
}

Result<std::unique_ptr<DirectoryLock>> SimStorage::lock_shared(const std::string& path) {
  SimDisk& disk = *disk_;
  DARUMA_TRY(disk.alive(disk.generation));
  DARUMA_TRY(disk.may_open("lock", path));
  DARUMA_TRY_ASSIGN(const SimInodeId id, disk.find(path, false));
  const auto [held, first] = disk.locks.emplace(id, 1);
  if (!first && held->second == SimDisk::kLockedToWrite)
    return Status(Code::kBusy, "held by the simulated process itself", {.file = path});
  if (!first) ++held->second;
  return std::unique_ptr<DirectoryLock>(std::make_unique<SimLock>(disk_, id));
}

std::unique_ptr<FrameQueue> SimStorage::make_frame_queue(unsigned /*depth*/) {
  return std::make_unique<SimFrameQueue>(disk_);
}

std::string SimStorage::boot_id() { return "sim-" + std::to_string(disk_->boot); }

Result<std::uint64_t> SimStorage::free_bytes(const std::string& /*path*/) {
  DARUMA_TRY(disk_->alive(disk_->generation));
  const std::uint64_t used = disk_->used_bytes();
  return used < disk_->options.capacity_bytes ? disk_->options.capacity_bytes - used : std::uint64_t{0};
}

std::string SimStorage::describe() {
  return "simulated disk, seed " + std::to_string(disk_->options.seed) + ", sectors of " +
         std::to_string(disk_->options.sector_bytes) + " bytes";
}

}  // namespace daruma
