// SPDX-License-Identifier: MIT
//
// file: the same log, with every event written behind it into files of a directory.
//
//     publish ─► log in memory ─► settle: written, or synced, as the level says
//                    │ forgets only what is written
//     readers ◄──────┴────◄ stretches read back: the log's past
//
// What it has in common with other engines that store is in stored.h; here is the storage
// (log/storage.h), and how it is opened and closed. A full disk may have room again; what a write
// or a sync has failed on stays failed.
#include "engine/stored.h"

#include "base/error.h"
#include "log/catalog.h"
#include "log/cursor.h"
#include "log/index_block.h"
#include "log/kv.h"
#include "log/pack.h"
#include "log/repair.h"
#include "log/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// ---- saying -------------------------------------------------------------------------------------

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
        pl_stored_say(local, PEAL_LEVEL_WARNING, text);
    }
    if (found->damaged > 0) {
        (void)snprintf(text, sizeof text,
                       "%s: %" PRIu64 " events are damaged and passed over, the first at position "
                       "%" PRIu64 "; all others are there: bring the file back from a copy if you "
                       "have one",
                       path, found->damaged, found->damaged_first);
        pl_stored_say(local, PEAL_LEVEL_ERROR, text);
    }
}

// ---- the storage --------------------------------------------------------------------------------

static enum peal_err read_past(void *context, struct pl_segment **out, uint64_t position)
{
    struct pl_local *local = context;
    return pl_store_read(out, local->store, local->reading, position);
}

// Most events that are picked fit one size, and most are let go of before the next is picked: one
// segment is kept for them.
#define PICKED_SIZE PL_STORE_GET_LEAST

// One to read an event into. NULL without memory.
static struct pl_segment *take_picked(struct pl_local *local, size_t size)
{
    if (size == PICKED_SIZE) {
        // Acquire: it is whole. And all reads of it by who had it come before ours.
        struct pl_segment *kept =
            atomic_exchange_explicit(&local->picked, NULL, memory_order_acquire);
        if (kept && atomic_load_explicit(&kept->refs, memory_order_acquire) == 1) {
            return kept;
        }
        pl_segment_unref(kept); // somebody stands in it
    }
    struct pl_segment *segment = pl_segment_create(local->log.seams, local->reading, size);
    if (segment) {
        segment->events_max = 1;
    }
    return segment;
}

static void keep_picked(struct pl_local *local, struct pl_segment *segment)
{
    if (segment->size == PICKED_SIZE) {
        pl_segment_ref(segment);
        // Release: who takes it finds it whole.
        pl_segment_unref(atomic_exchange_explicit(&local->picked, segment, memory_order_acq_rel));
    }
}

