// SPDX-License-Identifier: Apache-2.0
//
// Puts a damaged frame together again from its parity.
//
// What must stay true: nothing healed is believed before header, footprint and payload verify. XOR alone says only that
// a stripe is hurt, not which of its sectors; the checksums choose among the candidates.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "wal/frame_format.h"

namespace daruma {

enum class FrameState : std::uint8_t {
  kWhole,   ///< every byte is as it was written
  kHealed,  ///< was not; header, footprint and payload are right now
  kHurt,    ///< beyond parity; left as it was read
};

/// Whether parity alone replaces these sectors of the frame: no two share a stripe.
bool parity_replaces(const FrameHeader& header, std::span<const std::uint64_t> unreadable);

/// `frame` holds header.frame_bytes as read, with zeros for the sectors in `unreadable` (numbers within the frame,
/// rising). Heals one sector, or one burst of at most as many as there are parity sectors; and any unreadable ones that
/// parity replaces. `damaged_at`, when healed: the first byte that was wrong; where only parity or padding
/// was, the sector is not known and this is a parity sector of its stripe.
FrameState heal_frame(const StoreId& store, const FrameHeader& header, std::span<char> frame,
                      std::span<const std::uint64_t> unreadable, std::uint64_t& damaged_at);

/// The same frame as two files have it, each beyond its parity: `frame` takes the sectors of `other` without which it
/// does not verify. Heals whatever is hurt in one of them only, as long as nothing of a stripe is hurt in both.
FrameState merge_frames(const StoreId& store, const FrameHeader& header, std::span<char> frame, std::string_view other);

}  // namespace daruma
