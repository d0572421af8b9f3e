// SPDX-License-Identifier: Apache-2.0
// Makes a failing history short: leaves out lives, acts and faults while the same promise is still broken.
#pragma once

#include "simulation/simulation.h"

namespace daruma::simulation {

struct Shrunk {
  Plan plan;
  Violation violation;
  std::vector<std::string> history;
  std::size_t runs = 0;
};
Shrunk shrink(const Plan& plan, const Violation& violation, const Settings& settings, std::size_t runs_max = 1500);

}  // namespace daruma::simulation
