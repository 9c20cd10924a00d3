// SPDX-License-Identifier: MIT
//
// The inside of a bus: what it is made of, every struct that its files share, and the order of
// locks. What the files ask of each other is in calls.h.
//
//     publish.c ─► passage.c ─► engine ─► (turn) intake push ─► run queue ─► worker.c, drive.c
//         │        checked, intercepted                                          │
//         └─► route.c: who listens to a type     deliver.c ◄── run.c, mailbox.c ◄┘
//                                                    │
//                              hold.h: retry, later, order of keys, batches
//                                                    │
//                                               deadletter.c
//
// Locks, in the order in which they may be taken, none across user code:
//
//     bus->lock      routes, subscriptions, interceptors: what changes seldom
//     mailbox->lock  its pending events
//     log->turn      the log's tail, the producer's side of every mailbox, the active list
//     bus->types_lock, bus->needs_lock, bus->runs.lock, bus->timers.lock, bus->schedule.lock,
//     bus->dead.lock, bus->saving.lock
//                    leaves: nothing is taken under them
//
// and before bus->lock, held across I/O: saving.turn (durable.h)
//
// Publishers read routes without a lock: a hazard pointer in the thread's slot (slot.c) keeps a
// route from being freed, and the barrier that makes it safe is paid by whoever changes the routes.
#ifndef PL_BUS_INTERNAL_H
#define PL_BUS_INTERNAL_H

#include "base/door.h"
#include "base/heap.h"
#include "base/histogram.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/map.h"
#include "engine/engine.h"
#include "event/match.h"
#include "event/pattern.h"
#include "log/cursor.h"

#include <peal/bus.h>
#include <peal/deadletter.h>
#include <peal/trace.h>

// ---- topics and routes (topic_table.c, route.c) -------------------------------------------------

struct pl_answer;
struct pl_batch;
struct pl_intake;
struct pl_mailbox;
struct pl_route;
struct pl_tracing;
struct pl_upcasts;

struct peal_topic {
    struct peal_bus *bus;
    _Atomic(struct pl_route *) route; // NULL: to be built
    uint32_t id;
    uint32_t length;
    char type[]; // of up to 39 bytes in the same cache line
};

// Topics stand side by side: who publishes many types finds them in few pages.
struct pl_topic_block {
    struct pl_topic_block *next;
    char *free; // at a cache line; up to the block's end
};

// A handler the publisher runs.
struct pl_inline {
    peal_handler *handler;
    void *context;
};

struct pl_interceptor {
    struct pl_list link; // bus->interceptors, in the order they run
    struct pl_pattern *pattern;
    int priority;
    peal_interceptor *run;
    void *context;
};

// Who gets the events of one type. Immutable; replaced as a whole when somebody comes or goes.
// What a publisher of a type with one inline handler reads lies in one cache line.
struct pl_route {
    uint64_t version; // bus->version when it was built; another one: out of date
    uint64_t birth;   // bus->changes when it was built
    uint32_t counter; // its number among the per-thread counters
    uint32_t inline_count, intake_count;
    uint16_t interceptor_count;
    bool plain; // only inline handlers, and nothing kept: no log, no interceptor
    struct pl_intake **intakes;
    struct pl_route_rest *rest;
    struct pl_inline inlines[]; // by priority, then by age
};

struct pl_route_rest {
    void *memory; // what was allocated: the route begins at a cache line of it
    struct pl_route *next_retired;
    struct pl_mailbox **inline_boxes;
    struct pl_interceptor **interceptors;
};

// Open addressing; slots are only ever filled. A full one is replaced by one of twice the size and
// kept until the bus closes, for those who still look into it.
struct pl_topic_slot {
    _Atomic uint64_t hash;
    _Atomic(struct peal_topic *) topic; // stored after the hash
};

struct pl_topic_table {
    struct pl_topic_table *older;
    size_t mask;
    struct pl_topic_slot slots[];
};

#define PL_CHUNK_BITS 10
#define PL_CHUNK      (1u << PL_CHUNK_BITS)
#define PL_CHUNKS     4096u // so many times PL_CHUNK types, and routes, at most

// ---- per thread (slot.c) ------------------------------------------------------------------------

// As deep as inline handlers can nest, and one for the publish that is refused.
#define PL_DEPTH_MAX (PEAL_HOPS_MAX + 2)

