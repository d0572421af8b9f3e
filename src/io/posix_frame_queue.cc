// SPDX-License-Identifier: Apache-2.0
#include "io/posix_frame_queue.h"

#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/out_of_memory.h"
#include "base/status_macros.h"

namespace daruma {
namespace {

using FrameWay = PosixFile::FrameWay;

/// Not begun, through no fault of the file: interrupted, or cancelled because the submitting thread ended.
bool is_not_begun(int error) { return error == EINTR || error == EAGAIN || error == ECANCELED; }

/// What the ring left over of a read, by plain reads: only those tell an end from an error.
void finish_read(ReadRequest& request, std::size_t done) {
  Result<std::size_t> rest = request.file->read(request.offset + done, request.out.subspan(done));
  request.status = rest.status();
  request.bytes_read = rest.ok() ? done + *rest : 0;
}

}  // namespace

PosixFrameQueue::PosixFrameQueue(std::shared_ptr<PosixBackend> backend, unsigned depth) : backend_(std::move(backend)) {
  depth = std::clamp(depth, 1u, Ring::kMaxDepth);
  waiting_.reserve(depth);
  pending_.reserve(depth);
  written_.reserve(depth);
  // Without RWF_DSYNC every write needs an fdatasync, and one for many is what the pending list does best.
  if (!backend_->options.use_io_uring || !backend_->options.use_dsync || backend_->ring_error != 0) return;
  int error = 0;
  ring_ = Ring::open(depth, error);
  if (!ring_) {
    backend_->ring_refused = true;
    return;
  }
  slots_.resize(depth);
  for (std::uint32_t i = depth; i > 0; --i) free_slots_.push_back(i - 1);
}

PosixFrameQueue::~PosixFrameQueue() = default;

std::size_t PosixFrameQueue::in_flight() const {
  return (ring_ ? ring_->in_kernel() : 0) + waiting_.size() + pending_.size();
}

void PosixFrameQueue::submit(const FrameWrite& write) {
  DARUMA_ASSERT(write.file);
  DARUMA_ASSERT(
      (write.offset | write.data.size() | reinterpret_cast<std::uintptr_t>(write.data.data())) % kSectorBytes == 0);
  waiting_.push_back(write);
  if (!one_is_alone()) start_waiting();
}

void PosixFrameQueue::start_waiting() {
  while (!waiting_.empty()) {
    const Start start = start_on_ring(waiting_.front());
    if (start == Start::kFull) return;
    if (start == Start::kNotTaken) pending_.push_back(waiting_.front());
    waiting_.erase(waiting_.begin());
  }
}

PosixFrameQueue::Route PosixFrameQueue::route(const FrameWrite& write) {
  auto* file = dynamic_cast<PosixFile*>(write.file);  // a File of another make still works, by its own write and sync
  if (!file || write.data.empty() ||
      write.offset > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) - write.data.size()) {
    return {};
  }
  if (file->frame_way() == FrameWay::kRingDirect) {
    if (const int direct = file->direct_fd(); direct >= 0) return {file, FrameWay::kRingDirect, direct};
    file->refuse_frame_way(FrameWay::kRingDirect);
  }
  const bool plain = file->frame_way() == FrameWay::kPwrite;
  return {file, file->frame_way(), plain ? -1 : file->fd()};
}

PosixFrameQueue::Start PosixFrameQueue::start_on_ring(const FrameWrite& write) {
  if (!ring_) return Start::kNotTaken;
  const Route to = route(write);
  if (to.fd < 0) return Start::kNotTaken;
  if (free_slots_.empty()) return Start::kFull;
  const std::uint32_t slot = free_slots_.back();
  if (!ring_->prepare_write(to.fd, write.offset, write.data, /*dsync=*/true, slot)) return Start::kNotTaken;
  if (ring_->flush() != 0) return Start::kNotTaken;
  free_slots_.pop_back();
  slots_[slot] = {.write = write, .file = to.file, .way = to.way};
  return Start::kStarted;
}

// The kernel hands a durable write on a ring to a thread of its own, and back: for one write that somebody waits for,
// twice a change of threads for nothing.
void PosixFrameQueue::write_alone(std::vector<FrameCompletion>& out) {
  const FrameWrite write = waiting_.front();
  waiting_.erase(waiting_.begin());
  const Route to = route(write);
  if (to.fd < 0) return pending_.push_back(write);
  const iovec bytes = {.iov_base = const_cast<char*>(write.data.data()), .iov_len = write.data.size()};
  const ssize_t written = ::pwritev2(to.fd, &bytes, 1, static_cast<off_t>(write.offset), RWF_DSYNC);
  take({.write = write, .file = to.file, .way = to.way}, written < 0 ? -errno : static_cast<int>(written), out);
}

void PosixFrameQueue::reap(bool wait, std::vector<FrameCompletion>& out) {
  const std::size_t before = out.size();
  write_pending(out);
  for (;;) {
    // A refused write goes round again, so one pass may end with nothing completed and something still in flight.
    if (wait && out.size() == before && one_is_alone()) write_alone(out);
    const std::size_t seen = in_flight();
    take_completions(wait && out.size() == before ? Ring::Wait::kSlice : Ring::Wait::kNo, out);
    start_waiting();
    write_pending(out);
    const bool stalled = in_flight() == seen && waiting_.empty() && pending_.empty();
    if (!wait || out.size() > before || in_flight() == 0 || stalled) return;
  }
}

