// SPDX-License-Identifier: MIT
//
// Mailbox: what waits for a subscription, as positions in the log.
//
//     live        the publisher's turn pushes positions into a ring, the consumer takes them out
//     not live    nothing is pushed; the consumer reads the log itself, from `cursor`, and picks
//     the
//                 types it wants. So it starts, and so it goes on when the ring was full.
//
// The ring has one producer (whoever has the turn) and one consumer (whoever runs the mailbox). It
// is made when the mailbox first goes live, small, and four times as large each time it was too
// small, up to what the subscription asked for: a million subscriptions that get nothing cost no
// rings.
//
// `active` means: the publisher need not wake anybody, a consumer will look again before it rests.
// It changes with the turn only, so a push and a rest cannot miss each other.
//
// What must stay true: while not live, `cursor` is the first position not looked at, and every
// wanted position below it has left or is in the ring. While live, the ring holds every wanted
// position from the head on. A mailbox that is not active has nothing waiting.
#include "bus/internal.h"

#include <string.h>

#define RING_FIRST 16

static uint32_t ring_max(const struct pl_mailbox *mailbox)
{
    return mailbox->settings->options.mailbox;
}

static bool is_lossy(const struct pl_mailbox *mailbox)
{
    return mailbox->overflow == PEAL_DROP_OLDEST || mailbox->overflow == PEAL_DROP_NEWEST ||
           mailbox->overflow == PEAL_LATEST_PER_KEY;
}

// What waits for it is counted by its ring: it needs one of its full size, and from the start.
static bool has_exact_limit(const struct pl_mailbox *mailbox)
{
    return is_lossy(mailbox) || mailbox->overflow == PEAL_FAIL;
}

// ---- the producer's side: with the turn ---------------------------------------------------------

static void activate(struct pl_mailbox *mailbox)
{
    // Release: a consumer that sees it reads the log from where it is to.
    atomic_store_explicit(&mailbox->active, true, memory_order_release);
    pl_list_add_tail(&mailbox->bus->active, &mailbox->active_link);
}

static void put(struct pl_mailbox *mailbox, uint64_t position, unsigned priority)
{
    uint64_t tail = atomic_load_explicit(&mailbox->tail, memory_order_relaxed);
    atomic_store_explicit(&mailbox->ring[tail & mailbox->mask], position << 4 | priority,
                          memory_order_relaxed);
    atomic_store_explicit(&mailbox->tail, tail + 1, memory_order_release);
}

static bool is_full(struct pl_mailbox *mailbox)
{
    uint64_t tail = atomic_load_explicit(&mailbox->tail, memory_order_relaxed);
    if (tail - mailbox->head_seen > mailbox->mask) {
        // Acquire: the consumer has read the entry before it moved its head.
        mailbox->head_seen = atomic_load_explicit(&mailbox->head, memory_order_acquire);
    }
    return tail - mailbox->head_seen > mailbox->mask;
}

static void add_loss(struct pl_mailbox *mailbox, uint64_t count, uint64_t first, uint64_t last)
{
    struct pl_loss *loss = &mailbox->loss;
    loss->first = loss->count == 0 || first < loss->first ? first : loss->first;
    loss->last = last > loss->last ? last : loss->last;
    loss->count += count;
    atomic_store_explicit(&mailbox->lost, true, memory_order_relaxed);
}

static void drop_oldest_waiting(struct pl_mailbox *mailbox)
{
    uint64_t head = atomic_load_explicit(&mailbox->head, memory_order_relaxed);
    uint64_t entry =
        atomic_load_explicit(&mailbox->ring[head & mailbox->mask], memory_order_relaxed);
    // If the consumer was quicker there is room now, and nothing was lost.
    if (atomic_compare_exchange_strong_explicit(&mailbox->head, &head, head + 1,
                                                memory_order_acq_rel, memory_order_relaxed)) {
        add_loss(mailbox, 1, entry >> 4, entry >> 4);
    }
    mailbox->head_seen = atomic_load_explicit(&mailbox->head, memory_order_acquire);
}

