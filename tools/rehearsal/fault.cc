// SPDX-License-Identifier: Apache-2.0
#include "rehearsal/fault.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "io/posix_storage.h"
#include "wal/wal_reader.h"

namespace daruma::rehearsal {
namespace {

namespace fs = std::filesystem;

std::string noise(std::uint64_t bytes, Random& random) {
  std::string out(bytes, '\0');
  for (char& c : out) c = static_cast<char>(random.next());
  return out;
}

void overwrite(const std::string& path, std::uint64_t at, const std::string& bytes) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(at));
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace

const std::vector<Fault>& all_faults() {
  static const std::vector<Fault> all = {Fault::kBitFlip,  Fault::kZeroedSector, Fault::kMisdirectedSector,
                                         Fault::kTornTail, Fault::kGarbageTail,  Fault::kBurst,
                                         Fault::kCut,      Fault::kEmptied,      Fault::kDeleted};
  return all;
}

const char* name(Fault fault) {
  switch (fault) {
    case Fault::kBitFlip: return "bit flip";
    case Fault::kZeroedSector: return "zeroed sector";
    case Fault::kMisdirectedSector: return "misdirected sector";
    case Fault::kTornTail: return "torn tail";
    case Fault::kGarbageTail: return "garbage tail";
    case Fault::kBurst: return "64 KiB of noise";
    case Fault::kCut: return "cut short";
    case Fault::kEmptied: return "emptied";
    case Fault::kDeleted: return "deleted";
  }
  return "";
}

bool single_sector(Fault fault) {
  return fault == Fault::kBitFlip || fault == Fault::kZeroedSector || fault == Fault::kMisdirectedSector ||
         fault == Fault::kTornTail;
}

bool whole_file(Fault fault) {
  return fault == Fault::kTornTail || fault == Fault::kGarbageTail || fault == Fault::kCut ||
         fault == Fault::kEmptied || fault == Fault::kDeleted;
}

std::optional<std::uint64_t> end_of_log(const std::string& path) {
  if (!path.ends_with(".log")) return std::nullopt;
  const SegmentScan scan = read_segment(*make_posix_storage(), path, std::nullopt, [](const FrameView&) {});
  if (!scan.status.ok()) return std::nullopt;
  return scan.end_offset;
}

std::optional<std::uint64_t> inflict(Fault fault, const std::string& path, const Extent& extent, Random& random) {
  if (fault == Fault::kDeleted) {
    fs::remove(path);
    return 0;
  }
  std::string bytes;
  {
    std::ifstream in(path, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  if (fault == Fault::kEmptied) {
    if (bytes.empty()) return std::nullopt;
    fs::resize_file(path, 0);
    return 0;
  }
  const std::size_t last = bytes.find_last_not_of('\0');
  const std::uint64_t live = extent.live_end             ? std::min<std::uint64_t>(*extent.live_end, bytes.size())
                             : last == std::string::npos ? 0
                                                         : last + 1;
  const std::uint64_t end = std::min(extent.end, live);
  const auto sector = [&](std::uint64_t at) { return bytes.substr(at, std::min(kSectorBytes, bytes.size() - at)); };
  std::vector<std::uint64_t> used;
  for (std::uint64_t at = extent.begin; at < end; at += kSectorBytes) {
    if (sector(at).find_first_not_of('\0') != std::string::npos) used.push_back(at);
  }
  if (fault == Fault::kGarbageTail) {
    overwrite(path, live, noise(1 + random.below(kBurstBytes), random));
    return live;
  }
  if (used.empty()) return std::nullopt;
  const std::uint64_t at = used[random.below(used.size())];
  switch (fault) {
    case Fault::kBitFlip: {
      const std::uint64_t place = at + random.below(std::min({kSectorBytes, bytes.size() - at, end - at}));
      overwrite(path, place, std::string(1, static_cast<char>(bytes[place] ^ (1 << random.below(8)))));
      return place;
    }
    case Fault::kZeroedSector: overwrite(path, at, std::string(sector(at).size(), '\0')); return at;
    case Fault::kMisdirectedSector:
      if (sector(at).size() < kSectorBytes) return std::nullopt;
      for (unsigned tries = 0; tries < 20; ++tries) {
        const std::string other = sector(used[random.below(used.size())]);
        if (other.size() < kSectorBytes || other == sector(at)) continue;
        overwrite(path, at, other);
        return at;
      }
      return std::nullopt;
    case Fault::kTornTail: {
      const std::uint64_t begin = (live - 1) / kSectorBytes * kSectorBytes;
      const std::uint64_t place = begin + random.below(live - begin);
      if (live == bytes.size())
        fs::resize_file(path, place);
      else
        overwrite(path, place, std::string(live - place, '\0'));
      return place;
    }
    case Fault::kBurst: {
      const std::uint64_t room = end - extent.begin;
      const std::uint64_t begin = extent.begin + (room > kBurstBytes ? random.below(room - kBurstBytes) : 0);
      overwrite(path, begin, noise(std::min(room, kBurstBytes), random));
      return begin;
    }
    case Fault::kCut: {
      const std::uint64_t place = random.below(live);
      fs::resize_file(path, place);
      return place;
    }
    default: return std::nullopt;
  }
}

}  // namespace daruma::rehearsal
