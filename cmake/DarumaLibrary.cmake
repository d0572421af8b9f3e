# SPDX-License-Identifier: Apache-2.0
#
# The public library, shared (daruma::daruma) and static (daruma::daruma_static), and how it is installed:
# find_package(daruma) and daruma.pc.

include(CMakePackageConfigHelpers)
file(GLOB public_headers CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/include/daruma/*.h")

set(needed_libraries PkgConfig::LZ4 Threads::Threads)
if(DARUMA_HAVE_URING)
  list(APPEND needed_libraries PkgConfig::URING)
endif()

add_library(daruma SHARED ${DARUMA_OBJECTS})
set_target_properties(daruma PROPERTIES
  LINKER_LANGUAGE CXX
  VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}
  VERIFY_INTERFACE_HEADER_SETS ON)  # every public header compiles alone: target daruma_verify_interface_header_sets
target_link_libraries(daruma PRIVATE ${needed_libraries})
target_compile_features(daruma INTERFACE cxx_std_20)
target_sources(daruma PUBLIC
  FILE_SET public_headers TYPE HEADERS BASE_DIRS "${PROJECT_SOURCE_DIR}/include" FILES ${public_headers})

add_library(daruma_static STATIC ${DARUMA_OBJECTS})
set_target_properties(daruma_static PROPERTIES LINKER_LANGUAGE CXX OUTPUT_NAME daruma)
target_link_libraries(daruma_static PRIVATE ${needed_libraries})
target_compile_features(daruma_static INTERFACE cxx_std_20)
target_include_directories(daruma_static INTERFACE
  "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>" "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")

add_library(daruma::daruma ALIAS daruma)
add_library(daruma::daruma_static ALIAS daruma_static)

install(TARGETS daruma daruma_static EXPORT daruma_targets
  LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  FILE_SET public_headers DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
set(config_dir "${CMAKE_INSTALL_LIBDIR}/cmake/daruma")
install(EXPORT daruma_targets FILE daruma-targets.cmake NAMESPACE daruma:: DESTINATION "${config_dir}")
configure_package_config_file(cmake/daruma-config.cmake.in daruma-config.cmake INSTALL_DESTINATION "${config_dir}")
write_basic_package_version_file(daruma-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/daruma-config.cmake" "${PROJECT_BINARY_DIR}/daruma-config-version.cmake"
  DESTINATION "${config_dir}")

set(pc_requires liblz4)
if(DARUMA_HAVE_URING)
  string(APPEND pc_requires " liburing")
endif()
# Where the .pc file lands, the prefix is as many levels up: an installed tree may be moved.
file(RELATIVE_PATH pc_prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
configure_file(cmake/daruma.pc.in daruma.pc @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/daruma.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")
