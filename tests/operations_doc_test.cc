// SPDX-License-Identifier: Apache-2.0
// docs/operations.md names what the code has: checks, components, playbooks with their steps, and tests that exist.
#include <filesystem>
#include <fstream>
#include <regex>
#include <vector>

#include "engine_testing.h"

namespace daruma {
namespace {

using Lines = std::vector<std::string>;

/// The lines below a heading, up to the next one of the same or a higher rank.
Lines below(const std::string& heading) {
  const std::size_t rank = heading.find(' ');
  std::ifstream doc(DARUMA_SOURCE_DIR "/docs/operations.md");
  Lines lines;
  bool inside = false;
  for (std::string line; std::getline(doc, line);) {
    if (line.starts_with("#") && line.find(' ') <= rank)
      inside = line == heading;
    else if (inside)
      lines.push_back(line);
  }
  return lines;
}

/// The first cell of each row, where it is `code`.
Lines rows(const std::string& heading) {
  Lines names;
  const std::regex row("^\\| `([^`]+)` \\|.*");
  for (const std::string& line : below(heading)) {
    if (std::smatch match; std::regex_match(line, match, row)) names.push_back(match[1]);
  }
  return names;
}

TEST(OperationsDoc, NamesEveryCheckWithItsLevel) {
  World world;
  const Store store = world.must_open();
  Lines names, levels;
  const Health health = store.health();
  for (const HealthCheck& check : health.checks) {
    names.push_back(check.name);
    levels.push_back("| `" + check.name + "` | " + std::string(health_level_name(check.level)) + " |");
  }
  EXPECT_EQ(rows("## Checks"), names);
  const Lines lines = below("## Checks");
  for (const std::string& level : levels) {
    EXPECT_TRUE(std::any_of(lines.begin(), lines.end(), [&](const std::string& l) { return l.starts_with(level); }))
        << level;
  }
}

TEST(OperationsDoc, NamesEveryComponent) {
  World world;
  const Store store = world.must_open();
  Lines names;
  for (const ComponentInfo& info : store.components()) names.push_back(info.name);
  names.emplace_back("keyspace NAME");
  EXPECT_EQ(rows("## Components"), names);
}

TEST(OperationsDoc, NamesEveryPlaybookAndItsSteps) {
  World world;
  const Store store = world.must_open();
  std::size_t headings = 0;
  for (const std::string& line : below("## Playbooks")) headings += line.starts_with("### ");
  EXPECT_EQ(headings, store.playbooks().size());
  for (const PlaybookInfo& book : store.playbooks()) {
    Lines steps;
    const std::regex step("^[0-9]+\\. (.*)$");
    for (const std::string& line : below("### " + book.failure)) {
      if (std::smatch match; std::regex_match(line, match, step)) steps.push_back(match[1]);
    }
    EXPECT_EQ(steps, book.steps) << book.failure;
  }
}

TEST(OperationsDoc, TheTestsThatItNamesExist) {
  std::ifstream doc(DARUMA_SOURCE_DIR "/docs/operations.md");
  std::ifstream scripts(DARUMA_SOURCE_DIR "/tests/CMakeLists.txt");
  const std::string more{std::istreambuf_iterator<char>(scripts), {}};
  const std::regex test("`([a-z_]+_test)`");
  std::size_t named = 0;
  for (std::string line; std::getline(doc, line);) {
    for (std::sregex_iterator at(line.begin(), line.end(), test); at != std::sregex_iterator(); ++at, ++named) {
      const std::string name = (*at)[1];
      const bool healing = name.starts_with("healing_") && more.find("healing_${scenario}_test") != std::string::npos;
      EXPECT_TRUE(healing || std::filesystem::exists(DARUMA_SOURCE_DIR "/tests/" + name + ".cc")) << name;
    }
  }
  EXPECT_GE(named, 6U);
}

}  // namespace
}  // namespace daruma
