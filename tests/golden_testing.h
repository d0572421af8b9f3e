// SPDX-License-Identifier: Apache-2.0
// Golden files: what released stores hold, byte for byte.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

namespace daruma {

inline std::string golden_path(const std::string& name) { return DARUMA_SOURCE_DIR "/tests/golden/" + name; }

inline std::string golden(const std::string& name) {
  std::ifstream in(golden_path(name), std::ios::binary);
  EXPECT_TRUE(in.good()) << name << " is missing; DARUMA_WRITE_GOLDEN=1 writes it";
  return {std::istreambuf_iterator<char>(in), {}};
}

/// `bytes` are those of the golden file. With DARUMA_WRITE_GOLDEN set the file is written instead, and the test still
/// fails, so that no build passes because of it.
inline void expect_golden(const std::string& name, const std::string& bytes) {
  if (std::getenv("DARUMA_WRITE_GOLDEN") != nullptr) {
    std::ofstream(golden_path(name), std::ios::binary) << bytes;
    ADD_FAILURE() << name << " was written; run again without DARUMA_WRITE_GOLDEN";
    return;
  }
  const std::string kept = golden(name);
  ASSERT_EQ(kept.size(), bytes.size()) << name;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    ASSERT_EQ(kept[at], bytes[at]) << name << " differs at " << at << ": the format has changed";
  }
}

}  // namespace daruma
