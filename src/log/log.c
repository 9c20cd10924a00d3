// SPDX-License-Identifier: MIT
//
// Appending and forgetting.
//
// Happy path: the frame fits the tail; write it, note its offset, done. When the tail is full the
// log *rolls*: it drops what the history's limits allow, takes a spare segment or a new one, and
// goes on. A dropped segment nobody holds becomes a spare; one that is held leaves the log and is
// freed by whoever lets go of it last.
//
// What must stay true: segments follow each other without a hole; only the last has room; `memory`
// counts every byte until it is freed, so that memory_max is a limit on the process and not on the
// log's opinion.
//
// Tried and dropped: claiming space under the turn and copying outside it. Two atomic operations
// cost 10 ns and the copy of a small event 4; and a claimed hole must be waited for by every
// reader.
#include "log/log.h"

#include "base/error.h"

#include <assert.h>
#include <string.h>

#define SEGMENT_DEFAULT 262144
#define SEGMENT_LARGEST 4194304

enum peal_err pl_log_init(struct pl_log *log, const struct pl_seams *seams,
                          const struct pl_log_limits *limits)
{
    *log = (struct pl_log){ .seams = seams, .limits = *limits };
    // About 256 segments, so that forgetting one is forgetting little.
    size_t size = SEGMENT_DEFAULT;
    while (size < SEGMENT_LARGEST && limits->memory_max / size > 1024) {
        size *= 2;
    }
    log->segment_size = size;
    atomic_init(&log->end, 1);
    pl_clock_init(&log->clock, seams);
    log->capacity = 16;
    log->segments = pl_alloc(seams, log->capacity * sizeof(struct pl_segment *));
    log->budget = pl_budget_create(seams);
    if (!log->segments || !log->budget) {
        pl_log_finish(log);
        return pl_fail(PEAL_ENOMEM, "no memory to open a log");
    }
    pl_state_init(&log->state, seams);
    return PEAL_OK;
}

void pl_log_begin(struct pl_log *log, uint64_t end, int64_t newest)
{
    atomic_store_explicit(&log->end, end, memory_order_relaxed);
    log->clock.last = newest;
}

static struct pl_segment **slot(const struct pl_log *log, size_t index)
{
    return &log->segments[(log->oldest + index) & (log->capacity - 1)];
}

void pl_log_finish(struct pl_log *log)
{
    for (size_t i = 0; i < log->count; i++) {
        pl_segment_unref(*slot(log, i)); // freed, or left to who holds it
    }
    while (log->spare) {
        struct pl_segment *segment = log->spare;
        log->spare = segment->next_spare;
        log->spare_count--;
        pl_segment_unref(segment);
    }
    if (log->state.seams) {
        pl_state_finish(&log->state);
    }
    pl_budget_unref(log->budget, log->seams);
    pl_release(log->seams, log->segments);
    log->budget = NULL;
    log->segments = NULL;
    log->count = 0;
    log->tail = NULL;
}

// ---- forgetting ---------------------------------------------------------------------------------

static void drop_oldest(struct pl_log *log)
{
    struct pl_segment *segment = *slot(log, 0);
    log->oldest = (log->oldest + 1) & (log->capacity - 1);
    log->count--;
    // Acquire: pairs with the release of the last reader, whose reads come before our reuse. Only
    // the turn's holder hands out new references, so one is ours and stays one.
    if (atomic_load_explicit(&segment->refs, memory_order_acquire) == 1) {
        pl_segment_empty(segment);
        segment->next_spare = log->spare;
        log->spare = segment;
        log->spare_count++;
    } else {
        pl_segment_unref(segment);
    }
}

// Have the history's limits no more use for the oldest segment?
static bool beyond_history(struct pl_log *log, uint64_t bytes_behind)
{
    if (!log->limits.history) {
        return true;
    }
    const struct pl_segment *oldest = *slot(log, 0);
    uint64_t end = atomic_load_explicit(&log->end, memory_order_relaxed);
    if (end - pl_segment_end(oldest) >= log->limits.history_events ||
        bytes_behind >= log->limits.history_bytes) {
        return true;
    }
    return log->limits.history_ns != UINT64_MAX &&
           log->clock.last - oldest->newest > (int64_t)log->limits.history_ns;
}

