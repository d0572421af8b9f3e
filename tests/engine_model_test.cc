// SPDX-License-Identifier: Apache-2.0
//
// The engine against std::map: several keyspaces, every view remembers the whole map it was made of.
//
// What is held: at any moment, through any view that is alive, every way to read (get, pinned, many at once, cursors
// both ways within bounds) answers what the map does; across kills, power cuts and reopenings; and a drop, a flush or a
// compaction changes nothing that a view sees. DARUMA_MODEL_SEED replays one run, DARUMA_MODEL_SCALE makes more.
#include "engine/engine.h"

#include <cstdlib>
#include <map>

#include <engine_testing.h>
#include <gtest/gtest.h>
#include <sanitized.h>

namespace daruma {
namespace {

using Map = std::map<std::string, std::string>;

/// Keys that touch the edges: empty, zero bytes, 0xff, shared prefixes, the longest there is.
std::string some_key(Random& random) {
  switch (random.below(24)) {
    case 0: return {};
    case 1: return std::string(1 + random.below(3), '\0');
    case 2: return std::string(1 + random.below(3), '\xff');
    case 3: return std::string(kMaxKeyBytes, 'm');
    case 4: return std::string(kMaxKeyBytes - 1 - random.below(2), '\xff');
    case 5: return std::string("a\0b", 3) + static_cast<char>(random.below(4));
    case 6: return "a\xff" + std::string(random.below(3), '\xff');
    default: break;
  }
  std::string key(1 + random.below(2), 'k');
  for (std::uint64_t n = random.below(4); n > 0; --n) key += "abc/"[random.below(4)];
  return key + std::to_string(random.below(20));
}

std::string some_value(Random& random) {
  std::uint64_t bytes = random.below(100);
  if (random.one_in(12)) bytes = random.below(20'000);
  if (random.one_in(60)) bytes = random.below(1 << 20);
  if (random.one_in(500)) bytes = 5 << 20;
  std::string value(bytes, '\0');
  const bool packs = random.one_in(2);
  for (std::size_t i = 0; i < value.size(); ++i)
    value[i] = packs ? static_cast<char>(i % 7) : static_cast<char>(random.next());
  return value;
}

/// One store and what it should hold.
class Pair {
 public:
  explicit Pair(std::uint64_t seed) : random_(seed) {
    world_.seed = seed;
    world_.disk =
        std::make_shared<SimStorage>(SimStorageOptions{.seed = seed, .sector_bytes = seed % 2 == 0 ? 4096U : 512U});
    reopen();
  }

  void act() {
    const std::uint64_t what = random_.below(100);
    if (what < 34) return write();
    if (what < 60) return look(random_.one_in(3) && !views_.empty() ? &views_[random_.below(views_.size())] : nullptr);
    if (what < 65) return walk(nullptr);
    if (what < 70) return keep_view();
    if (what < 73 && !views_.empty()) return walk(&views_[random_.below(views_.size())]);
    if (what < 76 && !views_.empty()) {
      views_.erase(views_.begin() + static_cast<std::ptrdiff_t>(random_.below(views_.size())));
      return;
    }
    if (what < 80) return create();
    if (what < 82) return drop();
    if (what < 84) return rename();
    if (what < 88) return expect_ok(store().checkpoint(), "checkpoint");
    if (what < 92) return expect_ok(Engine::of(store()).step(), "step");
    if (what < 94 && !names_.empty()) return expect_ok(store().compact(keyspace(some_name())), "compact");
    if (what < 95) return refuse();
    if (what == 95) return look_without_touching();
    if (what >= 98) return crash();
  }

  void compare_all() {
    std::vector<std::string> names;
    for (const KeyspaceInfo& info : store().keyspaces()) names.push_back(info.name);
    std::vector<std::string> wanted;
    for (const auto& [name, map] : names_) wanted.push_back(name);
    ASSERT_EQ(names, wanted);
    for (const auto& [name, map] : names_) compare_whole(*store_, keyspace(name), map, nullptr);
    for (const Kept& kept : views_) {
      for (const auto& [id, map] : kept.maps) compare_whole(*store_, id, *map, &kept.view);
    }
  }

 private:
  struct Kept {
    View view;
    std::vector<std::pair<Keyspace, std::shared_ptr<const Map>>> maps;
  };

  Store& store() { return *store_; }
  Keyspace keyspace(const std::string& name) { return *store().keyspace(name); }
  const std::string& some_name() {
    auto it = names_.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(random_.below(names_.size())));
    return it->first;
  }
  static void expect_ok(const Status& status, const char* what) {
    EXPECT_TRUE(status.ok()) << what << ": " << status.to_string();
  }

  // --- changing ---

  void write() {
    if (names_.empty()) return create();
    Batch batch;
    for (std::uint64_t n = random_.one_in(3) ? 1 + random_.below(12) : 1; n > 0; --n) {
      const std::string name = some_name();
      Map& map = names_[name];
      const Keyspace k = keyspace(name);
      std::string key = some_key(random_);
      const std::uint64_t what = random_.below(12);
      if (what == 0) {
        std::string end = random_.one_in(5) ? std::string() : some_key(random_);
        batch.erase_range(k, key, end);
        if (end.empty()) {
          map.erase(map.lower_bound(key), map.end());
        } else if (key < end) {
          map.erase(map.lower_bound(key), map.lower_bound(end));
        }
      } else if (what <= 3) {
        batch.erase(k, key);
        map.erase(key);
      } else {
        std::string value = some_value(random_);
        batch.put(k, key, value);
        map.insert_or_assign(std::move(key), std::move(value));
      }
    }
    // Always for power: what a power cut may take from the rest is the business of engine_crash_test.
    if (random_.one_in(4)) {
      const Result<Sequence> sequence = store().write_async(batch);
      expect_ok(sequence.status(), "write_async");
      expect_ok(store().sync(), "sync");
    } else {
      expect_ok(store().write(batch).status(), "write");
    }
  }

  void create() {
    const std::string name = "space" + std::to_string(random_.below(6));
    const Result<Keyspace> made = store().create_keyspace(name);
    EXPECT_EQ(made.status().code(), names_.contains(name) ? Code::kExists : Code::kOk);
    if (made.ok()) {
      EXPECT_GT(made->id(), highest_id_) << "ids are never used twice";
      highest_id_ = made->id();
      names_[name];
    }
  }

  void drop() {
    if (names_.size() < 2) return;
    const std::string name = some_name();
    const Keyspace k = keyspace(name);
    expect_ok(store().drop_keyspace(k), "drop");
    names_.erase(name);
    EXPECT_TRUE(store().get(k, "a").status().is(Code::kNotFound));
    EXPECT_TRUE(store().put(k, "a", "b").is(Code::kNotFound));
    EXPECT_TRUE(store().cursor(k).status().is(Code::kNotFound));
    EXPECT_TRUE(store().drop_keyspace(k).is(Code::kNotFound));
  }

  void rename() {
    if (names_.empty()) return;
    const std::string from = some_name();
    const std::string to = "space" + std::to_string(random_.below(6));
    const Status status = store().rename_keyspace(keyspace(from), to);
    if (from != to && names_.contains(to)) {
      EXPECT_TRUE(status.is(Code::kExists)) << status.to_string();
    } else {
      expect_ok(status, "rename");
      auto node = names_.extract(from);
      node.key() = to;
      names_.insert(std::move(node));
    }
  }

  /// What is outside the limits is refused and changes nothing, the rest of its batch included.
  void refuse() {
    if (names_.empty()) return;
    const std::string name = some_name();
    Batch batch;
    batch.put(keyspace(name), "refused", "x");
    if (random_.one_in(2)) {
      batch.put(keyspace(name), std::string(kMaxKeyBytes + 1, 'x'), "y");
      EXPECT_TRUE(store().write(batch).status().is(Code::kInvalidArgument));
    } else {
      batch.put(Keyspace(), "nowhere", "y");
      EXPECT_TRUE(store().write(batch).status().is(Code::kNotFound));
    }
    EXPECT_TRUE(store().get(keyspace(name), "refused").status().is(Code::kNotFound));
  }

  void keep_view() {
    if (views_.size() >= 4) views_.erase(views_.begin());
    Kept kept{store().view(), {}};
    for (const auto& [name, map] : names_) kept.maps.emplace_back(keyspace(name), std::make_shared<const Map>(map));
    views_.push_back(std::move(kept));
  }

  // --- dying ---

  void crash() {
    const bool power = random_.one_in(2);
    if (random_.one_in(3)) {  // destroyed first, which is the same
      views_.clear();
      store_.reset();
    }
    if (power) {
      world_.disk->power_cut(static_cast<unsigned>(random_.below(101)));
    } else {
      world_.disk->kill();
    }
    views_.clear();
    store_.reset();
    reopen();
  }

  void reopen() {
    RecoveryReport report;
    Result<Store::Opened> opened = world_.open();
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    EXPECT_TRUE(opened->report.clean()) << opened->report.to_json();
    store_ = std::move(opened->store);
    compare_all();
  }

  void look_without_touching() {
    views_.clear();
    store_.reset();
    Options looking = small();
    looking.read_only = true;
    const std::uint64_t before = world_.disk->fingerprint();
    {
      Result<Store::Opened> opened = world_.open(looking);
      ASSERT_TRUE(opened.ok()) << opened.status().to_string();
      for (const auto& [name, map] : names_) {
        compare_whole(opened->store, *opened->store.keyspace(name), map, nullptr);
      }
    }
    EXPECT_EQ(world_.disk->fingerprint(), before);
    reopen();
  }

  // --- reading ---

  static void expect_same(const Result<std::string>& got, const Map& map, const std::string& key) {
    const auto it = map.find(key);
    if (it == map.end()) {
      EXPECT_TRUE(got.status().is(Code::kNotFound)) << got.status().to_string();
    } else {
      ASSERT_TRUE(got.ok()) << got.status().to_string();
      EXPECT_TRUE(*got == it->second) << got->size() << " bytes instead of " << it->second.size();
    }
  }

  std::string key_near(const Map& map) {
    if (map.empty() || random_.one_in(3)) return some_key(random_);
    auto it = map.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(random_.below(map.size())));
    return it->first;
  }

