// SPDX-License-Identifier: Apache-2.0
//
// The only way to start. Passes, in order: lock, choose snapshot, open runs, replay, set aside, start log, report.
// Everything up to and including `replay` only reads; from then on each step publishes something whole, so that a kill
// in between leaves the start before or the start after, and the same answers.
#include <cstdio>

#include "base/assert.h"
#include "base/status_macros.h"
#include "engine/engine.h"
#include "engine/sources.h"
#include "recovery/log_replay.h"
#include "run/run_format.h"
#include "snapshot/catalogue.h"
#include "snapshot/retention.h"

namespace daruma {

struct Engine::Start {
  RecoveryReport report;
  bool found_anything = false;
  Catalogue catalogue;
  std::vector<PlacedRun> runs;
  DamageMap damage;
  LogReplay log;
  std::uint64_t pass_bytes = 0;
};

namespace {

constexpr std::uint64_t kReportsKept = 32;

std::string_view policy_name(RecoveryPolicy policy) {
  switch (policy) {
    case RecoveryPolicy::kServe: return "serve";
    case RecoveryPolicy::kReadOnly: return "read_only";
    case RecoveryPolicy::kRefuse: return "refuse";
    case RecoveryPolicy::kPointInTime: return "point_in_time";
  }
  return "serve";
}

Status check(const Options& options) {
  const auto within = [](const char* what, std::uint64_t value, std::uint64_t low, std::uint64_t high) -> Status {
    if (value >= low && value <= high) return {};
    return {Code::kInvalidArgument, std::string("Options::") + what + " is " + std::to_string(value) + ", outside " +
                                        std::to_string(low) + " to " + std::to_string(high)};
  };
  DARUMA_TRY(within("memtable_bytes", options.memtable_bytes, 1 << 20, std::uint64_t{64} << 30));
  DARUMA_TRY(within("cache_bytes", options.cache_bytes, 0, std::uint64_t{1} << 40));
  DARUMA_TRY(within("segment_bytes", options.segment_bytes, 256 << 10, 1 << 30));
  return within("ring_bytes", options.ring_bytes, 256 << 10, 1 << 30);
}

std::string hex(const StoreId& id) {
  char text[33];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(id.high),
                static_cast<unsigned long long>(id.low));
  return text;
}

}  // namespace

Engine::Engine(std::string directory, Options options, const Environment& environment)
    : directory_(std::move(directory)),
      options_(std::move(options)),
      storage_(environment.storage),
      clock_(*environment.clock),
      cache_(options_.cache_bytes ? std::make_shared<BlockCache>(options_.cache_bytes) : nullptr),
      random_(environment.seed) {}

Result<Engine::Opened> Engine::open(const std::string& directory, const Options& options,
                                    const Environment& environment) {
  DARUMA_TRY(check(options));
  if (directory.empty()) return Status(Code::kInvalidArgument, "the directory of a store has a name");
  std::shared_ptr<Engine> engine(new Engine(directory, options, environment));
  Start start;
  DARUMA_TRY(engine->recover(start));
  if (environment.threads) engine->worker_ = std::thread([raw = engine.get()] { raw->background(); });
  return Opened{std::move(engine), std::move(start.report)};
}

Result<Store::Opened> Engine::open_store(const std::string& directory, const Options& options,
                                         const Environment& environment) {
  DARUMA_TRY_ASSIGN(Opened opened, open(directory, options, environment));
  return Store::Opened{Store(std::move(opened.engine)), std::move(opened.report)};
}

Engine::~Engine() {
  stop_.store(true);
  if (worker_.joinable()) worker_.join();
}

