// SPDX-License-Identifier: Apache-2.0
// What the system is told about the memory of the process.
#pragma once

#include <cstddef>

namespace daruma {

/// A wish: these bytes, which begin and end at a huge page, as huge pages. Any thread.
void prefer_huge_pages(char* memory, std::size_t bytes);

/// What is new from the kernel is cleared now, by this thread, and not when it is first used. What it holds is not
/// kept.
void prefault(char* memory, std::size_t bytes);

/// Gives the system what the allocator has kept of memory that is free. Takes milliseconds. Any thread.
void release_free_memory();

}  // namespace daruma
