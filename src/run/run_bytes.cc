// SPDX-License-Identifier: Apache-2.0
#include "run/run_bytes.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "base/status_macros.h"

namespace daruma {

RunBytes::RunBytes(File& file, std::uint64_t file_bytes, const RunPlace& place, From from)
    : file_(file), file_bytes_(file_bytes), place_(place), from_(from) {
  layout_ = find_layout();
  if (from == From::kParity && layout_) parity_.emplace(parity_reader(*layout_));
}

/// The size allows one layout by each rule. Where they differ, the body's last sector tells, which is read anyway.
/// Where that is hurt, the table does, without which nothing heals: its first sector by kBurst, whose body is the
/// shorter, its last by kMirrored. Those between may belong to both tables, and verify in both.
std::optional<ParityLayout> RunBytes::find_layout() {
  if (file_bytes_ % kSectorBytes != 0) return std::nullopt;
  const auto burst = parity_layout_of_file(file_bytes_ / kSectorBytes, ParityRule::kBurst);
  const auto mirrored = parity_layout_of_file(file_bytes_ / kSectorBytes, ParityRule::kMirrored);
  if (!burst || !mirrored || *burst == *mirrored) return burst ? burst : mirrored;
  for (const ParityLayout& layout : {*burst, *mirrored}) {
    if (footer_tells(layout)) return layout;
  }
  if (parity_reader(*burst).has_table(0)) return burst;
  return parity_reader(*mirrored).has_table(mirrored->table_sectors - 1) ? mirrored : burst;
}

bool RunBytes::footer_tells(const ParityLayout& layout) const {
  const std::uint64_t at = (layout.data_sectors - 1) * kSectorBytes;
  AlignedBuffer sector(kSectorBytes);
  const Result<std::size_t> got =
      from_ == From::kCache ? file_.read(at, sector.span()) : file_.read_direct(at, sector.span());
  if (!got.ok() || *got != kSectorBytes) return false;
  // Whose it is, whoever reads on will ask.
  const Result<RunFooter> footer = decode_run_footer(sector.view(), at, std::nullopt, place_.number);
  return footer.ok() && footer->layout() == layout;
}

ParityReader RunBytes::parity_reader(const ParityLayout& layout) {
  return {place_.parity(), layout,
          [this](std::uint64_t sector, std::span<char> out) { return read_sector(sector, out); }};
}

std::uint64_t RunBytes::body_bytes() const { return layout_ ? layout_->data_sectors * kSectorBytes : file_bytes_; }

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
  std::size_t got = out.size();
  if (parity_) {
    DARUMA_TRY(fill_healed(begin, out));
  } else {
    DARUMA_TRY_ASSIGN(got, from_ == From::kCache ? file_.read(begin, out) : file_.read_direct(begin, out));
  }
  begin_ = begin;
  end_ = begin + got;
  return {};
}

Status RunBytes::fill_healed(std::uint64_t begin, std::span<char> out) {
  for (std::size_t at = 0; at < out.size(); at += kSectorBytes) {
    const std::uint64_t sector = (begin + at) / kSectorBytes;
    const std::span<char> part = out.subspan(at, kSectorBytes);
    if (sector < layout_->data_sectors) {
      if (parity_->fetch(sector, part) != SectorState::kLost) continue;
    }
    // Lost, or not of the body: as it stands, for whatever in it still verifies on its own.
    if (!read_sector(sector, part)) {
      return {Code::kIoError,
              "the device cannot read a sector, and its stripe cannot heal it",
              {.file = path(), .offset = begin + at}};
    }
  }
  return {};
}

bool RunBytes::read_sector(std::uint64_t sector, std::span<char> out) {
  if (ahead_.size() == 0)
    ahead_ = AlignedBuffer(std::clamp(round_up(file_bytes_, kSectorBytes), std::uint64_t{kSectorBytes}, kReadAhead));
  if (sector < ahead_begin_ || sector >= ahead_end_) {
    const auto load = [&](std::uint64_t sectors) {
      const std::span<char> into = ahead_.span().first(sectors * kSectorBytes);
      const Result<std::size_t> got = file_.read_direct(sector * kSectorBytes, into);
      ahead_begin_ = sector;
      ahead_end_ = sector + (got.ok() ? *got / kSectorBytes : 0);
      return got.status();
    };
    const bool in_order = sector == last_sector_ + 1;
    if (in_order) (void)load(ahead_.size() / kSectorBytes);
    if (!in_order || ahead_end_ == ahead_begin_) {
      if (const Status alone = load(1); refused_.ok()) refused_ = alone;
    }
  }
  last_sector_ = sector;
  if (sector >= ahead_end_) return false;
  std::memcpy(out.data(), ahead_.data() + (sector - ahead_begin_) * kSectorBytes, kSectorBytes);
  return true;
}

}  // namespace daruma
