// SPDX-License-Identifier: Apache-2.0
// Limits of one keyspace while threads are at it, on a real file system.
#include "engine/engine.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include <engine_testing.h>
#include <gtest/gtest.h>
#include <temporary_directory.h>

#include "base/random.h"
#include "io/posix_storage.h"

namespace daruma {
namespace {

constexpr KeyspaceLimits kShare{.memory_bytes = 256 << 10};
constexpr WriteOptions kQuick{.durability = Durability::kProcess};

/// Stands still unless told.
class HeldClock final : public Clock {
 public:
  std::int64_t wall_ns() override { return now_; }
  std::int64_t monotonic_ns() override { return now_; }
  void advance(std::int64_t ns) { now_ += ns; }

 private:
  std::atomic<std::int64_t> now_{1'700'000'000'000'000'000};
};

/// The background makes one more checkpoint, then none until it is let go.
class Gate final : public EventListener {
 public:
  void on_checkpoint(const CheckpointInfo&) override {
    std::unique_lock lock(mutex_);
    if (std::this_thread::get_id() == made_on_ || is_open_) return;
    keeps_ = true;
    open_.wait(lock, [&] { return is_open_; });
  }
  [[nodiscard]] bool keeps() const { return keeps_; }
  void open() {
    const std::lock_guard lock(mutex_);
    is_open_ = true;
    open_.notify_all();
  }

 private:
  const std::thread::id made_on_ = std::this_thread::get_id();
  std::mutex mutex_;
  std::condition_variable open_;
  bool is_open_ = false;
  std::atomic<bool> keeps_{false};  // the background
};

class BulkheadConcurrent : public testing::Test {
 protected:
  BulkheadConcurrent() {
    Options options = small();
    options.listener = gate_;
    Environment environment;
    environment.storage = make_posix_storage({});
    environment.clock = &clock_;
    environment.seed = 1;
    Result<Store::Opened> opened = Engine::open_store(directory_.path() + "/store", options, environment);
    EXPECT_TRUE(opened.ok()) << opened.status().to_string();
    store_.emplace(opened->store);
    a_ = *store_->create_keyspace("a");
    b_ = *store_->create_keyspace("b");
  }
  ~BulkheadConcurrent() override { gate_->open(); }
  KeyspaceStats stats(Keyspace keyspace) { return *store_->keyspace_stats(keyspace); }
  /// And no checkpoint under way.
  void wait_until_full() {
    while (!gate_->keeps() || !stats(b_).writes.is(Code::kBusy)) std::this_thread::yield();
  }

  const TemporaryDirectory directory_;
  HeldClock clock_;
  const std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();
  std::optional<Store> store_;
  Keyspace a_, b_;
};

/// Threads that write to a keyspace until they are refused, or told to stop.
class Writers {
 public:
  Writers(Store store, Keyspace keyspace, int threads, std::shared_ptr<Gate> gate)
      : store_(std::move(store)), keyspace_(keyspace), gate_(std::move(gate)) {
    for (int i = 0; i < threads; ++i) {
      threads_.emplace_back([this, i] {
        const std::string value(2000, 'x');
        Status status;
        for (int n = 0; status.ok() && !stop_; ++n, ++done_)
          status = store_.put(keyspace_, std::to_string(i) + "-" + std::to_string(n), value, kQuick);
        const std::lock_guard lock(mutex_);
        ended_.push_back(status);
      });
    }
  }
  ~Writers() {
    stop_ = true;
    gate_->open();
    (void)join();
  }
  Writers(const Writers&) = delete;
  Writers& operator=(const Writers&) = delete;
  /// How each thread ended.
  std::vector<Status> join() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    return ended_;
  }
  void stop() { stop_ = true; }
  [[nodiscard]] std::uint64_t done() const { return done_; }

