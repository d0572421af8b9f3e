// SPDX-License-Identifier: Apache-2.0
//
// A second store beside the first, made of the same files: what drills, chaos and rollouts work on.
//
// What must stay true:
//   - The first store is read, and nothing else: not one of its bytes, names or times changes.
//   - Only what never changes once it has its name (runs, manifests) may share an inode. Log, ring, quarantine, reports
//     and notes are written in place: they are copied, or share blocks of which a file system makes copies by itself.
//   - The clone gets its name when it is whole. What a kill leaves is called otherwise, and is no store.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daruma/status.h"

namespace daruma::rehearsal {

struct CloneOptions {
  bool live = false;     ///< a writer may have the store: the clone opens as after a crash at some moment meanwhile
  bool durable = true;   ///< it survives a power cut, once made
  bool may_link = true;  ///< false: no inode is shared, also where blocks cannot be
};

struct Cloned {
  struct Part {
    std::uint64_t files = 0, bytes = 0;
  };
  Part reflinked;  ///< share blocks
  Part linked;     ///< share the inode
  Part copied;
  std::uint64_t attempts = 1;           ///< more: files went while a live store was cloned
  std::vector<std::string> left_out{};  ///< in its directory, and no part of it, by name
  std::int64_t duration_ns = 0;
};

/// Clones the store in `from` to `to`, which is not there, or is an empty directory. Errors: kNotFound (no store
/// there), kExists (`to` has something in it, or a clone before was cut off), kBusy (a writer has the store, and `live`
/// is false), kUnavailable (a live store changed too fast), kIoError, kNoSpace. After an error `to` is as it was.
Result<Cloned> clone_store(const std::string& from, const std::string& to, const CloneOptions& options = {});

/// The file at `path` gets an inode and blocks of its own, with the same bytes: what is going to be hurt must not be
/// hurt elsewhere.
Status unshare(const std::string& path);

}  // namespace daruma::rehearsal
