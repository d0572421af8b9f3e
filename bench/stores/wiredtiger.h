// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <wiredtiger.h>

#include "stores/store.h"

namespace stores {

inline constexpr const char* kWiredTigerTable = "table:kv";

struct WiredTigerUse {
  std::string connection;                             ///< as wiredtiger_open takes it
  std::string table = "key_format=u,value_format=u";  ///< as session.create takes it
  bool verify = false;                                ///< session.verify before anything else
};
/// Nothing: it does not open.
std::unique_ptr<Store> open_wiredtiger(const std::string& directory, const WiredTigerUse& use);

}  // namespace stores
