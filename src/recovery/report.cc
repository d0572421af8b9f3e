// SPDX-License-Identifier: Apache-2.0
#include "recovery/report.h"

#include <algorithm>
#include <utility>

#include "base/json_writer.h"
#include "recovery/history.h"

namespace daruma {
namespace {

std::uint64_t events_in(Sequence first, Sequence last) { return first && last >= first ? last - first + 1 : 0; }

void add(RecoveryLoss& sum, std::uint64_t events, std::uint64_t bytes) {
  ++sum.stretches;
  sum.events += events;
  sum.bytes += bytes;
}

void list(RecoveryReport& report, RecoveryFinding finding) {
  if (report.findings.size() < kMaxFindings)
    report.findings.push_back(std::move(finding));
  else
    ++report.findings_dropped;
}

std::string milliseconds(std::int64_t ns) {
  const std::int64_t us = std::max<std::int64_t>(ns, 0) / 1000;
  std::string fraction = std::to_string(us % 1000);
  return std::to_string(us / 1000) + "." + std::string(3 - fraction.size(), '0') + fraction + " ms";
}

std::string line(std::string_view what, const RecoveryLoss& loss) {
  if (loss.stretches == 0) return "  " + std::string(what) + ": nothing\n";
  return "  " + std::string(what) + ": " + std::to_string(loss.events) + " events, " + std::to_string(loss.bytes) +
         " bytes in " + std::to_string(loss.stretches) + " places\n";
}

}  // namespace

void note(RecoveryReport& report, const Assessment& a, FindingPlace place) {
  const Decision d = a.row->decision;
  const Verdict v = a.row->verdict;
  if (d == Decision::kApply || d == Decision::kEndOfLog || (d == Decision::kStepOver && v == Verdict::kIntact)) return;

  RecoveryFinding f;
  f.case_name = a.row->name;
  f.file = std::move(place.file);
  f.offset = place.offset;
  f.bytes = place.bytes;
  f.verdict = name(v);
  f.proof = name(a.evidence.proof);
  f.action = name(d);
  f.quarantine_id = std::move(place.quarantine_id);
  f.damage_id = place.damage_id;
  f.detail = std::move(place.detail);
  if (loses(d)) {
    f.first_sequence = a.lost_first;
    f.last_sequence = a.lost_end_unknown ? 0 : a.lost_last;
    add(report.lost, events_in(a.lost_first, a.lost_last), place.bytes);
  } else if (d == Decision::kTornTailDiscard) {
    f.first_sequence = a.discarded_first;
    f.last_sequence = a.settled_through;
    add(report.discarded, events_in(a.discarded_first, a.settled_through), place.bytes);
  } else if (d == Decision::kHealFromRing) {
    f.first_sequence = a.healed_first;
    f.last_sequence = a.healed_last;
    add(report.healed, events_in(a.healed_first, a.healed_last), place.bytes);
  }
  list(report, std::move(f));
}

void note(RecoveryReport& report, RecoveryFinding f) {
  const std::uint64_t events = events_in(f.first_sequence, f.last_sequence);
  if (f.verdict == name(Verdict::kHealed))
    add(report.healed, events, f.bytes);
  else if (f.verdict == name(Verdict::kTorn))
    add(report.discarded, events, f.bytes);
  else if (f.verdict == name(Verdict::kCorrupt) || f.verdict == name(Verdict::kUndecided) ||
           f.verdict == name(Verdict::kPoisoned)) {
    if (f.action != name(Decision::kStepOver)) add(report.lost, events, f.bytes);
  }
  list(report, std::move(f));
}

std::string RecoveryReport::to_json() const {
  JsonWriter j;
  j.begin_object();
  j.member("start_number", start_number).member("store", store).member("policy", policy);
  j.member("started_wall_ns", started_wall_ns).member("created", created).member("same_boot", same_boot);
  j.member("cause", cause).member("last_sign_of_life_wall_ns", last_sign_of_life_wall_ns);
  j.member("starts_died", starts_died);
  j.key("passes").begin_array();
  for (const RecoveryPass& p : passes) {
    j.begin_object().member("name", p.name).member("duration_ns", p.duration_ns).member("bytes", p.bytes).end();
  }
  j.end();
  j.member("files", files).member("bytes_read", bytes_read).member("bytes_replayed", bytes_replayed);
  j.member("events_replayed", events_replayed)
      .member("snapshot", snapshot)
      .member("snapshot_sequence", snapshot_sequence);
  j.member("durable_mark", durable_mark).member("last_sequence", last_sequence);
  write(j, "discarded", discarded);
  write(j, "lost", lost);
  write(j, "healed", healed);
  j.key("findings").begin_array();
  for (const RecoveryFinding& f : findings) {
    j.begin_object();
    j.member("case", f.case_name).member("file", f.file).member("offset", f.offset).member("bytes", f.bytes);
    j.member("first_sequence", f.first_sequence).member("last_sequence", f.last_sequence);
    j.member("verdict", f.verdict).member("proof", f.proof).member("action", f.action);
    j.member("quarantine_id", f.quarantine_id).member("damage_id", f.damage_id).member("detail", f.detail);
    j.end();
  }
  j.end();
  j.member("findings_dropped", findings_dropped).member("losses_found_again", losses_found_again);
  write(j, "blast_radius", blast_radius);
  j.member("time_to_first_read_ns", time_to_first_read_ns);
  j.member("total_ns", total_ns).member("read_only", read_only).member("clean", clean()).member("outcome", outcome);
  write(j, "history", history);
  j.end();
  return j.take();
}

std::string RecoveryReport::to_text() const {
  std::string out = "Start " + std::to_string(start_number) +
                    (created     ? ", created the store"
                     : same_boot ? ", after the process died"
                                 : ", after the machine stopped") +
                    ": " + (outcome.empty() ? "not finished" : outcome) + "\n";
  out +=
      "  first read after " + milliseconds(time_to_first_read_ns) + ", all done after " + milliseconds(total_ns) + "\n";
  out += "  state: sequence " + std::to_string(last_sequence) + " = " +
         (snapshot.empty() ? std::string("no snapshot") : snapshot) + " (" + std::to_string(snapshot_sequence) +
         ") + " + std::to_string(events_replayed) + " events replayed; proven durable up to " +
         std::to_string(durable_mark) + "\n";
  out += line("acknowledged and lost, or possibly so", lost);
  out += line("never acknowledged, discarded", discarded);
  out += line("healed", healed);
  for (const RecoveryFinding& f : findings) {
    out += "  " + f.case_name + " [" + f.verdict + " -> " + f.action + "] " + f.file + ":" + std::to_string(f.offset) +
           "+" + std::to_string(f.bytes);
    if (f.first_sequence) {
      out += ", events " + std::to_string(f.first_sequence) + " to " +
             (f.last_sequence ? std::to_string(f.last_sequence) : std::string("an unknown one"));
    }
    out += ", proof " + (f.proof.empty() ? std::string("none") : f.proof);
    if (!f.quarantine_id.empty()) out += ", bytes kept as " + f.quarantine_id;
    if (!f.detail.empty()) out += "; " + f.detail;
    out += "\n";
  }
  if (findings_dropped) out += "  and " + std::to_string(findings_dropped) + " findings more\n";
  for (const RecoveryPass& p : passes)
    out += "  pass " + p.name + ": " + milliseconds(p.duration_ns) + ", " + std::to_string(p.bytes) + " bytes\n";
  return out;
}

}  // namespace daruma
