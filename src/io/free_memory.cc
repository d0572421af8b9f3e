// SPDX-License-Identifier: Apache-2.0
#include "io/free_memory.h"

#include <malloc.h>

namespace daruma {

void release_free_memory() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

}  // namespace daruma
