# SPDX-License-Identifier: MIT
#
# What `make install` puts where: headers, libraries, find_package(peal), peal.pc, the program `peal`
# with what shells complete, and man pages. All finds its neighbours from its own place, so the whole
# may be moved, or installed elsewhere than configured (`cmake --install build/release --prefix ...`).
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
if(PEAL_CLI)
    install(TARGETS peal_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    install(FILES ${PROJECT_SOURCE_DIR}/packaging/completions/peal.bash
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME peal)
    install(FILES ${PROJECT_SOURCE_DIR}/packaging/completions/_peal
        DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
    # systemd looks there in /usr and in /usr/local; elsewhere it is to be linked or copied.
    install(FILES ${PROJECT_SOURCE_DIR}/packaging/systemd/peal.service
        DESTINATION lib/systemd/system)
    install(FILES ${PROJECT_SOURCE_DIR}/packaging/peal.yaml DESTINATION ${CMAKE_INSTALL_DOCDIR})
endif()
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

# docs/man/peal_publish.3.scd becomes the page peal_publish.3. The other functions it names get pages
# that lead to it.
find_program(PEAL_SCDOC scdoc)
if(NOT PEAL_SCDOC)
    message(STATUS "man pages: left out, there is no scdoc: "
                   "run `make deps` or install scdoc, and configure again")
    return()
endif()
file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/docs/man/*.scd)
if(NOT PEAL_CLI) # what is about the program, and its configuration
    list(FILTER sources EXCLUDE REGEX "[.][15][.]scd$")
endif()
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${sources})
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/man)
foreach(source IN LISTS sources)
    cmake_path(GET source STEM LAST_ONLY page)
    cmake_path(GET page EXTENSION LAST_ONLY section)
    string(SUBSTRING ${section} 1 -1 section)
    execute_process(COMMAND ${PEAL_SCDOC} INPUT_FILE ${source}
        OUTPUT_FILE ${PROJECT_BINARY_DIR}/man/${page} COMMAND_ERROR_IS_FATAL ANY)
    set(pages ${PROJECT_BINARY_DIR}/man/${page})
    file(STRINGS ${source} names REGEX "^peal.* - ")
    string(REGEX MATCHALL "peal_[a-z_]+" names "${names}")
    foreach(name IN LISTS names)
        if(NOT ${name}.${section} STREQUAL page)
            file(WRITE ${PROJECT_BINARY_DIR}/man/${name}.${section} ".so man${section}/${page}\n")
            list(APPEND pages ${PROJECT_BINARY_DIR}/man/${name}.${section})
        endif()
    endforeach()
    install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()
