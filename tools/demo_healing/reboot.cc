// SPDX-License-Identifier: Apache-2.0
//
// Microreboots: one keyspace is rebooted again and again while threads read and write others; then the log and the
// workers, under the same load. Everything is held against a model.
#include <atomic>
#include <map>
#include <thread>

#include "demo_healing/scenario.h"

namespace demo {
namespace {

using daruma::Code;
using daruma::Durability;
using daruma::Keyspace;
using daruma::Options;
using daruma::Store;
using Clock = std::chrono::steady_clock;
using Model = std::map<std::string, std::string>;

constexpr unsigned kOthers = 2;

std::int64_t timed(const std::function<void()>& work) {
  const auto began = Clock::now();
  work();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - began).count();
}

/// A keyspace with a thread that reads and writes it, and what it should hold.
class Customer {
 public:
  Customer(Store& store, Keyspace keyspace, std::uint64_t seed)
      : store_(store), keyspace_(keyspace), random_(seed), thread_([this] { serve(); }) {}
  ~Customer() { stop(); }
  Customer(const Customer&) = delete;
  Customer& operator=(const Customer&) = delete;
  void stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  /// From here on latencies go to this phase.
  void measure(unsigned phase) { phase_ = phase; }
  [[nodiscard]] std::uint64_t operations() const { return operations_; }
  [[nodiscard]] std::uint64_t wrong() const { return wrong_; }
  [[nodiscard]] std::uint64_t refused() const { return refused_; }
  // Once stopped.
  [[nodiscard]] const Model& model() const { return model_; }
  [[nodiscard]] const std::vector<std::int64_t>& gets(unsigned phase) const { return gets_[phase]; }
  [[nodiscard]] const std::vector<std::int64_t>& puts(unsigned phase) const { return puts_[phase]; }

