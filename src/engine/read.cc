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

/// The newest version of a key at or below a sequence.
struct Version {
  Sequence sequence = 0;  // 0: none found
  bool put = false;
  std::string_view value;
  BlockRef block;  // keeps `value` alive when it is in a run
  bool unread = false;
};

/// Of a value in a memtable.
struct MemtablePin : Pin {
  explicit MemtablePin(std::shared_ptr<const Memtable> pinned)
      : Pin([](Pin* pin) { delete static_cast<MemtablePin*>(pin); }), memtable(std::move(pinned)) {}
  std::shared_ptr<const Memtable> memtable;
};

bool find_in(const Memtable& memtable, std::string_view key, Sequence at, Version& newest) {
  const Memtable::Lookup found = memtable.get(key, at);
  if (found.found == Memtable::Lookup::Found::kNothing) return false;
  newest.sequence = found.sequence;
  newest.put = found.found == Memtable::Lookup::Found::kValue;
  newest.value = found.value;
  return true;
}

void take(RunReader::Lookup found, Version& newest) {
  newest.unread = found.found == RunReader::Lookup::Found::kUnread;
  if (found.found == RunReader::Lookup::Found::kNothing || found.sequence <= newest.sequence) return;
  newest.sequence = found.sequence;
  newest.put = found.found == RunReader::Lookup::Found::kValue;
  newest.block = std::move(found.block);
  newest.value = found.value;
}

/// The memtable that answers; null: none does.
const std::shared_ptr<Memtable>* find_in_memtables(const KeyspaceState& keyspace, std::string_view key, Sequence at,
                                                   Version& newest) {
  if (keyspace.active && find_in(*keyspace.active, key, at, newest)) return &keyspace.active;
  for (const auto& memtable : keyspace.frozen) {
    if (find_in(*memtable, key, at, newest)) return &memtable;
  }
  return nullptr;
}

using Hold = RunReader::Hold;
constexpr std::size_t kGetsAtOnce = 64;  // more would keep no device busier

/// With `fetch`, `newest.unread` when a block must be read first.
Status find_in_runs(const RunSet& runs, std::string_view key, Sequence at, Hold hold, Version& newest,
                    BlockFetch* fetch = nullptr) {
  for (const auto& run : runs.level0) {
    if (run->info.max_sequence <= newest.sequence) break;  // by highest sequence: the rest is older
    if (key < run->info.smallest_key || key > run->info.largest_key) continue;  // it need not even be loaded
    DARUMA_TRY_ASSIGN(RunReader::Lookup found, run->reader->get(key, at, hold, fetch));
    take(std::move(found), newest);
    if (newest.unread) return {};
  }
  for (const RunSet::Level& level : runs.levels) {
    if (newest.sequence != 0) break;  // whatever answered is newer than anything below
    const LiveRun* run = level.find(key);
    if (!run) continue;
    DARUMA_TRY_ASSIGN(RunReader::Lookup found, run->reader->get(key, at, hold, fetch));
    take(std::move(found), newest);
    if (newest.unread) return {};
  }
  return {};
}

/// Whether the newest version found is the answer.
Status judge(const State& state, std::uint32_t keyspace, std::string_view key, const Version& newest) {
  if (state.damage && !state.damage->empty()) {
    if (const DamageEntry* hurt = state.damage->blocks(keyspace, key, newest.sequence)) return lost(*hurt);
  }
  if (!newest.put) return {Code::kNotFound, "the key is not there"};
  return {};
}

}  // namespace

Result<std::string> Engine::get(std::uint32_t keyspace, std::string_view key, const View* view) const {
  EpochGuard guard;
  // The state first: its runs keep the versions that sequences visible from then on need, not those of earlier ones.
  const State& state = view ? *view->state_->state : *state_.load(std::memory_order_seq_cst);
  const Sequence at = view ? view->state_->sequence : visible_.load(std::memory_order_seq_cst);
  const KeyspaceState* in = keyspace == kCatalogKeyspace ? nullptr : state.find(keyspace);
  if (!in) return gone(keyspace);
  const Bulkhead::Place place(*in->bulkhead);
  if (place.refused()) [[unlikely]]
    return too_many_operations(*in);
  Version newest;
  if (!find_in_memtables(*in, key, at, newest)) DARUMA_TRY(find_in_runs(in->runs, key, at, Hold::kBorrow, newest));
  DARUMA_TRY(judge(state, keyspace, key, newest));
  return std::string(newest.value);
}

