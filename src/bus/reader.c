// SPDX-License-Identifier: MIT
//
// Reading back: queries and replay, as a cursor that walks the log and looks at each event.
//
// Where there are indexes (log/catalog.h) they say which positions may match, else all do. Each is
// then asked for every condition: query.h.
#include "bus/query.h"

#include "base/error.h"
#include "base/uuid.h"
#include "log/catalog.h"

#include <string.h>

struct peal_reader {
    struct peal_bus *bus;
    struct pl_query query;
    struct pl_lookup *lookup; // where there are indexes and they can help; else NULL
    bool by_time;             // the lookup is for an id that was made, by the time in it
    uint64_t again;           // a position that could not be read; 0: none
    struct pl_coming coming;  // what is picked next
    struct pl_need need;      // what of the log must stay
    struct pl_cursor place;
    struct pl_findings found; // where a service has the log: what it found last; place holds it
    uint32_t found_next;
    struct peal_event event;
    const struct peal_event *newer; // its newest form, where the log has an old one; a reference
    struct pl_call call;            // of a replay
    uint64_t first, end;            // the log, when it was opened
    uint64_t at;                    // forwards: the next position; backwards: one above it
    uint64_t given, cursor, skipped;
};

static void set_range(struct peal_reader *reader)
{
    const struct peal_query *query = &reader->query.asked;
    reader->end = pl_log_end(reader->bus->log);
    reader->first = pl_log_first(reader->bus->log, reader->end);
    if (query->from_position > reader->first) {
        reader->first = query->from_position < reader->end ? query->from_position : reader->end;
    }
    if (query->to_position && query->to_position < reader->end) {
        reader->end = query->to_position > reader->first ? query->to_position : reader->first;
    }
    reader->at = query->backwards ? reader->end : reader->first;
    if (query->after && query->backwards && query->after < reader->at) {
        reader->at = query->after;
    }
    if (query->after && !query->backwards && query->after >= reader->at) {
        reader->at = query->after < reader->end ? query->after + 1 : reader->end;
    }
    reader->cursor = query->after;
}

static bool wants_type(void *context, const char *name, size_t size)
{
    const struct pl_query *query = context;
    return pl_pattern_match(query->pattern, name, size);
}

// An id that nobody gave begins with the milliseconds of its event's time (UUIDv7, RFC 9562,
// section 5.7). False: this one was given.
static bool read_time(const char *id, int64_t *out)
{
    uint64_t ms = 0;
    for (int i = 0; i < 13; i++) {
        static const char digits[] = "0123456789abcdef";
        const char *digit = id[i] ? strchr(digits, id[i]) : NULL;
        if ((i == 8) != (id[i] == '-') || (!digit && i != 8)) {
            return false;
        }
        ms = i == 8 ? ms : ms << 4 | (uint64_t)(digit - digits);
    }
    *out = (int64_t)ms * PL_NS_PER_MS;
    return strlen(id) == PL_UUID_SIZE - 1 && id[14] == '7' && ms < INT64_MAX / PL_NS_PER_MS;
}

// Who asks for "" wants those that have none, which no index knows.
static const char *key_of(const char *text)
{
    return text && *text ? text : NULL;
}

// The last moment of a range that ends before `end`; 0: it does not end. Of one that ends before
// all moments it is the first, and what is found there is looked at once more.
static int64_t before(int64_t end)
{
    if (end == 0) {
        return INT64_MAX;
    }
    return end > INT64_MIN ? end - 1 : end;
}

