// SPDX-License-Identifier: Apache-2.0
//
// Scripted lives of a store (crash_script.h), killed at every operation that changes the disk.
//
// What is held after each crash: the state is the one after some number of steps, whole; no fewer than were
// acknowledged (for a power cut: with Durability::kPower, or by a later sync), and none that was not asked for. The
// recovery is killed likewise, and the recovery of that.
//
// A life is lived once. At each crash point the simulated disk hands out an image of what a crash there leaves, with
// the operation not done and half done; each image ends several ways. Disks that are equal byte for byte recover alike,
// so one of them is enough. DARUMA_CRASH_SCALE multiplies the number of scripts; a failure prints where it was.
#include "engine/engine.h"

#include <cstdlib>
#include <unordered_map>

#include <crash_script.h>
#include <gtest/gtest.h>
#include <sanitized.h>

namespace daruma {
namespace {

std::uint64_t scale() {
  const char* text = std::getenv("DARUMA_CRASH_SCALE");
  return text ? std::max<std::uint64_t>(1, std::strtoull(text, nullptr, 10)) : 1;
}

using State = std::shared_ptr<const Model>;

/// What may be found after a crash.
struct Allowed {
  std::vector<State> states;  ///< after each acknowledged step
  std::size_t durable = 0;    ///< index of the oldest that a power cut may leave
  std::size_t kept = 0;       ///< likewise for a kill
  State next;                 ///< of the step that was under way; null: it changes nothing

  [[nodiscard]] bool holds(const Model& held, bool power) const {
    if (next && *next == held) return true;
    for (std::size_t i = power ? durable : kept; i < states.size(); ++i) {
      if (*states[i] == held) return true;
    }
    return false;
  }
};

struct Image {
  std::unique_ptr<SimStorage> disk;
  std::string where;
  std::size_t known = 0;  ///< number of acknowledged states at that moment
  std::size_t durable = 0;
  State next;
};

/// Collects an image before every crash point, undone and half done.
class Watcher {
 public:
  explicit Watcher(SimStorage& disk) : disk_(disk) {
    disk.on_crash_point([this](std::uint64_t operation, const SimStorage::CrashImage& image) {
      for (const bool half : {false, true}) {
        if (fewer_ && half != (operation % 2 == odd_)) continue;
        images.push_back({image(half, operation * 2 + half + 1),
                          "operation " + std::to_string(operation) + (half ? " half done" : ""), states, durable,
                          next});
      }
    });
  }
  ~Watcher() { disk_.on_crash_point({}); }
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;
  /// From now on every other operation is shown half done, the rest undone.
  void show_fewer(std::uint64_t odd) {
    fewer_ = true;
    odd_ = odd % 2;
  }

  std::vector<Image> images;
  std::size_t states = 1, durable = 0;
  State next;

 private:
  SimStorage& disk_;
  bool fewer_ = false;
  std::uint64_t odd_ = 0;
};

struct Count {
  std::uint64_t scripts = 0, points = 0, recoveries = 0, deepest = 0, equal = 0, violations = 0;
  void print(const char* what) const {
    const auto n = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
    std::printf(
        "%s: scripts %llu, crash points %llu, crashed recoveries %llu (three deep: %llu), equal disks %llu, "
        "violations %llu\n",
        what, n(scripts), n(points), n(recoveries), n(deepest), n(equal), n(violations));
  }
};

/// Lives the script once. False when something went wrong that no fault explains.
Allowed live(const Script& script, World& world, Watcher& watch) {
  Allowed life;
  life.states.push_back(std::make_shared<const Model>());
  std::optional<Store> store;
  {
    Result<Store::Opened> opened = world.open();
    EXPECT_TRUE(opened.ok()) << opened.status().to_string();
    if (!opened.ok()) return life;
    store = opened->store;
  }
  for (std::uint64_t i = 0; i < script.steps(); ++i) {
    const Step step = step_of(script, i, *life.states.back());
    auto next = std::make_shared<Model>(*life.states.back());
    take_effect(step, *next);
    watch.next = next;
    for (const Fault& fault : step.faults) world.disk->inject(fault);
    const Status done = carry_out(step, store, world);
    bool applied = done.ok();
    bool waited = step.waits();
    if (!done.ok()) {
      EXPECT_FALSE(step.faults.empty() && world.disk->faults_fired() == 0) << "step " << i << ": " << done.to_string();
      if (!store) break;  // a start that failed ends the life
      world.disk->clear_faults();
      if (!Engine::of(*store).step().ok()) {
        ADD_FAILURE() << "step " << i << ": the store does not come back: " << Engine::of(*store).step().to_string();
        break;
      }
      // It says so when it is not known whether the step happened: whichever it is, it is so for good.
      waited = store->sync().ok();
      applied = read_all(*store) == *next;
      if (!applied) { EXPECT_TRUE(read_all(*store) == *life.states.back()) << "step " << i << " happened in part"; }
    }
    if (applied) life.states.push_back(std::move(next));
    watch.next = nullptr;
    watch.states = life.states.size();
    if (waited) watch.durable = watch.states - 1;
  }
  life.durable = watch.durable;
  return life;
}

/// Recovers crashed disks and holds what is found against what may be.
class Recoveries {
 public:
  Recoveries(std::string what, Count& count, Options options = small())
      : what_(std::move(what)), count_(count), options_(std::move(options)) {}

