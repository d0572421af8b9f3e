// SPDX-License-Identifier: Apache-2.0
// What a get meets on its way into a run: the filter, the block cache, the search in a block.
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/checksum.h"
#include "base/random.h"
#include "run/block_cache.h"
#include "run/loaded_block.h"
#include "run/run_filter.h"

namespace daruma {
namespace {

std::string key_of(std::uint64_t i) { return "user" + std::to_string(100'000'000'000 + i); }

/// One of the size that runs have.
void search(benchmark::State& state) {
  DataBlockBuilder builder;
  std::vector<std::string> keys;
  const std::string value(100, 'v');
  while (builder.bytes() < 8 << 10) {
    keys.push_back(key_of(2 * keys.size()));
    builder.add(keys.back(), entry_tag(1, EntryKind::kPut), value);
  }
  BlockRef room;
  if (!LoadedBlock::make(builder.finish(), room)) state.SkipWithError("the block makes no sense");
  const LoadedBlock block(room.view().data());
  Random random(1);
  for (auto _ : state) {
    const std::string& key = keys[random.below(keys.size())];
    if (!block.has_key(block.find(key, kMaxSequence), key)) state.SkipWithError("a key is missing");
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(search)->Name("block/search");

/// What reading such a block costs besides the device: unpacked, and laid out for searches.
void make(benchmark::State& state) {
  DataBlockBuilder builder;
  for (std::uint64_t i = 0; builder.bytes() < 8 << 10; ++i)
    builder.add(key_of(2 * i), entry_tag(1, EntryKind::kPut), std::string(100, 'v'));
  const std::string contents(builder.finish());
  BlockRef room;
  for (auto _ : state) benchmark::DoNotOptimize(LoadedBlock::make(contents, room));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(make)->Name("block/make");

constexpr std::uint64_t kKeys = 1'000'000;

const RunFilter& filter() {
  static const RunFilter built = [] {
    RunFilterBuilder builder;
    for (std::uint64_t i = 0; i < kKeys; ++i) builder.add(key_hash(1, key_of(2 * i)));
    const std::string lines = builder.build(10);
    RunFilter out(lines.size() / kFilterLineBytes);
    std::copy(lines.begin(), lines.end(), out.bits().begin());
    return out;
  }();
  return built;
}

/// Keys that are there, or are not; their hashes included.
void ask(benchmark::State& state, std::uint64_t odd) {
  const RunFilter& asked = filter();
  std::vector<std::string> keys;
  Random random(2);
  for (int i = 0; i < 4096; ++i) keys.push_back(key_of(2 * random.below(kKeys) + odd));
  std::uint64_t n = 0, may = 0;
  for (auto _ : state) may += asked.may_contain(key_hash(1, keys[n++ % keys.size()]));
  state.counters["may"] = static_cast<double>(may) / static_cast<double>(n);
  state.SetItemsProcessed(state.iterations());
}
void present(benchmark::State& state) { ask(state, 0); }
void absent(benchmark::State& state) { ask(state, 1); }
BENCHMARK(present)->Name("filter/present");
BENCHMARK(absent)->Name("filter/absent");

void hit(benchmark::State& state) {
  static constexpr std::uint64_t kBlocks = 10'000, kBytes = 8 << 10;
  static BlockCache cache(2 * kBlocks * kBytes);
  static BlockSlots slots(cache, kBlocks);
  [[maybe_unused]] static const bool filled = [] {
    for (std::size_t i = 0; i < kBlocks; ++i) slots.insert(i, BlockRef::make(kBytes));
    return true;
  }();
  Random random(static_cast<std::uint64_t>(state.thread_index()) + 3);
  for (auto _ : state) {
    const BlockRef block = slots.find(random.below(kBlocks));
    if (!block) state.SkipWithError("a block is missing");
    benchmark::DoNotOptimize(block.view().data());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(hit)->Name("cache/hit")->ThreadRange(1, 2)->UseRealTime();

}  // namespace
}  // namespace daruma