 private:
  Store store_;
  const Keyspace keyspace_;
  const std::shared_ptr<Gate> gate_;
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> done_{0};
  std::mutex mutex_;
  std::vector<Status> ended_;
  std::vector<std::thread> threads_;
};

constexpr int kThreads = 4;

TEST_F(BulkheadConcurrent, AFullShareHoldsItsOwnWritersUntilACheckpointFreesIt) {
  ASSERT_TRUE(store_->set_limits(b_, kShare).ok());
  Writers writers(*store_, b_, kThreads, gate_);
  wait_until_full();
  const std::uint64_t checkpoints = store_->stats().checkpoints;
  for (int i = 0; i < 500; ++i) {
    const std::string key = std::to_string(i);
    ASSERT_TRUE(store_->put(a_, key, key, kQuick).ok());
    ASSERT_EQ(*store_->get(a_, key), key);
  }
  EXPECT_TRUE(store_->put(a_, "durable", "1").ok());
  EXPECT_TRUE(store_->get(b_, "0-0").ok()) << "reads of it go on";
  EXPECT_EQ(store_->stats().checkpoints, checkpoints) << "a writer of the other keyspace was made to make one";
  EXPECT_TRUE(stats(b_).writes.is(Code::kBusy));
  EXPECT_LT(stats(b_).memtable_bytes, kShare.memory_bytes + (64 << 10));
  const std::uint64_t done = writers.done();
  gate_->open();
  while (writers.done() < done + 1000) std::this_thread::yield();
  writers.stop();
  for (const Status& status : writers.join()) EXPECT_TRUE(status.ok()) << status.to_string();
  EXPECT_EQ(stats(a_).held_back, 0U);
}

TEST_F(BulkheadConcurrent, WhoWaitsForItsShareTooLongIsToldThatItIsBusy) {
  ASSERT_TRUE(store_->set_limits(b_, kShare).ok());
  Writers writers(*store_, b_, kThreads, gate_);
  wait_until_full();
  std::atomic<bool> all{false};  // some may begin to wait only now
  std::thread time([&] {
    while (!all) {
      clock_.advance(1'000'000'000);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  for (const Status& status : writers.join()) {
    EXPECT_TRUE(status.is(Code::kBusy)) << status.to_string();
    EXPECT_NE(status.message().find("'b'"), std::string::npos) << status.message();
    EXPECT_NE(status.message().find(std::to_string(kShare.memory_bytes)), std::string::npos) << status.message();
  }
  all = true;
  time.join();
  gate_->open();
  Status again = {Code::kBusy, ""};
  while (again.is(Code::kBusy)) again = store_->put(b_, "x", "1");
  EXPECT_TRUE(again.ok()) << again.to_string();
}

TEST_F(BulkheadConcurrent, EveryOperationIsCountedOnAndOffWhileLimitsChange) {
  gate_->open();
  constexpr int kRounds = 2000;
  std::atomic<std::uint64_t> busy{0};
  std::atomic<int> running{kThreads};
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Random random(t);
      const auto took = [&](const Status& status) {
        if (status.is(Code::kBusy)) ++busy;
        ASSERT_TRUE(status.ok() || status.is(Code::kBusy) || status.is(Code::kNotFound)) << status.to_string();
      };
      for (int i = 0; i < kRounds; ++i) {
        const Keyspace in = random.one_in(2) ? a_ : b_;
        const std::string key = std::to_string(random.below(50));
        switch (random.below(6)) {
          case 0: took(store_->get(in, key).status()); break;
          case 1: took(store_->get_pinned(in, key).status()); break;
          case 2: took(store_->multi_get(in, {key, "x"})[1].status()); break;
          case 3: took(store_->put(in, key, std::string(random.below(2000), 'x'), kQuick)); break;
          case 4: {
            Result<Cursor> cursor = store_->cursor(in);
            took(cursor.status());
            if (cursor.ok()) cursor->seek_first();
            break;
          }
          default: {
            Batch batch;
            batch.put(a_, key, "1");
            batch.put(b_, key, "1");
            took(store_->write(batch, kQuick).status());
          }
        }
      }
      --running;
    });
  }
  Random random(99);
  while (running > 0) {
    for (const Keyspace keyspace : {a_, b_}) {
      const KeyspaceLimits limits{.memory_bytes = random.one_in(2) ? 0 : kShare.memory_bytes,
                                  .operations = static_cast<std::uint32_t>(random.below(4))};
      ASSERT_TRUE(store_->set_limits(keyspace, limits).ok());
      ASSERT_LE(stats(keyspace).operations, kThreads);
    }
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(stats(a_).operations + stats(b_).operations, 0U);
  EXPECT_EQ(stats(a_).refused + stats(b_).refused, busy.load());
}

TEST(BulkheadPlaces, NeverMoreThanTheLimitAreTaken) {
  constexpr std::uint64_t kTries = 2'000'000;
  Bulkhead bulkhead;
  bulkhead.set({.operations = 1});
  std::atomic<int> inside{0};
  std::atomic<std::uint64_t> let_in{0}, too_many{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (std::uint64_t i = 0; i < kTries; ++i) {
        const Bulkhead::Place place(bulkhead);
        if (place.refused()) continue;
        ++let_in;
        if (++inside > 1) ++too_many;
        --inside;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(too_many, 0U);
  EXPECT_EQ(let_in + bulkhead.refused(), kThreads * kTries);
  EXPECT_EQ(bulkhead.in_progress(), 0U);
}

}  // namespace
}  // namespace daruma
