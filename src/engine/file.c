// SPDX-License-Identifier: MIT
//
// file: the same log, with every event written behind it into files of a directory.
//
//     publish ─► log in memory ─► settle: written, or synced, as the level says
//                    │ forgets only what is written
//     readers ◄──────┴────◄ stretches read back: the log's past
//
// On opening the log begins where the files end, and the ids that count as seen are taken from the
// newest events. The version of a stream is looked up when it is first asked for, with its
// subject's index; from then on the log's state knows it.
//
// When something cannot be written or synced, nothing more is appended until all that was is in the
// files: each publish is asked of the engine, and an event that cannot be kept is not accepted. A
// full disk may have room again; what a write or a sync has failed on stays failed.
#include "engine/local.h"

#include "base/error.h"
#include "log/catalog.h"
#include "log/cursor.h"
#include "log/kv.h"
#include "log/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// ---- saying -------------------------------------------------------------------------------------

static void say(const struct pl_local *local, enum peal_level level, const char *text)
{
    if (local->say) {
        local->say(level, text, local->say_context);
    }
}

static void say_recovery(const struct pl_local *local, const char *path)
{
    const struct pl_recovery *found = pl_store_recovery(local->store);
    char text[PL_SENTENCE_MAX];
    if (found->cut_bytes > 0) {
        (void)snprintf(text, sizeof text,
                       "%s: the last %" PRIu64 " bytes of %s were not written whole when a process "
                       "or the power ended, and are cut; nothing in them was acknowledged as "
                       "durable",
                       path, found->cut_bytes, found->cut_file);
        say(local, PEAL_LEVEL_WARNING, text);
    }
    if (found->damaged > 0) {
        (void)snprintf(text, sizeof text,
                       "%s: %" PRIu64 " events are damaged and passed over, the first at position "
                       "%" PRIu64 "; all others are there: bring the file back from a copy if you "
                       "have one",
                       path, found->damaged, found->damaged_first);
        say(local, PEAL_LEVEL_ERROR, text);
    }
}

// ---- the past -----------------------------------------------------------------------------------

static enum peal_err read_past(void *context, struct pl_segment **out, uint64_t position)
{
    struct pl_local *local = context;
    return pl_store_read(out, local->store, local->reading, position);
}

// One event, in a segment of its own.
static enum peal_err pick_from_past(void *context, struct pl_segment **out, uint64_t position)
{
    struct pl_local *local = context;
    size_t size = PL_STORE_GET_LEAST;
    enum peal_err err = PEAL_ELIMIT;
    while (err == PEAL_ELIMIT) {
        size = (size + 127) & ~(size_t)127; // an even number of offsets keeps its frame aligned
        struct pl_segment *segment = pl_segment_create(local->log.seams, local->reading, size);
        if (!segment) {
            return pl_fail(PEAL_ENOMEM, "no memory to read an event");
        }
        pl_segment_reset(segment, position);
        const struct pl_frame *frame = NULL;
        err = pl_store_get(&frame, local->store, position, segment->bytes, &size);
        if (!err && frame) {
            pl_segment_commit(segment, frame);
            *out = segment;
            return PEAL_OK;
        }
        pl_segment_unref(segment);
    }
    *out = NULL;
    return err;
}

static uint64_t first_of_past(void *context)
{
    const struct pl_local *local = context;
    return pl_store_first(local->store);
}

// The log forgets nothing that is not written.
static uint64_t find_written(void *context)
{
    const struct pl_local *local = context;
    return pl_store_written(local->store);
}

// ---- opening ------------------------------------------------------------------------------------

// Ids that count as seen: of the newest events there are.
static enum peal_err see_again(struct pl_local *local, const struct pl_frame *frame)
{
    struct pl_state *state = &local->log.state;
    size_t length;
    const char *id = pl_frame_attribute(frame, PL_TAG_ID, &length);
    const char *source = pl_frame_attribute(frame, PL_TAG_SOURCE, &length);
    if (!id) {
        return PEAL_OK;
    }
    struct pl_hash128 key = pl_state_id_key(state, source ? source : local->source, id);
    return pl_state_seen(state, key, frame->recorded)
               ? PEAL_OK
               : pl_state_see(state, key, frame->position, frame->recorded);
}

