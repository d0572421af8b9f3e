// SPDX-License-Identifier: Apache-2.0
//
// kvctl's data commands, driven as processes. What must stay true: looks-without-touching (a reading command changes no
// byte), all-or-nothing (a malformed line applies nothing of its batch), and what dump writes, load reads back.
#include <random>

#include "kvctl_testing.h"

namespace daruma {
namespace {

using kvctl_test::Json;
using kvctl_test::Ran;
using kvctl_test::run;
using kvctl_test::Stdout;
using testing::HasSubstr;
using testing::IsEmpty;
namespace fs = std::filesystem;

class KvctlData : public kvctl_test::KvctlTest {
 protected:
  void fill() const {
    const std::string file = path("awkward.ndjson");
    std::ofstream(file) << kAwkward;
    ASSERT_EQ(kvctl({"load", "--create", file}).exit, 0);
  }

  /// Everything in the default keyspace, read by the library: a process a look would be most of the time of these
  /// tests.
  [[nodiscard]] std::map<std::string, std::string> entries(const std::string& store = "a") const {
    Options options = kvctl_test::small();
    options.read_only = true;
    const auto opened = Store::open(path(store), options);
    EXPECT_TRUE(opened.ok()) << opened.status().to_string();
    if (!opened.ok()) abort();
    std::map<std::string, std::string> all;
    Cursor cursor = *opened->store.cursor(*opened->store.keyspace("default"));
    for (cursor.seek_first(); cursor.valid(); cursor.next()) all.emplace(cursor.key(), cursor.value());
    EXPECT_TRUE(cursor.status().ok()) << cursor.status().to_string();
    return all;
  }

