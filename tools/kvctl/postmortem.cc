// SPDX-License-Identifier: Apache-2.0
//
// postmortem: the page and the command. Everything on it is from the flight recorder, the quarantine and the files as
// they stand; where they no longer stand, it says so.
#include "kvctl/postmortem.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "kvctl/drawings.h"
#include "kvctl/html.h"
#include "recovery/quarantine.h"
#include "recovery/verdict.h"

namespace daruma::kvctl {

namespace {

constexpr std::size_t kDumpBytes = 256;
constexpr std::size_t kFindingsShown = 200;

using Lines = std::vector<std::string>;

std::string list_of(const Lines& lines) {
  std::string items;
  for (const std::string& line : lines) items += text_in("li", line);
  return element("ul", "", items);
}

std::string section(std::string_view heading, const std::string& content) {
  return element("section", "", text_in("h2", heading) + content);
}

std::string tile(std::string_view value, std::string_view what) {
  return element("div", "class=\"tile\"", text_in("b", value) + text_in("span", what));
}

std::string fact(std::string_view name, std::string_view value) {
  return value.empty() ? "" : text_in("dt", name) + text_in("dd", value);
}

std::string badge(std::string_view text, std::string_view colour) {
  return text_in("span", text, fmt::format("class=\"badge {}\"", colour));
}

// --- findings --------------------------------------------------------------------------------------------------------

std::string verdict_row(const RecoveryFinding& finding) {
  static const std::vector<std::string> kHeads{"case", "header",   "payload",  "footprint", "proof",   "boot",
                                               "ring", "position", "standing", "verdict",   "decision"};
  for (const VerdictCase& row : verdict_table()) {
    if (row.name != finding.case_name) continue;
    const std::string text = to_markdown(row);
    std::string facts;
    std::size_t at = 2;
    for (const std::string& head : kHeads) {
      const std::size_t end = text.find(" |", at);
      if (end == std::string::npos) break;
      const std::string cell = text.substr(at, end - at);
      if (head != "case" && cell != "any") facts += fact(head, cell);
      at = end + 3;
    }
    return element(
        "details", "",
        text_in("summary", "the row of the verdict table (docs/recovery.md) that this matched, and no other") +
            element("dl", "", facts));
  }
  return "";
}

std::string dump(std::string_view bytes, std::uint64_t at) {
  std::string lines;
  for (std::size_t i = 0; i < bytes.size(); i += 16) {
    std::string line = hex_dump(bytes.substr(i, 16), at + i);
    line.pop_back();
    lines += html(line) + "\n";
  }
  return element("pre", "", lines);
}

std::string dump_of(const StoreFiles& files, const RecoveryFinding& finding) {
  if (!finding.quarantine_id.empty() && files.store()) {
    const Quarantine quarantine(files.storage(), files.path("quarantine"), *files.store());
    if (const auto bytes = quarantine.read(finding.quarantine_id); bytes.ok()) {
      const std::string_view head = std::string_view(*bytes).substr(0, kDumpBytes);
      return text_in("p",
                     fmt::format("The first {} of {} that are kept in quarantine as {}:", bytes_text(head.size()),
                                 bytes_text(bytes->size()), finding.quarantine_id),
                     "class=\"dim\"") +
             dump(head, finding.offset);
    }
  }
  auto file = files.storage().open(files.path(finding.file), OpenMode::kRead);
  std::string bytes(kDumpBytes, '\0');
  const auto got = file.ok() ? (*file)->read(finding.offset, bytes) : Result<std::size_t>(file.status());
  if (!got.ok() || *got == 0)
    return text_in("p", "The bytes are in no file any more, and none had to be kept.", "class=\"dim\"");
  return text_in("p", "What stands there now:", "class=\"dim\"") +
         dump(std::string_view(bytes).substr(0, *got), finding.offset);
}

std::string events_of(const RecoveryFinding& f) {
  if (f.first_sequence == 0) return "";
  return fmt::format("{} to {}", f.first_sequence,
                     f.last_sequence != 0 ? std::to_string(f.last_sequence) : "an unknown one");
}

std::string finding_card(const StoreFiles& files, const RecoveryFinding& f) {
  const bool bytes = f.bytes != 0 || f.offset != 0;  // else it is told of no place in a file
  std::string facts = fact(
      "where", bytes ? fmt::format("{}, {} from byte {}", f.file, bytes_text(f.bytes), f.offset) : std::string(f.file));
  facts += fact("events", events_of(f)) + fact("proof", f.proof == "none" ? "" : f.proof) + fact("decision", f.action);
  facts += fact("bytes kept", f.quarantine_id);
  facts += fact("damage map", f.damage_id != 0 ? fmt::format("entry {}", f.damage_id) : "");
  facts += fact("detail", f.detail);
  return element(
      "article", "class=\"card\"",
      element("h3", "", badge(f.verdict.empty() ? "told" : f.verdict, colour_of(f.verdict)) + html(f.case_name)) +
          text_in("p", reason_of(f)) + element("dl", "", facts) + verdict_row(f) + (bytes ? dump_of(files, f) : ""));
}

// --- one start -------------------------------------------------------------------------------------------------------

std::string cause_words(const RecoveryReport& r) {
  if (r.cause == "created") return "the store was made";
  if (r.same_boot) return "its process was killed";
  return r.cause == "power_cut" ? "the machine had stopped" : "it had stopped";
}

std::int64_t down_ns(const RecoveryReport& r) {
  return r.last_sign_of_life_wall_ns == 0 ? 0
                                          : std::max<std::int64_t>(0, r.started_wall_ns - r.last_sign_of_life_wall_ns);
}

std::int64_t budget_of(const StoreFiles& files) {
  const Manifest* newest = files.catalogue().newest();
  const std::string_view options = newest != nullptr ? std::string_view(newest->options) : std::string_view();
  return static_cast<std::int64_t>(option_in(options, "recovery_budget_ms").value_or(1000)) * 1'000'000;
}

Lines what_worked(const RecoveryReport& r, std::int64_t budget) {
  Lines all;
  if (r.clean()) all.emplace_back("Nothing that had been acknowledged is lost.");
  if (r.time_to_first_read_ns <= budget)
    all.push_back(fmt::format("Reads were served after {}, within the recovery budget of {}.",
                              duration_text(r.time_to_first_read_ns), duration_text(budget)));
  if (r.healed.stretches > 0)
    all.push_back(fmt::format("{} hurt and whole again, from a second copy or from parity.",
                              plural(r.healed.stretches, "place was", "places were")));
  const auto kept = std::count_if(r.findings.begin(), r.findings.end(),
                                  [](const RecoveryFinding& f) { return !f.quarantine_id.empty(); });
  if (kept > 0)
    all.push_back(fmt::format("The bytes of {} were kept in quarantine before anything was written over them.",
                              plural(static_cast<std::uint64_t>(kept), "finding", "findings")));
  if (r.discarded.stretches > 0)
    all.emplace_back("What was discarded was proven to have never been acknowledged: no caller had been promised it.");
  if (!r.clean() && r.outcome.starts_with("served"))
    all.emplace_back("The loss did not stop the store: all other keys are served, and no read gives a wrong answer.");
  if (r.losses_found_again > 0)
    all.push_back(
        fmt::format("{} told as lost before turned out to be whole.", plural(r.losses_found_again, "place", "places")));
  return all;
}

Lines what_did_not(const RecoveryReport& r, std::int64_t budget) {
  Lines all;
  if (!r.clean())
    all.push_back(fmt::format("At least {} acknowledged could not be brought back, {} in {}.",
                              plural(r.lost.events, "event that was", "events that were"), bytes_text(r.lost.bytes),
                              plural(r.lost.stretches, "place", "places")));
  if (r.time_to_first_read_ns > budget)
    all.push_back(fmt::format("The first read took {}, over the recovery budget of {}.",
                              duration_text(r.time_to_first_read_ns), duration_text(budget)));
  if (r.starts_died > 0)
    all.push_back(
        fmt::format("{} before this one died while they replayed the log.", plural(r.starts_died, "start", "starts")));
  if (r.outcome.find(": ") != std::string::npos)
    all.push_back("No log could be begun, so writes were refused: " + r.outcome);
  if (down_ns(r) > 60'000'000'000)
    all.push_back(fmt::format("Nobody started it for {}; the recovery itself was not what took the time.",
                              duration_text(down_ns(r))));
  if (all.empty()) all.emplace_back("Nothing that the record tells.");
  return all;
}

Lines what_next(const RecoveryReport& r, std::int64_t budget) {
  Lines all;
  if (!r.clean()) {
    all.emplace_back(
        "kvctl damage ls names the keys in doubt: write them again where you have them, or give the loss up "
        "with kvctl damage accept.");
    all.emplace_back(
        "A playbook step of your own for data_lost can do that without you next time (docs/operations.md).");
  }
  const bool log_hurt = std::any_of(r.findings.begin(), r.findings.end(),
                                    [](const RecoveryFinding& f) { return f.verdict == "corrupt" && is_log(f); });
  if (log_hurt) all.emplace_back("Options::wal_copies = 2 on a second device makes a lost log file cost nothing.");
  if (r.cause == "damage" || r.cause == "loss")
    all.emplace_back(
        "kvctl scrub reads every byte and heals what else is hurt; a device that does this often wants replacing.");
  if (r.time_to_first_read_ns > budget)
    all.emplace_back("Raise Options::recovery_budget, or compact: fewer runs open faster.");
  if (r.starts_died > 0)
    all.emplace_back("kvctl quarantine ls shows whether an event was set aside for it; report it as a bug.");
  if (down_ns(r) > 60'000'000'000)
    all.emplace_back("Let a supervisor start the process again at once (systemd: Restart=always, RestartSec=100ms).");
  if (all.empty()) all.emplace_back("Nothing. A store is stopped by killing it; this is what each start looks like.");
  return all;
}

std::string conclusions(const Lines& worked, const Lines& did_not, const Lines& next) {
  return section("What worked", list_of(worked)) + section("What did not", list_of(did_not)) +
         section("What to do next", list_of(next));
}

std::string failure_of(const Incident& incident) {
  return incident.component.empty() ? incident.failure : fmt::format("{} of {}", incident.failure, incident.component);
}

bool by_hand(const Incident& incident) { return incident.cause.is(Code::kAborted); }

std::string footer(const StoreFiles& files, const std::string& command) {
  return element(
      "footer", "",
      text_in("p",
              "Blameless: it tells what happened and why each decision was made, not who was near. "
              "Everything on this page is from the store's own record.") +
          element("p", "",
                  html("Made by ") + text_in("code", command) +
                      html(fmt::format(", store {}", files.store() ? store_id_text(*files.store()) : "not known"))));
}

std::string findings_section(const StoreFiles& files, const RecoveryReport& r) {
  std::string cards;
  for (std::size_t i = 0; i < std::min(r.findings.size(), kFindingsShown); ++i)
    cards += finding_card(files, r.findings[i]);
  const std::uint64_t more = r.findings.size() - std::min(r.findings.size(), kFindingsShown) + r.findings_dropped;
  if (more > 0)
    cards += text_in("p", fmt::format("and {} more; kvctl report {} has them", more, r.start_number), "class=\"dim\"");
  if (cards.empty()) cards = text_in("p", "Everything was as it had been written.", "class=\"dim\"");
  return section("Findings", cards);
}

}  // namespace

std::string reason_of(const RecoveryFinding& f) {
  std::string why;
  if (f.case_name == "load_lost") {
    why =
        "The log tells that a bulk load was finished, and its records are in runs alone; which runs, only manifests "
        "tell "
        "that cannot be used. The one that was taken may name them all the same. Nothing decides it, so the load is "
        "treated as lost: an error is better than a wrong answer.";
  } else if (f.verdict == "torn") {
    why =
        "It was never acknowledged: nothing proves that this write had come to its end, so leaving it out breaks no "
        "promise.";
  } else if (f.verdict == "corrupt") {
    why = f.proof.empty() || f.proof == "none"
              ? std::string("It does not verify, and had been whole.")
              : fmt::format("It had been acknowledged and no longer verifies; what proves that it was durable: {}.",
                            f.proof);
  } else if (f.verdict == "undecided") {
    why =
        "It may have been acknowledged. Nothing decides it, so it is treated as lost: an error is better than a wrong "
        "answer.";
  } else if (f.verdict == "poisoned") {
    why = "Its bytes verify, and still the event cannot be used.";
  } else if (f.verdict == "healed") {
    why = "It was hurt or missing in one place, and whole in another; the good copy was used.";
  } else if (f.verdict == "stale") {
    why = "It is no part of the store's present.";
  } else {
    why = "It was looked at and told.";
  }
  static const std::map<std::string, std::string, std::less<>> kThen{
      {"apply", "It was applied."},
      {"end_of_log", "The log ends there."},
      {"torn_tail_discard", "The log ends there, and its bytes were set aside."},
      {"heal_from_ring", "The copy in the tail ring, which outlives a kill, was applied."},
      {"poisoned_quarantine_by_footprint",
       "Its bytes were set aside; exactly the keys that it names answer with an error."},
      {"poisoned_range",
       "Its bytes were set aside; which keys it named is not known, so all that it may have are in doubt."},
      {"missing_range", "The keys that the missing events may have named are in doubt."},
      {"step_over", "It costs the present nothing, so the start went on behind it."},
      {"stale_ignore", "It was ignored."},
      {"block_key_range", "The keys between its first and its last answer with an error; everything else is served."},
      {"block_keyspace", "Each key of its keyspace answers with an error, unless something newer is known of it."},
      {"read_other_copy", "The other copy was read."},
      {"use_older_generation", "The snapshot before it was used, with a longer replay."},
      {"set_aside", "It was set aside."},
      {"serve_under_made_up_name", "Its data is served under a name made for it."}};
  if (const auto then = kThen.find(f.action); then != kThen.end()) why += " " + then->second;
  return why;
}

std::string summary_of(const RecoveryReport& r) {
  if (r.cause == "created")
    return fmt::format("The store was made on {}; there was nothing to recover.", time_text(r.started_wall_ns));
  std::string text = fmt::format("On {} the store started after {}, and served its first read {} later.",
                                 time_text(r.started_wall_ns), cause_words(r), duration_text(r.time_to_first_read_ns));
  text += r.clean() ? " Nothing that had been acknowledged is lost."
                    : fmt::format(
                          " At least {} acknowledged could not be brought back; the keys in doubt answer with an "
                          "error, all others are served.",
                          plural(r.lost.events, "event that was", "events that were"));
  if (r.healed.stretches > 0)
    text += fmt::format(" {} found hurt or missing and made whole.",
                        plural(r.healed.stretches, "place was", "places were"));
  if (r.discarded.stretches > 0)
    text += fmt::format(" {} of a write that was never acknowledged {} discarded.",
                        plural(r.discarded.stretches, "piece", "pieces"), r.discarded.stretches == 1 ? "was" : "were");
  return text;
}

std::string start_page(const StoreFiles& files, const RecoveryReport& r) {
  const std::int64_t budget = budget_of(files);
  const std::string title = fmt::format("Start {} of the store {}", r.start_number, files.directory());
  std::string body =
      element("header", "",
              element("p", "class=\"dim\"", html("Postmortem of a start")) + text_in("h1", title) +
                  element("p", "",
                          badge(r.clean() ? "nothing lost" : "data lost", r.clean() ? "ok" : "bad") +
                              badge("cause: " + r.cause, r.cause == "damage" || r.cause == "loss" ? "torn" : "idle") +
                              badge(r.outcome.substr(0, r.outcome.find(':')), r.outcome == "served" ? "ok" : "torn")) +
                  text_in("p", summary_of(r), "class=\"lead\""));
  const BlastRadius& blast = r.blast_radius;
  std::string tiles = tile(duration_text(r.time_to_first_read_ns), "until the first read");
  tiles += tile(down_ns(r) > 0 ? duration_text(down_ns(r)) : "not known", "without a process before");
  tiles += tile(count_text(r.events_replayed), "events replayed");
  tiles += tile(count_text(r.lost.events), "acknowledged events lost");
  tiles += tile(count_text(r.healed.stretches), "places healed");
  tiles += tile(fmt::format("{} of {}", blast.keyspaces_hurt, blast.keyspaces), "keyspaces in doubt");
  tiles += tile(fmt::format("{:.2f} %", blast.entry_ratio() * 100), "of all entries in doubt, at most");
  body += element("div", "class=\"tiles\"", tiles);

  std::vector<Moment> moments;
  if (r.last_sign_of_life_wall_ns != 0)
    moments.push_back({r.last_sign_of_life_wall_ns, "last sign of life of the process before", "idle"});
  moments.push_back({r.started_wall_ns, fmt::format("a process opened the store, policy {}", r.policy), "heal"});
  std::vector<Bar> passes;
  std::int64_t at = 0;
  std::int64_t replayed = 0;  // when all had been read
  for (const RecoveryPass& pass : r.passes) {
    passes.push_back({pass.name, at, pass.duration_ns, pass.bytes > 0 ? bytes_text(pass.bytes) : ""});
    at += pass.duration_ns;
    if (pass.name == "replay") replayed = at;
  }
  if (!r.findings.empty())
    moments.push_back({r.started_wall_ns + replayed,
                       fmt::format("{} by then", plural(r.findings.size() + r.findings_dropped, "finding", "findings")),
                       "torn"});
  moments.push_back({r.started_wall_ns + r.time_to_first_read_ns, "reads were served", "ok"});
  moments.push_back({r.started_wall_ns + std::max(r.total_ns, r.time_to_first_read_ns + 1),
                     "all passes were done: " + r.outcome, r.outcome == "served" ? "ok" : "bad"});
  std::vector<Problem> ignored;
  for (const IncidentFile& file : files.incidents(ignored)) {
    const Incident& i = file.incident;
    constexpr std::int64_t kNear = 3'600'000'000'000;
    if (i.began_wall_ns < r.started_wall_ns - kNear || i.began_wall_ns > r.started_wall_ns + kNear) continue;
    moments.push_back({i.began_wall_ns, fmt::format("incident {}: {}, {}", i.id, failure_of(i), file.state),
                       file.state == "resolved" ? "heal" : "bad"});
  }
  body += section("Timeline", timeline(std::move(moments), r.started_wall_ns));
  body += section("Where the time went", bars(passes));
  body += section("The log", log_map(files, r));
  body += findings_section(files, r);
  body += conclusions(what_worked(r, budget), what_did_not(r, budget), what_next(r, budget));
  std::string facts = fact("start", std::to_string(r.start_number)) + fact("policy", r.policy);
  facts +=
      fact("snapshot", r.snapshot.empty() ? "none" : fmt::format("{} at sequence {}", r.snapshot, r.snapshot_sequence));
  facts += fact("proven durable to", std::to_string(r.durable_mark)) +
           fact("last sequence", std::to_string(r.last_sequence));
  facts += fact("files looked at", count_text(r.files)) + fact("read", bytes_text(r.bytes_read));
  facts += fact("outcome", r.outcome);
  body += section("The start in numbers", element("dl", "", facts));
  body += footer(files, fmt::format("kvctl -d {} postmortem {} --html FILE", files.directory(), r.start_number));
  return page(title, body);
}

// --- one incident ----------------------------------------------------------------------------------------------------

std::string summary_of(const IncidentFile& file) {
  const Incident& i = file.incident;
  std::string text = by_hand(i)
                         ? fmt::format("On {} a person ran the playbook {}.", time_text(i.began_wall_ns), failure_of(i))
                         : fmt::format("On {} the store noticed {}: {}.", time_text(i.began_wall_ns), failure_of(i),
                                       i.cause.message());
  if (i.steps.empty() && file.state == "resolved") return text + " It was over before anything had to be done.";
  const auto done = static_cast<std::uint64_t>(
      std::count_if(i.steps.begin(), i.steps.end(), [](const Incident::Step& step) { return step.outcome == "done"; }));
  text += fmt::format(" It tried {}, of which {} did what it should.", plural(i.steps.size(), "step", "steps"), done);
  if (file.state == "resolved")
    return text + fmt::format(" After {} the failure was over.", duration_text(i.ended_wall_ns - i.began_wall_ns));
  if (file.state == "going on") return text + " It goes on.";
  if (file.state == "interrupted")
    return text + " Its process died in it; the next start found what still failed, and began anew.";
  return text + (i.over_wall_ns != 0 ? fmt::format(" That did not end it, and people were told; it was over after {}.",
                                                   duration_text(i.over_wall_ns - i.began_wall_ns))
                                     : " That did not end it, and people were told.");
}

std::string incident_page(const StoreFiles& files, const IncidentFile& file) {
  const Incident& i = file.incident;
  const std::string title = fmt::format("Incident {} of the store {}", i.id, files.directory());
  const std::string_view colour = file.state == "resolved" ? "ok" : file.state == "going on" ? "torn" : "bad";
  std::string body =
      element("header", "",
              text_in("p", "Postmortem of an incident", "class=\"dim\"") + text_in("h1", title) +
                  element("p", "", badge(file.state, colour) + badge(i.failure, "idle") + badge(i.component, "idle")) +
                  text_in("p", summary_of(file), "class=\"lead\""));
  const std::int64_t ended = file.state == "resolved" ? i.ended_wall_ns : i.over_wall_ns;
  std::string tiles = tile(ended != 0 ? duration_text(ended - i.began_wall_ns) : "not over", "until it was over");
  tiles += tile(std::to_string(i.steps.size()), "steps taken");
  tiles += tile(file.state, "outcome");
  body += element("div", "class=\"tiles\"", tiles);

  std::vector<Moment> moments{
      {i.began_wall_ns, by_hand(i) ? "a person ran the playbook" : "noticed: " + i.cause.to_string(), "bad"}};
  std::vector<Bar> steps;
  std::int64_t at = 0;
  std::string rows;
  for (const Incident::Step& step : i.steps) {
    const std::string_view painted = step.outcome == "done" ? "ok" : step.outcome == "skipped" ? "idle" : "bad";
    at += step.duration_ns;
    moments.push_back({i.began_wall_ns + at,
                       fmt::format("{}: {}", step.name, step.outcome.empty() ? "begun" : step.outcome), painted});
    steps.push_back({step.name, at - step.duration_ns, step.duration_ns, step.outcome, painted});
    rows += element("tr", "",
                    text_in("td", step.name) +
                        element("td", "", badge(step.outcome.empty() ? "begun" : step.outcome, painted)) +
                        text_in("td", duration_text(step.duration_ns), "class=\"n\"") +
                        text_in("td", step.status.ok() ? "" : step.status.to_string()));
  }
  if (i.ended_wall_ns != 0) moments.push_back({i.ended_wall_ns, "the playbook ended: " + i.outcome, colour});
  if (i.over_wall_ns != 0) moments.push_back({i.over_wall_ns, "the failure was over", "ok"});
  body += section("Timeline", timeline(std::move(moments), i.began_wall_ns));
  if (!steps.empty()) {
    body += section("Where the time went", bars(steps));
    body += section("Steps, from the mildest to the most drastic",
                    element("div", "class=\"scroll\"",
                            element("table", "",
                                    element("tr", "",
                                            text_in("th", "step") + text_in("th", "outcome") +
                                                text_in("th", "took", "class=\"n\"") + text_in("th", "why")) +
                                        rows)));
  }
  Lines worked, did_not, next;
  for (const Incident::Step& step : i.steps) {
    if (step.outcome == "done") worked.push_back(step.name);
    if (step.outcome == "failed" || step.outcome == "timed_out")
      did_not.push_back(fmt::format("{}: {}", step.name, step.status.ok() ? step.outcome : step.status.message()));
    if (!step.status.hint().empty()) next.push_back(step.status.hint());
  }
  if (i.steps.empty()) worked.emplace_back("The store looked again before it did anything.");
  if (file.state == "resolved") worked.emplace_back("The failure ended without a person.");
  if (file.state == "interrupted") did_not.emplace_back("The process was killed in the middle of it.");
  if (did_not.empty()) did_not.emplace_back("Nothing that the record tells.");
  if (worked.empty()) worked.emplace_back("People were told (EventListener::on_escalation).");
  if (!i.cause.hint().empty()) next.insert(next.begin(), i.cause.hint());
  if (file.state != "resolved" && i.over_wall_ns == 0)
    next.push_back(fmt::format("kvctl playbook run {}{} tries again, once the cause is mended.", i.failure,
                               i.failure == "worker_failing" ? " --component " + i.component : ""));
  if (next.empty()) next.emplace_back("Nothing; kvctl playbook history tells whether it comes back.");
  body += conclusions(worked, did_not, next);
  body += footer(files, fmt::format("kvctl -d {} postmortem {} --html FILE", files.directory(), i.id));
  return page(title, body);
}

// --- the command -----------------------------------------------------------------------------------------------------

namespace {

struct PostmortemOptions {
  std::string id = "latest";
  std::string html;
};

Result<Outcome> postmortem(Context& context, const PostmortemOptions& options) {
  if (options.html == "-" && context.json)
    return context.fail(kExitUsage, {Code::kInvalidArgument, "a page on stdout is no JSON: name a file"});
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kNone));
  std::vector<Problem> ignored;  // verify tells them
  std::vector<IncidentFile> incidents = files.incidents(ignored);
  std::vector<ReportFile> reports = files.reports(ignored);
  const bool latest = options.id == "latest";
  std::optional<RecoveryReport> start;
  std::optional<IncidentFile> incident;
  for (IncidentFile& file : incidents) {
    if (latest || file.incident.id == options.id) incident = std::move(file);
  }
  for (; !reports.empty() && !start; reports.pop_back()) {
    if (!latest && std::to_string(reports.back().number) != options.id) continue;
    auto report = files.read_report(reports.back());
    if (!report.ok() && !latest) return report.status();
    if (report.ok()) start = std::move(report).value();
  }
  if (start && incident && latest) {
    if (incident->incident.began_wall_ns > start->started_wall_ns)
      start.reset();
    else
      incident.reset();
  }
  if (!start && !incident) {
    return Status(Code::kNotFound,
                  fmt::format("there is neither a start nor an incident {}", encode(Encoding::kEscaped, options.id)),
                  {}, "kvctl report --list and kvctl playbook history show what is there");
  }
  Outcome outcome;
  const std::string summary = start ? summary_of(*start) : summary_of(*incident);
  outcome.json["id"] = start ? std::to_string(start->start_number) : incident->incident.id;
  outcome.json["kind"] = start ? "start" : "incident";
  outcome.json["summary"] = summary;
  if (options.html.empty()) {
    outcome.text = encode(Encoding::kEscaped, summary) + "\n";
    outcome.notes.emplace_back("--html FILE writes the whole of it");
    return outcome;
  }
  const std::string page = start ? start_page(files, *start) : incident_page(files, *incident);
  outcome.json["bytes"] = page.size();
  if (options.html == "-") {
    outcome.streamed = true;
    outcome.error = write_out(page);
    return outcome;
  }
  Context::put_bytes(outcome.json, "file", options.html, std::nullopt);
  if (!context.dry_run) DARUMA_TRY(write_page(options.html, page));
  if (!context.quiet)
    outcome.text =
        fmt::format("{} {} to {}\n", context.dry_run ? "would write" : "wrote", bytes_text(page.size()), options.html);
  return outcome;
}

}  // namespace

void register_postmortem(CLI::App& app, Context& context) {
  auto options = std::make_shared<PostmortemOptions>();
  CLI::App* command = add_command(app, context, "postmortem", "What happened, what it cost, and why it was decided so",
                                  [options](Context& c) { return postmortem(c, *options); });
  command->add_option("ID", options->id, "An incident, the number of a start, or latest");
  command->add_option("--html", options->html, "Writes one page that needs nothing else to a new file; -: stdout")
      ->type_name("FILE");
  command->footer(
      "Examples:\n  kvctl -d orders postmortem\n  kvctl -d orders postmortem 7 --html start7.html\n"
      "  kvctl -d orders postmortem i-18a3f0c2b4d5e6f7 --html incident.html\n"
      "Exit code 1: there is no such start or incident; 10: the file is there already.");
}

}  // namespace daruma::kvctl
