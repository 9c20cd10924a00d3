// SPDX-License-Identifier: MIT
//
// The seams of the real machine: Linux, no state of ours. Each member is one system call or one
// call of libc; what there is to say about it stands beside it.
#include "base/seams.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"

// Address space of a started thread: what a main thread has. Handlers of users run on it, libc's
// own default may be 128 KiB, and only pages that were touched cost memory.
#define STACK_SIZE (8UL << 20)

struct pl_thread {
    pthread_t id;
    void (*main)(void *context);
    void *context; // borrowed until `main` returns
};

static int64_t read_clock(clockid_t clock)
{
    struct timespec now = { 0 };
    (void)clock_gettime(clock, &now); // fails only for a clock that does not exist
    return now.tv_sec * PL_NS_PER_S + now.tv_nsec;
}

static int64_t real_realtime(void *world)
{
    (void)world;
    return read_clock(CLOCK_REALTIME);
}

static int64_t real_monotonic(void *world)
{
    (void)world;
    return read_clock(CLOCK_MONOTONIC);
}

static int64_t real_coarse(void *world)
{
    (void)world;
    return read_clock(CLOCK_MONOTONIC_COARSE);
}

// Never zero bytes: malloc(0) may be NULL, and NULL means "no memory" here.
static void *real_alloc(void *world, size_t size)
{
    (void)world;
    return malloc(size ? size : 1);
}

static void *real_resize(void *world, void *memory, size_t size)
{
    (void)world;
    return realloc(memory, size ? size : 1);
}

static void real_release(void *world, void *memory)
{
    (void)world;
    free(memory);
}

// Where a sandbox forbids getrandom, the clocks and an address must do: the numbers stay different
// from each other, but could be guessed.
static uint64_t guess(const void *somewhere)
{
    uint64_t bits = (uint64_t)read_clock(CLOCK_MONOTONIC) ^ (uint64_t)(uintptr_t)somewhere;
    bits = (bits ^ bits >> 32) * 0xd6e8feb86659fd93;
    bits ^= (uint64_t)read_clock(CLOCK_REALTIME) + (uint64_t)getpid();
    bits = (bits ^ bits >> 32) * 0xd6e8feb86659fd93;
    return bits ^ bits >> 32;
}

static uint64_t real_random(void *world)
{
    (void)world;
    uint64_t bits = 0;
    ssize_t got = 0;
    do {
        got = getrandom(&bits, sizeof bits, 0);
    } while (got < 0 && errno == EINTR);
    return got == (ssize_t)sizeof bits ? bits : guess(&bits);
}

static void *run(void *argument)
{
    struct pl_thread *thread = argument;
    thread->main(thread->context);
    return NULL;
}

// A signal sent to the process belongs to the program's own threads. Those that a thread causes
// itself stay open: blocked, they would kill the process before its crash handler could speak.
static void foreign_signals(sigset_t *out)
{
    static const int own[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS };
    (void)sigfillset(out);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        (void)sigdelset(out, own[i]); // cannot fail for a signal that exists
    }
}

static int create_thread(struct pl_thread *thread)
{
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error) {
        return error;
    }
    (void)pthread_attr_setstacksize(&attributes, STACK_SIZE); // a valid size

    // A new thread inherits the mask of the one that starts it, so ours changes for a moment.
    sigset_t foreign;
    sigset_t before;
    foreign_signals(&foreign);
    (void)pthread_sigmask(SIG_SETMASK, &foreign, &before); // fails only for a bad first argument
    error = pthread_create(&thread->id, &attributes, run, thread);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);

    (void)pthread_attr_destroy(&attributes);
    return error;
}

static enum peal_err real_start(void *world, struct pl_thread **out, void (*main)(void *context),
                                void *context)
{
    struct pl_thread *thread = real_alloc(world, sizeof *thread);
    if (!thread) {
        return pl_fail(PEAL_ENOMEM, "no memory to start a thread");
    }
    thread->main = main;
    thread->context = context;

    int error = create_thread(thread);
    if (error) {
        free(thread);
        return pl_fail(PEAL_ENOMEM,
                       "the system refuses another thread (error %d); see the limits on processes "
                       "and memory of this user",
                       error);
    }
    *out = thread;
    return PEAL_OK;
}

static void real_join(void *world, struct pl_thread *thread)
{
    if (thread) {
        (void)pthread_join(thread->id, NULL); // fails only when a thread joins itself
        real_release(world, thread);
    }
}

// Without a deadline the timeout is NULL. BITSET, because only that one takes an absolute time.
static void real_wait(void *world, atomic_uint *word, unsigned expected, int64_t deadline)
{
    (void)world;
    if (deadline <= 0) {
        return; // passed before the machine started, and the kernel refuses negative times
    }
    const struct timespec until = { .tv_sec = deadline / PL_NS_PER_S,
                                    .tv_nsec = deadline % PL_NS_PER_S };
    // The result does not matter: the caller looks at the word and at the clock again.
    (void)syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected,
                  deadline == PL_FOREVER ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
}

static void real_wake(void *world, atomic_uint *word, unsigned count)
{
    (void)world;
    int most = count > INT32_MAX ? INT32_MAX : (int)count;
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, most, NULL, NULL,
                  0); // nobody asleep is fine
}

// Taking away the right to write a page that was just written makes the kernel interrupt every CPU
// that runs a thread of this process, to forget its translation of the page. The interrupt is a
// full barrier there. That holds on x86 and not where hardware broadcasts it (ARM64), so it is the
// last resort: Linux before 4.3 or a sandbox that forbids membarrier.
static bool interrupt_every_cpu(void)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    volatile char *page =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return false;
    }
    *page = 1;
    bool done = mprotect((void *)page, size, PROT_READ) == 0;
    (void)munmap((void *)page, size); // ours, and mapped
    return done;
}

static bool membarrier(int command)
{
    return syscall(SYS_membarrier, command, 0U, 0) == 0;
}

// The kernel remembers whether this process has registered and says EPERM until it has, so nothing
// need be remembered here. GLOBAL waits some milliseconds for every CPU and needs no registration.
static void real_barrier(void *world)
{
    (void)world;
    if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) {
        return;
    }
    if (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) &&
        membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) {
        return;
    }
    if (membarrier(MEMBARRIER_CMD_GLOBAL)) {
        return;
    }
    while (!interrupt_every_cpu()) {
        (void)sched_yield(); // no page free: late is better than wrong
    }
}

static void real_yield(void *world)
{
    (void)world;
    (void)sched_yield(); // cannot fail on Linux
}

const struct pl_seams pl_seams_real = {
    .realtime = real_realtime,
    .monotonic = real_monotonic,
    .coarse = real_coarse,
    .alloc = real_alloc,
    .resize = real_resize,
    .release = real_release,
    .random = real_random,
    .start = real_start,
    .join = real_join,
    .wait = real_wait,
    .wake = real_wake,
    .yield = real_yield,
    .barrier = real_barrier,
};

void *pl_new(const struct pl_seams *seams, size_t size)
{
    void *memory = pl_alloc(seams, size);
    return memory ? memset(memory, 0, size) : NULL;
}

char *pl_copy_bytes(const struct pl_seams *seams, const void *bytes, size_t size)
{
    char *copy = size < SIZE_MAX ? pl_alloc(seams, size + 1) : NULL;
    if (!copy) {
        return NULL;
    }
    if (size) {
        memcpy(copy, bytes, size); // `bytes` may be NULL when there are none
    }
    copy[size] = 0;
    return copy;
}
