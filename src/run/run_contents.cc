// SPDX-License-Identifier: Apache-2.0
#include "run/run_contents.h"

#include <algorithm>

#include "base/coding.h"
#include "base/status_macros.h"
#include "io/memory.h"

namespace daruma {
namespace {

/// Status of a sector's or section's decoder, with its place added.
Status placed(const Status& status, std::string_view what, const std::string& path, std::uint64_t offset) {
  if (status.where().offset) return status;  // from the device
  return {status.code(), std::string(what) + ": " + status.message(), {.file = path, .offset = offset}};
}

Result<RunFooter> load_footer(RunBytes& bytes, std::uint64_t at, const std::optional<StoreId>& store,
                              std::uint64_t number) {
  DARUMA_TRY_ASSIGN(const std::string_view sector, bytes.view(at, kSectorBytes));
  Result<RunFooter> footer = decode_run_footer(sector, at, store, number);
  if (!footer.ok()) return placed(footer.status(), "run footer", bytes.path(), at);
  return footer;
}

Result<RunInfo> load_properties(RunBytes& bytes, const RunFooter& footer) {
  const std::uint64_t at = footer.properties_at();
  DARUMA_TRY_ASSIGN(const std::string_view room, bytes.view(at, footer.properties_room()));
  if (!checksum_holds(footer.properties_checksum, hash64(room, footer.header.place.seed(at)))) {
    return run_damage("run properties: checksum is wrong", bytes.path(), at);
  }
  Result<RunInfo> info = decode_run_info(room.substr(0, footer.properties_bytes));
  if (!info.ok()) return placed(info.status(), "run properties", bytes.path(), at);
  if (info->number != footer.header.place.number || info->keyspace != footer.header.keyspace ||
      info->file_bytes != footer.layout().file_bytes()) {
    return run_damage("run properties: footer and properties contradict each other", bytes.path(), at);
  }
  return info;
}

/// The last sector before `end` that verifies as a footer; for a file that was cut or grew, or whose last sector is
/// lost.
std::optional<RunFooter> look_for_footer(RunBytes& bytes, std::uint64_t end, const std::optional<StoreId>& store,
                                         std::uint64_t number) {
  for (std::uint64_t chunk_end = end; chunk_end > 0;) {  // by chunks, because the window reads ahead, not back
    const std::uint64_t chunk = chunk_end > RunBytes::kReadAhead ? chunk_end - RunBytes::kReadAhead : 0;
    for (std::uint64_t at = chunk_end; at > chunk;) {
      at -= kSectorBytes;
      if (at == chunk_end - kSectorBytes) static_cast<void>(bytes.view(chunk, chunk_end - chunk));
      const Result<std::string_view> sector = bytes.view(at, kSectorBytes);
      if (!sector.ok() || !sector->starts_with(kRunFooterMagic)) continue;
      if (Result<RunFooter> footer = decode_run_footer(*sector, at, store, number); footer.ok()) return *footer;
    }
    chunk_end = chunk;
  }
  return std::nullopt;
}

bool load_index(RunBytes& bytes, RunContents& c, std::vector<RunFinding>& findings) {
  const RunFooter& footer = *c.footer;
  std::string room;
  std::uint64_t data = kSectorBytes;
  std::uint64_t at = footer.index_at();
  c.index.reserve(footer.data_blocks, footer.data_blocks * c.info.largest_key.size());
  const auto lost = [&](Status status) {
    findings.push_back({RunFault::kIndex, std::move(status)});
    c.index = RunIndex();
    return false;
  };
  for (std::uint32_t i = 0; i < footer.index_blocks; ++i) {
    Result<BlockHeader> header = read_block_header(bytes, c.place, at);
    if (!header.ok()) return lost(header.status());
    if (header->frame_bytes() > footer.index_end - at)
      return lost(run_damage("run index: block leaves its section", bytes.path(), at));
    Result<std::string_view> contents =
        read_block(bytes, c.place, at, header->frame_bytes(), BlockKind::kIndex, room, nullptr);
    if (!contents.ok()) return lost(contents.status());
    if (!decode_index_block(*contents, c.index, data))
      return lost(run_damage("run index: block makes no sense", bytes.path(), at));
    at += header->frame_bytes();
  }
  if (at != footer.index_end || data != footer.data_end || c.index.size() != footer.data_blocks) {
    return lost(run_damage("run index: does not cover the data", bytes.path(), footer.index_at()));
  }
  return true;
}

void load_erases(RunBytes& bytes, RunContents& c, std::vector<RunFinding>& findings) {
  std::vector<RangeErase> erases;
  std::string room;
  std::uint64_t at = c.footer->data_end;
  const auto lost = [&](Status status) {
    findings.push_back({RunFault::kErases, status});
    c.erases_lost = std::move(status);
  };
  for (std::uint32_t i = 0; i < c.footer->erase_blocks; ++i) {
    Result<BlockHeader> header = read_block_header(bytes, c.place, at);
    if (!header.ok()) return lost(header.status());
    if (header->frame_bytes() > c.footer->erase_end - at)
      return lost(run_damage("range erases: block leaves its section", bytes.path(), at));
    Result<std::string_view> contents =
        read_block(bytes, c.place, at, header->frame_bytes(), BlockKind::kErases, room, nullptr);
    if (!contents.ok()) return lost(contents.status());
    if (!decode_erase_block(*contents, erases))
      return lost(run_damage("range erases: block makes no sense", bytes.path(), at));
    at += header->frame_bytes();
  }
  if (at != c.footer->erase_end || erases.size() != c.info.erases)
    return lost(run_damage("range erases are missing", bytes.path(), at));
  c.erases = EraseList(std::move(erases));
}

/// A block that does not verify is all ones. Blocks are of one size but the last, so each is found without the one
/// before.
void load_filter(RunBytes& bytes, RunContents& c, std::vector<RunFinding>& findings) {
  const RunFooter& footer = *c.footer;
  const std::uint64_t total = footer.filter_lines * kFilterLineBytes;
  const std::uint64_t blocks = (total + kFilterBlockBytes - 1) / kFilterBlockBytes;
  if (footer.filter_lines == 0 && footer.filter_blocks == 0) return;
  if (footer.filter_lines > kFilterLinesMax || blocks != footer.filter_blocks ||
      footer.filter_end - footer.erase_end != total + blocks * kBlockHeaderBytes) {
    findings.push_back(
        {RunFault::kFilter, run_damage("filter: does not fit its section", bytes.path(), footer.erase_end)});
    return;
  }
  RunFilter filter(footer.filter_lines);
  prefault(filter.bits().data(), filter.bits().size());
  std::string room;
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const std::span<char> out = filter.bits().subspan(
        i * kFilterBlockBytes, std::min<std::uint64_t>(kFilterBlockBytes, total - i * kFilterBlockBytes));
    const std::uint64_t at = footer.erase_end + i * (kFilterBlockBytes + kBlockHeaderBytes);
    Result<std::string_view> contents =
        read_block(bytes, c.place, at, out.size() + kBlockHeaderBytes, BlockKind::kFilter, room, nullptr);
    if (contents.ok() && contents->size() == out.size()) {
      std::copy(contents->begin(), contents->end(), out.begin());
    } else {
      std::fill(out.begin(), out.end(), '\xff');
      findings.push_back({RunFault::kFilter, contents.ok()
                                                 ? run_damage("filter: block has the wrong size", bytes.path(), at)
                                                 : contents.status()});
    }
  }
  c.filter = std::move(filter);
}

}  // namespace