Status Engine::recover(Start& start) {
  const std::int64_t began = clock_.monotonic_ns();
  start.report.started_wall_ns = clock_.wall_ns();
  start.report.policy = policy_name(options_.recovery_policy);
  const auto pass = [&](std::string_view name, auto&& work) -> Status {
    const std::int64_t from = clock_.monotonic_ns();
    start.pass_bytes = 0;
    Status status = work();
    start.report.passes.push_back({std::string(name), clock_.monotonic_ns() - from, start.pass_bytes});
    if (status.ok() && options_.on_recovery_progress)
      options_.on_recovery_progress({name, start.pass_bytes, start.pass_bytes});
    return status;
  };
  DARUMA_TRY(pass("lock", [&]() -> Status {
    if (!options_.create_if_missing) {
      Result<std::vector<DirectoryEntry>> names = storage_->list(directory_);
      if (!names.ok()) return names.status();
      if (names->empty())
        return {Code::kNotFound, "there is no store here", {.file = directory_}, "create one with create_if_missing"};
    }
    DARUMA_TRY(storage_->make_directory(directory_));
    DARUMA_TRY_ASSIGN(lock_, storage_->lock(directory_ + "/lock"));
    for (const char* room : {"wal", "runs", "snapshots", "quarantine", "recoveries"}) {
      DARUMA_TRY(storage_->make_directory(directory_ + "/" + room));
    }
    DARUMA_TRY(storage_->sync_directory(directory_));
    const std::size_t slash = directory_.find_last_of('/');
    return storage_->sync_directory(slash == std::string::npos ? "." : slash == 0 ? "/" : directory_.substr(0, slash));
  }));
  DARUMA_TRY(pass("choose snapshot", [&] { return choose_snapshot(start); }));
  DARUMA_TRY(pass("open runs", [&] { return open_runs(start); }));
  DARUMA_TRY(pass("replay", [&] { return replay(start); }));
  DARUMA_TRY(pass("set aside", [&] { return set_damage(start); }));
  DARUMA_TRY(pass("start log", [&] { return start_log(start); }));
  start.report.time_to_first_read_ns = start.report.total_ns = clock_.monotonic_ns() - began;
  start.report.outcome = read_only_.load() ? "read_only" : "served";
  write_report(start);
  return {};
}

Status Engine::choose_snapshot(Start& start) {
  DARUMA_TRY_ASSIGN(start.catalogue, read_catalogue(*storage_, directory_, std::nullopt));
  Catalogue& catalogue = start.catalogue;
  next_manifest_ = catalogue.highest_number + 1;
  start.found_anything = !catalogue.generations.empty();
  for (Generation& generation : catalogue.generations) {
    ++start.report.files;
    start.report.bytes_read += generation.file_bytes;
    if (generation.rejected.is(Code::kUnsupported)) return generation.rejected;
    if (!generation.rejected.ok() || !generation.damaged.empty()) {
      RecoveryFinding finding;
      finding.case_name = generation.rejected.ok() ? "damaged_manifest_copy" : "rejected_manifest";
      finding.file = "snapshots/" + generation.name;
      finding.bytes = generation.file_bytes;
      finding.verdict = generation.rejected.ok() ? "healed" : "corrupt";
      finding.action = generation.rejected.ok() ? "read_other_copy" : "use_older_generation";
      finding.detail = generation.rejected.ok() ? generation.damaged : generation.rejected.to_string();
      start.report.findings.push_back(std::move(finding));
    }
    if (generation.manifest) generations_.push_back(*generation.manifest);
  }
  if (const Manifest* newest = catalogue.newest()) {
    store_id_ = newest->store;
    start.runs = newest->runs;
    next_file_ = newest->next_file_number;
    snapshot_sequence_ = newest->sequence;
    start.report.snapshot = manifest_name(newest->number);
    if (!newest->damage.empty()) { DARUMA_TRY_ASSIGN(start.damage, DamageMap::decode(newest->damage)); }
  }
  // Runs on disk: their numbers are taken, and without any manifest they are the state.
  DARUMA_TRY_ASSIGN(const std::vector<DirectoryEntry> files,
                    storage_->list(directory_ + "/" + std::string(kRunDirectory)));
  std::vector<RunInfo> described;
  for (const DirectoryEntry& entry : files) {
    std::uint64_t number = 0;
    if (std::sscanf(entry.name.c_str(), "%16lu.run", &number) != 1) continue;
    next_file_ = std::max(next_file_, number + 1);
    if (entry.name != run_name(number) || catalogue.newest()) continue;
    start.found_anything = true;
    const auto store = catalogue.store;
    Result<RunDescription> description =
        describe_run(*storage_, directory_ + "/" + std::string(kRunDirectory) + "/" + entry.name, store, number);
    if (!description.ok()) {
      RecoveryFinding finding;
      finding.case_name = "undescribed_run";
      finding.file = "runs/" + entry.name;
      finding.bytes = entry.bytes;
      finding.verdict = "corrupt";
      finding.detail = description.status().to_string();
      start.report.findings.push_back(std::move(finding));
      continue;
    }
    if (!catalogue.store) catalogue.store = description->store;
    described.push_back(description->info);
  }
  if (!catalogue.newest() && !described.empty()) {
    store_id_ = *catalogue.store;
    RebuiltState rebuilt = rebuild_from_runs(described);
    start.runs = std::move(rebuilt.runs);
    snapshot_sequence_ = rebuilt.sequence;
    next_file_ = std::max(next_file_, rebuilt.next_file_number);
    RecoveryFinding finding;
    finding.case_name = "manifest_rebuilt";
    finding.file = "snapshots";
    finding.verdict = "healed";
    finding.action = "rebuilt_from_runs";
    start.report.findings.push_back(std::move(finding));
    for (const auto& [after, through] : rebuilt.gaps) {
      DamageEntry entry;
      entry.sequence_lo = after + 1;
      entry.sequence_hi = through;
      entry.cause = "flush_lost";
      entry.file = "runs";
      start.damage.add(std::move(entry));
    }
  }
  return {};
}

