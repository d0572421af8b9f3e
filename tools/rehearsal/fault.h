// SPDX-License-Identifier: Apache-2.0
// One fault in one file at rest, drawn from a seed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"

namespace daruma::rehearsal {

inline constexpr std::uint64_t kSectorBytes = 4096;
inline constexpr std::uint64_t kBurstBytes = 64 << 10;

enum class Fault : std::uint8_t {
  kBitFlip,            ///< one bit
  kZeroedSector,       ///< 4 KiB of zeros
  kMisdirectedSector,  ///< 4 KiB hold what stands elsewhere in the file
  kTornTail,           ///< the last 4 KiB in use end early
  kGarbageTail,        ///< up to 64 KiB of noise behind the bytes in use
  kBurst,              ///< 64 KiB of noise, or the whole file where it is shorter
  kCut,                ///< the file ends anywhere
  kEmptied,
  kDeleted,
};

const std::vector<Fault>& all_faults();
const char* name(Fault fault);
/// It touches one sector.
bool single_sector(Fault fault);
/// It needs a file for itself, not a part of one.
bool whole_file(Fault fault);

/// Where the bytes are that may be hurt: [begin, end) of the file, of which nothing at or behind `live_end` is in use.
struct Extent {
  std::uint64_t begin = 0, end = UINT64_MAX;
  std::optional<std::uint64_t> live_end;  ///< nothing: behind the last byte that is not zero
};

/// Where the bytes in use of a log file end; nothing: it is none, or none that can be read.
std::optional<std::uint64_t> end_of_log(const std::string& path);

/// Hurts the file and returns where; nothing: it has no place for this fault (empty, too short, all alike).
std::optional<std::uint64_t> inflict(Fault fault, const std::string& path, const Extent& extent, Random& random);

}  // namespace daruma::rehearsal
