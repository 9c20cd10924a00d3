// SPDX-License-Identifier: MIT
//
// Publishing many at once: all are checked and prepared, then appended in one turn, all or none,
// then delivered.
#include "bus/ask.h"
#include "bus/publish.h"
#include "bus/tracing.h"

#include "base/error.h"

// Holds all routes of a batch without a hazard for each: while `batching` is not zero nothing is
// freed. The step is sequentially consistent: either the reclaimer sees it, or we see its routes.
static void hold_routes(struct peal_bus *bus)
{
    atomic_fetch_add_explicit(&bus->batching, 1, memory_order_seq_cst);
}

static void release_routes(struct peal_bus *bus)
{
    atomic_fetch_sub_explicit(&bus->batching, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&bus->quiet_wanted, memory_order_relaxed) != 0) {
        pl_quiet_wake(bus);
    }
}

struct parcel {
    struct peal_bus *bus;
    struct pl_slot *slot;
    size_t count;
    uint64_t removals; // before the routes were entered
    struct pl_passage *passages;
    struct pl_request *requests;
    struct pl_baggage *baggage; // NULL: nobody had any so far
};

// The first that is laden: room for those behind it as well.
static enum peal_err take_baggage(struct parcel *parcel, struct pl_passage *passage)
{
    const struct pl_seams *seams = parcel->bus->seams;
    if (!parcel->baggage) {
        parcel->baggage = pl_alloc(seams, parcel->count * sizeof *parcel->baggage);
    }
    if (!parcel->baggage) {
        return pl_fail(PEAL_ENOMEM, "no memory for a batch of %zu messages", parcel->count);
    }
    passage->baggage = &parcel->baggage[passage - parcel->passages];
    return PEAL_OK;
}

static enum peal_err prepare_parcel(struct parcel *parcel, const struct peal_message *messages)
{
    for (size_t i = 0; i < parcel->count; i++) {
        struct pl_passage *passage = &parcel->passages[i];
        passage->message = &messages[i];
        if (messages[i].deliver_at_ns) {
            return pl_fail(PEAL_EINVAL,
                           "message %zu of a batch has a time of its own "
                           "(deliver_at_ns): publish it by itself",
                           i);
        }
        enum peal_err err = pl_passage_topic(&passage->topic, parcel->slot, &messages[i]);
        if (!err) {
            err = pl_route_enter(&passage->route, parcel->slot, passage->topic);
        }
        if (err) {
            return pl_count_limit(parcel->bus, err);
        }
        err = pl_passage_is_laden(passage, parcel->slot) ? take_baggage(parcel, passage) : PEAL_OK;
        err = err ? err
                  : pl_passage_prepare(parcel->bus, parcel->slot, passage, &parcel->requests[i]);
        pl_route_leave(parcel->bus, parcel->slot); // held all the same: hold_routes
        if (!err && !pl_is_remote(parcel->bus)) {
            err = pl_passage_outside(parcel->bus, &parcel->requests[i].append);
        }
        if (err) {
            return err;
        }
    }
    return PEAL_OK;
}

// Pins what inline handlers will see: a segment once for all in a row that lie in it. With the
// turn.
static struct pl_segment *pin(const struct pl_log *log, struct pl_segment *last, uint64_t position)
{
    if (last && position < pl_segment_end(last)) {
        return last; // positions ascend
    }
    struct pl_segment *segment = pl_log_find(log, position);
    pl_segment_ref(segment);
    return segment;
}

// Pushes what was appended, and pins it. With the turn.
static struct pl_intake *push_parcel(struct parcel *parcel)
{
    struct pl_log *log = parcel->bus->log;
    struct pl_intake *woken = NULL;
    struct pl_segment *last = NULL;
    uint64_t end = 0;
    for (size_t i = 0; i < parcel->count; i++) {
        end = parcel->requests[i].frame ? parcel->requests[i].position + 1 : end;
    }
    if (end) {
        pl_log_publish(log, end);
    }
    for (size_t i = 0; i < parcel->count; i++) {
        const struct pl_request *request = &parcel->requests[i];
        struct pl_passage *passage = &parcel->passages[i];
        if (request->frame) {
            woken = pl_push_all(passage->route, request->frame, woken);
            if (passage->route->inline_count > 0) {
                last = pin(log, last, request->position);
                passage->segment = last;
            }
        }
    }
    return woken;
}

// Enters the newest routes.
static enum peal_err renew_parcel(struct parcel *parcel)
{
    parcel->removals = pl_removals(parcel->bus);
    for (size_t i = 0; i < parcel->count; i++) {
        struct pl_passage *passage = &parcel->passages[i];
        enum peal_err err = pl_route_enter(&passage->route, parcel->slot, passage->topic);
        if (err) {
            return err;
        }
        pl_route_leave(parcel->bus, parcel->slot);
    }
    return PEAL_OK;
}

