// SPDX-License-Identifier: Apache-2.0
//
// Bytes that could not be used, set aside before anything is written over them.
//
//   quarantine/ledger            entries, append-only, each twice and in sectors of its own
//   quarantine/<id>.bytes        what was set aside
//
// What must stay true:
//   - When `put` answers kBytes, the bytes and their entry are durable: only then may the original be overwritten.
//   - The same evidence twice is one entry: the id is the hash of contents and place.
//   - A torn append touches no older entry (sectors are not shared). One damaged sector loses no entry (each stands
//   twice).
//     What does not verify is skipped and counted, never an error.
//   - Recovery needs no space: without any, the extent alone is recorded, or is in the report only, and the start goes
//   on.
//   - Opening and reading change nothing on disk; directory and ledger appear with the first put.
// One thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/checksum.h"
#include "io/readable_bytes.h"

namespace daruma {

struct QuarantineEntry {
  enum class Kept : std::uint8_t {
    kBytes = 0,       ///< in <id>.bytes
    kExtentOnly = 1,  ///< there was no space: only where it stood, which must not be recycled
    kNowhere = 2,     ///< not even the ledger could be written; known to this process only
  };
  enum class Resolution : std::uint8_t { kOpen = 0, kHealed = 1, kAccepted = 2, kOverwritten = 3 };

  std::string id{};  ///< "q-" and 16 hex digits
  std::string case_name{};
  std::string file{};  ///< relative to the store
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint64_t content_hash = 0;
  Sequence first_sequence = 0;  ///< 0: not known
  Sequence last_sequence = 0;
  std::string verdict{};
  std::string proof{};
  std::int64_t wall_ns = 0;
  Kept kept = Kept::kBytes;
  Resolution resolution = Resolution::kOpen;

  bool operator==(const QuarantineEntry&) const = default;
};

class Quarantine {
 public:
  static constexpr std::size_t kMaxNameBytes = 1024;              ///< longer names are cut
  static constexpr std::uint64_t kMaxLedgerBytes = 256ULL << 20;  ///< more is not read, nor written

  /// Reads the ledger of `directory` (STORE/quarantine), if there is one. Never fails: what cannot be read is counted.
  Quarantine(Storage& storage, std::string directory, StoreId store, ReadFrom from = ReadFrom::kCache);

  /// Sets `contents` aside. Of `what`, id, bytes, content_hash and kept are filled in here. Never an error; see `kept`.
  QuarantineEntry put(QuarantineEntry what, std::string_view contents);
  /// Records what became of an entry. kNotFound, kIoError, kNoSpace.
  Status resolve(std::string_view id, QuarantineEntry::Resolution resolution);

  /// In the order they were first put.
  [[nodiscard]] std::vector<QuarantineEntry> list() const;
  [[nodiscard]] const QuarantineEntry* find(std::string_view id) const;
  /// The bytes set aside, verified. kNotFound, kCorruption, kIoError.
  Result<std::string> read(std::string_view id) const;
  /// Copies them to `path`, durable. kExists when there is something at `path`.
  Status export_to(std::string_view id, const std::string& path) const;

  /// Sectors of the ledger that hold neither an entry nor zeros; what one torn append leaves counts too.
  [[nodiscard]] std::uint64_t damaged_sectors() const { return damaged_sectors_; }
  [[nodiscard]] std::uint64_t ledger_bytes() const { return ledger_end_; }
  /// The ledger anew, with every entry twice again; the old one stands until the new one is durable. kIoError,
  /// kNoSpace.
  Status rewrite();
  [[nodiscard]] const Status& last_error() const { return last_error_; }

 private:
  void load();
  Status append(const QuarantineEntry& entry);
  void remember(const QuarantineEntry& entry);
  [[nodiscard]] std::string bytes_name(std::string_view id) const { return std::string(id) + ".bytes"; }

  Storage& storage_;
  const std::string directory_;
  const StoreId store_;
  const ReadFrom from_;
  std::vector<QuarantineEntry> entries_;
  std::map<std::string, std::size_t, std::less<>> by_id_;
  std::uint64_t ledger_end_ = 0;  // where the next entry goes, sector-aligned
  std::uint64_t damaged_sectors_ = 0;
  Status last_error_;
};

}  // namespace daruma