static bool nobody_needs(struct pl_log *log, const struct pl_segment *segment)
{
    if (pl_segment_end(segment) <= log->floor) {
        return true;
    }
    // Who needs nothing today may need what is appended from now on.
    uint64_t end = atomic_load_explicit(&log->end, memory_order_relaxed);
    uint64_t floor = log->find_floor ? log->find_floor(log->floor_context) : end;
    log->floor = floor < end ? floor : end;
    return pl_segment_end(segment) <= log->floor;
}

// May the oldest segment go, whatever the history's limits say? Not while it has events of a batch
// that is still being appended: they are not pushed yet.
static bool may_drop(struct pl_log *log)
{
    uint64_t end = atomic_load_explicit(&log->end, memory_order_relaxed);
    return log->count > 0 && pl_segment_end(*slot(log, 0)) <= end &&
           (log->limits.drop_oldest || nobody_needs(log, *slot(log, 0)));
}

size_t pl_log_retain(struct pl_log *log)
{
    size_t freed = 0;
    // The tail stays: it is being filled.
    while (log->count > 1 && beyond_history(log, (uint64_t)(log->count - 1) * log->segment_size) &&
           nobody_needs(log, *slot(log, 0))) {
        freed += log->segment_size + (*slot(log, 0))->outside_bytes;
        drop_oldest(log);
    }
    return freed;
}

uint64_t pl_log_streams_from(const struct pl_log *log)
{
    if (log->past.read) {
        return 0; // what is stored is not forgotten
    }
    return log->count ? (*slot(log, 0))->first : 0;
}

uint64_t pl_log_first(struct pl_log *log, uint64_t end)
{
    if (log->past.read) {
        uint64_t first = log->past.first(log->past.context);
        return first < end ? first : end;
    }
    if (!log->limits.history) {
        return end;
    }
    pl_turn_take(&log->turn, log->seams);
    uint64_t first = log->count ? (*slot(log, 0))->first : end;
    pl_turn_give(&log->turn, log->seams);
    if (end - first > log->limits.history_events) {
        first = end - log->limits.history_events;
    }
    if (log->limits.history_ns != UINT64_MAX) {
        int64_t now = log->seams->realtime(log->seams->world);
        uint64_t young = end;
        // Without a past it reads nothing, and cannot fail.
        (void)pl_log_find_time(&young, log, now - (int64_t)log->limits.history_ns);
        first = young > first ? young : first;
    }
    return first < end ? first : end;
}

// ---- appending ----------------------------------------------------------------------------------

static bool grow_ring(struct pl_log *log)
{
    size_t capacity = log->capacity * 2;
    struct pl_segment **grown = pl_alloc(log->seams, capacity * sizeof(struct pl_segment *));
    if (!grown) {
        return false;
    }
    for (size_t i = 0; i < log->count; i++) {
        grown[i] = *slot(log, i);
    }
    pl_release(log->seams, log->segments);
    log->segments = grown;
    log->capacity = capacity;
    log->oldest = 0;
    return true;
}

// Is there room for another segment below memory_max? Forgets what nobody needs to make it.
static bool make_room(struct pl_log *log, size_t bytes)
{
    if (!log->undoable) {
        (void)pl_log_retain(log); // how much does not matter here
    }
    while (!log->spare && pl_log_memory(log) + bytes > log->limits.memory_max) {
        if (log->count <= 1 || !may_drop(log)) {
            return false;
        }
        drop_oldest(log);
    }
    return true;
}

