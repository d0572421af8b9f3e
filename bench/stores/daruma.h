// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daruma/store.h"
#include "stores/store.h"

namespace stores {

/// Its keyspace "kv". Nothing in it is wrong with the store when that is not there: `get` tells.
std::unique_ptr<Store> of_daruma(::daruma::Store::Opened opened, ::daruma::Durability durability);

}  // namespace stores
