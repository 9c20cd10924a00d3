// SPDX-License-Identifier: MIT
//
// Appending is the log's; settling is the storage's; what stands between them is here: a failure
// that all publishers have to hear of, and what the log knows of the time before it was opened.
#include "engine/stored.h"

#include "base/error.h"
#include "log/catalog.h"
#include "log/cursor.h"
#include "log/kv.h"
#include "log/segfile.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// ---- saying -------------------------------------------------------------------------------------

void pl_stored_say(const struct pl_local *local, enum peal_level level, const char *text)
{
    if (local->say) {
        local->say(level, text, local->say_context);
    }
}

// ---- beginning ----------------------------------------------------------------------------------

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
    struct pl_window_key key = pl_state_id(state, source ? source : local->source, id);
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
    uint64_t first = log->past.first(log->past.context);
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

enum peal_err pl_stored_begin(struct pl_local *local, const struct pl_storage *storage,
                              uint64_t end)
{
    const struct pl_storage_ops *ops = storage->ops;
    struct pl_log *log = &local->log;
    local->storage = *storage;
    pl_log_begin(log, end, 0);
    atomic_init(&local->known_from, end > ops->first(storage->context) ? end : 0);
    log->past = (struct pl_log_past){ ops->read, ops->pick, ops->first, storage->context };
    log->find_floor = ops->written; // it forgets nothing that is not written
    log->floor_context = storage->context;
    atomic_init(&local->engine.log_is_store, !local->read_only);
    return look_back(local);
}

void pl_stored_publish(struct pl_local *local, uint64_t end)
{
    struct pl_log *log = &local->log;
    pl_turn_take(&log->turn, log->seams);
    if (end > pl_log_end(log)) {
        pl_log_publish(log, end);
        // Versions of streams are looked up again: none of it has passed through our memory.
        atomic_store_explicit(&local->known_from, end, memory_order_release);
    }
    pl_turn_give(&log->turn, log->seams);
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
        pl_stored_say(local, PEAL_LEVEL_WARNING, text);
    }
    if (found->damaged > 0 || found->headers > 0) {
        (void)snprintf(text, sizeof text,
                       "%s/%s: %" PRIu64 " changes of cursors and dead letters are damaged and "
                       "passed over; the file is kept as *.damaged",
                       path, found->file, found->damaged);
        pl_stored_say(local, PEAL_LEVEL_ERROR, text);
    }
    if (found->ahead > 0) {
        (void)snprintf(text, sizeof text,
                       "%s: %" PRIu64 " cursors and dead letters were ahead of the log, which has "
                       "lost what was not synced; they go back to its end",
                       path, found->ahead);
        pl_stored_say(local, PEAL_LEVEL_WARNING, text);
    }
}

enum peal_err pl_stored_open_state(struct pl_local *local, const char *directory,
                                   const uint64_t *seed, uint64_t end,
                                   const struct pl_engine_config *config)
{
    struct pl_kv_config wanted = { .seams = config->seams,
                                   .files = config->files,
                                   .path = directory,
                                   .seed = seed,
                                   // Who looks on sees what is written; the state may speak of
                                   // what the writer has only handed over.
                                   .log_end = config->read_only ? UINT64_MAX : end,
                                   .read_only = config->read_only,
                                   .ahead = config->ahead,
                                   .context = config->ahead_context };
    enum peal_err err = pl_kv_open(&local->engine.state, &wanted);
    if (!err) {
        say_state(local, directory);
    }
    return err;
}

// ---- appending ----------------------------------------------------------------------------------

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

enum peal_err pl_stored_append(struct pl_engine *engine, struct pl_request *requests, size_t count)
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

uint64_t pl_stored_version_in(const struct pl_frame *frame, const char *subject)
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

enum peal_err pl_stored_look(struct pl_engine *engine, struct pl_request *requests, size_t count)
{
    struct pl_local *local = pl_local_of(engine);
    const struct pl_storage *storage = &local->storage;
    // Acquire: what is not in memory any more is stored. If it moves on, it is looked again.
    uint64_t end = atomic_load_explicit(&local->known_from, memory_order_acquire);
    uint64_t erasures = atomic_load_explicit(&local->log.erasures, memory_order_acquire);
    for (size_t i = 0; i < count; i++) {
        if (!requests[i].unknown) {
            continue;
        }
        const char *subject = requests[i].append.message->subject;
        enum peal_err err =
            storage->ops->version(storage->context, &requests[i].looked_version, subject, end);
        if (err) {
            return err;
        }
        requests[i].looked_end = end;
        requests[i].looked_erasures = erasures;
        requests[i].unknown = false;
    }
    return PEAL_OK;
}

// ---- settling -----------------------------------------------------------------------------------

// Something could not be written before. Is all of it now?
static enum peal_err try_again(struct pl_local *local)
{
    struct pl_log *log = &local->log;
    const struct pl_storage *storage = &local->storage;
    enum peal_err err =
        storage->ops->settle(storage->context, log, pl_log_end(log), PEAL_DURABILITY_OS);
    if (err == PEAL_EIO && storage->ops->written(storage->context) >= pl_log_end(log)) {
        err = PEAL_OK; // what failed was given up, and the storage has gone on behind it
    }
    // What is written may be so in a storage that has failed: this one says it.
    err = err ? err : storage->ops->settle(storage->context, log, 0, PEAL_DURABILITY_MEMORY);
    if (!err) {
        // Relaxed: nobody acts on it but by asking again.
        atomic_store_explicit(&local->engine.log_is_store, true, memory_order_relaxed);
    }
    return err;
}

enum peal_err pl_stored_settle(struct pl_engine *engine, uint64_t end, enum peal_durability level)
{
    struct pl_local *local = pl_local_of(engine);
    const struct pl_storage *storage = &local->storage;
    if (local->read_only) {
        return pl_fail(PEAL_EUNSUPPORTED,
                       "the log was opened to be read only (read_only): nothing can be published");
    }
    enum peal_err err = PEAL_OK;
    if (!atomic_load_explicit(&engine->log_is_store, memory_order_relaxed)) {
        err = try_again(local);
    }
    err = err ? err : storage->ops->settle(storage->context, &local->log, end, level);
    if (err == PEAL_EIO &&
        atomic_exchange_explicit(&engine->log_is_store, false, memory_order_relaxed)) {
        pl_stored_say(local, PEAL_LEVEL_ERROR, peal_error_sentence());
    }
    if (engine->catalog) {
        pl_catalog_note(engine->catalog, storage->ops->written(storage->context));
    }
    return err;
}
