// SPDX-License-Identifier: Apache-2.0
//
// The ground floor: integers come back as they went, a Decoder survives every cut, a checksum belongs to one place,
// an error says all it knows.
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/clock.h"
#include "base/coding.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "daruma/status.h"

namespace daruma {
namespace {

constexpr std::uint64_t kSeed = 20'260'101;

// Every length of varint, both sides of each boundary, and some at random.
std::vector<std::uint64_t> interesting_numbers() {
  std::vector<std::uint64_t> all = {0, 1, std::numeric_limits<std::uint64_t>::max()};
  for (unsigned bits = 1; bits < 64; ++bits) {
    const std::uint64_t power = std::uint64_t{1} << bits;
    all.insert(all.end(), {power - 1, power, power + 1});
  }
  Random random(kSeed);
  for (int i = 0; i < 1000; ++i) all.push_back(random.next() >> random.below(64));
  return all;
}

TEST(Coding, FixedIntegersComeBack) {
  for (const std::uint64_t n : interesting_numbers()) {
    std::string out;
    put_u8(out, static_cast<std::uint8_t>(n));
    put_u16(out, static_cast<std::uint16_t>(n));
    put_u32(out, static_cast<std::uint32_t>(n));
    put_u64(out, n);
    ASSERT_EQ(out.size(), 15U);
    Decoder in(out);
    EXPECT_EQ(in.u8(), static_cast<std::uint8_t>(n));
    EXPECT_EQ(in.u16(), static_cast<std::uint16_t>(n));
    EXPECT_EQ(in.u32(), static_cast<std::uint32_t>(n));
    EXPECT_EQ(in.u64(), n);
    EXPECT_TRUE(in.done());
  }
}

TEST(Coding, FixedIntegersAreLittleEndian) {
  std::string out;
  put_u32(out, 0x04030201);
  EXPECT_EQ(out, std::string("\x01\x02\x03\x04"));
}

TEST(Coding, VarintsComeBackInTheSizeForetold) {
  SCOPED_TRACE(kSeed);
  for (const std::uint64_t n : interesting_numbers()) {
    std::string out;
    put_varint(out, n);
    ASSERT_EQ(out.size(), varint_size(n)) << n;
    ASSERT_LE(out.size(), kMaxVarintBytes) << n;
    Decoder in(out);
    EXPECT_EQ(in.varint(), n);
    EXPECT_TRUE(in.done()) << n;
  }
}

TEST(Coding, AVarintCutShortIsRefused) {
  for (const std::uint64_t n : interesting_numbers()) {
    std::string out;
    put_varint(out, n);
    for (std::size_t size = 0; size < out.size(); ++size) {
      std::uint64_t value = 77;
      EXPECT_EQ(decode_varint(out.data(), out.data() + size, &value), nullptr) << n << " cut to " << size;
      EXPECT_EQ(value, 77U) << "nothing is delivered with a failure";
    }
  }
}

TEST(Coding, AVarintOverSixtyFourBitsIsRefused) {
  const std::string nine(9, '\xff');
  std::uint64_t value = 0;
  const std::string largest = nine + '\x01';
  EXPECT_EQ(decode_varint(largest.data(), largest.data() + largest.size(), &value), largest.data() + largest.size());
  EXPECT_EQ(value, std::numeric_limits<std::uint64_t>::max());
  for (unsigned last = 2; last < 256; ++last) {
    const std::string over = nine + static_cast<char>(last) + '\0';
    EXPECT_EQ(decode_varint(over.data(), over.data() + over.size(), &value), nullptr) << last;
  }
  for (const std::size_t length : {11U, 12U, 100U}) {
    const std::string overlong = std::string(length - 1, '\x80') + '\0';
    EXPECT_EQ(decode_varint(overlong.data(), overlong.data() + overlong.size(), &value), nullptr) << length;
  }
}

TEST(Coding, BytesComeBack) {
  SCOPED_TRACE(kSeed);
  Random random(kSeed);
  for (const std::size_t size : {0U, 1U, 127U, 128U, 129U, 16383U, 16384U, 70000U}) {
    std::string bytes(size, '\0');
    for (char& c : bytes) c = static_cast<char>(random.next());
    std::string out;
    put_bytes(out, bytes);
    Decoder in(out);
    EXPECT_EQ(in.bytes(), bytes);
    EXPECT_TRUE(in.done());
  }
}

// One of everything; returns whether all of it was there.
bool read_one_of_everything(Decoder& in) {
  (void)in.u8(), (void)in.u16(), (void)in.u32(), (void)in.u64();
  (void)in.varint();
  (void)in.bytes();
  (void)in.raw(3);
  (void)in.bytes();
  return in.done();
}

std::string one_of_everything() {
  std::string out;
  put_u8(out, 1), put_u16(out, 2), put_u32(out, 3), put_u64(out, 4);
  put_varint(out, std::numeric_limits<std::uint64_t>::max());
  put_bytes(out, std::string(300, 'k'));
  out += "raw";
  put_bytes(out, "end");
  return out;
}

TEST(Decoder, RefusesEveryTruncationAndStaysRefused) {
  const std::string whole = one_of_everything();
  {
    Decoder in(whole);
    ASSERT_TRUE(read_one_of_everything(in));
  }
  for (std::size_t size = 0; size < whole.size(); ++size) {
    // In a heap block of exactly that size, so that AddressSanitizer sees one byte too many.
    const std::vector<char> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    Decoder in({cut.data(), cut.size()});
    EXPECT_FALSE(read_one_of_everything(in)) << size;
    EXPECT_FALSE(in.ok()) << size;
    EXPECT_EQ(in.remaining(), 0U);
    EXPECT_EQ(in.u64(), 0U);
    EXPECT_EQ(in.u8(), 0U);
    EXPECT_EQ(in.varint(), 0U);
    EXPECT_EQ(in.bytes(), "");
    EXPECT_EQ(in.raw(0), "");
    EXPECT_FALSE(in.ok()) << "a failed Decoder never recovers";
    EXPECT_FALSE(in.done());
  }
}

TEST(Decoder, SurvivesAnyByteChangedToAnyValue) {
  const std::string whole = one_of_everything();
  for (std::size_t i = 0; i < whole.size(); ++i) {
    for (int value = 0; value < 256; ++value) {
      std::vector<char> changed(whole.begin(), whole.end());
      changed[i] = static_cast<char>(value);
      Decoder in({changed.data(), changed.size()});
      (void)read_one_of_everything(in);
      ASSERT_LE(in.position(), changed.data() + changed.size());
      if (in.ok()) { ASSERT_GE(in.position(), changed.data() + 15); }
    }
  }
}

TEST(Decoder, NeverTrustsALength) {
  for (const std::uint64_t length :
       {std::uint64_t{4}, std::uint64_t{1} << 32, std::numeric_limits<std::uint64_t>::max()}) {
    std::string out;
    put_varint(out, length);
    out += "abc";
    Decoder bytes(out);
    EXPECT_EQ(bytes.bytes(), "");
    EXPECT_FALSE(bytes.ok()) << length;
    Decoder raw("abc");
    EXPECT_EQ(raw.raw(length), "");
    EXPECT_FALSE(raw.ok()) << length;
  }
}

TEST(Decoder, SeesWhatIsLeftOver) {
  Decoder in("ab");
  EXPECT_EQ(in.u8(), 'a');
  EXPECT_TRUE(in.ok());
  EXPECT_FALSE(in.done()) << "a byte is left";
  EXPECT_EQ(in.remaining(), 1U);
}

TEST(Checksum, IsXxh3AsWrittenOnDisk) {
  EXPECT_EQ(hash64("", 0), 0x2d06800538d394c2ULL) << "the published value: another hash would orphan every store";
}

TEST(Checksum, BelongsToOnePlace) {
  // Neighbours in every coordinate, and the swaps that a careless mix would confuse.
  std::set<std::uint64_t> seeds;
  std::set<std::uint64_t> sums;
  std::size_t places = 0;
  for (std::uint64_t high = 0; high < 4; ++high) {
    for (std::uint64_t low = 0; low < 4; ++low) {
      for (std::uint64_t file = 0; file < 8; ++file) {
        for (std::uint64_t sector = 0; sector < 16; ++sector) {
          for (const std::uint64_t position : {sector, (sector + 1) * kSectorBytes}) {
            ++places;
            seeds.insert(place_seed({high, low}, file, position));
            sums.insert(checksum("the same bytes", {high, low}, file, position));
          }
        }
      }
    }
  }
  EXPECT_EQ(seeds.size(), places);
  EXPECT_EQ(sums.size(), places) << "misplaced bytes would verify";
}

TEST(Checksum, ZeroBytesDoNotVerifyAsZero) {
  const std::string sector(kSectorBytes, '\0');
  for (std::uint64_t file = 0; file < 16; ++file) {
    for (std::uint64_t i = 0; i < 64; ++i) EXPECT_NE(checksum(sector, {1, 2}, file, i * kSectorBytes), 0U);
  }
}

TEST(Checksum, SeesEveryFlippedBit) {
  std::string sector(512, 'x');
  const StoreId store{1, 2};
  const std::uint64_t right = checksum(sector, store, 3, 4096);
  for (std::size_t bit = 0; bit < sector.size() * 8; ++bit) {
    sector[bit / 8] = static_cast<char>(sector[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_NE(checksum(sector, store, 3, 4096), right) << bit;
    sector[bit / 8] = static_cast<char>(sector[bit / 8] ^ (1 << (bit % 8)));
  }
  EXPECT_EQ(checksum(sector, store, 3, 4096), right);
}

TEST(Checksum, KeyHashTellsKeyspacesApart) {
  std::set<std::uint64_t> hashes;
  for (std::uint32_t keyspace = 0; keyspace < 256; ++keyspace) {
    hashes.insert(key_hash(keyspace, "k"));
    hashes.insert(key_hash(keyspace, ""));
  }
  EXPECT_EQ(hashes.size(), 512U);
}

constexpr std::array kEveryCode = {Code::kOk,          Code::kNotFound,    Code::kDataLoss,        Code::kCorruption,
                                   Code::kIoError,     Code::kNoSpace,     Code::kInvalidArgument, Code::kBusy,
                                   Code::kUnavailable, Code::kUnsupported, Code::kReadOnly,        Code::kExists,
                                   Code::kAborted,     Code::kOutOfMemory};

// No default: a new code does not compile here (-Wswitch) until it is listed and named.
bool is_listed(Code code) {
  switch (code) {
    case Code::kOk:
    case Code::kNotFound:
    case Code::kDataLoss:
    case Code::kCorruption:
    case Code::kIoError:
    case Code::kNoSpace:
    case Code::kInvalidArgument:
    case Code::kBusy:
    case Code::kUnavailable:
    case Code::kUnsupported:
    case Code::kReadOnly:
    case Code::kExists:
    case Code::kAborted:
    case Code::kOutOfMemory: return true;
  }
  return false;
}

TEST(Status, EveryCodeHasItsOwnName) {
  std::set<std::string_view> names;
  for (const Code code : kEveryCode) {
    EXPECT_TRUE(is_listed(code));
    EXPECT_NE(code_name(code), "unknown");
    EXPECT_FALSE(code_name(code).empty());
    names.insert(code_name(code));
  }
  EXPECT_EQ(names.size(), kEveryCode.size());
  for (unsigned next = kEveryCode.size(); next < 256; ++next) {
    EXPECT_FALSE(is_listed(static_cast<Code>(next))) << next << " is missing in kEveryCode";
    EXPECT_EQ(code_name(static_cast<Code>(next)), "unknown");
  }
}

TEST(Status, NamesAreStable) {
  EXPECT_EQ(code_name(Code::kOk), "ok");
  EXPECT_EQ(code_name(Code::kNotFound), "not_found");
  EXPECT_EQ(code_name(Code::kDataLoss), "data_loss");
  EXPECT_EQ(code_name(Code::kCorruption), "corruption");
  EXPECT_EQ(code_name(Code::kIoError), "io_error");
  EXPECT_EQ(code_name(Code::kNoSpace), "no_space");
  EXPECT_EQ(code_name(Code::kInvalidArgument), "invalid_argument");
  EXPECT_EQ(code_name(Code::kBusy), "busy");
  EXPECT_EQ(code_name(Code::kUnavailable), "unavailable");
  EXPECT_EQ(code_name(Code::kUnsupported), "unsupported");
  EXPECT_EQ(code_name(Code::kReadOnly), "read_only");
  EXPECT_EQ(code_name(Code::kExists), "exists");
  EXPECT_EQ(code_name(Code::kAborted), "aborted");
  EXPECT_EQ(code_name(Code::kOutOfMemory), "out_of_memory");
}

TEST(Status, SaysAllItKnows) {
  EXPECT_EQ(Status().to_string(), "ok");
  EXPECT_EQ(Status(Code::kBusy, "locked").to_string(), "busy: locked");
  EXPECT_EQ(Status(Code::kIoError, "read failed", {"wal/1.log", 4096, {}}).to_string(),
            "io_error: read failed (wal/1.log:4096)");
  EXPECT_EQ(Status(Code::kDataLoss, "event lost", {"", {}, 9}).to_string(), "data_loss: event lost (sequence 9)");
  EXPECT_EQ(Status(Code::kCorruption, "bad sum", {"runs/7.run", 0, 12}, "run scrub").to_string(),
            "corruption: bad sum (runs/7.run:0, sequence 12); run scrub");
  EXPECT_EQ(Status(Code::kNoSpace, "disk full", {}, "free some").to_string(), "no_space: disk full; free some");
}

TEST(Status, OkCarriesNothing) {
  const Status ok(Code::kOk, "ignored", {"file", 1, 2}, "ignored");
  EXPECT_TRUE(ok.ok());
  EXPECT_TRUE(ok.is(Code::kOk));
  EXPECT_EQ(ok.message(), "");
  EXPECT_EQ(ok.hint(), "");
  EXPECT_EQ(ok.where().file, "");
}

Result<int> half(int n) {
  if (n % 2 != 0) return Status(Code::kInvalidArgument, "odd");
  return n / 2;
}
Result<int> quarter(int n) {
  DARUMA_TRY_ASSIGN(const int once, half(n));
  DARUMA_TRY_ASSIGN(const int twice, half(once));
  return twice;
}
Status check_quarter(int n) {
  DARUMA_TRY(quarter(n).status());
  return {};
}

TEST(Result, CarriesAValueOrTheReason) {
  EXPECT_EQ(*quarter(12), 3);
  EXPECT_TRUE(quarter(12).status().ok());
  EXPECT_EQ(quarter(6).status().to_string(), "invalid_argument: odd");
  EXPECT_FALSE(quarter(6));
  EXPECT_TRUE(check_quarter(8).ok());
  EXPECT_TRUE(check_quarter(3).is(Code::kInvalidArgument));
}

TEST(ResultDeathTest, AValueThatIsNotThereStopsTheProcess) {
  EXPECT_DEATH((void)half(1).value(), "");
  EXPECT_DEATH((void)Result<int>{Status()}, "");
}

TEST(AssertDeathTest, ABrokenInvariantStopsTheProcessAndNamesItself) {
  DARUMA_ASSERT(1 + 1 == 2);
  EXPECT_DEATH(DARUMA_ASSERT(1 + 1 == 3), "invariant broken: 1 \\+ 1 == 3 .*base_test");
}

TEST(Bytes, RoundingMeetsTheUnit) {
  EXPECT_EQ(round_up(0, 4096), 0U);
  EXPECT_EQ(round_up(1, 4096), 4096U);
  EXPECT_EQ(round_up(4096, 4096), 4096U);
  EXPECT_EQ(round_down(4095, 4096), 0U);
  EXPECT_EQ(round_down(8191, 4096), 4096U);
}

TEST(Bytes, AlignedBufferIsAlignedAndKeepsItsSize) {
  for (const std::size_t size : {0U, 1U, 4096U, 4097U}) {
    AlignedBuffer buffer(size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % kSectorBytes, 0U);
    EXPECT_EQ(buffer.size(), size);
    EXPECT_EQ(buffer.span().size(), size);
  }
}

TEST(Random, TheSameSeedGivesTheSameRun) {
  Random a(kSeed);
  Random b(kSeed);
  Random other(kSeed + 1);
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const std::uint64_t n = a.next();
    EXPECT_EQ(n, b.next());
    differs |= n != other.next();
  }
  EXPECT_TRUE(differs);
}

TEST(Random, BelowStaysBelowAndReachesAll) {
  Random random(kSeed);
  for (const std::uint64_t n : {1U, 2U, 7U}) {
    std::set<std::uint64_t> seen;
    for (int i = 0; i < 1000; ++i) seen.insert(random.below(n));
    EXPECT_EQ(seen.size(), n);
    EXPECT_LT(*seen.rbegin(), n);
  }
}

TEST(Clock, ManualTimeMovesOnlyByItsStepOrWhenTold) {
  ManualClock clock(1000, 10);
  EXPECT_EQ(clock.wall_ns(), 1010);
  EXPECT_EQ(clock.monotonic_ns(), 1020);
  clock.advance(500);
  EXPECT_EQ(clock.wall_ns(), 1530);
}

TEST(Clock, SystemTimeDoesNotGoBack) {
  const std::int64_t first = system_clock().monotonic_ns();
  EXPECT_GE(system_clock().monotonic_ns(), first);
  EXPECT_GT(system_clock().wall_ns(), 1'600'000'000'000'000'000);
}

}  // namespace
}  // namespace daruma
