// SPDX-License-Identifier: MIT
//
// mem: the log in this process's memory. What it forgets is gone.
#include "engine/local.h"

#include "base/error.h"

static enum peal_err mem_open(struct pl_engine **out, const struct pl_url *url,
                              const struct pl_engine_config *config)
{
    // The bus has read the parameters.
    if ((url->host && *url->host) || (url->path && *url->path)) {
        return pl_fail(PEAL_EURL,
                       "mem: is this process's memory: it has no host and no path; write "
                       "\"mem:\", or \"mem:?workers=2\"");
    }
    struct pl_local *local;
    enum peal_err err = pl_local_create(&local, config);
    if (err) {
        return err;
    }
    local->engine.ops = &pl_engine_mem;
    atomic_init(&local->engine.log_is_store, true);
    *out = &local->engine;
    return PEAL_OK;
}

static enum peal_err mem_erase(struct pl_engine *engine, const struct pl_erasure *erasure,
                               struct pl_erased *out)
{
    return pl_local_erase(pl_local_of(engine), erasure, NULL, out);
}

static void mem_close(struct pl_engine *engine)
{
    if (engine) {
        pl_local_destroy(pl_local_of(engine));
    }
}

const struct pl_engine_ops pl_engine_mem = {
    .scheme = "mem",
    .capabilities = PL_CAN_DELIVER | PL_CAN_INLINE | PL_CAN_ERASE | PL_CAN_KEEP | PL_CAN_EXPECT |
                    PL_CAN_DEDUPLICATE,
    .durability = PEAL_DURABILITY_MEMORY,
    .open = mem_open,
    .append = pl_local_append,
    .version = pl_local_version,
    .erase = mem_erase,
    .close = mem_close,
};
