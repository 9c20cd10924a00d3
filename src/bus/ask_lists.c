// SPDX-License-Identifier: MIT
//
// Lists of dead letters and of what is scheduled, as a service sends them: their texts stay in its
// answer, their events become references.
#include "bus/ask.h"

#include "base/error.h"
#include "event/event.h"

#include <string.h>

static enum peal_err say_bad(void)
{
    return pl_fail(PEAL_EIO, "the list that the service sent cannot be read");
}

// An event of an answer; *shared*. NULL: it is none, or there is no memory.
static const struct peal_event *unpack_event(struct pl_unpack *unpack, struct peal_bus *bus)
{
    const struct peal_event *event = NULL;
    size_t size;
    const void *bytes = pl_unpack_bytes(unpack, &size);
    if (!bytes || pl_event_decode(&event, bus->seams, bytes, size)) {
        unpack->bad = true;
    }
    return event;
}

// How many an answer may have, by what each takes at least; an owner's memory. NULL: say so.
static struct pl_asked_list *begin(struct peal_bus *bus, char *answer)
{
    struct pl_asked_list *owner = pl_new(bus->seams, sizeof *owner);
    if (owner) {
        owner->seams = bus->seams;
        owner->answer = answer;
    }
    return owner;
}

static struct peal_dead_letter unpack_letter(struct pl_unpack *unpack, struct peal_bus *bus)
{
    struct peal_dead_letter letter = { .id = pl_unpack_number(unpack) };
    letter.event = unpack_event(unpack, bus);
    letter.subscription = pl_unpack_text(unpack);
    letter.reason = pl_unpack_text(unpack);
    letter.text = pl_unpack_text(unpack);
    letter.attempts = (unsigned)pl_unpack_number(unpack);
    letter.first_failure_ns = (int64_t)pl_unpack_number(unpack);
    letter.last_failure_ns = (int64_t)pl_unpack_number(unpack);
    letter.edited = pl_unpack_number(unpack) != 0;
    letter.retrying = pl_unpack_number(unpack) != 0;
    letter.parked = pl_unpack_number(unpack);
    letter.label = pl_unpack_text(unpack);
    unpack->bad =
        unpack->bad || !letter.subscription || !letter.reason || !letter.text || !letter.label;
    return letter;
}

enum peal_err pl_ask_dead_list(struct peal_dead_list *out, struct peal_bus *bus,
                               const struct peal_dead_filter *filter)
{
    struct pl_pack pack;
    struct pl_unpack unpack;
    char *answer;
    pl_pack_begin(&pack, bus->seams);
    pl_pack_dead(&pack, filter, false);
    enum peal_err err = pl_ask_any(&answer, &unpack, bus, PL_ASK_DEAD_LIST, &pack);
    if (err) {
        return err;
    }
    uint64_t count = pl_unpack_number(&unpack);
    bool fits = count <= unpack.left / (12 * sizeof(uint64_t));
    struct peal_dead_list list = { .owner = begin(bus, answer) };
    list.letters = pl_new(bus->seams, (fits ? count + 1 : 1) * sizeof *list.letters);
    while (fits && list.owner && list.letters && list.count < count && !unpack.bad) {
        list.letters[list.count++] = unpack_letter(&unpack, bus);
    }
    if (!list.owner || !list.letters || !fits || unpack.bad) {
        err = fits && !unpack.bad ? pl_fail(PEAL_ENOMEM, "no memory for a list") : say_bad();
        if (list.owner) {
            peal_dead_list_finish(&list);
        } else {
            pl_release(bus->seams, list.letters);
            pl_release(bus->seams, answer);
        }
        return err;
    }
    *out = list;
    return PEAL_OK;
}

enum peal_err pl_ask_dead_count(struct peal_dead_count *out, size_t *out_count,
                                struct peal_bus *bus, enum peal_dead_group group, size_t max)
{
    struct pl_pack pack;
    struct pl_unpack unpack;
    char *answer;
    pl_pack_begin(&pack, bus->seams);
    pl_pack_number(&pack, group);
    pl_pack_number(&pack, max);
    enum peal_err err = pl_ask_any(&answer, &unpack, bus, PL_ASK_DEAD_COUNT, &pack);
    if (err) {
        return err;
    }
    uint64_t count = pl_unpack_number(&unpack);
    for (size_t i = 0; i < count && i < max && !unpack.bad; i++) {
        const char *name = pl_unpack_text(&unpack);
        struct peal_dead_count row = { .count = pl_unpack_number(&unpack) };
        if (name && strlen(name) < sizeof row.name) {
            memcpy(row.name, name, strlen(name) + 1);
            out[i] = row;
        }
    }
    err = unpack.bad ? say_bad() : PEAL_OK;
    pl_release(bus->seams, answer);
    if (!err) {
        *out_count = count;
    }
    return err;
}

enum peal_err pl_ask_schedule_list(struct peal_schedule_list *out, struct peal_bus *bus,
                                   const struct peal_schedule_filter *filter)
{
    struct pl_pack pack;
    struct pl_unpack unpack;
    char *answer;
    pl_pack_begin(&pack, bus->seams);
    pl_pack_schedule(&pack, filter, false);
    enum peal_err err = pl_ask_any(&answer, &unpack, bus, PL_ASK_SCHEDULE_LIST, &pack);
    if (err) {
        return err;
    }
    uint64_t count = pl_unpack_number(&unpack);
    bool fits = count <= unpack.left / (2 * sizeof(uint64_t));
    struct pl_asked_list *owner =
        fits ? pl_new(bus->seams, sizeof *owner + (count + 1) * sizeof *out->events) : NULL;
    if (!owner) {
        pl_release(bus->seams, answer);
        return fits ? pl_fail(PEAL_ENOMEM, "no memory for a list") : say_bad();
    }
    *owner = (struct pl_asked_list){ .seams = bus->seams, .answer = answer };
    struct peal_schedule_list list = { .events = (struct peal_scheduled *)(void *)(owner + 1),
                                       .owner = owner };
    while (list.count < count && !unpack.bad) {
        struct peal_scheduled *scheduled = &list.events[list.count++];
        scheduled->deliver_at_ns = (int64_t)pl_unpack_number(&unpack);
        scheduled->event = unpack_event(&unpack, bus);
    }
    if (unpack.bad) {
        peal_schedule_list_finish(&list);
        return say_bad();
    }
    *out = list;
    return PEAL_OK;
}
