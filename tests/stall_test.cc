// SPDX-License-Identifier: Apache-2.0
// A device that stalls: a call of a real store does not return until it is let go. Whoever does not need what it is
// about goes on meanwhile, and all ends well when the device answers.
#include "engine/engine.h"

#include <atomic>
#include <future>
#include <thread>

#include <engine_testing.h>
#include <gated_storage.h>
#include <gtest/gtest.h>
#include <sanitized.h>
#include <temporary_directory.h>

#include "daruma/metrics.h"
#include "io/posix_storage.h"

namespace daruma {
namespace {

constexpr WriteOptions kQuick{.durability = Durability::kProcess};

bool has(std::string_view call, std::string_view word) { return call.find(word) != std::string_view::npos; }
bool in_runs(std::string_view call) { return has(call, "/runs"); }
bool in_runs_or_snapshots(std::string_view call) { return in_runs(call) || has(call, "/snapshots"); }
bool in_log(std::string_view call) { return has(call, "/wal"); }

template <typename T>
bool ends(const std::future<T>& work) {
  return work.wait_for(kLong) == std::future_status::ready;
}

class Stalled : public testing::Test {
 protected:
  using Work = std::function<void()>;

  void SetUp() override {
    ASSERT_FALSE(directory_.path().empty());
    options_.memtable_bytes = 8 << 20;
    options_.segment_bytes = 256 << 10;
    options_.ring_bytes = 1 << 20;
    options_.cache_bytes = 0;
    options_.scrub_days = 0;
    options_.recovery_budget = std::chrono::hours(1);
    start();
    k_ = *store_->create_keyspace("k");
    other_ = *store_->create_keyspace("other");
    for (int i = 0; i < 3; ++i) write_and_checkpoint();
  }
  void TearDown() override {
    gate_.let_go();
    const std::future<void> over = std::async(std::launch::async, [this] {
      for (std::thread& thread : threads_) thread.join();
      view_.reset();
      store_.reset();
    });
    if (ends(over)) return;
    std::fputs("something waits for a call that has long returned\n", stderr);
    std::abort();
  }

  Result<Store::Opened> open() {
    Environment environment;
    environment.storage = storage_;
    environment.clock = &system_clock();
    environment.compaction.level0_trigger = 1000;  // none but those that are asked for
    return Engine::open_store(directory_.path(), options_, environment);
  }
  void start() {
    Result<Store::Opened> opened = open();
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    EXPECT_TRUE(opened->report.clean()) << opened->report.to_json();
    store_.emplace(opened->store);
  }
  void kill() {
    view_.reset();
    beside([this] { store_.reset(); });
  }

  /// On a thread of its own: what hangs there keeps no test from telling.
  std::future<void> aside(Work work) {
    std::packaged_task<void()> task(std::move(work));
    std::future<void> result = task.get_future();
    threads_.emplace_back(std::move(task));
    return result;
  }
  void beside(Work work) { ASSERT_TRUE(ends(aside(std::move(work)))) << "it waits for what is held"; }

  struct Steps {
    Work before, job, meanwhile, after;
  };
  /// Holds one call of the job after the other, each of another job, until one is over before it comes to that. Under a
  /// sanitizer every third call.
  void at_every_call(const Which& which, const Steps& steps) {
    constexpr unsigned kStride = kSanitized ? 3 : 1;
    unsigned held = 0;
    for (bool met = true; met; held += met ? 1 : 0) {
      const unsigned calls = held * kStride;
      steps.before();
      gate_.hold(which, calls);
      const std::future<void> job = aside([this, work = steps.job] {
        work();
        gate_.let_go();
      });
      const std::string call = gate_.wait();
      met = !call.empty();
      SCOPED_TRACE("call " + std::to_string(calls) + ": " + call);
      if (met) beside(steps.meanwhile);
      gate_.let_go();
      ASSERT_TRUE(ends(job)) << "it does not end when the device answers";
      steps.after();
      if (HasFailure()) return;
    }
    EXPECT_GT(held * kStride, 1U);
  }

