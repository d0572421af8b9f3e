// SPDX-License-Identifier: Apache-2.0
#include "run/run_bytes.h"

#include <algorithm>

#include "base/status_macros.h"

namespace daruma {

Result<std::string_view> RunBytes::view(std::uint64_t offset, std::uint64_t bytes) {
  if (offset > file_bytes_ || bytes > file_bytes_ - offset) {
    return Status(Code::kCorruption, "the file ends too early", {.file = path(), .offset = file_bytes_});
  }
  if (offset < begin_ || offset + bytes > end_) {
    const std::uint64_t begin = round_down(offset, kSectorBytes);
    const std::uint64_t least = round_up(offset + bytes, kSectorBytes);
    if (const std::uint64_t more = std::max(least, std::min(begin + kReadAhead, round_up(file_bytes_, kSectorBytes)));
        more == least || !fill(begin, more).ok()) {
      DARUMA_TRY(fill(begin, least));
    }
    if (offset + bytes > end_)
      return Status(Code::kCorruption, "the file ends too early", {.file = path(), .offset = end_});
  }
  return buffer_.view().substr(offset - begin_, bytes);
}

Status RunBytes::fill(std::uint64_t begin, std::uint64_t end) {
  if (buffer_.size() < end - begin) buffer_ = AlignedBuffer(end - begin);
  begin_ = end_ = 0;
  const std::span<char> out = buffer_.span().first(end - begin);
  DARUMA_TRY_ASSIGN(const std::size_t got, direct_ ? file_.read_direct(begin, out) : file_.read(begin, out));
  begin_ = begin;
  end_ = begin + got;
  return {};
}

}  // namespace daruma
