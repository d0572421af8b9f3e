// SPDX-License-Identifier: Apache-2.0
// never-wrong, for one run: whatever is done to the file, a read gives the right answer or an error that names file and
// offset. And what stands twice, or can be told again from the rest, costs no answer at all. All this without parity,
// which is spoiled beforehand; what parity gives back is in run_heal_test.cc.
#include <gtest/gtest.h>
#include <sanitized.h>

#include <set>

#include <run_testing.h>  // in quotes, tests/CMakeLists.txt would link every room
#include "base/coding.h"
#include "io/sim_storage.h"
#include "run/run_reader.h"

namespace daruma {
namespace {

using Found = RunReader::Lookup::Found;
constexpr RunBuilderOptions kSmallBlocks{.block_bytes = 300, .compress = true};

struct Tried {
  std::size_t right = 0;
  std::size_t errors = 0;
};

class RunDamage : public ::testing::Test {
 protected:
  void SetUp() override { build(small_model(), kSmallBlocks); }
  void build(const ModelRun& model, const RunBuilderOptions& options) {
    model_ = model;
    info_ = build_run(disk_, model, 7, options);
    original_ = *read_whole(disk_, path_, 64 << 20);
    const std::uint64_t body = parity_layout_of_file(original_.size() / kSectorBytes)->data_sectors * kSectorBytes;
    footer_ = *decode_run_footer(std::string_view(original_).substr(body - kSectorBytes, kSectorBytes),
                                 body - kSectorBytes, kTestStore, 7);
    std::fill(original_.begin() + static_cast<std::ptrdiff_t>(body), original_.end(), '\x5a');
    restore();
    probes_.clear();
    for (const auto& [place, value] : model.entries) {
      probes_.emplace_back(place.first, kMaxSequence);
      probes_.emplace_back(place.first, place.second);
    }
    for (const char* other : {"", "key101", "key151", "key1555", "key2", "key9"})
      probes_.emplace_back(other, kMaxSequence);
  }
  void restore() {
    auto file = disk_.open(path_, OpenMode::kCreate);
    ASSERT_TRUE((*file)->write(0, original_).ok());
  }
  void overwrite(std::uint64_t at, std::string_view bytes) { ASSERT_TRUE(disk_.overwrite(path_, at, bytes).ok()); }
  void spoil(std::uint64_t begin, std::uint64_t end) { overwrite(begin, std::string(end - begin, '\x5a')); }

  static void expect_names_the_place(const Status& status) {
    EXPECT_TRUE(status.is(Code::kCorruption) || status.is(Code::kIoError)) << status.to_string();
    EXPECT_EQ(status.where().file, test_path(7)) << status.to_string();
    EXPECT_TRUE(status.where().offset.has_value()) << status.to_string();
  }

  /// Every probe and a walk both ways; anything wrong fails the test.
  Tried expect_never_wrong(std::optional<RunInfo> known = std::nullopt) {
    Tried tried;
    auto reader = open_run(disk_, 7, nullptr, std::move(known));
    std::vector<std::string_view> keys;
    for (const auto& [key, at] : probes_) {
      Result<RunReader::Lookup> got = reader->get(key, at);
      if (got.ok()) {
        EXPECT_EQ(answer_of(*got), model_.get(key, at)) << "key '" << key << "' at " << at;
        ++tried.right;
      } else {
        expect_names_the_place(got.status());
        ++tried.errors;
      }
      keys.push_back(key);
    }
    const auto all = get_together(disk_, *reader, keys, kMaxSequence);
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (all[i].ok()) {
        EXPECT_EQ(answer_of(*all[i]), model_.get(std::string(keys[i]), kMaxSequence))
            << "multi_get of '" << keys[i] << "'";
      }
    }
    if (Result<std::vector<RangeErase>> erases = reader->range_erases(); erases.ok()) {
      EXPECT_EQ(*erases, model_.erases);
    }
    walk(*reader, true);
    walk(*reader, false);
    return tried;
  }

