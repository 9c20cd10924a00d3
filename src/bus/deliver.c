// SPDX-License-Identifier: MIT
//
// Delivering: from an event to a handler's verdict.
//
//     filter ─► middleware ... ─► handler ─► verdict
//
// The thread's slot says meanwhile which event is being handled, so that what the handler publishes
// inherits its correlation and trace, and whose handler runs, so that it may unsubscribe itself.
//
// One delivery in 64 is timed to the nanosecond for the histograms; an inline one only where
// slow_ms says that somebody wants to know. That a handler was slow is seen by the coarse clock,
// which is looked at after each delivery, or in a quick stream after every eighth: the end of one
// is the start of the next.
#include "bus/calls.h"
#include "bus/tracing.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

#define SAMPLE_EVERY 64

// Deliveries between two looks at the coarse clock, at most.
#define STRIDE_MAX 8

void pl_report_slow(struct pl_mailbox *mailbox, const struct peal_event *event, unsigned among,
                    int64_t ns)
{
    pl_count_shared(&mailbox->counts.slow, 1);
    char which[48] = "";
    if (among > 1) {
        (void)snprintf(which, sizeof which, "one of %u events, the last ", among);
    }
    pl_bus_say(mailbox->bus, PEAL_LEVEL_WARNING,
               "subscription %s: its handler took %lld ms for %san event of type %s (position "
               "%llu)",
               pl_mailbox_who(mailbox), (long long)(ns / PL_NS_PER_MS), which,
               peal_event_type(event), (unsigned long long)peal_event_position(event));
}

// ---- middleware ---------------------------------------------------------------------------------

struct peal_next {
    const struct pl_middleware *rest;
    size_t count;
    const struct peal_subscription *member;
    bool called;
};

enum peal_verdict peal_next_call(peal_next *next, const peal_event *event)
{
    if (!next || !event || next->called) {
        return PEAL_DONE;
    }
    next->called = true;
    if (next->count == 0) {
        return next->member->handler(event, next->member->context);
    }
    struct peal_next inner = { next->rest + 1, next->count - 1, next->member, false };
    return next->rest->run(event, &inner, next->rest->context);
}

enum peal_verdict pl_chain_run(const struct pl_middlewares *list,
                               const struct peal_subscription *member,
                               const struct peal_event *event)
{
    struct peal_next next = { list->list, list->count, member, false };
    return peal_next_call(&next, event);
}

static inline enum peal_verdict run_chain(struct peal_bus *bus,
                                          const struct peal_subscription *member,
                                          const struct peal_event *event)
{
    // Acquire: the list was filled before it was stored.
    const struct pl_middlewares *middlewares =
        atomic_load_explicit(&bus->middlewares, memory_order_acquire);
    if (__builtin_expect(!middlewares, 1)) {
        return member->handler(event, member->context);
    }
    if (middlewares->tracing) {
        return pl_tracing_run(middlewares, member, event);
    }
    return pl_chain_run(middlewares, member, event);
}

// ---- one event ----------------------------------------------------------------------------------

static struct pl_timings *timings_of(struct pl_mailbox *mailbox)
{
    struct pl_timings *timings = atomic_load_explicit(&mailbox->timings, memory_order_acquire);
    if (timings) {
        return timings;
    }
    struct pl_timings *made = pl_new(mailbox->seams, sizeof *made);
    if (made &&
        !atomic_compare_exchange_strong_explicit(&mailbox->timings, &timings, made,
                                                 memory_order_acq_rel, memory_order_acquire)) {
        pl_release(mailbox->seams, made); // another worker was quicker
        return timings;
    }
    return made; // NULL: without memory nothing is timed
}

static int64_t since_publish(struct peal_bus *bus, const struct peal_event *event)
{
    // One that no log has is with its publisher still.
    return event->frame ? pl_bus_now(bus) - peal_event_recorded_time(event) : 0;
}

// An inline handler is timed only if it is watched: the clock would be most of what it costs.
static bool is_timed(const struct pl_mailbox *mailbox)
{
    return mailbox->mode != PEAL_INLINE || mailbox->settings->options.slow_ms > 0;
}

