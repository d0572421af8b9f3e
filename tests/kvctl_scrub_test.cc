// SPDX-License-Identifier: Apache-2.0
// kvctl scrub as a process: heals one flipped byte in a run, tells what nothing can heal, and looks at nothing it may
// not.
#include "base/random.h"
#include "kvctl_testing.h"

namespace daruma {
namespace {

namespace fs = std::filesystem;
using kvctl_test::Json;
using kvctl_test::Ran;

class KvctlScrub : public kvctl_test::KvctlTest {
 protected:
  void SetUp() override {
    Store store = open();
    const Keyspace k = *store.create_keyspace("default");
    Random random(1);
    for (int i = 0; i < 300; ++i) {
      std::string value(200, '\0');  // not to be compressed: this is the largest run
      for (char& c : value) c = static_cast<char>('a' + random.below(26));
      ASSERT_TRUE(store.put(k, "key" + std::to_string(i), value).ok());
    }
    ASSERT_TRUE(store.compact(k).ok());
    for (int round = 0; round < 3; ++round) {  // no older generation without the run
      ASSERT_TRUE(store.put(k, "tick", std::to_string(round)).ok());
      ASSERT_TRUE(store.checkpoint().ok());
    }
  }
  [[nodiscard]] std::string largest_run() const {
    std::string largest;
    for (const auto& entry : fs::directory_iterator(path("a") + "/runs")) {
      if (largest.empty() || entry.file_size() > fs::file_size(largest)) largest = entry.path().string();
    }
    return largest;
  }
  static void overwrite(const std::string& file, std::uint64_t at, const std::string& bytes) {
    std::fstream out(file, std::ios::in | std::ios::out | std::ios::binary);
    out.seekp(static_cast<std::streamoff>(at));
    out << bytes;
  }
};

TEST_F(KvctlScrub, SoundStoreIsSound) {
  const Ran ran = kvctl({"--json", "scrub"});
  ASSERT_EQ(ran.exit, 0) << ran.err;
  const Json json = ran.json();
  EXPECT_EQ(json["damaged"], 0);
  EXPECT_GT(json["sectors"], 10);
  EXPECT_EQ(json["schema"], "kvctl.scrub/1");
  EXPECT_EQ(kvctl({"verify", "--deep"}).exit, 0) << "the scrubber's note is no stranger";
}

TEST_F(KvctlScrub, HealsAFlippedByte) {
  const std::string run = largest_run();
  const std::string before = read(run);
  overwrite(run, 5000, std::string(1, static_cast<char>(before[5000] ^ 1)));
  ASSERT_EQ(kvctl({"verify", "--deep"}).exit, 4);
  const Ran ran = kvctl({"--json", "scrub"});
  EXPECT_EQ(ran.exit, 0) << ran.out;
  EXPECT_EQ(ran.json()["healed"], 1);
  EXPECT_EQ(read(run), before);
  EXPECT_EQ(kvctl({"verify", "--deep"}).exit, 0);
}

TEST_F(KvctlScrub, TellsWhatIsLost) {
  const std::string run = largest_run();
  overwrite(run, 4096, std::string(fs::file_size(run) - 4096, 'x'));
  const Ran ran = kvctl({"--json", "scrub"});
  EXPECT_EQ(ran.exit, 5) << ran.out;
  EXPECT_EQ(ran.json()["lost"], 1);
  EXPECT_EQ(kvctl({"get", "key7"}).exit, 5);
  EXPECT_EQ(kvctl({"get", "tick"}).exit, 0);
}

TEST_F(KvctlScrub, TellsWhatIsDamagedStillThoughNothingIsLost) {
  const std::string run = largest_run();
  {
    Store store = open();  // the older snapshot is all that needs the run behind it
    ASSERT_TRUE(store.compact(*store.keyspace("default")).ok());
  }
  ASSERT_TRUE(fs::exists(run));
  overwrite(run, 4096, std::string(fs::file_size(run) - 4096, 'x'));
  const Ran ran = kvctl({"--json", "scrub"});
  EXPECT_EQ(ran.exit, 4) << ran.out;
  EXPECT_EQ(ran.json()["damaged"], 1);
  EXPECT_EQ(ran.json()["healed"], 0);
  EXPECT_EQ(ran.json()["lost"], 0);
  EXPECT_NE(kvctl({"scrub"}).out.find("1 left as they are"), std::string::npos);
  EXPECT_EQ(kvctl({"get", "key7"}).exit, 0);
  EXPECT_EQ(kvctl({"trim", "--yes"}).exit, 0);
  EXPECT_EQ(kvctl({"scrub"}).exit, 0);
}

TEST_F(KvctlScrub, BesideAWriterItIsBusy) {
  const Store store = open();
  EXPECT_EQ(kvctl({"scrub"}).exit, 3);
}

}  // namespace
}  // namespace daruma
