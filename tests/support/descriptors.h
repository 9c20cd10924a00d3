// SPDX-License-Identifier: MIT
//
// Descriptors: how many files, sockets and the like this process has open. What peers leave behind
// in a server shows here, also where no leak of memory does, as it is let go at the end.
//
// Include cmocka.h first.
#ifndef PEAL_TESTS_DESCRIPTORS_H
#define PEAL_TESTS_DESCRIPTORS_H

#include <dirent.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

// The entries of a directory of /proc: its files, its threads.
static inline size_t entries_of(const char *path)
{
    size_t count = 0;
    DIR *directory = opendir(path);
    assert_non_null(directory);
    while (readdir(directory)) { // NOLINT(concurrency-mt-unsafe): nobody else has it
        count++;
    }
    (void)closedir(directory);
    return count;
}

static inline size_t descriptors_now(void)
{
    return entries_of("/proc/self/fd");
}

static inline size_t threads_now(void)
{
    return entries_of("/proc/self/task");
}

// Waits until there are no more than that; false: not within ten seconds.
static inline bool falls_to(size_t (*now)(void), size_t count)
{
    time_t until = time(NULL) + 10;
    while (now() > count && time(NULL) < until) {
        (void)sched_yield();
    }
    return now() <= count;
}

#endif
