// SPDX-License-Identifier: MIT
//
// Pending events: those a mailbox has taken from the log and is not done with. What their files
// share; others include it to look at what is held, to save, erase or forget it.
//
// They failed and wait for their next attempt, were given away to be settled later, wait behind
// another of their key, or wait to be chosen by priority, for a batch, or by one of several
// handlers.
//
//                 ┌──────────── behind in the line of its key ◄── draw
//                 ▼                                                │
//      WAITING ─► READY ◄─────────────────────────────────────────┘
//                 │ ▲
//                 ▼ └── due ── RETRYING ◄── retry, release ──┐
//              RUNNING ── handler ── verdict ────────────────┼─► done: the next of the key is READY
//                 └──► LATER ── settled, or out of time ─────┤
//                                     BLOCKED ◄── dead, and its key waits for a person
//
// A mailbox's hold has them all. Everything in it is under mailbox->lock; what is declared here is
// called with the lock, unless it says otherwise.
//
// Its files, each of which calls those above it only:
//
//     pending.c    memory, lines of keys, who is ready and who is due
//     settle.c     what a verdict means
//     draw.c       from the mailbox, and back from waiting
//     hold_run.c   through handlers
//     later.c      given away
//     pull.c       taken by who asks
//     revive.c     dead letters tried again
#ifndef PL_BUS_HOLD_H
#define PL_BUS_HOLD_H

#include "base/map.h"
#include "bus/calls.h"

// Without memory, or with the dead letters full: try again after this.
#define PL_TROUBLE_AFTER (100 * PL_NS_PER_MS)

enum pl_pending_state {
    PL_UNUSED = 0,
    PL_WAITING,
    PL_READY,
    PL_RUNNING,
    PL_RETRYING,
    PL_LATER,
    PL_BLOCKED
};

struct pl_reason;

struct pl_pending {
    struct pl_heap_node node;  // in hold->ready or hold->due
    struct pl_list link;       // hold->all, by age; or hold->unused
    struct pl_pending *behind; // the next of its key
    struct pl_hash128 key;
    bool keyed;
    bool erased;            // its event was, while somebody had it: done with, whatever comes of it
    bool dying;             // its attempts are spent, but the dead letters had no room
    const char *code;       // of a dying one: why, unless `said` says it
    struct pl_reason *said; // what the handler said of it; NULL: nothing
    uint8_t state;
    uint64_t position;
    int64_t score;    // its place among those that are ready: pending.c
    int64_t recorded; // when it was, since the epoch
    const struct pl_frame *frame;
    struct pl_segment *segment;    // keeps the frame
    const struct peal_event *kept; // instead of a frame; a reference
    uint32_t attempt;              // runs so far
    int64_t first_failure, last_failure;
    uint64_t dead;                    // its dead letter; 0: none
    struct pl_settlement *settlement; // where a service waits to hear of it; NULL: none does
    struct peal_delivery *delivery;   // given away; NULL: not, or settled
    struct peal_delivery *early;      // settled before its handler returned, with that verdict
    int64_t extended; // until then its settling may take, said before the handler returned; or 0
};

struct pl_hold {
    struct pl_map keys;    // hash of the key → first and last of its line
    struct pl_map letters; // dead letter → who blocks its key for it, or is it, tried again
    struct pl_heap ready, due;
    struct pl_list all, unused;
    size_t count, unused_count, created;
    size_t waiting; // PL_WAITING and PL_READY
    size_t running;
    int64_t batch_since; // when the batch that is not full yet began; 0: none
    void *batch_memory;  // for the next batch; NULL: none yet, or in use
    int64_t trouble;     // there was no memory to draw more: try again then; 0: there was
    bool crowded;        // only the newest of each key wait: a newer one takes their place
    size_t orphans;      // in hand, and handed over by a connection that is gone
    struct pl_hold_counts counts;
};

// The span a delivery is to be settled in; zeros: it is not traced.
struct pl_delivery_span {
    struct peal_span_context own;
    uint8_t parent[8];
    int64_t pulled; // when, since the epoch; 0: it was taken by a handler
    int64_t failed; // when its event did, last; 0: it has not
};

