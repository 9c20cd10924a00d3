// SPDX-License-Identifier: MIT
//
// Intake: what waits for a subscription, as positions in the log.
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
#include "bus/calls.h"

#include <string.h>

#define RING_FIRST 16

static uint32_t ring_max(const struct pl_intake *in)
{
    return in->mailbox->settings->options.mailbox;
}

static bool is_lossy(const struct pl_intake *in)
{
    return in->overflow == PEAL_DROP_OLDEST || in->overflow == PEAL_DROP_NEWEST ||
           in->overflow == PEAL_LATEST_PER_KEY;
}

// What waits for it is counted by its ring: it needs one of its full size, and from the start.
static bool has_exact_limit(const struct pl_intake *in)
{
    return is_lossy(in) || in->overflow == PEAL_FAIL;
}

// ---- the producer's side: with the turn ---------------------------------------------------------

static void activate(struct pl_intake *in)
{
    // Release: a consumer that sees it reads the log from where it is to.
    atomic_store_explicit(&in->active, true, memory_order_release);
    pl_list_add_tail(&in->mailbox->bus->active, &in->active_link);
}

static void put(struct pl_intake *in, uint64_t position, unsigned priority)
{
    uint64_t tail = atomic_load_explicit(&in->tail, memory_order_relaxed);
    atomic_store_explicit(&in->ring[tail & in->mask], position << 4 | priority,
                          memory_order_relaxed);
    atomic_store_explicit(&in->tail, tail + 1, memory_order_release);
}

static bool is_full(struct pl_intake *in)
{
    uint64_t tail = atomic_load_explicit(&in->tail, memory_order_relaxed);
    if (tail - in->head_seen > in->mask) {
        // Acquire: the consumer has read the entry before it moved its head.
        in->head_seen = atomic_load_explicit(&in->head, memory_order_acquire);
    }
    return tail - in->head_seen > in->mask;
}

void pl_intake_add_loss(struct pl_intake *in, uint64_t count, uint64_t first, uint64_t last)
{
    struct pl_loss *loss = &in->loss;
    loss->first = loss->count == 0 || first < loss->first ? first : loss->first;
    loss->last = last > loss->last ? last : loss->last;
    loss->count += count;
    atomic_store_explicit(&in->mailbox->lost, true, memory_order_relaxed);
}

static void drop_oldest_waiting(struct pl_intake *in)
{
    uint64_t head = atomic_load_explicit(&in->head, memory_order_relaxed);
    uint64_t entry = atomic_load_explicit(&in->ring[head & in->mask], memory_order_relaxed);
    // If the consumer was quicker there is room now, and nothing was lost.
    if (atomic_compare_exchange_strong_explicit(&in->head, &head, head + 1, memory_order_acq_rel,
                                                memory_order_relaxed)) {
        pl_intake_add_loss(in, 1, entry >> 4, entry >> 4);
    }
    in->head_seen = atomic_load_explicit(&in->head, memory_order_acquire);
}

// The ring is full. True: the consumer must be told.
static bool overflow(struct pl_intake *in, uint64_t position, unsigned priority)
{
    switch ((enum peal_overflow)in->overflow) {
    case PEAL_DROP_OLDEST:
        drop_oldest_waiting(in);
        put(in, position, priority);
        return false;
    case PEAL_DROP_NEWEST:
        pl_intake_add_loss(in, 1, position, position);
        return false;
    case PEAL_FAIL:
        if (in->mask + 1 >= ring_max(in)) {
            atomic_store_explicit(&in->mailbox->overflowed, true, memory_order_relaxed);
            return true;
        }
        break;
    case PEAL_CATCH_UP:
    case PEAL_LATEST_PER_KEY:
        break;
    }
    atomic_store_explicit(&in->cursor, position, memory_order_relaxed);
    // Release: who sees that it is not live sees the cursor and the last of the ring.
    atomic_store_explicit(&in->live, false, memory_order_release);
    return false;
}

