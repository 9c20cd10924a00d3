// SPDX-License-Identifier: MIT
//
// Looking at a bus: sums of what its threads have counted.
//
// Nothing here is exact while others publish; each number is one that was true at some moment of
// the call. Once the bus is quiet, all are.
#include "bus/ask.h"
#include "bus/schedule.h"

#include "base/error.h"

#include <string.h>

uint64_t peal_histogram_quantile(const struct peal_histogram *histogram, double share)
{
    if (!histogram || histogram->count == 0 || !(share >= 0)) {
        return 0;
    }
    double wanted = share * (double)histogram->count;
    uint64_t seen = 0;
    for (size_t i = 0; i < PEAL_HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen > 0 && (double)seen >= wanted) {
            return (uint64_t)1 << i;
        }
    }
    return (uint64_t)1 << (PEAL_HISTOGRAM_BUCKETS - 1);
}

static uint64_t read_count(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

// What it has lost and was not told of yet.
static uint64_t untold(struct pl_mailbox *mailbox)
{
    struct peal_bus *bus = mailbox->bus;
    if (!bus->log || !atomic_load_explicit(&mailbox->lost, memory_order_relaxed)) {
        return 0;
    }
    pl_turn_take(&bus->log->turn, bus->seams);
    uint64_t count = mailbox->in->loss.count;
    pl_turn_give(&bus->log->turn, bus->seams);
    return count;
}

// When a position, or the first behind it that is not forgotten, was recorded. No lock: it may have
// to be read back. INT64_MAX: there is none, or it cannot be read.
static int64_t recorded_at(struct peal_bus *bus, uint64_t position)
{
    struct pl_cursor place = { 0 };
    const struct pl_frame *frame = pl_cursor_at(&place, bus->log, position);
    int64_t recorded = frame ? frame->recorded : INT64_MAX;
    pl_cursor_rest(&place);
    return recorded;
}

// The event a stream of deliveries has with the handler, which nothing counts; and how old it is.
static bool streams(struct pl_mailbox *mailbox, int64_t *oldest)
{
    struct peal_bus *bus = mailbox->bus;
    const struct pl_intake *in = mailbox->in;
    if (!bus->log || !in || atomic_load_explicit(&in->streams_from, memory_order_relaxed) == 0) {
        return false;
    }
    pl_turn_take(&bus->log->turn, bus->seams);
    uint64_t from = atomic_load_explicit(&in->streams_from, memory_order_relaxed);
    uint64_t floor = atomic_load_explicit(&in->floor, memory_order_relaxed);
    bool has_one = from != 0 && floor != from &&
                   floor < atomic_load_explicit(&bus->log->end, memory_order_relaxed);
    pl_turn_give(&bus->log->turn, bus->seams);
    int64_t recorded = has_one ? recorded_at(bus, floor) : INT64_MAX;
    *oldest = recorded < *oldest ? recorded : *oldest;
    return has_one;
}

// What waits in the ring, or is still to be looked at in the log; and since when.
static uint64_t waiting_in_log(struct pl_mailbox *mailbox, uint64_t *lag, int64_t *oldest,
                               struct pl_hold_numbers *numbers)
{
    struct peal_bus *bus = mailbox->bus;
    const struct pl_intake *in = mailbox->in;
    if (!bus->log || !in) {
        return 0;
    }
    pl_turn_take(&bus->log->turn, bus->seams);
    uint64_t end = atomic_load_explicit(&bus->log->end, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&in->head, memory_order_acquire);
    uint64_t waiting = atomic_load_explicit(&in->tail, memory_order_relaxed) - head;
    uint64_t first = UINT64_MAX;
    if (waiting > 0) {
        first = atomic_load_explicit(&in->ring[head & in->mask], memory_order_relaxed) >> 4;
    }
    if (atomic_load_explicit(&in->active, memory_order_relaxed) &&
        !atomic_load_explicit(&in->live, memory_order_relaxed)) {
        uint64_t cursor = atomic_load_explicit(&in->cursor, memory_order_relaxed);
        waiting += end > cursor ? end - cursor : 0;
        first = cursor < first ? cursor : first;
        numbers->unread_first = cursor;
        numbers->unread_end = end;
    }
    *lag = first < end ? end - first : 0;
    pl_turn_give(&bus->log->turn, bus->seams);
    int64_t recorded = first < end ? recorded_at(bus, first) : INT64_MAX;
    *oldest = recorded < *oldest ? recorded : *oldest;
    return waiting;
}

// So many types are remembered while the log is looked through.
#define TYPES_KNOWN 64

uint64_t pl_mailbox_unwanted(struct pl_mailbox *mailbox, const struct pl_hold_numbers *numbers)
{
    // The mailbox's own memory of types is its runner's; this one lasts for the call.
    struct {
        uint32_t type; // and one, so that zero is none
        bool wanted;
    } known[TYPES_KNOWN] = { { 0, false } };
    struct peal_bus *bus = mailbox->bus;
    struct pl_cursor place = { 0 };
    uint64_t unwanted = 0;
    for (uint64_t at = numbers->unread_first; at < numbers->unread_end; at++) {
        const struct pl_frame *frame = pl_cursor_at(&place, bus->log, at);
        bool gone = !frame || frame->position > at; // erased, or forgotten meanwhile
        unwanted += gone ? place.erased : 0;
        if (!frame || frame->position >= numbers->unread_end) {
            break; // what was forgotten will be a gap
        }
        at = frame->position;
        size_t index = frame->type % TYPES_KNOWN;
        if (known[index].type != frame->type + 1) {
            const struct peal_topic *topic = pl_topic_by_id(bus, frame->type);
            known[index].type = frame->type + 1;
            known[index].wanted = pl_pattern_match(mailbox->pattern, topic->type, topic->length);
        }
        unwanted += !known[index].wanted;
    }
    pl_cursor_rest(&place);
    return unwanted;
}

// A loss that a restart has brought back, or a seek has made void, is counted on one side only.
static uint64_t rest_of(uint64_t all, uint64_t some)
{
    return all > some ? all - some : 0;
}

void pl_mailbox_stats(struct pl_mailbox *mailbox, struct peal_subscription_stats *out,
                      struct pl_hold_numbers *numbers)
{
    const struct pl_box_counts *counts = &mailbox->counts;
    memset(out, 0, sizeof *out);
    pl_hold_numbers(mailbox, numbers);
    out->delivered = read_count(&counts->delivered);
    out->filtered = read_count(&counts->filtered);
    out->failed = read_count(&counts->failed);
    out->released = numbers->counts.released;
    out->rejected = read_count(&counts->rejected);
    out->dead = numbers->counts.dead;
    out->dropped = read_count(&counts->dropped) + untold(mailbox);
    out->retried = numbers->counts.retried;
    out->dropped_forgotten = mailbox->in ? read_count(&mailbox->in->forgotten) : 0;
    out->dropped_spent = numbers->counts.spent;
    out->dropped_memory = read_count(&counts->unheld);
    out->dropped_overflow =
        rest_of(out->dropped, out->dropped_forgotten + out->dropped_spent + out->dropped_memory);
    out->slow = read_count(&counts->slow);
    int64_t oldest = numbers->oldest;
    out->waiting = numbers->waiting + waiting_in_log(mailbox, &out->lag, &oldest, numbers);
    out->in_flight = numbers->in_flight;
    if (numbers->running == 0) { // else it has taken its event, which is counted
        out->in_flight += streams(mailbox, &oldest);
    }
    if (oldest != INT64_MAX && out->waiting + out->in_flight > 0) {
        int64_t age = pl_bus_now(mailbox->bus) - oldest;
        out->lag_ns = age > 0 ? (uint64_t)age : 0;
    }
    out->paused = atomic_load_explicit(&mailbox->paused, memory_order_relaxed);
    out->failed_overflow = atomic_load_explicit(&mailbox->overflowed, memory_order_relaxed);
    const struct pl_timings *timings =
        atomic_load_explicit(&mailbox->timings, memory_order_acquire);
    if (timings) {
        pl_histogram_read(&out->handler_time, &timings->handler);
        pl_histogram_read(&out->delivery_time, &timings->delivery);
    }
}

enum peal_err peal_subscription_stats(struct peal_subscription_stats *out,
                                      peal_subscription *subscription)
{
    if (!out || !subscription) {
        return pl_fail(PEAL_EINVAL, "peal_subscription_stats needs a subscription and a place");
    }
    struct peal_bus *bus = subscription->mailbox->bus;
    struct pl_hold_numbers numbers;
    pl_mutex_lock(&bus->lock, bus->seams);
    pl_mailbox_stats(subscription->mailbox, out, &numbers);
    if (subscription->mailbox->mode == PEAL_INLINE) {
        // What its publishers count for it: a look at every type, so not for those who ask for all.
        out->delivered += pl_routes_delivered(bus, subscription->mailbox);
    }
    out->waiting -= pl_mailbox_unwanted(subscription->mailbox, &numbers);
    out->lag_ns = out->waiting + out->in_flight > 0 ? out->lag_ns : 0;
    pl_mutex_unlock(&bus->lock, bus->seams);
    return PEAL_OK;
}

static void add_mailboxes(struct peal_bus *bus, struct peal_bus_stats *out)
{
    out->delivered = bus->folded.delivered + pl_routes_delivered_all(bus);
    out->retried = bus->folded.retried;
    out->dropped = bus->folded.dropped;
    out->dropped_forgotten = bus->folded.forgotten;
    out->dropped_spent = bus->folded.spent;
    out->dropped_memory = bus->folded.unheld;
    struct pl_mailbox *mailbox;
    PL_LIST_EACH (mailbox, &bus->mailboxes, link) {
        const struct pl_box_counts *counts = &mailbox->counts;
        const struct pl_hold_counts held = pl_hold_counts(mailbox);
        out->delivered += read_count(&counts->delivered);
        out->retried += held.retried;
        out->dropped += read_count(&counts->dropped) + untold(mailbox);
        out->dropped_forgotten += mailbox->in ? read_count(&mailbox->in->forgotten) : 0;
        out->dropped_spent += held.spent;
        out->dropped_memory += read_count(&counts->unheld);
    }
    out->dropped_overflow =
        rest_of(out->dropped, out->dropped_forgotten + out->dropped_spent + out->dropped_memory);
}

// Subscriptions without a durable name, interceptors and peal_emit are this bus's own, also where a
// service has the log.
static void add_ours(struct peal_bus_stats *all, const struct peal_bus_stats *ours)
{
    all->delivered += ours->delivered;
    all->retried += ours->retried;
    all->dropped += ours->dropped;
    all->dropped_overflow += ours->dropped_overflow;
    all->dropped_forgotten += ours->dropped_forgotten;
    all->dropped_spent += ours->dropped_spent;
    all->dropped_memory += ours->dropped_memory;
    all->dead_letters += ours->dead_letters;
    all->refused += ours->refused;
    all->emit_lost += ours->emit_lost;
}

// What only the process that has the log counts, if it can be asked. Where the log ends is what
// can be read here.
static void add_owner(struct peal_bus *bus, struct peal_bus_stats *out)
{
    struct peal_bus_stats all;
    if (!pl_ask_stats(&all, bus)) {
        all.first_position = out->first_position;
        all.last_position = out->last_position;
        if (pl_is_remote(bus)) {
            add_ours(&all, out);
        } else {
            all.types = out->types;
        }
        *out = all;
    }
}

enum peal_err peal_bus_stats(struct peal_bus_stats *out, peal_bus *bus)
{
    if (!out || !bus) {
        return pl_fail(PEAL_EINVAL, "peal_bus_stats needs a bus and a place");
    }
    enum peal_err err = pl_bus_refresh(bus);
    if (err) {
        return err;
    }
    memset(out, 0, sizeof *out);
    pl_mutex_lock(&bus->lock, bus->seams);
    out->published = pl_routes_published(bus);
    add_mailboxes(bus, out);
    out->subscriptions = bus->subscription_count;
    pl_mutex_unlock(&bus->lock, bus->seams);
    out->types = atomic_load_explicit(&bus->topic_count, memory_order_relaxed);
    out->duplicates = read_count(&bus->duplicates);
    out->refused = read_count(&bus->refused);
    out->rejected = read_count(&bus->rejected);
    out->emit_lost = read_count(&bus->emit_lost);
    out->worker_parks = read_count(&bus->parks);
    pl_histogram_read(&out->publish_wait, &bus->publish_wait);
    pl_histogram_read(&out->publish_time, &bus->publish_time);
    pl_mutex_lock(&bus->dead.lock, bus->seams);
    out->dead_letters = bus->dead.count;
    pl_mutex_unlock(&bus->dead.lock, bus->seams);
    out->scheduled = pl_schedule_count(bus);
    if (bus->log) {
        uint64_t end = pl_log_end(bus->log);
        out->last_position = end - 1;
        out->first_position = pl_log_first(bus->log, end);
        out->memory_bytes = pl_log_memory(bus->log);
    }
    if (bus->engine->ops->holdings) {
        bus->engine->ops->holdings(bus->engine, out);
    }
    if (pl_asks(bus)) {
        add_owner(bus, out);
    }
    return PEAL_OK;
}
