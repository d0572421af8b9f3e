// SPDX-License-Identifier: Apache-2.0
// Microreboots of a store on a real disk under real threads: nothing acknowledged is lost, nothing wrong is read, the
// others go on.
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sanitized.h>
#include <temporary_directory.h>

#include "daruma/store.h"

namespace daruma {
namespace {

using namespace std::chrono_literals;

/// Waits for what another thread does by itself.
template <typename Condition>
bool comes_true(const Condition& condition) {
  for (int i = 0; i < 2000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(10ms);
  }
  return false;
}

/// No thread can be had in this process while it is there: the least that one would take is more than there is.
class NoThreads {
 public:
  NoThreads() {
    pthread_getattr_default_np(&before_);
    pthread_attr_t all;
    pthread_attr_init(&all);
    pthread_attr_setstacksize(&all, std::size_t{1} << 46);
    pthread_setattr_default_np(&all);
    pthread_attr_destroy(&all);
  }
  ~NoThreads() {
    pthread_setattr_default_np(&before_);
    pthread_attr_destroy(&before_);
  }

 private:
  pthread_attr_t before_{};
};

struct Throws : EventListener {
  std::atomic<int> left{1};
  std::atomic<int> checkpoints{0};
  void on_checkpoint(const CheckpointInfo&) override {
    ++checkpoints;
    if (left-- > 0) throw std::runtime_error("a bug of the listener");
  }
};

/// So much that a checkpoint is due to a memtable of 1 MiB, and not so much that this thread would have to make it.
void fill(Store& store, Keyspace keyspace) {
  for (int i = 0; i < 900; ++i)
    ASSERT_TRUE(store.put(keyspace, "key" + std::to_string(i), std::string(900, 'x'), {Durability::kProcess}).ok());
}

TEST(EngineReboot, WritersAndReadersOfAllKeyspacesGoOn) {
  const TemporaryDirectory directory;
  Options options;
  options.memtable_bytes = 2 << 20;
  options.segment_bytes = 1 << 20;
  options.ring_bytes = 256 << 10;
  options.reboots_per_hour = 1'000'000;
  std::vector<int> acknowledged(2, 0);
  {
    Store store = Store::open(directory.path(), options).value().store;
    const std::vector<Keyspace> keyspaces = {*store.create_keyspace("a"), *store.create_keyspace("b")};
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> wrong{0};
    std::atomic<std::uint64_t> refused_of_b{0};
    std::vector<std::thread> threads;
    std::atomic<int> seen[2] = {0, 0};
    for (std::size_t k = 0; k < 2; ++k) {
      threads.emplace_back([&, k] {
        for (int i = 1; !stop; ++i) {
          const std::string key = "key" + std::to_string(i % 100);
          const Status put = store.put(keyspaces[k], key, std::to_string(i), {.durability = Durability::kProcess});
          if (put.ok()) {
            acknowledged[k] = i;
            seen[k] = i;
          } else if (k == 1 || !put.is(Code::kUnavailable)) {
            ++refused_of_b;
            ADD_FAILURE() << put.to_string();
          } else {
            --i;  // being rebooted
          }
        }
      });
      threads.emplace_back([&, k] {
        while (!stop) {
          const int newest = seen[k];
          if (newest == 0) continue;
          const Result<std::string> got = store.get(keyspaces[k], "key" + std::to_string(newest % 100));
          if (!got.ok() || std::stoi(*got) < newest) ++wrong;
        }
      });
    }
    const int rounds = kSanitized ? 5 : 25;
    for (int round = 0; round < rounds; ++round) {
      for (const char* component : {"keyspace a", "log", "checkpoint", "compaction", "cache"}) {
        const Status rebooted = store.reboot(component);
        EXPECT_TRUE(rebooted.ok()) << component << ": " << rebooted.to_string();
      }
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0U);
    EXPECT_GT(acknowledged[0], 0);
    EXPECT_EQ(store.health().level, HealthLevel::kHealthy) << store.health().to_json();
  }
  Store store = Store::open(directory.path(), options).value().store;
  for (std::size_t k = 0; k < 2; ++k) {
    const Keyspace keyspace = *store.keyspace(k == 0 ? "a" : "b");
    const int last = acknowledged[k];
    EXPECT_EQ(*store.get(keyspace, "key" + std::to_string(last % 100)), std::to_string(last));
  }
}

TEST(EngineReboot, AnExceptionOutOfAJobCostsItsWorkerAReboot) {
  const TemporaryDirectory directory;
  Options options;
  options.memtable_bytes = 1 << 20;
  const auto listener = std::make_shared<Throws>();
  options.listener = listener;
  Store store = Store::open(directory.path(), options).value().store;
  const Keyspace keyspace = *store.create_keyspace("k");
  fill(store, keyspace);
  ASSERT_TRUE(comes_true([&] { return !store.incidents().empty(); })) << "the background was to make a checkpoint";
  const Incident incident = store.incidents().front();
  EXPECT_EQ(incident.failure, "invariant_broken");
  EXPECT_EQ(incident.component, "checkpoint");
  EXPECT_NE(incident.cause.message().find("a bug of the listener"), std::string::npos);
  EXPECT_EQ(incident.outcome, "resolved") << incident.to_json();
  const int before = listener->checkpoints;
  fill(store, keyspace);
  EXPECT_TRUE(comes_true([&] { return listener->checkpoints > before; })) << "its successor works";
}

TEST(EngineReboot, AWorkerThatMayNotBeRebootedAgainIsToldUntilItIs) {
  const TemporaryDirectory directory;
  Options options;
  options.memtable_bytes = 1 << 20;
  options.reboots_per_hour = 1;
  const auto listener = std::make_shared<Throws>();
  listener->left = 2;
  options.listener = listener;
  Store store = Store::open(directory.path(), options).value().store;
  const Keyspace keyspace = *store.create_keyspace("k");
  const auto playbook_fails = [&] {
    const Health health = store.health();
    return std::any_of(health.checks.begin(), health.checks.end(),
                       [](const HealthCheck& check) { return check.name == "playbook" && !check.cause.ok(); });
  };
  for (const std::size_t incidents : {1, 2}) {
    fill(store, keyspace);
    ASSERT_TRUE(comes_true([&] { return store.incidents().size() >= incidents; }));
  }
  EXPECT_EQ(store.incidents().back().outcome, "escalated");
  ASSERT_TRUE(comes_true(playbook_fails));
  std::this_thread::sleep_for(1s);  // some rounds of the supervisor
  EXPECT_TRUE(playbook_fails()) << "the worker is still dead";
}

TEST(EngineReboot, AWorkerWithoutAThreadIsToldAndGetsOneWhenThereIsOne) {
  const TemporaryDirectory directory;
  Options options;
  options.memtable_bytes = 1 << 20;
  const auto listener = std::make_shared<Throws>();
  listener->left = 0;
  options.listener = listener;
  Store store = Store::open(directory.path(), options).value().store;
  const Keyspace keyspace = *store.create_keyspace("k");
  const auto checkpoints_itself = [&] {
    const int before = listener->checkpoints;
    fill(store, keyspace);
    return comes_true([&] { return listener->checkpoints > before; });
  };
  const auto has_incident = [&] {
    const std::vector<Incident> all = store.incidents();
    return std::any_of(all.begin(), all.end(), [](const Incident& incident) {
      return incident.component == "checkpoint" && incident.outcome == "escalated";
    });
  };
  {
    const NoThreads none;
    EXPECT_TRUE(Store::open(directory.path() + "/other", options).status().is(Code::kUnavailable));
    for (int i = 0; i < 2; ++i) {
      const auto began = std::chrono::steady_clock::now();
      const Status rebooted = store.reboot("checkpoint");
      EXPECT_TRUE(rebooted.is(Code::kUnavailable)) << rebooted.to_string();
      EXPECT_NE(rebooted.hint().find("limit of threads"), std::string::npos) << rebooted.to_string();
      EXPECT_LT(std::chrono::steady_clock::now() - began, 20s) << "there was nothing to wait for";
    }
    EXPECT_TRUE(comes_true(has_incident)) << "nobody was told";
    EXPECT_NE(store.health().level, HealthLevel::kHealthy);
  }
  EXPECT_TRUE(comes_true([&] { return store.health().level == HealthLevel::kHealthy; })) << store.health().to_json();
  EXPECT_TRUE(checkpoints_itself()) << "the supervisor was to find it a thread";
  {
    const NoThreads none;
    EXPECT_TRUE(store.reboot("checkpoint").is(Code::kUnavailable));
  }
  EXPECT_TRUE(store.reboot("checkpoint").ok()) << "the next attempt";
  EXPECT_TRUE(checkpoints_itself());
}

}  // namespace
}  // namespace daruma
