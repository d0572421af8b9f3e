// SPDX-License-Identifier: Apache-2.0
//
// Scripted lives of a store. What the i-th step does depends on the script, the step and the state before, and on
// nothing else, so that a number replays a life.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <engine_testing.h>

namespace daruma {

/// Keyspace, key, value.
using Model = std::map<std::string, std::map<std::string, std::string>>;

/// What a script dwells on.
enum class Theme : std::uint8_t {
  kMixed,       ///< a bit of everything
  kRotation,    ///< the log fills segments, gives them back and recycles them
  kAroundRing,  ///< events that the ring cannot hold
  kFailOver,    ///< writes and syncs of the log and of jobs fail once
  kFull,        ///< the disk fills up and empties again
  kMerging,     ///< bulk loads, and compactions with several outputs
  kKeyspaces,   ///< made, renamed and dropped
  kRestarts,    ///< opened again and again without a crash
};
inline constexpr std::uint64_t kThemes = 8;

struct Script {
  std::uint64_t number = 0;
  [[nodiscard]] Theme theme() const { return static_cast<Theme>(number % kThemes); }
  [[nodiscard]] std::uint32_t sector_bytes() const { return number / kThemes % 2 == 0 ? 4096 : 512; }
  [[nodiscard]] std::uint64_t steps() const { return 20; }
};

struct Step {
  enum class Kind : std::uint8_t {
    kBatch,
    kLoad,
    kCreate,
    kRename,
    kDrop,
    kCheckpoint,
    kBackground,
    kCompact,
    kSync,
    kReopen,
  } kind = Kind::kBatch;
  struct Change {
    enum class Kind : std::uint8_t { kPut, kErase, kEraseRange } kind = Kind::kPut;
    std::string keyspace, key, value;  // value: or the end of the range
  };
  std::vector<Change> changes;
  std::string from, to;  // of keyspaces
  bool power = true;
  bool async = false;
  std::vector<Fault> faults;  // put upon the disk before the step

  /// Whether the log is durable up to this step when it returns.
  [[nodiscard]] bool waits() const { return kind == Kind::kBatch ? power && !async : kind != Kind::kBackground; }
};

inline Step::Change change_of(const Script& script, const std::string& keyspace, Random& random) {
  Step::Change change;
  change.keyspace = keyspace;
  const Theme theme = script.theme();
  const bool few = theme == Theme::kRotation || theme == Theme::kAroundRing;
  const std::uint64_t keys = few ? 5 : 30;
  change.key = "k" + std::to_string(random.below(keys));
  switch (random.below(10)) {
    case 0:
      change.kind = Step::Change::Kind::kEraseRange;
      change.value = "k" + std::to_string(random.below(keys));
      return change;
    case 1: change.kind = Step::Change::Kind::kErase; return change;
    default: break;
  }
  std::uint64_t bytes = random.below(60);
  switch (theme) {
    case Theme::kRotation: bytes = 20'000 + random.below(40'000); break;
    case Theme::kAroundRing: bytes = random.one_in(2) ? 66'000 + random.below(20'000) : random.below(9000); break;
    case Theme::kFull: bytes = random.one_in(3) ? 50'000 : bytes; break;
    case Theme::kMerging: bytes = 500 + random.below(2500); break;
    default: bytes = random.one_in(10) ? 9000 : bytes; break;
  }
  change.value = noise(bytes, random);
  return change;
}

inline std::vector<Fault> faults_of(const Script& script, Random& random) {
  if (!random.one_in(3)) return {};
  const unsigned skip = static_cast<unsigned>(random.below(4));
  const unsigned times = 1 + static_cast<unsigned>(random.below(2));
  const char* const where[] = {"wal/", "wal/", "runs/", "snapshots/"};
  const std::string path = where[random.below(4)];
  if (script.theme() == Theme::kFailOver) {
    constexpr FaultKind kKinds[] = {FaultKind::kSyncError, FaultKind::kWriteError, FaultKind::kShortWrite};
    return {{.kind = kKinds[random.below(3)], .path_contains = path, .skip = skip, .times = times}};
  }
  if (script.theme() == Theme::kFull)
    return {{.kind = FaultKind::kNoSpace, .path_contains = path, .skip = skip % 2, .times = times}};
  return {};
}

