// SPDX-License-Identifier: Apache-2.0
//
// What readers see: an immutable picture of where the versions of each keyspace are. Writers publish a new one; readers
// load it inside an EpochGuard and take no lock; views keep it by its shared_ptr.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "engine/bulkhead.h"
#include "memtable/memtable.h"
#include "recovery/damage_map.h"
#include "run/run_info.h"
#include "run/run_reader.h"
#include "snapshot/manifest.h"

namespace daruma {

/// A run in use; the file may be removed once no State and no view holds it.
struct LiveRun {
  RunInfo info;
  std::unique_ptr<RunReader> reader;
};

/// The runs of one keyspace in the order that reads ask them (placed_run.h).
struct RunSet {
  struct Level {
    std::uint32_t level = 0;
    std::vector<std::shared_ptr<LiveRun>> runs;  // by smallest key, no two overlap
    /// The run that may hold `key`; null: none.
    [[nodiscard]] const LiveRun* find(std::string_view key) const {
      auto it = std::upper_bound(runs.begin(), runs.end(), key,
                                 [](std::string_view k, const auto& run) { return k < run->info.smallest_key; });
      if (it == runs.begin()) return nullptr;
      const LiveRun* run = std::prev(it)->get();
      return key <= run->info.largest_key ? run : nullptr;
    }
  };
  std::vector<std::shared_ptr<LiveRun>> level0;  // may overlap; by highest sequence, newest first
  std::vector<Level> levels;                     // 1 and deeper, rising, those that hold runs
  bool range_erases = false;                     // a run has some

  template <typename Visit>
  void for_each(const Visit& visit) const {
    for (const auto& run : level0) visit(0U, *run);
    for (const Level& level : levels) {
      for (const auto& run : level.runs) visit(level.level, *run);
    }
  }
};

struct KeyspaceState {
  std::uint32_t id = 0;
  std::string name;
  /// Takes the writes; null while there are none since the last freeze, so that an idle keyspace costs nothing.
  std::shared_ptr<Memtable> active;
  /// Frozen and not yet in runs, newest first.
  std::vector<std::shared_ptr<Memtable>> frozen;
  RunSet runs;
  std::shared_ptr<Bulkhead> bulkhead = std::make_shared<Bulkhead>();  // one through all states
};

struct State : std::enable_shared_from_this<State> {
  std::vector<std::shared_ptr<const KeyspaceState>> keyspaces;  // by id
  std::shared_ptr<const DamageMap> damage;

  [[nodiscard]] const KeyspaceState* find(std::uint32_t id) const {
    auto it = std::lower_bound(keyspaces.begin(), keyspaces.end(), id,
                               [](const auto& k, std::uint32_t want) { return k->id < want; });
    return it != keyspaces.end() && (*it)->id == id ? it->get() : nullptr;
  }
};

inline constexpr std::uint32_t kCatalogKeyspace = 0;
/// Catalogue key under which the next free keyspace id stands.
inline constexpr std::uint32_t kNextIdKey = 0xFFFFFFFF;
/// No keyspace ever has this id. An erasure of the range from it to the id of a keyspace, in which no key can be, is
/// what the log says of a bulk load: it changes nothing, whoever replays it.
inline constexpr std::uint32_t kLoadedKey = kNextIdKey - 1;

/// Where the cursor stands, if nothing newer is known of the entry.
template <typename Cursor>
void add_newest(Catalog& catalog, const Cursor& cursor) {
  CatalogVersion& newest = catalog[std::string(cursor.key())];
  if (cursor.sequence() < newest.sequence) return;
  newest.sequence = cursor.sequence();
  newest.value = cursor.kind() == EntryKind::kPut ? std::optional(std::string(cursor.value())) : std::nullopt;
}

/// Catalogue keys: 4 bytes, big-endian, so that they sort by id.
inline std::string catalog_key(std::uint32_t id) {
  return {static_cast<char>(id >> 24), static_cast<char>(id >> 16), static_cast<char>(id >> 8), static_cast<char>(id)};
}
inline std::uint32_t catalog_id(std::string_view key) {
  std::uint32_t id = 0;
  for (const char c : key) id = (id << 8) | static_cast<std::uint8_t>(c);
  return id;
}

}  // namespace daruma
