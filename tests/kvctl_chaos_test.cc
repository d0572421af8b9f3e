// SPDX-License-Identifier: Apache-2.0
//
// kvctl chaos as a process, for a few seconds: on a new directory, on a clone, with damage; and that it sees what is
// lost.
#include "kvctl_testing.h"
#include "rehearsal/chaos.h"

namespace daruma {
namespace {

namespace fs = std::filesystem;
using kvctl_test::Json;
using kvctl_test::Ran;

class KvctlChaos : public kvctl_test::KvctlTest {};

TEST_F(KvctlChaos, LosesNothing) {
  const Ran ran = kvctl({"--json", "chaos", "--for", "3s", "--writers", "3"});
  ASSERT_EQ(ran.exit, 0) << ran.out << ran.err;
  const Json json = ran.json();
  EXPECT_GT(json["kills"], 2) << json.dump();
  EXPECT_GT(json["acknowledged"], 100) << json.dump();
  EXPECT_EQ(json["lost"].get<int>() + json["wrong"].get<int>() + json["torn"].get<int>(), 0);
  EXPECT_EQ(json["refused"], 0);
  std::printf("%s\n", json.dump().c_str());
}

TEST_F(KvctlChaos, LosesNothingWhenASectorIsHurtInBetween) {
  const Ran ran = kvctl({"--json", "chaos", "--for", "3s", "--damage"});
  ASSERT_EQ(ran.exit, 0) << ran.out << ran.err;
  EXPECT_GT(ran.json()["sectors_hurt"], 0) << ran.out;
}

TEST_F(KvctlChaos, WorksOnAClone) {
  {
    Store store = open();
    const Keyspace k = *store.create_keyspace("default");
    for (int i = 0; i < 300; ++i) { ASSERT_TRUE(store.put(k, "key" + std::to_string(i), "v").ok()); }
  }
  const auto before = state();
  const Ran ran = kvctl({"--json", "chaos", "--for", "500ms", "--seed", "9"});
  ASSERT_EQ(ran.exit, 0) << ran.out << ran.err;
  EXPECT_EQ(ran.json()["others_compared"], 300);
  EXPECT_EQ(ran.json()["others_touched"], 0);
  auto after = state();
  for (auto& [name, file] : after) {  // a link more is a change of the file's note, not of its bytes
    if (before.contains(name)) file.changed_ns = before.at(name).changed_ns;
  }
  EXPECT_TRUE(after == before);
  for (const auto& entry : fs::directory_iterator(root_)) EXPECT_EQ(entry.path().filename(), "a");
  EXPECT_EQ(kvctl({"chaos", "--in-place", "--for", "100ms"}).exit, 9) << "not on the store itself without --yes";
  EXPECT_EQ(kvctl({"chaos", "--in-place", "--for", "100ms", "--yes"}).exit, 0);
  {
    Store store = open();
    const std::string& name = rehearsal::chaos_keyspaces()[0];
    if (!store.keyspace(name).ok()) { ASSERT_TRUE(store.create_keyspace(name).ok()); }  // killed before it was made
  }
  EXPECT_EQ(kvctl({"chaos", "--for", "100ms"}).exit, 10) << "nobody knows what is in its keyspaces";
}

/// The oracle is worth something: an acknowledged write that is taken away, or another value, is seen.
TEST_F(KvctlChaos, SeesWhatIsMissing) {
  rehearsal::ChaosOptions options;
  options.store = kvctl_test::small();
  options.duration = std::chrono::milliseconds(1500);
  options.writers = 2;
  bool done = false;
  std::uint64_t kills_before = 0;
  options.progress = [&](std::uint64_t kills, std::uint64_t) {  // between two lives
    if (std::exchange(done, true)) return;
    kills_before = kills;
    Store store = open();
    for (const std::string& name : rehearsal::chaos_keyspaces()) {
      const Result<Keyspace> k = store.keyspace(name);
      if (k.ok()) { ASSERT_TRUE(store.erase_range(*k, "", "").ok()); }
    }
  };
  const Result<rehearsal::ChaosResult> result = rehearsal::chaos(path("a"), options);
  ASSERT_TRUE(result.ok()) << result.status().to_string();
  EXPECT_TRUE(done);
  EXPECT_GT(result->lost, 0U) << result->first;
  EXPECT_FALSE(result->kept());
  EXPECT_EQ(result->kills, kills_before + 1) << "it ends at the first answer that is not right";
}

}  // namespace
}  // namespace daruma
