// SPDX-License-Identifier: Apache-2.0
#include "io/posix_ring.h"

#include <cerrno>
#include <vector>

#include "base/assert.h"
#include "io/storage.h"

#if defined(DARUMA_HAVE_URING) && DARUMA_HAVE_URING
#include <liburing.h>
#include <sched.h>
#include <sys/uio.h>

#include <algorithm>

namespace daruma {
namespace {
// The kernel moves at most this much in one call (MAX_RW_COUNT); the caller sees a short result and finishes it.
constexpr std::size_t kMaxTransferBytes = 0x7ffff000;
constexpr int kMaxSubmitTries = 100;  // EAGAIN and EBUSY pass when memory or completions free up, or they do not
}  // namespace

struct Ring::State {
  io_uring ring{};
  unsigned depth = 0;
  unsigned in_kernel = 0;
  std::vector<io_uring_sqe*> prepared;
};

Ring::Ring(std::unique_ptr<State> state) : state_(std::move(state)) {}

std::unique_ptr<Ring> Ring::open(unsigned depth, int& error) {
  DARUMA_ASSERT(depth >= 1 && depth <= kMaxDepth);
  auto state = std::make_unique<State>();
  state->depth = depth;
  state->prepared.reserve(depth);
  error = -io_uring_queue_init(depth, &state->ring, 0);
  if (error != 0) return nullptr;
  return std::unique_ptr<Ring>(new Ring(std::move(state)));
}

Ring::~Ring() {
  Done done;
  while (next(Wait::kForever, done)) {}
  io_uring_queue_exit(&state_->ring);
}

bool Ring::prepare_write(int fd, std::uint64_t offset, std::string_view data, bool dsync, std::uint64_t tag) {
  State& s = *state_;
  DARUMA_ASSERT(tag < kMaxTag);
  if (s.in_kernel + s.prepared.size() >= s.depth) return false;
  io_uring_sqe* sqe = io_uring_get_sqe(&s.ring);
  if (!sqe) return false;
  io_uring_prep_write(sqe, fd, data.data(), static_cast<unsigned>(std::min(data.size(), kMaxTransferBytes)), offset);
  if (dsync) sqe->rw_flags = RWF_DSYNC;
  sqe->user_data = tag;
  s.prepared.push_back(sqe);
  return true;
}

bool Ring::prepare_read(int fd, std::uint64_t offset, std::span<char> out, std::uint64_t tag) {
  State& s = *state_;
  DARUMA_ASSERT(tag < kMaxTag);
  if (s.in_kernel + s.prepared.size() >= s.depth) return false;
  io_uring_sqe* sqe = io_uring_get_sqe(&s.ring);
  if (!sqe) return false;
  io_uring_prep_read(sqe, fd, out.data(), static_cast<unsigned>(std::min(out.size(), kMaxTransferBytes)), offset);
  sqe->user_data = tag;
  s.prepared.push_back(sqe);
  return true;
}

unsigned Ring::flush() {
  State& s = *state_;
  for (int tries = 0; io_uring_sq_ready(&s.ring) > 0 && tries < kMaxSubmitTries;) {
    const int submitted = io_uring_submit(&s.ring);
    if (submitted == -EINTR || submitted > 0) continue;
    if (submitted != 0 && submitted != -EAGAIN && submitted != -EBUSY) break;
    ++tries;
    sched_yield();
  }
  // The kernel takes requests in order. What it left behind becomes a no-op, so a later submit cannot start it.
  const auto left = static_cast<unsigned>(std::min<std::size_t>(io_uring_sq_ready(&s.ring), s.prepared.size()));
  for (unsigned i = 0; i < left; ++i) {
    io_uring_sqe* sqe = s.prepared[s.prepared.size() - 1 - i];
    io_uring_prep_nop(sqe);
    sqe->user_data = kMaxTag;
  }
  s.in_kernel += static_cast<unsigned>(s.prepared.size()) - left;
  s.prepared.clear();
  return left;
}

bool Ring::next(Wait wait, Done& done) {
  State& s = *state_;
  __kernel_timespec slice{.tv_sec = FrameQueue::kSliceNs / 1'000'000'000,
                          .tv_nsec = FrameQueue::kSliceNs % 1'000'000'000};
  // An older kernel needs a request of its own for a timeout, which would stand between ours.
  if (wait == Wait::kSlice && (s.ring.features & IORING_FEAT_EXT_ARG) == 0) wait = Wait::kForever;
  while (s.in_kernel > 0) {
    io_uring_cqe* cqe = nullptr;
    const int error = wait == Wait::kNo      ? io_uring_peek_cqe(&s.ring, &cqe)
                      : wait == Wait::kSlice ? io_uring_wait_cqe_timeout(&s.ring, &cqe, &slice)
                                             : io_uring_wait_cqe(&s.ring, &cqe);
    if (error == -EINTR) continue;
    if (wait == Wait::kNo && error == -EAGAIN) return false;
    if (wait == Wait::kSlice && error == -ETIME) return false;
    DARUMA_ASSERT(error == 0 && cqe);  // the kernel owns our buffers and cannot say when it is done: no safe way on
    done = {.tag = cqe->user_data, .result = cqe->res};
    io_uring_cqe_seen(&s.ring, cqe);
    if (done.tag == kMaxTag) continue;
    --s.in_kernel;
    return true;
  }
  return false;
}

unsigned Ring::in_kernel() const { return state_->in_kernel; }

}  // namespace daruma

#else

namespace daruma {

struct Ring::State {};
Ring::Ring(std::unique_ptr<State> state) : state_(std::move(state)) {}
std::unique_ptr<Ring> Ring::open(unsigned, int& error) {
  error = ENOSYS;
  return nullptr;
}
Ring::~Ring() = default;
bool Ring::prepare_write(int, std::uint64_t, std::string_view, bool, std::uint64_t) { return false; }
bool Ring::prepare_read(int, std::uint64_t, std::span<char>, std::uint64_t) { return false; }
unsigned Ring::flush() { return 0; }
bool Ring::next(Wait, Done&) { return false; }
unsigned Ring::in_kernel() const { return 0; }

}  // namespace daruma

#endif
