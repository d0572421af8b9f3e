// SPDX-License-Identifier: Apache-2.0
// The read path: newest source first, no lock, and never past damage that could hide the answer.
#include "base/status_macros.h"
#include "engine/cursor.h"
#include "engine/engine.h"
#include "engine/sources.h"

namespace daruma {
namespace {

Status lost(const DamageEntry& hurt) {
  return {Code::kDataLoss,
          "the newest value may lie in damaged event(s): " + hurt.cause,
          {.file = hurt.file, .sequence = hurt.sequence_hi},
          "overwrite the key, or accept the loss with `kvctl damage accept`"};
}

Status gone(std::uint32_t keyspace) {
  return {Code::kNotFound, "keyspace " + std::to_string(keyspace) + " does not exist"};
}

/// The newest version of a key at or below `at`. `pinned` keeps a run's block alive.
struct Version {
  Sequence sequence = 0;
  bool put = false;
  std::string_view value;
  RunReader::Lookup pinned;
};

Status find_newest(const KeyspaceState& keyspace, std::string_view key, Sequence at, Version& newest) {
  const auto in_memtable = [&](const Memtable& memtable) {
    const Memtable::Lookup found = memtable.get(key, at);
    if (found.found == Memtable::Lookup::Found::kNothing) return false;
    newest.sequence = found.sequence;
    newest.put = found.found == Memtable::Lookup::Found::kValue;
    newest.value = found.value;
    return true;
  };
  if (keyspace.active && in_memtable(*keyspace.active)) return {};
  for (const auto& memtable : keyspace.frozen) {
    if (in_memtable(*memtable)) return {};
  }
  for (const auto& run : keyspace.runs) {
    if (run->info.max_sequence <= newest.sequence) break;  // by highest sequence: the rest is older
    DARUMA_TRY_ASSIGN(RunReader::Lookup found, run->reader->get(key, at));
    if (found.found == RunReader::Lookup::Found::kNothing || found.sequence <= newest.sequence) continue;
    newest.sequence = found.sequence;
    newest.put = found.found == RunReader::Lookup::Found::kValue;
    newest.pinned = std::move(found);
    newest.value = newest.pinned.value;
  }
  return {};
}

}  // namespace

Result<std::string> Engine::get(std::uint32_t keyspace, std::string_view key, const View* view) const {
  EpochGuard guard;
  // The state first: its runs keep the versions that sequences visible from then on need, not those of earlier ones.
  const State& state = view ? *view->state_->state : *state_.load(std::memory_order_seq_cst);
  const Sequence at = view ? view->state_->sequence : visible_.load(std::memory_order_acquire);
  const KeyspaceState* in = keyspace == kCatalogKeyspace ? nullptr : state.find(keyspace);
  if (!in) return gone(keyspace);
  Version newest;
  DARUMA_TRY(find_newest(*in, key, at, newest));
  if (state.damage && !state.damage->empty()) {
    if (const DamageEntry* hurt = state.damage->blocks(keyspace, key, newest.sequence)) return lost(*hurt);
  }
  if (!newest.put) return Status(Code::kNotFound, "the key is not there");
  return std::string(newest.value);
}

View Engine::view() {
  auto pinned = std::make_shared<View::State>();
  pinned->engine = shared_from_this();
  // A checkpoint that asks for pins after this lock sees the view; one that asked before froze at or below the sequence
  // read here. The sequence first: whatever is visible has its memtable in the state by then.
  MutexLock lock(views_mutex_);
  pinned->sequence = visible_.load(std::memory_order_acquire);
  {
    EpochGuard guard;
    pinned->state = state_.load(std::memory_order_seq_cst)->shared_from_this();
  }
  views_.insert(pinned->sequence);
  View view;
  view.state_ = std::move(pinned);
  return view;
}

View::State::~State() {
  if (!engine || sequence == kMaxSequence) return;
  MutexLock lock(engine->views_mutex_);
  engine->views_.erase(engine->views_.find(sequence));
}

Result<Cursor> Engine::cursor(Keyspace keyspace, const CursorOptions& options) {
  const View at = options.view ? *options.view : view();
  const KeyspaceState* in = keyspace.id() == kCatalogKeyspace ? nullptr : at.state_->state->find(keyspace.id());
  if (!in) return gone(keyspace.id());
  std::vector<std::unique_ptr<EntrySource>> sources;
  std::vector<RangeErase> erases;
  const auto add_memtable = [&](const Memtable& memtable) {
    sources.push_back(memtable_source(memtable));
    for (const auto& erase : memtable.range_erases()) erases.push_back(erase);
  };
  if (in->active) add_memtable(*in->active);
  for (const auto& memtable : in->frozen) add_memtable(*memtable);
  for (const auto& run : in->runs) {
    sources.push_back(run_source(*run->reader));
    DARUMA_TRY_ASSIGN(const std::vector<RangeErase> of_run, run->reader->range_erases());
    erases.insert(erases.end(), of_run.begin(), of_run.end());
  }
  return Cursor(std::make_unique<CursorState>(at.state_, std::move(sources), std::move(erases),
                                              at.state_->state->damage, keyspace.id(), at.sequence(), options.lower,
                                              options.upper));
}

Result<Keyspace> Engine::keyspace(std::string_view name) const {
  EpochGuard guard;
  for (const auto& k : state_.load(std::memory_order_seq_cst)->keyspaces) {
    if (k->id != kCatalogKeyspace && k->name == name) return Keyspace(k->id);
  }
  return Status(Code::kNotFound, "keyspace '" + std::string(name) + "' does not exist");
}

std::vector<KeyspaceInfo> Engine::keyspaces() const {
  std::vector<KeyspaceInfo> all;
  EpochGuard guard;
  for (const auto& k : state_.load(std::memory_order_seq_cst)->keyspaces) {
    if (k->id != kCatalogKeyspace) all.push_back({Keyspace(k->id), k->name});
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return all;
}

StoreStats Engine::stats() const {
  StoreStats stats;
  stats.sequence = visible_.load(std::memory_order_acquire);
  stats.durable_sequence = wal_->durable_sequence();
  stats.snapshot_sequence = snapshot_sequence_.load(std::memory_order_relaxed);
  stats.memtable_bytes = memtable_bytes_.load(std::memory_order_relaxed);
  stats.checkpoints = checkpoints_.load(std::memory_order_relaxed);
  EpochGuard guard;
  for (const auto& k : state_.load(std::memory_order_seq_cst)->keyspaces) {
    stats.keyspaces += k->id != kCatalogKeyspace;
    for (const auto& run : k->runs) {
      ++stats.runs;
      stats.run_bytes += run->info.file_bytes;
    }
  }
  return stats;
}

}  // namespace daruma
