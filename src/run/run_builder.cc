// SPDX-License-Identifier: Apache-2.0
#include "run/run_builder.h"

#include <algorithm>

#include "base/assert.h"
#include "base/coding.h"
#include "base/status_macros.h"
#include "parity/parity_builder.h"
#include "run/erase_list.h"
#include "run/run_contents.h"

namespace daruma {
namespace {

constexpr std::size_t kWriteBytes = 512 << 10;     // at once, and
constexpr std::size_t kLastBlockBytes = 32 << 10;  // the block that fills it
constexpr std::uint64_t kPaddedPart = 32, kPaddingMax = kSectorBytes / 8;
constexpr std::uint64_t kTailEstimate = 5 * kSectorBytes;  // two footers, two properties, half a sector of padding each
constexpr std::uint64_t kParityChunk = 256 << 10;

std::string padded(std::string bytes) {
  bytes.resize(round_up(bytes.size(), kSectorBytes), '\0');
  return bytes;
}

}  // namespace

Result<std::unique_ptr<RunBuilder>> RunBuilder::create(Storage& storage, const std::string& directory,
                                                       const RunIdentity& identity, const RunBuilderOptions& options) {
  DARUMA_ASSERT(identity.number >= 1 && identity.number <= kMaxRunNumber && identity.level <= kMaxRunLevel);
  DARUMA_ASSERT(options.block_bytes >= 1 && options.block_bytes <= (std::size_t{1} << 24) && options.filter_bits <= 64);
  const std::string path = directory + "/" + run_name(identity.number) + std::string(kTemporarySuffix);
  DARUMA_TRY_ASSIGN(std::unique_ptr<File> file, storage.open(path, OpenMode::kCreate));
  return std::unique_ptr<RunBuilder>(new RunBuilder(storage, directory, identity, options, std::move(file)));
}

RunBuilder::RunBuilder(Storage& storage, std::string directory, const RunIdentity& identity,
                       const RunBuilderOptions& options, std::unique_ptr<File> file)
    : storage_(storage), directory_(std::move(directory)), options_(options), file_(std::move(file)) {
  header_.required_features = kRunBurstParity | (fills_sectors() ? kRunPaddedBlocks : 0);
  header_.optional_features = kRunOptionalParity;
  header_.place = {identity.store, identity.number};
  header_.keyspace = info_.keyspace = identity.keyspace;
  header_.level = info_.level = identity.level;
  header_.job_id = info_.job_id = identity.job_id;
  header_.job_index = info_.job_index = identity.job_index;
  header_.created_wall_ns = info_.created_wall_ns = identity.created_wall_ns;
  info_.number = identity.number;
  info_.job_last = identity.job_last;
  info_.checkpoint_sequence = identity.checkpoint_sequence;
  info_.prev_sequence = identity.prev_sequence;
  info_.min_sequence = kMaxSequence;
  buffer_.reserve(kWriteBytes + kLastBlockBytes);
  buffer_ += encode_run_header(header_);
}

Status RunBuilder::add(std::string_view key, Sequence sequence, EntryKind kind, std::string_view value) {
  DARUMA_ASSERT(!finished_ && key.size() <= kMaxKeyBytes && value.size() <= kMaxValueBytes);
  DARUMA_ASSERT(sequence >= 1 && sequence <= kMaxSequence &&
                (kind == EntryKind::kPut || (kind == EntryKind::kErase && value.empty())));
  const bool first = info_.entries == 0;
  if (!first && !stands_before(last_key_, last_sequence_, key, sequence)) {
    return {Code::kCorruption,
            "entries come out of order",
            {.file = file_->path(), .sequence = sequence},
            "what they come from is damaged in memory; the disk has it right"};
  }
  const bool new_key = first || key != last_key_;
  if (!block_.empty() && block_.bytes() + key.size() + value.size() > block_target_) DARUMA_TRY(flush_block());
  if (block_.empty()) {
    block_continues_ = !new_key;
    block_target_ = block_target();
  }
  if (first) info_.smallest_key.assign(key);
  if (new_key) {
    last_key_.assign(key);
    if (options_.filter_bits != 0) filter_.add(key_hash(info_.keyspace, key));
  }
  last_sequence_ = sequence;
  block_.add(key, entry_tag(sequence, kind), value);
  ++block_entries_;
  ++info_.entries;
  info_.tombstones += kind == EntryKind::kErase;
  info_.raw_bytes += key.size() + value.size();
  info_.min_sequence = std::min(info_.min_sequence, sequence);
  info_.max_sequence = std::max(info_.max_sequence, sequence);
  return {};
}

void RunBuilder::add_range_erase(RangeErase erase) {
  DARUMA_ASSERT(!finished_ && erase.sequence >= 1 && erase.sequence <= kMaxSequence &&
                (erase.end.empty() || erase.begin < erase.end));
  DARUMA_ASSERT(erase.begin.size() <= kMaxKeyBytes && erase.end.size() <= kMaxKeyBytes);
  erases_.push_back(std::move(erase));
}

std::uint64_t RunBuilder::estimated_bytes() const {
  const std::uint64_t body =
      offset() + block_.bytes() + index_.bytes() + filter_.keys() * options_.filter_bits / 8 + kTailEstimate;
  return parity_layout(round_up(body, kSectorBytes) / kSectorBytes).file_bytes();
}

std::size_t RunBuilder::block_target() const {
  if (!fills_sectors()) return options_.block_bytes;
  const std::uint64_t least = options_.block_bytes / 8 * 5, most = options_.block_bytes * 2;
  std::uint64_t raw = 0;
  // Rather before a sector's end than behind it: the one costs a few bytes of padding, the other a sector more to read
  // of this block, and of the next.
  const std::uint64_t part = stored_part_ + 2 * stored_spread_;
  for (std::uint64_t end = kSectorBytes - offset() % kSectorBytes; raw < least; end += kSectorBytes) {
    if (end > kBlockHeaderBytes) raw = (end - kBlockHeaderBytes) * kWhole / part;
  }
  return raw / ((raw + most - 1) / most);  // what compresses well: several blocks to a sector
}

/// As much as contents that compress unevenly ask for, but little of the whole file.
std::uint64_t RunBuilder::padding_allowed() const {
  if (!fills_sectors()) return 0;
  const std::uint64_t of_all = (offset() + kSectorBytes) / kPaddedPart;
  return std::min(kPaddingMax, of_all - std::min(of_all, padded_));
}

Status RunBuilder::flush_block() {
  const IndexEntry at{.last_key = block_.last_key(),
                      .last_sequence = last_sequence_,
                      .offset = offset(),
                      .entries = block_entries_,
                      .continues = block_continues_};
  const std::uint64_t raw_bytes = block_.bytes();
  DARUMA_TRY(put_block(BlockKind::kData, block_.finish(), options_.compress));
  const std::uint64_t part = last_block_.stored_bytes * kWhole / raw_bytes;
  if (last_block_.number == 0) stored_part_ = std::max<std::uint64_t>(part, 1);
  stored_spread_ = (7 * stored_spread_ + (part > stored_part_ ? part - stored_part_ : stored_part_ - part)) / 8;
  stored_part_ = std::max<std::uint64_t>((7 * stored_part_ + part) / 8, 1);
  IndexEntry entry = at;
  entry.frame_bytes = last_block_.frame_bytes();
  index_.add(entry);
  block_.clear();
  block_entries_ = 0;
  return {};
}

Status RunBuilder::put_block(BlockKind kind, std::string_view raw, bool compress) {
  last_block_ = append_block(buffer_, header_.place, offset(), kind, blocks_++, raw, compress,
                             kind == BlockKind::kData ? padding_allowed() : 0);
  padded_ += last_block_.padding;
  if (kind == BlockKind::kData || kind == BlockKind::kErases) {
    content_hash_ =
        hash64({reinterpret_cast<const char*>(&last_block_.checksum), sizeof last_block_.checksum}, content_hash_);
  }
  return write_out(kWriteBytes);
}

Status RunBuilder::write_out(std::size_t at_least) {
  if (buffer_.size() < at_least) return {};
  DARUMA_TRY(file_->write(written_, buffer_));
  written_ += buffer_.size();
  buffer_.clear();
  return {};
}

void RunBuilder::pad_to_sector() { buffer_.resize(buffer_.size() + round_up(offset(), kSectorBytes) - offset(), '\0'); }

Result<RunInfo> RunBuilder::finish(std::vector<std::uint64_t> supersedes) {
  DARUMA_ASSERT(!finished_);
  finished_ = true;
  RunFooter footer;
  if (!block_.empty()) DARUMA_TRY(flush_block());
  footer.data_blocks = blocks_;
  footer.data_end = offset();

  std::sort(erases_.begin(), erases_.end(), erase_stands_before);
  erases_.erase(std::unique(erases_.begin(), erases_.end()), erases_.end());
  info_.erases = erases_.size();
  info_.largest_key = last_key_;
  for (const RangeErase& erase : erases_) {
    const bool first = info_.entries == 0 && &erase == erases_.data();
    std::string last = last_key_before(erase.end);
    if (first || erase.begin < info_.smallest_key) info_.smallest_key = erase.begin;
    if (first || last > info_.largest_key) info_.largest_key = std::move(last);
    info_.min_sequence = std::min(info_.min_sequence, erase.sequence);
    info_.max_sequence = std::max(info_.max_sequence, erase.sequence);
  }
  if (info_.max_sequence == 0) info_.min_sequence = 0;
  for (const std::string& contents : encode_erases(erases_))
    DARUMA_TRY(put_block(BlockKind::kErases, contents, options_.compress));
  footer.erase_blocks = blocks_ - footer.data_blocks;
  footer.erase_end = offset();
  info_.content_hash = content_hash_;

  const std::string lines = filter_.build(options_.filter_bits);
  footer.filter_lines = lines.size() / kFilterLineBytes;
  for (std::size_t at = 0; at < lines.size(); at += kFilterBlockBytes) {
    DARUMA_TRY(put_block(BlockKind::kFilter, std::string_view(lines).substr(at, kFilterBlockBytes), false));
    ++footer.filter_blocks;
  }
  footer.filter_end = offset();
  pad_to_sector();

  // Everything behind is laid out before the properties are written, because they tell the file's size.
  info_.supersedes = std::move(supersedes);
  std::string properties;
  encode_run_info(properties, info_);
  footer.header = header_;
  footer.properties_bytes = properties.size();
  std::string index;
  for (const std::string& contents : index_.finish()) {
    append_block(index, header_.place, footer.index_at() + index.size(), BlockKind::kIndex, blocks_++, contents,
                 options_.compress);
    ++footer.index_blocks;
  }
  footer.index_end = footer.index_at() + index.size();
  footer.body_bytes = round_up(footer.index_end, kSectorBytes) + footer.properties_room() + kSectorBytes;
  info_.file_bytes = footer.layout().file_bytes();
  properties.clear();
  encode_run_info(properties, info_);
  DARUMA_ASSERT(properties.size() == footer.properties_bytes);
  properties = padded(std::move(properties));

  const auto footer_sector = [&](std::uint32_t copy) {
    footer.copy = copy;
    footer.properties_checksum = hash64(properties, header_.place.seed(footer.properties_at()));
    return encode_run_footer(footer);
  };
  buffer_ += footer_sector(0);
  buffer_ += properties;
  buffer_ += padded(std::move(index));
  buffer_ += properties;
  buffer_ += footer_sector(1);
  DARUMA_ASSERT(offset() == footer.body_bytes);
  DARUMA_TRY(write_out(0));
  DARUMA_TRY(append_parity());
  DARUMA_TRY(file_->sync());
  file_.reset();
  return info_;
}

/// The number of stripes follows from the size of the body, so it is read once more: from the page cache, and what that
/// may have got wrong the read-back of the published run finds.
Status RunBuilder::append_parity() {
  ParityBuilder parity(header_.place.parity(), parity_layout(written_ / kSectorBytes));
  std::string chunk(std::min(kParityChunk, written_), '\0');
  for (std::uint64_t at = 0; at < written_;) {
    const std::span<char> out(chunk.data(), std::min<std::uint64_t>(chunk.size(), written_ - at));
    DARUMA_TRY_ASSIGN(const std::size_t got, file_->read(at, out));
    if (got != out.size())
      return run_damage("the file is shorter than what was written to it", file_->path(), at + got);
    parity.add({out.data(), out.size()});
    at += got;
  }
  buffer_ = parity.finish();
  DARUMA_TRY(write_out(0));
  DARUMA_ASSERT(written_ == info_.file_bytes);
  return {};
}

Status RunBuilder::publish(bool sync_directory) {
  DARUMA_ASSERT(finished_ && !file_);
  const std::string name = run_name(info_.number);
  if (sync_directory) return publish_prepared(storage_, directory_, name);
  const std::string path = directory_ + "/" + name;
  return storage_.rename(path + std::string(kTemporarySuffix), path);
}

}  // namespace daruma
