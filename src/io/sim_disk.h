// SPDX-License-Identifier: Apache-2.0
//
// The machine behind SimStorage: inodes, names, the process that uses them, and the crash points. Handles
// (sim_handles.h) and the SimStorage facade share one SimDisk.
//
// What must stay true:
//   - Nothing random is drawn in an order that depends on an address: every container walked here is ordered by value.
//   - A handle works only in the generation (life of the simulated process) that opened it, and only until the crash
//   fires.
//   - From the firing of a crash to kill or power_cut, no byte and no name changes; mappings are detached at the
//   firing.
//   - Names and contents survive independently. Of a rename at least one of both names stays (never neither).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "io/sim_content.h"
#include "io/sim_storage.h"

namespace daruma {

using SimInodeId = std::uint64_t;  ///< 0: none
inline constexpr SimInodeId kSimRoot = 1;
inline constexpr std::uint64_t kSimFileBytesMax = std::uint64_t{1} << 34;

/// One unsynced change of one name. Both halves of a rename carry the same serial; the removal knows where the set is.
struct SimChange {
  SimInodeId target = 0;
  std::uint64_t serial = 0;
  SimInodeId partner_directory = 0;  ///< of the removal half of a rename; 0 otherwise
  std::string partner_name{};
};

struct SimName {
  SimInodeId durable = 0;
  std::vector<SimChange> changes;  ///< since the directory was last synced, oldest first
  std::size_t keep = 0;            ///< scratch of power_cut
  [[nodiscard]] SimInodeId current() const { return changes.empty() ? durable : changes.back().target; }
};

struct SimInode {
  bool is_directory = false;
  std::map<std::string, SimName> names;  ///< of a directory
  std::shared_ptr<SimContent> content;   ///< of a file; shared between clones until one writes
};

/// Memory of a mapped file, alive until its last Mapping is gone, connected to the file until the process dies.
struct SimMapped {
  SimMapped(SimInodeId file, std::uint64_t bytes) : inode(file), size(bytes), buffer(bytes) {}
  [[nodiscard]] std::span<char> bytes() { return {buffer.data(), size}; }
  SimInodeId inode;
  std::size_t size;
  AlignedBuffer buffer;
};

struct SimFrame {
  SimInodeId inode = 0;
  std::uint64_t offset = 0;
  std::shared_ptr<const std::string> data;  ///< whole sectors
};

class SimDisk {
 public:
  explicit SimDisk(const SimStorageOptions& options);
  SimDisk(const SimDisk& other, std::uint64_t seed);  ///< a clone
  SimDisk& operator=(const SimDisk&) = delete;

  // --- crash points ---
  /// Ok when the process of `generation` still runs.
  [[nodiscard]] Status alive(std::uint64_t generation) const;
  /// Passes one crash point: `whole` is the operation, `half` what of it a crash with half_done leaves.
  template <typename Whole, typename Half>
  Status point(std::uint64_t generation, bool writes, std::string_view what, const std::string& path, Whole whole,
               Half half) {
    if (on_crash_point && alive(generation).ok()) show_crash(half);
    DARUMA_TRY(pass(generation, writes, what, path));
    if (!take_crash()) return whole();
    if (half_done) half();
    stop();
    return alive(generation);
  }
  /// As above for an operation that is done whole or not at all.
  template <typename Whole>
  Status point(std::uint64_t generation, bool writes, std::string_view what, const std::string& path, Whole whole) {
    return point(generation, writes, what, path, whole, [&] {
      if (random.one_in(2)) static_cast<void>(whole());
    });
  }
  void die(std::optional<unsigned> power_cut_survive_percent);  ///< kill, or power_cut

  // --- names ---
  struct Place {
    SimInodeId directory = 0;
    std::string name;  ///< empty: the root itself
  };
  [[nodiscard]] Result<Place> place(const std::string& path) const;
  [[nodiscard]] SimInodeId at(const Place& place) const;  ///< 0 when absent
  [[nodiscard]] Result<SimInodeId> find(const std::string& path, bool directory) const;
  SimInode& inode(SimInodeId id);
  [[nodiscard]] const SimInode& inode(SimInodeId id) const;
  SimInodeId create(const Place& place, bool directory);
  Status rename(const std::string& from, const std::string& to);
  Status remove(const std::string& path);
  void sync_directory(SimInodeId id);
  void sync_directory_some(SimInodeId id);

