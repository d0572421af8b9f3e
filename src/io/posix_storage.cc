// SPDX-License-Identifier: Apache-2.0
//
// Names, directories, mappings and the lock of the real disk; posix_file and posix_frame_queue do the bytes.
//
// What must stay true:
//   - Every descriptor is O_CLOEXEC: a child program of the user neither holds our lock nor writes our files.
//   - The lock belongs to an open file description, so a second Storage of the same process is refused too, no close of
//     another descriptor drops it, and it goes when its process is killed. (A fork without exec shares it, as it shares
//     the mappings: the store is busy until that child is gone as well.)
//   - The pid in the lock file is for messages only; nothing is decided by it.
#include "io/posix_storage.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <system_error>

#include "base/status_macros.h"
#include "io/posix_file.h"
#include "io/posix_frame_queue.h"

namespace daruma {
namespace {

class PosixMapping final : public Mapping {
 public:
  PosixMapping(char* data, std::size_t size) : data_(data), size_(size) {}
  ~PosixMapping() override { ::munmap(data_, size_); }
  std::span<char> bytes() override { return {data_, size_}; }
  void prefault() override {
    constexpr int kPopulateRead = 22;         // MADV_POPULATE_READ (Linux 5.14), which older headers lack
    constexpr std::size_t kAtOnce = 1 << 20;  // whoever maps memory meanwhile waits so long
    ::madvise(data_, size_, MADV_NORMAL);     // in as large pieces as the kernel has
    for (std::size_t at = 0; at < size_; at += kAtOnce) {
      if (::madvise(data_ + at, std::min(kAtOnce, size_ - at), kPopulateRead) != 0) return;
    }
  }

 private:
  char* const data_;
  const std::size_t size_;
};

class PosixDirectoryLock final : public DirectoryLock {
 public:
  explicit PosixDirectoryLock(Descriptor fd) : fd_(std::move(fd)) {}