  /// Steps over damage; what is missing must lie among the keys that the cursor named.
  void walk(const RunReader& reader, bool forward) {
    auto cursor = reader.cursor();
    std::vector<DamagedKeys> damaged;
    std::set<std::pair<std::string, Sequence>, ModelRun::NewestFirst> seen;
    if (forward)
      cursor.seek_first();
    else
      cursor.seek_last();
    for (;;) {
      if (cursor.valid()) {
        const auto it = model_.entries.find({std::string(cursor.key()), cursor.sequence()});
        ASSERT_NE(it, model_.entries.end()) << "an entry that was never written: '" << cursor.key() << "'";
        ASSERT_EQ(cursor.kind() == EntryKind::kPut, it->second.has_value());
        ASSERT_EQ(cursor.value(), it->second.value_or(""));
        ASSERT_TRUE(seen.insert(it->first).second) << "twice: '" << cursor.key() << "'";
        if (forward)
          cursor.next();
        else
          cursor.prev();
      } else if (cursor.status().ok()) {
        break;
      } else {
        expect_names_the_place(cursor.status());
        if (!cursor.damaged()) return;  // the run as a whole is not served
        damaged.push_back(*cursor.damaged());
        ASSERT_LT(damaged.size(), 1000u) << "does not come to an end";
        cursor.step_over();
      }
    }
    for (const auto& entry : model_.entries) {
      if (seen.contains(entry.first)) continue;
      const std::string& key = entry.first.first;
      const bool named = std::any_of(damaged.begin(), damaged.end(), [&](const DamagedKeys& d) {
        return (d.after_included ? key >= d.after : key > d.after) && key <= d.through;
      });
      ASSERT_TRUE(named) << (forward ? "forward" : "backward") << ": '" << key << "' is missing and nobody says so";
    }
  }

  void expect_verify_finds_it(std::uint64_t offset) {
    Result<RunReader::Verified> verified = open_run(disk_, 7)->verify();
    if (!verified.ok()) return;
    const bool found = std::any_of(verified->findings.begin(), verified->findings.end(),
                                   [](const RunFinding& f) { return f.fault != RunFault::kParity; });
    EXPECT_TRUE(found) << "the byte at " << offset << " is not looked at";
  }

