// SPDX-License-Identifier: Apache-2.0
#include "recovery/report.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/json_writer.h"
#include "base/random.h"

namespace daruma {
namespace {

// A strict reader of RFC 8259 that only says yes or no.
struct JsonCheck {
  std::string_view s;
  std::size_t i = 0;
  bool eat(char c) { return i < s.size() && s[i] == c ? ++i, true : false; }
  bool word(std::string_view w) { return s.substr(i, w.size()) == w ? i += w.size(), true : false; }
  bool digits() {
    const std::size_t from = i;
    while (i < s.size() && s[i] >= '0' && s[i] <= '9') ++i;
    return i > from;
  }
  bool string() {
    if (!eat('"')) return false;
    while (i < s.size() && s[i] != '"') {
      if (static_cast<unsigned char>(s[i]) < 0x20) return false;
      if (s[i] == '\\') {
        ++i;
        if (eat('u')) {
          for (int k = 0; k < 4; ++k)
            if (i >= s.size() || !isxdigit(static_cast<unsigned char>(s[i++]))) return false;
          continue;
        }
        if (i >= s.size() || std::string_view("\"\\/bfnrt").find(s[i]) == std::string_view::npos) return false;
        ++i;
        continue;
      }
      const auto c = static_cast<unsigned char>(s[i]);
      const std::size_t n = c < 0x80                ? 1
                            : c >= 0xc2 && c < 0xe0 ? 2
                            : c >= 0xe0 && c < 0xf0 ? 3
                            : c >= 0xf0 && c < 0xf5 ? 4
                                                    : 0;
      if (n == 0 || i + n > s.size()) return false;
      for (std::size_t k = 1; k < n; ++k)
        if ((static_cast<unsigned char>(s[i + k]) & 0xc0) != 0x80) return false;
      i += n;
    }
    return eat('"');
  }
  bool number() {
    eat('-');
    if (!eat('0') && !digits()) return false;
    if (eat('.') && !digits()) return false;
    if (eat('e') || eat('E')) {
      if (!eat('+')) eat('-');
      return digits();
    }
    return true;
  }
  bool value() {
    if (i >= s.size()) return false;
    if (s[i] == '{') {
      ++i;
      if (eat('}')) return true;
      do {
        if (!string() || !eat(':') || !value()) return false;
      } while (eat(','));
      return eat('}');
    }
    if (s[i] == '[') {
      ++i;
      if (eat(']')) return true;
      do {
        if (!value()) return false;
      } while (eat(','));
      return eat(']');
    }
    if (s[i] == '"') return string();
    return word("true") || word("false") || word("null") || number();
  }
  bool document() { return value() && i == s.size(); }
};
bool valid(std::string_view json) { return JsonCheck{json}.document(); }

TEST(JsonWriter, WritesNestedDocuments) {
  JsonWriter j;
  j.begin_object()
      .member("a", 1)
      .key("b")
      .begin_array()
      .value(true)
      .null()
      .value(-2.5)
      .begin_object()
      .end()
      .end()
      .member("c", "x")
      .end();
  EXPECT_EQ(j.take(), R"({"a":1,"b":[true,null,-2.5,{}],"c":"x"})");
}

TEST(JsonWriter, EscapesWhatIsNotUtf8AndKeepsWhatIs) {
  const auto text = [](std::string_view s) {
    JsonWriter j;
    j.value(s);
    return j.take();
  };
  EXPECT_EQ(text("\"\\\n\x01"), R"("\"\\\n\u0001")");
  EXPECT_EQ(text("\xc3\xa9 \xf0\x9f\x8e\x8e"), "\"\xc3\xa9 \xf0\x9f\x8e\x8e\"");
  EXPECT_EQ(text("\xff\xc3"), R"("\u00ff\u00c3")");
  EXPECT_EQ(text("\xed\xa0\x80"), R"("\u00ed\u00a0\u0080")") << "a surrogate is no character";
  EXPECT_EQ(text(std::string_view("\0", 1)), R"("\u0000")");
}

TEST(JsonWriter, HasNoNumberForInfinity) {
  JsonWriter j;
  j.begin_array()
      .value(std::numeric_limits<double>::infinity())
      .value(std::numeric_limits<double>::quiet_NaN())
      .value(~std::uint64_t{0})
      .end();
  EXPECT_EQ(j.take(), "[null,null,18446744073709551615]");
}

TEST(RecoveryReport, IsValidJsonWhateverTheNamesHold) {
  const std::uint64_t seed = entropy_seed();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random r(seed);
  EXPECT_TRUE(valid(RecoveryReport().to_json()));
  for (int i = 0; i < 500; ++i) {
    const auto noise = [&] {
      std::string s;
      for (std::uint64_t n = r.below(20); n; --n) s.push_back(static_cast<char>(r.next()));
      return s;
    };
    RecoveryReport report;
    report.store = noise(), report.policy = noise(), report.snapshot = noise(), report.outcome = noise();
    report.passes.push_back({noise(), static_cast<std::int64_t>(r.next()), r.next()});
    RecoveryFinding f;
    f.case_name = noise(), f.file = noise(), f.detail = noise(), f.offset = r.next(), f.verdict = "torn";
    note(report, f);
    ASSERT_TRUE(valid(report.to_json())) << report.to_json();
    ASSERT_FALSE(report.to_text().empty());
  }
}

StretchFacts bad_stretch() {
  StretchFacts f;
  f.header = Header::kBad, f.first = 11, f.last = 15, f.window_bytes = 4096, f.boot = Boot::kOther;
  return f;
}

TEST(RecoveryReport, SaysSo_TellsLostFromDiscardedFromHealed) {
  RecoveryReport report;
  StretchFacts f = bad_stretch();
  note(report, assess(f),
       {.file = "wal/1.log", .offset = 4096, .bytes = 100, .quarantine_id = "q-1", .damage_id = 0, .detail = ""});
  EXPECT_TRUE(report.clean());
  f.ring_durable = 15;
  note(report, assess(f),
       {.file = "wal/1.log",
        .offset = 4096,
        .bytes = 200,
        .quarantine_id = "q-2",
        .damage_id = 3,
        .detail = "a flipped bit"});
  EXPECT_FALSE(report.clean());
  f.ring_first = 1, f.ring_last = 20;
  note(report, assess(f),
       {.file = "wal/1.log", .offset = 4096, .bytes = 400, .quarantine_id = "", .damage_id = 0, .detail = ""});
  EXPECT_EQ(report.discarded.bytes, 100u);
  EXPECT_EQ(report.lost.bytes, 200u);
  EXPECT_EQ(report.healed.bytes, 400u);
  EXPECT_EQ(report.discarded.events, 5u);
  EXPECT_EQ(report.lost.events, 5u);
  ASSERT_EQ(report.findings.size(), 3u);
  EXPECT_EQ(report.findings[0].case_name, "torn_header");
  EXPECT_EQ(report.findings[1].proof, "ring_mark");
  EXPECT_EQ(report.findings[2].action, "heal_from_ring");
  EXPECT_NE(report.to_json().find(
                R"("case":"acked_header_hurt","file":"wal/1.log","offset":4096,"bytes":200,"first_sequence":11)"),
            std::string::npos);
  EXPECT_NE(report.to_text().find("a flipped bit"), std::string::npos);
}

TEST(RecoveryReport, ACleanEndIsNoFinding) {
  RecoveryReport report;
  StretchFacts f = bad_stretch();
  f.header = Header::kAbsent, f.last = 0;
  note(report, assess(f), {});
  EXPECT_TRUE(report.findings.empty());
}

TEST(RecoveryReport, CountsWhatItsListCannotHold) {
  RecoveryReport report;
  const Assessment a = assess(bad_stretch());
  for (std::size_t i = 0; i < kMaxFindings + 7; ++i)
    note(report, a, {.file = "f", .offset = 0, .bytes = 1, .quarantine_id = "", .damage_id = 0, .detail = ""});
  EXPECT_EQ(report.findings.size(), kMaxFindings);
  EXPECT_EQ(report.findings_dropped, 7u);
  EXPECT_EQ(report.discarded.bytes, kMaxFindings + 7);
}

}  // namespace
}  // namespace daruma