static enum peal_err roll(struct pl_log *log, uint64_t position)
{
    size_t bytes = pl_segment_bytes(log->segment_size);
    if (!make_room(log, bytes)) {
        return PEAL_EAGAIN; // the publisher says what it is about
    }
    if (log->count == log->capacity && !grow_ring(log)) {
        return pl_fail(PEAL_ENOMEM, "no memory for the list of segments");
    }
    struct pl_segment *segment = log->spare;
    if (segment) {
        log->spare = segment->next_spare;
        log->spare_count--;
    } else {
        segment = pl_segment_create(log->seams, log->budget, log->segment_size);
        if (!segment) {
            return pl_fail(PEAL_ENOMEM, "no memory for a segment of %zu bytes", log->segment_size);
        }
    }
    pl_segment_reset(segment, position);
    *slot(log, log->count) = segment;
    log->count++;
    log->tail = segment;
    return PEAL_OK;
}

struct pl_outside_block *pl_outside_copy(const struct pl_seams *seams, const void *data,
                                         size_t size)
{
    struct pl_outside_block *block = pl_alloc(seams, sizeof *block + size);
    if (block) {
        block->next = NULL;
        block->size = size;
        memcpy(block + 1, data, size);
    }
    return block;
}

static void free_spare(struct pl_log *log)
{
    struct pl_segment *segment = log->spare;
    log->spare = segment->next_spare;
    log->spare_count--;
    pl_segment_unref(segment);
}

// Makes room for a block. The tail may go too: it has all the blocks when small frames lead to
// large data. One spare segment stays, to be the next tail.
static bool outside_fits(struct pl_log *log, const struct pl_outside_block *block)
{
    if (pl_log_memory(log) + block->size > log->limits.memory_max) {
        (void)pl_log_retain(log); // the loop looks at what that freed
    }
    while (pl_log_memory(log) + block->size > log->limits.memory_max) {
        if (log->spare_count > 1 || (log->spare && log->count > 0)) {
            free_spare(log);
        } else if (may_drop(log)) {
            drop_oldest(log);
            log->tail = log->count ? log->tail : NULL;
        } else {
            return false;
        }
    }
    return true;
}

// Has the tail so much large data that it is better forgotten in parts?
static bool is_heavy(const struct pl_log *log, const struct pl_segment *tail)
{
    uint64_t share = log->limits.memory_max / 16;
    uint64_t least = 4 * (uint64_t)log->segment_size;
    return tail->outside_bytes >= (share > least ? share : least);
}

enum peal_err pl_log_make_ready(struct pl_segment **out, struct pl_log *log, size_t size,
                                struct pl_outside_block *outside)
{
    if (outside && !outside_fits(log, outside)) {
        return PEAL_EAGAIN;
    }
    struct pl_segment *segment = log->tail;
    uint64_t position =
        segment ? pl_segment_end(segment) : atomic_load_explicit(&log->end, memory_order_relaxed);
    bool fits = segment && pl_segment_fits(segment, size);
    if (__builtin_expect(!fits || (outside && is_heavy(log, segment)), 0)) {
        enum peal_err err = roll(log, position);
        if (err && !fits) {
            return err;
        }
    }
    *out = log->tail;
    if (outside) {
        pl_segment_own(log->tail, outside);
    }
    return PEAL_OK;
}

static enum peal_err append_at(struct pl_log *log, const struct pl_append *append, uint64_t version,
                               int64_t recorded, const struct pl_frame **out)
{
    size_t size = pl_frame_size(append->attributes, append->message->size, append->outside != NULL);
    struct pl_segment *segment;
    enum peal_err err = pl_log_make_ready(&segment, log, size, append->outside);
    if (__builtin_expect(err != PEAL_OK, 0)) {
        return err;
    }
    struct pl_stamp stamp = { .position = pl_segment_end(segment),
                              .recorded = recorded,
                              .version = version,
                              .type = append->type,
                              .hops = append->hops };
    if (append->outside) {
        stamp.outside = append->outside + 1;
    }
    struct pl_frame *frame = pl_segment_next(segment);
    pl_frame_write(frame, append->message, append->attributes, &stamp);
    pl_segment_commit(segment, frame);
    *out = frame;
    return PEAL_OK;
}

