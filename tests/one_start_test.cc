// SPDX-License-Identifier: Apache-2.0
//
// one-start: there is no close, no clean-shutdown flag and no other way in than recovery. Byte for byte: a destroyed
// store is a killed one; starting again without a write in between changes a known, bounded set of files; looking
// changes nothing at all; and the lock is the process's, not the file's.
#include "daruma/store.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>

#include <engine_testing.h>
#include <gtest/gtest.h>
#include <temporary_directory.h>

#include "io/posix_storage.h"

namespace daruma {
namespace {

namespace fs = std::filesystem;

/// A little of everything, much of it not yet in the log's file: what a close would have to flush.
void live_a_little(Store& store, bool also_checkpoints) {
  const Keyspace a = *store.create_keyspace("a");
  const Keyspace b = *store.create_keyspace("b");
  for (int i = 0; i < 200; ++i) {
    const bool power = i % 7 == 0;
    ASSERT_TRUE(store
                    .put(i % 2 ? a : b, "key" + std::to_string(i % 50), std::string(i * 3, 'x'),
                         {.durability = power ? Durability::kPower : Durability::kProcess})
                    .ok());
    if (also_checkpoints && i == 120) { ASSERT_TRUE(store.checkpoint().ok()); }
  }
}

TEST(OneStart, ADestroyedStoreIsAKilledOne) {
  for (const bool checkpoints : {false, true}) {
    World world;
    std::optional<Store> store = world.must_open();
    live_a_little(*store, checkpoints);
    const std::uint64_t before = world.disk->fingerprint();
    World killed;
    killed.disk = world.disk->clone(1);
    killed.clock = world.clock;
    killed.seed = world.seed;
    killed.disk->kill();
    store.reset();
    EXPECT_EQ(world.disk->fingerprint(), before);
    EXPECT_EQ(killed.disk->fingerprint(), before);
    // Nor does the next start find a difference: it does and writes the same, down to the last byte.
    RecoveryReport after_destruction;
    RecoveryReport after_kill;
    {
      const Store one = world.must_open(&after_destruction);
      const Store two = killed.must_open(&after_kill);
    }
    EXPECT_EQ(after_destruction.to_json(), after_kill.to_json());
    EXPECT_GT(after_kill.events_replayed, 50U);
    EXPECT_EQ(world.disk->fingerprint(), killed.disk->fingerprint());
  }
}

// --- real files ---

struct Seen {
  std::string bytes;
  std::int64_t modified_ns = 0, changed_ns = 0;
  bool operator==(const Seen&) const = default;
};

/// Every file and directory below `root`: contents, and when they were last touched.
std::map<std::string, Seen> look(const fs::path& root) {
  std::map<std::string, Seen> all;
  const auto add = [&](const fs::path& path) {
    struct stat info {};
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    Seen seen;
    seen.modified_ns = std::int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
    seen.changed_ns = std::int64_t{info.st_ctim.tv_sec} * 1'000'000'000 + info.st_ctim.tv_nsec;
    if (fs::is_regular_file(path)) {
      std::ifstream in(path, std::ios::binary);
      seen.bytes.assign(std::istreambuf_iterator<char>(in), {});
    }
    all[fs::relative(path, root).string()] = std::move(seen);
  };
  add(root);
  for (const auto& entry : fs::recursive_directory_iterator(root)) add(entry.path());
  return all;
}

std::set<std::string> names_that_differ(const std::map<std::string, Seen>& one,
                                        const std::map<std::string, Seen>& two) {
  std::set<std::string> names;
  for (const auto& [name, seen] : one) {
    const auto other = two.find(name);
    if (other == two.end() || other->second.bytes != seen.bytes) names.insert(name);
  }
  for (const auto& [name, seen] : two) {
    if (!one.contains(name)) names.insert(name);
  }
  return names;
}

class OneStartOnFiles : public testing::Test {
 protected:
  void SetUp() override { ASSERT_FALSE(directory_.empty()); }

  [[nodiscard]] std::string store() const { return (directory_ / "store").string(); }
  /// On this thread alone, so that nothing moves between two looks.
  [[nodiscard]] Result<Store::Opened> open(Options options = small()) const {
    Environment environment;
    environment.storage = make_posix_storage({.use_io_uring = options.use_io_uring});
    environment.clock = &system_clock();
    environment.seed = entropy_seed();
    environment.threads = environment.start_late = false;
    return Engine::open_store(store(), options, environment);
  }

