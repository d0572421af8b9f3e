// SPDX-License-Identifier: Apache-2.0
//
// Memory that runs short: the n-th allocation of a workload fails, for n = 1, 2, 3 … until a run finishes clean; alone,
// or with all that follow it until somebody is told. On a real file system, since the simulated disk allocates itself.
// DARUMA_ALLOCATION_STRIDE=1 takes every n; DARUMA_ALLOCATION_ONLY=n that one.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <new>
#include <optional>
#include <stdexcept>
#include <thread>

#include <engine_testing.h>
#include <gtest/gtest.h>
#include <sanitized.h>
#include <temporary_directory.h>

#include "base/out_of_memory.h"
#include "engine/engine.h"
#include "io/posix_storage.h"

namespace {

bool counting = false;  // never beside another thread
std::uint64_t allocations = 0;
std::uint64_t fails_at = 0;  // 0: none
bool fails_on = false;       // and all that follow
std::uint64_t failed = 0;
thread_local unsigned fail_here = 0;  // so many of this thread, from the next on

bool fails() {
  if (fail_here > 0) {
    --fail_here;
    return true;
  }
  if (!counting) return false;
  ++allocations;
  if (fails_at == 0 || allocations < fails_at || (allocations > fails_at && !fails_on)) return false;
  ++failed;
  return true;
}

void* take(std::size_t bytes) { return fails() ? nullptr : std::malloc(bytes ? bytes : 1); }
void* take(std::size_t bytes, std::align_val_t unit) {
  const auto alignment = static_cast<std::size_t>(unit);
  return fails() ? nullptr : std::aligned_alloc(alignment, (bytes + alignment) / alignment * alignment);
}
void* or_throw(void* memory) {
  if (!memory) throw std::bad_alloc();
  return memory;
}
// Where this is inlined, g++ warns of a `free` of what `new` gave.
[[gnu::noinline]] void give_back(void* memory) { std::free(memory); }

}  // namespace

