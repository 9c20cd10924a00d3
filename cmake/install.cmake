# SPDX-License-Identifier: MIT
#
# What `make install` puts where: headers, libraries, find_package(peal) and peal.pc. Everything
# finds its neighbours from its own place, so the whole may be moved, or installed elsewhere than
# configured (`cmake --install build/release --prefix ...`).
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/peal)
set(targets peal_static)
if(PEAL_SHARED)
    list(APPEND targets peal)
endif()

install(TARGETS ${targets} EXPORT peal
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/peal
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(EXPORT peal NAMESPACE peal:: FILE peal-targets.cmake DESTINATION ${package_dir})

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/peal-config.cmake.in
    ${PROJECT_BINARY_DIR}/peal-config.cmake INSTALL_DESTINATION ${package_dir})
# Before 1.0 a minor version may break programs.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/peal-config-version.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/peal-config.cmake
    ${PROJECT_BINARY_DIR}/peal-config-version.cmake DESTINATION ${package_dir})

# From the folder of peal.pc up to the prefix, and down again.
file(RELATIVE_PATH PEAL_PC_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
string(REGEX REPLACE "/$" "" PEAL_PC_PREFIX "${PEAL_PC_PREFIX}")
configure_file(${PROJECT_SOURCE_DIR}/packaging/peal.pc.in ${PROJECT_BINARY_DIR}/peal.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/peal.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
