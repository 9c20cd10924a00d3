// SPDX-License-Identifier: MIT
//
// Serving: a service of a test's own, on a free port of the loopback.
//
//     struct serving serving;
//     serving_open(&serving, "mem:", NULL);     // bus, loop in a thread, service
//     client_open(&client, serving.port);       // support/client.h
//     ...
//     serving_close(&serving);
//
// What cannot be done here fails the test. Threads: the test's; what has to happen on the loop's is
// given to serving_run.
#ifndef PEAL_TESTS_SERVING_H
#define PEAL_TESTS_SERVING_H

#include <pthread.h>

#include "service/service.h"

struct serving {
    peal_bus *bus;
    struct net_loop *loop;
    struct service *service;
    pthread_t thread;
    unsigned port;
};

// `options` NULL: the defaults. They are *copied*, their texts *borrowed*.
void serving_open(struct serving *out, const char *url, const struct service_options *options);
// The same with a bus that is *given*.
void serving_open_with(struct serving *out, peal_bus *bus, const struct service_options *options);
// Runs something on the loop's thread and waits for it.
void serving_run(struct serving *serving, void (*run)(struct serving *serving, void *context),
                 void *context);
void serving_counts(struct serving *serving, struct net_http_counts *out);
// Waits until so many connections are open; false: not within ten seconds.
bool serving_settles(struct serving *serving, uint64_t open);
void serving_close(struct serving *serving);

#endif