// The ring is full. True: the consumer must be told.
static bool overflow(struct pl_mailbox *mailbox, uint64_t position, unsigned priority)
{
    switch ((enum peal_overflow)mailbox->overflow) {
    case PEAL_DROP_OLDEST:
        drop_oldest_waiting(mailbox);
        put(mailbox, position, priority);
        return false;
    case PEAL_DROP_NEWEST:
        add_loss(mailbox, 1, position, position);
        return false;
    case PEAL_FAIL:
        if (mailbox->mask + 1 >= ring_max(mailbox)) {
            atomic_store_explicit(&mailbox->overflowed, true, memory_order_relaxed);
            return true;
        }
        break;
    case PEAL_CATCH_UP:
    case PEAL_LATEST_PER_KEY:
        break;
    }
    atomic_store_explicit(&mailbox->cursor, position, memory_order_relaxed);
    // Release: who sees that it is not live sees the cursor and the last of the ring.
    atomic_store_explicit(&mailbox->live, false, memory_order_release);
    return false;
}

bool pl_mailbox_push_slow(struct pl_mailbox *mailbox, uint64_t position, unsigned priority)
{
    if (mailbox->closed || atomic_load_explicit(&mailbox->overflowed, memory_order_relaxed)) {
        return false;
    }
    if (priority != PEAL_PRIORITY_DEFAULT) {
        atomic_store_explicit(&mailbox->mixed, true, memory_order_relaxed);
    }
    bool wake = !atomic_load_explicit(&mailbox->active, memory_order_relaxed);
    bool live = atomic_load_explicit(&mailbox->live, memory_order_relaxed);
    pl_point(mailbox->bus->seams); // the log ends behind the event already
    if (wake && !live) {
        // Nothing was waiting, and nothing before this position is wanted.
        atomic_store_explicit(&mailbox->cursor, position, memory_order_relaxed);
    }
    if (wake) {
        activate(mailbox);
    }
    if (!live) {
        return wake;
    }
    if (is_full(mailbox)) {
        return overflow(mailbox, position, priority) || wake;
    }
    put(mailbox, position, priority);
    return wake;
}

static uint64_t floor_of(const struct pl_mailbox *mailbox)
{
    // Acquire: if the head has moved, so has the floor that was stored before.
    uint64_t head = atomic_load_explicit(&mailbox->head, memory_order_acquire);
    uint64_t floor = atomic_load_explicit(&mailbox->floor, memory_order_relaxed);
    if (head != atomic_load_explicit(&mailbox->tail, memory_order_relaxed)) {
        uint64_t entry =
            atomic_load_explicit(&mailbox->ring[head & mailbox->mask], memory_order_relaxed);
        floor = entry >> 4 < floor ? entry >> 4 : floor;
    }
    if (!atomic_load_explicit(&mailbox->live, memory_order_relaxed)) {
        uint64_t cursor = atomic_load_explicit(&mailbox->cursor, memory_order_relaxed);
        floor = cursor < floor ? cursor : floor;
    }
    return floor;
}

uint64_t pl_mailboxes_floor(void *context)
{
    struct peal_bus *bus = context;
    uint64_t floor = UINT64_MAX;
    struct pl_mailbox *mailbox;
    PL_LIST_EACH (mailbox, &bus->active, active_link) {
        // Who asked to lose events rather than wait does not hold up the others.
        // Nor does a durable name that nobody has, nor one that PEAL_FAIL has stopped for good.
        if (!is_lossy(mailbox) &&
            !atomic_load_explicit(&mailbox->overflowed, memory_order_relaxed) &&
            atomic_load_explicit(&mailbox->member_count, memory_order_relaxed) > 0) {
            uint64_t its = floor_of(mailbox);
            floor = its < floor ? its : floor;
        }
    }
    return floor;
}

// ---- the consumer's side ------------------------------------------------------------------------