Status Engine::open_runs(Start& start) {
  auto state = std::make_shared<State>();
  auto catalogue = std::make_shared<KeyspaceState>();
  catalogue->id = kCatalogKeyspace;
  std::map<std::uint32_t, std::vector<std::shared_ptr<LiveRun>>> by_keyspace;
  for (const PlacedRun& placed : start.runs) {
    ++start.report.files;
    Result<std::shared_ptr<LiveRun>> run = open_run(placed.info);
    if (!run.ok()) {  // lost: its keys answer kDataLoss, everything else is served
      DamageEntry entry;
      entry.keyspace = placed.info.keyspace;
      entry.keys = DamageEntry::Keys::kRange;
      entry.begin = placed.info.smallest_key;
      entry.end = placed.info.largest_key + '\0';
      entry.sequence_lo = placed.info.min_sequence;
      entry.sequence_hi = placed.info.max_sequence;
      entry.cause = "run_lost";
      entry.file = "runs/" + run_name(placed.info.number);
      RecoveryFinding finding;
      finding.case_name = "run_lost";
      finding.file = entry.file;
      finding.verdict = "corrupt";
      finding.action = "block_key_range";
      finding.first_sequence = entry.sequence_lo;
      finding.last_sequence = entry.sequence_hi;
      finding.detail = run.status().to_string();
      finding.damage_id = start.damage.add(std::move(entry));
      start.report.findings.push_back(std::move(finding));
      ++start.report.lost.stretches;
      continue;
    }
    by_keyspace[placed.info.keyspace].push_back(*run);
  }
  for (auto& [id, runs] : by_keyspace) {
    std::sort(runs.begin(), runs.end(),
              [](const auto& a, const auto& b) { return a->info.max_sequence > b->info.max_sequence; });
  }
  catalogue->runs = by_keyspace[kCatalogKeyspace];
  std::map<std::string, std::pair<Sequence, std::optional<std::string>>> names;
  for (const auto& run : catalogue->runs) {
    RunReader::Cursor cursor = run->reader->cursor();
    for (cursor.seek_first(); cursor.valid(); cursor.next()) {
      auto& newest = names[std::string(cursor.key())];
      if (cursor.sequence() < newest.first) continue;
      newest.first = cursor.sequence();
      newest.second = cursor.kind() == EntryKind::kPut ? std::optional(std::string(cursor.value())) : std::nullopt;
    }
    DARUMA_TRY(cursor.status());  // without the catalogue no keyspace has a name
  }
  state->keyspaces.push_back(std::move(catalogue));
  publish_state(std::move(state));
  for (const auto& [key, value] : names) {
    if (value.second && key.size() == 4) apply_catalog(key, std::string_view(*value.second));
  }
  auto placed = std::make_shared<State>(*current_);
  for (auto& keyspace : placed->keyspaces) {
    if (keyspace->id == kCatalogKeyspace || !by_keyspace.contains(keyspace->id)) continue;
    auto changed = std::make_shared<KeyspaceState>(*keyspace);
    changed->runs = by_keyspace[keyspace->id];
    keyspace = std::move(changed);
  }
  publish_state(std::move(placed));
  return {};
}

