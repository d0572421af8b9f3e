// SPDX-License-Identifier: Apache-2.0
// The race (bench/race.cc) at a tiny scale: what it says is well formed, and no row is left out. No time is asserted.
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <race/rows.h>
#include <temporary_directory.h>
#include <nlohmann/json.hpp>

namespace race {
namespace {

using nlohmann::json;
using testing::HasSubstr;

std::string read(const std::filesystem::path& path) {
  std::ostringstream out;
  out << std::ifstream(path).rdbuf();
  return out.str();
}

void run(const std::string& command) { ASSERT_EQ(WEXITSTATUS(std::system(command.c_str())), 0) << command; }

TEST(Race, MeasuresEveryRowOfEveryStoreOrSaysWhyNot) {
  const daruma::TemporaryDirectory directory;
  const std::string results = directory.path() + "/race.json", table = directory.path() + "/race.md",
                    picture = directory.path() + "/race.svg", curves = directory.path() + "/curves.svg";
  const std::string command =
      std::string(DARUMA_RACE) + " --scale=0.001 --seconds=0.01 --rounds=1 --directory=" + directory.path() +
      "/stores --results=" + results + " --table=" + table + " --picture=" + picture + " --curves=" + curves + " 2>&1";
  run(command);
  const std::string once = read(results);
  const json all = json::parse(once);
  std::map<std::string, std::map<std::string, json>> figures;
  for (const json& one : all.at("outcomes")) {
    EXPECT_EQ(one.at("failed"), "") << one;
    figures[one.at("store")][one.at("trial")] = one.at("figures");
  }
  const auto expect = [&](const std::string& store, const Row& row) {
    const json& figure = figures[store][row.trial][row.figure];
    EXPECT_TRUE(figure.is_number()) << store << ", " << row.trial << ", " << row.figure << ": " << figure;
  };
  std::set<std::string> stores;
  for (const json& racer : all.at("racers")) {
    const std::string store = racer.at("name");
    stores.insert(store);
    if (store == kReference) continue;
    for (const auto& part : {sections(), growth()}) {
      for (const Section& section : part) {
        for (const Row& row : section.rows) {
          if (!racer.at("cannot").contains(row.trial)) expect(store, row);
        }
      }
    }
  }
  EXPECT_TRUE(stores.contains("daruma"));
  for (const Row& row : references().rows) {
    if (figures[kReference].contains(row.trial)) expect(kReference, row);
  }

  const std::string markdown = read(table);
  for (const Section& section : sections()) {
    for (const Row& row : section.rows) EXPECT_THAT(markdown, HasSubstr("| " + row.title + ", " + row.unit + " |"));
  }
  EXPECT_THAT(markdown, HasSubstr("](curves.svg)"));
  for (const Section& section : growth()) {
    for (const Row& row : section.rows) {
      EXPECT_THAT(markdown,
                  HasSubstr("| " + row.title + ", " + (section.grows == kKeys ? "keys: 100 k" : "threads: 8")));
      EXPECT_THAT(read(curves), HasSubstr(">" + row.title + ", " + row.unit + "<"));
    }
  }
  for (const std::string& svg : {read(picture), read(curves)}) {
    EXPECT_THAT(svg, testing::AllOf(testing::StartsWith("<svg "), testing::EndsWith("</svg>\n"),
                                    HasSubstr("prefers-color-scheme: dark")));
  }

  run(command);  // finds everything done
  EXPECT_EQ(json::parse(read(results)), all);
}

std::string compared(const std::string& directory, const json& before, const json& after) {
  std::ofstream(directory + "/a") << before;
  std::ofstream(directory + "/b") << after;
  run(std::string(DARUMA_COMPARE) + " " + directory + "/a " + directory + "/b >" + directory + "/out");
  return read(directory + "/out");
}

json benchmark(const std::vector<double>& times) {
  json out;
  for (const double time : times) out["benchmarks"].push_back({{"name", "part"}, {"cpu_time", time}, {"real_time", 1}});
  return out;
}

json raced(const std::vector<double>& rates) {
  json out;
  for (const double rate : rates)
    out["outcomes"].push_back({{"store", "daruma"}, {"trial", "scan"}, {"figures", {{"rate", rate}}}});
  return out;
}

TEST(Compare, ADifferenceWithinTheSpreadIsNone) {
  const daruma::TemporaryDirectory directory;
  const std::string& in = directory.path();
  EXPECT_THAT(compared(in, benchmark({10, 11, 12}), benchmark({5, 6, 7})), HasSubstr("better"));
  EXPECT_THAT(compared(in, benchmark({5, 6, 7}), benchmark({10, 11, 12})), HasSubstr("worse"));
  EXPECT_THAT(compared(in, benchmark({10, 11, 12}), benchmark({5, 6, 10.5})), HasSubstr("none\n"));
  EXPECT_THAT(compared(in, benchmark({10, 11}), benchmark({5, 6, 7})), HasSubstr("none: too few samples"));
  EXPECT_THAT(compared(in, raced({10, 11, 12}), raced({5, 6, 7})), HasSubstr("worse"));
  EXPECT_THAT(compared(in, raced({5, 6, 7}), raced({10, 11, 12})), HasSubstr("better"));
}

}  // namespace
}  // namespace race
