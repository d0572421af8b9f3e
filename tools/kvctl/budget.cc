// SPDX-License-Identifier: Apache-2.0
//
// budget: how much unavailability a window allows, how much of it was used, and by what.
//
// What must stay true: it is counted from the flight recorder alone (starts and incidents), no moment twice, and what
// the recorder does not reach back to is said, not guessed. Nobody tells a store that was stopped on purpose from one
// that was killed, since it has no shutdown: --recovery-only leaves the time in which no process had it out.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "base/clock.h"
#include "kvctl/live.h"

namespace daruma::kvctl {

namespace {

struct BudgetOptions {
  double window_s = 30 * 86'400.0;
  std::string allowed = "99.9%";
  bool recovery_only = false;
};

/// One stretch of time in which reads or writes were not served as they should be.
struct Outage {
  std::int64_t began_ns = 0;
  std::int64_t ended_ns = 0;
  std::string what;   ///< down (no process had it), recovery (a start, until its first read), refused (an incident)
  std::string cause;  ///< as in RecoveriesOf
};

/// Availability as "99.9%", "99.9" or "0.999"; nothing when it is none.
std::optional<double> parse_ratio(std::string_view text) {
  const bool percent = text.ends_with('%');
  if (percent) text.remove_suffix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (percent || value > 1) value /= 100;
  if (!(value > 0 && value <= 1)) return std::nullopt;
  return value;
}

/// What kept answers back while it went on; the other kinds cost nobody an answer.
bool refuses(const Incident& incident) {
  return incident.failure == "log_down" || incident.failure == "no_space" || incident.failure == "data_lost";
}

struct Recorded {
  std::vector<Outage> outages;
  std::int64_t since_ns = 0;  ///< the first start that is still told of
  std::uint64_t undated = 0;  ///< starts before which nothing tells when the process was last alive
};

Recorded read_outages(const StoreFiles& files, std::vector<Problem>& problems, bool recovery_only, std::int64_t now) {
  Recorded all;
  std::vector<RecoveryReport> starts;
  for (const ReportFile& file : files.reports(problems)) {
    auto report = files.read_report(file);
    if (report.status().is(Code::kNotFound)) continue;
    if (!report.ok()) {
      problems.push_back(files.problem("report", "recoveries/" + file.name, report.status()));
      continue;
    }
    starts.push_back(std::move(report).value());
  }
  for (const RecoveryReport& start : starts) {
    if (all.since_ns == 0) all.since_ns = start.started_wall_ns;
    if (start.created) continue;
    all.outages.push_back(
        {start.started_wall_ns, start.started_wall_ns + start.time_to_first_read_ns, "recovery", start.cause});
    if (start.last_sign_of_life_wall_ns == 0) {
      ++all.undated;
    } else if (!recovery_only) {
      all.outages.push_back({start.last_sign_of_life_wall_ns, start.started_wall_ns, "down", start.cause});
    }
  }
  for (const IncidentFile& file : files.incidents(problems)) {
    const Incident& incident = file.incident;
    if (!refuses(incident) || incident.cause.is(Code::kAborted)) continue;
    std::int64_t ended = file.state == "resolved" ? incident.ended_wall_ns : incident.over_wall_ns;
    if (ended == 0) {  // until its process died, or until now
      const auto next = std::find_if(starts.begin(), starts.end(), [&](const RecoveryReport& start) {
        return start.started_wall_ns > incident.began_wall_ns;
      });
      ended = next != starts.end() ? std::max(next->last_sign_of_life_wall_ns, incident.ended_wall_ns) : now;
      if (next == starts.end() && !files.live()) ended = incident.ended_wall_ns;
    }
    all.outages.push_back({incident.began_wall_ns, ended, "refused", incident.failure});
  }
  return all;
}

/// Each moment goes to what began first.
std::map<std::pair<std::string, std::string>, std::pair<std::uint64_t, std::int64_t>> used_by_cause(
    std::vector<Outage> outages, std::int64_t from, std::int64_t to) {
  std::sort(outages.begin(), outages.end(), [](const Outage& a, const Outage& b) { return a.began_ns < b.began_ns; });
  std::map<std::pair<std::string, std::string>, std::pair<std::uint64_t, std::int64_t>> used;
  std::int64_t counted_to = from;
  for (const Outage& outage : outages) {
    const std::int64_t end = std::min(outage.ended_ns, to);
    if (end <= from || outage.began_ns >= to) continue;
    auto& [times, ns] = used[{outage.what, outage.cause}];
    ++times;
    ns += std::max<std::int64_t>(0, end - std::max(outage.began_ns, counted_to));
    counted_to = std::max(counted_to, end);
  }
  return used;
}

Result<Outcome> budget(Context& context, const BudgetOptions& options) {
  const std::optional<double> allowed = parse_ratio(options.allowed);
  if (!allowed) {
    return context.fail(
        kExitUsage,
        {Code::kInvalidArgument, "--allowed takes an availability", {}, "--allowed 99.9%, --allowed 0.999"});
  }
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kNone));
  std::vector<Problem> problems;
  const std::int64_t now = system_clock().wall_ns();
  const auto window = static_cast<std::int64_t>(options.window_s * 1e9);
  const std::int64_t from = now - window;
  const Recorded recorded = read_outages(files, problems, options.recovery_only, now);
  const auto used_by = used_by_cause(recorded.outages, from, now);
  std::int64_t used = 0;
  for (const auto& [cause, of] : used_by) used += of.second;
  const auto budget_ns = static_cast<std::int64_t>(static_cast<double>(window) * (1 - *allowed));
  const std::int64_t covered = recorded.since_ns == 0 ? 0 : std::min(window, now - recorded.since_ns);
  const double share = budget_ns > 0 ? static_cast<double>(used) / static_cast<double>(budget_ns) : used > 0 ? 1e9 : 0;
  const double burn = covered > 0 ? share * static_cast<double>(window) / static_cast<double>(covered) : 0;

