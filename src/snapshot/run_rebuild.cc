// SPDX-License-Identifier: Apache-2.0
#include "snapshot/run_rebuild.h"

#include <algorithm>

#include "base/status_macros.h"
#include "event/event.h"
#include "snapshot/merge.h"
#include "wal/wal_reader.h"

namespace daruma {
namespace {

/// The entries of a run in some ranges. Damage outside of them is stepped over, inside it is an error, unless it is to
/// be passed over everywhere.
class RangedRun final : public MergeSource {
 public:
  RangedRun(const RunReader& reader, std::vector<KeyRange> ranges)
      : cursor_(reader.cursor()), ranges_(std::move(ranges)) {
    enter();
    stand();
  }
  /// All that is left of a damaged run.
  explicit RangedRun(const RunReader& reader) : cursor_(reader.cursor()), all_(true) {
    cursor_.seek_first();
    settle();
    stand();
  }
  void next() override {
    cursor_.next();
    settle();
    stand();
  }
  [[nodiscard]] Status status() const override { return done_ ? Status() : cursor_.status(); }

 private:
  void stand() {
    if (done_)
      stand_at_end();
    else
      stand_at(cursor_);
  }
  void enter() {
    done_ = at_ >= ranges_.size();
    if (done_) return;
    cursor_.seek(ranges_[at_].begin);
    settle();
  }
  void settle() {
    while (!cursor_.valid() && !cursor_.status().ok() && cursor_.damaged()) {
      if (!all_ && cursor_.damaged()->after < ranges_[at_].end && cursor_.damaged()->through >= ranges_[at_].begin)
        return;
      cursor_.step_over();
    }
    if (all_ || (!cursor_.valid() && !cursor_.status().ok())) return;
    if (!cursor_.valid() || cursor_.key() >= ranges_[at_].end) {
      ++at_;
      enter();
    }
  }
  RunReader::Cursor cursor_;
  std::vector<KeyRange> ranges_;
  std::size_t at_ = 0;
  const bool all_ = false;
  bool done_ = false;
};

class WholeMemtable final : public MergeSource {
 public:
  explicit WholeMemtable(const Memtable& memtable) : cursor_(memtable.cursor()) {
    cursor_.seek_first();
    stand_at(cursor_);
  }
  void next() override {
    cursor_.next();
    stand_at(cursor_);
  }
  [[nodiscard]] Status status() const override { return {}; }

