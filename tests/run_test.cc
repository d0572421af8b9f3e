// SPDX-License-Identifier: Apache-2.0
// Runs answer as a std::map does: built, read back, walked both ways, with versions, tombstones and range erases.
#include "run/run_reader.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>

#include <key_walk.h>
#include <passing_storage.h>
#include <run_testing.h>  // in quotes, tests/CMakeLists.txt would link every room
#include "base/coding.h"
#include "base/status_macros.h"
#include "golden_testing.h"
#include "io/posix_storage.h"

namespace daruma {
namespace {

using Found = RunReader::Lookup::Found;

std::set<std::string> probes(const ModelRun& model) {
  std::set<std::string> keys{"", "zzzzzzzz", std::string(1, '\xff')};
  for (const auto& [place, value] : model.entries) {
    keys.insert(place.first);
    keys.insert(place.first + '\0');
    if (!place.first.empty()) keys.insert(place.first.substr(0, place.first.size() - 1));
  }
  for (const RangeErase& e : model.erases) {
    keys.insert(e.begin);
    keys.insert(e.end);
  }
  return keys;
}

void expect_walks_both_ways(const RunReader& reader, const ModelRun& model) {
  auto cursor = reader.cursor();
  cursor.seek_first();
  for (const auto& [place, value] : model.entries) {
    ASSERT_TRUE(cursor.valid()) << cursor.status().to_string();
    ASSERT_EQ(cursor.key(), place.first);
    ASSERT_EQ(cursor.sequence(), place.second);
    ASSERT_EQ(cursor.kind() == EntryKind::kPut, value.has_value());
    ASSERT_EQ(cursor.value(), value.value_or(""));
    cursor.next();
  }
  EXPECT_FALSE(cursor.valid());
  EXPECT_TRUE(cursor.status().ok());
  cursor.seek_last();
  for (auto it = model.entries.rbegin(); it != model.entries.rend(); ++it) {
    ASSERT_TRUE(cursor.valid()) << cursor.status().to_string();
    ASSERT_EQ(cursor.key(), it->first.first);
    ASSERT_EQ(cursor.sequence(), it->first.second);
    ASSERT_EQ(cursor.value(), it->second.value_or(""));
    cursor.prev();
  }
  EXPECT_FALSE(cursor.valid());
  EXPECT_TRUE(cursor.status().ok());
}

void expect_verifies(const RunReader& reader, const RunInfo& info) {
  Result<RunReader::Verified> verified = reader.verify();
  ASSERT_TRUE(verified.ok()) << verified.status().to_string();
  EXPECT_TRUE(verified->ok()) << run_fault_name(verified->findings[0].fault) << ": " << verified->status().to_string();
  EXPECT_EQ(verified->info, info);
  EXPECT_EQ(verified->entries, info.entries);
}

TEST(Run, AnswersAsAMapDoes) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    SimStorage disk;
    const ModelRun model = random_model(random, random.below(600), random.one_in(2) ? 0 : random.below(20));
    const RunBuilderOptions options{.block_bytes = random.one_in(3) ? kSectorBytes : 64 + random.below(2000),
                                    .compress = random.one_in(2),
                                    .filter_bits = random.one_in(4) ? 0u : 10u};
    const RunInfo info = build_run(disk, model, 7, options);
    auto reader = open_run(disk, 7, random.one_in(2) ? std::make_shared<BlockCache>(16 << 10) : nullptr);
    expect_verifies(*reader, info);
    expect_walks_both_ways(*reader, model);
    std::vector<std::string> keys;
    for (const std::string& key : probes(model)) keys.push_back(key);
    const Sequence at = random.one_in(3) ? kMaxSequence : random.below(1001);
    for (const std::string& key : keys) {
      for (const Sequence when : {at, kMaxSequence, random.below(1001)}) {
        Result<RunReader::Lookup> got = reader->get(key, when);
        ASSERT_TRUE(got.ok()) << got.status().to_string();
        ASSERT_EQ(answer_of(*got), model.get(key, when)) << "key '" << key << "' at " << when;
      }
      Sequence newest = 0;
      for (const RangeErase& e : model.erases) {
        if (e.covers(key) && e.sequence <= at) newest = std::max(newest, e.sequence);
      }
      ASSERT_EQ(*reader->covering_erase(key, at), newest);
    }
    const std::vector<std::string_view> views(keys.begin(), keys.end());
    const auto all = get_together(disk, *reader, views, at);
    ASSERT_EQ(all.size(), keys.size());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      ASSERT_TRUE(all[i].ok());
      ASSERT_EQ(answer_of(*all[i]), model.get(keys[i], at));
    }
    auto cursor = reader->cursor();
    for (int step = 0; step < 200; ++step) {
      const std::string& key = keys[random.below(keys.size())];
      auto it = model.entries.lower_bound({key, kMaxSequence});
      cursor.seek(key);
      for (int walk = 0; walk < 12; ++walk) {
        ASSERT_EQ(cursor.valid(), it != model.entries.end());
        if (!cursor.valid()) break;
        ASSERT_EQ(cursor.key(), it->first.first);
        ASSERT_EQ(cursor.sequence(), it->first.second);
        ASSERT_EQ(cursor.value(), it->second.value_or(""));
        if (random.one_in(2)) {
          cursor.next();
          ++it;
        } else {
          cursor.prev();
          it = it == model.entries.begin() ? model.entries.end() : std::prev(it);
        }
      }
    }
    ASSERT_NO_FATAL_FAILURE(expect_moves_by_keys(reader->cursor(), model.entries, random, 500));
    EXPECT_TRUE(reader->findings().empty());
  }
}

