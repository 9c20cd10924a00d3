// SPDX-License-Identifier: MIT
//
// What the process uses: allocations and memory.
//
// Allocations are counted by standing in front of glibc's malloc, for the whole program with its
// libraries. While counting is off that costs one look at a flag, the same for Peal and the peers.

#include "bench.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#if defined(__GLIBC__) && !defined(SANITIZED)

// NOLINTBEGIN(bugprone-reserved-identifier, readability-identifier-naming,
// readability-inconsistent-declaration-parameter-name): glibc names these.
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static bool counting;
static uint64_t counted;

static void count_one(void)
{
    if (__atomic_load_n(&counting, __ATOMIC_RELAXED)) {
        (void)__atomic_add_fetch(&counted, 1, __ATOMIC_RELAXED);
    }
}

void *malloc(size_t size)
{
    count_one();
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    count_one();
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    count_one();
    return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    count_one();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    count_one();
    void *memory = __libc_memalign(alignment, size);
    if (!memory) {
        return ENOMEM;
    }
    *out = memory;
    return 0;
}
// NOLINTEND(bugprone-reserved-identifier, readability-identifier-naming,
// readability-inconsistent-declaration-parameter-name)

void bench_allocations_count(bool on)
{
    __atomic_store_n(&counting, on, __ATOMIC_RELAXED);
}

uint64_t bench_allocations(void)
{
    return __atomic_load_n(&counted, __ATOMIC_RELAXED);
}

#else

void bench_allocations_count(bool on)
{
    (void)on;
}

uint64_t bench_allocations(void)
{
    return UINT64_MAX;
}

#endif

uint64_t bench_resident_bytes(void)
{
    unsigned long long size = 0;
    unsigned long long resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file) {
        bench_die("cannot open /proc/self/statm");
    }
    int found = fscanf(file, "%llu %llu", &size, &resident); // NOLINT(cert-err34-c): the kernel's
    (void)fclose(file);
    if (found != 2) {
        bench_die("/proc/self/statm does not look as expected");
    }
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}