// Takes from the newest events what the log knows of them: the time it has come to, and ids. What
// is too old to be a duplicate is not read.
static enum peal_err look_back(struct pl_local *local)
{
    struct pl_log *log = &local->log;
    const struct pl_state_limits *limits = &log->state.limits;
    uint64_t end = pl_log_end(log);
    uint64_t first = pl_store_first(local->store);
    struct pl_cursor place = { 0 };
    const struct pl_frame *frame = end > first ? pl_cursor_pick(&place, log, end - 1) : NULL;
    int64_t newest = frame ? frame->recorded : 0;
    int64_t now = log->seams->realtime(log->seams->world);
    if (end - first > limits->duplicate_events) {
        first = end - limits->duplicate_events;
    }
    bool too_old = frame && limits->duplicate_ns < now && newest < now - limits->duplicate_ns;
    uint64_t position = too_old ? end : first;
    enum peal_err err = end > first ? place.err : PEAL_OK;
    while (!err && position < end) {
        frame = pl_cursor_at(&place, log, position);
        if (!frame) {
            err = place.err;
            break;
        }
        err = see_again(local, frame);
        newest = frame->recorded > newest ? frame->recorded : newest;
        position = frame->position + 1;
    }
    pl_cursor_rest(&place);
    log->clock.last = newest;
    return err;
}

static enum peal_err open_store(struct pl_local *local, const char *path,
                                const struct pl_engine_config *config)
{
    struct pl_store_config wanted = { .seams = config->seams,
                                      .files = config->files,
                                      .path = path,
                                      .source = config->source,
                                      .file_bytes = config->segment_bytes,
                                      .type_of = config->types.name,
                                      .number_of = config->types.number,
                                      .type_context = config->types.context,
                                      .go_on = config->go_on,
                                      .read_only = config->read_only };
    return pl_store_open(&local->store, &wanted);
}

static enum peal_err open_catalog(struct pl_local *local, const char *path,
                                  const struct pl_engine_config *config)
{
    struct pl_catalog_config wanted = { .seams = config->seams,
                                        .files = config->files,
                                        .path = path,
                                        .log = &local->log,
                                        .end = pl_store_end(local->store),
                                        .type_of = config->types.name,
                                        .type_context = config->types.context,
                                        .read_only = config->read_only };
    memcpy(wanted.seed, local->engine.origin, sizeof wanted.seed);
    return pl_catalog_open(&local->engine.catalog, &wanted);
}

// ---- the state beside the log -------------------------------------------------------------------

static void say_state(const struct pl_local *local, const char *path)
{
    const struct pl_kv_recovery *found = pl_kv_recovery(local->engine.state);
    char text[PL_SENTENCE_MAX];
    if (found->cut_bytes > 0) {
        (void)snprintf(text, sizeof text,
                       "%s/%s: its last %" PRIu64 " bytes were not written whole when a process or "
                       "the power ended, and do not count: some events may be delivered again",
                       path, found->file, found->cut_bytes);
        say(local, PEAL_LEVEL_WARNING, text);
    }
    if (found->damaged > 0 || found->headers > 0) {
        (void)snprintf(text, sizeof text,
                       "%s/%s: %" PRIu64 " changes of cursors and dead letters are damaged and "
                       "passed over; the file is kept as *.damaged",
                       path, found->file, found->damaged);
        say(local, PEAL_LEVEL_ERROR, text);
    }
    if (found->ahead > 0) {
        (void)snprintf(text, sizeof text,
                       "%s: %" PRIu64 " cursors and dead letters were ahead of the log, which has "
                       "lost what was not synced; they go back to its end",
                       path, found->ahead);
        say(local, PEAL_LEVEL_WARNING, text);
    }
}

static enum peal_err open_state(struct pl_local *local, const char *path,
                                const struct pl_engine_config *config)
{
    struct pl_kv_config wanted = { .seams = config->seams,
                                   .files = config->files,
                                   .path = path,
                                   .seed = pl_store_seed(local->store),
                                   .log_end = pl_store_end(local->store),
                                   .read_only = config->read_only,
                                   .ahead = config->ahead,
                                   .context = config->ahead_context };
    enum peal_err err = pl_kv_open(&local->engine.state, &wanted);
    if (!err) {
        say_state(local, path);
    }
    return err;
}

static void file_close(struct pl_engine *engine);

