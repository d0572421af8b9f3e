// SPDX-License-Identifier: Apache-2.0
// The log: encoding frames, appending to the tail ring, and replay of a log whose files are cached.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/random.h"
#include "daruma/store.h"
#include "event/event.h"
#include "io/posix_storage.h"
#include "memtable/memtable.h"
#include "recovery/log_replay.h"
#include "wal/earlier_footprints.h"
#include "wal/frame_format.h"
#include "wal/tail_ring.h"

namespace daruma {
namespace {

constexpr StoreId kStore{1, 2};
constexpr std::size_t kValueBytes = 100;

/// One put each; half of a value compresses.
std::vector<std::string> events(std::size_t count) {
  Random random(1);
  std::vector<std::string> out;
  EventBuilder builder;
  for (std::size_t i = 0; i < count; ++i) {
    std::string value(kValueBytes, 'v');
    for (std::size_t b = 0; b < kValueBytes / 2; ++b) value[b] = static_cast<char>(random.next());
    builder.clear();
    builder.put(1, "user" + std::to_string(100'000'000'000 + random.below(1'000'000'000)), value);
    out.emplace_back(builder.bytes());
  }
  return out;
}

/// A directory of this process, gone at its end.
class Directory {
 public:
  Directory() {
    const char* tmp = std::getenv("TMPDIR");
    path_ = std::string(tmp ? tmp : "/tmp") + "/daruma_log_bench_" + std::to_string(getpid());
    std::filesystem::create_directories(path_ + "/wal");
  }
  ~Directory() { std::filesystem::remove_all(path_); }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void encode(benchmark::State& state) {
  const std::vector<std::string> all = events(static_cast<std::size_t>(state.range(0)));
  std::vector<WalRecord> records;
  for (const std::string& event : all) records.push_back({records.size() + 1, event});
  const EarlierFootprints earlier;
  for (auto _ : state) {
    FrameHeader header;
    benchmark::DoNotOptimize(encode_frame(kStore, header, make_body(records), earlier));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(encode)->Name("frame/encode")->Arg(1)->Arg(16)->Arg(1000)->ArgName("records");

void append(benchmark::State& state) {
  const Directory directory;
  const std::shared_ptr<Storage> storage = make_posix_storage();
  const TailHeader header{kStore, 77, std::uint64_t{16} << 20, 5};
  auto ring = TailRing::create(*storage, directory.path() + "/wal/" + tail_name(header.nonce), header, 0);
  if (!ring.ok()) return state.SkipWithError("no ring");
  const std::string event = events(1)[0];
  Sequence sequence = 0;
  for (auto _ : state) {
    if (!(*ring)->fits(event.size())) (*ring)->release((*ring)->head(), sequence);
    benchmark::DoNotOptimize((*ring)->push({++sequence, event}));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(append)->Name("tail/append");

/// Into a memtable, as a start does it, but on one thread and without the rest of a start.
void replay(benchmark::State& state) {
  static constexpr std::uint64_t kEvents = 200'000;
  const Directory directory;
  {
    Options options;
    options.memtable_bytes = std::uint64_t{1} << 30;  // nothing is checkpointed
    auto opened = Store::open(directory.path(), options);
    if (!opened.ok()) return state.SkipWithError("no store");
    const auto in = opened->store.create_keyspace("kv");
    for (std::uint64_t i = 0; i < kEvents; ++i) {
      const std::string key = "user" + std::to_string(100'000'000'000 + i * 7'777'777 % 1'000'000'000);
      if (!opened->store.put(*in, key, std::string(kValueBytes, 'v'), {Durability::kProcess}).ok()) std::abort();
    }
    if (!opened->store.sync().ok()) std::abort();
  }
  const std::shared_ptr<Storage> storage = make_posix_storage();
  LogReplayInput input;
  input.directory = directory.path();
  std::uint64_t replayed = 0;
  for (auto _ : state) {
    Memtable memtable;
    const auto log = replay_log(*storage, input, [&](std::span<const WalRecord> some, Attempts*) {
      for (const WalRecord& record : some) {
        const Status walked = walk_event(record.event, [&](const Op& op) {
          if (op.kind == OpKind::kPut) memtable.put(record.sequence, op.key, op.value);
        });
        if (!walked.ok()) std::abort();
      }
    });
    if (!log.ok() || log->events_replayed < kEvents) state.SkipWithError("events are missing");
    replayed += log.ok() ? log->events_replayed : 0;
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(replayed));
}
BENCHMARK(replay)->Name("log/replay")->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace daruma