  /// `disk` has crashed already. With `depth` its recovery is crashed at each of its points, that many deep.
  void try_out(SimStorage& disk, const Allowed& allowed, bool power, int depth, int level, const std::string& where) {
    disk.clear_faults();
    const std::uint64_t key = disk.fingerprint() * 2 + power;
    if (depth == 0) {
      if (const auto known = seen_.find(key); known != seen_.end()) {
        ++count_.equal;
        return judge(*known->second, allowed, power, where, "as an equal disk did");
      }
    }
    World world;
    world.seed = 1000 + static_cast<std::uint64_t>(level);
    world.options = options_;
    world.disk = std::shared_ptr<SimStorage>(&disk, [](SimStorage*) {});
    std::vector<Image> images;
    {
      std::optional<Watcher> watch;
      if (depth > 0) watch.emplace(disk).show_fewer(static_cast<std::uint64_t>(level) + depth);
      Result<Store::Opened> opened = world.open();
      if (watch) images = std::move(watch->images);
      watch.reset();
      if (!opened.ok()) return complain(where, opened.status().to_string());
      if (!opened->report.clean()) complain(where, opened->report.to_json());
      auto held = std::make_shared<const Model>(read_all(opened->store));
      judge(*held, allowed, power, where, opened->report.to_json());
      seen_.emplace(key, std::move(held));
    }
    std::uint64_t number = 0;
    for (Image& image : images) {
      // A kill keeps what it may; what a power cut may take is bounded by the crash before.
      const bool cut = ++number % 3 != 0;
      if (cut) {
        image.disk->power_cut(number % 5 == 0 ? 0 : 50);
      } else {
        image.disk->kill();
      }
      ++count_.recoveries;
      if (level == 2) ++count_.deepest;
      const int further = depth - 1 > 1 ? (number % 23 == 5 ? depth - 1 : 1) : depth - 1;
      std::string at = where;
      try_out(*image.disk, allowed, power || cut, further, level + 1,
              at.append("; recovery, ").append(image.where).append(cut ? ", power cut" : ", kill"));
    }
  }

 private:
  void judge(const Model& held, const Allowed& allowed, bool power, const std::string& where, const std::string& why) {
    if (!allowed.holds(held, power)) complain(where, "not a state between the acknowledged and the asked for\n" + why);
  }
  void complain(const std::string& where, const std::string& why) {
    if (++count_.violations <= 3) ADD_FAILURE() << what_ << ", " << where << ": " << why;
  }