// Looks for what indexes know of the query, if they do.
static enum peal_err begin_lookup(struct peal_reader *reader)
{
    const struct peal_query *asked = &reader->query.asked;
    struct pl_catalog *catalog = reader->bus->engine->catalog;
    struct pl_lookup_wanted wanted = {
        .first = asked->backwards ? reader->first : reader->at,
        .end = asked->backwards ? reader->at : reader->end,
        .backwards = asked->backwards,
        .keys = { [PL_KEY_SUBJECT] = key_of(asked->subject),
                  [PL_KEY_CORRELATION] = key_of(asked->correlation),
                  [PL_KEY_CAUSATION] = key_of(asked->causation) },
        .wants = reader->query.pattern ? wants_type : NULL,
        .context = &reader->query,
        .earliest = asked->from_time_ns ? asked->from_time_ns : INT64_MIN,
        .latest = before(asked->to_time_ns),
    };
    int64_t time;
    if (asked->id && reader->by_time && read_time(asked->id, &time)) {
        wanted.earliest = time > wanted.earliest ? time : wanted.earliest;
        time += PL_NS_PER_MS - 1;
        wanted.latest = time < wanted.latest ? time : wanted.latest;
    } else {
        wanted.keys[PL_KEY_ID] = key_of(asked->id);
    }
    bool helps = asked->id || asked->subject || asked->correlation || asked->causation ||
                 wanted.wants || asked->from_time_ns || asked->to_time_ns;
    if (!catalog || !helps) {
        return PEAL_OK;
    }
    pl_lookup_destroy(reader->lookup);
    reader->lookup = NULL;
    return pl_lookup_create(&reader->lookup, catalog, &wanted);
}

// No event was given that id: perhaps it was made for one. False: that was asked, or cannot be.
static bool try_by_time(struct peal_reader *reader)
{
    int64_t time;
    if (!reader->query.asked.id || reader->by_time || reader->given > 0 ||
        !read_time(reader->query.asked.id, &time)) {
        return false;
    }
    reader->by_time = true;
    set_range(reader);
    reader->place.err = begin_lookup(reader);
    return reader->place.err == PEAL_OK;
}

// Relaxed: who forgets may be late to know that less is needed.
static inline void say_need(struct peal_reader *reader)
{
    uint64_t position = reader->query.asked.backwards ? reader->first : reader->at;
    atomic_store_explicit(&reader->need.position, position, memory_order_relaxed);
}

// So far it is looked ahead at first, since who asks without a limit may stop; then further.
#define AHEAD_FIRST 16

// Positions that are picked after the one that is picked now; never more than the limit has use
// for.
static size_t tell_coming(const void *context, uint64_t *out, size_t max)
{
    const struct peal_reader *reader = context;
    uint64_t most = reader->given > 0 ? UINT64_MAX : AHEAD_FIRST;
    if (reader->query.asked.limit) {
        most = reader->query.asked.limit - reader->given - 1; // behind this one
    }
    return pl_lookup_ahead(reader->lookup, out, most < max ? (size_t)most : max);
}

enum peal_err peal_reader_open(peal_reader **out, peal_bus *bus, const struct peal_query *query)
{
    if (!out || !bus) {
        return pl_fail(PEAL_EINVAL, "peal_reader_open needs a bus and a place for the reader");
    }
    enum peal_err err = pl_bus_check_open(bus);
    if (err) {
        return err;
    }
    if (!bus->keeps) {
        return pl_fail(PEAL_EUNSUPPORTED,
                       "this bus keeps no events: there is nothing to read back");
    }
    err = pl_bus_refresh(bus);
    if (err) {
        return err;
    }
    struct peal_reader *reader = pl_new(bus->seams, sizeof *reader);
    if (!reader) {
        return pl_fail(PEAL_ENOMEM, "no memory for a reader");
    }
    reader->bus = bus;
    reader->coming = (struct pl_coming){ .tell = tell_coming, .context = reader };
    reader->place.coming = &reader->coming;
    err = pl_query_init(&reader->query, bus->seams, query);
    if (err) {
        peal_reader_close(reader);
        return err;
    }
    pl_need_enter(bus, &reader->need, 0); // all, until it is known
    set_range(reader);
    say_need(reader);
    err = begin_lookup(reader);
    if (err) {
        peal_reader_close(reader);
        return err;
    }
    *out = reader;
    return PEAL_OK;
}

static const struct pl_frame *step_back(struct peal_reader *reader)
{
    struct pl_log *log = reader->bus->log;
    while (reader->at > reader->first) {
        const struct pl_frame *frame = pl_cursor_back(&reader->place, log, reader->at - 1);
        if (!frame && reader->place.err) {
            return NULL;
        }
        reader->at--;
        if (frame && frame->position == reader->at) {
            return frame;
        }
        if (reader->place.was_erased) {
            continue; // nothing was there for anybody
        }
        // Forgotten meanwhile, and so is all before it; or, of what is stored, damaged.
        bool one = log->past.read && pl_log_first(log, reader->end) <= reader->at;
        uint64_t gone = one ? 1 : reader->at + 1 - reader->first;
        reader->skipped += gone;
        reader->at -= gone - 1;
    }
    return NULL;
}

