// SPDX-License-Identifier: Apache-2.0
// A storage, and a file, that pass every call on: a test overrides those that it is about.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "io/storage.h"

namespace daruma {

class PassingFile : public File {
 public:
  explicit PassingFile(std::unique_ptr<File> file) : file_(std::move(file)) {}
  Result<std::size_t> read(std::uint64_t offset, std::span<char> out) override { return file_->read(offset, out); }
  Result<std::size_t> read_direct(std::uint64_t offset, std::span<char> out) override {
    return file_->read_direct(offset, out);
  }
  Status write(std::uint64_t offset, std::string_view data) override { return file_->write(offset, data); }
  Status sync() override { return file_->sync(); }
  Result<std::uint64_t> size() override { return file_->size(); }
  void expect_reads_anywhere() override { file_->expect_reads_anywhere(); }
  void expect_read(std::uint64_t offset, std::uint64_t bytes) override { file_->expect_read(offset, bytes); }
  Status allocate(std::uint64_t bytes) override { return file_->allocate(bytes); }
  [[nodiscard]] const std::string& path() const override { return file_->path(); }

 private:
  const std::unique_ptr<File> file_;
};

/// `base` must outlive it. Its frame queues take files of its own, so none of PassingFile.
class PassingStorage : public Storage {
 public:
  explicit PassingStorage(Storage& base) : base_(base) {}
  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override { return base_.open(path, mode); }
  Status rename(const std::string& from, const std::string& to) override { return base_.rename(from, to); }
  Status remove(const std::string& path) override { return base_.remove(path); }
  Result<std::vector<DirectoryEntry>> list(const std::string& path) override { return base_.list(path); }
  Status make_directory(const std::string& path) override { return base_.make_directory(path); }
  Status sync_directory(const std::string& path) override { return base_.sync_directory(path); }
  Result<std::unique_ptr<Mapping>> map(const std::string& path) override { return base_.map(path); }
  Result<std::unique_ptr<DirectoryLock>> lock(const std::string& path) override { return base_.lock(path); }
  Result<std::unique_ptr<DirectoryLock>> lock_shared(const std::string& path) override {
    return base_.lock_shared(path);
  }
  std::unique_ptr<FrameQueue> make_frame_queue(unsigned depth) override { return base_.make_frame_queue(depth); }
  std::string boot_id() override { return base_.boot_id(); }
  Result<std::uint64_t> free_bytes(const std::string& path) override { return base_.free_bytes(path); }
  std::string describe() override { return base_.describe(); }

 private:
  Storage& base_;
};

}  // namespace daruma