 private:
  const Descriptor fd_;  // closing it is the release; the file stays as it is
};

/// 0, or the errno; EAGAIN when somebody else holds it.
int try_lock(int fd, bool shared) {
  struct flock whole {};
  whole.l_type = shared ? F_RDLCK : F_WRLCK;
  whole.l_whence = SEEK_SET;
  for (;;) {
    if (::fcntl(fd, F_OFD_SETLK, &whole) == 0) return 0;
    if (errno == EINTR) continue;
    if (errno == EACCES) return EAGAIN;
    if (errno != EINVAL) return errno;
    break;  // a kernel without such locks; flock has the same owner, only not across NFS clients
  }
  while (::flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

constexpr std::size_t kHolderBytes = 20;  // a pid, and the end of the line

/// "process 42", "this process", or what can be said.
std::string lock_holder(int fd) {
  char text[kHolderBytes + 1];
  const ssize_t n = ::pread(fd, text, sizeof text - 1, 0);
  if (n <= 0) return "another process";
  text[n] = '\0';
  char* end = nullptr;
  const long pid = std::strtol(text, &end, 10);
  if (pid <= 0 || *end != '\n') return "another process";
  return (pid == ::getpid() ? "this process, " : "process ") + std::to_string(pid);
}

/// The holder's pid, for the message of whoever comes next. Failing to write it (a full disk) must not keep a store
/// shut. Always as long, over what stands there: to truncate a file first makes some file systems wait for the disk.
void write_holder(int fd) {
  std::string text = std::to_string(::getpid()) + "\n";
  text.insert(0, kHolderBytes - text.size(), ' ');
  if (::pwrite(fd, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    if (::ftruncate(fd, 0) != 0) return;
  }
}

std::string refusal_name(int error) {
  if (error == EPERM || error == EACCES) return "not permitted";
  if (error == ENOSYS) return "not available";
  return std::generic_category().message(error);
}

bool named(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    if (list.substr(0, comma) == word) return true;
    if (comma == std::string_view::npos) return false;
    list.remove_prefix(comma + 1);
  }
  return false;
}

class PosixStorage final : public Storage {
 public:
  explicit PosixStorage(std::shared_ptr<PosixBackend> backend) : backend_(std::move(backend)), reader_(backend_) {}

  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status remove(const std::string& path) override;
  Result<std::vector<DirectoryEntry>> list(const std::string& directory) override;
  Status make_directory(const std::string& path) override;
  Status sync_directory(const std::string& path) override;
  Result<std::unique_ptr<Mapping>> map(const std::string& path) override;
  Result<std::unique_ptr<DirectoryLock>> lock(const std::string& path) override;
  Result<std::unique_ptr<DirectoryLock>> lock_shared(const std::string& path) override;
  std::unique_ptr<FrameQueue> make_frame_queue(unsigned depth) override {
    return std::make_unique<PosixFrameQueue>(backend_, depth);
  }
  void read_batch(std::span<ReadRequest> requests, const std::function<void(ReadRequest&)>& done) override {
    if (requests.size() < 2 || !reader_.read(requests, done)) Storage::read_batch(requests, done);
  }
  std::string boot_id() override;
  Result<std::uint64_t> free_bytes(const std::string& path) override;
  std::string describe() override;

 private:
  const std::shared_ptr<PosixBackend> backend_;
  PosixBatchReader reader_;
};

/// Opens a regular file. O_NONBLOCK only for the open itself, which a FIFO left in the store would otherwise hang.
Result<Descriptor> open_regular(const std::string& path, int flags, std::string_view doing, struct stat& st) {
  const int fd = open_descriptor(path, flags | O_NONBLOCK);
  if (fd < 0) return posix_status(-fd, doing, path);
  Descriptor opened(fd);
  if (::fstat(fd, &st) != 0) return posix_status(errno, "stat", path);
  if (S_ISDIR(st.st_mode)) return posix_status(EISDIR, doing, path);
  if (!S_ISREG(st.st_mode))
    return Status(Code::kIoError, "cannot " + std::string(doing) + ": not a regular file", {.file = path});
  if (::fcntl(fd, F_SETFL, 0) != 0) return posix_status(errno, doing, path);
  return opened;
}

Result<std::unique_ptr<File>> PosixStorage::open(const std::string& path, OpenMode mode) {
  const int flags = mode == OpenMode::kRead        ? O_RDONLY
                    : mode == OpenMode::kReadWrite ? O_RDWR
                                                   : O_RDWR | O_CREAT | O_TRUNC;
  struct stat st;
  DARUMA_TRY_ASSIGN(Descriptor fd, open_regular(path, flags, mode == OpenMode::kCreate ? "create" : "open", st));
  return std::unique_ptr<File>(std::make_unique<PosixFile>(backend_, path, std::move(fd), mode != OpenMode::kRead));
}

Status PosixStorage::rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) == 0) return {};
  return posix_status(errno, "rename to " + to, from);
}

Status PosixStorage::remove(const std::string& path) {
  if (::unlink(path.c_str()) == 0) return {};
  const int error = errno;
  if (error == EISDIR && ::rmdir(path.c_str()) == 0) return {};
  return posix_status(error == EISDIR ? errno : error, "remove", path);
}

Result<std::vector<DirectoryEntry>> PosixStorage::list(const std::string& directory) {
  const int fd = open_descriptor(directory, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return posix_status(-fd, "list", directory);
  DIR* const handle = ::fdopendir(fd);
  if (!handle) {
    const int error = errno;
    ::close(fd);
    return posix_status(error, "list", directory);
  }
  const auto close = [](DIR* d) { ::closedir(d); };
  const std::unique_ptr<DIR, decltype(close)> guard(handle, close);
  std::vector<DirectoryEntry> entries;
  for (;;) {
    errno = 0;
    const dirent* const entry = ::readdir(handle);
    if (!entry) {
      if (errno != 0) return posix_status(errno, "list", directory);
      break;
    }
    DirectoryEntry found{.name = entry->d_name, .is_directory = entry->d_type == DT_DIR, .bytes = 0};
    if (found.name == "." || found.name == "..") continue;
    struct stat st;
    if (::fstatat(fd, entry->d_name, &st, 0) == 0) {
      found.is_directory = S_ISDIR(st.st_mode);
      found.bytes = found.is_directory ? 0 : static_cast<std::uint64_t>(st.st_size);
    } else if (errno == ENOENT && ::fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT) {
      continue;  // removed since
    }  // else: it is there and unreadable, which its opener will report; one bad inode must not hide the others
    entries.push_back(std::move(found));
  }
  std::sort(entries.begin(), entries.end(),
            [](const DirectoryEntry& a, const DirectoryEntry& b) { return a.name < b.name; });
  return entries;
}

Status PosixStorage::make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) == 0) return {};
  const int error = errno;
  struct stat st;
  if (error == EEXIST && ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return {};
  return posix_status(error, "make directory", path);
}

