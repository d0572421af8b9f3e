// SPDX-License-Identifier: Apache-2.0
// Reads a file in large chunks; where the device refuses, down to the sector and past the page cache, so that one bad
// sector costs one sector.
#pragma once

#include <set>
#include <vector>

#include "base/bytes.h"
#include "io/storage.h"

namespace daruma {

/// One scan's; one thread.
class SectorReader {
 public:
  SectorReader(File& file, std::uint64_t bytes)
      : file_(file), limit_(round_down(bytes, kSectorBytes)), chunk_(kChunkBytes) {}
  /// Whole sectors of the file.
  [[nodiscard]] std::uint64_t limit() const { return limit_; }
  /// Copies [offset, offset + out.size()), which lies below limit(). False when a sector of it cannot be read; that one
  /// is zeros.
  bool read(std::uint64_t offset, std::span<char> out);
  [[nodiscard]] const std::set<std::uint64_t>& unreadable() const { return unreadable_; }
  /// Those between two offsets, counted in sectors from the first.
  [[nodiscard]] std::vector<std::uint64_t> unreadable_in(std::uint64_t begin, std::uint64_t end) const;

 private:
  static constexpr std::size_t kChunkBytes = 1 << 20;
  void load(std::uint64_t chunk_at);
  bool read_sector(std::uint64_t offset, std::span<char> out);

  File& file_;
  const std::uint64_t limit_;
  AlignedBuffer chunk_;
  std::uint64_t chunk_at_ = ~std::uint64_t{0};
  std::set<std::uint64_t> unreadable_;
};

}  // namespace daruma
