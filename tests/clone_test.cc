// SPDX-License-Identifier: Apache-2.0
//
// A clone of a store, on the real file system: it gives the same answers, what is written to one is not seen in the
// other, and taken beside a writer it opens as after a crash, with everything that was acknowledged before.
#include "rehearsal/clone.h"

#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <live_writer.h>
#include <temporary_directory.h>

#include "rehearsal/compare.h"

namespace daruma {
namespace {

namespace fs = std::filesystem;
using rehearsal::clone_store;
using rehearsal::Cloned;

class Clone : public testing::Test {
 protected:
  [[nodiscard]] std::string path(const std::string& name) const { return temporary_.path() + "/" + name; }
  [[nodiscard]] static Store open(const std::string& directory) {
    Result<Store::Opened> opened = Store::open(directory, live_options());
    EXPECT_TRUE(opened.ok()) << opened.status().to_string();
    if (!opened.ok()) std::abort();
    return std::move(opened->store);
  }
  void fill() const {
    Store store = open(path("a"));
    const Keyspace k = *store.create_keyspace("k");
    for (int i = 0; i < 500; ++i) {
      ASSERT_TRUE(store.put(k, "key" + std::to_string(i), std::string(300, 'v')).ok());
      if (i == 250) { ASSERT_TRUE(store.checkpoint().ok()); }
    }
  }
  static std::uint64_t inode(const fs::path& file) {
    struct stat info {};
    EXPECT_EQ(::stat(file.c_str(), &info), 0) << file;
    return info.st_ino;
  }

  const TemporaryDirectory temporary_;
};

TEST_F(Clone, GivesTheSameAnswers) {
  fill();
  const Result<Cloned> cloned = clone_store(path("a"), path("b"));
  ASSERT_TRUE(cloned.ok()) << cloned.status().to_string();
  EXPECT_GT(cloned->reflinked.files + cloned->linked.files + cloned->copied.files, 4U);
  const Store a = open(path("a"));
  const Store b = open(path("b"));
  const auto compared = rehearsal::compare(a, b);
  ASSERT_TRUE(compared.ok());
  EXPECT_EQ(compared->keys, 500U);
  EXPECT_EQ(compared->silent() + compared->in_doubt, 0U) << compared->first;
  EXPECT_FALSE(fs::exists(path("b.cloning")));
}

TEST_F(Clone, WhatIsWrittenToOneIsNotSeenInTheOther) {
  fill();
  ASSERT_TRUE(clone_store(path("a"), path("b")).ok());
  {
    Store b = open(path("b"));
    const Keyspace k = *b.keyspace("k");
    for (int i = 0; i < 500; ++i) { ASSERT_TRUE(b.put(k, "key" + std::to_string(i), "other").ok()); }
    ASSERT_TRUE(b.compact(k).ok());
    ASSERT_TRUE(b.trim().ok());
  }
  const Store a = open(path("a"));
  EXPECT_EQ(*a.get(*a.keyspace("k"), "key7"), std::string(300, 'v'));
  const auto compared = rehearsal::compare(a, open(path("b")));
  ASSERT_TRUE(compared.ok());
  EXPECT_EQ(compared->wrong, 500U) << "the comparison sees what differs";
}

TEST_F(Clone, SharesNoFileThatIsWrittenInPlace) {
  fill();
  ASSERT_TRUE(clone_store(path("a"), path("b")).ok());
  for (const auto& entry : fs::recursive_directory_iterator(path("a"))) {
    if (!entry.is_regular_file()) continue;
    const fs::path file = fs::relative(entry.path(), path("a"));
    const bool fixed = *file.begin() == "runs" || *file.begin() == "snapshots";
    if (!fixed && fs::exists(path("b") / file)) { EXPECT_NE(inode(entry.path()), inode(path("b") / file)) << file; }
  }
  rehearsal::CloneOptions copy;
  copy.may_link = false;
  const Result<Cloned> copied = clone_store(path("a"), path("c"), copy);
  ASSERT_TRUE(copied.ok());
  EXPECT_EQ(copied->linked.files, 0U);
}

TEST_F(Clone, RefusesWhatIsThere) {
  fill();
  fs::create_directory(path("b"));
  EXPECT_TRUE(clone_store(path("a"), path("b")).ok()) << "an empty directory will do";
  EXPECT_TRUE(clone_store(path("a"), path("b")).status().is(Code::kExists));
  EXPECT_TRUE(clone_store(path("nothing"), path("c")).status().is(Code::kNotFound));
  fs::create_directory(path("d.cloning"));
  EXPECT_TRUE(clone_store(path("a"), path("d")).status().is(Code::kExists)) << "one before was cut off";
  const Store writer = open(path("a"));
  EXPECT_TRUE(clone_store(path("a"), path("e")).status().is(Code::kBusy));
  EXPECT_FALSE(fs::exists(path("e")));
}

/// Every write acknowledged before the clone began is in it, none that was not written until it ended, and its start
/// finds no damage.
TEST_F(Clone, TakenBesideAWriterItIsACrash) {
  const std::uint64_t seed = entropy_seed();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Board& board = Board::make();
  const pid_t writer = ::fork();
  ASSERT_GE(writer, 0);
  if (writer == 0) {
    Result<Store::Opened> opened = Store::open(path("a"), live_options());
    if (!opened.ok()) ::_exit(3);
    write_until_killed(opened->store, board, seed);
  }
  while (board.checkpoints.load() < 3 && ::waitpid(writer, nullptr, WNOHANG) == 0) ::usleep(1000);
  EXPECT_GE(board.checkpoints.load(), 3U) << "the writer ended by itself";
  for (unsigned cycle = 0; cycle < 4 && !HasFailure(); ++cycle) {
    std::uint64_t before[kLiveThreads], after[kLiveThreads];
    for (unsigned t = 0; t < kLiveThreads; ++t) before[t] = board.acknowledged[t].load();
    rehearsal::CloneOptions live;
    live.live = true;
    const std::string to = path("clone" + std::to_string(cycle));
    const Result<Cloned> cloned = clone_store(path("a"), to, live);
    for (unsigned t = 0; t < kLiveThreads; ++t) after[t] = board.begun[t].load();
    if (cloned.status().is(Code::kUnavailable)) continue;  // which says so, and leaves nothing
    ASSERT_TRUE(cloned.ok()) << cloned.status().to_string();
    Result<Store::Opened> opened = Store::open(to, live_options());
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    EXPECT_TRUE(opened->report.clean()) << opened->report.to_text();
    const Keyspace k = *opened->store.keyspace("live");
    for (unsigned t = 0; t < kLiveThreads; ++t) {
      for (std::uint64_t slot = 0; slot < kSlots; ++slot) {
        const std::uint64_t least = newest_of_slot(slot, before[t]);
        const Result<std::string> got = opened->store.get(k, live_key(t, slot));
        if (least == 0 && got.status().is(Code::kNotFound)) continue;
        ASSERT_TRUE(got.ok()) << live_key(t, slot) << ": " << got.status().to_string();
        const std::optional<std::uint64_t> number = live_number(t, *got);
        ASSERT_TRUE(number && *number >= least && *number <= after[t]) << live_key(t, slot);
      }
    }
  }
  ::kill(writer, SIGKILL);
  ::waitpid(writer, nullptr, 0);
}

}  // namespace
}  // namespace daruma
