# SPDX-License-Identifier: Apache-2.0
# The simulation of the whole store: a library, for its program, its test and its fuzz target.

file(GLOB simulation_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/fuzz/simulation/*.cc")
add_library(daruma_simulation STATIC ${simulation_sources})
target_include_directories(daruma_simulation PUBLIC "${PROJECT_SOURCE_DIR}/fuzz")
target_link_libraries(daruma_simulation PUBLIC daruma_engine)

if(NOT DARUMA_FUZZ)
  add_executable(simulate "${PROJECT_SOURCE_DIR}/fuzz/simulate.cc")
  target_link_libraries(simulate PRIVATE daruma_simulation)
  set_target_properties(simulate PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/fuzz")
endif()
