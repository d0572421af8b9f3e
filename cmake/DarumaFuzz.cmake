# SPDX-License-Identifier: Apache-2.0
# One program per entry point of fuzz/, for libFuzzer or, with afl-clang-fast++, for AFL++. The rooms under it are
# instrumented too (DarumaFlags).

if(CMAKE_CXX_COMPILER MATCHES "afl-clang")
  set(fuzz_definitions "")
else()
  set(fuzz_definitions DARUMA_FUZZ_MENDS)
endif()

function(daruma_fuzz entry)
  add_executable(fuzz_${entry} "${PROJECT_SOURCE_DIR}/fuzz/fuzz_target.cc")
  target_include_directories(fuzz_${entry} PRIVATE "${PROJECT_SOURCE_DIR}/fuzz")
  target_compile_definitions(fuzz_${entry} PRIVATE DARUMA_FUZZ_ENTRY=${entry} ${fuzz_definitions})
  target_link_libraries(fuzz_${entry} PRIVATE daruma_simulation ${DARUMA_ROOMS})
  target_link_options(fuzz_${entry} PRIVATE -fsanitize=fuzzer)
  set_target_properties(fuzz_${entry} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/fuzz")
  add_dependencies(fuzz_programs fuzz_${entry})
endfunction()

add_custom_target(fuzz_programs)
file(STRINGS "${PROJECT_SOURCE_DIR}/fuzz/entry_points.h" entries REGEX "^inline void [a-z_]+\\(std::string_view input\\)")
foreach(entry IN LISTS entries)
  string(REGEX REPLACE "^inline void ([a-z_]+).*" "\\1" entry "${entry}")
  daruma_fuzz(${entry})
endforeach()
if(TARGET daruma_kvctl)
  daruma_fuzz(rows)
  target_compile_definitions(fuzz_rows PRIVATE DARUMA_FUZZ_ROWS)
  target_link_libraries(fuzz_rows PRIVATE daruma_kvctl)
endif()