// What the event says of itself lies in `names`, because the delivery may outlive the bus.
struct peal_delivery {
    struct pl_mailbox *mailbox;
    struct pl_pending *pending; // with the mailbox's lock; NULL: out of time
    struct peal_event event;
    struct pl_call call;
    const struct peal_event *kept;
    enum peal_verdict verdict; // of one that was settled early
    struct pl_delivery_span span;
    struct pl_origin origin;
    char names[]; // type and source; nothing if there is `kept`, which has its own
};

// ---- pending.c ----------------------------------------------------------------------------------

// One more unused one. False: no memory.
bool pl_hold_create_pending(struct pl_mailbox *mailbox);

// Provides `count` unused ones. False: no memory.
bool pl_hold_provide(struct pl_mailbox *mailbox, size_t count);

// One for the caller, and one stays for whoever runs the mailbox meanwhile.
static inline bool pl_hold_provide_two(struct pl_mailbox *mailbox)
{
    return pl_hold_provide(mailbox, 2);
}

// Takes an unused one for an event. Provided before.
struct pl_pending *pl_hold_event(struct pl_mailbox *mailbox, const struct peal_event *event);

// A newer event of its key, from the log, takes the place of one that waits: as if it had not been
// tried, with an age and a priority of its own. But its turn does not come later than if it had
// waited as long as the other: a key that changes all the time would never have one.
void pl_hold_replace(struct pl_hold *hold, struct pl_pending *pending,
                     const struct peal_event *event);

// Lets go of its event, and stays pending.
void pl_pending_let_go(struct pl_pending *pending);

static inline void pl_pending_keep_frame(struct pl_pending *pending, const struct pl_frame *frame,
                                         struct pl_segment *segment)
{
    pl_segment_ref(segment);
    pending->frame = frame;
    pending->segment = segment;
}

// A view of its event, borrowed from it. The lock is not needed while it is PL_RUNNING.
void pl_hold_view(struct pl_mailbox *mailbox, struct pl_pending *pending, struct peal_event *event);

// The hash of the key that orders an event; false: nothing does.
bool pl_hold_key_of(const struct pl_mailbox *mailbox, const struct peal_event *event,
                    struct pl_hash128 *out);

static inline struct pl_pending *pl_as_pending(uint64_t number)
{
    return (struct pl_pending *)(uintptr_t)number; // NOLINT(performance-no-int-to-ptr): a map's
}

static inline uint64_t pl_as_number(const struct pl_pending *pending)
{
    return (uint64_t)(uintptr_t)pending;
}

static inline void pl_hold_make_ready(struct pl_hold *hold, struct pl_pending *pending)
{
    if (pending->state != PL_WAITING) {
        hold->waiting++;
    }
    pending->state = PL_READY;
    // Cannot fail: there is room for every pending event there is.
    (void)pl_heap_insert(&hold->ready, &pending->node, pending->score, pending->position);
}

static inline void pl_hold_make_due(struct pl_mailbox *mailbox, struct pl_pending *pending,
                                    uint8_t state, int64_t when)
{
    pending->state = state;
    (void)pl_heap_insert(&mailbox->hold->due, &pending->node, when, pending->position); // reserved
}

// Enters the line of its key. True: it is the first.
static inline bool pl_hold_line_up(struct pl_hold *hold, struct pl_pending *pending)
{
    if (!pending->keyed) {
        return true;
    }
    struct pl_map_entry *line = pl_map_find(&hold->keys, pending->key);
    if (!line) {
        // Cannot fail: reserved.
        (void)pl_map_put(&hold->keys, pending->key, pl_as_number(pending), pl_as_number(pending));
        return true;
    }
    pl_as_pending(line->position)->behind = pending;
    line->position = pl_as_number(pending);
    return false;
}

// Only the first of a line may be ready.
bool pl_hold_is_first(const struct pl_hold *hold, const struct pl_pending *pending);

// Goes before the first of its line if that waits for a dead letter's place: it may well be ours.
// False: it does not.
bool pl_hold_go_before(struct pl_hold *hold, struct pl_pending *pending);

// What was retried may wait behind a dying one of its key, which waits for its place.
void pl_hold_let_retried_pass(struct pl_hold *hold, struct pl_pending *dying);

// Room for one more letter to be known by, besides those that have a place (pl_hold_reserve).
enum peal_err pl_hold_reserve_letter(struct pl_hold *hold);

