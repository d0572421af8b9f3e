// SPDX-License-Identifier: Apache-2.0
#include "wal/frame_heal.h"

#include <algorithm>
#include <string>

#include "parity/parity_format.h"

namespace daruma {
namespace {

/// Bounds the search in frames of many megabytes with a burst as wide as their parity: a second or so.
constexpr std::uint64_t kMostHashed = std::uint64_t{4} << 30;

class FrameHealer {
 public:
  FrameHealer(const StoreId& store, const FrameHeader& header, std::span<char> frame)
      : store_(store),
        header_(header),
        layout_(header.layout()),
        frame_(frame),
        syndromes_(layout_.parity_sectors * kSectorBytes, '\0') {}

  FrameState heal(std::span<const std::uint64_t> unreadable, std::uint64_t& damaged_at) {
    std::vector<bool> taken(layout_.parity_sectors, false);
    for (const std::uint64_t i : unreadable) {
      if (taken[stripe_of(i)]) return FrameState::kHurt;
      taken[stripe_of(i)] = true;
    }
    for (std::uint64_t i = 0; i < layout_.sectors(); ++i) xor_into(syndrome(stripe_of(i)), view(i));
    for (const std::uint64_t i : unreadable) flip(i);
    if (!unreadable.empty()) damaged_at = unreadable.front() * kSectorBytes;
    const std::vector<std::uint64_t> hurt = hurt_stripes();
    if (verifies()) {
      if (hurt.empty()) return unreadable.empty() ? FrameState::kWhole : FrameState::kHealed;
      if (unreadable.empty()) damaged_at = layout_.parity_of(hurt.front()) * kSectorBytes;
      return FrameState::kHealed;
    }
    if (!hurt.empty() && find_burst(hurt, damaged_at)) return FrameState::kHealed;
    for (const std::uint64_t i : unreadable) std::fill_n(sector(i).begin(), kSectorBytes, '\0');
    return FrameState::kHurt;
  }

 private:
  [[nodiscard]] std::uint64_t stripe_of(std::uint64_t i) const { return i % layout_.parity_sectors; }
  std::span<char> sector(std::uint64_t i) { return frame_.subspan(i * kSectorBytes, kSectorBytes); }
  std::string_view view(std::uint64_t i) { return {sector(i).data(), kSectorBytes}; }
  std::span<char> syndrome(std::uint64_t stripe) {
    return std::span(syndromes_).subspan(stripe * kSectorBytes, kSectorBytes);
  }
  /// Takes the difference that its stripe shows as this sector's, which settles the stripe.
  void flip(std::uint64_t i) {
    std::span<char> difference = syndrome(stripe_of(i));
    xor_into(sector(i), {difference.data(), difference.size()});
    std::fill(difference.begin(), difference.end(), '\0');
  }
  std::vector<std::uint64_t> hurt_stripes() {
    std::vector<std::uint64_t> hurt;
    for (std::uint64_t s = 0; s < layout_.parity_sectors; ++s) {
      if (!all_zero({syndrome(s).data(), kSectorBytes})) hurt.push_back(s);
    }
    return hurt;
  }
  [[nodiscard]] bool verifies() const {
    const std::string_view bytes(frame_.data(), frame_.size());
    const std::optional<FrameHeader> front = decode_frame_header(bytes, store_, header_.offset);
    return front && front->checksum == header_.checksum && footprint_verifies(store_, header_, bytes) &&
           payload_verifies(store_, header_, bytes);
  }

  /// A burst covers stripes that follow each other, and begins in the first of them: one candidate for each sector of
  /// that stripe. One sector is a burst of one.
  bool find_burst(const std::vector<std::uint64_t>& hurt, std::uint64_t& damaged_at) {
    const std::uint64_t stripes = layout_.parity_sectors;
    // Sectors within a burst may be unhurt, so the first stripe is one behind a widest gap.
    const auto gap_before = [&](std::size_t i) {
      return i == 0 ? hurt.front() + stripes - hurt.back() : hurt[i] - hurt[i - 1];
    };
    std::uint64_t widest = 0;
    for (std::size_t i = 0; i < hurt.size(); ++i) widest = std::max(widest, gap_before(i));
    std::uint64_t hashed = 0;
    for (std::size_t i = 0; i < hurt.size(); ++i) {
      if (gap_before(i) != widest) continue;
      for (std::uint64_t begin = hurt[i]; begin < layout_.sectors(); begin += stripes) {
        xor_burst(hurt, begin);
        if (verifies()) {
          damaged_at = begin * kSectorBytes;
          return true;
        }
        xor_burst(hurt, begin);
        hashed += layout_.bytes();
        if (hashed > kMostHashed) return false;
      }
    }
    return false;
  }
  /// Takes the differences as those of the sectors from `begin` on. Twice undoes it.
  void xor_burst(const std::vector<std::uint64_t>& hurt, std::uint64_t begin) {
    const std::uint64_t stripes = layout_.parity_sectors;
    for (const std::uint64_t s : hurt) {
      const std::uint64_t at = begin + (s + stripes - begin % stripes) % stripes;
      if (at < layout_.sectors()) xor_into(sector(at), {syndrome(s).data(), kSectorBytes});
    }
  }

  const StoreId& store_;
  const FrameHeader& header_;
  const FrameLayout layout_;
  std::span<char> frame_;
  std::string syndromes_;  // of each stripe: what its sectors XOR to; zeros when it is whole
};

}  // namespace

FrameState heal_frame(const StoreId& store, const FrameHeader& header, std::span<char> frame,
                      std::span<const std::uint64_t> unreadable, std::uint64_t& damaged_at) {
  return FrameHealer(store, header, frame).heal(unreadable, damaged_at);
}

}  // namespace daruma