  static std::string key(int i) { return "key" + std::to_string(100 + i); }
  /// Each another; none is smaller in the log.
  std::string value() {
    const unsigned number = ++written_;
    return kNoise.substr(number * 10'000 % 1'000'000, 10'000 + number % 100);
  }
  void put(const std::string& key, const WriteOptions& options) {
    model_[key] = value();
    const Status status = store_->put(k_, key, model_[key], options);
    ASSERT_TRUE(status.ok()) << status.to_string();
  }
  /// More than some log files hold.
  void write() {
    for (int i = 0; i < 40; ++i) put(key(i), kQuick);
    ASSERT_TRUE(store_->sync().ok());
    view_.emplace(store_->view());
    then_ = model_;
  }
  void write_and_checkpoint() {
    write();
    ASSERT_TRUE(store_->checkpoint().ok());
  }
  /// By get, by many gets and by scan, of now and of when `write` was last.
  void expect_reads() const {
    std::vector<std::string_view> keys;
    for (const auto& [key, value] : model_) keys.push_back(key);
    for (const auto& got : store_->multi_get(k_, keys)) ASSERT_TRUE(got.ok()) << got.status().to_string();
    expect_reads(model_, store_->view());
    if (view_) expect_reads(then_, *view_);
  }
  void expect_reads(const std::map<std::string, std::string>& model, const View& view) const {
    Result<Cursor> cursor = store_->cursor(k_, {.lower = {}, .upper = {}, .view = view});
    ASSERT_TRUE(cursor.ok()) << cursor.status().to_string();
    cursor->seek_first();
    for (const auto& [key, value] : model) {
      const Result<std::string> got = store_->get(k_, key, view);
      ASSERT_TRUE(got.ok() && *got == value) << key << ": " << got.status().to_string();
      ASSERT_TRUE(cursor->valid() && cursor->key() == key && cursor->value() == value) << key;
      cursor->next();
    }
    ASSERT_TRUE(!cursor->valid() && cursor->status().ok()) << cursor->status().to_string();
  }
  void look() const {
    const Metrics all = store_->metrics();  // stats, health and components too
    EXPECT_TRUE(all.stats.background.ok() && all.health.reads.ok() && all.health.writes.ok()) << all.to_json();
    EXPECT_TRUE(store_->damage().empty() && store_->incidents().empty());
  }