Status Engine::replay(Start& start) {
  LogReplayInput input;
  input.directory = directory_;
  if (start.catalogue.store) input.store = start.catalogue.store;
  input.snapshot_sequence = snapshot_sequence_;
  for (const Manifest& manifest : generations_)
    input.snapshot_durable = std::max(input.snapshot_durable, manifest.durable_sequence);
  input.known = &start.damage;
  input.stop_at_loss = options_.recovery_policy == RecoveryPolicy::kPointInTime;
  if (options_.on_recovery_progress) {
    input.on_progress = [this](std::uint64_t done, std::uint64_t total) {
      options_.on_recovery_progress({"replay", done, total});
    };
  }
  DARUMA_TRY_ASSIGN(start.log, replay_log(*storage_, input, [this](Sequence sequence, std::string_view event) {
                      apply(sequence, event);
                    }));
  LogReplay& log = start.log;
  start.pass_bytes = log.bytes_read;
  start.found_anything = start.found_anything || log.store.has_value();
  if (log.store) {
    store_id_ = *log.store;
  } else if (!start.catalogue.store) {
    store_id_ = {random_.next(), random_.next()};
    start.report.created = true;
  }
  last_ = log.last;
  visible_.store(last_, std::memory_order_release);
  RecoveryReport& report = start.report;
  report.store = hex(store_id_);
  report.same_boot = log.same_boot;
  report.snapshot_sequence = snapshot_sequence_;
  report.durable_mark = log.proven;
  report.last_sequence = log.last;
  report.files += log.files;
  report.bytes_read += log.bytes_read;
  report.bytes_replayed = log.bytes_replayed;
  report.events_replayed = log.events_replayed;
  report.discarded = log.discarded_sum;
  report.healed = log.healed_sum;
  report.lost.stretches += log.lost_sum.stretches;
  report.lost.events += log.lost_sum.events;
  report.lost.bytes += log.lost_sum.bytes;
  report.findings.insert(report.findings.end(), log.findings.begin(), log.findings.end());
  if (!report.clean() && options_.recovery_policy == RecoveryPolicy::kRefuse) {
    const RecoveryFinding& first = report.findings.front();
    return {Code::kDataLoss,
            "acknowledged data is damaged, and the policy is to refuse: " + first.case_name,
            {.file = directory_ + "/" + first.file, .offset = first.offset, .sequence = first.first_sequence},
            "nothing was changed; open with RecoveryPolicy::kServe to serve what is whole"};
  }
  return {};
}

