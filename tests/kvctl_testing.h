// SPDX-License-Identifier: Apache-2.0
// kvctl driven as a process, on a store in a directory of its own: what the tests of kvctl share.
#pragma once

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <temporary_directory.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "daruma/store.h"

namespace daruma::kvctl_test {

namespace fs = std::filesystem;
using Json = nlohmann::json;

struct Ran {
  int exit = -1;
  std::string out;
  std::string err;
  [[nodiscard]] Json json() const { return Json::parse(out, nullptr, false); }
};

enum class Stdout { kPipe, kClosed, kReaderGone };

inline Ran run(const std::vector<std::string>& arguments, const std::string& input = "", Stdout how = Stdout::kPipe) {
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
  // Not fork(), which copies the page tables of a process under a sanitizer.
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  sigset_t as_usual;
  sigemptyset(&as_usual);
  sigaddset(&as_usual, SIGPIPE);
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setsigdefault(&attributes, &as_usual);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  ::posix_spawn_file_actions_adddup2(&files, in[0], STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, err[1], STDERR_FILENO);
  if (how == Stdout::kClosed) {
    ::posix_spawn_file_actions_addclose(&files, STDOUT_FILENO);
  } else {
    ::posix_spawn_file_actions_adddup2(&files, out[1], STDOUT_FILENO);
  }
  pid_t pid = -1;
  if (::posix_spawn(&pid, argv[0], &files, &attributes, argv.data(), environ) != 0) abort();
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&files);
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

/// Small files: a start reads its segments and its ring to the end, and these tests start hundreds of processes.
inline Options small() {
  Options options;
  options.memtable_bytes = 1 << 20;
  options.segment_bytes = 256 << 10;
  options.ring_bytes = 256 << 10;
  return options;
}

/// What a file is, told so that any change shows: kind, size, times of change, permissions, and a hash of its bytes.
struct FileState {
  bool directory = false;
  std::uint64_t bytes = 0;
  std::uint64_t hash = 0;
  std::int64_t modified_ns = 0;
  std::int64_t changed_ns = 0;
  bool operator==(const FileState&) const = default;
};

class KvctlTest : public testing::Test {
 protected:
  KvctlTest() {
    if (root_.empty()) abort();
    ::unsetenv("KVCTL_STORE");
  }

  [[nodiscard]] std::string path(const std::string& name) const { return (root_ / name).string(); }
  [[nodiscard]] Ran kvctl(std::vector<std::string> arguments, const std::string& input = "",
                          const std::string& store = "a") const {
    arguments.insert(arguments.begin(), {"-d", path(store)});
    return run(arguments, input);
  }
  /// Opens the store in this process; it is abandoned with the result.
  [[nodiscard]] Store open(const std::string& store = "a") const {
    auto opened = Store::open(path(store), small());
    EXPECT_TRUE(opened.ok()) << opened.status().to_string();
    if (!opened.ok()) abort();
    return std::move(opened->store);
  }

  static std::string read(const std::string& file) {
    std::ostringstream bytes;  // not byte by byte, which takes long without optimisation
    bytes << std::ifstream(file, std::ios::binary).rdbuf();
    return std::move(bytes).str();
  }
  /// Everything in the store by its name.
  [[nodiscard]] std::map<std::string, FileState> state(const std::string& store = "a") const {
    std::map<std::string, FileState> all;
    const auto add = [&](const fs::path& file) {
      struct stat info {};
      if (::lstat(file.c_str(), &info) != 0) return;
      FileState& entry = all[file.string()];
      entry.directory = S_ISDIR(info.st_mode);
      entry.bytes = static_cast<std::uint64_t>(info.st_size);
      entry.modified_ns = info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec;
      entry.changed_ns = info.st_ctim.tv_sec * 1'000'000'000 + info.st_ctim.tv_nsec;
      if (S_ISREG(info.st_mode)) entry.hash = std::hash<std::string>()(read(file));
    };
    add(path(store));
    for (const auto& entry : fs::recursive_directory_iterator(path(store))) add(entry.path());
    return all;
  }

  const TemporaryDirectory temporary_;
  const fs::path root_ = temporary_.path();
};

}  // namespace daruma::kvctl_test
