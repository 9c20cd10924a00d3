// SPDX-License-Identifier: MIT
//
// A bus without workers: the caller's thread runs the handlers, when the caller says so.
//
// peal_bus_fd is an epoll descriptor over an eventfd (something is in the run queue) and a timerfd
// (the next retry, batch or acknowledgement). Both stay readable until a dispatch finds nothing
// left to do, so it does not matter whether the caller polls by level or by edge.
#include "bus/calls.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

static void arm(int fd, int64_t when)
{
    struct itimerspec spec = { { 0, 0 }, { 0, 0 } };
    if (when != PL_FOREVER) {
        int64_t at = when > 0 ? when : 1; // zero would disarm it
        spec.it_value.tv_sec = at / PL_NS_PER_S;
        spec.it_value.tv_nsec = at % PL_NS_PER_S;
    }
    (void)timerfd_settime(fd, TFD_TIMER_ABSTIME, &spec, NULL); // a valid time on a valid timer
}

void pl_poll_signal(struct peal_bus *bus)
{
    int fd = atomic_load_explicit(&bus->event_fd, memory_order_acquire);
    uint64_t one = 1;
    if (fd >= 0 && write(fd, &one, sizeof one) < 0) {
        return; // the counter is at its top: it is readable
    }
}

void pl_poll_timer(struct peal_bus *bus)
{
    int fd = atomic_load_explicit(&bus->timer_fd, memory_order_acquire);
    if (fd < 0) {
        return;
    }
    // Several may arm it. Whoever does looks again after: the last one armed it with the newest.
    int64_t when;
    do {
        when = pl_bus_next_timer(bus);
        arm(fd, when);
    } while (when != pl_bus_next_timer(bus));
}

// Nothing is left: not readable, until there is something.
static void quieten(struct peal_bus *bus)
{
    uint64_t count;
    int fd = atomic_load_explicit(&bus->event_fd, memory_order_relaxed);
    if (fd < 0) {
        return;
    }
    if (read(fd, &count, sizeof count) < 0) {
        return; // it was not readable
    }
    // What came between the last look at the queue and the read.
    if (atomic_load_explicit(&bus->runs.length, memory_order_acquire) > 0) {
        pl_poll_signal(bus);
    }
}

void pl_poll_close(struct peal_bus *bus)
{
    int fds[] = { atomic_load(&bus->poll_fd), atomic_load(&bus->timer_fd),
                  atomic_load(&bus->event_fd) };
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]); // nothing was written that could be lost
        }
    }
}

static enum peal_err open_fds(struct peal_bus *bus)
{
    int event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    int poll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = { .events = EPOLLIN };
    if (event_fd >= 0 && timer_fd >= 0 && poll_fd >= 0 &&
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, event_fd, &event) == 0 &&
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, timer_fd, &event) == 0) {
        atomic_store_explicit(&bus->poll_fd, poll_fd, memory_order_release);
        atomic_store_explicit(&bus->timer_fd, timer_fd, memory_order_release);
        atomic_store_explicit(&bus->event_fd, event_fd, memory_order_release);
        return PEAL_OK;
    }
    enum peal_err err =
        pl_fail(PEAL_EIO, "peal_bus_fd: no descriptor to be had: %s", strerrordesc_np(errno));
    int fds[] = { event_fd, timer_fd, poll_fd };
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
    return err;
}

enum peal_err peal_bus_fd(int *out, peal_bus *bus)
{
    if (!out || !bus) {
        return pl_fail(PEAL_EINVAL, "peal_bus_fd needs a bus and a place for the descriptor");
    }
    enum peal_err err = pl_bus_check_open(bus);
    if (!err && (bus->options.workers >= 0 || bus->options.world)) {
        err = pl_fail(PEAL_ESTATE, "peal_bus_fd is for buses opened with PEAL_NO_WORKERS, in real "
                                   "time");
    }
    if (err) {
        return err;
    }
    pl_mutex_lock(&bus->lock, bus->seams);
    if (atomic_load_explicit(&bus->poll_fd, memory_order_relaxed) < 0) {
        err = open_fds(bus);
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
    if (err) {
        return err;
    }
    pl_poll_timer(bus);
    if (atomic_load_explicit(&bus->runs.length, memory_order_acquire) > 0) {
        pl_poll_signal(bus);
    }
    *out = atomic_load_explicit(&bus->poll_fd, memory_order_relaxed);
    return PEAL_OK;
}

static enum peal_err check_driver(struct peal_bus *bus, struct pl_slot **out)
{
    if (!bus) {
        return pl_fail(PEAL_EINVAL, "driving a bus needs a bus");
    }
    enum peal_err err = pl_bus_check_open(bus);
    if (err) {
        return err;
    }
    if (bus->options.workers >= 0) {
        return pl_fail(PEAL_ESTATE,
                       "the bus was opened with %d workers that run its handlers; open it with "
                       "PEAL_NO_WORKERS to drive it yourself",
                       bus->options.workers);
    }
    struct pl_slot *slot = pl_slot_mine(bus);
    if (!slot) {
        return PEAL_ENOMEM;
    }
    if (slot->current) {
        return pl_fail(PEAL_ESTATE, "a handler cannot drive the bus that runs it");
    }
    *out = slot;
    return PEAL_OK;
}

enum peal_err peal_bus_dispatch(peal_bus *bus, size_t budget, size_t *done)
{
    struct pl_slot *slot;
    enum peal_err err = check_driver(bus, &slot);
    if (err) {
        return err;
    }
    size_t count = pl_runs_dispatch(bus, slot, budget);
    if (atomic_load_explicit(&bus->runs.length, memory_order_acquire) == 0) {
        quieten(bus);
    } else {
        pl_poll_signal(bus); // another thread that dispatches may have found it quiet
    }
    pl_poll_timer(bus);
    if (done) {
        *done = count;
    }
    return PEAL_OK;
}

enum peal_err peal_bus_run(peal_bus *bus, uint64_t timeout_ms)
{
    struct pl_slot *slot;
    enum peal_err err = check_driver(bus, &slot);
    if (err) {
        return err;
    }
    int64_t deadline = pl_deadline(bus, timeout_ms);
    while (!atomic_exchange_explicit(&bus->woken, false, memory_order_acq_rel) &&
           pl_bus_check_open(bus) == PEAL_OK) {
        size_t done;
        err = peal_bus_dispatch(bus, 0, &done);
        if (err) {
            return err;
        }
        if (pl_bus_ticks(bus) >= deadline) {
            break;
        }
        if (done == 0) {
            pl_runs_park(bus, deadline);
        }
    }
    pl_runs_pass_on(bus);
    return PEAL_OK;
}

void peal_bus_wake(peal_bus *bus)
{
    if (!bus) {
        return;
    }
    atomic_store_explicit(&bus->woken, true, memory_order_release);
    atomic_fetch_add_explicit(&bus->runs.signal, 1, memory_order_release);
    bus->seams->wake(bus->seams->world, &bus->runs.signal, UINT32_MAX);
    pl_poll_signal(bus);
}
