// SPDX-License-Identifier: Apache-2.0
//
// Epoch-based reclamation (Fraser 2004): readers enter and leave by writing a word that only their thread writes; what
// a writer unlinks is destroyed once no reader that could have seen it is inside.
//
// What must stay true: a thread inside an EpochGuard sees only objects retired at or after its entry epoch, and those
// are destroyed only after every such thread has left. Guards may nest; they may not outlive their thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/mutex.h"

namespace daruma {

class EpochGuard {
 public:
  EpochGuard();
  ~EpochGuard();
  EpochGuard(const EpochGuard&) = delete;
  EpochGuard& operator=(const EpochGuard&) = delete;
};

/// What one owner has unlinked and not yet destroyed. Any thread.
class EpochRetired {
 public:
  EpochRetired() = default;
  EpochRetired(const EpochRetired&) = delete;
  EpochRetired& operator=(const EpochRetired&) = delete;
  /// Destroys what is left at once: by then the owner has no readers.
  ~EpochRetired();

  /// Room for one more, so that the next `retire` allocates nothing. Where several threads retire, they must take
  /// turns.
  void make_room() EXCLUDES(mutex_);
  /// Call after the object can no longer be reached by a new reader; `destroy` runs once no old one is inside.
  void retire(std::function<void()> destroy) EXCLUDES(mutex_);
  /// Destroys what can be, none where memory is short; returns how many remain.
  std::size_t collect() EXCLUDES(mutex_);

 private:
  struct Entry {
    std::uint64_t epoch;
    std::function<void()> destroy;
  };
  Mutex mutex_;
  std::vector<Entry> entries_ GUARDED_BY(mutex_);
};

}  // namespace daruma