  const TemporaryDirectory temporary_;
  const fs::path directory_ = temporary_.path();
};

/// Runs `work` in a process of its own until it says it is ready, then leaves it waiting.
class Child {
 public:
  template <typename Work>
  explicit Child(const Work& work) {
    int pipe_ends[2];
    EXPECT_EQ(::pipe(pipe_ends), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(pipe_ends[0]);
      work([&](char word) { return ::write(pipe_ends[1], &word, 1) == 1; });
      ::_exit(0);
    }
    ::close(pipe_ends[1]);
    from_ = pipe_ends[0];
  }
  ~Child() {
    kill();
    ::close(from_);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  /// The next word it says; 0 when it is gone.
  [[nodiscard]] char hear() const {
    char word = 0;
    return ::read(from_, &word, 1) == 1 ? word : '\0';
  }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

 private:
  pid_t pid_ = 0;
  int from_ = -1;
};

TEST_F(OneStartOnFiles, AfterDestructionAndAfterSigkillTheFilesAreTheSame) {
  // One process lives, a second shares its files and its mapping from one instant on: the first is killed, the second
  // destroys the store.
  int go[2];
  ASSERT_EQ(::pipe(go), 0);
  Child first([&](const auto& say) {
    std::optional<Store> store;
    {
      Result<Store::Opened> opened = open();
      if (!opened.ok()) ::_exit(3);
      store = opened->store;
    }
    live_a_little(*store, true);
    const pid_t second = ::fork();
    char word = 0;
    if (second == 0) {
      if (::read(go[0], &word, 1) == 1) store.reset();
      say('d');
      ::_exit(0);
    }
    say('r');
    ::pause();
  });
  ASSERT_EQ(first.hear(), 'r');
  const auto alive = look(store());
  ASSERT_GT(alive.size(), 8U);
  first.kill();
  const auto killed = look(store());
  ASSERT_EQ(::write(go[1], "g", 1), 1);
  ASSERT_EQ(first.hear(), 'd');
  const auto destroyed = look(store());
  ::close(go[0]);
  ::close(go[1]);
  EXPECT_EQ(names_that_differ(alive, killed), std::set<std::string>());
  EXPECT_EQ(names_that_differ(killed, destroyed), std::set<std::string>());
  EXPECT_TRUE(killed == destroyed) << "not even a time stamp";
}

TEST_F(OneStartOnFiles, StartingAgainChangesTheLogAndTheFlightRecorderOnly) {
  {
    Result<Store::Opened> opened = open();
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    live_a_little(opened->store, true);
  }
  std::map<std::string, Seen> before;
  std::size_t files = 0;
  for (int start = 0; start < 12; ++start) {
    SCOPED_TRACE("start " + std::to_string(start));
    Result<Store::Opened> opened = open();
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    EXPECT_TRUE(opened->report.clean());
    // Once: what was only in the ring.
    EXPECT_LE(opened->report.findings.size(), start == 0 ? 1U : 0U) << opened->report.to_text();
    auto after = look(store());
    if (start >= 4) {  // by then the spare segments are as many as they get
      std::size_t recorded = 0;
      std::size_t segments = 0;
      for (const std::string& name : names_that_differ(before, after)) {
        if (name.starts_with("recoveries/")) {
          ++recorded;
        } else {
          EXPECT_TRUE(name.starts_with("wal/")) << name;
          segments += name.ends_with(".log");
        }
      }
      EXPECT_EQ(recorded, 1U);
      EXPECT_LE(segments, 2U) << "one new, at most one old";
      EXPECT_EQ(after.size(), files + 1) << "but for its report, a start leaves as many files as it found";
      EXPECT_EQ(opened->report.events_replayed, 79U) << "all that is not in a snapshot, every time";
    }
    files = after.size();
    before = std::move(after);
  }
}

TEST(OneStart, LivesThatEndEarlyDoNotPileUpLog) {
  World world;
  std::size_t most = 0;
  for (int life = 0; life < 60; ++life) {
    Store store = world.must_open();
    if (life == 0) { ASSERT_TRUE(store.create_keyspace("k").ok()); }
    ASSERT_TRUE(store.put(*store.keyspace("k"), std::to_string(life), "v").ok());
    ASSERT_TRUE(Engine::of(store).step().ok());
    for (int before = 0; before <= life; ++before)
      ASSERT_EQ(*store.get(*store.keyspace("k"), std::to_string(before)), "v");
    world.disk->kill();
    most = std::max(most, world.disk->list("store/wal")->size());
  }
  EXPECT_LE(most, 45U) << "two generations of 8 + 2 * memtable / segment, the spares and the ring";
}

TEST_F(OneStartOnFiles, LookingTouchesNothing) {
  {
    Result<Store::Opened> opened = open();
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    live_a_little(opened->store, true);
  }
  const auto before = look(directory_);
  Options looking = small();
  looking.read_only = true;
  for (int i = 0; i < 2; ++i) {
    Result<Store::Opened> opened = Store::open(store(), looking);
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    Store& read = opened->store;
    const Keyspace a = *read.keyspace("a");
    EXPECT_EQ(read.get(a, "key1")->size(), 151U * 3);
    Result<Cursor> cursor = read.cursor(a);
    ASSERT_TRUE(cursor.ok());
    std::size_t keys = 0;
    for (cursor->seek_first(); cursor->valid(); cursor->next()) ++keys;
    EXPECT_EQ(keys, 25U);
    EXPECT_TRUE(read.put(a, "x", "y").is(Code::kReadOnly));
    EXPECT_TRUE(read.checkpoint().is(Code::kReadOnly));
  }
  const auto after = look(directory_);
  EXPECT_EQ(names_that_differ(before, after), std::set<std::string>());
  EXPECT_TRUE(before == after) << "not even a time stamp";
}

TEST_F(OneStartOnFiles, TheLockIsTheProcessAndDiesWithIt) {
  Child holder([&](const auto& say) {
    const Result<Store::Opened> opened = open();  // without threads, whose work would come between two looks
    say(opened.ok() ? 'r' : 'e');
    ::pause();
  });
  ASSERT_EQ(holder.hear(), 'r');
  const auto before = look(store());
  const Status busy = Store::open(store(), small()).status();
  EXPECT_TRUE(busy.is(Code::kBusy)) << busy.to_string();
  Options looking = small();
  looking.read_only = true;
  EXPECT_TRUE(Store::open(store(), looking).status().is(Code::kBusy));
  EXPECT_EQ(names_that_differ(before, look(store())), std::set<std::string>()) << "who is refused changes nothing";
  holder.kill();
  const Result<Store::Opened> opened = Store::open(store(), small());
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  EXPECT_TRUE(opened->report.clean());
}

}  // namespace
}  // namespace daruma
