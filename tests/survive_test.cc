// SPDX-License-Identifier: Apache-2.0
//
// A slice of the survival matrix (bench/survive.cc) on the simulated disk: one sector of each file of a store flips a
// bit, reads as zeros, holds what stands elsewhere in the file, or cannot be read at all.
//
// What is held for each: the store opens; each get and scan is right or an error, nothing is silent; a file that stands
// redundantly loses nothing. DARUMA_SURVIVE_SCALE multiplies the slice of all sectors that is run (0: every one).
#include "engine/engine.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <engine_testing.h>
#include <gtest/gtest.h>
#include <sanitized.h>

#include "recovery/quarantine.h"
#include "wal/wal_reader.h"

namespace daruma {
namespace {

constexpr std::uint64_t kSector = 4096;

enum class Hurt : std::uint8_t { kBitFlip, kZeroed, kMisdirected, kUnreadable };
constexpr Hurt kHurts[] = {Hurt::kBitFlip, Hurt::kZeroed, Hurt::kMisdirected, Hurt::kUnreadable};
constexpr const char* kHurtNames[] = {"bit flip", "zeroed sector", "misdirected sector", "unreadable sector"};

std::uint64_t scale() {
  const char* text = std::getenv("DARUMA_SURVIVE_SCALE");
  return text ? std::strtoull(text, nullptr, 10) : 1;
}

std::string class_of(const std::string& path) {
  if (path.find("/wal/tail-") != std::string::npos) return "ring";
  if (path.find("/wal/") != std::string::npos) return path.ends_with(".log") ? "log" : "spare";
  for (const char* room : {"runs", "snapshots", "quarantine", "recoveries"}) {
    if (path.find(std::string("/") + room + "/") != std::string::npos) return room;
  }
  return "lock";
}

class Survive : public ::testing::Test {
 protected:
  /// Three lives: runs on several levels, two generations of manifests, several segments, a ring with a tail, and a
  /// quarantine with what a power loss tore.
  void SetUp() override {
    Random random(11);
    for (unsigned life = 0; life < 3; ++life) {
      Store store = world_.must_open();
      if (life == 0) { ASSERT_TRUE(store.create_keyspace("k").ok()); }
      const Keyspace keyspace = *store.keyspace("k");
      const auto write = [&](unsigned changes, Durability durability) {
        for (; changes > 0; --changes) {
          const std::string key = "key" + std::to_string(100 + random.below(150));
          keys_.insert(key);
          if (random.one_in(7)) {
            ASSERT_TRUE(store.erase(keyspace, key, {durability}).ok());
            model_.erase(key);
          } else {
            std::string value(random.below(400), '\0');
            for (char& c : value) c = static_cast<char>(random.next());
            ASSERT_TRUE(store.put(keyspace, key, value, {durability}).ok());
            model_[key] = value;
          }
        }
      };
      for (unsigned round = 0; round < 2; ++round) {
        write(80, Durability::kPower);
        ASSERT_TRUE(store.checkpoint().ok());
        ASSERT_TRUE(Engine::of(store).step().ok());
      }
      write(40, Durability::kPower);
      if (life < 2) {
        world_.disk->power_cut(40);
        set_aside();
      } else {
        write(20, Durability::kProcess);
        world_.disk->kill();
      }
    }
    keys_.insert({"absent", "key", "zzz"});
  }

  /// As a start does with what a write left that power cut off.
  void set_aside() {
    std::string newest;
    const std::vector<DirectoryEntry> entries = *world_.disk->list("store/wal");
    for (const DirectoryEntry& entry : entries) {
      if (entry.name.ends_with(".log")) newest = "store/wal/" + entry.name;
    }
    const SegmentScan scan = read_segment(*world_.disk, newest, std::nullopt, [](const FrameView&) {});
    ASSERT_TRUE(scan.status.ok()) << scan.status.to_string();
    QuarantineEntry entry;
    entry.case_name = "torn_frame", entry.file = newest, entry.offset = scan.end_offset, entry.verdict = "torn";
    Quarantine quarantine(*world_.disk, "store/quarantine", scan.header->store);
    ASSERT_EQ(quarantine.put(entry, std::string(5000, 't')).kept, QuarantineEntry::Kept::kBytes);
  }

