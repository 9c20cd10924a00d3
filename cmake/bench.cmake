# SPDX-License-Identifier: MIT
#
# The benches, a program each: bench/ measures the bus, bench/log/ the log. The program of a folder
# is all its files, and those of bench/ that every program shares. A file peer_<name>.c or .cc is
# left out when that peer is not installed, and PEAL_PEER_<NAME> is 1 or 0 for the rest.
find_package(PkgConfig QUIET)

# Says whether a peer is there, to the program that it is compared in: `found` is TRUE or FALSE.
function(peal_peer program name packages found)
    string(TOUPPER ${name} upper)
    if(found)
        target_compile_definitions(${program} PRIVATE PEAL_PEER_${upper}=1)
    else()
        message(STATUS "bench: no ${name} to compare with: "
                       "install ${packages} (`make deps`) and configure again")
        target_compile_definitions(${program} PRIVATE PEAL_PEER_${upper}=0)
    endif()
    if(found)
        file(GLOB files CONFIGURE_DEPENDS ${peal_folder_${program}}/peer_${name}.c
                                          ${peal_folder_${program}}/peer_${name}.cc)
        target_sources(${program} PRIVATE ${files})
    endif()
endfunction()

# peal_peer_by_pkgconfig(program name packages module [server]): with `server`, a program that has to
# be there as well.
function(peal_peer_by_pkgconfig program name packages module)
    set(found FALSE)
    if(PKG_CONFIG_FOUND)
        pkg_check_modules(peer_${name} QUIET IMPORTED_TARGET ${module})
        set(found ${peer_${name}_FOUND})
    endif()
    if(ARGC GREATER 4)
        find_program(PEAL_SERVER_${name} ${ARGV4} PATHS /usr/sbin /usr/local/sbin)
        if(PEAL_SERVER_${name})
            set_property(SOURCE ${peal_folder_${program}}/peer_${name}.c APPEND PROPERTY
                COMPILE_DEFINITIONS SERVER_PROGRAM="${PEAL_SERVER_${name}}")
        else()
            set(found FALSE)
        endif()
    endif()
    if(found)
        target_link_libraries(${program} PRIVATE PkgConfig::peer_${name})
    endif()
    peal_peer(${program} ${name} ${packages} "${found}")
endfunction()

function(peal_peer_by_header program name packages header)
    find_path(PEAL_PEER_${name} ${header})
    set(found FALSE)
    if(PEAL_PEER_${name})
        set(found TRUE)
        target_include_directories(${program} SYSTEM PRIVATE ${PEAL_PEER_${name}})
    endif()
    peal_peer(${program} ${name} ${packages} ${found})
endfunction()

set(shared measure.c peal.c program.c report.c run.c server.c usage.c)
list(TRANSFORM shared PREPEND ${PROJECT_SOURCE_DIR}/bench/)

add_custom_target(peal_benches)
function(peal_bench name folder)
    file(GLOB files CONFIGURE_DEPENDS ${folder}/*.c)
    list(FILTER files EXCLUDE REGEX "/peer_[a-z]+\\.c$")
    list(REMOVE_ITEM files ${shared})
    add_executable(bench_${name} ${files} ${shared})
    set_target_properties(bench_${name} PROPERTIES
        OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bench)
    target_include_directories(bench_${name} PRIVATE
        ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/bench)
    target_link_libraries(bench_${name} PRIVATE peal_flags peal_static)
    add_dependencies(peal_benches bench_${name})
    set(peal_folder_bench_${name} ${folder} PARENT_SCOPE)
endfunction()

peal_bench(peal-bench ${PROJECT_SOURCE_DIR}/bench)
peal_peer_by_pkgconfig(bench_peal-bench glib libglib2.0-dev gobject-2.0)
peal_peer_by_pkgconfig(bench_peal-bench zmq libzmq3-dev libzmq)
peal_peer_by_header(bench_peal-bench boost libboost-dev boost/signals2.hpp)
peal_peer_by_header(bench_peal-bench moodycamel libconcurrentqueue-dev
                    concurrentqueue/concurrentqueue.h)

peal_bench(peal-bench-log ${PROJECT_SOURCE_DIR}/bench/log)
peal_peer_by_pkgconfig(bench_peal-bench-log sqlite libsqlite3-dev sqlite3)
peal_peer_by_pkgconfig(bench_peal-bench-log lmdb liblmdb-dev lmdb)
peal_peer_by_pkgconfig(bench_peal-bench-log rocksdb librocksdb-dev rocksdb)
peal_peer_by_pkgconfig(bench_peal-bench-log redis "libhiredis-dev and redis-server" hiredis
                       redis-server)
peal_peer_by_pkgconfig(bench_peal-bench-log jetstream "libnats-dev and nats-server" libnats
                       nats-server)

# The service is measured from outside: the program peal, in a process of its own.
if(PEAL_CLI)
    peal_bench(peal-bench-service ${PROJECT_SOURCE_DIR}/bench/service)
    target_compile_definitions(bench_peal-bench-service PRIVATE
        PEAL_PROGRAM="$<TARGET_FILE:peal_cli>")
    add_dependencies(bench_peal-bench-service peal_cli)
    peal_peer_by_pkgconfig(bench_peal-bench-service nats "libnats-dev and nats-server" libnats
                           nats-server)
    peal_peer_by_pkgconfig(bench_peal-bench-service redis "libhiredis-dev and redis-server" hiredis
                           redis-server)
    peal_peer_by_pkgconfig(bench_peal-bench-service mosquitto "libmosquitto-dev and mosquitto"
                           libmosquitto mosquitto)
endif()

# What comes back is checked by the bench itself, so its smallest run is a test of an optimised
# build.
if(PEAL_TESTS)
    peal_add_test(bench_log LABELS bench COMMAND bench_peal-bench-log --quick)
endif()
