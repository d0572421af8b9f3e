// SPDX-License-Identifier: Apache-2.0
//
// The Storage seam: everything the engine asks of an operating system. Two implementations stand behind it,
// the real one (posix_storage.h) and the simulated disk (sim_storage.h), and nothing above src/io knows which.
//
// What must stay true:
//   - Contents are durable only after `sync` (or a durable frame write); a *name* (created, renamed, removed) only
//   after
//     `sync_directory` of its directory. `publish` is the one recipe that makes both so.
//   - An error of a read is never an end of file. Only `read` past the size gives fewer bytes.
//   - After a failed write or sync of a file, the caller gives that file up; nothing here retries.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daruma/status.h"

namespace daruma {

/// An open file. Reads are safe from any thread; writes and syncs of one file are the caller's to order.
/// Destroying it closes it, makes nothing durable and cannot fail.
class File {
 public:
  virtual ~File() = default;
  /// Fills `out` from `offset`; returns the bytes read, fewer than asked only at the end of the file.
  /// Errors: kIoError with file and offset.
  virtual Result<std::size_t> read(std::uint64_t offset, std::span<char> out) = 0;
  /// As `read`, past the page cache where the platform can (offset, size and address sector-aligned).
  virtual Result<std::size_t> read_direct(std::uint64_t offset, std::span<char> out) = 0;
  /// Writes all of `data` at `offset`, growing the file; cached, not durable. Errors: kIoError, kNoSpace.
  virtual Status write(std::uint64_t offset, std::string_view data) = 0;
  /// Makes contents and size durable (fdatasync). Errors: kIoError; the unsynced bytes are then unknown for ever.
  virtual Status sync() = 0;
  virtual Result<std::uint64_t> size() = 0;
  // Hints, which change no answer: reads will be anywhere, so that the platform reads nothing ahead of them; these
  // bytes are read soon, so that it may begin.
  virtual void expect_reads_anywhere() {}
  virtual void expect_read(std::uint64_t /*offset*/, std::uint64_t /*bytes*/) {}
  /// Reserves space so that later writes below `bytes` cannot fail for want of it; the file grows to `bytes`, new
  /// bytes read as zero. Errors: kNoSpace, kIoError.
  virtual Status allocate(std::uint64_t bytes) = 0;
  [[nodiscard]] virtual const std::string& path() const = 0;
};

/// A shared mapping of a whole file: stores survive the death of the process, not of the machine. A page is brought
/// into memory when it is used, and none beside it.
class Mapping {
 public:
  virtual ~Mapping() = default;  ///< unmaps; writes nothing
  [[nodiscard]] virtual std::span<char> bytes() = 0;
  /// Brings all of it into memory, so that no later access waits for the disk; where that is not to be had, nothing.
  /// Takes milliseconds. Any thread, beside accesses.
  virtual void prefault() {}
};

/// One durable write in flight: aligned bytes that stay valid until its completion.
struct FrameWrite {
  File* file = nullptr;
  std::uint64_t offset = 0;  ///< sector-aligned
  std::string_view data;     ///< address and size sector-aligned
  std::uint64_t tag = 0;     ///< the caller's; comes back in the completion
};
struct FrameCompletion {
  std::uint64_t tag = 0;
  Status status;  ///< ok: every byte is durable
};

/// Several durable writes in flight (io_uring, O_DIRECT + RWF_DSYNC where possible; else pwrite + fdatasync at
/// `reap`). Completions come in any order. One thread at a time. Destroying it waits for what the kernel still holds.
/// While no more than its depth are in flight, no call needs memory (given room in `out`): what the kernel has begun
/// must not be forgotten because memory is short.
class FrameQueue {
 public:
  virtual ~FrameQueue() = default;
  /// Starts one write. Errors are reported by its completion, never here.
  virtual void submit(const FrameWrite& write) = 0;
  /// Appends what has completed to `out`. With `wait`, blocks until at least one has, if any is in flight, but for no
  /// more than kSliceNs where the platform can: a device may stall, and then nothing is appended.
  virtual void reap(bool wait, std::vector<FrameCompletion>& out) = 0;
  [[nodiscard]] virtual std::size_t in_flight() const = 0;
  static constexpr std::int64_t kSliceNs = 1'000'000'000;
};

struct ReadRequest {
  File* file = nullptr;
  std::uint64_t offset = 0;
  std::span<char> out;
  std::size_t bytes_read = 0;  ///< result
  Status status;               ///< result
};

/// Held while a process owns a store; the kernel drops it when the process dies, however it dies.
class DirectoryLock {
 public:
  virtual ~DirectoryLock() = default;
};

/// True for an error that tells of this process (no descriptors, no memory, or it is dead), not of the file: nobody may
/// conclude from it that something is missing or damaged.
inline bool is_of_the_process(const Status& status) {
  return status.is(Code::kUnavailable) || status.is(Code::kOutOfMemory) || status.is(Code::kAborted);
}

enum class OpenMode : std::uint8_t {
  kRead,       ///< must exist; no write will be asked
  kReadWrite,  ///< must exist
  kCreate,     ///< created, or emptied when it exists
};

struct DirectoryEntry {
  std::string name;  ///< without the directory
  bool is_directory = false;
  std::uint64_t bytes = 0;
};

/// Any thread. Paths are '/'-separated and passed through unchanged.
class Storage {
 public:
  virtual ~Storage() = default;
  virtual Result<std::unique_ptr<File>> open(
      const std::string& path,
      OpenMode mode) = 0;  ///< kNotFound, kIoError, kNoSpace; kUnavailable: no descriptors
  virtual Status rename(const std::string& from, const std::string& to) = 0;           ///< atomically replaces `to`
  virtual Status remove(const std::string& path) = 0;                                  ///< kNotFound
  virtual Result<std::vector<DirectoryEntry>> list(const std::string& directory) = 0;  ///< sorted by name; kNotFound
  virtual Status make_directory(const std::string& path) = 0;                          ///< ok when it exists
  virtual Status sync_directory(const std::string& path) = 0;
  virtual Result<std::unique_ptr<Mapping>> map(const std::string& path) = 0;  ///< whole file, read and write
  /// Takes the exclusive lock on file `path`, creating it. kBusy names the process that holds it where known.
  virtual Result<std::unique_ptr<DirectoryLock>> lock(const std::string& path) = 0;
  /// Takes a shared lock on an existing lock file, changing nothing: keeps writers out, not other readers. kNotFound,
  /// kBusy.
  virtual Result<std::unique_ptr<DirectoryLock>> lock_shared(const std::string& path) = 0;
  virtual std::unique_ptr<FrameQueue> make_frame_queue(unsigned depth) = 0;
  /// Fills the results; `done` is called on this thread with each request once those are there, in any order, while
  /// others are still under way. It may throw. Here: one after the other.
  virtual void read_batch(std::span<ReadRequest> requests, const std::function<void(ReadRequest&)>& done);
  /// Identifies this boot of the machine: equal ids prove that the page cache survived. Empty when unknown.
  virtual std::string boot_id() = 0;
  virtual Result<std::uint64_t> free_bytes(const std::string& path) = 0;
  /// What the backend found and uses, for reports: "io_uring, O_DIRECT, RWF_DSYNC".
  virtual std::string describe() = 0;
};

/// Durable publish: writes `contents` to `directory/name.tmp`, syncs it, renames it to `directory/name`, syncs the
/// directory. After ok, a crash at any later time finds the whole file; before, the old one or none. A leftover .tmp
/// means nothing.
Status publish(Storage& storage, const std::string& directory, const std::string& name, std::string_view contents);

/// As `publish`, for what need not outlive the machine: nothing is synced. After a kill the whole new file or the old
/// one; after a power cut anything.
Status replace(Storage& storage, const std::string& directory, const std::string& name, std::string_view contents);

/// The second half of publish for a file already written and synced as `directory/name.tmp`.
Status publish_prepared(Storage& storage, const std::string& directory, const std::string& name);

/// Whole contents of a file; kInvalidArgument when over `limit` bytes.
Result<std::string> read_whole(Storage& storage, const std::string& path, std::uint64_t limit);

/// Opens a file to read it, with a second try: before a start takes a file for lost, the error had its chance to pass.
Result<std::unique_ptr<File>> open_to_read(Storage& storage, const std::string& path);

/// Whether `name` in `directory` is there and is no directory, where one cannot be listed.
bool stands_as_file(Storage& storage, const std::string& directory, std::string_view name);

/// Whether a file of `bytes` (sector-aligned) can be written, synced and read back under this name, which is then gone.
Status probe(Storage& storage, const std::string& path, std::uint64_t bytes);
/// For `probe`: the name of a spare log file, which means nothing in any directory, so that a kill leaves nothing else.
inline constexpr std::string_view kProbeName = "spare-probe.tmp";

inline constexpr std::string_view kTemporarySuffix = ".tmp";

}  // namespace daruma
