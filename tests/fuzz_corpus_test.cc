// SPDX-License-Identifier: Apache-2.0
// Replays fuzz/corpus through the entry points of the fuzz programs, so that what they found stays found in every
// build.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "entry_points.h"
#include "row_entry_points.h"

namespace daruma {
namespace {

/// Gives every file of the corpus to `entry`, and near misses of it unless that takes long.
void replay(const std::string& name, void (*entry)(std::string_view), bool near_misses = true) {
  int files = 0;
  for (const auto& file : std::filesystem::directory_iterator(DARUMA_SOURCE_DIR "/fuzz/corpus/" + name)) {
    SCOPED_TRACE(file.path().string());
    std::ifstream in(file.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    entry(bytes);
    for (std::size_t at = 0; near_misses && at < bytes.size(); at += 1 + bytes.size() / 200) {
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
TEST(FuzzCorpus, WalFrame) { replay("wal_frame", fuzz::wal_frame); }
TEST(FuzzCorpus, EventAndFootprint) { replay("event_and_footprint", fuzz::event_and_footprint); }
TEST(FuzzCorpus, Manifest) { replay("manifest", fuzz::manifest); }
TEST(FuzzCorpus, DamageMap) { replay("damage_map", fuzz::damage_map); }
TEST(FuzzCorpus, QuarantineLedger) { replay("quarantine_ledger", fuzz::quarantine_ledger); }
TEST(FuzzCorpus, Run) { replay("run", fuzz::run); }
TEST(FuzzCorpus, RunFilter) { replay("run_filter", fuzz::run_filter); }
TEST(FuzzCorpus, RunInfo) { replay("run_info", fuzz::run_info); }
TEST(FuzzCorpus, DataBlock) { replay("data_block", fuzz::data_block); }
TEST(FuzzCorpus, EraseBlock) { replay("erase_block", fuzz::erase_block); }
TEST(FuzzCorpus, AttemptsNote) { replay("attempts_note", fuzz::attempts_note); }
TEST(FuzzCorpus, ScrubNote) { replay("scrub_note", fuzz::scrub_note); }
TEST(FuzzCorpus, Json) { replay("json", fuzz::json); }
TEST(FuzzCorpus, Recover) { replay("recover", fuzz::recover); }
TEST(FuzzCorpus, Forged) { replay("forged", fuzz::forged, false); }
TEST(FuzzCorpus, Simulation) { replay("simulation", fuzz::simulation, false); }
#ifdef DARUMA_FUZZ_ROWS
TEST(FuzzCorpus, Rows) { replay("rows", fuzz::rows); }
#endif

}  // namespace
}  // namespace daruma