bool pl_intake_push_slow(struct pl_intake *in, uint64_t position, unsigned priority)
{
    if (in->closed || atomic_load_explicit(&in->mailbox->overflowed, memory_order_relaxed)) {
        return false;
    }
    if (priority != PEAL_PRIORITY_DEFAULT) {
        atomic_store_explicit(&in->mixed, true, memory_order_relaxed);
    }
    bool wake = !atomic_load_explicit(&in->active, memory_order_relaxed);
    bool live = atomic_load_explicit(&in->live, memory_order_relaxed);
    pl_point(in->mailbox->bus->seams); // the log ends behind the event already
    if (wake && !live) {
        // Nothing was waiting, and nothing before this position is wanted.
        atomic_store_explicit(&in->cursor, position, memory_order_relaxed);
    }
    if (wake) {
        activate(in);
    }
    if (!live) {
        return wake;
    }
    if (is_full(in)) {
        return overflow(in, position, priority) || wake;
    }
    put(in, position, priority);
    return wake;
}

void pl_intake_forgotten(struct pl_intake *in, uint64_t first, uint64_t next)
{
    bool active = atomic_load_explicit(&in->active, memory_order_relaxed);
    if (in->closed || (active && !atomic_load_explicit(&in->live, memory_order_relaxed))) {
        return;
    }
    pl_count_shared(&in->forgotten, next - first);
    pl_intake_add_loss(in, next - first, first, next - 1);
    if (!active) {
        atomic_store_explicit(&in->cursor, next, memory_order_relaxed);
        activate(in);
    }
}

static uint64_t floor_of(const struct pl_intake *in)
{
    // Acquire: if the head has moved, so has the floor that was stored before.
    uint64_t head = atomic_load_explicit(&in->head, memory_order_acquire);
    uint64_t floor = atomic_load_explicit(&in->floor, memory_order_relaxed);
    if (head != atomic_load_explicit(&in->tail, memory_order_relaxed)) {
        uint64_t entry = atomic_load_explicit(&in->ring[head & in->mask], memory_order_relaxed);
        floor = entry >> 4 < floor ? entry >> 4 : floor;
    }
    if (!atomic_load_explicit(&in->live, memory_order_relaxed)) {
        uint64_t cursor = atomic_load_explicit(&in->cursor, memory_order_relaxed);
        floor = cursor < floor ? cursor : floor;
    }
    return floor;
}

uint64_t pl_intakes_floor(void *context)
{
    struct peal_bus *bus = context;
    uint64_t floor = UINT64_MAX;
    struct pl_intake *in;
    PL_LIST_EACH (in, &bus->active, active_link) {
        // Who asked to lose events rather than wait does not hold up the others.
        // Nor does a durable name that nobody has, nor one that PEAL_FAIL has stopped for good.
        if (!is_lossy(in) &&
            !atomic_load_explicit(&in->mailbox->overflowed, memory_order_relaxed) &&
            atomic_load_explicit(&in->mailbox->member_count, memory_order_relaxed) > 0) {
            uint64_t its = floor_of(in);
            floor = its < floor ? its : floor;
        }
    }
    return floor;
}

uint64_t pl_intakes_floor_of_remote(void *context)
{
    struct peal_bus *bus = context;
    bool much = pl_log_memory(bus->log) >= bus->log->limits.memory_max / 2;
    return much ? UINT64_MAX : pl_intakes_floor(bus);
}

// ---- the consumer's side ------------------------------------------------------------------------

// Does the mailbox want this type? Asked of the pattern once a type, remembered in a byte.
static bool wants_type(struct pl_intake *in, uint32_t type)
{
    if (type < in->types_size && in->types[type] != PL_TYPE_NOT_ASKED) {
        return in->types[type] == PL_TYPE_WANTED;
    }
    const struct peal_topic *topic = pl_topic_by_id(in->mailbox->bus, type);
    bool wanted = pl_pattern_match(in->mailbox->pattern, topic->type, topic->length);
    if (type >= in->types_size) {
        uint32_t size = (type | 63) + 1;
        uint8_t *grown = pl_resize(in->mailbox->bus->seams, in->types, size);
        if (!grown) {
            return wanted; // asked again next time
        }
        memset(grown + in->types_size, 0, size - in->types_size);
        in->types = grown;
        in->types_size = size;
    }
    in->types[type] = wanted ? PL_TYPE_WANTED : PL_TYPE_UNWANTED;
    return wanted;
}

