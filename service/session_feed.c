// SPDX-License-Identifier: MIT
//
// Following: from a position in the log to messages on their way.
//
//     a publish ─► the feed's bell, an inline handler ─► idle sessions: a job each
//     job: chunk at its cursor ─► send ─► chunk behind it ─► ... ─► idle, or stalled
//
// The newest chunks are kept, so that of all who follow at the log's end one encodes and the others
// send the same bytes. Who is behind reads for itself until it comes to a chunk.
//
// What must stay true: who goes idle looks once more at how often the bell has rung. Who rings
// counts first and then looks who is idle. Both steps are sequentially consistent, so one of the
// two sees the other.
//
// Nothing is sent before it would survive the service: who follows must not have seen an event that
// the log then does not have.
#include "service/session_inside.h"

#include "base/error.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES 262144
#define CHUNKS      64

struct chunk {
    uint64_t first, next; // positions
    struct service_bytes *message;
};

struct service_tail {
    peal_bus *bus;
    peal_subscription *bell;
    _Atomic uint64_t rung;
    atomic_uint idle;            // sessions that want to be woken
    _Atomic uint64_t deliveries; // the number of the last one given to a client

    pthread_mutex_t lock; // guards `followers`, and that nobody leaves while they are woken
    struct pl_list followers;
    unsigned threads; // of durable names
    pthread_cond_t thread_ended;

    pthread_mutex_t encoding; // guards the chunks; held while one is encoded
    struct chunk chunks[CHUNKS];
    size_t newest, count; // the newest is at `newest`
};

static void pump(void *job);

// ---- waking -------------------------------------------------------------------------------------

// With session->lock.
static void begin_pump(struct service_session *session)
{
    if (session->pump == PUMP_IDLE) {
        atomic_fetch_sub_explicit(&session->config.feed->idle, 1, memory_order_seq_cst);
    }
    session->pump = PUMP_RUNS;
    session_ref(session);
    session->config.work(session->config.context, pump, session);
}

void session_nudge(struct service_session *session)
{
    bool can = session->credit > 0 && session->waiting <= session->config.waiting_max;
    if (!session->closed && ((session->pump == PUMP_STALLED && can) ||
                             (session->pump == PUMP_IDLE && session->owed > session->cursor))) {
        begin_pump(session);
    }
}

static enum peal_verdict ring(const peal_event *event, void *context)
{
    struct service_tail *feed = context;
    (void)event;
    atomic_fetch_add_explicit(&feed->rung, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&feed->idle, memory_order_seq_cst) == 0) {
        return PEAL_DONE;
    }
    pthread_mutex_lock(&feed->lock);
    struct service_session *session;
    PL_LIST_EACH (session, &feed->followers, follow_link) {
        pthread_mutex_lock(&session->lock);
        if (session->pump == PUMP_IDLE && !session->closed) {
            begin_pump(session);
        }
        pthread_mutex_unlock(&session->lock);
    }
    pthread_mutex_unlock(&feed->lock);
    return PEAL_DONE;
}

enum peal_err service_tail_open(struct service_tail **out, peal_bus *bus)
{
    struct service_tail *feed = calloc(1, sizeof *feed);
    if (!feed) {
        return pl_fail(PEAL_ENOMEM, "no memory for those who follow");
    }
    feed->bus = bus;
    // A number of an earlier service means nothing to this one: it begins where that cannot have
    // come.
    atomic_init(&feed->deliveries, (uint64_t)pl_seams_real.realtime(NULL));
    pl_list_init(&feed->followers);
    (void)pthread_mutex_init(&feed->lock, NULL);
    (void)pthread_cond_init(&feed->thread_ended, NULL);
    (void)pthread_mutex_init(&feed->encoding, NULL);
    const struct peal_subscribe_options options = { .mode = PEAL_INLINE, .label = "peal.v1" };
    enum peal_err err = peal_subscribe(&feed->bell, bus, "*, $peal.*", &options, ring, feed);
    if (err) {
        service_tail_close(feed);
        return err;
    }
    *out = feed;
    return PEAL_OK;
}