// Like wait_outside, for all routes.
static enum peal_err wait_outside_all(struct parcel *parcel, struct pl_patience *patience)
{
    release_routes(parcel->bus);
    enum peal_err err = pl_space_wait(parcel->bus, parcel->slot, patience, true);
    hold_routes(parcel->bus);
    return err ? err : renew_parcel(parcel);
}

static bool any_stale(const struct parcel *parcel)
{
    for (size_t i = 0; i < parcel->count; i++) {
        if (pl_passage_is_stale(&parcel->passages[i])) {
            return true;
        }
    }
    return false;
}

// Takes the turn, with routes that are all the newest. The old ones stay: hold_routes.
static enum peal_err take_parcel_turn(struct parcel *parcel)
{
    struct peal_bus *bus = parcel->bus;
    pl_turn_take(&bus->log->turn, bus->seams);
    while (__builtin_expect(any_stale(parcel), 0)) {
        pl_turn_give(&bus->log->turn, bus->seams);
        enum peal_err err = renew_parcel(parcel);
        if (err) {
            return err;
        }
        pl_turn_take(&bus->log->turn, bus->seams);
    }
    return PEAL_OK;
}

static enum peal_err append_parcel(struct parcel *parcel)
{
    struct peal_bus *bus = parcel->bus;
    struct pl_patience patience = { 0 };
    for (;;) {
        struct pl_intake *woken = NULL;
        enum peal_err err = take_parcel_turn(parcel);
        if (err) {
            return err;
        }
        err = bus->engine->ops->append(bus->engine, parcel->requests, parcel->count);
        if (!err) {
            woken = push_parcel(parcel);
        }
        pl_turn_give(&bus->log->turn, bus->seams);
        pl_wake_all(woken);
        if (err == PEAL_EAGAIN && pl_is_unknown(parcel->requests, parcel->count)) {
            err = bus->engine->ops->look(bus->engine, parcel->requests, parcel->count);
            if (!err) {
                continue;
            }
        } else if (err == PEAL_EAGAIN) {
            err = wait_outside_all(parcel, &patience);
            if (!err) {
                continue;
            }
        }
        pl_space_waited(bus, &patience);
        return err;
    }
}

// Inline handlers, where there are some.
static void deliver_one(struct parcel *parcel, struct pl_passage *passage,
                        const struct pl_request *request)
{
    struct peal_bus *bus = parcel->bus;
    if (!passage->segment) {
        pl_slot_count(parcel->slot, passage->route->counter, 1, bus);
        return;
    }
    struct peal_event event;
    pl_bus_view(&event, bus, request->frame, passage->segment);
    event.attempt = 1;
    pl_route_hold(parcel->slot, passage->route);
    pl_deliver_inline(bus, parcel->slot, passage->route, &event, parcel->removals);
    pl_route_leave(bus, parcel->slot);
}

static void deliver_parcel(struct parcel *parcel)
{
    struct peal_bus *bus = parcel->bus;
    struct pl_segment *pinned = NULL;
    for (size_t i = 0; i < parcel->count; i++) {
        struct pl_request *request = &parcel->requests[i];
        struct pl_passage *passage = &parcel->passages[i];
        if (request->frame) {
            if (passage->segment && passage->segment != pinned) {
                pl_segment_unref(pinned);
                pinned = passage->segment;
            }
            deliver_one(parcel, passage, request);
        } else {
            pl_outside_free(bus->seams, request->append.outside);
            pl_count_shared(&bus->duplicates, 1);
        }
    }
    pl_segment_unref(pinned);
}

// By what the messages said: their frames may be forgotten by now.
static void fill_receipts(const struct parcel *parcel, struct peal_receipt *receipts,
                          enum peal_durability level)
{
    for (size_t i = 0; i < parcel->count; i++) {
        const struct pl_request *request = &parcel->requests[i];
        const struct pl_passage *passage = &parcel->passages[i];
        if (request->frame) {
            struct peal_event event;
            pl_event_from_message(&event, passage->message, passage->topic->type,
                                  &parcel->bus->origin, request->position);
            event.time = event.time ? event.time : request->recorded;
            pl_receipt_fill(&receipts[i], &event, request);
        } else {
            pl_receipt_duplicate(&receipts[i], request);
        }
        receipts[i].durability = level;
    }
}

