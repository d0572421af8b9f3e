// SPDX-License-Identifier: Apache-2.0
#include "engine/components.h"

namespace daruma {
namespace {

constexpr std::array<std::string_view, kParts> kNames = {"start",      "log",  "log copy", "checkpoint", "clean-up",
                                                         "compaction", "heal", "scrub",    "cache"};

std::size_t index(Part part) { return static_cast<std::size_t>(part); }

/// Writers wait for the log, so it is tried again sooner than the rest.
CircuitBreaker::Settings settings_of(Part part) {
  if (part == Part::kLog) return {.failures = 3, .first_rest_ns = 10'000'000, .longest_rest_ns = 1'000'000'000};
  return {};
}

}  // namespace

std::string_view part_name(Part part) { return kNames[index(part)]; }

std::optional<Part> part_named(std::string_view name) {
  for (std::size_t i = 0; i < kParts; ++i) {
    if (kNames[i] == name) return static_cast<Part>(i);
  }
  return std::nullopt;
}

Components::Components(std::uint64_t seed, unsigned reboots_per_hour)
    : reboots_per_hour_(reboots_per_hour), random_(seed) {
  parts_.reserve(kParts);
  for (std::size_t i = 0; i < kParts; ++i)
    parts_.push_back({{}, CircuitBreaker(settings_of(static_cast<Part>(i))), RestartLimit(reboots_per_hour)});
}

Status Components::admit(Part part, std::int64_t now_ns, bool& probe) {
  MutexLock lock(mutex_);
  CircuitBreaker& breaker = parts_[index(part)].breaker;
  Status admitted = breaker.admit(now_ns);
  probe = breaker.state() == CircuitBreaker::State::kHalfOpen;
  if (admitted.ok()) return {};
  return {Code::kUnavailable, std::string(part_name(part)) + " " + admitted.message(), admitted.where(),
          admitted.hint()};
}

bool Components::tell(Part part, const Status& status, std::int64_t now_ns) {
  if (status.ok() && failing_.load(std::memory_order_relaxed) == 0) return false;
  MutexLock lock(mutex_);
  Component& component = parts_[index(part)];
  if (status.is(Code::kAborted)) {  // stopped from outside: what it would have come to nobody knows
    component.breaker.failed(status, now_ns, random_);
    return false;
  }
  const bool same = component.last.code() == status.code() && component.last.message() == status.message();
  if (component.last.ok() != status.ok()) failing_.fetch_add(status.ok() ? -1U : 1U, std::memory_order_relaxed);
  component.last = status;
  if (status.ok()) {
    component.breaker.succeeded();
  } else {
    component.breaker.failed(status, now_ns, random_);
  }
  return !status.ok() && !same;
}

void Components::rest_no_longer() {
  if (failing_.load(std::memory_order_relaxed) == 0) return;
  MutexLock lock(mutex_);
  for (Component& component : parts_) component.breaker.rest_no_longer();
}

Status Components::last(Part part) const {
  MutexLock lock(mutex_);
  return parts_[index(part)].last;
}

bool Components::open(Part part) const {
  MutexLock lock(mutex_);
  return parts_[index(part)].breaker.state() != CircuitBreaker::State::kClosed;
}

Status Components::worst() const {
  MutexLock lock(mutex_);
  for (const Component& component : parts_) {
    if (!component.last.ok()) return component.last;
  }
  return {};
}

Status Components::take_reboot(std::string_view component, std::int64_t now_ns) {
  MutexLock lock(mutex_);
  const std::optional<Part> part = part_named(component);
  RestartLimit* reboots = nullptr;
  if (part) {
    reboots = &parts_[index(*part)].reboots;
  } else {
    reboots = &keyspaces_.try_emplace(std::string(component), reboots_per_hour_).first->second;
  }
  if (!reboots->take(now_ns)) {
    return {Code::kUnavailable,
            std::string(component) + " was rebooted " + std::to_string(reboots_per_hour_) + " times in the last hour",
            {},
            "what ails it is not cured by that: see `kvctl playbook history`; Options::reboots_per_hour is the limit"};
  }
  if (part) parts_[index(*part)].breaker.rest_no_longer();
  return {};
}

ComponentInfo Components::describe(std::string_view name, const RestartLimit& reboots, std::int64_t now_ns) {
  ComponentInfo info;
  info.name = name;
  info.breaker = breaker_state_name(CircuitBreaker::State::kClosed);
  info.reboots = reboots.taken();
  info.reboots_last_hour = reboots.last_hour(now_ns);
  info.reboots_per_hour = reboots.per_hour();
  return info;
}

std::vector<ComponentInfo> Components::list(std::int64_t now_ns) const {
  MutexLock lock(mutex_);
  std::vector<ComponentInfo> all;
  for (std::size_t i = 0; i < kParts; ++i) {
    const Component& component = parts_[i];
    ComponentInfo info = describe(kNames[i], component.reboots, now_ns);
    info.last = component.last;
    info.breaker = breaker_state_name(component.breaker.state());
    info.breaker_opened = component.breaker.opened();
    info.breaker_needless = component.breaker.needless();
    info.retry_in_ns = component.breaker.retry_in_ns(now_ns);
    all.push_back(std::move(info));
  }
  for (const auto& [name, reboots] : keyspaces_) all.push_back(describe(name, reboots, now_ns));
  return all;
}

}  // namespace daruma
