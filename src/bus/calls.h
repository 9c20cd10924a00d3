// SPDX-License-Identifier: MIT
//
// What the files of a bus ask of each other, a section for each file; of slots and routes:
// routes.h. A declaration says which lock is held, or must not be, and who may call, where that
// matters.
//
// Inline is what stands on the way of every event, and what is one line.
#ifndef PL_BUS_CALLS_H
#define PL_BUS_CALLS_H

#include "bus/internal.h"
#include "bus/routes.h"

#include <string.h>

// ---- options.c ----------------------------------------------------------------------------------

// Reads the URL over what the caller gave, and fills in the defaults. PEAL_EURL, PEAL_EINVAL,
// PEAL_EUNSUPPORTED.
enum peal_err pl_options_fill(struct peal_bus_options *options, struct pl_retention *retention,
                              const struct pl_url *url, const struct pl_engine_ops *ops);

// ---- unread.c -----------------------------------------------------------------------------------

// The first position that an open reader, a subscription or a durable name has yet to read; the bus
// as its context. Takes locks of the bus: none is held.
uint64_t pl_bus_unread(void *context);

// A reader needs what lies from a position on, until it leaves.
void pl_need_enter(struct peal_bus *bus, struct pl_need *need, uint64_t position);
void pl_need_leave(struct peal_bus *bus, struct pl_need *need); // fine on zeros

// ---- named.c ------------------------------------------------------------------------------------

// On a bus that only reads nothing can be changed. PEAL_EUNSUPPORTED; `what` cannot be done.
enum peal_err pl_bus_check_writes(const struct peal_bus *bus, const char *what);

// ---- verify.c -----------------------------------------------------------------------------------

// On a bus that only reads: what has been written since is seen. PEAL_EIO, PEAL_ENOMEM.
enum peal_err pl_bus_refresh(struct peal_bus *bus);

// PEAL_EUNSUPPORTED: the engine `has_none`, or the log is a service's, which is to be seen to
// there.
enum peal_err pl_bus_lacks(const struct peal_bus *bus, const char *has_none);

// ---- arrive.c -----------------------------------------------------------------------------------

// As `arrive` of struct pl_engine_config, with the bus as its context.
enum peal_err pl_bus_arrive(void *context, const struct pl_arrivals *arrivals);
void pl_bus_arrive_finish(struct peal_bus *bus); // nothing arrives any more

// As `forgotten` there.
void pl_bus_forgotten(void *context, uint64_t next);

// ---- afar.c -------------------------------------------------------------------------------------

// The service keeps the name of this mailbox from now on, and sends its events. No lock. As
// peal_subscribe.
enum peal_err pl_afar_take(struct pl_mailbox *mailbox);

// As `deliver` and `void_deliveries` of struct pl_engine_config, with the bus as their context.
void pl_bus_deliver(void *context, const struct pl_afar_delivery *delivery);
void pl_bus_void_deliveries(void *context, uint64_t subscription);

static inline bool pl_is_remote(const struct peal_bus *bus)
{
    return bus->engine->ops->publish != NULL;
}

// ---- intake.c -----------------------------------------------------------------------------------

// What somebody has still to read starts here. With the turn.
uint64_t pl_intakes_floor(void *context); // the bus

// The same of a bus whose log is a service's: what memory lets go of can be read again, over the
// connection, so that it is worth half of memory_max and no more.
uint64_t pl_intakes_floor_of_remote(void *context);

// Positions from one on, up to `next`, at which the log ends now, are gone. Who reads the log finds
// that; another one is told when it is run (pl_runs_notify, after the turn). With the turn.
void pl_intake_forgotten(struct pl_intake *in, uint64_t first, uint64_t next);

// Hands a position to an intake that needs attention. With the turn. True: it has to be scheduled.
bool pl_intake_push_slow(struct pl_intake *in, uint64_t position, unsigned priority);