// The whole batch at the level of the message that wants the most.
static enum peal_err settle_parcel(const struct parcel *parcel, enum peal_durability *out)
{
    enum peal_durability level = PEAL_DURABILITY_DEFAULT;
    uint64_t end = 0;
    for (size_t i = 0; i < parcel->count; i++) {
        enum peal_durability wanted = parcel->passages[i].message->durability;
        wanted = wanted ? wanted : parcel->bus->options.durability;
        level = wanted > level ? wanted : level;
        end = parcel->requests[i].position >= end ? parcel->requests[i].position + 1 : end;
    }
    *out = level;
    return pl_settle(parcel->bus, end, level);
}

// To where the log is.
static enum peal_err depart(struct parcel *parcel, struct peal_receipt *receipts)
{
    struct peal_bus *bus = parcel->bus;
    struct pl_departure *each = pl_alloc(bus->seams, parcel->count * sizeof *each);
    if (!each) {
        return pl_fail(PEAL_ENOMEM, "no memory for a batch of %zu messages", parcel->count);
    }
    for (size_t i = 0; i < parcel->count; i++) {
        const struct pl_passage *passage = &parcel->passages[i];
        each[i] =
            (struct pl_departure){ passage->message, passage->topic->type, bus->origin.source };
    }
    const struct pl_departures what = { .each = each,
                                        .count = parcel->count,
                                        .together = true,
                                        .may_wait = true,
                                        .durability = bus->options.durability };
    enum peal_err err = bus->engine->ops->publish(bus->engine, &what, receipts);
    pl_release(bus->seams, each);
    return pl_count_limit(bus, err);
}

static enum peal_err publish_parcel(struct parcel *parcel, const struct peal_message *messages,
                                    struct peal_receipt *receipts)
{
    hold_routes(parcel->bus);
    parcel->removals = pl_removals(parcel->bus);
    enum peal_err err = prepare_parcel(parcel, messages);
    bool remote = pl_is_remote(parcel->bus);
    if (!err && !remote) {
        err = pl_count_limit(parcel->bus, append_parcel(parcel));
    }
    if (!err && !remote) {
        deliver_parcel(parcel);
    }
    bool failed = err != PEAL_OK; // the blocks are the log's if not
    release_routes(parcel->bus);
    enum peal_durability level = PEAL_DURABILITY_MEMORY;
    if (!err && remote) {
        err = depart(parcel, receipts);
    } else if (!err && parcel->bus->engine->ops->settle) {
        err = settle_parcel(parcel, &level);
    }
    if (!err && receipts && !remote) {
        fill_receipts(parcel, receipts, level);
    }
    for (size_t i = 0; i < parcel->count; i++) {
        if (failed) {
            pl_outside_free(parcel->bus->seams, parcel->requests[i].append.outside);
        }
        pl_passage_finish(&parcel->passages[i]);
    }
    return err;
}

enum peal_err pl_publish_many(struct peal_bus *bus, const struct peal_message *messages,
                              size_t count, struct peal_receipt *receipts)
{
    struct parcel parcel = { .bus = bus, .slot = pl_slot_mine(bus), .count = count };
    size_t each = sizeof *parcel.passages + sizeof *parcel.requests;
    // One allocation a batch: a batch is not the hot path, its events are.
    char *memory = parcel.slot ? pl_new(bus->seams, count * each) : NULL;
    if (!memory) {
        return pl_fail(PEAL_ENOMEM, "no memory for a batch of %zu messages", count);
    }
    parcel.passages = (struct pl_passage *)(void *)memory;
    parcel.requests = (struct pl_request *)(void *)(parcel.passages + count);
    enum peal_err err = publish_parcel(&parcel, messages, receipts);
    pl_release(bus->seams, parcel.baggage);
    pl_release(bus->seams, memory);
    return err == PEAL_EUNSUPPORTED && pl_asks(bus) ? pl_ask_publish(bus, messages, count, receipts)
                                                    : err;
}

enum peal_err peal_publish_batch(peal_bus *bus, const struct peal_message *messages, size_t count,
                                 struct peal_receipt *receipts)
{
    if (!bus || (!messages && count > 0)) {
        return pl_fail(PEAL_EINVAL, "peal_publish_batch needs a bus and messages");
    }
    if (count > PEAL_BATCH_MAX) {
        pl_count_shared(&bus->rejected, 1);
        return pl_fail(PEAL_ELIMIT, "a batch of %zu messages: at most %d are allowed", count,
                       PEAL_BATCH_MAX);
    }
    enum peal_err err = pl_bus_check_open(bus);
    if (err || count == 0) {
        return err;
    }
    if (bus->silent) {
        for (size_t i = 0; receipts && i < count; i++) {
            receipts[i] = (struct peal_receipt){ .durability = PEAL_DURABILITY_MEMORY };
        }
        return PEAL_OK;
    }
    return pl_tracing_of(bus) ? pl_tracing_publish_many(bus, messages, count, receipts)
                              : pl_publish_many(bus, messages, count, receipts);
}