  struct Place {
    Keyspace keyspace;
    const Map* map;
  };
  std::optional<Place> some_place(const Kept* at) {
    if (at) {
      if (at->maps.empty()) return std::nullopt;
      const auto& [k, map] = at->maps[random_.below(at->maps.size())];
      return Place{k, map.get()};
    }
    if (names_.empty()) return std::nullopt;
    const std::string name = some_name();
    return Place{keyspace(name), &names_[name]};
  }

  void look(const Kept* at) {
    const std::optional<Place> place = some_place(at);
    if (!place) return;
    const auto& [k, map] = *place;
    if (at) {
      for (int i = 0; i < 4; ++i) {
        const std::string key = key_near(*map);
        expect_same(store().get(k, key, at->view), *map, key);
      }
      return;
    }
    std::vector<std::string> keys;
    for (std::uint64_t n = random_.below(12); n > 0; --n) keys.push_back(key_near(*map));
    const std::vector<Result<std::string>> many =
        store().multi_get(k, std::vector<std::string_view>(keys.begin(), keys.end()));
    ASSERT_EQ(many.size(), keys.size());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      expect_same(many[i], *map, keys[i]);
      expect_same(store().get(k, keys[i]), *map, keys[i]);
      const Result<PinnedValue> pinned = store().get_pinned(k, keys[i]);
      expect_same(pinned.ok() ? Result<std::string>(std::string(pinned->view())) : pinned.status(), *map, keys[i]);
    }
  }