// Hands a position to an intake. With the turn. True: somebody has to run its mailbox
// (pl_runs_notify, after the turn).
static inline bool pl_intake_push(struct pl_intake *in, uint64_t position, unsigned priority)
{
    bool active = atomic_load_explicit(&in->active, memory_order_relaxed);
    bool live = atomic_load_explicit(&in->live, memory_order_relaxed);
    if (__builtin_expect(!active || priority != PEAL_PRIORITY_DEFAULT, 0)) {
        return pl_intake_push_slow(in, position, priority);
    }
    if (!live) {
        return false; // it reads the log by itself, and will come by
    }
    uint64_t tail = atomic_load_explicit(&in->tail, memory_order_relaxed);
    if (__builtin_expect(tail - in->head_seen > in->mask, 0)) {
        return pl_intake_push_slow(in, position, priority);
    }
    atomic_store_explicit(&in->ring[tail & in->mask], position << 4 | PEAL_PRIORITY_DEFAULT,
                          memory_order_relaxed);
    // Release: the frame and the ring's entry come before the new tail.
    atomic_store_explicit(&in->tail, tail + 1, memory_order_release);
    return false;
}

// The next of a mailbox's events, from the ring or the log; the intake's place keeps it. NULL:
// none. Only whoever runs it (several: under its lock).
const struct pl_frame *pl_intake_draw_slow(struct pl_intake *in);

static inline const struct pl_frame *pl_intake_draw(struct pl_intake *in)
{
    uint64_t position = atomic_load_explicit(&in->cursor, memory_order_relaxed);
    if (__builtin_expect(in->reads_log && position < in->end_seen, 1)) {
        const struct pl_frame *frame = pl_cursor_here(&in->place, position);
        if (__builtin_expect(frame && frame->type < in->types_size &&
                                 in->types[frame->type] == PL_TYPE_WANTED &&
                                 pl_cursor_is_fresh(&in->place),
                             1)) {
            atomic_store_explicit(&in->floor, position, memory_order_relaxed);
            // Release: the floor comes first.
            atomic_store_explicit(&in->cursor, position + 1, memory_order_release);
            in->drawn++;
            return frame;
        }
    }
    return pl_intake_draw_slow(in);
}

// If a draw has stopped because the log could not be read: says so. No lock is held; on the thread
// that drew.
void pl_intake_say_unreadable(struct pl_intake *in);

// The event at a position, which the intake's place keeps. False: it cannot be read now, and the
// mailbox is paused; *out NULL: it is gone. Only whoever runs it.
bool pl_intake_read(struct pl_intake *in, uint64_t position, const struct pl_frame **out);

// Forgets what waits in the mailbox, and reads on from a position. Only whoever may run it: with
// its lock, and it has a name.
void pl_intake_seek(struct pl_intake *in, uint64_t position);

// The first position that was not drawn; all below it are pending, settled or not wanted. With the
// mailbox's lock. Takes the turn. And what it has lost and was not told of.
uint64_t pl_intake_next(struct pl_intake *in, struct pl_loss *out);
// Below this position it reads nothing any more: the event it has just drawn, or draws next.
uint64_t pl_intake_needed(struct pl_intake *in);

// How much has come since it was drained, wanted or not? Cheap, for a spinning worker.
uint64_t pl_intake_news(const struct pl_intake *in);

// From here to there each event drawn is with the handler until the next one is. For who looks: no
// order is needed.
static inline void pl_intake_stream_begins(struct pl_intake *in)
{
    uint64_t floor = atomic_load_explicit(&in->floor, memory_order_relaxed);
    atomic_store_explicit(&in->streams_from, floor, memory_order_relaxed);
}

static inline void pl_intake_stream_ends(struct pl_intake *in)
{
    atomic_store_explicit(&in->streams_from, 0, memory_order_relaxed);
}

// Into the ring again, once all of the log has been read, if it is better there.
void pl_intake_go_live(struct pl_intake *in);

// Remembers that positions were lost. With the turn.
void pl_intake_add_loss(struct pl_intake *in, uint64_t count, uint64_t first, uint64_t last);

// ---- mailbox.c ----------------------------------------------------------------------------------

// Nothing is waiting: let the next push wake somebody. False: something came meanwhile. Whoever
// runs it; if several may, pl_mailbox_rest_shared.
bool pl_mailbox_rest(struct pl_mailbox *mailbox);
bool pl_mailbox_rest_shared(struct pl_mailbox *mailbox);

