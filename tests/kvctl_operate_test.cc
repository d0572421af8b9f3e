// SPDX-License-Identifier: Apache-2.0
//
// kvctl component, breaker, playbook, incident as processes. What must stay true: what was done is told beside a writer
// and after its death, an incident that a kill cut off is "interrupted", and a restart loses nothing.
#include "daruma/playbook.h"
#include "kvctl_testing.h"
#include "recovery/playbook.h"

namespace daruma {
namespace {

namespace fs = std::filesystem;
using kvctl_test::Json;
using kvctl_test::Ran;
using kvctl_test::small;
using testing::Contains;
using testing::HasSubstr;

class KvctlOperate : public kvctl_test::KvctlTest {
 protected:
  void build() const {
    Store store = open();
    const Keyspace users = *store.create_keyspace("users");
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(store.put(users, "user/" + std::to_string(i), "Ada").ok());
    ASSERT_TRUE(store.checkpoint().ok());
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(store.put(users, "late/" + std::to_string(i), "Ada").ok());
  }
  static std::vector<std::string> names(const Json& list) {
    std::vector<std::string> all;
    for (const Json& each : list) all.push_back(each["name"]);
    return all;
  }
};

TEST_F(KvctlOperate, EachComponentRestartsAndNothingIsLost) {
  build();
  const auto before = state();
  const Json listed = kvctl({"--json", "component", "ls"}).json();
  EXPECT_TRUE(state() == before) << "component ls touched the store";
  EXPECT_THAT(names(listed["components"]), Contains("log"));
  EXPECT_THAT(names(listed["components"]), Contains("keyspace users"));
  for (const std::string name : {"log", "checkpoint", "compaction", "heal", "scrub", "cache"}) {
    EXPECT_THAT(names(listed["components"]), Contains(name));
    const Ran ran = kvctl({"--json", "component", "restart", name});
    EXPECT_EQ(ran.exit, 0) << name << ran.out;
    EXPECT_EQ(ran.json()["component"], name);
  }
  EXPECT_EQ(kvctl({"component", "restart", "keyspace users"}).exit, 0);
  const Ran words = kvctl({"component", "restart", "keyspace", "users"});
  EXPECT_EQ(words.exit, 0) << words.err;
  EXPECT_THAT(words.out, HasSubstr("rebooted keyspace users"));
  EXPECT_EQ(kvctl({"-k", "users", "--json", "count"}).json()["count"], 110);
  EXPECT_EQ(kvctl({"component", "restart", "teapot"}).exit, 1);
  EXPECT_EQ(kvctl({"component", "restart", "keyspace nobody"}).exit, 1);
  EXPECT_EQ(kvctl({"component", "restart"}).exit, 2);
  EXPECT_EQ(kvctl({"-n", "component", "restart", "log"}).exit, 2);
  const Store store = open();
  EXPECT_EQ(kvctl({"component", "restart", "log"}).exit, 3);
  EXPECT_EQ(kvctl({"component", "ls"}).exit, 0) << "what is there, beside a writer too";
}

TEST_F(KvctlOperate, BreakersOfASoundStoreAreClosed) {
  build();
  const Ran ran = kvctl({"--json", "breaker", "ls", "--for", "50ms"});
  ASSERT_EQ(ran.exit, 0) << ran.out;
  const Json breakers = ran.json()["breakers"];
  EXPECT_GE(breakers.size(), 8U);
  for (const Json& each : breakers) {
    EXPECT_EQ(each["state"], "closed") << each;
    EXPECT_TRUE(each["last"].is_null()) << each;
  }
  const Store store = open();
  EXPECT_EQ(kvctl({"breaker", "ls"}).exit, 3);
}

TEST_F(KvctlOperate, PlaybooksAreListedShownAndRun) {
  const Json listed = kvctl_test::run({"--json", "playbook", "ls"}).json();  // of every store: none is named
  std::vector<std::string> failures;
  for (const Json& book : listed["playbooks"]) failures.push_back(book["failure"]);
  for (const char* name : {"start", "log_down", "no_space", "worker_failing", "invariant_broken", "data_lost"})
    EXPECT_THAT(failures, Contains(name));
  EXPECT_THAT(kvctl_test::run({"playbook", "show", "no_space"}).out,
              HasSubstr("1 give up history\n2 give back the ballast\n"));
  EXPECT_EQ(kvctl_test::run({"playbook", "show", "teapot"}).exit, 1);

  build();
  EXPECT_EQ(kvctl({"--json", "playbook", "history"}).json()["incidents"].size(), 0U);
  EXPECT_EQ(kvctl({"incident", "show"}).exit, 1);
  const Ran ran = kvctl({"--json", "playbook", "run", "no_space"});
  EXPECT_EQ(ran.exit, 0) << ran.out;
  const Json incident = ran.json()["incident"];
  EXPECT_EQ(incident["outcome"], "resolved");
  EXPECT_EQ(incident["steps"][0]["name"], "give up history");
  const std::string id = incident["id"];
  EXPECT_EQ(kvctl({"playbook", "run", "worker_failing", "--component", "compaction"}).exit, 0);
  EXPECT_EQ(kvctl({"playbook", "run", "teapot"}).exit, 1);
  EXPECT_EQ(kvctl({"playbook", "run", "start"}).exit, 1) << "a start is what an open does";

  const auto before = state();
  EXPECT_EQ(kvctl({"--json", "playbook", "history"}).json()["incidents"].size(), 2U);
  const Json last = kvctl({"--json", "playbook", "history", "--limit", "1"}).json()["incidents"];
  ASSERT_EQ(last.size(), 1U);
  EXPECT_EQ(last[0]["failure"], "worker_failing");
  EXPECT_EQ(kvctl({"--json", "incident", "show", id}).json()["incident"]["steps"], incident["steps"]);
  EXPECT_THAT(kvctl({"incident", "show"}).out, HasSubstr("worker_failing\ncomponent compaction\n"));
  const Json components = kvctl({"--json", "component", "ls"}).json()["components"];
  for (const Json& each : components) EXPECT_EQ(each["incidents"], each["name"] == "compaction" ? 1 : 0) << each;
  EXPECT_EQ(kvctl({"verify", "--deep"}).exit, 0) << "incidents and the ballast are no strangers";
  const Json strangers = kvctl({"--json", "verify"}).json()["strangers"];
  EXPECT_EQ(strangers.size(), 0U) << strangers;
  EXPECT_TRUE(state() == before);
  std::ofstream(path("a") + "/recoveries/" + incident_file(id)) << "{\"id\":";
  EXPECT_EQ(kvctl({"verify"}).exit, 4);
  EXPECT_EQ(kvctl({"playbook", "history"}).exit, 4);
}

/// A process whose own step never ends, until it is killed in it.
TEST_F(KvctlOperate, AnIncidentThatAKillCutOffIsInterrupted) {
  build();
  const pid_t child = ::fork();
  if (child == 0) {
    Options options = small();
    PlaybookStep step;
    step.name = "ask upstream";
    step.execute = [](const Incident&) -> Status {
      for (;;) ::pause();
    };
    options.playbooks.push_back({"worker_failing", {step}});
    auto opened = Store::open(path("a"), options);
    if (!opened.ok() || !opened->store.sync().ok()) ::_exit(1);
    (void)opened->store.run_playbook("worker_failing", "teapot");  // which no step of the store's mends
    ::_exit(2);
  }
  Json incidents;
  while (incidents.empty() || incidents[0]["steps"].size() < 3) {  // the runner has a time limit
    ::usleep(20'000);
    incidents = kvctl({"--json", "playbook", "history"}).json()["incidents"];
    ASSERT_EQ(::waitpid(child, nullptr, WNOHANG), 0) << "it should be in its step";
  }
  EXPECT_EQ(incidents[0]["state"], "going on");
  const Json busy = kvctl({"--json", "health"}).json();
  EXPECT_EQ(busy["exit"] == 3, !busy.contains("age_ns")) << busy;
  EXPECT_EQ(busy["incidents"][0]["state"], "going on");
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_THAT(kvctl({"incident", "show"}).out, HasSubstr("interrupted"));
  Store store = open();
  ASSERT_TRUE(store.sync().ok()) << "its report, which tells when it began, stands from here on";
  incidents = kvctl({"--json", "playbook", "history"}).json()["incidents"];
  EXPECT_EQ(incidents[0]["state"], "interrupted") << "by now another process has the store";
}

}  // namespace
}  // namespace daruma
