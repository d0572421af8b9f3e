# SPDX-License-Identifier: Apache-2.0
# The entry points of fuzz/ as a library, for the test that replays the corpus; with DARUMA_FUZZ, one program for each,
# for libFuzzer or, with afl-clang-fast++, for AFL++. The rooms under it are instrumented too (DarumaFlags).

add_library(daruma_entry_points STATIC
  "${PROJECT_SOURCE_DIR}/fuzz/entry_points.cc"
  "${PROJECT_SOURCE_DIR}/fuzz/run_entry_points.cc"
  "${PROJECT_SOURCE_DIR}/fuzz/wal_entry_points.cc")
target_link_libraries(daruma_entry_points PUBLIC daruma_simulation)
set(entry_headers "${PROJECT_SOURCE_DIR}/fuzz/entry_points.h")
if(TARGET daruma_kvctl)
  target_sources(daruma_entry_points PRIVATE "${PROJECT_SOURCE_DIR}/fuzz/row_entry_points.cc")
  target_link_libraries(daruma_entry_points PUBLIC daruma_kvctl)
  target_compile_definitions(daruma_entry_points PUBLIC DARUMA_FUZZ_ROWS)
  list(APPEND entry_headers "${PROJECT_SOURCE_DIR}/fuzz/row_entry_points.h")
endif()
if(NOT DARUMA_FUZZ)
  return()
endif()

add_custom_target(fuzz_programs)
foreach(header IN LISTS entry_headers)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${header}")
  file(STRINGS "${header}" entries REGEX "^void [a-z_]+\\(std::string_view input\\);")
  foreach(entry IN LISTS entries)
    string(REGEX REPLACE "^void ([a-z_]+).*" "\\1" entry "${entry}")
    add_executable(fuzz_${entry} "${PROJECT_SOURCE_DIR}/fuzz/fuzz_target.cc")
    target_link_libraries(fuzz_${entry} PRIVATE daruma_entry_points)
    target_compile_definitions(fuzz_${entry} PRIVATE DARUMA_FUZZ_ENTRY=${entry})
    if(NOT CMAKE_CXX_COMPILER MATCHES "afl-clang")
      target_compile_definitions(fuzz_${entry} PRIVATE DARUMA_FUZZ_MENDS)
    endif()
    target_link_options(fuzz_${entry} PRIVATE -fsanitize=fuzzer)
    set_target_properties(fuzz_${entry} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/fuzz")
    add_dependencies(fuzz_programs fuzz_${entry})
  endforeach()
endforeach()
