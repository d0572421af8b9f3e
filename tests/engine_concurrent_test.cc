// SPDX-License-Identifier: Apache-2.0
// Threads on a real store: every value read must be one that its key had, never older than what this reader saw before.
#include "daruma/store.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>
#include <temporary_directory.h>

#include "base/random.h"
#include "io/posix_storage.h"
#include "wal/wal_reader.h"

namespace daruma {
namespace {

constexpr std::uint64_t kKeys = 200;

std::string key_of(std::uint64_t key) { return "key" + std::to_string(1000 + key); }
std::uint64_t number_in(std::string_view value) {
  return std::strtoull(std::string(value.substr(0, 12)).c_str(), nullptr, 10);
}
std::string value_of(std::uint64_t number) {
  std::string value = std::to_string(100'000'000'000 + number);
  value.append(number % 300, static_cast<char>('a' + number % 26));
  return value;
}

class EngineConcurrent : public testing::Test {
 protected:
  void SetUp() override { ASSERT_FALSE(directory_.path().empty()); }
  const TemporaryDirectory directory_;
};

TEST_F(EngineConcurrent, ReadersNeverSeeTimeRunBackwards) {
  Options options;
  options.memtable_bytes = 1 << 20;
  options.segment_bytes = 1 << 20;
  options.ring_bytes = 512 << 10;
  options.cache_bytes = 1 << 20;
  Result<Store::Opened> opened = Store::open(directory_.path(), options);
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  Store store = opened->store;
  const Keyspace a = *store.create_keyspace("a");
  const Keyspace b = *store.create_keyspace("b");
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> counter{0}, reads{0}, scans{0};
  std::vector<std::thread> threads;
  const auto run = [&](auto work) { threads.emplace_back(work); };
  // Each writer owns half of the keys, so that numbers rise by key. Both keyspaces get the same.
  for (std::uint64_t writer = 0; writer < 2; ++writer) {
    run([&, writer] {
      Random random(writer);
      while (!stop) {
        const std::string key = key_of(random.below(kKeys / 2) * 2 + writer);
        const std::string value = value_of(++counter);
        Batch batch;
        batch.put(a, key, value);
        batch.put(b, key, value);
        const Status status =
            store.write(batch, {.durability = random.one_in(4) ? Durability::kPower : Durability::kProcess}).status();
        ASSERT_TRUE(status.ok()) << status.to_string();
      }
    });
  }
  for (std::uint64_t reader = 0; reader < 2; ++reader) {
    run([&, reader] {
      Random random(100 + reader);
      std::map<std::string, std::uint64_t> seen;
      while (!stop) {
        const std::string key = key_of(random.below(kKeys));
        const Result<PinnedValue> got = store.get_pinned(a, key);
        if (got.ok()) {
          const std::uint64_t number = number_in(got.value().view()) - 100'000'000'000;
          ASSERT_EQ(got.value().view(), value_of(number));
          ASSERT_GE(number, seen[key]) << key;
          seen[key] = number;
        } else {
          ASSERT_TRUE(got.status().is(Code::kNotFound)) << got.status().to_string();
          ASSERT_EQ(seen.count(key), 0U) << key;
        }
        ++reads;
      }
    });
  }
  run([&] {  // views: both keyspaces are equal in each, by scan, by get and by batch
    while (!stop) {
      const View view = store.view();
      Result<Cursor> first = store.cursor(a, {.lower = {}, .upper = {}, .view = view});
      Result<Cursor> second = store.cursor(b, {.lower = {}, .upper = {}, .view = view});
      ASSERT_TRUE(first.ok() && second.ok());
      for (first->seek_first(), second->seek_first(); first->valid(); first->next(), second->next()) {
        ASSERT_TRUE(second->valid());
        ASSERT_EQ(first->key(), second->key());
        ASSERT_EQ(first->value(), second->value());
        const Result<std::string> got = store.get(b, first->key(), view);
        ASSERT_TRUE(got.ok());
        ASSERT_EQ(*got, first->value());
      }
      ASSERT_FALSE(second->valid());
      ASSERT_TRUE(first->status().ok() && second->status().ok());
      ++scans;
    }
  });
  run([&] {  // everything that changes the state under the readers
    Random random(7);
    for (int i = 0; !stop; ++i) {
      ASSERT_TRUE(store.checkpoint().ok());
      if (random.one_in(3)) { ASSERT_TRUE(store.compact(random.one_in(2) ? a : b).ok()); }
      const Result<Keyspace> made = store.create_keyspace("extra" + std::to_string(i));
      ASSERT_TRUE(made.ok());
      ASSERT_TRUE(store.put(*made, "x", "y", {.durability = Durability::kProcess}).ok());
      ASSERT_TRUE(store.rename_keyspace(*made, "other" + std::to_string(i)).ok());
      ASSERT_TRUE(store.drop_keyspace(*made).ok());
      ASSERT_EQ(store.multi_get(a, {key_of(0), key_of(1), "none"}).size(), 3U);
      (void)store.stats();
      (void)store.keyspaces();
    }
  });
  std::this_thread::sleep_for(std::chrono::seconds(3));
  stop = true;
  for (std::thread& thread : threads) thread.join();
  std::printf("writes %llu, reads %llu, scans %llu, checkpoints %llu, compactions %llu\n",
              static_cast<unsigned long long>(counter), static_cast<unsigned long long>(reads),
              static_cast<unsigned long long>(scans), static_cast<unsigned long long>(store.stats().checkpoints),
              static_cast<unsigned long long>(store.stats().compactions));
  EXPECT_TRUE(store.stats().background.ok()) << store.stats().background.to_string();
  EXPECT_GT(scans.load(), 0U);
}

/// Whoever reads the files beside the writer believes no more than a later frame says. Writers lead the log themselves
/// here, so that its own thread sees nothing to do.
/// Each frame is a write of the device of two sectors at least, and log that a start reads.
TEST_F(EngineConcurrent, PutsThatNobodyWaitsForShareFrames) {
  Store store = Store::open(directory_.path(), {})->store;
  const Keyspace in = *store.create_keyspace("a");
  const auto began = std::chrono::steady_clock::now();
  for (std::uint64_t i = 0; i < 50'000; ++i)
    ASSERT_TRUE(store.put(in, key_of(i), value_of(i), {.durability = Durability::kProcess}).ok());
  ASSERT_TRUE(store.put(in, key_of(0), value_of(0), {.durability = Durability::kPower}).ok());
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
  std::uint64_t frames = 0, bytes = 0;
  const auto files = make_posix_storage();
  for (const auto& file : std::filesystem::directory_iterator(directory_.path() + "/wal")) {
    if (file.path().extension() != ".log") continue;
    read_segment(*files, file.path(), std::nullopt, [&](const FrameView& frame) {
      frames += frame.header.has_events() ? 1 : 0;
      bytes += frame.header.payload_raw_bytes;
    });
  }
  EXPECT_GT(bytes, 50'000U * 150);
  const double full = static_cast<double>(bytes) / (64 << 10);
  EXPECT_LE(static_cast<double>(frames), took.count() + full + 5) << "one a millisecond, and those that are full";
}

TEST_F(EngineConcurrent, AQuietLogTellsWhatItsWritersMadeDurable) {
  Store store = Store::open(directory_.path())->store;
  const Keyspace k = *store.create_keyspace("k");
  const std::shared_ptr<Storage> files = make_posix_storage();
  const auto told = [&] {
    Sequence durable = 0;
    const std::vector<DirectoryEntry> entries = *files->list(directory_.path() + "/wal");
    for (const DirectoryEntry& entry : entries) {
      if (!entry.name.ends_with(".log")) continue;
      const std::string path = directory_.path() + "/wal/" + entry.name;
      durable = std::max(durable, read_segment(*files, path, std::nullopt, [](const FrameView&) {}).max_watermark);
    }
    return durable;
  };
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(store.put(k, "k", std::to_string(i)).ok());
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (told() < store.stats().sequence && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ASSERT_EQ(told(), store.stats().sequence) << "put " << i;
  }
}

}  // namespace
}  // namespace daruma