  // An empty value, bytes that are not UTF-8, line ends, quotes, commas, a tab, NUL, what looks like escapes.
  const std::string kAwkward =
      "{\"key\":\"plain\",\"value\":\"text\"}\n"
      "{\"key\":\"empty\",\"value\":\"\"}\n"
      "{\"key_hex\":\"00ff80\",\"value_hex\":\"fffe00\"}\n"
      "{\"key\":\"a,\\\"b\\\"\",\"value\":\"line\\nline\\r\\n\\ttab\"}\n"
      "{\"key\":\"back\\\\slash\",\"value\":\"\\\\x41 \\\\n\"}\n"
      "{\"key\":\"日本\",\"value_base64\":\"AAECAw==\"}\n";
};

TEST_F(KvctlData, what_is_put_is_got_in_every_encoding) {
  const std::map<std::string, std::string> texts{{"hex", "00ff61"}, {"base64", "AP9h"}, {"escaped", "\\0\\xffa"}};
  for (const auto& [format, text] : texts) {
    ASSERT_EQ(kvctl({"put", "--create", "--key-format", format, "--value-format", format, text, text}).exit, 0);
    for (const auto& [other, expected] : texts) {
      const Ran got = kvctl({"get", "--key-format", format, "--value-format", other, text});
      EXPECT_EQ(got.exit, 0) << got.err;
      EXPECT_EQ(got.out, expected + "\n") << format << " read as " << other;
    }
  }
  EXPECT_EQ(kvctl({"count"}).out, "1\n");
  EXPECT_EQ(kvctl({"get", "--raw", "--key-format", "hex", "00ff61"}).out, std::string("\0\xff"
                                                                                      "a",
                                                                                      3));
}

TEST_F(KvctlData, a_value_comes_from_stdin_byte_for_byte) {
  const std::string value("\0\n\xff line\n", 9);
  ASSERT_EQ(kvctl({"put", "--create", "k", "-"}, value).exit, 0);
  EXPECT_EQ(kvctl({"get", "--raw", "k"}).out, value);
}

TEST_F(KvctlData, exit_codes_tell_what_happened) {
  EXPECT_EQ(kvctl({"get", "k"}).exit, 2) << "no store";
  EXPECT_FALSE(fs::exists(path("a"))) << "a reading command created a store";
  EXPECT_EQ(kvctl({"put", "k", "v"}).exit, 2) << "put creates only when told to";
  EXPECT_EQ(kvctl({"put", "--create", "k", "v"}).exit, 0);
  EXPECT_EQ(kvctl({"get", "k"}).exit, 0);
  EXPECT_EQ(kvctl({"get", "other"}).exit, 1);
  EXPECT_EQ(kvctl({"exists", "k"}).exit, 0);
  EXPECT_EQ(kvctl({"exists", "other"}).exit, 1);
  EXPECT_EQ(kvctl({"put", "--if-absent", "k", "w"}).exit, 10);
  EXPECT_EQ(kvctl({"-k", "nowhere", "get", "k"}).exit, 2);
  EXPECT_EQ(kvctl({"keyspace", "create", "default"}).exit, 10);
  EXPECT_EQ(kvctl({"keyspace", "drop", "default"}).exit, 9) << "needs --yes";
  EXPECT_EQ(kvctl({"del", "--prefix", "k"}).exit, 9) << "needs --yes";
  EXPECT_EQ(kvctl({"get"}).exit, 2);
  EXPECT_EQ(kvctl({"get", "--key-format", "hex", "6"}).exit, 2);
  EXPECT_EQ(kvctl({"put", std::string((64 << 10) + 1, 'k'), "v"}).exit, 2);
  EXPECT_EQ(kvctl({"get", "k"}).out, "v\n") << "nothing of the refused changed it";
  EXPECT_EQ(run({"--help"}).exit, 0);
  const Ran mistyped = kvctl({"scna"});
  EXPECT_EQ(mistyped.exit, 2);
  EXPECT_THAT(mistyped.err, HasSubstr("did you mean kvctl scan?"));
  EXPECT_THAT(kvctl({"-k", "users", "put", "k", "v"}).err, HasSubstr("kvctl keyspace create users"));
}

TEST_F(KvctlData, a_store_that_a_writer_holds_is_busy) {
  fill();
  const auto held = Store::open(path("a"));
  ASSERT_TRUE(held.ok()) << held.status().to_string();
  EXPECT_EQ(kvctl({"get", "plain"}).exit, 3);
  const Ran put = kvctl({"--json", "put", "plain", "x"});
  EXPECT_EQ(put.exit, 3);
  EXPECT_EQ(put.json()["error"]["code"], "busy");
}

TEST_F(KvctlData, json_is_one_document_whatever_happens) {
  fill();
  const std::vector<std::vector<std::string>> commands{{"get", "plain"},
                                                       {"get", "plain", "other"},
                                                       {"get", "other"},
                                                       {"exists", "plain"},
                                                       {"scan"},
                                                       {"scan", "--limit", "0"},
                                                       {"scan", "--reverse", "--key-format", "hex"},
                                                       {"dump"},
                                                       {"count"},
                                                       {"put", "k", "v"},
                                                       {"del", "k"},
                                                       {"keyspace", "ls"},
                                                       {"keyspace", "stat"},
                                                       {"keyspace", "create", "users"},
                                                       {"keyspace", "rename", "users", "people"},
                                                       {"keyspace", "drop", "people"},
                                                       {"keyspace"},
                                                       {"checkpoint"},
                                                       {"compact"},
                                                       {"trim"},
                                                       {"trim", "--yes"},
                                                       {"version"},
                                                       {"-k", "nowhere", "scan"},
                                                       {"no-such-command"},
                                                       {"get", "--no-such-option"},
                                                       {"scan", "--help"}};
  for (std::vector<std::string> command : commands) {
    command.insert(command.begin(), "--json");
    const Ran ran = kvctl(command);
    SCOPED_TRACE(testing::PrintToString(command) + "\n" + ran.out + ran.err);
    const Json document = ran.json();
    ASSERT_TRUE(document.is_object());
    EXPECT_EQ(document["exit"], ran.exit);
    EXPECT_EQ(document["ok"], ran.exit <= 1);
    EXPECT_EQ(document.contains("error"), ran.exit > 1);
    EXPECT_TRUE(document["schema"].get<std::string>().starts_with("kvctl."));
    EXPECT_THAT(ran.err, IsEmpty());
  }
}

TEST_F(KvctlData, a_malformed_line_is_named_and_applies_nothing) {
  fill();
  const std::map<std::string, std::string> before = entries();
  const std::map<std::string, std::string> loads{{"{\"key\":\"n\",\"value\":\"1\"}\n{\"key\":\"m\"}\n", "line 2"},
                                                 {"{\"key\":\"n\",\"value\":\"1\"}\n\n{oops\n", "line 3"},
                                                 {"{\"key_hex\":\"0g\",\"value\":\"1\"}\n", "line 1"},
                                                 {"key,value\nn,1\nm\n", "line 3"},
                                                 {"key,value\nn,\"1\n", "line 2"},
                                                 {"VERSION=3\nHEADER=END\n 61\n", "line 3"},
                                                 {"VERSION=3\nHEADER=END\n 61\n 62\n6\n", "line 5"},
                                                 {"VERSION=3\ndupsort=1\nHEADER=END\nDATA=END\n", "line 2"},
                                                 {"0x61 ==> 0x6\n", "line 1"},
                                                 {"nonsense\n", "line 1"}};
  for (const auto& [text, line] : loads) {
    const std::string file = path("malformed");
    std::ofstream(file, std::ios::binary) << text;
    const Ran ran = kvctl({"load", file});
    EXPECT_EQ(ran.exit, 2) << text;
    EXPECT_THAT(ran.err, HasSubstr(line)) << text;
  }
  const std::map<std::string, std::string> batches{{"put n 1\nput m\n", "line 2"},
                                                   {"put n 1\n# note\ndle plain\n", "line 3"},
                                                   {"del plain\nput \"m 1\n", "line 2"},
                                                   {"del plain\n{\"op\":\"put\",\"key\":\"a\"}\n", "line 2"},
                                                   {"del plain\nput \\q 1\n", "line 2"}};
  for (const auto& [text, line] : batches) {
    const Ran ran = kvctl({"batch"}, text);
    EXPECT_EQ(ran.exit, 2) << text;
    EXPECT_THAT(ran.err, HasSubstr(line)) << text;
  }
  EXPECT_TRUE(entries() == before);
}

TEST_F(KvctlData, a_batch_applies_across_keyspaces) {
  fill();
  const Ran ran = kvctl({"batch", "--create"},
                        "# note\ndel plain\nput \"two words\" \"\"\nput \\xff \\n\ndelrange a b\n"
                        "{\"op\":\"put\",\"keyspace\":\"users\",\"key\":\"7\",\"value_hex\":\"00\"}\n");
  EXPECT_EQ(ran.exit, 0) << ran.err;
  EXPECT_EQ(kvctl({"exists", "plain"}).exit, 1);
  EXPECT_EQ(kvctl({"exists", "a,\"b\""}).exit, 1);
  EXPECT_EQ(kvctl({"get", "two words"}).out, "\n");
  EXPECT_EQ(kvctl({"get", "--key-format", "hex", "--value-format", "hex", "ff"}).out, "0a\n");
  EXPECT_EQ(kvctl({"-k", "users", "get", "--value-format", "hex", "7"}).out, "00\n");
}

TEST_F(KvctlData, dump_and_load_make_an_equal_store_in_every_format) {
  fill();
  constexpr unsigned kSeed = 20261124;
  std::mt19937 random(kSeed);
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  const auto bytes = [&](std::size_t n) {
    std::string text;
    for (std::size_t i = 0; i < n; ++i) {
      static const char kDigits[] = "0123456789abcdef";
      text += {kDigits[random() % 16], kDigits[random() % 16]};
    }
    return text;
  };
  std::string more;
  for (int i = 0; i < 300; ++i) {
    more += "{\"key_hex\":\"" + bytes(1 + random() % 9) + "\",\"value_hex\":\"" + bytes(random() % 40) + "\"}\n";
  }
  more += "{\"key_hex\":\"" + bytes(64 << 10) + "\",\"value_hex\":\"" + bytes(100'000) + "\"}\n";
  ASSERT_EQ(kvctl({"load", "--batch", "7"}, more).exit, 0);
  const std::map<std::string, std::string> whole = entries();
  ASSERT_GT(whole.size(), 300U);

  int number = 0;
  for (const std::string format : {"ndjson", "csv", "mdb"}) {
    for (const std::string encoding : {"", "utf8", "hex", "base64", "escaped"}) {
      std::vector<std::string> arguments{"dump", "--format", format};
      if (!encoding.empty()) {
        arguments.insert(arguments.end(), {"--key-format", encoding, "--value-format", encoding});
      }
      SCOPED_TRACE(testing::PrintToString(arguments));
      const Ran dumped = kvctl(arguments);
      ASSERT_EQ(dumped.exit, 0) << dumped.err;
      const std::string store = "copy" + std::to_string(number++);
      const std::string text = path(store + ".text");
      std::ofstream(text, std::ios::binary) << dumped.out;
      const Ran loaded = kvctl({"load", "--create", text}, "", store);
      ASSERT_EQ(loaded.exit, 0) << loaded.err;
      EXPECT_TRUE(entries(store) == whole);
    }
  }
  ASSERT_EQ(kvctl({"dump", path("file.csv"), "--format", "csv"}).exit, 0);
  EXPECT_EQ(kvctl({"dump", path("file.csv")}).exit, 9) << "replaces only with --yes";
  ASSERT_EQ(kvctl({"load", path("file.csv"), "--create", "--atomic"}, "", "last").exit, 0);
  EXPECT_TRUE(entries("last") == whole);
  ASSERT_EQ(kvctl({"load", path("file.csv"), "--create", "--sorted"}, "", "sorted").exit, 0);
  EXPECT_TRUE(entries("sorted") == whole);
  const Ran unsorted =
      kvctl({"load", "--sorted"}, "{\"key\":\"b\",\"value\":\"1\"}\n{\"key\":\"a\",\"value\":\"2\"}\n", "sorted");
  EXPECT_EQ(unsorted.exit, 2) << unsorted.err;
  EXPECT_NE(unsorted.err.find("nothing was loaded"), std::string::npos) << unsorted.err;
  EXPECT_TRUE(entries("sorted") == whole);
}

TEST_F(KvctlData, other_tools_text_loads) {
  ASSERT_EQ(kvctl({"load", "--create"},
                  "VERSION=3\nformat=print\ntype=btree\nmapsize=1048576\nHEADER=END\n a\\00b\n back\\5cslash\n \n x\n"
                  "DATA=END\n")
                .exit,
            0);
  EXPECT_EQ(kvctl({"scan"}).out, "\tx\na\\0b\tback\\\\slash\n");
  ASSERT_EQ(kvctl({"load", "--create"}, "0x6B31 ==> 0x7631\n0x6B32 ==> 0x\n", "b").exit, 0);
  EXPECT_EQ(kvctl({"scan"}, "", "b").out, "k1\tv1\nk2\t\n");
}

TEST_F(KvctlData, scans_keep_to_their_bounds) {
  std::string lines;
  for (const char* key : {"a", "b1", "b2", "b3", "c"}) lines += std::string("put ") + key + " v\n";
  ASSERT_EQ(kvctl({"batch", "--create"}, lines).exit, 0);
  const auto keys = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"scan", "--keys-only"});
    std::string out = kvctl(arguments).out;
    std::replace(out.begin(), out.end(), '\n', ' ');
    return out;
  };
  EXPECT_EQ(keys({}), "a b1 b2 b3 c ");
  EXPECT_EQ(keys({"--reverse"}), "c b3 b2 b1 a ");
  EXPECT_EQ(keys({"--prefix", "b"}), "b1 b2 b3 ");
  EXPECT_EQ(keys({"--prefix", "b", "--reverse", "--limit", "2"}), "b3 b2 ");
  EXPECT_EQ(keys({"--from", "b2", "--to", "c"}), "b2 b3 ");
  EXPECT_EQ(keys({"--prefix", "b", "--from", "b2", "--to", "b3"}), "b2 ");
  EXPECT_EQ(keys({"--from", "c", "--to", "a"}), "");
  EXPECT_EQ(keys({"--to", ""}), "");
  EXPECT_EQ(keys({"--limit", "0"}), "");
  EXPECT_EQ(kvctl({"count", "--prefix", "b"}).out, "3\n");
  EXPECT_EQ(kvctl({"del", "--from", "b2", "--to", "c", "--yes"}).out, "deleted 2 keys\n");
  EXPECT_EQ(keys({}), "a b1 c ");
}

