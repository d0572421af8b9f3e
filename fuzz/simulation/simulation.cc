// SPDX-License-Identifier: Apache-2.0
#include "simulation/simulation.h"

namespace daruma::simulation {
namespace {

constexpr int kRoundsToRest = 20;  // of background work, after which a store that nothing troubles is at rest

}  // namespace

void Totals::add(const Totals& other) {
  const auto sum = [](auto& to, const auto& from) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] += from[i];
  };
  histories += other.histories;
  cycles += other.cycles;
  acts += other.acts;
  events += other.events;
  violations += other.violations;
  kills += other.kills;
  power_cuts += other.power_cuts;
  abandoned += other.abandoned;
  sum(crashed_starts, other.crashed_starts);
  sum(running, other.running);
  sum(wounds, other.wounds);
  exact += other.exact;
  one_fault += other.one_fault;
  told += other.told;
  beyond += other.beyond;
  healed += other.healed;
  given_up += other.given_up;
  checkpoints += other.checkpoints;
  compactions += other.compactions;
  healed_runs += other.healed_runs;
  salvaged_runs += other.salvaged_runs;
  scrubs += other.scrubs;
  reboots += other.reboots;
  view_reads += other.view_reads;
}

std::string_view running_fault_name(std::size_t fault) {
  constexpr std::string_view kNames[] = {"read error",      "write error",    "sync error",      "sync error (old)",
                                         "late sync error", "no space",       "no space at all", "short write",
                                         "open error",      "no descriptors", "stall",           "full disk"};
  static_assert(std::size(kNames) == kRunningFaults);
  return kNames[fault];
}

Simulation::Simulation(const Plan& plan, const Settings& settings, Totals& totals)
    : plan_(plan),
      settings_(settings),
      totals_(totals),
      disk_(std::make_shared<SimStorage>(SimStorageOptions{
          .seed = plan.seed, .sector_bytes = plan.sector_bytes, .shorn_percent = plan.shorn_percent})),
      identities_(plan.seed * 977),
      wounds_(settings.faults) {}

std::optional<Violation> Simulation::run() {
  ++totals_.histories;
  try {
    for (const Life& life : plan_.lives) live(life);
    end_well();
  } catch (const Violation& violation) {
    ++totals_.violations;
    note("VIOLATION of ", violation.promise, ": ", violation.what);
    views_.clear();
    store_.reset();
    return violation;
  }
  return std::nullopt;
}

void Simulation::live(const Life& life) {
  start(life);
  if (life.death.after > 0) {
    dies_at_ = {disk_->operations() + life.death.after, life.death.half_done};
    disk_->crash_at(dies_at_->first, dies_at_->second);
  }
  for (const Act& next : life.acts) {
    if (disk_->crashed()) break;
    act(next);
    ++totals_.acts;
    count_fired();
  }
  disk_->disarm();
  dies_at_.reset();
  note("death: ", describe(life.death));
  die(life.death.kind, life.death.survive_percent);
  for (const Act& hurt : life.wounds) wound(hurt.salt, false);
}

void Simulation::die(Death::Kind kind, unsigned survive_percent) {
  views_.clear();
  count_work();
  const bool crashed = disk_->crashed();
  if (kind == Death::Kind::kAbandon && !crashed) {
    store_.reset();
    ++totals_.abandoned;
  } else if (kind == Death::Kind::kPowerCut) {
    disk_->power_cut(survive_percent);
    power_was_cut_ = true;
    ++totals_.power_cuts;
  } else {
    disk_->kill();
    ++totals_.kills;
  }
  store_.reset();
  keyspaces_.clear();
  model_.died(kind == Death::Kind::kPowerCut);
  clear_faults();
  troubled_ = false;
  ++totals_.cycles;
}

void Simulation::wound(std::uint64_t salt, bool running) {
  // What wounds is nobody's operation: it neither dies in the middle of one nor brings death nearer.
  const std::uint64_t before = disk_->operations();
  disk_->disarm();
  std::string how;
  const std::optional<Wound::Kind> kind = wounds_.inflict(*disk_, salt, running, how);
  if (dies_at_) {
    dies_at_->first += disk_->operations() - before;
    disk_->crash_at(dies_at_->first, dies_at_->second);
  }
  if (!kind) return;
  ++totals_.wounds[static_cast<std::size_t>(*kind)];
  note("wound: ", how);
  if (wounds_.in(Room::kRing, Wound::Kind::kOlder)) model_.died(true);  // it denies what only the ring had
}

