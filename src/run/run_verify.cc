// SPDX-License-Identifier: Apache-2.0
//
// Reads every byte of a run and says what is not as it was written.
//
// What must stay true: the sections, walked one after the other, cover the file without a hole; so a changed byte lies
// in a checksum's reach or in padding that must be zero. Damage does not end the walk: the next block is where the
// index says.
#include <algorithm>
#include <array>

#include "base/coding.h"
#include "base/status_macros.h"
#include "run/data_block.h"
#include "run/run_reader.h"

namespace daruma {
namespace {

class Verify {
 public:
  Verify(RunBytes& bytes, const RunContents& contents, RunReader::Verified& out)
      : bytes_(bytes), c_(contents), out_(out) {}

  void run() {
    check_header();
    check_data();
    if (!c_.footer) return;  // what stands behind the data is listed as lost already
    const RunFooter& f = *c_.footer;
    // Erase, filter and index blocks were read and checked when `c_` was loaded; what is left are numbers, padding and
    // copies.
    check_numbers(f.data_end, f.erase_end, BlockKind::kErases, f.erase_blocks, RunFault::kErases);
    check_numbers(f.erase_end, f.filter_end, BlockKind::kFilter, f.filter_blocks, RunFault::kFilter);
    check_zeros(f.filter_end, f.first_footer_at());
    check_copy(0);
    check_numbers(f.index_at(), f.index_end, BlockKind::kIndex, f.index_blocks, RunFault::kIndex);
    check_copy(1);
    check_zeros(f.index_end, round_up(f.index_end, kSectorBytes));
    check_properties();
  }

 private:
  void note(RunFault fault, Status status, std::optional<DamagedKeys> keys = std::nullopt) {
    // Loading met some of it already.
    for (const RunFinding& f : out_.findings) {
      if (f.fault == fault && f.status.where().offset == status.where().offset) return;
    }
    out_.findings.push_back({fault, std::move(status), std::move(keys)});
  }

  void check_header() {
    Result<std::string_view> sector = bytes_.view(0, kSectorBytes);
    if (!sector.ok()) return note(RunFault::kHeader, sector.status());
    Result<RunHeader> h = decode_run_header(*sector, c_.place.store, c_.place.number);
    if (!h.ok()) return note(RunFault::kHeader, run_damage("run header: " + h.status().message(), bytes_.path(), 0));
    if (h->keyspace != c_.info.keyspace || h->level != c_.info.level || h->job_id != c_.info.job_id ||
        h->job_index != c_.info.job_index || h->created_wall_ns != c_.info.created_wall_ns) {
      note(RunFault::kHeader, run_damage("run header: contradicts the properties", bytes_.path(), 0));
    }
  }

  void check_data() {
    std::string room;
    for (std::size_t i = 0; i < c_.index.size(); ++i) {
      const IndexEntry e = c_.index.at(i);
      if (e.gap) continue;  // listed when the index was rebuilt
      BlockHeader header;
      Result<std::string_view> raw =
          read_block(bytes_, c_.place, e.offset, e.frame_bytes, BlockKind::kData, room, &header);
      if (!raw.ok()) {
        damaged_ = true;
        note(RunFault::kData, raw.status(), c_.damaged_keys(i));
        continue;
      }
      take_checksum(header.checksum);
      const bool number_fits = !c_.footer || c_.index.size() != c_.footer->data_blocks || header.number == i;
      if (!number_fits || !walk_entries(*raw, e)) {
        damaged_ = true;
        note(RunFault::kData, run_damage("data block verifies but makes no sense", bytes_.path(), e.offset),
             c_.damaged_keys(i));
      }
    }
    look_at_the_rest();
  }

