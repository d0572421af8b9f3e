// SPDX-License-Identifier: Apache-2.0
//
// Index and range erases from the blocks alone.
//
// What must stay true: a block that is not found leaves a gap between its neighbours, wide enough for whatever could
// have stood there. That nothing is missing is believed only when the counts in the properties say so.
#include <algorithm>

#include "base/coding.h"
#include "run/data_block.h"
#include "run/run_contents.h"

namespace daruma {
namespace {

/// The next place at or behind `from` where a block's header verifies; `limit` when there is none. `refused`: set when
/// part of what lies between cannot be read.
std::uint64_t find_block(RunBytes& bytes, const RunPlace& place, std::uint64_t from, std::uint64_t limit,
                         Status& refused) {
  char magic[4];
  store(magic, kBlockMagic);
  while (from + kBlockHeaderBytes <= limit) {
    const std::uint64_t chunk = std::min(RunBytes::kReadAhead, limit - from);
    Result<std::string_view> window = bytes.view(from, chunk);
    std::uint64_t covered = chunk;
    if (!window.ok()) {  // some sector of it cannot be read: go by sectors, then skip the one that cannot
      covered = std::min(limit, round_down(from, kSectorBytes) + kSectorBytes) - from;
      window = bytes.view(from, covered);
      if (refused.ok()) refused = window.status();
    }
    if (window.ok()) {
      for (std::size_t at = window->find({magic, sizeof magic}); at != std::string_view::npos;) {
        const std::uint64_t block = from + at - kBlockMagicAt;
        if (at >= kBlockMagicAt && block + kBlockHeaderBytes <= limit) {
          if (read_block_header(bytes, place, block).ok()) return block;
          window = bytes.view(from, covered);
          if (!window.ok()) break;
        }
        at = window->find({magic, sizeof magic}, at + 1);
      }
      // A header may begin in this stretch with its magic beyond it.
      if (covered > kBlockMagicAt + sizeof magic) covered -= kBlockMagicAt + sizeof magic - 1;
    }
    from += std::max<std::uint64_t>(covered, 1);
  }
  return limit;
}

class Walk {
 public:
  Walk(RunBytes& bytes, RunContents& contents, std::vector<RunFinding>& findings)
      : bytes_(bytes), c_(contents), findings_(findings) {}

  void run() {
    c_.index = RunIndex();
    c_.refused = {};
    const std::uint64_t limit = c_.footer ? std::min(c_.footer->erase_end, bytes_.file_bytes()) : bytes_.body_bytes();
    std::uint64_t at = kSectorBytes;
    while (at + kBlockHeaderBytes <= limit) {
      Result<BlockHeader> header = read_block_header(bytes_, c_.place, at);
      if (!header.ok() || header->frame_bytes() > limit - at || header->number < next_number_) {
        lose(at, header.ok() ? run_damage("block is out of order or cut short", bytes_.path(), at) : header.status());
        at = find_block(bytes_, c_.place, at + 1, limit, c_.refused);
        continue;
      }
      if (header->kind == BlockKind::kFilter || header->kind == BlockKind::kIndex) break;
      if (header->number != next_number_) lose(at, run_damage("blocks before this one are missing", bytes_.path(), at));
      take(at, *header);
      next_number_ = std::uint64_t{header->number} + 1;
      at += header->frame_bytes();
    }
    end_data(std::min(at, limit));
    if (erases_.size() != c_.info.erases) {
      c_.erases_lost = lost_.ok() ? run_damage("range erases are missing", bytes_.path(), std::min(at, limit)) : lost_;
      findings_.push_back({RunFault::kErases, c_.erases_lost});
    }
    // Erases that did turn up still count: they can only hide, and what they hide is hidden.
    c_.erases = EraseList(std::move(erases_));
    c_.index.seal();
    for (std::size_t i = 0; i < c_.index.size(); ++i) {
      if (!c_.index.at(i).gap) continue;
      findings_.push_back({RunFault::kData, c_.gap(i, bytes_.path()), c_.damaged_keys(i)});
    }
  }

