// SPDX-License-Identifier: Apache-2.0
//
// kvctl health and doctor as processes: a sound store, one that lost data, one on a full file system, one that another
// process writes. What must stay true: the exit code says what the store says, --level decides what counts, and
// without --write nothing changes.
#include <sys/mount.h>

#include "base/random.h"
#include "kvctl_testing.h"

namespace daruma {
namespace {

namespace fs = std::filesystem;
using kvctl_test::Json;
using kvctl_test::Ran;
using kvctl_test::small;
using testing::HasSubstr;

class KvctlHealth : public kvctl_test::KvctlTest {
 protected:
  void TearDown() override {
    if (!mounted_.empty()) ::umount2(mounted_.c_str(), MNT_DETACH);
  }
  /// A budget that a slow machine keeps too.
  [[nodiscard]] Ran health(std::vector<std::string> more = {}) const {
    std::vector<std::string> all{"--json", "--recovery-budget", "1h", "health"};
    all.insert(all.end(), more.begin(), more.end());
    return kvctl(all);
  }
  static Json check(const Json& document, const std::string& name) {
    for (const Json& each : document["checks"]) {
      if (each["name"] == name) return each;
    }
    return {};
  }
  void build() const {
    Store store = open();
    const Keyspace k = *store.create_keyspace("default");
    Random random(1);
    for (int i = 0; i < 300; ++i) {
      std::string value(200, '\0');
      for (char& c : value) c = static_cast<char>('a' + random.below(26));
      ASSERT_TRUE(store.put(k, "key" + std::to_string(i), value).ok());
    }
    ASSERT_TRUE(store.compact(k).ok());
    for (int round = 0; round < 3; ++round) {
      ASSERT_TRUE(store.put(k, "tick", std::to_string(round)).ok());
      ASSERT_TRUE(store.checkpoint().ok());
    }
  }
  std::string mounted_;
};

TEST_F(KvctlHealth, ASoundStoreIsHealthyAndStaysAsItIs) {
  build();
  const auto before = state();
  const Ran ran = health();
  ASSERT_EQ(ran.exit, 0) << ran.out << ran.err;
  const Json json = ran.json();
  EXPECT_EQ(json["schema"], "kvctl.health/1");
  EXPECT_EQ(json["level"], "healthy");
  EXPECT_TRUE(json["reads"].is_null());
  EXPECT_GT(json["checks"].size(), 10U);
  EXPECT_TRUE(check(json, "damage")["cause"].is_null());
  EXPECT_EQ(json["debt"]["budget_ns"], 3'600'000'000'000);
  EXPECT_GT(json["debt"]["estimated_ns"], 0);
  const Ran text = kvctl({"--recovery-budget", "1h", "health"});
  EXPECT_THAT(text.out, HasSubstr("healthy"));
  EXPECT_THAT(text.out, HasSubstr("--write asks"));
  EXPECT_TRUE(state() == before) << "health without --write touched the store";
  const Ran written = health({"--write", "--for", "3s"});  // a round of the supervisor, on a slow machine too
  EXPECT_EQ(written.exit, 0) << written.out;
  EXPECT_TRUE(written.json()["writes"].is_null());
}

TEST_F(KvctlHealth, ALossIsDegradedAndCountsFromItsLevelOn) {
  build();
  std::string largest;
  for (const auto& entry : fs::directory_iterator(path("a") + "/runs")) {
    if (largest.empty() || entry.file_size() > fs::file_size(largest)) largest = entry.path().string();
  }
  std::fstream(largest, std::ios::in | std::ios::out | std::ios::binary).seekp(4096)
      << std::string(fs::file_size(largest) - 4096, 'x');
  ASSERT_EQ(kvctl({"scrub"}).exit, 5);
  const Ran ran = health();
  EXPECT_EQ(ran.exit, 5) << ran.out;
  EXPECT_EQ(ran.json()["level"], "degraded");
  EXPECT_EQ(ran.json()["reads"]["code"], "data_loss");
  EXPECT_EQ(check(ran.json(), "damage")["cause"]["code"], "data_loss");
  EXPECT_EQ(ran.json()["error"]["code"], "data_loss");
  EXPECT_EQ(health({"--level", "degraded"}).exit, 5);
  EXPECT_EQ(health({"--level", "critical"}).exit, 0);
  EXPECT_EQ(kvctl({"health", "--level", "cheerful"}).exit, 2);

  // There is nothing to rebuild it from.
  EXPECT_EQ(health({"--write", "--for", "100ms"}).exit, 5);
  EXPECT_EQ(kvctl({"playbook", "run", "data_lost"}).exit, 8);
  const Json history = kvctl({"--json", "playbook", "history"}).json();
  ASSERT_GE(history["incidents"].size(), 1U);
  EXPECT_EQ(history["incidents"][0]["failure"], "data_lost");
  EXPECT_EQ(history["incidents"][0]["state"], "escalated");
  EXPECT_EQ(kvctl({"damage", "accept", "--all", "--yes"}).exit, 0);
  EXPECT_EQ(health().exit, 0);
}

TEST_F(KvctlHealth, AFullFileSystemIsCriticalUntilItHasRoom) {
  const std::string mount = path("small");
  fs::create_directory(mount);
  if (::mount("none", mount.c_str(), "tmpfs", 0, "size=16m") != 0) GTEST_SKIP() << "mounting needs root";
  mounted_ = mount;
  const std::string store = mount + "/store";
  const auto at = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"--json", "-d", store, "--recovery-budget", "1h"});
    return kvctl_test::run(words);
  };
  ASSERT_EQ(at({"put", "--create", "key", "value"}).exit, 0);
  const auto fill = [&] {
    std::ofstream filler(mount + "/filler", std::ios::binary | std::ios::app);
    const std::string block(4096, 'f');
    while (filler.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {}
  };
  fill();
  (void)at({"health", "--write"});  // begins with what the ballast gives back
  fill();
  const Ran full = at({"health", "--write", "--for", "3s", "--level", "critical"});
  EXPECT_EQ(full.exit, 4) << full.out;
  EXPECT_EQ(full.json()["level"], "critical");
  EXPECT_FALSE(full.json()["writes"].is_null()) << full.out;
  EXPECT_EQ(at({"get", "key"}).exit, 0) << "reads go on";
  EXPECT_EQ(at({"doctor"}).exit, 6);
  fs::remove(mount + "/filler");
  const Ran emptied = at({"health", "--write", "--for", "3s"});
  EXPECT_EQ(emptied.exit, 0) << emptied.out;
  EXPECT_EQ(at({"put", "key", "again"}).exit, 0);
}

