// SPDX-License-Identifier: Apache-2.0
//
// The names in wal/ and wal-copy/: which segments live, which are retired, and the few kept for reuse.
//
// What must stay true: a retired segment first loses its name in its directory durably, only then may its bytes be
// overwritten. A name that ends in .tmp (a spare, a segment not yet published) means nothing to recovery. What fails in
// one directory keeps nothing from happening in the other.
#pragma once

#include <array>
#include <bit>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "io/storage.h"
#include "wal/wal_format.h"

namespace daruma {

struct LiveSegment {
  std::uint64_t number = 0;
  std::uint64_t start_sequence = 0;
  std::uint64_t bytes = 0;       ///< in each directory
  LogSides sides = side_bit(0);  ///< the directories that have it
  std::uint64_t anew_from = 0;   ///< sequences from there on were given anew by a file that may be gone. 0: none

  [[nodiscard]] std::uint64_t disk_bytes() const { return bytes * static_cast<unsigned>(std::popcount(sides)); }
};

/// Where a segment stands, below the directory of the store; wal/ first.
std::vector<std::string> segment_files(std::uint64_t number, LogSides sides);

/// Any thread. A device that stalls holds up who changes files, and nobody who asks what there is.
class Segments {
 public:
  /// `sides`: the directories in use. What stands in the other is given back in its time.
  Segments(Storage& storage, const std::string& store_directory, LogSides sides, std::vector<LiveSegment> live);

  [[nodiscard]] const std::string& directory(std::size_t side) const { return directories_[side]; }
  /// Makes the directory, durably, where it is not there.
  Status make_directory(std::size_t side);
  /// Takes over the spares an earlier run left and removes segments it never published.
  Status tidy(std::size_t side) EXCLUDES(files_mutex_, mutex_);
  /// Removes the rings of earlier starts.
  Status remove_rings_but(std::size_t side, const std::string& name) EXCLUDES(files_mutex_, mutex_);
  struct Prepared {
    std::unique_ptr<File> file;
    std::uint64_t bytes = 0;
    bool recycled = false;
  };
  /// A file of at least `bytes` under the temporary name of segment `number`: a spare, or a new one with its space
  /// reserved.
  Result<Prepared> prepare(std::size_t side, std::uint64_t number, std::uint64_t bytes) EXCLUDES(files_mutex_, mutex_);
  /// False: what is given back goes, and so do the spares there are. Errors: a spare that could not be removed.
  Status keep_spares(bool keep) EXCLUDES(files_mutex_, mutex_);
  [[nodiscard]] bool has_spares() const EXCLUDES(mutex_);
  /// Whether the directory takes a file of `bytes`, durably, and gives it back; none is left.
  Status probe(std::size_t side, std::uint64_t bytes);
  /// Forgets a segment that was prepared and could not be published everywhere, whichever names it has by now.
  void discard(std::uint64_t number) EXCLUDES(files_mutex_, mutex_);
  /// Gives segment `number` its name in one directory, durably.
  Status publish(std::size_t side, const LiveSegment& segment) EXCLUDES(files_mutex_, mutex_);
  /// Of several errors, that of a directory in use, and with two in use only what fails in both: see `trouble`.
  Status retire_below(std::uint64_t sequence) EXCLUDES(files_mutex_, mutex_);
  /// Gives back what a start makes pointless: segments before the newest that begin no earlier than it does, so that
  /// all they held is in it anew, or was never acknowledged. Else a store that is killed again and again without a
  /// write in between would fill its disk.
  Status retire_superseded() EXCLUDES(files_mutex_, mutex_);
  /// Why segments could not be given back in this directory at the last attempt.
  [[nodiscard]] Status trouble(std::size_t side) const EXCLUDES(mutex_);
  /// With two directories in use, and the newest segment in both: through which sequence an older one stands in one of
  /// them only; 0: none does.
  [[nodiscard]] std::uint64_t once_through() const EXCLUDES(mutex_);
  /// How many segments begin after `sequence`.
  [[nodiscard]] std::size_t begun_after(std::uint64_t sequence) const EXCLUDES(mutex_);
  [[nodiscard]] std::vector<LiveSegment> live() const EXCLUDES(mutex_);
  [[nodiscard]] std::uint64_t live_bytes() const EXCLUDES(mutex_);

 private:
  Status give_back(std::size_t side, const LiveSegment& segment) REQUIRES(files_mutex_) EXCLUDES(mutex_);
  Status retire(const std::vector<std::uint64_t>& numbers) REQUIRES(files_mutex_) EXCLUDES(mutex_);
  static constexpr std::size_t kMaxSpares = 2;  // in a directory
  struct Spare {
    std::string name;
    std::uint64_t bytes = 0;
  };
  Storage& storage_;
  const std::string store_directory_;
  const std::array<std::string, kLogSides> directories_;
  const LogSides sides_;
  Mutex files_mutex_;    // held during the calls that change names, so nothing below changes meanwhile; before mutex_
  mutable Mutex mutex_;  // never held while the device is asked
  std::vector<LiveSegment> live_ GUARDED_BY(mutex_);
  bool keep_spares_ GUARDED_BY(mutex_) = true;
  std::array<std::vector<Spare>, kLogSides> spares_ GUARDED_BY(mutex_);
  std::array<Status, kLogSides> trouble_ GUARDED_BY(mutex_);
};

}  // namespace daruma
