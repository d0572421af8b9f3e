// SPDX-License-Identifier: Apache-2.0
//
// Durable writes in flight, and batches of reads, on the real disk.
//
// What must stay true:
//   - ok in a completion means that every byte was written and made durable: a full RWF_DSYNC completion, or a write
//     followed by a successful fdatasync that began after it.
//   - A refusal steps the *file* down: io_uring + O_DIRECT -> io_uring, cached -> pwrite + fdatasync at reap. The write
//   that
//     met the refusal goes down with it, so the caller sees no trace of it but `describe`.
//   - A failure is reported as it is and not tried again.
// A file must outlive the completions of its writes, or the queue.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "io/posix_file.h"
#include "io/posix_ring.h"
#include "io/storage.h"

namespace daruma {

class PosixFrameQueue final : public FrameQueue {
 public:
  PosixFrameQueue(std::shared_ptr<PosixBackend> backend, unsigned depth);
  ~PosixFrameQueue() override;  ///< waits for the ring; what never reached the kernel is dropped, as a crash would

  void submit(const FrameWrite& write) override;
  void reap(bool wait, std::vector<FrameCompletion>& out) override;
  [[nodiscard]] std::size_t in_flight() const override;

 private:
  struct Slot {
    FrameWrite write;
    PosixFile* file = nullptr;
    PosixFile::FrameWay way{};
  };
  enum class Start : std::uint8_t { kStarted, kFull, kNotTaken };

  /// How `write` reaches its file durably in one call; `fd` is -1 when there is no such way.
  struct Route {
    PosixFile* file = nullptr;
    PosixFile::FrameWay way{};
    int fd = -1;
  };
  static Route route(const FrameWrite& write);
  Start start_on_ring(const FrameWrite& write);
  void start_waiting();
  [[nodiscard]] bool one_is_alone() const { return ring_ && waiting_.size() == 1 && ring_->in_kernel() == 0; }
  void write_alone(std::vector<FrameCompletion>& out);
  void take_completions(Ring::Wait wait, std::vector<FrameCompletion>& out);
  void take(const Slot& slot, int result, std::vector<FrameCompletion>& out);
  void write_pending(std::vector<FrameCompletion>& out);

  const std::shared_ptr<PosixBackend> backend_;
  std::vector<Slot> slots_;  ///< indexed by the ring's tag
  std::vector<std::uint32_t> free_slots_;
  // These have room for as many writes as the depth says, from the beginning.
  std::vector<FrameWrite> waiting_;  ///< for room in the ring, or for company, in order
  std::vector<FrameWrite> pending_;  ///< for pwrite + fdatasync at the next reap
  struct Written {
    FrameWrite write;
    Status status;
    bool judged = false;
  };
  std::vector<Written> written_;  ///< scratch of write_pending
  std::unique_ptr<Ring> ring_;    ///< null: not to be had. Destroyed first: it waits for the buffers
};

/// Reads on shared rings. Any thread; a ring serves one batch at a time and is kept for the next.
class PosixBatchReader {
 public:
  explicit PosixBatchReader(std::shared_ptr<PosixBackend> backend) : backend_(std::move(backend)) {}
  /// As Storage::read_batch; false when no ring is to be had (nothing was done).
  bool read(std::span<ReadRequest> requests, const std::function<void(ReadRequest&)>& done) EXCLUDES(mutex_);

 private:
  static constexpr unsigned kDepth = 64;
  /// The kernel copies what it has cached before it lets the device begin with the rest of what it is handed.
  static constexpr std::size_t kHandedOverAtOnce = 8;
  static constexpr std::size_t kMaxIdleRings = 8;
  std::unique_ptr<Ring> take_ring() EXCLUDES(mutex_);
  void give_back(std::unique_ptr<Ring> ring) EXCLUDES(mutex_);

  const std::shared_ptr<PosixBackend> backend_;
  Mutex mutex_;
  std::vector<std::unique_ptr<Ring>> idle_ GUARDED_BY(mutex_);
};

}  // namespace daruma
