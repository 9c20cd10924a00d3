// SPDX-License-Identifier: MIT
//
// Matcher: a query made ready to be asked of one event after another, apart from any log.
//
// What a reader asks of frames (query.h) is asked here of events, with the same answer; tests
// compare the two. No bus, so the real machine's memory. Nothing changes once it is made.
#include "bus/query.h"

#include "base/error.h"
#include "event/pattern.h"

#include <string.h>

struct peal_matcher {
    struct pl_query query;
};

enum peal_err peal_matcher_create(peal_matcher **out, const struct peal_query *query)
{
    if (!out) {
        return pl_fail(PEAL_EINVAL, "a matcher needs a place to be put");
    }
    peal_matcher *matcher = pl_new(&pl_seams_real, sizeof *matcher);
    if (!matcher) {
        return pl_fail(PEAL_ENOMEM, "no memory for a matcher");
    }
    enum peal_err err = pl_query_init(&matcher->query, &pl_seams_real, query);
    if (err) {
        peal_matcher_destroy(matcher);
        return err;
    }
    *out = matcher;
    return PEAL_OK;
}

void peal_matcher_destroy(peal_matcher *matcher)
{
    if (matcher) {
        pl_query_finish(&matcher->query, &pl_seams_real);
        pl_release(&pl_seams_real, matcher);
    }
}

static bool is_in_range(const struct peal_query *asked, const peal_event *event)
{
    uint64_t position = peal_event_position(event);
    if (position < asked->from_position || (asked->to_position && position >= asked->to_position)) {
        return false;
    }
    if (!asked->from_time_ns && !asked->to_time_ns) {
        return true;
    }
    int64_t time = peal_event_time(event);
    return (!asked->from_time_ns || time >= asked->from_time_ns) &&
           (!asked->to_time_ns || time < asked->to_time_ns);
}

static bool is(const char *wanted, const char *value)
{
    return !wanted || strcmp(wanted, value) == 0;
}

static bool has_attributes(const struct peal_query *asked, const peal_event *event)
{
    return is(asked->correlation, peal_event_correlation(event)) &&
           is(asked->causation, peal_event_causation(event)) &&
           is(asked->subject, peal_event_subject(event)) &&
           is(asked->source, peal_event_source(event));
}

bool peal_matcher_takes(const peal_matcher *matcher, const peal_event *event)
{
    if (!matcher || !event) {
        return false;
    }
    const struct pl_query *query = &matcher->query;
    const char *type = peal_event_type(event);
    return (!query->pattern || pl_pattern_match(query->pattern, type, strlen(type))) &&
           is_in_range(&query->asked, event) &&
           (!query->attribute_count || has_attributes(&query->asked, event)) &&
           (!query->of_view || pl_query_takes_view(query, event));
}
