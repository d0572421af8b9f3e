// SPDX-License-Identifier: Apache-2.0
#include "wal/sector_reader.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace daruma {

bool SectorReader::read_sector(std::uint64_t offset, std::span<char> out) {
  Result<std::size_t> got = file_.read(offset, out);
  if (got.ok() && *got == out.size()) return true;
  got = file_.read_direct(offset, out);  // a page that failed once may stay failed in the cache
  return got.ok() && *got == out.size();
}

void SectorReader::load(std::uint64_t chunk_at) {
  const std::size_t bytes = static_cast<std::size_t>(std::min<std::uint64_t>(kChunkBytes, limit_ - chunk_at));
  chunk_at_ = chunk_at;
  const Result<std::size_t> got = file_.read(chunk_at, {chunk_.data(), bytes});
  if (got.ok() && *got == bytes) return;
  for (std::size_t at = 0; at < bytes; at += kSectorBytes) {
    const std::span<char> sector(chunk_.data() + at, kSectorBytes);
    if (read_sector(chunk_at + at, sector)) continue;
    std::memset(sector.data(), 0, sector.size());
    unreadable_.insert(chunk_at + at);
  }
}

bool SectorReader::read(std::uint64_t offset, std::span<char> out) {
  DARUMA_ASSERT(offset <= limit_ && out.size() <= limit_ - offset);
  for (std::size_t done = 0; done < out.size();) {
    const std::uint64_t at = offset + done;
    const std::uint64_t chunk_at = round_down(at, kChunkBytes);
    if (chunk_at != chunk_at_) load(chunk_at);
    const std::size_t n =
        static_cast<std::size_t>(std::min<std::uint64_t>(out.size() - done, chunk_at + kChunkBytes - at));
    std::memcpy(out.data() + done, chunk_.data() + (at - chunk_at), n);
    done += n;
  }
  const auto bad = unreadable_.lower_bound(round_down(offset, kSectorBytes));
  return bad == unreadable_.end() || *bad >= offset + out.size();
}

std::vector<std::uint64_t> SectorReader::unreadable_in(std::uint64_t begin, std::uint64_t end) const {
  std::vector<std::uint64_t> out;
  for (auto at = unreadable_.lower_bound(begin); at != unreadable_.end() && *at < end; ++at)
    out.push_back((*at - begin) / kSectorBytes);
  return out;
}

}  // namespace daruma
