// SPDX-License-Identifier: Apache-2.0
//
// Failpoints: each does what it is set to, as often as it should; the list, the source and docs/testing.md name the
// same; and a store comes back from each of them.
#include "daruma/failpoint.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <string>

#include <gtest/gtest.h>
#include <temporary_directory.h>

#include "base/failpoint.h"
#include "daruma/store.h"

namespace daruma {
namespace {

namespace fs = std::filesystem;
using Kind = FailpointAction::Kind;

Options small() {
  Options options;
  options.memtable_bytes = 1 << 20;
  options.segment_bytes = 256 << 10;
  options.ring_bytes = 256 << 10;
  return options;
}

class Failpoints : public testing::Test {
 protected:
  void TearDown() override { clear_failpoints(); }
  static FailpointInfo info(const std::string& name) {
    const std::vector<FailpointInfo> all = failpoints();
    for (const FailpointInfo& one : all) {
      if (one.name == name) return one;
    }
    return {};
  }
  const TemporaryDirectory temporary_;
  const std::string store_ = temporary_.path() + "/store";
};

std::set<std::string> names() {
  std::set<std::string> all;
  const std::vector<FailpointInfo> infos = failpoints();
  for (const FailpointInfo& one : infos) all.insert(one.name);
  return all;
}

TEST_F(Failpoints, AreThoseOfTheSource) {
  std::set<std::string> used;
  const std::regex call("failpoint\\(\"([^\"]+)\"(, name)?\\)");
  for (const auto& entry : fs::recursive_directory_iterator(DARUMA_SOURCE_DIR "/src")) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path());
    for (std::string line; std::getline(in, line);) {
      if (std::smatch match; std::regex_search(line, match, call)) {
        if (match[2].matched) {
          for (const char* pass : {"lock", "choose snapshot", "open runs", "replay", "set aside", "start log", "tidy"})
            used.insert(match[1].str() + " " + pass);
        } else {
          used.insert(match[1]);
        }
      }
    }
  }
  for (const char* part : {"compaction", "heal", "scrub"}) used.insert(part);  // by the name of the component
  EXPECT_EQ(names(), used);
}

TEST_F(Failpoints, AreThoseOfTheDocs) {
  std::set<std::string> documented;
  std::ifstream doc(DARUMA_SOURCE_DIR "/docs/testing.md");
  bool inside = false;
  const std::regex row("^\\| `([^`]+)` \\|.*");
  for (std::string line; std::getline(doc, line);) {
    if (line.starts_with("## ")) inside = line == "## Failpoints";
    if (std::smatch match; inside && std::regex_match(line, match, row)) documented.insert(match[1]);
  }
  EXPECT_EQ(names(), documented);
}

TEST_F(Failpoints, ActAsOftenAsTheyShould) {
  ASSERT_TRUE(set_failpoint("flush", {.code = Code::kNoSpace, .skip = 1, .times = 2}).ok());
  EXPECT_TRUE(failpoint("flush").ok());
  EXPECT_TRUE(failpoint("flush").is(Code::kNoSpace));
  EXPECT_TRUE(failpoint("run publish").ok()) << "another point";
  EXPECT_TRUE(info("flush").set);
  EXPECT_TRUE(failpoint("flush").is(Code::kNoSpace));
  EXPECT_TRUE(failpoint("flush").ok());
  EXPECT_EQ(info("flush").hits, 3U);
  EXPECT_EQ(info("flush").acted, 2U);
  EXPECT_FALSE(info("flush").set);
  EXPECT_FALSE(failpoints_are_set.load()) << "a point costs nothing again";
  ASSERT_TRUE(set_failpoint("pass replay", {}).ok());
  EXPECT_TRUE(failpoint("pass", "tidy").ok());
  EXPECT_TRUE(failpoint("pass", "replay").is(Code::kIoError));
  ASSERT_TRUE(clear_failpoint("pass replay").ok());
  EXPECT_TRUE(failpoint("pass", "replay").ok());
}

TEST_F(Failpoints, ActWithAProbability) {
  ASSERT_TRUE(set_failpoint("heal", {.probability = 0.25}).ok());
  unsigned acted = 0;
  for (unsigned i = 0; i < 1000; ++i) acted += !failpoint("heal").ok();
  EXPECT_GT(acted, 150U);
  EXPECT_LT(acted, 350U);
}

TEST_F(Failpoints, RefuseWhatMeansNothing) {
  EXPECT_TRUE(set_failpoint("nothing", {}).is(Code::kNotFound));
  EXPECT_TRUE(set_failpoint("frame write", {.kind = Kind::kThrow}).is(Code::kInvalidArgument));
  EXPECT_TRUE(set_failpoint("flush", {.code = Code::kOk}).is(Code::kInvalidArgument));
  EXPECT_TRUE(set_failpoint("flush", {.probability = 0}).is(Code::kInvalidArgument));
  for (const char* text : {"flush", "flush=", "flush=explode", "flush=error(x)", "flush=error,times=x", "flush=kill(1)",
                           "flush=delay", "flush=error,percent=101", "flush=error,often=1", "x=error"}) {
    EXPECT_FALSE(set_failpoints(std::string("scrub=error;") + text).ok()) << text;
    EXPECT_FALSE(info("scrub").set) << "all of it or nothing: " << text;
  }
}