// The next position that may match.
static uint64_t look_up(struct peal_reader *reader, bool *dense)
{
    uint64_t position = reader->again;
    *dense = false;
    while (!position) {
        reader->place.err = pl_lookup_next(reader->lookup, &position, dense);
        if (reader->place.err || (!position && !try_by_time(reader))) {
            break;
        }
    }
    reader->again = 0;
    return position;
}

static const struct pl_frame *step_found(struct peal_reader *reader)
{
    struct pl_log *log = reader->bus->log;
    bool dense;
    for (;;) {
        uint64_t position = look_up(reader, &dense);
        if (!position) {
            if (!reader->place.err) {
                reader->at = reader->query.asked.backwards ? reader->first : reader->end;
            }
            return NULL;
        }
        bool backwards = reader->query.asked.backwards;
        const struct pl_frame *frame = !dense      ? pl_cursor_pick(&reader->place, log, position)
                                       : backwards ? pl_cursor_back(&reader->place, log, position)
                                                   : pl_cursor_at(&reader->place, log, position);
        if (!frame && reader->place.err) {
            reader->again = position;
            return NULL;
        }
        reader->at = backwards ? position : position + 1;
        if (frame && frame->position == position) {
            return frame;
        }
        reader->skipped += !reader->place.was_erased; // forgotten meanwhile, or damaged
    }
}

// The next page of what a service finds. False: it cannot be had (the error is the place's).
static bool find_more(struct peal_reader *reader)
{
    const struct peal_query *asked = &reader->query.asked;
    struct peal_query query = *asked;
    query.pattern = reader->query.pattern ? pl_pattern_text(reader->query.pattern) : NULL;
    query.from_position = reader->first;
    query.to_position = reader->end;
    query.after = reader->found.cursor ? reader->found.cursor : asked->after;
    query.limit = asked->limit && !asked->filter ? asked->limit - reader->given : 0;
    struct pl_findings found = { .cursor = query.after };
    pl_cursor_rest(&reader->place);
    reader->place.err = reader->bus->engine->ops->find(reader->bus->engine, &query, &found);
    if (reader->place.err) {
        return false;
    }
    reader->place.segment = found.segment; // given
    found.is_last = found.is_last || found.count == 0;
    reader->found = found;
    reader->found_next = 0;
    return true;
}

// What a service found.
static const struct pl_frame *step_there(struct peal_reader *reader)
{
    struct pl_findings *found = &reader->found;
    while (reader->found_next >= found->count) {
        if (found->is_last || reader->first >= reader->end) {
            reader->at = reader->query.asked.backwards ? reader->first : reader->end;
            return NULL;
        }
        if (!find_more(reader)) {
            return NULL;
        }
    }
    const struct pl_frame *frame = pl_segment_frame(reader->place.segment, reader->found_next++);
    reader->at = reader->query.asked.backwards ? frame->position : frame->position + 1;
    return frame;
}

// The next frame in the reader's direction. NULL: the end or, if its place has an error, that.
static const struct pl_frame *step(struct peal_reader *reader)
{
    struct pl_log *log = reader->bus->log;
    reader->place.err = PEAL_OK;
    if (pl_is_remote(reader->bus)) {
        return step_there(reader);
    }
    if (reader->lookup) {
        return step_found(reader);
    }
    if (reader->query.asked.backwards) {
        return step_back(reader);
    }
    if (reader->at >= reader->end) {
        return NULL;
    }
    const struct pl_frame *frame = pl_cursor_at(&reader->place, log, reader->at);
    if (!frame && reader->place.err) {
        return NULL;
    }
    uint64_t found = frame && frame->position < reader->end ? frame->position : reader->end;
    uint64_t gone = found - reader->at;
    if (__builtin_expect(gone > 0, 0)) { // not those that were erased
        reader->skipped += gone > reader->place.erased ? gone - reader->place.erased : 0;
    }
    reader->at = found < reader->end ? found + 1 : found;
    return found < reader->end ? frame : NULL;
}

