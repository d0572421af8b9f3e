// SPDX-License-Identifier: Apache-2.0
// The rows of the table, and how far ahead Daruma has to be.
#pragma once

#include <string>
#include <vector>

namespace race {

/// The best of the others, whoever that is.
inline constexpr const char* kBestPeer = "";
inline constexpr const char* kReference = "reference";
inline constexpr const char* kKeys = "keys";

struct Row {
  std::string title;
  std::string trial, figure = "rate";
  std::string unit = "1/s";
  double aim = 0;                   ///< least ratio of Daruma to what stands below, above 1 where it is ahead; 0: none
  std::string against = kBestPeer;  ///< or a store, the beginning of its name
  std::string against_trial = {};   ///< empty: the same
  bool pictured = false;
  double at = 0;  ///< in growth(): so many threads, or keys where scale is 1

  [[nodiscard]] bool more_is_better() const { return unit.ends_with("/s"); }
};

struct Section {
  std::string title;
  std::vector<Row> rows;
  std::string grows = {};  ///< in growth(): what there is ever more of
};

const std::vector<Section>& sections();
/// What becomes of some of them when there is more to do. Rows of one title, next to each other, are a curve.
const std::vector<Section>& growth();
/// Of the machine: what a store cannot be better than, or should not be worse.
const Section& references();

}  // namespace race