// Takes the ring's next entry. False: it is empty.
static bool take_entry(struct pl_intake *in, uint64_t *out)
{
    uint64_t head = atomic_load_explicit(&in->head, memory_order_relaxed);
    for (;;) {
        if ((int64_t)(in->tail_seen - head) <= 0) {
            in->tail_seen = atomic_load_explicit(&in->tail, memory_order_acquire);
        }
        if ((int64_t)(in->tail_seen - head) <= 0) {
            return false;
        }
        uint64_t entry = atomic_load_explicit(&in->ring[head & in->mask], memory_order_relaxed);
        // Before the head moves: whoever looks for the floor finds one or the other.
        atomic_store_explicit(&in->floor, entry >> 4, memory_order_relaxed);
        if (in->overflow != PEAL_DROP_OLDEST) {
            atomic_store_explicit(&in->head, head + 1, memory_order_release);
            *out = entry;
            return true;
        }
        // The producer may drop this entry meanwhile.
        if (atomic_compare_exchange_strong_explicit(&in->head, &head, head + 1,
                                                    memory_order_acq_rel, memory_order_relaxed)) {
            *out = entry;
            return true;
        }
    }
}

// Is the ring's next entry a position below `end`?
static bool next_is_below(struct pl_intake *in, uint64_t end)
{
    uint64_t head = atomic_load_explicit(&in->head, memory_order_relaxed);
    return head != atomic_load_explicit(&in->tail, memory_order_acquire) &&
           atomic_load_explicit(&in->ring[head & in->mask], memory_order_relaxed) >> 4 < end;
}

// What is next cannot be read: nothing is passed over, the subscription waits for a person.
static void stop_reading(struct pl_intake *in, uint64_t position)
{
    atomic_store_explicit(&in->unreadable, position, memory_order_relaxed);
    // Relaxed: whoever runs it is us.
    atomic_store_explicit(&in->mailbox->paused, true, memory_order_relaxed);
}

// NULL with a *hole: what was next has been forgotten, under memory pressure; the subscription is
// to be told before it is given more.
static const struct pl_frame *draw_from_ring(struct pl_intake *in, bool *hole)
{
    uint64_t entry = atomic_load_explicit(&in->stuck, memory_order_relaxed); // ours
    if (entry) {
        // Release: whoever looks for what is needed finds one or the other.
        atomic_store_explicit(&in->floor, entry >> 4, memory_order_relaxed);
        atomic_store_explicit(&in->stuck, 0, memory_order_release);
    }
    while (entry || take_entry(in, &entry)) {
        uint64_t position = entry >> 4;
        const struct pl_frame *frame = pl_cursor_at(&in->place, in->mailbox->bus->log, position);
        if (frame && frame->position == position) {
            return frame;
        }
        if (!frame && in->place.err) {
            atomic_store_explicit(&in->stuck, entry, memory_order_relaxed);
            stop_reading(in, position);
            return NULL;
        }
        entry = 0;
        if (in->place.was_erased) {
            continue; // it is as if it had never been
        }
        pl_mailbox_miss(in->mailbox, 1, position, position);
        *hole = true;
        if (!next_is_below(in, frame ? frame->position : UINT64_MAX)) {
            return NULL;
        }
    }
    return NULL;
}

bool pl_intake_read(struct pl_intake *in, uint64_t position, const struct pl_frame **out)
{
    const struct pl_frame *frame = pl_cursor_at(&in->place, in->mailbox->bus->log, position);
    if (!frame && in->place.err) {
        stop_reading(in, position);
        return false;
    }
    *out = frame && frame->position == position ? frame : NULL;
    return true;
}

void pl_intake_seek(struct pl_intake *in, uint64_t position)
{
    struct pl_mailbox *mailbox = in->mailbox;
    struct peal_bus *bus = mailbox->bus;
    pl_cursor_rest(&in->place);
    pl_turn_take(&bus->log->turn, bus->seams);
    uint64_t end = atomic_load_explicit(&bus->log->end, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&in->tail, memory_order_relaxed);
    position = position < end ? position : end;
    atomic_store_explicit(&in->live, false, memory_order_relaxed);
    atomic_store_explicit(&in->head, tail, memory_order_relaxed);
    in->head_seen = tail;
    in->tail_seen = tail;
    atomic_store_explicit(&in->stuck, 0, memory_order_relaxed);
    atomic_store_explicit(&in->unreadable, 0, memory_order_relaxed);
    in->end_seen = 0;
    in->reads_log = false;
    in->loss = (struct pl_loss){ 0 };
    atomic_store_explicit(&mailbox->lost, false, memory_order_relaxed);
    atomic_store_explicit(&in->cursor, position, memory_order_relaxed);
    if (position < end && !in->closed && !atomic_load_explicit(&in->active, memory_order_relaxed)) {
        activate(in);
        bus->log->floor = position < bus->log->floor ? position : bus->log->floor;
    }
    pl_turn_give(&bus->log->turn, bus->seams);
}

