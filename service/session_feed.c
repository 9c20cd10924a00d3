// SPDX-License-Identifier: MIT
//
// Following: from a position in the log to messages on their way.
//
//     a publish ─► the feed's bell, an inline handler ─► idle sessions: a job each
//     job: chunk at its cursor ─► send ─► chunk behind it ─► ... ─► idle, or stalled
//
// Who is idle has come to the end of the log: what is new to it is in memory, and is read by the
// thread of the connection (`soon`), SOON_CHUNKS of it. Who is further behind, or was stalled, may
// have to read a disk, and does it in the pool (`work`).
//
// The newest chunks are kept, so that of all who follow at the log's end one encodes and the others
// send the same bytes. Who is behind reads for itself until it comes to a chunk. Whoever came to
// the end notes how often the bell had rung before: until it rings again, nobody else needs to
// look.
//
// What must stay true: who goes idle looks once more at how often the bell has rung. Who rings
// counts first and then looks who is idle. Both steps are sequentially consistent, so one of the
// two sees the other.
//
// Who publishes many in a row, in the pool, holds the bell: it is counted, and behind all of them
// the publisher reads for those who are idle. Else the loop would send the first few while the
// others are published, and again, in many small messages; and where CPUs are few the publisher
// would outrun it, until what is to be followed is on the disk only. Who finds the bell held leaves
// the waking to its holder, who looks after it was let go, whoever else may hold it.
//
// Nothing is sent before it would survive the service: who follows must not have seen an event that
// the log then does not have.
#include "service/session_inside.h"

#include "base/error.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define CHUNKS      64
#define SOON_CHUNKS 4
#define HERE_MAX    64 // followers for whom one publisher reads

struct chunk {
    uint64_t first, next; // positions
    uint64_t gone;        // of the first ones, those that were forgotten
    struct service_bytes *message;
};

struct service_tail {
    peal_bus *bus;
    peal_subscription *bell;
    _Atomic uint64_t rung;
    atomic_uint idle;            // sessions that want to be woken
    atomic_uint held;            // publishers that will wake them themselves
    _Atomic uint64_t deliveries; // the number of the last one given to a client

    pthread_mutex_t lock; // guards `followers`, and that nobody leaves while they are woken
    struct pl_list followers;
    unsigned threads; // of durable names
    pthread_cond_t thread_ended;

    pthread_mutex_t encoding; // guards the chunks; held while one is encoded
    struct chunk chunks[CHUNKS];
    size_t newest, count; // the newest is at `newest`
    uint64_t ended_at,
        ended_rung; // there was nothing from here on, when the bell had rung so often
};

static void pump(void *job);
static void pump_soon(void *job);

// ---- waking -------------------------------------------------------------------------------------

// With session->lock.
static void begin_pump(struct service_session *session)
{
    bool at_end = session->pump == PUMP_IDLE;
    if (at_end) {
        atomic_fetch_sub_explicit(&session->config.feed->idle, 1, memory_order_seq_cst);
    }
    session->pump = PUMP_RUNS;
    session_ref(session);
    if (at_end && session->config.soon) {
        session->config.soon(session->config.context, pump_soon, session);
    } else {
        session->config.work(session->config.context, pump, session);
    }
}

// Who holds the bell looks for who is idle when it lets go: a session that has something to read is
// left to it. False: nobody does. With session->lock.
static bool leave_to_holder(struct service_session *session)
{
    struct service_tail *feed = session->config.feed;
    enum session_pump before = session->pump;
    if (session->closed || atomic_load_explicit(&feed->held, memory_order_seq_cst) == 0) {
        return false;
    }
    session->pump = PUMP_IDLE;
    atomic_fetch_add_explicit(&feed->idle, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&feed->held, memory_order_seq_cst) > 0) {
        return true;
    }
    session->pump = before;
    atomic_fetch_sub_explicit(&feed->idle, 1, memory_order_seq_cst);
    return false;
}

void session_nudge(struct service_session *session)
{
    bool can = session->credit > 0 && session->waiting <= session->config.waiting_max;
    bool goes_on = session->pump == PUMP_STALLED && can && !leave_to_holder(session);
    if (!session->closed &&
        (goes_on || (session->pump == PUMP_IDLE && session->owed > session->cursor))) {
        begin_pump(session);
    }
}

