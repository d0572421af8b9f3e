// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <rocksdb/options.h>

#include "stores/store.h"

namespace stores {

/// Nothing: it does not open. `sync`: of every write.
std::unique_ptr<Store> open_rocksdb(const std::string& directory, const ::rocksdb::Options& options, bool sync);

}  // namespace stores