TEST_F(KvctlData, looks_without_touching) {
  fill();
  ASSERT_EQ(kvctl({"checkpoint"}).exit, 0);
  ASSERT_EQ(kvctl({"put", "after", "the checkpoint"}).exit, 0);
  const auto before = state();
  const std::vector<std::vector<std::string>> readers{{"get", "plain"},
                                                      {"get", "other"},
                                                      {"exists", "plain"},
                                                      {"scan"},
                                                      {"count"},
                                                      {"dump"},
                                                      {"dump", path("dump.ndjson")},
                                                      {"keyspace", "ls"},
                                                      {"keyspace", "stat"},
                                                      {"-n", "put", "k", "v"},
                                                      {"-n", "del", "plain"},
                                                      {"-n", "del", "--prefix", "p"},
                                                      {"-n", "keyspace", "drop", "default"},
                                                      {"-n", "keyspace", "create", "new"},
                                                      {"-n", "keyspace", "rename", "default", "new"},
                                                      {"-n", "checkpoint"},
                                                      {"-n", "compact"},
                                                      {"-n", "trim"}};
  for (const auto& reader : readers) {
    const Ran ran = kvctl(reader);
    EXPECT_LE(ran.exit, 1) << testing::PrintToString(reader) << ran.err;
    EXPECT_TRUE(state() == before) << testing::PrintToString(reader) << " changed the store";
  }
  EXPECT_EQ(kvctl({"-n", "load"}, "{\"key\":\"n\",\"value\":\"1\"}\n").exit, 0);
  EXPECT_EQ(kvctl({"-n", "batch"}, "del plain\n").exit, 0);
  EXPECT_TRUE(state() == before);
}