  SimStorage disk_;
  const std::string path_ = test_path(7);
  ModelRun model_;
  RunInfo info_;
  std::string original_;
  RunFooter footer_;
  std::vector<std::pair<std::string, Sequence>> probes_;
};

TEST_F(RunDamage, NoFlippedByteGivesAWrongAnswer) {
  ASSERT_GT(footer_.data_blocks, 4u);
  ASSERT_GT(footer_.erase_blocks, 0u);
  const Tried whole = expect_never_wrong();
  ASSERT_EQ(whole.errors, 0u);
  constexpr std::uint64_t kStride = kSanitized ? 7 : 1;
  std::size_t with_errors = 0;
  for (std::uint64_t at = 0; at < footer_.body_bytes; ++at) {
    // Every byte is flipped; the reads are tried for some only in long stretches of padding, where they do not look,
    // and under a sanitizer.
    const bool padding = original_[at] == 0 && original_.compare(at < 8 ? 0 : at - 8, 17, std::string(17, '\0')) == 0;
    const char flipped = static_cast<char>(original_[at] ^ (1 << at % 8));
    overwrite(at, {&flipped, 1});
    expect_verify_finds_it(at);
    if (at % (padding ? 64 : kStride) == 0) {
      const Tried tried = expect_never_wrong();
      with_errors += tried.errors > 0;
      const bool single = at >= kSectorBytes && at < footer_.erase_end;  // all else stands twice or can be told again
      if (!single) { EXPECT_EQ(tried.errors, 0u) << "flip at " << at; }
      EXPECT_TRUE(at >= footer_.data_end || tried.right > 0) << "one block costs the whole run, flip at " << at;
    }
    overwrite(at, {&original_[at], 1});
    if (HasFailure()) FAIL() << "flip at " << at;
  }
  const auto tried_before = [](std::uint64_t end) { return (end + kStride - 1) / kStride; };
  EXPECT_EQ(with_errors, tried_before(footer_.erase_end) - tried_before(kSectorBytes))
      << "some flips of single bytes were not seen";
}

TEST_F(RunDamage, NoLostSectorGivesAWrongAnswer) {
  for (std::uint64_t at = 0; at < footer_.body_bytes; at += kSectorBytes) {
    SCOPED_TRACE("sector at " + std::to_string(at));
    const bool single = at < footer_.erase_end && at + kSectorBytes > kSectorBytes && at >= kSectorBytes;
    for (const char fill : {'\0', '\xff', '\x5a'}) {
      overwrite(at, std::string(kSectorBytes, fill));
      const Tried tried = expect_never_wrong();
      if (!single) { EXPECT_EQ(tried.errors, 0u); }
      expect_never_wrong(info_);
      expect_verify_finds_it(at);
      overwrite(at, std::string_view(original_).substr(at, kSectorBytes));
    }
    disk_.inject({.kind = FaultKind::kReadError, .path_contains = path_, .offset = at, .bytes = kSectorBytes});
    const Tried tried = expect_never_wrong();
    if (!single) { EXPECT_EQ(tried.errors, 0u) << "unreadable"; }
    expect_never_wrong(info_);
    expect_verify_finds_it(at);
    disk_.clear_faults();
    // A sector that a misdirected write put elsewhere.
    for (std::uint64_t to = 0; to < footer_.body_bytes; to += kSectorBytes) {
      if (to == at || original_.compare(to, kSectorBytes, original_, at, kSectorBytes) == 0) continue;
      overwrite(to, std::string_view(original_).substr(at, kSectorBytes));
      expect_never_wrong();
      expect_verify_finds_it(to);
      overwrite(to, std::string_view(original_).substr(to, kSectorBytes));
    }
  }
}

TEST_F(RunDamage, NoTruncationGivesAWrongAnswer) {
  constexpr std::uint64_t kStep = kSanitized ? 257 : 61;
  for (std::uint64_t bytes = 0; bytes < footer_.body_bytes;
       bytes += bytes % kSectorBytes == 0 || (bytes + 1) % kSectorBytes == 0 ? 1 : kStep) {
    SCOPED_TRACE("cut to " + std::to_string(bytes));
    ASSERT_TRUE(disk_.truncate(path_, bytes).ok());
    const Tried tried = expect_never_wrong();
    // The first footer and its properties are whole: everything can be told.
    if (bytes >= footer_.index_at()) { EXPECT_EQ(tried.errors, 0u); }
    const Tried when_known = expect_never_wrong(info_);
    if (bytes >= footer_.erase_end) { EXPECT_EQ(when_known.errors, 0u); }
    expect_verify_finds_it(bytes);
    restore();
    if (HasFailure()) return;
  }
}

TEST_F(RunDamage, BytesBehindTheEndCostNothing) {
  for (const std::string& more :
       {std::string("x"), std::string(kSectorBytes, '\0'), std::string(3 * kSectorBytes + 5, 'y'), original_}) {
    ASSERT_TRUE((*disk_.open(path_, OpenMode::kReadWrite))->write(original_.size(), more).ok());
    EXPECT_EQ(expect_never_wrong().errors, 0u);
    expect_verify_finds_it(original_.size());
    restore();
  }
}

TEST_F(RunDamage, RandomWoundsGiveNoWrongAnswer) {
  for (std::uint64_t seed = 1; seed <= (kSanitized ? 100 : 400); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    for (std::uint64_t wounds = 1 + random.below(6); wounds > 0; --wounds) {
      const std::uint64_t at = random.below(random.one_in(2) ? footer_.filter_end : original_.size());
      std::string noise(std::min<std::uint64_t>(1 + random.below(random.one_in(3) ? 5000 : 20), original_.size() - at),
                        '\0');
      if (!random.one_in(3))
        for (char& c : noise) c = static_cast<char>(random.next());
      overwrite(at, noise);
    }
    expect_never_wrong();
    expect_never_wrong(info_);
    restore();
    if (HasFailure()) return;
  }
}

TEST_F(RunDamage, SwappedRunsAreRefused) {
  ModelRun other;
  other.put("key100", 300, "of another run");
  const RunInfo other_info = build_run(disk_, other, 8);
  ASSERT_TRUE(disk_.rename(test_path(8), path_).ok());
  EXPECT_EQ(expect_never_wrong().right, 0u);
  const Status status = open_run(disk_, 7)->get("key100", kMaxSequence).status();
  EXPECT_NE(status.message().find("is run 8 under the name of run 7"), std::string::npos) << status.to_string();
  // The same number in the same store but other contents: only a manifest can tell.
  build_run(disk_, other, 7);
  EXPECT_TRUE(open_run(disk_, 7, nullptr, info_)->get("key100", kMaxSequence).status().is(Code::kCorruption));
  restore();
  auto stranger = RunReader::open(disk_, path_, StoreId{9, 9}, 7, nullptr);
  EXPECT_NE((*stranger)->get("key100", kMaxSequence).status().message().find("another store"), std::string::npos);
}

TEST_F(RunDamage, ARunFromTheFutureIsRefusedAsSuch) {
  // A footer as a later version would write it: its checksum is right.
  RunFooter future = footer_;
  future.header.required_features = 1u << 7;
  for (std::uint32_t copy : {0u, 1u}) {
    future.copy = copy;
    overwrite(future.footer_at(), encode_run_footer(future));
  }
  EXPECT_TRUE(open_run(disk_, 7)->get("key100", 1000).status().is(Code::kUnsupported));
  EXPECT_TRUE(open_run(disk_, 7, nullptr, info_)->get("key100", 1000).status().is(Code::kUnsupported))
      << "walking its blocks would be guessing";
}

TEST_F(RunDamage, TheIndexIsRebuiltFromTheBlocks) {
  spoil(footer_.index_at(), footer_.index_end);
  EXPECT_EQ(expect_never_wrong().errors, 0u);
  auto reader = open_run(disk_, 7);
  ASSERT_TRUE(reader->get("key100", kMaxSequence).ok());
  const auto findings = reader->findings();
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].fault, RunFault::kIndex);
  EXPECT_EQ(findings[0].status.where().offset, footer_.index_at());
}