/// One kind of error at a time, so that each one that fires is known by its kind.
void Simulation::inject(std::uint64_t salt) {
  clear_faults();
  Random random(salt);
  troubled_ = ever_troubled_ = true;
  fault_ = random.below(kRunningFaults);
  if (fault_ == kFullDisk) {
    const Result<std::uint64_t> free = disk_->free_bytes(kStore);
    if (!free.ok()) return;
    const std::uint64_t left = random.below(random.one_in(2) ? 20 : 400) << 10;
    disk_->set_capacity(~std::uint64_t{0} - *free + left);
    note("fault: the disk has ", std::to_string(left), " bytes left");
    return;
  }
  constexpr const char* kWhere[] = {"wal/", "wal", "runs/", "runs/", "snapshots/", "quarantine/", "recoveries/", ""};
  Fault fault;
  fault.kind = static_cast<FaultKind>(*fault_);
  fault.path_contains = kWhere[random.below(std::size(kWhere))];
  fault.skip = static_cast<unsigned>(random.below(6));
  fault.times = random.one_in(4) ? 0 : 1 + static_cast<unsigned>(random.below(3));
  disk_->inject(fault);
  note("fault: ", running_fault_name(*fault_), " in '", fault.path_contains, "' after ", std::to_string(fault.skip),
       ", ", fault.times == 0 ? "for ever" : std::to_string(fault.times) + " times");
}

void Simulation::count_fired() {
  const std::uint64_t fired = disk_->faults_fired();
  if (fault_ && *fault_ != kFullDisk) totals_.running[*fault_] += fired - counted_fired_;
  counted_fired_ = fired;
}

void Simulation::count_work() {
  if (!store_) return;
  const StoreStats stats = store_->stats();
  totals_.checkpoints += stats.checkpoints;
  totals_.compactions += stats.compactions;
  totals_.healed_runs += stats.healed_runs;
  totals_.salvaged_runs += stats.salvaged_runs;
  totals_.scrubs += stats.scrub_passes;
}

void Simulation::mend() {
  clear_faults();
  note("mended");
  come_to_rest();
}

void Simulation::clear_faults() {
  count_fired();
  disk_->clear_faults();
  disk_->set_capacity(~std::uint64_t{0});
  fault_.reset();
  fired_before_ = disk_->faults_fired();
}

/// Liveness: what stopped working comes back by itself once its cause is gone. `through`: one round heals, compacts or
/// rebuilds one thing, so all are gone through.
void Simulation::come_to_rest(bool through) {
  if (!store_ || serves_only_ || disk_->crashed()) return;
  Status last;
  for (int round = 0; round < kRoundsToRest; ++round) {
    last = Engine::of(*store_).step();
    if (disk_->crashed()) return;
    if (last.ok() && !through) break;
  }
  if (!last.ok()) {
    if (hurt() && !last.is(Code::kUnavailable)) return;
    throw Violation{"heals-alone",
                    "no rest after " + std::to_string(kRoundsToRest) + " rounds without faults: " + last.to_string()};
  }
  troubled_ = false;
}

/// The last start of a history: nothing troubles it, so it works; whatever is lost is given up, and then all is well.
void Simulation::end_well() {
  start({});
  come_to_rest(true);
  if (serves_only_) throw Violation{"heals-alone", "a start that nothing hinders serves reads only"};
  Random random(plan_.seed);
  act({Act::Kind::kCreate, random.next()});
  act({Act::Kind::kWrite, random.next()});
  if (Status made = store_->checkpoint(); !made.ok())
    throw Violation{"heals-alone", "a checkpoint that nothing hinders: " + made.to_string()};
  model_.acknowledged(model_.newest(), Durability::kPower);
  accept_all();
  come_to_rest();
  die(Death::Kind::kKill, 50);
  start({});
  if (!wounds_.any() && told_) throw Violation{"heals-alone", "a loss that was given up is told of again"};
  die(Death::Kind::kKill, 50);
}

}  // namespace daruma::simulation
