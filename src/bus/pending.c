// SPDX-License-Identifier: MIT
//
// Pending events: those a mailbox has taken from the log and is not done with.
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
// Events of one key form a line: a linked list, found by the key's hash; only the first of a line
// is READY or beyond. An event without key and subject is a line of its own. READY ones sit in a
// heap by score: the time they were recorded, less PL_PRIORITY_STEP for each priority level. So a
// level is worth that much waiting, an old event beats a young one of any priority in the end, and
// a score never has to be computed again. RETRYING and LATER ones sit in a heap by when they are
// due.
//
// Everything is under mailbox->lock. Nothing here can fail for lack of memory: the heaps, the table
// of keys and one unused pending event are provided beforehand (pl_hold_prepare).
#include "bus/internal.h"

#include "base/error.h"

#include <assert.h>
#include <string.h>

// One level of priority is worth so much waiting.
#define PL_PRIORITY_STEP (100 * PL_NS_PER_MS)

// A handler that gives an event back gets it again after this.
#define PL_RELEASE_AFTER (10 * PL_NS_PER_MS)

// Without memory, or with the dead letters full: try again after this.
#define PL_TROUBLE_AFTER (100 * PL_NS_PER_MS)

// Unused pending events a mailbox keeps.
#define PL_FREE_MAX 256

enum pending_state { UNUSED = 0, WAITING, READY, RUNNING, RETRYING, LATER, BLOCKED };

struct pl_reason {
    char code[32];
    char text[256];
};

struct pl_pending {
    struct pl_heap_node node;  // in hold->ready or hold->due
    struct pl_list link;       // hold->all, by age; or hold->unused
    struct pl_pending *behind; // the next of its key
    struct pl_hash128 key;
    bool keyed;
    bool dying;             // its attempts are spent, but the dead letters had no room
    const char *code;       // of a dying one: why, unless `said` says it
    struct pl_reason *said; // what the handler said of it; NULL: nothing
    uint8_t state;
    uint64_t position;
    int64_t score;
    int64_t recorded;
    const struct pl_frame *frame;
    struct pl_segment *segment;    // keeps the frame
    const struct peal_event *kept; // instead of a frame; a reference
    uint32_t attempt;              // runs so far
    int64_t first_failure, last_failure;
    uint64_t dead;                  // its dead letter; 0: none
    struct peal_delivery *delivery; // given away; NULL: not, or settled
    bool settled_early;             // before its handler returned
    uint8_t early;                  // the verdict
    int64_t extended; // until then its settling may take, said before the handler returned; or 0
};

struct pl_hold {
    struct pl_map keys; // hash of the key → first and last of its line
    struct pl_heap ready, due;
    struct pl_list all, unused;
    size_t count, unused_count, created;
    size_t waiting; // WAITING and READY
    size_t running;
    int64_t batch_since; // when the batch that is not full yet began; 0: none
    void *batch_memory;  // for the next batch; NULL: none yet, or in use
    int64_t trouble;     // there was no memory to draw more: try again then; 0: there was
};

struct peal_delivery {
    struct pl_mailbox *mailbox;
    struct pl_pending *pending; // with the mailbox's lock; NULL: out of time
    struct peal_event event;
    struct pl_call call;
    const struct peal_event *kept;
};

// ---- memory -------------------------------------------------------------------------------------

static bool create_pending(struct pl_mailbox *mailbox)
{
    const struct pl_seams *seams = mailbox->seams;
    struct pl_hold *hold = mailbox->hold;
    size_t more = hold->created + 1;
    struct pl_pending *pending = pl_new(seams, sizeof *pending);
    if (!pending || pl_map_reserve(&hold->keys, more - hold->keys.count) ||
        pl_heap_reserve(&hold->ready, more - hold->ready.count) ||
        pl_heap_reserve(&hold->due, more - hold->due.count)) {
        pl_release(seams, pending);
        return false;
    }
    hold->created = more;
    hold->unused_count++;
    pl_list_add_tail(&hold->unused, &pending->link);
    return true;
}

// Provides `count` unused ones. With the lock.
static bool provide(struct pl_mailbox *mailbox, size_t count)
{
    const struct pl_seams *seams = mailbox->seams;
    if (!mailbox->hold) {
        struct pl_hold *hold = pl_new(seams, sizeof *hold);
        if (!hold) {
            return false;
        }
        pl_map_init(&hold->keys, seams);
        pl_heap_init(&hold->ready, seams);
        pl_heap_init(&hold->due, seams);
        pl_list_init(&hold->all);
        pl_list_init(&hold->unused);
        mailbox->hold = hold;
    }
    while (mailbox->hold->unused_count < count) {
        if (!create_pending(mailbox)) {
            return false;
        }
    }
    return true;
}

// One for the caller, and one stays for whoever runs the mailbox meanwhile. With the lock.
static bool prepare(struct pl_mailbox *mailbox)
{
    return provide(mailbox, 2);
}

bool pl_hold_prepare(struct pl_mailbox *mailbox)
{
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    bool prepared = provide(mailbox, 1);
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    if (!prepared) {
        pl_timer_set(mailbox, pl_bus_ticks(mailbox->bus) + PL_TROUBLE_AFTER);
    }
    return prepared;
}

static void let_go(struct pl_pending *pending)
{
    pl_segment_unref(pending->segment);
    peal_event_unref(pending->kept);
    pending->segment = NULL;
    pending->frame = NULL;
    pending->kept = NULL;
}

static void free_pending(struct pl_mailbox *mailbox, struct pl_pending *pending)
{
    struct pl_hold *hold = mailbox->hold;
    let_go(pending);
    pl_release(mailbox->seams, pending->said);
    pl_list_remove(&pending->link);
    *pending = (struct pl_pending){ .state = UNUSED };
    if (hold->unused_count < PL_FREE_MAX) {
        hold->unused_count++;
        pl_list_add_tail(&hold->unused, &pending->link);
    } else {
        hold->created--;
        pl_release(mailbox->seams, pending);
    }
    hold->count--;
    if (hold->count == 0) {
        atomic_store_explicit(&mailbox->holding, false, memory_order_release);
    }
}

void pl_hold_finish(struct pl_mailbox *mailbox)
{
    struct pl_hold *hold = mailbox->hold;
    if (!hold) {
        return;
    }
    const struct pl_seams *seams = mailbox->seams;
    pl_release(seams, hold->batch_memory);
    pl_heap_finish(&hold->ready); // first: they let go of what they have
    pl_heap_finish(&hold->due);
    struct pl_pending *pending, *after;
    PL_LIST_EACH_SAFE (pending, after, &hold->all, link) {
        if (pending->delivery) {
            pending->delivery->pending = NULL;
        }
        let_go(pending);
        pl_release(seams, pending->said);
        pl_release(seams, pending);
    }
    PL_LIST_EACH_SAFE (pending, after, &hold->unused, link) {
        pl_release(seams, pending);
    }
    pl_map_finish(&hold->keys);
    pl_release(seams, hold);
    mailbox->hold = NULL;
}

// ---- lines: the events of one key ---------------------------------------------------------------

static struct pl_pending *as_pending(uint64_t number)
{
    return (struct pl_pending *)(uintptr_t)number; // NOLINT(performance-no-int-to-ptr): a map's
}

static uint64_t as_number(const struct pl_pending *pending)
{
    return (uint64_t)(uintptr_t)pending;
}

static bool key_of(const struct pl_mailbox *mailbox, const struct peal_event *event,
                   struct pl_hash128 *out)
{
    if (mailbox->settings->options.order == PEAL_ORDER_NONE) {
        return false;
    }
    const char *key = peal_event_key(event);
    if (!*key) {
        return false;
    }
    *out = pl_hash128(key, strlen(key), mailbox->bus->hash_seed);
    return true;
}

