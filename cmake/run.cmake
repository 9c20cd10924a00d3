# SPDX-License-Identifier: MIT
#
# peal_add_test: a test as everywhere here, with a deadline, labels and the environment it runs in.

# Clang 14's sanitizers die on kernels that scatter mappings over more than 28 bits; there the
# tests run with scattering off, where that is allowed.
set(peal_launcher "")
if(PEAL_SANITIZE AND EXISTS /proc/sys/vm/mmap_rnd_bits)
    file(STRINGS /proc/sys/vm/mmap_rnd_bits bits)
    execute_process(COMMAND setarch -R true RESULT_VARIABLE refused OUTPUT_QUIET ERROR_QUIET)
    if(bits GREATER 28 AND NOT refused)
        set(peal_launcher setarch -R)
    endif()
endif()

set(peal_environment
    PEAL_EFFORT=${PEAL_EFFORT}
    ASAN_OPTIONS=strict_string_checks=1:check_initialization_order=1:detect_leaks=1
    UBSAN_OPTIONS=print_stacktrace=1
    TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1)

# peal_add_test(name [LABELS l...] [ENVIRONMENT e...] [TIMEOUT s] [DIRECTORY d] [SERIAL]
#               COMMAND command...)
function(peal_add_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "SERIAL" "TIMEOUT;DIRECTORY" "COMMAND;LABELS;ENVIRONMENT")
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 300)
    endif()
    if(NOT arg_DIRECTORY)
        set(arg_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
    endif()
    set(name ${name}${PEAL_TEST_SUFFIX})
    add_test(NAME ${name} COMMAND ${arg_COMMAND} WORKING_DIRECTORY ${arg_DIRECTORY})
    set_tests_properties(${name} PROPERTIES
        TIMEOUT ${arg_TIMEOUT}
        LABELS "${arg_LABELS}"
        ENVIRONMENT "${peal_environment};${arg_ENVIRONMENT}"
        RUN_SERIAL ${arg_SERIAL})
endfunction()
