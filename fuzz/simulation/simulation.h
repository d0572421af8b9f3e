// SPDX-License-Identifier: Apache-2.0
//
// One history of one disk: a store is opened, used, dies, is hurt and is opened again, all on this thread. Every answer
// is held against the model. The same plan gives the same history, byte for byte.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "io/sim_storage.h"
#include "simulation/model.h"
#include "simulation/plan.h"
#include "simulation/wounds.h"

namespace daruma::simulation {

/// A promise that was not kept; thrown by whatever finds out.
struct Violation {
  std::string promise;  // its name, as in docs/testing.md
  std::string what;
};

inline constexpr std::size_t kRunningFaults = 12;  // those of FaultKind, and a full disk
inline constexpr std::size_t kFullDisk = static_cast<std::size_t>(FaultKind::kStall) + 1;
static_assert(kRunningFaults == kFullDisk + 1);
std::string_view running_fault_name(std::size_t fault);
inline constexpr std::size_t kDepths = 9;

struct Totals {
  std::uint64_t histories = 0, cycles = 0, acts = 0, events = 0, violations = 0;
  std::uint64_t kills = 0, power_cuts = 0, abandoned = 0;
  std::array<std::uint64_t, kDepths> crashed_starts{};  // by how many died in a row, this one included
  std::array<std::uint64_t, kRunningFaults> running{};
  std::array<std::uint64_t, kWoundKinds> wounds{};
  std::uint64_t exact = 0;      // starts held to the whole truth
  std::uint64_t one_fault = 0;  // of those, with one fault on the disk
  std::uint64_t told = 0;       // starts that told of a loss
  std::uint64_t beyond = 0;     // starts where only the origin of values could be held
  std::uint64_t healed = 0;     // files and stretches of log
  std::uint64_t given_up = 0;   // starts with RecoveryPolicy::kPointInTime that met a loss
  // what the background did, and who read meanwhile
  std::uint64_t checkpoints = 0, compactions = 0, healed_runs = 0, salvaged_runs = 0, scrubs = 0, view_reads = 0;
  std::uint64_t reboots = 0;  ///< of components
  void add(const Totals& other);
};

struct Settings {
  unsigned faults = kAllFaults;
  bool trace = false;
  /// What the store is given in place of the disk; for a test that breaks a promise of it on purpose.
  std::function<std::shared_ptr<Storage>(std::shared_ptr<SimStorage>)> storage{};
};

class Simulation {
 public:
  Simulation(const Plan& plan, const Settings& settings, Totals& totals);
  std::optional<Violation> run();
  /// What happened, a line each; with Settings::trace.
  [[nodiscard]] const std::vector<std::string>& history() const { return history_; }

 private:
  struct HeldView {
    View view;
    Contents contents;
    bool doubted = false;
  };
  struct FoundStore {
    std::map<std::uint32_t, Keyspace> keyspaces;
    Contents contents;
  };

  // simulation.cc: the course of a history
  void live(const Life& life);
  void end_well();
  void die(Death::Kind kind, unsigned survive_percent);
  void wound(std::uint64_t salt, bool running);
  void inject(std::uint64_t salt);
  void mend();
  void clear_faults();
  void count_fired();
  void count_work();
  /// An error that comes of a full disk, which the disk does not count itself.
  void count_full(const Status& status) { totals_.running[kFullDisk] += fault_ == kFullDisk && !status.ok(); }
  void come_to_rest(bool through = false);
  template <typename... Parts>
  void note(const Parts&... parts) {
    if (!settings_.trace) return;
    std::string line;
    (line.append(parts), ...);
    history_.push_back(std::move(line));
  }

  // starts.cc: opening, and what a start may find
  Result<Store::Opened> open(RecoveryPolicy policy, bool read_only);
  void start(const Life& life);
  bool start_once(const std::optional<Death>& death, RecoveryPolicy policy = RecoveryPolicy::kServe);
  void look(RecoveryPolicy policy, bool read_only);
  /// Holds what was found against the model; with `serves`, that is what the store is from now on.
  void judge(Store::Opened& opened, bool serves, RecoveryPolicy policy = RecoveryPolicy::kServe);
  Contents judge_exactly(const Store::Opened& opened);
  Contents judge_hurt(const Store::Opened& opened);
  std::optional<Sequence> judge_point_in_time(const Store::Opened& opened, Contents& found);
  [[nodiscard]] bool told_of_damage() const;
  [[nodiscard]] bool names_in_doubt() const;
  [[nodiscard]] bool leaves_no_proof() const;

