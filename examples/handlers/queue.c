// SPDX-License-Identifier: MIT
//
// The queue: how many jobs wait is a metric that follows from what happens to them.
#include <stdio.h>
#include <string.h>

#include "handlers.h"

static enum peal_verdict on_job(const peal_event *event, void *context)
{
    struct handlers *handlers = context;
    bool comes = strcmp(peal_event_type(event), "queue.job.added") == 0;
    int depth = atomic_fetch_add(&handlers->depth, comes ? 1 : -1) + (comes ? 1 : -1);
    char data[32];
    (void)snprintf(data, sizeof data, "{\"depth\":%d}", depth);
    return derive(handlers, event, "metrics.queue.depth", data);
}

void queue_begin(struct handlers *handlers)
{
    const struct peal_subscribe_options options = { PEAL_SUBSCRIBE_HERE, .name = "queue" };
    must(peal_subscribe(NULL, handlers->bus, "queue.job.added, queue.job.taken", &options, on_job,
                        handlers));
}