  /// A walk that seeks, turns and stops anywhere, within bounds.
  void walk(const Kept* at) {
    const std::optional<Place> place = some_place(at);
    if (!place) return;
    const auto& [k, map] = *place;
    CursorOptions options;
    if (random_.one_in(3)) {
      options = prefix_bounds(key_near(*map).substr(0, 1 + random_.below(3)));
    } else if (random_.one_in(2)) {
      options.lower = key_near(*map);
      if (random_.one_in(2)) options.upper = key_near(*map);
    }
    if (at) options.view = at->view;
    const auto first = map->lower_bound(options.lower);
    auto last = options.upper.empty() ? map->end() : map->lower_bound(options.upper);
    if (!options.upper.empty() && options.upper <= options.lower) last = first;
    Result<Cursor> made = store().cursor(k, options);
    ASSERT_TRUE(made.ok()) << made.status().to_string();
    Cursor& cursor = *made;
    auto it = last;  // `last`: not valid
    for (int move = 0; move < 30; ++move) {
      const std::uint64_t what = random_.below(10);
      if (what == 0 || (it == last && what < 4)) {
        cursor.seek_first();
        it = first;
      } else if (what == 1 || (it == last && what < 7)) {
        cursor.seek_last();
        it = first == last ? last : std::prev(last);
      } else if (what == 2 || it == last) {
        const std::string key = key_near(*map);
        cursor.seek(key);
        it = key <= options.lower ? first : map->lower_bound(key);
        if (!options.upper.empty() && key >= options.upper) it = last;
        if (first == last) it = last;
      } else if (what < 7) {
        cursor.next();
        ++it;
      } else {
        cursor.prev();
        it = it == first ? last : std::prev(it);
      }
      ASSERT_TRUE(cursor.status().ok()) << cursor.status().to_string();
      ASSERT_EQ(cursor.valid(), it != last) << "move " << move << " of " << what;
      if (it == last) continue;
      ASSERT_TRUE(cursor.key() == it->first) << "move " << move << " of " << what;
      ASSERT_TRUE(cursor.value() == it->second);
    }
  }

