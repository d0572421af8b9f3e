// SPDX-License-Identifier: Apache-2.0
//
// What a run says of itself: enough to rebuild the state of a store from its runs alone. Stands in the run's properties
// and, as a cache, in manifests.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daruma/status.h"

namespace daruma {

/// Keys in [begin, end) of which this run, or one that it replaces, held versions numbered first..last that are lost.
/// What is there of them may not be their newest.
struct LostKeys {
  std::string begin;
  std::string end;  ///< never empty
  Sequence first = 0;
  Sequence last = 0;
  bool operator==(const LostKeys&) const = default;
};

struct RunInfo {
  std::uint64_t number = 0;
  std::uint32_t keyspace = 0;
  std::uint32_t level = 0;    ///< where it was written; at most kMaxRunLevel
  Sequence min_sequence = 0;  ///< of entries and range erases; both 0 when there are none
  Sequence max_sequence = 0;
  std::string smallest_key{};  ///< both bounds are inside; range erases count with all the keys that they cover
  std::string largest_key{};
  std::uint64_t entries = 0;     ///< versions of keys, tombstones included
  std::uint64_t tombstones = 0;  ///< of `entries`, those that erase their key
  std::uint64_t erases = 0;      ///< range erases
  std::uint64_t raw_bytes = 0;   ///< keys and values before compression
  std::uint64_t file_bytes = 0;
  std::uint64_t content_hash = 0;    ///< over the checksums of all data and erase blocks
  std::uint64_t job_id = 0;          ///< flush or compaction that wrote it
  std::uint32_t job_index = 0;       ///< which of the job's outputs
  bool job_last = false;             ///< the job has no further output
  Sequence checkpoint_sequence = 0;  ///< the job covers the state up to here
  Sequence prev_sequence = 0;        ///< the checkpoint before
  std::int64_t created_wall_ns = 0;
  std::vector<std::uint64_t> supersedes{};  ///< numbers of the runs that this job replaces
  std::vector<LostKeys> lost{};             ///< gaps that were there before this file was written; carried along
  bool operator==(const RunInfo&) const = default;
};

inline constexpr std::uint32_t kMaxRunLevel = 255;

void encode_run_info(std::string& out, const RunInfo& info);
/// `in` is exactly one encoding. kCorruption when it is cut short, too long, or its fields contradict each other.
Result<RunInfo> decode_run_info(std::string_view in);

/// The greatest key below `end` that a store can hold; an empty `end` gives the greatest key of all. Two adjacent runs,
/// one with an erase up to `end` and one that begins there, must not seem to overlap, so the bound is exact.
std::string last_key_before(std::string_view end);

}  // namespace daruma
