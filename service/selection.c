// SPDX-License-Identifier: MIT
//
// The pattern is the bus's to look at; the rest is compared here, event by event.
#include "service/selection.h"

#include "service/auth.h"
#include "service/binary.h"
#include "service/query.h"
#include "service/socket.h"

#include <stdlib.h>
#include <string.h>

// ---- events -------------------------------------------------------------------------------------

static bool matches(const char *wanted, const char *is)
{
    return !wanted || strcmp(wanted, is) == 0;
}

bool service_selects(const struct service_selection *selection, const peal_event *event)
{
    uint64_t to = selection->to_position;
    int64_t from_ns = selection->from_time_ns, to_ns = selection->to_time_ns;
    return matches(selection->subject, peal_event_subject(event)) &&
           matches(selection->correlation, peal_event_correlation(event)) &&
           matches(selection->causation, peal_event_causation(event)) &&
           matches(selection->source, peal_event_source(event)) &&
           (!to || peal_event_position(event) < to) &&
           (!from_ns || peal_event_time(event) >= from_ns) &&
           (!to_ns || peal_event_time(event) < to_ns) &&
           (!selection->identity || auth_may_read(selection->identity, peal_event_type(event)));
}

bool service_selection_is_over(const struct service_selection *selection)
{
    return selection->identity && auth_is_revoked(selection->identity);
}

// ---- what was asked -----------------------------------------------------------------------------

// `Last-Event-ID` (SSE), else `after`. False: it is no cursor.
static bool read_cursor(struct service_call *call, uint64_t *out, bool *out_is_there)
{
    struct net_part last = net_head_find(call->head, "last-event-id");
    *out_is_there = last.size > 0;
    if (!last.size) {
        bool good = service_number(call, "after", out);
        *out_is_there = service_value(call, "after") != NULL;
        return good;
    }
    for (size_t i = 0; i < last.size; i++) {
        unsigned digit = (unsigned char)last.bytes[i] - '0';
        if (digit > 9 || i > 18) {
            service_refuse(call, 400, "inval", "Last-Event-ID: %.*s is no cursor of ours",
                           (int)last.size, last.bytes);
            return false;
        }
        *out = *out * 10 + digit;
    }
    return true;
}

// Where it begins: behind a cursor, at `from`, or now.
static bool read_start(struct service_call *call, const struct peal_query *query,
                       struct service_feed_start *out)
{
    uint64_t after = 0;
    bool resumes = false;
    if (!read_cursor(call, &after, &resumes)) {
        return false;
    }
    if (resumes || query->from_position) {
        out->from = PEAL_FROM_POSITION;
        out->position = resumes ? after + (after < UINT64_MAX) : query->from_position;
    } else if (query->from_time_ns) {
        out->from = PEAL_FROM_TIME;
        out->time_ns = query->from_time_ns;
    }
    return true;
}

// A cursor ahead of the log (that of another one, or of one that was cut) is refused with a word.
static bool check_start(struct service_call *call, const struct service_feed_start *start)
{
    struct peal_bus_stats stats;
    if (start->from == PEAL_FROM_POSITION && !peal_bus_stats(&stats, call->service->bus) &&
        start->position > stats.last_position + 1) {
        service_refuse(call, 400, "inval",
                       "the cursor %llu is ahead of the log, which ends at %llu: it is of another "
                       "one; begin anew without it",
                       (unsigned long long)(start->position - 1),
                       (unsigned long long)stats.last_position);
        return false;
    }
    return true;
}

bool service_has_room(struct service_call *call)
{
    const struct service *service = call->service;
    size_t open = service_feeds_count(service) + service_sockets_count(service->sockets) +
                  service_binaries_count(service->binaries);
    if (open >= service->options.live_max) {
        service_refuse(call, 503, "limit",
                       "%u streams and sockets are open already: try again later",
                       service->options.live_max);
        return false;
    }
    return true;
}

static bool copy(char **out, const char *text)
{
    *out = text ? strdup(text) : NULL;
    return *out || !text;
}

static bool keep(struct service_call *call, struct service_selection *selection,
                 const struct peal_query *query)
{
    selection->identity = call->identity ? auth_identity_ref(call->identity) : NULL;
    selection->to_position = query->to_position;
    selection->from_time_ns = query->from_time_ns;
    selection->to_time_ns = query->to_time_ns;
    if (copy(&selection->subject, query->subject) &&
        copy(&selection->correlation, query->correlation) &&
        copy(&selection->causation, query->causation) && copy(&selection->source, query->source)) {
        return true;
    }
    service_refuse(call, 503, "nomem", "no memory; try again later");
    return false;
}

// Nothing but the type, and who reads, decides.
static bool is_alike(const struct service_selection *selection)
{
    return !selection->subject && !selection->correlation && !selection->causation &&
           !selection->source && !selection->to_position && !selection->to_time_ns &&
           !selection->from_time_ns;
}

bool service_selection_read(struct service_call *call, struct service_selection *selection,
                            struct service_feed_start *start)
{
    struct peal_query query;
    if (!service_read_query(call, &query) || !service_number(call, "max_rate", &start->max_rate) ||
        !read_start(call, &query, start) || !check_start(call, start)) {
        return false;
    }
    if (query.contains) {
        service_refuse(call, 400, "unsupported",
                       "contains is for what is in the log already: ask GET /v1/events for it");
        return false;
    }
    start->pattern = query.pattern ? query.pattern : "**";
    if (!keep(call, selection, &query)) {
        return false;
    }
    start->alike = is_alike(selection);
    start->identity = selection->identity;
    return true;
}

void service_selection_finish(struct service_selection *selection)
{
    auth_identity_unref(selection->identity);
    free(selection->subject);
    free(selection->correlation);
    free(selection->causation);
    free(selection->source);
}
