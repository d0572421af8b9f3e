// SPDX-License-Identifier: Apache-2.0
// What users and the background do to a store.
#include <algorithm>
#include <array>

#include "simulation/simulation.h"

namespace daruma::simulation {
namespace {

constexpr std::size_t kKeyspacesMax = 4;
constexpr std::uint64_t kWaitDaysNs = 8ULL * 24 * 3600 * 1'000'000'000;

template <typename Map>
auto& any_of_map(Map& map, Random& random) {
  return *std::next(map.begin(), static_cast<std::ptrdiff_t>(random.below(map.size())));
}

std::uint32_t draw_size(Random& random, bool large) {
  if (large)
    return random.one_in(3) ? 66'000 + static_cast<std::uint32_t>(random.below(20'000))
                            : 15'000 + static_cast<std::uint32_t>(random.below(30'000));
  if (random.one_in(12)) return 3000 + static_cast<std::uint32_t>(random.below(6000));
  return kValueBytesMin + static_cast<std::uint32_t>(random.below(80));
}

}  // namespace

void Simulation::act(const Act& act) {
  fired_before_ = disk_->faults_fired();
  Random random(act.salt);
  switch (act.kind) {
    case Act::Kind::kWrite: return write(random, false);
    case Act::Kind::kWriteLarge: return write(random, true);
    case Act::Kind::kLoad: return load(random);
    case Act::Kind::kCreate:
    case Act::Kind::kRename:
    case Act::Kind::kDrop: return change_keyspaces(act.kind, random);
    case Act::Kind::kGet:
    case Act::Kind::kMultiGet:
    case Act::Kind::kScan:
    case Act::Kind::kMakeView:
    case Act::Kind::kReadView:
    case Act::Kind::kDropView: return read(act.kind, random);
    case Act::Kind::kSync:
    case Act::Kind::kStep:
    case Act::Kind::kCheckpoint:
    case Act::Kind::kCompact:
    case Act::Kind::kScrub: return work(act.kind, random);
    // Long enough for the next file of a scrub, now and then.
    case Act::Kind::kWait:
      clock_.advance(static_cast<std::int64_t>(random.below(random.one_in(3) ? kWaitDaysNs : 1'000'000'000)));
      if (random.one_in(4))
        clock_.set_wall_ahead(static_cast<std::int64_t>(random.below(4 * kWaitDaysNs)) - std::int64_t{2 * kWaitDaysNs});
      return;
    case Act::Kind::kAccept: return accept_all();
    case Act::Kind::kFault: return inject(act.salt);
    case Act::Kind::kMend: return mend();
    case Act::Kind::kWound: return wound(act.salt, true);
  }
}

/// One that a hurt catalogue brought back to life is left alone.
void Simulation::refresh_keyspaces() {
  keyspaces_.clear();
  for (const KeyspaceInfo& info : store_->keyspaces()) {
    if (now().keyspaces.contains(info.keyspace.id())) keyspaces_.emplace(info.keyspace.id(), info.keyspace);
  }
}

Changes Simulation::draw_changes(Random& random, bool large) {
  const auto& universe = key_universe();
  Changes changes;
  const std::uint64_t count = large ? 1 + random.below(2) : 1 + random.below(5);
  for (std::uint64_t n = 0; n < count; ++n) {
    Change change;
    change.keyspace = any_of_map(keyspaces_, random).first;
    change.key = universe[random.below(universe.size())];
    const std::uint64_t what = random.below(12);
    if (what == 0) {
      change.kind = Change::Kind::kEraseRange;
      if (!random.one_in(20)) change.end = universe[random.below(universe.size())];
    } else if (what < 3) {
      change.kind = Change::Kind::kErase;
    } else {
      change.value = writings_.make(change.keyspace, change.key, draw_size(random, large));
    }
    changes.push_back(std::move(change));
  }
  return changes;
}

void Simulation::write(Random& random, bool large) {
  if (keyspaces_.empty()) return change_keyspaces(Act::Kind::kCreate, random);
  const Changes changes = draw_changes(random, large);
  Batch batch;
  for (const Change& change : changes) {
    const Keyspace k = handle(change.keyspace);
    switch (change.kind) {
      case Change::Kind::kPut: batch.put(k, change.key, change.value.text()); break;
      case Change::Kind::kErase: batch.erase(k, change.key); break;
      default: batch.erase_range(k, change.key, change.end); break;
    }
  }
  const std::uint64_t how = random.below(4);
  const Durability durability = how < 2 ? Durability::kPower : Durability::kProcess;
  const Status status =
      how == 3 ? store_->write_async(batch).status() : store_->write(batch, {.durability = durability}).status();
  record(status, changes, durability, "write");
}

void Simulation::load(Random& random) {
  if (keyspaces_.empty()) return;
  const auto& [id, keyspace] = any_of_map(keyspaces_, random);
  std::map<std::string, Value> records;
  const bool large = random.one_in(6);
  for (std::uint64_t n = 1 + random.below(25); n > 0; --n) {
    const std::string& key = key_universe()[random.below(key_universe().size())];
    if (!records.contains(key)) records.emplace(key, writings_.make(id, key, draw_size(random, large)));
  }
  Changes changes;
  for (const auto& [key, value] : records) changes.push_back({Change::Kind::kPut, id, key, "", value});
  std::string text;
  const auto source = [&, next = records.begin()](std::string_view& key, std::string_view& value) mutable {
    if (next == records.end()) return Result<bool>(false);
    text = next->second.text();
    key = next->first;
    value = text;
    ++next;
    return Result<bool>(true);
  };
  const Status status = store_->bulk_load(keyspace, source).status();
  const bool excused = troubled_ || wounds_.any() || hurt();
  // One that fails may have happened or not; whichever it is, after a round of background work it is so for good.
  if (!status.ok() && !disk_->crashed() && !serves_only_) mend();
  if (disk_->crashed()) {
    note("load ", describe(changes), " (died)");
    return model_.asked_for_load(changes);
  }
  const bool came = status.ok() || shows(*store_, changes);
  // Its records have the number of an event before the one that names the load.
  if (!serves_only_ && store_->stats().sequence > model_.newest()) model_.happened({});
  record(status, came ? changes : Changes(), Durability::kPower, "load", excused);
}

void Simulation::record(const Status& status, const Changes& changes, Durability durability, const std::string& what,
                        bool excused) {
  note(what, " ", describe(changes), durability == Durability::kPower ? ", power" : ", process", ": ",
       status.ok() ? "ok" : status.to_string(), disk_->crashed() ? " (died)" : "");
  count_full(status);
  const Sequence sequence = store_->stats().sequence;
  if (disk_->crashed()) return model_.asked_for(changes);
  if (serves_only_) {
    if (status.ok() || sequence != served_last_)
      throw Violation{"never-wrong", "a store that serves reads only took a write"};
    return;
  }
  if (sequence == model_.newest() + 1) {
    model_.happened(changes);
    ++totals_.events;
    if (status.ok()) model_.acknowledged(sequence, durability);
  } else if (sequence != model_.newest() || status.ok()) {
    throw Violation{"never-wrong", what + " gave " + status.to_string() + " and the store is at event " +
                                       std::to_string(sequence) + " after " + std::to_string(model_.newest())};
  }
  if (!status.ok() && !excused && !troubled_)
    throw Violation{"heals-alone", what + " failed for no good reason: " + status.to_string()};
}

void Simulation::change_keyspaces(Act::Kind kind, Random& random) {
  const auto& there = now().keyspaces;
  Change change;
  change.key = "n" + std::to_string(random.below(8));
  const bool taken =
      std::any_of(there.begin(), there.end(), [&](const auto& k) { return k.second.name == change.key; });
  if (kind != Act::Kind::kCreate && keyspaces_.empty()) return;
  if (kind == Act::Kind::kCreate) {
    if (there.size() >= kKeyspacesMax) return;
    change.kind = Change::Kind::kCreate;
    change.keyspace = model_.now().next_id;
    const Result<Keyspace> made = store_->create_keyspace(change.key);
    if (made.status().is(Code::kExists) && (taken || hurt())) return;
    if (made.ok()) {
      if (!ids_given_.insert(made->id()).second) throw Violation{"never-wrong", "an id of a keyspace is given twice"};
      change.keyspace = made->id();
    } else if (const Result<Keyspace> all_the_same = store_->keyspace(change.key); all_the_same.ok()) {
      change.keyspace = all_the_same->id();  // visible, and perhaps durable
    }
    record(made.status(), {change}, Durability::kPower, "create");
  } else if (kind == Act::Kind::kRename) {
    change.kind = Change::Kind::kRename;
    change.keyspace = any_of_map(keyspaces_, random).first;
    const Status status = store_->rename_keyspace(handle(change.keyspace), change.key);
    if (status.is(Code::kExists) && (taken || hurt())) return;
    record(status, {change}, Durability::kPower, "rename");
  } else {
    if (there.size() < 2) return;
    change.kind = Change::Kind::kDrop;
    change.keyspace = any_of_map(keyspaces_, random).first;
    record(store_->drop_keyspace(handle(change.keyspace)), {change}, Durability::kPower, "drop");
  }
  if (!disk_->crashed()) refresh_keyspaces();
}

Status Simulation::reboot(Random& random) {
  constexpr std::array<std::string_view, 4> kParts = {"log", "checkpoint", "compaction", "cache"};
  std::string component(kParts[random.below(kParts.size())]);
  if (!keyspaces_.empty() && random.one_in(2))
    component = "keyspace " + now().keyspaces.at(any_of_map(keyspaces_, random).first).name;
  Status status = store_->reboot(component);
  note("reboot ", component, ": ", status.ok() ? "ok" : status.to_string());
  totals_.reboots += status.ok();
  return status;
}

void Simulation::work(Act::Kind kind, Random& random) {
  if (serves_only_) return;
  Status status;
  std::uint64_t lost = 0;
  switch (kind) {
    case Act::Kind::kSync: status = store_->sync(); break;
    case Act::Kind::kStep:
      status = Engine::of(*store_).step();
      if (plan_.reboots && status.ok() && random.one_in(2)) status = reboot(random);
      if (random.one_in(4)) wounds_.remember(*disk_);
      break;
    case Act::Kind::kCheckpoint: status = store_->checkpoint(); break;
    case Act::Kind::kScrub: {
      const Result<ScrubResult> scrubbed = store_->scrub();
      status = scrubbed.status();
      lost = scrubbed.ok() ? scrubbed->lost : 0;
      break;
    }
    default:
      if (keyspaces_.empty()) return;
      status = store_->compact(any_of_map(keyspaces_, random).second);
      if (status.ok() && random.one_in(3)) status = store_->trim();
      break;
  }
  note(name(kind), ": ", status.ok() ? "ok" : status.to_string(), disk_->crashed() ? " (died)" : "");
  if (disk_->crashed()) return;
  count_full(status);
  if (lost > 0 && !in_doubt() && !wounds_.in(Room::kOther))  // quarantine keeps no second copy
    throw Violation{"one-fault-free", "a scrub tells of a loss where none can be"};
  if (status.ok()) {
    if (kind != Act::Kind::kStep && kind != Act::Kind::kScrub) model_.acknowledged(model_.newest(), Durability::kPower);
    return;
  }
  if (!troubled_ && !hurt())
    throw Violation{"heals-alone", std::string(name(kind)) + " failed for no good reason: " + status.to_string()};
}

/// Every loss that the store tells of is given up; what it answers from then on may be older, and is the truth. Nobody
/// does so where the device only refused: that may come back.
void Simulation::accept_all() {
  if (serves_only_ || refused_ || !told_of_damage() || !store_->sync().ok()) return;
  giving_up_ = true;
  // What is rebuilt at the first may turn out to be lost for good, and told of anew.
  for (int round = 0; round < 4 && told_of_damage(); ++round) {
    for (const DamageInfo& damage : store_->damage()) {
      if (damage.accepted) continue;
      const Status status = store_->accept_damage(damage.id);
      note("accept ", damage.cause, " of ", damage.keys, ": ", status.ok() ? "ok" : status.to_string());
      if (disk_->crashed()) return;
      if (!status.ok() && !troubled_)
        throw Violation{"heals-alone", "a loss cannot be given up: " + status.to_string()};
    }
  }
  views_.clear();
  Contents found = model_.now();
  const std::vector<KeyspaceInfo> left = store_->keyspaces();
  std::erase_if(found.keyspaces, [&](const auto& entry) {
    return std::none_of(left.begin(), left.end(),
                        [&](const KeyspaceInfo& info) { return info.keyspace.id() == entry.first; });
  });
  for (const KeyspaceInfo& info : left) {
    KeyspaceContents& in = found.keyspaces[info.keyspace.id()];
    in.name = info.name;
    for (const std::string& key : key_universe()) {
      const Result<std::string> got = store_->get(info.keyspace, key);
      if (!got.ok() && !got.status().is(Code::kNotFound)) {
        check_excused(got.status(), key);
        note("  ", std::to_string(info.keyspace.id()), ":", key, " still gives ", got.status().to_string());
        continue;
      }
      const Value* value = got.ok() ? writings_.genuine(info.keyspace.id(), key, *got) : nullptr;
      if (got.ok() && !value) throw Violation{"never-wrong", key + " has a value that was never written to it"};
      const Value* before = model_.now().find(info.keyspace.id(), key);
      if (before ? !value || *value != *before : value != nullptr)
        note("  ", std::to_string(info.keyspace.id()), ":", key, " now is ",
             value ? "#" + std::to_string(value->stamp) : "not there");
      found.learn(info.keyspace.id(), key, value);
    }
  }
  model_.correct(std::move(found));
  refresh_keyspaces();
  told_ = told_of_damage();
  giving_up_ = told_;
}

}  // namespace daruma::simulation
