// SPDX-License-Identifier: Apache-2.0
#include "wal/frame_heal.h"

#include <algorithm>
#include <set>
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
    if (!parity_replaces(header_, unreadable)) return FrameState::kHurt;
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

  FrameState merge(std::string_view other) {
    const std::string as_read(frame_.data(), frame_.size());
    for (std::uint64_t i = 0; i < layout_.sectors(); ++i) xor_into(syndrome(stripe_of(i)), view(i));
    bool whole = true;
    for (std::uint64_t s = 0; s < layout_.parity_sectors && whole; ++s) whole = merge_stripe(s, other);
    if (whole && verifies()) return FrameState::kHealed;
    std::copy(as_read.begin(), as_read.end(), frame_.begin());
    return FrameState::kHurt;
  }

 private:
  /// A sector that differs is right in one of the two. Taking it from the other changes the stripe's XOR by the
  /// difference, so the sectors to take are those whose differences XOR to what the stripe shows: linear equations over
  /// single bits, with as many unknowns as sectors differ.
  bool merge_stripe(std::uint64_t stripe, std::string_view other) {
    struct Row {
      std::string difference;   // of the sectors in `taken`
      std::vector<bool> taken;  // by sector within the stripe
      std::size_t lead = 0;     // byte and bit that is set here, and in no row behind
      unsigned char lead_bit = 0;
    };
    const auto shows = [](std::string_view difference, const Row& row) {
      return (static_cast<unsigned char>(difference[row.lead]) & row.lead_bit) != 0;
    };
    const std::uint64_t in_stripe = (layout_.sectors() - stripe + layout_.parity_sectors - 1) / layout_.parity_sectors;
    std::vector<Row> rows;
    const auto reduce = [&](std::string& difference, std::vector<bool>& taken) {
      for (const Row& row : rows) {
        if (!shows(difference, row)) continue;
        xor_into(difference, row.difference);
        for (std::size_t i = 0; i < taken.size(); ++i) taken[i] = taken[i] != row.taken[i];
      }
    };
    for (std::uint64_t k = 0; k < in_stripe; ++k) {
      const std::uint64_t i = stripe + k * layout_.parity_sectors;
      Row row{std::string(view(i)), std::vector<bool>(in_stripe, false)};
      xor_into(row.difference, other.substr(i * kSectorBytes, kSectorBytes));
      row.taken[k] = true;
      reduce(row.difference, row.taken);
      row.lead = row.difference.find_first_not_of('\0');
      if (row.lead == std::string::npos) continue;  // the same in both, or nothing that others do not give
      const auto byte = static_cast<unsigned char>(row.difference[row.lead]);
      row.lead_bit = static_cast<unsigned char>(byte & -byte);
      rows.push_back(std::move(row));
    }
    std::string left(syndrome(stripe).data(), kSectorBytes);
    std::vector<bool> taken(in_stripe, false);
    reduce(left, taken);
    if (!all_zero(left)) return false;
    for (std::uint64_t k = 0; k < in_stripe; ++k) {
      if (!taken[k]) continue;
      const std::uint64_t i = stripe + k * layout_.parity_sectors;
      std::copy_n(other.begin() + static_cast<std::ptrdiff_t>(i * kSectorBytes), kSectorBytes, sector(i).begin());
    }
    return true;
  }

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
    // Sectors within a burst may be unhurt, so it may begin at any hurt stripe: first at those behind the widest gaps.
    const auto gap_before = [&](std::uint64_t first) {
      const auto at = std::lower_bound(hurt.begin(), hurt.end(), first);
      return at == hurt.begin() ? first + stripes - hurt.back() : first - *std::prev(at);
    };
    std::vector<std::uint64_t> firsts = hurt;
    std::stable_sort(firsts.begin(), firsts.end(),
                     [&](std::uint64_t a, std::uint64_t b) { return gap_before(a) > gap_before(b); });
    std::uint64_t hashed = 0;
    for (const std::uint64_t first : firsts) {
      for (std::uint64_t begin = first; begin < layout_.sectors(); begin += stripes) {
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

bool parity_replaces(const FrameHeader& header, std::span<const std::uint64_t> unreadable) {
  std::set<std::uint64_t> stripes;
  for (const std::uint64_t i : unreadable) stripes.insert(i % header.layout().parity_sectors);
  return stripes.size() == unreadable.size();
}

FrameState heal_frame(const StoreId& store, const FrameHeader& header, std::span<char> frame,
                      std::span<const std::uint64_t> unreadable, std::uint64_t& damaged_at) {
  return FrameHealer(store, header, frame).heal(unreadable, damaged_at);
}

FrameState merge_frames(const StoreId& store, const FrameHeader& header, std::span<char> frame,
                        std::string_view other) {
  return FrameHealer(store, header, frame).merge(other);
}

}  // namespace daruma