// Of positions first to last `count` events are lost to it: it is told of them. Takes the turn.
void pl_mailbox_lose(struct pl_mailbox *mailbox, uint64_t count, uint64_t first, uint64_t last);
// The same, because the log has forgotten them.
void pl_mailbox_miss(struct pl_mailbox *mailbox, uint64_t count, uint64_t first, uint64_t last);
// What it has lost and is to be told of now; false: nothing. Takes the turn.
bool pl_mailbox_take_loss(struct pl_mailbox *mailbox, struct pl_loss *out);

// Can only one worker at a time run it? Of a durable name never: others may join at any moment.
static inline bool pl_mailbox_is_alone(const struct pl_mailbox *mailbox)
{
    return mailbox->settings->options.concurrency == 1 && !mailbox->settings->options.name;
}

// Has it been unsubscribed, or stopped by PEAL_FAIL? Any thread.
bool pl_mailbox_is_gone(struct pl_mailbox *mailbox);

void pl_mailbox_ref(struct pl_mailbox *mailbox);
void pl_mailbox_unref(struct pl_mailbox *mailbox);

// Who is it, for people: label, file and line, name, or pattern.
const char *pl_mailbox_label(const struct pl_mailbox *mailbox);

// The same, and where it was written: "billing (src/bill.c:29)".
const char *pl_mailbox_who(const struct pl_mailbox *mailbox);

// Is this its name, or its label?
static inline bool pl_mailbox_is_called(const struct pl_mailbox *mailbox, const char *text)
{
    const char *name = mailbox->settings->options.name;
    return strcmp(pl_mailbox_label(mailbox), text) == 0 || (name && strcmp(name, text) == 0);
}

// A mailbox of a pattern, which takes the settings unless it fails. PEAL_ENOMEM, PEAL_EPATTERN.
enum peal_err pl_mailbox_create(struct pl_mailbox **out, struct peal_bus *bus, const char *pattern,
                                const struct pl_settings *settings);

// ---- run.c --------------------------------------------------------------------------------------

enum pl_run_result {
    PL_RUN_MORE,    // the budget is spent, there is more
    PL_RUN_DRAINED, // nothing is waiting
    PL_RUN_STUCK,   // something waits that only a notification can free
};

// Runs a mailbox: at most `budget` deliveries; adds what it did to `done`.
enum pl_run_result pl_mailbox_run(struct pl_mailbox *mailbox, struct pl_slot *slot, size_t budget,
                                  size_t *done);

// Tells a subscription of what it has lost, if it has. False: it has not, or nobody is
// there to be told.
bool pl_mailbox_tell_loss(struct pl_mailbox *mailbox, struct pl_slot *slot);

// The data of a gap event. Returns its length.
size_t pl_gap_text(char *out, size_t size, const struct pl_loss *loss);

// Has PEAL_FAIL stopped it? Says so the first time. No lock held.
bool pl_mailbox_has_stopped(struct pl_mailbox *mailbox);

// ---- start.c ------------------------------------------------------------------------------------

// Where to begin: as the options of a subscription say it.
struct pl_start {
    enum peal_start from;
    uint64_t position;
    int64_t time_ns;
};

// The position that is meant. May read the log: no lock. PEAL_EIO, PEAL_ENOMEM.
enum peal_err pl_start_position(uint64_t *out, struct peal_bus *bus, const struct pl_start *start);

// A start that lies in the future is a mistake, or belongs to another log. `who` wants it, by
// pattern or name. PEAL_EINVAL.
enum peal_err pl_start_check(struct peal_bus *bus, const char *who, const struct pl_start *start,
                             uint64_t position);

// ---- member.c -----------------------------------------------------------------------------------

// A member comes: *borrowed* until it is removed. The lock of the mailbox is not held.
void pl_member_add(struct pl_mailbox *mailbox, struct peal_subscription *member);

// A member leaves; the mailbox stays. The lock of the mailbox is not held.
void pl_member_remove(struct pl_mailbox *mailbox, struct peal_subscription *member);

// Frees those that are left, but for `only`. Nobody uses the mailbox any more.
void pl_members_free(struct pl_mailbox *mailbox);

// ---- subscription.c -----------------------------------------------------------------------------

// What it wants of the log of a service need not be sent any more, if it was. No lock held.
void pl_mailbox_unlisten(struct pl_mailbox *mailbox);

