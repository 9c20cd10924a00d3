// SPDX-License-Identifier: MIT
//
// sqlite: the same log, with every event written behind it into a SQLite database, so that SQL can
// be asked of it. Also the pattern of an engine of your own: a storage (log/storage.h), opened and
// closed here; everything else is what engines that store have in common (stored.h).
#include "engine/sqlite.h"

#include "base/error.h"
#include "engine/stored.h"
#include "log/kv.h"

#include <string.h>

// ---- the storage --------------------------------------------------------------------------------

static uint64_t first_of(void *context)
{
    struct pl_sqlite *base = context;
    return atomic_load_explicit(&base->first, memory_order_acquire);
}

static uint64_t written_of(void *context)
{
    struct pl_sqlite *base = context;
    return atomic_load_explicit(&base->written, memory_order_acquire);
}

static const struct pl_storage_ops storage_ops = { .read = pl_sqlite_read,
                                                   .pick = pl_sqlite_pick,
                                                   .first = first_of,
                                                   .written = written_of,
                                                   .settle = pl_sqlite_settle,
                                                   .version = pl_sqlite_version };

// ---- the engine ---------------------------------------------------------------------------------

static struct pl_sqlite *base_of(struct pl_engine *engine)
{
    return pl_local_of(engine)->storage.context;
}

static void sqlite_close(struct pl_engine *engine)
{
    if (!engine) {
        return;
    }
    struct pl_local *local = pl_local_of(engine);
    if (pl_kv_close(engine->state)) { // first: the folder is the database's
        pl_stored_say(local, PEAL_LEVEL_ERROR, peal_error_sentence());
    }
    if (pl_sqlite_close(base_of(engine), local->log.past.read ? &local->log : NULL)) {
        pl_stored_say(local, PEAL_LEVEL_ERROR, peal_error_sentence());
    }
    pl_local_destroy(local);
}

static enum peal_err check_url(const struct pl_url *url)
{
    if (url->host && *url->host) {
        return pl_fail(PEAL_EURL,
                       "sqlite: has no host, and \"%s\" is one; write \"sqlite:./events.db\" or "
                       "\"sqlite:/var/lib/events.db\"",
                       url->host);
    }
    if (!url->path || !*url->path) {
        return pl_fail(PEAL_EURL,
                       "sqlite: needs the file of the log, as in \"sqlite:./events.db\"");
    }
    return PEAL_OK;
}

// The storage is the engine's from the first moment, to be closed with it.
static enum peal_err open_storage(struct pl_local *local, const char *path,
                                  const struct pl_engine_config *config)
{
    struct pl_sqlite *base = NULL;
    enum peal_err err = pl_sqlite_open(&base, path, config);
    local->storage.context = base;
    if (err) {
        return err;
    }
    struct pl_storage storage = { &storage_ops, base };
    memcpy(local->engine.origin, base->seed, sizeof local->engine.origin);
    // Who only reads may find a file alone: a copy, without what was done with its events.
    if (!config->read_only || pl_sqlite_has_folder(base)) {
        err = pl_stored_open_state(local, base->folder, base->seed, base->opened_at, config);
    }
    return err ? err : pl_stored_begin(local, &storage, base->opened_at);
}

static enum peal_err sqlite_open(struct pl_engine **out, const struct pl_url *url,
                                 const struct pl_engine_config *config)
{
    enum peal_err err = check_url(url);
    if (err) {
        return err;
    }
    struct pl_local *local;
    err = pl_local_create(&local, config);
    if (err) {
        return err;
    }
    local->engine.ops = &pl_engine_sqlite;
    local->types = config->types;
    local->say = config->say;
    local->say_context = config->say_context;
    local->read_only = config->read_only;
    err = open_storage(local, url->path, config);
    if (err) {
        sqlite_close(&local->engine);
        return err;
    }
    *out = &local->engine;
    return PEAL_OK;
}

static enum peal_err sqlite_refresh(struct pl_engine *engine)
{
    enum peal_err err = pl_sqlite_refresh(base_of(engine));
    if (!err) {
        pl_stored_publish(pl_local_of(engine), written_of(base_of(engine)));
    }
    return err;
}

static enum peal_err sqlite_verify(struct pl_engine *engine, const struct peal_verify *verify,
                                   struct peal_health *out)
{
    return pl_sqlite_verify(base_of(engine), verify, out);
}

static enum peal_err erase_rows(struct pl_local *local, const struct pl_erasure *erasure,
                                struct pl_erased *out)
{
    enum peal_durability level = erasure->dry_run ? PEAL_DURABILITY_OS : PEAL_DURABILITY_DISK;
    enum peal_err err =
        local->read_only ? PEAL_OK : pl_stored_settle(&local->engine, erasure->end, level);
    return err ? err : pl_sqlite_erase(local->storage.context, erasure, out);
}

static enum peal_err sqlite_erase(struct pl_engine *engine, const struct pl_erasure *erasure,
                                  struct pl_erased *out)
{
    return pl_local_erase(pl_local_of(engine), erasure, erase_rows, out);
}

const struct pl_engine_ops pl_engine_sqlite = {
    .scheme = "sqlite",
    .capabilities = PL_CAN_DELIVER | PL_CAN_INLINE | PL_CAN_ERASE | PL_CAN_KEEP | PL_CAN_EXPECT |
                    PL_CAN_DEDUPLICATE | PL_CAN_STORE,
    .durability = PEAL_DURABILITY_DISK,
    .open = sqlite_open,
    .append = pl_stored_append,
    .version = pl_local_version,
    .look = pl_stored_look,
    .settle = pl_stored_settle,
    .refresh = sqlite_refresh,
    .verify = sqlite_verify,
    .erase = sqlite_erase,
    .close = sqlite_close,
};