TEST_F(Failpoints, AreSetByAText) {
  ASSERT_TRUE(set_failpoints(" flush = error(no_space) , times=1 ; scrub=delay(1); compaction=throw,percent=50;").ok());
  EXPECT_TRUE(failpoint("flush").is(Code::kNoSpace));
  EXPECT_TRUE(info("scrub").set);
  EXPECT_TRUE(info("compaction").set);
  EXPECT_TRUE(failpoint("scrub").ok());
}

TEST_F(Failpoints, AWorkerSurvivesAnException) {
  const Result<Store::Opened> opened = Store::open(store_, small());
  ASSERT_TRUE(opened.ok());
  Store store = opened->store;
  ASSERT_TRUE(store.create_keyspace("k").ok());
  ASSERT_TRUE(set_failpoint("compaction", {.kind = Kind::kThrow, .times = 1}).ok());
  const auto rebooted = [&] {
    const std::vector<Incident> incidents = store.incidents();
    for (const Incident& incident : incidents) {
      if (incident.failure == "invariant_broken" && incident.outcome == "resolved") return true;
    }
    return false;
  };
  while (!rebooted()) ::usleep(5000);
  EXPECT_TRUE(store.put(*store.keyspace("k"), "a", "1").ok());
}

/// Errors at each point while a store is written to, checkpointed and opened again: it comes back, with what was
/// acknowledged.
TEST_F(Failpoints, AStoreComesBackFromEachError) {
  std::uint64_t acknowledged = 0;
  for (const std::string& name : names()) {
    SCOPED_TRACE(name);
    {
      Result<Store::Opened> opened = Store::open(store_, small());
      ASSERT_TRUE(opened.ok()) << opened.status().to_string();
      Store store = opened->store;
      Result<Keyspace> k = store.keyspace("k");
      if (!k.ok()) k = store.create_keyspace("k");
      ASSERT_TRUE(k.ok());
      ASSERT_TRUE(set_failpoint(name, {.times = 2}).ok());
      for (int i = 0; i < 20; ++i) {
        if (!store.put(*k, "key" + std::to_string(acknowledged), std::to_string(acknowledged)).ok()) continue;
        ++acknowledged;
        if (i % 5 == 4) static_cast<void>(store.checkpoint());
      }
    }
    static_cast<void>(Store::open(store_, small()).status());
    clear_failpoints();
    const Result<Store::Opened> opened = Store::open(store_, small());
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    EXPECT_TRUE(opened->report.clean()) << opened->report.to_text();
    for (std::uint64_t i = 0; i < acknowledged; ++i) {
      const Result<std::string> got = opened->store.get(*opened->store.keyspace("k"), "key" + std::to_string(i));
      ASSERT_TRUE(got.ok()) << i << ": " << got.status().to_string();
      ASSERT_EQ(*got, std::to_string(i));
    }
  }
}

/// What a process does that was started with failpoints in its environment: this program again.
int live_with_failpoints(const std::string& store) {
  Result<Store::Opened> opened = Store::open(store, small());
  if (opened.status().is(Code::kInvalidArgument)) return 2;
  if (!opened.ok()) return 3;
  Result<Keyspace> k = opened->store.keyspace("k");
  if (!k.ok()) k = opened->store.create_keyspace("k");
  for (int i = 0; i < 12; ++i) {
    if (!opened->store.put(*k, "key" + std::to_string(i), "v").ok()) return 4;
    if (i % 2 == 1 && !opened->store.checkpoint().ok()) return 5;
  }
  while (!opened->store.stats().background.ok()) ::usleep(1000);
  ::usleep(100'000);  // the workers meet theirs
  return 0;
}

constexpr const char* kChild = "DARUMA_FAILPOINT_TEST_STORE";

TEST(FailpointChild, Lives) {
  const char* store = std::getenv(kChild);
  if (store == nullptr) GTEST_SKIP() << "run by the tests below";
  ::_exit(live_with_failpoints(store));
}

/// The status that the child ended with.
int run_child(const std::string& store, const std::string& points) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv(kChild, store.c_str(), 1);
    ::setenv("DARUMA_FAILPOINTS", points.c_str(), 1);
    ::execl("/proc/self/exe", "failpoint_test", "--gtest_filter=FailpointChild.Lives", "--gtest_brief=1",
            static_cast<char*>(nullptr));
    ::_exit(127);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return status;
}

TEST_F(Failpoints, AProcessTakesThemFromItsEnvironmentAndIsKilled) {
  unsigned killed = 0;
  for (const std::string& name : names()) {
    SCOPED_TRACE(name);
    const int status = run_child(store_, name + "=kill");
    const bool dead = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    EXPECT_TRUE(dead || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) << status;
    killed += dead;
    const Result<Store::Opened> opened = Store::open(store_, small());
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    EXPECT_TRUE(opened->report.clean()) << opened->report.to_text();
  }
  EXPECT_GE(killed, 15U) << "most points are met by so little";
}

TEST_F(Failpoints, AMalformedEnvironmentStopsTheStart) {
  const int status = run_child(store_, "flush=explode");
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 2) << status;
}

}  // namespace
}  // namespace daruma
