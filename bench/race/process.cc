// SPDX-License-Identifier: Apache-2.0
#include "race/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

namespace race {
namespace {

namespace fs = std::filesystem;

double cpu_of_process() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + 1e-6 * t.tv_usec; };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

std::map<std::string, double> io_of_process() {
  std::map<std::string, double> out;
  std::ifstream in("/proc/self/io");
  std::string name;
  for (double value = 0; in >> name >> value;) out[name] = value;
  return out;
}

pid_t fork_with_pipe(int (&ends)[2]) {
  if (pipe(ends) != 0) fail("pipe");
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) prctl(PR_SET_PDEATHSIG, SIGKILL);  // or a trial that takes too long would leave it behind
  return child;
}

void for_each_file(const std::string& directory, const std::function<void(const std::string&)>& each) {
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) each(entry.path());
  }
}

}  // namespace

void fail(const std::string& what) {
  std::fprintf(stderr, "race: %s failed\n", what.c_str());
  std::fflush(stderr);
  std::_Exit(1);
}

Figures in_child(const std::function<Figures()>& work) {
  int ends[2];
  const pid_t child = fork_with_pipe(ends);
  if (child == 0) {
    Figures figures = work();
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    figures["peak_mib"] = static_cast<double>(used.ru_maxrss) / 1024;
    FILE* const out = fdopen(ends[1], "w");
    for (const auto& [name, value] : figures) std::fprintf(out, "%s %.9g\n", name.c_str(), value);
    std::fflush(out);
    std::_Exit(0);
  }
  close(ends[1]);
  std::string text;
  char room[4096];
  for (ssize_t n = 0; (n = read(ends[0], room, sizeof room)) > 0;) text.append(room, static_cast<std::size_t>(n));
  close(ends[0]);
  int status = 0;
  if (waitpid(child, &status, 0) != child || status != 0) fail("a process of the trial");
  Figures figures;
  std::istringstream in(text);
  std::string name;
  for (double value = 0; in >> name >> value;) figures[name] = value;
  return figures;
}

void in_killed_child(const std::function<void()>& work) {
  int ends[2];
  const pid_t child = fork_with_pipe(ends);
  if (child == 0) {
    work();
    if (write(ends[1], "", 1) != 1) std::_Exit(1);
    raise(SIGKILL);
  }
  close(ends[1]);
  char done = 0;
  const bool ok = read(ends[0], &done, 1) == 1;
  close(ends[0]);
  waitpid(child, nullptr, 0);
  if (!ok) fail("preparing a store");
}

Meter::Meter() : cpu_(cpu_of_process()), io_(io_of_process()) { began_ = std::chrono::steady_clock::now(); }
double Meter::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
}
double Meter::cpu_seconds() const { return cpu_of_process() - cpu_; }
double Meter::written_bytes() const { return io_of_process()["write_bytes:"] - io_.at("write_bytes:"); }
double Meter::read_bytes() const { return io_of_process()["read_bytes:"] - io_.at("read_bytes:"); }

void forget(const std::string& directory) {
  for_each_file(directory, [](const std::string& path) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fdatasync(fd) != 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0) fail("forgetting " + path);
    close(fd);
  });
}

void warm(const std::string& directory) {
  std::vector<char> room(1 << 20);
  for_each_file(directory, [&](const std::string& path) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    // A file may be far longer than what it holds.
    for (off_t at = 0; (at = lseek(fd, at, SEEK_DATA)) >= 0;) {
      const ssize_t n = pread(fd, room.data(), room.size(), at);
      if (n <= 0) break;
      at += n;
    }
    close(fd);
  });
}

double disk_bytes(const std::string& directory) {
  double sum = 0;
  for_each_file(directory, [&](const std::string& path) {
    struct stat status {};
    if (stat(path.c_str(), &status) == 0) sum += 512.0 * static_cast<double>(status.st_blocks);
  });
  return sum;
}

// Below the group that we are in, so that what holds for us holds on. The first version of control groups keeps memory
// in a tree of its own.
MemoryLimit::MemoryLimit(std::uint64_t bytes) {
  std::ifstream in("/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (controllers != "memory" && !controllers.empty()) continue;
    const std::string root = controllers.empty() ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    const std::string group = root + line.substr(second + 1) + "/daruma_race_" + std::to_string(getpid());
    if (mkdir(group.c_str(), 0755) != 0) continue;
    std::ofstream limit(group + (controllers.empty() ? "/memory.max" : "/memory.limit_in_bytes"));
    limit << bytes << std::flush;
    if (limit) {
      group_ = group;
      return;
    }
    rmdir(group.c_str());
  }
}
MemoryLimit::~MemoryLimit() {
  if (!group_.empty()) rmdir(group_.c_str());
}
bool MemoryLimit::join() const {
  if (group_.empty()) return false;
  std::ofstream in(group_ + "/cgroup.procs");
  in << getpid() << std::flush;
  return in.good();
}

}  // namespace race
