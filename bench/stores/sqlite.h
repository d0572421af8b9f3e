// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sqlite3.h>

#include <vector>

#include "stores/store.h"

namespace stores {

inline constexpr const char* kSqliteFile = "/kv.db";

/// In WAL mode. `pragmas` are run on every connection, in order; an answer "ok" is asked of integrity_check. Nothing:
/// it does not open.
std::unique_ptr<Store> open_sqlite(const std::string& directory, std::vector<std::string> pragmas);

}  // namespace stores