TEST(Run, BlocksEndWhereSectorsDo) {
  // So many bytes of a value do not compress, or half; then three of four values have a part of the one before, so that
  // a block is much or little smaller than the one before.
  constexpr std::size_t kUneven = 0;
  for (const std::size_t random_bytes : {kUneven, std::size_t{10}, std::size_t{50}, std::size_t{100}}) {
    SCOPED_TRACE(random_bytes == kUneven ? "uneven" : std::to_string(random_bytes));
    Random random(7);
    std::string pool(1 << 20, 'v');
    for (std::size_t at = 0; at < pool.size(); ++at) {
      if (at % 100 < 50) pool[at] = static_cast<char>(random.below(256));
    }
    SimStorage disk;
    ModelRun model;
    for (std::size_t i = 0; i < 20'000; ++i) {
      std::string value(100, 'v');
      for (std::size_t at = 0; at < random_bytes; ++at) value[at] = static_cast<char>(random.below(256));
      if (random_bytes == kUneven)
        value = pool.substr((random.one_in(4) ? random.below(1 << 20) : i * 61) % 1'000'000, 100);
      model.put("key" + std::to_string(100'000 + i), 1, std::move(value));
    }
    const RunInfo info = build_run(disk, model, 7, {});
    const std::string file = *read_whole(disk, test_path(7), 64 << 20);
    std::uint64_t blocks = 0, padding = 0, sectors_for_little = 0, at = kSectorBytes;
    for (;; ++blocks) {
      const auto header = decode_block_header(std::string_view(file).substr(at), {kTestStore, 7}, at);
      ASSERT_TRUE(header);
      if (header->kind != BlockKind::kData) break;
      const std::uint64_t end = at + header->frame_bytes();
      const std::uint64_t least = round_up(header->frame_bytes(), kSectorBytes);
      sectors_for_little += round_up(end, kSectorBytes) - round_down(at, kSectorBytes) > least;
      padding += header->padding;
      at = end;
    }
    EXPECT_LT(sectors_for_little * 10, blocks) << "blocks reach into a sector more than they must";
    EXPECT_LT(padding * 30, at);
    auto reader = open_run(disk, 7);
    expect_verifies(*reader, info);
    expect_walks_both_ways(*reader, model);
  }
}

TEST(Run, TellsItsProperties) {
  SimStorage disk;
  const ModelRun model = small_model();
  const RunInfo info = build_run(disk, model, 7);
  EXPECT_EQ(info.number, 7u);
  EXPECT_EQ(info.keyspace, 3u);
  EXPECT_EQ(info.level, 1u);
  EXPECT_EQ(info.job_id, 40u);
  EXPECT_EQ(info.job_index, 2u);
  EXPECT_TRUE(info.job_last);
  EXPECT_EQ(info.checkpoint_sequence, 900u);
  EXPECT_EQ(info.prev_sequence, 800u);
  EXPECT_EQ(info.entries, model.entries.size());
  EXPECT_EQ(info.tombstones, 5u);
  EXPECT_EQ(info.erases, 2u);
  EXPECT_EQ(info.min_sequence, 50u);
  EXPECT_EQ(info.max_sequence, 236u);
  EXPECT_EQ(info.smallest_key, "key100");
  EXPECT_EQ(info.largest_key, "key217");
  EXPECT_EQ(info.supersedes, (std::vector<std::uint64_t>{5, 6}));
  EXPECT_EQ(info.file_bytes, (*disk.open(test_path(7), OpenMode::kRead))->size().value());
  EXPECT_EQ(*open_run(disk, 7)->info(), info);
  Result<RunDescription> described = describe_run(disk, test_path(7), std::nullopt, 7);
  ASSERT_TRUE(described.ok());
  EXPECT_EQ(described->info, info);
  EXPECT_EQ(described->store, kTestStore);
  EXPECT_TRUE(described->findings.empty());
}

TEST(Run, WithoutEntriesIsAMarker) {
  SimStorage disk;
  const RunInfo info = build_run(disk, {}, 7);
  EXPECT_EQ(info.entries + info.erases, 0u);
  EXPECT_EQ(info.max_sequence, 0u);
  auto reader = open_run(disk, 7);
  expect_verifies(*reader, info);
  EXPECT_EQ(reader->get("", kMaxSequence)->found, Found::kNothing);
  auto cursor = reader->cursor();
  cursor.seek_first();
  EXPECT_FALSE(cursor.valid());
  cursor.seek_last();
  EXPECT_FALSE(cursor.valid());
  cursor.seek("a");
  EXPECT_FALSE(cursor.valid());
  EXPECT_TRUE(cursor.status().ok());
}

TEST(Run, OfRangeErasesAloneIsBoundedByWhatTheyCover) {
  SimStorage disk;
  ModelRun model;
  model.erases = {{"b", "d", 9}, {"c", "m", 4}};
  const RunInfo info = build_run(disk, model, 7);
  EXPECT_EQ(info.smallest_key, "b");
  EXPECT_LT(info.largest_key, "m");
  EXPECT_GT(info.largest_key, "l" + std::string(1000, '\xff'));
  EXPECT_EQ(info.min_sequence, 4u);
  auto reader = open_run(disk, 7);
  expect_verifies(*reader, info);
  EXPECT_EQ(reader->get("c", kMaxSequence)->sequence, 9u);
  EXPECT_EQ(reader->get("c", 8)->sequence, 4u);
  EXPECT_EQ(reader->get("lzz", kMaxSequence)->found, Found::kErased);
  EXPECT_EQ(reader->get("m", kMaxSequence)->found, Found::kNothing);
  EXPECT_EQ(*reader->range_erases(), model.erases);
  std::string encoded;
  encode_run_info(encoded, info);
  EXPECT_LT(encoded.size(), 300u) << "the padding of the bound is written";
  EXPECT_EQ(*decode_run_info(encoded), info);
}

TEST(Run, UnboundedEraseReachesTheLastKey) {
  SimStorage disk;
  ModelRun model;
  model.put("k", 3, "v");
  model.erases = {{"x", "", 5}};
  const RunInfo info = build_run(disk, model, 7);
  EXPECT_EQ(info.largest_key, std::string(kMaxKeyBytes, '\xff'));
  auto reader = open_run(disk, 7);
  EXPECT_EQ(reader->get(std::string(kMaxKeyBytes, '\xff'), kMaxSequence)->found, Found::kErased);
  EXPECT_EQ(reader->get("k", kMaxSequence)->value, "v");
}

TEST(Run, LastKeyBeforeIsTheLastKeyBefore) {
  EXPECT_EQ(last_key_before(std::string("m\0", 2)), "m");
  EXPECT_EQ(last_key_before(std::string(1, '\0')), "");
  EXPECT_EQ(last_key_before("m"), "l" + std::string(kMaxKeyBytes - 1, '\xff'));
  const std::string longest(kMaxKeyBytes, 'b');
  EXPECT_EQ(last_key_before(longest), std::string(kMaxKeyBytes - 1, 'b') + "a");
}

TEST(Run, HoldsTheGreatestKeysAndValues) {
  SimStorage disk;
  ModelRun model;
  const std::string longest(kMaxKeyBytes, 'k');
  model.put("", 1, "of the empty key");
  model.put("a", 5, std::string(kMaxValueBytes, 'x'));
  model.put(longest, 6, "of the longest key");
  model.put(longest, 4, std::string(100'000, 'y'));
  model.put(longest.substr(1), 6, "one less");
  std::string noise(3 << 20, '\0');  // does not compress
  Random random(3);
  for (char& c : noise) c = static_cast<char>(random.next());
  model.put("noise", 7, noise);
  const RunInfo info = build_run(disk, model, 7);
  auto reader = open_run(disk, 7, std::make_shared<BlockCache>(1 << 20));
  expect_verifies(*reader, info);
  expect_walks_both_ways(*reader, model);
  for (const auto& [place, value] : model.entries)
    EXPECT_EQ(answer_of(*reader->get(place.first, place.second)), model.get(place.first, place.second));
}

TEST(Run, FindsVersionsThatSpanBlocks) {
  SimStorage disk;
  ModelRun model;
  for (Sequence s = 1; s <= 300; ++s) model.put("same", s * 2, "v" + std::to_string(s));
  model.put("rather", 1, "before");
  model.put("then", 1, "behind");
  build_run(disk, model, 7, {.block_bytes = 100});
  auto reader = open_run(disk, 7);
  for (Sequence at = 0; at <= 602; ++at) ASSERT_EQ(answer_of(*reader->get("same", at)), model.get("same", at)) << at;
  Random random(1);
  expect_moves_by_keys(reader->cursor(), model.entries, random, 2000);
}

TEST(Run, AValueStaysThoughItsBlockDoesNot) {
  SimStorage disk;
  ModelRun model;
  for (int i = 10'000; i < 22'000; ++i) model.put("key" + std::to_string(i), 1, "value" + std::to_string(i));
  build_run(disk, model, 7, {.block_bytes = 1000});
  const auto cache = std::make_shared<BlockCache>(8 << 10);
  for (const bool cached : {false, true}) {
    auto reader = open_run(disk, 7, cached ? cache : nullptr);
    std::vector<RunReader::Lookup> held;
    for (int i = 10'000; i < 22'000; i += 100) held.push_back(*reader->get("key" + std::to_string(i), kMaxSequence));
    for (std::size_t n = 0; n < held.size(); ++n)
      ASSERT_EQ(held[n].value, "value" + std::to_string(10'000 + 100 * n)) << cached;
  }
  EXPECT_LT(cache->stats().evictions, 20u) << "what is asked for once makes nothing go";
}

/// So many keys from "key1000" on, with values of 200 bytes that do not compress.
ModelRun noise_in(int keys) {
  ModelRun model;
  Random random(1);
  for (int i = 1000; i < 1000 + keys; ++i) {
    std::string noise(200, '\0');
    for (char& c : noise) c = static_cast<char>(random.next());
    model.put("key" + std::to_string(i), 1, noise);
  }
  return model;
}

TEST(Run, AShortWalkEntersTheCacheAndALongOneDoesNot) {
  SimStorage disk;
  const ModelRun model = noise_in(2000);
  build_run(disk, model, 7);
  const auto cache = std::make_shared<BlockCache>(4 << 20);
  auto reader = open_run(disk, 7, cache);
  auto cursor = reader->cursor();
  const auto walk = [&](int entries) {
    for (cursor.seek("key1500"); entries > 0 && cursor.valid(); --entries) cursor.next();
  };
  walk(100);
  const BlockCache::Stats once = cache->stats();
  EXPECT_GT(once.bytes, 100u * 200);
  walk(100);
  EXPECT_EQ(cache->stats().misses, once.misses);
  walk(2000);
  EXPECT_GT(cache->stats().bytes, once.bytes);
  EXPECT_LT(cache->stats().bytes, std::uint64_t{128} << 10);
}

/// Notes the hints that runs give, and reads as the simulated disk does.
class NotesHints final : public PassingStorage {
 public:
  using PassingStorage::PassingStorage;
  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override {
    DARUMA_TRY_ASSIGN(std::unique_ptr<File> file, PassingStorage::open(path, mode));
    return std::unique_ptr<File>(std::make_unique<NotingFile>(std::move(file), notes));
  }

  struct Notes {
    unsigned anywhere = 0;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> soon;  // offset, bytes
    std::uint64_t unexpected = 0;                               // reads of many blocks that no hint announced
  } notes;

 private:
  class NotingFile final : public PassingFile {
   public:
    NotingFile(std::unique_ptr<File> file, Notes& notes) : PassingFile(std::move(file)), notes_(notes) {}
    Result<std::size_t> read(std::uint64_t offset, std::span<char> out) override {
      const auto told = [&](const auto& soon) { return offset >= soon.first && offset < soon.first + soon.second; };
      notes_.unexpected += std::none_of(notes_.soon.begin(), notes_.soon.end(), told);
      return PassingFile::read(offset, out);
    }
    void expect_reads_anywhere() override { ++notes_.anywhere; }
    void expect_read(std::uint64_t offset, std::uint64_t bytes) override { notes_.soon.emplace_back(offset, bytes); }

   private:
    Notes& notes_;
  };
};

TEST(Run, TellsTheStorageWhichReadsToExpect) {
  SimStorage disk;
  const ModelRun model = noise_in(8000);
  build_run(disk, model, 7);
  NotesHints storage(disk);
  const auto reader = open_run(storage, 7);
  ASSERT_TRUE(reader->get("key1500", 5).ok());
  ASSERT_TRUE(reader->get("key2500", 5).ok());
  EXPECT_EQ(storage.notes.anywhere, 1U) << "of a run that is open";
  EXPECT_TRUE(storage.notes.soon.empty()) << "a read of one key announces no other";
  for (const bool forward : {true, false}) {
    SCOPED_TRACE(forward ? "forward" : "backward");
    storage.notes = {};
    auto cursor = reader->cursor();
    std::size_t entries = 0;
    for (forward ? cursor.seek_first() : cursor.seek_last(); cursor.valid(); forward ? cursor.next() : cursor.prev())
      ++entries;
    EXPECT_EQ(entries, model.entries.size());
    EXPECT_GT(storage.notes.soon.size(), 3U);
    EXPECT_LT(storage.notes.unexpected, 7U) << "a long walk says what it reads next";
  }
}

TEST(Run, BlocksOfSeveralRunsAreReadAtOnceAndOnce) {
  SimStorage disk;
  std::vector<std::unique_ptr<RunReader>> readers;
  for (const std::uint64_t number : {7, 8}) {
    ModelRun model;
    model.put("key", number, std::to_string(number));
    model.put("other", number, "");
    build_run(disk, model, number);
    readers.push_back(open_run(disk, number));
    ASSERT_TRUE(readers.back()->info().ok());
  }
  BlockFetch fetch(disk);
  const auto get = [&](std::size_t run, std::string_view key) {
    return readers[run]->get(key, kMaxSequence, RunReader::Hold::kShare, &fetch);
  };
  disk.inject({.kind = FaultKind::kReadError, .path_contains = ".run"});
  for (const std::size_t run : {0, 1}) {
    EXPECT_EQ(get(run, "key")->found, Found::kUnread);
    EXPECT_EQ(get(run, "other")->found, Found::kUnread) << "in the same block";
    EXPECT_EQ(get(run, "between")->found, Found::kNothing) << "the filter says so";
  }
  disk.clear_faults();
  fetch.read();
  disk.inject({.kind = FaultKind::kReadError, .path_contains = ".run"});
  for (const std::size_t run : {0, 1}) {
    EXPECT_EQ(get(run, "key")->value, std::to_string(7 + run));
    EXPECT_EQ(get(run, "other")->found, Found::kValue);
  }
}

TEST(Run, FilterDeniesMostMisses) {
  SimStorage disk;
  ModelRun model;
  for (int i = 0; i < 20000; ++i) model.put("key" + std::to_string(i), 1, "");
  build_run(disk, model, 7);
  auto cache = std::make_shared<BlockCache>(64 << 20);
  auto reader = open_run(disk, 7, cache);
  for (int i = 0; i < 20000; ++i)
    EXPECT_EQ(reader->get("key" + std::to_string(i) + "x", kMaxSequence)->found, Found::kNothing);
  const auto stats = cache->stats();
  EXPECT_LT(stats.hits + stats.misses, 600u) << "over 3 % false positives";
}

TEST(Run, HasItsNameOnlyOnceItIsPublished) {
  SimStorage disk;
  ASSERT_TRUE(disk.make_directory("runs").ok());
  auto builder = RunBuilder::create(disk, "runs", test_identity(7));
  ASSERT_TRUE((*builder)->add("a", 1, EntryKind::kPut, "1").ok());
  ASSERT_TRUE((*builder)->finish({}).ok());
  EXPECT_TRUE(RunReader::open(disk, test_path(7), kTestStore, 7, nullptr).status().is(Code::kNotFound));
  ASSERT_TRUE((*builder)->publish(false).ok());
  EXPECT_EQ(open_run(disk, 7)->get("a", 1)->value, "1");
}

TEST(Run, SurvivesEveryPowerCutOnceItIsPublished) {
  std::uint64_t operations = 0;
  for (std::uint64_t crash = 0; crash == 0 || crash <= operations; ++crash) {
    for (unsigned survive : {0u, 50u, 100u}) {
      SimStorage disk({.seed = crash + 1});
      ASSERT_TRUE(disk.make_directory("runs").ok());
      ASSERT_TRUE(disk.sync_directory("").ok());
      const std::uint64_t before = disk.operations();
      if (crash > 0) disk.crash_at(before + crash - 1);
      bool published = false;
      if (auto builder = RunBuilder::create(disk, "runs", test_identity(7)); builder.ok()) {
        bool fine = true;
        for (const auto& [place, value] : small_model().entries) {
          fine = fine &&
                 (*builder)
                     ->add(place.first, place.second, value ? EntryKind::kPut : EntryKind::kErase, value.value_or(""))
                     .ok();
        }
        published = fine && (*builder)->finish({}).ok() && (*builder)->publish().ok();
      }
      if (crash == 0) operations = disk.operations() - before;
      disk.power_cut(survive);
      auto reader = RunReader::open(disk, test_path(7), kTestStore, 7, nullptr);
      ASSERT_TRUE(reader.ok() || !published) << "a published run is gone, crash at " << crash;
      if (reader.ok()) {
        auto verified = (*reader)->verify();
        ASSERT_TRUE(verified.ok() && verified->ok()) << "a half-written run has its final name, crash at " << crash;
      }
    }
  }
  EXPECT_GE(operations, 5u);
}

TEST(Run, LooksWithoutTouching) {
  SimStorage disk;
  build_run(disk, small_model(), 7);
  const std::uint64_t before = disk.fingerprint();
  const std::uint64_t writes = disk.write_operations();
  auto reader = open_run(disk, 7);
  ASSERT_TRUE(reader->get("key100", 1000).ok());
  ASSERT_TRUE(reader->verify().ok());
  EXPECT_EQ(disk.fingerprint(), before);
  EXPECT_EQ(disk.write_operations(), writes);
}

TEST(Run, IsReadByManyThreads) {
  // The simulated disk is for one thread; this is the real one.
  const std::string directory = ::testing::TempDir() + "daruma_run_test_" + std::to_string(entropy_seed());
  auto storage = make_posix_storage();
  ASSERT_TRUE(storage->make_directory(directory).ok());
  ModelRun model;
  for (int i = 0; i < 3000; ++i) model.put("key" + std::to_string(i), 1, "value" + std::to_string(i));
  auto builder = RunBuilder::create(*storage, directory, test_identity(7), {.block_bytes = 512});
  ASSERT_TRUE(builder.ok()) << builder.status().to_string();
  for (const auto& [place, value] : model.entries)
    ASSERT_TRUE((*builder)->add(place.first, place.second, EntryKind::kPut, *value).ok());
  ASSERT_TRUE((*builder)->finish({}).ok());
  ASSERT_TRUE((*builder)->publish().ok());
  const std::string path = directory + "/" + run_name(7);
  auto reader = RunReader::open(*storage, path, kTestStore, 7, std::make_shared<BlockCache>(8 << 10));
  ASSERT_TRUE(reader.ok());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Random random(static_cast<std::uint64_t>(t));
      for (int i = 0; i < 2000; ++i) {
        const std::string n = std::to_string(random.below(3000));
        auto got = (*reader)->get("key" + n, kMaxSequence);
        if (!got.ok() || got->value != "value" + n) ADD_FAILURE() << "key" << n;
      }
      std::vector<std::string_view> keys{"key1", "key2", "key2999", "nokey"};
      for (int i = 0; i < 50; ++i) {
        const auto all = get_together(*storage, **reader, keys, kMaxSequence);
        if (!all[2].ok() || all[2]->value != "value2999" || all[3]->found != Found::kNothing)
          ADD_FAILURE() << "multi_get";
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  auto verified = (*reader)->verify();
  EXPECT_TRUE(verified.ok() && verified->ok()) << "past the page cache of the real disk";
  ASSERT_TRUE(storage->remove(path).ok());
  static_cast<void>(storage->remove(directory));
}

TEST(RunName, IsParsedBackAndNothingElseIs) {
  EXPECT_EQ(run_name(7), "0000000000000007.run");
  for (const std::uint64_t n : {std::uint64_t{1}, std::uint64_t{12345678901234}, kMaxRunNumber})
    EXPECT_EQ(run_number(run_name(n)), n);
  for (const char* other : {"7.run", "0000000000000007.run.tmp", "000000000000000x.run", "99999999999999999999999.run",
                            ".run", "0000000000000007.log"}) {
    EXPECT_EQ(run_number(other), std::nullopt) << other;
  }
}

TEST(RunGolden, ABuildGivesTheseBytes) {
  SimStorage disk;
  build_run(disk, small_model(), 7, {.block_bytes = 512, .compress = false});
  expect_golden("run_v1_burst.run", *read_whole(disk, test_path(7), 1 << 20));
}

TEST(RunGolden, OldFilesAreRead) {  // compressed bytes differ between versions of LZ4, so these are only read
  for (const char* name : {"run_v1_plain.run", "run_v1_lz4.run", "run_v1_burst.run"}) {
    SCOPED_TRACE(name);
    SimStorage disk;
    ASSERT_TRUE(disk.make_directory("runs").ok());
    auto file = disk.open(test_path(7), OpenMode::kCreate);
    ASSERT_TRUE((*file)->write(0, golden(name)).ok());
    auto reader = open_run(disk, 7);
    auto verified = reader->verify();
    ASSERT_TRUE(verified.ok()) << verified.status().to_string();
    EXPECT_TRUE(verified->ok()) << verified->status().to_string();
    expect_walks_both_ways(*reader, small_model());
    EXPECT_EQ(*reader->range_erases(), small_model().erases);
  }
}

}  // namespace
}  // namespace daruma
