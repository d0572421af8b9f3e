// SPDX-License-Identifier: Apache-2.0
//
// Copies of a live directory, taken while a process writes, checkpoints and compacts.
//
// What is held: a copy of one moment (here: the writer is stopped; as well a snapshot of the file system) opens as a
// crash at that moment, with every acknowledged write and no loss. A copy made file by file beside a running writer
// mixes moments: it opens, and each answer is one that was right during the copy, or an error. DARUMA_COPY_CYCLES sets
// the number of copies of each kind (default 6).
#include "daruma/store.h"

#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <functional>

#include <gtest/gtest.h>
#include <live_writer.h>

namespace daruma {
namespace {

namespace fs = std::filesystem;

class LiveCopy : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() / ("daruma_copy_" + std::to_string(::getpid()));
    fs::remove_all(directory_);
    fs::create_directories(directory_);
    seed_ = entropy_seed();
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed_));
    writer_ = ::fork();
    ASSERT_GE(writer_, 0);
    if (writer_ == 0) {
      Result<Store::Opened> opened = Store::open(store().string(), live_options());
      if (!opened.ok()) ::_exit(3);
      write_until_killed(opened->store, board_, seed_);
    }
    while (board_.checkpoints.load() < 3 && ::waitpid(writer_, nullptr, WNOHANG) == 0) ::usleep(1000);
    ASSERT_GE(board_.checkpoints.load(), 3U) << "the writer ended by itself";
  }
  void TearDown() override {
    if (writer_ > 0) {
      ::kill(writer_, SIGKILL);
      ::waitpid(writer_, nullptr, 0);
    }
    EXPECT_EQ(board_.refused.load(), 0U);
    if (!HasFailure()) fs::remove_all(directory_);
    ::munmap(&board_, sizeof(Board));
  }
  [[nodiscard]] fs::path store() const { return directory_ / "store"; }
  [[nodiscard]] fs::path copy() const { return directory_ / "copy"; }

  static unsigned cycles() {
    const char* text = std::getenv("DARUMA_COPY_CYCLES");
    return text ? static_cast<unsigned>(std::atoi(text)) : 6;
  }

  struct Moment {
    std::uint64_t acknowledged[kLiveThreads], begun[kLiveThreads];
  };
  Moment moment() const {
    Moment now{};
    for (unsigned t = 0; t < kLiveThreads; ++t) now.acknowledged[t] = board_.acknowledged[t].load();
    for (unsigned t = 0; t < kLiveThreads; ++t) now.begun[t] = board_.begun[t].load();
    return now;
  }

  /// Opens the copy and asks for each slot: no answer older than `before`, none that was not written until `after`.
  struct Found {
    bool clean = false;
    unsigned right = 0, errors = 0, silent = 0;
    std::string first, report;
  };
  Found ask(const Moment& before, const Moment& after) const {
    Found found;
    Result<Store::Opened> opened = Store::open(copy().string(), live_options());
    EXPECT_TRUE(opened.ok()) << opened.status().to_string();
    if (!opened.ok()) return found;
    found.clean = opened->report.clean();
    found.report = opened->report.to_text();
    const Result<Keyspace> keyspace = opened->store.keyspace("live");
    if (!keyspace.ok()) {
      found.errors = kLiveThreads * kSlots;
      if (keyspace.status().is(Code::kNotFound)) found.silent = 1, found.first = "the keyspace is said not to be there";
      return found;
    }
    for (unsigned t = 0; t < kLiveThreads; ++t) {
      for (std::uint64_t slot = 0; slot < kSlots; ++slot) {
        const std::uint64_t least = newest_of_slot(slot, before.acknowledged[t]);
        const Result<std::string> got = opened->store.get(*keyspace, live_key(t, slot));
        std::string wrong;
        if (got.ok()) {
          const std::optional<std::uint64_t> number = live_number(t, *got);
          if (!number || *number % kSlots != slot || *number > after.begun[t])
            wrong = " has a value that it never had";
          else if (*number < least)
            wrong = " is " + std::to_string(*number) + ", and was " + std::to_string(least) + " before the copy";
          else
            ++found.right;
        } else if (!got.status().is(Code::kNotFound)) {
          ++found.errors;
        } else if (least > 0) {
          wrong = " is said not to be there";
        } else {
          ++found.right;
        }
        if (!wrong.empty() && found.silent++ == 0) found.first = live_key(t, slot) + wrong;
      }
    }
    return found;
  }

  /// `take` copies store() to copy(); files may vanish under it.
  void take_many(const char* kind, bool stopped, const std::function<void()>& take) {
    unsigned clean = 0, errors = 0, right = 0;
    for (unsigned cycle = 0; cycle < cycles(); ++cycle) {
      SCOPED_TRACE(std::string(kind) + ", copy " + std::to_string(cycle));
      ::usleep(static_cast<useconds_t>(Random(seed_ + cycle).below(60'000)));
      fs::remove_all(copy());
      if (stopped) {
        ASSERT_EQ(::kill(writer_, SIGSTOP), 0);
        int status = 0;
        ASSERT_EQ(::waitpid(writer_, &status, WUNTRACED), writer_);
        ASSERT_TRUE(WIFSTOPPED(status));
      }
      const Moment before = moment();
      take();
      const Moment after = moment();
      if (stopped) { ASSERT_EQ(::kill(writer_, SIGCONT), 0); }
      const Found found = ask(before, after);
      ASSERT_EQ(found.silent, 0U) << found.first << "\n" << found.report;
      if (stopped) {
        ASSERT_TRUE(found.clean) << found.report;
        ASSERT_EQ(found.errors, 0U) << found.report;
      }
      // An error is never without a word in the report.
      ASSERT_TRUE(found.errors == 0 || !found.clean) << found.report;
      clean += found.clean;
      errors += found.errors;
      right += found.right;
    }
    std::printf("%s: %u copies, %u without loss, %u answers right, %u errors\n", kind, cycles(), clean, right, errors);
  }

  void cp() const {
    const std::string command = "cp -r --reflink=auto '" + store().string() + "' '" + copy().string() + "' 2>/dev/null";
    static_cast<void>(!std::system(command.c_str()));
  }
  /// File by file; `order` sorts all paths below the store.
  void by_file(const std::function<void(std::vector<fs::path>&)>& order) const {
    std::vector<fs::path> files;
    std::error_code gone;
    for (const char* room : {"", "wal", "runs", "snapshots", "quarantine", "recoveries"}) {
      fs::create_directories(copy() / room);
      for (const auto& entry : fs::directory_iterator(store() / room, gone)) {
        if (entry.is_regular_file(gone)) files.push_back(fs::path(room) / entry.path().filename());
      }
    }
    order(files);
    for (const fs::path& file : files) fs::copy_file(store() / file, copy() / file, gone);
  }

  fs::path directory_;
  std::uint64_t seed_ = 0;
  pid_t writer_ = -1;
  Board& board_ = Board::make();
};

TEST_F(LiveCopy, ACopyOfOneMomentIsACrash) {
  take_many("stopped", true, [this] { cp(); });
}

TEST_F(LiveCopy, ACopyBesideTheWriterIsNeverWrong) {
  take_many("cp -r", false, [this] { cp(); });
  take_many("by name", false,
            [this] { by_file([](std::vector<fs::path>& all) { std::sort(all.begin(), all.end()); }); });
  take_many("by name, backwards", false,
            [this] { by_file([](std::vector<fs::path>& all) { std::sort(all.rbegin(), all.rend()); }); });
  Random random(seed_);
  take_many("shuffled", false, [&] {
    by_file([&](std::vector<fs::path>& all) {
      for (std::size_t i = all.size(); i > 1; --i) std::swap(all[i - 1], all[random.below(i)]);
    });
  });
}

}  // namespace
}  // namespace daruma
