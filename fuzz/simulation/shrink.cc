// SPDX-License-Identifier: Apache-2.0
#include "simulation/shrink.h"

namespace daruma::simulation {
namespace {

class Shrinker {
 public:
  Shrinker(const Plan& plan, const Violation& violation, const Settings& settings, std::size_t runs_max)
      : settings_(settings), runs_max_(runs_max), best_{plan, violation, {}, 0} {
    settings_.trace = false;
  }

  Shrunk run() {
    for (bool smaller = true; smaller && best_.runs < runs_max_;) {
      smaller = thin([](Plan & plan) -> auto& { return plan.lives; });
      for (std::size_t i = 0; i < best_.plan.lives.size(); ++i) {
        smaller |= thin([i](Plan & plan) -> auto& { return plan.lives[i].acts; });
        smaller |= thin([i](Plan & plan) -> auto& { return plan.lives[i].wounds; });
        smaller |= thin([i](Plan & plan) -> auto& { return plan.lives[i].crashed_starts; });
        smaller |= without(i, [](Life& life) { return std::exchange(life.look_first, false); });
        smaller |= without(i, [](Life& life) { return std::exchange(life.refuse_first, false); });
        smaller |= without(i, [](Life& life) { return std::exchange(life.point_in_time, false); });
        smaller |= without(i, [](Life& life) { return std::exchange(life.start_fault, std::nullopt).has_value(); });
        smaller |= without(i, [](Life& life) { return std::exchange(life.death.half_done, false); });
        smaller |= without(i, [](Life& life) { return std::exchange(life.death.after, 0U) != 0; });
      }
    }
    settings_.trace = true;
    Totals ignored;
    Simulation last(best_.plan, settings_, ignored);
    if (const auto violation = last.run()) best_.violation = *violation;
    best_.history = last.history();
    return best_;
  }

 private:
  bool fails(const Plan& plan) {
    if (best_.runs >= runs_max_) return false;
    ++best_.runs;
    Totals ignored;
    const std::optional<Violation> violation = Simulation(plan, settings_, ignored).run();
    return violation && violation->promise == best_.violation.promise;
  }

  /// Leaves out stretches of a list, half of it first, then ever smaller ones.
  template <typename List>
  bool thin(const List& list) {
    bool any = false;
    for (std::size_t size = std::max<std::size_t>(1, list(best_.plan).size() / 2); size > 0; size /= 2) {
      for (std::size_t at = 0; at < list(best_.plan).size();) {
        Plan plan = best_.plan;
        auto& parts = list(plan);
        const auto from = parts.begin() + static_cast<std::ptrdiff_t>(at);
        parts.erase(from, from + static_cast<std::ptrdiff_t>(std::min(size, parts.size() - at)));
        if (fails(plan)) {
          best_.plan = std::move(plan);
          any = true;
        } else {
          at += size;
        }
      }
    }
    return any;
  }

  template <typename Change>
  bool without(std::size_t life, const Change& change) {
    Plan plan = best_.plan;
    if (!change(plan.lives[life]) || !fails(plan)) return false;
    best_.plan = std::move(plan);
    return true;
  }

  Settings settings_;
  std::size_t runs_max_;
  Shrunk best_;
};

}  // namespace

Shrunk shrink(const Plan& plan, const Violation& violation, const Settings& settings, std::size_t runs_max) {
  return Shrinker(plan, violation, settings, runs_max).run();
}

}  // namespace daruma::simulation
