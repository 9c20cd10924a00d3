// SPDX-License-Identifier: MIT
//
// Scheduled events: copies of events that stand alone, in a heap ordered by their time, and a table
// of them by source and id.
//
//     publish ─► accept ─► keep ─► waits ── its time ──► is published ─► forget: gone
//                                    │                         │
//                                    └► cancelled: gone        └► no memory: waits again
//
// To keep is to write it to the engine's state table, if there is one, as durably as it asks; it is
// forgotten there once it is in the log, as durably as it asks. A process that ends in between
// leaves one that is both in the log and kept: so what an earlier process has kept is looked for in
// the log, by its id, before it is published.
//
// Times are of the day, since that is what publishers say; timers are of the monotonic clock. So
// the timer is set for when the next event should be due, and never for longer than a minute: a
// clock that was set in between is noticed. Whoever is woken looks at the time of day again.
//
// One thread at a time publishes what is due (`running`), so that the order is that of the times.
// It is a worker, or who drives the bus, between two handlers. The bus has one timer for all of it,
// which is only ever lowered: one that fires too early finds nothing due and is set anew.
//
// schedule.lock guards everything and is a leaf. Nothing is published, kept, freed or set under it.
// What is in the table and not in the heap is in the hands of a thread, and of no other.
#include "bus/schedule.h"
#include "bus/ask.h"

#include "base/error.h"
#include "base/uuid.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What is due is published so many at a time; then the thread does something else first.
#define SHARE 64

// After a publish that failed: 100 ms until there may be memory, 1 s for what failed otherwise.
#define MEMORY_NS (100 * PL_NS_PER_MS)
#define AGAIN_NS  PL_NS_PER_S

#define LATE_NS ((int64_t)PEAL_SCHEDULE_LATE_MS * PL_NS_PER_MS)

void pl_schedule_init(struct pl_schedule *schedule, const struct pl_seams *seams)
{
    pl_heap_init(&schedule->due, seams);
    pl_map_init(&schedule->by_id, seams);
}

static struct pl_scheduled *as_scheduled(uint64_t value)
{
    return (struct pl_scheduled *)(uintptr_t)value; // NOLINT(performance-no-int-to-ptr): a map's
}

static struct pl_scheduled *of_node(struct pl_heap_node *node)
{
    return pl_container_of(node, struct pl_scheduled, due);
}

static bool is_waiting(const struct pl_scheduled *one)
{
    return pl_heap_contains(&one->due);
}

static void free_scheduled(struct peal_bus *bus, struct pl_scheduled *one)
{
    peal_event_unref(one->event);
    pl_release(bus->seams, one);
}

void pl_schedule_finish(struct peal_bus *bus)
{
    struct pl_schedule *schedule = &bus->schedule;
    pl_heap_finish(&schedule->due);
    struct pl_map_entry *entry;
    PL_MAP_EACH (entry, &schedule->by_id) {
        free_scheduled(bus, as_scheduled(entry->value));
    }
    pl_map_finish(&schedule->by_id);
}

uint64_t pl_schedule_count(struct peal_bus *bus)
{
    pl_mutex_lock(&bus->schedule.lock, bus->seams);
    uint64_t count = bus->schedule.by_id.count;
    pl_mutex_unlock(&bus->schedule.lock, bus->seams);
    return count;
}

// ---- time ---------------------------------------------------------------------------------------

// When to look again, as the next event's time and the time of day say. PL_FOREVER: never.
static int64_t next_look(struct peal_bus *bus)
{
    struct pl_schedule *schedule = &bus->schedule;
    pl_mutex_lock(&schedule->lock, bus->seams);
    const struct pl_heap_node *first = pl_heap_peek(&schedule->due);
    int64_t key = first ? first->key : PL_FOREVER;
    pl_mutex_unlock(&schedule->lock, bus->seams);
    if (key == PL_FOREVER) {
        return PL_FOREVER;
    }
    int64_t now = pl_bus_now(bus);
    int64_t distance = key <= now ? 0 : key - now < LATE_NS ? key - now : LATE_NS;
    return pl_bus_ticks(bus) + distance;
}

// A bus that only looks at a log leaves its events to who writes it.
static void set_timer(struct peal_bus *bus)
{
    int64_t when = next_look(bus);
    if (when != PL_FOREVER && !bus->options.read_only) {
        pl_timer_lower(bus, when);
    }
}

// ---- accepting ----------------------------------------------------------------------------------