 private:
  void serve() {
    for (; !stop_; ++operations_) {
      const unsigned phase = phase_;
      const std::string key = "key" + std::to_string(random_() % 20'000);
      if (random_() % 4 == 0) {
        std::string value = std::to_string(operations_) + std::string(100, 'v');
        daruma::Status put;
        puts_[phase].push_back(timed([&] { put = store_.put(keyspace_, key, value, {Durability::kProcess}); }));
        refused_ += !put.ok();
        if (put.ok()) model_[key] = std::move(value);
        continue;
      }
      auto got = daruma::Result<std::string>(daruma::Status(Code::kNotFound, ""));
      gets_[phase].push_back(timed([&] { got = store_.get(keyspace_, key); }));
      const auto expected = model_.find(key);
      const bool right =
          expected == model_.end() ? got.status().is(Code::kNotFound) : got.ok() && *got == expected->second;
      wrong_ += !right;
    }
  }

  Store& store_;
  const Keyspace keyspace_;
  std::mt19937_64 random_;
  std::atomic<bool> stop_{false};
  std::atomic<unsigned> phase_{0};
  std::atomic<std::uint64_t> operations_{0}, wrong_{0}, refused_{0};
  Model model_;
  std::vector<std::int64_t> gets_[3], puts_[3];
  std::thread thread_;
};

bool equal(const Store& store, Keyspace keyspace, const Model& model) {
  auto cursor = store.cursor(keyspace);
  if (!cursor.ok()) return false;
  cursor->seek_first();
  for (const auto& [key, value] : model) {
    if (!cursor->valid() || cursor->key() != key || cursor->value() != value) return false;
    cursor->next();
  }
  return !cursor->valid() && cursor->status().ok();
}

using Customers = std::vector<std::unique_ptr<Customer>>;

void tell(Scene& scene, const Customers& customers, unsigned phase, const std::string& when) {
  std::vector<std::int64_t> gets, puts;
  for (const auto& customer : customers) {
    gets.insert(gets.end(), customer->gets(phase).begin(), customer->gets(phase).end());
    puts.insert(puts.end(), customer->puts(phase).begin(), customer->puts(phase).end());
  }
  scene.stage.say(when + ": " + with_commas(gets.size()) + " gets, " + with_commas(puts.size()) + " puts");
  scene.stage.say("  get  " + spread(std::move(gets)));
  scene.stage.say("  put  " + spread(std::move(puts)));
}

/// Until all of them together have done so many operations more.
void let_work(const Customers& customers, std::uint64_t operations) {
  const auto done = [&] {
    std::uint64_t sum = 0;
    for (const auto& customer : customers) sum += customer->operations();
    return sum;
  };
  const std::uint64_t from = done();
  wait_until([&] { return done() >= from + operations; });
}

}  // namespace

bool play_reboot(Scene& scene) {
  Stage& stage = scene.stage;
  const unsigned reboots = scene.brief ? 10 : 100;
  const std::uint64_t between = scene.brief ? 2000 : 20'000;  // operations of the others
  Options options;
  options.reboots_per_hour = 100'000;
  options.recovery_budget = std::chrono::hours(1);
  options.memtable_bytes = 16 << 20;
  auto opened = must_open(scene, scene.store(), options);
  if (!opened) return false;
  Store& store = opened->store;
  const auto rebooted = must_have_keyspace(scene, store, "rebooted");
  if (!rebooted) return false;
  Model model;
  for (int i = 0; i < 5000; ++i) {
    const std::string key = "key" + std::to_string(i);
    model[key] = std::string(100, static_cast<char>('a' + i % 26));
    if (!store.put(*rebooted, key, model[key], {Durability::kProcess}).ok()) return stage.check(false, "writing");
    if (i == 2500 && !store.checkpoint().ok()) return stage.check(false, "a checkpoint");
  }
  std::vector<Keyspace> others;
  Customers customers;
  for (unsigned i = 0; i < kOthers; ++i) {
    const auto k = must_have_keyspace(scene, store, "other" + std::to_string(i));
    if (!k) return false;
    others.push_back(*k);
    customers.push_back(std::make_unique<Customer>(store, *k, scene.random()));
  }

  let_work(customers, 20'000);  // warm
  for (const auto& customer : customers) customer->measure(1);
  let_work(customers, reboots * between);
  for (const auto& customer : customers) customer->measure(2);
  std::vector<std::int64_t> took;
  std::uint64_t busy = 0;
  bool all_ok = true;
  for (unsigned i = 0; i < reboots; ++i) {
    const std::string key = "round" + std::to_string(i);
    daruma::Status done;
    took.push_back(timed([&] { done = store.reboot("keyspace rebooted"); }));
    if (!done.ok()) stage.say("  reboot " + std::to_string(i) + ": " + done.to_string());
    all_ok = all_ok && done.ok();
    daruma::Status put;
    wait_until([&] {
      put = store.put(*rebooted, key, "1", {Durability::kProcess});
      busy += put.is(Code::kUnavailable);
      return !put.is(Code::kUnavailable);
    });
    if (put.ok()) model[key] = "1";
    let_work(customers, between);
    stage.progress(std::to_string(i + 1) + " of " + std::to_string(reboots) + " reboots");
  }
  for (const auto& customer : customers) customer->measure(0);
  stage.check(all_ok, "one keyspace was rebooted " + std::to_string(reboots) + " times");
  stage.say("A reboot takes: " + spread(took));
  stage.check(equal(store, *rebooted, model), "it has all that was written to it, before and between");

  unsigned done = 0;
  for (unsigned round = 0; round < (scene.brief ? 1 : 5); ++round) {
    for (const char* component : {"log", "checkpoint", "compaction", "scrub", "cache"}) {
      const daruma::Status status = store.reboot(component);
      if (status.ok()) ++done;
      if (!status.ok()) stage.say("  " + std::string(component) + ": " + status.to_string());
      let_work(customers, 1000);
    }
  }
  stage.check(done == (scene.brief ? 5 : 25), "log, workers and cache were rebooted under the same load");
  std::uint64_t wrong = 0;
  std::uint64_t refused = 0;
  bool right = true;
  for (unsigned i = 0; i < kOthers; ++i) {
    customers[i]->stop();
    wrong += customers[i]->wrong();
    refused += customers[i]->refused();
    right = right && equal(store, others[i], customers[i]->model());
  }
  stage.say("The other keyspaces, meanwhile:");
  tell(scene, customers, 1, "without reboots");
  tell(scene, customers, 2, "while one is rebooted " + std::to_string(reboots) + " times");
  stage.check(wrong == 0 && refused == 0, "none of their answers was wrong, none of their writes refused");
  stage.check(right, "each of them holds exactly what was written to it");
  stage.check(equal(store, *rebooted, model), "so does the one that was rebooted");
  std::uint64_t counted = 0;
  for (const daruma::ComponentInfo& info : store.components()) counted += info.reboots;
  stage.check(counted == reboots + done, "the store has counted " + with_commas(counted) + " reboots");
  if (busy > 0) stage.say(with_commas(busy) + " puts to the keyspace were told that it is being rebooted");
  opened.reset();  // a kill and a start
  auto again = must_open(scene, scene.store(), options);
  return again && stage.check(equal(again->store, *again->store.keyspace("rebooted"), model) && again->report.clean(),
                              "and after a start too");
}

}  // namespace demo
