// SPDX-License-Identifier: Apache-2.0
//
// A simulated disk that knows what is durable, sector by sector and name by name, and can crash, tear, drop, reorder,
// flip, zero, misdirect, fail, stall or fill up. Deterministic: the same seed and calls give the same bytes. One
// thread.
//
// A crash is an operation, not an end: every call that writes, syncs, renames, removes, creates or maps is a numbered
// *crash point*. At the armed point the disk stops: the call and all later ones fail with kAborted and change nothing,
// as a process that died would. `kill()` or `power_cut()` then decides what survives, and the disk serves again.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "io/storage.h"

namespace daruma {

class SimDisk;

/// What happened to one sector or file by script; see SimStorage::inject.
enum class FaultKind : std::uint8_t {
  kReadError,      ///< reads that touch [offset, offset+bytes) give kIoError, `times` times (0: for ever)
  kWriteError,     ///< writes to the file give kIoError
  kSyncError,      ///< syncs (and durable frame writes) give kIoError; the unsynced bytes then read new, are clean, and
                   ///< die with power
  kSyncErrorOld,   ///< as kSyncError, but the pages read again what is durable
  kSyncErrorLate,  ///< a write is written back at once, which fails: its pages read new and are clean, and the next
                   ///< sync of the file, which has nothing left to write, tells it
  kNoSpace,        ///< writes that would grow the file, creations and allocations give kNoSpace
  kNoSpaceAtAll,   ///< as kNoSpace, and so do writes that grow nothing, and renames: copy-on-write, quotas
  kShortWrite,     ///< a write leaves only a prefix behind and gives kIoError
  kOpenError,      ///< opening a file, or listing a directory, gives kIoError
  kNoDescriptors,  ///< whatever needs one gives kUnavailable, as EMFILE does
  kStall,          ///< frame writes complete only after `times` slices of waiting (0: when cleared)
};

struct Fault {
  FaultKind kind = FaultKind::kReadError;
  std::string path_contains{};  ///< empty: every file
  std::uint64_t offset = 0;     ///< for kReadError
  std::uint64_t bytes = ~std::uint64_t{0};
  unsigned skip = 0;   ///< let this many matching calls pass first
  unsigned times = 0;  ///< fire this often, then be gone; 0: until cleared
};

struct SimStorageOptions {
  std::uint64_t seed = 1;
  std::uint32_t sector_bytes = 4096;  ///< 512 or 4096: the unit that survives a power cut or not
  std::uint64_t capacity_bytes = ~std::uint64_t{0};
  /// Of the unsynced sectors that a power cut would leave new, how many it catches half written (the shorn writes of
  /// Zheng and others, FAST'13): they hold noise or zeros then.
  unsigned shorn_percent = 0;
};

class SimStorage final : public Storage {
 public:
  explicit SimStorage(const SimStorageOptions& options = {});
  ~SimStorage() override;

  // --- crashing ---
  /// Number of crash points passed so far.
  [[nodiscard]] std::uint64_t operations() const;
  /// Stops the disk at the given crash point (counted from 0 as `operations` counts); the operation there has no
  /// effect, or, when `half_done`, a random part of it (a write torn at a sector, or done but unacknowledged).
  void crash_at(std::uint64_t operation, bool half_done = false);
  void disarm();
  [[nodiscard]] bool crashed() const;
  /// The process died, the machine did not: the page cache, mappings and names survive whole; frame writes in flight
  /// survive or not, sector by sector, at random, and are durable where they do. Locks are free. Old File and Mapping
  /// objects stay dead: calls give kAborted, stores go nowhere.
  void kill();
  /// The machine lost power: each unsynced sector of file or mapping survives with its newest content, an older
  /// unsynced one, or the last synced one, at random; each unsynced name change likewise, and independently of contents
  /// (in order per name; a rename may leave both names on one file, never neither); the boot id changes.
  /// `survive_percent` biases it: 0 keeps only what is durable, 100 everything.
  void power_cut(unsigned survive_percent = 50);

  // --- damage (applies at once to what is stored, synced and cached alike) ---
  Status flip_bit(const std::string& path, std::uint64_t offset, unsigned bit);
  Status overwrite(const std::string& path, std::uint64_t offset,
                   std::string_view bytes);  ///< zeroed, misdirected, noise
  Status truncate(const std::string& path, std::uint64_t bytes);
  /// The sector at `offset` cannot be read (kIoError) until it is written anew.
  Status lose_sector(const std::string& path, std::uint64_t offset);
  void inject(const Fault& fault);
  void clear_faults();
  [[nodiscard]] std::uint64_t faults_fired() const;
  void set_capacity(std::uint64_t bytes);

  // --- looking ---
  /// Hash of all names and current contents: two equal fingerprints are two equal disks, byte for byte.
  [[nodiscard]] std::uint64_t fingerprint() const;
  [[nodiscard]] std::uint64_t write_operations() const;  ///< calls that could change a byte or a name
  /// A copy of the whole disk as it is (faults and frames in flight too), with its own seed; for trying several ends of
  /// one story. No process lives on the copy: its locks are free, no crash is armed, no callback is set. Costs a
  /// pointer per file.
  [[nodiscard]] std::unique_ptr<SimStorage> clone(std::uint64_t seed) const;
  /// The disk as a crash at this crash point would leave it, before `kill` or `power_cut` has decided what survives:
  /// what `crash_at` gives, without living the life up to here again.
  using CrashImage = std::function<std::unique_ptr<SimStorage>(bool half_done, std::uint64_t seed)>;
  /// Runs before each crash point with its number. The life goes on as if the callback were not there.
  void on_crash_point(std::function<void(std::uint64_t operation, const CrashImage& image)> callback);
  /// Runs before each crash point with its number and a description ("sync wal/000001.log"); for logs and for
  /// schedules.
  void on_operation(std::function<void(std::uint64_t, std::string_view)> callback);
  /// Latency in nanoseconds that `reap` and `sync` report to this hook (drives a ManualClock); none by default.
  void on_latency(std::function<void(std::int64_t)> callback, std::int64_t per_sync_ns);

  // --- Storage ---
  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status remove(const std::string& path) override;
  Result<std::vector<DirectoryEntry>> list(const std::string& directory) override;
  Status make_directory(const std::string& path) override;
  Status sync_directory(const std::string& path) override;
  Result<std::unique_ptr<Mapping>> map(const std::string& path) override;
  Result<std::unique_ptr<DirectoryLock>> lock(const std::string& path) override;
  Result<std::unique_ptr<DirectoryLock>> lock_shared(const std::string& path) override;
  std::unique_ptr<FrameQueue> make_frame_queue(unsigned depth) override;
  std::string boot_id() override;
  Result<std::uint64_t> free_bytes(const std::string& path) override;
  std::string describe() override;

 private:
  friend class SimDisk;
  explicit SimStorage(std::shared_ptr<SimDisk> disk);
  std::shared_ptr<SimDisk> disk_;  ///< shared with every handle: a dead one may outlive this object
};

}  // namespace daruma
