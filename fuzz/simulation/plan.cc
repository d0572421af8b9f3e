// SPDX-License-Identifier: Apache-2.0
#include "simulation/plan.h"

#include <algorithm>

#include "base/coding.h"

namespace daruma::simulation {
namespace {

using Kind = Act::Kind;

struct Weight {
  Kind kind;
  unsigned weight;
};
// Roughly what a user does, with the rare things made frequent.
constexpr Weight kActs[] = {
    {Kind::kWrite, 34},   {Kind::kWriteLarge, 3}, {Kind::kCreate, 3}, {Kind::kRename, 2},     {Kind::kDrop, 1},
    {Kind::kGet, 8},      {Kind::kMultiGet, 3},   {Kind::kScan, 5},   {Kind::kMakeView, 3},   {Kind::kReadView, 4},
    {Kind::kDropView, 2}, {Kind::kSync, 4},       {Kind::kStep, 10},  {Kind::kCheckpoint, 8}, {Kind::kCompact, 3},
    {Kind::kScrub, 1},    {Kind::kWait, 2},       {Kind::kAccept, 1}, {Kind::kLoad, 3},
};

Kind draw_kind(Choices& choices) {
  std::uint64_t total = 0;
  for (const Weight& w : kActs) total += w.weight;
  std::uint64_t at = choices.below(total);
  for (const Weight& w : kActs) {
    if (at < w.weight) return w.kind;
    at -= w.weight;
  }
  return Kind::kWrite;
}

Death draw_death(Choices& choices, unsigned faults, std::uint64_t operations) {
  Death death;
  const std::uint64_t kind = choices.below(8);
  death.kind = kind == 0                        ? Death::Kind::kAbandon
               : kind < 4 || !(faults & kPower) ? Death::Kind::kKill
                                                : Death::Kind::kPowerCut;
  constexpr std::uint8_t kSurvive[] = {0, 20, 50, 50, 80, 100};
  death.survive_percent = kSurvive[choices.below(std::size(kSurvive))];
  if (death.kind != Death::Kind::kAbandon && !choices.one_in(5)) {
    death.after = 1 + static_cast<std::uint32_t>(choices.below(operations));
    death.half_done = choices.one_in(2);
  }
  return death;
}

struct NamedGroup {
  std::string_view name;
  unsigned faults;
};
constexpr NamedGroup kGroups[] = {{"all", kAllFaults}, {"none", 0},           {"power", kPower}, {"media", kMedia},
                                  {"files", kFiles},   {"running", kRunning}, {"shorn", kShorn}};

}  // namespace

std::optional<unsigned> parse_faults(std::string_view names) {
  unsigned faults = 0;
  while (!names.empty()) {
    const std::size_t comma = std::min(names.find(','), names.size());
    const std::string_view one = names.substr(0, comma);
    names.remove_prefix(std::min(comma + 1, names.size()));
    const auto* const group = std::find_if(std::begin(kGroups), std::end(kGroups),
                                           [&](const NamedGroup& known) { return known.name == one; });
    if (group == std::end(kGroups)) return std::nullopt;
    faults |= group->faults;
  }
  return faults;
}

std::uint64_t Choices::below(std::uint64_t n) {
  if (!bytes_) return random_.below(n);
  if (bytes_->empty() || n <= 1) return 0;
  std::uint64_t value = static_cast<std::uint8_t>(bytes_->front());
  bytes_->remove_prefix(1);
  if (n > 256 && !bytes_->empty()) {
    value = value << 8 | static_cast<std::uint8_t>(bytes_->front());
    bytes_->remove_prefix(1);
  }
  return value % n;
}

std::uint64_t Choices::number() {
  if (!bytes_) return random_.next();
  return below(1 << 16);
}

Plan make_plan(Choices& choices, const PlanSettings& settings) {
  Plan plan;
  plan.seed = choices.number();
  plan.sector_bytes = choices.one_in(3) ? 512 : 4096;
  if ((settings.faults & kShorn) && plan.seed % 3 != 1) plan.shorn_percent = 1 + plan.seed % 60;
  plan.wal_copies = plan.seed % 5 == 0 ? 2 : 1;
  plan.start_late = plan.seed % 2 == 0;
  plan.reboots = plan.seed % 3 == 1;
  plan.cache = !choices.one_in(3);
  // A history is calm or rough: where everything happens at once, nothing is held to what one fault may cost.
  const std::uint64_t roughness = choices.below(4);
  const std::uint64_t lives = 1 + choices.below(settings.lives);
  for (std::uint64_t i = 0; i < lives && !choices.exhausted(); ++i) {
    Life life;
    life.look_first = choices.one_in(8);
    life.refuse_first = choices.one_in(12);
    life.point_in_time = choices.one_in(12);
    while (choices.one_in(3) && life.crashed_starts.size() < 8) {
      Death death = draw_death(choices, settings.faults, 60);
      if (death.after == 0) death.after = 1 + static_cast<std::uint32_t>(choices.below(60));
      if (death.kind == Death::Kind::kAbandon) death.kind = Death::Kind::kKill;
      life.crashed_starts.push_back(death);
    }
    const bool errors = (settings.faults & kRunning) && choices.one_in(6 - roughness);
    if (errors && choices.one_in(3)) life.start_fault = Act{Kind::kFault, choices.number()};
    const std::uint64_t acts = choices.below(2 * settings.steps);
    for (std::uint64_t k = 0; k < acts && !choices.exhausted(); ++k) {
      Act act{draw_kind(choices), 0};
      if (errors && choices.one_in(8)) act.kind = choices.one_in(3) ? Kind::kMend : Kind::kFault;
      if ((settings.faults & kMedia) && roughness > 0 && choices.one_in(60)) act.kind = Kind::kWound;
      act.salt = choices.number();
      life.acts.push_back(act);
    }
    life.death = draw_death(choices, settings.faults, 4 * settings.steps);
    if (settings.faults & (kMedia | kFiles)) {
      const std::uint64_t most = roughness == 3 ? 4 : roughness == 2 ? 2 : 1;
      for (std::uint64_t n = choices.below(2) ? choices.below(most + 1) : 0; n > 0; --n)
        life.wounds.push_back({Kind::kWound, choices.number()});
    }
    plan.lives.push_back(std::move(life));
  }
  return plan;
}

std::string_view name(Act::Kind kind) {
  switch (kind) {
    case Kind::kWrite: return "write";
    case Kind::kWriteLarge: return "write large";
    case Kind::kLoad: return "load";
    case Kind::kCreate: return "create";
    case Kind::kRename: return "rename";
    case Kind::kDrop: return "drop";
    case Kind::kGet: return "get";
    case Kind::kMultiGet: return "multi_get";
    case Kind::kScan: return "scan";
    case Kind::kMakeView: return "make view";
    case Kind::kReadView: return "read view";
    case Kind::kDropView: return "drop view";
    case Kind::kSync: return "sync";
    case Kind::kStep: return "step";
    case Kind::kCheckpoint: return "checkpoint";
    case Kind::kCompact: return "compact";
    case Kind::kScrub: return "scrub";
    case Kind::kWait: return "wait";
    case Kind::kAccept: return "accept";
    case Kind::kFault: return "fault";
    case Kind::kMend: return "mend";
    case Kind::kWound: return "wound";
  }
  return "?";
}

std::string describe(const Death& death) {
  std::string text = death.kind == Death::Kind::kAbandon ? "abandoned"
                     : death.kind == Death::Kind::kKill
                         ? "killed"
                         : "power cut, " + std::to_string(death.survive_percent) + " % survives";
  if (death.after > 0)
    text += " at disk operation " + std::to_string(death.after) + (death.half_done ? ", half done" : "");
  return text;
}

}  // namespace daruma::simulation
