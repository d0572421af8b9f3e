// SPDX-License-Identifier: Apache-2.0
// Memtables and runs as sorted sources: for the merging cursor (both ways) and for checkpoints (forward).
#pragma once

#include <memory>
#include <string_view>

#include "daruma/status.h"
#include "engine/state.h"
#include "event/entry.h"
#include "memtable/memtable.h"
#include "run/run_reader.h"
#include "snapshot/merge.h"

namespace daruma {

/// Entries in (key ascending, sequence descending) order. Views are valid until the next move. Thread: one at a time.
class EntrySource : public MergeSource {
 public:
  // To the newest version of a key: the first one, the last one, the first one >= `key`, the next one, the one before.
  virtual void seek_first() = 0;
  virtual void seek_last() = 0;
  void seek(std::string_view key) {
    aim(key);
    arrive(key);
  }
  /// A seek in two steps, so that several sources wait for memory at once.
  virtual void aim(std::string_view) {}
  virtual void arrive(std::string_view key) = 0;
  virtual void next_key() = 0;
  virtual void prev_key() = 0;
  /// To the newest version of its key at or below `at`, from where it stands. False: there is none, and it stays at the
  /// key; or it has failed.
  virtual bool at_or_below(Sequence at) = 0;
};

/// `memtable` and `reader` outlive the source.
std::unique_ptr<EntrySource> memtable_source(const Memtable& memtable);
std::unique_ptr<EntrySource> run_source(const RunReader& reader);
/// The runs of a level as one source; only the one that the cursor is in is read. `level` outlives the source.
std::unique_ptr<EntrySource> level_source(const RunSet::Level& level);

}  // namespace daruma
