// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace daruma {

/// A sanitizer makes everything several times slower. The longest tests take a part of their cases under one, and all
/// of them in the release build, where CI runs them too.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)  // g++
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)
inline constexpr bool kSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace daruma
