// SPDX-License-Identifier: Apache-2.0
//
// What will happen to one disk: lives of a store, one after the other, each ended by a death, with what hurts the disk
// in between. Every part stands alone (a kind, and a number from which all else about it is drawn when it happens), so
// that parts can be left out and the rest still makes sense: that is how a history is shrunk.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"

namespace daruma::simulation {

/// Groups of faults, as --faults takes them. Kills need no leave: that is how a store stops.
enum FaultGroup : unsigned {
  kPower = 1,    ///< power cuts: unsynced sectors and names survive or not, each for itself
  kMedia = 2,    ///< sectors: flipped, zeroed, noise, misdirected, repeated, stale, unreadable; bursts
  kFiles = 4,    ///< files: lost, emptied, cut, an older copy, exchanged, strangers
  kRunning = 8,  ///< errors while running: those of FaultKind, and a full disk
  kShorn = 16,   ///< power cuts catch sectors half written, which then hold noise or zeros
  kAllFaults = 31,
};
/// "all", "none", or names with commas between; nothing when one is not known.
std::optional<unsigned> parse_faults(std::string_view names);

struct Act {
  enum class Kind : std::uint8_t {
    kWrite,       // a batch, over one or several keyspaces
    kWriteLarge,  // values that fill segments, or go around the ring
    kLoad,        // sorted records, straight into runs
    kCreate,
    kRename,
    kDrop,
    kGet,
    kMultiGet,
    kScan,
    kMakeView,
    kReadView,
    kDropView,
    kSync,
    kStep,  // a round of background work
    kCheckpoint,
    kCompact,
    kScrub,
    kWait,    // the clock moves; that of the wall may be set anew
    kAccept,  // a person gives losses up
    kFault,   // an error while running, from now on
    kMend,    // it stops
    kWound,   // the medium is hurt under the running store
  } kind = Kind::kWrite;
  std::uint64_t salt = 0;
};

struct Death {
  enum class Kind : std::uint8_t { kAbandon, kKill, kPowerCut } kind = Kind::kKill;
  std::uint8_t survive_percent = 50;  // of unsynced sectors and names
  std::uint32_t after = 0;            // disk operations; 0: when there is nothing left to do
  bool half_done = false;
};

struct Life {
  bool look_first = false;            // a read-only open before
  bool refuse_first = false;          // an open with RecoveryPolicy::kRefuse before
  bool point_in_time = false;         // the start that lives has this policy
  std::vector<Death> crashed_starts;  // deaths before the start that lives
  std::optional<Act> start_fault;     // an error while starting
  std::vector<Act> acts;
  Death death;
  std::vector<Act> wounds;  // between death and the next start
};

struct Plan {
  std::uint64_t seed = 0;
  std::uint32_t sector_bytes = 4096;
  unsigned shorn_percent = 0;  // of unsynced sectors, at a power cut
  bool cache = true;
  unsigned wal_copies = 1;
  bool reboots = false;     // components one by one, and a ballast on the device
  bool start_late = false;  // what no read needs is left to the first write
  std::vector<Life> lives;
};

/// Where a plan comes from: a seed, or the bytes of a fuzzer.
class Choices {
 public:
  explicit Choices(std::uint64_t seed) : random_(seed) {}
  explicit Choices(std::string_view bytes) : random_(bytes.size()), bytes_(bytes) {}
  std::uint64_t below(std::uint64_t n);
  std::uint64_t number();
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  [[nodiscard]] bool exhausted() const { return bytes_ && bytes_->empty(); }

 private:
  Random random_;
  std::optional<std::string_view> bytes_;
};

struct PlanSettings {
  unsigned faults = kAllFaults;
  std::uint64_t steps = 24;  // acts of a life, about
  std::uint64_t lives = 12;
};

Plan make_plan(Choices& choices, const PlanSettings& settings);

std::string_view name(Act::Kind kind);
std::string describe(const Death& death);

}  // namespace daruma::simulation