void* operator new(std::size_t n) { return or_throw(take(n)); }
void* operator new[](std::size_t n) { return or_throw(take(n)); }
void* operator new(std::size_t n, const std::nothrow_t&) noexcept { return take(n); }
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept { return take(n); }
void* operator new(std::size_t n, std::align_val_t a) { return or_throw(take(n, a)); }
void* operator new[](std::size_t n, std::align_val_t a) { return or_throw(take(n, a)); }
void operator delete(void* p) noexcept { give_back(p); }
void operator delete[](void* p) noexcept { give_back(p); }
void operator delete(void* p, std::size_t) noexcept { give_back(p); }
void operator delete[](void* p, std::size_t) noexcept { give_back(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { give_back(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { give_back(p); }
void operator delete(void* p, std::align_val_t) noexcept { give_back(p); }
void operator delete[](void* p, std::align_val_t) noexcept { give_back(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { give_back(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { give_back(p); }

namespace daruma {
namespace {

using Model = std::map<std::string, std::string>;

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

/// While one is there, allocations count, and fail.
struct Armed {
  Armed() { counting = true; }
  ~Armed() { counting = false; }
};

/// One life of a store, with every call under the failing allocator.
class Life {
 public:
  explicit Life(bool ring) : ring_(ring) { EXPECT_FALSE(directory_.empty()); }

  void run() {
    reopen();
    if (!store_) return;
    create("a");
    create("b");
    for (int i = 0; i < 12; ++i) write({{"key" + std::to_string(i * 7 % 10), std::string(40 * i + 1, 'x')}});
    checkpoint();
    write({{"key1", "new"}, {"key2", ""}, {"key30", std::string(5000, 'y')}}, /*erase_from=*/"key5", "key7");
    write({{"large", std::string(90'000, 'z')}});
    read();
    step();
    checkpoint();
    write({{"key3", "newer"}, {"other", "1"}});
    checkpoint();
    compact();
    read();
    load();
    read();
    create("c");
    drop("c");
    for (int i = 0; i < 20; ++i)
      write({{"fill" + std::to_string(i % 4), std::string(20'000, static_cast<char>('a' + i))}});
    step();
    read();
    reopen();
    if (!store_) return;
    read();
    write({{"last", "1"}});
    step();
  }

  /// Memory is there again: all is well, without a restart, and after one.
  void expect_well() {
    if (!store_) reopen();
    ASSERT_TRUE(store_);
    for (int round = 0; round < 3; ++round) {
      const Status stepped = Engine::of(*store_).step();
      if (round == 2) { ASSERT_TRUE(stepped.ok()) << stepped.to_string(); }
    }
    ASSERT_TRUE(store_->stats().background.ok()) << store_->stats().background.to_string();
    read();
    write({{"after", "1"}});
    ASSERT_EQ(refused_, 0U);
    checkpoint();
    compact();
    ASSERT_EQ(refused_, 0U);
    read();
    for (const KeyspaceInfo& info : store_->keyspaces()) {
      const KeyspaceStats stats = *store_->keyspace_stats(info.keyspace);
      EXPECT_EQ(stats.operations, 0U) << "what failed has not given back its place";
      EXPECT_EQ(stats.refused, 0U);
    }
    store_.reset();
    reopen();
    read();
  }

  void forget_refusals() { refused_ = 0; }

 private:
  /// True when it was done. What is refused is told, and from then on there is memory again.
  bool done(const Status& status) {
    if (status.ok()) return true;
    counting = false;
    ++refused_;
    EXPECT_TRUE(failed > 0) << status.to_string();
    EXPECT_TRUE(status.is(Code::kOutOfMemory) || status.is(Code::kUnavailable)) << status.to_string();
    fails_at = 0;
    return false;
  }

  void reopen() {
    store_.reset();
    for (int tries = 0; tries < 2 && !store_; ++tries) {
      Result<Store::Opened> opened = Status(Code::kOutOfMemory, "");
      {
        const Armed armed;
        opened = or_out_of_memory([&] {
          Environment environment;
          environment.storage = make_posix_storage({.use_io_uring = ring_});
          environment.clock = &system_clock();
          environment.seed = seed_++;
          environment.threads = false;
          environment.start_late = environment.seed % 2 == 0;
          environment.compaction.level0_trigger = 2;
          environment.compaction.output_run_bytes = 116 << 10;
          Options options = small();
          options.keyspace_limits = {.memory_bytes = 256 << 10, .operations = 1};
          return Engine::open_store(directory_ + "/store", options, environment);
        });
      }
      if (!done(opened.status())) continue;
      store_.emplace(std::move(opened->store));
      EXPECT_TRUE(opened->report.clean()) << opened->report.to_json();
    }
    EXPECT_TRUE(store_) << "a start that failed for want of memory kept the next one from starting";
  }

  void create(const std::string& name) {
    Result<Keyspace> made = Status(Code::kOutOfMemory, "");
    {
      const Armed armed;
      made = store_->create_keyspace(name);
    }
    if (done(made.status())) return;
    settle();
    if (!store_->keyspace(name).ok()) {
      const Result<Keyspace> again = store_->create_keyspace(name);
      EXPECT_TRUE(again.ok()) << again.status().to_string();
    }
  }

  void drop(const std::string& name) {
    const Result<Keyspace> keyspace = store_->keyspace(name);
    Status dropped;
    {
      const Armed armed;
      dropped = store_->drop_keyspace(*keyspace);
    }
    if (done(dropped)) return;
    settle();
  }

  void write(const Model& puts, const std::string& erase_from = "", const std::string& erase_to = "") {
    const Keyspace a = *store_->keyspace("a");
    const Keyspace b = *store_->keyspace("b");
    Model next = model_;
    if (!erase_from.empty()) next.erase(next.lower_bound(erase_from), next.lower_bound(erase_to));
    for (const auto& [key, value] : puts) next[key] = value;
    Status status;
    {
      const Armed armed;
      Batch batch;
      for (const Keyspace k : {a, b}) {
        if (!erase_from.empty()) batch.erase_range(k, erase_from, erase_to);
        for (const auto& [key, value] : puts) batch.put(k, key, value);
      }
      status = store_->write(batch, {.durability = writes_++ % 2 ? Durability::kPower : Durability::kProcess}).status();
    }
    if (done(status)) {
      model_ = next;
      return;
    }
    settle();
    const Model now = scan("a");
    EXPECT_TRUE(now == next || now == model_) << "a write that failed happened in part";
    model_ = now;
    read();
  }

  void load() {
    Model records;
    Model next = model_;
    for (int i = 10; i < 70; ++i)
      next["key" + std::to_string(i)] = records["key" + std::to_string(i)] = std::string(900, 'l');
    for (const char* name : {"a", "b"}) {
      const Keyspace k = *store_->keyspace(name);
      for (bool whole = false; !whole;) {
        auto at = records.begin();
        const auto source = [&](std::string_view& key, std::string_view& value) -> Result<bool> {
          if (at == records.end()) return false;
          key = at->first;
          value = at++->second;
          return true;
        };
        Status status;
        {
          const Armed armed;
          status = store_->bulk_load(k, source).status();
        }
        whole = done(status);
        if (whole) continue;
        settle();
        const Model now = scan(name);
        EXPECT_TRUE(now == next || now == model_) << "a load that failed happened in part";
        whole = now == next;
      }
    }
    model_ = next;
  }

  /// What was in the log and had no place is placed now.
  void settle() {
    for (int round = 0; round < 2; ++round) {
      const Status stepped = Engine::of(*store_).step();
      EXPECT_TRUE(stepped.ok() || round == 0) << stepped.to_string();
    }
  }

  Model scan(const char* name) {
    Model held;
    Status status;
    {
      const Armed armed;
      const Result<Keyspace> keyspace = store_->keyspace(name);
      if (!keyspace.ok()) {
        status = keyspace.status();
      } else if (Result<Cursor> cursor = store_->cursor(*keyspace); cursor.ok()) {
        for (cursor->seek_first(); cursor->valid(); cursor->next()) {
          counting = false;
          held.emplace(cursor->key(), cursor->value());
          counting = true;
        }
        status = cursor->status();
      } else {
        status = cursor.status();
      }
    }
    return done(status) ? held : scan(name);
  }

  void read() {
    for (const char* name : {"a", "b"}) {
      EXPECT_TRUE(scan(name) == model_) << "keyspace " << name;
      const Keyspace k = *store_->keyspace(name);
      std::vector<std::string_view> keys{"never", "key4"};
      for (const auto& [key, value] : model_) keys.push_back(key);
      for (const std::string_view key : keys) {
        const auto it = model_.find(std::string(key));
        std::optional<Result<std::string>> got;
        {
          const Armed armed;
          got.emplace(store_->get(k, key));
        }
        if (got->status().is(Code::kNotFound)) {
          EXPECT_TRUE(it == model_.end()) << key << " is denied";
        } else if (done(got->status())) {
          EXPECT_TRUE(it != model_.end() && **got == it->second) << key;
        }
        Result<PinnedValue> pinned = Status(Code::kOutOfMemory, "");
        {
          const Armed armed;
          pinned = store_->get_pinned(k, key);
        }
        if (!pinned.status().is(Code::kNotFound) && done(pinned.status())) {
          EXPECT_TRUE(it != model_.end() && pinned->view() == it->second) << key;
        }
      }
      try {
        std::vector<Result<std::string>> all;
        {
          const Armed armed;
          all = store_->multi_get(k, keys);
        }
        for (std::size_t i = 0; i < keys.size(); ++i) {
          const auto it = model_.find(std::string(keys[i]));
          if (all[i].status().is(Code::kNotFound)) {
            EXPECT_TRUE(it == model_.end()) << keys[i] << " is denied";
          } else if (done(all[i].status())) {
            EXPECT_TRUE(it != model_.end() && *all[i] == it->second) << keys[i];
          }
        }
      } catch (const std::bad_alloc&) { (void)done(Status(Code::kOutOfMemory, "multi_get")); }
    }
    try {
      const Armed armed;
      const View view = store_->view();
      EXPECT_GT(view.sequence(), 0U);
      EXPECT_GE(store_->keyspaces().size(), 2U);
      EXPECT_TRUE(store_->damage().empty());
    } catch (const std::bad_alloc&) { (void)done(Status(Code::kOutOfMemory, "view")); }
    const Armed armed;
    EXPECT_GT(store_->stats().sequence, 0U);  // needs no memory
  }

  void checkpoint() {
    Status status;
    {
      const Armed armed;
      status = store_->checkpoint();
    }
    if (!done(status)) read();
  }
  void compact() {
    const Keyspace a = *store_->keyspace("a");
    Status status;
    {
      const Armed armed;
      status = store_->compact(a);
    }
    if (!done(status)) read();
  }
  void step() {
    Status status;
    {
      const Armed armed;
      status = Engine::of(*store_).step();
    }
    if (!done(status)) read();
  }

  const TemporaryDirectory temporary_{std::filesystem::exists("/dev/shm") ? "/dev/shm" : "/tmp"};
  const std::string& directory_ = temporary_.path();
  const bool ring_;
  std::uint64_t seed_ = 1;
  std::optional<Store> store_;
  Model model_;
  std::uint64_t writes_ = 0;
  std::uint64_t refused_ = 0;
};

/// With the `n`-th allocation failing; false when there were not so many.
bool live(std::uint64_t n, bool and_all_that_follow, bool ring) {
  allocations = failed = 0;
  fails_at = n;
  fails_on = and_all_that_follow;
  Life life(ring);
  life.run();
  const bool met = failed > 0;
  fails_at = 0;
  life.forget_refusals();
  if (!testing::Test::HasFailure()) life.expect_well();
  return met;
}

class Allocation : public testing::TestWithParam<std::tuple<bool, bool>> {};

TEST_P(Allocation, ThatFailsIsToldAndCostsNothing) {
  const auto [and_all_that_follow, ring] = GetParam();
  (void)live(0, false, ring);  // what is allocated once only
  ASSERT_FALSE(HasFailure()) << "without a failing allocation";
  const std::uint64_t all = allocations;
  if (const std::uint64_t only = from_environment("DARUMA_ALLOCATION_ONLY", 0)) {
    (void)live(only, and_all_that_follow, ring);
    return;
  }
  // Rings are dearer to make than the rest of a life.
  const std::uint64_t stride =
      from_environment("DARUMA_ALLOCATION_STRIDE", kSanitized ? (ring ? 622 : 305) : (ring ? 311 : 61));
  std::uint64_t lives = 0;
  for (std::uint64_t n = 1;; n += stride) {
    SCOPED_TRACE("DARUMA_ALLOCATION_ONLY=" + std::to_string(n));
    if (!live(n, and_all_that_follow, ring) || HasFailure()) break;
    ++lives;
  }
  std::printf("%llu allocations in a life, %llu lives with one that fails\n", static_cast<unsigned long long>(all),
              static_cast<unsigned long long>(lives));
  EXPECT_GT(lives, 10U);
}

/// A store with workers, one of which fails once; `on_error` is called on its thread when that is told.
struct Worked {
  explicit Worked(const std::function<void()>& on_error) {
    struct Heard : EventListener {
      std::function<void()> on_error;
      void on_background_error(const std::string& what, const Status&) override {
        if (what == "compaction") on_error();
      }
    };
    const auto heard = std::make_shared<Heard>();
    heard->on_error = on_error;
    Options options = small();
    options.listener = heard;
    Environment environment;
    environment.storage = make_posix_storage({});
    environment.clock = &system_clock();
    environment.start_late = false;
    environment.failpoint = [this](std::string_view name) -> Status {
      if (name != "compaction" || ++rounds != 3) return {};
      return {Code::kIoError, "the device fails once"};
    };
    Result<Store::Opened> opened = Engine::open_store(directory.path() + "/store", options, environment);
    EXPECT_TRUE(opened.ok()) << opened.status().to_string();
    if (opened.ok()) store.emplace(std::move(opened->store));
  }
  /// Until another thread has made it so.
  static bool comes_true(const std::function<bool()>& condition) {
    for (int i = 0; i < 2000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  const TemporaryDirectory directory;
  std::atomic<int> rounds{0};
  std::optional<Store> store;
};

TEST(WorkerShortOfMemory, GoesOn) {
  std::atomic<bool> met{false};
  const Worked worked([&] {
    met = true;
    throw std::bad_alloc();
  });
  ASSERT_TRUE(worked.store);
  EXPECT_TRUE(Worked::comes_true([&] { return worked.rounds > 10; }));
  std::this_thread::sleep_for(std::chrono::seconds(1));  // some rounds of the supervisor
  EXPECT_TRUE(met);
  EXPECT_TRUE(worked.store->incidents().empty()) << worked.store->incidents().front().to_json();
}

TEST(WorkerShortOfMemory, TellsOfABugWhenItCan) {
  const Worked worked([] {
    const std::runtime_error bug("a bug of the listener");
    fail_here = 3;
    throw bug;
  });
  ASSERT_TRUE(worked.store);
  ASSERT_TRUE(Worked::comes_true([&] { return !worked.store->incidents().empty(); }));
  const Incident incident = worked.store->incidents().front();
  EXPECT_EQ(incident.component, "compaction");
  EXPECT_NE(incident.cause.message().find("a bug of the listener"), std::string::npos) << incident.to_json();
  EXPECT_EQ(incident.outcome, "resolved") << incident.to_json();
}

INSTANTIATE_TEST_SUITE_P(, Allocation, testing::Combine(testing::Bool(), testing::Bool()), [](const auto& info) {
  return std::string(std::get<0>(info.param) ? "WithAllThatFollow" : "Alone") +
         (std::get<1>(info.param) ? "OnARing" : "");
});

}  // namespace
}  // namespace daruma
