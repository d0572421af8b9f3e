# SPDX-License-Identifier: Apache-2.0
# One libFuzzer program per fuzz/fuzz_*.cc; the rooms under it are instrumented too (DarumaFlags).

file(GLOB fuzz_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/fuzz/fuzz_*.cc")
foreach(source IN LISTS fuzz_sources)
  cmake_path(GET source STEM name)
  add_executable(${name} "${source}")
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/fuzz")
  target_link_libraries(${name} PRIVATE daruma_simulation ${DARUMA_ROOMS})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/fuzz")
endforeach()