TEST_F(KvctlHealth, BesideAWriterItTellsWhatTheFilesTellUntilTheWriterHasTold) {
  build();
  auto opened = Store::open(path("a"), small());
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  const Store& store = opened->store;
  Ran ran;
  do {
    ran = health({"--level", "critical"});
    EXPECT_EQ(ran.json()["writer"], "process " + std::to_string(::getpid())) << ran.out;
    EXPECT_TRUE(ran.json()["incidents"].is_array());
    if (!ran.json().contains("age_ns")) {
      ASSERT_EQ(ran.exit, 3) << ran.out;
      EXPECT_EQ(ran.json()["damage"]["blocking"], 0);
    }
  } while (!ran.json().contains("age_ns"));
  EXPECT_EQ(ran.exit, 0) << ran.out;
  EXPECT_EQ(ran.json()["checks"].size(), store.health().checks.size());
  EXPECT_TRUE(ran.json()["writes"].is_null());
  EXPECT_EQ(health({"--write"}).exit, 3);
}

TEST_F(KvctlHealth, TheBudgetIsAGlobalOption) {
  build();
  EXPECT_EQ(kvctl({"--json", "--recovery-budget", "50ms", "health"}).json()["debt"]["budget_ns"], 50'000'000);
  EXPECT_EQ(kvctl({"health", "--recovery-budget", "2min"}).exit, kvctl({"--recovery-budget", "120s", "health"}).exit);
  EXPECT_EQ(kvctl({"--recovery-budget", "10ms", "health"}).exit, 2) << "outside the limits of the option";
  EXPECT_EQ(kvctl({"--recovery-budget", "soon", "health"}).exit, 2);
  ASSERT_EQ(kvctl({"put", "a", "b"}).exit, 0);
  ASSERT_EQ(kvctl({"--recovery-budget", "700ms", "checkpoint"}).exit, 0);
  const Json status = kvctl({"--json", "status"}).json();
  EXPECT_EQ(status["recovery"]["budget_ns"], 700'000'000);
  EXPECT_GT(status["recovery"]["estimated_open_ns"], 0);
  EXPECT_THAT(kvctl({"status"}).out, HasSubstr("the budget is 700.0 ms"));
}

TEST_F(KvctlHealth, DoctorLooksAtThePlaceAndLeavesIt) {
  build();
  const auto before = state();
  const Ran looked = kvctl({"--json", "-n", "doctor"});
  EXPECT_TRUE(looked.exit == 0 || looked.exit == 6) << looked.out;
  EXPECT_TRUE(state() == before) << "--dry-run makes no probe";
  const Ran ran = kvctl({"--json", "doctor"});
  const Json json = ran.json();
  std::map<std::string, std::string> grades;
  for (const Json& each : json["checks"]) {
    grades[each["name"]] = each["grade"];
    EXPECT_TRUE(each["grade"] == "ok" || !each.value("advice", std::string()).empty()) << each;
  }
  for (const char* name : {"file system", "fsync", "directory sync", "shared mapping", "lock", "durable writes",
                           "free space", "descriptors", "threads", "locked memory", "clock", "boot id", "huge pages"})
    EXPECT_TRUE(grades.contains(name)) << name;
  EXPECT_NE(grades["fsync"], "bad") << ran.out;
  EXPECT_NE(grades["durable writes"], "bad") << ran.out;
  EXPECT_EQ(state().size(), before.size()) << "the probe is gone";
  fs::create_directory(path("empty"));
  EXPECT_EQ(kvctl({"doctor"}, "", "empty").exit, ran.exit) << "a place without a store is one too";
  EXPECT_TRUE(fs::is_empty(path("empty")));
  EXPECT_EQ(kvctl({"doctor"}, "", "nowhere").exit, 2);
}

}  // namespace
}  // namespace daruma
