// SPDX-License-Identifier: MIT
//
// Query: what a reader looks for, made ready to be asked of every event of a log.
//
// A condition is only looked at if it was asked for, the cheapest first: the type by a byte for
// each type that has been met, then time and attributes in the frame, and only of what is left a
// view is made, for the id, the data and the caller's function.
//
// Ownership: everything of a `struct peal_query` is copied. Threads: one at a time.
#ifndef PL_BUS_QUERY_H
#define PL_BUS_QUERY_H

#include "bus/calls.h"
#include "filter/contains.h"

#include <peal/log.h>

// The conditions that are one attribute: correlation, causation, subject and source.
#define PL_QUERY_ATTRIBUTES 4

struct pl_query {
    struct peal_query asked; // its strings owned; pattern and contains are below
    struct pl_pattern *pattern;
    struct pl_contains *contains;
    struct {
        enum pl_tag tag;
        const char *text;
    } attributes[PL_QUERY_ATTRIBUTES];
    size_t attribute_count;
    bool of_frame, of_view; // there are conditions that look at it
    uint8_t *types;         // by type id: enum pl_type_wanted
    uint32_t types_size;
};

// `asked` NULL: everything. PEAL_EPATTERN, PEAL_EINVAL or PEAL_ELIMIT for `contains`, PEAL_ENOMEM;
// `out` is to be finished in any case.
enum peal_err pl_query_init(struct pl_query *out, const struct pl_seams *seams,
                            const struct peal_query *asked);
void pl_query_finish(struct pl_query *query, const struct pl_seams *seams); // fine on zeros

bool pl_query_takes_type(struct pl_query *query, struct peal_bus *bus, uint32_t type);
bool pl_query_takes_frame(const struct pl_query *query, const struct peal_bus *bus,
                          const struct pl_frame *frame);
bool pl_query_takes_view(const struct pl_query *query, const struct peal_event *event);

// Whether it matches; then `event` is a view of it. `segment` as in pl_bus_view.
static inline bool pl_query_takes(struct pl_query *query, struct peal_event *event,
                                  struct peal_bus *bus, const struct pl_frame *frame,
                                  struct pl_segment *segment)
{
    if (query->pattern &&
        !(frame->type < query->types_size && query->types[frame->type] == PL_TYPE_WANTED) &&
        !pl_query_takes_type(query, bus, frame->type)) {
        return false;
    }
    if (query->of_frame && !pl_query_takes_frame(query, bus, frame)) {
        return false;
    }
    pl_bus_view(event, bus, frame, segment);
    return !query->of_view || pl_query_takes_view(query, event);
}

#endif
