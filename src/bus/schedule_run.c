// SPDX-License-Identifier: MIT
//
// Scheduled events whose time has come are published.
//
// One thread at a time does it (`running`), so that the order is that of the times. It is a worker,
// or who drives the bus, between two handlers. What it takes out of the heap stays in the table, so
// that its id is known: it is gone once it is published and no longer kept, or it waits again.
#include "bus/schedule_inside.h"

#include "base/error.h"

#include <string.h>

// What is due is published so many at a time; then the thread does something else first.
#define SHARE 64

// After a publish that failed: 100 ms until there may be memory, 1 s for what failed otherwise.
#define MEMORY_NS (100 * PL_NS_PER_MS)
#define AGAIN_NS  PL_NS_PER_S

// NULL for what is the default anyway.
static const char *given(const char *text, const char *otherwise)
{
    return *text && strcmp(text, otherwise) != 0 ? text : NULL;
}

// The message that says again what the event says. `pairs` has room for all; `source` is the bus's.
static void say_again(struct peal_message *out, struct peal_pair *pairs, const char *source,
                      const struct pl_scheduled *one)
{
    const struct peal_event *event = one->event;
    size_t count = peal_event_metadata_count(event);
    for (size_t i = 0; i < count; i++) {
        pairs[i] = peal_event_metadata_at(event, i);
    }
    *out = (struct peal_message){
        .type = event->type,
        .data = event->data,
        .size = event->size,
        .content_type = given(peal_event_content_type(event), "application/json"),
        .subject = given(peal_event_subject(event), ""),
        .key = given(peal_event_key(event), peal_event_subject(event)),
        .correlation = given(peal_event_correlation(event), ""),
        .causation = given(peal_event_causation(event), ""),
        .id = peal_event_id(event),
        .source = given(peal_event_source(event), source),
        .schema = given(peal_event_schema(event), ""),
        .traceparent = given(peal_event_traceparent(event), ""),
        .tracestate = given(peal_event_tracestate(event), ""),
        .metadata = pairs,
        .metadata_count = count,
        .time_ns = peal_event_time(event),
        .priority = PEAL_PRIORITY(peal_event_priority(event)),
        .durability = one->durability,
    };
}

// The next that is due; it is still known by its id, and nobody else's. NULL: none is.
static struct pl_scheduled *take_due(struct peal_bus *bus)
{
    struct pl_schedule *schedule = &bus->schedule;
    int64_t now = pl_bus_now(bus);
    pl_mutex_lock(&schedule->lock, bus->seams);
    struct pl_heap_node *node = pl_heap_peek(&schedule->due);
    bool due = node && node->key <= now;
    struct pl_scheduled *one = due ? pl_container_of(node, struct pl_scheduled, due) : NULL;
    if (due) {
        (void)pl_heap_pop(&schedule->due);
        schedule->in_hand = one;
    }
    pl_mutex_unlock(&schedule->lock, bus->seams);
    return one;
}

static bool is_withdrawn(const struct pl_scheduled *one)
{
    // Relaxed: who has just been told that it may not be published sees why.
    return atomic_load_explicit(&one->withdrawn, memory_order_relaxed);
}

static void is_published(struct peal_bus *bus, struct pl_scheduled *one)
{
    if (pl_schedule_forget(bus, &one, 1)) {
        pl_bus_say(bus, PEAL_LEVEL_WARNING,
                   "scheduled event %s of type %.100s was published and is still kept; who opens "
                   "the log next finds it there, and does not publish it again: %s",
                   peal_event_id(one->event), one->event->type, peal_error_sentence());
    }
    pl_mutex_lock(&bus->schedule.lock, bus->seams);
    bus->schedule.in_hand = NULL;
    pl_schedule_take_out(&bus->schedule, one);
    pl_mutex_unlock(&bus->schedule.lock, bus->seams);
    pl_scheduled_free(bus, one);
}

static bool is_for_want_of_memory(enum peal_err err)
{
    return err == PEAL_EAGAIN || err == PEAL_ENOMEM;
}

// It could not be published: it waits once more. What found no memory stays where it was in the
// order, and so before all others; anything else does not hold them up.
static void is_not_published(struct peal_bus *bus, struct pl_scheduled *one, enum peal_err err)
{
    bool stays = is_for_want_of_memory(err) || err == PEAL_ECLOSED;
    if (!stays && !one->complained) {
        one->complained = true;
        pl_bus_say(bus, PEAL_LEVEL_WARNING,
                   "scheduled event %s of type %.100s could not be published, and is tried again: "
                   "%s",
                   peal_event_id(one->event), one->event->type, peal_error_sentence());
    }
    int64_t when = stays ? one->deliver_at : pl_bus_now(bus) + AGAIN_NS;
    pl_mutex_lock(&bus->schedule.lock, bus->seams);
    bus->schedule.in_hand = NULL;
    pl_schedule_let_wait(&bus->schedule, one, when);
    pl_mutex_unlock(&bus->schedule.lock, bus->seams);
}

static enum peal_err publish_one(struct peal_bus *bus, const struct pl_scheduled *one)
{
    bool done = false;
    enum peal_err err = one->restored ? pl_schedule_find(&done, bus, one) : PEAL_OK;
    if (err || done) {
        return err;
    }
    struct peal_message message;
    struct peal_pair pairs[PEAL_METADATA_MAX];
    say_again(&message, pairs, bus->origin.source, one);
    return pl_publish_as_it_is(bus, &message, one->event->hops, &one->withdrawn);
}

// Publishes what is due, a share of it.
static enum peal_err publish_share(struct peal_bus *bus)
{
    struct pl_scheduled *one;
    for (unsigned i = 0; i < SHARE && (one = take_due(bus)) != NULL; i++) {
        enum peal_err err = publish_one(bus, one);
        if (!err || is_withdrawn(one)) {
            is_published(bus, one);
            continue;
        }
        is_not_published(bus, one, err);
        if (is_for_want_of_memory(err) || err == PEAL_ECLOSED) {
            return err;
        }
    }
    return PEAL_OK;
}

static bool begin_run(struct pl_schedule *schedule, const struct pl_seams *seams)
{
    pl_mutex_lock(&schedule->lock, seams);
    bool begins = !schedule->running;
    schedule->running = true;
    pl_mutex_unlock(&schedule->lock, seams);
    return begins;
}

void pl_schedule_run(struct peal_bus *bus)
{
    struct pl_schedule *schedule = &bus->schedule;
    if (!begin_run(schedule, bus->seams)) {
        return; // who runs it sets the timer when it has finished
    }
    enum peal_err err = publish_share(bus);
    pl_mutex_lock(&schedule->lock, bus->seams);
    schedule->running = false;
    pl_mutex_unlock(&schedule->lock, bus->seams);
    if (is_for_want_of_memory(err)) {
        pl_timer_lower(bus, pl_bus_ticks(bus) + MEMORY_NS);
    } else if (!err) {
        pl_schedule_set_timer(bus);
    } // or it is closed, and nothing more will be published
}