uint64_t pl_intake_next(struct pl_intake *in, struct pl_loss *out)
{
    struct peal_bus *bus = in->mailbox->bus;
    pl_turn_take(&bus->log->turn, bus->seams);
    uint64_t next = atomic_load_explicit(&bus->log->end, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&in->head, memory_order_relaxed);
    if (atomic_load_explicit(&in->active, memory_order_relaxed) &&
        !atomic_load_explicit(&in->live, memory_order_relaxed)) {
        uint64_t cursor = atomic_load_explicit(&in->cursor, memory_order_relaxed);
        next = cursor < next ? cursor : next;
    }
    if (head != atomic_load_explicit(&in->tail, memory_order_relaxed)) {
        uint64_t first =
            atomic_load_explicit(&in->ring[head & in->mask], memory_order_relaxed) >> 4;
        next = first < next ? first : next;
    }
    uint64_t stuck = atomic_load_explicit(&in->stuck, memory_order_relaxed) >> 4;
    next = stuck && stuck < next ? stuck : next;
    *out = in->loss;
    pl_turn_give(&bus->log->turn, bus->seams);
    return next;
}

uint64_t pl_intake_needed(struct pl_intake *in)
{
    struct peal_bus *bus = in->mailbox->bus;
    pl_turn_take(&bus->log->turn, bus->seams);
    uint64_t needed = atomic_load_explicit(&bus->log->end, memory_order_relaxed);
    // Acquire: it is stuck no more, so the floor is that of what it was stuck at.
    uint64_t stuck = atomic_load_explicit(&in->stuck, memory_order_acquire) >> 4;
    needed = stuck && stuck < needed ? stuck : needed;
    if (atomic_load_explicit(&in->active, memory_order_relaxed)) {
        uint64_t floor = floor_of(in);
        needed = floor < needed ? floor : needed;
    }
    pl_turn_give(&bus->log->turn, bus->seams);
    return needed;
}

// How far it may read. A processor that reads in a row fetches ahead, and so takes lines from the
// publisher that this is about to write: up to four times the price of an event where the two are
// far apart. So it stops short of the end, unless the end stands still.
static uint64_t keep_distance(struct pl_intake *in, uint64_t position, uint64_t end)
{
    uint32_t distance = atomic_load_explicit(&in->distance, memory_order_relaxed);
    if (distance == 0 || position >= end) {
        return end;
    }
    if (end - position > distance) {
        return end - distance;
    }
    bool stands_still = end == in->end_held;
    in->end_held = end;
    return stands_still ? end : position;
}

static const struct pl_frame *draw_from_log(struct pl_intake *in, bool *hole)
{
    struct pl_log *log = in->mailbox->bus->log;
    uint64_t position = atomic_load_explicit(&in->cursor, memory_order_relaxed);
    for (;;) {
        if (position >= in->end_seen) {
            // Not active: what has come since is not for it, or the push that says so is on its
            // way, and will say from where to read.
            if (!atomic_load_explicit(&in->active, memory_order_acquire)) {
                return NULL;
            }
            position = atomic_load_explicit(&in->cursor, memory_order_relaxed);
            in->end_seen = keep_distance(in, position, pl_log_end(log));
        }
        if (position >= in->end_seen) {
            return NULL;
        }
        const struct pl_frame *frame = pl_cursor_at(&in->place, log, position);
        if (!frame && in->place.err) {
            stop_reading(in, position);
            return NULL;
        }
        if (!frame || frame->position > position) {
            uint64_t next = frame ? frame->position : in->end_seen;
            uint64_t first = position, gone = next - position;
            position = next;
            atomic_store_explicit(&in->cursor, next, memory_order_relaxed);
            if (gone > in->place.erased) { // what was erased is as if it had never been
                pl_mailbox_miss(in->mailbox, gone - in->place.erased, first, next - 1);
                *hole = true;
                return NULL;
            }
            continue;
        }
        position++;
        if (wants_type(in, frame->type)) {
            atomic_store_explicit(&in->floor, position - 1, memory_order_relaxed);
            // Release: the floor comes first.
            atomic_store_explicit(&in->cursor, position, memory_order_release);
            in->drawn++;
            return frame;
        }
        in->passed++;
        atomic_store_explicit(&in->cursor, position, memory_order_relaxed);
    }
}

