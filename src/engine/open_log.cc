// SPDX-License-Identifier: Apache-2.0
//
// The passes "replay", "set aside" and "start log": from the log as it was found to one that takes writes.
//
// What must stay true: evidence is in quarantine before the damage is in a manifest, and there before the log moves on;
// each step publishes something whole.
#include <algorithm>
#include <cstdio>

#include "base/status_macros.h"
#include "engine/start.h"
#include "run/run_format.h"
#include "snapshot/retention.h"

namespace daruma {

Status refusal(const std::string& directory, const RecoveryFinding& lost) {
  return {Code::kDataLoss,
          "acknowledged data is damaged, and the policy is to refuse: " + lost.case_name,
          {.file = directory + "/" + lost.file, .offset = lost.offset, .sequence = lost.first_sequence},
          "nothing was changed; open with RecoveryPolicy::kServe to serve what is whole"};
}

namespace {

constexpr std::uint64_t kSetAsideBytes = 16 << 20;  // most bytes of one quarantine entry

/// Bytes that the device refuses stay zero: what it does give is kept.
void read_what_can_be_read(File& file, std::uint64_t offset, std::string& bytes) {
  if (Result<std::size_t> got = file.read(offset, bytes); got.ok()) return bytes.resize(*got);
  for (std::size_t at = 0; at < bytes.size(); at += kSectorBytes) {
    const std::size_t size = std::min(kSectorBytes, bytes.size() - at);
    if (!file.read(offset + at, std::span(bytes.data() + at, size)).ok()) std::fill_n(bytes.data() + at, size, '\0');
  }
}

std::string hex(const StoreId& id) {
  char text[33];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(id.high),
                static_cast<unsigned long long>(id.low));
  return text;
}

}  // namespace

Status Engine::replay(Start& start) {
  LogReplayInput input;
  input.directory = directory_;
  if (start.catalogue.store) input.store = start.catalogue.store;
  input.snapshot_sequence = snapshot_sequence_;
  for (const Manifest& manifest : generations_) {
    input.snapshot_durable = std::max(input.snapshot_durable, manifest.durable_sequence);
    input.next_segment = std::max(input.next_segment, manifest.next_segment);
  }
  input.known = &start.damage;
  if (generations_.size() >= kGenerationsKept) input.log_needed_from = generations_[kGenerationsKept - 1].sequence + 1;
  input.copy_refused = copy_refused_;
  input.target = target_;
  input.started_before = start.had_log;
  input.attempts_directory = directory_ + "/recoveries";
  input.note_attempts = !options_.read_only && options_.recovery_policy != RecoveryPolicy::kRefuse;
  input.read_ahead = threads_;
  input.beside_reading = [this] { arena_blocks_->stock(); };
  input.stop_at_loss = options_.recovery_policy == RecoveryPolicy::kPointInTime;
  if (options_.on_recovery_progress) {
    input.on_progress = [this](std::uint64_t done, std::uint64_t total) {
      options_.on_recovery_progress({"replay", done, total});
    };
  }
  const auto take = [&](std::span<const WalRecord> events, Attempts* at_hand) NO_THREAD_SAFETY_ANALYSIS {
    if (start.may_lack_load) note_loads(start, events);
    apply(events, at_hand);
  };
  DARUMA_TRY_ASSIGN(start.log, replay_log(*storage_, input, take));
  LogReplay& log = start.log;
  lose_loads(start);
  DARUMA_TRY(at_target(start));
  found_.durable = log.proven;
  found_.segments = log.segments;
  for (const LiveSegment& segment : log.segments) found_.log_bytes += segment.disk_bytes();
  start.pass_bytes = log.bytes_read;
  start.found_anything = start.found_anything || log.store.has_value();
  if (log.store) {
    store_id_ = *log.store;
  } else if (!start.catalogue.store) {
    // Files are there and the device gives none of them: not a store that has yet to be made.
    for (const Status& unreadable : {start.unreadable, log.unreadable}) {
      if (!unreadable.ok())
        return {Code::kIoError, "nothing of the store can be read: " + unreadable.message(), unreadable.where(),
                "nothing was changed; open it again when the device answers"};
    }
    store_id_ = {random_.next(), random_.next()};
    start.report.created = true;
  }
  copy_refused_ = log.copy_refused;
  log_hurt_.store(log.log_hurt, std::memory_order_relaxed);
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
    return refusal(directory_, lost != report.findings.end() ? *lost : report.findings.front());
  }
  return {};
}

