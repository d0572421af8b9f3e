// SPDX-License-Identifier: Apache-2.0
//
// What a frame tells of the frames before it, in bytes that would be zeros: which keys they touch. So where a burst
// takes whole frames, headers and footprints included, the next frame that is left says which reads are in doubt, and
// all others go on.
//
// What must stay true: it never makes a frame longer; it ends with the event before the frame's first, without a hole,
// so what it says of a number holds for the numbering that the frame itself is part of; it is believed only when its
// own checksum holds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "event/footprint.h"
#include "wal/frame_format.h"

namespace daruma {

/// The footprints of the newest frames, oldest first. One thread at a time. Takes no memory once it is made.
class EarlierFootprints {
 public:
  /// A burst takes so many frames that these are plenty; and more than a sector of them never fits.
  static constexpr std::size_t kMaxFrames = 64;
  static constexpr std::size_t kMaxBytes = kSectorBytes;

  EarlierFootprints();
  /// Of a frame that holds `first` to `last`; `encoded`: by encode_footprint, or empty when it is lost. A frame that
  /// held one of these events too is forgotten: they are framed again.
  void keep(Sequence first, Sequence last, std::string_view encoded);
  /// What a frame that begins with `first` may say in `room` bytes: of as many of those directly before it as fit.
  [[nodiscard]] std::string before(Sequence first, std::size_t room) const;

 private:
  struct Kept {
    Sequence last = 0;
    std::size_t bytes = 0;  // in entries_
  };
  void forget_oldest(std::size_t n);

  std::string entries_;
  std::vector<Kept> kept_;
};

/// The bytes behind the payload of the frame; empty when nothing fits.
std::string encode_earlier(const StoreId& store, const FrameHeader& header, const EarlierFootprints& earlier);

struct FrameFootprint {
  Sequence first = 0;
  Sequence last = 0;
  Footprint footprint;
};
/// What the frame says of those before it, oldest first and without a hole; nothing where that does not verify. `frame`
/// holds header.frame_bytes.
std::vector<FrameFootprint> earlier_footprints(const StoreId& store, const FrameHeader& header, std::string_view frame);
/// The keys that the events `first` to `last` may touch; nothing unless every one of them is told of.
std::optional<Footprint> footprint_between(const std::vector<FrameFootprint>& told, Sequence first, Sequence last);

}  // namespace daruma
