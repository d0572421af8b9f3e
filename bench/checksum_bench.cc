// SPDX-License-Identifier: Apache-2.0
// What every byte that is written passes: checksums and parity.
#include <string>

#include <benchmark/benchmark.h>

#include "base/checksum.h"
#include "parity/parity_builder.h"
#include "parity/parity_reader.h"

namespace daruma {
namespace {

constexpr StoreId kStore{1, 2};

void hash(benchmark::State& state) {
  const std::string bytes(static_cast<std::size_t>(state.range(0)), 'x');
  std::uint64_t position = 0;
  for (auto _ : state) benchmark::DoNotOptimize(checksum(bytes, kStore, 1, position++));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(hash)->Name("checksum/hash")->Arg(16)->Arg(100)->Arg(4 << 10)->Arg(64 << 10)->ArgName("bytes");

constexpr std::uint64_t kSectors = (std::uint64_t{4} << 20) / kSectorBytes;

std::string file_with_parity(const std::string& data) {
  ParityBuilder builder({kStore, 1}, parity_layout(kSectors));
  builder.add(data);
  return data + builder.finish();
}

void build(benchmark::State& state) {
  const std::string data(kSectors * kSectorBytes, 'x');
  for (auto _ : state) {
    ParityBuilder builder({kStore, 1}, parity_layout(kSectors));
    builder.add(data);
    benchmark::DoNotOptimize(builder.finish());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(data.size()));
}
BENCHMARK(build)->Name("parity/build")->Unit(benchmark::kMicrosecond);

/// One sector, that is damaged where `hurt` says so.
void fetch(benchmark::State& state) {
  std::string file = file_with_parity(std::string(kSectors * kSectorBytes, 'x'));
  const bool hurt = state.range(0) != 0;
  if (hurt) file[0] = 'y';
  ParityReader reader({kStore, 1}, parity_layout(kSectors), [&](std::uint64_t sector, std::span<char> out) {
    file.copy(out.data(), out.size(), sector * kSectorBytes);
    return true;
  });
  std::string room(kSectorBytes, '\0');
  for (auto _ : state) {
    if (reader.fetch(0, room) != (hurt ? SectorState::kHealed : SectorState::kIntact))
      state.SkipWithError("not as it was written");
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kSectorBytes));
}
BENCHMARK(fetch)->Name("parity/fetch")->Arg(0)->Arg(1)->ArgName("hurt");

}  // namespace
}  // namespace daruma