Result<PinnedValue> Engine::get_pinned(std::uint32_t keyspace, std::string_view key) const {
  EpochGuard guard;
  const State& state = *state_.load(std::memory_order_seq_cst);
  const Sequence at = visible_.load(std::memory_order_seq_cst);
  const KeyspaceState* in = keyspace == kCatalogKeyspace ? nullptr : state.find(keyspace);
  if (!in) return gone(keyspace);
  const Bulkhead::Place place(*in->bulkhead);
  if (place.refused()) [[unlikely]]
    return too_many_operations(*in);
  Version newest;
  const std::shared_ptr<Memtable>* memtable = find_in_memtables(*in, key, at, newest);
  if (!memtable) DARUMA_TRY(find_in_runs(in->runs, key, at, Hold::kShare, newest));
  DARUMA_TRY(judge(state, keyspace, key, newest));
  return PinnedValue(memtable ? new MemtablePin(*memtable) : newest.block.release(), newest.value);
}

Sequence Engine::newest_in_catalog(std::string_view key) const {
  const KeyspaceState& catalog = *current_->find(kCatalogKeyspace);
  Version newest;
  if (find_in_memtables(catalog, key, kMaxSequence, newest)) return newest.sequence;
  // What a run cannot give is in the damage map already.
  (void)find_in_runs(catalog.runs, key, kMaxSequence, Hold::kShare, newest);
  return newest.sequence;
}

/// As many gets at one read position; blocks that are not cached are read together.
std::vector<Result<std::string>> Engine::multi_get(std::uint32_t keyspace,
                                                   const std::vector<std::string_view>& keys) const {
  const View at = view();
  const State& state = *at.state_->state;
  const KeyspaceState* in = keyspace == kCatalogKeyspace ? nullptr : state.find(keyspace);
  if (!in) return std::vector<Result<std::string>>(keys.size(), gone(keyspace));
  const Bulkhead::Place place(*in->bulkhead);
  if (place.refused()) return std::vector<Result<std::string>>(keys.size(), too_many_operations(*in));
  std::vector<Result<std::string>> results;
  results.reserve(keys.size());
  while (results.size() < keys.size()) {
    EpochGuard guard;  // not over all of them: nothing that any thread gives up is freed meanwhile
    const auto some =
        std::span(keys).subspan(results.size()).first(std::min(kGetsAtOnce, keys.size() - results.size()));
    std::vector<Version> newest(some.size());
    std::vector<Status> failed(some.size());
    std::vector<std::size_t> open;
    for (std::size_t i = 0; i < some.size(); ++i) {
      if (!find_in_memtables(*in, some[i], at.sequence(), newest[i])) open.push_back(i);
    }
    BlockFetch fetch(*storage_);
    for (;;) {
      std::erase_if(open, [&](std::size_t i) {
        newest[i] = Version();
        failed[i] = find_in_runs(in->runs, some[i], at.sequence(), Hold::kBorrow, newest[i], &fetch);
        return !newest[i].unread;
      });
      if (open.empty()) break;
      fetch.read();
    }
    for (std::size_t i = 0; i < some.size(); ++i) {
      Status status = failed[i].ok() ? judge(state, keyspace, some[i], newest[i]) : failed[i];
      if (status.ok()) {
        results.emplace_back(std::string(newest[i].value));
      } else {
        results.emplace_back(std::move(status));
      }
    }
  }
  return results;
}

/// A state that did not change around the reading of the sequence holds every memtable and run that this sequence
/// needs: an event is visible only after its memtable is in the state, and no version is dropped before its state is
/// replaced.
View Engine::view() const {
  auto pinned = std::make_shared<View::State>();
  pinned->engine = shared_from_this();
  EpochGuard guard;
  for (const State* state = state_.load(std::memory_order_seq_cst);;) {
    pinned->sequence = visible_.load(std::memory_order_seq_cst);
    const State* after = state_.load(std::memory_order_seq_cst);
    if (after == state) {
      pinned->state = state->shared_from_this();
      break;
    }
    state = after;
  }
  View view;
  view.state_ = std::move(pinned);
  return view;
}