  // --- contents ---
  SimContent& content(SimInodeId id);  ///< for changing: unshares it
  [[nodiscard]] std::size_t read(SimInodeId id, std::uint64_t offset, std::span<char> out) const;
  void write(SimInodeId id, std::uint64_t offset, std::string_view data);
  void resize(SimInodeId id, std::uint64_t bytes);
  void absorb(SimInodeId id);   ///< takes the stores made through the mapping into the page cache
  void refresh(SimInodeId id);  ///< shows in the mapping what went around it
  /// Null when it is mapped at another size: one length of mapping per file is all this disk models.
  std::shared_ptr<SimMapped> map(SimInodeId id);
  void unmap(std::shared_ptr<SimMapped>& mapped);
  /// Applies the frame, durable or not; `keep` picks the sectors.
  template <typename Keep>
  void apply(const SimFrame& frame, bool durable, Keep keep);

  [[nodiscard]] std::uint64_t used_bytes() const;
  /// Ok when the file may grow to `bytes`, counting a kNoSpace fault.
  Status room(SimInodeId id, const std::string& path, std::uint64_t bytes);
  [[nodiscard]] std::uint64_t fingerprint() const;

  // --- faults ---
  bool fault(FaultKind kind, const std::string& path, std::uint64_t offset = 0, std::uint64_t bytes = 1);
  [[nodiscard]] bool has_fault(FaultKind kind, const std::string& path) const;  ///< of whatever skip; counts nothing
  /// Ok when there is a descriptor for `path`, and the device gives what it is opened for.
  Status may_open(std::string_view doing, const std::string& path);
  /// Whether a sync of the file fails; its pages are then as the fault says.
  Status sync_fault(SimInodeId id, const std::string& path);

  // --- state of the machine and its process ---
  SimStorageOptions options;
  Random random;
  std::uint64_t operations = 0, write_operations = 0, generation = 1, boot = 0;
  std::uint64_t armed = kNever;
  bool half_done = false, crashed = false;
  std::vector<Fault> faults;
  std::uint64_t faults_fired = 0;
  std::function<void(std::uint64_t, std::string_view)> on_operation;
  std::function<void(std::uint64_t, const SimStorage::CrashImage&)> on_crash_point;
  std::function<void(std::int64_t)> on_latency;
  std::int64_t per_sync_ns = 0;
  std::set<SimInodeId> late_errors;  ///< of write-back, that the next sync tells
  std::map<std::uint64_t, SimFrame> in_flight;
  std::uint64_t next_frame = 1;
  std::map<SimInodeId, int> locks;  // readers, or kLockedToWrite
  static constexpr int kLockedToWrite = 0;
  std::map<SimInodeId, unsigned> open_files;  ///< of this generation: keeps an unlinked file readable

  static constexpr std::uint64_t kNever = ~std::uint64_t{0};

 private:
  void show_crash(const std::function<void()>& half);
  Status pass(std::uint64_t generation, bool writes, std::string_view what, const std::string& path);
  bool take_crash();
  void stop();
  void change(const Place& place, SimChange change);
  void commit(SimName& name, std::size_t changes);
  void cut_names(unsigned survive_percent);
  void settle_frames(unsigned survive_percent, unsigned shorn_percent);
  void collect();
  void mix(SimInodeId id, std::uint64_t& hash) const;
  std::shared_ptr<SimMapped> mapping_of(SimInodeId id) const;

  std::map<SimInodeId, SimInode> inodes_;
  SimInodeId next_inode_ = kSimRoot + 1;
  std::uint64_t next_serial_ = 1;
  std::map<SimInodeId, std::weak_ptr<SimMapped>> mapped_;
};

template <typename Keep>
void SimDisk::apply(const SimFrame& frame, bool durable, Keep keep) {
  if (!inodes_.contains(frame.inode)) return;
  absorb(frame.inode);
  SimContent& file = content(frame.inode);
  std::uint64_t end = 0;
  for (std::size_t at = 0; at < frame.data->size(); at += options.sector_bytes) {
    if (!keep(at)) continue;
    const std::uint64_t index = (frame.offset + at) / options.sector_bytes;
    const std::string_view sector = std::string_view(*frame.data).substr(at, options.sector_bytes);
    end = frame.offset + at + options.sector_bytes;
    if (durable)
      file.put_durable(index, sector);
    else
      file.put_undurable(index, sector);
  }
  if (end > 0 && durable) file.grow_durable(end);
  if (end > 0 && !durable) file.grow_undurable(end);
  refresh(frame.inode);
}

}  // namespace daruma
