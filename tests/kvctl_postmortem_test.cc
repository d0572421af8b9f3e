// SPDX-License-Identifier: Apache-2.0
//
// kvctl postmortem and recover --report as processes: pages about a kill, about damage and loss, and about an incident.
// What must stay true: a page is whole (each tag has its end), fetches nothing and runs nothing, and nothing from the
// store is markup in it.
#include <regex>

#include "daruma/playbook.h"
#include "kvctl_testing.h"
#include "recovery/playbook.h"

namespace daruma {
namespace {

namespace fs = std::filesystem;
using kvctl_test::Json;
using kvctl_test::Ran;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kMarkup = "<script>alert(1)</script>&\"'";

class KvctlPostmortem : public kvctl_test::KvctlTest {
 protected:
  void build(const std::string& store = "a") const {
    Store opened = open(store);
    const Keyspace k = *opened.create_keyspace(kMarkup);
    for (int i = 0; i < 300; ++i)
      ASSERT_TRUE(opened.put(k, "key" + std::to_string(i), std::string(300, static_cast<char>('a' + i % 26))).ok());
  }
  [[nodiscard]] std::string page_of(const std::vector<std::string>& words, int exit = 0,
                                    const std::string& store = "a") const {
    const std::string file = path("page.html");
    fs::remove(file);
    std::vector<std::string> all = words;
    all.push_back(file);
    const Ran ran = kvctl(all, "", store);
    EXPECT_EQ(ran.exit, exit) << ran.out << ran.err;
    std::string text = read(file);
    if (const char* keep = std::getenv("DARUMA_PAGES"))
      fs::copy_file(file,
                    std::string(keep) + "/" + testing::UnitTest::GetInstance()->current_test_info()->name() +
                        std::to_string(pages_++) + ".html",
                    fs::copy_options::overwrite_existing);
    return text;
  }
  mutable int pages_ = 0;
};

/// Whole, alone, and without anything that runs.
void expect_sound(const std::string& page) {
  EXPECT_TRUE(page.starts_with("<!DOCTYPE html>\n<html lang=\"en\">")) << page.substr(0, 100);
  std::vector<std::string> open;
  const std::regex tag("<(/?)([a-z0-9]+)((\\s+[a-zA-Z:-]+(=\"[^\"<>]*\")?)*)\\s*(/?)>");
  std::size_t at = page.find("<html");
  std::size_t tags = 0;
  for (; (at = page.find('<', at)) != std::string::npos; ++tags) {
    std::smatch match;
    const std::string rest = page.substr(at, 2000);
    ASSERT_TRUE(std::regex_search(rest, match, tag, std::regex_constants::match_continuous)) << rest.substr(0, 120);
    const std::string name = match[2];
    at += static_cast<std::size_t>(match.length());
    if (name == "meta" || match[6] == "/") continue;
    if (match[1] == "/") {
      ASSERT_FALSE(open.empty()) << rest.substr(0, 80);
      ASSERT_EQ(open.back(), name) << rest.substr(0, 80);
      open.pop_back();
    } else {
      open.push_back(name);
      if (name == "style") at = page.find("</style>", at);
    }
  }
  EXPECT_TRUE(open.empty());
  EXPECT_GT(tags, 50U);
  for (const char* what : {"<script", "http:", "https:", "//", "url(", "@import", "src=", "href=", "onload",
                           "javascript:", "<iframe", "<img", "<link"})
    EXPECT_THAT(page, Not(HasSubstr(what))) << "it fetches nothing and runs nothing";
  EXPECT_THAT(page, HasSubstr("prefers-color-scheme:dark"));
  EXPECT_THAT(page, HasSubstr("name=\"viewport\""));
  for (const char* heading : {"Timeline", "What worked", "What did not", "What to do next"})
    EXPECT_THAT(page, HasSubstr(heading));
  EXPECT_LT(page.size(), 2U << 20);
}

TEST_F(KvctlPostmortem, AStartAfterAKillIsNothingToWorryAbout) {
  build();
  const std::string page = page_of({"recover", "--report"});
  expect_sound(page);
  EXPECT_THAT(page, HasSubstr("its process was killed"));
  EXPECT_THAT(page, HasSubstr("Nothing that had been acknowledged is lost."));
  for (const char* pass : {"lock", "choose snapshot", "open runs", "replay", "start log", "tidy"})
    EXPECT_THAT(page, HasSubstr("<span>" + std::string(pass) + "</span>"));
  EXPECT_THAT(page, HasSubstr("last sign of life"));
  EXPECT_THAT(page, HasSubstr(".log</code>")) << "the strip of a segment";
  const auto before = state();
  const Ran text = kvctl({"postmortem"});
  EXPECT_EQ(text.exit, 0);
  EXPECT_THAT(text.out, HasSubstr("Nothing that had been acknowledged is lost."));
  EXPECT_EQ(page_of({"postmortem", "2", "--html"}), page) << "the same page from the files";
  const Json json = kvctl({"--json", "postmortem", "2", "--html", path("other.html")}).json();
  EXPECT_EQ(json["kind"], "start");
  EXPECT_EQ(json["bytes"], page.size());
  EXPECT_TRUE(state() == before) << "looking touched the store";
  EXPECT_EQ(kvctl({"postmortem", "2", "--html", "-"}).out, page);
  EXPECT_EQ(kvctl({"postmortem", "--html", path("page.html")}).exit, 10);
  EXPECT_EQ(read(path("page.html")), page) << "and it stays as it was";
  EXPECT_EQ(kvctl({"postmortem", "77"}).exit, 1);
  EXPECT_EQ(kvctl({"postmortem", "i-nothing"}).exit, 1);
  EXPECT_EQ(kvctl({"recover", "--explain", "--report", path("no.html")}).exit, 2);
}

TEST_F(KvctlPostmortem, ALossIsToldWithItsBytesAndTheRowThatDecidedIt) {
  build();
  // The newest frames but the last become noise, in the log and in the ring: acknowledged, and beyond repair.
  for (const auto& entry : fs::directory_iterator(path("a") + "/wal")) {
    const std::string name = entry.path().filename().string();
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    if (name.ends_with(".log") && entry.file_size() > 0) file.seekp(64 << 10) << std::string(16 << 10, '\x3c');
    if (name.starts_with("tail")) file.seekp(0) << std::string(entry.file_size(), '\x3c');
  }
  const std::string page = page_of({"recover", "--report"}, 5);
  expect_sound(page);
  EXPECT_THAT(page, HasSubstr("data lost"));
  EXPECT_THAT(page, HasSubstr("could not be brought back"));
  EXPECT_THAT(page, HasSubstr("the row of the verdict table"));
  EXPECT_THAT(page, HasSubstr("3c 3c 3c 3c")) << "the bytes, from quarantine";
  EXPECT_THAT(page, HasSubstr("kept in quarantine as q-"));
  EXPECT_THAT(page, HasSubstr("<rect class=\"bad\""));
  EXPECT_THAT(page, HasSubstr("<rect class=\"ok\"")) << "and what was applied";
  EXPECT_THAT(page, HasSubstr("kvctl damage ls"));
}

TEST_F(KvctlPostmortem, ALoadThatIsLostIsToldAsOne) {
  build();
  ASSERT_EQ(kvctl({"recover"}).exit, 0);
  const std::string report = path("a") + "/recoveries/0000000000000002.json";
  Json json = Json::parse(read(report));
  json["findings"] = Json::array({{{"case", "load_lost"},
                                   {"file", "runs"},
                                   {"offset", 0},
                                   {"bytes", 0},
                                   {"verdict", "undecided"},
                                   {"proof", ""},
                                   {"action", "block_keyspace"},
                                   {"first_sequence", 7},
                                   {"last_sequence", 7}}});
  std::ofstream(report) << json.dump();
  const std::string page = page_of({"postmortem", "2", "--html"});
  expect_sound(page);
  EXPECT_THAT(page, HasSubstr("The log tells that a bulk load was finished"));
  EXPECT_THAT(page, HasSubstr("Each key of its keyspace answers with an error"));
  EXPECT_THAT(page, HasSubstr("<dt>where</dt><dd>runs</dd>"));
  EXPECT_THAT(page, Not(HasSubstr("from byte 0"))) << "it stands in no file";
  EXPECT_THAT(page, Not(HasSubstr("in no file any more")));
}

TEST_F(KvctlPostmortem, WhatTheStoreHoldsIsNeverMarkup) {
  const std::string store = std::string("<b>") + "&'\"";
  build(store);
  std::string page = page_of({"recover", "--report"}, 0, store);
  expect_sound(page);
  EXPECT_THAT(page, HasSubstr("&lt;b&gt;&amp;&#39;"));
  // A report and an incident that somebody has filled with it.
  const std::string report = path(store) + "/recoveries/0000000000000002.json";
  Json json = Json::parse(read(report));
  for (const char* name : {"policy", "cause", "snapshot", "outcome", "store"}) json[name] = kMarkup;
  json["passes"][0]["name"] = kMarkup;
  json["findings"] =
      Json::array({{{"case", kMarkup},
                    {"file", kMarkup},
                    {"verdict", kMarkup},
                    {"proof", kMarkup},
                    {"action", kMarkup},
                    {"quarantine_id", kMarkup},
                    {"detail", kMarkup},
                    {"bytes", 7}},
                   {{"case", "torn_header"}, {"file", "wal/<x>.log"}, {"verdict", "corrupt"}, {"offset", 1}}});
  std::ofstream(report, std::ios::trunc) << json;
  expect_sound(page_of({"postmortem", "2", "--html"}, 0, store));
  Json incident{
      {"id", "i-0000000000000001"},
      {"failure", kMarkup},
      {"component", kMarkup},
      {"cause", {{"code", "io_error"}, {"message", kMarkup}, {"file", kMarkup}, {"hint", kMarkup}}},
      {"began_wall_ns", 1},
      {"ended_wall_ns", 2},
      {"outcome", kMarkup},
      {"steps", Json::array({{{"name", kMarkup},
                              {"outcome", kMarkup},
                              {"error", {{"code", "io_error"}, {"message", kMarkup}, {"file", ""}, {"hint", kMarkup}}},
                              {"duration_ns", 5}}})}};
  std::ofstream(path(store) + "/recoveries/incident-i-0000000000000001.json") << incident;
  page = page_of({"postmortem", "i-0000000000000001", "--html"}, 0, store);
  expect_sound(page);
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt;"));
}

TEST_F(KvctlPostmortem, AnIncidentIsToldStepByStep) {
  build();
  ASSERT_EQ(kvctl({"playbook", "run", "no_space"}).exit, 0);
  const Json json = kvctl({"--json", "postmortem"}).json();
  EXPECT_EQ(json["kind"], "incident");
  const std::string page = page_of({"postmortem", json["id"], "--html"});
  expect_sound(page);
  EXPECT_THAT(page, HasSubstr("give up history"));
  EXPECT_THAT(page, HasSubstr("resolved"));
  EXPECT_EQ(page_of({"postmortem", "latest", "--html"}), page);
  ASSERT_NE(kvctl({"playbook", "run", "worker_failing", "--component", "teapot"}).exit, 0);
  const std::string escalated = page_of({"postmortem", "latest", "--html"});
  expect_sound(escalated);
  EXPECT_THAT(escalated, HasSubstr("That did not end it"));
}

}  // namespace
}  // namespace daruma
