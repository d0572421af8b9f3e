// SPDX-License-Identifier: Apache-2.0
//
// The names in wal/: which segments live, which are retired, and the few kept for reuse.
//
// What must stay true: a retired segment first loses its name in wal/ durably, only then may its bytes be overwritten.
// A name that ends in .tmp (a spare, a segment not yet published) means nothing to recovery.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "io/storage.h"

namespace daruma {

struct LiveSegment {
  std::uint64_t number = 0;
  std::uint64_t start_sequence = 0;
  std::uint64_t bytes = 0;
};

/// Any thread.
class Segments {
 public:
  Segments(Storage& storage, std::string directory, std::vector<LiveSegment> live)
      : storage_(storage), directory_(std::move(directory)), live_(std::move(live)) {
    spares_.reserve(kMaxSpares);  // a file that has been renamed must not be forgotten because memory is short
  }

  /// Takes over the spares an earlier run left and removes segments it never published.
  Status tidy() EXCLUDES(mutex_);
  /// Removes the rings of earlier starts.
  Status remove_rings_but(const std::string& name) EXCLUDES(mutex_);
  struct Prepared {
    std::unique_ptr<File> file;
    std::uint64_t bytes = 0;
    bool recycled = false;
  };
  /// A file of at least `bytes` under the temporary name of segment `number`: a spare, or a new one with its space
  /// reserved.
  Result<Prepared> prepare(std::uint64_t number, std::uint64_t bytes) EXCLUDES(mutex_);
  /// Forgets a file that was prepared and could not be published, whichever name it has by now.
  void discard(std::uint64_t number) EXCLUDES(mutex_);
  /// Gives segment `number` its name in wal/, durably.
  Status publish(const LiveSegment& segment) EXCLUDES(mutex_);
  Status retire_below(std::uint64_t sequence) EXCLUDES(mutex_);
  /// Gives back what a start makes pointless: segments before the newest that begin no earlier than it does, so that
  /// all they held is in it anew, or was never acknowledged. Else a store that is killed again and again without a
  /// write in between would fill its disk.
  Status retire_superseded() EXCLUDES(mutex_);
  /// How many segments begin after `sequence`.
  [[nodiscard]] std::size_t begun_after(std::uint64_t sequence) const EXCLUDES(mutex_);
  [[nodiscard]] std::vector<LiveSegment> live() const EXCLUDES(mutex_);
  [[nodiscard]] std::uint64_t live_bytes() const EXCLUDES(mutex_);

 private:
  Status give_back(const LiveSegment& segment) REQUIRES(mutex_);
  static constexpr std::size_t kMaxSpares = 2;
  struct Spare {
    std::string name;
    std::uint64_t bytes = 0;
  };
  Storage& storage_;
  const std::string directory_;
  mutable Mutex mutex_;  // held during the few calls that change names
  std::vector<LiveSegment> live_ GUARDED_BY(mutex_);
  std::vector<Spare> spares_ GUARDED_BY(mutex_);
};

}  // namespace daruma
