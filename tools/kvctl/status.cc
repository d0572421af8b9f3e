// SPDX-License-Identifier: Apache-2.0
//
// status: where the store stands, at once. Reads names, manifests, segment headers, two sectors of the tail ring, the
// quarantine's ledger and the last report; replays nothing and needs no lock, so it answers beside a writer and however
// long the log is.
#include <fmt/format.h>

#include <algorithm>

#include "engine/jobs.h"
#include "kvctl/live.h"
#include "recovery/quarantine.h"

namespace daruma::kvctl {

namespace {

/// What the ring's live slot says is durable in the log; 0: not known.
Sequence ring_durable(const StoreFiles& files, std::uint64_t nonce) {
  auto file = files.storage().open(files.path("wal/" + tail_name(nonce)), OpenMode::kRead);
  if (!file.ok())
    file =
        files.storage().open(files.path(fmt::format("{}/{}", kLogDirectories[1], tail_name(nonce))), OpenMode::kRead);
  if (!file.ok()) return 0;
  std::string sectors(kTailDataAt, '\0');
  const auto got = (*file)->read(0, sectors);
  if (!got.ok() || *got < sectors.size()) return 0;
  const std::string_view bytes = sectors;
  const auto header = decode_tail_header(bytes.substr(0, kSectorBytes), files.store());
  if (!header.ok() || header->nonce != nonce) return 0;
  TailSlot newest;
  for (unsigned i = 0; i < 2; ++i) {
    const auto slot = decode_tail_slot(*header, i, bytes.substr(kSectorBytes + i * kTailSlotBytes));
    if (slot && slot->counter > newest.counter) newest = *slot;
  }
  return newest.sequence;
}

struct LogState {
  std::uint64_t segments = 0;
  std::uint64_t bytes = 0;
  std::uint64_t twice = 0;           ///< of the segments, that stand in wal-copy/ too
  std::uint64_t missing_copies = 0;  ///< that should, and are in one directory only
  std::uint64_t replay_segments = 0;
  std::uint64_t replay_bytes = 0;  ///< at most: the last segment has all its room from the start
  Sequence durable = 0;            ///< at least
};

LogState log_state(const StoreFiles& files, const std::vector<SegmentFile>& segments) {
  LogState log;
  log.durable = files.snapshot_sequence();
  for (const SegmentFile& segment : segments) {
    ++log.segments;
    log.bytes += segment.bytes;
    if (segment.files.size() > 1) ++log.twice;
    if (segment.header && segment.header->copied() && segment.files.size() == 1 && segment.needed) ++log.missing_copies;
    if (segment.header) {
      log.durable = std::max({log.durable, segment.header->start_sequence - 1, segment.header->prepared_sequence});
      if (&segment == &segments.back())
        log.durable = std::max(log.durable, ring_durable(files, segment.header->tail_nonce));
    }
    if (!segment.needed) continue;
    ++log.replay_segments;
    log.replay_bytes += segment.bytes;
  }
  return log;
}

std::string last_start_text(const RecoveryReport& report) {
  const auto what = [](const char* name, const RecoveryLoss& loss) {
    return loss.stretches == 0 ? std::string() : fmt::format(", {} events {}", count_text(loss.events), name);
  };
  return fmt::format("#{} {}: {} in {}, {} events replayed{}{}{}{}", report.start_number,
                     time_text(report.started_wall_ns), report.outcome, duration_text(report.total_ns),
                     count_text(report.events_replayed), what("healed", report.healed),
                     what("discarded (never acknowledged)", report.discarded), what("lost (acknowledged)", report.lost),
                     report.clean() ? ", nothing lost" : "");
}

/// What starts of this store were seen to take, as the newest manifest keeps it.
void tell_start(const StoreFiles& files, std::int64_t last_ns, Json& json, std::string& text) {
  const Manifest* newest = files.catalogue().newest();
  const std::string_view options = newest != nullptr ? std::string_view(newest->options) : std::string_view();
  RecoveryBudget budget(static_cast<std::int64_t>(option_in(options, "recovery_budget_ms").value_or(1000)) * 1'000'000);
  budget.set_costs(costs_in(options, {}));
  const std::int64_t open_ns = budget.open_ns(newest != nullptr ? newest->runs.size() : 0);
  json["recovery"] = {{"budget_ns", budget.budget_ns()},
                      {"estimated_open_ns", open_ns},
                      {"replay_bytes_per_second", budget.costs().replay_bytes_per_second},
                      {"last_actual_ns", last_ns > 0 ? Json(last_ns) : Json()}};
  text = fmt::format("an estimated {} and the replay, at {}/s; the budget is {}", duration_text(open_ns),
                     bytes_text(budget.costs().replay_bytes_per_second), duration_text(budget.budget_ns()));
  if (last_ns > 0) text += fmt::format(", the last one took {}", duration_text(last_ns));
}

}  // namespace

Result<Outcome> status_outcome(Context& context) {
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kNone));
  Outcome outcome;
  std::vector<std::pair<std::string, std::string>> lines;
  std::vector<Problem> problems = files.manifest_problems();

  const std::string writer = writer_of(files.directory());
  Json& json = outcome.json;
  Context::put_bytes(json, "directory", files.directory(), std::nullopt);
  json["store"] = files.store() ? Json(store_id_text(*files.store())) : Json();
  json["writer"] = writer.empty() ? Json() : Json(writer);
  lines.emplace_back("store", fmt::format("{}  id {}", encode(Encoding::kEscaped, files.directory()),
                                          files.store() ? store_id_text(*files.store()) : "not known"));
  lines.emplace_back("writer", writer.empty() ? "none" : writer + " has it open");

  std::size_t generations = 0;
  std::size_t rejected = 0;
  for (const Generation& g : files.catalogue().generations) ++(g.manifest ? generations : rejected);
  json["generations"] = generations;
  if (const Manifest* newest = files.catalogue().newest()) {
    json["snapshot"] = {{"number", newest->number},
                        {"sequence", newest->sequence},
                        {"created", time_text(newest->created_wall_ns)},
                        {"runs", newest->runs.size()}};
    lines.emplace_back("snapshot", fmt::format("#{} at sequence {}, {}; {} generations{}", newest->number,
                                               newest->sequence, time_text(newest->created_wall_ns), generations,
                                               rejected > 0 ? fmt::format(", {} rejected", rejected) : ""));
  } else {
    json["snapshot"] = nullptr;
    lines.emplace_back("snapshot", "none");
  }

  const std::vector<SegmentFile> segments = files.segments(problems);
  const LogState log = log_state(files, segments);
  json["sequence_at_least"] = log.durable;
  json["log"] = {{"segments", log.segments},
                 {"bytes", log.bytes},
                 {"segments_twice", log.twice},
                 {"missing_copies", log.missing_copies},
                 {"replay_segments", log.replay_segments},
                 {"replay_bytes_at_most", log.replay_bytes},
                 {"replay_events_at_least", log.durable - files.snapshot_sequence()}};
  if (log.twice + log.missing_copies > 0) {
    lines.emplace_back("log copy", fmt::format("{} segments stand in wal-copy too, {} that should stand twice do not",
                                               log.twice, log.missing_copies));
  }
  lines.emplace_back("log",
                     fmt::format("{} segments, {}; a start replays at most {}, at least {} events, to sequence {}",
                                 log.segments, bytes_text(log.bytes), bytes_text(log.replay_bytes),
                                 count_text(log.durable - files.snapshot_sequence()), log.durable));

  std::uint64_t in_use = 0;
  std::uint64_t run_bytes = 0;
  std::uint64_t run_files = 0;
  const Manifest* newest = files.catalogue().newest();
  for (const RunFile& run : files.runs(false, problems)) {
    if (!run.missing) ++run_files;
    run_bytes += run.bytes;
    if (newest != nullptr && !run.generations.empty() && run.generations.front() == newest->number) ++in_use;
  }
  json["runs"] = {{"in_use", in_use}, {"files", run_files}, {"bytes", run_bytes}};
  lines.emplace_back("runs", fmt::format("{} in use, {} files, {}", in_use, run_files, bytes_text(run_bytes)));

  std::uint64_t kept = 0;
  std::uint64_t open = 0;
  std::uint64_t kept_bytes = 0;
  if (files.store()) {
    const Quarantine quarantine(files.storage(), files.path("quarantine"), *files.store());
    for (const QuarantineEntry& entry : quarantine.list()) {
      ++kept;
      kept_bytes += entry.bytes;
      if (entry.resolution == QuarantineEntry::Resolution::kOpen) ++open;
    }
  }
  json["quarantine"] = {{"entries", kept}, {"open", open}, {"bytes", kept_bytes}};
  lines.emplace_back(
      "quarantine", kept == 0 ? "nothing" : fmt::format("{} entries, {} open, {}", kept, open, bytes_text(kept_bytes)));

  std::uint64_t blocking = 0;
  for (const DamageEntry& entry : files.damage().entries()) blocking += entry.accepted ? 0 : 1;
  json["damage"] = {{"blocking", blocking}, {"accepted", files.damage().entries().size() - blocking}};
  lines.emplace_back(
      "damage", blocking == 0 ? context.paint("green", "no answer is in doubt")
                              : context.paint("red", fmt::format("{} losses block reads; kvctl damage ls", blocking)));

  json["last_start"] = nullptr;
  std::string last = "no report";
  std::int64_t last_ns = 0;  // until the first read
  std::vector<ReportFile> reports = files.reports(problems);
  for (; !reports.empty(); reports.pop_back()) {
    auto report = files.read_report(reports.back());
    if (report.status().is(Code::kNotFound)) continue;
    if (!report.ok()) {
      problems.push_back(files.problem("report", "recoveries/" + reports.back().name, report.status()));
      continue;
    }
    json["last_start"] = {{"number", report->start_number},
                          {"time", time_text(report->started_wall_ns)},
                          {"outcome", report->outcome},
                          {"clean", report->clean()},
                          {"duration_ns", report->total_ns},
                          {"events_replayed", report->events_replayed},
                          {"events_lost", report->lost.events},
                          {"events_discarded", report->discarded.events},
                          {"findings", report->findings.size() + report->findings_dropped}};
    last = last_start_text(*report);
    last_ns = report->time_to_first_read_ns;
    break;
  }
  lines.emplace_back("last start", last);
  std::string start;
  tell_start(files, last_ns, json, start);
  lines.emplace_back("next start", start);

  json["live"] = nullptr;
  if (const auto live = read_live(files.directory()); live.ok()) {
    const Metrics& m = live->metrics;
    json["live"] = {{"level", health_level_name(m.health.level)},
                    {"sequence", m.stats.sequence},
                    {"durable_sequence", m.stats.durable_sequence},
                    {"recovery_debt_ns", m.health.debt.estimated_ns},
                    {"age_ns", *live->age_ns}};
    lines.emplace_back("live",
                       fmt::format("{}, sequence {}, durable to {}, a kill costs an estimated {}; {}",
                                   health_level_name(m.health.level), m.stats.sequence, m.stats.durable_sequence,
                                   duration_text(m.health.debt.estimated_ns), age_text(*live)));
  }
  json["problems"] = Json::array();
  for (const Problem& problem : problems) json["problems"].push_back(problem_json(problem));
  for (const auto& [name, text] : lines) outcome.text += fmt::format("{:<11} {}\n", name, text);
  for (const Problem& problem : problems) outcome.text += problem_text(context, problem);
  outcome.error = corruption(problems, files.directory());
  if (outcome.error.ok() && blocking > 0) {
    outcome.exit = kExitLoss;
    outcome.error = Status(Code::kDataLoss, "acknowledged data was lost and not given up", {},
                           "kvctl damage ls tells which keys; kvctl damage accept gives a loss up");
  }
  return outcome;
}

void register_status(CLI::App& app, Context& context) {
  add_command(app, context, "status", "Where the store stands, at once: replays nothing, takes no lock", status_outcome)
      ->footer(
          "Examples:\n  kvctl -d orders status\n  kvctl -d orders status --json | jq .log.replay_bytes_at_most\n"
          "Exit code 4: something does not verify; 5: an acknowledged loss blocks reads.");
}

}  // namespace daruma::kvctl
