// SPDX-License-Identifier: MIT
//
// Verifying what is stored, and mending it: the engine does it, and this checks what was asked.
#include "bus/calls.h"

#include "base/error.h"

enum peal_err pl_bus_lacks(const struct peal_bus *bus, const char *has_none)
{
    const char *scheme = bus->engine->ops->scheme;
    return pl_is_remote(bus)
               ? pl_fail(PEAL_EUNSUPPORTED,
                         "%s: is the log of a service: it is verified, mended, archived and erased "
                         "from where the service has it (peal doctor, peal erase)",
                         scheme)
               : pl_fail(PEAL_EUNSUPPORTED, "%s: %s", scheme, has_none);
}

enum peal_err pl_bus_refresh(struct peal_bus *bus)
{
    return bus->options.read_only ? bus->engine->ops->refresh(bus->engine) : PEAL_OK;
}

enum peal_err peal_log_verify(struct peal_health *out, peal_bus *bus,
                              const struct peal_verify *verify)
{
    static const struct peal_verify silent;
    if (!out || !bus) {
        return pl_fail(PEAL_EINVAL, "peal_log_verify needs a bus and a place for what it finds");
    }
    enum peal_err err = pl_bus_check_open(bus);
    if (!err && !bus->engine->ops->verify) {
        return pl_bus_lacks(bus, "stores nothing that could be damaged");
    }
    err = err ? err : pl_bus_refresh(bus);
    struct peal_health health = { 0 };
    err = err ? err : bus->engine->ops->verify(bus->engine, verify ? verify : &silent, &health);
    if (!err) {
        *out = health;
    }
    return err;
}

enum peal_err peal_log_repair(struct peal_repaired *out, peal_bus *bus,
                              const struct peal_repair *repair)
{
    static const struct peal_repair all;
    repair = repair ? repair : &all;
    if (!out || !bus) {
        return pl_fail(PEAL_EINVAL, "peal_log_repair needs a bus and a place for what it does");
    }
    enum peal_err err = pl_bus_check_open(bus);
    if (!err && !bus->engine->ops->repair) {
        return pl_bus_lacks(bus, "has no files that could be mended");
    }
    if (!err && !repair->dry_run) {
        err = pl_bus_check_writes(bus, "nothing can be mended, but by a dry run");
    }
    err = err ? err : pl_bus_refresh(bus);
    struct peal_repaired done = { 0 };
    err = err ? err : bus->engine->ops->repair(bus->engine, repair, &done);
    if (!err) {
        *out = done;
    }
    return err;
}
