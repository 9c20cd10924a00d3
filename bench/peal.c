// SPDX-License-Identifier: MIT
//
// What the measurements of Peal share. See peal.h.

#include "peal.h"
#include <pthread.h>

void bench_must(enum peal_err err, const char *what)
{
    if (err) {
        bench_die("%s: %s: %s", what, peal_err_name(err), peal_error_sentence());
    }
}

peal_bus *bench_open(const char *url, const struct peal_bus_options *options)
{
    peal_bus *bus = NULL;
    bench_must(peal_bus_open(&bus, url, options), url);
    return bus;
}

struct opening {
    const char *url;
    const struct peal_bus_options *options;
    peal_bus *bus;
};

static void *open_beside(void *context)
{
    struct opening *opening = context;
    bench_use_cpu(1);
    opening->bus = bench_open(opening->url, opening->options);
    return NULL;
}

// Threads inherit their CPUs: what the bus starts is where the thread is that opens it.
peal_bus *bench_open_beside(const char *url, const struct peal_bus_options *options)
{
    struct opening opening = { .url = url, .options = options };
    pthread_t thread;
    if (pthread_create(&thread, NULL, open_beside, &opening) || pthread_join(thread, NULL)) {
        bench_die("cannot start a thread to open %s in", url);
    }
    return opening.bus;
}

peal_bus *bench_open_bare(void)
{
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                        .history_events = PEAL_NO_HISTORY };
    return bench_open("mem:", &options);
}

const peal_topic *bench_topic(peal_bus *bus, const char *type)
{
    const peal_topic *topic = NULL;
    bench_must(peal_topic_open(&topic, bus, type), type);
    return topic;
}

void bench_subscribe(peal_bus *bus, const char *pattern, enum peal_mode mode, peal_handler *handler,
                     void *context)
{
    struct peal_subscribe_options options = { .mode = mode };
    bench_must(peal_subscribe(NULL, bus, pattern, &options, handler, context), pattern);
}

static enum peal_verdict handle(const peal_event *event, void *context)
{
    struct bench_tally *tally = context;
    const unsigned char *data = peal_event_data(event);
    tally->sum += data[0];
    return PEAL_DONE;
}

static enum peal_verdict handle_in_worker(const peal_event *event, void *context)
{
    bench_tally_add(context, peal_event_data(event));
    return PEAL_DONE;
}

peal_handler *bench_opaque_peal_handler(void)
{
    peal_handler *volatile handler = handle;
    return handler;
}

peal_handler *bench_opaque_peal_worker(void)
{
    peal_handler *volatile handler = handle_in_worker;
    return handler;
}