// ---- leave.c ------------------------------------------------------------------------------------

// It has been unsubscribed and nobody runs it any more: lets go of what it held. No lock held.
void pl_mailbox_end(struct pl_mailbox *mailbox);

// Forgets a durable name that nobody has: its place in the log, and what it held. PEAL_ENOTFOUND,
// PEAL_ESTATE (somebody has it). No lock held. PEAL_EIO: it is, until the bus is opened again.
enum peal_err pl_name_forget(struct peal_bus *bus, const char *name);

// ---- pull.c -------------------------------------------------------------------------------------

// Lets everybody who pulls look again.
void pl_pulls_wake(struct peal_bus *bus);

// ---- pause.c ------------------------------------------------------------------------------------

// Deliveries stop, or go on. A durable one stays as it is said, also after a restart. Not inline,
// no lock held. PEAL_EIO: it is done, but a restart may not know.
enum peal_err pl_mailbox_pause(struct pl_mailbox *mailbox, bool paused);

// ---- names.c ------------------------------------------------------------------------------------

// Who has a name, or had it since the bus was opened; NULL: nobody. With bus->lock.
struct pl_mailbox *pl_name_find(struct peal_bus *bus, const char *name);

// The lowest number above `after` so that `prefix` and the number are a durable name; 0: none.
uint64_t pl_name_next(struct peal_bus *bus, const char *prefix, uint64_t after);

// ---- seek.c -------------------------------------------------------------------------------------

// Moves it to another place in the log, as peal_subscription_seek. No lock held.
enum peal_err pl_mailbox_seek(struct pl_mailbox *mailbox, const struct pl_start *start);

// ---- settings.c ---------------------------------------------------------------------------------

// Do they make sense, with that handler? `options` may be NULL. PEAL_EINVAL, PEAL_ELIMIT.
enum peal_err pl_settings_check(const struct peal_subscribe_options *options,
                                peal_handler *handler);

// A copy of options, with every default filled in. *Given*. PEAL_ENOMEM.
enum peal_err pl_settings_make(const struct pl_settings **out, const struct pl_seams *seams,
                               const struct peal_subscribe_options *given);
void pl_settings_free(const struct pl_settings *settings, const struct pl_seams *seams);

// Are they the same, but for where it starts, which was decided when the name was first used, and
// who the member is?
bool pl_settings_same(const struct peal_subscribe_options *a,
                      const struct peal_subscribe_options *b);

// ---- stats.c ------------------------------------------------------------------------------------

// What became of pending events, so far.
struct pl_hold_counts {
    uint64_t retried, released, dead;
    uint64_t spent; // dropped, since their attempts were
};

struct pl_hold_numbers {
    struct pl_hold_counts counts;
    uint64_t waiting, in_flight, retrying;
    uint64_t running; // of those in flight: with a handler
    int64_t oldest;   // recorded time of the oldest; INT64_MAX: none
    // What it has to read from the log itself, and `waiting` of the stats counts as if it wanted
    // all of it; pl_mailbox_unwanted says how many it does not.
    uint64_t unread_first, unread_end;
};

// With bus->lock.
void pl_mailbox_stats(struct pl_mailbox *mailbox, struct peal_subscription_stats *out,
                      struct pl_hold_numbers *numbers);
uint64_t pl_mailbox_unwanted(struct pl_mailbox *mailbox, const struct pl_hold_numbers *numbers);

// ---- deliver.c ----------------------------------------------------------------------------------

struct pl_pending;

// What a handler's call carries: behind event->delivery.
struct pl_call {
    struct pl_mailbox *mailbox; // NULL: a replay
    struct peal_subscription *member;
    struct pl_pending *pending;      // NULL: not pending yet
    struct pl_segment *segment;      // of the event; NULL: not in a log
    int64_t since;                   // coarse time when the clock was last looked at
    unsigned unclocked, stride;      // deliveries since then, and up to the next look
    const struct pl_inline *inlined; // the inline handler that runs; NULL: it is not one
    // The event as the log has it, while a handler is given a newer form of it; else NULL.
    const struct peal_event *logged;
    bool taken;  // peal_delivery_take
    bool failed; // peal_fail
    char code[32];
    char text[256];
};

