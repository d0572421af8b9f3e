// SPDX-License-Identifier: Apache-2.0
//
// Playbooks: data is lost beyond repair while the store runs, and a step of the user's own fetches it from upstream;
// then the same where upstream does not answer.
#include <fstream>

#include "demo_healing/scenario.h"

namespace demo {
namespace {

namespace fs = std::filesystem;
using daruma::Code;
using daruma::Incident;
using daruma::Keyspace;
using daruma::Options;
using daruma::PlaybookStep;
using daruma::Status;
using daruma::Store;

constexpr int kKeys = 2000;

std::string key_of(int i) { return "key" + std::to_string(10'000 + i); }
std::string value_of(int i) {
  std::mt19937_64 random(static_cast<std::uint64_t>(i));  // not to be compressed: one run is the largest by far
  std::string value;
  while (value.size() < 200) value += static_cast<char>('a' + random() % 26);
  return value;
}

/// In one run, and three generations without another copy of it.
bool fill(Store& store, Keyspace k) {
  for (int i = 0; i < kKeys; ++i) {
    if (!store.put(k, key_of(i), value_of(i), {daruma::Durability::kProcess}).ok()) return false;
  }
  if (!store.compact(k).ok()) return false;
  for (int round = 0; round < 3; ++round) {
    if (!store.put(k, "tick", std::to_string(round)).ok() || !store.checkpoint().ok()) return false;
  }
  return true;
}

/// Everything in the largest run but its first sector.
void destroy_the_largest_run(const fs::path& store) {
  fs::path largest;
  for (const auto& entry : fs::directory_iterator(store / "runs")) {
    if (largest.empty() || entry.file_size() > fs::file_size(largest)) largest = entry.path();
  }
  std::fstream file(largest, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(4096);
  file << std::string(fs::file_size(largest) - 4096, 'x');
}

std::uint64_t count_answers(const Store& store, Keyspace k, bool right) {
  std::uint64_t count = 0;
  for (int i = 0; i < kKeys; ++i) {
    const auto got = store.get(k, key_of(i));
    count += right ? got.ok() && *got == value_of(i) : got.ok() && *got != value_of(i);
  }
  return count;
}

/// What the user's program knows how to do: every key whose answer is in doubt is asked of upstream and written again;
/// the loss is given up once all of them are answered.
Status refetch(Store& store, const Store& upstream, std::uint64_t& fetched) {
  const auto mine = store.keyspace("k");
  const auto theirs = upstream.keyspace("k");
  if (!mine.ok() || !theirs.ok()) return {Code::kNotFound, "no keyspace to fetch into, or from"};
  auto cursor = upstream.cursor(*theirs);
  if (!cursor.ok()) return cursor.status();
  for (cursor->seek_first(); cursor->valid(); cursor->next()) {
    const Status got = store.get(*mine, cursor->key()).status();
    if (!got.is(Code::kDataLoss) && !got.is(Code::kCorruption)) continue;
    if (Status put = store.put(*mine, cursor->key(), cursor->value()); !put.ok()) return put;
    ++fetched;
  }
  if (Status walked = cursor->status(); !walked.ok()) return walked;
  for (const daruma::DamageInfo& loss : store.damage()) {
    if (loss.accepted) continue;
    if (Status accepted = store.accept_damage(loss.id); !accepted.ok()) return accepted;
  }
  return {};
}

bool play_with(Scene& scene, const std::string& name, Store* upstream) {
  Stage& stage = scene.stage;
  const auto diary = std::make_shared<Diary>();
  Store* running = nullptr;
  std::uint64_t fetched = 0;
  PlaybookStep step;
  step.name = "fetch what is lost from upstream";
  step.execute = [&](const Incident&) -> Status {
    if (upstream == nullptr) return {Code::kUnavailable, "upstream does not answer"};
    return refetch(*running, *upstream, fetched);
  };
  step.verify = [&](const Incident&) -> Status {
    if (count_answers(*running, *running->keyspace("k"), true) == kKeys) return {};
    return {Code::kDataLoss, "not every key is answered"};
  };
  Options options;
  options.cache_bytes = 0;  // what is read is read from the file
  options.recovery_budget = std::chrono::hours(1);
  options.listener = diary;
  options.playbooks.push_back({"data_lost", {step}});
  auto opened = must_open(scene, (scene.directory / name).string(), options);
  if (!opened) return false;
  running = &opened->store;
  const auto k = must_have_keyspace(scene, opened->store, "k");
  if (!k || !fill(opened->store, *k)) return stage.check(false, "filling the store");
  stage.say("The file that holds " + with_commas(kKeys) + " keys is overwritten under the running store.");
  destroy_the_largest_run(scene.directory / name);
  const Status hurt = opened->store.get(*k, key_of(kKeys / 2)).status();
  stage.say("The first read of one of them: " + hurt.to_string());
  stage.check(hurt.is(Code::kCorruption) || hurt.is(Code::kDataLoss), "it is an error, not a wrong value");
  const auto ours = [&]() -> std::optional<Incident> {
    for (const Incident& incident : diary->incidents()) {
      if (incident.failure == "data_lost") return incident;
    }
    return std::nullopt;
  };
  wait_until([&] { return ours().has_value(); });
  const Incident incident = *ours();
  stage.say("What a listener heard:");
  read_out(scene, *diary);
  const std::string wanted = upstream != nullptr ? "resolved" : "escalated";
  stage.check(incident.outcome == wanted, "the incident is " + wanted);
  stage.check(fs::exists(scene.directory / name / "recoveries" / ("incident-" + incident.id + ".json")),
              "it stands in recoveries/, with every step: kvctl incident show " + incident.id);
  stage.check(count_answers(opened->store, *k, false) == 0, "no answer was wrong");
  if (upstream != nullptr) {
    stage.check(fetched > 0 && count_answers(opened->store, *k, true) == kKeys,
                with_commas(fetched) + " keys were fetched, and all " + with_commas(kKeys) + " are right again");
    const auto damage = check_named(opened->store.health(), "damage");
    stage.check(damage && damage->cause.ok(), "no loss is left");
  } else {
    stage.check(!diary->escalations().empty(), "whoever listens was told that somebody must do something");
    daruma::Health health;
    wait_until([&] {
      health = opened->store.health();
      const auto check = check_named(health, "playbook");
      return check && !check->cause.ok();
    });
    stage.check(health.level == daruma::HealthLevel::kDegraded && !health.reads.ok() && health.writes.ok(),
                "health stays degraded and says so: lost keys are refused, all others and writes are served");
  }
  return true;
}

}  // namespace

bool play_playbook(Scene& scene) {
  Options options;
  options.recovery_budget = std::chrono::hours(1);
  auto upstream = must_open(scene, (scene.directory / "upstream").string(), options);
  if (!upstream) return false;
  const auto k = must_have_keyspace(scene, upstream->store, "k");
  if (!k || !fill(upstream->store, *k)) return scene.stage.check(false, "filling upstream");
  if (!play_with(scene, "mended", &upstream->store)) return false;
  scene.stage.say("The same once more, and upstream does not answer.");
  return play_with(scene, "escalated", nullptr);
}

}  // namespace demo