uint64_t service_tail_delivered(const struct service_tail *feed)
{
    struct peal_subscription_stats stats = { .delivered = 0 };
    (void)peal_subscription_stats(&stats, feed->bell); // 0 if it cannot be said
    return stats.delivered;
}

void service_tail_close(struct service_tail *feed)
{
    if (!feed) {
        return;
    }
    pthread_mutex_lock(&feed->lock);
    while (feed->threads > 0) {
        pthread_cond_wait(&feed->thread_ended, &feed->lock);
    }
    pthread_mutex_unlock(&feed->lock);
    peal_unsubscribe(feed->bell);
    for (size_t i = 0; i < CHUNKS; i++) {
        service_bytes_unref(feed->chunks[i].message);
    }
    (void)pthread_mutex_destroy(&feed->lock);
    (void)pthread_cond_destroy(&feed->thread_ended);
    (void)pthread_mutex_destroy(&feed->encoding);
    free(feed);
}

void session_count_thread(struct service_tail *feed, bool begins)
{
    pthread_mutex_lock(&feed->lock);
    feed->threads += begins ? 1U : UINT_MAX; // minus one
    pthread_cond_broadcast(&feed->thread_ended);
    pthread_mutex_unlock(&feed->lock);
}

uint64_t session_next_delivery(struct service_tail *feed)
{
    return atomic_fetch_add_explicit(&feed->deliveries, 1, memory_order_relaxed) + 1;
}

// ---- encoding -----------------------------------------------------------------------------------

enum peal_err session_ends(peal_bus *bus, uint64_t *out_first, uint64_t *out_end)
{
    struct peal_bus_stats stats;
    enum peal_err err = peal_bus_stats(&stats, bus);
    if (!err) {
        *out_first = stats.first_position ? stats.first_position : 1;
        *out_end = stats.last_position + 1;
    }
    return err;
}

struct encoding {
    const struct service_session *session; // whose rights count; NULL: everybody's
    struct service_bytes *message;
    size_t room;      // the message's size is what is used of it
    uint64_t skipped; // forgotten before it could be read
};

static enum peal_err reserve(struct encoding *encoding, size_t more)
{
    struct service_bytes *message = encoding->message;
    if (message && encoding->room - message->size >= more) {
        return PEAL_OK;
    }
    size_t used = message ? message->size : PL_EVENTS_HEAD;
    size_t room = encoding->room * 2 > used + more ? encoding->room * 2 : used + more;
    struct service_bytes *grown = realloc(message, sizeof *grown + room);
    if (!grown) {
        return PEAL_ENOMEM;
    }
    if (!message) {
        atomic_init(&grown->refs, 1);
        grown->size = PL_EVENTS_HEAD;
    }
    encoding->message = grown;
    encoding->room = room;
    return PEAL_OK;
}

static enum peal_err encode_one(struct encoding *encoding, const peal_event *event)
{
    for (;;) {
        struct service_bytes *message = encoding->message;
        size_t left = message ? encoding->room - message->size : 0;
        size_t needed =
            peal_event_encode(event, message ? message->bytes + message->size : NULL, left);
        if (message && needed <= left) {
            message->size += needed;
            return PEAL_OK;
        }
        enum peal_err err = reserve(encoding, needed > 4096 ? needed : 4096);
        if (err) {
            return err;
        }
    }
}

// Goes on until there is nothing more, or enough. *out_next moves with it.
static enum peal_err encode_all(struct encoding *encoding, uint64_t *out_next, peal_reader *reader,
                                size_t bytes_max)
{
    const peal_event *event;
    enum peal_err err = PEAL_OK;
    while (!err && (!encoding->message || encoding->message->size < bytes_max)) {
        err = peal_reader_next(&event, reader);
        if (err) {
            break;
        }
        if (!encoding->session || session_may_read(encoding->session, peal_event_type(event))) {
            err = encode_one(encoding, event);
        }
        if (!err) {
            *out_next = peal_event_position(event) + 1;
        }
    }
    return err == PEAL_ENOTFOUND ? PEAL_OK : err;
}