static __attribute__((noinline)) enum peal_verdict run_timed(struct pl_mailbox *mailbox,
                                                             const struct peal_subscription *member,
                                                             const struct peal_event *event)
{
    struct peal_bus *bus = mailbox->bus;
    if (!is_timed(mailbox)) { // tried again by a worker
        return run_chain(bus, member, event);
    }
    int64_t waited = since_publish(bus, event);
    int64_t start = pl_bus_ticks(bus);
    enum peal_verdict verdict = run_chain(bus, member, event);
    int64_t took = pl_bus_ticks(bus) - start;
    struct pl_timings *timings = timings_of(mailbox);
    if (timings) {
        pl_histogram_add(&timings->handler, took);
        pl_histogram_add(&timings->delivery, waited);
    }
    return verdict;
}

void pl_handler_enter(struct pl_slot *slot, struct pl_mailbox *mailbox,
                      const struct peal_event *event)
{
    if (slot->handling < PL_DEPTH_MAX) {
        slot->running[slot->handling] = mailbox;
    }
    slot->handling++;
    slot->current = event;
}

void pl_handler_leave(struct pl_slot *slot, const struct peal_event *before)
{
    slot->handling--;
    slot->current = before;
}

// Relaxed, and not one step: if two workers count the same delivery, one more or less is timed.
static bool sample_now(struct pl_mailbox *mailbox)
{
    uint8_t sample = atomic_load_explicit(&mailbox->sample, memory_order_relaxed);
    atomic_store_explicit(&mailbox->sample, (uint8_t)(sample + 1), memory_order_relaxed);
    return sample % SAMPLE_EVERY == 0;
}

void pl_time_delivery(struct pl_mailbox *mailbox, const struct peal_event *event)
{
    struct pl_timings *timings = sample_now(mailbox) ? timings_of(mailbox) : NULL;
    if (timings) {
        pl_histogram_add(&timings->delivery, since_publish(mailbox->bus, event));
    }
}

// Several write it while several run, and while somebody may settle what is held.
static inline void count_for(struct pl_mailbox *mailbox, _Atomic uint64_t *counter)
{
    if (!mailbox->settings->simple ||
        atomic_load_explicit(&mailbox->holding, memory_order_relaxed)) {
        pl_count_shared(counter, 1);
    } else {
        pl_count(counter, 1);
    }
}

// Was a handler slow? In a stream of deliveries too quick for the clock to move, it is looked at
// every STRIDE_MAX of them: it would be a third of what a delivery costs.
static void look_at_clock(struct pl_call *call, const struct peal_event *event)
{
    struct pl_mailbox *mailbox = call->mailbox;
    const struct pl_seams *seams = mailbox->seams;
    int64_t now = seams->coarse(seams->world);
    int64_t took = now - call->since;
    if (took > 0) {
        int64_t slow = (int64_t)mailbox->settings->options.slow_ms * PL_NS_PER_MS;
        if (__builtin_expect(slow > 0 && took >= slow, 0)) { // 0: inline, and nobody asked
            pl_report_slow(mailbox, event, call->unclocked, took);
        }
        call->stride = 1;
    } else if (call->stride < STRIDE_MAX) {
        call->stride *= 2;
    }
    call->since = now;
    call->unclocked = 0;
}

// Inside pl_handler_enter and _leave.
static inline __attribute__((always_inline)) enum peal_verdict handle(struct pl_call *call,
                                                                      struct peal_event *event)
{
    struct pl_mailbox *mailbox = call->mailbox;
    const struct peal_subscribe_options *options = &mailbox->settings->options;
    struct peal_bus *bus = mailbox->bus;
    if (options->filter && !options->filter(event, options->filter_context)) {
        count_for(mailbox, &mailbox->counts.filtered);
        return PEAL_DONE;
    }
    enum peal_verdict verdict;
    if (__builtin_expect(sample_now(mailbox), 0)) {
        verdict = run_timed(mailbox, call->member, event);
    } else {
        verdict = run_chain(bus, call->member, event);
    }
    if (++call->unclocked >= call->stride) {
        look_at_clock(call, event);
    }
    if (__builtin_expect(verdict == PEAL_DONE && !call->taken, 1)) {
        count_for(mailbox, &mailbox->counts.delivered);
    }
    return verdict;
}

enum peal_verdict pl_deliver(struct pl_call *call, struct pl_slot *slot, struct peal_event *event)
{
    const struct peal_event *before = slot->current;
    pl_handler_enter(slot, call->mailbox, event);
    enum peal_verdict verdict = handle(call, event);
    pl_handler_leave(slot, before);
    return verdict;
}

