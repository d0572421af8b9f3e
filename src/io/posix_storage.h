// SPDX-License-Identifier: Apache-2.0
// The real disk: pread, pwrite, fdatasync, and io_uring with O_DIRECT + RWF_DSYNC where the system takes them.
#pragma once

#include <memory>
#include <string>

#include "io/storage.h"

namespace daruma {

/// Each feature is probed at run time and left out when refused; `false` forces the fallback. The environment can force
/// it too: DARUMA_IO=no_uring,no_direct,no_dsync (any subset).
struct PosixStorageOptions {
  bool use_io_uring = true;
  bool use_direct = true;
  bool use_dsync = true;
  /// Told instead of the machine's: for files that lost what was not durable although the machine runs on.
  std::string boot_id{};
};

std::shared_ptr<Storage> make_posix_storage(const PosixStorageOptions& options = {});

}  // namespace daruma