// What is published so far survives this process, if the log does at all.
static enum peal_err make_safe(peal_bus *bus)
{
    enum peal_err err = peal_bus_settle(bus, PEAL_DURABILITY_OS);
    return err == PEAL_EUNSUPPORTED ? PEAL_OK : err;
}

static enum peal_err encode(struct service_bytes **out, uint64_t *out_next, peal_bus *bus,
                            const struct peal_query *query, struct encoding *encoding,
                            size_t bytes_max)
{
    peal_reader *reader = NULL;
    uint64_t next = *out_next;
    enum peal_err err = peal_reader_open(&reader, bus, query);
    err = err ? err : make_safe(bus); // what the reader sees, and what came since
    err = err ? err : encode_all(encoding, &next, reader, bytes_max);
    encoding->skipped = peal_reader_skipped(reader);
    peal_reader_close(reader);
    if (err) {
        free(encoding->message);
        return err;
    }
    if (encoding->message) {
        const struct pl_protocol_head head = { PL_PROTOCOL_EVENTS, 0, 0 };
        const struct pl_events_head more = { next, next };
        pl_protocol_head_write(encoding->message->bytes, &head);
        pl_events_head_write(encoding->message->bytes + PL_PROTOCOL_HEAD, &more);
    }
    *out_next = next;
    *out = encoding->message;
    return PEAL_OK;
}

enum peal_err session_encode(struct service_bytes **out, uint64_t *out_next,
                             struct service_session *session, struct peal_query *query,
                             size_t bytes_max)
{
    struct encoding encoding = { .session = session };
    return encode(out, out_next, session->config.bus, query, &encoding, bytes_max);
}

enum peal_err session_find(struct service_bytes **out, struct service_session *session,
                           const struct peal_query *query, size_t bytes_max, uint64_t *out_cursor,
                           bool *out_more)
{
    struct encoding encoding = { .session = session };
    peal_reader *reader = NULL;
    const peal_event *event;
    enum peal_err err = peal_reader_open(&reader, session->config.bus, query);
    while (!err && (!encoding.message || encoding.message->size < bytes_max)) {
        err = peal_reader_next(&event, reader);
        if (!err && session_may_read(session, peal_event_type(event))) {
            err = encode_one(&encoding, event);
        }
    }
    *out_more = !err;
    *out_cursor = peal_reader_cursor(reader);
    peal_reader_close(reader);
    if (err && err != PEAL_ENOTFOUND) {
        free(encoding.message);
        return err;
    }
    *out = encoding.message;
    return PEAL_OK;
}

// ---- chunks -------------------------------------------------------------------------------------

static struct chunk *chunk_at(struct service_tail *feed, size_t back)
{
    return &feed->chunks[(feed->newest + CHUNKS - back) % CHUNKS];
}

// The chunk that begins at a position; NULL: none. *out_end: where the first one behind it begins.
static const struct chunk *find_chunk(struct service_tail *feed, uint64_t position,
                                      uint64_t *out_end)
{
    *out_end = 0;
    for (size_t i = 0; i < feed->count; i++) {
        const struct chunk *chunk = chunk_at(feed, i);
        if (chunk->first == position) {
            return chunk;
        }
        if (chunk->first > position) {
            *out_end = chunk->first;
        }
    }
    return NULL;
}

static void keep_chunk(struct service_tail *feed, uint64_t first, uint64_t next,
                       struct service_bytes *message)
{
    feed->newest = (feed->newest + 1) % CHUNKS;
    feed->count = feed->count < CHUNKS ? feed->count + 1 : CHUNKS;
    struct chunk *chunk = chunk_at(feed, 0);
    service_bytes_unref(chunk->message);
    service_bytes_ref(message);
    *chunk = (struct chunk){ first, next, message };
}

