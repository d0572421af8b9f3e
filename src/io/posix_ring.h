// SPDX-License-Identifier: Apache-2.0
//
// The little of io_uring that is used: writes and reads on one ring. Only posix_ring.cc knows liburing.
//
// What must stay true:
//   - A request is either in the kernel or it is not; one that `flush` did not hand over will never run.
//   - Never more requests in the kernel than `depth`, so the completion queue cannot overflow.
//   - The destructor returns only when the kernel holds no buffer of ours any more.
// One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace daruma {

class Ring {
 public:
  struct Done {
    std::uint64_t tag = 0;
    int result = 0;  ///< bytes, or -errno
  };
  static constexpr unsigned kMaxDepth = 1024;

  /// Null when refused, with `error` the errno (ENOSYS also when built without liburing). 1 <= depth <= kMaxDepth.
  static std::unique_ptr<Ring> open(unsigned depth, int& error);
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  /// Prepare one request; false when there is no room. `tag` is below kMaxTag. Nothing starts before `flush`.
  bool prepare_write(int fd, std::uint64_t offset, std::string_view data, bool dsync, std::uint64_t tag);
  bool prepare_read(int fd, std::uint64_t offset, std::span<char> out, std::uint64_t tag);
  /// Hands over all that is prepared. Returns how many, counted from the last prepared, the kernel did not take.
  unsigned flush();
  enum class Wait : std::uint8_t { kNo, kSlice, kForever };
  /// The next completion; blocks for it, for FrameQueue::kSliceNs or until it comes, when the kernel holds any request.
  /// False: none.
  bool next(Wait wait, Done& done);
  [[nodiscard]] unsigned in_kernel() const;

  static constexpr std::uint64_t kMaxTag = ~std::uint64_t{0};

 private:
  struct State;
  explicit Ring(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace daruma