TEST_F(RunDamage, TheIndexIsRebuiltFromPaddedBlocks) {
  ModelRun model;
  for (int i = 1000; i < 2000; ++i) model.put("key" + std::to_string(i), 1, std::string(100, static_cast<char>(i)));
  build(model, {.compress = false});
  const auto first =
      decode_block_header(std::string_view(original_).substr(kSectorBytes), {kTestStore, 7}, kSectorBytes);
  ASSERT_GT(first->padding, 0u);
  spoil(footer_.index_at(), footer_.index_end);
  EXPECT_EQ(expect_never_wrong().errors, 0u);
  overwrite(kSectorBytes + first->frame_bytes() - 1, "x");
  EXPECT_GT(expect_never_wrong().errors, 0u) << "padding is of the block";
}

TEST_F(RunDamage, ARebuiltIndexHasGapsWhereBlocksAreLost) {
  // Where the blocks are, from their own headers.
  std::vector<std::uint64_t> blocks;
  for (std::uint64_t at = kSectorBytes; at < footer_.data_end;) {
    blocks.push_back(at);
    at += decode_block_header(std::string_view(original_).substr(at), {kTestStore, 7}, at)->frame_bytes();
  }
  ASSERT_EQ(blocks.size(), footer_.data_blocks);
  blocks.push_back(footer_.data_end);
  for (std::size_t first = 0; first + 1 < blocks.size(); ++first) {
    for (std::size_t last = first; last + 1 < blocks.size(); ++last) {
      for (const bool header_too : {false, true}) {
        SCOPED_TRACE("blocks " + std::to_string(first) + " to " + std::to_string(last));
        spoil(footer_.index_at(), footer_.index_end);
        spoil(blocks[first] + (header_too ? 0 : kBlockHeaderBytes), blocks[last + 1]);
        const Tried tried = expect_never_wrong();
        EXPECT_GT(tried.errors, 0u);
        if (last - first + 2 < blocks.size()) { EXPECT_GT(tried.right, 6u) << "the other blocks serve"; }
        auto reader = open_run(disk_, 7);
        auto cursor = reader->cursor();
        cursor.seek_first();
        std::size_t stops = 0;
        for (; cursor.valid() || !cursor.status().ok(); ++stops) {
          while (cursor.valid()) cursor.next();
          if (cursor.status().ok()) break;
          EXPECT_EQ(cursor.damaged()->offset, blocks[first]);
          cursor.step_over();
          if (!cursor.valid()) continue;
          // The gap ends where the next block begins: its first version serves those who read at it, nobody who reads
          // later.
          const std::string key(cursor.key());
          EXPECT_TRUE(reader->get(key, cursor.sequence()).ok());
          EXPECT_FALSE(reader->get(key, cursor.sequence() + 1).ok());
        }
        EXPECT_EQ(stops, 1u) << "one gap";
        restore();
        if (HasFailure()) return;
      }
    }
  }
}