TEST_F(KvctlData, keyspaces_are_made_renamed_and_dropped) {
  ASSERT_EQ(kvctl({"keyspace", "create", "users"}).exit, 0);
  ASSERT_EQ(kvctl({"-k", "users", "put", "7", "Ada"}).exit, 0);
  ASSERT_EQ(kvctl({"keyspace", "rename", "users", "people"}).exit, 0);
  EXPECT_EQ(kvctl({"-k", "people", "get", "7"}).out, "Ada\n");
  ASSERT_EQ(kvctl({"-k", "people", "compact"}).exit, 0);
  EXPECT_EQ(kvctl({"-k", "people", "get", "7"}).out, "Ada\n");
  EXPECT_EQ(kvctl({"keyspace", "ls"}).out, "people\n");
  EXPECT_EQ(kvctl({"--json", "keyspace", "stat", "people"}).json()["keyspaces"][0]["name"], "people");
  ASSERT_EQ(kvctl({"keyspace", "drop", "people", "--yes"}).exit, 0);
  EXPECT_EQ(kvctl({"keyspace", "ls"}).out, "");
  EXPECT_EQ(kvctl({"-k", "people", "get", "7"}).exit, 2);
}

TEST_F(KvctlData, trim_gives_back_what_the_newest_snapshot_does_not_need) {
  std::mt19937_64 random(1);
  for (int time = 0; time < 4; ++time) {
    std::string value(300'000, '\0');
    for (char& byte : value) byte = static_cast<char>(random());  // does not compress
    ASSERT_EQ(kvctl({"put", "--create", "k", "-"}, value).exit, 0);
    ASSERT_EQ(kvctl({"checkpoint"}).exit, 0);
  }
  EXPECT_EQ(kvctl({"trim", "--no-input"}).exit, 9);
  const Json told = kvctl({"--json", "trim", "--yes"}).json();
  EXPECT_LT(told["bytes"].get<std::uint64_t>() + 300'000, told["bytes_before"].get<std::uint64_t>());
  EXPECT_EQ(kvctl({"get", "k"}).out.size(), 300'001U);
}

TEST_F(KvctlData, process_durability_survives_the_end_of_the_process) {
  ASSERT_EQ(kvctl({"put", "--create", "--durability", "process", "k", "v"}).exit, 0);
  EXPECT_EQ(kvctl({"get", "k"}).out, "v\n");
}

TEST_F(KvctlData, a_second_log_is_written_too) {
  Options options = kvctl_test::small();
  options.wal_copies = 2;
  { ASSERT_TRUE(Store::open(path("a"), options)->store.create_keyspace("default").ok()); }
  for (const char* directory : {"/wal", "/wal-copy"}) {  // each alone has it all
    ASSERT_EQ(kvctl({"put", directory, "value"}).exit, 0);
    const std::string copy = path("without" + std::string(directory));
    fs::create_directories(fs::path(copy).parent_path());
    fs::copy(path("a"), copy, fs::copy_options::recursive);
    fs::remove_all(copy + directory);
    EXPECT_EQ(run({"-d", copy, "get", directory}).out, "value\n");
  }
}

TEST_F(KvctlData, a_reader_that_goes_away_or_a_closed_stdout_is_noticed) {
  fill();
  const auto before = state();
  const Ran gone = run({"-d", path("a"), "scan"}, "", Stdout::kReaderGone);
  EXPECT_EQ(gone.exit, 141);
  EXPECT_THAT(gone.err, IsEmpty());
  const Ran closed = run({"-d", path("a"), "scan"}, "", Stdout::kClosed);
  EXPECT_EQ(closed.exit, 6);
  EXPECT_THAT(closed.err, HasSubstr("stdout"));
  EXPECT_TRUE(state() == before);
}

}  // namespace
}  // namespace daruma
