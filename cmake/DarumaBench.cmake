# SPDX-License-Identifier: Apache-2.0
# bench/: the hot parts, the race and the survival matrix. The latter two go without stores of others that are not
# installed.

function(bench_program name)
  add_executable(${name} ${ARGN})
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/bench")
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bench")
endfunction()

# Every hot part, under Google Benchmark.
find_package(benchmark REQUIRED)
file(GLOB bench_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/bench/*_bench.cc")
bench_program(hot_parts ${bench_sources})
target_link_libraries(hot_parts PRIVATE ${DARUMA_ROOMS} benchmark::benchmark benchmark::benchmark_main)

# The race: a program that plans and reports, and one for each store, which it runs. bench/stores/ holds one way to ask all
# stores, for the survival matrix too.
set(race "${PROJECT_SOURCE_DIR}/bench/race")
add_library(race_trials STATIC "${race}/trials.cc" "${race}/write_trials.cc" "${race}/read_trials.cc"
  "${race}/mixed_trials.cc" "${race}/recovery_trials.cc" "${race}/growth_trials.cc" "${race}/process.cc")
target_include_directories(race_trials PUBLIC "${PROJECT_SOURCE_DIR}/bench")
target_link_libraries(race_trials PUBLIC daruma_base)
find_package(nlohmann_json REQUIRED)
bench_program(race "${PROJECT_SOURCE_DIR}/bench/race.cc" "${race}/results.cc" "${race}/figures.cc" "${race}/report.cc"
  "${race}/pictures.cc" "${race}/rows.cc")
bench_program(compare "${PROJECT_SOURCE_DIR}/bench/compare.cc")
foreach(program race compare)
  target_link_libraries(${program} PRIVATE nlohmann_json::nlohmann_json)
endforeach()

function(racer name source)
  bench_program(race_${name} "${race}/racer.cc" "${race}/${source}.cc")
  target_link_libraries(race_${name} PRIVATE race_trials ${ARGN})
  target_compile_definitions(race_${name} PRIVATE RACE_NAME="${name}")
  add_dependencies(race race_${name})
endfunction()

racer(reference reference)
target_compile_definitions(race_reference PRIVATE RACE_REFERENCE)
if(DARUMA_HAVE_URING)
  target_compile_definitions(race_reference PRIVATE RACE_URING)
  target_link_libraries(race_reference PRIVATE PkgConfig::URING)
endif()

function(store name source)
  add_library(store_${name} OBJECT "${PROJECT_SOURCE_DIR}/bench/stores/${source}.cc")
  target_include_directories(store_${name} PUBLIC "${PROJECT_SOURCE_DIR}/bench")
  target_link_libraries(store_${name} PUBLIC Threads::Threads ${ARGN})
  racer(${name} ${source} store_${name})
endfunction()

store(daruma daruma ${DARUMA_ROOMS})

# peer(<name> <source> <library> <header> [<where>]): a store of others, where it is installed.
function(peer name source library header)
  string(TOUPPER ${name} upper)
  set(places "")
  if(ARGN)
    set(places HINTS "${ARGN}" PATH_SUFFIXES include lib NO_DEFAULT_PATH)
  endif()
  find_path(DARUMA_${upper}_INCLUDE ${header} ${places})
  find_library(DARUMA_${upper}_LIBRARY ${library} ${places})
  mark_as_advanced(DARUMA_${upper}_INCLUDE DARUMA_${upper}_LIBRARY)
  if(DARUMA_${upper}_INCLUDE AND DARUMA_${upper}_LIBRARY)
    store(${name} ${source} "${DARUMA_${upper}_LIBRARY}")
    target_include_directories(store_${name} SYSTEM PUBLIC "${DARUMA_${upper}_INCLUDE}")
  else()
    message(STATUS "bench goes without ${name}, which is not installed")
  endif()
endfunction()

peer(leveldb leveldb leveldb leveldb/db.h)
peer(rocksdb rocksdb rocksdb rocksdb/db.h)
peer(lmdb lmdb lmdb lmdb.h)
peer(sqlite sqlite sqlite3 sqlite3.h)
peer(wiredtiger wiredtiger wiredtiger wiredtiger.h)
find_library(DARUMA_WIREDTIGER_SNAPPY wiredtiger_snappy)
mark_as_advanced(DARUMA_WIREDTIGER_SNAPPY)
if(TARGET race_wiredtiger AND DARUMA_WIREDTIGER_SNAPPY)
  target_compile_definitions(race_wiredtiger PRIVATE RACE_WIREDTIGER_SNAPPY="${DARUMA_WIREDTIGER_SNAPPY}")
endif()

# Debian's LevelDB and RocksDB carry assertions: a release build of the same version, installed elsewhere, races as one
# more store.
foreach(name leveldb rocksdb)
  string(TOUPPER ${name} upper)
  set(DARUMA_RACE_${upper}_ROOT "" CACHE PATH "Where a release build of ${name} is installed")
  if(DARUMA_RACE_${upper}_ROOT)
    peer(${name}_release ${name} ${name} ${name}/db.h "${DARUMA_RACE_${upper}_ROOT}")
  endif()
endforeach()

# The survival matrix.
set(survive "${PROJECT_SOURCE_DIR}/bench/survive")
bench_program(survive "${PROJECT_SOURCE_DIR}/bench/survive.cc"
  "${survive}/daruma.cc" "${survive}/results.cc" "${survive}/trial.cc")
target_link_libraries(survive PRIVATE store_daruma daruma_faults)
foreach(name leveldb rocksdb lmdb sqlite wiredtiger)
  if(TARGET store_${name})
    string(TOUPPER ${name} upper)
    target_sources(survive PRIVATE "${survive}/${name}.cc")
    target_link_libraries(survive PRIVATE store_${name})
    target_compile_definitions(survive PRIVATE SURVIVE_${upper})
  endif()
endforeach()