static inline void pl_call_start(struct pl_call *call, struct pl_mailbox *mailbox,
                                 struct peal_subscription *member, struct pl_pending *pending)
{
    call->mailbox = mailbox;
    call->member = member;
    call->pending = pending;
    call->segment = NULL;
    call->inlined = NULL;
    call->logged = NULL;
    call->unclocked = 0;
    call->stride = 1;
    call->taken = false;
    call->failed = false;
}

// Between the two the thread runs a handler of the mailbox: it may unsubscribe itself, does not
// wait in a publish, and what it publishes inherits from the event. `before` was slot->current.
void pl_handler_enter(struct pl_slot *slot, struct pl_mailbox *mailbox,
                      const struct peal_event *event);
void pl_handler_leave(struct pl_slot *slot, const struct peal_event *before);

// Runs a handler with filter and middleware, and counts. The event's `delivery` is the call.
enum peal_verdict pl_deliver(struct pl_call *call, struct pl_slot *slot, struct peal_event *event);

// Delivers what waits to a handler that needs nothing held: from the log, one after the other.
enum pl_run_result pl_deliver_stream(struct pl_mailbox *mailbox, struct pl_slot *slot,
                                     size_t budget, size_t *done);

// The same for several at once, which lie side by side.
void pl_deliver_batch(struct pl_call *call, struct pl_slot *slot,
                      const struct peal_event *const *events, size_t count,
                      enum peal_verdict *verdicts);

// Of every 64th delivery, notes how long it took from publish until now.
void pl_time_delivery(struct pl_mailbox *mailbox, const struct peal_event *event);

// Middlewares and the handler, untraced.
enum peal_verdict pl_chain_run(const struct pl_middlewares *list,
                               const struct peal_subscription *member,
                               const struct peal_event *event);

// The handlers of inline mailboxes that are more than a handler: filter, middleware, timing, guard.
enum peal_verdict pl_inline_full(const peal_event *event, void *context);

// An inline handler did not say done.
void pl_inline_failed(struct pl_call *call, const struct pl_route *route, struct peal_event *event,
                      enum peal_verdict verdict);

// Was it unsubscribed since its route was entered? Then it is not called any more.
bool pl_inline_is_gone(const struct pl_route *route, const struct pl_inline *handler);

// Runs one inline handler of a route. `removals` is from before the route was entered, or at least
// from before another thread could unsubscribe one without waiting.
static inline void pl_deliver_to(struct pl_call *call, struct peal_bus *bus,
                                 const struct pl_route *route, const struct pl_inline *handler,
                                 struct peal_event *event, uint64_t removals)
{
    if (__builtin_expect(pl_removals(bus) != removals, 0) && pl_inline_is_gone(route, handler)) {
        return;
    }
    call->inlined = handler;
    enum peal_verdict verdict = handler->handler(event, handler->context);
    if (__builtin_expect(verdict != PEAL_DONE, 0)) {
        pl_inline_failed(call, route, event, verdict);
    }
}

// Runs all of them.
void pl_deliver_to_all(struct pl_call *call, struct peal_bus *bus, const struct pl_route *route,
                       struct peal_event *event, uint64_t removals);

// Runs the inline handlers of a route. The event came with attempt 1. Here, and as bare as can be,
// because it is a good part of what an inline publish costs.
static inline void pl_deliver_inline(struct peal_bus *bus, struct pl_slot *slot,
                                     const struct pl_route *route, struct peal_event *event,
                                     uint64_t removals)
{
    struct pl_call call; // the rest is filled in when something fails
    call.mailbox = NULL;
    call.taken = false;
    call.failed = false;
    const struct peal_event *before = slot->current;
    slot->current = event;
    event->delivery = &call; // cppcheck-suppress autoVariables // taken back below
    if (__builtin_expect(route->inline_count == 1, 1)) {
        pl_deliver_to(&call, bus, route, route->inlines, event, removals);
    } else {
        pl_deliver_to_all(&call, bus, route, event, removals);
    }
    slot->current = before;
    event->delivery = NULL; // the call ends here
    pl_slot_count(slot, route->counter, 1, bus);
}

