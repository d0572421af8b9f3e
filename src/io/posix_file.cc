// SPDX-License-Identifier: Apache-2.0
#include "io/posix_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <system_error>
#include <thread>

#include "base/bytes.h"
#include "base/status_macros.h"

namespace daruma {
namespace {

constexpr auto kMaxOffset = static_cast<std::uint64_t>(std::numeric_limits<off_t>::max());
constexpr std::size_t kZeroChunkBytes = 256 * 1024;

bool aligned(std::uint64_t offset, std::span<char> out) {
  return (offset | out.size() | reinterpret_cast<std::uintptr_t>(out.data())) % kSectorBytes == 0;
}

bool has_zero_sector(std::string_view bytes) {
  static const std::string kZeros(kSectorBytes, '\0');
  for (std::size_t at = 0; at < bytes.size(); at += kSectorBytes) {
    const std::string_view sector = bytes.substr(at, kSectorBytes);
    if (sector == std::string_view(kZeros).substr(0, sector.size())) return true;
  }
  return false;
}

/// Again on EINTR, and once more when descriptors ran out: whoever has the last of them may have it for a moment only.
int open_path(const char* path, int flags) {
  for (bool again = true;;) {
    const int fd = ::open(path, flags | O_CLOEXEC | O_NOCTTY, 0644);
    if (fd >= 0) return fd;
    if (errno == EINTR) continue;
    if ((errno != EMFILE && errno != ENFILE) || !again) return -errno;
    again = false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace

Status posix_status(int error, std::string_view doing, const std::string& path, std::optional<std::uint64_t> offset) {
  Code code = Code::kIoError;
  std::string hint;
  switch (error) {
    case ENOENT: code = Code::kNotFound; break;
    case EEXIST: code = Code::kExists; break;
    case ENAMETOOLONG:
      code = Code::kInvalidArgument;
      hint = "choose a shorter path";
      break;
    case ENOSPC:
      code = Code::kNoSpace;
      hint = "free space on the device";
      break;
    case EDQUOT:
      code = Code::kNoSpace;
      hint = "free space or raise the disk quota";
      break;
    case EACCES:
    case EPERM: hint = "check owner and permissions of the file and its directory"; break;
    case EROFS: hint = "the file system is mounted read-only: remount it, or open the store read-only"; break;
    // What this process lacks says nothing of the file: never to be taken for a missing or a damaged one.
    case EMFILE:
      code = Code::kUnavailable;
      hint = "raise the limit of open files of this process (ulimit -n)";
      break;
    case ENFILE:
      code = Code::kUnavailable;
      hint = "raise the limit of open files of the system (fs.file-max)";
      break;
    case ENOMEM:
    case ENOBUFS:
      code = Code::kOutOfMemory;
      hint = "free memory or raise its limit";
      break;
    case EAGAIN:
      code = Code::kUnavailable;
      hint = "the system is short of something for now: try again";
      break;
    case EFBIG: hint = "raise the limit of file sizes (ulimit -f), or use a file system that takes larger files"; break;
    case ENOTDIR: hint = "a part of the path is a file, not a directory"; break;
    case EISDIR: hint = "the path is a directory"; break;
    case EIO: hint = "the device may be failing: look into the kernel log"; break;
    case ESTALE: hint = "the network file system lost the file: remount it"; break;
    default: break;
  }
  std::string message = "cannot ";
  message.append(doing).append(": ").append(std::generic_category().message(error));  // strerror is not thread-safe
  return Status(code, std::move(message), {.file = path, .offset = offset, .sequence = {}}, std::move(hint));
}

bool is_refusal(int error) { return error == EINVAL || error == EOPNOTSUPP || error == ENOSYS || error == EPERM; }

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);  // on Linux the descriptor is gone even when close says EINTR
}

int open_descriptor(const std::string& path, int flags) {
  if (path.find('\0') != std::string::npos) return -EINVAL;  // would open another file than the one named
  return open_path(path.c_str(), flags);
}

PosixFile::~PosixFile() = default;

Result<std::size_t> PosixFile::read(std::uint64_t offset, std::span<char> out) {
  if (offset > kMaxOffset)
    return std::size_t{0};  // no file reaches there: past the end, as any offset from damaged bytes
  const std::size_t wanted = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), kMaxOffset - offset));
  std::size_t done = 0;
  while (done < wanted) {
    const ssize_t n = ::pread(fd(), out.data() + done, wanted - done, static_cast<off_t>(offset + done));
    if (n < 0) {
      if (errno == EINTR) continue;
      return posix_status(errno, "read", path_, offset + done);
    }
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

Result<std::size_t> PosixFile::read_direct(std::uint64_t offset, std::span<char> out) {
  if (offset > kMaxOffset || out.size() > kMaxOffset - offset) return read(offset, out);
  if (const int fd = direct_fd(); fd >= 0 && aligned(offset, out)) {
    std::size_t done = 0;
    while (done < out.size()) {
      const ssize_t n = ::pread(fd, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
      if (n > 0) {
        done += static_cast<std::size_t>(n);
        if (done % kSectorBytes != 0) break;  // the size of the file is no multiple of a sector: an unaligned rest
        continue;
      }
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && !is_refusal(errno)) return posix_status(errno, "read directly", path_, offset + done);
      if (n < 0) refuse_direct();
      break;
    }
    if (done == out.size()) return done;
    // Only a plain read tells a true end from a short direct one.
    DARUMA_TRY_ASSIGN(const std::size_t rest, read(offset + done, out.subspan(done)));
    return done + rest;
  }
  // Clean cached pages are dropped, so that what is read comes from the device; best effort, as the advice is.
  (void)::posix_fadvise(fd(), static_cast<off_t>(offset), static_cast<off_t>(out.size()), POSIX_FADV_DONTNEED);
  return read(offset, out);
}

Status PosixFile::write(std::uint64_t offset, std::string_view data) {
  if (offset > kMaxOffset || data.size() > kMaxOffset - offset) return posix_status(EFBIG, "write", path_, offset);
  for (std::size_t done = 0; done < data.size();) {
    const ssize_t n = ::pwrite(fd(), data.data() + done, data.size() - done, static_cast<off_t>(offset + done));
    if (n < 0) {
      if (errno == EINTR) continue;
      return posix_status(errno, "write", path_, offset + done);
    }
    if (n == 0) return posix_status(EIO, "write", path_, offset + done);  // no progress, no reason: not to be looped on
    done += static_cast<std::size_t>(n);
  }
  return {};
}

Status PosixFile::sync() {
  if (const int error = sync_error_.load(std::memory_order_relaxed); error != 0) {
    return posix_status(error, "sync (an earlier sync failed, what it covered is unknown)", path_);
  }
  while (::fdatasync(fd()) != 0) {
    if (errno == EINTR) continue;
    const int error = errno;
    sync_error_.store(error, std::memory_order_relaxed);
    return posix_status(error, "sync", path_);
  }
  return {};
}

Result<std::uint64_t> PosixFile::size() {
  struct stat st;
  if (::fstat(fd(), &st) != 0) return posix_status(errno, "stat", path_);
  return static_cast<std::uint64_t>(st.st_size);
}

void PosixFile::expect_reads_anywhere() { ::posix_fadvise(fd(), 0, 0, POSIX_FADV_RANDOM); }

void PosixFile::expect_read(std::uint64_t offset, std::uint64_t bytes) {
  ::posix_fadvise(fd(), static_cast<off_t>(offset), static_cast<off_t>(bytes), POSIX_FADV_WILLNEED);
}

Status PosixFile::allocate(std::uint64_t bytes) {
  if (bytes == 0) return {};
  if (bytes > kMaxOffset) return posix_status(EFBIG, "allocate", path_, bytes);
  while (::fallocate(fd(), 0, 0, static_cast<off_t>(bytes)) != 0) {
    if (errno == EINTR) continue;
    if (errno == EOPNOTSUPP || errno == ENOSYS) return allocate_by_writing(bytes);
    return posix_status(errno, "allocate", path_, bytes);
  }
  return {};
}

// For file systems without fallocate (NFS before 4.2, FAT): new bytes are written as zeros; sectors that read as zero
// may be holes and are written back as they are.
Status PosixFile::allocate_by_writing(std::uint64_t bytes) {
  std::string chunk(kZeroChunkBytes, '\0');
  for (std::uint64_t at = 0; at < bytes; at += chunk.size()) {
    chunk.resize(static_cast<std::size_t>(std::min<std::uint64_t>(kZeroChunkBytes, bytes - at)));
    DARUMA_TRY_ASSIGN(const std::size_t old, read(at, chunk));
    std::fill(chunk.begin() + static_cast<std::ptrdiff_t>(old), chunk.end(), '\0');
    if (old < chunk.size() || has_zero_sector(chunk)) DARUMA_TRY(write(at, chunk));
  }
  return {};
}

int PosixFile::direct_fd() {
  if (const int known = direct_fd_.load(std::memory_order_acquire); known != kDirectUnknown) return known;
  MutexLock lock(direct_mutex_);
  if (const int known = direct_fd_.load(std::memory_order_relaxed); known != kDirectUnknown) return known;
  int opened = -EINVAL;
  if (backend_->options.use_direct) {
    const int flags = O_DIRECT | (writable_ ? O_RDWR : O_RDONLY);
    // Through /proc the descriptor itself is opened again, whatever became of the name since.
    char self[32];  // no string: a frame in flight must not depend on memory
    std::snprintf(self, sizeof self, "/proc/self/fd/%d", fd());
    opened = open_path(self, flags);
    if (opened == -ENOENT) opened = open_descriptor(path_, flags);  // no /proc here
    if (opened >= 0) {
      struct stat mine;
      struct stat other;
      if (::fstat(fd(), &mine) != 0 || ::fstat(opened, &other) != 0 || mine.st_ino != other.st_ino ||
          mine.st_dev != other.st_dev) {
        ::close(opened);
        opened = -ENOENT;
      }
    } else if (is_refusal(-opened)) {
      backend_->direct_refused = true;
    }
  }
  if (opened >= 0) direct_ = Descriptor(opened);
  direct_fd_.store(opened >= 0 ? opened : kDirectNone, std::memory_order_release);
  return opened >= 0 ? opened : kDirectNone;
}

void PosixFile::refuse_direct() {
  backend_->direct_refused = true;
  direct_fd_.store(kDirectNone, std::memory_order_release);
}

void PosixFile::refuse_frame_way(FrameWay way) {
  if (way == FrameWay::kRingCached) backend_->dsync_refused = true;
  if (way == FrameWay::kRingDirect && backend_->options.use_direct) backend_->direct_refused = true;
  const auto next = way == FrameWay::kRingDirect ? FrameWay::kRingCached : FrameWay::kPwrite;
  if (frame_way() < next) frame_way_.store(next, std::memory_order_relaxed);
}

}  // namespace daruma
