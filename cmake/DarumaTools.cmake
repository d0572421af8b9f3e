# SPDX-License-Identifier: Apache-2.0
# kvctl links the rooms, not the shared library: inspection looks at formats that the public API does not show.

file(GLOB kvctl_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tools/kvctl/*.cc")
if(kvctl_sources)
  find_package(CLI11 REQUIRED)
  find_package(fmt REQUIRED)
  find_package(nlohmann_json REQUIRED)
  list(REMOVE_ITEM kvctl_sources "${PROJECT_SOURCE_DIR}/tools/kvctl/main.cc")
  add_library(daruma_kvctl STATIC ${kvctl_sources})  # a library, so that fuzz programs reach its readers
  target_include_directories(daruma_kvctl PUBLIC "${PROJECT_SOURCE_DIR}/tools")
  target_link_libraries(daruma_kvctl PUBLIC daruma_rehearsal CLI11::CLI11 fmt::fmt nlohmann_json::nlohmann_json)
  target_compile_definitions(daruma_kvctl PUBLIC DARUMA_VERSION="${PROJECT_VERSION}")
  add_executable(kvctl "${PROJECT_SOURCE_DIR}/tools/kvctl/main.cc")
  target_link_libraries(kvctl PRIVATE daruma_kvctl)
  find_path(DARUMA_EDITLINE_INCLUDE histedit.h)
  find_library(DARUMA_EDITLINE_LIBRARY edit)
  mark_as_advanced(DARUMA_EDITLINE_INCLUDE DARUMA_EDITLINE_LIBRARY)
  if(DARUMA_EDITLINE_INCLUDE AND DARUMA_EDITLINE_LIBRARY)
    target_compile_definitions(daruma_kvctl PUBLIC DARUMA_HAVE_EDITLINE=1)
    target_link_libraries(daruma_kvctl PUBLIC ${DARUMA_EDITLINE_LIBRARY})
  endif()
  install(TARGETS kvctl RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()
