// SPDX-License-Identifier: Apache-2.0
#include "io/memory.h"

#include <malloc.h>
#include <sys/mman.h>

namespace daruma {
namespace {

constexpr std::size_t kPageBytes = 4096;

}  // namespace

void prefer_huge_pages(char* memory, std::size_t bytes) { ::madvise(memory, bytes, MADV_HUGEPAGE); }

void prefault(char* memory, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += kPageBytes) *static_cast<volatile char*>(memory + at) = 0;
}

void release_free_memory() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

}  // namespace daruma