// What was drawn ends as done, or is held and ends the stream: what comes next must look at what is
// held.
enum pl_run_result pl_deliver_stream(struct pl_mailbox *mailbox, struct pl_slot *slot,
                                     size_t budget, size_t *done)
{
    struct peal_bus *bus = mailbox->bus;
    struct pl_call call;
    struct peal_event event;
    pl_call_start(&call, mailbox, &mailbox->only, NULL);
    call.since = bus->seams->coarse(bus->seams->world);
    pl_intake_stream_begins(mailbox->in);
    const struct peal_event *before = slot->current;
    pl_handler_enter(slot, mailbox, &event); // once for all: every event is the same view
    enum pl_run_result result = PL_RUN_MORE;
    enum peal_verdict verdict = PEAL_DONE;
    size_t count = 0;
    while (count < budget && verdict == PEAL_DONE && !call.taken) {
        if (atomic_load_explicit(&mailbox->paused, memory_order_relaxed)) {
            result = PL_RUN_STUCK;
            break;
        }
        if (__builtin_expect(atomic_load_explicit(&mailbox->lost, memory_order_relaxed), 0)) {
            break; // the next run begins with telling it
        }
        const struct pl_frame *frame = pl_intake_draw(mailbox->in);
        if (!frame) {
            result = PL_RUN_DRAINED;
            break;
        }
        pl_bus_view(&event, bus, frame, mailbox->in->place.segment);
        event.delivery = &call;
        event.attempt = 1;
        call.segment = mailbox->in->place.segment;
        verdict = handle(&call, &event);
        count++;
    }
    pl_handler_leave(slot, before);
    *done += count;
    if (call.unclocked > 0) {
        look_at_clock(&call, &event);
    }
    pl_intake_stream_ends(mailbox->in); // before the event is counted among what is held
    if (__builtin_expect(verdict != PEAL_DONE || call.taken, 0)) {
        pl_hold_failed(&call, &event, verdict);
    }
    return result;
}

// ---- a batch ------------------------------------------------------------------------------------

// While its handler runs: what that publishes is because of slot->current, which is `cause`, or the
// event that peal_handling has named.
struct pl_batch {
    const struct peal_event *first; // they lie side by side
    size_t count;
    struct peal_event cause; // the first, with the most hops of all: so a loop is always found
};

static bool is_among(const struct pl_batch *batch, const struct peal_event *event)
{
    // As numbers: the event may be any.
    uintptr_t first = (uintptr_t)batch->first, it = (uintptr_t)event;
    return it >= first && it < first + batch->count * sizeof *event;
}

void peal_handling(const peal_event *event)
{
    const struct pl_call *call = event ? event->delivery : NULL;
    if (!call || !call->mailbox || !call->member || !call->member->batch) {
        return; // not inside a batch handler
    }
    struct pl_slot *slot = pl_slot_mine(call->mailbox->bus);
    const struct pl_batch *batch = slot ? slot->batch : NULL;
    // Else this thread runs another handler, perhaps an inline one that this batch has set off.
    if (batch && is_among(batch, event) &&
        (slot->current == &batch->cause || is_among(batch, slot->current))) {
        slot->current = event;
    }
}

void pl_deliver_batch(struct pl_call *call, struct pl_slot *slot,
                      const struct peal_event *const *events, size_t count,
                      enum peal_verdict *verdicts)
{
    struct pl_mailbox *mailbox = call->mailbox;
    struct peal_bus *bus = mailbox->bus;
    struct pl_batch batch = { .first = events[0], .count = count, .cause = *events[0] };
    for (size_t i = 0; i < count; i++) {
        pl_time_delivery(mailbox, events[i]);
        batch.cause.hops = events[i]->hops > batch.cause.hops ? events[i]->hops : batch.cause.hops;
    }
    const struct peal_event *before = slot->current;
    pl_handler_enter(slot, mailbox, &batch.cause);
    slot->batch = &batch; // cppcheck-suppress autoVariables // taken back below
    struct pl_batch_span span;
    pl_tracing_batch_begins(&span, mailbox, events, count);
    int64_t start = pl_bus_ticks(bus);
    call->member->batch(events, count, verdicts, call->member->context);
    int64_t took = pl_bus_ticks(bus) - start;
    pl_tracing_batch_ends(&span, mailbox, events[0], verdicts);
    slot->batch = NULL;
    pl_handler_leave(slot, before);
    struct pl_timings *timings = timings_of(mailbox);
    if (timings) {
        pl_histogram_add(&timings->handler, took);
    }
    if (took >= (int64_t)mailbox->settings->options.slow_ms * PL_NS_PER_MS) {
        pl_report_slow(mailbox, events[0], 1, took);
    }
}

