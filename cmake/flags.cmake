# SPDX-License-Identifier: MIT
#
# How everything here is compiled: one interface target, linked by all and installed with none.
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

find_package(Threads REQUIRED)

# No -Wshadow in C++: there a struct and a function of one name, as in peal_bus_stats, would warn.
add_library(peal_flags INTERFACE)
target_compile_definitions(peal_flags INTERFACE _GNU_SOURCE)
target_compile_options(peal_flags INTERFACE
    -Wall -Wextra -Wpedantic
    "$<$<COMPILE_LANGUAGE:C>:-Wshadow;-Wstrict-prototypes;-Wmissing-prototypes>"
    "$<$<COMPILE_LANGUAGE:C>:-Wconversion;-Wno-sign-conversion>"
    $<$<BOOL:${PEAL_WERROR}>:-Werror>)
target_link_libraries(peal_flags INTERFACE Threads::Threads)

if(PEAL_SANITIZE)
    set(sanitize -fsanitize=${PEAL_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_compile_options(peal_flags INTERFACE ${sanitize})
    target_link_options(peal_flags INTERFACE ${sanitize})
endif()
if(PEAL_FUZZER)
    target_compile_options(peal_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(PEAL_COVERAGE)
    # Atomic counters: several threads count the same line.
    target_compile_options(peal_flags INTERFACE --coverage -fprofile-update=atomic)
    target_link_options(peal_flags INTERFACE --coverage)
endif()
