// SPDX-License-Identifier: Apache-2.0
// heals-alone and bounded-start: what the store does about its own failures while it runs, on a simulated disk.
#include "engine/engine.h"

#include <engine_testing.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <wal/wal_format.h>

namespace daruma {
namespace {

using ::testing::HasSubstr;

struct Heard : EventListener {
  std::vector<HealthLevel> levels;
  std::vector<Incident> incidents;
  std::vector<Incident> escalations;
  void on_health(const Health& health) override { levels.push_back(health.level); }
  void on_incident(const Incident& incident) override { incidents.push_back(incident); }
  void on_escalation(const Incident& incident) override { escalations.push_back(incident); }
};

const HealthCheck& check(const Health& health, std::string_view name) {
  const auto it =
      std::find_if(health.checks.begin(), health.checks.end(), [&](const HealthCheck& c) { return c.name == name; });
  EXPECT_NE(it, health.checks.end()) << name;
  return *it;
}

constexpr std::uint64_t kPlenty = std::uint64_t{1} << 30;

std::int64_t open_ns(const RecoveryDebt& debt) {
  // With nothing to replay the estimate is what it costs to open.
  const double rate = static_cast<double>(RecoveryBudget::kLeastBytes) - static_cast<double>(debt.replay_bytes);
  const double slope = static_cast<double>(debt.achievable_min_ns - debt.estimated_ns) / rate;
  return debt.estimated_ns - static_cast<std::int64_t>(slope * static_cast<double>(debt.replay_bytes));
}

ComponentInfo component(const Store& store, std::string_view name) {
  for (ComponentInfo& info : store.components()) {
    if (info.name == name) return info;
  }
  ADD_FAILURE() << "no component " << name;
  return {};
}

class EngineHealth : public ::testing::Test {
 protected:
  void SetUp() override {
    world_.options.listener = heard_;
    world_.disk->set_capacity(kPlenty);
  }
  Store open() {
    Store store = world_.must_open();
    if (const auto k = store.keyspace("k"); k.ok()) {
      keyspace_ = *k;
    } else {
      keyspace_ = *store.create_keyspace("k");
    }
    return store;
  }
  static Status step(Store& store) { return Engine::of(store).step(); }
  void fill(Store& store, int from, int to, std::size_t bytes = 1000) {
    for (int i = from; i < to; ++i) {
      const std::string key = "key" + std::to_string(i);
      const Status put = store.put(keyspace_, key, std::string(bytes, static_cast<char>('a' + i % 26)));
      ASSERT_TRUE(put.ok()) << put.to_string();
      model_[key] = std::string(bytes, static_cast<char>('a' + i % 26));
    }
  }
  void expect_all_right(const Store& store) {
    for (const auto& [key, value] : model_) ASSERT_EQ(*store.get(keyspace_, key), value) << key;
  }
  void fail(FaultKind kind, const std::string& where) {
    world_.disk->inject({.kind = kind, .path_contains = where, .skip = 0, .times = 0});
  }
  World world_;
  std::shared_ptr<Heard> heard_ = std::make_shared<Heard>();
  Keyspace keyspace_;
  std::map<std::string, std::string> model_;
};

TEST_F(EngineHealth, AStoreAtPeaceIsHealthy) {
  Store store = open();
  ASSERT_TRUE(step(store).ok());
  const Health health = store.health();
  EXPECT_EQ(health.level, HealthLevel::kHealthy) << health.to_json();
  EXPECT_TRUE(health.reads.ok() && health.writes.ok());
  EXPECT_EQ(health.checks.front().level, HealthLevel::kCritical);
  EXPECT_EQ(health.checks.back().level, HealthLevel::kMaintenance);
  for (const HealthCheck& each : health.checks) {
    EXPECT_TRUE(each.cause.ok()) << each.name;
    EXPECT_NE(each.action, "") << each.name;
  }
}

// --- breakers ---

TEST_F(EngineHealth, ACheckpointThatFailsRestsAndComesBack) {
  Store store = open();
  fill(store, 0, 10);
  fail(FaultKind::kWriteError, "runs");
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(store.checkpoint().is(Code::kIoError));
  EXPECT_EQ(component(store, "checkpoint").breaker, "open");
  const std::uint64_t fired = world_.disk->faults_fired();
  const Status refused = store.checkpoint();
  EXPECT_TRUE(refused.is(Code::kUnavailable)) << refused.to_string();
  EXPECT_THAT(refused.message(), HasSubstr("simulated write error"));
  EXPECT_EQ(world_.disk->faults_fired(), fired) << "an open breaker leaves the device alone";
  fill(store, 10, 20);  // writes do not mind

  world_.clock.advance(60'000'000'000);
  const Status probed = store.checkpoint();
  EXPECT_TRUE(probed.is(Code::kIoError));
  EXPECT_THAT(probed.where().file, HasSubstr("probe")) << "half open: no more than that is tried first";
  EXPECT_EQ(component(store, "checkpoint").breaker, "open");
  world_.disk->clear_faults();
  EXPECT_TRUE(store.checkpoint().is(Code::kUnavailable)) << "rests again";
  world_.clock.advance(60'000'000'000);
  EXPECT_TRUE(store.checkpoint().ok());
  EXPECT_EQ(component(store, "checkpoint").breaker, "closed");
  EXPECT_EQ(component(store, "checkpoint").breaker_opened, 1U);
  expect_all_right(store);
}

TEST_F(EngineHealth, WritersFailFastWhileNoCheckpointCanBeMade) {
  Store store = open();
  fail(FaultKind::kWriteError, "runs");
  Status status;
  for (int i = 0; i < 4000 && status.ok(); ++i)
    status = store.put(keyspace_, "k" + std::to_string(i), std::string(1000, 'x'));
  ASSERT_FALSE(status.ok()) << "memory was to run out";
  for (int i = 0; i < 3; ++i) status = store.put(keyspace_, "k", "v");
  EXPECT_TRUE(status.is(Code::kUnavailable)) << status.to_string();
  EXPECT_THAT(status.message(), HasSubstr("checkpoint rests"));
  const Health health = store.health();
  EXPECT_EQ(health.level, HealthLevel::kCritical);
  EXPECT_FALSE(health.writes.ok());
  EXPECT_TRUE(health.reads.ok());
  EXPECT_FALSE(check(health, "memory").cause.ok());
  world_.disk->clear_faults();
  for (int i = 0; i < 3; ++i) (void)step(store);
  EXPECT_TRUE(store.put(keyspace_, "k", "v").ok());
  EXPECT_EQ(store.health().level, HealthLevel::kHealthy) << store.health().to_json();
}

// --- playbooks ---

TEST_F(EngineHealth, AWorkerThatKeepsFailingIsRebootedAndThenItEscalates) {
  Store store = open();
  fill(store, 0, 10);
  fail(FaultKind::kWriteError, "runs");
  for (int i = 0; i < 3; ++i) (void)store.checkpoint();
  (void)step(store);
  ASSERT_EQ(heard_->incidents.size(), 1U);
  const Incident& incident = heard_->incidents.front();
  EXPECT_EQ(incident.failure, "worker_failing");
  EXPECT_EQ(incident.component, "checkpoint");
  ASSERT_EQ(incident.steps.size(), 3U);
  EXPECT_EQ(incident.steps[1].name, "reboot the worker");
  EXPECT_EQ(incident.steps[1].outcome, "done");
  EXPECT_EQ(incident.outcome, "resolved") << "nothing is left to do for the worker: the memtables are not full";
  EXPECT_EQ(component(store, "checkpoint").reboots, 1U);
}

TEST_F(EngineHealth, WhatAPlaybookCannotEndIsToldOnceUntilItIsOver) {
  Store store = open();
  fail(FaultKind::kWriteError, "wal");
  for (int i = 0; i < 5; ++i) (void)store.put(keyspace_, "k", std::string(1000, 'x'));
  for (int i = 0; i < 6; ++i) (void)step(store);
  ASSERT_EQ(heard_->escalations.size(), 1U) << "not again and again";
  EXPECT_EQ(heard_->escalations.front().failure, "log_down");
  Health health = store.health();
  EXPECT_EQ(health.level, HealthLevel::kCritical);
  EXPECT_FALSE(check(health, "playbook").cause.ok());
  world_.disk->clear_faults();
  for (int i = 0; i < 3; ++i) (void)step(store);
  health = store.health();
  EXPECT_EQ(health.level, HealthLevel::kHealthy) << health.to_json();
  EXPECT_EQ(heard_->levels.back(), HealthLevel::kHealthy);
  fail(FaultKind::kWriteError, "wal");
  for (int i = 0; i < 5; ++i) (void)store.put(keyspace_, "k", std::string(1000, 'x'));
  for (int i = 0; i < 6; ++i) (void)step(store);
  EXPECT_EQ(heard_->escalations.size(), 2U) << "a new failure is told anew";
}

TEST_F(EngineHealth, HistoryIsKeptStepByStep) {
  Store store = open();
  fill(store, 0, 5);
  Result<Incident> incident = store.run_playbook("no_space");
  ASSERT_TRUE(incident.ok()) << incident.status().to_string();
  EXPECT_EQ(incident->outcome, "resolved");
  const Result<std::string> kept = read_whole(*world_.disk, "store/recoveries/" + incident_file(incident->id), 1 << 20);
  ASSERT_TRUE(kept.ok());
  EXPECT_EQ(*kept, incident->to_json());
  EXPECT_TRUE(store.run_playbook("nonsense").status().is(Code::kNotFound));
  world_.disk->power_cut(0);
  EXPECT_EQ(*read_whole(*world_.disk, "store/recoveries/" + incident_file(incident->id), 1 << 20), *kept) << "durable";
}

TEST_F(EngineHealth, AUsersStepHasItsTurnWhenTheStoresOwnDidNotEndIt) {
  std::vector<std::string> order;
  PlaybookExtension mine{"log_down", {}};
  PlaybookStep skipped{.name = "skipped"};
  skipped.pre_check = [](const Incident&) { return false; };
  skipped.execute = [&](const Incident&) { return order.push_back("skipped"), Status(); };
  PlaybookStep failing{.name = "call for help"};
  failing.execute = [&](const Incident&) -> Status {
    order.push_back("failing");
    return {Code::kUnavailable, "nobody answers"};
  };
  PlaybookStep unverified{.name = "unplug and plug"};
  unverified.execute = [&](const Incident&) { return order.push_back("unverified"), Status(); };
  unverified.verify = [&](const Incident&) -> Status { return {Code::kUnavailable, "still dark"}; };
  PlaybookStep mending{.name = "mend the cable"};
  mending.execute = [&](const Incident&) -> Status {
    order.push_back("mending");
    world_.disk->clear_faults();
    return {};
  };
  mine.steps = {skipped, failing, unverified, mending};
  world_.options.playbooks = {mine};
  Store store = open();
  fail(FaultKind::kWriteError, "wal");
  for (int i = 0; i < 5; ++i) (void)store.put(keyspace_, "k", std::string(1000, 'x'));
  for (int i = 0; i < 4; ++i) (void)step(store);
  EXPECT_EQ(order, (std::vector<std::string>{"failing", "unverified", "mending"}));
  ASSERT_FALSE(heard_->incidents.empty());
  const Incident& incident = heard_->incidents.front();
  EXPECT_EQ(incident.outcome, "resolved") << incident.to_json();
  ASSERT_GE(incident.steps.size(), 4U);
  const auto mine_from = incident.steps.end() - 4;
  EXPECT_EQ(mine_from[0].outcome, "skipped");
  EXPECT_EQ(mine_from[1].outcome, "failed");
  EXPECT_EQ(mine_from[2].outcome, "failed");
  EXPECT_EQ(mine_from[2].status.message(), "still dark");
  EXPECT_EQ(mine_from[3].outcome, "done");
  EXPECT_TRUE(heard_->escalations.empty());
}

TEST_F(EngineHealth, LostDataIsAnIncidentUntilSomebodyBringsItBack) {
  PlaybookExtension refetch{"data_lost", {}};
  Store* at_hand = nullptr;
  PlaybookStep step_of_mine{.name = "refetch from upstream"};
  step_of_mine.execute = [&](const Incident&) -> Status {
    for (const auto& [key, value] : model_) {
      if (Status put = at_hand->put(keyspace_, key, value); !put.ok()) return put;
    }
    for (const DamageInfo& damage : at_hand->damage()) {
      if (Status accepted = at_hand->accept_damage(damage.id); !accepted.ok()) return accepted;
    }
    return {};
  };
  refetch.steps = {step_of_mine};
  world_.options.playbooks = {refetch};
  {
    Store store = open();
    fill(store, 0, 200);
    ASSERT_TRUE(store.compact(keyspace_).ok());
    ASSERT_TRUE(store.trim().ok());
  }
  world_.disk->kill();
  const auto runs = contents(*world_.disk, "store/runs");
  for (const auto& [path, bytes] : runs) ASSERT_TRUE(world_.disk->remove(path).ok());
  Store store = open();
  at_hand = &store;
  EXPECT_EQ(store.health().level, HealthLevel::kDegraded);
  EXPECT_TRUE(store.health().reads.is(Code::kDataLoss));
  for (int i = 0; i < 3; ++i) (void)step(store);
  ASSERT_FALSE(heard_->incidents.empty());
  EXPECT_EQ(heard_->incidents.front().failure, "data_lost");
  EXPECT_EQ(heard_->incidents.front().outcome, "resolved") << heard_->incidents.front().to_json();
  EXPECT_EQ(store.health().level, HealthLevel::kHealthy) << store.health().to_json();
  keyspace_ = *store.keyspace("k");
  expect_all_right(store);
}

// --- space ---

TEST_F(EngineHealth, AFullDeviceRefusesPutsBeforeTheLogBreaksAndTakesThemAgain) {
  world_.options.ballast_bytes = 512 << 10;
  Store store = open();
  ASSERT_TRUE(step(store).ok());
  fill(store, 0, 50);
  EXPECT_TRUE(stands_as_file(*world_.disk, "store", "ballast"));
  const std::uint64_t used = kPlenty - *world_.disk->free_bytes("store");
  const auto newest_log = [this] {
    const Result<std::vector<DirectoryEntry>> files = world_.disk->list("store/wal");
    std::string newest;
    for (const DirectoryEntry& file : *files) {
      if (parse_segment_name(file.name)) newest = std::max(newest, file.name);
    }
    return newest;
  };
  const std::string log = newest_log();
  world_.disk->set_capacity(used + (64 << 10));  // somebody else has filled the device
  (void)step(store);
  EXPECT_EQ(newest_log(), log) << "a smaller one beside it would not fit, and is not tried";
  EXPECT_FALSE(stands_as_file(*world_.disk, "store", "ballast")) << "given back";
  EXPECT_TRUE(store.put(keyspace_, "new", "value").is(Code::kNoSpace));
  const Status erased = store.erase(keyspace_, "key7");
  EXPECT_TRUE(erased.ok()) << "the log is not broken: " << erased.to_string();
  model_.erase("key7");
  EXPECT_TRUE(store.get(keyspace_, "key7").status().is(Code::kNotFound));
  EXPECT_EQ(store.health().level, HealthLevel::kCritical);
  EXPECT_TRUE(store.health().writes.is(Code::kNoSpace));
  expect_all_right(store);

  world_.disk->set_capacity(kPlenty);
  (void)step(store);
  EXPECT_TRUE(store.put(keyspace_, "new", "value").ok());
  (void)step(store);
  EXPECT_TRUE(stands_as_file(*world_.disk, "store", "ballast")) << "taken again";
  EXPECT_EQ(store.health().level, HealthLevel::kHealthy) << store.health().to_json();
}

TEST_F(EngineHealth, ADeviceThatFillsBetweenTwoLooksDoesNotBreakTheLog) {
  world_.options.ballast_bytes = 2 << 20;
  Store store = open();
  ASSERT_TRUE(step(store).ok());
  fill(store, 0, 50);
  world_.disk->set_capacity(kPlenty - *world_.disk->free_bytes("store"));  // to the last byte, and nobody looks
  Status put;
  for (int i = 0; put.ok() && i < 5000; ++i) {
    const std::string key = "key" + std::to_string(i);
    put = store.put(keyspace_, key, std::string(1000, 'f'));
    if (put.ok()) model_[key] = std::string(1000, 'f');
  }
  EXPECT_TRUE(put.is(Code::kNoSpace)) << "before the log breaks: " << put.to_string();
  const Status erased = store.erase(keyspace_, "key7");
  EXPECT_TRUE(erased.ok()) << erased.to_string();
  model_.erase("key7");
  EXPECT_FALSE(stands_as_file(*world_.disk, "store", "ballast"));
  expect_all_right(store);
  world_.disk->set_capacity(kPlenty);
  (void)step(store);
  EXPECT_TRUE(store.put(keyspace_, "new", "value").ok());
}

TEST_F(EngineHealth, AStartOnAFullDeviceHasTheBallastToBeginALog) {
  world_.options.ballast_bytes = 2 << 20;
  {
    Store store = open();
    fill(store, 0, 50);
    ASSERT_TRUE(step(store).ok());
    ASSERT_TRUE(stands_as_file(*world_.disk, "store", "ballast"));
  }
  world_.disk->kill();
  world_.disk->set_capacity(kPlenty - *world_.disk->free_bytes("store"));  // to the last byte
  Store store = open();
  expect_all_right(store);
  EXPECT_FALSE(store.stats().read_only);
  EXPECT_TRUE(store.erase(keyspace_, "key1").ok());
}

// --- recovery budget ---

TEST_F(EngineHealth, CheckpointsAreMadeBeforeTheDebtIsOverTheBudget) {
  world_.options.memtable_bytes = 64 << 20;
  world_.options.recovery_budget = std::chrono::milliseconds(50);
  Store store = open();
  // As assumed until a start has measured, 200 MB/s and 10 ms: 6 MB wait, and half of that begins a checkpoint.
  fill(store, 0, 2000);
  (void)step(store);
  EXPECT_EQ(store.stats().checkpoints, 0U);
  const RecoveryDebt debt = store.health().debt;
  EXPECT_GT(debt.replay_bytes, 2'000'000U);
  EXPECT_EQ(debt.replay_events, 2001U);
  EXPECT_GT(debt.estimated_ns, debt.budget_ns / 5);
  EXPECT_LT(debt.estimated_ns, debt.budget_ns);
  fill(store, 2000, 4000);
  (void)step(store);
  EXPECT_EQ(store.stats().checkpoints, 1U);
  ASSERT_EQ(store.health().debt.replay_bytes, 0U);
  fill(store, 4000, 12000);  // nobody paces them: writers make the checkpoint themselves
  EXPECT_GE(store.stats().checkpoints, 2U);
  EXPECT_LE(store.health().debt.estimated_ns, store.health().debt.budget_ns);
  expect_all_right(store);
}

TEST_F(EngineHealth, WhatStartsCostIsRememberedByTheSnapshot) {
  world_.options.memtable_bytes = 64 << 20;
  {
    Store store = open();
    fill(store, 0, 900, 2000);
    ASSERT_GT(store.health().debt.replay_bytes, RecoveryBudget::kLeastBytes);
  }
  world_.disk->kill();
  RecoveryDebt measured;
  {
    Store store = open();  // has enough to replay to tell a rate
    measured = store.health().debt;
    EXPECT_GT(measured.replay_bytes, RecoveryBudget::kLeastBytes);
    ASSERT_TRUE(store.checkpoint().ok());
  }
  world_.disk->kill();
  Store store = open();  // has nothing to replay
  const RecoveryDebt debt = store.health().debt;
  EXPECT_EQ(debt.replay_bytes, 0U);
  const auto least_ns = static_cast<double>(debt.achievable_min_ns - debt.estimated_ns);
  EXPECT_NEAR(least_ns, static_cast<double>(measured.achievable_min_ns - open_ns(measured)), least_ns / 50)
      << "the same rate";
}

TEST_F(EngineHealth, ABudgetThatCannotBeMetIsTold) {
  world_.options.recovery_budget = std::chrono::milliseconds(50);
  (void)open();
  world_.disk->kill();
  world_.clock = ManualClock(1'700'000'001'000'000'000, 20'000'000);  // whatever is done takes long
  Store store = open();
  const Health health = store.health();
  EXPECT_FALSE(check(health, "recovery budget").cause.ok());
  EXPECT_EQ(health.level, HealthLevel::kDegraded);
  EXPECT_THAT(check(health, "recovery budget").cause.message(), HasSubstr("even an empty log"));
}

// --- microreboots ---

TEST_F(EngineHealth, AKeyspaceThatIsRebootedIsWhatTheDiskHas) {
  Store store = open();
  fill(store, 0, 100);
  ASSERT_TRUE(store.checkpoint().ok());
  fill(store, 100, 200);
  ASSERT_TRUE(store.erase(keyspace_, "key3").ok());
  ASSERT_TRUE(store.erase_range(keyspace_, "key15", "key16").ok());
  std::erase_if(model_, [](const auto& e) { return e.first == "key3" || (e.first >= "key15" && e.first < "key16"); });
  const View before = store.view();
  const Keyspace other = *store.create_keyspace("other");
  ASSERT_TRUE(store.put(other, "a", "b").ok());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(store.reboot("keyspace k").ok());
    expect_all_right(store);
    EXPECT_TRUE(store.get(keyspace_, "key3").status().is(Code::kNotFound));
    EXPECT_TRUE(store.get(keyspace_, "key155").status().is(Code::kNotFound));
    EXPECT_EQ(*store.get(other, "a"), "b");
    fill(store, 200 + 10 * i, 210 + 10 * i);
    ASSERT_TRUE(store.put(keyspace_, "key0", "new " + std::to_string(i)).ok());
    model_["key0"] = "new " + std::to_string(i);
    EXPECT_NE(*store.get(keyspace_, "key0", before), model_["key0"]) << "the view is not moved by it";
  }
  ASSERT_TRUE(store.checkpoint().ok());
  world_.disk->power_cut(0);
  store = open();
  expect_all_right(store);
}

/// Overwrites what the log files hold behind their first frames.
void hurt_log(SimStorage& disk) {
  for (const auto& [path, bytes] : contents(disk, "store/wal")) {
    if (!path.ends_with(".log")) continue;
    ASSERT_TRUE(disk.overwrite(path, 64 << 10, std::string(bytes.size() - (64 << 10), '\x5a')).ok());
  }
}

TEST_F(EngineHealth, WhatTheLogDoesNotHaveAKeyspaceThatIsRebootedBringsIntoRunsFirst) {
  Store store = open();
  fill(store, 0, 100);
  hurt_log(*world_.disk);
  const Status rebooted = store.reboot("keyspace k");
  EXPECT_TRUE(rebooted.ok()) << rebooted.to_string();
  expect_all_right(store);
  fill(store, 100, 110);
  ASSERT_TRUE(store.reboot("keyspace k").ok()) << "from the log behind the checkpoint";
  world_.disk->power_cut(0);
  store = open();
  expect_all_right(store);
}

TEST_F(EngineHealth, WhatTheLogDoesNotHaveIsNotDropped) {
  world_.failpoint = [](std::string_view name) -> Status {
    if (name != "flush") return {};
    return {Code::kIoError, "the device takes no runs"};
  };
  Store store = open();
  fill(store, 0, 100);
  hurt_log(*world_.disk);
  const Status rebooted = store.reboot("keyspace k");
  EXPECT_TRUE(rebooted.is(Code::kIoError)) << rebooted.to_string();
  expect_all_right(store);
  EXPECT_TRUE(store.put(keyspace_, "goes", "on").ok());
}

/// An accepted loss stays in the damage map for as long as the log could bring it back.
TEST_F(EngineHealth, AKeyspaceIsRebootedBehindALossThatWasAccepted) {
  Store store = open();
  fill(store, 0, 20);
  world_.disk->kill();
  std::string ring;
  for (const auto& [path, bytes] : contents(*world_.disk, "store/wal")) {
    if (path.find("/tail-") == std::string::npos) continue;
    ASSERT_TRUE(world_.disk->overwrite(path, 0, std::string(bytes.size(), '\x5a')).ok());
    ring = path;
  }
  ASSERT_FALSE(ring.empty());
  store = open();
  const std::vector<DamageInfo> damage = store.damage();
  ASSERT_EQ(damage.size(), 1U) << "writes may have been in the ring alone";
  ASSERT_TRUE(store.accept_damage(damage.front().id).ok());
  fill(store, 20, 30);
  const Status rebooted = store.reboot("keyspace k");
  EXPECT_TRUE(rebooted.ok()) << rebooted.to_string();
  expect_all_right(store);
  world_.disk->power_cut(0);
  store = open();
  expect_all_right(store);
  EXPECT_EQ(store.health().level, HealthLevel::kHealthy) << store.health().to_json();
}

TEST_F(EngineHealth, EveryComponentCanBeRebootedAndMoreThanTheLimitEscalates) {
  world_.options.reboots_per_hour = 2;
  Store store = open();
  fill(store, 0, 50);
  for (const char* name : {"log", "checkpoint", "compaction", "heal", "scrub", "cache", "clean-up", "keyspace k"}) {
    SCOPED_TRACE(name);
    EXPECT_TRUE(store.reboot(name).ok());
    EXPECT_TRUE(store.reboot(name).ok());
    const Status third = store.reboot(name);
    EXPECT_TRUE(third.is(Code::kUnavailable)) << third.to_string();
    EXPECT_EQ(component(store, name).reboots, 2U);
    fill(store, 50, 60);
    expect_all_right(store);
  }
  world_.clock.advance(3'600'000'000'000);
  EXPECT_TRUE(store.reboot("log").ok()) << "an hour later";
  EXPECT_TRUE(store.reboot("nothing").is(Code::kNotFound));
  EXPECT_TRUE(store.reboot("keyspace nothing").is(Code::kNotFound));
  world_.disk->kill();
  store = open();
  expect_all_right(store);
}

TEST_F(EngineHealth, ALogIsRebootedWithEventsThatAreNotDurableYet) {
  Store store = open();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(store.put(keyspace_, "key" + std::to_string(i), "v", {.durability = Durability::kProcess}).ok());
    model_["key" + std::to_string(i)] = "v";
  }
  ASSERT_TRUE(store.reboot("log").ok());
  EXPECT_EQ(store.stats().durable_sequence, store.stats().sequence);
  fill(store, 20, 30);
  world_.disk->power_cut(0);
  store = open();
  expect_all_right(store);
}

TEST_F(EngineHealth, AnIndexThatIsDamagedInMemoryIsReadAgainFromTheLog) {
  int times = 1;
  world_.failpoint = [&](std::string_view name) -> Status {
    if (name != "flush keyspace k" || times-- <= 0) return {};
    return {Code::kCorruption, "entries come out of order"};
  };
  Store store = open();
  fill(store, 0, 50);
  EXPECT_TRUE(store.checkpoint().is(Code::kCorruption));
  ASSERT_TRUE(step(store).ok());
  ASSERT_EQ(heard_->incidents.size(), 1U);
  EXPECT_EQ(heard_->incidents.front().failure, "invariant_broken");
  EXPECT_EQ(heard_->incidents.front().component, "keyspace k");
  EXPECT_EQ(heard_->incidents.front().outcome, "resolved") << heard_->incidents.front().to_json();
  EXPECT_EQ(component(store, "keyspace k").reboots, 1U);
  ASSERT_TRUE(store.checkpoint().ok());
  expect_all_right(store);
  world_.disk->kill();
  store = open();
  expect_all_right(store);
}

}  // namespace
}  // namespace daruma
