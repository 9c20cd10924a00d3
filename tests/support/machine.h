// SPDX-License-Identifier: MIT
//
// A machine that refuses: memory, threads and descriptors of the real one, counted, and not to be
// had when the test says so.
//
//     // ctest: wrap=malloc,calloc,realloc,free,mmap,munmap,mprotect,pthread_create,...
//
//     int64_t before = machine_held();
//     machine_refuse(MACHINE_MEMORY, 3, false);    // the third allocation from now
//     assert_int_equal(peal_bus_open(&bus, "mem:", NULL), PEAL_ENOMEM);
//     machine_relent();
//     assert_int_equal(machine_held(), before);
//
// The first line tells the linker to lead calls here, from the library and from the test; it names
// all that stand in machine.c. libc, cmocka and the sanitizers go on as they are.
//
// Threads: any; the counts are of all threads together.
#ifndef PEAL_TESTS_MACHINE_H
#define PEAL_TESTS_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

enum machine_kind {
    MACHINE_MEMORY = 1, // and stacks of fibers
    MACHINE_THREADS = 2,
    MACHINE_DESCRIPTORS = 4,
    MACHINE_ANYTHING = 7,
};

// From now on the n-th request of these kinds fails; with `for_ever` all after it too.
void machine_refuse(unsigned kinds, uint64_t nth, bool for_ever);
// From now on the machine has no memory for any thread but the caller.
void machine_refuse_others(void);
// From now on there is everything again.
void machine_relent(void);

// Since machine_refuse, until machine_relent: requests of its kinds, and those that failed.
uint64_t machine_asked(void);
uint64_t machine_refused(void);

// What was got and not given back: blocks, mappings, threads, descriptors.
int64_t machine_held(void);

#endif
