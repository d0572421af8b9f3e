// SPDX-License-Identifier: Apache-2.0
//
// Limits of the real system: open files, sizes of files, a file system that is full. Each is told, none is taken for
// damage, and the store comes back when the limit is raised.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <temporary_directory.h>

#include "daruma/store.h"

namespace daruma {
namespace {

constexpr int kKeys = 60;

std::string key(int i) { return "key" + std::to_string(i); }
std::string value(int i) { return std::string(static_cast<std::size_t>(3000 + i), static_cast<char>('a' + i % 26)); }

Options small() {
  Options options;
  options.create_if_missing = true;
  options.memtable_bytes = 1 << 20;
  options.segment_bytes = 256 << 10;
  options.ring_bytes = 256 << 10;
  return options;
}

/// A soft limit of this process, put back at the end.
class Limit {
 public:
  Limit(int what, rlim_t value) : what_(static_cast<__rlimit_resource>(what)) {
    ::getrlimit(what_, &before_);
    rlimit lower = before_;
    lower.rlim_cur = value;
    ::setrlimit(what_, &lower);
  }
  ~Limit() { lift(); }
  void lift() { ::setrlimit(what_, &before_); }

 private:
  const __rlimit_resource what_;
  rlimit before_{};
};

/// Leaves this process as many descriptors as `spare`, until lifted. Holes between those that it holds are filled.
class FewDescriptors {
 public:
  explicit FewDescriptors(int spare) : limit_(RLIMIT_NOFILE, kMost) {
    for (int fd; (fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;) held_.push_back(fd);
    for (; spare > 0; --spare) release();
  }
  ~FewDescriptors() { lift(); }
  void lift() {
    while (!held_.empty()) release();
    limit_.lift();
  }

 private:
  static constexpr rlim_t kMost = 512;  ///< more than a test holds
  void release() {
    ASSERT_FALSE(held_.empty());
    ::close(held_.back());
    held_.pop_back();
  }

  Limit limit_;
  std::vector<int> held_;
};

class Limits : public testing::Test {
 protected:
  void SetUp() override { ASSERT_FALSE(directory_.empty()); }
  void TearDown() override {
    for (const std::string& mounted : mounted_) ::umount2(mounted.c_str(), MNT_DETACH);
  }

