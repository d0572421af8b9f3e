// SPDX-License-Identifier: Apache-2.0
// The entry points of runs.
#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/coding.h"
#include "disk.h"
#include "entry_points.h"
#include "io/sim_storage.h"
#include "mend.h"
#include "run/erase_list.h"
#include "run/loaded_block.h"
#include "run/run_contents.h"
#include "run/run_filter.h"
#include "run/run_info.h"
#include "run/run_reader.h"

namespace daruma::fuzz {

void run(std::string_view input) {
  SimStorage disk;
  put_file(disk, "runs/7.run", input);
  constexpr StoreId kRunStore{0x1111222233334444, 0x5555666677778888};
  Result<std::unique_ptr<RunReader>> opened = RunReader::open(disk, "runs/7.run", kRunStore, 7, nullptr, std::nullopt);
  if (!opened.ok()) return;
  const RunReader& reader = **opened;
  static_cast<void>(reader.verify().ok());
  static_cast<void>(reader.info().ok());
  static_cast<void>(reader.range_erases().ok());
  for (const std::string_view key : {"", "a", "key5", "\xff"}) {
    static_cast<void>(reader.get(key, kMaxSequence).ok());
    static_cast<void>(reader.covering_erase(key, kMaxSequence).ok());
  }
  RunReader::Cursor cursor = reader.cursor();
  std::size_t forwards = 0, backwards = 0;
  for (cursor.seek_first(); cursor.valid(); cursor.next()) ++forwards;
  bool whole = cursor.status().ok();
  for (cursor.seek_last(); cursor.valid(); cursor.prev()) ++backwards;
  whole = whole && cursor.status().ok();
  DARUMA_ASSERT(!whole || forwards == backwards);
}

namespace {

struct Filter {
  std::unique_ptr<RunContents> contents;  ///< null: refused
  std::vector<RunFinding> findings;
};

/// Of a run that has nothing but this section and a footer that says so. Without parity: what is hurt stays so.
Filter load_filter(std::string_view section, std::uint64_t lines, std::uint32_t blocks) {
  const RunPlace place{kStore, 7};
  RunFooter footer;
  footer.header.place = place;
  footer.copy = 1;
  footer.filter_lines = lines;
  footer.filter_blocks = blocks;
  footer.data_end = footer.erase_end = kSectorBytes;
  footer.filter_end = kSectorBytes + section.size();
  footer.properties_bytes = kSectorBytes;  // no run's own words take more
  footer.index_end = footer.index_at();
  footer.body_bytes = footer.index_end + footer.properties_room() + kSectorBytes;
  RunInfo info;
  info.number = place.number;
  info.file_bytes = footer.layout().file_bytes();
  std::string properties;
  encode_run_info(properties, info);
  footer.properties_bytes = properties.size();
  properties.resize(footer.properties_room(), '\0');
  footer.properties_checksum = hash64(properties, place.seed(footer.properties_at()));

  std::string file(kSectorBytes, '\0');
  file.append(section).resize(footer.properties_at(), '\0');
  file.append(properties).append(encode_run_footer(footer)).resize(info.file_bytes, '\0');
  SimStorage disk;
  put_file(disk, "runs/7.run", file);
  const Result<std::unique_ptr<File>> opened = disk.open("runs/7.run", OpenMode::kRead);
  RunBytes bytes(**opened, file.size(), place, RunBytes::From::kCache);
  Filter out;
  if (auto loaded = load_run_contents(bytes, place, std::nullopt, out.findings); loaded.ok())
    out.contents = std::move(*loaded);
  return out;
}

}  // namespace

void run_filter(std::string_view input) {
  constexpr std::uint64_t kWholeBlock = kFilterBlockBytes + kBlockHeaderBytes;
  Decoder in(input);
  const std::uint32_t lines = in.u32(), blocks = in.u32();
  const std::uint64_t section_bytes = in.u32() % (3 * kWholeBlock + 1);
  const unsigned bits_per_key = in.u16() % 2048;
  if (!in.ok()) return;
  std::string section(in.raw(in.remaining()));
  std::vector<std::uint64_t> hashes{0, ~std::uint64_t{0}};
  RunFilterBuilder builder;
  for (std::size_t at = 0; at + 8 <= section.size(); at += 8) {
    hashes.push_back(load<std::uint64_t>(section.data() + at));
    builder.add(hashes.back());
  }

  section.resize(section_bytes, '\0');
  const Filter made_up = load_filter(section, lines, blocks);
  if (lines <= section.size() / kFilterLineBytes) {  // else the footer is refused
    DARUMA_ASSERT(made_up.contents);
    bool fits = true;
    std::vector<bool> lost(4);
    for (const RunFinding& finding : made_up.findings) {
      DARUMA_ASSERT(finding.fault == RunFault::kFilter);
      fits = fits && finding.status.message() != "filter: does not fit its section";
      lost.at((*finding.status.where().offset - kSectorBytes) / kWholeBlock) = true;
    }
    for (const std::uint64_t hash : hashes) {
      made_up.contents->filter.prefetch(hash);
      const std::uint64_t line = (hash >> 32) * lines >> 32;
      const bool free = lines == 0 || !fits || lost.at(line * kFilterLineBytes / kFilterBlockBytes);
      DARUMA_ASSERT(made_up.contents->filter.may_contain(hash) || !free);
    }
  }

  Mender trials;  // what does not verify from here on is no mistake of the input
  trials.listen();
  const std::string built = builder.build(bits_per_key);
  RunFilter filter(built.size() / kFilterLineBytes);
  std::copy(built.begin(), built.end(), filter.bits().begin());
  std::string written;
  std::uint32_t written_blocks = 0;
  for (std::size_t at = 0; at < built.size(); at += kFilterBlockBytes) {
    append_block(written, {kStore, 7}, kSectorBytes + written.size(), BlockKind::kFilter, written_blocks++,
                 std::string_view(built).substr(at, kFilterBlockBytes), false);
  }
  const Filter read = load_filter(written, built.size() / kFilterLineBytes, written_blocks);
  DARUMA_ASSERT(read.contents && read.findings.empty());
  if (!written.empty()) written[section_bytes % written.size()] ^= static_cast<char>(1 + blocks % 255);
  const Filter hurt = load_filter(written, built.size() / kFilterLineBytes, written_blocks);
  DARUMA_ASSERT(hurt.contents && hurt.findings.size() == (written.empty() ? 0 : 1));
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    const bool may = filter.may_contain(hashes[i]);
    DARUMA_ASSERT(may || i < 2);  // the first two were not added
    DARUMA_ASSERT(read.contents->filter.may_contain(hashes[i]) == may);
    DARUMA_ASSERT(hurt.contents->filter.may_contain(hashes[i]) || !may);
  }
}

