// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <leveldb/db.h>

#include "stores/store.h"

namespace stores {

struct LevelDbUse {
  bool sync = false;                   ///< of every write
  bool verify = false;                 ///< checksums, on every read
  std::shared_ptr<const void> keep{};  ///< what the options point to
};
/// Nothing: it does not open.
std::unique_ptr<Store> open_leveldb(const std::string& directory, const ::leveldb::Options& options,
                                    const LevelDbUse& use);

}  // namespace stores
