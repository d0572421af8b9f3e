// SPDX-License-Identifier: Apache-2.0
// What a store takes; anything beyond is refused with kInvalidArgument.
#pragma once

#include <cstddef>

namespace daruma {

inline constexpr std::size_t kMaxKeyBytes = 64 << 10;
inline constexpr std::size_t kMaxValueBytes = 64 << 20;
inline constexpr std::size_t kMaxEventBytes =
    128 << 20;  ///< one batch, encoded: keys and values plus a few bytes an operation
inline constexpr std::size_t kMaxKeyspaceNameBytes = 255;

}  // namespace daruma
