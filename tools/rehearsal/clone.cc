// SPDX-License-Identifier: Apache-2.0
#include "rehearsal/clone.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "base/clock.h"
#include "base/status_macros.h"
#include "daruma/store.h"
#include "io/posix_storage.h"
#include "wal/tail_format.h"
#include "wal/wal_format.h"

namespace daruma::rehearsal {
namespace {

namespace fs = std::filesystem;

constexpr const char* kUnfinished = ".cloning";
constexpr unsigned kAttemptsMax = 20;  // at a live store

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  const int fd_;
};

Status failed(int error, const char* doing, const std::string& path) {
  const Code code = error == ENOENT                      ? Code::kNotFound
                    : error == ENOSPC || error == EDQUOT ? Code::kNoSpace
                    : error == EEXIST                    ? Code::kExists
                    : error == EMFILE || error == ENFILE ? Code::kUnavailable
                                                         : Code::kIoError;
  return {code, std::string("cannot ") + doing + ": " + std::generic_category().message(error), {.file = path}};
}

/// Space for all of it is reserved, as the store has it, and what is zero is not written: a log file is mostly that.
Status copy_bytes(int from, int to, std::uint64_t bytes, const std::string& path) {
  constexpr std::size_t kPiece = 256 << 10;
  if (bytes > 0 && ::posix_fallocate(to, 0, static_cast<off_t>(bytes)) == ENOSPC) return failed(ENOSPC, "copy", path);
  const auto buffer = std::make_unique<char[]>(kPiece);
  std::uint64_t at = 0;
  for (;;) {
    const ssize_t got = ::pread(from, buffer.get(), kPiece, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(errno, "read", path);
    if (got == 0) break;
    const auto n = static_cast<std::size_t>(got);
    const bool zeros = buffer[0] == '\0' && std::memcmp(buffer.get(), buffer.get() + 1, n - 1) == 0;
    for (std::size_t done = 0; !zeros && done < n;) {
      const ssize_t put = ::pwrite(to, buffer.get() + done, n - done, static_cast<off_t>(at + done));
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return failed(errno, "write a copy", path);
      done += static_cast<std::size_t>(put);
    }
    at += n;
  }
  return ::ftruncate(to, static_cast<off_t>(at)) == 0 ? Status() : failed(errno, "write a copy", path);
}

class Copier {
 public:
  Copier(const CloneOptions& options, Cloned& cloned) : options_(options), cloned_(cloned) {}

  /// kNotFound: it has gone. `fixed`: its bytes never change.
  Status file(const std::string& from, const std::string& to, bool fixed) {
    const Descriptor source(::open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (source.get() < 0) return failed(errno, "open", from);
    struct stat info {};
    if (::fstat(source.get(), &info) != 0) return failed(errno, "stat", from);
    if (!S_ISREG(info.st_mode)) return {};  // no file of a store
    const auto bytes = static_cast<std::uint64_t>(info.st_size);
    const auto count = [&](Cloned::Part& part) {
      ++part.files;
      part.bytes += bytes;
    };
    if (!reflinks_ && fixed && options_.may_link && ::link(from.c_str(), to.c_str()) == 0) {
      count(cloned_.linked);
      return {};
    }
    const Descriptor target(::open(to.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, info.st_mode & 0777));
    if (target.get() < 0) return failed(errno, "create", to);
    if (reflinks_ && ::ioctl(target.get(), FICLONE, source.get()) == 0) {
      count(cloned_.reflinked);
      return sync(target.get(), to);
    }
    if (std::exchange(reflinks_, false)) {  // a matter of the file system, so of no file here
      if (::unlink(to.c_str()) != 0) return failed(errno, "remove", to);
      return file(from, to, fixed);
    }
    DARUMA_TRY(copy_bytes(source.get(), target.get(), bytes, to));
    count(cloned_.copied);
    return sync(target.get(), to);
  }

 private:
  [[nodiscard]] Status sync(int fd, const std::string& path) const {
    return !options_.durable || ::fsync(fd) == 0 ? Status() : failed(errno, "sync", path);
  }
  const CloneOptions& options_;
  Cloned& cloned_;
  bool reflinks_ = true;  // as far as is known
};

/// The names in a room of the store, backwards; none when it is not there.
Result<std::vector<std::string>> names_in(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error))
    names.push_back(at->path().filename().string());
  if (error && error != std::errc::no_such_file_or_directory) return failed(error.value(), "list", directory);
  std::sort(names.rbegin(), names.rend());
  return names;
}

bool is_spare(const std::string& name) { return name.ends_with(kTemporarySuffix); }

/// What is copied when: the ring before the segments that it speaks of, segments before the manifests that make them
/// superfluous, and runs both before the manifests, since they may go meanwhile, and behind, since they may come.
Status copy_rooms(const std::string& from, const std::string& to, Copier& copier, bool live) {
  const auto copy = [&](const std::string& room, bool fixed, const auto& wanted) -> Status {
    DARUMA_TRY_ASSIGN(const std::vector<std::string> names, names_in(from + "/" + room));
    if (names.empty() && !fs::exists(from + "/" + room)) return {};
    if (::mkdir((to + "/" + room).c_str(), 0755) != 0 && errno != EEXIST) return failed(errno, "make", to + "/" + room);
    for (const std::string& name : names) {
      const std::string target = to + "/" + room + "/" + name;
      if (is_spare(name) || !wanted(name) || fs::exists(target)) continue;
      const Status copied = copier.file(from + "/" + room + "/" + name, target, fixed);
      if (copied.is(Code::kNotFound) && live) continue;
      DARUMA_TRY(copied);
    }
    return {};
  };
  const auto all = [](const std::string&) { return true; };
  const auto ring = [](const std::string& name) { return parse_tail_name(name).has_value(); };
  DARUMA_TRY(copy("runs", true, all));
  for (const std::string_view room : kLogDirectories) DARUMA_TRY(copy(std::string(room), false, ring));
  for (const std::string_view room : kLogDirectories) DARUMA_TRY(copy(std::string(room), false, all));
  DARUMA_TRY(copy("snapshots", true, all));
  DARUMA_TRY(copy("runs", true, all));
  DARUMA_TRY(copy("quarantine", false, all));
  DARUMA_TRY(copy("recoveries", false, all));
  const Status lock = copier.file(from + "/lock", to + "/lock", false);
  return lock.is(Code::kNotFound) ? Status() : lock;
}

Status sync_directories(const std::string& root) {
  std::vector<std::string> all{root, fs::path(root).parent_path().string()};
  for (const auto& entry : fs::directory_iterator(root)) {
    if (entry.is_directory()) all.push_back(entry.path().string());
  }
  for (const std::string& directory : all) {
    const Descriptor fd(::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd.get() < 0 || (::fsync(fd.get()) != 0 && errno != EINVAL)) return failed(errno, "sync", directory);
  }
  return {};
}

/// A copy of several moments may be told as damage; one that is not is a crash at one of them.
Result<bool> is_whole(const std::string& directory) {
  Options options;
  options.create_if_missing = false;
  options.read_only = true;
  const Result<Store::Opened> opened = Store::open(directory, options);
  if (!opened.ok()) return opened.status();
  return opened->report.clean();
}

Status check_target(const std::string& to) {
  std::error_code error;
  const fs::file_status there = fs::symlink_status(to, error);
  if (there.type() == fs::file_type::not_found) return {};
  if (error || there.type() != fs::file_type::directory || !fs::is_empty(to, error) || error)
    return {Code::kExists, "it is there already, and is no empty directory", {.file = to}, "name another one"};
  return {};
}

}  // namespace

