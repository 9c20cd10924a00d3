// SPDX-License-Identifier: MIT
//
// Appending to a log in this process: what mem: and file: share.
//
// Its work is the conditions. They are looked at in the order of the batch and applied at once, so
// that each sees the ones before it; when one fails, what was applied is taken back, last first,
// and the log is rewound. Nobody sees any of it: the end of the log is published by the bus, after.
#include "engine/local.h"

#include "base/error.h"

#include <inttypes.h>

#define AHEAD 16 // requests of a batch whose conditions are made out before the first is looked at

enum peal_err pl_local_create(struct pl_local **out, const struct pl_engine_config *config)
{
    void *memory = pl_new(config->seams, sizeof(struct pl_local) + 64);
    if (!memory) {
        return pl_fail(PEAL_ENOMEM, "no memory to open an engine");
    }
    struct pl_local *local = pl_align64(memory);
    local->memory = memory;
    enum peal_err err = pl_log_init(&local->log, config->seams, &config->limits);
    if (err) {
        pl_release(config->seams, memory);
        return err;
    }
    local->log.state.limits = config->state;
    local->source = config->source;
    local->engine.log = &local->log;
    local->engine.origin[0] = config->origin[0];
    local->engine.origin[1] = config->origin[1];
    *out = local;
    return PEAL_OK;
}

void pl_local_destroy(struct pl_local *local)
{
    const struct pl_seams *seams = local->log.seams;
    pl_log_finish(&local->log);
    pl_release(seams, local->memory);
}

// What a request looks at and changes beside the log.
struct condition {
    struct pl_window_key id;
    struct pl_hash128 subject;
    uint64_t first; // of the log: streams that end below are forgotten
    bool has_id, has_subject;
    struct pl_map_entry *stream; // of the subject, once it has been looked for; NULL: not known
};

static struct condition condition_of(const struct pl_local *local, const struct pl_request *request)
{
    const struct peal_message *message = request->append.message;
    struct condition condition = { .first = 0 };
    condition.has_id = message->id && *message->id;
    if (condition.has_id) {
        const char *source = message->source && *message->source ? message->source : local->source;
        condition.id = pl_state_id(&local->log.state, source, message->id);
    }
    condition.has_subject = message->subject && *message->subject && local->log.limits.history;
    if (condition.has_subject) {
        condition.subject = pl_state_subject_key(&local->log.state, message->subject);
        condition.first = pl_log_streams_from(&local->log);
    }
    return condition;
}

static enum peal_err check_version(const struct peal_message *message, uint64_t version)
{
    bool holds = true;
    if (message->expect == PEAL_EXPECT_NONE) {
        holds = version == 0;
    } else if (message->expect == PEAL_EXPECT_EXISTS) {
        holds = version > 0;
    } else if (message->expect == PEAL_EXPECT_VERSION) {
        holds = version == message->expected_version;
    }
    if (holds) {
        return PEAL_OK;
    }
    return pl_fail(PEAL_ECONFLICT,
                   "stream \"%.100s\" is at version %" PRIu64
                   ", which is not what was expected: read it again and decide anew",
                   message->subject, version);
}

static bool knows_many_streams(const struct pl_local *local)
{
    return local->log.past.pick && local->log.state.streams.count >= PL_STREAMS_KNOWN;
}

// Where streams can be looked up, those that were not heard of for long need not stay in memory.
static void forget_streams(struct pl_local *local)
{
    struct pl_state *state = &local->log.state;
    uint64_t end = atomic_load_explicit(&local->log.end, memory_order_relaxed);
    uint64_t written = local->log.find_floor(local->log.floor_context);
    uint64_t from = end > PL_STREAMS_KNOWN / 2 ? end - PL_STREAMS_KNOWN / 2 : 1;
    from = from < written ? from : written; // what is not there cannot be looked up
    pl_state_forget(state, from);
    if (from > atomic_load_explicit(&local->known_from, memory_order_relaxed)) {
        atomic_store_explicit(&local->known_from, from, memory_order_release);
    }
}

static enum peal_err remember_stream(struct pl_local *local, const struct condition *condition,
                                     const struct pl_request *request)
{
    struct pl_state *state = &local->log.state;
    if (knows_many_streams(local)) {
        forget_streams(local); // perhaps this one, too
    } else if (condition->stream) {
        condition->stream->value = request->version;
        condition->stream->position = request->position;
        return PEAL_OK;
    }
    return pl_state_set(state, condition->subject, request->version, request->position,
                        condition->first);
}

// After the append, so that one that is refused makes nobody forget anything. On failure the append
// is the caller's to take back.
static enum peal_err remember(struct pl_local *local, const struct condition *condition,
                              const struct pl_request *request, int64_t now)
{
    struct pl_state *state = &local->log.state;
    enum peal_err err = PEAL_OK;
    if (condition->has_subject) {
        err = remember_stream(local, condition, request);
    }
    if (!err && condition->has_id) {
        err = pl_state_see(state, condition->id, request->position, now);
        if (err && condition->has_subject) {
            (void)pl_state_set(state, condition->subject, request->version - 1, request->position,
                               0); // known: cannot fail
        }
    }
    return err;
}

// The version a stream has. False: it has to be looked up.
static bool find_version(const struct pl_local *local, struct pl_request *request,
                         struct condition *condition, uint64_t *out)
{
    *out = pl_state_version(&local->log.state, condition->subject, condition->first,
                            &condition->stream);
    // Relaxed: it is changed with the turn, which we have.
    uint64_t known_from = atomic_load_explicit(&local->known_from, memory_order_relaxed);
    if (*out == 0 && known_from > 0 &&
        !pl_state_is_restarted(&local->log.state, condition->subject)) {
        // Relaxed: an erasure is counted before the turn in which its stream is settled.
        uint64_t erasures = atomic_load_explicit(&local->log.erasures, memory_order_relaxed);
        request->unknown =
            request->looked_end != known_from || request->looked_erasures != erasures;
        *out = request->unknown ? 0 : request->looked_version;
        return !request->unknown;
    }
    return true;
}

