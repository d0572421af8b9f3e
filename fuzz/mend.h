// SPDX-License-Identifier: Apache-2.0
// Puts right the checksums of made-up bytes: needs a build with DARUMA_FUZZ, in which checksum_holds tells.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "base/checksum.h"

namespace daruma::fuzz {

/// Thread: one, and one Mender listens at a time.
class Mender {
 public:
#ifdef DARUMA_FUZZ
  ~Mender() {
    if (listening_ == this) on_wrong_checksum = nullptr;
  }
#endif
  /// Forgets, and from here on notes every checksum that does not hold.
  void listen() {
    wrong_.clear();
#ifdef DARUMA_FUZZ
    listening_ = this;
    on_wrong_checksum = [](std::uint64_t stored, std::uint64_t computed) { listening_->note(stored, computed); };
#endif
  }

  /// Overwrites, in `bytes`, the checksums that were noted with what they should be. False when none stands there.
  bool mend(std::span<char> bytes) const {
    bool mended = false;
    for (const Wrong& w : wrong_) {
      const std::size_t width = w.stored >> 32 == 0 && w.computed >> 32 == 0 ? 4 : 8;
      const std::string_view stored(reinterpret_cast<const char*>(&w.stored), width);
      const std::size_t at = std::string_view(bytes.data(), bytes.size()).find(stored);
      if (at == std::string_view::npos) continue;
      std::memcpy(bytes.data() + at, &w.computed, width);
      mended = true;
    }
    return mended;
  }

 private:
  struct Wrong {
    std::uint64_t stored, computed;
  };
  /// The first word on each: what comes later are trials of healing.
  void note(std::uint64_t stored, std::uint64_t computed) {
    constexpr std::size_t kMost = 64;
    for (const Wrong& w : wrong_) {
      if (w.stored == stored) return;
    }
    if (wrong_.size() < kMost) wrong_.push_back({stored, computed});
  }

#ifdef DARUMA_FUZZ
  static inline Mender* listening_ = nullptr;
#endif
  std::vector<Wrong> wrong_;
};

}  // namespace daruma::fuzz
