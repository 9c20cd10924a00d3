// SPDX-License-Identifier: MIT
//
// Arriving: events that a service has sent become events of this process's log.
//
//     bytes ─► verify, find the topic, take the type out (no lock) ─► turn: take, push ─► wake
//
// Nothing that comes is believed: a frame that is not whole ends it. Those that are, are written
// side by side as this process's frames, from the bytes as they lie, and then copied into the log
// in one turn, up to SOME of them. A position that was left out has no event for us either.
//
// What must stay true: the log here has the positions of the log there. What comes once more is
// passed over; when memory has no room the log lets go of all it has, since it can be read again.
#include "bus/publish.h"

#include "base/error.h"
#include "base/protocol.h"

#include <assert.h>
#include <string.h>

enum { SOME = 512, SCRATCH = 131072, SCRATCH_KEPT = 262144 };

struct arriving {
    struct pl_frame *frame; // ours, in the scratch
    struct peal_topic *topic;
    struct pl_route *route;
    struct pl_outside_block *outside;
};

struct party {
    struct peal_bus *bus;
    struct pl_slot *slot;
    uint64_t past; // positions below are here already
    char *scratch;
    size_t used, room, count;
    const char *last_name; // in the scratch or the bytes, of the topic that follows
    struct peal_topic *last_topic;
    struct arriving each[SOME];
};

// The type of a frame that was verified is its first attribute: where the next ones begin.
static const char *behind_type(const char *attributes, const char **out_type)
{
    uint16_t head;
    memcpy(&head, attributes, sizeof head);
    assert(head >> PL_ATTRIBUTE_LENGTH_BITS == PL_TAG_TYPE);
    *out_type = attributes + sizeof head;
    return *out_type + (head & PL_ATTRIBUTE_LENGTH_MAX) + 1;
}

static enum peal_err find_topic(struct party *party, const char *type, struct peal_topic **out)
{
    if (!party->last_topic || strcmp(party->last_topic->type, type) != 0) {
        uint32_t number = pl_topic_number(party->bus, type);
        if (number == PL_TYPE_INSIDE) {
            return pl_fail(PEAL_ENOMEM, "no memory for the type \"%s\"", type);
        }
        party->last_topic = (struct peal_topic *)pl_topic_by_id(party->bus, number); // ours
    }
    *out = party->last_topic;
    return PEAL_OK;
}

// Writes a frame that was verified as one of ours, into the scratch. It may lie at any byte.
static enum peal_err write_ours(struct arriving *arriving, struct party *party, const char *bytes)
{
    const char *type;
    struct pl_frame given;
    memcpy(&given, bytes, sizeof given);
    const char *begin = bytes + sizeof given, *data = begin + pl_frame_attributes_size(&given);
    const char *attributes = behind_type(begin, &type);
    enum peal_err err = find_topic(party, type, &arriving->topic);
    if (err) {
        return err;
    }
    size_t rest = (size_t)(data - attributes), room = pl_round8(rest);
    size_t size = given.length - (size_t)(data - bytes) - pl_frame_pad(&given);
    struct pl_frame *frame = arriving->frame;
    *frame = given;
    frame->type = arriving->topic->id;
    frame->crc = 0;
    frame->attribute_words = (uint16_t)(room / 8);
    char *at = (char *)(frame + 1);
    memcpy(at, attributes, rest);
    memset(at + rest, 0, room - rest);
    arriving->outside = NULL;
    if (size > PL_INSIDE_MAX) {
        arriving->outside = pl_outside_copy(party->bus->seams, data, size);
        if (!arriving->outside) {
            return pl_fail(PEAL_ENOMEM, "no memory for data of %zu bytes", size);
        }
        const struct pl_outside place = { arriving->outside + 1, size };
        memcpy(at + room, &place, sizeof place);
        frame->flags = (uint16_t)((frame->flags & ~PL_FLAG_PAD) | PL_FLAG_OUTSIDE);
        frame->length = (uint32_t)(sizeof *frame + room + sizeof place);
    } else {
        size_t padded = pl_round8(size);
        if (size > 0) {
            memcpy(at + room, data, size);
            memset(at + room + size, 0, padded - size);
        }
        frame->length = (uint32_t)(sizeof *frame + room + padded);
    }
    party->used += frame->length;
    return PEAL_OK;
}

