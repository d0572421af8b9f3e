// SPDX-License-Identifier: Apache-2.0
// What the scenarios of demo_healing share. Each makes one failure happen for real and is a user like any other: it
// knows the public headers only.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "daruma/store.h"
#include "demo_catalogue/stage.h"

namespace demo {

struct Scene {
  Stage& stage;
  std::filesystem::path directory;  ///< of its own, empty
  std::mt19937_64 random;
  bool brief = false;  ///< the form that runs in the test suite
  [[nodiscard]] std::string store() const { return (directory / "store").string(); }
};

/// Each ends with the store's files in any state; threads and children that it began have ended. False: it could not be
/// played to its end, or a check failed. Nothing is decided by time: what takes long is waited for.
bool play_budget(Scene& scene);
bool play_full_disk(Scene& scene);
bool play_breaker(Scene& scene);
bool play_playbook(Scene& scene);
bool play_reboot(Scene& scene);
bool play_health(Scene& scene);

/// Seconds since `began`, as "+1.25 s".
std::string since(std::chrono::steady_clock::time_point began);
/// Until it holds; whoever plays decides how long that may take.
void wait_until(const std::function<bool()>& holds);
/// p in 0..1 of values in any order; 0 of none.
std::int64_t percentile(std::vector<std::int64_t>& values, double p);
/// "min 1.2 ms, median …, p90 …, p99 …, max …".
std::string spread(std::vector<std::int64_t> ns);

/// Opens it, or says why not.
std::optional<daruma::Store::Opened> must_open(Scene& scene, const std::string& directory,
                                               const daruma::Options& options);
std::optional<daruma::Keyspace> must_have_keyspace(Scene& scene, daruma::Store& store, const std::string& name);
std::optional<daruma::HealthCheck> check_named(const daruma::Health& health, std::string_view name);

/// Takes down what a listener hears, with times.
class Diary : public daruma::EventListener {
 public:
  void on_background_error(const std::string& what, const daruma::Status& status) override;
  void on_health(const daruma::Health& health) override;
  void on_escalation(const daruma::Incident& incident) override;
  void on_incident(const daruma::Incident& incident) override;
  /// What was heard since the last call.
  std::vector<std::string> take();
  [[nodiscard]] daruma::HealthLevel level() const;  ///< as heard last
  [[nodiscard]] std::vector<daruma::Incident> incidents() const;
  [[nodiscard]] std::vector<daruma::Incident> escalations() const;

 private:
  void note(const std::string& line);
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
  daruma::HealthLevel level_ = daruma::HealthLevel::kHealthy;
  std::vector<daruma::Incident> incidents_, escalations_;
};
void read_out(Scene& scene, Diary& diary);

/// A device that goes away, as far as files in one directory of a store are concerned, and comes back as it was.
class Unplugged {
 public:
  explicit Unplugged(std::filesystem::path directory);  ///< a file stands in its place from here on
  ~Unplugged() { plug_in(); }
  Unplugged(const Unplugged&) = delete;
  Unplugged& operator=(const Unplugged&) = delete;
  void plug_in();

 private:
  const std::filesystem::path directory_, away_;
  bool out_ = true;
};

}  // namespace demo