Result<Cursor> Engine::cursor(Keyspace keyspace, const CursorOptions& options) const {
  const View at = options.view ? *options.view : view();
  const KeyspaceState* in = keyspace.id() == kCatalogKeyspace ? nullptr : at.state_->state->find(keyspace.id());
  if (!in) return gone(keyspace.id());
  Bulkhead::Place place(*in->bulkhead);
  if (place.refused()) return too_many_operations(*in);
  std::vector<std::unique_ptr<EntrySource>> sources;
  std::vector<RangeErase> erases;
  const auto add_memtable = [&](const Memtable& memtable) {
    sources.push_back(memtable_source(memtable));
    for (auto& erase : memtable.range_erases()) erases.push_back(std::move(erase));
  };
  if (in->active) add_memtable(*in->active);
  for (const auto& memtable : in->frozen) add_memtable(*memtable);
  for (const auto& run : in->runs.level0) sources.push_back(run_source(*run->reader));
  for (const RunSet::Level& level : in->runs.levels) sources.push_back(level_source(level));
  Status failed;
  if (in->runs.range_erases)
    in->runs.for_each([&](std::uint32_t, const LiveRun& run) {
      if (run.info.erases == 0 || !failed.ok()) return;
      Result<std::vector<RangeErase>> of_run = run.reader->range_erases();
      failed = of_run.status();
      if (of_run.ok()) erases.insert(erases.end(), of_run->begin(), of_run->end());
    });
  DARUMA_TRY(failed);
  return Cursor(std::make_unique<CursorState>(at.state_, std::move(place), std::move(sources), std::move(erases),
                                              at.state_->state->damage, keyspace.id(), at.sequence(), options.lower,
                                              options.upper));
}

Result<Keyspace> Engine::keyspace(std::string_view name) const {
  EpochGuard guard;
  const State& state = *state_.load(std::memory_order_seq_cst);
  for (const auto& k : state.keyspaces) {
    if (k->id != kCatalogKeyspace && k->name == name) return Keyspace(k->id);
  }
  if (state.damage) {
    if (const DamageEntry* hurt = state.damage->touches(kCatalogKeyspace, "", std::nullopt)) return lost(*hurt);
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
  stats.snapshot_sequence = snapshot_sequence_.load(std::memory_order_relaxed);
  stats.memtable_bytes = memtable_bytes_.load(std::memory_order_relaxed);
  stats.checkpoints = checkpoints_.load(std::memory_order_relaxed);
  stats.compactions = compactions_.load(std::memory_order_relaxed);
  stats.compacted_bytes = compacted_bytes_.load(std::memory_order_relaxed);
  stats.healed_runs = healed_.load(std::memory_order_relaxed);
  stats.salvaged_runs = salvaged_.load(std::memory_order_relaxed);
  stats.read_only = options_.read_only || read_only_.load(std::memory_order_relaxed);
  if (!started_.load(std::memory_order_acquire)) {
    stats.durable_sequence = found_.durable;
    stats.log_bytes = found_.log_bytes;
  } else if (!wal_) {
    stats.durable_sequence = stats.sequence;
  } else {
    stats.durable_sequence = wal_->durable_sequence();
    stats.log_bytes = wal_->live_bytes();
    stats.background = wal_->broken();
    stats.log_copies = wal_->stats().copies;
  }
  stats.scrub_passes = scrub_passes_.load(std::memory_order_relaxed);
  {
    MutexLock lock(background_mutex_);
    stats.scrubbed = scrubbed_;
  }
  if (stats.background.ok()) stats.background = components_.worst();
  EpochGuard guard;
  const State& state = *state_.load(std::memory_order_seq_cst);
  if (state.damage) {
    for (const DamageEntry& entry : state.damage->entries()) stats.damage += !entry.accepted;
  }
  for (const auto& k : state.keyspaces) {
    stats.keyspaces += k->id != kCatalogKeyspace;
    k->runs.for_each([&](std::uint32_t, const LiveRun& run) {
      ++stats.runs;
      stats.run_bytes += run.info.file_bytes;
    });
  }
  return stats;
}

Result<KeyspaceStats> Engine::keyspace_stats(Keyspace keyspace) const {
  EpochGuard guard;
  const State& state = *state_.load(std::memory_order_seq_cst);
  const KeyspaceState* in = keyspace.id() == kCatalogKeyspace ? nullptr : state.find(keyspace.id());
  if (!in) return gone(keyspace.id());
  KeyspaceStats stats;
  const auto add = [&](const Memtable& memtable) {
    stats.memtable_entries += memtable.entries();
    stats.memtable_bytes += memtable.bytes();
  };
  if (in->active) add(*in->active);
  for (const auto& memtable : in->frozen) add(*memtable);
  in->runs.for_each([&](std::uint32_t level, const LiveRun& run) {
    stats.entries += run.info.entries;
    stats.tombstones += run.info.tombstones;
    ++stats.runs;
    stats.run_bytes += run.info.file_bytes;
    if (stats.runs_per_level.size() <= level) stats.runs_per_level.resize(level + 1);
    ++stats.runs_per_level[level];
  });
  add_bulkhead(state, *in, stats);
  return stats;
}

}  // namespace daruma
