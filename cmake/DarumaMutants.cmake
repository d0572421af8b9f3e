# SPDX-License-Identifier: Apache-2.0
#
# Tests of the tests: tests/mutants.cmake lists mistakes, each a text that stands once in one source and what to put in its
# place. With DARUMA_MUTANT set to a name, that source is compiled with the mistake; `tools/dev mutants` sees to it that the
# named test then fails. As a script (cmake -P) this prints "NAME TEST" for each, and fails when a text no longer stands
# exactly once.

set(DARUMA_MUTANT "" CACHE STRING "Build with this mistake of tests/mutants.cmake")
set(DARUMA_MUTATED "")  # the source that has it

# Called by the list. `test`: a program in tests/, with a filter of GoogleTest behind a colon.
function(mutant name source test find replace)
  file(READ "${root}/src/${source}" text)
  string(FIND "${text}" "${find}" first)
  string(FIND "${text}" "${find}" last REVERSE)
  if(first EQUAL -1 OR NOT first EQUAL last)
    message(FATAL_ERROR "mutant ${name}: its text does not stand exactly once in src/${source}")
  endif()
  if(CMAKE_SCRIPT_MODE_FILE)
    execute_process(COMMAND "${CMAKE_COMMAND}" -E echo "${name} ${test}")
  elseif(name STREQUAL DARUMA_MUTANT)
    string(REPLACE "${find}" "${replace}" text "${text}")
    file(WRITE "${CMAKE_BINARY_DIR}/mutant/${source}" "${text}")
    set(DARUMA_MUTATED "${source}" PARENT_SCOPE)
  endif()
endfunction()

if(CMAKE_SCRIPT_MODE_FILE)
  cmake_path(GET CMAKE_CURRENT_LIST_DIR PARENT_PATH root)
  include("${root}/tests/mutants.cmake")
elseif(DARUMA_MUTANT)
  set(root "${PROJECT_SOURCE_DIR}")
  include("${root}/tests/mutants.cmake")
  if(NOT DARUMA_MUTATED)
    message(FATAL_ERROR "tests/mutants.cmake has no '${DARUMA_MUTANT}'")
  endif()
endif()
