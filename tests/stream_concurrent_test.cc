// SPDX-License-Identifier: Apache-2.0
// A follower beside four writers and checkpoints on a real store: at the end it equals its primary, and it was never
// ahead of what was durable.
#include "daruma/stream.h"

#include <atomic>
#include <map>
#include <thread>

#include <gtest/gtest.h>
#include <temporary_directory.h>

#include "base/random.h"

namespace daruma {
namespace {

using State = std::map<std::string, std::string>;

State contents(const Store& store, Keyspace keyspace, const CursorOptions& options = {}) {
  State all;
  Result<Cursor> cursor = store.cursor(keyspace, options);
  EXPECT_TRUE(cursor.ok());
  for (cursor->seek_first(); cursor->valid(); cursor->next()) all[std::string(cursor->key())] = cursor->value();
  EXPECT_TRUE(cursor->status().ok());
  return all;
}

TEST(StreamConcurrent, AFollowerBesideWritersAndCheckpointsEqualsThem) {
  const TemporaryDirectory directory;
  Options options;
  options.memtable_bytes = 1 << 20;
  options.segment_bytes = 256 << 10;
  options.ring_bytes = 256 << 10;
  Result<Store::Opened> opened = Store::open(directory.path(), options);
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  Store store = opened->store;
  const Keyspace k = *store.create_keyspace("k");

  std::atomic<int> writing{4};
  std::vector<std::thread> threads;
  for (std::uint64_t writer = 0; writer < 4; ++writer) {
    threads.emplace_back([&, writer] {
      Random random(writer);
      for (int i = 0; i < 400; ++i) {
        Batch batch;
        for (std::uint64_t op = random.below(4); op-- > 0;) {
          const std::string key = "k" + std::to_string(random.below(200));
          if (random.one_in(5))
            batch.erase(k, key);
          else
            batch.put(k, key, std::string(random.below(700), static_cast<char>('a' + i % 26)));
        }
        const Durability durability = random.one_in(3) ? Durability::kPower : Durability::kProcess;
        EXPECT_TRUE(store.write(batch, {.durability = durability}).ok());
      }
      --writing;
    });
  }
  threads.emplace_back([&] {
    while (writing > 0) EXPECT_TRUE(store.checkpoint().ok());
  });

  std::optional<Store::Followed> from;
  State state;
  int views = 0;
  const auto take_view = [&] {
    Result<Store::Followed> followed = store.follow();
    ASSERT_TRUE(followed.ok()) << followed.status().to_string();
    state = contents(store, k, {.lower = {}, .upper = {}, .view = followed->view});
    from.emplace(std::move(*followed));
    ++views;
  };
  take_view();
  for (Sequence expected = from->stream.position();;) {
    const bool last = writing == 0 && store.sync().ok();
    const Result<std::optional<StreamEvent>> next = from->stream.next(std::chrono::milliseconds(last ? 0 : 5));
    if (next.status().is(Code::kNotFound)) {
      take_view();
      expected = from->stream.position();
      continue;
    }
    ASSERT_TRUE(next.ok()) << next.status().to_string();
    if (!*next) {
      if (last) break;
      continue;
    }
    const StreamEvent& event = **next;
    ASSERT_EQ(event.kind, StreamEvent::Kind::kWrite);
    ASSERT_EQ(event.first_sequence, expected++);
    ASSERT_LE(event.last_sequence, store.stats().durable_sequence);
    for (const StreamOp& op : event.ops) {
      if (op.kind == StreamOp::Kind::kPut)
        state[std::string(op.key)] = op.value;
      else
        state.erase(std::string(op.key));
    }
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(from->stream.position(), store.view().sequence() + 1);
  EXPECT_TRUE(state == contents(store, k)) << views << " views";
}

TEST(StreamConcurrent, WhoWaitsIsWokenByWhatBecomesDurable) {
  const TemporaryDirectory directory;
  Result<Store::Opened> opened = Store::open(directory.path(), {});
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  Store store = opened->store;
  const Keyspace k = *store.create_keyspace("k");
  Result<EventStream> stream = store.stream(2);
  ASSERT_TRUE(stream.ok());
  std::thread writer([&] {
    for (int i = 0; i < 20; ++i)
      EXPECT_TRUE(store.put(k, "a", std::to_string(i), {.durability = Durability::kProcess}).ok());
  });
  // An hour is for ever: nothing but the events ends these waits, and nobody syncs.
  for (int i = 0; i < 20; ++i) {
    const Result<std::optional<StreamEvent>> next = stream->next(std::chrono::hours(1));
    ASSERT_TRUE(next.ok() && next->has_value());
    ASSERT_EQ((*next)->ops.front().value, std::to_string(i));
  }
  writer.join();
}

}  // namespace
}  // namespace daruma