  static void compare_whole(Store& store, Keyspace k, const Map& map, const View* view) {
    CursorOptions options;
    if (view) options.view = *view;
    Result<Cursor> cursor = store.cursor(k, options);
    ASSERT_TRUE(cursor.ok()) << cursor.status().to_string();
    auto it = map.begin();
    for (cursor->seek_first(); cursor->valid(); cursor->next(), ++it) {
      ASSERT_NE(it, map.end());
      ASSERT_TRUE(cursor->key() == it->first && cursor->value() == it->second);
    }
    ASSERT_TRUE(cursor->status().ok()) << cursor->status().to_string();
    ASSERT_EQ(it, map.end());
    for (cursor->seek_last(); cursor->valid(); cursor->prev()) {
      ASSERT_NE(it, map.begin());
      ASSERT_TRUE(cursor->key() == (--it)->first && cursor->value() == it->second);
    }
    ASSERT_EQ(it, map.begin());
  }

  World world_;
  Random random_;
  std::optional<Store> store_;
  std::map<std::string, Map> names_;
  std::vector<Kept> views_;
  std::uint32_t highest_id_ = 0;
};

std::uint64_t environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

TEST(EngineModel, AnswersAsAMapDoesWhateverHappens) {
  const std::uint64_t only = environment("DARUMA_MODEL_SEED", 0);
  const std::uint64_t seeds = only ? only : (kSanitized ? 4 : 12) * environment("DARUMA_MODEL_SCALE", 1);
  for (std::uint64_t seed = only ? only : 1; seed <= seeds; ++seed) {
    SCOPED_TRACE("DARUMA_MODEL_SEED=" + std::to_string(seed));
    Pair pair(seed);
    for (int i = 0; i < 400; ++i) {
      SCOPED_TRACE("action " + std::to_string(i));
      pair.act();
      if (i % 100 == 99) pair.compare_all();
      if (testing::Test::HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace daruma
