// SPDX-License-Identifier: Apache-2.0
#include "engine/live_view.h"

#include <algorithm>

#include "base/checksum.h"
#include "base/json_reader.h"
#include "base/status_macros.h"
#include "engine/engine.h"
#include "recovery/history.h"

namespace daruma {
namespace {

constexpr std::int64_t kPublishNs = 1'000'000'000;
constexpr std::int64_t kPublishQuietNs = 10'000'000'000;

std::string trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \n");
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(" \n") + 1 - first));
}

// --- to JSON ---------------------------------------------------------------------------------------------------------

void write(JsonWriter& json, std::string_view name, const ScrubResult& s) {
  json.key(name).begin_object().member("files", s.files).member("bytes", s.bytes).member("sectors", s.sectors);
  json.member("damaged", s.damaged).member("healed", s.healed).member("lost", s.lost);
  json.member("duration_ns", s.duration_ns).end();
}

void write(JsonWriter& json, std::string_view name, const StoreStats& s) {
  json.key(name).begin_object();
  json.member("sequence", s.sequence).member("durable_sequence", s.durable_sequence);
  json.member("snapshot_sequence", s.snapshot_sequence).member("memtable_bytes", s.memtable_bytes);
  json.member("keyspaces", s.keyspaces).member("runs", s.runs).member("run_bytes", s.run_bytes);
  json.member("checkpoints", s.checkpoints).member("compactions", s.compactions);
  json.member("compacted_bytes", s.compacted_bytes).member("healed_runs", s.healed_runs);
  json.member("salvaged_runs", s.salvaged_runs).member("log_bytes", s.log_bytes).member("damage", s.damage);
  json.member("scrub_passes", s.scrub_passes);
  write(json, "scrubbed", s.scrubbed);
  json.member("read_only", s.read_only).member("log_copies", s.log_copies);
  write_error(json, "background", s.background);
  json.end();
}

void write(JsonWriter& json, const KeyspaceMetrics& k) {
  const KeyspaceStats& s = k.stats;
  json.begin_object().member("name", k.name).member("memtable_entries", s.memtable_entries);
  json.member("memtable_bytes", s.memtable_bytes).member("entries", s.entries).member("tombstones", s.tombstones);
  json.member("runs", s.runs).member("run_bytes", s.run_bytes).key("runs_per_level").begin_array();
  for (const std::uint64_t runs : s.runs_per_level) json.value(runs);
  json.end().member("memory_limit_bytes", s.limits.memory_bytes).member("operations_limit", s.limits.operations);
  json.member("operations", s.operations).member("refused", s.refused).member("held_back", s.held_back);
  json.member("damage", s.damage);
  write_error(json, "reads", s.reads);
  write_error(json, "writes", s.writes);
  json.end();
}

void write(JsonWriter& json, const ComponentInfo& c) {
  json.begin_object().member("name", c.name);
  write_error(json, "last", c.last);
  json.member("breaker", c.breaker).member("breaker_opened", c.breaker_opened);
  json.member("breaker_needless", c.breaker_needless).member("retry_in_ns", c.retry_in_ns);
  json.member("reboots", c.reboots).member("reboots_last_hour", c.reboots_last_hour);
  json.member("reboots_per_hour", c.reboots_per_hour).end();
}

// --- from JSON -------------------------------------------------------------------------------------------------------

HealthLevel level_of(const JsonValue& json) {
  for (const HealthLevel level : {HealthLevel::kHealthy, HealthLevel::kMaintenance, HealthLevel::kDegraded}) {
    if (json.text() == health_level_name(level)) return level;
  }
  return HealthLevel::kCritical;
}