struct pl_slot {
    struct pl_slot *next;
    struct peal_bus *bus;
    const void *owner;                // the thread
    unsigned depth;                   // hazards in use
    unsigned handling;                // handlers of this bus running in this thread
    const struct peal_event *current; // the event being handled, for its causal heirs
    const struct pl_batch *batch;     // whose handler runs; NULL: of none
    struct peal_span_context span;    // that the handler runs in; zeros: it is not traced
    uint64_t chance[2];               // of the names of spans; zeros: not seeded yet
    uint64_t number;                  // of the next event without a position
    unsigned published;               // counts up to the next publish that is timed
    const char *last_text;            // the type it published last, and its topic: most who
    struct peal_topic *last_topic;    // publish by type say the same words again
    // The route it is in; one byte further once it is confirmed (pl_route_enter).
    _Atomic(const char *) hazards[PL_DEPTH_MAX];
    struct pl_mailbox *running[PL_DEPTH_MAX]; // whose handler runs, innermost last
    const struct peal_subscription *member;   // of several: whose handler runs
    const void *awaited; // in peal_unsubscribe: the mailbox or member that is to end; runs.lock
    _Atomic(_Atomic uint64_t *) counters[PL_CHUNKS];
};

// ---- subscriptions and mailboxes ----------------------------------------------------------------

// What a subscription asked for, when it asked for anything but the defaults.
struct pl_settings {
    struct peal_subscribe_options options; // with every default filled in, strings owned
    bool simple;     // one at a time, no batch: events need not become pending before they run
    const char *who; // label or name, with file and line; NULL: the label says it all
};

// Counters of one mailbox. Written by whoever runs it (one at a time, or under its lock): relaxed.
struct pl_box_counts {
    _Atomic uint64_t delivered, filtered, failed, rejected, slow;
    _Atomic uint64_t dropped; // all that was, and was told
    _Atomic uint64_t unheld;  // of those: there was no memory to hold it
};

struct pl_timings {
    struct pl_histogram handler, delivery;
};

struct peal_subscription {
    struct pl_list member; // of its mailbox
    struct pl_mailbox *mailbox;
    peal_handler *handler;
    peal_batch_handler *batch;
    void *context;
    unsigned running; // calls under way, or pulls; with the mailbox's lock
    bool orphan;      // left inside its own handler: freed when that returns
};

// What a subscription has lost and has not been told of.
struct pl_loss {
    uint64_t count, first, last;
};

struct pl_hold;
struct pl_durable;

enum pl_type_wanted { PL_TYPE_NOT_ASKED = 0, PL_TYPE_UNWANTED, PL_TYPE_WANTED };

// How events come to a mailbox: positions that publishers push, or the log that it reads itself. An
// inline mailbox has none: its events come with their publishers.
struct pl_intake {
    // The producer's side: with the turn. What is atomic is read by the consumer as well.
    _Alignas(64) _Atomic uint64_t *ring; // position << 4 | priority
    _Atomic uint64_t tail;
    uint64_t head_seen;
    uint32_t mask;
    _Atomic bool live;   // pushes go into the ring; else the log is read from `cursor`
    _Atomic bool mixed;  // priorities differ: order by them
    _Atomic bool active; // it has or may have work; in bus->active
    bool closed;         // no pushes
    uint8_t overflow;    // enum peal_overflow
    struct pl_mailbox *mailbox;
    struct pl_list active_link;
    struct pl_loss loss;
    _Atomic uint64_t forgotten;   // lost since the log had it no more, told or not; relaxed
    struct pl_intake *next_woken; // of one publisher, between its turn and its notifications
    atomic_bool waking;           // it is in such a list

    // The consumer's side: whoever runs the mailbox; several: under its lock.
    _Alignas(64) _Atomic uint64_t head;
    uint64_t tail_seen;
    _Atomic uint64_t stuck; // an entry that was taken and could not be read; 0: none
    // A position that could not be read, to be said; 0: none. Said without mailbox->lock.
    _Atomic uint64_t unreadable;
    _Atomic uint64_t floor;  // the position being handled; UINT64_MAX: none
    _Atomic uint64_t cursor; // not live: the next position to read
    uint64_t end_seen;
    struct pl_cursor place;
    uint8_t *types; // by type id: enum pl_type_wanted
    uint32_t types_size;
    uint32_t passed, drawn;    // of the log's events since it last tried to go live
    _Atomic uint32_t distance; // so many events it stays behind a publisher in full flow
    uint64_t end_held;         // the end when it last held back for that
    bool reads_log;            // not live, and the ring is empty
    // While events go straight to the handler (pl_deliver_stream): the floor before the first, so
    // that another one is that of the event the handler has. 0: they do not.
    _Atomic uint64_t streams_from;
};

