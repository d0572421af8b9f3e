# SPDX-License-Identifier: Apache-2.0
# The demonstration (tools/demo plays it). demo_catalogue is a user like any other: the public headers and the shared
# library. demo_wounds hurts files on purpose and knows their formats, so it links rooms.

file(GLOB demo_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tools/demo_catalogue/*.cc")
add_executable(demo_catalogue ${demo_sources})
target_include_directories(demo_catalogue PRIVATE "${PROJECT_SOURCE_DIR}/tools")
target_link_libraries(demo_catalogue PRIVATE daruma::daruma)

add_executable(demo_wounds "${PROJECT_SOURCE_DIR}/tools/demo_wounds/main.cc")
target_link_libraries(demo_wounds PRIVATE daruma_snapshot)

# What a flood on one keyspace does to another, without limits and with them.
add_executable(demo_bulkheads "${PROJECT_SOURCE_DIR}/tools/demo_bulkheads/main.cc")
target_link_libraries(demo_bulkheads PRIVATE daruma::daruma)

# How the store heals itself while it runs, one scenario for each of its means; a user like any other too.
file(GLOB demo_healing_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tools/demo_healing/*.cc")
add_executable(demo_healing ${demo_healing_sources} "${PROJECT_SOURCE_DIR}/tools/demo_catalogue/stage.cc"
  "${PROJECT_SOURCE_DIR}/tools/rehearsal/small_disk.cc")
target_include_directories(demo_healing PRIVATE "${PROJECT_SOURCE_DIR}/tools")
target_link_libraries(demo_healing PRIVATE daruma::daruma)
