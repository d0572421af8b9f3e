// SPDX-License-Identifier: Apache-2.0
// A window that moves over a run file. One thread.
#pragma once

#include <string_view>

#include "base/bytes.h"
#include "io/storage.h"

namespace daruma {

class RunBytes {
 public:
  static constexpr std::uint64_t kReadAhead = 256 << 10;

  /// `direct`: past the page cache, so that what is read is what the device holds.
  RunBytes(File& file, std::uint64_t file_bytes, bool direct) : file_(file), file_bytes_(file_bytes), direct_(direct) {}
  /// Bytes [offset, offset + bytes), valid until the next call. Reads ahead when it must read at all, but a sector that
  /// nobody asked for and that cannot be read is not an error. Errors: kCorruption past the end of the file; else as
  /// File::read.
  Result<std::string_view> view(std::uint64_t offset, std::uint64_t bytes);
  [[nodiscard]] std::uint64_t file_bytes() const { return file_bytes_; }
  [[nodiscard]] const std::string& path() const { return file_.path(); }

 private:
  Status fill(std::uint64_t begin, std::uint64_t end);

  File& file_;
  const std::uint64_t file_bytes_;
  const bool direct_;
  AlignedBuffer buffer_;
  std::uint64_t begin_ = 0;  ///< buffer_ holds [begin_, end_)
  std::uint64_t end_ = 0;
};

}  // namespace daruma