struct pl_mailbox {
    struct pl_intake *in; // NULL: inline
    struct pl_hold *hold; // pending events; its content with `lock`
    const struct pl_settings *settings;
    struct pl_durable *durable; // NULL: nothing of it survives the process
    struct pl_mutex lock;
    _Atomic bool holding; // hold has something: events may not pass it unseen
    _Atomic bool lost;    // in->loss has something
    _Atomic bool paused;
    _Atomic bool dead_full;  // paused because the dead letters are full, and not said yet
    _Atomic bool overflowed; // stopped by PEAL_FAIL
    _Atomic bool overflow_said;
    uint8_t mode;           // enum peal_mode
    _Atomic uint8_t sample; // counts deliveries up to the next timed one
    bool guarded;           // an inline one that has held an event: look before each
    bool timeless;          // no more timers; with timers.lock
    bool afar;              // a service keeps its name, and knows it by its serial
    bool listens; // the engine knows that it wants its pattern; set and cleared by who subscribes
    // With bus->runs.lock.
    bool queued, wanted;
    bool forgotten; // never to be run again
    bool orphan;    // unsubscribed by its own handler: its last run lets go of it
    uint16_t running;
    _Atomic uint16_t running_max; // written with it, read also without
    atomic_uint word; // woken when `running` falls, and when a pull has something to take
    struct pl_list run_link;

    struct pl_box_counts counts;
    struct peal_subscription only; // the first member: most have no other
    struct pl_list members;        // the handlers, in turn; with `lock`
    atomic_uint member_count;
    atomic_uint refs;
    struct pl_heap_node timer; // bus->timers
    struct peal_bus *bus;
    const struct pl_seams *seams; // also when the bus is gone and a delivery is not
    struct pl_pattern *pattern;
    uint64_t serial;         // age
    union {                  // with bus->lock
        struct pl_list link; // bus->mailboxes
        struct {
            struct pl_mailbox *next; // bus->retired_boxes, once it has left
            uint64_t changes;        // bus->changes when it did
        } retired;
    };
    uint64_t routed; // delivered inline by routes that are gone; bus->lock
    _Atomic(struct pl_timings *) timings;
};

// ---- the bus ------------------------------------------------------------------------------------

struct pl_runs {
    struct pl_mutex lock;
    struct pl_list queue; // of mailboxes
    atomic_uint length;   // of the queue, to look at without the lock
    atomic_uint signal;   // changes when a sleeper must look again
    unsigned sleeping;    // under the lock
    unsigned running;     // threads that run a mailbox; under the lock
    int64_t sleep_until;  // the earliest deadline of a sleeper
    atomic_bool stopping;
};

struct pl_timers {
    struct pl_mutex lock;
    struct pl_heap heap;      // of mailboxes, and of the schedule
    _Atomic int64_t earliest; // PL_FOREVER: none
};

struct pl_middleware {
    peal_middleware *run;
    void *context;
    int priority;
};

struct pl_middlewares {
    struct pl_middlewares *older;     // kept for those who still walk it, until the bus closes
    const struct pl_tracing *tracing; // NULL: no spans
    size_t count;
    struct pl_middleware list[];
};

struct pl_scheduled;

// Events that wait for their time (schedule.h).
struct pl_schedule {
    struct pl_mutex lock;
    struct pl_heap due;           // those that wait, by the time of day
    struct pl_map by_id;          // all, also those that are being published
    uint64_t next_order;          // of acceptance
    uint64_t bytes;               // of all
    bool running;                 // a thread publishes what is due
    struct pl_scheduled *in_hand; // what it publishes right now; NULL: nothing
    struct pl_heap_node timer;    // in bus->timers
};

struct pl_dead_letter;

struct pl_dead {
    struct pl_mutex lock;
    struct pl_list letters; // oldest first
    struct pl_list unsaved; // to be put into the state table
    struct pl_list gone;    // no letters any more, but in it
    struct pl_map by_id;    // the same
    uint64_t count;
    uint64_t reserved; // places promised to letters on their way
    uint64_t next_id;
};

// What is put into the state table, and when (durable.h).
struct pl_saving {
    struct pl_turn turn;
    struct pl_mutex lock;
    struct pl_list durables; // with `lock`
    _Atomic int64_t due;     // PL_FOREVER: nothing has changed
    _Atomic int64_t pause;   // until the next save, at least; of the last one
    atomic_bool said;        // that it cannot be saved
};

enum pl_bus_state { PL_BUS_OPEN = 0, PL_BUS_STOPPING, PL_BUS_STOPPED };

// What a reader still needs of the log.
struct pl_need {
    struct pl_list link;       // with needs_lock
    bool entered;              // the reader's own: it is in the list
    _Atomic uint64_t position; // and all behind it; changed by the reader
};

struct peal_bus {
    // Read by every publish; changed seldom.
    struct pl_engine *engine;
    struct pl_log *log; // of the engine
    struct pl_kv *kv;   // of the engine; NULL: nothing but the log survives, if that does
    bool silent;        // nothing is delivered or kept: noop
    atomic_bool aside;  // silent or traced: publishing goes another way
    bool keeps;         // there is a history
    uint64_t id;        // no two buses of a process share one
    _Atomic(struct pl_topic_table *) table;
    _Atomic uint64_t version;  // changes when every route is out of date
    _Atomic uint64_t removals; // of inline subscriptions
    uint64_t data_max;
    uint64_t hash_seed;
    struct pl_origin origin;
    const struct pl_seams *seams;
    const struct pl_files *files;
    struct peal_bus_options options; // with every default filled in
    atomic_uint state;               // enum pl_bus_state
    atomic_uint batching;            // batches hold routes without hazards: nothing is freed
    atomic_uint quiet_wanted;        // somebody waits for a hazard to go
    atomic_uint quiet_word;
    atomic_uint space_wanted; // publishers that wait for memory
    atomic_uint space_word;

