// SPDX-License-Identifier: Apache-2.0
//
// Metrics of a store: taken, and told as Prometheus reads them. docs/monitoring.md has every name, and the dashboard
// and alert rules beside it use no other (tests/metrics_test.cc).
#include "daruma/metrics.h"

#include <algorithm>

#include "base/prometheus_writer.h"
#include "engine/engine.h"
#include "engine/live_view.h"
#include "recovery/history.h"

namespace daruma {

/// Where nobody can look into what is lost, all of it counts.
BlastRadius Engine::blast_radius() const {
  BlastRadius all;
  EpochGuard guard;
  const State& state = *state_.load(std::memory_order_seq_cst);
  for (const auto& keyspace : state.keyspaces) {
    if (keyspace->id == kCatalogKeyspace) continue;
    std::uint64_t entries = keyspace->active ? keyspace->active->entries() : 0;
    for (const auto& frozen : keyspace->frozen) entries += frozen->entries();
    keyspace->runs.for_each([&](std::uint32_t, const LiveRun& run) { entries += run.info.entries; });
    const auto gone = lost_entries_.find(keyspace->id);
    const std::uint64_t unopened = gone == lost_entries_.end() ? 0 : gone->second;
    std::uint64_t hurt = 0;
    bool any = false;
    if (state.damage) {
      for (const DamageEntry& entry : state.damage->entries()) {
        if (entry.accepted) continue;
        any = any || entry.keyspace == kCatalogKeyspace;  // its name may be wrong
        if (entry.keyspace && *entry.keyspace != keyspace->id) continue;
        any = true;
        if (entry.keys == DamageEntry::Keys::kAll) hurt += entries + unopened;
        if (entry.keys == DamageEntry::Keys::kHashes) hurt += entry.hashes.size();
        if (entry.keys != DamageEntry::Keys::kRange) continue;
        std::uint64_t within = unopened;
        keyspace->runs.for_each([&](std::uint32_t, const LiveRun& run) {
          if (run.info.largest_key >= entry.begin && (!entry.end || run.info.smallest_key < *entry.end))
            within += run.info.entries;
        });
        if (within == 0) ++entries;  // what is gone altogether: one at least
        hurt += std::max<std::uint64_t>(within, 1);
      }
    }
    ++all.keyspaces;
    all.keyspaces_hurt += any;
    all.entries += entries + (any ? unopened : 0);
    all.entries_hurt += std::min(hurt, entries + unopened);
  }
  return all;
}

Metrics Engine::metrics() const {
  Metrics m;
  m.stats = stats();
  m.health = health();
  m.components = components();
  for (const KeyspaceInfo& info : keyspaces()) {
    if (m.keyspaces.size() == Metrics::kKeyspacesMax) break;
    if (Result<KeyspaceStats> of = keyspace_stats(info.keyspace); of.ok())  // else it was dropped meanwhile
      m.keyspaces.push_back({info.name, std::move(*of)});
  }
  m.blast_radius = blast_radius();
  m.wall_ns = clock_.wall_ns();
  if (options_.read_only) {
    m.recoveries = read_past(*storage_, directory_ + "/recoveries").history;
    return m;
  }
  MutexLock lock(health_mutex_);
  m.store = store_name_;
  m.start_number = start_number_;
  m.started_wall_ns = started_wall_ns_;
  m.recoveries = past_;
  return m;
}

// --- Prometheus ------------------------------------------------------------------------------------------------------

namespace {

void tell(PrometheusWriter& p, std::string_view name, std::string_view label, std::string_view help,
          const std::vector<RecoveriesOf>& all) {
  p.family(name, "histogram", help);
  for (const RecoveriesOf& each : all) {
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < DurationHistogram::kBoundsNs.size(); ++i) {
      below += each.time.counts[i];
      const std::string bound = PrometheusWriter::number(static_cast<double>(DurationHistogram::kBoundsNs[i]) / 1e9);
      p.part("_bucket", below, {{label, each.cause}, {"le", bound}});
    }
    p.part("_bucket", each.time.count(), {{label, each.cause}, {"le", "+Inf"}});
    p.seconds(each.time.sum_ns, {{label, each.cause}}, "_sum");
    p.part("_count", each.time.count(), {{label, each.cause}});
  }
}

void tell_history(PrometheusWriter& p, const RecoveryHistory& h) {
  p.family("daruma_starts_total", "counter", "Starts that came to their end, over all lives of the store.");
  p.sample(h.starts);
  p.family("daruma_starts_died_total", "counter", "Starts that were killed while they replayed, as far as is known.");
  p.sample(h.starts_died);
  tell(p, "daruma_recovery_duration_seconds", "cause", "Time of starts until the first read, over all lives.",
       h.by_cause);
  p.family("daruma_recovery_failures_total", "counter", "Starts that lost acknowledged data or could not begin a log.");
  for (const RecoveriesOf& each : h.by_cause) p.sample(each.failed, {{"cause", each.cause}});
  p.family("daruma_recovery_down_seconds_total", "counter",
           "Time from the last sign of life of a process until the start after it, where it is known.");
  for (const RecoveriesOf& each : h.by_cause) p.seconds(each.down_ns, {{"cause", each.cause}});
  p.family("daruma_recovery_replayed_events_total", "counter", "Events that starts replayed.")
      .sample(h.events_replayed);
  p.family("daruma_recovery_replayed_bytes_total", "counter", "Bytes of log that starts replayed.");
  p.sample(h.bytes_replayed);
  p.family("daruma_recovery_lost_events_total", "counter", "Acknowledged events that starts found lost, at least.");
  p.sample(h.lost.events);
  p.family("daruma_recovery_lost_stretches_total", "counter", "Places where starts found acknowledged data lost.");
  p.sample(h.lost.stretches);
  p.family("daruma_recovery_discarded_events_total", "counter", "Events never acknowledged that starts discarded.");
  p.sample(h.discarded.events);
  p.family("daruma_recovery_healed_stretches_total", "counter", "Places that were hurt and that starts made whole.");
  p.sample(h.healed.stretches);
  p.family("daruma_losses_found_again_total", "counter", "Losses told by one start and found whole by a later one.");
  p.sample(h.losses_found_again);
  tell(p, "daruma_incident_duration_seconds", "failure",
       "Time of incidents until their playbook ended, over all lives.", h.incidents);
  p.family("daruma_incident_failures_total", "counter", "Incidents that escalated, or that a kill cut off.");
  for (const RecoveriesOf& each : h.incidents) p.sample(each.failed, {{"failure", each.cause}});
  p.family("daruma_incidents_needless_total", "counter", "Incidents that were over before their first step.");
  for (const RecoveriesOf& each : h.incidents) p.sample(each.needless, {{"failure", each.cause}});
  p.family("daruma_recovery_success_ratio", "gauge", "Share of starts and incidents that came out well, 0 to 1.");
  p.real(h.success_ratio());
  p.family("daruma_false_positive_ratio", "gauge", "Share of incidents and losses that turned out to be none, 0 to 1.");
  p.real(h.false_positive_ratio());
}

void tell_debt(PrometheusWriter& p, const Metrics& m) {
  const RecoveryHistory& h = m.recoveries;
  p.family("daruma_blast_radius_keyspace_ratio", "gauge", "Share of keyspaces that what is lost now reaches, 0 to 1.");
  p.real(m.blast_radius.keyspace_ratio());
  p.family("daruma_blast_radius_entry_ratio", "gauge", "Share of entries that what is lost now reaches, at most.");
  p.real(m.blast_radius.entry_ratio());
  p.family("daruma_blast_radius_keyspace_ratio_max", "gauge", "Largest of any start so far.");
  p.real(std::max(h.keyspace_ratio_max, m.blast_radius.keyspace_ratio()));
  p.family("daruma_blast_radius_entry_ratio_max", "gauge", "Largest of any start so far.");
  p.real(std::max(h.entry_ratio_max, m.blast_radius.entry_ratio()));
  const RecoveryDebt& debt = m.health.debt;
  p.family("daruma_recovery_debt_seconds", "gauge",
           "Estimated time until the first read, were the process killed now.");
  p.seconds(debt.estimated_ns);
  p.family("daruma_recovery_debt_bytes", "gauge", "Bytes of memtables that a start now would build again.");
  p.sample(debt.replay_bytes);
  p.family("daruma_recovery_debt_events", "gauge", "Events that a start now would replay.").sample(debt.replay_events);
  p.family("daruma_recovery_budget_seconds", "gauge", "Options::recovery_budget.").seconds(debt.budget_ns);
  p.family("daruma_recovery_achievable_seconds", "gauge", "The least that a start under load is estimated to take.");
  p.seconds(debt.achievable_min_ns);
  p.family("daruma_recovery_last_seconds", "gauge", "What the start of this life took until the first read.");
  p.seconds(debt.last_actual_ns);
}

void tell_health(PrometheusWriter& p, const Metrics& m) {
  p.family("daruma_health_level", "gauge", "0 healthy, 1 maintenance, 2 degraded, 3 critical.");
  p.sample(static_cast<std::uint64_t>(m.health.level));
  p.family("daruma_reads_served", "gauge", "1: every read is served; 0: but for those of lost keys.");
  p.sample(m.health.reads.ok());
  p.family("daruma_writes_accepted", "gauge", "1: writes are accepted.").sample(m.health.writes.ok());
  p.family("daruma_health_check_failing", "gauge", "1: the check fails.");
  for (const HealthCheck& check : m.health.checks)
    p.sample(!check.cause.ok(), {{"check", check.name}, {"level", health_level_name(check.level)}});
  p.family("daruma_component_failing", "gauge", "1: the last work of the component failed.");
  for (const ComponentInfo& c : m.components) p.sample(!c.last.ok(), {{"component", c.name}});
  p.family("daruma_breaker_open", "gauge", "1: the breaker is open or half open, the component rests.");
  for (const ComponentInfo& c : m.components) p.sample(c.breaker != "closed", {{"component", c.name}});
  p.family("daruma_breaker_opened_total", "counter", "Times that the breaker opened, in this life.");
  for (const ComponentInfo& c : m.components) p.sample(c.breaker_opened, {{"component", c.name}});
  p.family("daruma_breaker_needless_total", "counter", "Of those, closed again by the first attempt after the rest.");
  for (const ComponentInfo& c : m.components) p.sample(c.breaker_needless, {{"component", c.name}});
  p.family("daruma_component_reboots_total", "counter", "Microreboots of the component, in this life.");
  for (const ComponentInfo& c : m.components) p.sample(c.reboots, {{"component", c.name}});
}

void tell_stats(PrometheusWriter& p, const Metrics& m) {
  const StoreStats& s = m.stats;
  p.family("daruma_start_time_seconds", "gauge", "When this life of the store began, since 1970-01-01 UTC.");
  p.seconds(m.started_wall_ns);
  p.family("daruma_events_total", "counter", "Events (batches) written, over all lives.").sample(s.sequence);
  p.family("daruma_durable_events_total", "counter", "Events that survive power loss.").sample(s.durable_sequence);
  p.family("daruma_snapshot_events_total", "counter", "Events that the newest snapshot holds.");
  p.sample(s.snapshot_sequence);
  p.family("daruma_memtable_bytes", "gauge", "Memory of writes that are in no snapshot yet.").sample(s.memtable_bytes);
  p.family("daruma_log_bytes", "gauge", "Log files on disk.").sample(s.log_bytes);
  p.family("daruma_log_copies", "gauge", "Directories that the newest log file stands in; 0: no writes.");
  p.sample(s.log_copies);
  p.family("daruma_keyspaces", "gauge", "Keyspaces.").sample(s.keyspaces);
  p.family("daruma_runs", "gauge", "Sorted files in use.").sample(s.runs);
  p.family("daruma_run_bytes", "gauge", "Bytes of those.").sample(s.run_bytes);
  p.family("daruma_damage_entries", "gauge", "Losses that block reads.").sample(s.damage);
  p.family("daruma_read_only", "gauge", "1: the store takes no writes by its policy or options.").sample(s.read_only);
  p.family("daruma_checkpoints_total", "counter", "Checkpoints made, in this life.").sample(s.checkpoints);
  p.family("daruma_compactions_total", "counter", "Compactions made, in this life.").sample(s.compactions);
  p.family("daruma_compaction_written_bytes_total", "counter", "Bytes written by them.").sample(s.compacted_bytes);
  p.family("daruma_healed_runs_total", "counter", "Damaged files written anew, whole, in this life.");
  p.sample(s.healed_runs);
  p.family("daruma_salvaged_runs_total", "counter", "Damaged files written anew without what was lost, in this life.");
  p.sample(s.salvaged_runs);
  p.family("daruma_scrub_passes_total", "counter", "Scrubs of the whole store, in this life.").sample(s.scrub_passes);
  p.family("daruma_scrubbed_bytes_total", "counter", "Bytes read by scrubs, in this life.").sample(s.scrubbed.bytes);
  p.family("daruma_scrub_damaged_files_total", "counter", "Files that scrubs found damaged, in this life.");
  p.sample(s.scrubbed.damaged - std::min(s.scrubbed.damaged, s.scrubbed.healed + s.scrubbed.lost), {{"fate", "open"}});
  p.sample(s.scrubbed.healed, {{"fate", "healed"}}).sample(s.scrubbed.lost, {{"fate", "lost"}});
}

void tell_keyspaces(PrometheusWriter& p, const Metrics& m) {
  const auto each = [&](std::string_view name, std::string_view type, std::string_view help, const auto& value) {
    p.family(name, type, help);
    for (const KeyspaceMetrics& k : m.keyspaces) p.sample(value(k.stats), {{"keyspace", k.name}});
  };
  each("daruma_keyspace_entries", "gauge", "Versions of keys, in memtables and runs, tombstones included.",
       [](const KeyspaceStats& s) { return s.memtable_entries + s.entries; });
  each("daruma_keyspace_memtable_bytes", "gauge", "Memory of writes that are in no snapshot yet.",
       [](const KeyspaceStats& s) { return s.memtable_bytes; });
  each("daruma_keyspace_runs", "gauge", "Sorted files in use.", [](const KeyspaceStats& s) { return s.runs; });
  each("daruma_keyspace_run_bytes", "gauge", "Bytes of those.", [](const KeyspaceStats& s) { return s.run_bytes; });
  each("daruma_keyspace_operations", "gauge", "Operations in progress; counted while there is a limit.",
       [](const KeyspaceStats& s) { return s.operations; });
  each("daruma_keyspace_refused_total", "counter", "Operations over the limit, in this life.",
       [](const KeyspaceStats& s) { return s.refused; });
  each("daruma_keyspace_held_back_total", "counter", "Writes that waited for a share of the memory, in this life.",
       [](const KeyspaceStats& s) { return s.held_back; });
  each("daruma_keyspace_damage_entries", "gauge", "Losses that block reads of it.",
       [](const KeyspaceStats& s) { return s.damage; });
}

}  // namespace

std::string to_prometheus(const RecoveryHistory& history) {
  PrometheusWriter p;
  tell_history(p, history);
  return p.take();
}

std::string Metrics::to_prometheus() const {
  PrometheusWriter p;
  tell_health(p, *this);
  tell_history(p, recoveries);
  tell_debt(p, *this);
  tell_stats(p, *this);
  tell_keyspaces(p, *this);
  return p.take();
}

}  // namespace daruma
