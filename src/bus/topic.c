// SPDX-License-Identifier: MIT
//
// What may be asked of a type before something is published: its handle, whether anybody would
// listen, how far a stream is.
#include "bus/calls.h"

#include "base/error.h"

enum peal_err peal_topic_open(const peal_topic **out, peal_bus *bus, const char *type)
{
    if (!out || !bus || !type) {
        return pl_fail(PEAL_EINVAL, "peal_topic_open needs a bus and a type");
    }
    enum peal_err err = pl_bus_check_open(bus);
    struct peal_topic *topic;
    if (!err) {
        err = pl_topic_get(&topic, bus, type);
    }
    if (!err) {
        *out = topic;
    }
    return err;
}

const char *peal_topic_type(const peal_topic *topic)
{
    return topic ? topic->type : "";
}

bool peal_topic_wants(const peal_topic *topic)
{
    struct peal_bus *bus = topic ? topic->bus : NULL;
    if (!bus || bus->silent) {
        return false;
    }
    if (bus->keeps) {
        return pl_bus_check_open(bus) == PEAL_OK;
    }
    struct pl_slot *slot = pl_slot_mine(bus);
    struct peal_topic *own = (struct peal_topic *)topic; // const only for users
    struct pl_route *route;
    if (!slot || pl_route_enter(&route, slot, own)) {
        return false; // closed, or no memory: publishing would not get through either
    }
    bool wanted = route->inline_count > 0 || route->intake_count > 0;
    pl_route_leave(bus, slot);
    return wanted;
}

bool peal_wants(peal_bus *bus, const char *type)
{
    if (!bus || bus->silent || !type) {
        return false;
    }
    struct peal_topic *topic;
    return pl_topic_get(&topic, bus, type) == PEAL_OK && peal_topic_wants(topic);
}

static enum peal_err find_version(uint64_t *out, struct peal_bus *bus, const char *subject)
{
    struct pl_log *log = bus->log;
    struct peal_message message = { .subject = subject };
    struct pl_request request = { .append = { .message = &message } };
    for (;;) {
        pl_turn_take(&log->turn, bus->seams);
        bool known = bus->engine->ops->version(bus->engine, &request);
        pl_turn_give(&log->turn, bus->seams);
        if (known) {
            *out = request.version;
            return PEAL_OK;
        }
        enum peal_err err = bus->engine->ops->look(bus->engine, &request, 1);
        if (err) {
            return err;
        }
    }
}

enum peal_err peal_stream_version(uint64_t *out, peal_bus *bus, const char *subject)
{
    if (!out || !bus || !subject) {
        return pl_fail(PEAL_EINVAL, "peal_stream_version needs a bus and a subject");
    }
    enum peal_err err = pl_bus_check_open(bus);
    if (err) {
        return err;
    }
    if (!bus->keeps) {
        return pl_fail(PEAL_EUNSUPPORTED, "this bus keeps no events, so there are no streams");
    }
    err = pl_bus_refresh(bus);
    return err ? err : find_version(out, bus, subject);
}
