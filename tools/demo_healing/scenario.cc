// SPDX-License-Identifier: Apache-2.0
#include "demo_healing/scenario.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <thread>

namespace demo {

namespace fs = std::filesystem;

std::string since(std::chrono::steady_clock::time_point began) {
  char text[32];
  const double s = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  std::snprintf(text, sizeof text, "+%.2f s", s);
  return text;
}

void wait_until(const std::function<bool()>& holds) {
  while (!holds()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
}

std::int64_t percentile(std::vector<std::int64_t>& values, double p) {
  if (values.empty()) return 0;
  const auto at = static_cast<std::size_t>(p * static_cast<double>(values.size() - 1) + 0.5);
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
  return values[at];
}

std::string spread(std::vector<std::int64_t> ns) {
  const auto at = [&](double p) {
    const std::int64_t value = percentile(ns, p);
    char text[32];
    if (value < 100'000) {
      std::snprintf(text, sizeof text, "%.1f us", static_cast<double>(value) / 1e3);
      return std::string(text);
    }
    return milliseconds(value);
  };
  return "min " + at(0) + ", median " + at(0.5) + ", p90 " + at(0.9) + ", p99 " + at(0.99) + ", max " + at(1);
}

std::optional<daruma::Store::Opened> must_open(Scene& scene, const std::string& directory,
                                               const daruma::Options& options) {
  auto opened = daruma::Store::open(directory, options);
  if (opened.ok()) return std::move(*opened);
  scene.stage.check(false, "the store opens: " + opened.status().to_string());
  return std::nullopt;
}

std::optional<daruma::Keyspace> must_have_keyspace(Scene& scene, daruma::Store& store, const std::string& name) {
  auto keyspace = store.keyspace(name);
  if (!keyspace.ok()) keyspace = store.create_keyspace(name);
  if (keyspace.ok()) return *keyspace;
  scene.stage.check(false, "there is a keyspace " + name + ": " + keyspace.status().to_string());
  return std::nullopt;
}

std::optional<daruma::HealthCheck> check_named(const daruma::Health& health, std::string_view name) {
  for (const daruma::HealthCheck& check : health.checks) {
    if (check.name == name) return check;
  }
  return std::nullopt;
}

// --- Diary -----------------------------------------------------------------------------------------------------------

void Diary::note(const std::string& line) {
  std::lock_guard lock(mutex_);
  lines_.push_back(since(began_) + "  " + line);
}

void Diary::on_background_error(const std::string& what, const daruma::Status& status) {
  note(what + " failed: " + status.message());
}

void Diary::on_health(const daruma::Health& health) {
  std::string line = "health is " + std::string(daruma::health_level_name(health.level));
  for (const daruma::HealthCheck& check : health.checks) {
    if (!check.cause.ok()) line += "; " + check.name + " fails (" + std::string(code_name(check.cause.code())) + ")";
  }
  note(line);
  std::lock_guard lock(mutex_);
  level_ = health.level;
}

daruma::HealthLevel Diary::level() const {
  std::lock_guard lock(mutex_);
  return level_;
}

void Diary::on_escalation(const daruma::Incident& incident) {
  note("escalated to whoever listens: " + incident.failure + " (" + incident.component + ")");
  std::lock_guard lock(mutex_);
  escalations_.push_back(incident);
}

void Diary::on_incident(const daruma::Incident& incident) {
  note("playbook " + incident.failure + " (" + incident.component + ") ended: " + incident.outcome + ", " +
       incident.id);
  for (const daruma::Incident::Step& step : incident.steps) {
    note("  " + step.outcome + " in " + milliseconds(step.duration_ns) + ": " + step.name +
         (step.status.ok() ? "" : " (" + step.status.message() + ")"));
  }
  std::lock_guard lock(mutex_);
  incidents_.push_back(incident);
}

std::vector<std::string> Diary::take() {
  std::lock_guard lock(mutex_);
  return std::exchange(lines_, {});
}

std::vector<daruma::Incident> Diary::incidents() const {
  std::lock_guard lock(mutex_);
  return incidents_;
}

std::vector<daruma::Incident> Diary::escalations() const {
  std::lock_guard lock(mutex_);
  return escalations_;
}

void read_out(Scene& scene, Diary& diary) {
  for (const std::string& line : diary.take()) scene.stage.say("  " + line);
}

// --- Unplugged -------------------------------------------------------------------------------------------------------

Unplugged::Unplugged(fs::path directory) : directory_(std::move(directory)), away_(directory_.string() + ".away") {
  fs::rename(directory_, away_);
  std::ofstream(directory_) << "nothing can be opened below this\n";
}

void Unplugged::plug_in() {
  if (!out_) return;
  out_ = false;
  fs::remove(directory_);
  fs::rename(away_, directory_);
}

}  // namespace demo
