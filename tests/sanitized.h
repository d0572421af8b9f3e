// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace daruma {

/// A sanitizer makes everything several times slower. The longest tests take a part of their cases under one, and all
/// of them in the release build, where CI runs them too.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace daruma
