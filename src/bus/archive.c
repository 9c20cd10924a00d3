// SPDX-License-Identifier: MIT
//
// Compressing what is stored: the engine does it, and this checks what was asked.
#include "bus/ask.h"

#include "base/error.h"

enum peal_err peal_log_archive(struct peal_savings *out, peal_bus *bus,
                               const struct peal_archive *archive)
{
    static const struct peal_archive all;
    if (!bus || (archive && archive->before_ns < 0)) {
        return pl_fail(PEAL_EINVAL,
                       "peal_log_archive needs a bus, and a time that is not negative");
    }
    enum peal_err err = pl_bus_check_open(bus);
    if (!err && !bus->engine->ops->archive) {
        return pl_bus_lacks(bus, "has no files that could be archived");
    }
    if (!err && pl_asks(bus)) {
        return pl_ask_archive(out, bus, archive ? archive : &all);
    }
    struct peal_savings savings = { 0 };
    err = err ? err : bus->engine->ops->archive(bus->engine, archive ? archive : &all, &savings);
    if (!err && out) {
        *out = savings;
    }
    return err;
}
