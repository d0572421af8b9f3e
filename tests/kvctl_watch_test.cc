// SPDX-License-Identifier: Apache-2.0
// kvctl watch: the change stream of a store that nobody writes, and beside its writer.
#include "kvctl_testing.h"

#include <random>
#include <sstream>
#include <thread>

namespace daruma::kvctl_test {
namespace {

using testing::HasSubstr;

std::vector<Json> lines(const std::string& out) {
  std::vector<Json> all;
  std::istringstream in(out);
  for (std::string line; std::getline(in, line);) all.push_back(Json::parse(line, nullptr, false));
  return all;
}

class KvctlWatch : public KvctlTest {
 protected:
  /// Events: 1 names users, 2 and 3 put, 4 names other, 5 puts there, 6 erases.
  void fill(Store& store) const {
    const Keyspace users = *store.create_keyspace("users");
    ASSERT_TRUE(store.put(users, "user/1", "Ada").ok());
    ASSERT_TRUE(store.put(users, "item/1", "axe").ok());
    const Keyspace other = *store.create_keyspace("other");
    ASSERT_TRUE(store.put(other, "user/2", "Bob").ok());
    ASSERT_TRUE(store.erase(users, "user/1").ok());
  }
};

TEST_F(KvctlWatch, TellsEveryEventAndChangesNothing) {
  {
    Store store = open();
    fill(store);
  }
  const auto before = state();
  const Ran ran = kvctl({"watch", "--ndjson"});
  EXPECT_EQ(ran.exit, 0) << ran.err;
  const std::vector<Json> all = lines(ran.out);
  ASSERT_EQ(all.size(), 6U) << ran.out;
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i]["sequence"], i + 1);
    EXPECT_EQ(all[i]["kind"], "write");
  }
  EXPECT_EQ(all[0]["ops"][0]["op"], "keyspace");
  EXPECT_EQ(all[0]["ops"][0]["name"], "users");
  EXPECT_EQ(all[1]["ops"][0]["key"], "user/1");
  EXPECT_EQ(all[1]["ops"][0]["value"], "Ada");
  EXPECT_EQ(all[5]["ops"][0]["op"], "del");
  EXPECT_THAT(kvctl({"watch"}).err, HasSubstr("--from 7"));
  const Json whole = kvctl({"watch", "--json", "--from", "5"}).json();
  EXPECT_EQ(whole["schema"], "kvctl.watch/1");
  EXPECT_EQ(whole["events"].size(), 2U);
  EXPECT_EQ(whole["position"], 7);
  EXPECT_THAT(kvctl({"watch", "--from", "2", "--count", "1"}).out, HasSubstr("2\tput\t1\tuser/1\tAda"));
  EXPECT_EQ(state(), before);
}

TEST_F(KvctlWatch, FiltersByKeyspaceAndPrefix) {
  {
    Store store = open();
    fill(store);
  }
  EXPECT_EQ(lines(kvctl({"-k", "other", "watch", "--ndjson"}).out).size(), 2U);
  EXPECT_EQ(lines(kvctl({"watch", "--ndjson", "--keyspace-id", "1", "--prefix", "user/"}).out).size(), 3U);
  EXPECT_EQ(kvctl({"-k", "nobody", "watch"}).exit, 2);
}

TEST_F(KvctlWatch, WhatIsGoneOrNotThereYetIsAnError) {
  {
    Store store = open();
    const Keyspace k = *store.create_keyspace("k");
    std::mt19937_64 random(1);
    std::string value(60'000, '\0');
    for (int round = 0; round < 8; ++round) {
      for (int i = 0; i < 4; ++i) {
        for (char& byte : value) byte = static_cast<char>(random());  // fills segments: does not compress
        ASSERT_TRUE(store.put(k, "k", value).ok());
      }
      ASSERT_TRUE(store.checkpoint().ok());
    }
  }
  const Ran gone = kvctl({"watch", "--from", "1", "--json"});
  EXPECT_EQ(gone.exit, 1) << gone.err;
  const std::uint64_t oldest = gone.json()["error"]["where"]["sequence"];
  EXPECT_GT(oldest, 1U);
  EXPECT_EQ(lines(kvctl({"watch", "--ndjson"}).out).at(0)["sequence"], oldest);
  EXPECT_EQ(kvctl({"watch", "--from", "1000"}).exit, 2);
  EXPECT_EQ(kvctl({"watch", "--from", "soon"}).exit, 2);
  EXPECT_EQ(kvctl({"watch"}, "", "nothing").exit, 2);
}

TEST_F(KvctlWatch, BesideAWriterItTellsWhatIsDurableAndWaitsForMore) {
  Store store = open();
  fill(store);
  const Ran now = kvctl({"watch", "--ndjson", "--count", "6", "--for", "20s"});
  EXPECT_EQ(now.exit, 0) << now.err;
  EXPECT_EQ(lines(now.out).size(), 6U) << now.out << now.err;
  const Keyspace users = *store.keyspace("users");
  std::thread writer([&] {
    for (int i = 0; i < 30; ++i) {
      EXPECT_TRUE(store.put(users, "more", std::to_string(i)).ok());
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  });
  const Ran more = kvctl({"watch", "--ndjson", "--from", "7", "--count", "30", "--follow", "--for", "60s"});
  writer.join();
  const std::vector<Json> all = lines(more.out);
  ASSERT_EQ(all.size(), 30U) << more.err;
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i]["sequence"], i + 7);
  EXPECT_EQ(kvctl({"-k", "users", "watch"}).exit, 2) << "names are the writer's";
}

TEST_F(KvctlWatch, LossesAndLoadsAreEvents) {
  const std::string value = "<gone><gone><gone><gone><gone>";
  {
    Store store = open();
    const Keyspace k = *store.create_keyspace("k");
    ASSERT_TRUE(store.put(k, "a", value).ok());
    ASSERT_TRUE(store.put(k, "b", "1").ok());
    bool given = false;
    ASSERT_TRUE(store
                    .bulk_load(k,
                               [&](std::string_view& key, std::string_view& v) -> Result<bool> {
                                 key = v = "loaded";
                                 return !std::exchange(given, true);
                               })
                    .ok());
  }
  for (const auto& entry : fs::directory_iterator(path("a") + "/wal")) {
    std::string bytes = read(entry.path().string());
    bool hurt = false;
    for (std::size_t at = bytes.find(value); at != std::string::npos; at = bytes.find(value, at + 1)) {
      bytes.replace(at, value.size(), value.size(), 'Z');
      hurt = true;
    }
    if (hurt) std::ofstream(entry.path(), std::ios::binary | std::ios::in) << bytes;
  }
  const Ran ran = kvctl({"watch", "--ndjson"});
  EXPECT_EQ(ran.exit, 5) << ran.err;
  std::string kinds;
  for (const Json& event : lines(ran.out)) kinds += event.value("kind", "end") + " ";
  EXPECT_THAT(kinds, HasSubstr("write lost write write loaded end")) << ran.out;
}

}  // namespace
}  // namespace daruma::kvctl_test
