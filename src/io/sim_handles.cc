// SPDX-License-Identifier: Apache-2.0
#include "io/sim_handles.h"

#include <algorithm>

#include "base/assert.h"

namespace daruma {

SimFile::SimFile(std::shared_ptr<SimDisk> disk, SimInodeId inode, std::string path, bool writable)
    : disk_(std::move(disk)),
      inode_(inode),
      path_(std::move(path)),
      generation_(disk_->generation),
      writable_(writable) {
  ++disk_->open_files[inode_];
}

SimFile::~SimFile() {
  if (generation_ != disk_->generation) return;
  const auto it = disk_->open_files.find(inode_);
  DARUMA_ASSERT(it != disk_->open_files.end());
  if (--it->second == 0) disk_->open_files.erase(it);
}

Result<std::size_t> SimFile::read(std::uint64_t offset, std::span<char> out) {
  DARUMA_TRY(disk_->alive(generation_));
  if (disk_->inode(inode_).content->lost(offset, out.size()) ||
      disk_->fault(FaultKind::kReadError, path_, offset, out.size())) {
    return Status(Code::kIoError, "simulated read error", {.file = path_, .offset = offset});
  }
  return disk_->read(inode_, offset, out);
}

Result<std::size_t> SimFile::read_direct(std::uint64_t offset, std::span<char> out) {
  const std::uint64_t address = reinterpret_cast<std::uintptr_t>(out.data());
  if ((offset | out.size() | address) % disk_->options.sector_bytes != 0) {
    return Status(Code::kInvalidArgument, "direct read is not sector-aligned", {.file = path_, .offset = offset});
  }
  return read(offset, out);
}

Status SimFile::write_whole(std::uint64_t offset, std::string_view data) {
  if (data.empty()) return {};
  if (disk_->fault(FaultKind::kWriteError, path_))
    return Status(Code::kIoError, "simulated write error", {.file = path_, .offset = offset});
  if (disk_->fault(FaultKind::kShortWrite, path_)) {
    disk_->write(inode_, offset, data.substr(0, disk_->random.below(data.size())));
    return Status(Code::kIoError, "simulated short write", {.file = path_, .offset = offset});
  }
  if (offset + data.size() <= disk_->inode(inode_).content->size() && disk_->fault(FaultKind::kNoSpaceAtAll, path_))
    return Status(Code::kNoSpace, "the simulated disk has no block for a copy", {.file = path_, .offset = offset});
  if (Status full = disk_->room(inode_, path_, offset + data.size()); !full.ok()) {
    const std::uint64_t size =
        disk_->inode(inode_).content->size();  // what needs no new space is written, as a kernel does
    if (offset < size) disk_->write(inode_, offset, data.substr(0, size - offset));
    return full;
  }
  disk_->write(inode_, offset, data);
  if (disk_->fault(FaultKind::kSyncErrorLate, path_)) {
    disk_->content(inode_).forget_dirty();
    disk_->late_errors.insert(inode_);
  }
  return {};
}

void SimFile::write_torn(std::uint64_t offset, std::string_view data) {
  const std::uint64_t unit = disk_->options.sector_bytes;
  const std::uint64_t first = offset / unit;
  const std::uint64_t sectors = round_up(offset + data.size(), unit) / unit - first;
  const std::uint64_t kept = disk_->random.below(sectors + 1);  // all of them: done, but unacknowledged
  if (kept == 0) return;
  static_cast<void>(write_whole(offset, data.substr(0, (first + kept) * unit - offset)));
}

Status SimFile::write(std::uint64_t offset, std::string_view data) {
  DARUMA_TRY(disk_->alive(generation_));
  if (!writable_) return Status(Code::kIoError, "not open for writing", {.file = path_});
  if (offset > kSimFileBytesMax || data.size() > kSimFileBytesMax - offset) {
    return Status(Code::kNoSpace, "past the largest simulated file", {.file = path_, .offset = offset});
  }
  return disk_->point(
      generation_, true, "write", path_, [&] { return write_whole(offset, data); }, [&] { write_torn(offset, data); });
}

Status SimFile::sync() {
  return disk_->point(
      generation_, false, "sync", path_,
      [&]() -> Status {
        disk_->absorb(inode_);
        if (disk_->on_latency) disk_->on_latency(disk_->per_sync_ns);
        DARUMA_TRY(disk_->sync_fault(inode_, path_));
        disk_->content(inode_).sync();
        return {};
      },
      [&] {
        disk_->absorb(inode_);
        disk_->content(inode_).sync_some(disk_->random);
      });
}

Result<std::uint64_t> SimFile::size() {
  DARUMA_TRY(disk_->alive(generation_));
  return disk_->inode(inode_).content->size();
}

Status SimFile::allocate(std::uint64_t bytes) {
  DARUMA_TRY(disk_->alive(generation_));
  if (!writable_) return Status(Code::kIoError, "not open for writing", {.file = path_});
  return disk_->point(generation_, true, "allocate", path_, [&]() -> Status {
    DARUMA_TRY(disk_->room(inode_, path_, bytes));
    if (bytes > disk_->inode(inode_).content->size()) disk_->resize(inode_, bytes);
    return {};
  });
}

SimFrameQueue::~SimFrameQueue() {
  while (!pending_.empty() && disk_->alive(generation_).ok()) {  // the kernel finishes what it holds
    std::vector<FrameCompletion> ignored;
    reap(true, ignored);
    if (ignored.empty()) return;  // a device that stalls has them still, for whatever becomes of them
  }
}

void SimFrameQueue::submit(const FrameWrite& write) {
  const auto* file = dynamic_cast<SimFile*>(write.file);
  DARUMA_ASSERT(file != nullptr);
  Pending pending{.frame = 0, .tag = write.tag, .path = file->path(), .caller_data = write.data, .status = {}};
  const std::uint64_t unit = disk_->options.sector_bytes;
  if (Status dead = disk_->alive(file->generation()); !dead.ok()) {
    pending.status = dead;
  } else if (!file->writable()) {
    pending.status = Status(Code::kIoError, "not open for writing", {.file = pending.path});
  } else if ((write.offset | write.data.size() | reinterpret_cast<std::uintptr_t>(write.data.data())) % unit != 0) {
    pending.status =
        Status(Code::kInvalidArgument, "frame is not sector-aligned", {.file = pending.path, .offset = write.offset});
  } else if (write.offset > kSimFileBytesMax || write.data.size() > kSimFileBytesMax - write.offset) {
    pending.status =
        Status(Code::kNoSpace, "past the largest simulated file", {.file = pending.path, .offset = write.offset});
  } else {
    pending.status = disk_->point(generation_, true, "submit", pending.path, [&]() -> Status {
      pending.frame = disk_->next_frame++;
      disk_->in_flight[pending.frame] = {file->inode(), write.offset, std::make_shared<const std::string>(write.data)};
      return {};
    });
  }
  pending_.push_back(std::move(pending));
}

Status SimFrameQueue::finish(const Pending& pending, const SimFrame& frame) {
  const auto all = [](std::size_t) { return true; };
  DARUMA_ASSERT(pending.caller_data == *frame.data);  // changed or freed while in flight
  const Where where{.file = pending.path, .offset = frame.offset};
  if (disk_->fault(FaultKind::kWriteError, pending.path)) return Status(Code::kIoError, "simulated write error", where);
  if (frame.offset + frame.data->size() <= disk_->inode(frame.inode).content->size() &&
      disk_->fault(FaultKind::kNoSpaceAtAll, pending.path))
    return Status(Code::kNoSpace, "the simulated disk has no block for a copy", where);
  DARUMA_TRY(disk_->room(frame.inode, pending.path, frame.offset + frame.data->size()));
  if (disk_->fault(FaultKind::kShortWrite, pending.path)) {
    const std::uint64_t kept = disk_->random.below(frame.data->size() / disk_->options.sector_bytes);
    disk_->apply(frame, true, [&](std::size_t at) { return at < kept * disk_->options.sector_bytes; });
    return Status(Code::kIoError, "simulated short write", where);
  }
  if (disk_->fault(FaultKind::kSyncErrorOld, pending.path))
    return Status(Code::kIoError, "simulated sync error", where);
  if (disk_->fault(FaultKind::kSyncError, pending.path)) {
    disk_->apply(frame, false, all);
    return Status(Code::kIoError, "simulated sync error", where);
  }
  disk_->apply(frame, true, all);
  return {};
}

Status SimFrameQueue::complete(const Pending& pending) {
  if (pending.frame == 0) return pending.status;
  // A crash here leaves the frame in flight; with half_done it may be whole but unacknowledged.
  return disk_->point(generation_, true, "complete", pending.path, [&]() -> Status {
    const auto it = disk_->in_flight.find(pending.frame);
    DARUMA_ASSERT(it != disk_->in_flight.end());
    const SimFrame frame = it->second;
    disk_->in_flight.erase(it);
    return finish(pending, frame);
  });
}

void SimFrameQueue::reap(bool wait, std::vector<FrameCompletion>& out) {
  // What a stalled device has stands behind the others, out of reach.
  const auto stalled = std::stable_partition(pending_.begin(), pending_.end(), [&](const Pending& pending) {
    return !disk_->has_fault(FaultKind::kStall, pending.path);
  });
  auto here = static_cast<std::size_t>(stalled - pending_.begin());
  std::size_t count = wait && here > 0 ? 1 : 0;
  if (!disk_->alive(generation_).ok()) {
    count = here = pending_.size();  // nothing will ever come: say so at once
  } else {
    if (wait && here == 0 && !pending_.empty()) {
      static_cast<void>(disk_->fault(FaultKind::kStall, pending_.front().path));
      if (disk_->on_latency) disk_->on_latency(kSliceNs);
    }
    while (count < here && disk_->random.one_in(wait ? 3 : 2)) ++count;
    if (count > 0 && disk_->on_latency) disk_->on_latency(disk_->per_sync_ns);
  }
  for (; count > 0; --count) {
    const std::size_t which = disk_->random.below(here--);
    const Pending pending = std::move(pending_[which]);
    pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(which));
    Status dead = disk_->alive(generation_);
    out.push_back({pending.tag, dead.ok() ? complete(pending) : dead});
  }
}

}  // namespace daruma