// What comes at a position, for all to share; as session_encode.
static enum peal_err shared_chunk(struct service_bytes **out, uint64_t *cursor,
                                  struct service_tail *feed, uint64_t *out_skipped)
{
    enum peal_err err = PEAL_OK;
    uint64_t end, next = *cursor;
    struct service_bytes *message = NULL;
    pthread_mutex_lock(&feed->encoding);
    const struct chunk *chunk = find_chunk(feed, *cursor, &end);
    if (chunk) {
        message = chunk->message;
        service_bytes_ref(message);
        next = chunk->next;
    } else {
        const struct peal_query query = { .from_position = *cursor, .to_position = end };
        struct encoding encoding = { .session = NULL };
        err = encode(&message, &next, feed->bus, &query, &encoding, CHUNK_BYTES);
        *out_skipped = encoding.skipped;
        bool newest = feed->count == 0 || chunk_at(feed, 0)->next <= *cursor;
        if (!err && message && newest) {
            keep_chunk(feed, *cursor, next, message);
        }
    }
    pthread_mutex_unlock(&feed->encoding);
    if (!err) {
        *out = message;
        *cursor = next;
    }
    return err;
}

// ---- the pump -----------------------------------------------------------------------------------

static enum peal_err next_chunk(struct service_session *session, struct service_bytes **out,
                                uint64_t *cursor, uint64_t *out_skipped)
{
    *out = NULL;
    if (!session->pattern && !session->config.rights.may_read) {
        return shared_chunk(out, cursor, session->config.feed, out_skipped);
    }
    const struct peal_query query = { .from_position = *cursor, .pattern = session->pattern };
    struct encoding encoding = { .session = session };
    enum peal_err err = encode(out, cursor, session->config.bus, &query, &encoding, CHUNK_BYTES);
    *out_skipped = encoding.skipped;
    return err;
}

// Says what the log has forgotten before it could be sent.
static void say_skipped(struct service_session *session, uint64_t skipped, uint64_t from)
{
    char text[160];
    struct pl_pack pack;
    (void)snprintf(text, sizeof text,
                   "%llu events from position %llu on were forgotten before they could be sent: "
                   "this client is too slow for what the service keeps",
                   (unsigned long long)skipped, (unsigned long long)from); // fits
    pl_pack_begin(&pack, &pl_seams_real);
    pl_pack_number(&pack, PEAL_LEVEL_WARNING);
    pl_pack_text(&pack, text);
    struct service_bytes *message = pack.failed ? NULL : service_bytes_create(pack.size);
    if (message) {
        memcpy(message->bytes, pack.bytes, pack.size);
        pl_protocol_head_write(message->bytes, &(struct pl_protocol_head){ PL_PROTOCOL_SAY, 0, 0 });
    }
    session_send(session, message);
    pl_pack_finish(&pack);
}

// An EVENTS without events: so far was looked.
static struct service_bytes *tell_next(uint64_t next)
{
    struct service_bytes *message = service_bytes_create(PL_EVENTS_HEAD);
    if (message) {
        const struct pl_protocol_head head = { PL_PROTOCOL_EVENTS, 0, 0 };
        const struct pl_events_head more = { next, next };
        pl_protocol_head_write(message->bytes, &head);
        pl_events_head_write(message->bytes + PL_PROTOCOL_HEAD, &more);
    }
    return message;
}

// All there is was sent, or cannot be read now. True: something has come meanwhile. With
// session->lock.
static bool rest(struct service_session *session, uint64_t rung, bool failed)
{
    struct service_tail *feed = session->config.feed;
    session->pump = PUMP_IDLE;
    atomic_fetch_add_explicit(&feed->idle, 1, memory_order_seq_cst);
    bool more = atomic_load_explicit(&feed->rung, memory_order_seq_cst) != rung ||
                (!failed && session->owed > session->cursor);
    if (more) {
        session->pump = PUMP_RUNS;
        atomic_fetch_sub_explicit(&feed->idle, 1, memory_order_seq_cst);
    }
    return more;
}

