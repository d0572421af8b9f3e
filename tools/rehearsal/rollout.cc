// SPDX-License-Identifier: Apache-2.0
#include "rehearsal/rollout.h"

#include <stdlib.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <system_error>

#include "base/clock.h"
#include "base/status_macros.h"
#include "daruma/store.h"
#include "engine/engine.h"
#include "event/event.h"
#include "io/posix_storage.h"
#include "rehearsal/clone.h"
#include "wal/wal_reader.h"

namespace daruma::rehearsal {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kEventsMin = 100;
constexpr std::uint64_t kEventBytesMax = std::uint64_t{256} << 20;
constexpr unsigned kTriesMax = 3;
/// What a clock, a scheduler and a sector do of themselves.
constexpr std::int64_t kWriteSlackNs = 100'000, kReadSlackNs = 20'000;

using Events = std::deque<std::string>;  // encoded, oldest first

/// The events of the log that is there, the newest first to be kept.
Result<Events> newest_events(const std::string& directory, std::uint64_t events_max) {
  const std::shared_ptr<Storage> storage = make_posix_storage();
  std::map<std::uint64_t, SegmentFiles> segments;
  for (const std::string_view room : kLogDirectories) {
    const std::string path = directory + "/" + std::string(room);
    const Result<std::vector<DirectoryEntry>> names = storage->list(path);
    if (names.status().is(Code::kNotFound)) continue;
    DARUMA_TRY(names.status());
    for (const DirectoryEntry& entry : *names) {
      if (const auto number = parse_segment_name(entry.name)) segments[*number].push_back(path + "/" + entry.name);
    }
  }
  std::map<Sequence, std::string> found;
  for (const auto& entry : segments) {
    bool first = true;
    (void)read_segment(*storage, entry.second, std::nullopt, [&](const FrameView& frame) {
      if (!frame.header.has_events()) return;
      // What a later segment begins with was given anew.
      if (std::exchange(first, false)) found.erase(found.lower_bound(frame.header.first_sequence), found.end());
      for_each_record(frame.header, frame.payload,
                      [&](const WalRecord& record) { found[record.sequence] = std::string(record.event); });
    });
  }
  Events events;
  std::uint64_t bytes = 0;
  for (auto at = found.rbegin(); at != found.rend() && events.size() < events_max; ++at) {
    bytes += at->second.size();
    if (bytes > kEventBytesMax) break;
    events.push_front(std::move(at->second));
  }
  return events;
}

std::int64_t p99(std::vector<std::int64_t>& values) {
  if (values.empty()) return 0;
  const auto at = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) * 99 / 100);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

class Side {
 public:
  static Result<std::unique_ptr<Side>> open(const std::string& directory, Options options) {
    options.create_if_missing = options.use_promoted = false;
    DARUMA_TRY_ASSIGN(Store::Opened opened, Store::open(directory, options));
    DARUMA_TRY(opened.store.sync());
    auto side = std::unique_ptr<Side>(new Side(std::move(opened.store)));
    const std::vector<KeyspaceInfo> all = side->store_.keyspaces();
    for (const KeyspaceInfo& info : all) side->keyspaces_[info.keyspace.id()] = info.keyspace;
    return side;
  }

  /// Events from `first` on, as they were written; each key is read as soon as it is.
  RolloutSide replay(const Events& events, std::size_t first, Durability durability) {
    RolloutSide out;
    std::vector<std::int64_t> writes, reads;
    for (std::size_t i = first; i < events.size(); ++i) {
      Batch batch;
      std::map<std::pair<std::uint32_t, std::string_view>, std::optional<std::string_view>> touched;
      const Status decoded = for_each_op(events[i], [&](const Op& op) {
        const auto keyspace = keyspaces_.find(op.keyspace);
        if (keyspace == keyspaces_.end()) return;  // dropped since, or the catalogue
        switch (op.kind) {
          case OpKind::kPut:
            batch.put(keyspace->second, op.key, op.value);
            touched[{op.keyspace, op.key}] = op.value;
            break;
          case OpKind::kErase:
            batch.erase(keyspace->second, op.key);
            touched[{op.keyspace, op.key}] = std::nullopt;
            break;
          case OpKind::kEraseRange:
            batch.erase_range(keyspace->second, op.key, op.end);
            for (auto& [key, value] : touched) {
              if (key.first == op.keyspace && key.second >= op.key && (op.end.empty() || key.second < op.end))
                value = std::nullopt;
            }
            break;
        }
      });
      if (!decoded.ok() || batch.empty()) continue;
      const std::int64_t began = now();
      const Status written = store_.write(batch, {.durability = durability}).status();
      writes.push_back(now() - began);
      out.errors += !written.ok();
      for (const auto& [key, value] : touched) {
        const std::int64_t asked = now();
        const Result<PinnedValue> got = store_.get_pinned(keyspaces_.at(key.first), key.second);
        reads.push_back(now() - asked);
        const bool right = value ? got.ok() && got->view() == *value : got.status().is(Code::kNotFound);
        out.errors += written.ok() && !right;
      }
    }
    out.writes = writes.size();
    out.reads = reads.size();
    out.write_p99_ns = p99(writes);
    out.read_p99_ns = p99(reads);
    return out;
  }

