// SPDX-License-Identifier: Apache-2.0
// The finished trials: one line each in a file of tab-separated values, and what is made from them.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "survive/contender.h"

namespace survive {

struct Trial {
  std::string store, mode, fault, file_class;
  std::uint64_t seed = 0;
  std::string outcome;  ///< opened, refused, crashed, hung; or none: no such place to hurt
  std::uint64_t asked = 0, right = 0, reported = 0, missing = 0, stale = 0, wrong = 0, resurrected = 0;
  std::uint64_t scan_silent = 0, scan_error = 0, write_failed = 0, told = 0, repair_failed = 0;
  std::uint64_t ms = 0;
  std::string file;
  std::uint64_t offset = 0;

  using Key = std::tuple<std::string, std::string, std::string, std::string, std::uint64_t>;
  [[nodiscard]] Key key() const { return {store, mode, fault, file_class, seed}; }
  [[nodiscard]] bool opened() const { return outcome == "opened"; }
  [[nodiscard]] bool silent() const { return opened() && missing + stale + wrong + resurrected + scan_silent > 0; }
};

class Results {
 public:
  /// Reads what `path` holds already, and appends to it; empty: keeps all in memory.
  explicit Results(std::string path);
  [[nodiscard]] bool has(const Trial::Key& key) const { return done_.contains(key); }
  void add(const Trial& trial);
  [[nodiscard]] const std::vector<Trial>& trials() const { return trials_; }

 private:
  std::string path_;
  std::vector<Trial> trials_;
  std::set<Trial::Key> done_;
};

/// Many trials of one kind.
struct Cell {
  std::uint64_t trials = 0, opened = 0, refused = 0, crashed = 0, hung = 0;
  std::uint64_t silent = 0;  ///< trials with any answer that is wrong and not said to be
  std::uint64_t whole = 0;   ///< trials in which nothing was lost
  std::uint64_t write_failed = 0;
  double right = 0, reported = 0;  ///< sums over trials of the part of the keys; nothing of a trial that did not open
  void add(const Trial& trial);
};

/// Which group a class belongs to, of all stores that are known.
using Groups = std::map<std::pair<std::string, std::string>, std::string>;
Groups groups_of(const std::vector<Contender>& contenders);

std::string markdown(const std::vector<Contender>& contenders, const std::vector<Trial>& trials);
std::string picture(const std::vector<Contender>& contenders, const std::vector<Trial>& trials);

}  // namespace survive