void Engine::note_loads(Start& start, std::span<const WalRecord> events) {
  for (const WalRecord& record : events) {
    (void)walk_event(record.event, [&](const Op& op) {
      if (op.keyspace == kCatalogKeyspace && op.kind == OpKind::kEraseRange && catalog_id(op.key) == kLoadedKey)
        start.loads.emplace_back(record.sequence, catalog_id(op.end));
    });
  }
}

/// The log names a load and has none of its records, and nothing that is left tells whether the snapshot has them.
void Engine::lose_loads(Start& start) {
  for (const auto& [sequence, range] : start.log.lost_marks) {
    if (start.may_lack_load && range.keyspace == kCatalogKeyspace && range.begin == catalog_key(kLoadedKey))
      start.loads.emplace_back(sequence, catalog_id(range.end));
  }
  for (const auto& [sequence, id] : start.loads) {
    if (!current_->find(id)) continue;  // dropped since
    DamageEntry entry;
    entry.keyspace = id;
    entry.sequence_lo = entry.sequence_hi = sequence;
    entry.cause = "load_lost";
    entry.file = kRunDirectory;
    RecoveryFinding finding;
    finding.case_name = entry.cause;
    finding.file = entry.file;
    finding.verdict = "undecided";
    finding.action = "block_keyspace";
    finding.first_sequence = finding.last_sequence = sequence;
    finding.detail = "the records of a bulk load, which manifests that cannot be used may name";
    start.report.findings.push_back(std::move(finding));
    ++start.report.lost.stretches;
    start.log.lost.push_back(std::move(entry));
  }
}

