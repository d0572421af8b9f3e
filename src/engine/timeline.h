// SPDX-License-Identifier: Apache-2.0
// How far back a store can be reconstructed; see daruma/history.h.
#pragma once

#include <string>

#include "daruma/history.h"
#include "io/storage.h"

namespace daruma {

Result<Timeline> timeline_of(Storage& storage, const std::string& directory);

}  // namespace daruma