// ---- inline handlers ----------------------------------------------------------------------------

// The route counts every inline handler it calls as delivered; here is what was not.
static void not_delivered(struct pl_mailbox *mailbox, _Atomic uint64_t *instead)
{
    pl_count_shared(&mailbox->counts.delivered, UINT64_MAX); // minus one
    if (instead) {
        pl_count_shared(instead, 1);
    }
}

enum peal_verdict pl_inline_full(const peal_event *event, void *context)
{
    struct pl_mailbox *mailbox = context;
    struct peal_bus *bus = mailbox->bus;
    const struct peal_subscribe_options *options = &mailbox->settings->options;
    if (options->filter && !options->filter(event, options->filter_context)) {
        not_delivered(mailbox, &mailbox->counts.filtered);
        return PEAL_DONE;
    }
    if (atomic_load_explicit(&mailbox->holding, memory_order_acquire) &&
        pl_hold_behind(mailbox, event)) {
        not_delivered(mailbox, NULL);
        return PEAL_DONE;
    }
    if (!is_timed(mailbox)) {
        return run_chain(bus, &mailbox->only, event);
    }
    bool sampled = sample_now(mailbox);
    int64_t start = pl_bus_ticks(bus);
    enum peal_verdict verdict =
        sampled ? run_timed(mailbox, &mailbox->only, event) : run_chain(bus, &mailbox->only, event);
    int64_t took = pl_bus_ticks(bus) - start;
    if (took >= (int64_t)options->slow_ms * PL_NS_PER_MS) {
        pl_report_slow(mailbox, event, 1, took);
    }
    return verdict;
}

void pl_deliver_to_all(struct pl_call *call, struct peal_bus *bus, const struct pl_route *route,
                       struct peal_event *event, uint64_t removals)
{
    const struct pl_inline *end = route->inlines + route->inline_count;
#pragma GCC unroll 4
    for (const struct pl_inline *handler = route->inlines; handler < end; handler++) {
        pl_deliver_to(call, bus, route, handler, event, removals);
    }
}

// From now on its events are looked at before they run.
static void guard(struct pl_mailbox *mailbox)
{
    struct peal_bus *bus = mailbox->bus;
    pl_mutex_lock(&bus->lock, bus->seams);
    if (!mailbox->guarded) {
        mailbox->guarded = true;
        pl_routes_changed(bus, mailbox->pattern);
    }
    pl_mutex_unlock(&bus->lock, bus->seams);
}

static struct pl_mailbox *inline_box(const struct pl_route *route, const struct pl_inline *handler)
{
    return route->rest->inline_boxes[handler - route->inlines];
}

bool pl_inline_is_gone(const struct pl_route *route, const struct pl_inline *handler)
{
    struct pl_mailbox *mailbox = inline_box(route, handler);
    if (!pl_mailbox_is_gone(mailbox)) {
        return false;
    }
    struct peal_bus *bus = mailbox->bus;
    pl_mutex_lock(&bus->lock, bus->seams);
    bus->folded.delivered--; // the route counts it
    pl_mutex_unlock(&bus->lock, bus->seams);
    return true;
}

void pl_inline_failed(struct pl_call *call, const struct pl_route *route, struct peal_event *event,
                      enum peal_verdict verdict)
{
    struct pl_mailbox *mailbox = inline_box(route, call->inlined);
    bool failed = call->failed;
    pl_call_start(call, mailbox, &mailbox->only, NULL);
    call->failed = failed;
    call->segment = event->owner;
    not_delivered(mailbox, NULL);
    guard(mailbox);
    pl_hold_failed(call, event, verdict);
    call->mailbox = NULL;
    call->failed = false; // what the next handler says is its own
}

// ---- what a handler may say about its event -----------------------------------------------------

// Copies what fits, and of UTF-8 no half character.
static void copy_cut(char *out, size_t size, const char *text)
{
    size_t length = strnlen(text, size);
    if (length == size) {
        length--;
        for (unsigned back = 0; back < 3 && length > 0 && (text[length] & 0xC0) == 0x80; back++) {
            length--;
        }
    }
    memcpy(out, text, length);
    out[length] = '\0';
}

void peal_fail(const peal_event *event, const char *code, const char *text)
{
    struct pl_call *call = event ? event->delivery : NULL;
    if (!call) {
        return; // outside a handler there is nobody to tell
    }
    call->failed = true;
    copy_cut(call->code, sizeof call->code, code ? code : "");
    copy_cut(call->text, sizeof call->text, text ? text : "");
}
