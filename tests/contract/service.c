// SPDX-License-Identifier: MIT
// ctest: threaded timeout=600 wrap=malloc,calloc,realloc,free,mmap,munmap,mprotect
// ctest: wrap=pthread_create,pthread_join,eventfd,timerfd_create,epoll_create1,epoll_ctl,close
//
// The contract of an engine (engine.c), of one whose log a service has: every promise with real
// threads, in real time, over a connection to `peal serve`, which is started anew for each and has
// a fresh log. What the engine can do then depends on the log of the service, and is a row here.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "bus/calls.h"
#include "engine/engine.h"
#include "support/folder.h"
#include "support/machine.h"
#include "support/stage.h"

#define PATIENCE_MS 60000 // more than the slowest build needs for anything here

// ---- the services -------------------------------------------------------------------------------

static const struct row {
    const char *url;
    enum peal_durability best, usual;
} rows[] = {
    { "mem:", PEAL_DURABILITY_MEMORY, PEAL_DURABILITY_MEMORY },
    { "file:./events", PEAL_DURABILITY_DISK, PEAL_DURABILITY_OS },
    { "file:./events?durability=disk", PEAL_DURABILITY_DISK, PEAL_DURABILITY_DISK },
};

#define ROWS (sizeof rows / sizeof rows[0])

struct service {
    pid_t pid;
    struct folder folder; // that "./" is to it
    char url[64];
};

static void run_service(const struct row *row, const struct folder *folder, int port_fd)
{
    char port_file[32];
    (void)snprintf(port_file, sizeof port_file, "/dev/fd/%d", port_fd);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); // also if the test does not get to its end
    if (chdir(folder->path) == 0) {
        (void)execl(PEAL_PROGRAM, "peal", "serve", "--url", row->url, "--listen", "127.0.0.1:0",
                    "--port-file", port_file, "--log-level", "error", (char *)NULL);
    }
    _exit(127);
}

static void start(struct service *service, const struct row *row)
{
    int ends[2];
    char line[16] = "";
    folder_open(&service->folder, "");
    assert_int_equal(pipe(ends), 0);
    service->pid = fork();
    assert_true(service->pid >= 0);
    if (service->pid == 0) {
        run_service(row, &service->folder, ends[1]);
    }
    (void)close(ends[1]);
    for (size_t used = 0; used < sizeof line - 1 && !strchr(line, '\n');) {
        ssize_t count = read(ends[0], line + used, sizeof line - 1 - used);
        assert_true(count > 0); // else it has not started, and has said why
        used += (size_t)count;
    }
    (void)close(ends[0]);
    (void)snprintf(service->url, sizeof service->url, "http://127.0.0.1:%lu",
                   strtoul(line, NULL, 10));
}

static void end(struct service *service)
{
    int status = 0;
    assert_int_equal(kill(service->pid, SIGTERM), 0);
    assert_int_equal(waitpid(service->pid, &status, 0), service->pid);
    assert_int_equal(status, 0); // it has left nothing behind, as a sanitizer would have found
    folder_close(&service->folder);
}

// ---- a bus on one -------------------------------------------------------------------------------

struct subject {
    struct stage stage;
    struct service service;
    const struct pl_engine_ops *ops;
    bool keeps;
    enum peal_durability best, usual;
};

static void open_bus(struct subject *subject, int workers)
{
    const struct peal_bus_options options = { .workers = workers };
    enum peal_err err = peal_bus_open(&subject->stage.bus, subject->service.url, &options);
    if (err) {
        print_error("%s\n", peal_error_sentence());
    }
    assert_int_equal(err, PEAL_OK);
}

static void open_subject(struct subject *subject, size_t index, int workers)
{
    const struct row *row = &rows[index];
    *subject = (struct subject){ .ops = &pl_engine_http,
                                 .keeps = true,

                                 .best = row->best,
                                 .usual = row->usual };
    start(&subject->service, row);
    open_bus(subject, workers);
}

static void leave(struct subject *subject)
{
    peal_bus_close(subject->stage.bus);
    end(&subject->service);
}

static void reopen(struct subject *subject)
{
    peal_bus_close(subject->stage.bus);
    open_bus(subject, PEAL_NO_WORKERS);
}

// ---- driving it ---------------------------------------------------------------------------------

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// Durable names are the service's: has each been given all there is, and said what became of it?
static bool names_rest(peal_bus *bus)
{
    struct peal_subscription_list list;
    assert_int_equal(peal_subscription_list(&list, bus), PEAL_OK);
    bool rest = true;
    for (size_t i = 0; i < list.count; i++) {
        const struct peal_subscription_info *info = &list.subscriptions[i];
        rest = rest && (info->members == 0 || (info->lag == 0 && info->unsettled == 0));
    }
    peal_subscription_list_finish(&list);
    return rest;
}

