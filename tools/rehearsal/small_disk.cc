// SPDX-License-Identifier: Apache-2.0
#include "rehearsal/small_disk.h"

#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

namespace daruma::rehearsal {

namespace fs = std::filesystem;

SmallDisk::SmallDisk(fs::path directory, std::uint64_t bytes) : directory_(std::move(directory)) {
  fs::create_directories(mount_point());
  const std::string image = (directory_ / "image").string();
  const auto run = [](const std::string& command) { return std::system((command + " >/dev/null 2>&1").c_str()) == 0; };
  if (::geteuid() != 0) return;
  const std::string size = std::to_string(bytes);
  if (run("truncate -s " + size + " '" + image + "' && mkfs.ext4 -q -F -m 0 '" + image + "' && mount -o loop '" +
          image + "' '" + mount_point().string() + "'"))
    kind_ = "ext4 on a loop device";
  else if (::mount("none", mount_point().c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0)
    kind_ = "tmpfs";
}

SmallDisk::~SmallDisk() {
  for (unsigned i = 0; !kind_.empty() && ::umount2(mount_point().c_str(), i < 50 ? 0 : MNT_DETACH) != 0 && i <= 50; ++i)
    ::usleep(100'000);  // whoever was killed may hold it for a moment longer
}

std::uint64_t SmallDisk::free_bytes() const {
  struct statvfs info {};
  return ::statvfs(mount_point().c_str(), &info) == 0 ? info.f_bavail * info.f_frsize : 0;
}

std::uint64_t SmallDisk::fill(std::uint64_t leave) const {
  std::ofstream filler(mount_point() / "filler", std::ios::binary | std::ios::app);
  for (const std::size_t piece : {std::size_t{256} << 10, std::size_t{4096}, std::size_t{1}}) {
    const std::string bytes(piece, 'f');
    while (free_bytes() >= leave + piece && filler.write(bytes.data(), static_cast<std::streamsize>(piece)).flush()) {}
    filler.clear();
  }
  return fs::file_size(mount_point() / "filler");
}

}  // namespace daruma::rehearsal
