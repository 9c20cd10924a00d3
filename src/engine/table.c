// SPDX-License-Identifier: MIT
//
// All engines. Nothing registers itself: a new one is a file and a line here.
#include "engine/engine.h"

#include <string.h>

static const struct pl_engine_ops *const engines[] = {
    &pl_engine_noop,   &pl_engine_mem, &pl_engine_file, &pl_engine_http,
#ifdef PEAL_SQLITE
    &pl_engine_sqlite,
#endif
};

const struct pl_engine_ops *pl_engine_find(const char *scheme)
{
    for (size_t i = 0; i < sizeof engines / sizeof engines[0]; i++) {
        if (strcmp(engines[i]->scheme, scheme) == 0) {
            return engines[i];
        }
    }
    return NULL;
}

const char *pl_engine_schemes(void)
{
#ifdef PEAL_SQLITE
    return "noop:, mem:, file:, sqlite:, http:";
#else
    return "noop:, mem:, file:, http: (this Peal was built without sqlite:)";
#endif
}
