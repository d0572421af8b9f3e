// SPDX-License-Identifier: Apache-2.0
//
// The only way to start. Passes, in order: lock, choose snapshot, open runs, replay, set aside, start log, tidy,
// report. Everything up to and including `replay` only reads; from then on each step publishes something whole, so that
// a kill in between leaves the start before or the start after, and the same answers.
#include <cstdio>

#include "base/assert.h"
#include "base/status_macros.h"
#include "engine/jobs.h"
#include "recovery/log_replay.h"
#include "run/run_format.h"
#include "snapshot/catalogue.h"
#include "snapshot/retention.h"

namespace daruma {

struct Engine::Start {
  RecoveryReport report;
  bool found_anything = false;
  bool had_log = false;  // something besides the log says that a log file was made
  Catalogue catalogue;
  bool no_generation = false;             // no manifest to start from
  std::vector<DirectoryEntry> run_files;  // in runs/
  std::vector<PlacedRun> runs;
  DamageMap damage;
  LogReplay log;
  std::uint64_t pass_bytes = 0;
};

namespace {

constexpr std::uint64_t kReportsKept = 32;
constexpr std::uint64_t kSetAsideBytes = 16 << 20;  // most bytes of one quarantine entry

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

Status nothing_here(const std::string& directory) {
  return {Code::kNotFound, "there is no store here", {.file = directory}, "create one with create_if_missing"};
}

/// The entries of a directory of the store; none when it is not there or cannot be read.
Result<std::vector<DirectoryEntry>> list_if_there(Storage& storage, const std::string& directory) {
  Result<std::vector<DirectoryEntry>> entries = storage.list(directory);
  if (!entries.ok() && !entries.status().is(Code::kAborted)) return std::vector<DirectoryEntry>();
  return entries;
}

/// Bytes that the device refuses stay zero: what it does give is kept.
void read_what_can_be_read(File& file, std::uint64_t offset, std::string& bytes) {
  if (Result<std::size_t> got = file.read(offset, bytes); got.ok()) return bytes.resize(*got);
  for (std::size_t at = 0; at < bytes.size(); at += kSectorBytes) {
    const std::size_t size = std::min(kSectorBytes, bytes.size() - at);
    if (!file.read(offset + at, std::span(bytes.data() + at, size)).ok()) std::fill_n(bytes.data() + at, size, '\0');
  }
}

Sequence highest_checkpoint(const std::vector<RunInfo>& runs) {
  Sequence highest = 0;
  for (const RunInfo& run : runs) highest = std::max(highest, run.checkpoint_sequence);
  return highest;
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
      threads_(environment.threads),
      compaction_(environment.compaction),
      before_apply_(environment.before_apply),
      cache_(options_.cache_bytes ? std::make_shared<BlockCache>(options_.cache_bytes) : nullptr),
      random_(environment.seed) {}

Result<Engine::Opened> Engine::open(const std::string& directory, const Options& options,
                                    const Environment& environment) {
  DARUMA_TRY(check(options));
  if (directory.empty()) return Status(Code::kInvalidArgument, "the directory of a store has a name");
  std::shared_ptr<Engine> engine(new Engine(directory, options, environment));
  Start start;
  DARUMA_TRY(engine->recover(start));
  if (environment.threads && !options.read_only) {
    engine->log_driver_ = std::thread([raw = engine.get()] { raw->drive_log(); });
    engine->compactor_ = std::thread([raw = engine.get()] { raw->drive_compactions(); });
  }
  return Opened{std::move(engine), std::move(start.report)};
}

Result<Store::Opened> Engine::open_store(const std::string& directory, const Options& options,
                                         const Environment& environment) {
  DARUMA_TRY_ASSIGN(Opened opened, open(directory, options, environment));
  return Store::Opened{Store(std::move(opened.engine)), std::move(opened.report)};
}

Engine::~Engine() {
  stop_.store(true);
  if (log_driver_.joinable()) log_driver_.join();
  if (compactor_.joinable()) compactor_.join();
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
  DARUMA_TRY(pass("lock", [&] { return options_.read_only ? lock_to_read() : lock_to_write(); }));
  DARUMA_TRY(pass("choose snapshot", [&] { return choose_snapshot(start); }));
  DARUMA_TRY(pass("open runs", [&] { return open_runs(start); }));
  DARUMA_TRY(pass("replay", [&] { return replay(start); }));
  DARUMA_TRY(pass("set aside", [&] { return set_damage(start); }));
  if (!options_.read_only) {
    DARUMA_TRY(pass("start log", [&] { return start_log(start); }));
    DARUMA_TRY(pass("tidy", [&] { return tidy(start); }));
  }
  start.report.time_to_first_read_ns = start.report.total_ns = clock_.monotonic_ns() - began;
  start.report.outcome = read_only_.load() || options_.read_only ? "read_only" : "served";
  if (options_.read_only) return {};
  if (start.log.attempts) start.log.attempts->finish();
  write_report(start);
  return {};
}

Status Engine::lock_to_write() {
  if (!options_.create_if_missing) {
    DARUMA_TRY_ASSIGN(const std::vector<DirectoryEntry> names, storage_->list(directory_));
    if (names.empty()) return nothing_here(directory_);
  }
  DARUMA_TRY(storage_->make_directory(directory_));
  DARUMA_TRY_ASSIGN(lock_, storage_->lock(directory_ + "/lock"));
  for (const char* room : {"wal", "runs", "snapshots", "quarantine", "recoveries"}) {
    DARUMA_TRY(storage_->make_directory(directory_ + "/" + room));
  }
  DARUMA_TRY(storage_->sync_directory(directory_));
  const std::size_t slash = directory_.find_last_of('/');
  return storage_->sync_directory(slash == std::string::npos ? "." : slash == 0 ? "/" : directory_.substr(0, slash));
}

/// A store without a lock file is a copy that nobody has opened yet: nobody can be writing it through us.
Status Engine::lock_to_read() {
  DARUMA_TRY_ASSIGN(const std::vector<DirectoryEntry> names, storage_->list(directory_));
  const auto has = [&](std::string_view name) {
    return std::any_of(names.begin(), names.end(), [&](const DirectoryEntry& entry) { return entry.name == name; });
  };
  if (!has("wal") && !has("runs") && !has("snapshots")) return nothing_here(directory_);
  Result<std::unique_ptr<DirectoryLock>> lock = storage_->lock_shared(directory_ + "/lock");
  if (lock.ok()) {
    lock_ = std::move(*lock);
  } else if (!lock.status().is(Code::kNotFound)) {
    return lock.status();
  }
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
  DARUMA_TRY_ASSIGN(start.run_files, list_if_there(*storage_, directory_ + "/" + std::string(kRunDirectory)));
  std::uint64_t next_file = next_file_;
  std::vector<RunInfo> described;
  std::vector<std::uint64_t> undescribed;
  for (const DirectoryEntry& entry : start.run_files) {
    const std::optional<std::uint64_t> numbered = run_number(entry.name);
    if (!numbered) continue;
    const std::uint64_t number = *numbered;
    next_file = std::max(next_file, number + 1);
    if (entry.is_directory || entry.name != run_name(number) || catalogue.newest()) continue;
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
      start.report.lost.bytes += entry.bytes;
      undescribed.push_back(number);
      continue;
    }
    if (!catalogue.store) catalogue.store = description->store;
    described.push_back(description->info);
  }
  const auto superseded = [&](std::uint64_t number) {
    return std::any_of(described.begin(), described.end(), [&](const RunInfo& info) {
      return std::find(info.supersedes.begin(), info.supersedes.end(), number) != info.supersedes.end();
    });
  };
  for (const std::uint64_t number : undescribed) {
    if (superseded(number)) continue;
    DamageEntry entry;
    entry.sequence_lo = 1;
    entry.sequence_hi = std::max<Sequence>(1, highest_checkpoint(described));
    entry.cause = "undescribed_run";
    entry.file = "runs/" + run_name(number);
    start.damage.add(std::move(entry));
    ++start.report.lost.stretches;
  }
  if (!catalogue.newest() && !described.empty()) {
    store_id_ = *catalogue.store;
    RebuiltState rebuilt = rebuild_from_runs(described);
    start.runs = std::move(rebuilt.runs);
    snapshot_sequence_ = rebuilt.sequence;
    next_file = std::max(next_file, rebuilt.next_file_number);
    RecoveryFinding finding;
    finding.case_name = "manifest_rebuilt";
    finding.file = "snapshots";
    finding.verdict = "healed";
    finding.action = "rebuilt_from_runs";
    start.report.findings.push_back(std::move(finding));
    // What did not complete is safe to leave out only while all that it replaces is there.
    for (const DroppedRun& dropped : rebuilt.dropped) {
      const auto info = std::find_if(described.begin(), described.end(),
                                     [&](const RunInfo& run) { return run.number == dropped.number; });
      if (superseded(dropped.number) || info == described.end()) continue;
      const bool replaced_all_there =
          std::all_of(info->supersedes.begin(), info->supersedes.end(), [&](std::uint64_t old) {
            return std::any_of(described.begin(), described.end(),
                               [&](const RunInfo& run) { return run.number == old; });
          });
      if (!replaced_all_there && !is_marker(*info)) lose_keyspace(start, *info, dropped.reason);
    }
    for (const auto& [after, through] : rebuilt.gaps) {
      ++start.report.lost.stretches;
      start.report.lost.events += through - after;
      DamageEntry entry;
      entry.sequence_lo = after + 1;
      entry.sequence_hi = through;
      entry.cause = "flush_lost";
      entry.file = "runs";
      start.damage.add(std::move(entry));
    }
  }
  next_file_ = next_file;
  DARUMA_TRY_ASSIGN(const std::vector<DirectoryEntry> reports, list_if_there(*storage_, directory_ + "/recoveries"));
  start.had_log = !start.runs.empty() || std::any_of(reports.begin(), reports.end(), [](const DirectoryEntry& entry) {
    return entry.name.ends_with(".json");  // written when a start had made its first log file
  });
  return {};
}

/// Its keys answer kDataLoss, everything else is served; the file stays where it is.
void Engine::lose_run(Start& start, const RunInfo& info, const char* case_name, const Status& why) {
  DamageEntry entry;
  entry.keyspace = info.keyspace;
  entry.keys = DamageEntry::Keys::kRange;
  entry.begin = info.smallest_key;
  entry.end = info.largest_key + '\0';
  entry.sequence_lo = info.min_sequence;
  entry.sequence_hi = info.max_sequence;
  entry.cause = case_name;
  entry.file = "runs/" + run_name(info.number);
  RecoveryFinding finding;
  finding.case_name = entry.cause;
  finding.file = entry.file;
  finding.bytes = info.file_bytes;
  finding.verdict = "corrupt";
  finding.action = "block_key_range";
  finding.first_sequence = entry.sequence_lo;
  finding.last_sequence = entry.sequence_hi;
  finding.detail = why.to_string();
  finding.damage_id = start.damage.add(std::move(entry));
  start.report.findings.push_back(std::move(finding));
  ++start.report.lost.stretches;
  start.report.lost.events += info.entries;
  start.report.lost.bytes += info.file_bytes;
}

void Engine::lose_keyspace(Start& start, const RunInfo& info, const std::string& why) {
  RunInfo everything = info;
  everything.smallest_key.clear();
  everything.largest_key = last_key_before("");
  everything.min_sequence = 1;
  everything.max_sequence = info.checkpoint_sequence;
  lose_run(start, everything, "compaction_lost", Status(Code::kDataLoss, why));
}

Status Engine::open_runs(Start& start) {
  for (const PlacedRun& placed : start.runs) {
    on_disk_[placed.info.number] = placed.info;
    if (is_marker(placed.info)) continue;
    ++start.report.files;
    Result<std::shared_ptr<LiveRun>> run = open_run(placed.info);
    if (run.ok()) {
      live_[placed.info.number] = std::move(*run);
      continue;
    }
    lose_run(start, placed.info, "run_lost", run.status());
  }
  if (generations_.empty()) {  // rebuilt, or new: what the runs are placed by
    Manifest rebuilt;
    rebuilt.runs = start.runs;
    generations_.push_back(std::move(rebuilt));
    start.no_generation = true;
  }
  auto state = std::make_shared<State>();
  auto catalog = std::make_shared<KeyspaceState>();
  catalog->id = kCatalogKeyspace;
  state->keyspaces.push_back(std::move(catalog));
  place_runs(*state, {kCatalogKeyspace});
  std::map<std::string, std::pair<Sequence, std::optional<std::string>>> names;
  std::set<std::uint64_t> hurt;
  state->find(kCatalogKeyspace)->runs.for_each([&](std::uint32_t, const LiveRun& run) {
    RunReader::Cursor cursor = run.reader->cursor();
    cursor.seek_first();
    for (;;) {
      for (; cursor.valid(); cursor.next()) {
        auto& newest = names[std::string(cursor.key())];
        if (cursor.sequence() < newest.first) continue;
        newest.first = cursor.sequence();
        newest.second = cursor.kind() == EntryKind::kPut ? std::optional(std::string(cursor.value())) : std::nullopt;
      }
      if (cursor.status().ok()) break;
      if (hurt.insert(run.info.number).second) lose_run(start, run.info, "catalogue_run_hurt", cursor.status());
      if (!cursor.damaged()) break;
      cursor.step_over();
    }
  });
  for (const PlacedRun& placed : start.runs) {
    if (placed.info.keyspace == kCatalogKeyspace && !is_marker(placed.info) && !live_.contains(placed.info.number))
      hurt.insert(placed.info.number);
  }
  publish_state(std::move(state));
  for (const auto& [key, value] : names) {
    if (value.second && key.size() == 4) apply_catalog(key, std::string_view(*value.second));
  }
  // Without the whole catalogue, what runs hold is served under a made-up name rather than denied.
  if (!hurt.empty() || start.damage.touches(kCatalogKeyspace, "", std::nullopt)) {
    for (const PlacedRun& placed : start.runs) {
      if (!is_marker(placed.info) && !current_->find(placed.info.keyspace)) {
        add_nameless_keyspace(placed.info.keyspace);
        RecoveryFinding finding;
        finding.case_name = "keyspace_name_lost";
        finding.file = "runs/" + run_name(placed.info.number);
        finding.verdict = "corrupt";
        finding.action = "serve_under_made_up_name";
        finding.detail = "keyspace " + std::to_string(placed.info.keyspace);
        start.report.findings.push_back(std::move(finding));
      }
    }
  }
  std::set<std::uint32_t> all;
  for (const auto& keyspace : current_->keyspaces) all.insert(keyspace->id);
  auto placed = std::make_shared<State>(*current_);
  place_runs(*placed, all);
  publish_state(std::move(placed));
  if (start.no_generation) generations_.clear();
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
  if (!generations_.empty()) input.next_segment = generations_.front().next_segment;
  input.started_before = start.had_log;
  input.attempts_directory = directory_ + "/recoveries";
  input.note_attempts = !options_.read_only && options_.recovery_policy != RecoveryPolicy::kRefuse;
  input.stop_at_loss = options_.recovery_policy == RecoveryPolicy::kPointInTime;
  if (options_.on_recovery_progress) {
    input.on_progress = [this](std::uint64_t done, std::uint64_t total) {
      options_.on_recovery_progress({"replay", done, total});
    };
  }
  DARUMA_TRY_ASSIGN(start.log, replay_log(*storage_, input,
                                          [this](std::span<const WalRecord> events, Attempts* at_hand)
                                              NO_THREAD_SAFETY_ANALYSIS { apply(events, at_hand); }));
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
    const auto lost = std::find_if(report.findings.begin(), report.findings.end(), [](const RecoveryFinding& finding) {
      const bool hurt = finding.verdict == "corrupt" || finding.verdict == "undecided" || finding.verdict == "poisoned";
      return hurt && finding.first_sequence != 0 && finding.action != "step_over";
    });
    const RecoveryFinding& first = lost != report.findings.end() ? *lost : report.findings.front();
    return {Code::kDataLoss,
            "acknowledged data is damaged, and the policy is to refuse: " + first.case_name,
            {.file = directory_ + "/" + first.file, .offset = first.offset, .sequence = first.first_sequence},
            "nothing was changed; open with RecoveryPolicy::kServe to serve what is whole"};
  }
  return {};
}

/// Copies what could not be used into quarantine.
void Engine::set_aside(Start& start) {
  for (const Generation& generation : start.catalogue.generations) {
    if (generation.rejected.ok()) continue;
    QuarantineEntry entry;
    entry.case_name = "rejected_manifest";
    entry.file = "snapshots/" + generation.name;
    entry.bytes = generation.file_bytes;
    entry.verdict = "corrupt";
    start.log.set_aside.push_back({std::move(entry), std::nullopt});
  }
  Quarantine quarantine(*storage_, directory_ + "/quarantine", store_id_);
  for (SetAside& aside : start.log.set_aside) {
    aside.entry.wall_ns = clock_.wall_ns();
    if (aside.contents) {
      const QuarantineEntry kept = quarantine.put(aside.entry, *aside.contents);
      for (RecoveryFinding& finding : start.report.findings) {
        if (finding.file == kept.file && finding.first_sequence == kept.first_sequence) finding.quarantine_id = kept.id;
      }
      continue;
    }
    Result<std::unique_ptr<File>> file = storage_->open(directory_ + "/" + aside.entry.file, OpenMode::kRead);
    for (std::uint64_t done = 0; done < aside.entry.bytes && file.ok();) {
      QuarantineEntry part = aside.entry;
      part.offset += done;
      std::string bytes(std::min(part.bytes - done, kSetAsideBytes), '\0');
      done += bytes.size();
      read_what_can_be_read(**file, part.offset, bytes);
      const QuarantineEntry kept = quarantine.put(std::move(part), bytes);
      for (RecoveryFinding& finding : start.report.findings) {
        if (finding.file == kept.file && finding.offset == kept.offset) finding.quarantine_id = kept.id;
      }
    }
  }
}

/// Evidence first into quarantine, then the damage into a manifest: only after that may the log move on.
Status Engine::set_damage(Start& start) {
  if (!options_.read_only) set_aside(start);
  const DamageMap before = start.damage;
  for (const DamageEntry& entry : start.log.lost) {
    const std::uint64_t id = start.damage.add(entry);
    if (entry.accepted) (void)start.damage.accept(id);
    for (RecoveryFinding& finding : start.report.findings) {
      if (finding.first_sequence == entry.sequence_lo && finding.damage_id == 0) finding.damage_id = id;
    }
  }
  if (!start.damage.entries().empty()) {  // accepted ones too: the next checkpoint must pass them on
    auto state = std::make_shared<State>(*current_);
    state->damage = std::make_shared<const DamageMap>(start.damage);
    publish_state(std::move(state));
  }
  if (options_.recovery_policy == RecoveryPolicy::kReadOnly && !start.damage.empty()) read_only_ = true;
  start.report.read_only = read_only_ || options_.read_only;
  if (options_.read_only) return {};
  // A generation that is missing or hurt is healed by publishing the next one.
  bool hurt = start.no_generation;
  for (std::size_t i = 0; i < std::min(kGenerationsKept, start.catalogue.generations.size()); ++i) {
    hurt = hurt || !start.catalogue.generations[i].rejected.ok() || !start.catalogue.generations[i].damaged.empty();
  }
  if (!hurt && start.damage == before) return {};

  Manifest next = next_generation();
  next.sequence = snapshot_sequence_;
  next.durable_sequence = std::max<Sequence>(snapshot_sequence_, start.log.proven);
  next.next_segment = std::max(next.next_segment, start.log.next_segment);
  next.runs = start.runs;
  next.damage.clear();
  start.damage.encode(next.damage);
  return publish_generation(std::move(next));
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

/// Removes what means nothing: files of jobs that a crash cut off, generations that were replaced. Only after a start
/// that lost nothing: else a run that no generation names may be the last evidence.
Status Engine::tidy(Start& start) {
  if (!start.report.clean()) return {};
  const std::string snapshots = directory_ + "/" + std::string(kManifestDirectory);
  bool removed = false;
  const auto remove = [&](const std::string& path) {
    removed = true;
    const Status status = storage_->remove(path);
    return status.is(Code::kNotFound) ? Status() : status;  // a publish of this start may have used up the name
  };
  for (const Generation& generation : start.catalogue.generations) {
    if (generation.rejected.ok()) continue;  // its bytes are in quarantine, the next generation is durable
    DARUMA_TRY(remove(snapshots + "/" + generation.name));
  }
  for (const std::string& name : start.catalogue.leftovers) {
    std::string path = snapshots;
    DARUMA_TRY(remove(path.append("/").append(name)));
  }
  if (removed) DARUMA_TRY(storage_->sync_directory(snapshots));

  for (const Manifest& generation : generations_) {
    for (const PlacedRun& placed : generation.runs) on_disk_.emplace(placed.info.number, placed.info);
  }
  const std::string runs = directory_ + "/" + std::string(kRunDirectory);
  removed = false;
  bool unnamed = generations_.size() > kGenerationsKept;
  for (const DirectoryEntry& entry : start.run_files) {
    const std::optional<std::uint64_t> number = run_number(entry.name);
    if (!number) {
      if (!entry.name.ends_with(kTemporarySuffix)) continue;  // not ours
      DARUMA_TRY(remove(runs + "/" + entry.name));
    } else if (!entry.is_directory && !on_disk_.contains(*number)) {
      unnamed = true;
      Result<RunDescription> description = describe_run(*storage_, runs + "/" + entry.name, store_id_, *number);
      RunInfo info;
      info.number = *number;
      on_disk_.emplace(*number, description.ok() ? description->info : info);
    }
  }
  if (removed) DARUMA_TRY(storage_->sync_directory(runs));
  return unnamed ? release() : Status();
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

}  // namespace daruma
