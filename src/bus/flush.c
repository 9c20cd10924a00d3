// SPDX-License-Identifier: MIT
//
// Flushing: what was published becomes as durable as is asked, whoever published it.
#include "bus/publish.h"

#include "base/error.h"

enum peal_err peal_bus_settle(peal_bus *bus, enum peal_durability level)
{
    if (!bus || (unsigned)level > PEAL_DURABILITY_DISK) {
        return pl_fail(PEAL_EINVAL, "peal_bus_settle needs a bus and a durability");
    }
    enum peal_err err = pl_bus_check_open(bus);
    if (!err && level > bus->engine->ops->durability) {
        err = pl_fail(PEAL_EUNSUPPORTED,
                      "%s: keeps events in memory only; durability %d is more than it can promise; "
                      "file: can",
                      bus->engine->ops->scheme, (int)level);
    }
    if (err || !bus->log || !bus->engine->ops->settle) {
        return err;
    }
    return pl_settle(bus, pl_log_end(bus->log), level);
}
