// SPDX-License-Identifier: Apache-2.0
// Health: a store is walked through its levels, and back, by what happens to its directory.
#include "demo_healing/scenario.h"

namespace demo {

namespace fs = std::filesystem;
using daruma::Code;
using daruma::Durability;
using daruma::Health;
using daruma::HealthLevel;
using daruma::Options;
using daruma::Store;

bool play_health(Scene& scene) {
  Stage& stage = scene.stage;
  Options options;
  options.memtable_bytes = 1 << 20;
  options.recovery_budget = std::chrono::hours(1);
  const auto tell = [&](const Health& health) {
    stage.say("  level " + std::string(daruma::health_level_name(health.level)) + "; reads " +
              (health.reads.ok() ? "served" : health.reads.message()) + "; writes " +
              (health.writes.ok() ? "accepted" : "refused"));
    for (const daruma::HealthCheck& check : health.checks) {
      if (check.cause.ok()) continue;
      stage.say("  " + std::string(daruma::health_level_name(check.level)) + ": " + check.name + ": " +
                check.cause.message());
      stage.say("    the store by itself: " + check.action);
    }
  };
  const auto reaches = [&](Store& store, HealthLevel level, std::string_view name) {
    Health health;
    wait_until([&] { return (health = store.health()).level == level; });
    tell(health);
    const auto check = check_named(health, name);
    return name.empty() || (check && !check->cause.ok() && check->level == level);
  };

  fs::create_directories(scene.directory / "store" / "ballast" / "in the way");
  auto opened = must_open(scene, scene.store(), options);
  if (!opened) return false;
  Store& store = opened->store;
  const auto k = must_have_keyspace(scene, store, "k");
  if (!k) return false;
  stage.say("A directory stands where the ballast should: nothing is refused, but the next full disk will hurt more.");
  stage.check(reaches(store, HealthLevel::kMaintenance, "ballast"), "maintenance, because of the ballast");
  fs::remove_all(scene.directory / "store" / "ballast");
  stage.say("It is removed.");
  stage.check(reaches(store, HealthLevel::kHealthy, ""), "healthy, by itself");

  stage.say("The device behind runs/ goes away. Checkpoints are due, and fail.");
  Unplugged device(scene.directory / "store" / "runs");
  std::uint64_t written = 0;
  const std::string value(1000, 'v');
  daruma::Status put;
  const auto write = [&] {
    put = store.put(*k, "key" + std::to_string(written), value, {Durability::kProcess});
    written += put.ok();
    return put.ok();
  };
  wait_until([&] {
    while (store.stats().memtable_bytes < (900 << 10) && write()) {}
    const auto check = check_named(store.health(), "checkpoint");
    return check && !check->cause.ok();
  });
  stage.check(reaches(store, HealthLevel::kDegraded, "checkpoint"), "degraded: the next start will take longer");
  stage.say("The writes go on until memory is full of what cannot be written to runs.");
  wait_until([&] { return !write() && !store.health().writes.ok(); });
  stage.check(reaches(store, HealthLevel::kCritical, "memory"), "critical: writes are refused");
  stage.say("A put now: " + put.to_string());
  stage.check(!put.ok() && store.get(*k, "key0").ok() && store.health().reads.ok(), "reads are served all the time");

  stage.say("The device comes back.");
  device.plug_in();
  stage.check(reaches(store, HealthLevel::kHealthy, ""), "healthy, by itself");
  stage.check(write(), "puts are taken again");
  bool whole = true;
  for (std::uint64_t i = 0; i < written; ++i) whole = whole && store.get(*k, "key" + std::to_string(i)).ok();
  stage.check(whole, "all " + with_commas(written) + " acknowledged writes are there");
  return true;
}

}  // namespace demo
