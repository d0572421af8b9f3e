// SPDX-License-Identifier: Apache-2.0
// kvctl timeline, restore, why, and --at, as processes.
#include <thread>

#include "base/clock.h"
#include "kvctl_testing.h"

namespace daruma {
namespace {

namespace fs = std::filesystem;
using kvctl_test::Json;
using kvctl_test::Ran;

class KvctlHistory : public kvctl_test::KvctlTest {
 protected:
  void SetUp() override {
    Options options = kvctl_test::small();
    options.history = History{std::chrono::hours(1), 64 << 20};
    Store store = std::move(Store::open(path("a"), options)->store);
    const Keyspace k = *store.create_keyspace("default");
    ASSERT_TRUE(store.put(k, "alice", "1").ok());
    ASSERT_TRUE(store.put(k, "bob", "2").ok());
    first_ = store.stats().sequence;
    ASSERT_TRUE(store.checkpoint().ok());
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    between_ = system_clock().wall_ns();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    ASSERT_TRUE(store.put(k, "alice", "3").ok());
    ASSERT_TRUE(store.erase(k, "bob").ok());
    ASSERT_TRUE(store.put(k, "unrelated", std::string(100, 'u')).ok());
    ASSERT_TRUE(store.checkpoint().ok());
    ASSERT_TRUE(store.erase_range(k, "a", "b").ok());
    last_ = store.stats().sequence;
  }
  Sequence first_ = 0, last_ = 0;
  std::int64_t between_ = 0;
};

TEST_F(KvctlHistory, AtASequenceAndAtATime) {
  const std::string first = std::to_string(first_);
  EXPECT_EQ(kvctl({"get", "alice"}).exit, 1);
  EXPECT_EQ(kvctl({"get", "--at", first, "alice"}).out, "1\n");
  EXPECT_EQ(kvctl({"get", "--at", std::to_string(first_ + 1), "alice"}).out, "3\n");
  EXPECT_EQ(kvctl({"exists", "--at", first, "bob"}).exit, 0);
  EXPECT_EQ(kvctl({"count", "--at", first}).out, "2\n");
  EXPECT_EQ(kvctl({"count"}).out, "1\n");
  EXPECT_NE(kvctl({"scan", "--at", first}).out.find("bob"), std::string::npos);

  const std::time_t seconds = between_ / 1'000'000'000;
  char text[64];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", std::gmtime(&seconds));
  char fraction[32];
  std::snprintf(fraction, sizeof fraction, ".%09lldZ", static_cast<long long>(between_ % 1'000'000'000));
  EXPECT_EQ(kvctl({"get", "--at", std::string(text) + fraction, "alice"}).out, "1\n");
  EXPECT_EQ(kvctl({"count", "--at", "0s ago"}).out, "1\n");
  EXPECT_EQ(kvctl({"count", "--at", "0"}).exit, 2) << "there was no keyspace yet";

  const Ran behind = kvctl({"get", "--at", std::to_string(last_ + 1), "alice"});
  EXPECT_EQ(behind.exit, 2);
  EXPECT_NE(behind.err.find("ends with sequence"), std::string::npos) << behind.err;
  for (const char* malformed :
       {"yesterday", "2026-13-01", "12x ago", "-1", "99999999999999999999", "2026-11-28T12:00:00Zx"})
    EXPECT_EQ(kvctl({"get", "--at", malformed, "alice"}).exit, 2) << malformed;
}

TEST_F(KvctlHistory, TimelineTellsWhatCanBeHad) {
  const Ran ran = kvctl({"--json", "timeline"});
  ASSERT_EQ(ran.exit, 0) << ran.err;
  const Json json = ran.json();
  EXPECT_EQ(json["schema"], "kvctl.timeline/1");
  EXPECT_EQ(json["earliest"], 0);
  EXPECT_EQ(json["latest"], last_);
  EXPECT_EQ(json["snapshots"].size(), 3);
  EXPECT_EQ(json["snapshots"][1]["sequence"], first_);
  EXPECT_EQ(json["log"][0]["first_sequence"], 1);
  EXPECT_NE(kvctl({"timeline"}).out.find("can be reconstructed"), std::string::npos);
  const Store writer = open();
  EXPECT_EQ(kvctl({"timeline"}).exit, 0) << "it needs no lock";
}

TEST_F(KvctlHistory, RestoreMakesAStore) {
  const std::string to = path("b");
  const Ran would = kvctl({"restore", "--at", std::to_string(first_), "--to", to, "--dry-run"});
  EXPECT_EQ(would.exit, 0) << would.err;
  EXPECT_FALSE(fs::exists(to));
  const Ran ran = kvctl({"--json", "restore", "--at", std::to_string(first_), "--to", to});
  ASSERT_EQ(ran.exit, 0) << ran.err;
  EXPECT_EQ(ran.json()["keys"], 2);
  EXPECT_EQ(ran.json()["sequence"], first_);
  EXPECT_EQ(kvctl({"get", "alice"}, "", "b").out, "1\n");
  EXPECT_EQ(kvctl({"verify", "--deep"}, "", "b").exit, 0);
  EXPECT_EQ(kvctl({"restore", "--to", to}).exit, 10);
  EXPECT_EQ(kvctl({"restore", "--at", std::to_string(last_ + 5), "--to", path("c")}).exit, 2);
  EXPECT_FALSE(fs::exists(path("c")));
}

TEST_F(KvctlHistory, WhyTellsTheHistoryOfAKey) {
  const Ran ran = kvctl({"--json", "why", "alice"});
  ASSERT_EQ(ran.exit, 0) << ran.err;
  std::vector<std::string> seen;
  const Json json = ran.json();
  for (const Json& row : json["history"]) {
    std::string text = row["what"];
    if (row.contains("value")) text += " " + row["value"].get<std::string>();
    if (text == "snapshot" && !row["found"].get<bool>()) text += " without";
    seen.push_back(std::move(text));
  }
  EXPECT_EQ(seen,
            (std::vector<std::string>{"snapshot without", "put 1", "snapshot 1", "put 3", "snapshot 3", "delrange"}))
      << ran.out;
  EXPECT_NE(kvctl({"why", "bob"}).out.find("del"), std::string::npos);
  EXPECT_EQ(kvctl({"why", "nobody"}).exit, 1);
}

}  // namespace
}  // namespace daruma
