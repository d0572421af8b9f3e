// SPDX-License-Identifier: Apache-2.0
#include "io/memory.h"

#include <malloc.h>
#include <sys/mman.h>

namespace daruma {

void prefer_huge_pages(char* memory, std::size_t bytes) { ::madvise(memory, bytes, MADV_HUGEPAGE); }

void release_free_memory() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

}  // namespace daruma
