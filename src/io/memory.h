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

/// What is new from the kernel is cleared now, by this thread, and not when it is first used. What it holds is not
/// kept.
void prefault(char* memory, std::size_t bytes);

/// What is about to be written, all of it: the kernel brings it in by one call, which takes it half as long as when
/// each page is asked for. What it holds stays. Any thread.
void populate(char* memory, std::size_t bytes);

/// Gives the system what the allocator has kept of memory that is free. Takes milliseconds. Any thread.
void release_free_memory();

}  // namespace daruma
