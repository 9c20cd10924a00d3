// SPDX-License-Identifier: MIT
//
// The linker's --wrap: what calls `malloc` comes to __wrap_malloc here, and __real_malloc is the
// one of libc or of the sanitizer. A program that is not linked so does not link this file.
//
// The state is global because the calls it stands behind are.
#include "support/machine.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/mman.h>

// The linker chooses these names.
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void __real_free(void *memory);
void *__real_mmap(void *wanted, size_t size, int rights, int flags, int fd, off_t offset);
int __real_munmap(void *memory, size_t size);
int __real_mprotect(void *memory, size_t size, int rights);
int __real_pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument);
int __real_pthread_join(pthread_t thread, void **result);
int __real_eventfd(unsigned count, int flags);
int __real_timerfd_create(int clock, int flags);
int __real_epoll_create1(int flags);
int __real_epoll_ctl(int poll, int operation, int fd, struct epoll_event *event);
int __real_close(int fd);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void __wrap_free(void *memory);
void *__wrap_mmap(void *wanted, size_t size, int rights, int flags, int fd, off_t offset);
int __wrap_munmap(void *memory, size_t size);
int __wrap_mprotect(void *memory, size_t size, int rights);
int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument);
int __wrap_pthread_join(pthread_t thread, void **result);
int __wrap_eventfd(unsigned count, int flags);
int __wrap_timerfd_create(int clock, int flags);
int __wrap_epoll_create1(int flags);
int __wrap_epoll_ctl(int poll, int operation, int fd, struct epoll_event *event);
int __wrap_close(int fd);

// A test has a few; those above are not counted.
#define DESCRIPTORS_MAX 1024

static struct {
    pthread_mutex_t lock; // guards all of it
    unsigned kinds;       // that are refused; 0: none
    uint64_t nth;
    bool for_ever;
    bool others_only; // only to threads other than `owner`
    pthread_t owner;
    uint64_t asked, refused;
    int64_t held;
    bool given[DESCRIPTORS_MAX]; // by us, and open
} machine = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void set(unsigned kinds, uint64_t nth, bool for_ever, bool others_only)
{
    (void)pthread_mutex_lock(&machine.lock); // cannot fail
    machine.kinds = kinds;
    machine.nth = nth;
    machine.for_ever = for_ever;
    machine.others_only = others_only;
    machine.owner = pthread_self();
    machine.asked = 0;
    machine.refused = 0;
    (void)pthread_mutex_unlock(&machine.lock);
}

void machine_refuse(unsigned kinds, uint64_t nth, bool for_ever)
{
    set(kinds, nth, for_ever, false);
}

void machine_refuse_others(void)
{
    set(MACHINE_MEMORY, 1, true, true);
}

void machine_relent(void)
{
    (void)pthread_mutex_lock(&machine.lock);
    machine.kinds = 0;
    (void)pthread_mutex_unlock(&machine.lock);
}

uint64_t machine_asked(void)
{
    (void)pthread_mutex_lock(&machine.lock);
    uint64_t asked = machine.asked;
    (void)pthread_mutex_unlock(&machine.lock);
    return asked;
}

uint64_t machine_refused(void)
{
    (void)pthread_mutex_lock(&machine.lock);
    uint64_t refused = machine.refused;
    (void)pthread_mutex_unlock(&machine.lock);
    return refused;
}

int64_t machine_held(void)
{
    (void)pthread_mutex_lock(&machine.lock);
    int64_t held = machine.held;
    (void)pthread_mutex_unlock(&machine.lock);
    return held;
}

static void hold(int64_t more)
{
    (void)pthread_mutex_lock(&machine.lock);
    machine.held += more;
    (void)pthread_mutex_unlock(&machine.lock);
}

// Is this request one that fails?
static bool refuse(enum machine_kind kind, int error)
{
    (void)pthread_mutex_lock(&machine.lock);
    bool refused = false;
    if ((machine.kinds & kind) &&
        !(machine.others_only && pthread_equal(machine.owner, pthread_self()))) {
        machine.asked++;
        refused = machine.for_ever ? machine.asked >= machine.nth : machine.asked == machine.nth;
        machine.refused += refused;
    }
    (void)pthread_mutex_unlock(&machine.lock);
    if (refused) {
        errno = error;
    }
    return refused;
}