// The clock was set back: the event is recorded when the one before it was, and happened now.
static enum peal_err append_behind(struct pl_log *log, const struct pl_append *append,
                                   uint64_t version, const struct pl_frame **out)
{
    struct peal_message message = *append->message;
    struct pl_append timed = *append;
    message.time_ns = log->seams->realtime(log->seams->world);
    timed.message = &message;
    enum peal_err err = pl_message_check(&message, &timed.attributes);
    return err ? err : append_at(log, &timed, version, log->clock.last, out);
}

enum peal_err pl_log_append(struct pl_log *log, const struct pl_append *append, uint64_t version,
                            const struct pl_frame **out)
{
    uint64_t counter = append->counter ? append->counter : pl_clock_counter();
    int64_t recorded = pl_clock_at(&log->clock, counter);
    if (__builtin_expect(log->clock.behind, 0) && !append->message->time_ns) {
        return append_behind(log, append, version, out);
    }
    return append_at(log, append, version, recorded, out);
}

// ---- what another log has given its positions ---------------------------------------------------

void pl_log_restart(struct pl_log *log, uint64_t end)
{
    while (log->count > 0) {
        drop_oldest(log);
    }
    log->tail = NULL;
    pl_log_publish(log, end);
}

void pl_log_leave_out(struct pl_log *log, uint64_t end)
{
    log->tail = NULL; // the next segment begins behind the hole
    pl_log_publish(log, end);
}

// Positions up to one have no event.
static enum peal_err pass_over(struct pl_log *log, uint64_t position)
{
    struct pl_segment *segment = log->tail;
    uint64_t next =
        segment ? pl_segment_end(segment) : atomic_load_explicit(&log->end, memory_order_relaxed);
    for (; next < position; next++) {
        enum peal_err err = pl_log_make_ready(&segment, log, 0, NULL);
        if (err) {
            return err;
        }
        pl_segment_commit_erased(segment);
    }
    return PEAL_OK;
}

enum peal_err pl_log_take(struct pl_log *log, const struct pl_frame *frame,
                          struct pl_outside_block *outside)
{
    struct pl_segment *segment = NULL;
    enum peal_err err = pass_over(log, frame->position);
    err = err ? err : pl_log_make_ready(&segment, log, frame->length, outside);
    if (err) {
        return err;
    }
    struct pl_frame *own = pl_segment_next(segment);
    memcpy(own, frame, frame->length);
    log->clock.last = frame->recorded > log->clock.last ? frame->recorded : log->clock.last;
    pl_segment_commit(segment, own);
    return PEAL_OK;
}

// Above this it is not worth a look at each.
#define PASS_MAX 65536

void pl_log_pass(struct pl_log *log, uint64_t end)
{
    if (end - atomic_load_explicit(&log->end, memory_order_relaxed) > PASS_MAX ||
        pass_over(log, end)) {
        pl_log_restart(log, end);
    } else {
        pl_log_publish(log, end);
    }
}

// ---- undoing a batch ----------------------------------------------------------------------------

struct pl_log_mark pl_log_mark(const struct pl_log *log)
{
    const struct pl_segment *tail = log->tail;
    struct pl_log_mark mark = { .segments = log->count };
    if (tail) {
        mark.used = tail->used;
        mark.events = atomic_load_explicit(&tail->count, memory_order_relaxed);
        mark.newest = tail->newest;
        mark.outside = tail->outside;
    }
    return mark;
}

// Rolling on the way may have dropped old segments, if memory was full: those are gone.
void pl_log_rewind(struct pl_log *log, const struct pl_log_mark *mark)
{
    uint64_t end = atomic_load_explicit(&log->end, memory_order_relaxed);
    while (log->count > 0 && (*slot(log, log->count - 1))->first >= end) {
        struct pl_segment *segment = *slot(log, log->count - 1);
        pl_segment_disown(segment, NULL);
        pl_segment_reset(segment, 0);
        segment->next_spare = log->spare;
        log->spare = segment;
        log->spare_count++;
        log->count--;
    }
    log->tail = log->count ? *slot(log, log->count - 1) : NULL;
    if (log->tail && pl_segment_end(log->tail) > end) {
        pl_segment_disown(log->tail, mark->outside);
        pl_segment_truncate(log->tail, mark->events, mark->used);
        log->tail->newest = mark->newest;
    }
}

