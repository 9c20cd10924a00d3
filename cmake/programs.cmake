# SPDX-License-Identifier: MIT
#
# The programs: `peal`, the command line and the service. They are the library's first users and see
# of it what everybody sees, include/peal/; net/ is what programs share, and may use src/base/ as well.
#
#     net/*.c, net/*.cc ──► peal_net ──► peal_service ◄── service/*.c
#                                             │
#                          cli/*.c ──► peal_cli_objects ──► peal
#
# `peal` is linked with the static library: one file, wherever it is installed.
find_path(PEAL_SIMDJSON_INCLUDE simdjson.h)
find_library(PEAL_SIMDJSON simdjson)
if(NOT PEAL_SIMDJSON OR NOT PEAL_SIMDJSON_INCLUDE)
    message(FATAL_ERROR "The command line needs simdjson for its JSON and cannot find it: "
                        "run `make deps`, install libsimdjson-dev, or configure with -DPEAL_CLI=OFF.")
endif()

# libevent waits for sockets, OpenSSL speaks TLS.
find_path(PEAL_EVENT_INCLUDE event2/event.h)
find_library(PEAL_EVENT event_core)
find_package(OpenSSL QUIET)
if(NOT PEAL_EVENT OR NOT PEAL_EVENT_INCLUDE OR NOT OPENSSL_FOUND)
    message(FATAL_ERROR "The service needs libevent and OpenSSL and cannot find them: run `make deps`, "
                        "install libevent-dev and libssl-dev, or configure with -DPEAL_CLI=OFF.")
endif()

file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/net/*.c ${PROJECT_SOURCE_DIR}/net/*.cc)
add_library(peal_net STATIC ${sources})
target_include_directories(peal_net PUBLIC ${PROJECT_SOURCE_DIR}
    PRIVATE ${PROJECT_SOURCE_DIR}/src)
target_include_directories(peal_net SYSTEM PRIVATE ${PEAL_SIMDJSON_INCLUDE} ${PEAL_EVENT_INCLUDE})
# Threads would only read several texts at once.
target_compile_definitions(peal_net PRIVATE SIMDJSON_EXCEPTIONS=0 SIMDJSON_THREADS_ENABLED=0)
target_compile_options(peal_net PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions;-fno-rtti>)
target_link_libraries(peal_net PUBLIC peal_static
    PRIVATE peal_flags ${PEAL_SIMDJSON} ${PEAL_EVENT} OpenSSL::SSL)

# The service: libyaml reads its configuration, libcrypto knows its tokens by their hashes; libcurl
# sends what its webhooks hear, and its spans; jansson reads the small documents it keeps or is sent.
find_path(PEAL_YAML_INCLUDE yaml.h)
find_library(PEAL_YAML yaml)
find_path(PEAL_JANSSON_INCLUDE jansson.h)
find_library(PEAL_JANSSON jansson)
find_package(CURL 7.85 QUIET)
if(NOT PEAL_YAML OR NOT PEAL_YAML_INCLUDE OR NOT PEAL_JANSSON OR NOT PEAL_JANSSON_INCLUDE
   OR NOT CURL_FOUND)
    message(FATAL_ERROR "The service needs libyaml, jansson and libcurl and cannot find them: run "
                        "`make deps`, install libyaml-dev, libjansson-dev and libcurl4-openssl-dev, or "
                        "configure with -DPEAL_CLI=OFF.")
endif()
file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/service/*.c)
add_library(peal_service STATIC ${sources})
target_include_directories(peal_service SYSTEM PRIVATE ${PEAL_YAML_INCLUDE} ${PEAL_JANSSON_INCLUDE})
target_include_directories(peal_service PRIVATE ${PROJECT_SOURCE_DIR}/src)
target_link_libraries(peal_service PUBLIC peal_net
    PRIVATE peal_dashboard peal_flags ${PEAL_YAML} ${PEAL_JANSSON} OpenSSL::Crypto CURL::libcurl)

file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/cli/*.c)
list(REMOVE_ITEM sources ${PROJECT_SOURCE_DIR}/cli/main.c)
add_library(peal_cli_objects STATIC ${sources})
target_link_libraries(peal_cli_objects PUBLIC peal_service PRIVATE peal_flags)

add_executable(peal_cli ${PROJECT_SOURCE_DIR}/cli/main.c)
# In a folder of its own: a file `peal` beside the build files would be what ninja takes the target
# `peal` for, which is the library.
set_target_properties(peal_cli PROPERTIES OUTPUT_NAME peal LINKER_LANGUAGE CXX
    RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
target_link_libraries(peal_cli PRIVATE peal_flags peal_cli_objects)
