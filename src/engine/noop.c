// SPDX-License-Identifier: MIT
//
// noop: every publish succeeds and costs nothing, because nothing happens. The bus looks for an
// engine without a log before it does anything else.
#include "engine/engine.h"

#include "base/error.h"

struct noop {
    struct pl_engine engine; // first: the engine is the noop
    const struct pl_seams *seams;
};

static enum peal_err noop_open(struct pl_engine **out, const struct pl_url *url,
                               const struct pl_engine_config *config)
{
    (void)url; // the bus has read the parameters
    struct noop *noop = pl_new(config->seams, sizeof *noop);
    if (!noop) {
        return pl_fail(PEAL_ENOMEM, "no memory to open noop:");
    }
    noop->engine.ops = &pl_engine_noop;
    noop->seams = config->seams;
    *out = &noop->engine;
    return PEAL_OK;
}

static void noop_close(struct pl_engine *engine)
{
    if (engine) {
        struct noop *noop = (struct noop *)(void *)engine;
        pl_release(noop->seams, noop);
    }
}

const struct pl_engine_ops pl_engine_noop = {
    .scheme = "noop",
    .capabilities = 0,
    .durability = PEAL_DURABILITY_MEMORY,
    .open = noop_open,
    .append = NULL,
    .close = noop_close,
};
