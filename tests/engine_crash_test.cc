// SPDX-License-Identifier: Apache-2.0
//
// A scripted life of a store, killed at every operation that changes the disk.
//
// What is held after each crash: the state is the one after some number of steps, whole; no fewer than were
// acknowledged (for a power cut: with Durability::kPower, or by a later sync), and none that was not asked for.
// DARUMA_CRASH_SCALE multiplies the number of scripts; a failure prints script, point and kind of crash, which replay
// it.
#include "engine/engine.h"

#include <algorithm>
#include <cstdlib>
#include <map>

#include <engine_testing.h>
#include <gtest/gtest.h>

namespace daruma {
namespace {

using Model = std::map<std::string, std::map<std::string, std::string>>;  // keyspace, key, value
constexpr std::uint64_t kSteps = 16;

std::uint64_t scale() {
  const char* text = std::getenv("DARUMA_CRASH_SCALE");
  return text ? std::max<std::uint64_t>(1, std::strtoull(text, nullptr, 10)) : 1;
}

/// What the `i`-th step of a script does. It depends on the script, the step and the state before, and on nothing else.
struct Step {
  enum class Kind { kBatch, kCreate, kRename, kDrop, kCheckpoint, kBackground, kCompact, kSync } kind = Kind::kBatch;
  struct Change {
    std::string keyspace, key, value;  // value: or the end of the range
    enum class Kind { kPut, kErase, kEraseRange } kind = Kind::kPut;
  };
  std::vector<Change> changes;
  std::string from, to;  // of keyspaces
  bool power = true;
  bool async = false;
};

Step step_of(std::uint64_t script, std::uint64_t i, const Model& before) {
  Random random(script * 1'000'003 + i);
  Step step;
  step.power = script % 2 == 0 || random.one_in(3);
  step.async = script % 3 == 0 && random.one_in(2);
  std::vector<std::string> keyspaces;
  for (const auto& [name, map] : before) keyspaces.push_back(name);
  const std::uint64_t what = random.below(20);
  if (i == 0 || keyspaces.empty() || what == 0) {
    step.kind = Step::Kind::kCreate;
    step.to = "n" + std::to_string(i);
  } else if (what == 1) {
    step.kind = Step::Kind::kRename;
    step.from = keyspaces[random.below(keyspaces.size())];
    step.to = "r" + std::to_string(i);
  } else if (what == 2 && keyspaces.size() > 1) {
    step.kind = Step::Kind::kDrop;
    step.from = keyspaces[random.below(keyspaces.size())];
  } else if (what <= 6) {
    step.kind = Step::Kind::kCheckpoint;
  } else if (what <= 8) {
    step.kind = Step::Kind::kBackground;
  } else if (what == 9) {
    step.kind = Step::Kind::kCompact;
    step.from = keyspaces[random.below(keyspaces.size())];
  } else if (what == 10) {
    step.kind = Step::Kind::kSync;
  } else {
    for (std::uint64_t n = 1 + random.below(5); n > 0; --n) {
      Step::Change change;
      change.keyspace = keyspaces[random.below(keyspaces.size())];
      change.key = "k" + std::to_string(random.below(30));
      const std::uint64_t kind = random.below(10);
      if (kind == 0) {
        change.kind = Step::Change::Kind::kEraseRange;
        change.value = "k" + std::to_string(random.below(30));
      } else if (kind <= 2) {
        change.kind = Step::Change::Kind::kErase;
      } else {  // now and then more than the ring holds
        const std::uint64_t bytes = kind == 9 ? (random.one_in(12) ? 300'000 : 9000) : random.below(60);
        change.value.assign(bytes, static_cast<char>('a' + i % 26));
      }
      step.changes.push_back(std::move(change));
    }
  }
  return step;
}

void take_effect(const Step& step, Model& model) {
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

/// False as soon as the disk is dead, or anything is refused.
bool carry_out(const Step& step, Store& store) {
  switch (step.kind) {
    case Step::Kind::kCreate: return store.create_keyspace(step.to).ok();
    case Step::Kind::kRename: return store.rename_keyspace(*store.keyspace(step.from), step.to).ok();
    case Step::Kind::kDrop: return store.drop_keyspace(*store.keyspace(step.from)).ok();
    case Step::Kind::kCheckpoint: return store.checkpoint().ok();
    case Step::Kind::kBackground: return Engine::of(store).step().ok();
    case Step::Kind::kCompact: return store.compact(*store.keyspace(step.from)).ok();
    case Step::Kind::kSync: return store.sync().ok();
    case Step::Kind::kBatch: break;
  }
  Batch batch;
  for (const Step::Change& change : step.changes) {
    const Keyspace k = *store.keyspace(change.keyspace);
    switch (change.kind) {
      case Step::Change::Kind::kPut: batch.put(k, change.key, change.value); break;
      case Step::Change::Kind::kErase: batch.erase(k, change.key); break;
      case Step::Change::Kind::kEraseRange: batch.erase_range(k, change.key, change.value); break;
    }
  }
  if (step.async) return store.write_async(batch).ok();
  return store.write(batch, {.durability = step.power ? Durability::kPower : Durability::kProcess}).ok();
}

struct Life {
  std::uint64_t acknowledged = 0;  // steps that survive a kill
  std::uint64_t durable = 0;       // steps that survive a power cut
};

Life live(World& world, std::uint64_t script) {
  Life life;
  Result<Store::Opened> opened = world.open();
  if (!opened.ok()) return life;
  Model model;
  for (std::uint64_t i = 0; i < kSteps; ++i) {
    const Step step = step_of(script, i, model);
    if (!carry_out(step, opened->store)) return life;
    take_effect(step, model);
    life.acknowledged = i + 1;
    const bool waits =
        step.kind == Step::Kind::kBatch ? step.power && !step.async : step.kind != Step::Kind::kBackground;
    if (waits) life.durable = life.acknowledged;  // the log is durable in order
  }
  return life;
}

Model read_all(Store& store) {
  Model held;
  for (const KeyspaceInfo& info : store.keyspaces()) {
    auto& map = held[info.name];
    Result<Cursor> cursor = store.cursor(info.keyspace);
    EXPECT_TRUE(cursor.ok());
    for (cursor->seek_first(); cursor->valid(); cursor->next()) map.emplace(cursor->key(), cursor->value());
    EXPECT_TRUE(cursor->status().ok()) << cursor->status().to_string();
    for (const auto& [key, value] : map) EXPECT_EQ(*store.get(info.keyspace, key), value);
  }
  return held;
}

/// The store holds what some number of steps from `least` to `most` left.
void expect_between(World& world, std::uint64_t script, std::uint64_t least, std::uint64_t most) {
  RecoveryReport report;
  Store store = world.must_open(&report);
  EXPECT_TRUE(report.clean()) << report.to_json();
  const Model held = read_all(store);
  Model model;
  bool found = least == 0 && held.empty();
  for (std::uint64_t i = 0; i < std::min(most, kSteps) && !found; ++i) {
    take_effect(step_of(script, i, model), model);
    found = i + 1 >= least && held == model;
  }
  EXPECT_TRUE(found) << "no state after " << least << " to " << most << " steps\n" << report.to_json();
}

TEST(EngineCrash, EveryPointOfEveryScript) {
  std::uint64_t covered = 0;
  for (std::uint64_t script = 1; script <= 14 * scale(); ++script) {
    World counted;
    live(counted, script);
    const std::uint64_t points = counted.disk->operations();
    for (std::uint64_t point = 0; point < points; ++point) {
      for (int kind = 0; kind < 6; ++kind) {
        const bool half = kind % 2 == 1;
        const bool power = kind < 4;
        SCOPED_TRACE("script " + std::to_string(script) + ", point " + std::to_string(point) + ", kind " +
                     std::to_string(kind));
        World world;
        world.disk = std::make_shared<SimStorage>(SimStorageOptions{.seed = script * 1'000'000 + point * 8 + kind});
        world.disk->crash_at(point, half);
        const Life life = live(world, script);
        if (!power) {
          world.disk->kill();
        } else if (kind < 2) {
          world.disk->power_cut();
        } else {
          world.disk->power_cut(0);  // nothing that was not synced
        }
        expect_between(world, script, power ? life.durable : life.acknowledged, life.acknowledged + 1);
        ++covered;
        if (HasFailure()) return;
      }
    }
  }
  std::printf("crash points: %llu, violations: 0\n", static_cast<unsigned long long>(covered));
}

TEST(EngineCrash, RecoveryItselfAtEveryPointTwoDeep) {
  std::uint64_t covered = 0;
  for (std::uint64_t script = 101; script <= 100 + 3 * scale(); ++script) {
    World counted;
    live(counted, script);
    const std::uint64_t points = counted.disk->operations();
    for (std::uint64_t point = script % 5; point < points; point += 9) {
      World base;
      base.disk = std::make_shared<SimStorage>(SimStorageOptions{.seed = script * 1'000 + point});
      base.disk->crash_at(point, true);
      const Life life = live(base, script);
      base.disk->power_cut();
      for (std::uint64_t inner = 0;; ++inner) {
        SCOPED_TRACE("script " + std::to_string(script) + ", point " + std::to_string(point) + ", recovery at " +
                     std::to_string(inner));
        World world;
        world.disk = base.disk->clone(inner + 1);
        world.disk->crash_at(world.disk->operations() + inner, inner % 2 == 0);
        const bool whole = world.open().ok() && !world.disk->crashed();
        if (inner % 3 == 0) {
          world.disk->kill();
        } else {
          world.disk->power_cut();
        }
        world.disk->crash_at(world.disk->operations() + inner * 5 % 37, inner % 3 == 1);  // and the second recovery
        (void)world.open();
        world.disk->disarm();
        world.disk->power_cut();
        expect_between(world, script, life.durable, life.acknowledged + 1);
        ++covered;
        if (HasFailure()) return;
        if (whole) break;
      }
    }
  }
  std::printf("recoveries crashed: %llu, violations: 0\n", static_cast<unsigned long long>(covered));
}

}  // namespace
}  // namespace daruma