Health health_of(const JsonValue& json) {
  Health h;
  h.level = level_of(json.at("level"));
  h.reads = status_of(json.at("reads"));
  h.writes = status_of(json.at("writes"));
  for (const JsonValue& check : json.at("checks").items()) {
    h.checks.push_back({check.at("name").text(), level_of(check.at("level")), status_of(check.at("cause")),
                        check.at("since_wall_ns").signed_number(), check.at("last_run_wall_ns").signed_number(),
                        check.at("action").text()});
  }
  const JsonValue& debt = json.at("debt");
  h.debt.budget_ns = debt.at("budget_ns").signed_number();
  h.debt.estimated_ns = debt.at("estimated_ns").signed_number();
  h.debt.achievable_min_ns = debt.at("achievable_min_ns").signed_number();
  h.debt.last_actual_ns = debt.at("last_actual_ns").signed_number();
  h.debt.replay_bytes = debt.at("replay_bytes").number();
  h.debt.replay_events = debt.at("replay_events").number();
  return h;
}

ScrubResult scrub_of(const JsonValue& json) {
  ScrubResult s;
  s.files = json.at("files").number();
  s.bytes = json.at("bytes").number();
  s.sectors = json.at("sectors").number();
  s.damaged = json.at("damaged").number();
  s.healed = json.at("healed").number();
  s.lost = json.at("lost").number();
  s.duration_ns = json.at("duration_ns").signed_number();
  return s;
}

StoreStats stats_of(const JsonValue& json) {
  StoreStats s;
  s.sequence = json.at("sequence").number();
  s.durable_sequence = json.at("durable_sequence").number();
  s.snapshot_sequence = json.at("snapshot_sequence").number();
  s.memtable_bytes = json.at("memtable_bytes").number();
  s.keyspaces = json.at("keyspaces").number();
  s.runs = json.at("runs").number();
  s.run_bytes = json.at("run_bytes").number();
  s.checkpoints = json.at("checkpoints").number();
  s.compactions = json.at("compactions").number();
  s.compacted_bytes = json.at("compacted_bytes").number();
  s.healed_runs = json.at("healed_runs").number();
  s.salvaged_runs = json.at("salvaged_runs").number();
  s.log_bytes = json.at("log_bytes").number();
  s.damage = json.at("damage").number();
  s.scrub_passes = json.at("scrub_passes").number();
  s.scrubbed = scrub_of(json.at("scrubbed"));
  s.read_only = json.at("read_only").boolean();
  s.log_copies = static_cast<unsigned>(json.at("log_copies").number());
  s.background = status_of(json.at("background"));
  return s;
}

KeyspaceMetrics keyspace_of(const JsonValue& json) {
  KeyspaceMetrics k;
  k.name = json.at("name").text();
  KeyspaceStats& s = k.stats;
  s.memtable_entries = json.at("memtable_entries").number();
  s.memtable_bytes = json.at("memtable_bytes").number();
  s.entries = json.at("entries").number();
  s.tombstones = json.at("tombstones").number();
  s.runs = json.at("runs").number();
  s.run_bytes = json.at("run_bytes").number();
  for (const JsonValue& runs : json.at("runs_per_level").items()) s.runs_per_level.push_back(runs.number());
  s.limits.memory_bytes = json.at("memory_limit_bytes").number();
  s.limits.operations = static_cast<std::uint32_t>(json.at("operations_limit").number());
  s.operations = json.at("operations").number();
  s.refused = json.at("refused").number();
  s.held_back = json.at("held_back").number();
  s.damage = json.at("damage").number();
  s.reads = status_of(json.at("reads"));
  s.writes = status_of(json.at("writes"));
  return k;
}

ComponentInfo component_of(const JsonValue& json) {
  ComponentInfo c;
  c.name = json.at("name").text();
  c.last = status_of(json.at("last"));
  c.breaker = json.at("breaker").text();
  c.breaker_opened = json.at("breaker_opened").number();
  c.breaker_needless = json.at("breaker_needless").number();
  c.retry_in_ns = json.at("retry_in_ns").signed_number();
  c.reboots = json.at("reboots").number();
  c.reboots_last_hour = static_cast<unsigned>(json.at("reboots_last_hour").number());
  c.reboots_per_hour = static_cast<unsigned>(json.at("reboots_per_hour").number());
  return c;
}

}  // namespace

