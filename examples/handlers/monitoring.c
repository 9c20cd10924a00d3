// SPDX-License-Identifier: MIT
//
// Monitoring: what went wrong becomes an alert, and what nobody can repair by trying again becomes
// a dead letter at once, with the reason.
#include <string.h>

#include "handlers.h"

static enum peal_verdict on_failed(const peal_event *event, void *context)
{
    struct handlers *handlers = context;
    atomic_fetch_add(&handlers->alerts, 1);
    return derive(handlers, event, "alert.critical", "{\"service\":\"evaluation\"}");
}

// A training that has stopped: a report on it, if it went well.
static enum peal_verdict on_stopped(const peal_event *event, void *context)
{
    struct handlers *handlers = context;
    const char *data = peal_event_data(event);
    if (data && memmem(data, peal_event_size(event), "\"success\"", strlen("\"success\""))) {
        atomic_fetch_add(&handlers->reports, 1);
        return derive(handlers, event, "report.training", NULL);
    }
    atomic_fetch_add(&handlers->refused, 1);
    peal_fail(event, "run_aborted", "this training did not succeed: there is nothing to report");
    return PEAL_REJECT;
}

void monitoring_begin(struct handlers *handlers)
{
    const struct peal_subscribe_options alerts = { PEAL_SUBSCRIBE_HERE, .name = "alerts" };
    const struct peal_subscribe_options reports = { PEAL_SUBSCRIBE_HERE,
                                                    .name = "training-reports" };
    must(peal_subscribe(NULL, handlers->bus, "evaluation.failed", &alerts, on_failed, handlers));
    must(peal_subscribe(NULL, handlers->bus, "training.run.stopped", &reports, on_stopped,
                        handlers));
}
