// SPDX-License-Identifier: Apache-2.0
#include "event/event.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/checksum.h"
#include "base/coding.h"
#include "base/random.h"
#include "event/entry.h"
#include "event/footprint.h"

namespace daruma {
namespace {

struct OwnOp {
  OpKind kind;
  std::uint32_t keyspace;
  std::string key, value, end;
  bool operator==(const OwnOp&) const = default;
};

std::vector<OwnOp> decoded(std::string_view event) {
  std::vector<OwnOp> out;
  const Status status = for_each_op(event, [&](const Op& op) {
    out.push_back({op.kind, op.keyspace, std::string(op.key), std::string(op.value), std::string(op.end)});
  });
  EXPECT_TRUE(status.ok()) << status.to_string();
  return out;
}

std::string rebuilt(const std::vector<OwnOp>& ops) {
  EventBuilder b;
  for (const OwnOp& op : ops) {
    if (op.kind == OpKind::kPut)
      b.put(op.keyspace, op.key, op.value);
    else if (op.kind == OpKind::kErase)
      b.erase(op.keyspace, op.key);
    else
      b.erase_range(op.keyspace, op.key, op.end);
  }
  return std::string(b.bytes());
}

TEST(Event, GivesBackItsOpsInOrder) {
  EventBuilder b;
  b.put(1, "a", "one");
  b.erase(70000, "");
  b.erase_range(2, "f", "");
  EXPECT_EQ(b.count(), 3u);
  const std::vector<OwnOp> expected = {
      {OpKind::kPut, 1, "a", "one", ""}, {OpKind::kErase, 70000, "", "", ""}, {OpKind::kEraseRange, 2, "f", "", ""}};
  EXPECT_EQ(decoded(b.bytes()), expected);
}

TEST(Event, HasTheBytesThatTheFormatPagePrints) {
  EventBuilder b;
  b.put(1, "k", "vv");
  b.erase(1, "x");
  EXPECT_EQ(b.bytes(), std::string_view("\x02\x01\x01\x01k\x02vv\x02\x01\x01x", 12));
}

TEST(Event, OfNothingIsOneByte) {
  EventBuilder b;
  EXPECT_EQ(b.bytes(), std::string_view("\0", 1));
  EXPECT_TRUE(decoded(b.bytes()).empty());
}

TEST(Event, BuilderStartsAgainAfterClearAndCountsPastOneByte) {
  EventBuilder b;
  for (int i = 0; i < 300; ++i) b.erase(1, std::to_string(i));
  EXPECT_EQ(decoded(b.bytes()).size(), 300u);
  b.clear();
  b.put(1, "k", "v");
  EXPECT_EQ(decoded(b.bytes()).size(), 1u);
}

TEST(Event, RefusesEveryPrefixAndAnyByteMore) {
  EventBuilder b;
  b.put(1, "key", "value");
  b.erase_range(3, "a", "b");
  const std::string whole(b.bytes());
  for (std::size_t n = 0; n < whole.size(); ++n)
    EXPECT_TRUE(check_event(std::string_view(whole).substr(0, n)).is(Code::kCorruption)) << n;
  EXPECT_TRUE(check_event(whole + '\0').is(Code::kCorruption));
}

TEST(Event, NeverCallsBackForAnEventThatIsBadAtItsEnd) {
  EventBuilder b;
  b.put(1, "key", "value");
  int calls = 0;
  EXPECT_FALSE(for_each_op(std::string(b.bytes()) + "x", [&](const Op&) { ++calls; }).ok());
  EXPECT_EQ(calls, 0);
}

TEST(Event, HasOneEncodingOnly) {
  EXPECT_TRUE(check_event(std::string_view("\x01\x02\x01\x01k", 5)).ok());
  EXPECT_TRUE(
      check_event(std::string_view("\x81\x00\x02\x01\x01k", 6)).is(Code::kCorruption));      // the count in two bytes
  EXPECT_TRUE(check_event(std::string_view("\x01\x04\x01\x01k", 5)).is(Code::kCorruption));  // kind 4
}

TEST(Event, EnforcesItsLimits) {
  std::string event("\x01\x02\x01", 3);
  put_bytes(event, std::string(kMaxKeyBytes + 1, 'k'));
  EXPECT_TRUE(check_event(event).is(Code::kCorruption));
  event.assign("\x01\x02", 2);
  put_varint(event, std::uint64_t{1} << 32);
  put_bytes(event, "k");
  EXPECT_TRUE(check_event(event).is(Code::kCorruption));
}

TEST(Event, MutatedBytesDecodeToWhatEncodesToThemOrNotAtAll) {
  for (std::uint64_t seed = 1; seed <= 20000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    EventBuilder b;
    for (std::uint64_t i = random.below(4); i-- > 0;) {
      const auto keyspace = static_cast<std::uint32_t>(random.below(300));
      const std::string key(random.below(20), 'k');
      if (random.one_in(2))
        b.put(keyspace, key, std::string(random.below(200), 'v'));
      else
        b.erase_range(keyspace, key, "z");
    }
    std::string event(b.bytes());
    for (std::uint64_t i = random.below(3); i-- > 0;)
      event[random.below(event.size())] = static_cast<char>(random.next());
    if (check_event(event).ok()) { EXPECT_EQ(rebuilt(decoded(event)), event); }
  }
}

TEST(RangeErase, CoversItsBeginAndNotItsEnd) {
  const RangeErase bounded{"b", "d", 1}, open{"b", "", 1};
  EXPECT_FALSE(bounded.covers("a"));
  EXPECT_TRUE(bounded.covers("b"));
  EXPECT_FALSE(bounded.covers("d"));
  EXPECT_TRUE(open.covers("zzz"));
}

TEST(Footprint, NamesEachKeyOnceAndEveryRange) {
  EventBuilder b;
  b.put(1, "a", "x");
  b.erase(1, "a");
  b.put(2, "a", "x");
  b.erase_range(3, "m", "p");
  const Result<Footprint> f = footprint(b.bytes());
  ASSERT_TRUE(f.ok());
  std::vector<std::uint64_t> keys = {key_hash(1, "a"), key_hash(2, "a")};
  std::sort(keys.begin(), keys.end());
  EXPECT_EQ(f->keys, keys);
  EXPECT_TRUE(f->touches(1, "a") && f->touches(3, "n"));
  EXPECT_FALSE(f->touches(3, "a") || f->touches(3, "p") || f->touches(1, "n"));
  const Result<Footprint> again = decode_footprint(encode_footprint(*f));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(*again, *f);
}

TEST(Footprint, OfManyKeysWidensAndNeverMissesOne) {
  EventBuilder b;
  for (int i = 0; i < 100000; ++i) b.put(static_cast<std::uint32_t>(1 + i % 3), "key" + std::to_string(i), "");
  const Footprint f = footprint_of_all({b.bytes()});
  EXPECT_LE(encode_footprint(f).size(), kMaxFootprintBytes);
  EXPECT_EQ(f.ranges.size(), 3u);
  for (int i = 0; i < 100000; ++i)
    ASSERT_TRUE(f.touches(static_cast<std::uint32_t>(1 + i % 3), "key" + std::to_string(i)));
  EXPECT_FALSE(f.touches(4, "key1"));
}

TEST(Footprint, OfHugeRangesOrOfWhatDoesNotDecodeIsEverything) {
  EventBuilder b;
  for (int i = 0; i < 30; ++i) b.erase_range(1, std::string(kMaxKeyBytes, 'a'), std::string(kMaxKeyBytes, 'b'));
  EXPECT_TRUE(footprint_of_all({b.bytes()}).everything);
  EXPECT_TRUE(footprint_of_all({"junk"}).everything);
  EXPECT_TRUE(footprint_of_all({"junk"}).touches(9, "any"));
  EXPECT_TRUE(footprint("junk").status().is(Code::kCorruption));
}

TEST(Footprint, MutatedBytesNeverCrash) {
  EventBuilder b;
  b.put(1, "a", "x");
  b.erase_range(3, "m", "p");
  const std::string whole = encode_footprint(*footprint(b.bytes()));
  for (std::uint64_t seed = 1; seed <= 20000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    std::string bytes = whole.substr(0, random.below(whole.size() + 1));
    if (!bytes.empty()) bytes[random.below(bytes.size())] = static_cast<char>(random.next());
    const Result<Footprint> f = decode_footprint(bytes);
    if (f.ok()) { EXPECT_LE(f->keys.size() * 8, bytes.size()); }
  }
}

}  // namespace
}  // namespace daruma