// Does the mailbox want this type? Asked of the pattern once a type, remembered in a byte.
static bool wants_type(struct pl_mailbox *mailbox, uint32_t type)
{
    if (type < mailbox->types_size && mailbox->types[type] != PL_TYPE_NOT_ASKED) {
        return mailbox->types[type] == PL_TYPE_WANTED;
    }
    const struct peal_topic *topic = pl_topic_by_id(mailbox->bus, type);
    bool wanted = pl_pattern_match(mailbox->pattern, topic->type, topic->length);
    if (type >= mailbox->types_size) {
        uint32_t size = (type | 63) + 1;
        uint8_t *grown = pl_resize(mailbox->bus->seams, mailbox->types, size);
        if (!grown) {
            return wanted; // asked again next time
        }
        memset(grown + mailbox->types_size, 0, size - mailbox->types_size);
        mailbox->types = grown;
        mailbox->types_size = size;
    }
    mailbox->types[type] = wanted ? PL_TYPE_WANTED : PL_TYPE_UNWANTED;
    return wanted;
}

void pl_mailbox_lose(struct pl_mailbox *mailbox, uint64_t count, uint64_t first, uint64_t last)
{
    struct peal_bus *bus = mailbox->bus;
    pl_turn_take(&bus->log->turn, bus->seams);
    add_loss(mailbox, count, first, last);
    pl_turn_give(&bus->log->turn, bus->seams);
}

bool pl_mailbox_take_loss(struct pl_mailbox *mailbox, struct pl_loss *out)
{
    if (!atomic_load_explicit(&mailbox->lost, memory_order_relaxed)) {
        return false;
    }
    struct peal_bus *bus = mailbox->bus;
    pl_turn_take(&bus->log->turn, bus->seams);
    *out = mailbox->loss;
    mailbox->loss = (struct pl_loss){ 0 };
    atomic_store_explicit(&mailbox->lost, false, memory_order_relaxed);
    pl_turn_give(&bus->log->turn, bus->seams);
    if (out->count > 0) {
        pl_count_shared(&mailbox->counts.dropped, out->count);
    }
    return out->count > 0;
}

// Takes the ring's next entry. False: it is empty.
static bool take_entry(struct pl_mailbox *mailbox, uint64_t *out)
{
    uint64_t head = atomic_load_explicit(&mailbox->head, memory_order_relaxed);
    for (;;) {
        if ((int64_t)(mailbox->tail_seen - head) <= 0) {
            mailbox->tail_seen = atomic_load_explicit(&mailbox->tail, memory_order_acquire);
        }
        if ((int64_t)(mailbox->tail_seen - head) <= 0) {
            return false;
        }
        uint64_t entry =
            atomic_load_explicit(&mailbox->ring[head & mailbox->mask], memory_order_relaxed);
        // Before the head moves: whoever looks for the floor finds one or the other.
        atomic_store_explicit(&mailbox->floor, entry >> 4, memory_order_relaxed);
        if (mailbox->overflow != PEAL_DROP_OLDEST) {
            atomic_store_explicit(&mailbox->head, head + 1, memory_order_release);
            *out = entry;
            return true;
        }
        // The producer may drop this entry meanwhile.
        if (atomic_compare_exchange_strong_explicit(&mailbox->head, &head, head + 1,
                                                    memory_order_acq_rel, memory_order_relaxed)) {
            *out = entry;
            return true;
        }
    }
}

// Is the ring's next entry a position below `end`?
static bool next_is_below(struct pl_mailbox *mailbox, uint64_t end)
{
    uint64_t head = atomic_load_explicit(&mailbox->head, memory_order_relaxed);
    return head != atomic_load_explicit(&mailbox->tail, memory_order_acquire) &&
           atomic_load_explicit(&mailbox->ring[head & mailbox->mask], memory_order_relaxed) >> 4 <
               end;
}

// NULL with a *hole: what was next has been forgotten, under memory pressure; the subscription is
// to be told before it is given more.
static const struct pl_frame *draw_from_ring(struct pl_mailbox *mailbox, bool *hole)
{
    uint64_t entry;
    while (take_entry(mailbox, &entry)) {
        uint64_t position = entry >> 4;
        const struct pl_frame *frame = pl_cursor_at(&mailbox->place, mailbox->bus->log, position);
        if (frame && frame->position == position) {
            return frame;
        }
        pl_mailbox_lose(mailbox, 1, position, position);
        *hole = true;
        if (!next_is_below(mailbox, frame ? frame->position : UINT64_MAX)) {
            return NULL;
        }
    }
    return NULL;
}