Status PosixStorage::sync_directory(const std::string& path) {
  const int fd = open_descriptor(path, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return posix_status(-fd, "sync directory", path);
  const Descriptor opened(fd);
  while (::fsync(fd) != 0) {
    if (errno == EINTR) continue;
    if (errno == EINVAL)
      return {};  // file systems that order names by themselves (some FUSE and SMB) refuse to be asked
    return posix_status(errno, "sync directory", path);
  }
  return {};
}

// The mapping has no holes to fill only when the caller allocated the file: a store into a hole of a full disk is
// SIGBUS.
Result<std::unique_ptr<Mapping>> PosixStorage::map(const std::string& path) {
  struct stat st;
  DARUMA_TRY_ASSIGN(Descriptor fd, open_regular(path, O_RDWR, "map", st));
  if (st.st_size <= 0) return Status(Code::kInvalidArgument, "cannot map an empty file", {.file = path});
  if (static_cast<std::uint64_t>(st.st_size) > std::numeric_limits<std::ptrdiff_t>::max())
    return posix_status(EFBIG, "map", path);
  const auto size = static_cast<std::size_t>(st.st_size);
  void* const data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (data == MAP_FAILED) return posix_status(errno, "map", path);
  ::madvise(data, size, MADV_RANDOM);  // the kernel reads ahead megabytes of a file, even of one that is all zeros
  return std::unique_ptr<Mapping>(std::make_unique<PosixMapping>(static_cast<char*>(data), size));
}

Result<std::unique_ptr<DirectoryLock>> PosixStorage::lock(const std::string& path) {
  constexpr int kMaxTries = 8;  // against somebody who keeps replacing the lock file
  for (int tries = 0; tries < kMaxTries; ++tries) {
    struct stat mine;
    DARUMA_TRY_ASSIGN(Descriptor fd, open_regular(path, O_RDWR | O_CREAT, "lock", mine));
    if (const int error = try_lock(fd.get(), /*shared=*/false); error == EAGAIN) {
      return Status(Code::kBusy, "locked by " + lock_holder(fd.get()), {.file = path},
                    "stop it, or open another store");
    } else if (error != 0) {
      return posix_status(error, "lock", path);
    }
    struct stat there;  // a lock on a file that was removed or replaced meanwhile keeps nobody out
    if (::stat(path.c_str(), &there) != 0 || there.st_ino != mine.st_ino || there.st_dev != mine.st_dev) continue;
    write_holder(fd.get());
    return std::unique_ptr<DirectoryLock>(std::make_unique<PosixDirectoryLock>(std::move(fd)));
  }
  return Status(Code::kBusy, "the lock file is being replaced again and again", {.file = path});
}

Result<std::unique_ptr<DirectoryLock>> PosixStorage::lock_shared(const std::string& path) {
  struct stat st;
  DARUMA_TRY_ASSIGN(Descriptor fd, open_regular(path, O_RDONLY, "lock", st));
  const int error = try_lock(fd.get(), /*shared=*/true);
  if (error == EAGAIN)
    return Status(Code::kBusy, "locked by " + lock_holder(fd.get()), {.file = path}, "stop it, or read a copy");
  if (error != 0) return posix_status(error, "lock", path);
  return std::unique_ptr<DirectoryLock>(std::make_unique<PosixDirectoryLock>(std::move(fd)));
}

std::string PosixStorage::boot_id() {
  if (!backend_->options.boot_id.empty()) return backend_->options.boot_id;
  const int fd = open_descriptor("/proc/sys/kernel/random/boot_id", O_RDONLY);
  if (fd < 0) return {};
  const Descriptor opened(fd);
  char text[64];
  const ssize_t n = ::read(fd, text, sizeof text);
  std::string id(text, n > 0 ? static_cast<std::size_t>(n) : 0);
  while (!id.empty() && (id.back() == '\n' || id.back() == ' ')) id.pop_back();
  return id;
}

Result<std::uint64_t> PosixStorage::free_bytes(const std::string& path) {
  struct statvfs fs;
  while (::statvfs(path.c_str(), &fs) != 0) {
    if (errno != EINTR) return posix_status(errno, "measure free space", path);
  }
  return static_cast<std::uint64_t>(fs.f_bavail) * fs.f_frsize;  // what others than root may use
}

std::string PosixStorage::describe() {
  const PosixStorageOptions& options = backend_->options;
  std::string used;
  std::string refused;
  const auto say = [&refused](std::string_view what, std::string_view why) {
    refused.append(refused.empty() ? " (" : ", ").append(what).append(": ").append(why);
  };
  const bool ring = options.use_io_uring && backend_->ring_error == 0 && !backend_->ring_refused;
  const bool dsync = options.use_dsync && !backend_->dsync_refused;
  const bool direct = options.use_direct && !backend_->direct_refused;
  if (ring && dsync) {
    used = direct ? "io_uring, O_DIRECT, RWF_DSYNC" : "io_uring, RWF_DSYNC";
  } else {
    used = "pwrite + fdatasync";
  }
  if (!options.use_io_uring)
    say("io_uring", "switched off");
  else if (backend_->ring_error != 0)
    say("io_uring", refusal_name(backend_->ring_error));
  else if (backend_->ring_refused)
    say("io_uring", "refused");
  if (!options.use_dsync)
    say("RWF_DSYNC", "switched off");
  else if (backend_->dsync_refused)
    say("RWF_DSYNC", "refused by a file");
  if (!options.use_direct)
    say("O_DIRECT", "switched off");
  else if (backend_->direct_refused)
    say("O_DIRECT", "refused by a file");
  return used + (refused.empty() ? "" : refused + ")");
}

}  // namespace

std::shared_ptr<Storage> make_posix_storage(const PosixStorageOptions& options) {
  auto backend = std::make_shared<PosixBackend>();
  backend->options = options;
  if (const char* forced = std::getenv("DARUMA_IO")) {
    if (named(forced, "no_uring")) backend->options.use_io_uring = false;
    if (named(forced, "no_direct")) backend->options.use_direct = false;
    if (named(forced, "no_dsync")) backend->options.use_dsync = false;
  }
  if (backend->options.use_io_uring) { const std::unique_ptr<Ring> probe = Ring::open(1, backend->ring_error); }
  return std::make_shared<PosixStorage>(std::move(backend));
}

}  // namespace daruma