static enum peal_err file_open(struct pl_engine **out, const struct pl_url *url,
                               const struct pl_engine_config *config)
{
    if (url->host && *url->host) {
        return pl_fail(PEAL_EURL,
                       "file: has no host, and \"%s\" is one; write \"file:./events\" or "
                       "\"file:/var/lib/events\"",
                       url->host);
    }
    if (!url->path || !*url->path) {
        return pl_fail(PEAL_EURL, "file: needs the directory of the log, as in \"file:./events\"");
    }
    struct pl_local *local;
    enum peal_err err = pl_local_create(&local, config);
    if (err) {
        return err;
    }
    local->engine.ops = &pl_engine_file;
    local->types = config->types;
    local->say = config->say;
    local->say_context = config->say_context;
    local->read_only = config->read_only;
    local->retention = config->retention;
    local->unread = config->unread;
    local->unread_context = config->unread_context;
    local->reading = pl_budget_create(config->seams);
    if (!local->reading) {
        err = pl_fail(PEAL_ENOMEM, "no memory to open file:");
    }
    err = err ? err : open_store(local, url->path, config);
    err = err ? err : open_state(local, url->path, config);
    if (err) {
        file_close(&local->engine);
        return err;
    }
    memcpy(local->engine.origin, pl_store_seed(local->store), sizeof local->engine.origin);
    uint64_t end = pl_store_end(local->store);
    pl_log_begin(&local->log, end, 0);
    atomic_init(&local->known_from, end > pl_store_first(local->store) ? end : 0);
    local->log.past = (struct pl_log_past){ read_past, pick_from_past, first_of_past, local };
    local->log.find_floor = find_written;
    local->log.floor_context = local;
    atomic_init(&local->engine.log_is_store, !local->read_only);
    err = look_back(local);
    err = err ? err : open_catalog(local, url->path, config);
    if (err) {
        file_close(&local->engine);
        return err;
    }
    say_recovery(local, url->path);
    *out = &local->engine;
    return PEAL_OK;
}

// ---- appending and settling ---------------------------------------------------------------------

// Nobody has been told of them yet: they may still be changed.
static void mark_batch(struct pl_request *requests, size_t count)
{
    struct pl_frame *before = NULL;
    for (size_t i = 0; i < count; i++) {
        if (requests[i].frame) {
            if (before) {
                before->flags |= PL_FLAG_MORE;
            }
            before = (struct pl_frame *)requests[i].frame;
        }
    }
}

static enum peal_err file_append(struct pl_engine *engine, struct pl_request *requests,
                                 size_t count)
{
    // Relaxed: who failed to settle has said so before; others find out when they settle.
    if (!atomic_load_explicit(&engine->log_is_store, memory_order_relaxed)) {
        return PEAL_EAGAIN; // there is no room until a settle, without the turn, says so
    }
    enum peal_err err = pl_local_append(engine, requests, count);
    if (!err && count > 1) {
        mark_batch(requests, count);
    }
    return err;
}

// The version of an event in the stream of a subject; 0: it is in another.
static uint64_t version_in(const struct pl_frame *frame, const char *subject)
{
    size_t length;
    uint64_t version = 0;
    const char *its = pl_frame_attribute(frame, PL_TAG_SUBJECT, &length);
    const char *bytes = pl_frame_attribute(frame, PL_TAG_VERSION, &length);
    if (its && bytes && strcmp(its, subject) == 0) {
        memcpy(&version, bytes, sizeof version);
    }
    return version;
}

// The version of a stream as of the events below `end`: its newest one's.
static enum peal_err look_one(struct pl_local *local, struct pl_request *request, uint64_t end)
{
    const char *subject = request->append.message->subject;
    struct pl_lookup_wanted wanted = { .first = pl_store_first(local->store),
                                       .end = end,
                                       .backwards = true,
                                       .keys = { [PL_KEY_SUBJECT] = subject },
                                       .earliest = INT64_MIN,
                                       .latest = INT64_MAX };
    struct pl_lookup *lookup;
    enum peal_err err = pl_lookup_create(&lookup, local->engine.catalog, &wanted);
    if (err) {
        return err;
    }
    struct pl_cursor place = { 0 };
    uint64_t version = 0, position = 0;
    bool dense;
    while (!err && !version && !(err = pl_lookup_next(lookup, &position, &dense)) && position) {
        const struct pl_frame *frame = dense ? pl_cursor_back(&place, &local->log, position)
                                             : pl_cursor_pick(&place, &local->log, position);
        err = frame ? PEAL_OK : place.err;
        if (frame && frame->position == position) {
            version = version_in(frame, subject);
        }
    }
    pl_cursor_rest(&place);
    pl_lookup_destroy(lookup);
    if (!err) {
        request->looked_end = end;
        request->looked_version = version;
        request->unknown = false;
    }
    return err;
}

static enum peal_err file_look(struct pl_engine *engine, struct pl_request *requests, size_t count)
{
    struct pl_local *local = pl_local_of(engine);
    // Acquire: what is not in memory any more is in the files. If it moves on, it is looked again.
    uint64_t end = atomic_load_explicit(&local->known_from, memory_order_acquire);
    for (size_t i = 0; i < count; i++) {
        if (requests[i].unknown) {
            enum peal_err err = look_one(local, &requests[i], end);
            if (err) {
                return err;
            }
        }
    }
    return PEAL_OK;
}

// Something could not be written before. Is all of it now?
static enum peal_err try_again(struct pl_local *local)
{
    struct pl_log *log = &local->log;
    enum peal_err err = pl_store_settle(local->store, log, pl_log_end(log), PEAL_DURABILITY_OS);
    // What is in the files may be so of a store that has failed: this one says it.
    err = err ? err : pl_store_settle(local->store, log, 0, PEAL_DURABILITY_MEMORY);
    if (!err) {
        // Relaxed: nobody acts on it but by asking again.
        atomic_store_explicit(&local->engine.log_is_store, true, memory_order_relaxed);
    }
    return err;
}

