// SPDX-License-Identifier: Apache-2.0
// A storage of which one call at a time can be held, as by a device that stalls.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <passing_storage.h>

namespace daruma {

inline constexpr auto kLong = std::chrono::seconds(60);  // whatever takes so long hangs

/// Of a call, told as "sync PATH".
using Which = std::function<bool(std::string_view call)>;

/// Holds one call of a device until it is let go.
class Gate {
 public:
  /// The next such call but `skip`, and no other.
  void hold(Which which, unsigned skip = 0) {
    const std::lock_guard lock(mutex_);
    which_ = std::move(which);
    skip_ = skip;
    held_.clear();
  }
  void let_go() {
    const std::lock_guard lock(mutex_);
    which_ = nullptr;
    let_go_ = stopped_;
    changed_.notify_all();
  }
  /// The call that is held; empty when it was let go before there was one.
  std::string wait() {
    std::unique_lock lock(mutex_);
    const bool over = changed_.wait_for(lock, kLong, [&] { return !which_ || !held_.empty(); });
    EXPECT_TRUE(over) << "there was no such call";
    return held_;
  }
  void pass(std::string_view name, const std::string& path) {
    std::unique_lock lock(mutex_);
    const std::string call = std::string(name) + " " + path;
    if (!which_ || !held_.empty() || !which_(call)) return;
    if (skip_ > 0) {
      --skip_;
      return;
    }
    held_ = call;
    const unsigned mine = ++stopped_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return let_go_ >= mine; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Which which_;
  unsigned skip_ = 0, stopped_ = 0, let_go_ = 0;
  std::string held_;
};

/// Syncs of files and directories only seem to be made, so that a run is short: nothing here cuts the power.
class GatedFile final : public PassingFile {
 public:
  GatedFile(std::unique_ptr<File> file, Gate& gate) : PassingFile(std::move(file)), gate_(gate) {}
  Result<std::size_t> read(std::uint64_t offset, std::span<char> out) override {
    gate_.pass("read", path());
    return PassingFile::read(offset, out);
  }
  Result<std::size_t> read_direct(std::uint64_t offset, std::span<char> out) override {
    gate_.pass("read", path());
    return PassingFile::read_direct(offset, out);
  }
  Status write(std::uint64_t offset, std::string_view data) override {
    gate_.pass("write", path());
    return PassingFile::write(offset, data);
  }
  Status sync() override {
    gate_.pass("sync", path());
    return {};
  }

 private:
  Gate& gate_;
};

class GatedStorage final : public PassingStorage {
 public:
  GatedStorage(std::shared_ptr<Storage> base, Gate& gate)
      : PassingStorage(*base), base_(std::move(base)), gate_(gate) {}
  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override {
    gate_.pass("open", path);
    Result<std::unique_ptr<File>> file = PassingStorage::open(path, mode);
    const bool for_frames = mode == OpenMode::kReadWrite && path.ends_with(".log");
    if (!file.ok() || for_frames) return file;
    return std::unique_ptr<File>(std::make_unique<GatedFile>(std::move(*file), gate_));
  }
  Status rename(const std::string& from, const std::string& to) override {
    gate_.pass("rename", to);
    return PassingStorage::rename(from, to);
  }
  Status remove(const std::string& path) override {
    gate_.pass("remove", path);
    return PassingStorage::remove(path);
  }
  Result<std::vector<DirectoryEntry>> list(const std::string& path) override {
    gate_.pass("list", path);
    return PassingStorage::list(path);
  }
  Status sync_directory(const std::string& path) override {
    gate_.pass("sync_directory", path);
    return {};
  }

 private:
  const std::shared_ptr<Storage> base_;
  Gate& gate_;
};

}  // namespace daruma
