// SPDX-License-Identifier: MIT
//
// Identity: which log it is. What the ids of its events are made of is random, and is kept with it;
// so it is that, mixed, since nobody is to be able to tell an id that was not given yet.
#include "bus/calls.h"

#include "base/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// splitmix64.
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

enum peal_err peal_log_identity(char out[PEAL_LOG_IDENTITY_SIZE], peal_bus *bus)
{
    if (!out || !bus) {
        return pl_fail(PEAL_EINVAL, "peal_log_identity needs a bus and a place for the text");
    }
    enum peal_err err = pl_bus_check_open(bus);
    if (!err && !bus->log) {
        err = pl_fail(PEAL_EUNSUPPORTED, "%s: has no log", bus->engine->ops->scheme);
    }
    if (err) {
        return err;
    }
    const uint64_t *seed = bus->engine->origin;
    uint64_t one = mix(seed[0] ^ mix(seed[1])), other = mix(seed[1] ^ mix(one));
    if (*bus->engine->identity) {
        memcpy(out, bus->engine->identity, PEAL_LOG_IDENTITY_SIZE);
    } else {
        // Of 33 bytes, always.
        (void)snprintf(out, PEAL_LOG_IDENTITY_SIZE, "%016" PRIx64 "%016" PRIx64, one, other);
    }
    return PEAL_OK;
}
