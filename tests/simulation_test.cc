// SPDX-License-Identifier: Apache-2.0
//
// A slice of the simulation (fuzz/simulation): histories of fixed seeds. And the simulation itself: the same seed gives
// the same history, and a store whose disk forgets names is found out.
#include "simulation/simulation.h"

#include <cstdlib>

#include <gtest/gtest.h>
#include <passing_storage.h>
#include <sanitized.h>

#include "base/random.h"
#include "simulation/shrink.h"

namespace daruma::simulation {
namespace {

std::optional<Violation> history_of(std::uint64_t seed, const Settings& settings, Totals& totals,
                                    std::vector<std::string>* lines = nullptr) {
  Choices choices(seed);
  PlanSettings drawn;
  drawn.faults = settings.faults;
  const Plan plan = make_plan(choices, drawn);
  Simulation simulation(plan, settings, totals);
  const std::optional<Violation> violation = simulation.run();
  if (lines) *lines = simulation.history();
  return violation;
}

constexpr std::uint64_t kHistories = kSanitized ? 10 : 30;

void expect_no_violation(std::uint64_t first, std::uint64_t histories, const Settings& settings, const char* faults) {
  Totals totals;
  for (std::uint64_t seed = first; seed < first + histories; ++seed) {
    const std::optional<Violation> violation = history_of(seed, settings, totals);
    if (violation) {
      ADD_FAILURE() << violation->promise << ": " << violation->what << "\n  tools/dev simulate --seed " << seed
                    << " --cycles 1 --faults " << faults;
    }
  }
  EXPECT_GT(totals.exact, 0U);
}

TEST(Simulation, KeepsEveryPromiseThroughKillsAndPowerCuts) {
  expect_no_violation(1, kHistories, {.faults = kPower}, "power");
}
TEST(Simulation, KeepsEveryPromiseWherePowerCutsShearSectors) {
  expect_no_violation(1, kHistories, {.faults = kPower | kShorn}, "power,shorn");
}
TEST(Simulation, KeepsEveryPromiseThroughErrors) {
  expect_no_violation(1, kHistories, {.faults = kPower | kRunning}, "power,running");
}
TEST(Simulation, KeepsEveryPromiseThroughEverything) {
  expect_no_violation(1, kHistories, {.faults = kAllFaults}, "all");
}

/// Of histories that once were not held, each for a reason of its own.
bool is_taken(std::uint64_t seed) { return !kSanitized || seed % 4 == 0; }

TEST(Simulation, KeepsEveryPromiseWhereItOnceDidNot) {
  for (const std::uint64_t seed : {2000121, 2001854, 2008863, 2009562, 2009837, 2010541, 5003952, 7001333, 7003776}) {
    if (is_taken(seed)) expect_no_violation(seed, 1, {.faults = kPower | kRunning | kMedia}, "power,running,media");
  }
  for (const std::uint64_t seed : {1700000916ULL, 5200011311ULL, 6100004135ULL}) {
    if (is_taken(seed)) expect_no_violation(seed, 1, {.faults = kAllFaults}, "all");
  }
  for (const std::uint64_t seed :
       {1000651,   1001293,   3000480,   3001870,   3002900,   3004527,   3005969,   3005990,    3007222,
        3008119,   3008493,   3009489,   3010406,   3010728,   4002168,   5000346,   5000650,    5002016,
        5002163,   6001120,   6001425,   11007590,  12002821,  12010370,  20005249,  20007922,   40001194,
        50002925,  50003506,  70002578,  80000289,  90000363,  100003519, 200003875, 200009725,  400006893,
        400010728, 520000445, 700003246, 700009704, 730000380, 820003992, 820004292, 1000011133, 250738}) {
    if (is_taken(seed))
      expect_no_violation(seed, 1, {.faults = kPower | kMedia | kFiles | kRunning}, "power,media,files,running");
  }
}

/// With every fault, from a seed that is drawn and printed. DARUMA_SIMULATION_HISTORIES: so many.
TEST(Simulation, KeepsEveryPromiseInHistoriesThatAreDrawn) {
  const char* histories = std::getenv("DARUMA_SIMULATION_HISTORIES");
  const std::uint64_t drawn = entropy_seed() % 1'000'000'000;
  std::printf("drawn seed %llu\n", static_cast<unsigned long long>(drawn));
  expect_no_violation(drawn, histories ? std::strtoull(histories, nullptr, 10) : kHistories, {.faults = kAllFaults},
                      "all");
}

TEST(Simulation, TheSameSeedGivesTheSameHistory) {
  for (const std::uint64_t seed : {3, 4, 5}) {
    Totals totals;
    std::vector<std::string> once, twice;
    static_cast<void>(history_of(seed, {.faults = kAllFaults, .trace = true}, totals, &once));
    static_cast<void>(history_of(seed, {.faults = kAllFaults, .trace = true}, totals, &twice));
    EXPECT_GT(once.size(), 10U);
    EXPECT_EQ(once, twice);
  }
}

/// Says that names are durable and does nothing.
class ForgetsNames final : public PassingStorage {
 public:
  explicit ForgetsNames(std::shared_ptr<SimStorage> disk) : PassingStorage(*disk), disk_(std::move(disk)) {}
  Status sync_directory(const std::string&) override { return {}; }

 private:
  const std::shared_ptr<SimStorage> disk_;
};

TEST(Simulation, FindsAStoreWhoseNamesAreNotDurableAndShrinksTheHistory) {
  Settings settings{.faults = kPower};
  settings.storage = [](std::shared_ptr<SimStorage> disk) { return std::make_shared<ForgetsNames>(std::move(disk)); };
  Totals totals;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const std::optional<Violation> violation = history_of(seed, settings, totals);
    if (!violation) continue;
    Choices choices(seed);
    const Plan plan = make_plan(choices, {.faults = kPower});
    const Shrunk shrunk = shrink(plan, *violation, settings, 150);
    EXPECT_EQ(shrunk.violation.promise, violation->promise);
    std::size_t acts = 0, acts_before = 0;
    for (const Life& life : shrunk.plan.lives) acts += life.acts.size();
    for (const Life& life : plan.lives) acts_before += life.acts.size();
    EXPECT_LT(acts, acts_before);
    EXPECT_FALSE(shrunk.history.empty());
    return;
  }
  FAIL() << "twenty histories passed on a disk that forgets every name";
}

}  // namespace
}  // namespace daruma::simulation
