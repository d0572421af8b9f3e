// SPDX-License-Identifier: Apache-2.0
// What has been measured: one JSON file, which a stopped run finds again.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace race {

/// A racer, as it describes itself.
struct Racer {
  std::string name, version, settings;
  std::map<std::string, std::string> cannot;  ///< trial or trial.figure, with the reason
};

struct Outcome {
  std::string trial, store;
  unsigned round = 0;
  std::map<std::string, double> figures;
  std::string failed;  ///< how it ended; empty: well
};

/// Of one figure.
struct Sample {
  double middle = 0, least = 0, most = 0;
  std::size_t count = 0;
};
/// Of at least one value.
Sample sample_of(std::vector<double> values);

class Results {
 public:
  /// Reads what `path` holds; empty: keeps all in memory. A run that was made with other sizes ends the program.
  Results(std::string path, double scale, double seconds);
  void about(std::string machine, std::vector<Racer> racers);
  /// What failed may be tried again.
  [[nodiscard]] bool has(const std::string& trial, const std::string& store, unsigned round) const;
  /// Writes the file anew.
  void add(Outcome outcome);
  void save() const;

  [[nodiscard]] const std::string& machine() const { return machine_; }
  [[nodiscard]] const std::vector<Racer>& racers() const { return racers_; }
  [[nodiscard]] const std::vector<Outcome>& outcomes() const { return outcomes_; }
  [[nodiscard]] double scale() const { return scale_; }
  [[nodiscard]] double seconds() const { return seconds_; }
  /// Of all rounds; count 0: none.
  [[nodiscard]] Sample sample(const std::string& store, const std::string& trial, const std::string& figure) const;
  /// Why there is no sample; empty: nothing was tried.
  [[nodiscard]] std::string reason(const std::string& store, const std::string& trial, const std::string& figure) const;

 private:
  const std::string path_;
  double scale_, seconds_;
  std::string machine_;
  std::vector<Racer> racers_;
  std::vector<Outcome> outcomes_;
};

}  // namespace race