// ---- finding ------------------------------------------------------------------------------------

struct pl_segment *pl_log_find(const struct pl_log *log, uint64_t position)
{
    if (log->count == 0 || position >= pl_segment_end(*slot(log, log->count - 1))) {
        return NULL;
    }
    size_t low = 0, high = log->count - 1; // the answer lies in low..high
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (position < pl_segment_end(*slot(log, middle))) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return *slot(log, low);
}

// The first position from one on, below `high`, that has an event; `high` if there is none.
static uint64_t next_event(const struct pl_segment *segment, uint64_t position, uint64_t high)
{
    while (position < high && !pl_segment_frame(segment, position)) {
        position++;
    }
    return position;
}

// The first position of a segment recorded at or after a time, or what was erased before it: time
// does not fall within the log.
static uint64_t find_in_segment(const struct pl_segment *segment, int64_t time_ns)
{
    uint64_t low = segment->first, high = pl_segment_end(segment);
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        uint64_t event = next_event(segment, middle, high);
        const struct pl_frame *frame = event < high ? pl_segment_frame(segment, event) : NULL;
        if (frame && frame->recorded < time_ns) {
            low = event + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

// The stretch of the past that has the first event from a position on, below `high`. *out NULL:
// there is none.
static enum peal_err read_event(struct pl_segment **out, struct pl_log *log, uint64_t position,
                                uint64_t high)
{
    struct pl_segment *segment = NULL;
    enum peal_err err = PEAL_OK;
    while (!err && position < high) {
        err = log->past.read(log->past.context, &segment, position);
        if (err || !segment || segment->first >= high) {
            break;
        }
        uint64_t end = pl_segment_end(segment);
        position = position > segment->first ? position : segment->first;
        if (next_event(segment, position, end) < end) {
            *out = segment;
            return PEAL_OK;
        }
        position = end; // all of it was erased
        pl_segment_unref(segment);
        segment = NULL;
    }
    pl_segment_unref(segment);
    *out = NULL;
    return err;
}

// Looks in [low, high) of the past, as far as it is not in memory.
static enum peal_err find_in_past(uint64_t *out, struct pl_log *log, uint64_t high, int64_t time_ns)
{
    uint64_t low = log->past.first(log->past.context);
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        struct pl_segment *segment = NULL;
        enum peal_err err = read_event(&segment, log, middle, high);
        if (err) {
            return err;
        }
        if (!segment) {
            high = middle; // nothing is left from there on
        } else if (segment->newest < time_ns) {
            low = pl_segment_end(segment) > middle ? pl_segment_end(segment) : middle + 1;
        } else {
            uint64_t found = find_in_segment(segment, time_ns);
            high = found < high ? found : high;
            // At its beginning it may be an earlier one, of a stretch before.
            low = found > segment->first ? found : low;
        }
        pl_segment_unref(segment);
    }
    *out = high;
    return PEAL_OK;
}

enum peal_err pl_log_find_time(uint64_t *out, struct pl_log *log, int64_t time_ns)
{
    pl_turn_take(&log->turn, log->seams);
    uint64_t end = atomic_load_explicit(&log->end, memory_order_relaxed);
    uint64_t first = log->count ? (*slot(log, 0))->first : end;
    uint64_t found = end;
    for (size_t i = 0; i < log->count; i++) {
        const struct pl_segment *segment = *slot(log, i);
        if (segment->newest >= time_ns) {
            found = find_in_segment(segment, time_ns);
            break;
        }
    }
    pl_turn_give(&log->turn, log->seams);
    found = found < end ? found : end;
    if (log->past.read && found == first) {
        enum peal_err err = find_in_past(&found, log, first, time_ns);
        if (err) {
            return err;
        }
    }
    *out = found;
    return PEAL_OK;
}
