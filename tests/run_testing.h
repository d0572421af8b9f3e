// SPDX-License-Identifier: Apache-2.0
// Runs for tests: a model of what a run holds, and a run built from it on a simulated disk.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "io/sim_storage.h"
#include "run/run_builder.h"
#include "run/run_reader.h"

namespace daruma {

inline constexpr StoreId kTestStore{0x1111222233334444, 0x5555666677778888};

struct ModelRun {
  /// (key, newest first) -> value; nothing: erased.
  struct NewestFirst {
    bool operator()(const std::pair<std::string, Sequence>& a, const std::pair<std::string, Sequence>& b) const {
      return a.first != b.first ? a.first < b.first : a.second > b.second;
    }
  };
  std::map<std::pair<std::string, Sequence>, std::optional<std::string>, NewestFirst> entries;
  std::vector<RangeErase> erases;

  void put(const std::string& key, Sequence sequence, std::string value) {
    entries[{key, sequence}] = std::move(value);
  }
  void erase(const std::string& key, Sequence sequence) { entries[{key, sequence}] = std::nullopt; }

  struct Answer {
    RunReader::Lookup::Found found = RunReader::Lookup::Found::kNothing;
    Sequence sequence = 0;
    std::string value{};
    bool operator==(const Answer&) const = default;
  };
  [[nodiscard]] Answer get(const std::string& key, Sequence at) const {
    Answer answer;
    if (auto it = entries.lower_bound({key, at}); it != entries.end() && it->first.first == key) {
      answer = {it->second ? RunReader::Lookup::Found::kValue : RunReader::Lookup::Found::kErased, it->first.second,
                it->second.value_or("")};
    }
    for (const RangeErase& e : erases) {
      if (e.sequence <= at && e.sequence > answer.sequence && e.covers(key))
        answer = {RunReader::Lookup::Found::kErased, e.sequence, ""};
    }
    return answer;
  }
};

/// As Engine::multi_get asks a run.
inline std::vector<Result<RunReader::Lookup>> get_together(Storage& storage, const RunReader& reader,
                                                           const std::vector<std::string_view>& keys, Sequence at) {
  BlockFetch fetch(storage);
  std::vector<Result<RunReader::Lookup>> all;
  for (bool unread = true; unread; fetch.read()) {
    unread = false;
    all.clear();
    for (const std::string_view key : keys) {
      all.push_back(reader.get(key, at, RunReader::Hold::kShare, &fetch));
      unread |= all.back().ok() && all.back()->found == RunReader::Lookup::Found::kUnread;
    }
  }
  return all;
}

inline ModelRun::Answer answer_of(const RunReader::Lookup& lookup) {
  return {lookup.found, lookup.sequence, std::string(lookup.value)};
}

inline RunIdentity test_identity(std::uint64_t number) {
  return {.store = kTestStore,
          .number = number,
          .keyspace = 3,
          .level = 1,
          .job_id = 40,
          .job_index = 2,
          .job_last = false,
          .checkpoint_sequence = 900,
          .prev_sequence = 800,
          .created_wall_ns = 1'700'000'000'000'000'000};
}

inline std::string test_path(std::uint64_t number) { return "runs/" + run_name(number); }

/// Builds and publishes; the disk has the directory "runs" afterwards.
inline RunInfo build_run(Storage& disk, const ModelRun& model, std::uint64_t number,
                         const RunBuilderOptions& options = {}) {
  EXPECT_TRUE(disk.make_directory("runs").ok());
  auto builder = RunBuilder::create(disk, "runs", test_identity(number), options);
  EXPECT_TRUE(builder.ok()) << builder.status().to_string();
  for (const auto& [place, value] : model.entries) {
    const Status added =
        (*builder)->add(place.first, place.second, value ? EntryKind::kPut : EntryKind::kErase, value.value_or(""));
    EXPECT_TRUE(added.ok()) << added.to_string();
  }
  for (const RangeErase& e : model.erases) (*builder)->add_range_erase(e);
  (*builder)->mark_job_last();
  Result<RunInfo> info = (*builder)->finish({5, 6});
  EXPECT_TRUE(info.ok()) << info.status().to_string();
  const Status published = (*builder)->publish();
  EXPECT_TRUE(published.ok()) << published.to_string();
  return *info;
}

inline std::unique_ptr<RunReader> open_run(Storage& disk, std::uint64_t number,
                                           std::shared_ptr<BlockCache> cache = nullptr,
                                           std::optional<RunInfo> known = std::nullopt) {
  auto reader = RunReader::open(disk, test_path(number), kTestStore, number, std::move(cache), std::move(known));
  EXPECT_TRUE(reader.ok()) << reader.status().to_string();
  return std::move(*reader);
}

/// A few blocks of every kind, versions, tombstones and range erases; small enough to be damaged byte by byte.
inline ModelRun small_model() {
  ModelRun model;
  for (int i = 0; i < 40; ++i) {
    const std::string key = "key" + std::to_string(100 + i * 3);
    model.put(key, static_cast<Sequence>(100 + i), "value of " + key);
    if (i % 4 == 0) model.put(key, static_cast<Sequence>(50 + i), "older");
    if (i % 9 == 0) model.erase(key, static_cast<Sequence>(200 + i));
  }
  model.erases = {{"key150", "key160", 120}, {"key155", "key190", 60}};
  return model;
}

inline ModelRun random_model(Random& random, std::size_t entries, std::size_t erases) {
  ModelRun model;
  const auto key = [&] {
    std::string k(random.below(6), '\0');
    for (char& c : k)
      c = random.one_in(8) ? static_cast<char>(random.below(256)) : static_cast<char>('a' + random.below(3));
    return random.one_in(3) ? "a long common prefix " + k : k;
  };
  for (std::size_t i = 0; i < entries; ++i) {
    const std::string k = key();
    const Sequence sequence = 1 + random.below(1000);
    if (random.one_in(5))
      model.erase(k, sequence);
    else
      model.put(k, sequence,
                std::string(random.below(random.one_in(20) ? 3000 : 30), static_cast<char>('a' + random.below(26))));
  }
  for (std::size_t i = 0; i < erases; ++i) {
    RangeErase e{key(), random.one_in(6) ? "" : key(), 1 + random.below(1000)};
    if (!e.end.empty() && e.begin > e.end) std::swap(e.begin, e.end);
    // An empty end means "to the last key", so an interval that became [x, "") by the swap is as good.
    if (e.end.empty() || e.begin < e.end) model.erases.push_back(e);
  }
  return model;
}

}  // namespace daruma
