# SPDX-License-Identifier: Apache-2.0
# What the library itself needs. Tests, tools and benches look for their own.

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(LZ4 REQUIRED IMPORTED_TARGET liblz4)
find_path(DARUMA_XXHASH_INCLUDE xxhash.h REQUIRED)  # header only: XXH_INLINE_ALL
mark_as_advanced(DARUMA_XXHASH_INCLUDE)

set(DARUMA_HAVE_URING OFF)
if(DARUMA_URING)
  pkg_check_modules(URING IMPORTED_TARGET liburing)
  if(URING_FOUND)
    set(DARUMA_HAVE_URING ON)
  endif()
endif()