// How a walk ends: at an event, at the end, because it was told to look at no more for now, or
// because the log cannot be read (the error is the place's).
enum walk_end { WALK_EVENT, WALK_END, WALK_PAUSE, WALK_FAILED };

// The event in its newest form.
static __attribute__((noinline)) enum walk_end renew(struct peal_reader *reader,
                                                     struct pl_upcasts *upcasts)
{
    reader->place.err = upcasts->run(&reader->newer, upcasts, &reader->event);
    if (!reader->place.err && reader->newer) {
        pl_event_view(&reader->event, reader->newer);
    }
    return reader->place.err ? WALK_FAILED : WALK_EVENT;
}

// Walks over at most `budget` positions.
static inline enum walk_end walk(struct peal_reader *reader, uint64_t budget)
{
    say_need(reader);
    uint64_t limit = reader->query.asked.limit;
    if (__builtin_expect(reader->newer != NULL, 0)) {
        peal_event_unref(reader->newer);
        reader->newer = NULL;
    }
    if (limit && reader->given >= limit) {
        return WALK_END;
    }
    for (; budget > 0; budget--) {
        const struct pl_frame *frame = step(reader);
        if (!frame) {
            return reader->place.err ? WALK_FAILED : WALK_END;
        }
        if (pl_query_takes(&reader->query, &reader->event, reader->bus, frame,
                           reader->place.segment)) {
            reader->given++;
            reader->cursor = frame->position;
            // Acquire: they were filled in before they were stored.
            struct pl_upcasts *upcasts =
                atomic_load_explicit(&reader->bus->upcasts, memory_order_acquire);
            return __builtin_expect(upcasts != NULL, 0) ? renew(reader, upcasts) : WALK_EVENT;
        }
    }
    return WALK_PAUSE;
}

enum peal_err peal_reader_next(const peal_event **out, peal_reader *reader)
{
    if (!out || !reader) {
        return pl_fail(PEAL_EINVAL, "peal_reader_next needs a reader and a place for the event");
    }
    enum walk_end end = walk(reader, UINT64_MAX);
    if (end == WALK_FAILED) {
        return reader->place.err;
    }
    if (end != WALK_EVENT) {
        return pl_fail(PEAL_ENOTFOUND, "no more events match");
    }
    *out = &reader->event;
    return PEAL_OK;
}

uint64_t peal_reader_cursor(const peal_reader *reader)
{
    return reader ? reader->cursor : 0;
}

uint64_t peal_reader_skipped(const peal_reader *reader)
{
    return reader ? reader->skipped : 0;
}

void peal_reader_close(peal_reader *reader)
{
    if (reader) {
        const struct pl_seams *seams = reader->bus->seams;
        pl_need_leave(reader->bus, &reader->need);
        peal_event_unref(reader->newer);
        pl_lookup_destroy(reader->lookup);
        pl_cursor_rest(&reader->place);
        pl_query_finish(&reader->query, seams);
        pl_release(seams, reader);
    }
}

// ---- replay -------------------------------------------------------------------------------------

// Progress is told after so many positions, and while a replay waits for its pace, so often.
#define PROGRESS_EVERY   1024
#define PROGRESS_WAIT_NS 1000000000

// A replay on its way.
struct tour {
    struct peal_reader *reader;
    const struct peal_replay *replay;
    struct pl_slot *slot;
    peal_handler *handler;
    void *context;
    int64_t began, first_time; // on the monotonic clock; of the first event
    uint64_t told;             // the position of the last progress
    uint64_t count;
};

static enum peal_err tell_progress(struct tour *tour)
{
    const struct peal_replay *replay = tour->replay;
    const struct peal_reader *reader = tour->reader;
    tour->told = reader->at;
    if (replay->progress &&
        !replay->progress(reader->at - 1, reader->end - 1, replay->progress_context)) {
        return pl_fail(PEAL_ESTATE, "the replay was stopped at position %llu",
                       (unsigned long long)(reader->at - 1));
    }
    return pl_bus_check_open(reader->bus);
}