// ---- memory -------------------------------------------------------------------------------------

void *__wrap_malloc(size_t size)
{
    void *memory = refuse(MACHINE_MEMORY, ENOMEM) ? NULL : __real_malloc(size);
    hold(memory != NULL);
    return memory;
}

void *__wrap_calloc(size_t count, size_t size)
{
    void *memory = refuse(MACHINE_MEMORY, ENOMEM) ? NULL : __real_calloc(count, size);
    hold(memory != NULL);
    return memory;
}

void *__wrap_realloc(void *memory, size_t size)
{
    bool is_new = !memory;
    void *moved = refuse(MACHINE_MEMORY, ENOMEM) ? NULL : __real_realloc(memory, size);
    hold(is_new && moved);
    return moved;
}

void __wrap_free(void *memory)
{
    hold(memory ? -1 : 0);
    __real_free(memory);
}

// Only stacks are refused: for its other page the library waits, without end.
void *__wrap_mmap(void *wanted, size_t size, int rights, int flags, int fd, off_t offset)
{
    if ((flags & MAP_STACK) && refuse(MACHINE_MEMORY, ENOMEM)) {
        return MAP_FAILED;
    }
    void *memory = __real_mmap(wanted, size, rights, flags, fd, offset);
    hold(memory != MAP_FAILED);
    return memory;
}

int __wrap_munmap(void *memory, size_t size)
{
    hold(-1);
    return __real_munmap(memory, size);
}

// A guard page splits a mapping in two, and there may be no memory to note that.
int __wrap_mprotect(void *memory, size_t size, int rights)
{
    if (rights == PROT_NONE && refuse(MACHINE_MEMORY, ENOMEM)) {
        return -1;
    }
    return __real_mprotect(memory, size, rights);
}

// ---- threads ------------------------------------------------------------------------------------

int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument)
{
    if (refuse(MACHINE_THREADS, EAGAIN)) {
        return EAGAIN;
    }
    int error = __real_pthread_create(out, attributes, run, argument);
    hold(!error);
    return error;
}

int __wrap_pthread_join(pthread_t thread, void **result)
{
    int error = __real_pthread_join(thread, result);
    hold(error ? 0 : -1);
    return error;
}

// ---- descriptors --------------------------------------------------------------------------------

static int give(int fd)
{
    if (fd >= 0 && fd < DESCRIPTORS_MAX) {
        (void)pthread_mutex_lock(&machine.lock);
        machine.given[fd] = true;
        machine.held++;
        (void)pthread_mutex_unlock(&machine.lock);
    }
    return fd;
}

int __wrap_eventfd(unsigned count, int flags)
{
    return refuse(MACHINE_DESCRIPTORS, EMFILE) ? -1 : give(__real_eventfd(count, flags));
}

int __wrap_timerfd_create(int clock, int flags)
{
    return refuse(MACHINE_DESCRIPTORS, EMFILE) ? -1 : give(__real_timerfd_create(clock, flags));
}

int __wrap_epoll_create1(int flags)
{
    return refuse(MACHINE_DESCRIPTORS, EMFILE) ? -1 : give(__real_epoll_create1(flags));
}

int __wrap_epoll_ctl(int poll, int operation, int fd, struct epoll_event *event)
{
    return refuse(MACHINE_DESCRIPTORS, ENOSPC) ? -1 : __real_epoll_ctl(poll, operation, fd, event);
}

int __wrap_close(int fd)
{
    if (fd >= 0 && fd < DESCRIPTORS_MAX) {
        (void)pthread_mutex_lock(&machine.lock);
        machine.held -= machine.given[fd];
        machine.given[fd] = false;
        (void)pthread_mutex_unlock(&machine.lock);
    }
    return __real_close(fd);
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
