// SPDX-License-Identifier: Apache-2.0
#include "io/memory.h"

#include <malloc.h>
#include <sys/mman.h>

#include <cstdint>

namespace daruma {
namespace {

constexpr std::size_t kPageBytes = 4096;

}  // namespace

char* map_huge_page() {
  void* const mapped = ::mmap(nullptr, 2 * kHugePageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  auto* const begin = static_cast<char*>(mapped);
  const std::size_t before = -reinterpret_cast<std::uintptr_t>(begin) % kHugePageBytes;
  char* const page = begin + before;
  if (before != 0) ::munmap(begin, before);
  ::munmap(page + kHugePageBytes, kHugePageBytes - before);
  ::madvise(page, kHugePageBytes, MADV_HUGEPAGE);
  return page;
}

void unmap_huge_page(char* page) { ::munmap(page, kHugePageBytes); }

void prefault(char* memory, std::size_t bytes) {
  constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE (Linux 5.14), which older headers lack
  const std::size_t before = -reinterpret_cast<std::uintptr_t>(memory) % kPageBytes;
  if (bytes < before + kPageBytes) return;
  const std::size_t pages = (bytes - before) / kPageBytes;
  char* const first = memory + before;
  if (::madvise(first, pages * kPageBytes, kPopulateWrite) == 0) return;
  for (std::size_t i = 0; i < pages; ++i) *static_cast<volatile char*>(first + i * kPageBytes) = 0;
}

void release_free_memory() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

}  // namespace daruma
