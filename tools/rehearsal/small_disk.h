// SPDX-License-Identifier: Apache-2.0
// A small real file system that can be filled to its last byte.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace daruma::rehearsal {

/// ext4 on a loop device, else tmpfs, mounted below `directory`; gone with the object. Needs root.
class SmallDisk {
 public:
  SmallDisk(std::filesystem::path directory, std::uint64_t bytes);
  ~SmallDisk();
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  [[nodiscard]] const std::string& kind() const { return kind_; }  ///< empty: none can be had here
  [[nodiscard]] std::filesystem::path mount_point() const { return directory_ / "disk"; }
  [[nodiscard]] std::uint64_t free_bytes() const;
  /// Somebody else's file takes all but so much. Bytes it has now.
  [[nodiscard]] std::uint64_t fill(std::uint64_t leave) const;
  void empty() const { std::filesystem::remove(mount_point() / "filler"); }

 private:
  const std::filesystem::path directory_;
  std::string kind_;
};

}  // namespace daruma::rehearsal
