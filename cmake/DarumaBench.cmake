# SPDX-License-Identifier: Apache-2.0
# One program per bench/*.cc. The race needs the stores that it runs against; it is left out where they are not installed.

function(daruma_bench source)
  cmake_path(GET source STEM name)
  add_executable(${name} "${source}" ${ARGN})
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/bench")
  target_link_libraries(${name} PRIVATE ${DARUMA_ROOMS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bench")
endfunction()

find_package(benchmark REQUIRED)
file(GLOB bench_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/bench/*_bench.cc")
foreach(source IN LISTS bench_sources)
  daruma_bench("${source}")
  cmake_path(GET source STEM name)
  target_link_libraries(${name} PRIVATE benchmark::benchmark)
endforeach()

find_path(DARUMA_LMDB_INCLUDE lmdb.h)
find_library(DARUMA_LMDB_LIBRARY lmdb)
find_path(DARUMA_LEVELDB_INCLUDE leveldb/db.h)
find_library(DARUMA_LEVELDB_LIBRARY leveldb)
find_path(DARUMA_ROCKSDB_INCLUDE rocksdb/db.h)
find_library(DARUMA_ROCKSDB_LIBRARY rocksdb)
mark_as_advanced(DARUMA_LMDB_INCLUDE DARUMA_LMDB_LIBRARY DARUMA_LEVELDB_INCLUDE DARUMA_LEVELDB_LIBRARY
  DARUMA_ROCKSDB_INCLUDE DARUMA_ROCKSDB_LIBRARY)
if(DARUMA_LMDB_LIBRARY AND DARUMA_LEVELDB_LIBRARY AND DARUMA_ROCKSDB_LIBRARY)
  file(GLOB race_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/bench/race/*.cc")
  daruma_bench("${PROJECT_SOURCE_DIR}/bench/race.cc" ${race_sources})
  target_include_directories(race SYSTEM PRIVATE
    "${DARUMA_LMDB_INCLUDE}" "${DARUMA_LEVELDB_INCLUDE}" "${DARUMA_ROCKSDB_INCLUDE}")
  target_link_libraries(race PRIVATE
    "${DARUMA_LMDB_LIBRARY}" "${DARUMA_LEVELDB_LIBRARY}" "${DARUMA_ROCKSDB_LIBRARY}")
else()
  message(STATUS "bench/race.cc is left out: it needs libleveldb-dev, librocksdb-dev and liblmdb-dev")
endif()

# The survival matrix: each store that is installed, Daruma in any case.
find_path(DARUMA_SQLITE_INCLUDE sqlite3.h)
find_library(DARUMA_SQLITE_LIBRARY sqlite3)
find_path(DARUMA_WIREDTIGER_INCLUDE wiredtiger.h)
find_library(DARUMA_WIREDTIGER_LIBRARY wiredtiger)
mark_as_advanced(DARUMA_SQLITE_INCLUDE DARUMA_SQLITE_LIBRARY DARUMA_WIREDTIGER_INCLUDE DARUMA_WIREDTIGER_LIBRARY)
set(survive "${PROJECT_SOURCE_DIR}/bench/survive")
daruma_bench("${PROJECT_SOURCE_DIR}/bench/survive.cc"
  "${survive}/daruma.cc" "${survive}/fault.cc" "${survive}/results.cc" "${survive}/trial.cc")
foreach(peer LEVELDB ROCKSDB LMDB SQLITE WIREDTIGER)
  string(TOLOWER ${peer} file)
  if(DARUMA_${peer}_LIBRARY AND DARUMA_${peer}_INCLUDE)
    target_sources(survive PRIVATE "${survive}/${file}.cc")
    target_include_directories(survive SYSTEM PRIVATE "${DARUMA_${peer}_INCLUDE}")
    target_link_libraries(survive PRIVATE "${DARUMA_${peer}_LIBRARY}")
    target_compile_definitions(survive PRIVATE SURVIVE_${peer})
  else()
    message(STATUS "bench/survive.cc goes without ${file}: lib${file}-dev is not installed")
  endif()
endforeach()
