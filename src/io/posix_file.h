// SPDX-License-Identifier: Apache-2.0
//
// One file of the real disk, and how its errors become values.
//
// What must stay true:
//   - Both descriptors of a PosixFile are the same inode, also after the file was renamed or its name reused.
//   - No call gives fewer bytes than asked, except a read that a zero-byte pread proved to be at the end.
//   - A refusal (O_DIRECT not taken) is stepped around and noted; a failure (EIO, ENOSPC) is reported and never
//   retried.
//   - A failed sync stays failed: Linux marks pages clean after it, so a second fdatasync would answer ok for lost
//   bytes.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/mutex.h"
#include "io/posix_storage.h"
#include "io/storage.h"

namespace daruma {

/// `error` is an errno. Message: "cannot <doing>: <reason>"; the code and the hint follow from `error`.
Status posix_status(int error, std::string_view doing, const std::string& path,
                    std::optional<std::uint64_t> offset = {});

/// True for an errno that says "not this way" (nothing was written) rather than "it went wrong".
bool is_refusal(int error);

/// Owns a file descriptor. Close errors are nobody's: what mattered was synced before.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor();
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool open() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

/// open(2) with O_CLOEXEC, again on EINTR; -errno on failure.
int open_descriptor(const std::string& path, int flags);

/// What this storage may use and what it was refused; shared by its files and queues, which may outlive it.
struct PosixBackend {
  PosixStorageOptions options;              ///< after the environment had its say; fixed
  int ring_error = 0;                       ///< errno that refused io_uring at start; 0: it works; fixed
  std::atomic<bool> direct_refused{false};  ///< by some file
  std::atomic<bool> dsync_refused{false};   ///< by some file
  std::atomic<bool> ring_refused{false};    ///< later, when a queue asked for a ring
};

/// Reads from any thread; see File for the rest.
class PosixFile final : public File {
 public:
  PosixFile(std::shared_ptr<PosixBackend> backend, std::string path, Descriptor fd, bool writable)
      : backend_(std::move(backend)), path_(std::move(path)), fd_(std::move(fd)), writable_(writable) {}
  ~PosixFile() override;

  Result<std::size_t> read(std::uint64_t offset, std::span<char> out) override;
  Result<std::size_t> read_direct(std::uint64_t offset, std::span<char> out) override;
  Status write(std::uint64_t offset, std::string_view data) override;
  Status sync() override;
  Result<std::uint64_t> size() override;
  void expect_reads_anywhere() override;
  void expect_read(std::uint64_t offset, std::uint64_t bytes) override;
  Status allocate(std::uint64_t bytes) override;
  [[nodiscard]] const std::string& path() const override { return path_; }

  [[nodiscard]] int fd() const { return fd_.get(); }
  /// The O_DIRECT descriptor of the same inode, opened at the first call; -1 when refused or switched off.
  int direct_fd() EXCLUDES(direct_mutex_);
  /// From now on `direct_fd` is -1 for this file. The descriptor stays open: reads may be on it.
  void refuse_direct();

  /// How frames reach this file. Only goes down the list, one refusal at a time.
  enum class FrameWay : std::uint8_t { kRingDirect, kRingCached, kPwrite };
  [[nodiscard]] FrameWay frame_way() const { return frame_way_.load(std::memory_order_relaxed); }
  /// `way` was refused: the next one is to be tried.
  void refuse_frame_way(FrameWay way);

 private:
  static constexpr int kDirectUnknown = -2;
  static constexpr int kDirectNone = -1;
  Status allocate_by_writing(std::uint64_t bytes);

  const std::shared_ptr<PosixBackend> backend_;
  const std::string path_;
  const Descriptor fd_;
  const bool writable_;
  std::atomic<FrameWay> frame_way_{FrameWay::kRingDirect};
  std::atomic<int> sync_error_{0};
  std::atomic<int> direct_fd_{kDirectUnknown};
  Mutex direct_mutex_;
  Descriptor direct_ GUARDED_BY(direct_mutex_);
};

}  // namespace daruma
