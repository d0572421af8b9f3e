// SPDX-License-Identifier: Apache-2.0
//
// Real file systems that stop in the middle of mixed writes: a freshly made image is mounted, a process writes to a
// store on it with several threads, the file system is shut down under it without a flush of its log, unmounted,
// mounted again, and the store recovers. What was acknowledged stands in memory outside the image.
//
// What is held: nothing acknowledged with Durability::kPower is lost, nothing is wrong, and the report calls nothing a
// loss. Needs root, loop devices and mkfs; where one is missing the test is skipped and says which.
// DARUMA_KERNEL_CYCLES sets the shutdowns of each file system (default 3), DARUMA_KERNEL_FS which (default: ext4 xfs
// btrfs), DARUMA_KERNEL_DIR where the images are (default: /dev/shm where it is there).
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <filesystem>

#include <gtest/gtest.h>
#include <live_writer.h>

#include "base/clock.h"
#include "engine/engine.h"
#include "io/posix_storage.h"

namespace daruma {
namespace {

namespace fs = std::filesystem;

/// EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN: one number, and both call 2 "no log flush".
constexpr unsigned long kShutdown = _IOR('X', 125, std::uint32_t);
constexpr std::uint32_t kNoLogFlush = 2;

/// Output and success of a command that is given a minute.
bool run(const std::string& command, std::string* output = nullptr) {
  FILE* const pipe = ::popen(("timeout -k 5 60 " + command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return false;
  std::string all;
  std::array<char, 512> piece{};
  while (std::fgets(piece.data(), piece.size(), pipe) != nullptr) all += piece.data();
  while (!all.empty() && all.back() == '\n') all.pop_back();
  const int status = ::pclose(pipe);
  if (output != nullptr) *output = all;
  return status == 0;
}

/// A file with a file system in it on a loop device. Taken down in the order in which it was put up, whatever fails.
class Image {
 public:
  explicit Image(const fs::path& directory) : directory_(directory) {}
  ~Image() {
    if (!unmount()) return;  // the loop device is in use: leave it, rather than pull it away
    if (!device_.empty()) run("losetup -d " + device_);
    std::error_code ignored;
    fs::remove_all(directory_, ignored);
  }
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;

  /// Empty, or why there is none.
  std::string make(const std::string& kind) {
    fs::create_directories(mount_point());
    const fs::path file = directory_ / "image";
    std::string said;
    if (!run("truncate -s 400M " + file.string(), &said)) return said;
    const std::string force = kind == "ext4" ? " -q -F " : " -q -f ";
    if (!run("mkfs." + kind + force + file.string(), &said)) return "mkfs." + kind + ": " + said;
    if (!run("losetup -f --show " + file.string(), &device_)) {
      said = "losetup: " + device_;
      device_.clear();
      return said;
    }
    kind_ = kind;
    return mount();
  }
  std::string mount() {
    std::string said;
    mounted_ = run("mount -t " + kind_ + " " + device_ + " " + mount_point().string(), &said);
    return mounted_ ? "" : "mount: " + said;
  }
  /// A writer that was just killed may hold the mount for a moment longer.
  bool unmount() {
    for (unsigned tries = 0; mounted_ && tries < 50; ++tries) {
      if (run("umount " + mount_point().string()))
        mounted_ = false;
      else
        ::usleep(100'000);
    }
    return !mounted_;
  }
  /// 0, or the errno.
  int shut_down() const {
    const int fd = ::open(mount_point().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return errno;
    std::uint32_t how = kNoLogFlush;
    const int error = ::ioctl(fd, kShutdown, &how) == 0 ? 0 : errno;
    ::close(fd);
    return error;
  }
  [[nodiscard]] fs::path mount_point() const { return directory_ / "mnt"; }

 private:
  const fs::path directory_;
  std::string kind_, device_;
  bool mounted_ = false;
};

/// Each mount is a boot of its own: what was not durable is gone, although the machine runs on.
Result<Store::Opened> open(const std::string& directory, std::uint64_t boot) {
  Environment environment;
  environment.storage = make_posix_storage({.boot_id = "mount " + std::to_string(boot)});
  environment.clock = &system_clock();
  environment.seed = entropy_seed();
  return Engine::open_store(directory, live_options(), environment);
}

bool wanted(const std::string& kind) {
  const char* list = std::getenv("DARUMA_KERNEL_FS");
  return list == nullptr || *list == '\0' ||
         (" " + std::string(list) + " ").find(" " + kind + " ") != std::string::npos;
}

class KernelShutdown : public ::testing::TestWithParam<const char*> {};

TEST_P(KernelShutdown, NothingAcknowledgedIsLost) {
  const std::string kind = GetParam();
  if (!wanted(kind)) GTEST_SKIP() << kind << " is not in DARUMA_KERNEL_FS";
  if (::geteuid() != 0) GTEST_SKIP() << "mounting needs root";
  const char* root = std::getenv("DARUMA_KERNEL_DIR");
  const fs::path where = root                     ? fs::path(root)
                         : fs::exists("/dev/shm") ? fs::path("/dev/shm")
                                                  : fs::temp_directory_path();
  Image image(where / ("daruma_kernel_" + kind + "_" + std::to_string(::getpid())));
  if (const std::string refused = image.make(kind); !refused.empty()) GTEST_SKIP() << kind << ": " << refused;

  const char* text = std::getenv("DARUMA_KERNEL_CYCLES");
  const unsigned cycles = text ? static_cast<unsigned>(std::atoi(text)) : 3;
  const std::uint64_t seed = entropy_seed();
  std::printf("%s: seed %llu\n", kind.c_str(), static_cast<unsigned long long>(seed));
  const std::string directory = (image.mount_point() / "store").string();
  Board& board = Board::make();
  // What each slot must at least be: what the last check found there, then what was acknowledged since.
  std::uint64_t floor[kLiveThreads][kSlots] = {};
  std::uint64_t power_writes = 0, process_lost = 0, discarded = 0;
  for (unsigned cycle = 0; cycle < cycles; ++cycle) {
    SCOPED_TRACE(kind + ", shutdown " + std::to_string(cycle));
    std::uint64_t began[kLiveThreads], acknowledged[kLiveThreads], power[kLiveThreads];
    for (unsigned t = 0; t < kLiveThreads; ++t) {
      began[t] = board.begun[t].load();
      board.acknowledged[t] = board.power[t] = began[t];
    }
    const std::uint64_t opened_before = board.opened.load();
    const pid_t writer = ::fork();
    ASSERT_GE(writer, 0);
    if (writer == 0) {
      static_cast<void>(::signal(SIGBUS, SIG_DFL));  // not the sanitizer's
      Result<Store::Opened> opened = open(directory, cycle);
      if (!opened.ok()) ::_exit(3);
      write_until_killed(opened->store, board, seed + cycle);
    }
    while (board.opened.load() == opened_before && ::waitpid(writer, nullptr, WNOHANG) == 0) ::usleep(1000);
    ASSERT_GT(board.opened.load(), opened_before) << "the writer ended by itself";
    ::usleep(static_cast<useconds_t>(20'000 + Random(seed + cycle).below(400'000)));
    // Before the shutdown. One that returns while it goes on proves nothing: XFS answers such an O_DIRECT write with
    // RWF_DSYNC with success, and forgets it; a program of thirty lines shows it without a store.
    std::uint64_t itself[kLiveThreads][kSlots];
    for (unsigned t = 0; t < kLiveThreads; ++t) {
      power[t] = board.power[t].load();
      acknowledged[t] = board.acknowledged[t].load();
      for (std::uint64_t slot = 0; slot < kSlots; ++slot) itself[t][slot] = board.itself[t][slot].load();
    }
    const int error = image.shut_down();
    ::usleep(5000);  // so that the writer meets it
    ASSERT_EQ(::kill(writer, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(writer, &status, 0), writer);
    if (error != 0) GTEST_SKIP() << kind << " takes no shutdown here: " << std::strerror(error);
    // Stores into a mapping of a file system that is gone end in SIGBUS: a kill as any other.
    ASSERT_TRUE(WIFSIGNALED(status) && (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGBUS))
        << "the writer ended by itself: " << WEXITSTATUS(status);
    ASSERT_TRUE(image.unmount());
    ASSERT_EQ(image.mount(), "");
    Result<Store::Opened> opened = open(directory, cycle + 1);
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    EXPECT_TRUE(opened->report.clean()) << opened->report.to_text();
    EXPECT_FALSE(opened->report.same_boot);
    discarded += opened->report.discarded.events;
    const Result<Keyspace> keyspace = opened->store.keyspace("live");
    ASSERT_TRUE(keyspace.ok()) << keyspace.status().to_string();
    for (unsigned t = 0; t < kLiveThreads; ++t) {
      power_writes += power[t] - began[t];
      std::uint64_t newest = 0;
      for (std::uint64_t slot = 0; slot < kSlots; ++slot) {
        std::uint64_t& least = floor[t][slot];
        if (const std::uint64_t number = newest_of_slot(slot, power[t]); number > began[t]) least = number;
        if (const std::uint64_t number = itself[t][slot]; number > began[t]) least = std::max(least, number);
        const Result<std::string> got = opened->store.get(*keyspace, live_key(t, slot));
        if (!got.ok()) {
          ASSERT_TRUE(got.status().is(Code::kNotFound)) << got.status().to_string();
          ASSERT_EQ(least, 0U) << live_key(t, slot) << " is lost\n" << opened->report.to_text();
          continue;
        }
        const std::optional<std::uint64_t> number = live_number(t, *got);
        ASSERT_TRUE(number && *number % kSlots == slot && *number <= board.begun[t].load())
            << live_key(t, slot) << " has a value that it never had";
        ASSERT_GE(*number, least) << live_key(t, slot) << " went back; began at " << began[t] << ", acknowledged "
                                  << board.acknowledged[t].load() << ", for power " << power[t] << ", begun "
                                  << board.begun[t].load() << ", refused " << board.refused.load() << ", later "
                                  << board.later.load() << "\n"
                                  << opened->report.to_text();
        least = *number;
        newest = std::max(newest, *number);
      }
      process_lost += acknowledged[t] > newest ? acknowledged[t] - newest : 0;
    }
  }
  std::printf(
      "%s: %u shutdowns, %llu writes up to the last one acknowledged for power, lost 0, wrong 0; %llu acknowledged for "
      "the process only went with the power, %llu events discarded; checkpoints %llu, compactions %llu, refused %llu\n",
      kind.c_str(), cycles, static_cast<unsigned long long>(power_writes),
      static_cast<unsigned long long>(process_lost), static_cast<unsigned long long>(discarded),
      static_cast<unsigned long long>(board.checkpoints.load()),
      static_cast<unsigned long long>(board.compactions.load()), static_cast<unsigned long long>(board.refused.load()));
  EXPECT_GT(power_writes, 0U);
  ::munmap(&board, sizeof(Board));
}

INSTANTIATE_TEST_SUITE_P(FileSystems, KernelShutdown, ::testing::Values("ext4", "xfs", "btrfs"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace daruma
