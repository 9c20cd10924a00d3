# SPDX-License-Identifier: MIT
#
# What nobody here wrote, to check the service with: npm packages, brought into the build folder when
# the lock has changed. Builds that look for other things do without.
#
# PEAL_HAS_NODE, PEAL_NODE, PEAL_NODE_FOLDER, and the target peal_node_packages to depend on.
set(PEAL_HAS_NODE OFF)
find_program(PEAL_NODE node)
find_program(PEAL_NPM npm)
if(PEAL_THREADED_ONLY OR PEAL_COVERAGE)
    return()
endif()
if(NOT PEAL_NODE OR NOT PEAL_NPM)
    message(STATUS "Some tests of the service are left out: node or npm is missing. Run `make deps`, "
                   "or install nodejs and npm.")
    return()
endif()

set(PEAL_HAS_NODE ON)
set(PEAL_NODE_FOLDER ${CMAKE_CURRENT_BINARY_DIR}/node)
set(from ${CMAKE_CURRENT_SOURCE_DIR}/service)
add_custom_command(OUTPUT ${PEAL_NODE_FOLDER}/installed.stamp
    COMMAND ${CMAKE_COMMAND} -DFROM=${from} -DTO=${PEAL_NODE_FOLDER} -DNPM=${PEAL_NPM}
        -P ${from}/install.cmake
    DEPENDS ${from}/install.cmake ${from}/package.json ${from}/package-lock.json ${from}/.npmrc
    COMMENT "Bringing npm packages that test the service" VERBATIM)
add_custom_target(peal_node_packages DEPENDS ${PEAL_NODE_FOLDER}/installed.stamp)