  void fill(const std::string& store) {
    const Result<Store::Opened> opened = Store::open(store, small());
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    Store handle = opened->store;
    const Keyspace k = *handle.create_keyspace("k");
    for (int i = 0; i < kKeys; ++i) {
      ASSERT_TRUE(handle.put(k, key(i), value(i), {.durability = Durability::kProcess}).ok());
      if (i % 15 == 14 && i < 50) { ASSERT_TRUE(handle.checkpoint().ok()); }
    }
  }
  static void expect_all(const Store& store) {
    const Keyspace k = *store.keyspace("k");
    for (int i = 0; i < kKeys; ++i) {
      const Result<std::string> got = store.get(k, key(i));
      ASSERT_TRUE(got.ok()) << key(i) << ": " << got.status().to_string();
      ASSERT_TRUE(*got == value(i)) << key(i);
    }
  }
  /// Without a time limit of its own: the runner has one.
  static void expect_comes_back(Store& store) {
    const Keyspace k = *store.keyspace("k");
    const auto until_ok = [](const std::function<Status()>& work) {
      while (!work().ok()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    };
    until_ok([&] { return store.put(k, "after", "1"); });
    until_ok([&] { return store.checkpoint(); });
    until_ok([&] { return store.stats().background; });
  }

  const TemporaryDirectory temporary_;
  const std::string& directory_ = temporary_.path();
  std::vector<std::string> mounted_;
};

TEST_F(Limits, AStartWithoutDescriptorsIsRefusedAndLosesNothing) {
  const std::string store = directory_ + "/store";
  fill(store);
  int refused = 0;
  int served = 0;
  for (int spare = 0; spare < 40 && served < 3; ++spare) {
    SCOPED_TRACE("descriptors to spare: " + std::to_string(spare));
    FewDescriptors limit(spare);
    const Result<Store::Opened> opened = Store::open(store, small());
    limit.lift();
    if (!opened.ok()) {
      ++refused;
      ASSERT_EQ(opened.status().code(), Code::kUnavailable) << opened.status().to_string();
      ASSERT_NE(opened.status().hint().find("ulimit -n"), std::string::npos) << opened.status().to_string();
      continue;
    }
    ++served;
    ASSERT_TRUE(opened->report.clean()) << opened->report.to_json();
    expect_all(opened->store);
  }
  EXPECT_GT(refused, 3);
  EXPECT_EQ(served, 3);
  RecoveryReport report = Store::open(store, small())->report;
  EXPECT_TRUE(report.clean()) << report.to_json();
}

TEST_F(Limits, ALifeWithoutDescriptorsIsToldAndPasses) {
  const std::string store = directory_ + "/store";
  fill(store);
  Store handle = Store::open(store, small())->store;
  const Keyspace k = *handle.keyspace("k");
  {
    const FewDescriptors limit(0);
    for (int i = 0; i < 3 * kKeys; ++i) {
      const Status put = handle.put(k, key(i % kKeys), value(i % kKeys), {.durability = Durability::kProcess});
      ASSERT_TRUE(put.ok() || put.is(Code::kUnavailable)) << put.to_string();
    }
    const Status made = handle.checkpoint();
    EXPECT_EQ(made.code(), Code::kUnavailable) << made.to_string();
  }
  expect_comes_back(handle);
  expect_all(handle);
}

TEST_F(Limits, AFileThatMayNotGrowIsToldAndPasses) {
  const auto before = std::signal(SIGXFSZ, SIG_IGN);
  const std::string store = directory_ + "/store";
  fill(store);
  Store handle = Store::open(store, small())->store;
  const Keyspace k = *handle.keyspace("k");
  {
    const Limit limit(RLIMIT_FSIZE, 64 << 10);
    bool told = false;
    for (int i = 0; i < 10 * kKeys; ++i) {
      const Status put = handle.put(k, key(i % kKeys), value(i % kKeys), {.durability = Durability::kPower});
      ASSERT_TRUE(put.ok() || put.is(Code::kUnavailable) || put.is(Code::kIoError)) << put.to_string();
      told = told || !put.ok();
    }
    const Status made = handle.checkpoint();
    EXPECT_TRUE(told || !made.ok());
  }
  expect_comes_back(handle);
  expect_all(handle);
  std::signal(SIGXFSZ, before);
}

TEST_F(Limits, AFullFileSystemIsToldAndPasses) {
  const std::string disk = directory_ + "/disk";
  std::filesystem::create_directory(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=6m") != 0)
    GTEST_SKIP() << "a tiny file system cannot be mounted here (needs root)";
  mounted_.push_back(disk);
  const std::string store = disk + "/store";
  fill(store);
  Store handle = Store::open(store, small())->store;
  const Keyspace k = *handle.keyspace("k");
  {
    std::ofstream ballast(disk + "/ballast");
    const std::string block(64 << 10, 'b');
    while (ballast.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {}
  }
  bool told = false;
  for (int i = 0; i < 20 * kKeys && !told; ++i) {
    const Status put = handle.put(k, key(i % kKeys), value(i % kKeys));
    ASSERT_TRUE(put.ok() || put.is(Code::kUnavailable) || put.is(Code::kNoSpace)) << put.to_string();
    told = !put.ok();
  }
  EXPECT_TRUE(told);
  expect_all(handle);
  std::filesystem::remove(disk + "/ballast");
  expect_comes_back(handle);
  expect_all(handle);
  handle = Store::open(directory_ + "/other", small())->store;  // lets go of the first
  RecoveryReport report = Store::open(store, small())->report;
  EXPECT_TRUE(report.clean()) << report.to_json();
}

}  // namespace
}  // namespace daruma