  struct Answers {
    std::size_t lost = 0, silent = 0;
    std::string first;
  };
  Answers ask(const Store& store) {
    Answers answers;
    const auto silent = [&](const std::string& what) {
      if (answers.silent++ == 0) answers.first = what;
    };
    const Result<Keyspace> keyspace = store.keyspace("k");
    if (!keyspace.ok()) {
      if (keyspace.status().is(Code::kNotFound)) silent("the keyspace is said not to be there");
      answers.lost = keys_.size();
      return answers;
    }
    for (const std::string& key : keys_) {
      const Result<std::string> got = store.get(*keyspace, key);
      const auto want = model_.find(key);
      if (got.ok()) {
        if (want == model_.end() || *got != want->second) silent(key + " has a value that is not its newest");
      } else if (!got.status().is(Code::kNotFound)) {
        ++answers.lost;
      } else if (want != model_.end()) {
        silent(key + " is said not to be there");
      }
    }
    Result<Cursor> cursor = store.cursor(*keyspace);
    if (!cursor.ok()) return answers;
    auto want = model_.begin();
    for (cursor->seek_first(); cursor->valid(); cursor->next()) {
      if (want == model_.end() || cursor->key() != want->first || cursor->value() != want->second) {
        silent("a scan gives " + std::string(cursor->key()));
        return answers;
      }
      ++want;
    }
    if (cursor->status().ok() && want != model_.end()) silent("a scan ends before " + want->first);
    return answers;
  }

  World world_;
  std::map<std::string, std::string> model_;
  std::set<std::string> keys_;
};

TEST_F(Survive, OneSectorOfAnyFileCostsNothing) {
  const std::map<std::string, std::string> before = contents(*world_.disk, "store");
  std::map<std::string, std::size_t> tried, costly, lost;
  const std::shared_ptr<SimStorage> whole = world_.disk;
  {
    world_.disk = whole->clone(1);
    Store store = world_.must_open();
    const Answers answers = ask(store);
    ASSERT_EQ(answers.silent + answers.lost, 0U) << answers.first;
  }
  std::size_t number = 0;
  for (const auto& [path, bytes] : before) {
    const std::string of = class_of(path);
    // engine_heal_test has every sector of every run.
    const std::size_t slice = of == "runs" || of == "spare" ? 31
                              : of == "log"                 ? 3
                                                            : 1;  // odd, for there are four hurts
    const std::size_t stride = scale() == 0 ? 1 : std::max<std::size_t>(1, (kSanitized ? 5 : 1) * slice / scale());
    std::vector<std::uint64_t> used;
    for (std::uint64_t at = 0; at < bytes.size(); at += kSector) {
      if (bytes.substr(at, kSector).find_first_not_of('\0') != std::string::npos) used.push_back(at);
    }
    for (std::size_t i = 0; i < used.size(); ++i) {
      for (const Hurt hurt : kHurts) {
        if (++number % stride != 0) continue;
        const std::uint64_t at = used[i];
        Random random(number);
        const std::string sector = bytes.substr(at, kSector);
        const std::string& other = bytes.substr(used[random.below(used.size())], kSector);
        if (hurt == Hurt::kMisdirected && (other == sector || other.size() != sector.size())) continue;
        SCOPED_TRACE(path + " at " + std::to_string(at) + ": " + kHurtNames[static_cast<std::size_t>(hurt)]);
        world_.disk = whole->clone(number);
        switch (hurt) {
          case Hurt::kBitFlip:
            ASSERT_TRUE(world_.disk->flip_bit(path, at + random.below(sector.size()), random.below(8)).ok());
            break;
          case Hurt::kZeroed:
            ASSERT_TRUE(world_.disk->overwrite(path, at, std::string(sector.size(), '\0')).ok());
            break;
          case Hurt::kMisdirected: ASSERT_TRUE(world_.disk->overwrite(path, at, other).ok()); break;
          case Hurt::kUnreadable: {
            world_.disk->inject({.kind = FaultKind::kReadError, .path_contains = path, .offset = at, .bytes = kSector});
            break;
          }
        }
        ++tried[of];
        const Result<Store::Opened> opened = world_.open();
        ASSERT_TRUE(opened.ok()) << opened.status().to_string();
        const Answers answers = ask(opened->store);
        ASSERT_EQ(answers.silent, 0U) << answers.first << "\n" << opened->report.to_text();
        lost[of] += answers.lost;
        costly[of] += answers.lost > 0;
        ASSERT_EQ(answers.lost, 0U) << opened->report.to_text();
      }
    }
  }
  for (const auto& [of, count] : tried)
    std::printf("%s: %zu faults, %zu of them cost %zu keys\n", of.c_str(), count, costly[of], lost[of]);
  for (const char* of : {"log", "ring", "runs", "snapshots", "quarantine", "recoveries"})
    EXPECT_GT(tried[of], 0U) << "the store has no " << of << " to hurt";
}

}  // namespace
}  // namespace daruma
