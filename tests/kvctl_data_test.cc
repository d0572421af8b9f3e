// SPDX-License-Identifier: Apache-2.0
//
// kvctl's data commands, driven as processes. What must stay true: looks-without-touching (a reading command changes no
// byte), all-or-nothing (a malformed line applies nothing of its batch), and what dump writes, load reads back.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "daruma/store.h"

namespace daruma {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

struct Ran {
  int exit = -1;
  std::string out;
  std::string err;
  [[nodiscard]] Json json() const { return Json::parse(out, nullptr, false); }
};

enum class Stdout { kPipe, kClosed, kReaderGone };

Ran run(const std::vector<std::string>& arguments, const std::string& input = "", Stdout how = Stdout::kPipe) {
  int in[2];
  int out[2];
  int err[2];
  if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0) abort();
  std::vector<char*> argv;
  std::string program = DARUMA_KVCTL;
  argv.push_back(program.data());
  std::vector<std::string> copies = arguments;
  for (std::string& argument : copies) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::signal(SIGPIPE, SIG_DFL);
    ::dup2(in[0], STDIN_FILENO);
    ::dup2(err[1], STDERR_FILENO);
    if (how == Stdout::kClosed) {
      ::close(STDOUT_FILENO);
    } else {
      ::dup2(out[1], STDOUT_FILENO);
    }
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(in[0]);
  ::close(out[1]);
  ::close(err[1]);
  if (how == Stdout::kReaderGone) ::close(std::exchange(out[0], -1));
  ::signal(SIGPIPE, SIG_IGN);
  Ran ran;
  std::size_t written = 0;
  if (input.empty()) ::close(std::exchange(in[1], -1));
  if (in[1] >= 0) ::fcntl(in[1], F_SETFL, O_NONBLOCK);  // both ends may be full at once
  while (in[1] >= 0 || out[0] >= 0 || err[0] >= 0) {
    pollfd fds[] = {{in[1], POLLOUT, 0}, {out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
    ::poll(fds, 3, -1);
    if (fds[0].revents != 0) {
      const ssize_t n = ::write(in[1], input.data() + written, input.size() - written);
      if (n > 0) written += static_cast<std::size_t>(n);
      if ((n < 0 && errno != EAGAIN) || written == input.size()) ::close(std::exchange(in[1], -1));
    }
    for (int i = 1; i <= 2; ++i) {
      if (fds[i].revents == 0) continue;
      char buffer[65536];
      int& fd = i == 1 ? out[0] : err[0];
      const ssize_t n = ::read(fd, buffer, sizeof buffer);
      if (n > 0) (i == 1 ? ran.out : ran.err).append(buffer, static_cast<std::size_t>(n));
      if (n <= 0) ::close(std::exchange(fd, -1));
    }
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  ran.exit = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return ran;
}

class KvctlData : public testing::Test {
 protected:
  KvctlData() {
    std::string name = (fs::temp_directory_path() / "kvctl_data_XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) abort();
    root_ = name;
    ::unsetenv("KVCTL_STORE");
  }
  ~KvctlData() override { fs::remove_all(root_); }

  [[nodiscard]] std::string path(const std::string& name) const { return (root_ / name).string(); }
  Ran kvctl(std::vector<std::string> arguments, const std::string& input = "", const std::string& store = "a") const {
    arguments.insert(arguments.begin(), {"-d", path(store)});
    return run(arguments, input);
  }
  void fill() const { ASSERT_EQ(kvctl({"load", "--create"}, kAwkward).exit, 0); }

  /// Every file's bytes by its name, directories too.
  [[nodiscard]] std::map<std::string, std::string> contents(const std::string& store = "a") const {
    std::map<std::string, std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(path(store))) {
      std::ostringstream bytes;
      if (entry.is_regular_file()) bytes << std::ifstream(entry.path(), std::ios::binary).rdbuf();
      all[entry.path().string()] = bytes.str();
    }
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
  fs::path root_;
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
  const std::string before = kvctl({"dump"}).out;
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
    const Ran ran = kvctl({"load"}, text);
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
  EXPECT_EQ(kvctl({"dump"}).out, before);
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
  const std::string whole = kvctl({"dump"}).out;
  ASSERT_GT(whole.size(), 100'000U);

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
      const Ran loaded = kvctl({"load", "--create"}, dumped.out, store);
      ASSERT_EQ(loaded.exit, 0) << loaded.err;
      EXPECT_TRUE(kvctl({"dump"}, "", store).out == whole);
    }
  }
  ASSERT_EQ(kvctl({"dump", path("file.csv"), "--format", "csv"}).exit, 0);
  EXPECT_EQ(kvctl({"dump", path("file.csv")}).exit, 9) << "replaces only with --yes";
  ASSERT_EQ(kvctl({"load", path("file.csv"), "--create", "--atomic"}, "", "last").exit, 0);
  EXPECT_TRUE(kvctl({"dump"}, "", "last").out == whole);
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
  const auto before = contents();
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
                                                      {"-n", "compact"}};
  for (const auto& reader : readers) {
    const Ran ran = kvctl(reader);
    EXPECT_LE(ran.exit, 1) << testing::PrintToString(reader) << ran.err;
    EXPECT_TRUE(contents() == before) << testing::PrintToString(reader) << " changed the store";
  }
  EXPECT_EQ(kvctl({"-n", "load"}, "{\"key\":\"n\",\"value\":\"1\"}\n").exit, 0);
  EXPECT_EQ(kvctl({"-n", "batch"}, "del plain\n").exit, 0);
  EXPECT_TRUE(contents() == before);
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

TEST_F(KvctlData, process_durability_survives_the_end_of_the_process) {
  ASSERT_EQ(kvctl({"put", "--create", "--durability", "process", "k", "v"}).exit, 0);
  EXPECT_EQ(kvctl({"get", "k"}).out, "v\n");
}

TEST_F(KvctlData, a_reader_that_goes_away_or_a_closed_stdout_is_noticed) {
  fill();
  const auto before = contents();
  const Ran gone = run({"-d", path("a"), "scan"}, "", Stdout::kReaderGone);
  EXPECT_EQ(gone.exit, 141);
  EXPECT_THAT(gone.err, IsEmpty());
  const Ran closed = run({"-d", path("a"), "scan"}, "", Stdout::kClosed);
  EXPECT_EQ(closed.exit, 6);
  EXPECT_THAT(closed.err, HasSubstr("stdout"));
  EXPECT_TRUE(contents() == before);
}

}  // namespace
}  // namespace daruma
