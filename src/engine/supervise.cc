// SPDX-License-Identifier: Apache-2.0
//
// The store watches itself: checks in three levels, and a playbook for each kind of failure that its workers did not
// get over by trying again.
#include <algorithm>
#include <utility>

#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "engine/start.h"
#include "recovery/drill.h"
#include "recovery/history.h"

namespace daruma {
namespace {

constexpr std::size_t kIncidentsKept = 64;
constexpr std::int64_t kDayNs = 86'400'000'000'000;
constexpr std::int64_t kDrillsLookNs = 3'600'000'000'000;
/// What has breakers that are not watched elsewhere.
constexpr std::array kWorkers = {Part::kCheckpoint, Part::kCleanUp, Part::kCompaction, Part::kHeal, Part::kScrub};
constexpr std::string_view kBroken = "invariant_broken";
constexpr std::array<std::string_view, 5> kFailures = {"log_down", "no_space", "worker_failing", kBroken, "data_lost"};

std::string key_of(std::string_view failure, std::string_view component) {
  return std::string(failure) + " " + std::string(component);
}

}  // namespace

// --- health ----------------------------------------------------------------------------------------------------------

RecoveryDebt Engine::recovery_debt() const {
  RecoveryDebt debt;
  debt.budget_ns = std::chrono::nanoseconds(options_.recovery_budget).count();
  debt.last_actual_ns = last_start_ns_;
  debt.replay_bytes = replay_bytes_.load(std::memory_order_relaxed);
  debt.replay_events = visible_.load(std::memory_order_relaxed) - snapshot_sequence_.load(std::memory_order_relaxed);
  const std::int64_t open_ns = estimated_open_ns_.load(std::memory_order_relaxed);
  const auto replay_ns = [rate =
                              static_cast<double>(replay_rate_.load(std::memory_order_relaxed))](std::uint64_t bytes) {
    return static_cast<std::int64_t>(static_cast<double>(bytes) * 1e9 / rate);
  };
  debt.estimated_ns = open_ns + replay_ns(debt.replay_bytes);
  debt.achievable_min_ns = open_ns + replay_ns(RecoveryBudget::kLeastBytes);
  return debt;
}

Status Engine::damage_status() const {
  std::uint64_t losses = 0;
  EpochGuard guard;
  if (const auto& damage = state_.load(std::memory_order_seq_cst)->damage) {
    for (const DamageEntry& entry : damage->entries()) losses += !entry.accepted;
  }
  if (losses == 0) return {};
  return {Code::kDataLoss,
          std::to_string(losses) + " losses block reads of the keys that they name",
          {.file = directory_},
          "`kvctl damage ls` names them; overwrite the keys, or accept the loss"};
}

Status Engine::drill_status() const {
  const std::int64_t newest = newest_drill_ns_.load(std::memory_order_relaxed);
  const std::int64_t days = newest == 0 ? 0 : (clock_.wall_ns() - newest) / kDayNs;
  if (options_.drill_days == 0 || days < static_cast<std::int64_t>(options_.drill_days)) return {};
  return {Code::kUnavailable,
          "the last drill was " + std::to_string(days) + " days ago",
          {.file = directory_},
          "`kvctl drill all`"};
}

/// Whoever holds one is another process, and leaves a file.
void Engine::look_at_drills() {
  const std::int64_t now = clock_.monotonic_ns();
  if (now < drills_look_ns_) return;
  const bool first = std::exchange(drills_look_ns_, now + kDrillsLookNs) == 0;
  if (first) return;  // the start has looked
  const Result<std::vector<DirectoryEntry>> names = storage_->list(directory_ + "/recoveries");
  if (names.ok()) newest_drill_ns_ = newest_drill(*names).value_or(0);
}

/// Critical checks first, then degraded, then maintenance.
std::vector<HealthTree::Finding> Engine::look() const {
  const bool serves_log = started_.load(std::memory_order_acquire) && wal_;
  std::vector<HealthTree::Finding> found;
  const auto add = [&](std::string_view name, HealthLevel level, Status cause, std::string_view action) {
    found.push_back({name, level, std::move(cause), action});
  };
  const auto add_part = [&](Part part, HealthLevel level, std::string_view action) {
    add(part_name(part), level, components_.last(part), action);
  };
  Status policy;
  if (read_only_.load(std::memory_order_relaxed) && no_writes_.ok())
    policy = {Code::kReadOnly, "acknowledged data is damaged, and the policy is to take no writes then"};
  Status start = no_writes_;
  if (start.ok()) start = components_.last(Part::kStart);
  add("start", HealthLevel::kCritical, std::move(start), "tries again to begin a log");
  add("log", HealthLevel::kCritical, serves_log ? wal_->broken() : Status(),
      "goes on in a new log file; tries again with growing rests");
  add("space", HealthLevel::kCritical, has_room(),
      "refuses puts, gives back ballast and spare files, takes both again");
  add("memory", HealthLevel::kCritical,
      memtables_overfull() && components_.open(Part::kCheckpoint) ? components_.last(Part::kCheckpoint) : Status(),
      "refuses writes until a checkpoint succeeds");
  add("policy", HealthLevel::kCritical, std::move(policy), "waits for a person: RecoveryPolicy::kReadOnly");

  add("damage", HealthLevel::kDegraded, damage_status(),
      "rebuilds from the older snapshot and the log what these hold");
  add_part(Part::kCheckpoint, HealthLevel::kDegraded, "tries again; rests; reboots the worker");
  add_part(Part::kCompaction, HealthLevel::kDegraded, "tries again; rests; reboots the worker");
  add_part(Part::kHeal, HealthLevel::kDegraded, "tries again; rests; reboots the worker");
  add_part(Part::kLogCopy, HealthLevel::kDegraded, "writes on in the other directory; tries again with growing rests");
  const RecoveryDebt debt = recovery_debt();
  Status over;
  if (std::max(debt.estimated_ns, debt.achievable_min_ns) > debt.budget_ns) {
    const bool never = debt.achievable_min_ns > debt.budget_ns;
    over = {Code::kUnavailable,
            "a start now would take an estimated " + std::to_string(debt.estimated_ns / 1'000'000) +
                " ms until the first read; the budget is " + std::to_string(debt.budget_ns / 1'000'000) + " ms" +
                (never ? ", and even an empty log would take longer" : ""),
            {.file = directory_},
            never ? "raise Options::recovery_budget, or compact: fewer runs open faster" : ""};
  }
  add("recovery budget", HealthLevel::kDegraded, std::move(over), "checkpoints; lets writers wait for them");
  {
    MutexLock lock(health_mutex_);
    Status playbook = escalation_;
    if (playbook.ok() && !step_at_hand_.empty() && clock_.monotonic_ns() > step_due_ns_)
      playbook = {Code::kUnavailable, "step '" + std::string(step_at_hand_) + "' of a playbook is over its time"};
    add("playbook", HealthLevel::kDegraded, std::move(playbook), "told on_escalation");
  }

  add_part(Part::kScrub, HealthLevel::kMaintenance, "tries again; rests; reboots the worker");
  add_part(Part::kCleanUp, HealthLevel::kMaintenance, "tries again; rests");
  Status ballast;
  if (space_seen_.load(std::memory_order_relaxed) && options_.ballast_bytes != 0 && !ballast_)
    ballast = {Code::kNoSpace, "the ballast is given up", {.file = directory_}, "free some space"};
  add("ballast", HealthLevel::kMaintenance, std::move(ballast), "takes it again when there is room");
  add("drill", HealthLevel::kMaintenance, drill_status(), "waits for a person");
  return found;
}

Health Engine::health() const {
  const std::vector<HealthTree::Finding> found = look();
  Health health;
  for (const HealthTree::Finding& finding : found) {
    if (health.writes.ok() && finding.level == HealthLevel::kCritical) health.writes = finding.cause;
    if (finding.name == "damage") health.reads = finding.cause;
  }
  if (options_.read_only && health.writes.ok()) health.writes = {Code::kReadOnly, "the store was opened read-only"};
  health.debt = recovery_debt();
  MutexLock lock(health_mutex_);
  health_.update(found, clock_.wall_ns());
  health.level = health_.level();
  health.checks = health_.checks();
  return health;
}

std::vector<ComponentInfo> Engine::components() const { return components_.list(clock_.monotonic_ns()); }

std::vector<Incident> Engine::incidents() const {
  MutexLock lock(health_mutex_);
  return incidents_;
}

// --- playbooks -------------------------------------------------------------------------------------------------------

void Engine::report_broken(std::string component, Status cause) {
  MutexLock lock(health_mutex_);
  if (std::none_of(broken_.begin(), broken_.end(), [&](const Trouble& t) { return t.component == component; }))
    broken_.push_back({std::string(kBroken), std::move(component), std::move(cause)});
}

std::optional<Engine::Trouble> Engine::take_broken(std::string_view component) {
  MutexLock lock(health_mutex_);
  const auto at =
      std::find_if(broken_.begin(), broken_.end(), [&](const Trouble& t) { return t.component == component; });
  if (at == broken_.end()) return std::nullopt;
  Trouble taken = std::move(*at);
  broken_.erase(at);
  return taken;
}

/// What is wrong now, and asks for more than the next attempt of whoever failed.
std::vector<Engine::Trouble> Engine::troubles() {
  std::vector<Trouble> all;
  {
    MutexLock lock(health_mutex_);
    all = broken_;
  }
  const Status log = wal_->broken();
  if (const Status room = has_room(); !room.ok() || log.is(Code::kNoSpace))
    all.push_back({"no_space", "space", room.ok() ? log : room});
  if (!log.ok() && components_.open(Part::kLog)) all.push_back({"log_down", "log", log});
  for (const Part part : kWorkers) {
    if (components_.open(part)) all.push_back({"worker_failing", std::string(part_name(part)), components_.last(part)});
  }
  if (const Status damage = damage_status(); !damage.ok()) all.push_back({"data_lost", "runs", damage});
  return all;
}

/// What others have ended meanwhile: a playbook before it in this round, or a worker's own attempt.
bool Engine::is_over(const Trouble& trouble) {
  if (trouble.failure == "no_space") return has_room().ok() && !wal_->broken().is(Code::kNoSpace);
  if (trouble.failure == "log_down") return wal_->broken().ok();
  if (trouble.failure == "data_lost") return damage_status().ok();
  const std::optional<Part> part = part_named(trouble.component);
  return trouble.failure == "worker_failing" && part && !components_.open(*part);
}

/// The history tells until when such a failure went on.
void Engine::end_escalations(const std::vector<Trouble>& found) {
  for (auto entry = escalated_.begin(); entry != escalated_.end();) {
    const bool goes_on = std::any_of(found.begin(), found.end(),
                                     [&](const Trouble& t) { return key_of(t.failure, t.component) == entry->first; });
    if (goes_on) {
      ++entry;
      continue;
    }
    Incident& incident = entry->second.incident;
    incident.over_wall_ns = clock_.wall_ns();
    history_.keep(incident);
    {
      MutexLock lock(health_mutex_);
      for (Incident& known : incidents_) {
        if (known.id == incident.id) known.over_wall_ns = incident.over_wall_ns;
      }
    }
    entry = escalated_.erase(entry);
  }
}

/// One round; true when what fails has changed. A failure whose playbook has escalated is left to its worker's own
/// attempts, and to people, until it is over.
bool Engine::supervise() {
  MutexLock lock(supervision_mutex_);
  watch_space();
  look_at_drills();
  begin_missing();
  const std::vector<Trouble> found = troubles();
  end_escalations(found);
  for (const Trouble& trouble : found) {
    if (stopping()) return false;
    if (!escalated_.contains(key_of(trouble.failure, trouble.component))) handle(trouble);
  }
  bool news = false;
  {
    const std::vector<HealthTree::Finding> seen = look();
    MutexLock health_lock(health_mutex_);
    escalation_ = escalated_.empty() ? Status() : escalated_.begin()->second.told;
    news = health_.update(seen, clock_.wall_ns());
  }
  if (news && options_.listener && !stopping()) options_.listener->on_health(health());
  return news;
}

Incident Engine::handle(const Trouble& trouble) {
  Incident incident;
  incident.began_wall_ns = clock_.wall_ns();
  incident.id = incident_id(incident.began_wall_ns);
  incident.failure = trouble.failure;
  incident.component = trouble.component;
  incident.cause = trouble.cause;
  const bool by_hand = trouble.cause.is(Code::kAborted);
  Playbook book;
  if (!by_hand && is_over(trouble)) {
    book.over = [] { return true; };
  } else {
    book = playbook_for(trouble);
  }
  carry_out(book, incident, clock_, [this](const Incident& now, const PlaybookStep* at_hand) NO_THREAD_SAFETY_ANALYSIS {
    {
      MutexLock lock(health_mutex_);
      step_at_hand_ = at_hand ? std::string_view(at_hand->name) : std::string_view();
      if (at_hand) step_due_ns_ = clock_.monotonic_ns() + std::chrono::nanoseconds(at_hand->timeout).count();
    }
    history_.keep(now);
  });
  const bool escalated = incident.outcome == "escalated";
  if (escalated) {
    escalated_[key_of(trouble.failure, trouble.component)] = {
        Status(Code::kUnavailable,
               trouble.failure + " (" + trouble.component +
                   ") was not ended by its playbook: " + trouble.cause.to_string(),
               trouble.cause.where(), "`kvctl playbook history` tells what was tried: " + incident.id),
        incident};
  }
  {
    MutexLock lock(health_mutex_);
    count(past_, incident);
    if (incidents_.size() == kIncidentsKept) incidents_.erase(incidents_.begin());
    incidents_.push_back(incident);
  }
  if (options_.listener && !stopping()) {
    if (escalated) options_.listener->on_escalation(incident);
    options_.listener->on_incident(incident);
  }
  return incident;
}

/// From the mildest to the most drastic.
Playbook Engine::playbook_for(const Trouble& trouble) {
  Playbook book;
  book.failure = trouble.failure;
  const auto step = [&](std::string name, std::function<Status()> work, std::function<bool()> pre_check = {}) {
    PlaybookStep made;
    made.name = std::move(name);
    if (pre_check) made.pre_check = [check = std::move(pre_check)](const Incident&) { return check(); };
    made.execute = [work = std::move(work)](const Incident&) { return work(); };
    book.steps.push_back(std::move(made));
  };
  const std::string component = trouble.component;
  if (trouble.failure == "log_down") {
    step("write, sync and read back a probe",
         [this] { return probe(*storage_, directory_ + "/wal/" + std::string(kProbeName), kSectorBytes); });
    step("go on in a new log file", [this] { return wal_->try_repair(); });
    step("reboot the log", [this] { return reboot("log"); });
    book.over = [this] { return wal_->try_repair().ok(); };
  } else if (trouble.failure == "no_space") {
    step(
        "give up history", [this] { return give_up_history(); }, [this] { return past_limits_.time.count() != 0; });
    step(
        "give back the ballast",
        [this] {
          ballast_ = false;
          return give_up_ballast();
        },
        [this] { return options_.ballast_bytes != 0; });
    step(
        "go on in a smaller log file", [this] { return wal_->try_repair(); }, [this] { return !wal_->broken().ok(); });
    step("give back spare log files", [this] { return wal_->give_back_space(); });
    step("remove what no snapshot needs", [this] { return clean_up(); });
    step("checkpoint, so that the log behind it goes", [this] { return checkpoint(); });
    book.over = [this] {
      watch_space();
      return has_room().ok() && wal_->broken().ok();
    };
  } else if (trouble.failure == "worker_failing") {
    const std::optional<Part> part = part_named(component);
    step("remove what failed jobs left", [this] { return clean_up(); });
    step("reboot the worker", [this, component] { return reboot(component); });
    step("try the work again", [this, part]() -> Status {
      if (part == Part::kCheckpoint) return keep_checkpointed();
      if (part != Part::kCleanUp) return tend_runs().status();
      Status clean = clean_up();
      tell(Part::kCleanUp, clean);
      return clean;
    });
    book.over = [this, part] { return part && !components_.open(*part) && components_.last(*part).ok(); };
  } else if (trouble.failure == kBroken) {
    const auto done = std::make_shared<bool>(false);
    step("reboot " + (component.empty() ? "the component" : component), [this, component, done]() -> Status {
      DARUMA_TRY(reboot(component));
      *done = true;
      return {};
    });
    book.over = [done] { return *done; };
  } else if (trouble.failure == "data_lost") {
    step("rebuild from the older snapshot and the log", [this]() -> Status {
      Result<bool> more = true;
      while (more.ok() && *more && !stopping()) more = tend_runs();
      return more.status();
    });
    book.over = [this] { return damage_status().ok(); };
  }
  for (const PlaybookExtension& extension : options_.playbooks) {
    if (extension.failure == trouble.failure)
      book.steps.insert(book.steps.end(), extension.steps.begin(), extension.steps.end());
  }
  return book;
}

std::vector<PlaybookInfo> Engine::playbooks() {
  std::vector<PlaybookInfo> all;
  PlaybookInfo start{"start", {}};
  for (const std::string_view name : kStartPasses) start.steps.emplace_back(name);
  all.push_back(std::move(start));
  for (const std::string_view failure : kFailures) {
    PlaybookInfo& info = all.emplace_back();
    info.failure = failure;
    for (const PlaybookStep& step : playbook_for({std::string(failure), {}, {}}).steps) info.steps.push_back(step.name);
  }
  return all;
}

Result<Incident> Engine::run_playbook(std::string_view failure, std::string_view component) {
  DARUMA_TRY(may_write());
  if (std::find(kFailures.begin(), kFailures.end(), failure) == kFailures.end())
    return Status(Code::kNotFound, "there is no playbook '" + std::string(failure) + "' to be run by hand", {},
                  "`kvctl playbook ls` names them");
  MutexLock lock(supervision_mutex_);
  return handle({std::string(failure), std::string(component), Status(Code::kAborted, "run by hand")});
}

}  // namespace daruma
