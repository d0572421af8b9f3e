// SPDX-License-Identifier: Apache-2.0
//
// The demonstration: load a package catalogue, kill the loader, hurt the files, recover, compare with the source.
//
// What must stay true: every sentence that claims something is a check, and the exit code is 0 only when all held (1:
// one did not; 2: it could not be played). This program knows the public API only, as any user would.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <random>
#include <sstream>

#include "demo_catalogue/catalogue.h"
#include "demo_catalogue/compare.h"
#include "demo_catalogue/loader.h"
#include "demo_catalogue/stage.h"

namespace demo {
namespace {

using daruma::RecoveryFinding;
using daruma::RecoveryReport;
using daruma::Result;
using daruma::Store;

constexpr int kTryLater = 3;  // exit code of demo_wounds

struct Settings {
  std::string catalogue;
  std::string source = "the catalogue";  // in words
  std::string directory;
  std::string wounds;  // the program that hurts closed stores
  std::uint64_t kills = 40;
  std::uint64_t records = UINT64_MAX;
  std::uint64_t seed = 0;
};

class Demonstration {
 public:
  Demonstration(Settings settings, Catalogue catalogue)
      : settings_(std::move(settings)),
        catalogue_(std::move(catalogue)),
        board_(Board::make()),
        random_(settings_.seed),
        store_(settings_.directory + "/store") {}

  int run() {
    introduce();
    const bool through = load_and_kill() && cut_the_power() && load_the_rest() && poison_and_recover() && mend();
    conclude(through);
    return through && stage_.all_held() ? 0 : 1;
  }

 private:
  void introduce();
  bool load_and_kill();
  bool cut_the_power();
  bool load_the_rest();
  bool poison_and_recover();
  bool mend();
  void conclude(bool through);

  std::uint64_t below(std::uint64_t bound) { return bound ? random_() % bound : 0; }
  [[nodiscard]] std::uint64_t total() const { return catalogue_.records.size(); }
  void begin_life(std::uint64_t through, bool after_power_cut = false);
  bool wait_for(const std::function<bool()>& reached, const std::function<std::string()>& line);
  void kill_it();
  std::optional<std::vector<std::string>> hurt(const std::string& what);
  std::optional<Store::Opened> recover(const char* after);
  bool say_what_happened(const RecoveryReport& report);
  bool every_entry(const Store& store, std::uint64_t count, const Keys& damaged);
  [[nodiscard]] std::string loading() const;

