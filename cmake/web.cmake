# SPDX-License-Identifier: MIT
#
# The dashboard, service/dashboard.h: a page is made of web/ by node, and put into a library.
#
#     web/package-lock.json ──npm ci──► web/node_modules ─┐ (in the build folder)
#     web/src/* ──────────────────────────────────────────┴─► index.html[.gz] ─► peal_dashboard
#
# npm is asked only when the lock has changed. Without node or npm, or with PEAL_DASHBOARD=OFF, the
# library is there all the same and its page is empty.
set(PEAL_HAS_DASHBOARD OFF)
if(PEAL_DASHBOARD)
    find_program(PEAL_NODE node)
    find_program(PEAL_NPM npm)
    if(PEAL_NODE AND PEAL_NPM)
        set(PEAL_HAS_DASHBOARD ON)
    else()
        message(STATUS "No dashboard: node or npm is missing. Run `make deps`, or install "
                       "nodejs and npm.")
    endif()
endif()

enable_language(ASM)
set(source ${PROJECT_SOURCE_DIR}/web)
# Only what uses it builds it: most presets do not.
add_library(peal_dashboard STATIC EXCLUDE_FROM_ALL ${source}/dashboard.S)
target_include_directories(peal_dashboard PUBLIC ${PROJECT_SOURCE_DIR})

if(PEAL_HAS_DASHBOARD)
    set(PEAL_WEB_FOLDER ${PROJECT_BINARY_DIR}/web)
    set(installed ${PEAL_WEB_FOLDER}/installed.stamp)
    set(page ${PEAL_WEB_FOLDER}/index.html.gz)
    set(plain ${PEAL_WEB_FOLDER}/index.html)
    set(policy ${PEAL_WEB_FOLDER}/policy.txt)
    add_custom_command(OUTPUT ${installed}
        COMMAND ${PEAL_NODE} ${source}/install.mjs ${PEAL_WEB_FOLDER} ${PEAL_NPM}
        COMMAND ${CMAKE_COMMAND} -E touch ${installed}
        DEPENDS ${source}/install.mjs ${source}/package.json ${source}/package-lock.json
            ${source}/.npmrc
        COMMENT "Bringing what the dashboard is built with" VERBATIM)
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${source}/src/*)
    add_custom_command(OUTPUT ${page} ${plain} ${policy}
        COMMAND ${PEAL_NODE} ${source}/build.mjs ${PEAL_WEB_FOLDER}
        DEPENDS ${installed} ${source}/build.mjs ${sources}
        COMMENT "Building the dashboard" VERBATIM)
    target_sources(peal_dashboard PRIVATE ${page} ${plain} ${policy})
    target_compile_definitions(peal_dashboard PRIVATE
        DASHBOARD_PAGE="${page}" DASHBOARD_PLAIN="${plain}" DASHBOARD_POLICY="${policy}")
    set_source_files_properties(${source}/dashboard.S PROPERTIES
        OBJECT_DEPENDS "${page};${plain};${policy}")
endif()