static enum peal_err file_settle(struct pl_engine *engine, uint64_t end, enum peal_durability level)
{
    struct pl_local *local = pl_local_of(engine);
    if (local->read_only) {
        return pl_fail(PEAL_EUNSUPPORTED,
                       "the log was opened to be read only (read_only): nothing can be published");
    }
    enum peal_err err = PEAL_OK;
    if (!atomic_load_explicit(&engine->log_is_store, memory_order_relaxed)) {
        err = try_again(local);
    }
    err = err ? err : pl_store_settle(local->store, &local->log, end, level);
    if (err == PEAL_EIO &&
        atomic_exchange_explicit(&engine->log_is_store, false, memory_order_relaxed)) {
        say(local, PEAL_LEVEL_ERROR, peal_error_sentence());
    }
    pl_catalog_note(local->engine.catalog, pl_store_written(local->store));
    if (!err) {
        pl_local_retain(local);
    }
    return err;
}

// ---- reading beside a process that writes, and verifying ----------------------------------------

static enum peal_err file_refresh(struct pl_engine *engine)
{
    struct pl_local *local = pl_local_of(engine);
    struct pl_log *log = &local->log;
    pl_mutex_lock(&local->refreshing, log->seams);
    enum peal_err err = pl_store_refresh(local->store);
    uint64_t end = pl_store_written(local->store);
    pl_mutex_unlock(&local->refreshing, log->seams);
    if (err) {
        return err;
    }
    pl_turn_take(&log->turn, log->seams);
    if (end > pl_log_end(log)) {
        pl_log_publish(log, end);
        // Versions of streams are looked up again: none of it has passed through our memory.
        atomic_store_explicit(&local->known_from, end, memory_order_release);
    }
    pl_turn_give(&log->turn, log->seams);
    pl_catalog_note(engine->catalog, end);
    return PEAL_OK;
}

struct verifying {
    const struct peal_verify *verify;
    struct peal_health *health;
    bool stopped;
};

static void meet_damage(void *context, const char *path, const struct pl_damage *damage)
{
    const struct verifying *verifying = context;
    verifying->health->damages++;
    verifying->health->lost += damage->end - damage->first;
    if (verifying->verify->damage) {
        struct peal_damage told = { .first = damage->first,
                                    .end = damage->end,
                                    .file = path,
                                    .offset = damage->offset,
                                    .bytes = damage->bytes };
        verifying->verify->damage(&told, verifying->verify->context);
    }
}

static bool meet_progress(void *context, uint64_t done, uint64_t total)
{
    struct verifying *verifying = context;
    verifying->health->bytes = done;
    verifying->stopped = verifying->verify->progress &&
                         !verifying->verify->progress(done, total, verifying->verify->context);
    return !verifying->stopped;
}

static enum peal_err file_verify(struct pl_engine *engine, const struct peal_verify *verify,
                                 struct peal_health *out)
{
    static const struct pl_verify_ops ops = { meet_damage, meet_progress };
    struct verifying verifying = { .verify = verify, .health = out };
    enum peal_err err = pl_store_verify(pl_local_of(engine)->store, &ops, &verifying);
    if (!err && verifying.stopped) {
        err = pl_fail(PEAL_ESTATE, "verifying was stopped");
    }
    return err;
}

static void file_close(struct pl_engine *engine)
{
    if (!engine) {
        return;
    }
    struct pl_local *local = pl_local_of(engine);
    if (pl_kv_close(engine->state)) { // first: the directory is the store's
        say(local, PEAL_LEVEL_ERROR, peal_error_sentence());
    }
    pl_catalog_close(engine->catalog);
    if (pl_store_close(local->store, local->log.past.read ? &local->log : NULL)) {
        say(local, PEAL_LEVEL_ERROR, peal_error_sentence());
    }
    if (local->reading) {
        pl_budget_unref(local->reading, local->log.seams);
    }
    pl_local_destroy(local);
}

const struct pl_engine_ops pl_engine_file = {
    .scheme = "file",
    .capabilities =
        PL_CAN_DELIVER | PL_CAN_KEEP | PL_CAN_EXPECT | PL_CAN_DEDUPLICATE | PL_CAN_STORE,
    .durability = PEAL_DURABILITY_DISK,
    .open = file_open,
    .append = file_append,
    .version = pl_local_version,
    .look = file_look,
    .settle = file_settle,
    .refresh = file_refresh,
    .verify = file_verify,
    .close = file_close,
};
