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
  virtual void seek_first() = 0;
  virtual void seek_last() = 0;
  virtual void seek(std::string_view key) = 0;  ///< first entry with a key >= `key`
  virtual void prev() = 0;
};

/// `memtable` and `reader` outlive the source.
std::unique_ptr<EntrySource> memtable_source(const Memtable& memtable);
std::unique_ptr<EntrySource> run_source(const RunReader& reader);
/// The runs of a level as one source; only the one that the cursor is in is read. `level` outlives the source.
std::unique_ptr<EntrySource> level_source(const RunSet::Level& level);

}  // namespace daruma