static enum peal_err check_writes(const struct peal_bus *bus)
{
    return bus->options.read_only
               ? pl_fail(PEAL_EUNSUPPORTED,
                         "the log was opened to be read only (read_only): nothing "
                         "can be scheduled or cancelled")
               : PEAL_OK;
}

static enum peal_err check_time(int64_t now, int64_t deliver_at)
{
    int64_t ahead = (deliver_at - now) / PL_NS_PER_MS; // both are above zero: no overflow
    if (ahead > PEAL_SCHEDULE_AHEAD_MAX_MS) {
        return pl_fail(PEAL_ELIMIT,
                       "deliver_at_ns is %" PRId64 " ms ahead: at most %" PRId64 " are allowed; is "
                       "it in nanoseconds since 1970?",
                       ahead, (int64_t)PEAL_SCHEDULE_AHEAD_MAX_MS);
    }
    return PEAL_OK;
}

// The event as it will be: with its id and its time.
static enum peal_err copy_event(const struct peal_event **out, struct peal_bus *bus,
                                const struct pl_parting *parting, int64_t now)
{
    const struct pl_seams *seams = bus->seams;
    struct peal_message message = *parting->message;
    char id[PL_UUID_SIZE];
    message.time_ns = message.time_ns ? message.time_ns : now;
    if (!message.id || !*message.id) {
        pl_uuid7(id, message.time_ns, seams->random(seams->world), seams->random(seams->world));
        message.id = id;
    }
    struct peal_event view;
    pl_event_from_message(&view, &message, parting->type, &bus->origin, 0);
    view.hops = parting->hops;
    return pl_event_copy(out, &view, NULL, 0);
}

// Room for one more. With the lock.
static enum peal_err make_room(struct pl_schedule *schedule)
{
    enum peal_err err = pl_map_reserve(&schedule->by_id, 1);
    // Those that are being published may come back.
    size_t more = schedule->by_id.count + 1 - schedule->due.count;
    err = err ? err : pl_heap_reserve(&schedule->due, more);
    return err ? pl_fail(PEAL_ENOMEM, "no memory to schedule an event") : PEAL_OK;
}

// Whether one more may wait, which is not there yet. With the lock. `*known`: it is.
static enum peal_err check_room(struct peal_bus *bus, const struct pl_scheduled *one, bool *known)
{
    struct pl_schedule *schedule = &bus->schedule;
    const struct pl_map_entry *entry = pl_map_find(&schedule->by_id, one->key);
    *known = entry != NULL;
    if (entry) {
        return as_scheduled(entry->value)->accepted
                   ? PEAL_OK
                   : pl_fail(PEAL_EAGAIN, "another thread is scheduling an event with this id");
    }
    if (schedule->by_id.count >= bus->options.scheduled_max) {
        return pl_fail(PEAL_ELIMIT,
                       "scheduled_max (%" PRIu64 ") events wait for their time already: cancel "
                       "some, or allow more",
                       bus->options.scheduled_max);
    }
    if (one->bytes > bus->options.scheduled_bytes - schedule->bytes) {
        return pl_fail(PEAL_ELIMIT,
                       "the events that wait for their time have %" PRIu64 " of scheduled_bytes "
                       "(%" PRIu64 "), and this one has %zu: cancel some, or allow more",
                       schedule->bytes, bus->options.scheduled_bytes, one->bytes);
    }
    return make_room(schedule);
}

// With the lock, and with room. It is known from now on, and waits when it is `accepted`.
static void enter(struct pl_schedule *schedule, struct pl_scheduled *one)
{
    schedule->bytes += one->bytes;
    // Cannot fail: there is room.
    (void)pl_map_put(&schedule->by_id, one->key, (uint64_t)(uintptr_t)one, 0);
}

// With the lock.
static void let_wait(struct pl_schedule *schedule, struct pl_scheduled *one, int64_t when)
{
    one->accepted = true;
    // Cannot fail: there is room for every event there is.
    (void)pl_heap_insert(&schedule->due, &one->due, when, one->order);
}

// With the lock. It is the caller's from now on.
static void take_out(struct pl_schedule *schedule, struct pl_scheduled *one)
{
    pl_heap_remove(&schedule->due, &one->due);
    (void)pl_map_remove(&schedule->by_id, one->key); // it is there
    schedule->bytes -= one->bytes;
}

static size_t bytes_of(const struct pl_scheduled *one)
{
    return sizeof *one + peal_event_encode(one->event, NULL, 0);
}