  bool walk_entries(std::string_view raw, const IndexEntry& e) {
    DataBlockCursor cursor(raw);
    if (cursor.valid() && (e.continues != (out_.entries > 0 && cursor.key() == last_key_)) && !damaged_ && c_.footer)
      return false;
    std::uint32_t entries = 0;
    for (; cursor.valid(); cursor.next(), ++entries) {
      const DataBlockCursor::Entry& entry = cursor.entry();
      const int before = out_.entries == 0 ? -1 : last_key_.compare(cursor.key());
      if (!stands_before(before, last_sequence_, entry.sequence())) return false;
      if (entry.sequence() == 0 || (entry.kind() == EntryKind::kErase && !entry.value.empty())) return false;
      // A block starts with a key of its own or with one whose filter bits were looked at before.
      if (before != 0) look_up(key_hash(c_.info.keyspace, cursor.key()));
      if (out_.entries == 0) seen_.smallest_key.assign(cursor.key());
      if (before != 0) last_key_.assign(cursor.key());
      last_sequence_ = entry.sequence();
      seen_.tombstones += entry.kind() == EntryKind::kErase;
      seen_.raw_bytes += cursor.key().size() + entry.value.size();
      seen_.min_sequence = std::min(seen_.min_sequence, entry.sequence());
      seen_.max_sequence = std::max(seen_.max_sequence, entry.sequence());
      ++out_.entries;
    }
    return !cursor.bad() && entries == e.entries && last_key_ == e.last_key && last_sequence_ == e.last_sequence;
  }

  /// Each line of the filter would be waited for, so it is asked for some keys before it is looked at.
  void look_up(std::uint64_t hash) {
    c_.filter.prefetch(hash);
    if (asked_ >= asked_hashes_.size()) look_at(asked_);
    asked_hashes_[asked_++ % asked_hashes_.size()] = hash;
  }
  void look_at(std::uint64_t asked) {
    if (c_.filter.may_contain(asked_hashes_[asked % asked_hashes_.size()])) return;
    note(RunFault::kFilter,
         run_damage("filter: denies a key that is there", bytes_.path(), c_.footer ? c_.footer->erase_end : 0));
  }
  void look_at_the_rest() {
    for (std::uint64_t back = std::min<std::uint64_t>(asked_, asked_hashes_.size()); back > 0; --back) {
      look_at(asked_ - back);
    }
  }

  /// Blocks of one section verify, fill it, and continue the count.
  void check_numbers(std::uint64_t at, std::uint64_t end, BlockKind kind, std::uint32_t blocks, RunFault fault) {
    const std::uint32_t first = kind == BlockKind::kErases ? c_.footer->data_blocks
                                : kind == BlockKind::kFilter
                                    ? c_.footer->data_blocks + c_.footer->erase_blocks
                                    : c_.footer->data_blocks + c_.footer->erase_blocks + c_.footer->filter_blocks;
    std::string room;
    for (std::uint32_t i = 0; i < blocks; ++i) {
      Result<BlockHeader> header = read_block_header(bytes_, c_.place, at);
      if (!header.ok()) return note(fault, header.status());
      if (header->frame_bytes() > end - at)
        return note(fault, run_damage("block leaves its section", bytes_.path(), at));
      Result<std::string_view> contents = read_block(bytes_, c_.place, at, header->frame_bytes(), kind, room, nullptr);
      if (!contents.ok())
        note(fault, contents.status());
      else if (header->number != first + i)
        note(fault, run_damage("block has the wrong number", bytes_.path(), at));
      if (kind == BlockKind::kErases) take_checksum(header->checksum);
      at += header->frame_bytes();
    }
    if (at != end) note(fault, run_damage("blocks do not fill their section", bytes_.path(), at));
  }

  void check_zeros(std::uint64_t at, std::uint64_t end) {
    if (at == end) return;
    Result<std::string_view> zeros = bytes_.view(at, end - at);
    if (!zeros.ok()) return note(RunFault::kPadding, zeros.status());
    if (const std::size_t other = zeros->find_first_not_of('\0'); other != std::string_view::npos) {
      note(RunFault::kPadding, run_damage("padding is not zero", bytes_.path(), at + other));
    }
  }

  void check_copy(std::uint32_t copy) {
    RunFooter want = *c_.footer;
    want.copy = copy;
    Result<std::string_view> sector = bytes_.view(want.footer_at(), kSectorBytes);
    if (!sector.ok()) return note(RunFault::kFooter, sector.status());
    Result<RunFooter> got = decode_run_footer(*sector, want.footer_at(), c_.place.store, c_.place.number);
    if (!got.ok())
      return note(RunFault::kFooter,
                  run_damage("run footer: " + got.status().message(), bytes_.path(), want.footer_at()));
    want.properties_checksum = got->properties_checksum;
    if (encode_run_footer(want) != encode_run_footer(*got)) {
      return note(RunFault::kFooter,
                  run_damage("the two footers contradict each other", bytes_.path(), want.footer_at()));
    }
    Result<std::string_view> room = bytes_.view(got->properties_at(), got->properties_room());
    if (!room.ok()) return note(RunFault::kProperties, room.status());
    std::string properties;
    encode_run_info(properties, c_.info);
    if (!checksum_holds(got->properties_checksum, hash64(*room, c_.place.seed(got->properties_at()))) ||
        room->substr(0, got->properties_bytes) != properties) {
      note(RunFault::kProperties, run_damage("run properties: this copy differs", bytes_.path(), got->properties_at()));
    }
  }