void data_block(std::string_view input) {
  DataBlockCursor cursor(input);
  std::vector<std::pair<std::string, DataBlockCursor::Entry>> entries;
  for (; cursor.valid(); cursor.next()) entries.emplace_back(cursor.key(), cursor.entry());
  BlockRef block;
  const bool made = LoadedBlock::make(input, block);
  DARUMA_ASSERT(!made || !cursor.bad());
  DataBlockCursor sought(input);
  for (const auto& [key, entry] : entries) {
    sought.seek(key, entry.sequence());
    if (!made) continue;
    DARUMA_ASSERT(sought.valid() && sought.key() == key && sought.entry().tag == entry.tag);
    DARUMA_ASSERT(sought.entry().value.data() == entry.value.data());
  }
  if (!made) return;
  const LoadedBlock loaded(block.view().data());
  DARUMA_ASSERT(loaded.size() == entries.size());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto& [key, entry] = entries[i];
    DARUMA_ASSERT(loaded.find(key, entry.sequence()) == i && loaded.has_key(i, key));
    DARUMA_ASSERT(loaded.kind(i) == entry.kind() && loaded.value(i) == entry.value);
  }
}

void erase_block(std::string_view input) {
  std::vector<RangeErase> erases;
  if (!decode_erase_block(input, erases)) return;
  std::vector<RangeErase> again;
  for (const std::string& block : encode_erases(erases)) DARUMA_ASSERT(decode_erase_block(block, again));
  DARUMA_ASSERT(again == erases);
  const EraseList list(erases);
  for (const RangeErase& erase : erases) DARUMA_ASSERT(list.covering(erase.begin, kMaxSequence, 0) >= erase.sequence);
}

void run_info(std::string_view input) {
  if (Result<RunInfo> info = decode_run_info(input); info.ok()) {
    std::string again;
    encode_run_info(again, *info);
    Result<RunInfo> twice = decode_run_info(again);
    DARUMA_ASSERT(twice.ok() && *twice == *info);
  }
}

}  // namespace daruma::fuzz
