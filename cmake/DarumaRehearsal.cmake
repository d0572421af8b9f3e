# SPDX-License-Identifier: Apache-2.0
# tools/rehearsal: failures on purpose, on a clone of a store. kvctl and its tests link all of it; the survival matrix
# links the faults alone.

set(rehearsal "${PROJECT_SOURCE_DIR}/tools/rehearsal")
add_library(daruma_faults STATIC EXCLUDE_FROM_ALL "${rehearsal}/fault.cc")
target_include_directories(daruma_faults PUBLIC "${PROJECT_SOURCE_DIR}/tools")
target_link_libraries(daruma_faults PUBLIC daruma_wal)

file(GLOB rehearsal_sources CONFIGURE_DEPENDS "${rehearsal}/*.cc")
list(REMOVE_ITEM rehearsal_sources "${rehearsal}/fault.cc")
add_library(daruma_rehearsal STATIC EXCLUDE_FROM_ALL ${rehearsal_sources})
target_link_libraries(daruma_rehearsal PUBLIC daruma_faults daruma_engine)
