// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>

#include "entry_points.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  daruma::fuzz::recover({reinterpret_cast<const char*>(data), size});
  return 0;
}