  Outcome outcome;
  Json& json = outcome.json;
  json["window_ns"] = window;
  json["allowed_ratio"] = *allowed;
  json["budget_ns"] = budget_ns;
  json["used_ns"] = used;
  json["left_ns"] = budget_ns - used;
  json["used_ratio"] = share;
  json["burn_rate"] = burn;
  json["availability"] = covered > 0 ? 1 - static_cast<double>(used) / static_cast<double>(covered) : 1;
  json["covered_ns"] = covered;
  json["starts_undated"] = recorded.undated;
  json["by_cause"] = Json::array();
  std::vector<std::vector<std::string>> rows{{"what", "cause", "times", "took", "of the budget"}};
  for (const auto& [name, of] : used_by) {
    json["by_cause"].push_back({{"what", name.first}, {"cause", name.second}, {"times", of.first}, {"ns", of.second}});
    rows.push_back({name.first, encode(Encoding::kEscaped, name.second), count_text(of.first), duration_text(of.second),
                    budget_ns > 0 ? fmt::format("{:.2f} %",
                                                100.0 * static_cast<double>(of.second) / static_cast<double>(budget_ns))
                                  : "-"});
  }
  std::string& text = outcome.text;
  const bool exhausted = used > budget_ns;
  text = fmt::format("{} of {} used ({:.1f} %), {} left: {} of the last {} may be unavailable\n", duration_text(used),
                     duration_text(budget_ns), share * 100, duration_text(std::max<std::int64_t>(0, budget_ns - used)),
                     duration_text(budget_ns), duration_text(window));
  text += fmt::format(
      "burn rate {:.2f}: {}\n", burn,
      context.paint(burn > 1 ? "red" : "green", burn > 1 ? "at this rate it does not last" : "at this rate it lasts"));
  if (rows.size() > 1) text += table_text(context, rows, {2, 3, 4});
  if (covered < window)
    text += fmt::format("told of since {}: {} of the window\n",
                        recorded.since_ns == 0 ? "never" : time_text(recorded.since_ns), duration_text(covered));
  if (recorded.undated > 0)
    text += fmt::format("{} starts do not know when the process before was last alive: that time is not in it\n",
                        recorded.undated);
  tell_problems(context, problems, outcome);
  outcome.error = corruption(problems, files.directory());
  if (outcome.error.ok() && exhausted) {
    outcome.exit = kExitBudget;
    outcome.error = Status(Code::kUnavailable, "the error budget is exhausted", {},
                           "the table says by what; kvctl postmortem tells one of them in full");
  }
  return outcome;
}

}  // namespace

void register_budget(CLI::App& app, Context& context) {
  auto options = std::make_shared<BudgetOptions>();
  CLI::App* command = add_command(app, context, "budget", "How much unavailability is allowed, and what used it",
                                  [options](Context& c) { return budget(c, *options); });
  static const std::map<std::string, double> kUnits{{"s", 1}, {"min", 60}, {"h", 3600}, {"d", 86'400}};
  command->add_option("--window", options->window_s, "How far back (30d)")
      ->transform(CLI::AsNumberWithUnit(kUnits, CLI::AsNumberWithUnit::CASE_SENSITIVE).description(""))
      ->check(CLI::Range(1.0, 3650 * 86'400.0).description(""))
      ->type_name("DURATION");
  command->add_option("--allowed", options->allowed, "Availability that is promised (99.9%)")->type_name("RATIO");
  command->add_flag("--recovery-only", options->recovery_only,
                    "Leave out the time in which no process had the store: it is opened when it is needed");
  command->footer(
      "Examples:\n  kvctl -d orders budget\n  kvctl -d orders budget --window 7d --allowed 99.95%\n"
      "Counted are: no process (from the last sign of life to the start), starts until the first read, and incidents\n"
      "that refuse reads or writes. Exit code 8: exhausted.");
}

}  // namespace daruma::kvctl