// One frame of the bytes becomes one of the party, unless it is here already.
static enum peal_err take_in(struct party *party, const char *bytes, size_t size)
{
    const struct peal_topic *last = party->last_topic;
    enum peal_err err =
        pl_frame_verify_like(bytes, size, last ? last->type : NULL, last ? last->length : 0);
    if (err) {
        return err;
    }
    uint64_t position;
    memcpy(&position, bytes + offsetof(struct pl_frame, position), sizeof position);
    if (position < party->past) {
        return PEAL_OK;
    }
    assert(party->scratch); // there is room for each
    struct arriving *arriving = &party->each[party->count];
    arriving->frame = (struct pl_frame *)(void *)(party->scratch + party->used);
    err = write_ours(arriving, party, bytes);
    if (!err) {
        party->past = position + 1;
        party->count++;
    }
    return err;
}

// ---- in the turn --------------------------------------------------------------------------------

static enum peal_err enter(struct party *party)
{
    const struct arriving *before = NULL;
    for (struct arriving *at = party->each; at < party->each + party->count; at++) {
        if (before && before->topic == at->topic) {
            at->route = before->route; // one of one kind after the other
            continue;
        }
        enum peal_err err = pl_route_enter(&at->route, party->slot, at->topic);
        if (err) {
            return err;
        }
        pl_route_leave(party->bus, party->slot); // held all the same: bus->batching
        before = at;
    }
    return PEAL_OK;
}

static bool any_stale(const struct party *party)
{
    const struct pl_route *before = NULL;
    for (size_t i = 0; i < party->count; i++) {
        const struct arriving *arriving = &party->each[i];
        if (arriving->route != before && pl_route_is_stale(arriving->route, arriving->topic)) {
            return true;
        }
        before = arriving->route;
    }
    return false;
}

static enum peal_err take_turn(struct party *party)
{
    struct peal_bus *bus = party->bus;
    pl_turn_take(&bus->log->turn, bus->seams);
    while (__builtin_expect(any_stale(party), 0)) {
        pl_turn_give(&bus->log->turn, bus->seams);
        enum peal_err err = enter(party);
        if (err) {
            return err;
        }
        pl_turn_take(&bus->log->turn, bus->seams);
    }
    return PEAL_OK;
}

// All of them, or as many as there is room for: then the log begins anew behind them, and who wants
// them reads them back.
static struct pl_intake *append_all(struct party *party)
{
    struct pl_log *log = party->bus->log;
    struct pl_intake *woken = NULL;
    size_t taken = 0;
    while (taken < party->count) {
        struct arriving *arriving = &party->each[taken];
        if (pl_log_take(log, arriving->frame, arriving->outside)) {
            break;
        }
        arriving->outside = NULL;
        taken++;
    }
    if (taken < party->count) {
        pl_log_restart(log, party->past);
    } else {
        pl_log_publish(log, party->past);
    }
    for (size_t i = 0; i < party->count; i++) {
        woken = pl_push_all(party->each[i].route, party->each[i].frame, woken);
    }
    return woken;
}

static enum peal_err hand_over(struct party *party)
{
    struct peal_bus *bus = party->bus;
    atomic_fetch_add_explicit(&bus->batching, 1, memory_order_seq_cst); // as in batch.c
    enum peal_err err = enter(party);
    err = err ? err : take_turn(party);
    if (!err) {
        struct pl_intake *woken = append_all(party);
        pl_turn_give(&bus->log->turn, bus->seams);
        pl_wake_all(woken);
    }
    atomic_fetch_sub_explicit(&bus->batching, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&bus->quiet_wanted, memory_order_relaxed) != 0) {
        pl_quiet_wake(bus);
    }
    for (size_t i = 0; i < party->count; i++) {
        pl_outside_free(bus->seams, party->each[i].outside);
    }
    party->count = 0;
    party->used = 0;
    return err;
}

// ---- all that came ------------------------------------------------------------------------------

// Room for a frame as ours, which may have the place of its data in it.
static size_t room_for(size_t size)
{
    return size + sizeof(struct pl_outside) + 16;
}

