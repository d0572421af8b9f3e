// SPDX-License-Identifier: Apache-2.0
//
// Invariants. A broken one stops the process, in release builds too: the only safe way on is recovery.
#pragma once

namespace daruma {
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line);
}  // namespace daruma

#define DARUMA_ASSERT(condition)                               \
  (__builtin_expect(static_cast<bool>(condition), 1) ? (void)0 \
                                                     : ::daruma::assertion_failed(#condition, __FILE__, __LINE__))