static const struct pl_frame *draw_from_log(struct pl_mailbox *mailbox, bool *hole)
{
    struct pl_log *log = mailbox->bus->log;
    uint64_t position = atomic_load_explicit(&mailbox->cursor, memory_order_relaxed);
    for (;;) {
        if (position >= mailbox->end_seen) {
            // Not active: what has come since is not for it, or the push that says so is on its
            // way, and will say from where to read.
            if (!atomic_load_explicit(&mailbox->active, memory_order_acquire)) {
                return NULL;
            }
            position = atomic_load_explicit(&mailbox->cursor, memory_order_relaxed);
            mailbox->end_seen = pl_log_end(log);
        }
        if (position >= mailbox->end_seen) {
            return NULL;
        }
        const struct pl_frame *frame = pl_cursor_at(&mailbox->place, log, position);
        if (!frame || frame->position > position) {
            uint64_t next = frame ? frame->position : mailbox->end_seen;
            pl_mailbox_lose(mailbox, next - position, position, next - 1);
            atomic_store_explicit(&mailbox->cursor, next, memory_order_relaxed);
            *hole = true;
            return NULL;
        }
        position++;
        if (wants_type(mailbox, frame->type)) {
            atomic_store_explicit(&mailbox->floor, position - 1, memory_order_relaxed);
            // Release: the floor comes first.
            atomic_store_explicit(&mailbox->cursor, position, memory_order_release);
            mailbox->drawn++;
            return frame;
        }
        mailbox->passed++;
        atomic_store_explicit(&mailbox->cursor, position, memory_order_relaxed);
    }
}

const struct pl_frame *pl_mailbox_draw_slow(struct pl_mailbox *mailbox)
{
    // Acquire, and before the tail: once it is not live, the tail is final.
    bool live = atomic_load_explicit(&mailbox->live, memory_order_acquire);
    bool hole = false;
    const struct pl_frame *frame = draw_from_ring(mailbox, &hole);
    if (!frame && !live && !hole) {
        mailbox->reads_log = true;
        frame = draw_from_log(mailbox, &hole);
    }
    return frame; // NULL at a hole too: then there is a loss, and without telling it nobody rests
}

// A ring for the next live time: the first, a larger one, or NULL if it is large enough.
static _Atomic uint64_t *larger_ring(const struct pl_mailbox *mailbox, uint32_t *out_size)
{
    uint32_t size = mailbox->ring ? (mailbox->mask + 1) * 4 : RING_FIRST;
    if (has_exact_limit(mailbox) || size > ring_max(mailbox)) {
        size = ring_max(mailbox);
    }
    if (mailbox->ring && size <= mailbox->mask + 1) {
        return NULL;
    }
    *out_size = size;
    return pl_alloc(mailbox->bus->seams, size * sizeof *mailbox->ring);
}

// Reading the log oneself is as quick as a ring as long as most of it is wanted; and a limit on
// what waits, for those who asked to lose the rest, needs a ring to be counted in.
static bool should_go_live(struct pl_mailbox *mailbox)
{
    if (mailbox->mode == PEAL_INLINE ||
        atomic_load_explicit(&mailbox->live, memory_order_relaxed)) {
        return false;
    }
    bool sparse = mailbox->passed > mailbox->drawn * 4 + 64;
    mailbox->passed = 0;
    mailbox->drawn = 0;
    return sparse || has_exact_limit(mailbox);
}