// When an event is due: as long after the first as it was then, divided by the speed.
static int64_t due_of(const struct tour *tour, int64_t time)
{
    if (time <= tour->first_time) {
        return tour->began;
    }
    double distance = (double)((uint64_t)time - (uint64_t)tour->first_time);
    double wait = distance / tour->replay->speed; // may be longer than there are nanoseconds
    double most = (double)(PL_FOREVER - tour->began) / 2;
    return wait < most ? tour->began + (int64_t)wait : PL_FOREVER;
}

static enum peal_err keep_pace(struct tour *tour, const struct peal_event *event)
{
    struct peal_bus *bus = tour->reader->bus;
    const struct pl_seams *seams = bus->seams;
    int64_t time = peal_event_time(event);
    tour->first_time = tour->count == 0 ? time : tour->first_time;
    int64_t due = due_of(tour, time);
    enum peal_err err = PEAL_OK;
    for (int64_t now = pl_bus_ticks(bus); !err && now < due; now = pl_bus_ticks(bus)) {
        // Woken by the clock, and by a bus that stops. Not by runs.signal: one wake is for one
        // sleeper, and must not be spent on a replay while a worker sleeps.
        bool telling = tour->replay->progress && due - now > PROGRESS_WAIT_NS;
        int64_t until = telling ? now + PROGRESS_WAIT_NS : due;
        seams->wait(seams->world, &bus->state, PL_BUS_OPEN, until);
        err = telling ? tell_progress(tour) : pl_bus_check_open(bus);
    }
    return err;
}

static inline enum peal_err give(struct tour *tour)
{
    struct peal_event *event = &tour->reader->event;
    if (tour->replay->speed > 0) {
        enum peal_err err = keep_pace(tour, event);
        if (err) {
            return err;
        }
    }
    event->replay = true;
    const struct peal_event *before = tour->slot->current;
    tour->slot->current = event;
    enum peal_verdict verdict = tour->handler(event, tour->context);
    tour->slot->current = before;
    tour->count++;
    if (verdict != PEAL_DONE) {
        return pl_fail(PEAL_ESTATE, "the handler stopped the replay at position %llu",
                       (unsigned long long)tour->reader->cursor);
    }
    return PEAL_OK;
}

static enum peal_err replay_all(struct tour *tour)
{
    struct peal_reader *reader = tour->reader;
    enum peal_err err = PEAL_OK;
    while (!err) {
        enum walk_end end = walk(reader, PROGRESS_EVERY);
        // Each event may be the last before the bus stops; a load.
        err = pl_bus_check_open(reader->bus);
        if (!err && end == WALK_EVENT) {
            err = give(tour);
        }
        if (end == WALK_FAILED) {
            return reader->place.err;
        }
        if (end == WALK_END) {
            break;
        }
        if (!err && reader->at - tour->told >= PROGRESS_EVERY) {
            err = tell_progress(tour);
        }
    }
    if (!err && reader->at > tour->told) {
        (void)tell_progress(tour); // it is done: there is nothing to stop
    }
    return err;
}

enum peal_err peal_replay(peal_bus *bus, const struct peal_replay *replay, uint64_t *count,
                          peal_handler *handler, void *context)
{
    if (!bus || !replay || !handler) {
        return pl_fail(PEAL_EINVAL, "peal_replay needs a bus, a query and a handler");
    }
    if (replay->query.backwards || !(replay->speed >= 0)) {
        return pl_fail(PEAL_EINVAL, "a replay goes forwards, at a speed of 0 (as fast as it goes) "
                                    "or more");
    }
    struct pl_slot *slot = pl_slot_mine(bus);
    if (!slot) {
        return pl_fail(PEAL_ENOMEM, "no memory for a thread's first use of a bus");
    }
    if (replay->speed > 0 && slot->current) {
        return pl_fail(PEAL_EAGAIN, "a replay at a pace would make a handler wait");
    }
    struct peal_reader *reader;
    enum peal_err err = peal_reader_open(&reader, bus, &replay->query);
    if (err) {
        return err;
    }
    struct tour tour = { .reader = reader,
                         .replay = replay,
                         .slot = slot,
                         .handler = handler,
                         .context = context,
                         .began = pl_bus_ticks(bus),
                         .told = reader->at };
    err = replay_all(&tour);
    peal_reader_close(reader);
    if (count) {
        *count = tour.count;
    }
    return err;
}