Status run_damage(std::string message, const std::string& path, std::uint64_t offset) {
  return {Code::kCorruption, std::move(message), {.file = path, .offset = offset}};
}

std::string_view run_fault_name(RunFault fault) {
  constexpr std::string_view kNames[] = {"header", "footer",  "properties", "index",    "filter", "erases",
                                         "data",   "padding", "length",     "contents", "parity"};
  return kNames[static_cast<std::size_t>(fault)];
}

DamagedKeys RunContents::damaged_keys(std::size_t block) const {
  const IndexEntry e = index.at(block);
  return {.after = block == 0 ? info.smallest_key : std::string(index.last_key(block - 1)),
          .after_included = block == 0 || e.continues,
          .through = std::string(e.last_key),
          .offset = e.offset,
          .bytes = e.frame_bytes};
}

Status RunContents::gap(std::size_t block, const std::string& path) const {
  return refused.ok() ? run_damage("data blocks are lost", path, index.at(block).offset) : refused;
}

Result<BlockHeader> read_block_header(RunBytes& bytes, const RunPlace& place, std::uint64_t offset) {
  DARUMA_TRY_ASSIGN(const std::string_view head, bytes.view(offset, kBlockHeaderBytes));
  const std::optional<BlockHeader> header = decode_block_header(head, place, offset);
  if (!header) return run_damage("block header does not verify", bytes.path(), offset);
  return *header;
}