 private:
  void lose(std::uint64_t at, Status why) {
    if (!gap_) gap_at_ = at;
    gap_ = true;
    if (c_.refused.ok() && why.is(Code::kIoError)) c_.refused = why;
    if (lost_.ok()) lost_ = std::move(why);
  }

  void take(std::uint64_t at, const BlockHeader& header) {
    Result<std::string_view> raw = read_block(bytes_, c_.place, at, header.frame_bytes(), header.kind, room_, nullptr);
    if (!raw.ok()) return lose(at, raw.status());
    if (header.kind == BlockKind::kErases) {
      end_data(at);
      std::vector<RangeErase> more = erases_;
      if (!decode_erase_block(*raw, more))
        return lose(at, run_damage("range erases: block makes no sense", bytes_.path(), at));
      erases_ = std::move(more);
      return;
    }
    if (data_ended_) return lose(at, run_damage("data block behind range erases", bytes_.path(), at));
    DataBlockCursor cursor(*raw);
    if (!cursor.valid()) return lose(at, run_damage("data block makes no sense", bytes_.path(), at));
    const std::string first_key(cursor.key());
    const Sequence first_sequence = cursor.entry().sequence();
    std::uint32_t entries = 0;
    std::string last_key;
    Sequence last_sequence = 0;
    for (; cursor.valid(); cursor.next(), ++entries) {
      if (entries > 0 && !stands_before(last_key, last_sequence, cursor.key(), cursor.entry().sequence())) break;
      last_key.assign(cursor.key());
      last_sequence = cursor.entry().sequence();
    }
    const bool follows =
        c_.index.size() == 0 || stands_before(last_of_index(), last_sequence_of_index(), first_key, first_sequence);
    if (cursor.valid() || cursor.bad() || !follows)
      return lose(at, run_damage("data block makes no sense", bytes_.path(), at));
    bool continues = c_.index.size() > 0 && last_of_index() == first_key;
    if (gap_) {
      // The last place before this block's first entry: an older sequence of the same key stands behind, a newer one
      // before it.
      append_gap(first_key, first_sequence + 1, at);
      continues = true;
    }
    c_.index.append({last_key, last_sequence, at, header.frame_bytes(), entries, continues, false});
    entries_ += entries;
    data_through_ = std::uint64_t{header.number} + 1;
  }

  /// What is still missing when no data block follows any more stands at the end.
  void end_data(std::uint64_t at) {
    if (data_ended_) return;
    data_ended_ = true;
    if (c_.footer ? data_through_ >= c_.footer->data_blocks : entries_ >= c_.info.entries) return;
    if (!gap_) gap_at_ = at;
    append_gap(c_.info.largest_key, 0, at);
  }

  void append_gap(std::string_view key, Sequence sequence, std::uint64_t end) {
    c_.index.append({key, sequence, gap_at_, end > gap_at_ ? end - gap_at_ : 0, 0, true, true});
    gap_ = false;
  }

  // The index is read before it is sealed: only its flat parts.
  [[nodiscard]] std::string_view last_of_index() const { return c_.index.last_key(c_.index.size() - 1); }
  [[nodiscard]] Sequence last_sequence_of_index() const { return c_.index.at(c_.index.size() - 1).last_sequence; }

  RunBytes& bytes_;
  RunContents& c_;
  std::vector<RunFinding>& findings_;
  std::string room_;
  std::vector<RangeErase> erases_;
  std::uint64_t next_number_ = 0;
  std::uint64_t entries_ = 0;
  std::uint64_t data_through_ = 0;  ///< one past the number of the last data block in the index
  bool gap_ = false;
  bool data_ended_ = false;
  std::uint64_t gap_at_ = 0;
  Status lost_;
};

}  // namespace

void rebuild_from_blocks(RunBytes& bytes, RunContents& contents, std::vector<RunFinding>& findings) {
  Walk(bytes, contents, findings).run();
}

}  // namespace daruma