const struct pl_frame *pl_intake_draw_slow(struct pl_intake *in)
{
    // Acquire, and before the tail: once it is not live, the tail is final.
    bool live = atomic_load_explicit(&in->live, memory_order_acquire);
    bool hole = false;
    const struct pl_frame *frame = draw_from_ring(in, &hole);
    if (!frame && !live && !hole && !atomic_load_explicit(&in->stuck, memory_order_relaxed)) {
        in->reads_log = true;
        frame = draw_from_log(in, &hole);
    }
    return frame; // NULL at a hole too: then there is a loss, and without telling it nobody rests
}

// A ring for the next live time: the first, a larger one, or NULL if it is large enough.
static _Atomic uint64_t *larger_ring(const struct pl_intake *in, uint32_t *out_size)
{
    uint32_t size = in->ring ? (in->mask + 1) * 4 : RING_FIRST;
    if (has_exact_limit(in) || size > ring_max(in)) {
        size = ring_max(in);
    }
    if (in->ring && size <= in->mask + 1) {
        return NULL;
    }
    *out_size = size;
    return pl_alloc(in->mailbox->bus->seams, size * sizeof *in->ring);
}

// Reading the log oneself is as quick as a ring as long as most of it is wanted; and a limit on
// what waits, for those who asked to lose the rest, needs a ring to be counted in.
static bool should_go_live(struct pl_intake *in)
{
    if (atomic_load_explicit(&in->live, memory_order_relaxed)) {
        return false;
    }
    bool sparse = in->passed > in->drawn * 4 + 64;
    in->passed = 0;
    in->drawn = 0;
    return sparse || has_exact_limit(in);
}

void pl_intake_go_live(struct pl_intake *in)
{
    struct peal_bus *bus = in->mailbox->bus;
    if (!should_go_live(in)) {
        return;
    }
    uint32_t size = 0;
    _Atomic uint64_t *ring = larger_ring(in, &size);
    pl_turn_take(&bus->log->turn, bus->seams);
    uint64_t end = atomic_load_explicit(&bus->log->end, memory_order_relaxed);
    bool caught_up = atomic_load_explicit(&in->cursor, memory_order_relaxed) >= end;
    _Atomic uint64_t *old = NULL;
    if (caught_up && ring) {
        old = in->ring;
        in->ring = ring;
        in->mask = size - 1;
        ring = NULL;
        atomic_store_explicit(&in->head, 0, memory_order_relaxed);
        atomic_store_explicit(&in->tail, 0, memory_order_relaxed);
        in->head_seen = 0;
        in->tail_seen = 0;
    }
    if (caught_up && in->ring) { // without memory for a ring it goes on reading the log
        atomic_store_explicit(&in->live, true, memory_order_relaxed);
        in->reads_log = false;
    }
    pl_turn_give(&bus->log->turn, bus->seams);
    pl_release(bus->seams, (void *)old);
    pl_release(bus->seams, (void *)ring);
}

uint64_t pl_intake_news(const struct pl_intake *in)
{
    if (!atomic_load_explicit(&in->active, memory_order_acquire)) {
        return 0; // nothing was pushed to it
    }
    if (!atomic_load_explicit(&in->live, memory_order_acquire)) {
        uint64_t end = pl_log_end(in->mailbox->bus->log);
        uint64_t cursor = atomic_load_explicit(&in->cursor, memory_order_relaxed);
        return end > cursor ? end - cursor : 0;
    }
    return atomic_load_explicit(&in->tail, memory_order_relaxed) -
           atomic_load_explicit(&in->head, memory_order_relaxed) +
           (atomic_load_explicit(&in->stuck, memory_order_relaxed) != 0);
}

void pl_intake_say_unreadable(struct pl_intake *in)
{
    if (!in || !atomic_load_explicit(&in->unreadable, memory_order_relaxed)) {
        return;
    }
    uint64_t position = atomic_exchange_explicit(&in->unreadable, 0, memory_order_relaxed);
    if (position) { // else somebody had it sought elsewhere meanwhile
        pl_bus_say(
            in->mailbox->bus, PEAL_LEVEL_ERROR,
            "subscription %s: is paused, since it cannot read the log at position %llu (%s); "
            "see to it, and resume the subscription",
            pl_mailbox_who(in->mailbox), (unsigned long long)position, peal_error_sentence());
    }
}
