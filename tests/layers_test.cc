// SPDX-License-Identifier: Apache-2.0
//
// Includes go down only:
//   engine → recovery → snapshot → {wal, memtable, run} → {io, event, parity, health} → base
// Rooms on one line do not include each other, only src/io includes the operating system, only base/clock and
// base/random include <ctime> and <random>, and the public headers know no room. Read from the #include lines
// themselves.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace fs = std::filesystem;

const std::map<std::string, int, std::less<>> kLine = {{"base", 0},     {"io", 1},       {"event", 1},    {"parity", 1},
                                                       {"health", 1},   {"wal", 2},      {"memtable", 2}, {"run", 2},
                                                       {"snapshot", 3}, {"recovery", 4}, {"engine", 5}};

// Angle-bracket headers with a .h that are no operating system: two libraries and the compiler's own.
const std::set<std::string, std::less<>> kNotTheSystem = {
    "xxhash.h",    "lz4.h",       "lz4hc.h",    "immintrin.h",
    "emmintrin.h", "x86intrin.h", "arm_neon.h", "sanitizer/asan_interface.h"};
// Standard headers that open files behind the Storage seam's back.
const std::set<std::string, std::less<>> kFilesystem = {"filesystem", "fstream"};
// Standard headers behind which stand the Clock and Random seams, and the files that are those seams.
const std::map<std::string, std::string, std::less<>> kSeams = {{"ctime", "src/base/clock."},
                                                                {"random", "src/base/random."}};

struct Include {
  std::string name;
  bool angled = false;
};

std::optional<Include> parse_include(std::string_view line) {
  const auto eat = [&line](std::string_view word) {
    while (line.starts_with(' ') || line.starts_with('\t')) line.remove_prefix(1);
    if (!line.starts_with(word)) return false;
    line.remove_prefix(word.size());
    return true;
  };
  if (!eat("#") || !eat("include")) return std::nullopt;
  const bool angled = eat("<");
  if (!angled && !eat("\"")) return std::nullopt;
  const auto end = line.find(angled ? '>' : '"');
  if (end == std::string_view::npos) return std::nullopt;
  return Include{std::string(line.substr(0, end)), angled};
}

std::string first_part(std::string_view path) {
  const auto slash = path.find('/');
  return slash == std::string_view::npos ? std::string() : std::string(path.substr(0, slash));
}

// Why `file` (relative to the source tree, "src/wal/x.cc") may not include that; nothing when it may.
std::optional<std::string> violation(std::string_view file, const Include& include) {
  const bool is_public = file.starts_with("include/");
  const std::string room = is_public ? std::string() : first_part(file.substr(std::string_view("src/").size()));
  if (!is_public && !kLine.contains(room)) return "'" + room + "' is no room of the layer rule";

  if (include.angled) {
    if (include.name.starts_with("daruma/") || kLine.contains(first_part(include.name))) {
      return "own headers are included in quotes";
    }
    if (const auto seam = kSeams.find(include.name); seam != kSeams.end()) {
      if (file.starts_with(seam->second)) return std::nullopt;
      return "<" + include.name + "> stands behind the seam " + seam->second + "h";
    }
    const bool is_system =
        (include.name.ends_with(".h") && !kNotTheSystem.contains(include.name)) || kFilesystem.contains(include.name);
    if (is_system && room != "io") return "only src/io touches the operating system";
    return std::nullopt;
  }

  const std::string target = first_part(include.name);
  if (target == "daruma") return std::nullopt;
  if (is_public) return "a public header includes public headers only";
  const auto below = kLine.find(target);
  if (below == kLine.end()) return "not \"room/file.h\" and not \"daruma/file.h\"";
  if (target == room) return std::nullopt;
  const int here = kLine.at(room);
  if (below->second == here) return "rooms on one line do not include each other";
  if (below->second > here) return "includes go down only";
  return std::nullopt;
}

std::vector<fs::path> sources_below(const fs::path& root) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const auto extension = entry.path().extension();
    if (entry.is_regular_file() && (extension == ".h" || extension == ".cc")) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

