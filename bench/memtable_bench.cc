// SPDX-License-Identifier: Apache-2.0
// The memtable: a million random 16-byte keys, values of 100 bytes. The memory counter is bytes an entry, keys and
// values included.
#include "memtable/memtable.h"

#include <atomic>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/random.h"

namespace daruma {
namespace {

constexpr std::size_t kKeys = 1'000'000;
const std::string kValue(100, 'v');

std::vector<std::string> random_keys(std::uint64_t seed) {
  Random random(seed);
  std::vector<std::string> keys(kKeys, std::string(16, '\0'));
  for (std::string& key : keys) {
    const std::uint64_t parts[] = {random.next(), random.next()};
    std::memcpy(key.data(), parts, sizeof parts);
  }
  return keys;
}
const std::vector<std::string>& present() {
  static const auto keys = random_keys(1);
  return keys;
}
const std::vector<std::string>& absent() {
  static const auto keys = random_keys(2);
  return keys;
}

std::unique_ptr<Memtable> filled() {
  auto memtable = std::make_unique<Memtable>();
  Sequence s = 0;
  for (const std::string& key : present()) memtable->put(++s, key, kValue);
  return memtable;
}
const Memtable& shared() {
  static const auto memtable = filled();
  return *memtable;
}

void insert(benchmark::State& state) {
  present();
  for (auto _ : state) {
    auto memtable = filled();
    state.PauseTiming();
    state.counters["bytes_each"] = static_cast<double>(memtable->bytes()) / kKeys;
    memtable.reset();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kKeys));
}
BENCHMARK(insert)->Name("memtable/insert")->Unit(benchmark::kMillisecond);

/// Decimal keys, as people make them: they share a prefix and make a deep tree.
const std::vector<std::string>& decimal() {
  static const auto keys = [] {
    Random random(8);
    std::vector<std::string> made(kKeys);
    for (std::string& key : made) {
      char text[24];
      std::snprintf(text, sizeof text, "user%012u", static_cast<unsigned>(random.below(1'000'000'000)));
      key = text;
    }
    return made;
  }();
  return keys;
}
void insert_decimal(benchmark::State& state) {
  decimal();
  const auto group = static_cast<std::size_t>(state.range(0));
  std::vector<std::string_view> ahead(group);
  for (auto _ : state) {
    auto memtable = std::make_unique<Memtable>();
    Sequence s = 0;
    for (std::size_t i = 0; i < kKeys; ++i) {
      if (group > 0 && i % group == 0 && i + group <= kKeys) {
        for (std::size_t j = 0; j < group; ++j) ahead[j] = decimal()[i + j];
        memtable->prefetch(ahead);
      }
      memtable->put(++s, decimal()[i], kValue);
    }
    state.PauseTiming();
    memtable.reset();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kKeys));
}
BENCHMARK(insert_decimal)
    ->Name("memtable/insert_decimal")
    ->Arg(0)
    ->Arg(8)
    ->Arg(16)
    ->ArgName("prefetched")
    ->Unit(benchmark::kMillisecond);

void overwrite_one_key(benchmark::State& state) {
  for (auto _ : state) {
    Memtable memtable;
    for (Sequence s = 1; s <= kKeys; ++s) memtable.put(s, "hot", kValue);
    benchmark::DoNotOptimize(memtable.bytes());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kKeys));
}
BENCHMARK(overwrite_one_key)->Name("memtable/overwrite_one_key")->Unit(benchmark::kMillisecond);

void get(benchmark::State& state, const std::vector<std::string>& keys, const Memtable& memtable) {
  Random random(3);
  for (auto _ : state) benchmark::DoNotOptimize(memtable.get(keys[random.below(kKeys)], kMaxSequence));
  state.SetItemsProcessed(state.iterations());
}
void get_present(benchmark::State& state) { get(state, present(), shared()); }
void get_absent(benchmark::State& state) { get(state, absent(), shared()); }
BENCHMARK(get_present)->Name("memtable/get_present")->ThreadRange(1, 2)->UseRealTime();
BENCHMARK(get_absent)->Name("memtable/get_absent");

void get_under_range_erases(benchmark::State& state) {
  auto memtable = filled();
  Random random(4);
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    const std::string& begin = present()[random.below(kKeys)];
    memtable->erase_range(kKeys + 1 + static_cast<Sequence>(i), begin, begin + '\xff');
  }
  get(state, present(), *memtable);
}
BENCHMARK(get_under_range_erases)->Name("memtable/get_under_range_erases")->Arg(1)->Arg(1000);

void get_beside_a_writer(benchmark::State& state) {
  auto memtable = filled();
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (Sequence s = kKeys; !stop.load(std::memory_order_relaxed) && s < 4 * kKeys;) {
      ++s;
      memtable->put(s, absent()[s % kKeys], kValue);
    }
  });
  get(state, present(), *memtable);
  stop = true;
  writer.join();
}
BENCHMARK(get_beside_a_writer)->Name("memtable/get_beside_a_writer")->UseRealTime();

void get_old_version(benchmark::State& state) {
  Memtable memtable;
  for (Sequence s = 1; s <= kKeys; ++s) memtable.put(s, "hot", kValue);
  Random random(5);
  for (auto _ : state) benchmark::DoNotOptimize(memtable.get("hot", 1 + random.below(kKeys)));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(get_old_version)->Name("memtable/get_old_version");

void seek(benchmark::State& state) {
  Memtable::Cursor cursor = shared().cursor();
  Random random(6);
  for (auto _ : state) {
    cursor.seek(absent()[random.below(kKeys)]);
    benchmark::DoNotOptimize(cursor.valid());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(seek)->Name("memtable/seek");

void scan(benchmark::State& state) {
  Memtable::Cursor cursor = shared().cursor();
  for (auto _ : state) {
    for (cursor.seek_first(); cursor.valid(); cursor.next()) benchmark::DoNotOptimize(cursor.value().front());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kKeys));
}
BENCHMARK(scan)->Name("memtable/scan")->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace daruma
