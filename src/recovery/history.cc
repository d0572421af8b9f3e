// SPDX-License-Identifier: Apache-2.0
#include "recovery/history.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "base/status_macros.h"
#include "recovery/playbook.h"

namespace daruma {
namespace {

constexpr std::uint64_t kIncidentBytesMax = 1 << 20;
constexpr std::string_view kCreated = "created";

RecoveriesOf& of(std::vector<RecoveriesOf>& all, std::string_view cause) {
  const auto known = std::find_if(all.begin(), all.end(), [&](const RecoveriesOf& r) { return r.cause == cause; });
  if (known != all.end()) return *known;
  all.emplace_back().cause = cause;
  return all.back();
}

void add(RecoveryLoss& sum, const RecoveryLoss& more) {
  sum.stretches += more.stretches;
  sum.events += more.events;
  sum.bytes += more.bytes;
}

void write(JsonWriter& json, std::string_view name, const std::vector<RecoveriesOf>& all) {
  json.key(name).begin_array();
  for (const RecoveriesOf& each : all) {
    json.begin_object().member("cause", each.cause).member("failed", each.failed).member("needless", each.needless);
    json.member("down_ns", each.down_ns).member("sum_ns", each.time.sum_ns).key("counts").begin_array();
    for (const std::uint64_t count : each.time.counts) json.value(count);
    json.end().end();
  }
  json.end();
}

std::vector<RecoveriesOf> recoveries_of(const JsonValue& json) {
  std::vector<RecoveriesOf> all;
  for (const JsonValue& each : json.items()) {
    RecoveriesOf& r = all.emplace_back();
    r.cause = each.at("cause").text();
    r.failed = each.at("failed").number();
    r.needless = each.at("needless").number();
    r.down_ns = each.at("down_ns").signed_number();
    r.time.sum_ns = each.at("sum_ns").signed_number();
    const std::vector<JsonValue>& counts = each.at("counts").items();
    for (std::size_t i = 0; i < std::min(counts.size(), r.time.counts.size()); ++i)
      r.time.counts[i] = counts[i].number();
  }
  return all;
}

RecoveryLoss loss_of(const JsonValue& json) {
  return {json.at("stretches").number(), json.at("events").number(), json.at("bytes").number()};
}

Result<JsonValue> parse_object(std::string_view text, const char* otherwise) {
  DARUMA_TRY_ASSIGN(JsonValue json, parse_json(text));
  if (!json.is_object()) return Status(Code::kCorruption, otherwise, {.file = {}, .offset = 0});
  return json;
}

std::uint64_t sum(const std::vector<RecoveriesOf>& all, std::uint64_t RecoveriesOf::*member) {
  std::uint64_t n = 0;
  for (const RecoveriesOf& each : all) n += each.*member;
  return n;
}

std::uint64_t count_of(const std::vector<RecoveriesOf>& all) {
  std::uint64_t n = 0;
  for (const RecoveriesOf& each : all) n += each.time.count();
  return n;
}

}  // namespace

// --- sums ------------------------------------------------------------------------------------------------------------

void DurationHistogram::add(std::int64_t duration_ns) {
  const auto at = std::lower_bound(kBoundsNs.begin(), kBoundsNs.end(), duration_ns);
  ++counts[static_cast<std::size_t>(at - kBoundsNs.begin())];
  sum_ns += std::max<std::int64_t>(duration_ns, 0);
}

std::uint64_t DurationHistogram::count() const {
  std::uint64_t n = 0;
  for (const std::uint64_t of_bucket : counts) n += of_bucket;
  return n;
}

DurationHistogram RecoveryHistory::starts_time() const {
  DurationHistogram all;
  for (const RecoveriesOf& each : by_cause) {
    if (each.cause == kCreated) continue;
    for (std::size_t i = 0; i < all.counts.size(); ++i) all.counts[i] += each.time.counts[i];
    all.sum_ns += each.time.sum_ns;
  }
  return all;
}

double RecoveryHistory::success_ratio() const {
  const std::uint64_t all = starts_time().count() + starts_died + count_of(incidents);
  if (all == 0) return 1;
  const std::uint64_t failed =
      sum(by_cause, &RecoveriesOf::failed) + starts_died + sum(incidents, &RecoveriesOf::failed);
  return static_cast<double>(all - std::min(all, failed)) / static_cast<double>(all);
}

double RecoveryHistory::false_positive_ratio() const {
  const std::uint64_t told = count_of(incidents) + lost.stretches;
  const std::uint64_t wrong = sum(incidents, &RecoveriesOf::needless) + losses_found_again;
  if (wrong == 0) return 0;
  return wrong >= told ? 1 : static_cast<double>(wrong) / static_cast<double>(told);
}

std::string cause_of(const RecoveryReport& report) {
  if (report.created) return std::string(kCreated);
  if (!report.clean()) return "loss";
  // What only the ring holds is how a killed process leaves its newest events; nothing is hurt.
  const bool hurt = std::any_of(report.findings.begin(), report.findings.end(), [](const RecoveryFinding& f) {
    return (f.verdict == "healed" && f.case_name != "stretch_in_ring") || f.verdict == "corrupt";
  });
  if (hurt) return "damage";
  return report.same_boot ? "kill" : "power_cut";
}

void count(RecoveryHistory& history, const RecoveryReport& report) {
  if (history.since_wall_ns == 0) history.since_wall_ns = report.started_wall_ns;
  ++history.starts;
  history.starts_died += report.starts_died;
  RecoveriesOf& cause = of(history.by_cause, report.cause);
  cause.failed += !report.clean() || report.outcome.find(": ") != std::string::npos;
  cause.time.add(report.time_to_first_read_ns);
  if (report.last_sign_of_life_wall_ns != 0)
    cause.down_ns += std::max<std::int64_t>(0, report.started_wall_ns - report.last_sign_of_life_wall_ns);
  history.events_replayed += report.events_replayed;
  history.bytes_replayed += report.bytes_replayed;
  add(history.lost, report.lost);
  add(history.discarded, report.discarded);
  add(history.healed, report.healed);
  history.losses_found_again += report.losses_found_again;
  history.keyspace_ratio_max = std::max(history.keyspace_ratio_max, report.blast_radius.keyspace_ratio());
  history.entry_ratio_max = std::max(history.entry_ratio_max, report.blast_radius.entry_ratio());
}

void count(RecoveryHistory& history, const Incident& incident) {
  history.last_incident = std::max(history.last_incident, incident.id);
  if (incident.cause.is(Code::kAborted)) return;
  RecoveriesOf& kind = of(history.incidents, incident.failure);
  kind.failed += incident.outcome != "resolved";
  kind.needless += incident.outcome == "resolved" && incident.steps.empty();
  std::int64_t took = incident.ended_wall_ns - incident.began_wall_ns;
  if (incident.ended_wall_ns == 0) {
    took = 0;  // until its process died: at least its steps
    for (const Incident::Step& step : incident.steps) took += step.duration_ns;
  }
  kind.time.add(std::max<std::int64_t>(took, 0));
}

// --- files -----------------------------------------------------------------------------------------------------------

std::string report_name(std::uint64_t start_number) {
  char text[32];
  std::snprintf(text, sizeof text, "%016llu.json", static_cast<unsigned long long>(start_number));
  return text;
}

std::optional<std::uint64_t> report_number(std::string_view name) {
  constexpr std::string_view kEnd = ".json";
  if (!name.ends_with(kEnd)) return std::nullopt;
  name.remove_suffix(kEnd.size());
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return number;
}

PastRecoveries read_past(Storage& storage, const std::string& directory, std::uint64_t below) {
  PastRecoveries past;
  const Result<std::vector<DirectoryEntry>> names = storage.list(directory);
  if (!names.ok()) return past;
  const auto seen = [&](std::int64_t wall_ns) { past.last_seen_wall_ns = std::max(past.last_seen_wall_ns, wall_ns); };
  for (std::size_t at = names->size(); at-- > 0;) {  // by name, so the newest first
    const DirectoryEntry& entry = (*names)[at];
    if (entry.is_directory || report_number(entry.name).value_or(below) >= below) continue;
    const Result<std::string> text = read_whole(storage, directory + "/" + entry.name, kReportBytesMax);
    const Result<RecoveryReport> report = text.ok() ? parse_report(*text) : Result<RecoveryReport>(text.status());
    if (!report.ok()) continue;
    seen(report->started_wall_ns + report->total_ns);
    past.history = report->history;
    if (past.history.starts == 0) count(past.history, *report);  // of a version that kept no sums
    break;
  }
  for (const DirectoryEntry& entry : *names) {
    if (entry.is_directory || !is_incident_file(entry.name)) continue;
    if (entry.name <= incident_file(past.history.last_incident)) continue;
    const Result<std::string> text = read_whole(storage, directory + "/" + entry.name, kIncidentBytesMax);
    const Result<Incident> incident = text.ok() ? parse_incident(*text) : Result<Incident>(text.status());
    if (!incident.ok()) continue;
    count(past.history, *incident);
    seen(std::max({incident->began_wall_ns, incident->ended_wall_ns, incident->over_wall_ns}));
  }
  return past;
}

// --- JSON ------------------------------------------------------------------------------------------------------------

void write(JsonWriter& json, std::string_view name, const RecoveryLoss& loss) {
  json.key(name).begin_object().member("stretches", loss.stretches).member("events", loss.events);
  json.member("bytes", loss.bytes).end();
}

void write(JsonWriter& json, std::string_view name, const BlastRadius& radius) {
  json.key(name).begin_object().member("keyspaces", radius.keyspaces).member("keyspaces_hurt", radius.keyspaces_hurt);
  json.member("entries", radius.entries).member("entries_hurt", radius.entries_hurt).end();
}

void write(JsonWriter& json, std::string_view name, const RecoveryHistory& history) {
  json.key(name).begin_object();
  json.member("since_wall_ns", history.since_wall_ns).member("starts", history.starts);
  json.member("starts_died", history.starts_died);
  write(json, "by_cause", history.by_cause);
  write(json, "incidents", history.incidents);
  json.member("events_replayed", history.events_replayed).member("bytes_replayed", history.bytes_replayed);
  write(json, "lost", history.lost);
  write(json, "discarded", history.discarded);
  write(json, "healed", history.healed);
  json.member("losses_found_again", history.losses_found_again);
  json.member("keyspace_ratio_max", history.keyspace_ratio_max).member("entry_ratio_max", history.entry_ratio_max);
  json.member("last_incident", history.last_incident).end();
}

RecoveryHistory history_of(const JsonValue& json) {
  RecoveryHistory h;
  h.since_wall_ns = json.at("since_wall_ns").signed_number();
  h.starts = json.at("starts").number();
  h.starts_died = json.at("starts_died").number();
  h.by_cause = recoveries_of(json.at("by_cause"));
  h.incidents = recoveries_of(json.at("incidents"));
  h.events_replayed = json.at("events_replayed").number();
  h.bytes_replayed = json.at("bytes_replayed").number();
  h.lost = loss_of(json.at("lost"));
  h.discarded = loss_of(json.at("discarded"));
  h.healed = loss_of(json.at("healed"));
  h.losses_found_again = json.at("losses_found_again").number();
  h.keyspace_ratio_max = json.at("keyspace_ratio_max").real();
  h.entry_ratio_max = json.at("entry_ratio_max").real();
  h.last_incident = json.at("last_incident").text();
  return h;
}

BlastRadius blast_radius_of(const JsonValue& json) {
  BlastRadius radius;
  radius.keyspaces = json.at("keyspaces").number();
  radius.keyspaces_hurt = json.at("keyspaces_hurt").number();
  radius.entries = json.at("entries").number();
  radius.entries_hurt = json.at("entries_hurt").number();
  return radius;
}

Status status_of(const JsonValue& json) {
  if (!json.is_object()) return {};
  Code code = Code::kUnavailable;
  for (int i = 1; i <= static_cast<int>(Code::kOutOfMemory); ++i) {
    if (json.at("code").text() == code_name(static_cast<Code>(i))) code = static_cast<Code>(i);
  }
  return {code, json.at("message").text(), {.file = json.at("file").text()}, json.at("hint").text()};
}

Result<RecoveryReport> parse_report(std::string_view text) {
  DARUMA_TRY_ASSIGN(const JsonValue json, parse_object(text, "this is no recovery report"));
  RecoveryReport r;
  r.start_number = json.at("start_number").number();
  r.store = json.at("store").text();
  r.policy = json.at("policy").text();
  r.started_wall_ns = json.at("started_wall_ns").signed_number();
  r.created = json.at("created").boolean();
  r.same_boot = json.at("same_boot").boolean();
  r.cause = json.at("cause").text();
  r.last_sign_of_life_wall_ns = json.at("last_sign_of_life_wall_ns").signed_number();
  r.starts_died = json.at("starts_died").number();
  for (const JsonValue& pass : json.at("passes").items())
    r.passes.push_back({pass.at("name").text(), pass.at("duration_ns").signed_number(), pass.at("bytes").number()});
  r.files = json.at("files").number();
  r.bytes_read = json.at("bytes_read").number();
  r.bytes_replayed = json.at("bytes_replayed").number();
  r.events_replayed = json.at("events_replayed").number();
  r.snapshot = json.at("snapshot").text();
  r.snapshot_sequence = json.at("snapshot_sequence").number();
  r.durable_mark = json.at("durable_mark").number();
  r.last_sequence = json.at("last_sequence").number();
  r.discarded = loss_of(json.at("discarded"));
  r.lost = loss_of(json.at("lost"));
  r.healed = loss_of(json.at("healed"));
  for (const JsonValue& finding : json.at("findings").items()) {
    RecoveryFinding& f = r.findings.emplace_back();
    f.case_name = finding.at("case").text();
    f.file = finding.at("file").text();
    f.offset = finding.at("offset").number();
    f.bytes = finding.at("bytes").number();
    f.first_sequence = finding.at("first_sequence").number();
    f.last_sequence = finding.at("last_sequence").number();
    f.verdict = finding.at("verdict").text();
    f.proof = finding.at("proof").text();
    f.action = finding.at("action").text();
    f.quarantine_id = finding.at("quarantine_id").text();
    f.damage_id = finding.at("damage_id").number();
    f.detail = finding.at("detail").text();
  }
  r.findings_dropped = json.at("findings_dropped").number();
  r.losses_found_again = json.at("losses_found_again").number();
  r.blast_radius = blast_radius_of(json.at("blast_radius"));
  r.time_to_first_read_ns = json.at("time_to_first_read_ns").signed_number();
  r.total_ns = json.at("total_ns").signed_number();
  r.read_only = json.at("read_only").boolean();
  r.outcome = json.at("outcome").text();
  r.history = history_of(json.at("history"));
  if (r.cause.empty()) r.cause = cause_of(r);
  return r;
}

Result<Incident> parse_incident(std::string_view text) {
  DARUMA_TRY_ASSIGN(const JsonValue json, parse_object(text, "this is no incident"));
  if (json.at("id").kind() != JsonValue::Kind::kString)
    return Status(Code::kCorruption, "this is no incident", {.file = {}, .offset = 0});
  Incident i;
  i.id = json.at("id").text();
  i.failure = json.at("failure").text();
  i.component = json.at("component").text();
  i.cause = status_of(json.at("cause"));
  i.began_wall_ns = json.at("began_wall_ns").signed_number();
  i.ended_wall_ns = json.at("ended_wall_ns").signed_number();
  i.over_wall_ns = json.at("over_wall_ns").signed_number();
  for (const JsonValue& step : json.at("steps").items()) {
    i.steps.push_back({step.at("name").text(), step.at("outcome").text(), status_of(step.at("error")),
                       step.at("duration_ns").signed_number()});
  }
  i.outcome = json.at("outcome").text();
  return i;
}

}  // namespace daruma