Result<Cloned> clone_store(const std::string& from_given, const std::string& to_given, const CloneOptions& options) {
  const auto without_slash = [](std::string path) {
    while (path.size() > 1 && path.ends_with('/')) path.pop_back();
    return path;
  };
  const std::string from = without_slash(from_given), to = without_slash(to_given);
  const std::int64_t began = system_clock().monotonic_ns();
  Cloned cloned;
  DARUMA_TRY_ASSIGN(const std::vector<std::string> names, names_in(from));
  bool store = false;
  for (const std::string& name : names) {
    const bool room = name == "runs" || name == "snapshots" || name == "quarantine" || name == "recoveries" ||
                      name == kLogDirectories[0] || name == kLogDirectories[1];
    store = store || (room && name != "quarantine" && name != "recoveries");
    if (!room && name != "lock") cloned.left_out.push_back(name);
  }
  if (!store) return Status(Code::kNotFound, "there is no store", {.file = from});
  DARUMA_TRY(check_target(to));
  const std::string unfinished = to + kUnfinished;
  if (fs::exists(fs::symlink_status(unfinished)))
    return Status(Code::kExists, "a clone before was cut off", {.file = unfinished}, "remove it");

  const std::shared_ptr<Storage> storage = make_posix_storage();
  std::unique_ptr<DirectoryLock> lock;
  Result<std::unique_ptr<DirectoryLock>> locked = storage->lock_shared(from + "/lock");
  if (locked.ok())
    lock = std::move(*locked);
  else if (locked.status().is(Code::kBusy) && !options.live)
    return Status(Code::kBusy, locked.status().message(), locked.status().where(),
                  "stop it, or take the clone live: as after a crash");
  else if (!locked.status().is(Code::kBusy) && !locked.status().is(Code::kNotFound))
    return locked.status();

  const bool live = !lock && options.live;
  const std::vector<std::string> left_out = std::move(cloned.left_out);
  std::error_code ignored;
  Status why;
  for (unsigned attempt = 1; attempt <= (live ? kAttemptsMax : 1U); ++attempt) {
    cloned = {.reflinked = {}, .linked = {}, .copied = {}, .attempts = attempt, .left_out = left_out};
    Copier copier(options, cloned);
    why = ::mkdir(unfinished.c_str(), 0755) == 0 ? Status() : failed(errno, "make", unfinished);
    if (why.ok()) why = copy_rooms(from, unfinished, copier, live);
    bool whole = true;
    if (why.ok() && live) {
      const Result<bool> checked = is_whole(unfinished);
      why = checked.status();
      whole = checked.ok() && *checked;
    }
    if (why.ok() && whole) {
      if (options.durable) why = sync_directories(unfinished);
      if (why.ok() && ::rename(unfinished.c_str(), to.c_str()) != 0) why = failed(errno, "rename the clone to", to);
      if (why.ok() && options.durable) why = storage->sync_directory(fs::absolute(to).parent_path().string());
      if (why.ok()) {
        cloned.duration_ns = system_clock().monotonic_ns() - began;
        return cloned;
      }
    }
    fs::remove_all(unfinished, ignored);
    if (!why.ok() && !(live && (why.is(Code::kNotFound) || why.is(Code::kDataLoss)))) return why;
  }
  return Status(Code::kUnavailable, "the store changes faster than it can be cloned", {.file = from},
                "try again, or clone it while its writer is stopped (SIGSTOP)");
}

Status unshare(const std::string& path) {
  const std::string other = path + ".unshared";
  CloneOptions options;
  options.durable = options.may_link = false;
  Cloned ignored;
  DARUMA_TRY(Copier(options, ignored).file(path, other, false));
  return ::rename(other.c_str(), path.c_str()) == 0 ? Status() : failed(errno, "rename", other);
}

}  // namespace daruma::rehearsal
