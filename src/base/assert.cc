// SPDX-License-Identifier: Apache-2.0
#include "base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace daruma {

void assertion_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "daruma: invariant broken: %s (%s:%d); stopping, the next open recovers\n", expression, file,
               line);
  std::abort();
}

}  // namespace daruma
