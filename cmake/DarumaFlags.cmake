# SPDX-License-Identifier: Apache-2.0
# Language, warnings, sanitizers and ccache, for everything built in this directory.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

add_compile_options(-Wall -Wextra)
if(DARUMA_WERROR)
  add_compile_options(-Werror)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  add_compile_options(-Wthread-safety)  # base/mutex.h carries the annotations; g++ ignores them
endif()

if(DARUMA_SANITIZE)
  # Without no-sanitize-recover, UBSan only prints and a test that found undefined behaviour would pass.
  # Its vptr check opens a pipe to look at memory, so it calls every object wrong once descriptors have run out (limits_test).
  add_compile_options(-fsanitize=${DARUMA_SANITIZE} -fno-sanitize=vptr -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${DARUMA_SANITIZE})
endif()
# Programs around the library, where a sanitizer watches: what takes long to compile and finds little in them is left out.
set(DARUMA_LIGHTER_CHECKS "")
if(DARUMA_SANITIZE AND NOT DARUMA_FUZZ)
  set(DARUMA_LIGHTER_CHECKS -fno-sanitize=undefined -O0)
endif()
if(DARUMA_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "DARUMA_FUZZ needs clang++: libFuzzer is part of it (cmake --preset fuzz)")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
  add_compile_definitions(DARUMA_FUZZ)  # checksum_holds tells fuzz/mend.h
endif()
if(DARUMA_COVERAGE)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "DARUMA_COVERAGE needs clang++, which counts conditions as they stand in the source (cmake --preset coverage)")
  endif()
  # Counters that are written by every thread, and to a file that outlives a process that is killed (%c in LLVM_PROFILE_FILE).
  set(DARUMA_PROFILED -fprofile-instr-generate -fcoverage-mapping -fprofile-update=atomic "SHELL:-mllvm -runtime-counter-relocation")
  add_link_options(-fprofile-instr-generate)
endif()

find_program(DARUMA_CCACHE ccache)
mark_as_advanced(DARUMA_CCACHE)
if(DARUMA_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${DARUMA_CCACHE}")
endif()
# Without these ccache keeps nothing that was compiled with precompiled headers (and tools/dev sets CCACHE_SLOPPINESS).
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  add_compile_options(-Xclang -fno-pch-timestamp)
else()
  set(DARUMA_PRECOMPILED -fpch-preprocess)
endif()
