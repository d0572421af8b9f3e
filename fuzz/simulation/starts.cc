// SPDX-License-Identifier: Apache-2.0
// Starts: opened, killed while they recover, and held against the model.
#include <algorithm>

#include "simulation/simulation.h"

namespace daruma::simulation {

Result<Store::Opened> Simulation::open(RecoveryPolicy policy, bool read_only) {
  beyond_proof_ = beyond_proof_ || leaves_no_proof();  // a start that dies may remove what is hurt
  Options options;
  options.memtable_bytes = 1 << 20;
  options.segment_bytes = 256 << 10;
  options.ring_bytes = plan_.seed % 4 == 1 ? 512 << 10 : 256 << 10;  // one that grows, too
  options.cache_bytes = plan_.cache ? 1 << 20 : 0;
  options.recovery_policy = policy;
  options.read_only = read_only;
  options.wal_copies = plan_.wal_copies;
  if (plan_.seed % 4 == 2) options.history = History{std::chrono::hours(1), 4 << 20};
  options.ballast_bytes = plan_.reboots ? 256 << 10 : 0;
  options.reboots_per_hour = 1000;
  Environment environment;
  if (settings_.storage) {
    environment.storage = settings_.storage(disk_);
  } else {
    environment.storage = disk_;
  }
  environment.clock = &clock_;
  environment.seed = identities_++;
  environment.threads = false;
  environment.start_late = plan_.start_late;
  environment.compaction = {.level0_trigger = 2,
                            .base_level_bytes = 16 << 10,
                            .level_factor = 2,
                            .output_run_bytes = 8 << 10,
                            .input_bytes_max = 64 << 10};
  return Engine::open_store(kStore, options, environment);
}

void Simulation::start(const Life& life) {
  wounds_.look_again(*disk_);
  if (plan_.seed % 3 != 0 || !served_once_) wounds_.remember(*disk_);
  if (life.look_first) look(RecoveryPolicy::kServe, true);
  if (life.refuse_first) look(RecoveryPolicy::kRefuse, false);
  for (const Death& death : life.crashed_starts) {
    if (life.start_fault) inject(life.start_fault->salt);
    static_cast<void>(start_once(death));
    note("start ", describe(death));
    die(death.kind, death.survive_percent);
    wounds_.look_again(*disk_);
  }
  const RecoveryPolicy policy = life.point_in_time ? RecoveryPolicy::kPointInTime : RecoveryPolicy::kServe;
  if (life.start_fault) {
    inject(life.start_fault->salt);
    if (start_once(std::nullopt, policy)) return;
    clear_faults();  // it said why it could not; without that reason it must
  }
  if (!start_once(std::nullopt, policy)) throw Violation{"always-opens", "a start that nothing hinders failed"};
}

/// False when it did not get as far as serving.
bool Simulation::start_once(const std::optional<Death>& death, RecoveryPolicy policy) {
  fired_before_ = disk_->faults_fired();
  if (death) disk_->crash_at(disk_->operations() + death->after, death->half_done);
  Result<Store::Opened> opened = open(policy, false);
  Status finished;
  if (opened.ok() && (death || fault_)) finished = Engine::of(opened->store).started();
  if (!finished.ok() && !finished.is(Code::kUnavailable)) opened = finished;
  disk_->disarm();
  refused_ = (fault_is(FaultKind::kReadError) || fault_is(FaultKind::kOpenError)) && fault_fired();
  log_read_failed_ = log_read_failed_ || refused_;
  const bool lacking = fault_is(FaultKind::kNoDescriptors) || fault_is(FaultKind::kStall);
  const bool disturbed = fault_ && (fault_fired() || *fault_ == kFullDisk);
  count_full(opened.status());
  count_full(finished);
  if (opened.ok() && opened->store.stats().read_only) count_full(Status(Code::kReadOnly, ""));
  clear_faults();
  if (disk_->crashed()) {
    dead_in_a_row_ = std::min<unsigned>(dead_in_a_row_ + 1, kDepths - 1);
    ++totals_.crashed_starts[dead_in_a_row_];
    return false;
  }
  dead_in_a_row_ = 0;
  if (!opened.ok()) {
    note("start: ", opened.status().to_string());
    const bool excused = disturbed && (opened.status().is(Code::kIoError) || opened.status().is(Code::kNoSpace) ||
                                       (lacking && opened.status().is(Code::kUnavailable)));
    if (!excused) throw Violation{"always-opens", opened.status().to_string()};
    return false;
  }
  if (!finished.ok() && disturbed) finished = Engine::of(opened->store).started();
  if (!finished.ok()) throw Violation{"heals-alone", "a start whose log could not be begun: " + finished.to_string()};
  serves_only_ = opened->store.stats().read_only;
  if (serves_only_ && !disturbed) throw Violation{"always-opens", "reads only: " + opened->report.outcome};
  judge(*opened, !serves_only_, policy);
  store_ = opened->store;
  refresh_keyspaces();
  return true;
}

/// Opens that change nothing: to look, or to refuse what is damaged.
void Simulation::look(RecoveryPolicy policy, bool read_only) {
  if (!served_once_) return;
  const std::uint64_t before = disk_->fingerprint();
  Result<Store::Opened> opened = open(policy, read_only);
  if (!opened.ok()) {
    note("look: ", opened.status().to_string());
    const bool refused = policy == RecoveryPolicy::kRefuse && opened.status().is(Code::kDataLoss) && hurt();
    if (!refused) throw Violation{"always-opens", opened.status().to_string()};
  } else if (read_only) {
    judge(*opened, false);
  } else {
    judge(*opened, true);  // nothing to refuse: a start as any other
    opened = Status(Code::kAborted, "the process died");
    disk_->kill();
    model_.died(false);
    return wounds_.look_again(*disk_);
  }
  opened = Status(Code::kAborted, "the process died");
  if (disk_->fingerprint() != before)
    throw Violation{"looks-without-touching",
                    read_only ? "a read-only open changed the disk" : "a refusal changed the disk"};
}

bool Simulation::told_of_damage() const {
  const std::vector<DamageInfo> damage = store_->damage();
  return std::any_of(damage.begin(), damage.end(), [](const DamageInfo& one) { return !one.accepted; });
}

/// Then a name may be made up, or an older one, and gives way to the right one when what was lost is there again.
bool Simulation::names_in_doubt() const {
  const std::vector<DamageInfo> damage = store_->damage();
  return std::any_of(damage.begin(), damage.end(), [](const DamageInfo& one) {
    return !one.accepted && one.keyspace.value_or(kCatalogKeyspace) == kCatalogKeyspace;
  });
}

void Simulation::judge(Store::Opened& opened, bool serves, RecoveryPolicy policy) {
  const RecoveryReport& report = opened.report;
  store_ = opened.store;
  serves_only_ = !serves;
  note(serves ? "start: " : "look: ", report.outcome, ", last ", std::to_string(report.last_sequence), ", legal ",
       std::to_string(model_.lowest()), " to ", std::to_string(model_.highest()));
  for (const RecoveryFinding& finding : report.findings)
    note("  ", finding.case_name, " ", finding.file, " ", finding.verdict, " ", finding.action, " ", finding.detail);
  for (const DamageInfo& damage : store_->damage())
    note("  damage ", damage.cause, " ", damage.file, " of ", damage.keys, damage.accepted ? ", accepted" : "");
  unseen_.clear();
  if (const Changes* load = model_.load_in_doubt()) {
    const bool came = shows(*store_, *load);
    model_.load_came(came);
    if (!came) unseen_ = *load;
  }
  Contents found;
  std::optional<Sequence> as_the_line_says = report.last_sequence;
  if (!hurt()) {
    found = judge_exactly(opened);
  } else {
    if (beyond_proof_) {  // what gave these ids may be gone without a trace
      std::erase_if(ids_given_, [&](std::uint32_t id) {
        const std::vector<KeyspaceInfo> left = store_->keyspaces();
        return std::none_of(left.begin(), left.end(), [&](const KeyspaceInfo& k) { return k.keyspace.id() == id; });
      });
    }
    if (policy == RecoveryPolicy::kPointInTime) {
      as_the_line_says = judge_point_in_time(opened, found);
    } else {
      found = judge_hurt(opened);
      as_the_line_says.reset();
    }
    found.next_id = found.keyspaces.empty() ? 1 : found.keyspaces.rbegin()->first + 1;  // at least
  }
  if (store_->stats().sequence != report.last_sequence)
    throw Violation{"acked-is-kept", "the report says another last sequence than the store"};
  // Until then what was read is no more durable than before.
  if (serves && !Engine::of(opened.store).started().ok())
    throw Violation{"always-opens", "what is left of a start failed"};
  told_ = told_of_damage();
  totals_.told += report.lost.stretches > 0;
  totals_.healed += report.healed.stretches;
  store_.reset();
  if (!serves) {
    // What such a start gives up is gone for good as soon as a manifest says so, also where it then cannot begin a log.
    giving_up_ = giving_up_ || (policy == RecoveryPolicy::kPointInTime && report.lost.stretches > 0);
    served_ = std::move(found);
    served_last_ = report.last_sequence;
    return;
  }
  model_.settle(std::move(found), report.last_sequence, as_the_line_says);
  served_once_ = true;
  power_was_cut_ = giving_up_ = log_read_failed_ = beyond_proof_ = false;
  const bool healed = std::any_of(report.findings.begin(), report.findings.end(),
                                  [](const RecoveryFinding& finding) { return finding.verdict == "healed"; });
  if (!wounds_.any() && !told_ && !healed) wounds_.whole();  // what was healed stands once, until it is written anew
}

/// Nothing is hurt, or one fault that must cost nothing: the state is the prefix that the report names, and nobody says
/// otherwise.
Contents Simulation::judge_exactly(const Store::Opened& opened) {
  const RecoveryReport& report = opened.report;
  ++totals_.exact;
  totals_.one_fault += wounds_.any();
  const char* promise = wounds_.any() ? "one-fault-free" : "says-so";
  if (!report.clean()) throw Violation{promise, "a loss is reported where none can be:\n" + report.to_text()};
  if (told_of_damage()) throw Violation{promise, "the damage map names a loss where none can be"};
  if (report.last_sequence < model_.lowest() || report.last_sequence > model_.highest()) {
    throw Violation{"acked-is-kept", "the state ends at event " + std::to_string(report.last_sequence) +
                                         ", which must be " + std::to_string(model_.lowest()) + " to " +
                                         std::to_string(model_.highest())};
  }
  Contents found = read_all(opened.store);
  model_.created(found);
  Contents expected = model_.at(report.last_sequence);
  std::erase_if(expected.keyspaces,
                [&](const auto& entry) { return entry.second.name.empty() && !found.keyspaces.contains(entry.first); });
  for (auto& [id, in] : expected.keyspaces) {
    if (in.name.empty()) in.name = found.keyspaces.at(id).name;
    const std::set<std::string, std::less<>> unknown = in.unknown;
    for (const std::string& key : unknown) expected.learn(id, key, found.find(id, key));
  }
  if (!(found == expected)) {
    throw Violation{wounds_.any() ? "one-fault-free" : "all-or-nothing", "the state is not the one after event " +
                                                                             std::to_string(report.last_sequence) +
                                                                             ": " + first_difference(found, expected)};
  }
  found.next_id = expected.next_id;
  return found;
}

/// What the log lost is given up with all that came after: what is answered agrees with one state of the past, no older
/// than the snapshot. The event that it is after; nothing when there is more to doubt than the log.
std::optional<Sequence> Simulation::judge_point_in_time(const Store::Opened& opened, Contents& found) {
  const RecoveryReport& report = opened.report;
  totals_.given_up += report.lost.stretches > 0;
  struct Answer {
    std::uint32_t keyspace;
    std::string_view key;
    const Value* value;
  };
  std::vector<Answer> answers;
  bool all_answered = true;
  for (const KeyspaceInfo& info : opened.store.keyspaces()) {
    const std::uint32_t id = info.keyspace.id();
    KeyspaceContents& in = found.keyspaces[id];
    if (!names_in_doubt()) in.name = info.name;
    for (const std::string& key : key_universe()) {
      const Result<std::string> got = opened.store.get(info.keyspace, key);
      if (!got.ok() && !got.status().is(Code::kNotFound)) {
        check_excused(got.status(), key);
        in.unknown.insert(key);
        all_answered = false;
        continue;
      }
      const Value* value = got.ok() ? writings_.genuine(id, key, *got) : nullptr;
      if (got.ok() && !value) throw Violation{"never-wrong", key + " has a value that was never written to it"};
      answers.push_back({id, key, value});
      if (value) in.values.emplace(key, *value);
    }
  }
  if (told_ || beyond_proof_ || !model_.remembers(report.snapshot_sequence)) {
    ++totals_.beyond;
    return std::nullopt;
  }
  model_.created(found);
  const bool any_name = names_in_doubt();
  const auto same_name = [](const auto& a, const auto& b) {
    return a.first == b.first && a.second.name == b.second.name;
  };
  const std::optional<Sequence> through = model_.first_since(report.snapshot_sequence, [&](const Contents& one) {
    const auto &names = one.keyspaces, &names_found = found.keyspaces;
    if (!any_name && !std::equal(names.begin(), names.end(), names_found.begin(), names_found.end(), same_name))
      return false;
    return std::all_of(answers.begin(), answers.end(), [&](const Answer& answer) {
      const Value* then = one.find(answer.keyspace, answer.key);
      if (one.unknown(answer.keyspace, answer.key)) return true;
      return answer.value ? then && *then == *answer.value : !then;
    });
  });
  if (!through) throw Violation{"never-wrong", "a point_in_time start serves what was at no time the state"};
  return all_answered && !told_of_damage() ? through : std::nullopt;
}

/// Damage of which nothing that is left need tell: then of a value only that its key once had it can be held.
bool Simulation::leaves_no_proof() const {
  const std::size_t sectors = wounds_.sectors_where_the_log_may_end(*disk_);
  const bool log = (power_was_cut_ && sectors > 1) || (wounds_.in(Room::kRing) && sectors > 0);
  const bool run = wounds_.in(Room::kRuns, Wound::Kind::kLost) && wounds_.in(Room::kSnapshots) &&
                   wounds_.in(Room::kOther);  // recoveries/manifest
  // One half tells what once was true, and the other does not contradict it.
  const bool ring = (wounds_.in(Room::kRing, Wound::Kind::kStale) || wounds_.in(Room::kRing, Wound::Kind::kOlder)) &&
                    wounds_.more_than_a_sector_in(Room::kRing);
  return log || ring || run || giving_up_;
}

/// Something is hurt: each key answers as the prefix that the report names, or says why it cannot. Where numbers were
/// skipped, an event that nobody acknowledged may be there or not.
Contents Simulation::judge_hurt(const Store::Opened& opened) {
  const RecoveryReport& report = opened.report;
  std::vector<Contents> legal;  // empty: any that once was
  if (beyond_proof_) {
    ++totals_.beyond;
  } else if (report.last_sequence > model_.highest()) {
    model_.each_legal([&](const Contents& contents) { legal.push_back(contents); });
  } else {
    legal.push_back(model_.at(std::max(report.last_sequence, model_.lowest())));
  }
  Contents found = legal.empty() ? model_.at(model_.highest()) : legal.back();
  const Store& store = opened.store;
  const bool any_name = names_in_doubt();
  std::set<std::uint32_t> there;
  for (const KeyspaceInfo& info : store.keyspaces()) {
    const bool dropped = !legal.empty() && std::none_of(legal.begin(), legal.end(), [&](const Contents& one) {
      return one.keyspaces.contains(info.keyspace.id());
    });
    if (dropped && any_name) continue;
    there.insert(info.keyspace.id());
    KeyspaceContents& in = found.keyspaces[info.keyspace.id()];
    if (!any_name) {
      const auto has_it = [&](const Contents& one) {
        const auto at = one.keyspaces.find(info.keyspace.id());
        return at == one.keyspaces.end() || at->second.name.empty() || at->second.name == info.name;
      };
      if (!legal.empty() && std::none_of(legal.begin(), legal.end(), has_it))
        throw Violation{"never-wrong", "keyspace '" + in.name + "' is called " + info.name + ", and nothing tells why"};
      in.name = info.name;
    } else if (legal.size() != 1) {
      in.name.clear();
    }
    std::set<std::string> errors;
    std::map<std::string, const Value*> values;
    for (const std::string& key : key_universe()) {
      const Result<std::string> got = store.get(info.keyspace, key);
      const std::string where = "keyspace " + std::to_string(info.keyspace.id()) + " key " + key;
      if (!got.ok() && !got.status().is(Code::kNotFound)) {
        check_excused(got.status(), where);
        note("  ", where, ": ", got.status().to_string());
        errors.insert(key);
        const bool unseen = std::any_of(unseen_.begin(), unseen_.end(), [&](const Change& put) {
          return put.keyspace == info.keyspace.id() && put.key == key;
        });
        if (legal.size() != 1 || unseen) in.unknown.insert(key);
        continue;
      }
      const Value* value = got.ok() ? writings_.genuine(info.keyspace.id(), key, *got) : nullptr;
      if (got.ok() && !value) throw Violation{"never-wrong", where + " has a value that was never written to it"};
      const bool as_it_was =
          beyond_proof_ || std::any_of(legal.begin(), legal.end(), [&](const Contents& one) {
            const Value* expected = one.find(info.keyspace.id(), key);
            return one.unknown(info.keyspace.id(), key) || (value ? expected && *expected == *value : !expected);
          });
      if (!as_it_was) {
        throw Violation{"never-wrong", where + (value ? " has an older value, #" + std::to_string(value->stamp)
                                                      : std::string(" is not found, and nothing tells why"))};
      }
      found.learn(info.keyspace.id(), key, value);
      if (value) values.emplace(key, value);
    }
    check_walk(store, info, errors, values);
  }
  std::erase_if(found.keyspaces, [&](const auto& entry) {
    if (there.contains(entry.first)) return false;
    const bool everywhere = !beyond_proof_ && !entry.second.name.empty() &&
                            std::all_of(legal.begin(), legal.end(),
                                        [&](const Contents& one) { return one.keyspaces.contains(entry.first); });
    if (everywhere && store.keyspace(entry.second.name).status().is(Code::kNotFound))
      throw Violation{"never-wrong", "keyspace '" + entry.second.name + "' is denied, and nothing tells why"};
    return legal.size() != 1 || !everywhere;  // it may come back with the name
  });
  return found;
}

}  // namespace daruma::simulation
