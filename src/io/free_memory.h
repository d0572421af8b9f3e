// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace daruma {

/// Gives the system what the allocator has kept of memory that is free. Takes milliseconds. Any thread.
void release_free_memory();

}  // namespace daruma
