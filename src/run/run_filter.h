// SPDX-License-Identifier: Apache-2.0
//
// Which keys a run cannot hold: a Bloom filter whose probes for one key stay within one cache line ("blocked": Putze,
// Sanders, Singler 2007; the probe sequence is that of RocksDB's FastLocalBloom).
//
// What must stay true: no key that was added is ever denied. So a part that does not verify is filled with ones.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace daruma {

inline constexpr std::size_t kFilterLineBytes = 64;
inline constexpr std::uint64_t kFilterLinesMax =
    (std::uint64_t{64} << 20) / kFilterLineBytes;           ///< memory of one run's filter
inline constexpr std::size_t kFilterBlockBytes = 64 << 10;  ///< what one damaged block costs

class RunFilterBuilder {
 public:
  void add(std::uint64_t key_hash) {
    if (keys_ % kPart == 0) hashes_.push_back(std::make_unique_for_overwrite<std::uint64_t[]>(kPart));
    hashes_.back()[keys_ % kPart] = key_hash;
    ++keys_;
  }
  [[nodiscard]] std::size_t keys() const { return keys_; }
  /// The lines; empty when there are no keys or no bits.
  [[nodiscard]] std::string build(unsigned bits_per_key) const;

 private:
  static constexpr std::size_t kPart = 8 << 10;  // what doubles holds three times as much while it grows

  std::vector<std::unique_ptr<std::uint64_t[]>> hashes_;  // key_hash (base/checksum.h), one per key
  std::size_t keys_ = 0;
};

/// Any thread. Without lines every key may be there.
class RunFilter {
 public:
  RunFilter() = default;
  explicit RunFilter(std::uint64_t lines) : lines_(lines), bits_(lines * kFilterLineBytes) {}
  [[nodiscard]] std::span<char> bits() { return bits_.span(); }

  void prefetch(std::uint64_t key_hash) const {
    if (lines_ != 0) __builtin_prefetch(bits_.data() + line_of(key_hash, lines_) * kFilterLineBytes);
  }
  [[nodiscard]] bool may_contain(std::uint64_t key_hash) const {
    if (lines_ == 0) return true;
    const char* line = bits_.data() + line_of(key_hash, lines_) * kFilterLineBytes;
    auto h = static_cast<std::uint32_t>(key_hash);
    for (int i = 0; i < kProbes; ++i) {
      h *= kStep;
      const std::uint32_t bit = h >> 23;  // of 512
      if ((static_cast<std::uint8_t>(line[bit >> 3]) & (1u << (bit & 7))) == 0) return false;
    }
    return true;
  }

 private:
  friend class RunFilterBuilder;
  static constexpr int kProbes = 6;  // near the best for 8 to 10 bits a key
  static constexpr std::uint32_t kStep = 0x9e3779b9;
  static std::uint64_t line_of(std::uint64_t key_hash, std::uint64_t lines) { return (key_hash >> 32) * lines >> 32; }

  std::uint64_t lines_ = 0;
  AlignedBuffer bits_;
};

}  // namespace daruma
