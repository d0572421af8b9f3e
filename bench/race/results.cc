// SPDX-License-Identifier: Apache-2.0
#include "race/results.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include <nlohmann/json.hpp>

namespace race {

using nlohmann::json;

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Racer, name, version, settings, cannot)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Outcome, trial, store, round, figures, failed)

Sample sample_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  const double middle = values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
  return {middle, values.front(), values.back(), values.size()};
}

Results::Results(std::string path, double scale, double seconds)
    : path_(std::move(path)), scale_(scale), seconds_(seconds) {
  std::ifstream in(path_);
  if (path_.empty() || !in) return;
  const json all = json::parse(in, nullptr, false);
  if (all.is_discarded() || !all.contains("outcomes")) {
    std::fprintf(stderr, "race: %s holds something else\n", path_.c_str());
    std::exit(2);
  }
  all.at("machine").get_to(machine_);
  all.at("racers").get_to(racers_);
  all.at("outcomes").get_to(outcomes_);
  const double scale_there = all.at("scale"), seconds_there = all.at("seconds");
  if (scale_ == 0) scale_ = scale_there, seconds_ = seconds_there;
  if (scale_ != scale_there || seconds_ != seconds_there) {
    std::fprintf(stderr, "race: %s was made with --scale=%g --seconds=%g\n", path_.c_str(), scale_there, seconds_there);
    std::exit(2);
  }
}

void Results::about(std::string machine, std::vector<Racer> racers) {
  machine_ = std::move(machine);
  // One that is not built in any more keeps what it did.
  for (Racer& racer : racers_) {
    const auto same = [&](const Racer& other) { return other.name == racer.name; };
    if (std::none_of(racers.begin(), racers.end(), same)) racers.push_back(std::move(racer));
  }
  racers_ = std::move(racers);
}

bool Results::has(const std::string& trial, const std::string& store, unsigned round) const {
  return std::any_of(outcomes_.begin(), outcomes_.end(), [&](const Outcome& one) {
    return one.trial == trial && one.store == store && one.round == round && one.failed.empty();
  });
}

void Results::add(Outcome outcome) {
  std::erase_if(outcomes_, [&](const Outcome& one) {
    return one.trial == outcome.trial && one.store == outcome.store && one.round == outcome.round;
  });
  outcomes_.push_back(std::move(outcome));
  save();
}

void Results::save() const {
  if (path_.empty()) return;
  const std::string whole = path_ + ".tmp";
  std::ofstream out(whole);
  out << "{\"machine\": " << json(machine_) << ",\n\"scale\": " << json(scale_) << ", \"seconds\": " << json(seconds_)
      << ",\n\"racers\": " << json(racers_) << ",\n\"outcomes\": [";
  for (const Outcome& one : outcomes_) out << (&one == outcomes_.data() ? "\n" : ",\n") << json(one);
  out << "\n]}\n";
  out.close();
  if (!out || std::rename(whole.c_str(), path_.c_str()) != 0) {
    std::fprintf(stderr, "race: cannot write %s\n", path_.c_str());
    std::exit(1);
  }
}

Sample Results::sample(const std::string& store, const std::string& trial, const std::string& figure) const {
  std::vector<double> values;
  if (!reason(store, trial, figure).empty()) return {};
  for (const Outcome& one : outcomes_) {
    if (one.store != store || one.trial != trial || !one.failed.empty()) continue;
    if (const auto found = one.figures.find(figure); found != one.figures.end()) values.push_back(found->second);
  }
  return values.empty() ? Sample() : sample_of(std::move(values));
}

std::string Results::reason(const std::string& store, const std::string& trial, const std::string& figure) const {
  for (const Racer& racer : racers_) {
    if (racer.name != store) continue;
    for (const std::string& what : {trial, trial + "." + figure}) {
      if (const auto found = racer.cannot.find(what); found != racer.cannot.end()) return found->second;
    }
  }
  std::string failed;
  for (const Outcome& one : outcomes_) {
    if (one.store != store || one.trial != trial) continue;
    if (one.failed.empty()) return {};
    failed = one.failed;
  }
  return failed;
}

}  // namespace race
