// SPDX-License-Identifier: MIT
//
// The loop runs in a thread; what a test wants to have done there is posted, and waited for.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/serving.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static void *run_loop(void *context)
{
    net_loop_run(context);
    return NULL;
}

void serving_open_with(struct serving *out, peal_bus *bus, const struct service_options *options)
{
    struct sockaddr_in loopback = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    struct addrinfo address = { .ai_family = AF_INET,
                                .ai_socktype = SOCK_STREAM,
                                .ai_addr = (struct sockaddr *)(void *)&loopback,
                                .ai_addrlen = sizeof loopback };
    char error[160] = "";
    *out = (struct serving){ .bus = bus };
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(net_loop_open(&out->loop, 4), PEAL_OK);
    assert_int_equal(service_open(&out->service, bus, out->loop, options), PEAL_OK);
    if (!net_http_listen(out->service->http, &address, NULL, &out->port, error)) {
        fail_msg("cannot listen: %s", error);
    }
    assert_int_equal(pthread_create(&out->thread, NULL, run_loop, out->loop), 0);
}

void serving_open(struct serving *out, const char *url, const struct service_options *options)
{
    const struct peal_bus_options bus_options = { .workers = 2, .pressure = PEAL_PRESSURE_REJECT };
    peal_bus *bus = NULL;
    assert_int_equal(peal_bus_open(&bus, url, &bus_options), PEAL_OK);
    serving_open_with(out, bus, options);
}

// ---- on the loop --------------------------------------------------------------------------------

struct errand {
    struct net_task task;
    struct serving *serving;
    void (*run)(struct serving *serving, void *context);
    void *context;
    sem_t done;
};

static void run_errand(struct net_task *task)
{
    struct errand *errand = (struct errand *)(void *)task; // its first member
    errand->run(errand->serving, errand->context);
    (void)sem_post(&errand->done);
}

void serving_run(struct serving *serving, void (*run)(struct serving *serving, void *context),
                 void *context)
{
    struct errand errand = {
        .task = { .run = run_errand }, .serving = serving, .run = run, .context = context
    };
    assert_int_equal(sem_init(&errand.done, 0, 0), 0);
    net_loop_post(serving->loop, &errand.task);
    while (sem_wait(&errand.done)) {
    }
    (void)sem_destroy(&errand.done);
}

static void get_counts(struct serving *serving, void *context)
{
    net_http_counts(serving->service->http, context);
}

void serving_counts(struct serving *serving, struct net_http_counts *out)
{
    serving_run(serving, get_counts, out);
}

bool serving_settles(struct serving *serving, uint64_t open)
{
    time_t until = time(NULL) + 10;
    struct net_http_counts counts;
    do {
        serving_counts(serving, &counts);
        (void)sched_yield();
    } while (counts.open != open && time(NULL) < until);
    return counts.open == open;
}

// ---- the end ------------------------------------------------------------------------------------

void serving_close(struct serving *serving)
{
    net_loop_stop(serving->loop);
    assert_int_equal(pthread_join(serving->thread, NULL), 0);
    service_close(serving->service);
    net_loop_close(serving->loop);
    peal_bus_close(serving->bus);
}