// One event, in a segment of its own.
static enum peal_err pick_from_past(void *context, struct pl_segment **out, uint64_t position,
                                    struct pl_coming *coming)
{
    struct pl_local *local = context;
    size_t size = PL_STORE_GET_LEAST;
    enum peal_err err = PEAL_ELIMIT;
    while (err == PEAL_ELIMIT) {
        size = (size + 127) & ~(size_t)127; // an even number of offsets keeps its frame aligned
        struct pl_segment *segment = take_picked(local, size);
        if (!segment) {
            return pl_fail(PEAL_ENOMEM, "no memory to read an event");
        }
        pl_segment_reset(segment, position);
        const struct pl_frame *frame = NULL;
        const struct pl_get get = { position, segment->bytes, coming };
        err = pl_store_get_of(&frame, local->store, &get, &size);
        bool erased = !err && !frame && size == 0;
        if (!err && (frame || erased)) {
            if (erased) {
                pl_segment_commit_erased(segment);
            } else {
                pl_segment_commit(segment, frame);
            }
            keep_picked(local, segment);
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

static uint64_t find_written(void *context)
{
    const struct pl_local *local = context;
    return pl_store_written(local->store);
}

static enum peal_err settle(void *context, struct pl_log *log, uint64_t end,
                            enum peal_durability level)
{
    const struct pl_local *local = context;
    return pl_store_settle(local->store, log, end, level);
}

// What of a stream is damaged, behind its newest whole event.
struct damaged {
    uint64_t count, newest; // the position of the newest
};

// A position where an event of the stream was looked for has none. Was it one of the stream's that
// is damaged? An index may know, or its bytes say so.
static enum peal_err meet_nothing(struct pl_local *local, const char *subject, uint64_t position,
                                  struct damaged *damaged)
{
    struct pl_glimpse glimpse;
    enum peal_err err = pl_store_glimpse(&glimpse, local->store, position);
    if (err || !glimpse.damaged) {
        return err;
    }
    bool of_it = strcmp(glimpse.subject, subject) == 0;
    err = of_it ? PEAL_OK : pl_catalog_recalls(&of_it, local->engine.catalog, position, subject);
    if (!err && of_it) {
        damaged->count++;
        damaged->newest = position > damaged->newest ? position : damaged->newest;
    }
    return err;
}

// The version of a stream as of the events below `end`: its newest one's, and one more for each
// behind it that is damaged, so that none is given again. If none is whole, and some may have been
// forgotten, nobody knows how many there were: not more than positions.
static enum peal_err find_version(void *context, uint64_t *out, const char *subject, uint64_t end)
{
    struct pl_local *local = context;
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
    struct damaged damaged = { 0 };
    uint64_t version = 0, position = 0;
    bool dense;
    while (!err && !version && !(err = pl_lookup_next(lookup, &position, &dense)) && position) {
        const struct pl_frame *frame = dense ? pl_cursor_back(&place, &local->log, position)
                                             : pl_cursor_pick(&place, &local->log, position);
        err = frame ? PEAL_OK : place.err;
        if (frame) {
            version = pl_stored_version_in(frame, subject);
        } else if (!err && !place.was_erased) {
            err = meet_nothing(local, subject, position, &damaged);
        }
    }
    pl_cursor_rest(&place);
    pl_lookup_destroy(lookup);
    if (!err) {
        bool counts = version > 0 || wanted.first == 1;
        *out = counts ? version + damaged.count : damaged.newest;
    }
    return err;
}

static const struct pl_storage_ops storage_ops = { .read = read_past,
                                                   .pick = pick_from_past,
                                                   .first = first_of_past,
                                                   .written = find_written,
                                                   .settle = settle,
                                                   .version = find_version };

// ---- opening ------------------------------------------------------------------------------------

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

static enum peal_err glimpse(void *context, struct pl_glimpse *out, uint64_t position)
{
    const struct pl_local *local = context;
    return pl_store_glimpse(out, local->store, position);
}

static void given_up(void *context, uint64_t from, uint64_t *out_first, uint64_t *out_end)
{
    const struct pl_local *local = context;
    pl_store_given_up(local->store, from, out_first, out_end);
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
                                        .digests = pl_store_digests(local->store),
                                        .glimpse = glimpse,
                                        .given_up = given_up,
                                        .store_context = local,
                                        .read_only = config->read_only };
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
    if (config->retention.archive_ms && !pl_pack_is_here()) {
        return pl_fail(PEAL_EUNSUPPORTED,
                       "archive_ms: this Peal was built without zstd and cannot archive: install "
                       "libzstd-dev and build it again, or leave it out");
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
    err = err ? err
              : pl_stored_open_state(local, url->path, pl_store_seed(local->store),
                                     pl_store_end(local->store), config);
    if (err) {
        file_close(&local->engine);
        return err;
    }
    memcpy(local->engine.origin, pl_store_seed(local->store), sizeof local->engine.origin);
    struct pl_storage storage = { &storage_ops, local };
    err = pl_stored_begin(local, &storage, pl_store_end(local->store));
    err = err ? err : open_catalog(local, url->path, config);
    if (err) {
        file_close(&local->engine);
        return err;
    }
    say_recovery(local, url->path);
    *out = &local->engine;
    return PEAL_OK;
}

static enum peal_err file_settle(struct pl_engine *engine, uint64_t end, enum peal_durability level)
{
    enum peal_err err = pl_stored_settle(engine, end, level);
    if (!err) {
        pl_keeper_note(pl_local_of(engine));
    }
    return err;
}

// Nobody asks what has become of events before: those that were given up behind a failure need to
// be kept as little as those that are written.
static enum peal_err file_write(struct pl_engine *engine)
{
    struct pl_local *local = pl_local_of(engine);
    uint64_t end = pl_log_end(&local->log);
    enum peal_err err = pl_store_write(local->store, &local->log);
    return err == PEAL_EIO && pl_store_written(local->store) >= end ? PEAL_OK : err;
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
    pl_stored_publish(local, end);
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

// It costs no event: what it says can be found by reading.
static void meet_damaged_index(void *context, const char *path, uint64_t offset)
{
    const struct pl_damage damage = { .offset = offset, .bytes = PL_BLOCK };
    meet_damage(context, path, &damage);
}

static void meet_erased(void *context, uint64_t position)
{
    const struct verifying *verifying = context;
    (void)position;
    verifying->health->erased++;
}

static enum peal_err file_verify(struct pl_engine *engine, const struct peal_verify *verify,
                                 struct peal_health *out)
{
    static const struct pl_verify_ops ops = { meet_damage, meet_progress, meet_erased };
    struct verifying verifying = { .verify = verify, .health = out };
    enum peal_err err = pl_store_verify(pl_local_of(engine)->store, &ops, &verifying);
    if (!err && !verifying.stopped) {
        err = pl_catalog_verify(engine->catalog, meet_damaged_index, &verifying);
    }
    if (!err && verifying.stopped) {
        err = pl_fail(PEAL_ESTATE, "verifying was stopped");
    }
    return err;
}

static enum peal_err file_archive(struct pl_engine *engine, const struct peal_archive *archive,
                                  struct peal_savings *out)
{
    return pl_local_archive(pl_local_of(engine), archive, out);
}

static void file_holdings(struct pl_engine *engine, struct peal_bus_stats *out)
{
    struct pl_holdings holdings;
    pl_store_holdings(&holdings, pl_local_of(engine)->store);
    out->log_files = holdings.files;
    out->log_archived = holdings.archived;
    out->log_bytes = holdings.bytes;
    pl_store_syncs(&out->sync_time, &out->sync_failures, pl_local_of(engine)->store);
}

static enum peal_err file_repair(struct pl_engine *engine, const struct peal_repair *wanted,
                                 struct peal_repaired *out)
{
    struct pl_local *local = pl_local_of(engine);
    struct pl_repair repair = { .wanted = wanted, .out = out };
    pl_mutex_lock(&local->retaining, local->log.seams);
    enum peal_err err = pl_store_repair(local->store, &repair);
    err = err ? err : pl_catalog_repair(engine->catalog, &repair);
    pl_mutex_unlock(&local->retaining, local->log.seams);
    if (!local->read_only) {
        pl_local_retain(local); // nothing was forgotten meanwhile
    }
    return err;
}

// ---- erasing ------------------------------------------------------------------------------------

// What is asked of the files, and of whom it is to be told.
struct erasing {
    struct pl_local *local;
    const struct pl_erasure *erasure;
};

static bool tell_progress(void *context, uint64_t done, uint64_t total)
{
    const struct pl_erasure *erasure = ((const struct erasing *)context)->erasure;
    return !erasure->progress || erasure->progress(erasure->context, done, total);
}

static enum peal_err erase_indexes(void *context, uint64_t first, uint64_t end)
{
    return pl_catalog_erase(((const struct erasing *)context)->local->engine.catalog, first, end);
}

static void count_erasure(void *context)
{
    pl_local_erased(((const struct erasing *)context)->local);
}

static enum peal_err erase_files(struct pl_local *local, const struct pl_erasure *erasure,
                                 struct pl_erased *out)
{
    enum peal_err err = PEAL_OK;
    if (!erasure->dry_run) {
        err = pl_stored_settle(&local->engine, erasure->end, PEAL_DURABILITY_DISK);
    } else if (!local->read_only) {
        err = pl_store_write(local->store, &local->log);
    }
    if (err || erasure->dry_run) {
        return err ? err : pl_store_erase(out, local->store, erasure);
    }
    struct erasing erasing = { local, erasure };
    struct pl_erasure meant = *erasure;
    meant.progress = tell_progress;
    meant.before = erase_indexes;
    meant.after = count_erasure;
    meant.context = &erasing;
    pl_catalog_hold(local->engine.catalog);
    err = pl_store_erase(out, local->store, &meant);
    pl_catalog_release(local->engine.catalog);
    return err;
}

static enum peal_err file_erase(struct pl_engine *engine, const struct pl_erasure *erasure,
                                struct pl_erased *out)
{
    struct pl_local *local = pl_local_of(engine);
    enum peal_err err = pl_local_erase(local, erasure, erase_files, out);
    if (!local->read_only) {
        pl_local_retain(local); // nothing was forgotten meanwhile
    }
    return err;
}

// The keeper asks the bus what is yet to be read.
static void file_stop(struct pl_engine *engine)
{
    pl_keeper_stop(pl_local_of(engine));
}

static void file_close(struct pl_engine *engine)
{
    if (!engine) {
        return;
    }
    struct pl_local *local = pl_local_of(engine);
    pl_keeper_stop(local);            // it reads and changes what is closed next
    if (pl_kv_close(engine->state)) { // first: the directory is the store's
        pl_stored_say(local, PEAL_LEVEL_ERROR, peal_error_sentence());
    }
    pl_catalog_close(engine->catalog);
    if (pl_store_close(local->store, local->log.past.read ? &local->log : NULL)) {
        pl_stored_say(local, PEAL_LEVEL_ERROR, peal_error_sentence());
    }
    pl_segment_unref(atomic_load_explicit(&local->picked, memory_order_relaxed)); // we are alone
    if (local->reading) {
        pl_budget_unref(local->reading, local->log.seams);
    }
    pl_local_destroy(local);
}

const struct pl_engine_ops pl_engine_file = {
    .scheme = "file",
    .capabilities = PL_CAN_DELIVER | PL_CAN_INLINE | PL_CAN_ERASE | PL_CAN_KEEP | PL_CAN_EXPECT |
                    PL_CAN_DEDUPLICATE | PL_CAN_STORE | PL_CAN_SEGMENT,
    .durability = PEAL_DURABILITY_DISK,
    .open = file_open,
    .append = pl_stored_append,
    .version = pl_local_version,
    .look = pl_stored_look,
    .settle = file_settle,
    .write = file_write,
    .refresh = file_refresh,
    .verify = file_verify,
    .archive = file_archive,
    .holdings = file_holdings,
    .repair = file_repair,
    .erase = file_erase,
    .stop = file_stop,
    .close = file_close,
};
