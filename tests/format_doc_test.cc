// SPDX-License-Identifier: Apache-2.0
// The bytes that docs/format.md prints are those of the golden files.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "golden_testing.h"

namespace daruma {
namespace {

TEST(FormatDoc, PrintsTheBytesOfTheGoldenFiles) {
  std::ifstream doc(DARUMA_SOURCE_DIR "/docs/format.md");
  const std::string kFence = "```golden:";
  std::string line, file;
  int compared = 0;
  while (std::getline(doc, line)) {
    if (line.starts_with("```")) {
      file = line.starts_with(kFence) ? golden(line.substr(kFence.size())) : std::string();
      continue;
    }
    if (file.empty()) continue;
    std::istringstream in(line);
    std::size_t at = 0;
    in >> std::hex >> at;
    for (int i = 0; i < 16; ++i, ++at) {
      unsigned byte = 0;
      in >> byte;
      ASSERT_TRUE(in && at < file.size()) << line;
      ASSERT_EQ(byte, static_cast<std::uint8_t>(file[at])) << line << ", byte " << i;
      ++compared;
    }
  }
  EXPECT_GE(compared, 16 * 15);
}

}  // namespace
}  // namespace daruma