static void make_ready(struct pl_hold *hold, struct pl_pending *pending)
{
    if (pending->state != WAITING) {
        hold->waiting++;
    }
    pending->state = READY;
    // Cannot fail: there is room for every pending event there is.
    (void)pl_heap_insert(&hold->ready, &pending->node, pending->score, pending->position);
}

static void make_due(struct pl_mailbox *mailbox, struct pl_pending *pending, uint8_t state,
                     int64_t when)
{
    pending->state = state;
    (void)pl_heap_insert(&mailbox->hold->due, &pending->node, when, pending->position); // reserved
}

// Enters the line of its key. True: it is the first.
static bool line_up(struct pl_hold *hold, struct pl_pending *pending)
{
    if (!pending->keyed) {
        return true;
    }
    struct pl_map_entry *line = pl_map_find(&hold->keys, pending->key);
    if (!line) {
        // Cannot fail: reserved.
        (void)pl_map_put(&hold->keys, pending->key, as_number(pending), as_number(pending));
        return true;
    }
    as_pending(line->position)->behind = pending;
    line->position = as_number(pending);
    return false;
}

// Only the first of a line may be ready.
static bool is_first(const struct pl_hold *hold, const struct pl_pending *pending)
{
    return !pending->keyed || as_pending(pl_map_find(&hold->keys, pending->key)->value) == pending;
}

// Goes before the first of its line if that waits for a dead letter's place: it may well be ours.
// With the lock. False: it does not.
static bool go_before(struct pl_hold *hold, struct pl_pending *pending)
{
    struct pl_map_entry *line = pending->keyed ? pl_map_find(&hold->keys, pending->key) : NULL;
    struct pl_pending *first = line ? as_pending(line->value) : NULL;
    if (!first || !first->dying || (first->state != READY && first->state != RETRYING)) {
        return false;
    }
    pl_heap_remove(first->state == READY ? &hold->ready : &hold->due, &first->node);
    hold->waiting += first->state != READY;
    first->state = WAITING;
    pending->behind = first;
    line->value = as_number(pending);
    return true;
}

// What was retried may wait behind a dying one of its key, which waits for its place.
static void let_retried_pass(struct pl_hold *hold, struct pl_pending *dying)
{
    if (!dying->dying || (dying->state != READY && dying->state != RETRYING)) {
        return;
    }
    struct pl_pending *before = dying;
    while (before->behind && !(before->behind->dead && before->behind->state == WAITING)) {
        before = before->behind;
    }
    struct pl_pending *retried = before->behind;
    if (!retried || !is_first(hold, dying)) {
        return;
    }
    before->behind = retried->behind;
    struct pl_map_entry *line = pl_map_find(&hold->keys, dying->key);
    if (as_pending(line->position) == retried) {
        line->position = as_number(before);
    }
    if (go_before(hold, retried)) {
        make_ready(hold, retried);
    }
}

// Leaves its line; the next one gets ready if this was the first.
static void leave_line(struct pl_hold *hold, struct pl_pending *pending)
{
    if (!pending->keyed) {
        return;
    }
    struct pl_map_entry *line = pl_map_find(&hold->keys, pending->key);
    assert(line);
    if (as_pending(line->value) == pending) {
        struct pl_pending *next = pending->behind;
        if (!next) {
            (void)pl_map_remove(&hold->keys, pending->key); // it is there
            return;
        }
        line->value = as_number(next);
        if (next->state == WAITING) {
            make_ready(hold, next);
        }
        let_retried_pass(hold, next);
        return;
    }
    struct pl_pending *before = as_pending(line->value);
    while (before->behind != pending) {
        before = before->behind;
    }
    before->behind = pending->behind;
    if (as_pending(line->position) == pending) {
        line->position = as_number(before);
    }
}

static void finish(struct pl_mailbox *mailbox, struct pl_pending *pending)
{
    struct pl_hold *hold = mailbox->hold;
    pl_heap_remove(pending->state == READY ? &hold->ready : &hold->due, &pending->node);
    if (pending->state == READY || pending->state == WAITING) {
        hold->waiting--;
    }
    leave_line(hold, pending);
    free_pending(mailbox, pending);
}

// Takes an unused one for an event. Prepared; with the lock.
static struct pl_pending *hold_event(struct pl_mailbox *mailbox, const struct peal_event *event)
{
    struct pl_hold *hold = mailbox->hold;
    struct pl_list *link = pl_list_pop_head(&hold->unused);
    assert(link); // provided
    struct pl_pending *pending = pl_container_of(link, struct pl_pending, link);
    hold->unused_count--;
    pending->position = peal_event_position(event);
    pending->recorded = event->frame ? event->frame->recorded : peal_event_time(event);
    pending->score =
        pending->recorded - (peal_event_priority(event) - PEAL_PRIORITY_DEFAULT) * PL_PRIORITY_STEP;
    pending->keyed = key_of(mailbox, event, &pending->key);
    hold->count++;
    pl_list_add_tail(&hold->all, &pending->link);
    atomic_store_explicit(&mailbox->holding, true, memory_order_release);
    return pending;
}

static void keep_frame(struct pl_pending *pending, const struct pl_frame *frame,
                       struct pl_segment *segment)
{
    pl_segment_ref(segment);
    pending->frame = frame;
    pending->segment = segment;
}

// ---- settling: what a verdict means -------------------------------------------------------------

static int64_t retry_delay(struct pl_mailbox *mailbox, unsigned attempt)
{
    const struct peal_retry *retry = &mailbox->settings->options.retry;
    if (attempt <= retry->immediate) {
        return 0;
    }
    double most = (double)retry->max_ms;
    double delay = (double)retry->initial_ms;
    for (unsigned i = retry->immediate + 1; i < attempt && delay < most; i++) {
        delay *= retry->coefficient;
    }
    int64_t ns = (int64_t)((delay < most ? delay : most) * (double)PL_NS_PER_MS);
    if (retry->no_jitter || ns <= 0) {
        return ns;
    }
    const struct pl_seams *seams = mailbox->seams;
    return (int64_t)(seams->random(seams->world) % ((uint64_t)ns + 1));
}

// Is `word` one of a comma list?
static bool listed(const char *list, const char *word)
{
    size_t length = strlen(word);
    while (list && length > 0) {
        list += strspn(list, " ");
        if (strncmp(list, word, length) == 0 &&
            strchr(",", list[length + strspn(list + length, " ")])) { // or the end
            return true;
        }
        list = strchr(list, ',');
        list = list ? list + 1 : NULL;
    }
    return false;
}

static void view_of(struct pl_mailbox *mailbox, struct pl_pending *pending,
                    struct peal_event *event)
{
    if (pending->kept) {
        *event = *pending->kept;
        atomic_init(&event->refs, 0);
        event->owner = NULL; // borrowed from `kept`; a reference to this view copies
        event->owner_ops = NULL;
    } else {
        pl_bus_view(event, mailbox->bus, pending->frame, pending->segment);
    }
    event->attempt = pending->attempt;
}

// A dying one remembers why. Without memory it forgets what its handler said.
static void keep_reason(struct pl_mailbox *mailbox, struct pl_pending *pending,
                        const struct pl_call *call, const char *code)
{
    pending->code = code;
    if (call && call->failed && !pending->said) {
        pending->said = pl_new(mailbox->seams, sizeof *pending->said);
        if (pending->said) {
            memcpy(pending->said->code, call->code, sizeof pending->said->code);
            memcpy(pending->said->text, call->text, sizeof pending->said->text);
        }
    }
}