// One look at the log. False: the job is over.
static bool pump_once(struct service_session *session)
{
    struct service_tail *feed = session->config.feed;
    pthread_mutex_lock(&session->lock);
    bool can = session->credit > 0 && session->waiting <= session->config.waiting_max;
    bool closed = session->closed;
    uint64_t owed = session->owed;
    if (!can) {
        session->pump = PUMP_STALLED;
    }
    pthread_mutex_unlock(&session->lock);
    if (!can || closed) {
        return false;
    }
    uint64_t rung = atomic_load_explicit(&feed->rung, memory_order_seq_cst);
    uint64_t cursor = session->cursor;
    struct service_bytes *message = NULL;
    uint64_t skipped = 0;
    enum peal_err err = next_chunk(session, &message, &cursor, &skipped);
    if (!err && skipped > 0) {
        say_skipped(session, skipped, session->cursor);
    }
    bool nothing = !message && cursor == session->cursor;
    if (!err && nothing && owed > cursor) {
        cursor = owed; // what was owed was there when we looked, and has no event
        message = tell_next(cursor);
        nothing = false;
    } else if (!err && !message && !nothing) {
        message = tell_next(cursor);
    }
    pthread_mutex_lock(&session->lock);
    session->cursor = cursor;
    session->credit -= message ? (int64_t)message->size : 0;
    // What cannot be read now is tried again when the bell next rings.
    bool more = nothing || err ? rest(session, rung, err != PEAL_OK) : true;
    pthread_mutex_unlock(&session->lock);
    session_send(session, message);
    return more;
}

static void pump(void *job)
{
    struct service_session *session = job;
    while (pump_once(session)) {
    }
    session_unref(session);
}

// ---- what is asked ------------------------------------------------------------------------------

static enum peal_err check_pattern(peal_bus *bus, const char *pattern)
{
    const struct peal_query query = { .pattern = pattern };
    peal_reader *reader = NULL;
    enum peal_err err = pattern ? peal_reader_open(&reader, bus, &query) : PEAL_OK;
    peal_reader_close(reader);
    return err;
}

enum peal_err session_follow(struct service_session *session, uint64_t from, int64_t credit,
                             const char *pattern)
{
    struct service_tail *feed = session->config.feed;
    char *copy = pattern ? strdup(pattern) : NULL;
    uint64_t first = 0, end = 0;
    enum peal_err err = check_pattern(session->config.bus, pattern);
    err = err ? err : session_ends(session->config.bus, &first, &end);
    if (err || (pattern && !copy)) {
        free(copy);
        return err ? err : pl_fail(PEAL_ENOMEM, "no memory to follow");
    }
    (void)first; // what is gone is passed over by the reader
    pthread_mutex_lock(&feed->lock);
    pthread_mutex_lock(&session->lock);
    bool fresh = session->pump == PUMP_NONE && !session->closed;
    if (fresh) {
        session->pattern = copy;
        session->cursor = from;
        session->credit = credit;
        session->owed = end;
        pl_list_add_tail(&feed->followers, &session->follow_link);
        begin_pump(session);
    }
    pthread_mutex_unlock(&session->lock);
    pthread_mutex_unlock(&feed->lock);
    if (!fresh) {
        free(copy);
        return pl_fail(PEAL_ESTATE, "a connection follows once");
    }
    return PEAL_OK;
}

void session_unfollow(struct service_session *session)
{
    struct service_tail *feed = session->config.feed;
    pthread_mutex_lock(&feed->lock);
    pthread_mutex_lock(&session->lock);
    if (session->pump == PUMP_IDLE) {
        atomic_fetch_sub_explicit(&feed->idle, 1, memory_order_seq_cst);
        session->pump = PUMP_STALLED;
    }
    pl_list_remove(&session->follow_link);
    pthread_mutex_unlock(&session->lock);
    pthread_mutex_unlock(&feed->lock);
}

void session_credit(struct service_session *session, int64_t more)
{
    pthread_mutex_lock(&session->lock);
    session->credit += more;
    session_nudge(session);
    pthread_mutex_unlock(&session->lock);
}
