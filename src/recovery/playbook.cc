// SPDX-License-Identifier: Apache-2.0
#include "recovery/playbook.h"

#include <cstdio>

#include "base/json_writer.h"
#include "base/out_of_memory.h"

namespace daruma {
namespace {

constexpr std::string_view kPrefix = "incident-";
constexpr std::string_view kSuffix = ".json";

void run_step(const PlaybookStep& step, Incident& incident, Clock& clock) {
  Incident::Step& record = incident.steps.emplace_back();
  record.name = step.name;
  if (step.pre_check && !step.pre_check(incident)) {
    record.outcome = "skipped";
    return;
  }
  const std::int64_t began = clock.monotonic_ns();
  Status status = or_out_of_memory([&] { return step.execute(incident); });
  if (status.ok() && step.verify) status = or_out_of_memory([&] { return step.verify(incident); });
  Incident::Step& done = incident.steps.back();
  done.duration_ns = clock.monotonic_ns() - began;
  done.status = std::move(status);
  const bool late = done.duration_ns > std::chrono::nanoseconds(step.timeout).count();
  done.outcome = !done.status.ok() ? "failed" : late ? "timed_out" : "done";
}

}  // namespace

void carry_out(const Playbook& playbook, Incident& incident, Clock& clock,
               const std::function<void(const Incident&, const PlaybookStep*)>& progress) {
  incident.steps.reserve(playbook.steps.size());
  bool over = false;
  for (const PlaybookStep& step : playbook.steps) {
    if (progress) progress(incident, &step);
    run_step(step, incident, clock);
    const bool failed = !incident.steps.back().status.ok();
    if (playbook.sequence && failed) break;
    over = playbook.over && playbook.over();
    if (over) break;
  }
  incident.outcome = over || (playbook.steps.empty() && playbook.over && playbook.over()) ? "resolved" : "escalated";
  incident.ended_wall_ns = clock.wall_ns();
  if (progress) progress(incident, nullptr);
}

std::string Incident::to_json() const {
  JsonWriter j;
  j.begin_object().member("id", id).member("failure", failure).member("component", component);
  write_error(j, "cause", cause);
  j.member("began_wall_ns", began_wall_ns).member("ended_wall_ns", ended_wall_ns).member("over_wall_ns", over_wall_ns);
  j.key("steps").begin_array();
  for (const Step& step : steps) {
    j.begin_object().member("name", step.name).member("outcome", step.outcome);
    write_error(j, "error", step.status);
    j.member("duration_ns", step.duration_ns).end();
  }
  j.end().member("outcome", outcome).end();
  return j.take();
}

std::string incident_id(std::int64_t wall_ns) {
  char text[24];
  std::snprintf(text, sizeof text, "i-%016lx", static_cast<unsigned long>(wall_ns));
  return text;
}

std::string incident_file(std::string_view id) { return std::string(kPrefix) + std::string(id) + std::string(kSuffix); }

bool is_incident_file(std::string_view name) { return name.starts_with(kPrefix) && name.ends_with(kSuffix); }

void IncidentHistory::keep(const Incident& incident) {
  (void)or_out_of_memory([&]() -> Status {
    Status kept = publish(storage_, directory_, incident_file(incident.id), incident.to_json());
    if (!kept.ok() || incident.ended_wall_ns == 0) return kept;
    Result<std::vector<DirectoryEntry>> names = storage_.list(directory_);  // by name, so by time
    if (!names.ok()) return names.status();
    std::erase_if(*names, [](const DirectoryEntry& entry) { return !is_incident_file(entry.name); });
    for (std::size_t i = 0; i + kKept < names->size(); ++i) {
      Status removed = storage_.remove(directory_ + "/" + (*names)[i].name);
      if (!removed.ok()) return removed;
    }
    return {};
  });
}

}  // namespace daruma