TEST_F(RunDamage, BothFootersLostCostNothingWhenTheRunIsKnown) {
  spoil(footer_.first_footer_at(), footer_.body_bytes);
  EXPECT_EQ(expect_never_wrong().right, 0u);
  EXPECT_EQ(expect_never_wrong(info_).errors, 0u);
  spoil(footer_.data_end, footer_.erase_end);  // and now the range erases too
  const Tried tried = expect_never_wrong(info_);
  EXPECT_GT(tried.errors, 0u);
}

TEST_F(RunDamage, ADamagedFilterDeniesNothing) {
  ModelRun model;
  for (int i = 0; i < 120'000; ++i) model.put("key" + std::to_string(i), 1, "");
  build(model, {});
  ASSERT_GT(footer_.filter_blocks, 1u);
  probes_.resize(2000);
  overwrite(footer_.erase_end + 100, std::string(1000, '\0'));
  EXPECT_EQ(expect_never_wrong().errors, 0u);
  auto cache = std::make_shared<BlockCache>(64 << 20);
  auto reader = open_run(disk_, 7, cache);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(reader->get("key" + std::to_string(i) + "x", 5)->found, Found::kNothing);
  ASSERT_EQ(reader->findings().size(), 1u);
  EXPECT_EQ(reader->findings()[0].fault, RunFault::kFilter);
  EXPECT_EQ(reader->findings()[0].status.where().offset, footer_.erase_end);
  const auto looked = cache->stats().hits + cache->stats().misses;
  EXPECT_GT(looked, 100u);
  EXPECT_LT(looked, 900u) << "one damaged block of the filter costs the whole filter";
}

// No read could tell, so the look at what was written must, whichever key it is.
TEST_F(RunDamage, AFilterThatVerifiesAndDeniesAKeyIsFound) {
  std::set<std::string> keys;
  for (const auto& [place, value] : model_.entries) keys.insert(place.first);
  ASSERT_GT(keys.size(), 32U);
  ASSERT_EQ(footer_.filter_blocks, 1U);
  const RunPlace place{kTestStore, 7};
  const BlockHeader header =
      *decode_block_header(std::string_view(original_).substr(footer_.erase_end), place, footer_.erase_end);
  std::size_t denials = 0;
  for (const std::string& denied : keys) {
    SCOPED_TRACE(denied);
    RunFilterBuilder others;
    const std::string& again = denied == *keys.begin() ? *keys.rbegin() : *keys.begin();  // so there are as many
    for (const std::string& key : keys) others.add(key_hash(info_.keyspace, key == denied ? again : key));
    const std::string lines = others.build(RunBuilderOptions{}.filter_bits);
    ASSERT_EQ(lines.size(), footer_.filter_lines * kFilterLineBytes);
    std::string forged;
    append_block(forged, place, footer_.erase_end, BlockKind::kFilter, header.number, lines, false);
    overwrite(footer_.erase_end, forged);
    RunFilter filter(footer_.filter_lines);
    std::copy(lines.begin(), lines.end(), filter.bits().begin());
    const Result<RunReader::Verified> verified = open_run(disk_, 7)->verify();
    ASSERT_TRUE(verified.ok()) << verified.status().to_string();
    const auto told = std::count_if(verified->findings.begin(), verified->findings.end(), [&](const RunFinding& f) {
      return f.fault == RunFault::kFilter && f.status.where().offset == footer_.erase_end &&
             f.status.message().find("denies a key that is there") != std::string::npos;
    });
    EXPECT_EQ(told, filter.may_contain(key_hash(info_.keyspace, denied)) ? 0 : 1) << "a few share the bits of others";
    denials += static_cast<std::size_t>(told);
  }
  EXPECT_GT(denials, keys.size() * 3 / 4);
}

TEST_F(RunDamage, LostRangeErasesBringNothingBack) {
  spoil(footer_.data_end, footer_.erase_end);
  auto reader = open_run(disk_, 7);
  EXPECT_FALSE(reader->get("key151", kMaxSequence).ok()) << "it was erased, and nothing here says so any more";
  EXPECT_FALSE(reader->get("key151", 119).ok());
  EXPECT_FALSE(reader->range_erases().ok());
  EXPECT_FALSE(reader->covering_erase("key151", kMaxSequence).ok());
  EXPECT_EQ(reader->get("zzz", kMaxSequence)->found, Found::kNothing) << "outside of all that the run covers";
  expect_never_wrong();
}

TEST_F(RunDamage, ADeviceThatComesBackIsReadAgain) {
  auto reader = open_run(disk_, 7, std::make_shared<BlockCache>(1 << 20));
  ASSERT_TRUE(reader->info().ok());
  disk_.inject({.kind = FaultKind::kReadError, .path_contains = path_, .times = 1});
  EXPECT_EQ(answer_of(*reader->get("key100", kMaxSequence)), model_.get("key100", kMaxSequence)) << "the second try";
  ASSERT_EQ(reader->findings().size(), 1u);
  EXPECT_TRUE(reader->findings()[0].healed);
  reader = open_run(disk_, 7);
  ASSERT_TRUE(reader->info().ok());
  disk_.inject({.kind = FaultKind::kReadError, .path_contains = path_});
  const Status status = reader->get("key100", kMaxSequence).status();
  EXPECT_TRUE(status.is(Code::kIoError)) << status.to_string();
  disk_.clear_faults();
  EXPECT_EQ(answer_of(*reader->get("key100", kMaxSequence)), model_.get("key100", kMaxSequence));
  ASSERT_EQ(reader->findings().size(), 1u);
  EXPECT_FALSE(reader->findings()[0].healed);
  EXPECT_EQ(reader->findings()[0].keys->after, "key100");
  EXPECT_TRUE(reader->findings()[0].keys->after_included);
  EXPECT_LT(reader->findings()[0].keys->through, info_.largest_key) << "one block's keys, not the run's";
  // A batch that fails is read again one by one.
  disk_.inject({.kind = FaultKind::kReadError, .path_contains = path_, .times = 1});
  const std::vector<std::string_view> keys{"key217"};
  EXPECT_TRUE(get_together(disk_, *reader, keys, kMaxSequence)[0].ok());
}

TEST_F(RunDamage, ForgedBlocksAreRefusedOrReadWithoutHarm) {
  // Checksums that fit contents that no builder wrote: what a decoder must take without leaving its input.
  build(small_model(), {.block_bytes = 300, .compress = false});
  const RunPlace place{kTestStore, 7};
  for (std::uint64_t seed = 1; seed <= (kSanitized ? 600 : 3000); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    const std::uint64_t sections[][2] = {{kSectorBytes, footer_.data_end},
                                         {footer_.data_end, footer_.erase_end},
                                         {footer_.index_at(), footer_.index_end}};
    const auto& section = sections[random.below(3)];
    std::vector<std::uint64_t> blocks;
    for (std::uint64_t at = section[0]; at < section[1];) {
      blocks.push_back(at);
      at += decode_block_header(std::string_view(original_).substr(at), place, at)->frame_bytes();
    }
    const std::uint64_t at = blocks[random.below(blocks.size())];
    const BlockHeader header = *decode_block_header(std::string_view(original_).substr(at), place, at);
    std::string raw = original_.substr(at + kBlockHeaderBytes, header.stored_bytes);
    for (std::uint64_t n = 1 + random.below(4); n > 0; --n) {
      const std::size_t where = random.one_in(2) ? random.below(raw.size())
                                                 : raw.size() - 1 - random.below(std::min<std::size_t>(raw.size(), 16));
      raw[where] = random.one_in(3)   ? static_cast<char>(random.next())
                   : random.one_in(2) ? '\xff'
                                      : static_cast<char>(raw[where] + 1);
    }
    std::string frame;
    append_block(frame, place, at, header.kind, header.number, raw, false);
    overwrite(at, frame);
    auto reader = open_run(disk_, 7, nullptr, random.one_in(2) ? std::optional(info_) : std::nullopt);
    for (const auto& [key, sequence] : probes_) static_cast<void>(reader->get(key, sequence));
    for (const bool forward : {true, false}) {
      auto cursor = reader->cursor();
      if (forward)
        cursor.seek_first();
      else
        cursor.seek_last();
      for (int steps = 0; steps < 1000; ++steps) {
        if (cursor.valid())
          forward ? cursor.next() : cursor.prev();
        else if (cursor.damaged())
          cursor.step_over();
        else
          break;
      }
      cursor.seek("key155");
    }
    if (frame != original_.substr(at, frame.size())) expect_verify_finds_it(at);
    overwrite(at, std::string_view(original_).substr(at, frame.size()));
    if (HasFailure()) return;
  }
}

/// As above: a get that is not to keep the block goes by its restarts, and says so where these lead nowhere.
TEST_F(RunDamage, AGetIsRefusedByABlockWhoseRestartsMakeNoSense) {
  build(small_model(), {.block_bytes = 300, .compress = false});
  const RunPlace place{kTestStore, 7};
  const std::uint64_t at = kSectorBytes;
  const BlockHeader header = *decode_block_header(std::string_view(original_).substr(at), place, at);
  for (std::size_t back = 16; back > 0; back -= 4) {  // the last restart, then the two sizes
    std::string raw = original_.substr(at + kBlockHeaderBytes, header.stored_bytes);
    char* const word = raw.data() + raw.size() - back;
    store(word, load<std::uint32_t>(word) + 0x40000000);
    std::string frame;
    append_block(frame, place, at, header.kind, header.number, raw, false);
    overwrite(at, frame);
    const Status refused = open_run(disk_, 7, nullptr)->get(info_.smallest_key, kMaxSequence).status();
    EXPECT_FALSE(refused.ok() || refused.is(Code::kNotFound)) << back << " " << refused.to_string();
  }
}

TEST(RunInfoDamage, NoBytesHarmTheDecoder) {
  RunInfo info;
  info.number = 7, info.entries = 3, info.min_sequence = 1, info.max_sequence = 9, info.smallest_key = "a",
  info.largest_key = "zz", info.supersedes = {1, 2, 3};
  std::string encoded;
  encode_run_info(encoded, info);
  ASSERT_EQ(*decode_run_info(encoded), info);
  for (std::size_t cut = 0; cut < encoded.size(); ++cut)
    EXPECT_TRUE(decode_run_info(encoded.substr(0, cut)).status().is(Code::kCorruption)) << cut;
  EXPECT_FALSE(decode_run_info(encoded + "x").ok());
  for (std::uint64_t seed = 1; seed <= 20'000; ++seed) {
    Random random(seed);
    std::string noise = encoded;
    for (std::uint64_t n = 1 + random.below(5); n > 0; --n)
      noise[random.below(noise.size())] = static_cast<char>(random.next());
    if (Result<RunInfo> got = decode_run_info(noise); got.ok()) {
      std::string again;
      encode_run_info(again, *got);
      ASSERT_EQ(*decode_run_info(again), *got) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace daruma
