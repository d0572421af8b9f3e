// SPDX-License-Identifier: Apache-2.0
//
// What flushes, compactions and bulk loads share: their outputs, the next generation, and cleaning up after a failure.
#include "engine/jobs.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/assert.h"
#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "engine/options_text.h"
#include "snapshot/retention.h"

namespace daruma {

/// Finishes, publishes and reads back one run: until it has verified, nobody relies on it.
Status Engine::add_output(RunBuilder& builder, std::vector<std::uint64_t> supersedes, Outputs& outputs) {
  DARUMA_TRY_ASSIGN(const RunInfo info, builder.finish(std::move(supersedes)));
  DARUMA_TRY(failpoint("run publish"));
  DARUMA_TRY(builder.publish(/*sync_directory=*/false));
  DARUMA_TRY(failpoint("run published"));
  DARUMA_TRY_ASSIGN(std::shared_ptr<LiveRun> run, open_run(info));
  DARUMA_TRY_ASSIGN(const RunReader::Verified verified, run->reader->verify());
  DARUMA_TRY(verified.status());
  outputs.bytes += info.file_bytes;
  outputs.runs.push_back(std::move(run));
  return {};
}

Result<std::shared_ptr<LiveRun>> Engine::open_run(const RunInfo& info) const {
  auto run = std::make_shared<LiveRun>();
  run->info = info;
  DARUMA_TRY_ASSIGN(
      run->reader,
      RunReader::open(*storage_, directory_ + "/" + std::string(kRunDirectory) + "/" + run_name(info.number), store_id_,
                      info.number, cache_, info));
  return run;
}

/// The newest generation again under the next number; the caller changes what is new.
Manifest Engine::next_generation() {
  Manifest next;
  if (!generations_.empty()) {
    next = generations_.front();
    next.previous_number = generations_.front().number;
    next.previous_hash = manifest_hash(generations_.front());
  }
  next.store = store_id_;
  next.number = next_manifest_;
  next.next_file_number = next_file_.load(std::memory_order_relaxed);
  if (wal_) {
    next.durable_sequence = std::max(next.durable_sequence, wal_->durable_sequence());
    const std::vector<LiveSegment> segments = wal_->live_segments();
    if (!segments.empty()) next.next_segment = std::max(next.next_segment, segments.back().number + 1);
  }
  next.created_wall_ns = clock_.wall_ns();
  next.catalog = snapshot_catalog_;
  next.options = options_text(options_) + history_text(past_limits_) + costs_text(budget_.costs()) + promoted_;
  return next;
}

/// A manifest that failed to become durable may still be there after a crash, so its number is never used again and the
/// file goes before the runs that it names.
Status Engine::publish_generation(Manifest next, std::function<void()> install) {
  DARUMA_TRY(publish_uncopied(std::move(next), std::move(install)));
  copy_newest_generation();
  return {};
}

Status Engine::publish_uncopied(Manifest next, std::function<void()> install) {
  DARUMA_ASSERT(!install_);
  if (generations_.size() == generations_.capacity()) generations_.reserve(generations_.size() + kGenerationsKept + 1);
  const auto mark = unsettled_manifests_.insert(next.number).first;
  ++next_manifest_;
  DARUMA_TRY(failpoint("snapshot publish"));
  DARUMA_TRY(publish_manifest(*storage_, directory_, next));
  DARUMA_TRY(failpoint("snapshot published"));
  unsettled_manifests_.erase(mark);
  generations_.insert(generations_.begin(), std::move(next));
  price_recovery();
  install_ = std::move(install);
  return {};
}

Status Engine::promote(std::string lines) {
  DARUMA_TRY(may_write());
  MutexLock lock(checkpoint_mutex_);
  DARUMA_TRY(settle());
  promoted_.swap(lines);
  Status published = publish_generation(next_generation(), {});
  if (!published.ok()) {
    promoted_.swap(lines);
    return published;
  }
  return release();
}

/// The newest once more: it and its repetition are the two that are kept.
Status Engine::repeat_generation() {
  DARUMA_TRY(publish_generation(next_generation(), {}));
  pass_into_history(1);
  return {};
}

/// It stands twice in snapshots/ already: where recoveries/ takes no writes, the store goes on.
void Engine::copy_newest_generation() {
  (void)or_out_of_memory(
      [this]() REQUIRES(checkpoint_mutex_) { return copy_manifest(*storage_, directory_, generations_.front()); });
}

Status Engine::finish_install() {
  if (!install_) return {};
  DARUMA_TRY(or_out_of_memory([this]() REQUIRES(checkpoint_mutex_) -> Status {
    install_();
    return {};
  }));
  install_ = nullptr;
  return {};
}

/// Needs no memory but for the attempt to clean up at once.
Status Engine::give_up(Outputs& outputs, Status why) {
  unsettled_runs_.merge(outputs.numbers);
  unclean_.store(true, std::memory_order_relaxed);
  // Else in the background, before the next job, or at the next start.
  if (!stopping()) (void)or_out_of_memory([this]() REQUIRES(checkpoint_mutex_) { return settle(); });
  return why;
}

/// In the background, after a job that failed: its files go, and what nothing needs, also when no job follows.
Status Engine::clean_up() {
  if (!unclean_.load(std::memory_order_relaxed)) return {};
  MutexLock lock(checkpoint_mutex_);
  DARUMA_TRY(settle());
  if (!generations_.empty()) DARUMA_TRY(release());
  unclean_.store(false, std::memory_order_relaxed);
  return {};
}

/// What earlier jobs left to do, also in the life before: bringing into use what is published, removing what is not.
Status Engine::settle() {
  DARUMA_TRY(finish_install());
  const auto lacks = [&](const Manifest& older)
                         REQUIRES(checkpoint_mutex_) { return lacks_load(older, generations_.front()); };
  if (std::any_of(generations_.begin(), generations_.end(), lacks)) DARUMA_TRY(repeat_generation());
  if (untidy_) DARUMA_TRY(release());
  const auto remove = [&](const std::string& path) -> Status {
    for (const std::string& name : {path, path + std::string(kTemporarySuffix)}) {
      if (Status status = storage_->remove(name); !status.ok() && !status.is(Code::kNotFound)) return status;
    }
    return {};
  };
  if (!unsettled_manifests_.empty()) {
    const std::string directory = directory_ + "/" + std::string(kManifestDirectory);
    for (const std::uint64_t number : unsettled_manifests_) DARUMA_TRY(remove(directory + "/" + manifest_name(number)));
    DARUMA_TRY(storage_->sync_directory(directory));
    unsettled_manifests_.clear();
  }
  if (announcements_.load(std::memory_order_relaxed) % 2 != 0) {  // no start can find it otherwise from here on
    announced_.store(0, std::memory_order_seq_cst);
    announcements_.fetch_add(1, std::memory_order_seq_cst);
  }
  if (!unsettled_runs_.empty()) {
    const std::string directory = directory_ + "/" + std::string(kRunDirectory);
    for (const std::uint64_t number : unsettled_runs_) DARUMA_TRY(remove(directory + "/" + run_name(number)));
    DARUMA_TRY(storage_->sync_directory(directory));
    unsettled_runs_.clear();
  }
  return {};
}

/// Puts the live runs of the newest generation where reads of these keyspaces look for them.
void Engine::place_runs(State& state, const std::set<std::uint32_t>& keyspaces) {
  std::map<std::uint32_t, std::map<std::uint32_t, std::vector<std::shared_ptr<LiveRun>>>> by_level;
  if (!generations_.empty()) {
    for (const PlacedRun& placed : generations_.front().runs) {
      if (!keyspaces.contains(placed.info.keyspace) || is_marker(placed.info)) continue;
      if (const auto live = live_.find(placed.info.number); live != live_.end()) {
        by_level[placed.info.keyspace][placed.level].push_back(live->second);
      }
    }
  }
  for (auto& keyspace : state.keyspaces) {
    if (!keyspaces.contains(keyspace->id)) continue;
    auto changed = std::make_shared<KeyspaceState>(*keyspace);
    changed->runs = {};
    for (auto& [level, runs] : by_level[keyspace->id]) {
      for (const auto& run : runs) changed->runs.range_erases |= run->info.erases != 0;
      if (level == 0) {
        std::sort(runs.begin(), runs.end(),
                  [](const auto& a, const auto& b) { return a->info.max_sequence > b->info.max_sequence; });
        changed->runs.level0 = std::move(runs);
      } else {
        std::sort(runs.begin(), runs.end(),
                  [](const auto& a, const auto& b) { return a->info.smallest_key < b->info.smallest_key; });
        changed->runs.levels.push_back({level, std::move(runs)});
      }
    }
    keyspace = std::move(changed);
  }
}

void Engine::put_into_use(const std::set<std::uint32_t>& keyspaces) {
  MutexLock lock(write_mutex_);
  auto state = std::make_shared<State>(*current_);
  place_runs(*state, keyspaces);
  publish_state(std::move(state));
}

namespace {

void append_line(std::string& text, std::string_view name, std::uint64_t value) {
  text.append(name).append(" ").append(std::to_string(value)).append("\n");
}

std::optional<std::uint64_t> value_of(std::string_view text, std::string_view name) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (!line.starts_with(name) || line.size() <= name.size() || line[name.size()] != ' ') continue;
    std::uint64_t value = 0;
    const auto [rest, error] = std::from_chars(line.data() + name.size() + 1, line.data() + line.size(), value);
    if (error == std::errc() && rest == line.data() + line.size()) return value;
  }
  return std::nullopt;
}

