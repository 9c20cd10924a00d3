// SPDX-License-Identifier: MIT
//
// Epoll loop: the program has its own event loop, and the bus is one of the things in it.
//
// With PEAL_NO_WORKERS the bus starts no thread. Its file descriptor is readable while there is
// something to do, timers and retries included; the loop then runs what is ready, a few handlers at
// a time, so that a busy bus does not starve the rest. Here the rest is a timer that measures.
#include <err.h>
#include <peal/peal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { SAMPLES = 5, BUDGET = 64, PATIENCE_MS = 5000 };

struct watch {
    int handled, retried;
};

static void must(bool ok, const char *what)
{
    if (!ok) {
        errx(1, "%s failed. %s", what, peal_error_sentence());
    }
}

// The third sample fails once; the bus brings it again a few milliseconds later, through the loop.
static enum peal_verdict on_sample(const peal_event *event, void *context)
{
    struct watch *watch = context;
    if (peal_event_position(event) == 3 && peal_event_attempt(event) == 1) {
        watch->retried++;
        return PEAL_RETRY;
    }
    printf("sample at position %llu, attempt %u\n", (unsigned long long)peal_event_position(event),
           peal_event_attempt(event));
    watch->handled++;
    return PEAL_DONE;
}

static int open_timer(void)
{
    struct itimerspec every = {
        .it_value = { .tv_nsec = 1000000 },
        .it_interval = { .tv_nsec = 1000000 },
    };
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    must(timer >= 0 && timerfd_settime(timer, 0, &every, NULL) == 0, "a timer");
    return timer;
}

static void watch_fd(int epoll, int fd)
{
    struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
    must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
}

int main(void)
{
    peal_bus *bus = NULL;
    int bus_fd = -1;
    struct watch watch = { 0 };
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS };
    struct peal_subscribe_options patient = { .retry = { .initial_ms = 3, .no_jitter = true } };
    must(!peal_bus_open(&bus, "mem:", &options), "peal_bus_open");
    must(!peal_subscribe(NULL, bus, "sensor.*", &patient, on_sample, &watch), "peal_subscribe");
    must(!peal_bus_fd(&bus_fd, bus), "peal_bus_fd");

    int timer = open_timer();
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    must(epoll >= 0, "epoll_create1");
    watch_fd(epoll, timer);
    watch_fd(epoll, bus_fd);

    int measured = 0;
    while (watch.handled < SAMPLES) {
        struct epoll_event ready;
        must(epoll_wait(epoll, &ready, 1, PATIENCE_MS) == 1, "epoll_wait");
        uint64_t ticks = 0;
        if (ready.data.fd == bus_fd) {
            must(!peal_bus_dispatch(bus, BUDGET, NULL), "peal_bus_dispatch");
        } else if (read(timer, &ticks, sizeof(ticks)) == sizeof(ticks) && measured < SAMPLES) {
            peal_emit(bus, "sensor.sample", "{\"celsius\":41}", 14);
            measured++;
        }
    }
    peal_bus_close(bus);
    close(epoll);
    close(timer);

    printf("%d measured, %d handled, %d of them at the second attempt, no thread but ours\n",
           measured, watch.handled, watch.retried);
    return measured == SAMPLES && watch.retried == 1 ? 0 : 1;
}