  const TemporaryDirectory directory_;
  Gate gate_;
  const std::shared_ptr<Storage> storage_ = std::make_shared<GatedStorage>(make_posix_storage({}), gate_);
  Options options_;
  std::optional<Store> store_;
  Keyspace k_, other_;
  std::atomic<unsigned> written_{0};
  std::map<std::string, std::string> model_, then_;
  std::optional<View> view_;  // of `then_`
  std::vector<std::thread> threads_;
  static inline const std::string kNoise = [] {
    Random random(5);
    return noise(1 << 20, random);
  }();
  std::promise<void> reached_;  // what they tell
  std::string got_;
  std::atomic<bool> answers_{false};
};

// --- a checkpoint, a compaction --------------------------------------------------------------------------------------

struct Job {
  const char* name;
  bool compacts;
  bool (*which)(std::string_view call);
};

class StalledJob : public Stalled, public testing::WithParamInterface<Job> {
 protected:
  void at_every_call_of_it(
      const Work& meanwhile, const Work& after = [] {}) {
    const auto prepare = [this] {
      GetParam().compacts ? write_and_checkpoint() : write();
      expect_reads();
    };
    const auto work = [this] {
      const Status done = GetParam().compacts ? store_->compact(k_) : store_->checkpoint();
      EXPECT_TRUE(done.ok()) << done.to_string();
    };
    at_every_call(GetParam().which, {prepare, work, meanwhile, after});
  }
};

/// No reader waits for the device of a job.
TEST_P(StalledJob, LetsReadersGoOn) {
  at_every_call_of_it([this] { expect_reads(); });
}

/// The job succeeds when the device answers, and a kill behind it loses nothing, whatever was written meanwhile.
TEST_P(StalledJob, EndsWell) {
  at_every_call_of_it([this] { put("beside", kQuick); },
                      [this] {
                        expect_reads();
                        kill();
                        start();
                        expect_reads();
                      });
}

/// Whoever looks at the store is told at once.
TEST_P(StalledJob, LetsEverybodyLook) {
  at_every_call_of_it([this] { look(); });
}

/// In files that are not the log's.
class StalledFiles : public StalledJob {};

/// The log does not wait for a job.
TEST_P(StalledFiles, LetDurableWritesGoOn) {
  at_every_call_of_it([this] {
    put("beside", {});
    EXPECT_TRUE(store_->create_keyspace("made by " + std::to_string(store_->stats().sequence)).ok());
  });
}

constexpr Job kCheckpoint{"Checkpoint", false, in_runs_or_snapshots};
constexpr Job kCompaction{"Compaction", true, in_runs_or_snapshots};
constexpr Job kGivingBackLog{"GivingBackLog", false, in_log};
const auto name_of = [](const auto& job) { return std::string(job.param.name); };
INSTANTIATE_TEST_SUITE_P(, StalledJob, testing::Values(kCheckpoint, kCompaction, kGivingBackLog), name_of);
INSTANTIATE_TEST_SUITE_P(, StalledFiles, testing::Values(kCheckpoint, kCompaction), name_of);

using StalledCompaction = Stalled;
using StalledCheckpoint = Stalled;
using StalledRead = Stalled;
using StalledLog = Stalled;
using StalledStart = Stalled;

/// Checkpoints go on beside a compaction that reads and writes its runs.
TEST_F(StalledCompaction, HoldsUpNoCheckpoint) {
  const auto of_its_runs = [](std::string_view call) {
    return in_runs(call) && !call.starts_with("remove ") && !call.starts_with("sync_directory ");
  };
  at_every_call(of_its_runs, {.before = [this] { write_and_checkpoint(); },
                              .job = [this] { EXPECT_TRUE(store_->compact(k_).ok()); },
                              .meanwhile = [this] { write_and_checkpoint(); },
                              .after = [this] { expect_reads(); }});
}

/// Memory for writes has a limit, also while none of it can be given back: then writers wait, and only they.
TEST_F(StalledCheckpoint, MakesWritersWaitAtTheLimit) {
  kill();
  options_.memtable_bytes = 1 << 20;
  start();
  gate_.hold([](std::string_view call) { return in_runs(call) && call.starts_with("sync "); });
  const std::future<void> writer = aside([this] {
    const std::uint64_t limit = options_.memtable_bytes / 8 * 11;
    bool told = false;
    for (int i = 0; i < 300; ++i) {
      ASSERT_TRUE(store_->put(other_, key(i), value(), kQuick).ok());
      const std::uint64_t bytes = store_->stats().memtable_bytes;
      if (answers_) continue;
      ASSERT_LT(bytes, limit + 64'000);
      if (bytes > limit && !std::exchange(told, true)) reached_.set_value();
    }
  });
  EXPECT_FALSE(gate_.wait().empty());
  EXPECT_TRUE(ends(reached_.get_future()));
  beside([this] {
    expect_reads();
    look();
  });
  answers_ = true;
  gate_.let_go();
  ASSERT_TRUE(ends(writer));
  kill();
  start();
  for (int i = 0; i < 300; ++i) EXPECT_TRUE(store_->get(other_, key(i)).ok()) << i;
}

// --- reads -----------------------------------------------------------------------------------------------------------

/// Nobody but its reader waits for the read of a block, not even others who want the same, and it gets what was there.
TEST_F(StalledRead, HoldsUpItsReaderAlone) {
  const std::vector<std::function<std::string()>> ways = {
      [this] { return store_->get(k_, key(7)).value(); },
      [this] { return std::string(store_->get_pinned(k_, key(7)).value().view()); },
      [this] { return store_->multi_get(k_, {key(7)}).front().value(); },
      [this] {
        Cursor cursor = store_->cursor(k_).value();
        cursor.seek(key(7));
        return std::string(cursor.value());
      }};
  for (const auto& way : ways) {
    write_and_checkpoint();
    expect_reads();
    gate_.hold([](std::string_view call) { return in_runs(call) && call.starts_with("read "); });
    const std::future<void> reader = aside([this, way] { got_ = way(); });
    ASSERT_FALSE(gate_.wait().empty());
    beside([this] {
      expect_reads();
      look();
      put(key(7), {});
      EXPECT_TRUE(store_->checkpoint().ok());
      EXPECT_TRUE(store_->compact(k_).ok());
      expect_reads();
    });
    gate_.let_go();
    ASSERT_TRUE(ends(reader));
    EXPECT_TRUE(got_ == then_[key(7)]);
  }
}

// --- the log, a start ------------------------------------------------------------------------------------------------

/// While the log cannot go on in its next file, reads do, and writes that need not outlive the machine; none is lost.
TEST_F(StalledLog, LetsReadersGoOnAndEndsWell) {
  const auto write_durably = [this] {
    for (int i = 0; i < 60; ++i) EXPECT_TRUE(store_->put(other_, key(i), value()).ok());
  };
  const auto go_on = [this] {
    expect_reads();
    put("beside", kQuick);
    look();
    EXPECT_TRUE(store_->keyspace_stats(k_).ok());
  };
  const auto expect_all = [this] {
    beside([this] { EXPECT_TRUE(store_->sync().ok()); });
    kill();
    start();
    expect_reads();
    for (int i = 0; i < 60; ++i) EXPECT_TRUE(store_->get(other_, key(i)).ok()) << i;
  };
  const auto start_is_over = [this] { put("before", {}); };
  at_every_call(in_log, {start_is_over, write_durably, go_on, expect_all});
}

/// While it hangs, those who find the ring full are told so after one wait in all, however many they are: each has the
/// others wait behind him. When it answers they go on.
TEST_F(StalledLog, HasWritersWaitOnce) {
  put("before", {});
  gate_.hold([](std::string_view call) { return in_log(call) && call.starts_with("sync "); });
  const std::future<void> durable = aside([this] {
    for (int i = 0; !answers_ && store_->put(other_, key(i), value()).ok(); ++i) {}
  });
  ASSERT_FALSE(gate_.wait().empty());
  std::vector<std::future<void>> writers;
  for (int i = 0; i < 6; ++i) {
    writers.push_back(aside([this] {
      Status told;
      while (told.ok()) told = store_->put(other_, "beside", value(), kQuick);
      EXPECT_EQ(told.code(), Code::kUnavailable) << told.to_string();
    }));
  }
  beside([&writers] {
    for (const std::future<void>& writer : writers) writer.wait();
  });
  answers_ = true;
  gate_.let_go();
  ASSERT_TRUE(ends(durable));
  beside([this] { EXPECT_TRUE(store_->sync().ok()); });  // until the answer is in, who comes is told at once
  put("after", kQuick);
  kill();
  start();
  expect_reads();
}

/// A start waits for what it reads, concludes nothing from that, and keeps others out meanwhile.
TEST_F(StalledStart, EndsWell) {
  const auto reads = [](std::string_view call) {
    return (in_runs_or_snapshots(call) || in_log(call)) &&
           (call.starts_with("read ") || call.starts_with("list ") || call.starts_with("open "));
  };
  at_every_call(reads, {.before = [this] { kill(); },
                        .job = [this] { start(); },
                        .meanwhile = [this] { EXPECT_EQ(open().status().code(), Code::kBusy); },
                        .after = [this] { expect_reads(); }});
}

/// What no read needs of a start keeps no reader waiting; writers wait until it is done.
TEST_F(StalledStart, OfTheLogHoldsUpNoReader) {
  const auto publishes = [](std::string_view call) {
    return (in_runs_or_snapshots(call) || in_log(call)) && (has(call, "sync") || call.starts_with("rename "));
  };
  at_every_call(publishes, {.before =
                                [this] {
                                  kill();
                                  reached_ = {};
                                },
                            .job =
                                [this] {
                                  start();
                                  reached_.set_value();
                                  EXPECT_TRUE(store_->put(other_, "late", "1").ok());
                                },
                            .meanwhile =
                                [this] {
                                  ASSERT_TRUE(ends(reached_.get_future()));
                                  expect_reads();
                                  look();
                                },
                            .after = [] {}});
}

}  // namespace
}  // namespace daruma