// A view of a frame of this bus's log. `segment` may be NULL.
static inline void pl_bus_view(struct peal_event *event, struct peal_bus *bus,
                               const struct pl_frame *frame, struct pl_segment *segment)
{
    pl_event_from_frame(event, frame, pl_topic_by_id(bus, frame->type)->type, &bus->origin);
    event->owner = segment;
    event->owner_ops = segment ? &pl_segment_owner : NULL;
}

// Says that a handler was slow, and counts it: for this event, or one of the `among` up to it.
void pl_report_slow(struct pl_mailbox *mailbox, const struct peal_event *event, unsigned among,
                    int64_t ns);

// ---- hold.h: pending events ---------------------------------------------------------------------

// Before an event is run there is always memory to hold it, should it fail. False: no memory; the
// mailbox tries again in a while. Whoever runs it.
bool pl_hold_prepare(struct pl_mailbox *mailbox);

// An event that was run without being pending did not end as done: holds it. Whoever runs it.
void pl_hold_failed(struct pl_call *call, struct peal_event *event, enum peal_verdict verdict);

// Runs a mailbox through its pending events.
enum pl_run_result pl_hold_run(struct pl_mailbox *mailbox, struct pl_slot *slot, size_t budget,
                               size_t *done);

// An inline event whose key is held goes behind it. True: it did.
bool pl_hold_behind(struct pl_mailbox *mailbox, const struct peal_event *event);

void pl_hold_finish(struct pl_mailbox *mailbox); // frees it all; nobody runs it

// Looks at what is due of a mailbox that nobody runs: PEAL_PULL.
void pl_hold_tick(struct pl_mailbox *mailbox);

// Says, once, that a mailbox paused because the dead letters are full. No lock held.
void pl_hold_say_full(struct pl_mailbox *mailbox);

void pl_hold_numbers(struct pl_mailbox *mailbox, struct pl_hold_numbers *out);
struct pl_hold_counts pl_hold_counts(struct pl_mailbox *mailbox); // takes the mailbox's lock

// The member whose turn it is; NULL: nobody is there, or all are busy. It is not freed until the
// call has ended.
struct peal_subscription *pl_hold_call_member(struct pl_mailbox *mailbox);
void pl_hold_end_call(struct pl_mailbox *mailbox, struct peal_subscription *member);

// Waits until a member that has left is not called any more. True: it is this thread's own handler
// that runs, or one that waits for it; the member is freed when that returns.
bool pl_hold_wait_member(struct peal_subscription *member, struct pl_slot *me);

// A place for a dead letter that is to be tried again; NULL without memory.
struct pl_pending *pl_hold_reserve(struct pl_mailbox *mailbox);
void pl_hold_unreserve(struct pl_mailbox *mailbox, struct pl_pending *place); // NULL is fine
// Tries it again: the place and the event (a reference) are *taken*.
void pl_hold_revive(struct pl_mailbox *mailbox, struct pl_pending *place, uint64_t dead_id,
                    const struct peal_event *event);
// What waits behind a dead letter may go on. And how many do wait.
void pl_hold_release_key(struct pl_mailbox *mailbox, uint64_t dead_id);
uint64_t pl_hold_parked(struct pl_mailbox *mailbox, uint64_t dead_id);

// ---- deadletter.c -------------------------------------------------------------------------------

// Why an event is given up. All *borrowed* for the call.
struct pl_obituary {
    struct pl_mailbox *mailbox;
    const struct peal_event *event;
    const char *code, *text;
    unsigned attempts;
    int64_t first_failure, last_failure; // since the epoch
    uint64_t again;                      // the letter that was retried and died again; 0: none
};

static inline struct pl_hash128 pl_letter_key(uint64_t id)
{
    return pl_hash128(&id, sizeof id, 0);
}

// Writes a dead letter, or rewrites the one that was retried. `out` its id. PEAL_ELIMIT: full.
// PEAL_ENOMEM.
enum peal_err pl_dead_add(uint64_t *out, struct peal_bus *bus, const struct pl_obituary *obituary);
void pl_dead_done(struct peal_bus *bus, uint64_t id); // a retry succeeded
// The subscription is gone: no letter of it is being retried any more.
void pl_dead_orphan(struct pl_mailbox *mailbox);
void pl_dead_finish(struct peal_bus *bus);
uint64_t pl_dead_count_of(struct pl_mailbox *mailbox); // its letters
// Discards all letters of a subject's events, also those that are being retried; `dry_run`: only
// counts them. No lock held.
uint64_t pl_dead_erase(struct peal_bus *bus, const char *subject, bool dry_run);

