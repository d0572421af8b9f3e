// SPDX-License-Identifier: Apache-2.0
#include "survive/trial.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <regex>

#include "base/random.h"

namespace survive {
namespace {

namespace fs = std::filesystem;
using daruma::Random;

constexpr std::size_t kValueBytes = 100;

std::string value_of(Random& random) {
  std::string value(kValueBytes, '\0');
  for (std::size_t at = 0; at < value.size(); at += 4) {
    const std::uint64_t bits = random.next();
    std::memcpy(&value[at], &bits, 4);
  }
  return value;
}

/// Never destroyed: the process is killed, and destructors would write.
struct Opened {
  Store* store = nullptr;
  Session* session = nullptr;
};
Opened open(const Mode& mode, const std::string& directory) {
  Store* const store = mode.open(directory).release();
  return {store, store == nullptr ? nullptr : store->session().release()};
}

bool write(Session& session, std::span<const Change> changes) {
  std::vector<stores::Change> views;
  for (const auto& [key, value] : changes) views.push_back({key, value});
  return session.write(views);
}

}  // namespace

FileClass files(std::string name, std::string group, const std::string& pattern, Which which) {
  const auto pick = [regex = std::regex(pattern), which](const std::vector<std::string>& all) {
    std::vector<std::string> out;
    for (const std::string& path : all) {
      if (std::regex_match(path, regex)) out.push_back(path);
    }
    if (which == Which::kNewest && !out.empty()) out.erase(out.begin(), out.end() - 1);
    if (which == Which::kOlder && !out.empty()) out.pop_back();
    return out;
  };
  return {std::move(name), std::move(group), pick};
}

FileClass part(FileClass of, std::uint64_t begin, std::uint64_t end) {
  of.begin = begin;
  of.end = end;
  return of;
}

std::string Script::key(std::uint32_t number) {
  char text[20];
  std::snprintf(text, sizeof text, "user%08u", number);
  return text;
}

void Script::change(Step& step, std::uint32_t key, std::optional<std::string> value) {
  history_[key].push_back(value);
  step.changes.push_back({Script::key(key), std::move(value)});
}

Script::Script(std::uint64_t number) {
  Random random(number + 1);
  const auto rewrite = [&](std::uint32_t changes, std::uint64_t batch_max) {
    while (changes > 0) {
      Step& step = steps_.emplace_back();
      for (std::uint64_t n = 1 + random.below(batch_max); n > 0 && changes > 0; --n, --changes) {
        const auto key = static_cast<std::uint32_t>(random.below(kKeys));
        change(step, key, random.percent(15) ? std::nullopt : std::optional(value_of(random)));
      }
    }
  };
  std::vector<std::uint32_t> order(kKeys);
  for (std::uint32_t i = 0; i < kKeys; ++i) order[i] = i;
  for (std::uint32_t i = kKeys - 1; i > 0; --i) std::swap(order[i], order[random.below(i + 1)]);
  for (std::uint32_t i = 0; i < kKeys; ++i) {
    if (i % 100 == 0) steps_.emplace_back();
    change(steps_.back(), order[i], value_of(random));
    if (i == kKeys / 2) steps_.back().flush = true;
  }
  rewrite(3000, 60);
  steps_.back().flush = true;
  rewrite(500, 60);
  steps_.back().killed = true;
  rewrite(2500, 60);
  steps_.back().flush = true;
  std::vector<std::size_t> before(kKeys);
  for (std::uint32_t i = 0; i < kKeys; ++i) before[i] = history_[i].size();
  rewrite(1000, 10);
  steps_.back().killed = true;
  std::uint32_t tail = 0;
  for (std::uint32_t i = 0; i < kKeys; ++i) tail += history_[i].size() > before[i];
  tail_percent_ = 100.0 * tail / kKeys;
}

Script::Verdict Script::judge(std::uint32_t key, const std::optional<std::string_view>& answer) const {
  const auto& history = history_[key];
  if (!answer) return lives(key) ? Verdict::kMissing : Verdict::kRight;
  if (lives(key) && *history.back() == *answer) return Verdict::kRight;
  const bool once =
      std::any_of(history.begin(), history.end(), [&](const auto& was) { return was && *was == *answer; });
  if (!once) return Verdict::kWrong;
  return lives(key) ? Verdict::kStale : Verdict::kResurrected;
}

std::size_t live(const Mode& mode, const std::string& directory, const Script& script, std::size_t first) {
  const auto [store, session] = open(mode, directory);
  if (session == nullptr) std::_Exit(3);
  for (std::size_t i = first; i < script.steps().size(); ++i) {
    const Step& step = script.steps()[i];
    if (!write(*session, step.changes)) std::_Exit(4);
    if (step.flush && !store->flush()) std::_Exit(5);
    if (step.killed) return i + 1;
  }
  return script.steps().size();
}

void ask(const Contender& contender, const Mode& mode, const FileClass& of, Fault fault, std::uint64_t seed,
         const std::string& directory, const Script& script, Findings& findings) {
  Random random(seed);
  std::vector<std::string> all;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) all.push_back(entry.path().string().substr(directory.size() + 1));
  }
  std::sort(all.begin(), all.end());
  const std::vector<std::string> candidates = of.pick(all);
  findings.phase = Findings::kNoPlace;
  if (candidates.empty()) return;
  const std::string file = candidates[random.below(candidates.size())];
  const std::string path = directory + "/" + file;
  Extent extent{of.begin, of.end, std::nullopt};
  if (contender.live_end) extent.live_end = contender.live_end(path);
  const std::optional<std::uint64_t> place = inflict(fault, path, extent, random);
  if (!place) return;
  std::snprintf(findings.file, sizeof findings.file, "%s", file.c_str());
  findings.offset = *place;
  findings.phase = Findings::kHurt;
  if (mode.before_open && !mode.before_open(directory)) findings.repair_failed = 1;
  const auto [store, session] = open(mode, directory);
  if (session == nullptr) {
    findings.phase = Findings::kRefused;
    return;
  }
  findings.phase = Findings::kOpened;
  findings.told = store->told_of_loss();
  std::string_view value;
  std::vector<bool> told(kKeys + kNeverWritten);
  for (std::uint32_t key = 0; key < kKeys + kNeverWritten; ++key) {
    const Answer answer = session->get(Script::key(key), value);
    ++findings.asked;
    if (answer == Answer::kError) {
      ++findings.reported;
      told[key] = true;
      continue;
    }
    switch (script.judge(key, answer == Answer::kValue ? std::optional(value) : std::nullopt)) {
      case Script::Verdict::kRight: ++findings.right; break;
      case Script::Verdict::kMissing: ++findings.missing; break;
      case Script::Verdict::kStale: ++findings.stale; break;
      case Script::Verdict::kWrong: ++findings.wrong; break;
      case Script::Verdict::kResurrected: ++findings.resurrected; break;
    }
  }
  // A key that is not seen was passed over in silence, unless the scan ends with an error: then those behind the last
  // one seen are excused, and before it those of which a get says that they are lost.
  std::vector<bool> seen(kKeys + kNeverWritten);
  std::uint32_t next = 0;
  const bool ended = session->scan({}, [&](std::string_view key, std::string_view scanned) {
    const std::string digits(key.substr(std::min<std::size_t>(4, key.size())));
    const auto number = static_cast<std::uint32_t>(std::strtoul(digits.c_str(), nullptr, 10));
    if (number >= seen.size() || Script::key(number) != key || seen[number] || number < next) {
      ++findings.scan_silent;
      return;
    }
    seen[number] = true;
    next = number + 1;
    if (script.judge(number, scanned) != Script::Verdict::kRight) ++findings.scan_silent;
  });
  findings.scan_error = !ended;
  const std::uint32_t upto = ended ? static_cast<std::uint32_t>(seen.size()) : next;
  for (std::uint32_t key = 0; key < upto; ++key)
    findings.scan_silent += script.lives(key) && !seen[key] && (ended || !told[key]);
  const Change one{"later", "written behind the damage"};
  findings.write_failed =
      !write(*session, {&one, 1}) || session->get(one.key, value) != Answer::kValue || value != *one.value;
  findings.phase = Findings::kDone;
}

}  // namespace survive
