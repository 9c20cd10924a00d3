# SPDX-License-Identifier: MIT
#
# Every file in examples/ is a whole program, written against the public headers only and linked
# like anybody's. Each is run by the test example_<name>, from the root of the tree.
file(GLOB files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/examples/*.c
    ${PROJECT_SOURCE_DIR}/examples/*.cc)

# A folder is a program of several files: that of its main.c.
file(GLOB folders CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/examples/*/main.c)

# What the tests give to those that want arguments.
set(mlperf_arguments ${PROJECT_SOURCE_DIR}/tests/data/mlperf)
set(handlers_arguments mem: demo)

# What a program needs besides Peal. The training logs are JSON.
find_library(PEAL_JANSSON jansson REQUIRED)
set(mlperf_libraries ${PEAL_JANSSON})

add_custom_target(peal_examples)
foreach(file IN LISTS files folders)
    cmake_path(GET file STEM name)
    if(file IN_LIST folders)
        cmake_path(GET file PARENT_PATH folder)
        cmake_path(GET folder FILENAME name)
        file(GLOB file CONFIGURE_DEPENDS ${folder}/*.c)
    endif()
    add_executable(example_${name} ${file})
    set_target_properties(example_${name} PROPERTIES
        OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/examples)
    target_link_libraries(example_${name} PRIVATE peal_flags peal::peal ${${name}_libraries})
    add_dependencies(peal_examples example_${name})
    if(PEAL_TESTS)
        peal_add_test(example_${name} LABELS example DIRECTORY ${PROJECT_SOURCE_DIR}
            COMMAND ${peal_launcher} $<TARGET_FILE:example_${name}> ${${name}_arguments})
    endif()
endforeach()