std::string Metrics::to_json() const {
  JsonWriter j;
  j.begin_object().member("store", store).member("start_number", start_number);
  j.member("started_wall_ns", started_wall_ns).member("wall_ns", wall_ns);
  write(j, "stats", stats);
  j.key("health").document(health.to_json());
  j.key("components").begin_array();
  for (const ComponentInfo& component : components) write(j, component);
  j.end().key("keyspaces").begin_array();
  for (const KeyspaceMetrics& keyspace : keyspaces) write(j, keyspace);
  j.end();
  write(j, "recoveries", recoveries);
  const DurationHistogram starts = recoveries.starts_time();
  j.member("mttr_ns", starts.mean_ns()).member("success_ratio", recoveries.success_ratio());
  j.member("false_positive_ratio", recoveries.false_positive_ratio());
  write(j, "blast_radius", blast_radius);
  return j.end().take();
}

Metrics metrics_of(const JsonValue& json) {
  Metrics m;
  m.store = json.at("store").text();
  m.start_number = json.at("start_number").number();
  m.started_wall_ns = json.at("started_wall_ns").signed_number();
  m.wall_ns = json.at("wall_ns").signed_number();
  m.stats = stats_of(json.at("stats"));
  m.health = health_of(json.at("health"));
  for (const JsonValue& each : json.at("components").items()) m.components.push_back(component_of(each));
  for (const JsonValue& each : json.at("keyspaces").items()) m.keyspaces.push_back(keyspace_of(each));
  m.recoveries = history_of(json.at("recoveries"));
  m.blast_radius = blast_radius_of(json.at("blast_radius"));
  return m;
}

std::string to_json(const LiveView& view) {
  JsonWriter j;
  j.begin_object().member("schema", "daruma.live/1").member("number", view.number);
  j.member("published_wall_ns", view.published_wall_ns).member("boot", view.boot).member("holder", view.holder);
  j.key("metrics").document(view.metrics.to_json());
  return j.end().take();
}

Result<LiveView> parse_live_view(std::string_view text) {
  DARUMA_TRY_ASSIGN(const JsonValue json, parse_json(text));
  if (json.at("schema").text() != "daruma.live/1" || !json.at("metrics").is_object())
    return Status(Code::kCorruption, "this is no live view", {.file = {}, .offset = 0});
  LiveView view;
  view.number = json.at("number").number();
  view.published_wall_ns = json.at("published_wall_ns").signed_number();
  view.boot = json.at("boot").text();
  view.holder = json.at("holder").text();
  view.metrics = metrics_of(json.at("metrics"));
  return view;
}

std::int64_t last_publication(Storage& storage, const std::string& recoveries, std::string_view store) {
  const Result<std::string> text = read_whole(storage, recoveries + "/" + std::string(kLiveView), kLiveViewBytesMax);
  if (!text.ok()) return 0;
  const Result<LiveView> view = parse_live_view(*text);
  return view.ok() && view->metrics.store == store ? view->published_wall_ns : 0;
}

/// A copy of the directory may hold the view of another store, or of the one it was copied from; so it names its store.
void Engine::publish_view(bool news) {
  MutexLock lock(supervision_mutex_);
  const std::int64_t now = clock_.monotonic_ns();
  const bool first = published_.number == 0;
  if (!first && !news && now - published_.at_ns < kPublishNs) return;
  LiveView view;
  view.metrics = metrics();
  const std::uint64_t hash = hash64(view.metrics.to_prometheus(), 0);
  if (!first && !news && hash == published_.hash && now - published_.at_ns < kPublishQuietNs) return;
  if (first) {
    constexpr std::uint64_t kHolderBytesMax = 4096;
    if (const Result<std::string> text = read_whole(*storage_, directory_ + "/lock", kHolderBytesMax); text.ok())
      published_.holder = trimmed(*text);
  }
  view.number = published_.number + 1;
  view.published_wall_ns = clock_.wall_ns();
  view.boot = storage_->boot_id();
  view.holder = published_.holder;
  published_.at_ns = now;  // what the device does not take is tried again in a second
  if (!replace(*storage_, directory_ + "/recoveries", std::string(kLiveView), to_json(view)).ok()) return;
  published_.number = view.number;
  published_.hash = hash;
}

}  // namespace daruma