static struct pl_hash128 key_of(const struct peal_bus *bus, const struct pl_scheduled *one)
{
    return pl_state_id_key(&bus->log->state, peal_event_source(one->event),
                           peal_event_id(one->event));
}

static enum peal_err make(struct pl_scheduled **out, struct peal_bus *bus,
                          const struct pl_parting *parting, int64_t now)
{
    struct pl_scheduled *one = pl_new(bus->seams, sizeof *one);
    if (!one) {
        return pl_fail(PEAL_ENOMEM, "no memory to schedule an event");
    }
    enum peal_err err = copy_event(&one->event, bus, parting, now);
    if (err) {
        pl_release(bus->seams, one);
        return err;
    }
    one->deliver_at = parting->message->deliver_at_ns;
    one->durability = parting->message->durability;
    one->bytes = bytes_of(one);
    one->key = key_of(bus, one);
    *out = one;
    return PEAL_OK;
}

static void fill_receipt(struct peal_receipt *receipt, const struct peal_bus *bus,
                         const struct pl_scheduled *one, bool known)
{
    *receipt =
        (struct peal_receipt){ .durability = pl_schedule_level(bus, one), .duplicate = known };
    (void)snprintf(receipt->id, sizeof receipt->id, "%s", peal_event_id(one->event)); // it fits
}

bool pl_schedule_wants(struct peal_bus *bus, const struct peal_message *message)
{
    return message->deliver_at_ns > 0 && message->deliver_at_ns > pl_bus_now(bus);
}

// Keeps one that was entered, and lets it wait; or takes it out again.
static enum peal_err keep(struct peal_bus *bus, struct pl_scheduled *one)
{
    struct pl_schedule *schedule = &bus->schedule;
    enum peal_err err = pl_schedule_keep(bus, one);
    pl_mutex_lock(&schedule->lock, bus->seams);
    if (err) {
        take_out(schedule, one);
    } else {
        let_wait(schedule, one, one->deliver_at);
    }
    pl_mutex_unlock(&schedule->lock, bus->seams);
    if (err) {
        free_scheduled(bus, one);
    } else {
        set_timer(bus);
    }
    return err;
}

enum peal_err pl_schedule_accept(struct peal_bus *bus, const struct pl_parting *parting,
                                 struct peal_receipt *receipt)
{
    struct pl_schedule *schedule = &bus->schedule;
    int64_t now = pl_bus_now(bus);
    enum peal_err err = check_writes(bus);
    err = err ? err : check_time(now, parting->message->deliver_at_ns);
    struct pl_scheduled *one = NULL;
    if (!err) {
        err = make(&one, bus, parting, now);
    }
    if (err) {
        return err;
    }
    bool known;
    pl_mutex_lock(&schedule->lock, bus->seams);
    err = check_room(bus, one, &known);
    if (!err && !known) {
        one->order = schedule->next_order++;
        enter(schedule, one);
    }
    pl_mutex_unlock(&schedule->lock, bus->seams);
    struct peal_receipt filled;
    fill_receipt(&filled, bus, one, known); // once it waits, it may be gone
    if (err || known) {
        free_scheduled(bus, one);
    }
    if (!err && known) {
        pl_count_shared(&bus->duplicates, 1);
    } else if (!err) {
        err = keep(bus, one);
    }
    if (!err && receipt) {
        *receipt = filled;
    }
    return err;
}

enum peal_err pl_schedule_restore(struct peal_bus *bus, struct pl_scheduled *one)
{
    struct pl_schedule *schedule = &bus->schedule;
    one->restored = true;
    one->bytes = bytes_of(one);
    one->key = key_of(bus, one);
    pl_mutex_lock(&schedule->lock, bus->seams);
    enum peal_err err = make_room(schedule);
    if (!err) {
        schedule->next_order =
            one->order >= schedule->next_order ? one->order + 1 : schedule->next_order;
        enter(schedule, one);
        let_wait(schedule, one, one->deliver_at);
    }
    pl_mutex_unlock(&schedule->lock, bus->seams);
    if (!err) {
        set_timer(bus);
    }
    return err;
}

