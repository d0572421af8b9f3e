// SPDX-License-Identifier: Apache-2.0
//
// Circuit breaker: the directory that checkpoints write to goes away under a running store, and comes back.
#include <atomic>
#include <thread>

#include "demo_healing/scenario.h"

namespace demo {
namespace {

using daruma::Code;
using daruma::ComponentInfo;
using daruma::Durability;
using daruma::Options;
using daruma::Store;

std::string breaker_of(const Store& store, ComponentInfo* out = nullptr) {
  for (const ComponentInfo& info : store.components()) {
    if (info.name != "checkpoint") continue;
    if (out) *out = info;
    return info.breaker;
  }
  return "";
}

/// Writes down each state that a breaker is seen in.
class Watcher {
 public:
  explicit Watcher(const Store& store) : thread_([this, &store] { watch(store); }) {}
  ~Watcher() { stop(); }
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;
  std::vector<std::string> stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    return seen_;
  }

 private:
  void watch(const Store& store) {
    const auto began = std::chrono::steady_clock::now();
    std::string last;
    while (!stop_) {
      ComponentInfo info;
      const std::string now = breaker_of(store, &info);
      if (now != last) seen_.push_back(since(began) + "  " + now + (info.last.ok() ? "" : ": " + info.last.message()));
      last = now;
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }
  std::atomic<bool> stop_{false};
  std::vector<std::string> seen_;
  std::thread thread_;
};

}  // namespace

bool play_breaker(Scene& scene) {
  Stage& stage = scene.stage;
  const auto diary = std::make_shared<Diary>();
  Options options;
  options.memtable_bytes = 1 << 20;  // a checkpoint is due soon
  options.recovery_budget = std::chrono::hours(1);
  options.listener = diary;
  auto opened = must_open(scene, scene.store(), options);
  if (!opened) return false;
  Store& store = opened->store;
  const auto k = must_have_keyspace(scene, store, "k");
  if (!k) return false;
  std::uint64_t written = 0;
  const auto write = [&] {
    const daruma::Status put =
        store.put(*k, "key" + std::to_string(written), std::string(1000, 'v'), {Durability::kProcess});
    written += put.ok();
    return put;
  };
  for (int i = 0; i < 100; ++i) {
    if (!write().ok()) return stage.check(false, "writing");
  }
  stage.check(store.checkpoint().ok() && breaker_of(store) == "closed",
              "a checkpoint works, and its breaker is closed");

  stage.say("The device behind runs/ goes away, and the writes go on until checkpoints are due.");
  Watcher watcher(store);
  Unplugged device(scene.directory / "store" / "runs");
  wait_until([&] {
    (void)write();
    return breaker_of(store) == "open";
  });
  ComponentInfo info;
  breaker_of(store, &info);
  stage.check(info.breaker_opened > 0, "after failures of one kind in a row it is open");
  // Whoever asks meanwhile gets the cause at once; only a call that comes when a rest is over tries the device.
  daruma::Status refused;
  wait_until([&] {
    refused = store.checkpoint();
    return refused.is(Code::kUnavailable);
  });
  stage.say("A checkpoint asked for by hand: " + refused.to_string());
  stage.check(refused.message().find("rests after it failed") != std::string::npos,
              "it fails fast, and names the cause");
  const std::uint64_t refused_at = written;
  stage.check(store.get(*k, "key0").ok() && store.get(*k, "key" + std::to_string(refused_at - 1)).ok(),
              "reads go on meanwhile");
  wait_until([&] { return !diary->escalations().empty(); });  // reboots of the worker do not bring a device back
  const auto failing = check_named(store.health(), "checkpoint");
  stage.check(failing && !failing->cause.ok(), "health says that checkpoints fail, and why");

  stage.say("The device comes back. Nobody tells the store.");
  device.plug_in();
  wait_until([&] { return breaker_of(store) == "closed" && diary->level() == daruma::HealthLevel::kHealthy; });
  stage.check(store.checkpoint().ok(), "a probe and one attempt later it is closed, and checkpoints work");
  bool whole = true;
  for (std::uint64_t i = 0; i < written; ++i) whole = whole && store.get(*k, "key" + std::to_string(i)).ok();
  stage.check(whole, "all " + with_commas(written) + " acknowledged writes are there");
  stage.say("The breaker, as it was seen (half_open lasts as long as the attempt that decides):");
  const std::vector<std::string> seen = watcher.stop();
  constexpr std::size_t kShown = 14;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    if (seen.size() > kShown && i == kShown / 2) stage.say("  … " + std::to_string(seen.size() - kShown) + " more");
    if (seen.size() <= kShown || i < kShown / 2 || i >= seen.size() - kShown / 2) stage.say("  " + seen[i]);
  }
  stage.say("And what a listener heard:");
  read_out(scene, *diary);
  return true;
}

}  // namespace demo