/// Copies what could not be used into quarantine.
Status Engine::set_aside(Start& start) {
  for (const Generation& generation : start.catalogue.generations) {
    if (generation.rejected.ok()) continue;
    QuarantineEntry entry;
    entry.case_name = "rejected_manifest";
    entry.file = "snapshots/" + generation.name;
    entry.bytes = generation.file_bytes;
    entry.verdict = "corrupt";
    start.log.set_aside.push_back({std::move(entry), std::nullopt});
  }
  if (!start.report.clean() && !start.no_generation) set_unnamed_aside(start);
  Quarantine quarantine(*storage_, directory_ + "/quarantine", store_id_);
  for (SetAside& aside : start.log.set_aside) {
    start.pass_bytes += aside.contents ? aside.contents->size() : aside.entry.bytes;
    aside.entry.wall_ns = clock_.wall_ns();
    if (aside.contents) {
      const QuarantineEntry kept = quarantine.put(aside.entry, *aside.contents);
      for (RecoveryFinding& finding : start.report.findings) {
        if (finding.file == kept.file && finding.first_sequence == kept.first_sequence) finding.quarantine_id = kept.id;
      }
      continue;
    }
    Result<std::unique_ptr<File>> file = storage_->open(directory_ + "/" + aside.entry.file, OpenMode::kRead);
    if (is_of_the_process(file.status())) return file.status();
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
  return {};
}

/// Runs that no generation names go before the next job (catalogue.h, rule 2), and may hold what was lost.
void Engine::set_unnamed_aside(Start& start) {
  std::set<std::uint64_t> named;
  for (const Manifest* generation : kept_generations()) {
    for (const PlacedRun& placed : generation->runs) named.insert(placed.info.number);
  }
  for (const DirectoryEntry& run : start.run_files) {
    const std::optional<std::uint64_t> number = run_number(run.name);
    if (!number || run.is_directory || named.contains(*number)) continue;
    RecoveryFinding finding;
    finding.case_name = "unnamed_run";
    finding.file = std::string(kRunDirectory) + "/" + run.name;
    finding.bytes = run.bytes;
    finding.verdict = "stale";
    finding.action = "set_aside";
    QuarantineEntry entry;
    entry.case_name = finding.case_name;
    entry.file = finding.file;
    entry.bytes = finding.bytes;
    entry.verdict = finding.verdict;
    start.report.findings.push_back(std::move(finding));
    start.log.set_aside.push_back({std::move(entry), std::nullopt});
  }
}

/// Lost events may have created keyspaces, and their ids are never given again. What stands for it is in the memtable
/// as if the last event had said so: until a checkpoint every start says it anew, since the damage map has the losses.
void Engine::skip_lost_ids(const DamageMap& lost) {
  constexpr std::uint32_t kIdsOfOneLoss = 1 << 16;  // more than a lost stretch of log can have created
  const std::string key = catalog_key(kNextIdKey);
  const Sequence known = newest_in_catalog(key);
  std::uint32_t next = next_keyspace_;
  for (DamageEntry entry : lost.entries()) {
    DamageMap alone;
    entry.accepted = false;
    alone.add(std::move(entry));
    if (alone.blocks(kCatalogKeyspace, key, known) && next < kNextIdKey - kIdsOfOneLoss) next += kIdsOfOneLoss;
  }
  if (next == next_keyspace_) return;
  apply_op(std::max<Sequence>(last_, 1), {OpKind::kPut, kCatalogKeyspace, key, catalog_key(next), {}});
}

/// Evidence first into quarantine, then the damage into a manifest: only after that may the log move on.
Status Engine::set_damage(Start& start) {
  if (!looks_only()) DARUMA_TRY(set_aside(start));
  const DamageMap before = start.damage;
  for (const std::uint64_t id : start.log.found_again) {
    start.found_again = start.damage.remove(id);
    ++start.report.losses_found_again;
  }
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
    skip_lost_ids(start.damage);
  }
  if (options_.recovery_policy == RecoveryPolicy::kReadOnly && !start.damage.empty()) read_only_ = true;
  start.report.read_only = read_only_ || options_.read_only;
  if (looks_only()) return {};
  // A generation that is missing or hurt is healed by publishing the next one.
  bool hurt = start.no_generation || start.found_again || start.lacks_load || start.half_told;
  for (std::size_t i = 0; i < std::min(kGenerationsKept, start.catalogue.generations.size()); ++i) {
    hurt = hurt || !start.catalogue.generations[i].rejected.ok() || !start.catalogue.generations[i].damaged.empty();
  }
  if (!hurt && start.damage == before) {
    // The start that published the damage may have died before the copy had it.
    if (!start.damage.entries().empty()) copy_newest_generation();
    return {};
  }

  const auto with_damage = [&](Sequence at, std::vector<PlacedRun> runs, const auto& names) NO_THREAD_SAFETY_ANALYSIS {
    Manifest next = next_generation();
    next.sequence = at;
    next.catalog = names;
    next.durable_sequence = std::max<Sequence>(snapshot_sequence_, start.log.proven);
    next.next_segment = std::max(next.next_segment, start.log.next_segment);
    next.runs = std::move(runs);
    next.damage.clear();
    start.damage.encode(next.damage);
    start.pass_bytes += next.damage.size();
    return next;
  };
  // The generation that is kept beside the next one must know of the loss too: nothing else tells of it for ever.
  if (start.damage != before && !generations_.empty()) {
    const Manifest* older = &generations_[older_to_keep(generations_)];
    if (older->sequence > snapshot_sequence_) older = &generations_.front();  // it was refused when this state began
    DARUMA_TRY(publish_uncopied(with_damage(older->sequence, older->runs, older->catalog), {}));
  }
  return publish_generation(with_damage(snapshot_sequence_, start.runs, snapshot_catalog_), {});
}

Status Engine::start_log(Start& start) {
  LogReplay& log = start.log;
  std::vector<WalRecord> persist;
  persist.reserve(log.persist.size());
  for (const auto& [sequence, event] : log.persist) {
    persist.push_back({sequence, event});
    start.pass_bytes += event.size();
  }
  WalCreate create;
  create.directory = directory_;
  create.store = store_id_;
  create.next_segment = log.next_segment;
  for (const Manifest& manifest : generations_)
    create.next_segment = std::max(create.next_segment, manifest.next_segment);
  create.next_segment += start.log_tries++;  // of one that failed something may stand under its name
  create.start_sequence = log.proven + 1;
  create.predecessor = log.predecessor;
  create.earlier = log.earlier;
  create.persist = persist;
  create.older_segments = log.segments;
  create.copy_refused = copy_refused_;
  WalOptions options;
  options.segment_bytes = options_.segment_bytes;
  options.ring_bytes = options_.ring_bytes;
  options.copies = options_.wal_copies;
  DARUMA_TRY_ASSIGN(wal_, WalWriter::create(storage_, options, create, clock_, random_));
  wal_->on_no_space([this] { return yield_space(); });
  log.persist.clear();
  return {};
}

}  // namespace daruma
