# SPDX-License-Identifier: MIT
#
# libpeal. Its objects are compiled once, for the shared and the static library alike.
find_path(PEAL_ISAL_INCLUDE isa-l/crc.h)
find_library(PEAL_ISAL isal)
if(NOT PEAL_ISAL OR NOT PEAL_ISAL_INCLUDE)
    message(FATAL_ERROR "Peal needs isa-l for its checksums and cannot find it: "
                        "run `make deps`, or install the package libisal-dev.")
endif()

# sqlite: is left out where there is no SQLite; find_package(peal) and peal.pc then know nothing of it.
find_path(PEAL_SQLITE_INCLUDE sqlite3.h)
find_library(PEAL_SQLITE_LIBRARY sqlite3)
set(PEAL_HAS_SQLITE OFF)
if(PEAL_SQLITE AND PEAL_SQLITE_INCLUDE AND PEAL_SQLITE_LIBRARY)
    set(PEAL_HAS_SQLITE ON)
elseif(PEAL_SQLITE)
    message(STATUS "sqlite: left out, there is no SQLite: "
                   "run `make deps` or install libsqlite3-dev, and configure again")
endif()

# Without zstd nothing is archived, and what was archived elsewhere is refused with a sentence.
find_path(PEAL_ZSTD_INCLUDE zstd.h)
find_library(PEAL_ZSTD_LIBRARY zstd)
set(PEAL_HAS_ZSTD OFF)
if(PEAL_ZSTD AND PEAL_ZSTD_INCLUDE AND PEAL_ZSTD_LIBRARY)
    set(PEAL_HAS_ZSTD ON)
elseif(PEAL_ZSTD)
    message(STATUS "archives: left out, there is no zstd: "
                   "run `make deps` or install libzstd-dev, and configure again")
endif()

file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/*/*.c)
if(NOT PEAL_HAS_SQLITE)
    list(FILTER sources EXCLUDE REGEX "/src/engine/sqlite[^/]*$")
endif()
add_library(peal_objects OBJECT ${sources})
target_include_directories(peal_objects
    PUBLIC ${PROJECT_SOURCE_DIR}/include
    PRIVATE ${PROJECT_SOURCE_DIR}/src ${PEAL_ISAL_INCLUDE})
target_link_libraries(peal_objects PRIVATE peal_flags)
if(PEAL_PLANT)
    string(TOUPPER ${PEAL_PLANT} plant)
    message(WARNING "This library has a bug, on purpose: ${plant}.")
    target_compile_definitions(peal_objects PRIVATE PEAL_PLANT=PL_PLANT_${plant})
endif()
if(PEAL_HAS_SQLITE)
    target_include_directories(peal_objects PRIVATE ${PEAL_SQLITE_INCLUDE})
    target_compile_definitions(peal_objects PRIVATE PEAL_SQLITE)
endif()
if(PEAL_HAS_ZSTD)
    target_include_directories(peal_objects PRIVATE ${PEAL_ZSTD_INCLUDE})
    target_compile_definitions(peal_objects PRIVATE PEAL_ZSTD)
endif()
set_target_properties(peal_objects PROPERTIES
    POSITION_INDEPENDENT_CODE ON C_VISIBILITY_PRESET hidden)

# Three options against the price of being a shared library:
# -fno-plt: a call to libc goes through the table of addresses, not through a stub before it.
# -fno-semantic-interposition: our calls to our own public functions are ours, and may be inlined;
#   -Bsymbolic-functions below says the same to the linker.
# -ftls-model=initial-exec: a thread local is one load, not a call of __tls_get_addr (2 ns of the 6
#   a publish may cost). Its price: a program that loads the library with dlopen takes them out of
#   a reserve of about 1.5 KiB that glibc keeps, so they must stay small; tools/check-symbols says
#   how small, and the package test loads the library that way.
target_compile_options(peal_objects PRIVATE
    -fno-plt -fno-semantic-interposition -ftls-model=initial-exec)

function(peal_library name kind export)
    add_library(${name} ${kind} $<TARGET_OBJECTS:peal_objects>)
    add_library(peal::${export} ALIAS ${name})
    target_include_directories(${name} PUBLIC
        $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
        $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    set_target_properties(${name} PROPERTIES OUTPUT_NAME peal EXPORT_NAME ${export})
endfunction()

peal_library(peal_static STATIC peal_static)
target_link_libraries(peal_static
    PRIVATE $<BUILD_INTERFACE:${PEAL_ISAL}> $<INSTALL_INTERFACE:isal>
    PUBLIC Threads::Threads)
set(PEAL_PC_PRIVATE "-lisal -pthread") # what peal.pc tells of the static library
if(PEAL_HAS_SQLITE)
    target_link_libraries(peal_static
        PRIVATE $<BUILD_INTERFACE:${PEAL_SQLITE_LIBRARY}> $<INSTALL_INTERFACE:sqlite3>)
    string(PREPEND PEAL_PC_PRIVATE "-lsqlite3 ")
endif()
if(PEAL_HAS_ZSTD)
    target_link_libraries(peal_static
        PRIVATE $<BUILD_INTERFACE:${PEAL_ZSTD_LIBRARY}> $<INSTALL_INTERFACE:zstd>)
    string(PREPEND PEAL_PC_PRIVATE "-lzstd ")
endif()

if(PEAL_SHARED)
    peal_library(peal SHARED peal)
    target_link_libraries(peal PRIVATE $<BUILD_INTERFACE:peal_flags> ${PEAL_ISAL})
    if(PEAL_HAS_SQLITE)
        target_link_libraries(peal PRIVATE ${PEAL_SQLITE_LIBRARY})
    endif()
    if(PEAL_HAS_ZSTD)
        target_link_libraries(peal PRIVATE ${PEAL_ZSTD_LIBRARY})
    endif()
    target_link_options(peal PRIVATE LINKER:-Bsymbolic-functions LINKER:-z,defs)
    set_target_properties(peal PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0)
else()
    add_library(peal::peal ALIAS peal_static)
    set(PEAL_PC_STATIC " ${PEAL_PC_PRIVATE}") # nobody has to ask for --static: there is nothing else
endif()