// `left`: bytes that have yet to be looked at, of frames that are at least 32 each. What a small
// message needed is made larger for a large one: each time it is full, somebody is woken.
static bool make_room(struct party *party, size_t size, size_t left)
{
    size_t all = left < SCRATCH / 2 ? room_for(size) + 2 * left : SCRATCH; // often all there are
    size_t room = room_for(size) > all ? room_for(size) : all;
    if (party->room - party->used >= (party->used > 0 ? room_for(size) : room)) {
        return true;
    }
    char *scratch = pl_alloc(party->bus->seams, room);
    if (scratch) {
        pl_release(party->bus->seams, party->scratch);
        party->scratch = scratch;
        party->room = room;
        party->used = 0;
    }
    return scratch != NULL;
}

// Where the log there ends without an event, it ends here.
static void catch_up(struct peal_bus *bus, uint64_t next)
{
    struct pl_log *log = bus->log;
    pl_turn_take(&log->turn, bus->seams);
    if (next > pl_log_end(log)) {
        pl_log_pass(log, next);
    }
    pl_turn_give(&log->turn, bus->seams);
}

static enum peal_err arrive(struct party *party, const struct pl_arrivals *arrivals)
{
    struct pl_unpack unpack = { .at = arrivals->bytes, .left = arrivals->size };
    const char *bytes;
    size_t size;
    enum peal_err err = PEAL_OK;
    while (!err && (bytes = pl_events_next(&unpack, &size))) {
        bool full = party->count == SOME || party->room - party->used < room_for(size);
        if (full && party->count > 0) {
            err = hand_over(party);
        }
        if (!err && !make_room(party, size, unpack.left)) {
            err = pl_fail(PEAL_ENOMEM, "no memory to take an event of %zu bytes", size);
        }
        err = err ? err : take_in(party, bytes, size);
    }
    enum peal_err last = party->count > 0 ? hand_over(party) : PEAL_OK;
    err = err ? err : last;
    if (!err && unpack.bad) {
        err = pl_fail(PEAL_ECORRUPT, "a service sent bytes that are no events");
    }
    if (!err) {
        catch_up(party->bus, arrivals->next);
    }
    return err;
}

// What one message needs is kept for the next one: the room for large ones is not.
static struct party *party_of(struct peal_bus *bus)
{
    if (!bus->arriving) {
        struct party *party = pl_alloc(bus->seams, sizeof *party);
        if (party) {
            party->bus = bus;
            party->scratch = NULL;
            party->room = party->used = party->count = 0;
        }
        bus->arriving = party;
    }
    return bus->arriving;
}

void pl_bus_arrive_finish(struct peal_bus *bus)
{
    struct party *party = bus->arriving;
    if (party) {
        pl_release(bus->seams, party->scratch);
        pl_release(bus->seams, party);
        bus->arriving = NULL;
    }
}

enum peal_err pl_bus_arrive(void *context, const struct pl_arrivals *arrivals)
{
    struct peal_bus *bus = context;
    struct party *party = party_of(bus);
    if (!party) {
        return pl_fail(PEAL_ENOMEM, "no memory to take events");
    }
    party->slot = pl_slot_mine(bus);
    party->past = pl_log_end(bus->log);
    party->last_topic = NULL;
    party->used = 0;
    enum peal_err err = party->slot ? arrive(party, arrivals) : PEAL_ENOMEM;
    if (party->room > SCRATCH_KEPT || err) {
        pl_bus_arrive_finish(bus);
    }
    return err;
}

// ---- what will never come -----------------------------------------------------------------------

// For who reads the log the positions that are gone are a hole, and not the place of an event that
// was erased. With bus->lock. False: nothing is gone.
static bool leave_out(struct peal_bus *bus, uint64_t next)
{
    struct pl_log *log = bus->log;
    struct pl_mailbox *mailbox;
    pl_turn_take(&log->turn, bus->seams);
    uint64_t first = pl_log_end(log);
    if (next > first) {
        pl_log_leave_out(log, next);
        PL_LIST_EACH (mailbox, &bus->mailboxes, link) {
            if (mailbox->in && !mailbox->afar) {
                pl_intake_forgotten(mailbox->in, first, next);
            }
        }
    }
    pl_turn_give(&log->turn, bus->seams);
    return next > first;
}

void pl_bus_forgotten(void *context, uint64_t next)
{
    struct peal_bus *bus = context;
    struct pl_mailbox *mailbox;
    pl_mutex_lock(&bus->lock, bus->seams);
    if (leave_out(bus, next)) {
        PL_LIST_EACH (mailbox, &bus->mailboxes, link) {
            if (mailbox->in && !mailbox->afar) {
                pl_runs_notify(mailbox);
            }
        }
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
}