// It stands for its dead letter from now on. Reserved.
static inline void pl_hold_know_letter(struct pl_hold *hold, struct pl_pending *pending)
{
    (void)pl_map_put(&hold->letters, pl_letter_key(pending->dead), pl_as_number(pending), 0);
}

// Done with: it leaves its line, and the next one gets ready if it was the first.
void pl_hold_finish_pending(struct pl_mailbox *mailbox, struct pl_pending *pending);

// Back among the unused ones. In no heap and no line.
void pl_hold_free_pending(struct pl_mailbox *mailbox, struct pl_pending *pending);

// Takes the next ready event. NULL: none. It is PL_RUNNING.
static inline struct pl_pending *pl_hold_pick(struct pl_mailbox *mailbox)
{
    struct pl_hold *hold = mailbox->hold;
    struct pl_heap_node *node = pl_heap_pop(&hold->ready);
    if (!node) {
        return NULL;
    }
    struct pl_pending *pending = pl_container_of(node, struct pl_pending, node);
    hold->waiting--;
    hold->running++;
    pending->state = PL_RUNNING;
    pending->attempt++;
    return pending;
}

// When does time have something to say next?
void pl_hold_set_timer(struct pl_mailbox *mailbox);

// ---- settle.c -----------------------------------------------------------------------------------

// Takes the mailbox's lock. *out_erased: the event was erased while somebody had it, and is not to
// be held. Nobody erases it between the answer and the lock without coming to see what is held
// after us (erase.c). May read the log.
void pl_hold_lock_knowing(struct pl_mailbox *mailbox, const struct peal_event *event,
                          bool *out_erased);

// What a verdict means for one that is in no heap. `call` NULL: no handler said it.
void pl_hold_apply(struct pl_mailbox *mailbox, struct pl_pending *pending,
                   const struct pl_call *call, enum peal_verdict verdict);

// The handler has returned. The event is PL_RUNNING.
void pl_hold_returned(struct pl_mailbox *mailbox, struct pl_pending *pending,
                      const struct pl_call *call, enum peal_verdict verdict);

// Nobody has settled it in time. In no heap any more.
void pl_hold_out_of_time(struct pl_mailbox *mailbox, struct pl_pending *pending);

// The process ended while a handler had it. In no heap; it is in its line.
void pl_hold_crashed(struct pl_mailbox *mailbox, struct pl_pending *pending);

// The attempts are spent, or there is no point in more.
void pl_hold_die(struct pl_mailbox *mailbox, struct pl_pending *pending, const struct pl_call *call,
                 const char *code);

// A dying one dies again. True: it was one.
static inline bool pl_hold_die_again(struct pl_mailbox *mailbox, struct pl_pending *pending)
{
    if (!pending->dying) {
        return false;
    }
    pending->attempt--;
    mailbox->hold->running--;
    pl_hold_die(mailbox, pending, NULL, pending->code);
    return true;
}

// ---- afar.c -------------------------------------------------------------------------------------

// Says to the service what became of an event of its, and has done with it. In no heap but the
// ready ones. `call` NULL: no handler said it.
void pl_afar_settle(struct pl_mailbox *mailbox, struct pl_pending *pending,
                    const struct pl_call *call, enum peal_verdict verdict);

// ---- draw.c -------------------------------------------------------------------------------------

// Takes events from the mailbox until enough are ready, or none are left. True: none are left.
bool pl_hold_draw(struct pl_mailbox *mailbox);

// What is due: retries get ready, what was to be settled has failed.
void pl_hold_collect_due(struct pl_mailbox *mailbox);

// ---- hold_run.c ---------------------------------------------------------------------------------

// Who pulls is inside its member, until pl_hold_end_call. Takes the lock. False: it has left.
bool pl_hold_enter_member(struct peal_subscription *member);
bool pl_hold_has_left(struct peal_subscription *member);

// ---- later.c ------------------------------------------------------------------------------------

// A handle for an event of that type, to be given. NULL without memory.
struct peal_delivery *pl_delivery_create(struct pl_mailbox *mailbox, const char *type);

// Fills it in for a pending event of the type.
void pl_delivery_give(struct peal_delivery *delivery, struct pl_mailbox *mailbox,
                      struct pl_pending *pending);

// With the lock only if somebody else keeps the mailbox.
void pl_delivery_free(struct peal_delivery *delivery);

#endif