void pl_mailbox_go_live(struct pl_mailbox *mailbox)
{
    struct peal_bus *bus = mailbox->bus;
    if (!should_go_live(mailbox)) {
        return;
    }
    uint32_t size = 0;
    _Atomic uint64_t *ring = larger_ring(mailbox, &size);
    pl_turn_take(&bus->log->turn, bus->seams);
    uint64_t end = atomic_load_explicit(&bus->log->end, memory_order_relaxed);
    bool caught_up = atomic_load_explicit(&mailbox->cursor, memory_order_relaxed) >= end;
    _Atomic uint64_t *old = NULL;
    if (caught_up && ring) {
        old = mailbox->ring;
        mailbox->ring = ring;
        mailbox->mask = size - 1;
        ring = NULL;
        atomic_store_explicit(&mailbox->head, 0, memory_order_relaxed);
        atomic_store_explicit(&mailbox->tail, 0, memory_order_relaxed);
        mailbox->head_seen = 0;
        mailbox->tail_seen = 0;
    }
    if (caught_up && mailbox->ring) { // without memory for a ring it goes on reading the log
        atomic_store_explicit(&mailbox->live, true, memory_order_relaxed);
        mailbox->reads_log = false;
    }
    pl_turn_give(&bus->log->turn, bus->seams);
    pl_release(bus->seams, (void *)old);
    pl_release(bus->seams, (void *)ring);
}

bool pl_mailbox_has_news(struct pl_mailbox *mailbox)
{
    if (mailbox->mode == PEAL_INLINE ||
        !atomic_load_explicit(&mailbox->active, memory_order_acquire)) {
        return false; // nothing was pushed to it; an inline one does not even read the log
    }
    if (!atomic_load_explicit(&mailbox->live, memory_order_acquire)) {
        return atomic_load_explicit(&mailbox->cursor, memory_order_relaxed) <
               pl_log_end(mailbox->bus->log);
    }
    return atomic_load_explicit(&mailbox->head, memory_order_relaxed) !=
           atomic_load_explicit(&mailbox->tail, memory_order_relaxed);
}

bool pl_mailbox_rest(struct pl_mailbox *mailbox)
{
    struct peal_bus *bus = mailbox->bus;
    pl_cursor_rest(&mailbox->place);
    pl_turn_take(&bus->log->turn, bus->seams);
    // What it has lost it is to be told, also when nothing comes after it.
    bool rests = !pl_mailbox_has_news(mailbox) &&
                 !atomic_load_explicit(&mailbox->lost, memory_order_relaxed);
    if (rests && atomic_load_explicit(&mailbox->active, memory_order_relaxed)) {
        atomic_store_explicit(&mailbox->active, false, memory_order_relaxed);
        pl_list_remove(&mailbox->active_link);
        atomic_store_explicit(&mailbox->floor, UINT64_MAX, memory_order_relaxed);
        atomic_store_explicit(&mailbox->mixed, false, memory_order_relaxed);
    }
    pl_turn_give(&bus->log->turn, bus->seams);
    return rests;
}

bool pl_mailbox_rest_shared(struct pl_mailbox *mailbox)
{
    if (pl_mailbox_is_alone(mailbox)) {
        return pl_mailbox_rest(mailbox);
    }
    pl_mutex_lock(&mailbox->lock, mailbox->seams);
    bool rests = pl_mailbox_rest(mailbox);
    pl_mutex_unlock(&mailbox->lock, mailbox->seams);
    return rests;
}

// ---- life ---------------------------------------------------------------------------------------

bool pl_mailbox_is_gone(struct pl_mailbox *mailbox)
{
    struct peal_bus *bus = mailbox->bus;
    pl_mutex_lock(&bus->runs.lock, bus->seams);
    bool gone = mailbox->forgotten;
    pl_mutex_unlock(&bus->runs.lock, bus->seams);
    return gone || atomic_load_explicit(&mailbox->overflowed, memory_order_acquire);
}

void pl_mailbox_ref(struct pl_mailbox *mailbox)
{
    atomic_fetch_add_explicit(&mailbox->refs, 1, memory_order_relaxed);
}

void pl_mailbox_unref(struct pl_mailbox *mailbox)
{
    if (!mailbox || atomic_fetch_sub_explicit(&mailbox->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    const struct pl_seams *seams = mailbox->seams; // the bus may be gone
    pl_cursor_rest(&mailbox->place);
    pl_hold_finish(mailbox);
    pl_pattern_free(mailbox->pattern);
    pl_settings_free(mailbox->settings, seams);
    pl_release(seams, (void *)mailbox->ring);
    pl_release(seams, mailbox->types);
    pl_release(seams, atomic_load(&mailbox->timings));
    pl_release(seams, mailbox->memory);
}
