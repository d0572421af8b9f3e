// SPDX-License-Identifier: Apache-2.0
//
// What a simulated process holds: files, mappings, the lock, frames in flight.
//
// What must stay true: a handle belongs to one generation. After its process died every call is kAborted and changes
// nothing, destructors included; mapped memory stays readable and writable and leads nowhere.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/sim_disk.h"

namespace daruma {

class SimFile final : public File {
 public:
  SimFile(std::shared_ptr<SimDisk> disk, SimInodeId inode, std::string path, bool writable);
  ~SimFile() override;
  Result<std::size_t> read(std::uint64_t offset, std::span<char> out) override;
  Result<std::size_t> read_direct(std::uint64_t offset, std::span<char> out) override;
  Status write(std::uint64_t offset, std::string_view data) override;
  Status sync() override;
  Result<std::uint64_t> size() override;
  Status allocate(std::uint64_t bytes) override;
  [[nodiscard]] const std::string& path() const override { return path_; }
  [[nodiscard]] SimInodeId inode() const { return inode_; }
  [[nodiscard]] std::uint64_t generation() const { return generation_; }
  [[nodiscard]] bool writable() const { return writable_; }

 private:
  Status write_whole(std::uint64_t offset, std::string_view data);
  void write_torn(std::uint64_t offset, std::string_view data);

  std::shared_ptr<SimDisk> disk_;
  SimInodeId inode_;
  std::string path_;
  std::uint64_t generation_;
  bool writable_;
};

class SimMapping final : public Mapping {
 public:
  SimMapping(std::shared_ptr<SimDisk> disk, std::shared_ptr<SimMapped> mapped)
      : disk_(std::move(disk)), mapped_(std::move(mapped)) {}
  ~SimMapping() override { disk_->unmap(mapped_); }
  [[nodiscard]] std::span<char> bytes() override { return mapped_->bytes(); }

 private:
  std::shared_ptr<SimDisk> disk_;
  std::shared_ptr<SimMapped> mapped_;
};

class SimLock final : public DirectoryLock {
 public:
  SimLock(std::shared_ptr<SimDisk> disk, SimInodeId inode)
      : disk_(std::move(disk)), inode_(inode), generation_(disk_->generation) {}
  ~SimLock() override {
    if (!disk_->alive(generation_).ok()) return;
    const auto held = disk_->locks.find(inode_);
    if (held->second <= 1) {
      disk_->locks.erase(held);
    } else {
      --held->second;
    }
  }

 private:
  std::shared_ptr<SimDisk> disk_;
  SimInodeId inode_;
  std::uint64_t generation_;
};

class SimFrameQueue final : public FrameQueue {
 public:
  explicit SimFrameQueue(std::shared_ptr<SimDisk> disk) : disk_(std::move(disk)), generation_(disk_->generation) {}
  ~SimFrameQueue() override;
  void submit(const FrameWrite& write) override;
  void reap(bool wait, std::vector<FrameCompletion>& out) override;
  [[nodiscard]] std::size_t in_flight() const override { return pending_.size(); }

 private:
  struct Pending {
    std::uint64_t frame = 0;  ///< key in SimDisk::in_flight; 0: never started, `status` says why
    std::uint64_t tag = 0;
    std::string path;
    std::string_view caller_data;  ///< compared at completion: it has to stay valid until then
    Status status;
  };
  Status complete(const Pending& pending);
  Status finish(const Pending& pending, const SimFrame& frame);

  std::shared_ptr<SimDisk> disk_;
  std::uint64_t generation_;
  std::vector<Pending> pending_;
};

}  // namespace daruma