    // What arrives is put together in it: arrive.c's, on the engine's thread. NULL: nothing has.
    struct party *arriving;

    _Alignas(64) struct pl_mutex lock;
    // Under `lock`.
    struct pl_match match;
    struct pl_list mailboxes;
    struct pl_list ghosts; // mailboxes of durable names that nobody has taken yet
    struct pl_list interceptors;
    uint64_t changes; // counts everything below being changed
    uint64_t subscription_count;
    uint64_t next_serial;
    struct pl_route *retired_routes;
    struct pl_mailbox *retired_boxes;
    uint32_t *free_counters;
    uint64_t *uncounted; // by counter: what a thread had no memory to count
    uint32_t free_counter_count, free_counter_capacity, counter_count;
    uint64_t folded_published; // counts of routes that are gone
    uint64_t folded_routed;    // the same, once for each inline handler they called
    struct {
        uint64_t delivered, retried; // of subscriptions that are gone
        uint64_t dropped, forgotten, spent, unheld;
    } folded;
    _Atomic(struct pl_slot *) slots; // prepended with release; read without the lock

    _Atomic(struct pl_middlewares *) middlewares; // immutable; replaced under `lock`
    _Atomic(struct pl_tracing *) tracing;         // set once, with release; NULL: not traced
    _Atomic(struct pl_upcasts *) upcasts;         // set once, with release; NULL: none

    struct pl_mutex types_lock; // topics are made with it; read without a lock
    _Atomic(struct peal_topic **) topics[PL_CHUNKS];
    struct pl_topic_block *topic_blocks; // the newest first
    atomic_uint topic_count;

    struct pl_mutex needs_lock; // a leaf
    struct pl_list needs;       // of open readers

    struct pl_list active; // intakes; with the turn
    struct pl_runs runs;
    struct pl_timers timers;
    struct pl_schedule schedule;
    struct pl_dead dead;
    struct pl_saving saving;

    int workers;
    struct pl_thread **threads;
    struct pl_door_name door;                // of the log, for other processes; "": it has none
    struct pl_answer *answer;                // who stands behind it; NULL: nobody
    _Atomic int event_fd, timer_fd, poll_fd; // of peal_bus_fd; -1 until asked for
    void *memory;      // what was allocated: the bus begins at a cache line of it
    atomic_bool woken; // peal_bus_wake

    _Atomic uint64_t duplicates, refused, rejected, emit_lost, parks;
    _Atomic int64_t last_complaint;
    struct pl_histogram publish_wait, publish_time;
};

// A test's world, where this bus lives in one: src/testing/, which stands above the bus.
const struct pl_seams *pl_world_seams(struct peal_world *world);
const struct pl_files *pl_world_files(struct peal_world *world);
enum peal_err pl_world_attach(struct peal_world *world, struct peal_bus *bus);
void pl_world_detach(struct peal_world *world, struct peal_bus *bus);

// Tells the log callback, if there is one.
void pl_bus_say(struct peal_bus *bus, enum peal_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// PEAL_OK while the bus is open; else PEAL_ECLOSED with its sentence.
enum peal_err pl_bus_fail_closed(void);
static inline enum peal_err pl_bus_check_open(struct peal_bus *bus)
{
    // Acquire: who sees it closed sees why.
    unsigned state = atomic_load_explicit(&bus->state, memory_order_acquire);
    return __builtin_expect(state == PL_BUS_OPEN, 1) ? PEAL_OK : pl_bus_fail_closed();
}

static inline int64_t pl_bus_now(struct peal_bus *bus)
{
    return bus->seams->realtime(bus->seams->world);
}

static inline int64_t pl_bus_ticks(struct peal_bus *bus)
{
    return bus->seams->monotonic(bus->seams->world);
}

// A moment `timeout_ms` from now, on the monotonic clock; PL_FOREVER if that is too far.
int64_t pl_deadline(struct peal_bus *bus, uint64_t timeout_ms);

static inline void pl_count(_Atomic uint64_t *counter, uint64_t more)
{
    // Relaxed, and not one atomic step: one thread at a time writes it, others only look.
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more,
                          memory_order_relaxed);
}

static inline void pl_count_shared(_Atomic uint64_t *counter, uint64_t more)
{
    atomic_fetch_add_explicit(counter, more, memory_order_relaxed); // many threads write it
}

#endif
