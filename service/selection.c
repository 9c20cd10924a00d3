// SPDX-License-Identifier: MIT
//
// The pattern is the bus's to look at; the rest is made ready once and asked of each event.
#include "service/selection.h"

#include "service/auth.h"
#include "service/binary.h"
#include "service/query.h"
#include "service/socket.h"

// ---- events -------------------------------------------------------------------------------------

bool service_selects(const struct service_selection *selection, const peal_event *event)
{
    return peal_matcher_takes(selection->matcher, event) &&
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
        if (digit > 9 || *out > (UINT64_MAX - digit) / 10) {
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
    } else if (service_value(call, "from")) { // 0, or the beginning of time
        out->from = PEAL_FROM_BEGINNING;
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

static bool keep(struct service_call *call, struct service_selection *selection,
                 struct peal_query query)
{
    selection->identity = call->identity ? auth_identity_ref(call->identity) : NULL;
    query.pattern = NULL;
    query.filter = NULL; // it asks the call, which ends
    enum peal_err err = peal_matcher_create(&selection->matcher, &query);
    if (err) {
        service_fail(call, err);
    }
    return !err;
}

// Nothing but the type, and who reads, decides.
static bool is_alike(const struct peal_query *query)
{
    return !query->subject && !query->correlation && !query->causation && !query->source &&
           !query->contains && !query->id && !query->to_position && !query->to_time_ns &&
           !query->from_time_ns;
}

bool service_selection_read(struct service_call *call, struct service_selection *selection,
                            struct service_feed_start *start)
{
    struct peal_query query;
    if (!service_read_query(call, &query) || !service_number(call, "max_rate", &start->max_rate) ||
        !read_start(call, &query, start) || !check_start(call, start)) {
        return false;
    }
    start->pattern = query.pattern ? query.pattern : "**";
    if (!keep(call, selection, query)) {
        return false;
    }
    start->alike = is_alike(&query);
    start->identity = selection->identity;
    return true;
}

void service_selection_finish(struct service_selection *selection)
{
    auth_identity_unref(selection->identity);
    peal_matcher_destroy(selection->matcher);
}
