// SPDX-License-Identifier: MIT
//
// file: the same log, with every event written behind it into files of a directory.
//
//     publish ─► log in memory ─► settle: written, or synced, as the level says
//                    │ forgets only what is written
//     readers ◄──────┴────◄ stretches read back: the log's past
//
// On opening the log begins where the files end; the versions of streams and the ids that count as
// seen are taken from what is there.
//
// When a write or a sync fails the store takes nothing more. Then each publish is asked of the
// engine, which refuses it: an event that cannot be kept is not accepted.
#include "engine/local.h"

#include "base/error.h"
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
    return pl_store_read(out, local->store, local->reading, position, local->types.number,
                         local->types.context);
}

static enum peal_err pick_from_past(void *context, struct pl_segment **out, uint64_t position)
{
    enum peal_err err = read_past(context, out, position);
    if (!err && *out && (*out)->first != position) {
        pl_segment_unref(*out);
        *out = NULL;
    }
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

// What is known of an event that was there before: its stream's version, and its id.
static enum peal_err remember(void *context, const struct pl_frame *record)
{
    struct pl_local *local = context;
    struct pl_state *state = &local->log.state;
    const char *id = NULL, *source = local->source, *subject = NULL;
    uint64_t version = 0;
    const char *cursor = NULL;
    struct pl_attribute attribute;
    enum peal_err err = PEAL_OK;
    while (pl_frame_next(record, &cursor, &attribute)) {
        if (attribute.tag == PL_TAG_TYPE &&
            local->types.number(local->types.context, attribute.bytes) == PL_TYPE_INSIDE) {
            return pl_fail(PEAL_ELIMIT,
                           "the log has more types than types_max allows, or there is no memory "
                           "for them: raise the limit");
        }
        id = attribute.tag == PL_TAG_ID ? attribute.bytes : id;
        source = attribute.tag == PL_TAG_SOURCE ? attribute.bytes : source;
        subject = attribute.tag == PL_TAG_SUBJECT ? attribute.bytes : subject;
        if (attribute.tag == PL_TAG_VERSION) {
            memcpy(&version, attribute.bytes, sizeof version);
        }
    }
    if (subject && version) {
        err =
            pl_state_set(state, pl_state_subject_key(state, subject), version, record->position, 0);
    }
    if (!err && id) {
        struct pl_hash128 key = pl_state_id_key(state, source, id);
        if (!pl_state_seen(state, key, record->recorded)) {
            err = pl_state_see(state, key, record->position, record->recorded);
        }
    }
    local->log.clock.last =
        record->recorded > local->log.clock.last ? record->recorded : local->log.clock.last;
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
                                      .type_context = config->types.context,
                                      .replay = remember,
                                      .replay_context = local };
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
                                        .type_context = config->types.context };
    memcpy(wanted.seed, local->engine.origin, sizeof wanted.seed);
    return pl_catalog_open(&local->engine.catalog, &wanted);
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
    local->reading = pl_budget_create(config->seams);
    if (!local->reading) {
        err = pl_fail(PEAL_ENOMEM, "no memory to open file:");
    }
    err = err ? err : open_store(local, url->path, config);
    if (err) {
        file_close(&local->engine);
        return err;
    }
    memcpy(local->engine.origin, pl_store_seed(local->store), sizeof local->engine.origin);
    pl_log_begin(&local->log, pl_store_end(local->store), local->log.clock.last);
    local->log.past = (struct pl_log_past){ read_past, pick_from_past, first_of_past, local };
    local->log.find_floor = find_written;
    local->log.floor_context = local;
    atomic_init(&local->engine.log_is_store, true);
    err = open_catalog(local, url->path, config);
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
        return pl_store_settle(pl_local_of(engine)->store, &pl_local_of(engine)->log, 0,
                               PEAL_DURABILITY_MEMORY); // says what has failed
    }
    enum peal_err err = pl_local_append(engine, requests, count);
    if (!err && count > 1) {
        mark_batch(requests, count);
    }
    return err;
}

static enum peal_err file_settle(struct pl_engine *engine, uint64_t end, enum peal_durability level)
{
    struct pl_local *local = pl_local_of(engine);
    enum peal_err err = pl_store_settle(local->store, &local->log, end, level);
    if (err == PEAL_EIO &&
        atomic_exchange_explicit(&engine->log_is_store, false, memory_order_relaxed)) {
        say(local, PEAL_LEVEL_ERROR, peal_error_sentence());
    }
    pl_catalog_note(local->engine.catalog, pl_store_written(local->store));
    return err;
}

static void file_close(struct pl_engine *engine)
{
    if (!engine) {
        return;
    }
    struct pl_local *local = pl_local_of(engine);
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
    .settle = file_settle,
    .close = file_close,
};
