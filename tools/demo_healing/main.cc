// SPDX-License-Identifier: Apache-2.0
//
// A store heals itself while it runs: one scenario for each of its means. Each makes the failure happen for real, says
// in plain words what came of it, and checks by state and counters, never by time, that what is promised held.
//
// Exit code 0 only when every check held; 1: one did not; 2: it could not be played.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "demo_healing/scenario.h"

namespace {

struct Entry {
  const char* name;
  const char* title;
  bool (*play)(demo::Scene&);
};
constexpr Entry kScenarios[] = {
    {"budget", "Recovery budget: killed while writing at full speed", demo::play_budget},
    {"full-disk", "A disk that is full to the last byte", demo::play_full_disk},
    {"breaker", "Circuit breaker: a device that goes away and comes back", demo::play_breaker},
    {"playbook", "Playbook: lost beyond repair, and fetched from upstream", demo::play_playbook},
    {"reboot", "Microreboots under load", demo::play_reboot},
    {"health", "Health, down and up again", demo::play_health},
};

int usage() {
  std::fprintf(stderr,
               "demo_healing [--short] [--seed N] [--keep DIR] [SCENARIO...]\n\nscenarios, all when none is named:\n");
  for (const Entry& entry : kScenarios) std::fprintf(stderr, "  %-10s %s\n", entry.name, entry.title);
  return 2;
}

}  // namespace

int main(int count, char** words) {
  bool brief = false;
  std::uint64_t seed = std::random_device{}();
  std::filesystem::path keep;
  std::vector<const Entry*> chosen;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    if (word == "-h" || word == "--help") {
      usage();
      return 0;
    }
    if (word == "--short") {
      brief = true;
    } else if (word == "--seed" && i + 1 < count) {
      seed = std::strtoull(words[++i], nullptr, 10);
    } else if (word == "--keep" && i + 1 < count) {
      keep = words[++i];
    } else {
      const Entry* found = nullptr;
      for (const Entry& entry : kScenarios) {
        if (word == entry.name) found = &entry;
      }
      if (found == nullptr) return usage();
      chosen.push_back(found);
    }
  }
  if (chosen.empty()) {
    for (const Entry& entry : kScenarios) chosen.push_back(&entry);
  }
  std::filesystem::path root = keep;
  if (keep.empty()) {
    const char* temporary = std::getenv("TMPDIR");
    std::string path = std::string(temporary != nullptr ? temporary : "/tmp") + "/daruma-healing.XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) {
      std::fprintf(stderr, "demo_healing: no directory to play in: %s\n", std::strerror(errno));
      return 2;
    }
    root = path;
  }
  demo::Stage stage;
  stage.say("Seed " + std::to_string(seed) + "; the moments of kills are drawn from it.");
  bool played = true;
  for (const Entry* entry : chosen) {
    stage.act(entry->title);
    demo::Scene scene{stage, root / entry->name, std::mt19937_64(seed), brief};
    std::filesystem::create_directories(scene.directory);
    played = entry->play(scene) && played;
  }
  const bool held = played && stage.all_held();
  stage.say("");
  stage.say(std::to_string(stage.checks() - stage.failed()) + " of " + std::to_string(stage.checks()) +
            " checks held.");
  std::error_code ignored;
  if (held && keep.empty()) std::filesystem::remove_all(root, ignored);
  if (!held) stage.say("The files are left in " + root.string() + ".");
  return held ? 0 : 1;
}