 private:
  Memtable::Cursor cursor_;
};

/// The end of a range as a range erase can say it: no key is longer than the longest.
std::string erase_end(const std::string& end) {
  if (end.size() <= kMaxKeyBytes) return end;
  std::string key = end.substr(0, kMaxKeyBytes);
  while (!key.empty() && key.back() == '\xff') key.pop_back();
  if (!key.empty()) ++key.back();
  return key;  // empty: no bound
}

void clip(const RangeErase& erase, const std::vector<KeyRange>& keys, std::vector<RangeErase>& out) {
  for (const KeyRange& range : keys) {
    RangeErase part = erase;
    part.begin = std::max(part.begin, range.begin);
    const std::string end = erase_end(range.end);
    if (part.end.empty() || (!end.empty() && end < part.end)) part.end = end;
    if (part.begin.size() <= kMaxKeyBytes && (part.end.empty() || part.begin < part.end))
      out.push_back(std::move(part));
  }
}

bool holds(const std::vector<KeyRange>& keys, std::string_view key) {
  return std::any_of(keys.begin(), keys.end(), [&](const KeyRange& range) { return range.holds(key); });
}

void take(const WalRecord& record, const LogPart& part, Memtable& out) {
  (void)walk_event(record.event, [&](const Op& op) {
    if (op.keyspace != part.keyspace) return;
    if (op.kind == OpKind::kEraseRange) {
      std::vector<RangeErase> clipped;
      RangeErase whole{std::string(op.key), std::string(op.end), record.sequence};
      if (!part.keys)
        clipped.push_back(std::move(whole));
      else if (op.end.empty() || op.key < op.end)
        clip(whole, *part.keys, clipped);
      for (const RangeErase& erase : clipped) out.erase_range(erase.sequence, erase.begin, erase.end);
    } else if (!part.keys || holds(*part.keys, op.key)) {
      if (op.kind == OpKind::kPut)
        out.put(record.sequence, op.key, op.value);
      else
        out.erase(record.sequence, op.key);
    }
  });
}

}  // namespace

std::optional<RebuildPlan> plan_rebuild(const RunInfo& lost, const Manifest& older, Sequence log_after) {
  RebuildPlan plan;
  for (const PlacedRun& placed : older.runs) {
    if (placed.info.number == lost.number) return std::nullopt;
    if (std::find(lost.supersedes.begin(), lost.supersedes.end(), placed.info.number) == lost.supersedes.end())
      continue;
    if (same_seat(placed.info, lost)) return RebuildPlan{.runs = {placed.info}};  // the file that it was made from
    plan.runs.push_back(placed.info);
  }
  if (is_loaded(lost)) return std::nullopt;
  plan.log_after = lost.level == 0 ? lost.prev_sequence : older.sequence;
  plan.log_through = lost.checkpoint_sequence;
  if (lost.level == 0) plan.runs.clear();
  if (plan.log_after < log_after || older.sequence > lost.checkpoint_sequence) return std::nullopt;
  return plan;
}

Result<bool> read_log_part(Storage& storage, const std::string& directory, const StoreId& store,
                           const std::vector<LiveSegment>& segments, const LogPart& part, Memtable& out) {
  Sequence reached = part.after;  // every event up to here has been taken
  for (std::size_t i = 0; i < segments.size() && reached < part.through; ++i) {
    // Numbers that a later segment begins at or below were given anew there.
    Sequence end = segments[i].anew_from != 0 ? segments[i].anew_from : kMaxSequence;
    for (std::size_t later = i + 1; later < segments.size(); ++later)
      end = std::min<Sequence>(end, segments[later].start_sequence);
    if (end <= reached + 1 || segments[i].start_sequence > part.through) continue;
    bool decodes = true;
    const auto on_frame = [&](const FrameView& frame) {
      for_each_record(frame.header, frame.payload, [&](const WalRecord& record) {
        if (record.sequence != reached + 1 || record.sequence >= end || record.sequence > part.through || !decodes)
          return;
        decodes = check_event(record.event).ok();
        if (!decodes) return;
        take(record, part, out);
        reached = record.sequence;
      });
    };
    SegmentFiles files = segment_files(segments[i].number, segments[i].sides);
    for (std::string& file : files) file.insert(0, directory + "/");
    const SegmentScan scan = read_segment(storage, files, store, on_frame, {end == kMaxSequence ? 0 : end, true});
    if (scan.status.is(Code::kAborted)) return scan.status;
  }
  return reached >= part.through;
}

Status write_rebuilt(const RebuildInput& input, RunBuilder& out) {
  MergeSettings settings;
  std::vector<std::unique_ptr<MergeSource>> sources;
  if (input.reader) {
    sources.push_back(std::make_unique<RangedRun>(*input.reader));
    if (!input.erases_lost && input.info->erases > 0) {
      DARUMA_TRY_ASSIGN(settings.erases, input.reader->range_erases());
    }
  }
  if (!input.keys.empty()) {
    for (const RunReader* source : input.sources) {
      sources.push_back(std::make_unique<RangedRun>(*source, input.keys));
      DARUMA_TRY_ASSIGN(const std::vector<RangeErase> erases, source->range_erases());
      for (const RangeErase& erase : erases) clip(erase, input.keys, settings.erases);
    }
    if (input.log) {
      sources.push_back(std::make_unique<WholeMemtable>(*input.log));
      for (RangeErase& erase : input.log->range_erases()) settings.erases.push_back(std::move(erase));
    }
  }
  Merge merge(std::move(sources), std::move(settings));
  for (; merge.valid(); merge.next()) {
    if (input.stopping && input.stopping()) return {Code::kAborted, "the store is being abandoned"};
    DARUMA_TRY(out.add(merge.key(), merge.sequence(), merge.kind(), merge.value()));
  }
  DARUMA_TRY(merge.status());
  for (const RangeErase& erase : merge.erases()) out.add_range_erase(erase);
  return {};
}

}  // namespace daruma