// ---- publishing what is due ---------------------------------------------------------------------

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
    if (due) {
        (void)pl_heap_pop(&schedule->due);
    }
    pl_mutex_unlock(&schedule->lock, bus->seams);
    return due ? of_node(node) : NULL;
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
    take_out(&bus->schedule, one);
    pl_mutex_unlock(&bus->schedule.lock, bus->seams);
    free_scheduled(bus, one);
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
    let_wait(&bus->schedule, one, when);
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
    return pl_publish_as_it_is(bus, &message, one->event->hops);
}

// Publishes what is due, a share of it.
static enum peal_err publish_share(struct peal_bus *bus)
{
    struct pl_scheduled *one;
    for (unsigned i = 0; i < SHARE && (one = take_due(bus)) != NULL; i++) {
        enum peal_err err = publish_one(bus, one);
        if (!err) {
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
        set_timer(bus);
    } // or it is closed, and nothing more will be published
}

// ---- listing and cancelling ---------------------------------------------------------------------

struct selection {
    struct peal_bus *bus;
    const struct peal_schedule_filter *filter;
    struct pl_pattern *pattern;
};

static enum peal_err select_by(struct selection *out, struct peal_bus *bus,
                               const struct peal_schedule_filter *filter)
{
    static const struct peal_schedule_filter all;
    if (!bus) {
        return pl_fail(PEAL_EINVAL, "the scheduled events of which bus?");
    }
    enum peal_err err = pl_bus_check_open(bus);
    *out = (struct selection){ bus, filter ? filter : &all, NULL };
    if (!err && out->filter->pattern) {
        err = pl_pattern_parse(&out->pattern, bus->seams, out->filter->pattern);
    }
    return err;
}

static bool is(const char *wanted, const char *value)
{
    return !wanted || strcmp(wanted, value) == 0;
}

static bool selects(const struct selection *selection, const struct peal_event *event)
{
    const struct peal_schedule_filter *filter = selection->filter;
    return is(filter->id, peal_event_id(event)) && is(filter->source, peal_event_source(event)) &&
           is(filter->subject, peal_event_subject(event)) &&
           is(filter->correlation, peal_event_correlation(event)) &&
           (!selection->pattern ||
            pl_pattern_match(selection->pattern, event->type, strlen(event->type)));
}

static int next_first(const void *left, const void *right)
{
    const struct pl_scheduled *a = *(struct pl_scheduled *const *)left;
    const struct pl_scheduled *b = *(struct pl_scheduled *const *)right;
    if (a->deliver_at != b->deliver_at) {
        return a->deliver_at < b->deliver_at ? -1 : 1;
    }
    return a->order < b->order ? -1 : 1;
}

// What a list points into; and where its events are collected.
struct list_owner {
    struct pl_asked_list asked;     // first; of a service's list the events follow it
    struct pl_scheduled **selected; // behind the events
    struct peal_scheduled events[];
};

// Room for all there are, with the lock, which is the caller's to give back. NULL without memory,
// and then without the lock.
static struct list_owner *lock_with_room(struct peal_bus *bus)
{
    struct pl_schedule *schedule = &bus->schedule;
    for (;;) {
        size_t room = pl_schedule_count(bus);
        size_t each = sizeof(struct peal_scheduled) + sizeof(struct pl_scheduled *);
        struct list_owner *owner = pl_new(bus->seams, sizeof *owner + room * each);
        if (!owner) {
            (void)pl_fail(PEAL_ENOMEM, "no memory to look at %zu scheduled events", room);
            return NULL;
        }
        owner->asked.seams = bus->seams;
        owner->selected = (struct pl_scheduled **)(void *)(owner->events + room);
        pl_mutex_lock(&schedule->lock, bus->seams);
        if (schedule->by_id.count <= room) {
            return owner;
        }
        pl_mutex_unlock(&schedule->lock, bus->seams); // some have come meanwhile
        pl_release(bus->seams, owner);
    }
}

// Collects those that are selected and wait, the next first, at most filter->limit. `*busy`:
// another would be, but is being published. With the lock.
static size_t collect(const struct selection *selection, struct pl_scheduled **out, bool *busy)
{
    uint64_t limit = selection->filter->limit;
    size_t count = 0;
    struct pl_map_entry *entry;
    *busy = false;
    PL_MAP_EACH (entry, &selection->bus->schedule.by_id) {
        struct pl_scheduled *one = as_scheduled(entry->value);
        if (selects(selection, one->event)) {
            out[count] = one;
            count += is_waiting(one);
            *busy = *busy || !is_waiting(one);
        }
    }
    if (count > 0) {
        qsort((void *)out, count, sizeof(struct pl_scheduled *), next_first);
    }
    return limit && limit < count ? limit : count;
}

enum peal_err peal_schedule_list(struct peal_schedule_list *out, peal_bus *bus,
                                 const struct peal_schedule_filter *filter)
{
    if (!out) {
        return pl_fail(PEAL_EINVAL, "peal_schedule_list needs a place for the list");
    }
    struct selection selection;
    enum peal_err err = select_by(&selection, bus, filter);
    if (!err && pl_is_remote(bus)) {
        pl_pattern_free(selection.pattern, bus->seams);
        return pl_ask_schedule_list(out, bus, filter);
    }
    if (err) {
        return err;
    }
    struct list_owner *owner = lock_with_room(bus);
    if (owner) {
        bool busy;
        struct peal_schedule_list list = { .events = owner->events, .owner = owner };
        list.count = collect(&selection, owner->selected, &busy);
        for (size_t i = 0; i < list.count; i++) {
            list.events[i].deliver_at_ns = owner->selected[i]->deliver_at;
            // A reference already: cannot fail.
            (void)peal_event_ref(&list.events[i].event, owner->selected[i]->event);
        }
        pl_mutex_unlock(&bus->schedule.lock, bus->seams);
        *out = list;
    }
    pl_pattern_free(selection.pattern, bus->seams);
    return owner ? PEAL_OK : PEAL_ENOMEM;
}

void peal_schedule_list_finish(struct peal_schedule_list *list)
{
    if (!list || !list->owner) {
        return;
    }
    struct list_owner *owner = list->owner;
    for (size_t i = 0; i < list->count; i++) {
        peal_event_unref(list->events[i].event);
    }
    const struct pl_seams *seams = owner->asked.seams;
    pl_release(seams, owner->asked.answer);
    pl_release(seams, owner);
    *list = (struct peal_schedule_list){ 0 };
}

static enum peal_err explain_none(const struct selection *selection, bool busy)
{
    const char *id = selection->filter->id;
    if (!id) {
        return PEAL_OK;
    }
    return busy ? pl_fail(PEAL_ESTATE,
                          "the event \"%.128s\" is in the hands of another thread, which "
                          "publishes, schedules or cancels it",
                          id)
                : pl_fail(PEAL_ENOTFOUND,
                          "no event \"%.128s\" waits for its time: it was published, cancelled, or "
                          "never scheduled",
                          id);
}

// Forgets those that were taken from the heap; if that fails they wait once more.
static enum peal_err finish_cancel(struct peal_bus *bus, struct pl_scheduled **list, size_t count)
{
    struct pl_schedule *schedule = &bus->schedule;
    enum peal_err err = check_writes(bus);
    err = err ? err : pl_schedule_forget(bus, list, count);
    pl_mutex_lock(&schedule->lock, bus->seams);
    for (size_t i = 0; i < count; i++) {
        if (err) {
            let_wait(schedule, list[i], list[i]->deliver_at);
        } else {
            take_out(schedule, list[i]);
        }
    }
    pl_mutex_unlock(&schedule->lock, bus->seams);
    for (size_t i = 0; i < count && !err; i++) {
        free_scheduled(bus, list[i]);
    }
    if (err) {
        set_timer(bus);
    }
    return err;
}

enum peal_err peal_schedule_cancel(peal_bus *bus, const struct peal_schedule_filter *filter,
                                   bool dry_run, uint64_t *affected)
{
    if (pl_asks(bus)) {
        return pl_ask_cancel(bus, filter, dry_run, affected);
    }
    struct selection selection;
    enum peal_err err = select_by(&selection, bus, filter);
    if (err) {
        return err;
    }
    struct list_owner *owner = lock_with_room(bus);
    size_t count = 0;
    bool busy = false;
    if (owner) {
        count = collect(&selection, owner->selected, &busy);
        for (size_t i = 0; i < count && !dry_run; i++) {
            pl_heap_remove(&bus->schedule.due, &owner->selected[i]->due); // ours
        }
        pl_mutex_unlock(&bus->schedule.lock, bus->seams);
        err = count == 0 ? explain_none(&selection, busy) : PEAL_OK;
        err = err || dry_run ? err : finish_cancel(bus, owner->selected, count);
    }
    pl_release(bus->seams, owner);
    pl_pattern_free(selection.pattern, bus->seams);
    if (owner && !err && affected) {
        *affected = count;
    }
    return owner ? err : PEAL_ENOMEM;
}
