// SPDX-License-Identifier: Apache-2.0
//
// kvctl clone and drill as processes: all drills on a small store, what is left of them, and a promise that is broken
// on purpose.
#include "base/random.h"
#include "kvctl_testing.h"
#include "recovery/drill.h"

namespace daruma {
namespace {

namespace fs = std::filesystem;
using kvctl_test::Json;
using kvctl_test::Ran;

class KvctlDrill : public kvctl_test::KvctlTest {
 protected:
  void SetUp() override {
    Store store = open();
    for (const char* name : {"users", "orders"}) {
      const Keyspace k = *store.create_keyspace(name);
      for (int i = 0; i < 800; ++i) {
        ASSERT_TRUE(
            store.put(k, "key" + std::to_string(i), std::string(100 + i % 50, 'v'), {Durability::kProcess}).ok());
        if (i == 400) { ASSERT_TRUE(store.checkpoint().ok()); }
      }
    }
    ASSERT_TRUE(store.sync().ok());
  }
  [[nodiscard]] std::vector<std::string> drill_files() const {
    std::vector<std::string> all;
    for (const auto& entry : fs::directory_iterator(path("a") + "/recoveries")) {
      const std::string name = entry.path().filename().string();
      if (parse_drill_file(name)) all.push_back(name);
    }
    return all;
  }
  /// All but what a drill leaves, the directory that it leaves it in, and the time of change that a link more makes.
  [[nodiscard]] std::map<std::string, kvctl_test::FileState> state_without_drills() const {
    auto all = state();
    std::erase_if(all, [](const auto& entry) {
      return entry.first.find("drill-") != std::string::npos || entry.first.ends_with("recoveries");
    });
    for (auto& entry : all) entry.second.changed_ns = 0;
    return all;
  }
};

TEST_F(KvctlDrill, AllKeepWhatIsPromised) {
  const auto before = state_without_drills();
  const Ran ran = kvctl({"--json", "drill", "all"});
  ASSERT_EQ(ran.exit, 0) << ran.out << ran.err;
  const Json json = ran.json();
  EXPECT_EQ(json["schema"], "kvctl.drill_all/1");
  EXPECT_EQ(json["failed"], 0);
  std::set<std::string> passed;
  for (const Json& drill : json["drills"]) {
    const std::string mode = drill["mode"];
    if (drill["outcome"] == "skipped") {
      EXPECT_NE(drill["why"], "") << mode;
      EXPECT_TRUE(mode == "full-disk" || mode == "bit-flip-ledger") << mode << ": " << drill["why"];
      continue;
    }
    passed.insert(mode);
    EXPECT_EQ(drill["outcome"], "passed") << drill.dump();
    EXPECT_GT(drill["first_read_ns"], 0) << mode;
    EXPECT_GT(drill["ready_ns"], 0) << mode;
    EXPECT_GE(drill["keys"], 1600) << mode;
    EXPECT_EQ(drill["keys_silently_wrong"], 0) << mode;
  }
  for (const char* mode : {"kill", "torn-tail", "bit-flip-run", "lost-run", "lost-log", "crash-loop", "failed-sync"})
    EXPECT_TRUE(passed.contains(mode)) << mode;
  EXPECT_TRUE(state_without_drills() == before) << "the store itself was touched";
  for (const auto& entry : fs::directory_iterator(root_)) EXPECT_EQ(entry.path().filename(), "a") << "a clone was left";

  // What is left: a file of each, which verify knows, and which report shows.
  EXPECT_EQ(drill_files().size(), json["drills"].size());
  EXPECT_EQ(kvctl({"--json", "verify"}).json()["strangers"], Json::array());
  const Ran report = kvctl({"--json", "drill", "report"});
  EXPECT_EQ(report.json()["drills"].size(), json["drills"].size());
  EXPECT_EQ(report.exit, 0) << report.out;
}

TEST_F(KvctlDrill, KeepsTheLastFewOfEachKind) {
  std::string seed = "1";
  for (std::size_t i = 0; i < kDrillsKeptOfAMode + 2; ++i) {
    const Ran ran = kvctl({"drill", "run", "bit-flip-run", "--seed", seed});
    ASSERT_EQ(ran.exit, 0) << ran.out << ran.err;
    seed += "7";
  }
  EXPECT_EQ(drill_files().size(), kDrillsKeptOfAMode);
}

TEST_F(KvctlDrill, TellsABrokenPromise) {
  // The engine is told that a start takes no log file: a clone does not come back.
  ASSERT_EQ(::setenv("DARUMA_FAILPOINTS", "pass replay=error(corruption),skip=2", 1), 0);
  const Ran ran = kvctl({"--json", "drill", "run", "kill"});
  ASSERT_EQ(::unsetenv("DARUMA_FAILPOINTS"), 0);
  EXPECT_EQ(ran.exit, 4) << ran.out << ran.err;
  EXPECT_EQ(ran.json()["drills"][0]["outcome"], "failed");
  EXPECT_EQ(kvctl({"drill", "report"}).exit, 4);
}

TEST_F(KvctlDrill, BesideAWriterItNeedsToBeTold) {
  const Store store = open();
  EXPECT_EQ(kvctl({"drill", "run", "kill"}).exit, 3);
  const Ran ran = kvctl({"--json", "drill", "run", "kill", "lost-snapshot", "--live"});
  EXPECT_EQ(ran.exit, 0) << ran.out << ran.err;
}

TEST_F(KvctlDrill, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(kvctl({"drill", "run", "meteorite"}).exit, 2);
  EXPECT_EQ(kvctl({"drill", "all"}, "", "nothing").exit, 2);
  EXPECT_EQ(kvctl({"drill", "ls"}).exit, 0);
  EXPECT_EQ(kvctl({"drill", "report"}).exit, 1) << "none was held";
}

TEST_F(KvctlDrill, AnOldOneIsMaintenance) {
  EXPECT_EQ(kvctl({"health"}).exit, 0) << "none was held, and nobody asked";
  const DrillName old{.wall_ns = 1'600'000'000'000'000'000, .mode = "kill"};
  std::ofstream(path("a") + "/recoveries/" + drill_file(old)) << "{\"mode\":\"kill\",\"outcome\":\"passed\"}";
  const Ran ran = kvctl({"--json", "health"});
  EXPECT_EQ(ran.exit, 1) << ran.out;
  EXPECT_EQ(ran.json()["level"], "maintenance");
  EXPECT_EQ(kvctl({"health", "--level", "degraded"}).exit, 0);
  EXPECT_EQ(kvctl({"drill", "report"}).exit, 1);
  ASSERT_EQ(kvctl({"drill", "run", "lost-snapshot"}).exit, 0);
  EXPECT_EQ(kvctl({"health"}).exit, 0);
}

TEST_F(KvctlDrill, ClonesAStore) {
  const auto before = state_without_drills();
  const Ran ran = kvctl({"--json", "clone", path("b")});
  ASSERT_EQ(ran.exit, 0) << ran.out << ran.err;
  EXPECT_GT(ran.json()["copied"]["files"].get<int>() + ran.json()["reflinked"]["files"].get<int>(), 0);
  EXPECT_EQ(kvctl({"dump"}, "", "b").out, kvctl({"dump"}).out);
  EXPECT_TRUE(state_without_drills() == before);
  EXPECT_EQ(kvctl({"clone", path("b")}).exit, 10);
  EXPECT_EQ(kvctl({"clone", path("c")}, "", "nothing").exit, 2);
  const Store writer = open();
  EXPECT_EQ(kvctl({"clone", path("c")}).exit, 3);
  EXPECT_EQ(kvctl({"clone", "--live", path("c")}).exit, 0);
  EXPECT_EQ(kvctl({"-k", "users", "count"}, "", "c").out, "800\n");
}

}  // namespace
}  // namespace daruma