static enum peal_err bury(struct pl_mailbox *mailbox, struct pl_pending *pending,
                          const struct pl_call *call, const char *code)
{
    struct peal_event event;
    view_of(mailbox, pending, &event);
    struct pl_obituary obituary = {
        .mailbox = mailbox,
        .event = pending->kept ? pending->kept : &event,
        .code = code,
        .text = "",
        .attempts = pending->attempt,
        .first_failure = pending->first_failure,
        .last_failure = pending->last_failure,
        .again = pending->dead,
    };
    const struct pl_reason *said = pending->said;
    if (call && call->failed) {
        obituary.code = call->code[0] ? call->code : code;
        obituary.text = call->text;
    } else if (said) {
        obituary.code = said->code[0] ? said->code : code;
        obituary.text = said->text;
    }
    return pl_dead_add(&pending->dead, mailbox->bus, &obituary);
}

// The attempts are spent, or there is no point in more.
static void die(struct pl_mailbox *mailbox, struct pl_pending *pending, const struct pl_call *call,
                const char *code)
{
    const struct peal_subscribe_options *options = &mailbox->settings->options;
    if (options->spent == PEAL_SPENT_DROP) {
        pl_count_shared(&mailbox->counts.dropped, 1);
        finish(mailbox, pending);
        return;
    }
    enum peal_err err = bury(mailbox, pending, call, code);
    if (err) {
        // Nothing is dropped silently: it stays, and dies when there is room.
        bool pauses = err == PEAL_ELIMIT && mailbox->mode != PEAL_INLINE;
        if (pauses || (err == PEAL_ELIMIT && !pending->dying)) {
            atomic_store_explicit(&mailbox->dead_full, true, memory_order_relaxed);
        }
        pending->dying = true;
        keep_reason(mailbox, pending, call, code);
        if (pauses) {
            atomic_store_explicit(&mailbox->paused, true, memory_order_relaxed);
            // Behind all others: a dead letter that is retried makes room for it.
            int64_t score = pending->score;
            pending->score = INT64_MAX;
            make_ready(mailbox->hold, pending);
            pending->score = score;
        } else {
            make_due(mailbox, pending, RETRYING, pl_bus_ticks(mailbox->bus) + PL_TROUBLE_AFTER);
        }
        let_retried_pass(mailbox->hold, pending);
        return;
    }
    pending->dying = false;
    pl_release(mailbox->seams, pending->said);
    pending->said = NULL;
    pl_count_shared(&mailbox->counts.dead, 1);
    if (options->spent == PEAL_SPENT_PAUSE) {
        atomic_store_explicit(&mailbox->paused, true, memory_order_relaxed);
    }
    bool holds_key =
        options->spent == PEAL_SPENT_BLOCK || options->after_dead == PEAL_AFTER_DEAD_PARK;
    if (holds_key && pending->keyed) {
        let_go(pending); // the dead letter has the event
        pending->state = BLOCKED;
        return;
    }
    finish(mailbox, pending);
}

static void fail(struct pl_mailbox *mailbox, struct pl_pending *pending, const struct pl_call *call,
                 const char *code)
{
    const struct peal_retry *retry = &mailbox->settings->options.retry;
    int64_t now = pl_bus_now(mailbox->bus);
    pl_count_shared(&mailbox->counts.failed, 1);
    pending->last_failure = now;
    if (pending->first_failure == 0) {
        pending->first_failure = now;
    }
    if (call && call->failed && listed(retry->non_retryable, call->code)) {
        die(mailbox, pending, call, code);
        return;
    }
    int64_t delay = retry_delay(mailbox, pending->attempt);
    int64_t elapsed_ms = (now + delay - pending->first_failure) / PL_NS_PER_MS;
    if ((!retry->unlimited && pending->attempt >= retry->max_attempts) ||
        (retry->max_elapsed_ms && elapsed_ms > (int64_t)retry->max_elapsed_ms)) {
        die(mailbox, pending, call, code);
        return;
    }
    pl_count_shared(&mailbox->counts.retried, 1);
    make_due(mailbox, pending, RETRYING, pl_bus_ticks(mailbox->bus) + delay);
}

static void apply(struct pl_mailbox *mailbox, struct pl_pending *pending,
                  const struct pl_call *call, enum peal_verdict verdict)
{
    switch (verdict) {
    case PEAL_DONE:
        if (pending->dead) {
            pl_dead_done(mailbox->bus, pending->dead);
        }
        finish(mailbox, pending);
        return;
    case PEAL_RELEASE:
        pl_count_shared(&mailbox->counts.released, 1);
        pending->attempt--;
        if (mailbox->mode == PEAL_PULL) {
            make_ready(mailbox->hold, pending);
        } else {
            make_due(mailbox, pending, RETRYING, pl_bus_ticks(mailbox->bus) + PL_RELEASE_AFTER);
        }
        return;
    case PEAL_REJECT:
        pl_count_shared(&mailbox->counts.rejected, 1);
        pending->last_failure = pl_bus_now(mailbox->bus);
        if (pending->first_failure == 0) {
            pending->first_failure = pending->last_failure;
        }
        die(mailbox, pending, call, "rejected");
        return;
    case PEAL_LATER: {
        int64_t wait = (int64_t)mailbox->settings->options.ack_wait_ms * PL_NS_PER_MS;
        int64_t until = pl_bus_ticks(mailbox->bus) + wait;
        make_due(mailbox, pending, LATER, pending->extended ? pending->extended : until);
        pending->extended = 0;
        return;
    }
    case PEAL_RETRY:
        break;
    }
    fail(mailbox, pending, call, "attempts");
}

// The handler has returned. With the lock; the event is RUNNING.
static void returned(struct pl_mailbox *mailbox, struct pl_pending *pending,
                     const struct pl_call *call, enum peal_verdict verdict)
{
    mailbox->hold->running--;
    bool settled = pending->settled_early;
    // Whatever the handler says: the next attempt starts anew.
    pending->settled_early = false;
    if (call->taken && verdict == PEAL_LATER && !settled) {
        apply(mailbox, pending, call, PEAL_LATER);
        return;
    }
    pending->extended = 0;
    if (call->taken && verdict == PEAL_LATER) {
        verdict = (enum peal_verdict)pending->early;
        if (verdict == PEAL_DONE) {
            pl_count_shared(&mailbox->counts.delivered, 1);
        }
    } else if (pending->delivery) {
        pending->delivery->pending = NULL; // taken, but settled by the return
        pending->delivery = NULL;
        if (verdict == PEAL_DONE) {
            pl_count_shared(&mailbox->counts.delivered,
                            1); // pl_deliver does not count what is taken
        }
    } else if (verdict == PEAL_LATER) {
        verdict = PEAL_RETRY; // nobody can settle it
    }
    apply(mailbox, pending, call, verdict);
}

// When does time have something to say next?
static void set_timer(struct pl_mailbox *mailbox)
{
    if (pl_list_empty(&mailbox->members)) {
        pl_timer_set(mailbox, PL_FOREVER); // nothing before somebody takes the durable name
        return;
    }
    const struct pl_heap_node *due = pl_heap_peek(&mailbox->hold->due);
    int64_t when = due ? due->key : PL_FOREVER;
    uint64_t wait_ms = mailbox->settings->options.batch_wait_ms;
    if (mailbox->hold->batch_since && wait_ms) {
        int64_t batch = mailbox->hold->batch_since + (int64_t)wait_ms * PL_NS_PER_MS;
        when = batch < when ? batch : when;
    }
    int64_t trouble = mailbox->hold->trouble;
    pl_timer_set(mailbox, trouble && trouble < when ? trouble : when);
}

static void say_lost(struct pl_mailbox *mailbox, const struct peal_event *event)
{
    pl_count_shared(&mailbox->counts.dropped, 1);
    pl_bus_say(mailbox->bus, PEAL_LEVEL_ERROR,
               "subscription %s: no memory to hold an event of type %s that failed; it is lost",
               pl_mailbox_label(mailbox), peal_event_type(event));
}

