// SPDX-License-Identifier: Apache-2.0
// Lives, deaths and damage of a whole store, decoded from the input, against the model.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "simulation/simulation.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace daruma::simulation;
  Choices choices{std::string_view(reinterpret_cast<const char*>(data), size)};
  const Plan plan = make_plan(choices, {.lives = 6});
  Totals totals;
  if (const auto violation = Simulation(plan, {}, totals).run()) {
    std::fprintf(stderr, "%s: %s\n", violation->promise.c_str(), violation->what.c_str());
    std::abort();
  }
  return 0;
}