  const Settings settings_;
  const Catalogue catalogue_;
  Board& board_;
  std::mt19937_64 random_;
  const std::string store_;
  Stage stage_;
  pid_t child_ = 0;
  std::uint64_t lives_ = 0, killed_ = 0;
  std::uint64_t singly_from_ = UINT64_MAX;
  std::vector<std::int64_t> recoveries_ns_;
  std::optional<std::uint64_t> poisoned_record_;
};

std::string plural(std::uint64_t n, const std::string& one, const std::string& many) {
  return with_commas(n) + " " + (n == 1 ? one : many);
}

void Demonstration::introduce() {
  stage_.act("The data");
  std::uint64_t entries = 0;
  for (const auto& room : expected_contents(catalogue_, total())) entries += room.size();
  stage_.say(with_commas(total()) + " records (" + megabytes(catalogue_.bytes) + "), from " + settings_.source + ".");
  stage_.say(
      "Each becomes one batch: the record under its name, and where to find it by maintainer, by section and by");
  stage_.say("what it provides. That is " + with_commas(entries) +
             " entries in four keyspaces. A batch goes in whole, or not at all.");
  stage_.say("Seed " + std::to_string(settings_.seed) + "; the same seed draws the same moments again.");
}

std::string Demonstration::loading() const {
  const std::uint64_t done = board_.safe_from_kill;
  const std::uint64_t width = 30;
  const std::uint64_t filled = total() ? done * width / total() : 0;
  std::string bar(filled, '#');
  bar.resize(width, '.');
  return "[" + bar + "] " + with_commas(done) + " of " + with_commas(total()) + " records, killed " +
         std::to_string(killed_) + " times, last recovery " + milliseconds(board_.recovery_ns);
}

void Demonstration::begin_life(std::uint64_t through, bool after_power_cut) {
  board_.finished = false;
  Life life;
  life.directory = store_;
  life.number = ++lives_;
  life.at_least = after_power_cut ? board_.safe_from_power : board_.safe_from_kill;
  life.through = through;
  life.singly_from = singly_from_;
  child_ = start_loader(catalogue_, life, board_);
}

/// False when the loader stopped by itself, which it does only when something is wrong.
bool Demonstration::wait_for(const std::function<bool()>& reached, const std::function<std::string()>& line) {
  for (unsigned round = 0; !reached(); ++round) {
    int status = 0;
    if (::waitpid(child_, &status, WNOHANG) == child_) {
      child_ = 0;
      return stage_.check(false, "the loader stopped by itself: " +
                                     (board_.problem[0] ? std::string(board_.problem) : std::string("it crashed")));
    }
    if (round % 100 == 0) stage_.progress(line());
    ::usleep(200);
  }
  return true;
}

void Demonstration::kill_it() {
  ::kill(child_, SIGKILL);
  int status = 0;
  ::waitpid(child_, &status, 0);
  child_ = 0;
  ++killed_;
}

bool Demonstration::load_and_kill() {
  stage_.act("Loading, while the loader is killed " + std::to_string(settings_.kills) + " times with kill -9");
  stage_.say("There is no clean way to stop this store, so this is the only way it is ever stopped.");
  // Most kills come when a record drawn beforehand has been reached, some at any time after the start.
  const std::uint64_t end = total() * 85 / 100;
  std::vector<std::uint64_t> targets;
  std::vector<bool> early;
  for (std::uint64_t i = 0; i < settings_.kills; ++i) early.push_back(i > 0 && below(5) == 0);
  for (std::uint64_t i = 0; i < settings_.kills; ++i) targets.push_back(1 + below(end));
  std::sort(targets.begin(), targets.end());
  std::uint64_t while_recovering = 0;
  const auto line = [this] { return loading(); };
  for (std::uint64_t i = 0; i < settings_.kills; ++i) {
    begin_life(total());
    const auto recovered = [this] { return board_.life == lives_; };
    if (early[i]) {
      ::usleep(static_cast<useconds_t>(below(20'000)));
    } else {
      if (!wait_for([&] { return recovered() && board_.safe_from_kill >= targets[i]; }, line)) return false;
      ::usleep(static_cast<useconds_t>(below(3'000)));
    }
    kill_it();
    if (recovered()) {
      if (lives_ > 1) recoveries_ns_.push_back(board_.recovery_ns);
    } else {
      ++while_recovering;
    }
  }
  begin_life(total() * 90 / 100);  // what the last kill left is recovered too, and loaded on
  if (!wait_for([this] { return board_.life == lives_; }, line)) return false;
  recoveries_ns_.push_back(board_.recovery_ns);
  stage_.say("Killed " + plural(killed_, "time", "times") + ", " + with_commas(while_recovering) +
             " of them before it had finished recovering from the kill before.");
  stage_.check(board_.problem[0] == '\0',
               "every start came back with every record that had been acknowledged, and went on");
  stage_.check(board_.problem[0] == '\0', "no start found a half batch, or anything behind the last whole one");
  stage_.times("How long each recovery took, in milliseconds:", recoveries_ns_);
  return true;
}

/// Runs the program that hurts; its sentences, none when the files are in no state for it, nothing when it failed.
std::optional<std::vector<std::string>> Demonstration::hurt(const std::string& what) {
  const std::string command =
      "'" + settings_.wounds + "' " + what + " '" + store_ + "' " + std::to_string(random_() % 1'000'000);
  std::FILE* const pipe = ::popen(command.c_str(), "r");
  if (!pipe) return std::nullopt;
  std::string said;
  std::array<char, 4096> room{};
  for (std::size_t n = 0; (n = std::fread(room.data(), 1, room.size(), pipe)) > 0;) said.append(room.data(), n);
  const int status = ::pclose(pipe);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kTryLater) return std::vector<std::string>();
  if (status != 0) {
    stage_.check(false, "hurting the files with " + command);
    return std::nullopt;
  }
  std::vector<std::string> lines;
  std::istringstream in(said);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::optional<Store::Opened> Demonstration::recover(const char* after) {
  Result<Store::Opened> opened = Store::open(store_, demo_options());
  if (!stage_.check(opened.ok(), std::string("the store opens after ") + after +
                                     (opened.ok() ? "" : ": " + opened.status().to_string()))) {
    return std::nullopt;
  }
  recoveries_ns_.push_back(opened->report.total_ns);
  stage_.say("Its report:");
  stage_.quote(opened->report.to_text());
  return *opened;
}

/// The report again, in plain words. False when set-aside bytes are not where the report says.
bool Demonstration::say_what_happened(const RecoveryReport& report) {
  bool held = true;
  stage_.say("In plain words:");
  stage_.say("  kept       everything up to write " + with_commas(report.last_sequence) + "; " +
             plural(report.events_replayed, "write", "writes") + " newer than the last snapshot came from the log");
  if (report.discarded.stretches == 0) {
    stage_.say("  discarded  nothing");
  } else {
    stage_.say("  discarded  " + with_commas(report.discarded.bytes) +
               " bytes of a write that had only begun. Nobody had been told that it was done");
  }
  if (report.clean()) stage_.say("  lost       nothing");
  bool anything_kept = false;
  for (const RecoveryFinding& finding : report.findings) {
    if (finding.quarantine_id.empty()) continue;
    anything_kept = true;
    if (finding.verdict != "torn") {
      stage_.say("  lost       write " + with_commas(finding.first_sequence) +
                 ": it had been acknowledged, and its bytes no longer match their checksum");
    }
    stage_.say("  set aside  " + with_commas(finding.bytes) + " bytes as they were found, in quarantine/" +
               finding.quarantine_id + ".bytes");
    std::error_code error;
    const auto kept = std::filesystem::file_size(store_ + "/quarantine/" + finding.quarantine_id + ".bytes", error);
    held = held && !error && kept == finding.bytes;
  }
  if (!anything_kept) stage_.say("  set aside  nothing");
  stage_.say("  took       " + milliseconds(report.total_ns));
  return held;
}

bool Demonstration::every_entry(const Store& store, std::uint64_t count, const Keys& damaged) {
  const Comparison sum = compare_each(store, expected_contents(catalogue_, count), damaged);
  std::string said = "each of " + with_commas(sum.equal + sum.withheld + sum.wrong + sum.missing + sum.answered) +
                     " entries read and compared with the source: " + with_commas(sum.equal) + " equal, " +
                     with_commas(sum.wrong) + " wrong, " + with_commas(sum.missing) + " missing";
  if (!damaged.empty()) said += ", " + with_commas(sum.withheld) + " refused because damaged";
  if (!sum.first_problem.empty()) said += ". First: " + sum.first_problem;
  return stage_.check(sum.ok() && sum.withheld == damaged.size(), said);
}

bool Demonstration::cut_the_power() {
  stage_.act("A power cut in the middle of a write");
  const auto line = [this] { return loading(); };
  std::uint64_t target = total() * 86 / 100 + below(total() * 2 / 100);
  std::optional<std::vector<std::string>> done;
  for (int attempt = 0;; ++attempt) {
    if (!wait_for([&] { return board_.safe_from_kill >= target; }, line)) return false;
    kill_it();
    done = hurt("power-cut");
    if (!done) return false;
    if (!done->empty()) break;
    if (attempt == 5) return stage_.check(false, "the log has room for one more write");
    target = board_.safe_from_kill + 1 + below(total() / 200);
    begin_life(total());
  }
  stage_.say("The loader is killed, and then this is done to the closed files, as a power cut would:");
  for (const std::string& sentence : *done) stage_.say("  " + sentence);
  std::optional<Store::Opened> opened = recover("the power cut");
  if (!opened) return false;
  say_what_happened(opened->report);
  const std::uint64_t back = records_in(opened->store);
  stage_.check(opened->report.discarded.stretches != 0 && opened->report.clean(),
               "the torn write is discarded, and nothing acknowledged is called lost");
  if (!stage_.check(back != UINT64_MAX && back >= board_.safe_from_power,
                    with_commas(board_.safe_from_power) + " records were acknowledged as safe from power loss; " +
                        with_commas(back) + " are there")) {
    return false;
  }
  board_.safe_from_kill = back;
  return every_entry(opened->store, back, {});
}

bool Demonstration::load_the_rest() {
  stage_.act("The rest of the records");
  const std::uint64_t singly = std::clamp<std::uint64_t>(total() * 3 / 100, 16, 1000);
  singly_from_ = total() - std::min(total(), singly);
  begin_life(total(), true);
  if (!wait_for([this] { return board_.finished.load(); }, [this] { return loading(); })) return false;
  recoveries_ns_.push_back(board_.recovery_ns);
  kill_it();
  return stage_.check(board_.safe_from_power == total(),
                      "all " + with_commas(total()) + " records are loaded; the loader is killed once more");
}

/// "key <id of its keyspace> <hex of the key>"; nothing for the key that every later record writes again.
std::optional<std::pair<Room, std::string>> parse_key(const std::string& line, const Store& store) {
  std::istringstream in(line);
  std::string word, hex;
  std::uint32_t id = 0;
  in >> word >> id >> hex;
  std::string key;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    key += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  for (unsigned room = 0; room < kRooms; ++room) {
    const Result<daruma::Keyspace> keyspace = store.keyspace(kRoomNames[room]);
    if (keyspace.ok() && keyspace.value().id() == id) return std::pair(static_cast<Room>(room), key);
  }
  return std::nullopt;
}

bool Demonstration::poison_and_recover() {
  stage_.act("One acknowledged record, poisoned");
  const std::optional<std::vector<std::string>> done = hurt("poison");
  if (!done) return false;
  stage_.say("This is done to the closed files:");
  for (const std::string& sentence : *done) {
    if (!sentence.starts_with("key ")) stage_.say("  " + sentence);
  }
  std::optional<Store::Opened> opened = recover("that");
  if (!opened) return false;
  Keys damaged;
  for (const std::string& sentence : *done) {
    if (!sentence.starts_with("key ")) continue;
    if (auto key = parse_key(sentence, opened->store)) damaged.insert(*std::move(key));
  }
  for (std::uint64_t i = 0; i < total(); ++i) {
    if (damaged.contains({kPackages, catalogue_.records[i].id})) poisoned_record_ = i;
  }
  if (!stage_.check(poisoned_record_.has_value(),
                    poisoned_record_ ? "that was the record of '" + catalogue_.records[*poisoned_record_].id + "'"
                                     : "a record was poisoned")) {
    return false;
  }
  stage_.check(say_what_happened(opened->report), "what was set aside is there, to the byte");
  stage_.check(!opened->report.clean() && opened->report.lost.events == 1,
               "the loss is told as a loss: one acknowledged write");
  stage_.check(records_in(opened->store) == total(), "the writes after it are all there");
  return every_entry(opened->store, total(), damaged);
}

bool Demonstration::mend() {
  stage_.act("Mended from the source, killed once more, compared whole");
  {
    Result<Store::Opened> opened = Store::open(store_, demo_options());
    if (!stage_.check(opened.ok() && !opened->store.damage().empty(),
                      "the store opens again, and still knows what is damaged"))
      return false;
    recoveries_ns_.push_back(opened->report.total_ns);
    Store store = opened->store;
    daruma::Batch batch;
    for (const Entry& entry : catalogue_.records[*poisoned_record_].entries()) {
      const Result<daruma::Keyspace> room = store.keyspace(kRoomNames[entry.room]);
      if (room.ok()) batch.put(*room, entry.key, entry.value);
    }
    if (!stage_.check(store.write(batch).ok(), "the poisoned record is written again from the source")) return false;
    for (const daruma::DamageInfo& damage : store.damage()) {
      stage_.check(store.accept_damage(damage.id).ok(), "damage " + std::to_string(damage.id) + " (" + damage.keys +
                                                            ", " + damage.cause + ") is marked as dealt with");
    }
  }
  begin_life(total());
  if (!wait_for([this] { return board_.life == lives_; }, [this] { return loading(); })) return false;
  kill_it();
  recoveries_ns_.push_back(board_.recovery_ns);
  Result<Store::Opened> opened = Store::open(store_, demo_options());
  if (!stage_.check(opened.ok() && opened->report.clean(), "killed and recovered, with nothing to report"))
    return false;
  recoveries_ns_.push_back(opened->report.total_ns);
  const Comparison sum = compare_whole(opened->store, expected_contents(catalogue_, total()));
  return stage_.check(sum.ok(), "the whole store walked beside the source: " + with_commas(sum.equal) +
                                    " entries equal, " + with_commas(sum.missing) + " missing, " +
                                    with_commas(sum.wrong) + " wrong, " + with_commas(sum.extra) + " too many" +
                                    (sum.first_problem.empty() ? "" : ". First: " + sum.first_problem));
}

void Demonstration::conclude(bool through) {
  if (child_ != 0) kill_it();
  stage_.act("In short");
  if (!through) stage_.say("The demonstration stopped at the failure above.");
  if (!recoveries_ns_.empty()) {
    std::vector<std::int64_t> sorted = recoveries_ns_;
    std::sort(sorted.begin(), sorted.end());
    stage_.say(plural(killed_, "kill", "kills") + ", " + plural(sorted.size(), "recovery", "recoveries") +
               " timed: fastest " + milliseconds(sorted.front()) + ", half of them within " +
               milliseconds(sorted[sorted.size() / 2]) + ", slowest " + milliseconds(sorted.back()) + ".");
  }
  stage_.say(stage_.all_held() && through
                 ? "All " + std::to_string(stage_.checks()) +
                       " checks held. No acknowledged record was lost to a kill or to the power cut;"
                 : std::to_string(stage_.failed()) + " of " + std::to_string(stage_.checks()) + " checks FAILED.");
  if (stage_.all_held() && through)
    stage_.say("the one that was destroyed on purpose was named, refused rather than answered wrongly, and mended.");
  if (!through || !stage_.all_held()) stage_.say("What is left of the store is in " + store_);
}

std::string read_all(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

int usage() {
  std::fprintf(
      stderr,
      "demo_catalogue --catalogue FILE --directory DIR --wounds PROGRAM [--source WORDS] [--kills N] [--records N] "
      "[--seed N]\n");
  return 2;
}

}  // namespace

int main(int count, char** words) {
  Settings settings;
  settings.seed = std::random_device()() % 1'000'000;
  for (int i = 1; i < count; i += 2) {
    const std::string_view word = words[i];
    if (i + 1 >= count) return usage();
    const char* value = words[i + 1];
    if (word == "--catalogue") {
      settings.catalogue = value;
    } else if (word == "--source") {
      settings.source = value;
    } else if (word == "--directory") {
      settings.directory = value;
    } else if (word == "--wounds") {
      settings.wounds = value;
    } else if (word == "--kills") {
      settings.kills = std::strtoull(value, nullptr, 10);
    } else if (word == "--records") {
      settings.records = std::strtoull(value, nullptr, 10);
    } else if (word == "--seed") {
      settings.seed = std::strtoull(value, nullptr, 10);
    } else {
      return usage();
    }
  }
  if (settings.catalogue.empty() || settings.directory.empty() || settings.wounds.empty()) return usage();
  Catalogue catalogue = parse_catalogue(read_all(settings.catalogue), settings.records);
  if (catalogue.records.size() < 100) {
    std::fprintf(stderr, "demo: %s holds %zu records; 100 are needed\n", settings.catalogue.c_str(),
                 catalogue.records.size());
    return 2;
  }
  return Demonstration(std::move(settings), std::move(catalogue)).run();
}

}  // namespace demo

int main(int count, char** words) { return demo::main(count, words); }