// Finds out which of the rest have to be looked up, too: once will do.
static void find_unknown(struct pl_local *local, struct pl_request *requests, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct condition condition = condition_of(local, &requests[i]);
        uint64_t version;
        if (condition.has_subject) {
            (void)find_version(local, &requests[i], &condition, &version); // it notes it
        }
    }
}

static enum peal_err append_conditional(struct pl_local *local, struct pl_request *request,
                                        struct condition *condition)
{
    struct pl_state *state = &local->log.state;
    const struct peal_message *message = request->append.message;
    // Relaxed: it was said before a turn.
    if (request->withdrawn && atomic_load_explicit(request->withdrawn, memory_order_relaxed)) {
        return pl_fail(PEAL_ENOTFOUND, "the event was erased before it was published");
    }
    int64_t now = condition->has_id ? pl_clock_at(&local->log.clock, request->append.counter) : 0;
    uint64_t seen = condition->has_id ? pl_state_seen(state, condition->id, now) : 0;
    if (seen) {
        request->frame = NULL;
        request->position = seen;
        request->version = 0;
        return PEAL_OK;
    }
    uint64_t version = 0;
    if (condition->has_subject) {
        condition->first = pl_log_streams_from(&local->log); // others may have gone since
        if (!find_version(local, request, condition, &version)) {
            return PEAL_EAGAIN;
        }
    }
    if (message->expect != PEAL_EXPECT_ANY) {
        if (!condition->has_subject) {
            return pl_fail(PEAL_EUNSUPPORTED, "an expected version needs a subject and a bus that "
                                              "keeps a history");
        }
        enum peal_err err = check_version(message, version);
        if (err) {
            return err;
        }
    }
    request->version = condition->has_subject ? version + 1 : 0;
    enum peal_err err =
        pl_log_append(&local->log, &request->append, request->version, &request->frame);
    if (err) {
        return err;
    }
    request->position = request->frame->position;
    request->recorded = request->frame->recorded;
    return remember(local, condition, request, now);
}

static void take_back(struct pl_local *local, const struct pl_request *request)
{
    if (!request->conditional || !request->frame) {
        return;
    }
    struct condition condition = condition_of(local, request);
    if (condition.has_id) {
        pl_state_unsee(&local->log.state, condition.id);
    }
    if (condition.has_subject) {
        // The position stays the rewound one until the stream's next event: it only says that the
        // stream is not forgotten yet.
        (void)pl_state_set(&local->log.state, condition.subject, request->version - 1,
                           request->position, 0); // known: cannot fail
    }
}

static enum peal_err append_one(struct pl_local *local, struct pl_request *request,
                                struct condition *condition)
{
    if (request->conditional) {
        return append_conditional(local, request, condition);
    }
    enum peal_err err = pl_log_append(&local->log, &request->append, 0, &request->frame);
    if (!err) {
        request->position = request->frame->position;
        request->recorded = request->frame->recorded;
        request->version = 0;
    }
    return err;
}

// Makes out the conditions of the next requests of a batch.
static void look_ahead(const struct pl_local *local, const struct pl_request *requests,
                       size_t count, struct condition conditions[AHEAD])
{
    struct pl_window_key ids[AHEAD];
    size_t id_count = 0;
    for (size_t i = 0; i < count && i < AHEAD; i++) {
        if (requests[i].conditional) {
            conditions[i] = condition_of(local, &requests[i]);
            if (conditions[i].has_id) {
                ids[id_count++] = conditions[i].id;
            }
        } else {
            conditions[i].has_id = conditions[i].has_subject = false; // nobody asks
        }
    }
    pl_state_expect(&local->log.state, ids, id_count);
}

// All or none.
static enum peal_err append_all(struct pl_local *local, struct pl_request *requests, size_t count,
                                const struct pl_log_mark *mark)
{
    struct condition conditions[AHEAD]; // not cleared: each is made out before it is looked at
    uint64_t counter = pl_clock_counter();
    for (size_t i = 0; i < count; i++) {
        if (i % AHEAD == 0) {
            look_ahead(local, &requests[i], count - i, conditions);
        }
        requests[i].append.counter = counter;
        enum peal_err err = append_one(local, &requests[i], &conditions[i % AHEAD]);
        if (err) {
            if (requests[i].unknown) {
                find_unknown(local, &requests[i], count - i);
            }
            while (i-- > 0) {
                take_back(local, &requests[i]);
            }
            pl_log_rewind(&local->log, mark);
            return err;
        }
    }
    return PEAL_OK;
}

enum peal_err pl_local_append(struct pl_engine *engine, struct pl_request *requests, size_t count)
{
    struct pl_local *local = pl_local_of(engine);
    if (count == 1 && !requests->conditional) {
        return append_one(local, requests, NULL);
    }
    struct pl_log_mark mark = pl_log_mark(&local->log);
    local->log.undoable = count > 1; // one alone is looked at before it is appended
    enum peal_err err = append_all(local, requests, count, &mark);
    local->log.undoable = false;
    if (!err && count > 1 && local->log.count > mark.segments) {
        (void)pl_log_retain(&local->log); // how much does not matter here
    }
    return err;
}

bool pl_local_version(struct pl_engine *engine, struct pl_request *request)
{
    struct pl_local *local = pl_local_of(engine);
    struct condition condition = condition_of(local, request);
    request->version = 0;
    return !condition.has_subject || find_version(local, request, &condition, &request->version);
}
