// SPDX-License-Identifier: Apache-2.0
// A small store with a past, what it must answer, and ways to hurt it.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <engine_testing.h>
#include <gtest/gtest.h>

namespace daruma {

using Values = std::map<std::string, std::string>;
using Model = std::map<std::string, Values>;  // keyspace, key, value

inline bool is_damage(const Status& status) {
  return status.is(Code::kDataLoss) || status.is(Code::kCorruption) || status.is(Code::kIoError);
}

/// A store with a past: its disk, as a kill left it, and what it must answer.
struct Past {
  std::unique_ptr<SimStorage> disk;
  Model model;
  std::set<std::string> keys;  // ever used, and some that never were
};

/// `kind` varies what is there: runs at several levels or none, a log tail in segment and ring or in the ring alone,
/// kill or power loss.
inline Past live_a_life(unsigned kind) {
  World world;
  Past past;
  Random random(1000 + kind);
  {
    Store store = world.must_open();
    std::map<std::string, Keyspace> keyspaces;
    for (const char* name : {"a", "b"}) keyspaces[name] = *store.create_keyspace(name);
    const auto write = [&](std::uint64_t batches, Durability durability) {
      for (std::uint64_t i = 0; i < batches; ++i) {
        Batch batch;
        const auto operations = 1 + random.below(4);
        for (std::uint64_t n = 0; n < operations; ++n) {
          const std::string name = random.one_in(2) ? "a" : "b";
          const std::string key = "k" + std::to_string(random.below(60));
          Values& values = past.model[name];
          past.keys.insert(key);
          if (random.one_in(12)) {
            const std::string end = key + "~";
            batch.erase_range(keyspaces[name], key, end);
            values.erase(values.lower_bound(key), values.lower_bound(end));
          } else if (random.one_in(5)) {
            batch.erase(keyspaces[name], key);
            values.erase(key);
          } else {
            std::string value(random.below(300), static_cast<char>('a' + random.below(26)));
            value += std::to_string(random.next());
            batch.put(keyspaces[name], key, value);
            values[key] = value;
          }
        }
        EXPECT_TRUE(store.write(batch, {durability}).ok());
      }
    };
    const unsigned rounds = kind % 4 == 0 ? 0 : 3;
    for (unsigned round = 0; round < rounds; ++round) {
      write(25, Durability::kPower);
      EXPECT_TRUE(store.checkpoint().ok());
      if (round == 1) {
        EXPECT_TRUE(store.compact(keyspaces["a"]).ok());
        for (int i = 0; i < 4; ++i) EXPECT_TRUE(Engine::of(store).step().ok());
      }
    }
    write(12, Durability::kPower);
    if (kind % 2 == 1) write(6, Durability::kProcess);
  }
  world.disk->kill();
  if (kind >= 4) {  // two more starts, so that the log has several segments
    {
      Store store = world.must_open();
      const Keyspace a = *store.keyspace("a");
      EXPECT_TRUE(store.put(a, "later", "1").ok());
      past.model["a"]["later"] = "1";
    }
    world.disk->kill();
    {
      Store store = world.must_open();
      const Keyspace b = *store.keyspace("b");
      EXPECT_TRUE(store.put(b, "latest", "2").ok());
      EXPECT_TRUE(store.erase(b, "k1").ok());
      past.model["b"]["latest"] = "2";
      past.model["b"].erase("k1");
      // A quiet log seals itself. Until then a power loss followed by damage to the last frame looks like a tear.
      EXPECT_TRUE(Engine::of(store).step().ok());
    }
    if (kind == 5)
      world.disk->power_cut(50);
    else
      world.disk->kill();
  }
  for (const char* absent : {"later", "latest", "", "k", "k3~", "zz"}) past.keys.insert(absent);
  past.disk = world.disk->clone(1);
  return past;
}

/// Every answer of the store, as text, checked against the model. Empty `wrong`: nothing is.
struct Answers {
  std::string all, wrong;
  bool hurt = false;
};

inline Answers ask(const Store& store, const Past& past) {
  Answers answers;
  const auto wrong = [&](const std::string& what) {
    if (answers.wrong.empty()) answers.wrong = what;
  };
  const auto hurt = [&](const std::string& what, const Status& status) {
    answers.hurt = true;
    answers.all += what + "!;";
    if (!is_damage(status)) wrong(what + " answers " + status.to_string());
  };
  for (const auto& [name, values] : past.model) {
    const Result<Keyspace> keyspace = store.keyspace(name);
    if (!keyspace.ok()) {
      hurt("keyspace " + name, keyspace.status());
      continue;
    }
    for (const std::string& key : past.keys) {
      const Result<std::string> got = store.get(*keyspace, key);
      const auto want = values.find(key);
      const std::string what = name + "/" + key;
      if (got.ok()) {
        if (want == values.end())
          wrong(what + " is there and should not be");
        else if (*got != want->second)
          wrong(what + " has a value that is not its newest");
        answers.all += what + "=" + *got + ";";
      } else if (got.status().is(Code::kNotFound)) {
        if (want != values.end()) wrong(what + " is denied");
        answers.all += what + "-;";
      } else {
        hurt(what, got.status());
      }
    }
    for (const bool forward : {true, false}) {
      Result<Cursor> cursor = store.cursor(*keyspace);
      if (!cursor.ok()) {
        hurt("scan of " + name, cursor.status());
        continue;
      }
      std::vector<std::pair<std::string, std::string>> seen;
      for (forward ? cursor->seek_first() : cursor->seek_last(); cursor->valid();
           forward ? cursor->next() : cursor->prev())
        seen.emplace_back(cursor->key(), cursor->value());
      std::vector<std::pair<std::string, std::string>> want(values.begin(), values.end());
      if (!forward) std::reverse(want.begin(), want.end());
      if (!cursor->status().ok()) {
        hurt("scan of " + name, cursor->status());
        // What came before the damage must be right, and whole; a loss known by key hashes only is told at the end.
        const std::vector<DamageInfo> damage = store.damage();
        const bool hashes = std::any_of(damage.begin(), damage.end(),
                                        [](const DamageInfo& info) { return info.keys.ends_with("by hash"); });
        if (hashes) {
          std::erase_if(want,
                        [&](const auto& entry) { return std::find(seen.begin(), seen.end(), entry) == seen.end(); });
        } else {
          want.resize(std::min(want.size(), seen.size()));
        }
      }
      if (seen != want) wrong("a scan of " + name + (forward ? " forward" : " backward") + " differs");
      answers.all += std::to_string(seen.size()) + ";";
    }
  }
  return answers;
}

inline std::vector<std::pair<std::string, std::uint64_t>> files_of(SimStorage& disk) {
  std::vector<std::pair<std::string, std::uint64_t>> files;
  for (const auto& [path, bytes] : contents(disk, "store")) {
    if (!path.ends_with("/lock")) files.emplace_back(path, bytes.size());
  }
  return files;
}

/// What is done to a disk.
using Damage = std::function<void(SimStorage&)>;
enum class Kind { kZero, kFlip, kMisdirected, kUnreadable };

inline Damage sector_damage(const std::string& path, std::uint64_t offset, std::uint64_t bytes, Kind kind,
                            std::uint64_t seed) {
  return [=](SimStorage& disk) {
    const std::uint64_t size = std::min<std::uint64_t>(4096, bytes - offset);
    Random random(seed);
    switch (kind) {
      case Kind::kZero: EXPECT_TRUE(disk.overwrite(path, offset, std::string(size, '\0')).ok()); break;
      case Kind::kFlip: EXPECT_TRUE(disk.flip_bit(path, offset + random.below(size), random.below(8)).ok()); break;
      case Kind::kMisdirected: {
        const Result<std::string> whole = read_whole(disk, path, std::uint64_t{1} << 30);
        if (!whole.ok()) return;  // already unreadable
        const std::string& all = *whole;
        const std::uint64_t other = random.below(std::max<std::uint64_t>(1, bytes / 4096)) * 4096;
        EXPECT_TRUE(disk.overwrite(path, offset, all.substr(other, size)).ok());
        break;
      }
      case Kind::kUnreadable: EXPECT_TRUE(disk.lose_sector(path, offset).ok()); break;
    }
  };
}

/// One sector that a kind of damage may hit.
struct Wound {
  std::string path;
  std::uint64_t offset, file_bytes;
  Kind kind;

