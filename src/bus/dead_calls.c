// SPDX-License-Identifier: MIT
//
// Dead letters, for who asks: those of this bus, those of the process that has the log, or both.
//
//     mem:, file: with the log      here
//     file: that only reads         a list is what is here; changes are asked of who has the log
//     http:                         durable names and their letters are the service's; those of
//                                   other subscriptions are here, and their ids begin at
//                                   PL_LETTER_HERE
//
// Where there are both, the service goes first: if it does not answer, nothing was changed.
#include "bus/ask.h"
#include "bus/letter.h"

#include "base/error.h"

#include <string.h>

static bool is_here(uint64_t id)
{
    return id >= PL_LETTER_HERE;
}

static bool has_both(const struct peal_bus *bus)
{
    return bus && pl_is_remote(bus);
}

// ---- listing ------------------------------------------------------------------------------------

// Two lists as one; *taken*, either way.
static enum peal_err join(struct peal_dead_list *out, struct peal_bus *bus,
                          struct peal_dead_list *first, struct peal_dead_list *second)
{
    size_t count = first->count + second->count;
    struct pl_asked_list *owner = pl_new(bus->seams, sizeof *owner);
    struct peal_dead_list *parts = pl_new(bus->seams, 2 * sizeof *parts);
    struct peal_dead_letter *letters = pl_new(bus->seams, (count + 1) * sizeof *letters);
    if (!owner || !parts || !letters) {
        pl_release(bus->seams, owner);
        pl_release(bus->seams, parts);
        pl_release(bus->seams, letters);
        peal_dead_list_finish(first);
        peal_dead_list_finish(second);
        return pl_fail(PEAL_ENOMEM, "no memory to list %zu dead letters", count);
    }
    memcpy(letters, first->letters, first->count * sizeof *letters);
    memcpy(letters + first->count, second->letters, second->count * sizeof *letters);
    parts[0] = *first;
    parts[1] = *second;
    *owner = (struct pl_asked_list){ .seams = bus->seams, .parts = parts };
    *out = (struct peal_dead_list){ .letters = letters, .count = count, .owner = owner };
    return PEAL_OK;
}

static enum peal_err list_both(struct peal_dead_list *out, struct peal_bus *bus,
                               const struct peal_dead_filter *filter)
{
    struct peal_dead_list there = { 0 }, here = { 0 };
    enum peal_err err = pl_ask_dead_list(&there, bus, filter);
    if (err) {
        return err;
    }
    struct peal_dead_filter rest = *filter;
    rest.limit -= rest.limit ? there.count : 0;
    if (filter->limit == 0 || rest.limit > 0) {
        err = pl_dead_list(&here, bus, &rest);
    }
    if (err || here.count == 0) {
        peal_dead_list_finish(err ? &there : &here);
        *out = err ? *out : there;
        return err;
    }
    return join(out, bus, &there, &here);
}

enum peal_err peal_dead_list(struct peal_dead_list *out, peal_bus *bus,
                             const struct peal_dead_filter *filter)
{
    static const struct peal_dead_filter all;
    if (!out) {
        return pl_fail(PEAL_EINVAL, "peal_dead_list needs a place for the list");
    }
    const struct peal_dead_filter *wanted = filter ? filter : &all;
    if (!has_both(bus) || is_here(wanted->id)) {
        return pl_dead_list(out, bus, filter);
    }
    return wanted->id ? pl_ask_dead_list(out, bus, wanted) : list_both(out, bus, wanted);
}

// ---- counting -----------------------------------------------------------------------------------

static size_t add_row(struct peal_dead_count *rows, size_t count,
                      const struct peal_dead_count *more)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i].name, more->name) == 0) {
            rows[i].count += more->count;
            return count;
        }
    }
    rows[count] = *more;
    return count + 1;
}

// What the service has counted; *given*. How many rows it has is known only when it has been asked.
static enum peal_err count_there(struct peal_dead_count **out, size_t *out_count,
                                 struct peal_bus *bus, enum peal_dead_group group)
{
    size_t count = 0;
    enum peal_err err = pl_ask_dead_count(NULL, &count, bus, group, 0);
    struct peal_dead_count *rows = pl_new(bus->seams, (count + 1) * sizeof *rows);
    if (!err && !rows) {
        err = pl_fail(PEAL_ENOMEM, "no memory to count dead letters");
    }
    size_t room = count;
    if (!err && room > 0) {
        err = pl_ask_dead_count(rows, &count, bus, group, room);
    }
    if (err) {
        pl_release(bus->seams, rows);
        return err;
    }
    *out = rows;
    *out_count = count < room ? count : room;
    return PEAL_OK;
}