  std::string what_;
  Count& count_;
  const Options options_;
  std::unordered_map<std::uint64_t, State> seen_;
};

std::string name_of(const Script& script) { return "script " + std::to_string(script.number); }

Allowed allowed_at(const Allowed& life, const Image& image) {
  Allowed allowed;
  allowed.states.assign(life.states.begin(), life.states.begin() + static_cast<std::ptrdiff_t>(image.known));
  allowed.durable = image.durable;
  allowed.kept = image.known - 1;
  allowed.next = image.next;
  return allowed;
}

TEST(EngineCrash, EveryPointOfEveryScript) {
  Count count;
  for (std::uint64_t number = 1; number <= (kSanitized ? 2 : 8) * scale(); ++number) {
    const Script script{number};
    World world;
    world.disk = std::make_shared<SimStorage>(SimStorageOptions{.seed = number, .sector_bytes = script.sector_bytes()});
    Watcher watch(*world.disk);
    const Allowed life = live(script, world, watch);
    ++count.scripts;
    Recoveries recoveries(name_of(script), count);
    for (Image& image : watch.images) {
      const Allowed allowed = allowed_at(life, image);
      for (int end = 0; end < 4; ++end) {
        const bool power = end > 0;
        const std::unique_ptr<SimStorage> disk = image.disk->clone(count.points + 1);
        if (power) {
          disk->power_cut(end == 1 ? 0 : end == 2 ? 50 : 80);  // 0: nothing that was not synced
        } else {
          disk->kill();
        }
        ++count.points;
        recoveries.try_out(*disk, allowed, power, 0, 0, image.where + ", end " + std::to_string(end));
      }
      image.disk.reset();
    }
    if (HasFailure()) break;
  }
  count.print("crashes");
}

void wipe(SimStorage& disk, const std::string& directory) {
  const std::vector<DirectoryEntry> entries = *disk.list(directory);
  for (const DirectoryEntry& entry : entries) ASSERT_TRUE(disk.remove(directory + "/" + entry.name).ok());
  ASSERT_TRUE(disk.sync_directory(directory).ok());
}

// The log stands twice, and with the crash one of the two directories is lost, with its ring.
TEST(EngineCrash, EveryPointWithTwoLogsOneOfWhichIsLost) {
  constexpr std::uint64_t kShare = kSanitized ? 12 : 4;
  Count count;
  for (std::uint64_t number = 1; number <= 8 * scale(); ++number) {
    const Script script{number};
    const bool faults = script.theme() == Theme::kFailOver || script.theme() == Theme::kFull;
    World world;
    world.disk = std::make_shared<SimStorage>(SimStorageOptions{.seed = number, .sector_bytes = script.sector_bytes()});
    world.options.wal_copies = 2;
    Watcher watch(*world.disk);
    const Allowed life = live(script, world, watch);
    ++count.scripts;
    Options once = world.options;
    once.wal_copies = 1;
    Recoveries twice_again(name_of(script) + ", two logs", count, world.options);
    Recoveries once_again(name_of(script) + ", then one log", count, once);
    for (Image& image : watch.images) {
      if (scale() == 1 && static_cast<std::uint64_t>(&image - watch.images.data()) % kShare != number % kShare)
        continue;
      const Allowed allowed = allowed_at(life, image);
      const int end = static_cast<int>(count.points % 6);
      const bool power = end % 3 != 0;
      if (power) {
        image.disk->power_cut(end % 3 == 1 ? 0 : 50);
      } else {
        image.disk->kill();
      }
      image.disk->clear_faults();
      // A directory that was left out for a fault is no copy.
      const std::string lost = count.points / 6 % 2 == 0 ? "store/wal" : "store/wal-copy";
      if (!faults && image.disk->list(lost).ok()) wipe(*image.disk, lost);
      ++count.points;
      (end < 3 ? twice_again : once_again)
          .try_out(*image.disk, allowed, power, 0, 0,
                   image.where + ", end " + std::to_string(end) + ", without " + lost);
      image.disk.reset();
    }
    if (HasFailure()) break;
  }
  count.print("two logs");
}

TEST(EngineCrash, RecoveryItselfAtEveryPointTwoDeep) {
  Count count;
  for (std::uint64_t number = 103; number <= 102 + 2 * scale(); ++number) {
    const Script script{number};
    World world;
    world.disk = std::make_shared<SimStorage>(SimStorageOptions{.seed = number, .sector_bytes = script.sector_bytes()});
    Watcher watch(*world.disk);
    const Allowed life = live(script, world, watch);
    ++count.scripts;
    Recoveries recoveries(name_of(script), count);
    // One moment of each life; another in every other life, so that ends of lives are met too.
    for (std::uint64_t moment = 0; moment <= number % 2; ++moment) {
      Image& image = watch.images[(number * 31 + moment * 57) % watch.images.size()];
      const bool power = (number + moment) % 2 == 0;
      if (power) {
        image.disk->power_cut();
      } else {
        image.disk->kill();
      }
      ++count.points;
      const int depth = moment == 1 ? 1 : number % 4 == 0 ? 3 : 2;
      recoveries.try_out(*image.disk, allowed_at(life, image), power, depth, 0, image.where);
    }
    if (HasFailure()) break;
  }
  count.print("recoveries");
}

/// Whether `path` holds `bytes`, and where.
std::optional<std::uint64_t> find_bytes(Storage& disk, const std::string& path, std::string_view bytes) {
  const std::string whole = *read_whole(disk, path, std::uint64_t{1} << 30);
  const std::size_t at = whole.find(bytes);
  return at == std::string::npos ? std::nullopt : std::optional<std::uint64_t>(at);
}

// An acknowledged event is beyond repair; the store is opened, the loss given up, and the power fails anywhere in that.
// The hurt key answers kDataLoss, or, once the loss may have been given up, its older value; nothing else moves.
TEST(EngineCrash, EveryPointOfAcceptingDamage) {
  Count count;
  count.scripts = 1;
  World world;
  {
    Store store = world.must_open();
    const Keyspace k = *store.create_keyspace("k");
    ASSERT_TRUE(store.put(k, "hurt", "older").ok());
    ASSERT_TRUE(store.put(k, "whole", "kept").ok());
    ASSERT_TRUE(store.checkpoint().ok());
    ASSERT_TRUE(store.put(k, "hurt", "the newest value of all").ok());
    ASSERT_TRUE(store.put(k, "later", "kept too").ok());
    ASSERT_TRUE(Engine::of(store).step().ok());
  }
  world.disk->power_cut();
  unsigned hurt = 0;
  const std::vector<DirectoryEntry> log = *world.disk->list("store/wal");
  for (const DirectoryEntry& entry : log) {
    const std::string path = "store/wal/" + entry.name;
    while (const auto at = find_bytes(*world.disk, path, "the newest value of all")) {  // each copy of it
      ASSERT_TRUE(world.disk->flip_bit(path, *at, 2).ok());
      ++hurt;
    }
  }
  ASSERT_GT(hurt, 0U);
  const auto expect_state = [](Store& store, bool may_be_accepted, bool accepted) {
    const Keyspace k = *store.keyspace("k");
    for (const auto& [key, value] : {std::pair("whole", "kept"), std::pair("later", "kept too")}) {
      const Result<std::string> got = store.get(k, key);
      ASSERT_TRUE(got.ok()) << key << ": " << got.status().to_string();
      EXPECT_EQ(*got, value);
    }
    const Result<std::string> got = store.get(k, "hurt");
    if (got.ok()) {
      EXPECT_TRUE(may_be_accepted);
      EXPECT_EQ(*got, "older");
    } else {
      EXPECT_FALSE(accepted);
      EXPECT_TRUE(got.status().is(Code::kDataLoss)) << got.status().to_string();
    }
  };
  Watcher watch(*world.disk);
  std::size_t before_accepting = 0;
  std::size_t accepted = 0;
  {
    Store store = world.must_open();
    const std::vector<DamageInfo> damage = store.damage();
    ASSERT_EQ(damage.size(), 1U);
    expect_state(store, false, false);
    before_accepting = watch.images.size();
    ASSERT_TRUE(store.accept_damage(damage[0].id).ok());
    accepted = watch.images.size();
    expect_state(store, true, true);
    ASSERT_TRUE(store.put(*store.keyspace("k"), "after", "x").ok());
    ASSERT_TRUE(store.checkpoint().ok());
  }
  ASSERT_LT(before_accepting, accepted);
  ASSERT_LT(accepted, watch.images.size());
  for (std::size_t i = 0; i < watch.images.size() && !HasFailure(); ++i) {
    for (const int end : {0, 1, 2}) {
      SCOPED_TRACE(watch.images[i].where + ", end " + std::to_string(end));
      World after;
      after.disk = watch.images[i].disk->clone(i * 3 + end);
      if (end == 0) {
        after.disk->kill();
      } else {
        after.disk->power_cut(end == 1 ? 0 : 50);
      }
      ++count.points;
      RecoveryReport report;
      Store store = after.must_open(&report);
      expect_state(store, i >= before_accepting, i >= accepted);
      if (HasFailure()) ADD_FAILURE() << report.to_text();
    }
  }
  count.violations = HasFailure();
  count.print("accepting damage");
}

}  // namespace
}  // namespace daruma
