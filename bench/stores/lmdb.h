// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <lmdb.h>

#include "stores/store.h"

namespace stores {

/// Nothing: it does not open.
MDB_env* open_lmdb_env(const std::string& directory, unsigned flags, std::size_t map_bytes);
std::unique_ptr<Store> open_lmdb(const std::string& directory, unsigned flags, std::size_t map_bytes);
std::string lmdb_version();

}  // namespace stores