// ---- durable.c, resume.c ------------------------------------------------------------------------

// What survives of a mailbox has changed: it is saved soon. Any lock but saving.lock may be held.
void pl_durable_touch_slow(struct pl_mailbox *mailbox);

static inline void pl_durable_touch(struct pl_mailbox *mailbox)
{
    if (mailbox->durable) {
        pl_durable_touch_slow(mailbox);
    }
}

// The same for dead letters of who is not durable.
void pl_durable_touch_letters(struct peal_bus *bus);

// Saves what has changed, if it is time.
void pl_durable_fire(struct peal_bus *bus);

// Saves what has changed. `clean`: nothing runs any more. No lock held. PEAL_EIO, PEAL_ENOMEM,
// PEAL_ELIMIT. PEAL_OK where there is no state table.
enum peal_err pl_durable_save(struct peal_bus *bus, enum peal_durability level, bool clean);

// Saves one mailbox at once. No lock held.
enum peal_err pl_durable_note(struct pl_mailbox *mailbox);

// An event is about to be handled, or was. True: that must be noted (pl_durable_note), one event at
// a time. With the mailbox's lock.
bool pl_durable_is_careful(struct pl_mailbox *mailbox);
bool pl_durable_notes(struct pl_mailbox *mailbox, uint64_t position);

// The subscription stays paused, or does not, also after a restart. With the mailbox's lock.
void pl_durable_pause(struct pl_mailbox *mailbox, bool paused);

// What it was not done with when it was saved comes no more. With the mailbox's lock.
void pl_durable_forget(struct pl_mailbox *mailbox);

// The first of those; UINT64_MAX: none. And how many. With the mailbox's lock.
uint64_t pl_durable_first(const struct pl_mailbox *mailbox);
uint64_t pl_durable_count(const struct pl_mailbox *mailbox);

// Where a ghost is: its position, what it is not done with, whether it is paused; and in `lag` the
// first position not looked at. With bus->lock.
void pl_ghost_look(struct peal_subscription_info *out, const struct pl_mailbox *ghost);

// Reads what is in the state table. The engine is open, and nobody else knows the bus.
enum peal_err pl_durable_load(struct peal_bus *bus);
void pl_ghosts_finish(struct peal_bus *bus);

// What to do with an entry that is ahead of the log (log/kv.h); `context` is the bus.
struct pl_kv_transaction;
struct pl_kv_entry;
enum peal_err pl_durable_fall_back(void *context, struct pl_kv_transaction *transaction,
                                   const struct pl_kv_entry *entry, uint64_t log_end);

// Events that a mailbox was not done with when it was saved, before those that come.
enum pl_resumed {
    PL_RESUMED_NONE,  // there are none left
    PL_RESUMED_ONE,   // one is pending, or was found to be settled
    PL_RESUMED_STUCK, // the next cannot be read now, or there is no memory
};
enum pl_resumed pl_durable_resume(struct pl_mailbox *mailbox); // with its lock

// ---- worker.c -----------------------------------------------------------------------------------

// Somebody should run this mailbox. Any thread, no lock held but bus->lock or a mailbox's.
void pl_runs_notify(struct pl_mailbox *mailbox);

// When a mailbox wants to be run next because of time, on the monotonic clock; PL_FOREVER: not. Any
// thread.
void pl_timer_set(struct pl_mailbox *mailbox, int64_t when);

// The schedule wants to be run at that time at the latest. Any thread.
void pl_timer_lower(struct peal_bus *bus, int64_t when);

// Sleeps until there is something to run, a timer, or the deadline.
void pl_runs_park(struct peal_bus *bus, int64_t deadline);

// This thread stops driving: if it was woken for something it has not run, another one is.
void pl_runs_pass_on(struct peal_bus *bus);

enum peal_err pl_workers_start(struct peal_bus *bus);
void pl_workers_stop(struct peal_bus *bus);