Result<std::string_view> read_block(RunBytes& bytes, const RunPlace& place, std::uint64_t offset,
                                    std::uint64_t frame_bytes, BlockKind kind, std::string& room, BlockHeader* out) {
  DARUMA_TRY_ASSIGN(const std::string_view frame, bytes.view(offset, frame_bytes));
  const std::optional<BlockHeader> header = decode_block(frame, place, offset);
  if (!header) return run_damage("block does not verify", bytes.path(), offset);
  if (header->kind != kind) return run_damage("block is of another kind", bytes.path(), offset);
  if (out) *out = *header;
  if (!header->lz4) return frame.substr(kBlockHeaderBytes, header->stored_bytes);
  room.resize(header->raw_bytes);
  if (!unpack_block(*header, frame, room.data()))
    return run_damage("block verifies but does not decompress", bytes.path(), offset);
  return std::string_view(room);
}

Result<RunTail> load_run_tail(RunBytes& bytes, const std::optional<StoreId>& store, std::uint64_t number,
                              std::vector<RunFinding>& findings) {
  const std::uint64_t size = bytes.file_bytes();
  if (size < kSectorBytes) return run_damage("the file is too short for a run", bytes.path(), size);
  // One read for the whole end of a run of usual size; its result is asked for again below.
  const std::uint64_t end = round_down(bytes.body_bytes(), kSectorBytes);
  static_cast<void>(
      bytes.view(end > RunBytes::kReadAhead ? end - RunBytes::kReadAhead : 0, std::min(end, RunBytes::kReadAhead)));

  Status first_error;
  bool future = false;
  const auto note = [&](RunFault fault, const Status& status) {
    findings.push_back({fault, status});
    future |= status.is(Code::kUnsupported);
    if (first_error.ok()) first_error = status;
  };
  const auto properties_of = [&](const RunFooter& footer) -> std::optional<RunTail> {
    Result<RunInfo> info = load_properties(bytes, footer);
    if (info.ok()) return RunTail{footer, std::move(*info)};
    note(RunFault::kProperties, info.status());
    return std::nullopt;
  };

  std::optional<RunFooter> footer;
  if (Result<RunFooter> last = load_footer(bytes, end - kSectorBytes, store, number); last.ok())
    footer = *last;
  else
    note(RunFault::kFooter, last.status());
  if (!footer) footer = look_for_footer(bytes, round_down(size, kSectorBytes), store, number);
  if (footer) {
    const std::uint64_t whole = footer->layout().file_bytes();
    if (whole != size) {
      note(RunFault::kLength,
           run_damage("the file has " + std::to_string(size) + " bytes and should have " + std::to_string(whole),
                      bytes.path(), std::min(size, whole)));
    }
    if (std::optional<RunTail> tail = properties_of(*footer)) return std::move(*tail);
    RunFooter other = *footer;
    other.copy = 1 - footer->copy;
    if (Result<RunFooter> found = load_footer(bytes, other.footer_at(), store, number); found.ok()) {
      if (std::optional<RunTail> tail = properties_of(*found)) return std::move(*tail);
    } else {
      note(RunFault::kFooter, found.status());
    }
  }
  return future ? Status(Code::kUnsupported, first_error.message(), first_error.where(), "open it with a newer release")
                : first_error;
}

Result<std::unique_ptr<RunContents>> load_run_contents(RunBytes& bytes, const RunPlace& place,
                                                       const std::optional<RunInfo>& known,
                                                       std::vector<RunFinding>& findings) {
  auto c = std::make_unique<RunContents>();
  c->place = place;
  Result<RunTail> tail = load_run_tail(bytes, place.store, place.number, findings);
  if (!tail.ok() && (!known || !(tail.status().is(Code::kCorruption) || tail.status().is(Code::kIoError))))
    return tail.status();
  if (!tail.ok()) {
    c->info = *known;
    rebuild_from_blocks(bytes, *c, findings);
    return c;
  }
  c->info = std::move(tail->info);
  c->footer = tail->footer;
  if (known && known->content_hash != c->info.content_hash) {
    return run_damage("this is not the run that the manifest names", bytes.path(), tail->footer.properties_at());
  }
  if (load_index(bytes, *c, findings))
    load_erases(bytes, *c, findings);
  else
    rebuild_from_blocks(bytes, *c, findings);
  c->index.seal();
  load_filter(bytes, *c, findings);
  return c;
}

}  // namespace daruma
