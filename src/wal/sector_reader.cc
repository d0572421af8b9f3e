// SPDX-License-Identifier: Apache-2.0
#include "wal/sector_reader.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace daruma {

bool SectorReader::read_sector(std::uint64_t offset, std::span<char> out) {
  const auto whole = [&](const Result<std::size_t>& got) { return got.ok() && *got == out.size(); };
  // A page that failed once may stay failed in the cache; and one that is good there says nothing of the device.
  return (!direct_ && whole(file_.read(offset, out))) || whole(file_.read_direct(offset, out));
}

void SectorReader::load(std::uint64_t at, std::uint64_t wanted) {
  const std::uint64_t begin = round_down(at, kSectorBytes);
  const std::uint64_t ahead = begin == end_ ? 2 * (end_ - begin_) : kFirstChunkBytes;
  const std::uint64_t least = round_up(at + wanted, kSectorBytes) - begin;
  const auto bytes = static_cast<std::size_t>(std::min({std::max(least, ahead), kChunkBytesMax, limit_ - begin}));
  if (chunk_.size() < bytes) chunk_ = AlignedBuffer(bytes);
  begin_ = begin;
  end_ = begin + bytes;
  const std::span<char> chunk(chunk_.data(), bytes);
  const Result<std::size_t> got = direct_ ? file_.read_direct(begin, chunk) : file_.read(begin, chunk);
  if (got.ok() && *got == bytes) return;
  for (std::size_t done = 0; done < bytes; done += kSectorBytes) {
    const std::span<char> sector(chunk_.data() + done, kSectorBytes);
    if (read_sector(begin + done, sector)) continue;
    std::memset(sector.data(), 0, sector.size());
    unreadable_.insert(begin + done);
  }
}

bool SectorReader::read(std::uint64_t offset, std::span<char> out) {
  DARUMA_ASSERT(offset <= limit_ && out.size() <= limit_ - offset);
  for (std::size_t done = 0; done < out.size();) {
    const std::uint64_t at = offset + done;
    if (at < begin_ || at >= end_) load(at, out.size() - done);
    const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(out.size() - done, end_ - at));
    std::memcpy(out.data() + done, chunk_.data() + (at - begin_), n);
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