  void check_properties() {
    if (damaged_ || !out_.findings.empty()) return;  // nothing to compare with: entries are missing
    for (const RangeErase& e : c_.erases.all()) {
      const std::string last = last_key_before(e.end);
      const bool first = out_.entries == 0 && &e == c_.erases.all().data();
      if (first || e.begin < seen_.smallest_key) seen_.smallest_key = e.begin;
      if (first || last > last_key_) last_key_ = last;
      seen_.min_sequence = std::min(seen_.min_sequence, e.sequence);
      seen_.max_sequence = std::max(seen_.max_sequence, e.sequence);
    }
    if (seen_.max_sequence == 0) seen_.min_sequence = 0;
    const RunInfo& info = c_.info;
    if (info.entries != out_.entries || info.tombstones != seen_.tombstones || info.raw_bytes != seen_.raw_bytes ||
        info.erases != c_.erases.all().size() || info.min_sequence != seen_.min_sequence ||
        info.max_sequence != seen_.max_sequence || info.smallest_key != seen_.smallest_key ||
        info.largest_key != last_key_ || info.content_hash != content_hash_) {
      note(RunFault::kContents,
           run_damage("the properties do not describe the contents", bytes_.path(), c_.footer->properties_at()));
    }
  }

  void take_checksum(std::uint64_t sum) {
    content_hash_ = hash64({reinterpret_cast<const char*>(&sum), sizeof sum}, content_hash_);
  }

  RunBytes& bytes_;
  const RunContents& c_;
  RunReader::Verified& out_;
  RunInfo seen_{.min_sequence = kMaxSequence};
  std::string last_key_;
  Sequence last_sequence_ = 0;
  std::uint64_t content_hash_ = 0;
  std::array<std::uint64_t, 16> asked_hashes_;  ///< of the newest of the `asked_` keys
  std::uint64_t asked_ = 0;
  bool damaged_ = false;
};

/// Every sector against the table, and the parity against the sectors.
void check_parity(RunBytes& bytes, const RunContents& c, RunReader::Verified& out) {
  if (!bytes.layout() || (c.footer && c.footer->layout() != *bytes.layout())) {
    if (out.findings.empty()) {
      out.findings.push_back({RunFault::kParity, run_damage("there is no parity", bytes.path(), bytes.body_bytes())});
    }
    return;
  }
  std::vector<RunFinding> found;
  for (const ParityReader::Damage& damage : bytes.parity_reader(*bytes.layout()).check_all()) {
    const std::uint64_t at = damage.sector * kSectorBytes;
    const bool healed = damage.state == SectorState::kHealed;
    Status why = run_damage("sector does not verify", bytes.path(), at);
    if (!bytes.refused().ok()) why = {Code::kIoError, bytes.refused().message(), why.where()};
    found.push_back({RunFault::kParity, std::move(why), std::nullopt, healed});
  }
  const bool healable =
      !found.empty() && std::all_of(found.begin(), found.end(), [](const RunFinding& f) { return f.healed; });
  // What the other checks found is told in better words; sectors that nothing else looks at are told here.
  for (RunFinding& finding : out.findings) finding.healed = healable;
  if (out.findings.empty()) {
    out.findings = std::move(found);
  } else {
    std::erase_if(found, [&](const RunFinding& f) { return *f.status.where().offset < bytes.body_bytes(); });
    out.findings.insert(out.findings.end(), found.begin(), found.end());
  }
}

}  // namespace

Result<RunReader::Verified> RunReader::verify(const VerifyOptions& options) const {
  DARUMA_TRY_ASSIGN(const std::uint64_t size, file_->size());
  RunBytes bytes(*file_, size, place_, options.direct ? RunBytes::From::kDevice : RunBytes::From::kCache);
  Verified out;
  DARUMA_TRY_ASSIGN(const std::unique_ptr<RunContents> c, load_run_contents(bytes, place_, known_, out.findings));
  Verify(bytes, *c, out).run();
  check_parity(bytes, *c, out);
  out.info = c->info;
  out.bytes = size;
  return out;
}

}  // namespace daruma