 private:
  explicit Side(Store store) : store_(std::move(store)) {}
  static std::int64_t now() { return system_clock().monotonic_ns(); }
  Store store_;
  std::map<std::uint32_t, Keyspace> keyspaces_;
};

std::string shown_ns(std::int64_t ns) { return std::to_string(ns / 1000) + " us"; }

std::string too_slow(const RolloutSide& present, const RolloutSide& candidate, double more) {
  const auto over = [&](const char* what, std::int64_t now, std::int64_t then, std::int64_t slack) -> std::string {
    if (static_cast<double>(then) <= static_cast<double>(now) * (1 + more) + static_cast<double>(slack)) return "";
    return std::string("p99 of ") + what + " is " + shown_ns(then) + ", and " + shown_ns(now) +
           " with the present options";
  };
  std::string why = over("writes", present.write_p99_ns, candidate.write_p99_ns, kWriteSlackNs);
  return why.empty() ? over("reads", present.read_p99_ns, candidate.read_p99_ns, kReadSlackNs) : why;
}

Result<RolloutResult> replay_both(const std::string& directory, const std::string& work,
                                  const RolloutOptions& options) {
  CloneOptions cloning;
  cloning.durable = false;
  DARUMA_TRY(clone_store(directory, work + "/present", cloning).status());
  DARUMA_TRY(clone_store(directory, work + "/candidate", cloning).status());
  DARUMA_TRY_ASSIGN(const std::unique_ptr<Side> present, Side::open(work + "/present", options.present));
  RolloutResult result;
  Result<std::unique_ptr<Side>> opened = Side::open(work + "/candidate", options.candidate);
  if (!opened.ok()) {
    result.why = "the store does not come up with them: " + opened.status().to_string();
    return result;
  }
  const std::unique_ptr<Side> candidate = std::move(*opened);
  DARUMA_TRY_ASSIGN(const Events events, newest_events(work + "/present", options.events_max));
  result.events = events.size();
  if (events.size() < kEventsMin)
    return Status(Code::kUnavailable,
                  "the log holds " + std::to_string(events.size()) + " events, which is too little to measure by",
                  {.file = directory}, "run it when the store has been written to since its last checkpoints");
  for (const unsigned percent : options.steps) {
    RolloutStep& step = result.steps.emplace_back();
    step.percent = percent;
    const std::size_t first = events.size() - std::max<std::size_t>(kEventsMin, events.size() * percent / 100);
    for (step.tries = 1;; ++step.tries) {
      if (options.progress) options.progress("replaying", result.steps.size() - 1, options.steps.size());
      step.present = present->replay(events, first, options.durability);
      step.candidate = candidate->replay(events, first, options.durability);
      if (step.candidate.errors > step.present.errors + options.errors_max) {
        step.why = std::to_string(step.candidate.errors) + " errors, and " + std::to_string(step.present.errors) +
                   " with the present options";
        break;
      }
      step.why = too_slow(step.present, step.candidate, options.p99_more_max);
      if (step.why.empty() || step.tries == kTriesMax) break;
    }
    if (!step.why.empty()) {
      result.why = "at " + std::to_string(percent) + " % of the events: " + step.why;
      return result;
    }
  }
  result.good = true;
  return result;
}

}  // namespace

Result<RolloutResult> roll_out(const std::string& directory, const RolloutOptions& options) {
  DARUMA_TRY(check_options(options.candidate));
  if (options.steps.empty() || options.steps.front() < 1 || options.steps.back() > 100 ||
      std::adjacent_find(options.steps.begin(), options.steps.end(), std::greater_equal<>()) != options.steps.end())
    return Status(Code::kInvalidArgument, "steps are percentages that rise, from 1 to 100");
  const fs::path given = fs::absolute(directory).lexically_normal();
  const fs::path store = given.has_filename() ? given : given.parent_path();
  std::string work =
      options.directory.empty() ? store.string() + ".rollout-XXXXXX" : options.directory + "/rollout-XXXXXX";
  if (::mkdtemp(work.data()) == nullptr)
    return Status(Code::kIoError, "cannot make a directory: " + std::generic_category().message(errno), {.file = work},
                  "name another one with --in");
  Result<RolloutResult> result = replay_both(store.string(), work, options);
  std::error_code ignored;
  fs::remove_all(work, ignored);
  return result;
}

}  // namespace daruma::rehearsal