// There is a new moment at which time has something to say. Any lock may be held.
void pl_runs_look_again(struct peal_bus *bus);

// Runs what is ready on this thread, at most `budget` deliveries (0: all). Returns how many.
size_t pl_runs_dispatch(struct peal_bus *bus, struct pl_slot *slot, size_t budget);

// The monotonic time of the next timer; PL_FOREVER: none.
int64_t pl_bus_next_timer(struct peal_bus *bus);

// Waits until nobody runs a mailbox that is closed, leaving out what this thread runs itself.
void pl_runs_wait_gone(struct pl_mailbox *mailbox, struct pl_slot *me);

// This thread is about to wait until no handler of a mailbox, or of a member of several, runs any
// more. False: it must not, because a thread that runs one waits for a handler this one runs, by
// way of others perhaps: they would wait for ever. With runs.lock; `me` may be NULL. After the wait
// me->awaited is to be NULL again.
bool pl_runs_may_wait(struct peal_bus *bus, const void *target, struct pl_slot *me);

// Takes a mailbox out of the queue and the timers. Nothing pushes to it any more.
void pl_runs_forget(struct pl_mailbox *mailbox);

// ---- drive.c: buses without workers -------------------------------------------------------------

// The descriptor of peal_bus_fd is to be readable now; or at a time. Nothing if nobody asked
// for it.
void pl_poll_signal(struct peal_bus *bus);
void pl_poll_timer(struct peal_bus *bus);
void pl_poll_close(struct peal_bus *bus);

// ---- interceptor.c ------------------------------------------------------------------------------

// A message on its way, and what interceptors made of it.
struct peal_draft {
    struct peal_bus *bus;
    const char *type;
    struct peal_message message;   // as it is now
    struct peal_pair *metadata;    // PEAL_METADATA_MAX, once one is set
    struct pl_draft_block *blocks; // what the message points into
    struct peal_event event;
    bool refused_with_sentence;
};

// Runs the interceptors of a route over a message. `draft` is filled in and must be finished.
enum peal_err pl_draft_run(struct peal_draft *draft, struct pl_slot *slot,
                           const struct pl_route *route, const struct peal_message *message,
                           const char *type);
void pl_draft_finish(struct peal_draft *draft); // fine on zeros

// From now on the bus is traced: `tracing` is *taken* unless it fails. PEAL_ESTATE (it is traced
// already), PEAL_ENOMEM.
enum peal_err pl_middlewares_trace(struct peal_bus *bus, struct pl_tracing *tracing);

// ---- publish.c ----------------------------------------------------------------------------------

// One message, as peal_publish; `may_block` false: as peal_emit. Not traced.
enum peal_err pl_publish_message(struct peal_bus *bus, const struct peal_message *message,
                                 bool may_block, struct peal_receipt *receipt);
// Many, as peal_publish_batch, which has looked at its arguments. Not traced.
enum peal_err pl_publish_many(struct peal_bus *bus, const struct peal_message *messages,
                              size_t count, struct peal_receipt *receipts);

// Publishes an event of the system's own, of a type that begins with `$peal.`. It is because of
// nothing: inside a handler it inherits nothing. The errors are those of peal_publish; it does not
// wait in a handler.
enum peal_err pl_publish_system(struct peal_bus *bus, const struct peal_message *message,
                                struct peal_receipt *receipt);

// ---- old forms of events: src/sourcing/upcast.c, which stands above the bus ---------------------

struct pl_upcasts {
    // The newest form of an event as a reference; *out NULL: it has it. Any thread, no lock held.
    enum peal_err (*run)(const struct peal_event **out, struct pl_upcasts *upcasts,
                         const struct peal_event *event);
    void (*close)(struct pl_upcasts *upcasts); // the bus closes
};

// ---- space.c ------------------------------------------------------------------------------------

// Some memory may have become free: let waiting publishers look. Any thread, no lock held.
void pl_space_freed(struct peal_bus *bus);

static inline void pl_space_check(struct peal_bus *bus)
{
    if (__builtin_expect(atomic_load_explicit(&bus->space_wanted, memory_order_relaxed) != 0, 0)) {
        pl_space_freed(bus);
    }
}

#endif
