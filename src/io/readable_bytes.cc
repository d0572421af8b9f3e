// SPDX-License-Identifier: Apache-2.0
#include "io/readable_bytes.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/status_macros.h"

namespace daruma {
namespace {

constexpr std::uint64_t kChunkBytes = 1 << 20;

Result<std::size_t> read(File& file, std::uint64_t at, std::span<char> out, ReadFrom from) {
  if (from == ReadFrom::kCache) return file.read(at, out);
  AlignedBuffer sectors(round_up(out.size(), kSectorBytes));
  DARUMA_TRY_ASSIGN(std::size_t got, file.read_direct(at, sectors.span()));
  got = std::min(got, out.size());
  std::copy_n(sectors.data(), got, out.data());
  return got;
}

}  // namespace

Result<ReadableBytes> readable_bytes(File& file, std::uint64_t limit, ReadFrom from, char instead) {
  DARUMA_TRY_ASSIGN(const std::uint64_t size, file.size());
  ReadableBytes out{std::string(std::min(size, limit), instead), {}};
  const std::span<char> all(out.bytes);
  std::uint64_t step = kChunkBytes;
  for (std::uint64_t at = 0; at < all.size();) {
    const std::span<char> part = all.subspan(at, std::min(step, all.size() - at));
    const Result<std::size_t> got = read(file, at, part, from);
    if (is_of_the_process(got.status())) return got.status();
    if (got.ok() && *got < part.size()) {  // it was cut meanwhile
      out.bytes.resize(at + *got);
      break;
    }
    if (!got.ok() && step > kSectorBytes) {  // this chunk again, sector by sector
      step = kSectorBytes;
      continue;
    }
    if (!got.ok()) {
      std::fill(part.begin(), part.end(), instead);
      if (out.unreadable.ok()) out.unreadable = got.status();
    }
    at += part.size();
    if (at % kChunkBytes == 0) step = kChunkBytes;
  }
  return out;
}

}  // namespace daruma