/// Evidence first into quarantine, then the damage into a manifest: only after that may the log move on.
Status Engine::set_damage(Start& start) {
  Quarantine quarantine(*storage_, directory_ + "/quarantine", store_id_);
  for (QuarantineEntry& aside : start.log.set_aside) {
    std::string bytes(std::min<std::uint64_t>(aside.bytes, std::uint64_t{64} << 20), '\0');
    Result<std::unique_ptr<File>> file = storage_->open(directory_ + "/" + aside.file, OpenMode::kRead);
    const Result<std::size_t> got = file.ok() ? (*file)->read(aside.offset, bytes) : Result<std::size_t>(file.status());
    bytes.resize(got.ok() ? *got : 0);
    aside.wall_ns = clock_.wall_ns();
    const QuarantineEntry kept = quarantine.put(aside, bytes);
    for (RecoveryFinding& finding : start.report.findings) {
      if (finding.file == aside.file && finding.offset == aside.offset) finding.quarantine_id = kept.id;
    }
  }
  const DamageMap before = start.damage;
  for (const DamageEntry& entry : start.log.lost) {
    const std::uint64_t id = start.damage.add(entry);
    for (RecoveryFinding& finding : start.report.findings) {
      if (finding.first_sequence == entry.sequence_lo && finding.damage_id == 0) finding.damage_id = id;
    }
  }
  if (!start.damage.empty()) {
    auto state = std::make_shared<State>(*current_);
    state->damage = std::make_shared<const DamageMap>(start.damage);
    publish_state(std::move(state));
  }
  if (options_.recovery_policy == RecoveryPolicy::kReadOnly && !start.damage.empty()) read_only_ = true;
  start.report.read_only = read_only_;
  const bool rebuilt = generations_.empty();
  if (!rebuilt && start.damage == before && start.catalogue.newest()->damage.empty() == start.damage.empty()) return {};

  Manifest next;
  next.store = store_id_;
  next.number = next_manifest_++;
  next.sequence = snapshot_sequence_;
  next.durable_sequence = std::max<Sequence>(snapshot_sequence_, start.log.proven);
  next.next_file_number = next_file_;
  next.next_segment = start.log.next_segment;
  next.created_wall_ns = clock_.wall_ns();
  if (!generations_.empty()) {
    next.previous_number = generations_.front().number;
    next.previous_hash = manifest_hash(generations_.front());
  }
  next.runs = start.runs;
  start.damage.encode(next.damage);
  DARUMA_TRY(publish_manifest(*storage_, directory_, next));
  generations_.insert(generations_.begin(), std::move(next));
  return {};
}

Status Engine::start_log(Start& start) {
  LogReplay& log = start.log;
  std::vector<WalRecord> persist;
  persist.reserve(log.persist.size());
  for (const auto& [sequence, event] : log.persist) persist.push_back({sequence, event});
  WalCreate create;
  create.directory = directory_;
  create.store = store_id_;
  create.next_segment = log.next_segment;
  for (const Manifest& manifest : generations_)
    create.next_segment = std::max(create.next_segment, manifest.next_segment);
  create.start_sequence = log.proven + 1;
  create.predecessor = log.predecessor;
  create.persist = persist;
  create.older_segments = log.segments;
  WalOptions options;
  options.segment_bytes = options_.segment_bytes;
  options.ring_bytes = options_.ring_bytes;
  DARUMA_TRY_ASSIGN(wal_, WalWriter::create(storage_, options, create, clock_, random_));
  log.persist.clear();
  return {};
}

/// The flight recorder. It cannot stop a start: without space the report is in the caller's hands only.
void Engine::write_report(Start& start) {
  const std::string directory = directory_ + "/recoveries";
  std::uint64_t number = 0;
  std::vector<std::uint64_t> numbers;
  if (Result<std::vector<DirectoryEntry>> names = storage_->list(directory); names.ok()) {
    for (const DirectoryEntry& entry : *names) {
      if (std::sscanf(entry.name.c_str(), "%16lu.json", &number) == 1 && entry.name.ends_with(".json"))
        numbers.push_back(number);
    }
  }
  const auto name = [](std::uint64_t n) {
    char text[32];
    std::snprintf(text, sizeof text, "%016lu.json", n);
    return std::string(text);
  };
  start.report.start_number = numbers.empty() ? 1 : numbers.back() + 1;
  if (!publish(*storage_, directory, name(start.report.start_number), start.report.to_json()).ok()) return;
  for (const std::uint64_t old : numbers) {
    if (old + kReportsKept <= start.report.start_number) (void)storage_->remove(directory + "/" + name(old));
  }
}

void Engine::background() {
  constexpr std::int64_t kIdleNs = 50'000'000;  // a quiet log seals itself after this long
  std::int64_t quiet_since = clock_.monotonic_ns();
  bool sealed = false;
  while (!stop_.load(std::memory_order_relaxed)) {
    if (wal_->poll()) {
      quiet_since = clock_.monotonic_ns();
      sealed = false;
      continue;
    }
    if (!sealed && clock_.monotonic_ns() - quiet_since > kIdleNs) {
      (void)wal_->step_idle();  // a log that is down says so to writers
      sealed = true;
    }
    if (memtable_bytes_.load(std::memory_order_relaxed) >= options_.memtable_bytes) (void)checkpoint();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace daruma