TEST(Layers, IncludesGoDownOnly) {
  const fs::path root = DARUMA_SOURCE_DIR;
  std::size_t includes = 0;
  for (const char* top : {"src", "include"}) {
    const auto files = sources_below(root / top);
    ASSERT_FALSE(files.empty()) << top << " holds no sources: the test would prove nothing";
    for (const auto& path : files) {
      const std::string file = fs::relative(path, root).generic_string();
      std::ifstream in(path);
      ASSERT_TRUE(in) << file;
      std::string line;
      for (int number = 1; std::getline(in, line); ++number) {
        const auto include = parse_include(line);
        if (!include) continue;
        ++includes;
        const auto why = violation(file, *include);
        EXPECT_FALSE(why) << file << ":" << number << ": " << line << ": " << why.value_or("");
      }
    }
  }
  EXPECT_GT(includes, 20U) << "so few that the #include lines are no longer recognised";
}

TEST(Layers, EveryRoomOnDiskHasALine) {
  for (const auto& entry : fs::directory_iterator(fs::path(DARUMA_SOURCE_DIR) / "src")) {
    if (entry.is_directory()) {
      EXPECT_TRUE(kLine.contains(entry.path().filename().string())) << entry.path().filename();
    }
  }
}

TEST(Layers, EveryPairOfRoomsIsAllowedExactlyWhenItGoesDown) {
  for (const auto& [from, from_line] : kLine) {
    for (const auto& [to, to_line] : kLine) {
      const bool allowed = !violation("src/" + from + "/x.cc", {to + "/y.h"});
      EXPECT_EQ(allowed, from == to || from_line > to_line) << from << " includes " << to;
    }
    EXPECT_FALSE(violation("src/" + from + "/x.h", {"daruma/status.h"}));
    EXPECT_TRUE(violation("include/daruma/x.h", {from + "/y.h"})) << "public header includes " << from;
  }
}

TEST(Layers, OnlyIoIncludesTheOperatingSystem) {
  for (const char* header :
       {"unistd.h", "fcntl.h", "sys/mman.h", "linux/io_uring.h", "liburing.h", "filesystem", "fstream"}) {
    for (const auto& [room, line] : kLine) {
      EXPECT_EQ(violation("src/" + room + "/x.cc", {header, true}).has_value(), room != "io")
          << room << " <" << header << ">";
    }
    EXPECT_TRUE(violation("include/daruma/x.h", {header, true})) << header;
    EXPECT_TRUE(violation("src/wal/x.cc", {header, false})) << "in quotes: " << header;
  }
  EXPECT_FALSE(violation("src/base/checksum.cc", {"xxhash.h", true}));
  EXPECT_FALSE(violation("src/wal/x.cc", {"vector", true}));
}

TEST(Layers, OnlyTheSeamsIncludeTimeAndRandomness) {
  EXPECT_FALSE(violation("src/base/clock.cc", {"ctime", true}));
  EXPECT_FALSE(violation("src/base/random.cc", {"random", true}));
  for (const char* file : {"src/base/coding.h", "src/engine/x.cc", "src/io/x.cc", "include/daruma/x.h"}) {
    EXPECT_TRUE(violation(file, {"ctime", true})) << file;
    EXPECT_TRUE(violation(file, {"random", true})) << file;
  }
  EXPECT_TRUE(violation("src/base/clock.cc", {"random", true})) << "each seam its own header";
}

TEST(Layers, StraysAreNamed) {
  EXPECT_TRUE(violation("src/wal/x.cc", {"../run/y.h"}));
  EXPECT_TRUE(violation("src/wal/x.cc", {"neighbour.h"})) << "without its room";
  EXPECT_TRUE(violation("src/wal/x.cc", {"base/coding.h", true})) << "own header in angle brackets";
  EXPECT_TRUE(violation("src/attic/x.cc", {"base/coding.h"})) << "a folder that is no room";
}

TEST(Layers, IncludeLinesAreRecognised) {
  EXPECT_EQ(parse_include("#include \"base/coding.h\"")->name, "base/coding.h");
  EXPECT_TRUE(parse_include("  #  include <unistd.h>  // why")->angled);
  EXPECT_EQ(parse_include("#include<sys/mman.h>")->name, "sys/mman.h");
  EXPECT_FALSE(parse_include("// #include <unistd.h>"));
  EXPECT_FALSE(parse_include("const char* s = \"#include <unistd.h>\";"));
}

}  // namespace
