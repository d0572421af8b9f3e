// SPDX-License-Identifier: Apache-2.0
// What the system is told about the memory of the process.
#pragma once

#include <cstddef>

namespace daruma {

inline constexpr std::size_t kHugePageBytes = 2 << 20;

/// A huge page, or as many small ones where the system has none to spare; null where memory is short. It is not the
/// allocator's: that would carve up what comes back for other sizes, and keep it. Any thread.
char* map_huge_page();
void unmap_huge_page(char* page);

/// Memory that is about to be written, all of it: what is new from the kernel is cleared now, by this thread, and not
/// page by page when it is first used, which takes twice as long. What it holds is not kept. Any thread.
void prefault(char* memory, std::size_t bytes);

/// Gives the system what the allocator has kept of memory that is free. Takes milliseconds. Any thread.
void release_free_memory();

}  // namespace daruma