enum peal_err peal_dead_count(struct peal_dead_count *out, size_t *out_count, peal_bus *bus,
                              enum peal_dead_group group, size_t max)
{
    if ((!out && max > 0) || !out_count || !bus || (unsigned)group > PEAL_DEAD_BY_SUBSCRIPTION) {
        return pl_fail(PEAL_EINVAL, "peal_dead_count needs a bus, a group and a place for rows");
    }
    struct peal_dead_count *rows = NULL, *there = NULL;
    size_t count = 0, more = 0;
    enum peal_err err = pl_bus_check_open(bus);
    if (!err && has_both(bus)) {
        err = count_there(&there, &more, bus, group);
    }
    err = err ? err : pl_dead_count(&rows, &count, bus, group, more);
    for (size_t i = 0; i < more && !err; i++) {
        count = add_row(rows, count, &there[i]);
    }
    pl_release(bus->seams, there);
    if (err) {
        return err;
    }
    pl_dead_sort_counts(rows, count);
    for (size_t i = 0; i < count && i < max; i++) {
        out[i] = rows[i];
    }
    pl_release(bus->seams, rows);
    *out_count = count;
    return PEAL_OK;
}

// ---- changing -----------------------------------------------------------------------------------

typedef enum peal_err change_here(struct peal_bus *bus, const struct peal_dead_filter *filter,
                                  bool dry_run, uint64_t *affected);

// What is asked of both.
struct change {
    enum pl_ask_kind kind;
    change_here *here;
    bool dry_run;
};

static enum peal_err change_both(struct peal_bus *bus, const struct change *change,
                                 const struct peal_dead_filter *filter, uint64_t *affected)
{
    uint64_t there = 0, here = 0;
    struct peal_dead_filter rest = *filter;
    enum peal_err err = PEAL_OK;
    if (!is_here(filter->id)) {
        err = pl_ask_dead(bus, change->kind, filter, change->dry_run, &there);
    }
    rest.limit -= rest.limit ? there : 0;
    if (!err && (filter->limit == 0 || rest.limit > 0) && (!filter->id || is_here(filter->id))) {
        err = change->here(bus, &rest, change->dry_run, &here);
    }
    if (!err && affected) {
        *affected = there + here;
    }
    return err;
}

static enum peal_err change(struct peal_bus *bus, const struct change *change,
                            const struct peal_dead_filter *filter, uint64_t *affected)
{
    static const struct peal_dead_filter all;
    if (has_both(bus)) {
        return change_both(bus, change, filter ? filter : &all, affected);
    }
    return pl_asks(bus) ? pl_ask_dead(bus, change->kind, filter, change->dry_run, affected)
                        : change->here(bus, filter, change->dry_run, affected);
}

enum peal_err peal_dead_retry(peal_bus *bus, const struct peal_dead_filter *filter, bool dry_run,
                              uint64_t *affected)
{
    const struct change retry = { PL_ASK_DEAD_RETRY, pl_dead_retry, dry_run };
    return change(bus, &retry, filter, affected);
}

enum peal_err peal_dead_discard(peal_bus *bus, const struct peal_dead_filter *filter, bool dry_run,
                                uint64_t *affected)
{
    const struct change discard = { PL_ASK_DEAD_DISCARD, pl_dead_discard, dry_run };
    return change(bus, &discard, filter, affected);
}

enum peal_err peal_dead_purge(peal_bus *bus, uint64_t age_ms, uint64_t *affected)
{
    if (!bus) {
        return pl_fail(PEAL_EINVAL, "peal_dead_purge needs a bus");
    }
    struct peal_dead_filter filter = { .older_than_ms = age_ms ? age_ms : bus->options.dead_ms };
    return peal_dead_discard(bus, &filter, false, affected);
}

enum peal_err peal_dead_edit(peal_bus *bus, uint64_t id, const void *data, size_t size)
{
    if (!bus || id == 0 || (!data && size > 0)) {
        return pl_fail(PEAL_EINVAL, "peal_dead_edit needs a bus, a dead letter's id and data");
    }
    bool asks = pl_asks(bus) && !(has_both(bus) && is_here(id));
    return asks ? pl_ask_edit(bus, id, data, size) : pl_dead_edit(bus, id, data, size);
}
