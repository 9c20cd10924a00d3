// SPDX-License-Identifier: MIT
//
// Lookups: a queue under one lock, and detached threads that take from it.
//
// The lookups are counted by whoever opened them, by each thread, and by each lookup that is out:
// the last one to let go frees them. So closing waits for nobody. A lookup is held by who asked and
// by the queue or the thread that has it. Both counts are under the lock.
#include "service/webhook_lookup.h"

#include "base/error.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct service_lookup {
    struct service_lookups *lookups;
    struct service_lookup *next; // in the queue
    unsigned holders;
    bool done;
    struct service_lookup_result result;
    char host[256];
};

struct service_lookups {
    pthread_mutex_t lock; // guards all below, and `holders`, `done`, `result` of lookups
    pthread_cond_t changed;
    unsigned holders;
    unsigned threads, idle, queued;
    bool closed;
    struct service_lookup *first, *last; // the queue
    service_lookup_function *function;
    void *context;
    void (*wake)(void *context);
    void *wake_context;
};

static bool ask_system(struct service_lookup_result *out, const char *host, void *context)
{
    (void)context;
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
    struct addrinfo *list = NULL;
    int code = getaddrinfo(host, NULL, &hints, &list);
    if (code != 0) {
        (void)snprintf(out->why, sizeof out->why, "%s", gai_strerror(code));
        return false;
    }
    for (const struct addrinfo *one = list; one && out->count < SERVICE_LOOKUP_ADDRESSES;
         one = one->ai_next) {
        out->count += service_ip_from(&out->addresses[out->count], one->ai_addr);
    }
    freeaddrinfo(list);
    return out->count > 0;
}

// With the lock, which it gives back. The last one frees.
static void let_go(struct service_lookups *lookups)
{
    bool last = --lookups->holders == 0;
    pthread_mutex_unlock(&lookups->lock);
    if (last) {
        pthread_cond_destroy(&lookups->changed);
        pthread_mutex_destroy(&lookups->lock);
        free(lookups);
    }
}

// With the lock. The last one frees it, and its hold on the lookups with it; these are held by
// whoever calls, too.
static void drop(struct service_lookup *lookup)
{
    if (--lookup->holders == 0) {
        lookup->lookups->holders--;
        free(lookup);
    }
}

static struct service_lookup *take(struct service_lookups *lookups)
{
    while (!lookups->first && !lookups->closed) {
        lookups->idle++;
        pthread_cond_wait(&lookups->changed, &lookups->lock);
        lookups->idle--;
    }
    struct service_lookup *lookup = lookups->first;
    if (lookup) {
        lookups->first = lookup->next;
        lookups->queued--;
    }
    return lookup;
}

static void *resolve(void *context)
{
    struct service_lookups *lookups = context;
    sigset_t all;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, NULL); // signals are for others
    pthread_mutex_lock(&lookups->lock);
    struct service_lookup *lookup;
    while ((lookup = take(lookups))) {
        struct service_lookup_result result = { 0 };
        bool wanted = !lookups->closed && lookup->holders > 1;
        pthread_mutex_unlock(&lookups->lock);
        if (wanted && !lookups->function(&result, lookup->host, lookups->context)) {
            result.count = 0;
        }
        pthread_mutex_lock(&lookups->lock);
        lookup->result = result;
        lookup->done = true;
        drop(lookup);
        if (!lookups->closed) {
            lookups->wake(lookups->wake_context);
        }
    }
    lookups->threads--;
    let_go(lookups);
    return NULL;
}

// With the lock. false: nobody will look at the queue.
static bool see_to_a_thread(struct service_lookups *lookups)
{
    if (lookups->idle > lookups->queued || lookups->threads >= SERVICE_LOOKUP_THREADS) {
        pthread_cond_signal(&lookups->changed);
        return true;
    }
    pthread_t thread;
    pthread_attr_t detached;
    if (pthread_attr_init(&detached)) {
        return lookups->threads > 0;
    }
    (void)pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED); // cannot fail
    bool started = pthread_create(&thread, &detached, resolve, lookups) == 0;
    (void)pthread_attr_destroy(&detached); // cannot fail
    lookups->threads += started;
    lookups->holders += started;
    return lookups->threads > 0;
}

enum peal_err service_lookups_open(struct service_lookups **out, service_lookup_function *function,
                                   void *context, void (*wake)(void *context), void *wake_context)
{
    struct service_lookups *lookups = calloc(1, sizeof *lookups);
    if (!lookups) {
        return pl_fail(PEAL_ENOMEM, "no memory to resolve the hosts of webhooks");
    }
    pthread_mutex_init(&lookups->lock, NULL);
    pthread_cond_init(&lookups->changed, NULL);
    lookups->holders = 1;
    lookups->function = function ? function : ask_system;
    lookups->context = context;
    lookups->wake = wake;
    lookups->wake_context = wake_context;
    *out = lookups;
    return PEAL_OK;
}

void service_lookups_close(struct service_lookups *lookups)
{
    if (!lookups) {
        return;
    }
    pthread_mutex_lock(&lookups->lock);
    lookups->closed = true;
    pthread_cond_broadcast(&lookups->changed);
    if (lookups->threads == 0) { // nobody is left to empty the queue
        struct service_lookup *lookup;
        while ((lookup = lookups->first)) {
            lookups->first = lookup->next;
            drop(lookup);
        }
    }
    let_go(lookups);
}

enum peal_err service_lookup_begin(struct service_lookup **out, struct service_lookups *lookups,
                                   const char *host)
{
    struct service_lookup *lookup = calloc(1, sizeof *lookup);
    if (!lookup) {
        return pl_fail(PEAL_ENOMEM, "no memory to resolve the host of a webhook");
    }
    (void)snprintf(lookup->host, sizeof lookup->host, "%s", host); // longer ones have no address
    lookup->lookups = lookups;
    lookup->holders = 2;
    pthread_mutex_lock(&lookups->lock);
    bool seen = see_to_a_thread(lookups);
    if (seen) {
        lookups->holders++;
        if (lookups->first) {
            lookups->last->next = lookup;
        } else {
            lookups->first = lookup;
        }
        lookups->last = lookup;
        lookups->queued++;
    }
    pthread_mutex_unlock(&lookups->lock);
    if (!seen) {
        free(lookup);
        return pl_fail(PEAL_EAGAIN, "no thread could be started to resolve the host of a webhook");
    }
    *out = lookup;
    return PEAL_OK;
}

bool service_lookup_result(struct service_lookup_result *out, struct service_lookup *lookup)
{
    struct service_lookups *lookups = lookup->lookups;
    pthread_mutex_lock(&lookups->lock);
    bool done = lookup->done;
    if (done) {
        *out = lookup->result;
    }
    pthread_mutex_unlock(&lookups->lock);
    return done;
}

void service_lookup_end(struct service_lookup *lookup)
{
    if (!lookup) {
        return;
    }
    struct service_lookups *lookups = lookup->lookups;
    pthread_mutex_lock(&lookups->lock);
    lookups->holders++; // our own, while we let go of the lookup
    drop(lookup);
    let_go(lookups);
}
