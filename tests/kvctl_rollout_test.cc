// SPDX-License-Identifier: Apache-2.0
//
// kvctl rollout as a process: a candidate that is promoted, in force at the next start and carried along; one that
// rolls back by itself; one that is refused.
#include "engine/engine.h"
#include "kvctl_testing.h"

namespace daruma {
namespace {

using kvctl_test::Json;
using kvctl_test::Ran;

class KvctlRollout : public kvctl_test::KvctlTest {
 protected:
  /// Values so large that a small memtable is full again and again.
  void SetUp() override {
    Options options;
    options.segment_bytes = 8 << 20;
    Result<Store::Opened> opened = Store::open(path("a"), options);
    ASSERT_TRUE(opened.ok());
    Store store = opened->store;
    const Keyspace k = *store.create_keyspace("k");
    for (int i = 0; i < 1500; ++i) {
      std::string value(20'000, '\0');
      for (std::size_t at = 0; at < value.size(); ++at) value[at] = static_cast<char>(i * 7919 + at * at);
      ASSERT_TRUE(store.put(k, "key" + std::to_string(i % 600), value, {Durability::kProcess}).ok());
      if (i % 10 == 9) { ASSERT_TRUE(store.erase(k, "key" + std::to_string(i / 3), {Durability::kProcess}).ok()); }
      if (i == 50) { ASSERT_TRUE(store.checkpoint().ok()); }
    }
    ASSERT_TRUE(store.sync().ok());
  }
  [[nodiscard]] Options in_force(const Options& given) const {
    const Result<Store::Opened> opened = Store::open(path("a"), given);
    EXPECT_TRUE(opened.ok()) << opened.status().to_string();
    if (!opened.ok()) std::abort();
    return Engine::of(opened->store).options();
  }
};

TEST_F(KvctlRollout, PromotesWhatIsGood) {
  const Ran ran = kvctl({"--json", "rollout", "--set", "scrub_days=7", "--set", "cache_bytes=32MiB", "--steps", "20,50",
                         "--max-p99", "+400%", "--durability", "process"});
  ASSERT_EQ(ran.exit, 0) << ran.out << ran.err;
  EXPECT_EQ(ran.json()["outcome"], "promoted");
  EXPECT_EQ(ran.json()["steps"].size(), 2U);
  EXPECT_GT(ran.json()["steps"][1]["candidate"]["reads"], 100);
  Options given;
  given.memtable_bytes = 2 << 20;
  EXPECT_EQ(in_force(given).scrub_days, 7U);
  EXPECT_EQ(in_force(given).cache_bytes, 32U << 20);
  EXPECT_EQ(in_force(given).memtable_bytes, 2U << 20) << "what was not promoted is as given";
  given.use_promoted = false;
  EXPECT_EQ(in_force(given).scrub_days, 30U);

  // Carried from generation to generation, also by starts that do not use it.
  {
    Result<Store::Opened> opened = Store::open(path("a"), given);
    ASSERT_TRUE(opened.ok());
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(opened->store.put(*opened->store.keyspace("k"), "more", std::to_string(i)).ok());
      ASSERT_TRUE(opened->store.checkpoint().ok());
    }
    for (int i = 0; i < 300; ++i) {  // behind them, for the next one to replay
      ASSERT_TRUE(opened->store.put(*opened->store.keyspace("k"), "more" + std::to_string(i), "v").ok());
    }
  }
  EXPECT_EQ(in_force({}).scrub_days, 7U);
  const Json status = kvctl({"--json", "rollout", "status"}).json();
  EXPECT_EQ(status["promoted"], (Json{{"scrub_days", 7}, {"cache_bytes", 32 << 20}})) << status.dump();
  EXPECT_EQ(status["last"]["outcome"], "promoted");

  // Once more, over what stands.
  ASSERT_EQ(kvctl({"rollout", "--set", "scrub_days=9", "--steps", "20", "--max-p99", "+400%"}).exit, 0);
  EXPECT_EQ(in_force({}).scrub_days, 9U);
  EXPECT_EQ(in_force({}).cache_bytes, 32U << 20);
  ASSERT_EQ(kvctl({"rollout", "clear"}).exit, 0);
  EXPECT_EQ(in_force({}).scrub_days, 30U);
  EXPECT_EQ(kvctl({"--json", "rollout", "status"}).json()["promoted"], Json::object());
}

TEST_F(KvctlRollout, RollsBackWhatIsNotGood) {
  const std::string before = kvctl({"dump", "-k", "k"}).out;
  const Ran ran =
      kvctl({"--json", "rollout", "--set", "memtable_bytes=1MiB", "--set", "compaction_bytes_per_second=64KiB", "--set",
             "recovery_budget=50ms", "--durability", "process"});
  EXPECT_EQ(ran.exit, 8) << ran.out << ran.err;
  const Json json = ran.json();
  EXPECT_EQ(json["outcome"], "rolled_back");
  EXPECT_NE(json["why"], "");
  std::printf("%s\n", json["why"].dump().c_str());
  EXPECT_EQ(in_force({}).memtable_bytes, 64U << 20);
  EXPECT_EQ(kvctl({"dump", "-k", "k"}).out, before);
  const Json status = kvctl({"--json", "rollout", "status"}).json();
  EXPECT_EQ(status["promoted"], Json::object());
  EXPECT_EQ(status["last"]["outcome"], "rolled_back");
}

TEST_F(KvctlRollout, RefusesBeforeAnythingRuns) {
  const auto before = state();
  EXPECT_EQ(kvctl({"rollout", "--set", "memtable_bytes=1"}).exit, 2);
  EXPECT_EQ(kvctl({"rollout", "--set", "colour=7"}).exit, 2);
  EXPECT_EQ(kvctl({"rollout", "--set", "memtable_bytes"}).exit, 2);
  EXPECT_EQ(kvctl({"rollout", "--set", "scrub_days=7", "--steps", "50,10"}).exit, 2);
  EXPECT_EQ(kvctl({"rollout"}).exit, 2);
  EXPECT_EQ(kvctl({"-n", "rollout", "--set", "scrub_days=7"}).exit, 0);
  EXPECT_TRUE(state() == before);
  {
    const Store writer = open();
    EXPECT_EQ(kvctl({"rollout", "--set", "scrub_days=7"}).exit, 3);
  }
  ASSERT_EQ(kvctl({"put", "--create", "key", "value"}, "", "little").exit, 0);
  EXPECT_EQ(kvctl({"rollout", "--set", "scrub_days=7"}, "", "little").exit, 9) << "nothing to measure by";
}

}  // namespace
}  // namespace daruma