  [[nodiscard]] std::string name() const {
    static constexpr const char* kNames[] = {"zero", "flip", "misdirected", "unreadable"};
    return std::string(kNames[static_cast<int>(kind)]) + " " + path + " at " + std::to_string(offset);
  }
  [[nodiscard]] Damage damage(std::uint64_t seed) const { return sector_damage(path, offset, file_bytes, kind, seed); }
};

/// Every one. Sectors of zeros (what is preallocated) are all alike: the first of a row stands for them.
inline std::vector<Wound> wounds_of(SimStorage& disk) {
  std::vector<Wound> wounds;
  for (const auto& [path, size] : files_of(disk)) {
    const std::uint64_t bytes = size;  // the lambda below needs a variable
    const std::string all = *read_whole(disk, path, std::uint64_t{1} << 30);
    for (std::uint64_t at = 0; at < bytes; at += 4096) {
      const auto zero = [&](std::uint64_t i) {
        return i < bytes && std::string_view(all).substr(i, 4096).find_first_not_of('\0') == std::string_view::npos;
      };
      if (at > 0 && zero(at) && zero(at - 4096)) continue;
      for (const Kind kind : {Kind::kZero, Kind::kFlip, Kind::kMisdirected, Kind::kUnreadable})
        wounds.push_back({path, at, bytes, kind});
    }
  }
  return wounds;
}

/// Sectors hurt and files removed. The reports stay: with log, ring and reports all gone nothing says that there ever
/// was anything.
inline Damage several_wounds(const Past& past, std::uint64_t seed) {
  return [files = files_of(*past.disk), seed](SimStorage& disk) {
    Random random(seed * 131 + 7);
    const std::uint64_t times = 2 + random.below(4);
    std::set<std::string> gone;
    for (std::uint64_t i = 0; i < times; ++i) {
      const auto& [path, bytes] = files[random.below(files.size())];
      if (bytes == 0 || gone.contains(path)) continue;
      if (random.one_in(4) && !path.ends_with(".json")) {
        gone.insert(path);
        EXPECT_TRUE(disk.remove(path).ok());
      } else {
        const std::uint64_t sectors = std::min<std::uint64_t>((bytes + 4095) / 4096, 24);
        sector_damage(path, random.below(sectors) * 4096, bytes, static_cast<Kind>(random.below(4)),
                      random.next())(disk);
      }
    }
  };
}

}  // namespace daruma
