// SPDX-License-Identifier: MIT
//
// Commands: what is decided on a state is appended at the version it was decided on, and a snapshot
// is taken now and then.
//
// What was appended is applied by reading it back, so that the state is made of what interceptors
// and upcasters made of the events, as a later load will see them. If that fails the append is what
// it is: the aggregate stays behind, so that nothing is decided on it and appended without a
// conflict, until a refresh succeeds.
#include "sourcing/aggregate.h"

#include "base/error.h"
#include "bus/calls.h"

#include <inttypes.h>

// ---- snapshots ----------------------------------------------------------------------------------

static enum peal_err write_saved(struct peal_aggregate *aggregate, struct pl_snapshot *snapshot)
{
    const struct peal_aggregate_type *type = &aggregate->type;
    const struct pl_seams *seams = aggregate->bus->seams;
    size_t size = type->save(aggregate->state, NULL, 0, type->context);
    if (size > aggregate->bus->data_max && size != SIZE_MAX) {
        return pl_fail(PEAL_ELIMIT, "a snapshot of %zu bytes: at most %zu are allowed (data_max)",
                       size, (size_t)aggregate->bus->data_max);
    }
    void *bytes = size == SIZE_MAX ? NULL : pl_alloc(seams, size + 1);
    if (size != SIZE_MAX && !bytes) {
        return pl_fail(PEAL_ENOMEM, "no memory for a snapshot of %zu bytes", size);
    }
    if (!bytes || type->save(aggregate->state, bytes, size, type->context) != size) {
        pl_release(seams, bytes);
        return pl_fail(PEAL_EINVAL, "aggregate %s of \"%.100s\": its state cannot be saved",
                       type->name, aggregate->subject);
    }
    snapshot->data = bytes;
    snapshot->size = size;
    enum peal_err err = pl_snapshot_write(aggregate->bus, aggregate->snapshots, snapshot);
    pl_release(seams, bytes);
    return err;
}

enum peal_err peal_aggregate_snapshot(peal_aggregate *aggregate)
{
    if (!aggregate) {
        return pl_fail(PEAL_EINVAL, "peal_aggregate_snapshot needs an aggregate");
    }
    enum peal_err err = pl_bus_check_open(aggregate->bus);
    if (!err && pl_aggregate_is_outlived(aggregate)) {
        err = pl_fail(PEAL_ESTATE,
                      "aggregate %s of \"%.100s\": events were erased since it was loaded, of this "
                      "stream perhaps, and a snapshot would bring them back: refresh it first",
                      aggregate->type.name, aggregate->subject);
    } else if (!err && (aggregate->version == 0 || aggregate->spoiled)) {
        err = pl_fail(PEAL_ESTATE, "aggregate %s of \"%.100s\" %s", aggregate->type.name,
                      aggregate->subject,
                      aggregate->spoiled ? "could not be brought up to date: refresh it first"
                                         : "has no events: there is nothing to take a snapshot of");
    }
    if (err) {
        return err;
    }
    struct pl_snapshot snapshot = { .reducer = aggregate->type.version,
                                    .version = aggregate->version,
                                    .position = aggregate->position };
    if (aggregate->type.save) {
        err = write_saved(aggregate, &snapshot);
    } else {
        snapshot.data = aggregate->state;
        snapshot.size = aggregate->type.state_size;
        err = pl_snapshot_write(aggregate->bus, aggregate->snapshots, &snapshot);
    }
    if (err) {
        aggregate->stats.snapshots_failed++;
        return err;
    }
    aggregate->stats.snapshots_taken++;
    aggregate->stats.snapshot_version = aggregate->version;
    return PEAL_OK;
}

// ---- appending ----------------------------------------------------------------------------------

// After an append, when a multiple of snapshot_every lies behind `before`: one of those who append
// passes it, and takes the snapshot, however many there are.
static void snapshot_if_due(struct peal_aggregate *aggregate, uint64_t before)
{
    uint64_t every = aggregate->type.snapshot_every;
    if (every == 0 || before / every == aggregate->version / every) {
        return;
    }
    if (peal_aggregate_snapshot(aggregate)) {
        pl_bus_say(aggregate->bus, PEAL_LEVEL_WARNING,
                   "no snapshot of %s of \"%.100s\" at version %" PRIu64 ": %s",
                   aggregate->type.name, aggregate->subject, aggregate->version,
                   peal_error_sentence());
    }
}

enum peal_err peal_aggregate_append(struct peal_appended *out, peal_aggregate *aggregate,
                                    const struct peal_message *messages, size_t count)
{
    if (!aggregate) {
        return pl_fail(PEAL_EINVAL, "peal_aggregate_append needs an aggregate");
    }
    if (aggregate->spoiled) {
        return pl_fail(PEAL_ESTATE,
                       "aggregate %s of \"%.100s\" could not be brought up to date: "
                       "refresh it first",
                       aggregate->type.name, aggregate->subject);
    }
    if (pl_aggregate_is_outlived(aggregate)) {
        return pl_fail(
            PEAL_ECONFLICT,
            "aggregate %s of \"%.100s\": events were erased since it was loaded, of this "
            "stream perhaps: refresh it, and decide anew",
            aggregate->type.name, aggregate->subject);
    }
    struct peal_append append = { .subject = aggregate->subject,
                                  .expect = PEAL_EXPECT_VERSION,
                                  .expected_version = aggregate->version,
                                  .messages = messages,
                                  .count = count };
    struct peal_appended appended = { 0 };
    uint64_t before = aggregate->version;
    enum peal_err err = peal_stream_append(&appended, aggregate->bus, &append);
    aggregate->stats.conflicts += err == PEAL_ECONFLICT;
    if (out && (!err || err == PEAL_ECONFLICT)) {
        *out = appended;
    }
    if (err) {
        return err;
    }
    if (peal_aggregate_refresh(aggregate)) {
        pl_bus_say(aggregate->bus, PEAL_LEVEL_WARNING,
                   "%s of \"%.100s\": appended up to version %" PRIu64 ", but not applied: %s",
                   aggregate->type.name, aggregate->subject, appended.version,
                   peal_error_sentence());
        return PEAL_OK;
    }
    snapshot_if_due(aggregate, before);
    return PEAL_OK;
}

enum peal_err peal_aggregate_execute(peal_aggregate *aggregate, unsigned attempts,
                                     peal_command *command, void *context)
{
    if (!aggregate || !command) {
        return pl_fail(PEAL_EINVAL, "peal_aggregate_execute needs an aggregate and a command");
    }
    enum peal_err err = PEAL_ECONFLICT;
    for (unsigned left = attempts ? attempts : PEAL_ATTEMPTS_DEFAULT;
         left > 0 && err == PEAL_ECONFLICT; left--) {
        err = peal_aggregate_refresh(aggregate);
        if (!err) {
            err = command(aggregate, context);
        }
    }
    return err;
}