inline Step step_of(const Script& script, std::uint64_t i, const Model& before) {
  Random random(script.number * 1'000'003 + i);
  Step step;
  step.power = script.number % 2 == 0 || random.one_in(3);
  step.async = script.number % 3 == 0 && random.one_in(2);
  if (i > 2) step.faults = faults_of(script, random);
  std::vector<std::string> keyspaces;
  for (const auto& [name, map] : before) keyspaces.push_back(name);
  const auto any = [&] { return keyspaces[random.below(keyspaces.size())]; };
  const Theme theme = script.theme();
  const auto in = [&](Theme wanted, std::uint64_t percent) { return theme == wanted && random.percent(percent); };
  const std::uint64_t what = random.below(22);
  if (i == 0 || keyspaces.empty() || what == 0 || in(Theme::kKeyspaces, 15)) {
    step.kind = Step::Kind::kCreate;
    step.to = "n" + std::to_string(i);
  } else if (what == 1) {
    step.kind = Step::Kind::kRename;
    step.from = any();
    step.to = "r" + std::to_string(i);
  } else if (keyspaces.size() > 1 && (what == 2 || in(Theme::kKeyspaces, 15))) {
    step.kind = Step::Kind::kDrop;
    step.from = any();
  } else if (what <= 6 || in(Theme::kRotation, 10)) {
    step.kind = Step::Kind::kCheckpoint;
  } else if (what <= 8) {
    step.kind = Step::Kind::kBackground;
  } else if (what == 9 || in(Theme::kMerging, 15)) {
    step.kind = Step::Kind::kCompact;
    step.from = any();
  } else if (what == 10) {
    step.kind = Step::Kind::kSync;
  } else if (what == 11 || in(Theme::kRestarts, 20)) {
    step.kind = Step::Kind::kReopen;
  } else if (in(Theme::kMerging, 20)) {
    step.kind = Step::Kind::kLoad;
    const std::string keyspace = any();
    std::map<std::string, std::string> records;
    for (std::uint64_t n = random.below(20); n > 0; --n)
      records["k" + std::to_string(random.below(30))] = noise(500 + random.below(2500), random);
    for (const auto& [key, value] : records)
      step.changes.push_back({.kind = Step::Change::Kind::kPut, .keyspace = keyspace, .key = key, .value = value});
    step.from = keyspace;
  } else {
    std::uint64_t n = 1 + random.below(theme == Theme::kMerging ? 12 : 5);
    if (theme == Theme::kAroundRing) n = 1 + random.below(2);
    for (; n > 0; --n) step.changes.push_back(change_of(script, any(), random));
  }
  return step;
}

inline void take_effect(const Step& step, Model& model) {
  switch (step.kind) {
    case Step::Kind::kCreate: model[step.to]; break;
    case Step::Kind::kRename: {
      auto node = model.extract(step.from);
      node.key() = step.to;
      model.insert(std::move(node));
      break;
    }
    case Step::Kind::kDrop: model.erase(step.from); break;
    case Step::Kind::kBatch:
    case Step::Kind::kLoad:
      for (const Step::Change& change : step.changes) {
        auto& map = model[change.keyspace];
        switch (change.kind) {
          case Step::Change::Kind::kPut: map[change.key] = change.value; break;
          case Step::Change::Kind::kErase: map.erase(change.key); break;
          case Step::Change::Kind::kEraseRange:
            if (change.key < change.value) map.erase(map.lower_bound(change.key), map.lower_bound(change.value));
            break;
        }
      }
      break;
    default: break;
  }
}

inline Status carry_out(const Step& step, std::optional<Store>& store, World& world) {
  switch (step.kind) {
    case Step::Kind::kCreate: return store->create_keyspace(step.to).status();
    case Step::Kind::kRename: return store->rename_keyspace(*store->keyspace(step.from), step.to);
    case Step::Kind::kDrop: return store->drop_keyspace(*store->keyspace(step.from));
    case Step::Kind::kCheckpoint: return store->checkpoint();
    case Step::Kind::kBackground: return Engine::of(*store).step();
    case Step::Kind::kCompact: return store->compact(*store->keyspace(step.from));
    case Step::Kind::kSync: return store->sync();
    case Step::Kind::kReopen: {
      store.reset();
      Result<Store::Opened> opened = world.open();
      if (opened.ok()) store = opened->store;
      return opened.status();
    }
    case Step::Kind::kLoad: {
      auto next = step.changes.begin();
      const auto source = [&](std::string_view& key, std::string_view& value) -> Result<bool> {
        if (next == step.changes.end()) return false;
        key = next->key;
        value = next++->value;
        return true;
      };
      return store->bulk_load(*store->keyspace(step.from), source).status();
    }
    case Step::Kind::kBatch: break;
  }
  Batch batch;
  for (const Step::Change& change : step.changes) {
    const Keyspace k = *store->keyspace(change.keyspace);
    switch (change.kind) {
      case Step::Change::Kind::kPut: batch.put(k, change.key, change.value); break;
      case Step::Change::Kind::kErase: batch.erase(k, change.key); break;
      case Step::Change::Kind::kEraseRange: batch.erase_range(k, change.key, change.value); break;
    }
  }
  if (step.async) return store->write_async(batch).status();
  return store->write(batch, {.durability = step.power ? Durability::kPower : Durability::kProcess}).status();
}

/// All that a store holds, by cursor; also asked key by key.
inline Model read_all(Store& store) {
  Model held;
  for (const KeyspaceInfo& info : store.keyspaces()) {
    auto& map = held[info.name];
    Result<Cursor> cursor = store.cursor(info.keyspace);
    EXPECT_TRUE(cursor.ok()) << cursor.status().to_string();
    if (!cursor.ok()) continue;
    for (cursor->seek_first(); cursor->valid(); cursor->next()) map.emplace(cursor->key(), cursor->value());
    EXPECT_TRUE(cursor->status().ok()) << cursor->status().to_string();
    for (const auto& [key, value] : map) {
      const Result<PinnedValue> got = store.get_pinned(info.keyspace, key);
      EXPECT_TRUE(got.ok()) << got.status().to_string();
      if (got.ok()) { EXPECT_EQ(got->view(), value); }
    }
  }
  return held;
}

}  // namespace daruma
