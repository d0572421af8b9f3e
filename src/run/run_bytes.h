// SPDX-License-Identifier: Apache-2.0
// A window that moves over a run file. One thread.
#pragma once

#include <optional>
#include <string_view>

#include "base/bytes.h"
#include "io/storage.h"
#include "parity/parity_reader.h"
#include "run/run_format.h"

namespace daruma {

class RunBytes {
 public:
  static constexpr std::uint64_t kReadAhead = 256 << 10;

  enum class From : std::uint8_t {
    kCache,
    kDevice,  ///< past the page cache: what the device holds
    kParity,  ///< as kDevice, and every sector of the body that does not verify is healed, if it can be
  };
  RunBytes(File& file, std::uint64_t file_bytes, const RunPlace& place, From from);
  RunBytes(const RunBytes&) = delete;
  RunBytes& operator=(const RunBytes&) = delete;

  /// Bytes [offset, offset + bytes), valid until the next call. Reads ahead when it must read at all, but a sector that
  /// nobody asked for and that cannot be read is not an error. Errors: kCorruption past the end of the file; else as
  /// File::read.
  Result<std::string_view> view(std::uint64_t offset, std::uint64_t bytes);
  [[nodiscard]] std::uint64_t file_bytes() const { return file_bytes_; }
  /// Where the body ends if the file is as long as it was made; a file of no such length is all body.
  [[nodiscard]] std::uint64_t body_bytes() const;
  [[nodiscard]] const std::optional<ParityLayout>& layout() const { return layout_; }
  [[nodiscard]] const std::string& path() const { return file_.path(); }
  /// One sector past the page cache, reading ahead when they are asked for in order; false when the device refuses it.
  bool read_sector(std::uint64_t sector, std::span<char> out);
  [[nodiscard]] ParityReader parity_reader(const ParityLayout& layout);
  /// Of the first sector that `read_sector` could not have; ok: none.
  [[nodiscard]] const Status& refused() const { return refused_; }

 private:
  std::optional<ParityLayout> find_layout();
  [[nodiscard]] bool footer_tells(const ParityLayout& layout) const;
  Status fill(std::uint64_t begin, std::uint64_t end);
  Status fill_healed(std::uint64_t begin, std::span<char> out);

  File& file_;
  const std::uint64_t file_bytes_;
  const RunPlace place_;
  const From from_;
  std::optional<ParityLayout> layout_;
  std::optional<ParityReader> parity_;
  Status refused_;
  AlignedBuffer ahead_;  ///< of read_sector: sectors [ahead_begin_, ahead_end_)
  std::uint64_t ahead_begin_ = 0;
  std::uint64_t ahead_end_ = 0;
  std::uint64_t last_sector_ = ~std::uint64_t{0};
  AlignedBuffer buffer_;
  std::uint64_t begin_ = 0;  ///< buffer_ holds [begin_, end_)
  std::uint64_t end_ = 0;
};

}  // namespace daruma
