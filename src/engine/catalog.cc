// SPDX-License-Identifier: Apache-2.0
//
// The catalogue: names of keyspaces, which are events of a keyspace of their own.
//
// What must stay true: every manifest repeats the catalogue as of its snapshot, unless a start could not read all of
// it. So a run of the catalogue that is lost costs nothing: names come from the manifest, and the run is written anew.
#include "base/assert.h"
#include "base/status_macros.h"
#include "engine/engine.h"

namespace daruma {
namespace {

Status check_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxKeyspaceNameBytes) {
    return {Code::kInvalidArgument, "a keyspace name has 1 to " + std::to_string(kMaxKeyspaceNameBytes) + " bytes"};
  }
  return {};
}

const KeyspaceState* named(const State& state, std::string_view name) {
  for (const auto& k : state.keyspaces) {
    if (k->id != kCatalogKeyspace && k->name == name) return k.get();
  }
  return nullptr;
}

}  // namespace

Result<Keyspace> Engine::create_keyspace(std::string_view name) {
  DARUMA_TRY(check_name(name));
  DARUMA_TRY(check_batch({}));
  Sequence sequence = 0;
  std::uint32_t id = 0;
  {
    MutexLock lock(write_mutex_);
    DARUMA_TRY(place_unplaced());
    if (named(*current_, name)) return Status(Code::kExists, "keyspace '" + std::string(name) + "' exists");
    id = next_keyspace_;
    if (id >= kNextIdKey - 1) return Status(Code::kInvalidArgument, "this store has used every keyspace id");
    EventBuilder event;
    event.put(kCatalogKeyspace, catalog_key(id), name);
    event.put(kCatalogKeyspace, catalog_key(kNextIdKey), catalog_key(id + 1));
    DARUMA_TRY_ASSIGN(sequence, commit(event.bytes()));
  }
  DARUMA_TRY(wal_->wait_durable(sequence));
  return Keyspace(id);
}

Status Engine::rename_keyspace(Keyspace keyspace, std::string_view name) {
  DARUMA_TRY(check_name(name));
  DARUMA_TRY(check_batch({}));
  Sequence sequence = 0;
  {
    MutexLock lock(write_mutex_);
    DARUMA_TRY(place_unplaced());
    const KeyspaceState* at = keyspace.id() == kCatalogKeyspace ? nullptr : current_->find(keyspace.id());
    if (!at) return {Code::kNotFound, "the keyspace does not exist"};
    if (const KeyspaceState* other = named(*current_, name); other && other != at) {
      return {Code::kExists, "keyspace '" + std::string(name) + "' exists"};
    }
    EventBuilder event;
    event.put(kCatalogKeyspace, catalog_key(keyspace.id()), name);
    DARUMA_TRY_ASSIGN(sequence, commit(event.bytes()));
  }
  return wal_->wait_durable(sequence);
}

Status Engine::drop_keyspace(Keyspace keyspace) {
  DARUMA_TRY(check_batch({}));
  Sequence sequence = 0;
  {
    MutexLock lock(write_mutex_);
    DARUMA_TRY(place_unplaced());
    if (keyspace.id() == kCatalogKeyspace || !current_->find(keyspace.id()))
      return {Code::kNotFound, "the keyspace does not exist"};
    EventBuilder event;
    event.erase(kCatalogKeyspace, catalog_key(keyspace.id()));
    DARUMA_TRY_ASSIGN(sequence, commit(event.bytes()));
  }
  return wal_->wait_durable(sequence);
}

void Engine::apply_catalog(std::string_view key, std::optional<std::string_view> value) {
  DARUMA_ASSERT(key.size() == 4);
  const std::uint32_t id = catalog_id(key);
  if (id != kNextIdKey)
    name_keyspace(id, value);
  else if (value && value->size() == 4)
    next_keyspace_ = std::max(next_keyspace_, catalog_id(*value));
}

/// No name: it is dropped.
void Engine::name_keyspace(std::uint32_t id, std::optional<std::string_view> name) {
  std::uint64_t released = 0;
  auto state = std::make_shared<State>(*current_);
  auto it = std::lower_bound(state->keyspaces.begin(), state->keyspaces.end(), id,
                             [](const auto& k, std::uint32_t want) { return k->id < want; });
  const bool known = it != state->keyspaces.end() && (*it)->id == id;
  if (!name) {
    if (!known) return;
    released = (*it)->active ? (*it)->active->bytes() : 0;
    for (const auto& memtable : (*it)->frozen) released += memtable->bytes();
    state->keyspaces.erase(it);
  } else {
    next_keyspace_ = std::max(next_keyspace_, id + 1);
    auto changed = known ? std::make_shared<KeyspaceState>(**it) : std::make_shared<KeyspaceState>();
    changed->id = id;
    changed->name.assign(*name);
    if (!known) changed->bulkhead->set(options_.keyspace_limits);
    if (known) {
      *it = std::move(changed);
    } else {
      state->keyspaces.insert(it, std::move(changed));
    }
  }
  publish_state(std::move(state));
  memtable_bytes_.fetch_sub(released, std::memory_order_relaxed);
}

/// What is known of the keyspace is its id.
void Engine::add_nameless_keyspace(std::uint32_t id) { name_keyspace(id, "keyspace-" + std::to_string(id)); }

/// As of a snapshot of `runs`, of which the newest come from `frozen`. Nothing where the start could not read all of
/// it. What is erased is kept while an older run may say otherwise.
std::optional<Catalog> Engine::catalog_at(const KeyspaceState& frozen, const std::vector<PlacedRun>& runs) const {
  std::optional<Catalog> catalog = snapshot_catalog_;
  if (!catalog) return catalog;
  for (const auto& memtable : frozen.frozen) {
    Memtable::Cursor cursor = memtable->cursor();
    for (cursor.seek_first(); cursor.valid(); cursor.next()) add_newest(*catalog, cursor);
  }
  const auto of_catalog = [](const PlacedRun& run) { return run.info.keyspace == kCatalogKeyspace; };
  if (std::count_if(runs.begin(), runs.end(), of_catalog) <= 1)
    std::erase_if(*catalog, [](const auto& entry) { return !entry.second.value; });
  return catalog;
}

/// Names that a start had to make up, because no manifest had them and the catalogue was hurt, give way to the real
/// ones as far as they are known and not in doubt.
void Engine::take_names_again() {
  if (snapshot_catalog_) return;
  Catalog names;
  const auto take = [&](auto cursor) {
    for (cursor.seek_first(); cursor.valid(); cursor.next()) add_newest(names, cursor);
  };
  const KeyspaceState* catalog = current_->find(kCatalogKeyspace);
  catalog->runs.for_each([&](std::uint32_t, const LiveRun& run) { take(run.reader->cursor()); });
  for (const auto& memtable : catalog->frozen) take(memtable->cursor());
  if (catalog->active) take(catalog->active->cursor());
  const std::shared_ptr<const DamageMap> damage = current_->damage;
  const auto& runs = generations_.front().runs;
  for (const auto& [key, newest] : names) {
    if (key.size() != 4 || (damage && damage->blocks(kCatalogKeyspace, key, newest.sequence))) continue;
    const std::uint32_t id = catalog_id(key);
    const KeyspaceState* there = current_->find(id);
    const bool holds =
        there && (there->active || !there->frozen.empty() ||
                  std::any_of(runs.begin(), runs.end(), [&](const PlacedRun& run) { return run.info.keyspace == id; }));
    if (!newest.value && holds)
      add_nameless_keyspace(id);  // dropped, but it came back to life, and may have been written to since
    else
      apply_catalog(key, newest.value);
  }
}

}  // namespace daruma