void PosixFrameQueue::take_completions(Ring::Wait wait, std::vector<FrameCompletion>& out) {
  if (!ring_) return;
  Ring::Done done;
  while (ring_->next(wait, done)) {
    DARUMA_ASSERT(done.tag < slots_.size());
    free_slots_.push_back(static_cast<std::uint32_t>(done.tag));
    take(slots_[done.tag], done.result, out);
    wait = Ring::Wait::kNo;
  }
}

/// `result`: bytes, or -errno.
void PosixFrameQueue::take(const Slot& slot, int result, std::vector<FrameCompletion>& out) {
  const FrameWrite& write = slot.write;
  if (result < 0) {
    const int error = -result;
    if (is_refusal(error)) {
      slot.file->refuse_frame_way(slot.way);
      waiting_.insert(waiting_.begin(), write);
    } else if (is_not_begun(error)) {
      pending_.push_back(write);
    } else {
      out.push_back({.tag = write.tag, .status = or_out_of_memory([&] {
                                         return posix_status(error, "write durably", write.file->path(), write.offset);
                                       })});
    }
    return;
  }
  const auto written = static_cast<std::size_t>(result);
  DARUMA_ASSERT(written <= write.data.size());
  Status status;
  if (written < write.data.size()) {
    status = or_out_of_memory([&]() -> Status {
      DARUMA_TRY(write.file->write(write.offset + written, write.data.substr(written)));
      return write.file->sync();
    });
  }
  out.push_back({.tag = write.tag, .status = std::move(status)});
}

// All writes, then one sync for each file among them: a sync answers for every write that came before it.
void PosixFrameQueue::write_pending(std::vector<FrameCompletion>& out) {
  if (pending_.empty()) return;
  for (const FrameWrite& write : pending_) {
    written_.push_back({write, or_out_of_memory([&] { return write.file->write(write.offset, write.data); }), false});
  }
  pending_.clear();
  for (Written& first : written_) {
    if (first.judged) continue;
    Status synced;
    if (first.status.ok()) synced = or_out_of_memory([&] { return first.write.file->sync(); });
    for (Written& w : written_) {
      if (w.judged || w.write.file != first.write.file || w.status.ok() != first.status.ok()) continue;
      w.judged = true;
      if (!w.status.ok() || synced.ok()) continue;
      w.status = or_out_of_memory([&] {
        Where where = synced.where();
        where.offset = w.write.offset;  // the sync knows the file only
        return Status(synced.code(), synced.message(), std::move(where), synced.hint());
      });
    }
  }
  for (Written& w : written_) out.push_back({.tag = w.write.tag, .status = std::move(w.status)});
  written_.clear();
}

std::unique_ptr<Ring> PosixBatchReader::take_ring() {
  {
    MutexLock lock(mutex_);
    if (!idle_.empty()) {
      std::unique_ptr<Ring> ring = std::move(idle_.back());
      idle_.pop_back();
      return ring;
    }
  }
  int error = 0;
  return Ring::open(kDepth, error);
}

void PosixBatchReader::give_back(std::unique_ptr<Ring> ring) {
  MutexLock lock(mutex_);
  if (idle_.size() < kMaxIdleRings) idle_.push_back(std::move(ring));
}

bool PosixBatchReader::read(std::span<ReadRequest> requests, const std::function<void(ReadRequest&)>& done) {
  if (!backend_->options.use_io_uring || backend_->ring_error != 0) return false;
  std::unique_ptr<Ring> ring = take_ring();
  if (!ring) return false;
  for (std::size_t first = 0; first < requests.size(); first += kDepth) {
    const std::span<ReadRequest> batch =
        requests.subspan(first, std::min<std::size_t>(kDepth, requests.size() - first));
    std::vector<std::size_t> started;
    std::vector<std::size_t> plain;
    const auto hand_over = [&] {
      for (unsigned left = ring->flush(); left > 0; --left) {
        plain.push_back(started.back());
        started.pop_back();
      }
    };
    for (std::size_t i = 0; i < batch.size(); ++i) {
      ReadRequest& request = batch[i];
      auto* file = dynamic_cast<PosixFile*>(request.file);
      const bool in_range =
          request.offset <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) - request.out.size();
      const bool taken =
          file && in_range && !request.out.empty() && ring->prepare_read(file->fd(), request.offset, request.out, i);
      (taken ? started : plain).push_back(i);
      if ((i + 1) % kHandedOverAtOnce == 0) hand_over();
    }
    hand_over();
    for (const std::size_t i : plain) {  // while the kernel works on the others
      finish_read(batch[i], 0);
      done(batch[i]);
    }
    Ring::Done landed;
    while (ring->next(Ring::Wait::kForever, landed)) {
      DARUMA_ASSERT(landed.tag < batch.size());
      ReadRequest& request = batch[static_cast<std::size_t>(landed.tag)];
      if (landed.result >= 0) {
        request.status = {};
        request.bytes_read = static_cast<std::size_t>(landed.result);
        DARUMA_ASSERT(request.bytes_read <= request.out.size());
        if (request.bytes_read < request.out.size()) finish_read(request, request.bytes_read);
      } else if (is_refusal(-landed.result) || is_not_begun(-landed.result)) {
        finish_read(request, 0);
      } else {
        request.bytes_read = 0;
        request.status = posix_status(-landed.result, "read", request.file->path(), request.offset);
      }
      done(request);
    }
  }
  give_back(std::move(ring));
  return true;
}

}  // namespace daruma
