// SPDX-License-Identifier: Apache-2.0
#include "wal/segment_check.h"

#include "wal/wal_reader.h"

namespace daruma {

Result<SegmentCheck> check_segment(Storage& storage, const std::string& path, const std::optional<StoreId>& store,
                                   Sequence through) {
  SegmentPart part{.place = {}, .through = through, .bytes_max = kMaxSegmentBytes, .direct = true};
  const SegmentScan scan = read_segment(
      storage, SegmentFiles{path}, store, [](const FrameView&) {}, {}, &part);
  if (is_of_the_process(scan.status)) return scan.status;
  SegmentCheck check;
  check.bytes = scan.bytes_read;
  const auto hurt = [&](std::string what) {
    if (check.detail.empty()) check.detail = std::move(what);
  };
  const auto at = [](std::uint64_t offset) { return " at " + std::to_string(offset); };
  if (!scan.status.ok()) hurt(scan.status.to_string());
  if (!scan.healed.empty()) hurt("frame needs its parity" + at(scan.healed.front().damaged_at));
  if (!scan.poisoned.empty()) hurt("frame does not verify" + at(scan.poisoned.front().header.offset));
  if (!scan.gaps.empty()) hurt("frames are missing" + at(scan.gaps.front().offset));
  if (!scan.unreadable.empty()) hurt("the device refuses a sector" + at(scan.unreadable.front()));
  if (!scan.damaged_footprints.empty()) hurt("footprint does not verify" + at(scan.damaged_footprints.front()));
  if (scan.status.ok() && scan.header_copies < 2) hurt("a copy of the header does not verify");
  if (scan.status.ok() && scan.last_good_sequence < through) hurt("ends too early" + at(scan.stop_offset));
  check.sound = check.detail.empty();
  return check;
}

}  // namespace daruma