constexpr std::string_view kHistorySeconds = "history_seconds";
constexpr std::string_view kHistoryBytes = "history_bytes";
constexpr std::string_view kFixed = "measured_start_ns";
constexpr std::string_view kPerRun = "measured_start_ns_a_run";
constexpr std::string_view kRate = "measured_replay_bytes_per_second";

}  // namespace

std::string history_text(const History& history) {
  std::string text;
  append_line(text, kHistorySeconds, static_cast<std::uint64_t>(history.time.count()));
  append_line(text, kHistoryBytes, history.bytes);
  return text;
}

History history_in(std::string_view text) {
  History history;
  if (const auto seconds = value_of(text, kHistorySeconds); seconds && *seconds <= kHistorySecondsMax)
    history.time = std::chrono::seconds(*seconds);
  if (const auto bytes = value_of(text, kHistoryBytes)) history.bytes = *bytes;
  return history;
}

std::string costs_text(const StartCosts& costs) {
  std::string text;
  append_line(text, kFixed, static_cast<std::uint64_t>(costs.fixed_ns));
  append_line(text, kPerRun, static_cast<std::uint64_t>(costs.per_run_ns));
  append_line(text, kRate, costs.replay_bytes_per_second);
  return text;
}

StartCosts costs_in(std::string_view text, StartCosts otherwise) {
  constexpr std::uint64_t kHourNs = 3'600'000'000'000;
  const auto ns = [&](std::string_view name, std::int64_t& out) {
    if (const auto value = value_of(text, name); value && *value <= kHourNs) out = static_cast<std::int64_t>(*value);
  };
  ns(kFixed, otherwise.fixed_ns);
  ns(kPerRun, otherwise.per_run_ns);
  if (const auto rate = value_of(text, kRate); rate && *rate > 0) otherwise.replay_bytes_per_second = *rate;
  return otherwise;
}

/// After the number of runs has changed, or what starts cost: how much may gather until a checkpoint.
void Engine::price_recovery() {
  const std::size_t runs = generations_.empty() ? 0 : generations_.front().runs.size();
  const RecoveryBudget::Limits limits = budget_.limits(runs);
  checkpoint_at_.store(limits.begin, std::memory_order_relaxed);
  wait_at_.store(limits.wait, std::memory_order_relaxed);
  estimated_open_ns_.store(budget_.open_ns(runs), std::memory_order_relaxed);
  replay_rate_.store(budget_.costs().replay_bytes_per_second, std::memory_order_relaxed);
}

}  // namespace daruma
