// SPDX-License-Identifier: Apache-2.0
//
// A run beyond parity is written anew: its lost keys from an older generation's runs and the log, the rest from what is
// left of it. docs/recovery.md, "Runs beyond parity", has the rules and the attacks on them.
//
// What must stay true:
//   - Only what is complete counts: of a lost key either every version that could be its newest comes along, or none.
//   - Nothing is dropped on the way: tombstones and range erases stay, since what they hide may stand below.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "memtable/memtable.h"
#include "run/run_builder.h"
#include "snapshot/manifest.h"
#include "snapshot/run_loss.h"
#include "wal/segments.h"

namespace daruma {

/// What together held all that the run was made from.
struct RebuildPlan {
  std::vector<RunInfo> runs;
  Sequence log_after = 0;    ///< and the events of the log in (log_after, log_through]
  Sequence log_through = 0;  ///< not above log_after: none
};

/// How `lost` follows from `older`, a kept generation before it; nothing: it does not. `log_after`: the log still holds
/// every event behind it.
std::optional<RebuildPlan> plan_rebuild(const RunInfo& lost, const Manifest& older, Sequence log_after);

/// Two files that stand for the same output of the same job.
inline bool same_seat(const RunInfo& a, const RunInfo& b) {
  return a.job_id == b.job_id && a.job_index == b.job_index && a.keyspace == b.keyspace;
}

struct LogPart {
  Sequence after = 0;
  Sequence through = 0;
  std::uint32_t keyspace = 0;
  std::optional<std::vector<KeyRange>> keys;  ///< nothing: all
};
/// Takes what the events of a part of the log did to these keys. False when one of its events is not to be had; the
/// memtable then means nothing. `directory`: of the store. `segments`: rising. The caller keeps them from being
/// retired.
Result<bool> read_log_part(Storage& storage, const std::string& directory, const StoreId& store,
                           const std::vector<LiveSegment>& segments, const LogPart& part, Memtable& out);

struct RebuildInput {
  const RunReader* reader = nullptr;  ///< of the damaged run; null: nothing of it is there
  const RunInfo* info = nullptr;      ///< likewise; what a manifest says
  bool erases_lost = false;           ///< of the damaged run
  std::vector<const RunReader*> sources;
  const Memtable* log = nullptr;  ///< may be null; holds only keys of `keys`
  std::vector<KeyRange> keys;     ///< to be taken from sources and log, where they are whole
  std::function<bool()> stopping;
};
/// Adds to `out` all that is left of the run, and all that the sources have of `keys`. Errors: what a source cannot
/// give, kAborted, and those of the builder.
Status write_rebuilt(const RebuildInput& input, RunBuilder& out);

}  // namespace daruma
