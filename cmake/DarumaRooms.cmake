# SPDX-License-Identifier: Apache-2.0
#
# daruma_room(<room> [<room below>...]): target daruma_<room> from src/<room>/*.cc. A room of headers only is an INTERFACE
# target, so that the rooms above link the same way.

set(DARUMA_ROOMS "")    # every room target, lowest first
set(DARUMA_COVERED_ROOMS wal run snapshot recovery)  # by `tools/dev coverage`
set(DARUMA_OBJECTS "")  # the objects of those that have any

function(daruma_room room)
  set(target daruma_${room})
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/${room}/*.cc")
  if(DARUMA_MUTATED MATCHES "^${room}/")
    set(mutated "${CMAKE_BINARY_DIR}/mutant/${DARUMA_MUTATED}")
    list(TRANSFORM sources REPLACE "^${PROJECT_SOURCE_DIR}/src/${DARUMA_MUTATED}$" "${mutated}")
    set_source_files_properties("${mutated}" PROPERTIES COMPILE_OPTIONS "-Wno-error;-O0")
  endif()
  if(sources)
    add_library(${target} STATIC ${sources})
    set(scope PUBLIC)
    set(DARUMA_OBJECTS ${DARUMA_OBJECTS} $<TARGET_OBJECTS:${target}> PARENT_SCOPE)
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  set(DARUMA_ROOMS ${DARUMA_ROOMS} ${target} PARENT_SCOPE)
  if(DARUMA_COVERAGE AND room IN_LIST DARUMA_COVERED_ROOMS)
    target_compile_options(${target} PRIVATE ${DARUMA_PROFILED})
  endif()

  foreach(below IN LISTS ARGN)
    target_link_libraries(${target} ${scope} daruma_${below})
  endforeach()
  if(room STREQUAL "base")
    target_include_directories(${target} ${scope} "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/src")
    target_include_directories(${target} SYSTEM ${scope} "${DARUMA_XXHASH_INCLUDE}")
    target_link_libraries(${target} ${scope} PkgConfig::LZ4 Threads::Threads)
  endif()
  if(room STREQUAL "io" AND DARUMA_HAVE_URING)
    target_compile_definitions(${target} ${scope} DARUMA_HAVE_URING=1)
    target_link_libraries(${target} ${scope} PkgConfig::URING)
  endif()
endfunction()
