// SPDX-License-Identifier: Apache-2.0
// Reads a file in chunks, larger ones the longer it goes on in order; where the device refuses, down to the sector and
// past the page cache, so that one bad sector costs one sector.
#pragma once

#include <set>
#include <vector>

#include "base/bytes.h"
#include "io/storage.h"

namespace daruma {

/// One scan's; one thread.
class SectorReader {
 public:
  /// `direct`: past the page cache from the beginning.
  SectorReader(File& file, std::uint64_t bytes, bool direct = false)
      : file_(file), limit_(round_down(bytes, kSectorBytes)), direct_(direct) {}
  /// Whole sectors of the file.
  [[nodiscard]] std::uint64_t limit() const { return limit_; }
  /// Copies [offset, offset + out.size()), which lies below limit(). False when a sector of it cannot be read; that one
  /// is zeros.
  bool read(std::uint64_t offset, std::span<char> out);
  [[nodiscard]] const std::set<std::uint64_t>& unreadable() const { return unreadable_; }
  /// Those between two offsets, counted in sectors from the first.
  [[nodiscard]] std::vector<std::uint64_t> unreadable_in(std::uint64_t begin, std::uint64_t end) const;

 private:
  static constexpr std::uint64_t kFirstChunkBytes = 32 << 10;
  static constexpr std::uint64_t kChunkBytesMax = 1 << 20;
  void load(std::uint64_t at, std::uint64_t wanted);
  bool read_sector(std::uint64_t offset, std::span<char> out);

  File& file_;
  const std::uint64_t limit_;
  const bool direct_;
  AlignedBuffer chunk_;
  std::uint64_t begin_ = 0, end_ = 0;  ///< of what the chunk holds, in the file
  std::set<std::uint64_t> unreadable_;
};

}  // namespace daruma
