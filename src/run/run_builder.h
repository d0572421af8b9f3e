// SPDX-License-Identifier: Apache-2.0
//
// Writes one run: entries in order, then everything else, its parity, then durable, then published.
//
// What must stay true: the file has its final name only after its contents are durable; until `publish` returned ok it
// means nothing, and a leftover .tmp may be removed. After any error the builder is done for: the file is given up.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "event/entry.h"
#include "io/storage.h"
#include "run/data_block.h"
#include "run/run_filter.h"
#include "run/run_format.h"
#include "run/run_index.h"
#include "run/run_info.h"

namespace daruma {

/// What is known of a run before its first entry.
struct RunIdentity {
  StoreId store;
  std::uint64_t number = 0;
  std::uint32_t keyspace = 0;
  std::uint32_t level = 0;
  std::uint64_t job_id = 0;
  std::uint32_t job_index = 0;
  bool job_last = false;  ///< may still be told by mark_job_last
  Sequence checkpoint_sequence = 0;
  Sequence prev_sequence = 0;
  std::int64_t created_wall_ns = 0;
};

struct RunBuilderOptions {
  /// Raw; larger reads more for a get, smaller makes the index larger. From a sector on, a block is made larger or
  /// smaller than that so that it ends where a sector does: then a get reads no sector for a few bytes of it.
  std::size_t block_bytes = 8 << 10;
  bool compress = true;
  unsigned filter_bits = 10;  ///< a key; 0: no filter
};

/// One thread. Destroying an unfinished builder leaves the .tmp file as it is.
class RunBuilder {
 public:
  /// Creates `directory`/NNN.run.tmp. Errors: as Storage::open and File::write.
  static Result<std::unique_ptr<RunBuilder>> create(Storage& storage, const std::string& directory,
                                                    const RunIdentity& identity, const RunBuilderOptions& options = {});

  /// One version of a key; by key ascending, then sequence descending (asserted). An erase has no value.
  Status add(std::string_view key, Sequence sequence, EntryKind kind, std::string_view value);
  /// In any order; the range must hold a key (asserted).
  void add_range_erase(RangeErase erase);
  /// Gaps that the file carries along. Before `finish`.
  void set_lost(std::vector<LostKeys> lost) { info_.lost = std::move(lost); }
  /// The job has no further output. Before `finish`.
  void mark_job_last() { info_.job_last = true; }
  /// About what the file would be if it were finished now.
  [[nodiscard]] std::uint64_t estimated_bytes() const;
  [[nodiscard]] std::uint64_t entries() const { return info_.entries; }

  /// Writes the rest and syncs; the name is still NNN.run.tmp.
  Result<RunInfo> finish(std::vector<std::uint64_t> supersedes);
  /// Gives a finished run its name. Without `sync_directory` the caller syncs the directory, once for several runs,
  /// before it relies on any of them.
  Status publish(bool sync_directory = true);

 private:
  RunBuilder(Storage& storage, std::string directory, const RunIdentity& identity, const RunBuilderOptions& options,
             std::unique_ptr<File> file);
  Status flush_block();
  /// Takes the block into the buffer and writes the buffer when it is large enough.
  Status put_block(BlockKind kind, std::string_view raw, bool compress);
  [[nodiscard]] bool fills_sectors() const { return options_.block_bytes >= kSectorBytes; }
  /// Raw bytes of the block that begins here.
  [[nodiscard]] std::size_t block_target() const;
  /// Behind the block that begins here.
  [[nodiscard]] std::uint64_t padding_allowed() const;
  Status write_out(std::size_t at_least);
  void pad_to_sector();
  Status append_parity();
  [[nodiscard]] std::uint64_t offset() const { return written_ + buffer_.size(); }

  static constexpr std::uint64_t kWhole = 1 << 16;
  Storage& storage_;
  const std::string directory_;
  const RunBuilderOptions options_;
  std::unique_ptr<File> file_;
  RunHeader header_;
  RunInfo info_;
  bool finished_ = false;

  std::string buffer_;  // bytes from `written_` on
  std::uint64_t written_ = 0;
  std::uint32_t blocks_ = 0;
  BlockHeader last_block_;
  std::uint64_t content_hash_ = 0;

  DataBlockBuilder block_;
  std::uint32_t block_entries_ = 0;
  bool block_continues_ = false;
  std::size_t block_target_ = 0;
  std::uint64_t stored_part_ = kWhole;  ///< of `kWhole`: what compression leaves of a block, of late
  std::uint64_t stored_spread_ = 0;     ///< how far that is off, mostly
  std::uint64_t padded_ = 0;            ///< bytes behind all blocks so far
  std::string last_key_;                // of the last entry
  Sequence last_sequence_ = 0;
  IndexEncoder index_;
  RunFilterBuilder filter_;
  std::vector<RangeErase> erases_;
};

}  // namespace daruma