void service_session_tick(struct service_session *session)
{
    pthread_mutex_lock(&session->lock);
    if (session->failed && session->pump == PUMP_IDLE && !session->closed) {
        begin_pump(session);
    }
    pthread_mutex_unlock(&session->lock);
}

static void wake_idle(struct service_tail *feed)
{
    if (atomic_load_explicit(&feed->idle, memory_order_seq_cst) == 0) {
        return;
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
}

static enum peal_verdict ring(const peal_event *event, void *context)
{
    struct service_tail *feed = context;
    (void)event;
    atomic_fetch_add_explicit(&feed->rung, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&feed->held, memory_order_seq_cst) == 0) {
        wake_idle(feed);
    }
    return PEAL_DONE;
}

void session_hold_bell(struct service_tail *feed)
{
    atomic_fetch_add_explicit(&feed->held, 1, memory_order_seq_cst);
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

bool service_tail_rests(const struct service_tail *feed)
{
    struct peal_subscription_stats stats = { .lag = 0 };
    bool said = !peal_subscription_stats(&stats, feed->bell);
    bool rung = !said || (stats.lag == 0 && stats.waiting == 0 && stats.in_flight == 0);
    return rung && atomic_load_explicit(&feed->held, memory_order_seq_cst) == 0;
}

bool service_session_rests(struct service_session *session)
{
    pthread_mutex_lock(&session->lock);
    bool stalled = session->pump == PUMP_STALLED && session->credit == 0;
    bool rests =
        session->closed || session->pump == PUMP_NONE || session->pump == PUMP_IDLE || stalled;
    pthread_mutex_unlock(&session->lock);
    return rests;
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

static void keep_chunk(struct service_tail *feed, const struct chunk *given)
{
    feed->newest = (feed->newest + 1) % CHUNKS;
    feed->count = feed->count < CHUNKS ? feed->count + 1 : CHUNKS;
    struct chunk *chunk = chunk_at(feed, 0);
    service_bytes_unref(chunk->message);
    service_bytes_ref(given->message);
    *chunk = *given;
}

// A look at what comes at a position.
struct look {
    uint64_t rung; // how often the bell had before
    bool soon;     // it must not wait for who reads a disk
    bool leaves;   // what nobody has read yet is left to who holds the bell
    bool later;    // it would have to; or it is left
    bool at_end;   // there was nothing more
    uint64_t gone; // positions below it were forgotten, or cannot be read; 0: none
};

// An EVENTS that goes so far; NULL for its message: it has no events.
static struct service_bytes *tell_next(struct service_bytes *message, uint64_t next)
{
    return session_events(message, &(struct pl_protocol_head){ PL_PROTOCOL_EVENTS, 0, 0 },
                          &(struct pl_events_head){ next, next });
}

// What nobody else has encoded. With feed->encoding.
static enum peal_err new_chunk(struct service_bytes **out, uint64_t *out_next, uint64_t end,
                               struct service_tail *feed, struct look *look)
{
    const uint64_t cursor = *out_next;
    const struct peal_query query = { .from_position = cursor, .to_position = end };
    struct session_encoding encoding = { .bus = feed->bus, .bytes_max = SESSION_CHUNK_BYTES };
    enum peal_err err = session_encode(&encoding, out_next, &query);
    if (!err && encoding.message) {
        encoding.message = tell_next(encoding.message, *out_next);
    }
    look->gone = encoding.gone;
    look->at_end = !err && encoding.at_end && end == 0;
    if (look->at_end) {
        feed->ended_at = *out_next;
        feed->ended_rung = look->rung;
    }
    bool newest = feed->count == 0 || chunk_at(feed, 0)->next <= cursor;
    if (!err) {
        *out = encoding.message;
    }
    if (!err && *out && newest) {
        keep_chunk(feed, &(struct chunk){ cursor, *out_next, encoding.gone, *out });
    }
    return err;
}

// What comes at a position, for all to share; as session_encode.
static enum peal_err shared_chunk(struct service_bytes **out, uint64_t *cursor,
                                  struct service_tail *feed, struct look *look)
{
    enum peal_err err = PEAL_OK;
    uint64_t end, next = *cursor;
    struct service_bytes *message = NULL;
    if (look->soon && pthread_mutex_trylock(&feed->encoding)) {
        look->later = true;
        return PEAL_OK;
    }
    if (!look->soon) {
        pthread_mutex_lock(&feed->encoding);
    }
    const struct chunk *chunk = find_chunk(feed, *cursor, &end);
    bool newest = feed->count == 0 || chunk_at(feed, 0)->next <= *cursor;
    if (chunk) {
        message = chunk->message;
        service_bytes_ref(message);
        next = chunk->next;
        look->gone = chunk->gone;
        look->at_end = next == feed->ended_at && look->rung == feed->ended_rung;
    } else if (*cursor == feed->ended_at && look->rung == feed->ended_rung) {
        look->at_end = true;
    } else if (look->leaves && newest) {
        look->later = true;
    } else {
        err = new_chunk(&message, &next, end, feed, look);
    }
    pthread_mutex_unlock(&feed->encoding);
    if (!err) {
        *out = message;
        *cursor = next;
    }
    return err;
}

// ---- the pump -----------------------------------------------------------------------------------

// What the log has forgotten before it could be sent: up to here. In its place among what is sent.
static void tell_gone(struct service_session *session, uint64_t gone)
{
    struct service_bytes *message = service_bytes_create(PL_PROTOCOL_HEAD + sizeof gone);
    if (message) {
        pl_protocol_head_write(message->bytes,
                               &(struct pl_protocol_head){ PL_PROTOCOL_GONE, 0, 0 });
        memcpy(message->bytes + PL_PROTOCOL_HEAD, &gone, sizeof gone);
    }
    session_send(session, message);
}

// All there is was sent, or cannot be read now. True: something has come meanwhile. With
// session->lock.
static bool rest(struct service_session *session, uint64_t rung, bool failed)
{
    struct service_tail *feed = session->config.feed;
    session->pump = PUMP_IDLE;
    session->failed = failed;
    atomic_fetch_add_explicit(&feed->idle, 1, memory_order_seq_cst);
    bool more = atomic_load_explicit(&feed->rung, memory_order_seq_cst) != rung ||
                (!failed && session->owed > session->cursor);
    if (more) {
        session->pump = PUMP_RUNS;
        atomic_fetch_sub_explicit(&feed->idle, 1, memory_order_seq_cst);
    }
    return more;
}

enum step { STEP_OVER = 0, STEP_MORE, STEP_LATER };
enum where { WHERE_LOOP, WHERE_POOL, WHERE_PUBLISHER };

// False: it is closed, or stalled.
static bool can_go_on(struct service_session *session, uint64_t *out_owed)
{
    pthread_mutex_lock(&session->lock);
    bool can = session->credit > 0 && session->waiting <= session->config.waiting_max;
    bool closed = session->closed;
    *out_owed = session->owed;
    if (!can) {
        session->pump = PUMP_STALLED;
    }
    pthread_mutex_unlock(&session->lock);
    return can && !closed;
}

// One look at the log. It is sent before anybody else may look for this session.
static enum step pump_once(struct service_session *session, enum where where)
{
    struct service_tail *feed = session->config.feed;
    uint64_t owed, cursor = session->cursor;
    if (!can_go_on(session, &owed)) {
        return STEP_OVER;
    }
    struct service_bytes *message = NULL;
    struct look look = { .rung = atomic_load_explicit(&feed->rung, memory_order_seq_cst),
                         .soon = where == WHERE_LOOP };
    look.leaves =
        where == WHERE_POOL && atomic_load_explicit(&feed->held, memory_order_seq_cst) > 0;
    enum peal_err err = shared_chunk(&message, &cursor, feed, &look);
    if (look.later) {
        return STEP_LATER;
    }
    err = err ? err : session_sift(&message, session);
    cursor = err ? session->cursor : cursor;
    if (!err && look.gone > 0) {
        tell_gone(session, look.gone);
    }
    bool nothing = !message && cursor == session->cursor;
    if (!err && nothing && owed > cursor) {
        cursor = owed; // what was owed was there when we looked, and has no event
        message = tell_next(NULL, cursor);
        look.at_end = false;
        nothing = false;
    } else if (!err && !message && !nothing) {
        message = tell_next(NULL, cursor);
    }
    int64_t size = message ? (int64_t)message->size : 0;
    if (!nothing) {
        session_send(session, message);
    }
    pthread_mutex_lock(&session->lock);
    session->cursor = cursor;
    session->credit -= size;
    // What cannot be read now is tried again when the bell next rings, or a second has passed.
    bool rests = nothing || err || look.at_end;
    bool more = rests ? rest(session, look.rung, err != PEAL_OK) : true;
    pthread_mutex_unlock(&session->lock);
    return more ? STEP_MORE : STEP_OVER;
}

static void pump(void *job)
{
    struct service_session *session = job;
    enum step step = STEP_MORE;
    while (step != STEP_OVER) {
        step = pump_once(session, WHERE_POOL);
        if (step == STEP_LATER) {
            pthread_mutex_lock(&session->lock);
            step = leave_to_holder(session) ? STEP_OVER : STEP_MORE;
            pthread_mutex_unlock(&session->lock);
        }
    }
    session_unref(session);
}

// Some chunks; the rest in the pool.
static void pump_some(struct service_session *session, enum where where)
{
    enum step step = STEP_MORE;
    for (int i = 0; i < SOON_CHUNKS && step == STEP_MORE; i++) {
        step = pump_once(session, where);
    }
    if (step == STEP_OVER) {
        session_unref(session);
    } else {
        session->config.work(session->config.context, pump, session);
    }
}

static void pump_soon(void *job)
{
    pump_some(job, WHERE_LOOP);
}

// Takes those who are idle, to be pumped here; who is one too many is woken as by the bell.
static size_t take_idle(struct service_tail *feed, struct service_session *taken[HERE_MAX])
{
    size_t count = 0;
    struct service_session *session;
    pthread_mutex_lock(&feed->lock);
    PL_LIST_EACH (session, &feed->followers, follow_link) {
        pthread_mutex_lock(&session->lock);
        bool idle = session->pump == PUMP_IDLE && !session->closed;
        if (idle && count == HERE_MAX) {
            begin_pump(session);
        } else if (idle) {
            atomic_fetch_sub_explicit(&feed->idle, 1, memory_order_seq_cst);
            session->pump = PUMP_RUNS;
            session_ref(session);
            taken[count++] = session;
        }
        pthread_mutex_unlock(&session->lock);
    }
    pthread_mutex_unlock(&feed->lock);
    return count;
}

void session_release_bell(struct service_tail *feed)
{
    struct service_session *taken[HERE_MAX];
    atomic_fetch_sub_explicit(&feed->held, 1, memory_order_seq_cst);
    bool any = atomic_load_explicit(&feed->idle, memory_order_seq_cst) > 0;
    size_t count = any ? take_idle(feed, taken) : 0;
    for (size_t i = 0; i < count; i++) {
        pump_some(taken[i], WHERE_PUBLISHER);
    }
}

// ---- what is asked ------------------------------------------------------------------------------

enum peal_err session_follow(struct service_session *session, uint64_t from, int64_t credit,
                             struct session_wants *wants)
{
    struct service_tail *feed = session->config.feed;
    uint64_t first = 0, end = 0;
    enum peal_err err = session_ends(session->config.bus, &first, &end);
    if (err) {
        session_wants_unref(wants);
        return err;
    }
    (void)first; // what is gone is passed over by the reader
    pthread_mutex_lock(&feed->lock);
    pthread_mutex_lock(&session->lock);
    bool fresh = session->pump == PUMP_NONE && !session->closed;
    struct session_wants *unused = fresh ? session->wants : wants; // it may have said so before
    if (fresh) {
        session->wants = wants;
        session->cursor = from;
        session->credit = credit;
        session->owed = end;
        pl_list_add_tail(&feed->followers, &session->follow_link);
        begin_pump(session);
    }
    pthread_mutex_unlock(&session->lock);
    pthread_mutex_unlock(&feed->lock);
    session_wants_unref(unused);
    return fresh ? PEAL_OK : pl_fail(PEAL_ESTATE, "a connection follows once");
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