  // reads.cc: answers
  Contents read_all(const Store& store) const;
  /// Whether any of these puts is the newest of its key; their values stand nowhere else.
  bool shows(const Store& store, const Changes& puts) const;
  void check_get(const Store& store, std::uint32_t keyspace, std::string_view key, const Contents& expected,
                 const View* view) const;
  void check_scan(Random& random, std::uint32_t keyspace, const Contents& expected, const View* view) const;
  void check_walk(const Store& store, const KeyspaceInfo& info, const std::set<std::string>& errors,
                  const std::map<std::string, const Value*>& values) const;
  void check_answer(const Result<std::string>& got, std::uint32_t keyspace, std::string_view key,
                    const Contents& expected) const;
  /// Throws when an error is not to be excused.
  void check_excused(const Status& status, const std::string& where) const;

  // acts.cc: what users and background do
  void act(const Act& act);
  void write(Random& random, bool large);
  void load(Random& random);
  void change_keyspaces(Act::Kind kind, Random& random);
  void read(Act::Kind kind, Random& random);
  void work(Act::Kind kind, Random& random);
  Status reboot(Random& random);
  void accept_all();
  Changes draw_changes(Random& random, bool large);
  /// What a call that changes gave, against what became of it.
  void record(const Status& status, const Changes& changes, Durability durability, const std::string& what,
              bool excused = false);
  void refresh_keyspaces();

  /// What the store at hand holds.
  [[nodiscard]] const Contents& now() const { return serves_only_ ? served_ : model_.now(); }
  [[nodiscard]] bool fault_is(FaultKind kind) const { return fault_ == static_cast<std::size_t>(kind); }
  [[nodiscard]] Keyspace handle(std::uint32_t id) const { return keyspaces_.at(id); }
  [[nodiscard]] bool fault_fired() const { return disk_->faults_fired() != fired_before_; }
  /// Something is hurt, and it is more than what must cost nothing.
  [[nodiscard]] bool hurt() const {
    return told_ || log_read_failed_ || giving_up_ || !wounds_.harmless(plan_.wal_copies == 2 && !ever_troubled_);
  }
  /// An error may be answered.
  [[nodiscard]] bool in_doubt() const { return hurt() || fault_fired(); }

  const Plan& plan_;
  const Settings settings_;
  Totals& totals_;
  std::shared_ptr<SimStorage> disk_;
  ManualClock clock_;
  std::uint64_t identities_;
  Writings writings_;
  std::set<std::uint32_t> ids_given_;  // to keyspaces
  Model model_;
  Wounds wounds_;
  std::vector<std::string> history_;

  // of the life at hand
  std::optional<Store> store_;
  std::map<std::uint32_t, Keyspace> keyspaces_;
  std::vector<HeldView> views_;
  bool serves_only_ = false;  // a start that could not write
  bool refused_ = false;      // the start met errors in place of what is there
  Changes unseen_;            // a load in doubt that the newest start does not show: its keys may come back with it
  Contents served_;           // by one that could not write
  Sequence served_last_ = 0;
  bool ever_troubled_ = false;        // an error was injected: the log may stand in one directory only
  bool troubled_ = false;             // an error was injected, and no round of background work has succeeded since
  std::optional<std::size_t> fault_;  // of Totals::running
  std::uint64_t fired_before_ = 0;    // the act at hand
  std::uint64_t counted_fired_ = 0;

  // between lives
  bool beyond_proof_ = false;   // since a start served, there was damage of which nothing need tell
  bool power_was_cut_ = false;  // since a start served
  bool served_once_ = false;
  bool told_ = false;             // losses in the damage map that nobody has given up
  bool giving_up_ = false;        // died while a loss was given up: older values may show
  bool log_read_failed_ = false;  // a start met an error in place of log
  unsigned dead_in_a_row_ = 0;
  std::optional<std::pair<std::uint64_t, bool>> dies_at_;  // this life: the operation, and whether it is half done
};

inline const std::vector<std::string>& key_universe() {
  static const std::vector<std::string> keys = [] {
    std::vector<std::string> all;
    for (int i = 0; i < 28; ++i) all.push_back("k" + std::to_string(i));
    for (int i = 0; i < 4; ++i) all.push_back(std::string(40 + i * 60, static_cast<char>('a' + i * 6)));
    return all;
  }();
  return keys;
}

}  // namespace daruma::simulation
