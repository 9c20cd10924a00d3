// SPDX-License-Identifier: MIT
//
// Counting what a log has of each type, from its end to its beginning, part by part.
//
// A part that an index knows is counted by it (log/catalog_types.c), any other by looking at its
// events. Whatever counts a type first has its last event. An index that turns out to be damaged is
// put away, and all is counted anew without it.
#include "bus/calls.h"

#include "base/error.h"

#include <peal/log.h>
#include <string.h>

// Positions that are looked at before somebody is told.
#define STEP 16384

struct count {
    uint64_t events;
    uint64_t part; // that has its last event; 0: none
    int64_t last_ns;
};

struct census {
    struct peal_bus *bus;
    const struct peal_types *asked;
    struct count *counts; // by the number of the type
    size_t size;
    uint64_t first, end; // what is counted, [first, end)
    uint64_t part;       // the first position of what is being counted
    struct pl_cursor place;
};

static enum peal_err count_of(struct census *census, uint32_t type, struct count **out)
{
    if (type >= census->size) {
        size_t size = census->size ? census->size : 64;
        while (size <= type) {
            size *= 2;
        }
        struct count *grown =
            pl_resize(census->bus->seams, census->counts, size * sizeof *census->counts);
        if (!grown) {
            return pl_fail(PEAL_ENOMEM, "no memory to count %zu types", size);
        }
        memset(grown + census->size, 0, (size - census->size) * sizeof *grown);
        census->counts = grown;
        census->size = size;
    }
    *out = &census->counts[type];
    return PEAL_OK;
}

static int64_t time_of(struct census *census, const struct pl_frame *frame)
{
    struct peal_event event;
    pl_bus_view(&event, census->bus, frame, NULL);
    return peal_event_time(&event);
}

static enum peal_err tell_progress(const struct census *census, uint64_t left)
{
    const struct peal_types *asked = census->asked;
    uint64_t total = census->end - census->first;
    if (asked->progress && !asked->progress(total - left, total, asked->context)) {
        return pl_fail(PEAL_ESTATE, "counting types was stopped with %llu events left",
                       (unsigned long long)left);
    }
    return pl_bus_check_open(census->bus);
}

// Events [first, end), one by one.
static enum peal_err look_at(struct census *census, uint64_t first, uint64_t end)
{
    struct pl_log *log = census->bus->log;
    for (uint64_t at = first; at < end;) {
        const struct pl_frame *frame = pl_cursor_at(&census->place, log, at);
        if (!frame || frame->position >= end) {
            return frame ? PEAL_OK : census->place.err;
        }
        struct count *count = NULL;
        enum peal_err err = count_of(census, frame->type, &count);
        if (err) {
            return err;
        }
        count->events++;
        if (!count->part || count->part == census->part) {
            count->part = census->part;
            count->last_ns = time_of(census, frame);
        }
        at = frame->position + 1;
    }
    return PEAL_OK;
}

static enum peal_err look_at_part(struct census *census, uint64_t first, uint64_t end)
{
    enum peal_err err = PEAL_OK;
    census->part = first;
    for (uint64_t at = first; at < end && !err; at += STEP) {
        uint64_t next = end - at > STEP ? at + STEP : end;
        err = look_at(census, at, next);
        err = err ? err : tell_progress(census, end - next + first - census->first);
    }
    return err;
}

// What an index says of one type.
static enum peal_err add(void *context, const struct pl_catalog_type *type)
{
    struct census *census = context;
    struct peal_bus *bus = census->bus;
    struct count *count = NULL;
    char name[PEAL_TYPE_MAX + 1];
    memcpy(name, type->name, type->size);
    name[type->size] = 0;
    uint32_t number = pl_topic_number(bus, name);
    if (number == PL_TYPE_INSIDE) {
        return pl_fail(PEAL_ENOMEM, "no memory for type %s", name);
    }
    enum peal_err err = count_of(census, number, &count);
    if (err) {
        return err;
    }
    count->events += type->count;
    if (count->part) {
        return PEAL_OK;
    }
    uint64_t position = 0;
    err = pl_catalog_newest(type, &position);
    const struct pl_frame *frame =
        err || !position ? NULL : pl_cursor_pick(&census->place, bus->log, position);
    err = err ? err : position && !frame ? census->place.err : PEAL_OK;
    count->part = census->part;
    count->last_ns = frame ? time_of(census, frame) : 0; // damaged, or forgotten meanwhile
    return err;
}

static enum peal_err count_all(struct census *census)
{
    struct pl_catalog *catalog = census->bus->engine->catalog;
    enum peal_err err = PEAL_OK;
    for (uint64_t end = census->end; end > census->first && !err;) {
        uint64_t first = census->first, part_end = end;
        bool counted = false;
        if (catalog) {
            census->part = end; // unlike that of any part that is looked at
            err = pl_catalog_types(catalog, &first, &part_end, &counted, add, census);
        }
        err = err       ? err
              : counted ? tell_progress(census, first - census->first)
                        : look_at_part(census, first, end);
        end = first;
    }
    return err;
}

static void tell(const struct census *census)
{
    for (size_t i = 0; i < census->size; i++) {
        const struct count *count = &census->counts[i];
        if (count->events > 0) {
            const struct peal_type_info told = {
                .type = pl_topic_by_id(census->bus, (uint32_t)i)->type,
                .count = count->events,
                .last_ns = count->last_ns,
            };
            census->asked->type(&told, census->asked->context);
        }
    }
}

static void set_range(struct census *census)
{
    struct pl_log *log = census->bus->log;
    uint64_t to = census->asked->to_position;
    census->end = pl_log_end(log);
    census->first = pl_log_first(log, census->end);
    census->end = to && to < census->end ? to : census->end;
    census->end = census->end > census->first ? census->end : census->first;
}

static enum peal_err check(peal_bus *bus, const struct peal_types *types)
{
    if (!bus || !types || !types->type) {
        return pl_fail(PEAL_EINVAL, "peal_log_types needs a bus, and somebody to tell");
    }
    enum peal_err err = pl_bus_check_open(bus);
    if (!err && (!bus->keeps || pl_is_remote(bus))) {
        err = pl_fail(PEAL_EUNSUPPORTED, "%s: keeps no events here whose types could be counted",
                      bus->engine->ops->scheme);
    }
    return err ? err : pl_bus_refresh(bus);
}

enum peal_err peal_log_types(peal_bus *bus, const struct peal_types *types)
{
    enum peal_err err = check(bus, types);
    if (err) {
        return err;
    }
    struct census census = { .bus = bus, .asked = types };
    struct pl_need need = { .entered = false };
    pl_need_enter(bus, &need, 0); // all, until it is known
    set_range(&census);
    atomic_store_explicit(&need.position, census.first, memory_order_relaxed); // as readers do
    do {
        if (census.size > 0) {
            memset(census.counts, 0, census.size * sizeof *census.counts);
        }
        err = count_all(&census);
    } while (err == PEAL_ECORRUPT); // one index less each time
    pl_need_leave(bus, &need);
    pl_cursor_rest(&census.place);
    if (!err) {
        tell(&census);
    }
    pl_release(bus->seams, census.counts);
    return err;
}
