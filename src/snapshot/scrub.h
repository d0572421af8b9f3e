// SPDX-License-Identifier: Apache-2.0
//
// Where a pass of the scrubber stands, and when it goes on. Pure but for reading and writing the note.
//
// What must stay true:
//   - The note is a hint: lost or damaged, a pass begins anew, which costs time only. So it stands once.
//   - It is a file of its own, published whole after each file that was looked at: a manifest would be a generation for
//   nothing, and push out the one before.
//   - Without a note a pass counts as begun when the oldest file was written, so that a process that is restarted every
//   day gets to it all the same.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "io/storage.h"

namespace daruma {

enum class ScrubRoom : std::uint8_t { kManifests = 0, kRuns = 1, kSegments = 2, kQuarantine = 3 };

struct ScrubItem {
  ScrubRoom room = ScrubRoom::kManifests;
  std::uint64_t number = 0;
  std::uint64_t bytes = 0;
};

struct ScrubPosition {
  std::uint64_t passes = 0;  ///< that ended
  std::int64_t began_wall_ns = 0;
  std::uint64_t bytes_done = 0;  ///< of this pass
  ScrubRoom room = ScrubRoom::kManifests;
  std::uint64_t number = 0;  ///< the first of the room that was not looked at yet
  bool operator==(const ScrubPosition&) const = default;
};

inline constexpr std::string_view kScrubNote = "scrub";
/// Most that is read when a pass is late: after a long time off it must not take the device for itself.
inline constexpr std::uint64_t kScrubBytesPerSecond = std::uint64_t{32} << 20;

std::string encode_scrub_position(const ScrubPosition& position, const StoreId& store);
std::optional<ScrubPosition> decode_scrub_position(std::string_view note, const StoreId& store);
/// `directory`: recoveries/.
std::optional<ScrubPosition> read_scrub_position(Storage& storage, const std::string& directory, const StoreId& store);

/// The next one of `items`, which are in order; null: the pass is over.
const ScrubItem* next_scrub_item(const std::vector<ScrubItem>& items, const ScrubPosition& position);
/// When `item` is due, on the wall clock, so that all `items` are spread over `days`.
std::int64_t scrub_due_ns(const std::vector<ScrubItem>& items, const ScrubItem& item, const ScrubPosition& position,
                          std::uint64_t days);

}  // namespace daruma
