// SPDX-License-Identifier: Apache-2.0
// Runs: building one, lookups that hit and that miss, scans; everything in the block cache, so that the code is
// measured, not a disk.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>

#include "base/random.h"
#include "io/posix_storage.h"
#include "run/run_builder.h"
#include "run/run_reader.h"

namespace daruma {
namespace {

constexpr StoreId kStore{1, 2};
constexpr std::uint64_t kEntries = 1'000'000;
constexpr std::size_t kValueBytes = 100;

std::string key_of(std::uint64_t i) {
  char key[24];
  std::snprintf(key, sizeof key, "user%012llu", static_cast<unsigned long long>(i));
  return key;
}

std::string value_of(std::uint64_t i) {  // half of it compresses
  Random random(i);
  std::string value(kValueBytes, 'v');
  for (std::size_t b = 0; b < kValueBytes / 2; ++b) value[b] = static_cast<char>(random.next());
  return value;
}

std::string directory() {
  const char* tmp = std::getenv("TMPDIR");
  return std::string(tmp ? tmp : "/tmp") + "/daruma_run_bench";
}

void build(Storage& storage, std::uint64_t number, std::uint64_t entries) {
  auto builder = std::move(RunBuilder::create(storage, directory(), {.store = kStore, .number = number})).value();
  for (std::uint64_t i = 0; i < entries; ++i) {
    // Even numbers only: the odd ones are misses between them.
    if (!builder->add(key_of(2 * i), 1 + i % 1000, EntryKind::kPut, value_of(i)).ok()) std::abort();
  }
  if (!builder->finish({}).ok() || !builder->publish().ok()) std::abort();
}

struct Built {
  std::shared_ptr<Storage> storage = make_posix_storage();
  std::unique_ptr<RunReader> reader;
  Built() {
    if (!storage->make_directory(directory()).ok()) std::abort();
    build(*storage, 1, kEntries);
    const std::string path = directory() + "/" + run_name(1);
    reader = std::move(RunReader::open(*storage, path, kStore, 1, std::make_shared<BlockCache>(std::uint64_t{1} << 30)))
                 .value();
    auto cursor = reader->cursor();
    for (cursor.seek_first(); cursor.valid(); cursor.next()) benchmark::DoNotOptimize(cursor.value().data());
  }
  ~Built() {
    static_cast<void>(storage->remove(directory() + "/" + run_name(1)));
    static_cast<void>(storage->remove(directory()));
  }
};

const RunReader& warm_run() {
  static Built built;
  return *built.reader;
}

void get_hit(benchmark::State& state) {
  const RunReader& reader = warm_run();
  Random random(1);
  for (auto _ : state) {
    auto got = reader.get(key_of(2 * random.below(kEntries)), kMaxSequence);
    if (!got.ok() || got->found != RunReader::Lookup::Found::kValue) state.SkipWithError("a key is missing");
    benchmark::DoNotOptimize(got);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(get_hit)->Name("run/get_hit")->ThreadRange(1, 2);

void get_miss(benchmark::State& state) {
  const RunReader& reader = warm_run();
  Random random(2);
  for (auto _ : state) benchmark::DoNotOptimize(reader.get(key_of(2 * random.below(kEntries) + 1), kMaxSequence));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(get_miss)->Name("run/get_miss");

void scan(benchmark::State& state) {
  auto cursor = warm_run().cursor();
  cursor.seek_first();
  for (auto _ : state) {
    benchmark::DoNotOptimize(cursor.value().data());
    cursor.next();
    if (!cursor.valid()) cursor.seek_first();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(scan)->Name("run/scan");

void scan_backward(benchmark::State& state) {
  auto cursor = warm_run().cursor();
  cursor.seek_last();
  for (auto _ : state) {
    benchmark::DoNotOptimize(cursor.value().data());
    cursor.prev();
    if (!cursor.valid()) cursor.seek_last();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(scan_backward)->Name("run/scan_backward");

void verify(benchmark::State& state) {
  const RunReader& reader = warm_run();
  std::uint64_t bytes = 0;
  for (auto _ : state) {
    auto verified = reader.verify({.direct = false});
    if (!verified.ok() || !verified->ok()) state.SkipWithError("the run is damaged");
    bytes += verified->bytes;
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}
BENCHMARK(verify)->Name("run/verify")->Unit(benchmark::kMillisecond);

void build(benchmark::State& state) {
  const std::shared_ptr<Storage> storage = make_posix_storage();
  if (!storage->make_directory(directory()).ok()) std::abort();
  const auto entries = static_cast<std::uint64_t>(state.range(0));
  for (auto _ : state) build(*storage, 2, entries);
  static_cast<void>(storage->remove(directory() + "/" + run_name(2)));
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.SetBytesProcessed(state.iterations() * state.range(0) *
                          static_cast<std::int64_t>(kValueBytes + key_of(0).size()));
}
BENCHMARK(build)->Name("run/build")->Arg(100'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace daruma
