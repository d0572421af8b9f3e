// SPDX-License-Identifier: Apache-2.0
//
// Hurts what is stored, and remembers it: which damage is still there decides what a store may be excused for.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/sim_storage.h"
#include "simulation/plan.h"

namespace daruma::simulation {

inline constexpr const char* kStore = "store";  // directory

enum class Room : std::uint8_t { kLog, kRing, kRuns, kSnapshots, kOther };

struct Wound {
  enum class Kind : std::uint8_t {
    kFlipped,
    kZeroed,
    kNoise,
    kMisdirected,  // holds what was meant for a sector of another file
    kRepeated,     // likewise, of the same file
    kStale,        // holds what it held earlier: a write that the device lost
    kUnreadable,
    kBurst,  // up to 64 KiB of noise
    kLost,
    kEmptied,
    kCut,
    kOlder,      // an earlier state of the file
    kExchanged,  // with another of its directory
    kStranger,   // a file that nobody knows
  } kind = Kind::kFlipped;
  Room room = Room::kOther;
  std::string path;
  std::uint64_t offset = 0;
  std::string left;            // what stands there now
  std::string before;          // of a file hurt as a whole: all that it held
  std::uint64_t manifest = 0;  // the newest when a file was lost
  [[nodiscard]] bool one_sector() const { return kind < Kind::kBurst; }
};
inline constexpr std::size_t kWoundKinds = 14;
std::string_view name(Wound::Kind kind);

class Wounds {
 public:
  explicit Wounds(unsigned faults) : faults_(faults) {}

  /// Hurts the disk as `salt` draws it, and says how; nothing when there was nothing to hurt. Under a running store
  /// only what it reads from the medium: its mappings are its memory.
  std::optional<Wound::Kind> inflict(SimStorage& disk, std::uint64_t salt, bool running, std::string& how);
  /// Keeps the disk as it is now, for what is stale later.
  void remember(const SimStorage& disk) { older_ = disk.clone(1); }
  /// Forgets what has been overwritten, healed or removed. A lost file is missed until no manifest of its time is left.
  void look_again(SimStorage& disk);
  /// A start found nothing hurt and told of nothing: from here on, one fault must cost nothing.
  void whole() { since_whole_.clear(); }

  [[nodiscard]] bool any() const { return !open_.empty(); }
  [[nodiscard]] bool in(Room room) const;
  [[nodiscard]] bool in(Room room, Wound::Kind kind) const;
  [[nodiscard]] bool more_than_a_sector_in(Room room) const;
  /// Two for what is larger than one.
  [[nodiscard]] std::size_t sectors_where_the_log_may_end(SimStorage& disk) const;
  /// All that happened since the disk was whole must cost nothing: one sector at most in each of log, runs and
  /// snapshots, or what holds no data; and anything in one of two directories of the log.
  [[nodiscard]] bool harmless(bool two_logs) const;

 private:
  static bool stands(SimStorage& disk, const Wound& wound);
  std::optional<Wound> wound_sector(SimStorage& disk, const std::string& path, Random& random);
  std::optional<Wound> wound_file(SimStorage& disk, const std::string& path, bool running, Random& random);

  unsigned faults_;
  std::unique_ptr<SimStorage> older_;
  std::vector<Wound> open_;
  std::vector<Wound> since_whole_;
};

}  // namespace daruma::simulation