// Does nothing wait for a worker? What waits to be pulled, or for its time, may.
static bool mailboxes_rest(peal_bus *bus)
{
    bool rest = true;
    struct pl_mailbox *mailbox;
    pl_mutex_lock(&bus->lock, bus->seams);
    PL_LIST_EACH (mailbox, &bus->mailboxes, link) {
        struct peal_subscription_stats stats;
        struct pl_hold_numbers numbers;
        pl_mailbox_stats(mailbox, &stats, &numbers);
        uint64_t waiting = stats.waiting - pl_mailbox_unwanted(mailbox, &numbers);
        rest = rest && (mailbox->mode != PEAL_WORKER || waiting + stats.in_flight == 0 ||
                        bus->options.workers == PEAL_NO_WORKERS);
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
    return rest;
}

// All that was published is here, and everybody has done what there was to do.
static bool rests(struct subject *subject)
{
    peal_bus *bus = subject->stage.bus;
    struct peal_bus_stats stats;
    size_t done = 0;
    if (peal_bus_stats(&stats, bus) == PEAL_ECLOSED) {
        return true; // stopped
    }
    if (bus->options.workers == PEAL_NO_WORKERS) {
        assert_int_equal(peal_bus_dispatch(bus, 0, &done), PEAL_OK);
    }
    return done == 0 && mailboxes_rest(bus) && names_rest(bus);
}

static void settle(struct subject *subject)
{
    int64_t until = now_ms() + PATIENCE_MS;
    while (!rests(subject)) {
        assert_true(now_ms() < until);
        (void)poll(NULL, 0, 1);
    }
}

static void advance(struct subject *subject, uint64_t ms)
{
    peal_bus *bus = subject->stage.bus;
    int64_t until = now_ms() + (int64_t)ms;
    for (;;) {
        settle(subject);
        int64_t next_ms = pl_bus_next_timer(bus) / PL_NS_PER_MS + 1;
        if (next_ms > until) {
            return;
        }
        int64_t left = next_ms - now_ms();
        (void)poll(NULL, 0, left > 0 ? (int)left : 0);
    }
}

struct puller {
    peal_subscription *subscription;
    uint64_t timeout_ms;
    enum peal_err err;
    unsigned got;
    pthread_t thread;
    void (*pull)(void *context);
};

static void *run_puller(void *context)
{
    struct puller *puller = context;
    puller->pull(puller);
    return NULL;
}

static void pull_begins(struct subject *subject, struct puller *puller, void (*pull)(void *context))
{
    (void)subject;
    puller->pull = pull;
    assert_int_equal(pthread_create(&puller->thread, NULL, run_puller, puller), 0);
}

static bool is_inside(peal_subscription *subscription)
{
    struct pl_mailbox *mailbox = subscription->mailbox;
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    bool inside = subscription->running > 0;
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    return inside;
}

// It has begun, at least; if it does not wait for ever, it may be over at any time.
static void pull_waits(struct subject *subject, struct puller *puller, uint64_t ms)
{
    (void)subject;
    (void)ms;
    int64_t until = now_ms() + PATIENCE_MS;
    while (puller->timeout_ms == UINT64_MAX && !is_inside(puller->subscription)) {
        assert_true(now_ms() < until);
        (void)poll(NULL, 0, 1);
    }
}

static enum peal_err pull_ends(struct subject *subject, struct puller *puller)
{
    (void)subject;
    assert_int_equal(pthread_join(puller->thread, NULL), 0);
    return puller->err;
}

#include "contract/promises.h"

// ---- no memory ----------------------------------------------------------------------------------

static void a_bus_is_opened_or_not_when_memory_fails(void **state)
{
    (void)state;
    struct service service;
    start(&service, &rows[0]);
    enum peal_err err = PEAL_ENOMEM;
    for (unsigned nth = 1; err; nth++) {
        peal_bus *bus = NULL;
        const struct peal_bus_options options = { .workers = 2 };
        int64_t held = machine_held();
        machine_refuse(MACHINE_MEMORY, nth, false);
        err = peal_bus_open(&bus, service.url, &options);
        machine_relent();
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        assert_int_equal(bus != NULL, err == PEAL_OK);
        peal_bus_close(bus);
        assert_int_equal(machine_held(), held);
        assert_true(nth < 200);
    }
    end(&service);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROMISES,
        cmocka_unit_test(a_bus_is_opened_or_not_when_memory_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