// Holds an event that is being run. NULL without memory, which only an inline one can meet.
static struct pl_pending *hold_running(struct pl_mailbox *mailbox, struct peal_event *event)
{
    const struct peal_event *kept = NULL;
    bool in_log = event->frame && event->owner;
    if (!provide(mailbox, 1) || (!in_log && pl_event_copy(&kept, event, NULL, 0))) {
        return NULL;
    }
    struct pl_pending *pending = hold_event(mailbox, event);
    if (in_log) {
        keep_frame(pending, event->frame, event->owner);
    } else {
        pending->kept = kept;
    }
    (void)line_up(mailbox->hold, pending); // not the first: another inline one failed meanwhile
    mailbox->hold->running++;
    pending->state = RUNNING;
    pending->attempt = 1;
    return pending;
}

void pl_hold_failed(struct pl_call *call, struct peal_event *event, enum peal_verdict verdict)
{
    struct pl_mailbox *mailbox = call->mailbox;
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    struct pl_pending *pending = call->pending ? call->pending : hold_running(mailbox, event);
    bool again = false;
    if (pending) {
        returned(mailbox, pending, call, verdict);
        set_timer(mailbox);
        again = pl_heap_peek(&mailbox->hold->ready) != NULL;
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    if (!pending) {
        say_lost(mailbox, event);
    }
    if (again) {
        pl_runs_notify(mailbox);
    }
}

bool pl_hold_behind(struct pl_mailbox *mailbox, const struct peal_event *event)
{
    const struct peal_event *kept = NULL;
    struct pl_hash128 key;
    bool in_log = event->frame && event->owner;
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    // Without memory to wait it runs now: out of order, but not lost.
    bool behind = mailbox->hold && key_of(mailbox, event, &key) &&
                  pl_map_find(&mailbox->hold->keys, key) && prepare(mailbox) &&
                  (in_log || pl_event_copy(&kept, event, NULL, 0) == PEAL_OK);
    if (behind) {
        struct pl_pending *pending = hold_event(mailbox, event);
        if (in_log) {
            keep_frame(pending, event->frame, event->owner);
        } else {
            pending->kept = kept;
        }
        (void)line_up(mailbox->hold, pending); // not the first: there is a line
        pending->state = WAITING;
        mailbox->hold->waiting++;
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    return behind;
}

// ---- drawing ------------------------------------------------------------------------------------

// How many must be ready before we stop looking for more.
static size_t wanted_ready(const struct pl_mailbox *mailbox)
{
    const struct peal_subscribe_options *options = &mailbox->settings->options;
    if (mailbox->overflow == PEAL_LATEST_PER_KEY ||
        atomic_load_explicit(&mailbox->mixed, memory_order_relaxed)) {
        return SIZE_MAX; // all there are: the choice depends on it
    }
    size_t batch = options->batch ? options->batch_max : 1;
    return batch > options->concurrency ? batch : options->concurrency;
}

// Not what was told to be lost, what is on its way to the dead letters, or came back from them.
static bool is_droppable(const struct pl_pending *pending)
{
    return pending->frame && !pending->dying;
}

// Keeps only the newest event of a key that waits. True: the frame took the place of another.
static bool conflate(struct pl_mailbox *mailbox, const struct peal_event *event)
{
    struct pl_hold *hold = mailbox->hold;
    struct pl_hash128 key;
    if (hold->waiting < mailbox->settings->options.mailbox || !key_of(mailbox, event, &key)) {
        return false;
    }
    struct pl_map_entry *line = pl_map_find(&hold->keys, key);
    struct pl_pending *last = line ? as_pending(line->position) : NULL;
    if (!last || (last->state != WAITING && last->state != READY) || !is_droppable(last)) {
        return false;
    }
    pl_mailbox_lose(mailbox, 1, last->position, last->position);
    let_go(last);
    keep_frame(last, event->frame, event->owner);
    last->position = event->frame->position;
    last->attempt = 0; // the older one may have failed before
    last->first_failure = 0;
    return true;
}

static void drop_one_ready(struct pl_mailbox *mailbox)
{
    struct pl_heap_node *node = pl_heap_peek(&mailbox->hold->ready);
    struct pl_pending *oldest = node ? pl_container_of(node, struct pl_pending, node) : NULL;
    if (oldest && is_droppable(oldest)) {
        pl_mailbox_lose(mailbox, 1, oldest->position, oldest->position);
        finish(mailbox, oldest);
    }
}

// Takes events from the mailbox until enough are ready, or none are left. True: none are left.
static bool draw(struct pl_mailbox *mailbox)
{
    if (mailbox->mode == PEAL_INLINE) {
        return true; // its events come from their publishers
    }
    struct pl_hold *hold = mailbox->hold;
    size_t wanted = wanted_ready(mailbox);
    size_t most = mailbox->settings->options.mailbox;
    bool conflates = mailbox->overflow == PEAL_LATEST_PER_KEY;
    hold->trouble = 0;
    while (hold->ready.count < wanted && (conflates || hold->count < most)) {
        if (!prepare(mailbox)) {
            hold->trouble = pl_bus_ticks(mailbox->bus) + PL_TROUBLE_AFTER; // see set_timer
            return false;
        }
        const struct pl_frame *frame = pl_mailbox_draw(mailbox);
        if (!frame) {
            return true;
        }
        struct peal_event event;
        pl_bus_view(&event, mailbox->bus, frame, mailbox->place.segment);
        if (conflates && conflate(mailbox, &event)) {
            continue;
        }
        if (conflates && hold->waiting >= most) {
            drop_one_ready(mailbox);
        }
        struct pl_pending *pending = hold_event(mailbox, &event);
        keep_frame(pending, frame, mailbox->place.segment);
        pending->state = WAITING;
        hold->waiting++;
        if (line_up(hold, pending)) {
            make_ready(hold, pending);
        }
    }
    return false;
}

static void out_of_time(struct pl_mailbox *mailbox, struct pl_pending *pending)
{
    if (pending->delivery) {
        pending->delivery->pending = NULL;
        pending->delivery = NULL;
    }
    fail(mailbox, pending, NULL, "ack_wait");
}

// What is due: retries get ready, what was to be settled has failed.
static void collect_due(struct pl_mailbox *mailbox)
{
    struct pl_hold *hold = mailbox->hold;
    int64_t now = pl_bus_ticks(mailbox->bus);
    struct pl_heap_node *node;
    while ((node = pl_heap_peek(&hold->due)) != NULL && node->key <= now) {
        (void)pl_heap_pop(&hold->due);
        struct pl_pending *pending = pl_container_of(node, struct pl_pending, node);
        if (pending->state == LATER) {
            out_of_time(mailbox, pending);
        } else if (is_first(hold, pending)) {
            make_ready(hold, pending);
        } else {
            pending->state = WAITING; // it failed in a batch, as did one before it
            hold->waiting++;
            let_retried_pass(hold, as_pending(pl_map_find(&hold->keys, pending->key)->value));
        }
    }
}

void pl_hold_tick(struct pl_mailbox *mailbox)
{
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    if (mailbox->hold) {
        collect_due(mailbox);
        set_timer(mailbox);
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    pl_hold_say_full(mailbox);
}

void pl_hold_say_full(struct pl_mailbox *mailbox)
{
    if (!atomic_exchange_explicit(&mailbox->dead_full, false, memory_order_relaxed)) {
        return;
    }
    bool waits = mailbox->mode == PEAL_INLINE; // its publishers go on
    pl_bus_say(mailbox->bus, PEAL_LEVEL_ERROR,
               "subscription %s: %s, because the dead letters are full (dead_max); retry or "
               "discard some%s",
               pl_mailbox_label(mailbox), waits ? "a failed event waits" : "paused",
               waits ? "" : ", then resume it");
}

// Takes the next ready event. NULL: none. It is RUNNING.
static struct pl_pending *pick(struct pl_mailbox *mailbox)
{
    struct pl_hold *hold = mailbox->hold;
    struct pl_heap_node *node = pl_heap_pop(&hold->ready);
    if (!node) {
        return NULL;
    }
    struct pl_pending *pending = pl_container_of(node, struct pl_pending, node);
    hold->waiting--;
    hold->running++;
    pending->state = RUNNING;
    pending->attempt++;
    return pending;
}

// The one behind it in its line, for the same batch.
static struct pl_pending *pick_behind(struct pl_hold *hold, struct pl_pending *pending)
{
    struct pl_pending *next = pending->keyed ? pending->behind : NULL;
    if (!next || next->state != WAITING) {
        return NULL;
    }
    hold->waiting--;
    hold->running++;
    next->state = RUNNING;
    next->attempt++;
    return next;
}

// A dying one dies again; with the lock. True: it was one.
static bool die_again(struct pl_mailbox *mailbox, struct pl_pending *pending)
{
    if (!pending->dying) {
        return false;
    }
    pending->attempt--;
    mailbox->hold->running--;
    die(mailbox, pending, NULL, pending->code);
    return true;
}

// The member whose turn it is, called from now on. With the lock. NULL: nobody is there.
static struct peal_subscription *call_member(struct pl_mailbox *mailbox)
{
    struct pl_list *link = pl_list_pop_head(&mailbox->members);
    if (!link) {
        return NULL;
    }
    pl_list_add_tail(&mailbox->members, link);
    struct peal_subscription *member = pl_container_of(link, struct peal_subscription, member);
    member->running++;
    return member;
}

// It is not called any more. With the lock.
static void end_call(struct pl_mailbox *mailbox, struct peal_subscription *member)
{
    member->running--;
    if (pl_list_empty(&member->member)) { // it has left meanwhile, and somebody may be waiting
        atomic_fetch_add_explicit(&mailbox->word, 1, memory_order_release);
        mailbox->seams->wake(mailbox->seams->world, &mailbox->word, UINT32_MAX);
        if (member->orphan && member->running == 0 && member != &mailbox->only) {
            pl_release(mailbox->seams, member);
        }
    }
}

struct peal_subscription *pl_hold_call_member(struct pl_mailbox *mailbox)
{
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    struct peal_subscription *member = call_member(mailbox);
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    return member;
}

void pl_hold_end_call(struct pl_mailbox *mailbox, struct peal_subscription *member)
{
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    end_call(mailbox, member);
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
}

bool pl_hold_wait_member(struct peal_subscription *member, const struct pl_slot *me)
{
    struct pl_mailbox *mailbox = member->mailbox;
    bool mine = false;
    for (unsigned i = 0; me && i < me->handling && i < PL_DEPTH_MAX; i++) {
        mine = mine || me->running[i] == mailbox;
    }
    for (;;) {
        unsigned word = atomic_load_explicit(&mailbox->word, memory_order_acquire);
        pl_mutex_lock(&mailbox->lock, mailbox->seams);
        bool called = member->running > 0;
        if (called && mine) {
            member->orphan = true; // whoever runs it frees it
        }
        pl_mutex_unlock(&mailbox->lock, mailbox->seams);
        if (!called || mine) {
            return called;
        }
        mailbox->seams->wait(mailbox->seams->world, &mailbox->word, word, PL_FOREVER);
    }
}

// ---- running ------------------------------------------------------------------------------------

// Runs one event, without the lock.
static enum peal_verdict run_one(struct pl_mailbox *mailbox, struct pl_slot *slot,
                                 struct pl_call *call, struct pl_pending *pending)
{
    struct peal_event event;
    view_of(mailbox, pending, &event);
    call->segment = pending->segment;
    event.delivery = call;
    call->since = mailbox->seams->coarse(mailbox->seams->world);
    return pl_deliver(call, slot, &event);
}

// A loss is told before what comes after it is run.
static bool is_to_be_told(const struct pl_mailbox *mailbox)
{
    return mailbox->mode != PEAL_INLINE &&
           atomic_load_explicit(&mailbox->lost, memory_order_relaxed);
}

// Tells it. With the lock, which is given up meanwhile. False: there is nothing to tell, or nobody.
static bool tell_loss(struct pl_mailbox *mailbox, struct pl_slot *slot)
{
    if (!is_to_be_told(mailbox) || atomic_load_explicit(&mailbox->paused, memory_order_relaxed)) {
        return false;
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    bool told = pl_mailbox_tell_loss(mailbox, slot);
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    return told;
}

// The next event to run and who runs it; NULL: none, or a loss is to be told. With the lock.
static struct pl_pending *next_run(struct pl_mailbox *mailbox, struct peal_subscription **member,
                                   bool *drained)
{
    *drained = false;
    if (pl_list_empty(&mailbox->members)) {
        return NULL;
    }
    for (;;) {
        collect_due(mailbox);
        *drained = draw(mailbox);
        if (atomic_load_explicit(&mailbox->paused, memory_order_relaxed) ||
            is_to_be_told(mailbox)) {
            return NULL;
        }
        struct pl_pending *pending = pick(mailbox);
        if (!pending) {
            return NULL;
        }
        if (!die_again(mailbox, pending)) {
            *member = call_member(mailbox);
            return pending;
        }
    }
}

// One of several workers is about to run a handler, for who knows how long. True: there is more for
// another one to do. If not, the next push and the next timer must fetch one. With the lock.
static bool needs_help(struct pl_mailbox *mailbox, bool drained)
{
    if (mailbox->running_max <= 1) {
        return false;
    }
    if (pl_heap_peek(&mailbox->hold->due)) {
        set_timer(mailbox);
    }
    if (mailbox->hold->ready.count > 0) {
        return true;
    }
    // Not drained: the draw had enough for this worker, or has no room for more.
    return drained ? !pl_mailbox_rest(mailbox)
                   : mailbox->hold->count < mailbox->settings->options.mailbox;
}

static enum pl_run_result run_singly(struct pl_mailbox *mailbox, struct pl_slot *slot,
                                     size_t budget, size_t *done)
{
    const struct pl_seams *seams = mailbox->seams;
    struct pl_call call;
    enum pl_run_result result = PL_RUN_MORE;
    pl_mutex_lock(&mailbox->lock, seams);
    for (size_t i = 0; i < budget; i++) {
        bool drained;
        struct peal_subscription *member;
        struct pl_pending *pending = next_run(mailbox, &member, &drained);
        if (!pending && tell_loss(mailbox, slot)) {
            continue;
        }
        if (!pending) {
            result = drained ? PL_RUN_DRAINED : PL_RUN_STUCK;
            break;
        }
        bool help = needs_help(mailbox, drained);
        pl_mutex_unlock(&mailbox->lock, seams);
        if (help) {
            pl_runs_notify(mailbox);
        }
        pl_call_start(&call, mailbox, member, pending);
        enum peal_verdict verdict = run_one(mailbox, slot, &call, pending);
        ++*done;
        pl_mutex_lock(&mailbox->lock, seams);
        returned(mailbox, pending, &call, verdict);
        end_call(mailbox, member);
    }
    set_timer(mailbox);
    pl_mutex_unlock(&mailbox->lock, seams);
    return result;
}

struct batch {
    size_t count;
    struct pl_pending **pendings;
    struct peal_event *events;
    struct pl_call *calls; // one an event: each fails for reasons of its own
    const struct peal_event **views;
    enum peal_verdict *verdicts;
};

static bool batch_is_due(struct pl_mailbox *mailbox)
{
    struct pl_hold *hold = mailbox->hold;
    const struct peal_subscribe_options *options = &mailbox->settings->options;
    if (hold->ready.count == 0) {
        hold->batch_since = 0;
        return false;
    }
    if (hold->waiting >= options->batch_max || options->batch_wait_ms == 0) {
        return true;
    }
    int64_t now = pl_bus_ticks(mailbox->bus);
    if (hold->batch_since == 0) {
        hold->batch_since = now;
    }
    return now - hold->batch_since >= (int64_t)options->batch_wait_ms * PL_NS_PER_MS;
}

static void fill_batch(struct pl_mailbox *mailbox, struct batch *batch)
{
    size_t most = mailbox->settings->options.batch_max;
    batch->count = 0;
    mailbox->hold->batch_since = 0;
    struct pl_pending *pending;
    // Paused: one that dies found no room among the dead letters, and is ready again.
    while (batch->count < most && !atomic_load_explicit(&mailbox->paused, memory_order_relaxed) &&
           (pending = pick(mailbox)) != NULL) {
        while (pending && batch->count < most) {
            if (die_again(mailbox, pending)) {
                break;
            }
            batch->pendings[batch->count++] = pending;
            pending = batch->count < most ? pick_behind(mailbox->hold, pending) : NULL;
        }
    }
}

static bool allocate_batch(struct pl_mailbox *mailbox, struct batch *batch)
{
    size_t most = mailbox->settings->options.batch_max;
    size_t each = sizeof(struct pl_pending *) + sizeof(struct peal_event) + sizeof(struct pl_call) +
                  sizeof(struct peal_event *) + sizeof(enum peal_verdict);
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    char *memory = mailbox->hold->batch_memory; // of the batch before, unless it is running
    mailbox->hold->batch_memory = NULL;
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    if (!memory) {
        memory = pl_alloc(mailbox->seams, most * each);
    }
    if (!memory) {
        pl_timer_set(mailbox, pl_bus_ticks(mailbox->bus) + PL_TROUBLE_AFTER);
        return false;
    }
    batch->events = (struct peal_event *)(void *)memory;
    batch->calls = (struct pl_call *)(void *)(batch->events + most);
    batch->pendings = (struct pl_pending **)(void *)(batch->calls + most);
    batch->views = (const struct peal_event **)(batch->pendings + most);
    batch->verdicts = (enum peal_verdict *)(void *)(batch->views + most);
    return true;
}

static void run_one_batch(struct pl_mailbox *mailbox, struct pl_slot *slot,
                          struct peal_subscription *member, struct batch *batch)
{
    const struct peal_subscribe_options *options = &mailbox->settings->options;
    size_t wanted = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct pl_call *call = &batch->calls[i];
        pl_call_start(call, mailbox, member, batch->pendings[i]);
        view_of(mailbox, batch->pendings[i], &batch->events[i]);
        batch->events[i].delivery = call;
        batch->verdicts[i] = PEAL_DONE;
        if (options->filter && !options->filter(&batch->events[i], options->filter_context)) {
            pl_count_shared(&mailbox->counts.filtered, 1);
            pl_mutex_lock(&mailbox->lock, mailbox->seams);
            returned(mailbox, batch->pendings[i], call, PEAL_DONE);
            pl_mutex_unlock(&mailbox->lock, mailbox->seams);
            continue;
        }
        batch->pendings[wanted] = batch->pendings[i];
        batch->events[wanted] = batch->events[i];
        batch->views[wanted] = &batch->events[wanted];
        wanted++;
    }
    batch->count = wanted;
    if (wanted > 0) {
        pl_deliver_batch(&batch->calls[0], slot, batch->views, wanted, batch->verdicts);
    }
}

static enum pl_run_result run_batches(struct pl_mailbox *mailbox, struct pl_slot *slot,
                                      size_t budget, size_t *done)
{
    const struct pl_seams *seams = mailbox->seams;
    struct batch batch;
    if (!allocate_batch(mailbox, &batch)) {
        return PL_RUN_STUCK;
    }
    enum pl_run_result result = PL_RUN_MORE;
    size_t before = *done;
    pl_mutex_lock(&mailbox->lock, seams);
    while (*done - before < budget) {
        collect_due(mailbox);
        bool drained = !pl_list_empty(&mailbox->members) && draw(mailbox);
        if (tell_loss(mailbox, slot)) {
            continue;
        }
        if (pl_list_empty(&mailbox->members) ||
            atomic_load_explicit(&mailbox->paused, memory_order_relaxed) ||
            !batch_is_due(mailbox)) {
            result = drained ? PL_RUN_DRAINED : PL_RUN_STUCK;
            break;
        }
        fill_batch(mailbox, &batch);
        struct peal_subscription *member = call_member(mailbox);
        bool help = needs_help(mailbox, drained);
        pl_mutex_unlock(&mailbox->lock, seams);
        if (help) {
            pl_runs_notify(mailbox);
        }
        *done += batch.count;
        run_one_batch(mailbox, slot, member, &batch);
        pl_mutex_lock(&mailbox->lock, seams);
        for (size_t i = 0; i < batch.count; i++) {
            if (batch.verdicts[i] == PEAL_DONE) {
                pl_count_shared(&mailbox->counts.delivered, 1);
            }
            returned(mailbox, batch.pendings[i], batch.events[i].delivery, batch.verdicts[i]);
        }
        end_call(mailbox, member);
    }
    set_timer(mailbox);
    void *needless = mailbox->hold->batch_memory;
    mailbox->hold->batch_memory = batch.events; // for the next one
    pl_mutex_unlock(&mailbox->lock, seams);
    pl_release(seams, needless);
    return result;
}

enum pl_run_result pl_hold_run(struct pl_mailbox *mailbox, struct pl_slot *slot, size_t budget,
                               size_t *done)
{
    if (mailbox->mode == PEAL_INLINE) {
        return run_singly(mailbox, slot, budget, done);
    }
    return mailbox->settings->options.batch ? run_batches(mailbox, slot, budget, done)
                                            : run_singly(mailbox, slot, budget, done);
}

// ---- given away ---------------------------------------------------------------------------------

// Fills in a handle for a pending event. With the lock.
static void give(struct peal_delivery *delivery, struct pl_mailbox *mailbox,
                 struct pl_pending *pending)
{
    pl_mailbox_ref(mailbox);
    delivery->mailbox = mailbox;
    delivery->pending = pending;
    pending->delivery = delivery;
    view_of(mailbox, pending, &delivery->event);
    if (pending->kept) {
        // Cannot fail: it is a reference already.
        (void)peal_event_ref(&delivery->kept, pending->kept);
    } else {
        pl_segment_ref(pending->segment);
    }
    pl_call_start(&delivery->call, mailbox, NULL, pending);
    delivery->event.delivery = &delivery->call;
}

static void free_delivery(struct peal_delivery *delivery)
{
    struct pl_mailbox *mailbox = delivery->mailbox;
    const struct pl_seams *seams = mailbox->seams; // the bus may be gone
    if (delivery->kept) {
        peal_event_unref(delivery->kept);
    } else {
        pl_segment_unref(delivery->event.owner);
    }
    pl_release(seams, delivery);
    pl_mailbox_unref(mailbox);
}

enum peal_err peal_delivery_take(peal_delivery **out, const peal_event *event)
{
    if (!out || !event) {
        return pl_fail(PEAL_EINVAL, "peal_delivery_take needs an event and a place for the "
                                    "delivery");
    }
    struct pl_call *call = event->delivery;
    if (!call || !call->mailbox || !call->member || call->taken || call->member->batch ||
        call->mailbox->mode == PEAL_INLINE) {
        return pl_fail(PEAL_ESTATE, "peal_delivery_take: call it once, inside a worker's handler, "
                                    "with the event it was given");
    }
    struct pl_mailbox *mailbox = call->mailbox;
    const struct pl_seams *seams = mailbox->seams;
    struct peal_delivery *delivery = pl_new(seams, sizeof *delivery);
    if (!delivery) {
        return pl_fail(PEAL_ENOMEM, "no memory to settle an event of type %s later", event->type);
    }
    pl_mutex_lock(&mailbox->lock, seams);
    if (!call->pending) {
        struct pl_pending *pending = hold_event(mailbox, event); // prepared before the run
        keep_frame(pending, event->frame, call->segment);
        (void)line_up(mailbox->hold, pending); // the first: nothing was held
        pending->state = RUNNING;
        pending->attempt = 1;
        mailbox->hold->running++;
        call->pending = pending;
    }
    give(delivery, mailbox, call->pending);
    call->taken = true;
    pl_mutex_unlock(&mailbox->lock, seams);
    *out = delivery;
    return PEAL_OK;
}

const peal_event *peal_delivery_event(const peal_delivery *delivery)
{
    return delivery ? &delivery->event : NULL;
}

enum peal_err peal_delivery_settle(peal_delivery *delivery, enum peal_verdict verdict)
{
    if (!delivery || (unsigned)verdict >= PEAL_LATER) {
        return pl_fail(PEAL_EINVAL, "peal_delivery_settle needs a delivery and done, retry, "
                                    "release or reject");
    }
    struct pl_mailbox *mailbox = delivery->mailbox;
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    struct pl_pending *pending = delivery->pending;
    if (pending) {
        pending->delivery = NULL;
        if (pending->state == RUNNING) {
            pending->settled_early = true;
            pending->early = (uint8_t)verdict;
        } else {
            pl_heap_remove(&mailbox->hold->due, &pending->node);
            if (verdict == PEAL_DONE) {
                pl_count_shared(&mailbox->counts.delivered, 1);
            }
            apply(mailbox, pending, &delivery->call, verdict);
            set_timer(mailbox);
        }
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    if (pending) {
        pl_runs_notify(mailbox);
        pl_hold_say_full(mailbox);
    }
    free_delivery(delivery);
    return pending ? PEAL_OK
                   : pl_fail(PEAL_ETIMEDOUT,
                             "the event was not settled within its acknowledgement wait, or its "
                             "subscription is gone");
}

enum peal_err peal_delivery_extend(peal_delivery *delivery, uint64_t ack_wait_ms)
{
    if (!delivery || ack_wait_ms == 0 || ack_wait_ms > INT64_MAX / (uint64_t)PL_NS_PER_MS / 2) {
        return pl_fail(PEAL_EINVAL, "peal_delivery_extend needs a delivery and a time above 0");
    }
    struct pl_mailbox *mailbox = delivery->mailbox;
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    struct pl_pending *pending = delivery->pending;
    bool late = !pending;
    int64_t until = pl_bus_ticks(mailbox->bus) + (int64_t)ack_wait_ms * PL_NS_PER_MS;
    if (pending && pending->state == LATER) {
        pl_heap_remove(&mailbox->hold->due, &pending->node);
        make_due(mailbox, pending, LATER, until);
        set_timer(mailbox);
    } else if (pending) {
        pending->extended = until; // its handler has yet to return
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    return late ? pl_fail(PEAL_ETIMEDOUT, "the event's acknowledgement wait has passed") : PEAL_OK;
}

// Takes what is ready for a pull. `died`: there may be more to draw. With the lock.
static enum peal_err take_ready(struct pl_mailbox *mailbox, peal_delivery **out, size_t max,
                                size_t *count, bool *died)
{
    *died = false;
    // Paused: one that dies found no room among the dead letters, and is ready again.
    while (*count < max && !atomic_load_explicit(&mailbox->paused, memory_order_relaxed)) {
        struct peal_delivery *delivery = pl_new(mailbox->seams, sizeof *delivery);
        struct pl_pending *pending = delivery ? pick(mailbox) : NULL;
        if (!pending || die_again(mailbox, pending)) {
            pl_release(mailbox->seams, delivery);
            if (pending) {
                *died = true;
                continue;
            }
            return delivery ? PEAL_OK : PEAL_ENOMEM;
        }
        mailbox->hold->running--;
        give(delivery, mailbox, pending);
        apply(mailbox, pending, NULL, PEAL_LATER);
        out[(*count)++] = delivery;
    }
    return PEAL_OK;
}

// A loss is an event like others for who pulls. PEAL_ENOMEM: it is told another time.
static enum peal_err hold_loss(struct pl_mailbox *mailbox)
{
    struct pl_loss loss;
    if (!prepare(mailbox)) {
        return PEAL_ENOMEM;
    }
    if (!pl_mailbox_take_loss(mailbox, &loss)) {
        return PEAL_OK;
    }
    char data[128];
    size_t size = pl_gap_text(data, sizeof data, &loss);
    struct peal_message message = { .type = "$peal.gap", .data = data, .size = size };
    struct peal_event event;
    pl_event_from_message(&event, &message, message.type, &mailbox->bus->origin, loss.last);
    struct pl_pending *pending = hold_event(mailbox, &event);
    if (pl_event_copy(&pending->kept, &event, NULL, 0)) {
        free_pending(mailbox, pending);
        pl_count_shared(&mailbox->counts.dropped, 0 - loss.count); // counted when it is told
        pl_mailbox_lose(mailbox, loss.count, loss.first, loss.last);
        return PEAL_ENOMEM;
    }
    make_ready(mailbox->hold, pending);
    return PEAL_OK;
}

// Takes what there is, up to `max`. True: nothing more is waiting. With the lock.
static bool take_all(struct pl_mailbox *mailbox, peal_delivery **out, size_t max, size_t *count,
                     enum peal_err *err)
{
    bool drained = false, died;
    size_t before;
    *err = hold_loss(mailbox);
    collect_due(mailbox);
    do { // a draw looks for one that is ready, not for `max`
        before = *count;
        drained = draw(mailbox);
        enum peal_err taken = take_ready(mailbox, out, max, count, &died);
        *err = taken ? taken : *err;
    } while (!*err && *count < max && (died || *count > before) &&
             !atomic_load_explicit(&mailbox->paused, memory_order_relaxed));
    return drained && !*err;
}

// `due`: when time brings back something of what is pending; PL_FOREVER: never.
static enum peal_err pull_now(struct pl_mailbox *mailbox, peal_delivery **out, size_t max,
                              size_t *count, int64_t *due)
{
    struct peal_bus *bus = mailbox->bus;
    enum peal_err err = PEAL_ENOMEM;
    pl_mutex_lock(&mailbox->lock, bus->seams);
    if (prepare(mailbox)) {
        bool rests;
        do {
            rests = true; // if it is not drained, the next pull finds the rest
            if (take_all(mailbox, out, max, count, &err)) {
                pl_mailbox_go_live(mailbox);
                rests = pl_mailbox_rest(mailbox);
            }
            // What came meanwhile woke nobody, because the mailbox did not rest: who is about to
            // sleep looks again. Who has something leaves it to the next pull.
        } while (!rests && !err && *count == 0);
        // Relaxed: what was taken is pending, and keeps its own segment.
        atomic_store_explicit(&mailbox->floor, UINT64_MAX, memory_order_relaxed);
        set_timer(mailbox);
        const struct pl_heap_node *node = pl_heap_peek(&mailbox->hold->due);
        *due = node ? node->key : PL_FOREVER;
    }
    pl_mutex_unlock(&mailbox->lock, bus->seams);
    pl_hold_say_full(mailbox);
    pl_space_check(bus);
    return err && *count == 0 ? pl_fail(PEAL_ENOMEM, "no memory to pull events") : PEAL_OK;
}

// The filter does not want what was taken: done with, before anybody has seen it.
static void give_up(struct peal_delivery *delivery)
{
    struct pl_mailbox *mailbox = delivery->mailbox;
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    struct pl_pending *pending = delivery->pending;
    if (pending) { // else its time ran out while the filter looked
        pending->delivery = NULL;
        pl_count_shared(&mailbox->counts.filtered, 1);
        apply(mailbox, pending, NULL, PEAL_DONE);
        set_timer(mailbox);
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    free_delivery(delivery);
}

// Leaves those that the filter wants, without a lock. A gap is for everybody.
static size_t sift(const struct pl_mailbox *mailbox, peal_delivery **out, size_t count)
{
    const struct peal_subscribe_options *options = &mailbox->settings->options;
    size_t wanted = 0;
    for (size_t i = 0; i < count; i++) {
        const struct peal_event *event = &out[i]->event;
        if (!options->filter || strcmp(event->type, "$peal.gap") == 0 ||
            options->filter(event, options->filter_context)) {
            out[wanted++] = out[i];
        } else {
            give_up(out[i]);
        }
    }
    return wanted;
}

static enum peal_err check_pull(peal_delivery *const *out, const size_t *out_count,
                                const struct peal_subscription *subscription, size_t max)
{
    if (!out || !out_count || !subscription || max == 0) {
        return pl_fail(PEAL_EINVAL, "peal_subscription_pull needs a subscription, an array and "
                                    "room for at least one delivery");
    }
    if (subscription->mailbox->mode != PEAL_PULL) {
        return pl_fail(PEAL_ESTATE,
                       "subscription %s is not a PEAL_PULL one: its handler gets the "
                       "events",
                       pl_mailbox_label(subscription->mailbox));
    }
    return PEAL_OK;
}

// What is there now and passes the filter. None: `due` says when there may be something.
static enum peal_err pull_wanted(struct pl_mailbox *mailbox, peal_delivery **out, size_t max,
                                 size_t *count, int64_t *due)
{
    for (;;) {
        enum peal_err err = pl_bus_check_open(mailbox->bus);
        if (!err && pl_mailbox_has_stopped(mailbox)) {
            err = pl_fail(PEAL_EOVERFLOW, "subscription %s: its mailbox overflowed, it has stopped",
                          pl_mailbox_label(mailbox));
        }
        if (err || atomic_load_explicit(&mailbox->paused, memory_order_relaxed)) {
            return err;
        }
        err = pull_now(mailbox, out, max, count, due);
        if (err || *count == 0) {
            return err;
        }
        *count = sift(mailbox, out, *count);
        if (*count > 0) {
            return PEAL_OK;
        }
        // None of them was wanted, and there may be more.
    }
}

enum peal_err peal_subscription_pull(peal_delivery **out, size_t *out_count,
                                     peal_subscription *subscription, size_t max,
                                     uint64_t timeout_ms)
{
    enum peal_err refused = check_pull(out, out_count, subscription, max);
    if (refused) {
        return refused;
    }
    struct pl_mailbox *mailbox = subscription->mailbox;
    struct peal_bus *bus = mailbox->bus;
    int64_t deadline = pl_deadline(bus, timeout_ms);
    const struct pl_slot *slot = pl_slot_mine(bus);
    bool may_wait = timeout_ms > 0 && slot && !slot->current;
    for (;;) {
        unsigned word = atomic_load_explicit(&mailbox->word, memory_order_acquire);
        size_t count = 0;
        int64_t due = PL_FOREVER;
        enum peal_err err = pull_wanted(mailbox, out, max, &count, &due);
        if (err) {
            return err;
        }
        if (count > 0) {
            *out_count = count;
            return PEAL_OK;
        }
        if (!may_wait || pl_bus_ticks(bus) >= deadline) {
            return pl_fail(may_wait ? PEAL_ETIMEDOUT : PEAL_EAGAIN, "no event is waiting for %s",
                           pl_mailbox_label(mailbox));
        }
        // A retry may be due before; nobody else may be there to tell us.
        bus->seams->wait(bus->seams->world, &mailbox->word, word, due < deadline ? due : deadline);
    }
}

// ---- dead letters come back ---------------------------------------------------------------------

// What is held of a dead letter: it blocks its key, or is being retried. NULL: nothing.
static struct pl_pending *held_for(const struct pl_hold *hold, uint64_t dead)
{
    struct pl_pending *pending;
    struct pl_list *all = (struct pl_list *)&hold->all;
    PL_LIST_EACH (pending, all, link) {
        if (pending->dead == dead) {
            return pending;
        }
    }
    return NULL;
}

static struct pl_pending *blocked_by(const struct pl_hold *hold, uint64_t dead)
{
    struct pl_pending *pending = held_for(hold, dead);
    return pending && pending->state == BLOCKED ? pending : NULL;
}

struct pl_pending *pl_hold_reserve(struct pl_mailbox *mailbox)
{
    struct pl_pending *place = NULL;
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    if (provide(mailbox, 1) && create_pending(mailbox)) {
        struct pl_list *link = pl_list_pop_head(&mailbox->hold->unused);
        mailbox->hold->unused_count--;
        place = pl_container_of(link, struct pl_pending, link);
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    return place;
}

// With the lock. The hold is gone if the subscription is.
static void give_back(struct pl_mailbox *mailbox, struct pl_pending *place)
{
    if (mailbox->hold) {
        mailbox->hold->created--;
    }
    pl_release(mailbox->seams, place);
}

void pl_hold_unreserve(struct pl_mailbox *mailbox, struct pl_pending *place)
{
    if (place) {
        pl_mutex_lock(&mailbox->lock, mailbox->seams);
        give_back(mailbox, place);
        pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    }
}

// Enters the line of its key with an event of its own. With the lock.
static void enter_revived(struct pl_mailbox *mailbox, struct pl_pending *place, uint64_t dead_id,
                          const struct peal_event *event)
{
    struct pl_hold *hold = mailbox->hold;
    hold->unused_count++;
    pl_list_add_head(&hold->unused, &place->link); // where hold_event takes it
    struct pl_pending *pending = hold_event(mailbox, event);
    pending->kept = event;
    pending->dead = dead_id;
    pending->state = WAITING;
    hold->waiting++;
    if (go_before(hold, pending) || line_up(hold, pending)) {
        make_ready(hold, pending);
    }
}

void pl_hold_revive(struct pl_mailbox *mailbox, struct pl_pending *place, uint64_t dead_id,
                    const struct peal_event *event)
{
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    struct pl_pending *blocked = mailbox->hold ? blocked_by(mailbox->hold, dead_id) : NULL;
    if (!mailbox->hold) {
        peal_event_unref(event);
        give_back(mailbox, place);
    } else if (blocked) {
        give_back(mailbox, place);
        blocked->state = WAITING;
        mailbox->hold->waiting++;
        blocked->kept = event;
        blocked->attempt = 0;
        blocked->first_failure = 0;
        if (is_first(mailbox->hold, blocked)) { // of a batch several of a key may have died
            make_ready(mailbox->hold, blocked);
        }
    } else {
        enter_revived(mailbox, place, dead_id, event);
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    pl_runs_notify(mailbox);
}

void pl_hold_release_key(struct pl_mailbox *mailbox, uint64_t dead_id)
{
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    struct pl_pending *pending = mailbox->hold ? blocked_by(mailbox->hold, dead_id) : NULL;
    if (pending) {
        finish(mailbox, pending);
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    if (pending) {
        pl_runs_notify(mailbox);
    }
}

uint64_t pl_hold_parked(struct pl_mailbox *mailbox, uint64_t dead_id)
{
    uint64_t parked = 0;
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    struct pl_pending *pending = mailbox->hold ? held_for(mailbox->hold, dead_id) : NULL;
    for (pending = pending ? pending->behind : NULL; pending; pending = pending->behind) {
        parked++;
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    return parked;
}

void pl_hold_numbers(struct pl_mailbox *mailbox, struct pl_hold_numbers *out)
{
    *out = (struct pl_hold_numbers){ .oldest = INT64_MAX };
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    struct pl_hold *hold = mailbox->hold;
    if (hold) {
        struct pl_pending *pending;
        PL_LIST_EACH (pending, &hold->all, link) {
            bool with_somebody = pending->state == RUNNING || pending->state == LATER;
            out->in_flight += with_somebody;
            out->retrying += pending->state == RETRYING;
            out->waiting += !with_somebody && pending->state != BLOCKED;
            if (pending->state != BLOCKED && pending->recorded < out->oldest) {
                out->oldest = pending->recorded;
            }
        }
    }
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
}
