// SPDX-License-Identifier: Apache-2.0
// Replays fuzz/corpus through the entry points of the fuzz programs, so that what they found stays found in every
// build.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "../fuzz/entry_points.h"

namespace daruma {
namespace {

void replay(const std::string& name, void (*entry)(std::string_view)) {
  int files = 0;
  for (const auto& file : std::filesystem::directory_iterator(DARUMA_SOURCE_DIR "/fuzz/corpus/fuzz_" + name)) {
    SCOPED_TRACE(file.path().string());
    std::ifstream in(file.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    entry(bytes);
    for (std::size_t at = 0; at < bytes.size(); at += 1 + bytes.size() / 200) {  // and near misses of it
      std::string hurt = bytes;
      hurt[at] ^= static_cast<char>(1 << (at % 8));
      entry(hurt);
      entry(std::string_view(bytes).substr(0, at));
    }
    ++files;
  }
  EXPECT_GT(files, 0) << name;
}

TEST(FuzzCorpus, WalSegment) { replay("wal_segment", fuzz::wal_segment); }
TEST(FuzzCorpus, WalTail) { replay("wal_tail", fuzz::wal_tail); }
TEST(FuzzCorpus, EventAndFootprint) { replay("event_and_footprint", fuzz::event_and_footprint); }
TEST(FuzzCorpus, Manifest) { replay("manifest", fuzz::manifest); }
TEST(FuzzCorpus, DamageMap) { replay("damage_map", fuzz::damage_map); }
TEST(FuzzCorpus, Run) { replay("run", fuzz::run); }
TEST(FuzzCorpus, Recover) { replay("recover", fuzz::recover); }
TEST(FuzzCorpus, QuarantineLedger) { replay("quarantine_ledger", fuzz::quarantine_ledger); }

}  // namespace
}  // namespace daruma
