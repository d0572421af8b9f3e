// SPDX-License-Identifier: Apache-2.0
// Several sorted sources into one: what a compaction does with its inputs, and a cursor with what it walks. The sources
// are memtables, so that no disk is measured.
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/random.h"
#include "engine/cursor.h"
#include "engine/sources.h"
#include "memtable/memtable.h"
#include "snapshot/merge.h"

namespace daruma {
namespace {

constexpr std::uint64_t kEntries = 200'000;

/// `count` of them; every key in one, and a tenth in the next too.
std::vector<std::unique_ptr<Memtable>> memtables(std::size_t count) {
  std::vector<std::unique_ptr<Memtable>> all(count);
  for (auto& one : all) one = std::make_unique<Memtable>();
  Random random(1);
  const std::string value(100, 'v');
  Sequence sequence = 0;
  for (std::uint64_t i = 0; i < kEntries; ++i) {
    const std::string key = "user" + std::to_string(100'000'000'000 + i);
    const std::uint64_t in = random.below(count);
    all[in]->put(++sequence, key, value);
    if (random.one_in(10)) all[(in + 1) % count]->put(++sequence, key, value);
  }
  return all;
}

void compact(benchmark::State& state) {
  const auto all = memtables(static_cast<std::size_t>(state.range(0)));
  MergeSettings settings;
  settings.bottom = true;
  for (auto _ : state) {
    std::vector<std::unique_ptr<MergeSource>> sources;
    for (const auto& one : all) {
      std::unique_ptr<EntrySource> source = memtable_source(*one);
      source->seek_first();
      sources.push_back(std::move(source));
    }
    std::uint64_t kept = 0;
    for (Merge merge(std::move(sources), settings); merge.valid(); merge.next()) {
      benchmark::DoNotOptimize(merge.value().data());
      ++kept;
    }
    if (kept != kEntries) state.SkipWithError("entries are missing");
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kEntries));
}
BENCHMARK(compact)->Name("merge/compact")->Arg(1)->Arg(4)->Arg(10)->ArgName("sources")->Unit(benchmark::kMillisecond);

CursorState cursor_over(const std::vector<std::unique_ptr<Memtable>>& all) {
  std::vector<std::unique_ptr<EntrySource>> sources;
  for (const auto& one : all) sources.push_back(memtable_source(*one));
  static Bulkhead unlimited;
  return {nullptr, Bulkhead::Place(unlimited), std::move(sources), {}, nullptr, 1, kMaxSequence, "", ""};
}

void walk(benchmark::State& state) {
  const auto all = memtables(static_cast<std::size_t>(state.range(0)));
  CursorState cursor = cursor_over(all);
  for (auto _ : state) {
    std::uint64_t seen = 0;
    for (cursor.seek_first(); cursor.valid(); cursor.next()) {
      benchmark::DoNotOptimize(cursor.value().data());
      ++seen;
    }
    if (seen != kEntries) state.SkipWithError("entries are missing");
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kEntries));
}
BENCHMARK(walk)->Name("merge/walk")->Arg(1)->Arg(4)->Arg(10)->ArgName("sources")->Unit(benchmark::kMillisecond);

void seek(benchmark::State& state) {
  const auto all = memtables(static_cast<std::size_t>(state.range(0)));
  CursorState cursor = cursor_over(all);
  Random random(2);
  for (auto _ : state) {
    cursor.seek("user" + std::to_string(100'000'000'000 + random.below(kEntries)));
    if (!cursor.valid()) state.SkipWithError("a key is missing");
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(seek)->Name("merge/seek")->Arg(1)->Arg(4)->Arg(10)->ArgName("sources");

}  // namespace
}  // namespace daruma
