# SPDX-License-Identifier: MIT
#
# The benches. A file in bench/ that has a main function is a program; the others belong to all of
# them. bench/peer_<name>.c or .cc is left out when that peer is not installed, and
# PEAL_PEER_<NAME> is 1 or 0 for the rest.
find_package(PkgConfig QUIET)
add_library(peal_peers INTERFACE)

function(peal_peer name package found)
    string(TOUPPER ${name} upper)
    if(found)
        target_compile_definitions(peal_peers INTERFACE PEAL_PEER_${upper}=1)
    else()
        message(STATUS "bench: no ${name} to compare with: "
                       "install ${package} (`make deps`) and configure again")
        target_compile_definitions(peal_peers INTERFACE PEAL_PEER_${upper}=0)
    endif()
    set(peer_${name} ${found} PARENT_SCOPE)
endfunction()

function(peal_peer_by_pkgconfig name package module)
    set(found FALSE)
    if(PKG_CONFIG_FOUND)
        pkg_check_modules(peer_${name} QUIET IMPORTED_TARGET ${module})
        if(peer_${name}_FOUND)
            set(found TRUE)
            target_link_libraries(peal_peers INTERFACE PkgConfig::peer_${name})
        endif()
    endif()
    peal_peer(${name} ${package} ${found})
    set(peer_${name} ${found} PARENT_SCOPE)
endfunction()

function(peal_peer_by_header name package header)
    find_path(PEAL_PEER_${name} ${header})
    set(found FALSE)
    if(PEAL_PEER_${name})
        set(found TRUE)
        target_include_directories(peal_peers SYSTEM INTERFACE ${PEAL_PEER_${name}})
    endif()
    peal_peer(${name} ${package} ${found})
    set(peer_${name} ${found} PARENT_SCOPE)
endfunction()

peal_peer_by_pkgconfig(glib libglib2.0-dev gobject-2.0)
peal_peer_by_pkgconfig(zmq libzmq3-dev libzmq)
peal_peer_by_header(boost libboost-dev boost/signals2.hpp)
peal_peer_by_header(moodycamel libconcurrentqueue-dev concurrentqueue/concurrentqueue.h)

file(GLOB files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bench/*.c ${PROJECT_SOURCE_DIR}/bench/*.cc)
set(programs "")
set(shared "")
foreach(file IN LISTS files)
    cmake_path(GET file STEM name)
    file(STRINGS ${file} main REGEX "^int main\\(")
    if(name MATCHES "^peer_" AND NOT ${name}) # the variable of that name, from above
        continue()
    elseif(main)
        list(APPEND programs ${file})
    else()
        list(APPEND shared ${file})
    endif()
endforeach()

add_custom_target(peal_benches)
foreach(file IN LISTS programs)
    cmake_path(GET file STEM name)
    add_executable(bench_${name} ${file} ${shared})
    set_target_properties(bench_${name} PROPERTIES
        OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bench)
    target_include_directories(bench_${name} PRIVATE
        ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/bench)
    target_link_libraries(bench_${name} PRIVATE peal_flags peal_static peal_peers)
    add_dependencies(peal_benches bench_${name})
endforeach()
